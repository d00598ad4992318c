package badgerstore

import (
	"context"
	"encoding/binary"
	"errors"
	"slices"

	"github.com/dgraph-io/badger/v4"

	"github.com/xteam/xteam/domain/audit"
	"github.com/xteam/xteam/ports"
)

// Events is the port of security events.
type Events struct{ db *DB }

var _ ports.Events = (*Events)(nil)

// Record stores the events, a long call in several transactions.
func (p *Events) Record(ctx context.Context, events ...audit.Event) error {
	if err := p.db.ready(ctx); err != nil {
		return err
	}
	for len(events) > 0 {
		w := &writeSet{}
		n, size := 0, int64(0)
		for ; n < min(len(events), p.db.share()) && size < p.db.shareBytes(); n++ {
			if err := p.db.effects(w, ports.Effects{Events: events[n : n+1]}); err != nil {
				return err
			}
			size += int64(len(w.events[n]))
		}
		if err := p.db.commits.commit(ctx, w); err != nil {
			return err
		}
		events = events[n:]
	}
	return nil
}

// List reads a page in the order of positions, which is that of the commits.
func (p *Events) List(ctx context.Context, after uint64, limit int) (events []audit.Event, last uint64, err error) {
	last = after
	err = p.db.view(ctx, func(txn *badger.Txn) error {
		if after+1 == 0 {
			return nil
		}
		it := txn.NewIterator(badger.IteratorOptions{Prefix: []byte(eventPrefix)})
		defer it.Close()
		for it.Seek(eventKey(after + 1)); it.Valid() && len(events) < limit; it.Next() {
			event, err := p.read(it.Item())
			if damaged := (*audit.DamagedError)(nil); errors.As(err, &damaged) && len(events) > 0 { // the next call is told of it
				return nil
			}
			if err != nil {
				return err
			}
			events, last = append(events, event), position(it.Item().Key())
		}
		return nil
	})
	return events, last, err
}

// Latest reads from the end back.
func (p *Events) Latest(ctx context.Context, after uint64, limit int) (events []audit.Event, err error) {
	err = p.db.view(ctx, func(txn *badger.Txn) error {
		it := txn.NewIterator(badger.IteratorOptions{Prefix: []byte(eventPrefix), Reverse: true})
		defer it.Close()
		for it.Seek(eventKey(1<<64 - 1)); it.Valid() && position(it.Item().Key()) > after && len(events) < limit; it.Next() {
			event, err := p.read(it.Item())
			if damaged := (*audit.DamagedError)(nil); errors.As(err, &damaged) {
				event, err = p.unreadable(it.Item())
			}
			if err != nil {
				return err
			}
			events = append(events, event)
		}
		return nil
	})
	slices.Reverse(events)
	return events, err
}

// read reads one event; one that does not open is what is told in its place, and one that is not understood an *audit.DamagedError.
func (p *Events) read(item *badger.Item) (audit.Event, error) {
	sealed, err := p.db.sealedItem(item)
	if err != nil {
		return audit.Event{}, err
	}
	plain, err := p.db.open(item.Key(), sealed)
	if err != nil {
		return p.unreadable(item)
	}
	event, err := decodeEvent(plain)
	if err != nil {
		return event, &audit.DamagedError{At: position(item.Key()), Err: p.db.unreadable("an event", err)}
	}
	return event, nil
}

func (p *Events) unreadable(item *badger.Item) (audit.Event, error) {
	sealed, err := p.db.sealedItem(item)
	return audit.StandIn(position(item.Key()), sealed, int64(len(sealed)), nil), err
}

func position(key []byte) uint64 { return binary.BigEndian.Uint64(key[len(eventPrefix):]) }

// lastPosition is that of the last event, or 0.
func lastPosition(txn *badger.Txn) uint64 {
	it := txn.NewIterator(badger.IteratorOptions{Prefix: []byte(eventPrefix), Reverse: true})
	defer it.Close()
	it.Seek(eventKey(1<<64 - 1))
	if !it.Valid() {
		return 0
	}
	return position(it.Item().Key())
}
