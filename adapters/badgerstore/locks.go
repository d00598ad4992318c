package badgerstore

import (
	"context"
	"hash/maphash"
	"slices"
)

// stripes are locks for any number of keys: keys with one hash share one. A lock is a channel of one token, so that waiting for it ends with a context, and
// another goroutine than the one that took it may give it back.
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

// held are locks that are to be given back, once.
type held []chan struct{}

// lock takes the locks of the keys, in one order for everybody, each once, and adds them to h. When the context ends first it takes none.
func (h *held) lock(ctx context.Context, s *stripes, keys ...[]byte) error {
	places := make([]int, len(keys))
	for i, k := range keys {
		places[i] = int(maphash.Bytes(s.seed, k) % uint64(len(s.locks)))
	}
	slices.Sort(places)
	had := len(*h)
	for _, p := range slices.Compact(places) {
		select {
		case s.locks[p] <- struct{}{}:
			*h = append(*h, s.locks[p])
		case <-ctx.Done():
			(*h)[had:].release()
			*h = (*h)[:had]
			return ctx.Err()
		}
	}
	return nil
}

func (h held) release() {
	for _, l := range h {
		<-l
	}
}
