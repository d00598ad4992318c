package jwtcodec_test

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"hash"
	"strings"
	"testing"

	"github.com/xteam/xteam/adapters/jwtcodec"
	"github.com/xteam/xteam/domain/id"
	"github.com/xteam/xteam/domain/instant"
	"github.com/xteam/xteam/domain/keyset"
	"github.com/xteam/xteam/domain/secret"
	"github.com/xteam/xteam/domain/token"
)

// Secrets of the tests.
var (
	ours    = secret.New("0123456789abcdef0123456789abcdef")
	another = secret.New("fedcba9876543210fedcba9876543210 and longer")
)

// keyOf is an HS256 key of a secret, as the settings make it.
func keyOf(s secret.Text, state keyset.State) keyset.Key {
	return keyset.Key{ID: jwtcodec.SymmetricKeyID(s), Purpose: keyset.Sign, Algorithm: "HS256", State: state, Secret: s}
}

func ringOf(keys ...keyset.Key) keyset.Ring { return keyset.Ring{Name: keyset.Signing, Keys: keys} }

// codec is a Codec whose primary is the key of ours.
func codec(t testing.TB, o jwtcodec.Options) *jwtcodec.Codec {
	t.Helper()
	return holding(t, ringOf(keyOf(ours, keyset.Primary)), o)
}

// holding is a Codec of a ring.
func holding(t testing.TB, ring keyset.Ring, o jwtcodec.Options) *jwtcodec.Codec {
	t.Helper()
	c := jwtcodec.New(o)
	if err := c.SetRing(ring); err != nil {
		t.Fatal(err)
	}
	return c
}

// claims are those of an ordinary token.
func claims() token.Claims {
	return token.Claims{
		KeyID:      jwtcodec.SymmetricKeyID(ours),
		ID:         id.Token{1, 2, 3},
		Subject:    id.User{4, 5, 6},
		Session:    id.Session{7, 8, 9},
		Issuer:     "xteam",
		Audience:   []string{"xteam"},
		ClientID:   "xteam",
		Scope:      "users:read files:write",
		Roles:      []string{"user"},
		Generation: 3,
		Epoch:      1,
		IssuedAt:   instant.Unix(1_800_000_000),
		NotBefore:  instant.Unix(1_800_000_000),
		ExpiresAt:  instant.Unix(1_800_001_800),
	}
}

// sign signs claims with a codec.
func sign(t testing.TB, c *jwtcodec.Codec, claims token.Claims) string {
	t.Helper()
	s, err := c.Sign(claims)
	if err != nil {
		t.Fatal(err)
	}
	return s.RevealPlaintext()
}

// The header and payload that the forged tokens vary.
var (
	goodHeader  = `{"alg":"HS256","typ":"at+jwt","kid":"` + jwtcodec.SymmetricKeyID(ours) + `"}`
	goodPayload = `{"iss":"xteam","sub":"04050600000000000000000000000000","aud":"xteam","exp":1800001800,"nbf":1800000000,"iat":1800000000,` +
		`"jti":"01020300000000000000000000000000","sid":"07080900000000000000000000000000","client_id":"xteam","scope":"users:read files:write",` +
		`"roles":["user"],"gen":3,"ep":1}`
)

func b64(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) }

// mac is an HMAC with a hash, under any key.
func mac(h func() hash.Hash, key, signed string) string {
	m := hmac.New(h, []byte(key))
	m.Write([]byte(signed))
	return string(m.Sum(nil))
}

// forge makes a token of any header and payload, truly signed with HMAC-SHA256 under a secret, without the code under test.
func forge(header, payload string, s secret.Text) string {
	return forgeEncoded(b64(header), b64(payload), s)
}

// forgeEncoded is forge of parts that are encoded already.
func forgeEncoded(header, payload string, s secret.Text) string {
	signed := header + "." + payload
	return signed + "." + b64(mac(sha256.New, s.RevealPlaintext(), signed))
}

// with is goodPayload with one member's value replaced; the empty value removes the member.
func with(name, value string) string { return replace(goodPayload, name, value) }

func replace(object, name, value string) string {
	var members []string
	for _, m := range split(object) {
		if strings.HasPrefix(m, `"`+name+`":`) {
			if value == "" {
				continue
			}
			m = `"` + name + `":` + value
		}
		members = append(members, m)
	}
	return "{" + strings.Join(members, ",") + "}"
}

// split parts a flat object of the tests in its members; none of their values has a comma.
func split(object string) []string { return strings.Split(strings.Trim(object, "{}"), ",") }
