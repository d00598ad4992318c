package memstore

import (
	"context"
	"slices"

	"github.com/xteam/xteam/domain/block"
	"github.com/xteam/xteam/domain/keyset"
	"github.com/xteam/xteam/domain/secret"
	"github.com/xteam/xteam/domain/system"
	"github.com/xteam/xteam/ports"
)

// Keys is the store's ports.Keys.
type Keys struct{ s *Store }

var _ ports.Keys = Keys{}

// Keys answers the port of key rings.
func (s *Store) Keys() Keys { return Keys{s} }

// Create stores a new ring with its effects, or fails with ports.ErrTaken.
func (p Keys) Create(ctx context.Context, r keyset.Ring, e ports.Effects) error {
	return p.s.commit(ctx, e, func() error {
		if _, taken := p.s.rings[r.Name]; taken {
			return ports.ErrTaken
		}
		p.s.rings[r.Name] = record[keyset.Ring]{cloneRing(r), 1}
		return nil
	})
}

// Update replaces the ring by what change makes of it.
func (p Keys) Update(ctx context.Context, name string, change func(keyset.Ring) (keyset.Ring, ports.Effects, error)) error {
	load := func() record[keyset.Ring] { return p.s.rings[name] }
	return update(ctx, p.s, load, cloneRing, change, func(next record[keyset.Ring]) error {
		if next.value.Name != name {
			return fixed("a ring's name")
		}
		p.s.rings[name] = next
		return nil
	})
}

// Find answers the ring, or ports.ErrNotFound.
func (p Keys) Find(ctx context.Context, name string) (keyset.Ring, error) {
	var r record[keyset.Ring]
	if err := p.s.read(ctx, func() { r = p.s.rings[name]; r.value = cloneRing(r.value) }); err != nil {
		return keyset.Ring{}, err
	}
	return found(r)
}

// cloneRing copies a ring, less the secrets in the clear.
func cloneRing(r keyset.Ring) keyset.Ring {
	r.Keys = slices.Clone(r.Keys)
	for i := range r.Keys {
		k := &r.Keys[i]
		k.Public, k.Wrapped, k.Secret = slices.Clone(k.Public), slices.Clone(k.Wrapped), secret.Text{}
	}
	return r
}

// System is the store's ports.System.
type System struct{ s *Store }

var _ ports.System = System{}

// System answers the port of the system's state.
func (s *Store) System() System { return System{s} }

// Update replaces the state by what change makes of it.
func (p System) Update(ctx context.Context, change func(system.State) (system.State, ports.Effects, error)) error {
	return update(ctx, p.s, func() record[system.State] { return p.s.system }, cloneState, change, func(next record[system.State]) error {
		p.s.system = next
		return nil
	})
}

// Commit stores effects alone.
func (p System) Commit(ctx context.Context, e ports.Effects) error {
	return p.s.commit(ctx, e, func() error { return nil })
}

// Load answers the state.
func (p System) Load(ctx context.Context) (system.State, error) {
	var v system.State
	err := p.s.read(ctx, func() { v = p.s.system.value })
	return v, err
}

// Blocks is the store's ports.Blocks.
type Blocks struct{ s *Store }

var _ ports.Blocks = Blocks{}

// Blocks answers the port of blocked networks.
func (s *Store) Blocks() Blocks { return Blocks{s} }

// Update replaces the list by what change makes of it.
func (p Blocks) Update(ctx context.Context, change func(block.List) (block.List, ports.Effects, error)) error {
	return update(ctx, p.s, func() record[block.List] { return p.s.blocks }, cloneList, change, func(next record[block.List]) error {
		p.s.blocks = next
		return nil
	})
}

// Load answers the list.
func (p Blocks) Load(ctx context.Context) (block.List, error) {
	var l block.List
	err := p.s.read(ctx, func() { l = cloneList(p.s.blocks.value) })
	return l, err
}

// Revision answers the list's.
func (p Blocks) Revision(ctx context.Context) (n uint64, err error) {
	err = p.s.read(ctx, func() { n = p.s.blocks.value.Revision })
	return n, err
}

func cloneList(l block.List) block.List {
	l.Blocks = slices.Clone(l.Blocks)
	return l
}
