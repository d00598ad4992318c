package jwtcodec_test

import (
	"crypto/sha256"
	"crypto/sha512"
	"errors"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/xteam/xteam/adapters/jwtcodec"
	"github.com/xteam/xteam/domain/keyset"
	"github.com/xteam/xteam/domain/token"
)

// refusal is a token and how it is refused.
type refusal struct {
	name string
	text string
	want error
}

// refuse holds tokens against a codec, cold and again, since a refusal must not be remembered as anything else.
func refuse(t *testing.T, rows []refusal) {
	t.Helper()
	c := codec(t, jwtcodec.Options{})
	good := sign(t, c, claims())
	if _, err := c.Parse(good); err != nil {
		t.Fatalf("the good token: %v", err)
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			for range 2 {
				got, err := c.Parse(row.text)
				if !errors.Is(err, row.want) {
					t.Errorf("got %v, want %v", err, row.want)
				}
				if got != nil {
					t.Errorf("claims of a refused token came out: %+v", got)
				}
			}
		})
	}
}

func TestForgedByHandIsTakenLikeSigned(t *testing.T) {
	want := claims()
	c := codec(t, jwtcodec.Options{})
	for name, text := range map[string]string{
		"as Sign writes it":         sign(t, c, claims()),
		"other order of the header": forge(goodHeader, goodPayload, ours),
		"long typ, other case":      forge(replace(goodHeader, "typ", `"APPLICATION/At+Jwt"`), goodPayload, ours),
		"short typ, other case":     forge(replace(goodHeader, "typ", `"AT+JWT"`), goodPayload, ours),
		"white space":               forge(" {\n"+goodHeader[1:]+" ", goodPayload+"\r\n", ours),
		"unknown header members":    forge(`{"cty":"x","x":[{"y":null}],`+goodHeader[1:], goodPayload, ours),
		"unknown claims":            forge(goodHeader, `{"name":{"sub":"x","aud":[1e999]},"n":-1.5,`+goodPayload[1:], ours),
		"escapes":                   forge(strings.Replace(goodHeader, "kid", `k\u0069d`, 1), strings.Replace(goodPayload, `"iss":"xteam"`, `"\u0069ss":"x\u0074eam"`, 1), ours),
	} {
		t.Run(name, func(t *testing.T) {
			got, err := c.Parse(text)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(&want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestAudienceAsArray(t *testing.T) {
	c := codec(t, jwtcodec.Options{})
	for text, want := range map[string][]string{
		`"xteam"`:           {"xteam"},
		`["other"]`:         {"other"},
		`["other","xteam"]`: {"other", "xteam"},
		`[]`:                nil,
		`""`:                {""},
	} {
		got, err := c.Parse(forge(goodHeader, strings.Replace(goodPayload, `"aud":"xteam"`, `"aud":`+text, 1), ours))
		if err != nil {
			t.Errorf("aud %s: %v", text, err)
			continue
		}
		if diff := cmp.Diff(want, got.Audience); diff != "" {
			t.Errorf("aud %s: %s", text, diff)
		}
	}
}

func TestMalformed(t *testing.T) {
	good := forge(goodHeader, goodPayload, ours)
	p := strings.Split(good, ".")
	rows := []refusal{}
	add := func(name, text string) { rows = append(rows, refusal{name, text, token.ErrMalformed}) }

	add("nothing", "")
	add("one dot", ".")
	add("two dots", "..")
	add("8,000 dots", strings.Repeat(".", 8000))
	add("8,192 dots", strings.Repeat(".", token.MaxSize))
	add("no dot", p[0]+p[1]+p[2])
	add("two parts", p[0]+"."+p[1])
	add("no signature", p[0]+"."+p[1]+".")
	add("alg none without signature", b64(`{"alg":"none","typ":"at+jwt","kid":"x"}`)+"."+p[1]+".")
	add("no header", "."+p[1]+"."+p[2])
	add("no payload", p[0]+".."+p[2])
	add("four parts", good+"."+p[2])
	add("JWE of five parts", b64(`{"alg":"PBES2-HS256+A128KW","enc":"A128GCM","zip":"DEF","p2c":2000000000}`)+".AAAA.AAAA.AAAA.AAAA")
	add("JSON serialisation, flat", `{"payload":"`+p[1]+`","protected":"`+p[0]+`","signature":"`+p[2]+`"}`)
	add("JSON serialisation without protected", `{"payload":"e30","signatures":[{"signature":"AA"}]}`)
	add("a byte too long", sized(token.MaxSize+1))
	add("a megabyte", sized(1<<20))
	add("a word before", "Bearer "+good)

	for i, name := range []string{"header", "payload", "signature"} {
		in := func(change string, part string) {
			q := [...]string{p[0], p[1], p[2]}
			q[i] = part
			if i < 2 { // truly signed nevertheless
				add(name+" "+change, forgeEncoded(q[0], q[1], ours))
			} else {
				add(name+" "+change, strings.Join(q[:], "."))
			}
		}
		in("with padding", p[i]+strings.Repeat("=", 3-len(p[i])%3))
		in("with =", p[i]+"=")
		in("with CR", p[i][:4]+"\r"+p[i][4:])
		in("with LF", p[i][:4]+"\n"+p[i][4:])
		in("ending in CRLF", p[i]+"\r\n")
		in("beginning with a space", " "+p[i])
		in("in the other alphabet", "+/"+p[i][2:])
		in("with NUL", p[i][:4]+"\x00"+p[i][5:])
		in("not in ASCII", "é"+p[i][2:])
		in("of length 1 modulo 4", p[i][:len(p[i])-len(p[i])%4]+"A")
	}
	odd := func(object string) string { // one whose last character has unused bits
		for len(object)%3 == 0 {
			object += " "
		}
		return b64(object)
	}
	add("header with loose bits", forgeEncoded(loosen(odd(goodHeader)), p[1], ours))
	add("payload with loose bits", forgeEncoded(p[0], loosen(odd(goodPayload)), ours))
	add("signature with loose bits", p[0]+"."+p[1]+"."+loosen(p[2]))

	objects := map[string]func(good string) string{
		"empty":                       func(string) string { return " " },
		"null":                        func(string) string { return "null" },
		"an array":                    func(g string) string { return "[" + g + "]" },
		"a string":                    func(string) string { return `"HS256"` },
		"twice":                       func(g string) string { return g + g },
		"followed by text":            func(g string) string { return g + "x" },
		"followed by NUL":             func(g string) string { return g + "\x00" },
		"cut":                         func(g string) string { return g[:len(g)-1] },
		"with a byte order mark":      func(g string) string { return "\xef\xbb\xbf" + g },
		"with a comma at its end":     func(g string) string { return g[:len(g)-1] + ",}" },
		"with a bad escape":           func(g string) string { return `{"x":"\q",` + g[1:] },
		"with half a surrogate":       func(g string) string { return `{"x":"\ud800",` + g[1:] },
		"with invalid UTF-8":          func(g string) string { return "{\"x\":\"\xff\"," + g[1:] },
		"with a name not in UTF-8":    func(g string) string { return "{\"\xff\":1," + g[1:] },
		"with a comment":              func(g string) string { return "{/**/" + g[1:] },
		"with a leading zero":         func(g string) string { return `{"x":01,` + g[1:] },
		"with a duplicate elsewhere":  func(g string) string { return `{"x":1,"x":1,` + g[1:] },
		"with a duplicate inside":     func(g string) string { return `{"x":{"y":[{"z":1,"z":2}]},` + g[1:] },
		"with an escaped duplicate":   func(g string) string { return `{"x":1,"\u0078":1,` + g[1:] },
		"with names without end":      func(g string) string { return "{" + names(65) + "," + g[1:] },
		"with names without end deep": func(g string) string { return `{"x":[{` + names(65) + "}]," + g[1:] },
		"with depth without end": func(g string) string {
			return `{"x":` + strings.Repeat("[", 2000) + strings.Repeat("]", 2000) + "," + g[1:]
		},
		"with objects without end": func(g string) string { return `{"x":[` + strings.Repeat(`{"a":0},`, 100) + "0]," + g[1:] },
	}
	for name, change := range objects {
		add("header "+name, forge(change(goodHeader), goodPayload, ours))
		add("payload "+name, forge(goodHeader, change(goodPayload), ours))
	}
	for _, member := range split(goodHeader) {
		add("header with two of "+member, forge("{"+member+","+goodHeader[1:], goodPayload, ours))
	}
	for _, member := range split(goodPayload) {
		add("payload with two of "+member, forge(goodHeader, "{"+member+","+goodPayload[1:], ours))
		add("the other order, "+member, forge(goodHeader, goodPayload[:len(goodPayload)-1]+","+member+"}", ours))
	}
	// The order of refusals: what is malformed is that, whoever signed it.
	add("payload broken under an unknown key", forge(replace(goodHeader, "kid", `"no"`), "{", ours))
	add("payload broken and badly signed", forge(goodHeader, "{", another))

	refuse(t, rows)
}

func TestInvalid(t *testing.T) {
	good := forge(goodHeader, goodPayload, ours)
	p := strings.Split(good, ".")
	rows := []refusal{}
	add := func(name, text string) { rows = append(rows, refusal{name, text, token.ErrInvalid}) }
	signedBy := func(header, signature string) string {
		signed := b64(header) + "." + p[1]
		return signed + "." + b64(signature)
	}

	// Signatures.
	add("another secret", forge(goodHeader, goodPayload, another))
	add("badly signed and expired", forge(goodHeader, with("exp", "1"), another))
	add("signature of another token", p[0]+"."+p[1]+"."+strings.Split(forge(goodHeader, with("gen", "4"), ours), ".")[2])
	add("signature cut", p[0]+"."+p[1]+"."+p[2][:40])
	add("signature of one byte", p[0]+"."+p[1]+".AA")
	add("signature longer", p[0]+"."+p[1]+"."+b64(mac(sha256.New, ours.RevealPlaintext(), p[0]+"."+p[1])+"\x00"))
	add("signature of zeros", p[0]+"."+p[1]+"."+b64(strings.Repeat("\x00", 32)))
	add("empty secret", p[0]+"."+p[1]+"."+b64(mac(sha256.New, "", p[0]+"."+p[1])))
	add("secret as hexadecimal", p[0]+"."+p[1]+"."+b64(mac(sha256.New, b64(ours.RevealPlaintext()), p[0]+"."+p[1])))

	// Algorithms: the key's, never the token's.
	for _, alg := range []string{"none", "None", "NONE", "", "hs256", "HS256 ", "HS384", "HS512", "RS256", "PS256", "ES256", "EdDSA", "dir", "A128KW"} {
		header := replace(goodHeader, "alg", strconv.Quote(alg))
		add("alg "+alg+" signed as HS256", forge(header, goodPayload, ours))
		add("alg "+alg+" without a key", signedBy(header, "x"))
	}
	hs384 := replace(goodHeader, "alg", `"HS384"`)
	add("truly HS384", signedBy(hs384, mac(sha512.New384, ours.RevealPlaintext(), b64(hs384)+"."+p[1])))
	hs512 := replace(goodHeader, "alg", `"HS512"`)
	add("truly HS512", signedBy(hs512, mac(sha512.New, ours.RevealPlaintext(), b64(hs512)+"."+p[1])))

	// Header members.
	for _, name := range []string{"alg", "typ", "kid"} {
		add("no "+name, forge(replace(goodHeader, name, ""), goodPayload, ours))
		for _, value := range []string{"null", "1", "true", `["HS256"]`, `{"a":"HS256"}`, `""`} {
			add(name+" "+value, forge(replace(goodHeader, name, value), goodPayload, ours))
		}
	}
	for _, typ := range []string{"JWT", "jwt", "at+jwt ", "at-jwt", "application/jwt", "application/application/at+jwt", "logout+jwt", "secevent+jwt"} {
		add("typ "+typ, forge(replace(goodHeader, "typ", strconv.Quote(typ)), goodPayload, ours))
	}
	for _, kid := range []string{"no", "../", "../../etc/passwd", "'--", `' OR 1=1--`, strings.Repeat("k", 4096), `\u0000`,
		jwtcodec.SymmetricKeyID(ours) + `\u0000`, jwtcodec.SymmetricKeyID(another), strings.ToUpper(jwtcodec.SymmetricKeyID(ours)), "https://example.test/key"} {
		add("kid "+kid, forge(replace(goodHeader, "kid", `"`+kid+`"`), goodPayload, ours))
	}
	for _, member := range []string{`"crit":[]`, `"crit":["exp"]`, `"crit":null`, `"jwk":{"kty":"oct","k":"AA"}`, `"jku":"https://example.test/"`,
		`"x5u":"https://example.test/"`, `"x5c":[]`, `"x5t":"AA"`, `"zip":"DEF"`, `"enc":"A128GCM"`, `"b64":false`, `"b64":true`, `"cr\u0069t":["exp"]`} {
		add("header with "+member, forge("{"+member+","+goodHeader[1:], goodPayload, ours))
		add("header ending in "+member, forge(goodHeader[:len(goodHeader)-1]+","+member+"}", goodPayload, ours))
	}

	// Claims.
	shapes := map[string][]string{}
	for _, name := range []string{"sub", "jti", "sid"} {
		shapes[name] = []string{"1", `""`, `"ann"`, `"00000000000000000000000000000000"`, `"0405060000000000000000000000000"`, `"0405060000000000000000000000000A"`,
			`"040506000000000000000000000000000"`, `["04050600000000000000000000000000"]`}
	}
	for _, name := range []string{"iss", "client_id", "scope"} {
		shapes[name] = []string{"1", `["xteam"]`, "false"}
	}
	for _, name := range []string{"exp", "nbf", "iat", "gen", "ep"} {
		shapes[name] = []string{`"1800000000"`, "-1", "-0", "1.5", "1.0", "1e3", "1E3", "1e999999", "9223372036854775808", "18446744073709551616", "[1]", "true",
			"1" + strings.Repeat("0", 100)}
	}
	for _, name := range []string{"exp", "nbf", "iat"} {
		shapes[name] = append(shapes[name], "253402300800", "9223372036854775807")
	}
	shapes["aud"] = []string{"1", "[1]", `["xteam",null]`, `[["xteam"]]`, `{"xteam":1}`}
	shapes["roles"] = []string{`"admin"`, "1", `["user",1]`, `[["admin"]]`, `{"0":"admin"}`, "[" + strings.Repeat(`"r",`, 128) + `"r"]`}
	for name, values := range shapes {
		add("no "+name, forge(goodHeader, with(name, ""), ours))
		for _, value := range append(values, "null", "{}") {
			add(name+" "+value[:min(len(value), 50)], forge(goodHeader, with(name, value), ours))
		}
	}
	add("names in other case", forge(goodHeader, strings.Replace(goodPayload, `"sub"`, `"Sub"`, 1), ours))
	add("no claims", forge(goodHeader, "{}", ours))

	refuse(t, rows)
}

// The largest numbers that are taken, so that the bounds of TestInvalid are the bounds.
func TestLargestNumbers(t *testing.T) {
	c := codec(t, jwtcodec.Options{})
	payload := replace(replace(with("exp", "253402300799"), "gen", "9223372036854775807"), "ep", "0")
	got, err := c.Parse(forge(goodHeader, payload, ours))
	if err != nil {
		t.Fatal(err)
	}
	if got.ExpiresAt.Seconds() != 253402300799 || got.Generation != 1<<63-1 || got.Epoch != 0 {
		t.Errorf("got %+v", got)
	}
	if got, err := c.Parse(sized(token.MaxSize)); err != nil || got == nil {
		t.Errorf("a token of exactly MaxSize: %v", err)
	}
}

func TestKeysByState(t *testing.T) {
	text := forge(goodHeader, goodPayload, ours)
	signs := keyOf(another, keyset.Primary)
	for state, want := range map[keyset.State]error{
		keyset.Next:     nil,
		keyset.Retiring: nil,
		keyset.Gone:     token.ErrInvalid,
		keyset.Revoked:  token.ErrInvalid,
	} {
		c := holding(t, ringOf(signs, keyOf(ours, state)), jwtcodec.Options{})
		if _, err := c.Parse(text); !errors.Is(err, want) {
			t.Errorf("a key that is %v: got %v, want %v", state, err, want)
		}
	}
}

// sized is a truly signed token of exactly n bytes. White space in the header makes up for the lengths that base64 leaves out.
func sized(n int) string {
	for spaces := range 3 {
		header := goodHeader + strings.Repeat(" ", spaces)
		room := n - len(b64(header)) - 43 - 2
		payload := `{"pad":"` + strings.Repeat("x", room*3/4-len(goodPayload)-len(`"pad":"",`)) + `",` + goodPayload[1:]
		if text := forge(header, payload, ours); len(text) == n {
			return text
		}
	}
	panic("no token of " + strconv.Itoa(n) + " bytes")
}

// names is n members with different names.
func names(n int) string {
	var b strings.Builder
	for i := range n {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString(`"n` + strconv.Itoa(i) + `":0`)
	}
	return b.String()
}

// loosen sets an unused bit of the last character of a base64url text whose length is no multiple of 4.
func loosen(s string) string {
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	last := strings.IndexByte(alphabet, s[len(s)-1])
	return s[:len(s)-1] + string(alphabet[last|1])
}
