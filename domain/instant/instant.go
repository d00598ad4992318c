// Package instant counts time in whole microseconds, so that every store keeps exactly what was handed in.
package instant

import (
	"math"
	"time"
)

// Instant is a point in time: whole microseconds since 1970-01-01T00:00:00Z. The zero value means "never set".
type Instant int64

// Forever is later than every other instant.
const Forever Instant = math.MaxInt64

// Of cuts t to whole microseconds.
func Of(t time.Time) Instant { return Instant(t.UnixMicro()) }

// Unix is the instant of whole seconds since 1970, as in a JWT's NumericDate (RFC 7519, section 2). It saturates.
func Unix(seconds int64) Instant {
	if seconds > math.MaxInt64/1_000_000 {
		return Forever
	}
	if seconds < math.MinInt64/1_000_000 {
		return math.MinInt64
	}
	return Instant(seconds * 1_000_000)
}

// Seconds is the whole seconds since 1970, rounded down.
func (i Instant) Seconds() int64 {
	s := int64(i) / 1_000_000
	if int64(i)%1_000_000 < 0 {
		s--
	}
	return s
}

// Add moves i by d, cut to whole microseconds. It saturates, and Forever stays Forever.
func (i Instant) Add(d time.Duration) Instant {
	if i == Forever {
		return Forever
	}
	us := Instant(d.Microseconds())
	sum := i + us
	switch {
	case us > 0 && sum < i:
		return Forever
	case us < 0 && sum > i:
		return math.MinInt64
	}
	return sum
}

// Sub is the time from o to i. It saturates at the range of a Duration.
func (i Instant) Sub(o Instant) time.Duration {
	d := int64(i) - int64(o)
	if (d > 0) != (i > o) && d != 0 {
		if i > o {
			return math.MaxInt64
		}
		return math.MinInt64
	}
	if d > math.MaxInt64/1000 {
		return math.MaxInt64
	}
	if d < math.MinInt64/1000 {
		return math.MinInt64
	}
	return time.Duration(d) * time.Microsecond
}

// Time is i in UTC.
func (i Instant) Time() time.Time { return time.UnixMicro(int64(i)).UTC() }

// String is RFC 3339 in UTC with microseconds, or "never" and "forever".
func (i Instant) String() string {
	switch i {
	case 0:
		return "never"
	case Forever:
		return "forever"
	}
	return i.Time().Format("2006-01-02T15:04:05.000000Z07:00")
}
