package secret_test

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"math"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/xteam/xteam/domain/secret"
)

const (
	tooShort = "has "
	pattern  = "is a short pattern over again"
	fewBytes = "is made of very few different bytes"
	run      = "is for the most part a run"
	example  = "holds an example that everybody knows"
)

func TestWeakKeys(t *testing.T) {
	const random = "b3JZx0wQmT7vYc1KpL5sNfG8hRuEd2Aq"
	cut := func(text string, n int) string { return strings.Repeat(text, n/len(text)+1)[:n] }
	for key, says := range map[string]string{
		"":                          tooShort + "0 bytes",
		"short":                     tooShort + "5 bytes",
		random[:31]:                 tooShort + "31 bytes",
		random:                      "",
		random + random:             "", // repeated, and yet 32 bytes of it
		strings.Repeat("é", 15):     tooShort + "30 bytes",
		cut("a", 32):                pattern,
		cut("a", 4000):              pattern,
		cut("Aa", 33):               pattern,
		cut("x7Q", 32):              pattern,
		cut("x7Qk2LmZ0aWvTy5", 40):  pattern,
		cut("x7Qk2LmZ0aWvTy5R", 32): pattern,
		cut("x7Qk2LmZ0aWvTy5R", 47): pattern,
		cut("xteam", 64):            pattern,
		"aaaaaaaabbbbbbbbccccccccddddddddeeeeeeee":                                               fewBytes,
		"0110100110010110100101100110100110010110":                                               fewBytes,
		"0123456789abcdefghijklmnopqrstuv":                                                       run,
		"abcdefghijklmnopqrstuvwxyz0123456789":                                                   run,
		"ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789":                                                   run,
		"zyxwvutsrqponmlkjihgfedcba9876543210":                                                   run,
		"1234567890123456789012345678901":                                                        tooShort,
		"12345678901234567890abcdefghijkl":                                                       run,
		"qwertzuiopasdfghjklyxcvbnm123456":                                                       run,
		"my-0123456789abcdefghijklmnop-k3!":                                                      run,
		"aaaabbbbccccddddeeeeffffgggghhhhiiii":                                                   run,
		"000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f":                       run, // hexadecimal
		"AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=":                                           run, // base64
		"changeme-x8Kq-rT5z-0Pw3-Vn2a-Lm9Q":                                                      example,
		"x8Kq-rT5z-0Pw3-Vn2a-Lm9Q-CHANGE_ME":                                                     example,
		"please change this to something":                                                        tooShort,
		"Please change this to something!":                                                       example,
		"your-256-bit-secret-goes-in-here":                                                       example,
		"a-string-secret-at-least-256-bits-long":                                                 example,
		"MySuperSecretKeyForJwtSigning2026":                                                      example,
		"SuperSecret-x8KqrT5z0Pw3Vn2aLm9Q":                                                       example,
		"x8KqrT5z0Pw3Vn2aLm9Q-secret-key-7":                                                      example,
		"PassWord-x8KqrT5z0Pw3Vn2aLm9Q-77":                                                       example,
		"09d25e094faa6ca2556c818166b7a9563b93f7099f6f0f4caa6cf63b88e8d3e7":                       example,
		"09D25E094FAA6CA2556C818166B7A9563B93F7099F6F0F4CAA6CF63B88E8D3E7":                       example,
		"404E635266556A586E3272357538782F413F4428472B4B6250645367566B5970":                       example,
		"192b9bdd22ab9ed4d12e236c78afcb9a393ec15f71bbf5dc987d54727823bcbf":                       example,
		"django-insecure-p8x!k2(0z$w4r%t6y^u8i&o0l_q1":                                           example,
		"correct horse battery staple, it says":                                                  example,
		base64.StdEncoding.EncodeToString([]byte("your-256-bit-secret-here")):                    example,
		hex.EncodeToString([]byte("a-top-secret-of-ours")):                                       example,
		"AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow": example,
	} {
		got := secret.Weakness(secret.New(key))
		if !strings.HasPrefix(got, says) || (got == "") != (says == "") {
			t.Errorf("of %.80q: %q, want %q", key, got, says)
		}
		if got != "" && (!strings.HasSuffix(got, "as `xteam secret generate` makes") || key != "" && strings.Contains(got, key)) {
			t.Errorf("of %.80q: %q, want what to do and nothing of the key", key, got)
		}
	}
}

// forms write 32 random bytes, or 32 random letters of an alphabet, as people make keys.
func forms(random []byte) map[string]string {
	const alphanumeric = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
	letters := make([]byte, len(random))
	for i, b := range random {
		letters[i] = alphanumeric[int(b)%len(alphanumeric)]
	}
	return map[string]string{
		"hex":          hex.EncodeToString(random),
		"short hex":    hex.EncodeToString(random[:16]),
		"upper hex":    strings.ToUpper(hex.EncodeToString(random)),
		"base64url":    base64.RawURLEncoding.EncodeToString(random),
		"base64":       base64.StdEncoding.EncodeToString(random),
		"alphanumeric": string(letters),
		"raw":          string(random),
	}
}

func TestNoRandomKeyIsWeak(t *testing.T) {
	for range 2_000 {
		random := make([]byte, 32)
		_, _ = rand.Read(random)
		for form, key := range forms(random) {
			if why := secret.Weakness(secret.New(key)); why != "" {
				t.Fatalf("a random key, in %s, %s: %q", form, why, key)
			}
		}
	}
	// rapid likes small values, which are no random keys: it draws a seed from which a key is stretched.
	rapid.Check(t, func(t *rapid.T) {
		random, state := make([]byte, 32), rapid.Uint64().Draw(t, "seed")
		for i := range random { // splitmix64
			state += 0x9e3779b97f4a7c15
			z := state
			z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
			z = (z ^ z>>27) * 0x94d049bb133111eb
			random[i] = byte(z>>32 ^ z)
		}
		for form, key := range forms(random) {
			if why := secret.Weakness(secret.New(key)); why != "" {
				t.Fatalf("a random key, in %s, %s: %q", form, why, key)
			}
		}
	})
}

// TestAnyPatternIsWeak draws patterns of each length, whole and cut.
func TestAnyPatternIsWeak(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		part := rapid.StringMatching(`[!-~]{1,16}`).Draw(t, "pattern")
		n := rapid.IntRange(32, 200).Draw(t, "length")
		key := strings.Repeat(part, n/len(part)+1)[:n]
		if why := secret.Weakness(secret.New(key)); why == "" {
			t.Fatalf("%q over again is not called weak", part)
		}
	})
}

// TestTheBoundOfDifferentBytes computes what the comment on it says.
func TestTheBoundOfDifferentBytes(t *testing.T) {
	atMost5 := func(alphabet, length float64) float64 {
		choose := 1.0
		for i := range 5 {
			choose *= (alphabet - float64(i)) / float64(i+1)
		}
		return choose * math.Pow(5/alphabet, length)
	}
	for name, c := range map[string]struct{ alphabet, length, below float64 }{
		"hex": {16, 32, 3.0e-13}, "letters and digits": {62, 32, 1e-28}, "base64url": {64, 43, 1e-28},
	} {
		if p := atMost5(c.alphabet, c.length); p >= c.below {
			t.Errorf("%s: at most five different ones with a probability of %.2g, want below %.2g", name, p, c.below)
		}
	}
	for key, says := range map[string]string{"acegiacgieaiegcagceiaigcecaegiagiceagiec": fewBytes, "acegikacgieaiegkagceiaigcecaegiagiceakec": ""} {
		if why := secret.Weakness(secret.New(key)); !strings.HasPrefix(why, says) || (why == "") != (says == "") {
			t.Errorf("of %q: %q, want %q", key, why, says)
		}
	}
}
