package e2e_test

import (
	"encoding/json"
	"errors"
	"io/fs"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// The line that the product was asked for with, word for word, but for the port.
const curlLine = `curl -X POST http://localhost:8000/api/v1/admin/revoke-user-tokens \
  -H "Authorization: Bearer $ADMIN_TOKEN" \
  -d '{"user_id": "compromised-user-id"}'`

func TestCurlLineAsWritten(t *testing.T) {
	needs(t, "bash", "curl")
	env := environ(t.TempDir())
	admin(t, env)
	s := serve(t, env)
	boss := s.signIn("admin@example.com")
	s.want(http.StatusCreated, http.MethodPost, register, "", object{"email": "victim@example.com", "username": "compromised-user-id", "password": password})
	first, second := s.signIn("victim@example.com"), s.signIn("victim@example.com")

	_, port, _ := strings.Cut(strings.TrimPrefix(s.base, "http://"), ":")
	line := exec.Command("bash", "-c", strings.Replace(curlLine, ":8000", ":"+port, 1))
	line.Env = []string{"PATH=" + os.Getenv("PATH"), "ADMIN_TOKEN=" + boss.Access}
	out, err := line.Output()
	if err != nil {
		t.Fatalf("curl: %v\n%s", err, out)
	}
	var a answer
	if err := json.Unmarshal(out, &a); err != nil || a.Ended != 2 {
		t.Errorf("the curl line: got %s, %v, want two sessions ended", out, err)
	}
	for _, v := range []answer{first, second} {
		s.refused(v.Access, "the user's token")
	}
	s.want(http.StatusOK, http.MethodGet, me, boss.Access, nil)
}

// The five lines that dev prints are pasted into a shell.
func TestDevLines(t *testing.T) {
	needs(t, "sh", "curl", "sed")
	dir := t.TempDir()
	env := environ(dir)
	s := serve(t, env, "dev")
	const last = "Ctrl-C"
	until(t, "the tour is printed", func() bool { return strings.Contains(s.out.String(), last) })
	_, after, _ := strings.Cut(s.out.String(), "ready to paste:\n\n")
	lines, _, _ := strings.Cut(after, "\n\n")
	if n := strings.Count(lines, "\n") + 1; n != 5 {
		t.Fatalf("%d lines to paste, want 5:\n%s", n, s.out)
	}
	sh := exec.Command("sh")
	sh.Stdin, sh.Env = strings.NewReader(lines+"\n"), []string{"PATH=" + os.Getenv("PATH")}
	out, err := sh.CombinedOutput()
	if err != nil {
		t.Fatalf("the pasted lines: %v\n%s", err, out)
	}
	got := strings.Split(strings.TrimSuffix(string(out), "\n"), "\n")
	want := []string{`"email":"admin@example.com"`, `"sessions_ended":1`, `401`, `"code":"token_revoked"`}
	if len(got) != len(want) {
		t.Fatalf("the pasted lines wrote %d lines, want %d:\n%s", len(got), len(want), out)
	}
	for i := range want {
		if !strings.Contains(got[i], want[i]) {
			t.Errorf("line %d of the output is %q, want it to hold %s", i+1, got[i], want[i])
		}
	}
	if s.log.String() != "" {
		t.Errorf("dev wrote to stderr: %s", s.log)
	}
	if err := s.end(os.Interrupt); err != nil {
		t.Errorf("Ctrl-C: %v", err)
	}

	// A second run on the same folder has another administrator; the tour goes as well.
	again := must(t, env, "", "dev", "--once")
	if !strings.Contains(again, "token_revoked, reason user_revoked") || !strings.Contains(again, "admin@example.com is from an earlier run") {
		t.Errorf("the second run says:\n%s", again)
	}
}

// Where nothing names a folder, dev has its own, beside the one of serve; commands reach it there, and a later run takes up the same store, whoever registered.
func TestDevFolder(t *testing.T) {
	dir := t.TempDir()
	in := func(cmd *exec.Cmd) { cmd.Dir = dir }
	env := environ("")
	s := launch(t, env, in, "dev")
	until(t, "the tour is printed", func() bool { return strings.HasSuffix(s.out.String(), " Ctrl-C ends it.\n") })
	if !strings.Contains(s.out.String(), " DATA_DIR=data/dev ") {
		t.Errorf("whoever runs a command is not told of the folder:\n%s", s.out)
	}
	s.want(http.StatusCreated, http.MethodPost, register, "", object{"email": "ann@example.com", "username": "ann", "password": password})
	must(t, environ(filepath.Join(dir, "data/dev")), "", "revoke", "--user", "ann")
	if err := s.end(os.Interrupt); err != nil {
		t.Errorf("Ctrl-C: %v", err)
	}
	found, err := filepath.Glob(filepath.Join(dir, "data/*"))
	if err != nil || len(found) != 1 {
		t.Errorf("data holds %v, %v, want the folder dev alone", found, err)
	}
	s = launch(t, env, in, "dev")
	until(t, "the tour is printed", func() bool { return strings.Contains(s.out.String(), "token_revoked, reason user_revoked") })
	if !strings.Contains(s.out.String(), "admin@example.com is from an earlier run") {
		t.Errorf("the second run says:\n%s", s.out)
	}
	if err := s.end(os.Interrupt); err != nil {
		t.Errorf("Ctrl-C: %v", err)
	}
}

func TestSecondServer(t *testing.T) {
	folder := t.TempDir()
	env := environ(folder)
	s := serve(t, env)
	for name, e := range map[string][]string{
		"another port":  env,
		"the same port": environ(folder, "HTTP_ADDR="+strings.TrimPrefix(s.base, "http://")),
	} {
		r := xteam(t, e, "", "serve")
		if r.code != 1 || r.out != "" || strings.Count(r.err, "\n") != 1 || !strings.Contains(r.err, folder) {
			t.Errorf("a second server on the folder, %s: got %d, %q, %q, want 1 and one line that names %s", name, r.code, r.out, r.err, folder)
		}
	}
	r := xteam(t, environ(t.TempDir(), "HTTP_ADDR="+strings.TrimPrefix(s.base, "http://")), "", "serve")
	if r.code != 1 || r.out != "" || strings.Count(r.err, "\n") != 1 || !strings.Contains(r.err, "HTTP_ADDR") {
		t.Errorf("a second server on the port: got %d, %q, %q, want 1 and one line that names HTTP_ADDR", r.code, r.out, r.err)
	}
	s.want(http.StatusOK, http.MethodGet, "/healthz", "", nil)
}

// Commands reach the running server through its socket, and the store itself when none runs; a socket that a killed server left is replaced.
func TestOperator(t *testing.T) {
	folder := filepath.Join(t.TempDir(), strings.Repeat("long/", 30)) // longer than a socket's address
	env := environ(folder)
	admin(t, env)
	socket := filepath.Join(folder, "xteam.sock")
	s := serve(t, env)
	boss := s.signIn("admin@example.com")

	if info, err := os.Stat(folder); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("the folder: got %v, %v, want mode 0700", info, err)
	}
	if info, err := os.Stat(socket); err != nil || info.Mode() != fs.ModeSocket|0o600 {
		t.Errorf("the socket: got %v, %v, want mode 0600", info, err)
	}

	// While the server runs.
	ann := must(t, env, password+"\n", "users", "create", "--email", "ann@example.com", "--username", "ann", "--password-stdin")
	tokens := s.signIn("ann@example.com")
	if got := claim(t, tokens.Access, "sub"); got != ann {
		t.Errorf("users create printed %q, the account is %q", ann, got)
	}
	if got := must(t, env, "", "revoke", "--user", "ann", "--dry-run"); !strings.Contains(got, "1 session would be ended") {
		t.Errorf("revoke --dry-run: got %q", got)
	}
	s.want(http.StatusOK, http.MethodGet, me, tokens.Access, nil)
	if got := must(t, env, "", "revoke", "--user", "ann", "--reason", "laptop stolen"); !strings.HasPrefix(got, "1 session ended") {
		t.Errorf("revoke --user: got %q", got)
	}
	s.refused(tokens.Access, "the token, after revoke through the socket")
	tokens = s.signIn("ann@example.com")
	must(t, env, tokens.Access+"\n", "revoke", "--token", "-")
	s.refused(tokens.Access, "the token that was read from standard input")
	r := xteam(t, env, "", "revoke", "--user", "nobody", "--json")
	if r.code != 1 || r.out != "" || strings.Count(r.err, "\n") != 1 {
		t.Errorf("revoke of nobody: got %+v, want 1 and one line", r)
	}
	r = xteam(t, env, password, "users", "create", "--email", "ANN@example.com", "--username", "other", "--password-stdin")
	if r.code != 1 || r.out != "" || strings.Count(r.err, "\n") != 1 {
		t.Errorf("a taken e-mail address: got %+v, want 1 and one line", r)
	}
	r = xteam(t, env, "seven77", "users", "create", "--email", "bob@example.com", "--username", "bob", "--password-stdin")
	if r.code != 1 || r.out != "" || strings.Count(r.err, "\n") != 1 || strings.Contains(r.err, "seven77") || !strings.Contains(r.err, "password: ") {
		t.Errorf("a password that is too short: got %+v, want 1 and one line that names the field", r)
	}

	// A killed server leaves its socket, and a command then opens the store itself.
	tokens = s.signIn("ann@example.com")
	_ = s.end(os.Kill)
	if _, err := os.Lstat(socket); err != nil {
		t.Fatalf("after the kill: %v, want that the socket is left", err)
	}
	var hit struct {
		Ended int   `json:"sessions_ended"`
		Nodes []any `json:"nodes"`
	}
	if text := must(t, env, "", "revoke", "--session", claim(t, tokens.Access, "sid"), "--json"); json.Unmarshal([]byte(text), &hit) != nil || hit.Ended != 1 || len(hit.Nodes) != 1 {
		t.Errorf("revoke --json with the server stopped: got %s", text)
	}
	s = serve(t, env)
	s.refused(tokens.Access, "the token, after revoke on the store")
	s.want(http.StatusOK, http.MethodGet, me, boss.Access, nil)
	must(t, env, "", "revoke", "--all")
	s.refused(boss.Access, "the token, after revoke --all")
	if err := s.end(syscall.SIGTERM); err != nil {
		t.Error(err)
	}
	if _, err := os.Lstat(socket); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("after the stop: %v, want that the socket is gone", err)
	}
}

// A data folder that cannot be used stops the start with one line that names it.
func TestUnusableFolder(t *testing.T) {
	file := filepath.Join(t.TempDir(), "data")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for name, folder := range map[string]string{"a file": file, "below a file": filepath.Join(file, "data"), "a system's own": "/proc/xteam"} {
		for _, args := range [][]string{{"serve"}, {"dev", "--once"}, {"revoke", "--all"}} {
			r := xteam(t, environ(folder), "", args...)
			if r.code != 1 || r.out != "" || strings.Count(r.err, "\n") != 1 || !strings.Contains(r.err, folder) {
				t.Errorf("%v on %s: got %d, %q, %q, want 1 and one line that names %s", args, name, r.code, r.out, r.err, folder)
			}
		}
	}
}

// A key of before that has been revoked must not come back.
func TestRevokedSecret(t *testing.T) {
	folder := t.TempDir()
	old, fresh := strings.Repeat("old-secret-", 4), strings.Repeat("new-secret-", 4)
	env := environ(folder, "SECRET_KEY="+old)
	admin(t, env)
	s := serve(t, env)
	boss := s.signIn("admin@example.com")
	if err := s.end(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	s = serve(t, environ(folder, "SECRET_KEY="+fresh, "SECRET_KEY_PREVIOUS="+old))
	s.want(http.StatusOK, http.MethodGet, me, boss.Access, nil)
	must(t, env, "", "revoke", "--key", kid(t, boss.Access))
	s.refused(boss.Access, "a token of the revoked key")
	if err := s.end(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	for name, e := range map[string][]string{"SECRET_KEY": env, "SECRET_KEY_PREVIOUS": environ(folder, "SECRET_KEY="+fresh, "SECRET_KEY_PREVIOUS="+old)} {
		r := xteam(t, e, "", "serve")
		if r.code != 1 || strings.Count(r.err, "\n") != 1 || !strings.Contains(r.err, name) || !strings.Contains(r.err, "revoked") || strings.Contains(r.err, old) {
			t.Errorf("a start with the revoked key as %s: got %d, %q, want 1 and one line that says so", name, r.code, r.err)
		}
	}
	serve(t, environ(folder, "SECRET_KEY="+fresh))
}

// A key that was made at the first start, and then revoked, stands in nobody's way: another signs, also after a start, and its tokens are told why they are dead.
func TestRevokedKeptSecret(t *testing.T) {
	env := environ(t.TempDir())
	admin(t, env)
	s := serve(t, env)
	boss := s.signIn("admin@example.com")
	must(t, env, "", "revoke", "--key", kid(t, boss.Access))
	for range 2 {
		got := s.want(http.StatusUnauthorized, http.MethodGet, me, boss.Access, nil)
		if got.Reason != "key_revoked" {
			t.Errorf("a token of the revoked key: %s", got.Text)
		}
		s.want(http.StatusOK, http.MethodGet, me, s.signIn("admin@example.com").Access, nil)
		if err := s.end(syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
		s = serve(t, env)
	}
}

// Whoever rotates the log moves the file away and sends SIGHUP; the server goes on in a new one.
func TestLogRotation(t *testing.T) {
	file := filepath.Join(t.TempDir(), "xteam.log")
	s := serve(t, environ(t.TempDir(), "LOG_FILE="+file))
	if err := os.Rename(file, file+".1"); err != nil {
		t.Fatal(err)
	}
	if err := s.cmd.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	until(t, "the log file is there again", func() bool { _, err := os.Stat(file); return err == nil })
	until(t, "a line is written to it", func() bool {
		s.want(http.StatusUnauthorized, http.MethodPost, login, "", object{"email": "nobody@example.com", "password": password})
		text, err := os.ReadFile(file)
		return err == nil && strings.Contains(string(text), `"msg":"Authentication failed"`)
	})
	if err := s.end(syscall.SIGTERM); err != nil {
		t.Errorf("the stop: %v", err)
	}
}
