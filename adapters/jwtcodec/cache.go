package jwtcodec

import (
	"hash/maphash"
	"sync"
	"sync/atomic"

	"github.com/xteam/xteam/domain/token"
)

// entry is a verified token. But for used it is never changed once it is in the cache.
type entry struct {
	text   string    // the whole token, our own copy
	by     *verifier // what verified it
	claims token.Claims
	used   atomic.Bool // since it was put, or last spared
}

// overhead is what an entry costs besides its texts, in bytes: the entry itself, its places in map and queue at usual load, and what the allocator rounds up.
// A test holds the estimate against the heap.
const overhead = 352

// weight estimates the memory of an entry, in bytes.
func (e *entry) weight() int {
	c := &e.claims
	n := overhead + len(e.text) + len(c.Issuer) + len(c.ClientID) + len(c.Scope)
	for _, list := range [...][]string{c.Audience, c.Roles} {
		n += 24 * cap(list)
		for _, s := range list {
			n += len(s)
		}
	}
	return n
}

// shards is how many locks the cache has. Two requests with different tokens seldom meet at one.
const shards = 32

// cache keeps verified tokens under their whole text, within a bound. It is parted in shards; each of them drops the oldest entry first, but spares once
// more what was used since it was looked at last. A hit takes a read lock and moves nothing; there is no goroutine. A nil cache is empty and stays so.
type cache struct {
	seed   maphash.Seed
	shards [shards]shard
}

type shard struct {
	mu      sync.RWMutex
	entries map[string]*entry
	queue   []*entry // in the order in which they are looked at; one that was replaced stays until its turn
	weight  int      // of queue
	bound   int
	_       [64]byte // keeps the locks of two shards from sharing a cache line
}

// newCache makes a cache of at most that many bytes. It is nil when there is nothing to hold.
func newCache(bytes int) *cache {
	if bytes <= 0 {
		return nil
	}
	c := &cache{seed: maphash.MakeSeed()}
	for i := range c.shards {
		c.shards[i].entries = make(map[string]*entry)
		c.shards[i].bound = bytes / shards
	}
	return c
}

// of answers the shard of a token. The end of a text tells enough: a token ends with its signature, which nobody without a key can choose.
func (c *cache) of(text string) *shard {
	return &c.shards[maphash.String(c.seed, text[max(0, len(text)-16):])%shards]
}

// get answers the entry of exactly that text, or nil.
func (c *cache) get(text string) *entry {
	if c == nil {
		return nil
	}
	s := c.of(text)
	s.mu.RLock()
	e := s.entries[text]
	s.mu.RUnlock()
	if e != nil && !e.used.Load() {
		e.used.Store(true)
	}
	return e
}

// put keeps an entry, in the place of one of the same text. What is too large for a shard is not kept.
func (c *cache) put(e *entry) {
	s, w := c.of(e.text), e.weight()
	if w > s.bound {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for s.weight+w > s.bound {
		oldest := s.queue[0]
		s.queue[0] = nil
		s.queue = s.queue[1:]
		if oldest.used.Swap(false) && s.entries[oldest.text] == oldest {
			s.queue = append(s.queue, oldest)
			continue
		}
		if s.entries[oldest.text] == oldest {
			delete(s.entries, oldest.text)
		}
		s.weight -= oldest.weight()
	}
	delete(s.entries, e.text) // so that the map holds this copy of the text, not the last one's
	s.entries[e.text] = e
	s.queue = append(s.queue, e)
	s.weight += w
}
