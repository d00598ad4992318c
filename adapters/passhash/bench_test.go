package passhash_test

import (
	"testing"

	"golang.org/x/crypto/bcrypt"

	"github.com/xteam/xteam/adapters/passhash"
	"github.com/xteam/xteam/domain/secret"
)

// BenchmarkCompare measures a comparison behind the gate beside bcrypt's own at the same cost; their ratio is to stay below 1.05.
func BenchmarkCompare(b *testing.B) {
	hash := withCost(12)
	b.Run("bare", func(b *testing.B) {
		for b.Loop() {
			_ = bcrypt.CompareHashAndPassword([]byte(hash.RevealPlaintext()), []byte("correct horse"))
		}
	})
	hasher := newBcrypt(b, passhash.Options{Cost: 12})
	b.Run("gate", func(b *testing.B) {
		for b.Loop() {
			_, _, _ = hasher.Compare(b.Context(), hash, secret.New("correct horse"))
		}
	})
	b.Run("unknown", func(b *testing.B) {
		for b.Loop() {
			_, _, _ = hasher.Compare(b.Context(), secret.Text{}, secret.New("correct horse"))
		}
	})
	older := withCost(10)
	b.Run("older", func(b *testing.B) {
		for b.Loop() {
			_, _, _ = hasher.Compare(b.Context(), older, secret.New("correct horse"))
		}
	})
}
