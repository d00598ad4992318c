package main_test

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	xteam "github.com/xteam/xteam/cmd/xteam"
)

// drilled is a system that a drill may find wanting: it is right in all but what fault names.
type drilled struct {
	fault     string
	interrupt context.CancelFunc
	barred    map[string]bool // by id, which is the name
	revoked   bool
	blocked   bool
	open      bool // the incident
}

func (d *drilled) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Context().Err() != nil {
		http.Error(w, "", http.StatusServiceUnavailable)
		return
	}
	var in struct{ Username, Token string }
	_ = json.NewDecoder(r.Body).Decode(&in)
	say := func(status int, v any) {
		w.WriteHeader(status)
		_ = json.NewEncoder(w).Encode(v)
	}
	account := func(name string) map[string]any {
		return map[string]any{"id": name, "username": name, "email": name + "@probe.invalid", "role": "user"}
	}
	path, what := strings.TrimPrefix(r.URL.Path, "/api/v1/"), ""
	if rest, ok := strings.CutPrefix(path, "admin/users/"); ok {
		path, what, _ = strings.Cut(rest, "/")
		if what == "disable" {
			d.barred[path] = true
		}
		say(http.StatusOK, account(path))
		return
	}
	const stolen = "xteam-drill-stolen"
	switch path {
	case "admin/users":
		d.barred[in.Username] = false
		say(http.StatusCreated, account(in.Username))
	case "auth/login":
		if d.barred[in.Username] && d.fault != "lets in" {
			say(map[bool]int{false: http.StatusForbidden, true: http.StatusServiceUnavailable}[d.fault == "cannot say"], map[string]string{"code": "no"})
			return
		}
		say(http.StatusOK, map[string]string{"access_token": in.Username, "refresh_token": "refresh " + in.Username})
	case "admin/explain":
		refuses := d.revoked && (d.fault == "hits all" || strings.HasSuffix(in.Token, stolen))
		if d.fault == "takes still" || d.fault == "takes the refresh token" && strings.HasPrefix(in.Token, "refresh") {
			refuses = false
		}
		say(http.StatusOK, map[string]any{"taken": !refuses})
	case "admin/incidents":
		d.open = true
		if d.fault == "interrupted" {
			d.interrupt()
		}
		say(http.StatusCreated, map[string]any{"id": "0123456789abcdef"})
	case "admin/incidents/0123456789abcdef/contain":
		d.revoked, d.blocked, d.barred[stolen] = true, true, true
		nodes := []map[string]any{{"node": "a", "ms": 2.5}}
		user, network := map[string]any{"kind": "user", "value": stolen, "done": true, "sessions_ended": 1, "nodes": nodes}, map[string]any{"kind": "ip", "value": "x", "done": true, "nodes": nodes}
		answer := map[string]any{"contained": true, "recorded": true, "targets": []any{user, network}}
		switch d.fault {
		case "interrupted at the containment":
			d.interrupt()
		case "silent node":
			answer["contained"], answer["missing_nodes"] = false, []string{"b"}
		case "hits none":
			user["sessions_ended"] = 0
		case "no block":
			network["done"], network["failed"], answer["contained"] = false, "there is no room", false
		}
		say(http.StatusOK, answer)
	case "admin/incidents/0123456789abcdef":
		say(http.StatusOK, map[string]any{"state": "contained", "contained": d.fault != "not contained", "targets": []any{map[string]any{}, map[string]any{}}})
	case "admin/incidents/0123456789abcdef/verify":
		say(http.StatusOK, map[string]any{"ok": d.fault != "verify finds", "audit": map[string]any{"ok": true}})
	case "admin/incidents/0123456789abcdef/report":
		affected := []any{map[string]any{"id": stolen}}
		switch d.fault {
		case "names nobody":
			affected = nil
		case "names another":
			affected = append(affected, map[string]any{"id": "xteam-drill-other"})
		}
		say(http.StatusOK, map[string]any{"affected": affected, "audit": map[string]any{"ok": d.fault != "broken trail"}})
	case "admin/incidents/0123456789abcdef/eradicate", "admin/incidents/0123456789abcdef/recover":
		say(http.StatusOK, map[string]any{"recorded": true})
	case "admin/incidents/0123456789abcdef/resolve":
		d.open = false
		say(http.StatusOK, nil)
	case "admin/blocked-ips":
		d.blocked = r.Method == http.MethodPost
		say(http.StatusOK, map[string]any{"cidr": "x"})
	default:
		say(http.StatusNotFound, nil)
	}
}

// TestDrillFindsFaults: a drill says at which step a system is wanting, and leaves nothing open behind it, though it is interrupted.
func TestDrillFindsFaults(t *testing.T) {
	for fault, want := range map[string]string{
		"":                               "",
		"takes still":                    `"verify: tokens"`,
		"takes the refresh token":        "the refresh token of xteam-drill-stolen is still taken",
		"hits all":                       `"verify: others"`,
		"lets in":                        "the barred account can sign in",
		"cannot say":                     `"verify: sign-in"`,
		"silent node":                    "b did not say in time that it refuses",
		"no block":                       "there is no room",
		"hits none":                      "0 sessions ended, and one was begun",
		"not contained":                  `"status"`,
		"verify finds":                   `"verify"`,
		"names nobody":                   "does not name whose account was stolen",
		"names another":                  "names somebody whom it does not concern",
		"broken trail":                   "the audit trail does not hold",
		"interrupted":                    `interrupted before "contain"`,
		"interrupted at the containment": `interrupted before "status"`,
	} {
		t.Run(fault, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			sys := &drilled{fault: fault, interrupt: cancel, barred: map[string]bool{}}
			text, err := xteam.Drill(ctx, sys)
			switch {
			case want == "" && err != nil:
				t.Errorf("a system that is right: %v\n%s", err, text)
			case want != "" && (err == nil || !strings.Contains(err.Error(), want)):
				t.Errorf("the drill says %v, want %s\n%s", err, want, text)
			}
			if sys.blocked || sys.open || !sys.barred["xteam-drill-stolen"] || !sys.barred["xteam-drill-other"] {
				t.Errorf("it left behind: blocked %v, barred %v", sys.blocked, sys.barred)
			}
			if contained := strings.Contains(text, "Time to contain: "); contained == (fault == "silent node" || fault == "hits none" || fault == "no block" || fault == "interrupted") {
				t.Errorf("a time to contain: %v\n%s", contained, text)
			}
		})
	}
}
