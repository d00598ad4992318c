package e2e_test

import (
	"context"
	"crypto/rand"
	"errors"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/xteam/xteam/adapters/badgerstore"
	"github.com/xteam/xteam/adapters/fieldcrypt"
	"github.com/xteam/xteam/adapters/jwtcodec"
	"github.com/xteam/xteam/adapters/passhash"
	"github.com/xteam/xteam/app"
	"github.com/xteam/xteam/app/view"
	"github.com/xteam/xteam/domain/account"
	"github.com/xteam/xteam/domain/audit"
	"github.com/xteam/xteam/domain/instant"
	"github.com/xteam/xteam/domain/keyset"
	"github.com/xteam/xteam/domain/revocation"
	"github.com/xteam/xteam/domain/secret"
	"github.com/xteam/xteam/domain/session"
)

// clock is a wall clock that only the test turns.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) turn(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// told keeps what a journal would write.
type told struct {
	mu     sync.Mutex
	events []audit.Event
}

func (j *told) Write(_ context.Context, events ...audit.Event) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.events = append(j.events, events...)
}

func (j *told) count(k audit.Kind) (n int) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, e := range j.events {
		if e.Kind == k {
			n++
		}
	}
	return n
}

// A used refresh token may be repeated up to ten seconds after its use; later it is stolen, ends the session, and is told of. The clock is the test's,
// the store is the real one.
func TestUsedTokenAfterGrace(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	db, err := badgerstore.Open(t.TempDir(), badgerstore.Options{})
	if err != nil {
		t.Fatal(err)
	}
	c, j := &clock{now: time.Now()}, &told{}
	keyring, err := fieldcrypt.Open(ctx, db.Keys(), secret.New(strings.Repeat("r", 32)), secret.Text{}, rand.Reader, instant.Of(c.Now()))
	if err != nil {
		t.Fatal(err)
	}
	db.Unlock(keyring)
	signing, err := keyset.Ring{Name: keyset.Signing}.Add(keyset.Key{ID: "k", Purpose: keyset.Sign, Algorithm: "HS256", Secret: secret.New(strings.Repeat("s", 32))}, false, 1)
	if err != nil {
		t.Fatal(err)
	}
	codec := jwtcodec.New(jwtcodec.Options{})
	if err := codec.SetRing(signing); err != nil {
		t.Fatal(err)
	}
	passwords, err := passhash.New(passhash.Options{Cost: passhash.MinCost})
	if err != nil {
		t.Fatal(err)
	}
	v := view.New(view.Options{}, view.Source{Name: "database", Truth: true, Revocations: db.Revocations()})
	var following sync.WaitGroup
	following.Go(func() { _ = v.Run(ctx) })
	t.Cleanup(func() {
		cancel()
		following.Wait()
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	if err := v.Ready(ctx); err != nil {
		t.Fatal(err)
	}
	core := &app.Core{
		Stores: app.Stores{Accounts: db.Accounts(), Sessions: db.Sessions(), Keys: db.Keys(), System: db.System(), Revocations: db.Revocations(), Events: db.Events(), Trail: db.Trail(), TrailCare: db.Trail()},
		View:   v, Codec: codec, Passwords: passwords, MACs: keyring, Journal: j, Random: rand.Reader, Now: c.Now,
		Tunables: app.Tunables{Issuer: "i", Audience: "a", Access: time.Hour, Refresh: 24 * time.Hour, Session: 48 * time.Hour},
	}
	if err := core.Start(ctx); err != nil {
		t.Fatal(err)
	}
	guard, sessions, accounts := app.NewGuard(core), app.NewSessions(core), app.NewAccounts(core)

	email, _ := account.ParseEmail("ann@example.com")
	name, _ := account.ParseUsername("ann")
	r := app.Request{ID: "r", Origin: session.Origin{Address: netip.MustParseAddr("192.0.2.1"), UserAgent: "u"}}
	if _, err := accounts.Register(ctx, r, app.Registration{Email: email, Username: name, Password: secret.New(password)}); err != nil {
		t.Fatal(err)
	}
	foo, err := sessions.Login(ctx, r, account.Login{Email: email}, secret.New(password))
	if err != nil {
		t.Fatal(err)
	}
	bar, err := sessions.Refresh(ctx, r, foo.Refresh)
	if err != nil {
		t.Fatal(err)
	}
	c.turn(session.Grace - time.Microsecond)
	again, err := sessions.Refresh(ctx, r, foo.Refresh)
	if err != nil || !again.Refresh.Equal(bar.Refresh) {
		t.Fatalf("a used token within its grace: got %v, want the same successor again", err)
	}
	if n := j.count(audit.RefreshReused); n != 0 {
		t.Fatalf("a repeat within the grace was told as reuse")
	}

	c.turn(time.Microsecond)
	_, err = sessions.Refresh(ctx, r, foo.Refresh)
	if ended := (*session.EndedError)(nil); !errors.As(err, &ended) || ended.Reason != revocation.RefreshReuse {
		t.Fatalf("a used token after its grace: got %v, want that the session has ended for refresh_reuse", err)
	}
	for what, access := range map[string]secret.Text{"sign-in": foo.Access, "refresh": bar.Access, "repeat": again.Access} {
		_, err := guard.Admit(access.RevealPlaintext())
		if revoked := (*revocation.RevokedError)(nil); !errors.As(err, &revoked) || revoked.Reason != revocation.RefreshReuse {
			t.Errorf("the access token of the %s: got %v, want it revoked for refresh_reuse", what, err)
		}
	}
	if _, err := sessions.Refresh(ctx, r, bar.Refresh); err == nil {
		t.Error("the live token of the ended session was taken")
	}
	if n := j.count(audit.RefreshReused); n != 1 {
		t.Errorf("the journal tells of %d reuses, want 1", n)
	}
	kept, _, err := db.Events().List(ctx, 0, 100)
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, e := range kept {
		if e.Kind == audit.RefreshReused {
			n++
		}
	}
	if n != 1 {
		t.Errorf("the store keeps %d events of reuse, want 1", n)
	}
}
