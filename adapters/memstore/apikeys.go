package memstore

import (
	"bytes"
	"cmp"
	"context"
	"slices"

	"github.com/xteam/xteam/domain/apikey"
	"github.com/xteam/xteam/domain/id"
	"github.com/xteam/xteam/domain/instant"
	"github.com/xteam/xteam/ports"
)

// APIKeys is the store's ports.APIKeys.
type APIKeys struct{ s *Store }

var _ ports.APIKeys = APIKeys{}

// APIKeys answers the port of API keys. None is ever forgotten.
func (s *Store) APIKeys() APIKeys { return APIKeys{s} }

// Create stores a new key with its effects, or fails with ports.ErrTaken.
func (p APIKeys) Create(ctx context.Context, k apikey.Key, e ports.Effects) error {
	return p.s.commit(ctx, e, func() error { return p.s.addAPIKey(k) })
}

func (s *Store) addAPIKey(k apikey.Key) error {
	if _, taken := s.apiKeys[k.ID]; taken {
		return ports.ErrTaken
	}
	s.apiKeys[k.ID] = record[apikey.Key]{k, 1}
	return nil
}

// Update replaces the key by what change makes of it.
func (p APIKeys) Update(ctx context.Context, kid id.APIKey, change func(apikey.Key) (apikey.Key, ports.Effects, error)) error {
	return p.update(ctx, kid, change, func() error { return nil })
}

// Replace also stores the key that takes its place.
func (p APIKeys) Replace(ctx context.Context, kid id.APIKey, change func(apikey.Key) (apikey.Key, apikey.Key, ports.Effects, error)) error {
	var next apikey.Key
	return p.update(ctx, kid, func(k apikey.Key) (changed apikey.Key, e ports.Effects, err error) {
		changed, next, e, err = change(k)
		return changed, e, err
	}, func() error {
		if next.Owner != p.s.apiKeys[kid].value.Owner {
			return fixed("an API key's owner")
		}
		return p.s.addAPIKey(next)
	})
}

// update stores the changed key if also succeeds, which runs under the lock.
func (p APIKeys) update(ctx context.Context, kid id.APIKey, change func(apikey.Key) (apikey.Key, ports.Effects, error), also func() error) error {
	load := func() record[apikey.Key] { return p.s.apiKeys[kid] }
	return update(ctx, p.s, load, cloneAPIKey, change, func(next record[apikey.Key]) error {
		if next.value.ID != kid || next.value.Owner != load().value.Owner {
			return fixed("an API key's id or owner")
		}
		if err := also(); err != nil {
			return err
		}
		p.s.apiKeys[kid] = next
		return nil
	})
}

// Find answers the key, or ports.ErrNotFound.
func (p APIKeys) Find(ctx context.Context, kid id.APIKey) (apikey.Key, error) {
	var r record[apikey.Key]
	if err := p.s.read(ctx, func() { r = p.s.apiKeys[kid] }); err != nil {
		return apikey.Key{}, err
	}
	return found(r)
}

// OfUser answers all keys of an owner, oldest first.
func (p APIKeys) OfUser(ctx context.Context, uid id.User) ([]apikey.Key, error) {
	var all []apikey.Key
	if err := p.s.read(ctx, func() {
		for _, r := range p.s.apiKeys {
			if r.value.Owner == uid {
				all = append(all, r.value)
			}
		}
	}); err != nil {
		return nil, err
	}
	slices.SortFunc(all, func(a, b apikey.Key) int {
		return cmp.Or(cmp.Compare(a.Created, b.Created), bytes.Compare(a.ID[:], b.ID[:]))
	})
	return all, nil
}

// Ending answers keys by when they end.
func (p APIKeys) Ending(ctx context.Context, from, until instant.Instant, after id.APIKey, limit int) ([]apikey.Key, error) {
	var all []apikey.Key
	if err := p.s.read(ctx, func() {
		for kid, r := range p.s.apiKeys {
			if end := r.value.End(); end >= from && end < until && bytes.Compare(kid[:], after[:]) > 0 {
				all = append(all, r.value)
			}
		}
	}); err != nil {
		return nil, err
	}
	slices.SortFunc(all, func(a, b apikey.Key) int { return bytes.Compare(a.ID[:], b.ID[:]) })
	return all[:min(len(all), limit)], nil
}

func cloneAPIKey(k apikey.Key) apikey.Key { return k }
