package jwks_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/lestrrat-go/jwx/v2/jwk"

	"github.com/xteam/xteam/adapters/jwks"
	"github.com/xteam/xteam/adapters/jwtcodec"
	"github.com/xteam/xteam/domain/keyset"
	"github.com/xteam/xteam/domain/secret"
)

// made is one key of each algorithm.
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

func as(algorithm string, s keyset.State) keyset.Key {
	k := made()[algorithm]
	k.State = s
	return k
}

func ask(h http.Handler, method string, headers ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, "/.well-known/jwks.json", nil)
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

func marshal(t testing.TB, keys ...keyset.Key) string {
	t.Helper()
	b, err := jwks.Marshal(keys)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestSymmetricKeysAreNotPublished(t *testing.T) {
	for name, keys := range map[string][]keyset.Key{
		"none":              nil,
		"HS256 alone":       {as(keyset.HS256, keyset.Primary)},
		"keys that are out": {as(keyset.HS256, keyset.Primary), as(keyset.ES256, keyset.Gone), as(keyset.EdDSA, keyset.Revoked)},
		"another purpose":   {{ID: "seal-1", Purpose: keyset.Seal, State: keyset.Primary, Secret: secret.New("a secret of a seal")}},
	} {
		if got := marshal(t, keys...); got != `{"keys":[]}` {
			t.Errorf("%s: got %s", name, got)
		}
	}
}

// TestTheSet is read by encoding/json alone: what is in it, in which order, and that nothing of a private half is.
func TestTheSet(t *testing.T) {
	keys := []keyset.Key{as(keyset.RS256, keyset.Retiring), as(keyset.HS256, keyset.Retiring), as(keyset.EdDSA, keyset.Next), as(keyset.ES256, keyset.Primary), as(keyset.PS256, keyset.Next)}
	text := marshal(t, keys...)
	if again := marshal(t, slices.Clone(keys)...); again != text {
		t.Error("the same keys make other bytes")
	}
	var set struct{ Keys []map[string]string }
	if err := json.Unmarshal([]byte(text), &set); err != nil {
		t.Fatal(err)
	}
	want := []struct{ alg, members string }{
		{keyset.ES256, "alg crv kid kty use x y"}, {keyset.RS256, "alg e kid kty n use"}, {keyset.EdDSA, "alg crv kid kty use x"}, {keyset.PS256, "alg e kid kty n use"},
	}
	if len(set.Keys) != len(want) {
		t.Fatalf("got %d keys: %s", len(set.Keys), text)
	}
	for i, w := range want {
		k := set.Keys[i]
		var members []string
		for name := range k {
			members = append(members, name)
		}
		slices.Sort(members)
		if got := strings.Join(members, " "); got != w.members || k["alg"] != w.alg || k["use"] != "sig" || k["kid"] != made()[w.alg].ID {
			t.Errorf("key %d: got %v, want the %s key with %s", i, k, w.alg, w.members)
		}
	}
}

// TestThumbprints holds the ids that jwtcodec makes against jwx.
func TestThumbprints(t *testing.T) {
	set, err := jwk.ParseString(marshal(t, as(keyset.RS256, keyset.Next), as(keyset.EdDSA, keyset.Next), as(keyset.ES256, keyset.Primary), as(keyset.PS256, keyset.Next)))
	if err != nil || set.Len() != 4 {
		t.Fatalf("jwx reads %v (%v)", set, err)
	}
	for i := range set.Len() {
		k, _ := set.Key(i)
		kid := k.KeyID()
		if err := jwk.AssignKeyID(k); err != nil || k.KeyID() != kid {
			t.Errorf("the thumbprint of the %s key is %q, and its id %q (%v)", k.Algorithm(), k.KeyID(), kid, err)
		}
	}
}

func TestWhatIsPublishedIsReadBack(t *testing.T) {
	var want []keyset.Key
	for _, a := range []string{keyset.ES256, keyset.EdDSA, keyset.RS256, keyset.PS256} {
		k := as(a, keyset.Retiring)
		k.Secret = secret.Text{}
		want = append(want, k)
	}
	got, left, err := jwks.Parse([]byte(marshal(t, want...)), jwtcodec.Check)
	if err != nil || len(left) > 0 {
		t.Fatalf("left %q (%v)", left, err)
	}
	if diff := cmp.Diff(want, got, cmp.Comparer(secret.Text.Equal)); diff != "" {
		t.Error(diff)
	}
}

func TestServing(t *testing.T) {
	ring := []keyset.Key{as(keyset.ES256, keyset.Primary)}
	h := jwks.NewHandler(func() []keyset.Key { return ring })
	first := ask(h, http.MethodGet)
	etag := first.Header().Get("ETag")
	for name, want := range map[string]string{"Content-Type": "application/jwk-set+json", "Cache-Control": "public, max-age=300", "ETag": etag} {
		if got := first.Header().Get(name); got != want || got == "" {
			t.Errorf("%s: got %q, want %q", name, got, want)
		}
	}
	if first.Code != 200 || first.Body.String() != marshal(t, ring...) || !strings.HasPrefix(etag, `"`) {
		t.Errorf("got %d, ETag %s, %s", first.Code, etag, first.Body)
	}
	for name, row := range map[string]struct {
		method string
		header []string
		code   int
		body   bool
	}{
		"again":             {http.MethodGet, nil, 200, true},
		"HEAD":              {http.MethodHead, nil, 200, false},
		"the same":          {http.MethodGet, []string{"If-None-Match", etag}, 304, false},
		"the same, by HEAD": {http.MethodHead, []string{"If-None-Match", etag}, 304, false},
		"weakly the same":   {http.MethodGet, []string{"If-None-Match", "W/" + etag}, 304, false},
		"among others":      {http.MethodGet, []string{"If-None-Match", `"a", ` + etag}, 304, false},
		"any":               {http.MethodGet, []string{"If-None-Match", "*"}, 304, false},
		"another":           {http.MethodGet, []string{"If-None-Match", `"a"`}, 200, true},
		"a part":            {http.MethodGet, []string{"Range", "bytes=0-3"}, 200, true},
		"since":             {http.MethodGet, []string{"If-Modified-Since", "Mon, 02 Jan 2090 15:04:05 GMT"}, 200, true},
		"POST":              {http.MethodPost, nil, 405, true},
	} {
		w := ask(h, row.method, row.header...)
		if w.Code != row.code || (w.Body.Len() > 0) != row.body {
			t.Errorf("%s: got %d with %d bytes", name, w.Code, w.Body.Len())
		}
		if row.code < 400 && w.Header().Get("ETag") != etag {
			t.Errorf("%s: the ETag is %q", name, w.Header().Get("ETag"))
		}
	}

	ring = []keyset.Key{as(keyset.ES256, keyset.Primary), as(keyset.EdDSA, keyset.Next)}
	w := ask(h, http.MethodGet, "If-None-Match", etag)
	if w.Code != 200 || w.Header().Get("ETag") == etag || w.Body.String() != marshal(t, ring...) {
		t.Errorf("after the ring changed: got %d, ETag %s", w.Code, w.Header().Get("ETag"))
	}
}

// TestTheDocumentIsMadeOncePerRing: a request costs a look at the slice.
func TestTheDocumentIsMadeOncePerRing(t *testing.T) {
	ring := []keyset.Key{as(keyset.RS256, keyset.Primary), as(keyset.PS256, keyset.Next)}
	h := jwks.NewHandler(func() []keyset.Key { return ring })
	ask(h, http.MethodHead)
	kept := testing.AllocsPerRun(100, func() { ask(h, http.MethodHead) })
	made := testing.AllocsPerRun(100, func() { ring = slices.Clone(ring); ask(h, http.MethodHead) })
	if kept > made/2 {
		t.Errorf("a request costs %v allocations, and %v when the ring is new", kept, made)
	}
}

func TestAKeyThatCannotBePublished(t *testing.T) {
	broken := as(keyset.ES256, keyset.Primary)
	broken.Public = []byte("no key")
	w := ask(jwks.NewHandler(func() []keyset.Key { return []keyset.Key{broken} }), http.MethodGet)
	if w.Code != 500 || w.Header().Get("Cache-Control") != "no-store" || strings.Contains(w.Body.String(), broken.ID) {
		t.Errorf("got %d, %v, %s", w.Code, w.Header(), w.Body)
	}
}
