package graphqlapi

import (
	"cmp"
	"context"
	"errors"
	"math"
	"strings"
	"time"

	"github.com/99designs/gqlgen/graphql"
	"github.com/99designs/gqlgen/graphql/errcode"
	"github.com/vektah/gqlparser/v2/ast"
	"github.com/vektah/gqlparser/v2/gqlerror"

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

// What extensions.code can be.
const (
	badRequest      = "BAD_REQUEST" // the request, and not an input of a field
	unauthenticated = "UNAUTHENTICATED"
	forbidden       = "FORBIDDEN"
	rateLimited     = "RATE_LIMITED"
	badInput        = "BAD_USER_INPUT"
	notFound        = "NOT_FOUND"
	conflict        = "CONFLICT"
	unavailable     = "UNAVAILABLE"
	internal        = "INTERNAL"
)

// fault is one thing that is wrong with the input.
type fault struct {
	Field   string `json:"field"`
	Message string `json:"message"`
}

// invalidError is all that is wrong with the input of a field.
type invalidError struct{ fields []fault }

func (e *invalidError) Error() string { return "the input is not valid" }

func (e *invalidError) orNil() error {
	if len(e.fields) == 0 {
		return nil
	}
	return e
}

// note adds what an error of the domain says of a member, under the schema's name for it.
func (e *invalidError) note(err error) {
	var field *account.InvalidError
	var wish *apikey.InvalidError
	switch {
	case errors.As(err, &field):
		e.fields = append(e.fields, fault{named(field.Field), field.Detail})
	case errors.As(err, &wish):
		e.fields = append(e.fields, fault{named(wish.Field), wish.Detail})
	}
}

func invalid(field, message string) error { return &invalidError{[]fault{{field, message}}} }

// names are the members that the schema calls by another word than REST. All others it writes in another case.
var names = map[string]string{"alg": "algorithm", "session_id": "id"}

// named is how the schema calls a member.
func named(field string) string {
	if n, ok := names[field]; ok {
		return n
	}
	name, rest, _ := strings.Cut(field, "_")
	for word := range strings.SplitSeq(rest, "_") {
		if word != "" {
			name += strings.ToUpper(word[:1]) + word[1:]
		}
	}
	return name
}

// apart is over how many seconds those are spread who are told to come again in one second.
const apart = 5

// refusal is what is told of an error.
type refusal struct {
	Code, Detail string
	REST         string // the code of the REST API
	Reason       string // why a token or session was revoked
	Fields       []fault
	Retry        time.Duration
}

// extensions are the members beside the message.
func (r *refusal) extensions() map[string]any {
	x := map[string]any{"code": r.Code}
	if r.REST != "" {
		x["problem"] = r.REST
	}
	if r.Reason != "" {
		x["reason"] = r.Reason
	}
	if len(r.Fields) > 0 {
		x["fields"] = r.Fields
	}
	if r.Retry > 0 {
		x["retryAfter"] = int64(math.Ceil(r.Retry.Seconds()))
	}
	return x
}

// sentinels is which refusal becomes which answer. A refusal that carries data has its line in refusalOf.
var sentinels = []struct {
	err        error
	code, rest string
}{
	{token.ErrMissing, unauthenticated, "token_missing"},
	{token.ErrMalformed, unauthenticated, "token_malformed"},
	{token.ErrInvalid, unauthenticated, "token_invalid"},
	{token.ErrExpired, unauthenticated, "token_expired"},
	{session.ErrMalformed, unauthenticated, "token_invalid"},
	{session.ErrInvalid, unauthenticated, "token_invalid"},
	{session.ErrExpired, unauthenticated, "token_expired"},
	{account.ErrCredentials, unauthenticated, "credentials_invalid"},
	{apikey.ErrMalformed, unauthenticated, "token_malformed"},
	{apikey.ErrEnvironment, unauthenticated, "token_invalid"},
	{apikey.ErrInvalid, unauthenticated, "token_invalid"},
	{apikey.ErrExpired, unauthenticated, "token_expired"},
	{app.ErrForbidden, forbidden, "forbidden"},
	{app.ErrSetUp, forbidden, "setup_refused"},
	{app.ErrDisown, forbidden, "link_refused"},
	{app.ErrCrossOrigin, forbidden, "cross_origin"},
	{app.ErrAddressBlocked, forbidden, "address_blocked"},
	{ports.ErrNotFound, notFound, "not_found"},
	{keyset.ErrUnknown, notFound, "not_found"},
	{block.ErrUnknown, notFound, "not_found"},
	{alert.ErrUnknown, notFound, "not_found"},
	{alert.ErrFull, conflict, "too_many_silences"},
	{incident.ErrUnknown, notFound, "not_found"},
	{incident.ErrNone, conflict, "incident_state"},
	{incident.ErrSeveral, conflict, "incident_state"},
	{incident.ErrResolved, conflict, "incident_state"},
	{incident.ErrFull, conflict, "incident_state"},
	{incident.ErrHeld, conflict, "incident_state"},
	{incident.ErrIsolated, conflict, "incident_state"},
	{incident.ErrUndone, conflict, "incident_state"},
	{incident.ErrNotAlone, conflict, "incident_state"},
	{app.ErrOnlyNode, conflict, "incident_state"},
	{app.ErrDrilling, conflict, "incident_state"},
	{app.ErrUnknownNode, notFound, "not_found"},
	{app.ErrNoTrail, notFound, "not_found"},
	{incident.ErrName, badInput, "validation_failed"},
	{incident.ErrPercent, badInput, "validation_failed"},
	{app.ErrNotContainable, conflict, "not_containable"},
	{app.ErrSilence, badInput, "validation_failed"},
	{block.ErrFull, conflict, "too_many_blocks"},
	{ports.ErrTaken, conflict, "taken"},
	{apikey.ErrEnded, conflict, "key_state"},
	{apikey.ErrRotated, conflict, "key_state"},
	{account.ErrLastAdmin, conflict, "last_admin"},
	{account.ErrOwnAccount, conflict, "own_account"},
	{keyset.ErrDuplicate, conflict, "taken"},
	{keyset.ErrTransition, conflict, "key_state"},
	{keyset.ErrLast, conflict, "key_state"},
	{keyset.ErrPending, conflict, "key_state"},
	{keyset.ErrSigns, conflict, "key_state"},
	{app.ErrTwoCredentials, badRequest, "malformed_request"},
	{app.ErrTokenType, badRequest, "malformed_request"},
	{app.ErrForeignToken, badRequest, "malformed_request"},
	{app.ErrPasswordNeeded, badInput, "validation_failed"},
	{app.ErrEmptySpan, badInput, "validation_failed"},
	{account.ErrNotOne, badInput, "validation_failed"},
	{id.ErrInvalid, badInput, "validation_failed"},
	{system.ErrFuture, badInput, "validation_failed"},
	{revocation.ErrInvalid, badInput, "validation_failed"},
	{ratelimit.ErrInvalid, badInput, "validation_failed"},
	{block.ErrInvalid, badInput, "validation_failed"},
	{app.ErrBlockTime, badInput, "validation_failed"},
	{revocation.ErrStale, unavailable, "revocations_stale"},
	{app.ErrClock, unavailable, "unavailable"},
	{app.ErrStopping, unavailable, "unavailable"},
	{app.ErrIsolated, unavailable, "unavailable"},
	{app.ErrHeldBack, unavailable, "sign_in_held"},
	{app.ErrSlow, unavailable, "too_slow"},
	{app.ErrGap, unavailable, "unavailable"},
	{ports.ErrNoSpace, unavailable, "no_space"},
	{id.ErrNotRandom, unavailable, "unavailable"},
	{context.DeadlineExceeded, unavailable, "unavailable"},
	{context.Canceled, unavailable, "unavailable"},
	{ports.ErrUnavailable, unavailable, "unavailable"}, // the last: others match it too
}

// refusalOf is the one table from an error to an answer. What it does not know is a fault: INTERNAL, and nothing of it is shown.
func refusalOf(err error) (r refusal, known bool) {
	var (
		revoked  *revocation.RevokedError
		ended    *session.EndedError
		field    *account.InvalidError
		fields   *invalidError
		wish     *apikey.InvalidError
		full     *apikey.LimitError
		scope    *app.ScopeError
		selector *app.SelectorError
		limited  *ratelimit.LimitedError
		attempts *app.AttemptsError
		crowded  *app.CrowdedError
		busy     *ports.BusyError
		owed     *app.NotDurableError
		risky    *block.RiskyError
		unsure   *app.UnconfirmedError
		early    *keyset.EarlyError
		key      *keyset.KeyError
		file     *upload.InvalidError
		long     *upload.SizeError
		kept     *upload.QuotaError
	)
	wrong := func(all ...fault) (refusal, bool) {
		return refusal{Code: badInput, REST: "validation_failed", Detail: "the input is not valid", Fields: all}, true
	}
	switch {
	case errors.As(err, &revoked) && revoked.Kind == revocation.APIKey:
		return refusal{Code: unauthenticated, REST: "token_revoked", Detail: "the API key is revoked", Reason: revoked.Reason.String()}, true
	case errors.As(err, &revoked):
		return refusal{Code: unauthenticated, REST: "token_revoked", Detail: "the access token is revoked", Reason: revoked.Reason.String()}, true
	case errors.As(err, &ended):
		return refusal{Code: unauthenticated, REST: "token_revoked", Detail: "the session has ended", Reason: ended.Reason.String()}, true
	case errors.As(err, &field):
		return wrong(fault{named(field.Field), field.Detail})
	case errors.As(err, &wish):
		return wrong(fault{named(wish.Field), wish.Detail})
	case errors.As(err, &fields):
		return wrong(fields.fields...)
	case errors.As(err, &selector):
		return wrong(fault{named(selector.Field), selector.Detail})
	case errors.As(err, &file):
		return wrong(fault{"file", file.Detail})
	case errors.As(err, &long):
		return refusal{Code: badInput, REST: "body_too_large", Detail: long.Error()}, true
	case errors.As(err, &kept):
		return refusal{Code: conflict, REST: "quota_exceeded", Detail: kept.Error()}, true
	case errors.As(err, &scope):
		return refusal{Code: forbidden, REST: "forbidden", Detail: scope.Error()}, true
	case errors.As(err, &full):
		return refusal{Code: conflict, REST: "too_many_api_keys", Detail: full.Error()}, true
	case errors.As(err, &limited):
		return refusal{Code: rateLimited, REST: "rate_limited", Detail: "too many requests", Retry: max(limited.Decision.RetryAfter, 1)}, true
	case errors.As(err, &attempts):
		return refusal{Code: rateLimited, REST: "too_many_attempts", Detail: attempts.Error() + ": ask again later", Retry: max(attempts.Verdict.Decision.RetryAfter, 1)}, true
	case errors.As(err, &crowded):
		return refusal{Code: rateLimited, REST: "too_many_connections", Detail: crowded.Error(), Retry: crowdedWait}, true
	case errors.As(err, &busy):
		return refusal{Code: unavailable, REST: "unavailable", Detail: "the service is busy: ask again later", Retry: max(busy.RetryAfter, time.Second)}, true
	case errors.As(err, &owed):
		return refusal{Code: unavailable, REST: "not_yet_durable", Detail: "the revocation is in force, and not yet durable: the database does not take it now; it is written down when the database is back, unless this server ends before", Retry: time.Second}, true
	case errors.As(err, &risky):
		return refusal{Code: conflict, REST: "block_risky", Detail: risky.Error()}, true
	case errors.As(err, &unsure):
		return refusal{Code: conflict, REST: "key_state", Detail: unsure.Error()}, true
	case errors.As(err, &early):
		return refusal{Code: conflict, REST: "key_state", Detail: early.Error()}, true
	case errors.As(err, &key) && !errors.Is(err, keyset.ErrUnknown) && !errors.Is(err, keyset.ErrDuplicate):
		return refusal{Code: conflict, REST: "key_state", Detail: key.Error()}, true
	}
	for _, s := range sentinels {
		if errors.Is(err, s.err) {
			r := refusal{Code: s.code, REST: s.rest, Detail: s.err.Error()}
			if s.code == unavailable {
				r.Detail, r.Retry = "the service cannot answer now: ask again later", time.Second
			}
			if s.code == badInput {
				r.Fields = []fault{{named(cmp.Or(app.Member(s.err), "input")), r.Detail}}
			}
			if s.rest == "sign_in_held" {
				r.Detail, r.Retry = s.err.Error(), heldWait
			}
			return r, true
		}
	}
	return refusal{Code: internal, REST: "internal", Detail: "something went wrong"}, false
}

// heldWait is how long whoever's sign-in is held back is told to wait.
const heldWait = time.Minute

// crowdedWait is how long whoever has too many connections is told to wait.
const crowdedWait = 5 * time.Second

// expected tells a bound that holds, a state that is logged where it changes, and a client that has gone from a fault: any number of requests can meet them.
func expected(ctx context.Context, err error) bool {
	var busy *ports.BusyError
	var owed *app.NotDurableError
	return errors.As(err, &busy) || errors.As(err, &owed) || errors.Is(err, ports.ErrNoSpace) || errors.Is(err, revocation.ErrStale) || errors.Is(err, app.ErrStopping) || errors.Is(err, app.ErrIsolated) || errors.Is(err, app.ErrHeldBack) ||
		errors.Is(err, app.ErrSlow) || errors.Is(err, context.Canceled) && ctx.Err() != nil
}

// present turns the error of a field into what is told of it. A fault is logged once, here; whoever asked learns only the request's id.
func (a *API) present(ctx context.Context, err error) *gqlerror.Error {
	path := graphql.GetPath(ctx)
	var at []gqlerror.Location
	if told := (*gqlerror.Error)(nil); errors.As(err, &told) {
		path, at = told.Path, told.Locations
	}
	var r refusal
	known := true
	if shape := (*shapeError)(nil); errors.As(err, &shape) {
		field := "value"
		for _, step := range path {
			if name, ok := step.(ast.PathName); ok {
				field = string(name)
			}
		}
		r = refusal{Code: badInput, REST: "validation_failed", Detail: "the input is not valid", Fields: []fault{{field, shape.Error()}}}
	} else {
		r, known = refusalOf(err)
	}
	request := ""
	if v, ok := app.VisitOf(ctx); ok {
		request = v.Request().ID
	}
	if !known || r.Code == unavailable && !expected(ctx, err) {
		a.log.Error("A GraphQL field failed", "request_id", request, "field", path.String(), "code", r.Code, "error", err.Error())
	}
	if r.Code == unavailable && r.Retry == time.Second { // an outage: at its end not all come at once
		r.Retry += time.Duration((a.waiting.Add(1)-1)%apart) * time.Second
	}
	x := r.extensions()
	x["requestId"] = request
	return &gqlerror.Error{Message: r.Detail, Path: path, Locations: at, Extensions: x}
}

// rejected is what is told of a document that was not executed. Names are repeated, as far as they are short; values never are.
func rejected(list gqlerror.List) gqlerror.List {
	const most, long = 16, 200
	list = list[:min(len(list), most)]
	for i, e := range list {
		told := &gqlerror.Error{Message: e.Message, Locations: e.Locations, Extensions: e.Extensions, Path: e.Path}
		code, _ := e.Extensions["code"].(string)
		switch {
		case len(e.Path) > 0 && e.Path[0] == ast.PathName("variable"):
			told.Message = "a variable does not fit its type"
			told.Extensions = map[string]any{"code": badInput, "problem": "validation_failed", "fields": []fault{{cutText(e.Path[1:].String(), long), "does not fit its type"}}}
			told.Path = nil
		case e.Rule == "" && strings.HasPrefix(e.Message, "operation ") && strings.HasSuffix(e.Message, " not found"):
			told.Message = "operationName must be the name of one of the operations, and may be left out where there is but one"
		case code == errcode.ParseFailed:
			told.Message = "the document is not valid GraphQL"
		case e.Rule == "ValuesOfCorrectType", e.Rule == "VariablesInAllowedPosition":
			told.Message = "a value does not fit its type"
		default:
			told.Message = cutText(e.Message, long)
		}
		list[i] = told
	}
	return list
}

func cutText(s string, n int) string {
	if len(s) > n {
		return strings.ToValidUTF8(s[:n], "") + "…"
	}
	return s
}
