// Package proxies runs the shipped files of .deploy, ports and folders replaced, with the real proxies, before a plain upstream and beside the real program.
package proxies_test

import (
	"bufio"
	"bytes"
	"encoding/json"
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

	"github.com/xteam/xteam/ports/porttest"
)

// patience is how long anything may take that is sure to come.
const patience = 60 * time.Second

const password = "correct-Horse-battery-9-staple"

// program is the real binary, built once.
var program string

func TestMain(m *testing.M) { os.Exit(build(m)) }

func build(m *testing.M) int {
	folder, err := os.MkdirTemp("", "xteam-proxies")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(folder)
	program = filepath.Join(folder, "xteam")
	build := exec.Command("go", "build", "-trimpath", "-ldflags", "-s -w", "-o", program, "github.com/xteam/xteam/cmd/xteam")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "build: %v\n%s", err, out)
		return 1
	}
	return m.Run()
}

func fatal(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// proxy is one of those that have a shipped file.
type proxy struct {
	command string   // what must be installed
	files   []string // of .deploy
	listen  string   // in the first file, what stands for where it listens,
	at      string   // and how that is written, of an address, its host and its port
	start   func(folder, file string) *exec.Cmd
	down    int // what a client gets while XTeam does not answer at all
}

var proxies = map[string]proxy{
	"nginx": {"nginx", []string{"nginx.conf"}, "listen 80;", "listen %[1]s;", func(folder, file string) *exec.Cmd {
		conf := filepath.Join(folder, "main.conf")
		user := ""
		if os.Getuid() == 0 { // else the workers are another user's, to whom the folder is closed
			user = "user root; "
		}
		text := user + "pid " + folder + "/pid; error_log stderr; daemon off; worker_processes 1; events {} http { access_log off; client_body_temp_path b; proxy_temp_path p; fastcgi_temp_path f; uwsgi_temp_path u; scgi_temp_path s; include " + file + "; }"
		_ = os.WriteFile(conf, []byte(text), 0o600) // nginx says so if it is not there
		return exec.Command("nginx", "-e", "stderr", "-p", folder, "-c", conf)
	}, 503},
	"caddy": {"caddy", []string{"Caddyfile"}, "example.com {", "{\n\tadmin off\n}\nhttp://:%[3]s {\n\tbind %[2]s", func(folder, file string) *exec.Cmd {
		cmd := exec.Command("caddy", "run", "--config", file, "--adapter", "caddyfile")
		cmd.Env = []string{"HOME=" + folder, "XDG_DATA_HOME=" + folder, "XDG_CONFIG_HOME=" + folder, "PATH=" + os.Getenv("PATH")}
		return cmd
	}, 502},
	"haproxy": {"haproxy", []string{"haproxy.cfg", "haproxy.lua"}, "bind :80 ", "bind %[1]s ", func(_, file string) *exec.Cmd {
		return exec.Command("haproxy", "-db", "-f", file)
	}, 503},
}

// run starts a proxy on the shipped files, which must name the addresses of the product and of the service as the README does, and answers where it listens.
func (p proxy) run(t *testing.T, xteam, orders string) string {
	t.Helper()
	needs(t, p.command)
	folder, address := t.TempDir(), free(t)
	host, port, err := net.SplitHostPort(address)
	fatal(t, err)
	for i, name := range p.files {
		text, err := os.ReadFile(filepath.Join("../../.deploy", name))
		fatal(t, err)
		for was, is := range map[string]string{"127.0.0.1:8000": xteam, "127.0.0.1:9000": orders, "/etc/haproxy/": folder + "/", p.listen: fmt.Sprintf(p.at, address, host, port)} {
			if n := bytes.Count(text, []byte(was)); i == 0 && was == p.listen && n != 1 {
				t.Fatalf("%s has %d of %q", name, n, was)
			}
			text = bytes.ReplaceAll(text, []byte(was), []byte(is))
		}
		fatal(t, os.WriteFile(filepath.Join(folder, name), text, 0o600))
	}
	cmd := p.start(folder, filepath.Join(folder, p.files[0]))
	var log tail
	cmd.Dir, cmd.Stderr, cmd.Stdout = folder, &log, &log
	fatal(t, cmd.Start())
	ended := make(chan struct{})
	var how error
	go func() { defer close(ended); how = cmd.Wait() }()
	t.Cleanup(func() {
		_ = cmd.Process.Signal(os.Interrupt)
		select {
		case <-ended:
		case <-time.After(5 * time.Second):
			_ = cmd.Process.Kill()
			<-ended
		}
		if t.Failed() {
			t.Logf("%s said:\n%s", p.command, log.String())
		}
	})
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for begun := time.Now(); ; {
		if c, err := net.Dial("tcp", address); err == nil {
			_ = c.Close()
			return address
		}
		select {
		case <-ended:
			t.Fatalf("%s ended: %v\n%s", p.command, how, log.String())
		case <-tick.C:
		}
		if time.Since(begun) > patience {
			t.Fatalf("%s does not listen:\n%s", p.command, log.String())
		}
	}
}

// free is an address for one of these programs, which do not tell which they were given.
func free(t *testing.T) string {
	t.Helper()
	return fmt.Sprintf("127.0.0.1:%d", porttest.Free(t))
}

// needs skips a test on a machine without a program that it runs, and fails it where the real components are promised.
func needs(t *testing.T, name string) {
	t.Helper()
	switch _, err := exec.LookPath(name); {
	case err == nil:
	case os.Getenv("XTEAM_TEST_REAL") == "1":
		t.Fatalf("%s is not installed: make deps", name)
	default:
		t.Skipf("%s is not installed", name)
	}
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

// xteam is the running program.
type xteam struct {
	t       *testing.T
	env     []string
	address string
	log     tail
}

// serve starts the program with an administrator root and a user ann.
func serve(t *testing.T, more ...string) *xteam {
	t.Helper()
	folder := t.TempDir()
	x := &xteam{t: t, env: append([]string{"PATH=" + os.Getenv("PATH"), "HOME=" + folder, "DATA_DIR=" + filepath.Join(folder, "data"), "HTTP_ADDR=127.0.0.1:0", "BCRYPT_COST=10",
		"TRUSTED_PROXIES=127.0.0.1/32", "RATE_LIMIT_REQUESTS_PER_MINUTE=100000", "RATE_LIMIT_AUTH=100000", "RATE_LIMIT_WRITE=100000"}, more...)}
	for name, role := range map[string]string{"root": "admin", "ann": "user"} {
		x.run(password+"\n", "users", "create", "--email", name+"@example.com", "--username", name, "--role", role, "--password-stdin")
	}
	cmd := exec.Command(program, "serve")
	cmd.Env, cmd.Dir, cmd.Stderr = x.env, folder, &x.log
	out, err := cmd.StdoutPipe()
	fatal(t, err)
	fatal(t, cmd.Start())
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	ready := make(chan string, 1)
	go func() {
		for lines := bufio.NewScanner(out); lines.Scan(); {
			if _, url, ok := strings.Cut(lines.Text(), "ready http://"); ok {
				ready <- url
			}
		}
	}()
	select {
	case x.address = <-ready:
	case <-time.After(patience):
		t.Fatalf("the program is not ready:\n%s", x.log.String())
	}
	return x
}

// says waits until the journal holds a text.
func (x *xteam) says(text string) {
	x.t.Helper()
	for begun := time.Now(); !strings.Contains(x.log.String(), text); {
		if time.Since(begun) > patience {
			x.t.Fatalf("the journal says nothing of %s:\n%s", text, x.log.String())
		}
		<-time.After(10 * time.Millisecond)
	}
}

func (x *xteam) run(stdin string, args ...string) {
	x.t.Helper()
	cmd := exec.CommandContext(x.t.Context(), program, args...)
	cmd.Env, cmd.Dir, cmd.Stdin = x.env, x.t.TempDir(), strings.NewReader(stdin)
	if out, err := cmd.CombinedOutput(); err != nil {
		x.t.Fatalf("xteam %v: %v\n%s", args, err, out)
	}
}

// ask sends a request to the program itself, and reads its JSON.
func (x *xteam) ask(method, path, token, body string, to any) int {
	x.t.Helper()
	r, err := http.NewRequestWithContext(x.t.Context(), method, "http://"+x.address+path, strings.NewReader(body))
	fatal(x.t, err)
	r.Header.Set("Content-Type", "application/json")
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	res, err := http.DefaultClient.Do(r)
	fatal(x.t, err)
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	fatal(x.t, err)
	if to != nil {
		if err := json.Unmarshal(text, to); err != nil {
			x.t.Fatalf("%s %s: %d %s", method, path, res.StatusCode, text)
		}
	}
	return res.StatusCode
}

// signIn answers an access token of a new session.
func (x *xteam) signIn(name string) string {
	x.t.Helper()
	var got struct {
		Access string `json:"access_token"`
	}
	if code := x.ask("POST", "/api/v1/auth/login", "", `{"username":"`+name+`","password":"`+password+`"}`, &got); code != 200 {
		x.t.Fatalf("sign-in: %d", code)
	}
	return got.Access
}

// orders is a service that knows nothing of tokens, and notes every request that comes to it. Below /answers/ it answers with the status that follows.
type orders struct {
	address string
	mu      sync.Mutex
	seen    []*http.Request
}

func startOrders(t *testing.T) *orders {
	t.Helper()
	o := &orders{}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	fatal(t, err)
	s := &http.Server{ReadHeaderTimeout: patience, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		o.mu.Lock()
		o.seen = append(o.seen, r)
		o.mu.Unlock()
		if status, err := strconv.Atoi(strings.TrimPrefix(r.URL.Path, "/answers/")); err == nil {
			w.WriteHeader(status)
		}
		_, _ = io.WriteString(w, "an order")
	})}
	o.address = l.Addr().String()
	go func() { _ = s.Serve(l) }()
	t.Cleanup(func() { _ = s.Close() })
	return o
}

// took are the requests that have come since it was asked last.
func (o *orders) took() []*http.Request {
	o.mu.Lock()
	defer o.mu.Unlock()
	seen := o.seen
	o.seen = nil
	return seen
}

// from is where the clients of the tests are: an address that no proxy has.
const from = "127.0.0.2"

// send writes a request as it stands, each line with its own end, and reads one answer.
func send(t *testing.T, address, request string) (*http.Response, string) {
	t.Helper()
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}, Timeout: patience}
	c, err := d.DialContext(t.Context(), "tcp", address)
	fatal(t, err)
	defer c.Close()
	fatal(t, c.SetDeadline(time.Now().Add(patience)))
	_, _ = io.WriteString(c, request) // one that is refused half way through is answered too
	res, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		t.Fatalf("%.200q: %v", request, err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	fatal(t, err)
	return res, string(body)
}

// get sends a GET with these lines of header.
func get(t *testing.T, address, target string, heads ...string) (*http.Response, string) {
	t.Helper()
	return send(t, address, "GET "+target+" HTTP/1.1\r\nHost: orders.test\r\nConnection: close\r\n"+lines(heads)+"\r\n")
}

func lines(heads []string) string {
	text := strings.Join(heads, "\r\n")
	if text != "" {
		text += "\r\n"
	}
	return text
}
