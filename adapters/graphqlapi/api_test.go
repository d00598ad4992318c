package graphqlapi_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/xteam/xteam/adapters/graphqlapi"
	"github.com/xteam/xteam/adapters/httpapi"
	"github.com/xteam/xteam/app"
	"github.com/xteam/xteam/app/xteam"
	"github.com/xteam/xteam/app/xteam/xteamtest"
)

// system is a real one, on Badger, with GraphQL beside REST.
type system struct {
	*xteamtest.Kit
	t   testing.TB
	h   http.Handler
	log bytes.Buffer
}

func newSystem(t testing.TB, o xteam.Options) *system {
	t.Helper()
	s := &system{t: t}
	o.Doors = func(all httpapi.Services, _ *slog.Logger) []httpapi.Mount {
		api := graphqlapi.New(graphqlapi.Services{Sessions: all.Sessions, Accounts: all.Accounts, Revoker: all.Revoker, Rotator: all.Rotator, APIKeys: all.APIKeys, Tethers: all.Tethers, Live: all.Live, Blocks: all.Blocks, Alerts: all.Alerts, Incidents: all.Incidents, Disowner: all.Disowner, Uploads: all.Uploads},
			graphqlapi.Options{Logger: slog.New(slog.NewTextHandler(&s.log, nil)), Introspection: true})
		return []httpapi.Mount{{Method: "GET", Path: "/graphql", Handler: api}, {Method: "POST", Path: "/graphql", Handler: api}}
	}
	o.Logger = slog.New(slog.NewTextHandler(&s.log, nil))
	s.Kit = xteamtest.New(t, o)
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(s.log.String())
		}
	})
	s.h = s.Handler()
	return s
}

// answer is one of GraphQL.
type answer struct {
	Data   map[string]any
	Errors []struct {
		Message    string
		Path       []any
		Extensions map[string]any
	}
	status int
	header http.Header
	text   string
}

// codes are those of all errors, in their order.
func (a *answer) codes() (all []string) {
	for _, e := range a.Errors {
		all = append(all, fmt.Sprint(e.Extensions["code"]))
	}
	return all
}

// send sends a raw request.
func (s *system) send(method, target, body string, headers ...string) *answer {
	s.t.Helper()
	r := httptest.NewRequest(method, target, strings.NewReader(body))
	r.RemoteAddr = "192.0.2.1:1234"
	if method == http.MethodPost {
		r.Header.Set("Content-Type", "application/json")
	}
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		r.Header.Set(name, value)
	}
	w := httptest.NewRecorder()
	s.h.ServeHTTP(w, r)
	a := &answer{status: w.Code, header: w.Header(), text: w.Body.String()}
	if json.Unmarshal(w.Body.Bytes(), a) != nil && strings.Contains(w.Header().Get("Content-Type"), "json") {
		s.t.Errorf("%s %s: the body is no JSON: %.300s", method, target, w.Body)
	}
	return a
}

// ask sends an operation.
func (s *system) ask(query string, variables map[string]any, headers ...string) *answer {
	s.t.Helper()
	b, err := json.Marshal(map[string]any{"query": query, "variables": variables})
	if err != nil {
		s.t.Fatal(err)
	}
	return s.send("POST", "/graphql", string(b), headers...)
}

func bearer(token string) string { return "Authorization: Bearer " + token }

// at is the value at a path of the data.
func (a *answer) at(path string) any {
	var v any = a.Data
	for step := range strings.SplitSeq(path, ".") {
		switch at := v.(type) {
		case map[string]any:
			v = at[step]
		case []any:
			var i int
			if _, err := fmt.Sscan(step, &i); err != nil || i >= len(at) {
				return nil
			}
			v = at[i]
		default:
			return nil
		}
	}
	return v
}

func wants(t testing.TB, a *answer, codes ...string) {
	t.Helper()
	for _, e := range a.Errors {
		if all, _ := e.Extensions["fields"].([]any); e.Extensions["code"] == "BAD_USER_INPUT" && len(all) == 0 {
			t.Errorf("an input is bad, and no field is named: %s", a.text)
		}
	}
	if diff := cmp.Diff(codes, a.codes()); diff != "" || (len(codes) == 0) != (a.Data != nil) {
		t.Errorf("codes (-want +got):\n%s\n%d %.500s", diff, a.status, a.text)
	}
}

const login = `mutation($in: LoginInput!) { login(input: $in) { accessToken refreshToken tokenType expiresIn } }`

func credentials(u xteamtest.User) map[string]any {
	return map[string]any{"in": map[string]any{"email": u.Email, "password": xteamtest.Password}}
}

func TestSigningInAndOut(t *testing.T) {
	s := newSystem(t, xteam.Options{})
	a := s.ask(`mutation { register(input: {email: "Ann@example.com", username: "ann", password: "`+xteamtest.Password+`", fullName: "Ann"}) { id email username fullName role isActive createdAt } }`, nil)
	wants(t, a)
	if a.at("register.role") != "USER" || a.at("register.isActive") != true || a.at("register.fullName") != "Ann" || len(a.at("register.id").(string)) != 32 {
		t.Errorf("registered: %s", a.text)
	}
	a = s.ask(login, map[string]any{"in": map[string]any{"username": "ann", "password": xteamtest.Password}})
	wants(t, a)
	if a.at("login.tokenType") != "bearer" || a.at("login.expiresIn") != 1800.0 || a.header.Get("Set-Cookie") != "" || a.header.Get("Cache-Control") != "no-store" {
		t.Errorf("signed in: %s %v", a.text, a.header)
	}
	access, refresh := a.at("login.accessToken").(string), a.at("login.refreshToken").(string)
	me := s.ask(`{ me { username } }`, nil, bearer(access))
	wants(t, me)
	if me.at("me.username") != "ann" {
		t.Errorf("me: %s", me.text)
	}
	a = s.ask(`mutation($t: String!) { refresh(refreshToken: $t) { accessToken } }`, map[string]any{"t": refresh})
	wants(t, a)
	access = a.at("refresh.accessToken").(string)
	wants(t, s.ask(`mutation { logout }`, nil, bearer(access)))
	a = s.ask(`{ me { username } }`, nil, bearer(access))
	wants(t, a, "UNAUTHENTICATED")
	if x := a.Errors[0].Extensions; x["problem"] != "token_revoked" || x["reason"] != "logout" || x["requestId"] == "" {
		t.Errorf("refused: %s", a.text)
	}
	wants(t, s.ask(`{ me { username } }`, nil), "UNAUTHENTICATED")
	wants(t, s.ask(login, map[string]any{"in": map[string]any{"username": "ann", "password": "wrong password"}}), "UNAUTHENTICATED")
	wants(t, s.ask(login, map[string]any{"in": map[string]any{"username": "ann", "email": "ann@example.com", "password": "wrong password"}}), "BAD_USER_INPUT")
}

func TestRevoking(t *testing.T) {
	s := newSystem(t, xteam.Options{})
	ann, root := s.User("ann"), s.Admin("root")
	user, _ := s.SignIn(ann)
	other, _ := s.SignIn(ann)
	boss, _ := s.SignIn(root)
	wants(t, s.ask(`mutation($u: ID!) { revokeUserTokens(userId: $u) { sessionsEnded } }`, map[string]any{"u": ann.ID.String()}, bearer(user)), "FORBIDDEN")
	a := s.ask(`{ sessions { nodes { id current } pageInfo { hasNextPage endCursor } } }`, nil, bearer(user))
	wants(t, a)
	if n := len(a.at("sessions.nodes").([]any)); n != 2 {
		t.Fatalf("%d sessions", n)
	}
	var second string
	for _, one := range a.at("sessions.nodes").([]any) {
		if n := one.(map[string]any); n["current"] == false {
			second = n["id"].(string)
		}
	}
	a = s.ask(`mutation($id: ID!) { revokeSession(id: $id) { sessionsEnded counted } }`, map[string]any{"id": second}, bearer(user))
	wants(t, a)
	wants(t, s.ask(`{ me { id } }`, nil, bearer(other)), "UNAUTHENTICATED")
	wants(t, s.ask(`mutation { revokeSession(id: "none") { sessionsEnded } }`, nil, bearer(user)), "NOT_FOUND")
	a = s.ask(`mutation($u: ID!) { revokeUserTokens(userId: $u) { sessionsEnded counted nodes { node ms } hint } }`, map[string]any{"u": "ann"}, bearer(boss))
	wants(t, a)
	if a.at("revokeUserTokens.sessionsEnded") != 1.0 || a.at("revokeUserTokens.nodes.0.node") != "embedded" {
		t.Errorf("revoked: %s", a.text)
	}
	wants(t, s.ask(`{ me { id } }`, nil, bearer(user)), "UNAUTHENTICATED")
	wants(t, s.ask(`mutation { revokeUserTokens(userId: "") { sessionsEnded } }`, nil, bearer(boss)), "BAD_USER_INPUT")
	wants(t, s.ask(`mutation { revokeUserTokens(userId: "nobody") { sessionsEnded } }`, nil, bearer(boss)), "NOT_FOUND")
	user, _ = s.SignIn(ann)
	wants(t, s.ask(`mutation($t: String!) { revokeToken(token: $t, reason: "found in a log") { sessionsEnded } }`, map[string]any{"t": user}, bearer(boss)))
	wants(t, s.ask(`{ me { id } }`, nil, bearer(user)), "UNAUTHENTICATED")
	a = s.ask(`mutation { disableUser(id: "ann") { isActive } }`, nil, bearer(boss))
	if wants(t, a); a.at("disableUser.isActive") != false {
		t.Errorf("disabled: %s", a.text)
	}
	wants(t, s.ask(login, credentials(ann)), "UNAUTHENTICATED")
	wants(t, s.ask(`mutation { disableUser(id: "root") { isActive } }`, nil, bearer(boss)), "CONFLICT")
	wants(t, s.ask(`mutation { enableUser(id: "ann") { isActive } }`, nil, bearer(boss)))
	a = s.ask(`mutation($in: ChangePasswordInput!) { changePassword(input: $in) { accessToken } }`, map[string]any{"in": map[string]any{"currentPassword": xteamtest.Password, "newPassword": "short"}}, bearer(boss))
	wants(t, a, "BAD_USER_INPUT")
	if !strings.Contains(a.text, `"newPassword"`) {
		t.Errorf("the field is not named: %s", a.text)
	}
	a = s.ask(`mutation { blockIp(input: {cidr: "198.51.100.7", reason: "guesses", expiresInSeconds: 60}) { cidr reason by createdAt expiresAt } }`, nil, bearer(boss))
	if wants(t, a); a.at("blockIp.cidr") != "198.51.100.7/32" || a.at("blockIp.by") != root.ID.String() || a.at("blockIp.expiresAt") == nil {
		t.Errorf("blocked: %s", a.text)
	}
	wants(t, s.ask(`mutation { blockIp(input: {cidr: "198.51.100.7/3", expiresInSeconds: -1, until: "x"}) { cidr } }`, nil, bearer(boss)), "BAD_USER_INPUT")
	wants(t, s.ask(`mutation { blockIp(input: {cidr: "198.51.100.8"}) { cidr } }`, nil, bearer(user)), "UNAUTHENTICATED")
	wants(t, s.ask(`mutation { unblockIp(cidr: "198.51.100.7") }`, nil, bearer(boss)))
	wants(t, s.ask(`mutation { unblockIp(cidr: "198.51.100.7") }`, nil, bearer(boss)), "NOT_FOUND")
	wants(t, s.ask(`mutation { logoutAll { sessionsEnded } }`, nil, bearer(boss)))
	if strings.Contains(s.log.String(), "level=ERROR") {
		t.Errorf("logged: %s", s.log.String())
	}
}

// A decoy is made as in REST, and its credentials are refused as wrong ones are.
func TestDecoys(t *testing.T) {
	s := newSystem(t, xteam.Options{})
	ann, root := s.User("ann"), s.Admin("root")
	boss, _ := s.SignIn(root)
	decoy := `mutation($p: String!) { createDecoy(input: {email: "backup@example.com", username: "backup", password: $p}) { key user { id username role isActive } } }`
	a := s.ask(decoy, map[string]any{"p": "a planted credential"}, bearer(boss))
	if wants(t, a); a.at("createDecoy.user.username") != "backup" || a.at("createDecoy.user.role") != "USER" || a.at("createDecoy.user.isActive") != true {
		t.Errorf("a decoy: %s", a.text)
	}
	wants(t, s.ask(`{ me { id } }`, nil, "X-API-Key: "+a.at("createDecoy.key").(string)), "UNAUTHENTICATED")
	wants(t, s.ask(login, map[string]any{"in": map[string]any{"username": "backup", "password": "a planted credential"}}), "UNAUTHENTICATED")
	wants(t, s.ask(decoy, map[string]any{"p": "a planted credential"}, bearer(boss)), "CONFLICT")
	wants(t, s.ask(decoy, map[string]any{"p": "short"}, bearer(boss)), "BAD_USER_INPUT")
	ordinary, _ := s.SignIn(ann)
	wants(t, s.ask(decoy, map[string]any{"p": "a planted credential"}, bearer(ordinary)), "FORBIDDEN")
}

func TestKeys(t *testing.T) {
	s := newSystem(t, xteam.Options{})
	ann, root := s.User("ann"), s.Admin("root")
	user, _ := s.SignIn(ann)
	boss, _ := s.SignIn(root)
	a := s.ask(`mutation { createApiKey(input: {name: "ci", scopes: ["users:read"], expiresInDays: 7}) { key apiKey { id userId name scopes environment status expiresAt lastUsedAt lastIpAddress replacedBy retiresAt revokedAt reason } } }`, nil, bearer(user))
	wants(t, a)
	key, kid := a.at("createApiKey.key").(string), a.at("createApiKey.apiKey.id").(string)
	if a.at("createApiKey.apiKey.status") != "live" || a.at("createApiKey.apiKey.userId") != ann.ID.String() {
		t.Errorf("made: %s", a.text)
	}
	me := s.ask(`{ me { username } }`, nil, bearer(key))
	wants(t, me)
	wants(t, s.ask(`mutation { createApiKey(input: {name: "wider", scopes: ["keys:write"]}) { key } }`, nil, "X-API-Key: "+key), "FORBIDDEN")
	wants(t, s.ask(`{ sessions { nodes { id } } }`, nil, bearer(key)), "FORBIDDEN")
	wants(t, s.ask(`mutation { createApiKey(input: {name: "", scopes: ["nonsense"], expiresInDays: 0}) { key } }`, nil, bearer(user)), "BAD_USER_INPUT")
	a = s.ask(`mutation($k: ID!) { rotateApiKey(id: $k, overlapHours: 1) { key apiKey { id } } }`, map[string]any{"k": kid}, bearer(user))
	wants(t, a)
	next := a.at("rotateApiKey.apiKey.id")
	a = s.ask(`{ apiKeys(first: 1) { nodes { id status replacedBy } edges { cursor node { id } } pageInfo { hasNextPage endCursor } } }`, nil, bearer(user))
	if wants(t, a); a.at("apiKeys.nodes.0.replacedBy") != next || a.at("apiKeys.nodes.0.status") != "retiring" || a.at("apiKeys.pageInfo.hasNextPage") != true {
		t.Errorf("listed: %s", a.text)
	}
	a = s.ask(`query($a: String) { apiKeys(first: 1, after: $a) { nodes { id } pageInfo { hasNextPage hasPreviousPage } } }`, map[string]any{"a": a.at("apiKeys.pageInfo.endCursor")}, bearer(user))
	if wants(t, a); a.at("apiKeys.nodes.0.id") != next || a.at("apiKeys.pageInfo.hasNextPage") != false || a.at("apiKeys.pageInfo.hasPreviousPage") != true {
		t.Errorf("the second page: %s", a.text)
	}
	wants(t, s.ask(`{ apiKeys(user: "ann") { nodes { id } } }`, nil, bearer(boss)))
	wants(t, s.ask(`mutation($k: ID!) { revokeApiKey(id: $k) }`, map[string]any{"k": kid}, bearer(boss)), "NOT_FOUND")
	a = s.ask(`mutation($k: ID!) { revokeApiKey(id: $k, children: true) }`, map[string]any{"k": kid}, bearer(user))
	wants(t, a)
	wants(t, s.ask(`{ me { username } }`, nil, bearer(key)), "UNAUTHENTICATED")
	a = s.ask(`mutation { rotateSigningKey(algorithm: "ES256") { kid algorithm before signsAt verifiesUntil } }`, nil, bearer(boss))
	if wants(t, a); a.at("rotateSigningKey.algorithm") != "ES256" {
		t.Errorf("rotated: %s", a.text)
	}
	a = s.ask(`{ signingKeys { nodes { kid algorithm state createdAt changedAt given } } }`, nil, bearer(boss))
	if wants(t, a); a.at("signingKeys.nodes.0.algorithm") != "ES256" {
		t.Errorf("keys: %s", a.text)
	}
	wants(t, s.ask(`{ signingKeys { nodes { kid } } }`, nil, bearer(user)), "FORBIDDEN")
}

func TestLists(t *testing.T) {
	s := newSystem(t, xteam.Options{})
	root := s.Admin("root")
	boss, _ := s.SignIn(root)
	for i := range 5 {
		u := s.User(fmt.Sprintf("user%d", i))
		s.SignIn(u)
		s.SignIn(u)
	}
	for name, list := range map[string]struct {
		query string
		least int
	}{
		"users":          {`query($a: String) { page: users(first: 2, after: $a) { nodes { id } edges { cursor node { id } } pageInfo { hasNextPage endCursor startCursor } } }`, 6},
		"sessions":       {`query($a: String) { page: sessions(first: 2, after: $a, everybody: true) { nodes { id } edges { cursor node { id userId userAgent ipAddress lastIpAddress createdAt lastUsedAt refreshBefore expiresAt } } pageInfo { hasNextPage endCursor startCursor } } }`, 11},
		"one user's":     {`query($a: String) { page: sessions(first: 1, after: $a, user: "user0") { nodes { id } edges { cursor node { id } } pageInfo { hasNextPage endCursor startCursor } } }`, 2},
		"own":            {`query($a: String) { page: sessions(first: 1, after: $a) { nodes { id } edges { cursor node { id } } pageInfo { hasNextPage endCursor startCursor } } }`, 1},
		"securityEvents": {`query($a: String) { page: securityEvents(first: 3, after: $a) { nodes { id } edges { cursor node { id time kind severity outcome actor subject email ipAddress userAgent requestId reason details { name value } } } pageInfo { hasNextPage endCursor startCursor } } }`, 17},
	} {
		t.Run(name, func(t *testing.T) {
			seen := map[any]bool{}
			var after, middle any
			for pages := 0; ; pages++ {
				a := s.ask(list.query, map[string]any{"a": after}, bearer(boss))
				if wants(t, a); len(a.Errors) > 0 || pages > 40 {
					t.Fatal("no end")
				}
				for _, n := range a.at("page.nodes").([]any) {
					id := n.(map[string]any)["id"]
					if seen[id] {
						t.Errorf("%v comes twice", id)
					}
					seen[id] = true
				}
				if middle == nil && list.least > 1 {
					middle = a.at("page.edges.0.cursor")
				}
				if a.at("page.pageInfo.hasNextPage") != true {
					break
				}
				after = a.at("page.pageInfo.endCursor")
			}
			if len(seen) < list.least {
				t.Errorf("%d items, want at least %d", len(seen), list.least)
			}
			if middle == nil {
				return
			}
			rest, one := 0, middle
			for {
				a := s.ask(list.query, map[string]any{"a": one}, bearer(boss))
				rest += len(a.at("page.nodes").([]any))
				if a.at("page.pageInfo.hasNextPage") != true {
					break
				}
				one = a.at("page.pageInfo.endCursor")
			}
			if rest != len(seen)-1 {
				t.Errorf("behind the first item there are %d, want %d", rest, len(seen)-1)
			}
		})
	}
	for _, bad := range []string{`users(first: 0)`, `users(first: 101)`, `users(after: "x")`, `users(after: "AgAA")`, `sessions(everybody: true, user: "root")`, `securityEvents(first: -1)`} {
		wants(t, s.ask(`{ `+bad+` { pageInfo { hasNextPage } } }`, nil, bearer(boss)), "BAD_USER_INPUT")
	}
	a := s.ask(`{ user(id: "user1") { email } me { username } users { nodes { id } } }`, nil, bearer(boss))
	if wants(t, a); a.at("user.email") != "user1@example.com" {
		t.Errorf("%s", a.text)
	}
}

// TestOneRequestTakesNoMore: each alias spends its own place.
func TestOneRequestTakesNoMore(t *testing.T) {
	s := newSystem(t, xteam.Options{Limits: app.LimiterOptions{PerAddress: 10_000, Auth: 5, Read: 1000, Write: 1000}})
	ann := s.User("ann")
	var b strings.Builder
	b.WriteString("mutation($in: LoginInput!) {")
	for i := range 1000 {
		fmt.Fprintf(&b, " a%d: login(input: $in) { accessToken }", i)
	}
	b.WriteString("}")
	in := map[string]any{"in": map[string]any{"email": ann.Email, "password": "a wrong password"}}
	a := s.ask(b.String(), in)
	count := map[string]int{}
	for _, e := range a.Errors {
		count[fmt.Sprint(e.Extensions["code"])]++
		if e.Extensions["code"] == "RATE_LIMITED" && e.Extensions["retryAfter"].(float64) < 1 {
			t.Errorf("retryAfter: %v", e.Extensions)
		}
	}
	if diff := cmp.Diff(map[string]int{"UNAUTHENTICATED": 5, "RATE_LIMITED": 995}, count); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	if a.status != 200 || a.at("login") != nil || !strings.Contains(a.text, `"data":null`) {
		t.Errorf("%d: one refused alias spoils its mutation: %.200s", a.status, a.text)
	}
}

func TestBadInput(t *testing.T) {
	s := newSystem(t, xteam.Options{})
	ann := s.User("ann")
	user, _ := s.SignIn(ann)
	quoted := func(s string) string { b, _ := json.Marshal(s); return `{"query":` + string(b) + `}` }
	bomb := "{ ...f0 }"
	for i := range 30 {
		bomb += fmt.Sprintf(" fragment f%d on Query { ...f%d ...f%d }", i, i+1, i+1)
	}
	bomb += " fragment f30 on Query { __typename }"
	deep := strings.Repeat("{a", 50) + strings.Repeat("}", 50)
	for name, c := range map[string]struct {
		body   string
		status int
		code   string
	}{
		"an array of operations":        {`[{"query":"{__typename}"},{"query":"{__typename}"}]`, 400, "BAD_REQUEST"},
		"an empty array":                {`[]`, 400, "BAD_REQUEST"},
		"nothing":                       {``, 400, "BAD_REQUEST"},
		"no JSON":                       {`{`, 400, "BAD_REQUEST"},
		"two objects":                   {`{"query":"{__typename}"}{}`, 400, "BAD_REQUEST"},
		"a member twice":                {`{"query":"{__typename}","query":"{me{id}}"}`, 400, "BAD_REQUEST"},
		"a member of another case":      {`{"Query":"{__typename}"}`, 400, "BAD_REQUEST"},
		"__proto__":                     {`{"query":"{__typename}","__proto__":{"admin":true}}`, 400, "BAD_REQUEST"},
		"__proto__ of variables":        {`{"query":"mutation($in: LoginInput!){login(input:$in){accessToken}}","variables":{"in":{"__proto__":{},"password":"x"}}}`, 400, "BAD_USER_INPUT"},
		"no query":                      {`{}`, 400, "BAD_REQUEST"},
		"a query that is a number":      {`{"query":1}`, 400, "BAD_REQUEST"},
		"variables that are an array":   {`{"query":"{__typename}","variables":[]}`, 400, "BAD_REQUEST"},
		"variables that are deep":       {`{"query":"{__typename}","variables":{"a":` + strings.Repeat("[", 100_000) + strings.Repeat("]", 100_000) + `}}`, 400, "BAD_REQUEST"},
		"a variable of the wrong shape": {`{"query":"mutation($in: LoginInput!){login(input:$in){accessToken}}","variables":{"in":"hunter2hunter2"}}`, 400, "BAD_USER_INPUT"},
		"a variable that is missing":    {`{"query":"mutation($in: LoginInput!){login(input:$in){accessToken}}"}`, 400, "BAD_USER_INPUT"},
		"a password that is a number":   {`{"query":"mutation($in: LoginInput!){login(input:$in){accessToken}}","variables":{"in":{"email":"a@b.c","password":1234567890}}}`, 200, "BAD_USER_INPUT"},
		"a literal of the wrong type":   {quoted(`mutation { login(input: {email: "a@b.c", password: 31415926535}) { accessToken } }`), 400, "GRAPHQL_VALIDATION_FAILED"},
		"a syntax error":                {quoted(`{ me { id "hunter2hunter2" } }`), 400, "GRAPHQL_PARSE_FAILED"},
		"an unknown field":              {quoted(`{ nothing }`), 400, "GRAPHQL_VALIDATION_FAILED"},
		"no selection":                  {quoted(`{ me }`), 400, "GRAPHQL_VALIDATION_FAILED"},
		"two operations and no name":    {quoted(`query A { me { id } } query B { me { id } }`), 400, "GRAPHQL_VALIDATION_FAILED"},
		"a subscription":                {quoted(`subscription { securityEvents { id } }`), 400, "BAD_REQUEST"},
		"a circle of fragments":         {quoted(`{ ...a } fragment a on Query { ...b } fragment b on Query { ...a }`), 400, "GRAPHQL_VALIDATION_FAILED"},
		"a circle that is not spread":   {quoted(`{ __typename } fragment a on Query { ...b } fragment b on Query { ...a }`), 400, "GRAPHQL_VALIDATION_FAILED"},
		"a circle through a field":      {quoted(`{ __schema { types { ...t } } } fragment t on __Type { fields { type { ...t } } }`), 400, "GRAPHQL_VALIDATION_FAILED"},
		"a bomb of fragments":           {quoted(bomb), 400, "BAD_REQUEST"},
		"a deep document":               {quoted(deep), 400, "BAD_REQUEST"},
		"a very deep document":          {quoted(strings.Repeat("{a", 7000) + strings.Repeat("}", 7000)), 400, "BAD_REQUEST"},
		"deep lists":                    {quoted(`{ a(b: ` + strings.Repeat("[", 7000) + strings.Repeat("]", 7000) + `) }`), 400, "BAD_REQUEST"},
		"16 fields deep":                {quoted(`{__schema{types` + strings.Repeat(`{ofType`, 13) + `{name}` + strings.Repeat(`}`, 13) + `}}`), 400, "BAD_REQUEST"},
		"1,001 aliases":                 {quoted(`{` + aliases(1001) + `}`), 400, "BAD_REQUEST"},
		"10,000 aliases":                {quoted(`{` + strings.ReplaceAll(aliases(10_000), "{id}", "") + `}`), 400, "BAD_REQUEST"},
		"aliases in a fragment":         {quoted(`{` + strings.Repeat("...f ", 101) + `} fragment f on Query {` + aliases(10) + `}`), 400, "BAD_REQUEST"},
		"15,001 tokens":                 {quoted(`{` + strings.Repeat("a ", 15_000) + `}`), 400, "BAD_REQUEST"},
		"14,000 fields of one name":     {quoted(`{` + strings.Repeat("a ", 14_000) + `}`), 400, "BAD_REQUEST"},
		"9,000 fields of one name":      {quoted(`{` + strings.Repeat("__typename ", 9_000) + `}`), 400, "BAD_REQUEST"},
		"directives repeated":           {quoted(`{ __typename ` + strings.Repeat("@include(if: true) ", 50) + `}`), 400, "GRAPHQL_VALIDATION_FAILED"},
		"10,000 directives":             {quoted(`{ __typename ` + strings.Repeat("@a ", 7_000) + `}`), 400, "BAD_REQUEST"},
		"what answers too much":         {quoted(`{ ` + strings.ReplaceAll(aliases(30), "me{id}", "sessions(first:100,everybody:true){nodes{id userId userAgent ipAddress expiresAt current}edges{node{id}}}") + `}`), 400, "BAD_REQUEST"},
		"introspection, nested":         {quoted(`{__schema{types{fields{type{fields{type{fields{type{fields{name}}}}}}}}}}`), 400, "GRAPHQL_VALIDATION_FAILED"},
	} {
		t.Run(name, func(t *testing.T) {
			a := s.send("POST", "/graphql", c.body, bearer(user), "Accept: application/graphql-response+json")
			if a.status != c.status || len(a.Errors) == 0 || a.Errors[0].Extensions["code"] != c.code || strings.Contains(a.text, `"data":{`) {
				t.Errorf("got %d %.300s, want %d %s", a.status, a.text, c.status, c.code)
			}
			if strings.Contains(a.text, "hunter2") || strings.Contains(a.text, "31415926535") || strings.Contains(a.text, "1234567890") || len(a.text) > 8<<10 {
				t.Errorf("the answer repeats what was sent: %.300s", a.text)
			}
		})
	}
	if a := s.send("POST", "/graphql", quoted("{ __typename #"+strings.Repeat("x", 10<<20)+"\n}")); a.status != http.StatusRequestEntityTooLarge {
		t.Errorf("10 MiB: %d %.200s", a.status, a.text)
	}
	for _, kind := range []string{"", "text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "application/graphql", "application/json; charset=utf-16"} {
		if a := s.send("POST", "/graphql", `{"query":"{__typename}"}`, "Content-Type: "+kind, bearer(user)); a.status != http.StatusUnsupportedMediaType {
			t.Errorf("%q: %d %s", kind, a.status, a.text)
		}
	}
	for _, name := range []string{`""`, `"C"`, `"secret31415926535"`} {
		a := s.send("POST", "/graphql", `{"query":"query A { me { id } } query B { me { id } }","operationName":`+name+`}`, bearer(user))
		if len(a.Errors) != 1 || a.Errors[0].Message != "operationName must be the name of one of the operations, and may be left out where there is but one" {
			t.Errorf("the operation %s: %s", name, a.text)
		}
	}
	// The largest that is taken.
	a := s.ask(`{`+aliases(1000)+`}`, nil, bearer(user))
	wants(t, a)
	if len(a.Data) != 1000 {
		t.Errorf("%d aliases", len(a.Data))
	}
	if strings.Contains(s.log.String(), "level=ERROR") {
		t.Errorf("logged: %s", s.log.String())
	}
}

func aliases(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "a%d:me{id} ", i)
	}
	return b.String()
}

func TestGet(t *testing.T) {
	s := newSystem(t, xteam.Options{})
	ann := s.User("ann")
	user, _ := s.SignIn(ann)
	get := func(query string, headers ...string) *answer {
		return s.send("GET", "/graphql?query="+strings.NewReplacer(" ", "%20", "{", "%7B", "}", "%7D", "\"", "%22").Replace(query), "", headers...)
	}
	a := get("{ me { username } }", bearer(user))
	if wants(t, a); a.at("me.username") != "ann" {
		t.Errorf("%s", a.text)
	}
	if a := get("mutation { logout }", bearer(user)); a.status != 405 || a.header.Get("Allow") != "POST" {
		t.Errorf("a mutation by GET: %d %s", a.status, a.text)
	}
	wants(t, get("{ me { username } }", bearer(user)))
	if a := get("{ __typename }", "Cookie: a=b"); a.status != 400 {
		t.Errorf("a GET with a cookie: %d %s", a.status, a.text)
	}
	wants(t, get("{ __typename }", "Cookie: a=b", "Apollo-Require-Preflight: 1"))
	for _, bad := range []string{"/graphql", "/graphql?query=%7B__typename%7D&query=x", "/graphql?query=%7B__typename%7D&variables=1", "/graphql?query=%7B__typename%7D&variables=%7B", "/graphql?query=%7B__typename%7D&x=1"} {
		if a := s.send("GET", bad, ""); a.status != 400 {
			t.Errorf("%s: %d %s", bad, a.status, a.text)
		}
	}
	if a := s.send("DELETE", "/graphql", ""); a.status != 405 {
		t.Errorf("DELETE: %d", a.status)
	}
}

// TestCookiesOfOtherOrigins: a page of another origin that a cookie comes along with is refused as such, and that is no fault of the server's.
func TestCookiesOfOtherOrigins(t *testing.T) {
	s := newSystem(t, xteam.Options{Cookies: true})
	user, _ := s.SignIn(s.User("ann"))
	ours := "Cookie: __Host-xteam_at=" + user
	wants(t, s.ask("{ me { username } }", nil, ours))
	for _, head := range []string{"Origin: null", "Origin: https://evil.test", "Sec-Fetch-Site: cross-site"} {
		a := s.ask("{ me { username } }", nil, ours, head)
		if len(a.Errors) != 1 || a.Errors[0].Extensions["code"] != "FORBIDDEN" || a.Errors[0].Extensions["problem"] != "cross_origin" {
			t.Errorf("%s: %d %s", head, a.status, a.text)
		}
	}
	if log := s.log.String(); strings.Contains(log, "level=ERROR") {
		t.Errorf("the log tells of a fault: %s", log)
	}
}

// TestTheOperatorHasNoToken: who comes by the operator's listener does what an administrator may, without a token, in every field.
func TestTheOperatorHasNoToken(t *testing.T) {
	s := newSystem(t, xteam.Options{})
	for _, field := range []string{`acknowledgeAlert(id: "none") { id }`, `blockIp(input: {cidr: "203.0.113.7"}) { cidr }`, `unblockIp(cidr: "203.0.113.7")`, `revokeUserTokens(userId: "nobody") { sessionsEnded }`, `rotateSigningKey { kid }`} {
		body, err := json.Marshal(map[string]string{"query": "mutation { " + field + " }"})
		if err != nil {
			t.Fatal(err)
		}
		r := httptest.NewRequest("POST", "/graphql", bytes.NewReader(body))
		r.Header.Set("Content-Type", "application/json")
		w := httptest.NewRecorder()
		httpapi.AsOperator(s.h).ServeHTTP(w, r)
		if text := w.Body.String(); w.Code != http.StatusOK || strings.Contains(text, "INTERNAL") || strings.Contains(text, "UNAUTHENTICATED") {
			t.Errorf("%s: %d %s", field, w.Code, text)
		}
	}
}

// TestDrill: a drill is an administrator's, and answers what REST does.
func TestDrill(t *testing.T) {
	s := newSystem(t, xteam.Options{})
	boss, _ := s.SignIn(s.Admin("root"))
	ann, _ := s.SignIn(s.User("ann"))
	const query = `mutation { drillIncident { steps { name ms seen ok } containedMs nodes { node ms } missing incident passed } }`
	wants(t, s.ask(query, nil, bearer(ann)), "FORBIDDEN")
	a := s.ask(query, nil, bearer(boss))
	wants(t, a)
	steps, _ := a.at("drillIncident.steps").([]any)
	nodes, _ := a.at("drillIncident.nodes").([]any)
	iid, _ := a.at("drillIncident.incident").(string)
	if a.at("drillIncident.passed") != true || len(steps) != 14 || len(nodes) != 1 || len(iid) != 16 || a.at("drillIncident.containedMs").(float64) <= 0 {
		t.Errorf("a drill: %s", a.text)
	}
}
