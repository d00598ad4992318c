// Package ratelimit is the token bucket as a pure function.
package ratelimit

import (
	"errors"
	"fmt"
	"time"

	"github.com/xteam/xteam/domain/instant"
)

// Limit allows Capacity at once, refilled evenly over Period.
type Limit struct {
	Capacity int64         // 1 to MaxCapacity
	Period   time.Duration // whole microseconds, 1 s to 1 h
}

// MaxCapacity is the largest capacity of a bucket.
const MaxCapacity = 1_000_000_000

// ErrInvalid says that a limit is out of its range.
var ErrInvalid = errors.New("the rate limit is out of range")

// PerMinute is the limit of n a minute.
func PerMinute(n int64) Limit { return Limit{n, time.Minute} }

// Validate answers ErrInvalid when l is out of range.
func (l Limit) Validate() error {
	if l.Capacity < 1 || l.Capacity > MaxCapacity || l.Period < time.Second || l.Period > time.Hour || l.Period%time.Microsecond != 0 {
		return fmt.Errorf("%w: %d in %v", ErrInvalid, l.Capacity, l.Period)
	}
	return nil
}

// Bucket is what is kept of a client. The zero value is a full one. Spent is in units of the limit that it was taken under; a bucket
// is never read under another limit.
type Bucket struct {
	Spent int64           // in units, see Limit.units; 0 is full
	At    instant.Instant // when Spent was true
}

// Decision is the answer to one Take.
type Decision struct {
	OK         bool
	Limit      Limit
	Remaining  int64         // whole tokens left
	RetryAfter time.Duration // when not OK: until the tokens asked for are there, if nobody else takes them
	Reset      time.Duration // until the bucket is full, if nobody takes any more
}

// Next is how long until one token more than Remaining is there, if nobody takes any; 0 when the bucket is full. It may be a microsecond too long, and is
// told only where 1 to the capacity were asked for.
func (d Decision) Next() time.Duration {
	lacks := d.Limit.Capacity - d.Remaining
	if lacks <= 0 {
		return 0
	}
	later := (lacks - 1) * d.Limit.Period.Microseconds() / d.Limit.Capacity // of the tokens after it; below 2^63
	next := d.Reset - time.Duration(later)*time.Microsecond
	if d.RetryAfter > 0 {
		next = min(next, d.RetryAfter) // exact, when one was asked for
	}
	return next
}

// units are whole numbers in which both a token and a microsecond's refill are exact: one token is token units, a microsecond refills refill.
func (l Limit) units() (tok, refill int64) {
	us := l.Period.Microseconds()
	g := gcd(l.Capacity, us)
	return us / g, l.Capacity / g
}

// Take takes n tokens, 1 to the capacity, or none. It is exact: no rounding is lost between calls. A clock that goes back refills nothing; a bucket that
// lies further in the future than it takes to fill is taken for one of a clock that was wrong, and goes on from now.
func (l Limit) Take(b Bucket, n int64, now instant.Instant) (Bucket, Decision) {
	tok, refill := l.units()
	size := l.Capacity * tok // at most 1e9 * 3.6e9, below 2^63
	b = l.refilled(b, now, refill)
	d := Decision{Limit: l}
	if cost := n * tok; n >= 1 && n <= l.Capacity && b.Spent <= size-cost {
		b.Spent += cost
		d.OK = true
	} else if n >= 1 && n <= l.Capacity {
		d.RetryAfter = micros(b.Spent-(size-cost), refill) + b.At.Sub(now)
	} else {
		d.RetryAfter = l.Period
	}
	d.Remaining = (size - b.Spent) / tok
	d.Reset = micros(b.Spent, refill) + b.At.Sub(now)
	return b, d
}

// Give puts n tokens back, at most as many as the bucket lacks. It undoes a Take at the same moment; later, what was refilled meanwhile is the caller's gain.
// Fewer than 1 are none.
func (l Limit) Give(b Bucket, n int64, now instant.Instant) Bucket {
	if n < 1 {
		return b
	}
	tok, refill := l.units()
	b = l.refilled(b, now, refill)
	b.Spent -= min(n, l.Capacity) * tok
	b.Spent = max(b.Spent, 0)
	return b
}

func (l Limit) refilled(b Bucket, now instant.Instant, refill int64) Bucket {
	full := (b.Spent + refill - 1) / refill // microseconds until it is full
	switch elapsed := int64(now) - int64(b.At); {
	case b.Spent == 0, elapsed >= full:
		return Bucket{0, now}
	case elapsed > 0:
		return Bucket{b.Spent - elapsed*refill, now} // elapsed < full, so the product is below size
	case -elapsed > l.Period.Microseconds():
		return Bucket{b.Spent, now}
	}
	return b
}

func micros(units, refill int64) time.Duration {
	return time.Duration((units+refill-1)/refill) * time.Microsecond
}

func gcd(a, b int64) int64 {
	for b != 0 {
		a, b = b, a%b
	}
	return a
}

// LimitedError refuses a request that found a bucket without enough tokens.
type LimitedError struct{ Decision Decision }

func (e *LimitedError) Error() string {
	return fmt.Sprintf("rate limit exceeded: %d in %v", e.Decision.Limit.Capacity, e.Decision.Limit.Period)
}
