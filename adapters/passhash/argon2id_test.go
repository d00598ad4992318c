package passhash_test

import (
	"errors"
	"regexp"
	"strings"
	"testing"

	"github.com/xteam/xteam/adapters/passhash"
	"github.com/xteam/xteam/domain/secret"
)

// The answers of the reference implementation (test.c of P-H-C/phc-winner-argon2, release 20190702), and of its command line for the parameters of new hashes. Those of RFC 9106, section 5.3, take a secret and associated
// data, which a password hash has not; golang.org/x/crypto tests them itself.
var reference = []struct{ password, hash string }{
	{"password", "$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc"},
	{"password", "$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4"},
	{"password", "$argon2id$v=19$m=256,t=2,p=2$c29tZXNhbHQ$bQk8UB/VmZZF4Oo79iDXuL5/0ttZwg2f/5U52iv1cDc"},
	{"password", "$argon2id$v=19$m=65536,t=1,p=1$c29tZXNhbHQ$9qWtwbpyPd3vm1rB1GThgPzZ3/ydHL92zKL+15XZypg"},
	{"password", "$argon2id$v=19$m=65536,t=4,p=1$c29tZXNhbHQ$kCXUjmjvc5XMqQedpMTsOv+zyJEf5PhtGiUghW9jFyw"},
	{"differentpassword", "$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$C4TWUs9rDEvq7w3+J4umqA32aWKB1+DSiRuBfYxFj94"},
	{"password", "$argon2id$v=19$m=65536,t=2,p=1$ZGlmZnNhbHQ$vfMrBczELrFdWP0ZsfhWsRPaHppYdP3MVEMIVlqoFBw"},
	{"correct horse", "$argon2id$v=19$m=19456,t=2,p=1$MDEyMzQ1Njc4OWFiY2RlZg$rk2Mi3E4dgRMg0fHaYaptWVZRKqs//6b6k3/nntqGJk"},
}

func TestKnownAnswers(t *testing.T) {
	h := newHasher(t, passhash.Options{Kind: passhash.Argon2id, Cost: 10})
	for _, c := range reference {
		want := !strings.Contains(c.hash, "m=19456,t=2,p=1")
		if ok, upgrade, err := h.Compare(t.Context(), secret.New(c.hash), secret.New(c.password)); !ok || upgrade != want || err != nil {
			t.Errorf("Compare(%s, %s) = %v, %v, %v; want true, and an upgrade: %v", c.hash, c.password, ok, upgrade, err, want)
		}
		if ok, upgrade, err := h.Compare(t.Context(), secret.New(c.hash), secret.New(c.password+"s")); ok || upgrade || err != nil {
			t.Errorf("Compare(%s, another password) = %v, %v, %v; want false", c.hash, ok, upgrade, err)
		}
	}
}

func TestANewHashIsOfTheConfiguredKind(t *testing.T) {
	form := regexp.MustCompile(`^\$argon2id\$v=19\$m=19456,t=2,p=1\$[A-Za-z0-9+/]{22}\$[A-Za-z0-9+/]{43}$`)
	argon2id, bcrypt := newHasher(t, passhash.Options{Kind: passhash.Argon2id, Cost: 10}), newHasher(t, passhash.Options{Cost: 10})
	password := secret.New(strings.Repeat("é", 36)) // 72 bytes
	first, err := argon2id.Hash(t.Context(), password)
	if err != nil || !form.MatchString(first.RevealPlaintext()) {
		t.Fatalf("Hash = %s, %v; want the form %s", first.RevealPlaintext(), err, form)
	}
	second, err := argon2id.Hash(t.Context(), password)
	if err != nil || second == first {
		t.Errorf("a second hash of the password: %v, %v; want another salt", second.RevealPlaintext(), err)
	}
	third, err := bcrypt.Hash(t.Context(), password)
	if err != nil || !strings.HasPrefix(third.RevealPlaintext(), "$2a$10$") {
		t.Errorf("with bcrypt configured: %s, %v", third.RevealPlaintext(), err)
	}
	for _, h := range []*passhash.Hasher{argon2id, bcrypt} {
		for _, hash := range []secret.Text{first, second, third} {
			ok, upgrade, err := h.Compare(t.Context(), hash, password)
			if want := (h == bcrypt) != (hash == third); !ok || upgrade != want || err != nil {
				t.Errorf("Compare(%s) = %v, %v, %v; want true, and an upgrade: %v", hash.RevealPlaintext(), ok, upgrade, err, want)
			}
		}
		if ok, upgrade, err := h.Compare(t.Context(), second, secret.New(strings.Repeat("é", 35))); ok || upgrade || err != nil {
			t.Errorf("Compare(%s, another) = %v, %v, %v; want false", second.RevealPlaintext(), ok, upgrade, err)
		}
		for _, bad := range []string{strings.Repeat("x", 73), "a\x00b"} { // the way back to bcrypt stays open
			if hash, err := h.Hash(t.Context(), secret.New(bad)); !errors.Is(err, passhash.ErrUnhashable) || !hash.IsZero() {
				t.Errorf("Hash of %d bytes: %v, want ErrUnhashable", len(bad), err)
			}
		}
	}
}

// refused are texts that are no argon2id hash, or ask for more than is ever computed.
var refused = []string{
	"$argon2id",
	"$argon2id$v=19$m=19456,t=2,p=1$AAAAAAAAAAAAAAAAAAAAAA",
	"$argon2id$v=19$m=19456,t=2,p=1$AAAAAAAAAAAAAAAAAAAAAA$",
	"$argon2id$v=19$m=19456,t=2,p=1$AAAAAAAAAAAAAAAAAAAAAA$AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE$",
	"$argon2id$v=19$m=19456,t=2,p=1$AAAAAAAAAAAAAAAAAAAAAA$AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=",  // padded
	"$argon2id$v=19$m=19456,t=2,p=1$AAAAAAAAAAAAAAAAAAAAAA$AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQF",   // loose bits at the end
	"$argon2id$v=19$m=19456,t=2,p=1$AAAAAAAAAAAAAAAAAAAAAA\n$AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE", // a line's end, which the decoder skips
	"$argon2id$v=19$m=19456,t=2,p=1$AAAAAAAAAAAAAAAAAAAA-A$AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE",   // the alphabet of URLs
	" $argon2id$v=19$m=19456,t=2,p=1$AAAAAAAAAAAAAAAAAAAAAA$AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE",
	"$argon2id$v=19$m=19456,t=2,p=1$AAAAAAAAAAAAAAAAAAAAAA$AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE ",
	"$ARGON2ID$v=19$m=19456,t=2,p=1$AAAAAAAAAAAAAAAAAAAAAA$AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE",
	"$argon2i$v=19$m=19456,t=2,p=1$AAAAAAAAAAAAAAAAAAAAAA$AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE",
	"$argon2id$v=16$m=19456,t=2,p=1$AAAAAAAAAAAAAAAAAAAAAA$AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE",
	"$argon2id$m=19456,t=2,p=1$AAAAAAAAAAAAAAAAAAAAAA$AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE",
	"$argon2id$v=19$t=2,m=19456,p=1$AAAAAAAAAAAAAAAAAAAAAA$AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE",
	"$argon2id$v=19$m=19456,t=2$AAAAAAAAAAAAAAAAAAAAAA$AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE",
	"$argon2id$v=19$m=19456,t=2,p=1,keyid=AA$AAAAAAAAAAAAAAAAAAAAAA$AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE",
	"$argon2id$v=19$m=019456,t=2,p=1$AAAAAAAAAAAAAAAAAAAAAA$AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE",
	"$argon2id$v=19$m=+19456,t=2,p=1$AAAAAAAAAAAAAAAAAAAAAA$AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE",
	"$argon2id$v=19$m= 19456,t=2,p=1$AAAAAAAAAAAAAAAAAAAAAA$AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE",
	"$argon2id$v=19$m=-19456,t=2,p=1$AAAAAAAAAAAAAAAAAAAAAA$AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE",
	"$argon2id$v=19$m=0x4c00,t=2,p=1$AAAAAAAAAAAAAAAAAAAAAA$AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE",
	"$argon2id$v=19$m=4294967297,t=2,p=1$AAAAAAAAAAAAAAAAAAAAAA$AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE",
	"$argon2id$v=19$m=19456,t=4294967297,p=1$AAAAAAAAAAAAAAAAAAAAAA$AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE",
	"$argon2id$v=19$m=19456,t=2,p=257$AAAAAAAAAAAAAAAAAAAAAA$AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE",
	"$argon2id$v=19$m=65537,t=2,p=1$AAAAAAAAAAAAAAAAAAAAAA$AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE",       // more than 64 MiB
	"$argon2id$v=19$m=4194304,t=1,p=1$AAAAAAAAAAAAAAAAAAAAAA$AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE",     // 4 GiB
	"$argon2id$v=19$m=65536,t=5,p=1$AAAAAAAAAAAAAAAAAAAAAA$AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE",       // too long
	"$argon2id$v=19$m=8,t=17,p=1$AAAAAAAAAAAAAAAAAAAAAA$AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE",          // too many passes
	"$argon2id$v=19$m=4294967295,t=4294967295,p=1$AAAAAAAAAAAAAAAAAAAAAA$AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE", // an overflow of the product
	"$argon2id$v=19$m=19456,t=0,p=1$AAAAAAAAAAAAAAAAAAAAAA$AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE",       // it would panic
	"$argon2id$v=19$m=19456,t=2,p=0$AAAAAAAAAAAAAAAAAAAAAA$AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE",       // it would panic
	"$argon2id$v=19$m=19456,t=2,p=5$AAAAAAAAAAAAAAAAAAAAAA$AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE",       // more cores than is fair
	"$argon2id$v=19$m=7,t=2,p=1$AAAAAAAAAAAAAAAAAAAAAA$AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE",           // RFC 9106: at least 8 a lane
	"$argon2id$v=19$m=19456,t=2,p=1$AAAAAAAAAA$AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE",                   // 7 bytes of salt
	"$argon2id$v=19$m=19456,t=2,p=1$AAAAAAAAAAAAAAAAAAAAAA$AQEBAQEBAQEBAQEBAQEB",                              // 15 bytes of hash
	"$argon2id$v=19$m=19456,t=2,p=1$" + strings.Repeat("A", 87) + "$AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE",
	"$argon2id$v=19$m=19456,t=2,p=1$AAAAAAAAAAAAAAAAAAAAAA$" + strings.Repeat("A", 87),
	"$argon2id$v=19$m=19456,t=2,p=1$AAAAAAAAAAAAAAAAAAAAAA$" + strings.Repeat("A", 1<<20),
}

// What is no argon2id hash is never computed, matches nothing, and is answered as an account that does not exist.
func TestAStoredHashIsNoWeapon(t *testing.T) {
	for _, o := range configurations {
		unknown, want := counted(t, o)
		if _, _, err := unknown.Compare(t.Context(), secret.Text{}, secret.New("correct horse")); err != nil {
			t.Fatal(err)
		}
		for _, text := range refused {
			h, done := counted(t, o)
			ok, upgrade, err := h.Compare(t.Context(), secret.New(text), secret.New("correct horse"))
			if ok || upgrade || err != nil || *done != *want {
				t.Errorf("%+v: Compare(%.120q) = %v, %v, %v after %+v; want false after %+v", o, text, ok, upgrade, err, *done, *want)
			}
		}
	}
}

// The edges of what is computed.
func TestHashesOfOtherParameters(t *testing.T) {
	for _, hash := range []secret.Text{argonOf(65536, 4, 1), argonOf(65536, 3, 4), argonOf(16384, 16, 1), argonOf(8, 1, 1), argonOf(32, 1, 4), argonOf(47104, 1, 1)} {
		h, _ := counted(t, passhash.Options{Kind: passhash.Argon2id})
		if ok, upgrade, err := h.Compare(t.Context(), hash, secret.New("correct horse")); !ok || !upgrade || err != nil {
			t.Errorf("Compare(%s) = %v, %v, %v; want true and an upgrade", hash.RevealPlaintext(), ok, upgrade, err)
		}
	}
	for name, hash := range map[string]string{
		"a shorter salt": "$argon2id$v=19$m=19456,t=2,p=1$AAAAAAAAAAA$AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE",
		"a shorter sum":  "$argon2id$v=19$m=19456,t=2,p=1$AAAAAAAAAAAAAAAAAAAAAA$AQEBAQEBAQEBAQEBAQEBAQ",
	} {
		h, _ := counted(t, passhash.Options{Kind: passhash.Argon2id})
		if ok, upgrade, err := h.Compare(t.Context(), secret.New(hash), secret.New("correct horse")); !ok || !upgrade || err != nil {
			t.Errorf("%s: %v, %v, %v; want true and an upgrade", name, ok, upgrade, err)
		}
	}
}

// The gate bounds argon2id's memory too.
func TestTheGateHoldsArgon2id(t *testing.T) {
	h := newHasher(t, passhash.Options{Kind: passhash.Argon2id, Gate: 1, Queue: 1})
	h.SetDerive(func(_, _ []byte, _, _ uint32, _ uint8, keyLen uint32) []byte {
		if running, _ := h.Load(); running != 1 {
			t.Errorf("%d are inside while one is computed", running)
		}
		return make([]byte, keyLen)
	})
	if _, err := h.Hash(t.Context(), secret.New("correct horse")); err != nil {
		t.Error(err)
	}
	if _, _, err := h.Compare(t.Context(), argonOf(19456, 2, 1), secret.New("correct horse")); err != nil {
		t.Error(err)
	}
	if running, waiting := h.Load(); running != 0 || waiting != 0 {
		t.Errorf("%d running, %d waiting afterwards; want none", running, waiting)
	}
}
