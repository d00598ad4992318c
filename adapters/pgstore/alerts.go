package pgstore

import (
	"bytes"
	"context"

	"github.com/xteam/xteam/adapters/pgstore/queries"
	"github.com/xteam/xteam/domain/alert"
	"github.com/xteam/xteam/ports"
)

// Alerts is the port of alerts.
type Alerts struct{ db *DB }

var _ ports.Alerts = (*Alerts)(nil)

// alertsContext is what the book is sealed for.
const alertsContext = "alerts"

// Update runs change under the lock of the one row.
func (p *Alerts) Update(ctx context.Context, change func(alert.Book) (alert.Book, ports.Effects, error)) error {
	return p.db.change(ctx, "change the alerts in", "alerts", func(ctx context.Context, tx *transaction) (ports.Effects, error) {
		row, err := tx.first.LockAlerts(ctx)
		if err != nil {
			return ports.Effects{}, found(err)
		}
		was, err := p.opened(row)
		if err != nil {
			return ports.Effects{}, err
		}
		before := was.Encode() // now: change may write into the slices that it is handed
		next, e, err := change(was)
		if err != nil {
			return e, err
		}
		plain := next.Encode()
		if bytes.Equal(plain, before) {
			return e, nil
		}
		sealed, err := p.db.seal(alertsContext, plain)
		if err != nil {
			return e, err
		}
		return e, tx.then.SetAlerts(ctx, sealed)
	})
}

// Load reads the book; that of a new database is empty.
func (p *Alerts) Load(ctx context.Context) (alert.Book, error) {
	row, err := read(ctx, p.db, func(ctx context.Context, q *queries.Queries) ([]byte, error) { return q.FindAlerts(ctx) })
	if err != nil {
		return alert.Book{}, err
	}
	return p.opened(row)
}

func (p *Alerts) opened(row []byte) (alert.Book, error) {
	if len(row) == 0 {
		return alert.Book{}, nil
	}
	plain, err := p.db.open(alertsContext, row)
	if err != nil {
		return alert.Book{}, err
	}
	b, err := alert.Decode(plain)
	if err != nil {
		return b, p.db.unreadable("the book of alerts", err)
	}
	return b, nil
}
