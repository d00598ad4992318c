package httpapi_test

import (
	"context"
	"io"
	"net/http"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/xteam/xteam/adapters/httpapi"
	"github.com/xteam/xteam/app"
	"github.com/xteam/xteam/domain/account"
)

// counted is a meter that remembers what it was told.
type counted struct{ guarded, limited []string }

func (c *counted) Guarded(outcome string, took time.Duration) {
	if took < 0 {
		outcome += " before it began"
	}
	c.guarded = append(c.guarded, outcome)
}

func (c *counted) Limited(policy string) { c.limited = append(c.limited, policy) }

func (c *counted) Visible(time.Duration) {}

func (c *counted) Told(_, _ string) {}

func (c *counted) Hashed(_, _ time.Duration) {}

// TestWhatTheGuardDoesIsCounted: each judgement once, by its outcome; routes for anyone are judged by nobody.
func TestWhatTheGuardDoesIsCounted(t *testing.T) {
	s := newService(t)
	s.user("ann", account.RoleUser)
	s.user("root", account.RoleAdmin)
	user, boss := s.signIn("ann"), s.signIn("root")
	m := &counted{}
	s.h = httpapi.New(httpapi.Services{Guard: app.NewGuard(s.core), Sessions: app.NewSessions(s.core), Accounts: s.accounts, Revoker: app.NewRevoker(s.core, app.NewSessions(s.core), "node-1"),
		View: s.core.View, Probe: func(context.Context) error { return nil }, Meter: m,
		Metrics: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/plain; version=0.0.4")
			_, _ = io.WriteString(w, "xteam_figure 1\n")
		})}, httpapi.Options{}).Handler()
	s.call("GET", "/health", "")
	s.call("GET", "/api/v1/users/me", "")
	s.call("GET", "/api/v1/users/me", "", bearer(user))
	s.call("GET", "/api/v1/users/me", "", "Authorization: Bearer garbage")
	wants(t, s.call("GET", "/metrics", ""), 401, "token_missing")
	wants(t, s.call("GET", "/metrics", "", bearer(user)), 403, "forbidden")
	if w := s.call("GET", "/metrics", "", bearer(boss)); w.Code != 200 || w.Body.String() != "xteam_figure 1\n" {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	want := []string{"token_missing", "admitted", "token_malformed", "token_missing", "forbidden", "admitted"}
	if diff := cmp.Diff(want, m.guarded); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// TestNoMetricsWhereThereIsNoRegistry: the path is nobody's then.
func TestNoMetricsWhereThereIsNoRegistry(t *testing.T) {
	s := newService(t)
	wants(t, s.call("GET", "/metrics", ""), 404, "not_found")
}
