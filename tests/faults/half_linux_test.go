package faults_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"
)

// verified is guarded, and needs nothing but what the node holds.
const verified = "/api/v1/auth/verify"

// One node reaches PostgreSQL alone, another Redis alone, and a third both. What the first revokes, and dies, the third brings to Redis, so that the second refuses it too: it goes on by Redis, and hears of nothing else.
func TestHalvesOfAClusterHearOfOneAnother(t *testing.T) {
	var database, redis *link
	c := newCluster(t, plan{nodes: 3, users: 2, env: limited,
		shape: func(c *cluster) {
			database, redis = newLink(c.t, c.postgres.port), newLink(c.t, c.redis.port)
		},
		each: func(c *cluster, n int) []string {
			switch n {
			case 0:
				return []string{"REDIS_URL=" + redis.url()}
			case 1:
				return []string{"DATABASE_URL=" + strings.Replace(c.postgres.url(), fmt.Sprint(c.postgres.port), fmt.Sprint(database.port), 1)}
			}
			return nil
		}})
	gone, stays := c.signIn(0, 0), c.signIn(0, 1)
	redis.cut(true, true)
	database.cut(true, true)
	for begun := time.Now(); time.Since(begun) < 7*time.Second; <-time.After(100 * time.Millisecond) { // longer than the view may be old
		if got := c.call(1, http.MethodGet, verified, gone.AccessToken, nil); got.status != http.StatusOK {
			t.Fatalf("a good token on the node that has Redis alone: %d %s", got.status, got.text)
		}
	}
	if got := c.call(0, http.MethodPost, "/api/v1/auth/logout", gone.AccessToken, nil); got.status != http.StatusNoContent {
		t.Fatalf("a log-out on the node that has the database alone: %d %s", got.status, got.text)
	}
	acknowledged := time.Now()
	c.nodes[0].kill()
	for n := 2; n > 0; n-- {
		until(t, fmt.Sprintf("node %d refuses what node 0 revoked", n), func() bool {
			return c.call(n, http.MethodGet, verified, gone.AccessToken, nil).status == http.StatusUnauthorized
		})
	}
	t.Logf("refused everywhere %v after the answer", time.Since(acknowledged).Round(time.Millisecond))
	if got := c.call(1, http.MethodGet, verified, stays.AccessToken, nil); got.status != http.StatusOK {
		t.Errorf("another's token on the node that has Redis alone: %d %s", got.status, got.text)
	}
}
