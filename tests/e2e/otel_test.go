package e2e_test

import (
	"bufio"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"
)

// collector is a real OpenTelemetry collector, which writes what it was sent.
type collector struct {
	url string
	out *tail
}

func startCollector(t *testing.T) *collector {
	t.Helper()
	path := filepath.Join(os.Getenv("HOME"), ".cache/xteam-tools/otelcol-v0.165.0/otelcol")
	if cache := os.Getenv("XDG_CACHE_HOME"); cache != "" {
		path = filepath.Join(cache, "xteam-tools/otelcol-v0.165.0/otelcol")
	}
	if _, err := os.Stat(path); err != nil && os.Getenv("XTEAM_TEST_REAL") != "1" {
		t.Skip("the collector is not built: .ci/otelcol")
	} else if err != nil {
		if said, err := exec.CommandContext(t.Context(), "../../.ci/otelcol").CombinedOutput(); err != nil {
			t.Fatalf("build the collector: %v\n%s", err, said)
		}
	}
	c := &collector{"http://" + freeAddr(t), new(tail)}
	config := filepath.Join(t.TempDir(), "config.yaml")
	text := fmt.Sprintf(`receivers: {otlp: {protocols: {http: {endpoint: %q}}}}
exporters: {debug: {verbosity: detailed}}
service: {telemetry: {metrics: {level: none}}, pipelines: {traces: {receivers: [otlp], exporters: [debug]}, metrics: {receivers: [otlp], exporters: [debug]}}}
`, strings.TrimPrefix(c.url, "http://"))
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(path, "--config", config)
	cmd.Stdout, cmd.Stderr = c.out, c.out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	for deadline := time.Now().Add(patience); ; {
		conn, err := net.Dial("tcp", strings.TrimPrefix(c.url, "http://"))
		if err == nil {
			_ = conn.Close()
			return c
		}
		if time.Now().After(deadline) {
			t.Fatalf("the collector is not ready: %v\n%s", err, c.out)
		}
		<-time.After(50 * time.Millisecond)
	}
}

// await waits until the collector has written something of that form.
func (c *collector) await(t *testing.T, form string) []string {
	t.Helper()
	re := regexp.MustCompile(form)
	for deadline := time.Now().Add(patience); ; {
		if m := re.FindStringSubmatch(c.out.String()); m != nil {
			return m
		}
		if time.Now().After(deadline) {
			text := c.out.String()
			t.Fatalf("the collector was sent nothing of the form %s:\n%s", form, text[max(0, len(text)-4000):])
		}
		<-time.After(100 * time.Millisecond)
	}
}

const (
	trustedTrace  = "4bf92f3577b34da6a3ce929d0e0e4736"
	strangerTrace = "0af7651916cd43dd8448eb211c80319c"
)

// get asks for a path with headers.
func (s *server) get(path string, headers ...string) int {
	s.t.Helper()
	req, err := http.NewRequestWithContext(s.t.Context(), http.MethodGet, s.base+path, http.NoBody)
	if err != nil {
		s.t.Fatal(err)
	}
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	_ = res.Body.Close()
	return res.StatusCode
}

// upgrade asks for a path as a WebSocket client or a reader of events does, and answers the first line; the connection ends with it.
func (s *server) upgrade(path, bearer string) string {
	s.t.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(s.base, "http://"))
	if err != nil {
		s.t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(patience))
	headers := "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
	if path != "/ws" {
		headers = "Accept: text/event-stream\r\n"
	}
	if _, err := fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\n%s\r\n", path, bearer, headers); err != nil {
		s.t.Fatal(err)
	}
	line, err := bufio.NewReader(conn).ReadString('\n')
	if err != nil {
		s.t.Errorf("%s: %v", path, err)
	}
	return line
}

// TestTelemetry: a real collector receives spans of requests, of the store and of the hasher, one within the other, and the metrics; a trusted proxy's trace goes on, a stranger's is only pointed to; and
// nothing that was planted in the requests, nor the collector's own credential, is in what was sent or logged.
func TestTelemetry(t *testing.T) {
	c := startCollector(t)
	env := environ(t.TempDir(), "OTEL_EXPORTER_OTLP_ENDPOINT="+c.url, "OTEL_EXPORTER_OTLP_HEADERS=authorization=Bearer%20planted-header", "OTEL_METRIC_EXPORT_INTERVAL=300", "TRUSTED_PROXIES=127.0.0.1/32")
	admin(t, env)
	s := serve(t, env)
	boss := s.signIn("admin@example.com")
	c.await(t, `Name\s+: POST /api/v1/auth/login`)
	c.await(t, `Name\s+: passwords.compare`)
	c.await(t, `Name\s+: sessions.create`)
	if got := s.get(me+"?planted-query=1", "Authorization", "Bearer "+boss.Access, "Traceparent", "00-"+trustedTrace+"-00f067aa0ba902b7-01", "Tracestate", "planted-state=1", "User-Agent", "planted-agent", "Cookie", "a=planted-cookie"); got != http.StatusBadRequest && got != http.StatusOK {
		t.Errorf("with a trace: %d", got)
	}
	c.await(t, `Trace ID\s+: `+trustedTrace+`\n\s+Parent ID\s+: 00f067aa0ba902b7`)
	s.get("/planted-path-of-nobody", "Authorization", "Bearer planted-token", "X-Request-Id", "planted-id")
	c.await(t, `http.response.status_code: Int\(404\)`)
	c.await(t, `Name: xteam_guard_requests`)
	c.await(t, `Name: xteam_revocation_visible_seconds`)
	for path, want := range map[string]string{"/ws": "HTTP/1.1 101 ", "/api/v1/events": "HTTP/1.1 200 "} { // what stays open works as ever
		if got := s.upgrade(path, boss.Access); !strings.HasPrefix(got, want) {
			t.Errorf("%s: %q, want %s", path, got, want)
		}
	}
	parent := c.await(t, `(?s)Parent ID\s+: ([0-9a-f]{16})\n\s+ID\s+: [0-9a-f]{16}\n\s+Name\s+: passwords.compare`)[1]
	c.await(t, `ID\s+: `+parent+`\n\s+Name\s+: POST /api/v1/auth/login`)
	if err := s.end(syscall.SIGTERM); err != nil {
		t.Errorf("the stop: %v", err)
	}

	env = environ(t.TempDir(), "OTEL_EXPORTER_OTLP_ENDPOINT="+c.url)
	s2 := serve(t, env)
	s2.get("/health", "Traceparent", "00-"+strangerTrace+"-00f067aa0ba902b7-01")
	c.await(t, `(?s)Name\s+: GET /health.*Links:.*Trace ID: `+strangerTrace)
	text := c.out.String()
	if regexp.MustCompile(`(?m)^\s+Trace ID\s+: ` + strangerTrace).MatchString(text) {
		t.Error("a stranger's trace went on")
	}
	for _, secret := range []string{"planted", boss.Access, boss.Refresh, password, "admin@example.com"} {
		if i := strings.Index(text, secret); i >= 0 {
			t.Errorf("the collector was sent %.20q: …%s…", secret, text[max(0, i-100):min(len(text), i+60)])
		}
	}
	for _, secret := range []string{"planted-header", "planted-token", "planted-cookie", "planted-query"} {
		if strings.Contains(s.log.String(), secret) {
			t.Errorf("the log has %s:\n%s", secret, s.log)
		}
	}
}

// TestNoCollector: one that is not there, or takes a connection and never answers, holds up no request and no stop.
func TestNoCollector(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0") // nobody accepts: connections are taken by the system, and never answered
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for what, url := range map[string]string{"down": "http://" + freeAddr(t), "hangs": "http://" + l.Addr().String()} {
		t.Run(what, func(t *testing.T) {
			env := environ(t.TempDir(), "OTEL_EXPORTER_OTLP_ENDPOINT="+url, "OTEL_METRIC_EXPORT_INTERVAL=100")
			s := serve(t, env)
			begun := time.Now()
			for range 3000 { // more than may wait to be sent
				if got := s.get("/health"); got != http.StatusOK {
					t.Fatalf("got %d", got)
				}
			}
			if took := time.Since(begun); took > 20*time.Second {
				t.Errorf("3000 requests took %v", took)
			}
			stopping := time.Now()
			if err := s.end(syscall.SIGTERM); err != nil {
				t.Errorf("the stop: %v", err)
			}
			if took := time.Since(stopping); took > 15*time.Second {
				t.Errorf("the stop took %v", took)
			}
			if what == "down" && !strings.Contains(s.log.String(), "does not take what is sent") {
				t.Errorf("the log does not tell of it:\n%s", s.log)
			}
		})
	}
}
