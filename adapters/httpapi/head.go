package httpapi

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strconv"
	"strings"
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
	{varyHeader, varyOrigin},
}

// Headers are the headers that stand on every answer of the API's, and their values: whoever looks from outside knows what to expect.
func Headers() map[string]string {
	all := make(map[string]string, len(standing))
	for _, h := range standing {
		all[h.name] = h.is[0]
	}
	return all
}

// standingLines are the same as they stand in an answer of HTTP/1.1.
var standingLines = func() (text []byte) {
	for _, h := range standing {
		text = append(text, h.name+": "+h.is[0]+"\r\n"...)
	}
	return text
}()

// ours are the names of all headers that are written apart from the others.
var ours = func() map[string]bool {
	names := map[string]bool{requestIDHeader: true, hstsHeader: true, rateLimit: true, rateLimitPolicy: true, rateLimitLimit: true, rateLimitRemaining: true}
	for _, h := range standing {
		names[h.name] = true
	}
	return names
}()

// The headers that are ours as well but not the same on every answer, as net/http's map has them.
const (
	requestIDHeader    = "X-Request-Id"
	varyHeader         = "Vary"
	hstsHeader         = "Strict-Transport-Security"
	rateLimit          = "Ratelimit"
	rateLimitPolicy    = "Ratelimit-Policy"
	rateLimitLimit     = "X-Ratelimit-Limit"
	rateLimitRemaining = "X-Ratelimit-Remaining"
)

// Plain is l for a Server without TLS: over its connections the headers that are ours are written as one text. A server puts each header into a map, which it
// copies, sorts and writes one by one: with these sixteen among them that takes more processor time than all the rest of a bare request. Over other listeners they
// take that way, and whoever asks sees no difference.
func Plain(l net.Listener) net.Listener { return plain{l} }

type plain struct{ net.Listener }

func (p plain) Accept() (net.Conn, error) {
	c, err := p.Listener.Accept()
	if err != nil {
		return nil, err
	}
	h := &headed{Conn: c, remote: c.RemoteAddr().String()}
	h.peer, _ = netip.ParseAddrPort(h.remote)
	return h, nil
}

// headed is a connection of HTTP/1 that puts lines behind the status line of an answer. It relies on what net/http's Server does: between the WriteHeader of an
// answer and the first bytes that follow it on the connection, which begin with its status line, nothing else is written. Where that did not hold, nothing would
// be answered at all, rather than an answer without its headers.
type headed struct {
	net.Conn
	due *exchange // whose answer's header is due; nil when none is

	remote string         // the socket's other end, as requests name it,
	peer   netip.AddrPort // and as it is read
}

var (
	errNoStatusLine = errors.New("what was to be written is not the beginning of an answer")
	errNotOneLine   = errors.New("the value of a header is not one line")
)

// Write writes b, and the lines that are due where they belong.
func (c *headed) Write(b []byte) (int, error) {
	x := c.due
	if x == nil {
		return c.Conn.Write(b)
	}
	c.due = nil
	end := bytes.Index(b, []byte("\r\n")) + 2
	if end < 2 || !bytes.HasPrefix(b, []byte("HTTP/1.")) {
		return 0, errNoStatusLine
	}
	buf := answers.Get().(*[]byte)
	defer answers.Put(buf)
	text, err := x.appendLines(append((*buf)[:0], b[:end]...))
	if err != nil {
		return 0, err
	}
	more := len(text) - end
	*buf = append(text, b[end:]...)
	n, err := c.Conn.Write(*buf)
	if err != nil {
		return min(max(n-more, 0), len(b)), err
	}
	return len(b), nil
}

// appendLines appends the headers that are ours. A request's id, the name of a limit and what a token says of its bearer are the only texts among them that are not constants; all are judged
// where they come in. Were one of them more than a line, it would be the rest of the answer: it is an error then.
func (x *exchange) appendLines(b []byte) ([]byte, error) {
	b = append(b, standingLines...)
	b = append(append(append(b, requestIDHeader+": "...), x.id...), "\r\n"...)
	if strings.ContainsAny(x.id, "\r\n") {
		return nil, errNotOneLine
	}
	if x.secure {
		b = append(append(append(b, hstsHeader+": "...), hsts[0]...), "\r\n"...)
	}
	if x.named {
		var err error
		if b, err = x.appendIdentity(b); err != nil {
			return nil, err
		}
	}
	if x.limits == nil {
		return b, nil
	}
	if strings.ContainsAny(x.limits.policy[0], "\r\n") {
		return nil, errNotOneLine
	}
	b = append(append(append(b, rateLimitPolicy+": "...), x.limits.policy[0]...), "\r\n"...)
	b = append(append(append(b, rateLimitLimit+": "...), x.limits.limit[0]...), "\r\n"...)
	b = strconv.AppendInt(append(b, rateLimitRemaining+": "...), x.remaining, 10)
	b = x.appendRateLimit(append(b, "\r\n"+rateLimit+": "...))
	return append(b, "\r\n"...), nil
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
	x.stands = true
	if x.conn == nil {
		x.putHeaders()
	}
}

// putHeaders puts the headers that are ours into the map, where none has another value there.
func (x *exchange) putHeaders() {
	h := x.Header()
	put := func(name string, is []string) {
		if _, has := h[name]; !has {
			h[name] = is
		}
	}
	for i := range standing {
		put(standing[i].name, standing[i].is)
	}
	x.told[2] = x.id
	put(requestIDHeader, x.told[2:3:3])
	if x.secure {
		put(hstsHeader, hsts)
	}
	if x.limits != nil {
		x.putLimit(put)
	}
	if x.named {
		x.putIdentity()
	}
}

// varyByOrigin has an answer vary by Origin that a handler said varies by something else.
func varyByOrigin(h http.Header) {
	if by := h[varyHeader]; !slices.ContainsFunc(by, func(line string) bool { return strings.Contains(line, varyOrigin[0]) }) {
		h[varyHeader] = append(varyOrigin[:1:1], by...)
	}
}

// apart reports whether the headers that are ours are to be written apart from the others. They are not when one of them is in the map, which then holds.
func (x *exchange) apart() bool {
	if x.conn == nil || !x.stands {
		return false
	}
	if h := x.Header(); len(h) == 1 && len(h["Content-Type"]) > 0 { // mostly
		return true
	}
	for name := range x.Header() {
		if ours[name] {
			x.putHeaders()
			return false
		}
	}
	return true
}

// WriteHeader begins the answer. The lines are due on the connection from then on only: before it, an interim answer may be written to whoever expects one.
func (x *exchange) WriteHeader(status int) {
	if x.wrote || status < 200 && status != http.StatusSwitchingProtocols {
		x.ResponseWriter.WriteHeader(status)
		return
	}
	x.wrote = true
	apart := x.apart()
	if !apart && x.stands {
		varyByOrigin(x.Header())
	}
	x.ResponseWriter.WriteHeader(status)
	if apart {
		x.conn.due = x
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
