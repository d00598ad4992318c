package main_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	xteam "github.com/xteam/xteam/cmd/xteam"
)

func TestAssignments(t *testing.T) {
	for text, want := range map[string]map[string]string{
		"":                                {},
		"\n# A=1\n  # B=2\n\t\n":          {},
		"A=1\nB=2":                        {"A": "1", "B": "2"},
		"\ufeffA=1\r\nB=2\r\n":            {"A": "1", "B": "2"},
		"A=1\nA=2\n":                      {"A": "2"},
		" A = 1 \n":                       {"A": "1"},
		"export A=1\nexport\tB=2":         {"A": "1", "B": "2"},
		"export=1\nexported=2":            {"export": "1", "exported": "2"},
		"A=":                              {"A": ""},
		"A=#\nB= # none\nC=''# none":      {"A": "", "B": "", "C": ""},
		"A=$HOME${HOME}$$`id`$(id)":       {"A": "$HOME${HOME}$$`id`$(id)"},
		`A="$HOME\n\"`:                    {"A": `$HOME\n\`},
		`A='$HOME "x" # y' # z`:           {"A": `$HOME "x" # y`},
		`A=" x "`:                         {"A": " x "},
		`A=x"y'z\n`:                       {"A": `x"y'z\n`},
		"A=b#c #d":                        {"A": "b#c"},
		"A=b=c==":                         {"A": "b=c=="},
		"_a1=\u00e9":                      {"_a1": "\u00e9"},
		"POSTGRES=postgres://u:p%40@h/d?": {"POSTGRES": "postgres://u:p%40@h/d?"},
	} {
		got, err := xteam.Assignments(text)
		if diff := cmp.Diff(want, got); err != nil || diff != "" {
			t.Errorf("%q: %v (-want +got):\n%s", text, err, diff)
		}
	}
	for text, want := range map[string]string{
		"planted":                   ".env: line 1 is not NAME=value",
		"A=1\n\nplanted: 2\n":       ".env: line 3 is not NAME=value",
		"=planted":                  ".env: line 1 is not NAME=value",
		"1A=planted":                ".env: line 1 is not NAME=value",
		"A.B=planted":               ".env: line 1 is not NAME=value",
		"A B=planted":               ".env: line 1 is not NAME=value",
		"A=\"planted":               ".env: line 1 has a quotation mark that is not closed",
		"#\nA='planted\nB='planted": ".env: line 2 has a quotation mark that is not closed",
		"A='planted's":              ".env: line 1 has something behind the closing quotation mark",
	} {
		if got, err := xteam.Assignments(text); err == nil || err.Error() != want {
			t.Errorf("%q: got %v, %v, want %s", text, got, err, want)
		}
	}
}

// A value in quotation marks is what was put there, and an error tells nothing of the file.
func FuzzAssignments(f *testing.F) {
	f.Add("SECRET_KEY=planted-0123456789", "a value")
	f.Add("export A='b' # c\n\"", `$HOME \n`)
	f.Fuzz(func(t *testing.T, text, value string) {
		if _, err := xteam.Assignments(text); err != nil && (len(err.Error()) > 80 || strings.Contains(err.Error(), "\n")) {
			t.Errorf("%q: %v", text, err)
		}
		if strings.ContainsAny(value, "\n'") {
			return
		}
		got, err := xteam.Assignments("A='" + value + "'")
		if err != nil || got["A"] != value {
			t.Errorf("%q in quotation marks: got %q, %v", value, got["A"], err)
		}
	})
}

func TestNearest(t *testing.T) {
	for name, want := range map[string]string{
		"ACCES_TOKEN_EXPIRE_MINUTES":      "ACCESS_TOKEN_EXPIRE_MINUTES",
		"ACCESS_TOKEN_EXPIRES_MINUTE":     "ACCESS_TOKEN_EXPIRE_MINUTES",
		"access_token_expire_minutes":     "ACCESS_TOKEN_EXPIRE_MINUTES",
		"REDIS_URI":                       "REDIS_URL",
		"LOG_LEEVL":                       "", // two letters of nine
		"ACCESS_TOKEN_EXPIRE_MINUTES":     "",
		"ACCESS_TOKEN_LIFETIME_MINUTES":   "",
		"SSL_CERT_FILE":                   "",
		"BASE_DIR":                        "",
		"PATH":                            "",
		"":                                "",
		strings.Repeat("A", 100_000):      "",
		"ACCESS_TOKEN_EXPIRE_MINUTES_OLD": "",
	} {
		if got := xteam.Nearest(name); got != want {
			t.Errorf("nearest(%.40q) = %q, want %q", name, got, want)
		}
	}
}
