package app_test

import (
	"context"
	"errors"
	"net/netip"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/xteam/xteam/adapters/memstore"
	"github.com/xteam/xteam/app"
	"github.com/xteam/xteam/domain/audit"
	"github.com/xteam/xteam/domain/block"
	"github.com/xteam/xteam/domain/instant"
	"github.com/xteam/xteam/ports"
)

// silentBlocks is a store of blocks that is silent while it is told to be.
type silentBlocks struct {
	ports.Blocks
	silent atomic.Bool
}

func (f *silentBlocks) Revision(ctx context.Context) (uint64, error) {
	if f.silent.Load() {
		return 0, ports.ErrUnavailable
	}
	return f.Blocks.Revision(ctx)
}

func (f *silentBlocks) Load(ctx context.Context) (block.List, error) {
	if f.silent.Load() {
		return block.List{}, ports.ErrUnavailable
	}
	return f.Blocks.Load(ctx)
}

var (
	network        = netip.MustParsePrefix("198.51.100.0/24")
	blockedAddress = netip.MustParseAddr("198.51.100.7")
	op             = app.Actor{Name: app.Operator}
)

// blockNodes are nodes over one store, by one clock, that of the synctest bubble.
func blockNodes(t *testing.T, n int) (nodes []*app.Blocks, store *memstore.Store, f *silentBlocks) {
	t.Helper()
	store = memstore.New()
	f = &silentBlocks{Blocks: store.Blocks()}
	for range n {
		core := &app.Core{Stores: app.Stores{Blocks: f, Events: store.Events()}, Random: &counter{}, Now: time.Now, Journal: &journal{}}
		b := app.NewBlocks(core, app.BlocksOptions{})
		if err := b.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { defer close(done); b.Run(ctx) }()
		t.Cleanup(func() { cancel(); <-done })
		nodes = append(nodes, b)
	}
	return nodes, store, f
}

// TestBlocksOnEveryNode: a block is in force at once on its own node and within half a second on another, which tells who asked to be told; so is its end.
func TestBlocksOnEveryNode(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		nodes, store, _ := blockNodes(t, 2)
		var told atomic.Int64
		nodes[1].OnChange(func() { told.Add(1) })
		made, err := nodes[0].Block(t.Context(), op, network, app.BlockOptions{Reason: "guesses", For: time.Hour})
		if err != nil || made.By != app.Operator || made.Until.Sub(made.At) != time.Hour {
			t.Fatalf("got %+v, %v", made, err)
		}
		if !nodes[0].Blocked(blockedAddress) || nodes[0].Blocked(netip.Addr{}) {
			t.Error("it is not in force on its own node")
		}
		after(500 * time.Millisecond)
		synctest.Wait()
		if !nodes[1].Blocked(blockedAddress) || told.Load() != 1 || nodes[1].Revision() != nodes[0].Revision() {
			t.Errorf("half a second later on the other node: blocked %v, told %d times", nodes[1].Blocked(blockedAddress), told.Load())
		}
		if _, err := nodes[1].Unblock(t.Context(), op, network); err != nil {
			t.Fatal(err)
		}
		if nodes[1].Blocked(blockedAddress) {
			t.Error("it is in force after its end on the node that ended it")
		}
		after(500 * time.Millisecond)
		synctest.Wait()
		if nodes[0].Blocked(blockedAddress) {
			t.Error("half a second later it is in force on the other node")
		}
		events, _, err := store.Events().List(t.Context(), 0, 10)
		if err != nil || len(events) != 2 || events[0].Kind != audit.AddressBlocked || events[1].Kind != audit.AddressUnblocked || events[0].Details["network"] != network.String() || events[0].Details["note"] != "guesses" {
			t.Errorf("events: %+v, %v", events, err)
		}
		if _, err := nodes[0].Unblock(t.Context(), op, network); !errors.Is(err, block.ErrUnknown) {
			t.Errorf("a second time: got %v", err)
		}
	})
}

// TestBlocksWhileTheDatabaseIsSilent: what was blocked stays so, what has an end ends, and what was changed meanwhile is taken up when the database is heard again.
func TestBlocksWhileTheDatabaseIsSilent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		nodes, store, f := blockNodes(t, 2)
		other := netip.MustParsePrefix("203.0.113.0/24")
		for p, lasts := range map[netip.Prefix]time.Duration{network: 0, other: time.Minute} {
			if _, err := nodes[0].Block(t.Context(), op, p, app.BlockOptions{For: lasts}); err != nil {
				t.Fatal(err)
			}
		}
		after(time.Second)
		f.silent.Store(true)
		after(50 * time.Second)
		for i, n := range nodes {
			if !n.Blocked(blockedAddress) || !n.Blocked(other.Addr()) {
				t.Errorf("node %d let somebody in", i)
			}
		}
		after(10 * time.Second)
		for i, n := range nodes {
			if !n.Blocked(blockedAddress) || n.Blocked(other.Addr()) {
				t.Errorf("node %d: after the end of one: %v, %v", i, n.Blocked(blockedAddress), n.Blocked(other.Addr()))
			}
		}
		// The database comes back restored to an earlier point, with a lower revision.
		if err := store.Blocks().Update(t.Context(), func(l block.List) (block.List, ports.Effects, error) {
			return block.List{Revision: 1}, ports.Effects{}, nil
		}); err != nil {
			t.Fatal(err)
		}
		f.silent.Store(false)
		after(time.Second)
		synctest.Wait()
		for i, n := range nodes {
			if n.Blocked(blockedAddress) || n.Revision() != 1 {
				t.Errorf("node %d has not taken up what the database has: revision %d", i, n.Revision())
			}
		}
	})
}

// TestBlocksThatCannotBe: nothing is blocked that is over, and a store that is silent at the start stops it.
func TestBlocksThatCannotBe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		nodes, _, f := blockNodes(t, 1)
		for _, o := range []app.BlockOptions{{For: -1}, {Until: instant.Of(time.Now())}, {For: time.Hour, Until: instant.Forever}} {
			if _, err := nodes[0].Block(t.Context(), op, network, o); !errors.Is(err, app.ErrBlockTime) {
				t.Errorf("%+v: got %v", o, err)
			}
		}
		for _, p := range []netip.Prefix{{}, netip.PrefixFrom(blockedAddress, 24)} {
			if _, err := nodes[0].Block(t.Context(), op, p, app.BlockOptions{Force: true}); !errors.Is(err, block.ErrInvalid) {
				t.Errorf("%v: got %v", p, err)
			}
		}
		f.silent.Store(true)
		if err := app.NewBlocks(&app.Core{Stores: app.Stores{Blocks: f}}, app.BlocksOptions{}).Start(t.Context()); !errors.Is(err, ports.ErrUnavailable) {
			t.Errorf("Start: got %v", err)
		}
	})
}

// TestBlockedAllocatesNothing: it is asked of every request.
func TestBlockedAllocatesNothing(t *testing.T) {
	w := newWorld(t)
	b := app.NewBlocks(w.core, app.BlocksOptions{})
	if _, err := b.Block(t.Context(), op, network, app.BlockOptions{}); err != nil {
		t.Fatal(err)
	}
	elsewhere := netip.MustParseAddr("::ffff:203.0.113.1")
	if n := testing.AllocsPerRun(100, func() {
		if b.Blocked(elsewhere) || !b.Blocked(blockedAddress) {
			t.Error("wrong")
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
