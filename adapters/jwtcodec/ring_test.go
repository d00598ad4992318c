package jwtcodec_test

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/xteam/xteam/adapters/jwtcodec"
	"github.com/xteam/xteam/domain/keyset"
	"github.com/xteam/xteam/domain/secret"
	"github.com/xteam/xteam/domain/token"
)

func TestRingsThatAreRefused(t *testing.T) {
	primary := keyOf(ours, keyset.Primary)
	change := func(f func(*keyset.Key)) keyset.Key {
		k := keyOf(another, keyset.Retiring)
		f(&k)
		return k
	}
	for name, row := range map[string]struct {
		ring keyset.Ring
		says string
	}{
		"empty":                {ringOf(), "no primary"},
		"no primary":           {ringOf(keyOf(ours, keyset.Next), keyOf(another, keyset.Retiring)), "no primary"},
		"primary revoked":      {ringOf(keyOf(ours, keyset.Revoked)), "no primary"},
		"two primaries":        {ringOf(primary, keyOf(another, keyset.Primary)), "both primary"},
		"one id twice":         {ringOf(primary, change(func(k *keyset.Key) { k.ID = primary.ID })), "twice"},
		"one id twice, gone":   {ringOf(primary, change(func(k *keyset.Key) { k.ID, k.State = primary.ID, keyset.Gone })), "twice"},
		"no id":                {ringOf(primary, change(func(k *keyset.Key) { k.ID = "" })), "0 bytes"},
		"a long id":            {ringOf(primary, change(func(k *keyset.Key) { k.ID = strings.Repeat("k", 257) })), "257 bytes"},
		"an id not in UTF-8":   {ringOf(primary, change(func(k *keyset.Key) { k.ID = "\xff" })), "UTF-8"},
		"no secret":            {ringOf(primary, change(func(k *keyset.Key) { k.Secret = secret.Text{} })), "0 bytes"},
		"a secret of 31 bytes": {ringOf(primary, change(func(k *keyset.Key) { k.Secret = secret.New(strings.Repeat("s", 31)) })), "31 bytes"},
		"an unknown algorithm": {ringOf(primary, change(func(k *keyset.Key) { k.Algorithm = "none" })), `"none"`},
		"another purpose":      {ringOf(primary, change(func(k *keyset.Key) { k.Purpose = keyset.Refresh })), `"refresh"`},
	} {
		t.Run(name, func(t *testing.T) {
			err := jwtcodec.New(jwtcodec.Options{}).SetRing(row.ring)
			if err == nil {
				t.Fatal("the ring was taken")
			}
			if !strings.Contains(err.Error(), row.says) || strings.Contains(err.Error(), "\n") {
				t.Errorf("got %q, want one sentence with %q", err, row.says)
			}
			for _, s := range []string{ours.RevealPlaintext(), another.RevealPlaintext(), strings.Repeat("s", 31)} {
				if strings.Contains(err.Error(), s) {
					t.Error("the refusal tells a secret")
				}
			}

			held := codec(t, jwtcodec.Options{})
			text := sign(t, held, claims())
			if err := held.SetRing(row.ring); err == nil {
				t.Fatal("SetRing took the ring")
			}
			if _, err := held.Parse(text); err != nil {
				t.Errorf("a refused ring took the place of the good one: %v", err)
			}
		})
	}
}

func TestRingWithDeadKeysThatLostTheirSecret(t *testing.T) {
	dead := keyOf(another, keyset.Gone)
	dead.Secret = secret.Text{}
	holding(t, ringOf(keyOf(ours, keyset.Primary), dead), jwtcodec.Options{})
}

func TestPrimarySigns(t *testing.T) {
	c := codec(t, jwtcodec.Options{})
	before := sign(t, c, claims())
	if err := c.SetRing(ringOf(keyOf(ours, keyset.Retiring), keyOf(another, keyset.Primary))); err != nil {
		t.Fatal(err)
	}
	after := sign(t, c, claims())
	for text, want := range map[string]string{before: jwtcodec.SymmetricKeyID(ours), after: jwtcodec.SymmetricKeyID(another)} {
		got, err := c.Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		if got.KeyID != want {
			t.Errorf("got key %q, want %q", got.KeyID, want)
		}
	}
}

// A token keyed with one good secret under the id of another good one.
func TestKeyIDsAreOfWhatSignsOrVerifies(t *testing.T) {
	c := codec(t, jwtcodec.Options{})
	old, fresh, gone := keyOf(ours, keyset.Retiring), keyOf(another, keyset.Primary), keyOf(secret.New(strings.Repeat("gone-", 8)), keyset.Gone)
	if err := c.SetRing(ringOf(gone, old, fresh)); err != nil {
		t.Fatal(err)
	}
	if got := c.KeyIDs(); !slices.Equal(got, []string{fresh.ID, old.ID}) {
		t.Errorf("KeyIDs = %v, want the primary %s, then %s", got, fresh.ID, old.ID)
	}
}

func TestKidNamesTheKey(t *testing.T) {
	c := holding(t, ringOf(keyOf(ours, keyset.Primary), keyOf(another, keyset.Retiring)), jwtcodec.Options{})
	if _, err := c.Parse(forge(goodHeader, goodPayload, another)); !errors.Is(err, token.ErrInvalid) {
		t.Errorf("got %v, want %v", err, token.ErrInvalid)
	}
	if _, err := c.Parse(forge(goodHeader, goodPayload, ours)); err != nil {
		t.Error(err)
	}
}

func TestSymmetricKeyID(t *testing.T) {
	got := jwtcodec.SymmetricKeyID(ours)
	if !regexp.MustCompile(`^hs-[0-9a-f]{32}$`).MatchString(got) {
		t.Errorf("got %q", got)
	}
	if again := jwtcodec.SymmetricKeyID(secret.New(ours.RevealPlaintext())); again != got {
		t.Errorf("the same secret has two ids: %q and %q", got, again)
	}
	if jwtcodec.SymmetricKeyID(another) == got {
		t.Error("two secrets have one id")
	}
	sum := sha256.Sum256([]byte(ours.RevealPlaintext()))
	if strings.Contains(hex.EncodeToString(sum[:]), got[3:]) {
		t.Error("the id is a hash of the secret")
	}
	// Stored keys carry this id, so it must never change.
	if want := "hs-8c6fefc6c192e2ae22666a2b7dfff2f5"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
