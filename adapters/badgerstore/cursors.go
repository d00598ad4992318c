package badgerstore

import (
	"context"
	"errors"
	"slices"

	"github.com/dgraph-io/badger/v4"

	"github.com/xteam/xteam/domain/instant"
	"github.com/xteam/xteam/ports"
)

// Cursors is the port of kept places. It works before Unlock.
type Cursors struct{ db *DB }

var _ ports.Cursors = (*Cursors)(nil)

// Find reads one cursor.
func (p *Cursors) Find(ctx context.Context, name string) (ports.Cursor, error) {
	c := ports.Cursor{Name: name}
	err := p.db.view(ctx, func(txn *badger.Txn) error {
		value, err := p.db.get(txn, cursorKey(name))
		switch {
		case errors.Is(err, ports.ErrNotFound):
			return nil
		case err != nil:
			return err
		}
		if err := decodeCursor(value, &c); err != nil {
			return p.db.unreadable("a cursor", err)
		}
		return nil
	})
	return c, err
}

// Swap keeps a cursor in the place of the one of its revision.
func (p *Cursors) Swap(ctx context.Context, c ports.Cursor) (ports.Cursor, error) {
	if err := c.Validate(); err != nil {
		return ports.Cursor{}, err
	}
	key := cursorKey(c.Name)
	err := p.db.write(ctx, p.db.systemLocks, key, func(w *writeSet) error {
		is, err := p.Find(ctx, c.Name)
		switch {
		case err != nil:
			return err
		case is.Revision != c.Revision:
			return ports.ErrTaken
		}
		c.Revision++
		w.sets = append(w.sets, badger.NewEntry(key, encodeCursor(&c)))
		return nil
	})
	if err != nil {
		return ports.Cursor{}, err
	}
	c.State = slices.Clone(c.State)
	return c, nil
}

func encodeCursor(c *ports.Cursor) []byte {
	e := newEncoder()
	e.int(1, int64(c.Revision))
	e.int(2, int64(c.Position))
	e.text(3, c.Holder)
	e.int(4, int64(c.Tries))
	e.int(5, int64(c.Again))
	e.bytes(6, c.State)
	return e
}

func decodeCursor(value []byte, c *ports.Cursor) error {
	return decode(value, func(f field) {
		switch f.tag {
		case 1:
			c.Revision = uint64(f.int())
		case 2:
			c.Position = uint64(f.int())
		case 3:
			c.Holder = f.text()
		case 4:
			c.Tries = int(f.int())
		case 5:
			c.Again = instant.Instant(f.int())
		case 6:
			c.State = f.bytes()
		default:
			f.unknown()
		}
	})
}
