package main_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	xteam "github.com/xteam/xteam/cmd/xteam"
	"github.com/xteam/xteam/domain/alert"
	"github.com/xteam/xteam/domain/audit"
	"github.com/xteam/xteam/domain/id"
	"github.com/xteam/xteam/domain/instant"
)

// firings has every rule find something about a user, an API key and an address, and answers what each found first.
func firings(t *testing.T, user, key, address string) map[string]alert.Firing {
	t.Helper()
	var settings []string
	for _, r := range alert.Rules() {
		settings = append(settings, r.Name+"=1")
	}
	rules, err := alert.ParseRules(strings.Join(settings, ","))
	check(t, err)
	all := map[string]alert.Firing{}
	now, n := instant.Of(time.Now()), byte(0)
	engine := alert.NewEngine(rules)
	for _, kind := range audit.Kinds() {
		for _, reason := range []string{"", alert.NewNetwork, alert.ManyNetworks, alert.UnusualUse} {
			for _, by := range []string{user, "system"} {
				n++
				e := audit.Event{ID: id.Event{n, byte(len(all))}, Time: now, Kind: kind, Reason: reason, Actor: by, Subject: user, Email: "`planted`;$(planted)", IPAddress: address, UserAgent: "\";planted", Details: map[string]string{"api_key": key}}
				for _, f := range engine.Take(&e, now, false) {
					if was, again := all[f.Rule]; !again || was.Contain == "" {
						all[f.Rule] = f
					}
				}
			}
		}
	}
	for _, r := range rules {
		if _, found := all[r.Name]; found {
			continue
		}
		f, on := alert.Fire(rules, r.Name, now, "of the application itself")
		if !on {
			t.Errorf("nothing has %s found", r.Name)
		}
		all[r.Name] = f
	}
	return all
}

// words parts a command as a shell does that finds nothing to expand.
func words(t *testing.T, command string) (all []string) {
	t.Helper()
	if strings.ContainsAny(command, "\\'`$;&|<>()*?#~!\n") || strings.Count(command, `"`)%2 != 0 {
		t.Fatalf("a shell would make something else of %s", command)
	}
	for i, part := range strings.Split(command, `"`) {
		if i%2 == 1 {
			all = append(all, part)
			continue
		}
		all = append(all, strings.Fields(part)...)
	}
	return all
}

// TestWhatContainsAlertsRuns: each rule names a command, and that command is one: played against a server, as it stands, it does what it says.
func TestWhatContainsAlertsRuns(t *testing.T) {
	s := runServer(t, "RATE_LIMIT_AUTH=60")
	adminKey(t, s.base)
	run := func(args ...string) (code int, out string) {
		var o, e bytes.Buffer
		code = xteam.Run(t.Context(), args, strings.NewReader(""), &o, &e)
		return code, o.String() + e.String()
	}
	var keys struct{ Items []struct{ ID, Owner string } }
	code, text := run("api-keys", "list", "--user", "ann", "--json")
	if json.Unmarshal([]byte(text), &keys) != nil || len(keys.Items) != 1 {
		t.Fatalf("the keys of ann: %d %s", code, text)
	}
	var ann struct{ ID string }
	if code, text = run("users", "show", "ann", "--json"); json.Unmarshal([]byte(text), &ann) != nil || ann.ID == "" {
		t.Fatalf("ann: %d %s", code, text)
	}
	for i, address := range []string{"198.51.100.9", "2001:db8:0:1::9"} {
		for rule, f := range firings(t, ann.ID, keys.Items[0].ID, address) {
			args := words(t, f.Contain)
			if len(args) < 2 || args[0] != "xteam" {
				t.Errorf("%s is contained by %q, want a command", rule, f.Contain)
				continue
			}
			if i > 0 && args[1] != "blocked-ips" { // played before
				continue
			}
			code, out := run(args[1:]...)
			if args[1] == "alerts" { // which raised none here
				if code != 1 || !strings.Contains(out, "no alert") {
					t.Errorf("%s: %s: exit %d, %s", rule, f.Contain, code, out)
				}
				continue
			}
			if code != 0 && args[1] != "doctor" || code == 2 { // it tells of this test's settings
				t.Errorf("%s: %s: exit %d, %s", rule, f.Contain, code, out)
			}
		}
	}
	if code, out := run("blocked-ips", "list"); code != 0 || !strings.Contains(out, "198.51.100.9") || !strings.Contains(out, "2001:db8:0:1::/64") {
		t.Errorf("blocked: %d %s", code, out)
	}
}

// The README's rules are those of the table. UPDATE_README=1 writes them anew.
func TestReadmeRules(t *testing.T) {
	const file, head = "../../README.md", "| rule | severity | threshold | what | what contains it |\n|---|---|---|---|---|\n"
	text, err := os.ReadFile(file)
	check(t, err)
	before, after, ok := strings.Cut(string(text), head)
	got, rest, closed := strings.Cut(after, "\n\n")
	if !ok || !closed {
		t.Fatalf("the README has no table that begins with %q", head)
	}
	const user, key, address = "0123456789abcdef0123456789abcdef", "fedcba9876543210fedcba9876543210", "198.51.100.9"
	found := firings(t, user, key, address)
	var rows []string
	for _, r := range alert.Rules() {
		f := found[r.Name]
		command := strings.NewReplacer(user, "USER", key, "KEY", address, "ADDRESS", f.ID, "ALERT").Replace(f.Contain)
		rows = append(rows, fmt.Sprintf("| `%s` | %s | %d in %s, again after %s | %s | `%s` |", r.Name, r.Severity, r.Threshold, short(r.Window), short(r.Cooldown), r.Meaning, command))
	}
	want := strings.Join(rows, "\n")
	diff := cmp.Diff(want, got)
	if diff == "" {
		return
	}
	if os.Getenv("UPDATE_README") == "" {
		t.Fatalf("the README's rules are not the program's; UPDATE_README=1 go test ./cmd/xteam -run %s writes them (-want +got):\n%s", t.Name(), diff)
	}
	check(t, os.WriteFile(file, []byte(before+head+want+"\n\n"+rest), 0o644))
}

// short is a duration without what is zero.
func short(d time.Duration) string {
	text := d.String()
	for _, zero := range []string{"m0s", "h0m"} {
		if strings.HasSuffix(text, zero) {
			text = strings.TrimSuffix(text, zero[1:])
		}
	}
	return text
}
