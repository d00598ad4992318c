package bench_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

const (
	bareBody   = "XTEAM_BENCH_BARE" // set: this process is the bare server, and answers with its value
	bareHead   = "XTEAM_BENCH_HEAD" // headers that the bare server sends too, as lines
	rootKey    = "a-root-key-of-at-least-32-bytes-for-the-bench"
	email      = "bench@example.com"
	password   = "correct-Horse-battery-9-staple"
	mePath     = "/api/v1/users/me"
	verifyPath = "/api/v1/auth/verify"
)

// serveBare is the least Go that answers a GET: the limit of net/http on this machine; and with headers, what net/http takes for them.
func serveBare(body, head string) {
	mux := http.NewServeMux()
	more := http.Header{}
	for line := range strings.Lines(head) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), ": ")
		more.Set(name, value)
	}
	mux.HandleFunc("GET "+mePath, func(w http.ResponseWriter, _ *http.Request) {
		maps.Copy(w.Header(), more)
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, body)
	})
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "ok") })
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Printf("ready http://%s\n", l.Addr())
	fmt.Fprintln(os.Stderr, http.Serve(l, mux)) // without limits, by intent
	os.Exit(1)
}

// built builds the product's program once for the run, as `make build` does.
var built = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "xteam-bench-")
	if err != nil {
		return "", err
	}
	report.atEnd(func() { _ = os.RemoveAll(dir) })
	path := filepath.Join(dir, "xteam")
	build := exec.Command("go", "build", "-trimpath", "-buildvcs=false", "-ldflags", "-s -w", "-pgo=../../cmd/xteam/guard.pgo", "-o", path, "github.com/xteam/xteam/cmd/xteam")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build the program: %w\n%s", err, out)
	}
	return path, nil
})

// server is a child process that takes requests.
type server struct {
	cmd  *exec.Cmd
	base string // http://host:port
	ends chan struct{}
}

// program is the product's program with these arguments, on the data of a folder.
func program(b *testing.B, folder string, args ...string) *exec.Cmd {
	b.Helper()
	path, err := built()
	if err != nil {
		b.Fatal(err)
	}
	cmd := exec.Command(path, args...)
	cmd.Dir = filepath.Dir(path) // where no .env lies
	const plenty = "1000000000"
	cmd.Env = []string{"HOME=" + folder, "DATA_DIR=" + folder, "HTTP_ADDR=127.0.0.1:0", "ROOT_KEY=" + rootKey, "SECRET_KEY=" + signing.RevealPlaintext(), "LOG_FILE=" + filepath.Join(folder, "log"),
		"RATE_LIMIT_REQUESTS_PER_MINUTE=" + plenty, "RATE_LIMIT_AUTH=" + plenty, "RATE_LIMIT_READ=" + plenty, "RATE_LIMIT_WRITE=" + plenty, "RATE_LIMIT_API_KEY=" + plenty} // limits stay on, and never refuse
	return cmd
}

// launch starts a server and answers once it says that it is ready.
func launch(b *testing.B, cmd *exec.Cmd) *server {
	b.Helper()
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	var said bytes.Buffer
	cmd.Stderr = &said
	out, err := cmd.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	base, ok := strings.CutPrefix(strings.TrimSpace(line), "ready ")
	if err != nil || !ok {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		b.Fatalf("%s: got %q, want a ready line: %s", cmd, line, said.String())
	}
	s := &server{cmd: cmd, base: base, ends: make(chan struct{})}
	go func() { defer close(s.ends); _, _ = io.Copy(io.Discard, out); _ = cmd.Wait() }()
	b.Cleanup(func() { s.stop(b) })
	return s
}

// stop ends the server as an operator would.
func (s *server) stop(b *testing.B) {
	b.Helper()
	_ = s.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-s.ends:
	case <-time.After(20 * time.Second):
		_ = s.cmd.Process.Kill()
		<-s.ends
		b.Error("the server did not end within 20 s of SIGTERM")
	}
}

// serve starts the product on a folder.
func serve(b *testing.B, folder string) *server { return launch(b, program(b, folder, "serve")) }

// bare starts the baseline.
func bare(b *testing.B, body, head string) *server {
	b.Helper()
	self, err := os.Executable()
	if err != nil {
		b.Fatal(err)
	}
	cmd := exec.Command(self)
	cmd.Env = []string{bareBody + "=" + body, bareHead + "=" + head}
	return launch(b, cmd)
}

// enrol makes the user of the benchmarks.
func enrol(b *testing.B, folder string) { enrolAs(b, folder, email, "bench") }

func enrolAs(b *testing.B, folder, email, name string) {
	b.Helper()
	cmd := program(b, folder, "users", "create", "--email", email, "--username", name, "--password-stdin")
	cmd.Stdin = strings.NewReader(password + "\n")
	if out, err := cmd.CombinedOutput(); err != nil {
		b.Fatalf("users create: %v\n%s", err, out)
	}
}

// signIn answers an access token, and how long it took.
func (s *server) signIn(b *testing.B) (string, time.Duration) { return s.signInAs(b, email) }

func (s *server) signInAs(b *testing.B, email string) (string, time.Duration) {
	b.Helper()
	began := time.Now()
	resp, err := http.Post(s.base+"/api/v1/auth/login", "application/json", strings.NewReader(`{"email":"`+email+`","password":"`+password+`"}`))
	if err != nil {
		b.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	took := time.Since(began)
	var in struct {
		Token string `json:"access_token"`
	}
	if err != nil || resp.StatusCode != http.StatusOK || json.Unmarshal(body, &in) != nil || in.Token == "" {
		b.Fatalf("sign in: got %d %s (%v)", resp.StatusCode, body, err)
	}
	return in.Token, took
}

// get answers the body of a GET that must be a 200, and the headers that the server gave it, as lines.
func (s *server) get(b *testing.B, path, token string) (body, head string) {
	b.Helper()
	req, err := http.NewRequest(http.MethodGet, s.base+path, http.NoBody)
	if err != nil {
		b.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+token)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		b.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		b.Fatalf("GET %s: got %d %s (%v)", path, resp.StatusCode, text, err)
	}
	var lines strings.Builder
	if err := resp.Header.WriteSubset(&lines, map[string]bool{"Date": true, "Content-Length": true}); err != nil {
		b.Fatal(err)
	}
	return string(text), lines.String()
}

// cpu is the processor time that the server has used, in user and in kernel mode, in steps of 10 ms.
func (s *server) cpu(b *testing.B) time.Duration {
	b.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", s.cmd.Process.Pid))
	if err != nil {
		b.Fatal(err) // it takes Linux
	}
	fields := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:]))
	var ticks int
	for _, f := range fields[11:13] {
		n, err := strconv.Atoi(f)
		if err != nil {
			b.Fatal(err)
		}
		ticks += n
	}
	return time.Duration(ticks) * 10 * time.Millisecond
}

// resident is the memory of the server in MiB that is in RAM.
func (s *server) resident(b *testing.B) float64 {
	b.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", s.cmd.Process.Pid))
	if err != nil {
		b.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if f := strings.Fields(line); len(f) == 3 && f[0] == "VmRSS:" {
			kib, err := strconv.ParseFloat(f[1], 64)
			if err != nil {
				b.Fatal(err)
			}
			return kib / 1024
		}
	}
	b.Fatal("no VmRSS in /proc")
	return 0
}

// load keeps connections busy with GETs for a while, with the tokens in turn, and answers how many were answered with 200. Any other answer fails the benchmark.
func (s *server) load(b *testing.B, path string, tokens []string, connections int, d time.Duration) (answered int) {
	b.Helper()
	host := strings.TrimPrefix(s.base, "http://")
	requests := make([][]byte, len(tokens))
	for i, token := range tokens {
		requests[i] = []byte("GET " + path + " HTTP/1.1\r\nHost: " + host + "\r\nAuthorization: Bearer " + token + "\r\n\r\n")
	}
	return s.send(b, requests, connections, d)
}

// send is load with requests as they are.
func (s *server) send(b *testing.B, requests [][]byte, connections int, d time.Duration) (answered int) {
	b.Helper()
	host := strings.TrimPrefix(s.base, "http://")
	ctx, stop := context.WithTimeout(b.Context(), d)
	defer stop()
	counts, faults := make([]int, connections), make([]error, connections)
	var group sync.WaitGroup
	for i := range connections {
		group.Go(func() { counts[i], faults[i] = drive(ctx, host, requests, i*len(requests)/connections) })
	}
	group.Wait()
	for i := range connections {
		if faults[i] != nil {
			b.Fatal(faults[i])
		}
		answered += counts[i]
	}
	return answered
}

// drive sends the next request when the last answer is complete, beginning with that at from. What it takes for an answer is taken from the server, for they share the
// processors: so it reads the first answer as HTTP has it, and of those that follow that they are 200 and end with the very same body.
func drive(ctx context.Context, host string, requests [][]byte, from int) (n int, err error) {
	return driveFor(ctx, host, ok, requests, from)
}

// driveFor is drive for answers that begin otherwise.
func driveFor(ctx context.Context, host string, begins []byte, requests [][]byte, from int) (n int, err error) {
	conn, err := net.Dial("tcp", host)
	if err != nil {
		return 0, err
	}
	defer conn.Close()
	buf := make([]byte, 0, 16<<10)
	var body []byte
	for ctx.Err() == nil {
		if _, err := conn.Write(requests[(from+n)%len(requests)]); err != nil {
			return n, err
		}
		for buf = buf[:0]; ; {
			m, err := conn.Read(buf[len(buf):cap(buf)])
			if err != nil {
				return n, err
			}
			buf = buf[:len(buf)+m]
			if !bytes.HasPrefix(buf, begins) {
				return n, fmt.Errorf("got %s", buf)
			}
			if body == nil {
				if body, err = whole(buf); err != nil {
					return n, err
				}
				if !bytes.Equal(begins, ok) {
					body = body[max(0, len(body)-2):] // behind the id of the request, which is another each time
				}
			}
			if body != nil && bytes.HasSuffix(buf, body) {
				n++
				break
			}
		}
	}
	return n, nil
}

var ok = []byte("HTTP/1.1 200 OK\r\n")

// whole answers the body, with the empty line before it, of an answer that is there whole; nil when it is not.
func whole(answer []byte) ([]byte, error) {
	resp, err := http.ReadResponse(bufio.NewReader(bytes.NewReader(answer)), nil)
	if err != nil || resp.ContentLength < 0 {
		return nil, fmt.Errorf("an answer that cannot be read, or is without a length (%v): %s", err, answer)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if errors.Is(err, io.ErrUnexpectedEOF) {
		return nil, nil
	}
	return append([]byte("\r\n\r\n"), body...), err
}
