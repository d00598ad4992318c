package jwtcodec_test

import (
	"encoding/json"
	"os"
	"slices"
	"testing"

	"github.com/xteam/xteam/adapters/jwks"
	"github.com/xteam/xteam/adapters/jwtcodec"
	"github.com/xteam/xteam/domain/keyset"
	"github.com/xteam/xteam/domain/secret"
)

// vectors is a file of Project Wycheproof.
type vectors struct {
	NumberOfTests int
	TestGroups    []struct {
		Comment         string
		Public, Private json.RawMessage
		Tests           []struct {
			TcID    int
			Comment string
			JWS     any // a string, or an object: the JSON serialisation
			Result  string
		}
	}
}

func readVectors(t testing.TB, name string) vectors {
	t.Helper()
	text, err := os.ReadFile("testdata/wycheproof/" + name)
	fatal(t, err)
	var v vectors
	fatal(t, json.Unmarshal(text, &v))
	return v
}

// refusedThoughValid is each vector that is called valid and that we refuse, with the reason.
var refusedThoughValid = map[int]string{
	259: "its payload is empty, and a token's is an object", 272: "its payload is empty, and a token's is an object",
	264: "RS384 is not one of our algorithms", 265: "RS384", 266: "RS384", 267: "RS384",
	268: "RS512 is not one of our algorithms", 269: "RS512", 270: "RS512", 271: "RS512",
	320: "PS384 is not one of our algorithms", 321: "PS384", 322: "PS384", 323: "PS384",
	325: "PS512 is not one of our algorithms", 326: "PS512", 327: "PS512", 328: "PS512",
	346: "signed by PS384, under a key that says PS256", 350: "signed by PS384, under a key that says PS256",
	347: "ES512 is not one of our algorithms", 351: "ES512",
	372: "a question mark in the base64url of the header, which the vectors would skip", 373: "a question mark in the base64url of the payload, which the vectors would skip",
}

// twins are vectors that are called invalid for their padding, and have lost it on their way into the file: they are, byte for byte, another that is
// called valid.
var twins = map[int]int{367: 357, 370: 357}

// TestWycheproofSignatures holds the code that Parse verifies with against every vector: what it asks of an access token besides (typ, kid, claims) is
// left out, since no vector is one. Keys come through the reading of key sets, as another issuer's do.
func TestWycheproofSignatures(t *testing.T) {
	v := readVectors(t, "json_web_signature_test.json")
	ran, taken, texts := 0, map[string]int{}, map[int]any{}
	for _, group := range v.TestGroups {
		keys := keysOf(t, group.Public, group.Private)
		for _, test := range group.Tests {
			ran++
			text, compact := test.JWS.(string)
			got := compact && slices.ContainsFunc(keys, func(k keyset.Key) bool { return jwtcodec.VerifyCompact(k, text) })
			want := test.Result == "valid"
			texts[test.TcID] = test.JWS
			if twin, ok := twins[test.TcID]; ok && !want && texts[twin] == test.JWS {
				want = true
			}
			if _, ok := refusedThoughValid[test.TcID]; ok {
				if !want {
					t.Errorf("vector %d is listed as valid, and is %s", test.TcID, test.Result)
				}
				want = false
			}
			if got != want {
				t.Errorf("vector %d (%s, %s) is %s: got %v, want %v", test.TcID, group.Comment, test.Comment, test.Result, got, want)
			}
			if got {
				taken[keys[0].Algorithm]++
			}
		}
	}
	if ran != v.NumberOfTests {
		t.Errorf("%d vectors were run, and there are %d", ran, v.NumberOfTests)
	}
	for _, a := range []string{keyset.HS256, keyset.ES256, keyset.RS256, keyset.PS256} { // none is EdDSA
		if taken[a] == 0 {
			t.Errorf("no vector of %s was taken", a)
		}
	}
	t.Logf("%d vectors, taken: %v", ran, taken)
}

// TestWycheproofKeys: a set that is bad, or a token that is not by a good key of it, is refused. Sets of symmetric keys are nothing that anybody may
// publish, so only those of public keys are read as sets; of the others each key is held alone.
func TestWycheproofKeys(t *testing.T) {
	others := map[int]string{14: "HS384 is not one of our algorithms", 15: "HS512 is not one of our algorithms"}
	v := readVectors(t, "json_web_key_test.json")
	ran, valid := 0, 0
	for _, group := range v.TestGroups {
		text, symmetric := group.Public, group.Public == nil
		if symmetric {
			text = group.Private
		}
		keys, _, err := jwks.Parse(text, jwtcodec.Check)
		if symmetric && err == nil {
			t.Errorf("%s: a set that gives secrets away was taken", group.Comment)
		}
		for _, test := range group.Tests {
			ran++
			held := keys
			if symmetric && test.TcID != 1 && test.TcID != 4 { // those two are about the set
				held = secretsOf(t, text)
			}
			got := slices.ContainsFunc(held, func(k keyset.Key) bool { return jwtcodec.VerifyCompact(k, test.JWS.(string)) })
			want := test.Result == "valid" && others[test.TcID] == ""
			if got != want {
				t.Errorf("vector %d (%s, %s) is %s: got %v, want %v", test.TcID, group.Comment, test.Comment, test.Result, got, want)
			}
			if got {
				valid++
			}
		}
	}
	if ran != v.NumberOfTests || valid != 3 {
		t.Errorf("%d of %d vectors were run, and %d taken, want 3", ran, v.NumberOfTests, valid)
	}
}

// keysOf are the keys of a group: one that is published, or a secret.
func keysOf(t *testing.T, public, private json.RawMessage) []keyset.Key {
	t.Helper()
	if public == nil {
		return secretsOf(t, []byte(`{"keys":[`+string(private)+`]}`))
	}
	keys, _, err := jwks.Parse([]byte(`{"keys":[`+string(public)+`]}`), jwtcodec.Check)
	fatal(t, err)
	return keys
}

// secretsOf are the symmetric keys of a set.
func secretsOf(t *testing.T, text []byte) (keys []keyset.Key) {
	t.Helper()
	var set struct {
		Keys []struct{ Kty, Kid, Alg, K string }
	}
	fatal(t, json.Unmarshal(text, &set))
	for _, k := range set.Keys {
		if k.Kty == "oct" {
			keys = append(keys, keyset.Key{ID: k.Kid, Purpose: keyset.Sign, Algorithm: k.Alg, State: keyset.Retiring, Secret: secret.New(string(decode(t, k.K)))})
		}
	}
	return keys
}
