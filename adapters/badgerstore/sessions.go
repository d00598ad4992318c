package badgerstore

import (
	"bytes"
	"context"
	"errors"
	"time"

	"github.com/dgraph-io/badger/v4"

	"github.com/xteam/xteam/domain/account"
	"github.com/xteam/xteam/domain/id"
	"github.com/xteam/xteam/domain/session"
	"github.com/xteam/xteam/ports"
)

// ListedMost is how many sessions of a user are listed at most, the newest: however many are kept, one list is read in some milliseconds and little memory.
const ListedMost = 4096

// endedListed is how long a session that has ended is still listed. It needs no Margin: a clock that is wrong costs nothing but a place in a list.
const endedListed = time.Hour

// Sessions is the port of sessions. A session is dropped Margin after its Expires.
type Sessions struct{ db *DB }

var _ ports.Sessions = (*Sessions)(nil)

// Create stores a new session.
func (p *Sessions) Create(ctx context.Context, s session.Session, e ports.Effects) error {
	if err := p.db.space.refusesNew(); err != nil {
		return err
	}
	key := sessionKey(s.ID)
	return p.db.write(ctx, p.db.sessionLocks, key, func(w *writeSet) error {
		if err := p.db.absent(ctx, key); err != nil {
			return err
		}
		if err := p.set(w, &s); err != nil {
			return err
		}
		w.sets = append(w.sets, listed(&s))
		return p.db.effects(w, e)
	})
}

// Update runs change once.
func (p *Sessions) Update(ctx context.Context, sid id.Session, change func(session.Session) (session.Session, ports.Effects, error)) error {
	return p.db.write(ctx, p.db.sessionLocks, sessionKey(sid), func(w *writeSet) error {
		was, err := p.Find(ctx, sid)
		if err != nil {
			return err
		}
		before := encodeSession(was) // now: change may write into the slice that it is handed
		next, effects, err := change(was)
		if err != nil {
			return err
		}
		if next.ID != sid || next.User != was.User {
			return errors.New("badger store: the id and the user of a session cannot change")
		}
		if !bytes.Equal(encodeSession(next), before) {
			if err := p.set(w, &next); err != nil {
				return err
			}
		}
		if next.Created != was.Created {
			w.deletes = append(w.deletes, sessionOfUser(&was))
		}
		if next.Created != was.Created || next.Expires != was.Expires || next.Ended != was.Ended {
			w.sets = append(w.sets, listed(&next))
		}
		return p.db.effects(w, effects)
	})
}

// Find reads one session.
func (p *Sessions) Find(ctx context.Context, sid id.Session) (s session.Session, err error) {
	err = p.db.view(ctx, func(txn *badger.Txn) error {
		s, err = p.find(txn, sid)
		return err
	})
	return s, err
}

// Standing reads the session, its account, which is remembered mostly, and the state.
func (p *Sessions) Standing(ctx context.Context, sid id.Session) (out ports.Standing, err error) {
	if out.Session, err = p.Find(ctx, sid); err != nil {
		return ports.Standing{}, err
	}
	if out.Account, err = p.db.Accounts().Find(ctx, out.Session.User); err != nil {
		return ports.Standing{}, err
	}
	if out.System, err = p.db.System().Load(ctx); err != nil {
		return ports.Standing{}, err
	}
	return out, nil
}

// OfUser reads the sessions of a user by their list. It goes forward: backward, Badger makes an item of each that it hides.
func (p *Sessions) OfUser(ctx context.Context, uid id.User) (all []session.Session, err error) {
	err = p.db.view(ctx, func(txn *badger.Txn) error {
		it := txn.NewIterator(badger.IteratorOptions{Prefix: sessionsOf(uid)})
		defer it.Close()
		var newest []id.Session // ListedMost at most; the oldest stands at next
		next := 0
		for it.Rewind(); it.Valid(); it.Next() {
			key := it.Item().Key()
			sid := id.Session(key[len(key)-len(id.Session{}):])
			if len(newest) < ListedMost {
				newest = append(newest, sid)
				continue
			}
			newest[next] = sid
			next = (next + 1) % ListedMost
		}
		for _, sid := range append(newest[next:len(newest):len(newest)], newest[:next]...) {
			s, err := p.find(txn, sid)
			switch {
			case errors.Is(err, ports.ErrNotFound): // its second came between the two
				continue
			case err != nil:
				return err
			}
			all = append(all, s)
		}
		return nil
	})
	return all, err
}

// List goes through the lists of all users, which stand one behind the other.
func (p *Sessions) List(ctx context.Context, after session.Place, limit int) (all []ports.Held, err error) {
	err = p.db.view(ctx, func(txn *badger.Txn) error {
		it := txn.NewIterator(badger.IteratorOptions{Prefix: []byte(userPrefix)})
		defer it.Close()
		from := sessionOfUser(&session.Session{User: after.User, Created: after.Created, ID: after.Session})
		var a account.Account
		var missing id.User
		for it.Seek(from); it.Valid() && len(all) < limit; it.Next() {
			key := it.Item().Key()
			uid, sid := id.User(key[len(userPrefix):]), id.Session(key[len(key)-len(id.Session{}):])
			if uid == missing || bytes.Equal(key, from) {
				continue
			}
			if a.ID != uid {
				a, err = p.db.Accounts().find(txn, uid)
				if errors.Is(err, ports.ErrNotFound) {
					missing = uid
					continue
				} else if err != nil {
					return err
				}
			}
			s, err := p.find(txn, sid)
			switch {
			case errors.Is(err, ports.ErrNotFound): // its second came between the two
				continue
			case err != nil:
				return err
			}
			all = append(all, ports.Held{Session: s, Account: a})
		}
		return ctx.Err()
	})
	return all, err
}

func (p *Sessions) find(txn *badger.Txn, sid id.Session) (session.Session, error) {
	plain, err := p.db.getSealed(txn, sessionKey(sid))
	if err != nil {
		return session.Session{}, err
	}
	s, err := decodeSession(sid, plain)
	if err != nil {
		return session.Session{}, p.db.unreadable("a session", err)
	}
	return s, nil
}

func (p *Sessions) set(w *writeSet, s *session.Session) error {
	return p.db.setSealed(w, sessionKey(s.ID), encodeSession(*s), expiry(s.Expires))
}

// listed is the item by which a session is found among those of its user. It goes before the session when that ends early: else whoever signs in and out all day
// would have a list of thousands that is read at each sign-in.
func listed(s *session.Session) *badger.Entry {
	item := badger.NewEntry(sessionOfUser(s), nil)
	item.ExpiresAt = expiry(s.Expires)
	if s.Ended != 0 {
		item.ExpiresAt = min(item.ExpiresAt, seconds(s.Ended.Add(endedListed)))
	}
	return item
}
