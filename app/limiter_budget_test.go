//go:build !race

package app_test

import (
	"context"
	"net/netip"
	"testing"

	"github.com/xteam/xteam/app"
)

// Take allocates the text of its keys and the answer of the buckets, and nothing else.
func TestLimiterBudget(t *testing.T) {
	g := newGate(t, app.LimiterOptions{PerAddress: 1e9, Read: 1e9})
	for _, a := range []netip.Addr{near, netip.MustParseAddr("2001:db8::1")} {
		c := app.Charge{Class: app.Read, Address: a, User: someone(1)}
		if n := testing.AllocsPerRun(1000, func() { g.clock.Add(1); _, _ = g.Take(context.Background(), c) }); n > 2 {
			t.Errorf("from %v: %v allocations, want at most 2", a, n)
		}
	}
}

func BenchmarkLimiterTake(b *testing.B) {
	g := newGate(b, app.LimiterOptions{PerAddress: 1e9, Read: 1e9})
	for name, a := range map[string]netip.Addr{"IPv4": near, "IPv6": netip.MustParseAddr("2001:db8::1")} {
		b.Run(name, func(b *testing.B) {
			c := app.Charge{Class: app.Read, Address: a, User: someone(1)}
			b.ReportAllocs()
			for b.Loop() {
				g.clock.Add(1)
				if _, err := g.Take(context.Background(), c); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
