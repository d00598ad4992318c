// Package view keeps the live view of the revocations: the set that every guard asks, the sources it comes from, how old it is, and
// whom to tell of what is new. It is never silently stale.
package view

import (
	"context"
	"iter"
	"log/slog"
	"math"
	"sync"
	"sync/atomic"
	"time"

	"github.com/xteam/xteam/domain/id"
	"github.com/xteam/xteam/domain/instant"
	"github.com/xteam/xteam/domain/revocation"
	"github.com/xteam/xteam/domain/token"
	"github.com/xteam/xteam/ports"
)

// Source is one place that revocations come from.
type Source struct {
	Name        string // in logs and in Status
	Truth       bool   // the database, where a revocation is committed with the change that causes it; only the first so marked is it
	Revocations ports.Revocations
}

// Options tune a View. The zero value works.
type Options struct {
	// MaxStaleness is how long a source may be silent before it is no longer trusted. 0 means 5 s.
	MaxStaleness time.Duration
	// Strict refuses also while the truth alone is silent.
	Strict bool
	// RecordTimeout bounds how long Publish waits for the sources that are not the truth. 0 means 1 s.
	RecordTimeout time.Duration
	// Visible is told how long after it was asked for a revocation was in force here, for each that came in after everything that the truth held; nil: nobody is.
	Visible func(time.Duration)
	// AwaitHealer has what a source lost put back only once HealBy was called.
	AwaitHealer bool
	// Now is the clock; nil means time.Now. Ages are measured by its monotonic reading, where it has one.
	Now func() time.Time
	// Logger takes a line for each change of state; nil means none.
	Logger *slog.Logger
}

// View answers whether a token is withdrawn, from memory. It is fresh while the truth was heard within MaxStaleness, or, unless it is
// strict and as long as there are any, all other sources were; before everything that the truth holds has come in once, and without
// a truth, it is not fresh. All methods may be called at once; Check takes no lock and waits for nobody.
type View struct {
	opts  Options
	log   *slog.Logger
	set   *revocation.Set
	start time.Time

	ready chan struct{} // closed once the truth has been caught up with
	// goodFor is how long after start the view is fresh, in nanoseconds. It only rises.
	goodFor atomic.Int64

	healer   atomic.Pointer[Healer]
	healable chan struct{} // closed once there is a healer

	unreadable atomic.Uint64 // entries that could not be read, as often as they were told of

	sources []*source
	taking  sync.Mutex    // held by whoever takes in what a source tells; before mu
	mu      sync.Mutex    // guards the sources' states
	asked   time.Duration // when the truth was last asked at once
	asking  bool          // it is about to be

	subscribers subscribers
}

// New is a view of the sources that has heard nothing yet. It does nothing by itself until Run.
func New(opts Options, sources ...Source) *View {
	if opts.MaxStaleness <= 0 {
		opts.MaxStaleness = 5 * time.Second
	}
	if opts.RecordTimeout <= 0 {
		opts.RecordTimeout = time.Second
	}
	if opts.Now == nil {
		opts.Now = time.Now
	}
	if opts.Logger == nil {
		opts.Logger = slog.New(slog.DiscardHandler)
	}
	v := &View{opts: opts, log: opts.Logger, set: revocation.NewSet(), start: opts.Now(), ready: make(chan struct{}), healable: make(chan struct{})}
	v.goodFor.Store(math.MinInt64)
	v.subscribers.set = v.set
	truth := false
	for _, s := range sources {
		s.Truth = s.Truth && !truth
		truth = truth || s.Truth
		v.sources = append(v.sources, &source{Source: s, owing: owing{some: make(chan struct{}, 1)}, bad: make(chan struct{}, 1)})
	}
	return v
}

// elapsed is the monotonic time since New.
func (v *View) elapsed() time.Duration { return v.opts.Now().Sub(v.start) }

// Check answers nil for a token that is good; a *revocation.RevokedError for one that is known to be withdrawn, however old the view;
// and revocation.ErrStale for any other while the view is too old to be trusted.
func (v *View) Check(c *token.Claims) error {
	if verdict, ok := v.set.Withdraws(c); ok {
		return &revocation.RevokedError{Verdict: verdict}
	}
	if !v.Fresh() {
		return revocation.ErrStale
	}
	return nil
}

// All yields every entry that is live, without By and Note, in no order. What comes in meanwhile is yielded or not: Subscribe first.
func (v *View) All() iter.Seq[revocation.Entry] { return v.set.All() }

// Fresh reports whether the view is young enough to be trusted: whether Check takes a token that nothing names.
func (v *View) Fresh() bool { return int64(v.elapsed()) <= v.goodFor.Load() }

// Epoch is the least epoch that a token may carry, as far as is known. It is 0 until the first was raised.
func (v *View) Epoch() token.Epoch { return v.set.Epoch() }

// Least is the least generation of the user that a token may carry, as far as is known, if it is above from, else from.
func (v *View) Least(user id.User, from token.Generation) token.Generation {
	return v.set.Least(user, from)
}

// Holds reports whether everything that an entry names is refused here.
func (v *View) Holds(e *revocation.Entry) bool { return v.set.Holds(e) }

// KeyRevoked reports whether the signing key kid is known to be revoked.
func (v *View) KeyRevoked(kid string) bool { return v.set.KeyRevoked(kid) }

// WhySessionEnded is SessionEnded with the reason.
func (v *View) WhySessionEnded(sid id.Session) (revocation.Reason, bool) {
	return v.set.WhySessionEnded(sid)
}

// IssuedBefore is the latest time at or before which every token is known to be withdrawn; 0 when there is none.
func (v *View) IssuedBefore() instant.Instant { return v.set.IssuedBefore() }

// SessionEnded reports whether the session is known to be revoked by itself.
func (v *View) SessionEnded(sid id.Session) bool { return v.set.SessionEnded(sid) }

// Ready waits until everything that the truth holds has come in once. When ctx ends before, it answers with its error.
func (v *View) Ready(ctx context.Context) error {
	select {
	case <-v.ready:
		return nil
	default:
	}
	select {
	case <-v.ready:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Subscribe has fn called once for everything that is new to the view from now on, until cancel. The calls for one subscriber come one
// after the other, in a goroutine of their own that exists only while there is something to tell: whoever is slow delays neither
// Publish nor the sources nor another subscriber. An entry is told once or more. A subscriber that falls 1,024 entries behind loses
// none: it is told everything that is live instead, without By and Note. What was known before is not told: subscribe, then Check.
//
// Cancel may be called from fn. No call begins after it; one may still be under way. The end of Run cancels every subscriber
// and waits for the calls under way, so fn must come to an end.
func (v *View) Subscribe(fn func(revocation.Entry)) (cancel func()) {
	return v.subscribers.add(fn)
}

// Publish puts entries that the database has committed in force here, tells the subscribers, and records them at the sources that
// are not the truth, so that other nodes hear of them before they next ask the database. It returns when those have them, or after
// RecordTimeout; a source that failed is logged, once until it works again, and what it lacks is recorded there as soon as that can be done, and reaches the other nodes through the
// truth meanwhile. The end of ctx does not keep an entry from the others.
func (v *View) Publish(ctx context.Context, entries ...revocation.Entry) {
	if len(entries) == 0 {
		return
	}
	v.take(entries)
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), v.opts.RecordTimeout)
	defer cancel()
	var recording sync.WaitGroup
	for _, s := range v.sources {
		if !s.Truth {
			recording.Go(func() { v.record(ctx, s, entries) })
		}
	}
	recording.Wait()
}

// take makes entries part of the set, tells the subscribers of the new ones, and answers those, once everything that the truth holds has come in.
func (v *View) take(entries []revocation.Entry) (fresh []revocation.Entry) {
	ready := v.isReady()
	for _, e := range entries {
		if !v.set.Add(e) {
			continue
		}
		v.subscribers.tell(e)
		if ready {
			v.seen(&e)
			fresh = append(fresh, e)
		}
	}
	return fresh
}

// isReady reports whether everything that the truth holds has come in once.
func (v *View) isReady() bool {
	select {
	case <-v.ready:
		return true
	default:
		return false
	}
}

// seen measures how long an entry was on its way. It is not called for what was there before this node was.
func (v *View) seen(e *revocation.Entry) {
	if v.opts.Visible != nil && e.By != revocation.Canary {
		v.opts.Visible(instant.Of(v.opts.Now()).Sub(e.At))
	}
}
