package e2e_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/xteam/xteam/ports/porttest"
)

// The files that are shipped for whoever watches the service.
const (
	rulesFile     = "../../.deploy/prometheus/xteam.rules.yml"
	dashboardFile = "../../.deploy/grafana/xteam.json"
)

// TestAlertRules: promtool finds nothing wrong with the rules, and each fires for its own fault and for nothing that is well.
func TestAlertRules(t *testing.T) {
	needs(t, "promtool")
	for _, args := range [][]string{{"check", "rules", rulesFile}, {"test", "rules", filepath.Join(filepath.Dir(rulesFile), "xteam.tests.yml")}} {
		if said, err := exec.CommandContext(t.Context(), "promtool", args...).CombinedOutput(); err != nil {
			t.Errorf("promtool %v: %v\n%s", args, err, said)
		}
	}
	tested, err := os.ReadFile(filepath.Join(filepath.Dir(rulesFile), "xteam.tests.yml"))
	if err != nil {
		t.Fatal(err)
	}
	for name := range alertRules(t) {
		if !strings.Contains(string(tested), "- name: "+name+"\n") || !strings.Contains(string(tested), "alertname: "+name+"}") {
			t.Errorf("%s is not tested, with a server that is well and with one that is not", name)
		}
	}
}

// TestDashboard: a real Prometheus answers each query of the dashboard and finds what each alert rule names, labels and their values included, at a server that has done little;
// and what the server counts is all on the dashboard, or at least in the README.
func TestDashboard(t *testing.T) {
	needs(t, "prometheus")
	addr := freeAddr(t)
	folder := t.TempDir()
	env := environ(folder, "METRICS_ADDR="+addr, "EVENT_FILE="+filepath.Join(folder, "events.jsonl"), "RATE_LIMIT_ENABLED=shadow")
	admin(t, env)
	s := serve(t, env)
	boss := s.signIn("admin@example.com")
	s.want(http.StatusOK, http.MethodGet, me, boss.Access, nil)
	s.revokeOne(boss.Access, object{"jti": strings.Repeat("a", 32)})
	base := startPrometheus(t, addr)

	queries := dashboardQueries(t)
	asked := map[string]bool{}
	for _, q := range queries {
		asked[strings.NewReplacer("$instance", ".*", "$__rate_interval", "5s").Replace(q)] = true
	}
	for _, q := range alertRules(t) {
		for _, selector := range selectors.FindAllString(q, -1) {
			asked[selector] = true
		}
	}
	if len(asked) < 40 {
		t.Fatalf("%d queries: there are more", len(asked))
	}
	for q := range asked {
		deadline := time.Now().Add(patience)
		for {
			n, err := answers(t, base, q)
			if err != nil {
				t.Errorf("%s: %v", q, err)
			}
			if n > 0 || err != nil {
				break
			}
			if time.Now().After(deadline) || t.Failed() {
				t.Errorf("%s finds nothing", q)
				break
			}
			<-time.After(100 * time.Millisecond)
		}
	}

	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	all := strings.Join(queries, "\n") + string(readme)
	_, page := metricsPage(t, "http://"+addr, "")
	named := regexp.MustCompile(`(?m)^# TYPE (xteam_\w+) `).FindAllStringSubmatch(page, -1)
	if len(named) < 25 {
		t.Fatalf("%d metrics in the page", len(named))
	}
	for _, m := range named {
		if !regexp.MustCompile(`\b` + m[1] + `(_bucket)?\b`).MatchString(all) {
			t.Errorf("%s is neither on the dashboard, which is %s, nor in the README", m[1], dashboardFile)
		}
	}
}

// selectors are the series that a query names. What follows a name within a query of ours is a brace, an operator or a bracket, and no parenthesis.
var selectors = regexp.MustCompile(`\b(xteam_\w+|up)\b(\{[^}]*\})?`)

// alertRules are the expressions by the name of the alert.
func alertRules(t *testing.T) map[string]string {
	t.Helper()
	text, err := os.ReadFile(rulesFile)
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		Groups []struct {
			Rules []struct {
				Alert, Expr string
				Labels      map[string]string
				Annotations map[string]string
			}
		}
	}
	if err := yaml.Unmarshal(text, &file); err != nil {
		t.Fatal(err)
	}
	all := map[string]string{}
	for _, g := range file.Groups {
		for _, r := range g.Rules {
			all[r.Alert] = r.Expr
			if r.Labels["severity"] != "critical" && r.Labels["severity"] != "warning" || r.Annotations["summary"] == "" || r.Annotations["description"] == "" {
				t.Errorf("%s: how bad it is, what it means and what to do are not all said: %v %v", r.Alert, r.Labels, r.Annotations)
			}
		}
	}
	if len(all) < 15 {
		t.Fatalf("%d rules", len(all))
	}
	return all
}

// dashboardQueries are the queries of every panel.
func dashboardQueries(t *testing.T) (all []string) {
	t.Helper()
	text, err := os.ReadFile(dashboardFile)
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		Panels []struct {
			Type, Title string
			Targets     []struct{ Expr string }
		}
	}
	if err := json.Unmarshal(text, &file); err != nil {
		t.Fatal(err)
	}
	for _, p := range file.Panels {
		if p.Type != "row" && len(p.Targets) == 0 || p.Title == "" {
			t.Errorf("the panel %q shows nothing, or has no title", p.Title)
		}
		for _, target := range p.Targets {
			all = append(all, target.Expr)
		}
	}
	return all
}

// startPrometheus scrapes the metrics at an address by the job that the rules name, and answers its URL. A query sees what was there up to a minute ago.
func startPrometheus(t *testing.T, target string) string {
	t.Helper()
	dir, addr := t.TempDir(), freeAddr(t)
	config := filepath.Join(dir, "prometheus.yml")
	text := fmt.Sprintf("global: {scrape_interval: 250ms, scrape_timeout: 250ms}\nscrape_configs: [{job_name: xteam, static_configs: [{targets: [%q]}]}]\n", target)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	log := new(tail)
	cmd := exec.Command("prometheus", "--config.file="+config, "--storage.tsdb.path="+filepath.Join(dir, "tsdb"), "--web.listen-address="+addr)
	cmd.Stdout, cmd.Stderr, cmd.Dir = log, log, dir
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if t.Failed() {
			t.Logf("Prometheus wrote:\n%s", log)
		}
	})
	deadline := time.Now().Add(patience)
	for {
		got, err := http.Get("http://" + addr + "/-/ready")
		if err == nil {
			_ = got.Body.Close()
			if got.StatusCode == http.StatusOK {
				return "http://" + addr
			}
		}
		if time.Now().After(deadline) {
			t.Fatalf("Prometheus is not ready: %v", err)
		}
		<-time.After(50 * time.Millisecond)
	}
}

// answers is how many series Prometheus answers a query with.
func answers(t *testing.T, base, query string) (int, error) {
	t.Helper()
	got, err := http.Get(base + "/api/v1/query?query=" + url.QueryEscape(query))
	if err != nil {
		return 0, err
	}
	defer got.Body.Close()
	var out struct {
		Status, Error string
		Data          struct{ Result []json.RawMessage }
	}
	if err := json.NewDecoder(got.Body).Decode(&out); err != nil {
		return 0, err
	}
	if out.Status != "success" {
		return 0, fmt.Errorf("%s", out.Error)
	}
	return len(out.Data.Result), nil
}

// freeAddr is an address of the loopback interface that no other test is given.
func freeAddr(t *testing.T) string {
	t.Helper()
	return fmt.Sprintf("127.0.0.1:%d", porttest.Free(t))
}
