//go:build !race

package memstore_test

import (
	"context"
	"encoding/binary"
	"runtime"
	"testing"

	"github.com/xteam/xteam/adapters/memstore"
	"github.com/xteam/xteam/domain/instant"
	"github.com/xteam/xteam/domain/ratelimit"
	"github.com/xteam/xteam/ports"
)

const began instant.Instant = 4_000_000_000_000_000

// client takes one token each from two buckets of client i, as a request does.
func client(t testing.TB, b *memstore.Buckets, i int, now instant.Instant) []ratelimit.Decision {
	var k [16]byte
	binary.BigEndian.PutUint64(k[8:], uint64(i))
	ds, err := b.Take(context.Background(), now,
		ports.Demand{Key: "address " + string(k[:]), Limit: ratelimit.PerMinute(60), N: 1}, ports.Demand{Key: "read " + string(k[:]), Limit: ratelimit.PerMinute(59), N: 1})
	if err != nil {
		t.Fatal(err)
	}
	return ds
}

func live() int64 {
	runtime.GC()
	runtime.GC() // what the first found finalizers of
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// A spent bucket is still spent after a million other clients with two buckets each (CVE-2024-21662), all of them have their own, and they take less than 128 MiB. Another million,
// while none of the first are full again, takes no more.
func TestAMillionClients(t *testing.T) {
	if testing.Short() {
		t.Skip("fills a table of two million buckets")
	}
	const most = 128 << 20
	before := live()
	b := memstore.NewBuckets(memstore.BucketsOptions{})
	victim := ports.Demand{Key: "victim", Limit: ratelimit.Limit{Capacity: 5, Period: 3600e9}, N: 5}
	if ds, err := b.Take(t.Context(), began, victim); err != nil || !ds[0].OK {
		t.Fatalf("Take: %v, %v", ds, err)
	}
	victim.N = 1
	refused := func(when string) {
		t.Helper()
		if ds, err := b.Take(t.Context(), began, victim); err != nil || ds[0].OK || ds[0].Remaining != 0 {
			t.Errorf("%s: the spent bucket answers %+v, %v, want a refusal", when, ds, err)
		}
	}
	for i := range 1_000_000 {
		if ds := client(t, b, i, began); ds[0].Remaining != 59 || ds[1].Remaining != 58 {
			t.Fatalf("client %d found %+v: it shares its bucket", i, ds)
		}
	}
	refused("after a million clients")
	if n := b.Len(); n < 2_000_000 {
		t.Errorf("%d buckets are kept, want 2,000,000", n)
	}
	got := live() - before
	t.Logf("%d buckets in %.1f MiB, %.1f bytes each", b.Len(), float64(got)/(1<<20), float64(got)/float64(b.Len()))
	if got > most {
		t.Errorf("a million clients take %d MiB, want less than %d", got>>20, most>>20)
	}
	for i := range 1_000_000 {
		client(t, b, 1_000_000+i, began)
	}
	refused("after two million clients")
	if got := live() - before; got > most {
		t.Errorf("two million clients take %d MiB, want less than %d", got>>20, most>>20)
	}
	// A minute later they are full, and the first newcomers make room.
	for i := range 10_000 {
		if ds := client(t, b, 10_000_000+i, began.Add(120e9)); ds[0].Remaining != 59 {
			t.Fatalf("client %d found %+v, two minutes after the flood", i, ds)
		}
	}
	runtime.KeepAlive(b)
}

// Take from two buckets allocates nothing but its answer.
func TestTakeBudget(t *testing.T) {
	b := memstore.NewBuckets(memstore.BucketsOptions{})
	d := []ports.Demand{{Key: "address 192.0.2.7", Limit: ratelimit.PerMinute(1e9), N: 1}, {Key: "read 0123456789abcdef0123456789abcdef", Limit: ratelimit.PerMinute(1e8), N: 1}}
	now := began
	if n := testing.AllocsPerRun(100, func() { now++; _, _ = b.Take(context.Background(), now, d...) }); n > 1 {
		t.Errorf("%v allocations, want 1", n)
	}
}

func BenchmarkTake(b *testing.B) {
	s := memstore.NewBuckets(memstore.BucketsOptions{})
	d := []ports.Demand{{Key: "address 192.0.2.7", Limit: ratelimit.PerMinute(1e9), N: 1}, {Key: "read 0123456789abcdef0123456789abcdef", Limit: ratelimit.PerMinute(1e8), N: 1}}
	now := began
	b.ReportAllocs()
	for b.Loop() {
		now++
		_, _ = s.Take(context.Background(), now, d...)
	}
}
