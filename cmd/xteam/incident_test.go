package main_test

import (
	"context"
	"io"
	"net/http"
	"strings"
	"testing"

	xteam "github.com/xteam/xteam/cmd/xteam"
)

// TestDrillIsToldOf: what the server says of a drill is printed, and what went wrong is an error, though the server does not say at which step; a refusal is one too, and so is that it was interrupted.
func TestDrillIsToldOf(t *testing.T) {
	const head, tail = `{"steps":[{"name":"contain","ms":2.5,"seen":"both\nor \u001b[2Jone","ok":`, `}],"contained_ms":4.2,"nodes":[{"node":"a","ms":2.5}],"incident":"4f1c2b9a0d3e5f67","passed":`
	for name, c := range map[string]struct {
		status             int
		answer, text, want string
		gone               bool
	}{
		"it passed":       {200, head + "true" + tail + "true}", "Time to contain: 4.2 ms", "", false},
		"a step is wrong": {200, head + "false" + tail + "false}", "contain  2.5 ms  NO", `the drill went wrong at "contain": "both`, false},
		"it did not pass": {200, head + "true" + tail + "false}", "a refused after 2.5 ms", "the drill did not pass", false},
		"another goes on": {409, `{"status":409,"code":"incident_state","detail":"a drill is going on already"}`, "", "a drill is going on already", false},
		"interrupted":     {503, `{}`, "", "the server bars and lifts what it made", true},
	} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			text, err := xteam.Drill(ctx, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if body, _ := io.ReadAll(r.Body); r.Method+" "+r.URL.Path != "POST /api/v1/admin/incidents/drill" || len(body) > 0 {
					t.Errorf("asked for %s %s with %q", r.Method, r.URL.Path, body)
				}
				if c.gone {
					cancel()
				}
				w.WriteHeader(c.status)
				_, _ = io.WriteString(w, c.answer)
			}))
			if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) || !strings.Contains(text, c.text) || strings.Contains(text, "\x1b") {
				t.Errorf("%v, want %s\n%s", err, c.want, text)
			}
		})
	}
}
