package jwtcodec

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"math/big"

	"github.com/golang-jwt/jwt/v5"

	"github.com/xteam/xteam/domain/keyset"
	"github.com/xteam/xteam/domain/secret"
)

// MinSecret is the shortest secret of an HS256 key, in bytes (RFC 7518, section 3.2).
const MinSecret = 32

// Bounds of an RSA key, in bits: below, it is refused by RFC 7518, sections 3.3 and 3.5; above, one signature takes longer than a request may.
const (
	minRSA = 2048
	maxRSA = 8192
)

// minExponent is the least public exponent of an RSA key (FIPS 186-5, section 5.1): a small one turns flaws of padding into forgeries.
const minExponent = 65537

// maxDER bounds each half of a key pair, in bytes, before it is read: an RSA key of maxRSA bits has some 4,800.
const maxDER = 16 << 10

// ps256 is golang-jwt's PS256 but for one thing: that one takes a salt of any length, and RFC 7518, section 3.5 says how long it is.
var ps256 = &jwt.SigningMethodRSAPSS{
	SigningMethodRSA: jwt.SigningMethodPS256.SigningMethodRSA,
	Options:          &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash},
}

// SymmetricKeyID is the key id of an HS256 secret: 128 bits of an HMAC of a fixed label under the secret, as "hs-" and 32 hexadecimal digits. It is
// public, in every token's header; an HMAC tells less than a hash of the secret would, which equals the hash that somebody may have elsewhere.
func SymmetricKeyID(s secret.Text) string {
	mac := hmac.New(sha256.New, []byte(s.RevealPlaintext()))
	mac.Write([]byte("xteam HS256 key id v1"))
	return "hs-" + hex.EncodeToString(mac.Sum(nil)[:16])
}

// SymmetricKeyID is the function of that name: see ports.SigningKeys.
func (c *Codec) SymmetricKeyID(s secret.Text) string { return SymmetricKeyID(s) }

// NewKey makes a key: see ports.SigningKeys. An RSA key has 2048 bits; it takes a tenth of a second or several, the others take microseconds.
//
// One thumbprint in 64 begins with a dash, and a command line would take it for a flag: the key that has it is thrown away for another.
func (c *Codec) NewKey(algorithm string) (keyset.Key, error) {
	for {
		if k, err := makeKey(algorithm); err != nil || k.ID[0] != '-' {
			return k, err
		}
	}
}

func makeKey(algorithm string) (keyset.Key, error) {
	k := keyset.Key{Purpose: keyset.Sign, Algorithm: algorithm}
	var private crypto.Signer
	var err error
	switch algorithm {
	case keyset.HS256:
		material := make([]byte, MinSecret)
		if _, err := rand.Read(material); err != nil {
			return keyset.Key{}, fmt.Errorf("make an %s key: %w", algorithm, err)
		}
		k.Secret = secret.New(string(material))
		k.ID = SymmetricKeyID(k.Secret)
		return k, nil
	case keyset.ES256:
		private, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case keyset.EdDSA:
		_, private, err = ed25519.GenerateKey(rand.Reader)
	case keyset.RS256, keyset.PS256:
		private, err = rsa.GenerateKey(rand.Reader, minRSA)
	default:
		return keyset.Key{}, fmt.Errorf("no key can be made for the algorithm %q: name one of %q", algorithm, keyset.Algorithms())
	}
	if err != nil {
		return keyset.Key{}, fmt.Errorf("make an %s key: %w", algorithm, err)
	}
	if k.Public, err = x509.MarshalPKIXPublicKey(private.Public()); err != nil {
		return keyset.Key{}, fmt.Errorf("encode the public half of an %s key: %w", algorithm, err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		return keyset.Key{}, fmt.Errorf("encode the private half of an %s key: %w", algorithm, err)
	}
	k.Secret = secret.New(string(der))
	k.ID, err = thumbprint(private.Public())
	return k, err
}

// Thumbprint is the RFC 7638 thumbprint (SHA-256, base64url) of the public half of a key pair, in PKIX DER: the key's id.
func Thumbprint(public []byte) (string, error) {
	p, err := readPublic(public)
	if err != nil {
		return "", err
	}
	return thumbprint(p)
}

// thumbprint hashes the members that RFC 7638, section 3.2 and RFC 8037, appendix A.3 require, in the order of their names. All of their values are
// base64url or fixed, so nothing needs escaping.
func thumbprint(public crypto.PublicKey) (string, error) {
	var members string
	switch p := public.(type) {
	case *ecdsa.PublicKey:
		point, err := p.Bytes() // 4, x, y, both of the length of the field
		if err != nil || p.Curve != elliptic.P256() {
			return "", errors.New("a thumbprint is made of a key on P-256, and this one is on another curve")
		}
		members = fmt.Sprintf(`{"crv":"P-256","kty":"EC","x":%q,"y":%q}`, base64url.EncodeToString(point[1:33]), base64url.EncodeToString(point[33:]))
	case ed25519.PublicKey:
		members = fmt.Sprintf(`{"crv":"Ed25519","kty":"OKP","x":%q}`, base64url.EncodeToString(p))
	case *rsa.PublicKey:
		members = fmt.Sprintf(`{"e":%q,"kty":"RSA","n":%q}`, base64url.EncodeToString(big.NewInt(int64(p.E)).Bytes()), base64url.EncodeToString(p.N.Bytes()))
	default:
		return "", fmt.Errorf("there is no thumbprint of a %T", public)
	}
	sum := sha256.Sum256([]byte(members))
	return base64url.EncodeToString(sum[:]), nil
}

func readPublic(der []byte) (crypto.PublicKey, error) {
	if len(der) == 0 || len(der) > maxDER {
		return nil, fmt.Errorf("it has a public half of %d bytes", len(der))
	}
	public, err := x509.ParsePKIXPublicKey(der)
	if err != nil {
		return nil, fmt.Errorf("its public half cannot be read (%w)", err)
	}
	return public, nil
}

// symmetric fills in a key for HS256, whose two halves are one secret.
func (k *key) symmetric() error {
	if len(k.source.Public) > 0 {
		return fmt.Errorf("signing key %q has a public half: HS256 has none, so its algorithm is another", k.id)
	}
	if n := k.source.Secret.Len(); n < MinSecret {
		return fmt.Errorf("signing key %q has a secret of %d bytes: HS256 needs at least %d", k.id, n, MinSecret)
	}
	material := []byte(k.source.Secret.RevealPlaintext())
	k.method, k.signing, k.verifying, k.size = jwt.SigningMethodHS256, material, material, sha256.Size
	return nil
}

// pair fills in a key whose halves are two. The private one may be missing.
func (k *key) pair() error {
	public, err := readPublic(k.source.Public)
	if err != nil {
		return fmt.Errorf("signing key %q is no %s key: %w", k.id, k.source.Algorithm, err)
	}
	if err := k.public(public); err != nil {
		return err
	}
	k.thumbprint, err = thumbprint(public)
	if err != nil || k.source.Secret.IsZero() {
		return err
	}
	if k.source.Secret.Len() > maxDER {
		return fmt.Errorf("signing key %q has a private half of %d bytes: that is no key", k.id, k.source.Secret.Len())
	}
	parsed, err := x509.ParsePKCS8PrivateKey([]byte(k.source.Secret.RevealPlaintext()))
	if err != nil {
		return fmt.Errorf("signing key %q has a private half that cannot be read: PKCS #8 in DER is needed", k.id) // err may quote it
	}
	private, ok := parsed.(crypto.Signer)
	if !ok || !k.verifying.(interface{ Equal(crypto.PublicKey) bool }).Equal(private.Public()) {
		return fmt.Errorf("signing key %q has a private half of another key than its public half: one of them was exchanged", k.id)
	}
	k.signing = private
	return nil
}

// factorable reports whether a modulus has the mark of keys that an Infineon chip made (CVE-2017-15361): modulo each of the least primes it is a power
// of 65537. Of other moduli one in 2^27 has it too.
func factorable(n *big.Int) bool {
	var residue big.Int
	for _, p := range [...]int64{3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41, 43, 47, 53, 59, 61, 67, 71, 73, 79, 83, 89, 97, 101, 103, 107, 109, 113, 127, 131, 137, 139, 149, 151, 157, 163, 167} {
		want := residue.Mod(n, big.NewInt(p)).Int64()
		power := int64(1)
		for power != want {
			if power = power * 65537 % p; power == 1 {
				return false
			}
		}
	}
	return true
}

// public fills in what verifies, if it is of the kind and the strength that the algorithm asks for.
func (k *key) public(public crypto.PublicKey) error {
	algorithm, fits := k.source.Algorithm, false
	switch p := public.(type) {
	case *ecdsa.PublicKey:
		fits = algorithm == keyset.ES256 && p.Curve == elliptic.P256()
		k.method, k.size = jwt.SigningMethodES256, 64
	case ed25519.PublicKey:
		fits = algorithm == keyset.EdDSA
		k.method, k.size = jwt.SigningMethodEdDSA, ed25519.SignatureSize
	case *rsa.PublicKey:
		fits = algorithm == keyset.RS256 || algorithm == keyset.PS256
		k.method, k.size = jwt.SigningMethodRS256, p.Size()
		if algorithm == keyset.PS256 {
			k.method = ps256
		}
		if n := p.N.BitLen(); fits && (n < minRSA || n > maxRSA) {
			return fmt.Errorf("signing key %q is an RSA key of %d bits: %s takes %d to %d", k.id, n, algorithm, minRSA, maxRSA)
		}
		if fits && (p.E < minExponent || p.E > math.MaxInt32 || p.E%2 == 0) {
			return fmt.Errorf("signing key %q is an RSA key with the exponent %d: %s takes odd ones from %d to %d", k.id, p.E, algorithm, minExponent, math.MaxInt32)
		}
		if fits && factorable(p.N) {
			return fmt.Errorf("signing key %q is an RSA key of a generator whose keys can be factored (ROCA, CVE-2017-15361): make another", k.id)
		}
	}
	if !fits {
		return fmt.Errorf("signing key %q is for %s, and its public half is of another kind or on another curve", k.id, algorithm)
	}
	k.verifying = public
	return nil
}
