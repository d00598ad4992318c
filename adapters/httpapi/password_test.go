package httpapi_test

import (
	"fmt"
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
	for i, guess := range []string{"Password123", "iloveyou1", "ann@example.com", "ANN-2026!"} {
		body := fmt.Sprintf(`{"email":"ann@example.com","username":"ann","password":%q}`, guess)
		detail := []string{"must not be a common or breached one", "must not be the user name, the e-mail address or the product's name, not even with digits or signs added"}[i/2]
		for _, w := range []string{s.post("/api/v1/auth/register", body).Body.String(), s.post("/api/v1/admin/users", body, admin).Body.String()} {
			if !strings.HasSuffix(strings.TrimSpace(w), `"errors":[{"field":"password","message":"`+detail+`"}]}`) || strings.Contains(w, guess) {
				t.Errorf("%q: %s", guess, w)
			}
		}
	}
	s.user("ann", account.RoleUser)
	for _, guess := range []string{"Password123", "ANN-2026!"} {
		w := s.post("/api/v1/auth/change-password", fmt.Sprintf(`{"current_password":%q,"new_password":%q}`, password, guess), bearer(s.signIn("ann")))
		got := wants(t, w, 422, "validation_failed")
		if field := got["errors"].([]any)[0].(map[string]any)["field"]; field != "new_password" || strings.Contains(w.Body.String(), guess) {
			t.Errorf("%q: %s", guess, w.Body)
		}
	}
}
