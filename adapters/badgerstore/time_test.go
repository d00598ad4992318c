package badgerstore_test

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/xteam/xteam/adapters/badgerstore"
	"github.com/xteam/xteam/domain/apikey"
	"github.com/xteam/xteam/domain/audit"
	"github.com/xteam/xteam/domain/id"
	"github.com/xteam/xteam/domain/instant"
	"github.com/xteam/xteam/domain/revocation"
	"github.com/xteam/xteam/domain/session"
	"github.com/xteam/xteam/ports"
)

// TestAClockThatJumps opens a folder under clocks that disagree: each bubble of synctest begins at the same time, and its clock goes on only
// while the store is closed. Compaction, which drops what has expired for good, runs under each of them.
func TestAClockThatJumps(t *testing.T) {
	dir := t.TempDir()
	at := func(jump time.Duration, do func(t *testing.T, s store)) {
		synctest.Test(t, func(t *testing.T) {
			time.Sleep(jump) //nolint:forbidigo // the bubble's clock
			s := open(t, dir)
			defer s.close(t)
			if err := s.Compact(); err != nil {
				t.Fatal(err)
			}
			do(t, s)
			// Keys around all others: when Badger merges this table with those below it, next time, it reads them all.
			around := aSession()
			for i := range around.User {
				around.User[i] = 0xff
			}
			if err := s.Sessions().Create(t.Context(), around, ports.Effects{Events: []audit.Event{anEvent()}}); err != nil {
				t.Fatal(err)
			}
		})
	}
	const life = time.Hour
	var entry, forever revocation.Entry
	var x session.Session
	at(0, func(t *testing.T, s store) {
		entry, forever = tokenEntry(life), tokenEntry(life)
		forever.Kind, forever.Token, forever.KeyID, forever.Until = revocation.Key, id.Token{}, "k1", instant.Forever
		x = aSession()
		if err := s.Sessions().Create(t.Context(), x, ports.Effects{Revocations: []revocation.Entry{entry, forever}}); err != nil {
			t.Fatal(err)
		}
	})
	for range 6 { // one table a time: with more than five of them Badger makes the lowest level, into which all later ones are merged
		at(0, func(*testing.T, store) {})
	}
	lives := func(what string, want bool) func(t *testing.T, s store) {
		return func(t *testing.T, s store) {
			all := s.all(t)
			if _, ok := all[entry.Key()]; ok != want {
				t.Errorf("%s: the entry is there: %v, want %v", what, ok, want)
			}
			if all[forever.Key()] != forever {
				t.Errorf("%s: the entry for ever is gone", what)
			}
			_, err := s.Sessions().Find(t.Context(), x.ID)
			if ok := err == nil; ok != want || !ok && !errors.Is(err, ports.ErrNotFound) {
				t.Errorf("%s: the session: got %v, want that it is there: %v", what, err, want)
			}
			if got := len(must(s.Sessions().OfUser(t.Context(), x.User))); (got == 1) != want {
				t.Errorf("%s: the user has %d sessions, want that it is there: %v", what, got, want)
			}
		}
	}
	const day = 24 * time.Hour
	at(life-time.Second+day, lives("a clock that jumped by a day in its last second", true))
	at(life/2, lives("and went back", true))
	at(life+day, lives("a day after its time", true))
	at(life+badgerstore.Margin-time.Minute, lives("just before the margin ends", true))
	at(life+badgerstore.Margin+time.Minute, lives("when the margin is over", false))
	at(0, lives("for good", false))
}

// TestAnAPIKeyIsDroppedWithItsPlaceInTheList: when a change moves a key's end, both follow.
func TestAnAPIKeyIsDroppedWithItsPlaceInTheList(t *testing.T) {
	dir := t.TempDir()
	at := func(jump time.Duration, do func(t *testing.T, s store)) {
		synctest.Test(t, func(t *testing.T) {
			time.Sleep(jump) //nolint:forbidigo // the bubble's clock
			s := open(t, dir)
			defer s.close(t)
			do(t, s)
		})
	}
	k := apikey.Key{ID: newID[id.APIKey](), Owner: newID[id.User](), Name: must(apikey.ParseName("bot")), Hash: [32]byte{1}}
	next := k
	next.ID = newID[id.APIKey]()
	at(0, func(t *testing.T, s store) {
		k.Created, next.Created = now(), now()
		k.Expires, next.Expires = now().Add(time.Hour), now().Add(time.Hour)
		if err := s.APIKeys().Create(t.Context(), k, ports.Effects{}); err != nil {
			t.Fatal(err)
		}
		if err := s.APIKeys().Replace(t.Context(), k.ID, func(k apikey.Key) (apikey.Key, apikey.Key, ports.Effects, error) {
			k.Expires = now().Add(48 * time.Hour)
			return k, next, ports.Effects{}, nil
		}); err != nil {
			t.Fatal(err)
		}
	})
	there := func(want int) func(t *testing.T, s store) {
		return func(t *testing.T, s store) {
			t.Helper()
			listed, found := len(must(s.APIKeys().OfUser(t.Context(), k.Owner))), 0
			for _, kid := range []id.APIKey{k.ID, next.ID} {
				if _, err := s.APIKeys().Find(t.Context(), kid); err == nil {
					found++
				}
			}
			if listed != want || found != want {
				t.Errorf("%d keys are listed and %d found, want %d", listed, found, want)
			}
		}
	}
	const kept = apikey.Keep + badgerstore.Margin
	at(kept+time.Hour-time.Minute, there(2))
	at(kept+time.Hour+time.Minute, there(1))
	at(kept+48*time.Hour-time.Minute, there(1))
	at(kept+48*time.Hour+time.Minute, there(0))
}

// TestEntriesOfThePast are written when their time is over already.
func TestEntriesOfThePast(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	ago := func(d time.Duration) revocation.Entry {
		e := tokenEntry(0)
		e.At, e.Until = now().Add(-d-time.Hour), now().Add(-d)
		return e
	}
	recent, old := ago(24*time.Hour), ago(badgerstore.Margin+time.Hour)
	if err := s.Revocations().Record(t.Context(), recent, old); err != nil {
		t.Fatal(err)
	}
	s.close(t)
	s = open(t, dir)
	defer s.close(t)
	all := s.all(t)
	if _, ok := all[recent.Key()]; !ok {
		t.Error("an entry whose time ended a day ago is gone")
	}
	if _, ok := all[old.Key()]; ok {
		t.Error("an entry whose margin is over is there")
	}
}
