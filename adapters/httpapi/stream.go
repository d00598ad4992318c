package httpapi

import (
	"compress/gzip"
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/xteam/xteam/app"
	"github.com/xteam/xteam/domain/id"
)

const (
	streamPatience = 10 * time.Second       // for a reader to take what is written; then it is dropped
	streamPing     = 15 * time.Second       // between two signs of life
	streamWords    = 500 * time.Millisecond // for a write that is under way when the stream is to end, and for its last event
)

// stream is an answer of server-sent events (https://html.spec.whatwg.org/multipage/server-sent-events.html), which stays open.
type stream struct {
	x    *exchange
	conn *http.ResponseController
	to   io.Writer
	zip  *gzip.Writer // nil: not compressed
	buf  []byte

	mu     sync.Mutex // held while a limit of time is set for what is written
	ending time.Time  // the limit that no other follows, once the stream is to end
	over   bool       // the connection may serve another request
}

// streamed answers with a stream, for as long as whoever asked would be let in. The error is of what comes before the answer begins; what ends it then is its last event.
func (x *exchange) streamed(kind app.Connection, follow func(context.Context, *stream) error) error {
	if x.r.Method == http.MethodHead {
		x.Header()["Content-Type"] = streamType
		return nil
	}
	leave, err := x.api.Tethers.Seat(kind, x.caller)
	if err != nil {
		return err
	}
	defer leave()
	ctx, cancel := context.WithCancelCause(x.ctx())
	defer cancel(nil)
	release := x.api.Tethers.Hold(x.caller, x.client(), cancel)
	defer release()
	s := &stream{x: x, conn: http.NewResponseController(x.ResponseWriter), to: x}
	defer context.AfterFunc(ctx, s.hurry)()
	defer s.leave() // before that: hurry may have begun
	err = follow(ctx, s)
	if !x.wrote {
		return err
	}
	if cause := context.Cause(ctx); cause != nil {
		err = cause
	}
	if x.ctx().Err() == nil { // else nobody reads it
		s.end(err)
	}
	return nil
}

var streamType = []string{"text/event-stream"}

// hurry wakes a write that a reader who stands still holds up: what ends a stream waits for nobody.
func (s *stream) hurry() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.over {
		s.ending = time.Now().Add(streamWords)
		_ = s.conn.SetWriteDeadline(s.ending)
	}
}

// bound gives what is written next its time.
func (s *stream) bound() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ending.IsZero() {
		_ = s.conn.SetWriteDeadline(time.Now().Add(streamPatience))
	}
}

func (s *stream) leave() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.over = true
}

// admitted is why whoever reads is to be told nothing more, or nil: nothing is told after the token's end, not even while the end is on its way.
func (s *stream) admitted(ctx context.Context) error {
	if err := context.Cause(ctx); err != nil {
		return err
	}
	return s.x.api.Tethers.Refusal(s.x.caller, s.x.client())
}

// begin begins the answer. A server's limits of time for a whole request or answer hold for none that stays open.
func (s *stream) begin(compressed bool) error {
	h := s.x.Header()
	h["Content-Type"] = streamType
	h.Set("X-Accel-Buffering", "no") // nginx would gather it
	if compressed && acceptsGzip(s.x.r) {
		h.Set("Content-Encoding", "gzip")
		s.zip, _ = gzip.NewWriterLevel(s.x, gzip.BestSpeed) // a level that there is
		s.to = s.zip
	}
	_ = s.conn.SetReadDeadline(time.Time{}) // a server that has none sets none
	return s.flush()
}

// acceptsGzip reads Accept-Encoding (RFC 9110, section 12.5.3) as far as to gzip by name.
func acceptsGzip(r *http.Request) bool {
	for _, line := range r.Header["Accept-Encoding"] {
		for one := range strings.SplitSeq(line, ",") {
			name, weight, _ := strings.Cut(one, ";")
			if strings.EqualFold(strings.TrimSpace(name), "gzip") {
				q := strings.TrimPrefix(strings.ReplaceAll(weight, " ", ""), "q=")
				return strings.Trim(q, "0.") != "" || q == ""
			}
		}
	}
	return false
}

// add writes one event, which flush sends. Without an id it has none.
func (s *stream) add(eid, event string, data any) error {
	b, err := json.Marshal(data, lenient)
	if err != nil {
		return err
	}
	s.buf = s.buf[:0]
	if eid != "" {
		s.buf = append(append(append(s.buf, "id: "...), eid...), '\n')
	}
	s.buf = append(append(append(s.buf, "event: "...), event...), "\ndata: "...)
	s.buf = append(append(s.buf, b...), "\n\n"...)
	s.bound()
	_, err = s.to.Write(s.buf)
	return err
}

func (s *stream) flush() error {
	s.bound()
	if s.zip != nil {
		if err := s.zip.Flush(); err != nil {
			return err
		}
	}
	return s.x.FlushError()
}

// send is add and flush.
func (s *stream) send(eid, event string, data any) error {
	if err := s.add(eid, event, data); err != nil {
		return err
	}
	return s.flush()
}

// ping tells a reader, and whatever is between, that the stream lives.
func (s *stream) ping() error {
	s.bound()
	if _, err := io.WriteString(s.to, ": ping\n\n"); err != nil {
		return err
	}
	return s.flush()
}

// streamEnd is the last event of a stream: why the server ended it.
type streamEnd struct {
	Code   string `json:"code"`
	Reason string `json:"reason,omitempty"`
}

func (s *stream) end(err error) {
	var last streamEnd
	last.Code, last.Reason = app.EndCode(err)
	_ = s.send("", "end", last)
	if s.zip != nil {
		_ = s.zip.Close()
	}
}

// ownEvents streams the caller's own security events.
func (a *API) ownEvents(x *exchange) error { return a.events(x, x.caller.User()) }

// allEvents lists everybody's, or streams them to whoever asks for a stream.
func (a *API) allEvents(x *exchange) error {
	if strings.Contains(x.r.Header.Get("Accept"), streamType[0]) {
		return a.events(x, id.User{})
	}
	q, err := x.query("limit", "cursor")
	if err != nil {
		return err
	}
	limit, err := pageSize(q["limit"])
	if err != nil {
		return err
	}
	after, err := eventsBehind(q["cursor"])
	if err != nil {
		return err
	}
	events, last, err := a.Live.Page(x.ctx(), after, limit)
	if err != nil {
		return err
	}
	page := list[app.EventView]{Items: make([]app.EventView, 0, len(events))}
	for i := range events {
		page.Items = append(page.Items, app.ViewOf(&events[i]))
	}
	more := len(events) == limit
	if n := len(events); n > 0 && n < limit { // the end, or what follows is too large for one page
		next, _, err := a.Live.Page(x.ctx(), last, 1)
		if err != nil {
			return err
		}
		more = len(next) > 0
	}
	if more {
		page.Next = nextEvents(last)
	}
	return x.write(http.StatusOK, page)
}

// events streams what happens to a user, or with the zero User to everybody. It goes on from where Last-Event-ID says, which costs what a dear request does; where that is no place, it cannot be paid for, or it is so
// far back that it is not read, reset tells of the gap.
func (a *API) events(x *exchange, user id.User) error {
	if _, err := x.query(); err != nil {
		return err
	}
	return x.streamed(app.EventStream, func(ctx context.Context, s *stream) error {
		sub, err := a.subscribe(ctx, x, user)
		if err != nil {
			return err
		}
		defer sub.Close()
		if err := s.begin(false); err != nil {
			return err
		}
		for {
			if err := a.event(ctx, s, sub); err != nil {
				return err
			}
		}
	})
}

func (a *API) subscribe(ctx context.Context, x *exchange, user id.User) (*app.Subscription, error) {
	last := x.r.Header.Get("Last-Event-ID")
	if last == "" {
		return a.Live.Subscribe(ctx, user)
	}
	return a.Live.Resume(ctx, user, last, func() error { return x.limit(app.Charge{Class: expensive, User: x.caller.User()}) })
}

// event sends the next event, or a sign of life.
func (a *API) event(ctx context.Context, s *stream, sub *app.Subscription) error {
	wait, cancel := context.WithTimeout(ctx, streamPing)
	e, err := sub.Next(wait)
	cancel()
	switch {
	case errors.Is(err, app.ErrGap):
		return s.send("", "reset", struct{}{})
	case err != nil && ctx.Err() == nil && errors.Is(err, context.DeadlineExceeded):
		return s.ping()
	case err != nil:
		return err
	}
	if err := s.admitted(ctx); err != nil {
		return err
	}
	return s.send(sub.Place(e), "security", app.ViewOf(e.Event))
}
