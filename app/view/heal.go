package view

import (
	"context"
	"hash/maphash"
	"slices"
	"time"

	"github.com/xteam/xteam/domain/instant"
	"github.com/xteam/xteam/domain/revocation"
	"github.com/xteam/xteam/ports"
)

const (
	// healBatch is how many entries are put back at a time.
	healBatch = 1000
	// healAhead is how long an entry must have to live to be put back: one that is nearly over may have been let go already.
	healAhead = time.Minute
)

// round is what a source has told since it is followed, compared with what the view holds: what it lacks, it has lost. An entry is missing when the view held it as the source
// said for the first time that it had told everything, and the source has not told it by the time that it says so again: what was under way then has come in.
type round struct {
	seed    maphash.Seed
	told    []uint64 // the hashes of the keys that the source has told; nil once missing is known
	missing map[string]revocation.Entry
	judged  bool
}

func newRound() *round { return &round{seed: maphash.MakeSeed(), told: []uint64{}} }

// tell notes what the source told.
func (r *round) tell(entries []revocation.Entry) {
	for i := range entries {
		switch {
		case r.judged:
			return
		case r.missing != nil:
			delete(r.missing, entries[i].Key())
		default:
			r.told = append(r.told, maphash.String(r.seed, entries[i].Key()))
		}
	}
}

// caught answers what the source has lost, and true, once that is known. held is what the view holds.
func (r *round) caught(held *revocation.Set, now instant.Instant) (lost []revocation.Entry, known bool) {
	switch {
	case r.judged:
	case r.missing == nil:
		slices.Sort(r.told)
		r.missing = map[string]revocation.Entry{}
		for e := range held.All() {
			if e.Until <= now.Add(healAhead) {
				continue
			}
			key := e.Key()
			if _, told := slices.BinarySearch(r.told, maphash.String(r.seed, key)); !told {
				r.missing[key] = e
			}
		}
		r.told = nil
	default:
		r.judged, known = true, true
		for _, e := range r.missing {
			lost = append(lost, e)
		}
		r.missing = nil
	}
	return lost, known
}

// heal puts back what a source has lost, in batches, tells of it, and vouches for what is there then. Several nodes may do so at once: an entry that is there stays as it is.
func (v *View) heal(ctx context.Context, s *source, lost []revocation.Entry) {
	for rest := lost; len(rest) > 0; {
		n := min(len(rest), healBatch)
		if err := v.putBack(ctx, s, rest[:n]); err != nil {
			if ctx.Err() == nil {
				v.log.Error("A source of revocations has lost some, which could not be put back yet", "source", s.Name, "lost", len(lost), "left", len(rest), "error", err.Error())
			}
			return // when it is followed again, it is compared again
		}
		rest = rest[n:]
	}
	if len(lost) > 0 {
		v.log.Error("A source of revocations had lost some; they were put back", "source", s.Name, "entries", len(lost))
		if v.opts.Healed != nil {
			v.opts.Healed(s.Name, len(lost))
		}
	}
	if whole, ok := s.Revocations.(ports.Voucher); ok {
		ctx, cancel := context.WithTimeout(ctx, v.opts.RecordTimeout)
		defer cancel()
		if err := whole.Vouch(ctx); err != nil && ctx.Err() == nil {
			v.log.Warn("A source of revocations cannot be vouched for", "source", s.Name, "error", err.Error())
		}
	}
}

func (v *View) putBack(ctx context.Context, s *source, entries []revocation.Entry) error {
	ctx, cancel := context.WithTimeout(ctx, 10*v.opts.RecordTimeout)
	defer cancel()
	return s.Revocations.Record(ctx, entries...)
}
