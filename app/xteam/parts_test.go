package xteam_test

import (
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/xteam/xteam/adapters/envsecrets"
	"github.com/xteam/xteam/adapters/jwtcodec"
	"github.com/xteam/xteam/adapters/memstore"
	"github.com/xteam/xteam/adapters/passhash"
	"github.com/xteam/xteam/app"
	"github.com/xteam/xteam/app/xteam"
	"github.com/xteam/xteam/app/xteam/assembly"
	"github.com/xteam/xteam/domain/account"
	"github.com/xteam/xteam/domain/audit"
	"github.com/xteam/xteam/domain/instant"
	"github.com/xteam/xteam/domain/ratelimit"
	"github.com/xteam/xteam/domain/secret"
	"github.com/xteam/xteam/domain/session"
	"github.com/xteam/xteam/domain/token"
	"github.com/xteam/xteam/ports"
)

// asked counts the calls of a program's own parts by name.
type asked struct {
	mu sync.Mutex
	n  map[string]int
}

func (a *asked) of(name string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.n[name]++
}

// was reports whether a part was asked.
func (a *asked) was(name string) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.n[name] > 0
}

// until waits for a condition.
func until(t *testing.T, what string, holds func() bool) {
	t.Helper()
	tick, late := time.NewTicker(time.Millisecond), time.After(30*time.Second)
	defer tick.Stop()
	for !holds() {
		select {
		case <-tick.C:
		case <-late:
			t.Fatalf("%s: never", what)
		}
	}
}

type ownBuckets struct {
	ports.Buckets
	*asked
}

func (b ownBuckets) Take(ctx context.Context, now instant.Instant, demands ...ports.Demand) ([]ratelimit.Decision, error) {
	b.of("buckets")
	return b.Buckets.Take(ctx, now, demands...)
}

type ownCodec struct {
	assembly.Codec
	*asked
}

func (c ownCodec) Sign(claims token.Claims) (secret.Text, error) {
	c.of("codec")
	return c.Codec.Sign(claims)
}

type ownPasswords struct {
	ports.Passwords
	*asked
}

func (p ownPasswords) Hash(ctx context.Context, password secret.Text) (secret.Text, error) {
	p.of("passwords")
	return p.Passwords.Hash(ctx, password)
}

type ownJournal struct{ *asked }

func (j ownJournal) Write(context.Context, ...audit.Event) { j.of("journal") }

type ownTracer struct{ *asked }

func (o ownTracer) Begin(ctx context.Context, _ string) (context.Context, func(bool)) {
	o.of("tracer")
	return ctx, func(bool) {}
}

type ownSink struct{ *asked }

func (o ownSink) Deliver(context.Context, ...audit.Event) error { o.of("sink"); return nil }

type ownFirewall struct {
	*asked
	want netip.Prefix
}

func (o ownFirewall) Set(_ context.Context, all []netip.Prefix) error {
	if slices.Contains(all, o.want) {
		o.of("firewall")
	}
	return nil
}

type ownNotices struct{ *asked }

func (o ownNotices) Notify(_ context.Context, n ports.Notice) error {
	if strings.HasPrefix(n.Link.RevealPlaintext(), "https://app.example.com/wasnt-me#") {
		o.of("notices")
	}
	return nil
}

type ownGuests struct{ *asked }

func (o ownGuests) Guests(context.Context) ([]ports.Guest, bool, error) {
	o.of("guests")
	return nil, true, nil
}

// turn is one turn for all names, of all who hold it.
type turn chan struct{}

func (o turn) Turn(ctx context.Context, _ string) (func(), error) {
	select {
	case o <- struct{}{}:
		return sync.OnceFunc(func() { <-o }), nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// Any port can be given another implementation from outside: two systems on one store of the program's own, which knows nothing of folders, are one service, and each of its other parts is asked.
func TestPartsOfTheProgramsOwn(t *testing.T) {
	defer goleak.VerifyNone(t)
	ctx := t.Context()
	db, board, turns, closed := memstore.New(), memstore.NewBoard(), make(turn, 1), atomic.Int32{}
	store := func(ctx context.Context, secrets *assembly.Secrets, _ *slog.Logger) (assembly.Database, func(), error) {
		keyring, err := assembly.Unlock(ctx, db.Keys(), secrets)
		if err != nil {
			return assembly.Database{}, nil, err
		}
		stores := app.Stores{Accounts: db.Accounts(), Sessions: db.Sessions(), APIKeys: db.APIKeys(), Keys: db.Keys(), System: db.System(), Blocks: db.Blocks(), Revocations: db.Revocations(), Turns: turns, Events: db.Events(), Trail: db.Trail(), TrailCare: db.Trail(), Cursors: db.Cursors(), Alerts: db.Alerts(), Incidents: db.Incidents()}
		return assembly.Database{Stores: stores, MACs: keyring, Sealer: keyring, Nodes: board.Nodes()}, func() { closed.Add(1) }, nil
	}
	values := map[string]string{"SECRET_KEY": "Zq3Vt8Lw1Xc6Rb9Mk4Pj7Hd2Gs5Fy0NaEu", "ROOT_KEY": "Bn7Kd2Wq9Tz4Lx6Vc1Rm8Jp3Hf5Gs0YaUe"}
	hasher, err := passhash.New(passhash.Options{Cost: 10})
	if err != nil {
		t.Fatal(err)
	}
	all, bad := &asked{n: map[string]int{}}, netip.MustParsePrefix("198.51.100.0/24")
	options := func(node string) xteam.Options {
		return xteam.Options{
			Secrets: envsecrets.New(func(name string) (string, bool) { v, ok := values[name]; return v, ok }),
			Parts: xteam.Parts{
				Store: store, Node: node, Buckets: ownBuckets{memstore.NewBuckets(memstore.BucketsOptions{}), all}, Codec: ownCodec{jwtcodec.New(jwtcodec.Options{}), all},
				Passwords: ownPasswords{hasher, all}, Journal: ownJournal{all}, Tracer: ownTracer{all}, Sinks: []app.SinkOptions{{Name: "own", Sink: ownSink{all}}}, Firewall: ownFirewall{all, bad},
				Notices: ownNotices{all}, PublicURL: "https://app.example.com", Guests: []app.WatchedStore{{Name: "own", Guests: ownGuests{all}}}, GuestNetworks: []netip.Prefix{bad},
			},
		}
	}
	one, err := xteam.Open(ctx, options("one"))
	if err != nil {
		t.Fatal(err)
	}
	defer one.Close()
	other, err := xteam.Open(ctx, options("other"))
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()

	email, _ := account.ParseEmail("ann@example.com")
	name, _ := account.ParseUsername("ann")
	if _, err := one.Accounts().Create(ctx, app.Actor{Name: app.System}, app.Registration{Email: email, Username: name, Password: secret.New(password)}, account.RoleUser); err != nil {
		t.Fatal(err)
	}
	from := func(address string) app.Request {
		return app.Request{Origin: session.Origin{Address: netip.MustParseAddr(address)}}
	}
	if _, err := one.Sessions().Login(ctx, from("192.0.2.1"), account.Login{Username: name}, secret.New(password)); err != nil {
		t.Fatal(err)
	}
	tokens, err := one.Sessions().Login(ctx, from("203.0.113.9"), account.Login{Username: name}, secret.New(password))
	if err != nil {
		t.Fatal(err)
	}
	access := tokens.Access.RevealPlaintext()
	if _, err := other.Guard().Admit(access); err != nil {
		t.Errorf("the other system does not know the token: %v", err)
	}
	if n, err := one.RevokeUser(ctx, "ann", "a test"); err != nil || n != 2 {
		t.Errorf("revoke: %d, %v", n, err)
	}
	until(t, "the other system hears of the revocation", func() bool { revoked, _ := other.IsRevoked(access); return revoked })
	if _, err := one.Blocks().Block(ctx, app.Actor{Name: app.System}, bad, app.BlockOptions{}); err != nil {
		t.Fatal(err)
	}
	for _, part := range []string{"buckets", "codec", "passwords", "journal", "tracer", "sink", "firewall", "notices", "guests"} {
		until(t, "the program's own "+part+" is asked", func() bool { return all.was(part) })
	}
	one.Close()
	other.Close()
	if n := closed.Load(); n != 2 {
		t.Errorf("the store was closed %d times, want once by each system", n)
	}
}

// What a store of the program's own needs is said before anything is touched, and what it says is handed on.
func TestPartsRefused(t *testing.T) {
	broken := errors.New("no way to the database")
	store := func(context.Context, *assembly.Secrets, *slog.Logger) (assembly.Database, func(), error) {
		return assembly.Database{}, nil, broken
	}
	some := envsecrets.New(func(string) (string, bool) { return "Zq3Vt8Lw1Xc6Rb9Mk4Pj7Hd2Gs5Fy0NaEu", true })
	for want, o := range map[string]xteam.Options{
		"Options.Secrets":         {Parts: xteam.Parts{Store: store}},
		"Options.Parts.PublicURL": {Dir: t.TempDir(), Parts: xteam.Parts{Notices: ownNotices{}}},
		"Options.Parts.Store":     {Secrets: some, Parts: xteam.Parts{Store: store}},
	} {
		if _, err := xteam.Open(t.Context(), o); err == nil || !strings.HasPrefix(err.Error(), "xteam: "+want) || strings.HasSuffix(want, "Store") && !errors.Is(err, broken) {
			t.Errorf("got %v, want a refusal that names %s", err, want)
		}
	}
	closed, alone := 0, errors.New("a restore is alone on it")
	occupied := func(context.Context, *assembly.Secrets, *slog.Logger) (assembly.Database, func(), error) {
		return assembly.Database{Enter: func(_ context.Context, must bool) error {
			if must {
				t.Error("it wants to be alone")
			}
			return alone
		}}, func() { closed++ }, nil
	}
	if _, err := xteam.Open(t.Context(), xteam.Options{Secrets: some, Parts: xteam.Parts{Store: occupied}}); !errors.Is(err, alone) || closed != 1 {
		t.Errorf("where another must be alone: %v, closed %d times", err, closed)
	}
}
