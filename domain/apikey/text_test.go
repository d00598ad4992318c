package apikey_test

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"regexp"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/xteam/xteam/domain/apikey"
	"github.com/xteam/xteam/domain/id"
	"github.com/xteam/xteam/domain/secret"
)

// form is what a scanner of secrets looks for.
var form = regexp.MustCompile(`^xt_(dev|stg|prd)_[0-9a-f]{32}_[0-9A-Za-z]{43}[0-9a-f]{8}$`)

var kid = id.APIKey{0: 0xab, 15: 0x01}

func made(t testing.TB, env apikey.Environment, random io.Reader) (string, apikey.Proof) {
	t.Helper()
	text, proof, err := apikey.Make(env, kid, random)
	if err != nil {
		t.Fatal(err)
	}
	return text.RevealPlaintext(), proof
}

func TestTheFormOfAKey(t *testing.T) {
	counting := make([]byte, 64)
	for i := range counting {
		counting[i] = byte(i)
	}
	got, proof := made(t, apikey.Production, bytes.NewReader(counting))
	const want = "xt_prd_ab000000000000000000000000000001_0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefg"
	if body, sum := got[:len(got)-8], got[len(got)-8:]; body != want || sum != fmt.Sprintf("%08x", crc32.ChecksumIEEE([]byte(want))) {
		t.Errorf("the text is %q, want %q and its CRC-32", got, want)
	}
	if len(got) != apikey.Size || !strings.HasPrefix(got, apikey.Prefix) {
		t.Errorf("it has %d bytes, want %d, and begins with %q", len(got), apikey.Size, apikey.Prefix)
	}
	if proof.Environment != apikey.Production || proof.ID != kid || proof.Hash == [32]byte{} {
		t.Errorf("what it proves is %+v", proof)
	}
}

func TestMadeAndParsed(t *testing.T) {
	seen := map[string]bool{}
	hashes := map[[32]byte]bool{}
	for range 1000 {
		for _, env := range []apikey.Environment{apikey.Development, apikey.Staging, apikey.Production} {
			text, proof := made(t, env, rand.Reader)
			got, err := apikey.Parse(text)
			if err != nil || got != proof || !form.MatchString(text) || seen[text] || hashes[proof.Hash] {
				t.Fatalf("Parse(%q) = %+v, %v, want %+v, and each once", text, got, err, proof)
			}
			seen[text], hashes[proof.Hash] = true, true
		}
	}
}

// The hash covers the whole text: no part of it can be exchanged for another's.
func TestEveryPartCounts(t *testing.T) {
	same := func() io.Reader { return bytes.NewReader(bytes.Repeat([]byte{7, 8}, 64)) }
	_, a := made(t, apikey.Development, same())
	_, b := made(t, apikey.Production, same())
	_, c, err := apikey.Make(apikey.Development, id.APIKey{1}, same())
	if err != nil || a.Hash == b.Hash || a.Hash == c.Hash || b.Hash == c.Hash {
		t.Errorf("one secret in another environment or under another id has the same hash; %v", err)
	}
}

// Each character of a secret is as likely as any other: what a byte cannot share out evenly is drawn anew.
func TestSecretsAreEven(t *testing.T) {
	counts := map[byte]int{}
	const n = 4000
	for range n {
		text, _ := made(t, apikey.Development, rand.Reader)
		for _, c := range []byte(text[40:83]) {
			counts[c]++
		}
	}
	const mean = n * 43 / 62 // 2774, and six standard deviations are 314
	for c, got := range counts {
		if got < mean-314 || got > mean+314 {
			t.Errorf("%q came %d times, want about %d", c, got, mean)
		}
	}
	if len(counts) != 62 {
		t.Errorf("%d characters, want 62", len(counts))
	}
}

func TestABadSourceMakesNoKey(t *testing.T) {
	broken := errors.New("broken")
	for name, c := range map[string]struct {
		source io.Reader
		want   error
	}{
		"fails at once":   {iotest.ErrReader(broken), broken},
		"fails half-way":  {io.MultiReader(strings.NewReader("0123456"), iotest.ErrReader(broken)), broken},
		"ends early":      {strings.NewReader("0123456"), io.ErrUnexpectedEOF},
		"gives zeroes":    {constant(0), id.ErrNotRandom},
		"gives ones":      {constant(0xff), id.ErrNotRandom},
		"gives one value": {constant(77), id.ErrNotRandom},
	} {
		t.Run(name, func(t *testing.T) {
			if text, proof, err := apikey.Make(apikey.Development, kid, c.source); !errors.Is(err, c.want) || !text.IsZero() || proof != (apikey.Proof{}) {
				t.Errorf("Make = %+v, %v, want nothing and %v", proof, err, c.want)
			}
		})
	}
}

type constant byte

func (c constant) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = byte(c)
	}
	return len(p), nil
}

// resum gives a damaged text the right checksum.
func resum(s string) string {
	body := s[:len(s)-8]
	return body + fmt.Sprintf("%08x", crc32.ChecksumIEEE([]byte(body)))
}

func TestParseIsStrict(t *testing.T) {
	good, _ := made(t, apikey.Staging, rand.Reader)
	at := func(i int, c string) string { return resum(good[:i] + c + good[i+len(c):]) }
	for name, s := range map[string]string{
		"nothing":                     "",
		"the prefix":                  "xt_",
		"a byte short":                good[:len(good)-1],
		"a byte long":                 good + "0",
		"a space before":              " " + good[:len(good)-1],
		"a newline behind":            good[:len(good)-1] + "\n",
		"another prefix":              at(0, "xr_"),
		"a prefix in capitals":        at(0, "XT_"),
		"another environment":         at(3, "tst"),
		"an environment in capitals":  at(3, "STG"),
		"no line behind environment":  at(6, "-"),
		"no line behind the id":       at(39, "-"),
		"an id in capitals":           at(7, "ABCDEF"),
		"an id of zeroes":             at(7, strings.Repeat("0", 32)),
		"an id with another letter":   at(7, "g"),
		"a line in the secret":        at(50, "_"),
		"a hyphen in the secret":      at(50, "-"),
		"a NUL in the secret":         at(50, "\x00"),
		"an umlaut in the secret":     at(50, "é"),
		"a secret that was damaged":   good[:50] + flip(good[50]) + good[51:],
		"an id that was damaged":      good[:9] + flip(good[9]) + good[10:],
		"a checksum in capitals":      good[:len(good)-8] + "ABCDEF01",
		"another checksum":            good[:len(good)-8] + "00000000",
		"a refresh token's beginning": "xtr_" + good[4:],
		"a megabyte":                  strings.Repeat(good, 1<<20/len(good)),
	} {
		if p, err := apikey.Parse(s); !errors.Is(err, apikey.ErrMalformed) || p != (apikey.Proof{}) {
			t.Errorf("%s: Parse = %+v, %v, want nothing and ErrMalformed", name, p, err)
		}
	}
	if _, err := apikey.Parse(resum(good)); err != nil {
		t.Errorf("the test's own checksum: %v", err)
	}
}

func flip(c byte) string {
	if c == '1' {
		return "2"
	}
	return "1"
}

func TestLooksTellsKeysFromTokens(t *testing.T) {
	good, _ := made(t, apikey.Production, rand.Reader)
	for s, want := range map[string]bool{good: true, "xt_": true, "xt_garbage": true, "": false, "xt": false, "xtr_AAAA": false, "eyJhbGciOiJIUzI1NiJ9.e30.AA": false, "XT_": false} {
		if got := apikey.Looks(s); got != want {
			t.Errorf("Looks(%.10q) = %v, want %v", s, got, want)
		}
	}
}

// Nothing that prints tells the text, nor the hash of it.
func TestTheTextIsASecret(t *testing.T) {
	text, proof, err := apikey.Make(apikey.Development, kid, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	secretPart := text.RevealPlaintext()[40:83]
	held := struct {
		Text  secret.Text
		text  secret.Text
		Proof apikey.Proof
	}{text, text, proof}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d", "%p"} {
		if got := fmt.Sprintf(verb, held) + fmt.Sprintf(verb, text); strings.Contains(got, secretPart) || strings.Contains(got, fmt.Sprintf("%x", secretPart)) {
			t.Errorf("%s tells the secret: %s", verb, got)
		}
	}
}

func FuzzParse(f *testing.F) {
	good, _ := made(f, apikey.Development, bytes.NewReader([]byte("any 64 bytes will do for this, as long as there are 64 of them....")))
	for _, s := range []string{"", "xt_", good, good[:50], resum(good[:50] + "\xff" + good[51:]), strings.ToUpper(good), good + good, "xt_prd_" + strings.Repeat("0", 84)} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		p, err := apikey.Parse(s)
		if err != nil {
			if !errors.Is(err, apikey.ErrMalformed) || p != (apikey.Proof{}) {
				t.Errorf("Parse(%q) = %+v, %v, want nothing and ErrMalformed", s, p, err)
			}
			if form.MatchString(s) && s == resum(s) && !strings.Contains(s, "_"+strings.Repeat("0", 32)+"_") {
				t.Errorf("Parse refuses %q, which has the form", s)
			}
			return
		}
		if !form.MatchString(s) || s != resum(s) || !strings.Contains(s, p.ID.String()) || !strings.HasPrefix(s, "xt_"+string(p.Environment)) || !apikey.Looks(s) {
			t.Errorf("Parse(%q) = %+v", s, p)
		}
	})
}

func BenchmarkParse(b *testing.B) {
	text, _ := made(b, apikey.Production, rand.Reader)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := apikey.Parse(text); err != nil {
			b.Fatal(err)
		}
	}
}
