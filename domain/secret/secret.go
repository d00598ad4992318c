// Package secret holds texts that must never be printed: whatever way one is formatted, logged or encoded, it says [redacted].
package secret

import (
	"crypto/subtle"
	"fmt"
	"io"
	"log/slog"
	"unique"
)

// Redacted stands wherever a secret would have been written.
const Redacted = "[redacted]"

// Text is a password, a token or a key on its way through the program. The zero value is the empty secret.
//
// It holds the secret behind a handle, for fmt asks no method of a value that stands in an unexported field, nor of one that it complains about
// (as of %p and %w here), and prints what it finds: a handle is printed as an address. Two texts are == exactly when their secrets are.
type Text struct{ plaintext unique.Handle[string] }

// New takes a secret into keeping.
func New(plaintext string) Text {
	if plaintext == "" {
		return Text{}
	}
	return Text{unique.Make(plaintext)}
}

// RevealPlaintext is the secret itself. Whoever calls it answers for where it goes.
func (t Text) RevealPlaintext() string {
	if t.IsZero() {
		return ""
	}
	return t.plaintext.Value()
}

// IsZero reports whether the secret is empty.
func (t Text) IsZero() bool { return t == Text{} }

// Len is the length in bytes.
func (t Text) Len() int { return len(t.RevealPlaintext()) }

// Equal compares in a time that depends on the lengths only.
func (t Text) Equal(o Text) bool {
	return subtle.ConstantTimeCompare([]byte(t.RevealPlaintext()), []byte(o.RevealPlaintext())) == 1
}

// String is [redacted].
func (t Text) String() string { return Redacted }

// GoString is [redacted].
func (t Text) GoString() string { return Redacted }

// Format writes [redacted] for every verb.
func (t Text) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, Redacted) }

// LogValue is [redacted].
func (t Text) LogValue() slog.Value { return slog.StringValue(Redacted) }

// MarshalText is [redacted]; it also serves encoding/json.
func (t Text) MarshalText() ([]byte, error) { return []byte(Redacted), nil }

// MarshalJSON is "[redacted]".
func (t Text) MarshalJSON() ([]byte, error) { return []byte(`"` + Redacted + `"`), nil }
