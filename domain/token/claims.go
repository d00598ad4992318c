// Package token says what an access token claims and decides, in one order, whether it is taken.
package token

import (
	"github.com/xteam/xteam/domain/id"
	"github.com/xteam/xteam/domain/instant"
)

// Generation counts how often all tokens of one user were withdrawn: the claim gen.
type Generation int64

// Epoch counts how often all tokens of the whole system were withdrawn: the claim ep.
type Epoch int64

// Type is the header typ of an access token (RFC 9068, section 2.1).
const Type = "at+jwt"

// MaxSize is the longest access token that is looked at, in bytes.
const MaxSize = 8 << 10

// Claims is what a token says once its signature has been verified (RFC 7519, section 4.1; RFC 9068, section 2.2).
type Claims struct {
	KeyID      string     // header kid: the key that signed
	ID         id.Token   // jti
	Subject    id.User    // sub
	Session    id.Session // sid
	Issuer     string     // iss
	Audience   []string   // aud
	ClientID   string     // client_id
	Scope      string     // scope: words parted by one space (RFC 6749, section 3.3)
	Roles      []string   // roles
	Generation Generation // gen
	Epoch      Epoch      // ep
	IssuedAt   instant.Instant
	NotBefore  instant.Instant
	ExpiresAt  instant.Instant

	// APIKey is set in the claims that stand for an API key, and in those only: it is no claim of a token, and a codec neither writes nor reads it.
	APIKey id.APIKey
}

// HasRole reports whether the token was issued to a bearer of that role.
func (c *Claims) HasRole(role string) bool {
	for _, r := range c.Roles {
		if r == role {
			return true
		}
	}
	return false
}
