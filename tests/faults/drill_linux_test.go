package faults_test

import (
	"strings"
	"testing"
)

// TestDrillOnThree: the drill has every node say when it refused, and afterwards nothing of it stands anywhere.
func TestDrillOnThree(t *testing.T) {
	c := newCluster(t, plan{nodes: 3, users: 1})
	until(t, "every node knows the others", func() bool { return len(listed(t, c)) == 3 })
	mine := c.signIn(0, 0)
	said := c.command("", "incident", "drill")
	t.Log("\n" + strings.TrimSpace(said))
	if strings.Count(said, " refused after ") != 3 || !strings.Contains(said, "seen by 3 of 3 nodes in ") || !strings.Contains(said, "Time to contain: ") {
		t.Errorf("the drill says %s", said)
	}
	if left := c.command("", "blocked-ips", "list", "--json"); !strings.Contains(left, `"items":[]`) {
		t.Errorf("blocked after the drill: %s", left)
	}
	for n := range c.nodes {
		if got := c.call(n, "GET", me, mine.AccessToken, nil); got.status != 200 {
			t.Errorf("node %d refuses who has nothing to do with the drill: %d %s", n, got.status, got.text)
		}
	}
}
