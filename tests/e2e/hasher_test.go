package e2e_test

import (
	"net/http"
	"strings"
	"syscall"
	"testing"
)

// TestThePasswordHasherIsASetting: a server that is set to argon2id makes the hash anew at the first sign-in, and at that alone.
func TestThePasswordHasherIsASetting(t *testing.T) {
	env := environ(t.TempDir())
	must(t, env, password+"\n", "users", "create", "--email", "ann@example.com", "--username", "ann", "--password-stdin")
	for i, want := range []int{1, 0} {
		s := serve(t, append(env, "PASSWORD_HASHER=argon2id"))
		for range 2 {
			if a, err := s.call(http.MethodPost, "/api/v1/auth/login", "", map[string]string{"username": "ann", "password": password}); err != nil || a.Status != http.StatusOK {
				t.Fatalf("sign in: %d %s, %v", a.Status, a.Text, err)
			}
		}
		if err := s.end(syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
		if got := strings.Count(s.log.String(), "Password rehashed"); got != want {
			t.Errorf("start %d: %d hashes were made anew, want %d\n%s", i+1, got, want, s.log)
		}
	}
}
