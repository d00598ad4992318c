package e2e_test

import (
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
)

const setup = "/api/v1/setup"

// setUpLink waits for the link that a server prints on an empty store, and answers its token.
func setUpLink(t *testing.T, s *server) string {
	t.Helper()
	link := regexp.MustCompile(`(?m)^setup ` + regexp.QuoteMeta(s.base) + `/setup#token=([A-Za-z0-9_-]{43})$`)
	until(t, "the set-up link is printed", func() bool { return strings.Contains(s.out.String(), "\nEND\n") })
	found := link.FindStringSubmatch(s.out.String())
	if found == nil {
		t.Fatalf("no link in %q", s.out)
	}
	return found[1]
}

func firstAdmin(token, name string) object {
	return object{"token": token, "email": name + "@example.com", "username": name, "password": password}
}

// ASVS 6.4.1: the link ends with the process that printed it, and of twenty who use it at once one becomes an administrator.
func TestSetUpLink(t *testing.T) {
	env := environ(t.TempDir())
	s := serve(t, env)
	before := setUpLink(t, s)
	if err := s.end(syscall.SIGKILL); err == nil {
		t.Error("a killed server ended well")
	}
	s = serve(t, env)
	token := setUpLink(t, s)
	if a := s.want(http.StatusForbidden, http.MethodPost, setup, "", firstAdmin(before, "eve")); a.Code != "setup_refused" {
		t.Errorf("the link of a process that is gone: got %s", a.Code)
	}

	var mu sync.Mutex
	var won string
	got := map[int]int{}
	parallel(20, func(i int) {
		name := fmt.Sprint("user", i)
		a, err := s.call(http.MethodPost, setup, "", firstAdmin(token, name))
		mu.Lock()
		defer mu.Unlock()
		if got[a.Status]++; err != nil {
			t.Error(err)
		} else if a.Status == http.StatusCreated {
			won = name
		}
	})
	if got[http.StatusCreated] != 1 || got[http.StatusForbidden] != 19 {
		t.Fatalf("20 uses at once: got %v, want one 201 and 19 of 403", got)
	}
	boss := s.signIn(won + "@example.com")
	s.want(http.StatusOK, http.MethodGet, "/api/v1/admin/users", boss.Access, nil)
	if list := must(t, env, "", "users", "list"); strings.Count(list, "\n") != 1 {
		t.Errorf("the accounts: %s, want one", list)
	}
	for _, secret := range []string{before, token} {
		if strings.Contains(s.log.String(), secret) {
			t.Error("the log has the token of a link")
		}
	}
	if err := s.end(syscall.SIGKILL); err == nil {
		t.Error("a killed server ended well")
	}

	// The administrator is on the disk; there is no link any more.
	s = serve(t, env)
	s.signIn(won + "@example.com")
	if err := s.end(syscall.SIGTERM); err != nil {
		t.Error(err)
	}
	if strings.Contains(s.out.String(), "setup") {
		t.Errorf("with an administrator: %s", s.out)
	}
}
