package httpapi

import (
	"context"
	"errors"
	"net/http"
	"net/netip"
	"path"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/xteam/xteam/app"
	"github.com/xteam/xteam/domain/apikey"
	"github.com/xteam/xteam/domain/audit"
	"github.com/xteam/xteam/domain/ratelimit"
	"github.com/xteam/xteam/domain/revocation"
	"github.com/xteam/xteam/domain/session"
	"github.com/xteam/xteam/domain/token"
)

// ServeHTTP is what every request passes through, from the top to the bottom, and then, in route.ServeHTTP, the guard and the limits: who asks is known before it
// is charged, and it is charged before anything is done or told.
func (a *API) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	x := a.begin(w, r) // the request's id, and where it comes from
	defer x.end()
	x.setHeaders() // on every answer, a refusal too
	if x.turnedAway() || x.isolated() {
		return
	}
	if err := x.hosted(); err != nil {
		if a.probes[r.URL.Path] { // no limit is for those
			x.refuse(err)
		} else {
			x.turn(err)
		}
		return
	}
	if !asksForAnother(r.URL.Path) && x.cors() { // a proxy would take the answer to a preflight for leave
		return
	}
	if err := wellFormed(r); err != nil {
		x.turn(err)
		return
	}
	if asksForAnother(r.URL.Path) { // the mux would redirect doubled slashes
		a.verifier.ServeHTTP(x, r)
		return
	}
	a.mux.ServeHTTP(x, r)
}

// turn refuses what has not come to a route, and charges it to the address.
func (x *exchange) turn(err error) {
	if limited := x.limit(app.Charge{Class: unclassed}); limited != nil {
		err = limited
	}
	x.refuse(err)
}

// exchange is one request and its answer.
type exchange struct {
	http.ResponseWriter
	api    *API
	r      *http.Request
	id     string
	conn   *headed // writes the headers that are ours; nil: they are among the others
	stands bool    // the answer has the headers that every answer has
	wrote  bool    // the status line is decided
	named  bool    // the answer names the bearer (verify.go)

	limits          *quota // what the answer says of the tightest bucket: its limit, nil when nothing is said,
	remaining, next int64  // how many tokens are left, and after how many seconds there is one more

	told [3]string // values of RateLimit, X-RateLimit-Remaining and X-Request-Id, when those are in the map, as slices of it

	address netip.Addr // where the request comes from; the zero Addr on a Unix socket
	secure  bool       // the client's own connection is encrypted

	caller   app.Caller // zero unless an access token was admitted
	operator bool       // the listener is the operator's, and the route let them in
	byCookie bool       // the credential came in a cookie
}

// begin is the start of every exchange.
func (a *API) begin(w http.ResponseWriter, r *http.Request) *exchange {
	x := &exchange{ResponseWriter: w, api: a, r: r, id: a.requestID(r)}
	x.conn, _ = r.Context().Value(headedKey{}).(*headed)
	x.address, x.secure = a.proxies.from(r, x.conn)
	return x
}

// requestID is the one that was sent, if it is 1 to 64 of A–Z a–z 0–9 . _ -, or else a new one.
func (a *API) requestID(r *http.Request) string {
	if sent := r.Header[requestIDHeader]; len(sent) == 1 && len(sent[0]) >= 1 && len(sent[0]) <= 64 {
		ok := true
		for i := range len(sent[0]) {
			c := sent[0][i]
			ok = ok && (c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '.' || c == '_' || c == '-')
		}
		if ok {
			return sent[0]
		}
	}
	var array [32]byte
	return string(strconv.AppendUint(append(array[:0], a.prefix...), a.count.Add(1), 36))
}

// end has an answer begun where a handler had nothing to say. It ends a panic: that is logged with its stack, the client learns nothing of it, and the process lives.
func (x *exchange) end() {
	p := recover()
	if p == nil {
		x.begun()
		return
	}
	if p == http.ErrAbortHandler { //nolint:errorlint // net/http compares it so
		panic(p)
	}
	x.api.log.Error("A handler panicked", "request_id", x.id, "method", x.r.Method, "path", cut(x.r.URL.Path, 200), "panic", p, "stack", string(debug.Stack()))
	if x.wrote {
		panic(http.ErrAbortHandler)
	}
	x.answer(problem{Status: http.StatusInternalServerError, Code: "internal"})
}

// More headers; their slices are shared and never changed.
var (
	hsts        = []string{"max-age=31536000; includeSubDomains"}
	jsonType    = []string{"application/json"}
	textType    = []string{"text/plain; charset=utf-8"}
	problemType = []string{"application/problem+json"}
)

// wellFormed refuses what no route takes.
func wellFormed(r *http.Request) error {
	p, proxied := r.URL.Path, asksForAnother(r.URL.Path)
	if proxied {
		for strings.Contains(p, "//") { // another service's path may have them
			p = strings.ReplaceAll(p, "//", "/")
		}
		p = strings.TrimSuffix(p, "/")
	}
	switch {
	case p == "" || p[0] != '/' || strings.Contains(p, "//") || p != "/" && (p[len(p)-1] == '/' || strings.Contains(p, "/.") && path.Clean(p) != p):
		return errNoRoute // the mux would redirect it
	case proxied:
		if _, ok := demandOf(r.URL.Path); !ok {
			return errNoDemand
		}
		return nil // the body is another service's, and is not read here; two credentials are for identify
	case credentials(r) > 1:
		return errTwoCredentials
	case len(r.Header["Content-Encoding"]) > 0:
		return errEncoded
	case r.ContentLength > maxBody && !isUpload(r):
		return errTooLarge
	}
	return nil
}

// admit charges whoever asks, decides whether the route is for them, and has the meter told.
func (x *exchange) admit(to *route) error { return x.admitBy(to, x.identify) }

// admitBy is admit, with another way to know who asks.
func (x *exchange) admitBy(to *route, identify func(access) (app.Caller, error)) error {
	if x.api.Meter == nil || to.access == anyone {
		return x.judge(to, identify)
	}
	begun := time.Now()
	err := x.judge(to, identify)
	x.api.Meter.Guarded(outcome(err), time.Since(begun))
	return err
}

// outcome is how the guard's judgement ended, in the meter's words.
func outcome(err error) string {
	var limited *ratelimit.LimitedError
	switch {
	case err == nil:
		return "admitted"
	case errors.Is(err, app.ErrForbidden):
		return "forbidden"
	case errors.As(err, &limited):
		return "rate_limited"
	}
	return app.RefusalCode(err)
}

// judge is admit, uncounted. Whoever is refused, or lacks the scope, pays as the address that they come from, before anything is told or kept.
func (x *exchange) judge(to *route, identify func(access) (app.Caller, error)) error {
	who, err := identify(to.access)
	if errors.Is(err, errTwoCredentials) && asksForAnother(x.r.URL.Path) {
		err = token.ErrMalformed // proxies know no 400
	}
	if to.class != refresh && (to.class != exempt || err != nil || !who.May(to.needs())) {
		if limited := x.limit(to.charge(who, err)); limited != nil {
			return limited
		}
	}
	if err != nil {
		if !errors.Is(err, revocation.ErrStale) { // of which the view tells, when it changes
			x.api.Guard.Refused(x.ctx(), x.request(), who, x.endpoint(), err)
		}
		return err
	}
	x.caller = who
	if !who.May(to.needs()) {
		return x.api.Guard.Require(x.ctx(), x.request(), who, to.needs(), x.endpoint())
	}
	if to.access == admin && !x.operator && !who.IsAdmin() {
		return x.api.Guard.Denied(x.ctx(), x.request(), who, x.endpoint())
	}
	return nil
}

// identify answers who asks, as far as the route wants to know, and beside some refusals whose token it was.
func (x *exchange) identify(a access) (app.Caller, error) {
	if a == anyone {
		return app.Caller{}, nil
	}
	if a == admin && !x.credentialed() && x.ctx().Value(operatorKey{}) != nil {
		x.operator = true
		return app.Caller{}, nil
	}
	if speaksOAuth(x.r.URL.Path) {
		return x.identifyClient()
	}
	kept, err := x.cookie(accessCookie)
	if err != nil {
		return app.Caller{}, err
	}
	if x.byCookie {
		return x.api.Guard.Admit(kept.RevealPlaintext())
	}
	text, key, err := credential(x.r)
	switch {
	case err != nil:
		return app.Caller{}, err
	case key:
		return x.api.Guard.AdmitKey(x.ctx(), x.request(), text)
	}
	return x.api.Guard.Admit(text)
}

// The headers that a credential can be in.
const (
	authorization = "Authorization"
	ownHeader     = "X-Api-Key" // of an API key, which may as well be in the other
)

// credentialed reports whether the request has a credential of its own, that no page of another origin can add to it.
func (x *exchange) credentialed() bool { return credentials(x.r) > 0 }

func credentials(r *http.Request) int { return len(r.Header[authorization]) + len(keysIn(r)) }

// keysIn are the values of X-API-Key. In a proxy's question about another service's request, what has not the form of ours is a credential of that service.
func keysIn(r *http.Request) []string {
	own := r.Header[ownHeader]
	if len(own) > 0 && asksForAnother(r.URL.Path) {
		own = slices.DeleteFunc(slices.Clone(own), func(s string) bool { return !apikey.Looks(s) })
	}
	return own
}

// endpoint is what was asked for, without the query, which may hold anything.
func (x *exchange) endpoint() string {
	asked := x.r.Method + " " + x.r.URL.Path
	if asksForAnother(x.r.URL.Path) {
		if method, path := x.original(); method != "" {
			return strings.TrimSuffix(asked+" for "+method+" "+path, " ")
		}
	}
	return asked
}

// credential reads the Authorization header (RFC 6750, section 2.1) or X-API-Key, and tells an API key from a token. Of two credentials nobody can say which
// is meant.
func credential(r *http.Request) (text string, key bool, err error) {
	sent, own := r.Header[authorization], keysIn(r)
	switch {
	case len(sent)+len(own) > 1:
		return "", false, errTwoCredentials
	case len(own) == 1:
		return own[0], true, nil
	case len(sent) == 0:
		return "", false, token.ErrMissing
	}
	scheme, text, ok := strings.Cut(sent[0], " ")
	if !ok || !strings.EqualFold(scheme, "Bearer") {
		return "", false, token.ErrMissing
	}
	if text == "" {
		return "", false, token.ErrMalformed
	}
	return text, apikey.Looks(text), nil
}

// request is what the use cases want to know of the request.
func (x *exchange) request() app.Request {
	agent := x.r.Header.Get("User-Agent")
	return app.Request{ID: x.id, Origin: session.Origin{Address: x.client(), UserAgent: cut(agent, audit.MaxUserAgent)}}
}

// client is where the request comes from: the socket's other end, or by the word of proxies that are trusted. It has no zone, and IPv4 has its own form; it
// is the zero Addr on a Unix socket.
func (x *exchange) client() netip.Addr { return x.address }

// actor is who asks for an administrator's act.
func (x *exchange) actor() app.Actor {
	if x.operator {
		return app.Actor{Name: app.Operator, Request: x.request()}
	}
	return x.caller.Actor(x.request())
}

func (x *exchange) ctx() context.Context { return x.r.Context() }

func cut(s string, n int) string {
	if len(s) > n {
		return strings.Clone(strings.ToValidUTF8(s[:n], "")) // and holds on to no more of it
	}
	return strings.ToValidUTF8(s, "\uFFFD")
}
