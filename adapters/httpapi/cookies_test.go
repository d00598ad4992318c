package httpapi_test

import (
	"encoding/json"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/xteam/xteam/adapters/httpapi"
	"github.com/xteam/xteam/domain/account"
)

const (
	accessCookie  = "__Host-xteam_at"
	refreshCookie = "__Secure-xteam_rt"
	refreshPath   = "/api/v1/auth/refresh"
)

// browser is a service with cookies, one front end of another origin, and a browser that has signed in.
func browser(t *testing.T) (s *service, cookies map[string]string) {
	t.Helper()
	s = newService(t, httpapi.Options{Cookies: httpapi.Cookies{On: true, Refresh: 7 * 24 * time.Hour}, Origins: origins(t, app1)})
	s.user("ann", account.RoleUser)
	w := s.post("/api/v1/auth/login", `{"username":"ann","password":"`+password+`"}`, "Sec-Fetch-Site: same-origin")
	if w.Code != 200 {
		t.Fatalf("sign in: %d %s", w.Code, w.Body)
	}
	return s, kept(t, w)
}

// kept are the cookies of an answer by name.
func kept(t *testing.T, w *httptest.ResponseRecorder) map[string]string {
	t.Helper()
	all := map[string]string{}
	for _, c := range w.Result().Cookies() {
		all[c.Name] = c.Value
	}
	return all
}

func with1(cookies map[string]string, names ...string) string {
	var all []string
	for _, n := range names {
		all = append(all, n+"="+cookies[n])
	}
	return "Cookie: theme=dark; " + strings.Join(all, "; ")
}

// TestCookiesAreSet: with the prefixes and attributes by which no script, no plain connection, no other path and no other site gets at them; and without cookies
// none is set, and none is read.
func TestCookiesAreSet(t *testing.T) {
	s, cookies := browser(t)
	w := s.post("/api/v1/auth/login", `{"username":"ann","password":"`+password+`"}`)
	var p pair
	check(t, json.Unmarshal(w.Body.Bytes(), &p))
	want := []string{
		accessCookie + "=" + p.AccessToken + "; Path=/; Max-Age=1800; HttpOnly; Secure; SameSite=Lax",
		refreshCookie + "=" + p.RefreshToken + "; Path=/api/v1/auth/refresh; Max-Age=604800; HttpOnly; Secure; SameSite=Lax",
	}
	if diff := cmp.Diff(want, w.Header()["Set-Cookie"]); diff != "" || p.AccessToken == "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if got := s.call("POST", "/api/v1/auth/login", `{"username":"ann","password":"`+password+`"}`, "Authorization: Basic YTpi", "Content-Type: text/plain"); got.Code != 200 || got.Header()["Set-Cookie"] != nil {
		t.Errorf("a sign-in that any page's form could send: %d %v, want no cookie set", got.Code, got.Header()["Set-Cookie"])
	}
	off := newService(t)
	off.user("ann", account.RoleUser)
	if got := off.post("/api/v1/auth/login", `{"username":"ann","password":"`+password+`"}`).Header()["Set-Cookie"]; got != nil {
		t.Errorf("without cookies: %q", got)
	}
	p = off.signIn("ann")
	wants(t, off.call("GET", me, "", "Cookie: "+accessCookie+"="+p.AccessToken), 401, "token_missing")
	wants(t, off.post(refreshPath, "{}", "Cookie: "+refreshCookie+"="+p.RefreshToken), 422, "validation_failed")
	if w := s.call("GET", me, "", with1(cookies, accessCookie), "Sec-Fetch-Site: same-origin"); w.Code != 200 {
		t.Errorf("the cookie of the browser: %d %s", w.Code, w.Body)
	}
}

// TestCookiesOfOtherPages: a cookie counts only when the browser says, or does not deny, that a page of ours sent it along, or one of a listed origin.
func TestCookiesOfOtherPages(t *testing.T) {
	s, cookies := browser(t)
	cookie := with1(cookies, accessCookie)
	for _, try := range []struct {
		heads string
		read  int // GET /users/me
		write int // PATCH
	}{
		{"", 200, 200}, // no browser, or one that is ten years old
		{"Sec-Fetch-Site: same-origin", 200, 200},
		{"Sec-Fetch-Site: same-origin|Origin: http://xteam.test", 200, 200},
		{"Sec-Fetch-Site: none", 200, 200},
		{"Sec-Fetch-Site: none|Sec-Fetch-Mode: navigate", 200, 200},
		{"Origin: http://xteam.test", 200, 200}, // as this test asks: plainly
		{"Origin: " + app1, 200, 200},
		{"Origin: " + app1 + "|Sec-Fetch-Site: same-site|Sec-Fetch-Mode: cors", 200, 200},
		{"Sec-Fetch-Site: cross-site|Sec-Fetch-Mode: navigate", 200, 403}, // a link that was followed
		{"Sec-Fetch-Site: cross-site", 403, 403},
		{"Sec-Fetch-Site: same-site", 403, 403},
		{"Sec-Fetch-Site: cross-site|Sec-Fetch-Mode: no-cors", 403, 403},
		{"Sec-Fetch-Site: cross-site|Sec-Fetch-Mode: navigate|Origin: https://evil.test", 403, 403},
		{"Sec-Fetch-Site: same-site|Sec-Fetch-Mode: cors|Origin: https://evil.xteam.test", 403, 403},
		{"Sec-Fetch-Site: nonsense", 403, 403},
		{"Sec-Fetch-Site: same-origin|Sec-Fetch-Site: cross-site", 403, 403},
		{"Origin: null", 403, 403},
		{"Origin: null|Sec-Fetch-Site: same-origin", 403, 403},
		{"Origin: https://evil.test", 403, 403},
		{"Origin: https://xteam.test", 403, 403}, // another scheme
		{"Origin: http://xteam.test:8080", 403, 403},
		{"Origin: http://evilxteam.test", 403, 403},
		{"Origin: http://xteam.test.evil.test", 403, 403},
		{"Origin: http://app.example.com", 403, 403},
		{"Origin: http://xteam.test|Origin: http://xteam.test", 403, 403},
	} {
		var heads []string
		if try.heads != "" {
			heads = strings.Split(try.heads, "|")
		}
		if w := s.call("GET", me, "", append(heads, cookie)...); w.Code != try.read {
			t.Errorf("read, %s: got %d %s, want %d", try.heads, w.Code, w.Body, try.read)
		}
		if w := s.call("PATCH", me, `{"full_name":"Ann"}`, append(heads, cookie, asJSON)...); w.Code != try.write || w.Code == 403 && !strings.Contains(w.Body.String(), "cross_origin") {
			t.Errorf("write, %s: got %d %s, want %d", try.heads, w.Code, w.Body, try.write)
		}
	}
	// Over TLS it is the plain origin that is another.
	r := httptest.NewRequest("GET", "https://xteam.test"+me, http.NoBody)
	r.RemoteAddr = "192.0.2.7:1"
	r.Header.Set("Cookie", accessCookie+"="+cookies[accessCookie])
	for origin, want := range map[string]int{"https://xteam.test": 200, "http://xteam.test": 403} {
		r.Header.Set("Origin", origin)
		w := httptest.NewRecorder()
		s.h.ServeHTTP(w, r)
		if w.Code != want {
			t.Errorf("over TLS from %s: got %d, want %d", origin, w.Code, want)
		}
	}
}

// TestCookiesAskForJSON: what changes something by a cookie says that it is JSON, with a body or without, so that no form of any page can send it.
func TestCookiesAskForJSON(t *testing.T) {
	s, cookies := browser(t)
	cookie := with1(cookies, accessCookie)
	for _, kind := range []string{"text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", ""} {
		wants(t, s.call("PATCH", me, `{"full_name":"Ann"}`, cookie, "Content-Type: "+kind), 415, "unsupported_media_type")
		wants(t, s.call("POST", "/api/v1/auth/logout", "", cookie, "Content-Type: "+kind), 415, "unsupported_media_type")
		wants(t, s.call("POST", refreshPath, "{}", with1(cookies, refreshCookie), "Content-Type: "+kind), 415, "unsupported_media_type")
	}
	if w := s.call("GET", me, "", cookie); w.Code != 200 {
		t.Errorf("the session did not outlive refused requests: %d", w.Code)
	}
	if w := s.call("POST", "/api/v1/auth/logout", "", cookie, asJSON); w.Code != 204 {
		t.Errorf("log out: %d %s", w.Code, w.Body)
	}
}

// TestAuthorizationWins: over a cookie, good or bad; of two cookies of one name nobody can say which is meant.
func TestAuthorizationWins(t *testing.T) {
	s, cookies := browser(t)
	s.user("bob", account.RoleUser)
	bob, cookie := s.signIn("bob"), with1(cookies, accessCookie)
	if w := s.call("GET", me, "", cookie, bearer(bob), "Sec-Fetch-Site: cross-site"); w.Code != 200 || !strings.Contains(w.Body.String(), `"username":"bob"`) {
		t.Errorf("bob's token beside ann's cookie: %d %s", w.Code, w.Body)
	}
	wants(t, s.call("GET", me, "", cookie, "Authorization: Bearer x"), 401, "token_malformed")
	wants(t, s.call("GET", me, "", cookie, "Authorization: Basic YTpi"), 401, "token_missing")
	wants(t, s.call("GET", me, "", cookie, cookie), 400, "malformed_request")
	wants(t, s.call("GET", me, "", cookie+"; "+accessCookie+"=other"), 400, "malformed_request")
	wants(t, s.call("GET", "/api/v1/auth/verify", "", cookie, cookie), 401, "token_malformed")
	wants(t, s.call("GET", me, "", "Cookie: "+accessCookie+"="), 401, "token_missing")
	wants(t, s.call("GET", me, "", "Cookie: "+strings.ToUpper(accessCookie)+"="+cookies[accessCookie]), 401, "token_missing")
	wants(t, s.call("GET", me, "", "Cookie: x"+accessCookie+"="+cookies[accessCookie]), 401, "token_missing")
	wants(t, s.call("GET", me, "", "Cookie: "+refreshCookie+"="+cookies[refreshCookie]), 401, "token_missing")
	wants(t, s.call("GET", me, "", "Cookie: "+accessCookie+"=nonsense"), 401, "token_malformed")
	if w := s.call("GET", me, "", "Cookie: "+strings.Repeat("a=;", 16_000)+" "+accessCookie+"="+cookies[accessCookie]); w.Code != 200 {
		t.Errorf("behind 16,000 others: %d %s", w.Code, w.Body)
	}
}

// TestCookieRefresh: a refresh by cookie answers by cookies alone, so that no script that got into a page reads a token; a refused one takes them away.
func TestCookieRefresh(t *testing.T) {
	s, cookies := browser(t)
	w := s.post(refreshPath, "{}", with1(cookies, refreshCookie), "Sec-Fetch-Site: same-origin")
	next := kept(t, w)
	if w.Code != 200 || w.Body.String() != `{"token_type":"bearer","expires_in":1800}` || next[accessCookie] == "" || next[refreshCookie] == "" || next[refreshCookie] == cookies[refreshCookie] {
		t.Fatalf("got %d %s %v", w.Code, w.Body, next)
	}
	if w := s.call("GET", me, "", with1(next, accessCookie)); w.Code != 200 {
		t.Errorf("with the new one: %d", w.Code)
	}
	w = s.call("POST", refreshPath, "", with1(next, refreshCookie), "Content-Type: application/json") // a body that says nothing need not be there
	if next = kept(t, w); w.Code != 200 || next[refreshCookie] == "" {
		t.Fatalf("without a body: %d %s", w.Code, w.Body)
	}
	wants(t, s.call("POST", refreshPath, "", with1(next, refreshCookie)), 415, "unsupported_media_type")
	wants(t, s.call("POST", refreshPath, "", with1(next, refreshCookie), "Content-Type: application/json", "Sec-Fetch-Site: cross-site"), 403, "cross_origin")
	wants(t, s.call("POST", refreshPath, "", "Content-Type: application/json"), 400, "malformed_json")
	wants(t, s.post(refreshPath, "{}", with1(next, refreshCookie), "Sec-Fetch-Site: cross-site"), 403, "cross_origin")
	// A token in the body wins, and is answered in the body, with cookies beside it.
	var p pair
	w = s.post(refreshPath, `{"refresh_token":"`+next[refreshCookie]+`"}`, "Cookie: "+refreshCookie+"=nonsense")
	check(t, json.Unmarshal(w.Body.Bytes(), &p))
	if p.AccessToken == "" || kept(t, w)[refreshCookie] != p.RefreshToken {
		t.Errorf("by the body: %d %s", w.Code, w.Body)
	}
	gone := s.post(refreshPath, "{}", "Cookie: "+refreshCookie+"=nonsense")
	wants(t, gone, 401, "token_invalid")
	want := []string{accessCookie + "=; Path=/; Max-Age=0; HttpOnly; Secure; SameSite=Lax", refreshCookie + "=; Path=/api/v1/auth/refresh; Max-Age=0; HttpOnly; Secure; SameSite=Lax"}
	if diff := cmp.Diff(want, gone.Header()["Set-Cookie"]); diff != "" {
		t.Errorf("refused (-want +got):\n%s", diff)
	}
	// And one that Authorization goes with is not read at all.
	wants(t, s.post(refreshPath, "{}", with1(next, refreshCookie), "Authorization: Bearer x"), 422, "validation_failed")
	for _, path := range []string{"/api/v1/auth/logout", "/api/v1/auth/logout-all"} {
		w := s.post(path, "", bearer(s.signIn("ann")))
		if diff := cmp.Diff(want, w.Header()["Set-Cookie"]); w.Code/100 != 2 || diff != "" {
			t.Errorf("%s: %d (-want +got):\n%s", path, w.Code, diff)
		}
	}
}

// TestCookiePasswordChange: the fresh pair goes the way that the token came.
func TestCookiePasswordChange(t *testing.T) {
	s, cookies := browser(t)
	w := s.post("/api/v1/auth/change-password", `{"current_password":"`+password+`","new_password":"another-Horse-battery"}`, with1(cookies, accessCookie))
	if w.Code != 200 || strings.Contains(w.Body.String(), "access_token") || kept(t, w)[accessCookie] == "" {
		t.Errorf("got %d %s %v", w.Code, w.Body, kept(t, w))
	}
}

// TestCORSWithCookies: the listed origins may send them along, and no origin may when any is taken.
func TestCORSWithCookies(t *testing.T) {
	s, cookies := browser(t)
	for _, w := range []*httptest.ResponseRecorder{
		s.call("GET", me, "", with1(cookies, accessCookie), "Origin: "+app1, "Sec-Fetch-Site: same-site"),
		s.call("OPTIONS", me, "", "Origin: "+app1, "Access-Control-Request-Method: PATCH"),
	} {
		if w.Code/100 != 2 || w.Header().Get("Access-Control-Allow-Credentials") != "true" || w.Header().Get("Access-Control-Allow-Origin") != app1 {
			t.Errorf("got %d %v", w.Code, w.Header())
		}
	}
	for _, origin := range alike {
		if h := s.call("GET", me, "", with1(cookies, accessCookie), "Origin: "+origin).Header(); h["Access-Control-Allow-Credentials"] != nil || h["Access-Control-Allow-Origin"] != nil {
			t.Errorf("%s: %v", origin, h)
		}
	}
	wide := newService(t, httpapi.Options{Cookies: httpapi.Cookies{On: true}, Origins: origins(t, "*", app1)})
	for _, origin := range []string{app1, "https://evil.test"} {
		h := wide.call("GET", "/health", "", "Origin: "+origin).Header()
		if h["Access-Control-Allow-Credentials"] != nil && h.Get("Access-Control-Allow-Origin") != app1 || h.Get("Access-Control-Allow-Origin") == "https://evil.test" || h.Get("Access-Control-Allow-Origin") == "*" {
			t.Errorf("* with cookies, from %s: %v", origin, h)
		}
	}
}

// TestCookiesThroughProtect and at the proxies' door: by the same rules, without the body's.
func TestCookiesThroughProtect(t *testing.T) {
	s, cookies := browser(t)
	cookie := with1(cookies, accessCookie)
	if w := s.call("GET", "/api/v1/auth/verify", "", cookie); w.Code != 200 {
		t.Errorf("verify by cookie: %d %s", w.Code, w.Body)
	}
	if w := s.call("POST", "/api/v1/auth/verify", "", cookie, "Content-Type: text/plain"); w.Code != 200 {
		t.Errorf("verify of a form: %d %s", w.Code, w.Body)
	}
	wants(t, s.call("GET", "/api/v1/auth/verify", "", cookie, "Sec-Fetch-Site: cross-site", "Sec-Fetch-Mode: no-cors"), 403, "cross_origin")
	defer func() {
		s.h = s.h.(*httpapi.API).Protect(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusTeapot) }))
		if w := s.call("POST", "/orders", "a=b", cookie, "Content-Type: application/x-www-form-urlencoded", "Sec-Fetch-Site: same-origin"); w.Code != http.StatusTeapot {
			t.Errorf("a form of our own page: %d %s", w.Code, w.Body)
		}
		wants(t, s.call("POST", "/orders", "a=b", cookie, "Sec-Fetch-Site: same-site", "Origin: https://evil.xteam.test"), 403, "cross_origin")
	}()
	wants(t, s.call("GET", "/api/v1/auth/verify", "", cookie, "Sec-Fetch-Site: same-site", "Sec-Fetch-Mode: navigate", "Origin: https://evil.xteam.test"), 403, "cross_origin")
}

// TestNoLaxerThanNetHTTP: whatever net/http's CrossOriginProtection refuses for a browser's sake, a request by cookie is refused too, and the list of what is refused
// beyond it is exactly this.
func TestNoLaxerThanNetHTTP(t *testing.T) {
	s, cookies := browser(t)
	cookie := with1(cookies, accessCookie)
	theirs := http.NewCrossOriginProtection()
	check(t, theirs.AddTrustedOrigin(app1))
	stricter := map[string]bool{}
	for _, method := range []string{"GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE"} {
		for _, site := range []string{"", "same-origin", "same-site", "cross-site", "none", "SAME-ORIGIN", "nonsense"} {
			for _, origin := range append([]string{"", "null", app1, "http://xteam.test", "https://xteam.test", "http://xteam.test:8000", "http://XTEAM.test", "file://", "https://xteam.test.evil.test"}, alike...) {
				for _, mode := range []string{"", "navigate", "cors"} {
					heads := []string{cookie, asJSON}
					r := httptest.NewRequest(method, "http://xteam.test"+verify, nil)
					for name, value := range map[string]string{"Sec-Fetch-Site": site, "Origin": origin, "Sec-Fetch-Mode": mode} {
						if value != "" {
							heads = append(heads, name+": "+value)
							r.Header.Set(name, value)
						}
					}
					refused := theirs.Check(r) != nil
					w := s.call(method, verify, "", heads...)
					switch {
					case w.Code != 200 && w.Code != 403:
						t.Fatalf("%s %q: %d %s", method, heads, w.Code, w.Body)
					case refused && w.Code == 200:
						t.Errorf("%s with Sec-Fetch-Site %q, Origin %q: net/http refuses it", method, site, origin)
					case !refused && w.Code == 403:
						what := "changes something"
						if method == "GET" || method == "HEAD" || method == "OPTIONS" {
							what = "changes nothing"
						}
						if site != "" {
							what += ", Sec-Fetch-Site " + site
						}
						if origin != "" {
							what += ", an Origin"
						}
						stricter[what] = true
					}
				}
			}
		}
	}
	want := []string{ // beyond it: an Origin that is not the page's own, whatever Sec-Fetch-Site says, and what changes nothing and is no link that was followed
		"changes nothing, Sec-Fetch-Site SAME-ORIGIN", "changes nothing, Sec-Fetch-Site SAME-ORIGIN, an Origin", "changes nothing, Sec-Fetch-Site cross-site",
		"changes nothing, Sec-Fetch-Site cross-site, an Origin", "changes nothing, Sec-Fetch-Site none, an Origin",
		"changes nothing, Sec-Fetch-Site nonsense", "changes nothing, Sec-Fetch-Site nonsense, an Origin", "changes nothing, Sec-Fetch-Site same-origin, an Origin", "changes nothing, Sec-Fetch-Site same-site",
		"changes nothing, Sec-Fetch-Site same-site, an Origin", "changes nothing, an Origin", "changes something, Sec-Fetch-Site none, an Origin",
		"changes something, Sec-Fetch-Site same-origin, an Origin", "changes something, an Origin",
	}
	if diff := cmp.Diff(want, slices.Sorted(maps.Keys(stricter))); diff != "" {
		t.Errorf("stricter than net/http (-want +got):\n%s", diff)
	}
}
