package fieldcrypt

import (
	"context"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"sync"

	"golang.org/x/crypto/chacha20poly1305"

	"github.com/xteam/xteam/domain/instant"
	"github.com/xteam/xteam/domain/keyset"
	"github.com/xteam/xteam/domain/secret"
	"github.com/xteam/xteam/ports"
)

// MinRootKey is the least length of ROOT_KEY, in bytes.
const MinRootKey = 32

// Why a keyring cannot be opened.
var (
	// ErrRootKey says that the root key is another one than that of the store.
	ErrRootKey = errors.New("ROOT_KEY does not open this store's data keys: give the one that it was last opened with, as ROOT_KEY, or as ROOT_KEY_PREVIOUS to replace it")
	// ErrDamaged says that the root key is right, but the ring is not whole.
	ErrDamaged = errors.New("this store's data keys were changed or damaged, or belong to another version: restore them from a backup")
)

// algorithms names the cipher of each purpose. The texts are stored.
var algorithms = map[keyset.Purpose]string{
	keyset.Seal:    "XChaCha20-Poly1305",
	keyset.Index:   "HMAC-SHA256",
	keyset.Refresh: "HMAC-SHA256",
}

// Open reads the ring of data keys, keyset.Data, and unwraps it with the root key. A store without one gets a new ring of three random keys, created at
// now; of several nodes that do so at once all go on with the ring of the first. The root key must have at least MinRootKey bytes. Random is read for keys and nonces, by
// many goroutines at once: crypto/rand.Reader in production. What fails stores nothing.
//
// Where the ring is wrapped under was, the root key of before, it is wrapped anew: see Rewrap. A zero was is none.
func Open(ctx context.Context, keys ports.Keys, root, was secret.Text, random io.Reader, now instant.Instant) (*Keyring, error) {
	k, err := openRing(ctx, keys, root, random, now)
	if !errors.Is(err, ErrRootKey) || was.IsZero() {
		return k, err
	}
	if err := Rewrap(ctx, keys, was, root, random); err != nil {
		return nil, err
	}
	return openRing(ctx, keys, root, random, now)
}

// Rewrap wraps the data keys under the root key is that were wrapped under was, all in one transaction. The keys stay what they are, so no record that they sealed is
// touched, and who has them open goes on. It is ErrRootKey when was does not open them, unless they are wrapped under is already.
func Rewrap(ctx context.Context, keys ports.Keys, was, is secret.Text, random io.Reader) error {
	if is.Len() < MinRootKey {
		return fmt.Errorf("ROOT_KEY has %d bytes: give at least %d random ones", is.Len(), MinRootKey)
	}
	before, err := wrapper(was)
	if err != nil {
		return err
	}
	after, err := wrapper(is)
	if err != nil {
		return err
	}
	err = keys.Update(ctx, keyset.Data, func(r keyset.Ring) (keyset.Ring, ports.Effects, error) {
		r.Keys = slices.Clone(r.Keys)
		if _, err := unwrap(r, after, random); err == nil {
			return r, ports.Effects{}, nil // another node was first
		}
		for i := range r.Keys {
			k := &r.Keys[i]
			if !k.State.Verifies() {
				continue
			}
			if len(k.Wrapped) == 0 || k.Wrapped[0] != wrapVersion {
				return r, ports.Effects{}, fmt.Errorf("data key %s: %w", k.ID, ErrDamaged)
			}
			plain, err := open(before, 1, place(*k), k.Wrapped)
			if err != nil {
				return r, ports.Effects{}, ErrRootKey
			}
			if k.Wrapped, err = seal(after, random, []byte{wrapVersion}, place(*k), plain); err != nil {
				return r, ports.Effects{}, fmt.Errorf("wrap %s: %w: %w", k.ID, ports.ErrUnavailable, err)
			}
			clear(plain)
		}
		return r, ports.Effects{}, nil
	})
	if err != nil {
		return fmt.Errorf("wrap the data keys under another ROOT_KEY: %w", err)
	}
	return nil
}

// openRing is Open with one root key.
func openRing(ctx context.Context, keys ports.Keys, root secret.Text, random io.Reader, now instant.Instant) (*Keyring, error) {
	if root.Len() < MinRootKey {
		return nil, fmt.Errorf("ROOT_KEY has %d bytes: give at least %d random ones", root.Len(), MinRootKey)
	}
	wrapping, err := wrapper(root)
	if err != nil {
		return nil, err
	}
	ring, err := keys.Find(ctx, keyset.Data)
	if errors.Is(err, ports.ErrNotFound) {
		ring, err = create(ctx, keys, wrapping, random, now)
	}
	if err != nil {
		return nil, fmt.Errorf("read the data keys: %w", err)
	}
	return unwrap(ring, wrapping, random)
}

// wrapper is the cipher that the root key wraps data keys with. The root key itself encrypts nothing.
func wrapper(root secret.Text) (cipher.AEAD, error) {
	key, err := derive([]byte(root.RevealPlaintext()), "xteam: wrap data keys, 1")
	if err != nil {
		return nil, err
	}
	return chacha20poly1305.NewX(key)
}

// derive makes a key of 32 bytes for one use out of another (HKDF-SHA256, RFC 5869).
func derive(key []byte, use string) ([]byte, error) {
	derived, err := hkdf.Key(sha256.New, key, nil, use, 32)
	if err != nil {
		return nil, fmt.Errorf("derive a key: %w", err)
	}
	return derived, nil
}

// create stores a new ring, or answers that of another node which was first.
func create(ctx context.Context, keys ports.Keys, wrapping cipher.AEAD, random io.Reader, now instant.Instant) (keyset.Ring, error) {
	ring := keyset.Ring{Name: keyset.Data}
	for _, p := range []keyset.Purpose{keyset.Seal, keyset.Index, keyset.Refresh} {
		k := keyset.Key{ID: string(p) + "-1", Purpose: p, Algorithm: algorithms[p]}
		plain := make([]byte, 32)
		if _, err := io.ReadFull(random, plain); err != nil {
			return keyset.Ring{}, fmt.Errorf("make %s: read random bytes: %w: %w", k.ID, ports.ErrUnavailable, err)
		}
		var err error
		if k.Wrapped, err = seal(wrapping, random, []byte{wrapVersion}, place(k), plain); err != nil {
			return keyset.Ring{}, fmt.Errorf("wrap %s: %w: %w", k.ID, ports.ErrUnavailable, err)
		}
		clear(plain)
		if ring, err = ring.Add(k, false, now); err != nil {
			return keyset.Ring{}, err
		}
	}
	switch err := keys.Create(ctx, ring, ports.Effects{}); {
	case errors.Is(err, ports.ErrTaken):
		return keys.Find(ctx, keyset.Data)
	case err != nil:
		return keyset.Ring{}, fmt.Errorf("store new ones: %w", err)
	}
	return ring, nil
}

// wrapVersion begins every wrapped key: version, nonce, ciphertext and tag.
const wrapVersion = 1

// place is what a wrapped key is bound to: none can be put in the place of another, or be given another number.
func place(k keyset.Key) string {
	return strings.Join([]string{keyset.Data, string(k.Purpose), k.ID, k.Algorithm}, "\x00")
}

// unwrap makes the keyring of a stored ring.
func unwrap(ring keyset.Ring, wrapping cipher.AEAD, random io.Reader) (*Keyring, error) {
	kr := &Keyring{random: random, aeads: map[uint16]cipher.AEAD{}, macs: map[uint16]*sync.Pool{}}
	opened, failed := 0, ""
	for _, k := range ring.Keys {
		if !k.State.Verifies() {
			continue
		}
		number, err := numberOf(k)
		if err != nil {
			return nil, err
		}
		if len(k.Wrapped) == 0 || k.Wrapped[0] != wrapVersion {
			return nil, fmt.Errorf("data key %s: %w", k.ID, ErrDamaged)
		}
		plain, err := open(wrapping, 1, place(k), k.Wrapped)
		if err != nil {
			failed = k.ID
			continue
		}
		opened++
		if err := kr.take(k, number, plain); err != nil {
			return nil, fmt.Errorf("data key %s: %w", k.ID, err)
		}
		clear(plain)
	}
	switch {
	case failed != "" && opened == 0:
		return nil, ErrRootKey
	case failed != "":
		return nil, fmt.Errorf("data key %s: %w", failed, ErrDamaged)
	}
	for p := range algorithms {
		if _, ok := ring.Primary(p); !ok {
			return nil, fmt.Errorf("no data key to %s with: %w", p, ErrDamaged)
		}
	}
	return kr, nil
}

// take puts an unwrapped key into its place in the keyring.
func (k *Keyring) take(one keyset.Key, number uint16, plain []byte) error {
	key, err := derive(plain, "xteam: "+string(one.Purpose)+", 1")
	if err != nil {
		return err
	}
	primary := one.State == keyset.Primary
	switch one.Purpose {
	case keyset.Seal:
		if k.aeads[number], err = chacha20poly1305.NewX(key); err != nil {
			return err
		}
		if primary {
			k.seal = number
		}
	case keyset.Refresh:
		new := keyed(key)
		k.macs[number] = &sync.Pool{New: func() any { return new() }}
		if primary {
			k.refresh = number
		}
	case keyset.Index:
		if primary {
			k.index = keyed(key)
		}
	}
	return nil
}

// numberOf reads the number of a data key out of its id, strictly: seal-1 to seal-65535.
func numberOf(k keyset.Key) (uint16, error) {
	digits, ok := strings.CutPrefix(k.ID, string(k.Purpose)+"-")
	n, err := strconv.ParseUint(digits, 10, 16)
	if !ok || err != nil || n == 0 || digits != strconv.FormatUint(n, 10) || algorithms[k.Purpose] != k.Algorithm {
		return 0, fmt.Errorf("data key %.40q: %w", k.ID, ErrDamaged)
	}
	return uint16(n), nil
}
