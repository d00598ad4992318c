package e2e_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
)

// vault is a Vault server of the test's own, in memory.
type vault struct {
	t    *testing.T
	host string
}

// startVault starts the server that `make test-vault` names. Without the name the test is skipped; a name of what is not there fails.
func startVault(t *testing.T) *vault {
	t.Helper()
	path := os.Getenv("XTEAM_TEST_VAULT")
	if path == "" {
		t.Skip("needs a real Vault server, which make test-vault builds and names in XTEAM_TEST_VAULT")
	}
	v := &vault{t, freeAddr(t)}
	cmd := exec.Command(path, "server", "-dev", "-dev-root-token-id=root", "-dev-listen-address="+v.host, "-dev-no-store-token")
	cmd.Env, cmd.Dir = []string{"HOME=" + t.TempDir(), "PATH=" + os.Getenv("PATH")}, t.TempDir()
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	until(t, "Vault answers and has its secrets mounted", func() bool {
		status, _ := v.ask(http.MethodPut, "secret/data/probe", object{"data": object{"k": "v"}})
		return status == http.StatusOK
	})
	return v
}

// ask calls Vault as root; 0 is no answer.
func (v *vault) ask(method, path string, body any) (int, map[string]any) {
	v.t.Helper()
	text, err := json.Marshal(body)
	if err != nil {
		v.t.Fatal(err)
	}
	req, err := http.NewRequest(method, "http://"+v.host+"/v1/"+path, bytes.NewReader(text))
	if err != nil {
		v.t.Fatal(err)
	}
	req.Header.Set("X-Vault-Token", "root")
	res, err := client.Do(req)
	if err != nil {
		return 0, nil
	}
	defer res.Body.Close()
	raw, _ := io.ReadAll(res.Body)
	var out struct {
		Data map[string]any `json:"data"`
	}
	_ = json.Unmarshal(raw, &out) // not every answer has a body
	return res.StatusCode, out.Data
}

func (v *vault) must(method, path string, body any) map[string]any {
	v.t.Helper()
	status, data := v.ask(method, path, body)
	if status >= 300 || status == 0 {
		v.t.Fatalf("Vault: %s %s: %d %v", method, path, status, data)
	}
	return data
}

// The service takes its secrets from Vault by AppRole; another version of SECRET_KEY moves signing and verifying without a restart and without a good token refused;
// while Vault is sealed the service goes on and says so; killed meanwhile it does not start, and says why.
func TestRealVaultRotatesASecret(t *testing.T) {
	v := startVault(t)
	v.must(http.MethodPost, "sys/policies/acl/xteam", object{"policy": `path "secret/data/xteam" { capabilities = ["read"] }
path "secret/metadata/xteam" { capabilities = ["read"] }`})
	v.must(http.MethodPost, "sys/auth/approle", object{"type": "approle"})
	v.must(http.MethodPost, "auth/approle/role/xteam", object{"token_policies": "xteam", "token_ttl": "1h"})
	role := v.must(http.MethodGet, "auth/approle/role/xteam/role-id", object{})["role_id"]
	secretID := v.must(http.MethodPost, "auth/approle/role/xteam/secret-id", object{})["secret_id"]
	write := func(signing string) {
		v.must(http.MethodPut, "secret/data/xteam", object{"data": object{"SECRET_KEY": signing, "ROOT_KEY": "the-root-key-of-a-test-0123456789abcdef"}})
	}
	write("the-first-signing-key-0123456789abcdef")

	env := environ(t.TempDir(), "SECRETS_URL=vault://"+v.host+"/secret/xteam", "VAULT_ADDR=http://"+v.host,
		fmt.Sprintf("VAULT_ROLE_ID=%v", role), fmt.Sprintf("VAULT_SECRET_ID=%v", secretID))
	admin(t, env)
	s := serve(t, env)
	first := s.signIn("admin@example.com")
	before := kid(t, first.Access)

	write("the-second-signing-key-0123456789abcdef")
	if err := s.cmd.Process.Signal(syscall.SIGHUP); err != nil { // or it would notice by itself, ten seconds later
		t.Fatal(err)
	}
	var second answer
	until(t, "the next version signs", func() bool {
		second = s.signIn("admin@example.com")
		s.want(http.StatusOK, http.MethodGet, me, first.Access, nil)
		s.want(http.StatusOK, http.MethodGet, me, second.Access, nil)
		return kid(t, second.Access) != before
	})
	keys := signingKeys(t, env)
	if len(keys) != 2 || keys[0].State != "primary" || keys[0].KID == before || keys[1].State != "retiring" || keys[1].KID != before {
		t.Errorf("the keys are %+v", keys)
	}

	v.must(http.MethodPost, "sys/seal", object{})
	if err := s.cmd.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	until(t, "/readyz says that the secrets cannot be read", func() bool {
		got := s.want(http.StatusOK, http.MethodGet, "/readyz", "", nil)
		return strings.Contains(got.Text, `"secrets":{"status":"degraded"`) && strings.Contains(got.Text, `"age_ms"`)
	})
	s.want(http.StatusOK, http.MethodGet, me, first.Access, nil)
	s.want(http.StatusOK, http.MethodGet, me, s.signIn("admin@example.com").Access, nil)
	if n := strings.Count(s.log.String(), "The secrets could not be read"); n != 1 {
		t.Errorf("the log says %d times that the secrets cannot be read, want once", n)
	}

	_ = s.end(syscall.SIGKILL)
	r := xteam(t, env, "", "serve")
	if r.code != 1 || strings.Count(r.err, "\n") != 1 || !strings.Contains(r.err, "sealed") || strings.Contains(r.err, fmt.Sprint(secretID)) {
		t.Errorf("a start while Vault is sealed ended with %d: %s", r.code, r.err)
	}
	for _, planted := range []string{"signing-key-0123456789", "root-key-of-a-test", fmt.Sprint(secretID)} {
		if strings.Contains(s.log.String()+r.err, planted) {
			t.Errorf("the log tells %q", planted)
		}
	}
}
