package audit_test

import (
	"encoding/json"
	"strings"
	"testing"
	"unicode"

	"pgregory.net/rapid"

	"github.com/xteam/xteam/domain/audit"
	"github.com/xteam/xteam/domain/instant"
)

func TestAnEventInJSON(t *testing.T) {
	e := audit.Event{Time: instant.Instant(1), Kind: audit.AuthenticationFailed, Severity: audit.Warning, Outcome: audit.Failure, Email: "a\r\nb", IPAddress: "192.0.2.1",
		Details: map[string]string{"b": "\x1b[2J", "a": "\u202e\x00"}}
	want := `{"id":"00000000000000000000000000000000","time":"1970-01-01T00:00:00.000001Z","kind":"authentication_failed","message":"Authentication failed","severity":"warning","outcome":"failure","email":"a\u000d\u000ab","ip_address":"192.0.2.1","details":{"a":"\u202e\u0000","b":"\u001b[2J"}}`
	if got := string(e.AppendJSON(nil)); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

// Whatever is in an event, it is one line of JSON that says just that, and a megabyte does not pass.
func TestHostileEventsInJSON(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		text := rapid.OneOf(rapid.String(), rapid.SampledFrom([]string{"\",\"kind\":\"x", "\r\n", "\x00\x1b", "\u2028\u202e", strings.Repeat("é", 1<<19)}))
		e := audit.Event{Kind: audit.Kind(text.Draw(r, "kind")), Actor: text.Draw(r, "actor"), Email: text.Draw(r, "email"), UserAgent: text.Draw(r, "agent"), Reason: text.Draw(r, "reason"),
			Details: rapid.MapOfN(text, text, 0, 3).Draw(r, "details")}
		line := e.AppendJSON(nil)
		if len(line) > 100<<10 {
			r.Fatalf("%d bytes", len(line))
		}
		var got struct {
			Kind, Actor, Email, Reason string
			UserAgent                  string `json:"user_agent"`
		}
		if err := json.Unmarshal(line, &got); err != nil {
			r.Fatalf("%q: %v", line, err)
		}
		for _, pair := range [][2]string{{string(e.Kind), got.Kind}, {e.Actor, got.Actor}, {e.Email, got.Email}, {e.UserAgent, got.UserAgent}, {e.Reason, got.Reason}} {
			if len(pair[0]) < 1000 && pair[0] != pair[1] {
				r.Fatalf("%q is read as %q", pair[0], pair[1])
			}
		}
		if i := strings.IndexFunc(string(line), unicode.IsControl); i >= 0 {
			r.Fatalf("a control character at %d of %q", i, line)
		}
	})
}
