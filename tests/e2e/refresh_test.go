package e2e_test

import (
	"net/http"
	"strings"
	"testing"
)

// 100 refreshes of one token at once: one successor for all of them, and nobody is signed out.
func TestHundredRefreshes(t *testing.T) {
	env := environ(t.TempDir())
	admin(t, env)
	s := serve(t, env)
	first := s.signIn("admin@example.com")

	answers := make([]answer, 100)
	parallel(len(answers), func(i int) {
		a, err := s.call(http.MethodPost, refresh, "", object{"refresh_token": first.Refresh})
		if err != nil || a.Status != http.StatusOK {
			t.Errorf("refresh %d: got %d %s, %v", i, a.Status, a.Text, err)
		}
		answers[i] = a
	})
	successors := map[string]bool{}
	for _, a := range answers {
		successors[a.Refresh] = true
		s.want(http.StatusOK, http.MethodGet, me, a.Access, nil)
	}
	if len(successors) != 1 || successors[first.Refresh] {
		t.Fatalf("100 refreshes of one token gave %d successors, want one, which is new", len(successors))
	}
	next := s.want(http.StatusOK, http.MethodPost, refresh, "", object{"refresh_token": answers[0].Refresh})
	s.want(http.StatusOK, http.MethodGet, me, next.Access, nil)
	s.want(http.StatusOK, http.MethodGet, me, first.Access, nil)
}

// Of the chain foo, bar, baz: bar is the parent of the live token and gives baz again; foo is stolen, and ends the session for everybody.
func TestAncestorIsReuse(t *testing.T) {
	env := environ(t.TempDir())
	admin(t, env)
	s := serve(t, env)
	foo := s.signIn("admin@example.com")
	other := s.signIn("admin@example.com")
	bar := s.want(http.StatusOK, http.MethodPost, refresh, "", object{"refresh_token": foo.Refresh})
	baz := s.want(http.StatusOK, http.MethodPost, refresh, "", object{"refresh_token": bar.Refresh})
	if again := s.want(http.StatusOK, http.MethodPost, refresh, "", object{"refresh_token": bar.Refresh}); again.Refresh != baz.Refresh {
		t.Error("the parent gave another successor, want the same")
	}

	stolen := s.want(http.StatusUnauthorized, http.MethodPost, refresh, "", object{"refresh_token": foo.Refresh})
	if stolen.Code != "token_revoked" || stolen.Reason != "refresh_reuse" {
		t.Errorf("an ancestor: got %s, want token_revoked with reason refresh_reuse", stolen.Text)
	}
	for name, a := range map[string]answer{"foo": foo, "bar": bar, "baz": baz} {
		got := s.want(http.StatusUnauthorized, http.MethodGet, me, a.Access, nil)
		if got.Code != "token_revoked" || got.Reason != "refresh_reuse" {
			t.Errorf("the access token that came with %s: got %s, want token_revoked with reason refresh_reuse", name, got.Text)
		}
	}
	if got := s.want(http.StatusUnauthorized, http.MethodPost, refresh, "", object{"refresh_token": baz.Refresh}); got.Code != "token_revoked" {
		t.Errorf("the live token of the ended session: got %s, want token_revoked", got.Text)
	}
	s.want(http.StatusOK, http.MethodGet, me, other.Access, nil) // the user's other session goes on
	const reused = `"msg":"Refresh token reused"`
	until(t, "the log tells of it", func() bool { return strings.Contains(s.log.String(), reused) })
	if n := strings.Count(s.log.String(), reused); n != 1 {
		t.Errorf("the log tells of %d reuses, want 1:\n%s", n, s.log)
	}
}
