package passhash_test

import (
	"testing"

	"golang.org/x/crypto/bcrypt"

	"github.com/xteam/xteam/adapters/passhash"
	"github.com/xteam/xteam/domain/secret"
)

// BenchmarkCompare measures a comparison behind the gate beside bcrypt's own at the same cost; their ratio is to stay below 1.05. "mixed" is one of the other
// kind, which costs both.
func BenchmarkCompare(b *testing.B) {
	hash := withCost(12)
	b.Run("bare", func(b *testing.B) {
		for b.Loop() {
			_ = bcrypt.CompareHashAndPassword([]byte(hash.RevealPlaintext()), []byte("correct horse"))
		}
	})
	hasher := newHasher(b, passhash.Options{Cost: 12})
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
	argon2id := newHasher(b, passhash.Options{Kind: passhash.Argon2id})
	b.Run("argon2id", func(b *testing.B) {
		for b.Loop() {
			_, _, _ = argon2id.Compare(b.Context(), argonOf(19456, 2, 1), secret.New("correct horse"))
		}
	})
	mixed := newHasher(b, passhash.Options{Kind: passhash.Argon2id})
	b.Run("mixed", func(b *testing.B) {
		for b.Loop() {
			_, _, _ = mixed.Compare(b.Context(), hash, secret.New("correct horse"))
		}
	})
}
