// Package doors_test holds the doors of the product against one another: what can be done through which, and that it is the same through each.
package doors_test

import (
	"encoding/json"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// useCase is one thing that can be done, with its doors.
type useCase struct {
	routes []string // of REST
	fields []string // of GraphQL
	why    string   // it has one door only
}

const v1 = "/api/v1"

// useCases is all that can be done. What is new comes here with its doors, or with the reason for one.
var useCases = []useCase{
	{routes: []string{"POST " + v1 + "/auth/register"}, fields: []string{"Mutation.register"}},
	{routes: []string{"POST " + v1 + "/auth/login"}, fields: []string{"Mutation.login"}},
	{routes: []string{"POST " + v1 + "/auth/refresh"}, fields: []string{"Mutation.refresh"}},
	{routes: []string{"POST " + v1 + "/auth/logout"}, fields: []string{"Mutation.logout"}},
	{routes: []string{"POST " + v1 + "/auth/logout-all"}, fields: []string{"Mutation.logoutAll"}},
	{routes: []string{"POST " + v1 + "/auth/change-password"}, fields: []string{"Mutation.changePassword"}},
	{routes: []string{"GET " + v1 + "/auth/sessions", "GET " + v1 + "/admin/sessions"}, fields: []string{"Query.sessions"}},
	{routes: []string{"DELETE " + v1 + "/auth/sessions/{id}", "DELETE " + v1 + "/admin/sessions/{id}"}, fields: []string{"Mutation.revokeSession"}},
	{routes: []string{"POST " + v1 + "/auth/disown"}, fields: []string{"Mutation.disownSignIn"}},
	{routes: []string{"GET " + v1 + "/users/me"}, fields: []string{"Query.me"}},
	{routes: []string{"GET " + v1 + "/api-keys", "GET " + v1 + "/admin/api-keys", "GET " + v1 + "/admin/api-keys/{id}"}, fields: []string{"Query.apiKeys"}},
	{routes: []string{"POST " + v1 + "/api-keys"}, fields: []string{"Mutation.createApiKey"}},
	{routes: []string{"POST " + v1 + "/api-keys/{id}/rotate"}, fields: []string{"Mutation.rotateApiKey"}},
	{routes: []string{"DELETE " + v1 + "/api-keys/{id}"}, fields: []string{"Mutation.revokeApiKey"}},
	{routes: []string{"GET " + v1 + "/files"}, fields: []string{"Query.files"}},
	{routes: []string{"DELETE " + v1 + "/files/{id}"}, fields: []string{"Mutation.deleteFile"}},
	{routes: []string{"GET " + v1 + "/admin/users"}, fields: []string{"Query.users"}},
	{routes: []string{"GET " + v1 + "/admin/users/{user}"}, fields: []string{"Query.user"}},
	{routes: []string{"POST " + v1 + "/admin/users"}, fields: []string{"Mutation.createDecoy"}}, // of other accounts section 7 lists none
	{routes: []string{"POST " + v1 + "/admin/users/{user}/disable"}, fields: []string{"Mutation.disableUser"}},
	{routes: []string{"POST " + v1 + "/admin/users/{user}/enable"}, fields: []string{"Mutation.enableUser"}},
	{routes: []string{"POST " + v1 + "/admin/revoke-user-tokens"}, fields: []string{"Mutation.revokeUserTokens"}},
	{routes: []string{"POST " + v1 + "/admin/revocations"}, fields: []string{"Mutation.revokeToken"}},
	{routes: []string{"GET " + v1 + "/admin/keys"}, fields: []string{"Query.signingKeys"}},
	{routes: []string{"POST " + v1 + "/admin/keys/rotate"}, fields: []string{"Mutation.rotateSigningKey"}},
	{routes: []string{"POST " + v1 + "/admin/blocked-ips"}, fields: []string{"Mutation.blockIp"}},
	{routes: []string{"GET " + v1 + "/admin/alerts"}, fields: []string{"Query.alerts"}},
	{routes: []string{"POST " + v1 + "/admin/alerts/{id}/acknowledge"}, fields: []string{"Mutation.acknowledgeAlert"}},
	{routes: []string{"GET " + v1 + "/admin/incidents"}, fields: []string{"Query.incidents"}},
	{routes: []string{"GET " + v1 + "/admin/incidents/{id}"}, fields: []string{"Query.incident"}},
	{routes: []string{"POST " + v1 + "/admin/incidents"}, fields: []string{"Mutation.openIncident"}},
	{routes: []string{"POST " + v1 + "/admin/incidents/drill"}, fields: []string{"Mutation.drillIncident"}},
	{routes: []string{"POST " + v1 + "/admin/incidents/{id}/contain"}, fields: []string{"Mutation.containIncident"}},
	{routes: []string{"POST " + v1 + "/admin/incidents/{id}/verify"}, fields: []string{"Mutation.verifyIncident"}},
	{routes: []string{"POST " + v1 + "/admin/incidents/{id}/eradicate"}, fields: []string{"Mutation.eradicateIncident"}},
	{routes: []string{"POST " + v1 + "/admin/incidents/{id}/recover"}, fields: []string{"Mutation.recoverIncident"}},
	{routes: []string{"POST " + v1 + "/admin/incidents/{id}/isolate"}, fields: []string{"Mutation.isolateNode"}},
	{routes: []string{"POST " + v1 + "/admin/incidents/{id}/report"}, fields: []string{"Mutation.reportIncident"}},
	{routes: []string{"POST " + v1 + "/admin/incidents/{id}/resolve"}, fields: []string{"Mutation.resolveIncident"}},
	{routes: []string{"DELETE " + v1 + "/admin/blocked-ips"}, fields: []string{"Mutation.unblockIp"}},
	{routes: []string{"GET " + v1 + "/admin/events"}, fields: []string{"Query.securityEvents"}},
	{routes: []string{"GET " + v1 + "/events", "GET /ws"}, fields: []string{"Subscription.securityEvents"}},

	{routes: []string{"POST " + v1 + "/files", "GET " + v1 + "/files/{id}"}, why: "the bytes of files go as they are, in a form and as an attachment: GraphQL would have them as text in JSON, and whole in memory"},
	{routes: []string{"DELETE " + v1 + "/admin/users/{user}/files"}, why: "administration of accounts that section 7 does not list"},
	{routes: []string{"PATCH " + v1 + "/users/me"}, why: "section 7 of the contract lists the mutations; this is none of them"},
	{routes: []string{"POST " + v1 + "/admin/users/{user}/role", "POST " + v1 + "/admin/users/{user}/password", "POST " + v1 + "/admin/users/{user}/unlock"},
		why: "administration of accounts that section 7 does not list"},
	{routes: []string{"POST " + v1 + "/admin/api-keys/{id}/revoke", "POST " + v1 + "/admin/keys/{kid}/retire", "POST " + v1 + "/admin/keys/{kid}/revoke", "GET " + v1 + "/admin/blocked-ips", "GET " + v1 + "/admin/nodes", "POST " + v1 + "/admin/explain"},
		why: "the operator's acts, which section 7 does not list"},
	{routes: []string{"GET " + v1 + "/admin/alerts/{id}", "GET " + v1 + "/admin/alert-rules", "POST " + v1 + "/admin/alerts/{id}/contain", "POST " + v1 + "/admin/alerts/{id}/silence", "POST " + v1 + "/admin/alerts/test"},
		why: "what the operator does about an alert, with its command"},
	{routes: []string{"GET " + v1 + "/admin/audit", "POST " + v1 + "/admin/audit/erase", "GET " + v1 + "/admin/audit/export", "GET " + v1 + "/admin/audit/keys", "POST " + v1 + "/admin/audit/review", "GET " + v1 + "/admin/audit/verify"},
		why: "exports are files, and their auditors have the shell"},
	{routes: []string{"GET " + v1 + "/auth/verify", "POST " + v1 + "/oauth/introspect", "POST " + v1 + "/oauth/revoke", "GET " + v1 + "/revocations", "GET /.well-known/jwks.json"},
		why: "what proxies and other services ask, as their standards have it"},
	{routes: []string{"POST " + v1 + "/auth/ws-ticket"}, why: "it is for /ws; a socket of GraphQL takes the token in its first message"},
	{routes: []string{"POST " + v1 + "/setup", "GET /setup"}, why: "the link of the first start"},
	{routes: []string{"GET /wasnt-me"}, why: "a page for browsers"},
	{routes: []string{"GET /health", "GET /healthz", "GET /readyz", "GET /metrics", "GET /openapi.json", "GET /", "GET /docs", "GET /docs/problems", "GET /graphql", "POST /graphql", "GET /graphiql"}, why: "about the service itself"},
}

// TestEveryUseCaseHasItsDoors: each route and each field is in one line of the table, each line has both doors or says why not, and nothing is in it that is not served.
func TestEveryUseCaseHasItsDoors(t *testing.T) {
	var routes, fields []string
	for i, u := range useCases {
		routes, fields = append(routes, u.routes...), append(fields, u.fields...)
		if one := len(u.routes) == 0 || len(u.fields) == 0; one != (u.why != "") {
			t.Errorf("line %d, %v %v: it has both doors, or a reason for one", i, u.routes, u.fields)
		}
	}
	s := newSystem(t)
	slices.Sort(routes)
	slices.Sort(fields)
	if diff := cmp.Diff(routes, s.routes(t)); diff != "" {
		t.Errorf("routes (-table +served):\n%s", diff)
	}
	if diff := cmp.Diff(fields, s.fields(t)); diff != "" {
		t.Errorf("fields (-table +served):\n%s", diff)
	}
}

// routes are those that the description has, which its own tests hold against what is served.
func (s *system) routes(t *testing.T) (all []string) {
	t.Helper()
	var described struct {
		Paths map[string]map[string]json.RawMessage
	}
	if err := json.Unmarshal(s.do("GET", "/openapi.json", "", "", "192.0.2.1").Body.Bytes(), &described); err != nil {
		t.Fatal(err)
	}
	methods := map[string]string{"get": "GET", "post": "POST", "put": "PUT", "patch": "PATCH", "delete": "DELETE"}
	for path, of := range described.Paths {
		for method := range of {
			if name := methods[method]; name != "" {
				all = append(all, name+" "+path)
			}
		}
	}
	slices.Sort(all)
	return all
}

// fields are those at the top of operations, as the schema tells of itself.
func (s *system) fields(t *testing.T) (all []string) {
	t.Helper()
	var told struct {
		Data struct {
			Schema struct {
				Types []struct {
					Name   string
					Fields []struct{ Name string }
				}
			} `json:"__schema"`
		}
	}
	w := s.do("POST", "/graphql", `{"query":"{ __schema { types { name fields { name } } } }"}`, "", "192.0.2.1")
	if err := json.Unmarshal(w.Body.Bytes(), &told); err != nil {
		t.Fatal(err)
	}
	for _, of := range told.Data.Schema.Types {
		if of.Name == "Query" || of.Name == "Mutation" || of.Name == "Subscription" {
			for _, f := range of.Fields {
				all = append(all, of.Name+"."+f.Name)
			}
		}
	}
	slices.Sort(all)
	return all
}
