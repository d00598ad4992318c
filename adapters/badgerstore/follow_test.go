package badgerstore_test

import (
	"context"
	"errors"
	"path/filepath"
	"strings"
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

// forgetful is a sealer that cannot open one record.
type forgetful struct {
	sealer
	record string
}

func (s forgetful) Open(context string, sealed []byte) ([]byte, error) {
	if context == s.record {
		return nil, errors.Join(ports.ErrUnavailable, errors.New("the key is not held"))
	}
	return s.sealer.Open(context, sealed)
}

// A note is a word beside an entry. When its key is gone, or it is damaged, the entry still stands.
func TestANoteThatDoesNotOpen(t *testing.T) {
	var log logged
	s := store{must(badgerstore.Open(filepath.Join(t.TempDir(), "data"), badgerstore.Options{Logger: log.logger()}))}
	s.Unlock(sealer{})
	defer s.close(t)
	a, b := tokenEntry(time.Hour), tokenEntry(time.Hour)
	a.Note, b.Note = "of a", "of b"
	if err := s.Revocations().Record(t.Context(), a, b); err != nil {
		t.Fatal(err)
	}
	s.Unlock(forgetful{record: "r/" + a.Key()})
	a.Note = ""
	for range 2 {
		if all := s.all(t); all[a.Key()] != a || all[b.Key()] != b {
			t.Errorf("got %+v, want the one without its note and the other", all)
		}
	}
	if got := log.lines(t); len(got) != 1 || !strings.HasPrefix(got[0], "WARN the note of a revocation does not open") {
		t.Errorf("logged %q, want one line", got)
	}
	s.Lock()
	if err := s.Revocations().Follow(t.Context(), func(ports.News) error { return nil }); !errors.Is(err, ports.ErrUnavailable) {
		t.Errorf("before Unlock: got %v, want ErrUnavailable", err)
	}
}
