package main_test

import (
	"testing"

	xteam "github.com/xteam/xteam/cmd/xteam"
)

func TestRevokedText(t *testing.T) {
	for _, c := range []struct {
		answer string
		dry    bool
		want   string
	}{
		{`{"sessions_ended":0,"nodes":[],"dry_run":true}`, true, "0 sessions would be ended"},
		{`{"sessions_ended":1,"nodes":[{"node":"a","ms":0.1234}]}`, false, "1 session ended; refused by a after 120µs"},
		{`{"sessions_ended":2,"nodes":[{"node":"a","ms":1},{"node":"b","ms":12.5}]}`, false, "2 sessions ended; seen by 2 of 2 nodes in 12.5ms"},
		{`{"sessions_ended":2,"nodes":[{"node":"a","ms":1},{"node":"b","ms":12.5}],"missing":["c"]}`, false, "2 sessions ended; seen by 2 of 3 nodes in 12.5ms\nnot heard of c in time: each refuses at its next REVOCATION_POLL, and one that cannot poll trusts\n" +
			"what it knows no longer than REVOCATION_MAX_STALENESS; `xteam nodes` shows who lives"},
		{`{"sessions_ended":1,"counted":false,"nodes":[{"node":"a","ms":1}]}`, false, "at least 1 session ended; refused by a after 1ms"},
		{`{"sessions_ended":70000,"counted":false,"nodes":[]}`, true, "at least 70000 sessions would be ended"},
		{`{"sessions_ended":0,"nodes":[{"node":"a","ms":1}],"hint":"this key signs: do something"}`, false, "0 sessions ended; refused by a after 1ms\nthis key signs: do something"},
	} {
		if got := xteam.RevokedText(c.answer, c.dry); got != c.want {
			t.Errorf("%s: got %q, want %q", c.answer, got, c.want)
		}
	}
}
