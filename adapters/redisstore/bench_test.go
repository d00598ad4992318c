package redisstore_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/xteam/xteam/domain/ratelimit"
	ourports "github.com/xteam/xteam/ports"
)

// quantiles reports the median and the 99th percentile.
func quantiles(b *testing.B, took []time.Duration, unit string) {
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2].Microseconds()), "p50-µs-"+unit)
	b.ReportMetric(float64(took[len(took)*99/100].Microseconds()), "p99-µs-"+unit)
}

func BenchmarkRecord(b *testing.B) {
	s := open(b, at(start(b, "--appendonly", "yes", "--appendfsync", "always")))
	var took []time.Duration
	for b.Loop() {
		e := newEntry()
		since := time.Now()
		record(b, s, e)
		took = append(took, time.Since(since))
	}
	quantiles(b, took, "record")
}

func BenchmarkRecordToFollower(b *testing.B) {
	s := open(b, at(start(b, "--appendonly", "yes", "--appendfsync", "always")))
	heard := make(chan time.Time, 1)
	ctx, cancel := context.WithCancel(context.Background())
	over := make(chan struct{})
	go func() {
		defer close(over)
		_ = s.Revocations().Follow(ctx, func(n ourports.News) error {
			if len(n.Entries) > 0 {
				heard <- time.Now()
			}
			return nil
		})
	}()
	var took []time.Duration
	for b.Loop() {
		since := time.Now()
		record(b, s, newEntry())
		took = append(took, (<-heard).Sub(since))
	}
	cancel()
	<-over
	quantiles(b, took, "heard")
}

func BenchmarkTake(b *testing.B) {
	buckets := open(b, at(start(b))).Buckets()
	for n := 1; n <= 4; n *= 4 {
		b.Run(strconv.Itoa(n)+" buckets", func(b *testing.B) {
			demands := make([]ourports.Demand, n)
			for i := range demands {
				demands[i] = ourports.Demand{Key: fmt.Sprint("k", i), Limit: ratelimit.PerMinute(1_000_000_000), N: 1}
			}
			var took []time.Duration
			for b.Loop() {
				since := time.Now()
				if _, err := buckets.Take(b.Context(), now, demands...); err != nil {
					b.Fatal(err)
				}
				took = append(took, time.Since(since))
			}
			quantiles(b, took, "take")
		})
	}
}

// BenchmarkJoin is a node that comes to a Redis with as many live revocations as XTEAM_BENCH_LIVE says (100,000).
func BenchmarkJoin(b *testing.B) {
	live, err := strconv.Atoi(os.Getenv("XTEAM_BENCH_LIVE"))
	if err != nil {
		live = 100_000
	}
	s := open(b, at(start(b)))
	for range live / 10_000 {
		record(b, s, newEntries(10_000)...)
	}
	enough := errors.New("enough")
	for b.Loop() {
		n := 0
		if err := s.Revocations().Follow(context.Background(), func(news ourports.News) error {
			if n += len(news.Entries); news.Caught {
				return enough
			}
			return nil
		}); !errors.Is(err, enough) || n != live {
			b.Fatalf("Follow: %d entries, %v", n, err)
		}
	}
	b.ReportMetric(float64(live), "entries")
}
