package httpapi_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/xteam/xteam/adapters/httpapi"
	"github.com/xteam/xteam/domain/account"
	"github.com/xteam/xteam/domain/apikey"
)

// protected serves a handler of the embedding program behind Protect.
func (s *service) protected() {
	s.t.Helper()
	s.h = s.h.(*httpapi.API).Protect(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, ok := httpapi.CallerFrom(r.Context())
		fmt.Fprint(w, c.User(), ok)
	}))
}

// TestProtectTakesOneCredential: of two, the first of which may be good, nobody can say which is meant.
func TestProtectTakesOneCredential(t *testing.T) {
	s := newService(t)
	ann := s.user("ann", account.RoleUser)
	s.user("bob", account.RoleUser)
	first, second := s.signIn("ann"), s.signIn("bob")
	s.protected()
	if w := s.call("GET", "/orders", "", bearer(first)); w.Code != 200 || w.Body.String() != ann.ID.String()+" true" {
		t.Fatalf("one: %d %s", w.Code, w.Body)
	}
	wants(t, s.call("GET", "/orders", "", bearer(first), bearer(second)), 400, "malformed_request")
	wants(t, s.call("GET", "/orders", "", bearer(first), "Authorization: Basic YTpi"), 400, "malformed_request")
}

// TestTheLogSaysWhoWasRefusedWhat: the line of a refused token that was good once names its user, its session and what was asked for; that of another token names
// nobody. A query, which may hold anything, is in neither.
func TestTheLogSaysWhoWasRefusedWhat(t *testing.T) {
	s := newService(t)
	ann := s.user("ann", account.RoleUser)
	p := s.signIn("ann")
	if w := s.call("POST", "/api/v1/auth/logout", "", bearer(p)); w.Code != 204 {
		t.Fatal(w.Code)
	}
	line := func(heads ...string) map[string]any {
		t.Helper()
		before := s.log.Len()
		s.call("GET", "/api/v1/users/me?secret=hunter2", "", heads...)
		said := s.log.String()[before:]
		var got map[string]any
		if err := json.Unmarshal([]byte(said), &got); err != nil || strings.Contains(said, "hunter2") {
			t.Fatalf("%v: %s", err, said)
		}
		return got
	}
	got := line(bearer(p))
	details, _ := got["details"].(map[string]any)
	if got["msg"] != "Access refused" || got["subject"] != ann.ID.String() || got["endpoint"] != "/api/v1/users/me" || got["reason"] != "token_revoked" ||
		details["revoked"] != "logout" || len(fmt.Sprint(details["session"])) != 32 {
		t.Errorf("a revoked token: %v", got)
	}
	got = line(bearer(p) + "AAAA")
	details, _ = got["details"].(map[string]any)
	if got["msg"] != "Access refused" || got["subject"] != nil || len(details) != 1 || details["method"] != "GET" || got["endpoint"] != "/api/v1/users/me" || got["reason"] != "token_malformed" && got["reason"] != "token_invalid" {
		t.Errorf("a damaged token: %v", got)
	}
}

func TestProtectKeysTakesAKeyWithTheScope(t *testing.T) {
	s := newService(t)
	ann := s.user("ann", account.RoleUser)
	p := s.signIn("ann")
	good, other, dead := s.key(p), s.key(p, "introspect"), s.key(p)
	if w := s.call("DELETE", apiKeys+"/"+dead.ID, "", bearer(p)); w.Code != 204 {
		t.Fatal(w.Code)
	}
	orders := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, ok := httpapi.CallerFrom(r.Context())
		fmt.Fprint(w, c.User(), ok, c.IsKey())
	})
	api := s.h.(*httpapi.API)
	for name, c := range map[string]struct {
		h    http.Handler
		head string
		want int
		says string
	}{
		"a token":                           {api.ProtectKeys(apikey.UsersRead, orders), bearer(p), 200, ann.ID.String() + " true false"},
		"a key with the scope":              {api.ProtectKeys(apikey.UsersRead, orders), "X-API-Key: " + good.Key, 200, ann.ID.String() + " true true"},
		"a key as bearer":                   {api.ProtectKeys(apikey.UsersRead, orders), "Authorization: Bearer " + good.Key, 200, ann.ID.String() + " true true"},
		"a key without it":                  {api.ProtectKeys(apikey.UsersRead, orders), "X-API-Key: " + other.Key, 403, `"code":"forbidden"`},
		"a key with one of two":             {api.ProtectKeys(apikey.UsersRead|apikey.Introspect, orders), "X-API-Key: " + good.Key, 403, `"code":"forbidden"`},
		"a dead key":                        {api.ProtectKeys(apikey.UsersRead, orders), "X-API-Key: " + dead.Key, 401, `"code":"token_revoked"`},
		"a key where no scope opens":        {api.ProtectKeys(0, orders), "X-API-Key: " + good.Key, 403, `"code":"forbidden"`},
		"a key where only tokens are taken": {api.Protect(orders), "X-API-Key: " + good.Key, 403, `"code":"forbidden"`},
	} {
		s.h = c.h
		if w := s.call("GET", "/orders", "", c.head); w.Code != c.want || !strings.Contains(w.Body.String(), c.says) {
			t.Errorf("%s: %d %s, want %d with %s", name, w.Code, w.Body, c.want, c.says)
		}
	}
}
