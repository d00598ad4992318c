// Package jwks publishes our key set and fetches another issuer's (RFC 7517), through lestrrat-go/jwx. It is the only home of that library, which no
// embedding program links.
//
// Of jwx only the form of a single key is used, in both directions. Its Cache and its Fetch are not: they read an answer without bound, follow
// redirects anywhere, fetch at once again whenever they are asked to, and take sets that give secrets away.
package jwks

import (
	"bytes"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/lestrrat-go/jwx/v2/jwk"

	"github.com/xteam/xteam/domain/keyset"
)

// MaxAge is how long whoever fetches our key set is told that it may be used without asking: a key that is to sign without anybody's refusal has to be
// published at least that long before.
const MaxAge = 5 * time.Minute

// contentType is RFC 7517, section 8.5.2.
const contentType = "application/jwk-set+json"

// Handler serves the public keys of a ring, for /.well-known/jwks.json.
type Handler struct {
	keys func() []keyset.Key

	mu   sync.Mutex
	last *document
}

// NewHandler makes a Handler of the keys that keys answers, which are asked for at each request. The document is made anew only when they are another
// slice than the last time, so whoever changes them answers a new one; nobody changes one that was answered.
func NewHandler(keys func() []keyset.Key) *Handler { return &Handler{keys: keys} }

// ServeHTTP answers GET and HEAD, with an ETag that changes with the document and only then.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		http.Error(w, "the key set can only be read", http.StatusMethodNotAllowed)
		return
	}
	d, err := h.document()
	if err != nil {
		w.Header().Set("Cache-Control", "no-store")
		http.Error(w, "the key set cannot be written", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", contentType)
	w.Header().Set("Cache-Control", fmt.Sprintf("public, max-age=%d", int(MaxAge.Seconds())))
	w.Header().Set("ETag", d.etag)
	r.Header.Del("Range") // the whole set or nothing
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(d.text))
}

// document is what was made of the keys.
type document struct {
	of   []keyset.Key
	text []byte
	etag string
}

func (h *Handler) document() (*document, error) {
	keys := h.keys()
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.last != nil && identical(h.last.of, keys) {
		return h.last, nil
	}
	text, err := Marshal(keys)
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(text)
	h.last = &document{of: keys, text: text, etag: `"` + base64.RawURLEncoding.EncodeToString(sum[:16]) + `"`}
	return h.last, nil
}

// identical reports whether both are the same slice.
func identical(a, b []keyset.Key) bool {
	return len(a) == len(b) && (len(a) == 0 || &a[0] == &b[0])
}

// Marshal writes the set of the public halves of those keys whose tokens are taken: the primary first, then those that are next or retiring, in the
// order of keys. Symmetric keys have no public half and are left out. The same keys make the same bytes.
func Marshal(keys []keyset.Key) ([]byte, error) {
	set := jwk.NewSet()
	ordered := slices.Clone(keys)
	slices.SortStableFunc(ordered, func(a, b keyset.Key) int { return rank(a) - rank(b) })
	for _, k := range ordered {
		if k.Purpose != keyset.Sign || !k.State.Verifies() || k.Algorithm == keyset.HS256 {
			continue
		}
		one, err := public(k)
		if err == nil {
			err = set.AddKey(one)
		}
		if err != nil {
			return nil, fmt.Errorf("publish signing key %q: %w", k.ID, err)
		}
	}
	return json.Marshal(set)
}

func rank(k keyset.Key) int {
	if k.State == keyset.Primary {
		return 0
	}
	return 1
}

// public is the JWK of a key's public half.
func public(k keyset.Key) (jwk.Key, error) {
	half, err := x509.ParsePKIXPublicKey(k.Public)
	if err != nil {
		return nil, err
	}
	one, err := jwk.FromRaw(half)
	if err != nil {
		return nil, err
	}
	for name, value := range map[string]any{jwk.KeyIDKey: k.ID, jwk.AlgorithmKey: k.Algorithm, jwk.KeyUsageKey: jwk.ForSignature} {
		if err := one.Set(name, value); err != nil {
			return nil, err
		}
	}
	return one, nil
}
