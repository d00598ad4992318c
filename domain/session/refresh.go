package session

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/crc32"
	"strings"

	"github.com/xteam/xteam/domain/id"
	"github.com/xteam/xteam/domain/revocation"
	"github.com/xteam/xteam/domain/secret"
)

// Why a refresh token is refused. None of these ends anything.
var (
	// ErrMalformed says that a text is not a refresh token.
	ErrMalformed = errors.New("the refresh token is malformed")
	// ErrInvalid says that no session of ours has that token.
	ErrInvalid = errors.New("the refresh token is invalid")
	// ErrExpired says that the token, or its session, has reached its time.
	ErrExpired = errors.New("the refresh token has expired")
)

// EndedError refuses a refresh token whose session has ended.
type EndedError struct{ Reason revocation.Reason }

func (e *EndedError) Error() string { return "the session has ended: " + e.Reason.String() }

// RefreshPrefix begins every refresh token, so that scanners recognise a leaked one.
const RefreshPrefix = "xtr_"

// RefreshSize is the length of a refresh token's text, in bytes.
const RefreshSize = len(RefreshPrefix) + 120 + 8

// RefreshToken is one link of a session's refresh chain. Its text is RefreshPrefix, then 90 bytes in unpadded base64url (key id 2,
// session 16, counter 8, secret 32, MAC 32; numbers big-endian), then the CRC-32 (IEEE) of all that as 8 hexadecimal digits, by which a scanner tells a
// token from a look-alike. The MAC, under a data key of the server, lets an earlier token prove itself without being kept.
type RefreshToken struct {
	Key     uint16 // the data key under which MAC was made
	Session id.Session
	Counter uint64 // 1 for the first of a session; each refresh adds one
	Secret  [32]byte
	MAC     [32]byte
}

// ParseRefresh reads the text form. It checks the form and the checksum, not the MAC.
func ParseRefresh(s string) (RefreshToken, error) {
	var t RefreshToken
	if len(s) != RefreshSize || !strings.HasPrefix(s, RefreshPrefix) {
		return t, ErrMalformed
	}
	body, sum := s[:RefreshSize-8], s[RefreshSize-8:]
	if sum != checksum(body) {
		return t, ErrMalformed
	}
	raw, err := base64.RawURLEncoding.Strict().DecodeString(body[len(RefreshPrefix):])
	if err != nil || len(raw) != 90 {
		return t, ErrMalformed
	}
	t.Key = binary.BigEndian.Uint16(raw)
	copy(t.Session[:], raw[2:])
	t.Counter = binary.BigEndian.Uint64(raw[18:])
	copy(t.Secret[:], raw[26:])
	copy(t.MAC[:], raw[58:])
	if t.Session.IsZero() || t.Counter == 0 {
		return RefreshToken{}, ErrMalformed
	}
	return t, nil
}

// Text is the text form, which is a secret.
func (t RefreshToken) Text() secret.Text {
	raw := append(t.Signed(), t.MAC[:]...)
	body := RefreshPrefix + base64.RawURLEncoding.EncodeToString(raw)
	return secret.New(body + checksum(body))
}

// Signed is what the MAC covers: everything before it.
func (t RefreshToken) Signed() []byte {
	raw := make([]byte, 0, 90)
	raw = binary.BigEndian.AppendUint16(raw, t.Key)
	raw = append(raw, t.Session[:]...)
	raw = binary.BigEndian.AppendUint64(raw, t.Counter)
	return append(raw, t.Secret[:]...)
}

// Hash is what is stored of the live token.
func (t RefreshToken) Hash() [32]byte { return sha256.Sum256(t.Signed()) }

// String is [redacted].
func (t RefreshToken) String() string { return secret.Redacted }

// GoString is [redacted].
func (t RefreshToken) GoString() string { return secret.Redacted }

// Format writes [redacted] for every verb.
func (t RefreshToken) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(secret.Redacted)) }

// MarshalText is [redacted]; it also serves encoding/json and log/slog.
func (t RefreshToken) MarshalText() ([]byte, error) { return []byte(secret.Redacted), nil }

func checksum(body string) string {
	var sum [4]byte
	binary.BigEndian.PutUint32(sum[:], crc32.ChecksumIEEE([]byte(body)))
	return hex.EncodeToString(sum[:])
}
