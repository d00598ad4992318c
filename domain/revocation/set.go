package revocation

import (
	"hash/maphash"
	"iter"
	"math"
	"sync"
	"sync/atomic"

	"github.com/xteam/xteam/domain/id"
	"github.com/xteam/xteam/domain/instant"
	"github.com/xteam/xteam/domain/token"
)

// Set answers from memory whether a token is withdrawn. It only grows: it is the union of all entries that were added, in whatever
// order and however often, until Sweep forgets those whose time is over. Two entries with one Key are one, with the earlier At and
// its Reason and the later Until. By and Note are not kept.
//
// All methods may be called at once. Withdraws, Epoch and KeyRevoked wait for nobody and allocate nothing; only the reason of a
// user with several live entries is read under a lock. What Add has taken is seen by every Withdraws that begins after it.
type Set struct {
	tokens, sessions, users, apiKeys index

	rules atomic.Pointer[rules] // never nil; replaced, never changed
	mu    sync.Mutex            // held by whoever replaces rules

	count atomic.Int64
}

// NewSet is the empty set.
func NewSet() *Set {
	s := &Set{}
	for _, x := range []*index{&s.tokens, &s.sessions, &s.users, &s.apiKeys} {
		x.seed, x.stride = maphash.MakeSeed(), minWord
	}
	s.users.stride = minWord + 1
	s.rules.Store(&rules{})
	return s
}

// cause is when a revocation was asked for, in the upper 56 bits, and its reason: the least is the earliest, and of two in one
// microsecond the one whose reason has the lower number.
type cause uint64

const none cause = math.MaxUint64

// latest is the last microsecond that a cause tells apart, in the year 4253.
const latest = 1<<56 - 2

func causeOf(e *Entry) cause {
	return cause(min(max(e.At, 0), latest))<<8 | cause(e.Reason)
}

func (c cause) at() instant.Instant { return instant.Instant(c >> 8) }
func (c cause) reason() Reason      { return Reason(c & 0xff) }

// Add makes e part of the set and reports whether that told it something new: an entry, an earlier At or a later Until. An entry
// that names nothing is nothing new. It does not judge e otherwise (Entry.Validate does): an entry with an unknown reason still
// withdraws. Entries by key and by epoch stay for ever, whatever their Until.
func (s *Set) Add(e Entry) bool {
	l := life{cause: causeOf(&e), until: e.Until}
	var fresh, changed bool
	switch {
	case e.Kind == Token && !e.Token.IsZero():
		fresh, changed = s.tokens.add(row{e.Token, l})
	case e.Kind == Session && !e.Session.IsZero():
		fresh, changed = s.sessions.add(row{e.Session, l})
	case e.Kind == User && !e.User.IsZero() && e.Min > 0:
		l.min = e.Min
		fresh, changed = s.users.add(row{e.User, l})
	case e.Kind == APIKey && !e.APIKey.IsZero():
		fresh, changed = s.apiKeys.add(row{e.APIKey, l})
	case e.Kind == Key && e.KeyID != "", e.Kind == Epoch && e.Epoch > 0:
		l.until = instant.Forever
		fresh, changed = s.addRule(&e, l)
	case e.Kind == IssuedBefore && e.Before > 0:
		fresh, changed = s.addRule(&e, l)
	}
	if fresh {
		s.count.Add(1)
	}
	return changed
}

func (s *Set) addRule(e *Entry, l life) (fresh, changed bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	next, fresh, changed := s.rules.Load().with(e, l)
	s.rules.Store(next)
	return fresh, changed
}

// Withdraws reports whether an entry names the token with the claims c, and the verdict of the earliest that does. Of several in
// one microsecond it is the first in the order of Kind, then of Reason. The claims that stand for an API key are named by its own
// entries and by those of its owner only: the others withdraw tokens.
func (s *Set) Withdraws(c *token.Claims) (Verdict, bool) {
	kind, first := Kind(0), none
	earlier := func(k Kind, c cause) {
		if c != none && (first == none || c.at() < first.at()) {
			kind, first = k, c
		}
	}
	if c.APIKey.IsZero() {
		// The tables are asked together, for their words come from memory: what is in none of them, as nearly every token is, waits for memory once.
		byToken, bySession, byUser := s.tokens.glance((*[16]byte)(&c.ID)), s.sessions.glance((*[16]byte)(&c.Session)), s.users.glance((*[16]byte)(&c.Subject))
		if byToken.maybe() {
			earlier(Token, s.tokens.lookup((*[16]byte)(&c.ID), 0))
		}
		if bySession.maybe() {
			earlier(Session, s.sessions.lookup((*[16]byte)(&c.Session), 0))
		}
		if byUser.maybe() {
			earlier(User, s.users.lookup((*[16]byte)(&c.Subject), c.Generation))
		}
		r := s.rules.Load()
		earlier(Key, r.key(c.KeyID))
		earlier(Epoch, r.epochAbove(c.Epoch))
		earlier(IssuedBefore, r.issuedAt(c.IssuedAt))
	} else {
		earlier(User, s.users.lookup((*[16]byte)(&c.Subject), c.Generation))
		earlier(APIKey, s.apiKeys.lookup((*[16]byte)(&c.APIKey), 0))
	}
	if first == none {
		return Verdict{}, false
	}
	return Verdict{Kind: kind, Reason: first.reason(), At: first.at()}, true
}

// Holds reports whether everything that e names is withdrawn, by e or by another entry of its kind.
func (s *Set) Holds(e *Entry) bool {
	switch e.Kind {
	case Token:
		return s.tokens.lookup((*[16]byte)(&e.Token), 0) != none
	case Session:
		return s.SessionEnded(e.Session)
	case User:
		return e.Min > 0 && s.users.lookup((*[16]byte)(&e.User), e.Min-1) != none
	case Key:
		return s.KeyRevoked(e.KeyID)
	case Epoch:
		return s.Epoch() >= e.Epoch
	case IssuedBefore:
		return s.IssuedBefore() >= e.Before
	case APIKey:
		return s.apiKeys.lookup((*[16]byte)(&e.APIKey), 0) != none
	}
	return false
}

// Epoch is the highest epoch of the entries: the least that a token may carry. It is 0 while there is none.
func (s *Set) Epoch() token.Epoch { return s.rules.Load().epoch }

// IssuedBefore is the latest time of the entries by time: a token that was issued at or before it is withdrawn. It is 0 while there is none.
func (s *Set) IssuedBefore() instant.Instant { return s.rules.Load().issued }

// KeyRevoked reports whether the key kid was revoked.
func (s *Set) KeyRevoked(kid string) bool { return s.rules.Load().key(kid) != none }

// Least is the least generation of the user that is still good, if it is above from, else from.
func (s *Set) Least(user id.User, from token.Generation) token.Generation {
	withdrawn := func(g token.Generation) bool { return s.users.lookup((*[16]byte)(&user), g) != none }
	if !withdrawn(from) {
		return from
	}
	step := token.Generation(1)
	for withdrawn(from + step) {
		from, step = from+step, 2*step
	}
	for low, high := from, from+step; ; { // low is withdrawn, high is good
		if high-low == 1 {
			return high
		}
		if middle := low + (high-low)/2; withdrawn(middle) {
			low = middle
		} else {
			high = middle
		}
	}
}

// SessionEnded reports whether an entry names the session by itself. One that was ended with all of its user's is not known here.
func (s *Set) SessionEnded(sid id.Session) bool {
	_, ended := s.WhySessionEnded(sid)
	return ended
}

// WhySessionEnded is SessionEnded with the reason of the entry.
func (s *Set) WhySessionEnded(sid id.Session) (Reason, bool) {
	c := s.sessions.lookup((*[16]byte)(&sid), 0)
	return c.reason(), c != none
}

// Len is how many entries the set holds.
func (s *Set) Len() int { return int(s.count.Load()) }

// Sweep forgets the entries whose Until is before now, and answers how many those were.
func (s *Set) Sweep(now instant.Instant) int {
	gone := s.tokens.sweep(now) + s.sessions.sweep(now) + s.users.sweep(now) + s.apiKeys.sweep(now) + s.sweepRules(now)
	s.count.Add(-int64(gone))
	return gone
}

func (s *Set) sweepRules(now instant.Instant) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	next, gone := s.rules.Load().swept(now)
	s.rules.Store(next)
	return gone
}

// All yields every entry, without By and Note, in no order. What is added or swept meanwhile is yielded or not. The set may be
// changed by whoever receives.
func (s *Set) All() iter.Seq[Entry] {
	return func(yield func(Entry) bool) {
		entry := func(k Kind, l life) Entry {
			return Entry{Kind: k, Reason: l.cause.reason(), At: l.cause.at(), Until: l.until}
		}
		_ = s.rules.Load().each(yield) &&
			s.tokens.each(func(r row) bool {
				e := entry(Token, r.life)
				e.Token = id.Token(r.id)
				return yield(e)
			}) &&
			s.sessions.each(func(r row) bool {
				e := entry(Session, r.life)
				e.Session = id.Session(r.id)
				return yield(e)
			}) &&
			s.users.each(func(r row) bool {
				e := entry(User, r.life)
				e.User, e.Min = id.User(r.id), r.min
				return yield(e)
			}) &&
			s.apiKeys.each(func(r row) bool {
				e := entry(APIKey, r.life)
				e.APIKey = id.APIKey(r.id)
				return yield(e)
			})
	}
}
