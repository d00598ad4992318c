package jwtcodec_test

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/json"
	"math/big"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"github.com/lestrrat-go/jwx/v2/jwk"

	"github.com/xteam/xteam/adapters/jwtcodec"
	"github.com/xteam/xteam/domain/keyset"
	"github.com/xteam/xteam/domain/token"
)

// every is a ring of ours, which signs, and one key of each other algorithm. The keys are the same in every process, as the workers of a fuzzer need it:
// those of Wycheproof, and an Ed25519 key of a known seed.
func every(t testing.TB) keyset.Ring {
	t.Helper()
	private := func(group string) crypto.Signer {
		for _, g := range readVectors(t, "json_web_signature_test.json").TestGroups {
			if g.Comment == group && g.Public != nil {
				var raw any
				fatal(t, jwk.ParseRawKey(g.Private, &raw))
				return raw.(crypto.Signer)
			}
		}
		t.Fatalf("there are no vectors %s", group)
		return nil
	}
	return ringOf(keyOf(ours, keyset.Primary), pairOf(t, keyset.ES256, private("es256")), pairOf(t, keyset.EdDSA, ed25519.NewKeyFromSeed(make([]byte, 32))),
		pairOf(t, keyset.RS256, private("rs256")), pairOf(t, keyset.PS256, private("ps256")))
}

// verified asks the standard library whether a key made the signature of a token, and whether the signature is in the one encoding that there is.
func verified(t testing.TB, k keyset.Key, text string) bool {
	t.Helper()
	i := strings.LastIndexByte(text, '.')
	signature := decode(t, text[i+1:])
	if b64(string(signature)) != text[i+1:] {
		return false
	}
	if k.Algorithm == keyset.HS256 {
		return string(signature) == mac(sha256.New, k.Secret.RevealPlaintext(), text[:i])
	}
	public, err := x509.ParsePKIXPublicKey(k.Public)
	fatal(t, err)
	digest := sha256.Sum256([]byte(text[:i]))
	switch p := public.(type) {
	case *ecdsa.PublicKey:
		return len(signature) == 64 && ecdsa.VerifyASN1(p, digest[:], der(new(big.Int).SetBytes(signature[:32]), new(big.Int).SetBytes(signature[32:])))
	case ed25519.PublicKey:
		return ed25519.Verify(p, []byte(text[:i]), signature)
	case *rsa.PublicKey:
		if k.Algorithm == keyset.PS256 {
			return rsa.VerifyPSS(p, crypto.SHA256, digest[:], signature, &rsa.PSSOptions{SaltLength: sha256.Size}) == nil
		}
		return rsa.VerifyPKCS1v15(p, crypto.SHA256, digest[:], signature) == nil
	}
	return false
}

// FuzzParse: no text makes Parse panic; a refusal is one of the three and comes without claims; what is taken has a signature of the key that it names, for
// the standard library too, in the one encoding that there is.
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
	ring := every(f)
	c := holding(f, ring, jwtcodec.Options{})
	for _, k := range ring.Keys {
		text := resigned(f, k, `{"alg":"`+k.Algorithm+`","typ":"at+jwt","kid":"`+k.ID+`"}`, goodPayload)
		parse(f, c, text)
		f.Add(text)
		f.Add(resigned(f, k, `{"alg":"HS256","typ":"at+jwt","kid":"`+k.ID+`"}`, goodPayload))
		f.Add(resigned(f, k, `{"alg":"`+k.Algorithm+`","typ":"at+jwt","kid":"other"}`, goodPayload))
	}
	f.Fuzz(func(t *testing.T, text string) {
		for range 2 {
			got, err := c.Parse(text)
			if err != nil {
				if got != nil || (err != token.ErrMalformed && err != token.ErrInvalid && err != token.ErrUnknownKey) {
					t.Fatalf("got %v, %v", got, err)
				}
				continue
			}
			if k, _ := ring.Find(got.KeyID); !verified(t, k, text) {
				t.Fatalf("taken with another signature than that of %q: %q", got.KeyID, text)
			}
		}
	})
}

// FuzzParts signs whatever header and payload truly, by a key of any algorithm, so that the fuzzer reaches what lies behind the signature: what is taken is
// JSON for the standard library too, says the same there, names its key and that key's algorithm, and can be signed again.
func FuzzParts(f *testing.F) {
	f.Add([]byte(goodHeader), []byte(goodPayload), byte(0))
	for i, k := range every(f).Keys {
		f.Add([]byte(`{"alg":"`+k.Algorithm+`","typ":"at+jwt","kid":"`+k.ID+`"}`), []byte(goodPayload), byte(i))
		f.Add([]byte(`{"alg":"HS256","typ":"at+jwt","kid":"`+k.ID+`"}`), []byte(goodPayload), byte(i))
	}
	f.Add([]byte(replace(goodHeader, "typ", `"application/at+jwt"`)), []byte(with("aud", `["a","b"]`)), byte(0))
	f.Add([]byte(`{"x":[{"y":null}],`+goodHeader[1:]), []byte(`{"x":{"y":[1,2.5e3,"\ud83d\ude00"]},`+goodPayload[1:]), byte(0))
	f.Add([]byte(`{"crit":["exp"],`+goodHeader[1:]), []byte(with("exp", "1.5")), byte(0))
	f.Add([]byte("{"), []byte("[[[[[[[["), byte(0))
	f.Add([]byte("{\"\xff\":0}"), []byte(`{"\ud800":0,"a":0,"a":0}`), byte(0))
	c, ring := holding(f, every(f), jwtcodec.Options{CacheBytes: -1}), every(f).Keys
	f.Fuzz(func(t *testing.T, header, payload []byte, by byte) {
		signer := ring[int(by)%len(ring)]
		got, err := c.Parse(resigned(t, signer, string(header), string(payload)))
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
		if h.Alg != signer.Algorithm || h.Kid != signer.ID || got.KeyID != signer.ID {
			t.Fatalf("signed by the %s key %s, and taken as %q by %q", signer.Algorithm, signer.ID, h.Alg, h.Kid)
		}
		again, err := c.Parse(sign(t, c, *got))
		if err != nil {
			t.Fatal(err)
		}
		want := *got
		want.KeyID = again.KeyID // ours signs now
		if diff := cmp.Diff(&want, again); diff != "" {
			t.Fatal(diff)
		}
	})
}
