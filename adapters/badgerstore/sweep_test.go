package badgerstore_test

import (
	"errors"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/xteam/xteam/adapters/badgerstore"
	"github.com/xteam/xteam/domain/instant"
	"github.com/xteam/xteam/domain/keyset"
	"github.com/xteam/xteam/domain/revocation"
	"github.com/xteam/xteam/domain/session"
	"github.com/xteam/xteam/ports"
)

// TestWhatHasExpiredGoes fills the lowest level of a folder with entries and sessions, which Badger would keep there for ever, and lets their time pass.
func TestWhatHasExpiredGoes(t *testing.T) {
	const life, many = time.Hour, 5000
	dir := filepath.Join(t.TempDir(), "data")
	at := func(jump time.Duration, do func(t *testing.T, s store)) {
		synctest.Test(t, func(t *testing.T) {
			time.Sleep(jump) //nolint:forbidigo // the clock is synctest's
			s := open(t, dir)
			defer s.close(t)
			do(t, s)
		})
	}
	compact := func(jump time.Duration) { // a table a time: with more than five of them Badger makes the lowest level, and merges the next ones into it
		for range 7 {
			at(jump, func(t *testing.T, s store) {
				if err := s.Events().Record(t.Context(), anEvent()); err != nil {
					t.Error(err)
				}
				if err := s.Compact(); err != nil {
					t.Error(err)
				}
			})
		}
	}
	var forever, long revocation.Entry
	var old, fresh session.Session
	at(0, func(t *testing.T, s store) {
		entries := make([]revocation.Entry, many)
		for i := range entries {
			entries[i] = tokenEntry(life)
			entries[i].Note = strings.Repeat("n", 100)
		}
		forever, long = tokenEntry(life), tokenEntry(90*24*time.Hour)
		forever.Kind, forever.Token, forever.KeyID, forever.Until = revocation.Key, [16]byte{}, "k1", instant.Forever
		old, fresh = aSession(), aSession()
		fresh.User, fresh.Expires = old.User, fresh.Expires.Add(90*24*time.Hour)
		for _, err := range []error{
			s.Revocations().Record(t.Context(), append(entries, forever, long)...),
			s.Sessions().Create(t.Context(), old, ports.Effects{}),
			s.Sessions().Create(t.Context(), fresh, ports.Effects{}),
		} {
			if err != nil {
				t.Error(err)
			}
		}
	})
	compact(0)
	before := tables(t, dir)

	const later = life + badgerstore.Margin + time.Minute
	at(later, func(t *testing.T, s store) {
		if got := s.Versions("r/"); got != many+2 {
			t.Errorf("when their time is over Badger keeps %d entries, want all %d", got, many+2)
		}
		time.Sleep(time.Hour + time.Minute) //nolint:forbidigo // the clock is synctest's
	})
	at(0, func(t *testing.T, s store) { // the clock is back: they are not hidden any more
		if all := s.all(t); len(all) != 2 || all[forever.Key()] != forever || all[long.Key()] != long {
			t.Errorf("got %d entries, want the one for ever and the long one", len(all))
		}
		if _, err := s.Sessions().Find(t.Context(), old.ID); !errors.Is(err, ports.ErrNotFound) {
			t.Errorf("the session that had expired: got %v, want ErrNotFound", err)
		}
		if all := must(s.Sessions().OfUser(t.Context(), old.User)); len(all) != 1 || all[0].ID != fresh.ID {
			t.Errorf("got %d sessions, want the one that has not expired", len(all))
		}
	})
	compact(later)
	at(later, func(t *testing.T, s store) {
		for prefix, want := range map[string]int{"r/": 2, "s/": 1, "u/": 1} {
			if got := s.Versions(prefix); got != want {
				t.Errorf("Badger keeps %d records of %s, want %d", got, prefix, want)
			}
		}
	})
	if after := tables(t, dir); after > before/10 {
		t.Errorf("the tables have %d bytes, of %d before, want a tenth at most", after, before)
	}
}

// tables is how many bytes Badger's tables have.
func tables(t *testing.T, dir string) (size int) {
	t.Helper()
	for _, path := range must(filepath.Glob(filepath.Join(dir, "*.sst"))) {
		size += must(fileSize(path))
	}
	return size
}

func TestTheHorizon(t *testing.T) {
	opened := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	for what, c := range map[string]struct {
		wall, steady, want time.Duration
	}{
		"both went on":                    {time.Hour, time.Hour, time.Hour},
		"the clock jumped forward":        {1000 * time.Hour, time.Hour, time.Hour},
		"the clock was wrong, and is not": {-1000 * time.Hour, time.Hour, -1000 * time.Hour},
	} {
		if got, want := badgerstore.Horizon(opened, opened.Add(c.wall), c.steady), uint64(opened.Add(c.want).Unix()); got != want {
			t.Errorf("%s: got %d, want %d", what, got, want)
		}
	}
	if got := badgerstore.Horizon(opened, time.Unix(-5, 0), time.Hour); got != 0 {
		t.Errorf("before 1970: got %d, want 0", got)
	}
}

// TestARecordThatComesBackIsNotSwept: what is deleted is looked at again when it is.
func TestARecordThatComesBackIsNotSwept(t *testing.T) {
	s := open(t, t.TempDir())
	defer s.close(t)
	e := tokenEntry(0)
	e.At, e.Until = now().Add(-100*time.Hour), now().Add(-badgerstore.Margin-time.Hour)
	if err := s.Revocations().Record(t.Context(), e); err != nil {
		t.Fatal(err)
	}
	stalled := s.stall()
	defer stalled.letGo()
	swept, recorded := make(chan error, 1), make(chan error, 1)
	again := e
	again.Until = now().Add(time.Hour)
	go func() { recorded <- s.Revocations().Record(t.Context(), again) }()
	eventually(t, "it waits", func() bool { return s.Waiting() == 1 })
	go func() { swept <- s.Sweep() }()
	eventually(t, "both wait", func() bool { return s.Waiting() == 2 })
	stalled.letGo()
	if err := errors.Join(<-recorded, <-swept); err != nil {
		t.Fatal(err)
	}
	if all := s.all(t); all[e.Key()] != again {
		t.Errorf("got %v, want the entry as it was recorded anew", all)
	}
}

// TestNoValueIsForTheValueLog: its failed syncs Badger only logs.
func TestNoValueIsForTheValueLog(t *testing.T) {
	s := open(t, t.TempDir())
	defer s.close(t)
	ring := func(size int) keyset.Ring {
		return keyset.Ring{Name: "large", Keys: []keyset.Key{{ID: "k", Wrapped: make([]byte, size)}}}
	}
	if err := s.Keys().Create(t.Context(), ring(1<<20), ports.Effects{}); err == nil || errors.Is(err, ports.ErrUnavailable) || !strings.Contains(err.Error(), "too large") {
		t.Errorf("a value of more than 1 MiB: got %v, want that it is too large", err)
	}
	if err := s.Keys().Create(t.Context(), ring(1<<20-100), ports.Effects{}); err != nil {
		t.Errorf("a value of less than 1 MiB: got %v", err)
	}
}
