package memstore

import (
	"context"
	"slices"

	"github.com/xteam/xteam/domain/audit"
	"github.com/xteam/xteam/ports"
)

// Trail is the store's ports.Trail and ports.TrailCare.
type Trail struct{ s *Store }

var (
	_ ports.Trail     = Trail{}
	_ ports.TrailCare = Trail{}
)

// Trail answers the port of the audit trail.
func (s *Store) Trail() Trail { return Trail{s} }

// Append adds links behind the head.
func (p Trail) Append(ctx context.Context, was audit.Checkpoint, links []audit.Link, next audit.Checkpoint) error {
	return p.s.commit(ctx, ports.Effects{}, func() error {
		if p.s.head.Last != was {
			return ports.ErrTaken
		}
		if err := audit.Follows(was, links, next); err != nil {
			return err
		}
		p.s.links = append(p.s.links, cloneLinks(links)...)
		p.s.head.Last = next
		return nil
	})
}

// Head answers the head.
func (p Trail) Head(ctx context.Context) (h audit.Head, err error) {
	err = p.s.read(ctx, func() { h = p.s.head })
	return h, err
}

// List answers at most limit links behind a record.
func (p Trail) List(ctx context.Context, after uint64, limit int) (page []audit.Link, err error) {
	err = p.s.read(ctx, func() {
		from := min(max(after, p.s.linked())-p.s.linked(), uint64(len(p.s.links)))
		page = cloneLinks(p.s.links[from:min(uint64(len(p.s.links)), from+uint64(max(limit, 0)))])
	})
	return page, err
}

// Erase blanks records and their events.
func (p Trail) Erase(ctx context.Context, seqs ...uint64) (erased int, err error) {
	err = p.s.commit(ctx, ports.Effects{}, func() error {
		for _, seq := range seqs {
			at := seq - p.s.linked() - 1
			if seq <= p.s.linked() || at >= uint64(len(p.s.links)) || p.s.links[at].Erased() {
				continue
			}
			l := &p.s.links[at]
			l.Salt = audit.Salt{}
			erased++
			for i, end := int(l.Behind), min(int(l.Behind)+audit.MaxBatch, len(p.s.events)); i < end; i++ {
				if p.s.events[i].ID == l.Record.Event {
					p.s.events[i].Erase()
				}
			}
		}
		return nil
	})
	return erased, err
}

// Cut takes the oldest records and their events away.
func (p Trail) Cut(ctx context.Context, cut audit.Checkpoint) error {
	return p.s.commit(ctx, ports.Effects{}, func() error {
		if err := p.s.head.Cuts(cut); err != nil {
			return err
		}
		p.s.links = slices.Clone(p.s.links[max(cut.Seq, p.s.linked())-p.s.linked():])
		p.s.head.Cut = cut
		for i := range min(p.s.links[0].Behind, uint64(len(p.s.events))) {
			p.s.events[i] = audit.Event{} // its position stays taken
		}
		return nil
	})
}

// linked is the record before the first that is kept.
func (s *Store) linked() uint64 {
	if len(s.links) == 0 {
		return s.head.Last.Seq
	}
	return s.links[0].Record.Seq - 1
}

func cloneLinks(links []audit.Link) []audit.Link {
	links = slices.Clone(links)
	for i := range links {
		if c := links[i].Checkpoint; c != nil {
			own := *c
			links[i].Checkpoint = &own
		}
	}
	return links
}
