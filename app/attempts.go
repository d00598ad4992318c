package app

import (
	"context"
	"encoding/hex"
	"errors"
	"net/netip"
	"sync"
	"time"

	"github.com/xteam/xteam/domain/account"
	"github.com/xteam/xteam/domain/audit"
	"github.com/xteam/xteam/domain/id"
	"github.com/xteam/xteam/domain/instant"
	"github.com/xteam/xteam/domain/session"
	"github.com/xteam/xteam/ports"
)

// AttemptsError refuses an attempt at an account's password before it is compared: there were too many wrong ones of late. It says the same of a name that
// does not exist.
type AttemptsError struct{ Verdict Verdict }

func (e *AttemptsError) Error() string { return "too many wrong passwords of late" }

const (
	attemptsPerMinute = 10                  // of each network that an account is known to sign in from, and of all others together
	knownFor          = 30 * 24 * time.Hour // since it was last signed in from there, or refreshed by a session that is still listed
	listedFor         = time.Minute         // before an account's sessions are listed anew
	rememberedMost    = 1024                // accounts
	networksMost      = 256                 // of one account
)

// attempt is one try at an account's password. It is paid for beforehand, since it must be refused before any hashing, and paid back unless it was wrong. A nil one costs
// nothing.
type attempt struct {
	core    *Core
	demand  ports.Demand
	who     string
	network netip.Prefix
	paid    bool // not while the buckets fail
	wrong   bool
}

// attempt charges a try at the password of the account that a login names; the zero one when there is none. The refusal is *AttemptsError. end is to be called when
// the try has been judged, or could not be.
func (c *Core) attempt(ctx context.Context, r Request, login string, acct *account.Account) (*attempt, error) {
	l, uid := c.Limiter, acct.ID
	if l == nil || l.mode == Off {
		return nil, nil
	}
	a := &attempt{core: c, who: uid.String(), network: r.Origin.Network()}
	if uid.IsZero() { // what was tried must not be read in the buckets
		mac, ok := c.MACs.MAC(c.MACs.Current(), []byte("attempts at "+login))
		if !ok {
			return nil, unavailable("name an account that does not exist", errors.New("the key is not held"))
		}
		a.who = hex.EncodeToString(mac[:16])
	}
	known, err := l.networks.of(a.who).knows(ctx, c, acct, a.network)
	if err != nil {
		return nil, err
	}
	p := &l.attempts
	a.demand = ports.Demand{Key: p.Name + " " + a.who, Limit: p.Limit, N: 1}
	if known {
		a.demand.Key += " " + a.network.String()
	}
	v, err := l.ask(ctx, []ports.Demand{a.demand}, []*Policy{p})
	if a.paid = v.Policy != nil; err != nil || !v.Exceeded {
		return a, err
	}
	c.exceededAttempts(ctx, r, login, uid, v)
	if l.mode == Shadow {
		return nil, nil
	}
	return nil, &AttemptsError{v}
}

// missed says that the password was wrong.
func (a *attempt) missed() {
	if a != nil {
		a.wrong = true
	}
}

// hit says that it was right, and that whoever tried is signed in.
func (a *attempt) hit() {
	if a != nil && a.network.IsValid() {
		a.core.Limiter.networks.of(a.who).add(a.network)
	}
}

// end pays the attempt back unless it was wrong.
func (a *attempt) end(ctx context.Context) {
	if a == nil || a.wrong || !a.paid {
		return
	}
	a.core.Limiter.heard(a.core.Limiter.buckets.Give(context.WithoutCancel(ctx), a.core.now(), a.demand))
}

func (c *Core) exceededAttempts(ctx context.Context, r Request, login string, uid id.User, v Verdict) {
	c.Limiter.guesses.note(ctx, v.bucket, refusal{kind: audit.AttemptsLimited, request: r, reason: "too_many_attempts", email: login, subject: uid})
}

// networks remembers which networks the accounts that are tried sign in from, so that a flood of tries does not have their sessions listed each time. What does not exist is
// remembered alike.
type networks struct {
	mu  sync.Mutex
	all map[string]*known
}

// of is what is remembered of one account, or is to be.
func (n *networks) of(who string) *known {
	n.mu.Lock()
	defer n.mu.Unlock()
	k, ok := n.all[who]
	if !ok {
		if n.all == nil {
			n.all = map[string]*known{}
		}
		for other := range n.all {
			if len(n.all) < rememberedMost {
				break
			}
			delete(n.all, other)
		}
		k = new(known)
		n.all[who] = k
	}
	return k
}

// known is the networks of one account.
type known struct {
	mu     sync.Mutex // held while the sessions are listed: others wait for the list
	listed instant.Instant
	nets   map[netip.Prefix]struct{}
}

// knows reports whether the account has signed in from a network.
func (k *known) knows(ctx context.Context, c *Core, acct *account.Account, p netip.Prefix) (bool, error) {
	now := c.now()
	k.mu.Lock()
	defer k.mu.Unlock()
	if age := now.Sub(k.listed); k.listed == 0 || age < 0 || age >= listedFor {
		all, err := c.Stores.Sessions.OfUser(ctx, acct.ID)
		if err != nil {
			return false, err
		}
		k.listed, k.nets = now, map[netip.Prefix]struct{}{}
		for i := len(all) - 1; i >= 0 && len(k.nets) < networksMost; i-- { // the newest first
			k.note(all[i].Device, all[i].Created, now)
			k.note(all[i].LastFrom, all[i].LastUsed, now)
		}
	}
	if acct.Knows(p, knownFor, now) && len(k.nets) < networksMost {
		k.nets[p] = struct{}{}
	}
	_, ok := k.nets[p]
	return ok && p.IsValid(), nil
}

func (k *known) note(o session.Origin, at, now instant.Instant) {
	if p := o.Network(); p.IsValid() && now.Sub(at) <= knownFor {
		k.nets[p] = struct{}{}
	}
}

func (k *known) add(p netip.Prefix) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.nets != nil && len(k.nets) < networksMost {
		k.nets[p] = struct{}{}
	}
}

// Remembered is of how many accounts the networks are remembered, those that do not exist included.
func (l *Limiter) Remembered() int {
	l.networks.mu.Lock()
	defer l.networks.mu.Unlock()
	return len(l.networks.all)
}
