package bench_test

import (
	"context"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/xteam/xteam/adapters/httpapi"
	"github.com/xteam/xteam/adapters/metrics"
	"github.com/xteam/xteam/app"
	"github.com/xteam/xteam/app/xteam"
	"github.com/xteam/xteam/domain/secret"
	"github.com/xteam/xteam/ports"
)

// BenchmarkProfile answers guarded GETs in this process for a while, by one token and by a thousand, so that `make profile` can write down where the time goes: by that
// profile `make build` optimises. It measures nothing.
func BenchmarkProfile(b *testing.B) {
	if os.Getenv("XTEAM_BENCH_PROFILE") == "" {
		b.Skip("only make profile wants it")
	}
	const plenty = 1_000_000_000
	x, err := xteam.Open(b.Context(), xteam.Options{Dir: b.TempDir(), Secrets: signs{}, Meter: metrics.New(), BcryptCost: 10, Limits: app.LimiterOptions{PerAddress: plenty, Auth: plenty, Read: plenty}})
	if err != nil {
		b.Fatal(err)
	}
	defer x.Close()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	served := httpapi.Server(x.Handler(), slog.New(slog.DiscardHandler))
	go func() { _ = served.Serve(httpapi.Plain(l)) }()
	defer served.Close()
	s := &server{base: "http://" + l.Addr().String()}
	resp, err := http.Post(s.base+"/api/v1/auth/register", "application/json", strings.NewReader(`{"email":"`+email+`","username":"bench","password":"`+password+`"}`))
	if err != nil || resp.StatusCode != http.StatusCreated {
		b.Fatalf("register: got %v (%v)", resp, err)
	}
	_ = resp.Body.Close()
	token, _ := s.signIn(b)
	for _, tokens := range [][]string{others(b, token, 1000), {token}} {
		s.load(b, mePath, tokens, 32, 10*time.Second)
	}
}

// signs is a source of secrets with the key that the benchmarks sign with.
type signs struct{}

func (signs) Get(_ context.Context, name string) (secret.Text, error) {
	if name == app.SecretKey {
		return signing, nil
	}
	return secret.Text{}, ports.ErrNotFound
}
