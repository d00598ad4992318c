package httpapi_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"

	"github.com/google/go-cmp/cmp"

	"github.com/xteam/xteam/adapters/diskfiles"
	"github.com/xteam/xteam/adapters/envsecrets"
	"github.com/xteam/xteam/adapters/httpapi"
	"github.com/xteam/xteam/adapters/journal"
	"github.com/xteam/xteam/adapters/jwtcodec"
	"github.com/xteam/xteam/adapters/memstore"
	"github.com/xteam/xteam/adapters/mimetypes"
	"github.com/xteam/xteam/app"
	"github.com/xteam/xteam/app/view"
	"github.com/xteam/xteam/domain/account"
	"github.com/xteam/xteam/domain/secret"
	"github.com/xteam/xteam/domain/upload"
	"github.com/xteam/xteam/ports"
)

// service is a whole system behind its transport.
type service struct {
	t        testing.TB
	all      httpapi.Services
	h        http.Handler
	core     *app.Core
	accounts *app.Accounts
	keys     *app.APIKeys
	log      *strings.Builder
	probe    error
	files    *diskfiles.Store
	folder   string
}

const password = "correct horse battery"

func newService(t testing.TB, o ...httpapi.Options) *service {
	t.Helper()
	store := memstore.New()
	key := "a-signing-secret-of-at-least-32-bytes"
	codec := jwtcodec.New(jwtcodec.Options{})
	s := &service{t: t, log: &strings.Builder{}}
	logger := slog.New(slog.NewJSONHandler(s.log, nil))
	v := view.New(view.Options{MaxStaleness: time.Hour}, view.Source{Name: "database", Truth: true, Revocations: store.Revocations()})
	s.core = &app.Core{
		Stores: app.Stores{Accounts: store.Accounts(), Sessions: store.Sessions(), APIKeys: store.APIKeys(), Keys: store.Keys(), System: store.System(), Blocks: store.Blocks(), Revocations: store.Revocations(), Events: store.Events(), Trail: store.Trail(), TrailCare: store.Trail(), Cursors: store.Cursors(), Alerts: store.Alerts(), Incidents: store.Incidents(), Uploads: store.Uploads()},
		View:   v, Codec: codec, Passwords: quick{}, MACs: macs{}, Journal: journal.New(logger), Random: rand.Reader, Now: time.Now,
		Tunables: app.Tunables{Issuer: "xteam", Audience: "xteam", Access: 30 * time.Minute, Refresh: time.Hour, Session: 24 * time.Hour, Leeway: 30 * time.Second},
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); _ = v.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-done })
	check(t, v.Ready(t.Context()))
	check(t, s.core.Start(t.Context()))
	secrets := app.NewSecrets(envsecrets.New(func(name string) (string, bool) { return key, name == app.SecretKey }), app.SecretsOptions{Random: rand.Reader, Logger: logger})
	check(t, secrets.Read(t.Context()))
	rotator := app.NewRotator(s.core, codec, plain{}, secrets, app.RotatorOptions{Logger: logger})
	check(t, rotator.Start(t.Context()))
	sessions := app.NewSessions(s.core)
	s.accounts = app.NewAccounts(s.core)
	guard := app.NewGuard(s.core)
	s.keys = app.NewAPIKeys(s.core, guard)
	s.all = httpapi.Services{Guard: guard, Sessions: sessions, Accounts: s.accounts, Revoker: app.NewRevoker(s.core, sessions, "node-1"), APIKeys: s.keys, Blocks: app.NewBlocks(s.core, app.BlocksOptions{Proxies: with(logger, o).Proxies.Trusted}), View: v, Rotator: rotator, Secrets: secrets, Trail: app.NewTrail(s.core, plain{}, app.TrailOptions{}),
		Tethers: app.NewTethers(s.core, app.TethersOptions{}), Live: app.NewLive(s.core.Journal, store.Events(), plain{}), Tickets: app.NewTickets(s.core, plain{}, memstore.NewBuckets(memstore.BucketsOptions{})),
		Probe: func(context.Context) error { return s.probe }}
	s.folder = t.TempDir()
	s.files = diskfiles.New(s.folder, diskfiles.Options{})
	t.Cleanup(func() { _ = s.files.Close() })
	s.all.Uploads = app.NewUploads(s.core, s.files, app.UploadsOptions{Rules: upload.Rules{Extensions: s.extensions(), MaxSize: mostFile, Quota: 10 * mostFile}, Detect: mimetypes.Detect, Logger: logger})
	var err error
	s.all.Alerts, err = app.NewAlerts(s.core, s.all.Trail, s.all.Blocks, s.all.Revoker, app.AlertsOptions{})
	check(t, err)
	s.all.Disowner = app.NewDisowner(s.core, plain{}, nil, "https://id.example.com")
	s.all.Incidents = app.NewIncidents(s.core, s.accounts, s.all.Revoker, s.all.Blocks, s.keys, s.all.Trail, app.IncidentsOptions{Node: "node-1", ByHand: []string{"ROOT_KEY: give another, and the one before as ROOT_KEY_PREVIOUS."}})
	s.all.Feed, err = app.NewFeed(s.core, 0)
	check(t, err)
	s.h = httpapi.New(s.all, with(logger, o)).Handler()
	return s
}

// with adds the logger to the options of a test, if it has any.
func with(log *slog.Logger, o []httpapi.Options) httpapi.Options {
	all := append(o[:len(o):len(o)], httpapi.Options{})[0]
	all.Logger = log
	return all
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// quick hashes as no product may: what the transport does with passwords does not hang on how they are hashed.
type quick struct{}

func (quick) Hash(_ context.Context, p secret.Text) (secret.Text, error) {
	sum := sha256.Sum256([]byte(p.RevealPlaintext()))
	return secret.New("quick:" + hex.EncodeToString(sum[:])), nil
}

func (q quick) Compare(ctx context.Context, hash, p secret.Text) (ok, upgrade bool, err error) {
	is, err := q.Hash(ctx, p)
	return is.Equal(hash), false, err
}

// plain seals nothing.
type plain struct{}

func (plain) Seal(_ string, text []byte) ([]byte, error)   { return append([]byte{1}, text...), nil }
func (plain) Open(_ string, sealed []byte) ([]byte, error) { return sealed[1:], nil }
func (plain) Index(string, string) (digest [16]byte)       { return digest }

type macs struct{}

func (macs) Current() uint16 { return 1 }
func (macs) MAC(key uint16, message []byte) ([32]byte, bool) {
	m := hmac.New(sha256.New, []byte("test"))
	m.Write(message)
	return [32]byte(m.Sum(nil)), key == 1
}

func (s *service) user(name string, role account.Role) account.Account {
	s.t.Helper()
	e, err := account.ParseEmail(name + "@example.com")
	check(s.t, err)
	u, err := account.ParseUsername(name)
	check(s.t, err)
	a, err := s.accounts.Create(context.Background(), app.Actor{Name: app.Operator}, app.Registration{Email: e, Username: u, Password: secret.New(password)}, role)
	check(s.t, err)
	return a
}

// call sends a request; each head is "Name: value".
func (s *service) call(method, target, body string, heads ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, "http://xteam.test"+target, strings.NewReader(body))
	if body == "" {
		r.Body = http.NoBody
	}
	r.RemoteAddr = "[::ffff:192.0.2.7]:4711"
	for _, h := range heads {
		k, v, _ := strings.Cut(h, ": ")
		r.Header.Add(k, v)
	}
	w := httptest.NewRecorder()
	s.h.ServeHTTP(w, r)
	conform(s.t, r, body, w)
	return w
}

const asJSON = "Content-Type: application/json"

func (s *service) post(target, body string, heads ...string) *httptest.ResponseRecorder {
	return s.call("POST", target, body, append(heads, asJSON)...)
}

type pair struct {
	AccessToken  string `json:"access_token"`
	RefreshToken string `json:"refresh_token"`
	TokenType    string `json:"token_type"`
	ExpiresIn    int    `json:"expires_in"`
}

func (s *service) signIn(name string) pair {
	s.t.Helper()
	w := s.post("/api/v1/auth/login", fmt.Sprintf(`{"username":%q,"password":%q}`, name, password))
	var p pair
	if err := json.Unmarshal(w.Body.Bytes(), &p); err != nil || w.Code != 200 {
		s.t.Fatalf("sign in: %d %s", w.Code, w.Body)
	}
	return p
}

func bearer(p pair) string { return "Authorization: Bearer " + p.AccessToken }

// wants demands a problem with that status and code, in the one shape that all of them have.
func wants(t *testing.T, w *httptest.ResponseRecorder, status int, code string) map[string]any {
	t.Helper()
	var p map[string]any
	if err := json.Unmarshal(w.Body.Bytes(), &p); err != nil {
		t.Fatalf("status %d, body %q: %v", w.Code, w.Body, err)
	}
	if w.Code != status || p["code"] != code || p["status"] != float64(status) || p["type"] != "/docs/problems#"+code || p["title"] != http.StatusText(status) ||
		p["request_id"] != w.Header().Get("X-Request-Id") || w.Header().Get("Content-Type") != "application/problem+json" {
		t.Fatalf("got %d %s (%v), want %d %s", w.Code, w.Body, w.Header(), status, code)
	}
	if status == 401 {
		if w.Header().Get("WWW-Authenticate") == "" || w.Header().Get("Cache-Control") != "no-store" {
			t.Errorf("a 401 with headers %v", w.Header())
		}
	}
	if all, _ := p["errors"].([]any); status == 422 && len(all) == 0 {
		t.Errorf("a 422 that names no member: %s", w.Body)
	}
	if (status == 503 || status == 429) && w.Header().Get("Retry-After") == "" {
		t.Error("no Retry-After")
	}
	return p
}

func TestTour(t *testing.T) {
	s := newService(t)
	w := s.post("/api/v1/auth/register", `{"password":"`+password+`","email":"Ann@Example.com","username":"Ann","full_name":"Ann Example"}`)
	if w.Code != 201 {
		t.Fatalf("register: %d %s", w.Code, w.Body)
	}
	var made map[string]any
	check(t, json.Unmarshal(w.Body.Bytes(), &made))
	if made["email"] != "ann@example.com" || made["username"] != "Ann" || made["role"] != "user" || made["is_active"] != true || len(made["id"].(string)) != 32 {
		t.Errorf("registered %v", made)
	}
	wants(t, s.post("/api/v1/auth/register", `{"email":"ann2@example.com","username":"ANN","password":"`+password+`"}`), 409, "taken")

	p := s.signIn("aNN")
	if p.TokenType != "bearer" || p.ExpiresIn != 1800 {
		t.Errorf("signed in: %q for %d", p.TokenType, p.ExpiresIn)
	}
	w = s.call("GET", "/api/v1/users/me", "", bearer(p))
	var me map[string]any
	check(t, json.Unmarshal(w.Body.Bytes(), &me))
	if diff := cmp.Diff(made, me); w.Code != 200 || diff != "" {
		t.Errorf("me: %d %s", w.Code, diff)
	}
	w = s.post("/api/v1/auth/refresh", `{"refresh_token":"`+p.RefreshToken+`"}`)
	var next pair
	check(t, json.Unmarshal(w.Body.Bytes(), &next))
	if w.Code != 200 || next.RefreshToken == p.RefreshToken || w.Header().Get("Cache-Control") != "no-store" {
		t.Fatalf("refresh: %d", w.Code)
	}
	if w := s.call("POST", "/api/v1/auth/logout", "", bearer(next)); w.Code != 204 || w.Body.Len() != 0 {
		t.Fatalf("logout: %d %s", w.Code, w.Body)
	}
	if got := wants(t, s.call("GET", "/api/v1/users/me", "", bearer(next)), 401, "token_revoked"); got["reason"] != "logout" {
		t.Errorf("reason %v", got["reason"])
	}
	if got := wants(t, s.post("/api/v1/auth/refresh", `{"refresh_token":"`+next.RefreshToken+`"}`), 401, "token_revoked"); got["reason"] != "logout" {
		t.Errorf("reason %v", got["reason"])
	}
	p, other := s.signIn("ann"), s.signIn("ann")
	w = s.post("/api/v1/auth/change-password", `{"current_password":"`+password+`","new_password":"another horse entirely"}`, bearer(p))
	check(t, json.Unmarshal(w.Body.Bytes(), &next))
	if w.Code != 200 {
		t.Fatalf("change-password: %d %s", w.Code, w.Body)
	}
	if got := wants(t, s.call("GET", "/api/v1/users/me", "", bearer(other)), 401, "token_revoked"); got["reason"] != "password_changed" {
		t.Errorf("reason %v", got["reason"])
	}
	w = s.call("POST", "/api/v1/auth/logout-all", "", bearer(next))
	if w.Code != 200 || strings.TrimSpace(w.Body.String()) != `{"sessions_ended":1}` {
		t.Errorf("logout-all: %d %s", w.Code, w.Body)
	}
	if got := wants(t, s.call("GET", "/api/v1/users/me", "", bearer(next)), 401, "token_revoked"); got["reason"] != "user_revoked" {
		t.Errorf("reason %v", got["reason"])
	}
}

// TestSeedsLine: the line that the product's document gives for a compromised user, with the Content-Type that curl -d sends.
func TestSeedsLine(t *testing.T) {
	s := newService(t)
	ann := s.user("ann", account.RoleUser)
	s.user("root", account.RoleAdmin)
	victim, admin := s.signIn("ann"), s.signIn("root")
	w := s.call("POST", "/api/v1/admin/revoke-user-tokens", `{"user_id": "`+ann.ID.String()+`"}`, bearer(admin), "Content-Type: application/x-www-form-urlencoded")
	if w.Code != 200 || w.Body.String() != `{"sessions_ended":1}` {
		t.Fatalf("%d %s", w.Code, w.Body)
	}
	wants(t, s.call("GET", "/api/v1/users/me", "", bearer(victim)), 401, "token_revoked")
	if w := s.call("GET", "/api/v1/users/me", "", bearer(admin)); w.Code != 200 {
		t.Errorf("the administrator: %d", w.Code)
	}
	wants(t, s.call("POST", "/api/v1/admin/revoke-user-tokens", `{"user_id": "compromised-user-id"}`, bearer(admin)), 404, "not_found")
	if !strings.Contains(s.log.String(), `"msg":"Token revoked"`) {
		t.Error("the log does not say so")
	}
}

func TestAdminRoutes(t *testing.T) {
	s := newService(t)
	ann := s.user("ann", account.RoleUser)
	user := s.signIn("ann")
	const target = "/api/v1/admin/revocations"
	wants(t, s.post(target, `{"all":true}`), 401, "token_missing")
	wants(t, s.post(target, `{"all":true}`, bearer(user)), 403, "forbidden")
	wants(t, s.post(target, `{"all":true}`, "X-Operator: true", "X-Forwarded-For: 127.0.0.1"), 401, "token_missing")
	if w := s.call("GET", "/api/v1/users/me", "", bearer(user)); w.Code != 200 {
		t.Fatalf("after refused revocations: %d", w.Code)
	}
	public := s.h
	s.h = httpapi.AsOperator(public)
	wants(t, s.call("GET", "/api/v1/users/me", ""), 401, "token_missing") // the operator is nobody's user
	wants(t, s.post(target, `{}`), 422, "validation_failed")
	wants(t, s.post(target, `{"all":true,"jti":"x"}`), 422, "validation_failed")
	wants(t, s.post(target, `{"issued_before":"tomorrow"}`), 422, "validation_failed")
	wants(t, s.post(target, `{"issued_before":"2999-01-01T00:00:00Z"}`), 422, "validation_failed")
	wants(t, s.post(target, `{"session_id":"`+strings.Repeat("a", 32)+`"}`), 404, "not_found")
	w := s.call("POST", target, `{"user_id":"ann","dry_run":true,"reason":"a look"}`)
	if w.Code != 200 || w.Body.String() != `{"sessions_ended":1,"nodes":[],"dry_run":true}` {
		t.Errorf("dry run: %d %s", w.Code, w.Body)
	}
	w = s.call("POST", target, `{"user_id":"`+ann.ID.String()+`"}`)
	var got struct {
		SessionsEnded int `json:"sessions_ended"`
		Nodes         []struct {
			Node string
			MS   *float64
		}
	}
	check(t, json.Unmarshal(w.Body.Bytes(), &got))
	if got.SessionsEnded != 1 || len(got.Nodes) != 1 || got.Nodes[0].Node != "node-1" || got.Nodes[0].MS == nil {
		t.Errorf("revoked: %s", w.Body)
	}
	w = s.call("POST", "/api/v1/admin/users", `{"email":"bob@example.com","username":"bob","password":"`+password+`","role":"admin"}`)
	if w.Code != 201 || !strings.Contains(w.Body.String(), `"role":"admin"`) {
		t.Errorf("users: %d %s", w.Code, w.Body)
	}
	wants(t, s.post("/api/v1/admin/users", `{"email":"eve@example.com","username":"eve","password":"`+password+`","role":"root"}`), 422, "validation_failed")
}

func TestCredentials(t *testing.T) {
	s := newService(t)
	s.user("ann", account.RoleUser)
	p := s.signIn("ann")
	header, rest, _ := strings.Cut(p.AccessToken, ".")
	for name, try := range map[string]struct {
		heads  []string
		status int
		code   string
		error  bool // WWW-Authenticate names one
	}{
		"none":              {nil, 401, "token_missing", false},
		"another scheme":    {[]string{"Authorization: Basic YTpi"}, 401, "token_missing", false},
		"an empty bearer":   {[]string{"Authorization: Bearer "}, 401, "token_malformed", true},
		"garbage":           {[]string{"Authorization: Bearer garbage"}, 401, "token_malformed", true},
		"truncated":         {[]string{bearer(p)[:len(bearer(p))-3]}, 401, "", true},
		"8,000 dots":        {[]string{"Authorization: Bearer " + strings.Repeat(".", 8000)}, 401, "token_malformed", true},
		"too long":          {[]string{"Authorization: Bearer " + strings.Repeat("a", 9000)}, 401, "token_malformed", true},
		"another header":    {[]string{"Authorization: Bearer eyJhbGciOiJub25lIiwidHlwIjoiYXQrand0In0." + rest}, 401, "", true},
		"another ending":    {[]string{"Authorization: Bearer " + header + "." + rest[:len(rest)-5] + "AAAAA"}, 401, "token_invalid", true},
		"two headers":       {[]string{bearer(p), bearer(p)}, 400, "malformed_request", false},
		"two spaces":        {[]string{"Authorization: Bearer  " + p.AccessToken}, 401, "token_malformed", true},
		"the refresh token": {[]string{"Authorization: Bearer " + p.RefreshToken}, 401, "token_malformed", true},
	} {
		t.Run(name, func(t *testing.T) {
			w := s.call("GET", me, "", try.heads...)
			code := try.code
			if code == "" {
				var got struct{ Code string }
				check(t, json.Unmarshal(w.Body.Bytes(), &got))
				code = got.Code
				if code != "token_malformed" && code != "token_invalid" {
					t.Errorf("code %s", code)
				}
			}
			wants(t, w, try.status, code)
			if got := strings.Contains(w.Header().Get("WWW-Authenticate"), `error="invalid_token"`); got != try.error {
				t.Errorf("WWW-Authenticate: %s", w.Header().Get("WWW-Authenticate"))
			}
		})
	}
	if w := s.call("GET", me, "", "Authorization: bEARER "+p.AccessToken); w.Code != 200 {
		t.Errorf("the scheme in another case: %d", w.Code)
	}
}

func TestUntoldOverHTTP(t *testing.T) {
	s := newService(t)
	s.user("ann", account.RoleUser)
	bob := s.user("bob", account.RoleUser)
	check(t, s.accounts.Disable(t.Context(), app.Actor{Name: app.Operator}, bob.ID))
	var first string
	for _, body := range []string{`{"username":"ann","password":"wrong password"}`, `{"username":"nobody","password":"wrong password"}`, `{"email":"bob@example.com","password":"` + password + `"}`, `{"username":"ann","password":"` + strings.Repeat("é", 40) + `"}`} {
		w := s.post("/api/v1/auth/login", body, "X-Request-Id: same")
		wants(t, w, 401, "credentials_invalid")
		got := fmt.Sprint(w.Header(), w.Body)
		if first == "" {
			first = got
		}
		if got != first {
			t.Errorf("told apart: %s, then %s", first, got)
		}
	}
	if n := strings.Count(s.log.String(), `"msg":"Authentication failed"`); n != 4 {
		t.Errorf("%d lines of failed sign-ins, want 4:\n%s", n, s.log)
	}
}

func TestBadBodies(t *testing.T) {
	s := newService(t)
	const login = "/api/v1/auth/login"
	good := `{"username":"ann","password":"` + password + `"}`
	pad := strings.Repeat(" ", 1<<20-len(good))
	for name, try := range map[string]struct {
		body   string
		status int
		code   string
	}{
		"empty":              {" ", 400, "malformed_json"},
		"no object":          {`[]`, 400, "malformed_json"},
		"cut off":            {`{"username":"ann"`, 400, "malformed_json"},
		"trailing data":      {good + `x`, 400, "malformed_json"},
		"a second value":     {good + good, 400, "malformed_json"},
		"twice":              {`{"username":"ann","username":"bob","password":"x"}`, 400, "malformed_json"},
		"deep":               {strings.Repeat("[", 500_000), 400, "malformed_json"},
		"deep in a member":   {`{"username":` + strings.Repeat("[", 500_000), 0, ""},
		"invalid UTF-8":      {"{\"username\":\"\xff\",\"password\":\"x\"}", 400, "malformed_json"},
		"unknown member":     {`{"username":"ann","password":"x","sid":"mine"}`, 422, "validation_failed"},
		"another case":       {`{"Username":"ann","password":"x"}`, 422, "validation_failed"},
		"a number":           {`{"username":7,"password":"x"}`, 422, "validation_failed"},
		"a huge number":      {`{"username":1e999999,"password":"x"}`, 422, "validation_failed"},
		"both":               {`{"username":"ann","email":"ann@example.com","password":"x"}`, 422, "validation_failed"},
		"neither":            {`{"password":"x"}`, 422, "validation_failed"},
		"no password":        {`{"username":"ann"}`, 422, "validation_failed"},
		"no e-mail":          {`{"email":"ann","password":"x"}`, 422, "validation_failed"},
		"long e-mail":        {`{"email":"` + strings.Repeat("a", 64<<10) + `@example.com","password":"x"}`, 422, "validation_failed"},
		"1 MiB exactly":      {good + pad, 401, "credentials_invalid"},
		"1 MiB and one byte": {good + pad + " ", 413, "body_too_large"},
	} {
		t.Run(name, func(t *testing.T) {
			w := s.post(login, try.body)
			if try.status == 0 {
				if w.Code != 400 && w.Code != 422 {
					t.Errorf("status %d", w.Code)
				}
				return
			}
			wants(t, w, try.status, try.code)
			if strings.Contains(w.Body.String(), "mine") || strings.Contains(w.Body.String(), "ann") {
				t.Errorf("what was sent is echoed: %s", w.Body)
			}
		})
	}
	wants(t, s.call("POST", login, good), 415, "unsupported_media_type")
	wants(t, s.call("POST", login, good, "Content-Type: text/plain"), 415, "unsupported_media_type")
	// A refresh holds its credential in the body: fetch sends such a text as text/plain, and it goes through.
	wants(t, s.call("POST", "/api/v1/auth/refresh", `{"refresh_token":"xtr_none"}`, "Content-Type: text/plain;charset=UTF-8"), 401, "token_invalid")
	wants(t, s.call("POST", login, good, asJSON, "Content-Encoding: gzip"), 415, "unsupported_media_type")
	w := s.call("POST", login, good+pad+" ", asJSON, "Transfer-Encoding: chunked")
	wants(t, w, 413, "body_too_large")
}

// TestRegisterRefuses: all that is wrong is said at once, and nothing that must not be set can be.
func TestRegisterRefuses(t *testing.T) {
	s := newService(t)
	w := s.post("/api/v1/auth/register", `{"email":"a","username":"ａｎｎ","password":"short","full_name":"a\u001bb"}`)
	got := wants(t, w, 422, "validation_failed")
	var fields []string
	for _, e := range got["errors"].([]any) {
		fields = append(fields, e.(map[string]any)["field"].(string))
	}
	if diff := cmp.Diff([]string{"email", "username", "full_name", "password"}, fields); diff != "" {
		t.Error(diff)
	}
	for _, member := range []string{"role", "roles", "gen", "id", "email_verified", "is_active"} {
		w := s.post("/api/v1/auth/register", `{"email":"ann@example.com","username":"ann","password":"`+password+`","`+member+`":1}`)
		if got := wants(t, w, 422, "validation_failed"); got["errors"].([]any)[0].(map[string]any)["field"] != member {
			t.Errorf("%s: %s", member, w.Body)
		}
	}
	for _, name := range []string{" ann", "ann ", "a\\u0000nn", strings.Repeat("a", 32), strings.Repeat("A", 32), "an", strings.Repeat("x", 51)} {
		wants(t, s.post("/api/v1/auth/register", `{"email":"ann@example.com","username":"`+name+`","password":"`+password+`"}`), 422, "validation_failed")
	}
	wants(t, s.post("/api/v1/auth/register", `{"email":"ann@example.com","username":"ann","password":"`+strings.Repeat("é", 37)+`"}`), 422, "validation_failed")
}

func TestRouting(t *testing.T) {
	s := newService(t)
	for _, target := range []string{"/nothing", "/api/v1/auth/login/", "//health", "/api//v1/users/me", "/api/v1/../v1/users/me", "/api/v1/users/me/..", "/debug/pprof", "/debug/vars"} {
		w := s.call("GET", target, "")
		wants(t, w, 404, "not_found")
		if w.Header().Get("Location") != "" {
			t.Errorf("%s is redirected", target)
		}
	}
	w := s.call("DELETE", "/api/v1/auth/login", "")
	wants(t, w, 405, "method_not_allowed")
	if w.Header().Get("Allow") != "POST" {
		t.Errorf("Allow: %s", w.Header().Get("Allow"))
	}
	w = s.call("POST", "/health", "")
	wants(t, w, 405, "method_not_allowed")
	if w.Header().Get("Allow") != "GET, HEAD" {
		t.Errorf("Allow: %s", w.Header().Get("Allow"))
	}
	wants(t, s.call("TRACE", "/health", ""), 405, "method_not_allowed")
}

// TestHeaders: every answer carries the headers of the product's document, errors too; HSTS over TLS alone.
func TestHeaders(t *testing.T) {
	s := newService(t)
	for _, target := range []string{"/health", "/nothing", "/api/v1/users/me"} {
		h := s.call("GET", target, "").Header()
		want := map[string]string{"X-Content-Type-Options": "nosniff", "X-Frame-Options": "DENY", "X-XSS-Protection": "1; mode=block", "Strict-Transport-Security": "",
			"Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'", "Referrer-Policy": "no-referrer", "Cross-Origin-Opener-Policy": "same-origin", "Cross-Origin-Resource-Policy": "same-origin"}
		for name, v := range want {
			if h.Get(name) != v {
				t.Errorf("%s: %s is %q, want %q", target, name, h.Get(name), v)
			}
		}
		if h.Get("Permissions-Policy") == "" {
			t.Error("no Permissions-Policy")
		}
	}
	secure := httptest.NewTLSServer(s.h)
	defer secure.Close()
	r, err := secure.Client().Get(secure.URL + "/health")
	check(t, err)
	defer func() { _ = r.Body.Close() }()
	if got := r.Header.Get("Strict-Transport-Security"); got != "max-age=31536000; includeSubDomains" {
		t.Errorf("over TLS: %q", got)
	}
}

func TestRequestID(t *testing.T) {
	s := newService(t)
	for sent, kept := range map[string]bool{"abc-1.2_3": true, "": false, "a b": false, strings.Repeat("x", 65): false, "a\"b": false} {
		got := s.call("GET", "/health", "", "X-Request-Id: "+sent).Header().Get("X-Request-Id")
		if (got == sent) != kept || got == "" {
			t.Errorf("sent %q, got %q", sent, got)
		}
	}
	if a, b := s.call("GET", "/health", ""), s.call("GET", "/health", ""); a.Header().Get("X-Request-Id") == b.Header().Get("X-Request-Id") {
		t.Error("two requests with one id")
	}
}

func TestHealth(t *testing.T) {
	s := newService(t)
	for _, target := range []string{"/health", "/healthz"} {
		if w := s.call("GET", target, ""); w.Code != 200 || w.Body.String() != `{"status":"ok"}` {
			t.Errorf("%s: %d %s", target, w.Code, w.Body)
		}
	}
	w := s.call("GET", "/readyz", "")
	var got struct {
		Status string
		Checks map[string]struct {
			Status string
			AgeMS  *float64 `json:"age_ms"`
		}
	}
	check(t, json.Unmarshal(w.Body.Bytes(), &got))
	if w.Code != 200 || got.Status != "ok" || got.Checks["revocation"].AgeMS == nil || got.Checks["store"].Status != "ok" {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	s = newService(t) // whose store was not asked yet
	s.probe = ports.ErrNoSpace
	if w = s.call("GET", "/readyz", ""); w.Code != 200 || !strings.HasPrefix(w.Body.String(), `{"status":"ok"`) || !strings.Contains(w.Body.String(), `"store":{"status":"degraded"`) {
		t.Errorf("a store that takes nothing new: %d %s", w.Code, w.Body)
	}
	s = newService(t)
	s.probe = fmt.Errorf("disk /data/secret-place: %w", ports.ErrUnavailable)
	w = s.call("GET", "/readyz", "")
	if w.Code != 503 || strings.Contains(w.Body.String(), "secret-place") || !strings.Contains(w.Body.String(), `"store":{"status":"fail"`) {
		t.Errorf("store down: %d %s", w.Code, w.Body)
	}
}

// TestPanic: one handler that panics answers 500 and tells nothing; the process lives.
func TestPanic(t *testing.T) {
	s := newService(t)
	s.user("ann", account.RoleUser)
	passwords := s.core.Passwords
	s.core.Passwords = nil // calling it panics
	w := s.post("/api/v1/auth/login", `{"username":"ann","password":"hunter2hunter2"}`)
	wants(t, w, 500, "internal")
	if strings.Contains(w.Body.String(), "nil pointer") || strings.Contains(w.Body.String(), ".go") {
		t.Errorf("told: %s", w.Body)
	}
	if !strings.Contains(s.log.String(), "A handler panicked") || strings.Contains(s.log.String(), "hunter2hunter2") {
		t.Errorf("log: %s", s.log)
	}
	s.core.Passwords = passwords
	s.signIn("ann")
}

// TestManySmallThings: cookies, parameters and headers without end cost little.
func TestManySmallThings(t *testing.T) {
	s := newService(t)
	if w := s.call("GET", "/health?"+strings.Repeat("&a", 100_000), "", "Cookie: "+strings.Repeat("a=;", 16_000)); w.Code != 200 {
		t.Errorf("status %d", w.Code)
	}
	srv := httptest.NewUnstartedServer(s.h)
	limits := httpapi.Server(s.h, slog.New(slog.DiscardHandler))
	srv.Config.MaxHeaderBytes = limits.MaxHeaderBytes
	srv.Start()
	defer srv.Close()
	r, err := http.NewRequestWithContext(t.Context(), "GET", srv.URL+"/health", nil)
	check(t, err)
	r.Header.Set("X-Long", strings.Repeat("a", 1<<20))
	got, err := srv.Client().Do(r)
	check(t, err)
	_, _ = io.Copy(io.Discard, got.Body)
	_ = got.Body.Close()
	if got.StatusCode != 431 {
		t.Errorf("a header of 1 MiB: %d", got.StatusCode)
	}
	if limits.ReadHeaderTimeout == 0 || limits.ReadTimeout == 0 || limits.IdleTimeout == 0 || limits.WriteTimeout == 0 {
		t.Error("a limit of time is missing")
	}
}

// TestStaleView: a view that is too old refuses signed-in requests and leaves the rest alone.
func TestStaleView(t *testing.T) {
	s := newService(t)
	s.user("ann", account.RoleUser)
	p := s.signIn("ann")
	stale := view.New(view.Options{}, view.Source{Name: "database", Truth: true, Revocations: s.core.Stores.Revocations}) // never run
	*s.core = func() app.Core { c := *s.core; c.View = stale; return c }()
	sessions := app.NewSessions(s.core)
	s.h = httpapi.New(httpapi.Services{Guard: app.NewGuard(s.core), Sessions: sessions, Accounts: s.accounts, Revoker: app.NewRevoker(s.core, sessions, "n"), View: stale,
		Probe: func(context.Context) error { return nil }}, httpapi.Options{})
	wants(t, s.call("GET", "/api/v1/users/me", "", bearer(p)), 503, "revocations_stale")
	if w := s.call("GET", "/readyz", ""); w.Code != 503 {
		t.Errorf("/readyz: %d", w.Code)
	}
	if w := s.call("GET", "/healthz", ""); w.Code != 200 {
		t.Errorf("/healthz: %d", w.Code)
	}
}
