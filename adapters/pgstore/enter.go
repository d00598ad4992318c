package pgstore

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/xteam/xteam/adapters/pgstore/queries"
)

// Enter tells who else begins on the database that this program does: until it has left its first word (ports.Nodes), by which others know of it from then on, or, where it leaves none or is to be alone, until Close. It is refused while another is
// alone there, and, to be alone, while another has begun and left no word: Nodes, which is to be looked at afterwards, tells of all the others. It may be called once. The lock has a connection of its own, so a program that dies holds nobody up.
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
		try, who = queries.New(conn).TryLockForConnection, "by a program that begins there, or a command: stop every server of it, and wait for the end of commands"
	}
	if entered, err := try(short, lockAlone); err != nil || !entered {
		db.Revocations().end(conn)
		if err != nil {
			return db.told(ctx, "enter", &lost{err: err})
		}
		return fmt.Errorf("the database %s is in use, %s", db.name, who)
	}
	said := db.said
	if alone {
		said = nil
	}
	db.keeping.Go(func() { // Close waits for it
		select {
		case <-said:
		case <-db.closing:
		}
		db.Revocations().end(conn)
	})
	return nil
}
