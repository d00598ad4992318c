package pgstore

import (
	"bytes"
	"context"

	"github.com/xteam/xteam/adapters/pgstore/queries"
	"github.com/xteam/xteam/domain/block"
	"github.com/xteam/xteam/ports"
)

// Blocks is the port of blocked networks. It works before Unlock, as long as no effects come with a change.
type Blocks struct{ db *DB }

var _ ports.Blocks = (*Blocks)(nil)

// Update runs change under the lock of the one row.
func (p *Blocks) Update(ctx context.Context, change func(block.List) (block.List, ports.Effects, error)) error {
	return p.db.change(ctx, "change the blocked networks in", "blocks", func(ctx context.Context, tx *transaction) (ports.Effects, error) {
		row, err := tx.first.LockBlocks(ctx)
		if err != nil {
			return ports.Effects{}, found(err)
		}
		was, err := p.decoded(row)
		if err != nil {
			return ports.Effects{}, err
		}
		next, e, err := change(was)
		if err != nil {
			return e, err
		}
		body := next.Encode()
		if bytes.Equal(body, row) {
			return e, nil
		}
		return e, tx.then.SetBlocks(ctx, queries.SetBlocksParams{Revision: int64(next.Revision), Body: body})
	})
}

// Load reads the list; that of a new database is empty.
func (p *Blocks) Load(ctx context.Context) (block.List, error) {
	row, err := read(ctx, p.db, func(ctx context.Context, q *queries.Queries) ([]byte, error) { return q.FindBlocks(ctx) })
	if err != nil {
		return block.List{}, err
	}
	return p.decoded(row)
}

// Revision reads the list's, from a column of its own.
func (p *Blocks) Revision(ctx context.Context) (uint64, error) {
	n, err := read(ctx, p.db, func(ctx context.Context, q *queries.Queries) (int64, error) { return q.FindBlocksRevision(ctx) })
	return uint64(n), err
}

func (p *Blocks) decoded(row []byte) (block.List, error) {
	l, err := block.Decode(row)
	if err != nil {
		return l, p.db.unreadable("the list of blocked networks", err)
	}
	return l, nil
}
