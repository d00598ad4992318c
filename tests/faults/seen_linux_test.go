package faults_test

import (
	"encoding/json"
	"net"
	"net/http"
	"net/url"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
)

// TestSeenByAll: who revokes, blocks an address or rotates the key hears from every node; one that stands still is named, and one that has gone is not waited for. A new key signs only once all that live have it.
func TestSeenByAll(t *testing.T) {
	c := newCluster(t, plan{nodes: 3, users: 1})
	until(t, "every node knows the others", func() bool { return len(listed(t, c)) == 3 })
	a := c.signIn(0, 0)
	said := c.command("", "revoke", "--user", "user0")
	t.Log(strings.TrimSpace(said))
	if !strings.Contains(said, "seen by 3 of 3 nodes in ") {
		t.Errorf("revoke says %q", said)
	}
	for n := range c.nodes { // at once: each has said that it refuses
		if got := c.call(n, http.MethodGet, me, a.AccessToken, nil); got.status != http.StatusUnauthorized {
			t.Errorf("node %d said that it refuses, and answers %d", n, got.status)
		}
	}
	if said := c.command("", "blocked-ips", "add", "198.51.100.0/24"); !strings.Contains(said, "seen by 3 of 3 nodes in ") {
		t.Errorf("blocked-ips says %q", said)
	}
	beside := func(args ...string) (string, error) { // a command beside no server
		cmd := exec.Command(binary, args...)
		cmd.Env, cmd.Dir = append(slices.Clone(c.nodes[0].env), "DATA_DIR="+filepath.Join(t.TempDir(), "data")), t.TempDir()
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	copied := filepath.Join(t.TempDir(), "copy.tar")
	if out, err := beside("backup", copied); err != nil {
		t.Fatalf("a backup while servers run: %v, %s", err, out)
	}
	said = c.command("", "keys", "rotate", "--alg", "EdDSA")
	t.Log(strings.TrimSpace(said))
	if !strings.Contains(said, "all 3 nodes had it before") {
		t.Errorf("keys rotate says %q", said)
	}
	fresh := c.signIn(0, 0)
	for n := range c.nodes {
		if got := c.call(n, http.MethodGet, me, fresh.AccessToken, nil); got.status != http.StatusOK {
			t.Errorf("node %d, the first token of the new key: %d %s", n, got.status, got.text)
		}
	}

	// A command beside no server opens the stores itself, and is a node for that moment: it hears of all three.
	out, err := beside("revoke", "--user", "user0")
	t.Log(strings.TrimSpace(out))
	if err != nil || !strings.Contains(out, "seen by 4 of 4 nodes in ") {
		t.Errorf("a command by itself: %v, %s", err, out)
	}

	// While servers run, what they write would be left behind by a migration, and undo what is restored. Nothing is changed before that is refused, signing keys neither.
	before := c.command("", "keys", "list", "--json")
	for _, args := range [][]string{{"migrate", "--from", c.postgres.url(), "--to", "badger://" + filepath.Join(t.TempDir(), "moved")}, {"restore", copied}} {
		if out, err := beside(args...); err == nil || !strings.Contains(out, "the database is in use by ") {
			t.Errorf("%s while servers run: %v, %s", args[0], err, out)
		}
	}
	if after := c.command("", "keys", "list", "--json"); after != before || !strings.Contains(after, "EdDSA") {
		t.Errorf("the signing keys after a restore that was refused:\n%sbefore:\n%s", after, before)
	}

	// One stands still: it is named, and no key signs without it.
	u, err := url.Parse(c.nodes[2].base)
	if err != nil {
		t.Fatal(err)
	}
	_, port, err := net.SplitHostPort(u.Host)
	if err != nil {
		t.Fatal(err)
	}
	c.nodes[2].signal(syscall.SIGSTOP)
	said = c.command("", "revoke", "--user", "user0")
	t.Log(strings.TrimSpace(said))
	if !strings.Contains(said, "seen by 2 of 3 nodes in ") || !strings.Contains(said, ":"+port+" in time") {
		t.Errorf("with a node that stands still revoke says %q", said)
	}
	until(t, "the one that stands still does not count any more", func() bool { return len(listed(t, c)) == 2 })
	if said := c.command("", "revoke", "--user", "user0"); !strings.Contains(said, "seen by 2 of 2 nodes in ") {
		t.Errorf("with a node that has gone revoke says %q", said)
	}
	c.nodes[2].signal(syscall.SIGCONT)
	until(t, "it is back", func() bool { return len(listed(t, c)) == 3 })
	c.nodes[2].kill()
	until(t, "the one that was killed does not count any more", func() bool { return len(listed(t, c)) == 2 })
}

// listed are the names of the nodes as the first one has them.
func listed(t testing.TB, c *cluster) (names []string) {
	t.Helper()
	var all struct{ Items []struct{ Name string } }
	if err := json.Unmarshal([]byte(c.command("", "nodes", "--json")), &all); err != nil {
		t.Fatal(err)
	}
	for _, n := range all.Items {
		names = append(names, n.Name)
	}
	return names
}
