package ratelimit_test

import (
	"errors"
	"math"
	"math/big"
	"math/rand/v2"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/xteam/xteam/domain/instant"
	"github.com/xteam/xteam/domain/ratelimit"
)

const start = instant.Instant(1_772_366_400_000_000)

// oracle is a token bucket in fractions, as one would write it on paper.
type oracle struct {
	l     ratelimit.Limit
	level *big.Rat // tokens
	at    instant.Instant
}

func newOracle(l ratelimit.Limit) *oracle { return &oracle{l, big.NewRat(l.Capacity, 1), 0} }

// per is how many tokens are refilled in d.
func (o *oracle) per(d time.Duration) *big.Rat {
	return new(big.Rat).Mul(big.NewRat(o.l.Capacity, 1), big.NewRat(d.Microseconds(), o.l.Period.Microseconds()))
}

func (o *oracle) take(n int64, now instant.Instant) (ok bool, remaining int64) {
	full := big.NewRat(o.l.Capacity, 1)
	switch d := now.Sub(o.at); {
	case d >= 0:
		o.level.Add(o.level, o.per(min(d, time.Hour)))
		if o.level.Cmp(full) > 0 {
			o.level.Set(full)
		}
		o.at = now
	case d < -o.l.Period || o.level.Cmp(full) == 0:
		o.at = now
	}
	want := big.NewRat(n, 1)
	if ok = n >= 1 && n <= o.l.Capacity && o.level.Cmp(want) >= 0; ok {
		o.level.Sub(o.level, want)
	}
	return ok, new(big.Int).Quo(o.level.Num(), o.level.Denom()).Int64()
}

func limits() *rapid.Generator[ratelimit.Limit] {
	return rapid.Custom(func(t *rapid.T) ratelimit.Limit {
		return ratelimit.Limit{
			Capacity: rapid.OneOf(rapid.Int64Range(1, 100), rapid.Int64Range(1, ratelimit.MaxCapacity), rapid.SampledFrom([]int64{1, 5, 60, 999_999_937, ratelimit.MaxCapacity})).Draw(t, "capacity"),
			Period: rapid.OneOf(rapid.SampledFrom([]time.Duration{time.Second, time.Minute, time.Hour, 59_999_999 * time.Microsecond}),
				rapid.Map(rapid.Int64Range(1_000_000, 3_600_000_000), func(us int64) time.Duration { return time.Duration(us) * time.Microsecond })).Draw(t, "period"),
		}
	})
}

// drift is how a clock moves between two takes: mostly on, by little and by much, and now and then back.
func drift(l ratelimit.Limit) *rapid.Generator[time.Duration] {
	one := max(time.Microsecond, (l.Period / time.Duration(l.Capacity)).Truncate(time.Microsecond)) // about a token's refill
	return rapid.OneOf(
		rapid.SampledFrom([]time.Duration{0, 0, time.Microsecond, one, one - time.Microsecond, one + time.Microsecond, 3 * one, l.Period, l.Period - time.Microsecond, l.Period + time.Microsecond, 30 * 24 * time.Hour}),
		rapid.Map(rapid.Int64Range(0, l.Period.Microseconds()), func(us int64) time.Duration { return time.Duration(us) * time.Microsecond }),
		rapid.SampledFrom([]time.Duration{-time.Microsecond, -one, -time.Second, -l.Period, -l.Period - time.Microsecond, -24 * time.Hour}))
}

func amounts(l ratelimit.Limit) *rapid.Generator[int64] {
	return rapid.OneOf(rapid.Just(int64(1)), rapid.Int64Range(1, l.Capacity), rapid.Just(l.Capacity), rapid.Just(max(1, l.Capacity-1)))
}

func TestTakeIsExact(t *testing.T) { rapid.Check(t, takesExactly) }

// FuzzTake walks as TestTakeIsExact does, along ways that reach new code.
func FuzzTake(f *testing.F) {
	ways(f)
	f.Fuzz(rapid.MakeFuzz(takesExactly))
}

func takesExactly(t *rapid.T) {
	l := limits().Draw(t, "limit")
	if err := l.Validate(); err != nil {
		t.Fatal(err)
	}
	var b ratelimit.Bucket
	o, now := newOracle(l), start
	for range 40 {
		now = now.Add(drift(l).Draw(t, "drift"))
		n := rapid.OneOf(amounts(l), amounts(l), rapid.SampledFrom([]int64{0, -1, math.MinInt64, math.MaxInt64, l.Capacity + 1})).Draw(t, "n")
		var d ratelimit.Decision
		b, d = l.Take(b, n, now)
		ok, remaining := o.take(n, now)
		if d.OK != ok || d.Remaining != remaining || d.Limit != l {
			t.Fatalf("Take(%d) at %v = %+v, want %v with %d left", n, now, d, ok, remaining)
		}
		if d.Remaining < 0 || d.Remaining > l.Capacity || b.Spent < 0 || d.Reset < 0 || d.Reset > 2*l.Period || d.OK && d.RetryAfter != 0 || !d.OK && d.RetryAfter <= 0 {
			t.Fatalf("Take(%d) at %v = %+v, %+v", n, now, b, d)
		}
		if n >= 1 && n <= l.Capacity && !d.OK { // RetryAfter is the first microsecond at which it is there
			if _, early := l.Take(b, n, now.Add(d.RetryAfter-time.Microsecond)); early.OK {
				t.Fatalf("%d tokens are there before RetryAfter %v, of %+v at %v", n, d.RetryAfter, b, now)
			}
			if _, due := l.Take(b, n, now.Add(d.RetryAfter)); !due.OK {
				t.Fatalf("%d tokens are not there after RetryAfter %v, of %+v at %v", n, d.RetryAfter, b, now)
			}
		}
		if next := d.Next(); n >= 1 && n <= l.Capacity && d.Remaining < l.Capacity { // Next is when one more is there, or a microsecond later
			if _, due := l.Take(b, 0, now.Add(next)); due.Remaining <= d.Remaining {
				t.Fatalf("%d are there after Next %v, of %+v, %+v at %v", due.Remaining, next, b, d, now)
			}
			if _, early := l.Take(b, 0, now.Add(next-2*time.Microsecond)); next > time.Microsecond && early.Remaining > d.Remaining {
				t.Fatalf("%d are there before Next %v, of %+v, %+v at %v", early.Remaining, next, b, d, now)
			}
		} else if d.Remaining == l.Capacity && next != 0 {
			t.Fatalf("Next of a full bucket is %v", next)
		}
		if _, due := l.Take(b, l.Capacity, now.Add(d.Reset)); !due.OK { // Reset is the first at which all are there
			t.Fatalf("not full after Reset %v, of %+v at %v", d.Reset, b, now)
		}
		if d.Reset > 0 {
			if _, early := l.Take(b, l.Capacity, now.Add(d.Reset-time.Microsecond)); early.OK {
				t.Fatalf("full before Reset %v, of %+v at %v", d.Reset, b, now)
			}
		}
	}
}

// However the requests fall, and however often the clock goes back by less than a period: no more is admitted than the capacity and what was
// refilled in the time that has passed.
func TestNeverMoreThanCapacityAndRefill(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		l := limits().Draw(t, "limit")
		var b ratelimit.Bucket
		now, admitted := start, new(big.Int)
		last := start
		for range 100 {
			step := drift(l).Draw(t, "drift")
			if now = now.Add(step); last.Sub(now) > l.Period {
				now = last.Add(-l.Period)
			}
			now = max(now, start)
			last = max(last, now)
			n := amounts(l).Draw(t, "n")
			var d ratelimit.Decision
			if b, d = l.Take(b, n, now); d.OK {
				admitted.Add(admitted, big.NewInt(n))
			}
			bound := new(big.Rat).Add(big.NewRat(l.Capacity, 1), newOracle(l).per(last.Sub(start)))
			if new(big.Rat).SetInt(admitted).Cmp(bound) > 0 {
				t.Fatalf("%v admitted within %v, at most %s allowed, of %+v", admitted, last.Sub(start), bound.FloatString(3), l)
			}
		}
	})
}

// And no less: one who takes each token as it comes loses no fraction of one.
func TestNothingIsLostToRounding(t *testing.T) {
	for _, l := range []ratelimit.Limit{{7, time.Minute}, {60, time.Minute}, {3, time.Second}, {999, 59_999_999 * time.Microsecond}} {
		b, d := l.Take(ratelimit.Bucket{}, l.Capacity, start)
		now := start
		for range 10 * l.Capacity {
			if b, d = l.Take(b, 1, now); !d.OK {
				now = now.Add(d.RetryAfter)
				if b, d = l.Take(b, 1, now); !d.OK {
					t.Fatalf("%+v: refused at RetryAfter", l)
				}
			}
			for range 3 { // polling in between costs nothing
				b, _ = l.Take(b, 1, now)
			}
		}
		if got, want := now.Sub(start), 10*l.Period; got < want || got > want+time.Microsecond {
			t.Errorf("%+v: 10 times its capacity took %v, want %v", l, got, want)
		}
	}
}

// Who gives back at once what they took leaves the bucket as it was. Whenever it is given back, so much more is there, and never more than the capacity.
func TestGiveUndoesATake(t *testing.T) { rapid.Check(t, givesBack) }

// FuzzGive walks as TestGiveUndoesATake does.
func FuzzGive(f *testing.F) {
	ways(f)
	f.Fuzz(rapid.MakeFuzz(givesBack))
}

func givesBack(t *rapid.T) {
	l := limits().Draw(t, "limit")
	var b ratelimit.Bucket
	now := start
	look := func(b ratelimit.Bucket) ratelimit.Decision { _, d := l.Take(b, 0, now); return d }
	for range 40 {
		now = now.Add(drift(l).Draw(t, "drift"))
		n := amounts(l).Draw(t, "n")
		taken, d := l.Take(b, n, now)
		if d.OK {
			if was, is := look(b), look(l.Give(taken, n, now)); is != was {
				t.Fatalf("Give of what was just taken: %+v, want %+v", is, was)
			}
		}
		if b = taken; rapid.IntRange(0, 2).Draw(t, "give") == 0 {
			was := look(b)
			b = l.Give(b, n, now)
			if is := look(b); is.Remaining != min(l.Capacity, was.Remaining+n) || b.Spent < 0 || is.Reset > was.Reset {
				t.Fatalf("Give(%d) to %+v: %+v, %+v", n, was, is, b)
			}
		}
	}
}

func TestGiveNothing(t *testing.T) {
	l := ratelimit.PerMinute(5)
	b, _ := l.Take(ratelimit.Bucket{}, 3, start)
	for _, n := range []int64{0, -1, math.MinInt64} {
		if got := l.Give(b, n, start); got != b {
			t.Errorf("Give(%d) = %+v, want %+v", n, got, b)
		}
	}
	for _, n := range []int64{4, 5, 6, math.MaxInt64} {
		if got := l.Give(b, n, start); got.Spent != 0 {
			t.Errorf("Give(%d) of 3 taken leaves %d spent, want 0", n, got.Spent)
		}
	}
}

func TestABillionAMinuteAfterHoursIdle(t *testing.T) {
	l := ratelimit.PerMinute(ratelimit.MaxCapacity)
	for _, idle := range []time.Duration{59 * time.Second, time.Minute, 3 * time.Hour, 10 * time.Hour, 400 * 24 * time.Hour} {
		b, d := l.Take(ratelimit.Bucket{}, ratelimit.MaxCapacity, start)
		if !d.OK || d.Remaining != 0 || d.Reset != time.Minute {
			t.Fatalf("a full bucket gives %+v", d)
		}
		want := min(ratelimit.MaxCapacity, idle.Microseconds()*50/3) // 1,000 in 60 µs
		if b, d = l.Take(b, 1, start.Add(idle)); !d.OK || d.Remaining != want-1 {
			t.Errorf("after %v there are %d and ok %v, want %d", idle, d.Remaining, d.OK, want-1)
		}
		if b.Spent < 0 {
			t.Errorf("after %v %d are spent", idle, b.Spent)
		}
	}
	hour := ratelimit.Limit{Capacity: ratelimit.MaxCapacity - 63, Period: time.Hour - time.Microsecond} // no common factor to speak of: the largest numbers
	if _, d := hour.Take(ratelimit.Bucket{}, hour.Capacity, start); !d.OK || d.Remaining != 0 || d.Reset != hour.Period {
		t.Errorf("the largest numbers give %+v", d)
	}
}

func TestABucketFromTheFutureRecovers(t *testing.T) {
	l := ratelimit.PerMinute(60)
	for _, ahead := range []time.Duration{time.Minute + time.Microsecond, time.Hour, 24 * 365 * time.Hour, math.MaxInt64} {
		b, _ := l.Take(ratelimit.Bucket{}, 60, start.Add(ahead))
		b, d := l.Take(b, 1, start)
		if d.OK || d.RetryAfter != time.Second {
			t.Errorf("an empty bucket from %v ahead: %+v, want a token in a second", ahead, d)
		}
		if _, d = l.Take(b, 1, start.Add(time.Second)); !d.OK {
			t.Errorf("a second later: %+v, want it taken", d)
		}
	}
	for _, at := range []instant.Instant{instant.Forever, math.MinInt64} {
		b, d := l.Take(ratelimit.Bucket{Spent: 60_000_000, At: at}, 1, start)
		if d.OK || d.RetryAfter <= 0 || d.RetryAfter > time.Minute || b.At != start {
			t.Errorf("a bucket of %d: %+v, %+v; want it to go on from now", int64(at), b, d)
		}
	}
	b, _ := l.Take(ratelimit.Bucket{}, 60, start.Add(30*time.Second)) // a neighbour's clock: nothing is refilled until ours has passed it
	if _, d := l.Take(b, 1, start); d.OK || d.RetryAfter != 31*time.Second || d.Reset != 90*time.Second {
		t.Errorf("an empty bucket from 30 s ahead: %+v, want a token in 31 s and all of them in 90 s", d)
	}
}

func TestABurstThenEvenly(t *testing.T) {
	l := ratelimit.PerMinute(5)
	var b ratelimit.Bucket
	for i, want := range []struct {
		after      time.Duration
		ok         bool
		remaining  int64
		retry, all time.Duration
	}{
		{0, true, 4, 0, 12 * time.Second},
		{0, true, 3, 0, 24 * time.Second},
		{0, true, 2, 0, 36 * time.Second},
		{0, true, 1, 0, 48 * time.Second},
		{0, true, 0, 0, 60 * time.Second},
		{0, false, 0, 12 * time.Second, 60 * time.Second},
		{12*time.Second - time.Microsecond, false, 0, time.Microsecond, 48*time.Second + time.Microsecond},
		{12 * time.Second, true, 0, 0, 60 * time.Second},
		{60 * time.Second, true, 3, 0, 24 * time.Second},
	} {
		var d ratelimit.Decision
		b, d = l.Take(b, 1, start.Add(want.after))
		if got := (ratelimit.Decision{OK: want.ok, Limit: l, Remaining: want.remaining, RetryAfter: want.retry, Reset: want.all}); d != got {
			t.Errorf("take %d = %+v, want %+v", i, d, got)
		}
	}
}

func TestTooManyOrNoneAreRefused(t *testing.T) {
	l := ratelimit.PerMinute(5)
	for _, n := range []int64{6, 0, -1, math.MinInt64, math.MaxInt64} {
		b, d := l.Take(ratelimit.Bucket{}, n, start)
		if d.OK || d.Remaining != 5 || d.RetryAfter != time.Minute || b.Spent != 0 {
			t.Errorf("Take(%d) = %+v, %+v; want it refused and nothing taken", n, b, d)
		}
	}
}

func TestValidate(t *testing.T) {
	for _, l := range []ratelimit.Limit{{1, time.Second}, {ratelimit.MaxCapacity, time.Hour}, ratelimit.PerMinute(60), {5, time.Second + time.Microsecond}} {
		if err := l.Validate(); err != nil {
			t.Errorf("%+v: %v, want nil", l, err)
		}
	}
	for _, l := range []ratelimit.Limit{{}, {0, time.Minute}, {-1, time.Minute}, {ratelimit.MaxCapacity + 1, time.Minute}, {1, time.Second - time.Microsecond}, {1, time.Hour + time.Microsecond},
		{1, 0}, {1, -time.Minute}, {1, time.Second + 1}} {
		if err := l.Validate(); !errors.Is(err, ratelimit.ErrInvalid) {
			t.Errorf("%+v: %v, want ErrInvalid", l, err)
		}
	}
	err := &ratelimit.LimitedError{Decision: ratelimit.Decision{Limit: ratelimit.PerMinute(5)}}
	if want := "rate limit exceeded: 5 in 1m0s"; err.Error() != want {
		t.Errorf("the refusal reads %q, want %q", err, want)
	}
}

// ways adds walks that are long enough: what reads of an input that ends draws nothing more.
func ways(f *testing.F) {
	for i := range byte(4) {
		way := make([]byte, 8<<10)
		_, _ = rand.NewChaCha8([32]byte{i}).Read(way)
		f.Add(way)
	}
}
