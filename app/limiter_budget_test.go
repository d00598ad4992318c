//go:build !race

package app_test

import (
	"context"
	"net/netip"
	"testing"

	"github.com/xteam/xteam/app"
	"github.com/xteam/xteam/domain/token"
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

// What is only counted of a refused credential makes no texts: it is a part of a refused request, which anybody can send any number of.
func TestRefusedBudget(t *testing.T) {
	w := braked(t, app.LimiterOptions{})
	w.user("ann")
	c := w.caller(w.signIn("ann"))
	refuse := func() { w.guard.Refused(context.Background(), home, c, "GET /api/v1/auth/verify", token.ErrExpired) }
	if n := testing.AllocsPerRun(1000, refuse); n > 5 { // where errors are looked into
		t.Errorf("%v allocations, want at most 5", n)
	}
	charge := app.Charge{Class: app.Auth, Address: home.Origin.Address}
	var v app.Verdict
	for !v.Exceeded {
		v, _ = w.core.Limiter.Take(context.Background(), charge)
	}
	limited := func() {
		w.core.Limiter.Exceeded(context.Background(), home, "POST /api/v1/auth/login", charge, v)
	}
	if n := testing.AllocsPerRun(1000, limited); n > 0 {
		t.Errorf("a request beyond the limits: %v allocations, want none", n)
	}
}

func BenchmarkRefused(b *testing.B) {
	w := braked(b, app.LimiterOptions{})
	w.user("ann")
	c := w.caller(w.signIn("ann"))
	b.ReportAllocs()
	for b.Loop() {
		w.guard.Refused(context.Background(), home, c, "GET /api/v1/auth/verify", token.ErrExpired)
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
