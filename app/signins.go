package app

import (
	"context"
	"errors"
	"slices"

	"github.com/xteam/xteam/domain/account"
	"github.com/xteam/xteam/domain/audit"
	"github.com/xteam/xteam/domain/id"
	"github.com/xteam/xteam/domain/session"
	"github.com/xteam/xteam/domain/token"
	"github.com/xteam/xteam/ports"
)

// Own answers the caller's sessions that go on, oldest first. A caller whose account is gone has a token that is worth nothing: token.ErrInvalid.
func (s *Sessions) Own(ctx context.Context, c Caller) ([]session.Session, error) {
	acct, err := s.core.Stores.Accounts.Find(ctx, c.User())
	if errors.Is(err, ports.ErrNotFound) {
		return nil, token.ErrInvalid
	} else if err != nil {
		return nil, err
	}
	return s.core.living(ctx, &acct)
}

// living are the sessions of an account that can still be refreshed, oldest first.
func (c *Core) living(ctx context.Context, a *account.Account) ([]session.Session, error) {
	all, err := c.Stores.Sessions.OfUser(ctx, a.ID)
	if err != nil {
		return nil, err
	}
	whole, err := c.Stores.System.Load(ctx)
	if err != nil {
		return nil, err
	}
	now := c.now()
	return slices.DeleteFunc(all, func(x session.Session) bool { return !lives(&x, a, whole, now) }), nil
}

// EndOwn ends a session of the caller's, be it the one that asks. Another's is ports.ErrNotFound, as one that never was; the journal alone is told of the attempt,
// for whoever is signed in can make any number of them.
func (s *Sessions) EndOwn(ctx context.Context, r Request, c Caller, sid id.Session) error {
	x, err := s.core.Stores.Sessions.Find(ctx, sid)
	if err != nil {
		return err
	}
	if x.User != c.User() { // a session never changes hands
		if e, err := s.core.event(r, audit.PermissionDenied, audit.Warning, audit.Failure); err == nil {
			e.Actor, e.Subject, e.Reason, e.Details = c.User().String(), x.User.String(), "foreign", map[string]string{"session": sid.String()}
			s.core.Journal.Write(ctx, e)
		}
		return ports.ErrNotFound
	}
	_, err = s.core.end(ctx, c.Actor(r), sid, "")
	return err
}
