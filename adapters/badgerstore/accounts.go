package badgerstore

import (
	"bytes"
	"context"
	"errors"

	"github.com/dgraph-io/badger/v4"

	"github.com/xteam/xteam/domain/account"
	"github.com/xteam/xteam/domain/id"
	"github.com/xteam/xteam/ports"
)

// Accounts is the port of accounts.
type Accounts struct{ db *DB }

var _ ports.Accounts = (*Accounts)(nil)

// Create stores a new account, under the locks of its id and then of its names.
func (p *Accounts) Create(ctx context.Context, a account.Account, e ports.Effects) error {
	if err := p.db.space.refusesNew(); err != nil {
		return err
	}
	key := accountKey(a.ID)
	return p.db.write(ctx, p.db.accountLocks, key, func(w *writeSet) error {
		if err := p.db.absent(ctx, key); err != nil {
			return err
		}
		names, err := p.names(a)
		if err != nil {
			return err
		}
		if err := p.take(ctx, w, a.ID, names); err != nil {
			return err
		}
		if err := p.db.setSealed(w, key, encodeAccount(a), 0); err != nil {
			return err
		}
		return p.db.effects(w, e)
	})
}

// Update runs change once. The locks of the names that it gives are taken after that of the id, as in Create: nobody waits in a circle.
func (p *Accounts) Update(ctx context.Context, uid id.User, change func(account.Account) (account.Account, ports.Effects, error)) error {
	key := accountKey(uid)
	return p.db.write(ctx, p.db.accountLocks, key, func(w *writeSet) error {
		was, err := p.Find(ctx, uid)
		if err != nil {
			return err
		}
		next, effects, err := change(was)
		if err != nil {
			return err
		}
		if next.ID != uid {
			return errors.New("badger store: the id of an account cannot change")
		}
		had, err := p.names(was)
		if err != nil {
			return err
		}
		has, err := p.names(next)
		if err != nil {
			return err
		}
		if err := p.take(ctx, w, uid, without(has, had)); err != nil {
			return err
		}
		w.deletes = without(had, has)
		if plain := encodeAccount(next); !bytes.Equal(plain, encodeAccount(was)) {
			if err := p.db.setSealed(w, key, plain, 0); err != nil {
				return err
			}
		}
		return p.db.effects(w, effects)
	})
}

// Find answers one account, from memory when it was read before.
func (p *Accounts) Find(ctx context.Context, uid id.User) (account.Account, error) {
	if err := p.db.ready(ctx); err != nil {
		return account.Account{}, err
	}
	if a, ok := p.db.known.get(uid); ok {
		return a, nil
	}
	return p.read(ctx, uid)
}

// read reads one account, and remembers it.
func (p *Accounts) read(ctx context.Context, uid id.User) (a account.Account, err error) {
	err = p.db.view(ctx, func(txn *badger.Txn) error {
		if a, err = p.find(txn, uid); err == nil {
			p.db.known.put(a, txn.ReadTs())
		}
		return err
	})
	return a, err
}

// Named finds the account by the index of its names. Who they say it is, must say so itself.
func (p *Accounts) Named(ctx context.Context, login account.Login) (a account.Account, err error) {
	names, err := p.names(account.Account{Email: login.Email, Username: login.Username})
	if err != nil {
		return a, err
	}
	if len(names) == 0 {
		return a, ports.ErrNotFound
	}
	err = p.db.view(ctx, func(txn *badger.Txn) error {
		value, err := p.db.get(txn, names[0])
		if err != nil {
			return err
		}
		var uid id.User
		if copy(uid[:], value) != len(uid) {
			return p.db.unreadable("a name", errDamaged)
		}
		found, err := p.find(txn, uid)
		switch {
		case errors.Is(err, ports.ErrNotFound):
			return p.db.unreadable("a name", errDamaged)
		case err != nil:
			return err
		}
		ok := found.Email == login.Email
		if login.Email.IsZero() {
			ok = found.Username.Folded() == login.Username.Folded()
		}
		if !ok {
			return p.db.unreadable("a name", errDamaged)
		}
		a = found
		return nil
	})
	return a, err
}

// List reads a page in the order of ids.
func (p *Accounts) List(ctx context.Context, after id.User, limit int) (page []account.Account, err error) {
	err = p.db.view(ctx, func(txn *badger.Txn) error {
		it := txn.NewIterator(badger.IteratorOptions{Prefix: []byte(accountPrefix)})
		defer it.Close()
		for it.Seek(append(accountKey(after), 0)); it.Valid() && len(page) < limit; it.Next() {
			plain, err := p.db.openItem(it.Item())
			if err != nil {
				return err
			}
			a, err := decodeAccount(id.User(it.Item().Key()[len(accountPrefix):]), plain)
			if err != nil {
				return p.db.unreadable("an account", err)
			}
			page = append(page, a)
		}
		return nil
	})
	return page, err
}

func (p *Accounts) find(txn *badger.Txn, uid id.User) (account.Account, error) {
	plain, err := p.db.getSealed(txn, accountKey(uid))
	if err != nil {
		return account.Account{}, err
	}
	a, err := decodeAccount(uid, plain)
	if err != nil {
		return account.Account{}, p.db.unreadable("an account", err)
	}
	return a, nil
}

// names are the keys by which an account is found: none for a name that it has not.
func (p *Accounts) names(a account.Account) ([][]byte, error) {
	sealer, err := p.db.unlocked()
	if err != nil {
		return nil, err
	}
	var names [][]byte
	if !a.Email.IsZero() {
		names = append(names, digestKey(emailPrefix, sealer.Index("account email", a.Email.String())))
	}
	if !a.Username.IsZero() {
		names = append(names, digestKey(usernamePrefix, sealer.Index("account username", a.Username.Folded())))
	}
	return names, nil
}

// take gives names that nobody has to an account, and keeps them locked until that is committed.
func (p *Accounts) take(ctx context.Context, w *writeSet, uid id.User, names [][]byte) error {
	if err := w.held.lock(ctx, p.db.nameLocks, names...); err != nil {
		return err
	}
	for _, n := range names {
		if err := p.db.absent(ctx, n); err != nil {
			return err
		}
		w.sets = append(w.sets, badger.NewEntry(n, bytes.Clone(uid[:])))
	}
	return nil
}

// without answers the keys of a that are not in b.
func without(a, b [][]byte) (rest [][]byte) {
next:
	for _, k := range a {
		for _, o := range b {
			if bytes.Equal(k, o) {
				continue next
			}
		}
		rest = append(rest, k)
	}
	return rest
}
