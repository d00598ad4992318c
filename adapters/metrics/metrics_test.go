package metrics_test

import (
	"fmt"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil/promlint"

	"github.com/xteam/xteam/adapters/metrics"
)

// page is what the registry serves.
func page(t *testing.T, r *metrics.Registry) string {
	t.Helper()
	w := httptest.NewRecorder()
	r.Handler().ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	if w.Code != 200 || !strings.HasPrefix(w.Header().Get("Content-Type"), "text/plain") {
		t.Fatalf("%d %v", w.Code, w.Header())
	}
	return w.Body.String()
}

func TestWhatIsCountedIsServed(t *testing.T) {
	r := metrics.New()
	r.Policies([]string{"address", "auth"})
	live, lost := 3.0, 0.0
	r.Gauge("xteam_revocations_live", "Revocations in force.", func() float64 { return live })
	r.Counter("xteam_log_lines_lost_total", "Lines that the log's writer could not take.", func() float64 { return lost })
	r.Gauges("xteam_connections_open", "What is open.", "kind", map[string]func() float64{"feed": func() float64 { return live }, "socket": func() float64 { return lost }})
	for _, line := range []string{`xteam_connections_open{kind="feed"} 3`, `xteam_connections_open{kind="socket"} 0`, `xteam_guard_requests_total{outcome="admitted"} 0`, `xteam_guard_requests_total{outcome="token_revoked"} 0`,
		`xteam_rate_limited_total{policy="auth"} 0`, `xteam_guard_duration_seconds_count 0`, `xteam_revocations_live 3`, `xteam_log_lines_lost_total 0`} {
		if got := page(t, r); !strings.Contains(got, "\n"+line+"\n") {
			t.Errorf("at the start there is no line %s in:\n%s", line, got)
		}
	}
	r.Guarded("admitted", 3*time.Microsecond)
	r.Guarded("admitted", 30*time.Microsecond)
	r.Guarded("token_revoked", time.Microsecond)
	r.Limited("auth")
	r.Visible(700 * time.Microsecond)
	r.Visible(-time.Second) // by a clock that is ahead
	r.Hashed(2*time.Second, 30*time.Millisecond)
	live, lost = 4, 2
	got := page(t, r)
	for _, line := range []string{`xteam_guard_requests_total{outcome="admitted"} 2`, `xteam_guard_requests_total{outcome="token_revoked"} 1`,
		`xteam_guard_duration_seconds_bucket{le="5e-06"} 2`, `xteam_guard_duration_seconds_count 3`, `xteam_rate_limited_total{policy="auth"} 1`,
		`xteam_revocation_visible_seconds_bucket{le="0.0001"} 1`, `xteam_revocation_visible_seconds_bucket{le="0.001"} 2`, `xteam_password_hash_wait_seconds_sum 2`, `xteam_password_hash_duration_seconds_bucket{le="0.05"} 1`, `xteam_revocations_live 4`, `xteam_log_lines_lost_total 2`} {
		if !strings.Contains(got, "\n"+line+"\n") {
			t.Errorf("there is no line %s in:\n%s", line, got)
		}
	}
	problems, err := promlint.New(strings.NewReader(got)).Lint()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		if strings.HasPrefix(p.Metric, "xteam_") {
			t.Errorf("%s: %s", p.Metric, p.Text)
		}
	}
}

// TestNothingThatIsSentBecomesALabel: a million outcomes that nobody foresaw are one.
func TestNothingThatIsSentBecomesALabel(t *testing.T) {
	r := metrics.New()
	before := strings.Count(page(t, r), "\n")
	for i := range 1000 {
		r.Guarded(fmt.Sprintf("token-%d", i), 0)
	}
	got := page(t, r)
	if n := strings.Count(got, "\n"); n > before+5 || !strings.Contains(got, `xteam_guard_requests_total{outcome="other"} 1000`) {
		t.Errorf("%d lines were %d:\n%s", n, before, got)
	}
}

// TestTwoSystemsDoNotMeet: registries of one process have nothing in common.
func TestTwoSystemsDoNotMeet(t *testing.T) {
	one, other := metrics.New(), metrics.New()
	one.Limited("auth")
	if strings.Contains(page(t, other), `policy="auth"`) {
		t.Error("what one system counted is in the other's page")
	}
}

// BenchmarkGuarded is what a guarded request pays for being counted.
func BenchmarkGuarded(b *testing.B) {
	r := metrics.New()
	b.ReportAllocs()
	for b.Loop() {
		r.Guarded("admitted", 3*time.Microsecond)
	}
}
