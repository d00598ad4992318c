package badgerstore_test

import (
	"errors"
	"testing"

	"github.com/xteam/xteam/domain/account"
	"github.com/xteam/xteam/domain/id"
	"github.com/xteam/xteam/ports"
)

// An index that names another account would sign somebody in as somebody else.
func TestANameThatLies(t *testing.T) {
	s := open(t, t.TempDir())
	defer s.close(t)
	a := account.Account{ID: newID[id.User](), Email: must(account.ParseEmail("ann@example.com")), Username: must(account.ParseUsername("Ann"))}
	b := account.Account{ID: newID[id.User](), Email: must(account.ParseEmail("bob@example.com")), Username: must(account.ParseUsername("Bob"))}
	for _, v := range []account.Account{a, b} {
		if err := s.Accounts().Create(t.Context(), v, ports.Effects{}); err != nil {
			t.Fatal(err)
		}
	}
	for _, login := range []account.Login{{Email: a.Email}, {Username: a.Username}} {
		if err := s.PointName(login, b.ID); err != nil {
			t.Fatal(err)
		}
		if got, err := s.Accounts().Named(t.Context(), login); !errors.Is(err, ports.ErrUnavailable) {
			t.Errorf("got %v, %v, want ErrUnavailable", got.ID, err)
		}
		if err := s.PointName(login, newID[id.User]()); err != nil {
			t.Fatal(err)
		}
		if got, err := s.Accounts().Named(t.Context(), login); !errors.Is(err, ports.ErrUnavailable) {
			t.Errorf("of nobody: got %v, %v, want ErrUnavailable", got.ID, err)
		}
	}
}
