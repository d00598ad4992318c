package view_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/xteam/xteam/app/view"
	"github.com/xteam/xteam/domain/id"
	"github.com/xteam/xteam/domain/instant"
	"github.com/xteam/xteam/domain/revocation"
)

// claimed is a feed that tells one of many that it shall put back what was lost.
type claimed struct {
	*feed
	mu     sync.Mutex
	until  time.Time
	claims int
}

func (c *claimed) Claim(_ context.Context, howLong time.Duration) (bool, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if time.Now().Before(c.until) {
		return false, nil
	}
	c.until, c.claims = time.Now().Add(howLong), c.claims+1
	return true, nil
}

// keeper notes what it is asked and told as a healer.
type keeper struct {
	mu       sync.Mutex
	begun    []view.Healing
	healed   []view.Healing
	truth    *feed
	failing  int // so many more calls of begin and of put-back fail
	putBacks int
}

var errBusy = errors.New("busy")

func (k *keeper) fails() error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.failing > 0 {
		k.failing--
		return errBusy
	}
	return nil
}

func (k *keeper) healer() view.Healer {
	return view.Healer{
		Begin: func(_ context.Context, h view.Healing) error {
			if err := k.fails(); err != nil {
				return err
			}
			k.mu.Lock()
			defer k.mu.Unlock()
			k.begun = append(k.begun, h)
			return nil
		},
		PutBack: func(ctx context.Context, entries []revocation.Entry) error {
			if err := k.fails(); err != nil {
				return err
			}
			k.mu.Lock()
			k.putBacks++
			k.mu.Unlock()
			return k.truth.Record(ctx, entries...)
		},
		Healed: func(h view.Healing) {
			k.mu.Lock()
			defer k.mu.Unlock()
			k.healed = append(k.healed, h)
		},
	}
}

// Of three nodes one puts back what a source has lost, and tells of it; what failed is tried again.
func TestOneOfManyPutsBack(t *testing.T) {
	for name, truth := range map[string]bool{"redis": false, "database": true} {
		for _, failing := range []int{0, 3} {
			t.Run(name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					all := []revocation.Entry{numbered(0), numbered(1), numbered(2)}
					db, other := &claimed{feed: newFeed(all...)}, &claimed{feed: newFeed(all...)}
					k := &keeper{truth: db.feed}
					for range 3 {
						v := view.New(view.Options{AwaitHealer: true}, view.Source{Name: "database", Truth: true, Revocations: db}, view.Source{Name: "redis", Revocations: other})
						v.HealBy(k.healer())
						defer run(t, v)()
					}
					after(3 * time.Second)
					if len(k.begun)+len(k.healed) != 0 {
						t.Fatalf("nothing was lost: %+v, %+v", k.begun, k.healed)
					}
					s := other
					if truth {
						s = db
					}
					s.feed.set(func(f *feed) { f.down = true })
					after(100 * time.Millisecond)
					k.failing = failing
					s.feed.set(func(f *feed) { f.down, f.entries = false, nil })
					after(20 * time.Second)
					if len(k.begun) != 1 || len(k.healed) != 1 {
						t.Fatalf("%d begun and %d told, want one of each", len(k.begun), len(k.healed))
					}
					if h := k.healed[0]; h.Source != name || h.Truth != truth || h.Entries != 3 || h.Unvouched || h.Cause == "" {
						t.Errorf("told of %+v", h)
					}
					if (k.putBacks > 0) != truth {
						t.Errorf("%d times the healer was to put back", k.putBacks)
					}
					for i := range all {
						if !s.feed.holds(bareEntry(all[i])) {
							t.Errorf("entry %d was not put back", i)
						}
					}
				})
			})
		}
	}
}

// Whoever finds at its start that the database lacks what another source holds cannot know what else is gone, and says so before it puts anything back; a node that was there can. A
// database that begins with nothing, and one that is ahead of the other source, have lost nothing.
func TestWhoCannotVouch(t *testing.T) {
	hours := instant.Of(time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)).Add(-5 * time.Hour) // before a synctest's bubble begins
	for name, c := range map[string]struct {
		db, other []revocation.Entry
		begun     bool
	}{
		"a first start":               {nil, nil, false},
		"all as it was":               {[]revocation.Entry{numbered(0)}, []revocation.Entry{numbered(0)}, false},
		"redis is empty":              {[]revocation.Entry{numbered(0)}, nil, false},
		"the database was set back":   {[]revocation.Entry{numbered(0)}, []revocation.Entry{numbered(0), numbered(1)}, true},
		"the database was made anew":  {nil, []revocation.Entry{numbered(0)}, true},
		"it was set back hours ago":   {nil, []revocation.Entry{{Kind: revocation.Session, Session: id.Session{1}, Reason: revocation.Logout, At: hours, Until: hours + 1}}, true},
		"redis comes later, and more": {[]revocation.Entry{numbered(0)}, []revocation.Entry{numbered(0), numbered(1)}, true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				db, other := newFeed(c.db...), newFeed(c.other...)
				later := name == "redis comes later, and more"
				other.set(func(f *feed) { f.down = later })
				for n := range 2 {
					k := &keeper{truth: db}
					v := view.New(view.Options{AwaitHealer: true}, database(db), redis(other))
					end := run(t, v)
					after(3 * time.Second)
					if later {
						other.set(func(f *feed) { f.down = false })
						after(3 * time.Second)
					}
					v.HealBy(k.healer()) // all that was lost waits for it
					after(5 * time.Second)
					unvouched := 0
					for _, h := range k.begun {
						if h.Truth && h.Unvouched {
							unvouched++
						}
					}
					if want := map[bool]int{true: 1}[c.begun && n == 0]; unvouched != want {
						t.Errorf("start %d: %d times nobody could vouch, want %d", n, unvouched, want)
					}
					end()
				}
			})
		})
	}
}

// A node that heard nobody for longer than is trusted, and then finds that the database lacks what it holds, cannot know what another acknowledged meanwhile, which may have died. One that heard Redis all the time can, and so can one
// that was away no longer than is trusted.
func TestWhoWasAwayCannotVouch(t *testing.T) {
	for name, c := range map[string]struct {
		redis, strict bool // Redis was there
		away          time.Duration
		want          bool
	}{
		"away for long":                      {away: 6 * time.Second, want: true},
		"strict, and away for long":          {strict: true, away: 6 * time.Second, want: true},
		"away for a moment":                  {away: 3 * time.Second},
		"away for long, and Redis was there": {redis: true, away: time.Minute},
		"strict, and Redis was there":        {redis: true, strict: true, away: time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				db, other := newFeed(numbered(0), numbered(1)), newFeed(numbered(0), numbered(1))
				k := &keeper{truth: db}
				v := view.New(view.Options{AwaitHealer: true, Strict: c.strict}, view.Source{Name: "database", Truth: true, Revocations: &claimed{feed: db}}, redis(other))
				v.HealBy(k.healer())
				defer run(t, v)()
				after(10 * time.Second)
				db.set(func(f *feed) { f.down = true })
				other.set(func(f *feed) { f.down = !c.redis })
				after(c.away)
				db.set(func(f *feed) { f.down, f.entries = false, []revocation.Entry{numbered(0)} })
				after(10 * time.Second)
				if len(k.begun) != 1 || k.begun[0].Unvouched != c.want {
					t.Fatalf("begun: %+v, want once, unvouched: %v", k.begun, c.want)
				}
				wantAnswer(t, v, 1, "revoked: logout")
				if !db.holds(bareEntry(numbered(1))) {
					t.Error("what was lost was not put back")
				}
			})
		})
	}
}

// Of two nodes that miss different things each puts back what it holds, though another has been at it before.
func TestAnotherHoldsMore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		now := instant.Of(time.Now())
		over := revocation.Entry{Kind: revocation.Session, Session: id.Session{1}, Reason: revocation.Logout, At: now.Add(-time.Hour), Until: now.Add(-time.Minute)}
		db, other := &claimed{feed: newFeed(over, numbered(0))}, newFeed(numbered(0))
		late, soon := &keeper{truth: db.feed}, &keeper{truth: db.feed}
		opts := view.Options{AwaitHealer: true}
		older := view.New(opts, view.Source{Name: "database", Truth: true, Revocations: db}, redis(other))
		defer run(t, older)()
		after(3 * time.Second)
		db.feed.set(func(f *feed) { f.entries = []revocation.Entry{numbered(0)} })
		younger := view.New(opts, view.Source{Name: "database", Truth: true, Revocations: db}, redis(other))
		defer run(t, younger)()
		after(3 * time.Second)
		db.feed.set(func(f *feed) { f.down = true })
		after(100 * time.Millisecond)
		db.feed.set(func(f *feed) { f.down, f.entries = false, nil })
		after(5 * time.Second)
		younger.HealBy(soon.healer()) // both have seen what is missed
		after(5 * time.Second)
		if len(soon.begun) != 1 || !db.feed.holds(bareEntry(numbered(0))) || db.feed.holds(over) {
			t.Fatalf("the younger has begun %d times, and the database holds %v", len(soon.begun), db.feed.entries)
		}
		older.HealBy(late.healer())
		after(20 * time.Second)
		if len(late.healed) != 1 || late.healed[0].Entries != 1 || !db.feed.holds(over) {
			t.Errorf("the older has told of %+v, and the database holds %v", late.healed, db.feed.entries)
		}
	})
}
