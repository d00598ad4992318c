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

// Trail is the port of the audit trail, and of what is taken out of it.
type Trail struct{ db *DB }

var (
	_ ports.Trail     = (*Trail)(nil)
	_ ports.TrailCare = (*Trail)(nil)
)

// Append adds links behind the head, in one transaction.
func (p *Trail) Append(ctx context.Context, was audit.Checkpoint, links []audit.Link, next audit.Checkpoint) error {
	return p.db.write(ctx, p.db.systemLocks, []byte(trailKey), func(w *writeSet) error {
		head, err := p.Head(ctx)
		switch {
		case err != nil:
			return err
		case head.Last != was:
			return ports.ErrTaken
		}
		if err := audit.Follows(was, links, next); err != nil {
			return err
		}
		for i := range links {
			if err := p.set(w, &links[i]); err != nil {
				return err
			}
		}
		head.Last = next
		w.sets = append(w.sets, badger.NewEntry([]byte(trailKey), encodeHead(&head)))
		return nil
	})
}

func (p *Trail) set(w *writeSet, l *audit.Link) error {
	return p.db.setSealed(w, linkKey(l.Record.Seq), encodeLink(l), 0)
}

// Head reads the head.
func (p *Trail) Head(ctx context.Context) (h audit.Head, err error) {
	err = p.db.view(ctx, func(txn *badger.Txn) error {
		h, err = p.head(txn)
		return err
	})
	return h, err
}

func (p *Trail) head(txn *badger.Txn) (h audit.Head, err error) {
	value, err := p.db.get(txn, []byte(trailKey))
	if errors.Is(err, ports.ErrNotFound) {
		return h, nil
	}
	if err != nil {
		return h, err
	}
	if h, err = decodeHead(value); err != nil {
		return h, &audit.DamagedError{Err: p.db.unreadable("the head of the audit trail", err)}
	}
	return h, nil
}

// List reads a page in the order of records.
func (p *Trail) List(ctx context.Context, after uint64, limit int) (links []audit.Link, err error) {
	err = p.db.view(ctx, func(txn *badger.Txn) error {
		head, err := p.head(txn)
		after = max(after, head.Cut.Seq)
		if err != nil || after+1 == 0 {
			return err
		}
		it := txn.NewIterator(badger.IteratorOptions{Prefix: []byte(linkPrefix)})
		defer it.Close()
		for it.Seek(linkKey(after + 1)); it.Valid() && len(links) < limit; it.Next() {
			l, err := p.link(it.Item())
			if damaged := (*audit.DamagedError)(nil); errors.As(err, &damaged) && len(links) > 0 { // the next call is told of it
				return nil
			}
			if err != nil {
				return err
			}
			links = append(links, l)
		}
		return nil
	})
	return links, err
}

func (p *Trail) link(item *badger.Item) (audit.Link, error) {
	sealed, err := p.db.sealedItem(item)
	if err != nil {
		return audit.Link{}, err
	}
	plain, err := p.db.open(item.Key(), sealed)
	if err == nil {
		var l audit.Link
		if l, err = decodeLink(plain); err == nil {
			return l, nil
		}
	}
	return audit.Link{}, &audit.DamagedError{At: binary.BigEndian.Uint64(item.Key()[len(linkPrefix):]), Err: p.db.unreadable("a record of the audit trail", err)}
}

// erasedAtOnce is how many records a transaction blanks at most, with their events.
const erasedAtOnce = 64

// Erase blanks records and their events, some in each transaction.
func (p *Trail) Erase(ctx context.Context, seqs ...uint64) (erased int, err error) {
	if err := p.db.ready(ctx); err != nil {
		return 0, err
	}
	for part := range slices.Chunk(seqs, erasedAtOnce) {
		n := 0
		err := p.db.write(ctx, p.db.systemLocks, []byte(trailKey), func(w *writeSet) error {
			return p.db.view(ctx, func(txn *badger.Txn) (err error) {
				n, err = p.blank(txn, w, part)
				return err
			})
		})
		if err != nil {
			return erased, err
		}
		erased += n
	}
	return erased, nil
}

func (p *Trail) blank(txn *badger.Txn, w *writeSet, seqs []uint64) (n int, err error) {
	head, err := p.head(txn)
	if err != nil {
		return 0, err
	}
	seqs = slices.Compact(slices.Sorted(slices.Values(seqs)))
	for _, seq := range seqs {
		item, err := txn.Get(linkKey(seq))
		switch {
		case errors.Is(err, badger.ErrKeyNotFound) || seq <= head.Cut.Seq:
			continue
		case err != nil:
			return 0, p.db.unavailable("read", err)
		}
		l, err := p.link(item)
		if err != nil {
			return 0, err
		}
		if l.Erased() {
			continue
		}
		if err := p.blankEvent(txn, w, &l); err != nil {
			return 0, err
		}
		l.Salt = audit.Salt{}
		if err := p.set(w, &l); err != nil {
			return 0, err
		}
		n++
	}
	return n, nil
}

// blankEvent blanks the event of a link, wherever it stands behind the link's position.
func (p *Trail) blankEvent(txn *badger.Txn, w *writeSet, l *audit.Link) error {
	it := txn.NewIterator(badger.IteratorOptions{Prefix: []byte(eventPrefix)})
	defer it.Close()
	left := audit.MaxBatch
	for it.Seek(eventKey(l.Behind + 1)); it.Valid() && left > 0; it.Next() {
		left--
		event, err := (&Events{p.db}).read(it.Item())
		if err != nil {
			return err
		}
		if event.ID != l.Record.Event || event.Kind == audit.EventUnreadable {
			continue
		}
		event.Erase()
		if err := p.db.setSealed(w, it.Item().KeyCopy(nil), encodeEvent(event), 0); err != nil {
			return err
		}
	}
	return nil
}

// Cut notes the cut, from which moment nobody reads what is before it, and then deletes that in as many transactions as it takes.
func (p *Trail) Cut(ctx context.Context, cut audit.Checkpoint) error {
	err := p.db.write(ctx, p.db.systemLocks, []byte(trailKey), func(w *writeSet) error {
		head, err := p.Head(ctx)
		if err != nil {
			return err
		}
		if err := head.Cuts(cut); err != nil || head.Cut == cut {
			return err
		}
		head.Cut = cut
		w.sets = append(w.sets, badger.NewEntry([]byte(trailKey), encodeHead(&head)))
		return nil
	})
	if err != nil {
		return err
	}
	first, err := p.List(ctx, cut.Seq, 1)
	if err != nil {
		return err
	}
	if err := p.drop(ctx, linkPrefix, linkKey(cut.Seq)); err != nil || len(first) == 0 {
		return err
	}
	return p.drop(ctx, eventPrefix, eventKey(first[0].Behind))
}

// drop deletes all records of a prefix up to a key.
func (p *Trail) drop(ctx context.Context, prefix string, last []byte) error {
	for {
		w := &writeSet{}
		err := p.db.view(ctx, func(txn *badger.Txn) error {
			it := txn.NewIterator(badger.IteratorOptions{Prefix: []byte(prefix)})
			defer it.Close()
			for it.Rewind(); it.Valid() && len(w.deletes) < p.db.share() && string(it.Item().Key()) <= string(last); it.Next() {
				w.deletes = append(w.deletes, it.Item().KeyCopy(nil))
			}
			return nil
		})
		if err != nil || len(w.deletes) == 0 {
			return err
		}
		if err := p.db.commits.commit(ctx, w); err != nil {
			return err
		}
	}
}

func encodeHead(h *audit.Head) []byte {
	e := newEncoder()
	e.bytes(1, checkpoint(&h.Last))
	e.bytes(2, checkpoint(&h.Cut))
	return e
}

// checkpoint is its own encoding, or nothing for the zero value.
func checkpoint(c *audit.Checkpoint) []byte {
	if c == nil || c.IsZero() {
		return nil
	}
	return c.Append(nil)
}

func decodeHead(value []byte) (h audit.Head, err error) {
	err = decode(value, func(f field) {
		switch f.tag {
		case 1:
			h.Last = f.checkpoint()
		case 2:
			h.Cut = f.checkpoint()
		default:
			f.unknown()
		}
	})
	return h, err
}

func (f field) checkpoint() audit.Checkpoint {
	c, err := audit.DecodeCheckpoint(f.raw)
	if err != nil {
		f.fail(errDamaged)
	}
	return c
}

func encodeLink(l *audit.Link) []byte {
	e := newEncoder()
	e.bytes(1, l.Record.Append(nil))
	if !l.Erased() {
		e.bytes(2, l.Salt[:])
	}
	e.int(3, int64(l.Behind))
	e.bytes(4, checkpoint(l.Checkpoint))
	return e
}

func decodeLink(value []byte) (l audit.Link, err error) {
	err = decode(value, func(f field) {
		var err error
		switch f.tag {
		case 1:
			l.Record, err = audit.DecodeRecord(f.raw)
		case 2:
			f.copy(l.Salt[:])
		case 3:
			l.Behind = uint64(f.int())
		case 4:
			c := f.checkpoint()
			l.Checkpoint = &c
		default:
			f.unknown()
		}
		if err != nil {
			f.fail(errDamaged)
		}
	})
	return l, err
}
