package pgstore_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/xteam/xteam/adapters/pgstore"
	"github.com/xteam/xteam/ports/porttest"
)

// serverSetting names the environment variable by which a child process of a suite finds the server of its parent.
const serverSetting = "XTEAM_PGSTORE_TEST_SERVER"

// template is the database that all others are copies of.
const template = "template_of_tests"

// binaries is the folder of PostgreSQL's programs, or empty.
func binaries() string {
	if out, err := exec.Command("pg_config", "--bindir").Output(); err == nil {
		if dir := strings.TrimSpace(string(out)); is(filepath.Join(dir, "initdb")) {
			return dir
		}
	}
	all, _ := filepath.Glob("/usr/lib/postgresql/*/bin/initdb")
	if len(all) == 0 {
		return ""
	}
	return filepath.Dir(all[len(all)-1])
}

func is(path string) bool { _, err := os.Stat(path); return err == nil }

// server is a PostgreSQL server of the tests' own, on a free port of the loopback.
type server struct {
	dir, bin string
	port     int
	args     []string
	cmd      *exec.Cmd
	said     *bytes.Buffer
	done     chan struct{}
}

// as makes a command run as the user postgres where the test is root, whom PostgreSQL refuses, and die with this process.
func as(cmd *exec.Cmd) *exec.Cmd {
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
	if uid, gid, ok := postgres(); ok {
		cmd.SysProcAttr.Credential = &syscall.Credential{Uid: uid, Gid: gid}
	}
	return cmd
}

func postgres() (uid, gid uint32, ok bool) {
	if os.Getuid() != 0 {
		return 0, 0, false
	}
	u, err := user.Lookup("postgres")
	if err != nil {
		return 0, 0, false
	}
	a, _ := strconv.Atoi(u.Uid)
	b, _ := strconv.Atoi(u.Gid)
	return uint32(a), uint32(b), true
}

func own(path string) error {
	if uid, gid, ok := postgres(); ok {
		return os.Chown(path, int(uid), int(gid))
	}
	return nil
}

// password is that of the user xteam. It is percent-encoded in URLs.
const password = "pw/of$$tests"

// newServer makes a folder with a new cluster, and starts it.
func newServer(t testing.TB, args ...string) (*server, error) {
	t.Helper()
	bin := binaries()
	if bin == "" {
		return nil, errMissing
	}
	root, err := os.MkdirTemp("", "xteam-pg-")
	if err != nil {
		return nil, err
	}
	s := &server{dir: root, bin: bin, args: args, port: porttest.Free(t)}
	pw := filepath.Join(root, "pw")
	if err := errors.Join(os.Chmod(root, 0o755), os.WriteFile(pw, []byte(password), 0o644), own(root)); err != nil {
		return nil, err
	}
	cmd := as(exec.Command(filepath.Join(bin, "initdb"), "-D", s.data(), "-U", "xteam", "-A", "scram-sha-256", "--pwfile="+pw, "--no-sync", "-E", "UTF8", "--locale=C.UTF-8"))
	cmd.Dir = root
	if out, err := cmd.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("initdb: %w\n%s", err, out)
	}
	return s, s.start()
}

var errMissing = errors.New("PostgreSQL is missing: `make deps` installs it")

func (s *server) data() string { return filepath.Join(s.dir, "data") }

// start starts the server, after a kill again and again until the shared memory of the one before is free, and waits until it answers.
func (s *server) start() error {
	deadline := time.Now().Add(time.Minute)
	for time.Now().Before(deadline) {
		s.said = &bytes.Buffer{}
		s.cmd = as(exec.Command(filepath.Join(s.bin, "postgres"), append([]string{"-D", s.data(), "-p", strconv.Itoa(s.port), "-c", "listen_addresses=127.0.0.1",
			"-c", "unix_socket_directories=", "-c", "max_connections=400", "-c", "shared_buffers=64MB"}, s.args...)...))
		s.cmd.Stdout, s.cmd.Stderr, s.cmd.Dir = s.said, s.said, s.dir
		if err := s.cmd.Start(); err != nil {
			return err
		}
		s.done = make(chan struct{})
		go func() { _ = s.cmd.Wait(); close(s.done) }()
		if s.ready(deadline) {
			return nil
		}
	}
	return fmt.Errorf("the server does not start: %s", s.said)
}

func (s *server) ready(deadline time.Time) bool {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for time.Now().Before(deadline) {
		select {
		case <-s.done:
			return false
		case <-tick.C:
		}
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		conn, err := pgx.Connect(ctx, s.url("postgres", "sslmode=prefer"))
		if err == nil {
			_ = conn.Close(ctx)
		}
		cancel()
		if err == nil {
			return true
		}
		if strings.Contains(err.Error(), "28P01") || strings.Contains(err.Error(), "28000") { // it answers
			return true
		}
	}
	return false
}

// signal sends a signal to the server and to all that it has started.
func (s *server) signal(what syscall.Signal) {
	all, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, path := range all {
		text, err := os.ReadFile(path)
		if err != nil {
			continue
		}
		_, rest, _ := strings.Cut(string(text), ") ")
		if f := strings.Fields(rest); len(f) > 1 && f[1] == strconv.Itoa(s.cmd.Process.Pid) {
			pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(path)))
			_ = syscall.Kill(pid, what)
		}
	}
	_ = s.cmd.Process.Signal(what)
}

// kill ends the server as a crash would.
func (s *server) kill() {
	_ = syscall.Kill(-s.cmd.Process.Pid, syscall.SIGKILL)
	<-s.done
}

// stop ends the server and removes its folder.
func (s *server) stop() {
	if s.cmd != nil {
		_ = s.cmd.Process.Signal(syscall.SIGQUIT)
		<-s.done
	}
	_ = os.RemoveAll(s.dir)
}

func (s *server) url(database, query string) string {
	u := url.URL{Scheme: "postgres", User: url.UserPassword("xteam", password), Host: "127.0.0.1:" + strconv.Itoa(s.port), Path: "/" + database, RawQuery: query}
	return u.String()
}

func TestMain(m *testing.M) { os.Exit(run(m)) }

// shared is the server of the package's tests: its URL, or why there is none.
var shared struct {
	once sync.Once
	url  string // of the database postgres
	err  error
	own  *server
	plan sync.Mutex // one CREATE DATABASE at a time
}

func run(m *testing.M) int {
	code := m.Run()
	if shared.own != nil {
		shared.own.stop()
	}
	return code
}

// base is the shared server's URL; it is started by the first test that asks.
func base(t testing.TB) string {
	t.Helper()
	shared.once.Do(func() {
		if shared.url = os.Getenv(serverSetting); shared.url != "" {
			return
		}
		if shared.own, shared.err = newServer(t); shared.err != nil {
			return
		}
		shared.url = shared.own.url("postgres", "sslmode=disable")
		shared.err = os.Setenv(serverSetting, shared.url)
		if shared.err != nil {
			return
		}
		if shared.err = admin(shared.url, `create database `+template); shared.err != nil {
			return
		}
		db, err := pgstore.Open(context.Background(), on(shared.url, template), pgstore.Options{})
		if err != nil {
			shared.err = err
			return
		}
		shared.err = db.Close()
	})
	demand(t, shared.err)
	return shared.url
}

// demand skips a test without PostgreSQL by its name, and fails it where everything must be there.
func demand(t testing.TB, err error) {
	t.Helper()
	switch {
	case errors.Is(err, errMissing) && os.Getenv("XTEAM_TEST_REAL") != "1":
		t.Skip(err)
	case err != nil:
		t.Fatal(err)
	}
}

// admin runs one statement on a server.
func admin(url, statement string) error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	_, err = conn.Exec(ctx, statement)
	return err
}

// on is a URL with another database.
func on(text, database string) string {
	u, err := url.Parse(text)
	if err != nil {
		panic(err)
	}
	u.Path = "/" + database
	return u.String()
}

// database is the URL of the database of a folder. It is made when it is missing, and dropped when the test is over; a child process drops nothing.
func database(t testing.TB, dir string) string {
	t.Helper()
	server := base(t)
	sum := sha256.Sum256([]byte(dir))
	name := "t" + hex.EncodeToString(sum[:8])
	shared.plan.Lock()
	err := admin(server, `create database `+name+` template `+template)
	shared.plan.Unlock()
	switch {
	case err == nil:
		t.Cleanup(func() {
			if err := admin(server, `drop database if exists `+name+` with (force)`); err != nil {
				t.Errorf("drop the database of a test: %v", err)
			}
		})
	case !strings.Contains(err.Error(), "42P04"): // it is there
		t.Fatal(err)
	}
	return on(server, name)
}

// patient are options for tests on a machine that does something else.
var patient = pgstore.Options{Wait: 30 * time.Second, StatementTimeout: 30 * time.Second, LockTimeout: 30 * time.Second, ConnectTimeout: 30 * time.Second, MaxConns: 8}
