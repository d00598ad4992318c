package app

import (
	"context"
	"errors"

	"github.com/xteam/xteam/app/view"
	"github.com/xteam/xteam/domain/audit"
	"github.com/xteam/xteam/domain/revocation"
	"github.com/xteam/xteam/domain/session"
	"github.com/xteam/xteam/domain/token"
	"github.com/xteam/xteam/ports"
)

// Guard decides whether a request that carries an access token is let in. It never leaves the process: the token's signature, its
// claims and the view of the revocations are all in memory.
type Guard struct {
	core   *Core
	codec  ports.Codec
	policy token.Policy
	view   *view.View
}

// NewGuard is a guard over the core's codec and view.
func NewGuard(c *Core) *Guard {
	return &Guard{core: c, codec: c.Codec, policy: c.Tunables.Policy(), view: c.View}
}

// Admit answers who the bearer of an access token is, or why the token is refused, in this order: token.ErrMissing, token.ErrMalformed,
// token.ErrInvalid, token.ErrExpired, *revocation.RevokedError, revocation.ErrStale. Beside the last three the caller is answered too, for the log alone: the
// token was good once, and says truly whose it was. One that is invalid names nobody.
func (g *Guard) Admit(bearer string) (Caller, error) {
	if bearer == "" {
		return Caller{}, token.ErrMissing
	}
	claims, err := g.codec.Parse(bearer)
	if err != nil {
		return Caller{}, err
	}
	if err := g.policy.Check(claims, g.core.now()); errors.Is(err, token.ErrExpired) {
		return Caller{claims}, err
	} else if err != nil {
		return Caller{}, err
	}
	return Caller{claims}, g.view.Check(claims)
}

// Refused tells the journal of a request for what that Admit refused with c and err.
func (g *Guard) Refused(ctx context.Context, r Request, c Caller, what string, err error) {
	details := map[string]string{"endpoint": cut(what, 200)}
	subject := ""
	if c.Claims != nil {
		subject, details["session"] = c.User().String(), c.Session().String()
	}
	g.core.refused(ctx, r, subject, details, err)
}

// Turned tells the journal of a request for what that its transport refused by itself, with the code of its answer, and that may be somebody's attack.
func (g *Guard) Turned(ctx context.Context, r Request, what, code string) {
	g.core.tellRefused(ctx, r, "", code, map[string]string{"endpoint": cut(what, 200)})
}

// refused tells the journal of a credential that was refused, unless err is a fault.
func (c *Core) refused(ctx context.Context, r Request, subject string, details map[string]string, err error) {
	reason := RefusalCode(err)
	if reason == "" || reason == "token_missing" {
		return
	}
	var revoked *revocation.RevokedError
	var ended *session.EndedError
	switch {
	case errors.As(err, &revoked):
		details["revoked"] = revoked.Reason.String()
	case errors.As(err, &ended):
		details["revoked"] = ended.Reason.String()
	}
	c.tellRefused(ctx, r, subject, reason, details)
}

// tellRefused tells the journal of a refusal. Such events are told, not kept, and those of one address, reason and subject that follow within
// the minute are only counted: anybody can make any number of them. The details are no longer the caller's.
func (c *Core) tellRefused(ctx context.Context, r Request, subject, reason string, details map[string]string) {
	e, err := c.event(r, audit.AccessRefused, audit.Warning, audit.Failure)
	if err != nil {
		return
	}
	e.Subject, e.Reason, e.Details = subject, reason, details
	whence := r.Origin.Address.Unmap().String()
	if !r.Origin.Address.Unmap().Is4() {
		whence = r.Origin.Network().String() // of a /64 any address is the same client's
	}
	if c.Limiter != nil && c.Limiter.refused.counted(reason+" "+subject+" "+whence, e, c.Now()) {
		return
	}
	c.Journal.Write(ctx, e)
}

// Denied records that a known caller asked for what they may not do, and answers ErrForbidden or the fault that kept it from being recorded.
func (g *Guard) Denied(ctx context.Context, r Request, c Caller, what string) error {
	e, err := g.core.event(r, audit.PermissionDenied, audit.Warning, audit.Failure)
	if err != nil {
		return err
	}
	e.Actor, e.Reason, e.Details = c.User().String(), "forbidden", map[string]string{"endpoint": cut(what, 200)}
	if err := g.core.tell(ctx, e); err != nil {
		return err
	}
	return ErrForbidden
}

// RefusalCode is the code of the contract for a refused access or refresh token, or empty for another error.
func RefusalCode(err error) string {
	var revoked *revocation.RevokedError
	var ended *session.EndedError
	switch {
	case errors.Is(err, token.ErrMissing):
		return "token_missing"
	case errors.Is(err, token.ErrMalformed):
		return "token_malformed"
	case errors.Is(err, token.ErrInvalid), errors.Is(err, session.ErrMalformed), errors.Is(err, session.ErrInvalid):
		return "token_invalid"
	case errors.Is(err, token.ErrExpired), errors.Is(err, session.ErrExpired):
		return "token_expired"
	case errors.As(err, &revoked), errors.As(err, &ended):
		return "token_revoked"
	case errors.Is(err, revocation.ErrStale):
		return "revocations_stale"
	}
	return ""
}
