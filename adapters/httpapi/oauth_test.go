package httpapi_test

import (
	"encoding/base64"
	"encoding/json"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/xteam/xteam/adapters/httpapi"
	"github.com/xteam/xteam/app"
	"github.com/xteam/xteam/app/view"
	"github.com/xteam/xteam/domain/account"
	"github.com/xteam/xteam/domain/apikey"
)

const (
	introspectAt = "/api/v1/oauth/introspect"
	revokeAt     = "/api/v1/oauth/revoke"
	asForm       = "Content-Type: application/x-www-form-urlencoded"
	inactive     = `{"active":false}`
)

func (s *service) form(target, body string, heads ...string) *httptest.ResponseRecorder {
	s.t.Helper()
	w := s.call("POST", target, body, append(heads, asForm)...)
	if w.Header().Get("Cache-Control") != "no-store" {
		s.t.Errorf("%s: Cache-Control is %q", target, w.Header().Get("Cache-Control"))
	}
	return w
}

func tokenOf(text string) string { return "token=" + url.QueryEscape(text) }

func basic(user, password string) string {
	return "Authorization: Basic " + base64.StdEncoding.EncodeToString([]byte(user+":"+password))
}

// wantsOAuth demands a refusal in the form of RFC 6749, section 5.2.
func wantsOAuth(t testing.TB, w *httptest.ResponseRecorder, status int, code string) {
	t.Helper()
	var got map[string]string
	if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil || w.Code != status || got["error"] != code || w.Header().Get("Content-Type") != "application/json" {
		t.Errorf("got %d %s %v, want %d %s", w.Code, w.Body, w.Header(), status, code)
	}
	if (w.Code == 401) != (len(w.Header()["Www-Authenticate"]) > 0) && w.Code != 403 {
		t.Errorf("%d with WWW-Authenticate %q", w.Code, w.Header()["Www-Authenticate"])
	}
}

// oauth is a system with users ann and bob, and keys of root and ann for OAuth's routes.
type oauth struct {
	*service
	root, ann, bob pair
	admin, key     madeKey
	by, byAdmin    string // headers
}

func newOAuth(t testing.TB) *oauth {
	t.Helper()
	o := &oauth{service: newService(t)}
	o.user("root", account.RoleAdmin)
	o.user("ann", account.RoleUser)
	o.user("bob", account.RoleUser)
	o.root, o.ann, o.bob = o.signIn("root"), o.signIn("ann"), o.signIn("bob")
	o.admin, o.key = o.service.key(o.root, "introspect", "tokens:revoke", "admin"), o.service.key(o.ann, "introspect", "tokens:revoke")
	o.by, o.byAdmin = "X-API-Key: "+o.key.Key, "X-API-Key: "+o.admin.Key
	return o
}

// TestClientAuthentication (RFC 7662, section 2.1; RFC 7009, section 2.1; RFC 6749, section 2.3): the same key is a client as bearer, in X-API-Key and by client_secret_basic. Nobody else is: who is
// signed in, a key in the form, two at once, a wrong pair; and no answer tells whether the token exists.
func TestClientAuthentication(t *testing.T) {
	o := newOAuth(t)
	lacks := o.service.key(o.ann, "users:read")
	guess, _, err := apikey.Make(apikey.Development, mustKeyID(t, o.key.ID), o.core.Random)
	check(t, err)
	escaped := ""
	for _, c := range []byte(o.key.Key) {
		escaped += "%" + string("0123456789ABCDEF"[c>>4]) + string("0123456789ABCDEF"[c&15])
	}
	for name, head := range map[string]string{"bearer": "Authorization: Bearer " + o.key.Key, "bEARER": "Authorization: bEARER " + o.key.Key, "own header": o.by, "basic": basic(o.key.ID, o.key.Key),
		"bAsIc": strings.Replace(basic(o.key.ID, o.key.Key), "Basic", "bAsIc", 1), "basic, percent-encoded": basic(o.key.ID, escaped)} {
		if w := o.form(introspectAt, tokenOf(o.bob.AccessToken), head); w.Code != 200 || !strings.Contains(w.Body.String(), `"active":true`) {
			t.Errorf("%s: got %d %s", name, w.Code, w.Body)
		}
	}
	for _, target := range []string{introspectAt, revokeAt} {
		var first string
		for name, head := range map[string]string{"nobody": "X-Nothing: ", "a session": bearer(o.ann), "garbage": "Authorization: Bearer x", "another's id": basic(lacks.ID, o.key.Key), "no id": basic("", o.key.Key),
			"no key": basic(o.key.ID, ""), "a guess": basic(o.key.ID, guess.RevealPlaintext()), "no colon": "Authorization: Basic " + base64.StdEncoding.EncodeToString([]byte("x")),
			"no base64": "Authorization: Basic %%%", "a bad escape": basic(o.key.ID, "%zz"+o.key.Key), "another scheme": "Authorization: Digest x", "a refresh token": "Authorization: Bearer " + o.ann.RefreshToken} {
			for _, text := range []string{o.bob.AccessToken, "nothing"} {
				w := o.form(target, tokenOf(text), head)
				wantsOAuth(t, w, 401, "invalid_client")
				if first == "" {
					first = w.Body.String()
				}
				if w.Body.String() != first {
					t.Errorf("%s: told more than to others: %s", name, w.Body)
				}
			}
		}
		wantsOAuth(t, o.form(target, tokenOf(o.bob.AccessToken), "X-API-Key: "+lacks.Key), 403, "insufficient_scope")
		wantsOAuth(t, o.form(target, tokenOf(o.bob.AccessToken), o.by, basic(o.key.ID, o.key.Key)), 400, "invalid_request")
		wantsOAuth(t, o.form(target, tokenOf(o.bob.AccessToken)+"&client_id="+o.key.ID+"&client_secret="+o.key.Key), 401, "invalid_client")
		wantsOAuth(t, o.form(target, tokenOf(o.bob.AccessToken)+"&client_secret="+o.key.Key, o.by), 400, "invalid_request")
	}
	if w := o.form(introspectAt, "token=x", basic("x", "y")); !strings.HasPrefix(w.Header().Get("WWW-Authenticate"), "Basic ") {
		t.Errorf("the scheme that was used must be challenged: %q", w.Header()["Www-Authenticate"])
	}
	if w := o.call("GET", "/api/v1/users/me", "", bearer(o.bob)); w.Code != 200 {
		t.Errorf("a refusal revoked: %d", w.Code)
	}
}

// TestIntrospection (RFC 7662, section 2.2): what is taken is told of with its members, each kind of token; the hint changes nothing, whatever it says.
func TestIntrospection(t *testing.T) {
	o := newOAuth(t)
	for _, hint := range []string{"", "&token_type_hint=access_token", "&token_type_hint=refresh_token", "&token_type_hint=no_such", "&token_type_hint=", "&more=unknown"} {
		for name, try := range map[string]struct {
			text string
			has  []string
			not  []string
		}{
			"access":  {o.ann.AccessToken, []string{"scope?", "client_id", "token_type", "exp", "iat", "nbf", "sub", "aud", "iss", "jti", "sid"}, nil},
			"refresh": {o.ann.RefreshToken, []string{"exp", "sub", "sid"}, []string{"token_type", "jti"}},
			"key":     {o.key.Key, []string{"scope", "client_id", "token_type", "exp", "sub", "iss"}, []string{"jti", "sid"}},
		} {
			w := o.form(introspectAt, tokenOf(try.text)+hint, o.by)
			var got map[string]any
			if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil || w.Code != 200 || got["active"] != true {
				t.Fatalf("%s: got %d %s", name, w.Code, w.Body)
			}
			for _, member := range try.has {
				if _, ok := got[member]; !ok && !strings.HasSuffix(member, "?") {
					t.Errorf("%s lacks %s: %s", name, member, w.Body)
				}
			}
			for _, member := range try.not {
				if _, ok := got[member]; ok {
					t.Errorf("%s has %s: %s", name, member, w.Body)
				}
			}
			if exp, _ := got["exp"].(float64); int64(exp) <= time.Now().Unix() {
				t.Errorf("%s: exp is %v", name, got["exp"])
			}
		}
	}
	if w := o.call("GET", "/api/v1/users/me", "", bearer(o.ann)); w.Code != 200 {
		t.Errorf("introspection ended something: %d", w.Code)
	}
	if w := o.post("/api/v1/auth/refresh", `{"refresh_token":"`+o.ann.RefreshToken+`"}`); w.Code != 200 {
		t.Errorf("introspection used the refresh token up: %d %s", w.Code, w.Body)
	}
	if got := o.form(introspectAt, tokenOf(o.ann.RefreshToken), o.by).Body.String(); got != inactive {
		t.Errorf("a refresh token that was rotated: %s", got)
	}
}

// TestInactive (RFC 7662, section 2.2): of what is not taken the answer is the same to the byte, whatever the reason.
func TestInactive(t *testing.T) {
	o := newOAuth(t)
	foreign := newOAuth(t)
	logged := o.signIn("bob")
	if w := o.call("POST", "/api/v1/auth/logout", "", bearer(logged)); w.Code != 204 {
		t.Fatal(w.Code)
	}
	dead := o.service.key(o.ann, "users:read")
	if w := o.call("DELETE", "/api/v1/api-keys/"+dead.ID, "", bearer(o.ann)); w.Code != 204 {
		t.Fatal(w.Code)
	}
	for name, text := range map[string]string{"garbage": "x", "a dot": ".", "logged out": logged.AccessToken, "its refresh token": logged.RefreshToken, "a revoked key": dead.Key, "another system's refresh token": foreign.ann.RefreshToken,
		"another system's key": foreign.key.Key, "a damaged one": o.ann.AccessToken[:len(o.ann.AccessToken)-8] + "AAAAAAAA", "no UTF-8": "\xff\xfe", "long": strings.Repeat("a", 8000), "xr_": "xr_", "xt_": "xt_", "NUL": "\x00"} {
		w := o.form(introspectAt, tokenOf(text), o.by)
		if w.Code != 200 || w.Body.String() != inactive {
			t.Errorf("%s: got %d %s", name, w.Code, w.Body)
		}
	}
}

// TestGuessesAreLimited: who makes up tokens runs out, though they have a key, and is told of; a good key asks about good tokens all the while.
func TestGuessesAreLimited(t *testing.T) {
	l := newLimited(t, app.LimiterOptions{PerAddress: 60})
	l.user("ann", account.RoleUser)
	p := l.tokens("ann")
	head := "X-API-Key: " + l.service.key(p, "introspect").Key
	refused := 0
	for range 200 {
		w := l.call("POST", introspectAt, "token=guess", head, asForm)
		if w.Code == 429 {
			refused++
			wantsOAuth(t, w, 429, "temporarily_unavailable")
			if w.Header().Get("Retry-After") == "" {
				t.Error("no Retry-After")
			}
		}
	}
	if refused < 130 {
		t.Errorf("%d of 200 guesses were refused", refused)
	}
	if w := l.call("POST", introspectAt, tokenOf(p.AccessToken), head, asForm); w.Code != 200 {
		t.Errorf("a good token: got %d %s", w.Code, w.Body)
	}
}

// TestIntrospectionWhileStale: what cannot be known is not said.
func TestIntrospectionWhileStale(t *testing.T) {
	o := newOAuth(t)
	o.core.View = view.New(view.Options{}, view.Source{Name: "database", Truth: true, Revocations: o.core.Stores.Revocations}) // never run
	all := o.all
	all.Guard, all.Sessions = app.NewGuard(o.core), app.NewSessions(o.core)
	o.h = httpapi.New(all, httpapi.Options{}).Handler()
	w := o.form(introspectAt, tokenOf(o.ann.AccessToken), o.by)
	if wantsOAuth(t, w, 503, "temporarily_unavailable"); w.Header().Get("Retry-After") == "" {
		t.Error("no Retry-After")
	}
}

// TestRevocation (RFC 7009): an access token ends itself alone, a refresh token its session; what is unknown, damaged or revoked already is 200 (section 2.2).
func TestRevocation(t *testing.T) {
	o := newOAuth(t)
	good := func(p pair) bool { return o.call("GET", "/api/v1/users/me", "", bearer(p)).Code == 200 }
	revoke := func(text, head string) {
		t.Helper()
		if w := o.form(revokeAt, tokenOf(text), head); w.Code != 200 || w.Body.Len() != 0 {
			t.Errorf("got %d %q", w.Code, w.Body)
		}
	}
	own, other := o.signIn("ann"), o.signIn("ann")
	revoke(own.AccessToken, o.by)
	if good(own) || !good(other) {
		t.Error("an access token must end itself, and no other")
	}
	w := o.post("/api/v1/auth/refresh", `{"refresh_token":"`+own.RefreshToken+`"}`)
	if w.Code != 200 {
		t.Errorf("its session must go on: %d %s", w.Code, w.Body)
	}
	revoke(other.RefreshToken, o.by)
	if good(other) {
		t.Error("a refresh token must end the access tokens of its session (section 2.1)")
	}
	wants(t, o.post("/api/v1/auth/refresh", `{"refresh_token":"`+other.RefreshToken+`"}`), 401, "token_revoked")
	for _, text := range []string{own.AccessToken, other.RefreshToken, "unknown", "xr_unknown", strings.Repeat("a", 8000), o.ann.AccessToken[:len(o.ann.AccessToken)-8] + "AAAAAAAA"} {
		revoke(text, o.by)
	}
	for _, hint := range []string{"access_token", "refresh_token", "no_such"} { // section 2.1: a wrong hint is no reason not to find it
		p := o.signIn("ann")
		if w := o.form(revokeAt, tokenOf(p.AccessToken)+"&token_type_hint="+hint, o.by); w.Code != 200 || good(p) {
			t.Errorf("hint %s: %d, still good: %v", hint, w.Code, good(p))
		}
	}
	for _, foreign := range []string{o.bob.AccessToken, o.bob.RefreshToken} { // section 2.1: issued to another
		wantsOAuth(t, o.form(revokeAt, tokenOf(foreign), o.by), 400, "unauthorized_client")
	}
	if !good(o.bob) {
		t.Error("another's token was revoked")
	}
	wantsOAuth(t, o.form(revokeAt, tokenOf(o.key.Key), o.by), 400, "unsupported_token_type") // section 2.2.1
	revoke(o.bob.RefreshToken, o.byAdmin)
	if good(o.bob) {
		t.Error("an administrator's key with the scope admin must revoke anybody's")
	}
}

// TestHostileForms: what is no form, has no token or says something twice is invalid_request, and changes nothing.
func TestHostileForms(t *testing.T) {
	o := newOAuth(t)
	text := tokenOf(o.ann.AccessToken)
	for _, target := range []string{introspectAt, revokeAt} {
		for _, body := range []string{"", "token=", "token", "token[999999999]=1", "token[]=" + o.ann.AccessToken, text + "&" + text, text + "&token=", text + "&token_type_hint=a&token_type_hint=b", "token=%zz", text + ";a=b", "Token=x",
			`{"token":"` + o.ann.AccessToken + `"}`, "token=" + strings.Repeat("a", 30000), strings.Repeat("a=b&", 6000) + text, "\x00", text + "&client_assertion=x"} {
			wantsOAuth(t, o.form(target, body, o.by), 400, "invalid_request")
		}
		wantsOAuth(t, o.call("POST", target, text, o.by, asJSON), 400, "invalid_request")
		wantsOAuth(t, o.call("POST", target, text, o.by), 400, "invalid_request")
		wantsOAuth(t, o.call("POST", target, text, o.by, "Content-Type: multipart/form-data; boundary=x"), 400, "invalid_request")
		wantsOAuth(t, o.form(target+"?"+text, text, o.by), 400, "invalid_request")
		wantsOAuth(t, o.form(target, text, o.by, "Content-Encoding: gzip"), 415, "invalid_request")
		wants(t, o.call("GET", target, "", o.by), 405, "method_not_allowed")
	}
	if w := o.call("GET", "/api/v1/users/me", "", bearer(o.ann)); w.Code != 200 {
		t.Errorf("something was revoked: %d", w.Code)
	}
}
