package app

import (
	"context"

	"github.com/xteam/xteam/domain/account"
	"github.com/xteam/xteam/domain/id"
	"github.com/xteam/xteam/domain/instant"
	"github.com/xteam/xteam/domain/revocation"
	"github.com/xteam/xteam/domain/system"
	"github.com/xteam/xteam/domain/token"
	"github.com/xteam/xteam/ports"
)

// A database that was set back to an earlier point, or that could not be told yet of what is in force, has lower numbers than revocations name. What is read of it is judged, and changed, as
// those revocations have it. Else a token by the lower numbers would be dead at birth, a refresh would bring back a session that was ended, and a number raised by one could stay below what
// tokens carry already, and withdraw nothing.

// known is an account as the revocations in force have it. What they may have ended has ended, API keys too: what else their change did is not known any more.
func (c *Core) known(a account.Account) account.Account {
	return knownTo(a, c.View.Least(a.ID, a.Generation))
}

func knownTo(a account.Account, least token.Generation) account.Account {
	if least <= a.Generation {
		return a
	}
	return a.RaiseTo(least, revocation.UserRevoked, true, a.Updated)
}

// whole is what the revocations in force say of the whole system.
type whole struct {
	epoch  token.Epoch
	before instant.Instant
}

func (c *Core) wholeNow() whole { return whole{c.View.Epoch(), c.View.IssuedBefore()} }

// of is a state as they have it. A state that knows of the epoch knows whether it ended sessions.
func (w whole) of(s system.State) system.State {
	s = s.Knows(&revocation.Entry{Kind: revocation.IssuedBefore, Before: w.before})
	if w.epoch > s.Epoch {
		s = s.Knows(&revocation.Entry{Kind: revocation.Epoch, Epoch: w.epoch})
	}
	return s
}

// account reads an account as the revocations in force have it. They are looked at first: one that comes in meanwhile may be of a change that is committed after the account was read.
func (c *Core) account(ctx context.Context, uid id.User) (account.Account, error) {
	least := c.View.Least(uid, 0)
	a, err := c.Stores.Accounts.Find(ctx, uid)
	if err != nil {
		return a, err
	}
	return knownTo(a, least), nil
}

// state is account for the state of the system.
func (c *Core) state(ctx context.Context) (system.State, error) {
	now := c.wholeNow()
	s, err := c.Stores.System.Load(ctx)
	if err != nil {
		return s, err
	}
	return now.of(s), nil
}

// caughtUp answers an account, which was read before, and the state of the system as the revocations in force have them, and stores what is new in that.
func (c *Core) caughtUp(ctx context.Context, acct account.Account) (account.Account, system.State, error) {
	if c.View.Least(acct.ID, acct.Generation) > acct.Generation {
		err := c.Stores.Accounts.Update(ctx, acct.ID, func(a account.Account) (account.Account, ports.Effects, error) {
			acct = c.known(a)
			return acct, ports.Effects{}, nil
		})
		if err != nil {
			return acct, system.State{}, err
		}
	}
	now := c.wholeNow()
	s, err := c.Stores.System.Load(ctx)
	if err != nil || now.of(s) == s {
		return acct, s, err
	}
	err = c.Stores.System.Update(ctx, func(is system.State) (system.State, ports.Effects, error) {
		s = c.wholeNow().of(is)
		return s, ports.Effects{}, nil
	})
	return acct, s, err
}
