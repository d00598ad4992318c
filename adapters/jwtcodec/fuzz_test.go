package jwtcodec_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/xteam/xteam/adapters/jwtcodec"
	"github.com/xteam/xteam/domain/token"
)

// FuzzParse: no text makes Parse panic; a refusal is one of the two and comes without claims; what is taken has exactly the signature that the key makes,
// in the one encoding that there is.
func FuzzParse(f *testing.F) {
	good := forge(goodHeader, goodPayload, ours)
	p := strings.Split(good, ".")
	for _, seed := range []string{
		good, "", ".", "..", "...", strings.Repeat(".", 8000), sized(8000), good + "\n", good + "=", p[0] + "." + p[1] + ".",
		forge(goodHeader, goodPayload, another),
		`{"payload":"e30","signatures":[{"signature":"AA"}]}`,
		b64(`{"alg":"PBES2-HS256+A128KW","enc":"A128GCM","zip":"DEF","p2c":2000000000}`) + ".AAAA.AAAA.AAAA.AAAA",
		forge(replace(goodHeader, "alg", `"none"`), goodPayload, ours),
		forge(replace(goodHeader, "kid", `"../"`), goodPayload, ours),
		forge(replace(goodHeader, "kid", `"'--"`), goodPayload, ours),
		forge(goodHeader, with("aud", `["other"]`), ours),
		forge(goodHeader, with("exp", `1e999999`), ours),
		forge(goodHeader, `{"sub":"x",`+goodPayload[1:], ours),
		p[0] + "." + p[1] + "." + loosen(p[2]),
	} {
		f.Add(seed)
	}
	c := codec(f, jwtcodec.Options{})
	f.Fuzz(func(t *testing.T, text string) {
		for range 2 {
			got, err := c.Parse(text)
			if err != nil {
				if got != nil || (err != token.ErrMalformed && err != token.ErrInvalid && err != token.ErrUnknownKey) {
					t.Fatalf("got %v, %v", got, err)
				}
				continue
			}
			i := strings.LastIndexByte(text, '.')
			if want := b64(mac(sha256.New, ours.RevealPlaintext(), text[:i])); text[i+1:] != want {
				t.Fatalf("taken with another signature than ours: %q", text)
			}
		}
	})
}

// FuzzParts signs whatever header and payload truly, so that the fuzzer reaches what lies behind the signature: what is taken is JSON for the standard
// library too, says the same there, and can be signed again.
func FuzzParts(f *testing.F) {
	f.Add([]byte(goodHeader), []byte(goodPayload))
	f.Add([]byte(replace(goodHeader, "typ", `"application/at+jwt"`)), []byte(with("aud", `["a","b"]`)))
	f.Add([]byte(`{"x":[{"y":null}],`+goodHeader[1:]), []byte(`{"x":{"y":[1,2.5e3,"\ud83d\ude00"]},`+goodPayload[1:]))
	f.Add([]byte(`{"crit":["exp"],`+goodHeader[1:]), []byte(with("exp", "1.5")))
	f.Add([]byte("{"), []byte("[[[[[[[["))
	f.Add([]byte("{\"\xff\":0}"), []byte(`{"\ud800":0,"a":0,"a":0}`))
	c := codec(f, jwtcodec.Options{CacheBytes: -1})
	f.Fuzz(func(t *testing.T, header, payload []byte) {
		got, err := c.Parse(forge(string(header), string(payload), ours))
		if err != nil {
			return
		}
		var h struct{ Alg, Typ, Kid string }
		var claims map[string]any
		d := json.NewDecoder(bytes.NewReader(payload))
		d.UseNumber()
		if json.Unmarshal(header, &h) != nil || d.Decode(&claims) != nil || !utf8.Valid(header) || !utf8.Valid(payload) {
			t.Fatalf("taken, but no JSON: %q %q", header, payload)
		}
		if claims["sub"] != got.Subject.String() || claims["jti"] != got.ID.String() || claims["sid"] != got.Session.String() || claims["iss"] != got.Issuer {
			t.Fatalf("%q says %+v", payload, got)
		}
		again, err := c.Parse(sign(t, c, *got))
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(got, again); diff != "" {
			t.Fatal(diff)
		}
	})
}
