package e2e_test

import (
	"strings"
	"sync"
	"syscall"
	"testing"
)

// Commands that need the store at the same time wait for one another.
func TestCommandsTogether(t *testing.T) {
	env := environ(t.TempDir())
	admin(t, env)
	parallel(6, func(int) {
		if r := xteam(t, env, "", "revoke", "--all"); r.code != 0 {
			t.Errorf("one of six commands: got %d, %s", r.code, r.err)
		}
	})
}

// A command that comes while a server starts waits for it, and a server that is started while a command has the store waits for that.
func TestCommandsAtTheStart(t *testing.T) {
	env := environ(t.TempDir())
	admin(t, env)
	for range 3 {
		var commands sync.WaitGroup
		for range 4 {
			commands.Go(func() {
				if r := xteam(t, env, "", "revoke", "--all"); r.code != 0 {
					t.Errorf("a command at the start: got %d, %s", r.code, r.err)
				}
			})
		}
		s := serve(t, env)
		commands.Wait()
		if err := s.end(syscall.SIGTERM); err != nil {
			t.Errorf("the stop: %v", err)
		}
	}
}

// While the server answers what it has begun, the operator reaches it, and afterwards the store.
func TestCommandsAtTheStop(t *testing.T) {
	env := environ(t.TempDir())
	admin(t, env)
	s := serve(t, env)
	boss := s.signIn("admin@example.com")
	conn, _, body := s.halfSignedIn()
	if err := s.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	s.closed()
	if got := must(t, env, "", "revoke", "--session", claim(t, boss.Access, "sid")); !strings.HasPrefix(got, "1 session ended") {
		t.Errorf("a command at a server that drains: got %q, want a session ended", got)
	}

	ended := make(chan struct{})
	var commands sync.WaitGroup
	for range 3 {
		commands.Go(func() {
			for last := false; !last; {
				select {
				case <-ended:
					last = true
				default:
				}
				if r := xteam(t, env, "", "revoke", "--user", "admin"); r.code != 0 {
					t.Errorf("a command at the stop: got %d, %s", r.code, r.err)
				}
			}
		})
	}
	if _, err := conn.Write([]byte(body)); err != nil {
		t.Fatal(err)
	}
	if err := s.wait(); err != nil {
		t.Errorf("the stop: %v", err)
	}
	close(ended)
	commands.Wait()
}
