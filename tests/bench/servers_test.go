package bench_test

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/xteam/xteam/ports/porttest"
)

// patience is how long a server may take that is sure to come. It is no measurement.
const patience = time.Minute

// needs skips a benchmark on a machine without a program that it runs, and has the table say so.
func needs(b *testing.B, program string) string {
	b.Helper()
	path, err := exec.LookPath(program)
	if err == nil {
		return path
	}
	if found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/" + program); len(found) > 0 {
		return found[len(found)-1]
	}
	why := program + " is not installed"
	report.skip(b.Name() + ": " + why)
	b.Skip(why)
	return ""
}

// until waits for a condition.
func until(b *testing.B, what string, holds func() bool) {
	b.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	tooLong := time.After(patience)
	for !holds() {
		select {
		case <-tick.C:
		case <-tooLong:
			b.Fatalf("it did not happen that %s", what)
		}
	}
}

// background runs a server of others until the benchmark ends.
func background(b *testing.B, cmd *exec.Cmd, as *syscall.Credential) {
	b.Helper()
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL, Credential: as}
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		_ = cmd.Wait()
	})
}

// startRedis starts a Redis that writes each command to its disk before it answers, unless fsync says otherwise, and answers its URL.
func startRedis(b *testing.B, fsync string) string {
	b.Helper()
	server, port := needs(b, "redis-server"), strconv.Itoa(porttest.Free(b))
	background(b, exec.Command(server, "--bind", "127.0.0.1", "--port", port, "--dir", b.TempDir(), "--save", "", "--appendonly", "yes", "--appendfsync", fsync, "--loglevel", "warning"), nil)
	until(b, "Redis answers", func() bool {
		conn, err := net.Dial("tcp", "127.0.0.1:"+port)
		if err == nil {
			_ = conn.Close()
		}
		return err == nil
	})
	return "redis://127.0.0.1:" + port
}

// startPostgres starts a PostgreSQL with one empty database, and answers its URL.
func startPostgres(b *testing.B) string {
	b.Helper()
	initdb, server, psql := needs(b, "initdb"), needs(b, "postgres"), needs(b, "psql")
	dir, err := os.MkdirTemp("", "xteam-bench-pg")
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = os.RemoveAll(dir) })
	var as *syscall.Credential
	if os.Getuid() == 0 { // which PostgreSQL refuses
		u, err := user.Lookup("postgres")
		if err != nil {
			b.Fatal(err)
		}
		uid, _ := strconv.ParseUint(u.Uid, 10, 32)
		gid, _ := strconv.ParseUint(u.Gid, 10, 32)
		as = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
		if err := os.Chown(dir, int(uid), int(gid)); err != nil {
			b.Fatal(err)
		}
	}
	ctx, cancel := context.WithTimeout(b.Context(), patience)
	defer cancel()
	data, port := filepath.Join(dir, "data"), strconv.Itoa(porttest.Free(b))
	cmd := exec.CommandContext(ctx, initdb, "-D", data, "-U", "xteam", "-A", "trust", "-E", "UTF8", "--locale=C.UTF-8")
	cmd.Dir, cmd.SysProcAttr = dir, &syscall.SysProcAttr{Credential: as}
	if out, err := cmd.CombinedOutput(); err != nil {
		b.Fatalf("initdb: %v\n%s", err, out)
	}
	cmd = exec.Command(server, "-D", data, "-p", port, "-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories=", "-c", "max_connections=200")
	cmd.Dir = dir
	background(b, cmd, as)
	url := "postgres://xteam@127.0.0.1:" + port + "/postgres?sslmode=disable"
	until(b, "PostgreSQL answers", func() bool { return exec.CommandContext(ctx, psql, "-qtAc", "select 1", url).Run() == nil })
	return url
}

// nodes is a system on one Redis and one PostgreSQL. Each node has buckets of its own, so that requests ask Redis nothing.
type nodes struct {
	env []string
	all []*server
}

func newNodes(redis, postgres string) *nodes {
	return &nodes{env: []string{"DATABASE_URL=" + postgres, "REDIS_URL=" + redis, "RATE_LIMIT_URL=memory:", "BCRYPT_COST=10"}}
}

// command is the program as a node of the system.
func (n *nodes) command(b *testing.B, args ...string) (cmd *exec.Cmd, folder string) {
	b.Helper()
	folder = b.TempDir()
	cmd = program(b, folder, args...)
	cmd.Env = append(cmd.Env, n.env...)
	return cmd, folder
}

// join starts one more node.
func (n *nodes) join(b *testing.B) *server {
	b.Helper()
	cmd, _ := n.command(b, "serve")
	s := launch(b, cmd)
	n.all = append(n.all, s)
	return s
}

// stop ends all nodes.
func (n *nodes) stop(b *testing.B) {
	b.Helper()
	for _, s := range n.all {
		s.stop(b)
	}
	n.all = nil
}

// enrol makes the user of the benchmarks.
func (n *nodes) enrol(b *testing.B) {
	b.Helper()
	cmd, _ := n.command(b, "users", "create", "--email", email, "--username", "bench", "--password-stdin")
	cmd.Stdin = strings.NewReader(password + "\n")
	if out, err := cmd.CombinedOutput(); err != nil {
		b.Fatalf("users create: %v\n%s", err, out)
	}
}

// client keeps as many connections to each node as a benchmark has callers.
var client = &http.Client{Timeout: patience, Transport: &http.Transport{MaxIdleConnsPerHost: 128}}

// status is how a node answers a request.
func (s *server) status(method, path, token string) (int, error) {
	req, err := http.NewRequest(method, s.base+path, http.NoBody)
	if err != nil {
		return 0, err
	}
	req.Header.Set("Authorization", "Bearer "+token)
	resp, err := client.Do(req)
	if err != nil {
		return 0, err
	}
	return resp.StatusCode, resp.Body.Close()
}

// processors measures how many of the machine's cores are busy, from now until it is called.
func processors(b *testing.B) func() float64 {
	b.Helper()
	busy := func() float64 {
		text, err := os.ReadFile("/proc/stat")
		if err != nil {
			b.Fatal(err) // it takes Linux
		}
		line, _, _ := strings.Cut(string(text), "\n")
		var ticks float64
		for i, f := range strings.Fields(line)[1:9] {
			n, err := strconv.ParseFloat(f, 64)
			if err != nil {
				b.Fatal(fmt.Errorf("/proc/stat: %w", err))
			}
			if i != 3 && i != 4 { // idle, and waiting for a disk
				ticks += n
			}
		}
		return ticks / 100
	}
	began, before := time.Now(), busy()
	return func() float64 { return (busy() - before) / time.Since(began).Seconds() }
}

// timesOf measures the processor time that this process and each program that it has started take from now on, by their names.
func timesOf(b *testing.B) (spent func() map[string]time.Duration) {
	b.Helper()
	was := times(b)
	return func() map[string]time.Duration {
		is := times(b)
		for name := range is {
			is[name] -= was[name]
		}
		return is
	}
}

// times reads /proc: the time of each living process that is this one, a child of its, or a child of a child, as a server of PostgreSQL's is for each connection.
func times(b *testing.B) map[string]time.Duration {
	b.Helper()
	type process struct {
		name   string
		parent int
		ticks  int64
	}
	all := map[int]process{}
	stats, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, file := range stats {
		text, err := os.ReadFile(file)
		if err != nil {
			continue // it has ended
		}
		begin, end := strings.IndexByte(string(text), '('), strings.LastIndexByte(string(text), ')')
		fields := strings.Fields(string(text[end+1:]))
		pid, _ := strconv.Atoi(strings.TrimSpace(string(text[:begin])))
		parent, _ := strconv.Atoi(fields[1])
		user, _ := strconv.ParseInt(fields[11], 10, 64)
		system, _ := strconv.ParseInt(fields[12], 10, 64)
		all[pid] = process{string(text[begin+1 : end]), parent, user + system}
	}
	out := map[string]time.Duration{}
	for pid, p := range all {
		name := p.name
		switch me := os.Getpid(); me {
		case pid:
			name = "the callers"
		case p.parent:
		case all[p.parent].parent:
		default:
			continue
		}
		out[name] += time.Duration(p.ticks) * 10 * time.Millisecond
	}
	return out
}
