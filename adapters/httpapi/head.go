package httpapi

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"net"
	"net/http"
)

// The headers of every answer; their slices are shared and never changed. X-XSS-Protection keeps the value that the product's
// document asks for, though browsers have dropped it.
var standing = [...]struct {
	name string
	is   []string
}{
	{"X-Content-Type-Options", []string{"nosniff"}},
	{"X-Frame-Options", []string{"DENY"}},
	{"X-Xss-Protection", []string{"1; mode=block"}},
	{"Content-Security-Policy", []string{"default-src 'none'; frame-ancestors 'none'"}},
	{"Referrer-Policy", []string{"no-referrer"}},
	{"Permissions-Policy", []string{"camera=(), geolocation=(), microphone=(), payment=(), usb=()"}},
	{"Cross-Origin-Opener-Policy", []string{"same-origin"}},
	{"Cross-Origin-Resource-Policy", []string{"same-origin"}},
	{"Cache-Control", []string{"no-store"}},
	{"Vary", varyOrigin},
}

// standingLines are the same as they stand in an answer of HTTP/1.1.
var standingLines = func() (text []byte) {
	for _, h := range standing {
		text = append(text, h.name+": "+h.is[0]+"\r\n"...)
	}
	return text
}()

// Plain is l for a Server without TLS: over its connections the headers that every answer has are written as one text. A server puts each header into a map, which it
// copies, sorts and writes one by one: with these ten among them that takes more processor time than all the rest of a bare request. Over other listeners they
// take that way, and whoever asks sees no difference.
func Plain(l net.Listener) net.Listener { return plain{l} }

type plain struct{ net.Listener }

func (p plain) Accept() (net.Conn, error) {
	c, err := p.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &headed{Conn: c}, nil
}

// headed is a connection of HTTP/1 that puts lines behind the status line of an answer. It relies on what net/http's Server does: between the WriteHeader of an
// answer and the first bytes that follow it on the connection, which begin with its status line, nothing else is written. Where that did not hold, nothing would
// be answered at all, rather than an answer without its headers.
type headed struct {
	net.Conn
	lines []byte // for the answer whose header is due; nil when none is. Shared, and never changed
}

var errNoStatusLine = errors.New("what was to be written is not the beginning of an answer")

// Write writes b, and the lines that wait where they belong.
func (c *headed) Write(b []byte) (int, error) {
	lines := c.lines
	if lines == nil {
		return c.Conn.Write(b)
	}
	c.lines = nil
	end := bytes.Index(b, []byte("\r\n")) + 2
	if end < 2 || !bytes.HasPrefix(b, []byte("HTTP/1.")) {
		return 0, errNoStatusLine
	}
	buf := answers.Get().(*[]byte)
	defer answers.Put(buf)
	*buf = append(append(append((*buf)[:0], b[:end]...), lines...), b[end:]...)
	n, err := c.Conn.Write(*buf)
	if err != nil {
		return min(max(n-len(lines), 0), len(b)), err
	}
	return len(b), nil
}

// CloseWrite is what a server does first to a connection on which it will not read on (net/http asks for it by this name).
func (c *headed) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return nil
}

type headedKey struct{}

// knowHeaded has requests know their connection, if it is one of Plain's.
func knowHeaded(ctx context.Context, c net.Conn) context.Context {
	if h, ok := c.(*headed); ok {
		return context.WithValue(ctx, headedKey{}, h)
	}
	return ctx
}

// setHeaders gives the answer the headers that every answer has.
func (x *exchange) setHeaders() {
	h := x.Header()
	if x.conn == nil {
		for i := range standing {
			h[standing[i].name] = standing[i].is
		}
	}
	x.stands = true
	x.told[2] = x.id
	h["X-Request-Id"] = x.told[2:3:3]
	if x.secure {
		h["Strict-Transport-Security"] = hsts
	}
}

// apart reports whether the standing headers are to be written apart from the others. They are not when a handler has set one of them, which then holds.
func (x *exchange) apart() bool {
	if x.conn == nil || !x.stands {
		return false
	}
	h := x.Header()
	own := false
	for i := range standing {
		_, has := h[standing[i].name]
		own = own || has
	}
	if !own {
		return true
	}
	for i := range standing {
		if _, has := h[standing[i].name]; !has {
			h[standing[i].name] = standing[i].is
		}
	}
	return false
}

// WriteHeader begins the answer. The lines wait on the connection from then on only: before it, an interim answer may be written to whoever expects one.
func (x *exchange) WriteHeader(status int) {
	if x.wrote || status < 200 && status != http.StatusSwitchingProtocols {
		x.ResponseWriter.WriteHeader(status)
		return
	}
	x.wrote = true
	apart := x.apart()
	x.ResponseWriter.WriteHeader(status)
	if apart {
		x.conn.lines = standingLines
	}
}

// begun has the answer begun, if it has not.
func (x *exchange) begun() {
	if !x.wrote {
		x.WriteHeader(http.StatusOK)
	}
}

// Write writes to an answer that has begun.
func (x *exchange) Write(b []byte) (int, error) {
	x.begun()
	return x.ResponseWriter.Write(b)
}

// FlushError is for http.ResponseController.
func (x *exchange) FlushError() error {
	x.begun()
	return http.NewResponseController(x.ResponseWriter).Flush()
}

// Hijack is for http.ResponseController. Nobody answers the request then but whoever has the connection.
func (x *exchange) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, rw, err := http.NewResponseController(x.ResponseWriter).Hijack()
	x.wrote = x.wrote || err == nil
	return conn, rw, err
}

// Unwrap is for http.ResponseController.
func (x *exchange) Unwrap() http.ResponseWriter { return x.ResponseWriter }
