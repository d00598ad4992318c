package token_test

import (
	"errors"
	"math"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/xteam/xteam/domain/id"
	"github.com/xteam/xteam/domain/instant"
	"github.com/xteam/xteam/domain/token"
)

const (
	issued = instant.Instant(1_772_366_400_000_000)
	life   = 30 * time.Minute
	leeway = 30 * time.Second
	tick   = time.Microsecond
)

var policy = token.Policy{Issuer: "xteam", Audience: "xteam", Leeway: leeway}

func good() token.Claims {
	return token.Claims{KeyID: "k", ID: id.Token{1}, Subject: id.User{2}, Session: id.Session{3}, Issuer: "xteam", Audience: []string{"xteam"},
		Roles: []string{"user"}, Generation: 1, IssuedAt: issued, NotBefore: issued, ExpiresAt: issued.Add(life)}
}

func TestPolicy(t *testing.T) {
	end := issued.Add(life)
	for name, c := range map[string]struct {
		change func(*token.Claims)
		now    instant.Instant
		want   error
	}{
		"good":                              {nil, issued.Add(time.Minute), nil},
		"good as it is issued":              {nil, issued, nil},
		"a clock behind by the leeway":      {nil, issued.Add(-leeway), nil},
		"a clock behind by more":            {nil, issued.Add(-leeway - tick), token.ErrInvalid},
		"just before the end":               {nil, end.Add(-tick), nil},
		"at the end, within the leeway":     {nil, end, nil},
		"the last microsecond of leeway":    {nil, end.Add(leeway - tick), nil},
		"the end of the leeway":             {nil, end.Add(leeway), token.ErrExpired},
		"long over":                         {nil, end.Add(1000 * time.Hour), token.ErrExpired},
		"valid later":                       {func(c *token.Claims) { c.NotBefore = issued.Add(time.Minute) }, issued.Add(time.Minute - leeway - tick), token.ErrInvalid},
		"valid later, within the leeway":    {func(c *token.Claims) { c.NotBefore = issued.Add(time.Minute) }, issued.Add(time.Minute - leeway), nil},
		"without nbf":                       {func(c *token.Claims) { c.NotBefore = 0 }, issued, nil},
		"valid after its end":               {func(c *token.Claims) { c.NotBefore = end + 1 }, issued, token.ErrInvalid},
		"valid after its end, and over":     {func(c *token.Claims) { c.NotBefore = end + 1 }, end.Add(time.Hour), token.ErrExpired},
		"without jti":                       {func(c *token.Claims) { c.ID = id.Token{} }, issued, token.ErrInvalid},
		"without sub":                       {func(c *token.Claims) { c.Subject = id.User{} }, issued, token.ErrInvalid},
		"without sid":                       {func(c *token.Claims) { c.Session = id.Session{} }, issued, token.ErrInvalid},
		"without kid":                       {func(c *token.Claims) { c.KeyID = "" }, issued, token.ErrInvalid},
		"without iat":                       {func(c *token.Claims) { c.IssuedAt = 0 }, issued, token.ErrInvalid},
		"without exp":                       {func(c *token.Claims) { c.ExpiresAt = 0 }, issued, token.ErrInvalid},
		"iat before 1970":                   {func(c *token.Claims) { c.IssuedAt = -1 }, issued, token.ErrInvalid},
		"exp before 1970":                   {func(c *token.Claims) { c.ExpiresAt = -1 }, issued, token.ErrInvalid},
		"no life but the leeway":            {func(c *token.Claims) { c.ExpiresAt = c.IssuedAt }, issued, nil},
		"an end before its beginning":       {func(c *token.Claims) { c.ExpiresAt = c.IssuedAt.Add(-time.Hour) }, issued, token.ErrExpired},
		"generation 0":                      {func(c *token.Claims) { c.Generation = 0 }, issued, nil},
		"a generation below 0":              {func(c *token.Claims) { c.Generation = -1 }, issued, token.ErrInvalid},
		"an epoch below 0":                  {func(c *token.Claims) { c.Epoch = -1 }, issued, token.ErrInvalid},
		"another issuer":                    {func(c *token.Claims) { c.Issuer = "other" }, issued, token.ErrInvalid},
		"no issuer":                         {func(c *token.Claims) { c.Issuer = "" }, issued, token.ErrInvalid},
		"an issuer in capitals":             {func(c *token.Claims) { c.Issuer = "XTEAM" }, issued, token.ErrInvalid},
		"an issuer that begins alike":       {func(c *token.Claims) { c.Issuer = "xteam.evil.test" }, issued, token.ErrInvalid},
		"another audience":                  {func(c *token.Claims) { c.Audience = []string{"other"} }, issued, token.ErrInvalid},
		"no audience":                       {func(c *token.Claims) { c.Audience = nil }, issued, token.ErrInvalid},
		"an audience of none":               {func(c *token.Claims) { c.Audience = []string{} }, issued, token.ErrInvalid},
		"an empty audience":                 {func(c *token.Claims) { c.Audience = []string{""} }, issued, token.ErrInvalid},
		"an audience that begins alike":     {func(c *token.Claims) { c.Audience = []string{"xteam2", "xtea", "XTEAM", "xteam "} }, issued, token.ErrInvalid},
		"two audiences, ours the second":    {func(c *token.Claims) { c.Audience = []string{"other", "xteam"} }, issued, nil},
		"two audiences, ours the first":     {func(c *token.Claims) { c.Audience = []string{"xteam", "other"} }, issued, nil},
		"over, and for another audience":    {func(c *token.Claims) { c.Audience = []string{"other"} }, end.Add(time.Hour), token.ErrInvalid},
		"over, and of another issuer":       {func(c *token.Claims) { c.Issuer = "other" }, end.Add(time.Hour), token.ErrInvalid},
		"over, and without a session":       {func(c *token.Claims) { c.Session = id.Session{} }, end.Add(time.Hour), token.ErrInvalid},
		"for ever":                          {func(c *token.Claims) { c.ExpiresAt = instant.Forever }, end.Add(time.Hour), nil},
		"an end that no sum can reach":      {func(c *token.Claims) { c.ExpiresAt = instant.Forever - 1 }, instant.Forever - 1, nil},
		"issued in a future no sum reaches": {func(c *token.Claims) { c.IssuedAt, c.ExpiresAt = instant.Forever-1, instant.Forever }, issued, token.ErrInvalid},
	} {
		t.Run(name, func(t *testing.T) {
			claims := good()
			if c.change != nil {
				c.change(&claims)
			}
			if got := policy.Check(&claims, c.now); !errors.Is(got, c.want) {
				t.Errorf("Check = %v, want %v", got, c.want)
			}
		})
	}
}

// What exactly is wrong is told to whoever explains a token, each fault in words of its own.
func TestWhatIsWrong(t *testing.T) {
	told := map[string]bool{}
	for word, change := range map[string]func(*token.Claims){
		"missing": func(c *token.Claims) { c.Session = id.Session{} }, "iss": func(c *token.Claims) { c.Issuer = "other" },
		"aud": func(c *token.Claims) { c.Audience = nil }, "not valid yet": func(c *token.Claims) { c.NotBefore = issued.Add(time.Hour) },
	} {
		claims := good()
		change(&claims)
		text := policy.Check(&claims, issued).Error()
		if !strings.HasPrefix(text, token.ErrInvalid.Error()+": ") || !strings.Contains(text, word) || told[text] {
			t.Errorf("%s: %s", word, text)
		}
		told[text] = true
	}
}

func TestNoLeewayIsNone(t *testing.T) {
	p, c := token.Policy{Issuer: "xteam", Audience: "xteam"}, good()
	for now, want := range map[instant.Instant]error{c.IssuedAt - 1: token.ErrInvalid, c.IssuedAt: nil, c.ExpiresAt - 1: nil, c.ExpiresAt: token.ErrExpired} {
		if got := p.Check(&c, now); !errors.Is(got, want) {
			t.Errorf("Check at issue + %v = %v, want %v", now.Sub(c.IssuedAt), got, want)
		}
	}
}

// What a token's times decide is one stretch: refused as not yet valid, then taken, then expired, whatever the numbers are.
func TestATokenIsTakenOnceAndForOneStretch(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := good()
		times := rapid.OneOf(rapid.Int64Range(-10, 100), rapid.Int64(), rapid.Int64Range(math.MaxInt64-100, math.MaxInt64))
		c.IssuedAt, c.NotBefore, c.ExpiresAt = instant.Instant(times.Draw(t, "iat")), instant.Instant(times.Draw(t, "nbf")), instant.Instant(times.Draw(t, "exp"))
		p := policy
		p.Leeway = time.Duration(rapid.Int64Range(0, 50).Draw(t, "leeway")) * tick
		a, b := instant.Instant(times.Draw(t, "now")), instant.Instant(times.Draw(t, "later"))
		if a > b {
			a, b = b, a
		}
		if b == instant.Forever {
			return
		}
		first, second := p.Check(&c, a), p.Check(&c, b)
		switch {
		case errors.Is(first, token.ErrExpired) && !errors.Is(second, token.ErrExpired):
			t.Fatalf("expired at %d, and later, at %d, %v", a, b, second)
		case first == nil && errors.Is(second, token.ErrInvalid):
			t.Fatalf("taken at %d, and invalid later, at %d", a, b)
		}
		var want error // by differences, where the policy adds
		switch {
		case c.IssuedAt <= 0 || c.ExpiresAt <= 0 || c.IssuedAt.Sub(a) > p.Leeway || c.NotBefore.Sub(a) > p.Leeway:
			want = token.ErrInvalid
		case a.Sub(c.ExpiresAt) >= p.Leeway:
			want = token.ErrExpired
		}
		if !errors.Is(first, want) {
			t.Fatalf("Check at %d with a leeway of %v = %v, want %v, of %+v", a, p.Leeway, first, want, c)
		}
	})
}

func TestHasRole(t *testing.T) {
	c := token.Claims{Roles: []string{"user", "admin"}}
	for role, want := range map[string]bool{"user": true, "admin": true, "Admin": false, "adm": false, "": false, "user admin": false} {
		if got := c.HasRole(role); got != want {
			t.Errorf("HasRole(%q) of %q = %v, want %v", role, c.Roles, got, want)
		}
	}
	if none := (token.Claims{}); none.HasRole("") || none.HasRole("user") {
		t.Error("a token without roles has one")
	}
}
