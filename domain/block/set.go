package block

import (
	"net/netip"
	"slices"

	"github.com/xteam/xteam/domain/instant"
)

// Set answers whether an address is turned away. It is made of a list and never changes: a look-up takes no lock, allocates nothing, and looks at one network for each
// length of mask that occurs.
type Set struct {
	until map[netip.Prefix]instant.Instant
	four  []int // lengths of masks, the shortest first: what is wide matches more
	six   []int
}

// NewSet is the set of a list.
func NewSet(l List) *Set {
	s := &Set{until: make(map[netip.Prefix]instant.Instant, len(l.Blocks))}
	for _, b := range l.Blocks {
		s.until[b.Prefix] = b.Until
		lengths := &s.six
		if b.Prefix.Addr().Is4() {
			lengths = &s.four
		}
		if !slices.Contains(*lengths, b.Prefix.Bits()) {
			*lengths = append(*lengths, b.Prefix.Bits())
		}
	}
	slices.Sort(s.four)
	slices.Sort(s.six)
	return s
}

// Blocks reports whether an address is turned away now. One that is not known is not.
func (s *Set) Blocks(a netip.Addr, now instant.Instant) bool {
	if len(s.until) == 0 {
		return false
	}
	if a.Is4In6() {
		a = a.Unmap()
	}
	lengths := s.six
	if a.Is4() {
		lengths = s.four
	}
	a = a.WithZone("")
	for _, bits := range lengths {
		p, err := a.Prefix(bits)
		if err != nil {
			return false
		}
		if until, ok := s.until[p]; ok && now < until {
			return true
		}
	}
	return false
}
