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
	// healBefore is by how much clocks may differ of those who revoked.
	healBefore = 10 * time.Minute
	// healTurn is for how long one of many nodes is the one that puts back; healAgain is when another asks whether it is, or what failed is tried again.
	healTurn  = 10 * time.Second
	healAgain = 250 * time.Millisecond
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
	// Begin is called before the first entry is put back into a source, by the one of many nodes that does it. When it fails, it is called again before anything is put back.
	Begin func(ctx context.Context, h Healing) error
	// PutBack records entries in the truth, together with the changes of state that belong to them. Some may be over: only that state matters then.
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
// An entry that is over is missed by nobody: every source lets it go. But a truth that has lost others was set back, and what it has on record may be of before that entry: a session that was ended lives there. So those that the
// view still holds and the truth did not tell are put back with what is missing, as far back as the truth may have been set: to the last minute, before the oldest that is missing, of which it tells anything.
// After an outage so long that all that was lost is over, nothing is missing. A truth that still tells of something that ended earlier is seen to lack it all the same, by a node that was there.
type round struct {
	Healing // of what is lost; its Entries count what was put back

	mu      sync.Mutex
	seed    maphash.Seed
	told    []uint64                     // the hashes of the keys that the source has told; nil once missing is known
	minutes map[instant.Instant]struct{} // in which they were asked for; nil unless it is the truth
	ended   instant.Instant              // what ended then or later the truth has not let go: it has told of something that ended before
	missing map[string]revocation.Entry
	over    map[string]revocation.Entry
	late    bool // all that was lost is over
	first   bool // this node has just started
	judged  bool
}

func newRound(h Healing) *round {
	r := &round{Healing: h, seed: maphash.MakeSeed(), told: []uint64{}, ended: instant.Forever, first: h.Unvouched}
	if h.Truth {
		r.minutes = map[instant.Instant]struct{}{}
	}
	return r
}

// minuteOf is the beginning of the minute that at is in.
func minuteOf(at instant.Instant) instant.Instant {
	return at - at%instant.Instant(time.Minute/time.Microsecond)
}

// tell notes what the source told.
func (r *round) tell(entries []revocation.Entry) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for i := range entries {
		switch {
		case r.missing != nil:
			key := entries[i].Key()
			delete(r.missing, key)
			delete(r.over, key)
		case !r.judged:
			r.told = append(r.told, maphash.String(r.seed, entries[i].Key()))
			if r.minutes != nil {
				r.minutes[minuteOf(entries[i].At)] = struct{}{}
				r.ended = min(r.ended, entries[i].Until.Add(healAhead))
			}
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
			if e.Until <= now.Add(healAhead) {
				continue
			}
			if key := e.Key(); !r.tells(key) {
				r.missing[key] = e
			}
		}
		switch {
		case !r.Truth:
		case len(r.missing) > 0:
			r.over = r.overSince(r.setBackTo(), 0, held, now)
		case !r.first:
			r.over, r.late = r.overSince(0, r.ended, held, now), true
		}
		r.told, r.minutes = nil, nil
	default:
		r.judged, known = true, true
		if len(r.missing) == 0 { // it was under way, or another has put it back
			maps.DeleteFunc(r.over, func(_ string, e revocation.Entry) bool { return e.Until < r.ended })
		}
	}
	return known
}

// tells reports whether the source has told what a key names, by the time that it had told everything. It is called with the lock held, as the next are.
func (r *round) tells(key string) bool {
	_, told := slices.BinarySearch(r.told, maphash.String(r.seed, key))
	return told
}

// setBackTo is a time that the truth was not set back beyond, before all others when that is not known.
func (r *round) setBackTo() (to instant.Instant) {
	first := minuteOf(oldestOf(r.missing))
	for m := range r.minutes {
		if m < first {
			to = max(to, m)
		}
	}
	return to.Add(-healBefore)
}

// overSince is what is held, was asked for since a time, is over, but ended at another time or later, was not told, and may have changed a record that the truth has lost.
func (r *round) overSince(since, ended instant.Instant, held *revocation.Set, now instant.Instant) map[string]revocation.Entry {
	over := map[string]revocation.Entry{}
	for e := range held.All() {
		if e.Kind == revocation.Token || e.Until > now.Add(healAhead) || e.Until < ended || e.At < since {
			continue
		}
		if key := e.Key(); !r.tells(key) {
			over[key] = e
		}
	}
	return over
}

// some is a batch of what is still to be put back; whether any of it is missed, as what is over is when nothing else was lost.
func (r *round) some() (batch []revocation.Entry, missed bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	from := r.missing
	if len(from) == 0 {
		from = r.over
	}
	batch = make([]revocation.Entry, 0, min(len(from), healBatch))
	for _, e := range from {
		if len(batch) == healBatch {
			break
		}
		batch = append(batch, e)
	}
	return batch, r.late || len(r.missing) > 0
}

// oldest is when the oldest entry was asked for that is missed.
func (r *round) oldest() instant.Instant {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.late {
		return oldestOf(r.over)
	}
	return oldestOf(r.missing)
}

func oldestOf(all map[string]revocation.Entry) (at instant.Instant) {
	for _, e := range all {
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
	mine, begun, logged := false, false, false
	for {
		batch, missed := r.some()
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
		if missed && !begun { // else whoever put back what was missed has begun
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
			continue
		}
		if ctx.Err() == nil && !logged {
			logged = true
			v.log.Error("A source of revocations has lost some, which could not be put back yet", "source", s.Name, "error", err.Error())
		}
		if rest(ctx) != nil {
			break
		}
	}
	if r.Entries > 0 {
		v.log.Error("A source of revocations had lost some; they were put back", "source", s.Name, "entries", r.Entries, "cause", r.Cause)
		if h := v.healer.Load(); h != nil && h.Healed != nil {
			h.Healed(r.Healing)
		}
	}
	if whole, ok := s.Revocations.(ports.Voucher); ok && ctx.Err() == nil {
		ctx, cancel := context.WithTimeout(ctx, v.opts.RecordTimeout)
		defer cancel()
		if err := whole.Vouch(ctx); err != nil && ctx.Err() == nil {
			v.log.Warn("A source of revocations cannot be vouched for", "source", s.Name, "error", err.Error())
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
func rest(ctx context.Context) error {
	timer := time.NewTimer(healAgain)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
