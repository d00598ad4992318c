package jwtcodec

import (
	"encoding/base64"
	"strings"
)

// base64url refuses padding and loose trailing bits (RFC 7515, section 2; RFC 4648, section 3.5). It would skip CR and LF: split refuses them.
var base64url = base64.RawURLEncoding.Strict()

// parts is a token in the compact form (RFC 7515, section 7.1), taken apart and decoded.
type parts struct {
	signed                     string // what the signature covers: header and payload, encoded
	encodedHeader              string
	header, payload, signature []byte
}

// split takes a token apart. It costs one allocation of three quarters of the token's size, and none unless there are exactly three parts, none of them
// empty: a text of dots is not split at each of them (CVE-2025-30204), and a JWE has five parts.
func split(text string) (parts, bool) {
	var p parts
	first, last := strings.IndexByte(text, '.'), strings.LastIndexByte(text, '.')
	if first < 1 || last < first+2 || last == len(text)-1 || strings.IndexByte(text[first+1:last], '.') >= 0 {
		return p, false
	}
	if strings.IndexByte(text, '\r') >= 0 || strings.IndexByte(text, '\n') >= 0 {
		return p, false
	}
	p.signed, p.encodedHeader = text[:last], text[:first]
	buf := make([]byte, 0, base64url.DecodedLen(len(text)))
	decode := func(part string) []byte {
		start := len(buf)
		var err error
		if buf, err = base64url.AppendDecode(buf, []byte(part)); err != nil {
			return nil
		}
		return buf[start:len(buf):len(buf)]
	}
	if p.header = decode(text[:first]); p.header == nil {
		return p, false
	}
	if p.payload = decode(text[first+1 : last]); p.payload == nil {
		return p, false
	}
	p.signature = decode(text[last+1:])
	return p, p.signature != nil
}
