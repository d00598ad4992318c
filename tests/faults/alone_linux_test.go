package faults_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/xteam/xteam/adapters/pgstore"
)

// TestAloneOnTheDatabase: while a restore or a migration is at work on a database nothing else begins there, and while something else begins neither of them does, though it has not said yet who it is.
func TestAloneOnTheDatabase(t *testing.T) {
	p := startPostgres(t)
	env := []string{"PATH=" + os.Getenv("PATH"), "HTTP_ADDR=127.0.0.1:0", "DATABASE_URL=" + p.url(), "SECRET_KEY=k3yOfTests-7Zt0Lw4Vb9Xn2Rk8Hs5Jd1Fg6Pc", "ROOT_KEY=r00tOfTests-q2Wn8Xb5Vt1Lc7Zk4Mj9Hd3Gs"}
	run := func(args ...string) (string, error) {
		cmd := exec.CommandContext(t.Context(), binary, args...)
		cmd.Env, cmd.Dir = append([]string{"DATA_DIR=" + filepath.Join(t.TempDir(), "data")}, env...), t.TempDir()
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	copied := filepath.Join(t.TempDir(), "copy.tar")
	for _, args := range [][]string{{"users", "list"}, {"backup", copied}} {
		if out, err := run(args...); err != nil {
			t.Fatalf("%s: %v, %s", args[0], err, out)
		}
	}
	for name, c := range map[string]struct {
		alone    bool
		commands [][]string
		want     string
	}{
		"alone":  {true, [][]string{{"serve"}, {"users", "list"}, {"backup", filepath.Join(t.TempDir(), "another.tar")}}, " is in use, by a program that must be alone there"},
		"begins": {false, [][]string{{"restore", copied}, {"migrate", "--from", p.url(), "--to", "badger://" + filepath.Join(t.TempDir(), "moved")}}, " is in use, by a program that begins there"},
	} {
		db, err := pgstore.Open(t.Context(), p.url(), pgstore.Options{})
		if err != nil {
			t.Fatal(err)
		}
		if err := db.Enter(t.Context(), c.alone); err != nil {
			t.Fatal(err)
		}
		var all sync.WaitGroup
		for _, args := range c.commands {
			all.Go(func() {
				if out, err := run(args...); err == nil || !strings.Contains(out, c.want) {
					t.Errorf("%s: %s: %v, %s; want that the database%s", name, args[0], err, out, c.want)
				}
			})
		}
		all.Wait()
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
	}
	for _, args := range [][]string{{"restore", copied}, {"users", "list"}} {
		if out, err := run(args...); err != nil {
			t.Errorf("%s, of nobody else's database: %v, %s", args[0], err, out)
		}
	}
}
