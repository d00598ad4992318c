package pgstore

import (
	"context"
	"hash/maphash"
	"log/slog"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/xteam/xteam/domain/instant"
)

// Sweep deletes what has expired by now.
func (db *DB) Sweep(ctx context.Context, now instant.Instant) error { return db.sweep(ctx, now) }

// Horizon is the time up to which what has expired is deleted.
func Horizon(opened, now time.Time, since time.Duration) instant.Instant {
	return horizon(opened, now, since)
}

// Idle is how many connections of the pool nobody uses, and Total how many there are.
func (db *DB) Idle() (idle, total int32) {
	s := db.pool.Stat()
	return s.IdleConns(), s.TotalConns()
}

// Mode is how statements are sent for a URL.
func Mode(text string) (pgx.QueryExecMode, error) {
	u, err := ParseURL(text)
	if err != nil {
		return 0, err
	}
	cfg, err := configure(u, Options{}.filled())
	if err != nil {
		return 0, err
	}
	return cfg.ConnConfig.DefaultQueryExecMode, nil
}

// The codec, for tests of records.
var (
	EncodeEvent  = encodeEvent
	DecodeEvent  = decodeEvent
	DecodeAPIKey = decodeAPIKey
)

// Waiting is how many changes wait for a company to take them along, and Stuck how many companies are held up.
func (db *DB) Waiting() (waiting, stuck int) {
	db.together.mu.Lock()
	defer db.together.mu.Unlock()
	return len(db.together.waiting), db.together.stuck
}

// The bounds of companies.
const (
	Companies = companies
	Company   = company
)

// Batches is how many transactions have written events.
func (db *DB) Batches(ctx context.Context) (n int, err error) {
	err = db.pool.QueryRow(ctx, "select count(distinct batch) from events").Scan(&n)
	return n, err
}

// Apart reports whether changes of these accounts and sessions do not wait for one another in this process.
func (db *DB) Apart(all ...[16]byte) bool {
	seen := map[uint64]bool{}
	for _, one := range all {
		for _, context := range []string{accountContext, sessionContext} {
			seen[maphash.String(db.locks.seed, context+string(one[:]))%uint64(len(db.locks.locks))] = true
		}
	}
	return len(seen) == 2*len(all)
}

// SharedRead is a read that callers share.
type SharedRead struct{ s sharedRead[int] }

// Do answers what read does.
func (r *SharedRead) Do(ctx context.Context, log *slog.Logger, read func(context.Context) (int, error)) (int, error) {
	return r.s.do(ctx, log, read)
}

// EventContext is what an event is sealed for, before its id.
const EventContext = eventContext
