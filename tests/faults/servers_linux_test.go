package faults_test

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/xteam/xteam/ports/porttest"
)

// patience is how long anything may take that is sure to come. It is no measurement: a slow machine only waits.
const patience = 60 * time.Second

// process is a server of the test's own, which may be killed and started again.
type process struct {
	from  int // where in the log what it writes now begins
	t     testing.TB
	name  string
	args  []string
	env   []string
	dir   string
	as    *syscall.Credential
	ready func() bool
	cmd   *exec.Cmd
	log   *os.File
}

// start runs the server until it answers.
func (p *process) start() {
	p.t.Helper()
	p.launch()
	until(p.t, p.name+" answers", func() bool {
		if p.ready() {
			return true
		}
		if p.refused() { // what PostgreSQL has started before ends by itself, a moment after it was killed
			p.kill()
			p.launch()
		}
		return false
	})
}

// refused reports whether the server has ended because another's processes were still there.
func (p *process) refused() bool {
	text, err := os.ReadFile(p.log.Name())
	return err == nil && bytes.Contains(text[min(p.from, len(text)):], []byte("pre-existing shared memory block"))
}

// launch is start without the waiting.
func (p *process) launch() {
	p.t.Helper()
	if p.log == nil {
		var err error
		if p.log, err = os.OpenFile(filepath.Join(p.t.TempDir(), "log"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600); err != nil {
			p.t.Fatal(err)
		}
		p.t.Cleanup(func() {
			p.kill()
			if p.t.Failed() {
				text, _ := os.ReadFile(p.log.Name())
				p.t.Logf("%s wrote, at last:\n%s", p.name, text[max(0, len(text)-3000):])
			}
			_ = p.log.Close()
		})
	}
	if info, err := p.log.Stat(); err == nil {
		p.from = int(info.Size())
	}
	p.cmd = exec.Command(p.args[0], p.args[1:]...)
	p.cmd.Env, p.cmd.Dir, p.cmd.Stdout, p.cmd.Stderr = append(os.Environ(), p.env...), p.dir, p.log, p.log
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL, Credential: p.as}
	if err := p.cmd.Start(); err != nil {
		p.t.Fatalf("start %s: %v", p.name, err)
	}
}

// kill ends the server and what it started, as a power cut would.
func (p *process) kill() {
	if p.cmd == nil {
		return
	}
	_ = syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL)
	_ = p.cmd.Wait()
	p.cmd = nil
}

// signal is for the server and what it started.
func (p *process) signal(sig syscall.Signal) {
	p.t.Helper()
	if err := syscall.Kill(-p.cmd.Process.Pid, sig); err != nil {
		p.t.Fatalf("signal %s: %v", p.name, err)
	}
}

// needs skips a test on a machine without a program that it runs, and fails it where the real components are promised.
func needs(t testing.TB, program string) string {
	t.Helper()
	path, err := exec.LookPath(program)
	if err != nil {
		found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/" + program)
		if len(found) > 0 {
			return found[len(found)-1]
		}
		if os.Getenv("XTEAM_TEST_REAL") == "1" {
			t.Fatalf("%s is not installed: make deps", program)
		}
		t.Skipf("%s is not installed", program)
	}
	return path
}

// until waits for a condition.
func until(t testing.TB, what string, holds func() bool) {
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

// redisServer is a Redis that writes each command to its disk before it answers.
type redisServer struct {
	*process
	port     int
	user     string
	password string
}

func startRedis(t testing.TB, more ...string) *redisServer {
	t.Helper()
	server := needs(t, "redis-server")
	r := &redisServer{port: porttest.Free(t)}
	if i := slices.Index(more, "--requirepass"); i >= 0 {
		r.password = more[i+1]
	}
	dir := t.TempDir()
	r.process = &process{t: t, name: "Redis", dir: dir,
		args:  append([]string{server, "--bind", "127.0.0.1", "--port", strconv.Itoa(r.port), "--dir", dir, "--save", "", "--appendonly", "yes", "--appendfsync", "always"}, more...),
		ready: func() bool { got := r.say("PING"); return got == "+PONG" || strings.HasPrefix(got, "-NOAUTH") }}
	r.start()
	return r
}

func (r *redisServer) url() string {
	if r.password != "" {
		return fmt.Sprintf("redis://:%s@127.0.0.1:%d", r.password, r.port)
	}
	return fmt.Sprintf("redis://127.0.0.1:%d", r.port)
}

// info is one line of what Redis tells of itself.
func (r *redisServer) info(section, name string) string {
	for line := range strings.Lines(r.ask("INFO", section)) {
		if v, ok := strings.CutPrefix(strings.TrimSpace(line), name+":"); ok {
			return v
		}
	}
	return ""
}

// say sends one command and answers the first line of what comes back, or nothing.
func (r *redisServer) say(words ...string) string {
	line, _, _ := strings.Cut(r.ask(words...), "\r\n")
	return line
}

// ask sends one command and answers what comes back, as far as it is short.
func (r *redisServer) ask(words ...string) string {
	conn, err := net.DialTimeout("tcp", fmt.Sprintf("127.0.0.1:%d", r.port), 10*time.Second)
	if err != nil {
		return ""
	}
	defer func() { _ = conn.Close() }()
	_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
	var b bytes.Buffer
	say := func(words []string) {
		fmt.Fprintf(&b, "*%d\r\n", len(words))
		for _, w := range words {
			fmt.Fprintf(&b, "$%d\r\n%s\r\n", len(w), w)
		}
	}
	answers := bufio.NewReader(conn)
	if r.password != "" {
		say(append(append([]string{"AUTH"}, strings.Fields(r.user)...), r.password))
	}
	say(words)
	if _, err := conn.Write(b.Bytes()); err != nil {
		return ""
	}
	if r.password != "" {
		if _, err := answers.ReadString('\n'); err != nil {
			return ""
		}
	}
	answer := make([]byte, 64<<10)
	n, _ := answers.Read(answer)
	return string(answer[:n])
}

// keepCopy copies what Redis has on its disk, and restored has it begin with a copy.
func (r *redisServer) keepCopy() string {
	r.t.Helper()
	to := filepath.Join(r.t.TempDir(), "copy")
	copyFolder(r.t, filepath.Join(r.dir, "appendonlydir"), to)
	return to
}

func (r *redisServer) restored(from string) {
	r.t.Helper()
	r.kill()
	if err := os.RemoveAll(filepath.Join(r.dir, "appendonlydir")); err != nil {
		r.t.Fatal(err)
	}
	copyFolder(r.t, from, filepath.Join(r.dir, "appendonlydir"))
	r.start()
}

// copyFolder copies a folder with its owners.
func copyFolder(t testing.TB, from, to string) {
	t.Helper()
	if out, err := exec.Command("cp", "-a", from, to).CombinedOutput(); err != nil {
		t.Fatalf("cp: %v: %s", err, out)
	}
}

// postgresServer is a PostgreSQL with one database.
type postgresServer struct {
	*process
	port int
}

const postgresPassword = "a-password-of-tests"

func startPostgres(t testing.TB) *postgresServer {
	t.Helper()
	initdb, server := needs(t, "initdb"), needs(t, "postgres")
	dir, err := os.MkdirTemp("", "xteam-faults-pg")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	p := &postgresServer{port: porttest.Free(t)}
	var as *syscall.Credential
	if os.Getuid() == 0 { // which PostgreSQL refuses
		u, err := user.Lookup("postgres")
		if err != nil {
			t.Fatal(err)
		}
		uid, _ := strconv.ParseUint(u.Uid, 10, 32)
		gid, _ := strconv.ParseUint(u.Gid, 10, 32)
		as = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
		if err := os.Chown(dir, int(uid), int(gid)); err != nil {
			t.Fatal(err)
		}
	}
	secret := filepath.Join(dir, "pw")
	if err := os.WriteFile(secret, []byte(postgresPassword+"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	data := filepath.Join(dir, "data")
	cmd := exec.CommandContext(ctx, initdb, "-D", data, "-U", "xteam", "-A", "scram-sha-256", "--pwfile="+secret, "--no-sync", "-E", "UTF8", "--locale=C.UTF-8")
	cmd.Dir, cmd.SysProcAttr = dir, &syscall.SysProcAttr{Credential: as}
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("initdb: %v\n%s", err, out)
	}
	p.process = &process{t: t, name: "PostgreSQL", dir: dir, as: as,
		args: []string{server, "-D", data, "-p", strconv.Itoa(p.port), "-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories=", "-c", "max_connections=200"},
		ready: func() bool {
			cmd := exec.Command(needs(t, "psql"), "-qtA", "-c", "select 1", p.url())
			out, err := cmd.Output()
			return err == nil && strings.TrimSpace(string(out)) == "1"
		}}
	p.start()
	return p
}

func (p *postgresServer) url() string {
	return fmt.Sprintf("postgres://xteam:%s@127.0.0.1:%d/postgres?sslmode=disable", postgresPassword, p.port)
}

// sql runs statements as the owner of everything, and answers what they print.
func (p *postgresServer) sql(text string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	out, err := exec.CommandContext(ctx, needs(p.t, "psql"), "-qtA", "-v", "ON_ERROR_STOP=1", "-c", text, p.url()).CombinedOutput()
	return strings.TrimSpace(string(out)), err
}

// must is sql that must go well.
func (p *postgresServer) must(text string) string {
	p.t.Helper()
	out, err := p.sql(text)
	if err != nil {
		p.t.Errorf("psql: %v: %s", err, out)
	}
	return out
}

// signal is for the server and each of its processes, which are groups of their own.
func (p *postgresServer) signal(sig syscall.Signal) {
	p.t.Helper()
	parent := strconv.Itoa(p.cmd.Process.Pid)
	p.process.signal(sig)
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		p.t.Fatal(err)
	}
	for _, file := range stats {
		text, err := os.ReadFile(file)
		if err != nil {
			continue // it ended meanwhile
		}
		fields := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:]))
		if len(fields) > 1 && fields[1] == parent {
			pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(file)))
			_ = syscall.Kill(pid, sig) // one that ended meanwhile is as good
		}
	}
}

// folder is where the server keeps what it has.
func (p *postgresServer) folder() string { return p.args[2] }

// keepCopy stops the server, as a power cut would, copies what it has, and starts it again.
func (p *postgresServer) keepCopy() string {
	p.t.Helper()
	p.kill()
	copyFolder(p.t, p.folder(), p.folder()+".copy")
	p.restart()
	return p.folder() + ".copy"
}

// restored has the server begin with a copy. At the moment when no server runs it tells.
func (p *postgresServer) restored(from string, tell func()) {
	p.t.Helper()
	p.kill()
	if err := os.RemoveAll(p.folder()); err != nil {
		p.t.Fatal(err)
	}
	copyFolder(p.t, from, p.folder())
	wait(200 * time.Millisecond) // in which answers that are on their way arrive
	tell()
	p.restart()
}

// restart starts a PostgreSQL that was killed. What it had started may hold on to its folder for a moment.
func (p *postgresServer) restart() {
	_ = os.Remove(p.folder() + "/postmaster.pid")
	p.start()
}
