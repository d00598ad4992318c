package redisstore_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"go.uber.org/goleak"

	"github.com/xteam/xteam/adapters/redisstore"
	"github.com/xteam/xteam/domain/secret"
	"github.com/xteam/xteam/ports/porttest"
)

// What is closed leaves nothing running; what was started is ended.
func TestMain(m *testing.M) {
	status := m.Run()
	shared.stop()
	err := goleak.Find()
	for range 30 { // go-redis looks for a server that is gone for a second after Close
		if err != nil {
			err = goleak.Find()
		}
	}
	if status == 0 && err != nil {
		_, _ = os.Stderr.WriteString(err.Error() + "\n")
		status = 1
	}
	os.Exit(status)
}

// shared are the servers that several tests use.
var shared pool

type pool struct {
	mu     sync.Mutex
	stops  []func()
	single *server
}

func (p *pool) stop() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, stop := range p.stops {
		stop()
	}
}

// server is one redis-server of the tests' own.
type server struct {
	port    int
	dir     string
	args    []string
	process *exec.Cmd
	admin   *redis.Client
}

func (s *server) address() string { return fmt.Sprintf("127.0.0.1:%d", s.port) }

// binary is the server, without which a test is skipped, or fails where the real components must be there.
func binary(t testing.TB) string {
	t.Helper()
	path, err := exec.LookPath("redis-server")
	if err != nil && os.Getenv("XTEAM_TEST_REAL") == "1" {
		t.Fatal("redis-server is not installed: make deps")
	} else if err != nil {
		t.Skip("needs redis-server")
	}
	return path
}

// launch starts a server; it is not ended by the test's end.
func launch(t testing.TB, port int, args ...string) *server {
	t.Helper()
	binary(t)
	dir, err := os.MkdirTemp("", "xteam-redis-")
	if err != nil {
		t.Fatal(err)
	}
	s := &server{port: port, dir: dir, args: args}
	s.admin = redis.NewClient(&redis.Options{Addr: s.address(), Protocol: 2, DisableIdentity: true, MaxRetries: -1, ContextTimeoutEnabled: true})
	s.run(t)
	return s
}

// run starts the process, also again after kill.
func (s *server) run(t testing.TB) {
	t.Helper()
	args := append([]string{"--bind", "127.0.0.1", "--port", strconv.Itoa(s.port), "--dir", s.dir, "--save", "", "--repl-diskless-sync-delay", "0"}, s.args...)
	if len(s.args) > 0 && strings.HasSuffix(s.args[0], ".conf") {
		args = s.args // a Sentinel
	}
	s.process = exec.Command(binary(t), args...)
	log, err := os.OpenFile(filepath.Join(s.dir, "log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	s.process.Stdout, s.process.Stderr = log, log
	s.process.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	starting(func() { err = s.process.Start() })
	if err != nil {
		t.Fatal(err)
	}
}

// starting runs do in a goroutine whose thread lives as long as the tests: a process dies with the thread that started it.
func starting(do func()) {
	starter.once.Do(func() {
		starter.work = make(chan func())
		go starter.loop()
		shared.mu.Lock()
		defer shared.mu.Unlock()
		shared.stops = append(shared.stops, func() { close(starter.work) })
	})
	done := make(chan struct{})
	starter.work <- func() { defer close(done); do() }
	<-done
}

func (s *server) kill() {
	_ = s.process.Process.Kill()
	_ = s.process.Wait()
}

func (s *server) end() {
	s.kill()
	_ = s.admin.Close()
	_ = os.RemoveAll(s.dir)
}

func (s *server) signal(t testing.TB, sig syscall.Signal) {
	t.Helper()
	ok(t, s.process.Process.Signal(sig))
}

// ready waits until the server answers to a command that the user may run.
func (s *server) ready(t testing.TB) *server {
	t.Helper()
	eventually(t, "the server is ready", func() bool {
		err := s.admin.Ping(t.Context()).Err()
		return err == nil || strings.HasPrefix(err.Error(), "NOAUTH")
	})
	return s
}

// start starts a server for one test.
func start(t testing.TB, args ...string) *server {
	t.Helper()
	s := launch(t, porttest.Free(t), args...)
	t.Cleanup(s.end)
	return s.ready(t)
}

// single is a server that several tests share, each under a namespace of its own.
func single(t testing.TB) *server {
	t.Helper()
	shared.mu.Lock()
	s := shared.single
	shared.mu.Unlock()
	if s != nil {
		return s
	}
	s = launch(t, porttest.Free(t)).ready(t)
	shared.mu.Lock()
	defer shared.mu.Unlock()
	shared.single = s
	shared.stops = append(shared.stops, s.end)
	return s
}

var serial atomic.Int64

// own is a namespace that no other test has.
func own() string { return fmt.Sprintf("xteam:t%d", serial.Add(1)) }

// at are options for a server, under a namespace of the test's own. Nobody's budget is 20 ms on a machine that runs everything at once.
func at(s *server) redisstore.Options {
	return redisstore.Options{Addresses: []string{s.address()}, Namespace: own(), BucketTimeout: 10 * time.Second}
}

func open(t testing.TB, o redisstore.Options) *redisstore.Store {
	t.Helper()
	s, err := redisstore.Open(context.Background(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func ok(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// eventually waits for a condition, for as long as a slow machine may take.
func eventually(t testing.TB, what string, condition func() bool) {
	t.Helper()
	ticker := time.NewTicker(5 * time.Millisecond)
	defer ticker.Stop()
	deadline := time.NewTimer(30 * time.Second)
	defer deadline.Stop()
	for !condition() {
		select {
		case <-ticker.C:
		case <-deadline.C:
			t.Fatalf("waited 30 s in vain: %s", what)
		}
	}
}

func hidden(text string) secret.Text { return secret.New(text) }

// cli runs redis-cli and demands that it succeeds.
func cli(t testing.TB, args ...string) string {
	t.Helper()
	out, err := exec.Command("redis-cli", args...).CombinedOutput()
	if err != nil || bytes.Contains(out, []byte("[ERR]")) {
		t.Fatalf("redis-cli %v: %v\n%s", args, err, out)
	}
	return string(out)
}
