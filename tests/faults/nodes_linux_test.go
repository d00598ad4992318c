package faults_test

import (
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// Three nodes on one database and one Redis are one service: what one hands out the others take, and what one withdraws none of them takes a moment later. A guarded call asks Redis nothing.
func TestThreeNodes(t *testing.T) {
	c := newCluster(t, plan{nodes: 3, users: 3})
	a := c.signIn(0, 0)
	for n := range c.nodes {
		if got := c.call(n, http.MethodGet, me, a.AccessToken, nil); got.status != http.StatusOK {
			t.Fatalf("node %d: %d %s", n, got.status, got.text)
		}
	}

	// By session, user, key, on one node; refused on each.
	var took []time.Duration
	for i := range 20 {
		tokens := c.signIn(i%3, i%3)
		if got := c.call(i%3, http.MethodPost, "/api/v1/auth/logout", tokens.AccessToken, nil); got.status != http.StatusNoContent {
			t.Fatalf("log-out: %d %s", got.status, got.text)
		}
		begun := time.Now()
		for n := range c.nodes {
			until(t, "every node refuses", func() bool {
				return c.call(n, http.MethodGet, me, tokens.AccessToken, nil).status == http.StatusUnauthorized
			})
		}
		took = append(took, time.Since(begun))
		if got := c.call((i+1)%3, http.MethodPost, "/api/v1/auth/refresh", "", map[string]any{"refresh_token": tokens.RefreshToken}); got.status != http.StatusUnauthorized {
			t.Errorf("a refresh on another node after the log-out: %d %s", got.status, got.text)
		}
	}
	slices.Sort(took)
	t.Logf("after a log-out was answered, the last of three nodes refused within %v at the median, %v at most", took[len(took)/2], took[len(took)-1])

	// A key that one node makes and signs with at once is taken by the others at first sight; one that is revoked by none.
	before := c.signIn(1, 1)
	c.command("", "keys", "rotate", "--alg", "ES256")
	after := c.signIn(0, 1)
	for n := range c.nodes {
		for what, token := range map[string]string{"before": before.AccessToken, "after": after.AccessToken} {
			if got := c.call(n, http.MethodGet, me, token, nil); got.status != http.StatusOK {
				t.Errorf("node %d, a token of %s the rotation: %d %s", n, what, got.status, got.text)
			}
		}
	}
	kid := ""
	for line := range strings.Lines(c.command("", "keys", "list")) {
		if strings.Contains(line, " primary ") {
			kid, _, _ = strings.Cut(line, " ")
		}
	}
	c.command("", "keys", "revoke", kid)
	for n := range c.nodes {
		until(t, "every node refuses what the key signed, and says why", func() bool {
			got := c.call(n, http.MethodGet, me, after.AccessToken, nil)
			return got.status == http.StatusUnauthorized && got.Reason == "key_revoked"
		})
		fresh := c.signIn(n, 2)
		if fresh.status != http.StatusOK {
			t.Errorf("node %d, a sign-in after the key was revoked: %d %s", n, fresh.status, fresh.text)
		}
		for m := range c.nodes {
			if got := c.call(m, http.MethodGet, me, fresh.AccessToken, nil); got.status != http.StatusOK {
				t.Errorf("node %d, a token of node %d: %d %s", m, n, got.status, got.text)
			}
		}
	}

	// 40 refreshes of one token, spread over the nodes: one successor for all.
	one := c.signIn(0, 0)
	successors := make(chan string, 40)
	for i := range 40 {
		go func() {
			successors <- c.call(i%3, http.MethodPost, "/api/v1/auth/refresh", "", map[string]any{"refresh_token": one.RefreshToken}).RefreshToken
		}()
	}
	distinct := map[string]bool{}
	for range 40 {
		distinct[<-successors] = true
	}
	if len(distinct) != 1 || distinct[""] {
		t.Errorf("40 refreshes over three nodes gave %d successors, want one", len(distinct))
	}

	// What Redis is asked for a guarded call: nothing.
	good := c.signIn(0, 0)
	before300 := commands(t, c.redis)
	for range 100 {
		for n := range c.nodes {
			c.call(n, http.MethodGet, me, good.AccessToken, nil)
		}
	}
	if asked := commands(t, c.redis) - before300; asked >= 300 { // a follower's heartbeat is some ten a second
		t.Errorf("300 guarded calls: Redis was asked %d times meanwhile", asked)
	}

	// Without Redis a new node joins all the same, and knows what was revoked.
	c.redis.kill()
	c.nodes = append(c.nodes, c.join(3))
	if got := c.call(3, http.MethodGet, me, after.AccessToken, nil); got.status != http.StatusUnauthorized {
		t.Errorf("a node that joined without Redis: %d %s", got.status, got.text)
	}
	c.redis.start()
	if os.Getenv("XTEAM_TEST_FAULTS") != "1" {
		return
	}
	c.recovers(3)
}

// commands is how many Redis has run.
func commands(t testing.TB, r *redisServer) int {
	t.Helper()
	for line := range strings.Lines(r.ask("INFO", "stats")) {
		if n, ok := strings.CutPrefix(strings.TrimSpace(line), "total_commands_processed:"); ok {
			all, err := strconv.Atoi(n)
			if err != nil {
				t.Fatal(err)
			}
			return all
		}
	}
	t.Fatal("Redis does not say how many commands it has run")
	return 0
}
