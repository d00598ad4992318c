package pgstore

import (
	"context"
	"errors"

	"github.com/xteam/xteam/adapters/pgstore/queries"
	"github.com/xteam/xteam/domain/apikey"
	"github.com/xteam/xteam/domain/id"
	"github.com/xteam/xteam/domain/instant"
	"github.com/xteam/xteam/ports"
)

// APIKeys is the port of API keys. A key is dropped Margin after its Kept.
type APIKeys struct{ db *DB }

var _ ports.APIKeys = (*APIKeys)(nil)

// Create stores a new key.
func (p *APIKeys) Create(ctx context.Context, k apikey.Key, e ports.Effects) error {
	return p.db.change(ctx, "create an API key in", apiKeyContext+string(k.ID[:]), func(ctx context.Context, tx *transaction) (ports.Effects, error) {
		return e, p.add(ctx, tx, &k)
	})
}

// Update runs change under the lock of the key's row.
func (p *APIKeys) Update(ctx context.Context, kid id.APIKey, change func(apikey.Key) (apikey.Key, ports.Effects, error)) error {
	return p.update(ctx, kid, func(_ context.Context, _ *transaction, k apikey.Key) (apikey.Key, ports.Effects, error) {
		return change(k)
	})
}

// Replace runs change under the lock of the old key's row, and stores the new one in the same transaction.
func (p *APIKeys) Replace(ctx context.Context, kid id.APIKey, change func(apikey.Key) (apikey.Key, apikey.Key, ports.Effects, error)) error {
	return p.update(ctx, kid, func(ctx context.Context, tx *transaction, k apikey.Key) (apikey.Key, ports.Effects, error) {
		changed, next, e, err := change(k)
		if err != nil {
			return k, e, err
		}
		if next.Owner != k.Owner {
			return k, e, errors.New("PostgreSQL store: a key and the one that takes its place have one owner")
		}
		return changed, e, p.add(ctx, tx, &next)
	})
}

func (p *APIKeys) update(ctx context.Context, kid id.APIKey, change func(context.Context, *transaction, apikey.Key) (apikey.Key, ports.Effects, error)) error {
	return p.db.change(ctx, "change an API key in", apiKeyContext+string(kid[:]), func(ctx context.Context, tx *transaction) (ports.Effects, error) {
		row, err := tx.first.LockAPIKey(ctx, kid[:])
		if err != nil {
			return ports.Effects{}, found(err)
		}
		was, err := p.opened(kid, row)
		if err != nil {
			return ports.Effects{}, err
		}
		next, e, err := change(ctx, tx, was)
		switch {
		case err != nil:
			return e, err
		case next.ID != kid || next.Owner != was.Owner:
			return e, errors.New("PostgreSQL store: the id and the owner of an API key cannot change")
		case next == was:
			return e, nil
		}
		sealed, err := p.db.seal(apiKeyContext+string(kid[:]), encodeAPIKey(next))
		if err != nil {
			return e, err
		}
		return e, tx.then.SetAPIKey(ctx, queries.SetAPIKeyParams{ID: kid[:], Created: int64(next.Created), Kept: int64(next.Kept()), Sealed: sealed})
	})
}

func (p *APIKeys) add(ctx context.Context, tx *transaction, k *apikey.Key) error {
	sealed, err := p.db.seal(apiKeyContext+string(k.ID[:]), encodeAPIKey(*k))
	if err != nil {
		return err
	}
	return tx.then.AddAPIKey(ctx, queries.AddAPIKeyParams{ID: k.ID[:], Owner: k.Owner[:], Created: int64(k.Created), Kept: int64(k.Kept()), Sealed: sealed})
}

// Find reads one key.
func (p *APIKeys) Find(ctx context.Context, kid id.APIKey) (apikey.Key, error) {
	row, err := read(ctx, p.db, func(ctx context.Context, q *queries.Queries) ([]byte, error) { return q.FindAPIKey(ctx, kid[:]) })
	if err != nil {
		return apikey.Key{}, err
	}
	return p.opened(kid, row)
}

// OfUser reads the keys of an owner.
func (p *APIKeys) OfUser(ctx context.Context, uid id.User) ([]apikey.Key, error) {
	rows, err := read(ctx, p.db, func(ctx context.Context, q *queries.Queries) ([]queries.ListAPIKeysRow, error) {
		return q.ListAPIKeys(ctx, uid[:])
	})
	if err != nil {
		return nil, err
	}
	return p.all(len(rows), func(i int) ([]byte, []byte) { return rows[i].ID, rows[i].Sealed })
}

// Ending reads keys by when they are no longer kept, which follows from their end.
func (p *APIKeys) Ending(ctx context.Context, from, until instant.Instant, after id.APIKey, limit int) ([]apikey.Key, error) {
	rows, err := read(ctx, p.db, func(ctx context.Context, q *queries.Queries) ([]queries.EndingAPIKeysRow, error) {
		return q.EndingAPIKeys(ctx, queries.EndingAPIKeysParams{Since: int64(from.Add(apikey.Keep)), Before: int64(until.Add(apikey.Keep)), After: after[:], Most: bounded(limit)})
	})
	if err != nil {
		return nil, err
	}
	return p.all(len(rows), func(i int) ([]byte, []byte) { return rows[i].ID, rows[i].Sealed })
}

// all opens n keys that were read.
func (p *APIKeys) all(n int, row func(int) (kid, sealed []byte)) (all []apikey.Key, err error) {
	all = make([]apikey.Key, n)
	for i := range all {
		text, sealed := row(i)
		var kid id.APIKey
		if fixed(kid[:], text) != nil {
			return nil, p.db.unreadable("an API key", errDamaged)
		}
		if all[i], err = p.opened(kid, sealed); err != nil {
			return nil, err
		}
	}
	return all, nil
}

func (p *APIKeys) opened(kid id.APIKey, sealed []byte) (apikey.Key, error) {
	plain, err := p.db.open(apiKeyContext+string(kid[:]), sealed)
	if err != nil {
		return apikey.Key{}, err
	}
	k, err := decodeAPIKey(kid, plain)
	if err != nil {
		return apikey.Key{}, p.db.unreadable("an API key", err)
	}
	return k, nil
}
