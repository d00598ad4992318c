package e2e_test

import (
	"io"
	"net/http"
	"os/exec"
	"strings"
	"testing"
)

// metricsPage is the page at a URL.
func metricsPage(t *testing.T, url, bearer string) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url+"/metrics", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	if bearer != "" {
		req.Header.Set("Authorization", "Bearer "+bearer)
	}
	got, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer got.Body.Close()
	text, err := io.ReadAll(got.Body)
	if err != nil {
		t.Fatal(err)
	}
	return got.StatusCode, string(text)
}

// TestMetrics: what happened is counted, for administrators alone, or at an address of its own and not at the public one. promtool finds nothing wrong with the page.
func TestMetrics(t *testing.T) {
	env := environ(t.TempDir())
	admin(t, env)
	s := serve(t, env)
	boss := s.signIn("admin@example.com")
	s.want(http.StatusUnauthorized, http.MethodGet, me, "garbage", nil)
	s.want(http.StatusOK, http.MethodGet, me, boss.Access, nil)
	s.revokeOne(boss.Access, object{"jti": strings.Repeat("a", 32)})
	if code, _ := metricsPage(t, s.base, ""); code != http.StatusUnauthorized {
		t.Errorf("without a token: %d", code)
	}
	code, page := metricsPage(t, s.base, boss.Access)
	for _, line := range []string{`xteam_guard_requests_total{outcome="token_malformed"} 1`, `xteam_guard_requests_total{outcome="token_missing"} 1`,
		`xteam_guard_requests_total{outcome="admitted"} 3`, `xteam_revocations_live 1`, `xteam_revocations_unread_total 0`, `xteam_revocation_view_fresh 1`, `xteam_revocation_visible_seconds_count 1`,
		`xteam_password_hashes_running 0`, `xteam_connections_open{kind="feed"} 0`, `xteam_connections_open{kind="graphql"} 0`, `xteam_connections_open{kind="socket"} 0`, `xteam_connections_open{kind="stream"} 0`, `xteam_password_hash_duration_seconds_count 1`, `xteam_password_hash_wait_seconds_count 1`, `xteam_password_hashes_refused_total 0`, `xteam_rate_limits_shared 1`,
		`xteam_store_takes_new 1`, `xteam_log_lines_lost_total 0`} {
		if code != http.StatusOK || !strings.Contains(page, "\n"+line+"\n") {
			t.Errorf("%d, without the line %s:\n%s", code, line, page)
		}
	}
	needs(t, "promtool")
	cmd := exec.CommandContext(t.Context(), "promtool", "check", "metrics")
	cmd.Stdin = strings.NewReader(page)
	if said, err := cmd.CombinedOutput(); err != nil || len(said) > 0 {
		t.Errorf("promtool: %v: %s", err, said)
	}

	addr := freeAddr(t)
	env = environ(t.TempDir(), "METRICS_ADDR="+addr)
	admin(t, env)
	s = serve(t, env)
	boss = s.signIn("admin@example.com")
	if code, _ := metricsPage(t, s.base, boss.Access); code != http.StatusNotFound {
		t.Errorf("on the public address beside METRICS_ADDR: %d", code)
	}
	if code, page := metricsPage(t, "http://"+addr, ""); code != http.StatusOK || !strings.Contains(page, "xteam_revocations_live 0") {
		t.Errorf("at METRICS_ADDR: %d %s", code, page)
	}
	if got, err := http.Get("http://" + addr + me); err != nil || got.StatusCode != http.StatusNotFound {
		t.Errorf("something else at METRICS_ADDR: %v, %v", got, err)
	} else {
		_ = got.Body.Close()
	}
}
