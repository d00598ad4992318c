package app

import (
	"context"
	"time"

	"github.com/xteam/xteam/app/view"
	"github.com/xteam/xteam/domain/id"
)

// KnownKeys is how many API keys the guard knows.
func (g *Guard) KnownKeys() int {
	n := 0
	for i := range g.keys.shards {
		s := &g.keys.shards[i]
		s.mu.Lock()
		n += len(s.known)
		s.mu.Unlock()
	}
	return n
}

// UsedKeys is how many usages of API keys wait to be written down.
func (g *Guard) UsedKeys() int {
	g.keys.mu.Lock()
	defer g.keys.mu.Unlock()
	return len(g.keys.used)
}

// The bounds of what the guard keeps of API keys.
const (
	MaxKnownKeys = maxKnownKeys
	MaxUsedKeys  = maxUsedKeys
)

// Settle is one look of Run's.
func (p *Pending) Settle(ctx context.Context) { p.settle(ctx, time.Second) }

// MaxOwed bounds the revocations that wait to be written down.
const MaxOwed = maxOwed

// Healer is what the view is told to ask.
func (h *Healing) Healer() view.Healer {
	return view.Healer{Begin: h.begin, PutBack: h.putBack, Healed: h.healed}
}

// At reads a place of a subscription of u, and PlaceAt writes one.
func (l *Live) At(u id.User, place string) (after uint64, known bool) { return l.at(u, place) }

// PlaceAt is the place of an event before which everything up to a position was told.
func (l *Live) PlaceAt(u id.User, after uint64) string {
	return (&Subscription{live: l, user: u}).Place(LiveEvent{after: after})
}

// Drilled is what a drill plays with.
type Drilled = drilled

// Drilled is what a drill of these plays with.
func (i *Incidents) Drilled(s *Sessions) Drilled {
	return drilled{i, i.accounts, s, i.blocks, drillFor, func(string, error) {}}
}

// Play plays a drill.
func (p *drilled) Play(ctx context.Context, by Actor) Drill { return p.play(ctx, by) }

// Counted is how many entries are held of refusals that are counted for the alerts, and MaxCounted bounds them.
func (l *Limiter) Counted() int {
	l.sums.mu.Lock()
	defer l.sums.mu.Unlock()
	return len(l.sums.counts) + len(l.sums.keys)
}

// MaxCounted is of addresses, those of four kinds that have none, and API keys.
const MaxCounted = summed + 4 + summed
