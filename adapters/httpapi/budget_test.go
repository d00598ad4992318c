//go:build !race

package httpapi_test

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/xteam/xteam/adapters/httpapi"
	"github.com/xteam/xteam/app"
	"github.com/xteam/xteam/domain/account"
)

// TestChainBudget: a guarded GET allocates no more than it did when it was measured; the limits add the text of the keys, the decisions and the text of the headers.
func TestChainBudget(t *testing.T) {
	l := newLimited(t, app.LimiterOptions{PerAddress: 1e9, Read: 1e9})
	l.user("ann", account.RoleUser)
	r := httptest.NewRequest("GET", "/api/v1/users/me", http.NoBody)
	r.Header.Set("Authorization", "Bearer "+l.tokens("ann").AccessToken)
	w := &sink{http.Header{}}
	for name, try := range map[string]struct {
		h    http.Handler
		r    *http.Request
		most float64
	}{"limits": {l.h, r, 7}, "none": {l.service.h, r, 4}, "plain": {l.h, httpapi.OverPlain(r), 6}} {
		if n := testing.AllocsPerRun(100, func() { clear(w.h); try.h.ServeHTTP(w, try.r) }); n > try.most {
			t.Errorf("%s: %v allocations, want at most %v", name, n, try.most)
		}
	}
}
