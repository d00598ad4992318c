package pgstore_test

import (
	"errors"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/xteam/xteam/adapters/pgstore"
	"github.com/xteam/xteam/domain/audit"
	"github.com/xteam/xteam/ports"
)

// TestNodesThatAppendAtOnce: of several nodes that link at once each record is linked once, by one of them, and the chain is one.
func TestNodesThatAppendAtOnce(t *testing.T) {
	first, url := opened(t, patient)
	nodes := []*pgstore.DB{first, reopened(t, url, patient), reopened(t, url, patient)}
	const each, events = 40, 3
	var won, lost atomic.Int64
	var all sync.WaitGroup
	for _, db := range nodes {
		all.Go(func() {
			for range each {
				for {
					head, err := db.Trail().Head(t.Context())
					if err != nil {
						t.Error(err)
						return
					}
					var batch []audit.Event
					for range events {
						batch = append(batch, anEvent())
					}
					links := head.Last.Chained(batch, make([]audit.Salt, events))
					last := &links[events-1].Record
					err = db.Trail().Append(t.Context(), head.Last, links, audit.Checkpoint{Purpose: audit.Headed, Seq: last.Seq, Head: last.Hash()})
					if err == nil {
						won.Add(1)
						break
					}
					if !errors.Is(err, ports.ErrTaken) {
						t.Errorf("Append: got error %v, want ErrTaken", err)
						return
					}
					lost.Add(1)
				}
			}
		})
	}
	all.Wait()
	links, err := first.Trail().List(t.Context(), 0, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	var prev audit.Hash
	for i := range links {
		r := &links[i].Record
		if r.Seq != uint64(i)+1 || r.Prev != prev {
			t.Fatalf("record %d is numbered %d, or does not follow the one before", i+1, r.Seq)
		}
		prev = r.Hash()
	}
	head, err := first.Trail().Head(t.Context())
	if want := len(nodes) * each * events; err != nil || len(links) != want || head.Last.Head != prev || won.Load() != int64(want/events) {
		t.Errorf("got %d records and a head of %d, error %v; want %d", len(links), head.Last.Seq, err, want)
	}
	t.Logf("%d appends, and %d that came too late", won.Load(), lost.Load())
}
