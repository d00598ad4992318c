package app_test

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/xteam/xteam/adapters/memstore"
	"github.com/xteam/xteam/app"
)

// wall is a firewall that can fail or hang.
type wall struct {
	mu    sync.Mutex
	how   func(context.Context) error
	has   []netip.Prefix
	calls int
}

func (w *wall) Set(ctx context.Context, networks []netip.Prefix) error {
	w.mu.Lock()
	how := w.how
	w.calls++
	w.mu.Unlock()
	if how != nil {
		if err := how(ctx); err != nil {
			return err
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.has = slices.Clone(networks)
	return nil
}

func (w *wall) change(f func()) { w.mu.Lock(); defer w.mu.Unlock(); f() }

func (w *wall) read() (has []netip.Prefix, calls int) {
	w.change(func() { has, calls, w.calls = slices.Clone(w.has), w.calls, 0 })
	return has, calls
}

// walled are nodes of one store that keep one firewall; stop ends one of them.
type walled struct {
	blocks *app.Blocks
	fire   *app.Firewall
	stop   func()
}

func wallNodes(t *testing.T, w *wall, n int) (nodes []walled) {
	t.Helper()
	store := memstore.New()
	for range n {
		core := &app.Core{Stores: app.Stores{Blocks: store.Blocks(), Events: store.Events(), Trail: store.Trail(), Cursors: store.Cursors()}, Random: &counter{n: uint64(len(nodes))}, Now: time.Now, Journal: &journal{}}
		b := app.NewBlocks(core, app.BlocksOptions{})
		f, err := app.NewFirewall(core, b, w, app.FirewallOptions{})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		var both sync.WaitGroup
		both.Go(func() { b.Run(ctx) })
		both.Go(func() { f.Run(ctx) })
		stop := func() { cancel(); both.Wait() }
		t.Cleanup(stop)
		nodes = append(nodes, walled{b, f, stop})
	}
	return nodes
}

// What is blocked on any node is at the firewall a second later, what is unblocked or has ended no more; what somebody changes there is put right within a minute; and one node does it, of which
// another takes the place.
func TestFirewallFollowsTheBlocks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &wall{has: []netip.Prefix{netip.MustParsePrefix("203.0.113.1/32")}}
		nodes := wallNodes(t, w, 3)
		other := netip.MustParsePrefix("2001:db8::/64")
		check := func(what string, wantCalls int, want ...netip.Prefix) {
			t.Helper()
			synctest.Wait()
			has, calls := w.read()
			if !slices.Equal(has, want) || calls != wantCalls && wantCalls >= 0 {
				t.Errorf("%s: the firewall has %v after %d calls, want %v after %d", what, has, calls, want, wantCalls)
			}
		}
		after(5 * time.Second)
		check("what was there before", 1)
		for i, n := range nodes {
			p := netip.PrefixFrom(netip.AddrFrom4([4]byte{192, 0, 2, byte(i)}), 32)
			if _, err := n.blocks.Block(t.Context(), op, p, app.BlockOptions{}); err != nil {
				t.Fatal(err)
			}
			after(time.Second)
			check("blocked", 1, p)
			if _, err := n.blocks.Unblock(t.Context(), op, p); err != nil {
				t.Fatal(err)
			}
			after(time.Second)
			check("unblocked", 1)
		}
		if _, err := nodes[1].blocks.Block(t.Context(), op, network, app.BlockOptions{For: 10 * time.Second}); err != nil {
			t.Fatal(err)
		}
		if _, err := nodes[2].blocks.Block(t.Context(), op, other, app.BlockOptions{For: time.Hour}); err != nil {
			t.Fatal(err)
		}
		after(time.Second)
		check("two", -1, network, other)
		after(9 * time.Second)
		check("one has ended", 1, other)
		after(50 * time.Second)
		check("nothing has changed", 0, other)
		w.change(func() { w.has = nil })
		after(11 * time.Second)
		check("somebody had changed it", 1, other)
		holding := slices.IndexFunc(nodes, func(n walled) bool { return n.fire.Status().Holding })
		nodes[holding].stop()
		after(4 * time.Second)
		check("another node", 1, other)
		if _, err := nodes[(holding+1)%3].blocks.Unblock(t.Context(), op, other); err != nil {
			t.Fatal(err)
		}
		after(time.Second)
		check("unblocked at another", 1)
	})
}

// A firewall that fails or hangs keeps nobody from blocking; how old the oldest change is, and how often it was tried, is told; and it has the newest list once it takes one.
func TestFirewallThatFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &wall{}
		nodes := wallNodes(t, w, 1)
		after(5 * time.Second)
		for _, how := range []func(context.Context) error{
			func(context.Context) error { return errors.New("no") },
			func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() },
			func(context.Context) error { panic("a fault of the library's") },
		} {
			w.change(func() { w.how = how })
			began := time.Now()
			if _, err := nodes[0].blocks.Block(t.Context(), op, network, app.BlockOptions{}); err != nil || !nodes[0].blocks.Blocked(blockedAddress) || time.Since(began) > 0 {
				t.Fatalf("block: %v after %v", err, time.Since(began))
			}
			after(5 * time.Minute)
			if st := nodes[0].fire.Status(); st.Err == nil || st.Tries < 2 || st.Lag < time.Minute {
				t.Errorf("status: %+v", st)
			}
			w.change(func() { w.how = nil })
			after(2 * time.Minute)
			if has, _ := w.read(); !slices.Equal(has, []netip.Prefix{network}) {
				t.Errorf("the firewall has %v", has)
			}
			if st := nodes[0].fire.Status(); st.Err != nil || st.Tries != 0 || st.Lag != 0 {
				t.Errorf("status once it answers: %+v", st)
			}
			if _, err := nodes[0].blocks.Unblock(t.Context(), op, network); err != nil {
				t.Fatal(err)
			}
			after(time.Second)
			if has, _ := w.read(); len(has) != 0 {
				t.Errorf("the firewall has %v after the end", has)
			}
		}
	})
	if st := (*app.Firewall)(nil).Status(); st != (app.DutyStatus{}) {
		t.Errorf("without one: %+v", st)
	}
}
