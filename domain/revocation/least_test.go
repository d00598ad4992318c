package revocation_test

import (
	"testing"

	"pgregory.net/rapid"

	"github.com/xteam/xteam/domain/id"
	"github.com/xteam/xteam/domain/instant"
	"github.com/xteam/xteam/domain/revocation"
	"github.com/xteam/xteam/domain/token"
)

func TestLeast(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s, user := revocation.NewSet(), id.User{1}
		highest := token.Generation(0)
		for _, least := range rapid.SliceOfN(rapid.Int64Range(1, 1<<40), 0, 4).Draw(t, "entries") {
			s.Add(revocation.Entry{Kind: revocation.User, User: user, Min: token.Generation(least), Reason: revocation.UserRevoked, At: 1, Until: instant.Forever - 1})
			highest = max(highest, token.Generation(least))
		}
		from := token.Generation(rapid.Int64Range(0, 1<<41).Draw(t, "from"))
		if got, want := s.Least(user, from), max(from, highest); got != want {
			t.Errorf("from %d: got %d, want %d", from, got, want)
		}
		if got := s.Least(id.User{2}, from); got != from {
			t.Errorf("of another user: got %d, want %d", got, from)
		}
	})
}
