package pgstore

import (
	"bytes"
	"context"

	"github.com/xteam/xteam/adapters/pgstore/queries"
	"github.com/xteam/xteam/domain/incident"
	"github.com/xteam/xteam/ports"
)

// Incidents is the port of incidents.
type Incidents struct{ db *DB }

var _ ports.Incidents = (*Incidents)(nil)

// incidentsContext is what the book is sealed for.
const incidentsContext = "incidents"

// Update runs change under the lock of the one row.
func (p *Incidents) Update(ctx context.Context, change func(incident.Casebook) (incident.Casebook, ports.Effects, error)) error {
	return p.db.change(ctx, "change the incidents in", "incidents", func(ctx context.Context, tx *transaction) (ports.Effects, error) {
		row, err := tx.first.LockIncidents(ctx)
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
		sealed, err := p.db.seal(incidentsContext, plain)
		if err != nil {
			return e, err
		}
		return e, tx.then.SetIncidents(ctx, queries.SetIncidentsParams{Revision: int64(next.Revision), Body: sealed})
	})
}

// Load reads the book; that of a new database is empty.
func (p *Incidents) Load(ctx context.Context) (incident.Casebook, error) {
	row, err := read(ctx, p.db, func(ctx context.Context, q *queries.Queries) ([]byte, error) { return q.FindIncidents(ctx) })
	if err != nil {
		return incident.Casebook{}, err
	}
	return p.opened(row)
}

func (p *Incidents) opened(row []byte) (incident.Casebook, error) {
	if len(row) == 0 {
		return incident.Casebook{}, nil
	}
	plain, err := p.db.open(incidentsContext, row)
	if err != nil {
		return incident.Casebook{}, err
	}
	b, err := incident.Decode(plain)
	if err != nil {
		return b, p.db.unreadable("the book of incidents", err)
	}
	return b, nil
}

// Revision reads the book's, from a column of its own.
func (p *Incidents) Revision(ctx context.Context) (uint64, error) {
	n, err := read(ctx, p.db, func(ctx context.Context, q *queries.Queries) (int64, error) { return q.FindIncidentsRevision(ctx) })
	return uint64(n), err
}
