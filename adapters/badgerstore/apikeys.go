package badgerstore

import (
	"context"
	"encoding/binary"
	"errors"

	"github.com/dgraph-io/badger/v4"

	"github.com/xteam/xteam/domain/apikey"
	"github.com/xteam/xteam/domain/id"
	"github.com/xteam/xteam/domain/instant"
	"github.com/xteam/xteam/domain/revocation"
	"github.com/xteam/xteam/domain/token"
	"github.com/xteam/xteam/ports"
)

// APIKeys is the port of API keys. A key is dropped Margin after its Kept.
type APIKeys struct{ db *DB }

var _ ports.APIKeys = (*APIKeys)(nil)

// APIKeys answers the port of API keys.
func (db *DB) APIKeys() *APIKeys { return &APIKeys{db} }

// Create stores a new key, under the lock of its id as one that is new.
func (p *APIKeys) Create(ctx context.Context, k apikey.Key, e ports.Effects) error {
	if err := p.db.space.refusesNew(); err != nil {
		return err
	}
	return p.db.write(ctx, p.db.nameLocks, apiKeyKey(k.ID), func(w *writeSet) error {
		if err := p.add(ctx, w, &k); err != nil {
			return err
		}
		return p.db.effects(w, e)
	})
}

// Update runs change once.
func (p *APIKeys) Update(ctx context.Context, kid id.APIKey, change func(apikey.Key) (apikey.Key, ports.Effects, error)) error {
	return p.update(ctx, kid, func(_ *writeSet, k apikey.Key) (apikey.Key, ports.Effects, error) { return change(k) })
}

// Replace runs change once. The lock of the new id, as one that is new, is taken after that of the old one, which only the holders of an existing key's lock ask
// for: nobody waits in a circle.
func (p *APIKeys) Replace(ctx context.Context, kid id.APIKey, change func(apikey.Key) (apikey.Key, apikey.Key, ports.Effects, error)) error {
	return p.update(ctx, kid, func(w *writeSet, k apikey.Key) (apikey.Key, ports.Effects, error) {
		changed, next, e, err := change(k)
		if err != nil {
			return k, ports.Effects{}, err
		}
		if next.Owner != k.Owner {
			return k, ports.Effects{}, errors.New("badger store: a key and the one that takes its place have one owner")
		}
		if err := w.held.lock(ctx, p.db.nameLocks, apiKeyKey(next.ID)); err != nil {
			return k, ports.Effects{}, err
		}
		return changed, e, p.add(ctx, w, &next)
	})
}

// update changes a key under the lock of its id. API keys share the locks of sessions.
func (p *APIKeys) update(ctx context.Context, kid id.APIKey, change func(*writeSet, apikey.Key) (apikey.Key, ports.Effects, error)) error {
	return p.db.write(ctx, p.db.sessionLocks, apiKeyKey(kid), func(w *writeSet) error {
		was, err := p.Find(ctx, kid)
		if err != nil {
			return err
		}
		next, effects, err := change(w, was)
		if err != nil {
			return err
		}
		if next.ID != kid || next.Owner != was.Owner {
			return errors.New("badger store: the id and the owner of an API key cannot change")
		}
		if next != was {
			if err := p.set(w, &next); err != nil {
				return err
			}
		}
		if next.Created != was.Created {
			w.deletes = append(w.deletes, apiKeyOfUser(&was))
		}
		if next.Created != was.Created || next.Kept() != was.Kept() {
			w.sets = append(w.sets, listedAPIKey(&next))
		}
		return p.db.effects(w, effects)
	})
}

// add stores a key whose id nobody has. The caller holds its lock.
func (p *APIKeys) add(ctx context.Context, w *writeSet, k *apikey.Key) error {
	if err := p.db.absent(ctx, apiKeyKey(k.ID)); err != nil {
		return err
	}
	w.sets = append(w.sets, listedAPIKey(k))
	return p.set(w, k)
}

// Find reads one key.
func (p *APIKeys) Find(ctx context.Context, kid id.APIKey) (k apikey.Key, err error) {
	err = p.db.view(ctx, func(txn *badger.Txn) error {
		k, err = p.find(txn, kid)
		return err
	})
	return k, err
}

// OfUser reads the keys of an owner by their list.
func (p *APIKeys) OfUser(ctx context.Context, uid id.User) (all []apikey.Key, err error) {
	err = p.db.view(ctx, func(txn *badger.Txn) error {
		it := txn.NewIterator(badger.IteratorOptions{Prefix: apiKeysOf(uid)})
		defer it.Close()
		for it.Rewind(); it.Valid(); it.Next() {
			key := it.Item().Key()
			k, err := p.find(txn, id.APIKey(key[len(key)-len(id.APIKey{}):]))
			switch {
			case errors.Is(err, ports.ErrNotFound): // its second came between the two
				continue
			case err != nil:
				return err
			}
			all = append(all, k)
		}
		return nil
	})
	return all, err
}

// Ending looks at all keys, and opens those alone that it answers: when a record is dropped follows from its Kept, and that from its End.
func (p *APIKeys) Ending(ctx context.Context, from, until instant.Instant, after id.APIKey, limit int) (all []apikey.Key, err error) {
	seconds := func(end instant.Instant) uint64 { return expiry(end.Add(apikey.Keep)) }
	err = p.db.view(ctx, func(txn *badger.Txn) error {
		it := txn.NewIterator(badger.IteratorOptions{Prefix: []byte(apiKeyPrefix)})
		defer it.Close()
		for it.Seek(apiKeyKey(after)); it.Valid() && len(all) < limit; it.Next() {
			if at := it.Item().ExpiresAt(); at < seconds(from) || at > seconds(until) {
				continue
			}
			kid := id.APIKey(it.Item().Key()[len(apiKeyPrefix):])
			k, err := p.find(txn, kid)
			switch {
			case errors.Is(err, ports.ErrNotFound): // its second came between the two
				continue
			case err != nil:
				return err
			}
			if end := k.End(); kid != after && end >= from && end < until {
				all = append(all, k)
			}
		}
		return ctx.Err()
	})
	return all, err
}

func (p *APIKeys) find(txn *badger.Txn, kid id.APIKey) (apikey.Key, error) {
	plain, err := p.db.getSealed(txn, apiKeyKey(kid))
	if err != nil {
		return apikey.Key{}, err
	}
	k, err := decodeAPIKey(kid, plain)
	if err != nil {
		return apikey.Key{}, p.db.unreadable("an API key", err)
	}
	return k, nil
}

func (p *APIKeys) set(w *writeSet, k *apikey.Key) error {
	return p.db.setSealed(w, apiKeyKey(k.ID), encodeAPIKey(k), expiry(k.Kept()))
}

// listedAPIKey is the item by which a key is found among those of its owner.
func listedAPIKey(k *apikey.Key) *badger.Entry {
	item := badger.NewEntry(apiKeyOfUser(k), nil)
	item.ExpiresAt = expiry(k.Kept())
	return item
}

func apiKeyKey(kid id.APIKey) []byte { return append([]byte(apiKeyPrefix), kid[:]...) }

func apiKeysOf(uid id.User) []byte { return append([]byte(ownerPrefix), uid[:]...) }

// apiKeyOfUser is the key by which an API key is found among those of its owner, in the order of their creation.
func apiKeyOfUser(k *apikey.Key) []byte {
	b := binary.BigEndian.AppendUint64(apiKeysOf(k.Owner), uint64(k.Created)^1<<63)
	return append(b, k.ID[:]...)
}

func encodeAPIKey(k *apikey.Key) []byte {
	e := newEncoder()
	e.bytes(1, k.Owner[:])
	e.int(2, int64(k.Generation))
	e.text(3, string(k.Environment))
	e.text(4, k.Name.String())
	e.int(5, int64(k.Scopes))
	e.bytes(6, k.Hash[:])
	e.int(7, int64(k.Created))
	e.int(8, int64(k.Expires))
	if !k.Successor.IsZero() {
		e.bytes(9, k.Successor[:])
	}
	e.int(10, int64(k.Retires))
	e.int(11, int64(k.Revoked))
	e.int(12, int64(k.RevokedReason))
	e.int(13, int64(k.LastUsed))
	e.bytes(14, encodeOrigin(k.LastFrom))
	e.int(15, int64(k.Uses))
	if !k.MadeBy.Session.IsZero() {
		e.bytes(16, k.MadeBy.Session[:])
	}
	if !k.MadeBy.Key.IsZero() {
		e.bytes(17, k.MadeBy.Key[:])
	}
	if k.Networks != (apikey.Networks{}) {
		e.bytes(18, encodeNetworks(k.Networks))
	}
	e.int(19, k.Habit.Hour)
	e.int(20, int64(k.Habit.Uses))
	if k.Habit.Unusual {
		e.int(21, 1)
	}
	e.int(22, int64(k.Habit.Average))
	e.int(23, int64(k.Habit.Hours))
	e.int(24, k.Limit)
	e.int(25, int64(k.Warned))
	e.bytes(26, k.Known.Bytes())
	e.int(27, int64(k.Roamed))
	return e
}

// encodeNetworks is each by its length and its binary form, the zero ones too.
func encodeNetworks(n apikey.Networks) (b []byte) {
	for _, p := range n {
		one, _ := p.MarshalBinary() // never fails
		b = append(append(b, byte(len(one))), one...)
	}
	return b
}

func decodeNetworks(b []byte) (n apikey.Networks, err error) {
	for i := range n {
		if len(b) == 0 || len(b) < 1+int(b[0]) {
			return n, errDamaged
		}
		if err := n[i].UnmarshalBinary(b[1 : 1+b[0]]); err != nil {
			return n, errDamaged
		}
		b = b[1+b[0]:]
	}
	if len(b) > 0 {
		return n, errDamaged
	}
	return n, nil
}

func decodeAPIKey(kid id.APIKey, value []byte) (apikey.Key, error) {
	k := apikey.Key{ID: kid}
	err := decode(value, func(f field) {
		switch f.tag {
		case 1:
			f.copy(k.Owner[:])
		case 2:
			k.Generation = token.Generation(f.int())
		case 3:
			k.Environment = apikey.Environment(f.text())
		case 4:
			name, err := apikey.ParseName(f.text())
			if err != nil {
				f.fail(errDamaged)
			}
			k.Name = name
		case 5:
			k.Scopes = apikey.Scopes(f.int())
		case 6:
			f.copy(k.Hash[:])
		case 7:
			k.Created = instant.Instant(f.int())
		case 8:
			k.Expires = instant.Instant(f.int())
		case 9:
			f.copy(k.Successor[:])
		case 10:
			k.Retires = instant.Instant(f.int())
		case 11:
			k.Revoked = instant.Instant(f.int())
		case 12:
			k.RevokedReason = revocation.Reason(f.int())
		case 13:
			k.LastUsed = instant.Instant(f.int())
		case 14:
			k.LastFrom = f.origin()
		case 15:
			k.Uses = uint64(f.int())
		case 16:
			f.copy(k.MadeBy.Session[:])
		case 17:
			f.copy(k.MadeBy.Key[:])
		case 18:
			networks, err := decodeNetworks(f.raw)
			if err != nil {
				f.fail(err)
			}
			k.Networks = networks
		case 19:
			k.Habit.Hour = f.int()
		case 20:
			k.Habit.Uses = uint64(f.int())
		case 21:
			k.Habit.Unusual = f.int() == 1
		case 22:
			k.Habit.Average = uint64(f.int())
		case 23:
			k.Habit.Hours = uint32(f.int())
		case 24:
			k.Limit = f.int()
		case 25:
			k.Warned = uint8(f.int())
		case 26:
			k.Known = f.places()
		case 27:
			k.Roamed = instant.Instant(f.int())
		default:
			f.unknown()
		}
	})
	return k, err
}
