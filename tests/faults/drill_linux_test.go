package faults_test

import (
	"net/http"
	"path/filepath"
	"strings"
	"testing"
)

// TestDrillOnThree: the drill has every node say when it refused, and afterwards nothing of it stands anywhere. Then an incident in earnest: what is contained is refused by every node, sign-ins are held back and let in on every
// node, and one that is isolated serves nobody while the others go on.
func TestDrillOnThree(t *testing.T) {
	c := newCluster(t, plan{nodes: 3, users: 2})
	until(t, "every node knows the others", func() bool { return len(listed(t, c)) == 3 })
	mine := c.signIn(0, 0)
	said := c.command("", "incident", "drill")
	t.Log("\n" + strings.TrimSpace(said))
	if strings.Count(said, " refused after ") != 3 || !strings.Contains(said, "seen by 3 of 3 nodes in ") || !strings.Contains(said, "2 targets are refused by 3 servers") || !strings.Contains(said, "Time to contain: ") {
		t.Errorf("the drill says %s", said)
	}
	if left := c.command("", "blocked-ips", "list", "--json"); !strings.Contains(left, `"items":[]`) {
		t.Errorf("blocked after the drill: %s", left)
	}
	everywhere := func(what string, token string, want int) {
		t.Helper()
		for n := range c.nodes {
			if got := c.call(n, "GET", me, token, nil); got.status != want {
				t.Errorf("%s: node %d answers %d %s, want %d", what, n, got.status, got.text, want)
			}
		}
	}
	everywhere("who has nothing to do with the drill", mine.AccessToken, http.StatusOK)
	other := c.signIn(1, 1)

	c.command("", "incident", "open", "a stolen laptop")
	said = c.command("", "incident", "contain", "--user", "user0", "--ip", "203.0.113.0/24", "--hold-sign-ins")
	t.Log("\n" + strings.TrimSpace(said))
	if strings.Count(said, "seen by 3 of 3 nodes in ") != 2 || !strings.Contains(said, "Time to contain: ") {
		t.Errorf("contain says %s", said)
	}
	everywhere("who is contained", mine.AccessToken, http.StatusUnauthorized)
	everywhere("who is not", other.AccessToken, http.StatusOK)
	for n := range c.nodes {
		if got := c.signIn(n, 1); got.status != http.StatusServiceUnavailable || got.Code != "sign_in_held" {
			t.Errorf("a sign-in at node %d: %d %s", n, got.status, got.text)
		}
	}
	if said = c.command("", "incident", "verify"); strings.Count(said, " yes ") != 2 || !strings.Contains(said, "all of it is refused by ") {
		t.Errorf("verify says %s", said)
	}
	name := ""
	for _, n := range listed(t, c) {
		if strings.HasSuffix(c.nodes[2].base, n[strings.LastIndexByte(n, ':'):]) {
			name = n
		}
	}
	c.command("", "incident", "isolate", name)
	for n, want := range []int{http.StatusOK, http.StatusOK, http.StatusServiceUnavailable} {
		for _, path := range []string{me, "/readyz"} {
			if got := c.call(n, "GET", path, other.AccessToken, nil); got.status != want {
				t.Errorf("%s at node %d with the last isolated: %d %s", path, n, got.status, got.text)
			}
		}
	}
	c.command("", "incident", "isolate", name, "--release")
	c.command("", "incident", "recover", "--percent", "100")
	for n := range c.nodes {
		if got := c.signIn(n, 1); got.status != http.StatusOK {
			t.Errorf("a sign-in at node %d after the recovery: %d %s", n, got.status, got.text)
		}
	}
	if said = c.command("", "incident", "report", "--out", filepath.Join(t.TempDir(), "report.md")); !strings.Contains(said, "1 users to notify") {
		t.Errorf("report says %s", said)
	}
	c.command("", "incident", "resolve")
}
