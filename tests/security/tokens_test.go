package security_test

import (
	"bytes"
	"compress/flate"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"math"
	"net/http"
	"net/http/httptest"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/xteam/xteam/adapters/jwks"
	"github.com/xteam/xteam/adapters/jwtcodec"
	"github.com/xteam/xteam/adapters/memstore"
	"github.com/xteam/xteam/app"
	"github.com/xteam/xteam/app/verify"
	"github.com/xteam/xteam/app/xteam/assembly"
	"github.com/xteam/xteam/domain/account"
	xtoken "github.com/xteam/xteam/domain/token"
)

// tokenExhibits are of access tokens.
var tokenExhibits = []exhibit{
	{ids: []string{"CVE-2025-30204"}, play: manyDots},
	{ids: []string{"CVE-2024-51744"}, play: expiredAndBadlySigned},
	{ids: []string{"CVE-2020-26160"}, play: audienceAsArray},
	{ids: []string{"CVE-2026-33322"}, play: algorithmConfusion},
	{ids: []string{"CVE-2024-21664"}, play: jsonSerialisation},
	{ids: []string{"CVE-2023-49290", "CVE-2024-28122", "CVE-2026-34986"}, play: encryptedTokens},
	{ids: []string{"CVE-2026-49998"}, play: oneKidOfTwoIssuers},
	{ids: []string{"CVE-2026-33496", "GHSA-qvp4-rpmr-xwrr"}, play: verdictsAreNotCached},
	{ids: []string{"CVE-2026-9097"}, play: loggedOutEverywhere},
}

// allocated is how many bytes a call takes, on average of many, and the least of five times: what a node does beside it is not the call's.
func allocated(t *testing.T, times int, call func()) uint64 {
	t.Helper()
	call() // what is made once
	least := uint64(math.MaxUint64)
	for range 5 {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		for range times {
			call()
		}
		runtime.ReadMemStats(&after)
		least = min(least, (after.TotalAlloc-before.TotalAlloc)/uint64(times))
	}
	return least
}

func manyDots(t *testing.T) {
	n := one(t, plan{})
	long := strings.Repeat("a", 2600)
	for name, text := range map[string]string{"8,000 dots": strings.Repeat(".", 8000), "7.9 KiB": long + "." + long + "." + long} {
		if a := n.get(v1+"/users/me", text); a.status != http.StatusUnauthorized || a.code() != "token_malformed" || a.header.Get("Cache-Control") != "no-store" {
			t.Errorf("%s: got %d %s", name, a.status, a.body)
		}
		n.refusedEverywhere(text, "token_malformed")
		if took := allocated(t, 50, func() { _, _ = n.guard.Admit(text) }); took > 32<<10 {
			t.Errorf("%s takes %d bytes of the guard", name, took)
		}
		r := request{method: "GET", path: v1 + "/users/me", bearer: text}
		if took := allocated(t, 50, func() { n.api.Handler().ServeHTTP(&nothing{header: http.Header{}}, r.build()) }); took > 32<<10+24<<10 { // the request itself is 3 × 8 KiB
			t.Errorf("%s takes %d bytes of a request", name, took)
		}
	}
	if strings.Contains(n.log.String(), "panic") {
		t.Error(n.log.String())
	}
}

// nothing is a response that is not kept.
type nothing struct{ header http.Header }

func (n *nothing) Header() http.Header         { return n.header }
func (n *nothing) WriteHeader(int)             {}
func (n *nothing) Write(p []byte) (int, error) { return len(p), nil }

func expiredAndBadlySigned(t *testing.T) {
	still := time.Now() // nothing is refilled, however slow the machine
	n := one(t, plan{change: func(o *assembly.Options) {
		o.Now = func() time.Time { return still }
		o.Limits = app.LimiterOptions{PerAddress: 20, Read: 50, Auth: 50, Write: 50}
	}})
	ann := n.ann()
	header, claims := parts(t, ann.access)
	past := float64(time.Now().Add(-time.Hour).Unix())
	bad := hs256(t, header, with(claims, object{"exp": past, "iat": past - 60, "nbf": past - 60}), "another secret of at least 32 bytes")
	left := func() string {
		return n.ask(request{method: "GET", path: v1 + "/users/me", bearer: ann.access, from: "198.51.100.7"}).header.Get("X-RateLimit-Remaining")
	}
	before := n.log.String()
	for i := range 25 {
		a := n.ask(request{method: "GET", path: v1 + "/users/me", bearer: bad, from: "203.0.113.5"})
		if want := i < 20; want && (a.status != http.StatusUnauthorized || a.code() != "token_invalid") || !want && a.status != http.StatusTooManyRequests {
			t.Fatalf("request %d: %d %s, want invalid until the address has spent its bucket", i, a.status, a.body)
		}
	}
	if l := left(); l != "19" {
		t.Errorf("ann, elsewhere, has %s of 20 left after one request: a token that proves nothing was charged to her", l)
	}
	sub := claims["sub"].(string)
	if strings.Contains(strings.TrimPrefix(n.log.String(), before), sub) {
		t.Errorf("the log names the subject of a token that proves nothing:\n%s", n.log)
	}
	all, _, err := n.store.Events().List(t.Context(), 0, 1000)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range all {
		if strings.Contains(string(e.Kind), "refus") && strings.Contains(fmt.Sprintf("%+v", e), sub) {
			t.Errorf("an event names the subject of a token that proves nothing: %+v", e)
		}
	}
	m := one(t, plan{})
	m.refusedEverywhere(bad, "token_invalid")
}

func audienceAsArray(t *testing.T) {
	n := one(t, plan{})
	header, claims := parts(t, n.ann().access)
	forge := func(aud any) string { return hs256(t, header, with(claims, object{"aud": aud}), signingSecret) }
	for _, aud := range []any{[]string{"other"}, []string{}, "", gone, "other", []string{"xteam-not"}, "xteam "} {
		n.refusedEverywhere(forge(aud), "")
	}
	for _, aud := range []any{[]string{"other", "xteam"}, []string{"xteam"}, "xteam"} {
		n.takenEverywhere(forge(aud))
	}
}

func algorithmConfusion(t *testing.T) {
	n := one(t, plan{change: func(o *assembly.Options) { o.Rotation.Algorithm = "ES256" }})
	boss := n.boss()
	header, claims := parts(t, boss.access)
	if header["alg"] != "ES256" {
		t.Fatalf("signed with %v", header["alg"])
	}
	keyID, keyText := n.key(boss.access)
	set := n.get("/.well-known/jwks.json", "")
	var published struct {
		Keys []struct{ Kid, X, Y string }
	}
	if err := json.Unmarshal([]byte(set.body), &published); err != nil || len(published.Keys) == 0 {
		t.Fatalf("%v %s", err, set.body)
	}
	var member struct{ Keys []json.RawMessage }
	_ = json.Unmarshal([]byte(set.body), &member)
	public := published.Keys[0]
	x, err1 := base64.RawURLEncoding.DecodeString(public.X)
	y, err2 := base64.RawURLEncoding.DecodeString(public.Y)
	point, err3 := ecdsa.ParseUncompressedPublicKey(elliptic.P256(), slices.Concat([]byte{4}, x, y))
	if err := errors.Join(err1, err2, err3); err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKIXPublicKey(point)
	if err != nil {
		t.Fatal(err)
	}
	text := string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))
	keys := map[string]string{"PEM": text, "PEM without its last line break": strings.TrimSuffix(text, "\n"), "DER": string(der), "JWK": string(member.Keys[0]), "JWK set": set.body, "x": public.X,
		"an API key": keyText, "its id": keyID, "nothing": ""}
	kids := []string{header["kid"].(string), keyIDOf(), keyID, "1", ""}
	for name, key := range keys {
		for _, kid := range kids {
			for _, alg := range []string{"HS256", "ES256", "none", "HS512"} {
				forged := hs256(t, with(header, object{"alg": alg, "kid": kid}), claims, key)
				if a := n.get(v1+"/users/me", forged); a.status != http.StatusUnauthorized {
					t.Errorf("%s under the kid %q with alg %s: %d %s", name, kid, alg, a.status, a.body)
				}
			}
		}
	}
	n.refusedEverywhere(hs256(t, with(header, object{"alg": "HS256"}), claims, text), "")
	unsigned := b64(`{"alg":"none","typ":"at+jwt","kid":"`+header["kid"].(string)+`"}`) + strings.TrimPrefix(boss.access[strings.Index(boss.access, "."):strings.LastIndex(boss.access, ".")], "") + "."
	n.refusedEverywhere(unsigned, "")
	n.takenEverywhere(boss.access)
	if a := one(t, plan{}).get("/.well-known/jwks.json", ""); strings.TrimSpace(a.body) != `{"keys":[]}` {
		t.Errorf("a server that signs with HS256 alone publishes %s", a.body)
	}
}

const serialised = `{"payload":"e30","signatures":[{"signature":"AA"}]}`

func jsonSerialisation(t *testing.T) {
	n := one(t, plan{})
	for _, text := range []string{serialised, `{"payload":"e30","signature":"AA"}`, `{"payload":"e30","signatures":[]}`, `{}`} {
		n.refusedEverywhere(text, "token_malformed")
		if keys, _, err := jwks.Parse([]byte(text), jwtcodec.Check); err == nil {
			t.Errorf("%s was taken as a key set: %v", text, keys)
		}
		remote := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(text)) }))
		defer remote.Close()
		r, err := jwks.NewRemote(remote.URL, jwtcodec.Check, jwks.RemoteOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if set, err := r.Keys(t.Context()); err == nil {
			t.Errorf("%s was fetched as a key set: %v", text, set)
		}
	}
}

func encryptedTokens(t *testing.T) {
	n := one(t, plan{})
	var small bytes.Buffer
	w, err := flate.NewWriter(&small, flate.BestCompression)
	if err == nil {
		_, err = w.Write(make([]byte, 3<<20))
	}
	if err := errors.Join(err, w.Close()); err != nil {
		t.Fatal(err)
	}
	bomb := b64(small.String())
	admit := func(text string) (err error) {
		defer func() {
			if p := recover(); p != nil {
				t.Errorf("%.60s…: it panics: %v", text, p)
				err = errors.New("it panics")
			}
		}()
		_, err = n.guard.Admit(text)
		return err
	}
	for _, header := range []string{
		`{"alg":"PBES2-HS256+A128KW","enc":"A128GCM","p2s":"AAAAAAAAAAA","p2c":2000000000}`,
		`{"alg":"dir","enc":"A128GCM","zip":"DEF"}`,
		`{"alg":"RSA-OAEP","enc":"A128CBC-HS256"}`,
		`{"alg":"ECDH-ES","enc":"A128GCM","epk":{"kty":"EC","crv":"P-256"}}`,
		`{"alg":"A128KW","enc":"A128CBC-HS256","kid":"` + keyIDOf() + `","typ":"at+jwt"}`,
	} {
		for _, key := range []string{"", "AA", b64(strings.Repeat("k", 24))} {
			text := b64(header) + "." + key + ".AAAAAAAAAAAAAAAA." + bomb + ".AAAAAAAAAAAAAAAAAAAAAA"
			var err error
			took := fastest(func() { err = admit(text) })
			if took > 5*time.Millisecond*patience || err == nil {
				t.Errorf("%s: %v after %v", header, err, took)
			}
			if took := allocated(t, 5, func() { _ = admit(text) }); took > 32<<10 {
				t.Errorf("%s takes %d bytes of the guard", header, took)
			}
		}
		n.refusedEverywhere(b64(header)+".AA.AAAA."+bomb+".AAAA", "token_malformed")
	}
}

// issuer is somebody who signs with ES256, and publishes the key under a kid of their choice.
type issuer struct {
	key *ecdsa.PrivateKey
	url string
}

func newIssuer(t *testing.T, kid string) issuer {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	point, err := key.PublicKey.Bytes() // 4, x and y
	if err != nil {
		t.Fatal(err)
	}
	set := object{"keys": []object{{"kty": "EC", "crv": "P-256", "alg": "ES256", "use": "sig", "kid": kid, "x": b64(string(point[1:33])), "y": b64(string(point[33:]))}}}
	remote := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _ = json.NewEncoder(w).Encode(set) }))
	t.Cleanup(remote.Close)
	return issuer{key, remote.URL}
}

func (i issuer) sign(t *testing.T, kid string, claims object) string {
	t.Helper()
	header, _ := json.Marshal(object{"alg": "ES256", "typ": "at+jwt", "kid": kid})
	payload, _ := json.Marshal(claims)
	signed := b64(string(header)) + "." + b64(string(payload))
	sum := sha256.Sum256([]byte(signed))
	r, s, err := ecdsa.Sign(rand.Reader, i.key, sum[:])
	if err != nil {
		t.Fatal(err)
	}
	return signed + "." + b64(string(append(r.FillBytes(make([]byte, 32)), s.FillBytes(make([]byte, 32))...)))
}

// oneKidOfTwoIssuers: each issuer has a Verifier, with keys and a cache of its own.
func oneKidOfTwoIssuers(t *testing.T) {
	const kid = "the-one-kid"
	a, b := newIssuer(t, kid), newIssuer(t, kid)
	open := func(i issuer, name string) *verify.Verifier {
		v, err := verify.Open(t.Context(), verify.Options{JWKS: i.url, Source: memstore.New().Revocations(), Issuer: name})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(v.Close)
		return v
	}
	ofA, ofB := open(a, "A"), open(b, "B")
	n := one(t, plan{})
	_, claims := parts(t, n.ann().access)
	mine := func(iss string) object { return with(claims, object{"iss": iss, "ep": 0, "gen": 0}) }
	crossed := a.sign(t, kid, mine("B")) // signed by A, and says that B made it
	for _, round := range []string{"cold", "warm"} {
		if _, err := ofB.Verify(crossed); !errors.Is(err, xtoken.ErrInvalid) {
			t.Errorf("%s, at B: %v", round, err)
		}
		if _, err := ofA.Verify(crossed); !errors.Is(err, xtoken.ErrInvalid) {
			t.Errorf("%s, at A: %v", round, err)
		}
		for i, v := range map[string]*verify.Verifier{"A": ofA, "B": ofB} {
			own := map[string]issuer{"A": a, "B": b}[i]
			if _, err := v.Verify(own.sign(t, kid, mine(i))); err != nil {
				t.Errorf("%s, a true one of %s: %v", round, i, err)
			}
		}
	}
	n.refusedEverywhere(crossed, "")
}

func verdictsAreNotCached(t *testing.T) {
	revoke := func(n *node, boss tokens, sel object) {
		t.Helper()
		if a := n.post(v1+"/admin/revocations", sel, boss.access); a.status != http.StatusOK {
			t.Fatalf("%v: %d %s", sel, a.status, a.body)
		}
	}
	n := one(t, plan{})
	boss := n.boss()
	n.user("ann", account.RoleUser)
	_, key := n.key(boss.access, "introspect")
	active := func(in tokens) bool { return n.form("introspect", "token="+in.access, key).json["active"] == true }
	warm := func() (tokens, object) {
		t.Helper()
		ann := n.signIn("ann")
		for range 3 {
			if a := n.get(v1+"/users/me", ann.access); a.status != http.StatusOK || !active(ann) {
				t.Fatalf("%d %s", a.status, a.body)
			}
		}
		for _, path := range []string{"/admin/users", "/admin/keys"} {
			if a := n.get(v1+path, ann.access); a.status != http.StatusForbidden {
				t.Errorf("%s to a user whose token was verified a moment ago: %d", path, a.status)
			}
		}
		_, claims := parts(t, ann.access)
		return ann, claims
	}
	for name, sel := range map[string]func(object) object{
		"jti":  func(c object) object { return object{"jti": c["jti"]} },
		"sid":  func(c object) object { return object{"session_id": c["sid"]} },
		"user": func(c object) object { return object{"user_id": c["sub"]} },
	} {
		ann, claims := warm()
		revoke(n, boss, sel(claims))
		if a := n.get(v1+"/users/me", ann.access); a.status != http.StatusUnauthorized || a.code() != "token_revoked" {
			t.Errorf("after its %s was revoked: %d %s", name, a.status, a.body)
		}
		if active(ann) {
			t.Errorf("after its %s was revoked it is introspected as active", name)
		}
	}
	ann, _ := warm()
	n.turn(31 * time.Minute)
	if a := n.get(v1+"/users/me", ann.access); a.status != http.StatusUnauthorized || a.code() != "token_expired" {
		t.Errorf("after its time: %d %s", a.status, a.body)
	}
	n.turn(-31 * time.Minute)
	ann, _ = warm()
	header, _ := parts(t, ann.access)
	if a := n.post(v1+"/admin/keys/rotate", object{"alg": "ES256"}, boss.access); a.status != http.StatusOK {
		t.Fatalf("%d %s", a.status, a.body)
	}
	revoke(n, tokens{access: n.signIn("boss").access}, object{"kid": header["kid"]})
	if a := n.get(v1+"/users/me", ann.access); a.status != http.StatusUnauthorized {
		t.Errorf("after its key was revoked: %d %s", a.status, a.body)
	}
}

func loggedOutEverywhere(t *testing.T) {
	n := one(t, plan{})
	ann := n.ann()
	n.takenEverywhere(ann.access)
	if a := n.post(v1+"/auth/logout", nil, ann.access); a.status != http.StatusNoContent {
		t.Fatalf("%d %s", a.status, a.body)
	}
	n.refusedEverywhere(ann.access, "token_revoked")
	if a := n.post(v1+"/auth/refresh", object{"refresh_token": ann.refresh}, ""); a.status != http.StatusUnauthorized || a.code() != "token_revoked" {
		t.Errorf("a refresh after the log-out: %d %s", a.status, a.body)
	}
}
