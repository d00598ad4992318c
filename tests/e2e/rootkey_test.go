package e2e_test

import (
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// TestRootKeyIsReplacedByHand follows what `xteam incident eradicate` says of ROOT_KEY, step by step: of one that was given, and of one that was made at the first start.
func TestRootKeyIsReplacedByHand(t *testing.T) {
	for name, given := range map[string]string{"given": "5r8JwDs4Fy1Gn7Vx3Lq9Tc6Hb2Mk0PzUe", "made": ""} {
		t.Run(name, func(t *testing.T) {
			folder := t.TempDir()
			with := func(more ...string) []string {
				return environ(folder, append([]string{"SECRET_KEY=q7Zt0Lw4Vb9Xn2Rk8Hs5Jd1Fg6Pc3Mya"}, more...)...)
			}
			before := with()
			if given != "" {
				before = with("ROOT_KEY=" + given)
			}
			admin(t, before)
			s := serve(t, before)
			mine := s.signIn("admin@example.com")
			must(t, before, "", "incident", "open", "a root key that leaked")
			var told struct {
				ByHand []string `json:"by_hand"`
			}
			if err := json.Unmarshal([]byte(must(t, before, "", "incident", "eradicate", "--json")), &told); err != nil {
				t.Fatal(err)
			}
			says := ""
			for _, one := range told.ByHand {
				if strings.HasPrefix(one, "ROOT_KEY") {
					says += one
				}
			}
			old, kept := given, filepath.Join(folder, "secrets", "ROOT_KEY")
			steps := []string{"`xteam secret generate`", "as ROOT_KEY_PREVIOUS", "secrets/ROOT_KEY in DATA_DIR", "as the setting ROOT_KEY", "take ROOT_KEY_PREVIOUS and the file away", "start once more", "make a backup"}
			if given != "" {
				steps = []string{"`xteam secret generate`", "put another value in its place", "the one before under ROOT_KEY_PREVIOUS", "take ROOT_KEY_PREVIOUS away", "start once more", "make a backup"}
			} else {
				text, err := os.ReadFile(kept)
				if err != nil {
					t.Fatal(err)
				}
				old = strings.TrimSpace(string(text))
			}
			for _, step := range steps {
				if !strings.Contains(says, step) {
					t.Errorf("it does not say %q: %s", step, says)
				}
			}
			backups := t.TempDir()
			first, second := filepath.Join(backups, "first.tar"), filepath.Join(backups, "second.tar")
			end := func() {
				t.Helper()
				if err := s.end(syscall.SIGTERM); err != nil {
					t.Fatal(err)
				}
			}
			works := func(env []string) {
				t.Helper()
				s = serve(t, env)
				s.want(http.StatusOK, http.MethodGet, me, mine.Access, nil)
				if again := s.signIn("admin@example.com"); again.Access == "" {
					t.Error("nobody can sign in")
				}
				if out := must(t, env, "", "users", "list"); !strings.Contains(out, "admin@example.com") {
					t.Errorf("the users: %s", out)
				}
			}
			end()
			must(t, before, "", "backup", first)

			fresh := strings.TrimSpace(must(t, with(), "", "secret", "generate"))
			works(with("ROOT_KEY="+fresh, "ROOT_KEY_PREVIOUS="+old))
			end()
			if given == "" {
				if err := os.Remove(kept); err != nil {
					t.Fatal(err)
				}
			}
			alone := with("ROOT_KEY=" + fresh)
			works(alone)
			end()
			must(t, alone, "", "backup", second)

			if r := xteam(t, with("ROOT_KEY="+old), "", "users", "list"); r.code != 1 || !strings.Contains(r.err, "ROOT_KEY") || strings.Contains(r.out, "admin@") {
				t.Errorf("the old value opens the store: %+v", r)
			}
			for _, c := range []struct {
				file, key string
				code      int
			}{{first, old, 0}, {first, fresh, 1}, {second, fresh, 0}, {second, old, 1}} {
				r := xteam(t, environ(t.TempDir(), "SECRET_KEY=q7Zt0Lw4Vb9Xn2Rk8Hs5Jd1Fg6Pc3Mya", "ROOT_KEY="+c.key), "", "restore", c.file)
				if r.code != c.code {
					t.Errorf("%s with the value of before (%t): %+v, want exit %d", filepath.Base(c.file), c.key == old, r, c.code)
				}
			}
		})
	}
}
