package jwtcodec_test

import (
	"errors"
	"runtime"
	"strings"
	"sync"
	"testing"

	"github.com/xteam/xteam/adapters/jwtcodec"
	"github.com/xteam/xteam/domain/instant"
	"github.com/xteam/xteam/domain/keyset"
	"github.com/xteam/xteam/domain/secret"
	"github.com/xteam/xteam/domain/token"
)

func parse(t testing.TB, c *jwtcodec.Codec, text string) *token.Claims {
	t.Helper()
	got, err := c.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func TestVerifiedTokenIsShared(t *testing.T) {
	c := codec(t, jwtcodec.Options{})
	text := sign(t, c, claims())
	if parse(t, c, text) != parse(t, c, strings.Clone(text)) {
		t.Error("a warm token was verified anew")
	}
	off := codec(t, jwtcodec.Options{CacheBytes: -1})
	if first, second := parse(t, off, text), parse(t, off, text); first == second {
		t.Error("a cache that is off holds something")
	}
}

// The policy looks at the time on every request; a cache that did would have to be told the time.
func TestExpiredTokenIsStillAnswered(t *testing.T) {
	c := codec(t, jwtcodec.Options{})
	in := claims()
	in.ExpiresAt = instant.Unix(1)
	text := sign(t, c, in)
	for range 2 {
		if got := parse(t, c, text); got.ExpiresAt != instant.Unix(1) {
			t.Errorf("got %v", got.ExpiresAt)
		}
	}
}

// Every text but the very one that was verified is verified itself.
func TestMutatedTextMisses(t *testing.T) {
	c := codec(t, jwtcodec.Options{})
	text := sign(t, c, claims())
	parse(t, c, text)
	for i := range len(text) {
		b := []byte(text)
		b[i] ^= 1
		if got, err := c.Parse(string(b)); err == nil || got != nil {
			t.Errorf("byte %d changed: taken", i)
		}
	}
	for i := range len(text) {
		if _, err := c.Parse(text[:i]); err == nil {
			t.Errorf("cut to %d bytes: taken", i)
		}
	}
	parse(t, c, text)
}

// Parse keeps no reference to the text, which is a piece of all the headers of a request.
func TestCacheOwnsItsText(t *testing.T) {
	const requests, size = 32, 1 << 20
	c := codec(t, jwtcodec.Options{})
	in := claims()
	before := heap()
	for i := range requests {
		in.Generation = token.Generation(i)
		text := sign(t, c, in)
		request := text + strings.Repeat("x", size)
		parse(t, c, request[:len(text)])
	}
	if got := heap() - before; got > requests*size/2 {
		t.Errorf("%d requests of %d bytes left %d bytes behind", requests, size, got)
	}
	runtime.KeepAlive(c)
}

func TestHitAfterRingSwap(t *testing.T) {
	us, them := keyOf(ours, keyset.Primary), keyOf(another, keyset.Primary)
	state := func(k keyset.Key, s keyset.State) keyset.Key { k.State = s; return k }
	sameID := them
	sameID.ID = us.ID
	for name, row := range map[string]struct {
		ring keyset.Ring
		want error
	}{
		"the same":              {ringOf(us), nil},
		"retiring":              {ringOf(state(us, keyset.Retiring), them), nil},
		"gone":                  {ringOf(state(us, keyset.Gone), them), token.ErrInvalid},
		"revoked":               {ringOf(state(us, keyset.Revoked), them), token.ErrInvalid},
		"not in the ring":       {ringOf(them), token.ErrInvalid},
		"its id on another key": {ringOf(sameID), token.ErrInvalid},
		"revoked, not primary":  {ringOf(them, state(us, keyset.Revoked)), token.ErrInvalid},
		"gone without a secret": {ringOf(them, keyset.Key{ID: us.ID, State: keyset.Gone}), token.ErrInvalid},
	} {
		t.Run(name, func(t *testing.T) {
			c := codec(t, jwtcodec.Options{})
			text := sign(t, c, claims())
			warm := parse(t, c, text)
			if err := c.SetRing(row.ring); err != nil {
				t.Fatal(err)
			}
			for range 2 {
				got, err := c.Parse(text)
				if !errors.Is(err, row.want) {
					t.Errorf("got %v, want %v", err, row.want)
				}
				if err == nil && got != warm {
					t.Error("the key is still there, but what it had verified was verified anew")
				}
			}
			if err := c.SetRing(ringOf(us)); err != nil {
				t.Fatal(err)
			}
			parse(t, c, text) // the answer is the present ring's, whatever the ones before it were
		})
	}
}

// A key that goes, and comes back under its id with other material, does not revive what the first one had verified.
func TestKeyThatReturnsAsAnother(t *testing.T) {
	c := codec(t, jwtcodec.Options{})
	text := sign(t, c, claims())
	parse(t, c, text)
	impostor := keyOf(another, keyset.Retiring)
	impostor.ID = jwtcodec.SymmetricKeyID(ours)
	third := keyOf(secret.New(strings.Repeat("third", 10)), keyset.Primary)
	for _, ring := range []keyset.Ring{ringOf(third), ringOf(third, impostor)} {
		if err := c.SetRing(ring); err != nil {
			t.Fatal(err)
		}
		if _, err := c.Parse(text); !errors.Is(err, token.ErrInvalid) {
			t.Errorf("got %v, want %v", err, token.ErrInvalid)
		}
	}
}

// A million tokens, or fewer in short mode, pass through a cache of 4 MiB: the heap grows by no more than that and what the estimate may be wrong by,
// and a token in use all the while stays warm.
func TestCacheIsBounded(t *testing.T) {
	const bound = 4 << 20
	tokens := 1_000_000
	if testing.Short() || raceDetector {
		tokens = 50_000
	}
	c := codec(t, jwtcodec.Options{CacheBytes: bound})
	in := claims()
	used := sign(t, c, in)
	warm := parse(t, c, used)
	before := heap()
	highest := before
	for i := range tokens {
		in.ExpiresAt = instant.Unix(int64(i))
		parse(t, c, sign(t, c, in))
		if i%50 == 0 && parse(t, c, used) != warm {
			t.Fatalf("a token in use was dropped after %d others", i)
		}
		if i%(tokens/5) == tokens/5-1 {
			highest = max(highest, heap())
		}
	}
	t.Logf("a cache of %d bytes costs %d", bound, highest-before)
	if got := highest - before; got > bound*5/4 {
		t.Errorf("a cache of %d bytes costs %d", bound, got)
	} else if got < bound/4 {
		t.Errorf("a cache of %d bytes holds only %d: the estimate of an entry is far off, or it caches nothing", bound, got)
	}
	runtime.KeepAlive(c)
}

// heap is the live heap in bytes.
func heap() int64 {
	runtime.GC()
	runtime.GC() // what a sync.Pool holds outlives one
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

func TestConcurrentUse(t *testing.T) {
	with := ringOf(keyOf(ours, keyset.Retiring), keyOf(another, keyset.Primary))
	without := ringOf(keyOf(another, keyset.Primary))
	c := holding(t, with, jwtcodec.Options{CacheBytes: 64 << 10}) // so small that generations change all the time
	lasting := sign(t, c, claims())
	swapped := forge(goodHeader, goodPayload, ours)
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			in := claims()
			for i := range 500 {
				if g == 0 {
					ring := with
					if i%2 == 0 {
						ring = without
					}
					if err := c.SetRing(ring); err != nil {
						t.Error(err)
					}
				}
				in.Generation = token.Generation(g*1000 + i)
				s, err := c.Sign(in)
				if err != nil {
					t.Error(err)
					return
				}
				if got, err := c.Parse(s.RevealPlaintext()); err != nil || got.Generation != in.Generation {
					t.Errorf("got %v, %v", got, err)
				}
				if got, err := c.Parse(lasting); err != nil || got.Generation != claims().Generation {
					t.Errorf("got %v, %v", got, err)
				}
				if _, err := c.Parse(swapped); err != nil && !errors.Is(err, token.ErrInvalid) {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if err := c.SetRing(without); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Parse(swapped); !errors.Is(err, token.ErrInvalid) {
		t.Errorf("a token of a key that is gone: got %v", err)
	}
}
