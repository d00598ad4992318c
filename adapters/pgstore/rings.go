package pgstore

import (
	"bytes"
	"context"
	"errors"

	"github.com/xteam/xteam/adapters/pgstore/queries"
	"github.com/xteam/xteam/domain/keyset"
	"github.com/xteam/xteam/domain/system"
	"github.com/xteam/xteam/ports"
)

// Keys is the port of key rings. It works before Unlock, as long as no effects come with a change: the data keys themselves are kept here.
type Keys struct{ db *DB }

var _ ports.Keys = (*Keys)(nil)

// Create stores a new ring.
func (p *Keys) Create(ctx context.Context, r keyset.Ring, e ports.Effects) error {
	return p.db.change(ctx, "create a ring of keys in", "rings/"+r.Name, func(ctx context.Context, tx *transaction) (ports.Effects, error) {
		return e, tx.then.AddRing(ctx, queries.AddRingParams{Name: r.Name, Body: encodeRing(r)})
	})
}

// Update runs change under the lock of the ring's row.
func (p *Keys) Update(ctx context.Context, name string, change func(keyset.Ring) (keyset.Ring, ports.Effects, error)) error {
	return p.db.change(ctx, "change a ring of keys in", "rings/"+name, func(ctx context.Context, tx *transaction) (ports.Effects, error) {
		row, err := tx.first.LockRing(ctx, name)
		if err != nil {
			return ports.Effects{}, found(err)
		}
		was, err := decodeRing(name, row)
		if err != nil {
			return ports.Effects{}, p.db.unreadable("a ring of keys", err)
		}
		next, e, err := change(was)
		if err != nil {
			return e, err
		}
		if next.Name != name {
			return e, errors.New("PostgreSQL store: the name of a ring cannot change")
		}
		body := encodeRing(next)
		if bytes.Equal(body, row) {
			return e, nil
		}
		return e, tx.then.SetRing(ctx, queries.SetRingParams{Name: name, Body: body})
	})
}

// Find reads one ring.
func (p *Keys) Find(ctx context.Context, name string) (keyset.Ring, error) {
	row, err := read(ctx, p.db, func(ctx context.Context, q *queries.Queries) ([]byte, error) { return q.FindRing(ctx, name) })
	if err != nil {
		return keyset.Ring{}, err
	}
	r, err := decodeRing(name, row)
	if err != nil {
		return keyset.Ring{}, p.db.unreadable("a ring of keys", err)
	}
	return r, nil
}

// System is the port of the system's state. It works before Unlock, as long as no effects come with a change.
type System struct{ db *DB }

var _ ports.System = (*System)(nil)

// Update runs change under the lock of the one row.
func (p *System) Update(ctx context.Context, change func(system.State) (system.State, ports.Effects, error)) error {
	return p.db.change(ctx, "change the system's state in", "system", func(ctx context.Context, tx *transaction) (ports.Effects, error) {
		row, err := tx.first.LockSystem(ctx)
		if err != nil {
			return ports.Effects{}, found(err)
		}
		was, err := decodeState(row)
		if err != nil {
			return ports.Effects{}, p.db.unreadable("the system's state", err)
		}
		next, e, err := change(was)
		if err != nil || next == was {
			return e, err
		}
		return e, tx.then.SetSystem(ctx, encodeState(next))
	})
}

// Commit stores effects alone.
func (p *System) Commit(ctx context.Context, e ports.Effects) error {
	return p.db.put(ctx, "record in", e)
}

// Load reads the state; that of a new database is zero.
func (p *System) Load(ctx context.Context) (system.State, error) {
	return p.db.state.do(ctx, p.db.options.Logger, func(ctx context.Context) (system.State, error) { // each revocation asks for it
		row, err := read(ctx, p.db, func(ctx context.Context, q *queries.Queries) ([]byte, error) { return q.FindSystem(ctx) })
		if err != nil {
			return system.State{}, err
		}
		return p.opened(row)
	})
}

func (p *System) opened(row []byte) (system.State, error) {
	s, err := decodeState(row)
	if err != nil {
		return system.State{}, p.db.unreadable("the system's state", err)
	}
	return s, nil
}
