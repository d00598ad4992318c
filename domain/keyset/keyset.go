// Package keyset is the life of keys: which key is used now, which ones still verify, and what may follow what.
package keyset

import (
	"errors"
	"fmt"
	"slices"

	"github.com/xteam/xteam/domain/instant"
	"github.com/xteam/xteam/domain/secret"
)

// State of a key. The numbers are stored: they never change meaning.
type State uint8

// The states, in the order of a life.
const (
	Next     State = 1 // published, not yet signing
	Primary  State = 2 // signs and verifies
	Retiring State = 3 // verifies only
	Gone     State = 4 // neither
	Revoked  State = 5 // neither, for ever, and everything it signed is dead
)

// String is the state's name.
func (s State) String() string {
	names := [...]string{Next: "next", Primary: "primary", Retiring: "retiring", Gone: "gone", Revoked: "revoked"}
	if s >= Next && int(s) < len(names) {
		return names[s]
	}
	return fmt.Sprintf("state(%d)", uint8(s))
}

// Verifies reports whether tokens of a key in this state are taken.
func (s State) Verifies() bool { return s == Primary || s == Retiring || s == Next }

// follows says what may come after a state.
var follows = map[State][]State{
	Next:     {Primary, Gone, Revoked},
	Primary:  {Retiring, Revoked},
	Retiring: {Gone, Revoked},
	Gone:     {Revoked},
	Revoked:  nil,
}

// Why a change of the ring is refused.
var (
	ErrUnknown    = errors.New("there is no such key")
	ErrDuplicate  = errors.New("there is a key with this id already")
	ErrTransition = errors.New("that is no step in the life of a key")
	ErrLast       = errors.New("the only key of its purpose cannot be taken away: add another first")
)

// KeyError refuses a change of one key.
type KeyError struct {
	KeyID    string
	From, To State           // of ErrTransition
	At       instant.Instant // of ErrPending: from when the key signs, if that is known
	Err      error           // one of the above
}

func (e *KeyError) Error() string {
	text := fmt.Sprintf("key %q: %v", e.KeyID, e.Err)
	if errors.Is(e.Err, ErrTransition) {
		text = fmt.Sprintf("key %q is %v, and cannot become %v", e.KeyID, e.From, e.To)
	}
	if e.At != 0 {
		text += "; it signs from " + e.At.String()
	}
	return text
}

// Unwrap is the refusal without its key.
func (e *KeyError) Unwrap() error { return e.Err }

// Purpose is what a key is for. The texts are stored: they never change meaning.
type Purpose string

// The purposes.
const (
	Sign    Purpose = "sign"    // signs tokens
	Seal    Purpose = "seal"    // encrypts fields at rest
	Index   Purpose = "index"   // makes the digests by which sealed fields are found
	Refresh Purpose = "refresh" // authenticates refresh tokens
	Attest  Purpose = "attest"  // signs checkpoints of the audit trail
)

// The algorithms that tokens are signed with (RFC 7518, section 3.1; RFC 8037, section 3.1).
const (
	HS256 = "HS256" // HMAC with SHA-256: whoever verifies could also sign
	ES256 = "ES256" // ECDSA on P-256 with SHA-256
	EdDSA = "EdDSA" // Ed25519
	RS256 = "RS256" // RSASSA-PKCS1-v1_5 with SHA-256, 2048 bits or more
	PS256 = "PS256" // RSASSA-PSS with SHA-256, 2048 bits or more
)

// Algorithms lists them, the default first.
func Algorithms() []string { return []string{HS256, ES256, EdDSA, RS256, PS256} }

// Key is one key of a ring.
type Key struct {
	ID        string          // the kid of a signing key; of a data key, its purpose and number, as in seal-1
	Purpose   Purpose         // what it is for; it never changes
	Algorithm string          // of a signing key one of Algorithms; of a data key the name of its cipher
	State     State           //
	Created   instant.Instant //
	Changed   instant.Instant // when State was entered
	Public    []byte          // the public half in PKIX DER; nil for symmetric keys
	Wrapped   []byte          // the secret half sealed under ROOT_KEY; nil when it comes from a setting
	Secret    secret.Text     // the secret half in the clear: in memory only, never stored
}

// The names of the rings that are stored.
const (
	Signing = "signing" // keys that sign tokens
	Data    = "data"    // keys that seal fields, index them, and authenticate refresh tokens
	Audit   = "audit"   // keys that sign checkpoints of the audit trail
)

// Ring is a set of keys with one primary for each purpose. It is a value: its methods answer a changed copy.
type Ring struct {
	Name string
	Keys []Key
}

// Find answers the key with that id.
func (r Ring) Find(kid string) (Key, bool) {
	for _, k := range r.Keys {
		if k.ID == kid {
			return k, true
		}
	}
	return Key{}, false
}

// Primary answers the key that is used for the purpose now.
func (r Ring) Primary(p Purpose) (Key, bool) {
	for _, k := range r.Keys {
		if k.State == Primary && k.Purpose == p {
			return k, true
		}
	}
	return Key{}, false
}

// Add puts a new key into the ring. When its purpose has no primary it becomes that, else it is Next, or in any case Retiring when verifyOnly.
func (r Ring) Add(k Key, verifyOnly bool, now instant.Instant) (Ring, error) {
	if _, ok := r.Find(k.ID); ok {
		return r, &KeyError{KeyID: k.ID, Err: ErrDuplicate}
	}
	k.Created, k.Changed = now, now
	_, has := r.Primary(k.Purpose)
	switch {
	case verifyOnly:
		k.State = Retiring
	case has:
		k.State = Next
	default:
		k.State = Primary
	}
	r.Keys = append(slices.Clone(r.Keys), k)
	return r, nil
}

// Promote makes a Next key the primary of its purpose; the one before it retires.
func (r Ring) Promote(kid string, now instant.Instant) (Ring, error) {
	r.Keys = slices.Clone(r.Keys)
	if err := r.move(kid, Primary, now); err != nil {
		return r, err
	}
	promoted, _ := r.Find(kid)
	for i := range r.Keys {
		if k := &r.Keys[i]; k.State == Primary && k.Purpose == promoted.Purpose && k.ID != kid {
			_ = r.move(k.ID, Retiring, now) // a primary may always retire
		}
	}
	return r, nil
}

// Drop ends a key that is used for nothing new any more: it is Gone.
func (r Ring) Drop(kid string, now instant.Instant) (Ring, error) {
	r.Keys = slices.Clone(r.Keys)
	return r, r.move(kid, Gone, now)
}

// Revoke ends a key for ever. A primary can be revoked only when a Next key of its purpose stands ready, which takes its place at once.
func (r Ring) Revoke(kid string, now instant.Instant) (Ring, error) {
	r.Keys = slices.Clone(r.Keys)
	k, ok := r.Find(kid)
	if ok && k.State == Primary {
		i := slices.IndexFunc(r.Keys, func(n Key) bool { return n.State == Next && n.Purpose == k.Purpose })
		if i < 0 {
			return r, &KeyError{KeyID: kid, Err: ErrLast}
		}
		r.Keys[i].State, r.Keys[i].Changed = Primary, now
	}
	return r, r.move(kid, Revoked, now)
}

func (r Ring) move(kid string, to State, now instant.Instant) error {
	i := slices.IndexFunc(r.Keys, func(k Key) bool { return k.ID == kid })
	if i < 0 {
		return &KeyError{KeyID: kid, Err: ErrUnknown}
	}
	k := &r.Keys[i]
	if !slices.Contains(follows[k.State], to) {
		return &KeyError{KeyID: kid, From: k.State, To: to, Err: ErrTransition}
	}
	k.State, k.Changed = to, now
	if pair := len(k.Public) > 0; to == Gone || pair && (to == Retiring || to == Revoked) {
		k.Wrapped = nil // what is not needed again cannot be stolen; a symmetric key that was revoked has still to tell its tokens from others'
	}
	return nil
}
