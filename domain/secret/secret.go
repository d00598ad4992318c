// Package secret holds texts that must never be printed: whatever way one is formatted, logged or encoded, it says [redacted].
package secret

import (
	"crypto/subtle"
	"fmt"
	"io"
	"log/slog"
)

// Redacted stands wherever a secret would have been written.
const Redacted = "[redacted]"

// Text is a password, a token or a key on its way through the program. The zero value is the empty secret.
type Text struct{ plaintext string }

// New takes a secret into keeping.
func New(plaintext string) Text { return Text{plaintext} }

// RevealPlaintext is the secret itself. Whoever calls it answers for where it goes.
func (t Text) RevealPlaintext() string { return t.plaintext }

// IsZero reports whether the secret is empty.
func (t Text) IsZero() bool { return t.plaintext == "" }

// Len is the length in bytes.
func (t Text) Len() int { return len(t.plaintext) }

// Equal compares in a time that depends on the lengths only.
func (t Text) Equal(o Text) bool {
	return subtle.ConstantTimeCompare([]byte(t.plaintext), []byte(o.plaintext)) == 1
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
