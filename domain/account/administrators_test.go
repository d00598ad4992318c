package account_test

import (
	"testing"

	"github.com/xteam/xteam/domain/account"
	"github.com/xteam/xteam/domain/id"
	"github.com/xteam/xteam/domain/revocation"
	"github.com/xteam/xteam/domain/secret"
)

// TestSpare: a change is refused exactly when there was an administrator before it and none after it.
func TestSpare(t *testing.T) {
	for _, a := range []account.Account{{Role: account.RoleUser}, {Role: account.RoleUser, Disabled: true}, {Role: account.RoleAdmin}, {Role: account.RoleAdmin, Disabled: true}} {
		for _, next := range []account.Account{{Role: account.RoleUser}, {Role: account.RoleUser, Disabled: true}, {Role: account.RoleAdmin}, {Role: account.RoleAdmin, Disabled: true}} {
			for _, others := range []bool{false, true} {
				was, is := a.Role == account.RoleAdmin && !a.Disabled, next.Role == account.RoleAdmin && !next.Disabled
				var want error
				if was && !is && !others {
					want = account.ErrLastAdmin
				}
				if got := a.Spare(&next, others); got != want {
					t.Errorf("from %+v to %+v, others %v: got %v, want %v", a, next, others, got, want)
				}
			}
		}
	}
}

// TestResetPassword ends everything that the account has, API keys too.
func TestResetPassword(t *testing.T) {
	a := account.Account{ID: id.User{1}, Generation: 4, SessionsFrom: 2, KeysFrom: 1, Password: secret.New("old")}
	is, e := a.ResetPassword(secret.New("new"), account.Act{By: "operator", Now: 10, Until: 20})
	if !is.Password.Equal(secret.New("new")) || is.Generation != 5 || is.SessionsFrom != 5 || is.KeysFrom != 5 || is.SessionsEnded != revocation.PasswordChanged || is.KeysEnded != revocation.PasswordChanged || is.Updated != 10 {
		t.Errorf("got %+v", is)
	}
	if want := (revocation.Entry{Kind: revocation.User, User: id.User{1}, Min: 5, Reason: revocation.PasswordChanged, By: "operator", At: 10, Until: 20}); e != want {
		t.Errorf("got %+v, want %+v", e, want)
	}
}
