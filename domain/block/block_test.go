package block_test

import (
	"errors"
	"math/rand/v2"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"github.com/xteam/xteam/domain/block"
	"github.com/xteam/xteam/domain/instant"
)

var same = cmp.Options{cmpopts.EquateComparable(netip.Prefix{}), cmpopts.EquateEmpty()}

func TestParse(t *testing.T) {
	for text, want := range map[string]string{"192.0.2.1": "192.0.2.1/32", "192.0.2.0/24": "192.0.2.0/24", "2001:db8::1": "2001:db8::1/128", "2001:db8::/32": "2001:db8::/32",
		"::ffff:192.0.2.1": "192.0.2.1/32", "::ffff:192.0.2.0/120": "192.0.2.0/24", "0.0.0.0/0": "0.0.0.0/0"} {
		if got, err := block.Parse(text); err != nil || got.String() != want {
			t.Errorf("%s: got %v, %v, want %s", text, got, err, want)
		}
	}
	for _, text := range []string{"", "host", "192.0.2.1/24", "192.0.2.1/33", "192.0.2.256", "192.0.2.0/024", "fe80::1%eth0", "fe80::%eth0/64", "::ffff:0:0/90", "1.2.3.4/", "1.2.3.4/-1", " 1.2.3.4",
		"1.2.3.4\r\n", "01.2.3.4", strings.Repeat("1", 100), "2001:db8::1/32"} {
		if got, err := block.Parse(text); !errors.Is(err, block.ErrInvalid) {
			t.Errorf("%q: got %v, %v, want ErrInvalid", text, got, err)
		}
	}
}

func TestWise(t *testing.T) {
	caller, proxies := netip.MustParseAddr("198.51.100.7"), []netip.Prefix{netip.MustParsePrefix("10.0.0.0/24")}
	for text, risk := range map[string]string{
		"192.0.2.0/24": "", "2001:db8::/32": "", "198.51.100.8": "", "11.0.0.0/8": "", "127.0.0.1": "this machine", "126.0.0.0/7": "this machine", "::1": "this machine", "::/0": "this machine", "0.0.0.0/0": "this machine",
		"198.51.100.7": "from which you ask", "198.51.100.0/24": "from which you ask", "10.0.0.9": "proxies", "10.0.0.0/16": "proxies", "64.0.0.0/7": "very wide", "2000::/15": "very wide",
	} {
		err := block.Wise(netip.MustParsePrefix(mustParse(t, text).String()), caller, proxies)
		var risky *block.RiskyError
		if (risk == "") != (err == nil) || err != nil && (!errors.As(err, &risky) || !strings.Contains(err.Error(), risk)) {
			t.Errorf("%s: got %v, want %q", text, err, risk)
		}
	}
	if err := block.Wise(mustParse(t, "198.51.100.7"), netip.MustParseAddr("::ffff:198.51.100.7"), nil); err == nil {
		t.Error("the caller's own address, mapped into IPv6, was not seen")
	}
	if err := block.Wise(mustParse(t, "198.51.100.7"), netip.Addr{}, nil); err != nil {
		t.Errorf("nobody's address: %v", err)
	}
}

func mustParse(t testing.TB, text string) netip.Prefix {
	t.Helper()
	p, err := block.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestList(t *testing.T) {
	const now = instant.Instant(1000)
	of := func(text string, until instant.Instant) block.Block {
		return block.Block{Prefix: mustParse(t, text), Reason: "r", By: "operator", At: now, Until: until}
	}
	var l block.List
	for _, text := range []string{"192.0.2.0/24", "10.0.0.0/8", "192.0.2.0/25", "2001:db8::/32"} {
		was := l
		next, err := l.Put(of(text, instant.Forever), now)
		if err != nil || next.Revision != l.Revision+1 || len(next.Blocks) != len(l.Blocks)+1 {
			t.Fatalf("Put %s: %+v, %v", text, next, err)
		}
		if diff := cmp.Diff(was, l, same); diff != "" {
			t.Errorf("Put changed what it was called on:\n%s", diff)
		}
		l = next
	}
	again, err := l.Put(of("10.0.0.0/8", now+5), now)
	if err != nil || len(again.Blocks) != 4 || again.Blocks[0].Until != now+5 || l.Blocks[0].Until != instant.Forever {
		t.Errorf("one network twice: %+v, %v", again, err)
	}
	if swept, err := again.Put(of("203.0.113.1", instant.Forever), now+5); err != nil || len(swept.Blocks) != 4 || swept.Blocks[0].Prefix.Addr().String() == "10.0.0.0" {
		t.Errorf("what has ended stays: %+v, %v", swept, err)
	}
	if _, _, err := l.Drop(mustParse(t, "10.0.0.0/9")); !errors.Is(err, block.ErrUnknown) {
		t.Errorf("Drop of what is not there: %v", err)
	}
	less, was, err := l.Drop(mustParse(t, "192.0.2.0/24"))
	if err != nil || len(less.Blocks) != 3 || len(l.Blocks) != 4 || less.Revision != 5 || was.Prefix.String() != "192.0.2.0/24" {
		t.Errorf("Drop: %+v, %+v, %v", less, was, err)
	}
	first := l.After(netip.Prefix{}, 2, now)
	rest := l.After(first[1].Prefix, 10, now)
	if len(first) != 2 || len(rest) != 2 || first[0].Prefix.String() != "10.0.0.0/8" || rest[1].Prefix.String() != "2001:db8::/32" {
		t.Errorf("pages: %v, %v", first, rest)
	}
	for what, b := range map[string]block.Block{
		"no network": {Until: 5, At: 1}, "bits beyond": {Prefix: netip.MustParsePrefix("10.1.0.0/8"), At: 1, Until: 2}, "over already": of("10.0.0.0/8", now), "a long reason": {Prefix: mustParse(t, "10.0.0.0/8"), At: 1, Until: 2, Reason: strings.Repeat("x", 101)},
		"no UTF-8": {Prefix: mustParse(t, "10.0.0.0/8"), At: 1, Until: 2, Reason: "\xff"},
	} {
		if _, err := l.Put(b, now); !errors.Is(err, block.ErrInvalid) {
			t.Errorf("%s: %v", what, err)
		}
	}
	full := block.List{}
	for i := range block.Max {
		full.Blocks = append(full.Blocks, block.Block{Prefix: netip.PrefixFrom(netip.AddrFrom4([4]byte{1, 2, byte(i >> 8), byte(i)}), 32), At: 1, Until: instant.Forever})
	}
	if _, err := full.Put(of("9.9.9.9", instant.Forever), now); !errors.Is(err, block.ErrFull) {
		t.Errorf("one more than there may be: %v", err)
	}
	if _, err := full.Put(block.Block{Prefix: full.Blocks[7].Prefix, At: 1, Until: 2000}, now); err != nil {
		t.Errorf("another end for one of a full list: %v", err)
	}
}

// blocks draws prefixes that often hold one another.
func blocks(t *rapid.T) block.Block {
	six := rapid.Bool().Draw(t, "six")
	bits := rapid.IntRange(0, 32).Draw(t, "bits")
	a := netip.AddrFrom4([4]byte{10, byte(rapid.IntRange(0, 3).Draw(t, "b")), byte(rapid.IntRange(0, 3).Draw(t, "c")), byte(rapid.IntRange(0, 255).Draw(t, "d"))})
	if six {
		var whole [16]byte
		copy(whole[:], []byte{0x20, 1, 0xd, 0xb8})
		whole[15] = byte(rapid.IntRange(0, 7).Draw(t, "e"))
		a, bits = netip.AddrFrom16(whole), bits*4
	}
	at := instant.Instant(rapid.Int64Range(1, 50).Draw(t, "at"))
	return block.Block{Prefix: netip.PrefixFrom(a, bits).Masked(), At: at, Until: at + instant.Instant(rapid.Int64Range(1, 50).Draw(t, "for")), Reason: rapid.StringN(0, 20, 60).Draw(t, "reason"), By: "operator"}
}

// TestSetIsTheList: the set answers as whoever looks at every block would, and what is encoded comes back.
func TestSetIsTheList(t *testing.T) { rapid.Check(t, setIsTheList) }

// FuzzSet is TestSetIsTheList of lists that reach new code.
func FuzzSet(f *testing.F) {
	ways(f)
	f.Fuzz(rapid.MakeFuzz(setIsTheList))
}

func setIsTheList(t *rapid.T) {
	var l block.List
	for range rapid.IntRange(0, 12).Draw(t, "n") {
		next, err := l.Put(blocks(t), 0)
		if err != nil {
			t.Fatal(err)
		}
		l = next
	}
	s := block.NewSet(l)
	for range 20 {
		a, now := blocks(t).Prefix.Addr(), instant.Instant(rapid.Int64Range(1, 100).Draw(t, "now"))
		want := false
		for _, b := range l.Blocks {
			want = want || b.Prefix.Contains(a) && now < b.Until
		}
		if got := s.Blocks(a, now); got != want {
			t.Fatalf("%s at %d: got %v, want %v, of %v", a, now, got, want, l.Blocks)
		}
		if a.Is4() && s.Blocks(netip.AddrFrom16(a.As16()), now) != want {
			t.Fatalf("%s mapped into IPv6 is another", a)
		}
	}
	back, err := block.Decode(l.Encode())
	if diff := cmp.Diff(l, back, same); err != nil || diff != "" {
		t.Fatalf("%v (-want +got):\n%s", err, diff)
	}
	if n, err := block.Revision(l.Encode()); err != nil || n != l.Revision {
		t.Fatalf("Revision: %d, %v", n, err)
	}
}

// TestDamage: what is no list is refused, and nothing panics.
func TestDamage(t *testing.T) {
	l, err := block.List{Revision: 300}.Put(block.Block{Prefix: mustParse(t, "10.0.0.0/8"), Reason: "why", By: "b", At: 1, Until: 9}, 0)
	if err != nil {
		t.Fatal(err)
	}
	whole := l.Encode()
	for n := range len(whole) {
		if got, err := block.Decode(whole[:n]); err == nil && len(got.Blocks) > 0 {
			t.Errorf("%d of %d bytes were taken: %+v", n, len(whole), got)
		}
		for bit := range 8 {
			damaged := append([]byte(nil), whole...)
			damaged[n] ^= 1 << bit
			_, _ = block.Decode(damaged)
		}
	}
	if got, err := block.Decode(nil); err != nil || got.Revision != 0 || got.Blocks != nil {
		t.Errorf("nothing: %+v, %v", got, err)
	}
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte{})
	f.Add([]byte{1, 1, 4, 10, 0, 0, 0, 8, 2, 18, 1, 'r', 1, 'b'})
	f.Fuzz(func(t *testing.T, b []byte) {
		l, err := block.Decode(b)
		if err != nil {
			return
		}
		again, err := block.Decode(l.Encode())
		if diff := cmp.Diff(l, again, same); err != nil || diff != "" {
			t.Fatalf("%v\n%s", err, diff)
		}
	})
}

func BenchmarkBlocks(b *testing.B) {
	var l block.List
	for i := range block.Max {
		p := netip.PrefixFrom(netip.AddrFrom4([4]byte{100, byte(i >> 8), byte(i), 0}), 24+i%9).Masked()
		next, err := l.Put(block.Block{Prefix: p, At: 1, Until: instant.Forever}, 0)
		if err == nil {
			l = next
		}
	}
	for name, s := range map[string]*block.Set{"none": block.NewSet(block.List{}), "5,000 of nine lengths": block.NewSet(l)} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			a := netip.MustParseAddr("203.0.113.9")
			for b.Loop() {
				if s.Blocks(a, 5) {
					b.Fatal("blocked")
				}
			}
		})
	}
}

// ways adds walks that are long enough: what reads of an input that ends draws nothing more.
func ways(f *testing.F) {
	for i := range byte(4) {
		way := make([]byte, 8<<10)
		_, _ = rand.NewChaCha8([32]byte{i}).Read(way)
		f.Add(way)
	}
}
