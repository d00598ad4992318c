package app

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/xteam/xteam/domain/alert"
	"github.com/xteam/xteam/domain/apikey"
	"github.com/xteam/xteam/domain/audit"
	"github.com/xteam/xteam/domain/id"
	"github.com/xteam/xteam/domain/instant"
	"github.com/xteam/xteam/domain/session"
	"github.com/xteam/xteam/ports"
)

const (
	// writers is how many keys are written down at a time: enough for a store that gathers, and few beside what else it does.
	writers = 16
	// flushEvery is how often uses are written down.
	flushEvery = time.Minute
	// warnEvery is how often one node of all looks for keys that end soon.
	warnEvery = 10 * time.Minute
	// warnPage is how many of them are read at a time.
	warnPage = 256
	// warnCursor is the name of the cursor by which nodes agree on who looks.
	warnCursor = "api-key-ends"
)

// Run writes down each minute how keys were used until ctx ends, and then once more; and sees to it that one node of all warns of keys that end soon.
func (a *APIKeys) Run(ctx context.Context) {
	var both sync.WaitGroup
	both.Go(func() { a.every(ctx, flushEvery, a.Flush) })
	both.Go(func() { a.every(ctx, flushEvery, a.WarnInTurn) })
	both.Wait()
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	_ = a.Flush(last)
}

func (a *APIKeys) every(ctx context.Context, pause time.Duration, f func(context.Context) error) {
	tick := time.NewTicker(pause)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			_ = f(ctx) // what is missing comes with the next; the store tells of its own state
		case <-ctx.Done():
			return
		}
	}
}

// Flush writes down how keys were used since it was last called: how often, when last, and from where; and records what is unusual about it, in the same step. Run does it each minute. What it could not write
// waits for the next time; what was not written down when the process dies is not counted.
func (a *APIKeys) Flush(ctx context.Context) error {
	todo := make(chan *usage)
	failed := make([]error, writers)
	var all sync.WaitGroup
	for i := range writers {
		all.Go(func() {
			for u := range todo {
				if err := a.writeDown(ctx, u); err != nil {
					failed[i] = err
				}
			}
		})
	}
	for _, u := range a.guard.keys.take() {
		todo <- u
	}
	close(todo)
	all.Wait()
	return errors.Join(failed...)
}

// writeDown adds the uses of one key to its record.
func (a *APIKeys) writeDown(ctx context.Context, u *usage) error {
	use, ok := u.take()
	if !ok {
		return nil
	}
	var eff ports.Effects
	err := a.core.Stores.APIKeys.Update(ctx, u.kid, func(k apikey.Key) (apikey.Key, ports.Effects, error) {
		eff = ports.Effects{}
		k, seen := k.Used(use)
		var err error
		eff.Events, err = a.noticed(&k, &use, seen)
		return k, eff, err
	})
	switch {
	case errors.Is(err, ports.ErrNotFound):
		return nil
	case err != nil:
		a.guard.keys.back(u, &use)
		return err
	}
	a.core.felt(ctx, eff)
	return nil
}

// noticed are the events of what is unusual about a key's uses.
func (a *APIKeys) noticed(k *apikey.Key, use *apikey.Use, seen apikey.Noticed) (events []audit.Event, err error) {
	tell := func(reason string, from session.Origin, details map[string]string) {
		e, failed := a.about(k, audit.APIKeyAnomaly, from)
		for name, text := range details {
			e.Details[name] = text
		}
		e.Reason, err = reason, errors.Join(err, failed)
		events = append(events, e)
	}
	for reason, networks := range map[string][]netip.Prefix{alert.NewNetwork: seen.Networks, alert.ManyNetworks: seen.Roams} { // never both
		if len(networks) == 0 {
			continue
		}
		last := networks[len(networks)-1]
		from := session.Origin{Address: last.Addr()}
		if use.From.Network() == last {
			from = use.From
		}
		tell(reason, from, map[string]string{"networks": joined(networks)})
	}
	if seen.Unusual {
		tell(alert.UnusualUse, use.From, map[string]string{"uses": strconv.FormatUint(k.Habit.Uses, 10), "usual": strconv.FormatUint(k.Habit.Usual(), 10)})
	}
	return events, err
}

// joined is the last networks as a text, as many as are kept for people to read.
func joined(all []netip.Prefix) string {
	all = all[max(0, len(all)-apikey.MaxNetworks):]
	texts := make([]string, len(all))
	for i, p := range all {
		texts[i] = p.String()
	}
	return strings.Join(texts, " ")
}

// about is an event of a key that nobody asked for.
func (a *APIKeys) about(k *apikey.Key, kind audit.Kind, from session.Origin) (audit.Event, error) {
	e, err := a.core.event(Request{Origin: from}, kind, audit.Warning, audit.Success)
	e.Actor, e.Subject = System, k.Owner.String()
	e.Details = map[string]string{"api_key": k.ID.String(), "name": k.Name.String()}
	return e, err
}

// WarnInTurn warns as Warn does unless this node or another has within ten minutes. Run calls it each minute.
func (a *APIKeys) WarnInTurn(ctx context.Context) error {
	now := a.core.now()
	c, err := a.core.Stores.Cursors.Find(ctx, warnCursor)
	if err != nil {
		return err
	}
	if c.Again > now && c.Again <= now.Add(warnEvery) { // later ones are of a node whose clock was ahead
		return nil
	}
	c.Again = now.Add(warnEvery)
	if _, err := a.core.Stores.Cursors.Swap(ctx, c); errors.Is(err, ports.ErrTaken) {
		return nil
	} else if err != nil {
		return err
	}
	return a.Warn(ctx)
}

// Warn records an event for each key that ends within 14 days, and another within one: each once, however many nodes do it at once, and whenever one dies at it.
func (a *APIKeys) Warn(ctx context.Context) error {
	now := a.core.now()
	var failed error
	for after := (id.APIKey{}); ; {
		page, err := a.core.Stores.APIKeys.Ending(ctx, now, now.Add(apikey.FirstWarning+time.Second), after, warnPage)
		if err != nil {
			return err
		}
		for i := range page {
			if err := a.warn(ctx, &page[i], now); err != nil {
				if ctx.Err() != nil {
					return err
				}
				failed = errors.Join(failed, fmt.Errorf("warn of the end of API key %s: %w", page[i].ID, err)) // it keeps nobody else from being warned
			}
			after = page[i].ID
		}
		if len(page) < warnPage {
			return failed
		}
	}
}

// warn records that a key ends soon, if its owner is to be told and it has not been told of.
func (a *APIKeys) warn(ctx context.Context, k *apikey.Key, now instant.Instant) error {
	if _, due := k.Warn(now); !due {
		return nil
	}
	acct, err := a.core.Stores.Accounts.Find(ctx, k.Owner)
	if errors.Is(err, ports.ErrNotFound) || err == nil && ownersEnd(k, &acct) != nil {
		return nil // it has ended with its owner's others
	} else if err != nil {
		return err
	}
	var eff ports.Effects
	err = a.core.Stores.APIKeys.Update(ctx, k.ID, func(k apikey.Key) (apikey.Key, ports.Effects, error) {
		eff = ports.Effects{}
		k, due := k.Warn(now)
		if !due {
			return k, eff, nil
		}
		e, err := a.about(&k, audit.APIKeyExpiring, session.Origin{})
		left := k.Expires.Sub(now)
		e.Details["expires"], e.Details["days"] = k.Expires.String(), strconv.Itoa(int((left+24*time.Hour-1)/(24*time.Hour)))
		eff.Events = []audit.Event{e}
		return k, eff, err
	})
	if errors.Is(err, ports.ErrNotFound) {
		return nil
	}
	if err == nil {
		a.core.felt(ctx, eff)
	}
	return err
}
