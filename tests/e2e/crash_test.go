package e2e_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
)

// chain is a session that is refreshed again and again; its client knows the last answer that reached it.
type chain struct {
	mu   sync.Mutex
	last answer
}

// 200 revocations are acknowledged while others sign in, refresh and call; then the process is killed. After the restart every one of them holds,
// and every session that nobody revoked goes on.
func TestKilledUnderLoad(t *testing.T) {
	const bySession, byToken, survivors = 100, 100, 10
	env := environ(t.TempDir())
	admin(t, env)
	s := serve(t, env)
	boss := s.signIn("admin@example.com")
	s.want(http.StatusCreated, http.MethodPost, register, "", object{"email": "ann@example.com", "username": "ann", "password": password})

	doomed := make([]answer, bySession)
	chains := make([]*chain, survivors)
	parallel(8, func(w int) {
		for i := w; i < bySession; i += 8 {
			doomed[i] = s.signIn("ann@example.com")
		}
		for i := w; i < survivors; i += 8 {
			chains[i] = &chain{last: s.signIn("ann@example.com")}
		}
	})
	// Tokens to be revoked one by one, of sessions that live on.
	var single []string
	for i := range byToken {
		c := chains[i%survivors]
		single = append(single, c.last.Access)
		c.last = s.want(http.StatusOK, http.MethodPost, refresh, "", object{"refresh_token": c.last.Refresh})
	}

	// The load: the surviving sessions refresh and call, others sign in, until the server is gone.
	var load sync.WaitGroup
	var requests atomic.Int64
	for _, c := range chains {
		load.Go(func() {
			for {
				c.mu.Lock()
				a, err := s.call(http.MethodPost, refresh, "", object{"refresh_token": c.last.Refresh})
				if err == nil && a.Status == http.StatusOK {
					c.last = a
				} else if err == nil {
					t.Errorf("refresh under load: %d %s", a.Status, a.Text)
				}
				c.mu.Unlock()
				if err != nil {
					return
				}
				if _, err := s.call(http.MethodGet, me, a.Access, nil); err != nil {
					return
				}
				requests.Add(2)
			}
		})
	}
	load.Go(func() {
		for {
			if _, err := s.call(http.MethodPost, login, "", object{"email": "ann@example.com", "password": password}); err != nil {
				return
			}
			requests.Add(1)
		}
	})

	parallel(16, func(w int) {
		for i := w; i < bySession; i += 16 {
			s.revokeOne(boss.Access, object{"session_id": claim(t, doomed[i].Access, "sid"), "reason": "e2e"})
		}
		for i := w; i < byToken; i += 16 {
			s.revokeOne(boss.Access, object{"jti": claim(t, single[i], "jti")})
		}
	})
	if err := s.end(os.Kill); err == nil || !strings.Contains(err.Error(), "killed") {
		t.Fatalf("the server ended with %v, want it killed", err)
	}
	load.Wait()
	if t.Failed() {
		t.FailNow()
	}
	t.Logf("%d requests of load while 200 revocations were acknowledged", requests.Load())

	s = serve(t, env)
	for i, c := range chains { // at once: of a refresh that was not answered the client has the token of before, which is good for its grace
		a, err := s.call(http.MethodPost, refresh, "", object{"refresh_token": c.last.Refresh})
		if err != nil || a.Status != http.StatusOK {
			t.Errorf("session %d, which nobody revoked: got %d %s, %v", i, a.Status, a.Text, err)
			continue
		}
		s.want(http.StatusOK, http.MethodGet, me, a.Access, nil)
	}
	for i, a := range doomed {
		s.refused(a.Access, fmt.Sprintf("revoked session %d", i))
		if got := s.want(http.StatusUnauthorized, http.MethodPost, refresh, "", object{"refresh_token": a.Refresh}); got.Code != "token_revoked" {
			t.Errorf("refresh of revoked session %d: got %s", i, got.Text)
		}
	}
	for i, access := range single {
		s.refused(access, fmt.Sprintf("revoked token %d", i))
	}
	s.want(http.StatusOK, http.MethodGet, me, boss.Access, nil)
	if a := s.want(http.StatusOK, http.MethodGet, "/api/v1/admin/audit/verify", boss.Access, nil); !strings.Contains(a.Text, `"ok":true`) || strings.Contains(a.Text, `"records":0`) {
		t.Errorf("the audit trail after the kill: %s", a.Text)
	}
	if err := s.end(syscall.SIGTERM); err != nil {
		t.Errorf("the stop: %v", err)
	}
}

func (s *server) revokeOne(bearer string, what object) {
	a, err := s.call(http.MethodPost, revoke, bearer, what)
	if err != nil || a.Status != http.StatusOK {
		s.t.Errorf("revoke %v: got %d %s, %v", what, a.Status, a.Text, err)
	}
}

// refused sends a token that has to be refused as revoked.
func (s *server) refused(access, which string) {
	s.t.Helper()
	a, err := s.call(http.MethodGet, me, access, nil)
	if err != nil || a.Status != http.StatusUnauthorized || a.Code != "token_revoked" {
		s.t.Errorf("%s: got %d %s, %v, want 401 token_revoked", which, a.Status, a.Text, err)
	}
}

// The stop comes while a sign-in is half sent and others load the server: the sign-in is answered, nothing else gets a wrong answer, and the exit code is 0.
func TestStopUnderLoad(t *testing.T) {
	env := environ(t.TempDir())
	admin(t, env)
	s := serve(t, env)
	boss := s.signIn("admin@example.com")

	var load sync.WaitGroup
	for range 8 {
		load.Go(func() {
			for {
				a, err := s.call(http.MethodGet, me, boss.Access, nil)
				if err != nil {
					return // the listener is closed
				}
				if a.Status != http.StatusOK {
					t.Errorf("a request at the stop: %d %s", a.Status, a.Text)
				}
			}
		})
	}

	conn, in, body := s.halfSignedIn()
	// The handler waits for the body. It gets it when the server has stopped listening.
	if err := s.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	s.closed()
	if _, err := conn.Write([]byte(body)); err != nil {
		t.Fatal(err)
	}
	res, err := http.ReadResponse(in, nil)
	if err != nil {
		t.Fatalf("the answer to what had begun: %v\n%s", err, s.log)
	}
	defer res.Body.Close()
	if text, err := io.ReadAll(res.Body); err != nil || res.StatusCode != http.StatusOK || !strings.Contains(string(text), "access_token") {
		t.Errorf("the answer to what had begun: got %d, %d bytes, %v", res.StatusCode, len(text), err)
	}
	if err := s.wait(); err != nil {
		t.Errorf("the stop: %v\n%s", err, s.log)
	}
	load.Wait()

	s = serve(t, env) // the folder is free, and whole
	s.want(http.StatusOK, http.MethodGet, me, boss.Access, nil)
}

// halfSignedIn sends a sign-in of the administrator without its body, which the handler waits for.
func (s *server) halfSignedIn() (conn net.Conn, in *bufio.Reader, body string) {
	s.t.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(s.base, "http://"))
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { _ = conn.Close() })
	body = fmt.Sprintf(`{"email":"admin@example.com","password":%q}`, password)
	fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: e2e\r\nContent-Type: application/json\r\nContent-Length: %d\r\nExpect: 100-continue\r\n\r\n", login, len(body))
	in = bufio.NewReader(conn)
	if line, err := in.ReadString('\n'); err != nil || !strings.Contains(line, "100 Continue") {
		s.t.Fatalf("the handler does not read the body: %q, %v", line, err)
	}
	if _, err := in.ReadString('\n'); err != nil {
		s.t.Fatal(err)
	}
	return conn, in, body
}

// closed waits until the server does not listen any more.
func (s *server) closed() {
	s.t.Helper()
	until(s.t, "the listener is closed", func() bool {
		probe, err := net.Dial("tcp", strings.TrimPrefix(s.base, "http://"))
		if err == nil {
			_ = probe.Close()
		}
		return err != nil
	})
}
