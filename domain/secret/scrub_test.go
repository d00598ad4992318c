package secret_test

import (
	"testing"

	"github.com/xteam/xteam/domain/secret"
)

func TestScrub(t *testing.T) {
	for text, want := range map[string]string{
		"":                      "",
		"GET /api/v1/users/me":  "GET /api/v1/users/me",
		"curl/8 text_prd eyJ":   "curl/8 text_prd eyJ",
		"a xt_dev_0123_abc b":   "a [redacted] b",
		"/x/xt_prd_0123_a-b/y":  "/x/[redacted]/y",
		"xtr_AAAA and xtr_BBBB": "[redacted] and [redacted]",
		"?token=eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2ln&x=1": "?token=[redacted]&x=1",
		"Bearer abcdefghijklmnop1234":                          "Bearer [redacted]",
		"basic%20YWJjZGVmZ2hpamtsbW5vcA==":                     "basic%20[redacted]",
	} {
		given := []byte(text)
		if got := string(secret.Scrub(given)); got != want || string(given) != text {
			t.Errorf("Scrub(%q) = %q, want %q; the text is %q after it", text, got, want, given)
		}
	}
}
