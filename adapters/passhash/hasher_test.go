package passhash_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/crypto/bcrypt"

	"github.com/xteam/xteam/adapters/passhash"
	"github.com/xteam/xteam/domain/secret"
)

// Hashes of "correct horse".
var (
	atCost4  = hashOf("correct horse", 4)
	atCost10 = hashOf("correct horse", 10)
	atCost11 = hashOf("correct horse", 11)
)

func TestAPasswordHasItsHashAndNoOther(t *testing.T) {
	b := newHasher(t, passhash.Options{Cost: 10})
	long := strings.Repeat("é", 36) // 72 bytes
	for _, password := range []string{long, " spaces and Case "} {
		h, err := b.Hash(t.Context(), secret.New(password))
		if err != nil {
			t.Fatalf("Hash(%q): %v", password, err)
		}
		if c, err := bcrypt.Cost([]byte(h.RevealPlaintext())); c != 10 || err != nil {
			t.Errorf("Hash(%q) has cost %d (%v), want 10", password, c, err)
		}
		for other, want := range map[string]bool{password: true, password[:len(password)-1]: false, strings.ToUpper(password) + "!": false} {
			if ok, upgrade, err := b.Compare(t.Context(), h, secret.New(other)); ok != want || upgrade || err != nil {
				t.Errorf("Compare(hash of %q, %q) = %v, %v, %v; want %v", password, other, ok, upgrade, err, want)
			}
		}
	}
}

func TestWhatBcryptCannotTellApartIsRefused(t *testing.T) {
	b := newHasher(t, passhash.Options{Cost: 10})
	cut := strings.Repeat("p", 72)
	for stored, tried := range map[string]string{
		cut:   cut + "q",    // the 73rd byte would be cut off
		"abc": "abc\x00abc", // bcrypt repeats a short password with a NUL between
		"x":   strings.Repeat("y", 1<<20),
	} {
		if h, err := b.Hash(t.Context(), secret.New(tried)); !errors.Is(err, passhash.ErrUnhashable) || !h.IsZero() {
			t.Errorf("Hash of %d bytes: %v, want ErrUnhashable", len(tried), err)
		}
		if ok, _, err := b.Compare(t.Context(), hashOf(stored, 4), secret.New(tried)); ok || err != nil {
			t.Errorf("Compare(hash of %.5q…, %.10q…) = %v, %v; want false", stored, tried, ok, err)
		}
	}
}

// work is what a comparison costs: rounds of bcrypt, and passes of argon2id over one KiB.
type work struct{ rounds, passes int }

// aNew is the work of a new argon2id hash.
const aNew = 2 * 19456

// counted has a hasher count its work. Nothing is computed; every hash is one of the password "correct horse".
func counted(t testing.TB, o passhash.Options) (*passhash.Hasher, *work) {
	h, done := newHasher(t, o), new(work)
	h.SetCompare(func(hash, password []byte) error {
		cost, err := bcrypt.Cost(hash)
		if err != nil || cost > passhash.MaxCost || len(password) > 72 {
			t.Fatalf("%q was to be computed (cost %d, %v)", hash, cost, err)
		}
		done.rounds += 1 << cost
		if string(password) == "correct horse" {
			return nil
		}
		return bcrypt.ErrMismatchedHashAndPassword
	})
	h.SetDerive(func(password, salt []byte, time, memory uint32, threads uint8, keyLen uint32) []byte {
		if time < 1 || time > 16 || memory < 1 || memory > 64<<10 || threads < 1 || threads > 4 || len(salt) > 64 || keyLen < 16 || keyLen > 64 || len(password) > 72 {
			t.Fatalf("argon2id was to be computed with m=%d t=%d p=%d, %d bytes of salt, for %d", memory, time, threads, len(salt), keyLen)
		}
		done.passes += int(time) * int(memory)
		if string(password) == "correct horse" {
			return bytes.Repeat([]byte{1}, int(keyLen))
		}
		other := make([]byte, keyLen)
		_, _ = rand.Read(other) // what no stored hash has guessed
		return other
	})
	return h, done
}

// argonOf is a well-formed argon2id hash with those parameters. A hasher that is counted takes "correct horse" for its password.
func argonOf(memory, time, lanes int) secret.Text {
	b := base64.RawStdEncoding.EncodeToString
	return secret.New(fmt.Sprintf("$argon2id$v=19$m=%d,t=%d,p=%d$%s$%s", memory, time, lanes, b(make([]byte, 16)), b(bytes.Repeat([]byte{1}, 32))))
}

var configurations = []passhash.Options{
	{Cost: 10}, {Kind: passhash.Bcrypt, Cost: 11}, {Cost: 12}, {Kind: passhash.Argon2id, Cost: 10}, {Kind: passhash.Argon2id, Cost: 12},
}

// Whatever it is asked, Compare does the work of the configured kind, and that of the other kind too when the hash is of it; only a hash that asks for more
// than is configured of its own kind takes its own.
func TestTheWorkTellsNothing(t *testing.T) {
	right := "correct horse"
	for _, o := range configurations {
		for name, c := range map[string]struct {
			hash     secret.Text
			password string
			ok       bool
			kind     passhash.Kind // of a hash that can be computed
			more     work          // than is configured
		}{
			"no such account":               {hash: secret.Text{}, password: right},
			"the right password":            {hash: withCost(o.Cost), password: right, ok: true, kind: passhash.Bcrypt},
			"a wrong password":              {hash: withCost(o.Cost), password: "wrong", kind: passhash.Bcrypt},
			"an empty password":             {hash: withCost(o.Cost), password: "", kind: passhash.Bcrypt},
			"a lower cost, right":           {hash: withCost(4), password: right, ok: true, kind: passhash.Bcrypt},
			"a lower cost, wrong":           {hash: withCost(4), password: "wrong", kind: passhash.Bcrypt},
			"too long":                      {hash: withCost(4), password: strings.Repeat("x", 73), kind: passhash.Bcrypt},
			"with a NUL":                    {hash: withCost(10), password: "a\x00a", kind: passhash.Bcrypt},
			"a cost of 31":                  {hash: withCost(31), password: right},
			"a cost of 17":                  {hash: withCost(17), password: right},
			"cut":                           {hash: secret.New(atCost10.RevealPlaintext()[:59]), password: right},
			"a salt that does not parse":    {hash: secret.New(strings.Replace(atCost10.RevealPlaintext(), "$10$", "$10$!", 1)[:60]), password: right},
			"a higher cost":                 {hash: withCost(16), password: "wrong", kind: passhash.Bcrypt, more: work{rounds: 1 << 16}},
			"argon2id, right":               {hash: argonOf(19456, 2, 1), password: right, ok: true, kind: passhash.Argon2id},
			"argon2id, wrong":               {hash: argonOf(19456, 2, 1), password: "wrong", kind: passhash.Argon2id},
			"argon2id, empty":               {hash: argonOf(19456, 2, 1), password: "", kind: passhash.Argon2id},
			"argon2id, too long":            {hash: argonOf(19456, 2, 1), password: strings.Repeat("x", 73), kind: passhash.Argon2id},
			"argon2id, with a NUL":          {hash: argonOf(19456, 2, 1), password: "a\x00a", kind: passhash.Argon2id},
			"argon2id, fewer passes, right": {hash: argonOf(19456, 1, 1), password: right, ok: true, kind: passhash.Argon2id},
			"argon2id, fewer passes, wrong": {hash: argonOf(19456, 1, 1), password: "wrong", kind: passhash.Argon2id},
			"argon2id, less memory":         {hash: argonOf(8, 1, 1), password: "wrong", kind: passhash.Argon2id},
			"argon2id, more lanes":          {hash: argonOf(9728, 4, 4), password: right, ok: true, kind: passhash.Argon2id},
			"argon2id, more memory":         {hash: argonOf(65536, 3, 4), password: "wrong", kind: passhash.Argon2id, more: work{passes: 3 * 65536}},
			"argon2id, too much":            {hash: argonOf(65536, 5, 1), password: right},
			"another kind":                  {hash: secret.New(strings.Replace(argonOf(19456, 2, 1).RevealPlaintext(), "2id", "2i", 1)), password: right},
		} {
			t.Run(fmt.Sprintf("%s, %s at %d", name, o.Kind, o.Cost), func(t *testing.T) {
				want := work{}
				if o.Kind != passhash.Argon2id || c.kind == passhash.Bcrypt {
					want.rounds = max(1<<o.Cost, c.more.rounds)
				}
				if o.Kind == passhash.Argon2id || c.kind == passhash.Argon2id {
					want.passes = max(aNew, c.more.passes)
				}
				h, done := counted(t, o)
				ok, upgrade, err := h.Compare(t.Context(), c.hash, secret.New(c.password))
				if ok != c.ok || err != nil {
					t.Errorf("Compare = %v, %v; want %v", ok, err, c.ok)
				}
				current := withCost(o.Cost)
				if o.Kind == passhash.Argon2id {
					current = argonOf(19456, 2, 1)
				}
				if want := ok && c.hash != current; upgrade != want {
					t.Errorf("upgrade = %v, want %v", upgrade, want)
				}
				if *done != want {
					t.Errorf("the work: %+v, want %+v", *done, want)
				}
			})
		}
	}
}

// Once a hash of the other kind was met, whoever signs in with either kind, with none, with the right or a wrong password, costs the same.
func TestAMixedStoreTellsNothing(t *testing.T) {
	for _, o := range configurations {
		for name, first := range map[string]secret.Text{"bcrypt": withCost(4), "argon2id": argonOf(64, 1, 1)} {
			h, done := counted(t, o)
			if _, _, err := h.Compare(t.Context(), first, secret.New("wrong")); err != nil {
				t.Fatal(err)
			}
			want := work{rounds: 1 << o.Cost, passes: aNew}
			if name == string(o.Kind) || name == "bcrypt" && o.Kind == "" {
				if want.passes = 0; name == "argon2id" {
					want = work{passes: aNew}
				}
				if _, _, err := h.Compare(t.Context(), secret.Text{}, secret.New("wrong")); err != nil || done.rounds != 2*want.rounds || done.passes != 2*want.passes {
					t.Errorf("%+v: an unknown name after a hash of the configured kind: %+v in all, %v; want twice %+v", o, *done, err, want)
				}
				continue
			}
			for name, hash := range map[string]secret.Text{"none": {}, "bcrypt": withCost(o.Cost), "lower": withCost(4), "argon2id": argonOf(19456, 2, 1), "less": argonOf(1000, 3, 2)} {
				for _, password := range []string{"correct horse", "wrong", "", "a\x00a"} {
					*done = work{}
					if _, _, err := h.Compare(t.Context(), hash, secret.New(password)); err != nil || *done != want {
						t.Errorf("%+v: %s, %q: the work is %+v, %v; want %+v", o, name, password, *done, err, want)
					}
				}
			}
		}
	}
}

// The constants that fill up are true hashes: bcrypt computes each of them in full and none has a password of the tests.
func TestTheConstantsAreComputed(t *testing.T) {
	b := newHasher(t, passhash.Options{Cost: 10})
	computed := 0
	b.SetCompare(func(hash, password []byte) error {
		err := bcrypt.CompareHashAndPassword(hash, password)
		if cost, _ := bcrypt.Cost(hash); cost < 10 {
			computed++
			if !errors.Is(err, bcrypt.ErrMismatchedHashAndPassword) && string(password) == "" {
				t.Errorf("the constant of cost %d: %v", cost, err)
			}
		}
		return err
	})
	if ok, upgrade, err := b.Compare(t.Context(), atCost4, secret.New("correct horse")); !ok || !upgrade || err != nil {
		t.Errorf("Compare with a hash of cost 4 = %v, %v, %v; want true and an upgrade", ok, upgrade, err)
	}
	if computed != 7 { // the hash itself and the constants of 4 to 9
		t.Errorf("%d hashes below cost 10 were computed, want 7", computed)
	}
	for cost := passhash.MinCost; cost <= passhash.MaxCost; cost++ {
		b := newHasher(t, passhash.Options{Cost: cost})
		b.SetCompare(func(hash, _ []byte) error {
			if got, err := bcrypt.Cost(hash); got != cost || len(hash) != 60 || err != nil {
				t.Errorf("the constant of cost %d is of cost %d (%v)", cost, got, err)
			}
			return nil // as if someone knew its password
		})
		if ok, upgrade, err := b.Compare(t.Context(), secret.Text{}, secret.New("known")); ok || upgrade || err != nil {
			t.Errorf("Compare with no hash = %v, %v, %v; want false, whatever the constant", ok, upgrade, err)
		}
	}
}

func TestHashesOfOtherLibraries(t *testing.T) {
	b := newHasher(t, passhash.Options{Cost: 10})
	for _, kind := range []string{"$2b$", "$2y$"} {
		h := secret.New(kind + atCost10.RevealPlaintext()[4:])
		if ok, upgrade, err := b.Compare(t.Context(), h, secret.New("correct horse")); !ok || upgrade || err != nil {
			t.Errorf("Compare with a hash of kind %s = %v, %v, %v; want true", kind, ok, upgrade, err)
		}
	}
	b = newHasher(t, passhash.Options{Cost: 10})
	if ok, upgrade, err := b.Compare(t.Context(), atCost11, secret.New("correct horse")); !ok || !upgrade || err != nil {
		t.Errorf("Compare with a hash of a higher cost = %v, %v, %v; want true and an upgrade", ok, upgrade, err)
	}
}

// Concurrent comparisons of one password are never taken for one another.
func TestConcurrentComparisonsAreApart(t *testing.T) {
	b := newHasher(t, passhash.Options{Cost: 10, Gate: 4, Queue: 100, MaxWait: time.Hour})
	var wg sync.WaitGroup
	for i := range 6 {
		wg.Go(func() {
			hash, want := atCost10, true
			if i%2 == 0 {
				hash, want = secret.Text{}, false
			}
			if ok, _, err := b.Compare(context.Background(), hash, secret.New("correct horse")); ok != want || err != nil {
				t.Errorf("comparison %d = %v, %v; want %v", i, ok, err, want)
			}
		})
	}
	wg.Wait()
}

func TestOptionsOutOfRange(t *testing.T) {
	for _, o := range []passhash.Options{{Cost: 9}, {Cost: 17}, {Cost: 31}, {Cost: -1}, {Kind: "argon2i"}, {Kind: "Bcrypt"}, {Kind: passhash.Argon2id, Cost: 9}, {Gate: -1}, {Queue: -1}, {MaxWait: -1}} {
		if b, err := passhash.New(o); err == nil || b != nil {
			t.Errorf("New(%+v) = %v, %v; want an error", o, b, err)
		}
	}
}

// FuzzStoredHash hands over whatever a store may hold: nothing panics, nothing beyond the bounds is computed, and the work is that of a comparison as
// configured, or the hash's own if that is more.
func FuzzStoredHash(f *testing.F) {
	f.Add("", "p")
	f.Add(atCost10.RevealPlaintext(), "correct horse")
	f.Add(atCost4.RevealPlaintext(), "x\x00")
	for _, cost := range []int{0, 3, 16, 17, 31, 32, 99} {
		f.Add(withCost(cost).RevealPlaintext(), "p")
	}
	f.Add("$2a$+9$"+atCost10.RevealPlaintext()[7:], "p")
	f.Add("$2x$10$"+atCost10.RevealPlaintext()[7:], "p")
	f.Add("$3a$10$"+atCost10.RevealPlaintext()[7:], "p")
	f.Add(argonOf(19456, 2, 1).RevealPlaintext(), "correct horse")
	f.Add(argonOf(65536, 4, 4).RevealPlaintext(), "p")
	for _, text := range refused {
		f.Add(text, "p")
	}
	f.Fuzz(func(t *testing.T, hash, password string) {
		for _, o := range configurations {
			h, done := counted(t, o)
			ok, _, err := h.Compare(context.Background(), secret.New(hash), secret.New(password))
			if ok && password != "correct horse" || err != nil {
				t.Errorf("Compare = %v, %v; want false", ok, err)
			}
			least := work{rounds: 1 << o.Cost}
			if o.Kind == passhash.Argon2id {
				least = work{passes: aNew}
			}
			if done.rounds < least.rounds || done.passes < least.passes || done.rounds > 1<<passhash.MaxCost || done.passes > 4<<16 {
				t.Errorf("%+v: %+v of work", o, *done)
			}
			if before := *done; !strings.HasPrefix(hash, "$2") && !strings.HasPrefix(hash, "$argon2id$v=19$") && before != least {
				t.Errorf("%+v: %+v of work for what is no hash, want %+v", o, before, least)
			}
		}
	})
}

func newHasher(t testing.TB, o passhash.Options) *passhash.Hasher {
	t.Helper()
	b, err := passhash.New(o)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func hashOf(password string, cost int) secret.Text {
	h, err := bcrypt.GenerateFromPassword([]byte(password), cost)
	if err != nil {
		panic(err)
	}
	return secret.New(string(h))
}

// withCost is a well-formed hash that says it has that cost.
func withCost(cost int) secret.Text {
	return secret.New(fmt.Sprintf("$2a$%02d%s", cost, atCost10.RevealPlaintext()[6:]))
}
