package memstore

import (
	"maps"
	"sync"
	"time"

	"github.com/xteam/xteam/domain/instant"
	"github.com/xteam/xteam/domain/ratelimit"
)

const (
	shards     = 64 // of Buckets: one bit each in a word
	neighbours = 16 // shared buckets of one limit in one shard
	smallest   = 64 // buckets of a shard before it looks for full ones
)

// digest stands for a key under a limit.
type digest struct{ hi, lo uint64 }

func (d digest) shard() int { return int(d.lo % shards) }

// kept is a bucket and when it is full again. Under a clock that stands it is never dropped before.
type kept struct {
	bucket ratelimit.Bucket
	full   instant.Instant
}

// crowd names a shared bucket.
type crowd struct {
	limit ratelimit.Limit
	slot  uint64
}

// shard is a part of the buckets under one lock.
type shard struct {
	mu     sync.Mutex
	own    map[digest]kept
	shared map[crowd]kept

	limit   int             // of own
	sweepAt int             // how many own buckets there are when full ones are looked for
	turned  int             // how often a client found no room since the last sweep
	allFull instant.Instant // when all that the last sweep left are full, unless they were spent again
}

func (s *shard) init(limit int) {
	s.own, s.shared = map[digest]kept{}, map[crowd]kept{}
	s.limit, s.sweepAt = limit, min(limit, smallest)
}

// place is a bucket's place in a shard, whether it is kept there yet or not, and the bucket.
type place struct {
	shard  *shard
	key    digest
	crowd  crowd
	shared bool
	kept   kept
}

// place finds where the bucket of a key is kept. A new one begins as the shared one that stands for it now, mostly a full one.
func (s *shard) place(key digest, l ratelimit.Limit, now instant.Instant) place {
	p := place{shard: s, key: key, crowd: crowd{l, key.hi % neighbours}}
	var ok bool
	if p.kept, ok = s.own[key]; !ok {
		p.shared = !s.room(now)
		p.kept = s.shared[p.crowd]
	}
	return p
}

// same reports whether two places are one.
func (p *place) same(o place) bool {
	return p.shard == o.shard && p.shared == o.shared && (p.shared && p.crowd == o.crowd || !p.shared && p.key == o.key)
}

// keep puts the bucket into its place; a full one is not kept.
func (p *place) keep() {
	switch {
	case p.shared && p.kept.bucket.Spent > 0:
		p.shard.shared[p.crowd] = p.kept
	case p.shared:
		delete(p.shard.shared, p.crowd)
	case p.kept.bucket.Spent > 0:
		p.shard.own[p.key] = p.kept
	default:
		delete(p.shard.own, p.key)
	}
}

// room reports whether there is room for one more bucket, and makes some where it can. A sweep looks at every bucket of the shard; it comes only when the buckets
// have doubled, or at the limit when an eighth as many clients were turned away, or all that the last one left are full: so a call pays for a few of them.
func (s *shard) room(now instant.Instant) bool {
	if len(s.own) < s.sweepAt {
		return true
	}
	if s.sweepAt == s.limit && s.turned < s.limit/8 && now < s.allFull {
		s.turned++
		return false
	}
	s.sweep(now)
	s.turned = 0
	s.sweepAt = min(s.limit, max(smallest, 2*len(s.own)))
	return len(s.own) < s.sweepAt
}

// sweep drops what is full. A bucket of a clock that was far ahead goes on from now, as ratelimit.Limit.Take has it: it would be in the way until that time came.
func (s *shard) sweep(now instant.Instant) {
	before := len(s.own)
	s.allFull = now
	for key, k := range s.own {
		if k.bucket.At.Sub(now) > time.Hour {
			k.full = now.Add(k.full.Sub(k.bucket.At))
			k.bucket.At = now
			s.own[key] = k
		}
		if k.full <= now {
			delete(s.own, key)
		}
		s.allFull = max(s.allFull, k.full)
	}
	maps.DeleteFunc(s.shared, func(_ crowd, k kept) bool { return k.full <= now })
	if len(s.own) < before/4 {
		s.own = maps.Clone(s.own) // a map never shrinks
	}
}
