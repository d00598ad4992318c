package httpapi_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/xteam/xteam/domain/account"
	"github.com/xteam/xteam/domain/alert"
	"github.com/xteam/xteam/domain/audit"
	"github.com/xteam/xteam/ports"
)

const alertsRoute = "/api/v1/admin/alerts"

// alert is one that a user is raised for, who asks for what they may not do.
func (s *service) alert(name string) (is alert.Alert) {
	s.t.Helper()
	login, err := account.ParseUsername(name)
	check(s.t, err)
	a, err := s.core.Stores.Accounts.Named(s.t.Context(), account.Login{Username: login})
	check(s.t, err)
	rules, err := alert.ParseRules("privilege_escalation=1")
	check(s.t, err)
	fired := alert.NewEngine(rules).Take(&audit.Event{Time: 1 << 50, Kind: audit.PermissionDenied, Actor: a.ID.String()}, 1<<50, false)
	check(s.t, s.core.Stores.Alerts.Update(s.t.Context(), func(b alert.Book) (alert.Book, ports.Effects, error) {
		b, is, _ = b.Raise(fired[0], 0, 1<<50)
		return b, ports.Effects{}, nil
	}))
	return is
}

// TestAlerts: administrators list, show, acknowledge, silence and contain them; nobody else sees any.
func TestAlerts(t *testing.T) {
	s := newService(t)
	s.user("root", account.RoleAdmin)
	s.user("ann", account.RoleUser)
	root, ann := bearer(s.signIn("root")), bearer(s.signIn("ann"))
	is := s.alert("ann")
	at := alertsRoute + "/" + is.ID
	for _, who := range []struct{ method, path, body string }{{"GET", alertsRoute, ""}, {"GET", at, ""}, {"POST", at + "/acknowledge", "{}"}, {"POST", at + "/silence", `{"seconds":60}`}, {"POST", at + "/contain", "{}"}, {"POST", alertsRoute + "/test", "{}"}, {"GET", "/api/v1/admin/alert-rules", ""}} {
		wants(t, s.call(who.method, who.path, who.body, ann, asJSON), 403, "forbidden")
	}
	var page struct {
		Items []struct {
			ID, Rule, Contain string
			AcknowledgedAt    *string `json:"acknowledged_at"`
		}
		Next *string
	}
	listed := func(query string) {
		t.Helper()
		page.Items, page.Next = nil, nil
		check(t, json.Unmarshal(s.call("GET", alertsRoute+query, "", root).Body.Bytes(), &page))
	}
	if listed(""); len(page.Items) != 1 || page.Items[0].ID != is.ID || !strings.HasPrefix(page.Items[0].Contain, "xteam revoke --user ") || page.Next != nil {
		t.Errorf("listed: %+v", page)
	}
	if w := s.call("POST", at+"/contain", `{"dry_run":true}`, root); w.Code != 200 || !strings.Contains(w.Body.String(), `"sessions_ended":1`) {
		t.Errorf("a dry run: %d %s", w.Code, w.Body)
	}
	if w := s.call("GET", "/api/v1/users/me", "", ann); w.Code != 200 {
		t.Errorf("after a dry run: %d", w.Code)
	}
	if w := s.call("POST", at+"/contain", "", root); w.Code != 200 || !strings.Contains(w.Body.String(), `"sessions_ended":1`) {
		t.Errorf("contained: %d %s", w.Code, w.Body)
	}
	wants(t, s.call("GET", "/api/v1/users/me", "", ann), 401, "token_revoked")
	if w := s.call("POST", at+"/acknowledge", "", root); w.Code != 200 || strings.Contains(w.Body.String(), `"acknowledged_at":null`) {
		t.Errorf("acknowledged: %d %s", w.Code, w.Body)
	}
	if listed("?open=true"); len(page.Items) != 0 {
		t.Errorf("open: %+v", page)
	}
	if w := s.call("POST", at+"/silence", `{"seconds":3600,"every":true}`, root); w.Code != 200 || !strings.Contains(w.Body.String(), `"group":"*"`) {
		t.Errorf("silenced: %d %s", w.Code, w.Body)
	}
	if w := s.call("POST", alertsRoute+"/test", "{}", root); w.Code != 201 || !strings.Contains(w.Body.String(), `"rule":"test"`) {
		t.Errorf("a test: %d %s", w.Code, w.Body)
	}
	if listed("?limit=1"); len(page.Items) != 1 || page.Next == nil {
		t.Fatalf("a page: %+v", page)
	}
	first := page.Items[0].ID
	if listed("?limit=1&cursor=" + *page.Next); len(page.Items) != 1 || page.Items[0].ID == first {
		t.Errorf("the next page: %+v", page)
	}
	wants(t, s.call("POST", alertsRoute+"/"+first+"/contain", "", root), 409, "not_containable")
	wants(t, s.call("GET", alertsRoute+"/unknown", "", root), 404, "not_found")
	wants(t, s.call("POST", alertsRoute+"/unknown/acknowledge", "{}", root), 404, "not_found")
	wants(t, s.call("POST", at+"/silence", `{"seconds":59}`, root), 422, "validation_failed")
	wants(t, s.call("POST", at+"/silence", `{}`, root), 422, "validation_failed")
	wants(t, s.call("GET", alertsRoute+"?open=perhaps", "", root), 422, "validation_failed")
	wants(t, s.call("GET", alertsRoute+"?cursor=AAAA", "", root), 422, "validation_failed")
}
