package jwtcodec

import (
	"errors"
	"fmt"
	"strconv"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/xteam/xteam/domain/instant"
	"github.com/xteam/xteam/domain/secret"
	"github.com/xteam/xteam/domain/token"
	"github.com/xteam/xteam/ports"
)

// Sign answers the token of the claims, signed by the primary key. Times are cut to whole seconds, downwards: so a token begins, and ends, up to a second
// early. A single audience is written as a string, so that any JWT library finds it. Claims that Parse would not take back (no subject, session or token
// id; a number or time out of range; text that is not UTF-8; over 128 roles or audiences; a token over token.MaxSize) are an error. A Codec that has no
// key that signs answers ports.ErrUnavailable.
func (c *Codec) Sign(claims token.Claims) (secret.Text, error) {
	if err := writable(&claims); err != nil {
		return secret.Text{}, err
	}
	payload, err := appendClaims(make([]byte, 0, 512), &claims)
	if err != nil {
		return secret.Text{}, fmt.Errorf("write the claims of a token: %w", err)
	}
	k := c.ring.Load().primary
	if k == nil {
		return secret.Text{}, fmt.Errorf("sign a token: %w: no key signs yet", ports.ErrUnavailable)
	}
	text := make([]byte, 0, len(k.header)+base64url.EncodedLen(len(payload))+2+base64url.EncodedLen(k.size))
	text = append(append(text, k.header...), '.')
	text = base64url.AppendEncode(text, payload)
	signature, err := k.method.Sign(string(text), k.signing)
	if err != nil {
		return secret.Text{}, fmt.Errorf("sign a token with key %q: %w", k.id, err)
	}
	text = base64url.AppendEncode(append(text, '.'), signature)
	if len(text) > token.MaxSize {
		return secret.Text{}, fmt.Errorf("a token may have %d bytes and this one has %d: give its bearer fewer roles or scopes", token.MaxSize, len(text))
	}
	return secret.New(string(text)), nil
}

// writable says what of the claims has no place in a token.
func writable(c *token.Claims) error {
	if c.ID.IsZero() || c.Subject.IsZero() || c.Session.IsZero() {
		return errors.New("a token needs an id, a subject and a session: one of them is missing")
	}
	if c.Generation < 0 || c.Epoch < 0 {
		return fmt.Errorf("a token's generation and epoch are not below 0: they are %d and %d", c.Generation, c.Epoch)
	}
	for _, at := range [...]instant.Instant{c.IssuedAt, c.NotBefore, c.ExpiresAt} {
		if at < 0 || at.Seconds() > maxSeconds {
			return fmt.Errorf("a token's times lie between 1970 and 9999: one of them does not (%d µs)", int64(at))
		}
	}
	if len(c.Roles) > maxList || len(c.Audience) > maxList {
		return fmt.Errorf("a token has at most %d roles and audiences: there are %d and %d", maxList, len(c.Roles), len(c.Audience))
	}
	return nil
}

// appendClaims writes the payload of a token. Numbers are written whole and ids as their text, so only text can fail: by not being UTF-8.
func appendClaims(b []byte, c *token.Claims) ([]byte, error) {
	var failed error
	text := func(name, value string) {
		var err error
		if b, err = jsontext.AppendQuote(append(b, name...), value); err != nil {
			failed = err
		}
	}
	number := func(name string, value int64) { b = strconv.AppendInt(append(b, name...), value, 10) }
	texts := func(name string, values []string) {
		b = append(append(b, name...), '[')
		for i, v := range values {
			if i > 0 {
				b = append(b, ',')
			}
			text("", v)
		}
		b = append(b, ']')
	}

	text(`{"iss":`, c.Issuer)
	text(`,"sub":`, c.Subject.String())
	if len(c.Audience) == 1 {
		text(`,"aud":`, c.Audience[0])
	} else {
		texts(`,"aud":`, c.Audience)
	}
	number(`,"exp":`, c.ExpiresAt.Seconds())
	number(`,"nbf":`, c.NotBefore.Seconds())
	number(`,"iat":`, c.IssuedAt.Seconds())
	text(`,"jti":`, c.ID.String())
	text(`,"sid":`, c.Session.String())
	text(`,"client_id":`, c.ClientID)
	text(`,"scope":`, c.Scope)
	texts(`,"roles":`, c.Roles)
	number(`,"gen":`, int64(c.Generation))
	number(`,"ep":`, int64(c.Epoch))
	return append(b, '}'), failed
}
