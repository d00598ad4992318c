package redisstore

import (
	"context"
	"slices"
	"sync"

	"github.com/xteam/xteam/domain/revocation"
)

// few is how many entries a call may bring to share a run of the script with others.
const few = 16

// gathering has the entries of calls that come while others are on their way recorded by one run of the script. The first to come waits for nobody. The zero value works.
type gathering struct {
	mu      sync.Mutex
	waiting []*gathered
	running bool
}

type gathered struct {
	entries []revocation.Entry
	result  chan error
}

// gathering is that of the entries that bear a MAC, or of those that bear none. A system has one key for all.
func (r Revocations) gathering() *gathering {
	if r.macs == nil {
		return &r.s.plain
	}
	return &r.s.sealed
}

// gather records a few entries together with those of other calls.
func (r Revocations) gather(ctx context.Context, entries []revocation.Entry) error {
	mine := &gathered{entries: entries, result: make(chan error, 1)}
	g := r.gathering()
	g.mu.Lock()
	g.waiting = append(g.waiting, mine)
	if !g.running {
		g.running = true
		go r.recordGathered(context.WithoutCancel(ctx))
	}
	g.mu.Unlock()
	select {
	case err := <-mine.result:
		return err
	case <-ctx.Done():
		return meant(ctx, "the recording of revocations", ctx.Err())
	}
}

func (r Revocations) recordGathered(ctx context.Context) {
	g := r.gathering()
	for {
		g.mu.Lock()
		n := min(len(g.waiting), recording/few)
		if n == 0 {
			g.running = false
			g.mu.Unlock()
			return
		}
		now := slices.Clone(g.waiting[:n])
		g.waiting = slices.Delete(g.waiting, 0, n)
		g.mu.Unlock()
		var all []revocation.Entry
		for _, one := range now {
			all = append(all, one.entries...)
		}
		err := r.s.call(ctx, "the recording of revocations", func(ctx context.Context) error { return r.record(ctx, all) })
		if err != nil { // whoever waits would find Redis as it is, and take as long to find it
			g.mu.Lock()
			now, g.waiting = append(now, g.waiting...), nil
			g.mu.Unlock()
		}
		for _, one := range now {
			one.result <- err
		}
	}
}
