package pgstore

import (
	"context"
	"hash/maphash"
	"time"
)

// stripes are locks for any number of keys, taken in this process before a connection is. Without them whoever hammers one row would hold every connection of the pool, each waiting for
// that row. Keys with one hash share one.
type stripes struct {
	seed  maphash.Seed
	locks [256]chan struct{}
}

func newStripes() *stripes {
	s := &stripes{seed: maphash.MakeSeed()}
	for i := range s.locks {
		s.locks[i] = make(chan struct{}, 1)
	}
	return s
}

// lock waits for the lock of a key at most so long. It answers what gives it back, or nil.
func (s *stripes) lock(ctx context.Context, key string, most time.Duration) (release func()) {
	l := s.locks[maphash.String(s.seed, key)%uint64(len(s.locks))]
	select {
	case l <- struct{}{}:
		return func() { <-l }
	default:
	}
	late := time.NewTimer(most)
	defer late.Stop()
	select {
	case l <- struct{}{}:
		return func() { <-l }
	case <-ctx.Done():
	case <-late.C:
	}
	return nil
}
