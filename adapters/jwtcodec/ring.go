package jwtcodec

import (
	"bytes"
	"errors"
	"fmt"
	"slices"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/golang-jwt/jwt/v5"

	"github.com/xteam/xteam/domain/keyset"
	"github.com/xteam/xteam/domain/revocation"
	"github.com/xteam/xteam/domain/token"
)

// maxKeyID is the longest key id that a ring may hold, in bytes: what can sign can be revoked.
const maxKeyID = revocation.MaxKeyID

// key is a key as golang-jwt wants it. It is never changed, and two rings that follow one another share it while nothing of its source is changed.
type key struct {
	*verifier
	signing any // nil in a key that only verifies
	source  keyset.Key
}

// verifier is what verifies. Two rings that follow one another share it while the key's material is the same, whether or not its private half is still
// there: so a cached token that remembers its verifier knows by the pointer whether that key is still held.
type verifier struct {
	id         string
	method     jwt.SigningMethod // its Alg is the only algorithm that a token of this key may name
	verifying  any
	size       int    // of a signature, in bytes
	header     string // the header of a token of this key, encoded
	thumbprint string // of a key pair
}

// ring is what a Codec knows of the keys at one time.
type ring struct {
	keys    map[string]*key // by id: those that verify, and no others
	headers map[string]*key // the same, by their encoded header
	primary *key
	ids     []string // of keys, the primary's first
}

// newRing builds a ring and takes over from the last one the keys that did not change, without reading them again. With verifyOnly no key signs.
func newRing(keys keyset.Ring, last *ring, verifyOnly bool) (*ring, error) {
	r := &ring{keys: make(map[string]*key, len(keys.Keys)), headers: make(map[string]*key, len(keys.Keys))}
	seen := make(map[string]bool, len(keys.Keys))
	for _, source := range keys.Keys {
		if seen[source.ID] {
			return nil, fmt.Errorf("signing key %q is in the ring twice: remove one", source.ID)
		}
		seen[source.ID] = true
		if !source.State.Verifies() {
			continue
		}
		k, err := last.newKey(source, verifyOnly)
		if err != nil {
			return nil, err
		}
		r.keys[k.id], r.headers[k.header] = k, k
		if source.State != keyset.Primary || verifyOnly {
			r.ids = append(r.ids, k.id)
			continue
		}
		if r.primary != nil {
			return nil, fmt.Errorf("signing keys %q and %q are both primary: one key signs, so retire the other", r.primary.id, k.id)
		}
		if k.signing == nil {
			return nil, fmt.Errorf("signing key %q is primary and has no private half: it can verify and not sign", k.id)
		}
		r.primary, r.ids = k, slices.Insert(r.ids, 0, k.id)
	}
	if r.primary == nil && !verifyOnly {
		return nil, errors.New("the ring of signing keys has no primary: add a key that signs")
	}
	return r, nil
}

// newKey is the key of this ring that has the same source, or else a new one.
func (r *ring) newKey(source keyset.Key, verifyOnly bool) (*key, error) {
	if source.Purpose != keyset.Sign {
		return nil, fmt.Errorf("key %q is for the purpose %q: tokens are signed by keys for %q alone", source.ID, source.Purpose, keyset.Sign)
	}
	old := r.keys[source.ID]
	if old != nil && old.same(source) && old.source.Secret.Equal(source.Secret) {
		return old, nil
	}
	k, err := readKey(source)
	if err != nil {
		return nil, err
	}
	if k.thumbprint != "" && k.thumbprint != k.id && !verifyOnly {
		return nil, fmt.Errorf("signing key %q has the thumbprint %q: the id of a key pair is its thumbprint (RFC 7638), so one of them was exchanged", k.id, k.thumbprint)
	}
	if old != nil && old.same(source) {
		k.verifier = old.verifier
	}
	return k, nil
}

// readKey makes a key for its algorithm. This switch, NewKey and public are what knows algorithms.
func readKey(source keyset.Key) (*key, error) {
	if source.ID == "" || len(source.ID) > maxKeyID {
		return nil, fmt.Errorf("a signing key has an id of %d bytes: give it one of 1 to %d bytes", len(source.ID), maxKeyID)
	}
	k := &key{verifier: &verifier{id: source.ID}, source: source}
	var err error
	switch source.Algorithm {
	case keyset.HS256:
		err = k.symmetric()
	case keyset.ES256, keyset.EdDSA, keyset.RS256, keyset.PS256:
		err = k.pair()
	default:
		err = fmt.Errorf("signing key %q has the algorithm %q, which is not one of %q", source.ID, source.Algorithm, keyset.Algorithms())
	}
	if err != nil {
		return nil, err
	}
	kid, err := jsontext.AppendQuote(nil, source.ID)
	if err != nil {
		return nil, fmt.Errorf("signing key %q has an id that is not UTF-8: give it another", source.ID)
	}
	k.header = base64url.EncodeToString(fmt.Appendf(nil, `{"alg":%q,"kid":%s,"typ":%q}`, k.method.Alg(), kid, token.Type))
	return k, nil
}

// same reports whether this key verifies exactly the tokens that a key of that source would.
func (k *key) same(source keyset.Key) bool {
	a, b := k.source, source
	if a.ID != b.ID || a.Algorithm != b.Algorithm || !bytes.Equal(a.Public, b.Public) {
		return false
	}
	return a.Algorithm != keyset.HS256 || a.Secret.Equal(b.Secret)
}

// holds reports whether what verified a token still does.
func (r *ring) holds(v *verifier) bool {
	k := r.keys[v.id]
	return k != nil && k.verifier == v
}

// signer finds the key that a token's header names. It answers ok false when the header has not the form of one, and fits false when it has and is not
// the header of an access token by a key of this ring; no key and fits true is that of an access token by a key that is not in it. The usual header,
// written by Sign, is recognised as a whole.
func (r *ring) signer(s *scanner, p parts) (k *key, fits, ok bool) {
	if k = r.headers[p.encodedHeader]; k != nil {
		return k, true, true
	}
	h, ok := s.header(p.header)
	if !ok {
		return nil, false, false
	}
	if k = r.keys[h.kid]; k != nil {
		return k, h.isAccessToken() && h.fits(k.verifier), true
	}
	return nil, h.isAccessToken() && !h.foreign && h.kid != "" && len(h.kid) <= maxKeyID && isAlgorithm(h.alg), true
}

func isAlgorithm(name string) bool {
	switch name {
	case keyset.HS256, keyset.ES256, keyset.EdDSA, keyset.RS256, keyset.PS256:
		return true
	}
	return false
}
