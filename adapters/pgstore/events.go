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
	rows, err := p.rows(ctx, int64(after), bounded(limit))
	if err != nil {
		return nil, after, err
	}
	last = after
	for i := range rows {
		v, err := p.opened(&rows[i])
		if err != nil && len(events) > 0 { // the next call is told of it
			break
		}
		if err != nil {
			return nil, after, err
		}
		events, last = append(events, v), uint64(rows[i].Position)
	}
	return events, last, nil
}

// room is how many bytes of events are read at once: whoever has the database may have made them as long as they like.
const room = 8 << 20

// rows reads a page of events as they are stored, of each audit.MaxStored bytes at most.
func (p *Events) rows(ctx context.Context, after int64, most int32) ([]queries.ListEventsRow, error) {
	if _, err := p.db.unlocked(); err != nil {
		return nil, err
	}
	return read(ctx, p.db, func(ctx context.Context, q *queries.Queries) ([]queries.ListEventsRow, error) {
		return q.ListEvents(ctx, queries.ListEventsParams{After: after, Most: most, Longest: audit.MaxStored, Room: room})
	})
}

// Latest reads from the end back.
func (p *Events) Latest(ctx context.Context, after uint64, limit int) ([]audit.Event, error) {
	if err := p.place(ctx); err != nil {
		return nil, err
	}
	if _, err := p.db.unlocked(); err != nil {
		return nil, err
	}
	rows, err := read(ctx, p.db, func(ctx context.Context, q *queries.Queries) ([]queries.LatestEventsRow, error) {
		return q.LatestEvents(ctx, queries.LatestEventsParams{After: int64(min(after, math.MaxInt64)), Most: bounded(limit), Longest: audit.MaxStored, Room: room})
	})
	if err != nil {
		return nil, err
	}
	events := make([]audit.Event, len(rows))
	for i := range rows {
		row := queries.ListEventsRow(rows[i])
		if events[len(rows)-1-i], err = p.opened(&row); err != nil {
			events[len(rows)-1-i] = unopened(&row)
		}
	}
	return events, nil
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

// opened opens one event; one that does not open is what is told in its place, and one that is not understood an *audit.DamagedError.
func (p *Events) opened(row *queries.ListEventsRow) (audit.Event, error) {
	var eid id.Event
	if fixed(eid[:], row.ID) != nil || row.Size > audit.MaxStored {
		return unopened(row), nil
	}
	plain, err := p.db.open(eventContext+string(eid[:]), row.Sealed)
	if err != nil {
		return unopened(row), nil
	}
	v, err := decodeEvent(eid, plain)
	if err != nil {
		return v, &audit.DamagedError{At: uint64(row.Position), Err: p.db.unreadable("an event", err)}
	}
	return v, nil
}

func unopened(row *queries.ListEventsRow) audit.Event {
	return audit.StandIn(uint64(row.Position), row.Sealed, row.Size, row.ID)
}
