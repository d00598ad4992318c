package httpapi_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/xteam/xteam/adapters/httpapi"
	"github.com/xteam/xteam/domain/account"
	"github.com/xteam/xteam/domain/secret"
)

// pipes is a listener whose connections are pipes in memory, so that a bubble of fake time holds both of their ends.
type pipes struct {
	conns chan net.Conn
	done  chan struct{}
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.done:
		return nil, net.ErrClosed
	}
}
func (p *pipes) Close() error   { close(p.done); return nil }
func (p *pipes) Addr() net.Addr { return &net.TCPAddr{} }

// dial is the client's end of a new connection.
func (p *pipes) dial() net.Conn {
	client, server := net.Pipe()
	p.conns <- server
	return client
}

// piped serves the API with its own limits, in a bubble of fake time.
func piped(t *testing.T, s *service) *pipes {
	t.Helper()
	l := &pipes{make(chan net.Conn), make(chan struct{})}
	srv := httpapi.Server(s.h, slog.New(slog.DiscardHandler))
	ended := make(chan error, 1)
	go func() { ended <- srv.Serve(httpapi.Plain(l)) }()
	t.Cleanup(func() {
		_ = srv.Close()
		if err := <-ended; !errors.Is(err, http.ErrServerClosed) {
			t.Errorf("Serve: %v", err)
		}
		<-time.After(time.Second) // a connection that the server closed lingers for a while (of fake time)
	})
	return l
}

const head = "POST /api/v1/auth/login HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"

// TestSlowBodies sends bodies byte by byte: who is slower than the rate is cut off soon, however long the body is said to be.
func TestSlowBodies(t *testing.T) {
	body := `{"username":"ann","password":"wrong"}`
	for name, try := range map[string]struct {
		every  time.Duration // between two bytes
		status int
		within time.Duration // of fake time
	}{
		"steady":                {10 * time.Millisecond, 401, time.Second},
		"a byte a second":       {time.Second, 408, 11 * time.Second},
		"nothing after a while": {time.Hour, 408, 11 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := piped(t, newService(t)).dial()
				defer c.Close()
				begun := time.Now()
				go func() {
					_, _ = fmt.Fprintf(c, "%sContent-Length: %d\r\n\r\n", head, len(body))
					for i := range len(body) {
						select {
						case <-time.After(try.every):
						case <-t.Context().Done():
							return
						}
						if _, err := c.Write([]byte{body[i]}); err != nil {
							return
						}
					}
				}()
				got, err := http.ReadResponse(bufio.NewReader(c), nil)
				check(t, err)
				_, err = io.Copy(io.Discard, got.Body)
				check(t, err)
				if took := time.Since(begun); got.StatusCode != try.status || took > try.within {
					t.Errorf("got %d after %v, want %d within %v", got.StatusCode, took, try.status, try.within)
				}
				if try.status == 408 && !got.Close {
					t.Error("the connection stays open")
				}
			})
		})
	}
}

// TestSlowHeader: a header has ten seconds.
func TestSlowHeader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := piped(t, newService(t)).dial()
		defer c.Close()
		begun := time.Now()
		go func() {
			for i := range len(head) {
				select {
				case <-time.After(time.Second):
				case <-t.Context().Done():
					return
				}
				if _, err := c.Write([]byte{head[i]}); err != nil {
					return
				}
			}
		}()
		_, _ = io.Copy(io.Discard, c)
		if took := time.Since(begun); took > 11*time.Second {
			t.Errorf("cut off after %v, want 10 s", took)
		}
	})
}

// lasting is a hasher that takes its time, unless its caller leaves.
type lasting struct{ d time.Duration }

func (l lasting) Hash(context.Context, secret.Text) (secret.Text, error) { return secret.Text{}, nil }
func (l lasting) Compare(ctx context.Context, _, _ secret.Text) (ok, upgrade bool, err error) {
	select {
	case <-time.After(l.d):
		return false, false, nil
	case <-ctx.Done():
		return false, false, ctx.Err()
	}
}

// TestAnswersOutlastTheBodysDeadline: once a body is read, its deadline is nothing to the request: one that is answered after 40 s is answered.
func TestAnswersOutlastTheBodysDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newService(t)
		s.core.Passwords = lasting{40 * time.Second}
		c := piped(t, s).dial()
		defer c.Close()
		const body = `{"username":"ann","password":"wrong"}`
		go func() { _, _ = fmt.Fprintf(c, "%sContent-Length: %d\r\n\r\n%s", head, len(body), body) }()
		got, err := http.ReadResponse(bufio.NewReader(c), nil)
		check(t, err)
		if got.StatusCode != 401 {
			t.Errorf("got %d, want 401", got.StatusCode)
		}
	})
}

// TestOneConnection: on one connection, an answer that reads its body, one that does not, and refusals follow one another, none taken for another's.
func TestOneConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newService(t)
		s.user("ann", account.RoleUser)
		c := piped(t, s).dial()
		defer c.Close()
		in := bufio.NewReader(c)
		ask := func(text string, want int) {
			t.Helper()
			go func() { _, _ = io.WriteString(c, text) }()
			got, err := http.ReadResponse(in, nil)
			check(t, err)
			_, err = io.Copy(io.Discard, got.Body)
			check(t, err)
			if got.StatusCode != want || got.Header.Get("X-Frame-Options") != "DENY" {
				t.Errorf("%.40q: got %d (%v), want %d with the headers of every answer", text, got.StatusCode, got.Header, want)
			}
		}
		good := `{"username":"ann","password":"` + password + `"}`
		ask(fmt.Sprintf("%sContent-Length: %d\r\n\r\n%s", head, len(good), good), 200)
		ask("GET /health HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc", 200)
		ask("POST /nothing HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc", 404)
		ask("POST /api/v1/auth/logout HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n", 401)
		ask("OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n", 404)
		ask(fmt.Sprintf("%sTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n", head, len(good), good), 200)
		ask(fmt.Sprintf("%sContent-Length: %d\r\n\r\n", head, 1<<21), 413)
	})
}

// TestCutOffBodies: chunks that are none, and an end before its time, are refused and not taken for a body.
func TestCutOffBodies(t *testing.T) {
	for name, sent := range map[string]string{
		"no chunk":   "Transfer-Encoding: chunked\r\n\r\nZZ\r\n{}\r\n0\r\n\r\n",
		"two bodies": "Content-Length: 5\r\nContent-Length: 6\r\n\r\n{}",
		"a negative": "Content-Length: -1\r\n\r\n{}",
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := piped(t, newService(t)).dial()
				defer c.Close()
				go func() { _, _ = io.WriteString(c, head+sent) }()
				got, err := http.ReadResponse(bufio.NewReader(c), nil)
				check(t, err)
				if got.StatusCode != 400 {
					t.Errorf("got %d, want 400", got.StatusCode)
				}
			})
		})
	}
	s := newService(t)
	w := s.post("/api/v1/auth/login", strings.Repeat(" ", 100)+"{")
	wants(t, w, 400, "malformed_json")
}
