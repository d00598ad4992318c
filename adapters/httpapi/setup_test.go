package httpapi_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/xteam/xteam/adapters/httpapi"
	"github.com/xteam/xteam/app"
	"github.com/xteam/xteam/domain/account"
)

const setup = "/api/v1/setup"

// newSetUp is a service without an administrator, and the token of its link.
func newSetUp(t *testing.T) (s *service, token string) {
	t.Helper()
	s = newService(t)
	first := app.NewSetUp(s.core, s.accounts)
	offered, err := first.Offer(t.Context())
	check(t, err)
	sessions := app.NewSessions(s.core)
	s.h = httpapi.New(httpapi.Services{Guard: app.NewGuard(s.core), Sessions: sessions, Accounts: s.accounts, SetUp: first, Revoker: app.NewRevoker(s.core, sessions, "node-1"), View: s.core.View},
		with(nil, nil)).Handler()
	return s, offered.RevealPlaintext()
}

func firstAdmin(token, name string) string {
	return fmt.Sprintf(`{"token":%q,"email":"%s@example.com","username":%q,"password":%q}`, token, name, name, password)
}

// ASVS 6.4.1: the link makes one administrator, and nothing after that.
func TestSetUp(t *testing.T) {
	s, token := newSetUp(t)
	w := s.call("GET", "/setup", "")
	if w.Code != 200 || !strings.HasPrefix(w.Header().Get("Content-Type"), "text/plain") || !strings.Contains(w.Body.String(), setup) {
		t.Errorf("the page: %d %v %s", w.Code, w.Header(), w.Body)
	}
	if w.Header().Get("Cache-Control") != "no-store" || w.Header().Get("Referrer-Policy") != "no-referrer" || strings.Contains(w.Body.String(), token) {
		t.Errorf("the page lets the token out: %v %s", w.Header(), w.Body)
	}
	wants(t, s.post(setup, `{"email":"ann@example.com","username":"ann","password":"`+password+`"}`), 422, "validation_failed")
	wants(t, s.post(setup, firstAdmin(token[:42]+"~", "ann")), 403, "setup_refused")
	wants(t, s.post(setup, strings.Replace(firstAdmin(token, "ann"), password, "seven77", 1)), 422, "validation_failed")
	wants(t, s.post(setup, strings.Replace(firstAdmin(token, "ann"), `"token"`, `"role":"user","token"`, 1)), 422, "validation_failed")
	w = s.call("POST", setup, firstAdmin(token, "ann"), "Content-Type: application/x-www-form-urlencoded") // as curl calls it
	if w.Code != 201 || !strings.Contains(w.Body.String(), `"role":"admin"`) || strings.Contains(w.Body.String(), token) {
		t.Fatalf("the set-up: %d %s", w.Code, w.Body)
	}
	if w := s.call("GET", "/api/v1/users/me", "", bearer(s.signIn("ann"))); w.Code != 200 || !strings.Contains(w.Body.String(), `"role":"admin"`) {
		t.Errorf("who signs in then: %d %s", w.Code, w.Body)
	}
	wants(t, s.post(setup, firstAdmin(token, "bob")), 403, "setup_refused")
	if strings.Contains(s.log.String(), token) {
		t.Error("the log has the token")
	}
}

func TestSetUpAtOnce(t *testing.T) {
	s, token := newSetUp(t)
	codes := make(chan int, 20)
	var all sync.WaitGroup
	for i := range 20 {
		all.Go(func() {
			r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, setup, strings.NewReader(firstAdmin(token, fmt.Sprint("user", i))))
			w := httptest.NewRecorder()
			s.h.ServeHTTP(w, r)
			codes <- w.Code
		})
	}
	all.Wait()
	close(codes)
	got := map[int]int{}
	for code := range codes {
		got[code]++
	}
	if got[201] != 1 || got[403] != 19 {
		t.Errorf("20 uses at once: got %v, want one 201 and 19 of 403", got)
	}
}

// An administrator who was made otherwise ends the link.
func TestSetUpWithAnAdministrator(t *testing.T) {
	s, token := newSetUp(t)
	s.user("root", account.RoleAdmin)
	wants(t, s.post(setup, firstAdmin(token, "ann")), 403, "setup_refused")
}

// Without a set-up there is no such route.
func TestNoSetUp(t *testing.T) {
	s := newService(t)
	wants(t, s.post(setup, firstAdmin("token", "ann")), 404, "not_found")
	wants(t, s.call("GET", "/setup", ""), 404, "not_found")
}
