package httpapi_test

import (
	"crypto/rand"
	"encoding/json"
	"net/http"
	"regexp"
	"strings"
	"testing"

	"github.com/xteam/xteam/domain/account"
	"github.com/xteam/xteam/domain/apikey"
	"github.com/xteam/xteam/domain/audit"
	"github.com/xteam/xteam/domain/id"
)

// ofOneRequest is what differs between two answers of the same kind.
var ofOneRequest = regexp.MustCompile(`"request_id":"[^"]*"`)

// A decoy's credentials get the very answers of wrong ones, and are told of.
func TestDecoysLookLikeWrongCredentials(t *testing.T) {
	s := newService(t)
	s.user("root", account.RoleAdmin)
	root := bearer(s.signIn("root"))
	create := func(body string) (int, string) {
		w := s.call("POST", "/api/v1/admin/users", body, root)
		return w.Code, w.Body.String()
	}
	if code, text := create(`{"email":"b@example.com","username":"backup","password":"a planted credential","role":"admin","decoy":true}`); code != http.StatusUnprocessableEntity || !strings.Contains(text, "a decoy is no administrator") {
		t.Errorf("a decoy of an administrator: %d %s", code, text)
	}
	code, text := create(`{"email":"b@example.com","username":"backup","password":"a planted credential","decoy":true}`)
	var made struct {
		ID     string
		Decoy  bool
		APIKey string `json:"api_key"`
	}
	if err := json.Unmarshal([]byte(text), &made); code != http.StatusCreated || err != nil || !made.Decoy || !strings.HasPrefix(made.APIKey, "xt_") {
		t.Fatalf("%d %s", code, text)
	}
	if w := s.call("GET", "/api/v1/admin/users/backup", "", root); !strings.Contains(w.Body.String(), `"decoy":true`) || strings.Contains(w.Body.String(), "api_key") {
		t.Errorf("shown as %s", w.Body)
	}
	proof, err := apikey.Parse(made.APIKey)
	check(t, err)
	unknown, _, err := apikey.Make(proof.Environment, id.APIKey{1}, rand.Reader)
	check(t, err)
	same := func(what string, method, path, body, wrong string) {
		t.Helper()
		got, want := s.call(method, path, body, "Content-Type: application/json"), s.call(method, path, wrong, "Content-Type: application/json")
		if got.Code != http.StatusUnauthorized || got.Code != want.Code || ofOneRequest.ReplaceAllString(got.Body.String(), "") != ofOneRequest.ReplaceAllString(want.Body.String(), "") {
			t.Errorf("%s: got %d %s\nwant %d %s", what, got.Code, got.Body, want.Code, want.Body)
		}
	}
	same("the password", "POST", "/api/v1/auth/login", `{"username":"backup","password":"a planted credential"}`, `{"username":"root","password":"a planted credential"}`)
	same("another user's", "POST", "/api/v1/auth/login", `{"username":"backup","password":"a planted credential"}`, `{"username":"nobody","password":"a planted credential"}`)
	for i, as := range ways(made.APIKey) {
		got, want := s.call("GET", me, "", as), s.call("GET", me, "", ways(unknown.RevealPlaintext())[i])
		if got.Code != http.StatusUnauthorized || got.Code != want.Code || ofOneRequest.ReplaceAllString(got.Body.String(), "") != ofOneRequest.ReplaceAllString(want.Body.String(), "") || got.Header().Get("WWW-Authenticate") != want.Header().Get("WWW-Authenticate") {
			t.Errorf("the key: %d %s\nan unknown one: %d %s", got.Code, got.Body, want.Code, want.Body)
		}
	}
	events, _, err := s.core.Stores.Events.List(t.Context(), 0, 1000)
	check(t, err)
	touched := 0
	for i := range events {
		if events[i].Kind == audit.HoneytokenTouched && events[i].Subject == made.ID {
			touched++
		}
	}
	if touched < 2 { // the key's comes a moment later
		t.Errorf("%d touches were told of", touched)
	}
}
