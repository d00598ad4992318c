package passhash_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/xteam/xteam/adapters/passhash"
	"github.com/xteam/xteam/domain/secret"
	"github.com/xteam/xteam/ports"
)

// held is a hasher whose comparisons end when the test says so.
type held struct {
	*passhash.Hasher
	release chan struct{}
	results chan error
}

func newHeld(t *testing.T, o passhash.Options) *held {
	h := &held{newHasher(t, o), make(chan struct{}), make(chan error, 1000)}
	h.SetCompare(func(_, _ []byte) error { <-h.release; return nil })
	return h
}

// start begins a comparison whose error goes to results.
func (h *held) start(ctx context.Context) {
	go func() {
		_, _, err := h.Compare(ctx, secret.Text{}, secret.New("password"))
		h.results <- err
	}()
	synctest.Wait()
}

func (h *held) wantLoad(t *testing.T, running, waiting int) {
	t.Helper()
	synctest.Wait()
	if r, w := h.Load(); r != running || w != waiting {
		t.Fatalf("%d running, %d waiting; want %d and %d", r, w, running, waiting)
	}
}

func TestAFullGateRefusesAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHeld(t, passhash.Options{Gate: 2, Queue: 3})
		for range 5 {
			h.start(t.Context())
		}
		h.wantLoad(t, 2, 3)
		began, retries := time.Now(), map[time.Duration]bool{}
		for i := range 1000 {
			var err error
			if i%2 == 0 {
				_, _, err = h.Compare(t.Context(), secret.Text{}, secret.New("password"))
			} else {
				_, err = h.Hash(t.Context(), secret.New("password"))
			}
			var busy *ports.BusyError
			if !errors.As(err, &busy) || !errors.Is(err, ports.ErrUnavailable) {
				t.Fatalf("at a full gate: %v, want a BusyError", err)
			}
			if busy.RetryAfter < time.Second || busy.RetryAfter > 5*time.Second {
				t.Fatalf("RetryAfter = %v, want 1 s to 5 s", busy.RetryAfter)
			}
			retries[busy.RetryAfter] = true
		}
		if waited := time.Since(began); waited != 0 {
			t.Errorf("the refusals took %v, want none to wait", waited)
		}
		if len(retries) != 5 {
			t.Errorf("%d different times to ask again, want a herd spread over 5", len(retries))
		}
		h.wantLoad(t, 2, 3)
		close(h.release)
		for range 5 {
			if err := <-h.results; err != nil {
				t.Errorf("one that was let in: %v", err)
			}
		}
		h.wantLoad(t, 0, 0)
	})
}

func TestWhoeverIsGoneLeavesTheQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHeld(t, passhash.Options{Gate: 1, Queue: 2})
		h.start(t.Context())
		gone, leave := context.WithCancel(t.Context())
		h.start(gone)
		h.start(gone)
		h.wantLoad(t, 1, 2)
		leave()
		for range 2 {
			if err := <-h.results; !errors.Is(err, context.Canceled) || errors.Is(err, ports.ErrUnavailable) {
				t.Errorf("one that left: %v, want context.Canceled", err)
			}
		}
		h.wantLoad(t, 1, 0)
		h.start(t.Context()) // the place is free again
		h.wantLoad(t, 1, 1)
		close(h.release)
		for range 2 {
			if err := <-h.results; err != nil {
				t.Errorf("one that stayed: %v", err)
			}
		}
	})
}

func TestACancelledCallHashesNothing(t *testing.T) {
	b := newHasher(t, passhash.Options{Cost: 10})
	b.SetCompare(func(_, _ []byte) error { t.Error("a hash was computed"); return nil })
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, _, err := b.Compare(ctx, secret.Text{}, secret.New("password")); !errors.Is(err, context.Canceled) {
		t.Errorf("Compare = %v, want context.Canceled", err)
	}
	if h, err := b.Hash(ctx, secret.New("password")); !errors.Is(err, context.Canceled) || !h.IsZero() {
		t.Errorf("Hash = %v, want context.Canceled", err)
	}
	if running, waiting := b.Load(); running != 0 || waiting != 0 {
		t.Errorf("%d running, %d waiting afterwards; want none", running, waiting)
	}
}

func TestNobodyWaitsForEver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHeld(t, passhash.Options{Gate: 1, Queue: 1, MaxWait: 3 * time.Second})
		h.start(t.Context())
		began := time.Now()
		_, _, err := h.Compare(t.Context(), secret.Text{}, secret.New("password"))
		if busy := (*ports.BusyError)(nil); !errors.As(err, &busy) {
			t.Errorf("after MaxWait: %v, want a BusyError", err)
		}
		if waited := time.Since(began); waited != 3*time.Second {
			t.Errorf("waited %v, want 3 s", waited)
		}
		h.wantLoad(t, 1, 0)
		close(h.release)
	})
}

// TestWhatAPasswordCostIsTold: how long each waited and was worked on; who was turned away is counted apart.
func TestWhatAPasswordCostIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		type cost struct{ waited, took time.Duration }
		told := make(chan cost, 10)
		h := newHeld(t, passhash.Options{Gate: 1, Queue: 1, MaxWait: time.Minute, Hashed: func(waited, took time.Duration) { told <- cost{waited, took} }})
		h.start(t.Context())
		h.start(t.Context())
		h.start(t.Context())        // one too many
		time.Sleep(3 * time.Second) //nolint:forbidigo // the bubble's clock
		h.release <- struct{}{}
		time.Sleep(2 * time.Second) //nolint:forbidigo // the bubble's clock
		h.release <- struct{}{}
		for i, want := range []cost{{0, 3 * time.Second}, {3 * time.Second, 2 * time.Second}} {
			if got := <-told; got != want {
				t.Errorf("the password %d waited %v and took %v, want %v and %v", i, got.waited, got.took, want.waited, want.took)
			}
		}
		synctest.Wait()
		if n := h.Refused(); n != 1 || len(told) != 0 {
			t.Errorf("%d were turned away, and %d more were told of; want 1 and none", n, len(told))
		}
		close(h.release)
	})
}

// A thousand at once: never more than the gate's number compute, whoever is refused is refused, and all the others are answered.
func TestAHerd(t *testing.T) {
	b := newHasher(t, passhash.Options{Gate: 2, Queue: 50})
	var mu sync.Mutex
	inside, most := 0, 0
	b.SetCompare(func(_, _ []byte) error {
		mu.Lock()
		inside++
		most = max(most, inside)
		mu.Unlock()
		defer func() { mu.Lock(); inside--; mu.Unlock() }()
		return nil
	})
	var wg sync.WaitGroup
	for range 1000 {
		wg.Go(func() {
			_, _, err := b.Compare(t.Context(), secret.Text{}, secret.New("password"))
			if busy := (*ports.BusyError)(nil); err != nil && !errors.As(err, &busy) {
				t.Errorf("Compare = %v", err)
			}
		})
	}
	wg.Wait()
	if most > 2 {
		t.Errorf("%d computed at once, want at most 2", most)
	}
	if running, waiting := b.Load(); running != 0 || waiting != 0 {
		t.Errorf("%d running, %d waiting afterwards; want none", running, waiting)
	}
}
