package app_test

import (
	"testing"

	"github.com/xteam/xteam/domain/apikey"
)

// BenchmarkAdmitKey is a request with a key that the guard knows.
func BenchmarkAdmitKey(b *testing.B) {
	w := newWorld(b)
	w.user("ann")
	k := w.issue(w.caller(w.signIn("ann")), apikey.UsersRead)
	text := k.Text.RevealPlaintext()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := w.guard.AdmitKey(b.Context(), home, text); err != nil {
			b.Fatal(err)
		}
	}
}
