package graphqlapi_test

import (
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/xteam/xteam/app/xteam"
)

func BenchmarkMe(b *testing.B) {
	s := newSystem(b, xteam.Options{})
	ann := s.User("ann")
	token, _ := s.SignIn(ann)
	body := `{"query":"{ me { id email username fullName role isActive createdAt } }"}`
	b.ReportAllocs()
	for b.Loop() {
		r := httptest.NewRequest("POST", "/graphql", strings.NewReader(body))
		r.Header.Set("Content-Type", "application/json")
		r.Header.Set("Authorization", "Bearer "+token)
		w := httptest.NewRecorder()
		s.h.ServeHTTP(w, r)
		if w.Code != 200 {
			b.Fatal(w.Body)
		}
	}
}
