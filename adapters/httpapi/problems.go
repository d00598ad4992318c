package httpapi

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/xteam/xteam/app"
	"github.com/xteam/xteam/domain/account"
	"github.com/xteam/xteam/domain/alert"
	"github.com/xteam/xteam/domain/apikey"
	"github.com/xteam/xteam/domain/block"
	"github.com/xteam/xteam/domain/id"
	"github.com/xteam/xteam/domain/incident"
	"github.com/xteam/xteam/domain/keyset"
	"github.com/xteam/xteam/domain/ratelimit"
	"github.com/xteam/xteam/domain/revocation"
	"github.com/xteam/xteam/domain/session"
	"github.com/xteam/xteam/domain/system"
	"github.com/xteam/xteam/domain/token"
	"github.com/xteam/xteam/domain/upload"
	"github.com/xteam/xteam/ports"
)

// problem is the body of every answer that is no success (RFC 9457).
type problem struct {
	Type      string       `json:"type"`
	Title     string       `json:"title"`
	Status    int          `json:"status"`
	Detail    string       `json:"detail,omitempty"`
	Code      string       `json:"code"`
	Reason    string       `json:"reason,omitempty"` // why a token or session was revoked
	RequestID string       `json:"request_id"`
	Errors    []fieldError `json:"errors,omitempty"`

	retry time.Duration // Retry-After, when not zero
}

// fieldError is one thing that is wrong with the input.
type fieldError struct {
	Field   string `json:"field"`
	Message string `json:"message"`
}

// Refusals of the transport itself.
var (
	errNoRoute        = errors.New("there is nothing here")
	errNoDemand       = errors.New("what is demanded behind the comma is not role= or scope= with one of their names")
	errEncoded        = errors.New("compressed bodies are not taken")
	errNotJSON        = errors.New("send the body as application/json")
	errTooLarge       = fmt.Errorf("the body is longer than %d bytes", maxBody)
	errTokenTooLarge  = fmt.Errorf("the body is longer than %d bytes", maxToken)
	errCutOff         = errors.New("the body ended early")
	errTooSlow        = errors.New("the body did not arrive in time")
	errTwoCredentials = app.ErrTwoCredentials
)

type syntaxError struct{ detail string }

func (e *syntaxError) Error() string { return e.detail }

type methodError struct{ allow []string }

func (e *methodError) Error() string {
	if len(e.allow) == 0 {
		return "this method is not served"
	}
	return "this method is not served here; these are: " + strings.Join(e.allow, ", ")
}

// validationError is all that is wrong with the input.
type validationError struct{ fields []fieldError }

func (e *validationError) Error() string { return "the input is not valid" }

func invalid(field, message string) error {
	return &validationError{[]fieldError{{field, message}}}
}

// sentinels is which refusal becomes which answer. A refusal that carries data has its line in problemOf.
var sentinels = []struct {
	err    error
	status int
	code   string
}{
	{token.ErrMissing, 401, "token_missing"},
	{token.ErrMalformed, 401, "token_malformed"},
	{token.ErrInvalid, 401, "token_invalid"},
	{token.ErrExpired, 401, "token_expired"},
	{session.ErrMalformed, 401, "token_invalid"},
	{session.ErrInvalid, 401, "token_invalid"},
	{session.ErrExpired, 401, "token_expired"},
	{account.ErrCredentials, 401, "credentials_invalid"},
	{apikey.ErrMalformed, 401, "token_malformed"},
	{apikey.ErrEnvironment, 401, "token_invalid"},
	{apikey.ErrInvalid, 401, "token_invalid"},
	{apikey.ErrExpired, 401, "token_expired"},
	{app.ErrAddressBlocked, 403, "address_blocked"},
	{app.ErrForeignToken, 400, "malformed_request"},
	{app.ErrTokenType, 400, "malformed_request"},
	{app.ErrForbidden, 403, "forbidden"},
	{app.ErrSetUp, 403, "setup_refused"},
	{app.ErrDisown, 403, "link_refused"},
	{ports.ErrNotFound, 404, "not_found"},
	{keyset.ErrUnknown, 404, "not_found"},
	{errNoDemand, 404, "not_found"},
	{errNoRoute, 404, "not_found"},
	{block.ErrUnknown, 404, "not_found"},
	{alert.ErrUnknown, 404, "not_found"},
	{alert.ErrFull, 409, "too_many_silences"},
	{incident.ErrUnknown, 404, "not_found"},
	{incident.ErrNone, 409, "incident_state"},
	{incident.ErrSeveral, 409, "incident_state"},
	{incident.ErrResolved, 409, "incident_state"},
	{incident.ErrFull, 409, "incident_state"},
	{incident.ErrHeld, 409, "incident_state"},
	{incident.ErrIsolated, 409, "incident_state"},
	{incident.ErrUndone, 409, "incident_state"},
	{incident.ErrNotAlone, 409, "incident_state"},
	{app.ErrOnlyNode, 409, "incident_state"},
	{app.ErrDrilling, 409, "incident_state"},
	{app.ErrUnknownNode, 404, "not_found"},
	{app.ErrNoTrail, 404, "not_found"},
	{incident.ErrName, 422, "validation_failed"},
	{incident.ErrPercent, 422, "validation_failed"},
	{app.ErrNotContainable, 409, "not_containable"},
	{app.ErrSilence, 422, "validation_failed"},
	{block.ErrFull, 409, "too_many_blocks"},
	{ports.ErrTaken, 409, "taken"},
	{apikey.ErrEnded, 409, "key_state"},
	{apikey.ErrRotated, 409, "key_state"},
	{account.ErrLastAdmin, 409, "last_admin"},
	{account.ErrOwnAccount, 409, "own_account"},
	{keyset.ErrDuplicate, 409, "taken"},
	{keyset.ErrTransition, 409, "key_state"},
	{keyset.ErrLast, 409, "key_state"},
	{keyset.ErrPending, 409, "key_state"},
	{keyset.ErrSigns, 409, "key_state"},
	{errPrecondition, 412, "precondition_failed"},
	{errTooLarge, 413, "body_too_large"},
	{errTokenTooLarge, 413, "body_too_large"},
	{errNotMultipart, 415, "unsupported_media_type"},
	{errEncoded, 415, "unsupported_media_type"},
	{errNotJSON, 415, "unsupported_media_type"},
	{errQuery, 400, "malformed_request"},
	{errPart, 400, "malformed_request"},
	{errCutOff, 400, "malformed_request"},
	{errTooSlow, 408, "request_timeout"},
	{errTwoCredentials, 400, "malformed_request"},
	{app.ErrHandshakeHeader, 400, "malformed_request"},
	{errUnknownHost, 400, "host_unknown"},
	{errCrossOrigin, 403, "cross_origin"},
	{app.ErrCrossOrigin, 403, "cross_origin"},
	{app.ErrUpgrade, 426, "upgrade_required"},
	{app.ErrPasswordNeeded, 422, "validation_failed"},
	{app.ErrEmptySpan, 422, "validation_failed"},
	{account.ErrNotOne, 422, "validation_failed"},
	{id.ErrInvalid, 422, "validation_failed"},
	{app.ErrBlockTime, 422, "validation_failed"},
	{block.ErrInvalid, 422, "validation_failed"},
	{system.ErrFuture, 422, "validation_failed"},
	{revocation.ErrInvalid, 422, "validation_failed"},
	{ratelimit.ErrInvalid, 422, "validation_failed"},
	{revocation.ErrStale, 503, "revocations_stale"},
	{app.ErrClock, 503, "unavailable"},
	{app.ErrStopping, 503, "unavailable"},
	{app.ErrIsolated, 503, "unavailable"},
	{app.ErrHeldBack, 503, "sign_in_held"},
	{ports.ErrNoSpace, 507, "no_space"},
	{id.ErrNotRandom, 503, "unavailable"},
	{context.DeadlineExceeded, 503, "unavailable"},
	{context.Canceled, 503, "unavailable"},
	{ports.ErrUnavailable, 503, "unavailable"}, // the last: others match it too
}

// heldWait is how long whoever's sign-in is held back is told to wait.
const heldWait = time.Minute

// crowdedWait is how long whoever has too many connections is told to wait.
const crowdedWait = 5 * time.Second

// problemOf is the one table from an error to an answer. What it does not know is a fault: 500, and nothing of it is shown.
func problemOf(err error) (p problem, known bool) {
	var (
		revoked  *revocation.RevokedError
		ended    *session.EndedError
		field    *account.InvalidError
		fields   *validationError
		wish     *apikey.InvalidError
		full     *apikey.LimitError
		scope    *app.ScopeError
		selector *app.SelectorError
		limited  *ratelimit.LimitedError
		attempts *app.AttemptsError
		busy     *ports.BusyError
		owed     *app.NotDurableError
		syntax   *syntaxError
		method   *methodError
		oauth    *oauthError
		risky    *block.RiskyError
		crowded  *app.CrowdedError
		early    *keyset.EarlyError
		unheard  *app.UnconfirmedError
		key      *keyset.KeyError
		file     *upload.InvalidError
		long     *upload.SizeError
		kept     *upload.QuotaError
		span     *rangeError
	)
	switch {
	case errors.As(err, &revoked) && revoked.Kind == revocation.APIKey:
		return problem{Status: 401, Code: "token_revoked", Detail: "the API key is revoked", Reason: revoked.Reason.String()}, true
	case errors.As(err, &revoked):
		return problem{Status: 401, Code: "token_revoked", Detail: "the access token is revoked", Reason: revoked.Reason.String()}, true
	case errors.As(err, &ended):
		return problem{Status: 401, Code: "token_revoked", Detail: "the session has ended", Reason: ended.Reason.String()}, true
	case errors.As(err, &field):
		return problem{Status: 422, Code: "validation_failed", Detail: "the input is not valid", Errors: []fieldError{{field.Field, field.Detail}}}, true
	case errors.As(err, &wish):
		return problem{Status: 422, Code: "validation_failed", Detail: "the input is not valid", Errors: []fieldError{{wish.Field, wish.Detail}}}, true
	case errors.As(err, &scope):
		return problem{Status: 403, Code: "forbidden", Detail: scope.Error()}, true
	case errors.As(err, &full):
		return problem{Status: 409, Code: "too_many_api_keys", Detail: full.Error()}, true
	case errors.As(err, &fields):
		return problem{Status: 422, Code: "validation_failed", Detail: fields.Error(), Errors: fields.fields}, true
	case errors.As(err, &selector):
		return problem{Status: 422, Code: "validation_failed", Detail: "the input is not valid", Errors: []fieldError{{selector.Field, selector.Detail}}}, true
	case errors.As(err, &limited):
		return problem{Status: 429, Code: "rate_limited", Detail: "too many requests", retry: max(limited.Decision.RetryAfter, 1)}, true
	case errors.As(err, &attempts):
		return problem{Status: 429, Code: "too_many_attempts", Detail: attempts.Error() + ": ask again later", retry: max(attempts.Verdict.Decision.RetryAfter, 1)}, true
	case errors.As(err, &crowded) && crowded.Own:
		return problem{Status: 429, Code: "too_many_connections", Detail: crowded.Error(), retry: crowdedWait}, true
	case errors.As(err, &crowded):
		return problem{Status: 503, Code: "too_many_connections", Detail: crowded.Error(), retry: crowdedWait}, true
	case errors.As(err, &busy):
		return problem{Status: 503, Code: "unavailable", Detail: "the service is busy: ask again later", retry: max(busy.RetryAfter, time.Second)}, true
	case errors.As(err, &owed):
		return problem{Status: 503, Code: "not_yet_durable", Detail: "the revocation is in force, and not yet durable: the database does not take it now; it is written down when the database is back, unless this server ends before", retry: time.Second}, true
	case errors.As(err, &syntax):
		return problem{Status: 400, Code: "malformed_json", Detail: syntax.detail}, true
	case errors.As(err, &oauth):
		return problem{Status: 400, Code: "malformed_request", Detail: oauth.detail}, true
	case errors.As(err, &risky):
		return problem{Status: 409, Code: "block_risky", Detail: risky.Error()}, true
	case errors.As(err, &unheard):
		return problem{Status: 409, Code: "key_state", Detail: unheard.Error()}, true
	case errors.As(err, &early):
		return problem{Status: 409, Code: "key_state", Detail: early.Error()}, true
	case errors.As(err, &key) && !errors.Is(err, keyset.ErrUnknown) && !errors.Is(err, keyset.ErrDuplicate):
		return problem{Status: 409, Code: "key_state", Detail: key.Error()}, true
	case errors.As(err, &file):
		return problem{Status: 422, Code: "validation_failed", Detail: "the input is not valid", Errors: []fieldError{{"file", file.Detail}}}, true
	case errors.As(err, &long):
		return problem{Status: 413, Code: "body_too_large", Detail: long.Error()}, true
	case errors.As(err, &kept):
		return problem{Status: 409, Code: "quota_exceeded", Detail: kept.Error()}, true
	case errors.As(err, &span):
		return problem{Status: 416, Code: "range_not_satisfiable", Detail: span.Error()}, true
	case errors.As(err, &method):
		return problem{Status: 405, Code: "method_not_allowed", Detail: method.Error()}, true
	}
	for _, s := range sentinels {
		if errors.Is(err, s.err) {
			p := problem{Status: s.status, Code: s.code, Detail: s.err.Error()}
			if s.status == http.StatusServiceUnavailable {
				p.Detail, p.retry = "the service cannot answer now: ask again later", time.Second
			}
			if s.status == http.StatusUnprocessableEntity {
				p.Errors = []fieldError{{cmp.Or(app.Member(s.err), "body"), p.Detail}}
			}
			if s.code == "sign_in_held" {
				p.Detail, p.retry = s.err.Error(), heldWait
			}
			return p, true
		}
	}
	return problem{Status: http.StatusInternalServerError, Code: "internal"}, false
}

// apart is over how many seconds those are spread who are told to come again in one second because of an outage: at its end they do not all come at once.
const apart = 5

// come is when whoever gets a refusal is to come again.
func (a *API) come(p problem) time.Duration {
	if p.Status == http.StatusServiceUnavailable && p.retry == time.Second {
		return p.retry + time.Duration((a.waiting.Add(1)-1)%apart)*time.Second
	}
	return p.retry
}

// refuse answers an error. A fault is logged once, here, with the request's id; whoever asked learns only that id.
func (x *exchange) refuse(err error) {
	p, known := problemOf(err)
	p.retry = x.api.come(p)
	if !known || p.Status >= 500 && !x.expected(err) {
		x.api.log.Error("A request failed", "request_id", x.id, "method", x.r.Method, "path", cut(x.r.URL.Path, 200), "status", p.Status, "error", err.Error())
	}
	if attempts := (*app.AttemptsError)(nil); errors.As(err, &attempts) && attempts.Verdict.Policy != nil {
		x.tellLimit(&attempts.Verdict)
		if x.api.Meter != nil {
			x.api.Meter.Limited(attempts.Verdict.Policy.Name)
		}
	}
	if errors.Is(err, errCrossOrigin) || errors.Is(err, app.ErrCrossOrigin) || errors.Is(err, errUnknownHost) {
		x.api.Guard.Turned(x.ctx(), x.request(), x.endpoint(), p.Code)
	}
	h := x.Header()
	if errors.Is(err, app.ErrUpgrade) {
		h.Set("Upgrade", "websocket")
		h.Set("Connection", "Upgrade")
		h.Set("Sec-WebSocket-Version", "13")
	}
	if span := (*rangeError)(nil); errors.As(err, &span) {
		h.Set("Content-Range", "bytes */"+strconv.FormatInt(span.size, 10))
	}
	if method := (*methodError)(nil); errors.As(err, &method) {
		h.Set("Allow", strings.Join(method.allow, ", "))
	}
	if p.Status == http.StatusUnauthorized {
		h.Set("WWW-Authenticate", challenge(p))
	}
	if scope := (*app.ScopeError)(nil); errors.As(err, &scope) && scope.Scope != 0 { // RFC 6750, section 3.1
		h.Set("WWW-Authenticate", `Bearer realm="xteam", error="insufficient_scope", scope="`+scope.Scope.String()+`"`)
	}
	if speaksOAuth(x.r.URL.Path) && x.r.Method == http.MethodPost {
		x.refuseOAuth(err, p)
		return
	}
	x.answer(p)
}

// expected tells a bound that holds, a state that is logged where it changes, and a client that has gone from a fault: any number of requests can meet them.
func (x *exchange) expected(err error) bool {
	var busy *ports.BusyError
	var owed *app.NotDurableError
	var crowded *app.CrowdedError
	return errors.As(err, &busy) || errors.As(err, &owed) || errors.As(err, &crowded) || errors.Is(err, app.ErrStopping) || errors.Is(err, app.ErrIsolated) || errors.Is(err, app.ErrHeldBack) || errors.Is(err, ports.ErrNoSpace) || errors.Is(err, revocation.ErrStale) ||
		errors.Is(err, context.Canceled) && x.ctx().Err() != nil
}

// challenge is the WWW-Authenticate of a 401 (RFC 6750, section 3): who sent no token is not told of an error.
func challenge(p problem) string {
	if p.Code == "token_missing" || p.Code == "credentials_invalid" {
		return `Bearer realm="xteam"`
	}
	return `Bearer realm="xteam", error="invalid_token", error_description="` + p.Detail + `"`
}

// answer writes a problem.
func (x *exchange) answer(p problem) {
	p.Type, p.Title, p.RequestID = "/docs/problems#"+p.Code, http.StatusText(p.Status), x.id
	h := x.Header()
	h["Content-Type"] = problemType
	if p.retry > 0 {
		h.Set("Retry-After", strconv.FormatInt(int64(math.Ceil(p.retry.Seconds())), 10))
	}
	b, err := json.Marshal(p, lenient)
	if err != nil {
		b = []byte("{}") // strings and numbers that are ours always marshal
	}
	x.WriteHeader(p.Status)
	if x.r.Method != http.MethodHead {
		_, _ = x.Write(b) // a client that has gone
	}
}
