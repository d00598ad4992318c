package faults_test

import (
	"strings"
	"testing"
)

// TestStoreSessionsFromOutside: of two nodes one sees, in the lists of the real servers, who has sessions of them from where nobody should; an alert comes of it, which names the address, once.
func TestStoreSessionsFromOutside(t *testing.T) {
	c := newCluster(t, plan{nodes: 2, users: 1, env: []string{"DB_ALLOWED_NETWORKS=10.0.0.0/8"}})
	alerts := func() string { return c.command("", "alerts", "list", "--json") }
	until(t, "the alert comes", func() bool { return strings.Contains(alerts(), `"foreign_store_session"`) })
	if got := alerts(); strings.Count(got, `"foreign_store_session"`) != 1 || !strings.Contains(got, `"127.0.0.1"`) || !strings.Contains(got, `"critical"`) {
		t.Errorf("alerts: %s", got)
	}
	events := c.command("", "audit", "tail", "--json")
	for _, store := range []string{"database", "redis"} {
		if strings.Count(events, `"store":"`+store+`"`) != 1 {
			t.Errorf("want one event of the %s among\n%s", store, events)
		}
	}
}
