// Package revocation says which tokens are withdrawn, and answers it from memory.
package revocation

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/xteam/xteam/domain/id"
	"github.com/xteam/xteam/domain/instant"
	"github.com/xteam/xteam/domain/token"
)

// Kind is what an entry names. The numbers are stored: they never change meaning.
type Kind uint8

// The kinds of entry.
const (
	Token        Kind = 1 // one access token, by jti
	Session      Kind = 2 // every token of a sign-in, by sid
	User         Kind = 3 // every token of a user below a generation
	Key          Kind = 4 // every token that a key signed, by kid, for ever
	Epoch        Kind = 5 // every token of the system below an epoch; API keys are no tokens
	IssuedBefore Kind = 6 // every token with iat at or before a time
	APIKey       Kind = 7 // one API key, by its id
)

var kindNames = [...]string{Token: "jti", Session: "sid", User: "user", Key: "kid", Epoch: "epoch", IssuedBefore: "issued_before", APIKey: "api_key"}

// String is the name of the kind in feeds and logs: jti, sid, user, kid, epoch, issued_before or api_key.
func (k Kind) String() string {
	if int(k) < len(kindNames) && k > 0 {
		return kindNames[k]
	}
	return fmt.Sprintf("kind(%d)", uint8(k))
}

// Reason is why, as the bearer reads it. The numbers are stored: they never change meaning.
type Reason uint8

// The reasons of the contract.
const (
	Logout          Reason = 1
	SessionEnded    Reason = 2
	UserRevoked     Reason = 3
	PasswordChanged Reason = 4
	RoleChanged     Reason = 5
	UserDisabled    Reason = 6
	KeyRevoked      Reason = 7
	RefreshReuse    Reason = 8
	BeforeTime      Reason = 9
	EpochRaised     Reason = 10
)

var reasonNames = [...]string{Logout: "logout", SessionEnded: "session_ended", UserRevoked: "user_revoked", PasswordChanged: "password_changed",
	RoleChanged: "role_changed", UserDisabled: "user_disabled", KeyRevoked: "key_revoked", RefreshReuse: "refresh_reuse",
	BeforeTime: "issued_before", EpochRaised: "epoch"}

// String is the reason as it stands in an answer.
func (r Reason) String() string {
	if int(r) < len(reasonNames) && r > 0 {
		return reasonNames[r]
	}
	return fmt.Sprintf("reason(%d)", uint8(r))
}

// Canary is the By of entries that withdraw what nobody was handed: they prove that revocations are heard, and are no news to people.
const Canary = "canary"

// Entry withdraws tokens. It is never changed and never taken back: it ends when nothing it names can still be valid.
// Which of the fields under the kind are set depends on it; the others are zero.
type Entry struct {
	Kind Kind

	Token   id.Token         // Token
	Session id.Session       // Session
	User    id.User          // User, with Min
	Min     token.Generation // User: the least generation that is still good
	KeyID   string           // Key
	Epoch   token.Epoch      // Epoch: the least epoch that is still good
	Before  instant.Instant  // IssuedBefore: iat at or before it is withdrawn
	APIKey  id.APIKey        // APIKey

	Reason Reason
	By     string          // who asked: a user id, "operator" or "system"
	Note   string          // what they gave as a reason, in their words; may be empty
	At     instant.Instant // when it was asked for
	Until  instant.Instant // after it, nothing that the entry names can still be valid; Forever for Key and Epoch
}

// ErrInvalid says that an entry names nothing, or too much.
var ErrInvalid = errors.New("the revocation is invalid")

// MaxKeyID is the longest kid, in bytes.
const MaxKeyID = 128

// MaxNumber is the greatest generation and epoch of an entry: whoever raises it by one, or by a time in microseconds, does not come round to what is below.
const MaxNumber = 1 << 62

// Validate answers ErrInvalid, wrapped with what is wrong, unless e names exactly what its kind says.
func (e *Entry) Validate() error {
	bad := func(what string) error { return fmt.Errorf("%w: %s", ErrInvalid, what) }
	ok, rest := false, *e // rest is what the kind does not name
	switch e.Kind {
	case Token:
		ok, rest.Token = !e.Token.IsZero(), id.Token{}
	case Session:
		ok, rest.Session = !e.Session.IsZero(), id.Session{}
	case User:
		ok, rest.User, rest.Min = !e.User.IsZero() && e.Min > 0 && e.Min <= MaxNumber, id.User{}, 0
	case Key:
		ok, rest.KeyID = e.KeyID != "" && len(e.KeyID) <= MaxKeyID && e.Until == instant.Forever, ""
	case Epoch:
		ok, rest.Epoch = e.Epoch > 0 && e.Epoch <= MaxNumber && e.Until == instant.Forever, 0
	case IssuedBefore:
		ok, rest.Before = e.Before > 0 && e.Before <= e.At, 0
	case APIKey:
		ok, rest.APIKey = !e.APIKey.IsZero(), id.APIKey{}
	}
	switch {
	case !ok:
		return bad("a " + e.Kind.String() + " entry lacks what it names, or ends too early")
	case !rest.Token.IsZero() || !rest.Session.IsZero() || !rest.User.IsZero() || rest.Min != 0 || rest.KeyID != "" || rest.Epoch != 0 || rest.Before != 0 || !rest.APIKey.IsZero():
		return bad("a " + e.Kind.String() + " entry names something of another kind beside its own")
	case e.Reason < Logout || e.Reason > EpochRaised:
		return bad("no reason")
	case e.At <= 0 || e.Until <= e.At:
		return bad("its time is not set")
	case len(e.By) > 64 || len(e.Note) > 500:
		return bad("who asked, or their words, are too long")
	}
	return nil
}

// Key is the identity of e: two entries with one key withdraw the same tokens. It is also how stores name them.
// The first byte is the kind; the rest is the id (16 bytes; for User followed by Min, 8 bytes big-endian), the kid, or the
// number (8 bytes, big-endian).
func (e *Entry) Key() string {
	switch e.Kind {
	case Token:
		return string(append([]byte{byte(e.Kind)}, e.Token[:]...))
	case Session:
		return string(append([]byte{byte(e.Kind)}, e.Session[:]...))
	case User:
		return string(be(append([]byte{byte(e.Kind)}, e.User[:]...), uint64(e.Min)))
	case Key:
		return string(append([]byte{byte(e.Kind)}, e.KeyID...))
	case Epoch:
		return string(be([]byte{byte(e.Kind)}, uint64(e.Epoch)))
	case IssuedBefore:
		return string(be([]byte{byte(e.Kind)}, uint64(e.Before)))
	case APIKey:
		return string(append([]byte{byte(e.Kind)}, e.APIKey[:]...))
	}
	return ""
}

// Named is the entry that a key names, the reverse of Entry.Key: of its other fields it tells nothing. It is false for what is no key.
func Named(key []byte) (e Entry, ok bool) {
	if len(key) == 0 {
		return e, false
	}
	kind, rest := Kind(key[0]), key[1:]
	e.Kind = kind
	switch {
	case kind == Token && len(rest) == len(e.Token):
		copy(e.Token[:], rest)
	case kind == Session && len(rest) == len(e.Session):
		copy(e.Session[:], rest)
	case kind == User && len(rest) == len(e.User)+8:
		e.Min = token.Generation(binary.BigEndian.Uint64(rest[copy(e.User[:], rest):]))
	case kind == Key && len(rest) > 0 && len(rest) <= MaxKeyID:
		e.KeyID = string(rest)
	case kind == Epoch && len(rest) == 8:
		e.Epoch = token.Epoch(binary.BigEndian.Uint64(rest))
	case kind == IssuedBefore && len(rest) == 8:
		e.Before = instant.Instant(binary.BigEndian.Uint64(rest))
	case kind == APIKey && len(rest) == len(e.APIKey):
		copy(e.APIKey[:], rest)
	default:
		return e, false
	}
	return e, true
}

func be(b []byte, v uint64) []byte {
	return append(b, byte(v>>56), byte(v>>48), byte(v>>40), byte(v>>32), byte(v>>24), byte(v>>16), byte(v>>8), byte(v))
}

// Verdict is why a token is withdrawn.
type Verdict struct {
	Kind   Kind
	Reason Reason
	At     instant.Instant // when the earliest revocation that names the token was asked for
}

// RevokedError refuses a token that is withdrawn, or an API key, whose Kind is APIKey whatever withdrew it. Only the bearer of a well-signed token, or of the
// very key, is told.
type RevokedError struct{ Verdict }

func (e *RevokedError) Error() string {
	if e.Kind == APIKey {
		return "the API key is revoked: " + e.Reason.String()
	}
	return "the access token is revoked: " + e.Reason.String()
}

// ErrStale refuses every token while the view of the revocations is too old to be trusted: closed, never open.
var ErrStale = errors.New("the view of the revocations is too old to be trusted")
