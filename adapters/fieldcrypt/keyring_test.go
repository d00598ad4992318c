package fieldcrypt_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"pgregory.net/rapid"

	"github.com/xteam/xteam/adapters/fieldcrypt"
	"github.com/xteam/xteam/domain/keyset"
	"github.com/xteam/xteam/domain/secret"
	"github.com/xteam/xteam/ports"
)

func TestWhatIsSealedOpensInItsPlaceOnly(t *testing.T) {
	k := mustOpen(t, newKeys())
	rapid.Check(t, func(t *rapid.T) {
		place, other := rapid.String().Draw(t, "place"), rapid.String().Draw(t, "other")
		plain := rapid.SliceOf(rapid.Byte()).Draw(t, "plain")
		sealed, err := k.Seal(place, plain)
		if err != nil {
			t.Fatal(err)
		}
		if len(sealed) != len(plain)+43 {
			t.Errorf("%d bytes are sealed in %d, want 43 more", len(plain), len(sealed))
		}
		if len(plain) > 3 && bytes.Contains(sealed, plain) {
			t.Errorf("the sealed text shows the plain one: %x", sealed)
		}
		if got, err := k.Open(place, sealed); err != nil || !bytes.Equal(got, plain) {
			t.Errorf("Open = %x, %v; want %x", got, err, plain)
		}
		if other != place {
			if got, err := k.Open(other, sealed); !errors.Is(err, ports.ErrUnavailable) || got != nil {
				t.Errorf("in another place Open = %x, %v; want ErrUnavailable", got, err)
			}
		}
	})
}

func TestEveryChangeOfASealedTextIsSeen(t *testing.T) {
	k := mustOpen(t, newKeys())
	sealed, _ := k.Seal("users/1/email", []byte("ann@example.org"))
	refused := func(what string, changed []byte) {
		t.Helper()
		got, err := k.Open("users/1/email", changed)
		if header := len(changed) >= 3 && !bytes.Equal(changed[:3], sealed[:3]); errors.Is(err, ports.ErrDamaged) == header { // of another version, or under a key that is not held, it may be good
			t.Errorf("%s: %v, want it damaged: %v", what, err, !header)
		}
		if !errors.Is(err, ports.ErrUnavailable) || got != nil {
			t.Errorf("%s: Open = %q, %v; want ErrUnavailable", what, got, err)
			return
		}
		if strings.Contains(err.Error(), "ann") || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: the error is %q", what, err)
		}
	}
	for i := range sealed {
		for bit := range 8 {
			changed := bytes.Clone(sealed)
			changed[i] ^= 1 << bit
			refused(fmt.Sprintf("bit %d of byte %d", bit, i), changed)
		}
		refused(fmt.Sprintf("cut to %d bytes", i), sealed[:i])
	}
	refused("a byte more", append(bytes.Clone(sealed), 0))
	refused("nothing", nil)
	// What is moved from the context into the header would be the same text if the two ran into one another.
	if got, err := k.Open("sers/1/email", append([]byte{sealed[0], sealed[1], sealed[2], 'u'}, sealed[3:]...)); err == nil {
		t.Errorf("a shifted text opens as %q", got)
	}
}

func TestOpenKeepsItsHandsOffTheSealedText(t *testing.T) {
	k := mustOpen(t, newKeys())
	sealed, _ := k.Seal("context", []byte("plain"))
	before := bytes.Clone(sealed)
	if _, err := k.Open("context", sealed); err != nil || !bytes.Equal(sealed, before) {
		t.Errorf("Open changed %x to %x (%v)", before, sealed, err)
	}
}

func TestTwoSealsOfOneTextDiffer(t *testing.T) {
	k := mustOpen(t, newKeys())
	seen := map[string]bool{}
	var mu sync.Mutex
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 500 {
				sealed, err := k.Seal("c", []byte("p"))
				if err != nil {
					t.Error(err)
				}
				if got, err := k.Open("c", sealed); string(got) != "p" || err != nil {
					t.Errorf("Open = %q, %v", got, err)
				}
				mu.Lock()
				seen[string(sealed[3:27])] = true
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	if len(seen) != 4000 {
		t.Errorf("%d different nonces in 4000 seals", len(seen))
	}
}

func TestAnIndexIsOfItsContextAndValue(t *testing.T) {
	k := mustOpen(t, newKeys())
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.StringOfN(rapid.RuneFrom([]rune("ab\x00")), 1, 4, -1).Draw(t, "text") // one text, parted in two ways
		at := rapid.IntRange(0, len(text))
		i, j := at.Draw(t, "i"), at.Draw(t, "j")
		c1, v1, c2, v2 := text[:i], text[i:], text[:j], text[j:]
		if got, want := k.Index(c1, v1) == k.Index(c2, v2), c1 == c2 && v1 == v2; got != want {
			t.Errorf("Index(%q, %q) is that of (%q, %q): %v, want %v", c1, v1, c2, v2, got, want)
		}
	})
}

func TestAMACIsOfItsKeyAndMessage(t *testing.T) {
	k := mustOpen(t, newKeys())
	a, ok := k.MAC(k.Current(), []byte("message"))
	if b, _ := k.MAC(k.Current(), []byte("message")); !ok || a != b || a == [32]byte{} {
		t.Errorf("two MACs of one message: %x and %x", a, b)
	}
	if b, _ := k.MAC(k.Current(), []byte("massage")); a == b {
		t.Error("two messages have one MAC")
	}
	for _, key := range []uint16{0, 2, 65535} {
		if m, ok := k.MAC(key, []byte("message")); ok || m != [32]byte{} {
			t.Errorf("MAC under key %d, which is not held = %x, %v", key, m, ok)
		}
	}
}

// What is stored today must be read for ever: a ring and texts of the first version.
func TestTheStoredFormsStay(t *testing.T) {
	unhex := func(s string) []byte {
		b, err := hex.DecodeString(s)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	s := newKeys()
	s.rings[keyset.Data] = keyset.Ring{Name: keyset.Data, Keys: []keyset.Key{
		{ID: "seal-1", Purpose: keyset.Seal, Algorithm: "XChaCha20-Poly1305", State: keyset.Primary, Wrapped: unhex("010d1b562775a07796294ec42875a8ad8ce4bbd771061cff738733cde324985ee319dbe27979fe833893985a0d5bc1283d8a43cccb98563bca700c1adfc5ae08464f1e6a1fe3eb996a")},
		{ID: "index-1", Purpose: keyset.Index, Algorithm: "HMAC-SHA256", State: keyset.Primary, Wrapped: unhex("01695f922db51d57065b54591749369a4a065c812f48dc2025e439c32b0949e2a14136f52755ad8d872e5b458043ab7a1b55fd05b5eeb92deb072f71e08c844bfaae12f3ae88c281f3")},
		{ID: "refresh-1", Purpose: keyset.Refresh, Algorithm: "HMAC-SHA256", State: keyset.Primary, Wrapped: unhex("0137773f8b672961008bb47add942bf55799a3b314f453bc71590438763b7c74880571ef3c22c58ed652cf702437b544939337cc6e0a3f585aa6a83df15c35c5de82c6eb2631dda85b")},
	}}
	k := mustOpen(t, s)
	if plain, err := k.Open("users/1/email", unhex("0100011ba93c40f88f45b13fdf5455bf260f0070753a5ba6a515a20b09e9248fa09de7f9c6f70991362eb3e495846dd2f978bc51ffd0cbd3efd3")); string(plain) != "ann@example.org" || err != nil {
		t.Errorf("Open = %q, %v", plain, err)
	}
	if got := k.Index("users/email", "ann@example.org"); hex.EncodeToString(got[:]) != "21f805178caf1b8b78f3e86d19199c2f" {
		t.Errorf("Index = %x", got)
	}
	if got, _ := k.MAC(1, []byte("message")); hex.EncodeToString(got[:]) != "f3a860f747794f2e9ab6ab42202ae4e81e8638ebe3f6015cd6db122edcd04196" {
		t.Errorf("MAC = %x", got)
	}
}

// What the store keeps shows neither the root key nor a data key: whoever has it cannot make an index or a MAC.
func TestTheStoredRingShowsNoKey(t *testing.T) {
	s := newKeys()
	random := &recorder{}
	if _, err := fieldcrypt.Open(context.Background(), s, root, secret.Text{}, random, 1); err != nil {
		t.Fatal(err)
	}
	stored := fmt.Sprintf("%v", s.rings)
	for _, k := range s.rings["data"].Keys {
		stored += string(k.Wrapped) + hex.EncodeToString(k.Wrapped) + base64.StdEncoding.EncodeToString(k.Wrapped)
	}
	keys := [][]byte{[]byte(root.RevealPlaintext())}
	for _, r := range random.reads {
		if len(r) == 32 {
			keys = append(keys, r)
		}
	}
	if len(keys) != 4 {
		t.Fatalf("%d keys were made, want 3", len(keys)-1)
	}
	for _, key := range keys {
		for _, form := range []string{string(key), hex.EncodeToString(key), base64.StdEncoding.EncodeToString(key), fmt.Sprint(key)} {
			if strings.Contains(stored, form) {
				t.Error("the stored ring holds a key in the clear")
			}
		}
	}
}

// recorder is a source of randomness that remembers what it gave.
type recorder struct{ reads [][]byte }

func (r *recorder) Read(p []byte) (int, error) {
	n, err := rand.Read(p)
	r.reads = append(r.reads, bytes.Clone(p[:n]))
	return n, err
}

func FuzzOpen(f *testing.F) {
	k := mustOpen(f, newKeys())
	sealed, _ := k.Seal("c", []byte("p"))
	f.Add("c", sealed[:20])
	f.Add("d", sealed)
	f.Add("", []byte{})
	f.Fuzz(func(t *testing.T, context string, sealed []byte) {
		if got, err := k.Open(context, sealed); !errors.Is(err, ports.ErrUnavailable) || got != nil {
			t.Errorf("Open of what was never sealed = %q, %v", got, err)
		}
	})
}

func BenchmarkSeal(b *testing.B) {
	k := mustOpen(b, newKeys())
	plain := []byte("ann.example@example.org")
	b.ReportAllocs()
	for b.Loop() {
		_, _ = k.Seal("users/0123456789abcdef/email", plain)
	}
}

func BenchmarkOpen(b *testing.B) {
	k := mustOpen(b, newKeys())
	sealed, _ := k.Seal("users/0123456789abcdef/email", []byte("ann.example@example.org"))
	b.ReportAllocs()
	for b.Loop() {
		_, _ = k.Open("users/0123456789abcdef/email", sealed)
	}
}

func BenchmarkIndex(b *testing.B) {
	k := mustOpen(b, newKeys())
	b.ReportAllocs()
	for b.Loop() {
		_ = k.Index("users/email", "ann.example@example.org")
	}
}

func BenchmarkMAC(b *testing.B) {
	k := mustOpen(b, newKeys())
	message := make([]byte, 58)
	b.ReportAllocs()
	for b.Loop() {
		_, _ = k.MAC(1, message)
	}
}
