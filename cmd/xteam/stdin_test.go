package main_test

import (
	"testing"

	xteam "github.com/xteam/xteam/cmd/xteam"
)

// TestBare: what a token is copied with goes, and nothing of the token.
func TestBare(t *testing.T) {
	const token = "eyJhbGciOiJFUzI1NiJ9.e30.c2ln-_"
	for _, text := range []string{token, `"` + token + `"`, "'" + token + "',", "  Bearer " + token + "\r", "Authorization: bearer " + token, "'X-API-Key: " + token + "'", "`" + token + "`;"} {
		if got := xteam.Bare(text); got != token {
			t.Errorf("of %q is left %q, want the token", text, got)
		}
	}
	for text, want := range map[string]string{"": "", `""`: "", "bearer": "bearer", "bearer token": "token", "a b": "a b", "bearertoken": "bearertoken"} {
		if got := xteam.Bare(text); got != want {
			t.Errorf("of %q is left %q, want %q", text, got, want)
		}
	}
}
