package view

import (
	"context"
	"time"

	"github.com/xteam/xteam/domain/revocation"
)

const (
	// maxOwed bounds the entries that wait for a source that does not record; beyond it everything that is live is recorded once it does.
	maxOwed = 4096
	// owedAgain is how often such a source is tried again.
	owedAgain = 250 * time.Millisecond
	// owedBatch is how many entries are recorded at a time.
	owedBatch = 1000
)

// owing is what a source that is not the truth could not record, and is to record as soon as it can: nobody else would put it there while the source goes on telling all the rest. View.mu guards it.
type owing struct {
	entries []revocation.Entry
	all     bool          // there were too many: everything that is live
	busy    bool          // some are being recorded: what comes meanwhile waits
	some    chan struct{} // holds one when something is owed
}

func (o *owing) owes() bool { return o.busy || o.all || len(o.entries) > 0 }

// put adds entries. It is called with the lock held.
func (o *owing) put(entries []revocation.Entry) {
	if o.all || len(o.entries)+len(entries) > maxOwed {
		o.entries, o.all = nil, true
	} else {
		o.entries = append(o.entries, entries...)
	}
	select {
	case o.some <- struct{}{}:
	default:
	}
}

// record records entries at a source that is not the truth. What it does not take is owed to it, and so is what comes while something is: such a source is tried by settle alone, and nobody waits for it.
func (v *View) record(ctx context.Context, s *source, entries []revocation.Entry) {
	v.mu.Lock()
	owes := s.owing.owes()
	if owes {
		s.owing.put(entries)
	}
	v.mu.Unlock()
	if owes {
		return
	}
	err := s.Revocations.Record(ctx, entries...)
	v.recorded(s, err)
	if err != nil {
		v.mu.Lock()
		defer v.mu.Unlock()
		s.owing.put(entries)
	}
}

// settle records what a source is owed, again and again until ctx ends.
func (v *View) settle(ctx context.Context, s *source) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-s.owing.some:
		}
		for !v.settled(ctx, s) {
			select {
			case <-ctx.Done():
				return
			case <-time.After(owedAgain):
			}
		}
	}
}

// settled tries once, and answers whether nothing is owed any more. What comes meanwhile waits for the next try.
func (v *View) settled(ctx context.Context, s *source) bool {
	v.mu.Lock()
	due, all := s.owing.entries, s.owing.all
	s.owing.entries, s.owing.all, s.owing.busy = nil, false, true
	v.mu.Unlock()
	if all {
		due = nil
		for e := range v.set.All() {
			due = append(due, e)
		}
	}
	err := v.recordAll(ctx, s, due)
	v.mu.Lock()
	defer v.mu.Unlock()
	s.owing.busy = false
	switch {
	case err == nil:
	case all:
		s.owing.entries, s.owing.all = nil, true
	default:
		came := s.owing.entries
		s.owing.entries = nil
		s.owing.put(due)
		s.owing.put(came)
	}
	return !s.owing.owes()
}

// recordAll records entries in batches.
func (v *View) recordAll(ctx context.Context, s *source, due []revocation.Entry) error {
	for from := 0; from < len(due); from += owedBatch {
		within, cancel := context.WithTimeout(ctx, v.opts.RecordTimeout)
		err := s.Revocations.Record(within, due[from:min(from+owedBatch, len(due))]...)
		cancel()
		v.recorded(s, err)
		if err != nil {
			return err
		}
	}
	return nil
}
