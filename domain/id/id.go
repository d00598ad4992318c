// Package id holds the identifiers of the product: 128 random bits each, with a type for what they name.
// Their text, 32 lower-case hexadecimal digits, exists at the edge only.
package id

import (
	"encoding/hex"
	"errors"
	"io"
)

// ErrInvalid says that a text is not an identifier.
var ErrInvalid = errors.New("not an id: an id is 32 lower-case hexadecimal digits")

// Of is an identifier of a K. The zero value names nothing.
type Of[K any] [16]byte

type (
	user    struct{}
	session struct{}
	token   struct{}
	event   struct{}
	apiKey  struct{}
	node    struct{}
	file    struct{}
)

// What an identifier can name.
type (
	// User names an account: the claim sub.
	User = Of[user]
	// Session names a sign-in: the claim sid.
	Session = Of[session]
	// Token names one access token: the claim jti.
	Token = Of[token]
	// Event names a security event.
	Event = Of[event]
	// APIKey names an API key; it stands in the key's own text.
	APIKey = Of[apiKey]
	// Node names one process of the server, from its start to its end.
	Node = Of[node]
	// File names what somebody uploaded.
	File = Of[file]
)

// ErrNotRandom says that a source gave nothing but zeroes, which a working one does once in 2^128 times.
var ErrNotRandom = errors.New("the source of randomness gives zeroes: mend it, nothing is issued from it")

// New draws an identifier from random, as in id.New[id.User](r). A source that fails or ends early yields its error and no identifier;
// one that gives zeroes, ErrNotRandom.
func New[T ~[16]byte](random io.Reader) (T, error) {
	var v, zero T
	if _, err := io.ReadFull(random, v[:]); err != nil {
		return zero, err
	}
	if v == zero {
		return zero, ErrNotRandom
	}
	return v, nil
}

// Parse reads the text form, as in id.Parse[id.User](s), strictly: another length, upper case or the zero id is ErrInvalid.
func Parse[T ~[16]byte](s string) (T, error) {
	var v, zero T
	if len(s) != 2*len(v) {
		return zero, ErrInvalid
	}
	var all byte
	for i := range v {
		high, low := digits[s[2*i]], digits[s[2*i+1]]
		all |= high | low
		v[i] = high<<4 | low
	}
	if all >= 16 || v == zero {
		return zero, ErrInvalid
	}
	return v, nil
}

// Looks reports whether s has the form of an identifier, whatever its kind.
func Looks(s string) bool {
	if len(s) != 32 {
		return false
	}
	var all byte
	for i := range len(s) {
		all |= digits[s[i]]
	}
	return all < 16
}

// digits are the values of hexadecimal digits; of other bytes, more than those. A table costs a third of comparisons, of which random digits have half guessed wrong.
var digits = func() (d [256]byte) {
	for i := range d {
		d[i] = 0xff
	}
	for i, c := range "0123456789abcdef" {
		d[c] = byte(i)
	}
	return d
}()

// IsZero reports whether v names nothing.
func (v Of[K]) IsZero() bool { return v == Of[K]{} }

// String is the text form.
func (v Of[K]) String() string { return hex.EncodeToString(v[:]) }

// MarshalText is the text form.
func (v Of[K]) MarshalText() ([]byte, error) { return hex.AppendEncode(nil, v[:]), nil }

// UnmarshalText is Parse.
func (v *Of[K]) UnmarshalText(b []byte) error {
	p, err := Parse[Of[K]](string(b))
	if err == nil {
		*v = p
	}
	return err
}
