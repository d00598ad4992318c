package verify_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"

	"github.com/xteam/xteam/app/verify"
	"github.com/xteam/xteam/domain/secret"
	"github.com/xteam/xteam/domain/token"
	"github.com/xteam/xteam/ports"
)

// quiet is a source of revocations of which nothing is revoked: it stands here for adapters/redisstore, or for Options.Feed with an APIKey.
type quiet struct{ ports.Revocations }

func (quiet) Follow(ctx context.Context, fn func(ports.News) error) error {
	if err := fn(ports.News{Caught: true}); err != nil {
		return err
	}
	<-ctx.Done()
	return ctx.Err()
}

// A service protects its handlers with what it knows itself, and asks nobody for a request.
func Example() {
	v, err := verify.Open(context.Background(), verify.Options{Secret: secret.New("a-signing-secret-of-at-least-32-bytes"), Source: quiet{}})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer v.Close()

	orders := v.Protect(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, _ := verify.ClaimsFrom(r.Context())
		_, _ = fmt.Fprintln(w, "the orders of", c.Subject)
	}))
	w := httptest.NewRecorder()
	orders.ServeHTTP(w, httptest.NewRequest("GET", "/orders", http.NoBody))
	fmt.Println(w.Code, w.Header().Get("WWW-Authenticate"))

	_, err = v.Verify("garbage")
	fmt.Println(errors.Is(err, token.ErrMalformed))
	// Output:
	// 401 Bearer realm="xteam"
	// true
}
