package redisstore

import (
	"encoding/binary"
	"strconv"

	"github.com/xteam/xteam/domain/instant"
	"github.com/xteam/xteam/domain/revocation"
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
	e, ok := revocation.Named([]byte(texts[0]))
	if !ok || len(b) > 0 {
		return e, errDamaged
	}
	e.Reason, e.By, e.Note = revocation.Reason(reason), texts[1], texts[2]
	e.At, e.Until = instant.Instant(numbers[0]), instant.Instant(numbers[1])
	if e.Validate() != nil { // no node wrote it, and no database would take it
		return e, errDamaged
	}
	return e, nil
}
