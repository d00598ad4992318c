// Package wsfeed serves security events over WebSockets (RFC 6455), inside the chain of the transport that it is mounted in. A socket carries one way: what a client sends closes it.
package wsfeed

import (
	"bufio"
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/coder/websocket"

	"github.com/xteam/xteam/app"
	"github.com/xteam/xteam/domain/id"
	"github.com/xteam/xteam/domain/instant"
	"github.com/xteam/xteam/domain/ratelimit"
	"github.com/xteam/xteam/domain/token"
)

// Path is where a Feed belongs.
const Path = "/ws"

// Protocol is the subprotocol that is spoken, and answered to whoever asks for one.
const Protocol = "xteam"

// Ended is the close code of a socket whose token, session, user or key has ended, or whose address is blocked; the reason is a code of the contract, and behind a colon the reason of the revocation.
const Ended websocket.StatusCode = 4401

const (
	maxMessage = 1 << 10                // bytes of what a client sends before it is closed for that
	maxQuery   = 32 << 10               // bytes of a query that is read: a ticket stands in it, and nothing else that is long
	lastWords  = 500 * time.Millisecond // for a write that is under way when the socket is to end
	patience   = 10 * time.Second       // for a write, and for a pong; whoever is slower is dropped
)

// Options tune a Feed. The zero value works.
type Options struct {
	Ping time.Duration // between two pings; default 30 s
}

// Feed serves sockets.
type Feed struct {
	tethers *app.Tethers
	live    *app.Live
	tickets *app.Tickets
	ping    time.Duration
}

// New serves what live tells, to whom tethers hold.
func New(t *app.Tethers, l *app.Live, tickets *app.Tickets, o Options) *Feed {
	if o.Ping <= 0 {
		o.Ping = 30 * time.Second
	}
	return &Feed{t, l, tickets, o.Ping}
}

// pings is how many a client may send on one socket.
var pings = ratelimit.Limit{Capacity: 60, Period: time.Minute}

// rule is what a socket asks: a signed-in user, no API key.
var rule = app.Rule{Class: app.Read, Access: app.SignedIn}

// ServeHTTP refuses, as every other route does, or upgrades. Nothing of the request outlives it but who asked and from where.
func (f *Feed) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	visit, ok := app.VisitOf(r.Context())
	if !ok {
		http.Error(w, "this handler belongs into another transport", http.StatusInternalServerError)
		return
	}
	s, err := f.admit(r, visit)
	if err != nil {
		visit.Refuse(err)
		return
	}
	conn, err := websocket.Accept(slim{w}, r, &websocket.AcceptOptions{Subprotocols: []string{Protocol}, InsecureSkipVerify: true, CompressionMode: websocket.CompressionDisabled, OnPingReceived: s.pinged}) // the origin was judged
	if err != nil {
		s.end()
		return // it has answered
	}
	s.conn = conn
	conn.SetReadLimit(maxMessage)
	go s.run() //nolint:gosec // G118: the socket outlives the request
}

// slim gives the library smaller buffers than a server's two of 4 KiB: a client sends nothing but control frames, and an event is written at once.
type slim struct{ http.ResponseWriter }

// Hijack is of http.Hijacker.
func (s slim) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, was, err := http.NewResponseController(s.ResponseWriter).Hijack()
	if err != nil {
		return nil, nil, err
	}
	if err := was.Flush(); err != nil {
		_ = conn.Close()
		return nil, nil, err
	}
	early, _ := was.Reader.Peek(was.Reader.Buffered())
	in := bufio.NewReaderSize(io.MultiReader(bytes.NewReader(bytes.Clone(early)), conn), max(256, len(early)))
	_, _ = in.Peek(len(early)) // the library hands on what is buffered, and reads the connection itself for the rest
	return conn, bufio.NewReadWriter(in, bufio.NewWriterSize(conn, 1<<10)), nil
}

// socket is one that is open.
type socket struct {
	feed   *Feed
	conn   *websocket.Conn
	caller app.Caller
	from   netip.Addr
	events *app.Subscription
	leave  func()

	cancel context.CancelCauseFunc
	pings  ratelimit.Bucket // the reader's
}

func (s *socket) end() {
	s.events.Close()
	s.leave()
}

// admit lets in who may have a socket, and gives them a place.
func (f *Feed) admit(r *http.Request, visit app.Visit) (*socket, error) {
	if !isUpgrade(r) {
		return nil, charged(visit, app.ErrUpgrade)
	}
	if !visit.OwnPage() {
		return nil, charged(visit, app.ErrCrossOrigin)
	}
	place, caller, err := f.identify(r, visit)
	if err != nil {
		return nil, err
	}
	user := id.User{}
	if !caller.IsAdmin() {
		user = caller.User()
	}
	leave, err := f.tethers.Seat(app.EventSocket, caller)
	if err != nil {
		return nil, err
	}
	var events *app.Subscription
	if place == "" {
		events, err = f.live.Subscribe(r.Context(), user)
	} else {
		events, err = f.live.Resume(r.Context(), user, place, func() error { return visit.Charge(app.Charge{Class: app.Expensive, User: caller.User()}) })
	}
	if err != nil {
		leave()
		return nil, err
	}
	return &socket{feed: f, caller: caller, from: visit.Request().Origin.Address, events: events, leave: leave}, nil
}

// charged has the address pay for a refusal.
func charged(visit app.Visit, err error) error {
	if limited := visit.Charge(app.Charge{Class: rule.Class}); limited != nil {
		return limited
	}
	return err
}

// isUpgrade reports whether a request opens a WebSocket (RFC 6455, section 4.2.1). It leaves nothing for the library to refuse, which would do so in words of its own, once a ticket is spent.
func isUpgrade(r *http.Request) bool {
	version, key := r.Header["Sec-Websocket-Version"], r.Header["Sec-Websocket-Key"]
	if r.Method != http.MethodGet || r.ProtoMajor != 1 || r.ProtoMinor < 1 || !has(r.Header["Connection"], "upgrade") || !has(r.Header["Upgrade"], "websocket") || len(version) != 1 || version[0] != "13" || len(key) != 1 {
		return false
	}
	nonce, err := base64.StdEncoding.DecodeString(key[0])
	return err == nil && len(nonce) == 16
}

func has(lines []string, word string) bool {
	for _, one := range words(lines) {
		if strings.EqualFold(one, word) {
			return true
		}
	}
	return false
}

// words are the members of a list in headers.
func words(lines []string) (all []string) {
	for _, line := range lines {
		for one := range strings.SplitSeq(line, ",") {
			if one = strings.TrimSpace(one); one != "" {
				all = append(all, one)
			}
		}
	}
	return all
}

// identify answers who asks, by the one credential that there is, and at which place their events begin.
func (f *Feed) identify(r *http.Request, visit app.Visit) (place string, caller app.Caller, err error) {
	if len(r.URL.RawQuery) > maxQuery {
		return "", caller, charged(visit, app.ErrTwoCredentials)
	}
	query, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return "", caller, charged(visit, token.ErrMalformed)
	}
	place = query.Get("after")
	given := append(protocolTokens(r), query["token"]...)
	tickets := query["ticket"]
	switch {
	case len(given)+len(tickets) > 1, len(tickets) == 1 && len(r.Header["Authorization"])+len(r.Header["X-Api-Key"]) > 0:
		return "", caller, charged(visit, app.ErrTwoCredentials) // before a ticket is spent
	case len(tickets) == 1:
		text, err := f.tickets.Redeem(r.Context(), tickets[0])
		if err != nil {
			return "", caller, charged(visit, err)
		}
		caller, err = visit.AdmitBy(text, rule)
		return place, caller, err
	case len(given) == 1:
		caller, err = visit.AdmitBy(given[0], rule)
	default:
		caller, err = visit.Admit(rule)
	}
	return place, caller, err
}

// protocolTokens are the subprotocols that are asked for beside ours: tokens, for browsers can send no header of their own. Whatever is not ours is one, so that none is passed over in favour of another.
func protocolTokens(r *http.Request) (tokens []string) {
	for _, one := range words(r.Header["Sec-Websocket-Protocol"]) {
		if one != Protocol {
			tokens = append(tokens, one)
		}
	}
	return tokens
}

// run serves the socket until it ends, and closes it with the reason.
func (s *socket) run() {
	defer s.end()
	ctx, cancel := context.WithCancelCause(context.Background())
	defer cancel(nil)
	s.cancel = cancel
	release := s.feed.tethers.Hold(s.caller, s.from, cancel)
	defer release()
	go s.read()
	err := s.write(ctx)
	if cause := context.Cause(ctx); cause != nil {
		err = cause
	}
	cancel(err)
	s.close(err)
}

// Ends that are the client's own doing.
var (
	errGone     = errors.New("the client has gone")
	errMessage  = errors.New("this socket takes no messages")
	errNotText  = errors.New("a text is not UTF-8")
	errUnmasked = errors.New("a frame is not masked")
	errPings    = errors.New("too many pings")
	errSilent   = errors.New("the client does not answer")
)

// read answers pings and the close of the client, until the socket ends. A message is read whole, so as to close it as RFC 6455 wants it closed that is too long or no text; the library sees to frames.
func (s *socket) read() {
	kind, b, err := s.conn.Read(context.Background())
	switch {
	case err != nil && strings.Contains(err.Error(), "unmasked frame"): // of the violations the only one that the library does not tell
		s.cancel(errUnmasked)
	case err != nil:
		s.cancel(errGone)
	case kind == websocket.MessageText && !utf8.Valid(b):
		s.cancel(errNotText)
	default:
		s.cancel(errMessage)
	}
}

// pinged is called by the reader, of a ping, and ends the socket of one who pings without end.
func (s *socket) pinged(context.Context, []byte) (pong bool) {
	left, d := pings.Take(s.pings, 1, instant.Of(time.Now()))
	s.pings = left
	if !d.OK {
		s.cancel(errPings)
	}
	return d.OK
}

// write sends what happens, and pings in between.
func (s *socket) write(ctx context.Context) error {
	for next := time.Now().Add(s.feed.ping); ; {
		wait, cancel := context.WithDeadline(ctx, next)
		e, err := s.events.Next(wait)
		cancel()
		switch {
		case errors.Is(err, app.ErrGap):
			err = s.send(ctx, []byte(`{"kind":"gap"}`))
		case err != nil && ctx.Err() == nil && errors.Is(err, context.DeadlineExceeded):
			err = s.pong(ctx)
			next = time.Now().Add(s.feed.ping)
		case err == nil:
			err = s.tell(ctx, e)
		}
		if err != nil {
			return err
		}
	}
}

// tell sends an event, unless the caller would not be let in any more: nothing is told after the token's end, not even while the end is on its way.
func (s *socket) tell(ctx context.Context, e app.LiveEvent) error {
	if err := s.feed.tethers.Refusal(s.caller, s.from); err != nil {
		return err
	}
	b, err := json.Marshal(struct {
		app.EventView
		After string `json:"after"` // where to go on
	}{app.ViewOf(e.Event), s.events.Place(e)})
	if err != nil {
		return err
	}
	return s.send(ctx, b)
}

// waiting bounds a write. The library cuts a socket off whose write is given up, without a word: so the end of ctx leaves what is being written some time.
func waiting(ctx context.Context) (wait context.Context, done func()) {
	wait, cancel := context.WithTimeout(context.Background(), patience)
	stop := context.AfterFunc(ctx, func() { time.AfterFunc(lastWords, cancel) })
	return wait, func() {
		stop()
		cancel()
	}
}

func (s *socket) send(ctx context.Context, b []byte) error {
	wait, done := waiting(ctx)
	defer done()
	return s.conn.Write(wait, websocket.MessageText, b)
}

func (s *socket) pong(ctx context.Context) error {
	wait, done := waiting(ctx)
	defer done()
	if err := s.conn.Ping(wait); err != nil {
		return errors.Join(errSilent, err)
	}
	return nil
}

// close ends the socket. A client that does not answer the close has 5 s.
func (s *socket) close(err error) {
	code, reason := app.EndCode(err)
	switch {
	case errors.Is(err, errUnmasked):
		_ = s.conn.Close(websocket.StatusProtocolError, errUnmasked.Error())
	case errors.Is(err, errNotText):
		_ = s.conn.Close(websocket.StatusInvalidFramePayloadData, errNotText.Error())
	case errors.Is(err, errMessage), errors.Is(err, errPings):
		_ = s.conn.Close(websocket.StatusPolicyViolation, err.Error())
	case errors.Is(err, errGone), errors.Is(err, errSilent), code == "unavailable" && errors.Is(err, context.DeadlineExceeded):
		_ = s.conn.CloseNow()
	case code == "stopping":
		_ = s.conn.Close(websocket.StatusGoingAway, code)
	case code == "too_slow", code == "revocations_stale", code == "unavailable":
		_ = s.conn.Close(websocket.StatusTryAgainLater, code)
	case reason != "":
		_ = s.conn.Close(Ended, code+": "+reason)
	default:
		_ = s.conn.Close(Ended, code)
	}
}
