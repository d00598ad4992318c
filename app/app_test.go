package app_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/xteam/xteam/app"
	"github.com/xteam/xteam/domain/account"
	"github.com/xteam/xteam/domain/audit"
	"github.com/xteam/xteam/domain/id"
	"github.com/xteam/xteam/domain/instant"
	"github.com/xteam/xteam/domain/revocation"
	"github.com/xteam/xteam/domain/secret"
	"github.com/xteam/xteam/domain/session"
	"github.com/xteam/xteam/domain/token"
	"github.com/xteam/xteam/ports"
)

type sessionID = id.Session

// refused demands that a token is refused as revoked, with that reason.
func refused(t *testing.T, err error, want revocation.Reason) {
	t.Helper()
	var r *revocation.RevokedError
	if !errors.As(err, &r) || r.Reason != want {
		t.Fatalf("got %v, want revoked: %v", err, want)
	}
}

// ended demands that a refresh is refused because its session has ended, with that reason.
func ended(t *testing.T, err error, want revocation.Reason) {
	t.Helper()
	var e *session.EndedError
	if !errors.As(err, &e) || e.Reason != want {
		t.Fatalf("got %v, want the session ended: %v", err, want)
	}
}

func TestSignInUseAndLogOut(t *testing.T) {
	w := newWorld(t)
	ann := w.user("ann")
	tk := w.signIn("ann")
	other := w.signIn("ANN")
	c := w.caller(tk)
	if c.User() != ann.ID || c.IsAdmin() || tk.ExpiresIn != 30*time.Minute {
		t.Fatalf("caller %v of %v, admin %v, for %v", c.User(), ann.ID, c.IsAdmin(), tk.ExpiresIn)
	}
	if me, err := w.accounts.Me(t.Context(), c); err != nil || me.Email != ann.Email {
		t.Fatalf("Me: %v, %v", me.Email, err)
	}
	if err := w.sessions.Logout(t.Context(), home, c); err != nil {
		t.Fatal(err)
	}
	_, err := w.admit(tk)
	refused(t, err, revocation.Logout)
	_, err = w.sessions.Refresh(t.Context(), home, tk.Refresh)
	ended(t, err, revocation.Logout)
	w.caller(other)
	if n := w.count(audit.TokenRevoked); n != 1 {
		t.Errorf("%d events of a revocation, want 1", n)
	}
	w.turn(31 * time.Minute)
	if _, err := w.admit(other); !errors.Is(err, token.ErrExpired) {
		t.Errorf("half an hour later: %v, want expired", err)
	}
}

// TestUntold: an unknown name, a wrong password and a disabled account cannot be told apart.
func TestUntold(t *testing.T) {
	w := newWorld(t)
	w.user("ann")
	bob := w.user("bob")
	if err := w.accounts.Disable(t.Context(), root, bob.ID); err != nil {
		t.Fatal(err)
	}
	before := w.count(audit.AuthenticationFailed)
	for _, try := range []struct{ name, password string }{{"ann", "wrong"}, {"bob", password}, {"nobody", password}} {
		w.passwords.compared = nil
		l, _ := account.ParseLogin("", try.name)
		_, err := w.sessions.Login(t.Context(), home, l, secret.New(try.password))
		if err != account.ErrCredentials {
			t.Errorf("%s: %v", try.name, err)
		}
		if len(w.passwords.compared) != 1 {
			t.Errorf("%s: %d comparisons, want 1", try.name, len(w.passwords.compared))
		}
	}
	if n := w.count(audit.AuthenticationFailed) - before; n != 3 {
		t.Errorf("%d events, want 3", n)
	}
}

// TestChangedWhileHashing: an account that is disabled, or given another password, during the comparison does not get a session.
func TestChangedWhileHashing(t *testing.T) {
	w := newWorld(t)
	ann := w.user("ann")
	w.passwords.between = func() { _ = w.accounts.Disable(context.Background(), root, ann.ID) }
	if _, err := w.login("ann"); !errors.Is(err, account.ErrCredentials) {
		t.Errorf("disabled meanwhile: %v", err)
	}
	w.passwords.between = nil
	if err := w.accounts.Enable(t.Context(), root, ann.ID); err != nil {
		t.Fatal(err)
	}
	w.passwords.weak = "new:"
	w.passwords.between = func() {
		_ = w.store.Accounts().Update(context.Background(), ann.ID, func(a account.Account) (account.Account, ports.Effects, error) {
			a.Password = secret.New("new:another")
			return a, ports.Effects{}, nil
		})
	}
	if _, err := w.login("ann"); !errors.Is(err, account.ErrCredentials) {
		t.Errorf("another password meanwhile: %v", err)
	}
}

func TestUpgradeOfHash(t *testing.T) {
	w := newWorld(t)
	ann := w.user("ann")
	sum := strings.TrimPrefix(ann.Password.RevealPlaintext(), "new:")
	_ = w.store.Accounts().Update(t.Context(), ann.ID, func(a account.Account) (account.Account, ports.Effects, error) {
		a.Password = secret.New("old:" + sum)
		return a, ports.Effects{}, nil
	})
	w.passwords.weak = "old:"
	w.caller(w.signIn("ann"))
	got, err := w.store.Accounts().Find(t.Context(), ann.ID)
	if err != nil || !strings.HasPrefix(got.Password.RevealPlaintext(), "new:") {
		t.Fatalf("not upgraded: %v", err)
	}
	if w.count(audit.PasswordRehashed) != 1 {
		t.Error("no event of it")
	}
}

// TestRandomFails (CVE-2025-66630): without randomness nothing is issued.
func TestRandomFails(t *testing.T) {
	w := newWorld(t)
	w.user("ann")
	tk := w.signIn("ann")
	w.core.Random = broken{}
	if got, err := w.login("ann"); !errors.Is(err, ports.ErrUnavailable) || !got.Access.IsZero() || !got.Refresh.IsZero() {
		t.Errorf("login: %v", err)
	}
	if got, err := w.sessions.Refresh(t.Context(), home, tk.Refresh); !errors.Is(err, ports.ErrUnavailable) || !got.Access.IsZero() {
		t.Errorf("refresh: %v", err)
	}
	if _, err := w.accounts.Register(t.Context(), home, registration(t, "bob")); !errors.Is(err, ports.ErrUnavailable) {
		t.Errorf("register: %v", err)
	}
}

// TestLogoutFails (CVE-2020-15223): a store that fails is never a revocation that succeeded.
func TestLogoutFails(t *testing.T) {
	store := &failingSessions{}
	w := newWorld(t, func(c *app.Core) { store.Sessions, c.Stores.Sessions = c.Stores.Sessions, store })
	w.user("ann")
	tk := w.signIn("ann")
	c := w.caller(tk)
	store.off.Store(true)
	if err := w.sessions.Logout(t.Context(), home, c); !errors.Is(err, ports.ErrUnavailable) {
		t.Fatalf("log-out on a failing store: %v", err)
	}
	if n := w.count(audit.TokenRevoked); n != 0 {
		t.Errorf("%d events tell of a revocation that was not", n)
	}
	store.off.Store(false)
	if err := w.sessions.Logout(t.Context(), home, w.caller(tk)); err != nil {
		t.Fatalf("log-out after recovery: %v", err)
	}
	_, err := w.admit(tk)
	refused(t, err, revocation.Logout)
}

// TestRevokeAndSignInAtOnce (CVE-2020-26892): no clock is compared, so the order of a revocation and a sign-in in one microsecond is kept.
func TestRevokeAndSignInAtOnce(t *testing.T) {
	w := newWorld(t)
	w.user("ann")
	old := w.signIn("ann")
	for i := range 1000 {
		if _, err := w.revoker.Revoke(t.Context(), root, app.Selector{User: "ann"}, "", false); err != nil {
			t.Fatal(err)
		}
		now := w.signIn("ann")
		if _, err := w.admit(now); err != nil {
			t.Fatalf("round %d: the new token: %v", i, err)
		}
		_, err := w.admit(old)
		refused(t, err, revocation.UserRevoked)
		old = now
	}
}

func TestRefreshChain(t *testing.T) {
	w := newWorld(t)
	w.user("ann")
	foo := w.signIn("ann")
	refresh := func(r app.Request, tk app.Tokens) (app.Tokens, error) {
		return w.sessions.Refresh(context.Background(), r, tk.Refresh)
	}
	bar, err := refresh(home, foo)
	if err != nil {
		t.Fatal(err)
	}
	again, err := refresh(home, foo)
	if err != nil || !again.Refresh.Equal(bar.Refresh) {
		t.Fatalf("the parent within the grace: %v, the same successor: %v", err, again.Refresh.Equal(bar.Refresh))
	}
	w.caller(again)
	baz, err := refresh(home, bar)
	if err != nil {
		t.Fatal(err)
	}
	if again, err := refresh(home, bar); err != nil || !again.Refresh.Equal(baz.Refresh) {
		t.Fatalf("bar once more: %v", err)
	}
	_, err = refresh(home, foo) // an ancestor of the parent
	ended(t, err, revocation.RefreshReuse)
	for name, tk := range map[string]app.Tokens{"foo": foo, "bar": bar, "baz": baz} {
		_, err := w.admit(tk)
		refused(t, err, revocation.RefreshReuse)
		_, err = refresh(home, tk)
		ended(t, err, revocation.RefreshReuse)
		_ = name
	}
	if n := w.count(audit.RefreshReused); n != 1 {
		t.Errorf("%d events of reuse, want 1", n)
	}
}

func TestReuseAfterGraceAndFromElsewhere(t *testing.T) {
	for name, try := range map[string]struct {
		later time.Duration
		from  app.Request
	}{"after the grace": {session.Grace, home}, "from another network and User-Agent": {time.Second, abroad}} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.user("ann")
			old := w.signIn("ann")
			live, err := w.sessions.Refresh(t.Context(), home, old.Refresh)
			if err != nil {
				t.Fatal(err)
			}
			w.turn(try.later)
			_, err = w.sessions.Refresh(t.Context(), try.from, old.Refresh)
			ended(t, err, revocation.RefreshReuse)
			_, err = w.admit(live)
			refused(t, err, revocation.RefreshReuse)
			if w.count(audit.RefreshReused) != 1 {
				t.Error("no event of reuse")
			}
		})
	}
}

// TestConcurrentRefreshes (CVE-2026-1035): one successor, nobody signed out.
func TestConcurrentRefreshes(t *testing.T) {
	w := newWorld(t)
	w.user("ann")
	tk := w.signIn("ann")
	var mu sync.Mutex
	got := map[string]int{}
	var wg sync.WaitGroup
	for range 100 {
		wg.Go(func() {
			next, err := w.sessions.Refresh(context.Background(), home, tk.Refresh)
			if err != nil {
				t.Errorf("refresh: %v", err)
				return
			}
			if _, err := w.admit(next); err != nil {
				t.Errorf("its access token: %v", err)
			}
			mu.Lock()
			defer mu.Unlock()
			got[next.Refresh.RevealPlaintext()]++
		})
	}
	wg.Wait()
	if len(got) != 1 {
		t.Fatalf("%d successors, want 1", len(got))
	}
	if n := w.count(audit.SessionRefreshed); n != 1 {
		t.Errorf("%d rotations, want 1", n)
	}
}

// TestForgedRefreshEndsNothing: what does not prove itself changes nothing.
func TestForgedRefreshEndsNothing(t *testing.T) {
	w := newWorld(t)
	w.user("ann")
	tk := w.signIn("ann")
	good, err := session.ParseRefresh(tk.Refresh.RevealPlaintext())
	if err != nil {
		t.Fatal(err)
	}
	forged, unknownKey := good, good
	forged.Counter = 99
	unknownKey.Key = 77
	for name, text := range map[string]string{"damaged": tk.Refresh.RevealPlaintext()[:50], "empty": "", "guessed": forged.Text().RevealPlaintext(), "another key": unknownKey.Text().RevealPlaintext()} {
		if _, err := w.sessions.Refresh(t.Context(), home, secret.New(text)); !errors.Is(err, session.ErrMalformed) && !errors.Is(err, session.ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
	w.caller(tk)
	if _, err := w.sessions.Refresh(t.Context(), home, tk.Refresh); err != nil {
		t.Errorf("the real one afterwards: %v", err)
	}
}

func TestSessionHasAnAbsoluteEnd(t *testing.T) {
	w := newWorld(t)
	w.user("ann")
	tk := w.signIn("ann")
	for range 5 {
		w.turn(6 * 24 * time.Hour)
		next, err := w.sessions.Refresh(t.Context(), home, tk.Refresh)
		if err == nil {
			tk = next
			continue
		}
		if !errors.Is(err, session.ErrExpired) {
			t.Fatal(err)
		}
		return
	}
	t.Fatal("a session of 30 days was still refreshed on day 30")
}

// TestAccessTokensEndWithTheirSession: no access token outlives the absolute end of its session, and each is worth something while that has not come.
func TestAccessTokensEndWithTheirSession(t *testing.T) {
	w := newWorld(t, func(c *app.Core) { c.Tunables.Refresh, c.Tunables.Session = time.Hour, time.Hour })
	w.user("ann")
	w.turn(700 * time.Millisecond)
	tk := w.signIn("ann")
	end := instant.Instant(w.clock.Load()).Add(time.Hour)
	w.turn(45 * time.Minute)
	tk, err := w.refresh(tk)
	if err != nil {
		t.Fatal(err)
	}
	if got := w.caller(tk).Claims.ExpiresAt; got > end || end.Sub(got) > time.Second || tk.ExpiresIn > 15*time.Minute || tk.ExpiresIn < 15*time.Minute-time.Second {
		t.Errorf("a token until %v, for %v, of a session that ends at %v", got, tk.ExpiresIn, end)
	}
	for left := 15 * time.Minute; left > 0; left -= 250 * time.Millisecond {
		if left == 2*time.Second {
			for ; left > 0; left -= 250 * time.Millisecond {
				w.turn(250 * time.Millisecond)
				last, err := w.refresh(tk)
				if errors.Is(err, session.ErrExpired) {
					return
				}
				if err != nil {
					t.Fatalf("%v before the end: %v", left, err)
				}
				w.caller(last)
				tk = last
			}
		}
		w.turn(250 * time.Millisecond)
	}
	t.Error("the session never ended")
}

// TestWhyARefreshIsRefused: first what is no token of a session, then the session's own end, its expiry, and only then what ended it from outside.
func TestWhyARefreshIsRefused(t *testing.T) {
	revokeUser := func(w *world, _ app.Tokens) {
		_, _ = w.revoker.Revoke(context.Background(), root, app.Selector{User: "ann"}, "", false)
	}
	logOut := func(w *world, tk app.Tokens) { _ = w.sessions.Logout(context.Background(), home, w.caller(tk)) }
	late := func(w *world, _ app.Tokens) { w.turn(8 * 24 * time.Hour) }
	all := func(w *world, _ app.Tokens) {
		_, _ = w.revoker.Revoke(context.Background(), root, app.Selector{All: true}, "", false)
	}
	for name, try := range map[string]struct {
		before []func(*world, app.Tokens)
		forged bool
		want   error
		reason revocation.Reason
	}{
		"unknown":                              {nil, true, session.ErrInvalid, 0},
		"unknown, of an ended session":         {[]func(*world, app.Tokens){logOut}, true, session.ErrInvalid, 0},
		"unknown, of an expired session":       {[]func(*world, app.Tokens){late}, true, session.ErrInvalid, 0},
		"unknown, of a revoked user":           {[]func(*world, app.Tokens){revokeUser}, true, session.ErrInvalid, 0},
		"logged out, then the user revoked":    {[]func(*world, app.Tokens){logOut, revokeUser}, false, nil, revocation.Logout},
		"logged out, then all revoked":         {[]func(*world, app.Tokens){logOut, all}, false, nil, revocation.Logout},
		"logged out, then expired":             {[]func(*world, app.Tokens){logOut, late}, false, nil, revocation.Logout},
		"the user revoked, then expired":       {[]func(*world, app.Tokens){revokeUser, late}, false, session.ErrExpired, 0},
		"all revoked, then expired":            {[]func(*world, app.Tokens){all, late}, false, session.ErrExpired, 0},
		"the user revoked, then all":           {[]func(*world, app.Tokens){revokeUser, all}, false, nil, revocation.UserRevoked},
		"used, repeated under a revoked user":  {[]func(*world, app.Tokens){func(w *world, tk app.Tokens) { _, _ = w.refresh(tk) }, revokeUser}, false, nil, revocation.UserRevoked},
		"used long ago, under a revoked user":  {[]func(*world, app.Tokens){func(w *world, tk app.Tokens) { _, _ = w.refresh(tk); w.turn(time.Hour) }, revokeUser}, false, nil, revocation.UserRevoked},
		"used long ago, and never asked since": {[]func(*world, app.Tokens){func(w *world, tk app.Tokens) { _, _ = w.refresh(tk); w.turn(time.Hour) }}, false, nil, revocation.RefreshReuse},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.user("ann")
			tk := w.signIn("ann")
			for _, f := range try.before {
				f(w, tk)
			}
			if try.forged { // with a true MAC, as of a chain that the store has lost
				link, err := session.ParseRefresh(tk.Refresh.RevealPlaintext())
				if err != nil {
					t.Fatal(err)
				}
				link.Secret[0]++
				link.MAC, _ = macs{}.MAC(link.Key, link.Signed())
				tk.Refresh = link.Text()
			}
			_, err := w.refresh(tk)
			if try.reason != 0 {
				ended(t, err, try.reason)
			} else if !errors.Is(err, try.want) {
				t.Errorf("got %v, want %v", err, try.want)
			}
		})
	}
}

func TestChangePassword(t *testing.T) {
	w := newWorld(t)
	w.user("ann")
	mine, other := w.signIn("ann"), w.signIn("ann")
	c := w.caller(mine)
	if _, err := w.sessions.ChangePassword(t.Context(), home, c, secret.New("wrong"), secret.New("another horse")); !errors.Is(err, account.ErrCredentials) {
		t.Fatalf("wrong current password: %v", err)
	}
	for _, next := range []string{"short", "Password123", "ann@example.com", "Ann-2026"} {
		var invalid *account.InvalidError
		if _, err := w.sessions.ChangePassword(t.Context(), home, c, secret.New(password), secret.New(next)); !errors.As(err, &invalid) || invalid.Field != "password" {
			t.Fatalf("%q as the new one: %v", next, err)
		}
	}
	w.caller(other)
	fresh, err := w.sessions.ChangePassword(t.Context(), home, c, secret.New(password), secret.New("another horse"))
	if err != nil {
		t.Fatal(err)
	}
	w.caller(fresh)
	for _, tk := range []app.Tokens{mine, other} {
		_, err := w.admit(tk)
		refused(t, err, revocation.PasswordChanged)
		_, err = w.sessions.Refresh(t.Context(), home, tk.Refresh)
		ended(t, err, revocation.PasswordChanged)
	}
	if _, err := w.login("ann"); !errors.Is(err, account.ErrCredentials) {
		t.Errorf("the old password: %v", err)
	}
}

// TestRegisterRefusesAPassword: whoever makes the account, and nothing is made.
func TestRegisterRefusesAPassword(t *testing.T) {
	w := newWorld(t)
	for _, p := range []string{"short", "Password123", "ann@example.com", "Ann-2026"} {
		reg := registration(t, "ann")
		reg.Password = secret.New(p)
		_, byThemselves := w.accounts.Register(t.Context(), home, reg)
		_, byAnother := w.accounts.Create(t.Context(), root, reg, account.RoleUser)
		for _, err := range []error{byThemselves, byAnother} {
			if invalid := (*account.InvalidError)(nil); !errors.As(err, &invalid) || invalid.Field != "password" {
				t.Errorf("%q: %v", p, err)
			}
		}
	}
	w.user("ann") // the name is free
}

// TestRoleChange: rights that are taken away are gone at the next request; the session goes on with new tokens.
func TestRoleChange(t *testing.T) {
	w := newWorld(t)
	ann := w.user("ann")
	if err := w.accounts.SetRole(t.Context(), root, ann.ID, account.RoleAdmin); err != nil {
		t.Fatal(err)
	}
	if _, err := w.accounts.Create(t.Context(), root, registration(t, "bob"), account.RoleAdmin); err != nil { // or Ann would be the last
		t.Fatal(err)
	}
	admin := w.signIn("ann")
	if !w.caller(admin).IsAdmin() {
		t.Fatal("not an administrator")
	}
	if err := w.accounts.SetRole(t.Context(), root, ann.ID, account.RoleUser); err != nil {
		t.Fatal(err)
	}
	_, err := w.admit(admin)
	refused(t, err, revocation.RoleChanged)
	next, err := w.sessions.Refresh(t.Context(), home, admin.Refresh)
	if err != nil {
		t.Fatal(err)
	}
	if w.caller(next).IsAdmin() {
		t.Error("still an administrator")
	}
}

func TestDisabledAndEnabled(t *testing.T) {
	w := newWorld(t)
	ann := w.user("ann")
	tk := w.signIn("ann")
	if err := w.accounts.Disable(t.Context(), root, ann.ID); err != nil {
		t.Fatal(err)
	}
	_, err := w.admit(tk)
	refused(t, err, revocation.UserDisabled)
	if err := w.accounts.Enable(t.Context(), root, ann.ID); err != nil {
		t.Fatal(err)
	}
	_, err = w.admit(tk)
	refused(t, err, revocation.UserDisabled)
	_, err = w.sessions.Refresh(t.Context(), home, tk.Refresh)
	ended(t, err, revocation.UserDisabled)
	w.caller(w.signIn("ann"))
	if err := w.accounts.Disable(t.Context(), root, id.User{1}); !errors.Is(err, ports.ErrNotFound) {
		t.Errorf("an unknown account: %v", err)
	}
}

func TestSelectors(t *testing.T) {
	for name, try := range map[string]struct {
		sel    func(app.Tokens, app.Caller, account.Account) app.Selector
		reason revocation.Reason
		ended  int // sessions
		after  revocation.Reason
	}{
		"user by id": {func(_ app.Tokens, _ app.Caller, a account.Account) app.Selector {
			return app.Selector{User: a.ID.String()}
		}, revocation.UserRevoked, 2, revocation.UserRevoked},
		"user by e-mail": {func(_ app.Tokens, _ app.Caller, a account.Account) app.Selector {
			return app.Selector{User: "ANN@example.com"}
		}, revocation.UserRevoked, 2, revocation.UserRevoked},
		"user by name": {func(_ app.Tokens, _ app.Caller, a account.Account) app.Selector { return app.Selector{User: "Ann"} }, revocation.UserRevoked, 2, revocation.UserRevoked},
		"session": {func(_ app.Tokens, c app.Caller, _ account.Account) app.Selector {
			return app.Selector{Session: c.Session().String()}
		}, revocation.SessionEnded, 1, revocation.SessionEnded},
		"access token": {func(k app.Tokens, _ app.Caller, _ account.Account) app.Selector { return app.Selector{Token: k.Access} }, revocation.UserRevoked, 0, 0},
		"refresh token": {func(k app.Tokens, _ app.Caller, _ account.Account) app.Selector {
			return app.Selector{Token: k.Refresh}
		}, revocation.SessionEnded, 1, revocation.SessionEnded},
		"jti": {func(_ app.Tokens, c app.Caller, _ account.Account) app.Selector {
			return app.Selector{JTI: c.Claims.ID.String()}
		}, revocation.UserRevoked, 0, 0},
		"key": {func(_ app.Tokens, c app.Caller, _ account.Account) app.Selector {
			return app.Selector{Key: c.Claims.KeyID}
		}, revocation.KeyRevoked, 0, 0},
		"issued before": {func(_ app.Tokens, c app.Caller, _ account.Account) app.Selector {
			return app.Selector{IssuedBefore: c.Claims.IssuedAt}
		},
			revocation.BeforeTime, 3, revocation.BeforeTime},
		"all": {func(app.Tokens, app.Caller, account.Account) app.Selector { return app.Selector{All: true} }, revocation.EpochRaised, 3, revocation.EpochRaised},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			ann := w.user("ann")
			w.user("bob")
			tk := w.signIn("ann")
			w.signIn("ann")
			w.signIn("bob")
			c := w.caller(tk)
			sel := try.sel(tk, c, ann)
			dry, err := w.revoker.Revoke(t.Context(), root, sel, "a test", true)
			if err != nil || dry.SessionsEnded != try.ended {
				t.Fatalf("dry run: %+v, %v; want %d sessions", dry, err, try.ended)
			}
			w.caller(tk)
			got, err := w.revoker.Revoke(t.Context(), root, sel, "a test", false)
			if err != nil || got.SessionsEnded != try.ended || len(got.Nodes) != 1 {
				t.Fatalf("%+v, %v; want %d sessions", got, err, try.ended)
			}
			_, err = w.admit(tk)
			refused(t, err, try.reason)
			w.turn(time.Second)
			_, err = w.sessions.Refresh(t.Context(), home, tk.Refresh)
			if name == "key" { // it was the one that signs
				if !errors.Is(err, ports.ErrUnavailable) {
					t.Errorf("a refresh: %v, want it unavailable", err)
				}
			} else if try.after == 0 {
				if err != nil {
					t.Errorf("the session should go on: %v", err)
				}
			} else {
				ended(t, err, try.after)
			}
			if name != "key" {
				w.caller(w.signIn("ann"))
			}
		})
	}
}

func TestSelectorsRefused(t *testing.T) {
	w := newWorld(t)
	w.user("ann")
	tk := w.signIn("ann")
	var bad *app.SelectorError
	for name, sel := range map[string]app.Selector{
		"none": {}, "two": {User: "ann", All: true}, "session": {Session: "x"}, "jti": {JTI: "x"}, "token": {Token: secret.New("x")}, "damaged": {Token: secret.New("xtr_x")},
		"key": {Key: strings.Repeat("k", 129)}, "future": {IssuedBefore: instant.Instant(w.clock.Load()) + 1},
	} {
		if _, err := w.revoker.Revoke(t.Context(), root, sel, "", false); !errors.As(err, &bad) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, sel := range map[string]app.Selector{"user": {User: "nobody"}, "session": {Session: strings.Repeat("a", 32)}} {
		if _, err := w.revoker.Revoke(t.Context(), root, sel, "", false); !errors.Is(err, ports.ErrNotFound) {
			t.Errorf("unknown %s: %v", name, err)
		}
	}
	if _, err := w.revoker.Revoke(t.Context(), root, app.Selector{User: "ann"}, strings.Repeat("n", 501), false); !errors.As(err, &bad) {
		t.Error("a note without end was taken")
	}
	w.caller(tk)
}

func TestLogoutAllCountsWhatLived(t *testing.T) {
	w := newWorld(t)
	w.user("ann")
	for range 3 {
		w.signIn("ann")
	}
	tk := w.signIn("ann")
	if err := w.sessions.Logout(t.Context(), home, w.caller(w.signIn("ann"))); err != nil {
		t.Fatal(err)
	}
	n, err := w.sessions.LogoutAll(t.Context(), home, w.caller(tk))
	if err != nil || n.SessionsEnded != 4 || n.AtLeast {
		t.Fatalf("%+v, %v; want 4 sessions ended", n, err)
	}
	_, err = w.admit(tk)
	refused(t, err, revocation.UserRevoked)
}

// TestCommittedWithEffects: state, revocation and event of one act stand together in the store.
func TestCommittedWithEffects(t *testing.T) {
	w := newWorld(t)
	ann := w.user("ann")
	if _, err := w.revoker.Revoke(t.Context(), root, app.Selector{User: "ann"}, "phished", false); err != nil {
		t.Fatal(err)
	}
	var found []revocation.Entry
	stop := errors.New("enough")
	_ = w.store.Revocations().Follow(t.Context(), func(n ports.News) error {
		found = append(found, n.Entries...)
		if n.Caught {
			return stop
		}
		return nil
	})
	if len(found) != 1 || found[0].User != ann.ID || found[0].Min != 2 || found[0].By != app.Operator || found[0].Note != "phished" {
		t.Fatalf("stored: %+v", found)
	}
	if want := instant.Instant(w.clock.Load()).Add(30*time.Minute + 30*time.Second + token.Margin); found[0].Until != want {
		t.Errorf("until %v, want %v", found[0].Until, want)
	}
}

// TestDeletedUser (RFC 8725, 3.9): a token whose account is gone is worth nothing.
func TestDeletedUser(t *testing.T) {
	w := newWorld(t)
	w.user("ann")
	c := w.caller(w.signIn("ann"))
	claims := *c.Claims
	claims.Subject = id.User{9}
	if _, err := w.accounts.Me(t.Context(), app.Caller{Claims: &claims}); !errors.Is(err, token.ErrInvalid) {
		t.Errorf("got %v", err)
	}
}

func TestRefusalsAreTold(t *testing.T) {
	w := newWorld(t)
	w.user("ann")
	tk := w.signIn("ann")
	if err := w.sessions.Logout(t.Context(), home, w.caller(tk)); err != nil {
		t.Fatal(err)
	}
	c, err := w.admit(tk)
	w.guard.Refused(t.Context(), abroad, c, "GET /", err)
	last := w.journal.told[len(w.journal.told)-1]
	if last.Kind != audit.AccessRefused || last.Reason != "token_revoked" || last.Details["revoked"] != "logout" || last.IPAddress != "198.51.100.9" {
		t.Errorf("told: %+v", last)
	}
	told := len(w.journal.told)
	w.guard.Refused(t.Context(), abroad, app.Caller{}, "GET /", token.ErrMissing)
	if len(w.journal.told) != told {
		t.Error("a request without a token was told of")
	}
	if err := w.guard.Denied(t.Context(), home, app.Caller{Claims: &token.Claims{Subject: id.User{1}}}, "GET /admin"); !errors.Is(err, app.ErrForbidden) {
		t.Errorf("Denied: %v", err)
	}
	if w.count(audit.PermissionDenied) != 1 {
		t.Error("no event of a denial")
	}
}

// TestSuccessorIsWiped: once the grace is over, the sealed successor is no longer kept, whatever came between.
func TestSuccessorIsWiped(t *testing.T) {
	refresh := func(w *world, tk app.Tokens) app.Tokens {
		w.t.Helper()
		next, err := w.refresh(tk)
		if err != nil {
			w.t.Fatal(err)
		}
		return next
	}
	for name, do := range map[string]func(w *world, store *failingSessions, run func(), tk app.Tokens){
		"nothing": func(w *world, _ *failingSessions, run func(), tk app.Tokens) {
			run()
			refresh(w, tk)
		},
		"a restart within the grace": func(w *world, _ *failingSessions, run func(), tk app.Tokens) {
			refresh(w, tk)
			w.sessions = app.NewSessions(w.core)
			run()
		},
		"a restart long after it": func(w *world, _ *failingSessions, run func(), tk app.Tokens) {
			refresh(w, tk)
			w.turn(time.Hour)
			w.sessions = app.NewSessions(w.core)
			run()
		},
		"a clock that goes back": func(w *world, _ *failingSessions, run func(), tk app.Tokens) {
			run()
			refresh(w, tk)
			w.turn(-time.Hour)
		},
		"a store that fails once": func(w *world, store *failingSessions, run func(), tk app.Tokens) {
			run()
			refresh(w, tk)
			store.off.Store(true)
			<-time.After(session.Grace + time.Second)
			store.off.Store(false)
		},
		"another refresh": func(w *world, _ *failingSessions, run func(), tk app.Tokens) {
			run()
			next := refresh(w, tk)
			<-time.After(session.Grace - time.Second)
			w.turn(session.Grace - time.Second)
			last := refresh(w, next)
			<-time.After(2 * time.Second)
			w.turn(2 * time.Second)
			synctest.Wait()
			if again := refresh(w, next); !again.Refresh.Equal(last.Refresh) {
				w.t.Error("the wipe of the refresh before took the grace from this one")
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				store := &failingSessions{}
				w := newWorld(t, func(c *app.Core) { store.Sessions, c.Stores.Sessions = c.Stores.Sessions, store })
				ctx, cancel := context.WithCancel(t.Context())
				done := make(chan struct{})
				run := func() {
					go func() { defer close(done); w.sessions.Run(ctx) }()
					synctest.Wait()
				}
				w.user("ann")
				tk := w.signIn("ann")
				do(w, store, run, tk)
				link, _ := session.ParseRefresh(tk.Refresh.RevealPlaintext())
				sealed := func() bool {
					x, err := w.store.Sessions().Find(t.Context(), link.Session)
					if err != nil {
						t.Fatal(err)
					}
					return x.Last.Successor != nil
				}
				if !sealed() {
					t.Fatal("nothing is kept for the grace")
				}
				<-time.After(session.Grace + time.Second) // in the time of the bubble
				synctest.Wait()
				if sealed() {
					t.Error("the successor is still kept after the grace")
				}
				cancel()
				<-done
			})
		})
	}
}

// TestGuardBudget: an admitted request allocates next to nothing.
func TestGuardBudget(t *testing.T) {
	w := newWorld(t)
	w.user("ann")
	text := w.signIn("ann").Access.RevealPlaintext()
	if n := testing.AllocsPerRun(100, func() {
		if _, err := w.guard.Admit(text); err != nil {
			t.Fatal(err)
		}
	}); n > 4 {
		t.Errorf("%v allocations, want at most 4", n)
	}
}

func BenchmarkAdmit(b *testing.B) {
	w := newWorld(b)
	w.user("ann")
	text := w.signIn("ann").Access.RevealPlaintext()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := w.guard.Admit(text); err != nil {
			b.Fatal(err)
		}
	}
}

func ExampleRefusalCode() {
	fmt.Println(app.RefusalCode(token.ErrExpired))
	// Output: token_expired
}
