package badgerstore

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"

	"github.com/dgraph-io/badger/v4"

	"github.com/xteam/xteam/domain/incident"
	"github.com/xteam/xteam/ports"
)

// Incidents is the port of incidents.
type Incidents struct{ db *DB }

var _ ports.Incidents = (*Incidents)(nil)

// Update runs change once.
func (p *Incidents) Update(ctx context.Context, change func(incident.Casebook) (incident.Casebook, ports.Effects, error)) error {
	return p.db.write(ctx, p.db.systemLocks, []byte(incidentsKey), func(w *writeSet) error {
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
			if err := p.db.setSealed(w, []byte(incidentsKey), plain, 0); err != nil {
				return err
			}
			w.sets = append(w.sets, badger.NewEntry([]byte(incidentsRevisionKey), binary.BigEndian.AppendUint64(nil, next.Revision)))
		}
		return p.db.effects(w, effects)
	})
}

// Load reads the book; that of a new store is empty.
func (p *Incidents) Load(ctx context.Context) (b incident.Casebook, err error) {
	err = p.db.view(ctx, func(txn *badger.Txn) error {
		plain, err := p.db.getSealed(txn, []byte(incidentsKey))
		switch {
		case errors.Is(err, ports.ErrNotFound):
			return nil
		case err != nil:
			return err
		}
		if b, err = incident.Decode(plain); err != nil {
			return p.db.unreadable("the book of incidents", err)
		}
		return nil
	})
	return b, err
}

// Revision reads the book's, which stands beside it in the clear.
func (p *Incidents) Revision(ctx context.Context) (n uint64, err error) {
	err = p.db.view(ctx, func(txn *badger.Txn) error {
		value, err := p.db.get(txn, []byte(incidentsRevisionKey))
		switch {
		case errors.Is(err, ports.ErrNotFound):
			return nil
		case err != nil:
			return err
		case len(value) != 8:
			return p.db.unreadable("the revision of the casebook", errors.New("it has another length"))
		}
		n = binary.BigEndian.Uint64(value)
		return nil
	})
	return n, err
}
