package e2e_test

import (
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
)

// TestSignInsWait: a server whose gate of the hasher is full says when to come again, which is no defect; the sign-ins of these tests do as they are told.
func TestSignInsWait(t *testing.T) {
	var asked atomic.Int64
	busy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if asked.Add(1) == 1 {
			w.Header().Set("Retry-After", "1")
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		_, _ = w.Write([]byte(`{"access_token":"a token"}`))
	}))
	defer busy.Close()
	s := &server{t: t, base: busy.URL}
	if a := s.signIn("ann@example.com"); a.Access != "a token" || asked.Load() != 2 {
		t.Errorf("got %q after %d requests, want the token of the second", a.Access, asked.Load())
	}
}
