package app_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/xteam/xteam/app"
	"github.com/xteam/xteam/app/view"
	"github.com/xteam/xteam/domain/account"
	"github.com/xteam/xteam/domain/apikey"
	"github.com/xteam/xteam/domain/audit"
	"github.com/xteam/xteam/domain/id"
	"github.com/xteam/xteam/domain/instant"
	"github.com/xteam/xteam/domain/revocation"
	"github.com/xteam/xteam/domain/secret"
	"github.com/xteam/xteam/domain/token"
	"github.com/xteam/xteam/ports"
)

// admin makes an administrator and answers the account.
func (w *world) admin(name string) account.Account {
	w.t.Helper()
	a, err := w.accounts.Create(context.Background(), root, registration(w.t, name), account.RoleAdmin)
	if err != nil {
		w.t.Fatal(err)
	}
	return a
}

func wish(scopes apikey.Scopes) apikey.Wish {
	n, err := apikey.ParseName("deploy bot")
	if err != nil {
		panic(err)
	}
	return apikey.Wish{Name: n, Scopes: scopes}
}

// issue makes a key of the caller's.
func (w *world) issue(c app.Caller, scopes apikey.Scopes) app.IssuedKey {
	w.t.Helper()
	k, err := w.keys.Issue(context.Background(), home, c, wish(scopes))
	if err != nil {
		w.t.Fatalf("Issue: %v", err)
	}
	return k
}

func (w *world) admitKey(k app.IssuedKey) (app.Caller, error) {
	return w.guard.AdmitKey(context.Background(), abroad, k.Text.RevealPlaintext())
}

// bearer is the caller that a key stands for, and makes the key known to the guard.
func (w *world) bearer(k app.IssuedKey) app.Caller {
	w.t.Helper()
	c, err := w.admitKey(k)
	if err != nil {
		w.t.Fatalf("AdmitKey: %v", err)
	}
	return c
}

// refusedKey demands a key's own refusal for that reason.
func refusedKey(t testing.TB, err error, why revocation.Reason) {
	t.Helper()
	var revoked *revocation.RevokedError
	if !errors.As(err, &revoked) || revoked.Kind != revocation.APIKey || revoked.Reason != why {
		t.Errorf("the key: got %v, want it revoked for %v", err, why)
	}
}

func TestAKeyStandsForItsOwner(t *testing.T) {
	w := newWorld(t)
	ann := w.user("ann")
	k := w.issue(w.caller(w.signIn("ann")), apikey.UsersRead|apikey.Introspect)
	now := instant.Instant(w.clock.Load())
	if k.Owner != ann.ID || k.Environment != apikey.Development || k.Created != now || k.Expires != now.Add(90*24*time.Hour) || k.Scopes != apikey.UsersRead|apikey.Introspect {
		t.Errorf("the key is %+v", k.Key)
	}
	c := w.bearer(k)
	if c.User() != ann.ID || !c.IsKey() || c.IsAdmin() || c.Scopes != k.Scopes || c.Claims.APIKey != k.ID || !c.Session().IsZero() || !c.Claims.HasRole("user") || c.Claims.Scope != "users:read introspect" {
		t.Errorf("it stands for %+v, %v", c.Claims, c.Scopes)
	}
	if c.May(apikey.Admin) || c.May(apikey.UsersRead|apikey.Admin) || c.May(0) || !c.May(apikey.Introspect) {
		t.Error("it may what it was not made for, or not what it was made for")
	}
	if me, err := w.accounts.Me(t.Context(), c); err != nil || me.ID != ann.ID {
		t.Errorf("Me: %v, %v", me.ID, err)
	}
	all, err := w.keys.List(t.Context(), home, w.caller(w.signIn("ann")))
	if err != nil || len(all) != 1 || all[0].Key != k.Key || all[0].Ended != nil {
		t.Errorf("List: %+v, %v", all, err)
	}
	stored, err := w.store.APIKeys().Find(t.Context(), k.ID)
	if err != nil || stored != k.Key {
		t.Errorf("stored is %+v, %v", stored, err)
	}
	var made audit.Event
	for _, e := range w.events() {
		if e.Kind == audit.APIKeyCreated {
			made = e
		}
		if secretPart := k.Text.RevealPlaintext()[40:83]; strings.Contains(fmt.Sprintf("%+v", e), secretPart) {
			t.Errorf("an event tells the secret: %+v", e)
		}
	}
	if made.Actor != ann.ID.String() || made.Subject != ann.ID.String() || made.Details["api_key"] != k.ID.String() || made.Details["scopes"] != "users:read introspect" || made.IPAddress != "192.0.2.7" {
		t.Errorf("the event is %+v", made)
	}
}

func TestAnAdministratorsKeyIsNoAdministratorWithoutTheScope(t *testing.T) {
	w := newWorld(t)
	w.admin("root")
	c := w.caller(w.signIn("root"))
	for scopes, want := range map[apikey.Scopes]bool{apikey.UsersRead: false, apikey.RevocationsRead | apikey.KeysWrite: false, apikey.Admin: true} {
		if got := w.bearer(w.issue(c, scopes)).IsAdmin(); got != want {
			t.Errorf("a key with %v is an administrator: %v, want %v", scopes, got, want)
		}
	}
}

// elsewhere is another node on the same store: its own view, its own guard.
func (w *world) elsewhere() *app.Guard {
	w.t.Helper()
	core := *w.core
	core.View = view.New(view.Options{MaxStaleness: 10000 * time.Hour, Now: w.core.Now}, view.Source{Name: "database", Truth: true, Revocations: w.store.Revocations()})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); _ = core.View.Run(ctx) }()
	w.t.Cleanup(func() { cancel(); <-done })
	if err := core.View.Ready(w.t.Context()); err != nil {
		w.t.Fatal(err)
	}
	return app.NewGuard(&core)
}

// told waits until that node has heard that the owner or the key was revoked; a probe that it hears later says so.
func told(t testing.TB, g *app.Guard, text secret.Text) (err error) {
	t.Helper()
	for range 10_000 {
		if _, err = g.AdmitKey(t.Context(), abroad, text.RevealPlaintext()); err != nil {
			return err
		}
		select {
		case <-time.After(time.Millisecond): // another node follows the store at its own pace
		case <-t.Context().Done():
		}
	}
	return nil
}

// What ends keys ends them at the next request, on the node that took it; on another as soon as it has heard.
func TestAKeyIsDeadAtOnce(t *testing.T) {
	for name, c := range map[string]struct {
		do  func(w *world, k app.IssuedKey) error
		why revocation.Reason // 0: it lives
	}{
		"it is revoked": {func(w *world, k app.IssuedKey) error {
			return w.keys.Revoke(context.Background(), home, w.caller(w.signIn("ann")), k.ID)
		}, revocation.KeyRevoked},
		"its text was found": {func(w *world, k app.IssuedKey) error {
			_, err := w.revoker.Revoke(context.Background(), root, app.Selector{Token: k.Text}, "found in a repository", false)
			return err
		}, revocation.KeyRevoked},
		"it is rotated without an overlap": {func(w *world, k app.IssuedKey) error {
			_, err := w.keys.Rotate(context.Background(), home, w.caller(w.signIn("ann")), k.ID, app.Rotation{})
			return err
		}, revocation.KeyRevoked},
		"an administrator revokes its owner": {func(w *world, _ app.IssuedKey) error {
			_, err := w.revoker.Revoke(context.Background(), root, app.Selector{User: "ann"}, "", false)
			return err
		}, revocation.UserRevoked},
		"its owner is disabled": {func(w *world, k app.IssuedKey) error {
			return w.accounts.Disable(context.Background(), root, k.Owner)
		}, revocation.UserDisabled},
		"its owner is disabled and enabled again": {func(w *world, k app.IssuedKey) error {
			return errors.Join(w.accounts.Disable(context.Background(), root, k.Owner), w.accounts.Enable(context.Background(), root, k.Owner))
		}, revocation.UserDisabled},
		"its owner logs out": {func(w *world, _ app.IssuedKey) error {
			return w.sessions.Logout(context.Background(), home, w.caller(w.signIn("ann")))
		}, 0},
		"its owner logs out everywhere": {func(w *world, _ app.IssuedKey) error {
			_, err := w.sessions.LogoutAll(context.Background(), home, w.caller(w.signIn("ann")))
			return err
		}, 0},
		"its owner changes the password": {func(w *world, _ app.IssuedKey) error {
			_, err := w.sessions.ChangePassword(context.Background(), home, w.caller(w.signIn("ann")), secret.New(password), secret.New("another good one"))
			return err
		}, 0},
		"its owner gets another role": {func(w *world, k app.IssuedKey) error {
			return w.accounts.SetRole(context.Background(), root, k.Owner, account.RoleAdmin)
		}, 0},
		"all tokens and sessions are revoked": {func(w *world, _ app.IssuedKey) error {
			_, err := w.revoker.Revoke(context.Background(), root, app.Selector{All: true}, "", false)
			return err
		}, 0},
		"all tokens of before are revoked": {func(w *world, _ app.IssuedKey) error {
			_, err := w.revoker.Revoke(context.Background(), root, app.Selector{IssuedBefore: instant.Instant(w.clock.Load())}, "", false)
			return err
		}, 0},
		"another user's keys die": {func(w *world, _ app.IssuedKey) error {
			w.user("bob")
			_, err := w.revoker.Revoke(context.Background(), root, app.Selector{User: "bob"}, "", false)
			return err
		}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.user("ann")
			k := w.issue(w.caller(w.signIn("ann")), apikey.UsersRead)
			far := w.elsewhere()
			w.bearer(k)
			if _, err := far.AdmitKey(t.Context(), abroad, k.Text.RevealPlaintext()); err != nil {
				t.Fatal(err)
			}
			if err := c.do(w, k); err != nil {
				t.Fatal(err)
			}
			check := func(when string) {
				t.Helper()
				switch _, err := w.admitKey(k); {
				case c.why == 0 && err != nil:
					t.Errorf("%s: %v", when, err)
				case c.why != 0:
					refusedKey(t, err, c.why)
				}
			}
			check("at once")
			if c.why != 0 {
				refusedKey(t, told(t, far, k.Text), c.why)
			}
			w.turn(6 * time.Minute) // it is read again
			check("later")
			w.guard = app.NewGuard(w.core) // as after a start
			check("to a guard that never knew it")
			if c.why != 0 {
				refusedKey(t, told(t, far, k.Text), c.why)
			}
		})
	}
}

// A role that is taken away takes from the keys what only it could give, at the next request; one that is given gives nothing that the key was not made for.
func TestAKeyFollowsTheRoleOfItsOwner(t *testing.T) {
	w := newWorld(t)
	boss := w.admin("boss")
	w.admin("another") // the last one cannot be demoted
	k := w.issue(w.caller(w.signIn("boss")), apikey.UsersRead|apikey.Admin)
	if c := w.bearer(k); !c.IsAdmin() || !c.May(apikey.Admin) {
		t.Fatal("an administrator's key is none")
	}
	if err := w.accounts.SetRole(t.Context(), root, boss.ID, account.RoleUser); err != nil {
		t.Fatal(err)
	}
	if c := w.bearer(k); c.IsAdmin() || c.May(apikey.Admin) || !c.May(apikey.UsersRead) {
		t.Errorf("after the role is gone: %+v, %v", c.Claims, c.Scopes)
	}
	if err := w.accounts.SetRole(t.Context(), root, boss.ID, account.RoleAdmin); err != nil {
		t.Fatal(err)
	}
	if c := w.bearer(k); !c.IsAdmin() {
		t.Error("after the role is back the key is no administrator's")
	}
	if c := w.bearer(w.issue(w.caller(w.signIn("boss")), apikey.UsersRead)); c.IsAdmin() || c.May(apikey.Admin) {
		t.Error("a key without the scope is an administrator's")
	}
}

func TestOrderOfRefusalsOfKeys(t *testing.T) {
	w := newWorld(t)
	w.user("ann")
	c := w.caller(w.signIn("ann"))
	good, revoked, short := w.issue(c, apikey.UsersRead), w.issue(c, apikey.UsersRead), w.issue(c, apikey.UsersRead)
	w.bearer(good)
	if err := w.keys.Revoke(t.Context(), home, c, revoked.ID); err != nil {
		t.Fatal(err)
	}
	if _, err := w.keys.Rotate(t.Context(), home, c, short.ID, app.Rotation{Overlap: time.Hour}); err != nil {
		t.Fatal(err)
	}
	text := good.Text.RevealPlaintext()
	strange, _, err := apikey.Make(apikey.Development, good.ID, w.core.Random)
	unknown, _, err2 := apikey.Make(apikey.Development, id.APIKey{1}, w.core.Random)
	foreign, _, err3 := apikey.Make(apikey.Production, good.ID, w.core.Random)
	if err := errors.Join(err, err2, err3); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		text string
		want error
		told bool // whose it was
	}{
		"nothing":                       {"", token.ErrMissing, false},
		"an access token":               {w.signIn("ann").Access.RevealPlaintext(), apikey.ErrMalformed, false},
		"damaged":                       {text[:len(text)-1] + "x", apikey.ErrMalformed, false},
		"of another environment":        {foreign.RevealPlaintext(), apikey.ErrEnvironment, false},
		"unknown":                       {unknown.RevealPlaintext(), apikey.ErrInvalid, false},
		"another secret of a known key": {strange.RevealPlaintext(), apikey.ErrInvalid, false},
	} {
		got, err := w.guard.AdmitKey(t.Context(), abroad, c.text)
		if !errors.Is(err, c.want) || (got.Claims != nil) != c.told {
			t.Errorf("%s: got %v beside %+v, want %v", name, err, got.Claims, c.want)
		}
	}
	if c, err := w.admitKey(revoked); c.Claims == nil {
		t.Error("of a revoked key it is not told whose it was")
	} else {
		refusedKey(t, err, revocation.KeyRevoked)
	}
	w.bearer(short)
	w.turn(time.Hour)
	if c, err := w.admitKey(short); !errors.Is(err, apikey.ErrExpired) || c.Claims == nil {
		t.Errorf("after its overlap: %v", err)
	}
	w.turn(90*24*time.Hour - time.Hour - time.Microsecond)
	w.bearer(good)
	w.turn(time.Microsecond)
	for name, k := range map[string]app.IssuedKey{"at its end": good, "at its end, and revoked": revoked} {
		if c, err := w.admitKey(k); !errors.Is(err, apikey.ErrExpired) || c.Claims == nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	// A stale view comes last: what is known to be wrong is said, and nothing else is let in.
	w = newWorld(t)
	w.user("ann")
	c = w.caller(w.signIn("ann"))
	good, revoked = w.issue(c, apikey.UsersRead), w.issue(c, apikey.UsersRead)
	if err := w.keys.Revoke(t.Context(), home, c, revoked.ID); err != nil {
		t.Fatal(err)
	}
	w.bearer(good)
	w.deaf()
	if c, err := w.admitKey(good); !errors.Is(err, revocation.ErrStale) || c.Claims == nil {
		t.Errorf("under a stale view: %v", err)
	}
	_, err = w.admitKey(revoked)
	refusedKey(t, err, revocation.KeyRevoked)
	if n := len(w.used(t)); n != 1 {
		t.Errorf("%d keys were used, want 1: a refused use is none", n)
	}
}

// used flushes, and answers the keys that were ever used.
func (w *world) used(t *testing.T) (used []apikey.Key) {
	t.Helper()
	if err := w.keys.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	accounts, err := w.store.Accounts().List(t.Context(), id.User{}, 100)
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range accounts {
		all, err := w.store.APIKeys().OfUser(t.Context(), a.ID)
		if err != nil {
			t.Fatal(err)
		}
		for _, k := range all {
			if k.Uses > 0 {
				used = append(used, k)
			}
		}
	}
	return used
}

// counted is a store of keys that counts its readings and its writings, and can be switched off.
type countedKeys struct {
	ports.APIKeys
	finds, updates atomic.Int64
	off            atomic.Bool
	after          func() // runs after each reading
}

func (k *countedKeys) Find(ctx context.Context, kid id.APIKey) (apikey.Key, error) {
	k.finds.Add(1)
	if k.off.Load() {
		return apikey.Key{}, ports.ErrUnavailable
	}
	v, err := k.APIKeys.Find(ctx, kid)
	if k.after != nil {
		k.after()
	}
	return v, err
}

func (k *countedKeys) Update(ctx context.Context, kid id.APIKey, change func(apikey.Key) (apikey.Key, ports.Effects, error)) error {
	k.updates.Add(1)
	if k.off.Load() {
		return ports.ErrUnavailable
	}
	return k.APIKeys.Update(ctx, kid, change)
}

func newCountedKeys(t *testing.T) (*world, *countedKeys) {
	k := &countedKeys{}
	w := newWorld(t, func(c *app.Core) { k.APIKeys, c.Stores.APIKeys = c.Stores.APIKeys, k })
	return w, k
}

func TestTheStoreIsNotAskedAtEachRequest(t *testing.T) {
	w, store := newCountedKeys(t)
	w.admin("boss")
	ann := w.user("ann")
	k := w.issue(w.caller(w.signIn("ann")), apikey.UsersRead)
	asked := func(what string, want int64) {
		t.Helper()
		if got := store.finds.Swap(0); got != want {
			t.Errorf("%s: the store was asked %d times, want %d", what, got, want)
		}
	}
	for range 1000 {
		w.bearer(k)
	}
	asked("1,000 requests", 1)
	for range 5 {
		w.turn(time.Minute - time.Microsecond)
		w.bearer(k)
	}
	asked("within five minutes", 0)
	w.turn(time.Second)
	w.bearer(k)
	asked("after five minutes", 1)
	w.turn(-time.Minute)
	w.bearer(k)
	asked("under a clock that went back", 1)
	if err := w.accounts.SetRole(t.Context(), root, ann.ID, account.RoleAdmin); err != nil {
		t.Fatal(err)
	}
	w.bearer(k)
	w.bearer(k)
	asked("after a change of role", 1)
	if err := w.accounts.Disable(t.Context(), root, ann.ID); err != nil {
		t.Fatal(err)
	}
	for range 10 {
		_, err := w.admitKey(k)
		refusedKey(t, err, revocation.UserDisabled)
	}
	asked("a dead key that goes on asking", 1)
	if got := store.updates.Load(); got != 0 {
		t.Errorf("the store was written to %d times", got)
	}
}

// Of a key that another node revoked while nobody asked for it here, and whose revocation is past its time, the store tells.
func TestWhatIsKnownOfAKeyIsOutlivedByRevocations(t *testing.T) {
	w := newWorld(t)
	w.user("ann")
	k := w.issue(w.caller(w.signIn("ann")), apikey.UsersRead)
	w.bearer(k)
	err := w.store.APIKeys().Update(t.Context(), k.ID, func(k apikey.Key) (apikey.Key, ports.Effects, error) {
		k, _ = k.Revoke(revocation.KeyRevoked, apikey.Act{Now: k.Created}) // and no entry, as if it were long over
		return k, ports.Effects{}, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	w.turn(5 * time.Minute)
	_, err = w.admitKey(k)
	refusedKey(t, err, revocation.KeyRevoked)

	// The entries of the domain live for longer than a key is known.
	k = w.issue(w.caller(w.signIn("ann")), apikey.UsersRead)
	now := instant.Instant(w.clock.Load())
	if err := w.keys.Revoke(t.Context(), home, w.caller(w.signIn("ann")), k.ID); err != nil {
		t.Fatal(err)
	}
	for _, e := range w.entries() {
		if e.Kind == revocation.APIKey && e.Until < now.Add(10*time.Minute) {
			t.Errorf("the entry %+v ends before a key is read again", e)
		}
	}
}

func TestAStoreThatIsDown(t *testing.T) {
	w, store := newCountedKeys(t)
	w.user("ann")
	c := w.caller(w.signIn("ann"))
	known, unknown := w.issue(c, apikey.UsersRead), w.issue(c, apikey.UsersRead)
	w.bearer(known)
	store.off.Store(true)
	w.bearer(known)
	if c, err := w.admitKey(unknown); !errors.Is(err, ports.ErrUnavailable) || c.Claims != nil {
		t.Errorf("a key that is not known, while the store is down: %v, want ErrUnavailable", err)
	}
	w.turn(5 * time.Minute)
	if _, err := w.admitKey(known); !errors.Is(err, ports.ErrUnavailable) {
		t.Errorf("a key that is to be read again, while the store is down: %v, want ErrUnavailable", err)
	}
	store.off.Store(false)
	w.bearer(known)
	w.bearer(unknown)
}

// Whatever ends a key while the guard reads it is felt by the very request.
func TestAKeyThatDiesWhileItIsRead(t *testing.T) {
	for name, c := range map[string]struct {
		do  func(w *world, k app.IssuedKey) error
		why revocation.Reason
	}{
		"revoked": {func(w *world, k app.IssuedKey) error {
			return w.keys.Revoke(context.Background(), home, w.caller(w.signIn("ann")), k.ID)
		}, revocation.KeyRevoked},
		"owner disabled": {func(w *world, k app.IssuedKey) error { return w.accounts.Disable(context.Background(), root, k.Owner) }, revocation.UserDisabled},
		"owner revoked": {func(w *world, _ app.IssuedKey) error {
			_, err := w.revoker.Revoke(context.Background(), root, app.Selector{User: "ann"}, "", false)
			return err
		}, revocation.UserRevoked},
	} {
		t.Run(name, func(t *testing.T) {
			for _, after := range []string{"key", "owner"} { // is read
				store, owners := &countedKeys{}, &slowAccounts{}
				w := newWorld(t, func(core *app.Core) {
					store.APIKeys, core.Stores.APIKeys = core.Stores.APIKeys, store
					owners.Accounts, core.Stores.Accounts = core.Stores.Accounts, owners
				})
				w.user("ann")
				k := w.issue(w.caller(w.signIn("ann")), apikey.UsersRead)
				dies := func() {
					store.after, owners.after = nil, nil
					if err := c.do(w, k); err != nil {
						t.Error(err)
					}
				}
				if after == "key" {
					store.after = dies
				} else {
					owners.after = dies
				}
				for range 3 {
					_, err := w.admitKey(k)
					refusedKey(t, err, c.why)
				}
			}
		})
	}
}

// slowAccounts is a store of accounts in which something happens after a reading.
type slowAccounts struct {
	ports.Accounts
	after func()
}

func (s *slowAccounts) Find(ctx context.Context, uid id.User) (account.Account, error) {
	a, err := s.Accounts.Find(ctx, uid)
	if s.after != nil {
		s.after()
	}
	return a, err
}

// CVE-2026-56654, CVE-2026-28744: a key made a wider key.
func TestAKeyGivesNothingThatItHasNot(t *testing.T) {
	w := newWorld(t)
	w.admin("boss")
	w.user("ann")
	boss, ann := w.caller(w.signIn("boss")), w.caller(w.signIn("ann"))
	denied := 0
	forbidden := func(what string, err error) {
		t.Helper()
		denied++
		if !errors.Is(err, app.ErrForbidden) || w.count(audit.PermissionDenied) != denied {
			t.Errorf("%s: %v with %d events, want ErrForbidden and %d", what, err, w.count(audit.PermissionDenied), denied)
		}
	}
	lacking := func(what string, err error) { // told of, and not kept
		t.Helper()
		var lacks *app.ScopeError
		if !errors.As(err, &lacks) || w.count(audit.PermissionDenied) != denied || w.count(audit.APIKeyRefused) != 0 {
			t.Errorf("%s: %v with %d events, want a *ScopeError and %d", what, err, w.count(audit.PermissionDenied), denied)
		}
		w.journal.mu.Lock()
		defer w.journal.mu.Unlock()
		if e := w.journal.told[len(w.journal.told)-1]; e.Kind != audit.APIKeyRefused || e.Reason != "forbidden" || e.Details["api_key"] == "" || e.Subject != boss.User().String() {
			t.Errorf("%s: told is %+v", what, e)
		}
	}
	try := func(c app.Caller, scopes apikey.Scopes) error {
		_, err := w.keys.Issue(t.Context(), home, c, wish(scopes))
		return err
	}
	forbidden("a user's key for an administrator", try(ann, apikey.Admin))
	forbidden("a user's key for the feed", try(ann, apikey.UsersRead|apikey.RevocationsRead))
	reader := w.bearer(w.issue(boss, apikey.UsersRead|apikey.Admin))
	lacking("a key made by one without the scope", try(reader, apikey.UsersRead))
	maker := w.bearer(w.issue(boss, apikey.KeysWrite|apikey.UsersRead))
	forbidden("a wider key made by a key", try(maker, apikey.UsersRead|apikey.Introspect))
	forbidden("an administrator's key made by a key", try(maker, apikey.Admin))
	if err := try(maker, apikey.UsersRead|apikey.KeysWrite); err != nil {
		t.Errorf("a key with the same scopes: %v", err)
	}
	wide := w.issue(boss, apikey.Admin)
	_, err := w.keys.Rotate(t.Context(), home, maker, wide.ID, app.Rotation{Overlap: time.Hour})
	forbidden("a wider key rotated by a key, which would get its secret", err)
	_, err = w.keys.Rotate(t.Context(), home, reader, wide.ID, app.Rotation{})
	lacking("a key rotated by one without the scope", err)
	lacking("a key revoked by one without the scope", w.keys.Revoke(t.Context(), home, reader, wide.ID))
	_, err = w.keys.List(t.Context(), home, reader)
	lacking("keys listed by one without the scope", err)
	w.bearer(wide)
	if err := w.keys.Revoke(t.Context(), home, maker, wide.ID); err != nil {
		t.Errorf("a wider key revoked by a key: %v; whoever may end a key may end any", err)
	}
	if _, err := w.keys.Issue(t.Context(), home, ann, apikey.Wish{Scopes: apikey.UsersRead}); err == nil {
		t.Error("a key without a name was made")
	}
}

// A key that makes keys gives them no more time than it has, and itself neither: who stole it has it until its end, and no longer.
func TestAKeyGivesNoMoreTimeThanItHas(t *testing.T) {
	w := newWorld(t)
	w.user("ann")
	short := wish(apikey.KeysWrite)
	short.Life = 10 * 24 * time.Hour
	k, err := w.keys.Issue(t.Context(), home, w.caller(w.signIn("ann")), short)
	if err != nil {
		t.Fatal(err)
	}
	other := w.issue(w.caller(w.signIn("ann")), apikey.KeysWrite)
	w.turn(24 * time.Hour)
	c := w.bearer(k)
	if child := w.issue(c, apikey.KeysWrite); child.Expires != k.Expires {
		t.Errorf("a child lives until %v, its parent until %v", child.Expires, k.Expires)
	}
	turned, err := w.keys.Rotate(t.Context(), home, c, other.ID, app.Rotation{Overlap: time.Hour})
	if err != nil || turned.Expires != k.Expires {
		t.Errorf("another key that it rotated lives until %v, %v; itself until %v", turned.Expires, err, k.Expires)
	}
	last := k
	for i := range 5 { // whatever it asks for, and however often
		next, err := w.keys.Rotate(t.Context(), home, w.bearer(last), last.ID, app.Rotation{Overlap: time.Duration(i%2) * time.Hour, Life: time.Duration(i%3) * 100 * 24 * time.Hour})
		if err != nil || next.Expires != k.Expires {
			t.Fatalf("rotated by itself it lives until %v, %v; want %v, as before", next.Expires, err, k.Expires)
		}
		last = next
	}
	w.bearer(last)
	renewed, err := w.keys.Rotate(t.Context(), home, w.caller(w.signIn("ann")), last.ID, app.Rotation{Life: 10 * 24 * time.Hour})
	if err != nil || renewed.Expires != instant.Instant(w.clock.Load()).Add(10*24*time.Hour) {
		t.Errorf("renewed by its owner it lives until %v, %v", renewed.Expires, err)
	}
}

// A key in whose place there is another may end itself, and nothing else of its owner's; so too where the guard knows it as it was before, and when it is over.
func TestARotatedKeyManagesNothing(t *testing.T) {
	for name, how := range map[string]app.Rotation{"in its overlap": {Overlap: time.Hour}, "ended at once": {}} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.user("ann")
			ann := w.caller(w.signIn("ann"))
			old, other := w.issue(ann, apikey.KeysWrite|apikey.UsersRead), w.issue(ann, apikey.UsersRead)
			callers := []app.Caller{w.bearer(old)} // as the guard knew it before
			next, err := w.keys.Rotate(t.Context(), home, ann, old.ID, how)
			if err != nil {
				t.Fatal(err)
			}
			if how.Overlap > 0 {
				w.guard = app.NewGuard(w.core)
				callers = append(callers, w.bearer(old)) // as it is
			}
			kept := len(w.events())
			for _, c := range callers {
				_, made := w.keys.Issue(t.Context(), home, c, wish(apikey.UsersRead))
				_, listed := w.keys.List(t.Context(), home, c)
				_, turned := w.keys.Rotate(t.Context(), home, c, next.ID, app.Rotation{})
				_, again := w.keys.Rotate(t.Context(), home, c, old.ID, app.Rotation{})
				for what, err := range map[string]error{"makes a key": made, "lists": listed, "rotates its successor": turned, "rotates itself": again,
					"revokes its successor": w.keys.Revoke(t.Context(), home, c, next.ID), "revokes another": w.keys.Revoke(t.Context(), home, c, other.ID)} {
					if !errors.Is(err, app.ErrForbidden) {
						t.Errorf("it %s: %v, want ErrForbidden", what, err)
					}
				}
			}
			if got := len(w.events()); got != kept {
				t.Errorf("%d events were kept", got-kept)
			}
			w.bearer(next)
			w.bearer(other)
			if err := w.keys.Revoke(t.Context(), home, callers[0], old.ID); err != nil {
				t.Errorf("it ends itself: %v", err)
			}
			_, err = w.admitKey(old)
			refusedKey(t, err, revocation.KeyRevoked)
		})
	}
}

// What is another's, and what never was, are one answer: CVE-2026-40264.
func TestAnothersKeyIsNone(t *testing.T) {
	w := newWorld(t)
	w.user("ann")
	w.user("bob")
	w.admin("boss")
	anns := w.issue(w.caller(w.signIn("ann")), apikey.UsersRead)
	before := len(w.events())
	for name, c := range map[string]app.Caller{"bob": w.caller(w.signIn("bob")), "an administrator": w.caller(w.signIn("boss"))} {
		for what, kid := range map[string]id.APIKey{"Ann's": anns.ID, "nobody's": {9}} {
			before := len(w.events())
			if err := w.keys.Revoke(t.Context(), home, c, kid); err != ports.ErrNotFound {
				t.Errorf("%s revokes %s key: %v, want ErrNotFound", name, what, err)
			}
			if _, err := w.keys.Rotate(t.Context(), home, c, kid, app.Rotation{}); err != ports.ErrNotFound {
				t.Errorf("%s rotates %s key: %v, want ErrNotFound", name, what, err)
			}
			if got := len(w.events()); got != before {
				t.Errorf("%s and %s key: %d events", name, what, got-before)
			}
		}
		if all, err := w.keys.List(t.Context(), home, c); err != nil || len(all) != 0 {
			t.Errorf("%s sees %d keys, %v", name, len(all), err)
		}
	}
	_ = before
	w.bearer(anns)
}

func TestRotation(t *testing.T) {
	w := newWorld(t)
	w.user("ann")
	c := w.caller(w.signIn("ann"))
	old := w.issue(c, apikey.Introspect)
	w.bearer(old)
	next, err := w.keys.Rotate(t.Context(), home, c, old.ID, app.Rotation{Overlap: apikey.DefaultOverlap, Life: 24 * 24 * time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	now := instant.Instant(w.clock.Load())
	if next.ID == old.ID || next.Name != old.Name || next.Scopes != old.Scopes || next.Owner != old.Owner || next.Expires != now.Add(24*24*time.Hour) || next.Text == old.Text {
		t.Errorf("the new key is %+v", next.Key)
	}
	all, err := w.keys.List(t.Context(), home, c)
	if err != nil || len(all) != 2 {
		t.Fatalf("List: %+v, %v", all, err)
	}
	stored, err := w.store.APIKeys().Find(t.Context(), old.ID)
	if err != nil || stored.Successor != next.ID || stored.Retires != now.Add(24*time.Hour) {
		t.Errorf("the old key is %+v, %v", stored, err)
	}
	if _, err := w.keys.Rotate(t.Context(), home, c, old.ID, app.Rotation{}); !errors.Is(err, apikey.ErrRotated) {
		t.Errorf("rotated twice: %v, want ErrRotated", err)
	}
	w.bearer(old)
	w.bearer(next)
	w.turn(24*time.Hour - time.Microsecond)
	w.bearer(old)
	w.turn(time.Microsecond)
	if _, err := w.admitKey(old); !errors.Is(err, apikey.ErrExpired) {
		t.Errorf("the old key after its overlap: %v, want ErrExpired", err)
	}
	w.bearer(next)
	c = w.caller(w.signIn("ann"))
	if _, err := w.keys.Rotate(t.Context(), home, c, old.ID, app.Rotation{}); !errors.Is(err, apikey.ErrEnded) {
		t.Errorf("an ended key rotated: %v, want ErrEnded", err)
	}
	if w.count(audit.APIKeyRotated) != 1 || w.count(audit.APIKeyCreated) != 1 {
		t.Errorf("%d events of rotation and %d of creation, want 1 and 1", w.count(audit.APIKeyRotated), w.count(audit.APIKeyCreated))
	}
}

// A rotated key that another node knew dies there in time too, without a revocation: an overlap is longer than a key is known.
func TestAnotherNodeHearsOfARotation(t *testing.T) {
	w := newWorld(t)
	w.user("ann")
	c := w.caller(w.signIn("ann"))
	old := w.issue(c, apikey.Introspect)
	far := w.elsewhere()
	admit := func() error { _, err := far.AdmitKey(t.Context(), abroad, old.Text.RevealPlaintext()); return err }
	if err := admit(); err != nil {
		t.Fatal(err)
	}
	if _, err := w.keys.Rotate(t.Context(), home, c, old.ID, app.Rotation{Overlap: time.Nanosecond}); err != nil {
		t.Fatal(err)
	}
	w.turn(time.Hour - time.Microsecond)
	if err := admit(); err != nil {
		t.Errorf("before the least overlap is over: %v", err)
	}
	w.turn(time.Microsecond)
	if err := admit(); !errors.Is(err, apikey.ErrExpired) {
		t.Errorf("when it is over: %v, want ErrExpired", err)
	}
}

// However many keys a thief made and ended, the owner can rotate; keys cannot, who could go on with it without end.
func TestKeysThatEndedKeepNoOwnerFromRotating(t *testing.T) {
	w := newWorld(t)
	ann := w.user("ann")
	c := w.caller(w.signIn("ann"))
	k := w.issue(c, apikey.KeysWrite)
	now := instant.Instant(w.clock.Load())
	for i := range apikey.MaxKept {
		_, proof, err := apikey.Make(apikey.Development, id.APIKey{byte(i), byte(i >> 8), 1}, w.core.Random)
		if err != nil {
			t.Fatal(err)
		}
		ended, _ := apikey.New(proof, ann.ID, c.Claims.Generation, wish(apikey.UsersRead), now).Revoke(revocation.KeyRevoked, apikey.Act{Now: now})
		if err := w.store.APIKeys().Create(t.Context(), ended, ports.Effects{}); err != nil {
			t.Fatal(err)
		}
	}
	var limit *apikey.LimitError
	if _, err := w.keys.Issue(t.Context(), home, c, wish(apikey.UsersRead)); !errors.As(err, &limit) || !limit.Kept {
		t.Errorf("one more: %v, want a *LimitError", err)
	}
	if _, err := w.keys.Rotate(t.Context(), home, w.bearer(k), k.ID, app.Rotation{}); !errors.As(err, &limit) || !limit.Kept {
		t.Errorf("rotated by itself: %v, want a *LimitError", err)
	}
	next, err := w.keys.Rotate(t.Context(), home, c, k.ID, app.Rotation{})
	if err != nil {
		t.Fatalf("rotated by its owner: %v", err)
	}
	w.bearer(next)
}

func TestNobodyHoardsKeys(t *testing.T) {
	w := newWorld(t)
	w.user("ann")
	w.user("bob")
	c := w.caller(w.signIn("ann"))
	var made, refused atomic.Int64
	var some sync.Map
	var all sync.WaitGroup
	for range 70 {
		all.Go(func() {
			k, err := w.keys.Issue(t.Context(), home, c, wish(apikey.UsersRead))
			var limit *apikey.LimitError
			switch {
			case err == nil:
				made.Add(1)
				some.Store(k.ID, k)
			case errors.As(err, &limit) && limit.Limit == 50:
				refused.Add(1)
			default:
				t.Error(err)
			}
		})
	}
	all.Wait()
	if made.Load() != 50 || refused.Load() != 20 {
		t.Errorf("%d made and %d refused, want 50 and 20", made.Load(), refused.Load())
	}
	w.issue(w.caller(w.signIn("bob")), apikey.UsersRead)
	var one app.IssuedKey
	some.Range(func(_, k any) bool { one = k.(app.IssuedKey); return false })
	next, err := w.keys.Rotate(t.Context(), home, c, one.ID, app.Rotation{Overlap: time.Hour})
	if err != nil {
		t.Errorf("with 50 keys one cannot be rotated: %v", err)
	}
	for range 49 {
		if next, err = w.keys.Rotate(t.Context(), home, c, next.ID, app.Rotation{Overlap: time.Hour}); err != nil {
			t.Fatal(err)
		}
	}
	var limit *apikey.LimitError
	if _, err = w.keys.Rotate(t.Context(), home, c, next.ID, app.Rotation{Overlap: time.Hour}); !errors.As(err, &limit) || limit.Limit != 100 {
		t.Errorf("a chain of rotations has no end: %v", err)
	}
	w.turn(time.Hour)
	c = w.caller(w.signIn("ann"))
	if err := w.keys.Revoke(t.Context(), home, c, next.ID); err != nil {
		t.Fatal(err)
	}
	w.issue(c, apikey.UsersRead)
	if _, err := w.keys.Issue(t.Context(), home, c, wish(apikey.UsersRead)); !errors.As(err, &limit) {
		t.Errorf("the 51st: %v", err)
	}
	// Keys that ended with all that their owner had are in nobody's way, are seen to have ended, and are not rotated.
	if _, err := w.revoker.Revoke(t.Context(), root, app.Selector{User: "ann"}, "", false); err != nil {
		t.Fatal(err)
	}
	c = w.caller(w.signIn("ann"))
	fresh := w.issue(c, apikey.UsersRead)
	listed, err := w.keys.List(t.Context(), home, c)
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range listed {
		if alive := k.ID == fresh.ID; (k.Ended == nil) != alive {
			t.Errorf("a key of before, or the new one: listed as ended by %v", k.Ended)
		}
		if k.ID != fresh.ID && k.Revoked == 0 && k.Expires > instant.Instant(w.clock.Load()) && k.Retires == 0 {
			refusedKey(t, k.Ended, revocation.UserRevoked)
			if _, err := w.keys.Rotate(t.Context(), home, c, k.ID, app.Rotation{Overlap: time.Hour}); !errors.Is(err, apikey.ErrEnded) {
				t.Errorf("it is rotated: %v, want ErrEnded", err)
			}
		}
	}
}

// slowList is a store in which two who count the keys of an owner at once see the same.
type slowList struct {
	ports.APIKeys
	readers atomic.Int64
	both    chan struct{}
}

func (s *slowList) OfUser(ctx context.Context, uid id.User) ([]apikey.Key, error) {
	all, err := s.APIKeys.OfUser(ctx, uid)
	if len(all) == 49 {
		if s.readers.Add(1) == 2 {
			close(s.both)
		}
		select {
		case <-s.both:
		case <-time.After(100 * time.Millisecond):
		}
	}
	return all, err
}

func TestTheLastPlaceIsTakenOnce(t *testing.T) {
	slow := &slowList{both: make(chan struct{})}
	w := newWorld(t, func(c *app.Core) { slow.APIKeys, c.Stores.APIKeys = c.Stores.APIKeys, slow })
	w.user("ann")
	c := w.caller(w.signIn("ann"))
	for range 49 {
		w.issue(c, apikey.UsersRead)
	}
	var made atomic.Int64
	var all sync.WaitGroup
	for range 2 {
		all.Go(func() {
			if _, err := w.keys.Issue(t.Context(), home, c, wish(apikey.UsersRead)); err == nil {
				made.Add(1)
			}
		})
	}
	all.Wait()
	if made.Load() != 1 {
		t.Errorf("with 49 keys, %d more were made at once, want 1", made.Load())
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := w.keys.Issue(ctx, home, c, wish(apikey.UsersRead)); !errors.Is(err, context.Canceled) {
		t.Errorf("with a context that has ended: %v", err)
	}
}

// A key that was asked for by a token that is revoked meanwhile is born dead.
func TestAKeyIsOfTheGenerationOfWhoAskedForIt(t *testing.T) {
	for name, revoke := range map[string]func(w *world, ann account.Account) error{
		"revoked": func(w *world, _ account.Account) error {
			_, err := w.revoker.Revoke(context.Background(), root, app.Selector{User: "ann"}, "", false)
			return err
		},
		"disabled and enabled": func(w *world, ann account.Account) error {
			return errors.Join(w.accounts.Disable(context.Background(), root, ann.ID), w.accounts.Enable(context.Background(), root, ann.ID))
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			ann := w.user("ann")
			c := w.caller(w.signIn("ann"))
			parent := w.issue(c, apikey.KeysWrite)
			p := w.bearer(parent)
			if err := revoke(w, ann); err != nil {
				t.Fatal(err)
			}
			for who, c := range map[string]app.Caller{"a token": c, "a key": p} {
				if k, err := w.keys.Issue(t.Context(), home, c, wish(apikey.UsersRead)); err == nil {
					if _, err := w.admitKey(k); err == nil {
						t.Errorf("a key that %s asked for, let in before, lives", who)
					}
				}
				if k, err := w.keys.Rotate(t.Context(), home, c, parent.ID, app.Rotation{Overlap: time.Hour}); err == nil {
					if _, err := w.admitKey(k); err == nil {
						t.Errorf("a key that %s rotated, let in before, lives", who)
					}
				}
			}
			w.bearer(w.issue(w.caller(w.signIn("ann")), apikey.UsersRead))
		})
	}
}

func TestUsesAreCountedAndWrittenDownLater(t *testing.T) {
	w, store := newCountedKeys(t)
	w.user("ann")
	c := w.caller(w.signIn("ann"))
	a, b := w.issue(c, apikey.UsersRead), w.issue(c, apikey.UsersRead)
	var all sync.WaitGroup
	for range 16 {
		all.Go(func() {
			for range 50 {
				if _, err := w.admitKey(a); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	w.turn(time.Minute)
	if _, err := w.guard.AdmitKey(t.Context(), home, a.Text.RevealPlaintext()); err != nil {
		t.Fatal(err)
	}
	used := w.used(t)
	if len(used) != 1 || used[0].ID != a.ID || used[0].Uses != 801 || used[0].LastUsed != instant.Instant(w.clock.Load()) || used[0].LastFrom != home.Origin {
		t.Errorf("used: %+v, want %v 801 times, last from home", used, a.ID)
	}
	if got := store.updates.Load(); got != 1 {
		t.Errorf("%d writings, want 1", got)
	}
	w.used(t)
	if got := store.updates.Load(); got != 1 {
		t.Errorf("%d writings after nothing happened, want 1", got)
	}
	// What is read again goes on counting, and so does what could not be written.
	w.bearer(a)
	w.turn(10 * time.Minute)
	w.bearer(a)
	w.bearer(b)
	store.off.Store(true)
	for range 3 {
		if err := w.keys.Flush(t.Context()); !errors.Is(err, ports.ErrUnavailable) {
			t.Errorf("Flush into a store that is down: %v", err)
		}
	}
	store.off.Store(false)
	w.bearer(b)
	counts := map[id.APIKey]uint64{}
	for _, k := range w.used(t) {
		counts[k.ID] = k.Uses
	}
	if counts[a.ID] != 803 || counts[b.ID] != 2 {
		t.Errorf("uses: %v, want 803 and 2", counts)
	}
	// The uses of a key that is forgotten are nobody's.
	if _, ended := w.keys.Revoke(t.Context(), home, c, b.ID), w.keys.Flush(t.Context()); ended != nil {
		t.Error(ended)
	}
}

// Run writes down each minute, and once more at its end.
func TestRunFlushesEachMinuteAndAtItsEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, store := newCountedKeys(t)
		w.user("ann")
		k := w.issue(w.caller(w.signIn("ann")), apikey.UsersRead)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { defer close(done); w.keys.Run(ctx) }()
		w.bearer(k)
		time.Sleep(59 * time.Second) //nolint:forbidigo // the bubble's clock
		if store.updates.Load() != 0 {
			t.Error("written down within a minute")
		}
		time.Sleep(2 * time.Second) //nolint:forbidigo // the bubble's clock
		if store.updates.Load() != 1 {
			t.Errorf("%d writings after a minute, want 1", store.updates.Load())
		}
		w.bearer(k)
		cancel()
		<-done
		if got, err := w.store.APIKeys().Find(t.Context(), k.ID); err != nil || got.Uses != 2 {
			t.Errorf("after the end: %d uses, %v, want 2", got.Uses, err)
		}
	})
}

// However many keys are sent, a bounded number is known and counted; one that is sent all the time stays known.
func TestTheGuardKnowsABoundedNumberOfKeys(t *testing.T) {
	w, store := newCountedKeys(t)
	ann := w.user("ann")
	hot := w.issue(w.caller(w.signIn("ann")), apikey.UsersRead)
	w.bearer(hot)
	for i := range app.MaxKnownKeys + 2000 {
		kid := id.APIKey{byte(i), byte(i >> 8), 1}
		text, proof, err := apikey.Make(apikey.Development, kid, w.core.Random)
		if err != nil {
			t.Fatal(err)
		}
		k := apikey.New(proof, ann.ID, 1, wish(apikey.UsersRead), instant.Instant(w.clock.Load()))
		if err := w.store.APIKeys().Create(t.Context(), k, ports.Effects{}); err != nil {
			t.Fatal(err)
		}
		w.bearer(app.IssuedKey{Key: k, Text: text})
		if i%100 == 0 {
			w.bearer(hot)
		}
	}
	if got := w.guard.KnownKeys(); got > app.MaxKnownKeys || got < app.MaxKnownKeys/2 {
		t.Errorf("%d keys are known, want at most %d, and not far fewer", got, app.MaxKnownKeys)
	}
	if got := store.finds.Load(); got != app.MaxKnownKeys+2001 {
		t.Errorf("the store was asked %d times, want once for each key", got)
	}
	if got := w.guard.UsedKeys(); got != app.MaxKnownKeys+2001 {
		t.Errorf("the uses of %d keys wait to be written down", got)
	}
	w.used(t)
	if got := w.guard.UsedKeys(); got != 0 {
		t.Errorf("after a flush the uses of %d keys wait", got)
	}
	// Garbage, and secrets that are not of the key, make nothing known.
	g := app.NewGuard(w.core)
	for range 100 {
		text, _, err := apikey.Make(apikey.Development, hot.ID, w.core.Random)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := g.AdmitKey(t.Context(), abroad, text.RevealPlaintext()); !errors.Is(err, apikey.ErrInvalid) {
			t.Fatal(err)
		}
	}
	if g.KnownKeys() != 0 || g.UsedKeys() != 0 {
		t.Errorf("guesses made %d keys known and %d used", g.KnownKeys(), g.UsedKeys())
	}
}

func TestNothingIsIssuedWithoutChance(t *testing.T) {
	w := newWorld(t)
	w.user("ann")
	c := w.caller(w.signIn("ann"))
	k := w.issue(c, apikey.UsersRead)
	w.core.Random = broken{}
	if _, err := w.keys.Issue(t.Context(), home, c, wish(apikey.UsersRead)); !errors.Is(err, ports.ErrUnavailable) {
		t.Errorf("Issue: %v, want ErrUnavailable", err)
	}
	if _, err := w.keys.Rotate(t.Context(), home, c, k.ID, app.Rotation{}); !errors.Is(err, ports.ErrUnavailable) {
		t.Errorf("Rotate: %v, want ErrUnavailable", err)
	}
	if err := w.keys.Revoke(t.Context(), home, c, k.ID); !errors.Is(err, ports.ErrUnavailable) {
		t.Errorf("Revoke: %v, want ErrUnavailable", err)
	}
	if all, err := w.keys.List(t.Context(), home, c); err != nil || len(all) != 1 {
		t.Errorf("%d keys, %v, want the first one alone", len(all), err)
	}
	w.bearer(k)
}

func TestATextThatWasFoundEndsItsKey(t *testing.T) {
	w := newWorld(t)
	ann := w.user("ann")
	k := w.issue(w.caller(w.signIn("ann")), apikey.UsersRead)
	strange, _, err := apikey.Make(apikey.Development, k.ID, w.core.Random)
	if err != nil {
		t.Fatal(err)
	}
	var bad *app.SelectorError
	for _, text := range []string{"xt_", k.Text.RevealPlaintext() + "x", strange.RevealPlaintext()} {
		if _, err := w.revoker.Revoke(t.Context(), root, app.Selector{Token: secret.New(text)}, "", false); !errors.As(err, &bad) || bad.Field != "token" {
			t.Errorf("%.10s…: %v, want a *SelectorError", text, err)
		}
	}
	if _, err := w.revoker.Revoke(t.Context(), root, app.Selector{Token: k.Text}, "", true); err != nil {
		t.Errorf("a dry run: %v", err)
	}
	w.bearer(k)
	if _, err := w.revoker.Revoke(t.Context(), root, app.Selector{Token: k.Text}, "on a shared drive", false); err != nil {
		t.Fatal(err)
	}
	_, err = w.admitKey(k)
	refusedKey(t, err, revocation.KeyRevoked)
	var told []audit.Event
	for _, e := range w.events() {
		if e.Kind == audit.APIKeyRevoked {
			told = append(told, e)
		}
	}
	if len(told) != 1 || told[0].Actor != app.Operator || told[0].Subject != ann.ID.String() || told[0].Details["note"] != "on a shared drive" || told[0].Details["api_key"] != k.ID.String() {
		t.Errorf("the events are %+v", told)
	}
}

// The line of a refused key names it and its owner when it was good once, and nobody when it proved nothing.
func TestARefusedKeyIsTold(t *testing.T) {
	w := newWorld(t)
	ann := w.user("ann")
	k := w.issue(w.caller(w.signIn("ann")), apikey.UsersRead)
	if err := w.keys.Revoke(t.Context(), home, w.caller(w.signIn("ann")), k.ID); err != nil {
		t.Fatal(err)
	}
	kept := len(w.events())
	told := func(text string) audit.Event {
		t.Helper()
		c, err := w.guard.AdmitKey(t.Context(), abroad, text)
		w.guard.Refused(t.Context(), abroad, c, "GET /", err)
		w.journal.mu.Lock()
		defer w.journal.mu.Unlock()
		return w.journal.told[len(w.journal.told)-1]
	}
	e := told(k.Text.RevealPlaintext())
	if e.Kind != audit.APIKeyRefused || e.Subject != ann.ID.String() || e.Reason != "token_revoked" || e.Details["revoked"] != "key_revoked" || e.Details["api_key"] != k.ID.String() || e.Details["session"] != "" {
		t.Errorf("a revoked key: %+v", e)
	}
	strange, _, err := apikey.Make(apikey.Development, k.ID, w.core.Random)
	if err != nil {
		t.Fatal(err)
	}
	for text, reason := range map[string]string{strange.RevealPlaintext(): "token_invalid", "xt_": "token_malformed"} {
		if e := told(text); e.Kind != audit.APIKeyRefused || e.Subject != "" || e.Reason != reason || len(e.Details) != 2 {
			t.Errorf("one that proves nothing: %+v", e)
		}
	}
	if got := len(w.events()); got != kept {
		t.Errorf("%d refusals were stored", got-kept)
	}
}

func TestTheEnvironmentIsOneOfThree(t *testing.T) {
	w := newWorld(t)
	for env, ok := range map[apikey.Environment]bool{"": true, "dev": true, "stg": true, "prd": true, "production": false, "tst": false, "PRD": false} {
		tunables := w.core.Tunables
		tunables.Environment = env
		if err := tunables.Validate(); (err == nil) != ok {
			t.Errorf("%q: %v", env, err)
		}
	}
	prd := newWorld(t, func(c *app.Core) { c.Tunables.Environment = apikey.Production })
	prd.user("ann")
	k := prd.issue(prd.caller(prd.signIn("ann")), apikey.UsersRead)
	if !strings.HasPrefix(k.Text.RevealPlaintext(), "xt_prd_") || k.Environment != apikey.Production {
		t.Errorf("a key of production is %+v", k.Key)
	}
	prd.bearer(k)
}

func TestKeysThatAKeyMadeAreShownAndEndWithIt(t *testing.T) {
	w := newWorld(t)
	w.user("ann")
	ann := w.caller(w.signIn("ann"))
	stolen, other := w.issue(ann, apikey.KeysWrite), w.issue(ann, apikey.KeysWrite)
	child := w.issue(w.bearer(stolen), apikey.KeysWrite)
	grandchild := w.issue(w.bearer(child), apikey.KeysWrite)
	heir, err := w.keys.Rotate(t.Context(), abroad, w.bearer(stolen), grandchild.ID, app.Rotation{Overlap: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	renewed, err := w.keys.Rotate(t.Context(), home, ann, child.ID, app.Rotation{Overlap: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	all, err := w.keys.List(t.Context(), home, ann)
	if err != nil {
		t.Fatal(err)
	}
	want := map[id.APIKey]id.APIKey{stolen.ID: {}, other.ID: {}, child.ID: stolen.ID, grandchild.ID: child.ID, heir.ID: stolen.ID, renewed.ID: {}}
	for i := range all {
		by, known := want[all[i].ID]
		if !known || all[i].MadeBy != (apikey.Maker{Session: ann.Session(), Key: by}) {
			t.Errorf("%v was made by %+v, want the key %v", all[i].ID, all[i].MadeBy, by)
		}
	}
	// One that another took the place of ends itself alone.
	if got, err := w.keys.RevokeLine(t.Context(), abroad, w.bearer(grandchild), grandchild.ID); !errors.Is(err, app.ErrForbidden) {
		t.Errorf("a rotated key ended %v, %v", got, err)
	}
	ended, err := w.keys.RevokeLine(t.Context(), home, ann, stolen.ID)
	if err != nil || len(ended) != 4 || ended[0] != stolen.ID {
		t.Errorf("RevokeLine: %v, %v", ended, err)
	}
	for name, k := range map[string]app.IssuedKey{"the stolen one": stolen, "its child": child, "its grandchild": grandchild, "the one it rotated": heir} {
		_, err := w.admitKey(k)
		t.Log(name)
		refusedKey(t, err, revocation.KeyRevoked)
	}
	for name, k := range map[string]app.IssuedKey{"another of the owner's": other, "what the owner renewed": renewed} {
		if _, err := w.admitKey(k); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if n := w.count(audit.APIKeyRevoked); n != 4 {
		t.Errorf("%d events tell of an end, want 4", n)
	}
}

// madeBetween has a key made in the moment before another is ended.
type madeBetween struct {
	ports.APIKeys
	before func()
}

func (m *madeBetween) Update(ctx context.Context, kid id.APIKey, change func(apikey.Key) (apikey.Key, ports.Effects, error)) error {
	if f := m.before; f != nil {
		m.before = nil
		f()
	}
	return m.APIKeys.Update(ctx, kid, change)
}

func TestAKeyMakesNoneThatOutrunsItsEnd(t *testing.T) {
	keys := &madeBetween{}
	w := newWorld(t, func(c *app.Core) { keys.APIKeys = c.Stores.APIKeys; c.Stores.APIKeys = keys })
	w.user("ann")
	ann := w.caller(w.signIn("ann"))
	stolen := w.issue(ann, apikey.KeysWrite)
	child := w.issue(w.bearer(stolen), apikey.KeysWrite)
	thief := w.bearer(child)
	if err := w.keys.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	var late app.IssuedKey
	n := 0
	var hook func()
	hook = func() { // the first end is the stolen one's; before the child's, the child makes one more
		if n++; n == 2 {
			late = w.issue(thief, apikey.KeysWrite)
			return
		}
		keys.before = hook
	}
	keys.before = hook
	ended, err := w.keys.RevokeLine(t.Context(), home, ann, stolen.ID)
	if err != nil || len(ended) != 3 || late.ID.IsZero() {
		t.Fatalf("RevokeLine: %v, %v", ended, err)
	}
	_, err = w.admitKey(late)
	refusedKey(t, err, revocation.KeyRevoked)
}

// Another role does not end a key, not even for the one request during which it is given.
func TestAKeyWhoseOwnersRoleChangesWhileItIsRead(t *testing.T) {
	for changes, want := range map[int]bool{1: true, 2: true, 100: false} {
		owners := &slowAccounts{}
		w := newWorld(t, func(core *app.Core) { owners.Accounts, core.Stores.Accounts = core.Stores.Accounts, owners })
		w.admin("boss")
		ann := w.user("ann")
		k := w.issue(w.caller(w.signIn("ann")), apikey.UsersRead)
		roles, left, within := []account.Role{account.RoleAdmin, account.RoleUser}, changes, false
		owners.after = func() {
			if left == 0 || within {
				return
			}
			left--
			within = true
			if err := w.accounts.SetRole(t.Context(), root, ann.ID, roles[(changes-left+1)%2]); err != nil {
				t.Error(err)
			}
			within = false
		}
		if _, err := w.admitKey(k); (err == nil) != want {
			t.Errorf("%d changes while it is read: got %v, want it let in: %v", changes, err, want)
		}
		if owners.after = nil; w.bearer(k).User() != ann.ID {
			t.Error("and afterwards it is not taken")
		}
	}
}

// A thief who was let in just before the end of a line, and is still making a key, makes it in vain.
func TestAKeyThatIsBeingMadeEndsWithItsLine(t *testing.T) {
	owners := &slowAccounts{}
	w := newWorld(t, func(core *app.Core) { owners.Accounts, core.Stores.Accounts = core.Stores.Accounts, owners })
	w.user("ann")
	ann := w.caller(w.signIn("ann"))
	stolen := w.issue(ann, apikey.KeysWrite)
	thief := w.bearer(stolen)
	type line struct {
		ended []id.APIKey
		err   error
	}
	done := make(chan line, 1)
	owners.after = func() { // the thief has been judged
		owners.after = nil
		go func() {
			ended, err := w.keys.RevokeLine(context.Background(), home, ann, stolen.ID)
			done <- line{ended, err}
		}()
		for deadline := time.Now().Add(10 * time.Second); ; {
			k, err := w.store.APIKeys().Find(t.Context(), stolen.ID)
			if err == nil && k.Revoked != 0 {
				break
			}
			if time.Now().After(deadline) {
				t.Error("the stolen key is not revoked")
				break
			}
			runtime.Gosched()
		}
		for range 100 { // whoever does not wait for this has looked by now
			runtime.Gosched()
		}
	}
	late := w.issue(thief, apikey.KeysWrite)
	got := <-done
	if got.err != nil || len(got.ended) != 2 || got.ended[1] != late.ID {
		t.Errorf("RevokeLine: %v, %v, want the key that was being made too", got.ended, got.err)
	}
	_, err := w.admitKey(late)
	refusedKey(t, err, revocation.KeyRevoked)
	if _, err := w.keys.Issue(t.Context(), abroad, thief, wish(apikey.KeysWrite)); !errors.Is(err, app.ErrForbidden) {
		t.Errorf("afterwards the thief makes another: %v", err)
	}
}
