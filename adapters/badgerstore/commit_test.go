package badgerstore_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/xteam/xteam/domain/audit"
	"github.com/xteam/xteam/domain/keyset"
	"github.com/xteam/xteam/domain/revocation"
	"github.com/xteam/xteam/domain/session"
	"github.com/xteam/xteam/domain/system"
	"github.com/xteam/xteam/ports"
)

func TestWaitingCallersAreCommittedTogether(t *testing.T) {
	s := open(t, t.TempDir())
	defer s.close(t)
	stalled := s.stall()
	defer stalled.letGo()
	before := s.Commits()
	const callers = 100
	var group sync.WaitGroup
	for range callers {
		group.Go(func() {
			if err := s.Revocations().Record(t.Context(), tokenEntry(time.Hour)); err != nil {
				t.Error(err)
			}
		})
	}
	eventually(t, "all callers wait", func() bool { return s.Waiting() == callers })
	stalled.letGo()
	group.Wait()
	if got := s.Commits() - before; got != 2 {
		t.Errorf("got %d transactions for one event and then %d callers, want 2", got, callers)
	}
	if got := len(s.all(t)); got != callers {
		t.Errorf("got %d entries, want %d", got, callers)
	}
}

func TestMoreThanATransactionHolds(t *testing.T) {
	s := open(t, t.TempDir())
	defer s.close(t)
	stalled := s.stall()
	defer stalled.letGo()
	before := s.Commits()
	const callers = 40 // of 100 KiB each: a transaction of Badger holds about 1.2 MiB
	var group sync.WaitGroup
	for range callers {
		group.Go(func() {
			v := anEvent()
			v.Details = map[string]string{"long": strings.Repeat("x", 100<<10)}
			if err := s.Events().Record(t.Context(), v); err != nil {
				t.Error(err)
			}
		})
	}
	eventually(t, "all callers wait", func() bool { return s.Waiting() == callers })
	stalled.letGo()
	group.Wait()
	if got := s.Commits() - before; got < 5 || got > 8 {
		t.Errorf("got %d transactions, want 5 to 8", got)
	}
}

func TestALongCallIsCut(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	entries := make([]revocation.Entry, 20_000)
	for i := range entries {
		entries[i] = tokenEntry(time.Hour)
	}
	if err := s.Revocations().Record(t.Context(), entries...); err != nil {
		t.Fatal(err)
	}
	events := make([]audit.Event, 500)
	for i := range events {
		events[i] = anEvent()
		events[i].Details = map[string]string{"long": strings.Repeat("x", 10<<10)}
	}
	if err := s.Events().Record(t.Context(), events...); err != nil {
		t.Fatal(err)
	}
	s.close(t)
	s = open(t, dir)
	defer s.close(t)
	if got := len(s.all(t)); got != len(entries) {
		t.Errorf("got %d entries, want %d", got, len(entries))
	}
	listed, last, err := s.Events().List(t.Context(), 0, len(events)+1)
	if err != nil || len(listed) != len(events) || last != uint64(len(events)) {
		t.Fatalf("got %d events up to %d, %v, want %d", len(listed), last, err, len(events))
	}
	for i := range listed {
		if listed[i].ID != events[i].ID {
			t.Fatalf("event %d is not the one that was recorded there", i)
		}
	}
}

func TestAChangeTooLargeFailsAlone(t *testing.T) {
	s := open(t, t.TempDir())
	defer s.close(t)
	stalled := s.stall()
	defer stalled.letGo()
	large := keyset.Ring{Name: "large", Keys: []keyset.Key{{ID: "k", Wrapped: make([]byte, 2<<20)}}}
	refused := make(chan error, 1)
	go func() { refused <- s.Keys().Create(t.Context(), large, ports.Effects{}) }()
	eventually(t, "the large one waits", func() bool { return s.Waiting() == 1 })
	taken := make(chan error, 1)
	go func() { taken <- s.Revocations().Record(t.Context(), tokenEntry(time.Hour)) }()
	eventually(t, "both wait", func() bool { return s.Waiting() == 2 })
	stalled.letGo()
	if err := <-refused; err == nil || !strings.Contains(err.Error(), "too large") {
		t.Errorf("got %v, want that it is too large", err)
	}
	if err := <-taken; err != nil {
		t.Errorf("the other caller got %v", err)
	}
	if _, err := s.Keys().Find(t.Context(), "large"); !errors.Is(err, ports.ErrNotFound) {
		t.Errorf("got %v, want ErrNotFound", err)
	}
}

// A caller that leaves while its change waits has not given its lock back: who comes next would read what was before, and undo it.
func TestACancelledUpdateKeepsItsLock(t *testing.T) {
	s := open(t, t.TempDir())
	defer s.close(t)
	x := aSession()
	if err := s.Sessions().Create(t.Context(), x, ports.Effects{}); err != nil {
		t.Fatal(err)
	}
	stalled := s.stall()
	defer stalled.letGo()
	step := func(ctx context.Context, ran func()) error {
		return s.Sessions().Update(ctx, x.ID, func(v session.Session) (session.Session, ports.Effects, error) {
			ran()
			v.Counter++
			return v, ports.Effects{}, nil
		})
	}
	ctx, cancel := context.WithCancel(t.Context())
	left := make(chan error, 1)
	go func() { left <- step(ctx, func() {}) }()
	eventually(t, "the change waits", func() bool { return s.Waiting() == 1 })
	cancel()
	if err := <-left; !errors.Is(err, context.Canceled) {
		t.Fatalf("got %v, want context.Canceled", err)
	}
	short, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := step(short, func() { t.Error("the function saw what was before a change that is on its way") }); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v, want context.DeadlineExceeded", err)
	}
	stalled.letGo()
	if err := step(t.Context(), func() {}); err != nil {
		t.Fatal(err)
	}
	if got := must(s.Sessions().Find(t.Context(), x.ID)).Counter; got != 3 {
		t.Errorf("got counter %d, want 3: the change that was on its way and the one after it", got)
	}
}

func TestAnUpdateThatChangesNothingCommitsNothing(t *testing.T) {
	s := open(t, t.TempDir())
	defer s.close(t)
	x := aSession()
	if err := s.Sessions().Create(t.Context(), x, ports.Effects{}); err != nil {
		t.Fatal(err)
	}
	before := s.Commits()
	err := s.Sessions().Update(t.Context(), x.ID, func(v session.Session) (session.Session, ports.Effects, error) {
		return v, ports.Effects{}, nil
	})
	if err != nil || s.Commits() != before {
		t.Errorf("got %v and %d transactions, want none", err, s.Commits()-before)
	}
}

func TestAnEntryStaysAsItIs(t *testing.T) {
	s := open(t, t.TempDir())
	defer s.close(t)
	stalled := s.stall()
	defer stalled.letGo()
	first := tokenEntry(time.Hour)
	second := first
	second.Note, second.Until = "another", first.Until.Add(time.Hour)
	answers := make(chan error, 2)
	for i, e := range []revocation.Entry{first, second} {
		go func() { answers <- s.Revocations().Record(t.Context(), e) }()
		eventually(t, "it waits", func() bool { return s.Waiting() == i+1 })
	}
	stalled.letGo()
	for range 2 {
		if err := <-answers; err != nil {
			t.Fatal(err)
		}
	}
	if got := s.all(t)[first.Key()]; got != first {
		t.Errorf("got %+v, want %+v", got, first)
	}
}

// The function of an update must call no port. Where one does all the same, on the system, it does not meet its own lock.
func TestSystemAndKeysDoNotMeet(t *testing.T) {
	s := open(t, t.TempDir())
	defer s.close(t)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	err := s.System().Update(ctx, func(v system.State) (system.State, ports.Effects, error) {
		for i := range 2000 { // of 256 locks one is as good as sure to be the same
			if err := s.Keys().Create(ctx, keyset.Ring{Name: fmt.Sprint(i)}, ports.Effects{}); err != nil {
				return v, ports.Effects{}, err
			}
		}
		return v, ports.Effects{}, nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
