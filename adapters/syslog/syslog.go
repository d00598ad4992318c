// Package syslog sends security events to a receiver of syslog: RFC 5424 over TCP, with octets counted (RFC 6587), or over TLS (RFC 5425).
package syslog

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/xteam/xteam/domain/audit"
	"github.com/xteam/xteam/domain/secret"
	"github.com/xteam/xteam/ports"
)

// Options say where to. URL is needed.
type Options struct {
	URL      string         // syslog://HOST:PORT or syslogs://HOST:PORT; without a port 514 and 6514
	Hostname string         // this machine's, as messages name it
	CEF      string         // the version of the program, as messages of the Common Event Format name it; empty: they are of JSON
	Roots    *x509.CertPool // who signs certificates; nil: the system's
	Timeout  time.Duration  // of a whole delivery; default 10 s
	Linger   time.Duration  // how long the receiver has to close the connection in its turn; default 2 s
}

// Sink opens a connection for each delivery, and ends it: the protocol has no answers, and a receiver that has closed in its turn has read everything.
type Sink struct {
	o      Options
	addr   string
	secure *tls.Config // nil: plain TCP
}

var _ ports.Sink = (*Sink)(nil)

// New is a sink. It connects to nothing yet.
func New(o Options) (*Sink, error) {
	u, err := url.Parse(o.URL)
	if err != nil || u.Hostname() == "" || u.User != nil || u.Opaque != "" || strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.Fragment != "" {
		return nil, errors.New("a receiver of syslog is named syslog://HOST:PORT, or syslogs://HOST:PORT for TLS, and no more")
	}
	ports := map[string]string{"syslog": "514", "syslogs": "6514"}
	if ports[u.Scheme] == "" {
		return nil, fmt.Errorf("a receiver of syslog is reached by syslog or syslogs, which is TLS, and not by %q", u.Scheme)
	}
	if p := u.Port(); p != "" {
		if n, err := strconv.ParseUint(p, 10, 16); err != nil || n == 0 {
			return nil, fmt.Errorf("the port of the receiver of syslog is %q: it takes a number from 1 to 65535", p)
		}
		ports[u.Scheme] = p
	}
	if o.Timeout <= 0 {
		o.Timeout = 10 * time.Second
	}
	if o.Linger <= 0 {
		o.Linger = 2 * time.Second
	}
	o.Hostname = header(o.Hostname, 255)
	s := &Sink{o: o, addr: net.JoinHostPort(u.Hostname(), ports[u.Scheme])}
	if u.Scheme == "syslogs" {
		s.secure = &tls.Config{MinVersion: tls.VersionTLS12, ServerName: u.Hostname(), RootCAs: o.Roots}
	}
	return s, nil
}

// Deliver sends a message for each event. A receiver that neither closes the connection nor breaks it within Linger is taken to have the events, since nothing tells.
func (s *Sink) Deliver(ctx context.Context, events ...audit.Event) error {
	if len(events) == 0 {
		return ctx.Err()
	}
	var all []byte
	for i := range events {
		m := s.message(&events[i])
		all = append(append(strconv.AppendInt(all, int64(len(m)), 10), ' '), m...)
	}
	limited, cancel := context.WithTimeout(ctx, s.o.Timeout)
	defer cancel()
	if err := s.send(limited, all); err != nil {
		return s.explain(ctx, err)
	}
	return nil
}

// conn is a connection of which one direction can be ended alone.
type conn interface {
	net.Conn
	CloseWrite() error
}

func (s *Sink) send(ctx context.Context, all []byte) error {
	c, err := s.dial(ctx)
	if err != nil {
		return err
	}
	defer c.Close()
	defer context.AfterFunc(ctx, func() { _ = c.SetDeadline(time.Unix(1, 0)) })()
	if _, err := c.Write(all); err != nil {
		return err
	}
	if err := c.CloseWrite(); err != nil {
		return err
	}
	until := time.Now().Add(s.o.Linger)
	if err := c.SetReadDeadline(until); err != nil {
		return err
	}
	if ctx.Err() != nil { // its deadline was the one before
		return ctx.Err()
	}
	_, err = io.Copy(io.Discard, io.LimitReader(c, 64<<10)) // what it says is of no interest
	var network net.Error
	if errors.As(err, &network) && network.Timeout() && ctx.Err() == nil {
		return nil
	}
	return err
}

func (s *Sink) dial(ctx context.Context) (conn, error) {
	c, err := new(net.Dialer).DialContext(ctx, "tcp", s.addr)
	if err != nil {
		return nil, err
	}
	if s.secure == nil {
		return c.(*net.TCPConn), nil
	}
	t := tls.Client(c, s.secure)
	if err := t.HandshakeContext(ctx); err != nil {
		_ = c.Close()
		return nil, err
	}
	return t, nil
}

// explain says in one sentence why events were not sent.
func (s *Sink) explain(ctx context.Context, err error) error {
	var (
		untrusted *tls.CertificateVerificationError
		name      *net.DNSError
		network   net.Error
		op        *net.OpError
	)
	why := "the connection broke before everything was sent"
	switch {
	case ctx.Err() != nil:
		return fmt.Errorf("send events by syslog to %s: %w", s.addr, ctx.Err())
	case errors.As(err, &untrusted):
		why = "its certificate is not trusted: " + untrusted.Err.Error()
	case errors.As(err, &name):
		why = "its name is not known to the resolver"
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &network) && network.Timeout():
		why = "it did not take them in time"
	case errors.As(err, &op) && op.Op == "dial":
		why = "it cannot be reached: " + op.Err.Error()
	case s.secure != nil:
		why = "the connection broke, or what answers there speaks no TLS"
	}
	return fmt.Errorf("send events by syslog to %s: %s", s.addr, why)
}

// authpriv is the facility of messages about who may do what.
const authpriv = 10

// message is one event: its JSON or CEF, after a header whose fields are ASCII without spaces.
func (s *Sink) message(e *audit.Event) []byte {
	severity := 6
	switch e.Severity {
	case audit.Warning:
		severity = 4
	case audit.Critical:
		severity = 2
	}
	b := fmt.Appendf(nil, "<%d>1 %s %s xteam - %s - ", authpriv*8+severity, e.Time.Time().UTC().Format("2006-01-02T15:04:05.000000Z"), s.o.Hostname, header(string(e.Kind), 32))
	if s.o.CEF != "" {
		return secret.Scrub(e.AppendCEF(b, s.o.CEF))
	}
	return secret.Scrub(e.AppendJSON(b))
}

// header is a text as a field of the header may hold it: printable ASCII without spaces; "-" says that there is none.
func header(text string, most int) string {
	text = strings.Map(func(r rune) rune {
		if r <= ' ' || r > '~' {
			return '_'
		}
		return r
	}, text[:min(len(text), most)])
	if text == "" {
		return "-"
	}
	return text
}
