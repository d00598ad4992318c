package redisstore_test

import (
	"context"
	"errors"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/xteam/xteam/adapters/redisstore"
	"github.com/xteam/xteam/domain/instant"
	"github.com/xteam/xteam/domain/ratelimit"
	ourports "github.com/xteam/xteam/ports"
)

const now instant.Instant = 1_772_366_400_000_000

func demand() ourports.Demand {
	return ourports.Demand{Key: "address 192.0.2.1", Limit: ratelimit.PerMinute(1_000_000), N: 1}
}

func redisAdmin(t testing.TB, s *server, password string) *redis.Client {
	c := redis.NewClient(&redis.Options{Addr: s.address(), Password: password, Protocol: 2, DisableIdentity: true})
	t.Cleanup(func() { c.Close() })
	return c
}

func TestBucketsWaitForNobody(t *testing.T) {
	server := start(t)
	o := at(server)
	o.BucketTimeout = 20 * time.Millisecond
	s := open(t, o)
	b := s.Buckets()
	eventually(t, "buckets answer in time", func() bool { _, err := b.Take(t.Context(), now, demand()); return err == nil })
	server.signal(t, syscall.SIGSTOP)
	defer server.signal(t, syscall.SIGCONT)
	var took []time.Duration
	for range 200 {
		since := time.Now()
		if _, err := b.Take(t.Context(), now, demand()); !errors.Is(err, ourports.ErrUnavailable) {
			t.Fatalf("Take on a hung server: got error %v, want ErrUnavailable", err)
		}
		took = append(took, time.Since(since))
	}
	slices.Sort(took)
	if took[len(took)/2] > 5*time.Millisecond {
		t.Errorf("the median of 200 calls on a hung server: got %v, want that nobody waits once three did", took[len(took)/2])
	}
	if last := took[len(took)-1]; last > 5*time.Second {
		t.Errorf("the longest of 200 calls on a hung server: got %v, want about 20 ms", last)
	}
	server.signal(t, syscall.SIGCONT)
	since := time.Now()
	eventually(t, "buckets are counted in Redis again", func() bool { _, err := b.Take(t.Context(), now, demand()); return err == nil })
	t.Logf("median %v, longest %v; back after %v", took[len(took)/2], took[len(took)-1], time.Since(since))
}

func TestBucketsExpireWhenTheyAreFull(t *testing.T) {
	server := start(t)
	o := at(server)
	b := open(t, o).Buckets()
	hour := ratelimit.Limit{Capacity: 4, Period: time.Hour}
	_, err := b.Take(t.Context(), now, ourports.Demand{Key: "k", Limit: hour, N: 1})
	ok(t, err)
	key := o.Namespace + ":b:k/4/3600000000"
	if left := server.admin.TTL(t.Context(), key).Val(); left < 15*time.Minute || left > 17*time.Minute {
		t.Errorf("the time to live of a bucket that is full in 15 minutes: got %v, want 16 minutes", left)
	}
	ok(t, b.Give(t.Context(), now, ourports.Demand{Key: "k", Limit: hour, N: 1}))
	if n := server.admin.Exists(t.Context(), key).Val(); n != 0 {
		t.Error("a full bucket is kept")
	}
}

func TestBucketsTakeOneRoundTrip(t *testing.T) {
	server := start(t)
	b := open(t, at(server)).Buckets()
	var demands []ourports.Demand
	for _, key := range []string{"a", "b", "c", "d"} {
		demands = append(demands, ourports.Demand{Key: key, Limit: ratelimit.PerMinute(1000), N: 1})
	}
	_, err := b.Take(t.Context(), now, demands...)
	ok(t, err)
	ok(t, server.admin.ConfigResetStat(t.Context()).Err())
	for range 100 {
		_, err := b.Take(t.Context(), now, demands...)
		ok(t, err)
	}
	if n := calls(t, server, "evalsha"); n != 100 {
		t.Errorf("100 calls on four buckets: %d runs of the script, want 100", n)
	}
	if n := calls(t, server, "eval"); n != 0 {
		t.Errorf("100 calls on four buckets: the script was sent %d times, want never", n)
	}
}

func TestInvalidDemands(t *testing.T) {
	b := open(t, at(single(t))).Buckets()
	good := demand()
	long, limit := good, good
	long.Key = string(make([]byte, 129))
	limit.Limit.Capacity = 0
	for what, c := range map[string]struct {
		now     instant.Instant
		demands []ourports.Demand
	}{
		"nine":                    {now, slices.Repeat([]ourports.Demand{good}, 9)},
		"a long key":              {now, []ourports.Demand{long}},
		"a limit out of range":    {now, []ourports.Demand{limit}},
		"a time out of range":     {1 << 53, []ourports.Demand{good}},
		"a time before the epoch": {-1, []ourports.Demand{good}},
	} {
		if _, err := b.Take(context.Background(), c.now, c.demands...); !errors.Is(err, redisstore.ErrDemand) {
			t.Errorf("Take with %s: got error %v, want ErrDemand", what, err)
		}
	}
	over := good
	over.N = good.Limit.Capacity + 1
	if got, err := b.Take(context.Background(), now, over); err != nil || got[0].OK {
		t.Errorf("Take of more than the capacity: got %+v, %v, want a refusal", got, err)
	}
}

// calls is how often a command was called, by INFO commandstats.
func calls(t testing.TB, s *server, command string) int {
	t.Helper()
	text, err := s.admin.Info(t.Context(), "commandstats").Result()
	ok(t, err)
	return statOf(text, command)
}
