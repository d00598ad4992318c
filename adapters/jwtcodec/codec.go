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

var _ ports.Codec = (*Codec)(nil)

// DefaultCacheBytes is what the cache of verified tokens may weigh unless Options says otherwise: 32 MiB, or some 30,000 tokens of 480 bytes.
const DefaultCacheBytes = 32 << 20

// Options are the tunables of a Codec. The zero value works.
type Options struct {
	// CacheBytes bounds the memory of the cache of verified tokens, in bytes, all that an entry costs included. Zero is DefaultCacheBytes; a
	// negative number turns the cache off.
	CacheBytes int
}

// Codec signs and verifies access tokens with the keys of one ring. It starts no goroutine and needs no closing.
type Codec struct {
	ring     atomic.Pointer[ring]
	swap     sync.Mutex // held by SetRing, which builds the new ring from the one it replaces
	cache    *cache     // nil when it is off
	scanners sync.Pool  // of *scanner
}

// New makes a Codec of a ring of signing keys. It refuses what SetRing refuses.
func New(keys keyset.Ring, o Options) (*Codec, error) {
	if o.CacheBytes == 0 {
		o.CacheBytes = DefaultCacheBytes
	}
	c := &Codec{cache: newCache(o.CacheBytes)}
	c.scanners.New = func() any { return &scanner{d: jsontext.NewDecoder(new(bytes.Buffer))} }
	if err := c.SetRing(keys); err != nil {
		return nil, err
	}
	return c, nil
}

// SetRing replaces all keys at once: a Parse or Sign that begins afterwards knows only the new ring, whatever is cached. A ring with two keys of one id,
// without exactly one primary, or with a key that is to verify and cannot (another purpose, an unknown algorithm, a secret under MinSecret bytes) is
// refused in one sentence, and the ring before it stays. Of keys that do not verify only the id is looked at, since their secret may be gone.
func (c *Codec) SetRing(keys keyset.Ring) error {
	c.swap.Lock()
	defer c.swap.Unlock()
	r, err := newRing(keys, c.ring.Load())
	if err != nil {
		return err
	}
	c.ring.Store(r)
	return nil
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
	if e := c.cache.get(text); e != nil && r.keys[e.claims.KeyID] == e.key {
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
	e := &entry{key: k}
	claimsFit, ok := s.claims(p.payload, &e.claims)
	if !ok {
		return nil, token.ErrMalformed
	}
	if !headerFits || !claimsFit {
		return nil, token.ErrInvalid
	}
	if err := k.method.Verify(p.signed, p.signature, k.verifying); err != nil {
		return nil, token.ErrInvalid
	}
	e.claims.KeyID = k.id
	return e, nil
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
