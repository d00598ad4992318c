package httpapi

import (
	"errors"
	"io"
	"mime"
	"net/http"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// The longest bodies that are read, in bytes.
const (
	maxBody  = 1 << 20
	maxToken = 8 << 10 // of a refresh token, which is read before anybody is charged
)

// read reads the body into v, as decode does. A request with a credential of its own in a header, or of the operator, may call its body what it likes; another must say that it is JSON, so that
// no page of another origin can send one without asking first.
func (x *exchange) read(v any) error {
	if !x.credentialed() && !x.operator && !saysJSON(x.r.Header.Get("Content-Type")) {
		return errNotJSON
	}
	return x.readAny(v, maxBody, errTooLarge)
}

// readAll reads the body, of which more than most bytes are tooLarge.
func (x *exchange) readAll(most int64, tooLarge error) ([]byte, error) {
	return io.ReadAll(&bounded{http.MaxBytesReader(x.ResponseWriter, x.paced(), most), x, tooLarge})
}

// readAny is read for a body that holds the credential itself, whatever it is called: a page of another origin that can send it knows it already.
// One of more than most bytes is tooLarge.
func (x *exchange) readAny(v any, most int64, tooLarge error) error {
	raw, err := x.readAll(most, tooLarge)
	if err != nil {
		return err
	}
	return decode(raw, v)
}

func (x *exchange) paced() *paced {
	return &paced{ReadCloser: x.r.Body, conn: http.NewResponseController(x.ResponseWriter), began: time.Now()}
}

// bounded is the body for a transport that stands inside this one.
func (x *exchange) bounded() io.ReadCloser {
	if x.r.Body == nil || x.r.Body == http.NoBody {
		return http.NoBody
	}
	return &bounded{http.MaxBytesReader(x.ResponseWriter, x.paced(), maxBody), x, errTooLarge}
}

// bounded reads a body, and says of one that is too long, too slow or cut off what it is refused by.
type bounded struct {
	io.ReadCloser
	x        *exchange
	tooLarge error
}

// Read is of io.Reader.
func (b *bounded) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	switch cut := (*http.MaxBytesError)(nil); {
	case err == nil || err == io.EOF:
		return n, err
	case errors.As(err, &cut):
		return n, b.tooLarge
	case errors.Is(err, os.ErrDeadlineExceeded):
		b.x.Header().Set("Connection", "close")
		return n, errTooSlow
	}
	return n, errCutOff
}

// readOptional is read, for a route that can do without a body.
func (x *exchange) readOptional(v any) error {
	if x.r.ContentLength == 0 {
		return nil
	}
	err := x.read(v)
	if err == errNoBody && x.r.ContentLength < 0 { //nolint:errorlint // decode answers it as it is
		return nil // whoever sends in chunks says only at the end that there are none
	}
	return err
}

// A body has bodyPatience to begin, and then as long as it takes at leastRate.
const (
	bodyPatience = 10 * time.Second
	leastRate    = 64 << 10 // bytes a second
)

// paced reads a body against a deadline that moves on as bytes arrive.
type paced struct {
	io.ReadCloser
	conn  *http.ResponseController
	began time.Time
	n     int64 // bytes so far
}

// atLeast is by when n bytes must have passed, of what began then.
func atLeast(began time.Time, patience time.Duration, n int64) time.Time {
	return began.Add(patience + time.Duration(n)*(time.Second/leastRate)) // the product of bytes and a second would be too great from 8 GiB on
}

// Read lifts the deadline at the body's end: the server goes on reading the connection to see the client leave, and would take a deadline that passes
// while the request is being answered for that.
func (p *paced) Read(b []byte) (int, error) {
	_ = p.conn.SetReadDeadline(atLeast(p.began, bodyPatience, p.n)) // not every writer has a connection
	n, err := p.ReadCloser.Read(b)
	p.n += int64(n)
	if err == io.EOF {
		_ = p.conn.SetReadDeadline(time.Time{})
	}
	return n, err
}

func saysJSON(contentType string) bool {
	t, _, err := mime.ParseMediaType(contentType)
	return err == nil && (t == "application/json" || strings.HasPrefix(t, "application/") && strings.HasSuffix(t, "+json"))
}

// appender is an answer that is asked for so often that it writes itself, without reflection, as json.Marshal would.
type appender interface {
	appendJSON(b []byte) ([]byte, error)
}

// answers are buffers for one answer each; nobody keeps what it wrote (io.Writer).
var answers = sync.Pool{New: func() any { return new([]byte) }}

// lenient writes U+FFFD in the place of what is no UTF-8, such as a client's own words that a store has from before: else one of them would hide all others in a list.
var lenient = jsontext.AllowInvalidUTF8(true)

// write answers with v as JSON.
func (x *exchange) write(status int, v any) error {
	if a, ok := v.(appender); ok {
		buf := answers.Get().(*[]byte)
		defer answers.Put(buf)
		b, err := a.appendJSON((*buf)[:0])
		if err != nil {
			return err
		}
		*buf = b
		x.send(status, b)
		return nil
	}
	b, err := json.Marshal(v, lenient)
	if err != nil {
		return err
	}
	x.send(status, b)
	return nil
}

func (x *exchange) send(status int, body []byte) {
	x.Header()["Content-Type"] = jsonType
	x.WriteHeader(status)
	_, _ = x.Write(body) // a client that has gone
}
