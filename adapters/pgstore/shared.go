package pgstore

import (
	"context"
	"fmt"
	"log/slog"
	"runtime/debug"
	"sync"

	"github.com/xteam/xteam/ports"
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

// do answers what read does, whose own time is bounded. The log hears of its panics.
func (s *sharedRead[T]) do(ctx context.Context, log *slog.Logger, read func(context.Context) (T, error)) (T, error) {
	s.mu.Lock()
	mine := s.next
	if mine == nil {
		mine = &answer[T]{done: make(chan struct{})}
		s.next = mine
	}
	if !s.busy {
		s.busy = true
		go s.run(log, read)
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

func (s *sharedRead[T]) run(log *slog.Logger, read func(context.Context) (T, error)) {
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
		now.v, now.err = shielded(log, read)
		close(now.done)
	}
}

// shielded is what read does; a panic is an error to those who wait, and not the end of the process. What it said, and where, is for the log.
func shielded[T any](log *slog.Logger, read func(context.Context) (T, error)) (v T, err error) {
	defer func() {
		if p := recover(); p != nil {
			log.Error("A read of the database panicked", "panic", p, "stack", string(debug.Stack()))
			var none T
			v, err = none, fmt.Errorf("read the database: %w: it panicked, see the log", ports.ErrUnavailable)
		}
	}()
	return read(context.Background())
}
