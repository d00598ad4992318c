package view_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/xteam/xteam/app/view"
	"github.com/xteam/xteam/domain/id"
	"github.com/xteam/xteam/domain/instant"
	"github.com/xteam/xteam/domain/revocation"
)

// A node that is cut off from the database puts a revocation in force through the feed, and goes for good. Another node, which never lost the database, writes it down there: else a session that was ended would live again once its entry is
// over. Nothing was lost, so nobody is told of a loss.
func TestWhatAFeedToldAndTheTruthDoesNotIsWrittenDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		db, cut, shared := newFeed(numbered(0)), newFeed(), newFeed(numbered(0))
		first := view.New(view.Options{}, database(cut), redis(shared))
		end := run(t, first)
		k := &keeper{truth: db}
		second := view.New(view.Options{AwaitHealer: true}, view.Source{Name: "database", Truth: true, Revocations: &claimed{feed: db}}, redis(shared))
		second.HealBy(k.healer())
		defer run(t, second)()
		after(10 * time.Second)
		cut.set(func(f *feed) { f.down = true })
		now := instant.Of(time.Now())
		ended := revocation.Entry{Kind: revocation.Session, Session: id.Session{1}, Reason: revocation.Logout, At: now, Until: now.Add(45 * time.Minute)}
		first.Publish(t.Context(), ended)
		end()
		after(time.Minute)
		if k.putBacks != 1 || len(k.healed) != 0 || len(k.begun) != 1 || k.begun[0].Unvouched || k.begun[0].Oldest != now {
			t.Errorf("put back %d times, begun %+v, told of %+v", k.putBacks, k.begun, k.healed)
		}
		if !db.holds(ended) || db.followed() != 1 {
			t.Errorf("the database has it: %v; it was followed %d times", db.holds(ended), db.followed())
		}
		after(time.Hour)
		if k.putBacks != 1 {
			t.Errorf("put back %d times", k.putBacks)
		}
	})
}

// What cannot be written down holds up nothing that comes later.
func TestWhatIsWrittenDownBesideWhatCannotBe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		db, shared := newFeed(), newFeed()
		k := &keeper{truth: db}
		h, now := k.healer(), instant.Of(time.Now())
		of := func(n byte) revocation.Entry {
			return revocation.Entry{Kind: revocation.Session, Session: id.Session{n}, Reason: revocation.Logout, At: now, Until: now.Add(10 * time.Hour)}
		}
		tries := 0
		h.PutBack = func(ctx context.Context, entries []revocation.Entry) (err error) {
			for _, e := range entries {
				if e.Session == of(1).Session {
					tries++
					err = errBusy
				} else if failed := db.Record(ctx, e); failed != nil {
					err = failed
				}
			}
			return err
		}
		v := view.New(view.Options{}, database(db), redis(shared))
		v.HealBy(h)
		defer run(t, v)()
		after(3 * time.Second)
		for n := byte(1); n <= 3; n++ {
			shared.set(func(f *feed) { f.entries = append(f.entries, of(n)) })
			after(time.Minute)
			if e := of(n); db.holds(e) != (n > 1) {
				t.Errorf("entry %d: written down: %v", n, n == 1)
			}
		}
		if tries < 10 || tries > 60 {
			t.Errorf("it was tried %d times in three minutes, want ever more seldom, and never no more", tries)
		}
	})
}

// What the database tells in time, is silent about as long as it is silent, or is nearly over, is not written down there; nor is what whoever owes it writes down while it is waited for.
func TestWhatComesLateIsNotWrittenDown(t *testing.T) {
	for name, c := range map[string]struct {
		lives, comes time.Duration
		hung         time.Duration
		owed         bool
	}{
		"in time":                {lives: time.Hour, comes: 8 * time.Second},
		"nearly over":            {lives: time.Minute, comes: time.Hour},
		"after a silence":        {lives: time.Hour, hung: 30 * time.Second, comes: 31 * time.Second},
		"while it is waited for": {lives: time.Hour, comes: 25 * time.Second, owed: true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				db, shared := newFeed(), newFeed()
				k := &keeper{truth: db}
				h := k.healer()
				waits := time.Now().Add(45 * time.Second)
				h.Begin = func(context.Context, view.Healing) error {
					if c.owed && time.Now().Before(waits) {
						return errBusy
					}
					return nil
				}
				v := view.New(view.Options{}, database(db), redis(shared))
				v.HealBy(h)
				defer run(t, v)()
				after(3 * time.Second)
				now := instant.Of(time.Now())
				e := revocation.Entry{Kind: revocation.Token, Token: id.Token{1}, Reason: revocation.Logout, At: now, Until: now.Add(c.lives)}
				db.set(func(f *feed) { f.hung = c.hung > 0 })
				shared.set(func(f *feed) { f.entries = append(f.entries, e) })
				after(c.hung)
				db.set(func(f *feed) { f.hung = false })
				after(c.comes - c.hung)
				db.set(func(f *feed) { f.entries = append(f.entries, e) })
				after(time.Minute)
				if k.putBacks != 0 || len(k.healed) != 0 {
					t.Errorf("put back %d times, told of %+v", k.putBacks, k.healed)
				}
			})
		})
	}
}
