package app_test

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"log/slog"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/xteam/xteam/adapters/memstore"
	"github.com/xteam/xteam/app"
	"github.com/xteam/xteam/domain/audit"
	"github.com/xteam/xteam/domain/id"
	"github.com/xteam/xteam/domain/instant"
	"github.com/xteam/xteam/domain/ratelimit"
	"github.com/xteam/xteam/domain/session"
	"github.com/xteam/xteam/ports"
)

var (
	near = netip.MustParseAddr("192.0.2.7")
	far  = netip.MustParseAddr("198.51.100.9")
)

// gate is a limiter over memstore, with a clock to turn.
type gate struct {
	*app.Limiter
	t       testing.TB
	buckets *memstore.Buckets
	journal *journal
	clock   atomic.Int64 // µs
}

func newGate(t testing.TB, o app.LimiterOptions) *gate {
	t.Helper()
	g := &gate{t: t, buckets: memstore.NewBuckets(memstore.BucketsOptions{}), journal: &journal{}}
	g.clock.Store(int64(instant.Of(time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC))))
	if o.Now == nil {
		o.Now = func() time.Time { return instant.Instant(g.clock.Load()).Time() }
	}
	var err error
	if g.Limiter, err = app.NewLimiter(g.buckets, g.journal, rand.Reader, o); err != nil {
		t.Fatal(err)
	}
	return g
}

// take is Take that may be refused, and nothing else.
func (g *gate) take(c app.Charge) (app.Verdict, bool) {
	g.t.Helper()
	v, err := g.Take(g.t.Context(), c)
	if limited := (*ratelimit.LimitedError)(nil); errors.As(err, &limited) {
		if !v.Exceeded || limited.Decision != v.Decision || v.Decision.OK || v.Decision.RetryAfter <= 0 {
			g.t.Errorf("refused with %+v and %+v", limited, v)
		}
		return v, false
	}
	if err != nil {
		g.t.Fatal(err)
	}
	return v, true
}

// admits counts how many of the charges are let through in a row, 100,000 at most.
func (g *gate) admits(charge func(i int) app.Charge) int {
	g.t.Helper()
	for i := range 100_000 {
		if _, ok := g.take(charge(i)); !ok {
			return i
		}
	}
	return 100_000
}

func always(c app.Charge) func(int) app.Charge { return func(int) app.Charge { return c } }

func someone(n byte) id.User { return id.User{n} }

func policy(v app.Verdict) string {
	if v.Policy == nil {
		return ""
	}
	return v.Policy.Name
}

func TestEachClassHasItsLimit(t *testing.T) {
	for name, try := range map[string]struct {
		charge app.Charge
		want   int
		policy string // of the refusal
	}{
		"auth, signed out":      {app.Charge{Class: app.Auth, Address: near}, 5, "auth"},
		"auth, signed in":       {app.Charge{Class: app.Auth, Address: near, User: someone(1)}, 5, "auth"},
		"read":                  {app.Charge{Class: app.Read, Address: near, User: someone(1)}, 60, "address"},
		"write":                 {app.Charge{Class: app.Write, Address: near, User: someone(1)}, 30, "write"},
		"expensive":             {app.Charge{Class: app.Expensive, Address: near, User: someone(1)}, 5, "expensive"},
		"no class":              {app.Charge{Class: app.Unclassed, Address: near}, 60, "address"},
		"refresh":               {app.Charge{Class: app.Refresh, Address: near, Session: id.Session{1}}, 30, "refresh"},
		"refresh, garbage":      {app.Charge{Class: app.Refresh, Address: near}, 5, "auth"},
		"verify, failed":        {app.Charge{Class: app.Verify, Address: near}, 60, "address"},
		"verify":                {app.Charge{Class: app.Verify, Address: near, User: someone(1), Session: id.Session{1}}, 100_000, ""},
		"health":                {app.Charge{Class: app.Exempt, Address: near}, 100_000, ""},
		"from an unknown place": {app.Charge{Class: app.Unclassed}, 60, "address"},
	} {
		t.Run(name, func(t *testing.T) {
			g := newGate(t, app.LimiterOptions{})
			if got := g.admits(always(try.charge)); got != try.want {
				t.Errorf("let through: got %d, want %d", got, try.want)
			}
			if try.policy == "" {
				if v, _ := g.take(try.charge); v != (app.Verdict{}) {
					t.Errorf("got %+v, want nothing to tell", v)
				}
				return
			}
			v, ok := g.take(try.charge)
			if got := policy(v); ok || got != try.policy {
				t.Errorf("refused by: got %q (let through: %v), want %q", got, ok, try.policy)
			}
			g.clock.Add(v.Decision.RetryAfter.Microseconds() - 1)
			if _, ok := g.take(try.charge); ok {
				t.Error("let through before RetryAfter")
			}
			g.clock.Add(1)
			if _, ok := g.take(try.charge); !ok {
				t.Error("refused after RetryAfter")
			}
		})
	}
}

func TestLimitsAreTunable(t *testing.T) {
	g := newGate(t, app.LimiterOptions{PerAddress: 100, Auth: 1, Read: 2, Write: 3, Expensive: 4, Refresh: 6, Verify: 7})
	for class, want := range map[app.Class]int{app.Auth: 1, app.Read: 2, app.Write: 3, app.Expensive: 4, app.Refresh: 6, app.Verify: 7} {
		if got := g.admits(always(app.Charge{Class: class, Address: far, User: someone(1), Session: id.Session{1}})); got != want {
			t.Errorf("class %d: got %d, want %d", class, got, want)
		}
	}
	if got := g.admits(always(app.Charge{Class: app.Unclassed, Address: near})); got != 100 {
		t.Errorf("an address: got %d, want 100", got)
	}
	for _, c := range []app.Charge{{Class: app.Verify, User: someone(1), Session: id.Session{2}}, {Class: app.Verify, User: someone(3)}} { // another sign-in, and a credential that is of none
		if got := g.admits(always(c)); got != 7 {
			t.Errorf("verify with %+v: got %d, want 7", c, got)
		}
	}
	for _, o := range []app.LimiterOptions{{PerAddress: -1}, {Auth: ratelimit.MaxCapacity + 1}, {Verify: -1}, {Refresh: -5}} {
		if _, err := app.NewLimiter(memstore.NewBuckets(memstore.BucketsOptions{}), &journal{}, rand.Reader, o); !errors.Is(err, ratelimit.ErrInvalid) {
			t.Errorf("%+v: got %v, want ratelimit.ErrInvalid", o, err)
		}
	}
}

// Who is signed in has buckets of their own, whatever the address; who is not shares their address's.
func TestWhoPays(t *testing.T) {
	g := newGate(t, app.LimiterOptions{PerAddress: 1000})
	if got := g.admits(always(app.Charge{Class: app.Write, Address: near, User: someone(1)})); got != 30 {
		t.Fatalf("the first user: got %d, want 30", got)
	}
	if got := g.admits(always(app.Charge{Class: app.Write, Address: near, User: someone(2)})); got != 30 {
		t.Errorf("another user at the same address: got %d, want 30", got)
	}
	if got := g.admits(always(app.Charge{Class: app.Write, Address: far, User: someone(1)})); got != 0 {
		t.Errorf("the first user at another address: got %d, want 0", got)
	}
	if got := g.admits(always(app.Charge{Class: app.Write, Address: near})); got != 30 {
		t.Errorf("nobody, at that address: got %d, want 30", got)
	}
	if got := g.admits(always(app.Charge{Class: app.Write, Address: far})); got != 30 {
		t.Errorf("nobody, at another address: got %d, want 30", got)
	}
	// Each class is counted apart.
	if got := g.admits(always(app.Charge{Class: app.Read, Address: near, User: someone(1)})); got != 60 {
		t.Errorf("the first user reads: got %d, want 60", got)
	}
}

// An API key has one bucket for all its requests, of whatever class and from wherever; what that refuses costs nobody else anything.
func TestAKeyPaysToo(t *testing.T) {
	g := newGate(t, app.LimiterOptions{PerAddress: 1000, PerKey: 10})
	by := func(k byte) func(int) app.Charge {
		return func(i int) app.Charge {
			return app.Charge{Class: []app.Class{app.Read, app.Write}[i%2], Address: netip.AddrFrom4([4]byte{10, k, 0, byte(i)}), User: someone(1), Key: id.APIKey{k}}
		}
	}
	if got := g.admits(by(1)); got != 10 {
		t.Errorf("a key: got %d, want 10", got)
	}
	if v, ok := g.take(by(1)(0)); ok || policy(v) != "api-key" {
		t.Errorf("refused by %q (let through: %v)", policy(v), ok)
	}
	if got := g.admits(by(2)); got != 10 {
		t.Errorf("another key of the same user: got %d, want 10", got)
	}
	if got := g.admits(always(app.Charge{Class: app.Write, Address: near, User: someone(1)})); got != 20 {
		t.Errorf("the user's own writes: got %d, want the 20 that the keys left", got)
	}
	// Over IPv6 there are buckets of three networks beside it; ending itself costs the key's bucket nothing.
	c := app.Charge{Class: app.Read, Address: netip.MustParseAddr("2001:db8::1"), User: someone(3), Session: id.Session{3}, Key: id.APIKey{3}}
	if got := g.admits(always(c)); got != 10 {
		t.Errorf("over IPv6: got %d, want 10", got)
	}
	c.Class, c.Contains = app.Write, true
	if _, ok := g.take(c); !ok {
		t.Error("what contains is refused by the key's bucket")
	}
	g = newGate(t, app.LimiterOptions{PerAddress: 7})
	if got := g.admits(by(1)); got != 7 {
		t.Errorf("with nothing said: got %d, want as many as of an address", got)
	}
}

// A live refresh token is charged to its session alone: an office behind one address whose bucket is empty is not signed out.
func TestRefreshSparesTheAddress(t *testing.T) {
	g := newGate(t, app.LimiterOptions{})
	g.admits(always(app.Charge{Class: app.Unclassed, Address: near}))
	for i := range byte(100) {
		if _, ok := g.take(app.Charge{Class: app.Refresh, Address: near, Session: id.Session{i + 1}}); !ok {
			t.Fatalf("session %d is refused", i)
		}
	}
	if _, ok := g.take(app.Charge{Class: app.Refresh, Address: near}); ok {
		t.Error("garbage is let through at an address that has spent its bucket")
	}
}

// What one bucket refuses costs no other bucket anything, and the answer tells of the bucket that refuses for longest.
func TestAllOrNone(t *testing.T) {
	g := newGate(t, app.LimiterOptions{PerAddress: 10, Auth: 2})
	login := app.Charge{Class: app.Auth, Address: near}
	for want := range 2 {
		v, _ := g.take(login)
		if policy(v) != "auth" || v.Decision.Remaining != int64(1-want) || v.Decision.Limit.Capacity != 2 {
			t.Errorf("sign-in %d: got %+v of %q, want %d left of auth", want, v.Decision, policy(v), 1-want)
		}
	}
	for range 50 {
		if _, ok := g.take(login); ok {
			t.Fatal("the third sign-in is let through")
		}
	}
	v, ok := g.take(app.Charge{Class: app.Unclassed, Address: near})
	if !ok || v.Decision.Remaining != 7 {
		t.Errorf("the address after 2 sign-ins, 50 refused ones and this: got %+v, want 7 left", v.Decision)
	}
	g.admits(always(app.Charge{Class: app.Unclassed, Address: near}))
	if v, _ := g.take(login); policy(v) != "auth" || v.Decision.RetryAfter != 30*time.Second {
		t.Errorf("two buckets refuse: got %q for %v, want auth for 30s, the longer", policy(v), v.Decision.RetryAfter)
	}
}

func TestPoliciesAreNamedApart(t *testing.T) {
	seen := map[string]bool{}
	for _, p := range newGate(t, app.LimiterOptions{}).Policies() {
		if p.Name == "" || seen[p.Name] || p.Limit.Validate() != nil {
			t.Errorf("a policy of the name %q, with %+v", p.Name, p.Limit)
		}
		seen[p.Name] = true
	}
	for _, name := range []string{"address", "address-48", "address-32", "auth", "read", "write", "expensive", "refresh", "verify", "attempts"} {
		if !seen[name] {
			t.Errorf("no policy is named %s", name)
		}
	}
}

func TestTightest(t *testing.T) {
	g := newGate(t, app.LimiterOptions{PerAddress: 60, Read: 60})
	for range 2 { // another user spends of the address's
		g.take(app.Charge{Class: app.Read, Address: near, User: someone(9)})
	}
	if v, _ := g.take(app.Charge{Class: app.Read, Address: near, User: someone(1)}); policy(v) != "address" || v.Decision.Remaining != 57 {
		t.Errorf("got %q with %d left, want address with 57", policy(v), v.Decision.Remaining)
	}
	if v, _ := g.take(app.Charge{Class: app.Read, Address: far, User: someone(9)}); policy(v) != "read" || v.Decision.Remaining != 57 {
		t.Errorf("got %q with %d left, want read with 57", policy(v), v.Decision.Remaining)
	}
}

func TestAddresses(t *testing.T) {
	at := func(s string) app.Charge { return app.Charge{Class: app.Unclassed, Address: netip.MustParseAddr(s)} }
	for name, try := range map[string]struct {
		first, second string
		same          bool
	}{
		"IPv4":                    {"192.0.2.7", "192.0.2.8", false},
		"IPv4 in IPv6":            {"192.0.2.7", "::ffff:192.0.2.7", true},
		"one /64":                 {"2001:db8:1:2:3:4:5:6", "2001:db8:1:2:ffff::1", true},
		"one /64, a zone":         {"fe80::1", "fe80::2%eth0", true},
		"two /64":                 {"2001:db8:1:2::1", "2001:db8:1:3::1", false},
		"IPv4 and what begins so": {"192.0.2.7", "192.0.2.70", false},
	} {
		t.Run(name, func(t *testing.T) {
			g := newGate(t, app.LimiterOptions{})
			g.admits(always(at(try.first)))
			if _, ok := g.take(at(try.second)); ok == try.same {
				t.Errorf("%s, after %s has spent its bucket: let through %v, want %v", try.second, try.first, ok, !try.same)
			}
		})
	}
}

// in is the first address of network n among the networks of that many bits within 2001:db8::/32.
func in(bits, n int) netip.Addr {
	a := netip.MustParseAddr("2001:db8::1").As16()
	binary.BigEndian.PutUint32(a[4:], uint32(n)<<(64-bits))
	return netip.AddrFrom16(a)
}

// Whoever has a whole network of IPv6 is slowed by the network's own buckets: 16 times an address's for a /48, 1,024 times for a /32. The table stays small.
func TestAWholeNetworkIsSlowed(t *testing.T) {
	g := newGate(t, app.LimiterOptions{})
	if got := g.admits(func(i int) app.Charge { return app.Charge{Class: app.Auth, Address: in(64, i)} }); got != 16*5 {
		t.Errorf("sign-ins from the /64s of one /48: got %d, want %d", got, 16*5)
	}
	if v, _ := g.take(app.Charge{Class: app.Auth, Address: in(64, 65_000)}); policy(v) != "auth-48" {
		t.Errorf("refused by: got %q, want auth-48", policy(v))
	}
	if _, ok := g.take(app.Charge{Class: app.Auth, Address: in(48, 1)}); !ok {
		t.Error("the next /48 is refused")
	}
	g = newGate(t, app.LimiterOptions{})
	if got := g.admits(func(i int) app.Charge { return app.Charge{Class: app.Unclassed, Address: in(52, i)} }); got != 1024*60 {
		t.Errorf("requests from the networks of one /32: got %d, want %d", got, 1024*60)
	}
	kept := g.buckets.Len()
	for i := range 1_000_000 {
		v, err := g.Take(t.Context(), app.Charge{Class: app.Unclassed, Address: in(64, i*4096)})
		if err == nil || v.Policy.Name != "address-32" {
			t.Fatalf("/64 number %d of the /32: got %v by %+v, want a refusal by address-32", i, err, v.Policy)
		}
	}
	if got := g.buckets.Len(); got > kept {
		t.Errorf("a million refused /64s: %d buckets more", got-kept)
	}
	if _, ok := g.take(app.Charge{Class: app.Auth, Address: netip.MustParseAddr("2001:db9::1")}); !ok {
		t.Error("the next /32 is refused")
	}
}

func TestShadowAndOff(t *testing.T) {
	g := newGate(t, app.LimiterOptions{Mode: app.Shadow, Auth: 2})
	login := app.Charge{Class: app.Auth, Address: near}
	for i := range 20 {
		v, ok := g.take(login)
		if !ok || v.Exceeded != (i >= 2) {
			t.Fatalf("shadow, sign-in %d: %+v, let through %v", i, v, ok)
		}
		if v.Exceeded {
			g.Exceeded(t.Context(), home, "POST /api/v1/auth/login", login, v)
		}
	}
	if len(g.journal.told) != 1 || g.journal.told[0].Details["shadow"] != "true" {
		t.Errorf("shadow: told %+v, want one event that says so", g.journal.told)
	}
	g = newGate(t, app.LimiterOptions{Mode: app.Off, Auth: 2})
	if got := g.admits(always(login)); got != 100_000 {
		t.Errorf("off: got %d, want no limit", got)
	}
	g.Limiter = nil
	if got := g.admits(always(login)); got != 100_000 {
		t.Errorf("without a limiter: got %d, want no limit", got)
	}
}

// A refusal is told at once for each bucket, and then in one line a second with a count.
func TestRefusalsAreToldOnceThenCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate(t, app.LimiterOptions{Now: time.Now, Auth: 1})
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { defer close(done); g.Run(ctx) }()
		refuse := func(n int, a netip.Addr) {
			t.Helper()
			r := app.Request{ID: "req", Origin: session.Origin{Address: a, UserAgent: "curl"}}
			c := app.Charge{Class: app.Auth, Address: a}
			for range n {
				if v, _ := g.take(c); v.Exceeded {
					g.Exceeded(ctx, r, "POST /api/v1/auth/login", c, v)
				}
			}
		}
		type line struct{ At, IP, Endpoint, Policy, More, Of string }
		start := time.Now()
		lines := func() (all []line) {
			g.journal.mu.Lock()
			defer g.journal.mu.Unlock()
			for _, e := range g.journal.told {
				if e.Kind != audit.RateLimited || e.Outcome != audit.Failure || e.Severity != audit.Warning || e.ID.IsZero() || e.UserAgent != "curl" {
					t.Errorf("told %+v", e)
				}
				all = append(all, line{e.Time.Time().Sub(start).String(), e.IPAddress, e.Details["endpoint"], e.Details["policy"], e.Details["more"], e.Details["of"]})
			}
			return all
		}
		const login = "/api/v1/auth/login"
		refuse(1001, near)
		refuse(3, far)
		synctest.Wait()
		want := []line{{"0s", near.String(), login, "auth", "", ""}, {"0s", far.String(), login, "auth", "", ""}}
		if diff := cmp.Diff(want, lines()); diff != "" {
			t.Errorf("at once (-want +got):\n%s", diff)
		}
		after(1100 * time.Millisecond)
		want = append(want, line{"1s", near.String(), login, "auth", "999", "1000"})
		if diff := cmp.Diff(want, lines()); diff != "" {
			t.Errorf("a second later (-want +got):\n%s", diff)
		}
		after(5 * time.Second)
		if got := lines(); len(got) != 3 {
			t.Errorf("nothing was refused, and these were told: %v", got[3:])
		}
		refuse(2, far)
		stop()
		<-done
		want = append(want, line{"6.1s", far.String(), login, "auth", "2", "2"})
		if diff := cmp.Diff(want, lines()); diff != "" {
			t.Errorf("at the end (-want +got):\n%s", diff)
		}
	})
}

// However many clients are refused, the log and the memory for it stay small.
func TestRefusalsOfManyAreFewLines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate(t, app.LimiterOptions{Now: time.Now})
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { defer close(done); g.Run(ctx) }()
		for second := range 10 {
			for i := range 10_000 {
				a := netip.AddrFrom4([4]byte{10, byte(second), byte(i >> 8), byte(i)})
				c := app.Charge{Class: app.Auth, Address: a}
				for range 6 {
					if v, _ := g.take(c); v.Exceeded {
						g.Exceeded(ctx, app.Request{Origin: session.Origin{Address: a}}, "POST /login", c, v)
					}
				}
			}
			after(time.Second)
		}
		stop()
		<-done
		if n := len(g.journal.told); n < 100 || n > 300 {
			t.Errorf("100,000 refused clients in 10 s: %d lines, want 100 to 300", n)
		}
	})
}

// dropping is a ports.Buckets that can be switched off.
type dropping struct {
	ports.Buckets
	off atomic.Bool
}

func (f *dropping) Take(ctx context.Context, now instant.Instant, ds ...ports.Demand) ([]ratelimit.Decision, error) {
	if f.off.Load() {
		return nil, ports.ErrUnavailable
	}
	return f.Buckets.Take(ctx, now, ds...)
}

func TestBucketsThatFailRefuseNobody(t *testing.T) {
	var log strings.Builder
	b := &dropping{Buckets: memstore.NewBuckets(memstore.BucketsOptions{})}
	l, err := app.NewLimiter(b, &journal{}, rand.Reader, app.LimiterOptions{Logger: slog.New(slog.NewTextHandler(&log, nil))})
	if err != nil {
		t.Fatal(err)
	}
	for _, off := range []bool{true, false, true} {
		b.off.Store(off)
		for range 5 {
			if _, err := l.Take(t.Context(), app.Charge{Class: app.Unclassed, Address: near}); err != nil {
				t.Errorf("with the buckets off %v: %v", off, err)
			}
		}
	}
	if got := strings.Count(log.String(), "\n"); got != 3 {
		t.Errorf("down, up, down: %d lines, want 3:\n%s", got, log.String())
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	b.off.Store(false)
	if _, err := l.Take(ctx, app.Charge{Class: app.Unclassed, Address: near}); !errors.Is(err, context.Canceled) {
		t.Errorf("a caller who has gone: %v, want their context's error", err)
	}
	if got := strings.Count(log.String(), "\n"); got != 3 {
		t.Errorf("and a caller who has gone: %d lines, want 3: that says nothing of the buckets:\n%s", got, log.String())
	}
}

// after lets the time d of a bubble pass, and everything that happens in it.
func after(d time.Duration) {
	time.Sleep(d) //nolint:forbidigo // the bubble's clock
	synctest.Wait()
}
