package pgstore

import (
	"context"
	"sync"
)

// sharedRead is a read that those who ask for it at one time share: each is answered by one that began after they asked. The zero value works.
type sharedRead[T any] struct {
	mu   sync.Mutex
	next *answer[T] // of the read that has not begun yet; nil: nobody waits for one
	busy bool
}

type answer[T any] struct {
	done chan struct{}
	v    T
	err  error
}

// do answers what read does, whose own time is bounded.
func (s *sharedRead[T]) do(ctx context.Context, read func(context.Context) (T, error)) (T, error) {
	s.mu.Lock()
	mine := s.next
	if mine == nil {
		mine = &answer[T]{done: make(chan struct{})}
		s.next = mine
	}
	if !s.busy {
		s.busy = true
		go s.run(read)
	}
	s.mu.Unlock()
	select {
	case <-mine.done:
		return mine.v, mine.err
	case <-ctx.Done():
		var none T
		return none, ctx.Err()
	}
}

func (s *sharedRead[T]) run(read func(context.Context) (T, error)) {
	for {
		s.mu.Lock()
		now := s.next
		s.next = nil
		if now == nil {
			s.busy = false
			s.mu.Unlock()
			return
		}
		s.mu.Unlock()
		now.v, now.err = read(context.Background())
		close(now.done)
	}
}
