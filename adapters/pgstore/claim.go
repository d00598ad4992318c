package pgstore

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/xteam/xteam/adapters/pgstore/queries"
	"github.com/xteam/xteam/ports"
)

var _ ports.Claimer = (*Revocations)(nil)

// Claim takes a lock with a connection of its own, which is closed when the time is over: so a node that dies holds nobody up.
func (p *Revocations) Claim(ctx context.Context, howLong time.Duration) (mine bool, err error) {
	if err := p.db.ready(ctx); err != nil {
		return false, err
	}
	conn, err := pgx.ConnectConfig(ctx, p.db.alone.Copy())
	if err != nil {
		return false, p.db.told(ctx, "claim the healing of", &lost{err: err})
	}
	if mine, err = queries.New(conn).TryLockForConnection(ctx, lockHealing); err != nil || !mine {
		p.end(conn)
		if err != nil {
			err = &lost{err: err}
		}
		return false, p.db.told(ctx, "claim the healing of", err)
	}
	go func() {
		over := time.NewTimer(howLong)
		defer over.Stop()
		select {
		case <-over.C:
		case <-p.db.closing:
		}
		p.end(conn)
	}()
	return true, nil
}
