package porttest

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/xteam/xteam/domain/instant"
	"github.com/xteam/xteam/domain/revocation"
	"github.com/xteam/xteam/ports"
)

// keeper is what the ports of state have in common: values of type V that are created, updated by a function and found, by a key.
type keeper[K comparable, V any] struct {
	create func(context.Context, V, ports.Effects) error // nil when the one value always exists
	update func(context.Context, K, func(V) (V, ports.Effects, error)) error
	find   func(context.Context, K) (V, error)
	key    func(V) K
	fresh  func() V      // a value that is not in the store yet, no field zero; nil with create
	count  func(V) int64 // a number in it
	bump   func(V) V     // adds one to the number, on a copy
	// scribble changes in place what v refers to; nil when a V refers to nothing.
	scribble func(v V)
	// moved are the changes of identity that an update must not make.
	moved map[string]func(V) V
}

// made is a value that the store holds.
func (k keeper[K, V]) made(t testing.TB) V {
	t.Helper()
	if k.create == nil {
		v, err := k.find(t.Context(), *new(K))
		if err != nil {
			t.Fatalf("Find: %v", err)
		}
		return v
	}
	v := k.fresh()
	if err := k.create(t.Context(), v, ports.Effects{}); err != nil {
		t.Fatalf("Create: %v", err)
	}
	return v
}

// holds demands that the store holds exactly that value.
func (k keeper[K, V]) holds(t testing.TB, want V) {
	t.Helper()
	got, err := k.find(t.Context(), k.key(want))
	if err != nil {
		t.Errorf("Find: %v", err)
		return
	}
	if diff := differ(want, got); diff != "" {
		t.Errorf("what the store holds (-want +got):\n%s", diff)
	}
}

// keeping proves what holds for every port of state.
func keeping[K comparable, V any](t *testing.T, open Open, of func(Store) keeper[K, V]) {
	if of(Store{}).create != nil {
		creating(t, open, of)
	}
	updating(t, open, of)
	refusing(t, open, of)
	contending(t, open, of)
	owning(t, open, of)
}

func creating[K comparable, V any](t *testing.T, open Open, of func(Store) keeper[K, V]) {
	sub(t, "Create stores a new value whole, with its effects", func(t *testing.T) {
		s := opened(t, open)
		k := of(s)
		v, e := k.fresh(), newEffects()
		if err := k.create(t.Context(), v, e); err != nil {
			t.Fatalf("Create: %v", err)
		}
		k.holds(t, v)
		checkEffects(t, s, e, true)
	})
	sub(t, "Create of what exists is ErrTaken and stores nothing", func(t *testing.T) {
		s := opened(t, open)
		k := of(s)
		v, e := k.made(t), newEffects()
		if err := k.create(t.Context(), k.bump(v), e); !errors.Is(err, ports.ErrTaken) {
			t.Errorf("Create of what exists: got error %v, want ErrTaken", err)
		}
		k.holds(t, v)
		checkEffects(t, s, e, false)
	})
	sub(t, "of concurrent creations of one exactly one succeeds", func(t *testing.T) {
		s := opened(t, open)
		k := of(s)
		v := k.fresh()
		var made atomic.Int64
		effects := make([]ports.Effects, crowd)
		values := make([]V, crowd)
		won := make([]bool, crowd)
		for i := range values {
			effects[i], values[i], v = newEffects(), v, k.bump(v)
		}
		together(crowd, func(i int) {
			switch err := k.create(t.Context(), values[i], effects[i]); {
			case err == nil:
				made.Add(1)
				won[i] = true
			case !errors.Is(err, ports.ErrTaken):
				t.Errorf("Create of what another creates: got error %v, want ErrTaken", err)
			}
		})
		if got := made.Load(); got != 1 {
			t.Errorf("concurrent creations: got %d successes, want 1", got)
		}
		var lost ports.Effects
		for i := range won {
			if won[i] {
				k.holds(t, values[i])
				checkEffects(t, s, effects[i], true)
			} else {
				lost = also(lost, effects[i])
			}
		}
		checkEffects(t, s, lost, false)
	})
	sub(t, "Find and Update of what is missing are ErrNotFound, and the function does not run", func(t *testing.T) {
		s := opened(t, open)
		k := of(s)
		k.made(t)
		missing, ran := k.key(k.fresh()), false
		if _, err := k.find(t.Context(), missing); !errors.Is(err, ports.ErrNotFound) {
			t.Errorf("Find of what is missing: got error %v, want ErrNotFound", err)
		}
		e := newEffects()
		err := k.update(t.Context(), missing, func(v V) (V, ports.Effects, error) { ran = true; return v, e, nil })
		if !errors.Is(err, ports.ErrNotFound) || ran {
			t.Errorf("Update of what is missing: got error %v and the function run: %v, want ErrNotFound and false", err, ran)
		}
		if _, err := k.find(t.Context(), missing); !errors.Is(err, ports.ErrNotFound) {
			t.Errorf("Find after the update of what is missing: got error %v, want ErrNotFound", err)
		}
		checkEffects(t, s, e, false)
	})
}

func updating[K comparable, V any](t *testing.T, open Open, of func(Store) keeper[K, V]) {
	sub(t, "Update hands over what was committed last and stores what the function makes of it, with its effects", func(t *testing.T) {
		s := opened(t, open)
		k := of(s)
		v := k.made(t)
		var all ports.Effects
		for range 5 {
			e := newEffects()
			if err := k.update(t.Context(), k.key(v), func(got V) (V, ports.Effects, error) {
				if diff := differ(v, got); diff != "" {
					t.Errorf("what the function was handed (-want +got):\n%s", diff)
				}
				return k.bump(got), e, nil
			}); err != nil {
				t.Fatalf("Update: %v", err)
			}
			v = k.bump(v)
			k.holds(t, v)
			all = also(all, e)
		}
		checkEffects(t, s, all, true)
	})
	sub(t, "many effects are committed as a few are", func(t *testing.T) {
		s := opened(t, open)
		k := of(s)
		v, e := k.made(t), ports.Effects{Revocations: append(newEntries(300), ofEachKind()...), Events: newEvents(300)}
		if err := k.update(t.Context(), k.key(v), func(got V) (V, ports.Effects, error) { return k.bump(got), e, nil }); err != nil {
			t.Fatalf("Update: %v", err)
		}
		k.holds(t, k.bump(v))
		checkEffects(t, s, e, true)
	})
	sub(t, "a revocation that is here already is no obstacle", func(t *testing.T) {
		s := opened(t, open)
		k := of(s)
		v, e := k.made(t), newEffects()
		if err := s.Revocations.Record(t.Context(), e.Revocations...); err != nil {
			t.Fatalf("Record: %v", err)
		}
		if err := k.update(t.Context(), k.key(v), func(got V) (V, ports.Effects, error) { return k.bump(got), e, nil }); err != nil {
			t.Fatalf("Update: %v", err)
		}
		k.holds(t, k.bump(v))
		checkEffects(t, s, e, true)
	})
	sub(t, "effects reach one who follows already", func(t *testing.T) {
		s := opened(t, open)
		k := of(s)
		v, e := k.made(t), newEffects()
		f := follow(t, s.Revocations, nil)
		f.started(t)
		if err := k.update(t.Context(), k.key(v), func(got V) (V, ports.Effects, error) { return k.bump(got), e, nil }); err != nil {
			t.Fatalf("Update: %v", err)
		}
		f.has(t, e.Revocations...)
		if k.create != nil {
			e = newEffects()
			if err := k.create(t.Context(), k.fresh(), e); err != nil {
				t.Fatalf("Create: %v", err)
			}
			f.has(t, e.Revocations...)
		}
	})
}

func refusing[K comparable, V any](t *testing.T, open Open, of func(Store) keeper[K, V]) {
	sub(t, "the function's error is answered as it is, and nothing is stored", func(t *testing.T) {
		s := opened(t, open)
		k := of(s)
		v, e, refusal := k.made(t), newEffects(), errors.New("refused by the rule")
		err := k.update(t.Context(), k.key(v), func(got V) (V, ports.Effects, error) {
			if k.scribble != nil {
				k.scribble(got)
			}
			return k.bump(got), e, refusal
		})
		if err != refusal { //nolint:errorlint // as it is
			t.Errorf("Update: got error %v, want the function's own, unwrapped", err)
		}
		k.holds(t, v)
		checkEffects(t, s, e, false)
	})
	sub(t, "an invalid revocation among the effects is ErrInvalid, and nothing is stored", func(t *testing.T) {
		s := opened(t, open)
		k := of(s)
		v, e := k.made(t), newEffects()
		bad := ports.Effects{Revocations: append(newEntries(1), revocation.Entry{Kind: revocation.Token}), Events: e.Events}
		err := k.update(t.Context(), k.key(v), func(got V) (V, ports.Effects, error) { return k.bump(got), bad, nil })
		if !errors.Is(err, revocation.ErrInvalid) {
			t.Errorf("Update with an invalid revocation: got error %v, want revocation.ErrInvalid", err)
		}
		k.holds(t, v)
		bad.Revocations = bad.Revocations[:1]
		checkEffects(t, s, bad, false)
	})
	for what, move := range of(Store{}).moved {
		sub(t, what+" cannot change", func(t *testing.T) {
			s := opened(t, open)
			k := of(s)
			v, e := k.made(t), newEffects()
			to := move(v)
			err := k.update(t.Context(), k.key(v), func(V) (V, ports.Effects, error) { return to, e, nil })
			if err == nil {
				t.Errorf("Update that changes %s: got no error, want one", what)
			}
			k.holds(t, v)
			if k.key(to) != k.key(v) {
				if _, err := k.find(t.Context(), k.key(to)); !errors.Is(err, ports.ErrNotFound) {
					t.Errorf("Find under the other one: got error %v, want ErrNotFound", err)
				}
			}
			checkEffects(t, s, e, false)
		})
	}
	sub(t, "a context that has ended ends every call with its error", func(t *testing.T) {
		s := opened(t, open)
		k := of(s)
		v := k.made(t)
		ended(t, map[string]func(context.Context) error{
			"Find":   func(ctx context.Context) error { _, err := k.find(ctx, k.key(v)); return err },
			"Update": func(ctx context.Context) error { return k.update(ctx, k.key(v), unchanged[V]) },
		})
		if k.create != nil {
			ended(t, map[string]func(context.Context) error{
				"Create": func(ctx context.Context) error { return k.create(ctx, k.fresh(), ports.Effects{}) },
			})
		}
		k.holds(t, v)
	})
	sub(t, "a context that ends while the function runs leaves the change made whole or not at all", func(t *testing.T) {
		s := opened(t, open)
		k := of(s)
		for range 5 {
			v, e := k.made(t), newEffects()
			ctx, cancel := context.WithCancel(t.Context())
			err := k.update(ctx, k.key(v), func(got V) (V, ports.Effects, error) { cancel(); return k.bump(got), e, nil })
			if err != nil && !errors.Is(err, context.Canceled) {
				t.Errorf("Update: got error %v, want none or the context's", err)
			}
			got, findErr := k.find(t.Context(), k.key(v))
			if findErr != nil {
				t.Fatalf("Find: %v", findErr)
			}
			happened := k.count(got) != k.count(v)
			if err == nil && !happened {
				t.Error("Update succeeded, and nothing was stored")
			}
			checkEffects(t, s, e, happened)
		}
	})
}

func contending[K comparable, V any](t *testing.T, open Open, of func(Store) keeper[K, V]) {
	sub(t, "of concurrent updates of one value none is lost, and each run's effects are kept once or not at all", func(t *testing.T) {
		const rounds = 4
		s := opened(t, open)
		k := of(s)
		v := k.made(t)
		var all ports.Effects
		var mu sync.Mutex
		together(crowd, func(int) {
			for range rounds {
				var last ports.Effects
				var result int64
				if err := k.update(t.Context(), k.key(v), func(got V) (V, ports.Effects, error) {
					next := k.bump(got)
					result = k.count(next)
					last = newEffects()
					last.Revocations, last.Events = last.Revocations[:1], last.Events[:1]
					last.Events[0].Time = instant.Instant(result)
					return next, last, nil
				}); err != nil {
					t.Errorf("Update: %v", err)
					return
				}
				mu.Lock()
				all = also(all, last)
				mu.Unlock()
			}
		})
		got, err := k.find(t.Context(), k.key(v))
		if err != nil {
			t.Fatalf("Find: %v", err)
		}
		if got, want := k.count(got)-k.count(v), int64(crowd*rounds); got != want {
			t.Errorf("concurrent updates that add one: got %d added, want %d", got, want)
		}
		if got, want := len(live(t, s.Revocations)), crowd*rounds; got != want {
			t.Errorf("revocations of concurrent updates: got %d, want %d", got, want)
		}
		events := trail(t, s.Events)
		if got, want := len(events), crowd*rounds; got != want {
			t.Errorf("events of concurrent updates: got %d, want %d", got, want)
		}
		for i := range events { // the order of commits is that of the numbers
			if got, want := int64(events[i].Time), k.count(v)+int64(i)+1; got != want {
				t.Fatalf("the event at place %d: got that of update %d, want %d", i, got, want)
			}
		}
		mu.Lock()
		defer mu.Unlock()
		known := map[string]bool{}
		for _, e := range all.Events {
			known[e.ID.String()] = true
		}
		for _, e := range events {
			if !known[e.ID.String()] {
				t.Errorf("the event of a run that was not the last of its update was kept")
			}
		}
	})
	sub(t, "one who reads meanwhile sees the number rise and never fall", func(t *testing.T) {
		s := opened(t, open)
		k := of(s)
		v := k.made(t)
		stop := make(chan struct{})
		var readers sync.WaitGroup
		for range 4 {
			readers.Go(func() {
				for last := k.count(v); ; {
					got, err := k.find(t.Context(), k.key(v))
					if err != nil {
						t.Errorf("Find: %v", err)
						return
					}
					if k.count(got) < last {
						t.Errorf("Find: got number %d after %d", k.count(got), last)
						return
					}
					last = k.count(got)
					select {
					case <-stop:
						return
					default:
					}
				}
			})
		}
		together(8, func(int) {
			for range 20 {
				var wrote int64
				if err := k.update(t.Context(), k.key(v), func(got V) (V, ports.Effects, error) {
					got = k.bump(got)
					wrote = k.count(got)
					return got, ports.Effects{}, nil
				}); err != nil {
					t.Errorf("Update: %v", err)
				}
				if got, err := k.find(t.Context(), k.key(v)); err != nil || k.count(got) < wrote {
					t.Errorf("Find after the update to %d returned: got %d, %v", wrote, k.count(got), err)
				}
			}
		})
		close(stop)
		readers.Wait()
	})
}

func owning[K comparable, V any](t *testing.T, open Open, of func(Store) keeper[K, V]) {
	sub(t, "values are the caller's own: what is changed after the call is not changed in the store", func(t *testing.T) {
		s := opened(t, open)
		k := of(s)
		v := k.made(t)
		scribble := func(v V) {
			if k.scribble != nil {
				k.scribble(v)
			}
		}
		if k.create != nil {
			v = k.fresh()
			given := k.bump(v)
			want := k.bump(v) // of its own
			if err := k.create(t.Context(), given, ports.Effects{}); err != nil {
				t.Fatalf("Create: %v", err)
			}
			scribble(given)
			k.holds(t, want)
			v = want
		}
		got, err := k.find(t.Context(), k.key(v))
		if err != nil {
			t.Fatalf("Find: %v", err)
		}
		scribble(got)
		k.holds(t, v)

		e := newEffects()
		given := ports.Effects{Revocations: append([]revocation.Entry(nil), e.Revocations...), Events: newEvents(2)}
		copy(given.Events, e.Events)
		for i := range given.Events {
			given.Events[i].Details = map[string]string{"note": "own"}
			e.Events[i].Details = map[string]string{"note": "own"}
		}
		want := k.bump(v)
		next := k.bump(v)
		if err := k.update(t.Context(), k.key(v), func(got V) (V, ports.Effects, error) {
			scribble(got)
			return next, given, nil
		}); err != nil {
			t.Fatalf("Update: %v", err)
		}
		scribble(next)
		for i := range given.Revocations {
			given.Revocations[i] = newEntry()
			given.Events[i].Details["note"] = "scribbled"
			given.Events[i].Subject = "scribbled"
		}
		k.holds(t, want)
		checkEffects(t, s, e, true)
	})
}

func unchanged[V any](v V) (V, ports.Effects, error) { return v, ports.Effects{}, nil }

// ended demands of every call that a context that was cancelled, and one whose time is over, ends it with their error.
func ended(t *testing.T, calls map[string]func(context.Context) error) {
	t.Helper()
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	late, cancel := context.WithDeadline(t.Context(), time.Unix(1, 0))
	defer cancel()
	for name, call := range calls {
		if err := call(cancelled); !errors.Is(err, context.Canceled) {
			t.Errorf("%s with a cancelled context: got error %v, want context.Canceled", name, err)
		}
		if err := call(late); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%s with an expired context: got error %v, want context.DeadlineExceeded", name, err)
		}
	}
}

// together runs f n times at once and waits for all.
func together(n int, f func(i int)) {
	var wg sync.WaitGroup
	start := make(chan struct{})
	for i := range n {
		wg.Go(func() {
			<-start
			f(i)
		})
	}
	close(start)
	wg.Wait()
}
