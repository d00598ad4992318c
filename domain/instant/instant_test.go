package instant_test

import (
	"math"
	"math/big"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/xteam/xteam/domain/instant"
)

const earliest instant.Instant = math.MinInt64

func TestOfCutsDown(t *testing.T) {
	base := time.Date(2026, 3, 1, 12, 0, 0, 123_456_000, time.UTC)
	want := instant.Instant(base.UnixMicro())
	for _, ns := range []time.Duration{0, 1, 499, 500, 999} {
		if got := instant.Of(base.Add(ns)); got != want {
			t.Errorf("Of(%v + %v) = %d, want %d", base, ns, got, want)
		}
	}
	if got := instant.Of(time.Unix(0, -1)); got != -1 {
		t.Errorf("Of one nanosecond before 1970 = %d, want -1 µs: cut down as after it", got)
	}
	if got := instant.Of(base.In(time.FixedZone("east", 5*3600))); got != want {
		t.Errorf("Of in another zone = %d, want %d", got, want)
	}
}

func TestSecondsAreRoundedDown(t *testing.T) {
	for i, want := range map[instant.Instant]int64{
		0: 0, 1: 0, 999_999: 0, 1_000_000: 1, -1: -1, -999_999: -1, -1_000_000: -1, -1_000_001: -2, -2_000_000: -2,
		instant.Forever: 9_223_372_036_854, earliest: -9_223_372_036_855,
	} {
		if got := i.Seconds(); got != want {
			t.Errorf("Instant(%d).Seconds() = %d, want %d", int64(i), got, want)
		}
	}
}

func TestUnixSaturates(t *testing.T) {
	for s, want := range map[int64]instant.Instant{
		0: 0, 1: 1_000_000, -1: -1_000_000, 9_223_372_036_854: 9_223_372_036_854_000_000, 9_223_372_036_855: instant.Forever, math.MaxInt64: instant.Forever,
		-9_223_372_036_854: -9_223_372_036_854_000_000, -9_223_372_036_855: earliest, math.MinInt64: earliest,
	} {
		if got := instant.Unix(s); got != want {
			t.Errorf("Unix(%d) = %d, want %d", s, got, want)
		}
	}
}

func TestAddSaturates(t *testing.T) {
	for _, c := range []struct {
		i    instant.Instant
		d    time.Duration
		want instant.Instant
	}{
		{1, 999, 1}, {1, time.Microsecond, 2}, {1, -999, 1}, {1, -1500, 0}, // cut to whole microseconds
		{instant.Forever, -time.Hour, instant.Forever}, {instant.Forever, time.Hour, instant.Forever}, {instant.Forever, math.MinInt64, instant.Forever},
		{instant.Forever - 1, time.Microsecond, instant.Forever}, {instant.Forever - 1, time.Hour, instant.Forever}, {instant.Forever - 2, time.Microsecond, instant.Forever - 1},
		{earliest, -time.Microsecond, earliest}, {earliest + 1, -time.Hour, earliest}, {earliest, time.Microsecond, earliest + 1},
	} {
		if got := c.i.Add(c.d); got != c.want {
			t.Errorf("Instant(%d).Add(%v) = %d, want %d", int64(c.i), c.d, got, c.want)
		}
	}
}

func TestSubSaturates(t *testing.T) {
	const most, least time.Duration = math.MaxInt64, math.MinInt64
	for _, c := range []struct {
		i, o instant.Instant
		want time.Duration
	}{
		{instant.Forever, earliest, most}, {earliest, instant.Forever, least}, {instant.Forever, -1, most}, {-2, instant.Forever, least}, {earliest, 0, least},
		{instant.Forever, instant.Forever, 0}, {earliest, earliest, 0}, {instant.Forever, instant.Forever - 7, 7 * time.Microsecond},
		{9_223_372_036_854_775, 0, 9_223_372_036_854_775_000}, {9_223_372_036_854_776, 0, most},
		{0, 9_223_372_036_854_775, -9_223_372_036_854_775_000}, {0, 9_223_372_036_854_776, least},
	} {
		if got := c.i.Sub(c.o); got != c.want {
			t.Errorf("Instant(%d).Sub(%d) = %d, want %d", int64(c.i), int64(c.o), got, c.want)
		}
	}
}

// extreme draws from all of int64, with its ends and the ends of a Duration drawn often.
func extreme() *rapid.Generator[int64] {
	return rapid.OneOf(rapid.Int64(), rapid.Int64Range(-1000, 1000),
		rapid.Map(rapid.Int64Range(0, 1000), func(n int64) int64 { return math.MaxInt64 - n }),
		rapid.Map(rapid.Int64Range(0, 1000), func(n int64) int64 { return math.MinInt64 + n }),
		rapid.Map(rapid.Int64Range(-1000, 1000), func(n int64) int64 { return math.MaxInt64/1000 + n }))
}

func saturated(v *big.Int) int64 {
	switch {
	case v.IsInt64():
		return v.Int64()
	case v.Sign() > 0:
		return math.MaxInt64
	}
	return math.MinInt64
}

func TestArithmeticIsThatOfUnboundedNumbers(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, b := extreme().Draw(t, "a"), extreme().Draw(t, "b")
		i, o, d := instant.Instant(a), instant.Instant(b), time.Duration(b)

		want := saturated(new(big.Int).Add(big.NewInt(a), big.NewInt(d.Microseconds())))
		if i == instant.Forever {
			want = int64(instant.Forever)
		}
		if got := i.Add(d); int64(got) != want {
			t.Fatalf("Instant(%d).Add(%d ns) = %d, want %d", a, b, got, want)
		}
		gap := new(big.Int).Sub(big.NewInt(a), big.NewInt(b))
		if got, want := i.Sub(o), saturated(gap.Mul(gap, big.NewInt(1000))); int64(got) != want {
			t.Fatalf("Instant(%d).Sub(%d) = %d, want %d", a, b, got, want)
		}
		if got, want := int64(instant.Unix(a)), saturated(new(big.Int).Mul(big.NewInt(a), big.NewInt(1_000_000))); got != want {
			t.Fatalf("Unix(%d) = %d, want %d", a, got, want)
		}
		if s := i.Seconds(); s != new(big.Int).Div(big.NewInt(a), big.NewInt(1_000_000)).Int64() { // Div rounds towards minus infinity here
			t.Fatalf("Instant(%d).Seconds() = %d", a, s)
		}
	})
}

func TestThereAndBack(t *testing.T) {
	const span = int64(290 * 365 * 24 * time.Hour / time.Microsecond) // either way of 1970, so that every difference fits a Duration's 292 years
	rapid.Check(t, func(t *rapid.T) {
		i := instant.Instant(rapid.Int64Range(-span/2, span/2).Draw(t, "i"))
		o := instant.Instant(rapid.Int64Range(-span/2, span/2).Draw(t, "o"))
		if got := o.Add(i.Sub(o)); got != i {
			t.Fatalf("from %v by i-o to %v, want %v", o, got, i)
		}
		if got := instant.Of(i.Time()); got != i {
			t.Fatalf("Of(%v.Time()) = %v", i, got)
		}
		s := i.Seconds()
		if whole := instant.Unix(s); whole > i || i.Sub(whole) >= time.Second || instant.Unix(s).Seconds() != s {
			t.Fatalf("%d has %d whole seconds", int64(i), s)
		}
		if i != 0 {
			if back, err := time.Parse(time.RFC3339Nano, i.String()); err != nil || instant.Of(back) != i {
				t.Fatalf("the text %q reads as %v, %v", i, back, err)
			}
		}
	})
}

func TestString(t *testing.T) {
	for i, want := range map[instant.Instant]string{
		0: "never", instant.Forever: "forever", 1: "1970-01-01T00:00:00.000001Z", -1: "1969-12-31T23:59:59.999999Z",
		instant.Unix(1_772_366_400).Add(120 * time.Millisecond): "2026-03-01T12:00:00.120000Z",
	} {
		if got := i.String(); got != want {
			t.Errorf("Instant(%d) is written %q, want %q", int64(i), got, want)
		}
	}
}
