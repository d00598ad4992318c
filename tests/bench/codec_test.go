package bench_test

import (
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/xteam/xteam/adapters/jwtcodec"
	"github.com/xteam/xteam/domain/id"
	"github.com/xteam/xteam/domain/instant"
	"github.com/xteam/xteam/domain/keyset"
	"github.com/xteam/xteam/domain/token"
)

// keyed is a Codec whose primary is a new key of the algorithm, and that key.
func keyed(b *testing.B, algorithm string, o jwtcodec.Options) (*jwtcodec.Codec, keyset.Key) {
	codec := jwtcodec.New(o)
	k, err := codec.NewKey(algorithm)
	if err != nil {
		b.Fatal(err)
	}
	ring, err := keyset.Ring{Name: keyset.Signing}.Add(k, false, 1)
	if err == nil {
		err = codec.SetRing(ring)
	}
	if err != nil {
		b.Fatal(err)
	}
	return codec, k
}

// BenchmarkSign signs an ordinary token: by HS256, and by ES256 beside what the bare library takes for the signature alone.
func BenchmarkSign(b *testing.B) {
	now := instant.Unix(time.Now().Unix())
	claims := token.Claims{ID: random[id.Token](), Subject: random[id.User](), Session: random[id.Session](), Issuer: "xteam", Audience: []string{"xteam"}, ClientID: "xteam",
		Roles: []string{"user"}, Generation: 3, IssuedAt: now, NotBefore: now, ExpiresAt: now.Add(time.Hour)}
	signs := func(c *jwtcodec.Codec) func() {
		return func() {
			if _, err := c.Sign(claims); err != nil {
				b.Fatal(err)
			}
		}
	}
	hs, hsKey := keyed(b, keyset.HS256, jwtcodec.Options{})
	es, esKey := keyed(b, keyset.ES256, jwtcodec.Options{})
	text := newToken(b, es)
	signed := text[:strings.LastIndexByte(text, '.')]
	secret := []byte(hsKey.Secret.RevealPlaintext())
	parsed, err := x509.ParsePKCS8PrivateKey([]byte(esKey.Secret.RevealPlaintext()))
	if err != nil {
		b.Fatal(err)
	}
	private := parsed.(*ecdsa.PrivateKey)
	bare := func(method jwt.SigningMethod, key any) func() {
		return func() {
			if _, err := method.Sign(signed, key); err != nil {
				b.Fatal(err)
			}
		}
	}
	asn1 := func() {
		digest := sha256.Sum256([]byte(signed))
		if _, err := ecdsa.SignASN1(rand.Reader, private, digest[:]); err != nil {
			b.Fatal(err)
		}
	}
	for _, f := range []func(){signs(hs), signs(es), asn1, bare(jwt.SigningMethodES256, private)} {
		f()
	}
	ns, mac := inTurns(11, func() float64 { return cost(50*time.Millisecond, signs(hs)) }, func() float64 { return cost(50*time.Millisecond, bare(jwt.SigningMethodHS256, secret)) })
	metric(b, ns.median(), "ns/HS256")
	report.add(row{figure: "Sign, HS256", goal: "≤ 3 µs", measured: ns.show("%.0f") + " ns", baseline: "golang-jwt's signature alone " + mac.shown("%.0f", "ns"),
		ratio: ns.over(mac).show("%.2f"), met: ns.median() <= 3000})
	ns, base := inTurns(11, func() float64 { return cost(100*time.Millisecond, signs(es)) }, func() float64 { return cost(100*time.Millisecond, asn1) })
	ratio := ns.over(base)
	metric(b, ratio.median(), "x-of-ecdsa")
	report.add(row{figure: "Sign, ES256", goal: "≤ 1.3 × crypto/ecdsa", measured: ns.show("%.0f") + " ns", baseline: "SHA-256 and SignASN1 " + base.shown("%.0f", "ns"),
		ratio: ratio.show("%.2f"), met: ratio.median() <= 1.3})
	ns, base = inTurns(11, func() float64 { return cost(100*time.Millisecond, signs(es)) }, func() float64 { return cost(100*time.Millisecond, bare(jwt.SigningMethodES256, private)) })
	ratio = ns.over(base)
	report.add(row{figure: "Sign, ES256, beside golang-jwt", goal: "≤ 1.3 × its signature alone", measured: ns.show("%.0f") + " ns", baseline: "golang-jwt's signature alone " + base.shown("%.0f", "ns"),
		ratio: ratio.show("%.2f"), met: ratio.median() <= 1.3})
}

// BenchmarkWarmParse parses again what was verified before: one token, and a thousand different ones in turn, by each algorithm beside HS256.
func BenchmarkWarmParse(b *testing.B) {
	for _, n := range []int{1, 1000} {
		again := func(algorithm string) func() {
			codec, _ := keyed(b, algorithm, jwtcodec.Options{})
			texts := make([]string, n)
			for i := range texts {
				texts[i] = newToken(b, codec)
			}
			i := 0
			parse := func() {
				if _, err := codec.Parse(texts[i]); err != nil {
					b.Fatal(err)
				}
				if i++; i == n {
					i = 0
				}
			}
			for range n {
				parse()
			}
			return parse
		}
		what := "one token"
		if n > 1 {
			what = "1,000 different tokens"
		}
		for _, algorithm := range []string{keyset.ES256, keyset.EdDSA} {
			symmetric, parse := again(keyset.HS256), again(algorithm) // both anew, so that neither lies better in memory
			// Many short rounds: what else the machine does disturbs some of them, and the median none.
			ns, base := inTurns(201, func() float64 { return cost(2*time.Millisecond, parse) }, func() float64 { return cost(2*time.Millisecond, symmetric) })
			ratio := ns.over(base)
			metric(b, ratio.median(), fmt.Sprintf("x-of-HS256-%s-%d", algorithm, n))
			report.add(row{figure: "Parse, warm, " + algorithm + ", " + what, goal: "≤ 1.05 × HS256", measured: ns.show("%.1f") + " ns", baseline: "HS256, warm " + base.shown("%.1f", "ns"),
				ratio: ratio.show("%.2f"), met: ratio.median() <= 1.05})
		}
	}
}

// BenchmarkAThousandKeys verifies by the oldest key of a ring of a thousand, beside a ring of one; and changes the state of one key of the thousand.
func BenchmarkAThousandKeys(b *testing.B) {
	alone, k := keyed(b, keyset.HS256, jwtcodec.Options{CacheBytes: -1})
	many := jwtcodec.New(jwtcodec.Options{CacheBytes: -1})
	k.State = keyset.Retiring
	ring := keyset.Ring{Name: keyset.Signing, Keys: []keyset.Key{k}}
	for i := range 999 {
		other, err := many.NewKey(keyset.ES256)
		if err != nil {
			b.Fatal(err)
		}
		other.State = keyset.Retiring
		if i == 0 {
			other.State = keyset.Primary
		}
		ring.Keys = append(ring.Keys, other)
	}
	set := func() {
		if err := many.SetRing(ring); err != nil {
			b.Fatal(err)
		}
	}
	set()
	text := newToken(b, alone)
	parses := func(c *jwtcodec.Codec) func() {
		return func() {
			if _, err := c.Parse(text); err != nil {
				b.Fatal(err)
			}
		}
	}
	ns, base := inTurns(21, func() float64 { return cost(20*time.Millisecond, parses(many)) }, func() float64 { return cost(20*time.Millisecond, parses(alone)) })
	ratio := ns.over(base)
	metric(b, ratio.median(), "x-of-one-key")
	report.add(row{figure: "Parse, cold, by one key of 1,000", goal: "≤ 1.1 × one key", measured: ns.show("%.0f") + " ns", baseline: "a ring of one " + base.shown("%.0f", "ns"),
		ratio: ratio.show("%.2f"), met: ratio.median() <= 1.1})
	change := func() {
		ring.Keys[500].State ^= keyset.Retiring ^ keyset.Gone
		set()
	}
	afresh := func() {
		if err := jwtcodec.New(jwtcodec.Options{CacheBytes: -1}).SetRing(ring); err != nil {
			b.Fatal(err)
		}
	}
	us, whole := inTurns(5, func() float64 { return cost(50*time.Millisecond, change) / 1000 }, func() float64 { return cost(50*time.Millisecond, afresh) / 1000 })
	report.add(row{figure: "SetRing, one key of 1,000 changed", goal: "≤ 1 ms", measured: us.show("%.0f") + " µs", baseline: "all read afresh " + whole.shown("%.0f", "µs"),
		ratio: us.over(whole).show("%.3f"), met: us.median() <= 1000})
}
