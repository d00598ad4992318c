package memstore

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/maphash"
	"slices"

	"github.com/xteam/xteam/domain/instant"
	"github.com/xteam/xteam/domain/ratelimit"
	"github.com/xteam/xteam/ports"
)

const (
	maxDemands = 8         // of one Take
	maxKey     = 128       // bytes
	defaultMax = 1_000_000 // buckets
)

// BucketsOptions bound the memory of Buckets.
type BucketsOptions struct {
	// Max is how many clients have a bucket of their own at once, at least 64. The default is 1,000,000, of about 70 bytes each.
	Max int
}

// Buckets keeps token buckets in the memory of this process, which stays bounded whatever the number of clients, and forgets no bucket before it is full again.
//
// What is full need not be kept. When Max buckets are kept and none of them is full, a client that has none shares one with others: one of 1,024 for each
// limit, by the digest of its key. Such a client may be refused for what its neighbours took; none gets more than its limit. When there is room again
// it gets a bucket of its own, which begins with what was spent of the shared one. The number of limits is the program's own choice, so a handful.
//
// Of a client's key only a digest of 128 bits is kept, made with seeds that are drawn anew for each Buckets: nobody outside can look for two keys
// that fall together.
type Buckets struct {
	seeds  [2]maphash.Seed
	shards [shards]shard
}

var _ ports.Buckets = (*Buckets)(nil)

// NewBuckets makes an empty set of buckets.
func NewBuckets(o BucketsOptions) *Buckets {
	if o.Max <= 0 {
		o.Max = defaultMax
	}
	b := &Buckets{seeds: [2]maphash.Seed{maphash.MakeSeed(), maphash.MakeSeed()}}
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
		n += len(s.own) + len(s.shared)
		s.mu.Unlock()
	}
	return n
}

// ErrDemand says that a call asks for what no bucket can answer: too many demands, a key that is too long, or a limit out of range.
var ErrDemand = errors.New("memory buckets: the demand is not valid")

// Take takes from all the buckets or from none. What no bucket can answer is ErrDemand.
func (b *Buckets) Take(ctx context.Context, now instant.Instant, demands ...ports.Demand) ([]ratelimit.Decision, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if len(demands) > maxDemands {
		return nil, fmt.Errorf("%w: %d at once, at most %d", ErrDemand, len(demands), maxDemands)
	}
	var array [maxDemands]digest
	keys := array[:len(demands)]
	var involved uint64 // the shards, one bit each
	for i, d := range demands {
		if len(d.Key) > maxKey {
			return nil, fmt.Errorf("%w: a key of %d bytes, at most %d", ErrDemand, len(d.Key), maxKey)
		}
		if err := d.Limit.Validate(); err != nil {
			return nil, fmt.Errorf("%w: %w", ErrDemand, err)
		}
		keys[i] = b.digest(d.Key, d.Limit)
		involved |= 1 << keys[i].shard()
	}
	for i := range b.shards { // in one order for all callers, so that none waits for another in a circle
		if involved>>i&1 == 1 {
			b.shards[i].mu.Lock()
			defer b.shards[i].mu.Unlock()
		}
	}
	return b.take(now, demands, keys), nil
}

// take runs under the locks of all shards that keys name.
func (b *Buckets) take(now instant.Instant, demands []ports.Demand, keys []digest) []ratelimit.Decision {
	var array [maxDemands]place
	places := array[:0]      // each bucket once
	var at [maxDemands]int   // the place of each demand
	var was [maxDemands]kept // each place's bucket before the call
	decisions := make([]ratelimit.Decision, len(demands))
	allowed := true
	for i, d := range demands {
		if j := slices.Index(keys[:i], keys[i]); j >= 0 {
			at[i] = at[j]
		} else {
			p := b.shards[keys[i].shard()].place(keys[i], d.Limit, now)
			if at[i] = slices.IndexFunc(places, p.same); at[i] < 0 {
				at[i] = len(places)
				was[at[i]] = p.kept
				places = append(places, p)
			}
		}
		bucket := &places[at[i]].kept.bucket
		*bucket, decisions[i] = d.Limit.Take(*bucket, d.N, now)
		allowed = allowed && decisions[i].OK
	}
	for i, d := range demands {
		p := &places[at[i]]
		if !allowed {
			p.kept = was[at[i]]
		}
		var after ratelimit.Decision
		p.kept.bucket, after = d.Limit.Take(p.kept.bucket, 0, now) // takes nothing: tells what is there
		p.kept.full = p.kept.bucket.At.Add(after.Reset)
		p.keep()
		decisions[i].Remaining, decisions[i].Reset = after.Remaining, after.Reset
	}
	return decisions
}

// digest is what stands for a key under a limit. Two of them are equal by accident only: once in 10^26 pairs or so.
func (b *Buckets) digest(key string, l ratelimit.Limit) digest {
	var array [16 + maxKey]byte
	binary.NativeEndian.PutUint64(array[0:], uint64(l.Capacity))
	binary.NativeEndian.PutUint64(array[8:], uint64(l.Period))
	text := array[:16+copy(array[16:], key)]
	return digest{maphash.Bytes(b.seeds[0], text), maphash.Bytes(b.seeds[1], text)}
}
