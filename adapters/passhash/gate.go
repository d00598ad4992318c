package passhash

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/xteam/xteam/ports"
)

// gate lets a few in at once and a few more wait, first come, first served.
type gate struct {
	slots   chan struct{} // holds one for each that is in; the runtime serves blocked senders in their order
	waiting atomic.Int64
	refused atomic.Uint64
	queue   int64
	maxWait time.Duration
}

func newGate(slots, queue int, maxWait time.Duration) *gate {
	return &gate{slots: make(chan struct{}, slots), queue: int64(queue), maxWait: maxWait}
}

func (g *gate) load() (running, waiting int) { return len(g.slots), int(g.waiting.Load()) }

// enter answers nil, and then leave must be called; or the context's error, or a *ports.BusyError.
func (g *gate) enter(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("wait for the password hasher: %w", err)
	}
	select {
	case g.slots <- struct{}{}:
		return nil
	default:
	}
	defer g.waiting.Add(-1)
	if g.waiting.Add(1) > g.queue {
		return g.busy()
	}
	timer := time.NewTimer(g.maxWait)
	defer timer.Stop()
	select {
	case g.slots <- struct{}{}:
		if err := ctx.Err(); err != nil { // both were ready: whoever is gone burns no core
			g.leave()
			return fmt.Errorf("wait for the password hasher: %w", err)
		}
		return nil
	case <-ctx.Done():
		return fmt.Errorf("wait for the password hasher: %w", ctx.Err())
	case <-timer.C:
		return g.busy()
	}
}

func (g *gate) leave() { <-g.slots }

// busy spreads those who are refused over five seconds, so that a herd does not come back as one.
func (g *gate) busy() error {
	n := g.refused.Add(1)
	return &ports.BusyError{What: "the password hasher", RetryAfter: time.Duration(1+n%5) * time.Second}
}
