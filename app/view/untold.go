package view

import (
	"maps"
	"slices"

	"github.com/xteam/xteam/domain/revocation"
)

// untold is what the truth has told and a source that is followed has not, though it was heard: whoever committed it could not record it there, and may not live to do so. Without it nodes that the database does not reach, and whoever
// asks that source alone, would take for good what is revoked. It is owed to the source once it has had a second for it. View.mu guards it.
type untold struct {
	followed   bool // else what it lacks is found when it is followed again
	young, old map[string]revocation.Entry
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
	if len(u.young)+len(u.old) == 0 {
		return
	}
	for i := range entries {
		key := entries[i].Key()
		delete(u.young, key)
		delete(u.old, key)
	}
}

// followed notes that a source begins to be followed, or no longer is. What was untold by then is compared when it is followed again.
func (v *View) followed(s *source, is bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	s.untold = untold{followed: is}
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
