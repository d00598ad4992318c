package security_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/xteam/xteam/app"
	"github.com/xteam/xteam/domain/account"
	"github.com/xteam/xteam/domain/audit"
	"github.com/xteam/xteam/ports"
)

// logExhibits are of logs, the audit trail and settings.
var logExhibits = []exhibit{
	{ids: []string{"CVE-2020-36567", "CVE-2026-42507"}, play: forgedLines},
	{ids: []string{"CVE-2025-62705", "CVE-2024-8365", "CVE-2025-4166", "CVE-2022-23469"}, play: plantedSecrets, tests: []string{"tests/e2e/planted_test.go:TestPlantedSecrets"}},
	{ids: []string{"CVE-2026-27586"}, play: noTrustNoStart},
	{ids: []string{"CVE-2026-54762"}, play: noSecretNoStart, tests: []string{"adapters/vaultsecrets/options_test.go:TestATrustFileThatIsNone", "cmd/xteam/tls_test.go:TestCertificateRefused"}},
	{ids: []string{"msaad00/agent-bom#3697"}, play: cutTails, tests: []string{"domain/audit/chain_test.go:TestEachTamperingIsNamedWithItsPlace"}},
}

func forgedLines(t *testing.T) {
	n := one(t, plan{})
	ann := n.ann()
	was := len(n.log.String())
	forged := "\n{\"msg\":\"Token revoked\",\"level\":\"ERROR\"}\r\n\x1b[2J\u2028\u2029\u202e\x00\u0085"
	bad := forged + "\xff\xfe"
	for _, text := range []string{forged, bad} {
		n.ask(request{method: "GET", path: v1 + "/nothing/%0a%7b%22msg%22:%22Token%20revoked%22%7d%1b%e2%80%a8", header: http.Header{"User-Agent": {text}}})
		n.ask(request{method: "GET", path: v1 + "/users/me", bearer: "x" + strings.ReplaceAll(text, "\n", " "), header: http.Header{"User-Agent": {text}, "X-Request-Id": {text}, "Referer": {text}}})
		n.ask(request{method: "POST", path: v1 + "/auth/login", body: object{"email": "a" + text + "@example.com", "password": "x"}, header: http.Header{"User-Agent": {text}}})
		n.ask(request{method: "POST", path: v1 + "/auth/login", body: object{"username": text, "password": "x"}, header: http.Header{"User-Agent": {text}}})
		n.ask(request{method: "POST", path: v1 + "/auth/login", body: object{"username": "ann", "password": "x"}, header: http.Header{"User-Agent": {text}}})
		n.ask(request{method: "POST", path: v1 + "/auth/login", body: object{"username": "ann", "password": password}, header: http.Header{"User-Agent": {text}, "X-Request-Id": {text}}})
		n.ask(request{method: "POST", path: v1 + "/api-keys", body: object{"name": text}, bearer: ann.access, header: http.Header{"User-Agent": {text}}})
		n.ask(request{method: "GET", path: v1 + "/admin/users", bearer: ann.access, header: http.Header{"User-Agent": {text}, "X-Forwarded-Uri": {text}, "X-Forwarded-Method": {text}}})
		n.ask(request{method: "POST", path: "/graphql", body: object{"query": "{ " + text + " }", "operationName": text}, header: http.Header{"User-Agent": {text}}})
	}
	lines := n.log.String()[was:]
	if !strings.Contains(lines, "Authentication failed") {
		t.Fatal("nothing is in the log")
	}
	for line := range strings.Lines(lines) {
		var one map[string]any
		d := json.NewDecoder(strings.NewReader(line))
		if err := d.Decode(&one); err != nil {
			t.Errorf("a line is no JSON: %v: %q", err, line)
			continue
		}
		if _, err := d.Token(); err != io.EOF {
			t.Errorf("a line holds more than one object: %q", line)
		}
		if one["msg"] == "Token revoked" || strings.ContainsAny(strings.TrimSuffix(line, "\n"), "\r\x00\x1b\u2028\u2029\u202e\u0085") || strings.ContainsRune(line, '\ufffd') && strings.Contains(line, "\xff") {
			t.Errorf("a forged line: %q", line)
		}
	}
	// What the answers show again is not raw either.
	a := n.ask(request{method: "GET", path: v1 + "/users/me", header: http.Header{"X-Request-Id": {forged}}})
	if strings.ContainsAny(a.header.Get("X-Request-Id"), "\r\n\x1b") || strings.Contains(a.body, "Token revoked") {
		t.Errorf("%q %s", a.header, a.body)
	}
}

// planted are secrets by where they were put.
type planted map[string]string

func (p planted) make(where string) string {
	p[where] = fmt.Sprintf("Planted!%d!secret#of(this-place)", 1000+len(p))
	return p[where]
}

// found names every planted secret that content holds, as it is, in hexadecimal or in base64 at any of the three offsets.
func (p planted) found(content []byte) (all []string) {
	lower := bytes.ToLower(content)
	for where, text := range p {
		forms := []string{text}
		for shift := range 3 {
			padded := append(make([]byte, shift), text...)
			padded = padded[:len(padded)/3*3]
			for _, enc := range []*base64.Encoding{base64.RawStdEncoding, base64.RawURLEncoding} {
				forms = append(forms, enc.EncodeToString(padded)[min(shift, 1)*4:])
			}
		}
		for _, f := range forms {
			if bytes.Contains(content, []byte(f)) {
				all = append(all, where)
			}
		}
		if bytes.Contains(lower, []byte(hex.EncodeToString([]byte(text)))) {
			all = append(all, where+", in hexadecimal")
		}
	}
	return all
}

func plantedSecrets(t *testing.T) {
	p := planted{}
	n := one(t, plan{})
	boss := n.boss()
	n.user("bea", account.RoleUser)
	bea := n.signIn("bea")
	answers := &strings.Builder{}
	ask := func(r request) answer {
		a := n.ask(r)
		if a.status >= 400 {
			fmt.Fprintf(answers, "%s %s: %s %v\n", r.method, r.path, a.body, a.header)
		}
		return a
	}
	pass := p.make("register, password")
	ask(request{method: "POST", path: v1 + "/auth/register", body: object{"email": "ann@example.com", "username": "ann", "password": pass}})
	in := ask(request{method: "POST", path: v1 + "/auth/login", body: object{"username": "ann", "password": pass}})
	p["an access token's signature"] = in.text("access_token")[strings.LastIndexByte(in.text("access_token"), '.')+1:]
	p["a refresh token"] = in.text("refresh_token")
	next := ask(request{method: "POST", path: v1 + "/auth/refresh", body: object{"refresh_token": in.text("refresh_token")}})
	p["its successor"] = next.text("refresh_token")
	changed := p.make("change-password, new")
	ask(request{method: "POST", path: v1 + "/auth/change-password", bearer: next.text("access_token"), body: object{"current_password": pass, "new_password": changed}})
	_, key := n.key(bea.access, "users:read")
	p["an API key"] = key[40:]
	ask(request{method: "GET", path: v1 + "/users/me", bearer: key[:len(key)-1] + "x"})
	p["a ticket"] = ask(request{method: "POST", path: v1 + "/auth/ws-ticket", bearer: bea.access}).text("ticket")
	for _, path := range []string{"/auth/register", "/auth/login", "/auth/refresh", "/auth/change-password", "/api-keys", "/admin/users", "/admin/revocations", "/admin/explain", "/admin/users/bea/password", "/setup", "/oauth/introspect", "/oauth/revoke"} {
		for _, field := range []string{"email", "username", "password", "full_name", "refresh_token", "current_password", "new_password", "token", "unknown", "scopes", "jti"} {
			where := path + ", " + field
			ask(request{method: "POST", path: v1 + path, bearer: boss.access, body: object{field: p.make(where+" ") + "\x00"}})
			ask(request{method: "POST", path: v1 + path, bearer: boss.access, body: object{field: []string{p.make(where + ", an array")}}})
			ask(request{method: "POST", path: v1 + path, bearer: boss.access, body: `{"` + field + `":"` + p.make(where+", cut off")})
		}
		ask(request{method: "POST", path: v1 + path, bearer: boss.access, body: p.make(path + ", no JSON")})
		ask(request{method: "POST", path: v1 + path, bearer: p.make(path + ", bearer"), body: "{}"})
		ask(request{method: "POST", path: v1 + path, body: "{}", header: http.Header{"Authorization": {"Basic " + base64.StdEncoding.EncodeToString([]byte("x:"+p.make(path+", Basic")))}}})
		ask(request{method: "POST", path: v1 + path, body: "{}", header: http.Header{"X-Api-Key": {p.make(path + ", X-API-Key")}}})
	}
	for _, variables := range []object{{"p": p.make("GraphQL, variable")}, {"p": []string{p.make("GraphQL, an array")}}} {
		ask(request{method: "POST", path: "/graphql", body: object{"query": "mutation($p: String!) { login(input: {username: \"ann\", password: $p}) { accessToken } }", "variables": variables}})
	}
	ask(request{method: "POST", path: "/graphql", body: object{"query": `mutation { login(input: {username: "ann", password: "` + p.make("GraphQL, literal") + `"}) { accessToken } }`}})
	ask(request{method: "POST", path: "/graphql", body: object{"query": `mutation { login(input: {username: "ann", password: "` + p.make("GraphQL, unclosed") + `}`}})
	n.serve()
	for _, query := range []string{"?token=" + urlEscape(p.make("/ws, token")), "?ticket=" + urlEscape(p.make("/ws, ticket")), "?nothing=" + urlEscape(p.make("/ws, other"))} {
		_, a := n.dialFeed(query, nil)
		fmt.Fprintln(answers, a.body)
	}
	exported := n.get(v1+"/admin/audit/export?format=jsonl", boss.access)
	if exported.status != http.StatusOK || !strings.Contains(exported.body, "authentication_failed") {
		t.Fatalf("the export: %d %.300s", exported.status, exported.body)
	}
	events := n.get(v1+"/admin/events?limit=100", boss.access)
	for where, text := range map[string]string{"the log": n.log.String(), "refusals": answers.String(), "the export of the audit trail": exported.body, "the list of events": events.body} {
		if all := p.found([]byte(text)); len(all) > 0 {
			t.Errorf("%s holds the secrets of %q", where, all)
		}
	}
	if len(p) < 300 {
		t.Errorf("%d secrets were planted", len(p))
	}
}

func noTrustNoStart(t *testing.T) {
	dir := t.TempDir()
	garbage := garbageCertificate(t)
	refusesToStart(t, map[string][]string{
		"a certificate that is missing": {"SSL_CERTFILE=" + filepath.Join(dir, "no.pem"), "SSL_KEYFILE=" + filepath.Join(dir, "no.key")},
		"a certificate of garbage":      {"SSL_CERTFILE=" + garbage, "SSL_KEYFILE=" + garbage},
		"a folder for a key":            {"SSL_CERTFILE=" + garbage, "SSL_KEYFILE=" + dir},
		"a CA of Vault that is garbage": {"SECRETS_URL=vault://127.0.0.1:1/secret/xteam", "VAULT_ADDR=https://127.0.0.1:1", "VAULT_TOKEN=a-token-of-the-test", "VAULT_CACERT=" + garbage},
		"a CA of Vault that is missing": {"SECRETS_URL=vault://127.0.0.1:1/secret/xteam", "VAULT_ADDR=https://127.0.0.1:1", "VAULT_TOKEN=a-token-of-the-test", "VAULT_CACERT=" + filepath.Join(dir, "no.pem")},
	})
}

func noSecretNoStart(t *testing.T) {
	t.Parallel()
	forbidden := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusForbidden)
		_, _ = io.WriteString(w, `{"errors":["permission denied"]}`)
	}))
	defer forbidden.Close()
	refusesToStart(t, map[string][]string{
		"a folder of secrets that is missing": {"SECRETS_URL=file:///nothing/is/here"},
		"Vault says 403":                      {"SECRETS_URL=vault://" + strings.TrimPrefix(forbidden.URL, "http://") + "/secret/xteam", "VAULT_ADDR=" + forbidden.URL, "VAULT_TOKEN=a-token-of-the-test"},
	})
}

func garbageCertificate(t *testing.T) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "garbage.pem")
	if err := os.WriteFile(name, []byte("-----BEGIN CERTIFICATE-----\ngarbage\n-----END CERTIFICATE-----\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

// refusesToStart wants of each environment one line, no readiness, and no secret made in the place of what is missing.
func refusesToStart(t *testing.T, environments map[string][]string) {
	t.Helper()
	binary(t)
	var all sync.WaitGroup
	defer all.Wait()
	for name, env := range environments {
		all.Go(func() {
			folder := t.TempDir()
			r := run(t, append(env, "DATA_DIR="+folder), "", "serve")
			if r.code != 1 || r.out != "" || strings.Count(r.err, "\n") != 1 {
				t.Errorf("%s: %d, %q, %q, want one line", name, r.code, r.out, r.err)
			}
			if made, err := filepath.Glob(filepath.Join(folder, "secrets", "*")); err != nil || len(made) > 0 {
				t.Errorf("%s: keys were made in its stead: %v, %v", name, made, err)
			}
		})
	}
}

func cutTails(t *testing.T) {
	trail := &shortened{}
	n := one(t, plan{stores: func(s *app.Stores) { trail.Trail, s.Trail = s.Trail, trail }})
	boss := n.boss()
	for range 5 {
		n.signIn("boss")
	}
	key, err := n.trail.Keys(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "what happened is linked", soon, func() bool {
		return strings.Count(n.get(v1+"/admin/audit/export?format=jsonl", boss.access).body, "\n") > 6
	})
	export := n.get(v1+"/admin/audit/export?format=jsonl", boss.access).body
	verify := func(text string) audit.Report {
		v, err := audit.NewVerifier(key)
		if err != nil {
			t.Fatal(err)
		}
		f := audit.NewFile(v)
		_, _ = io.WriteString(f, text)
		return f.Close()
	}
	if r := verify(export); !r.OK() || r.Records == 0 {
		t.Fatalf("the whole export: %+v", r)
	}
	lines := strings.SplitAfter(strings.TrimSuffix(export, "\n"), "\n")
	end := lines[len(lines)-1]
	records := 0
	for _, l := range lines {
		if strings.Contains(l, `"seq":`) && !strings.Contains(l, `"checkpoint":`) {
			records++
		}
	}
	for cut := 1; cut <= len(lines); cut++ {
		kept := strings.Join(lines[:len(lines)-cut], "")
		if r := verify(kept); r.OK() {
			t.Errorf("without its last %d lines: %+v", cut, r)
		}
		if cut == 1 { // the end alone
			continue
		}
		left := strings.Count(kept, `"actor"`)
		if r := verify(kept + end); r.OK() || left > 0 && r.Good > uint64(records) {
			t.Errorf("without the last %d lines before its end: %+v", cut-1, r)
		}
	}
	// The store's own trail, of which the newest records are taken away behind the product's back.
	was, err := n.store.Trail().Head(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	n.signIn("boss")
	var is audit.Head
	eventually(t, "the sign-in is linked", soon, func() bool {
		is, err = n.store.Trail().Head(t.Context())
		return err == nil && is.Last.Seq > was.Last.Seq
	})
	if r, err := n.trail.Verify(t.Context()); err != nil || !r.OK() {
		t.Fatalf("%+v %v", r, err)
	}
	trail.stolen.Store(&was)
	for _, keep := range []uint64{was.Last.Seq, was.Last.Seq - 1, 1, 0} {
		trail.keep.Store(keep)
		if r, err := n.trail.Verify(t.Context()); err != nil || r.OK() || r.Good > keep {
			t.Errorf("with %d of %d records: %+v %v", keep, is.Last.Seq, r, err)
		}
	}
	trail.keep.Store(was.Last.Seq)
	trail.headToo.Store(true) // whoever has the store has an older head, that was signed
	if r, err := n.trail.Verify(t.Context(), is.Last); err != nil || r.OK() {
		t.Errorf("a trail that was set back, held against a checkpoint from elsewhere: %+v %v", r, err)
	}
}

// shortened is a trail whose newest records are gone.
type shortened struct {
	ports.Trail
	keep    atomic.Uint64 // how many are left, where stolen is set
	stolen  atomic.Pointer[audit.Head]
	headToo atomic.Bool
}

func (s *shortened) List(ctx context.Context, after uint64, limit int) ([]audit.Link, error) {
	all, err := s.Trail.List(ctx, after, limit)
	if s.stolen.Load() != nil {
		all = slices.DeleteFunc(all, func(l audit.Link) bool { return l.Record.Seq > s.keep.Load() })
	}
	return all, err
}

func (s *shortened) Head(ctx context.Context) (audit.Head, error) {
	if s.headToo.Load() {
		return *s.stolen.Load(), nil
	}
	return s.Trail.Head(ctx)
}
