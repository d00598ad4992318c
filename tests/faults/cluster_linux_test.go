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
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/xteam/xteam/ports/porttest"
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

// cluster is some nodes on one database and one Redis, or what a shape puts in its place.
type cluster struct {
	t        testing.TB
	redis    *redisServer
	others   []*redisServer // further ones, of a shape
	links    []*link        // from each node to Redis, of a shape
	clocks   []string       // a file for each node that says by how many seconds its clock is off, of a shape
	postgres *postgresServer
	nodes    []*node
	client   *http.Client
}

// plan is what a cluster is made of.
type plan struct {
	nodes, users int
	redis        []string                         // arguments of Redis
	shape        func(c *cluster)                 // what else is there, started before the nodes
	env          []string                         // of every node
	each         func(c *cluster, n int) []string // of one node
	program      func(t testing.TB) string        // nil: the program as it is
}

// node is one `xteam serve`.
type node struct {
	*process
	n       int
	program string
	base    string
	out     *lines
	env     []string
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
func newCluster(t testing.TB, p plan) *cluster {
	t.Helper()
	c := &cluster{t: t, redis: startRedis(t, p.redis...), postgres: startPostgres(t)}
	c.client = &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{MaxIdleConnsPerHost: 64}}
	t.Cleanup(c.client.CloseIdleConnections)
	if p.shape != nil {
		p.shape(c)
	}
	for i := range p.nodes {
		env := p.env
		if p.each != nil {
			env = slices.Concat(env, p.each(c, i))
		}
		n := c.node(i, env...)
		if p.program != nil {
			n.program = p.program(t)
		}
		c.serve(n)
		c.nodes = append(c.nodes, n)
	}
	c.command(password, "users", "create", "--email", "admin@example.com", "--username", "admin", "--role", "admin", "--password-stdin")
	for i := range p.users {
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
	n := c.node(i, more...)
	c.serve(n)
	return n
}

// node is one that was not started yet. What is given last of its environment counts.
func (c *cluster) node(i int, more ...string) *node {
	n := &node{n: i, program: binary}
	n.env = append([]string{"PATH=" + os.Getenv("PATH"), "DATA_DIR=" + filepath.Join(c.t.TempDir(), "data"), fmt.Sprintf("HTTP_ADDR=127.0.0.1:%d", porttest.Free(c.t)), "BCRYPT_COST=10", "RATE_LIMIT_ENABLED=false",
		"DATABASE_URL=" + c.postgres.url(), "REDIS_URL=" + c.redis.url(), "SECRET_KEY=k3yOfTests-7Zt0Lw4Vb9Xn2Rk8Hs5Jd1Fg6Pc", "ROOT_KEY=r00tOfTests-q2Wn8Xb5Vt1Lc7Zk4Mj9Hd3Gs"}, more...)
	n.process = &process{t: c.t, name: fmt.Sprintf("node %d", i), dir: c.t.TempDir()}
	return n
}

// serve starts a node, and waits until it takes requests. One that was started before keeps its address, so that clients need not hear of it.
func (c *cluster) serve(n *node) {
	c.t.Helper()
	log, err := os.OpenFile(filepath.Join(c.t.TempDir(), "log"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		c.t.Fatal(err)
	}
	n.log = log
	n.out = &lines{ready: make(chan string, 1)}
	n.cmd = exec.Command(n.program, "serve")
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
		if n.base == "" {
			n.base = url
		}
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
