// Package fieldcrypt seals fields at rest, digests them for look-ups and authenticates refresh tokens, with random data keys that the store keeps
// wrapped under ROOT_KEY.
package fieldcrypt

import (
	"crypto/cipher"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"hash"
	"io"
	"log/slog"
	"sync"

	"github.com/xteam/xteam/domain/secret"
	"github.com/xteam/xteam/ports"
)

// Keyring holds the data keys in memory. It may be used from many goroutines at once; the keys never change.
type Keyring struct {
	random  io.Reader
	seal    uint16                 // the number of the key that seals now
	aeads   map[uint16]cipher.AEAD // all that still open
	index   func() hash.Hash       // keyed; a function, so that nothing prints the key
	refresh uint16                 // the number of the key that authenticates now
	macs    map[uint16]*sync.Pool  // of hash.Hash, of all that still verify: a new one would cost as much again as a MAC
}

var (
	_ ports.Sealer        = (*Keyring)(nil)
	_ ports.Authenticator = (*Keyring)(nil)
)

// fieldVersion begins every sealed field: version, the key's number in two bytes, nonce, ciphertext and tag. It is 43 bytes longer than the plain text.
const fieldVersion = 1

const fieldHeader = 3

// Seal implements ports.Sealer. It fails when the source of randomness does, with an error that matches ports.ErrUnavailable.
func (k *Keyring) Seal(context string, plain []byte) ([]byte, error) {
	header := []byte{fieldVersion, byte(k.seal >> 8), byte(k.seal)}
	sealed, err := seal(k.aeads[k.seal], k.random, header, context, plain)
	if err != nil {
		return nil, fmt.Errorf("seal a field: %w: %w", ports.ErrUnavailable, err)
	}
	return sealed, nil
}

// Open implements ports.Sealer.
func (k *Keyring) Open(context string, sealed []byte) ([]byte, error) {
	if len(sealed) < fieldHeader {
		return nil, fmt.Errorf("open a sealed field: it has not the form of one: %w", ports.ErrDamaged)
	}
	if sealed[0] != fieldVersion {
		return nil, fmt.Errorf("open a sealed field: it is of another version: %w", ports.ErrUnavailable)
	}
	number := binary.BigEndian.Uint16(sealed[1:])
	aead, ok := k.aeads[number]
	if !ok {
		return nil, fmt.Errorf("open a sealed field: its key, seal-%d, is not held: %w", number, ports.ErrUnavailable)
	}
	plain, err := open(aead, fieldHeader, context, sealed)
	if err != nil {
		return nil, fmt.Errorf("open a sealed field: it was changed, or sealed for another place: %w", ports.ErrDamaged)
	}
	return plain, nil
}

// Index implements ports.Sealer: HMAC-SHA256 of the context, its length before it, and the value, cut to 16 bytes.
func (k *Keyring) Index(context, value string) [16]byte {
	h := k.index()
	message := make([]byte, 0, 8+len(context)+len(value))
	message = binary.BigEndian.AppendUint64(message, uint64(len(context)))
	message = append(append(message, context...), value...)
	_, _ = h.Write(message)
	var sum [sha256.Size]byte
	return [16]byte(h.Sum(sum[:0]))
}

// Current implements ports.Authenticator.
func (k *Keyring) Current() uint16 { return k.refresh }

// MAC implements ports.Authenticator with HMAC-SHA256.
func (k *Keyring) MAC(key uint16, message []byte) ([32]byte, bool) {
	pool, ok := k.macs[key]
	if !ok {
		return [32]byte{}, false
	}
	h, _ := pool.Get().(hash.Hash)
	defer pool.Put(h)
	h.Reset()
	_, _ = h.Write(message)
	var sum [sha256.Size]byte
	return [32]byte(h.Sum(sum[:0])), true
}

// String is [redacted].
func (k Keyring) String() string { return secret.Redacted }

// GoString is [redacted].
func (k Keyring) GoString() string { return secret.Redacted }

// Format writes [redacted] for every verb.
func (k Keyring) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, secret.Redacted) }

// LogValue is [redacted].
func (k Keyring) LogValue() slog.Value { return slog.StringValue(secret.Redacted) }

// MarshalText is [redacted]; it also serves encoding/json.
func (k Keyring) MarshalText() ([]byte, error) { return []byte(secret.Redacted), nil }

// seal answers header, a random nonce, and plain encrypted; the header and the context are authenticated with it.
func seal(aead cipher.AEAD, random io.Reader, header []byte, context string, plain []byte) ([]byte, error) {
	h, n := len(header), aead.NonceSize()
	out := make([]byte, h+n, h+n+len(plain)+aead.Overhead())
	copy(out, header)
	if _, err := io.ReadFull(random, out[h:]); err != nil {
		return nil, fmt.Errorf("read random bytes: %w", err)
	}
	return aead.Seal(out, out[h:], plain, append(header[:h:h], context...)), nil
}

// open is the reverse of seal, where the header has h bytes.
func open(aead cipher.AEAD, h int, context string, sealed []byte) ([]byte, error) {
	n := aead.NonceSize()
	if len(sealed) < h+n+aead.Overhead() {
		return nil, io.ErrUnexpectedEOF
	}
	return aead.Open(nil, sealed[h:h+n], sealed[h+n:], append(sealed[:h:h], context...))
}

// keyed answers makers of HMAC-SHA256 under the key.
func keyed(key []byte) func() hash.Hash { return func() hash.Hash { return hmac.New(sha256.New, key) } }
