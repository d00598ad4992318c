package session_test

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"log/slog"
	"math"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/xteam/xteam/domain/id"
	"github.com/xteam/xteam/domain/secret"
	"github.com/xteam/xteam/domain/session"
)

// filled is a token each of whose fields has bytes of its own.
func filled() session.RefreshToken {
	t := session.RefreshToken{Key: 0x0102, Counter: 0x1112131415161718}
	copy(t.Session[:], "sixteen bytes !!")
	copy(t.Secret[:], "thirty-two bytes of a secret !!!")
	copy(t.MAC[:], "thirty-two bytes of a true mac !")
	return t
}

func tokens() *rapid.Generator[session.RefreshToken] {
	return rapid.Custom(func(t *rapid.T) session.RefreshToken {
		r := session.RefreshToken{Key: rapid.Uint16().Draw(t, "key"), Counter: rapid.Uint64Range(1, math.MaxUint64).Draw(t, "counter")}
		copy(r.Session[:], rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "session"))
		if r.Session.IsZero() {
			r.Session[15] = 1
		}
		copy(r.Secret[:], rapid.SliceOfN(rapid.Byte(), 32, 32).Draw(t, "secret"))
		copy(r.MAC[:], rapid.SliceOfN(rapid.Byte(), 32, 32).Draw(t, "mac"))
		return r
	})
}

// sealedUp is a text with a checksum that fits, whatever stands in it.
func sealedUp(body string) string {
	return body + fmt.Sprintf("%08x", crc32.ChecksumIEEE([]byte(body)))
}

func TestTheTextOfARefreshToken(t *testing.T) {
	raw := "\x01\x02sixteen bytes !!\x11\x12\x13\x14\x15\x16\x17\x18thirty-two bytes of a secret !!!thirty-two bytes of a true mac !"
	want := sealedUp("xtr_" + base64.RawURLEncoding.EncodeToString([]byte(raw)))
	if got := filled().Text().RevealPlaintext(); got != want || len(got) != 132 || session.RefreshSize != 132 {
		t.Errorf("the text is %q, want %q of 132 bytes: tokens in the hands of clients have it", got, want)
	}
	if got, want := string(filled().Signed()), raw[:58]; got != want {
		t.Errorf("the MAC covers %q, want %q", got, want)
	}
}

func TestRefreshTextAndBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := tokens().Draw(t, "token")
		text := r.Text().RevealPlaintext()
		got, err := session.ParseRefresh(text)
		if err != nil || got != r || len(text) != session.RefreshSize || !strings.HasPrefix(text, session.RefreshPrefix) {
			t.Fatalf("%s reads as %+v, %v", text, got, err)
		}
		o := tokens().Draw(t, "other")
		if (o.Text() == r.Text()) != (o == r) {
			t.Fatal("two tokens, one text")
		}
		o = r
		o.MAC[0] ^= 1
		if o.Hash() != r.Hash() {
			t.Fatal("the hash depends on the MAC, which an older data key may have made")
		}
		o.Secret[31] ^= 1
		if o.Hash() == r.Hash() {
			t.Fatal("the hash does not depend on the secret")
		}
	})
}

// A checksum of 32 bits finds every change of one character; so a slip of the pen is malformed, never another token and never a reuse.
func TestAnyChangedCharacterIsMalformed(t *testing.T) {
	text := filled().Text().RevealPlaintext()
	for i := range len(text) {
		for c := range 256 {
			if byte(c) == text[i] {
				continue
			}
			changed := text[:i] + string([]byte{byte(c)}) + text[i+1:]
			if got, err := session.ParseRefresh(changed); !errors.Is(err, session.ErrMalformed) || got != (session.RefreshToken{}) {
				t.Fatalf("with %q for %q at %d: %v, want ErrMalformed and no token", byte(c), text[i], i, err)
			}
		}
	}
}

func TestWhatIsNoRefreshToken(t *testing.T) {
	text := filled().Text().RevealPlaintext()
	body, sum := text[:len(text)-8], text[len(text)-8:]
	noSession, noCounter := filled(), filled()
	noSession.Session, noCounter.Counter = id.Session{}, 0
	letters := strings.ToUpper(sum) != sum
	for name, s := range map[string]string{
		"nothing":                      "",
		"the prefix":                   session.RefreshPrefix,
		"cut short":                    text[:len(text)-1],
		"made longer":                  text + "0",
		"a space before":               " " + text[:len(text)-1],
		"a newline behind":             text + "\n",
		"twice":                        text + text,
		"another prefix":               sealedUp("xtk_" + body[4:]),
		"the prefix in capitals":       sealedUp("XTR_" + body[4:]),
		"lower case":                   strings.ToLower(text),
		"upper case":                   strings.ToUpper(text),
		"the checksum in capitals":     body + strings.ToUpper(sum),
		"the checksum of nothing":      body + "00000000",
		"no session":                   noSession.Text().RevealPlaintext(),
		"counter 0":                    noCounter.Text().RevealPlaintext(),
		"base64 of the other alphabet": sealedUp(session.RefreshPrefix + "+/" + body[6:]),
		"padding":                      sealedUp(body[:len(body)-1] + "="),
		"padding, twice":               sealedUp(body[:len(body)-2] + "=="),
		"a newline in it":              sealedUp(body[:len(body)-1] + "\n"),
		"four newlines in it":          sealedUp(body[:len(body)-4] + "\n\r\n\n"),
		"a newline in its midst":       sealedUp(body[:50] + "\n" + body[51:]),
		"a NUL in it":                  sealedUp(body[:50] + "\x00" + body[51:]),
		"letters beyond ASCII":         sealedUp(body[:50] + "é" + body[52:]),
		"an access token":              "eyJhbGciOiJIUzI1NiJ9." + strings.Repeat("e", 60) + "." + strings.Repeat("s", 43),
		"a long text":                  session.RefreshPrefix + strings.Repeat("A", 1<<20),
	} {
		t.Run(name, func(t *testing.T) {
			if name == "the checksum in capitals" && !letters {
				t.Fatal("the sample's checksum has no letter: choose another sample")
			}
			if got, err := session.ParseRefresh(s); !errors.Is(err, session.ErrMalformed) || got != (session.RefreshToken{}) {
				t.Errorf("ParseRefresh = %v, want ErrMalformed and no token", err)
			}
		})
	}
}

func TestARefreshTokenIsNeverPrinted(t *testing.T) {
	r := filled()
	var log bytes.Buffer
	slog.New(slog.NewJSONHandler(&log, nil)).Info("x", "token", r, "pointer", &r, "list", []session.RefreshToken{r}, "outcome", session.Outcome{Token: r})
	slog.New(slog.NewTextHandler(&log, nil)).Info("x", "token", r, "pointer", &r, "list", []session.RefreshToken{r}, "outcome", session.Outcome{Token: r})
	body, err := json.Marshal(map[string]any{"token": r, "outcome": session.Outcome{Token: r}})
	if err != nil {
		t.Fatal(err)
	}
	printed := []string{log.String(), string(body), r.String(), r.GoString(), fmt.Sprint(r, &r, r.Text()), fmt.Sprint([]session.RefreshToken{r}, map[string]session.RefreshToken{"k": r}),
		fmt.Sprintf("%+v %#v", session.Outcome{Token: r}, &session.Outcome{Token: r})}
	for _, verb := range "vtbcdoOqxXUeEfFgGsz" {
		got := fmt.Sprintf("%"+string(verb), r)
		if got != secret.Redacted {
			t.Errorf("%%%c gives %q, want %s", verb, got, secret.Redacted)
		}
		printed = append(printed, got, fmt.Sprintf("%#"+string(verb), &r))
	}
	for _, text := range printed {
		if !strings.Contains(text, secret.Redacted) {
			t.Errorf("nothing is redacted in %s", text)
		}
		for _, part := range [][]byte{r.Secret[:], r.MAC[:]} {
			for _, form := range []string{string(part), hex.EncodeToString(part), base64.StdEncoding.EncodeToString(part), strings.Trim(fmt.Sprint(part), "[]"), strings.ReplaceAll(strings.Trim(fmt.Sprint(part), "[]"), " ", ",")} {
				if strings.Contains(strings.ToLower(text), strings.ToLower(form)) {
					t.Errorf("a token is told: %s", text)
				}
			}
		}
		if strings.Contains(text, session.RefreshPrefix) {
			t.Errorf("a token is told: %s", text)
		}
	}
}

func FuzzParseRefresh(f *testing.F) {
	text := filled().Text().RevealPlaintext()
	for _, s := range []string{"", "xtr_", text, text + "x", strings.ToUpper(text), sealedUp("xtr_" + strings.Repeat("A", 120)), sealedUp("xtr_" + strings.Repeat("_", 120)), sealedUp("xtr_" + strings.Repeat("\n", 120))} {
		f.Add(s, false)
		f.Add(s, true)
	}
	f.Fuzz(func(t *testing.T, s string, mend bool) {
		if mend && len(s) >= 8 { // so that the fuzzer comes past the checksum
			s = sealedUp(s[:len(s)-8])
		}
		r, err := session.ParseRefresh(s)
		switch {
		case err != nil && !errors.Is(err, session.ErrMalformed):
			t.Errorf("ParseRefresh = %v, want ErrMalformed", err)
		case err != nil && r != session.RefreshToken{}:
			t.Error("a token beside an error")
		case err == nil && (r.Session.IsZero() || r.Counter == 0):
			t.Error("a token of no session, or of no place in its chain")
		case err == nil && r.Text().RevealPlaintext() != s:
			t.Errorf("%q reads as a token whose text is %q", s, r.Text().RevealPlaintext())
		}
	})
}
