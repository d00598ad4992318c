package app_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/xteam/xteam/adapters/memstore"
	"github.com/xteam/xteam/app"
	"github.com/xteam/xteam/domain/instant"
	"github.com/xteam/xteam/domain/ratelimit"
	"github.com/xteam/xteam/ports"
	"github.com/xteam/xteam/ports/porttest"
)

// flaky are buckets that can be made to fail.
type flaky struct {
	ports.Buckets
	err atomic.Pointer[error]
}

func newFlaky() *flaky { return &flaky{Buckets: memstore.NewBuckets(memstore.BucketsOptions{Max: 64})} }

func (f *flaky) fail(err error) { f.err.Store(&err) }

func (f *flaky) Take(ctx context.Context, now instant.Instant, demands ...ports.Demand) ([]ratelimit.Decision, error) {
	if err := f.err.Load(); err != nil && *err != nil {
		return nil, *err
	}
	return f.Buckets.Take(ctx, now, demands...)
}

func (f *flaky) Give(ctx context.Context, now instant.Instant, demands ...ports.Demand) error {
	if err := f.err.Load(); err != nil && *err != nil {
		return *err
	}
	return f.Buckets.Give(ctx, now, demands...)
}

func TestFallbackIsBuckets(t *testing.T) {
	down := fmt.Errorf("down: %w", ports.ErrUnavailable)
	for name, err := range map[string]error{"shared": nil, "own": down} {
		t.Run(name, func(t *testing.T) {
			porttest.Buckets(t, func(testing.TB) ports.Buckets {
				shared := &flaky{Buckets: memstore.NewBuckets(memstore.BucketsOptions{})}
				shared.fail(err)
				return app.NewFallback(shared, memstore.NewBuckets(memstore.BucketsOptions{}), nil)
			})
		})
	}
}

func TestFallbackCountsLocallyWhileTheSharedBucketsAreAway(t *testing.T) {
	const now instant.Instant = 1_772_366_400_000_000
	shared, own := newFlaky(), newFlaky()
	var heard []bool
	f := app.NewFallback(shared, own, func(degraded bool) { heard = append(heard, degraded) })
	d := ports.Demand{Key: "k", Limit: ratelimit.Limit{Capacity: 5, Period: time.Hour}, N: 1}
	left := func(want int64) {
		t.Helper()
		got, err := f.Take(t.Context(), now, d)
		if err != nil || !got[0].OK || got[0].Remaining != want {
			t.Errorf("Take: got %+v, %v, want OK and %d left", got, err, want)
		}
	}
	left(4)
	left(3)
	if f.Degraded() {
		t.Error("Degraded while the shared buckets answer: got true")
	}
	shared.fail(fmt.Errorf("hung: %w", ports.ErrUnavailable))
	left(4) // the own ones begin full
	left(3)
	if !f.Degraded() {
		t.Error("Degraded while the shared buckets are away: got false")
	}
	if err := f.Give(t.Context(), now, d); err != nil {
		t.Errorf("Give while the shared buckets are away: %v", err)
	}
	left(3)
	shared.fail(context.Canceled)
	if _, err := f.Take(t.Context(), now, d); !errors.Is(err, context.Canceled) {
		t.Errorf("Take of a caller who went away: got error %v, want context.Canceled", err)
	}
	if !f.Degraded() {
		t.Error("Degraded after a caller went away: got false, want it unchanged")
	}
	shared.fail(nil)
	left(2)
	if f.Degraded() {
		t.Error("Degraded when the shared buckets are back: got true")
	}
	if want := []bool{true, false}; !slices.Equal(heard, want) {
		t.Errorf("onState heard %v, want %v", heard, want)
	}
}

func TestFallbackTellsOfEachChangeOnce(t *testing.T) {
	shared := newFlaky()
	var mu sync.Mutex
	var heard []bool
	f := app.NewFallback(shared, newFlaky(), func(degraded bool) { mu.Lock(); defer mu.Unlock(); heard = append(heard, degraded) })
	for i := range 4 {
		if i%2 == 0 {
			shared.fail(ports.ErrUnavailable)
		} else {
			shared.fail(nil)
		}
		var crowd sync.WaitGroup
		for range 16 {
			crowd.Go(func() { _, _ = f.Take(t.Context(), 1) })
		}
		crowd.Wait()
	}
	if want := []bool{true, false, true, false}; !slices.Equal(heard, want) {
		t.Errorf("onState heard %v, want %v", heard, want)
	}
}
