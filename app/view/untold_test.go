package view_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/xteam/xteam/app/view"
	"github.com/xteam/xteam/domain/revocation"
	"github.com/xteam/xteam/ports"
)

// counted counts what is recorded.
type counted struct {
	*feed
	records int
}

func (c *counted) Record(ctx context.Context, e ...revocation.Entry) error {
	c.records += len(e)
	return c.feed.Record(ctx, e...)
}

// One node reaches the database alone, another the feed alone, and a third both. What the first revokes, and goes for good, the third has from the database and brings to the feed: the second, and whoever else asks the feed, refuses it.
func TestWhatTheTruthToldAndAFeedDidNotIsRecordedThere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		db, redis := newFeed(), &counted{feed: newFeed()}
		cutDB, cutRedis := newFeed(), newFeed()
		other := func(r ports.Revocations) view.Source { return view.Source{Name: "redis", Revocations: r} }
		first := view.New(view.Options{}, database(db), other(cutRedis))
		end := run(t, first)
		second := view.New(view.Options{}, database(cutDB), other(redis))
		defer run(t, second)()
		third := view.New(view.Options{}, database(db), other(redis))
		defer run(t, third)()
		after(10 * time.Second)
		cutDB.set(func(f *feed) { f.hung = true })
		cutRedis.set(func(f *feed) { f.down = true })
		after(10 * time.Second)

		e := numbered(1)
		db.set(func(f *feed) { f.entries = append(f.entries, e) }) // the first commits it
		first.Publish(t.Context(), e)
		end()
		after(3 * time.Second)
		wantAnswer(t, third, 1, "revoked: logout")
		wantAnswer(t, second, 1, "revoked: logout")
		wantAnswer(t, second, 2, "good")
		if !redis.holds(e) {
			t.Error("the feed lacks it, for whoever asks it alone")
		}

		// What the feed tells by itself, before the database or in the second after it, is not recorded again.
		redis.records = 0
		for i := range 5 {
			e := numbered(10 + i)
			db.set(func(f *feed) { f.entries = append(f.entries, e) })
			after(500 * time.Millisecond)
			redis.set(func(f *feed) { f.entries = append(f.entries, e) })
			e = numbered(20 + i)
			redis.set(func(f *feed) { f.entries = append(f.entries, e) })
			after(500 * time.Millisecond)
			db.set(func(f *feed) { f.entries = append(f.entries, e) })
		}
		after(5 * time.Second)
		if redis.records != 0 {
			t.Errorf("%d entries that the feed had told were recorded there", redis.records)
		}
	})
}

// While a feed is away nothing is gathered for it: what it lacks is found when it is followed again.
func TestNothingIsGatheredForAFeedThatIsAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		db, redis := newFeed(), &counted{feed: newFeed()}
		v := view.New(view.Options{}, database(db), view.Source{Name: "redis", Revocations: redis})
		defer run(t, v)()
		after(3 * time.Second)
		redis.set(func(f *feed) { f.down = true })
		after(time.Second)
		for i := range 100 {
			db.set(func(f *feed) { f.entries = append(f.entries, numbered(i)) })
			after(100 * time.Millisecond)
		}
		if redis.records != 0 {
			t.Errorf("%d were to be recorded while it was away", redis.records)
		}
		redis.set(func(f *feed) { f.down = false })
		after(5 * time.Second)
		for i := range 100 {
			if e := numbered(i); !redis.holds(e) && !redis.holds(bareEntry(e)) {
				t.Fatalf("entry %d is missing there", i)
			}
		}
		if redis.records > 110 {
			t.Errorf("%d entries were recorded, want about 100", redis.records)
		}
	})
}
