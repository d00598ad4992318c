package jwks

import (
	"crypto/x509"
	"errors"
	"fmt"
	"slices"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/lestrrat-go/jwx/v2/jwa"
	"github.com/lestrrat-go/jwx/v2/jwk"

	"github.com/xteam/xteam/domain/keyset"
)

// Bounds of another issuer's key set.
const (
	maxDocument = 1 << 20 // bytes
	maxKeys     = 100
)

// Parse reads a key set. It answers the keys that can verify tokens of one of keyset.Algorithms, each in the state Retiring and under the id that its
// issuer gave it, and one sentence for each key that it left out: of another type, curve or use, without an id, or refused by check.
//
// A set as a whole is refused when it is no JSON object with keys (RFC 7517, section 5), when there are over a hundred, when one of them is private or
// symmetric, since whoever publishes one has lost it, and when two that are good have one id.
func Parse(text []byte, check func(keyset.Key) error) (keys []keyset.Key, left []string, err error) {
	if len(text) > maxDocument {
		return nil, nil, fmt.Errorf("the key set is over %d bytes", maxDocument)
	}
	var set struct {
		Keys []jsontext.Value `json:"keys"`
	}
	if err := json.Unmarshal(text, &set); err != nil {
		return nil, nil, errors.New("that is no key set: it is not one JSON object, or has a member twice") // err would quote it
	}
	if set.Keys == nil {
		return nil, nil, errors.New("that is no key set: it has no list of keys")
	}
	if len(set.Keys) > maxKeys {
		return nil, nil, fmt.Errorf("the key set has %d keys: %d are read at most", len(set.Keys), maxKeys)
	}
	for i, one := range set.Keys {
		k, err := read(one)
		if errors.Is(err, errSecret) {
			return nil, nil, fmt.Errorf("the key set gives a secret away: key %d of it is %w", i+1, err)
		}
		if err == nil {
			err = check(k)
		}
		if err != nil {
			left = append(left, fmt.Sprintf("key %d: %v", i+1, err))
			continue
		}
		if slices.ContainsFunc(keys, func(o keyset.Key) bool { return o.ID == k.ID }) {
			return nil, nil, fmt.Errorf("the key set has two keys of the id %q: which of them is meant cannot be known", k.ID)
		}
		keys = append(keys, k)
	}
	return keys, left, nil
}

var errSecret = errors.New("private or symmetric")

// read makes a key of a JWK.
func read(text []byte) (k keyset.Key, err error) {
	one, err := jwk.ParseKey(text)
	if err != nil {
		if secret(text) {
			return k, errSecret
		}
		return k, errors.New("it cannot be read, or is of a type that is not known")
	}
	var half any
	switch one.(type) {
	case jwk.SymmetricKey, jwk.RSAPrivateKey, jwk.ECDSAPrivateKey, jwk.OKPPrivateKey:
		return k, errSecret
	}
	if secret(text) {
		return k, errSecret
	}
	if use := one.KeyUsage(); use != "" && use != string(jwk.ForSignature) {
		return k, fmt.Errorf("it is for %q, not for signatures", use)
	}
	if ops := one.KeyOps(); len(ops) > 0 && !slices.Contains(ops, jwk.KeyOpVerify) {
		return k, fmt.Errorf("it is for the operations %q, not for verification", ops)
	}
	if one.KeyID() == "" {
		return k, errors.New("it has no id, so no token can name it")
	}
	k = keyset.Key{ID: one.KeyID(), Purpose: keyset.Sign, Algorithm: algorithm(one), State: keyset.Retiring}
	if !slices.Contains(keyset.Algorithms(), k.Algorithm) || k.Algorithm == keyset.HS256 {
		return k, fmt.Errorf("it is for the algorithm %q, which is not taken", k.Algorithm)
	}
	if err := one.Raw(&half); err != nil {
		return k, errors.New("its numbers make no key")
	}
	if k.Public, err = x509.MarshalPKIXPublicKey(half); err != nil {
		return k, errors.New("its numbers make no key of a type that is known")
	}
	return k, nil
}

// secret reports whether a JWK has a member that only the private half has (RFC 7518, sections 6.2.2, 6.3.2 and 6.4.1; RFC 8037, section 2), whatever
// else it is.
func secret(text []byte) bool {
	var members struct {
		D jsontext.Value `json:"d"`
		K jsontext.Value `json:"k"`
		P jsontext.Value `json:"p"`
		Q jsontext.Value `json:"q"`
	}
	return json.Unmarshal(text, &members) == nil && len(members.D)+len(members.K)+len(members.P)+len(members.Q) > 0
}

// algorithm is what a key is for. A key that does not say it is for the one algorithm of its kind, or an RSA key for the older of the two, which is
// what issuers mean that leave it out.
func algorithm(k jwk.Key) string {
	if a := k.Algorithm().String(); a != "" {
		return a
	}
	switch k := k.(type) {
	case jwk.ECDSAPublicKey:
		if k.Crv() == jwa.P256 {
			return keyset.ES256
		}
	case jwk.OKPPublicKey:
		if k.Crv() == jwa.Ed25519 {
			return keyset.EdDSA
		}
	case jwk.RSAPublicKey:
		return keyset.RS256
	}
	return ""
}
