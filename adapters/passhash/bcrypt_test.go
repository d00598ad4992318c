package passhash_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

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
	b := newBcrypt(t, passhash.Options{Cost: 10})
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
	b := newBcrypt(t, passhash.Options{Cost: 10})
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

// Whatever it is asked, Compare works for 2^cost rounds; only a hash of a higher cost than the configured one takes its own.
func TestTheWorkTellsNothing(t *testing.T) {
	right := "correct horse"
	for _, configured := range []int{10, 11, 12} {
		for name, c := range map[string]struct {
			hash     secret.Text
			password string
			ok       bool
			work     int
		}{
			"no such account":            {secret.Text{}, right, false, 1 << configured},
			"the right password":         {withCost(configured), right, true, 1 << configured},
			"a wrong password":           {withCost(configured), "wrong", false, 1 << configured},
			"an empty password":          {withCost(configured), "", false, 1 << configured},
			"a lower cost, right":        {atCost10, right, true, 1 << configured},
			"a lower cost, wrong":        {atCost10, "wrong", false, 1 << configured},
			"the least cost, wrong":      {atCost4, "wrong", false, 1 << configured},
			"too long":                   {atCost4, strings.Repeat("x", 73), false, 1 << configured},
			"with a NUL":                 {atCost10, "a\x00a", false, 1 << configured},
			"a cost of 31":               {withCost(31), right, false, 1 << configured},
			"a cost of 17":               {withCost(17), right, false, 1 << configured},
			"another kind":               {secret.New("$argon2id$v=19$m=65536,t=3,p=4$c29tZXNhbHQ$RdescudvJCsgt3ub+b4dWRWJTmaaJObG"), right, false, 1 << configured},
			"cut":                        {secret.New(atCost10.RevealPlaintext()[:59]), right, false, 1 << configured},
			"a salt that does not parse": {secret.New(strings.Replace(atCost10.RevealPlaintext(), "$10$", "$10$!", 1)[:60]), right, false, 1 << configured},
			"a higher cost":              {withCost(16), "wrong", false, 1 << 16},
		} {
			t.Run(fmt.Sprintf("%s at %d", name, configured), func(t *testing.T) {
				b := newBcrypt(t, passhash.Options{Cost: configured})
				work := 0
				b.SetCompare(func(hash, password []byte) error {
					cost, err := bcrypt.Cost(hash)
					if err != nil || cost > passhash.MaxCost {
						t.Fatalf("a hash of cost %d was to be computed (%v)", cost, err)
					}
					work += 1 << cost
					if string(password) == right {
						return nil
					}
					return bcrypt.ErrMismatchedHashAndPassword
				})
				ok, upgrade, err := b.Compare(t.Context(), c.hash, secret.New(c.password))
				if ok != c.ok || err != nil {
					t.Errorf("Compare = %v, %v; want %v", ok, err, c.ok)
				}
				if want := c.ok && c.hash == atCost10 && configured != 10; upgrade != want {
					t.Errorf("upgrade = %v, want %v", upgrade, want)
				}
				if work != c.work {
					t.Errorf("%d rounds, want %d", work, c.work)
				}
			})
		}
	}
}

// The constants that fill up are true hashes: bcrypt computes each of them in full and none has a password of the tests.
func TestTheConstantsAreComputed(t *testing.T) {
	b := newBcrypt(t, passhash.Options{Cost: 10})
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
		b := newBcrypt(t, passhash.Options{Cost: cost})
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
	b := newBcrypt(t, passhash.Options{Cost: 10})
	for _, kind := range []string{"$2b$", "$2y$"} {
		h := secret.New(kind + atCost10.RevealPlaintext()[4:])
		if ok, upgrade, err := b.Compare(t.Context(), h, secret.New("correct horse")); !ok || upgrade || err != nil {
			t.Errorf("Compare with a hash of kind %s = %v, %v, %v; want true", kind, ok, upgrade, err)
		}
	}
	b = newBcrypt(t, passhash.Options{Cost: 10})
	if ok, upgrade, err := b.Compare(t.Context(), atCost11, secret.New("correct horse")); !ok || !upgrade || err != nil {
		t.Errorf("Compare with a hash of a higher cost = %v, %v, %v; want true and an upgrade", ok, upgrade, err)
	}
}

// Concurrent comparisons of one password are never taken for one another.
func TestConcurrentComparisonsAreApart(t *testing.T) {
	b := newBcrypt(t, passhash.Options{Cost: 10, Gate: 4, Queue: 100})
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
	for _, o := range []passhash.Options{{Cost: 9}, {Cost: 17}, {Cost: 31}, {Cost: -1}, {Gate: -1}, {Queue: -1}, {MaxWait: -1}} {
		if b, err := passhash.New(o); err == nil || b != nil {
			t.Errorf("New(%+v) = %v, %v; want an error", o, b, err)
		}
	}
}

// FuzzStoredHash hands over whatever a store may hold: nothing panics, nothing above MaxCost is computed, and the work is that of a
// comparison at the configured cost, or the hash's own if that is higher.
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
	f.Fuzz(func(t *testing.T, hash, password string) {
		b := newBcrypt(t, passhash.Options{Cost: 12})
		work, highest := 0, 0
		b.SetCompare(func(hash, password []byte) error {
			cost, err := bcrypt.Cost(hash)
			if err != nil || cost > passhash.MaxCost || len(password) > 72 {
				t.Fatalf("%q was to be computed (cost %d, %v)", hash, cost, err)
			}
			work, highest = work+1<<cost, max(highest, cost)
			return bcrypt.ErrMismatchedHashAndPassword
		})
		ok, upgrade, err := b.Compare(context.Background(), secret.New(hash), secret.New(password))
		if ok || upgrade || err != nil {
			t.Errorf("Compare = %v, %v, %v; want false", ok, upgrade, err)
		}
		if want := 1 << max(12, highest); work != want {
			t.Errorf("%d rounds, want %d", work, want)
		}
	})
}

func newBcrypt(t testing.TB, o passhash.Options) *passhash.Bcrypt {
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
