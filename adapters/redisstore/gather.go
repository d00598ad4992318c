package redisstore

import (
	"context"
	"errors"
	"runtime/debug"
	"slices"
	"sync"

	"github.com/xteam/xteam/domain/revocation"
	"github.com/xteam/xteam/ports"
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

// errPanicked is the error of those whose recording has panicked: what is in Redis of it is not known. What the panic said, and where, is for the log.
var errPanicked error = &fault{text: "Redis, the recording of revocations: " + ports.ErrUnavailable.Error() + ": it panicked, and whether it was written is not known: see the log"}

// recorded records entries in one run of the script. A panic is an error to those who wait, and not the end of the process.
func (r Revocations) recorded(ctx context.Context, entries []revocation.Entry) (err error) {
	defer func() {
		if p := recover(); p != nil {
			r.s.opts.Logger.Error("The recording of revocations in Redis panicked", "panic", p, "stack", string(debug.Stack()))
			err = errPanicked
		}
	}()
	return r.s.call(ctx, "the recording of revocations", func(ctx context.Context) error { return r.record(ctx, entries) })
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
		err := r.recorded(ctx, all)
		if errors.Is(err, errPanicked) { // whose it is, meets it again alone: to record twice is to record
			for _, one := range now {
				one.result <- r.recorded(ctx, one.entries)
			}
			continue
		}
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
