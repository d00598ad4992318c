package porttest

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/xteam/xteam/domain/audit"
	"github.com/xteam/xteam/domain/revocation"
	"github.com/xteam/xteam/ports"
)

var errEnough = errors.New("that is enough")

// live is everything that a source of revocations holds now, by revocation.Entry.Key.
func live(t testing.TB, r ports.Revocations) map[string]revocation.Entry {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	all := map[string]revocation.Entry{}
	if err := r.Follow(ctx, func(n ports.News) error {
		for _, e := range n.Entries {
			all[e.Key()] = e
		}
		if n.Caught {
			return errEnough
		}
		return nil
	}); !errors.Is(err, errEnough) {
		t.Fatalf("Follow up to the first Caught: got error %v, want the function's own", err)
	}
	return all
}

// trail is all events of a store, in order.
func trail(t testing.TB, e ports.Events) []audit.Event {
	t.Helper()
	all, _ := trailBehind(t, e, 0)
	return all
}

// trailBehind is the events behind a position, and the last position.
func trailBehind(t testing.TB, e ports.Events, after uint64) (all []audit.Event, last uint64) {
	t.Helper()
	for {
		page, last, err := e.List(context.Background(), after, 500)
		if err != nil {
			t.Fatalf("Events.List behind %d: %v", after, err)
		}
		if len(page) == 0 {
			return all, after
		}
		if last <= after {
			t.Fatalf("Events.List behind %d: got last %d with %d events, want it higher", after, last, len(page))
		}
		all, after = append(all, page...), last
	}
}

// also is the effects of both.
func also(a, b ports.Effects) ports.Effects {
	return ports.Effects{Revocations: append(a.Revocations, b.Revocations...), Events: append(a.Events, b.Events...)}
}

// checkEffects demands that all of the effects are in the store, whole, or none of them.
func checkEffects(t testing.TB, s Store, e ports.Effects, there bool) {
	t.Helper()
	entries := live(t, s.Revocations)
	for _, want := range e.Revocations {
		got, ok := entries[want.Key()]
		if ok != there {
			t.Errorf("a revocation of the effects: in the store: got %v, want %v", ok, there)
		}
		if diff := differ(want, got); ok && diff != "" {
			t.Errorf("a revocation of the effects (-want +got):\n%s", diff)
		}
	}
	var found []audit.Event
	for _, got := range trail(t, s.Events) {
		for _, want := range e.Events {
			if got.ID == want.ID {
				found = append(found, got)
			}
		}
	}
	want := e.Events
	if !there {
		want = nil
	}
	if diff := differ(want, found); diff != "" {
		t.Errorf("the events of the effects (-want +got):\n%s", diff)
	}
}

// follower follows a source beside the test, and checks what holds for every delivery.
type follower struct {
	mu      sync.Mutex
	changed chan struct{} // closed, and replaced, at each delivery
	seen    map[string]revocation.Entry
	caught  int // deliveries with Caught
	first   int // entries seen by the first of them
	biggest int // entries in one delivery
	busy    bool
	overlap bool // fn was called while it ran
	hook    func(ports.News)
	done    chan struct{}
	err     error
	cancel  context.CancelFunc
}

// follow starts a follower, which ends with the test. hook, which may be nil, runs in each delivery.
func follow(t testing.TB, r ports.Revocations, hook func(ports.News)) *follower {
	ctx, cancel := context.WithCancel(context.Background())
	f := &follower{changed: make(chan struct{}), seen: map[string]revocation.Entry{}, hook: hook, done: make(chan struct{}), cancel: cancel}
	go func() {
		defer close(f.done)
		f.err = r.Follow(ctx, f.take)
	}()
	t.Cleanup(func() {
		f.stop(t)
		if f.overlap {
			t.Error("Follow called its function while it was running")
		}
	})
	return f
}

func (f *follower) take(n ports.News) error {
	f.mu.Lock()
	f.overlap = f.overlap || f.busy
	f.busy = true
	f.mu.Unlock()
	if f.hook != nil {
		f.hook(n)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.busy = false
	for _, e := range n.Entries {
		f.seen[e.Key()] = e
	}
	f.biggest = max(f.biggest, len(n.Entries))
	if n.Caught {
		if f.caught++; f.caught == 1 {
			f.first = len(f.seen)
		}
	}
	close(f.changed)
	f.changed = make(chan struct{})
	return nil
}

// until waits for a condition, which is looked at under the follower's lock after each delivery.
func (f *follower) until(t testing.TB, what string, condition func() bool) {
	t.Helper()
	deadline := time.NewTimer(patience)
	defer deadline.Stop()
	for {
		f.mu.Lock()
		ok, changed := condition(), f.changed
		f.mu.Unlock()
		if ok {
			return
		}
		select {
		case <-changed:
		case <-f.done:
			t.Fatalf("Follow ended (%v) before %s", f.err, what)
		case <-deadline.C:
			t.Fatalf("Follow: waited %v in vain for %s", patience, what)
		}
	}
}

// started waits for the first Caught and answers how many entries had been delivered by then.
func (f *follower) started(t testing.TB) int {
	t.Helper()
	f.until(t, "the first Caught", func() bool { return f.caught > 0 })
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.first
}

// has waits for entries and demands that they were delivered whole.
func (f *follower) has(t testing.TB, entries ...revocation.Entry) {
	t.Helper()
	f.until(t, "all entries were delivered", func() bool {
		for i := range entries {
			if _, ok := f.seen[entries[i].Key()]; !ok {
				return false
			}
		}
		return true
	})
	f.mu.Lock()
	defer f.mu.Unlock()
	for i := range entries {
		if diff := differ(entries[i], f.seen[entries[i].Key()]); diff != "" {
			t.Fatalf("a delivered entry (-recorded +delivered):\n%s", diff)
		}
	}
}

// stop ends the follower and waits for it.
func (f *follower) stop(t testing.TB) {
	t.Helper()
	f.cancel()
	select {
	case <-f.done:
	case <-time.After(patience):
		t.Fatalf("Follow: its context ended and it did not return within %v", patience)
	}
}
