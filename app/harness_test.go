package app_test

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"io"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/xteam/xteam/adapters/jwtcodec"
	"github.com/xteam/xteam/adapters/memstore"
	"github.com/xteam/xteam/app"
	"github.com/xteam/xteam/app/view"
	"github.com/xteam/xteam/domain/account"
	"github.com/xteam/xteam/domain/audit"
	"github.com/xteam/xteam/domain/instant"
	"github.com/xteam/xteam/domain/keyset"
	"github.com/xteam/xteam/domain/secret"
	"github.com/xteam/xteam/domain/session"
	"github.com/xteam/xteam/ports"
)

// world is a whole system over memstore, with a clock to turn and a hasher that is fast.
type world struct {
	t         testing.TB
	store     *memstore.Store
	core      *app.Core
	view      *view.View
	guard     *app.Guard
	accounts  *app.Accounts
	sessions  *app.Sessions
	revoker   *app.Revoker
	keys      *app.APIKeys
	passwords *quickHash
	journal   *journal
	clock     atomic.Int64 // µs
}

func newWorld(t testing.TB, change ...func(*app.Core)) *world {
	t.Helper()
	w := &world{t: t, store: memstore.New(), passwords: &quickHash{}, journal: &journal{}}
	w.clock.Store(int64(instant.Of(time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC))))
	now := func() time.Time { return instant.Instant(w.clock.Load()).Time() }
	key := secret.New("a-signing-secret-of-at-least-32-bytes")
	ring, err := keyset.Ring{Name: keyset.Signing}.Add(keyset.Key{ID: jwtcodec.SymmetricKeyID(key), Purpose: keyset.Sign, Algorithm: "HS256", Secret: key}, false, instant.Of(now()))
	if err != nil {
		t.Fatal(err)
	}
	codec := jwtcodec.New(jwtcodec.Options{})
	if err := codec.SetRing(ring); err != nil {
		t.Fatal(err)
	}
	w.view = view.New(view.Options{MaxStaleness: 10000 * time.Hour, Now: now}, view.Source{Name: "database", Truth: true, Revocations: w.store.Revocations()})
	w.core = &app.Core{
		Stores: app.Stores{Accounts: w.store.Accounts(), Sessions: w.store.Sessions(), APIKeys: w.store.APIKeys(), Keys: w.store.Keys(), System: w.store.System(), Blocks: w.store.Blocks(), Revocations: w.store.Revocations(), Events: w.store.Events(), Trail: w.store.Trail(), TrailCare: w.store.Trail(), Cursors: w.store.Cursors(), Alerts: w.store.Alerts(), Incidents: w.store.Incidents(), Uploads: w.store.Uploads()},
		View:   w.view, Codec: codec, Passwords: w.passwords, MACs: macs{}, Journal: w.journal, Random: rand.Reader, Now: now,
		Tunables: app.Tunables{Issuer: "xteam", Audience: "xteam", Access: 30 * time.Minute, Refresh: 7 * 24 * time.Hour, Session: 30 * 24 * time.Hour, Leeway: 30 * time.Second},
	}
	for _, f := range change {
		f(w.core)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); _ = w.view.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-done })
	if err := w.view.Ready(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := w.core.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.guard, w.accounts, w.sessions = app.NewGuard(w.core), app.NewAccounts(w.core), app.NewSessions(w.core)
	w.revoker = app.NewRevoker(w.core, w.sessions, "node-1")
	w.keys = app.NewAPIKeys(w.core, w.guard)
	return w
}

func (w *world) turn(d time.Duration) { w.clock.Add(d.Microseconds()) }

const password = "correct horse battery"

// user registers ann and answers her account.
func (w *world) user(name string) account.Account {
	w.t.Helper()
	a, err := w.accounts.Register(context.Background(), home, registration(w.t, name))
	if err != nil {
		w.t.Fatal(err)
	}
	return a
}

func registration(t testing.TB, name string) app.Registration {
	t.Helper()
	e, err1 := account.ParseEmail(name + "@example.com")
	u, err2 := account.ParseUsername(name)
	if err := errors.Join(err1, err2); err != nil {
		t.Fatal(err)
	}
	return app.Registration{Email: e, Username: u, Password: secret.New(password)}
}

func (w *world) login(name string) (app.Tokens, error) {
	l, err := account.ParseLogin("", name)
	if err != nil {
		w.t.Fatal(err)
	}
	return w.sessions.Login(context.Background(), home, l, secret.New(password))
}

func (w *world) signIn(name string) app.Tokens {
	w.t.Helper()
	tk, err := w.login(name)
	if err != nil {
		w.t.Fatal(err)
	}
	return tk
}

func (w *world) admit(tk app.Tokens) (app.Caller, error) {
	return w.guard.Admit(tk.Access.RevealPlaintext())
}

func (w *world) caller(tk app.Tokens) app.Caller {
	w.t.Helper()
	c, err := w.admit(tk)
	if err != nil {
		w.t.Fatalf("Admit: %v", err)
	}
	return c
}

func (w *world) events() []audit.Event {
	w.t.Helper()
	all, _, err := w.store.Events().List(context.Background(), 0, 1_000_000)
	if err != nil {
		w.t.Fatal(err)
	}
	return all
}

func (w *world) count(k audit.Kind) int {
	n := 0
	for _, e := range w.events() {
		if e.Kind == k {
			n++
		}
	}
	return n
}

var (
	home   = app.Request{ID: "req-home", Origin: session.Origin{Address: netip.MustParseAddr("192.0.2.7"), UserAgent: "browser"}}
	abroad = app.Request{ID: "req-abroad", Origin: session.Origin{Address: netip.MustParseAddr("198.51.100.9"), UserAgent: "curl"}}
	root   = app.Actor{Name: app.Operator}
)

// quickHash is a hasher for tests: a digest, and a count of what was compared.
type quickHash struct {
	mu       sync.Mutex
	compared []bool // for each comparison: was there a hash?
	weak     string // hashes with this prefix are to be upgraded
	between  func() // runs in each comparison, as another request would
}

func (q *quickHash) Hash(_ context.Context, p secret.Text) (secret.Text, error) {
	sum := sha256.Sum256([]byte(p.RevealPlaintext()))
	return secret.New("new:" + string(sum[:])), nil
}

func (q *quickHash) Compare(_ context.Context, hash, p secret.Text) (bool, bool, error) {
	q.mu.Lock()
	q.compared = append(q.compared, !hash.IsZero())
	between := q.between
	q.mu.Unlock()
	if between != nil {
		between()
	}
	sum := sha256.Sum256([]byte(p.RevealPlaintext()))
	h := hash.RevealPlaintext()
	return len(h) > 4 && h[4:] == string(sum[:]), q.weak != "" && len(h) > 4 && h[:4] == q.weak, nil
}

// macs is an authenticator with one key.
type macs struct{}

func (macs) Current() uint16 { return 1 }

func (macs) MAC(key uint16, message []byte) ([32]byte, bool) {
	m := hmac.New(sha256.New, []byte("test"))
	m.Write(message)
	return [32]byte(m.Sum(nil)), key == 1
}

// journal keeps what it is told.
type journal struct {
	mu   sync.Mutex
	told []audit.Event
}

func (j *journal) Write(_ context.Context, events ...audit.Event) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.told = append(j.told, slices.Clone(events)...)
}

// broken is a random source that fails.
type broken struct{}

func (broken) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }

// failingSessions is a store of sessions that can be switched off.
type failingSessions struct {
	ports.Sessions
	off atomic.Bool
}

func (f *failingSessions) Update(ctx context.Context, sid sessionID, change func(session.Session) (session.Session, ports.Effects, error)) error {
	if f.off.Load() {
		return ports.ErrUnavailable
	}
	return f.Sessions.Update(ctx, sid, change)
}
