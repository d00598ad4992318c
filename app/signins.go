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
	x, err := glance(ctx, s.core, func(ctx context.Context) (session.Session, error) { return s.core.Stores.Sessions.Find(ctx, sid) })
	if s.core.Pending != nil && outage(err) && !c.IsKey() && sid == c.Session() { // the one that asks is its own for certain
		x.User, err = c.User(), nil
	}
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

// Place is where in a list of sessions a page begins: behind the session of that name. The zero Place is the start.
type Place = session.Place

// pageLooked is how many sessions are looked at for one page: few that go on among many that do not are no reason to read them all at once.
const pageLooked = 500

// Page answers at most limit sessions that go on, in the order of their users and then oldest first: those of one user or, of the zero id, of everybody. They begin
// behind a place, and next is where the next page begins, when there is one. A page of everybody's may hold fewer than limit, and none at all, before the last. A user
// that is not there is ports.ErrNotFound.
func (s *Sessions) Page(ctx context.Context, of id.User, behind Place, limit int) (page []session.Session, next Place, more bool, err error) {
	if !of.IsZero() {
		acct, err := s.core.Stores.Accounts.Find(ctx, of)
		if err != nil {
			return nil, next, false, err
		}
		page, err = s.behind(ctx, &acct, behind, page, limit)
		return cutPage(page, limit, err)
	}
	whole, err := s.core.Stores.System.Load(ctx)
	if err != nil {
		return nil, next, false, err
	}
	now, some := s.core.now(), max(limit+1, 100)
	for looked := 0; looked < pageLooked; {
		all, err := s.core.Stores.Sessions.List(ctx, behind, some)
		if err != nil {
			return nil, next, false, err
		}
		for i := range all {
			x := &all[i]
			behind = x.Session.Place()
			if !lives(&x.Session, &x.Account, whole, now) {
				continue
			}
			if page = append(page, x.Session); len(page) > limit {
				return cutPage(page, limit, nil)
			}
		}
		if looked += len(all); len(all) < some {
			return page, next, false, nil
		}
	}
	return page, behind, true, nil
}

// behind adds to a page the sessions of an account that go on and were begun behind a place, one more than the limit at most.
func (s *Sessions) behind(ctx context.Context, a *account.Account, behind Place, page []session.Session, limit int) ([]session.Session, error) {
	all, err := s.core.living(ctx, a)
	for i := range all {
		if x := &all[i]; len(page) <= limit && x.Place().Compare(behind) > 0 {
			page = append(page, *x)
		}
	}
	return page, err
}

// cutPage is a page of one more than limit without that one, and where it begins.
func cutPage(page []session.Session, limit int, err error) ([]session.Session, Place, bool, error) {
	if err != nil || len(page) <= limit {
		return page, Place{}, false, err
	}
	page = page[:limit]
	return page, page[limit-1].Place(), true, nil
}
