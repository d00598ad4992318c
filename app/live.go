package app

import (
	"context"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"math"
	"strings"
	"sync"
	"time"

	"github.com/xteam/xteam/domain/audit"
	"github.com/xteam/xteam/domain/id"
	"github.com/xteam/xteam/domain/instant"
	"github.com/xteam/xteam/ports"
)

var (
	// ErrSlow ends a subscription whose reader fell too far behind: it is not waited for, and nothing is kept for it.
	ErrSlow = errors.New("the reader is too slow: it has fallen too many events behind")
	// ErrGap says, once, that a subscription could not begin where it was to: the place is none of the user's, or so far back is not read. It goes on with what is new.
	ErrGap = errors.New("the place is not known, or too far back: events between it and now are left out")
)

const (
	liveBacklog = 256                    // events that wait for one subscriber
	livePoll    = 500 * time.Millisecond // how often the store is asked for what other nodes committed, while somebody subscribes
	livePage    = 512                    // events that are asked for at a time
	liveReplay  = 8 * livePage           // events that are looked through for a subscription that resumes
	liveSeen    = 8192                   // ids that are remembered, twice, to tell an event once: it comes by the journal and from the store
)

// Live tells security events as they happen to whom they are meant for. Those of this node are told at once, as the journal writes them; those of others within a second, from the store,
// which is asked only while somebody subscribes. What is told and never kept, such as refusals, which anybody can cause any number of, is told by its own node alone.
//
// It stands before the journal, which it hands everything on to.
type Live struct {
	next   ports.Journal
	events ports.Events
	sealer ports.Sealer  // of places
	wake   chan struct{} // holds one when somebody subscribes

	mu       sync.Mutex
	open     int                                   // subscriptions
	by       map[string]map[*Subscription]struct{} // the same by whose events they are for; empty: everybody's
	position uint64                                // behind which the store is asked next
	turn     uint64                                // rises when somebody subscribes after nobody did
	seen     [2]map[id.Event]struct{}
	stopped  bool
}

var _ ports.Journal = (*Live)(nil)

// NewLive tells of what is written to it, and of the events of a store. Run must be running for the latter.
func NewLive(next ports.Journal, events ports.Events, s ports.Sealer) *Live {
	return &Live{next: next, events: events, sealer: s, wake: make(chan struct{}, 1), by: map[string]map[*Subscription]struct{}{}, seen: [2]map[id.Event]struct{}{{}, {}}}
}

// Page answers at most limit events that the store has behind a position, in the order of their commits, and the position of the last.
func (l *Live) Page(ctx context.Context, after uint64, limit int) ([]audit.Event, uint64, error) {
	events, last, err := l.events.List(ctx, after, limit)
	return dated(events, instant.Of(time.Now())), last, err
}

// Write is of ports.Journal.
func (l *Live) Write(ctx context.Context, events ...audit.Event) {
	l.next.Write(ctx, events...)
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.open > 0 {
		l.tell(events)
	}
}

// tell tells each subscriber what is new and meant for them. It is called with the lock held.
func (l *Live) tell(events []audit.Event) {
	for i := range events {
		e := &events[i]
		if !l.isNew(e.ID) {
			continue
		}
		l.tellOne(e)
	}
}

func (l *Live) tellOne(e *audit.Event) {
	var shared *audit.Event
	names := [...]string{"", e.Subject, e.Actor}
	for i, name := range names {
		if i > 0 && name == "" || i == 2 && name == e.Subject {
			continue
		}
		for s := range l.by[name] {
			if shared == nil {
				c := *e
				shared = &c
			}
			s.offer(LiveEvent{shared, l.position})
		}
	}
}

// isNew reports whether an event was not told before, and remembers it. It is called with the lock held.
func (l *Live) isNew(eid id.Event) bool {
	for _, m := range l.seen {
		if _, was := m[eid]; was {
			return false
		}
	}
	if len(l.seen[0]) >= liveSeen {
		l.seen[1], l.seen[0] = l.seen[0], make(map[id.Event]struct{}, liveSeen)
	}
	l.seen[0][eid] = struct{}{}
	return true
}

// LiveEvent is an event as a subscriber gets it. The event is shared: not to be changed.
type LiveEvent struct {
	*audit.Event
	after uint64 // a position behind which to begin so as to miss nothing that follows; some may come again then: ids tell
}

// Subscription is one reader's. Next is for one goroutine at a time.
type Subscription struct {
	live *Live
	user id.User // zero: of everybody
	name string  // the user's id, as events have it

	news chan struct{} // holds one when there is something to take

	// Live.mu guards these.
	waiting []LiveEvent
	err     error

	// These are the reader's.
	gap      bool // ErrGap is to be told
	replay   bool // the store is to be read first, from after, until its end
	after    uint64
	replayed int
	found    []LiveEvent           // read of the store, and not taken
	told     map[id.Event]struct{} // told from the store: they may wait as well
}

// Subscribe begins with what happens from now on; Next answers it. Events are those of a user, who did them or whom they concern, or with the zero User everybody's: who may have those is for the caller
// to see to. Close must be called. After the stop it is ErrStopping; the store may not answer where its end is.
func (l *Live) Subscribe(ctx context.Context, user id.User) (*Subscription, error) {
	return l.subscribe(ctx, user, nil)
}

// Resume is Subscribe, and begins at a place that such a subscription told: with what the store has from there on. That is read for whoever pays for it. Where they cannot, the place is no such, or there is very
// much from there on, Next answers ErrGap in its stead.
func (l *Live) Resume(ctx context.Context, user id.User, place string, pay func() error) (*Subscription, error) {
	after, known := l.at(user, place)
	if !known || pay() != nil {
		s, err := l.subscribe(ctx, user, nil)
		if s != nil {
			s.gap = true
		}
		return s, err
	}
	return l.subscribe(ctx, user, &after)
}

// placeFor is what a place is sealed for. A position tells how much has happened to everybody, and so no user is told it.
func placeFor(user id.User) string { return "place in events of " + user.String() }

// Place is where Resume is to begin so as to miss nothing that follows e; some may come again then: their ids tell. It is empty when it cannot be told.
func (s *Subscription) Place(e LiveEvent) string {
	sealed, err := s.live.sealer.Seal(placeFor(s.user), binary.BigEndian.AppendUint64(nil, e.after))
	if err != nil {
		return ""
	}
	return base64.RawURLEncoding.EncodeToString(sealed)
}

// at reads a place.
func (l *Live) at(user id.User, place string) (after uint64, known bool) {
	sealed, err := base64.RawURLEncoding.Strict().DecodeString(place)
	if err != nil || len(sealed) == 0 || len(sealed) > 1<<10 || strings.ContainsAny(place, "\r\n") { // which base64 passes over
		return 0, false
	}
	plain, err := l.sealer.Open(placeFor(user), sealed)
	if err != nil || len(plain) != 8 {
		return 0, false
	}
	return binary.BigEndian.Uint64(plain), true
}

func (l *Live) subscribe(ctx context.Context, user id.User, after *uint64) (*Subscription, error) {
	s := &Subscription{live: l, user: user, news: make(chan struct{}, 1)}
	if !user.IsZero() {
		s.name = user.String()
	}
	if after != nil {
		s.replay, s.after, s.told = true, *after, map[id.Event]struct{}{}
	}
	for at, located := uint64(0), false; ; located = true {
		from, done, err := l.join(s, at, located)
		if err != nil {
			return nil, err
		}
		if done {
			return s, nil
		}
		if at, err = l.end(ctx, from); err != nil {
			return nil, err
		}
	}
}

// join makes s one of the subscribers, if it is not the first of them, or the end of the store was just located; else that is to be looked for behind from.
func (l *Live) join(s *Subscription, at uint64, located bool) (from uint64, done bool, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.stopped:
		return 0, false, ErrStopping
	case l.open > 0:
	case !located:
		return l.position, false, nil
	default:
		l.position = at
		l.turn++
		signal(l.wake)
	}
	if l.by[s.name] == nil {
		l.by[s.name] = map[*Subscription]struct{}{}
	}
	l.by[s.name][s] = struct{}{}
	l.open++
	return 0, true, nil
}

// Close ends the subscription: a Next that waits answers ErrStopping. It may be called more than once, and from anywhere.
func (s *Subscription) Close() { s.end(ErrStopping) }

// end ends the subscription for the reason err, the first of those.
func (s *Subscription) end(err error) {
	s.live.mu.Lock()
	defer s.live.mu.Unlock()
	s.endLocked(err)
}

func (s *Subscription) endLocked(err error) {
	if s.err == nil {
		s.err = err
		delete(s.live.by[s.name], s)
		if len(s.live.by[s.name]) == 0 {
			delete(s.live.by, s.name)
		}
		s.live.open--
	}
	s.waiting = nil
	signal(s.news)
}

func (s *Subscription) wants(e *audit.Event) bool {
	return s.user.IsZero() || e.Subject == s.name || e.Actor == s.name
}

// offer lets an event wait for the reader, and ends the subscription of one who is too slow. It is called with the lock held.
func (s *Subscription) offer(e LiveEvent) {
	if len(s.waiting) >= liveBacklog {
		s.endLocked(ErrSlow)
		return
	}
	s.waiting = append(s.waiting, e)
	signal(s.news)
}

// Next waits for the next event. It answers the error of ctx when that ends; ErrGap, after which it may be called again; and ErrSlow, ErrStopping, or what the store answered a
// subscription that resumes, after all of which the subscription is over.
func (s *Subscription) Next(ctx context.Context) (LiveEvent, error) {
	for {
		if s.gap {
			s.gap = false
			return LiveEvent{}, ErrGap
		}
		if len(s.found) > 0 {
			e := s.found[0]
			s.found = s.found[1:]
			return e, nil
		}
		if s.replay {
			if err := s.read(ctx); err != nil {
				return LiveEvent{}, err
			}
			continue
		}
		e, some, err := s.take()
		if err != nil {
			return LiveEvent{}, err
		}
		if some {
			if _, twice := s.told[e.ID]; twice {
				continue
			}
			if e.after > s.after {
				s.told = nil // all that was read of the store has been told again by now
			}
			return e, nil
		}
		select {
		case <-ctx.Done():
			return LiveEvent{}, context.Cause(ctx)
		case <-s.news:
		}
	}
}

func (s *Subscription) take() (e LiveEvent, some bool, err error) {
	s.live.mu.Lock()
	defer s.live.mu.Unlock()
	if s.err != nil || len(s.waiting) == 0 {
		return e, false, s.err
	}
	e = s.waiting[0]
	s.waiting = s.waiting[1:]
	return e, true, nil
}

// read reads one page of the store, for a subscription that resumes.
func (s *Subscription) read(ctx context.Context) error {
	if s.replayed >= liveReplay {
		s.replay = false
		return ErrGap
	}
	before := s.after
	events, last, err := s.live.Page(ctx, before, livePage)
	if err != nil {
		s.end(err)
		return err
	}
	s.replay, s.after, s.replayed = len(events) > 0, last, s.replayed+len(events)
	events = gathered(events)
	for i := range events {
		if e := &events[i]; s.wants(e) {
			s.told[e.ID] = struct{}{}
			s.found = append(s.found, LiveEvent{e, before})
		}
	}
	if n := len(s.found); n > 0 {
		s.found[n-1].after = last // what else is on the page is for others
	}
	return nil
}

// Run tells what other nodes commit, until ctx ends; then every subscription is over.
func (l *Live) Run(ctx context.Context) {
	defer l.stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-l.wake:
		}
		for l.asked() {
			if !pause(ctx, livePoll) {
				return
			}
			l.poll(ctx)
		}
	}
}

// asked reports whether somebody subscribes.
func (l *Live) asked() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.open > 0
}

// stop ends every subscription.
func (l *Live) stop() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.stopped = true
	for _, all := range l.by {
		for s := range all {
			s.endLocked(ErrStopping)
		}
	}
}

// poll tells what the store has behind the position. A store that does not answer is asked again at the next poll.
func (l *Live) poll(ctx context.Context) {
	for more := true; more; {
		from, at := l.place()
		events, last, err := l.Page(ctx, from, livePage)
		if err != nil || len(events) == 0 {
			return
		}
		more = len(events) == livePage
		events = gathered(events)
		l.mu.Lock()
		if l.turn != at {
			more = false // everybody left meanwhile
		} else {
			n := len(events) - 1
			l.tell(events[:n])
			l.position = last
			l.tell(events[n:])
		}
		l.mu.Unlock()
	}
}

// place is the position behind which the store is asked next, and which turn of subscribers it is of.
func (l *Live) place() (position, turn uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.position, l.turn
}

// end finds the position of the last event that the store has, which is not before from, in some steps for each doubling of their number.
func (l *Live) end(ctx context.Context, from uint64) (uint64, error) {
	low, high := from, uint64(math.MaxInt64) // nothing is behind high, and nothing before low is the last
	for step := uint64(1); low < high; {
		middle := low + (high-low)/2
		if step < middle-low { // from low on at first, in steps that double
			middle = low + step
		}
		if step *= 2; step > math.MaxInt64/2 {
			step = math.MaxInt64 / 2
		}
		events, last, err := l.events.List(ctx, middle, 1)
		switch {
		case err != nil:
			return 0, err
		case len(events) > 0:
			low = last
		default:
			high = middle
		}
	}
	return low, nil
}
