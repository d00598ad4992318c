package pgstore_test

import (
	"context"
	"crypto/rand"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/xteam/xteam/adapters/pgstore"
	"github.com/xteam/xteam/app"
	"github.com/xteam/xteam/domain/audit"
	"github.com/xteam/xteam/domain/id"
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

// TestNodesLinkOneChain: events that several nodes commit at once, by transactions that overlap, are linked once each, by whichever node is at it; while the server is killed too.
func TestNodesLinkOneChain(t *testing.T) {
	s, err := newServer(t)
	demand(t, err)
	t.Cleanup(s.stop)
	url := s.url("postgres", "sslmode=disable")
	var trails []*app.Trail
	var nodes []*pgstore.DB
	for range 3 {
		db := reopened(t, url, pgstore.Options{Wait: time.Second})
		core := &app.Core{Stores: app.Stores{Keys: db.Keys(), Events: db.Events(), Trail: db.Trail(), TrailCare: db.Trail()}, Random: rand.Reader, Now: time.Now}
		nodes, trails = append(nodes, db), append(trails, app.NewTrail(core, sealer{}, app.TrailOptions{Every: 20 * time.Millisecond, Records: 50}))
	}
	ctx, cancel := context.WithCancel(t.Context())
	var running, writing sync.WaitGroup
	for _, trail := range trails {
		running.Go(func() { trail.Run(ctx) })
	}
	var stop atomic.Bool
	var told atomic.Uint64
	for i := range 6 {
		writing.Go(func() {
			for !stop.Load() {
				if nodes[i%len(nodes)].Events().Record(context.Background(), anEvent(), anEvent()) == nil {
					told.Add(2)
				}
			}
		})
	}
	linked := func() uint64 { return trails[0].Status().Seq }
	eventually(t, "a hundred records", func() bool { return linked() >= 100 })
	s.kill()
	if err := s.start(); err != nil {
		t.Fatal(err)
	}
	before := linked()
	eventually(t, "a hundred records after the kill", func() bool { return linked() >= before+100 })
	stop.Store(true)
	writing.Wait()
	eventually(t, "the last event linked", func() bool { return linked() >= told.Load() })
	cancel()
	running.Wait()
	if _, err := trails[1].Link(t.Context()); err != nil {
		t.Fatal(err)
	}
	r, err := trails[2].Verify(t.Context())
	if err != nil || !r.OK() || uint64(r.Records) < told.Load() {
		t.Fatalf("%d records of %d events, findings %v, error %v", r.Records, told.Load(), r.Findings, err)
	}
	seen := map[id.Event]bool{}
	for after := uint64(0); ; {
		links, err := nodes[0].Trail().List(t.Context(), after, audit.MaxBatch)
		if err != nil {
			t.Fatal(err)
		}
		if len(links) == 0 {
			break
		}
		for i := range links {
			if seen[links[i].Record.Event] {
				t.Fatalf("the event of record %d was linked twice", links[i].Record.Seq)
			}
			seen[links[i].Record.Event], after = true, links[i].Record.Seq
		}
	}
	by := make([]uint64, len(trails))
	for i := range trails {
		by[i] = trails[i].Linked()
	}
	t.Logf("%d events, linked by the nodes: %d", told.Load(), by)
}
