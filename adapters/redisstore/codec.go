package redisstore

import (
	"encoding/binary"
	"strconv"

	"github.com/xteam/xteam/domain/instant"
	"github.com/xteam/xteam/domain/revocation"
	"github.com/xteam/xteam/domain/token"
)

// encoding is the first byte of an entry's value.
const encoding = 1

var (
	errNewer   error = &fault{text: "Redis: an entry was written by a newer version of the program: start that one"}
	errDamaged error = &fault{text: "Redis: an entry is damaged: something else writes under this namespace"}
)

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

// encode writes an entry whole: entry key, by and note with their lengths, then the numbers.
func encode(e *revocation.Entry) string {
	b := []byte{encoding, byte(e.Reason)}
	for _, text := range []string{e.Key(), e.By, e.Note} {
		b = binary.AppendUvarint(b, uint64(len(text)))
		b = append(b, text...)
	}
	b = binary.AppendVarint(b, int64(e.At))
	b = binary.AppendVarint(b, int64(e.Until))
	return string(b)
}

// decode is the reverse.
func decode(value string) (e revocation.Entry, err error) {
	b := []byte(value)
	switch {
	case len(b) < 2:
		return e, errDamaged
	case b[0] != encoding:
		return e, errNewer
	}
	reason, b := b[1], b[2:]
	var texts [3]string
	for i := range texts {
		size, n := binary.Uvarint(b)
		if n <= 0 || size > uint64(len(b)-n) {
			return e, errDamaged
		}
		texts[i], b = string(b[n:n+int(size)]), b[n+int(size):]
	}
	var numbers [2]int64
	for i := range numbers {
		v, n := binary.Varint(b)
		if n <= 0 {
			return e, errDamaged
		}
		numbers[i], b = v, b[n:]
	}
	e, ok := named(texts[0])
	if !ok || len(b) > 0 {
		return e, errDamaged
	}
	e.Reason, e.By, e.Note = revocation.Reason(reason), texts[1], texts[2]
	e.At, e.Until = instant.Instant(numbers[0]), instant.Instant(numbers[1])
	return e, nil
}

// named is the reverse of revocation.Entry.Key.
func named(key string) (e revocation.Entry, ok bool) {
	if key == "" {
		return e, false
	}
	rest := []byte(key[1:])
	e.Kind = revocation.Kind(key[0])
	switch {
	case e.Kind == revocation.Token && len(rest) == len(e.Token):
		copy(e.Token[:], rest)
	case e.Kind == revocation.Session && len(rest) == len(e.Session):
		copy(e.Session[:], rest)
	case e.Kind == revocation.User && len(rest) == len(e.User)+8:
		e.Min = token.Generation(binary.BigEndian.Uint64(rest[copy(e.User[:], rest):]))
	case e.Kind == revocation.Key && len(rest) > 0:
		e.KeyID = string(rest)
	case e.Kind == revocation.Epoch && len(rest) == 8:
		e.Epoch = token.Epoch(binary.BigEndian.Uint64(rest))
	case e.Kind == revocation.IssuedBefore && len(rest) == 8:
		e.Before = instant.Instant(binary.BigEndian.Uint64(rest))
	case e.Kind == revocation.APIKey && len(rest) == len(e.APIKey):
		copy(e.APIKey[:], rest)
	default:
		return e, false
	}
	return e, true
}
