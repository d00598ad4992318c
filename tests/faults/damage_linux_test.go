package faults_test

import (
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/xteam/xteam/ports/porttest"
)

// spoil damages some entries where they lie, in one of four ways, lays something where an entry may come to lie, and writes to the stream what no node wrote, and what one wrote under a count that is not its own.
const spoil = `
local p, bad = 'xteam:{r}:', {'oops', '\3later', '\1\2'}
for i, name in ipairs(redis.call('ZRANDMEMBER', p .. 'live', 4)) do
  if name ~= 'id' then
    if i == 4 then
      redis.call('DEL', p .. name)
      redis.call('RPUSH', p .. name, 'x')
    else redis.call('SET', p .. name, bad[i], 'EX', 60) end
  end
end
redis.call('SET', p .. 'jti:' .. redis.sha1hex(ARGV[1]):sub(1, 32), 'oops', 'EX', 60)
redis.call('XADD', p .. 'stream', '*', 'n', 7, 'e', ARGV[1])
local last = redis.call('XREVRANGE', p .. 'stream', '+', '-', 'COUNT', 5)
for _, m in ipairs(last) do redis.call('XADD', p .. 'stream', '*', 'n', 2000000, 'e', m[2][4] or '') end
return 1
`

// What is damaged in Redis, a node that starts finds, one node writes anew, and an event tells of it; what is forged there makes no node refuse anybody, and is removed.
func TestDamageInRedis(t *testing.T) {
	c := newCluster(t, plan{nodes: 2, users: 3})
	gone, stays := c.signIn(0, 0), c.signIn(1, 1)
	if got := c.call(0, http.MethodPost, "/api/v1/auth/logout", gone.AccessToken, nil); got.status != http.StatusNoContent {
		t.Fatalf("log-out: %d %s", got.status, got.text)
	}
	const p = "xteam:{r}:"
	names := c.redis.ask("EVAL", `local s = '' for _, n in ipairs(redis.call('ZRANGE', KEYS[1], 0, -1)) do s = s .. n .. ' ' end return s`, "1", p+"live")
	sid := ""
	for _, name := range strings.Fields(names) {
		if strings.HasPrefix(name, "sid:") {
			sid = name
		}
	}
	if sid == "" {
		t.Fatalf("no session among %s", names)
	}
	good := c.redis.ask("GET", p+sid)

	// A forged entry names the session of who stays, as a version before would have written it, in all three places; another is damaged and names nobody.
	claims := c.call(1, http.MethodGet, "/api/v1/auth/sessions", stays.AccessToken, nil).text
	victim := ""
	for _, part := range strings.Split(claims, `"`) {
		if len(part) == 32 && strings.Trim(part, "0123456789abcdef") == "" {
			victim = part
			break
		}
	}
	raw, err := hex.DecodeString(victim)
	if err != nil || len(raw) != 16 {
		t.Fatalf("no session in %s", claims)
	}
	forged := "\x01\x01" + "\x11\x02" + string(raw) + "\x00\x00" + "\x02" + "\xfe\xff\xff\xff\xff\xff\xff\x1f"
	c.redis.ask("EVAL", `
redis.call('SET', KEYS[1], ARGV[1], 'EX', 3600)
redis.call('ZADD', KEYS[2], 9999999999, ARGV[2])
redis.call('XADD', KEYS[3], '*', 'n', redis.call('INCR', KEYS[4]), 'e', ARGV[1])
redis.call('SET', KEYS[5], 'oops')
redis.call('ZADD', KEYS[2], 9999999999, ARGV[3])
redis.call('SET', KEYS[6], 'oops')
return 1`, "6", p+"sid:"+victim, p+"live", p+"stream", p+"count", p+"jti:"+strings.Repeat("7", 32), p+sid, forged, "sid:"+victim, "jti:"+strings.Repeat("7", 32))

	metrics := fmt.Sprintf("127.0.0.1:%d", porttest.Free(t))
	c.nodes = append(c.nodes, c.join(2, "METRICS_ADDR="+metrics))
	until(t, "the entry is written anew", func() bool {
		return strings.Contains(c.redis.ask("GET", p+sid), good[len(good)-30:]) || len(c.redis.ask("GET", p+sid)) > 60
	})
	until(t, "what names nobody is removed", func() bool { return strings.HasPrefix(c.redis.ask("EXISTS", p+"jti:"+strings.Repeat("7", 32)), ":0") })
	for n := range c.nodes {
		if got := c.call(n, http.MethodGet, me, stays.AccessToken, nil); got.status != http.StatusOK {
			t.Errorf("node %d refuses whom a forged entry names: %d %s", n, got.status, got.text)
		}
		if got := c.call(n, http.MethodGet, me, gone.AccessToken, nil); got.status != http.StatusUnauthorized {
			t.Errorf("node %d lets in who signed out: %d", n, got.status)
		}
	}
	until(t, "an event tells of it", func() bool { return strings.Contains(c.command("", "audit", "tail", "--json"), `"unreadable"`) })
	if events := c.command("", "audit", "tail", "--json"); strings.Count(events, `"kind":"source_healed"`) != 1 || strings.Contains(events, "epoch_raised") {
		t.Errorf("want one event, and no epoch:\n%s", events)
	}

	page, err := c.client.Get("http://" + metrics + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer page.Body.Close()
	if text, err := io.ReadAll(page.Body); err != nil || !regexp.MustCompile(`(?m)^xteam_revocations_unread_total [1-9]`).Match(text) {
		t.Errorf("who came upon it does not count it (%v)", err)
	}

	// Redis goes on as the fast path.
	next := c.signIn(0, 2)
	if got := c.call(2, http.MethodPost, "/api/v1/auth/logout", next.AccessToken, nil); got.status != http.StatusNoContent {
		t.Fatalf("log-out: %d %s", got.status, got.text)
	}
	begun := time.Now()
	until(t, "the others refuse", func() bool {
		return c.call(0, http.MethodGet, me, next.AccessToken, nil).status == http.StatusUnauthorized && c.call(1, http.MethodGet, me, next.AccessToken, nil).status == http.StatusUnauthorized
	})
	t.Logf("the others refused after %v", time.Since(begun))
}
