package view

import (
	"context"
	"hash/maphash"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/xteam/xteam/domain/instant"
	"github.com/xteam/xteam/domain/revocation"
	"github.com/xteam/xteam/ports"
)

const (
	// healBatch is how many entries are put back at a time.
	healBatch = 1000
	// healAhead is how long an entry must have to live to be missed: one that is nearly over may have been let go already.
	healAhead = time.Minute
	// healBack is how long ago an entry may have ended to be missed of the truth, which tells of it for a day, and nodes hold it for as long: an hour less, so that nobody misses what another clock has let go.
	healBack = 23 * time.Hour
	// healTurn is for how long one of many nodes is the one that puts back; healAgain is when another asks whether it is, or what failed is tried again.
	healTurn  = 10 * time.Second
	healAgain = 250 * time.Millisecond
	// healLast is the longest pause before what could not be put back is tried again.
	healLast = 8 * time.Second
)

// Healing is what a source had lost, and what of it this node has put back.
type Healing struct {
	Source  string
	Truth   bool
	Entries int // put back
	// Unreadable says that nothing was lost: entries were damaged or forged where they lay, and were written anew; those that nobody knows, and that no node wrote, were removed.
	Unreadable bool
	Removed    int
	Cause      string          // what the source was lost for, in its own words; at a start, that it lacked what another source holds
	Oldest     instant.Instant // when the oldest was asked for of those that are missed as it begins
	// Unvouched says that this node cannot know whether it holds everything that was acknowledged: it has just started, or its own view was stale meanwhile.
	Unvouched bool
}

// Healer sees to what the truth lost beside the entries themselves, and tells of what any source lost. Its functions may be called at once, for different sources.
type Healer struct {
	// Begin is called before the first entry is put back into a source, by the one of many nodes that does it. When it fails, it is called again before anything is put back. It is called too before the truth is told what it does not
	// know of another node that has gone, or does not reach it; that is no loss, and Healed does not hear of it.
	Begin func(ctx context.Context, h Healing) error
	// PutBack records entries in the truth, together with the changes of state that belong to them. Some may be over: that state matters then.
	PutBack func(ctx context.Context, entries []revocation.Entry) error
	// Healed is told of what was put back.
	Healed func(h Healing)
	// Owed reports whether something may be in force that the truth does not have yet, and that nobody may remove therefore.
	Owed func(ctx context.Context) bool
}

// HealBy names who is to be asked and told when a source has lost something. It may be called once. What a source has lost waits for it when Options.AwaitHealer says so.
func (v *View) HealBy(h Healer) {
	v.healer.Store(&h)
	close(v.healable)
}

// round is what a source has told since it is followed, compared with what the view holds: what it lacks, it has lost. An entry is missing when the view held it as the source
// said for the first time that it had told everything, and the source has not told it by the time that it says so again: what was under way then has come in. What is told later is missed no more:
// another node has put it back.
//
// Of the truth what is over is missed too, as far back as it goes on telling of it (ports.Revocations): a truth that was set back has its records of then, and a session that was ended since lives there.
type round struct {
	Healing // of what is lost; its Entries count what was put back

	mu      sync.Mutex
	seed    maphash.Seed
	told    []uint64 // the hashes of the keys that the source has told; nil once missing is known
	missing map[string]revocation.Entry
	judged  bool
	done    bool // nobody puts back any more
	late    bool // it is no loss: a node that does not reach the truth had it in force
}

func newRound(h Healing) *round {
	return &round{Healing: h, seed: maphash.MakeSeed(), told: []uint64{}}
}

// newLate is of what other sources told and the truth did not, which is known already.
func newLate(s *source, missing map[string]revocation.Entry) *round {
	return &round{Healing: Healing{Source: s.Name, Truth: s.Truth}, missing: missing, judged: true, done: missing == nil, late: true}
}

// tell notes what the source told.
func (r *round) tell(entries []revocation.Entry) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for i := range entries {
		switch {
		case r.missing != nil:
			delete(r.missing, entries[i].Key())
		case !r.judged:
			r.told = append(r.told, maphash.String(r.seed, entries[i].Key()))
		}
	}
}

// tellOf notes what the source holds and could not be read: it is mended where it lies, and not put back.
func (r *round) tellOf(keys []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, key := range keys {
		if r.missing == nil && !r.judged {
			r.told = append(r.told, maphash.String(r.seed, key))
		}
	}
}

// doubt notes, until it is known what is lost, that this node may not hold all that there was.
func (r *round) doubt(missed bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.judged {
		r.Unvouched = r.Unvouched || missed
	}
}

// caught answers true once, when it is known what the source has lost. held is what the view holds.
func (r *round) caught(held *revocation.Set, now instant.Instant) (known bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case r.judged:
	case r.missing == nil:
		slices.Sort(r.told)
		r.missing = map[string]revocation.Entry{}
		for e := range held.All() {
			if !r.keeps(&e, now) {
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
	}
	return known
}

// keeps reports whether a source that has lost nothing still tells of an entry that matters to it. A token's that is over does not: no record belongs to it.
func (r *round) keeps(e *revocation.Entry, now instant.Instant) bool {
	if r.Truth && e.Kind != revocation.Token {
		return e.Until > now.Add(-healBack)
	}
	return e.Until > now.Add(healAhead)
}

// some is a batch of what is still to be put back. Once there is none it is done.
func (r *round) some() []revocation.Entry {
	r.mu.Lock()
	defer r.mu.Unlock()
	batch := make([]revocation.Entry, 0, min(len(r.missing), healBatch))
	for _, e := range r.missing {
		if len(batch) == healBatch {
			break
		}
		batch = append(batch, e)
	}
	r.done = len(batch) == 0
	return batch
}

// more has others put back too, by whoever is at it; false when nobody is any more.
func (r *round) more(missing map[string]revocation.Entry) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.done {
		return false
	}
	maps.Copy(r.missing, missing)
	return true
}

// oldest is when the oldest entry was asked for that is missed.
func (r *round) oldest() (at instant.Instant) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, e := range r.missing {
		if at == 0 || e.At < at {
			at = e.At
		}
	}
	return at
}

// back notes that a batch was put back.
func (r *round) back(batch []revocation.Entry) {
	r.tell(batch)
	r.Entries += len(batch)
}

// heal puts back what a source has lost, in batches, tells of it, and vouches for what is there then. Of several nodes one does it, and the others see that they miss nothing any more.
func (v *View) heal(ctx context.Context, s *source, r *round) {
	mine, begun, logged, pause := false, false, false, healAgain
	for {
		batch := r.some()
		if len(batch) == 0 {
			break
		}
		if !mine && !v.turn(ctx, s) {
			if rest(ctx) != nil {
				return // when it is followed again, it is compared again
			}
			continue
		}
		mine = true
		if !begun {
			r.Oldest = r.oldest()
			if err := v.begin(ctx, r); err == nil {
				begun = true
			} else if rest(ctx) != nil {
				return
			}
			continue
		}
		err := v.putBack(ctx, s, batch)
		if err == nil {
			r.back(batch)
			pause = healAgain
			continue
		}
		if ctx.Err() == nil && !logged {
			logged = true
			v.log.Error("A source of revocations has lost some, which could not be put back yet", "source", s.Name, "error", err.Error())
		}
		if sleep(ctx, pause) != nil {
			break
		}
		pause = min(2*pause, healLast)
	}
	switch {
	case r.Entries == 0:
	case r.late:
		v.log.Warn("The database lacked revocations that are in force, of a node that does not reach it or has gone; they were written down", "source", s.Name, "entries", r.Entries)
	default:
		v.log.Error("A source of revocations had lost some; they were put back", "source", s.Name, "entries", r.Entries, "cause", r.Cause)
		if h := v.healer.Load(); h != nil && h.Healed != nil {
			h.Healed(r.Healing)
		}
	}
	if whole, ok := s.Revocations.(ports.Voucher); ok {
		v.vouch(ctx, s, whole)
	}
}

// vouch says that a source is whole, again and again until it has been said: whoever reads it without this program takes nothing until then.
func (v *View) vouch(ctx context.Context, s *source, whole ports.Voucher) {
	for logged := false; ctx.Err() == nil; { // when it has ended, something may not have been put back
		within, cancel := context.WithTimeout(ctx, v.opts.RecordTimeout)
		err := whole.Vouch(within)
		cancel()
		if err == nil {
			return
		}
		if ctx.Err() == nil && !logged {
			logged = true
			v.log.Warn("A source of revocations cannot be vouched for", "source", s.Name, "error", err.Error())
		}
		if rest(ctx) != nil {
			return
		}
	}
}

// turn reports whether this node is the one that puts back. Whoever is alone is; a source that does not say is asked again.
func (v *View) turn(ctx context.Context, s *source) bool {
	if v.opts.AwaitHealer {
		select {
		case <-v.healable:
		case <-ctx.Done():
			return false
		}
	}
	many, ok := s.Revocations.(ports.Claimer)
	if !ok {
		return true
	}
	ctx, cancel := context.WithTimeout(ctx, v.opts.RecordTimeout)
	defer cancel()
	mine, err := many.Claim(ctx, healTurn)
	return mine && err == nil
}

func (v *View) begin(ctx context.Context, r *round) error {
	h := v.healer.Load()
	if h == nil || h.Begin == nil {
		return nil
	}
	return h.Begin(ctx, r.Healing)
}

func (v *View) putBack(ctx context.Context, s *source, entries []revocation.Entry) error {
	ctx, cancel := context.WithTimeout(ctx, 10*v.opts.RecordTimeout)
	defer cancel()
	if h := v.healer.Load(); s.Truth && h != nil && h.PutBack != nil {
		return h.PutBack(ctx, entries)
	}
	return s.Revocations.Record(ctx, entries...)
}

// rest waits for healAgain.
func rest(ctx context.Context) error { return sleep(ctx, healAgain) }

func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
