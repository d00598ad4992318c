package app_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/xteam/xteam/app"
	"github.com/xteam/xteam/domain/account"
	"github.com/xteam/xteam/domain/apikey"
	"github.com/xteam/xteam/domain/id"
	"github.com/xteam/xteam/domain/instant"
	"github.com/xteam/xteam/domain/secret"
	"github.com/xteam/xteam/domain/session"
	"github.com/xteam/xteam/ports"
)

// userID is whose name it is.
func (w *world) userID(name string) id.User {
	w.t.Helper()
	l, err := account.ParseLogin("", name)
	w.must(err)
	a, err := w.store.Accounts().Named(context.Background(), l)
	w.must(err)
	return a.ID
}

// paged demands Ann's session, and no more, of a page that is answered without an error.
func (s *scene) paged(page []session.Session, _ app.Place, more bool, err error) (app.Tokens, error) {
	if err == nil && (len(page) != 1 || page[0].ID != s.c.Session() || more) {
		s.t.Errorf("a page of %+v, more: %v", page, more)
	}
	return app.Tokens{}, err
}

// TestOnesOwnAccount: what an administrator would do to their own account, and what the last of them would do, is refused; only the operator can insist.
func TestOnesOwnAccount(t *testing.T) {
	s := newScene(t)
	bob := s.userID("bob")
	insists := app.Actor{Name: app.Operator, Force: true}
	pushes := s.admin
	pushes.Force = true
	for name, try := range map[string]struct {
		err  error
		want error
	}{
		"disables themselves":              {s.accounts.Disable(t.Context(), s.admin, bob), account.ErrOwnAccount},
		"gives themselves a password":      {s.accounts.SetPassword(t.Context(), s.admin, bob, secret.New(another)), account.ErrOwnAccount},
		"demotes themselves, by force":     {s.accounts.SetRole(t.Context(), pushes, bob, account.RoleUser), account.ErrLastAdmin},
		"the operator, without insisting":  {s.accounts.Disable(t.Context(), root, bob), account.ErrLastAdmin},
		"another password for nobody":      {s.accounts.SetPassword(t.Context(), s.admin, id.User{9}, secret.New(another)), ports.ErrNotFound},
		"somebody is disabled who is not":  {s.accounts.Disable(t.Context(), s.admin, id.User{9}), ports.ErrNotFound},
		"the operator insists on the last": {s.accounts.Disable(t.Context(), insists, bob), nil},
	} {
		if !errors.Is(try.err, try.want) {
			t.Errorf("%s: got %v, want %v", name, try.err, try.want)
		}
	}
	var invalid *account.InvalidError
	if err := s.accounts.SetPassword(t.Context(), root, s.ann.ID, secret.New("ann@example.com")); !errors.As(err, &invalid) || invalid.Field != "password" {
		t.Errorf("a guessable password: %v", err)
	}
}

// TestAChangeWaitsNoLongerThanItsCaller: changes of accounts go one by one, and whoever leaves the queue is not served.
func TestAChangeWaitsNoLongerThanItsCaller(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScene(t)
		met := false
		s.stores.after = func(string) {
			s.stores.after, met = nil, true
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			if err := s.accounts.Disable(ctx, root, s.userID("bob")); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("beside another change: %v", err)
			}
		}
		s.must(s.accounts.SetRole(t.Context(), root, s.ann.ID, account.RoleAdmin))
		if !met {
			t.Error("nothing was stored")
		}
		s.must(s.accounts.Disable(t.Context(), root, s.userID("bob")))
	})
}

// TestPagesPastManySessions: a page looks at so many sessions and no more, and the next goes on behind them.
func TestPagesPastManySessions(t *testing.T) {
	w := newWorld(t)
	for i := range 11 {
		uid := id.User{0, byte(i), 1}
		name := "u" + uid.String()[:6]
		w.must(w.store.Accounts().Create(t.Context(), account.New(uid, must(account.ParseEmail(name+"@example.com")), must(account.ParseUsername(name)), account.FullName{}, account.RoleUser, secret.New("x"), 1), ports.Effects{}))
		for j := range 100 {
			w.must(w.store.Sessions().Create(t.Context(), session.Session{ID: id.Session{byte(i), byte(j), 1}, User: uid, Created: instant.Instant(j), Ended: 1}, ports.Effects{}))
		}
	}
	last := id.User{0, 10, 1}
	w.must(w.store.Accounts().Update(t.Context(), last, func(a account.Account) (account.Account, ports.Effects, error) {
		h, err := w.passwords.Hash(t.Context(), secret.New(password))
		a.Password = h
		return a, ports.Effects{}, err
	}))
	sid := w.caller(w.signIn("u" + last.String()[:6])).Session()
	var at app.Place
	for i := range 3 {
		page, next, more, err := w.sessions.Page(t.Context(), id.User{}, at, 10)
		if err != nil || more != (i < 2) || (len(page) == 1) != (i == 2) {
			t.Fatalf("page %d: %d sessions, more: %v, %v", i+1, len(page), more, err)
		}
		if len(page) == 1 && page[0].ID != sid {
			t.Error("another session")
		}
		at = next
	}
	page, _, more, err := w.sessions.Page(t.Context(), id.User{}, app.Place{User: id.User{0xff}}, 10) // behind one who is not there
	if err != nil || len(page) != 0 || more {
		t.Errorf("behind all: %d sessions, more: %v, %v", len(page), more, err)
	}
}

// TestAnActByAKeyNamesTheKey: whoever reads what an administrator did must see that a key did it, and which.
func TestAnActByAKeyNamesTheKey(t *testing.T) {
	w := newWorld(t)
	w.admin("root")
	key := w.issue(w.caller(w.signIn("root")), apikey.Admin)
	by := w.bearer(key).Actor(abroad)
	for name, act := range map[string]func(ann account.Account) error{
		"makes an account": func(account.Account) error {
			_, err := w.accounts.Create(t.Context(), by, registration(t, "made"), account.RoleUser)
			return err
		},
		"disables":     func(a account.Account) error { return w.accounts.Disable(t.Context(), by, a.ID) },
		"gives a role": func(a account.Account) error { return w.accounts.SetRole(t.Context(), by, a.ID, account.RoleAdmin) },
		"gives a password": func(a account.Account) error {
			return w.accounts.SetPassword(t.Context(), by, a.ID, secret.New(another))
		},
		"unlocks": func(a account.Account) error { return w.accounts.Unlock(t.Context(), by, a.ID) },
		"revokes a user": func(a account.Account) error {
			_, err := w.revoker.Revoke(t.Context(), by, app.Selector{User: a.ID.String()}, "", false)
			return err
		},
		"ends a session": func(a account.Account) error {
			sid := w.caller(w.signIn(a.Username.String())).Session()
			_, err := w.revoker.Revoke(t.Context(), by, app.Selector{Session: sid.String()}, "", false)
			return err
		},
		"revokes a token": func(a account.Account) error {
			_, err := w.revoker.Revoke(t.Context(), by, app.Selector{Token: w.signIn(a.Username.String()).Access}, "", false)
			return err
		},
		"ends a key by its text": func(a account.Account) error {
			k := w.issue(w.caller(w.signIn(a.Username.String())), apikey.UsersRead)
			_, err := w.revoker.Revoke(t.Context(), by, app.Selector{Token: k.Text}, "", false)
			return err
		},
		"revokes all": func(account.Account) error {
			_, err := w.revoker.Revoke(t.Context(), by, app.Selector{All: true}, "", false)
			return err
		},
		"revokes a foreign kid": func(account.Account) error {
			_, err := w.revoker.Revoke(t.Context(), by, app.Selector{Key: "foreign", Force: true}, "", false)
			return err
		},
	} {
		victim := w.user("v" + strings.ReplaceAll(name, " ", "-"))
		before := len(w.events())
		if err := act(victim); err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		named := false
		for _, e := range w.events()[before:] {
			named = named || e.Actor == by.Name && e.Details["by_api_key"] == key.ID.String()
		}
		if !named {
			t.Errorf("%s: no event names the key: %+v", name, w.events()[before:])
		}
	}
}
