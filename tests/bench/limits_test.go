package bench_test

import (
	"crypto/rand"
	"fmt"
	"log/slog"
	"net/netip"
	"runtime"
	"testing"
	"time"

	"github.com/xteam/xteam/adapters/journal"
	"github.com/xteam/xteam/adapters/memstore"
	"github.com/xteam/xteam/app"
)

// BenchmarkMillionClients sends one request of each of a million addresses through the limiter, and looks at what it keeps of them, which is two buckets each: none shares
// another's. Then it asks of one client among them, and of one in an empty limiter.
func BenchmarkMillionClients(b *testing.B) {
	begun := time.Now()
	newLimiter := func() (*app.Limiter, *memstore.Buckets) {
		buckets := memstore.NewBuckets(memstore.BucketsOptions{})
		l, err := app.NewLimiter(buckets, journal.New(slog.New(slog.DiscardHandler)), rand.Reader,
			app.LimiterOptions{PerAddress: 1_000_000_000, Read: 1_000_000_000, Now: func() time.Time { return begun }}) // a clock that stands: nothing is full again
		if err != nil {
			b.Fatal(err)
		}
		return l, buckets
	}
	take := func(l *app.Limiter, i int) {
		a := netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)})
		if _, err := l.Take(b.Context(), app.Charge{Class: app.Read, Address: a}); err != nil {
			b.Fatal(err)
		}
	}
	before := heap()
	full, buckets := newLimiter()
	for i := range million {
		take(full, i)
	}
	each := float64(heap()-before) / million
	if got := buckets.Len(); got != 2*million {
		b.Fatalf("%d buckets are kept, want %d", got, 2*million)
	}
	empty, _ := newLimiter()
	i := 0
	ns, alone := inTurns(7, func() float64 {
		return cost(100*time.Millisecond, func() { i = (i*1_664_525 + 1_013_904_223) % million; take(full, i) })
	},
		func() float64 { return cost(100*time.Millisecond, func() { take(empty, 7) }) })
	runtime.KeepAlive(buckets)
	metric(b, each, "B/client")
	metric(b, ns.median(), "ns/take")
	report.add(row{figure: "1,000,000 clients in the limiter", goal: "≤ 128 MiB", measured: fmt.Sprintf("%.0f MiB, %.0f bytes each", each*million/(1<<20), each), met: each*million <= 128<<20})
	report.add(row{figure: "Limiter.Take among a million clients", goal: "≤ 2 µs", measured: ns.show("%.0f") + " ns", baseline: "alone " + alone.shown("%.0f", "ns"),
		ratio: ns.over(alone).show("%.2f"), met: ns.median() <= 2000})
}
