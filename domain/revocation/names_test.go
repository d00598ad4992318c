package revocation_test

import (
	"testing"

	"pgregory.net/rapid"

	"github.com/xteam/xteam/domain/id"
	"github.com/xteam/xteam/domain/instant"
	"github.com/xteam/xteam/domain/revocation"
	"github.com/xteam/xteam/domain/token"
)

// TestAnEntryWithdrawsWhatItsSetWithdraws: one entry, asked by itself, says what a set of it alone says.
func TestAnEntryWithdrawsWhatItsSetWithdraws(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		few := func(name string) byte { return byte(rapid.IntRange(0, 2).Draw(t, name)) }
		e := revocation.Entry{Kind: revocation.Kind(rapid.IntRange(0, 8).Draw(t, "kind")), Token: id.Token{few("jti")}, Session: id.Session{few("sid")}, User: id.User{few("user")},
			Min: token.Generation(few("min")), KeyID: string([]byte{'a' + few("kid")}), Epoch: token.Epoch(few("epoch")), Before: instant.Instant(few("before")), APIKey: id.APIKey{few("key")},
			Reason: revocation.Logout, At: 1, Until: instant.Forever}
		c := token.Claims{ID: id.Token{few("c jti")}, Session: id.Session{few("c sid")}, Subject: id.User{few("c sub")}, Generation: token.Generation(few("c gen")), KeyID: string([]byte{'a' + few("c kid")}),
			Epoch: token.Epoch(few("c ep")), IssuedAt: instant.Instant(few("c iat")), APIKey: id.APIKey{few("c key")}}
		set := revocation.NewSet()
		set.Add(e)
		if _, want := set.Withdraws(&c); e.Withdraws(&c) != want {
			t.Fatalf("the entry %+v says %v of %+v, its set %v", e, !want, c, want)
		}
	})
}
