package account_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/xteam/xteam/domain/account"
	"github.com/xteam/xteam/domain/id"
	"github.com/xteam/xteam/domain/secret"
)

// TestProfile: what is given and differs is changed, and nothing else; a name in another letter case is another spelling of the same name, and kept.
func TestProfile(t *testing.T) {
	email := func(s string) *account.Email { e, _ := account.ParseEmail(s); return &e }
	name := func(s string) *account.Username { u, _ := account.ParseUsername(s); return &u }
	full := func(s string) *account.FullName { n, _ := account.ParseFullName(s); return &n }
	was := account.New(id.User{1}, *email("ann@example.com"), *name("ann"), *full("Ann"), account.RoleUser, secret.New("hash"), 10)
	for what, try := range map[string]struct {
		change account.Profile
		want   []string
	}{
		"nothing":           {account.Profile{}, nil},
		"all as it is":      {account.Profile{Email: email("ANN@example.com"), Username: name("ann"), FullName: full("Ann")}, nil},
		"the e-mail":        {account.Profile{Email: email("bob@example.com")}, []string{"email"}},
		"the name":          {account.Profile{Username: name("bob")}, []string{"username"}},
		"the name's case":   {account.Profile{Username: name("Ann")}, []string{"username"}},
		"the full name":     {account.Profile{FullName: full("Ann B.")}, []string{"full_name"}},
		"no full name":      {account.Profile{FullName: full("")}, []string{"full_name"}},
		"all, in one order": {account.Profile{FullName: full("B"), Username: name("bob"), Email: email("bob@example.com")}, []string{"email", "username", "full_name"}},
	} {
		is, changed := was.Change(try.change, 20)
		if diff := cmp.Diff(try.want, changed); diff != "" {
			t.Errorf("%s: changed (-want +got):\n%s", what, diff)
		}
		want := was
		if len(changed) > 0 {
			want.Updated = 20
		}
		if try.change.Email != nil {
			want.Email = *try.change.Email
		}
		if try.change.Username != nil {
			want.Username = *try.change.Username
		}
		if try.change.FullName != nil {
			want.FullName = *try.change.FullName
		}
		if is != want {
			t.Errorf("%s: got %+v, want %+v", what, is, want)
		}
		if got := was.NewEmail(try.change); got != (len(changed) > 0 && changed[0] == "email") {
			t.Errorf("%s: NewEmail = %v", what, got)
		}
	}
}
