package pgstore

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"sync"

	"github.com/jackc/pgx/v5"

	"github.com/xteam/xteam/adapters/pgstore/queries"
	"github.com/xteam/xteam/ports"
)

// turning is how many turns one process has, or waits for the server to give it, at a time. Each has a connection beside the pool: from the pool, those that wait could keep those that have one from
// what they want to do.
const turning = 4

// Turns is the port of turns.
type Turns struct{ db *DB }

var _ ports.Turns = (*Turns)(nil)

// Turns answers the port of turns.
func (db *DB) Turns() *Turns { return &Turns{db} }

// Turn takes an advisory lock with a connection of its own, which ends with the turn: the server lets go of it when the node dies. Whoever of this process wants the same waits outside.
func (p *Turns) Turn(ctx context.Context, name string) (leave func(), err error) {
	db := p.db
	if err := db.ready(ctx); err != nil {
		return nil, err
	}
	waiting, cancel := context.WithTimeout(ctx, db.options.Wait)
	defer cancel()
	late := func(busy string) error {
		if err := ctx.Err(); err != nil {
			return err
		}
		return fmt.Errorf("take a turn in the database %s: %w: %s for %v", db.name, ports.ErrUnavailable, busy, db.options.Wait)
	}
	mine := db.named.lock(waiting, name)
	if mine == nil {
		return nil, late("another had it")
	}
	select {
	case db.turns <- struct{}{}:
	case <-waiting.Done():
		mine()
		return nil, late("too many others had one")
	}
	conn, err := p.take(ctx, name)
	if err != nil {
		<-db.turns
		mine()
		return nil, db.told(ctx, "take a turn in", err)
	}
	return sync.OnceFunc(func() {
		db.Revocations().end(conn)
		<-db.turns
		mine()
	}), nil
}

func (p *Turns) take(ctx context.Context, name string) (*pgx.Conn, error) {
	short, cancel := p.db.bound(ctx)
	defer cancel()
	conn, err := pgx.ConnectConfig(short, p.db.alone.Copy())
	if err != nil {
		return nil, &lost{err: err}
	}
	sum := sha256.Sum256([]byte("xteam turn " + name))
	if err := queries.New(conn).LockForConnection(short, int64(binary.BigEndian.Uint64(sum[:8]))); err != nil {
		p.db.Revocations().end(conn)
		return nil, &lost{err: err}
	}
	return conn, nil
}

// locksByName are locks by name. The zero value has none.
type locksByName struct {
	mu  sync.Mutex
	all map[string]*namedLock
}

type namedLock struct {
	held  chan struct{} // holds one while somebody has it
	users int           // who have it or wait for it
}

// lock waits for the lock of that name until ctx ends, and answers what gives it back, or nil.
func (n *locksByName) lock(ctx context.Context, name string) (release func()) {
	n.mu.Lock()
	if n.all == nil {
		n.all = map[string]*namedLock{}
	}
	l := n.all[name]
	if l == nil {
		l = &namedLock{held: make(chan struct{}, 1)}
		n.all[name] = l
	}
	l.users++
	n.mu.Unlock()
	left := func() {
		n.mu.Lock()
		defer n.mu.Unlock()
		if l.users--; l.users == 0 {
			delete(n.all, name)
		}
	}
	select {
	case l.held <- struct{}{}:
		return func() { <-l.held; left() }
	case <-ctx.Done():
		left()
		return nil
	}
}
