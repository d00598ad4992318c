package token

import (
	"errors"
	"fmt"
	"time"

	"github.com/xteam/xteam/domain/instant"
)

// Why a token is refused, in the order in which the refusals are decided; a revoked token (package revocation) comes last.
var (
	// ErrMissing says that no token was sent.
	ErrMissing = errors.New("no access token was sent")
	// ErrMalformed says that what was sent has not the form of an access token. No cryptography was done.
	ErrMalformed = errors.New("the access token is malformed")
	// ErrInvalid says that no key of ours made the token, or that it was made for somebody or something else.
	ErrInvalid = errors.New("the access token is invalid")
	// ErrUnknownKey is ErrInvalid of a token in good form whose key is not known here: another node may have made the key a moment ago.
	ErrUnknownKey = fmt.Errorf("%w: no key of its kid is known", ErrInvalid)
	// ErrExpired says that the token was good and its time is over.
	ErrExpired = errors.New("the access token has expired")
)

// What is wrong with a token that is ErrInvalid by its claims: for an operator, to whom it is explained, and for the program that verifies. Its bearer reads ErrInvalid.
var (
	errIncomplete = fmt.Errorf("%w: a claim that every token has is missing, or is what it cannot be", ErrInvalid)
	errIssuer     = fmt.Errorf("%w: its iss is another issuer", ErrInvalid)
	errAudience   = fmt.Errorf("%w: its aud does not hold this audience", ErrInvalid)
	errEarly      = fmt.Errorf("%w: it is not valid yet, for its iat or nbf lies in the future", ErrInvalid)
)

// Margin is added to the life of every revocation, on top of expiry and leeway.
const Margin = 10 * time.Minute

// MaxLeeway is the largest clock skew that can be allowed.
const MaxLeeway = 2 * time.Minute

// Policy accepts or refuses claims. It is a value; the zero Leeway allows no skew.
type Policy struct {
	Issuer   string        // iss must equal it
	Audience string        // aud must contain it
	Leeway   time.Duration // clock skew allowed between nodes, 0 to MaxLeeway
}

// Check answers nil, ErrInvalid with what is wrong, or ErrExpired. A token that is for another audience and also expired is ErrInvalid:
// only the bearer of a token that was once good here learns that it has expired.
func (p Policy) Check(c *Claims, now instant.Instant) error {
	if c.ID.IsZero() || c.Subject.IsZero() || c.Session.IsZero() || c.KeyID == "" || c.Generation < 0 || c.Epoch < 0 || c.IssuedAt <= 0 || c.ExpiresAt <= 0 {
		return errIncomplete
	}
	if c.Issuer != p.Issuer {
		return errIssuer
	}
	if !contains(c.Audience, p.Audience) {
		return errAudience
	}
	if c.IssuedAt > now.Add(p.Leeway) || c.NotBefore > now.Add(p.Leeway) {
		return errEarly
	}
	if now >= c.ExpiresAt.Add(p.Leeway) {
		return ErrExpired
	}
	return nil
}

func contains(list []string, want string) bool {
	for _, s := range list {
		if s == want {
			return true
		}
	}
	return false
}
