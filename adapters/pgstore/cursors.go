package pgstore

import (
	"context"
	"errors"
	"slices"

	"github.com/jackc/pgx/v5"

	"github.com/xteam/xteam/adapters/pgstore/queries"
	"github.com/xteam/xteam/domain/instant"
	"github.com/xteam/xteam/ports"
)

// Cursors is the port of kept places. It works before Unlock.
type Cursors struct{ db *DB }

var _ ports.Cursors = (*Cursors)(nil)

// Find reads one cursor.
func (p *Cursors) Find(ctx context.Context, name string) (ports.Cursor, error) {
	row, err := read(ctx, p.db, func(ctx context.Context, q *queries.Queries) (queries.Cursor, error) { return q.FindCursor(ctx, name) })
	if errors.Is(err, ports.ErrNotFound) {
		return ports.Cursor{Name: name}, nil
	}
	return ports.Cursor{Name: name, Revision: uint64(row.Revision), Position: uint64(row.Position), Holder: row.Holder, Tries: int(row.Tries), Again: instant.Instant(row.Again), State: row.State}, err
}

// Swap replaces the row under its lock. A first one is added: whoever adds the same meanwhile meets its name.
func (p *Cursors) Swap(ctx context.Context, c ports.Cursor) (ports.Cursor, error) {
	if err := c.Validate(); err != nil {
		return ports.Cursor{}, err
	}
	c.State = slices.Clone(c.State)
	state := append([]byte{}, c.State...)
	err := p.db.change(ctx, "keep a cursor in", "cursors/"+c.Name, func(ctx context.Context, tx *transaction) (ports.Effects, error) {
		is, err := tx.first.LockCursor(ctx, c.Name)
		switch {
		case errors.Is(err, pgx.ErrNoRows) && c.Revision == 0:
			return ports.Effects{}, tx.then.AddCursor(ctx, queries.AddCursorParams{Name: c.Name, Position: int64(c.Position), Holder: c.Holder, Tries: int64(c.Tries), Again: int64(c.Again), State: state})
		case errors.Is(err, pgx.ErrNoRows):
			return ports.Effects{}, ports.ErrTaken
		case err != nil:
			return ports.Effects{}, found(err)
		case uint64(is) != c.Revision:
			return ports.Effects{}, ports.ErrTaken
		}
		return ports.Effects{}, tx.then.SetCursor(ctx, queries.SetCursorParams{Name: c.Name, Revision: int64(c.Revision) + 1, Position: int64(c.Position), Holder: c.Holder, Tries: int64(c.Tries),
			Again: int64(c.Again), State: state})
	})
	if err != nil {
		return ports.Cursor{}, err
	}
	c.Revision++
	return c, nil
}
