package porttest

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/xteam/xteam/domain/instant"
	"github.com/xteam/xteam/domain/ratelimit"
	"github.com/xteam/xteam/ports"
)

// start is when the buckets' clock begins, far from the wall's: time is handed in, never asked for.
const start instant.Instant = 4_000_000_000_000_000

// oracle is a ports.Buckets without concurrency and without bounds.
type oracle map[ports.Demand]ratelimit.Bucket // by key and limit; N is 0

func (o oracle) take(now instant.Instant, demands ...ports.Demand) []ratelimit.Decision {
	bucket := func(d ports.Demand) ports.Demand { d.N = 0; return d }
	trial, allowed := oracle{}, true
	decisions := make([]ratelimit.Decision, len(demands))
	for i, d := range demands {
		b, ok := trial[bucket(d)]
		if !ok {
			b = o[bucket(d)]
		}
		trial[bucket(d)], decisions[i] = d.Limit.Take(b, d.N, now)
		allowed = allowed && decisions[i].OK
	}
	for _, d := range demands {
		if allowed {
			o[bucket(d)] = trial[bucket(d)]
		} else { // a look at it moves its clock on
			o[bucket(d)], _ = d.Limit.Take(o[bucket(d)], 0, now)
		}
	}
	for i, d := range demands {
		_, after := d.Limit.Take(o[bucket(d)], 0, now)
		decisions[i].Remaining, decisions[i].Reset = after.Remaining, after.Reset
	}
	return decisions
}

func (o oracle) give(now instant.Instant, demands ...ports.Demand) {
	for _, d := range demands {
		n := d.N
		d.N = 0
		o[d] = d.Limit.Give(o[d], n, now)
	}
}

// Buckets proves a ports.Buckets. open answers one that may hold other buckets already; what it opens it closes by t.Cleanup.
func Buckets(t *testing.T, open func(t testing.TB) ports.Buckets) {
	sub(t, "Take on one bucket answers what ratelimit.Limit.Take answers, on a clock that also goes back", func(t *testing.T) { walkOneBucket(t, open(t)) })
	sub(t, "Take on several buckets agrees with the oracle", func(t *testing.T) { walkBuckets(t, open(t)) })
	allOrNone(t, open)
	bucketContention(t, open)
	sub(t, "a spent bucket is not forgotten while 100,000 other keys are used", func(t *testing.T) {
		b := open(t)
		spent := ports.Demand{Key: "victim " + unique(), Limit: ratelimit.Limit{Capacity: 5, Period: time.Hour}, N: 5}
		if got := take(t, b, start, spent); !got[0].OK {
			t.Fatalf("Take of a whole full bucket: got %+v, want OK", got[0])
		}
		spent.N = 1
		before := take(t, b, start, spent)[0]
		prefix := unique()
		together(4, func(i int) {
			for n := range 25_000 {
				d := ports.Demand{Key: fmt.Sprintf("%s %d %d", prefix, i, n), Limit: spent.Limit, N: 3}
				if _, err := b.Take(t.Context(), start+instant.Instant(n), d); err != nil {
					t.Errorf("Take: %v", err)
					return
				}
			}
		})
		if got := take(t, b, start+25_000, spent)[0]; got.OK || got.Remaining != 0 {
			t.Errorf("Take from a spent bucket after 100,000 other keys: got %+v, want a refusal as before: %+v", got, before)
		}
	})
	sub(t, "a key of 128 bytes is taken, and every byte of it counts", func(t *testing.T) {
		b := open(t)
		l := ratelimit.Limit{Capacity: 1000, Period: time.Hour}
		long := unique() + strings.Repeat("k", 128)
		for _, key := range []string{long[:127] + "a", long[:127] + "b", "!" + long[1:127] + "a", long[:127], long[:128]} {
			if got := take(t, b, start, ports.Demand{Key: key, Limit: l, N: 1})[0]; !got.OK || got.Remaining != l.Capacity-1 {
				t.Errorf("Take with a new key of %d bytes: got %+v, want OK from a full bucket", len(key), got)
			}
		}
	})
	sub(t, "the smallest and the largest limits are exact", func(t *testing.T) {
		b := open(t)
		for _, l := range []ratelimit.Limit{{Capacity: 1, Period: time.Second}, {Capacity: 1, Period: time.Hour}, {Capacity: ratelimit.MaxCapacity, Period: time.Second},
			{Capacity: ratelimit.MaxCapacity, Period: time.Hour}, {Capacity: 999_999_937, Period: time.Hour - time.Microsecond}} {
			o, key := oracle{}, unique()
			for i, step := range []struct {
				n     int64
				after time.Duration
			}{{l.Capacity, 0}, {1, 0}, {1, time.Microsecond}, {l.Capacity, l.Period - 2*time.Microsecond}, {l.Capacity, time.Microsecond}, {l.Capacity, 100 * 24 * time.Hour}} {
				now := start.Add(time.Duration(i) * step.after)
				d := ports.Demand{Key: key, Limit: l, N: step.n}
				if diff := differ(o.take(now, d), take(t, b, now, d)); diff != "" {
					t.Errorf("limit %+v, step %d (-want +got):\n%s", l, i, diff)
				}
			}
		}
	})
	giveBack(t, open)
	sub(t, "a context that has ended ends the call with its error", func(t *testing.T) {
		b := open(t)
		d := ports.Demand{Key: unique(), Limit: ratelimit.Limit{Capacity: 5, Period: time.Hour}, N: 1}
		ended(t, map[string]func(context.Context) error{
			"Take": func(ctx context.Context) error { _, err := b.Take(ctx, start, d); return err },
			"Give": func(ctx context.Context) error { return b.Give(ctx, start, d) },
		})
	})
}

func take(t testing.TB, b ports.Buckets, now instant.Instant, demands ...ports.Demand) []ratelimit.Decision {
	t.Helper()
	got, err := b.Take(context.Background(), now, demands...)
	if err != nil {
		t.Fatalf("Take: %v", err)
	}
	if len(got) != len(demands) {
		t.Fatalf("Take with %d demands: got %d decisions", len(demands), len(got))
	}
	return got
}

var limits = rapid.Custom(func(t *rapid.T) ratelimit.Limit {
	return ratelimit.Limit{
		Capacity: rapid.OneOf(rapid.Int64Range(1, 10), rapid.Int64Range(1, ratelimit.MaxCapacity)).Draw(t, "capacity"),
		Period:   time.Duration(rapid.OneOf(rapid.Just[int64](60_000_000), rapid.Int64Range(1_000_000, 3_600_000_000)).Draw(t, "µs")) * time.Microsecond,
	}
})

func walkOneBucket(t *testing.T, b ports.Buckets) {
	rapid.Check(t, func(t *rapid.T) {
		l, key, now := limits.Draw(t, "limit"), unique(), start
		var bucket ratelimit.Bucket
		for range rapid.IntRange(1, 20).Draw(t, "steps") {
			period := int64(l.Period / time.Microsecond)
			now += instant.Instant(rapid.OneOf(rapid.Just[int64](0), rapid.Int64Range(0, period/l.Capacity+1), rapid.Int64Range(-period/2, period),
				rapid.Int64Range(-2*period, 3*period)).Draw(t, "later"))
			n := rapid.OneOf(rapid.Int64Range(1, min(3, l.Capacity)), rapid.Int64Range(1, l.Capacity)).Draw(t, "n")
			var want ratelimit.Decision
			bucket, want = l.Take(bucket, n, now)
			_, after := l.Take(bucket, 0, now)
			want.Remaining, want.Reset = after.Remaining, after.Reset
			got, err := b.Take(context.Background(), now, ports.Demand{Key: key, Limit: l, N: n})
			if diff := differ([]ratelimit.Decision{want}, got); err != nil || diff != "" {
				t.Fatalf("Take of %d at %d: error %v (-want +got):\n%s", n, now-start, err, diff)
			}
		}
	})
}

func walkBuckets(t *testing.T, b ports.Buckets) {
	rapid.Check(t, func(t *rapid.T) {
		ls, keys, now, o := []ratelimit.Limit{limits.Draw(t, "limit"), limits.Draw(t, "other limit")}, []string{unique(), unique(), unique()}, start, oracle{}
		for range rapid.IntRange(1, 15).Draw(t, "steps") {
			now += instant.Instant(rapid.OneOf(rapid.Just[int64](0), rapid.Int64Range(0, 10_000_000)).Draw(t, "later"))
			demands := make([]ports.Demand, rapid.IntRange(0, 8).Draw(t, "demands"))
			for i := range demands {
				l := rapid.SampledFrom(ls).Draw(t, "limit")
				n := rapid.OneOf(rapid.Int64Range(1, min(3, l.Capacity)), rapid.Int64Range(1, l.Capacity)).Draw(t, "n")
				demands[i] = ports.Demand{Key: rapid.SampledFrom(keys).Draw(t, "key"), Limit: l, N: n}
			}
			if rapid.IntRange(0, 3).Draw(t, "give") == 0 {
				o.give(now, demands...)
				if err := b.Give(context.Background(), now, demands...); err != nil {
					t.Fatalf("Give of %+v at %d: %v", demands, now-start, err)
				}
				continue
			}
			want := o.take(now, demands...)
			got, err := b.Take(context.Background(), now, demands...)
			if err != nil || !cmp.Equal(want, got, same) {
				t.Fatalf("Take of %+v at %d: error %v (-want +got):\n%s", demands, now-start, err, differ(want, got))
			}
		}
	})
}

func allOrNone(t *testing.T, open func(t testing.TB) ports.Buckets) {
	perHour := func(n int64) ratelimit.Limit { return ratelimit.Limit{Capacity: n, Period: time.Hour} }
	sub(t, "Take takes from all the buckets or from none, and answers in the order of the demands", func(t *testing.T) {
		b := open(t)
		wide := ports.Demand{Key: "wide " + unique(), Limit: perHour(10), N: 1}
		narrow := ports.Demand{Key: "narrow " + unique(), Limit: perHour(2), N: 1}
		for i := range 2 {
			got := take(t, b, start, wide, narrow)
			if !got[0].OK || !got[1].OK || got[0].Remaining != int64(9-i) || got[1].Remaining != int64(1-i) {
				t.Errorf("Take %d from both: got %+v, want both OK with %d and %d left", i, got, 9-i, 1-i)
			}
		}
		for _, demands := range [][]ports.Demand{{wide, narrow}, {narrow, wide}} {
			for _, d := range take(t, b, start, demands...) {
				switch {
				case d.Limit == wide.Limit && (!d.OK || d.Remaining != 8 || d.RetryAfter != 0):
					t.Errorf("the bucket that has enough: got %+v, want OK and 8 left", d)
				case d.Limit == narrow.Limit && (d.OK || d.Remaining != 0 || d.RetryAfter != 30*time.Minute || d.Reset != time.Hour):
					t.Errorf("the spent bucket: got %+v, want a refusal for 30 minutes", d)
				}
			}
		}
		if got := take(t, b, start, wide)[0]; got.Remaining != 7 {
			t.Errorf("the wide bucket after refusals by the other: got %d left, want 7", got.Remaining)
		}
	})
	sub(t, "demands with one key and limit are answered one after the other", func(t *testing.T) {
		b := open(t)
		d := ports.Demand{Key: unique(), Limit: perHour(5), N: 2}
		got := take(t, b, start, d, d)
		if !got[0].OK || !got[1].OK || got[0].Remaining != 1 || got[1].Remaining != 1 {
			t.Errorf("Take 2 and 2 of 5: got %+v, want both OK with 1 left after the call", got)
		}
		d.N = 1
		got = take(t, b, start, d, d)
		if !got[0].OK || got[1].OK || got[0].Remaining != 1 || got[1].RetryAfter != 12*time.Minute {
			t.Errorf("Take 1 and 1 of 1: got %+v, want the first OK, the second refused for 12 minutes, and 1 left", got)
		}
		if got := take(t, b, start, d); !got[0].OK || got[0].Remaining != 0 {
			t.Errorf("Take 1 of 1 after the refusal: got %+v, want OK", got)
		}
	})
	sub(t, "the same key under another limit is another bucket", func(t *testing.T) {
		b := open(t)
		key := unique()
		for _, l := range []ratelimit.Limit{perHour(1), perHour(2), {Capacity: 1, Period: time.Minute}, {Capacity: 2, Period: time.Minute}} {
			if got := take(t, b, start, ports.Demand{Key: key, Limit: l, N: l.Capacity})[0]; !got.OK {
				t.Errorf("Take of all under %+v: got a refusal, want OK from a full bucket", l)
			}
		}
	})
	sub(t, "8 demands are taken at once, none is allowed, and an empty call takes nothing", func(t *testing.T) {
		b := open(t)
		var all []ports.Demand
		for range 8 {
			all = append(all, ports.Demand{Key: unique(), Limit: perHour(3), N: 2})
		}
		take(t, b, start)
		for _, d := range take(t, b, start, all...) {
			if !d.OK || d.Remaining != 1 {
				t.Errorf("Take from 8 buckets: got %+v, want OK and 1 left", d)
			}
		}
	})
}

func giveBack(t *testing.T, open func(t testing.TB) ports.Buckets) {
	sub(t, "what is given back can be taken again, and a bucket is never more than full", func(t *testing.T) {
		b := open(t)
		d := ports.Demand{Key: unique(), Limit: ratelimit.Limit{Capacity: 5, Period: time.Hour}, N: 5}
		take(t, b, start, d)
		d.N = 2
		for _, want := range []int64{2, 4, 5, 5} {
			if err := b.Give(t.Context(), start, d); err != nil {
				t.Fatalf("Give: %v", err)
			}
			look := d
			look.N = 1
			if got := take(t, b, start, look)[0]; !got.OK || got.Remaining != want-1 {
				t.Errorf("Take after Give: got %+v, want OK and %d left", got, want-1)
			}
			look.N = 1
			if err := b.Give(t.Context(), start, look); err != nil {
				t.Fatalf("Give: %v", err)
			}
		}
	})
	sub(t, "Give to a bucket that nothing was taken from changes nothing", func(t *testing.T) {
		b := open(t)
		d := ports.Demand{Key: unique(), Limit: ratelimit.Limit{Capacity: 5, Period: time.Hour}, N: 5}
		if err := b.Give(t.Context(), start, d); err != nil {
			t.Fatalf("Give: %v", err)
		}
		if got := take(t, b, start, d)[0]; !got.OK || got.Remaining != 0 {
			t.Errorf("Take of all after Give: got %+v, want OK and none left", got)
		}
	})
	sub(t, "of concurrent takes and gives none is lost", func(t *testing.T) {
		const capacity, each = 10_000, 100
		b := open(t)
		d := ports.Demand{Key: unique(), Limit: ratelimit.Limit{Capacity: capacity, Period: time.Hour}, N: 1}
		together(crowd, func(int) {
			for i := range each {
				got, err := b.Take(t.Context(), start, d)
				if err == nil && got[0].OK && i%2 == 0 {
					err = b.Give(t.Context(), start, d)
				}
				if err != nil {
					t.Errorf("Take and Give: %v", err)
				}
			}
		})
		if got := take(t, b, start, d)[0]; got.Remaining != capacity-crowd*each/2-1 {
			t.Errorf("after %d takes, of which half were given back: %d left, want %d", crowd*each, got.Remaining+1, capacity-crowd*each/2)
		}
	})
}

func bucketContention(t *testing.T, open func(t testing.TB) ports.Buckets) {
	sub(t, "never more than the capacity is admitted to concurrent callers, and no less", func(t *testing.T) {
		const capacity, each = 300, 10 // 640 callers
		b := open(t)
		d := ports.Demand{Key: unique(), Limit: ratelimit.Limit{Capacity: capacity, Period: time.Hour}, N: 1}
		var admitted atomic.Int64
		together(crowd, func(int) {
			for range each {
				got, err := b.Take(t.Context(), start, d)
				if err != nil {
					t.Errorf("Take: %v", err)
				} else if got[0].OK {
					admitted.Add(1)
				}
			}
		})
		if got := admitted.Load(); got != capacity {
			t.Errorf("admitted of %d concurrent callers: got %d, want %d", crowd*each, got, capacity)
		}
	})
	sub(t, "of concurrent calls on several buckets, in any order, none sees half of another", func(t *testing.T) {
		const each, small = 20, 100
		b := open(t)
		d := make([]ports.Demand, 4) // the first is the narrowest: no other may lose a token to a call that it refused
		for i := range d {
			d[i] = ports.Demand{Key: unique(), Limit: ratelimit.Limit{Capacity: small + int64(i)*10_000, Period: time.Hour}, N: 1}
		}
		var admitted atomic.Int64
		together(crowd, func(i int) {
			demands := []ports.Demand{d[i%4], d[(i+1)%4], d[(i+2)%4], d[(i+3)%4]}
			if i%2 == 1 {
				demands[0], demands[3] = demands[3], demands[0]
			}
			for range each {
				got, err := b.Take(t.Context(), start, demands...)
				if err != nil {
					t.Errorf("Take: %v", err)
					return
				}
				ok := true
				var left [4]int64
				for j := range got {
					ok = ok && got[j].OK
					for k := range d {
						if got[j].Limit == d[k].Limit {
							left[k] = d[k].Limit.Capacity - got[j].Remaining
						}
					}
				}
				if left[0] != left[1] || left[1] != left[2] || left[2] != left[3] {
					t.Errorf("taken from the four buckets as one call sees it: got %v, want one number", left)
				}
				if ok {
					admitted.Add(1)
				}
			}
		})
		if got := admitted.Load(); got != small {
			t.Errorf("admitted: got %d, want %d", got, small)
		}
		for i := range d {
			if got := d[i].Limit.Capacity - take(t, b, start, ports.Demand{Key: d[i].Key, Limit: d[i].Limit, N: 1})[0].Remaining; got != small+min(int64(i), 1) {
				t.Errorf("taken from bucket %d, with this look: got %d, want %d", i, got, small+min(int64(i), 1))
			}
		}
	})
}
