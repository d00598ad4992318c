package syslog_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http/httptest"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/xteam/xteam/adapters/syslog"
	"github.com/xteam/xteam/domain/audit"
	"github.com/xteam/xteam/domain/id"
	"github.com/xteam/xteam/domain/instant"
)

var noon = instant.Of(time.Date(2030, 1, 2, 12, 0, 0, 123456000, time.UTC))

// receiver is a real listener, over TCP or TLS, that reads counted messages.
type receiver struct {
	net.Listener
	roots *x509.CertPool
	got   chan string
}

func receive(t *testing.T, secure bool) *receiver {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r := &receiver{Listener: l, got: make(chan string, 100)}
	if secure {
		s := httptest.NewTLSServer(nil) // for its certificate
		t.Cleanup(s.Close)
		r.roots = x509.NewCertPool()
		r.roots.AddCert(s.Certificate())
		r.Listener = tls.NewListener(l, &tls.Config{Certificates: s.TLS.Certificates})
	}
	t.Cleanup(func() { _ = r.Close() })
	return r
}

// read takes messages until the listener is closed.
func (r *receiver) read() {
	for {
		c, err := r.Accept()
		if err != nil {
			return
		}
		in := bufio.NewReader(c)
		for {
			text, err := in.ReadString(' ')
			n, bad := strconv.Atoi(strings.TrimSuffix(text, " "))
			if err != nil || bad != nil {
				if err == nil || text != "" {
					r.got <- "no count: " + text
				}
				break
			}
			m := make([]byte, n)
			if _, err := io.ReadFull(in, m); err != nil {
				r.got <- "cut off: " + string(m)
				break
			}
			r.got <- string(m)
		}
		_ = c.Close()
	}
}

func sink(t *testing.T, o syslog.Options) *syslog.Sink {
	t.Helper()
	s, err := syslog.New(o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// form is a message of RFC 5424, section 6: what is before the text is ASCII.
var form = regexp.MustCompile(`^<(\d{1,3})>1 (\S+) ([!-~]{1,255}) xteam - ([!-~]{1,32}) - (\{[^\x00-\x1f\x7f]*\})$`)

const hostile = "a\r\n<0>1 - - - - -\x00\x1b[2J\u202e 9 \xff Bearer planted-planted-planted"

func TestMessages(t *testing.T) {
	for scheme, secure := range map[string]bool{"syslog": false, "syslogs": true} {
		t.Run(scheme, func(t *testing.T) {
			r := receive(t, secure)
			go r.read()
			s := sink(t, syslog.Options{URL: scheme + "://" + r.Addr().String(), Roots: r.roots, Hostname: "node 1\n" + strings.Repeat("h", 300)})
			plain := audit.Event{ID: id.Event{1}, Time: noon, Kind: audit.TokenRevoked, Severity: audit.Info}
			all := audit.Event{ID: id.Event{2}, Time: noon, Kind: audit.Kind(hostile + strings.Repeat("k", 1<<20)), Severity: audit.Critical, Outcome: hostile, Actor: hostile, Subject: hostile, Email: hostile, IPAddress: hostile,
				UserAgent: hostile + strings.Repeat("x", 1<<20), RequestID: hostile, Reason: hostile, Details: map[string]string{hostile: hostile}}
			for _, events := range [][]audit.Event{{}, {plain, all}, {plain}} {
				if err := s.Deliver(t.Context(), events...); err != nil {
					t.Fatal(err)
				}
			}
			for i, want := range []struct{ pri, id, msgid string }{{"86", "01", "token_revoked"}, {"82", "02", ""}, {"86", "01", "token_revoked"}} {
				m := <-r.got
				parts := form.FindStringSubmatch(m)
				if parts == nil {
					t.Fatalf("message %d is of another form: %.300q", i, m)
				}
				var e struct{ ID string }
				if err := json.Unmarshal([]byte(parts[5]), &e); err != nil || !strings.HasPrefix(e.ID, want.id) {
					t.Errorf("message %d: %v, event %s, want %s", i, err, e.ID, want.id)
				}
				if parts[1] != want.pri || parts[2] != "2030-01-02T12:00:00.123456Z" || !strings.HasPrefix(parts[3], "node_1_h") || want.msgid != "" && parts[4] != want.msgid {
					t.Errorf("message %d has the header %q, want the priority %s and the id %q", i, parts[1:5], want.pri, want.msgid)
				}
				if strings.Contains(m, "planted-p") || strings.Contains(m, "\u202e") || len(m) > 64<<10 {
					t.Errorf("message %d holds what it should not, in %d bytes", i, len(m))
				}
			}
		})
	}
}

func TestWhatIsNotDelivered(t *testing.T) {
	one := audit.Event{ID: id.Event{1}, Time: noon, Kind: audit.TokenRevoked, UserAgent: "planted"}
	deliver := func(t *testing.T, o syslog.Options, says string) {
		t.Helper()
		begun := time.Now()
		err := sink(t, o).Deliver(t.Context(), one)
		if err == nil || !strings.Contains(err.Error(), says) || strings.Contains(err.Error(), "planted") || strings.Contains(err.Error(), "\n") {
			t.Errorf("got error %v, want a sentence that says %q", err, says)
		}
		if took := time.Since(begun); took > 20*time.Second {
			t.Errorf("it took %v", took)
		}
	}
	t.Run("to nobody", func(t *testing.T) {
		r := receive(t, false)
		_ = r.Close()
		deliver(t, syslog.Options{URL: "syslog://" + r.Addr().String()}, "cannot be reached")
	})
	t.Run("to whose certificate nobody vouches", func(t *testing.T) {
		r := receive(t, true)
		go r.read()
		deliver(t, syslog.Options{URL: "syslogs://" + r.Addr().String()}, "certificate is not trusted")
	})
	t.Run("TLS to who speaks none", func(t *testing.T) {
		r := receive(t, false)
		go func() {
			c, err := r.Accept()
			if err == nil {
				_, _ = c.Write([]byte("220 planted\r\n"))
				_ = c.Close()
			}
		}()
		deliver(t, syslog.Options{URL: "syslogs://" + r.Addr().String()}, "speaks no TLS")
	})
	t.Run("TLS to who says nothing", func(t *testing.T) {
		r := receive(t, false)
		deliver(t, syslog.Options{URL: "syslogs://" + r.Addr().String(), Timeout: time.Second}, "in time")
	})
	t.Run("to who breaks the connection", func(t *testing.T) {
		r := receive(t, false)
		go func() {
			c, err := r.Accept()
			if err != nil {
				return
			}
			_, _ = io.ReadFull(c, make([]byte, 10)) // what is left unread makes the close a reset
			_ = c.(*net.TCPConn).SetLinger(0)
			_ = c.Close()
		}()
		deliver(t, syslog.Options{URL: "syslog://" + r.Addr().String()}, "broke")
	})
	t.Run("after the caller has gone", func(t *testing.T) {
		r := receive(t, false)
		ctx, cancel := context.WithCancel(t.Context())
		go func() {
			if c, err := r.Accept(); err == nil {
				_, _ = io.ReadFull(c, make([]byte, 10))
				cancel()
			}
		}()
		if err := sink(t, syslog.Options{URL: "syslog://" + r.Addr().String(), Linger: time.Hour, Timeout: time.Hour}).Deliver(ctx, one); !errors.Is(err, context.Canceled) {
			t.Errorf("got %v", err)
		}
	})
	t.Run("to who never closes, which is taken", func(t *testing.T) {
		r := receive(t, false)
		if err := sink(t, syslog.Options{URL: "syslog://" + r.Addr().String(), Linger: 50 * time.Millisecond}).Deliver(t.Context(), one); err != nil {
			t.Errorf("got %v", err)
		}
	})
}

func TestOptionsThatCannotBe(t *testing.T) {
	for _, url := range []string{"", "planted", "syslog://", "syslog://:514", "http://planted", "syslog://u:planted@h", "syslog://h/planted", "syslog://h?planted", "syslog://h#planted", "syslog:planted", "syslog://h:0", "syslog://h:65536", "syslog://pla\x00nted"} {
		if _, err := syslog.New(syslog.Options{URL: url}); err == nil || strings.Contains(err.Error(), "planted") {
			t.Errorf("%s: got error %v, want one without what was given", url, err)
		}
	}
	for _, url := range []string{"syslog://h", "syslogs://h:6514", "syslogs://[::1]", "syslog://h/"} {
		if _, err := syslog.New(syslog.Options{URL: url}); err != nil {
			t.Errorf("%s: %v", url, err)
		}
	}
}

// A message of CEF has it after the same header.
func TestMessagesOfCEF(t *testing.T) {
	r := receive(t, false)
	go r.read()
	s := sink(t, syslog.Options{URL: "syslog://" + r.Addr().String(), CEF: "1.2"})
	e := audit.Event{ID: id.Event{1}, Time: noon, Kind: audit.TokenRevoked, Severity: audit.Critical, Reason: "a=b " + hostile, Outcome: audit.Success}
	if err := s.Deliver(t.Context(), e); err != nil {
		t.Fatal(err)
	}
	if m := <-r.got; !strings.HasPrefix(m, "<82>1 2030-01-02T12:00:00.123456Z - xteam - token_revoked - CEF:0|XTeam|XTeam|1.2|token_revoked|Token revoked|10|rt=") || !strings.Contains(m, `a\=b`) || strings.ContainsAny(m, "\r\n\x1b") {
		t.Errorf("got %q", m)
	}
}
