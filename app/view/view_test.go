package view_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/xteam/xteam/app/view"
	"github.com/xteam/xteam/domain/instant"
	"github.com/xteam/xteam/domain/revocation"
	"github.com/xteam/xteam/domain/token"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func database(f *feed) view.Source {
	return view.Source{Name: "database", Truth: true, Revocations: f}
}
func redis(f *feed) view.Source { return view.Source{Name: "redis", Revocations: f} }

func TestSilenceMakesTheViewStale(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		db := newFeed(numbered(1))
		v := view.New(view.Options{}, database(db))
		wantAnswer(t, v, 2, "stale")
		defer run(t, v)()
		wantAnswer(t, v, 2, "good")
		after(time.Hour)
		wantAnswer(t, v, 2, "good")

		db.set(func(f *feed) { f.hung = true })
		after(5 * time.Second)
		wantAnswer(t, v, 2, "good")
		after(1)
		wantAnswer(t, v, 2, "stale")
		wantAnswer(t, v, 1, "revoked: logout") // what is known is said
		if age, ok := v.Age(); age != 5*time.Second+1 || !ok {
			t.Errorf("Age() = %v, %t, want 5.000000001s, true", age, ok)
		}

		db.set(func(f *feed) { f.hung = false; f.entries = append(f.entries, numbered(2)) })
		after(0)
		wantAnswer(t, v, 2, "revoked: logout")
		wantAnswer(t, v, 3, "good")
	})
}

func TestWhoIsTrustedWhileOthersAreSilent(t *testing.T) {
	type silence struct{ database, redis, second bool }
	const yes, no = "good", "stale"
	for name, tt := range map[string]struct {
		strict  bool
		silence silence
		want    string
	}{
		"nobody silent":                    {silence: silence{}, want: yes},
		"feeds silent":                     {silence: silence{redis: true, second: true}, want: yes},
		"truth silent":                     {silence: silence{database: true}, want: yes},
		"truth and one of two feeds":       {silence: silence{database: true, second: true}, want: no},
		"truth and the other of two":       {silence: silence{database: true, redis: true}, want: no},
		"all silent":                       {silence: silence{true, true, true}, want: no},
		"strict, feeds silent":             {strict: true, silence: silence{redis: true, second: true}, want: yes},
		"strict, truth silent":             {strict: true, silence: silence{database: true}, want: no},
		"strict, all silent":               {strict: true, silence: silence{true, true, true}, want: no},
		"strict, truth and feed silent":    {strict: true, silence: silence{database: true, redis: true}, want: no},
		"strict, and yet nobody is silent": {strict: true, want: yes},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				db, first, second := newFeed(), newFeed(), newFeed()
				v := view.New(view.Options{Strict: tt.strict, MaxStaleness: 3 * time.Second}, redis(first), database(db), redis(second))
				defer run(t, v)()
				wantAnswer(t, v, 1, "good")
				db.set(func(f *feed) { f.hung = tt.silence.database })
				first.set(func(f *feed) { f.hung = tt.silence.redis })
				second.set(func(f *feed) { f.hung = tt.silence.second })
				after(3*time.Second + 1)
				wantAnswer(t, v, 1, tt.want)
				if got := v.Status().OK; got != (tt.want == yes) {
					t.Errorf("Status().OK = %t, want %t", got, tt.want == yes)
				}
				after(time.Minute)
				wantAnswer(t, v, 1, tt.want)
			})
		})
	}
}

func TestAFeedThatWasNeverHeardIsNotTrusted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		db, feedA, feedB := newFeed(), newFeed(), newFeed()
		feedB.down = true
		v := view.New(view.Options{}, database(db), redis(feedA), redis(feedB))
		defer run(t, v)()
		db.set(func(f *feed) { f.hung = true })
		after(6 * time.Second)
		wantAnswer(t, v, 1, "stale")
	})
}

// CVE-2022-41316: a revocation list was not respected until it was first read after a start.
func TestNothingIsTakenBeforeAllHasComeIn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const n = 100_000
		db, feed1 := newFeed(), newFeed()
		for i := range n {
			db.entries = append(db.entries, numbered(i))
		}
		db.hold = n / 2
		v := view.New(view.Options{}, database(db), redis(feed1))
		defer run(t, v)()
		wantAnswer(t, v, 0, "revoked: logout")
		wantAnswer(t, v, n-1, "stale")
		wantAnswer(t, v, n, "stale") // although the feed has said that it has nothing more
		if _, ok := v.Age(); ok {
			t.Error("there is an age before the view was ready")
		}
		late, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := v.Ready(late); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Ready: got %v, want %v", err, context.DeadlineExceeded)
		}
		wantAnswer(t, v, n-1, "stale")

		db.set(func(f *feed) { f.hold = 0 })
		if err := v.Ready(t.Context()); err != nil {
			t.Errorf("Ready: %v", err)
		}
		wantAnswer(t, v, n-1, "revoked: logout")
		wantAnswer(t, v, n, "good")
		if err := v.Ready(late); err != nil {
			t.Errorf("Ready, when it is, with a context that has ended: %v", err)
		}
	})
}

func TestALostSourceIsFollowedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log lines
		db, other := newFeed(), newFeed()
		v := view.New(view.Options{Logger: log.logger()}, database(db), redis(other))
		defer run(t, v)()
		got := log.take(t)
		slices.Sort(got)
		if diff := cmp.Diff([]string{"A source of revocations caught up database", "A source of revocations caught up redis"}, got); diff != "" {
			t.Errorf("at the start (-want +got):\n%s", diff)
		}

		before := other.followed()
		other.set(func(f *feed) { f.down = true })
		after(time.Minute)
		if tries := other.followed() - before; tries < 55 || tries > 70 {
			t.Errorf("%d attempts in a minute, want about one a second", tries)
		}
		wantAnswer(t, v, 1, "good")
		if diff := cmp.Diff([]string{"A source of revocations was lost redis"}, log.take(t)); diff != "" {
			t.Errorf("one lost (-want +got):\n%s", diff)
		}

		db.set(func(f *feed) { f.hung = true })
		after(time.Minute)
		wantAnswer(t, v, 1, "stale")
		if diff := cmp.Diff([]string{"A source of revocations was lost database",
			"The view of the revocations is stale: requests with a token are refused"}, log.take(t)); diff != "" {
			t.Errorf("both lost (-want +got):\n%s", diff)
		}

		other.set(func(f *feed) { f.down = false; f.entries = append(f.entries, numbered(1)) })
		after(2 * time.Second)
		wantAnswer(t, v, 1, "revoked: logout")
		wantAnswer(t, v, 2, "good")
		if diff := cmp.Diff([]string{"A source of revocations is heard again redis", "The view of the revocations is fresh again"}, log.take(t)); diff != "" {
			t.Errorf("one found (-want +got):\n%s", diff)
		}
		db.set(func(f *feed) { f.hung = false; f.entries = append(f.entries, numbered(1)) })
		after(time.Minute)
		if diff := cmp.Diff([]string{"A source of revocations is heard again database"}, log.take(t)); diff != "" {
			t.Errorf("both found (-want +got):\n%s", diff)
		}
	})
}

func TestPublishIsInForceAtTheNextCheck(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log lines
		db, other := newFeed(numbered(0)), newFeed()
		v := view.New(view.Options{Logger: log.logger()}, database(db), redis(other))
		wantAnswer(t, v, 0, "stale")
		v.Publish(t.Context(), numbered(0)) // even before it runs
		wantAnswer(t, v, 0, "revoked: logout")
		defer run(t, v)()
		log.take(t)

		v.Publish(t.Context(), numbered(1), numbered(2))
		wantAnswer(t, v, 1, "revoked: logout")
		wantAnswer(t, v, 2, "revoked: logout")
		if !other.holds(numbered(1)) || !other.holds(numbered(2)) {
			t.Error("the feed lacks what was published")
		}
		if db.holds(numbered(1)) {
			t.Error("the database was asked to record what it had committed")
		}

		gone, cancel := context.WithCancel(t.Context())
		cancel()
		v.Publish(gone, numbered(3))
		if !other.holds(numbered(3)) {
			t.Error("a caller that went away kept a revocation from the feed")
		}

		other.set(func(f *feed) { f.hung = true })
		asked := time.Now()
		v.Publish(t.Context(), numbered(4))
		v.Publish(t.Context(), numbered(5))
		if took := time.Since(asked); took != time.Second {
			t.Errorf("two calls beside a hung feed took %v, want 1s: the second waits for nobody", took)
		}
		wantAnswer(t, v, 5, "revoked: logout")
		other.set(func(f *feed) { f.hung = false })
		v.Publish(t.Context(), numbered(6))
		db.set(func(f *feed) {
			f.entries = append(f.entries, numbered(0), numbered(1), numbered(2), numbered(3), numbered(4), numbered(5), numbered(6))
		})
		after(2 * time.Second)
		for _, i := range []int{4, 5, 6} {
			if !other.holds(numbered(i)) {
				t.Errorf("the feed lacks entry %d, which it did not take at first", i)
			}
		}
		told := slices.DeleteFunc(log.take(t), func(line string) bool { return strings.Contains(line, "they were put back") }) // a comparison may come before what is owed
		if diff := cmp.Diff([]string{
			"A source of revocations does not record; other nodes hear from the database redis",
			"A source of revocations records again redis",
		}, told); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	})
}

func TestPublishDoesNotWaitForSubscribers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := view.New(view.Options{}, database(newFeed()))
		defer run(t, v)()
		resume := make(chan struct{})
		slow, fast := make(map[string]int), make(map[string]int)
		var order []revocation.Entry
		cancelSlow := v.Subscribe(func(e revocation.Entry) { <-resume; slow[e.Key()]++ })
		cancelFast := v.Subscribe(func(e revocation.Entry) { fast[e.Key()]++; order = append(order, e) })
		const n = 5000
		var want []revocation.Entry
		asked := time.Now()
		for i := range n {
			want = append(want, numbered(i))
			v.Publish(t.Context(), want[i], want[i])
			if i%1000 == 0 {
				synctest.Wait()
			}
		}
		if took := time.Since(asked); took != 0 {
			t.Errorf("Publish waited %v for a slow subscriber", took)
		}
		synctest.Wait()
		if diff := cmp.Diff(want, order); diff != "" {
			t.Errorf("the fast subscriber (-want +got):\n%s", diff)
		}
		close(resume)
		synctest.Wait()
		if len(slow) != n {
			t.Errorf("the slow subscriber was told %d of %d entries", len(slow), n)
		}
		cancelSlow()
		v.Publish(t.Context(), numbered(n))
		synctest.Wait()
		if len(slow) != n || len(fast) != n+1 {
			t.Errorf("after one cancelled: %d and %d were told, want %d and %d", len(slow), len(fast), n, n+1)
		}
		cancelFast()
		cancelFast()
	})
}

func TestSubscribers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		db := newFeed(numbered(0))
		v := view.New(view.Options{}, database(db))
		end := run(t, v)
		var told []revocation.Entry
		var cancel func()
		cancel = v.Subscribe(func(e revocation.Entry) {
			if told = append(told, e); len(told) == 3 {
				cancel()
			}
		})
		db.set(func(f *feed) { f.entries = append(f.entries, numbered(1), numbered(0)) })
		after(0)
		v.Publish(t.Context(), numbered(1), numbered(2), numbered(3), numbered(4), numbered(5))
		after(0)
		if diff := cmp.Diff([]revocation.Entry{numbered(1), numbered(2), numbered(3)}, told); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}

		calls := 0
		v.Subscribe(func(revocation.Entry) { calls++ })
		end()
		v.Subscribe(func(revocation.Entry) { calls++ })
		v.Publish(t.Context(), numbered(6))
		synctest.Wait()
		if calls != 0 {
			t.Errorf("%d calls after the end of Run, want 0", calls)
		}
		wantAnswer(t, v, 6, "revoked: logout")
	})
}

func TestRunWaitsForTheSubscriberThatIsBeingTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := view.New(view.Options{}, database(newFeed()))
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() { defer close(ended); _ = v.Run(ctx) }()
		resume := make(chan struct{})
		calls := 0
		v.Subscribe(func(revocation.Entry) { <-resume; calls++ })
		v.Publish(ctx, numbered(1), numbered(2))
		synctest.Wait()
		cancel()
		synctest.Wait()
		select {
		case <-ended:
			t.Error("Run ended and left a goroutine behind")
		default:
		}
		close(resume)
		<-ended
		if calls != 1 {
			t.Errorf("%d calls, want 1: none begins after the end", calls)
		}
	})
}

func TestStatus(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		db, other := newFeed(numbered(1), numbered(2)), newFeed()
		other.down = true
		v := view.New(view.Options{}, database(db), redis(other))
		if diff := cmp.Diff(view.Status{Sources: []view.SourceStatus{{Name: "database", Truth: true}, {Name: "redis"}}}, v.Status()); diff != "" {
			t.Errorf("at first (-want +got):\n%s", diff)
		}
		defer run(t, v)()
		after(500 * time.Millisecond)
		want := view.Status{OK: true, Age: 500 * time.Millisecond, Live: 2, Sources: []view.SourceStatus{
			{Name: "database", Truth: true, Heard: true, Fresh: true, Age: 500 * time.Millisecond}, {Name: "redis"}}}
		if diff := cmp.Diff(want, v.Status()); diff != "" {
			t.Errorf("running (-want +got):\n%s", diff)
		}
		db.set(func(f *feed) { f.hung = true })
		after(10 * time.Second)
		want.OK, want.Age, want.Sources[0].Fresh, want.Sources[0].Age = false, 10500*time.Millisecond, false, 10500*time.Millisecond
		if diff := cmp.Diff(want, v.Status()); diff != "" {
			t.Errorf("silent (-want +got):\n%s", diff)
		}
	})
}

func TestEpochAndKeys(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := view.New(view.Options{}, database(newFeed()))
		v.Publish(t.Context(),
			revocation.Entry{Kind: revocation.Epoch, Epoch: 3, Reason: revocation.EpochRaised, At: 1, Until: instant.Forever},
			revocation.Entry{Kind: revocation.Key, KeyID: "k", Reason: revocation.KeyRevoked, At: 1, Until: instant.Forever})
		if got := v.Epoch(); got != 3 {
			t.Errorf("Epoch() = %d, want 3", got)
		}
		if !v.KeyRevoked("k") || v.KeyRevoked("l") {
			t.Errorf("KeyRevoked = %t, %t, want true, false", v.KeyRevoked("k"), v.KeyRevoked("l"))
		}
	})
}

func TestWithoutATruthNothingIsTaken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := view.New(view.Options{}, redis(newFeed()))
		defer run(t, v)()
		after(time.Second)
		wantAnswer(t, v, 1, "stale")
	})
}

func TestOnlyTheFirstTruthIsIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		db, second := newFeed(), newFeed()
		db.hung = true
		v := view.New(view.Options{}, database(db), database(second))
		defer run(t, v)()
		wantAnswer(t, v, 1, "stale")
		db.set(func(f *feed) { f.hung = false })
		after(0)
		wantAnswer(t, v, 1, "good")
	})
}

// TestAClockThatJumps sets the wall clock forward by an hour, then back: no entry goes before its time by either, and one line tells
// of each jump. (Without the steady clock the first would forget it, without the wall clock the second.)
func TestAClockThatJumps(t *testing.T) {
	outside := time.Now()
	synctest.Test(t, func(t *testing.T) {
		clock := &clock{t: t, outside: outside, start: time.Now()}
		var log lines
		v := view.New(view.Options{Now: clock.now, Logger: log.logger()}, database(newFeed()))
		defer run(t, v)()
		log.take(t)
		short, long := numbered(1), numbered(2)
		short.Until = instant.Of(outside.Add(5 * time.Minute))
		long.Until = instant.Of(outside.Add(30 * time.Minute))
		v.Publish(t.Context(), short, long)

		clock.set(time.Hour)
		after(24*time.Hour + 13*time.Minute) // short is over, but not by a day and the margin
		wantAnswer(t, v, 1, "revoked: logout")
		wantAnswer(t, v, 2, "revoked: logout")
		after(4 * time.Minute)
		wantAnswer(t, v, 1, "good")
		wantAnswer(t, v, 2, "revoked: logout")
		if diff := cmp.Diff([]string{"The wall clock jumped"}, log.take(t)); diff != "" {
			t.Errorf("forward (-want +got):\n%s", diff)
		}

		clock.set(-time.Hour)
		after(30 * time.Minute)
		wantAnswer(t, v, 2, "revoked: logout")
		clock.set(-time.Hour + 4*time.Second) // not worth a line
		after(time.Hour)
		wantAnswer(t, v, 2, "good")
		if diff := cmp.Diff([]string{"The wall clock jumped"}, log.take(t)); diff != "" {
			t.Errorf("back (-want +got):\n%s", diff)
		}
	})
}

// TestAClockThatWasBehind: the end of an entry was reckoned by a clock that was an hour behind. Once the clock is right, the token that it withdraws lives on
// beyond that end, and is still refused.
func TestAClockThatWasBehind(t *testing.T) {
	outside := time.Now()
	synctest.Test(t, func(t *testing.T) {
		clock := &clock{t: t, outside: outside, start: time.Now()}
		v := view.New(view.Options{Now: clock.now}, database(newFeed()))
		defer run(t, v)()
		clock.set(-time.Hour)
		e := numbered(1)
		e.Until = instant.Of(clock.now().Add(30 * time.Minute))
		v.Publish(t.Context(), e)
		clock.set(0)
		after(2 * time.Minute)
		wantAnswer(t, v, 1, "revoked: logout")
	})
}

// A wall clock that jumps by a day makes the view neither fresh nor stale.
func TestAgesAreMonotonic(t *testing.T) {
	outside := time.Now()
	synctest.Test(t, func(t *testing.T) {
		clock := &clock{t: t, outside: outside, start: time.Now()}
		db := newFeed()
		v := view.New(view.Options{Now: clock.now}, database(db))
		defer run(t, v)()
		db.set(func(f *feed) { f.hung = true })
		clock.set(24 * time.Hour)
		after(4 * time.Second)
		wantAnswer(t, v, 1, "good")
		clock.set(-24 * time.Hour)
		after(2 * time.Second)
		wantAnswer(t, v, 1, "stale")
	})
}

// TestRevocationsUnderLoad has guards check while revocations are published here and arrive from the source: from the return of Publish
// on, no guard takes the token; and no token that nobody revoked is refused.
func TestRevocationsUnderLoad(t *testing.T) {
	db := newFeed()
	v := view.New(view.Options{MaxStaleness: time.Hour}, database(db))
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { _ = v.Run(ctx) })
	if err := v.Ready(ctx); err != nil {
		t.Fatal(err)
	}
	const n = 3000
	var published atomic.Int64 // tokens below it are revoked
	var told atomic.Int64
	v.Subscribe(func(revocation.Entry) { told.Add(1) })
	var guards sync.WaitGroup
	for range 4 {
		guards.Go(func() {
			for {
				last := int(published.Load())
				for i := max(0, last-50); i < last; i++ {
					if err := v.Check(claims(i)); err == nil {
						t.Errorf("token %d is taken after it was revoked", i)
						return
					}
				}
				if err := v.Check(claims(10 * n)); err != nil {
					t.Errorf("a good token is refused: %v", err)
					return
				}
				if last == n {
					return
				}
			}
		})
	}
	for i := range n {
		if i%3 == 0 { // this one comes from another node as well
			db.set(func(f *feed) { f.entries = append(f.entries, numbered(i), numbered(n+i)) })
		}
		v.Publish(ctx, numbered(i))
		published.Store(int64(i + 1))
	}
	guards.Wait()
	cancel()
	running.Wait()
	if told.Load() == 0 {
		t.Error("the subscriber was told nothing")
	}
}

func TestCheckAllocatesOnlyARefusal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := view.New(view.Options{}, database(newFeed(numbered(1))))
		defer run(t, v)()
		good := claims(2)
		if got := testing.AllocsPerRun(100, func() { _ = v.Check(good) }); got != 0 {
			t.Errorf("%v allocations for a good token, want 0", got)
		}
		stale := view.New(view.Options{}, database(newFeed()))
		if got := testing.AllocsPerRun(100, func() { _ = stale.Check(good) }); got != 0 {
			t.Errorf("%v allocations for a stale view, want 0", got)
		}
	})
}

func BenchmarkCheck(b *testing.B) {
	v := view.New(view.Options{MaxStaleness: time.Hour}, database(newFeed(numbered(1))))
	ctx, cancel := context.WithCancel(b.Context())
	var running sync.WaitGroup
	running.Go(func() { _ = v.Run(ctx) })
	if err := v.Ready(ctx); err != nil {
		b.Fatal(err)
	}
	good := claims(2)
	good.KeyID, good.Generation = "a-key", token.Generation(1)
	b.ReportAllocs()
	for b.Loop() {
		if err := v.Check(good); err != nil {
			b.Fatal(err)
		}
	}
	cancel()
	running.Wait()
}

// TestHowLongARevocationWasOnItsWay is told once for each that is new, and not of those that were there before this node was.
func TestHowLongARevocationWasOnItsWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		old, own, others := numbered(1), numbered(2), numbered(3)
		db := newFeed(old)
		var told []time.Duration
		v := view.New(view.Options{Visible: func(took time.Duration) { told = append(told, took) }}, database(db))
		defer run(t, v)()
		own.At = instant.Of(time.Now()).Add(-3 * time.Millisecond)
		v.Publish(t.Context(), own)
		v.Publish(t.Context(), own)
		others.At = instant.Of(time.Now())
		after(20 * time.Millisecond)
		db.set(func(f *feed) { f.entries = append(f.entries, own, others) })
		synctest.Wait()
		if diff := cmp.Diff([]time.Duration{3 * time.Millisecond, 20 * time.Millisecond}, told); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	})
}
