package httpapi_test

import (
	"fmt"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/xteam/xteam/domain/account"
)

// TestGuessablePasswords: a common or breached password, and one that the account's own names tell, is refused at sign-up, by an administrator and at a
// change, and not repeated (OWASP ASVS 5.0, 6.2.4, 6.2.11 and 6.2.12).
func TestGuessablePasswords(t *testing.T) {
	s := newService(t)
	s.user("root", account.RoleAdmin)
	admin := bearer(s.signIn("root"))
	for i, guess := range []string{"Password123", "iloveyou1", "ann@example.com", "L4ngbein-1"} {
		body := fmt.Sprintf(`{"email":"ann@example.com","username":"ann","full_name":"Ann Langbein","password":%q}`, guess)
		detail := []string{"must not be a common or breached one", "must not be the e-mail address, the user name, the full name or the product's name with little added or changed"}[i/2] +
			" (a few words that nobody would put together are easy to keep and hard to guess)"
		for _, w := range []string{s.post("/api/v1/auth/register", body).Body.String(), s.post("/api/v1/admin/users", body, admin).Body.String()} {
			if !strings.HasSuffix(strings.TrimSpace(w), `"errors":[{"field":"password","message":"`+detail+`"}]}`) || strings.Contains(w, guess) {
				t.Errorf("%q: %s", guess, w)
			}
		}
	}
	ann := s.user("ann", account.RoleUser)
	named := bearer(s.signIn("ann"))
	if w := s.call("PATCH", "/api/v1/users/me", `{"full_name":"Ann Langbein"}`, named); w.Code != 200 {
		t.Fatalf("a full name: %d %s", w.Code, w.Body)
	}
	for _, guess := range []string{"Password123", "ANN-2026!", "langbein99"} {
		for field, w := range map[string]*httptest.ResponseRecorder{
			"new_password": s.post("/api/v1/auth/change-password", fmt.Sprintf(`{"current_password":%q,"new_password":%q}`, password, guess), bearer(s.signIn("ann"))),
			"password":     s.post("/api/v1/admin/users/"+ann.ID.String()+"/password", fmt.Sprintf(`{"password":%q}`, guess), admin),
		} {
			got := wants(t, w, 422, "validation_failed")
			if at := got["errors"].([]any)[0].(map[string]any)["field"]; at != field || strings.Contains(w.Body.String(), guess) {
				t.Errorf("%q as %s: %s", guess, field, w.Body)
			}
		}
	}
}

// TestPasswordsThatCannotBeHashed: what bcrypt could not tell from another password is the client's fault at every door, not the server's.
func TestPasswordsThatCannotBeHashed(t *testing.T) {
	s := newService(t)
	s.user("root", account.RoleAdmin)
	ann := s.user("ann", account.RoleUser)
	admin := bearer(s.signIn("root"))
	for _, bad := range []string{`correct\u0000horse`, `\u0000\u0000\u0000\u0000\u0000\u0000\u0000\u0000`} {
		person := `{"email":"eve@example.com","username":"eve","password":"` + bad + `"}`
		for field, w := range map[string]*httptest.ResponseRecorder{
			"password of a registration": s.post("/api/v1/auth/register", person),
			"password of a new account":  s.post("/api/v1/admin/users", person, admin),
			"password that is set":       s.post("/api/v1/admin/users/"+ann.ID.String()+"/password", `{"password":"`+bad+`"}`, admin),
			"new_password":               s.post("/api/v1/auth/change-password", `{"current_password":"`+password+`","new_password":"`+bad+`"}`, bearer(s.signIn("ann"))),
		} {
			got := wants(t, w, 422, "validation_failed")
			name, _, _ := strings.Cut(field, " ")
			if at := got["errors"].([]any)[0].(map[string]any); at["field"] != name || at["message"] != "must not contain the character NUL" {
				t.Errorf("%s: %s", field, w.Body)
			}
		}
		wants(t, s.post("/api/v1/auth/login", `{"username":"ann","password":"`+bad+`"}`), 401, "credentials_invalid")
	}
}
