package redisstore

import (
	"crypto/rand"
	"log/slog"
	"sync"
	"time"
)

const (
	tripping   = 3 // failures in a row after which nobody waits any more
	firstPause = 100 * time.Millisecond
	lastPause  = 5 * time.Second
)

// breaker lets nobody wait for a Redis that does not answer. After some failures in a row it refuses at once, but for one caller after each pause, who tries; the pauses
// double up to the last, and differ from node to node. The zero value is closed.
type breaker struct {
	log *slog.Logger

	mu      sync.Mutex
	failed  int           // in a row
	pause   time.Duration // the last one; 0: closed
	until   time.Time     // nobody tries before
	probing bool          // somebody tries now
}

// admit reports whether the caller may try. Who may calls done.
func (b *breaker) admit() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.pause == 0 {
		return true
	}
	if b.probing || time.Now().Before(b.until) {
		return false
	}
	b.probing = true
	return true
}

// done tells how a try ended; unknown: the caller went away before.
func (b *breaker) done(ok, unknown bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.probing = false
	switch {
	case unknown:
	case ok:
		if b.pause > 0 {
			b.log.Info("The rate limits are counted in Redis again")
		}
		b.failed, b.pause = 0, 0
	default:
		if b.failed++; b.failed < tripping {
			return
		}
		if b.pause == 0 {
			b.log.Warn("Redis does not answer the rate limits in time: it is asked now and then only")
		}
		b.pause = min(max(2*b.pause, firstPause), lastPause)
		b.until = time.Now().Add(jittered(b.pause))
	}
}

// jittered is between a half of d and d.
func jittered(d time.Duration) time.Duration {
	var b [2]byte
	_, _ = rand.Read(b[:]) // it never fails
	return d/2 + d/2*time.Duration(int(b[0])<<8|int(b[1]))/65536
}
