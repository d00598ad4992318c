package jwtcodec

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/golang-jwt/jwt/v5"

	"github.com/xteam/xteam/domain/keyset"
	"github.com/xteam/xteam/domain/revocation"
	"github.com/xteam/xteam/domain/secret"
	"github.com/xteam/xteam/domain/token"
)

// MinSecret is the shortest secret of an HS256 key, in bytes (RFC 7518, section 3.2).
const MinSecret = 32

// maxKeyID is the longest key id that a ring may hold, in bytes: what can sign can be revoked.
const maxKeyID = revocation.MaxKeyID

// SymmetricKeyID is the key id of an HS256 secret: 128 bits of an HMAC of a fixed label under the secret, as "hs-" and 32 hexadecimal digits. It is
// public, in every token's header; an HMAC tells less than a hash of the secret would, which equals the hash that somebody may have elsewhere.
func SymmetricKeyID(s secret.Text) string {
	mac := hmac.New(sha256.New, []byte(s.RevealPlaintext()))
	mac.Write([]byte("xteam HS256 key id v1"))
	return "hs-" + hex.EncodeToString(mac.Sum(nil)[:16])
}

// key is a key as golang-jwt wants it. It is never changed, and two rings that follow one another share it while its material is the same: so a cached
// token that remembers its key knows by the pointer whether that key is still there.
type key struct {
	id        string
	method    jwt.SigningMethod // its Alg is the only algorithm that a token of this key may name
	signing   any
	verifying any
	header    string // the header of a token of this key, encoded
	source    keyset.Key
}

// ring is what a Codec knows of the keys at one time.
type ring struct {
	keys    map[string]*key // by id: those that verify, and no others
	headers map[string]*key // the same, by their encoded header
	primary *key
	ids     []string // of keys, the primary's first
}

// newRing builds a ring and takes over from the last one, which may be nil, the keys that did not change.
func newRing(keys keyset.Ring, last *ring) (*ring, error) {
	r := &ring{keys: make(map[string]*key), headers: make(map[string]*key)}
	seen := make(map[string]bool)
	for _, source := range keys.Keys {
		if seen[source.ID] {
			return nil, fmt.Errorf("signing key %q is in the ring twice: remove one", source.ID)
		}
		seen[source.ID] = true
		if !source.State.Verifies() {
			continue
		}
		k, err := newKey(source)
		if err != nil {
			return nil, err
		}
		if last != nil {
			if old := last.keys[k.id]; old != nil && old.same(k) {
				k = old
			}
		}
		r.keys[k.id], r.headers[k.header] = k, k
		if source.State != keyset.Primary {
			r.ids = append(r.ids, k.id)
			continue
		}
		if r.primary != nil {
			return nil, fmt.Errorf("signing keys %q and %q are both primary: one key signs, so retire the other", r.primary.id, k.id)
		}
		r.primary, r.ids = k, slices.Insert(r.ids, 0, k.id)
	}
	if r.primary == nil {
		return nil, errors.New("the ring of signing keys has no primary: add a key that signs")
	}
	return r, nil
}

// newKey makes a key for its algorithm. This switch is the one place that knows algorithms: another is a case that reads the key's Public and Secret.
func newKey(source keyset.Key) (*key, error) {
	if source.ID == "" || len(source.ID) > maxKeyID {
		return nil, fmt.Errorf("a signing key has an id of %d bytes: give it one of 1 to %d bytes", len(source.ID), maxKeyID)
	}
	if source.Purpose != keyset.Sign {
		return nil, fmt.Errorf("key %q is for the purpose %q: tokens are signed by keys for %q alone", source.ID, source.Purpose, keyset.Sign)
	}
	k := &key{id: source.ID, source: source}
	switch source.Algorithm {
	case jwt.SigningMethodHS256.Alg():
		if n := source.Secret.Len(); n < MinSecret {
			return nil, fmt.Errorf("signing key %q has a secret of %d bytes: HS256 needs at least %d", source.ID, n, MinSecret)
		}
		material := []byte(source.Secret.RevealPlaintext())
		k.method, k.signing, k.verifying = jwt.SigningMethodHS256, material, material
	default:
		return nil, fmt.Errorf("signing key %q has the algorithm %q, which is not known here: HS256 is", source.ID, source.Algorithm)
	}
	kid, err := jsontext.AppendQuote(nil, source.ID)
	if err != nil {
		return nil, fmt.Errorf("signing key %q has an id that is not UTF-8: give it another", source.ID)
	}
	k.header = base64url.EncodeToString(fmt.Appendf(nil, `{"alg":%q,"kid":%s,"typ":%q}`, k.method.Alg(), kid, token.Type))
	return k, nil
}

// same reports whether both verify and sign exactly the same tokens.
func (k *key) same(o *key) bool {
	a, b := k.source, o.source
	return a.ID == b.ID && a.Algorithm == b.Algorithm && a.Secret.Equal(b.Secret) && bytes.Equal(a.Public, b.Public)
}

// signer finds the key that a token's header names. It answers ok false when the header has not the form of one, and fits false when it has and is not
// the header of an access token by a key of this ring. The usual header, written by Sign, is recognised as a whole.
func (r *ring) signer(s *scanner, p parts) (k *key, fits, ok bool) {
	if k = r.headers[p.encodedHeader]; k != nil {
		return k, true, true
	}
	h, ok := s.header(p.header)
	if !ok {
		return nil, false, false
	}
	k = r.keys[h.kid]
	return k, k != nil && !h.foreign && h.isAccessToken() && h.alg == k.method.Alg(), true
}
