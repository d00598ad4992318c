package view_test

import (
	"context"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/xteam/xteam/app/view"
	"github.com/xteam/xteam/domain/revocation"
	"github.com/xteam/xteam/ports"
)

// full is Redis at maxmemory: it answers readers, and takes no writes.
type full struct {
	*feed
	refuse atomic.Bool
}

func (f *full) Record(ctx context.Context, e ...revocation.Entry) error {
	if f.refuse.Load() {
		return ports.ErrUnavailable
	}
	return f.feed.Record(ctx, e...)
}

// What a source did not take while it went on telling is recorded there once it takes it: a node that hears of that source alone refuses it then.
func TestWhatASourceRefusedIsRecordedLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		db, redis := newFeed(), &full{feed: newFeed()}
		a := view.New(view.Options{}, view.Source{Name: "database", Truth: true, Revocations: db}, view.Source{Name: "redis", Revocations: redis})
		defer run(t, a)()
		dbB := newFeed()
		b := view.New(view.Options{}, view.Source{Name: "database", Truth: true, Revocations: dbB}, view.Source{Name: "redis", Revocations: redis})
		defer run(t, b)()
		after(3 * time.Second)
		dbB.set(func(f *feed) { f.down = true }) // b is cut off from the database
		redis.refuse.Store(true)
		e := numbered(1)
		db.set(func(f *feed) { f.entries = append(f.entries, e) })
		a.Publish(t.Context(), e)
		after(time.Second)
		redis.refuse.Store(false)
		after(3 * time.Second)
		if !redis.holds(e) || !b.Holds(&e) {
			t.Errorf("seconds after the source takes writes again: it holds it: %v; the node without a database holds it: %v", redis.holds(e), b.Holds(&e))
		}
		many := make([]revocation.Entry, 5000) // more than are kept for it
		for i := range many {
			many[i] = numbered(10 + i)
		}
		redis.refuse.Store(true)
		for part := range slices.Chunk(many, 100) {
			a.Publish(t.Context(), part...)
		}
		redis.refuse.Store(false)
		after(5 * time.Second)
		missing := 0
		for _, e := range many {
			if !redis.holds(e) && !redis.holds(bareEntry(e)) {
				missing++
			}
		}
		if missing > 0 {
			t.Errorf("of 5,000 that it refused it lacks %d", missing)
		}
	})
}
