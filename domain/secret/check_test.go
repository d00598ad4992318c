package secret_test

import (
	"strings"
	"testing"

	"github.com/xteam/xteam/domain/secret"
)

func TestCheck(t *testing.T) {
	long := strings.Repeat("x", secret.MaxLen)
	for value, says := range map[string]string{
		"": "", "a": "", " two words ": "", "é李\xff$`'\"": "", long: "",
		long + "x":               "longer than 65536 bytes",
		long + "\n":              "longer than 65536 bytes",
		planted + "\n":           "ends with a line end",
		planted + "\r\n":         "ends with a line end",
		"\n":                     "ends with a line end",
		planted + "\n" + planted: "control character",
		planted + "\t":           "control character",
		"\x00" + planted:         "control character",
		planted + "\x7f":         "control character",
		planted + "\x1b[31m":     "control character",
	} {
		err := secret.Check("SECRET_KEY", value)
		if (err == nil) != (says == "") {
			t.Errorf("of %.40q: %v, want one that says %q", value, err, says)
			continue
		}
		if err == nil {
			continue
		}
		if text := err.Error(); !strings.HasPrefix(text, "SECRET_KEY ") || !strings.Contains(text, says) || leaks(text) || strings.ContainsAny(text, "\n\x00\x1b") {
			t.Errorf("of %.40q: %q, want it to name the setting, to say %q, and nothing of the value", value, text, says)
		}
	}
}
