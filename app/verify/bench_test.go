package verify_test

import (
	"testing"

	"github.com/xteam/xteam/app/verify"
)

// The second is to be within a fifth of the first.

func BenchmarkGuard(b *testing.B) {
	s := newService(b, "ES256")
	for b.Loop() {
		if _, err := s.x.Guard().Admit(s.access); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkVerify(b *testing.B) {
	s := newService(b, "ES256")
	v, err := verify.Open(b.Context(), s.options())
	check(b, err)
	defer v.Close()
	for b.Loop() {
		if _, err := v.Verify(s.access); err != nil {
			b.Fatal(err)
		}
	}
}
