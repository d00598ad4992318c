package app

import (
	"context"
	"errors"

	"github.com/xteam/xteam/app/view"
	"github.com/xteam/xteam/domain/audit"
	"github.com/xteam/xteam/domain/revocation"
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
// token.ErrInvalid, token.ErrExpired, *revocation.RevokedError, revocation.ErrStale.
func (g *Guard) Admit(bearer string) (Caller, error) {
	if bearer == "" {
		return Caller{}, token.ErrMissing
	}
	claims, err := g.codec.Parse(bearer)
	if err != nil {
		return Caller{}, err
	}
	if err := g.policy.Check(claims, g.core.now()); err != nil {
		return Caller{}, err
	}
	if err := g.view.Check(claims); err != nil {
		return Caller{}, err
	}
	return Caller{claims}, nil
}

// Refused tells the journal of a request that Admit refused. Such events are told, not kept: anybody can make any number of them.
func (g *Guard) Refused(ctx context.Context, r Request, err error) {
	reason := RefusalCode(err)
	if reason == "" || reason == "token_missing" {
		return
	}
	e, eerr := g.core.event(r, audit.AccessRefused, audit.Warning, audit.Failure)
	if eerr != nil {
		return
	}
	e.Reason = reason
	if revoked := (*revocation.RevokedError)(nil); errors.As(err, &revoked) {
		e.Details = map[string]string{"revoked": revoked.Reason.String()}
	}
	g.core.Journal.Write(ctx, e)
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
	switch {
	case errors.Is(err, token.ErrMissing):
		return "token_missing"
	case errors.Is(err, token.ErrMalformed):
		return "token_malformed"
	case errors.Is(err, token.ErrInvalid):
		return "token_invalid"
	case errors.Is(err, token.ErrExpired):
		return "token_expired"
	case errors.As(err, &revoked):
		return "token_revoked"
	case errors.Is(err, revocation.ErrStale):
		return "revocations_stale"
	}
	return ""
}
