package journal_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/xteam/xteam/adapters/journal"
	"github.com/xteam/xteam/domain/secret"
	"github.com/xteam/xteam/domain/session"
)

// planted are secrets in the forms that ours have, each with a part that must not be seen.
func planted() map[string]string {
	t := session.RefreshToken{Key: 1, Counter: 3}
	t.Session[0] = 9
	copy(t.Secret[:], "a secret that nobody may see....")
	copy(t.MAC[:], "a MAC that nobody may see.......")
	const jwt = "eyJhbGciOiJIUzI1NiIsImtpZCI6ImEiLCJ0eXAiOiJhdCtqd3QifQ.eyJzdWIiOiJub2JvZHkiLCJzY29wZSI6InBsYW50ZWQifQ.c2lnbmVkLXdpdGgtYS1wbGFudGVkLXNlY3JldC0w"
	return map[string]string{
		"a refresh token":                 t.Text().RevealPlaintext(),
		"a cut refresh token":             t.Text().RevealPlaintext()[:60],
		"a signed token":                  jwt,
		"a signed token in two parts":     strings.Join(strings.Split(jwt, ".")[:2], "."),
		"a token without its head":        strings.Join(strings.Split(jwt, ".")[1:], "."),
		"a claims set alone":              strings.Split(jwt, ".")[1],
		"a token with padding":            jwt + "==",
		"an API key":                      "xt_prd_k1d0c3_s3cr3tpartthatnobodymaysee00c0ffee",
		"an API key of development":       "xt_dev_k1d0c3_s3cr3tpartthatnobodymaysee00c0ffee",
		"a credential behind Bearer":      "Bearer 0123456789abcdefghijklmnopqrstuvwxyz",
		"a credential behind bearer":      "bearer   0123456789abcdefghijklmnopqrstuvwxyz~+/==",
		"a credential in a query":         "authorization=Bearer%200123456789abcdefghijklmnopqrstuvwxyz",
		"a client's name and password":    "Basic azFkMGMzOnMzY3IzdHBhcnR0aGF0bm9ib2R5bWF5c2Vl",
		"two of them":                     jwt + " " + jwt,
		"in the middle of a word":         "x" + jwt,
		"behind what an escape may leave": "\u2028" + t.Text().RevealPlaintext(),
		"behind a line end":               "\n" + t.Text().RevealPlaintext(),
		"a token in a URL":                "GET /ws?token=" + jwt + "&x=1",
	}
}

// shreds are the parts of a planted secret that a line may not hold.
func shreds(s string) []string {
	var parts []string
	for _, p := range strings.FieldsFunc(s, func(r rune) bool {
		return !strings.ContainsRune("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-", r)
	}) {
		if len(p) >= 20 {
			parts = append(parts, p[len(p)-12:], p[len(p)/2:len(p)/2+8])
		}
	}
	return parts
}

type stringer string

func (s stringer) String() string { return string(s) }

func TestNoSecretOfOursGetsThrough(t *testing.T) {
	ways := map[string]func(l *slog.Logger, s string){
		"the message":     func(l *slog.Logger, s string) { l.Info("got " + s) },
		"a value":         func(l *slog.Logger, s string) { l.Info("m", "v", s) },
		"a key":           func(l *slog.Logger, s string) { l.Info("m", s, "v") },
		"an error":        func(l *slog.Logger, s string) { l.Error("m", "err", fmt.Errorf("parse %q: %w", s, io.EOF)) },
		"a group":         func(l *slog.Logger, s string) { l.Info("m", slog.Group("g", slog.Group("h", "v", s))) },
		"a group's name":  func(l *slog.Logger, s string) { l.WithGroup(s).Info("m", "k", "v") },
		"what is carried": func(l *slog.Logger, s string) { l.With("v", s).Info("m") },
		"a slice":         func(l *slog.Logger, s string) { l.Info("m", "v", []string{"a", s}) },
		"a map":           func(l *slog.Logger, s string) { l.Info("m", "v", map[string]any{s: map[string]string{"k": s}}) },
		"a struct":        func(l *slog.Logger, s string) { l.Info("m", "v", struct{ Header []string }{[]string{s}}) },
		"a Stringer":      func(l *slog.Logger, s string) { l.Info("m", "v", stringer(s)) },
		"bytes":           func(l *slog.Logger, s string) { l.Info("m", "v", []byte(s)) },
		"raw JSON":        func(l *slog.Logger, s string) { j, _ := json.Marshal(s); l.Info("m", "v", json.RawMessage(j)) },
		"debug":           func(l *slog.Logger, s string) { l.Debug("m", "v", s) },
		"a secret.Text": func(l *slog.Logger, s string) {
			l.Info("m", "v", secret.New(s), "w", struct{ T secret.Text }{secret.New(s)})
		},
	}
	for _, format := range []string{"json", "text"} {
		for what, s := range planted() {
			for way, log := range ways {
				var out bytes.Buffer
				log(logger(t, &out, slog.LevelDebug, format), s)
				line := out.String()
				if strings.Count(line, "\n") != 1 {
					t.Errorf("%s as %s, %s: %q, want one line", what, way, format, line)
				}
				for _, shred := range shreds(s) {
					if strings.Contains(line, shred) {
						t.Errorf("%s as %s, %s: %q is in %q", what, way, format, shred, line)
					}
				}
				if format == "json" && !json.Valid([]byte(line)) {
					t.Errorf("%s as %s: %q is not JSON", what, way, line)
				}
				if !strings.Contains(line, secret.Redacted) && way != "bytes" {
					t.Errorf("%s as %s, %s: %q does not say that something was taken out", what, way, format, line)
				}
			}
		}
	}
}

// What only looks a little like a secret stays, and what is around one too.
func TestTheRestOfALineStays(t *testing.T) {
	for text, want := range map[string]string{
		"the Bearer token is missing":                             "the Bearer token is missing",
		"Basic authentication is off":                             "Basic authentication is off",
		"next_attempt and context_deadline":                       "next_attempt and context_deadline",
		"xt_ is the prefix, xtr_ the other":                       "xt_ is the prefix, xtr_ the other",
		"a session 0123456789abcdef0123456789abcd":                "a session 0123456789abcdef0123456789abcd",
		"at /ws?token=eyJhbGciOiJIUzI1NiJ9.e30.c2ln&x=1 from ::1": "at /ws?token=[redacted]&x=1 from ::1",
		"Authorization: Bearer 0123456789abcdef; next":            "Authorization: Bearer [redacted]; next",
	} {
		var out bytes.Buffer
		logger(t, &out, slog.LevelInfo, "json").Info(text)
		var got struct{ Msg string }
		if err := json.Unmarshal(out.Bytes(), &got); err != nil || got.Msg != want {
			t.Errorf("%q is written as %q (%v), want %q", text, got.Msg, err, want)
		}
	}
}

func TestHostileTextAnywhereIsOneLine(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		text := hostile()
		message, key, value := text.Draw(r, "message"), text.Draw(r, "key"), text.Draw(r, "value")
		for _, format := range []string{"json", "text"} {
			var out bytes.Buffer
			l := logger(t, &out, slog.LevelInfo, format)
			l.With("carried", value).Info(message, "k"+key, value, "err", errors.New(value), slog.Group("g", "k"+key, value))
			line := out.String()
			if strings.Count(line, "\n") != 1 || !strings.HasSuffix(line, "\n") {
				r.Fatalf("%s: %q, want one line", format, line)
			}
			wantPrintable(r, line)
			if format == "json" && !json.Valid(out.Bytes()) {
				r.Fatalf("%q is not JSON", line)
			}
		}
	})
}

func TestWhatDoesNotPrintIsEscaped(t *testing.T) {
	for text, want := range map[string]string{
		"plain, é 日本 🦊 \\u202e": "plain, é 日本 🦊 \\u202e",
		"\xff":                  `\xff`,
		"a\xe2\x80":             `a\xe2\x80`,
		"\ufffd":                `\ufffd`,
		"a\u202eb":              `a\u202eb`,
		"\u2028":                `\u2028`,
		"\x1b[2J":               `\u001b[2J`,
		"\U000e0001":            `\U000e0001`,
		"two\nlines":            "two\nlines",
	} {
		var out bytes.Buffer
		logger(t, &out, slog.LevelInfo, "json").Info("m", "v", text, "b", []byte(text))
		var got struct{ V, B string }
		if err := json.Unmarshal(out.Bytes(), &got); err != nil || got.V != want {
			t.Errorf("%q is written as %q (%v), want %q", text, got.V, err, want)
		}
		if want := fmt.Sprintf("[%d bytes]", len(text)); got.B != want {
			t.Errorf("the bytes of %q are written as %q, want %q", text, got.B, want)
		}
	}
}

func TestTimesAreInUTC(t *testing.T) {
	zone := time.FixedZone("east", 5*3600)
	at := time.Date(2030, 1, 2, 17, 0, 0, 0, zone)
	for format, want := range map[string]string{
		"json": `{"time":"2030-01-02T12:00:00Z","level":"INFO","msg":"m","at":"2030-01-02T12:00:00Z"}` + "\n",
		"":     `{"time":"2030-01-02T12:00:00Z","level":"INFO","msg":"m","at":"2030-01-02T12:00:00Z"}` + "\n",
		"text": `time=2030-01-02T12:00:00.000Z level=INFO msg=m at=2030-01-02T12:00:00.000Z` + "\n",
	} {
		var out bytes.Buffer
		r := slog.NewRecord(at, slog.LevelInfo, "m", 0)
		r.AddAttrs(slog.Time("at", at))
		if err := logger(t, &out, slog.LevelInfo, format).Handler().Handle(context.Background(), r); err != nil || out.String() != want {
			t.Errorf("format %q: %q (%v), want %q", format, out.String(), err, want)
		}
	}
}

func TestAStackKeepsItsLinesAndIsCut(t *testing.T) {
	var out bytes.Buffer
	stack := "goroutine 1:\n\tmain.go:1\n" + strings.Repeat("x", 20_000)
	logger(t, &out, slog.LevelInfo, "json").Error("panic", "stack", stack)
	var got struct{ Stack string }
	if err := json.Unmarshal(out.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	if want := stack[:journal.MaxValue] + "…"; got.Stack != want {
		t.Errorf("%d bytes beginning with %q, want %d", len(got.Stack), got.Stack[:30], len(want))
	}
}

type fault struct{ text string }

func (f *fault) Error() string { return f.text }

func TestAnErrorThatCannotBePrintedHarmsNothing(t *testing.T) {
	var out bytes.Buffer
	logger(t, &out, slog.LevelInfo, "json").Error("m", "err", (*fault)(nil))
	if got := out.String(); !strings.Contains(got, "cannot be printed") || !json.Valid(out.Bytes()) {
		t.Errorf("got %q", got)
	}
}

func TestAnUnknownFormatIsRefused(t *testing.T) {
	for _, format := range []string{"xml", "JSON", "text "} {
		if l, err := journal.NewLogger(io.Discard, slog.LevelInfo, format); err == nil || l != nil {
			t.Errorf("NewLogger with format %q = %v, want an error", format, err)
		}
	}
}

func BenchmarkLine(b *testing.B) {
	l := logger(b, io.Discard, slog.LevelInfo, "json")
	b.ReportAllocs()
	for b.Loop() {
		l.Info("Authentication failed", "email", "ann@example.org", "ip_address", "192.0.2.7", "user_agent", "curl/8.5.0", "kind", "authentication_failed")
	}
}
