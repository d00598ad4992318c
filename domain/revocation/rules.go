package revocation

import (
	"maps"

	"github.com/xteam/xteam/domain/instant"
	"github.com/xteam/xteam/domain/token"
)

// rules are the entries that name no id: few, and each of them a decision of a person. They are never changed once they can be
// seen; with and swept make others.
type rules struct {
	keys   map[string]life
	epochs map[token.Epoch]life
	before map[instant.Instant]life

	epoch  token.Epoch     // the highest of epochs
	issued instant.Instant // the latest of before
}

// key is the cause of the row that names kid, or none.
func (r *rules) key(kid string) cause {
	if l, ok := r.keys[kid]; ok {
		return l.cause
	}
	return none
}

// epochAbove is the cause of the earliest row with an epoch above e, or none.
func (r *rules) epochAbove(e token.Epoch) cause {
	c := none
	if e >= r.epoch {
		return c
	}
	for above, l := range r.epochs {
		if above > e {
			c = min(c, l.cause)
		}
	}
	return c
}

// issuedAt is the cause of the earliest row with a time at or after iat, or none.
func (r *rules) issuedAt(iat instant.Instant) cause {
	c := none
	if iat > r.issued || len(r.before) == 0 {
		return c
	}
	for before, l := range r.before {
		if iat <= before {
			c = min(c, l.cause)
		}
	}
	return c
}

// with is r and e, and whether no row had its name, and whether it differs from r.
func (r *rules) with(e *Entry, l life) (next *rules, fresh, changed bool) {
	next = &rules{keys: r.keys, epochs: r.epochs, before: r.before, epoch: r.epoch, issued: r.issued}
	switch e.Kind {
	case Key:
		next.keys, fresh, changed = with(r.keys, e.KeyID, l)
	case Epoch:
		next.epochs, fresh, changed = with(r.epochs, e.Epoch, l)
		next.epoch = max(r.epoch, e.Epoch)
	case IssuedBefore:
		next.before, fresh, changed = with(r.before, e.Before, l)
		next.issued = max(r.issued, e.Before)
	}
	return next, fresh, changed
}

// with is a copy of m in which l has been merged under name.
func with[K comparable](m map[K]life, name K, l life) (next map[K]life, fresh, changed bool) {
	old, found := m[name]
	if found {
		if changed = old.merge(l); !changed {
			return m, false, false
		}
		l = old
	}
	next = maps.Clone(m)
	if next == nil {
		next = make(map[K]life)
	}
	next[name] = l
	return next, !found, true
}

// swept is r without the times that were over before now, and how many those were. Keys and epochs stay for ever.
func (r *rules) swept(now instant.Instant) (next *rules, gone int) {
	next = &rules{keys: r.keys, epochs: r.epochs, epoch: r.epoch, before: make(map[instant.Instant]life)}
	for before, l := range r.before {
		if l.until >= now {
			next.before[before] = l
			next.issued = max(next.issued, before)
		}
	}
	return next, len(r.before) - len(next.before)
}

// each yields every row as an entry until yield says no, and reports whether it never did.
func (r *rules) each(yield func(Entry) bool) bool {
	for kid, l := range r.keys {
		if !yield(Entry{Kind: Key, KeyID: kid, Reason: l.cause.reason(), At: l.cause.at(), Until: l.until}) {
			return false
		}
	}
	for epoch, l := range r.epochs {
		if !yield(Entry{Kind: Epoch, Epoch: epoch, Reason: l.cause.reason(), At: l.cause.at(), Until: l.until}) {
			return false
		}
	}
	for before, l := range r.before {
		if !yield(Entry{Kind: IssuedBefore, Before: before, Reason: l.cause.reason(), At: l.cause.at(), Until: l.until}) {
			return false
		}
	}
	return true
}
