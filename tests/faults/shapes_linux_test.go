package faults_test

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/xteam/xteam/ports/porttest"
)

// linked has a link between each node and Redis.
var linked = plan{env: limited, each: throughLink, shape: func(c *cluster) {
	for range 3 {
		c.links = append(c.links, newLink(c.t, c.redis.port))
	}
}}

func throughLink(c *cluster, n int) []string { return []string{"REDIS_URL=" + c.links[n].url()} }

// onLinks does the same to every link, and answers what mends them.
func (c *cluster) onLinks(do func(*link)) (mend func()) {
	for _, l := range c.links {
		do(l)
	}
	return func() {
		for _, l := range c.links {
			l.whole()
		}
	}
}

// inStep waits until a replica has what its primary has.
func inStep(t testing.TB, replica *redisServer) {
	t.Helper()
	until(t, "the replica is in step", func() bool { return replica.info("replication", "master_link_status") == "up" })
}

// sentinels is a primary with a replica, and three Sentinels that see to them: c.others are the replica and then the Sentinels.
func sentinels(c *cluster) {
	replica := startRedis(c.t, "--replicaof", "127.0.0.1 "+strconv.Itoa(c.redis.port))
	inStep(c.t, replica)
	c.others = append(c.others, replica)
	for range 3 {
		s := &redisServer{port: porttest.Free(c.t)}
		dir := c.t.TempDir()
		file := filepath.Join(dir, "sentinel.conf")
		text := fmt.Sprintf("bind 127.0.0.1\nport %d\ndir %s\nsentinel monitor main 127.0.0.1 %d 2\nsentinel down-after-milliseconds main 500\nsentinel failover-timeout main 3000\n", s.port, dir, c.redis.port)
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			c.t.Fatal(err)
		}
		s.process = &process{t: c.t, name: "Sentinel", dir: dir, args: []string{needs(c.t, "redis-server"), file, "--sentinel"}, ready: func() bool { return s.say("PING") == "+PONG" }}
		s.start()
		c.others = append(c.others, s)
	}
	until(c.t, "the Sentinels know everybody", func() bool {
		for _, s := range c.others[1:] {
			if got := s.ask("INFO", "sentinel"); !strings.Contains(got, "slaves=1,sentinels=3") {
				return false
			}
		}
		return true
	})
}

func followSentinels(c *cluster, _ int) []string {
	var hosts []string
	for _, s := range c.others[1:] {
		hosts = append(hosts, fmt.Sprintf("127.0.0.1:%d", s.port))
	}
	return []string{"REDIS_URL=redis+sentinel://" + strings.Join(hosts, ",") + "/main"}
}

// primaryAndReplica has a link from each node to the primary, and a fourth one by which the replica follows it.
func primaryAndReplica(c *cluster) {
	linked.shape(c)
	c.links = append(c.links, newLink(c.t, c.redis.port))
	replica := startRedis(c.t, "--replicaof", "127.0.0.1 "+strconv.Itoa(c.links[3].port))
	inStep(c.t, replica)
	c.others = append(c.others, replica)
}

// oldPrimary cuts the replica off and promotes it. Two nodes are led to it; the third goes on with the old primary, which answers as ever and hears nothing of what the others write.
func oldPrimary(c *cluster, _ *history) func() {
	replica := c.others[0]
	c.links[3].cut(true, true)
	replica.say("REPLICAOF", "NO", "ONE")
	c.links[0].leadsTo(replica.port)
	c.links[1].leadsTo(replica.port)
	return func() {
		if role, old := replica.info("replication", "role"), c.redis.info("replication", "role"); role != "master" || old != "master" {
			c.t.Errorf("the roles are %q and %q, want two primaries", role, old)
		}
		c.links[2].leadsTo(replica.port)
		c.redis.kill()
	}
}

// redisCluster is six nodes of a Redis Cluster, three of them replicas.
func redisCluster(c *cluster) {
	args := []string{"--cluster", "create"}
	for range 6 {
		r := startRedis(c.t, "--cluster-enabled", "yes", "--cluster-config-file", "nodes.conf", "--cluster-node-timeout", "1000")
		c.others, args = append(c.others, r), append(args, fmt.Sprintf("127.0.0.1:%d", r.port))
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	out, err := exec.CommandContext(ctx, needs(c.t, "redis-cli"), append(args, "--cluster-replicas", "1", "--cluster-yes")...).CombinedOutput()
	if err != nil {
		c.t.Fatalf("redis-cli: %v\n%s", err, out)
	}
	until(c.t, "the Cluster is ready", func() bool {
		for _, r := range c.others {
			if !strings.Contains(r.ask("CLUSTER", "INFO"), "cluster_state:ok") || r.info("replication", "role") == "slave" && r.info("replication", "master_link_status") != "up" {
				return false
			}
		}
		return true
	})
}

func followCluster(c *cluster, _ int) []string {
	return []string{fmt.Sprintf("REDIS_URL=redis+cluster://127.0.0.1:%d,127.0.0.1:%d", c.others[0].port, c.others[1].port)}
}

// slotAndPrimary moves the slot of the revocations to another primary, under those who use it, and then kills that primary.
func slotAndPrimary(c *cluster, _ *history) func() {
	c.t.Helper()
	slot := strings.TrimPrefix(c.others[0].say("CLUSTER", "KEYSLOT", "xteam:{r}:id"), ":")
	number, err := strconv.Atoi(slot)
	if err != nil {
		c.t.Fatalf("the slot is %q", slot)
	}
	ids := map[*redisServer]string{}
	var from, to *redisServer
	for _, r := range c.others {
		lines := strings.Split(r.ask("CLUSTER", "MYID"), "\r\n")
		ids[r] = lines[1]
		if r.info("replication", "role") != "master" {
			continue
		}
		if r.owns(number) {
			from = r
		} else {
			to = r
		}
	}
	if from == nil || to == nil {
		c.t.Fatal("nobody has the slot of the revocations")
	}
	to.say("CLUSTER", "SETSLOT", slot, "IMPORTING", ids[from])
	from.say("CLUSTER", "SETSLOT", slot, "MIGRATING", ids[to])
	until(c.t, "the slot is empty", func() bool {
		words := strings.Split(from.ask("CLUSTER", "GETKEYSINSLOT", slot, "100"), "\r\n")
		migrate := []string{"MIGRATE", "127.0.0.1", strconv.Itoa(to.port), "", "0", "5000", "KEYS"}
		for i := 2; i < len(words); i += 2 {
			migrate = append(migrate, words[i])
		}
		if words[0] != "*0" {
			from.say(migrate...)
		}
		return words[0] == "*0"
	})
	for _, r := range []*redisServer{to, from} {
		if got := r.say("CLUSTER", "SETSLOT", slot, "NODE", ids[to]); got != "+OK" {
			c.t.Errorf("the slot could not be given away: %s", got)
		}
	}
	wait(1500 * time.Millisecond)
	to.kill()
	return func() {
		until(c.t, "another node of the Cluster has the slot", func() bool {
			for _, r := range c.others {
				if r != to && r.info("replication", "role") == "master" && r.owns(number) {
					return true
				}
			}
			return false
		})
	}
}

// owns reports whether a node of a Cluster has a slot, as it sees that itself.
func (r *redisServer) owns(slot int) bool {
	for line := range strings.Lines(r.ask("CLUSTER", "NODES")) {
		fields := strings.Fields(line)
		if len(fields) < 9 || !strings.Contains(fields[2], "myself") {
			continue
		}
		for _, span := range fields[8:] {
			first, last, ok := strings.Cut(span, "-")
			if !ok {
				last = first
			}
			a, err := strconv.Atoi(first)
			b, err2 := strconv.Atoi(last)
			if err == nil && err2 == nil && a <= slot && slot <= b {
				return true
			}
		}
	}
	return false
}

// everyPolicy fills Redis' memory under each policy that evicts, and sees to it that it did.
func everyPolicy(c *cluster, _ *history) func() {
	for _, policy := range []string{"allkeys-lru", "allkeys-lfu", "allkeys-random", "volatile-lru", "volatile-lfu", "volatile-random", "volatile-ttl"} {
		evicted := c.redis.info("stats", "evicted_keys")
		c.redis.say("CONFIG", "SET", "maxmemory-policy", policy)
		until(c.t, policy+" evicts", func() bool {
			used, _ := strconv.Atoi(c.redis.info("memory", "used_memory"))
			c.redis.say("CONFIG", "SET", "maxmemory", strconv.Itoa(used-(16<<10)))
			wait(20 * time.Millisecond)
			return c.redis.info("stats", "evicted_keys") != evicted
		})
		wait(time.Second)
		c.redis.say("CONFIG", "SET", "maxmemory", "0")
	}
	return nothing
}

// rotatedPassword gives Redis another password, ends what was let in with the old one, and then tells the nodes, one after the other.
func rotatedPassword(c *cluster, _ *history) func() {
	c.redis.say("CONFIG", "SET", "requirepass", "after")
	c.redis.password = "after"
	c.redis.say("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
	return func() {
		for _, n := range c.nodes {
			n.env = append(n.env, "REDIS_URL="+c.redis.url())
			n.kill()
			c.serve(n)
		}
	}
}

// exhaustedPool locks the sessions against everybody, and has a crowd ask for them.
func exhaustedPool(c *cluster, _ *history) func() {
	const crowd = 60
	a := c.signIn(0, 0)
	if a.status != http.StatusOK {
		c.t.Fatalf("sign-in: %d %s", a.status, a.text)
	}
	var running sync.WaitGroup
	running.Go(func() {
		c.postgres.must("BEGIN; LOCK TABLE sessions IN ACCESS EXCLUSIVE MODE; SELECT pg_sleep(4); COMMIT")
	})
	refused := make([]int, crowd)
	over := make(chan struct{})
	for i := range crowd {
		running.Go(func() {
			for {
				select {
				case <-over:
					return
				default:
				}
				if c.call(i%len(c.nodes), http.MethodGet, "/api/v1/auth/sessions", a.AccessToken, nil).status == http.StatusServiceUnavailable {
					refused[i]++
				}
			}
		})
	}
	return func() {
		close(over)
		running.Wait()
		if all := sum(refused); all == 0 {
			c.t.Error("nobody of the crowd was told 503: no pool was exhausted")
		}
	}
}

func sum(numbers []int) (n int) {
	for _, one := range numbers {
		n += one
	}
	return n
}

// clocks gives each node a file that its clock goes by.
func clocks(c *cluster) {
	for n := range 3 {
		c.clocks = append(c.clocks, filepath.Join(c.t.TempDir(), "clock"))
		c.turn(n, 0)
	}
}

func ownClock(c *cluster, n int) []string { return []string{"XTEAM_FAULT_CLOCK=" + c.clocks[n]} }

// turn has a node's clock be wrong by so many seconds from now on.
func (c *cluster) turn(n, seconds int) {
	c.t.Helper()
	next := c.clocks[n] + ".next"
	if err := os.WriteFile(next, []byte(strconv.Itoa(seconds)), 0o600); err != nil {
		c.t.Fatal(err)
	}
	if err := os.Rename(next, c.clocks[n]); err != nil { // so that nobody reads half of it
		c.t.Fatal(err)
	}
}

// clocked builds the program whose clock goes by a file, once.
var clocked = sync.OnceValues(func() (string, error) {
	path := binary + "-clocked"
	cmd := exec.Command("go", "build", "-trimpath", "-tags", "faultclock", "-ldflags", "-s -w", "-o", path, "github.com/xteam/xteam/cmd/xteam")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build: %w\n%s", err, bytes.TrimSpace(out))
	}
	return path, nil
})

func clockedProgram(t testing.TB) string {
	t.Helper()
	path, err := clocked()
	if err != nil {
		t.Fatal(err)
	}
	return path
}
