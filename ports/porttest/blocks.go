package porttest

import (
	"context"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/xteam/xteam/domain/block"
	"github.com/xteam/xteam/domain/instant"
	"github.com/xteam/xteam/ports"
)

func blocksOf(s Store) keeper[struct{}, block.List] {
	k := keeper[struct{}, block.List]{
		key:   func(block.List) struct{} { return struct{}{} },
		count: func(l block.List) int64 { return int64(l.Revision) },
		bump: func(l block.List) block.List {
			next, err := l.Put(newBlock(l.Revision), 0)
			if err != nil {
				panic(err)
			}
			return next
		},
		scribble: func(l block.List) {
			for i := range l.Blocks {
				l.Blocks[i].Reason = "scribbled"
			}
		},
	}
	if s.Blocks != nil {
		k.update = func(ctx context.Context, _ struct{}, change func(block.List) (block.List, ports.Effects, error)) error {
			return s.Blocks.Update(ctx, change)
		}
		k.find = func(ctx context.Context, _ struct{}) (block.List, error) { return s.Blocks.Load(ctx) }
	}
	return k
}

// newBlock is one of a few hundred, the same for the same number.
func newBlock(n uint64) block.Block {
	return block.Block{Prefix: netip.PrefixFrom(netip.AddrFrom4([4]byte{198, 51, 100, byte(n)}), 32), Reason: "attempt", By: "operator", At: instant.Instant(n + 1), Until: instant.Forever}
}

// Blocks proves a ports.Blocks, and that its effects reach the ports.Revocations and ports.Events of the same store.
func Blocks(t *testing.T, open Open) {
	keeping(t, open, blocksOf)
	sub(t, "a new store holds an empty list", func(t *testing.T) {
		s := opened(t, open)
		blocksOf(s).holds(t, block.List{})
		if n, err := s.Blocks.Revision(t.Context()); err != nil || n != 0 {
			t.Errorf("Revision: got %d, %v, want 0", n, err)
		}
	})
	sub(t, "a long list is kept whole, with its revision", func(t *testing.T) {
		s := opened(t, open)
		var want block.List
		for i := range block.Max {
			a := netip.AddrFrom4([4]byte{100, 64, byte(i >> 8), byte(i)})
			if i%2 == 1 {
				a = netip.AddrFrom16([16]byte{0x20, 1, 0xd, 0xb8, byte(i >> 8), byte(i)})
			}
			want.Blocks = append(want.Blocks, block.Block{Prefix: netip.PrefixFrom(a, a.BitLen()), Reason: strings.Repeat("é", block.MaxReason/2), By: "system", At: wall(), Until: wall() + instant.Instant(i+1)<<20})
		}
		slices.SortFunc(want.Blocks, func(a, b block.Block) int { return a.Prefix.Addr().Compare(b.Prefix.Addr()) })
		want.Revision = 1 << 40
		if err := s.Blocks.Update(t.Context(), func(block.List) (block.List, ports.Effects, error) { return want, ports.Effects{}, nil }); err != nil {
			t.Fatalf("Update: %v", err)
		}
		blocksOf(s).holds(t, want)
		if n, err := s.Blocks.Revision(t.Context()); err != nil || n != want.Revision {
			t.Errorf("Revision: got %d, %v, want %d", n, err, want.Revision)
		}
	})
}
