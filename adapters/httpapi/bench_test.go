package httpapi_test

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/xteam/xteam/app"
	"github.com/xteam/xteam/domain/account"
)

// sink is an answer that nobody reads.
type sink struct{ h http.Header }

func (s *sink) Header() http.Header         { return s.h }
func (s *sink) Write(b []byte) (int, error) { return len(b), nil }
func (s *sink) WriteHeader(int)             {}

// BenchmarkMe is a guarded GET from the chain's door to the answer, over the store in memory; each answer's headers are a new map, as net/http's are.
func BenchmarkMe(b *testing.B) {
	l := newLimited(b, app.LimiterOptions{PerAddress: 1e9, Read: 1e9})
	l.user("ann", account.RoleUser)
	r := httptest.NewRequest("GET", "/api/v1/users/me", http.NoBody)
	r.Header.Set("Authorization", "Bearer "+l.tokens("ann").AccessToken)
	for name, h := range map[string]http.Handler{"limits": l.h, "none": l.service.h} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				l.clock.Add(1000)
				h.ServeHTTP(&sink{http.Header{}}, r)
			}
		})
	}
}

// TestChainBudget: a guarded GET allocates no more than it did when it was measured; the limits add the text of the keys, the decisions and the text of the headers.
func TestChainBudget(t *testing.T) {
	l := newLimited(t, app.LimiterOptions{PerAddress: 1e9, Read: 1e9})
	l.user("ann", account.RoleUser)
	r := httptest.NewRequest("GET", "/api/v1/users/me", http.NoBody)
	r.Header.Set("Authorization", "Bearer "+l.tokens("ann").AccessToken)
	w := &sink{http.Header{}}
	for name, try := range map[string]struct {
		h    http.Handler
		most float64
	}{"limits": {l.h, 7}, "none": {l.service.h, 4}} {
		if n := testing.AllocsPerRun(100, func() { clear(w.h); try.h.ServeHTTP(w, r) }); n > try.most {
			t.Errorf("%s: %v allocations, want at most %v", name, n, try.most)
		}
	}
}
