package httpapi_test

import (
	"context"
	"fmt"
	"net/http"
	"testing"

	"github.com/xteam/xteam/adapters/httpapi"
	"github.com/xteam/xteam/adapters/memstore"
	"github.com/xteam/xteam/app"
	"github.com/xteam/xteam/domain/account"
	"github.com/xteam/xteam/domain/apikey"
)

// TestAMountedTransport has whoever asks identified and charged as a route does: each use by itself, through the same buckets.
func TestAMountedTransport(t *testing.T) {
	s := newService(t)
	s.user("ann", account.RoleUser)
	s.user("root", account.RoleAdmin)
	user, boss := s.signIn("ann"), s.signIn("root")
	limits, err := app.NewLimiter(memstore.NewBuckets(memstore.BucketsOptions{}), s.core.Journal, s.core.Random, app.LimiterOptions{Auth: 3, Now: s.core.Now})
	check(t, err)
	rules := map[string]app.Rule{
		"read":  {Class: app.Read, Access: app.SignedIn, Scope: apikey.UsersRead},
		"admin": {Class: app.Write, Access: app.AdminOnly},
		"login": {Class: app.Auth, Access: app.Anyone},
	}
	h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		v, ok := app.VisitOf(r.Context())
		if !ok || v.Request().ID == "" || !v.Request().Origin.Address.IsValid() {
			t.Error("there is no visit, or it does not know the request")
		}
		var who app.Caller
		var err error
		for range max(len(r.URL.Query()["use"]), 1) {
			if by := r.URL.Query().Get("by"); by != "" {
				who, err = v.AdmitBy(by, rules[r.PathValue("rule")])
			} else {
				who, err = v.Admit(rules[r.PathValue("rule")])
			}
		}
		if err != nil {
			v.Refuse(err)
			v.Refuse(err) // once
			return
		}
		name := "nobody"
		if who.Claims != nil {
			name = who.User().String()
		}
		_, _ = fmt.Fprint(w, name, " ", v.Actor().Name)
	})
	mount := httpapi.Mount{Path: "/door/{rule}", Handler: h}
	s.h = httpapi.New(httpapi.Services{Guard: app.NewGuard(s.core), Sessions: app.NewSessions(s.core), Accounts: s.accounts, Revoker: app.NewRevoker(s.core, app.NewSessions(s.core), "node-1"),
		View: s.core.View, Limiter: limits, Probe: func(context.Context) error { return nil }, Mounts: []httpapi.Mount{mount}}, httpapi.Options{}).Handler()

	wants(t, s.call("GET", "/door/read", ""), 401, "token_missing")
	wants(t, s.call("POST", "/door/read", "", "Authorization: Bearer garbage"), 401, "token_malformed")
	wants(t, s.call("GET", "/door/admin", "", bearer(user)), 403, "forbidden")
	wants(t, s.call("GET", "/door/read?by=garbage", ""), 401, "token_malformed")
	wants(t, s.call("GET", "/door/read?by="+user.AccessToken, "", bearer(boss)), 400, "malformed_request")
	for path, head := range map[string]string{"/door/admin": bearer(boss), "/door/admin?by=" + boss.AccessToken: "X-Nothing: 1"} {
		w := s.call("GET", path, "", head)
		if w.Code != 200 || w.Body.Len() < 40 || w.Header().Get("X-Content-Type-Options") != "nosniff" || w.Header().Get("RateLimit") == "" {
			t.Errorf("%s: %d %s %v", path, w.Code, w.Body, w.Header())
		}
	}
	if w := s.call("GET", "/door/login?use=1&use=2&use=3", ""); w.Code != 200 || w.Body.String() != "nobody " {
		t.Errorf("three uses: %d %q", w.Code, w.Body)
	}
	wants(t, s.call("GET", "/door/login", ""), 429, "rate_limited")
}
