package pgstore

import (
	"context"
	"encoding/binary"
	"errors"
	"math"
	"slices"

	"github.com/xteam/xteam/adapters/pgstore/queries"
	"github.com/xteam/xteam/domain/audit"
	"github.com/xteam/xteam/domain/id"
	"github.com/xteam/xteam/ports"
)

// Trail is the port of the audit trail, and of what is taken out of it. The row of its head is locked by whoever changes anything.
type Trail struct{ db *DB }

var (
	_ ports.Trail     = (*Trail)(nil)
	_ ports.TrailCare = (*Trail)(nil)
)

// Append adds links under the lock of the head.
func (p *Trail) Append(ctx context.Context, was audit.Checkpoint, links []audit.Link, next audit.Checkpoint) error {
	return p.change(ctx, "append to the audit trail in", func(ctx context.Context, tx *transaction, head *audit.Head) error {
		if head.Last != was {
			return ports.ErrTaken
		}
		if err := audit.Follows(was, links, next); err != nil {
			return err
		}
		if len(links) > 0 {
			var rows queries.AddLinksParams
			for i := range links {
				sealed, err := p.sealed(&links[i])
				if err != nil {
					return err
				}
				rows.Seqs, rows.Sealed = append(rows.Seqs, int64(links[i].Record.Seq)), append(rows.Sealed, sealed)
			}
			if err := tx.then.AddLinks(ctx, rows); err != nil {
				return err
			}
		}
		head.Last = next
		return nil
	})
}

// change hands the head over under its lock, and stores what became of it.
func (p *Trail) change(ctx context.Context, doing string, step func(context.Context, *transaction, *audit.Head) error) error {
	return p.db.change(ctx, doing, "trail", func(ctx context.Context, tx *transaction) (ports.Effects, error) {
		row, err := tx.first.LockTrailHead(ctx)
		if err != nil {
			return ports.Effects{}, found(err)
		}
		head, err := decodeHead(row)
		if err != nil {
			return ports.Effects{}, p.db.unreadable("the head of the audit trail", err)
		}
		was := head
		if err := step(ctx, tx, &head); err != nil || head == was {
			return ports.Effects{}, err
		}
		return ports.Effects{}, tx.then.SetTrailHead(ctx, encodeHead(&head))
	})
}

// Head reads the head.
func (p *Trail) Head(ctx context.Context) (audit.Head, error) {
	row, err := read(ctx, p.db, func(ctx context.Context, q *queries.Queries) ([]byte, error) { return q.FindTrailHead(ctx) })
	if errors.Is(err, ports.ErrNotFound) { // the tables are made with one: somebody took it
		return audit.Head{}, nil
	}
	if err != nil {
		return audit.Head{}, err
	}
	h, err := decodeHead(row)
	if err != nil {
		return h, &audit.DamagedError{Err: p.db.unreadable("the head of the audit trail", err)}
	}
	return h, nil
}

// List reads a page in the order of records.
func (p *Trail) List(ctx context.Context, after uint64, limit int) ([]audit.Link, error) {
	head, err := p.Head(ctx)
	if err != nil {
		return nil, err
	}
	if after = max(after, head.Cut.Seq); after >= math.MaxInt64 {
		return nil, nil
	}
	rows, err := read(ctx, p.db, func(ctx context.Context, q *queries.Queries) ([]queries.Trail, error) {
		return q.ListLinks(ctx, queries.ListLinksParams{After: int64(after), Most: bounded(limit)})
	})
	if err != nil {
		return nil, err
	}
	links, err := p.opened(rows)
	if damaged := (*audit.DamagedError)(nil); errors.As(err, &damaged) && len(links) > 0 { // the next call is told of it
		return links, nil
	}
	return links, err
}

// opened opens rows, up to the first that cannot be.
func (p *Trail) opened(rows []queries.Trail) ([]audit.Link, error) {
	if _, err := p.db.unlocked(); err != nil {
		return nil, err
	}
	links := make([]audit.Link, len(rows))
	for i, row := range rows {
		plain, err := p.db.open(linkContext(row.Seq), row.Sealed)
		if err == nil {
			links[i], err = decodeLink(plain)
		}
		if err != nil {
			return links[:i], &audit.DamagedError{At: uint64(row.Seq), Err: p.db.unreadable("a record of the audit trail", err)}
		}
	}
	return links, nil
}

func (p *Trail) sealed(l *audit.Link) ([]byte, error) {
	return p.db.seal(linkContext(int64(l.Record.Seq)), encodeLink(l))
}

func linkContext(seq int64) string {
	return string(binary.BigEndian.AppendUint64([]byte(trailContext), uint64(seq)))
}

// erasedAtOnce is how many records a transaction blanks at most, with their events.
const erasedAtOnce = 256

// Erase blanks records and their events, some in each transaction. What it reads is changed by nobody else but another Erase, which makes the same of it.
func (p *Trail) Erase(ctx context.Context, seqs ...uint64) (erased int, err error) {
	if err := p.db.ready(ctx); err != nil {
		return 0, err
	}
	for part := range slices.Chunk(seqs, erasedAtOnce) {
		n, err := p.blank(ctx, part)
		if err != nil {
			return erased, err
		}
		erased += n
	}
	return erased, nil
}

func (p *Trail) blank(ctx context.Context, seqs []uint64) (n int, err error) {
	var ids []int64
	for _, seq := range seqs {
		if seq <= math.MaxInt64 {
			ids = append(ids, int64(seq))
		}
	}
	rows, err := read(ctx, p.db, func(ctx context.Context, q *queries.Queries) ([]queries.Trail, error) { return q.FindLinks(ctx, ids) })
	if err != nil {
		return 0, err
	}
	links, err := p.opened(rows)
	if err != nil {
		return 0, err
	}
	links = slices.DeleteFunc(links, func(l audit.Link) bool { return l.Erased() })
	if len(links) == 0 {
		return 0, nil
	}
	events, err := p.events(ctx, links)
	if err != nil {
		return 0, err
	}
	err = p.change(ctx, "erase from the audit trail in", func(ctx context.Context, tx *transaction, _ *audit.Head) error {
		for i := range links {
			links[i].Salt = audit.Salt{}
			sealed, err := p.sealed(&links[i])
			if err != nil {
				return err
			}
			if err := tx.then.SetLink(ctx, queries.SetLinkParams{Seq: int64(links[i].Record.Seq), Sealed: sealed}); err != nil {
				return err
			}
		}
		for _, e := range events {
			if err := tx.then.SetEvent(ctx, e); err != nil {
				return err
			}
		}
		return nil
	})
	return len(links), err
}

// events are the blank events that take the place of those of the links.
func (p *Trail) events(ctx context.Context, links []audit.Link) (all []queries.SetEventParams, err error) {
	wanted := map[uint64]map[id.Event]bool{} // by the position that they stand behind
	for i := range links {
		l := &links[i]
		if wanted[l.Behind] == nil {
			wanted[l.Behind] = map[id.Event]bool{}
		}
		wanted[l.Behind][l.Record.Event] = true
	}
	for after, ids := range wanted {
		if after >= math.MaxInt64 {
			continue
		}
		for behind, left := int64(after), int32(audit.MaxBatch); left > 0; {
			rows, err := p.db.Events().rows(ctx, behind, left)
			if err != nil {
				return nil, err
			}
			if len(rows) == 0 {
				break
			}
			behind, left = rows[len(rows)-1].Position, left-int32(len(rows))
			for i := range rows {
				var eid id.Event
				if fixed(eid[:], rows[i].ID) != nil || !ids[eid] {
					continue
				}
				v, err := p.db.Events().opened(&rows[i])
				if err != nil {
					return nil, err
				}
				if v.ID != eid { // it cannot be read
					continue
				}
				v.Erase()
				sealed, err := p.db.seal(eventContext+string(eid[:]), encodeEvent(v))
				if err != nil {
					return nil, err
				}
				all = append(all, queries.SetEventParams{Position: rows[i].Position, Sealed: sealed})
			}
		}
	}
	return all, nil
}

// Cut notes the cut, from which moment nobody reads what is before it, and then deletes that in as many statements as it takes.
func (p *Trail) Cut(ctx context.Context, cut audit.Checkpoint) error {
	err := p.change(ctx, "cut the audit trail in", func(_ context.Context, _ *transaction, head *audit.Head) error {
		if err := head.Cuts(cut); err != nil {
			return err
		}
		head.Cut = cut
		return nil
	})
	if err != nil {
		return err
	}
	first, err := p.List(ctx, cut.Seq, 1)
	if err != nil {
		return err
	}
	if err := p.drop(ctx, func(ctx context.Context, q *queries.Queries) (int64, error) {
		return q.DropLinks(ctx, queries.DropLinksParams{Last: int64(cut.Seq), Most: swept})
	}); err != nil || len(first) == 0 {
		return err
	}
	return p.drop(ctx, func(ctx context.Context, q *queries.Queries) (int64, error) {
		return q.DropEvents(ctx, queries.DropEventsParams{Last: int64(min(first[0].Behind, math.MaxInt64)), Most: swept})
	})
}

func (p *Trail) drop(ctx context.Context, some func(context.Context, *queries.Queries) (int64, error)) error {
	for {
		n, err := read(ctx, p.db, some)
		if err != nil || n < swept {
			return err
		}
	}
}
