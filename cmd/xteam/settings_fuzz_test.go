package main_test

import (
	"net/url"
	"slices"
	"strings"
	"testing"
	"unicode"

	xteam "github.com/xteam/xteam/cmd/xteam"
)

// FuzzSettings: whatever a setting is, what is wrong is told in lines that begin with a setting's name, hold nothing that a terminal obeys, and show no secret.
func FuzzSettings(f *testing.F) {
	names := xteam.SettingNames()
	for i, name := range names {
		for _, value := range []string{"", "pl4nted", "1", "-1s", "https://ann:pl4nted@example.com/x?y=z", "postgres://ann:pl4nted@db/xteam", "rediss://:pl4nted@r:6379/0"} {
			f.Add(byte(i), value, strings.HasPrefix(name, "R"))
		}
	}
	f.Fuzz(func(t *testing.T, which byte, value string, production bool) {
		name := names[int(which)%len(names)]
		env := map[string]string{name: value}
		if production && name != "ENVIRONMENT" {
			env["ENVIRONMENT"] = "production"
		}
		err := xteam.Judge(env)
		if err == nil {
			return
		}
		for line := range strings.SplitSeq(err.Error(), "\n") {
			setting, _, _ := strings.Cut(line, ":")
			if !slices.Contains(names, setting) || strings.ContainsFunc(line, unicode.IsControl) || len(line) > 1000 {
				t.Errorf("%s=%q: %q", name, value, line)
			}
		}
		if tells(name, value) && strings.Contains(err.Error(), "pl4nted") {
			t.Errorf("%s=%q: %v", name, value, err)
		}
	})
}

// tells reports whether pl4nted stands where a secret stands in the value, and nowhere else.
func tells(name, value string) bool {
	masked, whole := xteam.Masked(name)
	if !masked || whole {
		return whole
	}
	scheme, _, _ := strings.Cut(value, "://")
	u, err := url.Parse(value)
	if err != nil {
		return !strings.Contains(scheme, "pl4nted")
	}
	password, _ := u.User.Password()
	return strings.Count(value, "pl4nted") == 1 && strings.Contains(password, "pl4nted")
}
