package faults_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"
)

// A node that starts while another still owes the database a revocation holds it in force by Redis, takes the database for no lesser one, and raises nothing; once the database is reached it is
// written down, with its event.
func TestStartWhileAnotherOwes(t *testing.T) {
	c, database, gone, stays := owing(t)
	c.nodes = append(c.nodes, c.join(2))
	until(t, "the new node has compared what it was told", func() bool {
		return c.call(2, http.MethodGet, me, gone.AccessToken, nil).status == http.StatusUnauthorized
	})
	for begun := time.Now(); time.Since(begun) < 6*time.Second; <-time.After(100 * time.Millisecond) {
		if got := c.call(2, http.MethodGet, me, stays.AccessToken, nil); got.status != http.StatusOK {
			t.Fatalf("another's token on the new node: %d %s", got.status, got.text)
		}
	}
	database.whole()
	until(t, "the log-out is written down", func() bool {
		return strings.Contains(c.command("", "audit", "tail", "--json"), "token_revoked")
	})
	events := c.command("", "audit", "tail", "--json")
	for _, not := range []string{"epoch_raised", "source_healed"} {
		if strings.Contains(events, not) {
			t.Errorf("an event that should not be: %s in\n%s", not, events)
		}
	}
}

// A node that is cut off from the database alone, and is killed while it owes it a log-out, leaves no session that could be refreshed once the log-out's entry is over: another node, which lost nothing, writes both down. Nobody is told of a loss,
// and a node that starts finds none.
func TestWhatADeadNodeOwedIsWrittenDown(t *testing.T) {
	c, _, gone, stays := owing(t)
	c.nodes[1].kill()
	const ofSessions = " FROM revocations WHERE get_byte(key, 0) = 2"
	until(t, "the other node has written it down", func() bool { return c.postgres.must("SELECT count(*)"+ofSessions) == "1" })
	c.nodes = append(c.nodes, c.join(2))
	refresh := func(a answer) int {
		return c.call(2, http.MethodPost, "/api/v1/auth/refresh", "", map[string]any{"refresh_token": a.RefreshToken}).status
	}
	if got := refresh(stays); got != http.StatusOK {
		t.Errorf("a refresh of another's session: %d", got)
	}
	events := c.command("", "audit", "tail", "--json")
	for _, not := range []string{"epoch_raised", "source_healed"} {
		if strings.Contains(events, not) {
			t.Errorf("an event that should not be: %s in\n%s", not, events)
		}
	}
	for _, n := range []int{0, 2} { // and once nobody knows of the entry any more
		c.nodes[n].kill()
	}
	c.redis.kill()
	c.postgres.must("DELETE" + ofSessions)
	c.serve(c.nodes[2])
	if got := refresh(gone); got != http.StatusUnauthorized {
		t.Errorf("a refresh of the session that was ended: %d, want 401", got)
	}
}

// owing are two nodes, of which the second is cut off from the database alone, and owes it a log-out of the first user. The second user's session goes on.
func owing(t *testing.T) (c *cluster, database *link, gone, stays answer) {
	t.Helper()
	c = newCluster(t, plan{nodes: 2, users: 2, shape: func(c *cluster) { database = newLink(c.t, c.postgres.port) }, each: func(c *cluster, n int) []string {
		if n == 1 {
			return []string{"DATABASE_URL=" + strings.Replace(c.postgres.url(), fmt.Sprint(c.postgres.port), fmt.Sprint(database.port), 1)}
		}
		return nil
	}})
	gone, stays = c.signIn(0, 0), c.signIn(0, 1)
	database.cut(true, true)
	if got := c.call(1, http.MethodPost, "/api/v1/auth/logout", gone.AccessToken, nil); got.status != http.StatusServiceUnavailable {
		t.Fatalf("a log-out without the database: %d %s, want 503: in force, not yet durable", got.status, got.text)
	}
	return c, database, gone, stays
}
