package pgstore

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/xteam/xteam/adapters/pgstore/queries"
	"github.com/xteam/xteam/domain/instant"
)

// Margin is how long a revocation, a session or an API key is kept beyond its time: a day by which a clock may be wrong, and a day in which an entry whose time is over is still given out.
const Margin = 48 * time.Hour

// swept is how many rows one statement deletes at most.
const swept = 1000

// keep is housekeeping, until Close.
func (db *DB) keep() {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	tick := time.NewTicker(db.options.Collect)
	defer tick.Stop()
	for {
		select {
		case <-db.closing:
			return
		case <-tick.C:
		}
		now := time.Now()
		if err := db.sweep(ctx, horizon(db.opened, now, now.Sub(db.opened))); err != nil && !db.isClosing() {
			db.options.Logger.Warn("what has expired cannot be deleted", "database", db.name, "error", err)
		}
	}
}

// horizon is the time up to which what expires is deleted: the earlier one of the wall clock and of a clock that was set by it when the store was opened and has been steady since. A wall
// clock that jumps forward deletes nothing.
func horizon(opened, now time.Time, since time.Duration) instant.Instant {
	return min(instant.Of(now), instant.Of(opened.Round(0).Add(since)))
}

// sweep deletes what expired Margin before now, by this node's clock and the server's. Who does not get the lock leaves it to the node that has it.
func (db *DB) sweep(ctx context.Context, now instant.Instant) error {
	facts, err := read(ctx, db, func(ctx context.Context, q *queries.Queries) (queries.ServerFactsRow, error) {
		return q.ServerFacts(ctx)
	})
	if err != nil {
		return err
	}
	before := int64(min(now, instant.Instant(facts.Now)).Add(-Margin))
	for _, drop := range []func(context.Context, *queries.Queries) (int64, error){
		func(ctx context.Context, q *queries.Queries) (int64, error) {
			return q.DropRevocations(ctx, queries.DropRevocationsParams{Before: before, Most: swept})
		},
		func(ctx context.Context, q *queries.Queries) (int64, error) {
			return q.DropSessions(ctx, queries.DropSessionsParams{Before: before, Most: swept})
		},
		func(ctx context.Context, q *queries.Queries) (int64, error) {
			return q.DropAPIKeys(ctx, queries.DropAPIKeysParams{Before: before, Most: swept})
		},
	} {
		for n := int64(swept); n == swept && !db.isClosing(); {
			if n, err = db.drop(ctx, drop); err != nil {
				return db.told(ctx, "sweep", &lost{err: err})
			}
		}
	}
	return nil
}

// drop deletes one batch, if no other node is at it.
func (db *DB) drop(ctx context.Context, delete func(context.Context, *queries.Queries) (int64, error)) (n int64, err error) {
	ctx, cancel := db.bound(ctx)
	defer cancel()
	err = pgx.BeginFunc(ctx, db.pool, func(tx pgx.Tx) error {
		q := queries.New(tx)
		mine, err := q.TryLockForTransaction(ctx, lockHousekeeping)
		if err != nil || !mine {
			return err
		}
		n, err = delete(ctx, q)
		return err
	})
	return n, err
}
