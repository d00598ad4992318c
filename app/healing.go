package app

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"strconv"
	"sync"
	"time"

	"github.com/xteam/xteam/app/view"
	"github.com/xteam/xteam/domain/account"
	"github.com/xteam/xteam/domain/apikey"
	"github.com/xteam/xteam/domain/audit"
	"github.com/xteam/xteam/domain/instant"
	"github.com/xteam/xteam/domain/revocation"
	"github.com/xteam/xteam/domain/session"
	"github.com/xteam/xteam/domain/system"
	"github.com/xteam/xteam/ports"
)

const (
	// healers is how many records are mended at a time.
	healers = 16
	// owedPatience is how long a node that lives is waited for, that may owe the database what it lacks: it writes that down with what else it knows of it.
	owedPatience = 10 * time.Second
	// owedMemory is for how long such a node is remembered once it owes nothing any more, or is gone.
	owedMemory = 30 * time.Second
	// maxHealings bounds what waits to be told of; healingAgain is when it is tried again.
	maxHealings  = 64
	healingAgain = time.Second
)

// lostNote is why the epoch is raised by itself.
const lostNote = "the database was set back to an earlier point, and this node cannot know what else was lost"

// Healing sees to what sources of revocations have lost. Into the database goes, with the entries that it lacks, what they say of sessions, accounts, API keys and the whole system: a session whose end was
// lost would else live again once its entry is over. When nobody can vouch that these are all (a node finds, as it starts, that the database lacks what another source holds), the
// epoch is raised first, so that every client refreshes once. An event tells of each loss.
type Healing struct {
	core *Core
	log  *slog.Logger
	told chan view.Healing

	kept   Mark // nil: there is none
	at     mark // as it was stored last
	unkept bool // logged as not stored

	mu   sync.Mutex
	owed struct { // by nodes, to the database
		from        instant.Instant // the oldest
		first, last time.Time       // when that was heard
	}
}

// NewHealing makes itself known to the core. Run is to be running beside it.
func NewHealing(c *Core, log *slog.Logger) *Healing {
	h := &Healing{core: c, log: log, told: make(chan view.Healing, maxHealings)}
	c.Healing = h
	return h
}

// Heal makes it known to the core's view, which waits for that. It is to be called once, after the core's Nodes are there, who may know why the database lacks something.
func (h *Healing) Heal() {
	h.core.View.HealBy(view.Healer{Begin: h.begin, PutBack: h.putBack, Healed: h.healed, Owed: h.anyOwed})
}

// errOwed puts the healing off.
var errOwed = errors.New("another node has what the database lacks in force, and is about to write it down")

// begin raises the epoch when the database was set back and nobody can vouch for the rest. What a node that lives owes to the database was never there, and is not lost: that node is waited for; when it
// does not write it down, or has gone meanwhile, it is put back, and the epoch stays. Begin comes before the entries are put back: were the process to end between, the next start would see the
// loss again. Once they are back no start sees it.
func (h *Healing) begin(ctx context.Context, loss view.Healing) error {
	if !loss.Truth {
		return nil
	}
	owed, wait := h.isOwed(ctx, loss.Oldest)
	switch {
	case wait:
		return errOwed
	case owed, !loss.Unvouched:
		return nil
	}
	c := h.core
	now := c.now()
	e, err := c.event(Request{}, audit.EpochRaised, audit.Critical, audit.Success)
	if err != nil {
		return err
	}
	e.Actor, e.Reason, e.Details = System, revocation.EpochRaised.String(), map[string]string{"selector": revocation.Epoch.String(), "note": lostNote, "cause": cut(loss.Cause, maxNote)}
	var eff ports.Effects
	err = c.Stores.System.Update(ctx, func(s system.State) (system.State, ports.Effects, error) {
		s, entry := c.wholeNow().of(s).RaiseEpoch(System, lostNote, now)
		eff = ports.Effects{Revocations: []revocation.Entry{entry}, Events: []audit.Event{e}}
		return s, eff, nil
	})
	if err != nil {
		h.log.Error("The database was set back, and the epoch could not be raised yet", "error", err.Error())
		return err
	}
	h.log.Error("The database was set back, and nobody can vouch for what it lost: the epoch was raised, and every client refreshes once", "epoch", int64(eff.Revocations[0].Epoch), "cause", loss.Cause)
	c.felt(ctx, eff)
	return nil
}

// isOwed reports whether what is missing since a time may be what another node owes to the database, and whether that node is to be waited for. A node's entries are as old as it says, and it ran
// through whatever was lost since: what is younger it can vouch for.
func (h *Healing) isOwed(ctx context.Context, since instant.Instant) (owed, wait bool) {
	if h.core.Nodes == nil {
		return false, false
	}
	from, some := h.core.Nodes.owing(ctx)
	now := time.Now()
	h.mu.Lock()
	defer h.mu.Unlock()
	o := &h.owed
	if now.Sub(o.last) > owedMemory {
		o.from, o.first = 0, time.Time{}
	}
	if some {
		if o.first.IsZero() {
			o.from, o.first = from, now
		}
		o.from, o.last = min(o.from, from), now
	}
	owed = !o.first.IsZero() && o.from <= since
	return owed, owed && some && now.Sub(o.first) < owedPatience
}

// anyOwed reports whether a node that lives owes something to the database, or did a moment ago.
func (h *Healing) anyOwed(ctx context.Context) bool {
	owed, _ := h.isOwed(ctx, instant.Forever)
	return owed
}

// putBack records entries in the database, each with the change of state that it tells of.
func (h *Healing) putBack(ctx context.Context, entries []revocation.Entry) error {
	var bare []revocation.Entry // what no record belongs to, or one that does not open
	var mu sync.Mutex
	todo, failed := make(chan *revocation.Entry), make([]error, healers)
	var all sync.WaitGroup
	for i := range healers {
		all.Go(func() {
			for e := range todo {
				switch err := h.mend(ctx, e); {
				case errors.Is(err, errNothing), errors.Is(err, ports.ErrNotFound), errors.Is(err, ports.ErrDamaged): // a session that does not open is not refreshed either, nor does an account sign in
					mu.Lock()
					bare = append(bare, *e)
					mu.Unlock()
				case err != nil:
					failed[i] = err
				}
			}
		})
	}
	for i := range entries {
		todo <- &entries[i]
	}
	close(todo)
	all.Wait()
	err := cmp.Or(failed...)
	if len(bare) == 0 {
		return err
	}
	if failed := h.core.Stores.Revocations.Record(ctx, bare...); err == nil { // these too when a record fails, which may do so every time
		err = failed
	}
	return err
}

// mend makes one record agree with an entry, and stores both; errNothing when the entry names no record.
func (h *Healing) mend(ctx context.Context, e *revocation.Entry) error {
	s, eff := &h.core.Stores, ports.Effects{Revocations: []revocation.Entry{*e}}
	switch e.Kind {
	case revocation.Session:
		return s.Sessions.Update(ctx, e.Session, func(x session.Session) (session.Session, ports.Effects, error) {
			x, _ = x.End(e.Reason, session.End{Now: e.At + 1, Until: e.Until}) // so that nobody who owes it takes this for an attempt of theirs, of which the event is there
			return x, eff, nil
		})
	case revocation.User:
		return s.Accounts.Update(ctx, e.User, func(a account.Account) (account.Account, ports.Effects, error) {
			if a.Generation < e.Min {
				a = a.RaiseTo(e.Min, e.Reason, true, a.Updated)
			}
			return a, eff, nil
		})
	case revocation.APIKey:
		return s.APIKeys.Update(ctx, e.APIKey, func(k apikey.Key) (apikey.Key, ports.Effects, error) {
			k, _ = k.Revoke(e.Reason, apikey.Act{Now: e.At + 1, Until: e.Until}) // as above
			return k, eff, nil
		})
	case revocation.Epoch, revocation.IssuedBefore:
		return s.System.Update(ctx, func(is system.State) (system.State, ports.Effects, error) {
			if e.Kind == revocation.Epoch && is.Epoch >= e.Epoch {
				return is, eff, nil
			}
			return is.Knows(e), eff, nil
		})
	}
	return errNothing
}

func (h *Healing) healed(loss view.Healing) {
	select {
	case h.told <- loss:
	default: // the log tells of it
	}
}

// Run tells of what was put back, and moves the mark on, until ctx ends. What the database does not take is offered to it again.
func (h *Healing) Run(ctx context.Context) {
	tick := time.NewTicker(markEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastTry)
			defer cancel()
			h.moveOn(last)
			return
		case <-tick.C:
			h.moveOn(ctx)
		case loss := <-h.told:
			h.tell(ctx, loss)
		}
	}
}

func (h *Healing) tell(ctx context.Context, loss view.Healing) {
	again := time.NewTicker(healingAgain)
	defer again.Stop()
	for {
		e, err := h.core.event(Request{}, audit.SourceHealed, audit.Critical, audit.Success)
		if err == nil {
			e.Actor, e.Subject, e.Reason = System, loss.Source, "lost"
			e.Details = map[string]string{"source": loss.Source, "entries": strconv.Itoa(loss.Entries), "cause": cut(loss.Cause, maxNote)}
			if loss.Unreadable {
				e.Reason, e.Details["removed"] = "unreadable", strconv.Itoa(loss.Removed)
			}
			bounded, cancel := context.WithTimeout(ctx, owedTry)
			err = h.core.tell(bounded, e)
			cancel()
		}
		if err == nil {
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-again.C:
		}
	}
}
