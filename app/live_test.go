package app_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/xteam/xteam/adapters/memstore"
	"github.com/xteam/xteam/app"
	"github.com/xteam/xteam/domain/audit"
	"github.com/xteam/xteam/domain/id"
	"github.com/xteam/xteam/domain/instant"
)

var ann, ben = id.User{1}, id.User{2}

// happened is the nth event, done by a user.
func happened(n int, by id.User) audit.Event {
	return audit.Event{ID: id.Event{byte(n), byte(n >> 8), 1}, Time: instant.Instant(n + 1), Kind: audit.AuthenticationSucceeded, Severity: audit.Info, Outcome: audit.Success, Actor: by.String(), Reason: fmt.Sprint(n)}
}

// newLive is a Live of one node; others commit to the store.
func newLive(t *testing.T, store *memstore.Store) *app.Live {
	l := app.NewLive(&journal{}, store.Events(), clearSealer{})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); l.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-done })
	return l
}

func commit(t *testing.T, store *memstore.Store, events ...audit.Event) {
	t.Helper()
	if err := store.Events().Record(context.Background(), events...); err != nil {
		t.Fatal(err)
	}
}

func subscribe(t *testing.T, l *app.Live, u id.User) *app.Subscription {
	t.Helper()
	s, err := l.Subscribe(t.Context(), u)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

// next is what comes next, by its number.
func next(t *testing.T, s *app.Subscription) (reason, place string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	e, err := s.Next(ctx)
	if err != nil {
		t.Fatalf("Next: %v", err)
	}
	return e.Reason, s.Place(e)
}

func wantNext(t *testing.T, s *app.Subscription, numbers ...int) (place string) {
	t.Helper()
	for _, n := range numbers {
		var got string
		if got, place = next(t, s); got != fmt.Sprint(n) {
			t.Fatalf("event %s came; want %d", got, n)
		}
	}
	return place
}

func TestEventsAreToldToWhomTheyAreMeantFor(t *testing.T) {
	store := memstore.New()
	for n := range 100 { // of before
		commit(t, store, happened(n, ann))
	}
	l := newLive(t, store)
	own, all := subscribe(t, l, ann), subscribe(t, l, id.User{})
	mine, other := happened(100, ann), happened(101, ben)
	commit(t, store, mine, other)
	l.Write(t.Context(), mine, other)        // this node's: at once
	commit(t, store, happened(102, ann))     // another node's
	l.Write(t.Context(), happened(103, ben)) // told and never kept
	about := happened(104, ben)
	about.Subject = ann.String()
	commit(t, store, about)
	wantNext(t, all, 100, 101)
	got := map[string]int{}
	for range 3 {
		r, _ := next(t, all)
		got[r]++
	}
	if got["102"] != 1 || got["103"] != 1 || got["104"] != 1 {
		t.Errorf("got %v", got)
	}
	wantNext(t, own, 100, 102, 104)
	commit(t, store, happened(105, ann)) // nothing came twice
	wantNext(t, own, 105)
	wantNext(t, all, 105)
}

func TestASubscriptionBeginsNow(t *testing.T) {
	store := memstore.New()
	l := newLive(t, store)
	for round := range 5 { // the end is found anew each time that nobody subscribed
		for n := range 37 * (round + 1) {
			commit(t, store, happened(1000*round+n, ann))
		}
		s := subscribe(t, l, ann)
		commit(t, store, happened(1000*round+999, ann))
		wantNext(t, s, 1000*round+999)
		s.Close()
	}
}

func TestAResumedSubscriptionMissesNothing(t *testing.T) {
	store := memstore.New()
	l := newLive(t, store)
	s := subscribe(t, l, ann)
	commit(t, store, happened(1, ann))
	after := wantNext(t, s, 1)
	s.Close()
	for n := range 1500 {
		commit(t, store, happened(n+2, []id.User{ann, ben}[n%2]))
	}
	s, err := l.Resume(t.Context(), ann, after, paid)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	l.Write(t.Context(), happened(1500, ann)) // is in the store as well
	got := map[string]bool{}
	for range 750 {
		r, _ := next(t, s)
		if got[r] {
			t.Fatalf("event %s came twice", r)
		}
		got[r] = true
	}
	commit(t, store, happened(5000, ann))
	wantNext(t, s, 5000)
}

func TestSoFarBackIsNotRead(t *testing.T) {
	store := memstore.New()
	l := newLive(t, store)
	first := subscribe(t, l, ann)
	commit(t, store, happened(5500, ann))
	place := wantNext(t, first, 5500)
	for n := range 5000 {
		commit(t, store, happened(n, ben))
	}
	s, err := l.Resume(t.Context(), ann, place, paid)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if _, err := s.Next(t.Context()); !errors.Is(err, app.ErrGap) {
		t.Fatalf("Next: %v", err)
	}
	commit(t, store, happened(6000, ann))
	wantNext(t, s, 6000)
}

func TestASlowReaderIsDropped(t *testing.T) {
	store := memstore.New()
	l := newLive(t, store)
	slow, other := subscribe(t, l, id.User{}), subscribe(t, l, ben)
	for n := range 300 {
		l.Write(t.Context(), happened(n, ann))
	}
	if _, err := slow.Next(t.Context()); !errors.Is(err, app.ErrSlow) {
		t.Errorf("Next: %v", err)
	}
	l.Write(t.Context(), happened(300, ben))
	wantNext(t, other, 300)
}

func TestTheStopEndsSubscriptions(t *testing.T) {
	l := app.NewLive(&journal{}, memstore.New().Events(), clearSealer{})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); l.Run(ctx) }()
	s := subscribe(t, l, ann)
	gone, leave := context.WithCancel(t.Context())
	leave()
	if _, err := s.Next(gone); !errors.Is(err, context.Canceled) {
		t.Errorf("Next: %v", err)
	}
	cancel()
	<-done
	if _, err := s.Next(t.Context()); !errors.Is(err, app.ErrStopping) {
		t.Errorf("Next: %v", err)
	}
	if _, err := l.Subscribe(t.Context(), ann); !errors.Is(err, app.ErrStopping) {
		t.Errorf("Subscribe: %v", err)
	}
}

// paid is of whoever can pay for what is read.
func paid() error { return nil }

// A place is good for whom it was told alone, and what lies behind it is read for nobody who cannot pay.
func TestAPlaceIsItsUsersOwn(t *testing.T) {
	store := memstore.New()
	l := newLive(t, store)
	first, all := subscribe(t, l, ann), subscribe(t, l, id.User{})
	commit(t, store, happened(1, ann))
	own, everybody := wantNext(t, first, 1), wantNext(t, all, 1)
	commit(t, store, happened(2, ann))
	wantNext(t, first, 2)
	for name, c := range map[string]struct {
		user  id.User
		place string
		pay   func() error
		gap   bool
	}{
		"their own":          {ann, own, paid, false},
		"everybody's":        {id.User{}, everybody, paid, false},
		"another's":          {ben, own, paid, true},
		"an administrator's": {ann, everybody, paid, true},
		"a user's":           {id.User{}, own, paid, true},
		"a number":           {ann, "0", paid, true},
		"nothing":            {ann, "", paid, true},
		"changed":            {ann, own[:len(own)-4] + "AAAA" + "A", paid, true},
		"no base64":          {ann, "\xff\x00", paid, true},
		"very long":          {ann, strings.Repeat("A", 1<<20), paid, true},
		"not paid for":       {ann, own, func() error { return errors.New("too many") }, true},
	} {
		t.Run(name, func(t *testing.T) {
			s, err := l.Resume(t.Context(), c.user, c.place, c.pay)
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			if !c.gap {
				wantNext(t, s, 2)
				return
			}
			if _, err := s.Next(t.Context()); !errors.Is(err, app.ErrGap) {
				t.Errorf("Next: %v; want the gap", err)
			}
		})
	}
}
