package porttest

import (
	"context"
	"errors"
	"sync"
	"testing"

	"github.com/xteam/xteam/domain/account"
	"github.com/xteam/xteam/domain/apikey"
	"github.com/xteam/xteam/domain/audit"
	"github.com/xteam/xteam/domain/block"
	"github.com/xteam/xteam/domain/id"
	"github.com/xteam/xteam/domain/keyset"
	"github.com/xteam/xteam/domain/revocation"
	"github.com/xteam/xteam/domain/session"
	"github.com/xteam/xteam/domain/system"
	"github.com/xteam/xteam/ports"
)

// Durable proves that what a store acknowledged is there when it is opened again: after Close, after a Close in the midst of calls, and after its process
// was killed between any two writes.
func Durable(t *testing.T, open Open) { durable(t, open, Options{}.calls()) }

// calls are the system calls at which a child is killed.
func (o Options) calls() string {
	if o.Server {
		return "write"
	}
	return "msync,fsync,fdatasync"
}

func durable(t *testing.T, open Open, calls string) {
	sub(t, "what was there at Close is there when the store is opened again", func(t *testing.T) { reopening(t, open) })
	sub(t, "what was acknowledged before a Close in the midst of calls is there", func(t *testing.T) { closing(t, open) })
	sub(t, "what was acknowledged before the process was killed is there, and each change is there whole or not at all", func(t *testing.T) { killing(t, open, calls) })
}

func shut(t testing.TB, s Store) {
	t.Helper()
	if err := s.Close(); err != nil {
		t.Fatalf("Close: %v", err)
	}
}

func reopening(t *testing.T, open Open) {
	dir := t.TempDir()
	s := open(t, dir)
	renamed, a, v, k, r := newAccount(), newAccount(), newSession(), newAPIKey(), newRing()
	next := heir(k)
	kept, gone := newUpload(), newUpload()
	gone.Owner = kept.Owner
	state := system.State{Epoch: 7, LongestAccess: 1e9, SessionsFrom: 6, SessionsAfter: 5}
	var effects ports.Effects
	e := func() ports.Effects {
		e := newEffects()
		effects = also(effects, e)
		return e
	}
	do := func(call string, err error) {
		t.Helper()
		if err != nil {
			t.Fatalf("%s: %v", call, err)
		}
	}
	before := a
	before.Email, before.Username = renamed.Email, renamed.Username
	do("Accounts.Create", s.Accounts.Create(t.Context(), before, e()))
	do("Accounts.Update", s.Accounts.Update(t.Context(), a.ID, func(account.Account) (account.Account, ports.Effects, error) { return a, e(), nil }))
	do("Sessions.Create", s.Sessions.Create(t.Context(), v, e()))
	v = sessionsOf(s).bump(v)
	do("Sessions.Update", s.Sessions.Update(t.Context(), v.ID, func(session.Session) (session.Session, ports.Effects, error) { return v, e(), nil }))
	do("APIKeys.Create", s.APIKeys.Create(t.Context(), k, e()))
	k = apiKeysOf(s).bump(k)
	do("APIKeys.Update", s.APIKeys.Update(t.Context(), k.ID, func(apikey.Key) (apikey.Key, ports.Effects, error) { return k, e(), nil }))
	k = apiKeysOf(s).bump(k)
	do("APIKeys.Replace", s.APIKeys.Replace(t.Context(), k.ID, func(apikey.Key) (apikey.Key, apikey.Key, ports.Effects, error) { return k, next, e(), nil }))
	do("Uploads.Create", s.Uploads.Create(t.Context(), kept, e()))
	do("Uploads.Create", s.Uploads.Create(t.Context(), gone, e()))
	do("Uploads.Delete", s.Uploads.Delete(t.Context(), gone.ID, e()))
	do("Keys.Create", s.Keys.Create(t.Context(), r, e()))
	r = keysOf(s).bump(r)
	do("Keys.Update", s.Keys.Update(t.Context(), r.Name, func(keyset.Ring) (keyset.Ring, ports.Effects, error) { return r, e(), nil }))
	do("System.Update", s.System.Update(t.Context(), func(system.State) (system.State, ports.Effects, error) { return state, e(), nil }))
	blocked := blocksOf(s).bump(block.List{})
	do("Blocks.Update", s.Blocks.Update(t.Context(), func(block.List) (block.List, ports.Effects, error) { return blocked, e(), nil }))
	entries := ofEachKind()
	do("Revocations.Record", s.Revocations.Record(t.Context(), entries...))
	effects.Revocations = append(effects.Revocations, entries...)
	events := newEvents(3)
	do("Events.Record", s.Events.Record(t.Context(), events...))
	effects.Events = append(effects.Events, events...)
	links, head := behind(audit.Checkpoint{}, newEvents(5), 9)
	do("Trail.Append", s.Trail.Append(t.Context(), audit.Checkpoint{}, links, head))
	cut := audit.Checkpoint{Purpose: audit.Cut, Seq: 1, Time: wall()}
	do("TrailCare.Cut", s.TrailCare.Cut(t.Context(), cut))
	cursor := swap(t, s, newCursor("a"))

	for range 3 {
		_, last := trailBehind(t, s.Events, 0)
		shut(t, s)
		s = open(t, dir)
		accountsOf(s).holds(t, a)
		named(t, s, byEmail(a), a.ID)
		named(t, s, byName(a), a.ID)
		named(t, s, byEmail(renamed), id.User{})
		named(t, s, byName(renamed), id.User{})
		sessionsOf(s).holds(t, v)
		if all, err := s.Sessions.OfUser(t.Context(), v.User); err != nil || len(all) != 1 {
			t.Errorf("OfUser: got %d, error %v, want 1", len(all), err)
		}
		apiKeysOf(s).holds(t, k)
		apiKeysOf(s).holds(t, next)
		if all, err := s.APIKeys.OfUser(t.Context(), k.Owner); err != nil || len(all) != 2 {
			t.Errorf("OfUser of API keys: got %d, error %v, want 2", len(all), err)
		}
		holdsUploads(t, s, kept.Owner, kept)
		keysOf(s).holds(t, r)
		systemOf(s).holds(t, state)
		blocksOf(s).holds(t, blocked)
		checkLinks(t, s, links[1:])
		if h := headOf(t, s); h != (audit.Head{Last: head, Cut: cut}) {
			t.Errorf("the head of the trail: got %+v", h)
		}
		checkCursor(t, s, cursor)
		cursor = swap(t, s, cursor)
		checkLive(t, s, effects.Revocations...)
		if diff := differ(effects.Events, trail(t, s.Events)); diff != "" {
			t.Errorf("events (-want +got):\n%s", diff)
		}
		if err := s.Accounts.Create(t.Context(), clashes["the folded user name"](newAccount(), a), ports.Effects{}); !errors.Is(err, ports.ErrTaken) {
			t.Errorf("Create with a name of an account of before: got error %v, want ErrTaken", err)
		}

		// It goes on from there: positions of events keep rising.
		more := newEvents(1)
		do("Events.Record", s.Events.Record(t.Context(), more...))
		if got, _ := trailBehind(t, s.Events, last); differ(more, got) != "" {
			t.Errorf("List behind the last position of before: got %d events, want the one that came since", len(got))
		}
		effects.Events = append(effects.Events, more...)
		a.Generation++
		do("Accounts.Update", s.Accounts.Update(t.Context(), a.ID, func(account.Account) (account.Account, ports.Effects, error) { return a, e(), nil }))
	}
	shut(t, s)
}

// closing closes the store while it is written to. A call that comes too late fails; none hangs, and none that succeeded is lost.
func closing(t *testing.T, open Open) {
	dir := t.TempDir()
	for range 3 {
		s := open(t, dir)
		var mu sync.Mutex
		var acknowledged []revocation.Entry
		enough := make(chan struct{})
		var writers sync.WaitGroup
		for range 8 {
			writers.Go(func() {
				for {
					e := newEntry()
					if err := s.Revocations.Record(context.Background(), e); err != nil {
						return
					}
					mu.Lock()
					if acknowledged = append(acknowledged, e); len(acknowledged) == 100 {
						close(enough)
					}
					mu.Unlock()
				}
			})
		}
		<-enough
		shut(t, s)
		writers.Wait()
		s = open(t, dir)
		all := live(t, s.Revocations)
		lost := 0
		for _, e := range acknowledged {
			if _, ok := all[e.Key()]; !ok {
				lost++
			}
		}
		if lost > 0 {
			t.Errorf("acknowledged before Close and lost: %d of %d", lost, len(acknowledged))
		}
		shut(t, s)
	}
}
