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

// What calls cost the servers behind: the guard asks PostgreSQL nothing (/users/me reads the account that it answers, once), and Redis nothing while buckets are local, else exactly once; a refresh asks PostgreSQL once beyond its
// transaction. What followers ask all the while is some statements and commands a second, and does not count.
func TestWhatCallsCost(t *testing.T) {
	const calls, tolerated = 1000, 200
	c := newCluster(t, plan{nodes: 1, users: 1, env: limited})
	own := c.node(1, append(limited, "RATE_LIMIT_URL=memory:")...)
	c.serve(own)
	c.nodes = append(c.nodes, own)
	a := c.signIn(0, 0)
	c.nodes = append(c.nodes, c.join(2)) // without limits, which a chain of refreshes would meet
	guarded := func(n int, path string, calls int) {
		t.Helper()
		for range calls {
			if got := c.call(n, http.MethodGet, path, a.AccessToken, nil); got.status != http.StatusOK {
				t.Fatalf("node %d: %d %s", n, got.status, got.text)
			}
		}
	}
	for n := range c.nodes { // what is asked once
		c.call(n, http.MethodGet, me, a.AccessToken, nil)
	}

	all := func() int { return c.redis.asked(t).all }
	if asked := c.besides(all, func() { guarded(1, me, calls) }); asked > tolerated {
		t.Errorf("%d guarded calls with local buckets: Redis was asked %d times for them", calls, asked)
	}
	for tries, some := 1, calls/10; ; tries++ { // a Redis that does not answer within 20 ms is not asked for a while
		var scripts int
		asked := c.besides(all, func() {
			before := c.redis.asked(t)
			guarded(0, me, some)
			scripts = c.redis.asked(t).scripts - before.scripts
		})
		if scripts >= some*95/100 && asked <= some+tolerated/10 {
			break
		}
		if tries == 50 || asked > some+tolerated {
			t.Errorf("%d guarded calls with buckets in Redis: %d scripts of %d commands, want one a call", some, scripts, asked)
			break
		}
	}

	c.postgres.must("ALTER SYSTEM SET log_line_prefix = '%p '")
	c.postgres.must("ALTER SYSTEM SET log_statement = 'all'")
	c.postgres.must("SELECT pg_reload_conf()")
	until(t, "PostgreSQL writes its statements down", func() bool { c.postgres.must("SELECT 'written'"); return c.postgres.statements(t).outside > 0 })
	was := c.postgres.statements(t)
	for path, statements := range map[string]int{"/api/v1/auth/verify": 0, me: calls} {
		was = c.postgres.statements(t)
		guarded(2, path, calls)
		is := c.postgres.statements(t)
		outside, transactions := is.asked(was), is.transactions-was.transactions
		t.Logf("%d calls of %s: %d transactions, and %d statements outside of them", calls, path, transactions, outside)
		if outside+transactions > statements+tolerated {
			t.Errorf("%d calls of %s: PostgreSQL ran %d statements and %d transactions meanwhile, want %d", calls, path, outside, transactions, statements)
		}
	}
	was = c.postgres.statements(t)
	for range tolerated {
		next := c.call(2, http.MethodPost, "/api/v1/auth/refresh", "", map[string]any{"refresh_token": a.RefreshToken})
		if next.status != http.StatusOK {
			t.Fatalf("refresh: %d %s", next.status, next.text)
		}
		a = next
	}
	is := c.postgres.statements(t)
	outside := is.asked(was)
	t.Logf("%d refreshes: %d statements outside of their transactions", tolerated, outside)
	if transactions := is.transactions - was.transactions; transactions < tolerated || outside > beyond*tolerated+tolerated/2 {
		t.Errorf("%d refreshes: %d transactions, want one each, and %d statements outside of them, want %d each", tolerated, transactions, outside, beyond)
	}
}

// besides is by how much more a count grows while something is done than in as long a time after it, when nothing is: the work that nodes have by themselves does not count, however slow the machine.
func (c *cluster) besides(count func() int, do func()) int {
	before, begun := count(), time.Now()
	do()
	took, meanwhile := time.Since(begun), count()
	wait(took)
	return meanwhile - before - (count() - meanwhile)
}

// beyond is what a refresh asks beyond its transaction: for the session, its account and the state of the system, at once.
const beyond = 1

// background are the statements of followers, of clocks, of nodes that hear one another and of the audit trail, which no call waits for.
var background = []string{"FindTrailHead :one", "UnplacedEvents :one", "ListEvents :many", "FindBlocksRevision :one", "ListRevocations :many", "Snapshot :one", "Clock :one", "SayWord :exec", "HearWords :many"}

// asked is what a Redis has been asked since its start.
type asked struct{ all, scripts int }

func (r *redisServer) asked(t testing.TB) (a asked) {
	t.Helper()
	for line := range strings.Lines(r.ask("INFO", "commandstats")) {
		name, rest, ok := strings.Cut(strings.TrimPrefix(strings.TrimSpace(line), "cmdstat_"), ":calls=")
		if !ok {
			continue
		}
		text, _, _ := strings.Cut(rest, ",")
		n, err := strconv.Atoi(text)
		if err != nil {
			t.Fatalf("Redis tells %q of itself", line)
		}
		inside := []string{"get", "set", "mget", "pexpire", "exists", "zscore", "xrange", "xlen", "zrandmember", "pttl", "hmget", "hset", "time", "hdel", "expire"} // what scripts do is counted too
		switch name {
		case "evalsha", "eval":
			a.scripts += n
		case "hgetall", "xadd": // of nodes that hear one another, and say their words: each is in a script of its own, which no call waits for
			a.scripts, a.all = a.scripts-n, a.all-2*n
		}
		if !slices.Contains(inside, name) {
			a.all += n
		}
	}
	if a.all == 0 {
		t.Fatal("Redis does not say what it was asked")
	}
	return a
}

// statements are what a PostgreSQL has written down of them.
type statements struct {
	transactions int            // that were begun
	outside      int            // statements that stand in none
	names        map[string]int // and what they are called
}

// asked is how many statements beside the background's there were since was.
func (s statements) asked(was statements) (n int) {
	for name, all := range s.names {
		if !slices.Contains(background, name) {
			n += all - was.names[name]
		}
	}
	return n
}

// statements counts by process, for a transaction is one's own.
func (p *postgresServer) statements(t testing.TB) (s statements) {
	t.Helper()
	text, err := os.ReadFile(p.log.Name())
	if err != nil {
		t.Fatal(err)
	}
	s.names = map[string]int{}
	begun := map[string]bool{}
	for line := range strings.Lines(string(text)) {
		pid, rest, _ := strings.Cut(line, " ")
		said, ok := strings.CutPrefix(strings.TrimSpace(rest), "LOG:  ")
		if !ok || !strings.HasPrefix(said, "execute ") && !strings.HasPrefix(said, "statement: ") {
			continue
		}
		_, sql, _ := strings.Cut(said, ": ")
		word, _, _ := strings.Cut(strings.ToLower(strings.TrimSpace(sql)), " ")
		switch {
		case word == "begin" || word == "start":
			begun[pid] = true
			s.transactions++
		case word == "commit" || word == "rollback":
			begun[pid] = false
		case !begun[pid]:
			s.outside++
			s.names[strings.TrimSuffix(strings.TrimSpace(strings.TrimPrefix(sql, "-- name: ")), "\n")]++
		}
	}
	return s
}
