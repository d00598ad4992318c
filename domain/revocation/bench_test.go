package revocation_test

import (
	"math/rand/v2"
	"runtime"
	"testing"

	"github.com/xteam/xteam/domain/instant"
	"github.com/xteam/xteam/domain/revocation"
	"github.com/xteam/xteam/domain/token"
)

const million = 1_000_000

// numbered is the n-th of a fixed series of ids that look random.
func numbered(n uint64) [16]byte {
	r := rand.NewPCG(n, 1)
	return words(r.Uint64(), r.Uint64())
}

func entry(kind revocation.Kind, n uint64) revocation.Entry {
	e := revocation.Entry{Kind: kind, Reason: revocation.Logout, At: 1_790_000_000_000_000, Until: 1_790_003_600_000_000}
	switch kind {
	case revocation.Session:
		e.Session = numbered(n)
	case revocation.User:
		e.User, e.Min = numbered(n), 2
	default:
		e.Token = numbered(n)
	}
	return e
}

func heap() int {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int(m.HeapAlloc)
}

// TestAnEntryIsSmall measures the heap all the way to a million live entries, so that no lucky size hides an unlucky one.
func TestAnEntryIsSmall(t *testing.T) {
	for _, kind := range []revocation.Kind{revocation.Token, revocation.User} {
		t.Run(kind.String(), func(t *testing.T) {
			before := heap()
			set := revocation.NewSet()
			least, most := 1e9, 0.0
			for n := range uint64(million) {
				set.Add(entry(kind, n))
				if n+1 >= million/2 && (n+1)%(million/40) == 0 {
					each := float64(heap()-before) / float64(n+1)
					least, most = min(least, each), max(most, each)
				}
			}
			t.Logf("%.1f to %.1f bytes an entry", least, most)
			if most > 64 {
				t.Errorf("%.1f bytes an entry, want at most 64", most)
			}
			if gone := set.Sweep(instant.Forever); gone != million {
				t.Errorf("Sweep = %d, want %d", gone, million)
			}
			if each := float64(heap()-before) / million; each > 1 {
				t.Errorf("%.1f bytes an entry stay after a sweep of all", each)
			}
			runtime.KeepAlive(set)
		})
	}
}

// rules are a few of what names no id, as an incident leaves them behind.
func rules(set *revocation.Set) {
	for _, kid := range []string{"a-key-that-was-lost", "another-key-that-was-lost"} {
		set.Add(revocation.Entry{Kind: revocation.Key, KeyID: kid, Reason: revocation.KeyRevoked, At: 1, Until: instant.Forever})
	}
	set.Add(revocation.Entry{Kind: revocation.Epoch, Epoch: 1, Reason: revocation.EpochRaised, At: 1, Until: instant.Forever})
	set.Add(revocation.Entry{Kind: revocation.IssuedBefore, Before: 1_000, Reason: revocation.BeforeTime, At: 1_001, Until: instant.Forever})
}

// BenchmarkWithdraws is one full check: by jti, sid, user, kid, epoch and issued-before. Each is of another token, so that what it
// looks up is not in the processor's caches; the claims themselves are, as in a request that has just parsed them.
func BenchmarkWithdraws(b *testing.B) {
	for name, kinds := range map[string][]revocation.Kind{
		"1M tokens": {revocation.Token},
		"1M of all": {revocation.Token, revocation.Session, revocation.User},
	} {
		set := revocation.NewSet()
		rules(set)
		for n := range uint64(million) {
			set.Add(entry(kinds[n%uint64(len(kinds))], n))
		}
		drawn := make([][16]byte, 2*million) // the first million is in the set
		for n := range drawn {
			drawn[n] = numbered(uint64(n))
		}
		c := token.Claims{KeyID: "0123456789abcdef", Generation: 1, Epoch: 1, IssuedAt: 2_000}
		b.Run(name+"/good", func(b *testing.B) {
			b.ReportAllocs()
			i := 0
			for b.Loop() {
				c.ID, c.Session, c.Subject = drawn[million+i], drawn[million+i+1], drawn[million+i+2]
				if _, ok := set.Withdraws(&c); ok {
					b.Fatal("withdrawn")
				}
				i = (i + 3) % (million - 4)
			}
		})
		b.Run(name+"/revoked", func(b *testing.B) {
			b.ReportAllocs()
			i := 0
			for b.Loop() {
				c.ID, c.Session, c.Subject = drawn[i], drawn[million+i+1], drawn[million+i+2]
				if _, ok := set.Withdraws(&c); !ok {
					b.Fatal("not withdrawn")
				}
				i = (i + 3) % (million - 4)
			}
		})
	}
}

// BenchmarkAdd is how long a million entries take to come in, to a set that starts empty.
func BenchmarkAdd(b *testing.B) {
	list := make([]revocation.Entry, million)
	for n := range list {
		list[n] = entry(revocation.Token, uint64(n))
	}
	for b.Loop() {
		set := revocation.NewSet()
		for i := range list {
			set.Add(list[i])
		}
	}
	b.ReportMetric(float64(b.N)*million/b.Elapsed().Seconds()/1e6, "M/s")
}
