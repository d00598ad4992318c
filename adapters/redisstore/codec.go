package redisstore

import (
	"crypto/hmac"
	"encoding/binary"
	"strconv"
	"strings"

	"github.com/xteam/xteam/domain/id"
	"github.com/xteam/xteam/domain/instant"
	"github.com/xteam/xteam/domain/revocation"
	"github.com/xteam/xteam/domain/token"
)

// The first byte of an entry's value.
const (
	plain  = 1  // without a MAC, as earlier versions wrote it
	sealed = 2  // with the number of a key and the MAC under it at the end
	later  = 32 // below it a later version's; no version writes such, or a higher one
)

// macSize is how much of the MAC is kept, and sealSize what a sealed value has at its end.
const (
	macSize  = 16
	sealSize = 2 + macSize
)

// reading is what became of reading a value.
type reading int

const (
	believed reading = iota
	foreign          // a later version of the program wrote it, or a node with a key that is not held here: it is left alone
	unsealed         // an earlier version wrote it, without a MAC; or whoever can write to Redis
	damaged          // no version wrote it
)

var errDamaged error = &fault{text: "Redis: what it answers is no answer: something else writes under this namespace"}

// name is what follows the prefix in the key under which an entry lies.
func name(e *revocation.Entry) string {
	switch e.Kind {
	case revocation.Token:
		return "jti:" + e.Token.String()
	case revocation.Session:
		return "sid:" + e.Session.String()
	case revocation.User:
		return "user:" + e.User.String() + ":" + decimal(e.Min)
	case revocation.Key:
		return "kid:" + e.KeyID
	case revocation.Epoch:
		return "rise:" + decimal(e.Epoch)
	case revocation.IssuedBefore:
		return "past:" + decimal(e.Before)
	default:
		return "api_key:" + e.APIKey.String()
	}
}

// rises is the key, after the prefix, of the number that an entry raises, and the number; or two empty texts.
func rises(e *revocation.Entry) (name, to string) {
	switch e.Kind {
	case revocation.User:
		return "gen:" + e.User.String(), decimal(e.Min)
	case revocation.Epoch:
		return "raised", decimal(e.Epoch)
	case revocation.IssuedBefore:
		return "before", decimal(e.Before)
	}
	return "", ""
}

func decimal[T ~int64](v T) string { return strconv.FormatInt(int64(v), 10) }

// keyOf is Entry.Key of the entry that lies under a name; empty for what no entry of this version lies under.
func keyOf(under string) string {
	kind, rest, _ := strings.Cut(under, ":")
	var e revocation.Entry
	var err error
	switch kind {
	case "jti":
		e.Kind = revocation.Token
		e.Token, err = id.Parse[id.Token](rest)
	case "sid":
		e.Kind = revocation.Session
		e.Session, err = id.Parse[id.Session](rest)
	case "user":
		user, least, _ := strings.Cut(rest, ":")
		e.Kind = revocation.User
		e.User, err = id.Parse[id.User](user)
		e.Min = token.Generation(whole(least))
	case "kid":
		e.Kind, e.KeyID = revocation.Key, rest
	case "rise":
		e.Kind, e.Epoch = revocation.Epoch, token.Epoch(whole(rest))
	case "past":
		e.Kind, e.Before = revocation.IssuedBefore, instant.Instant(whole(rest))
	case "api_key":
		e.Kind = revocation.APIKey
		e.APIKey, err = id.Parse[id.APIKey](rest)
	}
	if err != nil || e.Kind == 0 || name(&e) != under {
		return ""
	}
	return e.Key()
}

func whole(text string) int64 {
	n, _ := strconv.ParseInt(text, 10, 64) // what is none is not named so
	return n
}

// write is an entry's value: sealed, if there are keys.
func (r Revocations) write(e *revocation.Entry) string {
	if r.macs == nil {
		return encode(plain, e)
	}
	return r.seal(encode(sealed, e), r.macs.Current())
}

func (r Revocations) seal(value string, key uint16) string {
	b := binary.BigEndian.AppendUint16([]byte(value), key)
	mac, _ := r.mac(key, string(b))
	return string(append(b, mac[:macSize]...))
}

// mac is of a value up to where it stands, and of the namespace.
func (r Revocations) mac(key uint16, value string) ([32]byte, bool) {
	prefix := r.s.keys.prefix
	return r.macs.MAC(key, append(append(make([]byte, 0, len("revocations/")+len(prefix)+len(value)), "revocations/"+prefix...), value...))
}

// read makes of a value what it is. It lies under that name; empty: that is not known. Without keys a MAC is not looked at.
func (r Revocations) read(under, value string) (e revocation.Entry, is reading) {
	if len(value) < 2 || value[0] == 0 || value[0] >= later {
		return e, damaged
	}
	is = believed
	switch value[0] {
	case plain:
		if r.macs != nil {
			is = unsealed
		}
	case sealed:
		if len(value) < 2+sealSize {
			return e, damaged
		}
		body := len(value) - macSize
		if r.macs != nil {
			mac, held := r.mac(binary.BigEndian.Uint16([]byte(value[body-2:])), value[:body])
			if held && !hmac.Equal(mac[:macSize], []byte(value[body:])) {
				return e, damaged
			}
			if !held {
				is = foreign
			}
		}
		value = value[:body-2]
	default:
		return e, foreign
	}
	e, form, ok := decode(value)
	switch {
	case !form:
		return e, damaged
	case !ok && value[0] == sealed && r.macs != nil: // a node wrote it all the same
		return e, foreign
	case !ok || under != "" && name(&e) != under:
		return e, damaged
	}
	return e, is
}

// encode writes an entry whole behind the first byte: reason, then key, by and note with their lengths, then the numbers.
func encode(version byte, e *revocation.Entry) string {
	b := []byte{version, byte(e.Reason)}
	for _, text := range []string{e.Key(), e.By, e.Note} {
		b = binary.AppendUvarint(b, uint64(len(text)))
		b = append(b, text...)
	}
	b = binary.AppendVarint(b, int64(e.At))
	b = binary.AppendVarint(b, int64(e.Until))
	return string(b)
}

// decode is the reverse, whatever the first byte. Form says that the value has the parts of an entry, ok that this version knows such a one.
func decode(value string) (e revocation.Entry, form, ok bool) {
	b := []byte(value)
	if len(b) < 2 {
		return e, false, false
	}
	reason, b := b[1], b[2:]
	var texts [3]string
	for i := range texts {
		size, n := binary.Uvarint(b)
		if n <= 0 || size > uint64(len(b)-n) {
			return e, false, false
		}
		texts[i], b = string(b[n:n+int(size)]), b[n+int(size):]
	}
	var numbers [2]int64
	for i := range numbers {
		v, n := binary.Varint(b)
		if n <= 0 {
			return e, false, false
		}
		numbers[i], b = v, b[n:]
	}
	if len(b) > 0 {
		return e, false, false
	}
	if e, ok = revocation.Named([]byte(texts[0])); !ok {
		return e, true, false
	}
	e.Reason, e.By, e.Note = revocation.Reason(reason), texts[1], texts[2]
	e.At, e.Until = instant.Instant(numbers[0]), instant.Instant(numbers[1])
	return e, true, e.Validate() == nil // else no node wrote it, and no database would take it
}
