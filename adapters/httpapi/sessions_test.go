package httpapi_test

import (
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/xteam/xteam/domain/account"
	"github.com/xteam/xteam/domain/session"
)

// times are the times of an answer, in RFC 3339.
var times = regexp.MustCompile(`"\d{4}-\d\d-\d\dT[0-9:.]+Z"`)

const sessionsPath = "/api/v1/auth/sessions"

// listed is a page of sessions.
type listed struct {
	Items []map[string]any `json:"items"`
	Next  *string          `json:"next"`
}

func (s *service) list(target string, heads ...string) listed {
	s.t.Helper()
	var got listed
	w := s.call("GET", target, "", heads...)
	if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil || w.Code != 200 || got.Items == nil {
		s.t.Fatalf("GET %s: %d %s", target, w.Code, w.Body)
	}
	return got
}

// sessionOf is the id of the session of a pair.
func sessionOf(t testing.TB, p pair) string {
	t.Helper()
	link, err := session.ParseRefresh(p.RefreshToken)
	check(t, err)
	return link.Session.String()
}

// TestOwnSessions (OWASP ASVS 5.0, 7.5.2): users see their own sessions that go on, which of them is this one, and where each came from, and nobody else's.
func TestOwnSessions(t *testing.T) {
	s := newService(t)
	s.user("ann", account.RoleUser)
	s.user("bob", account.RoleUser)
	first, bob := s.signIn("ann"), s.signIn("bob")
	var second pair
	check(t, json.Unmarshal(s.post("/api/v1/auth/login", `{"username":"ann","password":"`+password+`"}`, "User-Agent: a phone").Body.Bytes(), &second))
	wants(t, s.call("GET", sessionsPath, ""), 401, "token_missing")

	w := s.call("GET", sessionsPath, "", bearer(second))
	masked := w.Body.String()
	for i, id := range []string{sessionOf(t, first), sessionOf(t, second)} {
		masked = strings.Replace(masked, id, fmt.Sprintf("session %d", i+1), 1)
	}
	masked = times.ReplaceAllString(masked, `"TIME"`)
	const item = `"ip_address":"192.0.2.7","last_ip_address":"192.0.2.7","created_at":"TIME","last_used_at":"TIME","refresh_before":"TIME","expires_at":"TIME","current":`
	want := `{"items":[{"id":"session 1","user_agent":"",` + item + `false},{"id":"session 2","user_agent":"a phone",` + item + `true}],"next":null}`
	if diff := cmp.Diff(want, masked); w.Code != 200 || diff != "" {
		t.Errorf("%d (-want +got):\n%s", w.Code, diff)
	}
	if got := s.list(sessionsPath, bearer(bob)); len(got.Items) != 1 || got.Items[0]["id"] != sessionOf(t, bob) {
		t.Errorf("Bob's: %v", got.Items)
	}
	if w := s.call("POST", "/api/v1/auth/logout", "", bearer(first)); w.Code != 204 {
		t.Fatalf("log-out: %d", w.Code)
	}
	if got := s.list(sessionsPath, bearer(second)); len(got.Items) != 1 || got.Items[0]["current"] != true {
		t.Errorf("after a log-out: %v", got.Items)
	}
	if w := s.call("HEAD", sessionsPath, "", bearer(second)); w.Code != 200 {
		t.Errorf("HEAD: %d", w.Code)
	}
}

// TestOwnSessionIsEnded: its tokens are refused at the next request, with the reason; the others go on; twice is as once.
func TestOwnSessionIsEnded(t *testing.T) {
	s := newService(t)
	s.user("ann", account.RoleUser)
	old, p := s.signIn("ann"), s.signIn("ann")
	for range 2 {
		if w := s.call("DELETE", sessionsPath+"/"+sessionOf(t, old), "", bearer(p)); w.Code != 204 || w.Body.Len() != 0 {
			t.Fatalf("DELETE: %d %s", w.Code, w.Body)
		}
	}
	for _, w := range []map[string]any{
		wants(t, s.call("GET", "/api/v1/users/me", "", bearer(old)), 401, "token_revoked"),
		wants(t, s.post("/api/v1/auth/refresh", `{"refresh_token":"`+old.RefreshToken+`"}`), 401, "token_revoked"),
	} {
		if w["reason"] != "session_ended" {
			t.Errorf("reason %v", w["reason"])
		}
	}
	if w := s.call("DELETE", sessionsPath+"/"+sessionOf(t, p), "", bearer(p)); w.Code != 204 {
		t.Errorf("one's own current session: %d", w.Code)
	}
	wants(t, s.call("GET", sessionsPath, "", bearer(p)), 401, "token_revoked")
}

// TestForeignSessions (CVE-2026-56654): another's session is answered as one that never was, goes on, and the attempt leaves a line.
func TestForeignSessions(t *testing.T) {
	s := newService(t)
	ann := s.user("ann", account.RoleUser)
	s.user("bob", account.RoleUser)
	hers, his := s.signIn("ann"), s.signIn("bob")
	var bodies []string
	for _, id := range []string{sessionOf(t, hers), strings.Repeat("a", 32), strings.Repeat("A", 32), "x", ann.ID.String(), "%00", strings.Repeat("0", 32)} {
		w := s.call("DELETE", sessionsPath+"/"+id, "", bearer(his), "X-Request-ID: same")
		wants(t, w, 404, "not_found")
		bodies = append(bodies, w.Body.String())
	}
	if got := slices.Compact(bodies); len(got) != 1 {
		t.Errorf("told apart: %q", got)
	}
	if w := s.call("GET", "/api/v1/users/me", "", bearer(hers)); w.Code != 200 {
		t.Errorf("hers: %d", w.Code)
	}
	if n := strings.Count(s.log.String(), `"reason":"foreign"`); n != 1 {
		t.Errorf("%d lines tell of the attempt, want 1: %s", n, s.log)
	}
	wants(t, s.call("PUT", sessionsPath+"/"+sessionOf(t, hers), "", bearer(hers)), 405, "method_not_allowed")
}
