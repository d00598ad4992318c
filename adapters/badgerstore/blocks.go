package badgerstore

import (
	"bytes"
	"context"
	"errors"

	"github.com/dgraph-io/badger/v4"

	"github.com/xteam/xteam/domain/block"
	"github.com/xteam/xteam/ports"
)

// Blocks is the port of blocked networks. It works before Unlock, as long as no effects come with a change.
type Blocks struct{ db *DB }

var _ ports.Blocks = (*Blocks)(nil)

// Update runs change once.
func (p *Blocks) Update(ctx context.Context, change func(block.List) (block.List, ports.Effects, error)) error {
	return p.db.write(ctx, p.db.systemLocks, []byte(blocksKey), func(w *writeSet) error {
		was, err := p.Load(ctx)
		if err != nil {
			return err
		}
		before := was.Encode() // now: change may write into the slice that it is handed
		next, effects, err := change(was)
		if err != nil {
			return err
		}
		if value := next.Encode(); !bytes.Equal(value, before) {
			w.sets = append(w.sets, badger.NewEntry([]byte(blocksKey), value))
		}
		return p.db.effects(w, effects)
	})
}

// Load reads the list; that of a new store is empty.
func (p *Blocks) Load(ctx context.Context) (l block.List, err error) {
	err = p.read(ctx, func(value []byte) (err error) { l, err = block.Decode(value); return err })
	return l, err
}

// Revision reads the list's.
func (p *Blocks) Revision(ctx context.Context) (n uint64, err error) {
	err = p.read(ctx, func(value []byte) (err error) { n, err = block.Revision(value); return err })
	return n, err
}

func (p *Blocks) read(ctx context.Context, decode func([]byte) error) error {
	return p.db.view(ctx, func(txn *badger.Txn) error {
		value, err := p.db.get(txn, []byte(blocksKey))
		switch {
		case errors.Is(err, ports.ErrNotFound):
			return nil
		case err != nil:
			return err
		}
		if err := decode(value); err != nil {
			return p.db.unreadable("the list of blocked networks", err)
		}
		return nil
	})
}
