package pgstore

import (
	"context"
	"math"
	"slices"

	"github.com/xteam/xteam/adapters/pgstore/queries"
	"github.com/xteam/xteam/domain/audit"
	"github.com/xteam/xteam/domain/id"
	"github.com/xteam/xteam/ports"
)

// Events is the port of security events.
type Events struct{ db *DB }

var _ ports.Events = (*Events)(nil)

// Record stores the events, a long call in several transactions.
func (p *Events) Record(ctx context.Context, events ...audit.Event) error {
	for part := range slices.Chunk(events, portion) {
		if err := p.db.put(ctx, "record events in", ports.Effects{Events: part}); err != nil {
			return err
		}
	}
	return ctx.Err()
}

// placed is how many events are given their positions at once.
const placed = 10_000

// List reads a page in the order of positions. Whoever lists first gives positions to what was committed since the last time, under a lock: so no event can come to stand before one that
// somebody has read, however late its transaction ended, and no writer waits for another.
func (p *Events) List(ctx context.Context, after uint64, limit int) (events []audit.Event, last uint64, err error) {
	if err := p.place(ctx); err != nil {
		return nil, after, err
	}
	if after >= math.MaxInt64 {
		return nil, after, nil
	}
	rows, err := read(ctx, p.db, func(ctx context.Context, q *queries.Queries) ([]queries.ListEventsRow, error) {
		return q.ListEvents(ctx, queries.ListEventsParams{After: int64(after), Most: bounded(limit)})
	})
	if err != nil {
		return nil, after, err
	}
	if _, err := p.db.unlocked(); err != nil {
		return nil, after, err
	}
	last = after
	for _, row := range rows {
		v, err := p.opened(row.ID, row.Sealed)
		if err != nil && len(events) > 0 { // the next call is told of it
			break
		}
		if err != nil {
			return nil, after, &audit.DamagedError{At: uint64(row.Position), Err: err}
		}
		events, last = append(events, v), uint64(row.Position)
	}
	return events, last, nil
}

// place gives a position to every event that was committed before the call and has none. Those that come meanwhile are left to the next: there may be no end of them.
func (p *Events) place(ctx context.Context) error {
	for more := true; more; {
		waiting, err := read(ctx, p.db, func(ctx context.Context, q *queries.Queries) (int64, error) { return q.UnplacedEvents(ctx, placed+1) })
		if err != nil || waiting == 0 {
			return err
		}
		more = waiting > placed
		err = p.db.repeat(ctx, func() error {
			return p.db.attempt(ctx, func(ctx context.Context, tx *transaction) (ports.Effects, error) {
				if err := tx.then.LockForTransaction(ctx, lockEvents); err != nil {
					return ports.Effects{}, err
				}
				_, err := tx.then.PlaceEvents(ctx, placed) // its snapshot is taken once the lock is held
				return ports.Effects{}, err
			})
		})
		if err != nil {
			return p.db.told(ctx, "order the events of", err)
		}
	}
	return nil
}

func (p *Events) opened(raw, sealed []byte) (audit.Event, error) {
	var eid id.Event
	if fixed(eid[:], raw) != nil {
		return audit.Event{}, p.db.unreadable("an event", errDamaged)
	}
	plain, err := p.db.open(eventContext+string(eid[:]), sealed)
	if err != nil {
		return audit.Event{}, err
	}
	v, err := decodeEvent(eid, plain)
	if err != nil {
		return audit.Event{}, p.db.unreadable("an event", err)
	}
	return v, nil
}
