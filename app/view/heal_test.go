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

// Of the truth what is over is missed too, for a day, for the records of what it ended lie there; also when nothing else is missed. Of another source it is not, nor is a token's, to which no record belongs.
func TestWhatIsOverIsPutBackToo(t *testing.T) {
	const live, minutes, hours, day, longer, ofToken = 0, 1, 2, 3, 4, 5
	for name, c := range map[string]struct {
		lossy  string
		kept   []int
		want   []int
		oldest int
	}{
		"nothing is lost":            {"database", []int{live, minutes, hours, day, longer, ofToken}, nil, 0},
		"all is lost":                {"database", nil, []int{live, minutes, hours, day}, day},
		"all that is over":           {"database", []int{live}, []int{minutes, hours, day}, day},
		"what ended lately":          {"database", []int{live, hours, day, longer}, []int{minutes}, minutes},
		"what another source forgot": {"redis", []int{live}, nil, 0},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				now := instant.Of(time.Now())
				session := func(n byte, ended time.Duration) revocation.Entry {
					return revocation.Entry{Kind: revocation.Session, Session: id.Session{n + 1}, Reason: revocation.Logout, At: now.Add(-ended - time.Hour), Until: now.Add(-ended)}
				}
				all := []revocation.Entry{
					live: session(live, -time.Hour), minutes: session(minutes, 10*time.Minute), hours: session(hours, 5*time.Hour), day: session(day, 22*time.Hour), longer: session(longer, 23*time.Hour+time.Minute),
					ofToken: {Kind: revocation.Token, Token: id.Token{1}, Reason: revocation.Logout, At: now.Add(-time.Hour), Until: now.Add(-time.Minute)},
				}
				feeds := map[string]*feed{"database": newFeed(all...), "redis": newFeed(all...)}
				k := &keeper{truth: feeds["database"]}
				v := view.New(view.Options{AwaitHealer: true}, database(feeds["database"]), redis(feeds["redis"]))
				v.HealBy(k.healer())
				defer run(t, v)()
				after(3 * time.Second)
				s, kept := feeds[c.lossy], []revocation.Entry(nil)
				for _, n := range c.kept {
					kept = append(kept, all[n])
				}
				s.set(func(f *feed) { f.down = true })
				after(100 * time.Millisecond)
				s.set(func(f *feed) { f.down, f.entries = false, kept })
				after(5 * time.Second)
				var got []int
				for n, e := range all {
					if s.holds(e) && !slices.Contains(c.kept, n) {
						got = append(got, n)
					}
				}
				if !slices.Equal(got, c.want) || len(k.healed) != min(len(c.want), 1) || len(k.begun) != len(k.healed) {
					t.Fatalf("put back: %v, want %v; begun %+v, told of %+v", got, c.want, k.begun, k.healed)
				}
				if len(k.begun) == 1 && (k.begun[0].Unvouched || k.begun[0].Oldest != all[c.oldest].At || k.healed[0].Entries != len(c.want)) {
					t.Errorf("begun %+v, told of %+v", k.begun, k.healed)
				}
			})
		})
	}
}

// What is owed to the database was never there, and comes a moment late: whoever begins waits for it, and nothing is put back.
func TestWhatIsOwedIsNotPutBack(t *testing.T) {
	for name, ended := range map[string]time.Duration{"live": -time.Hour, "over": time.Hour} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				now := instant.Of(time.Now())
				owed := revocation.Entry{Kind: revocation.Session, Session: id.Session{1}, Reason: revocation.Logout, At: now.Add(-2 * time.Hour), Until: now.Add(-ended)}
				db := newFeed(owed)
				k := &keeper{truth: db}
				h, begun := k.healer(), 0
				h.Begin = func(context.Context, view.Healing) error {
					if begun++; begun == 3 {
						db.set(func(f *feed) { f.entries = []revocation.Entry{owed} }) // it is written down
					}
					return errBusy
				}
				v := view.New(view.Options{}, database(db), redis(newFeed(owed)))
				v.HealBy(h)
				defer run(t, v)()
				after(3 * time.Second)
				db.set(func(f *feed) { f.down = true })
				after(100 * time.Millisecond)
				db.set(func(f *feed) { f.down, f.entries = false, nil })
				after(10 * time.Second)
				if begun < 3 || begun > 9 || k.putBacks != 0 || len(k.healed) != 0 {
					t.Errorf("begun %d times, put back %d times, told of %+v", begun, k.putBacks, k.healed)
				}
			})
		})
	}
}

// vouched is a feed that others read by themselves; so many times it cannot be vouched for.
type vouched struct {
	*feed
	failing, vouched int
	refuses          bool // Record fails
}

func (f *vouched) Record(ctx context.Context, entries ...revocation.Entry) error {
	if f.refuses {
		return errBusy
	}
	return f.feed.Record(ctx, entries...)
}

func (f *vouched) Vouch(context.Context) error {
	if f.failing > 0 {
		f.failing--
		return errBusy
	}
	f.vouched++
	return nil
}

// A source that could not be vouched for at once is vouched for later, once: whoever reads it without this program refuses everything until then.
func TestVouchingIsTriedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log lines
		other := &vouched{feed: newFeed(numbered(0)), failing: 20}
		v := view.New(view.Options{Logger: log.logger()}, database(newFeed(numbered(0))), view.Source{Name: "redis", Revocations: other})
		defer run(t, v)()
		after(time.Minute)
		told := 0
		for _, line := range log.take(t) {
			told += strings.Count(line, "cannot be vouched for redis")
		}
		if other.failing != 0 || other.vouched != 1 || told != 1 {
			t.Errorf("it failed until %d were left, was vouched for %d times, and %d lines tell of it", other.failing, other.vouched, told)
		}
	})
}

// A source that lost something which could not be put back is not vouched for, also when it is followed no more.
func TestWhatLacksSomethingIsNotVouchedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		other := &vouched{feed: newFeed(numbered(0))}
		v := view.New(view.Options{}, database(newFeed(numbered(0))), view.Source{Name: "redis", Revocations: other})
		end := run(t, v)
		after(3 * time.Second)
		other.refuses = true
		other.set(func(f *feed) { f.down = true })
		after(100 * time.Millisecond)
		other.set(func(f *feed) { f.down, f.entries = false, nil })
		after(10 * time.Second)
		end()
		if other.vouched != 1 || other.holds(bareEntry(numbered(0))) {
			t.Errorf("vouched for %d times, want once, before the loss", other.vouched)
		}
	})
}
