// Package block says which addresses are turned away, and answers it from memory.
package block

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"unicode/utf8"

	"github.com/xteam/xteam/domain/instant"
)

// Block turns away an address or a network.
type Block struct {
	Prefix netip.Prefix    // without bits beyond its mask; IPv4 in its own form
	Reason string          // in the words of whoever asked; may be empty
	By     string          // who asked: a user id, "operator" or "system"
	At     instant.Instant // when it was asked for
	Until  instant.Instant // when it ends by itself; Forever when it does not
}

// The bounds.
const (
	Max       = 5_000 // blocks at a time
	MaxReason = 100   // bytes
	maxBy     = 64
)

// The refusals.
var (
	ErrInvalid = errors.New("the block is not valid")
	ErrFull    = fmt.Errorf("there are %d blocked networks: unblock some, or block a wider network in their place", Max)
	ErrUnknown = errors.New("this network is not blocked: a block is taken back as it was made")
)

// RiskyError refuses what would shut out whoever could take it back, unless they insist.
type RiskyError struct{ Detail string }

func (e *RiskyError) Error() string { return e.Detail }

// Parse reads an address, or a network in CIDR notation (RFC 4632, section 3.1; RFC 4291, section 2.3). Bits beyond the mask are refused: whoever wrote 10.1.2.3/8 may have
// meant one address, and would turn away sixteen million.
func Parse(text string) (netip.Prefix, error) {
	if len(text) > 64 {
		return netip.Prefix{}, fmt.Errorf("%w: a network is written 192.0.2.0/24 or 2001:db8::/32", ErrInvalid)
	}
	p, err := netip.ParsePrefix(text)
	if err != nil {
		a, bad := netip.ParseAddr(text)
		if bad != nil || a.Zone() != "" {
			return netip.Prefix{}, fmt.Errorf("%w: a network is written 192.0.2.0/24 or 2001:db8::/32, an address 192.0.2.1", ErrInvalid)
		}
		p = netip.PrefixFrom(a, a.BitLen())
	}
	if p.Addr().Is4In6() {
		if p.Bits() < 96 {
			return netip.Prefix{}, fmt.Errorf("%w: %s is no network of IPv4: write it as 192.0.2.0/24", ErrInvalid, p)
		}
		p = netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-96)
	}
	if p != p.Masked() {
		return netip.Prefix{}, fmt.Errorf("%w: %s has bits beyond its mask: write %s, or the address alone", ErrInvalid, p, p.Masked())
	}
	return p, nil
}

// Wise answers a *RiskyError for a network that holds this machine itself, the address from which it is asked for, one of those that must be reached, such as proxies, or that is wider than
// one provider's: 10.0.0.0/8, or a /16 of IPv6. Only who insists may block such a one.
func Wise(p netip.Prefix, caller netip.Addr, needed []netip.Prefix) error {
	risky := func(format string, args ...any) error {
		return &RiskyError{fmt.Sprintf(format, args...) + ": insist (force) if that is meant"}
	}
	for _, own := range [...]netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128")} {
		if p.Overlaps(own) {
			return risky("%s holds addresses of this machine itself", p)
		}
	}
	if caller = caller.Unmap().WithZone(""); caller.IsValid() && p.Contains(caller) {
		return risky("%s holds %s, from which you ask", p, caller)
	}
	for _, n := range needed {
		if p.Overlaps(n) {
			return risky("%s holds proxies of TRUSTED_PROXIES (%s)", p, n)
		}
	}
	if p.Addr().Is4() && p.Bits() < 8 || p.Addr().Is6() && p.Bits() < 16 {
		return risky("%s is very wide", p)
	}
	return nil
}

// validate answers ErrInvalid, wrapped with what is wrong.
func (b *Block) validate() error {
	switch {
	case !b.Prefix.IsValid() || b.Prefix != b.Prefix.Masked() || b.Prefix.Addr().Is4In6():
		return fmt.Errorf("%w: its network is not in plain form", ErrInvalid)
	case len(b.Reason) > MaxReason || !utf8.ValidString(b.Reason) || len(b.By) > maxBy:
		return fmt.Errorf("%w: its reason takes %d bytes of UTF-8", ErrInvalid, MaxReason)
	case b.At <= 0 || b.Until <= b.At:
		return fmt.Errorf("%w: it must end after now", ErrInvalid)
	}
	return nil
}

// List is every block, in the order of their networks, and how often it was changed. It is a value: no method changes what another holds.
type List struct {
	Revision uint64
	Blocks   []Block
}

func compare(b Block, p netip.Prefix) int {
	return cmp.Or(b.Prefix.Addr().Compare(p.Addr()), cmp.Compare(b.Prefix.Bits(), p.Bits()))
}

// Put is the list with b in it, in place of a block of the same network, and without those that ended by now.
func (l List) Put(b Block, now instant.Instant) (List, error) {
	if err := b.validate(); err != nil {
		return l, err
	}
	next := List{l.Revision + 1, slices.DeleteFunc(slices.Clone(l.Blocks), func(is Block) bool { return is.Until <= now })}
	at, found := slices.BinarySearchFunc(next.Blocks, b.Prefix, compare)
	switch {
	case found:
		next.Blocks[at] = b
	case len(next.Blocks) >= Max:
		return l, ErrFull
	default:
		next.Blocks = slices.Insert(next.Blocks, at, b)
	}
	return next, nil
}

// Drop is the list without the block of that very network, which it answers; or ErrUnknown.
func (l List) Drop(p netip.Prefix) (List, Block, error) {
	at, found := slices.BinarySearchFunc(l.Blocks, p, compare)
	if !found {
		return l, Block{}, ErrUnknown
	}
	return List{l.Revision + 1, slices.Delete(slices.Clone(l.Blocks), at, at+1)}, l.Blocks[at], nil
}

// After answers at most limit blocks that have not ended, behind a network (the zero Prefix: from the start).
func (l List) After(p netip.Prefix, limit int, now instant.Instant) (page []Block) {
	from := 0
	if p.IsValid() {
		at, found := slices.BinarySearchFunc(l.Blocks, p, compare)
		if from = at; found {
			from++
		}
	}
	for _, b := range l.Blocks[from:] {
		if len(page) == limit {
			break
		}
		if b.Until > now {
			page = append(page, b)
		}
	}
	return page
}

// encoding is the first byte of an encoded list.
const encoding = 1

// Encode is the list as stores keep it: a version byte, the revision, and of each block the length of its address, the address, the bits of its mask, both times, and two texts with their lengths.
func (l List) Encode() []byte {
	out := binary.AppendUvarint([]byte{encoding}, l.Revision)
	for _, b := range l.Blocks {
		a := b.Prefix.Addr().AsSlice()
		out = append(append(append(out, byte(len(a))), a...), byte(b.Prefix.Bits()))
		out = binary.AppendVarint(binary.AppendVarint(out, int64(b.At)), int64(b.Until))
		for _, text := range [...]string{b.Reason, b.By} {
			out = append(binary.AppendUvarint(out, uint64(len(text))), text...)
		}
	}
	return out
}

// errEncoded says that what a store gave is no list of this program's.
var errEncoded = errors.New("the list of blocked networks cannot be read: it is damaged, or of a newer version of the program")

// Revision reads the revision alone. Nothing at all is that of an empty list.
func Revision(encoded []byte) (uint64, error) {
	if len(encoded) == 0 {
		return 0, nil
	}
	n, size := binary.Uvarint(encoded[1:])
	if encoded[0] != encoding || size <= 0 {
		return 0, errEncoded
	}
	return n, nil
}

// Decode is the reverse of Encode. Nothing at all is the empty list.
func Decode(encoded []byte) (l List, err error) {
	if len(encoded) == 0 {
		return List{}, nil
	}
	if l.Revision, err = Revision(encoded); err != nil {
		return List{}, err
	}
	_, size := binary.Uvarint(encoded[1:])
	rest, good := encoded[1+size:], true
	take := func(n uint64) (part []byte) {
		if good = good && n <= uint64(len(rest)); !good {
			return nil
		}
		part, rest = rest[:n], rest[n:]
		return part
	}
	number := func(read func([]byte) (int64, int)) int64 {
		n, size := read(rest)
		if good = good && size > 0; !good {
			return 0
		}
		rest = rest[size:]
		return n
	}
	length := func(b []byte) (int64, int) { n, size := binary.Uvarint(b); return int64(n & (1<<20 - 1)), size }
	for len(rest) > 0 && good {
		var b Block
		var bits []byte
		if n := take(1); good {
			a, ok := netip.AddrFromSlice(take(uint64(n[0])))
			if bits = take(1); !ok || !good {
				return List{}, errEncoded
			}
			b.Prefix = netip.PrefixFrom(a, int(bits[0]))
		}
		b.At, b.Until = instant.Instant(number(binary.Varint)), instant.Instant(number(binary.Varint))
		b.Reason = string(take(uint64(number(length))))
		b.By = string(take(uint64(number(length))))
		if !good || b.validate() != nil || len(l.Blocks) > 0 && compare(l.Blocks[len(l.Blocks)-1], b.Prefix) >= 0 {
			return List{}, errEncoded
		}
		l.Blocks = append(l.Blocks, b)
	}
	if !good || len(l.Blocks) > Max {
		return List{}, errEncoded
	}
	return l, nil
}
