package pgstore_test

import (
	"fmt"
	"net/url"
	"strings"
	"testing"

	"github.com/xteam/xteam/adapters/pgstore"
)

// FuzzParseURL: no password comes out of a URL, whether it is taken or refused, and what is suggested in its place is taken, and verified.
func FuzzParseURL(f *testing.F) {
	for _, text := range []string{
		"postgres://ann:pl4nted@db.example.com:5432/xteam?sslmode=verify-full", "postgresql+asyncpg://ann:pl4nted@127.0.0.1/xteam?ssl=true", "postgresql://a,b:1/x?sslmode=disable&password=pl4nted",
		"postgres:///xteam?host=/run/postgresql", "postgres://ann:pl4nted%zz@h/x", "postgres://h/x?sslmode=pl4nted", "pl4nted", "postgres://[::1]:5432/x/y",
	} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		u, err := pgstore.ParseURL(text)
		given, cause := url.Parse(text)
		secret := cause != nil // of what is no URL anything may be a password
		if cause == nil && given.User != nil {
			password, _ := given.User.Password()
			secret = strings.Contains(password, "pl4nted") && strings.Count(text, "pl4nted") == 1
		}
		if said := fmt.Sprintf("%v %v %#v %s", err, u, u, u.Suggestion); secret && strings.Contains(said, "pl4nted") {
			t.Errorf("%q: the password is in %s", text, said)
		}
		if err != nil {
			return
		}
		if !pgstore.Names(text) {
			t.Errorf("%q is a URL of PostgreSQL, and is not taken for one", text)
		}
		again, err := pgstore.ParseURL(u.Suggestion)
		if err != nil || !again.Verified || !again.Encrypted || again.Name != u.Name || again.Suggestion != u.Suggestion {
			t.Errorf("%q: what is suggested, %q, is read as %+v (%v)", text, u.Suggestion, again, err)
		}
	})
}
