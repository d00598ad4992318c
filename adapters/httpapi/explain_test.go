package httpapi_test

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/xteam/xteam/adapters/httpapi"
	"github.com/xteam/xteam/domain/account"
)

const explainPath = "/api/v1/admin/explain"

// explained is what an administrator is told of a token. Nothing of the token's own text may come back.
func (s *service) explained(p pair, text string) (map[string]any, string) {
	s.t.Helper()
	var heads []string
	if p != (pair{}) {
		heads = append(heads, bearer(p))
	}
	w := s.post(explainPath, fmt.Sprintf(`{"token":%q}`, text), heads...)
	var got map[string]any
	if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil || w.Code != 200 {
		s.t.Fatalf("explain %.30s: %d %s", text, w.Code, w.Body)
	}
	for _, part := range strings.Split(text, ".") {
		if len(part) > 20 && (strings.Contains(w.Body.String(), part) || strings.Contains(s.log.String(), part)) {
			s.t.Errorf("a part of the token is repeated or logged: %.20s…", part)
		}
	}
	return got, w.Body.String()
}

// only are some members of an object.
func only(from map[string]any, names ...string) map[string]any {
	got := map[string]any{}
	for _, n := range names {
		if v, ok := from[n]; ok {
			got[n] = v
		}
	}
	return got
}

// TestExplainGolden: the whole answer about a token that was revoked with its user.
func TestExplainGolden(t *testing.T) {
	s := newService(t)
	_, admin := s.adminOf("root")
	ann := s.user("ann", account.RoleUser)
	p := s.signIn("ann")
	good, _ := s.explained(admin, p.AccessToken)
	if good["taken"] != true || good["verified"] != true || good["code"] != nil || good["since"] != nil {
		t.Errorf("a good token: %v", good)
	}
	public := s.h
	s.h = httpapi.AsOperator(public)
	if w := s.call("POST", revocations, `{"user_id":"ann","reason":"a laptop was stolen"}`); w.Code != 200 {
		t.Fatal(w.Body)
	}
	s.h = public
	got, body := s.explained(admin, p.AccessToken)
	claims := got["claims"].(map[string]any)
	for placeholder, value := range map[string]string{"USER": ann.ID.String(), "SID": sessionOf(t, p), "JTI": claims["jti"].(string), "KID": s.core.Codec.KeyIDs()[0]} {
		body = strings.ReplaceAll(body, value, placeholder)
	}
	body = times.ReplaceAllString(body, `"TIME"`)
	const want = `{"kind":"access_token","taken":false,"code":"token_revoked","reason":"user_revoked","detail":"the access token is revoked","since":"TIME","by":"operator","note":"a laptop was stolen","verified":true,` +
		`"key":{"kid":"KID","held":true,"revoked":false},` +
		`"claims":{"iss":"xteam","sub":"USER","aud":["xteam"],"client_id":"xteam","iat":"TIME","nbf":"TIME","exp":"TIME","jti":"JTI","sid":"SID","gen":1,"ep":0,"scope":"","roles":["user"]},` +
		`"user":{"id":"USER","email":"ann@example.com","username":"ann","full_name":"","role":"user","is_active":true,"created_at":"TIME"},` +
		`"session":{"id":"SID","user_agent":"","ip_address":"192.0.2.7","last_ip_address":"192.0.2.7","created_at":"TIME","last_used_at":"TIME","refresh_before":"TIME","expires_at":"TIME","user_id":"USER","ended_at":null},` +
		`"revocations":[{"names":"user","reason":"user_revoked","since":"TIME","by":"operator","note":"a laptop was stolen","until":"TIME"}]}`
	if diff := cmp.Diff(want, body); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	got, _ = s.explained(admin, p.RefreshToken)
	if diff := cmp.Diff(map[string]any{"kind": "refresh_token", "taken": false, "code": "token_revoked", "reason": "user_revoked", "by": "operator", "note": "a laptop was stolen", "verified": true},
		only(got, "kind", "taken", "code", "reason", "by", "note", "verified", "key", "claims")); diff != "" {
		t.Errorf("the refresh token (-want +got):\n%s", diff)
	}
}

// TestExplain: each token is told apart as its bearer would be, by whom it was withdrawn, and a token of others only says what it says.
func TestExplain(t *testing.T) {
	s := newService(t)
	root, admin := s.adminOf("root")
	ann := s.user("ann", account.RoleUser)
	tell := func(name, text string, want map[string]any) map[string]any {
		t.Helper()
		got, _ := s.explained(admin, text)
		var names []string
		for n := range want {
			names = append(names, n)
		}
		if diff := cmp.Diff(want, only(got, names...)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
		return got
	}
	p := s.signIn("ann")
	tell("a live refresh token", p.RefreshToken, map[string]any{"kind": "refresh_token", "taken": true, "verified": true})
	var next pair
	check(t, json.Unmarshal(s.post("/api/v1/auth/refresh", `{"refresh_token":"`+p.RefreshToken+`"}`).Body.Bytes(), &next))
	tell("its parent, within the grace", p.RefreshToken, map[string]any{"taken": true})
	var third pair
	check(t, json.Unmarshal(s.post("/api/v1/auth/refresh", `{"refresh_token":"`+next.RefreshToken+`"}`).Body.Bytes(), &third))
	tell("an ancestor", p.RefreshToken, map[string]any{"taken": false, "code": "token_revoked", "reason": "refresh_reuse"})
	tell("and it ended nothing", third.RefreshToken, map[string]any{"taken": true})

	s.call("DELETE", allSessions+"/"+sessionOf(t, third), "", bearer(admin))
	got := tell("of a session that an administrator ended", third.AccessToken, map[string]any{"taken": false, "code": "token_revoked", "reason": "session_ended", "by": root.ID.String()})
	if x := got["session"].(map[string]any); x["ended_reason"] != "session_ended" || x["ended_at"] != got["since"] || got["since"] == nil {
		t.Errorf("the session: %v, since %v", x, got["since"])
	}
	tell("its refresh token", third.RefreshToken, map[string]any{"taken": false, "code": "token_revoked", "reason": "session_ended", "by": root.ID.String()})

	p = s.signIn("ann")
	s.call("POST", usersPath+"/ann/role", `{"role":"admin"}`, bearer(admin))
	tell("of another role", p.AccessToken, map[string]any{"taken": false, "reason": "role_changed", "by": root.ID.String()})
	got = tell("and its refresh token", p.RefreshToken, map[string]any{"taken": true, "revocations": []any{}})
	if got["user"].(map[string]any)["role"] != "admin" {
		t.Errorf("user: %v", got["user"])
	}
	p = s.signIn("ann")
	s.call("POST", "/api/v1/auth/logout", "", bearer(p))
	s.call("POST", usersPath+"/ann/disable", "", bearer(admin))
	got = tell("logged out, then disabled: the first names the reason", p.AccessToken, map[string]any{"taken": false, "reason": "logout", "by": ann.ID.String()})
	if n := len(got["revocations"].([]any)); n != 3 { // the token, its session, the account
		t.Errorf("%d revocations name it, want 3: %v", n, got["revocations"])
	}

	part := func(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) }
	forged := part(`{"alg":"none","kid":"stranger"}`) + "." + part(`{"iss":"evil","sub":"`+ann.ID.String()+`","roles":["admin"],"exp":4000000000}`) + ".AAAA"
	got = tell("forged", forged, map[string]any{"kind": "access_token", "taken": false, "code": "token_invalid", "verified": false, "key": map[string]any{"kid": "stranger", "held": false, "revoked": false}, "revocations": []any{}})
	if c := got["claims"].(map[string]any); c["iss"] != "evil" || c["exp"] != "2096-10-02T07:06:40Z" || c["iat"] != nil || got["user"] != nil || got["session"] != nil {
		t.Errorf("forged: %v", got)
	}
	stranger := part(`{"alg":"HS256","kid":"stranger","typ":"at+jwt"}`) + p.AccessToken[strings.Index(p.AccessToken, "."):]
	tell("of an unknown key", stranger, map[string]any{"code": "token_invalid", "detail": "the access token is invalid: no key of its kid is known"})
	tell("damaged in its signature", p.AccessToken[:len(p.AccessToken)-6]+"AAAAAA", map[string]any{"verified": false, "code": "token_invalid"})
	tell("garbage", "garbage", map[string]any{"kind": "unknown", "taken": false, "code": "token_malformed"})
	tell("a damaged refresh token", p.RefreshToken[:len(p.RefreshToken)-1]+"x", map[string]any{"kind": "refresh_token", "taken": false, "code": "token_invalid", "verified": false})
	for _, body := range []string{`{}`, `{"token":""}`, `{"token":7}`, `{"token":"x","user":"y"}`} {
		wants(t, s.post(explainPath, body, bearer(admin)), 422, "validation_failed")
	}
	if n := strings.Count(s.log.String(), `"msg":"Access refused"`); n != 0 {
		t.Errorf("%d lines tell of refusals that nobody met", n)
	}
	if w := s.call("GET", "/api/v1/users/me", "", "Authorization: Bearer "+stranger); w.Code != 401 || strings.Contains(w.Body.String(), "kid") {
		t.Errorf("the bearer of an unknown key's token reads what is wrong with it: %d %s", w.Code, w.Body)
	}
	s.h = httpapi.AsOperator(s.h)
	kid := s.core.Codec.KeyIDs()[0]
	if w := s.post(revocations, `{"kid":"`+kid+`"}`); w.Code != 200 {
		t.Fatal(w.Body)
	}
	dead := admin.AccessToken
	admin = pair{}
	tell("of a revoked key", dead, map[string]any{"taken": false, "reason": "key_revoked", "by": "operator", "key": map[string]any{"kid": kid, "held": true, "revoked": true}})
}
