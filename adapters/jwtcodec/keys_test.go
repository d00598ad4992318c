package jwtcodec_test

import (
	"crypto"
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/asn1"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"math/big"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/xteam/xteam/adapters/jwtcodec"
	"github.com/xteam/xteam/domain/keyset"
	"github.com/xteam/xteam/domain/secret"
	"github.com/xteam/xteam/domain/token"
	"github.com/xteam/xteam/ports"
)

// made is one key of each algorithm, made once: an RSA key takes a while.
var made = sync.OnceValue(func() map[string]keyset.Key {
	keys := map[string]keyset.Key{}
	for _, algorithm := range keyset.Algorithms() {
		k, err := jwtcodec.New(jwtcodec.Options{}).NewKey(algorithm)
		if err != nil {
			panic(err)
		}
		keys[algorithm] = k
	}
	return keys
})

// as is a key of the algorithm, in a state.
func as(algorithm string, s keyset.State) keyset.Key {
	k := made()[algorithm]
	k.State = s
	return k
}

// withoutSecret is the key without its private half.
func withoutSecret(k keyset.Key) keyset.Key {
	k.Secret = secret.Text{}
	return k
}

// pairOf is a key of any pair, with the id that it ought to have where there is one.
func pairOf(t testing.TB, algorithm string, private crypto.Signer) keyset.Key {
	t.Helper()
	public, err := x509.MarshalPKIXPublicKey(private.Public())
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	id, err := jwtcodec.Thumbprint(public)
	if err != nil {
		id = "some id"
	}
	return keyset.Key{ID: id, Purpose: keyset.Sign, Algorithm: algorithm, State: keyset.Retiring, Public: public, Secret: secret.New(string(der))}
}

func TestKeysOfEveryAlgorithm(t *testing.T) {
	for algorithm, k := range made() {
		t.Run(algorithm, func(t *testing.T) {
			want := keyset.Key{ID: k.ID, Purpose: keyset.Sign, Algorithm: algorithm, Public: k.Public, Secret: k.Secret}
			if diff := cmp.Diff(want, k, cmp.Comparer(secret.Text.Equal)); diff != "" {
				t.Errorf("a new key has more than its halves: %s", diff)
			}
			c := holding(t, ringOf(as(algorithm, keyset.Primary)), jwtcodec.Options{})
			if algorithm == keyset.HS256 {
				if len(k.Public) != 0 || k.Secret.Len() != 32 || k.ID != c.SymmetricKeyID(k.Secret) {
					t.Errorf("got %d public bytes, %d secret ones, id %q", len(k.Public), k.Secret.Len(), k.ID)
				}
			} else if id, err := jwtcodec.Thumbprint(k.Public); err != nil || id != k.ID || len(id) != 43 {
				t.Errorf("got id %q, want the thumbprint %q (%v)", k.ID, id, err)
			}
			again, err := c.NewKey(algorithm)
			if err != nil || again.ID == k.ID || again.Secret.Equal(k.Secret) {
				t.Errorf("two new keys are one (%v)", err)
			}

			text := sign(t, c, claims())
			want2 := claims()
			want2.KeyID = k.ID
			for range 2 {
				if diff := cmp.Diff(&want2, parse(t, c, text)); diff != "" {
					t.Error(diff)
				}
			}
			if algorithm == keyset.HS256 {
				return
			}
			verifies := holding(t, ringOf(withoutSecret(as(algorithm, keyset.Retiring)), keyOf(another, keyset.Primary)), jwtcodec.Options{})
			parse(t, verifies, text)
			if err := verifies.SetRing(ringOf(withoutSecret(as(algorithm, keyset.Next)), keyOf(another, keyset.Primary))); err != nil {
				t.Error(err)
			}
			parse(t, verifies, text)
		})
	}
	if k, err := jwtcodec.New(jwtcodec.Options{}).NewKey("none"); err == nil || k.ID != "" || !k.Secret.IsZero() {
		t.Errorf("a key was made for none: %v", k.ID)
	}
}

// A key's id can be typed as an argument: of a thousand thumbprints some sixteen would begin with a dash, and be taken for flags.
func TestNoKeyIDLooksLikeAFlag(t *testing.T) {
	c := jwtcodec.New(jwtcodec.Options{})
	for range 1000 {
		k, err := c.NewKey(keyset.EdDSA)
		fatal(t, err)
		if strings.HasPrefix(k.ID, "-") {
			t.Fatalf("the id %q begins with a dash", k.ID)
		}
	}
}

// TestThumbprints holds them against RFC 7638, section 3.1, RFC 8037, appendix A.3 and a value for P-256 that jwx and jose answer too.
func TestThumbprints(t *testing.T) {
	n := "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY" +
		"368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw"
	point := append(append([]byte{4}, decode(t, "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU")...), decode(t, "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0")...)
	ec, err := ecdsa.ParseUncompressedPublicKey(elliptic.P256(), point)
	if err != nil {
		t.Fatal(err)
	}
	for want, public := range map[string]crypto.PublicKey{
		"NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs": &rsa.PublicKey{N: new(big.Int).SetBytes(decode(t, n)), E: 65537},
		"kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k": ed25519.PublicKey(decode(t, "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo")),
		"oKIywvGUpTVTyxMQ3bwIIeQUudfr_CkLMjCE19ECD-U": ec,
	} {
		der, err := x509.MarshalPKIXPublicKey(public)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := jwtcodec.Thumbprint(der); got != want || err != nil {
			t.Errorf("the thumbprint of a %T is %q, want %q (%v)", public, got, want, err)
		}
	}
}

func TestPairsThatAreRefused(t *testing.T) {
	p384, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	fatal(t, err)
	x25519, err := ecdh.X25519().GenerateKey(rand.Reader)
	fatal(t, err)
	agreement, err := x509.MarshalPKIXPublicKey(x25519.PublicKey())
	fatal(t, err)
	weak := &rsa.PublicKey{N: new(big.Int).SetBit(big.NewInt(1), 1023, 1), E: 65537}
	almost := &rsa.PublicKey{N: new(big.Int).SetBit(big.NewInt(1), 2046, 1), E: 65537}
	vast := &rsa.PublicKey{N: new(big.Int).SetBit(big.NewInt(1), 8192, 1), E: 65537}
	three := &rsa.PublicKey{N: new(big.Int).SetBit(big.NewInt(1), 2047, 1), E: 3}
	even := &rsa.PublicKey{N: three.N, E: 65538}
	one := &rsa.PublicKey{N: three.N, E: 1}
	public := func(p crypto.PublicKey) keyset.Key {
		der, err := x509.MarshalPKIXPublicKey(p)
		fatal(t, err)
		return keyset.Key{ID: "k", Purpose: keyset.Sign, State: keyset.Retiring, Public: der}
	}
	other := map[string]keyset.Key{}
	for _, a := range keyset.Algorithms() {
		other[a], err = jwtcodec.New(jwtcodec.Options{}).NewKey(a)
		fatal(t, err)
	}
	type change func(*keyset.Key)
	rows := []struct {
		name   string
		of     string
		change change
		says   string
	}{
		{"no public half", keyset.ES256, func(k *keyset.Key) { k.Public = nil }, "0 bytes"},
		{"a public half as text", keyset.EdDSA, func(k *keyset.Key) { k.Public = pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: k.Public}) }, "cannot be read"},
		{"a public half and a byte", keyset.ES256, func(k *keyset.Key) { k.Public = append(slices.Clone(k.Public), 0) }, "cannot be read"},
		{"a public half of 17 KiB", keyset.ES256, func(k *keyset.Key) { k.Public = make([]byte, 17<<10) }, "17408 bytes"},
		{"a point that is on no curve", keyset.ES256, func(k *keyset.Key) { k.Public = slices.Clone(k.Public); k.Public[len(k.Public)-1] ^= 1 }, "cannot be read"},
		{"a private half that is none", keyset.ES256, func(k *keyset.Key) { k.Secret = secret.New("not a key at all") }, "cannot be read"},
		{"a private half of 17 KiB", keyset.RS256, func(k *keyset.Key) { k.Secret = secret.New(strings.Repeat("s", 17<<10)) }, "17408 bytes"},
		{"another's id", keyset.ES256, func(k *keyset.Key) { k.ID = other[keyset.ES256].ID }, "thumbprint"},
		{"another's public half", keyset.EdDSA, func(k *keyset.Key) { k.Public = other[keyset.EdDSA].Public }, "another key"},
		{"another's public half and id", keyset.EdDSA, func(k *keyset.Key) { k.Public, k.ID = other[keyset.EdDSA].Public, other[keyset.EdDSA].ID }, "another key"},
		{"a primary without a private half", keyset.RS256, func(k *keyset.Key) { k.State, k.Secret = keyset.Primary, secret.Text{} }, ""},
		{"P-384", keyset.ES256, func(k *keyset.Key) { *k = pairOf(t, keyset.ES256, p384) }, "another curve"},
		{"X25519", keyset.EdDSA, func(k *keyset.Key) { k.Public, k.Secret = agreement, secret.Text{} }, "another kind"},
		{"HS256 with a public half", keyset.HS256, func(k *keyset.Key) { k.Public = other[keyset.ES256].Public }, "HS256 has none"},
		{"HS256 that is a public half alone", keyset.ES256, func(k *keyset.Key) { k.Algorithm, k.Secret = keyset.HS256, secret.New(string(k.Public)) }, "HS256 has none"},
		{"1024 bits", keyset.RS256, func(k *keyset.Key) { *k = public(weak) }, "1024 bits"},
		{"2047 bits", keyset.PS256, func(k *keyset.Key) { *k = public(almost) }, "2047 bits"},
		{"8193 bits", keyset.RS256, func(k *keyset.Key) { *k = public(vast) }, "8193 bits"},
		{"the exponent 3", keyset.RS256, func(k *keyset.Key) { *k = public(three) }, "exponent 3"},
		{"the exponent 1", keyset.PS256, func(k *keyset.Key) { *k = public(one) }, "exponent 1"},
		{"an even exponent", keyset.RS256, func(k *keyset.Key) { *k = public(even) }, "exponent 65538"},
	}
	for _, of := range []string{keyset.ES256, keyset.EdDSA, keyset.RS256} { // an algorithm that is not its kind's
		for _, a := range keyset.Algorithms() {
			if a != of && !(of == keyset.RS256 && a == keyset.PS256) && a != keyset.HS256 {
				rows = append(rows, struct {
					name   string
					of     string
					change change
					says   string
				}{of + " as " + a, of, func(k *keyset.Key) { k.Algorithm = a }, "another kind"})
			}
		}
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			k := as(row.of, keyset.Retiring)
			row.change(&k)
			if k.Algorithm == "" {
				k.Algorithm = row.of
			}
			signs := keyOf(ours, keyset.Primary)
			ring := ringOf(signs, k)
			if k.State == keyset.Primary {
				ring = ringOf(k)
			}
			err := jwtcodec.New(jwtcodec.Options{}).SetRing(ring)
			if err == nil {
				t.Fatal("the key was taken")
			}
			if s := err.Error(); !strings.Contains(s, row.says) || strings.Contains(s, "\n") {
				t.Errorf("got %q, want one sentence with %q", s, row.says)
			}
			if !k.Secret.IsZero() && strings.Contains(err.Error(), k.Secret.RevealPlaintext()) {
				t.Error("the refusal tells a secret")
			}
		})
	}
}

// TestAnAlgorithmIsItsKeys: a key's token under each other algorithm's name, and each thing about a public key that somebody could take for an HMAC's
// secret (CVE-2026-33322), under the ids of all that is in the ring.
func TestAnAlgorithmIsItsKeys(t *testing.T) {
	ring := ringOf(keyOf(ours, keyset.Next))
	for _, a := range keyset.Algorithms() {
		s := keyset.Next
		if a == keyset.ES256 {
			s = keyset.Primary
		}
		ring.Keys = append(ring.Keys, as(a, s))
	}
	c := holding(t, ring, jwtcodec.Options{})
	for _, k := range ring.Keys {
		header := func(alg string) string { return `{"alg":"` + alg + `","typ":"at+jwt","kid":"` + k.ID + `"}` }
		keyed := []string{string(k.Public), b64(string(k.Public)), string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: k.Public})), "", k.ID}
		for _, material := range keyed {
			signed := b64(header("HS256")) + "." + b64(goodPayload)
			m := hmac.New(sha256.New, []byte(material))
			m.Write([]byte(signed))
			if _, err := c.Parse(signed + "." + b64(string(m.Sum(nil)))); !errors.Is(err, token.ErrInvalid) || errors.Is(err, token.ErrUnknownKey) {
				t.Errorf("an HMAC under something public of the %s key: %v", k.Algorithm, err)
			}
		}
		for _, o := range ring.Keys {
			alone := holding(t, ringOf(func() keyset.Key { o.State = keyset.Primary; return o }()), jwtcodec.Options{})
			p := strings.Split(sign(t, alone, claims()), ".")
			if _, err := c.Parse(strings.Join(p, ".")); err != nil {
				t.Errorf("%s: %v", o.Algorithm, err)
			}
			if o.ID == k.ID {
				continue
			}
			for _, alg := range []string{k.Algorithm, o.Algorithm} { // signed by o, under k's id
				if _, err := c.Parse(b64(header(alg)) + "." + p[1] + "." + p[2]); !errors.Is(err, token.ErrInvalid) {
					t.Errorf("signed by the %s key under the id of the %s key, alg %s: %v", o.Algorithm, k.Algorithm, alg, err)
				}
			}
		}
		for _, alg := range append(keyset.Algorithms(), "none", "ES384", "") {
			if alg == k.Algorithm {
				continue
			}
			if _, err := c.Parse(resigned(t, k, header(alg), goodPayload)); !errors.Is(err, token.ErrInvalid) {
				t.Errorf("truly signed by the %s key, alg %q: %v", k.Algorithm, alg, err)
			}
		}
		parse(t, c, resigned(t, k, header(k.Algorithm), goodPayload)) // the same tool makes good ones
	}
}

// resigned is a token of any header and payload, truly signed by a key without the code under test.
func resigned(t testing.TB, k keyset.Key, header, payload string) string {
	t.Helper()
	signed := b64(header) + "." + b64(payload)
	if k.Algorithm == keyset.HS256 {
		return forge(header, payload, k.Secret)
	}
	private, err := x509.ParsePKCS8PrivateKey([]byte(k.Secret.RevealPlaintext()))
	fatal(t, err)
	digest := sha256.Sum256([]byte(signed))
	var signature []byte
	switch p := private.(type) {
	case *ecdsa.PrivateKey:
		r, s, err := ecdsa.Sign(rand.Reader, p, digest[:])
		fatal(t, err)
		signature = append(r.FillBytes(make([]byte, 32)), s.FillBytes(make([]byte, 32))...)
	case ed25519.PrivateKey:
		signature = ed25519.Sign(p, []byte(signed))
	case *rsa.PrivateKey:
		if k.Algorithm == keyset.PS256 {
			signature, err = rsa.SignPSS(rand.Reader, p, crypto.SHA256, digest[:], &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash})
		} else {
			signature, err = rsa.SignPKCS1v15(nil, p, crypto.SHA256, digest[:])
		}
		fatal(t, err)
	}
	return signed + "." + b64(string(signature))
}

// TestSignaturesHaveOneForm: what else than the one encoding of a signature stands for the same numbers is refused.
func TestSignaturesHaveOneForm(t *testing.T) {
	for _, a := range keyset.Algorithms() {
		c := holding(t, ringOf(as(a, keyset.Primary)), jwtcodec.Options{CacheBytes: -1})
		text := sign(t, c, claims())
		i := strings.LastIndexByte(text, '.')
		good := decode(t, text[i+1:])
		forms := map[string][]byte{
			"cut":           good[:len(good)-1],
			"cut in front":  good[1:],
			"a zero before": append([]byte{0}, good...),
			"a zero behind": append(slices.Clone(good), 0),
			"twice":         append(slices.Clone(good), good...),
			"zeros":         make([]byte, len(good)),
			"one zero":      {0},
			"inverted":      invert(good),
		}
		switch a {
		case keyset.ES256:
			r, s := new(big.Int).SetBytes(good[:32]), new(big.Int).SetBytes(good[32:])
			n := elliptic.P256().Params().N
			forms["DER"] = der(r, s)
			forms["r and s exchanged"] = append(slices.Clone(good[32:]), good[:32]...)
			forms["s = 0"] = append(slices.Clone(good[:32]), make([]byte, 32)...)
			forms["r = s = n"] = append(n.FillBytes(make([]byte, 32)), n.FillBytes(make([]byte, 32))...)
			forms["33 bytes each"] = append(r.FillBytes(make([]byte, 33)), s.FillBytes(make([]byte, 33))...)
		case keyset.EdDSA: // S + L, which the equation alone would take (RFC 8032, section 5.1.7)
			order, _ := new(big.Int).SetString("7237005577332262213973186563042994240857116359379907606001950938285454250989", 10)
			s := new(big.Int).SetBytes(invertOrder(good[32:]))
			forms["S + L"] = append(slices.Clone(good[:32]), invertOrder(s.Add(s, order).FillBytes(make([]byte, 32)))...)
		case keyset.RS256, keyset.PS256: // s + n, where it has room
			private, err := x509.ParsePKCS8PrivateKey([]byte(made()[a].Secret.RevealPlaintext()))
			fatal(t, err)
			p := private.(*rsa.PrivateKey)
			if s := new(big.Int).Add(new(big.Int).SetBytes(good), p.N); s.BitLen() <= 8*len(good) {
				forms["s + n"] = s.FillBytes(make([]byte, len(good)))
			}
			digest := sha256.Sum256([]byte(text[:i]))
			if a == keyset.PS256 {
				for name, length := range map[string]int{"a salt of 1 byte": 1, "a salt of 20 bytes": 20, "the longest salt": rsa.PSSSaltLengthAuto} {
					forms[name], err = rsa.SignPSS(rand.Reader, p, crypto.SHA256, digest[:], &rsa.PSSOptions{SaltLength: length})
					fatal(t, err)
				}
				forms["PKCS #1 v1.5"], err = rsa.SignPKCS1v15(nil, p, crypto.SHA256, digest[:])
			} else {
				forms["PSS"], err = rsa.SignPSS(rand.Reader, p, crypto.SHA256, digest[:], &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash})
			}
			fatal(t, err)
		}
		for name, form := range forms {
			if _, err := c.Parse(text[:i+1] + b64(string(form))); !errors.Is(err, token.ErrInvalid) {
				t.Errorf("%s, %s: got %v", a, name, err)
			}
		}
		parse(t, c, text)
	}
}

// TestUnknownKey: only what could be a token of a key that this node has not heard of yet is worth a look.
func TestUnknownKey(t *testing.T) {
	c := codec(t, jwtcodec.Options{})
	unknown := strings.Replace(goodHeader, jwtcodec.SymmetricKeyID(ours), "someone-else", 1)
	for text, want := range map[string]bool{
		forge(unknown, goodPayload, another):                                                true,
		forge(replace(unknown, "alg", `"ES256"`), goodPayload, another):                     true,
		forge(replace(unknown, "typ", `"application/AT+JWT"`), goodPayload, another):        true,
		forge(replace(unknown, "kid", `"`+strings.Repeat("k", 128)+`"`), goodPayload, ours): true,
		forge(replace(unknown, "kid", `"`+strings.Repeat("k", 129)+`"`), goodPayload, ours): false,
		forge(replace(unknown, "kid", `""`), goodPayload, ours):                             false,
		forge(replace(unknown, "kid", ""), goodPayload, ours):                               false,
		forge(replace(unknown, "kid", "7"), goodPayload, ours):                              false,
		forge(replace(unknown, "alg", `"none"`), goodPayload, another):                      false,
		forge(replace(unknown, "alg", `"ES384"`), goodPayload, another):                     false,
		forge(replace(unknown, "typ", `"JWT"`), goodPayload, another):                       false,
		forge(`{"jku":"https://example.test/",`+unknown[1:], goodPayload, another):          false,
		forge(unknown, with("sub", `"ann"`), another):                                       false,
		forge(unknown, with("exp", ""), another):                                            false,
		forge(goodHeader, goodPayload, another):                                             false, // a key that is known
	} {
		got, err := c.Parse(text)
		if got != nil || !errors.Is(err, token.ErrInvalid) || errors.Is(err, token.ErrUnknownKey) != want {
			t.Errorf("%s: got %v, unknown key wanted: %v", text[:60], err, want)
		}
	}
}

func TestNoKeysYet(t *testing.T) {
	c := jwtcodec.New(jwtcodec.Options{})
	if text, err := c.Sign(claims()); !errors.Is(err, ports.ErrUnavailable) || !text.IsZero() {
		t.Errorf("Sign: got %v", err)
	}
	if _, err := c.Parse(forge(goodHeader, goodPayload, ours)); !errors.Is(err, token.ErrUnknownKey) {
		t.Errorf("Parse: got %v", err)
	}
	if _, err := c.Parse("a.b.c"); !errors.Is(err, token.ErrMalformed) {
		t.Errorf("Parse: got %v", err)
	}
	if ids := c.KeyIDs(); len(ids) != 0 {
		t.Errorf("KeyIDs = %v", ids)
	}
	if err := c.SetRing(ringOf()); err == nil {
		t.Error("an empty ring was taken")
	}
}

// TestOthersKeys: a Codec that only verifies holds keys whose ids another issuer chose, needs no primary and signs nothing.
func TestOthersKeys(t *testing.T) {
	theirs := holding(t, ringOf(as(keyset.EdDSA, keyset.Primary)), jwtcodec.Options{})
	text := resigned(t, made()[keyset.EdDSA], `{"alg":"EdDSA","typ":"at+jwt","kid":"2024-key"}`, goodPayload)
	if _, err := theirs.Parse(text); !errors.Is(err, token.ErrUnknownKey) {
		t.Errorf("got %v", err)
	}
	k := withoutSecret(as(keyset.EdDSA, keyset.Retiring))
	k.ID = "2024-key"
	if err := theirs.SetRing(ringOf(as(keyset.ES256, keyset.Primary), k)); err == nil {
		t.Error("a key pair of ours has another id than its thumbprint")
	}
	if err := jwtcodec.Check(k); err != nil {
		t.Error(err)
	}
	c := holding(t, ringOf(k), jwtcodec.Options{VerifyOnly: true})
	parse(t, c, text)
	if _, err := c.Sign(claims()); !errors.Is(err, ports.ErrUnavailable) {
		t.Errorf("got %v", err)
	}
	with := as(keyset.ES256, keyset.Primary)
	fatal(t, c.SetRing(ringOf(k, with)))
	if _, err := c.Sign(claims()); !errors.Is(err, ports.ErrUnavailable) {
		t.Errorf("a Codec that only verifies signed: %v", err)
	}
	fatal(t, c.SetRing(ringOf()))
	if _, err := c.Parse(text); !errors.Is(err, token.ErrUnknownKey) {
		t.Errorf("got %v", err)
	}
	k.Algorithm = keyset.ES256
	if jwtcodec.Check(k) == nil {
		t.Error("Check took an Ed25519 key for ES256")
	}
}

// TestTheRingForgetsASecret: a key that retires and loses its private half goes on verifying, and what it had verified stays verified.
func TestTheRingForgetsASecret(t *testing.T) {
	for _, a := range []string{keyset.ES256, keyset.EdDSA, keyset.RS256, keyset.PS256} {
		c := holding(t, ringOf(as(a, keyset.Primary)), jwtcodec.Options{})
		text := sign(t, c, claims())
		warm := parse(t, c, text)
		fatal(t, c.SetRing(ringOf(withoutSecret(as(a, keyset.Retiring)), keyOf(ours, keyset.Primary))))
		if parse(t, c, text) != warm {
			t.Errorf("%s: what was verified is verified anew", a)
		}
		if err := c.SetRing(ringOf(withoutSecret(as(a, keyset.Primary)))); err == nil {
			t.Errorf("%s: a primary signs with a private half that it has no more", a)
		}
		parse(t, c, text)
	}
}

// TestARingOfAThousandKeys: a history of keys slows neither a verification nor the change of one key, since the others are not read again.
func TestARingOfAThousandKeys(t *testing.T) {
	ring := history(t, 1000)
	c := holding(t, ring, jwtcodec.Options{})
	newest := sign(t, c, claims())
	oldest := resigned(t, ring.Keys[1], `{"alg":"ES256","typ":"at+jwt","kid":"`+ring.Keys[1].ID+`"}`, goodPayload)
	warm := parse(t, c, oldest)
	changed := ringOf(slices.Clone(ring.Keys)...)
	i := 0
	got := testing.AllocsPerRun(10, func() {
		i++
		changed.Keys[500+i].State = keyset.Gone
		fatal(t, c.SetRing(changed))
	})
	t.Logf("changing one key of 1,000 takes %v allocations", got)
	if got > 1000 { // each that is read takes more than ten
		t.Errorf("changing one key of 1,000 takes %v allocations: the others are read again", got)
	}
	if parse(t, c, oldest) != warm || len(c.KeyIDs()) != 1000-i {
		t.Errorf("%d keys are left, or one that stayed was read again", len(c.KeyIDs()))
	}
	parse(t, c, newest)
}

// history is a ring of n ES256 keys, the first of which signs.
func history(t testing.TB, n int) keyset.Ring {
	t.Helper()
	ring := ringOf()
	for i := range n {
		k, err := jwtcodec.New(jwtcodec.Options{}).NewKey(keyset.ES256)
		fatal(t, err)
		k.State = keyset.Retiring
		if i == 0 {
			k.State = keyset.Primary
		}
		ring.Keys = append(ring.Keys, k)
	}
	return ring
}

func decode(t testing.TB, s string) []byte {
	t.Helper()
	b, err := base64.RawURLEncoding.DecodeString(s)
	fatal(t, err)
	return b
}

func fatal(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func invert(b []byte) []byte {
	b = slices.Clone(b)
	for i := range b {
		b[i] ^= 0xff
	}
	return b
}

// invertOrder reverses bytes: Ed25519 writes numbers with the least byte first.
func invertOrder(b []byte) []byte {
	b = slices.Clone(b)
	slices.Reverse(b)
	return b
}

// der is an ECDSA signature as X.509 writes it.
func der(r, s *big.Int) []byte {
	b, err := asn1.Marshal(struct{ R, S *big.Int }{r, s})
	if err != nil {
		panic(err)
	}
	return b
}
