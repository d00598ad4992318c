package porttest

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"testing"

	"github.com/xteam/xteam/ports"
)

// Firewall is the suite of ports.Firewall. The constructor answers a firewall and how to see what its other side turns away.
func Firewall(t *testing.T, open func(*testing.T) (ports.Firewall, func() []netip.Prefix)) {
	networks := func(text ...string) (all []netip.Prefix) {
		for _, one := range text {
			all = append(all, netip.MustParsePrefix(one))
		}
		return all
	}
	sorted := func(all []netip.Prefix) []netip.Prefix {
		all = slices.Clone(all)
		slices.SortFunc(all, netip.Prefix.Compare)
		return all
	}
	set := func(t *testing.T, f ports.Firewall, has func() []netip.Prefix, want []netip.Prefix) {
		t.Helper()
		if err := f.Set(t.Context(), want); err != nil {
			t.Fatalf("Set of %d networks: %v", len(want), err)
		}
		if got := sorted(has()); !slices.Equal(got, sorted(want)) {
			t.Fatalf("turned away are %d networks, %.5v…, want %d: %.5v…", len(got), got, len(want), sorted(want))
		}
	}
	t.Run("the whole list, each time", func(t *testing.T) {
		f, has := open(t)
		for _, want := range [][]netip.Prefix{
			networks("192.0.2.1/32"),
			networks("192.0.2.1/32", "192.0.2.0/24", "2001:db8::/32", "2001:db8::1/128"), // one within the other
			networks("2001:db8::/32"),
			networks("198.51.100.0/24"),
			networks("198.51.100.0/24"),
			nil,
			nil,
		} {
			set(t, f, has, want)
		}
	})
	t.Run("as many as can be blocked", func(t *testing.T) {
		f, has := open(t)
		var many []netip.Prefix
		for i := range 5_000 {
			text := fmt.Sprintf("10.%d.%d.%d/32", i>>16&255, i>>8&255, i&255)
			if i%5 == 0 {
				text = fmt.Sprintf("2001:db8:%x::/48", i)
			}
			many = append(many, netip.MustParsePrefix(text))
		}
		set(t, f, has, many)
		set(t, f, has, many[:1])
	})
	t.Run("calls that overlap", func(t *testing.T) {
		f, has := open(t)
		var all sync.WaitGroup
		for i := range 4 {
			all.Go(func() {
				_ = f.Set(t.Context(), networks(fmt.Sprintf("192.0.2.%d/32", i), fmt.Sprintf("2001:db8::%x/128", i)))
			})
		}
		all.Wait()
		set(t, f, has, networks("192.0.2.7/32", "2001:db8::7/128"))
	})
	t.Run("a cancelled context", func(t *testing.T) {
		f, _ := open(t)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if f.Set(ctx, networks("192.0.2.1/32")) == nil {
			t.Error("Set succeeded")
		}
	})
}
