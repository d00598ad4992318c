package faults_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/xteam/xteam/ports/porttest"
)

// spoils has every event changed on its way into the table, so that no server reads it as it was.
const spoils = `
create function spoil() returns trigger as 'begin new.sealed := set_byte(new.sealed, length(new.sealed) - 1, get_byte(new.sealed, length(new.sealed) - 1) # 1); return new; end' language plpgsql;
create trigger spoil before insert on events for each row execute function spoil();`

// TestSpoiledEvents: whoever writes to the database without our keys, and spoils events before they are linked, stops neither the trail nor alerts nor sinks: each place is told of, once, through restarts and in great numbers,
// and the rest goes on as ever, in the copy that a migration makes too.
func TestSpoiledEvents(t *testing.T) {
	kept, metrics := filepath.Join(t.TempDir(), "events.jsonl"), fmt.Sprintf("127.0.0.1:%d", porttest.Free(t))
	c := newCluster(t, plan{nodes: 1, users: 2, env: []string{"EVENT_FILE=" + kept, "METRICS_ADDR=" + metrics}})
	tail := func() string { return c.command("", "audit", "tail", "--json", "-n", "100") }
	linked := regexp.MustCompile(`(?m)^\{"seq":[0-9]+,.*"kind":"event_unreadable".*"reason":"sha256:[0-9a-f]{64}"`)
	logged := func() int { // how often a sign-in stands in the file
		b, err := os.ReadFile(kept)
		if err != nil {
			return 0
		}
		return strings.Count(string(b), `"kind":"authentication_succeeded"`)
	}
	follows := func(user int) { // what happens now is linked, and reaches the sink
		t.Helper()
		before := logged()
		if got := c.signIn(0, user); got.status != http.StatusOK {
			t.Fatalf("sign in: %d %s", got.status, got.text)
		}
		until(t, "the sink gets what follows", func() bool { return logged() > before })
		until(t, "all is linked", func() bool { return !strings.Contains(tail(), `"seq":null`) })
	}
	follows(0)

	// A sign-in is spoiled as it is written.
	c.postgres.must(spoils)
	if got := c.signIn(0, 1); got.status != http.StatusOK {
		t.Fatalf("sign in: %d %s", got.status, got.text)
	}
	c.postgres.must(`drop trigger spoil on events`)
	until(t, "its place is linked", func() bool { return linked.MatchString(tail()) })
	follows(0)
	until(t, "an alert is raised", func() bool {
		return strings.Contains(c.command("", "alerts", "list", "--open", "--json"), `"event_unreadable"`)
	})
	few := len(linked.FindAllString(tail(), -1))

	// A thousand, some of them huge, while no server reads; and the one that might is killed.
	c.nodes[0].signal(syscall.SIGSTOP)
	c.postgres.must(`insert into events (batch, place, id, sealed) select nextval('event_batches'), 1, decode(md5(g::text), 'hex'), case when g % 100 = 0 then decode(repeat('00', 20000000), 'hex') else '\x00' end from generate_series(1, 1000) g`)
	c.nodes[0].kill()
	c.serve(c.nodes[0])
	if out := c.call(0, http.MethodGet, "/readyz", "", nil); out.status == 0 {
		t.Errorf("/readyz: %+v", out)
	}
	follows(1)
	c.nodes[0].kill() // and again, once they are linked
	c.serve(c.nodes[0])
	follows(0)

	if got := c.admin(t, "/api/v1/admin/audit"); got.status != http.StatusOK {
		t.Errorf("GET /api/v1/admin/audit: %d %s", got.status, got.text)
	}
	found := verifiedTrail(t, c.nodes[0], c.nodes[0].env)
	if found.OK || found.Lost != few+1000 || found.More != 0 {
		t.Errorf("audit verify: %+v, want %d lost", found, few+1000)
	}
	for _, f := range found.Findings {
		if f.Fault != "lost" || f.Seq == 0 {
			t.Errorf("audit verify: %+v", f)
		}
	}
	b, err := os.ReadFile(kept)
	if err != nil {
		t.Fatal(err)
	}
	told := regexp.MustCompile(`(?m)^.*"kind":"event_unreadable".*$`).FindAllString(string(b), -1)
	if many := slices.DeleteFunc(slices.Clone(told), func(line string) bool { return !strings.Contains(line, `"of":"1000"`) }); len(many) != 1 || len(told) > few+1 {
		t.Errorf("the sink was told of %d and 1,000 by %d events:\n%s", few, len(told), strings.Join(told[:min(len(told), 5)], "\n"))
	}
	if text := c.command("", "alerts", "list", "--json"); strings.Count(text, `"rule":"event_unreadable"`)+strings.Count(text, `"rule": "event_unreadable"`) > 2 {
		t.Errorf("alerts:\n%s", text)
	}
	page, err := c.client.Get("http://" + metrics + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer page.Body.Close()
	if text, err := io.ReadAll(page.Body); err != nil || !strings.Contains(string(text), "xteam_audit_unreadable_total ") || !strings.Contains(string(text), "xteam_audit_linking 1") {
		t.Errorf("the metrics lack it (%v)", err)
	}

	// A migration says what could not be read, and where; the copy's trail tells the same.
	c.nodes[0].kill()
	moved := "badger://" + filepath.Join(t.TempDir(), "moved")
	said := ""
	until(t, "nobody works on the database any more", func() bool {
		var err error
		if said, err = c.beside("migrate", "--from", c.postgres.url(), "--to", moved); err != nil && !strings.Contains(said, "the database is in use by ") {
			t.Fatalf("migrate: %v, %s", err, said)
		}
		return err == nil
	})
	if !strings.Contains(said, fmt.Sprintf("and stand as unreadable in the copy: %d, at the positions ", few+1000)) || strings.Contains(said, "left out") {
		t.Errorf("migrate: %s", said)
	}
	if again := verifiedTrail(t, c.nodes[0], append(slices.Clone(c.nodes[0].env), "DATABASE_URL="+moved, "REDIS_URL=", "HTTP_ADDR=127.0.0.1:1")); again.Lost != found.Lost || again.Records < found.Records {
		t.Errorf("the copy: %+v, want as many lost as %+v", again, found)
	}
}

// beside runs one of the operator's commands beside no server.
func (c *cluster) beside(args ...string) (string, error) {
	cmd := exec.Command(binary, args...)
	cmd.Env, cmd.Dir = append(slices.Clone(c.nodes[0].env), "DATA_DIR="+filepath.Join(c.t.TempDir(), "data")), c.t.TempDir()
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// admin asks as the administrator.
func (c *cluster) admin(t testing.TB, path string) answer {
	t.Helper()
	who := c.call(0, http.MethodPost, "/api/v1/auth/login", "", map[string]any{"username": "admin", "password": password})
	if who.status != http.StatusOK {
		t.Fatalf("sign in as administrator: %d %s", who.status, who.text)
	}
	return c.call(0, http.MethodGet, path, who.AccessToken, nil)
}

// trailVerdict is what `audit verify --json` says.
type trailVerdict struct {
	OK                  bool
	Records, Lost, More int
	Findings            []struct {
		Fault string
		Seq   uint64
		Text  string
	}
}

func verifiedTrail(t testing.TB, n *node, env []string) (v trailVerdict) {
	t.Helper()
	cmd := exec.Command(binary, "audit", "verify", "--json")
	cmd.Env, cmd.Dir = env, n.dir
	var errs bytes.Buffer
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if err == nil || json.Unmarshal(out, &v) != nil || !strings.Contains(errs.String(), "the trail holds, and tells of events that were changed in the store") {
		t.Fatalf("audit verify: %v, %s%s", err, out, &errs)
	}
	return v
}
