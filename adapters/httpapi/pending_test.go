package httpapi_test

import (
	"context"
	"encoding/json"
	"log/slog"
	"net/http"
	"strings"
	"testing"

	"github.com/xteam/xteam/adapters/httpapi"
	"github.com/xteam/xteam/app"
	"github.com/xteam/xteam/domain/system"
	"github.com/xteam/xteam/ports"
)

// downSystem is a database whose state can neither be read nor changed.
type downSystem struct{ ports.System }

func (downSystem) Load(context.Context) (system.State, error) {
	return system.State{}, ports.ErrUnavailable
}

func (downSystem) Update(context.Context, func(system.State) (system.State, ports.Effects, error)) error {
	return ports.ErrUnavailable
}

func (downSystem) Commit(context.Context, ports.Effects) error { return ports.ErrUnavailable }

// TestNotYetDurable: a revocation that the database does not take is in force, and says so; /readyz tells of it.
func TestNotYetDurable(t *testing.T) {
	s := newService(t)
	_, p := s.adminOf("ann")
	owed := app.NewPending(s.core, slog.New(slog.DiscardHandler))
	sessions, guard := app.NewSessions(s.core), app.NewGuard(s.core)
	s.h = httpapi.New(httpapi.Services{Guard: guard, Sessions: sessions, Accounts: s.accounts, Revoker: app.NewRevoker(s.core, sessions, "node-1"), APIKeys: s.keys, View: s.core.View, Pending: owed,
		Probe: func(context.Context) error { return nil }}, httpapi.Options{}).Handler()
	s.core.Stores.System = downSystem{s.core.Stores.System}
	status := func() string {
		var got struct {
			Checks map[string]struct{ Status string }
		}
		check(t, json.Unmarshal(s.call("GET", "/readyz", "").Body.Bytes(), &got))
		return got.Checks["revocation"].Status
	}
	before := status()
	w := s.post("/api/v1/admin/revocations", `{"all":true}`, bearer(p))
	if w.Code != http.StatusServiceUnavailable || !strings.Contains(w.Body.String(), `"code":"not_yet_durable"`) || !strings.Contains(w.Body.String(), "is in force") || w.Header().Get("Retry-After") == "" {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	if w := s.call("GET", "/api/v1/users/me", "", bearer(p)); w.Code != http.StatusUnauthorized {
		t.Errorf("a token after it: %d", w.Code)
	}
	if after := status(); before != "ok" || after != "degraded" {
		t.Errorf("/readyz says %s and then %s, want ok and degraded", before, after)
	}
}
