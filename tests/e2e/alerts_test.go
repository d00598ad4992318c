package e2e_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// TestSprayingIsContained: wrong passwords at 500 accounts from 200 addresses are one alert within a minute of the last, and the command that it names turns those addresses away and nobody else.
func TestSprayingIsContained(t *testing.T) {
	env := environ(t.TempDir(), "TRUSTED_PROXIES=127.0.0.1/32")
	s := serve(t, env)
	must(t, env, password+"\n", "users", "create", "--email", "ann@example.com", "--username", "ann", "--password-stdin")
	signIn := func(address, name, pass string) int {
		body, err := json.Marshal(object{"username": name, "password": pass})
		if err != nil {
			t.Error(err)
		}
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.base+"/api/v1/auth/login", strings.NewReader(string(body)))
		if err != nil {
			t.Error(err)
			return 0
		}
		r.Header.Set("Content-Type", "application/json")
		r.Header.Set("X-Forwarded-For", address)
		resp, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Error(err)
			return 0
		}
		_ = resp.Body.Close()
		return resp.StatusCode
	}
	began := time.Now()
	var group sync.WaitGroup
	for caller := range 8 {
		group.Go(func() {
			for i := caller; i < 500; i += 8 {
				victim := fmt.Sprintf("victim%d", i)
				if i == 7 {
					victim = "ann"
				}
				guess := func() int { return signIn(fmt.Sprintf("203.0.113.%d", i%200), victim, "Spring-2026-for-everybody") }
				got := guess()
				for begun := time.Now(); got == http.StatusServiceUnavailable && time.Since(begun) < patience; got = guess() { // the gate of the hasher is full, as it is on a slow machine
					<-time.After(time.Second)
				}
				if got != http.StatusUnauthorized {
					t.Errorf("a guess: %d", got)
				}
			}
		})
	}
	group.Wait()
	ended := time.Now() // on a busy machine 500 hashes take more than a minute
	var alerts struct {
		Items []struct{ ID, Rule, Contain string }
	}
	command := ""
	for command == "" {
		if time.Since(ended) > patience {
			t.Fatalf("a minute after the last guess there is no alert: %+v", alerts)
		}
		if err := json.Unmarshal([]byte(must(t, env, "", "alerts", "list", "--open", "--json")), &alerts); err != nil {
			t.Fatal(err)
		}
		for _, a := range alerts.Items {
			if a.Rule == "password_spraying" {
				command = a.Contain
			}
		}
	}
	t.Logf("alerted %v after the first guess, %v after the last", time.Since(began), time.Since(ended))
	if got := must(t, env, "", strings.Fields(command)[1:]...); !strings.HasPrefix(got, "200 addresses blocked for an hour, 0 spared") {
		t.Fatalf("%s: %s", command, got)
	}
	for i := range 200 {
		if got := signIn(fmt.Sprintf("203.0.113.%d", i), "victim1", "Spring-2026-for-everybody"); got != http.StatusForbidden {
			t.Fatalf("after %s a guess from address %d: %d", command, i, got)
		}
	}
	if got := signIn("198.51.100.7", "ann", password); got != http.StatusOK {
		t.Errorf("a sign-in from elsewhere: %d", got)
	}
	// The report tells all of it in order, though the incident was opened afterwards, and names whom it concerns.
	must(t, env, "", "incident", "open", "guessed passwords")
	file := filepath.Join(t.TempDir(), "report.md")
	must(t, env, "", "incident", "report", "--out", file)
	report, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	rest := string(report)
	for _, part := range []string{"Authentication failed, ", "Alert raised", "password\\_spraying", "Address blocked, 200 times", "200 addresses", "Incident opened", "## Users to notify", "| ann | ann@example.com |", "guessed at their password from 203.0.113.7/32, which is blocked, once"} {
		at := strings.Index(rest, part)
		if at < 0 {
			t.Fatalf("the report does not go on with %q:\n%s", part, report)
		}
		rest = rest[at:]
	}
}
