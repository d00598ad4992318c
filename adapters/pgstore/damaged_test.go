package pgstore_test

import (
	"errors"
	"testing"

	"github.com/xteam/xteam/domain/audit"
	"github.com/xteam/xteam/ports"
)

// Records, events and the head that somebody changed in the tables are told with their places; what stands before and behind them is read as ever.
func TestWhatWasChangedInTheTables(t *testing.T) {
	db, url := opened(t, patient)
	var events []audit.Event
	for range 6 {
		events = append(events, anEvent())
	}
	demand(t, db.Events().Record(t.Context(), events...))
	head, err := db.Trail().Head(t.Context())
	demand(t, err)
	links := head.Last.Chained(events, make([]audit.Salt, len(events)))
	last := &links[len(links)-1].Record
	demand(t, db.Trail().Append(t.Context(), head.Last, links, audit.Checkpoint{Purpose: audit.Headed, Seq: last.Seq, Head: last.Hash()}))
	placed, _, err := db.Events().List(t.Context(), 0, 10)
	if err != nil || len(placed) != 6 {
		t.Fatalf("%d events, %v", len(placed), err)
	}
	damaged := func(err error, at uint64) {
		t.Helper()
		var is *audit.DamagedError
		if !errors.As(err, &is) || is.At != at || !errors.Is(err, ports.ErrUnavailable) {
			t.Errorf("got %v, want a DamagedError at %d", err, at)
		}
	}
	conn := connected(t, url)
	const flip = `SET sealed = set_byte(sealed, length(sealed) - 1, get_byte(sealed, length(sealed) - 1) # 1) `

	run1(t, conn, `UPDATE trail `+flip+`WHERE seq = 3`)
	if all, err := db.Trail().List(t.Context(), 0, 10); err != nil || len(all) != 2 {
		t.Errorf("records before the damaged one: %d, %v", len(all), err)
	}
	_, err = db.Trail().List(t.Context(), 2, 10)
	damaged(err, 3)
	if all, err := db.Trail().List(t.Context(), 3, 10); err != nil || len(all) != 3 || all[0].Record.Seq != 4 {
		t.Errorf("records behind it: %d, %v", len(all), err)
	}

	run1(t, conn, `UPDATE events `+flip+`WHERE position = 5`)
	if all, last, err := db.Events().List(t.Context(), 0, 10); err != nil || len(all) != 4 || last != 4 {
		t.Errorf("events before the damaged one: %d, last %d, %v", len(all), last, err)
	}
	_, _, err = db.Events().List(t.Context(), 4, 10)
	damaged(err, 5)

	run1(t, conn, `UPDATE trail_head SET body = substr(body, 1, length(body) - 1)`)
	_, err = db.Trail().Head(t.Context())
	damaged(err, 0)
	run1(t, conn, `DELETE FROM trail_head`)
	if head, err := db.Trail().Head(t.Context()); err != nil || head != (audit.Head{}) {
		t.Errorf("a head that is gone: %+v, %v, want none", head, err)
	}
}
