package httpapi_test

import (
	"encoding/json"
	"fmt"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/xteam/xteam/adapters/httpapi"
	"github.com/xteam/xteam/app"
	"github.com/xteam/xteam/app/view"
	"github.com/xteam/xteam/domain/account"
)

const verify = "/api/v1/auth/verify"

// identity is what an answer of forward-auth says of the bearer: all lines of all headers that begin with X-Auth-.
func identity(w *httptest.ResponseRecorder) map[string][]string {
	got := map[string][]string{}
	for name, lines := range w.Header() {
		if strings.HasPrefix(name, "X-Auth-") {
			got[name] = lines
		}
	}
	return got
}

// TestVerify (CVE-2026-30851): the 200 has all four headers, each once and empty if need be, and no body. A refusal has none of them, and is as everywhere.
func TestVerify(t *testing.T) {
	s := newService(t)
	ann := s.user("ann", account.RoleUser)
	s.user("root", account.RoleAdmin)
	p, root := s.signIn("ann"), s.signIn("root")
	w := s.call("GET", verify, "", bearer(p))
	want := map[string][]string{"X-Auth-User": {ann.ID.String()}, "X-Auth-Session": {sessionOf(t, p)}, "X-Auth-Scope": {""}, "X-Auth-Roles": {"user"}}
	if diff := cmp.Diff(want, identity(w)); w.Code != 200 || w.Body.Len() != 0 || diff != "" || w.Header().Get("Cache-Control") != "no-store" {
		t.Errorf("%d %s (-want +got):\n%s", w.Code, w.Body, diff)
	}
	if got := s.call("GET", verify, "", bearer(root)).Header()["X-Auth-Roles"]; !cmp.Equal(got, []string{"admin"}) {
		t.Errorf("roles of an administrator: %q", got)
	}
	none := s.call("GET", verify, "")
	wants(t, none, 401, "token_missing")
	wants(t, s.call("GET", verify, "", "Authorization: Bearer garbage"), 401, "token_malformed")
	wants(t, s.call("GET", verify, "", bearer(p), bearer(root)), 401, "token_malformed") // proxies know no 400: nginx makes a 500 of it
	check(t, s.accounts.Disable(t.Context(), app.Actor{Name: app.Operator}, ann.ID))
	dead := s.call("GET", verify, "", bearer(p))
	if got := wants(t, dead, 401, "token_revoked"); got["reason"] != "user_disabled" {
		t.Errorf("reason %v", got["reason"])
	}
	for _, w := range []*httptest.ResponseRecorder{none, dead} {
		if got := identity(w); len(got) != 0 {
			t.Errorf("a refusal names %v", got)
		}
	}
	s.h = httpapi.AsOperator(s.h)
	wants(t, s.call("GET", verify, ""), 401, "token_missing") // the operator is nobody's user
}

// TestVerifyJudgesTheCredentialAlone (CVE-2026-35051, CVE-2026-40575): what a proxy or its client says of the original request changes nothing, nor does what the
// client says of itself; and no preflight is let through for its origin's sake.
func TestVerifyJudgesTheCredentialAlone(t *testing.T) {
	origins, err := httpapi.ParseOrigins([]string{"https://app.example.com"})
	check(t, err)
	s := newService(t, httpapi.Options{Origins: origins})
	s.user("ann", account.RoleUser)
	p := s.signIn("ann")
	good := identity(s.call("GET", verify, "", bearer(p)))
	for _, method := range []string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "PROPFIND"} {
		for _, heads := range [][]string{
			{"X-Forwarded-Uri: /health", "X-Forwarded-Prefix: /public", "X-Forwarded-Method: OPTIONS", "X-Original-URL: /healthz", "X-Original-Method: OPTIONS", "X-Original-URI: /docs"},
			{"X-Auth-User: root", "X-Auth-Roles: admin", "X_Auth_User: root", "X-Auth-Scope: all", "X-Auth-Session: x"},
			{"Origin: https://app.example.com", "Access-Control-Request-Method: GET"},
			{"Content-Encoding: gzip", "Upgrade: websocket", "Connection: close, authorization, x-auth-user"},
		} {
			for _, query := range []string{"", "?token=" + p.AccessToken, "?role=admin&user=root"} {
				for _, below := range []string{"", "/", "/orders/1", "/health", "//", "//orders", "/a//b///c//"} {
					w := s.call(method, verify+below+query, "", append(heads, bearer(p))...)
					if diff := cmp.Diff(good, identity(w)); w.Code != 200 || w.Body.Len() != 0 || diff != "" {
						t.Fatalf("%s %s %q: %d %s (-want +got):\n%s", method, below+query, heads, w.Code, w.Body, diff)
					}
					if w := s.call(method, verify+below+query, "", heads...); w.Code != 401 {
						t.Fatalf("without a token: %s %s %q: %d", method, below+query, heads, w.Code)
					}
				}
			}
		}
	}
	wants(t, s.call("TRACE", verify, "", bearer(p)), 405, "method_not_allowed")
	wants(t, s.call("GET", verify+"/..", "", bearer(p)), 404, "not_found")
	wants(t, s.call("GET", verify+"//a/..//..", "", bearer(p)), 404, "not_found")
	wants(t, s.call("GET", verify+"x", "", bearer(p)), 404, "not_found")
	r := httptest.NewRequest("POST", verify, untouched{t})
	r.ContentLength = 10 << 30
	r.Header.Set("Authorization", "Bearer "+p.AccessToken)
	w := httptest.NewRecorder()
	if s.h.ServeHTTP(w, r); w.Code != 200 {
		t.Errorf("before a large upload: %d", w.Code)
	}
}

// TestVerifyWhileStale: closed, with a time to ask again.
func TestVerifyWhileStale(t *testing.T) {
	s := newService(t)
	s.user("ann", account.RoleUser)
	p := s.signIn("ann")
	s.core.View = view.New(view.Options{}, view.Source{Name: "database", Truth: true, Revocations: s.core.Stores.Revocations}) // never run
	s.h = httpapi.New(httpapi.Services{Guard: app.NewGuard(s.core), Sessions: app.NewSessions(s.core), View: s.core.View}, httpapi.Options{}).Handler()
	w := s.call("GET", verify, "", bearer(p))
	wants(t, w, 503, "revocations_stale")
	if got := identity(w); len(got) != 0 {
		t.Errorf("it names %v", got)
	}
}

// TestVerifyIsCharged: good credentials each to their own bucket, if at all, and never to the address; the others to the address, so that nobody guesses for nothing.
func TestVerifyIsCharged(t *testing.T) {
	l := newLimited(t, app.LimiterOptions{PerAddress: 20, Verify: 3})
	l.user("ann", account.RoleUser)
	ann, other := l.signIn("ann"), l.signIn("ann")
	var got []int
	for i := range 4 {
		w := l.call("GET", verify+",role=user/orders/1", "", bearer(ann))
		got = append(got, w.Code)
		want := map[string]string{"X-RateLimit-Limit": "3", "X-RateLimit-Remaining": fmt.Sprint(max(2-i, 0)), "RateLimit": fmt.Sprintf(`"verify";r=%d;t=20`, max(2-i, 0)), "RateLimit-Policy": `"verify";q=3;w=60`}
		if w.Code == 429 {
			want["Retry-After"] = "20"
		}
		if diff := cmp.Diff(want, limitsOf(w)); diff != "" {
			t.Errorf("answer %d (-want +got):\n%s", i+1, diff)
		}
	}
	got = append(got, l.call("GET", verify, "", bearer(other)).Code)
	for range 30 {
		l.call("GET", verify, "", "Authorization: Bearer garbage")
	}
	got = append(got, l.call("GET", verify, "", "Authorization: Bearer garbage").Code, l.call("GET", verify, "", bearer(other)).Code)
	if want := []int{200, 200, 200, 429, 200, 429, 200}; !cmp.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if w := l.call("GET", verify, "", bearer(ann)); w.Code != 429 || w.Header().Get("Retry-After") == "" || len(identity(w)) != 0 {
		t.Errorf("%d %v", w.Code, w.Header())
	}
	free := newLimited(t, app.LimiterOptions{PerAddress: 20})
	free.user("ann", account.RoleUser)
	p := free.signIn("ann")
	for i := range 100 {
		if w := free.call("GET", verify, "", bearer(p)); w.Code != 200 {
			t.Fatal(fmt.Sprint(i), w.Code)
		}
	}
}

// TestVerifyDemands: what stands behind a comma is demanded beside that the credential is good, all of it; no path, query or header of a client's takes any of it away.
func TestVerifyDemands(t *testing.T) {
	s := newService(t)
	s.user("ann", account.RoleUser)
	s.user("root", account.RoleAdmin)
	user, admin := bearer(s.signIn("ann")), bearer(s.signIn("root"))
	key := func(owner, scopes string) string {
		w := s.post("/api/v1/api-keys", `{"name":"p","scopes":[`+scopes+`]}`, owner)
		var k struct{ Key string }
		if err := json.Unmarshal(w.Body.Bytes(), &k); err != nil || w.Code != 201 {
			t.Fatalf("a key: %d %s", w.Code, w.Body)
		}
		return "X-API-Key: " + k.Key
	}
	reader, asker, adminKey, plain := key(user, `"users:read"`), key(user, `"users:read","introspect"`), key(admin, `"users:read","admin"`), key(admin, `"users:read"`)
	noReader := key(user, `"introspect"`)
	for _, c := range []struct {
		demand string
		passes []string
	}{
		{"", []string{user, admin, reader, asker, adminKey, plain}},
		{",role=user", []string{user, reader, asker, plain}},
		{",role=admin", []string{admin, adminKey}},
		{",scope=users:read", []string{user, admin, reader, asker, adminKey, plain}},
		{",scope=introspect", []string{user, admin, asker}},
		{",scope=admin", []string{admin, adminKey}},
		{",scope=revocations:read", []string{admin}},
		{",role=admin,scope=admin", []string{admin, adminKey}},
		{",scope=introspect,scope=users:read", []string{user, admin, asker}},
		{",role=admin,role=user", nil}, // all that is demanded, never one of it
	} {
		for _, who := range []string{user, admin, reader, asker, adminKey, plain, noReader} {
			want := 403
			if slices.Contains(c.passes, who) {
				want = 200
			}
			for _, below := range []string{"", "/", "/,role=user", "/orders,scope=users:read", "//a//", "/%2c", "/a%2Fb", "?role=user", "/?,role=user&scope=users:read"} {
				w := s.call("GET", verify+c.demand+below, "", who, "X-Forwarded-Uri: "+verify+",role=user")
				if w.Code != want || want == 200 && len(identity(w)) != 4 {
					t.Fatalf("%q%q: %s got %d %s, want %d", c.demand, below, who[:20], w.Code, w.Body, want)
				}
				if want == 403 {
					wants(t, w, 403, "forbidden")
					if got := identity(w); len(got) != 0 {
						t.Errorf("a refusal names %v", got)
					}
				}
			}
		}
		wants(t, s.call("GET", verify+c.demand, ""), 401, "token_missing")
	}
	for _, wrong := range []string{",", ",role", ",role=", ",role=root", ",role=Admin", ",role=admin*", ",role=admin%20", ",scope=", ",scope=all", ",scope=users:read%20admin", ",admin", ",,role=admin", ",role=admin,", ",role=admin;x",
		",role%3Dadmin%2C/x", "%2C", ";role=admin", ",role=admin/..", ",role=admin/../../verify", ",role=adm%2Fin"} {
		wants(t, s.call("GET", verify+wrong, "", admin), 404, "not_found")
	}
}

// TestVerifyTellsOfTheOriginal: the journal says of a refused request what a proxy that is trusted says of it, and what anybody else says it does not.
func TestVerifyTellsOfTheOriginal(t *testing.T) {
	proxies := httpapi.Proxies{Trusted: []netip.Prefix{netip.MustParsePrefix("192.0.2.7/32")}}
	for name, c := range map[string]struct {
		proxies httpapi.Proxies
		heads   []string
		want    string
	}{
		"trusted":        {proxies, []string{"X-Forwarded-Method: POST", "X-Forwarded-Uri: /orders/1?token=secret"}, verify + ",role=admin for POST /orders/1"},
		"no path":        {proxies, []string{"X-Forwarded-Method: POST"}, verify + ",role=admin for POST"},
		"twice":          {proxies, []string{"X-Forwarded-Method: POST", "X-Forwarded-Method: GET", "X-Forwarded-Uri: /a"}, verify + ",role=admin"},
		"two paths":      {proxies, []string{"X-Forwarded-Method: POST", "X-Forwarded-Uri: /a", "X-Forwarded-Uri: /b"}, verify + ",role=admin"},
		"underscores":    {proxies, []string{"X_Forwarded_Method: POST", "X_Forwarded_Uri: /a"}, verify + ",role=admin"},
		"nobody trusted": {httpapi.Proxies{}, []string{"X-Forwarded-Method: POST", "X-Forwarded-Uri: /orders/1"}, verify + ",role=admin"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newService(t, httpapi.Options{Proxies: c.proxies})
			s.user("ann", account.RoleUser)
			p := s.signIn("ann")
			s.log.Reset()
			wants(t, s.call("GET", verify+",role=admin", "", append(c.heads, bearer(p), "X-Forwarded-For: 198.51.100.9")...), 403, "forbidden")
			var line struct {
				Endpoint string
				Address  string `json:"ip_address"`
			}
			check(t, json.Unmarshal([]byte(s.log.String()), &line))
			want := "192.0.2.7"
			if len(c.proxies.Trusted) > 0 {
				want = "198.51.100.9"
			}
			if line.Endpoint != c.want || line.Address != want {
				t.Errorf("got %s", s.log)
			}
		})
	}
}
