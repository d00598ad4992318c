package httpapi_test

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/xteam/xteam/app"
	"github.com/xteam/xteam/domain/account"
	"github.com/xteam/xteam/domain/id"
)

const me = "/api/v1/users/me"

func (s *service) patch(body string, p pair, heads ...string) (int, map[string]any) {
	s.t.Helper()
	w := s.call("PATCH", me, body, append(heads, bearer(p))...)
	var got map[string]any
	check(s.t, json.Unmarshal(w.Body.Bytes(), &got))
	return w.Code, got
}

// stored is the account as the store has it.
func (s *service) stored(uid id.User) account.Account {
	s.t.Helper()
	a, err := s.core.Stores.Accounts.Find(context.Background(), uid)
	check(s.t, err)
	return a
}

// TestChangeMe: what is given is changed, the answer is the account, its owner stays signed in, and signs in by the new names alone.
func TestChangeMe(t *testing.T) {
	s := newService(t)
	s.user("ann", account.RoleUser)
	p := s.signIn("ann")
	if status, got := s.patch(`{"full_name":"Ann Example","username":"Ann.E"}`, p); status != 200 || got["full_name"] != "Ann Example" || got["username"] != "Ann.E" || got["email"] != "ann@example.com" {
		t.Fatalf("names: %d %v", status, got)
	}
	status, got := s.patch(`{"email":"Ann.E@Example.com","current_password":"`+password+`"}`, p)
	if status != 200 || got["email"] != "ann.e@example.com" || got["full_name"] != "Ann Example" || got["role"] != "user" {
		t.Fatalf("e-mail: %d %v", status, got)
	}
	if w := s.call("GET", me, "", bearer(p)); w.Code != 200 || !strings.Contains(w.Body.String(), `"email":"ann.e@example.com"`) {
		t.Errorf("GET: %d %s", w.Code, w.Body)
	}
	s.signIn("ann.e")
	for _, old := range []string{`"username":"ann"`, `"email":"ann@example.com"`} {
		wants(t, s.post("/api/v1/auth/login", `{`+old+`,"password":"`+password+`"}`), 401, "credentials_invalid")
	}
	s.user("ann", account.RoleUser) // the old names are free
	for _, line := range []string{`"kind":"profile_changed"`, `"kind":"email_changed"`, `"previous_email":"ann@example.com"`, `"msg":"E-mail address changed"`, `"changed":"username full_name"`} {
		if !strings.Contains(s.log.String(), line) {
			t.Errorf("the log lacks %s", line)
		}
	}
	lines := strings.Count(s.log.String(), "\n")
	for _, nothing := range []string{`{}`, `{"email":null,"username":null,"full_name":null}`, `{"email":"ANN.E@example.com","username":"Ann.E","full_name":"Ann Example"}`} {
		if status, got := s.patch(nothing, p); status != 200 || got["username"] != "Ann.E" {
			t.Errorf("%s: %d %v", nothing, status, got)
		}
	}
	if strings.Count(s.log.String(), "\n") != lines {
		t.Error("what changed nothing is told")
	}
	if status, got := s.patch(`{"full_name":""}`, p); status != 200 || got["full_name"] != "" {
		t.Errorf("no full name: %d %v", status, got)
	}
	wants(t, s.call("PATCH", me, `{"full_name":"x"}`), 401, "token_missing")
}

// TestNewEmailAsksForThePassword (OWASP ASVS 5.0, 7.5.1).
func TestNewEmailAsksForThePassword(t *testing.T) {
	s := newService(t)
	ann := s.user("ann", account.RoleUser)
	p := s.signIn("ann")
	was := s.stored(ann.ID)
	for _, body := range []string{`{"email":"eve@example.com","full_name":"Eve"}`, `{"email":"eve@example.com","current_password":""}`} {
		got := wants(t, s.call("PATCH", me, body, bearer(p)), 422, "validation_failed")
		if field := got["errors"].([]any)[0].(map[string]any)["field"]; field != "current_password" {
			t.Errorf("%s: %v", body, got)
		}
	}
	wants(t, s.call("PATCH", me, `{"email":"eve@example.com","full_name":"Eve","current_password":"wrong password"}`, bearer(p)), 401, "credentials_invalid")
	if n := strings.Count(s.log.String(), `"msg":"Authentication failed"`); n != 1 {
		t.Errorf("%d lines of a failed proof, want 1", n)
	}
	if is := s.stored(ann.ID); is != was {
		t.Errorf("changed to %+v", is)
	}
	check(t, s.accounts.Disable(t.Context(), app.Actor{Name: app.Operator}, ann.ID))
	wants(t, s.call("PATCH", me, `{"full_name":"Eve"}`, bearer(p)), 401, "token_revoked")
}

// TestForbiddenFields (OWASP ASVS 5.0, 8.2.3; CVE-2026-27946): what an owner may not set is refused, and nothing beside it is changed.
func TestForbiddenFields(t *testing.T) {
	s := newService(t)
	ann := s.user("ann", account.RoleUser)
	p := s.signIn("ann")
	was := s.stored(ann.ID)
	for _, field := range []string{"role", "roles", "gen", "generation", "id", "email_verified", "is_active", "disabled", "password", "created_at", "Email"} {
		for _, value := range []string{`"admin"`, `1`, `true`, `null`, `["admin"]`, `{"a":1}`} {
			got := wants(t, s.call("PATCH", me, fmt.Sprintf(`{"full_name":"Eve",%q:%s}`, field, value), bearer(p)), 422, "validation_failed")
			if named := got["errors"].([]any)[0].(map[string]any)["field"]; named != field {
				t.Errorf("%s: %v", field, got)
			}
		}
	}
	for _, body := range []string{`{"email":"a","username":"b","full_name":"\u001b"}`, `{"email":"","username":"","full_name":7}`} {
		wants(t, s.call("PATCH", me, body, bearer(p)), 422, "validation_failed")
	}
	got := wants(t, s.call("PATCH", me, `{"email":"a","username":"b","full_name":"\u001b"}`, bearer(p)), 422, "validation_failed")
	if n := len(got["errors"].([]any)); n != 3 {
		t.Errorf("%d faults are said, want 3: %v", n, got)
	}
	wants(t, s.call("PATCH", me, `{"full_name":"a"}{}`, bearer(p)), 400, "malformed_json")
	if is := s.stored(ann.ID); is != was {
		t.Errorf("changed to %+v", is)
	}
}

// TestTakenNames: another's name is refused, in any letter case, whatever comes with it; the attempt is told.
func TestTakenNames(t *testing.T) {
	s := newService(t)
	ann := s.user("ann", account.RoleUser)
	s.user("bob", account.RoleUser)
	p := s.signIn("ann")
	was := s.stored(ann.ID)
	for _, body := range []string{`{"username":"BOB","full_name":"Eve"}`, `{"email":"Bob@example.com","username":"eve","current_password":"` + password + `"}`} {
		wants(t, s.call("PATCH", me, body, bearer(p)), 409, "taken")
	}
	if is := s.stored(ann.ID); is != was {
		t.Errorf("changed to %+v", is)
	}
	if n := strings.Count(s.log.String(), `"reason":"taken"`); n != 2 {
		t.Errorf("%d lines of it, want 2", n)
	}
}
