package porttest

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/xteam/xteam/domain/id"
	"github.com/xteam/xteam/domain/instant"
	"github.com/xteam/xteam/domain/revocation"
	"github.com/xteam/xteam/domain/token"
	"github.com/xteam/xteam/ports"
)

// largestBatch is how many entries one delivery may hold: "bounded" must be some number.
const largestBatch = 10_000

// Revocations proves a ports.Revocations.
func Revocations(t *testing.T, open Open) {
	recording(t, open)
	following(t, open)
	sub(t, "a context that has ended ends every call with its error", func(t *testing.T) {
		s := opened(t, open)
		record(t, s, newEntry())
		ended(t, map[string]func(context.Context) error{
			"Record": func(ctx context.Context) error { return s.Revocations.Record(ctx, newEntry()) },
			"Follow": func(ctx context.Context) error {
				return s.Revocations.Follow(ctx, func(ports.News) error { return nil })
			},
		})
	})
	sub(t, "64 concurrent recorders: everything reaches two followers, one who was there before and one who came meanwhile", func(t *testing.T) {
		const each = 25
		s := opened(t, open)
		before := follow(t, s.Revocations, nil)
		before.started(t)
		all := make([][]revocation.Entry, crowd)
		var meanwhile *follower
		var once sync.Once
		together(crowd, func(i int) {
			for range each {
				e := newEntry()
				if err := s.Revocations.Record(t.Context(), e); err != nil {
					t.Errorf("Record: %v", err)
				}
				all[i] = append(all[i], e)
			}
			once.Do(func() { meanwhile = follow(t, s.Revocations, nil) })
		})
		for _, f := range []*follower{before, meanwhile} {
			for i := range all {
				f.has(t, all[i]...)
			}
		}
	})
}

// Finder proves that a store's Revocations are a ports.Finder.
func Finder(t *testing.T, open Open) {
	finder := func(t *testing.T, s Store) ports.Finder {
		f, ok := s.Revocations.(ports.Finder)
		if !ok {
			t.Fatal("its Revocations have no Find")
		}
		return f
	}
	find := func(t *testing.T, f ports.Finder, beginnings []string, want ...revocation.Entry) {
		t.Helper()
		got, err := f.Find(t.Context(), beginnings...)
		if err != nil {
			t.Fatalf("Find: %v", err)
		}
		all, found := map[string]revocation.Entry{}, map[string]revocation.Entry{}
		for _, e := range want {
			all[e.Key()] = e
		}
		for _, e := range got {
			found[e.Key()] = e
		}
		if diff := differ(all, found); diff != "" || len(got) != len(found) {
			t.Errorf("%d entries by %d texts (-want +got):\n%s", len(got), len(beginnings), diff)
		}
	}
	sub(t, "Find answers the entries of the keys, whole, and nothing for others", func(t *testing.T) {
		s := opened(t, open)
		f := finder(t, s)
		all := ofEachKind()
		record(t, s, append(all, newEntries(20)...)...)
		keys := []string{"\xff\xff", "\x7f"}
		for i := range all {
			keys = append(keys, all[i].Key())
		}
		find(t, f, append(keys, keys...), all...)
		other := newEntry()
		find(t, f, []string{other.Key()})
		find(t, f, nil)
	})
	sub(t, "a text that only begins a key answers all that begin so", func(t *testing.T) {
		s := opened(t, open)
		f := finder(t, s)
		of := func(user, last byte) revocation.Entry {
			e := newEntry()
			e.Kind, e.Token, e.Min = revocation.User, id.Token{}, token.Generation(last)
			for i := range e.User {
				e.User[i] = user
			}
			return e
		}
		before, one, two, next := of(0xfe, 0xff), of(0xff, 1), of(0xff, 0xff), newEntry()
		record(t, s, before, one, two, next)
		begins := one.Key()[:17]
		find(t, f, []string{begins}, one, two)
		find(t, f, []string{begins, one.Key(), before.Key()}, one, two, before)
		find(t, f, []string{one.Key()[:1]}, before, one, two)
	})
	sub(t, "Find takes any number of texts", func(t *testing.T) {
		s := opened(t, open)
		f := finder(t, s)
		all := newEntries(3000)
		record(t, s, all...)
		keys := make([]string, len(all))
		for i := range all {
			keys[i] = all[i].Key()
		}
		find(t, f, keys, all...)
	})
	sub(t, "a context that has ended ends Find with its error", func(t *testing.T) {
		s := opened(t, open)
		f := finder(t, s)
		ended(t, map[string]func(context.Context) error{"Find": func(ctx context.Context) error {
			_, err := f.Find(ctx, "\x01")
			return err
		}})
	})
}

func record(t testing.TB, s Store, entries ...revocation.Entry) {
	t.Helper()
	if err := s.Revocations.Record(t.Context(), entries...); err != nil {
		t.Fatalf("Record of %d entries: %v", len(entries), err)
	}
}

func checkLive(t testing.TB, s Store, want ...revocation.Entry) {
	t.Helper()
	all := map[string]revocation.Entry{}
	for _, e := range want {
		all[e.Key()] = e
	}
	if diff := differ(all, live(t, s.Revocations)); diff != "" {
		t.Errorf("what is live (-want +got):\n%s", diff)
	}
}

func recording(t *testing.T, open Open) {
	sub(t, "a new store holds nothing, and says so with Caught", func(t *testing.T) {
		s := opened(t, open)
		checkLive(t, s)
		record(t, s)
		checkLive(t, s)
	})
	sub(t, "an entry of each kind is kept whole", func(t *testing.T) {
		s := opened(t, open)
		all := ofEachKind()
		record(t, s, all...)
		checkLive(t, s, all...)
	})
	sub(t, "Record is idempotent: an entry that is here already stays as it is", func(t *testing.T) {
		s := opened(t, open)
		all := ofEachKind()
		record(t, s, all...)
		later := append([]revocation.Entry(nil), all...)
		for i := range later {
			later[i].Reason, later[i].By, later[i].Note = revocation.UserRevoked, "somebody else", ""
			later[i].At++
		}
		fresh := newEntry()
		record(t, s, append(later, fresh)...)
		record(t, s, all...)
		checkLive(t, s, append(all, fresh)...)
		twice := newEntry()
		again := twice
		again.Note = "again, in the same call"
		record(t, s, twice, again)
		checkLive(t, s, append(all, fresh, twice)...)
	})
	sub(t, "an entry that withdraws other tokens is another entry", func(t *testing.T) {
		s := opened(t, open)
		a := ofEachKind()[2]
		b := a
		b.Min++
		record(t, s, a, b)
		checkLive(t, s, a, b)
	})
	sub(t, "Record refuses an invalid entry with ErrInvalid, and then stores none of the call's", func(t *testing.T) {
		s := opened(t, open)
		kept := newEntry()
		record(t, s, kept)
		for _, at := range []int{0, 5, 9} {
			all := newEntries(10)
			all[at].Reason = 0
			if err := s.Revocations.Record(t.Context(), all...); !errors.Is(err, revocation.ErrInvalid) {
				t.Errorf("Record with an invalid entry at place %d: got error %v, want revocation.ErrInvalid", at, err)
			}
		}
		large := newEntries(10_000)
		large[9_999] = revocation.Entry{}
		if err := s.Revocations.Record(t.Context(), large...); !errors.Is(err, revocation.ErrInvalid) {
			t.Errorf("Record of 10,000 entries, the last invalid: got error %v, want revocation.ErrInvalid", err)
		}
		checkLive(t, s, kept)
	})
	sub(t, "a call of any length is taken, and delivered in batches of bounded size", func(t *testing.T) {
		const many = 20_000
		s := opened(t, open)
		f := follow(t, s.Revocations, nil)
		all := newEntries(many)
		for i := range all { // as long as they may be
			all[i].By, all[i].Note = strings.Repeat("b", 64), strings.Repeat("n", 500)
		}
		record(t, s, all...)
		f.has(t, all...)
		g := follow(t, s.Revocations, nil)
		if got := g.started(t); got != many {
			t.Errorf("delivered up to the first Caught: got %d, want %d", got, many)
		}
		for _, f := range []*follower{f, g} {
			f.stop(t)
			if f.biggest > largestBatch {
				t.Errorf("entries in one delivery: got %d, want at most %d", f.biggest, largestBatch)
			}
		}
	})
	sub(t, "an entry is delivered until its Until has passed, and by the truth for a day longer, by a clock that is less than a day ahead too, also when what is over was dropped", func(t *testing.T) {
		s := opened(t, open)
		ended := func(ago time.Duration) revocation.Entry {
			e := newEntry()
			e.Until = wall().Add(-ago) // or so it looks when the clock has jumped
			e.At = e.Until.Add(-time.Hour)
			return e
		}
		far, last := newEntry(), newEntry()
		far.Until, last.Until = wall().Add(400*24*time.Hour), instant.Forever-1
		all := []revocation.Entry{ended(time.Minute), ended(23 * time.Hour), far, last}
		if s.System != nil { // the truth: a day after its Until, by a clock that is less than a day ahead
			all = append(all, ended(46*time.Hour))
		}
		record(t, s, all...)
		checkLive(t, s, all...)
		if s.Sweep != nil {
			if err := s.Sweep(); err != nil {
				t.Fatalf("Sweep: %v", err)
			}
			checkLive(t, s, all...)
		}
	})
	sub(t, "entries are the caller's own: what is changed after the call is not changed in the store", func(t *testing.T) {
		s := opened(t, open)
		want := ofEachKind()
		given := append([]revocation.Entry(nil), want...)
		record(t, s, given...)
		for i := range given {
			given[i] = newEntry()
		}
		checkLive(t, s, want...)
		scribbled := follow(t, s.Revocations, func(n ports.News) {
			for i := range n.Entries {
				n.Entries[i] = newEntry()
			}
		})
		scribbled.started(t)
		checkLive(t, s, want...)
	})
}

func following(t *testing.T, open Open) {
	sub(t, "Follow delivers what is live before the first Caught, and then everything new", func(t *testing.T) {
		s := opened(t, open)
		old := newEntries(50)
		record(t, s, old...)
		f := follow(t, s.Revocations, nil)
		if got := f.started(t); got != len(old) {
			t.Errorf("delivered up to the first Caught: got %d, want %d", got, len(old))
		}
		for range 20 {
			e := newEntry()
			record(t, s, e)
			f.has(t, e)
		}
	})
	sub(t, "following again begins again with everything that is live, for several at once", func(t *testing.T) {
		s := opened(t, open)
		all := newEntries(10)
		record(t, s, all...)
		for range 3 {
			f := follow(t, s.Revocations, nil)
			f.has(t, all...)
			f.stop(t)
		}
		fs := []*follower{follow(t, s.Revocations, nil), follow(t, s.Revocations, nil), follow(t, s.Revocations, nil)}
		fs[1].stop(t)
		e := newEntry()
		record(t, s, e)
		fs[0].has(t, append(all, e)...)
		fs[2].has(t, append(all, e)...)
	})
	sub(t, "when there is nothing new, Caught comes alone, at least once a second", func(t *testing.T) {
		s := opened(t, open)
		record(t, s, newEntry())
		const beats = 4
		start := time.Now()
		f := follow(t, s.Revocations, nil)
		f.started(t)
		f.until(t, "Caught several times, with nothing new", func() bool { return f.caught >= beats })
		// Three of them are due in three seconds; the rest is for a machine that does something else.
		if took := time.Since(start); took > 15*time.Second {
			t.Errorf("%d times Caught took %v, want one at least each second", beats, took)
		}
	})
	sub(t, "the context's end ends Follow with the context's error", func(t *testing.T) {
		s := opened(t, open)
		record(t, s, newEntry())
		f := follow(t, s.Revocations, nil)
		f.started(t)
		f.stop(t)
		if !errors.Is(f.err, context.Canceled) {
			t.Errorf("Follow: got error %v, want context.Canceled", f.err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		if err := s.Revocations.Follow(ctx, func(ports.News) error { return nil }); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Follow: got error %v, want context.DeadlineExceeded", err)
		}
	})
	sub(t, "an error of the function ends Follow with it", func(t *testing.T) {
		s := opened(t, open)
		record(t, s, newEntries(5)...)
		calls, refusal := 0, errors.New("refused")
		err := s.Revocations.Follow(t.Context(), func(ports.News) error { calls++; return refusal })
		if !errors.Is(err, refusal) || calls != 1 {
			t.Errorf("Follow: got error %v after %d calls, want the function's own after 1", err, calls)
		}
		calls = 0
		err = s.Revocations.Follow(t.Context(), func(n ports.News) error {
			if calls++; n.Caught && len(n.Entries) == 0 {
				return refusal // at a heartbeat
			}
			return nil
		})
		if !errors.Is(err, refusal) {
			t.Errorf("Follow: got error %v, want the function's own", err)
		}
	})
	sub(t, "a follower that is slow holds up nobody and loses nothing", func(t *testing.T) {
		s := opened(t, open)
		entered, held := make(chan struct{}), make(chan struct{})
		release := sync.OnceFunc(func() { close(held) })
		var once sync.Once
		slow := follow(t, s.Revocations, func(ports.News) {
			once.Do(func() { close(entered) })
			<-held
		})
		t.Cleanup(release) // before the follower is stopped
		<-entered
		quick := follow(t, s.Revocations, nil)
		var all []revocation.Entry
		for range 20 {
			part := newEntries(200)
			record(t, s, part...)
			all = append(all, part...)
		}
		quick.has(t, all...)
		release()
		slow.has(t, all...)
	})
	sub(t, "Caught is true: what was recorded before a round began has been delivered when it ends", func(t *testing.T) {
		const writers, each = 8, 60
		s := opened(t, open)
		var mu sync.Mutex
		var done, due []string // keys of entries whose Record has returned; of those, how many had when the last round ended
		seen := map[string]bool{}
		var missed int
		f := follow(t, s.Revocations, func(n ports.News) {
			mu.Lock()
			defer mu.Unlock()
			for i := range n.Entries {
				seen[n.Entries[i].Key()] = true
			}
			if !n.Caught {
				return
			}
			for _, key := range due { // this round began after the last one ended
				if !seen[key] {
					missed++
				}
			}
			due = append(due[:0:0], done...)
		})
		f.started(t)
		together(writers, func(int) {
			for range each {
				e := newEntry()
				if err := s.Revocations.Record(t.Context(), e); err != nil {
					t.Errorf("Record: %v", err)
				}
				mu.Lock()
				done = append(done, e.Key())
				mu.Unlock()
			}
		})
		f.mu.Lock()
		sofar := f.caught
		f.mu.Unlock()
		f.until(t, "two more rounds", func() bool { return f.caught >= sofar+3 })
		mu.Lock()
		defer mu.Unlock()
		if missed > 0 {
			t.Errorf("entries that were recorded before a round began and not delivered when it said Caught: %d", missed)
		}
		if got, want := len(seen), writers*each; got != want {
			t.Errorf("delivered: got %d, want %d", got, want)
		}
	})
}
