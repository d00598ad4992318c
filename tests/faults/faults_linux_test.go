package faults_test

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// The bounds of the contract: REVOCATION_POLL, and REVOCATION_MAX_STALENESS where the database is what fails. The rest is for a machine that does something else meanwhile.
const (
	poll      = time.Second
	staleness = 5 * time.Second
	slack     = time.Second
)

// fault is one thing that goes wrong with a cluster. cause has it begin, and answers what ends it.
type fault struct {
	name     string
	database bool          // it is the database that fails
	lasts    time.Duration // of what does not end by itself
	redis    []string      // arguments of the server
	cause    func(c *cluster) (mend func())
}

var table = []fault{
	{name: "Redis: kill -9", lasts: 4 * time.Second, cause: func(c *cluster) func() { c.redis.kill(); return c.redis.start }},
	{name: "Redis: SIGSTOP", lasts: 6 * time.Second, cause: func(c *cluster) func() {
		c.redis.signal(syscall.SIGSTOP)
		return func() { c.redis.signal(syscall.SIGCONT) }
	}},
	{name: "Redis: FLUSHALL", lasts: 3 * time.Second, cause: func(c *cluster) func() { c.redis.say("FLUSHALL"); return func() {} }},
	{name: "Redis: SCRIPT FLUSH", lasts: 2 * time.Second, cause: func(c *cluster) func() { c.redis.say("SCRIPT", "FLUSH"); return func() {} }},
	{name: "Redis: CLIENT KILL every 50 ms", lasts: 4 * time.Second, cause: func(c *cluster) func() {
		return c.again(50*time.Millisecond, func() { c.redis.say("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes") })
	}},
	{name: "Redis: CLIENT PAUSE of 500 ms, again and again", lasts: 4 * time.Second, cause: func(c *cluster) func() {
		return c.again(700*time.Millisecond, func() { c.redis.say("CLIENT", "PAUSE", "500", "ALL") })
	}},
	{name: "Redis: full, noeviction", lasts: 4 * time.Second, cause: func(c *cluster) func() {
		c.redis.say("CONFIG", "SET", "maxmemory", "900kb")
		return func() { c.redis.say("CONFIG", "SET", "maxmemory", "0") }
	}},
	{name: "Redis: full, allkeys-lru", lasts: 4 * time.Second, cause: func(c *cluster) func() {
		c.redis.say("CONFIG", "SET", "maxmemory-policy", "allkeys-lru")
		c.redis.say("CONFIG", "SET", "maxmemory", "1mb")
		return func() { c.redis.say("CONFIG", "SET", "maxmemory", "0") }
	}},
	{name: "PostgreSQL: kill -9", database: true, lasts: 3 * time.Second, cause: func(c *cluster) func() { c.postgres.kill(); return c.postgres.restart }},
	{name: "PostgreSQL: SIGSTOP", database: true, lasts: 4 * time.Second, cause: func(c *cluster) func() {
		c.postgres.signal(syscall.SIGSTOP)
		return func() { c.postgres.signal(syscall.SIGCONT) }
	}},
	{name: "a node: kill -9", lasts: 2 * time.Second, cause: func(c *cluster) func() {
		c.nodes[2].kill()
		return func() { c.serve(c.nodes[2]) }
	}},
	{name: "a node: SIGSTOP", lasts: 4 * time.Second, cause: func(c *cluster) func() {
		c.nodes[2].signal(syscall.SIGSTOP)
		return func() { c.nodes[2].signal(syscall.SIGCONT) }
	}},
}

// again does f again and again until the function that it answers is called.
func (c *cluster) again(every time.Duration, f func()) (stop func()) {
	over := make(chan struct{})
	var running sync.WaitGroup
	running.Go(func() {
		tick := time.NewTicker(every)
		defer tick.Stop()
		for {
			select {
			case <-over:
				return
			case <-tick.C:
				f()
			}
		}
	})
	return func() { close(over); running.Wait() }
}

// restart starts a PostgreSQL that was killed. What it had started may hold on to its folder for a moment.
func (p *postgresServer) restart() {
	_ = os.Remove(p.args[2] + "/postmaster.pid")
	p.start()
}

// Three nodes, eight clients who sign in, call every node, refresh and sign out without pause, and one thing that goes wrong: through each of them no revoked token is let in, no
// session is lost that nobody ended, and all is well again when it is over.
func TestFaults(t *testing.T) {
	if os.Getenv("XTEAM_TEST_FAULTS") != "1" {
		t.Skip("takes some four minutes: make faults runs it")
	}
	const clients = 8
	var rows []string
	for _, f := range table {
		t.Run(f.name, func(t *testing.T) {
			c := newCluster(t, 3, clients, f.redis)
			h := newHistory()
			over := make(chan struct{})
			var running sync.WaitGroup
			for i := range clients {
				running.Go(func() { c.live(h, i, over) })
			}
			wait(2 * time.Second)
			mend := f.cause(c)
			wait(f.lasts)
			mend()
			recovered := c.recovers(clients)
			wait(2 * time.Second)
			close(over)
			running.Wait()
			c.everybodyIsOut(h)

			bound := poll + slack
			if f.database {
				bound += staleness
			}
			v := h.judge(bound)
			for _, what := range [][]string{v.accepted, v.lost} {
				for i, one := range what {
					if i < 5 {
						t.Error(one)
					}
				}
				if len(what) > 5 {
					t.Errorf("and %d more", len(what)-5)
				}
			}
			if v.revocations == 0 || v.requests == 0 {
				t.Errorf("nothing was put to the test: %d requests, %d revocations", v.requests, v.revocations)
			}
			rows = append(rows, fmt.Sprintf("| %s | %d | %d | %d | %d | %d | %.1f |", f.name, v.requests, v.revocations, len(v.accepted), len(v.lost), v.unavailable, recovered.Seconds()))
		})
	}
	t.Logf("\n| fault | requests | revocations | accepted after revocation | lost | 503 or no answer | seconds to recover |\n|---|---|---|---|---|---|---|\n%s", strings.Join(rows, "\n"))
}

// wait lets real time pass: what a fault does to real servers takes as long as it takes.
func wait(d time.Duration) { <-time.After(d) }

// recovers waits until every node signs in and lets in, and answers how long that took.
func (c *cluster) recovers(clients int) time.Duration {
	c.t.Helper()
	begun := time.Now()
	for n := range c.nodes {
		until(c.t, fmt.Sprintf("node %d is well again", n), func() bool {
			a := c.signIn(n, n%clients)
			return a.status == http.StatusOK && c.call(n, http.MethodGet, me, a.AccessToken, nil).status == http.StatusOK
		})
	}
	return time.Since(begun)
}

// live is what one client does until over.
func (c *cluster) live(h *history, user int, over <-chan struct{}) {
	var dead []string
	for round := 0; ; round++ {
		select {
		case <-over:
			return
		default:
		}
		a := c.signIn((user+round)%len(c.nodes), user)
		if a.status != http.StatusOK {
			h.saw(fmt.Sprintf("sign-in %d", a.status))
			if a.status != http.StatusServiceUnavailable && a.status != 0 {
				h.used(use{token: "", status: 0})
			}
			continue
		}
		session := sid(a.AccessToken)
		h.issued(a.AccessToken, session)
		for range 3 {
			for n := range c.nodes {
				c.use(h, n, a.AccessToken)
			}
			next, ok := c.refresh(h, a, over)
			if !ok {
				return
			}
			a = next
		}
		for n := range c.nodes {
			c.use(h, n, a.AccessToken)
		}
		h.revoking(session)
		if c.call((user+round+1)%len(c.nodes), http.MethodPost, "/api/v1/auth/logout", a.AccessToken, nil).status == http.StatusNoContent {
			h.revoked(session)
		}
		if dead = append(dead, a.AccessToken); len(dead) > 6 {
			dead = dead[1:]
		}
		for _, token := range dead {
			for n := range c.nodes {
				c.use(h, n, token)
			}
		}
	}
}

// use calls a node with a token and notes what came of it.
func (c *cluster) use(h *history, n int, token string) {
	u := use{token: token, node: n, begun: h.now()}
	a := c.call(n, http.MethodGet, me, token, nil)
	u.end, u.status, u.code = h.now(), a.status, a.Code+" "+a.Reason
	h.used(u)
}

// refresh asks for the next tokens of a session until it gets them: an answer that was lost is asked for again within the grace. A refusal is a session that was lost.
func (c *cluster) refresh(h *history, a answer, over <-chan struct{}) (answer, bool) {
	for n := 0; ; n++ {
		next := c.call(n%len(c.nodes), http.MethodPost, "/api/v1/auth/refresh", "", map[string]any{"refresh_token": a.RefreshToken})
		switch next.status {
		case http.StatusOK:
			h.issued(next.AccessToken, sid(next.AccessToken))
			return next, true
		case 0, http.StatusServiceUnavailable:
			h.saw(fmt.Sprintf("refresh %d", next.status))
		default:
			now := h.now()
			h.used(use{token: a.AccessToken, node: n % len(c.nodes), begun: now, end: now, status: http.StatusUnauthorized, code: "at its refresh: " + next.Code + " " + next.Reason})
			return answer{}, false
		}
		select {
		case <-over:
			return answer{}, false
		default:
		}
	}
}

// everybodyIsOut uses, on every node, every token whose revocation was acknowledged.
func (c *cluster) everybodyIsOut(h *history) {
	h.mu.Lock()
	var dead []string
	for token, f := range h.tokens {
		if f.known > 0 {
			dead = append(dead, token)
		}
	}
	h.mu.Unlock()
	wait(poll)
	for _, token := range dead[:min(len(dead), 300)] {
		for n := range c.nodes {
			c.use(h, n, token)
		}
	}
}

// sid is the session of an access token, unverified.
func sid(access string) string {
	parts := strings.Split(access, ".")
	if len(parts) != 3 {
		return ""
	}
	raw, _ := base64.RawURLEncoding.DecodeString(parts[1])
	var claims struct {
		Session string `json:"sid"`
	}
	_ = json.Unmarshal(raw, &claims)
	return claims.Session
}
