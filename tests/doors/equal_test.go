package doors_test

import (
	"cmp"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/xteam/xteam/adapters/diskfiles"
	"github.com/xteam/xteam/adapters/envsecrets"
	"github.com/xteam/xteam/adapters/graphqlapi"
	"github.com/xteam/xteam/adapters/httpapi"
	"github.com/xteam/xteam/adapters/mimetypes"
	"github.com/xteam/xteam/app"
	"github.com/xteam/xteam/app/xteam"
	"github.com/xteam/xteam/domain/account"
	"github.com/xteam/xteam/domain/secret"
)

// TestMain plays few sequences, for each hashes passwords; -rapid.checks plays more.
func TestMain(m *testing.M) {
	flag.Parse()
	given := false
	flag.Visit(func(f *flag.Flag) { given = given || f.Name == "rapid.checks" })
	if !given {
		if err := flag.Set("rapid.checks", "6"); err != nil {
			panic(err)
		}
	}
	os.Exit(m.Run())
}

// clock is that of all systems, which stands unless a test turns it.
type clock struct{ at atomic.Pointer[time.Time] }

func (c *clock) now() time.Time { return *c.at.Load() }

func (c *clock) turn(d time.Duration) {
	at := c.now().Add(d)
	c.at.Store(&at)
}

// system is a real one, on Badger, with all doors.
type system struct {
	x    *xteam.XTeam
	h    http.Handler
	left string // what the last answer says of the tightest bucket
}

const password = "a password that is for tests only"

func newSystem(t *testing.T) *system {
	s, closeIt, err := open(t.TempDir(), time.Now)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(closeIt)
	return s
}

func open(folder string, now func() time.Time) (*system, func(), error) {
	key := strings.Repeat("0123456789abcdef", 4)
	x, err := xteam.Open(context.Background(), xteam.Options{Dir: folder, Now: now, PasswordHasher: "argon2id", MinFreeSpace: -1,
		Uploads: xteam.Uploads{Files: diskfiles.New(filepath.Join(folder, "files"), diskfiles.Options{}), Detect: mimetypes.Detect},
		Secrets: envsecrets.New(func(name string) (string, bool) { return key, name == "SECRET_KEY" }),
		Limits:  app.LimiterOptions{PerAddress: 40, Auth: 4, Read: 12, Write: 8, Refresh: 3},
		Doors: func(all httpapi.Services, log *slog.Logger) []httpapi.Mount {
			api := graphqlapi.New(graphqlapi.Services{Sessions: all.Sessions, Accounts: all.Accounts, Revoker: all.Revoker, Rotator: all.Rotator, APIKeys: all.APIKeys, Tethers: all.Tethers, Live: all.Live, Blocks: all.Blocks, Alerts: all.Alerts, Incidents: all.Incidents, Disowner: all.Disowner, Uploads: all.Uploads},
				graphqlapi.Options{Logger: log, Introspection: true})
			return []httpapi.Mount{{Method: "GET", Path: "/graphql", Handler: api}, {Method: "POST", Path: "/graphql", Handler: api}}
		}})
	if err != nil {
		return nil, nil, err
	}
	for name, role := range map[string]account.Role{"root": account.RoleAdmin, "ann": account.RoleUser} {
		u, _ := account.ParseUsername(name)
		e, _ := account.ParseEmail(name + "@example.com")
		if _, err := x.Accounts().Create(context.Background(), app.Actor{Name: app.System}, app.Registration{Email: e, Username: u, Password: secret.New(password)}, role); err != nil {
			x.Close()
			return nil, nil, err
		}
	}
	return &system{x: x, h: x.Handler()}, x.Close, nil
}

func (s *system) do(method, target, body, token, from string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, target, strings.NewReader(body))
	r.RemoteAddr = from + ":4321"
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	w := httptest.NewRecorder()
	s.h.ServeHTTP(w, r)
	s.left = w.Header().Get("RateLimit")
	return w
}

// call is one use case with its arguments; who asks and whom it concerns are places in what a player knows, which has other ids in each system.
type call struct {
	what       string
	as, of     int    // places of credentials
	user       string //
	pass, next string
	text       string
	n          int
	from       string
}

// known is what a player has got so far. Both have the same at the same place.
type known struct{ access, refresh, session, key []string }

// door plays calls against a system, and tells how each ends in words that both have.
type door interface {
	play(*call, *known) string
}

// calls are the use cases that are played. Each is told by REST and by GraphQL, and what of the answer is compared.
var calls = []string{"register", "login", "login", "refresh", "logout", "logoutAll", "changePassword", "me", "sessions", "revokeSession", "revokeUserTokens", "revokeToken", "createApiKey", "rotateApiKey", "revokeApiKey",
	"apiKeys", "users", "user", "createDecoy", "disableUser", "enableUser", "signingKeys", "rotateSigningKey", "blockIp", "unblockIp", "securityEvents",
	"openIncident", "incident", "containIncident", "verifyIncident", "recoverIncident", "resolveIncident", "drillIncident"}

// TestDoorsAreEqual: the same sequence ends the same through REST and through GraphQL, in two systems that begin alike, refusals included, and takes as much of the same buckets; and the same security events are told.
func TestDoorsAreEqual(t *testing.T) {
	base := time.Now().Truncate(time.Second)
	rapid.Check(t, func(rt *rapid.T) {
		c := &clock{}
		c.at.Store(&base)
		var systems [2]*system
		for i := range systems {
			s, closeIt, err := open(t.TempDir(), c.now)
			if err != nil {
				rt.Fatal(err)
			}
			defer closeIt()
			systems[i] = s
		}
		var has [2]known
		doors := [2]door{rest{systems[0]}, graphql{systems[1]}}
		steps := rapid.IntRange(10, 40).Draw(rt, "steps")
		for step := range steps {
			c.turn(time.Duration(rapid.SampledFrom([]int{0, 0, 0, 1, 15, 60, 900}).Draw(rt, "later")) * time.Second)
			one := &call{what: rapid.SampledFrom(calls).Draw(rt, "what"), as: rapid.IntRange(-2, 5).Draw(rt, "as"), of: rapid.IntRange(-1, 5).Draw(rt, "of"),
				user: rapid.SampledFrom([]string{"ann", "root", "bea", "nobody", ""}).Draw(rt, "user"), pass: rapid.SampledFrom([]string{password, password, password, "a wrong password", ""}).Draw(rt, "pass"),
				next: rapid.SampledFrom([]string{password, "another password of the tests", "short", ""}).Draw(rt, "next"), text: rapid.SampledFrom([]string{"users:read", "keys:write", "admin", "nonsense", ""}).Draw(rt, "text"),
				n: rapid.IntRange(-1, 3).Draw(rt, "n"), from: rapid.SampledFrom([]string{"192.0.2.1", "198.51.100.2"}).Draw(rt, "from")}
			if step < 2 { // somebody is there to begin with
				one.what, one.user, one.pass = "login", []string{"root", "ann"}[step], password
			}
			var said [2]string
			for i := range doors {
				said[i] = doors[i].play(one, &has[i]) + " " + systems[i].left
			}
			if said[0] != said[1] {
				rt.Fatalf("step %d, %+v:\nREST    %s\nGraphQL %s", step, *one, said[0], said[1])
			}
		}
		if diff := gocmp.Diff(kinds(rt, systems[0]), kinds(rt, systems[1])); diff != "" {
			rt.Fatalf("events (-REST +GraphQL):\n%s", diff)
		}
	})
}

// kinds are the events that a system keeps, without what differs from system to system.
func kinds(rt *rapid.T, s *system) (all []string) {
	doc := s.do("GET", "/api/v1/admin/events?limit=100", "", admin(rt, s), "203.0.113.9")
	var page struct {
		Items []struct{ Kind, Outcome, Severity, Reason string }
	}
	if err := json.Unmarshal(doc.Body.Bytes(), &page); err != nil || doc.Code != http.StatusOK {
		rt.Fatalf("%v %s", err, doc.Body)
	}
	for _, e := range page.Items {
		if e.Kind != "alert_raised" { // it comes a moment after what it is about
			all = append(all, e.Kind+" "+e.Outcome+" "+e.Severity+" "+e.Reason)
		}
	}
	return all
}

func admin(rt *rapid.T, s *system) string {
	u, _ := account.ParseUsername("observer")
	e, _ := account.ParseEmail("observer@example.com")
	if _, err := s.x.Accounts().Create(context.Background(), app.Actor{Name: app.System}, app.Registration{Email: e, Username: u, Password: secret.New(password)}, account.RoleAdmin); err != nil {
		rt.Fatal(err)
	}
	login, _ := account.ParseLogin("", "observer")
	got, err := s.x.Sessions().Login(context.Background(), app.Request{}, login, secret.New(password))
	if err != nil {
		rt.Fatal(err)
	}
	return got.Access.RevealPlaintext()
}

func at(list []string, i int) string {
	switch {
	case i < 0 || len(list) == 0:
		return ""
	}
	return list[i%len(list)]
}

// credential is who asks: nobody, garbage, or one of what was got.
func (k *known) credential(i int) string {
	all := append(slices.Clone(k.access), k.key...)
	if i == -2 {
		return "garbage"
	}
	return at(all, i)
}

func quote(v any) string {
	b, _ := json.Marshal(v) // texts and maps of them
	return string(b)
}

// told is an answer in words.
func told(code string, fields []string, data ...any) string {
	if code != "" {
		slices.Sort(fields)
		return code + " " + strings.Join(slices.Compact(fields), ",")
	}
	return "ok " + quote(data)
}

// sessionOf is the id of the session of a token, whose middle part says it.
func sessionOf(s *system, access string) string {
	claims, _, _ := strings.Cut(strings.SplitN(access, ".", 3)[1], ".")
	b, err := rawURL.DecodeString(claims)
	if err != nil {
		return ""
	}
	var c struct{ SID string }
	_ = json.Unmarshal(b, &c)
	return c.SID
}

// scopes asks for one.
func scopes(text string) []string {
	if text == "" {
		return nil
	}
	return []string{text}
}

// rest is the door of REST.
type rest struct{ s *system }

// answer is one of REST, whatever it holds.
type answer struct {
	Code                           string
	Errors                         []struct{ Field string }
	AccessToken                    string `json:"access_token"`
	RefreshToken                   string `json:"refresh_token"`
	APIKey                         string `json:"api_key"`
	Username, Role, Key, Algorithm string
	Status                         any  // of a key a word, of a refusal a number
	Active                         bool `json:"is_active"`
	Ended                          int  `json:"sessions_ended"`
	CIDR, State                    string
	OK, Passed                     bool
	Steps                          []any
	Percent                        *int `json:"admitted_percent"`
	Targets                        []struct {
		Kind          string
		Done          bool
		SessionsEnded int `json:"sessions_ended"`
	}
	Items []struct {
		Name, Status, Username, Kind string
		Current                      bool
	}
	Next *string
}

func (a *answer) fields() (all []string) {
	names := map[string]string{"full_name": "fullName", "current_password": "currentPassword", "new_password": "newPassword", "expires_in_days": "expiresInDays", "overlap_hours": "overlapHours", "refresh_token": "refreshToken", "user_id": "userId",
		"limit": "first", "expires_in_seconds": "expiresInSeconds", "api_keys": "apiKeys", "issued_before": "issuedBefore", "alg": "algorithm"}
	for _, e := range a.Errors {
		all = append(all, cmp.Or(names[e.Field], e.Field))
	}
	return all
}

func (d rest) play(c *call, k *known) string {
	token := k.credential(c.as)
	send := func(method, path string, body any) *answer {
		text := ""
		if body != nil {
			text = quote(body)
		}
		w := d.s.do(method, v1+path, text, token, c.from)
		var a answer
		if w.Body.Len() > 0 {
			if err := json.Unmarshal(w.Body.Bytes(), &a); err != nil {
				panic(fmt.Sprintf("%s %s: %v %s", method, path, err, w.Body))
			}
		}
		if a.Code != "" {
			a.Status = ""
		}
		return &a
	}
	type m = map[string]any
	switch c.what {
	case "register":
		a := send("POST", "/auth/register", m{"email": c.user + "@example.com", "username": c.user, "password": c.next})
		return told(a.Code, a.fields(), a.Username, a.Role, a.Active)
	case "login":
		a := send("POST", "/auth/login", m{"username": c.user, "password": c.pass})
		return k.signedIn(d.s, a.Code, a.fields(), a.AccessToken, a.RefreshToken)
	case "refresh":
		a := send("POST", "/auth/refresh", m{"refresh_token": at(k.refresh, c.of)})
		return k.signedIn(d.s, a.Code, a.fields(), a.AccessToken, a.RefreshToken)
	case "logout":
		a := send("POST", "/auth/logout", nil)
		return told(a.Code, a.fields())
	case "logoutAll":
		a := send("POST", "/auth/logout-all", nil)
		return told(a.Code, a.fields(), a.Ended)
	case "changePassword":
		a := send("POST", "/auth/change-password", m{"current_password": c.pass, "new_password": c.next})
		return k.signedIn(d.s, a.Code, a.fields(), a.AccessToken, a.RefreshToken)
	case "me":
		a := send("GET", "/users/me", nil)
		return told(a.Code, a.fields(), a.Username, a.Role, a.Active)
	case "sessions":
		a := send("GET", "/auth/sessions", nil)
		current := 0
		for _, s := range a.Items {
			if s.Current {
				current++
			}
		}
		return told(a.Code, a.fields(), len(a.Items), current)
	case "revokeSession":
		path := "/auth/sessions/"
		if k.administers(d.s, token) {
			path = "/admin/sessions/"
		}
		a := send("DELETE", path+cmp.Or(at(k.session, c.of), "none"), nil)
		return told(a.Code, a.fields())
	case "revokeUserTokens":
		a := send("POST", "/admin/revoke-user-tokens", m{"user_id": c.user})
		return told(a.Code, a.fields(), a.Ended)
	case "revokeToken":
		a := send("POST", "/admin/revocations", m{"token": cmp.Or(k.credential(c.of), "nothing")})
		return told(a.Code, a.fields(), a.Ended)
	case "createApiKey":
		a := send("POST", "/api-keys", m{"name": "of a test", "scopes": scopes(c.text), "expires_in_days": c.n})
		return k.made(a.Code, a.fields(), a.Key, fmt.Sprint(a.Status))
	case "rotateApiKey":
		a := send("POST", "/api-keys/"+cmp.Or(keyID(at(k.key, c.of)), "none")+"/rotate", m{"overlap_hours": c.n})
		return k.made(a.Code, a.fields(), a.Key, fmt.Sprint(a.Status))
	case "revokeApiKey":
		a := send("DELETE", "/api-keys/"+cmp.Or(keyID(at(k.key, c.of)), "none"), nil)
		return told(a.Code, a.fields())
	case "apiKeys":
		a := send("GET", "/api-keys", nil)
		var all []string
		for _, i := range a.Items {
			all = append(all, i.Name+" "+i.Status)
		}
		slices.Sort(all) // the order of what was made at one time is that of random ids
		return told(a.Code, a.fields(), all)
	case "users":
		a := send("GET", "/admin/users?limit="+fmt.Sprint(c.n), nil)
		return told(a.Code, a.fields(), len(a.Items), a.Next != nil)
	case "user":
		a := send("GET", "/admin/users/"+url.PathEscape(cmp.Or(c.user, "nobody")), nil)
		return told(a.Code, a.fields(), a.Username, a.Role, a.Active)
	case "createDecoy":
		a := send("POST", "/admin/users", m{"email": c.user + "@example.com", "username": c.user, "password": c.next, "decoy": true})
		return told(a.Code, a.fields(), a.Username, a.Role, a.Active, strings.HasPrefix(a.APIKey, "xt_"))
	case "disableUser", "enableUser":
		a := send("POST", "/admin/users/"+cmp.Or(c.user, "nobody")+"/"+strings.TrimSuffix(c.what, "User"), m{})
		return told(a.Code, a.fields(), a.Username, a.Role, a.Active)
	case "signingKeys":
		a := send("GET", "/admin/keys", nil)
		return told(a.Code, a.fields(), len(a.Items))
	case "rotateSigningKey":
		a := send("POST", "/admin/keys/rotate", m{"alg": map[bool]string{true: "EdDSA", false: "none"}[c.n > 2]})
		return told(a.Code, a.fields(), a.Algorithm)
	case "blockIp":
		a := send("POST", "/admin/blocked-ips", m{"cidr": []string{"203.0.113.7", "203.0.113.7/0", "", "x"}[max(c.n, 0)], "reason": c.text})
		return told(a.Code, a.fields(), a.CIDR)
	case "unblockIp":
		a := send("DELETE", "/admin/blocked-ips?cidr="+[]string{"203.0.113.7", "203.0.113.8", "", "x"}[max(c.n, 0)], nil)
		return told(a.Code, a.fields())
	case "securityEvents":
		a := send("GET", "/admin/events?limit="+fmt.Sprint(c.n), nil)
		var all []string
		for _, i := range a.Items {
			all = append(all, i.Kind)
		}
		return told(a.Code, a.fields(), all, a.Next != nil)
	case "openIncident":
		a := send("POST", "/admin/incidents", m{"name": c.text})
		return told(a.Code, a.fields(), a.State)
	case "incident":
		a := send("GET", "/admin/incidents/current", nil)
		return told(a.Code, a.fields(), a.State, a.Percent)
	case "containIncident":
		a := send("POST", "/admin/incidents/current/contain", m{"users": scopes(c.user), "networks": scopes(networks[max(c.n, 0)]), "hold_sign_ins": c.of > 3, "all_sessions": c.of == 2})
		return told(a.Code, a.fields(), a.Targets)
	case "verifyIncident":
		a := send("POST", "/admin/incidents/current/verify", nil)
		return told(a.Code, a.fields(), a.OK)
	case "recoverIncident":
		a := send("POST", "/admin/incidents/current/recover", m{"percent": 50 * c.n})
		return told(a.Code, a.fields(), a.Percent)
	case "resolveIncident":
		a := send("POST", "/admin/incidents/current/resolve", m{"force": c.n > 1})
		return told(a.Code, a.fields(), a.State)
	case "drillIncident":
		a := send("POST", "/admin/incidents/drill", nil)
		return told(a.Code, a.fields(), a.Passed, len(a.Steps))
	}
	panic(c.what)
}

// networks are what incidents block.
var networks = []string{"203.0.113.64/26", "", "x", "127.0.0.1"}

// graphql is the door of GraphQL.
type graphql struct{ s *system }

func (d graphql) play(c *call, k *known) string {
	token := k.credential(c.as)
	var code string
	var fields []string
	type m = map[string]any
	// send asks one field, and answers its value.
	send := func(operation, args, selection string, variables m) map[string]any {
		declared := ""
		if args != "" {
			var names, uses []string
			for pair := range strings.SplitSeq(args, ",") {
				name, kind, _ := strings.Cut(pair, ":")
				names, uses = append(names, "$"+name+":"+kind), append(uses, name+":$"+name)
			}
			declared, args = "("+strings.Join(names, ",")+")", "("+strings.Join(uses, ",")+")"
		}
		w := d.s.do("POST", "/graphql", quote(m{"query": operation + declared + "{" + c.what + args + selection + "}", "variables": variables}), token, c.from)
		var a struct {
			Data   map[string]json.RawMessage
			Errors []struct {
				Message    string
				Extensions struct {
					Problem string
					Fields  []struct{ Field string }
				}
			}
		}
		if err := json.Unmarshal(w.Body.Bytes(), &a); err != nil || w.Code != http.StatusOK || len(a.Errors) > 0 && a.Errors[0].Extensions.Problem == "" {
			panic(fmt.Sprintf("%s: %v %d %s", c.what, err, w.Code, w.Body))
		}
		for _, e := range a.Errors {
			code = e.Extensions.Problem
			for _, f := range e.Extensions.Fields {
				fields = append(fields, f.Field)
			}
		}
		var value any
		_ = json.Unmarshal(a.Data[c.what], &value)
		object, _ := value.(map[string]any)
		return object
	}
	text := func(v any) string { s, _ := v.(string); return s }
	count := func(v any) int { n, _ := v.(float64); return int(n) }
	user := func(v m) string {
		active, _ := v["isActive"].(bool)
		return told(code, fields, text(v["username"]), strings.ToLower(text(v["role"])), active)
	}
	page := func(v m) (nodes []map[string]any, more bool) {
		all, _ := v["nodes"].([]any)
		for _, n := range all {
			nodes = append(nodes, n.(map[string]any))
		}
		info, _ := v["pageInfo"].(map[string]any)
		more, _ = info["hasNextPage"].(bool)
		return nodes, more
	}
	const ofUser, ofTokens = "{username role isActive}", "{accessToken refreshToken}"
	switch c.what {
	case "register":
		return user(send("mutation", "input:RegisterInput!", ofUser, m{"input": m{"email": c.user + "@example.com", "username": c.user, "password": c.next}}))
	case "login":
		v := send("mutation", "input:LoginInput!", ofTokens, m{"input": m{"username": c.user, "password": c.pass}})
		return k.signedIn(d.s, code, fields, text(v["accessToken"]), text(v["refreshToken"]))
	case "refresh":
		v := send("mutation", "refreshToken:String!", ofTokens, m{"refreshToken": at(k.refresh, c.of)})
		return k.signedIn(d.s, code, fields, text(v["accessToken"]), text(v["refreshToken"]))
	case "logout":
		send("mutation", "", "", nil)
		return told(code, fields)
	case "logoutAll":
		v := send("mutation", "", "{sessionsEnded}", nil)
		return told(code, fields, count(v["sessionsEnded"]))
	case "changePassword":
		v := send("mutation", "input:ChangePasswordInput!", ofTokens, m{"input": m{"currentPassword": c.pass, "newPassword": c.next}})
		return k.signedIn(d.s, code, fields, text(v["accessToken"]), text(v["refreshToken"]))
	case "me":
		return user(send("query", "", ofUser, nil))
	case "sessions":
		nodes, _ := page(send("query", "", "{nodes{current} pageInfo{hasNextPage}}", nil))
		current := 0
		for _, n := range nodes {
			if n["current"] == true {
				current++
			}
		}
		return told(code, fields, len(nodes), current)
	case "revokeSession":
		send("mutation", "id:ID!", "{sessionsEnded}", m{"id": cmp.Or(at(k.session, c.of), "none")})
		return told(code, fields)
	case "revokeUserTokens":
		v := send("mutation", "userId:ID!", "{sessionsEnded}", m{"userId": c.user})
		return told(code, fields, count(v["sessionsEnded"]))
	case "revokeToken":
		v := send("mutation", "token:String!", "{sessionsEnded}", m{"token": cmp.Or(k.credential(c.of), "nothing")})
		return told(code, fields, count(v["sessionsEnded"]))
	case "createApiKey":
		v := send("mutation", "input:CreateApiKeyInput!", "{key apiKey{status}}", m{"input": m{"name": "of a test", "scopes": scopes(c.text), "expiresInDays": c.n}})
		made, _ := v["apiKey"].(map[string]any)
		return k.made(code, fields, text(v["key"]), text(made["status"]))
	case "rotateApiKey":
		v := send("mutation", "id:ID!,overlapHours:Int", "{key apiKey{status}}", m{"id": cmp.Or(keyID(at(k.key, c.of)), "none"), "overlapHours": c.n})
		made, _ := v["apiKey"].(map[string]any)
		return k.made(code, fields, text(v["key"]), text(made["status"]))
	case "revokeApiKey":
		send("mutation", "id:ID!", "", m{"id": cmp.Or(keyID(at(k.key, c.of)), "none")})
		return told(code, fields)
	case "apiKeys":
		nodes, _ := page(send("query", "", "{nodes{name status} pageInfo{hasNextPage}}", nil))
		var all []string
		for _, n := range nodes {
			all = append(all, text(n["name"])+" "+text(n["status"]))
		}
		slices.Sort(all)
		return told(code, fields, all)
	case "users":
		nodes, more := page(send("query", "first:Int", "{nodes{username} pageInfo{hasNextPage}}", m{"first": c.n}))
		return told(code, fields, len(nodes), more)
	case "user":
		return user(send("query", "id:ID!", ofUser, m{"id": cmp.Or(c.user, "nobody")}))
	case "createDecoy":
		v := send("mutation", "input:RegisterInput!", "{user"+ofUser+" key}", m{"input": m{"email": c.user + "@example.com", "username": c.user, "password": c.next}})
		made, _ := v["user"].(map[string]any)
		active, _ := made["isActive"].(bool)
		return told(code, fields, text(made["username"]), strings.ToLower(text(made["role"])), active, strings.HasPrefix(text(v["key"]), "xt_"))
	case "disableUser", "enableUser":
		return user(send("mutation", "id:ID!", ofUser, m{"id": cmp.Or(c.user, "nobody")}))
	case "signingKeys":
		nodes, _ := page(send("query", "", "{nodes{kid} pageInfo{hasNextPage}}", nil))
		return told(code, fields, len(nodes))
	case "rotateSigningKey":
		v := send("mutation", "algorithm:String", "{algorithm}", m{"algorithm": map[bool]string{true: "EdDSA", false: "none"}[c.n > 2]})
		return told(code, fields, text(v["algorithm"]))
	case "blockIp":
		v := send("mutation", "input:BlockIpInput!", "{cidr}", m{"input": m{"cidr": []string{"203.0.113.7", "203.0.113.7/0", "", "x"}[max(c.n, 0)], "reason": c.text}})
		return told(code, fields, text(v["cidr"]))
	case "unblockIp":
		send("mutation", "cidr:String!", "", m{"cidr": []string{"203.0.113.7", "203.0.113.8", "", "x"}[max(c.n, 0)]})
		return told(code, fields)
	case "securityEvents":
		nodes, more := page(send("query", "first:Int", "{nodes{kind} pageInfo{hasNextPage}}", m{"first": c.n}))
		var all []string
		for _, n := range nodes {
			all = append(all, text(n["kind"]))
		}
		return told(code, fields, all, more)
	case "openIncident":
		v := send("mutation", "name:String!", "{state}", m{"name": c.text})
		return told(code, fields, text(v["state"]))
	case "incident":
		v := send("query", "", "{incident{state} admittedPercent}", nil)
		is, _ := v["incident"].(map[string]any)
		return told(code, fields, text(is["state"]), v["admittedPercent"])
	case "containIncident":
		v := send("mutation", "input:ContainIncidentInput!", "{targets{kind done sessionsEnded}}", m{"input": m{"users": scopes(c.user), "networks": scopes(networks[max(c.n, 0)]), "holdSignIns": c.of > 3, "allSessions": c.of == 2}})
		var all []struct {
			Kind          string
			Done          bool
			SessionsEnded int `json:"sessions_ended"`
		}
		targets, _ := v["targets"].([]any)
		for _, t := range targets {
			one, _ := t.(map[string]any)
			done, _ := one["done"].(bool)
			all = append(all, struct {
				Kind          string
				Done          bool
				SessionsEnded int `json:"sessions_ended"`
			}{text(one["kind"]), done, count(one["sessionsEnded"])})
		}
		if all == nil && code == "" {
			all = all[:0:0]
		}
		return told(code, fields, all)
	case "verifyIncident":
		v := send("mutation", "", "{ok}", nil)
		ok, _ := v["ok"].(bool)
		return told(code, fields, ok)
	case "recoverIncident":
		v := send("mutation", "percent:Int!", "{admittedPercent}", m{"percent": 50 * c.n})
		return told(code, fields, v["admittedPercent"])
	case "resolveIncident":
		v := send("mutation", "force:Boolean", "{state}", m{"force": c.n > 1})
		return told(code, fields, text(v["state"]))
	case "drillIncident":
		v := send("mutation", "", "{passed steps{name ok}}", nil)
		passed, _ := v["passed"].(bool)
		steps, _ := v["steps"].([]any)
		return told(code, fields, passed, len(steps))
	}
	panic(c.what)
}
