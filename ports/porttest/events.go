package porttest

import (
	"context"
	"slices"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/xteam/xteam/domain/audit"
)

// Events proves a ports.Events.
func Events(t *testing.T, open Open) {
	filled(t, newEvent())
	recordEvents := func(t testing.TB, s Store, events ...audit.Event) {
		t.Helper()
		if err := s.Events.Record(t.Context(), events...); err != nil {
			t.Fatalf("Record of %d events: %v", len(events), err)
		}
	}
	checkTrail := func(t testing.TB, s Store, want []audit.Event) {
		t.Helper()
		if diff := differ(want, trail(t, s.Events)); diff != "" {
			t.Errorf("List (-want +got):\n%s", diff)
		}
	}
	sub(t, "events are kept whole and in the order given", func(t *testing.T) {
		s := opened(t, open)
		checkTrail(t, s, nil)
		all := newEvents(5)
		all = append(all, audit.Event{ID: newEvent().ID, Kind: audit.AccessRefused}) // with little in it
		for _, k := range audit.Kinds() {
			e := newEvent()
			e.Kind, e.Time = k, all[0].Time-1 // its own time says nothing of the order
			all = append(all, e)
		}
		recordEvents(t, s, all[:1]...)
		recordEvents(t, s, all[1:4]...)
		recordEvents(t, s)
		recordEvents(t, s, all[4:]...)
		checkTrail(t, s, all)
	})
	sub(t, "an event whose id is here already is stored once more", func(t *testing.T) {
		s := opened(t, open)
		e := newEvent()
		again := newEvent()
		again.ID = e.ID
		recordEvents(t, s, e)
		recordEvents(t, s, again, e)
		checkTrail(t, s, []audit.Event{e, again, e})
	})
	sub(t, "List answers at most limit events behind a position, and the position of the last; positions rise", func(t *testing.T) {
		s := opened(t, open)
		all := newEvents(40)
		for i := 0; i < len(all); i += 8 {
			recordEvents(t, s, all[i:i+8]...)
		}
		for _, limit := range []int{1, 3, 40, 1000} {
			var got []audit.Event
			for after := uint64(0); ; {
				page, last, err := s.Events.List(t.Context(), after, limit)
				if err != nil {
					t.Fatalf("List: %v", err)
				}
				if len(page) == 0 {
					if last != after {
						t.Errorf("List behind the last position, %d: got last %d, want the same", after, last)
					}
					break
				}
				if len(page) > limit || last <= after {
					t.Fatalf("List behind %d with limit %d: got %d events and last %d", after, limit, len(page), last)
				}
				got, after = append(got, page...), last
			}
			if diff := differ(all, got); diff != "" {
				t.Errorf("List by pages of %d (-want +got):\n%s", limit, diff)
			}
		}
		_, last := trailBehind(t, s.Events, 0)
		more := newEvent()
		recordEvents(t, s, more)
		if got, _ := trailBehind(t, s.Events, last); !cmp.Equal(got, []audit.Event{more}, same) {
			t.Errorf("List behind what was the last position: got %d events, want the one that came since", len(got))
		}
	})
	sub(t, "Latest answers the last events behind a position, in their order", func(t *testing.T) {
		s := opened(t, open)
		latest := func(after uint64, limit int, want []audit.Event) {
			t.Helper()
			got, err := s.Events.Latest(t.Context(), after, limit)
			if diff := differ(want, got); err != nil || diff != "" {
				t.Errorf("Latest of %d behind %d: error %v (-want +got):\n%s", limit, after, err, diff)
			}
		}
		latest(0, 5, nil)
		all := newEvents(40)
		recordEvents(t, s, all...)
		_, third, err := s.Events.List(t.Context(), 0, 3)
		if err != nil {
			t.Fatal(err)
		}
		_, end := trailBehind(t, s.Events, 0)
		latest(0, 1, all[39:])
		latest(0, 7, all[33:])
		latest(0, 40, all)
		latest(0, 1000, all)
		latest(third, 1000, all[3:])
		latest(third, 37, all[3:])
		latest(third, 36, all[4:])
		for _, after := range []uint64{end, end + 1, 1 << 62, 1<<64 - 1} {
			latest(after, 5, nil)
		}
		latest(0, 0, nil)
		more := newEvent()
		recordEvents(t, s, more)
		latest(end, 5, []audit.Event{more})
	})
	sub(t, "in the place of an event that does not open stands one that tells of it, and what is behind it is read as ever", func(t *testing.T) {
		s := opened(t, open)
		all := newEvents(6)
		recordEvents(t, s, all...)
		for _, i := range []int{2, 3, 5} {
			_, at, err := s.Events.List(t.Context(), 0, i+1)
			if err != nil {
				t.Fatal(err)
			}
			stored, kept := s.Spoil(t, at)
			all[i] = audit.StandIn(at, stored, int64(len(stored)), kept)
		}
		for range 2 { // it is the same each time
			checkTrail(t, s, all)
			for i := range all {
				if got, err := s.Events.Latest(t.Context(), 0, i+1); err != nil || differ(all[5-i:], got) != "" {
					t.Errorf("Latest of %d: error %v (-want +got):\n%s", i+1, err, differ(all[5-i:], got))
				}
			}
		}
		var behind []audit.Event
		for after := uint64(0); ; {
			page, last, err := s.Events.List(t.Context(), after, 1)
			if err != nil {
				t.Fatalf("List: %v", err)
			}
			if len(page) == 0 {
				break
			}
			behind, after = append(behind, page...), last
		}
		if diff := differ(all, behind); diff != "" {
			t.Errorf("List one by one (-want +got):\n%s", diff)
		}
		more := newEvent()
		recordEvents(t, s, more)
		checkTrail(t, s, append(all, more))
	})
	sub(t, "one who reads on from position to position misses nothing that is committed meanwhile", func(t *testing.T) {
		const each = 30
		s := opened(t, open)
		all := make([][]audit.Event, 16)
		for i := range all {
			all[i] = newEvents(each * 2)
		}
		var writers sync.WaitGroup
		for i := range all {
			writers.Go(func() {
				for j := 0; j < len(all[i]); j += 2 {
					if err := s.Events.Record(t.Context(), all[i][j:j+2]...); err != nil {
						t.Errorf("Record: %v", err)
					}
				}
			})
		}
		over := make(chan struct{})
		go func() { writers.Wait(); close(over) }()
		var got []audit.Event
		var after uint64
		for finished := false; !finished; {
			select {
			case <-over:
				finished = true // and one more look
			default:
			}
			var page []audit.Event
			page, after = trailBehind(t, s.Events, after)
			got = append(got, page...)
		}
		place := map[string]int{}
		for i, e := range got {
			if _, twice := place[e.ID.String()]; twice {
				t.Fatalf("one event was read twice")
			}
			place[e.ID.String()] = i
		}
		if got, want := len(got), len(all)*each*2; got != want {
			t.Errorf("events read: got %d, want %d", got, want)
		}
		for i := range all {
			for j := range all[i] {
				at, ok := place[all[i][j].ID.String()]
				if !ok {
					t.Fatal("an event was missed")
				}
				if j > 0 && at < place[all[i][j-1].ID.String()] {
					t.Fatal("the events of one writer are out of order")
				}
				if j%2 == 1 && at != place[all[i][j-1].ID.String()]+1 {
					t.Fatal("events of one call are parted by another's")
				}
			}
		}
		if again := trail(t, s.Events); !slices.EqualFunc(again, got, func(a, b audit.Event) bool { return a.ID == b.ID }) {
			t.Error("reading again gives another order")
		}
	})
	sub(t, "events are the caller's own: what is changed after the call is not changed in the store", func(t *testing.T) {
		s := opened(t, open)
		want := newEvents(2)
		given := newEvents(2)
		for i := range given {
			given[i].ID, given[i].Time, given[i].Subject = want[i].ID, want[i].Time, want[i].Subject
		}
		recordEvents(t, s, given...)
		given[0].Details["note"] = "scribbled"
		given[1] = newEvent()
		checkTrail(t, s, want)
		got := trail(t, s.Events)
		got[0].Details["note"] = "scribbled"
		got[1] = newEvent()
		checkTrail(t, s, want)
	})
	sub(t, "a context that has ended ends every call with its error", func(t *testing.T) {
		s := opened(t, open)
		ended(t, map[string]func(context.Context) error{
			"Record": func(ctx context.Context) error { return s.Events.Record(ctx, newEvent()) },
			"List":   func(ctx context.Context) error { _, _, err := s.Events.List(ctx, 0, 1); return err },
			"Latest": func(ctx context.Context) error { _, err := s.Events.Latest(ctx, 0, 1); return err },
		})
	})
}
