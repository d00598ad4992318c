package app_test

import (
	"context"
	"errors"
	"testing"

	"github.com/xteam/xteam/app"
	"github.com/xteam/xteam/domain/audit"
	"github.com/xteam/xteam/domain/id"
	"github.com/xteam/xteam/domain/instant"
	"github.com/xteam/xteam/ports"
)

// TestUnlock: after too many wrong passwords, from everywhere, the account can be tried at as if there had been none; another account cannot.
func TestUnlock(t *testing.T) {
	w := braked(t, app.LimiterOptions{})
	ann := w.user("ann")
	w.user("bob")
	w.signIn("ann")                                                                                                                                         // from home
	for _, addr := range []string{"192.0.3.7", "192.0.4.7", "192.0.5.7", "192.0.6.7", "192.0.7.7", "192.0.8.7", "192.0.9.7", "192.0.10.7", "2001:db8::7"} { // more than one call gives back
		w.must(w.try(from(addr), "ann", password))
	}
	locked := []app.Request{from(abroadIP), home, from("192.0.10.8"), from("2001:db8::8")}
	for _, r := range locked {
		if got := w.guesses(r, "ann"); got != 10 {
			t.Fatalf("%v: %d guesses, want 10", r.Origin.Address, got)
		}
	}
	w.guesses(from(abroadIP), "bob")
	w.must(w.accounts.Unlock(t.Context(), root, ann.ID))
	for _, r := range locked {
		if got := w.guesses(r, "ann"); got != 10 {
			t.Errorf("%v, after the unlocking: %d guesses, want 10", r.Origin.Address, got)
		}
	}
	if got := w.guesses(from(abroadIP), "bob"); got != 0 {
		t.Errorf("at another account: %d guesses, want 0", got)
	}
	w.must(w.accounts.Unlock(t.Context(), root, ann.ID))
	w.must(w.try(from(abroadIP), "ann", password))
	if n := w.count(audit.AccountUnlocked); n != 2 {
		t.Errorf("%d events, want 2", n)
	}
	if err := w.accounts.Unlock(t.Context(), root, id.User{9}); !errors.Is(err, ports.ErrNotFound) {
		t.Errorf("nobody: %v", err)
	}
	plain := newWorld(t) // without a brake
	w.must(plain.accounts.Unlock(t.Context(), root, plain.user("ann").ID))
}

// stuck are buckets that take and do not give.
type stuck struct{ ports.Buckets }

func (stuck) Give(context.Context, instant.Instant, ...ports.Demand) error { return outage{} }

// TestUnlockSaysWhenItCannot: nobody is told that an account is unlocked which is not.
func TestUnlockSaysWhenItCannot(t *testing.T) {
	w := newWorld(t, func(c *app.Core) {
		l, err := app.NewLimiter(stuck{}, c.Journal, c.Random, app.LimiterOptions{Now: c.Now})
		if err != nil {
			t.Fatal(err)
		}
		c.Limiter = l
	})
	ann := w.user("ann")
	honest(t, w.accounts.Unlock(t.Context(), root, ann.ID), outage{})
	if w.count(audit.AccountUnlocked) != 0 {
		t.Error("it is told")
	}
}
