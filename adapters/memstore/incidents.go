package memstore

import (
	"context"

	"github.com/xteam/xteam/domain/incident"
	"github.com/xteam/xteam/ports"
)

// Incidents is the store's ports.Incidents.
type Incidents struct{ s *Store }

var _ ports.Incidents = Incidents{}

// Incidents answers the port of incidents.
func (s *Store) Incidents() Incidents { return Incidents{s} }

// Update replaces the book by what change makes of it.
func (p Incidents) Update(ctx context.Context, change func(incident.Casebook) (incident.Casebook, ports.Effects, error)) error {
	return update(ctx, p.s, func() record[incident.Casebook] { return p.s.incidents }, incident.Casebook.Clone, change, func(next record[incident.Casebook]) error {
		p.s.incidents = next
		return nil
	})
}

// Load answers the book.
func (p Incidents) Load(ctx context.Context) (b incident.Casebook, err error) {
	err = p.s.read(ctx, func() { b = p.s.incidents.value.Clone() })
	return b, err
}

// Revision answers the book's.
func (p Incidents) Revision(ctx context.Context) (n uint64, err error) {
	err = p.s.read(ctx, func() { n = p.s.incidents.value.Revision })
	return n, err
}
