package jwks_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"math/big"
	"strings"
	"testing"

	"github.com/lestrrat-go/jwx/v2/jwk"

	"github.com/xteam/xteam/adapters/jwks"
	"github.com/xteam/xteam/adapters/jwtcodec"
	"github.com/xteam/xteam/domain/keyset"
)

// member is the published JWK of a key, with members changed: a nil value takes one away.
func member(t testing.TB, algorithm string, change map[string]any) string {
	t.Helper()
	var set struct{ Keys []map[string]any }
	if err := json.Unmarshal([]byte(marshal(t, as(algorithm, keyset.Primary))), &set); err != nil {
		t.Fatal(err)
	}
	k := set.Keys[0]
	for name, v := range change {
		if v == nil {
			delete(k, name)
			continue
		}
		k[name] = v
	}
	b, err := json.Marshal(k)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func setOf(members ...string) string { return `{"keys":[` + strings.Join(members, ",") + `]}` }

// privateJWK is a key with its private half, as jwx writes it.
func privateJWK(t testing.TB, algorithm string) string {
	t.Helper()
	private, err := x509.ParsePKCS8PrivateKey([]byte(made()[algorithm].Secret.RevealPlaintext()))
	if err != nil {
		t.Fatal(err)
	}
	k, err := jwk.FromRaw(private)
	if err != nil {
		t.Fatal(err)
	}
	_ = k.Set(jwk.KeyIDKey, "given-away")
	b, err := json.Marshal(k)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestSetsThatAreRefused(t *testing.T) {
	good := member(t, keyset.ES256, nil)
	many := make([]string, 10_000)
	for i := range many {
		many[i] = member(t, keyset.EdDSA, map[string]any{"kid": fmt.Sprint(i)})
	}
	for name, row := range map[string]struct{ text, says string }{
		"nothing":                     {"", "no key set"},
		"HTML":                        {"<!DOCTYPE html><html><body>Sign in</body></html>", "no key set"},
		"a list":                      {"[" + good + "]", "no key set"},
		"one key":                     {good, "no list of keys"},
		"no keys":                     {"{}", "no list of keys"},
		"null":                        {`{"keys":null}`, "no list of keys"},
		"an object of keys":           {`{"keys":{"a":` + good + `}}`, "no key set"},
		"text behind":                 {setOf(good) + "{}", "no key set"},
		"keys twice":                  {`{"keys":[],"keys":[` + good + `]}`, "no key set"},
		"not UTF-8":                   {setOf(strings.Replace(good, `"use"`, "\"\xff\":0,\"use\"", 1)), "no key set"},
		"a member twice":              {setOf(strings.Replace(good, `"use"`, `"use":"enc","use"`, 1)), "no key set"},
		"JSON serialisation of a JWS": {`{"payload":"e30","signatures":[{"signature":"AA"}]}`, "no list of keys"},
		"a JWS among the keys' place": {`{"keys":{"payload":"e30","signatures":[{"signature":"AA"}]}}`, "no key set"},
		"10,000 keys":                 {setOf(many...), ""},
		"101 keys":                    {setOf(many[:101]...), "101 keys"},
		"over 1 MiB":                  {setOf(good) + strings.Repeat(" ", 1<<20), "over 1048576 bytes"},
		"depth":                       {`{"keys":[` + strings.Repeat("[", 500_000), "no key set"},
		"one id twice":                {setOf(good, member(t, keyset.EdDSA, map[string]any{"kid": made()[keyset.ES256].ID})), "two keys"},
		"one key twice":               {setOf(good, good), "two keys"},
		"a symmetric key":             {setOf(good, `{"kty":"oct","k":"c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0LXNlY3JldA","alg":"HS256","kid":"s"}`), "gives a secret away"},
		"a private EC key":            {setOf(good, privateJWK(t, keyset.ES256)), "gives a secret away"},
		"a private Ed25519 key":       {setOf(good, privateJWK(t, keyset.EdDSA)), "gives a secret away"},
		"a private RSA key":           {setOf(good, privateJWK(t, keyset.RS256)), "gives a secret away"},
		"a private key for another":   {setOf(good, strings.Replace(privateJWK(t, keyset.RS256), `{`, `{"use":"enc",`, 1)), "gives a secret away"},
		"a factor of an RSA key":      {setOf(member(t, keyset.RS256, map[string]any{"p": "AA"})), "gives a secret away"},
		"a private key, damaged":      {setOf(member(t, keyset.ES256, map[string]any{"d": 7})), "gives a secret away"},
		"a private key, of no type":   {setOf(member(t, keyset.ES256, map[string]any{"d": "AA", "kty": "quantum"})), "gives a secret away"},
	} {
		t.Run(name, func(t *testing.T) {
			keys, _, err := jwks.Parse([]byte(row.text), jwtcodec.Check)
			if err == nil || keys != nil {
				t.Fatalf("%d keys were taken", len(keys))
			}
			if s := err.Error(); !strings.Contains(s, row.says) || strings.Contains(s, "\n") || len(s) > 300 {
				t.Errorf("got %q, want one sentence with %q", s, row.says)
			}
		})
	}
}

func TestKeysThatAreLeftOut(t *testing.T) {
	p384, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	raw := func(k any) string {
		one, err := jwk.FromRaw(k)
		if err != nil {
			t.Fatal(err)
		}
		_ = one.Set(jwk.KeyIDKey, "raw")
		b, err := json.Marshal(one)
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	bits := func(n uint, e int) string {
		return raw(&rsa.PublicKey{N: new(big.Int).SetBit(big.NewInt(1), int(n-1), 1), E: e})
	}
	for name, row := range map[string]struct{ text, says string }{
		"a type that nobody knows":  {member(t, keyset.ES256, map[string]any{"kty": "quantum"}), "a type that is not known"},
		"no type":                   {member(t, keyset.ES256, map[string]any{"kty": nil}), "a type that is not known"},
		"a number":                  {"7", "cannot be read"},
		"null":                      {"null", ""},
		"a JWS":                     {`{"payload":"e30","signatures":[{"signature":"AA"}]}`, "a type that is not known"},
		"another type's numbers":    {member(t, keyset.ES256, map[string]any{"kty": "RSA"}), "cannot be read"},
		"an algorithm not taken":    {member(t, keyset.RS256, map[string]any{"alg": "RS512"}), `"RS512"`},
		"an algorithm nobody knows": {member(t, keyset.RS256, map[string]any{"alg": "X1"}), ""},
		"HS256 by an EC key":        {member(t, keyset.ES256, map[string]any{"alg": "HS256"}), `"HS256"`},
		"none":                      {member(t, keyset.ES256, map[string]any{"alg": "none"}), `"none"`},
		"another kind's algorithm":  {member(t, keyset.ES256, map[string]any{"alg": "EdDSA"}), "another kind"},
		"for encryption":            {member(t, keyset.RS256, map[string]any{"use": "enc"}), `"enc"`},
		"for signing alone":         {member(t, keyset.RS256, map[string]any{"use": nil, "key_ops": []string{"encrypt"}}), "encrypt"},
		"no id":                     {member(t, keyset.RS256, map[string]any{"kid": nil}), "no id"},
		"an empty id":               {member(t, keyset.RS256, map[string]any{"kid": ""}), "no id"},
		"an id of 129 bytes":        {member(t, keyset.RS256, map[string]any{"kid": strings.Repeat("k", 129)}), "129 bytes"},
		"P-384":                     {raw(p384.Public()), "not taken"},
		"P-384 as ES256":            {strings.Replace(raw(p384.Public()), `{`, `{"alg":"ES256",`, 1), "another curve"},
		"secp256k1":                 {member(t, keyset.ES256, map[string]any{"crv": "secp256k1"}), ""},
		"X25519":                    {member(t, keyset.EdDSA, map[string]any{"crv": "X25519", "alg": nil}), "not taken"},
		"X25519 as EdDSA":           {member(t, keyset.EdDSA, map[string]any{"crv": "X25519"}), ""},
		"Ed25519 of 31 bytes":       {member(t, keyset.EdDSA, map[string]any{"x": strings.Repeat("A", 42)}), ""},
		"a point on no curve":       {member(t, keyset.ES256, map[string]any{"x": strings.Repeat("A", 43), "y": strings.Repeat("A", 43)}), ""},
		"an empty modulus":          {member(t, keyset.RS256, map[string]any{"n": ""}), ""},
		"1024 bits":                 {bits(1024, 65537), "1024 bits"},
		"8193 bits":                 {bits(8193, 65537), "8193 bits"},
		"500,000 bits":              {bits(500_000, 65537), ""},
		"the exponent 3":            {bits(2048, 3), "exponent 3"},
		"an exponent of 400 bits":   {member(t, keyset.RS256, map[string]any{"e": strings.Repeat("_", 66)}), ""},
	} {
		t.Run(name, func(t *testing.T) {
			good := member(t, keyset.EdDSA, map[string]any{"kid": "good"})
			keys, left, err := jwks.Parse([]byte(setOf(row.text, good)), jwtcodec.Check)
			if err != nil || len(keys) != 1 || keys[0].ID != "good" {
				t.Fatalf("got %d keys, left %q (%v)", len(keys), left, err)
			}
			if len(left) != 1 || !strings.Contains(left[0], row.says) || !strings.HasPrefix(left[0], "key 1: ") || strings.Contains(left[0], "\n") {
				t.Errorf("left %q, want one sentence with %q", left, row.says)
			}
		})
	}
}

// TestKeysThatSayLittle: what issuers leave out.
func TestKeysThatSayLittle(t *testing.T) {
	for of, text := range map[string]string{
		keyset.ES256: member(t, keyset.ES256, map[string]any{"alg": nil, "use": nil}),
		keyset.EdDSA: member(t, keyset.EdDSA, map[string]any{"alg": nil, "key_ops": []string{"verify"}}),
		keyset.RS256: member(t, keyset.RS256, map[string]any{"alg": nil, "x5c": []string{}, "other": 1}),
		keyset.PS256: member(t, keyset.PS256, map[string]any{"use": nil}),
	} {
		keys, left, err := jwks.Parse([]byte(setOf(text)), jwtcodec.Check)
		if err != nil || len(keys) != 1 || keys[0].Algorithm != of || keys[0].ID != made()[of].ID {
			t.Errorf("%s: got %v, left %q (%v)", of, keys, left, err)
		}
	}
	if keys, left, err := jwks.Parse([]byte(`{"keys":[],"more":1}`), jwtcodec.Check); err != nil || len(keys)+len(left) > 0 {
		t.Errorf("an empty set: got %v, %q, %v", keys, left, err)
	}
}

// FuzzParse: no document makes Parse panic, and what it answers a Codec can hold.
func FuzzParse(f *testing.F) {
	for _, seed := range []string{
		marshal(f, as(keyset.ES256, keyset.Primary), as(keyset.EdDSA, keyset.Next), as(keyset.RS256, keyset.Next)),
		`{"keys":[]}`, `{"payload":"e30","signatures":[{"signature":"AA"}]}`, "<html>", setOf(`{"kty":"oct","k":"AA"}`), setOf(privateJWK(f, keyset.EdDSA)),
		setOf(`{"kty":"EC","crv":"P-256","x":"AA","y":"AA","kid":"k","alg":"ES256"}`), setOf(`{"kty":"RSA","n":"","e":"","kid":"k"}`), setOf(`{"kty":"OKP","crv":"Ed25519","x":"","kid":"k"}`),
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		keys, _, err := jwks.Parse(text, jwtcodec.Check)
		if err != nil {
			if keys != nil {
				t.Fatal("keys of a set that was refused")
			}
			return
		}
		if err := jwtcodec.New(jwtcodec.Options{CacheBytes: -1, VerifyOnly: true}).SetRing(keyset.Ring{Keys: keys}); err != nil {
			t.Fatalf("a Codec cannot hold what was taken: %v", err)
		}
	})
}
