package view

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/xteam/xteam/domain/instant"
	"github.com/xteam/xteam/domain/revocation"
	"github.com/xteam/xteam/ports"
)

// source is what the view knows of a Source. View.mu guards its fields.
type source struct {
	Source
	caught bool          // heard at least once
	heard  time.Duration // when, since the view's start
	whole  time.Duration // when it was last heard and the view had all that it held, what could not be read of it too
	unread unread        // of what it holds
	bad    chan struct{} // holds one when there is something to mend
	lost   bool          // logged as lost, and not heard since
	unable bool          // logged as not recording, and not recording since
	owing  owing
	untold untold

	unwritten unwritten // of the truth
}

// The pauses before a lost source is followed again: the first, doubled until the last. They are the same on every node; a source
// is asked once a second at most by each, no more than by a poll.
const (
	firstPause = 50 * time.Millisecond
	lastPause  = time.Second
)

// Why a source is lost that did not say so itself.
var (
	errEnded  = errors.New("the source ended without an error")
	errSilent = errors.New("the source has been silent for longer than it is trusted")
)

// follow takes what s tells until ctx ends.
func (v *View) follow(ctx context.Context, s *source) {
	pause, first := firstPause, true
	cause := "at the start it lacked what another source holds"
	for again := false; ; again = true {
		is := newRound(Healing{Source: s.Name, Truth: s.Truth, Cause: cause, Unvouched: first})
		is.judged = !again && len(v.sources) == 1 // all that is held comes from it
		err := v.round(ctx, s, is, func(known bool) {
			pause, first = firstPause, first && !known
		})
		if ctx.Err() != nil {
			return
		}
		if err == nil {
			err = errEnded
		}
		v.lost(s, err)
		cause = err.Error()
		select {
		case <-ctx.Done():
			return
		case <-time.After(pause):
		}
		pause = min(2*pause, lastPause)
	}
}

// round follows s once. What it turns out to have lost is put back meanwhile.
func (v *View) round(ctx context.Context, s *source, is *round, caught func(known bool)) error {
	healing, over := context.WithCancel(ctx)
	var healed sync.WaitGroup
	defer healed.Wait()
	defer over()
	v.followed(s, true)
	defer v.followed(s, false)
	late := newLate(s, nil)
	return s.Revocations.Follow(ctx, func(news ports.News) error {
		v.takeFrom(s, news.Entries)
		is.tell(news.Entries)
		late.tell(news.Entries)
		if len(news.Unread) > 0 {
			is.tellOf(news.Unread)
			v.doubt(s, len(news.Unread))
		}
		if news.Caught {
			is.doubt(v.missed(s))
			v.heard(s, news.Age)
			known := false
			if v.comparable(s) {
				v.compares(s)
				known = is.caught(v.set, instant.Of(v.opts.Now()))
			}
			caught(known)
			if known {
				healed.Go(func() { v.heal(healing, s, is) })
			}
			if missing := v.late(s, is.keeps); missing != nil && !late.more(missing) {
				r := newLate(s, missing)
				late = r
				healed.Go(func() { v.heal(healing, s, r) })
			}
		}
		return nil
	})
}

// takeFrom is take of what a source tells. One source at a time, or what two tell at once would look as if one of them had not.
func (v *View) takeFrom(s *source, entries []revocation.Entry) {
	if len(entries) == 0 {
		return
	}
	if v.isReady() {
		v.taking.Lock()
		defer v.taking.Unlock()
	}
	fresh := v.take(entries)
	if s.Truth {
		v.lacks(fresh)
	} else {
		v.early(fresh)
	}
	v.has(s, entries)
}

// comparable reports whether what s tells can be held against what the others hold: everything that the truth held has come in once, and for the truth everything that the others held.
func (v *View) comparable(s *source) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, other := range v.sources {
		if other != s && !other.caught && (other.Truth || s.Truth) {
			return false
		}
	}
	return true
}

// heard notes that the view has all that s held just now, which was so old by then. (What s held when its round began, to be exact: a source has to give up a
// round that hangs.)
func (v *View) heard(s *source, age time.Duration) {
	v.mu.Lock()
	defer v.mu.Unlock()
	before := s.heard
	if s.heard = v.elapsed() - max(age, 0); s.heard-before > v.opts.MaxStaleness {
		s.unwritten.from = s.heard
	}
	switch {
	case !s.caught:
		v.log.Info("A source of revocations caught up", "source", s.Name, "entries", v.set.Len())
	case s.lost:
		v.log.Info("A source of revocations is heard again", "source", s.Name)
	}
	first := !s.caught
	s.caught, s.lost = true, false
	v.made(s)
	if at, ok := v.trusted(); ok {
		v.goodFor.Store(int64(at + v.opts.MaxStaleness))
	}
	if s.Truth && first {
		close(v.ready) // last: whoever was waiting finds the view fresh
	}
}

// trusted is the time of which the view is known to hold everything, since its start: the truth's, or, if it is later, the one that
// all other sources have reached. There is none before the truth was heard. It is called with the lock held.
func (v *View) trusted() (time.Duration, bool) {
	var truth, others *source // of the others, the one of which the view had all longest ago: at 0 if never
	for _, s := range v.sources {
		switch {
		case s.Truth:
			truth = s // the only one
		case others == nil || s.whole < others.whole:
			others = s
		}
	}
	if truth == nil || !truth.caught {
		return 0, false
	}
	if !v.opts.Strict && others != nil {
		return max(truth.heard, others.whole), true
	}
	return truth.heard, true
}

// missed reports whether nobody was heard for longer than is trusted before s, which many nodes write to: meanwhile another of them may have revoked something, and have died, of which this one knows nothing.
func (v *View) missed(s *source) bool {
	if _, many := s.Revocations.(ports.Claimer); !many {
		return false
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	if !s.caught {
		return false
	}
	last := s.heard
	for _, other := range v.sources {
		last = max(last, other.whole)
	}
	return v.elapsed()-last > v.opts.MaxStaleness
}

// lost notes that s does not answer, because of err.
func (v *View) lost(s *source, err error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.lose(s, err)
}

// silent finds the sources lost that have told nothing for longer than MaxStaleness.
func (v *View) silent() {
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, s := range v.sources {
		if v.elapsed()-s.heard > v.opts.MaxStaleness {
			v.lose(s, errSilent)
		}
	}
}

// lose is called with the lock held.
func (v *View) lose(s *source, err error) {
	if !s.lost {
		s.lost = true
		v.log.Warn("A source of revocations was lost", "source", s.Name, "truth", s.Truth, "error", err.Error())
	}
}

// recorded notes how recording at s went.
func (v *View) recorded(s *source, err error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	switch {
	case err != nil && !s.unable:
		s.unable = true
		v.log.Warn("A source of revocations does not record; other nodes hear from the database", "source", s.Name, "error", err.Error())
	case err == nil && s.unable:
		s.unable = false
		v.log.Info("A source of revocations records again", "source", s.Name)
	}
}

// Status is how the view stands, for /readyz.
type Status struct {
	OK      bool          // fresh: tokens are taken
	Age     time.Duration // of the view, as Age has it; 0 before the truth was first heard
	Live    int           // how many revocations are held
	Sources []SourceStatus
}

// SourceStatus is how one source stands.
type SourceStatus struct {
	Name  string
	Truth bool
	Heard bool          // at least once: everything that it held then has come in
	Fresh bool          // heard within MaxStaleness
	Age   time.Duration // since it was last heard; 0 if it never was
}

// Status tells how the view and each of its sources stand, in the order that New was given them.
func (v *View) Status() Status {
	v.mu.Lock()
	defer v.mu.Unlock()
	now := v.elapsed()
	st := Status{OK: int64(now) <= v.goodFor.Load(), Live: v.set.Len()}
	if at, ok := v.trusted(); ok {
		st.Age = now - at
	}
	for _, s := range v.sources {
		one := SourceStatus{Name: s.Name, Truth: s.Truth, Heard: s.caught}
		if s.caught {
			one.Age = now - s.whole
			one.Fresh = one.Age <= v.opts.MaxStaleness
		}
		st.Sources = append(st.Sources, one)
	}
	return st
}

// Age is how long ago the view was last known to hold everything: since the truth was heard, or, unless the view is strict, all other
// sources were, if that is later. It is false before the truth was first heard.
func (v *View) Age() (time.Duration, bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	at, ok := v.trusted()
	if !ok {
		return 0, false
	}
	return v.elapsed() - at, true
}
