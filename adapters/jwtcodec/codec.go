// Package jwtcodec writes and reads access tokens: JWTs in the compact form (RFC 7519, RFC 9068), signed and verified by golang-jwt. It is
// the only home of that library.
//
// Only golang-jwt's signing methods are used, not its Parser. The Parser decodes base64 laxly (it takes CR and LF inside a part, and loose trailing
// bits), takes the last of duplicate members, never looks at crit, reads NumericDate through a float, and asks for the key before it has decoded the
// signature. What Parse of this package does instead is decide the whole form of a token first, then what its header asks for, and only then
// does it spend cryptography; so none of those questions arises behind the signature either.
//
// A token that was verified once is kept in a bounded cache under its whole text, because a guarded request verifies the same token again and
// again. A hit is good only while the ring still holds the very key that verified it.
package jwtcodec

import (
	"bytes"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/xteam/xteam/domain/keyset"
	"github.com/xteam/xteam/domain/token"
	"github.com/xteam/xteam/ports"
)

var (
	_ ports.Codec       = (*Codec)(nil)
	_ ports.SigningKeys = (*Codec)(nil)
)

// DefaultCacheBytes is what the cache of verified tokens may weigh unless Options says otherwise: 32 MiB, or some 30,000 tokens of 480 bytes.
const DefaultCacheBytes = 32 << 20

// Options are the tunables of a Codec. The zero value works.
type Options struct {
	// CacheBytes bounds the memory of the cache of verified tokens, in bytes, all that an entry costs included. Zero is DefaultCacheBytes; a
	// negative number turns the cache off.
	CacheBytes int

	// VerifyOnly makes a Codec of keys that are not ours, say another issuer's: no key signs, whatever its state, so a ring needs no primary, and the id of
	// a key pair is whatever its issuer calls it.
	VerifyOnly bool
}

// Codec signs and verifies access tokens with the keys of one ring. It starts no goroutine and needs no closing.
type Codec struct {
	ring       atomic.Pointer[ring]
	swap       sync.Mutex // held by SetRing, which builds the new ring from the one it replaces
	cache      *cache     // nil when it is off
	scanners   sync.Pool  // of *scanner
	verifyOnly bool
}

// New makes a Codec without keys: until SetRing gives it some, no token is known to it, and Sign fails.
func New(o Options) *Codec {
	if o.CacheBytes == 0 {
		o.CacheBytes = DefaultCacheBytes
	}
	c := &Codec{cache: newCache(o.CacheBytes), verifyOnly: o.VerifyOnly}
	c.scanners.New = func() any { return &scanner{d: jsontext.NewDecoder(new(bytes.Buffer))} }
	c.ring.Store(&ring{})
	return c
}

// SetRing replaces all keys at once: see ports.SigningKeys. Of keys that do not verify only the id is looked at, since their secret may be gone. What
// did not change since the last ring is not read again.
func (c *Codec) SetRing(keys keyset.Ring) error {
	c.swap.Lock()
	defer c.swap.Unlock()
	r, err := newRing(keys, c.ring.Load(), c.verifyOnly)
	if err != nil {
		return err
	}
	c.ring.Store(r)
	return nil
}

// Check answers what SetRing would say of a key of another issuer: nil when a Codec with VerifyOnly can hold it.
func Check(k keyset.Key) error {
	_, err := new(ring).newKey(k, true)
	return err
}

// KeyIDs answers the ids of the keys that sign or verify now, the primary's first, the others in the order of the ring.
func (c *Codec) KeyIDs() []string { return c.ring.Load().ids }

// Parse answers what a token claims, once its signature is verified: see ports.Codec. The form of the whole token is decided before anything else, so
// that a token with a broken payload is token.ErrMalformed even under an unknown key. A token that is both badly signed and expired is
// token.ErrInvalid, for expiry is not looked at here; and no claim of a token that was not verified ever comes out.
func (c *Codec) Parse(text string) (*token.Claims, error) {
	if len(text) > token.MaxSize {
		return nil, token.ErrMalformed
	}
	r := c.ring.Load()
	if e := c.cache.get(text); e != nil && r.holds(e.by) {
		return &e.claims, nil
	}
	e, err := c.verify(r, text)
	if err != nil {
		return nil, err
	}
	if c.cache != nil {
		e.text = strings.Clone(text)
		c.cache.put(e)
	}
	return &e.claims, nil
}

// verify is Parse without the cache.
func (c *Codec) verify(r *ring, text string) (*entry, error) {
	p, ok := split(text)
	if !ok {
		return nil, token.ErrMalformed
	}
	s := c.scanners.Get().(*scanner)
	defer c.scanners.Put(s)

	k, headerFits, ok := r.signer(s, p)
	if !ok {
		return nil, token.ErrMalformed
	}
	e := &entry{}
	claimsFit, ok := s.claims(p.payload, &e.claims)
	if !ok {
		return nil, token.ErrMalformed
	}
	if !headerFits || !claimsFit {
		return nil, token.ErrInvalid
	}
	if k == nil {
		return nil, token.ErrUnknownKey
	}
	if !k.verify(p) {
		return nil, token.ErrInvalid
	}
	e.by, e.claims.KeyID = k.verifier, k.id
	return e, nil
}

// verify reports whether this key made the signature. What has another length is none of its algorithm, and costs no cryptography.
func (v *verifier) verify(p parts) bool {
	return len(p.signature) == v.size && v.method.Verify(p.signed, p.signature, v.verifying) == nil
}

// ReadUnverified answers what a token claims of itself: see ports.Codec.
func (c *Codec) ReadUnverified(text string) (token.Claims, bool) {
	if len(text) > token.MaxSize {
		return token.Claims{}, false
	}
	p, ok := split(text)
	if !ok {
		return token.Claims{}, false
	}
	s := c.scanners.Get().(*scanner)
	defer c.scanners.Put(s)
	h, ok := s.header(p.header)
	if !ok {
		return token.Claims{}, false
	}
	claims := token.Claims{KeyID: h.kid}
	if _, ok := s.claims(p.payload, &claims); !ok {
		return token.Claims{}, false
	}
	return claims, true
}
