package jwtcodec_test

import (
	"encoding/base64"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/xteam/xteam/adapters/jwtcodec"
	"github.com/xteam/xteam/domain/keyset"
	"github.com/xteam/xteam/domain/token"
)

// TestReadUnverified: what a token says is read whoever signed it, and whether or not it could be one of ours; what has not the form of one says nothing.
func TestReadUnverified(t *testing.T) {
	c := codec(t, jwtcodec.Options{})
	want := claims()
	signed := func(k keyset.Key) string {
		text, err := holding(t, ringOf(k), jwtcodec.Options{}).Sign(want)
		if err != nil {
			t.Fatal(err)
		}
		return text.RevealPlaintext()
	}
	foreign := signed(keyOf(another, keyset.Primary))
	for name, text := range map[string]string{"ours": signed(keyOf(ours, keyset.Primary)), "another's": foreign, "damaged in its signature": foreign[:len(foreign)-4] + "AAAA"} {
		got, ok := c.ReadUnverified(text)
		want := want
		if name != "ours" {
			want.KeyID = jwtcodec.SymmetricKeyID(another)
		}
		if diff := cmp.Diff(want, got); !ok || diff != "" {
			t.Errorf("%s: %v (-want +got):\n%s", name, ok, diff)
		}
	}
	part := func(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) }
	if got, ok := c.ReadUnverified(part(`{"alg":"none","crit":["x"],"kid":"k"}`) + "." + part(`{"iss":"evil","gen":"7","exp":1e999}`) + ".AA"); !ok || got.KeyID != "k" || got.Issuer != "evil" || got.Generation != 0 || got.ExpiresAt != 0 {
		t.Errorf("a token of somebody else's: %v, %+v", ok, got)
	}
	for _, text := range []string{"", "garbage", "a.b", "a.b.c", part("{}") + "." + part("[]") + ".AA", part("{}") + "." + part(`{"a":1,"a":2}`) + ".AA", strings.Repeat(".", 8000), foreign + strings.Repeat("A", token.MaxSize), foreign + "\n"} {
		if got, ok := c.ReadUnverified(text); ok || !cmp.Equal(got, token.Claims{}) {
			t.Errorf("%.40q: %v, %+v", text, ok, got)
		}
	}
}
