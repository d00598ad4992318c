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
	case "admin/revocations":
		d.revoked = true
		answer := map[string]any{"sessions_ended": 1, "nodes": []map[string]any{{"node": "a", "ms": 2.5}}}
		switch d.fault {
		case "interrupted":
			d.interrupt()
		case "silent node":
			answer["missing"] = []string{"b"}
		case "hits none":
			answer["sessions_ended"] = 0
		}
		say(http.StatusOK, answer)
	case "admin/blocked-ips":
		d.blocked = r.Method == http.MethodPost
		answer := map[string]any{"cidr": "x"}
		if d.blocked && d.fault == "silent at the block" {
			answer["missing"] = []string{"b"}
		}
		if d.blocked && d.fault == "interrupted at the block" {
			d.interrupt()
		}
		say(http.StatusOK, answer)
	default:
		say(http.StatusNotFound, nil)
	}
}

// TestDrillFindsFaults: a drill says at which step a system is wanting, and leaves nothing open behind it, though it is interrupted.
func TestDrillFindsFaults(t *testing.T) {
	for fault, want := range map[string]string{
		"":                         "",
		"takes still":              `"verify: tokens"`,
		"takes the refresh token":  "the refresh token of xteam-drill-stolen is still taken",
		"hits all":                 `"verify: others"`,
		"lets in":                  "the barred account can sign in",
		"cannot say":               `"verify: sign-in"`,
		"silent node":              "b did not say in time that it refuses",
		"silent at the block":      "b did not say in time that it turns the address away",
		"hits none":                "0 sessions ended, and one was begun",
		"interrupted":              `interrupted before "contain: bar"`,
		"interrupted at the block": `interrupted before "verify: tokens"`,
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
			if sys.blocked || !sys.barred["xteam-drill-stolen"] || !sys.barred["xteam-drill-other"] {
				t.Errorf("it left behind: blocked %v, barred %v", sys.blocked, sys.barred)
			}
			if contained := strings.Contains(text, "Time to contain: "); contained == (fault == "silent node" || fault == "hits none") {
				t.Errorf("a time to contain: %v\n%s", contained, text)
			}
		})
	}
}
