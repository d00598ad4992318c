package jwtcodec_test

import (
	"encoding/base64"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/xteam/xteam/adapters/jwtcodec"
	"github.com/xteam/xteam/domain/id"
	"github.com/xteam/xteam/domain/instant"
	"github.com/xteam/xteam/domain/token"
)

// Other services read these bytes: a change here is a change of the contract (SPEC, section 4).
func TestTheTokenAsOthersSeeIt(t *testing.T) {
	text := sign(t, codec(t, jwtcodec.Options{}), claims())
	p := strings.Split(text, ".")
	header, _ := base64.RawURLEncoding.DecodeString(p[0])
	if diff := cmp.Diff(`{"alg":"HS256","kid":"`+jwtcodec.SymmetricKeyID(ours)+`","typ":"at+jwt"}`, string(header)); diff != "" {
		t.Error(diff)
	}
	payload, _ := base64.RawURLEncoding.DecodeString(p[1])
	if diff := cmp.Diff(goodPayload, string(payload)); diff != "" {
		t.Error(diff)
	}
}

// A service of the seed's kind: another library, the bytes of SECRET_KEY, the algorithm and the audience, and nothing else.
func TestAnotherLibraryVerifiesOurs(t *testing.T) {
	text := sign(t, codec(t, jwtcodec.Options{}), claims())
	parsed, err := jwt.Parse(text, func(*jwt.Token) (any, error) { return []byte(ours.RevealPlaintext()), nil },
		jwt.WithValidMethods([]string{"HS256"}), jwt.WithAudience("xteam"), jwt.WithIssuer("xteam"), jwt.WithIssuedAt(), jwt.WithExpirationRequired(),
		jwt.WithTimeFunc(func() time.Time { return time.Unix(1_800_000_060, 0) }))
	if err != nil || !parsed.Valid {
		t.Fatal(err)
	}
	if got := parsed.Claims.(jwt.MapClaims)["aud"]; got != "xteam" {
		t.Errorf("got aud %#v, want the string xteam", got)
	}
}

func TestTimesAreCutToSeconds(t *testing.T) {
	c := codec(t, jwtcodec.Options{})
	in := claims()
	in.IssuedAt += 999_999
	in.NotBefore += 1
	in.ExpiresAt += 500_000
	want := claims()
	got, err := c.Parse(sign(t, c, in))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(&want, got); diff != "" {
		t.Error(diff)
	}
}

func TestClaimsThatCannotBeSigned(t *testing.T) {
	c := codec(t, jwtcodec.Options{})
	for name, change := range map[string]func(*token.Claims){
		"no id":                   func(c *token.Claims) { c.ID = id.Token{} },
		"no subject":              func(c *token.Claims) { c.Subject = id.User{} },
		"no session":              func(c *token.Claims) { c.Session = id.Session{} },
		"generation below 0":      func(c *token.Claims) { c.Generation = -1 },
		"epoch below 0":           func(c *token.Claims) { c.Epoch = -1 },
		"before 1970":             func(c *token.Claims) { c.IssuedAt = -1 },
		"not before, before 1970": func(c *token.Claims) { c.NotBefore = -1 },
		"after 9999":              func(c *token.Claims) { c.ExpiresAt = instant.Unix(253402300800) },
		"for ever":                func(c *token.Claims) { c.ExpiresAt = instant.Forever },
		"issuer not in UTF-8":     func(c *token.Claims) { c.Issuer = "\xff" },
		"role not in UTF-8":       func(c *token.Claims) { c.Roles = []string{"user", "\xc0\x80"} },
		"129 roles":               func(c *token.Claims) { c.Roles = make([]string, 129) },
		"129 audiences":           func(c *token.Claims) { c.Audience = make([]string, 129) },
		"over MaxSize":            func(c *token.Claims) { c.Scope = strings.Repeat("scope ", 1000) },
	} {
		in := claims()
		change(&in)
		if got, err := c.Sign(in); err == nil || !got.IsZero() {
			t.Errorf("%s: it was signed", name)
		}
	}
}

// Whatever Sign signs, Parse answers, cold and warm; and what is cut is the fraction of a second alone.
func TestRoundTrip(t *testing.T) {
	c := codec(t, jwtcodec.Options{})
	ident := rapid.Custom(func(t *rapid.T) (v [16]byte) {
		copy(v[:], rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "bytes"))
		v[0] |= 1
		return v
	})
	date := rapid.Custom(func(t *rapid.T) instant.Instant {
		return instant.Unix(rapid.Int64Range(0, 253402300799).Draw(t, "seconds"))
	})
	list := rapid.Custom(func(t *rapid.T) []string {
		return append([]string(nil), rapid.SliceOfN(rapid.StringN(0, 10, 40), 0, 5).Draw(t, "list")...)
	})
	rapid.Check(t, func(t *rapid.T) {
		in := token.Claims{
			KeyID:      jwtcodec.SymmetricKeyID(ours),
			ID:         ident.Draw(t, "jti"),
			Subject:    ident.Draw(t, "sub"),
			Session:    ident.Draw(t, "sid"),
			Issuer:     rapid.String().Draw(t, "iss"),
			Audience:   list.Draw(t, "aud"),
			ClientID:   rapid.String().Draw(t, "client_id"),
			Scope:      rapid.String().Draw(t, "scope"),
			Roles:      list.Draw(t, "roles"),
			Generation: token.Generation(rapid.Int64Min(0).Draw(t, "gen")),
			Epoch:      token.Epoch(rapid.Int64Min(0).Draw(t, "ep")),
			IssuedAt:   date.Draw(t, "iat"),
			NotBefore:  date.Draw(t, "nbf"),
			ExpiresAt:  date.Draw(t, "exp"),
		}
		s, err := c.Sign(in)
		if err != nil {
			t.Fatal(err)
		}
		for range 2 {
			got, err := c.Parse(s.RevealPlaintext())
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(&in, got); diff != "" {
				t.Fatal(diff)
			}
		}
	})
}
