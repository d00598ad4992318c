package faults_test

import (
	"encoding/json"
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

	// An API key is taken by each node, and once it is revoked on one, or rotated without an overlap, refused by each, with the reason; what takes its place is taken by each.
	bearer := c.signIn(0, 0).AccessToken
	issued := func(got answer) (kid, text string) {
		var k struct{ ID, Key string }
		if err := json.Unmarshal([]byte(got.text), &k); err != nil || got.status != http.StatusCreated {
			t.Fatalf("an API key: %d %s", got.status, got.text)
		}
		return k.ID, k.Key
	}
	everywhere := func(text, what string, status int) {
		for n := range c.nodes {
			until(t, what, func() bool {
				got := c.call(n, http.MethodGet, me, text, nil)
				return got.status == status && (status == http.StatusOK || got.Reason == "key_revoked")
			})
		}
	}
	for i := range c.nodes {
		kid, text := issued(c.call(i, http.MethodPost, "/api/v1/api-keys", bearer, map[string]any{"name": "bot"}))
		everywhere(text, "every node takes a new API key", http.StatusOK)
		nextID, next := issued(c.call((i+1)%3, http.MethodPost, "/api/v1/api-keys/"+kid+"/rotate", bearer, map[string]any{"overlap_hours": i % 2}))
		everywhere(next, "every node takes what takes its place", http.StatusOK)
		if i%2 == 1 {
			everywhere(text, "every node takes the old one meanwhile", http.StatusOK)
		} else {
			everywhere(text, "every node refuses the old one", http.StatusUnauthorized)
		}
		if got := c.call((i+2)%3, http.MethodDelete, "/api/v1/api-keys/"+nextID, bearer, nil); got.status != http.StatusNoContent {
			t.Fatalf("revoke an API key: %d %s", got.status, got.text)
		}
		everywhere(next, "every node refuses the API key", http.StatusUnauthorized)
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
	asked := c.besides(func() int { return commands(t, c.redis) }, func() {
		for range 100 {
			for n := range c.nodes {
				c.call(n, http.MethodGet, me, good.AccessToken, nil)
			}
		}
	})
	if asked >= 150 {
		t.Errorf("300 guarded calls: Redis was asked %d times for them", asked)
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
