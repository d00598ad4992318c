package app

import (
	"context"
	"errors"
	"strings"

	"github.com/xteam/xteam/domain/account"
	"github.com/xteam/xteam/domain/audit"
	"github.com/xteam/xteam/domain/secret"
	"github.com/xteam/xteam/domain/token"
	"github.com/xteam/xteam/ports"
)

// ErrPasswordNeeded says that a change asks for the current password, which was not given.
var ErrPasswordNeeded = errors.New("a new e-mail address asks for the current password")

// ChangeProfile gives the caller's account what differs of the profile, and answers the account. A new e-mail address asks for the current password: without one it is
// ErrPasswordNeeded, with a wrong one account.ErrCredentials, and after too many of them *AttemptsError, as in Login. A name that belongs to another is ports.ErrTaken, of which the journal is told: so one can be found
// out. Of all fields either each is changed or none.
func (s *Sessions) ChangeProfile(ctx context.Context, r Request, c Caller, p account.Profile, current secret.Text) (account.Account, error) {
	acct, err := s.core.Stores.Accounts.Find(ctx, c.User())
	if errors.Is(err, ports.ErrNotFound) {
		return acct, token.ErrInvalid
	} else if err != nil {
		return acct, err
	}
	checked := secret.Text{} // the hash that was compared, if one was
	var try *attempt
	if acct.NewEmail(p) {
		if current.IsZero() {
			return acct, ErrPasswordNeeded
		}
		if try, err = s.core.attempt(ctx, r, acct.Email.String(), &acct); err != nil {
			return acct, err
		}
		defer try.end(ctx)
		checked = acct.Password
		ok, _, err := s.core.Passwords.Compare(ctx, checked, current)
		if err != nil {
			return acct, err
		}
		if !ok {
			try.missed()
			return acct, s.failed(ctx, r, acct.Email.String(), &acct)
		}
	}
	is, err := s.changeProfile(ctx, r, c, p, checked)
	switch {
	case errors.Is(err, account.ErrCredentials): // changed by another meanwhile
		try.missed()
		return acct, s.failed(ctx, r, acct.Email.String(), &acct)
	case errors.Is(err, ports.ErrNotFound):
		return acct, token.ErrInvalid
	case errors.Is(err, ports.ErrTaken):
		if e, eerr := s.core.event(r, audit.ProfileChanged, audit.Warning, audit.Failure); eerr == nil {
			e.Actor, e.Subject, e.Reason = acct.ID.String(), acct.ID.String(), "taken"
			if p.Email != nil {
				e.Email = p.Email.String()
			}
			s.core.Journal.Write(ctx, e)
		}
	}
	return is, err
}

// changeProfile stores the change for an owner whose password had the hash checked, which is needed for a new e-mail address alone.
func (s *Sessions) changeProfile(ctx context.Context, r Request, c Caller, p account.Profile, checked secret.Text) (is account.Account, err error) {
	now := s.core.now()
	e, err := s.core.event(r, audit.ProfileChanged, audit.Info, audit.Success)
	if err != nil {
		return is, err
	}
	e.Actor, e.Subject = c.User().String(), c.User().String()
	var eff ports.Effects
	err = s.core.Stores.Accounts.Update(ctx, c.User(), func(a account.Account) (account.Account, ports.Effects, error) {
		eff = ports.Effects{}
		if a.Disabled || a.NewEmail(p) && !a.Password.Equal(checked) {
			return a, eff, account.ErrCredentials
		}
		next, changed := a.Change(p, now)
		is = next
		if changed == nil {
			return a, eff, errNothing
		}
		told := e
		told.Email, told.Details = next.Email.String(), map[string]string{"changed": strings.Join(changed, " ")}
		if a.NewEmail(p) {
			told.Kind, told.Severity, told.Details["previous_email"] = audit.EmailChanged, audit.Warning, a.Email.String()
		}
		eff = ports.Effects{Events: []audit.Event{told}}
		return next, eff, nil
	})
	if errors.Is(err, errNothing) {
		return is, nil
	} else if err != nil {
		return account.Account{}, err
	}
	s.core.felt(ctx, eff)
	return is, nil
}
