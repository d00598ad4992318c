package httpapi_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/xteam/xteam/app"
	"github.com/xteam/xteam/domain/account"
)

// TestADeadRefreshTokenIsAGuess: one whose session has ended, by itself or with all of its user's, is charged to the address that sends it, as garbage is; the session's
// bucket is for what lives.
func TestADeadRefreshTokenIsAGuess(t *testing.T) {
	for _, how := range []string{"/api/v1/auth/logout", "/api/v1/auth/logout-all"} {
		l := newLimited(t, app.LimiterOptions{})
		l.user("ann", account.RoleUser)
		p := l.tokens("ann")
		if w := l.post(how, "", bearer(p)); w.Code >= 400 {
			t.Fatal(how, w.Code)
		}
		body := `{"refresh_token":"` + p.RefreshToken + `"}`
		for i := range 5 {
			w := l.post(refreshPath, body)
			if wants(t, w, 401, "token_revoked"); limitsOf(w)["RateLimit-Policy"] != `"auth";q=5;w=60` || limitsOf(w)["X-RateLimit-Remaining"] != fmt.Sprint(4-i) {
				t.Errorf("%s, then try %d: headers %v", how, i+1, limitsOf(w))
			}
		}
		wants(t, l.post(refreshPath, body), 429, "rate_limited")
		wants(t, l.post(refreshPath, `{"refresh_token":"xtr_garbage"}`), 429, "rate_limited") // one class, one bucket
		if w := l.post(refreshPath, `{"refresh_token":"`+l.tokens("ann").RefreshToken+`"}`); w.Code != 200 {
			t.Errorf("%s: a live token from there: %d %s", how, w.Code, w.Body)
		}
	}
}

// TestNamesAreNotTriedOutByChangingOnesOwn: a new user name or e-mail address is answered by whether another has it, so it costs as much as a registration. The rest of a profile does not.
func TestNamesAreNotTriedOutByChangingOnesOwn(t *testing.T) {
	l := newLimited(t, app.LimiterOptions{})
	l.user("ann", account.RoleUser)
	l.user("bob", account.RoleUser)
	p := l.tokens("ann")
	for range 6 {
		if w := l.call("PATCH", mePath, `{"username":"ann","email":"ann@example.com","full_name":"Ann"}`, bearer(p)); w.Code != 200 {
			t.Fatalf("what stays: %d %s", w.Code, w.Body)
		}
	}
	for _, body := range []string{`{"username":"bob"}`, `{"username":"bob"}`, `{"email":"bob@example.com","current_password":"` + password + `"}`, `{"username":"bob"}`, `{"username":"bob"}`} {
		wants(t, l.call("PATCH", mePath, body, bearer(p)), 409, "taken")
	}
	for _, body := range []string{`{"username":"bob"}`, `{"username":"nobody"}`, `{"email":"bob@example.com"}`} {
		wants(t, l.call("PATCH", mePath, body, bearer(p)), 429, "rate_limited")
	}
	if w := l.call("PATCH", mePath, `{"full_name":"Ann Other"}`, bearer(p)); w.Code != 200 {
		t.Errorf("a full name: %d %s", w.Code, w.Body)
	}
}

// TestARefreshIsShort: it is read before it is charged, so no more of it is than a token needs.
func TestARefreshIsShort(t *testing.T) {
	l := newLimited(t, app.LimiterOptions{})
	l.user("ann", account.RoleUser)
	body := `{"refresh_token":"` + l.tokens("ann").RefreshToken + `"}`
	padded := func(n int) string { return body + strings.Repeat(" ", n-len(body)) }
	w := l.post(refreshPath, padded(8<<10+1))
	if wants(t, w, 413, "body_too_large"); !strings.Contains(w.Body.String(), "8192 bytes") || limitsOf(w)["X-RateLimit-Limit"] != "5" {
		t.Errorf("%s, headers %v", w.Body, limitsOf(w))
	}
	if w := l.post(refreshPath, padded(8<<10)); w.Code != 200 {
		t.Errorf("8 KiB: %d %s", w.Code, w.Body)
	}
}
