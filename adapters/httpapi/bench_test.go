package httpapi_test

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/xteam/xteam/domain/account"
)

// sink is an answer that nobody reads.
type sink struct{ h http.Header }

func (s *sink) Header() http.Header         { return s.h }
func (s *sink) Write(b []byte) (int, error) { return len(b), nil }
func (s *sink) WriteHeader(int)             {}

// BenchmarkMe is a guarded GET from the chain's door to the answer, over the store in memory.
func BenchmarkMe(b *testing.B) {
	s := newService(b)
	s.user("ann", account.RoleUser)
	r := httptest.NewRequest("GET", "/api/v1/users/me", http.NoBody)
	r.Header.Set("Authorization", "Bearer "+s.signIn("ann").AccessToken)
	w := &sink{http.Header{}}
	b.ReportAllocs()
	for b.Loop() {
		clear(w.h)
		s.h.ServeHTTP(w, r)
	}
}

// TestChainBudget: a guarded GET allocates no more than it did when it was measured.
func TestChainBudget(t *testing.T) {
	s := newService(t)
	s.user("ann", account.RoleUser)
	r := httptest.NewRequest("GET", "/api/v1/users/me", http.NoBody)
	r.Header.Set("Authorization", "Bearer "+s.signIn("ann").AccessToken)
	w := &sink{http.Header{}}
	if n := testing.AllocsPerRun(100, func() { clear(w.h); s.h.ServeHTTP(w, r) }); n > 12 {
		t.Errorf("%v allocations, want at most 12", n)
	}
}
