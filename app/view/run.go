package view

import (
	"context"
	"sync"
	"time"

	"github.com/xteam/xteam/domain/instant"
	"github.com/xteam/xteam/domain/token"
)

const (
	tick       = time.Second     // how often the clock and the silence of the sources are looked at
	sweepEvery = 60              // ticks
	jump       = 5 * time.Second // how far the wall clock may leave the monotonic one in a tick before it is worth a line

	// doubt is by how much the clock may have been wrong by which an entry's end was reckoned, here or on another node (ports.Revocations).
	doubt = 24 * time.Hour
)

// Run follows every source until ctx ends, follows a lost one again, and keeps house. It answers with the error of ctx, and leaves no
// goroutine; the view goes stale after it. It may be called once.
func (v *View) Run(ctx context.Context) error {
	var running sync.WaitGroup
	for _, s := range v.sources {
		running.Go(func() { v.follow(ctx, s) })
		if !s.Truth {
			running.Go(func() { v.settle(ctx, s) })
			running.Go(func() { v.mendAll(ctx, s) })
		}
	}
	v.keepHouse(ctx)
	running.Wait()
	v.subscribers.close()
	return ctx.Err()
}

func (v *View) keepHouse(ctx context.Context) {
	ticker := time.NewTicker(tick)
	defer ticker.Stop()
	var skew time.Duration // of the wall clock against the monotonic one, since the start
	stale := false
	for n := 1; ; n++ {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		now := v.opts.Now()
		skew = v.jumped(now, skew)
		v.silent()
		v.overdue()
		stale = v.wentStale(stale)
		if n%sweepEvery == 0 {
			v.set.Sweep(v.over(now))
		}
	}
}

// over is the time before which an entry must have ended to be forgotten: the margin and the doubt before the earlier of two clocks, the wall
// clock and the one that was right at the start and knows no jumps. An entry outlives a token that a clock set back makes valid again, and one
// whose end was reckoned while the clock was behind.
func (v *View) over(now time.Time) instant.Instant {
	steady := instant.Of(v.start).Add(now.Sub(v.start))
	return min(steady, instant.Of(now)).Add(-token.Margin - doubt)
}

// jumped logs a jump of the wall clock since it was ahead of the monotonic one by skew, and answers by how much it is now.
func (v *View) jumped(now time.Time, skew time.Duration) time.Duration {
	ahead := now.Round(0).Sub(v.start.Round(0)) - now.Sub(v.start)
	if by := ahead - skew; by > jump || by < -jump {
		v.log.Warn("The wall clock jumped", "by_ms", by.Milliseconds())
	}
	return ahead
}

// wentStale logs that the view became stale or fresh, if that differs from before, and answers which it is. A view that never was
// ready is not stale yet: the lines about its sources say why.
func (v *View) wentStale(before bool) bool {
	select {
	case <-v.ready:
	default:
		return before
	}
	age, _ := v.Age()
	is := int64(v.elapsed()) > v.goodFor.Load()
	switch {
	case is && !before:
		v.log.Error("The view of the revocations is stale: requests with a token are refused", "age_ms", age.Milliseconds())
	case before && !is:
		v.log.Info("The view of the revocations is fresh again", "age_ms", age.Milliseconds())
	}
	return is
}
