package pgstore

import (
	"context"
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
