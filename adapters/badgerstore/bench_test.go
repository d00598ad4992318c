package badgerstore_test

import (
	"crypto/rand"
	"errors"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/xteam/xteam/adapters/badgerstore"
	"github.com/xteam/xteam/domain/id"
	"github.com/xteam/xteam/domain/instant"
	"github.com/xteam/xteam/domain/revocation"
	"github.com/xteam/xteam/ports"
)

// BenchmarkOpen opens and closes an empty store, which exists already.
func BenchmarkOpen(b *testing.B) {
	dir := b.TempDir()
	open(b, dir).close(b)
	for b.Loop() {
		db, err := badgerstore.Open(dir, badgerstore.Options{})
		if err != nil {
			b.Fatal(err)
		}
		b.StopTimer()
		if err := db.Close(); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
	}
}

// BenchmarkRecord records one entry a call, from one caller and from 64.
func BenchmarkRecord(b *testing.B) {
	for _, callers := range []int{1, 64} {
		b.Run(map[int]string{1: "callers=1", 64: "callers=64"}[callers], func(b *testing.B) {
			s := open(b, b.TempDir())
			defer s.close(b)
			b.ResetTimer()
			var group sync.WaitGroup
			for c := range callers {
				group.Go(func() {
					for range (b.N + callers - 1 - c) / callers {
						if err := s.Revocations().Record(b.Context(), tokenEntry(time.Hour)); err != nil {
							b.Error(err)
							return
						}
					}
				})
			}
			group.Wait()
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "entries/s")
		})
	}
}

// BenchmarkLoad delivers a million live entries to a new follower of a store that was opened again.
func BenchmarkLoad(b *testing.B) {
	const live = 1_000_000
	dir := b.TempDir()
	s := open(b, dir)
	entries := make([]revocation.Entry, live)
	for i := range entries {
		entries[i] = tokenEntry(time.Hour)
	}
	start := time.Now()
	if err := s.Revocations().Record(b.Context(), entries...); err != nil {
		b.Fatal(err)
	}
	b.Logf("recorded in one call: %v", time.Since(start))
	s.close(b)
	runtime.GC() // entries are not used any more
	for b.Loop() {
		start := time.Now()
		s := open(b, dir)
		b.ReportMetric(float64(time.Since(start).Milliseconds()), "ms-to-open")
		got := 0
		err := s.Revocations().Follow(b.Context(), func(n ports.News) error {
			got += len(n.Entries)
			if n.Caught {
				return errEnough
			}
			return nil
		})
		if !errors.Is(err, errEnough) || got != live {
			b.Fatalf("got %d of %d entries: %v", got, live, err)
		}
		b.StopTimer()
		s.close(b)
		b.StartTimer()
	}
}

// BenchmarkFind reads sessions, one after the other and by all processors at once.
func BenchmarkFind(b *testing.B) {
	s := open(b, b.TempDir())
	defer s.close(b)
	var all []id.Session
	for range 100 {
		x := aSession()
		if err := s.Sessions().Create(b.Context(), x, ports.Effects{}); err != nil {
			b.Fatal(err)
		}
		all = append(all, x.ID)
	}
	find := func(b *testing.B, n int) {
		if _, err := s.Sessions().Find(b.Context(), all[n%len(all)]); err != nil {
			b.Fatal(err)
		}
	}
	b.Run("alone", func(b *testing.B) {
		b.ReportAllocs()
		for n := 0; b.Loop(); n++ {
			find(b, n)
		}
	})
	b.Run("beside others", func(b *testing.B) {
		b.RunParallel(func(pb *testing.PB) {
			for n := 0; pb.Next(); n++ {
				find(b, n)
			}
		})
	})
}

var errEnough = errors.New("enough")

func tokenEntry(left time.Duration) revocation.Entry {
	now := instant.Of(time.Now())
	v := revocation.Entry{Kind: revocation.Token, Reason: revocation.Logout, By: "operator", At: now, Until: now.Add(left)}
	if _, err := rand.Read(v.Token[:]); err != nil {
		panic(err)
	}
	return v
}

// BenchmarkSweep looks through a million live entries.
func BenchmarkSweep(b *testing.B) {
	s := open(b, b.TempDir())
	defer s.close(b)
	entries := make([]revocation.Entry, 1_000_000)
	for i := range entries {
		entries[i] = tokenEntry(time.Hour)
	}
	if err := s.Revocations().Record(b.Context(), entries...); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if err := s.Sweep(); err != nil {
			b.Fatal(err)
		}
	}
}
