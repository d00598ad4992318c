package jwtcodec

import "github.com/xteam/xteam/domain/keyset"

// VerifyCompact holds a text against one key as Parse does, but for what makes it an access token: its typ, its kid and its claims.
func VerifyCompact(k keyset.Key, text string) bool {
	held, err := new(ring).newKey(k, true)
	if err != nil {
		return false
	}
	p, ok := split(text)
	if !ok {
		return false
	}
	s := New(Options{CacheBytes: -1}).scanners.Get().(*scanner)
	h, ok := s.header(p.header)
	return ok && h.fits(held.verifier) && held.verify(p)
}
