package httpapi

import (
	"net/http"

	"github.com/xteam/xteam/app"
	"github.com/xteam/xteam/domain/apikey"
)

// class is which rate limit a route is charged to.
type class = app.Class

const (
	unclassed = app.Unclassed
	exempt    = app.Exempt
	auth      = app.Auth
	read      = app.Read
	write     = app.Write
	expensive = app.Expensive
	refresh   = app.Refresh // charged by the handler, once it has read the token
	verifying = app.Verify  // charged to the credential when it is good, to the address when it is not
)

// access is who may call a route.
type access = app.Access

const (
	anyone   = app.Anyone
	signedIn = app.SignedIn
	admin    = app.AdminOnly
)

// route is one line of the table.
type route struct {
	method, path string // no method: any but TRACE
	class        class
	access       access
	contains     bool          // it ends what has been stolen, or shows it: another session's flood does not block it
	bySession    bool          // it contains for who is signed in alone: to an API key it is a route like others
	scope        apikey.Scopes // what an API key needs; 0: no key is taken, but one with apikey.Admin where access is admin
	mounted      bool          // another transport, which asks for admission itself
	serve        func(*exchange) error

	api *API
}

// routes is what is served, in which class, to whom, and what an API key needs; docs.go has what is documented of each. No key is taken where the caller's own sessions or password are meant.
func (a *API) routes() []route {
	const v1 = "/api/v1"
	all := []route{
		{method: "POST", path: v1 + "/auth/register", class: auth, access: anyone, serve: a.register},
		{method: "POST", path: v1 + "/auth/login", class: auth, access: anyone, serve: a.login},
		{method: "POST", path: v1 + "/auth/refresh", class: refresh, access: anyone, serve: a.refresh},
		{method: "POST", path: v1 + "/auth/logout", class: write, access: signedIn, contains: true, serve: a.logout},
		{method: "POST", path: v1 + "/auth/logout-all", class: write, access: signedIn, contains: true, serve: a.logoutAll},
		{method: "POST", path: v1 + "/auth/change-password", class: auth, access: signedIn, contains: true, serve: a.changePassword},
		{method: "GET", path: v1 + "/auth/sessions", class: read, access: signedIn, serve: a.ownSessions},
		{method: "DELETE", path: v1 + "/auth/sessions/{id}", class: write, access: signedIn, contains: true, serve: a.endOwnSession},
		{path: verifyPath, class: verifying, access: signedIn, scope: apikey.UsersRead, serve: a.verify},
		{path: verifyPath + "/{path...}", class: verifying, access: signedIn, scope: apikey.UsersRead, serve: a.verify},
		{method: "POST", path: introspectPath, class: verifying, access: signedIn, scope: apikey.Introspect, serve: a.introspect},
		{method: "POST", path: revokePath, class: write, access: signedIn, contains: true, scope: apikey.TokensRevoke, serve: a.revokeToken},
		{method: "GET", path: v1 + "/users/me", class: read, access: signedIn, scope: apikey.UsersRead, serve: a.me},
		{method: "PATCH", path: v1 + "/users/me", class: write, access: signedIn, serve: a.changeMe},

		{method: "GET", path: v1 + "/api-keys", class: read, access: signedIn, contains: true, bySession: true, scope: apikey.KeysWrite, serve: a.listKeys},
		{method: "POST", path: v1 + "/api-keys", class: write, access: signedIn, scope: apikey.KeysWrite, serve: a.makeKey},
		{method: "DELETE", path: v1 + "/api-keys/{id}", class: write, access: signedIn, contains: true, scope: apikey.KeysWrite, serve: a.revokeKey},
		{method: "POST", path: v1 + "/api-keys/{id}/rotate", class: write, access: signedIn, contains: true, bySession: true, scope: apikey.KeysWrite, serve: a.rotateKey},

		{method: "GET", path: v1 + "/admin/users", class: read, access: admin, serve: a.listUsers},
		{method: "POST", path: v1 + "/admin/users", class: write, access: admin, serve: a.createUser},
		{method: "GET", path: v1 + "/admin/users/{user}", class: read, access: admin, serve: a.showUser},
		{method: "POST", path: v1 + "/admin/users/{user}/disable", class: write, access: admin, serve: a.disableUser},
		{method: "POST", path: v1 + "/admin/users/{user}/enable", class: write, access: admin, serve: a.enableUser},
		{method: "POST", path: v1 + "/admin/users/{user}/role", class: write, access: admin, serve: a.setRole},
		{method: "POST", path: v1 + "/admin/users/{user}/password", class: write, access: admin, serve: a.setPassword},
		{method: "POST", path: v1 + "/admin/users/{user}/unlock", class: write, access: admin, serve: a.unlockUser},
		{method: "GET", path: v1 + "/admin/sessions", class: read, access: admin, serve: a.listSessions},
		{method: "DELETE", path: v1 + "/admin/sessions/{id}", class: write, access: admin, contains: true, serve: a.endSession},
		{method: "POST", path: v1 + "/admin/revoke-user-tokens", class: write, access: admin, contains: true, serve: a.revokeUserTokens},
		{method: "POST", path: v1 + "/admin/revocations", class: write, access: admin, contains: true, serve: a.revoke},
		{method: "GET", path: v1 + "/admin/api-keys", class: read, access: admin, serve: a.listKeysOf},
		{method: "GET", path: v1 + "/admin/api-keys/{id}", class: read, access: admin, serve: a.showKey},
		{method: "POST", path: v1 + "/admin/api-keys/{id}/revoke", class: write, access: admin, contains: true, serve: a.endKey},
		{method: "GET", path: v1 + "/admin/nodes", class: read, access: admin, serve: a.listNodes},
		{method: "GET", path: v1 + "/admin/keys", class: read, access: admin, serve: a.listSigningKeys},
		{method: "POST", path: v1 + "/admin/keys/rotate", class: write, access: admin, serve: a.rotateSigningKey},
		{method: "POST", path: v1 + "/admin/keys/{kid}/retire", class: write, access: admin, serve: a.retireSigningKey},
		{method: "POST", path: v1 + "/admin/keys/{kid}/revoke", class: write, access: admin, contains: true, serve: a.revokeSigningKey},
		{method: "POST", path: v1 + "/admin/explain", class: write, access: admin, serve: a.explain},

		{method: "GET", path: "/health", class: exempt, access: anyone, serve: a.alive},
		{method: "GET", path: "/healthz", class: exempt, access: anyone, serve: a.alive},
		{method: "GET", path: "/readyz", class: exempt, access: anyone, serve: a.ready},

		{method: "GET", path: "/", class: read, access: anyone, serve: a.home},
		{method: "GET", path: "/openapi.json", class: read, access: anyone, serve: a.openAPI},
		{method: "GET", path: "/docs", class: read, access: anyone, serve: a.docs},
		{method: "GET", path: "/docs/problems", class: read, access: anyone, serve: a.problems},
	}
	if a.Trail != nil {
		all = append(all,
			route{method: "GET", path: v1 + "/admin/audit", class: read, access: admin, serve: a.auditTrail},
			route{method: "GET", path: v1 + "/admin/audit/export", class: expensive, access: admin, serve: a.exportAudit},
			route{method: "GET", path: v1 + "/admin/audit/verify", class: expensive, access: admin, serve: a.verifyAudit},
			route{method: "GET", path: v1 + "/admin/audit/keys", class: read, access: admin, serve: a.auditKeys},
			route{method: "POST", path: v1 + "/admin/audit/review", class: write, access: admin, serve: a.reviewAudit},
			route{method: "POST", path: v1 + "/admin/audit/erase", class: write, access: admin, serve: a.eraseAudit})
	}
	if a.Alerts != nil {
		all = append(all,
			route{method: "GET", path: v1 + "/admin/alerts", class: read, access: admin, serve: a.listAlerts},
			route{method: "GET", path: v1 + "/admin/alerts/{id}", class: read, access: admin, serve: a.showAlert},
			route{method: "POST", path: v1 + "/admin/alerts/{id}/acknowledge", class: write, access: admin, serve: a.ackAlert},
			route{method: "POST", path: v1 + "/admin/alerts/{id}/silence", class: write, access: admin, serve: a.silenceAlert},
			route{method: "POST", path: v1 + "/admin/alerts/{id}/contain", class: write, access: admin, contains: true, serve: a.containAlert},
			route{method: "POST", path: v1 + "/admin/alerts/test", class: write, access: admin, serve: a.testAlert},
			route{method: "GET", path: v1 + "/admin/alert-rules", class: read, access: admin, serve: a.alertRules})
	}
	if a.Disowner != nil {
		all = append(all,
			route{method: "GET", path: app.DisownPath, class: read, access: anyone, serve: a.aboutDisown},
			route{method: "POST", path: v1 + "/auth/disown", class: auth, access: anyone, serve: a.disown})
	}
	if a.Incidents != nil {
		all = append(all,
			route{method: "GET", path: v1 + "/admin/incidents", class: read, access: admin, serve: a.listIncidents},
			route{method: "POST", path: v1 + "/admin/incidents", class: write, access: admin, contains: true, serve: a.openIncident},
			route{method: "POST", path: v1 + "/admin/incidents/drill", class: expensive, access: admin, serve: a.drillIncident},
			route{method: "GET", path: v1 + "/admin/incidents/{id}", class: read, access: admin, serve: a.incidentStatus},
			route{method: "POST", path: v1 + "/admin/incidents/{id}/contain", class: write, access: admin, contains: true, serve: a.containIncident},
			route{method: "POST", path: v1 + "/admin/incidents/{id}/isolate", class: write, access: admin, contains: true, serve: a.isolateNode},
			route{method: "POST", path: v1 + "/admin/incidents/{id}/verify", class: expensive, access: admin, serve: a.verifyIncident},
			route{method: "POST", path: v1 + "/admin/incidents/{id}/eradicate", class: write, access: admin, contains: true, serve: a.eradicateIncident},
			route{method: "POST", path: v1 + "/admin/incidents/{id}/recover", class: write, access: admin, serve: a.recoverIncident},
			route{method: "POST", path: v1 + "/admin/incidents/{id}/report", class: expensive, access: admin, serve: a.reportIncident},
			route{method: "POST", path: v1 + "/admin/incidents/{id}/resolve", class: write, access: admin, serve: a.resolveIncident})
	}
	if a.Uploads != nil {
		all = append(all,
			route{method: "POST", path: filesPath, class: expensive, access: signedIn, serve: a.upload},
			route{method: "GET", path: filesPath, class: read, access: signedIn, serve: a.listFiles},
			route{method: "GET", path: filesPath + "/{id}", class: read, access: signedIn, serve: a.download},
			route{method: "DELETE", path: filesPath + "/{id}", class: write, access: signedIn, serve: a.deleteFile},
			route{method: "DELETE", path: v1 + "/admin/users/{user}/files", class: write, access: admin, serve: a.deleteFilesOf})
	}
	if a.Blocks != nil {
		all = append(all,
			route{method: "GET", path: v1 + "/admin/blocked-ips", class: read, access: admin, serve: a.listBlocks},
			route{method: "POST", path: v1 + "/admin/blocked-ips", class: write, access: admin, contains: true, serve: a.blockAddress},
			route{method: "DELETE", path: v1 + "/admin/blocked-ips", class: write, access: admin, serve: a.unblockAddress})
	}
	if a.SetUp != nil {
		all = append(all,
			route{method: "GET", path: "/setup", class: read, access: anyone, serve: a.aboutSetUp},
			route{method: "POST", path: v1 + "/setup", class: auth, access: anyone, serve: a.setUp})
	}
	if a.JWKS != nil {
		all = append(all, route{method: "GET", path: "/.well-known/jwks.json", class: read, access: anyone, serve: a.jwks})
	}
	if a.Tethers != nil && a.Live != nil {
		all = append(all,
			route{method: "GET", path: v1 + "/events", class: read, access: signedIn, serve: a.ownEvents},
			route{method: "GET", path: v1 + "/admin/events", class: read, access: admin, serve: a.allEvents})
	}
	if a.Tethers != nil && a.Feed != nil {
		all = append(all, route{method: "GET", path: v1 + "/revocations", class: verifying, access: signedIn, scope: apikey.RevocationsRead, serve: a.follow})
	}
	if a.Tickets != nil {
		all = append(all, route{method: "POST", path: v1 + "/auth/ws-ticket", class: write, access: signedIn, serve: a.issueTicket})
	}
	for _, m := range a.Mounts {
		all = append(all, a.mounted(m))
	}
	if a.Metrics != nil {
		all = append(all, route{method: "GET", path: "/metrics", class: read, access: admin, serve: a.metrics})
	}
	return all
}

// needs is the scope without which the route is for no API key.
func (r *route) needs() apikey.Scopes {
	if r.access == admin {
		return apikey.Admin
	}
	return r.scope
}

// ServeHTTP charges whoever asks, lets in whom the route is for and serves them. It runs inside the chain, so w is the exchange.
func (r *route) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	x := w.(*exchange)
	x.r = req
	if req.Method == http.MethodTrace { // of a route for any method
		x.turn(&methodError{})
		return
	}
	var err error
	if !r.mounted {
		if err = x.admit(r); err == nil {
			err = x.simple()
		}
	}
	if err == nil {
		err = r.serve(x)
	}
	if err != nil {
		x.refuse(err)
	}
}

// unrouted answers what no route serves: 405 with Allow where another method would be served, and for TRACE, which would give back the request with
// its credentials, everywhere; else 404. Nothing is ever redirected.
func (a *API) unrouted(w http.ResponseWriter, req *http.Request) {
	x := w.(*exchange)
	if err := x.limit(app.Charge{Class: unclassed}); err != nil {
		x.refuse(err)
		return
	}
	probe := *req
	var allow []string
	for _, m := range []string{"DELETE", "GET", "HEAD", "PATCH", "POST", "PUT"} {
		probe.Method = m
		if _, pattern := a.mux.Handler(&probe); pattern != "/" && pattern != "" {
			allow = append(allow, m)
		}
	}
	if allow == nil && req.Method != http.MethodTrace {
		x.refuse(errNoRoute)
		return
	}
	x.refuse(&methodError{allow})
}
