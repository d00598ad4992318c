package badgerstore_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/xteam/xteam/adapters/badgerstore"
	"github.com/xteam/xteam/domain/revocation"
	"github.com/xteam/xteam/ports"
)

// A follower that stands still while more is committed than its queue takes holds nobody up and misses nothing.
func TestASlowFollower(t *testing.T) {
	s := open(t, t.TempDir())
	defer s.close(t)
	first := tokenEntry(time.Hour)
	if err := s.Revocations().Record(t.Context(), first); err != nil {
		t.Fatal(err)
	}
	reached, resume := make(chan struct{}), make(chan struct{})
	got := map[string]int{}
	done := make(chan error, 1)
	more := make([]revocation.Entry, badgerstore.MaxQueued+badgerstore.Delivery)
	for i := range more {
		more[i] = tokenEntry(time.Hour)
	}
	go func() {
		stopped := false
		done <- s.Revocations().Follow(t.Context(), func(n ports.News) error {
			if len(n.Entries) > badgerstore.Delivery {
				t.Errorf("got %d entries at once, want at most %d", len(n.Entries), badgerstore.Delivery)
			}
			for _, e := range n.Entries {
				got[e.Key()]++
			}
			if !stopped {
				stopped = true
				close(reached)
				<-resume
			}
			if n.Caught && len(got) == 1+len(more) {
				return errEnough
			}
			return nil
		})
	}()
	<-reached
	if err := s.Revocations().Record(t.Context(), more...); err != nil { // would never return if it waited for the follower
		t.Fatal(err)
	}
	close(resume)
	if err := <-done; !errors.Is(err, errEnough) {
		t.Fatal(err)
	}
	if got[first.Key()] != 2 {
		t.Errorf("the first entry was given %d times, want 2: the queue overflowed, and the store was read again", got[first.Key()])
	}
}

// What fits into the queue comes from there: nothing is read again.
func TestAFollowerHearsOfNewEntriesOnce(t *testing.T) {
	s := open(t, t.TempDir())
	defer s.close(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	news := make(chan revocation.Entry, 10)
	caught := make(chan struct{}, 100)
	done := make(chan error, 1)
	go func() {
		done <- s.Revocations().Follow(ctx, func(n ports.News) error {
			for _, e := range n.Entries {
				news <- e
			}
			if n.Caught {
				caught <- struct{}{}
			}
			return nil
		})
	}()
	<-caught
	for range 3 {
		e := tokenEntry(time.Hour)
		e.Note = "as it was given"
		for range 2 { // the second time there is nothing new
			if err := s.Revocations().Record(t.Context(), e); err != nil {
				t.Fatal(err)
			}
		}
		if got := <-news; got != e {
			t.Errorf("got %+v, want %+v", got, e)
		}
	}
	<-caught
	<-caught // a heartbeat later
	select {
	case e := <-news:
		t.Errorf("got %+v once more", e)
	default:
	}
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want context.Canceled", err)
	}
}
