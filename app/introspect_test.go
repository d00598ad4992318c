package app_test

import (
	"testing"
	"time"

	"github.com/xteam/xteam/app"
	"github.com/xteam/xteam/domain/account"
	"github.com/xteam/xteam/domain/apikey"
	"github.com/xteam/xteam/domain/revocation"
	"github.com/xteam/xteam/domain/secret"
)

// A key that a service asks about is read as seldom as one that is used, is refused as soon, and is not used by it.
func TestIntrospectionOfAKeyReadsTheStoreAsSeldomAsTheGuard(t *testing.T) {
	w, store := newCountedKeys(t)
	w.admin("boss")
	ann := w.user("ann")
	k := w.issue(w.caller(w.signIn("ann")), apikey.UsersRead)
	ask := func() (*app.Introspected, error) {
		t.Helper()
		is, why, err := w.sessions.Introspect(t.Context(), w.guard, k.Text)
		if err != nil || (is == nil) == (why == nil) {
			t.Fatalf("%+v, %v, %v", is, why, err)
		}
		return is, why
	}
	reads := func(what string, want int64) {
		t.Helper()
		if got := store.finds.Swap(0); got != want {
			t.Errorf("%s: the store was asked %d times, want %d", what, got, want)
		}
	}
	for range 1000 {
		if is, _ := ask(); is.Access.Subject != ann.ID || is.Access.ClientID != k.ID.String() || is.Access.Scope != "users:read" {
			t.Fatalf("%+v", is.Access)
		}
	}
	reads("1,000 questions", 1)
	w.bearer(k)
	reads("a use of what was asked about", 0)
	w.used(t)
	if kept, err := w.store.APIKeys().Find(t.Context(), k.ID); err != nil || kept.Uses != 1 {
		t.Errorf("%d uses, %v", kept.Uses, err)
	}
	w.must(w.accounts.SetRole(t.Context(), root, ann.ID, account.RoleAdmin))
	if is, _ := ask(); is == nil || is.Access.Roles[0] != string(account.RoleUser) {
		t.Errorf("after a change of role: %+v", is)
	}
	store.finds.Store(0)
	w.must(w.keys.Revoke(t.Context(), home, w.caller(w.signIn("ann")), k.ID))
	store.finds.Store(0)
	for range 10 {
		_, why := ask()
		refusedKey(t, why, revocation.KeyRevoked)
	}
	reads("a revoked key", 0)
	w.turn(10 * time.Minute)
	_, why := ask()
	refusedKey(t, why, revocation.KeyRevoked)
	w.must(w.accounts.Disable(t.Context(), root, ann.ID))
	if _, why := ask(); why == nil {
		t.Error("the key of a disabled account is active")
	}
}

// Whoever sends garbage through a service keeps it from asking about nobody's key: what is charged for garbage is its own 429, and no good key's.
func TestGarbageKeepsNoKeyFromIntrospection(t *testing.T) {
	service := from("203.0.113.99")
	w := braked(t, app.LimiterOptions{})
	w.user("ann")
	k := w.issue(w.caller(w.signIn("ann")), apikey.UsersRead)
	for range 1000 {
		_, _ = w.core.Limiter.Take(t.Context(), app.Charge{Class: app.Unclassed, Address: service.Origin.Address})
	}
	_, _, err := w.sessions.Introspect(t.Context(), w.guard, k.Text)
	if err != nil {
		t.Errorf("a key that is not known, asked about by a service through which somebody sends garbage: %v", err)
	}
	w.bearer(k)
	if is, why, err := w.sessions.Introspect(t.Context(), w.guard, k.Text); is == nil {
		t.Errorf("one that is: %v, %v", why, err)
	}
	other := secret.New(k.Text.RevealPlaintext()[:apikey.Size-1] + "x") // no digit of a checksum
	if _, why, err := w.sessions.Introspect(t.Context(), w.guard, other); why == nil || err != nil {
		t.Errorf("garbage: %v, %v", why, err)
	}
}
