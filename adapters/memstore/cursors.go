package memstore

import (
	"context"
	"slices"

	"github.com/xteam/xteam/ports"
)

// Cursors is the store's ports.Cursors.
type Cursors struct{ s *Store }

var _ ports.Cursors = Cursors{}

// Cursors answers the port of kept places.
func (s *Store) Cursors() Cursors { return Cursors{s} }

// Find answers the cursor.
func (p Cursors) Find(ctx context.Context, name string) (c ports.Cursor, err error) {
	err = p.s.read(ctx, func() { c = p.s.cursors[name] })
	c.Name, c.State = name, slices.Clone(c.State)
	return c, err
}

// Swap keeps a cursor in the place of the one of its revision.
func (p Cursors) Swap(ctx context.Context, c ports.Cursor) (ports.Cursor, error) {
	if err := c.Validate(); err != nil {
		return ports.Cursor{}, err
	}
	err := p.s.commit(ctx, ports.Effects{}, func() error {
		if p.s.cursors[c.Name].Revision != c.Revision {
			return ports.ErrTaken
		}
		c.Revision++
		kept := c
		kept.State = slices.Clone(c.State)
		p.s.cursors[c.Name] = kept
		return nil
	})
	if err != nil {
		return ports.Cursor{}, err
	}
	c.State = slices.Clone(c.State)
	return c, nil
}
