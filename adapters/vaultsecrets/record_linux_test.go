package vaultsecrets_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestRealAnswersAreThoseThatAreReplayed makes a real server give every answer that the everyday tests replay, and holds it against testdata. With
// XTEAM_TEST_RECORD=1 it writes them there.
func TestRealAnswersAreThoseThatAreReplayed(t *testing.T) {
	v := startDev(t)
	v.call(t, "POST", "sys/auth/approle", map[string]any{"type": "approle"})
	v.call(t, "PUT", "sys/policies/acl/reader", map[string]any{"policy": `path "secret/data/*" { capabilities = ["read"] }`})
	v.call(t, "PUT", "sys/policies/acl/none", map[string]any{"policy": `path "other" { capabilities = ["read"] }`})
	v.put(t, "xteam", map[string]any{"SECRET_KEY": "recorded-key-of-version-1", "ROOT_KEY": "recorded-root-key"})
	v.put(t, "xteam", map[string]any{"SECRET_KEY": "recorded-key-of-version-2", "ROOT_KEY": "recorded-root-key"})
	v.put(t, "xteam", map[string]any{"SECRET_KEY": "recorded-key-of-version-3", "ROOT_KEY": "recorded-root-key", "EMPTY": "", "NUMBER": 5, "LIST": []string{"planted"}, "NULL": nil,
		"LINE_END": "planted\n", "TWO_LINES": "planted\nplanted", "NUL": "planted\x00planted", "PLANTED_PREVIOUS": "recorded-own"})
	v.call(t, "POST", "secret/delete/xteam", map[string]any{"versions": []int{2}})
	o := v.appRole(t, "recorded", map[string]any{"token_policies": "reader", "token_ttl": "60s", "token_max_ttl": "600s"})
	created := func(body map[string]any) string {
		return v.call(t, "POST", "auth/token/create", body)["auth"].(map[string]any)["client_token"].(string)
	}
	reader := created(map[string]any{"policies": []string{"reader"}, "ttl": "60s"})

	record := func(name string, status int, text []byte) { record(t, name, status, text) }
	ask := func(name, token, method, path string, body map[string]any) {
		t.Helper()
		status, text := v.as(token, method, path, body)
		record(name, status, text)
	}
	login := map[string]any{"role_id": o.RoleID, "secret_id": o.SecretID.RevealPlaintext()}
	ask("current", reader, "GET", "secret/data/xteam", nil)
	ask("version-1", reader, "GET", "secret/data/xteam?version=1", nil)
	ask("version-2-deleted", reader, "GET", "secret/data/xteam?version=2", nil)
	ask("no-version", reader, "GET", "secret/data/xteam?version=9", nil)
	ask("no-secret", reader, "GET", "secret/data/none", nil)
	ask("no-engine", v.token, "GET", "nowhere/data/xteam", nil)
	ask("unknown-token", "hvs.unknown", "GET", "secret/data/xteam", nil)
	ask("denied", created(map[string]any{"policies": []string{"none"}}), "GET", "secret/data/xteam", nil)
	ask("look-up", reader, "GET", "auth/token/lookup-self", nil)
	ask("login", "", "PUT", "auth/approle/login", login)
	ask("renewed", reader, "PUT", "auth/token/renew-self", map[string]any{})
	ask("login-refused", "", "PUT", "auth/approle/login", map[string]any{"role_id": o.RoleID, "secret_id": "wrong"})
	ask("no-method", "", "PUT", "auth/nowhere/login", login)
	ask("revoked", reader, "PUT", "auth/token/revoke-self", map[string]any{})
	v.call(t, "DELETE", "secret/data/xteam", nil)
	ask("current-deleted", v.token, "GET", "secret/data/xteam", nil)
	v.call(t, "POST", "secret/destroy/xteam", map[string]any{"versions": []int{3}})
	ask("current-destroyed", v.token, "GET", "secret/data/xteam", nil)
	const health = "sys/health?drsecondarycode=299&haunhealthycode=299&performancestandbycode=299&removedcode=299&sealedcode=299&standbycode=299&uninitcode=299"
	v.call(t, "PUT", "sys/seal", map[string]any{})
	ask("sealed", "root", "GET", "secret/data/xteam", nil)
	ask("health-sealed", "", "GET", health, nil)

	v = startDurable(t, newCertificate(t))
	ask("not-initialised", "hvs.any", "GET", "secret/data/xteam", nil)
	ask("health-not-initialised", "", "GET", health, nil)
}

// volatile are the parts of an answer that differ each time, and the token, which no file should hold, with what stands for them.
var volatile = map[string]string{
	"request_id": "00000000-0000-0000-0000-000000000000", "created_time": "2026-01-01T00:00:00Z", "deletion_time": "2026-01-01T00:00:00Z", "client_token": "recorded-token",
	"accessor": "recorded-accessor", "entity_id": "recorded-entity", "id": "recorded-token", "expire_time": "2026-01-01T00:00:00Z", "issue_time": "2026-01-01T00:00:00Z",
	"cluster_name": "recorded", "cluster_id": "recorded",
}

var counted = map[string]bool{"creation_time": true, "server_time_utc": true, "ttl": true, "echo_duration_ms": true}

func record(t *testing.T, name string, status int, text []byte) {
	t.Helper()
	var b bytes.Buffer
	_, _ = fmt.Fprintf(&b, "%d application/json\n", status)
	if len(text) > 0 {
		var v any
		d := json.NewDecoder(bytes.NewReader(text))
		d.UseNumber()
		ok(t, d.Decode(&v))
		still(v)
		e := json.NewEncoder(&b)
		e.SetIndent("", "  ")
		e.SetEscapeHTML(false)
		ok(t, e.Encode(v))
	}
	got := b.String()
	if regexp.MustCompile(`hv[sbr]\.[A-Za-z0-9]{20}`).MatchString(got) {
		t.Errorf("%s holds a token", name)
	}
	file := filepath.Join("testdata", name+".txt")
	if os.Getenv("XTEAM_TEST_RECORD") == "1" {
		ok(t, os.WriteFile(file, []byte(got), 0o600))
		return
	}
	want, err := os.ReadFile(file)
	ok(t, err)
	if got != string(want) {
		t.Errorf("%s: Vault answers\n%s\nand what is replayed is\n%s", name, got, want)
	}
}

// still puts what stands for them in the place of the parts that differ each time.
func still(v any) {
	switch v := v.(type) {
	case map[string]any:
		for key, value := range v {
			if text, is := value.(string); is && text != "" && volatile[key] != "" {
				v[key] = volatile[key]
			} else if _, is := value.(json.Number); is && counted[key] {
				v[key] = json.Number("50")
			} else if strings.HasSuffix(key, "duration") && fmt.Sprint(value) != "0" {
				v[key] = json.Number("60")
			}
			still(v[key])
		}
	case []any:
		for _, value := range v {
			still(value)
		}
	}
}
