package badgerstore

import (
	"sync"

	"github.com/xteam/xteam/domain/revocation"
)

// maxQueued is how many entries wait for one follower. A follower that is slower reads the store again instead.
const maxQueued = 1 << 14

// followers are those who want to know what is committed.
type followers struct {
	mu  sync.Mutex
	all map[*follower]struct{}
}

// follower is the queue of one.
type follower struct {
	wake chan struct{} // holds a token when the rest has changed

	mu     sync.Mutex
	queue  []revocation.Entry
	reread bool // the queue has overflowed, or the fate of a commit is not known
}

func (f *followers) join() *follower {
	x := &follower{wake: make(chan struct{}, 1)}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.all == nil {
		f.all = map[*follower]struct{}{}
	}
	f.all[x] = struct{}{}
	return x
}

func (f *followers) leave(x *follower) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.all, x)
}

// publish queues entries that are committed. It waits for nobody.
func (f *followers) publish(entries []revocation.Entry) {
	if len(entries) == 0 {
		return
	}
	f.each(func(x *follower) {
		if x.reread = x.reread || len(x.queue)+len(entries) > maxQueued; x.reread {
			x.queue = nil
			return
		}
		x.queue = append(x.queue, entries...)
	})
}

// reread makes all followers read the store again.
func (f *followers) reread() {
	f.each(func(x *follower) { x.queue, x.reread = nil, true })
}

func (f *followers) each(change func(*follower)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for x := range f.all {
		x.mu.Lock()
		change(x)
		x.mu.Unlock()
		select {
		case x.wake <- struct{}{}:
		default:
		}
	}
}

// take empties the queue.
func (x *follower) take() (entries []revocation.Entry, reread bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	entries, reread = x.queue, x.reread
	x.queue, x.reread = nil, false
	return entries, reread
}
