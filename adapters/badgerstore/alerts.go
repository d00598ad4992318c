package badgerstore

import (
	"bytes"
	"context"
	"errors"

	"github.com/dgraph-io/badger/v4"

	"github.com/xteam/xteam/domain/alert"
	"github.com/xteam/xteam/ports"
)

// Alerts is the port of alerts.
type Alerts struct{ db *DB }

var _ ports.Alerts = (*Alerts)(nil)

// Update runs change once.
func (p *Alerts) Update(ctx context.Context, change func(alert.Book) (alert.Book, ports.Effects, error)) error {
	return p.db.write(ctx, p.db.systemLocks, []byte(alertsKey), func(w *writeSet) error {
		was, err := p.Load(ctx)
		if err != nil {
			return err
		}
		before := was.Encode() // now: change may write into the slices that it is handed
		next, effects, err := change(was)
		if err != nil {
			return err
		}
		if plain := next.Encode(); !bytes.Equal(plain, before) {
			if err := p.db.setSealed(w, []byte(alertsKey), plain, 0); err != nil {
				return err
			}
		}
		return p.db.effects(w, effects)
	})
}

// Load reads the book; that of a new store is empty.
func (p *Alerts) Load(ctx context.Context) (b alert.Book, err error) {
	err = p.db.view(ctx, func(txn *badger.Txn) error {
		plain, err := p.db.getSealed(txn, []byte(alertsKey))
		switch {
		case errors.Is(err, ports.ErrNotFound):
			return nil
		case err != nil:
			return err
		}
		if b, err = alert.Decode(plain); err != nil {
			return p.db.unreadable("the book of alerts", err)
		}
		return nil
	})
	return b, err
}
