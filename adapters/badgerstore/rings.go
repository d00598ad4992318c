package badgerstore

import (
	"bytes"
	"context"
	"errors"

	"github.com/dgraph-io/badger/v4"

	"github.com/xteam/xteam/domain/keyset"
	"github.com/xteam/xteam/domain/system"
	"github.com/xteam/xteam/ports"
)

// Keys is the port of key rings. It works before Unlock, as long as no effects come with a change: the data keys themselves are kept here.
type Keys struct{ db *DB }

var _ ports.Keys = (*Keys)(nil)

// Create stores a new ring.
func (p *Keys) Create(ctx context.Context, r keyset.Ring, e ports.Effects) error {
	key := ringKey(r.Name)
	return p.db.write(ctx, p.db.ringLocks, key, func(w *writeSet) error {
		if err := p.db.absent(ctx, key); err != nil {
			return err
		}
		w.sets = append(w.sets, badger.NewEntry(key, encodeRing(r)))
		return p.db.effects(w, e)
	})
}

// Update runs change once.
func (p *Keys) Update(ctx context.Context, name string, change func(keyset.Ring) (keyset.Ring, ports.Effects, error)) error {
	key := ringKey(name)
	return p.db.write(ctx, p.db.ringLocks, key, func(w *writeSet) error {
		was, err := p.Find(ctx, name)
		if err != nil {
			return err
		}
		before := encodeRing(was) // now: change may write into the slice that it is handed
		next, effects, err := change(was)
		if err != nil {
			return err
		}
		if next.Name != name {
			return errors.New("badger store: the name of a ring cannot change")
		}
		if value := encodeRing(next); !bytes.Equal(value, before) {
			w.sets = append(w.sets, badger.NewEntry(key, value))
		}
		return p.db.effects(w, effects)
	})
}

// Find reads one ring.
func (p *Keys) Find(ctx context.Context, name string) (r keyset.Ring, err error) {
	err = p.db.view(ctx, func(txn *badger.Txn) error {
		value, err := p.db.get(txn, ringKey(name))
		if err != nil {
			return err
		}
		if r, err = decodeRing(name, value); err != nil {
			return p.db.unreadable("a ring of keys", err)
		}
		return nil
	})
	return r, err
}

// System is the port of the system's state. It works before Unlock, as long as no effects come with a change.
type System struct{ db *DB }

var _ ports.System = (*System)(nil)

// Update runs change once.
func (p *System) Update(ctx context.Context, change func(system.State) (system.State, ports.Effects, error)) error {
	return p.db.write(ctx, p.db.systemLocks, []byte(systemKey), func(w *writeSet) error {
		was, err := p.Load(ctx)
		if err != nil {
			return err
		}
		next, effects, err := change(was)
		if err != nil {
			return err
		}
		if value := encodeState(next); !bytes.Equal(value, encodeState(was)) {
			w.sets = append(w.sets, badger.NewEntry([]byte(systemKey), value))
		}
		return p.db.effects(w, effects)
	})
}

// Commit stores effects alone, under no lock.
func (p *System) Commit(ctx context.Context, e ports.Effects) error {
	if err := p.db.ready(ctx); err != nil {
		return err
	}
	w := &writeSet{}
	if err := p.db.effects(w, e); err != nil || len(w.revocations)+len(w.events) == 0 {
		return err
	}
	return p.db.commits.commit(ctx, w)
}

// Load reads the state; that of a new store is zero.
func (p *System) Load(ctx context.Context) (s system.State, err error) {
	err = p.db.view(ctx, func(txn *badger.Txn) error {
		value, err := p.db.get(txn, []byte(systemKey))
		switch {
		case errors.Is(err, ports.ErrNotFound):
			return nil
		case err != nil:
			return err
		}
		if s, err = decodeState(value); err != nil {
			return p.db.unreadable("the system's state", err)
		}
		return nil
	})
	return s, err
}
