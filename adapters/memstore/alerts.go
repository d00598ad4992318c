package memstore

import (
	"context"

	"github.com/xteam/xteam/domain/alert"
	"github.com/xteam/xteam/ports"
)

// Alerts is the store's ports.Alerts.
type Alerts struct{ s *Store }

var _ ports.Alerts = Alerts{}

// Alerts answers the port of alerts.
func (s *Store) Alerts() Alerts { return Alerts{s} }

// Update replaces the book by what change makes of it.
func (p Alerts) Update(ctx context.Context, change func(alert.Book) (alert.Book, ports.Effects, error)) error {
	return update(ctx, p.s, func() record[alert.Book] { return p.s.alerts }, alert.Book.Clone, change, func(next record[alert.Book]) error {
		p.s.alerts = next
		return nil
	})
}

// Load answers the book.
func (p Alerts) Load(ctx context.Context) (b alert.Book, err error) {
	err = p.s.read(ctx, func() { b = p.s.alerts.value.Clone() })
	return b, err
}
