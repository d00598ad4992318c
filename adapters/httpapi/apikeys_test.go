package httpapi_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/xteam/xteam/adapters/httpapi"
	"github.com/xteam/xteam/app"
	"github.com/xteam/xteam/domain/account"
	"github.com/xteam/xteam/domain/apikey"
	"github.com/xteam/xteam/domain/id"
)

const apiKeys = "/api/v1/api-keys"

// madeKey is the answer to a new key.
type madeKey struct {
	ID        string    `json:"id"`
	Name      string    `json:"name"`
	Scopes    []string  `json:"scopes"`
	Key       string    `json:"key"`
	Status    string    `json:"status"`
	ExpiresAt time.Time `json:"expires_at"`
}

func readKey(t testing.TB, w *httptest.ResponseRecorder) madeKey {
	t.Helper()
	var k madeKey
	if err := json.Unmarshal(w.Body.Bytes(), &k); err != nil || w.Code != 201 || w.Header().Get("Cache-Control") != "no-store" {
		t.Fatalf("make a key: %d %s, %v", w.Code, w.Body, w.Header())
	}
	return k
}

// key makes a key of whoever is signed in.
func (s *service) key(p pair, scopes ...string) madeKey {
	s.t.Helper()
	b, err := json.Marshal(map[string]any{"name": "deploy bot", "scopes": scopes})
	check(s.t, err)
	return readKey(s.t, s.post(apiKeys, string(b), bearer(p)))
}

// ways are the two headers that a key may come in.
func ways(key string) []string { return []string{"X-API-Key: " + key, "Authorization: Bearer " + key} }

func TestALifeOfAnAPIKey(t *testing.T) {
	s := newService(t)
	ann := s.user("ann", account.RoleUser)
	p := s.signIn("ann")
	w := s.post(apiKeys, `{"name":"CI of Ann","expires_in_days":7}`, bearer(p))
	k := readKey(t, w)
	if !strings.HasPrefix(k.Key, "xt_dev_"+k.ID+"_") || k.Name != "CI of Ann" || !cmp.Equal(k.Scopes, []string{"users:read"}) || k.Status != "live" || time.Until(k.ExpiresAt).Round(time.Hour) != 7*24*time.Hour {
		t.Fatalf("the key is %s", w.Body)
	}
	for _, way := range ways(k.Key) {
		if w := s.call("GET", "/api/v1/users/me", "", way); w.Code != 200 || !strings.Contains(w.Body.String(), ann.ID.String()) {
			t.Errorf("%.20s…: %d %s", way, w.Code, w.Body)
		}
	}
	check(t, s.keys.Flush(t.Context()))
	w = s.call("GET", apiKeys, "", bearer(p))
	var page struct {
		Items []map[string]any `json:"items"`
		Next  *string          `json:"next"`
	}
	check(t, json.Unmarshal(w.Body.Bytes(), &page))
	if len(page.Items) != 1 || page.Next != nil || page.Items[0]["id"] != k.ID || page.Items[0]["uses"] != 2.0 || page.Items[0]["last_ip_address"] != "192.0.2.7" || page.Items[0]["last_used_at"] == nil ||
		page.Items[0]["revoked_at"] != nil || strings.Contains(w.Body.String(), k.Key[40:83]) {
		t.Errorf("the list: %s", w.Body)
	}
	if w := s.call("DELETE", apiKeys+"/"+k.ID, "", bearer(p)); w.Code != 204 || w.Body.Len() != 0 {
		t.Fatalf("revoke: %d %s", w.Code, w.Body)
	}
	for _, way := range ways(k.Key) {
		w := s.call("GET", "/api/v1/users/me", "", way)
		if got := wants(t, w, 401, "token_revoked"); got["reason"] != "key_revoked" || got["detail"] != "the API key is revoked" {
			t.Errorf("%.20s…: %v", way, got)
		}
	}
	w = s.call("GET", apiKeys, "", bearer(p))
	check(t, json.Unmarshal(w.Body.Bytes(), &page))
	if page.Items[0]["status"] != "revoked" || page.Items[0]["reason"] != "key_revoked" || page.Items[0]["revoked_at"] == nil {
		t.Errorf("the list afterwards: %s", w.Body)
	}
	if w := s.call("DELETE", apiKeys+"/"+k.ID, "", bearer(p)); w.Code != 204 {
		t.Errorf("revoke again: %d %s", w.Code, w.Body)
	}
	if strings.Contains(s.log.String(), k.Key[40:83]) {
		t.Errorf("the log tells the key:\n%s", s.log)
	}
}

// CVE-2026-28744: the scope was checked for one header only. Whatever is sent, both headers have one answer.
func TestBothHeadersHaveOneAnswer(t *testing.T) {
	s := newService(t)
	s.user("ann", account.RoleUser)
	s.user("boss", account.RoleAdmin)
	p, boss := s.signIn("ann"), s.signIn("boss")
	reader, asker, dead, admin := s.key(p), s.key(p, "introspect"), s.key(p), s.key(boss, "admin")
	if w := s.call("DELETE", apiKeys+"/"+dead.ID, "", bearer(p)); w.Code != 204 {
		t.Fatal(w.Code)
	}
	type request struct{ method, path, body string }
	for name, c := range map[string]struct {
		key    string
		status map[request]int
	}{
		"with users:read": {reader.Key, map[request]int{{"GET", "/api/v1/users/me", ""}: 200, {"GET", verify, ""}: 200, {"GET", apiKeys, ""}: 403, {"POST", "/api/v1/auth/logout", ""}: 403,
			{"POST", "/api/v1/admin/users", `{}`}: 403, {"PATCH", "/api/v1/users/me", `{}`}: 403, {"POST", apiKeys, `{"name":"x","scopes":["admin"]}`}: 403}},
		"without":     {asker.Key, map[request]int{{"GET", "/api/v1/users/me", ""}: 403, {"GET", verify, ""}: 403, {"GET", apiKeys, ""}: 403}},
		"dead":        {dead.Key, map[request]int{{"GET", "/api/v1/users/me", ""}: 401, {"POST", "/api/v1/auth/logout", ""}: 401, {"POST", "/api/v1/admin/users", `{}`}: 401}},
		"of an admin": {admin.Key, map[request]int{{"GET", "/api/v1/admin/users", ""}: 200, {"POST", "/api/v1/admin/revoke-user-tokens", `{"user_id":"nobody"}`}: 404, {"GET", "/api/v1/users/me", ""}: 403, {"GET", apiKeys, ""}: 403}},
		"damaged":     {reader.Key[:90] + "g", map[request]int{{"GET", "/api/v1/users/me", ""}: 401, {"POST", "/api/v1/auth/logout", ""}: 401}},
		"cut":         {"xt_", map[request]int{{"GET", "/api/v1/users/me", ""}: 401}},
	} {
		for r, status := range c.status {
			var said [2]map[string]any
			var challenge [2]string
			for i, way := range ways(c.key) {
				w := s.call(r.method, r.path, r.body, way)
				if w.Code != status {
					t.Errorf("%s, %s %s as %.14s: got %d %s, want %d", name, r.method, r.path, way, w.Code, w.Body, status)
				}
				if w.Body.Len() > 0 {
					check(t, json.Unmarshal(w.Body.Bytes(), &said[i]))
				}
				delete(said[i], "request_id")
				challenge[i] = w.Header().Get("WWW-Authenticate")
			}
			if diff := cmp.Diff(said[0], said[1]); diff != "" || challenge[0] != challenge[1] {
				t.Errorf("%s, %s %s: %q, and %q (-X-API-Key +Bearer):\n%s", name, r.method, r.path, challenge[0], challenge[1], diff)
			}
		}
	}
	w := s.call("GET", "/api/v1/users/me", "", "X-API-Key: "+asker.Key)
	if got := wants(t, w, 403, "forbidden"); got["detail"] != "the API key lacks the scope users:read" || w.Header().Get("WWW-Authenticate") != `Bearer realm="xteam", error="insufficient_scope", scope="users:read"` {
		t.Errorf("%v, %q", got, w.Header().Get("WWW-Authenticate"))
	}
	w = s.call("POST", "/api/v1/auth/logout", "", "X-API-Key: "+asker.Key)
	if got := wants(t, w, 403, "forbidden"); got["detail"] != "an API key is not taken here: sign in" || w.Header().Get("WWW-Authenticate") != "" {
		t.Errorf("%v, %q", got, w.Header().Get("WWW-Authenticate"))
	}
	// An access token is none in the other header, and a refresh token in neither.
	wants(t, s.call("GET", "/api/v1/users/me", "", "X-API-Key: "+p.AccessToken), 401, "token_malformed")
	for _, way := range ways(p.RefreshToken) {
		wants(t, s.call("GET", "/api/v1/users/me", "", way), 401, "token_malformed")
	}
	wants(t, s.call("GET", "/api/v1/users/me", "", "X-API-Key: "), 401, "token_missing")
}

// RFC 6750: two credentials in one request are refused, whichever of them are good.
func TestTwoCredentialsAreRefusedWithKeysToo(t *testing.T) {
	s := newService(t)
	s.user("ann", account.RoleUser)
	p := s.signIn("ann")
	k := s.key(p)
	for name, heads := range map[string][]string{
		"a key and a token":           {"X-API-Key: " + k.Key, bearer(p)},
		"a key twice":                 {"X-API-Key: " + k.Key, "X-API-Key: " + k.Key},
		"a key in both":               ways(k.Key),
		"a token, and an empty key":   {bearer(p), "X-API-Key: "},
		"a token, and another's key":  {bearer(p), "X-API-Key: of-another-service"},
		"a key, and a basic password": {"X-API-Key: " + k.Key, "Authorization: Basic YTpi"},
	} {
		for path, want := range map[string]int{"/api/v1/users/me": 400, verify: 401, verify + "/deep": 401, "/api/v1/nothing": 400} {
			if strings.HasPrefix(path, verify) && strings.HasPrefix(name, "a token, and") {
				want = 200 // the key is of the service that the proxy asks for
			}
			if w := s.call("GET", path, "", heads...); w.Code != want {
				t.Errorf("%s at %s: %d %s, want %d", name, path, w.Code, w.Body, want)
			}
		}
	}
	wants(t, s.call("GET", verify, "", "X-API-Key: of-another-service"), 401, "token_missing")
	if w := s.call("GET", verify, "", "X-API-Key: "+k.Key, "X-API-Key: of-another-service"); w.Code != 200 {
		t.Errorf("a key of ours beside another service's: %d %s", w.Code, w.Body)
	}
	s.protected()
	wants(t, s.call("GET", "/orders", "", ways(k.Key)...), 400, "malformed_request")
	wants(t, s.call("GET", "/orders", "", "X-API-Key: "+k.Key, bearer(p)), 400, "malformed_request")
	for _, way := range ways(k.Key) {
		wants(t, s.call("GET", "/orders", "", way), 403, "forbidden") // Protect takes who is signed in
	}
}

// What a key needs at each route that knows its caller: a new route takes no key until it says so.
func TestWhatAKeyNeedsWhere(t *testing.T) {
	s := newService(t)
	users := map[string]string{"GET /api/v1/users/me": "users:read", "GET /api/v1/revocations": "revocations:read", "POST " + introspectAt: "introspect", "POST " + revokeAt: "tokens:revoke", " " + verify: "users:read", " " + verify + "/{path...}": "users:read",
		"GET " + apiKeys: "api-keys:write", "POST " + apiKeys: "api-keys:write", "DELETE " + apiKeys + "/{id}": "api-keys:write", "POST " + apiKeys + "/{id}/rotate": "api-keys:write"}
	for route, scope := range s.h.(*httpapi.API).KeyScopes() {
		want := users[route]
		if strings.Contains(route, "/admin/") || strings.HasSuffix(route, "/metrics") {
			want = "admin"
		}
		if scope != want {
			t.Errorf("%s needs %q, want %q", route, scope, want)
		}
		delete(users, route)
	}
	for route := range users {
		t.Errorf("%s is no more", route)
	}
	// And it is held to that: with all other scopes it is refused, before the body is looked at.
	s.user("boss", account.RoleAdmin)
	boss := s.signIn("boss")
	scopes := apikey.Granted(account.RoleAdmin).Names()
	for i, missing := range scopes {
		k := s.key(boss, append(append([]string{}, scopes[:i]...), scopes[i+1:]...)...)
		for route, scope := range s.h.(*httpapi.API).KeyScopes() {
			if scope != "" && scope != missing {
				continue
			}
			method, path, _ := strings.Cut(route, " ")
			if method == "" {
				method = "GET"
			}
			w := s.call(method, path, "{", "X-API-Key: "+k.Key)
			if strings.Contains(path, "/oauth/") {
				wantsOAuth(t, w, 403, "insufficient_scope")
				continue
			}
			wants(t, w, 403, "forbidden")
		}
	}
}

func TestAWishForAKeyIsHeldToTheRules(t *testing.T) {
	s := newService(t)
	s.user("ann", account.RoleUser)
	p := s.signIn("ann")
	fields := func(w *httptest.ResponseRecorder) string {
		var names []string
		list, _ := wants(t, w, 422, "validation_failed")["errors"].([]any)
		for _, e := range list {
			names = append(names, fmt.Sprint(e.(map[string]any)["field"]))
		}
		return strings.Join(names, " ")
	}
	for body, want := range map[string]string{
		`{}`:                                      "name",
		`{"name":""}`:                             "name",
		`{"name":"a\u0000b"}`:                     "name",
		`{"name":"a\nb","scopes":["root"]}`:       "name scopes",
		`{"name":1}`:                              "name",
		`{"name":"x","scopes":"admin"}`:           "scopes",
		`{"name":"x","scopes":["users:read",1]}`:  "scopes",
		`{"name":"x","scopes":[""]}`:              "scopes",
		`{"name":"x","scopes":["users:read "]}`:   "scopes",
		`{"name":"x","expires_in_days":0}`:        "expires_in_days",
		`{"name":"x","expires_in_days":366}`:      "expires_in_days",
		`{"name":"x","expires_in_days":-1}`:       "expires_in_days",
		`{"name":"x","expires_in_days":1.5}`:      "expires_in_days",
		`{"name":"x","expires_in_days":"7"}`:      "expires_in_days",
		`{"name":"x","expires_in_days":1e999999}`: "expires_in_days",
		`{"name":"x","requests_per_minute":0}`:    "requests_per_minute",
		`{"name":"x","requests_per_minute":-7}`:   "requests_per_minute",
		`{"name":"x","requests_per_minute":1e10}`: "requests_per_minute",
		`{"name":"x","requests_per_minute":"9"}`:  "requests_per_minute",
		`{"name":"x","hash":"AA","owner":"me"}`:   "hash owner",
		`{"name":"` + strings.Repeat("é", 101) + `","scopes":["` + strings.Repeat("x", 100_000) + `"],"expires_in_days":0}`: "name scopes expires_in_days",
	} {
		w := s.post(apiKeys, body, bearer(p))
		if got := fields(w); got != want || w.Body.Len() > 2000 {
			t.Errorf("%.60s: the fields %q are named, want %q: %.300s", body, got, want, w.Body)
		}
	}
	for _, body := range []string{`{"name":"x","scopes":["admin"]}`, `{"name":"x","scopes":["users:read","revocations:read"]}`} {
		wants(t, s.post(apiKeys, body, bearer(p)), 403, "forbidden")
	}
	for _, body := range []string{`{"name":"x","expires_in_days":365,"scopes":[]}`, `{"name":"x","expires_in_days":null,"scopes":null}`} {
		if k := readKey(t, s.post(apiKeys, body, bearer(p))); !cmp.Equal(k.Scopes, []string{"users:read"}) {
			t.Errorf("%s: %+v", body, k)
		}
	}
	k := s.key(p)
	for body, want := range map[string]string{`{"overlap_hours":-1}`: "overlap_hours", `{"overlap_hours":721,"expires_in_days":0}`: "expires_in_days overlap_hours", `{"name":"other"}`: "name"} {
		if got := fields(s.post(apiKeys+"/"+k.ID+"/rotate", body, bearer(p))); got != want {
			t.Errorf("%s: %q, want %q", body, got, want)
		}
	}
	for i := 3; i < 50; i++ {
		s.key(p)
	}
	if got := wants(t, s.post(apiKeys, `{"name":"x"}`, bearer(p)), 409, "too_many_api_keys"); !strings.Contains(got["detail"].(string), "50") {
		t.Errorf("%v", got)
	}
}

// TestChunksOfNothing: a body that need not be there is none, too, when only its end says so.
func TestChunksOfNothing(t *testing.T) {
	s := newService(t)
	s.user("ann", account.RoleUser)
	p := s.signIn("ann")
	for _, c := range []struct {
		body   string
		status int
	}{{"", 201}, {"\r\n", 201}, {"x", 400}} {
		r := httptest.NewRequest("POST", "http://xteam.test"+apiKeys+"/"+s.key(p).ID+"/rotate", io.MultiReader(strings.NewReader(c.body)))
		r.Header.Set("Authorization", strings.TrimPrefix(bearer(p), "Authorization: "))
		w := httptest.NewRecorder()
		if s.h.ServeHTTP(w, r); r.ContentLength >= 0 || w.Code != c.status {
			t.Errorf("%q: %d %s", c.body, w.Code, w.Body)
		}
	}
}

func TestRotateAKey(t *testing.T) {
	s := newService(t)
	s.user("ann", account.RoleUser)
	p := s.signIn("ann")
	works := func(k madeKey) bool { return s.call("GET", "/api/v1/users/me", "", "X-API-Key: "+k.Key).Code == 200 }
	old := s.key(p)
	next := readKey(t, s.call("POST", apiKeys+"/"+old.ID+"/rotate", "", bearer(p)))
	if next.ID == old.ID || next.Name != old.Name || !cmp.Equal(next.Scopes, old.Scopes) || !works(old) || !works(next) {
		t.Errorf("rotated: %+v", next)
	}
	wants(t, s.call("POST", apiKeys+"/"+old.ID+"/rotate", "", bearer(p)), 409, "key_state")
	last := readKey(t, s.post(apiKeys+"/"+next.ID+"/rotate", `{"overlap_hours":0,"expires_in_days":1}`, bearer(p)))
	if works(next) || !works(last) || !works(old) || time.Until(last.ExpiresAt) > 24*time.Hour {
		t.Errorf("rotated without an overlap: %+v", last)
	}
	wants(t, s.post(apiKeys+"/"+next.ID+"/rotate", `{}`, bearer(p)), 409, "key_state")
	var page struct {
		Items []struct {
			ID, Status string
			ReplacedBy string    `json:"replaced_by"`
			RetiresAt  time.Time `json:"retires_at"`
		}
	}
	check(t, json.Unmarshal(s.call("GET", apiKeys, "", bearer(p)).Body.Bytes(), &page))
	if len(page.Items) != 3 || page.Items[0].Status != "retiring" || page.Items[0].ReplacedBy != next.ID || time.Until(page.Items[0].RetiresAt).Round(time.Hour) != 24*time.Hour ||
		page.Items[1].Status != "revoked" || page.Items[1].ReplacedBy != last.ID || page.Items[2].Status != "live" {
		t.Errorf("the list: %+v", page)
	}
}

// CVE-2026-40264: what is another's, and what never was, are one answer.
func TestAnothersKeyIsNotFound(t *testing.T) {
	s := newService(t)
	s.user("ann", account.RoleUser)
	s.user("bob", account.RoleUser)
	s.user("boss", account.RoleAdmin)
	anns := s.key(s.signIn("ann"))
	for _, name := range []string{"bob", "boss"} {
		p := s.signIn(name)
		for _, what := range []struct{ method, tail string }{{"DELETE", ""}, {"POST", "/rotate"}} {
			var said []map[string]any
			for _, kid := range []string{anns.ID, strings.Repeat("ab", 16), "nonsense", strings.Repeat("0", 32), "%00"} {
				got := wants(t, s.call(what.method, apiKeys+"/"+kid+what.tail, "", bearer(p)), 404, "not_found")
				delete(got, "request_id")
				said = append(said, got)
			}
			for _, other := range said[1:] {
				if diff := cmp.Diff(said[0], other); diff != "" {
					t.Errorf("%s: Ann's key and one that never was are told apart:\n%s", name, diff)
				}
			}
		}
	}
	if w := s.call("GET", "/api/v1/users/me", "", "X-API-Key: "+anns.Key); w.Code != 200 {
		t.Errorf("Ann's key: %d %s", w.Code, w.Body)
	}
}

// A key may make keys, when it may that at all, and none that may more than it.
func TestAKeyThatMakesKeys(t *testing.T) {
	s := newService(t)
	s.user("boss", account.RoleAdmin)
	boss := s.signIn("boss")
	maker := s.key(boss, "api-keys:write", "users:read")
	for _, way := range ways(maker.Key) {
		wants(t, s.call("POST", apiKeys, `{"name":"x","scopes":["admin"]}`, way), 403, "forbidden")
		wants(t, s.call("POST", apiKeys, `{"name":"x","scopes":["users:read","introspect"]}`, way), 403, "forbidden")
		child := readKey(t, s.call("POST", apiKeys, `{"name":"x"}`, way)) // whatever its Content-Type: the credential is in a header
		if !child.ExpiresAt.Equal(maker.ExpiresAt) {
			t.Errorf("the child ends at %v, its maker at %v", child.ExpiresAt, maker.ExpiresAt)
		}
		next := readKey(t, s.call("POST", apiKeys+"/"+child.ID+"/rotate", `{"overlap_hours":1}`, way))
		if w := s.call("DELETE", apiKeys+"/"+next.ID, "", way); w.Code != 204 {
			t.Errorf("%d %s", w.Code, w.Body)
		}
	}
}

// Behind the operator's listener a key is a key all the same.
func TestAnOperatorsKeyIsNoMoreThanAKey(t *testing.T) {
	s := newService(t)
	s.user("ann", account.RoleUser)
	k := s.key(s.signIn("ann"))
	s.h = httpapi.AsOperator(s.h)
	if w := s.call("GET", "/api/v1/admin/users", ""); w.Code != 200 {
		t.Fatalf("the operator: %d %s", w.Code, w.Body)
	}
	for _, way := range ways(k.Key) {
		wants(t, s.call("GET", "/api/v1/admin/users", "", way), 403, "forbidden")
	}
	wants(t, s.call("GET", "/api/v1/admin/users", "", "X-API-Key: xt_"), 401, "token_malformed")
}

// What a program sends in a header goes before what a browser keeps.
func TestAKeyGoesBeforeACookie(t *testing.T) {
	s := newService(t, httpapi.Options{Cookies: httpapi.Cookies{On: true}})
	s.user("ann", account.RoleUser)
	bob := s.user("bob", account.RoleUser)
	anns := "Cookie: __Host-xteam_at=" + s.signIn("ann").AccessToken
	k := s.key(s.signIn("bob"), "users:read", "api-keys:write")
	for _, way := range ways(k.Key) {
		if w := s.call("GET", "/api/v1/users/me", "", anns, way); w.Code != 200 || !strings.Contains(w.Body.String(), bob.ID.String()) {
			t.Errorf("%d %s", w.Code, w.Body)
		}
		readKey(t, s.call("POST", apiKeys, `{"name":"x"}`, anns, way, "Sec-Fetch-Site: cross-site"))
	}
	wants(t, s.call("GET", "/api/v1/users/me", "", anns, "X-API-Key: garbage"), 401, "token_malformed")
}

// A key is charged at forward-auth as a credential of its own, and else to its owner.
func TestAKeyIsChargedByItself(t *testing.T) {
	l := newLimited(t, app.LimiterOptions{PerAddress: 20, Read: 3, Verify: 2})
	l.user("ann", account.RoleUser)
	p := l.signIn("ann")
	a, b := l.key(p), l.key(p)
	codes := func(path string, keys ...madeKey) (got []int) {
		for _, k := range keys {
			got = append(got, l.call("GET", path, "", "X-API-Key: "+k.Key).Code)
		}
		return got
	}
	if got, want := codes(verify, a, a, a, b, b, b), []int{200, 200, 429, 200, 200, 429}; !cmp.Equal(got, want) {
		t.Errorf("forward-auth: got %v, want %v", got, want)
	}
	if got, want := codes("/api/v1/users/me", a, b, a, b), []int{200, 200, 200, 429}; !cmp.Equal(got, want) {
		t.Errorf("reads: got %v, want %v", got, want)
	}
	if w := l.call("GET", "/api/v1/users/me", "", bearer(p)); w.Code != 429 {
		t.Errorf("the owner's own read: %d", w.Code)
	}
}

func TestAKeyIsExplained(t *testing.T) {
	s := newService(t)
	s.user("boss", account.RoleAdmin)
	ann := s.user("ann", account.RoleUser)
	boss, p := s.signIn("boss"), s.signIn("ann")
	live, dead, orphan := s.key(p), s.key(p), s.key(p)
	if w := s.call("DELETE", apiKeys+"/"+dead.ID, "", bearer(p)); w.Code != 204 {
		t.Fatal(w.Code)
	}
	// about asks, and demands what an API key is explained by at least.
	about := func(what, text string, want map[string]any) map[string]any {
		t.Helper()
		got, raw := s.explained(boss, text)
		if len(text) > 83 && strings.Contains(raw, text[40:83]) {
			t.Errorf("%s: the answer repeats it: %s", what, raw)
		}
		want["kind"] = "api_key"
		for name, value := range want {
			if got[name] != value {
				t.Errorf("%s: %s is %v, want %v", what, name, got[name], value)
			}
		}
		return got
	}
	in := func(got map[string]any, member, name string) any {
		inner, _ := got[member].(map[string]any)
		return inner[name]
	}
	got := about("a live key", live.Key, map[string]any{"taken": true, "verified": true, "code": nil})
	if in(got, "api_key", "id") != live.ID || in(got, "api_key", "status") != "live" || in(got, "user", "id") != ann.ID.String() {
		t.Errorf("a live key: %v", got)
	}
	got = about("a dead key", dead.Key, map[string]any{"taken": false, "verified": true, "code": "token_revoked", "reason": "key_revoked", "by": ann.ID.String()})
	if in(got, "api_key", "status") != "revoked" || got["since"] != in(got, "api_key", "revoked_at") || got["since"] == nil {
		t.Errorf("a dead key: %v", got)
	}
	if w := s.post("/api/v1/admin/revocations", `{"user_id":"ann","reason":"left the team"}`, bearer(boss)); w.Code != 200 {
		t.Fatal(w.Code)
	}
	got = about("a key whose owner was revoked", orphan.Key, map[string]any{"taken": false, "verified": true, "code": "token_revoked", "reason": "user_revoked", "note": "left the team"})
	if got["since"] == nil {
		t.Errorf("a key whose owner was revoked: %v", got)
	}
	strange, _, err := apikey.Make(apikey.Development, mustKeyID(t, live.ID), s.core.Random)
	check(t, err)
	foreign, _, err := apikey.Make(apikey.Production, mustKeyID(t, live.ID), s.core.Random)
	check(t, err)
	for text, code := range map[string]string{"xt_dev_": "token_malformed", live.Key[:90] + "g": "token_malformed", strange.RevealPlaintext(): "token_invalid", foreign.RevealPlaintext(): "token_invalid"} {
		about("no key of ours", text, map[string]any{"taken": false, "verified": false, "code": code, "api_key": nil, "user": nil})
	}
	check(t, s.keys.Flush(t.Context()))
	if listed := s.call("GET", apiKeys, "", bearer(s.signIn("ann"))).Body.String(); strings.Count(listed, `"uses":0`) != 3 {
		t.Errorf("explaining used a key: %s", listed)
	}
}

func mustKeyID(t *testing.T, text string) id.APIKey {
	t.Helper()
	kid, err := id.Parse[id.APIKey](text)
	check(t, err)
	return kid
}

func TestVerifyTakesAKey(t *testing.T) {
	s := newService(t)
	boss := s.user("boss", account.RoleAdmin)
	k := s.key(s.signIn("boss"), "users:read", "introspect")
	for _, way := range ways(k.Key) {
		want := map[string][]string{"X-Auth-User": {boss.ID.String()}, "X-Auth-Session": {""}, "X-Auth-Scope": {"users:read introspect"}, "X-Auth-Roles": {"user"}}
		if w := s.call("GET", verify, "", way); w.Code != 200 || !cmp.Equal(identity(w), want) {
			t.Errorf("%d, %v", w.Code, identity(w))
		}
	}
	check(t, s.accounts.Disable(t.Context(), app.Actor{Name: app.Operator, Force: true}, boss.ID))
	for _, way := range ways(k.Key) {
		if got := wants(t, s.call("GET", verify, "", way), 401, "token_revoked"); got["reason"] != "user_disabled" {
			t.Errorf("%v", got)
		}
	}
}

func TestAStolenKeyGoesWithWhatItMade(t *testing.T) {
	s := newService(t)
	s.user("ann", account.RoleUser)
	p := s.signIn("ann")
	stolen := s.key(p, "users:read", "api-keys:write")
	child := readKey(t, s.call("POST", apiKeys, `{"name":"more"}`, "X-API-Key: "+stolen.Key))
	var page struct {
		Items []struct {
			ID     string
			MadeBy map[string]*string `json:"made_by"`
		}
	}
	check(t, json.Unmarshal(s.call("GET", apiKeys, "", bearer(p)).Body.Bytes(), &page))
	for _, k := range page.Items {
		by, session := k.MadeBy["api_key"], k.MadeBy["session"]
		if session == nil || len(*session) != 32 || (k.ID == child.ID) != (by != nil) || by != nil && *by != stolen.ID {
			t.Errorf("%s is shown to be made by %v and %v", k.ID, by, session)
		}
	}
	for query, field := range map[string]string{"?children=yes": "children", "?child=true": "child"} {
		if got := wants(t, s.call("DELETE", apiKeys+"/"+stolen.ID+query, "", bearer(p)), 422, "validation_failed"); !strings.Contains(fmt.Sprint(got["errors"]), field) {
			t.Errorf("%s: %v", query, got)
		}
	}
	w := s.call("DELETE", apiKeys+"/"+stolen.ID+"?children=true", "", bearer(p))
	if want := `{"revoked":["` + stolen.ID + `","` + child.ID + `"]}`; w.Code != 200 || strings.TrimSpace(w.Body.String()) != want {
		t.Errorf("revoke with children: %d %s", w.Code, w.Body)
	}
	wants(t, s.call("GET", "/api/v1/users/me", "", "X-API-Key: "+child.Key), 401, "token_revoked")
}

func TestASigningKeyThatAnAPIKeyChangedSaysSo(t *testing.T) {
	s := newService(t)
	s.user("boss", account.RoleAdmin)
	k := s.key(s.signIn("boss"), "admin")
	var page struct{ Items []struct{ KID string } }
	check(t, json.Unmarshal(s.call("GET", "/api/v1/admin/keys", "", "X-API-Key: "+k.Key).Body.Bytes(), &page))
	for _, act := range []string{"/rotate", "/" + page.Items[0].KID + "/revoke"} {
		s.log.Reset()
		path := "/api/v1/admin/keys" + act
		if w := s.call("POST", path, `{}`, "X-API-Key: "+k.Key); w.Code != 200 {
			t.Fatalf("%s: %d %s", act, w.Code, w.Body)
		}
		if want := `"by_api_key":"` + k.ID + `"`; !strings.Contains(s.log.String(), want) {
			t.Errorf("%s leaves no %s in the log:\n%s", act, want, s.log)
		}
	}
}

func TestAdministratorsSeeAndEndKeys(t *testing.T) {
	s := newService(t)
	ann := s.user("ann", account.RoleUser)
	s.user("boss", account.RoleAdmin)
	p, boss := s.signIn("ann"), bearer(s.signIn("boss"))
	k, other := s.key(p, "users:read", "api-keys:write"), s.key(p)
	child := readKey(t, s.call("POST", apiKeys, `{"name":"more"}`, "X-API-Key: "+k.Key))
	const path = "/api/v1/admin/api-keys"
	for target, want := range map[string]int{path: 422, path + "?user=": 422, path + "?user=ann&limit=0": 422, path + "?user=nobody": 404, path + "?user=ann": 200} {
		w := s.call("GET", target, "", boss)
		if w.Code != want || want == 200 && (strings.Count(w.Body.String(), `"user_id":"`+ann.ID.String()) != 3 || !strings.Contains(w.Body.String(), `"api_key":"`+k.ID)) {
			t.Errorf("%s: %d %s, want %d", target, w.Code, w.Body, want)
		}
	}
	if w := s.call("GET", path+"/"+child.ID, "", boss); w.Code != 200 || !strings.Contains(w.Body.String(), `"networks":[],"requests_per_minute":null`) || !strings.Contains(w.Body.String(), `"user_id":"`+ann.ID.String()) {
		t.Errorf("of one key: %d %s", w.Code, w.Body)
	}
	for _, target := range []string{"/" + strings.Repeat("0", 32), "/" + strings.Repeat("1", 32), "/nonsense", "/" + child.Key} {
		if w := s.call("GET", path+target, "", boss); w.Code != 404 || strings.Contains(w.Body.String(), child.Key[40:83]) {
			t.Errorf("%s: %d %s", target, w.Code, w.Body)
		}
	}
	for _, who := range []string{bearer(p), "X-API-Key: " + k.Key} {
		wants(t, s.call("GET", path+"?user=ann", "", who), 403, "forbidden")
		wants(t, s.call("GET", path+"/"+k.ID, "", who), 403, "forbidden")
		wants(t, s.post(path+"/"+k.ID+"/revoke", `{}`, who), 403, "forbidden")
	}
	for target, want := range map[string]int{"/" + strings.Repeat("0", 32): 404, "/nonsense": 404} {
		if w := s.post(path+target+"/revoke", `{}`, boss); w.Code != want {
			t.Errorf("%s: %d %s", target, w.Code, w.Body)
		}
	}
	wants(t, s.post(path+"/"+k.ID+"/revoke", `{"reason":"`+strings.Repeat("x", 501)+`"}`, boss), 422, "validation_failed")
	for _, c := range []struct{ id, body, want string }{
		{other.ID, "", `{"revoked":["` + other.ID + `"]}`},
		{k.ID, `{"children":true,"reason":"stolen"}`, `{"revoked":["` + k.ID + `","` + child.ID + `"]}`},
	} {
		if w := s.post(path+"/"+c.id+"/revoke", c.body, boss); w.Code != 200 || strings.TrimSpace(w.Body.String()) != c.want {
			t.Errorf("revoke: %d %s, want %s", w.Code, w.Body, c.want)
		}
	}
	for _, dead := range []madeKey{k, other, child} {
		if got := wants(t, s.call("GET", "/api/v1/users/me", "", "X-API-Key: "+dead.Key), 401, "token_revoked"); got["reason"] != "key_revoked" {
			t.Errorf("afterwards: %v", got)
		}
	}
	if log := s.log.String(); strings.Count(log, `"note":"stolen"`) != 2 {
		t.Errorf("the log: %s", log)
	}
}
