package badgerstore_test

import (
	"errors"
	"testing"

	"github.com/xteam/xteam/domain/audit"
	"github.com/xteam/xteam/domain/id"
	"github.com/xteam/xteam/ports"
)

// A record, an event and a head that were changed under the seal are told with their places; what stands before and behind them is read as ever.
func TestWhatWasChangedUnderTheSeal(t *testing.T) {
	s := open(t, t.TempDir())
	defer s.close(t)
	var events []audit.Event
	for range 6 {
		events = append(events, audit.Event{ID: newID[id.Event](), Kind: audit.TokenRevoked})
	}
	if err := s.Events().Record(t.Context(), events...); err != nil {
		t.Fatal(err)
	}
	var head audit.Checkpoint
	links := head.Chained(events, make([]audit.Salt, len(events)))
	last := &links[len(links)-1].Record
	if err := s.Trail().Append(t.Context(), head, links, audit.Checkpoint{Purpose: audit.Headed, Seq: last.Seq, Head: last.Hash()}); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(s.Spoil('t', 3), s.Spoil('e', 5), s.Spoil('h', 0)); err != nil {
		t.Fatal(err)
	}
	damaged := func(err error, at uint64) {
		t.Helper()
		var is *audit.DamagedError
		if !errors.As(err, &is) || is.At != at || !errors.Is(err, ports.ErrUnavailable) {
			t.Errorf("got %v, want a DamagedError at %d", err, at)
		}
	}
	_, err := s.Trail().Head(t.Context())
	damaged(err, 0)
	if all, last, err := s.Events().List(t.Context(), 0, 10); err != nil || len(all) != 6 || last != 6 || all[3].ID != events[3].ID || all[4].Kind != audit.EventUnreadable || all[5].ID != events[5].ID {
		t.Errorf("events with a damaged one: %v, last %d, %v", all, last, err)
	}

	s.Lock() // which is no damage
	if all, _, err := s.Events().List(t.Context(), 4, 10); err == nil || len(all) > 0 || errors.As(err, new(*audit.DamagedError)) {
		t.Errorf("without the keys: %v, %v", all, err)
	}
	if all, err := s.Events().Latest(t.Context(), 0, 10); err == nil || len(all) > 0 {
		t.Errorf("the latest without the keys: %v, %v", all, err)
	}
}

// The same of records, whose head is whole.
func TestARecordThatWasChangedUnderTheSeal(t *testing.T) {
	s := open(t, t.TempDir())
	defer s.close(t)
	var head audit.Checkpoint
	links := head.Chained([]audit.Event{{Kind: audit.TokenRevoked}, {Kind: audit.TokenRevoked}, {Kind: audit.TokenRevoked}}, make([]audit.Salt, 3))
	if err := s.Trail().Append(t.Context(), head, links, audit.Checkpoint{Purpose: audit.Headed, Seq: 3, Head: links[2].Record.Hash()}); err != nil {
		t.Fatal(err)
	}
	if err := s.Spoil('t', 2); err != nil {
		t.Fatal(err)
	}
	if all, err := s.Trail().List(t.Context(), 0, 10); err != nil || len(all) != 1 {
		t.Errorf("records before it: %d, %v", len(all), err)
	}
	var is *audit.DamagedError
	if _, err := s.Trail().List(t.Context(), 1, 10); !errors.As(err, &is) || is.At != 2 {
		t.Errorf("the record: %v", err)
	}
	if all, err := s.Trail().List(t.Context(), 2, 10); err != nil || len(all) != 1 || all[0].Record.Seq != 3 {
		t.Errorf("records behind it: %d, %v", len(all), err)
	}
}
