package journal_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/xteam/xteam/adapters/journal"
	"github.com/xteam/xteam/domain/audit"
	"github.com/xteam/xteam/domain/id"
	"github.com/xteam/xteam/domain/instant"
)

var noon = instant.Of(time.Date(2030, 1, 2, 12, 0, 0, 345_678_000, time.UTC))

func logger(t testing.TB, w io.Writer, level slog.Level, format string) *slog.Logger {
	t.Helper()
	l, err := journal.NewLogger(w, level, format)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// written is what a journal writes of the events, in that format.
func written(t testing.TB, format string, events ...audit.Event) string {
	var out bytes.Buffer
	journal.New(logger(t, &out, slog.LevelInfo, format)).Write(t.Context(), events...)
	return out.String()
}

func TestTheLinesOfTheContract(t *testing.T) {
	var eid id.Event
	eid[15] = 7
	const ev, user = "00000000000000000000000000000007", "0123456789abcdef0123456789abcdef"
	got := written(t, "json",
		audit.Event{ID: eid, Time: noon, Kind: audit.AuthenticationFailed, Severity: audit.Warning, Outcome: audit.Failure, Email: "ann@example.org",
			IPAddress: "192.0.2.7", UserAgent: "curl/8.5.0", RequestID: "r-1", Reason: "credentials_invalid"},
		audit.Event{ID: eid, Time: noon, Kind: audit.TokenRevoked, Severity: audit.Info, Outcome: audit.Success, Actor: user, Subject: user, Reason: "logout",
			Details: map[string]string{"session": "s", "empty": "", "and": "more"}},
		audit.Event{ID: eid, Time: noon, Kind: audit.RateLimited, Severity: audit.Warning, Outcome: audit.Failure, IPAddress: "192.0.2.7",
			Details: map[string]string{"endpoint": "/api/v1/auth/login"}},
		audit.Event{Time: noon, Kind: audit.RefreshReused, Severity: audit.Critical, Outcome: audit.Failure},
		audit.Event{Time: noon, Kind: audit.AccessRefused, Severity: audit.Info, Outcome: audit.Failure},
	)
	want := `{"time":"2030-01-02T12:00:00.345678Z","level":"WARN","msg":"Authentication failed","email":"ann@example.org","ip_address":"192.0.2.7","user_agent":"curl/8.5.0","reason":"credentials_invalid","event_id":"` + ev + `","kind":"authentication_failed","outcome":"failure","severity":"warning","request_id":"r-1"}
{"time":"2030-01-02T12:00:00.345678Z","level":"INFO","msg":"Token revoked","user_id":"` + user + `","reason":"logout","event_id":"` + ev + `","kind":"token_revoked","outcome":"success","severity":"info","actor":"` + user + `","subject":"` + user + `","details":{"and":"more","session":"s"}}
{"time":"2030-01-02T12:00:00.345678Z","level":"WARN","msg":"Rate limit exceeded","ip_address":"192.0.2.7","client_ip":"192.0.2.7","endpoint":"/api/v1/auth/login","event_id":"` + ev + `","kind":"rate_limited","outcome":"failure","severity":"warning"}
{"time":"2030-01-02T12:00:00.345678Z","level":"ERROR","msg":"Refresh token reused","kind":"refresh_reused","outcome":"failure","severity":"critical"}
{"time":"2030-01-02T12:00:00.345678Z","level":"WARN","msg":"Access refused","kind":"access_refused","outcome":"failure","severity":"info"}
`
	if diff := cmp.Diff(strings.Split(want, "\n"), strings.Split(got, "\n")); diff != "" {
		t.Errorf("the lines (-want +got):\n%s", diff)
	}
}

// hostile makes texts of whatever could forge, hide or break a line.
func hostile() *rapid.Generator[string] {
	pieces := []string{
		"\n", "\r", "\r\n", "\t", "\x00", "\x1b[2J", "\x7f", "\u0085", "\u009b31m", "\u2028", "\u2029", "\u202e", "\u2066", "\u200f", "\ufeff", "\u200b", "\u00a0",
		"\xff", "\xc3", "\xe2\x80", "\xed\xa0\x80", "\ufffd", "\U000e0001", "\\", "\\u000a", `"`, "'", "`", "{", "}", ",", ":", "=", " ", "é", "日本", "🦊",
		`"}` + "\n" + `{"time":"2030-01-01T00:00:00Z","level":"INFO","msg":"Token revoked"}`, "\ntime=2030-01-01T00:00:00Z level=INFO msg=\"Token revoked\"", " msg=forged", `","msg":"forged"`,
	}
	piece := rapid.OneOf(rapid.SampledFrom(pieces), rapid.String(), rapid.Map(rapid.SliceOfN(rapid.Byte(), 0, 40), func(b []byte) string { return string(b) }))
	return rapid.Map(rapid.SliceOfN(piece, 0, 8), func(p []string) string { return strings.Join(p, "") })
}

func hostileEvent(t *rapid.T) audit.Event {
	text := hostile()
	return audit.Event{
		Time: noon, Kind: rapid.SampledFrom(audit.Kinds()).Draw(t, "kind"), Severity: audit.Info, Outcome: audit.Success,
		Actor: text.Draw(t, "actor"), Subject: text.Draw(t, "subject"), Email: text.Draw(t, "email"), IPAddress: text.Draw(t, "address"),
		UserAgent: text.Draw(t, "agent"), RequestID: text.Draw(t, "request"), Reason: text.Draw(t, "reason"),
		Details: rapid.MapOfN(text, text, 0, 3).Draw(t, "details"),
	}
}

func TestHostileTextForgesNoJSON(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		e := hostileEvent(r)
		got := written(t, "json", e, e)
		lines := strings.Split(got, "\n")
		if len(lines) != 3 || lines[2] != "" {
			r.Fatalf("2 events make %d lines: %q", len(lines)-1, got)
		}
		wantPrintable(r, got)
		for _, line := range lines[:2] {
			d := json.NewDecoder(strings.NewReader(line))
			var fields map[string]any
			if err := d.Decode(&fields); err != nil || d.More() {
				r.Fatalf("%q is not one JSON object: %v", line, err)
			}
			if fields["msg"] != e.Kind.Message() || fields["kind"] != string(e.Kind) || fields["level"] != "INFO" || fields["time"] != "2030-01-02T12:00:00.345678Z" {
				r.Fatalf("forged: %q", line)
			}
			if n := strings.Count(line, `"msg":`); n != 1 {
				r.Fatalf("%d fields msg in %q", n, line)
			}
		}
	})
}

func TestHostileTextForgesNoTextLine(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		e := hostileEvent(r)
		e.Details = nil
		got := written(t, "text", e)
		if strings.Count(got, "\n") != 1 || !strings.HasSuffix(got, "\n") {
			r.Fatalf("an event makes %q, want one line", got)
		}
		wantPrintable(r, got)
		fields := parseText(r, strings.TrimSuffix(got, "\n"))
		if fields["msg"] != e.Kind.Message() || fields["kind"] != string(e.Kind) || fields["level"] != "INFO" {
			r.Fatalf("forged: %q", got)
		}
	})
}

// parseText reads key=value pairs, where a value is bare or quoted, and refuses a key that comes twice.
func parseText(t *rapid.T, line string) map[string]string {
	fields := map[string]string{}
	for line != "" {
		key, rest, ok := strings.Cut(line, "=")
		if _, twice := fields[key]; !ok || twice || strings.ContainsAny(key, " \"") {
			t.Fatalf("key %q is no key, or comes twice, in %q", key, line)
		}
		value, _, _ := strings.Cut(rest, " ")
		n := len(value)
		if strings.HasPrefix(rest, `"`) {
			quoted, err := strconv.QuotedPrefix(rest)
			if err != nil {
				t.Fatalf("no quoted value in %q: %v", rest, err)
			}
			value, _ = strconv.Unquote(quoted)
			n = len(quoted)
		}
		rest = rest[n:]
		fields[key] = value
		line = strings.TrimPrefix(rest, " ")
	}
	return fields
}

// wantPrintable checks that a terminal shows the lines as they are.
func wantPrintable(t *rapid.T, lines string) {
	if !utf8.ValidString(lines) {
		t.Fatalf("invalid UTF-8: %q", lines)
	}
	if i := strings.IndexFunc(lines, func(r rune) bool { return r != '\n' && !unicode.IsPrint(r) }); i >= 0 {
		t.Fatalf("%q is written as it is", lines[i:min(len(lines), i+8)])
	}
}

func TestLongTextsAreCutBetweenCharacters(t *testing.T) {
	for name, c := range map[string]struct{ long, want string }{
		"exactly as long": {strings.Repeat("x", 256), strings.Repeat("x", 256)},
		"a byte longer":   {strings.Repeat("x", 257), strings.Repeat("x", 256) + "…"},
		"two bytes each":  {"x" + strings.Repeat("é", 200), "x" + strings.Repeat("é", 127) + "…"},
		"escapes":         {"x" + strings.Repeat("\x1b", 200), "x" + strings.Repeat(`\u001b`, 42) + "…"},
		"a megabyte":      {strings.Repeat("y", 1<<20), strings.Repeat("y", 256) + "…"},
	} {
		t.Run(name, func(t *testing.T) {
			line := written(t, "json", audit.Event{Time: noon, Kind: audit.AuthenticationFailed, UserAgent: c.long, Details: map[string]string{c.long: c.long}})
			var got struct {
				UserAgent string            `json:"user_agent"`
				Details   map[string]string `json:"details"`
			}
			if err := json.Unmarshal([]byte(line), &got); err != nil {
				t.Fatal(err)
			}
			if got.UserAgent != c.want || got.Details[c.want] != c.want {
				t.Errorf("got %q and %q, want %q", got.UserAgent, got.Details, c.want)
			}
		})
	}
}

func TestTheLevelIsHeeded(t *testing.T) {
	var out bytes.Buffer
	j := journal.New(logger(t, &out, slog.LevelWarn, "json"))
	j.Write(t.Context(),
		audit.Event{Time: noon, Kind: audit.AccountCreated, Severity: audit.Info, Outcome: audit.Success},
		audit.Event{Time: noon, Kind: audit.AuthenticationFailed, Severity: audit.Info, Outcome: audit.Failure})
	if got := out.String(); strings.Count(got, "\n") != 1 || !strings.Contains(got, "Authentication failed") {
		t.Errorf("at level warn: %q", got)
	}
}

// broken fails, as a full disk or a closed pipe does.
type broken struct{ tries int }

func (b *broken) Write([]byte) (int, error) { b.tries++; return 0, io.ErrClosedPipe }

func TestALineThatCannotBeWrittenIsLost(t *testing.T) {
	w := &broken{}
	j := journal.New(logger(t, w, slog.LevelInfo, "json"))
	e := audit.Event{Time: noon, Kind: audit.AccountCreated}
	j.Write(t.Context(), e, e, e)
	if w.tries != 3 {
		t.Errorf("%d lines were tried, want all 3", w.tries)
	}
}

func TestConcurrentEventsAreWholeLines(t *testing.T) {
	var out bytes.Buffer
	j := journal.New(logger(t, &out, slog.LevelInfo, "json"))
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for n := range 100 {
				j.Write(t.Context(), audit.Event{Time: noon, Kind: audit.AccountCreated, Subject: fmt.Sprintf("%d-%d", i, n), UserAgent: "Bearer " + strings.Repeat("k", 40)})
			}
		})
	}
	wg.Wait()
	seen := map[string]bool{}
	for line := range strings.Lines(out.String()) {
		var e struct{ Subject string }
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		seen[e.Subject] = true
	}
	if len(seen) != 800 {
		t.Errorf("%d different events, want 800", len(seen))
	}
}
