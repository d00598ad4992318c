package e2e_test

import (
	"net/http"
	"strings"
	"syscall"
	"testing"
)

// SECRET_KEY, which other services may know, opens nothing but signatures: who has it and the whole folder opens the store with it neither as the root key nor as that of
// before, nor without a root key, and leaves it as it was. Nor does it sign any more, once another key does.
func TestSecretKeyOpensSignaturesAlone(t *testing.T) {
	const known = "q7Zt0Lw4Vb9Xn2Rk8Hs5Jd1Fg6Pc3Mya"
	folder := t.TempDir()
	env := environ(folder, "SECRET_KEY="+known, "ROOT_KEY=5r8JwDs4Fy1Gn7Vx3Lq9Tc6Hb2Mk0PzUe")
	admin(t, env)
	s := serve(t, env)
	if in := s.signIn("admin@example.com"); !signedBy(in.Access, known) {
		t.Fatal("SECRET_KEY does not sign")
	}
	must(t, env, "", "keys", "rotate", "--alg", "HS256")
	mine := s.signIn("admin@example.com")
	if signedBy(mine.Access, known) {
		t.Error("after a rotation SECRET_KEY signs still")
	}
	if err := s.end(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}

	const theirs = "9mGq2Lx7Vb4Kc1Tn8Rz5Wd3Hf6Ys0PjAe"
	for _, with := range [][]string{{"ROOT_KEY=" + known}, {"ROOT_KEY=" + theirs, "ROOT_KEY_PREVIOUS=" + known}, {"SECRET_KEY=" + known}, nil} {
		r := xteam(t, environ(folder, with...), "", "users", "list")
		if r.code != 1 || strings.Count(r.err, "\n") != 1 || !strings.Contains(r.err, "ROOT_KEY") || strings.Contains(r.out, "admin@") {
			t.Errorf("with %q: got %d, %q, %q, want one line that names ROOT_KEY", with, r.code, r.out, r.err)
		}
	}
	s = serve(t, env)
	s.want(http.StatusOK, http.MethodGet, me, mine.Access, nil)
}
