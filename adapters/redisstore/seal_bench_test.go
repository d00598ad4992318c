package redisstore

import (
	"crypto/hmac"
	"crypto/sha256"
	"hash"
	"testing"

	"github.com/xteam/xteam/domain/id"
	"github.com/xteam/xteam/domain/revocation"
)

// oneKey makes MACs as the program does, from one goroutine.
type oneKey struct{ h hash.Hash }

func (oneKey) Current() uint16 { return 1 }

func (k oneKey) MAC(_ uint16, message []byte) (sum [32]byte, ok bool) {
	k.h.Reset()
	k.h.Write(message)
	return [32]byte(k.h.Sum(sum[:0])), true
}

// BenchmarkRead is what a node that joins does with each value, with and without a MAC.
func BenchmarkRead(b *testing.B) {
	s := &Store{keys: keysOf("xteam")}
	e := revocation.Entry{Kind: revocation.Token, Token: id.Token{1, 2}, Reason: revocation.Logout, By: "0123456789abcdef0123456789abcdef", At: 1_700_000_000_000_000, Until: 1_700_000_900_000_000}
	for what, r := range map[string]Revocations{"plain": {s: s}, "sealed": {s, oneKey{hmac.New(sha256.New, make([]byte, 32))}}} {
		b.Run(what, func(b *testing.B) {
			value, under := r.write(&e), name(&e)
			b.ReportAllocs()
			for b.Loop() {
				if _, is := r.read(under, value); is != believed {
					b.Fatal(is)
				}
			}
			b.ReportMetric(float64(len(value)), "bytes")
		})
	}
}
