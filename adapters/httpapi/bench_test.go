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
