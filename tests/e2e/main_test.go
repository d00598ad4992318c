// Package e2e runs the built binary as its users do: over HTTP, by its commands, by signals and by kill -9.
package e2e_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// binary is the program, built once.
var binary string

func TestMain(m *testing.M) { os.Exit(build(m)) }

func build(m *testing.M) int {
	dir, err := os.MkdirTemp("", "xteam-e2e")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	binary = filepath.Join(dir, "xteam")
	build := exec.Command("go", "build", "-trimpath", "-ldflags", "-s -w", "-o", binary, "github.com/xteam/xteam/cmd/xteam") // as `make build` does, but for the profile, which takes a minute
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "build: %v\n%s", err, out)
		return 1
	}
	return m.Run()
}

// patience is how long anything may take that is sure to come. It is no measurement: a slow machine only waits.
const patience = 60 * time.Second

// environ is what a program of a test sees: nothing of this process' settings, and no rate limits, which the tests of this package would soon meet.
func environ(folder string, more ...string) []string {
	return append([]string{"PATH=" + os.Getenv("PATH"), "HOME=" + os.Getenv("HOME"), "DATA_DIR=" + folder, "HTTP_ADDR=127.0.0.1:0", "BCRYPT_COST=10", "RATE_LIMIT_ENABLED=false"}, more...)
}

// result is how a command ended.
type result struct {
	code     int
	out, err string
}

// xteam runs one command to its end.
func xteam(t *testing.T, env []string, stdin string, args ...string) result {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, binary, args...)
	cmd.Env, cmd.Dir, cmd.Stdin = env, t.TempDir(), strings.NewReader(stdin)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) {
		t.Fatalf("xteam %v: %v", args, err)
	}
	return result{cmd.ProcessState.ExitCode(), out.String(), errs.String()}
}

// must runs a command that has to succeed, and answers its output without the line end.
func must(t *testing.T, env []string, stdin string, args ...string) string {
	t.Helper()
	r := xteam(t, env, stdin, args...)
	if r.code != 0 {
		t.Fatalf("xteam %v ended with %d: %s", args, r.code, r.err)
	}
	return strings.TrimSuffix(r.out, "\n")
}

// server is a running `xteam serve`.
type server struct {
	t    *testing.T
	cmd  *exec.Cmd
	base string
	out  *tail // what it wrote to stdout, and
	log  *tail // to stderr
	done chan error
}

// tail keeps what a process writes.
type tail struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (w *tail) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.b.Write(p)
}

func (w *tail) String() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.b.String()
}

// needs skips a test on a machine without a program that it runs, and fails it where the real components are promised.
func needs(t *testing.T, programs ...string) {
	t.Helper()
	for _, name := range programs {
		switch _, err := exec.LookPath(name); {
		case err == nil:
		case os.Getenv("XTEAM_TEST_REAL") == "1":
			t.Fatalf("%s is not installed: make deps", name)
		default:
			t.Skipf("%s is not installed", name)
		}
	}
}

// serve starts the server and waits for its ready line.
func serve(t *testing.T, env []string, args ...string) *server {
	t.Helper()
	return launch(t, env, nil, args...)
}

// launch is serve with a command that is changed before it is started.
func launch(t *testing.T, env []string, change func(*exec.Cmd), args ...string) *server {
	t.Helper()
	if len(args) == 0 {
		args = []string{"serve"}
	}
	s := &server{t: t, cmd: exec.Command(binary, args...), out: new(tail), log: new(tail), done: make(chan error, 1)}
	s.cmd.Env, s.cmd.Dir, s.cmd.Stderr = env, t.TempDir(), s.log
	if change != nil {
		change(s.cmd)
	}
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	s.cmd.Stdout = w
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	_ = w.Close()
	ready := make(chan string, 1)
	read := make(chan struct{})
	go func() {
		defer close(read)
		defer r.Close()
		lines := bufio.NewReader(io.TeeReader(r, s.out))
		for {
			line, err := lines.ReadString('\n')
			if _, url, ok := strings.Cut(line, "ready "); ok && err == nil {
				select {
				case ready <- strings.TrimSpace(url):
				default:
				}
			}
			if err != nil {
				return
			}
		}
	}()
	go func() {
		err := s.cmd.Wait()
		<-read
		s.done <- err
	}()
	t.Cleanup(func() {
		_ = s.cmd.Process.Kill()
		t.Log("the server ended with", <-s.done)
	})
	select {
	case url := <-ready:
		s.base = strings.TrimPrefix(url, "at ") // dev's line says "ready at"
		if _, _, err := net.SplitHostPort(strings.TrimPrefix(strings.TrimPrefix(s.base, "http://"), "https://")); err != nil {
			t.Fatalf("the ready line says %q: %v", url, err)
		}
	case err := <-s.done:
		s.done <- err
		t.Fatalf("the server ended before it was ready: %v\n%s", err, s.log)
	case <-time.After(patience):
		t.Fatalf("the server is not ready\n%s", s.log)
	}
	return s
}

// end sends a signal and answers how the server ended.
func (s *server) end(sig os.Signal) error {
	s.t.Helper()
	if err := s.cmd.Process.Signal(sig); err != nil {
		s.t.Fatal(err)
	}
	return s.wait()
}

func (s *server) wait() error {
	s.t.Helper()
	select {
	case err := <-s.done:
		s.done <- err
		return err
	case <-time.After(patience):
		s.t.Fatalf("the server did not end\n%s", s.log)
		return nil
	}
}

// client is shared, so that load keeps its connections.
var client = &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 128}, Timeout: patience}

// answer is a response with its body decoded as far as the tests ask.
type answer struct {
	Status  int    `json:"-"`
	Text    string `json:"-"`
	Access  string `json:"access_token"`
	Refresh string `json:"refresh_token"`
	Code    string `json:"code"`
	Reason  string `json:"reason"`
	ID      string `json:"id"`
	Email   string `json:"email"`
	Ended   int    `json:"sessions_ended"`

	Wait time.Duration `json:"-"` // Retry-After, when there is one
}

// call sends one request. A transport's error is answered, since some tests kill the server.
func (s *server) call(method, path, bearer string, body any) (answer, error) {
	var in io.Reader
	if body != nil {
		text, err := json.Marshal(body)
		if err != nil {
			return answer{}, err
		}
		in = bytes.NewReader(text)
	}
	req, err := http.NewRequest(method, s.base+path, in)
	if err != nil {
		return answer{}, err
	}
	req.Header.Set("User-Agent", "e2e")
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if bearer != "" {
		req.Header.Set("Authorization", "Bearer "+bearer)
	}
	res, err := client.Do(req)
	if err != nil {
		return answer{}, err
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		return answer{}, err
	}
	a := answer{Status: res.StatusCode, Text: string(text)}
	if seconds, err := strconv.Atoi(res.Header.Get("Retry-After")); err == nil {
		a.Wait = time.Duration(seconds) * time.Second
	}
	_ = json.Unmarshal(text, &a) // not every body is JSON of this form
	return a, nil
}

// want sends one request that has to be answered with that status.
func (s *server) want(status int, method, path, bearer string, body any) answer {
	s.t.Helper()
	a, err := s.call(method, path, bearer, body)
	if err != nil {
		s.t.Fatalf("%s %s: %v\n%s", method, path, err, s.log)
	}
	if a.Status != status {
		s.t.Fatalf("%s %s: got %d %s, want %d", method, path, a.Status, a.Text, status)
	}
	return a
}

// object is a JSON object.
type object map[string]any

const (
	password = "correct-Horse-battery-9-staple"
	register = "/api/v1/auth/register"
	login    = "/api/v1/auth/login"
	refresh  = "/api/v1/auth/refresh"
	logout   = "/api/v1/auth/logout"
	me       = "/api/v1/users/me"
	revoke   = "/api/v1/admin/revocations"
)

// admin makes the administrator admin@example.com in a folder that no server holds.
func admin(t *testing.T, env []string) {
	t.Helper()
	must(t, env, password, "users", "create", "--email", "admin@example.com", "--username", "admin", "--role", "admin", "--password-stdin")
}

// signIn answers the tokens of a new session. While the gate of the hasher is full, as it is on a slow machine, it comes again when it is told to.
func (s *server) signIn(email string) answer {
	s.t.Helper()
	in := object{"email": email, "password": password}
	for begun := time.Now(); ; {
		a, err := s.call(http.MethodPost, login, "", in)
		switch {
		case err == nil && a.Status == http.StatusServiceUnavailable && a.Wait > 0 && time.Since(begun)+a.Wait < patience:
			<-time.After(a.Wait)
		case err != nil || a.Status != http.StatusOK:
			s.t.Fatalf("sign-in of %s: got %d %s, %v\n%s", email, a.Status, a.Text, err, s.log)
		default:
			return a
		}
	}
}

// parallel runs n functions at once and waits for them all.
func parallel(n int, f func(i int)) {
	var all sync.WaitGroup
	for i := range n {
		all.Go(func() { f(i) })
	}
	all.Wait()
}

// until waits for a condition.
func until(t *testing.T, what string, holds func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	tooLong := time.After(patience)
	for !holds() {
		select {
		case <-tick.C:
		case <-tooLong:
			t.Fatalf("it did not happen that %s", what)
		}
	}
}

// claim is one claim of an access token, unverified.
func claim(t *testing.T, access, name string) string {
	t.Helper()
	parts := strings.Split(access, ".")
	if len(parts) != 3 {
		t.Fatalf("an access token of %d parts", len(parts))
	}
	raw, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		t.Fatal(err)
	}
	var claims map[string]any
	if err := json.Unmarshal(raw, &claims); err != nil {
		t.Fatal(err)
	}
	return fmt.Sprint(claims[name])
}

// kid is the id of the key that signed an access token.
func kid(t *testing.T, access string) string {
	t.Helper()
	first, _, _ := strings.Cut(access, ".")
	raw, err := base64.RawURLEncoding.DecodeString(first)
	if err != nil {
		t.Fatal(err)
	}
	var header struct {
		KeyID string `json:"kid"`
	}
	if err := json.Unmarshal(raw, &header); err != nil {
		t.Fatal(err)
	}
	return header.KeyID
}
