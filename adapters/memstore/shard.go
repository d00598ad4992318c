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
	again      = time.Second
)

// table is the buckets of one limit in one shard, by the digests of their keys.
type table struct {
	of     ratelimit.Limit
	own    map[uint64]ratelimit.Bucket
	shared [neighbours]ratelimit.Bucket // of those who have none of their own
}

// slot is which shared bucket a key has; its shard is told by the digest's other end.
func slot(key uint64) uint64 { return key >> 32 % neighbours }

// shard is a part of the buckets under one lock.
type shard struct {
	mu     sync.Mutex
	tables []*table // one for each limit; there are a handful, so they are looked through

	own     int             // buckets in the tables, less the shared ones
	limit   int             // of own
	sweepAt int             // how many own buckets there are when full ones are looked for
	swept   instant.Instant // when that was last done
	turned  int             // how often a client found no room since then
}

func (s *shard) init(limit int) {
	s.limit, s.sweepAt = limit, min(limit, smallest)
}

func (s *shard) len() int {
	n := s.own
	for _, t := range s.tables {
		for _, b := range t.shared {
			if b.Spent > 0 {
				n++
			}
		}
	}
	return n
}

// place is where a bucket is kept, or is to be, and the bucket as it was found and as it is to be kept.
type place struct {
	shard       *shard
	table       *table
	key         uint64
	shared      bool
	was, bucket ratelimit.Bucket
}

// place finds the bucket of a key. A new one begins as the shared one that stands for it now, mostly a full one.
func (s *shard) place(key uint64, l ratelimit.Limit, now instant.Instant) place {
	t := s.table(l)
	p := place{shard: s, table: t, key: key}
	var ok bool
	if p.was, ok = t.own[key]; !ok {
		p.shared = !s.room(now)
		p.was = t.shared[slot(key)]
	}
	p.bucket = p.was
	return p
}

// table is that of a limit, a new one if there was none.
func (s *shard) table(l ratelimit.Limit) *table {
	for _, t := range s.tables {
		if t.of == l {
			return t
		}
	}
	t := &table{of: l, own: map[uint64]ratelimit.Bucket{}}
	s.tables = append(s.tables, t)
	return t
}

// same reports whether two places are one.
func (p *place) same(o place) bool {
	return p.table == o.table && p.shared == o.shared && (p.key == o.key || p.shared && slot(p.key) == slot(o.key))
}

// keep puts the bucket into its place; a full one is not kept.
func (p *place) keep() {
	if p.shared {
		p.table.shared[slot(p.key)] = p.bucket
		return
	}
	before := len(p.table.own)
	if p.bucket.Spent > 0 {
		p.table.own[p.key] = p.bucket
	} else {
		delete(p.table.own, p.key)
	}
	p.shard.own += len(p.table.own) - before
}

// room reports whether there is room for one more bucket, and makes some where it can. A sweep looks at every bucket of the shard; it comes only when the buckets
// have doubled, or at the limit when an eighth as many clients were turned away, or a second after the last one: so a call pays for a few of them.
func (s *shard) room(now instant.Instant) bool {
	if s.own < s.sweepAt {
		return true
	}
	if s.sweepAt == s.limit && s.turned < s.limit/8 && now.Sub(s.swept) < again {
		s.turned++
		return false
	}
	s.sweep(now)
	s.sweepAt = min(s.limit, max(smallest, 2*s.own))
	return s.own < s.sweepAt
}

// sweep drops what is full. A bucket of a clock that was far ahead goes on from now, as ratelimit.Limit.Take has it: it would be in the way until that time came.
func (s *shard) sweep(now instant.Instant) {
	s.own, s.turned, s.swept = 0, 0, now
	for _, t := range s.tables {
		before := len(t.own)
		for key, was := range t.own {
			switch b, _ := t.of.Take(was, 0, now); {
			case b.Spent == 0:
				delete(t.own, key)
			case b.At < was.At:
				t.own[key] = b
			}
		}
		if len(t.own) < before/4 {
			t.own = maps.Clone(t.own) // a map never shrinks
		}
		s.own += len(t.own)
	}
}
