package security_test

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"maps"
	"net/url"
	"strings"
	"testing"
)

func urlEscape(s string) string { return url.QueryEscape(s) }

func b64(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) }

// parts are the header and the claims of a token.
func parts(t testing.TB, token string) (header, claims object) {
	t.Helper()
	split := strings.Split(token, ".")
	if len(split) != 3 {
		t.Fatalf("%q is no token", token)
	}
	for i, to := range []*object{&header, &claims} {
		text, err := base64.RawURLEncoding.DecodeString(split[i])
		if err == nil {
			err = json.Unmarshal(text, to)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return header, claims
}

// with is an object with members set to other values, or taken out where the value is gone.
func with(o object, members object) object {
	next := maps.Clone(o)
	for name, value := range members {
		if value == gone {
			delete(next, name)
		} else {
			next[name] = value
		}
	}
	return next
}

// gone takes a member out.
const gone = "\x00gone"

// hs256 signs a header and claims with HMAC-SHA256, without the code under test. Texts are taken as they are.
func hs256(t testing.TB, header, claims any, key string) string {
	t.Helper()
	text := func(v any) string {
		if s, ok := v.(string); ok {
			return s
		}
		b, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	signed := b64(text(header)) + "." + b64(text(claims))
	m := hmac.New(sha256.New, []byte(key))
	m.Write([]byte(signed))
	return signed + "." + b64(string(m.Sum(nil)))
}
