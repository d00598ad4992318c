package httpapi_test

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/xteam/xteam/adapters/httpapi"
	"github.com/xteam/xteam/app"
	"github.com/xteam/xteam/domain/account"
	"github.com/xteam/xteam/domain/audit"
	"github.com/xteam/xteam/domain/incident"
	"github.com/xteam/xteam/domain/instant"
	"github.com/xteam/xteam/ports"
)

// incident opens one, and answers its id.
func (s *service) incident() string {
	s.t.Helper()
	w := s.post("/api/v1/admin/incidents", `{"name":"a stolen laptop"}`, bearer(s.signIn("root")))
	var is struct{ ID string }
	check(s.t, json.Unmarshal(w.Body.Bytes(), &is))
	if w.Code != http.StatusCreated || len(is.ID) != 16 {
		s.t.Fatalf("open an incident: %d %s", w.Code, w.Body)
	}
	return is.ID
}

// TestIncidentByREST plays an incident from its beginning to its end.
func TestIncidentByREST(t *testing.T) {
	s := newService(t)
	s.user("ann", account.RoleUser)
	s.user("bob", account.RoleUser)
	s.user("root", account.RoleAdmin)
	ann, bob, root := s.signIn("ann"), s.signIn("bob"), bearer(s.signIn("root"))
	iid := s.incident()
	at := func(step string) string { return "/api/v1/admin/incidents/" + iid + step }
	does := func(step, body string, want int, says ...string) {
		t.Helper()
		w := s.post(at(step), body, root)
		for _, text := range says {
			if !strings.Contains(w.Body.String(), text) {
				t.Errorf("%s %s: %s does not say %q", step, body, w.Body, text)
			}
		}
		if w.Code != want {
			t.Fatalf("%s %s: got %d %s, want %d", step, body, w.Code, w.Body, want)
		}
	}
	does("/contain", `{}`, 422, "at least one of")
	does("/contain", `{"users":["nobody"]}`, 422, "nobody is no user")
	does("/contain", `{"networks":["0.0.0.0/0"]}`, 409, "block_risky")
	does("/contain", `{"networks":["x"]}`, 422, "networks")
	does("/contain", `{"users":["root"]}`, 409, "own_account")
	does("/contain", `{"users":["ann"],"dry_run":true}`, 200, `"sessions_ended":1`, `"recorded":false`)
	if w := s.call("GET", "/api/v1/users/me", "", bearer(ann)); w.Code != 200 {
		t.Fatalf("after a dry run: %d", w.Code)
	}
	does("/contain", `{"users":["ann"],"networks":["198.51.100.0/24"],"hold_sign_ins":true,"reason":"a stolen laptop"}`, 200, `"contained":true`, `"recorded":true`, `"sign_ins_held":true`, `"value":"198.51.100.0/24"`)
	if w := s.call("GET", "/api/v1/users/me", "", bearer(ann)); w.Code != 401 {
		t.Errorf("a contained user's token: %d", w.Code)
	}
	if w := s.call("GET", "/api/v1/users/me", "", bearer(bob)); w.Code != 200 {
		t.Errorf("another user's token: %d", w.Code)
	}
	does("/verify", ``, 200, `"ok":true`, "the account is barred", "turned away")
	does("/resolve", `{}`, 409, "sign-ins are still held back")
	does("/recover", `{"percent":101}`, 422)
	does("/recover", `{}`, 422)
	does("/recover", `{"percent":100}`, 200, `"admitted_percent":100`)
	does("/eradicate", `{"signing_key":true}`, 200, `"signs":"hs-`, "ROOT_KEY")
	does("/isolate", `{"node":"nowhere"}`, 404)
	does("/isolate", `{"node":"node-1"}`, 409, "no other node lives")
	does("/report", ``, 200, "# Incident: a stolen laptop", "ann@example.com", `"ok":true`)
	if w := s.call("GET", at(""), "", root); w.Code != 200 || !strings.Contains(w.Body.String(), `"state":"recovering"`) || !strings.Contains(w.Body.String(), `"contained":true`) {
		t.Errorf("status: %d %s", w.Code, w.Body)
	}
	does("/resolve", `{"note":"found"}`, 200, `"state":"resolved"`)
	does("/contain", `{"users":["bob"]}`, 409, "resolved")
	does("/report", ``, 200, "Incident resolved")
}

// An isolated node refuses everything but probes, and its operator has it serve again.
func TestAnIsolatedNodeServesNobody(t *testing.T) {
	s := newService(t)
	s.user("ann", account.RoleUser)
	s.user("root", account.RoleAdmin)
	ann, root := s.signIn("ann"), bearer(s.signIn("root"))
	iid := s.incident()
	w := s.post("/api/v1/admin/incidents/"+iid+"/isolate", `{"node":"node-1","force":true}`, root)
	if w.Code != 200 {
		t.Fatalf("isolate: %d %s", w.Code, w.Body)
	}
	for path, want := range map[string]int{"/api/v1/users/me": 503, "/api/v1/auth/verify": 503, "/nowhere": 503, "/health": 200, "/readyz": 503} {
		if w := s.call("GET", path, "", bearer(ann)); w.Code != want {
			t.Errorf("%s: got %d, want %d", path, w.Code, want)
		}
	}
	if w := s.call("GET", "/readyz", "", ""); !strings.Contains(w.Body.String(), `"isolation":{"status":"fail"`) {
		t.Errorf("/readyz: %s", w.Body)
	}
	public := s.h
	s.h = httpapi.AsOperator(public)
	if w := s.call("POST", "/api/v1/admin/incidents/current/isolate", `{"node":"node-1","release":true}`, asJSON); w.Code != 200 {
		t.Fatalf("the operator releases it: %d %s", w.Code, w.Body)
	}
	s.h = public
	if w := s.call("GET", "/api/v1/users/me", "", bearer(ann)); w.Code != 200 {
		t.Errorf("released: got %d", w.Code)
	}
}

// notes keeps the link of the last notice.
type notes struct{ link string }

func (n *notes) Notify(_ context.Context, is ports.Notice) error {
	n.link = is.Link.RevealPlaintext()
	return nil
}

// disowning is the token of a link by which the sign-in of p is ended.
func (s *service) disowning(p pair) string {
	s.t.Helper()
	who, err := s.all.Guard.Admit(p.AccessToken)
	check(s.t, err)
	box := &notes{}
	check(s.t, app.NewDisowner(s.core, plain{}, box, "").Deliver(s.t.Context(), audit.Event{Time: instant.Of(s.core.Now()), Kind: audit.AuthenticationSucceeded, Subject: who.User().String(),
		Details: map[string]string{"session": who.Session().String(), "new_network": "192.0.2.0/24"}}))
	_, text, _ := strings.Cut(box.link, "#token=")
	token, err := url.QueryUnescape(text)
	check(s.t, err)
	return token
}

// The page of a link runs its own script, loads nothing, and is not asked to do anything by being looked at.
func TestDisownPage(t *testing.T) {
	s := newService(t)
	s.user("ann", account.RoleUser)
	p := s.signIn("ann")
	w := s.call("GET", "/wasnt-me", "")
	body := w.Body.String()
	_, script, _ := strings.Cut(body, "<script>")
	script, _, _ = strings.Cut(script, "</script>")
	sum := sha256.Sum256([]byte(script))
	policy := w.Header().Get("Content-Security-Policy")
	if w.Code != 200 || script == "" || !strings.Contains(policy, "script-src 'sha256-"+base64.StdEncoding.EncodeToString(sum[:])+"'") || strings.Contains(policy, "unsafe") || strings.Contains(body, "src=") || strings.Contains(body, "onclick") {
		t.Errorf("%d %q %s", w.Code, policy, body)
	}
	if w := s.call("GET", "/api/v1/users/me", "", bearer(p)); w.Code != 200 {
		t.Errorf("the page was looked at: %d", w.Code)
	}
	wants(t, s.post("/api/v1/auth/disown", `{}`), 422, "validation_failed")
	wants(t, s.post("/api/v1/auth/disown", `{"token":"x"}`), 403, "link_refused")
	token := s.disowning(p)
	if w := s.post("/api/v1/auth/disown", `{"token":"`+token+`"}`); w.Code != 200 || !strings.Contains(w.Body.String(), `"sessions_ended":1`) {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	wants(t, s.post("/api/v1/auth/disown", `{"token":"`+token+`"}`), 403, "link_refused")
	wants(t, s.call("GET", "/api/v1/users/me", "", bearer(p)), 401, "token_revoked")
}

// lost is a book of incidents that, once one is open, has no answer to one question, for as long as anybody waits for it.
type lost struct {
	ports.Incidents
	state atomic.Int32 // 1: the next question has no answer
	gone  chan error   // why who asked it has stopped waiting
	then  func()       // is called once somebody waits
}

func (l *lost) Load(ctx context.Context) (incident.Casebook, error) {
	if !l.state.CompareAndSwap(1, 2) {
		return l.Incidents.Load(ctx)
	}
	l.then()
	<-ctx.Done()
	l.gone <- context.Cause(ctx)
	return incident.Casebook{}, ctx.Err()
}

func (l *lost) Update(ctx context.Context, change func(incident.Casebook) (incident.Casebook, ports.Effects, error)) error {
	err := l.Incidents.Update(ctx, change)
	l.state.CompareAndSwap(0, 1)
	return err
}

// TestDrillByREST: a drill is an administrator's, and is answered; one that goes on refuses another; and when whoever asked has gone, it ends and cleans up.
func TestDrillByREST(t *testing.T) {
	s := newService(t)
	s.user("ann", account.RoleUser)
	s.user("root", account.RoleAdmin)
	const path = "/api/v1/admin/incidents/drill"
	root := bearer(s.signIn("root"))
	if w := s.post(path, "", bearer(s.signIn("ann"))); w.Code != 403 {
		t.Errorf("a user's drill: %d %s", w.Code, w.Body)
	}
	w := s.post(path, "", root)
	for _, says := range []string{`{"steps":[{"name":"make ready","ms":`, `{"name":"clean up",`, `"nodes":[{"node":"node-1","ms":`, `"passed":true}`} {
		if w.Code != 200 || !strings.Contains(w.Body.String(), says) || strings.Contains(w.Body.String(), `"ok":false`) {
			t.Fatalf("a drill: %d %s does not say %s", w.Code, w.Body, says)
		}
	}
	book := &lost{Incidents: s.core.Stores.Incidents, gone: make(chan error, 1)}
	s.core.Stores.Incidents = book
	srv := httptest.NewServer(s.h)
	defer srv.Close()
	ctx, cancel := context.WithCancel(t.Context())
	book.then = func() {
		if w := s.post(path, "", root); w.Code != 409 || !strings.Contains(w.Body.String(), "a drill is going on already") {
			t.Errorf("a second drill: %d %s", w.Code, w.Body)
		}
		cancel()
	}
	r, err := http.NewRequestWithContext(ctx, "POST", srv.URL+path, strings.NewReader("{}"))
	check(t, err)
	r.Header.Set("Authorization", strings.TrimPrefix(root, "Authorization: "))
	r.Header.Set("Content-Type", "application/json")
	if res, err := srv.Client().Do(r); err == nil {
		res.Body.Close()
		t.Errorf("who has gone is answered: %d", res.StatusCode)
	}
	if why := <-book.gone; !errors.Is(why, context.Canceled) {
		t.Errorf("the drill ended by %v", why)
	}
	srv.Close() // once what goes on has ended
	for _, name := range []string{"xteam-drill-stolen", "xteam-drill-other"} {
		if a, err := s.accounts.Lookup(t.Context(), name); err != nil || !a.Disabled {
			t.Errorf("%s: barred %v, %v", name, a.Disabled, err)
		}
	}
	if open, _, err := s.all.Incidents.List(t.Context(), true, "", 10); err != nil || len(open) > 0 {
		t.Errorf("open are %+v, %v", open, err)
	}
}
