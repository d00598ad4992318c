// Package view is this node's live view of the revocations: one set, the sources that fill it, how old it is, and who wants to hear.
package view

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/xteam/xteam/domain/instant"
	"github.com/xteam/xteam/domain/revocation"
	"github.com/xteam/xteam/domain/token"
	"github.com/xteam/xteam/ports"
)

// Source is a place that revocations come from.
type Source struct {
	Name        string // for logs and /readyz
	Truth       bool   // the database, where a revocation is durable; the others are faster ways to hear of it
	Revocations ports.Revocations
}

// Options of a view. The zero value works.
type Options struct {
	MaxStaleness time.Duration    // how old the view may be and still be trusted; default 5 s
	Strict       bool             // trust the database only
	Now          func() time.Time // default time.Now; its monotonic reading, if it has one, measures ages
	Logger       *slog.Logger     // default: nothing is logged
}

// View answers from memory whether a token is withdrawn, and refuses to answer when it is too old to know.
type View struct {
	o       Options
	set     *revocation.Set
	start   time.Time
	fresh   atomic.Int64 // nanoseconds after start until which the view is trusted; 0 before the truth was heard
	ready   chan struct{}
	sources []*followed

	mu   sync.Mutex
	subs map[*subscriber]struct{}
}

type followed struct {
	Source
	heard time.Time // zero: never; under View.mu
	down  bool      // said to be lost
}

type subscriber struct{ fn func(revocation.Entry) }

// New is a view of the sources, of which at least one is the truth. It knows nothing until Run runs.
func New(o Options, sources ...Source) *View {
	if o.MaxStaleness == 0 {
		o.MaxStaleness = 5 * time.Second
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	v := &View{o: o, set: revocation.NewSet(), start: o.Now(), ready: make(chan struct{}), subs: map[*subscriber]struct{}{}}
	for _, s := range sources {
		v.sources = append(v.sources, &followed{Source: s})
	}
	return v
}

// Check answers nil, *revocation.RevokedError, or revocation.ErrStale while the view is too old to be trusted.
func (v *View) Check(c *token.Claims) error {
	if verdict, ok := v.set.Withdraws(c); ok {
		return &revocation.RevokedError{Verdict: verdict}
	}
	if int64(v.o.Now().Sub(v.start)) >= v.fresh.Load() {
		return revocation.ErrStale
	}
	return nil
}

// Epoch is the least epoch that is good.
func (v *View) Epoch() token.Epoch { return v.set.Epoch() }

// KeyRevoked reports whether that key was revoked.
func (v *View) KeyRevoked(kid string) bool { return v.set.KeyRevoked(kid) }

// Publish puts entries in force that the database has committed: in this node's set, to its subscribers, then at the sources beside the database.
func (v *View) Publish(ctx context.Context, entries ...revocation.Entry) {
	v.take(entries)
	for _, s := range v.sources {
		if s.Truth {
			continue
		}
		if err := s.Revocations.Record(ctx, entries...); err != nil {
			v.o.Logger.Warn("A revocation did not reach a source; the database's poll will carry it", "source", s.Name, "error", err.Error())
		}
	}
}

func (v *View) take(entries []revocation.Entry) {
	for _, e := range entries {
		if v.set.Add(e) {
			v.mu.Lock()
			for s := range v.subs {
				s.fn(e)
			}
			v.mu.Unlock()
		}
	}
}

// Subscribe has fn called with every entry that is new to this node, once, until cancel is called. fn must return at once.
func (v *View) Subscribe(fn func(revocation.Entry)) (cancel func()) {
	s := &subscriber{fn}
	v.mu.Lock()
	v.subs[s] = struct{}{}
	v.mu.Unlock()
	return func() { v.mu.Lock(); delete(v.subs, s); v.mu.Unlock() }
}

// Ready waits until the database has delivered everything that is live.
func (v *View) Ready(ctx context.Context) error {
	select {
	case <-v.ready:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Run follows all sources until ctx ends, and leaves no goroutine behind.
func (v *View) Run(ctx context.Context) error {
	var wg sync.WaitGroup
	for _, s := range v.sources {
		wg.Go(func() { v.follow(ctx, s) })
	}
	wg.Go(func() { v.housekeep(ctx) })
	wg.Wait()
	return ctx.Err()
}

func (v *View) follow(ctx context.Context, s *followed) {
	for pause := 50 * time.Millisecond; ctx.Err() == nil; pause = min(2*pause, 2*time.Second) {
		err := s.Revocations.Follow(ctx, func(n ports.News) error {
			v.take(n.Entries)
			if n.Caught {
				pause = 50 * time.Millisecond
				v.hear(s)
			}
			return nil
		})
		if ctx.Err() != nil {
			return
		}
		if err == nil {
			err = errors.New("it ended by itself")
		}
		if !s.down {
			s.down = true
			v.o.Logger.Error("A source of revocations was lost", "source", s.Name, "error", err.Error())
		}
		t := time.NewTimer(pause)
		select {
		case <-ctx.Done():
		case <-t.C:
		}
		t.Stop()
	}
}

func (v *View) hear(s *followed) {
	if s.down {
		s.down = false
		v.o.Logger.Info("A source of revocations is heard again", "source", s.Name)
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	s.heard = v.o.Now()
	var truth, feeds time.Time
	for i, f := range v.sources {
		switch {
		case f.Truth && f.heard.After(truth):
			truth = f.heard
		case !f.Truth && (feeds.IsZero() || f.heard.Before(feeds) || i == 0):
			feeds = f.heard
		}
	}
	if truth.IsZero() {
		return
	}
	at := truth
	if !v.o.Strict && feeds.After(at) {
		at = feeds
	}
	v.fresh.Store(int64(at.Add(v.o.MaxStaleness).Sub(v.start)))
	select {
	case <-v.ready:
	default:
		close(v.ready)
	}
}

// housekeep forgets, once a minute, what has been over for longer than any clock may be wrong.
func (v *View) housekeep(ctx context.Context) {
	t := time.NewTicker(time.Minute)
	defer t.Stop()
	wall := v.start.Round(0)
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
		v.set.Sweep(instant.Of(wall.Add(v.o.Now().Sub(v.start))).Add(-token.Margin))
	}
}

// Status is how each source is, for /readyz.
type Status struct {
	OK      bool // signed-in requests are answered
	Age     time.Duration
	Live    int // entries in the set
	Sources []SourceStatus
}

// SourceStatus is how one source is.
type SourceStatus struct {
	Name  string
	Truth bool
	Heard bool          // at least once
	Age   time.Duration // since it was last heard
}

// Status tells how the view is.
func (v *View) Status() Status {
	now := v.o.Now()
	st := Status{OK: int64(now.Sub(v.start)) < v.fresh.Load(), Live: v.set.Len()}
	st.Age, _ = v.Age()
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, s := range v.sources {
		x := SourceStatus{Name: s.Name, Truth: s.Truth, Heard: !s.heard.IsZero()}
		if x.Heard {
			x.Age = now.Sub(s.heard)
		}
		st.Sources = append(st.Sources, x)
	}
	return st
}

// Age is how old the view is; false before the database was heard.
func (v *View) Age() (time.Duration, bool) {
	f := v.fresh.Load()
	if f == 0 {
		return 0, false
	}
	return v.o.Now().Sub(v.start) - (time.Duration(f) - v.o.MaxStaleness), true
}
