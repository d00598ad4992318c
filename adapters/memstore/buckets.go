package memstore

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"math/bits"
	"slices"

	"github.com/xteam/xteam/domain/instant"
	"github.com/xteam/xteam/domain/ratelimit"
	"github.com/xteam/xteam/ports"
)

const (
	maxDemands = 8         // of one call
	maxKey     = 128       // bytes
	defaultMax = 2_200_000 // buckets
)

// BucketsOptions bound the memory of Buckets.
type BucketsOptions struct {
	// Max is how many buckets of their own clients have at once, at least 64. The default is 2,200,000, of about 56 bytes each: a million clients with
	// two each, and a tenth for what the shards differ by.
	Max int
}

// Buckets keeps token buckets in the memory of this process, which stays bounded whatever the number of clients, and forgets no bucket before it is full again.
//
// What is full need not be kept. When Max buckets are kept and none of them is full, a client that has none shares one with others: one of 1,024 for each
// limit, by the digest of its key. Such a client may be refused for what its neighbours took; none gets more than its limit. When there is room again
// it gets a bucket of its own, which begins with what was spent of the shared one. The number of limits is the program's own choice, so a handful.
//
// Of a key only a digest of 64 bits is kept, with a seed that is drawn anew for each Buckets: nobody outside can look for two keys that fall together, and
// with two million buckets a new key meets another's once in some 10^13 times.
type Buckets struct {
	seed   maphash.Seed
	shards [shards]shard
}

var _ ports.Buckets = (*Buckets)(nil)

// NewBuckets makes an empty set of buckets.
func NewBuckets(o BucketsOptions) *Buckets {
	if o.Max <= 0 {
		o.Max = defaultMax
	}
	b := &Buckets{seed: maphash.MakeSeed()}
	for i := range b.shards {
		b.shards[i].init(max(1, o.Max/shards))
	}
	return b
}

// Len is how many buckets are kept, shared ones included.
func (b *Buckets) Len() int {
	n := 0
	for i := range b.shards {
		s := &b.shards[i]
		s.mu.Lock()
		n += s.len()
		s.mu.Unlock()
	}
	return n
}

// ErrDemand says that a call asks for what no bucket can answer: too many demands, a key that is too long, or a limit out of range.
var ErrDemand = errors.New("memory buckets: the demand is not valid")

// Take takes from all the buckets or from none. What no bucket can answer is ErrDemand.
func (b *Buckets) Take(ctx context.Context, now instant.Instant, demands ...ports.Demand) ([]ratelimit.Decision, error) {
	var array [maxDemands]uint64
	keys, involved, err := b.digests(ctx, demands, &array)
	if err != nil {
		return nil, err
	}
	b.lock(involved)
	defer b.unlock(involved)
	return b.take(now, demands, keys), nil
}

// Give puts back what a Take took. What no bucket can answer is ErrDemand.
func (b *Buckets) Give(ctx context.Context, now instant.Instant, demands ...ports.Demand) error {
	var array [maxDemands]uint64
	keys, involved, err := b.digests(ctx, demands, &array)
	if err != nil {
		return err
	}
	b.lock(involved)
	defer b.unlock(involved)
	for i, d := range demands {
		p := b.shardOf(keys[i]).place(keys[i], d.Limit, now)
		p.bucket = d.Limit.Give(p.bucket, d.N, now)
		p.keep()
	}
	return nil
}

// digests checks the demands and answers what stands for their keys, in array, and the shards that they lie in, one bit each.
func (b *Buckets) digests(ctx context.Context, demands []ports.Demand, array *[maxDemands]uint64) (keys []uint64, involved uint64, err error) {
	if err := ctx.Err(); err != nil {
		return nil, 0, err
	}
	if len(demands) > maxDemands {
		return nil, 0, fmt.Errorf("%w: %d at once, at most %d", ErrDemand, len(demands), maxDemands)
	}
	keys = array[:len(demands)]
	for i, d := range demands {
		if len(d.Key) > maxKey {
			return nil, 0, fmt.Errorf("%w: a key of %d bytes, at most %d", ErrDemand, len(d.Key), maxKey)
		}
		if err := d.Limit.Validate(); err != nil {
			return nil, 0, fmt.Errorf("%w: %w", ErrDemand, err)
		}
		keys[i] = maphash.String(b.seed, d.Key)
		involved |= 1 << (keys[i] % shards)
	}
	return keys, involved, nil
}

// lock locks shards in one order for all callers, so that none waits for another in a circle.
func (b *Buckets) lock(involved uint64) {
	for ; involved != 0; involved &= involved - 1 {
		b.shards[bits.TrailingZeros64(involved)].mu.Lock()
	}
}

func (b *Buckets) unlock(involved uint64) {
	for ; involved != 0; involved &= involved - 1 {
		b.shards[bits.TrailingZeros64(involved)].mu.Unlock()
	}
}

func (b *Buckets) shardOf(key uint64) *shard { return &b.shards[key%shards] }

// take runs under the locks of all shards that keys name.
func (b *Buckets) take(now instant.Instant, demands []ports.Demand, keys []uint64) []ratelimit.Decision {
	var array [maxDemands]place
	places := array[:0]    // each bucket once
	var at [maxDemands]int // the place of each demand
	decisions := make([]ratelimit.Decision, len(demands))
	allowed := true
	for i, d := range demands {
		p := b.shardOf(keys[i]).place(keys[i], d.Limit, now)
		if at[i] = slices.IndexFunc(places, p.same); at[i] < 0 {
			at[i] = len(places)
			places = append(places, p)
		}
		bucket := &places[at[i]].bucket
		*bucket, decisions[i] = d.Limit.Take(*bucket, d.N, now)
		allowed = allowed && decisions[i].OK
	}
	if !allowed || len(places) < len(demands) { // some decision was not the last word on its bucket
		for i, d := range demands {
			p := &places[at[i]]
			if !allowed {
				p.bucket = p.was
			}
			var after ratelimit.Decision
			p.bucket, after = d.Limit.Take(p.bucket, 0, now) // takes nothing: tells what is there
			decisions[i].Remaining, decisions[i].Reset = after.Remaining, after.Reset
		}
	}
	for i := range places {
		places[i].keep()
	}
	return decisions
}
