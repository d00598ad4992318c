package pgstore

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/xteam/xteam/adapters/pgstore/queries"
)

// entering is for how long whoever has begun on a database is known by a lock. By then others hear of it, if it stays (ports.Nodes).
const entering = time.Minute

// Enter tells who else begins on the database that this program does: for a minute, or, where it is to be alone, until Close. It is refused while another is alone there, and, to be alone, while another has begun within a minute: who began
// before is heard of at Nodes, which is to be looked at afterwards. It may be called once. The lock has a connection of its own, so a program that dies holds nobody up.
func (db *DB) Enter(ctx context.Context, alone bool) error {
	if err := db.ready(ctx); err != nil {
		return err
	}
	short, cancel := db.bound(ctx)
	defer cancel()
	conn, err := pgx.ConnectConfig(short, db.alone.Copy())
	if err != nil {
		return db.told(ctx, "enter", &lost{err: err})
	}
	try, who := queries.New(conn).TryShareForConnection, "by a program that must be alone there, as a restore or a migration: wait for its end"
	if alone {
		try, who = queries.New(conn).TryLockForConnection, "by a program that began within the last minute: stop every server of it"
	}
	if entered, err := try(short, lockAlone); err != nil || !entered {
		db.Revocations().end(conn)
		if err != nil {
			return db.told(ctx, "enter", &lost{err: err})
		}
		return fmt.Errorf("the database %s is in use, %s", db.name, who)
	}
	go func() {
		over := make(<-chan time.Time)
		if !alone {
			timer := time.NewTimer(entering)
			defer timer.Stop()
			over = timer.C
		}
		select {
		case <-over:
		case <-db.closing:
		}
		db.Revocations().end(conn)
	}()
	return nil
}
