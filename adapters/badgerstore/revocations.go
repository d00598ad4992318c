package badgerstore

import (
	"context"
	"encoding/binary"
	"time"

	"github.com/dgraph-io/badger/v4"

	"github.com/xteam/xteam/domain/instant"
	"github.com/xteam/xteam/domain/revocation"
	"github.com/xteam/xteam/domain/token"
	"github.com/xteam/xteam/ports"
)

// Revocations is the port of revocations.
type Revocations struct{ db *DB }

var (
	_ ports.Revocations = (*Revocations)(nil)
	_ ports.Finder      = (*Revocations)(nil)
)

// heartbeat is how long a follower waits at most to hear that there is nothing new.
const heartbeat = 500 * time.Millisecond

// delivery is how many entries a follower is given at once, at most.
const delivery = 4096

// Record stores the entries, a long call in several transactions.
func (p *Revocations) Record(ctx context.Context, entries ...revocation.Entry) error {
	if err := p.db.ready(ctx); err != nil {
		return err
	}
	if err := validate(entries); err != nil {
		return err
	}
	for len(entries) > 0 {
		w := &writeSet{}
		n, size := 0, int64(0)
		for ; n < min(len(entries), p.db.share()) && size < p.db.shareBytes(); n++ {
			item, err := p.db.newEntry(entries[n])
			if err != nil {
				return err
			}
			w.revocations = append(w.revocations, item)
			size += int64(len(item.item.Key) + len(item.item.Value) + overhead)
		}
		if err := p.db.commits.commit(ctx, w); err != nil {
			return err
		}
		entries = entries[n:]
	}
	return nil
}

// Follow reads all entries in the order of their keys, and then hears from the committer. An entry is given out until Badger drops it, which is
// Margin after its Until.
func (p *Revocations) Follow(ctx context.Context, fn func(ports.News) error) error {
	x := p.db.followers.join()
	defer p.db.followers.leave(x)
	tick := time.NewTicker(heartbeat)
	defer tick.Stop()
	for reread := true; ; reread = false {
		if err := p.round(ctx, x, reread, fn); err != nil {
			return err
		}
		select {
		case <-x.wake:
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		case <-p.db.closing:
			return p.db.errClosed()
		}
	}
}

// round delivers the whole store, or what the queue of x holds, and ends with Caught.
func (p *Revocations) round(ctx context.Context, x *follower, reread bool, fn func(ports.News) error) error {
	queue, lost := x.take() // before the store is read: what is committed from here on is queued again
	if reread || lost {
		return p.everything(ctx, fn)
	}
	for {
		if err := p.db.ready(ctx); err != nil {
			return err
		}
		n := min(len(queue), delivery)
		part := queue[:n:n]
		queue = queue[n:]
		if err := fn(ports.News{Entries: part, Caught: len(queue) == 0}); err != nil {
			return err
		}
		if len(queue) == 0 {
			return nil
		}
	}
}

// everything delivers all entries. It holds neither a lock nor a transaction while fn runs.
func (p *Revocations) everything(ctx context.Context, fn func(ports.News) error) error {
	from := []byte(entryPrefix)
	for {
		entries, next, err := p.page(ctx, from)
		if err != nil {
			return err
		}
		if err := fn(ports.News{Entries: entries, Caught: next == nil}); err != nil {
			return err
		}
		if next == nil {
			return nil
		}
		from = next
	}
}

// page reads the entries from a key on, and answers the key at which the next page begins, or nil when there is none. The values stand beside their keys: to
// prefetch them, as Badger would with a goroutine for each, makes it slower.
func (p *Revocations) page(ctx context.Context, from []byte) (entries []revocation.Entry, next []byte, err error) {
	entries = make([]revocation.Entry, 0, delivery)
	err = p.db.view(ctx, func(txn *badger.Txn) error {
		it := txn.NewIterator(badger.IteratorOptions{Prefix: []byte(entryPrefix)})
		defer it.Close()
		for it.Seek(from); it.Valid(); it.Next() {
			item := it.Item()
			if len(entries) == delivery {
				next = item.KeyCopy(nil)
				return nil
			}
			err := item.Value(func(value []byte) error {
				e, err := p.db.decodeEntry(item.Key(), value)
				entries = append(entries, e)
				return err
			})
			if err != nil {
				return p.db.unreadable("a revocation", err)
			}
		}
		return nil
	})
	return entries, next, err
}

// Find goes to where each text would lie among the keys.
func (p *Revocations) Find(ctx context.Context, beginnings ...string) (found []revocation.Entry, err error) {
	err = p.db.view(ctx, func(txn *badger.Txn) error {
		it := txn.NewIterator(badger.IteratorOptions{Prefix: []byte(entryPrefix)})
		defer it.Close()
		seen := map[string]bool{}
		for _, text := range beginnings {
			from := append([]byte(entryPrefix), text...)
			for it.Seek(from); it.ValidForPrefix(from); it.Next() {
				item := it.Item()
				err := item.Value(func(value []byte) error {
					e, err := p.db.decodeEntry(item.Key(), value)
					if key := e.Key(); err == nil && !seen[key] {
						seen[key] = true
						found = append(found, e)
					}
					return err
				})
				if err != nil {
					return p.db.unreadable("a revocation", err)
				}
			}
		}
		return nil
	})
	return found, err
}

// newEntry encodes an entry. Its key holds what it names.
func (db *DB) newEntry(e revocation.Entry) (newEntry, error) {
	key := append([]byte(entryPrefix), e.Key()...)
	value := newEncoder()
	value.int(1, int64(e.Reason))
	value.text(2, e.By)
	if e.Note != "" {
		sealed, err := db.seal(key, []byte(e.Note))
		if err != nil {
			return newEntry{}, err
		}
		value.bytes(3, sealed)
	}
	value.int(4, int64(e.At))
	value.int(5, int64(e.Until))
	item := badger.NewEntry(key, value)
	item.ExpiresAt = expiry(e.Until)
	return newEntry{e, item}, nil
}

// decodeEntry is the reverse.
func (db *DB) decodeEntry(key, value []byte) (revocation.Entry, error) {
	e, ok := named(key[len(entryPrefix):])
	if !ok {
		return e, errNewer
	}
	err := decode(value, func(f field) {
		switch f.tag {
		case 1:
			e.Reason = revocation.Reason(f.int())
		case 2:
			e.By = f.text()
		case 3:
			note, err := db.openNote(key, f.raw)
			if err != nil {
				f.fail(err)
			}
			e.Note = note
		case 4:
			e.At = instant.Instant(f.int())
		case 5:
			e.Until = instant.Instant(f.int())
		default:
			f.unknown()
		}
	})
	return e, err
}

// openNote opens a note, of which nothing depends: when that cannot be, the entry is good without it.
func (db *DB) openNote(key, sealed []byte) (string, error) {
	sealer, err := db.unlocked()
	if err != nil {
		return "", err
	}
	note, err := sealer.Open(string(key), sealed)
	if err != nil {
		db.noteLost.Do(func() {
			db.log.Warn("the note of a revocation does not open, and is left out; of others that do not, nothing more will be said", "folder", db.dir, "error", err)
		})
	}
	return string(note), nil
}

// named is the reverse of revocation.Entry.Key.
func named(key []byte) (e revocation.Entry, ok bool) {
	if len(key) == 0 {
		return e, false
	}
	kind, rest := revocation.Kind(key[0]), key[1:]
	e.Kind = kind
	switch {
	case kind == revocation.Token && len(rest) == len(e.Token):
		copy(e.Token[:], rest)
	case kind == revocation.Session && len(rest) == len(e.Session):
		copy(e.Session[:], rest)
	case kind == revocation.User && len(rest) == len(e.User)+8:
		e.Min = token.Generation(binary.BigEndian.Uint64(rest[copy(e.User[:], rest):]))
	case kind == revocation.Key && len(rest) > 0:
		e.KeyID = string(rest)
	case kind == revocation.Epoch && len(rest) == 8:
		e.Epoch = token.Epoch(binary.BigEndian.Uint64(rest))
	case kind == revocation.IssuedBefore && len(rest) == 8:
		e.Before = instant.Instant(binary.BigEndian.Uint64(rest))
	case kind == revocation.APIKey && len(rest) == len(e.APIKey):
		copy(e.APIKey[:], rest)
	default:
		return e, false
	}
	return e, true
}

func validate(entries []revocation.Entry) error {
	for i := range entries {
		if err := entries[i].Validate(); err != nil {
			return err
		}
	}
	return nil
}
