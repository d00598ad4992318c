package redisstore

import (
	"log/slog"

	"github.com/xteam/xteam/domain/revocation"
	"github.com/xteam/xteam/ports"
)

// Shorten cuts the stream to about n entries.
func (s *Store) Shorten(n int64) { s.shorter = n }

// ErrOptions is what every refusal of a URL or of Options matches.
var ErrOptions = errOptions

// Breaker is what keeps callers of the buckets from waiting.
type Breaker struct{ b breaker }

// NewBreaker is a closed one.
func NewBreaker() *Breaker { return &Breaker{breaker{log: slog.New(slog.DiscardHandler)}} }

// Admit reports whether the caller may try.
func (b *Breaker) Admit() bool { return b.b.admit() }

// Done tells how a try ended.
func (b *Breaker) Done(ok, unknown bool) { b.b.done(ok, unknown) }

// Whole reports whether every line of a list of clients was understood.
func Whole(text string) bool { return count(map[ports.Guest]int{}, text) }

// Encode writes an entry as earlier versions did, and Decode reads one without its seal.
func Encode(e *revocation.Entry) string { return encode(plain, e) }

// Decode is the reverse.
func Decode(value string) (revocation.Entry, bool) {
	e, _, ok := decode(value)
	return e, ok
}

// Gathering is how many recordings wait for a run of the script.
func (s *Store) Gathering() int {
	s.plain.mu.Lock()
	defer s.plain.mu.Unlock()
	s.sealed.mu.Lock()
	defer s.sealed.mu.Unlock()
	return len(s.plain.waiting) + len(s.sealed.waiting)
}
