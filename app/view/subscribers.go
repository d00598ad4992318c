package view

import (
	"sync"

	"github.com/xteam/xteam/domain/revocation"
)

// backlog is how many entries wait for a subscriber before it is told everything instead.
const backlog = 1024

// subscribers are told of new entries, each at its own pace.
type subscribers struct {
	set *revocation.Set

	mu     sync.Mutex // guards what follows, and the subscribers' fields
	all    map[*subscriber]struct{}
	closed bool
	busy   sync.WaitGroup // one for each subscriber that is being told
}

type subscriber struct {
	fn      func(revocation.Entry)
	waiting []revocation.Entry
	behind  bool // some that were to wait did not: tell everything
	busy    bool // a goroutine is telling it
}

func (s *subscribers) add(fn func(revocation.Entry)) (cancel func()) {
	sub := &subscriber{fn: fn}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return func() {}
	}
	if s.all == nil {
		s.all = make(map[*subscriber]struct{})
	}
	s.all[sub] = struct{}{}
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.all, sub)
	}
}

// tell lets e wait for every subscriber, and waits for none.
func (s *subscribers) tell(e revocation.Entry) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for sub := range s.all {
		if len(sub.waiting) == backlog {
			sub.waiting, sub.behind = nil, true
		}
		sub.waiting = append(sub.waiting, e)
		if !sub.busy {
			sub.busy = true
			s.busy.Go(func() { s.drain(sub) })
		}
	}
}

// drain tells sub what waits for it, until nothing does.
func (s *subscribers) drain(sub *subscriber) {
	for {
		waiting, behind := s.next(sub)
		switch {
		case behind: // what waited is in the set too, and what comes from now on waits
			for e := range s.set.All() {
				if !s.still(sub) {
					break
				}
				sub.fn(e)
			}
		case len(waiting) > 0:
			for _, e := range waiting {
				if !s.still(sub) {
					break
				}
				sub.fn(e)
			}
		default:
			return
		}
	}
}

// next takes what waits for sub. When there is nothing, the goroutine that tells it is to end.
func (s *subscribers) next(sub *subscriber) (waiting []revocation.Entry, behind bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.all[sub]; ok {
		waiting, behind = sub.waiting, sub.behind
	}
	sub.waiting, sub.behind = nil, false
	sub.busy = behind || len(waiting) > 0
	return waiting, behind
}

// still reports whether sub has not been cancelled.
func (s *subscribers) still(sub *subscriber) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, ok := s.all[sub]
	return ok
}

// close cancels every subscriber and waits until none is being told.
func (s *subscribers) close() {
	s.mu.Lock()
	s.all, s.closed = nil, true
	s.mu.Unlock()
	s.busy.Wait()
}
