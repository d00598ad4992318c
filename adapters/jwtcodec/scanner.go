package jwtcodec

import (
	"bytes"
	"errors"
	"io"
	"strings"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/xteam/xteam/domain/id"
	"github.com/xteam/xteam/domain/instant"
	"github.com/xteam/xteam/domain/token"
)

// Bounds of a JSON object in a token, all levels of it together. They keep the memory small that somebody without a key can make us spend:
// up to maxMembers names the tokenizer looks for duplicates without building a map. Ours have 13 members and depth 2.
const (
	maxMembers = 64
	maxDepth   = 8
	maxList    = 128 // strings in aud or roles
)

// maxSeconds is the last second of the year 9999, the largest NumericDate that is taken.
const maxSeconds = 253402300799

// scanner reads one JSON object strictly: valid UTF-8, no duplicate members at any level (RFC 8725, section 3.7), nothing after it. Its answers come
// as a pair: ok tells the form, fits the meaning. It is reused, and keeps nothing of what it read but a buffer until it is reset.
type scanner struct {
	d       *jsontext.Decoder
	input   bytes.Buffer
	members int
}

// header is what matters in a token's header (RFC 7515, section 4.1).
type header struct {
	typ, alg, kid string
	foreign       bool // it has a member that we never take, or one of these three is not a string
}

// isAccessToken reports whether typ is the one of RFC 9068, section 2.1: a media type, in any case, whose "application/" may be left out.
func (h header) isAccessToken() bool {
	return strings.EqualFold(h.typ, token.Type) || strings.EqualFold(h.typ, "application/"+token.Type)
}

// fits reports whether a token with this header, whatever its kind, may be held against that key: it names the key's algorithm and asks for nothing
// else.
func (h header) fits(v *verifier) bool { return !h.foreign && h.alg == v.method.Alg() }

// header reads a header. Members that must not be ignored, or that would have us fetch or believe a foreign key, make it foreign; others are ignored.
func (s *scanner) header(text []byte) (h header, ok bool) {
	ok = s.object(text, func(name []byte) bool {
		var fits bool
		switch string(name) {
		case "typ":
			h.typ, fits, ok = s.text()
		case "alg":
			h.alg, fits, ok = s.text()
		case "kid":
			h.kid, fits, ok = s.text()
		case "crit", "b64", "jwk", "jku", "x5u", "x5c", "x5t", "x5t#S256", "zip", "enc":
			fits, ok = false, s.skip()
		default:
			fits, ok = true, s.skip()
		}
		h.foreign = h.foreign || !fits
		return ok
	})
	return h, ok
}

// required is the number of claims that claims knows, all of which a token must have.
const required = 13

// claims reads a payload into c, all but the key's id. Claims that it does not know are ignored.
func (s *scanner) claims(payload []byte, c *token.Claims) (fits, ok bool) {
	found := 0
	fits = true
	ok = s.object(payload, func(name []byte) bool {
		var good, ok bool
		found++
		switch string(name) {
		case "iss":
			c.Issuer, good, ok = s.text()
		case "sub":
			good, ok = readID(s, &c.Subject)
		case "aud":
			c.Audience, good, ok = s.texts(true)
		case "exp":
			c.ExpiresAt, good, ok = s.date()
		case "nbf":
			c.NotBefore, good, ok = s.date()
		case "iat":
			c.IssuedAt, good, ok = s.date()
		case "jti":
			good, ok = readID(s, &c.ID)
		case "sid":
			good, ok = readID(s, &c.Session)
		case "client_id":
			c.ClientID, good, ok = s.text()
		case "scope":
			c.Scope, good, ok = s.text()
		case "roles":
			c.Roles, good, ok = s.texts(false)
		case "gen":
			var n int64
			n, good, ok = s.whole()
			c.Generation = token.Generation(n)
		case "ep":
			var n int64
			n, good, ok = s.whole()
			c.Epoch = token.Epoch(n)
		default:
			found--
			good, ok = true, s.skip()
		}
		fits = fits && good
		return ok
	})
	return fits && found == required, ok
}

// object reads a text that is one object and nothing else. member is called with each name, unquoted, and must read the value.
func (s *scanner) object(text []byte, member func(name []byte) bool) bool {
	s.input = *bytes.NewBuffer(text)
	s.d.Reset(&s.input)
	s.members = 0
	if t, err := s.d.ReadToken(); err != nil || t.Kind() != '{' {
		return false
	}
	for s.d.PeekKind() == '"' {
		name, ok := s.name()
		if !ok || !member(name) {
			return false
		}
	}
	if _, err := s.d.ReadToken(); err != nil {
		return false
	}
	_, err := s.d.ReadToken()
	return errors.Is(err, io.EOF)
}

// name reads a member's name, which is good until the next read.
func (s *scanner) name() ([]byte, bool) {
	if s.members++; s.members > maxMembers {
		return nil, false
	}
	v, err := s.d.ReadValue()
	if err != nil {
		return nil, false
	}
	return unquote(v), true
}

// text reads a string.
func (s *scanner) text() (value string, fits, ok bool) {
	if s.d.PeekKind() != '"' {
		return "", false, s.skip()
	}
	v, err := s.d.ReadValue()
	if err != nil {
		return "", false, false
	}
	return string(unquote(v)), true, true
}

// texts reads an array of strings, or also a single string when orOne is set (RFC 7519, section 4.1.3). An empty array is nil.
func (s *scanner) texts(orOne bool) (list []string, fits, ok bool) {
	switch kind := s.d.PeekKind(); {
	case kind == '"' && orOne:
		one, fits, ok := s.text()
		return []string{one}, fits, ok
	case kind != '[':
		return nil, false, s.skip()
	}
	if _, err := s.d.ReadToken(); err != nil {
		return nil, false, false
	}
	fits = true
	for kind := s.d.PeekKind(); kind != ']'; kind = s.d.PeekKind() {
		one, good, ok := s.text()
		if !ok {
			return nil, false, false
		}
		if fits = fits && good && len(list) < maxList; fits {
			list = append(list, one)
		}
	}
	_, err := s.d.ReadToken()
	return list, fits, err == nil
}

// whole reads a whole number from 0 to the largest int64, written in digits alone: no sign, fraction or exponent, so that nobody's arithmetic rounds it.
func (s *scanner) whole() (n int64, fits, ok bool) {
	if s.d.PeekKind() != '0' {
		return 0, false, s.skip()
	}
	v, err := s.d.ReadValue()
	if err != nil {
		return 0, false, false
	}
	if len(v) > 19 {
		return 0, false, true
	}
	var u uint64 // 19 digits fit
	for _, c := range v {
		if c < '0' || c > '9' {
			return 0, false, true
		}
		u = u*10 + uint64(c-'0')
	}
	return int64(u), int64(u) >= 0, true
}

// date reads a NumericDate (RFC 7519, section 2) of whole seconds up to the year 9999.
func (s *scanner) date() (at instant.Instant, fits, ok bool) {
	n, fits, ok := s.whole()
	if n > maxSeconds {
		return 0, false, ok
	}
	return instant.Unix(n), fits, ok
}

// readID reads an identifier.
func readID[T ~[16]byte](s *scanner, into *T) (fits, ok bool) {
	if s.d.PeekKind() != '"' {
		return false, s.skip()
	}
	v, err := s.d.ReadValue()
	if err != nil {
		return false, false
	}
	*into, err = id.Parse[T](string(unquote(v)))
	return err == nil, true
}

// skip reads a value of any kind, token by token, so that the bounds hold for it too.
func (s *scanner) skip() bool {
	start := s.d.StackDepth()
	for {
		depth := s.d.StackDepth()
		if depth > start && s.d.PeekKind() == '"' {
			if kind, n := s.d.StackIndex(depth); kind == '{' && n%2 == 0 {
				s.members++
			}
		}
		if _, err := s.d.ReadToken(); err != nil || s.members > maxMembers || s.d.StackDepth() > maxDepth {
			return false
		}
		if s.d.StackDepth() == start {
			return true
		}
	}
}

// unquote answers what a JSON string that the tokenizer has accepted means, without copying when it has no escapes.
func unquote(v jsontext.Value) []byte {
	if bytes.IndexByte(v, '\\') < 0 {
		return v[1 : len(v)-1]
	}
	b, _ := jsontext.AppendUnquote(nil, v) // the tokenizer has accepted it
	return b
}
