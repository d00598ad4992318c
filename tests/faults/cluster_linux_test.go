package faults_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// binary is the program, built once.
var binary string

func TestMain(m *testing.M) { os.Exit(build(m)) }

func build(m *testing.M) int {
	dir, err := os.MkdirTemp("", "xteam-faults")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	binary = filepath.Join(dir, "xteam")
	cmd := exec.Command("go", "build", "-trimpath", "-ldflags", "-s -w", "-o", binary, "github.com/xteam/xteam/cmd/xteam")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "build: %v\n%s", err, out)
		return 1
	}
	return m.Run()
}

// cluster is some nodes on one database and one Redis.
type cluster struct {
	t        testing.TB
	redis    *redisServer
	postgres *postgresServer
	nodes    []*node
	client   *http.Client
}

// node is one `xteam serve`.
type node struct {
	*process
	n    int
	base string
	out  *lines
	env  []string
}

// lines keeps what a process writes, and tells of its ready line.
type lines struct {
	mu    sync.Mutex
	text  bytes.Buffer
	ready chan string
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	n, err := l.text.Write(p)
	sc := bufio.NewScanner(bytes.NewReader(l.text.Bytes()))
	for sc.Scan() {
		if url, ok := strings.CutPrefix(sc.Text(), "ready "); ok && strings.Contains(l.text.String(), sc.Text()+"\n") {
			select {
			case l.ready <- url:
			default:
			}
		}
	}
	return n, err
}

const password = "correct-Horse-battery-9-staple"

// newCluster starts servers and nodes, and users who can sign in.
func newCluster(t testing.TB, nodes, users int, redisArgs []string, more ...string) *cluster {
	t.Helper()
	c := &cluster{t: t, redis: startRedis(t, redisArgs...), postgres: startPostgres(t)}
	c.client = &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{MaxIdleConnsPerHost: 64}}
	t.Cleanup(c.client.CloseIdleConnections)
	for i := range nodes {
		c.nodes = append(c.nodes, c.join(i, more...))
	}
	c.command(password, "users", "create", "--email", "admin@example.com", "--username", "admin", "--role", "admin", "--password-stdin")
	for i := range users {
		a := c.call(0, http.MethodPost, "/api/v1/auth/register", "", map[string]any{"email": fmt.Sprintf("u%d@example.com", i), "username": fmt.Sprintf("user%d", i), "password": password})
		if a.status != http.StatusCreated {
			t.Fatalf("register: %d %s", a.status, a.text)
		}
	}
	return c
}

// join starts one more node.
func (c *cluster) join(i int, more ...string) *node {
	c.t.Helper()
	n := &node{n: i, out: &lines{ready: make(chan string, 1)}}
	n.env = append([]string{"PATH=" + os.Getenv("PATH"), "DATA_DIR=" + filepath.Join(c.t.TempDir(), "data"), "HTTP_ADDR=127.0.0.1:0", "BCRYPT_COST=10", "RATE_LIMIT_ENABLED=false",
		"DATABASE_URL=" + c.postgres.url(), "REDIS_URL=" + c.redis.url(), "SECRET_KEY=k3yOfTests-7Zt0Lw4Vb9Xn2Rk8Hs5Jd1Fg6Pc", "ROOT_KEY=r00tOfTests-q2Wn8Xb5Vt1Lc7Zk4Mj9Hd3Gs"}, more...)
	n.process = &process{t: c.t, name: fmt.Sprintf("node %d", i), dir: c.t.TempDir()}
	c.serve(n)
	return n
}

// serve starts a node, and waits until it takes requests.
func (c *cluster) serve(n *node) {
	c.t.Helper()
	log, err := os.OpenFile(filepath.Join(c.t.TempDir(), "log"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		c.t.Fatal(err)
	}
	n.log = log
	n.out = &lines{ready: make(chan string, 1)}
	n.cmd = exec.Command(binary, "serve")
	n.cmd.Env, n.cmd.Dir, n.cmd.Stdout, n.cmd.Stderr = n.env, n.dir, n.out, log
	n.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if err := n.cmd.Start(); err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(func() {
		n.kill()
		if c.t.Failed() {
			text, _ := os.ReadFile(log.Name())
			c.t.Logf("node %d wrote, at last:\n%s", n.n, text[max(0, len(text)-4000):])
		}
		_ = log.Close()
	})
	select {
	case url := <-n.out.ready:
		n.base = url
	case <-time.After(patience):
		text, _ := os.ReadFile(log.Name())
		c.t.Fatalf("node %d is not ready:\n%s", n.n, text)
	}
}

// command runs one of the operator's commands beside the first node.
func (c *cluster) command(stdin string, args ...string) string {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, binary, args...)
	cmd.Env, cmd.Dir, cmd.Stdin = c.nodes[0].env, c.nodes[0].dir, strings.NewReader(stdin)
	var errs bytes.Buffer
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if err != nil {
		c.t.Fatalf("xteam %v: %v\n%s", args, err, &errs)
	}
	return string(out)
}

// answer is what came back; status 0 is nothing.
type answer struct {
	status        int
	text          string
	AccessToken   string `json:"access_token"`
	RefreshToken  string `json:"refresh_token"`
	Code, Reason  string
	took          time.Duration
	unreachable   error
	SessionsEnded int `json:"sessions_ended"`
}

// call sends one request to a node.
func (c *cluster) call(n int, method, path, bearer string, body any) (a answer) {
	var in io.Reader = http.NoBody
	if body != nil {
		text, err := json.Marshal(body)
		if err != nil {
			return answer{unreachable: err}
		}
		in = bytes.NewReader(text)
	}
	req, err := http.NewRequest(method, c.nodes[n].base+path, in)
	if err != nil {
		return answer{unreachable: err}
	}
	req.Header.Set("Content-Type", "application/json")
	if bearer != "" {
		req.Header.Set("Authorization", "Bearer "+bearer)
	}
	begun := time.Now()
	defer func() { a.took = time.Since(begun) }()
	res, err := c.client.Do(req)
	if err != nil {
		return answer{unreachable: err}
	}
	defer func() { _ = res.Body.Close() }()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		return answer{unreachable: errors.Join(err)}
	}
	a = answer{status: res.StatusCode, text: string(text)}
	_ = json.Unmarshal(text, &a) // not every body is of this form
	return a
}

// signIn answers the tokens of a new session, or what kept it from being.
func (c *cluster) signIn(n, user int) answer {
	return c.call(n, http.MethodPost, "/api/v1/auth/login", "", map[string]any{"username": fmt.Sprintf("user%d", user), "password": password})
}

const me = "/api/v1/users/me"
