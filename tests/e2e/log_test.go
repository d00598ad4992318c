package e2e_test

import (
	"errors"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// stuff fills a pipe to the brim, as a reader that has stalled leaves it. The server's own end keeps its blocking mode: the pipe is opened once more.
func stuff(t *testing.T, pipe *os.File) {
	t.Helper()
	again, err := os.OpenFile("/proc/self/fd/"+strconv.Itoa(int(pipe.Fd())), os.O_WRONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	for _, size := range []int{4096, 1} { // whole pages, then what is left of the last
		for err = nil; err == nil; {
			if err = again.SetWriteDeadline(time.Now().Add(100 * time.Millisecond)); err == nil {
				_, err = again.Write(make([]byte, size))
			}
		}
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatal(err)
		}
	}
}

// wrong is a sign-in that is refused, and logged.
func (s *server) wrong() {
	s.t.Helper()
	s.wrongAs("nobody@example.com")
}

func (s *server) wrongAs(email string) {
	s.t.Helper()
	s.want(http.StatusUnauthorized, http.MethodPost, login, "", object{"email": email, "password": password})
}

// Whoever reads the log has stalled: nothing waits for them, not a sign-in, a revocation, a command or the stop.
func TestLogNobodyReads(t *testing.T) {
	env := environ(t.TempDir())
	admin(t, env)
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	defer w.Close()
	stuff(t, w)
	s := launch(t, env, func(cmd *exec.Cmd) { cmd.Stderr = w })
	for range 8 {
		s.wrong()
	}
	boss := s.signIn("admin@example.com")
	s.want(http.StatusOK, http.MethodPost, revoke, boss.Access, object{"jti": claim(t, boss.Access, "jti")})
	s.refused(boss.Access, "the token that was revoked over HTTP")
	boss = s.signIn("admin@example.com")
	must(t, env, "", "revoke", "--user", "admin")
	s.refused(boss.Access, "the token that was revoked through the socket")
	if err := s.end(syscall.SIGTERM); err != nil {
		t.Errorf("the stop: %v", err)
	}
}

// A full disk costs lines, not requests. When there is room again the log says how many.
func TestLogLinesLost(t *testing.T) {
	folder, data := t.TempDir(), t.TempDir()
	link, file := filepath.Join(folder, "log"), filepath.Join(folder, "file")
	if err := os.Symlink("/dev/full", link); err != nil {
		t.Fatal(err)
	}
	env := environ(data, "LOG_FILE="+link)
	s := serve(t, env)
	s.wrong()
	s.wrong()
	if err := os.Remove(link); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(file, link); err != nil {
		t.Fatal(err)
	}
	if err := s.cmd.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	said := regexp.MustCompile(`"msg":"Log lines were lost","count":(\d+)`)
	until(t, "the log tells of the lines that were lost", func() bool {
		text, err := os.ReadFile(file)
		m := said.FindSubmatch(text)
		if err != nil || m == nil {
			return false
		}
		if n, err := strconv.Atoi(string(m[1])); err != nil || n < 2 {
			t.Fatalf("the log tells of %s lost lines, want two at least: %s", m[1], text)
		}
		return true
	})
	s.wrongAs("later@example.com") // of those before one may have waited until there was room
	if err := s.end(syscall.SIGTERM); err != nil {
		t.Errorf("the stop: %v", err)
	}
	text, err := os.ReadFile(file)
	if err != nil || strings.Count(string(text), `"email":"later@example.com"`) != 1 || strings.Count(string(text), `"msg":"Authentication failed"`) > 2 || len(said.FindAll(text, -1)) != 1 {
		t.Errorf("the log, once there was room: got %s, %v, want one failed sign-in and one line of those lost", text, err)
	}
	if s.log.String() != "" {
		t.Errorf("stderr, beside a LOG_FILE that is written again: %s", s.log)
	}

	// Where there is never room, stderr has the number at the end.
	s = serve(t, environ(data, "LOG_FILE=/dev/full"))
	s.wrong()
	if err := s.end(syscall.SIGTERM); err != nil {
		t.Errorf("the stop: %v", err)
	}
	if !regexp.MustCompile(`^xteam: \d+ lines of the log were lost: [^\n]*no space left on device\n$`).MatchString(s.log.String()) {
		t.Errorf("stderr, with a full LOG_FILE: got %q, want one line that says how many lines were lost", s.log)
	}
}

// A named pipe without a reader is no log, and nothing waits for one.
func TestLogPipeWithoutReader(t *testing.T) {
	pipe := filepath.Join(t.TempDir(), "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	r := xteam(t, environ(t.TempDir(), "LOG_FILE="+pipe), "", "serve")
	if r.code != 1 || strings.Count(r.err, "\n") != 1 || !strings.Contains(r.err, pipe) {
		t.Errorf("got %d, %q, want 1 and one line that names the pipe", r.code, r.err)
	}
}
