package app_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/xteam/xteam/app"
	"github.com/xteam/xteam/domain/id"
	"github.com/xteam/xteam/domain/instant"
	"github.com/xteam/xteam/domain/revocation"
)

// newFeed keeps what is revoked for a minute.
func (w *world) newFeed() *app.Feed {
	w.t.Helper()
	f, err := app.NewFeed(w.core, time.Minute)
	if err != nil {
		w.t.Fatal(err)
	}
	return f
}

// publish puts the nth to the last entry into the view, each once.
func (w *world) publish(from, to int) {
	now := instant.Of(w.core.Now())
	for n := from; n < to; n++ {
		w.view.Publish(context.Background(), revocation.Entry{Kind: revocation.Session, Session: id.Session{byte(n), byte(n >> 8), byte(n >> 16), 1}, Reason: revocation.SessionEnded, By: "test", At: now, Until: now.Add(time.Hour)})
	}
}

// hears follows until so many entries have been told that were not before.
func hears(t *testing.T, fo *app.Follower, seen map[id.Session]bool, n int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	for len(seen) < n {
		entries, err := fo.Next(ctx)
		if err != nil {
			t.Fatalf("after %d of %d: %v", len(seen), n, err)
		}
		for i := range entries {
			seen[entries[i].Session] = true
		}
	}
}

func TestAPlaceInTheFeedIsKeptAsLongAsTheRetention(t *testing.T) {
	w := newWorld(t)
	f := w.newFeed()
	fo, whole, lost := f.Follow("")
	if !whole || lost {
		t.Errorf("at first: whole %v, lost %v", whole, lost)
	}
	begin := fo.ID()
	w.publish(0, 1)
	hears(t, fo, map[id.Session]bool{}, 1)
	first := fo.ID()
	resumes := func(place string, want bool) {
		t.Helper()
		if _, whole, lost := f.Follow(place); whole == want || lost == want {
			t.Errorf("from %s on: whole %v, lost %v; want that it resumes: %v", place, whole, lost, want)
		}
	}
	resumes(begin, true)
	w.turn(time.Minute) // it is kept for that long, and no longer, whether anything comes or not
	w.publish(1, 2)
	hears(t, fo, map[id.Session]bool{}, 1)
	resumes(begin, true)
	w.turn(time.Microsecond)
	resumes(begin, false)
	w.publish(2, 3)
	hears(t, fo, map[id.Session]bool{}, 1)
	resumes(begin, false)
	resumes(first, true)
	again, _, _ := f.Follow(first)
	hears(t, again, map[id.Session]bool{}, 2)
	if again.ID() != fo.ID() {
		t.Errorf("the place is %s; want %s", again.ID(), fo.ID())
	}
	for _, none := range []string{"x", ".", fo.ID() + "0", "-1", fo.ID()[:len(fo.ID())-1] + "-1", "0123456789abcdef.1"} {
		resumes(none, false)
	}
}

// The log is bounded: who is further behind is dropped, and others are not.
func TestWhoFallsBehindTheFeedIsDropped(t *testing.T) {
	const most, batch = 1 << 16, 512
	w := newWorld(t)
	f := w.newFeed()
	slow, _, _ := f.Follow("")
	quick, _, _ := f.Follow("")
	begin := slow.ID()
	seen := map[id.Session]bool{}
	for n := 0; n < most; n += batch {
		w.publish(n, n+batch)
		hears(t, quick, seen, n+batch)
	}
	if _, whole, _ := f.Follow(begin); whole {
		t.Errorf("a place %d entries back is not kept", most)
	}
	w.publish(most, most+1)
	hears(t, quick, seen, most+1)
	if _, err := slow.Next(t.Context()); !errors.Is(err, app.ErrSlow) {
		t.Errorf("Next: %v; want %v", err, app.ErrSlow)
	}
	if _, whole, lost := f.Follow(begin); !whole || !lost {
		t.Errorf("a place further back: whole %v, lost %v", whole, lost)
	}
}

// More at once than wait for one subscriber of the view: it is told everything, and so are those who follow.
func TestABurstIsToldToFollowers(t *testing.T) {
	w := newWorld(t)
	fo, _, _ := w.newFeed().Follow("")
	w.publish(0, 5000)
	hears(t, fo, map[id.Session]bool{}, 5000)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for { // what was told again
		if _, err := fo.Next(ctx); err != nil {
			if !errors.Is(err, context.Canceled) {
				t.Errorf("Next: %v", err)
			}
			return
		}
	}
}
