package bench_test

import (
	"context"
	"crypto/rand"
	"fmt"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/xteam/xteam/adapters/jwtcodec"
	"github.com/xteam/xteam/adapters/memstore"
	"github.com/xteam/xteam/app"
	"github.com/xteam/xteam/app/view"
	"github.com/xteam/xteam/domain/id"
	"github.com/xteam/xteam/domain/instant"
	"github.com/xteam/xteam/domain/keyset"
	"github.com/xteam/xteam/domain/revocation"
	"github.com/xteam/xteam/domain/secret"
	"github.com/xteam/xteam/domain/token"
)

var (
	signing  = secret.New("a-secret-of-at-least-32-bytes-for-the-bench")
	tunables = app.Tunables{Issuer: "xteam", Audience: "xteam", Access: 30 * time.Minute, Refresh: 7 * 24 * time.Hour, Session: 30 * 24 * time.Hour, Leeway: 30 * time.Second}
)

func random[T ~[16]byte]() T {
	v, err := id.New[T](rand.Reader)
	if err != nil {
		panic(err)
	}
	return v
}

func newCodec(b *testing.B, o jwtcodec.Options) *jwtcodec.Codec {
	ring, err := keyset.Ring{Name: keyset.Signing}.Add(keyset.Key{ID: jwtcodec.SymmetricKeyID(signing), Purpose: keyset.Sign, Algorithm: "HS256", Secret: signing}, false, instant.Of(time.Now()))
	if err != nil {
		b.Fatal(err)
	}
	codec := jwtcodec.New(o)
	if err := codec.SetRing(ring); err != nil {
		b.Fatal(err)
	}
	return codec
}

func newToken(b *testing.B, codec *jwtcodec.Codec) string {
	now := instant.Unix(time.Now().Unix())
	text, err := codec.Sign(token.Claims{ID: random[id.Token](), Subject: random[id.User](), Session: random[id.Session](), Issuer: "xteam", Audience: []string{"xteam"}, ClientID: "xteam",
		Roles: []string{"user"}, Generation: 3, IssuedAt: now, NotBefore: now, ExpiresAt: now.Add(time.Hour)})
	if err != nil {
		b.Fatal(err)
	}
	return text.RevealPlaintext()
}

// bareClaims is what golang-jwt's own parse decodes the same token into.
type bareClaims struct {
	jwt.RegisteredClaims
	Client string   `json:"client_id"`
	Sid    string   `json:"sid"`
	Gen    int64    `json:"gen"`
	Epoch  int64    `json:"ep"`
	Scope  string   `json:"scope"`
	Roles  []string `json:"roles"`
}

// bareParse is golang-jwt with the checks that it has for the same policy.
func bareParse(b *testing.B, text string) func() {
	p := jwt.NewParser(jwt.WithValidMethods([]string{"HS256"}), jwt.WithIssuer("xteam"), jwt.WithAudience("xteam"), jwt.WithExpirationRequired(), jwt.WithLeeway(30*time.Second))
	key := []byte(signing.RevealPlaintext())
	return func() {
		var c bareClaims
		if _, err := p.ParseWithClaims(text, &c, func(*jwt.Token) (any, error) { return key, nil }); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkAdmit asks the guard about a token that it has seen before, among 100,000 live revocations.
func BenchmarkAdmit(b *testing.B) {
	store := memstore.New()
	for range 100 {
		entries := make([]revocation.Entry, 1000)
		for i := range entries {
			entries[i] = entry(i)
		}
		if err := store.Revocations().Record(b.Context(), entries...); err != nil {
			b.Fatal(err)
		}
	}
	v := view.New(view.Options{MaxStaleness: time.Hour}, view.Source{Name: "database", Truth: true, Revocations: store.Revocations()})
	ctx, stop := context.WithCancel(b.Context())
	done := make(chan struct{})
	go func() { defer close(done); _ = v.Run(ctx) }()
	defer func() { stop(); <-done }()
	if err := v.Ready(ctx); err != nil {
		b.Fatal(err)
	}
	codec := newCodec(b, jwtcodec.Options{})
	guard := app.NewGuard(&app.Core{View: v, Codec: codec, Now: time.Now, Tunables: tunables})
	text := newToken(b, codec)
	admit := func() {
		if _, err := guard.Admit(text); err != nil {
			b.Fatal(err)
		}
	}
	admit()
	bare := bareParse(b, text)
	ns, base := inTurns(7, func() float64 { return cost(100*time.Millisecond, admit) }, func() float64 { return cost(100*time.Millisecond, bare) })
	allocs := testing.AllocsPerRun(1000, admit)
	metric(b, ns.median(), "ns/admit")
	metric(b, allocs, "allocs/admit")
	report.add(row{figure: "Guard.Admit, warm", goal: "≤ 2 µs", measured: ns.show("%.0f") + " ns", baseline: "golang-jwt's parse " + base.shown("%.0f", "ns"),
		ratio: fmt.Sprintf("%.3f", ns.over(base).median()), met: ns.median() <= 2000})
	report.add(row{figure: "Guard.Admit, warm: allocations", goal: "≤ 4", measured: fmt.Sprintf("%.0f", allocs), met: allocs <= 4})
}

// BenchmarkColdParse verifies an HS256 token without the cache, and holds its claims against the policy.
func BenchmarkColdParse(b *testing.B) {
	codec := newCodec(b, jwtcodec.Options{CacheBytes: -1})
	text := newToken(b, codec)
	policy := tunables.Policy()
	cold := func() {
		c, err := codec.Parse(text)
		if err == nil {
			err = policy.Check(c, instant.Of(time.Now()))
		}
		if err != nil {
			b.Fatal(err)
		}
	}
	bare := bareParse(b, text)
	cold()
	bare()
	ns, base := inTurns(11, func() float64 { return cost(200*time.Millisecond, cold) }, func() float64 { return cost(200*time.Millisecond, bare) })
	ratio := ns.over(base)
	metric(b, ratio.median(), "x-of-golang-jwt")
	report.add(row{figure: "HS256, cold: Parse and Check", goal: "≤ 1.2 × golang-jwt", measured: ns.show("%.0f") + " ns", baseline: "golang-jwt's parse " + base.shown("%.0f", "ns"),
		ratio: ratio.show("%.2f"), met: ratio.median() <= 1.2})
}
