package fieldcrypt_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/xteam/xteam/adapters/fieldcrypt"
	"github.com/xteam/xteam/domain/keyset"
	"github.com/xteam/xteam/domain/secret"
	"github.com/xteam/xteam/ports"
)

func TestTheFirstOpenMakesTheRingAndOthersReadIt(t *testing.T) {
	s := newKeys()
	first := mustOpen(t, s)
	type key struct {
		ID, Algorithm string
		Purpose       keyset.Purpose
		State         keyset.State
	}
	var got []key
	for _, k := range s.rings[keyset.Data].Keys {
		got = append(got, key{k.ID, k.Algorithm, k.Purpose, k.State})
		if k.Created != 1 || len(k.Wrapped) != 1+24+32+16 || !k.Secret.IsZero() {
			t.Errorf("key %s was created at %v with %d wrapped bytes; want at 1 with 73", k.ID, k.Created, len(k.Wrapped))
		}
	}
	want := []key{
		{"seal-1", "XChaCha20-Poly1305", keyset.Seal, keyset.Primary},
		{"index-1", "HMAC-SHA256", keyset.Index, keyset.Primary},
		{"refresh-1", "HMAC-SHA256", keyset.Refresh, keyset.Primary},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("the new ring (-want +got):\n%s", diff)
	}

	second := mustOpen(t, s)
	wantSame(t, first, second)
	if s.creates != 1 {
		t.Errorf("the ring was stored %d times, want once", s.creates)
	}
	if other := mustOpen(t, newKeys()); other.Index("c", "v") == first.Index("c", "v") {
		t.Error("two stores have one index key")
	}
}

func TestConcurrentFirstOpensShareOneRing(t *testing.T) {
	const nodes = 8
	s := newKeys()
	var all sync.WaitGroup // every node has made a ring before one is stored
	all.Add(nodes)
	s.before = func() { all.Done(); all.Wait() }
	opened := make([]*fieldcrypt.Keyring, nodes)
	var wg sync.WaitGroup
	for i := range nodes {
		wg.Go(func() {
			var err error
			if opened[i], err = fieldcrypt.Open(context.Background(), s, root, secret.Text{}, rand.Reader, 1); err != nil {
				t.Errorf("node %d: %v", i, err)
			}
		})
	}
	wg.Wait()
	if t.Failed() {
		return
	}
	for _, k := range opened[1:] {
		wantSame(t, opened[0], k)
	}
	if s.creates != 1 {
		t.Errorf("%d rings were stored, want 1", s.creates)
	}
}

// wantSame checks that two keyrings hold the same keys.
func wantSame(t *testing.T, a, b *fieldcrypt.Keyring) {
	t.Helper()
	sealed, err := a.Seal("users/1/email", []byte("ann@example.org"))
	if err != nil {
		t.Fatal(err)
	}
	if plain, err := b.Open("users/1/email", sealed); string(plain) != "ann@example.org" || err != nil {
		t.Errorf("the other keyring opens %q, %v", plain, err)
	}
	if a.Index("c", "v") != b.Index("c", "v") {
		t.Error("the two keyrings index otherwise")
	}
	x, _ := a.MAC(a.Current(), []byte("m"))
	if y, ok := b.MAC(a.Current(), []byte("m")); !ok || x != y {
		t.Error("the two keyrings authenticate otherwise")
	}
}

func TestAWrongRootKeyIsToldAndChangesNothing(t *testing.T) {
	s := newKeys()
	mustOpen(t, s)
	before := fmt.Sprint(s.rings)
	other := secret.New("quite another root key of enough bytes")
	k, err := fieldcrypt.Open(t.Context(), s, other, secret.Text{}, rand.Reader, 2)
	if !errors.Is(err, fieldcrypt.ErrRootKey) || k != nil {
		t.Errorf("Open with another root key = %v, want ErrRootKey", err)
	}
	if fmt.Sprint(s.rings) != before || s.creates != 1 {
		t.Error("the ring was changed")
	}
	if strings.Contains(err.Error(), other.RevealPlaintext()) {
		t.Errorf("the error tells the key: %v", err)
	}
	mustOpen(t, s)
}

func TestAShortRootKeyIsRefused(t *testing.T) {
	for _, n := range []int{0, 1, 31} {
		s := newKeys()
		if k, err := fieldcrypt.Open(t.Context(), s, secret.New(strings.Repeat("k", n)), secret.Text{}, rand.Reader, 1); err == nil || k != nil || s.creates != 0 {
			t.Errorf("Open with a root key of %d bytes = %v; want an error, and nothing stored", n, err)
		}
	}
	if _, err := fieldcrypt.Open(t.Context(), newKeys(), secret.New(strings.Repeat("k", 32)), secret.Text{}, rand.Reader, 1); err != nil {
		t.Errorf("Open with a root key of 32 bytes: %v", err)
	}
}

func TestAFailingSourceOfRandomnessStoresNothing(t *testing.T) {
	const needed = 3 * (32 + 24)
	for n := range int64(needed) {
		s := newKeys()
		k, err := fieldcrypt.Open(t.Context(), s, root, secret.Text{}, failing(n), 1)
		if !errors.Is(err, ports.ErrUnavailable) || k != nil || s.creates != 0 {
			t.Fatalf("Open with %d random bytes = %v, %d rings stored; want ErrUnavailable and none", n, err, s.creates)
		}
	}
	k, err := fieldcrypt.Open(t.Context(), newKeys(), root, secret.Text{}, failing(needed+24), 1)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := k.Seal("c", []byte("p")); err != nil {
		t.Fatalf("Seal while randomness lasts: %v", err)
	}
	if sealed, err := k.Seal("c", []byte("p")); !errors.Is(err, ports.ErrUnavailable) || sealed != nil {
		t.Errorf("Seal without randomness = %x, %v; want ErrUnavailable", sealed, err)
	}
}

func TestAFaultOfTheStoreIsAnswered(t *testing.T) {
	s := newKeys()
	s.fail = fmt.Errorf("the disk is gone: %w", ports.ErrUnavailable)
	if k, err := fieldcrypt.Open(t.Context(), s, root, secret.Text{}, rand.Reader, 1); !errors.Is(err, ports.ErrUnavailable) || k != nil {
		t.Errorf("Open = %v, want ErrUnavailable", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	s = newKeys()
	s.rings[keyset.Data] = keyset.Ring{}
	if k, err := fieldcrypt.Open(ctx, s, root, secret.Text{}, rand.Reader, 1); !errors.Is(err, context.Canceled) || k != nil {
		t.Errorf("Open with a cancelled context = %v, want context.Canceled", err)
	}
}

func TestADamagedRingIsRefused(t *testing.T) {
	for name, damage := range map[string]func(t *testing.T, s *keys){
		"one key flipped":       func(t *testing.T, s *keys) { s.edit(t, "index-1", func(k *keyset.Key) { k.Wrapped[40] ^= 1 }) },
		"one key cut":           func(t *testing.T, s *keys) { s.edit(t, "index-1", func(k *keyset.Key) { k.Wrapped = k.Wrapped[:20] }) },
		"one key empty":         func(t *testing.T, s *keys) { s.edit(t, "seal-1", func(k *keyset.Key) { k.Wrapped = nil }) },
		"another version":       func(t *testing.T, s *keys) { s.edit(t, "seal-1", func(k *keyset.Key) { k.Wrapped[0] = 2 }) },
		"another algorithm":     func(t *testing.T, s *keys) { s.edit(t, "seal-1", func(k *keyset.Key) { k.Algorithm = "AES-256-GCM" }) },
		"an unknown purpose":    func(t *testing.T, s *keys) { s.edit(t, "seal-1", func(k *keyset.Key) { k.Purpose = "sign" }) },
		"another number":        func(t *testing.T, s *keys) { s.edit(t, "refresh-1", func(k *keyset.Key) { k.ID = "refresh-2" }) },
		"a number with a zero":  func(t *testing.T, s *keys) { s.edit(t, "refresh-1", func(k *keyset.Key) { k.ID = "refresh-01" }) },
		"number 0":              func(t *testing.T, s *keys) { s.edit(t, "refresh-1", func(k *keyset.Key) { k.ID = "refresh-0" }) },
		"a number above uint16": func(t *testing.T, s *keys) { s.edit(t, "refresh-1", func(k *keyset.Key) { k.ID = "refresh-65537" }) },
		"two keys swapped": func(t *testing.T, s *keys) {
			k := s.rings[keyset.Data].Keys
			k[1].Wrapped, k[2].Wrapped = k[2].Wrapped, k[1].Wrapped
		},
		"no key to index with": func(t *testing.T, s *keys) { s.edit(t, "index-1", func(k *keyset.Key) { k.State = keyset.Gone }) },
		"no primary":           func(t *testing.T, s *keys) { s.edit(t, "seal-1", func(k *keyset.Key) { k.State = keyset.Retiring }) },
		"an empty ring":        func(_ *testing.T, s *keys) { s.rings[keyset.Data] = keyset.Ring{Name: keyset.Data} },
	} {
		t.Run(name, func(t *testing.T) {
			s := newKeys()
			mustOpen(t, s)
			damage(t, s)
			before := fmt.Sprint(s.rings)
			k, err := fieldcrypt.Open(t.Context(), s, root, secret.Text{}, rand.Reader, 1)
			if !errors.Is(err, fieldcrypt.ErrDamaged) || k != nil {
				t.Errorf("Open = %v, want ErrDamaged", err)
			}
			if fmt.Sprint(s.rings) != before {
				t.Error("the ring was changed")
			}
		})
	}
}

// Keys that another version made are told, not misused.
func TestAKeyOfAnotherVersionIsRefused(t *testing.T) {
	for name, c := range map[string]struct {
		k       keyset.Key
		version byte
	}{
		"another cipher":       {keyset.Key{ID: "seal-2", Purpose: keyset.Seal, Algorithm: "AES-256-GCM"}, 1},
		"another purpose":      {keyset.Key{ID: "audit-1", Purpose: "audit", Algorithm: "Ed25519"}, 1},
		"another wrapping":     {keyset.Key{ID: "seal-2", Purpose: keyset.Seal, Algorithm: "XChaCha20-Poly1305"}, 2},
		"another way to count": {keyset.Key{ID: "seal-02", Purpose: keyset.Seal, Algorithm: "XChaCha20-Poly1305"}, 1},
		"no number":            {keyset.Key{ID: "seal", Purpose: keyset.Seal, Algorithm: "XChaCha20-Poly1305"}, 1},
		"number 0":             {keyset.Key{ID: "seal-0", Purpose: keyset.Seal, Algorithm: "XChaCha20-Poly1305"}, 1},
		"a number above 65535": {keyset.Key{ID: "seal-65536", Purpose: keyset.Seal, Algorithm: "XChaCha20-Poly1305"}, 1},
		"nothing":              {keyset.Key{}, 1},
	} {
		t.Run(name, func(t *testing.T) {
			s := newKeys()
			mustOpen(t, s)
			k, err := fieldcrypt.Wrap(c.k, c.version, root, rand.Reader)
			if err != nil {
				t.Fatal(err)
			}
			if s.rings[keyset.Data], err = s.rings[keyset.Data].Add(k, true, 2); err != nil {
				t.Fatal(err)
			}
			if got, err := fieldcrypt.Open(t.Context(), s, root, secret.Text{}, rand.Reader, 1); !errors.Is(err, fieldcrypt.ErrDamaged) || got != nil {
				t.Errorf("Open = %v, want ErrDamaged", err)
			}
		})
	}
}

// A rotation of data keys: nodes that have the next keys open what those who promoted them seal; what retired still opens; what is gone does not.
func TestARotation(t *testing.T) {
	s := newKeys()
	change := func(step func(keyset.Ring) (keyset.Ring, error)) *fieldcrypt.Keyring {
		t.Helper()
		if err := s.Update(t.Context(), keyset.Data, func(r keyset.Ring) (keyset.Ring, ports.Effects, error) {
			r, err := step(r)
			return r, ports.Effects{}, err
		}); err != nil {
			t.Fatal(err)
		}
		return mustOpen(t, s)
	}
	text, message := []byte("plain"), []byte("message")
	wants := func(k *fieldcrypt.Keyring, what string, sealed []byte, number uint16, mac [32]byte, held bool) {
		t.Helper()
		if plain, err := k.Open("c", sealed); (err == nil) != held || held && !bytes.Equal(plain, text) {
			t.Errorf("%s: the field under key %d opens as %q, %v; want held %v", what, number, plain, err, held)
		}
		if got, ok := k.MAC(number, message); ok != held || held && got != mac {
			t.Errorf("%s: the MAC under key %d is held: %v, want %v", what, number, ok, held)
		}
	}
	seal := func(k *fieldcrypt.Keyring, number uint16) (sealed []byte, mac [32]byte) {
		t.Helper()
		sealed, err := k.Seal("c", text)
		if err != nil || k.Current() != number || binary.BigEndian.Uint16(sealed[1:]) != number {
			t.Fatalf("sealed under %x with %v, current %d; want %d", sealed[1:3], err, k.Current(), number)
		}
		mac, _ = k.MAC(number, message)
		return sealed, mac
	}

	old := mustOpen(t, s)
	sealed1, mac1 := seal(old, 1)
	prepared := change(func(r keyset.Ring) (keyset.Ring, error) {
		for _, k := range []keyset.Key{{ID: "seal-2", Purpose: keyset.Seal, Algorithm: "XChaCha20-Poly1305"}, {ID: "refresh-2", Purpose: keyset.Refresh, Algorithm: "HMAC-SHA256"}} {
			k, err := fieldcrypt.Wrap(k, 1, root, rand.Reader)
			if err != nil {
				return r, err
			}
			if r, err = r.Add(k, false, 2); err != nil {
				return r, err
			}
		}
		return r, nil
	})
	seal(prepared, 1)
	promoted := change(func(r keyset.Ring) (keyset.Ring, error) {
		r, err := r.Promote("seal-2", 3)
		if err != nil {
			return r, err
		}
		return r.Promote("refresh-2", 3)
	})
	sealed2, mac2 := seal(promoted, 2)
	if mac1 == mac2 {
		t.Error("two keys give one MAC")
	}
	wants(prepared, "a node that has the next keys", sealed2, 2, mac2, true)
	wants(promoted, "a node that has retiring keys", sealed1, 1, mac1, true)
	wants(old, "a node that has not the next keys", sealed2, 2, mac2, false)
	after := change(func(r keyset.Ring) (keyset.Ring, error) {
		r, err := r.Drop("seal-1", 4)
		if err != nil {
			return r, err
		}
		return r.Revoke("refresh-1", 4)
	})
	wants(after, "a node whose old keys are gone", sealed1, 1, mac1, false)
	wants(after, "a node whose old keys are gone", sealed2, 2, mac2, true)
}

func TestAKeyringPrintsNothing(t *testing.T) {
	k := mustOpen(t, newKeys())
	var log strings.Builder
	slog.New(slog.NewJSONHandler(&log, nil)).Info("m", "k", k, "v", *k)
	j, err := json.Marshal(map[string]any{"k": k, "v": *k})
	if err != nil {
		t.Fatal(err)
	}
	want := secret.Redacted
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%x", "%q", "%d"} {
		if got := fmt.Sprintf(verb, k); got != want {
			t.Errorf("%s prints %s", verb, got)
		}
		if got := fmt.Sprintf(verb, *k); got != want {
			t.Errorf("%s prints a copy as %s", verb, got)
		}
	}
	if got := k.String() + k.GoString() + k.LogValue().String(); got != want+want+want {
		t.Errorf("String, GoString and LogValue are %s", got)
	}
	if strings.Count(log.String(), want) != 2 || string(j) != `{"k":"[redacted]","v":"[redacted]"}` {
		t.Errorf("logged and encoded: %s %s", log.String(), j)
	}
}
