package app

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"

	"github.com/xteam/xteam/domain/instant"
	"github.com/xteam/xteam/domain/ratelimit"
	"github.com/xteam/xteam/ports"
)

// Fallback is a ports.Buckets that counts in shared buckets, and in this node's own while those do not answer: then a client may spend its limit once on each node. The own buckets
// begin full, and what they gave is not told to the shared ones afterwards.
type Fallback struct {
	shared, own ports.Buckets
	onState     func(degraded bool)

	degraded atomic.Bool
	mu       sync.Mutex // held while the state changes, so that onState hears of the changes in order
}

var _ ports.Buckets = (*Fallback)(nil)

// NewFallback counts in shared, and in own whenever shared answers ports.ErrUnavailable. It asks shared each time: that a silent one is not waited for is shared's concern. onState
// is told of each change, one after the other, within the call that found it, so it must not call back; nil: nobody is told.
func NewFallback(shared, own ports.Buckets, onState func(degraded bool)) *Fallback {
	if onState == nil {
		onState = func(bool) {}
	}
	return &Fallback{shared: shared, own: own, onState: onState}
}

// Take takes from the shared buckets, or from the own ones.
func (f *Fallback) Take(ctx context.Context, now instant.Instant, demands ...ports.Demand) ([]ratelimit.Decision, error) {
	decisions, err := f.shared.Take(ctx, now, demands...)
	if f.failed(err) {
		return f.own.Take(ctx, now, demands...)
	}
	return decisions, err
}

// Give puts back into the shared buckets, or into the own ones. What was taken from the others before they changed is not put back.
func (f *Fallback) Give(ctx context.Context, now instant.Instant, demands ...ports.Demand) error {
	err := f.shared.Give(ctx, now, demands...)
	if f.failed(err) {
		return f.own.Give(ctx, now, demands...)
	}
	return err
}

// Degraded reports whether the last answer was the node's own.
func (f *Fallback) Degraded() bool { return f.degraded.Load() }

// failed notes how the shared buckets answered, and reports whether they did not. Another error, such as the end of the caller's context, tells nothing of them.
func (f *Fallback) failed(err error) bool {
	failed := errors.Is(err, ports.ErrUnavailable)
	if (err == nil || failed) && f.degraded.Load() != failed {
		f.mu.Lock()
		defer f.mu.Unlock()
		if f.degraded.CompareAndSwap(!failed, failed) {
			f.onState(failed)
		}
	}
	return failed
}
