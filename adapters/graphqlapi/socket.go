package graphqlapi

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"github.com/99designs/gqlgen/graphql"
	"github.com/coder/websocket"
	strict "github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/vektah/gqlparser/v2/ast"
	"github.com/vektah/gqlparser/v2/gqlerror"

	"github.com/xteam/xteam/app"
	"github.com/xteam/xteam/domain/instant"
	"github.com/xteam/xteam/domain/ratelimit"
)

// Protocol is the subprotocol of the sockets (npm: graphql-ws).
const Protocol = "graphql-transport-ws"

// The close codes of the protocol.
const (
	closeMalformed    websocket.StatusCode = 4400
	closeUnauthorized websocket.StatusCode = 4401 // the token is refused, or has ended
	closeForbidden    websocket.StatusCode = 4403
	closeProtocol     websocket.StatusCode = 4406 // another subprotocol, or none
	closeLate         websocket.StatusCode = 4408 // no connection_init in time
	closeTwice        websocket.StatusCode = 4409 // an id is in use
	closeInits        websocket.StatusCode = 4429
)

const (
	maxMessage    = 128 << 10        // bytes of a message that a client sends
	maxOperations = 16               // at a time on one socket
	initPatience  = 10 * time.Second // for connection_init
	patience      = 10 * time.Second // for a write, and for a pong; whoever is slower is dropped
	lastWords     = 500 * time.Millisecond
	pingEvery     = 30 * time.Second
	anonymousLife = time.Minute // of a socket without a token, which is for signing in
)

// talk is how many messages and pings a client may send on one socket, whatever they ask.
var talk = ratelimit.Limit{Capacity: 200, Period: 10 * time.Second}

// asksToUpgrade reports whether a request wants a WebSocket.
func asksToUpgrade(r *http.Request) bool {
	for _, line := range r.Header["Upgrade"] {
		if strings.EqualFold(strings.TrimSpace(line), "websocket") {
			return true
		}
	}
	return false
}

// isHandshake reports whether a request that wants a WebSocket opens one (RFC 6455, section 4.2.1). It leaves nothing for the library to refuse, which would do so in words of its own.
func isHandshake(r *http.Request) bool {
	version, key := r.Header["Sec-Websocket-Version"], r.Header["Sec-Websocket-Key"]
	if r.ProtoMajor != 1 || r.ProtoMinor < 1 || len(version) != 1 || version[0] != "13" || len(key) != 1 || !slices.ContainsFunc(r.Header["Connection"], upgrades) {
		return false
	}
	nonce, err := base64.StdEncoding.DecodeString(key[0])
	return err == nil && len(nonce) == 16
}

// upgrades reports whether Upgrade is among the words of a line of Connection.
func upgrades(line string) bool {
	for one := range strings.SplitSeq(line, ",") {
		if strings.EqualFold(strings.TrimSpace(one), "upgrade") {
			return true
		}
	}
	return false
}

// serveSocket upgrades, and serves the socket to its end. The handshake is charged to the address, connection_init to whoever it names, and each field of an operation
// as everywhere. Cookies and headers of the handshake name nobody: browsers let any page open a socket.
func (a *API) serveSocket(w http.ResponseWriter, r *http.Request, v app.Visit) {
	_, err := v.Admit(app.Rule{Class: app.Read})
	switch {
	case err != nil:
	case !isHandshake(r):
		err = app.ErrUpgrade
	case !v.OwnPage():
		err = app.ErrCrossOrigin
	case len(r.Header["Authorization"])+len(r.Header["X-Api-Key"]) > 0:
		err = app.ErrHandshakeHeader
	}
	if err != nil {
		v.Refuse(err)
		return
	}
	leave, err := a.Tethers.Seat(app.GraphQLSocket, app.Caller{})
	if err != nil {
		v.Refuse(err)
		return
	}
	s := &socket{api: a, visit: v, operations: map[string]*operation{}, leave: leave}
	s.conn, err = websocket.Accept(w, r, &websocket.AcceptOptions{Subprotocols: []string{Protocol}, InsecureSkipVerify: true, CompressionMode: websocket.CompressionDisabled, OnPingReceived: s.pinged}) // the origin was judged
	switch {
	case err != nil: // it has answered
		leave()
	case s.conn.Subprotocol() != Protocol:
		defer leave()
		_ = s.conn.Close(closeProtocol, "the subprotocol is "+Protocol)
	default:
		s.conn.SetReadLimit(maxMessage)
		s.serve(r.Context())
	}
}

// socket is one that is open.
type socket struct {
	api   *API
	conn  *websocket.Conn
	visit app.Visit // after connection_init: with its token

	ctx    context.Context
	cancel context.CancelCauseFunc // with what close tells
	began  bool                    // connection_init was answered
	leave  func()
	said   ratelimit.Bucket // of talk: the reader's

	mu         sync.Mutex
	operations map[string]*operation // those that run, by the client's ids; from the last word about one on its id is free
	running    int                   // with those that end
}

// operation is one that runs.
type operation struct{ cancel context.CancelFunc }

// closing is why a socket is closed, as it is told.
type closing struct {
	code   websocket.StatusCode
	reason string
}

func (c *closing) Error() string { return c.reason }

func (s *socket) serve(ctx context.Context) {
	s.ctx, s.cancel = context.WithCancelCause(ctx)
	defer s.cancel(nil)
	defer func() { s.leave() }()
	late := time.AfterFunc(initPatience, func() { s.cancel(&closing{closeLate, "connection_init did not come in time"}) })
	defer late.Stop()
	release := s.api.Tethers.Hold(app.Caller{}, s.visit.Request().Origin.Address, s.cancel)
	defer func() { release() }()
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.read(late, &release)
	}()
	s.wait(done)
	s.close(context.Cause(s.ctx))
	<-done
}

// wait pings until the socket is to end.
func (s *socket) wait(done <-chan struct{}) {
	ping := time.NewTicker(pingEvery)
	defer ping.Stop()
	for {
		select {
		case <-s.ctx.Done():
			return
		case <-done:
			s.cancel(errGone)
			return
		case <-ping.C:
			wait, cancel := s.waiting()
			err := s.conn.Ping(wait)
			cancel()
			if err != nil {
				s.cancel(errGone)
			}
		}
	}
}

var errGone = errors.New("the client has gone")

// close ends the socket with the reason. Operations that run are over with it.
func (s *socket) close(err error) {
	var c *closing
	if errors.Is(err, errGone) {
		_ = s.conn.CloseNow()
		return
	}
	if !errors.As(err, &c) {
		c = closingOf(err)
	}
	_ = s.conn.Close(c.code, c.reason)
}

// closingOf is how the end of what is open is told, as /ws tells it.
func closingOf(err error) *closing {
	code, reason := app.EndCode(err)
	switch {
	case code == "stopping":
		return &closing{websocket.StatusGoingAway, code}
	case code == "too_slow", code == "revocations_stale", code == "unavailable":
		return &closing{websocket.StatusTryAgainLater, code}
	case reason != "":
		return &closing{closeUnauthorized, code + ": " + reason}
	}
	return &closing{closeUnauthorized, code}
}

// message is one of the protocol.
type message struct {
	ID      string         `json:"id,omitempty"`
	Type    string         `json:"type"`
	Payload jsontext.Value `json:"payload,omitempty"`
}

// parse reads a message: one JSON object, each member once and in exactly its letter case, and text where there must be some.
func parse(b []byte) (m message, ok bool) {
	if !utf8.Valid(b) || tooDeep(b) || !jsontext.Value(b).IsValid() {
		return m, false
	}
	return m, strict.Unmarshal(b, &m) == nil
}

// talks reports whether the client may go on, and ends the socket of one who says too much.
func (s *socket) talks() bool {
	said, d := talk.Take(s.said, 1, instant.Of(time.Now()))
	s.said = said
	if !d.OK {
		s.cancel(&closing{websocket.StatusPolicyViolation, "too many messages"})
	}
	return d.OK
}

// pinged is called by the reader, of a ping.
func (s *socket) pinged(context.Context, []byte) (pong bool) { return s.talks() }

// read takes messages until the socket ends.
func (s *socket) read(late *time.Timer, release *func()) {
	for {
		kind, b, err := s.conn.Read(context.Background()) // the library cuts a socket off, without a word, whose read is given up
		if err != nil {
			return
		}
		if !s.talks() {
			return
		}
		m, ok := parse(b)
		if kind != websocket.MessageText || !ok {
			s.cancel(&closing{closeMalformed, "a message must be one JSON object of the protocol"})
			return
		}
		if err := s.take(&m, late, release); err != nil {
			s.cancel(err)
			return
		}
	}
}

// take does what a message asks. An error ends the socket.
func (s *socket) take(m *message, late *time.Timer, release *func()) error {
	switch m.Type {
	case "connection_init":
		if s.began {
			return &closing{closeInits, "too many initialisation requests"}
		}
		s.began = true
		late.Stop()
		return s.begin(m.Payload, release)
	case "ping":
		return s.send(&message{Type: "pong"})
	case "pong":
		return nil
	case "subscribe":
		if !s.began {
			return &closing{closeUnauthorized, "connection_init comes first"}
		}
		return s.subscribe(m)
	case "complete":
		s.mu.Lock()
		defer s.mu.Unlock()
		if o := s.operations[m.ID]; o != nil {
			o.cancel()
			delete(s.operations, m.ID)
		}
		return nil
	}
	return &closing{closeMalformed, "there is no message of that type"}
}

// begin admits the token of connection_init. Without one the socket is anybody's, for a minute.
func (s *socket) begin(payload jsontext.Value, release *func()) error {
	credential, ok := credentialOf(payload)
	if !ok {
		return &closing{closeMalformed, `connection_init takes one token, as {"Authorization": "Bearer …"}`}
	}
	if credential == "" {
		time.AfterFunc(anonymousLife, func() { s.cancel(&closing{closeUnauthorized, "token_missing"}) })
		return s.send(&message{Type: "connection_ack"})
	}
	who, err := s.visit.AdmitBy(credential, rules.connect)
	if err != nil {
		r, _ := refusalOf(err)
		switch {
		case r.Code == unauthenticated && r.Reason != "":
			return &closing{closeUnauthorized, r.REST + ": " + r.Reason}
		case r.Code == unauthenticated:
			return &closing{closeUnauthorized, r.REST}
		case r.Code == forbidden:
			return &closing{closeForbidden, r.REST}
		}
		return &closing{websocket.StatusTryAgainLater, r.REST}
	}
	leave, err := s.api.Tethers.Seat(app.GraphQLSocket, who)
	if err != nil {
		r, _ := refusalOf(err)
		return &closing{websocket.StatusTryAgainLater, r.REST}
	}
	s.leave() // the anonymous seat
	s.leave = leave
	s.visit = tokened{s.visit, credential}
	anonymous := *release
	*release = s.api.Tethers.Hold(who, s.visit.Request().Origin.Address, s.cancel)
	anonymous()
	return s.send(&message{Type: "connection_ack"})
}

// credentialOf reads the payload of connection_init: Authorization with a bearer token, or token or accessToken with the bare one.
func credentialOf(payload jsontext.Value) (credential string, ok bool) {
	if len(payload) == 0 || payload.Kind() == jsontext.KindNull {
		return "", true
	}
	var sent map[string]any
	if json.Unmarshal(payload, &sent) != nil {
		return "", false
	}
	var found []string
	for name, value := range sent {
		switch strings.ToLower(name) {
		case "authorization":
			text, is := value.(string)
			scheme, token, cut := strings.Cut(text, " ")
			if !is || !cut || !strings.EqualFold(scheme, "Bearer") || token == "" {
				return "", false
			}
			found = append(found, token)
		case "token", "accesstoken", "x-api-key":
			text, is := value.(string)
			if !is || text == "" {
				return "", false
			}
			found = append(found, text)
		}
	}
	if len(found) > 1 {
		return "", false
	}
	return strings.Join(found, ""), true
}

// tokened is a visit whose credential came in connection_init. What is for anyone is charged to the address, as everywhere.
type tokened struct {
	app.Visit
	credential string
}

// Admit is of app.Visit.
func (t tokened) Admit(r app.Rule) (app.Caller, error) {
	if r.Access == app.Anyone {
		return t.Visit.Admit(r)
	}
	return t.AdmitBy(t.credential, r)
}

// bare is a visit of a socket without a token: a header of its handshake names nobody.
type bare struct{ app.Visit }

// Admit is of app.Visit.
func (b bare) Admit(r app.Rule) (app.Caller, error) {
	if r.Access == app.Anyone {
		return b.Visit.Admit(r)
	}
	return b.AdmitBy("", r)
}

// subscribe runs an operation of any kind. One more than may run at a time is refused, and the others go on.
func (s *socket) subscribe(m *message) error {
	if m.ID == "" || len(m.ID) > 64 {
		return &closing{closeMalformed, "an operation needs an id of at most 64 bytes"}
	}
	var in request
	dec := jsontext.NewDecoder(bytes.NewBuffer(m.Payload))
	if len(m.Payload) == 0 || dec.PeekKind() != jsontext.KindBeginObject || in.decode(dec) != nil || in.query == "" {
		return &closing{closeMalformed, "the payload of subscribe is one operation"}
	}
	ctx, cancel := context.WithCancel(s.ctx)
	o := &operation{cancel}
	s.mu.Lock()
	_, twice := s.operations[m.ID]
	full := s.running >= maxOperations
	if !twice && !full {
		s.operations[m.ID] = o
		s.running++
	}
	s.mu.Unlock()
	switch {
	case twice:
		cancel()
		return &closing{closeTwice, "an operation of that id runs"}
	case full:
		cancel()
		return s.fail(m.ID, gqlerror.List{{Message: "too many operations run on this socket", Extensions: map[string]any{"code": rateLimited, "retryAfter": 1}}})
	}
	go s.operate(ctx, o, m.ID, &in)
	return nil
}

// over frees the id of an operation, and its place.
func (s *socket) over(oid string, o *operation) {
	o.cancel()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.running--
	if s.operations[oid] == o {
		delete(s.operations, oid)
	}
}

func (s *socket) fail(oid string, list gqlerror.List) error {
	raw, err := json.Marshal(list)
	if err != nil {
		return err
	}
	return s.send(&message{ID: oid, Type: "error", Payload: raw})
}

// operate runs an operation to its end, and says the last word about it.
func (s *socket) operate(ctx context.Context, o *operation, oid string, in *request) {
	var ended atomic.Pointer[error] // why a subscription did, which its own goroutine tells
	visit := s.visit
	if _, is := visit.(tokened); !is {
		visit = bare{visit}
	}
	ctx = context.WithValue(app.WithVisit(ctx, visit), endedKey{}, func(err error) { ended.Store(&err) })
	refused, err := s.run(ctx, visit, oid, in)
	left := ctx.Err() != nil
	s.over(oid, o)
	switch {
	case err != nil:
		s.cancel(err)
	case s.ctx.Err() != nil: // the end of the socket tells of itself
	case left:
	case len(refused) > 0:
		if err := s.fail(oid, refused); err != nil {
			s.cancel(err)
		}
	case ended.Load() != nil && !errors.Is(*ended.Load(), app.ErrSlow):
		s.cancel(*ended.Load())
	case ended.Load() != nil:
		r, _ := refusalOf(*ended.Load())
		_ = s.fail(oid, gqlerror.List{{Message: r.Detail, Extensions: r.extensions()}})
	default:
		_ = s.send(&message{ID: oid, Type: "complete"})
	}
}

// run answers with why an operation was refused, or with what ends the socket.
func (s *socket) run(ctx context.Context, visit app.Visit, oid string, in *request) (refused gqlerror.List, err error) {
	op, wrong := s.api.prepared(ctx, in)
	if len(wrong) == 0 && useless(op) {
		if _, err := visit.Admit(app.Rule{Class: app.Read}); err != nil {
			wrong = gqlerror.List{s.api.present(ctx, err)}
		}
	} else if len(wrong) > 0 {
		if err := visit.Charge(app.Charge{Class: app.Unclassed}); err != nil {
			wrong = gqlerror.List{s.api.present(ctx, err)}
		}
	}
	if len(wrong) > 0 {
		return wrong, nil
	}
	once := &counted{Visit: visit}
	respond, ctx := s.api.run.DispatchOperation(app.WithVisit(ctx, once), op)
	for first := true; ; first = false {
		out := respond(ctx)
		if out == nil {
			return nil, nil
		}
		if first && !once.charged.Load() && !useless(op) { // each argument was of a wrong shape
			if err := visit.Charge(app.Charge{Class: app.Unclassed}); err != nil {
				return gqlerror.List{s.api.present(ctx, err)}, nil
			}
		}
		if first && op.Operation.Operation == ast.Subscription && len(out.Data) == 0 { // it never began
			return out.Errors, nil
		}
		if ctx.Err() != nil { // perhaps the client has the id for another already
			return nil, nil
		}
		if err := s.next(oid, out); err != nil {
			return nil, err
		}
		if op.Operation.Operation != ast.Subscription {
			return nil, nil
		}
	}
}

func (s *socket) next(oid string, out *graphql.Response) error {
	var b bytes.Buffer
	write(&b, out)
	return s.send(&message{ID: oid, Type: "next", Payload: slices.Clone(b.Bytes())})
}

// waiting bounds a write. The library cuts a socket off whose write is given up: so the end of the socket leaves what is being written some time.
func (s *socket) waiting() (context.Context, func()) {
	wait, cancel := context.WithTimeout(context.Background(), patience)
	stop := context.AfterFunc(s.ctx, func() {
		timer := time.AfterFunc(lastWords, cancel)
		context.AfterFunc(wait, func() { timer.Stop() })
	})
	return wait, func() { stop(); cancel() }
}

// send writes a message; one that cannot be written in time ends the socket.
func (s *socket) send(m *message) error {
	b, err := json.Marshal(m)
	if err != nil {
		return err
	}
	wait, cancel := s.waiting()
	defer cancel()
	if err := s.conn.Write(wait, websocket.MessageText, b); err != nil {
		return errGone
	}
	return nil
}
