package view

import (
	"maps"
	"slices"
	"time"

	"github.com/xteam/xteam/domain/instant"
	"github.com/xteam/xteam/domain/revocation"
)

// latePatience is for how long the truth must have been heard without a word of what another source told before it is written down there: whoever put it in force is about to, or has gone.
const latePatience = 10 * time.Second

// untold is what the truth has told and a source that is followed has not, though it was heard: whoever committed it could not record it there, and may not live to do so. Without it nodes that the database does not reach, and whoever
// asks that source alone, would take for good what is revoked. It is owed to the source once it has had a second for it. View.mu guards it.
type untold struct {
	followed   bool // else what it lacks is found when it is followed again
	young, old map[string]revocation.Entry
}

// unwritten is what another source has told and the truth has not: a node that does not reach the database put it in force, and may not live to write it down. Without it a session that was ended would live again once its entry is over. View.mu
// guards it.
type unwritten struct {
	from time.Duration     // since when the truth has been heard without a silence
	all  map[string]lately // nil until the truth is compared: what it lacks is found then
}

// lately is an entry, and when it came.
type lately struct {
	revocation.Entry
	at time.Duration
}

// early notes what a source told that nobody had told before, the truth neither.
func (v *View) early(news []revocation.Entry) {
	if len(news) == 0 {
		return
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	now := v.elapsed()
	for _, s := range v.sources {
		if s.Truth && s.unwritten.all != nil {
			for i := range news {
				s.unwritten.all[news[i].Key()] = lately{news[i], now}
			}
		}
	}
}

// compares begins to note what the truth does not tell, unless that is done already.
func (v *View) compares(s *source) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if s.Truth && s.unwritten.all == nil {
		s.unwritten = unwritten{s.heard, map[string]lately{}}
	}
}

// late answers, once, what the truth has not told in time and would still tell.
func (v *View) late(s *source, keeps func(*revocation.Entry, instant.Instant) bool) (missing map[string]revocation.Entry) {
	v.mu.Lock()
	defer v.mu.Unlock()
	now := instant.Of(v.opts.Now())
	for key, e := range s.unwritten.all {
		if s.heard-max(e.at, s.unwritten.from) < latePatience {
			continue
		}
		delete(s.unwritten.all, key)
		if !keeps(&e.Entry, now) {
			continue
		}
		if missing == nil {
			missing = map[string]revocation.Entry{}
		}
		missing[key] = e.Entry
	}
	return missing
}

// lacks notes what the truth told that nobody had told before.
func (v *View) lacks(news []revocation.Entry) {
	if len(news) == 0 {
		return
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, s := range v.sources {
		u := &s.untold
		if s.Truth || !u.followed {
			continue
		}
		if u.young == nil {
			u.young = make(map[string]revocation.Entry, len(news))
		}
		for i := range news {
			u.young[news[i].Key()] = news[i]
		}
		if len(u.young)+len(u.old) > maxOwed {
			v.owes(s, slices.Collect(maps.Values(u.young)))
			v.owes(s, slices.Collect(maps.Values(u.old)))
			u.young, u.old = nil, nil
		}
	}
}

// owes has entries recorded at a source. It is called with the lock held.
func (v *View) owes(s *source, entries []revocation.Entry) {
	if len(entries) > 0 {
		s.owing.put(entries)
	}
}

// has notes what a source tells itself.
func (v *View) has(s *source, entries []revocation.Entry) {
	v.mu.Lock()
	defer v.mu.Unlock()
	u := &s.untold
	if len(u.young)+len(u.old)+len(s.unwritten.all) == 0 {
		return
	}
	for i := range entries {
		key := entries[i].Key()
		delete(u.young, key)
		delete(u.old, key)
		delete(s.unwritten.all, key)
	}
}

// followed notes that a source begins to be followed, or no longer is. What was untold by then is compared when it is followed again.
func (v *View) followed(s *source, is bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	s.untold, s.unwritten = untold{followed: is}, unwritten{}
}

// overdue has recorded what sources have not told for a tick at least.
func (v *View) overdue() {
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, s := range v.sources {
		u := &s.untold
		v.owes(s, slices.Collect(maps.Values(u.old)))
		u.young, u.old = nil, u.young
	}
}
