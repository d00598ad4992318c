package view_test

import (
	"context"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/xteam/xteam/app/view"
	"github.com/xteam/xteam/domain/id"
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

// What is over is missed by nobody. But where the database lost what is not over, it was set back, and its records with it: then the ends of sessions that it lost are put back too, though their entries are over, so far back as it may have
// been set, and by whoever holds them.
func TestWhatIsOverIsPutBackToo(t *testing.T) {
	for name, c := range map[string]struct {
		kept []int // of the live ones, by the database that was set back
		want []int // of those that are over
	}{
		"nothing is lost":                    {[]int{0, 1, 2}, nil},
		"it tells of nothing":                {nil, []int{10, 11, 12}},
		"it tells of an hour and a half ago": {[]int{0}, []int{12}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				now := instant.Of(time.Now())
				aged := func(n int, kind revocation.Kind, age, life time.Duration) revocation.Entry {
					e := revocation.Entry{Kind: kind, Reason: revocation.Logout, At: now.Add(-age), Until: now.Add(life - age)}
					if e.Token[0] = byte(n + 1); kind == revocation.Session {
						e.Token, e.Session = id.Token{}, id.Session{byte(n + 1)}
					}
					return e
				}
				all := map[int]revocation.Entry{
					0:  aged(0, revocation.Token, 90*time.Minute, 24*time.Hour),
					1:  aged(1, revocation.Token, 30*time.Minute, 24*time.Hour),
					2:  aged(2, revocation.Session, time.Minute, 45*time.Minute),
					10: aged(10, revocation.Session, 5*time.Hour, 45*time.Minute),
					11: aged(11, revocation.Session, 3*time.Hour, 45*time.Minute),
					12: aged(12, revocation.Session, time.Hour, 45*time.Minute),
					13: aged(13, revocation.Token, time.Hour, 45*time.Minute),
				}
				var entries, kept []revocation.Entry
				for _, e := range all {
					entries = append(entries, e)
				}
				for _, n := range c.kept {
					kept = append(kept, all[n])
				}
				db, other := newFeed(entries...), newFeed(all[0], all[1], all[2])
				k := &keeper{truth: db}
				v := view.New(view.Options{AwaitHealer: true}, database(db), redis(other))
				v.HealBy(k.healer())
				defer run(t, v)()
				after(3 * time.Second)
				db.set(func(f *feed) { f.down = true })
				after(100 * time.Millisecond)
				db.set(func(f *feed) { f.down, f.entries = false, kept })
				after(5 * time.Second)
				var got []int
				for n := 10; n <= 13; n++ {
					if e := all[n]; db.holds(e) {
						got = append(got, n)
					}
				}
				if !slices.Equal(got, c.want) {
					t.Errorf("of those that are over %v were put back, want %v", got, c.want)
				}
				if n := len(k.begun); n > 1 || (n == 1) != (len(c.kept) < 3) {
					t.Errorf("begun %d times", n)
				}
				if len(k.begun) == 1 && k.begun[0].Oldest < all[1].At && len(c.kept) > 0 {
					t.Errorf("the oldest that is missed is of %v", k.begun[0].Oldest)
				}
			})
		})
	}
}

// What is owed to the database comes a moment late, and is lost no more than what is over and still told: nothing is put back, and nobody is told of a loss. Where something was lost, of what is over only what the database does not tell goes back.
func TestWhatIsOverAndToldIsNotPutBack(t *testing.T) {
	for name, lost := range map[string]bool{"owed": false, "lost": true} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				now := instant.Of(time.Now())
				ended := func(n byte) revocation.Entry {
					return revocation.Entry{Kind: revocation.Session, Session: id.Session{n}, Reason: revocation.Logout, At: now.Add(-2 * time.Hour), Until: now.Add(-time.Hour)}
				}
				kept, gone, owed := ended(1), ended(2), numbered(0)
				owed.At = now
				db, other := newFeed(kept, gone), newFeed(owed)
				k := &keeper{truth: db}
				waits := k.healer()
				waits.Begin = func(context.Context, view.Healing) error {
					if lost {
						return nil
					}
					return errBusy // until it is written down
				}
				var put []revocation.Entry
				waits.PutBack = func(ctx context.Context, entries []revocation.Entry) error {
					put = append(put, entries...)
					return db.Record(ctx, entries...)
				}
				v := view.New(view.Options{AwaitHealer: true}, database(db), redis(other))
				defer run(t, v)()
				after(3 * time.Second)
				db.set(func(f *feed) {
					if f.entries = []revocation.Entry{kept}; !lost {
						f.entries = append(f.entries, gone)
					}
				})
				db.set(func(f *feed) { f.down = true })
				after(100 * time.Millisecond)
				db.set(func(f *feed) { f.down = false })
				after(3 * time.Second)
				v.HealBy(waits)
				after(3 * time.Second)
				if !lost {
					db.set(func(f *feed) { f.entries = append(f.entries, owed) })
				}
				after(3 * time.Second)
				holds := func(e revocation.Entry) bool {
					return slices.ContainsFunc(put, func(p revocation.Entry) bool { return p.Key() == e.Key() })
				}
				if holds(kept) || holds(gone) != lost || holds(owed) != lost || (len(k.healed) > 0) != lost {
					t.Errorf("put back: %v, told of %d losses", put, len(k.healed))
				}
			})
		})
	}
}

// A restore may take so long that nothing is left that is not over. A database that goes on telling of what is over, as those of this program do for a day, is seen to lack that then, and so is put right; what is owed to it was never there, and is waited for.
func TestALossOfWhatIsOverAlone(t *testing.T) {
	for name, c := range map[string]struct {
		kept []int // by the database that was set back
		owed bool
		want []int
	}{
		"some of it":              {[]int{5, 3}, false, []int{2, 1}},
		"none of it":              {[]int{5, 3, 2, 1}, false, nil},
		"all of it":               {nil, false, nil}, // so it may be one that lets go at once
		"what was owed meanwhile": {[]int{5, 3}, true, nil},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				now := instant.Of(time.Now())
				ended := func(hours int) revocation.Entry {
					at := now.Add(-time.Duration(hours) * time.Hour)
					return revocation.Entry{Kind: revocation.Session, Session: id.Session{byte(hours)}, Reason: revocation.Logout, At: at, Until: at.Add(45 * time.Minute)}
				}
				all, kept := []revocation.Entry{ended(5), ended(3), ended(2), ended(1)}, []revocation.Entry{}
				for _, hours := range c.kept {
					kept = append(kept, ended(hours))
				}
				db := newFeed(all...)
				k := &keeper{truth: db}
				h := k.healer()
				begin := h.Begin
				h.Begin = func(ctx context.Context, loss view.Healing) error {
					if !c.owed {
						return begin(ctx, loss)
					}
					db.set(func(f *feed) { f.entries = append(f.entries, ended(2), ended(1)) }) // it is written down
					return errBusy
				}
				v := view.New(view.Options{AwaitHealer: true}, view.Source{Name: "database", Truth: true, Revocations: &claimed{feed: db}}, redis(newFeed()))
				v.HealBy(h)
				defer run(t, v)()
				after(3 * time.Second)
				db.set(func(f *feed) { f.down = true })
				after(100 * time.Millisecond)
				db.set(func(f *feed) { f.down, f.entries = false, kept })
				after(5 * time.Second)
				var got []int
				for _, hours := range []int{5, 3, 2, 1} {
					if db.holds(ended(hours)) && !slices.Contains(c.kept, hours) && !c.owed {
						got = append(got, hours)
					}
				}
				if !slices.Equal(got, c.want) || len(k.healed) != min(len(c.want), 1) {
					t.Errorf("put back was what ended %v hours ago, want %v; told of %+v", got, c.want, k.healed)
				}
				if len(k.begun) > 0 && (k.begun[0].Unvouched || k.begun[0].Oldest != ended(2).At) {
					t.Errorf("begun: %+v", k.begun)
				}
			})
		})
	}
}

// Where what was missing at first comes in a moment later, of what is over only that is lost which the database cannot have let go: it tells of something that ended before.
func TestWhatIsOverAndWasLetGo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		now := instant.Of(time.Now())
		ended := func(minutes int) revocation.Entry {
			return revocation.Entry{Kind: revocation.Session, Session: id.Session{byte(minutes)}, Reason: revocation.Logout, At: now.Add(-2 * time.Hour), Until: now.Add(-time.Duration(minutes) * time.Minute)}
		}
		young := numbered(1)
		young.At = now
		db, other := newFeed(ended(60)), newFeed(ended(90), ended(30))
		k := &keeper{truth: db}
		v := view.New(view.Options{}, database(db), redis(other))
		v.HealBy(k.healer())
		db.set(func(f *feed) { f.hung = true })
		defer run(t, v)()
		v.Publish(t.Context(), young)
		db.set(func(f *feed) { f.hung = false })
		synctest.Wait()
		db.set(func(f *feed) { f.entries = append(f.entries, young) })
		after(5 * time.Second)
		if len(k.begun) != 0 || db.holds(ended(90)) || !db.holds(ended(30)) {
			t.Errorf("begun %d times, and the database holds %v", len(k.begun), db.entries)
		}
	})
}

// A node that has just started does not judge by what is over: another source may remember it for longer.
func TestWhatIsOverAtAStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		now := instant.Of(time.Now())
		ended := func(hours int) revocation.Entry {
			return revocation.Entry{Kind: revocation.Session, Session: id.Session{byte(hours)}, Reason: revocation.Logout, At: now.Add(-9 * time.Hour), Until: now.Add(-time.Duration(hours) * time.Hour)}
		}
		db := newFeed(ended(3))
		k := &keeper{truth: db}
		v := view.New(view.Options{}, database(db), redis(newFeed(ended(3), ended(1))))
		v.HealBy(k.healer())
		defer run(t, v)()
		after(5 * time.Second)
		if len(k.begun)+len(k.healed) != 0 {
			t.Errorf("begun: %+v, told: %+v", k.begun, k.healed)
		}
	})
}
