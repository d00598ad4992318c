package app_test

import (
	"context"
	"errors"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/xteam/xteam/app"
	"github.com/xteam/xteam/domain/account"
	"github.com/xteam/xteam/domain/audit"
	"github.com/xteam/xteam/domain/secret"
	"github.com/xteam/xteam/ports"
)

// offered answers a set-up and the token of its link.
func offered(t *testing.T, w *world) (*app.SetUp, secret.Text) {
	t.Helper()
	s := app.NewSetUp(w.core, app.NewAccounts(w.core))
	token, err := s.Offer(t.Context())
	if err != nil || token.Len() != 43 {
		t.Fatalf("Offer in a store without an administrator: got %d characters, %v, want 43 of base64url", token.Len(), err)
	}
	return s, token
}

// administrators counts them.
func administrators(t *testing.T, w *world) (n int) {
	t.Helper()
	all, err := w.core.Stores.Accounts.List(t.Context(), account.Account{}.ID, 1000)
	if err != nil {
		t.Fatal(err)
	}
	for i := range all {
		if all[i].Role == account.RoleAdmin {
			n++
		}
	}
	return n
}

func TestSetUp(t *testing.T) {
	w := newWorld(t)
	s, token := offered(t, w)
	made, err := s.Use(t.Context(), home, token, registration(t, "ann"))
	if err != nil || made.Role != account.RoleAdmin || made.Disabled {
		t.Fatalf("the link: got %v, %v, want an administrator", made.Role, err)
	}
	if c := w.caller(w.signIn("ann")); !c.IsAdmin() {
		t.Error("who signs in with the account is no administrator")
	}
	events := w.events()
	if len(events) == 0 || events[0].Kind != audit.AccountCreated || events[0].Actor != made.ID.String() || events[0].Details["role"] != "admin" || events[0].Details["by"] != "set-up link" {
		t.Errorf("the event: got %+v", events)
	}
	if _, err := s.Use(t.Context(), home, token, registration(t, "bob")); !errors.Is(err, app.ErrSetUp) {
		t.Errorf("the link again: got %v, want %v", err, app.ErrSetUp)
	}
	if again, err := s.Offer(t.Context()); err != nil || !again.IsZero() {
		t.Errorf("Offer in a store with an administrator: got %d characters, %v, want none", again.Len(), err)
	}
	if n := administrators(t, w); n != 1 {
		t.Errorf("%d administrators", n)
	}
}

// What the owner of the link mistypes does not cost it; what somebody guesses does nothing, and leaves a line.
func TestSetUpIsNotUsedUp(t *testing.T) {
	w := newWorld(t)
	s, token := offered(t, w)
	for _, guess := range []string{"", "x", token.RevealPlaintext()[:42], token.RevealPlaintext() + "A", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"} {
		if _, err := s.Use(t.Context(), home, secret.New(guess), registration(t, "eve")); !errors.Is(err, app.ErrSetUp) {
			t.Errorf("the token %q: got %v, want %v", guess, err, app.ErrSetUp)
		}
	}
	told := w.journal.told[len(w.journal.told)-1]
	if told.Kind != audit.RegistrationRefused || told.Reason != "set_up" || told.Outcome != audit.Failure {
		t.Errorf("the journal heard last %+v, want a registration that was refused", told)
	}
	weak := registration(t, "ann")
	weak.Password = secret.New("seven77")
	if _, err := s.Use(t.Context(), home, token, weak); !errors.As(err, new(*account.InvalidError)) {
		t.Errorf("a weak password: got %v, want what is wrong with it", err)
	}
	w.user("ann") // whoever registers is no administrator
	if _, err := s.Use(t.Context(), home, token, registration(t, "ann")); !errors.Is(err, ports.ErrTaken) {
		t.Errorf("a name that is taken: got %v, want %v", err, ports.ErrTaken)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.Use(ctx, home, token, registration(t, "bob")); !errors.Is(err, context.Canceled) {
		t.Errorf("a call that is cancelled: got %v", err)
	}
	if _, err := s.Use(t.Context(), home, token, registration(t, "bob")); err != nil {
		t.Errorf("the link after all that: %v", err)
	}
}

// Whoever registers first is no administrator, and does not keep the operator from becoming one; a store that has an administrator offers nothing.
func TestSetUpIsOfferedWhileThereIsNoAdministrator(t *testing.T) {
	w := newWorld(t)
	w.user("stranger")
	s, token := offered(t, w)
	if _, err := s.Use(t.Context(), home, token, registration(t, "ann")); err != nil {
		t.Errorf("the link beside a user: %v", err)
	}
	if again, err := s.Offer(t.Context()); err != nil || !again.IsZero() {
		t.Errorf("Offer beside an administrator: got %d characters, %v, want none", again.Len(), err)
	}
}

func TestSetUpEnds(t *testing.T) {
	for name, c := range map[string]struct {
		before func(w *world)
		want   error
	}{
		"just before its time":         {func(w *world) { w.turn(app.SetUpLife - time.Microsecond) }, nil},
		"at its time":                  {func(w *world) { w.turn(app.SetUpLife) }, app.ErrSetUp},
		"a clock that goes back a day": {func(w *world) { w.turn(-24 * time.Hour) }, nil},
		"with an administrator made": {func(w *world) {
			if _, err := w.accounts.Create(context.Background(), app.Actor{Name: app.Operator}, registration(w.t, "root"), account.RoleAdmin); err != nil {
				w.t.Error(err)
			}
		}, app.ErrSetUp},
		"with an administrator named": {func(w *world) {
			if err := w.accounts.SetRole(context.Background(), app.Actor{Name: app.Operator}, w.user("root").ID, account.RoleAdmin); err != nil {
				w.t.Error(err)
			}
		}, app.ErrSetUp},
		"with a user":    {func(w *world) { w.user("cid") }, nil},
		"with 501 users": {func(w *world) { crowd(w) }, nil},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			s, token := offered(t, w)
			c.before(w)
			if _, err := s.Use(t.Context(), home, token, registration(t, "ann")); !errors.Is(err, c.want) {
				t.Errorf("got %v, want %v", err, c.want)
			}
		})
	}
	w := newWorld(t)
	if _, err := app.NewSetUp(w.core, w.accounts).Use(t.Context(), home, secret.Text{}, registration(t, "ann")); !errors.Is(err, app.ErrSetUp) {
		t.Errorf("without an offer: got %v, want %v", err, app.ErrSetUp)
	}
}

// crowd registers more users than one page of accounts holds.
func crowd(w *world) {
	for i := range 501 {
		w.user("user" + strconv.Itoa(i))
	}
}

// Of many who use the link at once, on two nodes with a link each, one becomes an administrator.
func TestSetUpAtOnce(t *testing.T) {
	w := newWorld(t)
	one, first := offered(t, w)
	other, second := offered(t, w)
	won := make(chan error, 40)
	var all sync.WaitGroup
	for i := range 40 {
		s, token := one, first
		if i%2 == 1 {
			s, token = other, second
		}
		reg := registration(t, "user"+strconv.Itoa(i))
		all.Go(func() {
			_, err := s.Use(t.Context(), home, token, reg)
			won <- err
		})
	}
	all.Wait()
	close(won)
	good := 0
	for err := range won {
		switch {
		case err == nil:
			good++
		case !errors.Is(err, app.ErrSetUp):
			t.Errorf("one of those who came too late: got %v, want %v", err, app.ErrSetUp)
		}
	}
	if n := administrators(t, w); good != 1 || n != 1 {
		t.Errorf("%d links were good and there are %d administrators, want one", good, n)
	}
}

// An administrator who is made while the link is used comes before it or after it: never does the link make a second one.
func TestSetUpBesideAnAdministrator(t *testing.T) {
	for range 50 {
		w := newWorld(t)
		s := app.NewSetUp(w.core, w.accounts)
		token, err := s.Offer(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		reg, root := registration(t, "ann"), registration(t, "root")
		var all sync.WaitGroup
		all.Go(func() { _, _ = s.Use(t.Context(), home, token, reg) })
		all.Go(func() {
			if _, err := w.accounts.Create(t.Context(), app.Actor{Name: app.Operator}, root, account.RoleAdmin); err != nil {
				t.Error(err)
			}
		})
		all.Wait()
		made := 0
		for _, e := range w.events() {
			if e.Kind != audit.AccountCreated {
				continue
			}
			if made++; made > 1 && e.Details["by"] == "set-up link" {
				t.Fatal("the link made an administrator where there was one")
			}
		}
	}
}
