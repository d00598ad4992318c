package view_test

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/xteam/xteam/app/view"
	"github.com/xteam/xteam/domain/instant"
	"github.com/xteam/xteam/domain/revocation"
)

// bareEntry is an entry as the view holds it: without who asked.
func bareEntry(e revocation.Entry) revocation.Entry {
	e.By = ""
	return e
}

// What a source has lost, a fresh start of its server or a database put back to an earlier point, is put back from what the view holds, once, and told of; nothing is
// refused meanwhile and nothing taken that was revoked.
func TestWhatASourceLostIsPutBack(t *testing.T) {
	for name, lossy := range map[string]func(db, other *feed) *feed{
		"redis":    func(_, other *feed) *feed { return other },
		"database": func(db, _ *feed) *feed { return db },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var log lines
				all := []revocation.Entry{numbered(0), numbered(1), numbered(2), numbered(3)}
				over := numbered(4)
				over.Until = instant.Of(time.Now()).Add(30 * time.Second) // nearly over: nobody misses it
				db, other := newFeed(append(all, over)...), newFeed(append(all, over)...)
				healed := map[string]int{}
				v := view.New(view.Options{Logger: log.logger()}, database(db), redis(other))
				v.HealBy(view.Healer{Healed: func(h view.Healing) { healed[h.Source] += h.Entries }})
				defer run(t, v)()
				after(3 * time.Second)
				if len(healed) != 0 {
					t.Fatalf("nothing was lost, and %v put back", healed)
				}
				log.take(t)

				s := lossy(db, other)
				s.set(func(f *feed) { f.down = true })
				after(100 * time.Millisecond)
				s.set(func(f *feed) { f.down, f.entries = false, []revocation.Entry{numbered(1)} })
				after(5 * time.Second)
				for i, e := range all {
					wantAnswer(t, v, i, "revoked: logout")
					if i != 1 && !s.holds(bareEntry(e)) {
						t.Errorf("entry %d was not put back", i)
					}
				}
				if s.holds(over) || s.holds(bareEntry(over)) {
					t.Error("an entry that is nearly over was put back")
				}
				if len(healed) != 1 || healed[name] != 3 {
					t.Errorf("told of %v, want of 3 of %s", healed, name)
				}
				told := 0
				for _, line := range log.take(t) {
					told += strings.Count(line, "they were put back "+name)
				}
				if told != 1 {
					t.Errorf("the log tells of it %d times, want once", told)
				}
				wantAnswer(t, v, 9, "good")
			})
		})
	}
}

// An entry that is published while a source is being read is not taken for lost.
func TestWhatIsUnderWayIsNotLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		db, other := newFeed(numbered(0)), newFeed(numbered(0))
		healed := 0
		v := view.New(view.Options{}, database(db), redis(other))
		v.HealBy(view.Healer{Healed: func(view.Healing) { healed++ }})
		db.set(func(f *feed) { f.hung = true })
		defer run(t, v)()
		v.Publish(t.Context(), numbered(1)) // in the view and in the feed, and in the database a moment later
		db.set(func(f *feed) { f.hung = false })
		synctest.Wait()
		db.set(func(f *feed) { f.entries = append(f.entries, numbered(1)) })
		after(5 * time.Second)
		if healed != 0 {
			t.Errorf("%d times something was put back, want that nothing was lost", healed)
		}
	})
}
