// Package interop_test has programs that others wrote verify our tokens, from our key set, across rotations and with the caching that they have by default.
package interop_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/lestrrat-go/jwx/v2/jwk"
	"github.com/lestrrat-go/jwx/v2/jws"
	"github.com/lestrrat-go/jwx/v2/jwt"

	"github.com/xteam/xteam/adapters/jwks"
	"github.com/xteam/xteam/adapters/jwtcodec"
	"github.com/xteam/xteam/domain/id"
	"github.com/xteam/xteam/domain/instant"
	"github.com/xteam/xteam/domain/keyset"
	"github.com/xteam/xteam/domain/token"
)

const issuer, audience = "https://tokens.example", "xteam"

// service is what signs and publishes. Its ring is changed by hand, and both see the change at once.
type service struct {
	t       *testing.T
	codec   *jwtcodec.Codec
	ring    keyset.Ring
	keys    atomic.Pointer[[]keyset.Key]
	fetches atomic.Int64
	url     string
}

func newService(t *testing.T, algorithm string) *service {
	s := &service{t: t, codec: jwtcodec.New(jwtcodec.Options{}), ring: keyset.Ring{Name: keyset.Signing}}
	s.add(algorithm)
	h := jwks.NewHandler(func() []keyset.Key { return *s.keys.Load() })
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { s.fetches.Add(1); h.ServeHTTP(w, r) }))
	t.Cleanup(server.Close)
	s.url = server.URL + "/.well-known/jwks.json"
	return s
}

func (s *service) change(ring keyset.Ring, err error) {
	s.t.Helper()
	if err == nil {
		err = s.codec.SetRing(ring)
	}
	if err != nil {
		s.t.Fatal(err)
	}
	s.ring = ring
	s.keys.Store(&ring.Keys)
}

// add publishes a new key, which signs when it is the first, and answers its id.
func (s *service) add(algorithm string) string {
	s.t.Helper()
	k, err := s.codec.NewKey(algorithm)
	if err != nil {
		s.t.Fatal(err)
	}
	s.change(s.ring.Add(k, false, 1))
	return k.ID
}

func (s *service) promote(kid string) { s.t.Helper(); s.change(s.ring.Promote(kid, 2)) }
func (s *service) revoke(kid string)  { s.t.Helper(); s.change(s.ring.Revoke(kid, 3)) }

func (s *service) token() string {
	s.t.Helper()
	now := instant.Unix(time.Now().Unix())
	text, err := s.codec.Sign(token.Claims{ID: id.Token{1}, Subject: id.User{2}, Session: id.Session{3}, Issuer: issuer, Audience: []string{audience},
		ClientID: "xteam", Roles: []string{"user"}, IssuedAt: now, NotBefore: now, ExpiresAt: now.Add(time.Hour)})
	if err != nil {
		s.t.Fatal(err)
	}
	return text.RevealPlaintext()
}

// verifier is somebody else's program with a cache of our keys.
type verifier interface {
	// verify answers the id of the key, or why the token is refused.
	verify(text string) (kid, refused string)
	// later moves the clock of the cache.
	later(time.Duration)
}

// jose is the npm package of that name, in a process of its own.
type jose struct {
	t   *testing.T
	in  io.Writer
	out *bufio.Scanner
}

func startJose(t *testing.T, url string) *jose {
	t.Helper()
	return startNode(t, nil, "verify.mjs", url, issuer, audience)
}

// startNode runs a script of testdata/jose, with env beside the environment of the test.
func startNode(t *testing.T, env []string, args ...string) *jose {
	t.Helper()
	for _, name := range []string{"node", "npm"} {
		switch _, err := exec.LookPath(name); {
		case err == nil:
		case os.Getenv("XTEAM_TEST_REAL") == "1":
			t.Fatalf("%s is not installed: make deps", name)
		default:
			t.Skipf("%s is not installed", name)
		}
	}
	cmd := exec.Command("node", args...)
	cmd.Dir, cmd.Env = installed(t), append(os.Environ(), env...)
	in, err := cmd.StdinPipe()
	fatal(t, err)
	out, err := cmd.StdoutPipe()
	fatal(t, err)
	var complaints bytes.Buffer
	cmd.Stderr = &complaints
	fatal(t, cmd.Start())
	t.Cleanup(func() {
		_ = in.Close()
		if err := cmd.Wait(); err != nil {
			t.Errorf("node: %v %s", err, complaints.String())
		}
	})
	return &jose{t: t, in: in, out: bufio.NewScanner(out)}
}

// installed is a folder with the scripts and what they need, which npm fetches once for each state of testdata/jose into the user's cache.
func installed(t *testing.T) string {
	t.Helper()
	files, err := filepath.Glob("testdata/jose/*.*")
	fatal(t, err)
	var all []byte
	for _, name := range files {
		text, err := os.ReadFile(name)
		fatal(t, err)
		all = append(all, text...)
	}
	sum := sha256.Sum256(all)
	cache, err := os.UserCacheDir()
	fatal(t, err)
	folder := filepath.Join(cache, "xteam-tools", "interop-"+hex.EncodeToString(sum[:8]))
	if _, err := os.Stat(folder); err == nil {
		return folder
	}
	fatal(t, os.MkdirAll(filepath.Dir(folder), 0o755))
	fresh, err := os.MkdirTemp(filepath.Dir(folder), "interop-new-")
	fatal(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(fresh) })
	fatal(t, os.CopyFS(fresh, os.DirFS("testdata/jose")))
	npm := exec.CommandContext(t.Context(), "npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--prefer-offline")
	npm.Dir = fresh
	if out, err := npm.CombinedOutput(); err != nil {
		t.Fatalf("npm ci: %v\n%s", err, out)
	}
	if err := os.Rename(fresh, folder); err != nil && !errors.Is(err, os.ErrExist) { // another run may have been first
		if _, missing := os.Stat(folder); missing != nil {
			t.Fatal(err)
		}
	}
	return folder
}

// told is a line of verify.mjs.
type told struct {
	Sub, Alg, Kid, Code, Message string
	Thumbprints                  []string
}

func (j *jose) ask(what any) (answer told) {
	j.t.Helper()
	line, err := json.Marshal(what)
	fatal(j.t, err)
	_, err = j.in.Write(append(line, '\n'))
	fatal(j.t, err)
	if !j.out.Scan() {
		j.t.Fatalf("node ended: %v", j.out.Err())
	}
	fatal(j.t, json.Unmarshal(j.out.Bytes(), &answer))
	return answer
}

func (j *jose) verify(text string) (kid, refused string) {
	j.t.Helper()
	a := j.ask(map[string]string{"token": text})
	return a.Kid, a.Code
}

func (j *jose) later(d time.Duration) { j.t.Helper(); j.ask(map[string]float64{"later": d.Seconds()}) }

// jwxCache is jwx's Cache as a client's program has it, which refreshes when a token names a key that it does not hold.
type jwxCache struct {
	t     *testing.T
	cache *jwk.Cache
	url   string
}

func startJWX(t *testing.T, url string) *jwxCache {
	t.Helper()
	c := jwk.NewCache(t.Context())
	fatal(t, c.Register(url))
	return &jwxCache{t: t, cache: c, url: url}
}

func (j *jwxCache) verify(text string) (kid, refused string) {
	j.t.Helper()
	message, err := jws.Parse([]byte(text))
	fatal(j.t, err)
	kid = message.Signatures()[0].ProtectedHeaders().KeyID()
	set, err := j.cache.Get(j.t.Context(), j.url)
	fatal(j.t, err)
	if _, held := set.LookupKeyID(kid); !held {
		set, err = j.cache.Refresh(j.t.Context(), j.url)
		fatal(j.t, err)
	}
	if _, err := jwt.Parse([]byte(text), jwt.WithKeySet(set), jwt.WithIssuer(issuer), jwt.WithAudience(audience)); err != nil {
		return "", err.Error()
	}
	return kid, ""
}

// later is what its own timer does: nobody else can turn the clock of it.
func (j *jwxCache) later(d time.Duration) {
	if d >= 15*time.Minute {
		_, err := j.cache.Refresh(context.WithoutCancel(j.t.Context()), j.url)
		fatal(j.t, err)
	}
}

var algorithms = []string{keyset.ES256, keyset.EdDSA, keyset.RS256, keyset.PS256}

// TestRotations goes twice through all the algorithms, by hand (the new key signs at once) and gracefully (it signs when caches have heard of it). No good
// token is refused at any time, and the verifier asks for the keys no oftener than it has to.
func TestRotations(t *testing.T) {
	for name, start := range map[string]func(*testing.T, string) verifier{
		"jose": func(t *testing.T, url string) verifier { return startJose(t, url) },
		"jwx":  func(t *testing.T, url string) verifier { return startJWX(t, url) },
	} {
		t.Run(name, func(t *testing.T) {
			s := newService(t, keyset.ES256)
			v := start(t, s.url)
			var all []string
			verifyAll := func(when string) {
				t.Helper()
				text := s.token()
				all = append(all, text)
				want, _ := s.ring.Primary(keyset.Sign)
				if kid, refused := v.verify(text); kid != want.ID {
					t.Fatalf("%s: a token of the %s key is refused: %s", when, want.Algorithm, refused)
				}
				for i, old := range all {
					if _, refused := v.verify(old); refused != "" {
						t.Fatalf("%s: token %d of %d is refused: %s", when, i+1, len(all), refused)
					}
				}
			}
			verifyAll("first")
			for _, algorithm := range append(slices.Clone(algorithms[1:]), algorithms...) {
				v.later(31 * time.Second) // jose asks again after 30 s; it is told so by nobody
				s.promote(s.add(algorithm))
				before := s.fetches.Load()
				verifyAll("by hand, to " + algorithm)
				if n := s.fetches.Load() - before; n != 1 {
					t.Errorf("by hand, to %s: the keys were fetched %d times, want 1", algorithm, n)
				}

				next := s.add(algorithm)
				verifyAll("while the next key waits")
				v.later(15 * time.Minute)
				verifyAll("when caches have heard of it")
				before = s.fetches.Load()
				s.promote(next)
				verifyAll("gracefully, to " + algorithm)
				if n := s.fetches.Load() - before; n != 0 {
					t.Errorf("gracefully, to %s: the keys were fetched %d times, want none", algorithm, n)
				}
			}
		})
	}
}

// TestAHastyRotation: what a rotation by hand costs whoever fetched the keys a moment ago. jose asks at most once in 30 s, so for that long it refuses the
// new key's tokens: it is what `--graceful` is for.
func TestAHastyRotation(t *testing.T) {
	s := newService(t, keyset.ES256)
	v := startJose(t, s.url)
	if _, refused := v.verify(s.token()); refused != "" {
		t.Fatal(refused)
	}
	s.promote(s.add(keyset.ES256))
	text := s.token()
	if _, refused := v.verify(text); refused != "ERR_JWKS_NO_MATCHING_KEY" {
		t.Errorf("within its pause jose answers %q: then --graceful is needed no more", refused)
	}
	v.later(31 * time.Second)
	if _, refused := v.verify(text); refused != "" {
		t.Errorf("after its pause: %s", refused)
	}
}

// TestADeadKey: who verifies by the key set alone goes on with a key that was revoked until the cache ends, and then refuses it. It is why revocations have
// a feed.
func TestADeadKey(t *testing.T) {
	for name, start := range map[string]func(*testing.T, string) verifier{
		"jose": func(t *testing.T, url string) verifier { return startJose(t, url) },
		"jwx":  func(t *testing.T, url string) verifier { return startJWX(t, url) },
	} {
		t.Run(name, func(t *testing.T) {
			s := newService(t, keyset.ES256)
			v := start(t, s.url)
			text := s.token()
			dead, refused := v.verify(text)
			if refused != "" {
				t.Fatal(refused)
			}
			s.add(keyset.EdDSA)
			s.revoke(dead)
			v.later(15 * time.Minute)
			if kid, _ := v.verify(text); kid != "" {
				t.Error("a token of a key that was revoked, and is not published, is taken")
			}
			if _, refused := v.verify(s.token()); refused != "" {
				t.Errorf("a token of the key that took its place is refused: %s", refused)
			}
		})
	}
}

func TestForeignVerifiersRefuse(t *testing.T) {
	for name, start := range map[string]func(*testing.T, string) verifier{
		"jose": func(t *testing.T, url string) verifier { return startJose(t, url) },
		"jwx":  func(t *testing.T, url string) verifier { return startJWX(t, url) },
	} {
		t.Run(name, func(t *testing.T) {
			s, other := newService(t, keyset.ES256), newService(t, keyset.ES256)
			v := start(t, s.url)
			text := s.token()
			if _, refused := v.verify(text); refused != "" {
				t.Fatal(refused)
			}
			if kid, _ := v.verify(other.token()); kid != "" {
				t.Error("a token of another's key is taken")
			}
			signature := strings.LastIndexByte(text, '.') + 1
			changed, err := base64.RawURLEncoding.DecodeString(text[signature:])
			fatal(t, err)
			changed[0] ^= 1
			if kid, _ := v.verify(text[:signature] + base64.RawURLEncoding.EncodeToString(changed)); kid != "" {
				t.Error("a token with another signature is taken")
			}
			s.promote(s.add(keyset.HS256)) // a symmetric key is not published
			v.later(15 * time.Minute)
			if kid, _ := v.verify(s.token()); kid != "" {
				t.Error("a token of a symmetric key is taken")
			}
		})
	}
}

// TestThumbprints holds the ids of our keys against jose.
func TestThumbprints(t *testing.T) {
	s := newService(t, keyset.ES256)
	var want []string
	for _, a := range algorithms[1:] {
		s.add(a)
	}
	for _, k := range s.ring.Keys {
		want = append(want, k.ID)
	}
	if got := startJose(t, s.url).ask(map[string]bool{"thumbprints": true}); !slices.Equal(got.Thumbprints, want) {
		t.Errorf("jose says %q (%s), and ours are %q", got.Thumbprints, got.Message, want)
	}
}

func fatal(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
