package ports

import (
	"context"
	"time"

	"github.com/xteam/xteam/domain/keyset"
	"github.com/xteam/xteam/domain/secret"
	"github.com/xteam/xteam/domain/token"
)

// Codec writes and reads access tokens.
type Codec interface {
	// Sign answers the token of the claims, signed by the primary key, whose id it puts in the header; c.KeyID is not looked at.
	Sign(c token.Claims) (secret.Text, error)
	// Parse verifies the signature, by the key that the header's kid names and with that key's algorithm, and answers what the token claims. What has not
	// the form of a token of ours is token.ErrMalformed, before any cryptography; another typ, a wrong signature or a claim of the wrong shape is token.ErrInvalid; so is
	// a key that is unknown or in no state to verify, which is token.ErrUnknownKey when nothing else is wrong with the token's form. The policy (expiry, issuer, audience) is not checked here. The answer is
	// shared: it must not be changed. Parse keeps no reference to the text.
	Parse(text string) (*token.Claims, error)
	// ReadUnverified answers what a text in the form of a token claims, its kid included, whoever made it: for people who look at a token, never for a decision. Claims
	// that are missing or of the wrong shape are zero. A text that has not the form is answered with false, and nothing of it.
	ReadUnverified(text string) (token.Claims, bool)
	// KeyIDs answers the ids of the keys that sign or verify now, the primary's first. It costs nothing. The answer is shared: it must not be changed.
	KeyIDs() []string
}

// SigningKeys makes keys for a Codec and gives them to it.
type SigningKeys interface {
	// NewKey makes a key of one of keyset.Algorithms, of crypto/rand alone: its ID, Purpose, Algorithm, Public (PKIX DER; none of HS256) and Secret (PKCS #8 DER; of HS256 32
	// bytes) are set, and nothing else. The id of a key pair is its RFC 7638 thumbprint, in base64url; of HS256 that of SymmetricKeyID.
	NewKey(algorithm string) (keyset.Key, error)
	// SymmetricKeyID is the id of the HS256 key of that secret: an HMAC of a fixed label under it, so that it tells nothing of the secret.
	SymmetricKeyID(s secret.Text) string
	// SetRing replaces all keys of the Codec at once: a Parse or Sign that begins afterwards knows only the new ring, whatever is cached. A ring with two keys of one
	// id, without exactly one primary, or with a key that is to verify and cannot (another purpose, an unknown algorithm, a Secret that is short, missing, or of another key
	// than ID and Public say, an RSA key of less than 2048 bits) is refused in one sentence, and the ring before it stays. A key that is Retiring, Gone or Revoked needs
	// no Secret when it has a Public.
	SetRing(keyset.Ring) error
}

// Passwords hashes and compares passwords, slowly and behind a bounded gate.
type Passwords interface {
	// Hash answers the hash of a password that the policy has accepted. A password that the hasher would cut is an error, never cut.
	// When the gate is full it fails at once with a *BusyError; a caller whose context ends leaves the queue.
	Hash(ctx context.Context, password secret.Text) (secret.Text, error)
	// Compare reports whether the password has that hash, and whether the hash should be made anew because its cost or kind is not the configured one.
	// An empty hash stands for an account that does not exist: it takes the time of a comparison and answers false. So does a password that no hash can have.
	Compare(ctx context.Context, hash, password secret.Text) (ok, upgrade bool, err error)
}

// BusyError says that a bounded resource has no room now. It matches ErrUnavailable.
type BusyError struct {
	What       string        // what is busy, for the message
	RetryAfter time.Duration // when it is worth asking again
}

func (e *BusyError) Error() string { return e.What + " is busy" }

// Is makes a BusyError match ErrUnavailable.
func (e *BusyError) Is(target error) bool { return target == ErrUnavailable }
