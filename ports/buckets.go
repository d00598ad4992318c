package ports

import (
	"context"

	"github.com/xteam/xteam/domain/instant"
	"github.com/xteam/xteam/domain/ratelimit"
)

// Demand asks one bucket for tokens. The same key under another limit is another bucket.
type Demand struct {
	Key   string // of at most 128 bytes: what is limited, and who
	Limit ratelimit.Limit
	N     int64 // 1 to the limit's capacity
}

// Buckets keeps token buckets.
type Buckets interface {
	// Take takes from all the buckets or from none, in one step: of concurrent calls none sees half of another. It answers one decision for each
	// demand, in order, each as ratelimit.Limit.Take gives it on the bucket alone, but for Remaining and Reset, which tell what is there after the call. The
	// request is allowed when every decision is OK. Demands with one key and limit are answered as one after the other. At most 8 demands.
	// A bucket that was spent is never forgotten before it would be full again, however many others there are.
	Take(ctx context.Context, now instant.Instant, demands ...Demand) ([]ratelimit.Decision, error)
	// Give puts back what an earlier Take took, each demand as ratelimit.Limit.Give does it. It is for what turned out not to count. At most 8 demands.
	Give(ctx context.Context, now instant.Instant, demands ...Demand) error
}
