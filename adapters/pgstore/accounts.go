package pgstore

import (
	"bytes"
	"context"
	"errors"

	"github.com/jackc/pgx/v5"

	"github.com/xteam/xteam/adapters/pgstore/queries"
	"github.com/xteam/xteam/domain/account"
	"github.com/xteam/xteam/domain/id"
	"github.com/xteam/xteam/ports"
)

// Accounts is the port of accounts.
type Accounts struct{ db *DB }

var _ ports.Accounts = (*Accounts)(nil)

// Create stores a new account; who has a name is the database's to know, by an index without doubles.
func (p *Accounts) Create(ctx context.Context, a account.Account, e ports.Effects) error {
	return p.db.change(ctx, "create an account in", accountContext+string(a.ID[:]), func(ctx context.Context, tx *transaction) (ports.Effects, error) {
		email, username, err := p.names(a.Email, a.Username)
		if err != nil {
			return e, err
		}
		sealed, err := p.db.seal(accountContext+string(a.ID[:]), encodeAccount(a))
		if err != nil {
			return e, err
		}
		return e, tx.then.AddAccount(ctx, queries.AddAccountParams{ID: a.ID[:], Email: email, Username: username, Sealed: sealed})
	})
}

// Update runs change under the lock of the account's row.
func (p *Accounts) Update(ctx context.Context, uid id.User, change func(account.Account) (account.Account, ports.Effects, error)) error {
	return p.db.share(ctx, "change an account in", accountContext+string(uid[:]), func(ctx context.Context, tx *transaction) (ports.Effects, error) {
		row, err := tx.first.LockAccount(ctx, uid[:])
		if err != nil {
			return ports.Effects{}, found(err)
		}
		was, err := p.opened(uid, row)
		if err != nil {
			return ports.Effects{}, err
		}
		next, e, err := change(was)
		switch {
		case err != nil:
			return e, err
		case next.ID != uid:
			return e, errors.New("PostgreSQL store: the id of an account cannot change")
		case next == was:
			return e, nil
		}
		email, username, err := p.names(next.Email, next.Username)
		if err != nil {
			return e, err
		}
		sealed, err := p.db.seal(accountContext+string(uid[:]), encodeAccount(next))
		if err != nil {
			return e, err
		}
		return e, tx.then.SetAccount(ctx, queries.SetAccountParams{ID: uid[:], Email: email, Username: username, Sealed: sealed})
	})
}

// Find reads one account.
func (p *Accounts) Find(ctx context.Context, uid id.User) (account.Account, error) {
	row, err := read(ctx, p.db, func(ctx context.Context, q *queries.Queries) ([]byte, error) { return q.FindAccount(ctx, uid[:]) })
	if err != nil {
		return account.Account{}, err
	}
	return p.opened(uid, row)
}

// Named finds the account by the index of its names. Who they say it is, must say so itself.
func (p *Accounts) Named(ctx context.Context, login account.Login) (account.Account, error) {
	email, username, err := p.names(login.Email, login.Username)
	if err != nil {
		return account.Account{}, err
	}
	row, err := read(ctx, p.db, func(ctx context.Context, q *queries.Queries) (row queries.FindAccountByEmailRow, err error) {
		switch {
		case email != nil:
			return q.FindAccountByEmail(ctx, email)
		case username != nil:
			row, err := q.FindAccountByUsername(ctx, username)
			return queries.FindAccountByEmailRow(row), err
		}
		return row, pgx.ErrNoRows
	})
	if err != nil {
		return account.Account{}, err
	}
	var uid id.User
	if fixed(uid[:], row.ID) != nil {
		return account.Account{}, p.db.unreadable("a name", errDamaged)
	}
	a, err := p.opened(uid, row.Sealed)
	if err != nil {
		return account.Account{}, err
	}
	if email != nil && a.Email != login.Email || email == nil && a.Username.Folded() != login.Username.Folded() {
		return account.Account{}, p.db.unreadable("a name", errDamaged)
	}
	return a, nil
}

// List reads a page in the order of ids.
func (p *Accounts) List(ctx context.Context, after id.User, limit int) ([]account.Account, error) {
	rows, err := read(ctx, p.db, func(ctx context.Context, q *queries.Queries) ([]queries.ListAccountsRow, error) {
		return q.ListAccounts(ctx, queries.ListAccountsParams{After: after[:], Most: bounded(limit)})
	})
	if err != nil {
		return nil, err
	}
	page := make([]account.Account, len(rows))
	for i, row := range rows {
		var uid id.User
		if fixed(uid[:], row.ID) != nil {
			return nil, p.db.unreadable("an account", errDamaged)
		}
		if page[i], err = p.opened(uid, row.Sealed); err != nil {
			return nil, err
		}
	}
	return page, nil
}

func (p *Accounts) opened(uid id.User, sealed []byte) (account.Account, error) {
	plain, err := p.db.open(accountContext+string(uid[:]), sealed)
	if err != nil {
		return account.Account{}, err
	}
	a, err := decodeAccount(uid, plain)
	if err != nil {
		return account.Account{}, p.db.unreadable("an account", err)
	}
	return a, nil
}

// names are the digests by which an account is found: nil for a name that it has not.
func (p *Accounts) names(e account.Email, u account.Username) (email, username []byte, err error) {
	sealer, err := p.db.unlocked()
	if err != nil {
		return nil, nil, err
	}
	if !e.IsZero() {
		d := sealer.Index("account email", e.String())
		email = bytes.Clone(d[:])
	}
	if !u.IsZero() {
		d := sealer.Index("account username", u.Folded())
		username = bytes.Clone(d[:])
	}
	return email, username, nil
}

// bounded is a limit as the database takes it.
func bounded(limit int) int32 { return int32(min(max(limit, 0), 1<<20)) }
