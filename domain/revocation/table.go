package revocation

import (
	"cmp"
	"encoding/binary"
	"hash/maphash"
	"math/bits"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/xteam/xteam/domain/instant"
	"github.com/xteam/xteam/domain/token"
)

// shardCount is a power of two: writers of different shards do not wait for one another, and a shard grows by itself.
const shardCount = 256

// several marks, beside the generation of a slot, a user with more than one entry: all of them are in shard.several.
const several = 1 << 63

// life is what is kept of an entry beside what it names.
type life struct {
	min   token.Generation // of users only
	cause cause
	until instant.Instant
}

// merge makes l the union of l and o, and reports whether that changed it.
func (l *life) merge(o life) bool {
	old := *l
	l.cause, l.until = min(l.cause, o.cause), max(l.until, o.until)
	return *l != old
}

// row is one entry of an index.
type row struct {
	id [16]byte
	life
}

// index is a set of rows by id, and for users by id and generation. Readers take no lock, except for the reason of a user with
// several entries; writers take the one of a shard. An id is found by a hash under a secret seed, so that nobody can choose ids
// that collide, and is compared whole.
type index struct {
	seed   maphash.Seed
	stride int // words of a slot: minWord of them, or one more where rows differ by generation too
	shards [shardCount]shard
}

type shard struct {
	table   atomic.Pointer[table] // nil while empty
	mu      sync.Mutex            // held by whoever changes the shard
	several map[[16]byte][]life   // the users with more than one entry, by rising generation
}

// table is an open-addressed hash table of groups of four slots, probed one after the other. Each slot has a mark of 16 bits, zero
// while it is free, else 15 bits of the hash under a set one. The marks of a group are one word, and those of a million ids are few
// enough for the processor's caches: there nearly every look-up of an id that is not in the table ends. (With marks of 8 bits one
// look-up in twelve went to the slots in vain, and a check took a tenth longer.) A slot is written before its mark, and never
// freed: growth and Sweep put another table in this one's place.
type table struct {
	marks  []uint64 // atomically
	slots  []uint64 // stride words each, as below
	stride int
	used   int // read by writers only
}

// The words of a slot. The id's two are never changed.
const (
	idWord    = 0 // and 1
	causeWord = 2 // atomically
	untilWord = 3 // read by writers only
	minWord   = 4 // of users only: the generation, or the highest one with the bit several; atomically
)

const (
	group = 4 // slots
	lows  = 0x0001000100010001
	highs = 0x8000800080008000
)

func newTable(groups, stride int) *table {
	return &table{marks: make([]uint64, groups), slots: make([]uint64, groups*group*stride), stride: stride}
}

// groupsFor is the least size of a table in which n rows leave a sixth of the slots free.
func groupsFor(n int) int { return n*6/(group*5) + 1 }

// place says where the id v is: its hash and its shard.
func (x *index) place(v *[16]byte) (uint64, *shard) {
	h := maphash.Bytes(x.seed, v[:])
	return h, &x.shards[h%shardCount]
}

// start is the first group to look into for the hash h, and the mark of h, four times.
func (t *table) start(h uint64) (g, mark uint64) {
	g, _ = bits.Mul64(h, uint64(len(t.marks)))
	return g, (h/shardCount%(1<<15) | 1<<15) * lows
}

// find is the slot of the id v with the hash h, or nil.
func (t *table) find(h uint64, v *[16]byte) []uint64 {
	a, b := binary.LittleEndian.Uint64(v[:8]), binary.LittleEndian.Uint64(v[8:])
	for g, mark := t.start(h); ; {
		marks := atomic.LoadUint64(&t.marks[g])
		// A zero in the difference is a slot with the same mark. The borrow may show the slot above it too, but never a free one.
		same := marks ^ mark
		for same = (same - lows) &^ same & highs; same != 0; same &= same - 1 {
			s := t.slot(int(g)*group + bits.TrailingZeros64(same)/16)
			if s[idWord] == a && s[idWord+1] == b {
				return s
			}
		}
		if marks&highs != highs {
			return nil
		}
		if g++; g == uint64(len(t.marks)) {
			g = 0
		}
	}
}

// glance is what the first group of an id has to say: its marks, and the mark of the id, four times.
type glance struct{ marks, mark uint64 }

func (x *index) glance(v *[16]byte) glance {
	h, s := x.place(v)
	t := s.table.Load()
	if t == nil {
		return glance{mark: highs} // of no slot
	}
	g, mark := t.start(h)
	return glance{atomic.LoadUint64(&t.marks[g]), mark}
}

// maybe reports whether the id must be looked up: a slot of its first group has its mark, or none is free.
func (g glance) maybe() bool {
	same := g.marks ^ g.mark
	return (same-lows)&^same&highs != 0 || g.marks&highs == highs
}

func (t *table) slot(i int) []uint64 { return t.slots[i*t.stride : (i+1)*t.stride : (i+1)*t.stride] }

// insert takes a free slot for an id that is not there. The caller has seen to it that one stays free.
func (t *table) insert(h uint64, words []uint64) {
	g, mark := t.start(h)
	for t.marks[g]&highs == highs {
		if g++; g == uint64(len(t.marks)) {
			g = 0
		}
	}
	k := bits.TrailingZeros64(^t.marks[g]&highs) / 16
	copy(t.slot(int(g)*group+k), words)
	t.used++
	atomic.StoreUint64(&t.marks[g], t.marks[g]|mark&(0xffff<<(16*k)))
}

// each calls fn with every slot in use.
func (t *table) each(fn func(slot []uint64)) {
	for g, marks := range t.marks {
		for k := range group {
			if marks>>(16*k)&0xffff != 0 {
				fn(t.slot(g*group + k))
			}
		}
	}
}

func idOf(slot []uint64) (v [16]byte) {
	binary.LittleEndian.PutUint64(v[:8], slot[idWord])
	binary.LittleEndian.PutUint64(v[8:], slot[idWord+1])
	return v
}

func lifeOf(slot []uint64) life {
	l := life{cause: cause(slot[causeWord]), until: instant.Instant(slot[untilWord])}
	if len(slot) > minWord {
		l.min = token.Generation(slot[minWord] &^ several)
	}
	return l
}

// lookup is the cause of the earliest row that names v and, of users, a generation above g; or none.
func (x *index) lookup(v *[16]byte, g token.Generation) cause {
	h, s := x.place(v)
	for {
		t := s.table.Load()
		if t == nil {
			return none
		}
		slot := t.find(h, v)
		if slot == nil {
			return none
		}
		if len(slot) > minWord {
			m := atomic.LoadUint64(&slot[minWord])
			if g >= token.Generation(m&^several) {
				return none
			}
			if m&several != 0 {
				if c, ok := s.earliest(v, g); ok {
					return c
				}
				continue // swept meanwhile, and the table is another
			}
		}
		return cause(atomic.LoadUint64(&slot[causeWord]))
	}
}

func (s *shard) earliest(v *[16]byte, g token.Generation) (cause, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	lives, ok := s.several[*v]
	c := none
	for _, l := range lives {
		if l.min > g {
			c = min(c, l.cause)
		}
	}
	return c, ok
}

// add makes r part of the index. It reports whether no row had its name, and whether anything changed.
func (x *index) add(r row) (fresh, changed bool) {
	h, s := x.place(&r.id)
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.add(x, h, r)
}

// add is called with the lock held.
func (s *shard) add(x *index, h uint64, r row) (fresh, changed bool) {
	t := s.table.Load()
	if t != nil {
		if slot := t.find(h, &r.id); slot != nil {
			return s.merge(slot, r)
		}
	}
	if t == nil || groupsFor(t.used+1) > len(t.marks) {
		t = s.grow(x, t)
	}
	words := [...]uint64{binary.LittleEndian.Uint64(r.id[:8]), binary.LittleEndian.Uint64(r.id[8:]), uint64(r.cause), uint64(r.until), uint64(r.min)}
	t.insert(h, words[:x.stride])
	return true, true
}

// grow puts a table a fifth larger in the place of t. A smaller step would copy too often, a larger one would waste memory.
func (s *shard) grow(x *index, t *table) *table {
	bigger := newTable(1, x.stride)
	if t != nil {
		bigger = newTable(len(t.marks)+len(t.marks)/5+1, x.stride)
		t.each(func(slot []uint64) {
			v := idOf(slot)
			h, _ := x.place(&v)
			bigger.insert(h, slot)
		})
	}
	s.table.Store(bigger)
	return bigger
}

// merge adds r to the row or rows that the slot names.
func (s *shard) merge(slot []uint64, r row) (fresh, changed bool) {
	l := lifeOf(slot)
	if len(slot) <= minWord || slot[minWord] == uint64(r.min) {
		changed = l.merge(r.life)
		atomic.StoreUint64(&slot[causeWord], uint64(l.cause))
		slot[untilWord] = uint64(l.until)
		return false, changed
	}
	lives := s.several[r.id]
	if lives == nil {
		lives = []life{l}
	}
	k, found := slices.BinarySearchFunc(lives, r.min, func(l life, g token.Generation) int { return cmp.Compare(l.min, g) })
	if found {
		return false, lives[k].merge(r.life)
	}
	lives = slices.Insert(lives, k, r.life)
	if s.several == nil {
		s.several = make(map[[16]byte][]life)
	}
	s.several[r.id] = lives
	// From here on readers ask the list. One that read the generation before answers as of before.
	atomic.StoreUint64(&slot[minWord], several|uint64(lives[len(lives)-1].min))
	return true, true
}

// rows appends the rows of s to list. It is called with the lock held.
func (s *shard) rows(list []row) []row {
	t := s.table.Load()
	if t == nil {
		return list
	}
	t.each(func(slot []uint64) {
		v := idOf(slot)
		if len(slot) > minWord && slot[minWord]&several != 0 {
			for _, l := range s.several[v] {
				list = append(list, row{v, l})
			}
			return
		}
		list = append(list, row{v, lifeOf(slot)})
	})
	return list
}

// each calls fn with every row until fn says no, and reports whether it never did. No lock is held meanwhile.
func (x *index) each(fn func(row) bool) bool {
	var list []row
	for i := range x.shards {
		s := &x.shards[i]
		s.mu.Lock()
		list = s.rows(list[:0])
		s.mu.Unlock()
		for _, r := range list {
			if !fn(r) {
				return false
			}
		}
	}
	return true
}

// sweep forgets the rows whose time was over before now, and counts them. Readers go on meanwhile, with the table of before.
func (x *index) sweep(now instant.Instant) (gone int) {
	var list []row
	for i := range x.shards {
		s := &x.shards[i]
		s.mu.Lock()
		list = s.rows(list[:0])
		all := len(list)
		list = slices.DeleteFunc(list, func(r row) bool { return r.until < now })
		if len(list) < all {
			s.keep(x, list)
		}
		s.mu.Unlock()
		gone += all - len(list)
	}
	return gone
}

// keep makes list all that s holds. It is called with the lock held.
func (s *shard) keep(x *index, list []row) {
	var next shard
	if len(list) > 0 {
		next.table.Store(newTable(groupsFor(len(list)), x.stride))
	}
	for _, r := range list {
		h, _ := x.place(&r.id)
		next.add(x, h, r)
	}
	s.table.Store(next.table.Load())
	s.several = next.several
}
