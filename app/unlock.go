package app

import (
	"context"
	"net/netip"
	"slices"

	"github.com/xteam/xteam/domain/account"
	"github.com/xteam/xteam/domain/audit"
	"github.com/xteam/xteam/domain/id"
	"github.com/xteam/xteam/ports"
)

// Unlock forgets the wrong passwords that were tried at an account, from wherever: its brake is as it was before them. An account that has none is left as it is.
func (a *Accounts) Unlock(ctx context.Context, by Actor, uid id.User) error {
	c := a.core
	acct, err := c.Stores.Accounts.Find(ctx, uid)
	if err != nil {
		return err
	}
	e, err := c.event(by.Request, audit.AccountUnlocked, audit.Info, audit.Success)
	if err != nil {
		return err
	}
	e.Subject = uid.String()
	by.signs(&e)
	if l := c.Limiter; l != nil {
		spent, err := l.attemptsAt(ctx, c, &acct)
		if err != nil {
			return err
		}
		for some := range slices.Chunk(spent, 8) { // as many as Give takes
			if err := l.buckets.Give(ctx, c.now(), some...); err != nil {
				return err
			}
		}
	}
	return c.tell(ctx, e)
}

// attemptsAt are the buckets of attempts at an account, all full: of strange networks, and of each that it is known to sign in from. Of one that only the account remembers, which has no name there, it is full where somebody tried from it.
func (l *Limiter) attemptsAt(ctx context.Context, c *Core, acct *account.Account) ([]ports.Demand, error) {
	who := acct.ID.String()
	k, p := l.networks.of(who), &l.attempts
	full := ports.Demand{Key: p.Name + " " + who, Limit: p.Limit, N: p.Limit.Capacity}
	if _, err := k.knows(ctx, c, acct, netip.Prefix{}); err != nil {
		return nil, err
	}
	return append([]ports.Demand{full}, k.demands(full)...), nil
}

// demands are full again for each network that is known.
func (k *known) demands(full ports.Demand) (all []ports.Demand) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for p := range k.nets {
		d := full
		d.Key += " " + p.String()
		all = append(all, d)
	}
	return all
}
