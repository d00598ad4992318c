package view

import (
	"context"
	"fmt"
	"time"

	"github.com/xteam/xteam/domain/revocation"
	"github.com/xteam/xteam/ports"
)

const (
	// askEvery is how often the truth is asked at once, at most, whatever cannot be read.
	askEvery = 100 * time.Millisecond
	// unreadAgain is for how long a source must have told nothing that cannot be read before the log tells of it again.
	unreadAgain = time.Minute
	// mendLater is how long entries that cannot be read are gathered before they are mended: a revocation that is under way is in the truth by then.
	mendLater = time.Second
)

// unread is what a source that is not the truth holds and what could not be read. View.mu guards it.
type unread struct {
	some bool          // there was something
	last time.Duration // when it was last told of
}

// doubt notes that s holds entries that could not be read. It is not all there is until the truth was asked after this, which it is at once. What is told beside them counts as ever.
func (v *View) doubt(s *source, n int) {
	v.unreadable.Add(uint64(max(n, 0)))
	v.mu.Lock()
	defer v.mu.Unlock()
	now := v.elapsed()
	if !s.unread.some || now-s.unread.last > unreadAgain {
		v.log.Error("A source of revocations holds entries that cannot be read: damaged, forged, or of another version; the database is asked in their place", "source", s.Name, "truth", s.Truth, "entries", n)
	}
	s.unread = unread{true, now}
	select {
	case s.bad <- struct{}{}:
	default:
	}
	v.ask(now)
}

// Unread is how many entries the sources have told of that could not be read: damaged, forged, or of another version. One is counted whenever it is told of: by each source, and again when all is loaded again.
func (v *View) Unread() uint64 { return v.unreadable.Load() }

// ask has the truth asked at once, or in a moment if it just was. It is called with the lock held.
func (v *View) ask(now time.Duration) {
	if v.asking {
		return
	}
	v.asking = true
	time.AfterFunc(max(v.asked+askEvery-now, 0), func() {
		v.mu.Lock()
		v.asking, v.asked = false, v.elapsed()
		v.mu.Unlock()
		for _, s := range v.sources {
			if polled, ok := s.Revocations.(ports.Asked); ok && s.Truth {
				polled.Ask()
			}
		}
	})
}

// made notes which sources the view has all of, now that s was heard. It is called with the lock held.
func (v *View) made(s *source) {
	if s.Truth {
		for _, other := range v.sources {
			if !other.Truth && other.unread.some && other.unread.last <= s.heard {
				other.whole = other.heard
			}
		}
		s.whole = s.heard
		return
	}
	if !s.unread.some || v.told(s.unread.last) {
		s.whole = s.heard
	}
}

// told reports whether the truth was asked after a time, and has answered. It is called with the lock held.
func (v *View) told(at time.Duration) bool {
	for _, s := range v.sources {
		if s.Truth {
			return s.caught && s.heard >= at
		}
	}
	return false
}

// mendAll has what cannot be read of a source mended, until ctx ends.
func (v *View) mendAll(ctx context.Context, s *source) {
	m, ok := s.Revocations.(ports.Mender)
	if !ok {
		return
	}
	for {
		select {
		case <-ctx.Done():
			return
		case <-s.bad:
		}
		if !v.awaitTruth(ctx) {
			return
		}
		v.mend(ctx, s, m)
	}
}

// awaitTruth waits until the truth has told everything that it held in a moment from now, and there is a healer, if there is to be one.
func (v *View) awaitTruth(ctx context.Context) bool {
	if v.opts.AwaitHealer {
		select {
		case <-v.healable:
		case <-ctx.Done():
			return false
		}
	}
	for since := v.elapsed() + mendLater; ; {
		v.mu.Lock()
		known := v.told(since)
		v.mu.Unlock()
		if known {
			return true
		}
		if rest(ctx) != nil {
			return false
		}
	}
}

// mend mends a source once, if this node is the one of many that does it.
func (v *View) mend(ctx context.Context, s *source, m ports.Mender) {
	h := v.healer.Load()
	remove := h == nil || h.Owed == nil || !h.Owed(ctx)
	done, err := m.Mend(ctx, remove, v.those)
	if ctx.Err() != nil {
		return
	}
	if err != nil {
		v.log.Warn("Entries of a source of revocations that cannot be read could not all be put right", "source", s.Name, "error", err.Error())
	}
	if done == (ports.Mended{}) {
		return
	}
	v.log.Warn("Entries of a source of revocations that could not be read were put right", "source", s.Name, "rewritten", done.Rewritten, "renewed", done.Renewed, "removed", done.Removed, "left", done.Left)
	if n := done.Rewritten + done.Removed; n > 0 && h != nil && h.Healed != nil {
		h.Healed(Healing{Source: s.Name, Truth: s.Truth, Entries: done.Rewritten, Removed: done.Removed, Unreadable: true,
			Cause: fmt.Sprintf("%d entries were damaged or forged, by somebody who can write there: %d were written anew, and %d that nobody knows were removed", n, done.Rewritten, done.Removed)})
	}
}

// those are the entries that are held of some keys.
func (v *View) those(keys []string) (all []revocation.Entry) {
	if len(keys) == 0 {
		return nil
	}
	wanted := make(map[string]bool, len(keys))
	for _, key := range keys {
		wanted[key] = true
	}
	for e := range v.set.All() {
		if wanted[e.Key()] {
			all = append(all, e)
		}
	}
	return all
}
