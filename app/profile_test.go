package app_test

import (
	"context"
	"errors"
	"testing"

	"github.com/xteam/xteam/app"
	"github.com/xteam/xteam/domain/account"
	"github.com/xteam/xteam/domain/audit"
	"github.com/xteam/xteam/domain/secret"
	"github.com/xteam/xteam/domain/token"
	"github.com/xteam/xteam/ports"
)

// profile is an e-mail address, unless it is empty, and a name.
func profile(t testing.TB, email, name string) account.Profile {
	t.Helper()
	u, err := account.ParseUsername(name)
	if err != nil {
		t.Fatal(err)
	}
	p := account.Profile{Username: &u}
	if email != "" {
		e, err := account.ParseEmail(email)
		if err != nil {
			t.Fatal(err)
		}
		p.Email = &e
	}
	return p
}

// TestAProfileOvertaken: what happens to the account while the password is compared wins.
func TestAProfileOvertaken(t *testing.T) {
	for name, try := range map[string]struct {
		meanwhile func(*scene)
		want      func(error) bool
	}{
		"another password": {func(s *scene) {
			s.must(s.store.Accounts().Update(context.Background(), s.ann.ID, func(a account.Account) (account.Account, ports.Effects, error) {
				a.Password = secret.New("another hash")
				return a, ports.Effects{}, nil
			}))
		}, is(account.ErrCredentials)},
		"disabled": {func(s *scene) { s.must(s.accounts.Disable(context.Background(), root, s.ann.ID)) }, is(account.ErrCredentials)},
		"the name is gone": {func(s *scene) {
			_, err := s.accounts.Register(context.Background(), home, registration(s.t, "eve"))
			s.must(err)
		}, is(ports.ErrTaken)},
	} {
		t.Run(name, func(t *testing.T) {
			s := newScene(t)
			done := false
			s.passwords.between = func() {
				if !done {
					done = true
					try.meanwhile(s)
				}
			}
			_, err := s.sessions.ChangeProfile(t.Context(), abroad, s.c, profile(t, "eve@example.com", "ann"), secret.New(password))
			if !try.want(err) {
				t.Errorf("got %v", err)
			}
			if a, err := s.store.Accounts().Find(t.Context(), s.ann.ID); err != nil || a.Email != s.ann.Email {
				t.Errorf("the address is %v, %v", a.Email, err)
			}
			if n := s.count(audit.EmailChanged); n != 0 {
				t.Errorf("%d changes are told", n)
			}
		})
	}
}

// TestTheProfileOfNobody: a caller without an account has a token that is worth nothing, whenever it went.
func TestTheProfileOfNobody(t *testing.T) {
	for _, method := range []string{"Accounts.Find", "Accounts.Update"} {
		s := newScene(t)
		s.stores.gone = func(m string) bool { return m == method }
		if _, err := s.sessions.ChangeProfile(t.Context(), abroad, s.c, profile(t, "", "eve"), secret.Text{}); !errors.Is(err, token.ErrInvalid) {
			t.Errorf("%s finds none: %v", method, err)
		}
	}
	s := newScene(t)
	if _, err := s.sessions.ChangeProfile(t.Context(), abroad, s.c, profile(t, "eve@example.com", "eve"), secret.Text{}); !errors.Is(err, app.ErrPasswordNeeded) {
		t.Errorf("without the password: %v", err)
	}
}
