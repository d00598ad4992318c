package vaultsecrets_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/xteam/xteam/adapters/vaultsecrets"
	"github.com/xteam/xteam/domain/secret"
	"github.com/xteam/xteam/ports"
	"github.com/xteam/xteam/ports/porttest"
)

// TestRealVault holds the adapter against a real server in memory.
func TestRealVault(t *testing.T) {
	v := startDev(t)
	v.call(t, "POST", "sys/auth/approle", map[string]any{"type": "approle"})
	v.call(t, "PUT", "sys/policies/acl/reader", map[string]any{"policy": `path "secret/data/*" { capabilities = ["read"] }`})

	t.Run("the conformance suite", func(t *testing.T) {
		made := 0
		porttest.Secrets(t, func(t testing.TB) (ports.Secrets, func(name, value string)) {
			made++
			place, fields := fmt.Sprintf("conformance/%d", made), map[string]any{"UNRELATED": "planted-value"}
			v.put(t, place, fields)
			return open(t, vaultsecrets.Options{Address: v.address, Mount: "secret", Path: place, Token: secret.New("root")}), func(name, value string) {
				fields[name] = value
				v.put(t, place, fields)
			}
		})
	})

	t.Run("versions", func(t *testing.T) {
		v.put(t, "versions", map[string]any{"SECRET_KEY": "one", "OTHER": "x"})
		s := open(t, vaultsecrets.Options{Address: v.address, Mount: "secret", Path: "versions", Token: secret.New("root")})
		wants(t, s, "SECRET_KEY", "one")
		wantsNone(t, s, "SECRET_KEY_PREVIOUS")
		v.put(t, "versions", map[string]any{"SECRET_KEY": "two", "OTHER": "x"})
		wants(t, s, "SECRET_KEY", "two")
		wants(t, s, "SECRET_KEY_PREVIOUS", "one")
		wantsNone(t, s, "OTHER_PREVIOUS")
		v.put(t, "versions", map[string]any{"SECRET_KEY": "two", "OTHER": "y"})
		wants(t, s, "SECRET_KEY_PREVIOUS", "one") // two versions before
		v.put(t, "versions", map[string]any{"SECRET_KEY": "three\n"})
		wantsNoUse(t, s, "SECRET_KEY", "ends with a line end")
		v.put(t, "versions", map[string]any{"SECRET_KEY": "four"})
		wants(t, s, "SECRET_KEY_PREVIOUS", "two") // what could not be used is passed over
		v.call(t, "POST", "secret/delete/versions", map[string]any{"versions": []int{3}})
		wants(t, s, "SECRET_KEY_PREVIOUS", "two") // from version 2
		v.call(t, "POST", "secret/destroy/versions", map[string]any{"versions": []int{2}})
		wants(t, s, "SECRET_KEY_PREVIOUS", "one")
		v.call(t, "POST", "secret/delete/versions", map[string]any{"versions": []int{1}})
		wantsNone(t, s, "SECRET_KEY_PREVIOUS")
		v.call(t, "POST", "secret/undelete/versions", map[string]any{"versions": []int{1}})
		wants(t, s, "SECRET_KEY_PREVIOUS", "one")
		v.put(t, "versions", map[string]any{"SECRET_KEY": "five", "SECRET_KEY_PREVIOUS": ""})
		wantsNone(t, s, "SECRET_KEY_PREVIOUS") // an empty field ends it
		v.put(t, "versions", map[string]any{"SECRET_KEY": "five", "SECRET_KEY_PREVIOUS": "given"})
		wants(t, s, "SECRET_KEY_PREVIOUS", "given")
		v.put(t, "versions", map[string]any{"ROOT_KEY": "x"})
		wantsNone(t, s, "SECRET_KEY_PREVIOUS") // what is no longer there has none
	})

	t.Run("a current version that is deleted or destroyed, and a secret that is gone", func(t *testing.T) {
		v.put(t, "gone", map[string]any{"SECRET_KEY": "one"})
		v.put(t, "gone", map[string]any{"SECRET_KEY": "two"})
		o := vaultsecrets.Options{Address: v.address, Mount: "secret", Path: "gone", Token: secret.New("root")}
		s := open(t, o)
		v.call(t, "DELETE", "secret/data/gone", nil)
		wantsNoUse(t, s, "SECRET_KEY", "is deleted in its current version, 2: undelete it")
		wantsNoUse(t, s, "SECRET_KEY_PREVIOUS", "is deleted")
		refuses(t, o, "is deleted in its current version, 2")
		v.call(t, "POST", "secret/undelete/gone", map[string]any{"versions": []int{2}})
		wants(t, s, "SECRET_KEY", "two")
		v.call(t, "POST", "secret/destroy/gone", map[string]any{"versions": []int{2}})
		wantsNoUse(t, s, "SECRET_KEY", "is destroyed in its current version, 2: write a new one")
		v.put(t, "gone", map[string]any{"SECRET_KEY": "three"})
		wants(t, s, "SECRET_KEY", "three")
		v.call(t, "DELETE", "secret/metadata/gone", nil)
		wantsNoUse(t, s, "SECRET_KEY", "there is no secret: write it")
	})

	t.Run("what cannot be read from the start", func(t *testing.T) {
		v.put(t, "here", map[string]any{"SECRET_KEY": "one"})
		v.call(t, "POST", "sys/mounts/old", map[string]any{"type": "kv", "options": map[string]any{"version": "1"}})
		v.call(t, "POST", "old/data/here", map[string]any{"SECRET_KEY": "planted-value"})
		v.call(t, "PUT", "sys/policies/acl/none", map[string]any{"policy": `path "other/*" { capabilities = ["read"] }`})
		denied := v.call(t, "POST", "auth/token/create", map[string]any{"policies": []string{"none"}})["auth"].(map[string]any)["client_token"].(string)
		bare := v.call(t, "POST", "auth/token/create", map[string]any{"policies": []string{"reader"}, "no_default_policy": true})["auth"].(map[string]any)["client_token"].(string)
		at := func(mount, path, token string) vaultsecrets.Options {
			return vaultsecrets.Options{Address: v.address, Mount: mount, Path: path, Token: secret.New(token)}
		}
		refuses(t, at("secret", "none", "root"), v.address+", secret/none: there is no secret")
		refuses(t, at("nowhere", "here", "root"), "there is no secrets engine at nowhere/")
		refuses(t, at("old", "here", "root"), "is not what the KV engine, version 2, answers")
		refuses(t, at("secret", "here", "hvs.no-such-token"), "secret/here does not know the token (403)")
		refuses(t, at("secret", "here", denied), "does not let the token read (403)", "path secret/data/here")
		s := open(t, at("secret", "here", bare)) // may not even look itself up
		wants(t, s, "SECRET_KEY", "one")
		refuses(t, vaultsecrets.Options{Address: v.address, Mount: "secret", Path: "here", RoleID: "planted-role", SecretID: secret.New("planted-id")},
			"refuses the AppRole login at auth/approle (400): invalid role or secret ID: see VAULT_ROLE_ID and VAULT_SECRET_ID")
		refuses(t, vaultsecrets.Options{Address: v.address, Mount: "secret", Path: "here", RoleID: "a", SecretID: secret.New("planted-id"), AppRoleMount: "nowhere"},
			"refuses the AppRole login at auth/nowhere (403)")
		refuses(t, vaultsecrets.Options{Address: strings.Replace(v.address, "http:", "https:", 1), Mount: "secret", Path: "here", Token: secret.New("planted")},
			"does not speak TLS: if that is meant, write http in VAULT_ADDR")
	})

	t.Run("a policy that is taken away and given back", func(t *testing.T) {
		v.put(t, "policy", map[string]any{"SECRET_KEY": "one"})
		const allowed = `path "secret/data/policy" { capabilities = ["read"] }`
		v.call(t, "PUT", "sys/policies/acl/changing", map[string]any{"policy": allowed})
		o := v.appRole(t, "changing", map[string]any{"token_policies": "changing"})
		o.Path = "policy"
		s := open(t, o)
		v.call(t, "PUT", "sys/policies/acl/changing", map[string]any{"policy": `path "other" { capabilities = ["read"] }`})
		wantsNoUse(t, s, "SECRET_KEY", "does not let the token of this login read (403): let a policy of it read the path secret/data/policy")
		before := v.logins(t)
		for range 20 {
			wantsNoUse(t, s, "SECRET_KEY", "(403)")
		}
		if n := v.logins(t) - before; n > 1 {
			t.Errorf("20 denials made %d logins", n)
		}
		v.call(t, "PUT", "sys/policies/acl/changing", map[string]any{"policy": allowed})
		wants(t, s, "SECRET_KEY", "one")
	})

	t.Run("AppRole: renewal, and another login after the greatest life", func(t *testing.T) {
		v.put(t, "short", map[string]any{"SECRET_KEY": "one"})
		o := v.appRole(t, "short", map[string]any{"token_policies": "reader", "token_ttl": "2s", "token_max_ttl": "5s"})
		o.Path = "short"
		logins := countLogins(&o)
		s := open(t, o)
		deadline := time.Now().Add(9 * time.Second)
		eventually(func() bool {
			wants(t, s, "SECRET_KEY", "one")
			return t.Failed() || time.Now().After(deadline)
		})
		// Nine seconds are 4.5 lives of two seconds, or 1.8 of five: with renewals there are two or three logins, without them seven.
		if n := logins.Load(); n < 2 || n > 4 {
			t.Errorf("%d logins in nine seconds of tokens that last 2 s and are renewed for 5 s", n)
		}
	})

	t.Run("AppRole: a token that is revoked", func(t *testing.T) {
		v.put(t, "revoked", map[string]any{"SECRET_KEY": "one"})
		o := v.appRole(t, "revoked", map[string]any{"token_policies": "reader"})
		o.Path = "revoked"
		s := open(t, o)
		for range 3 { // at once: a login that helped is followed by no pause
			v.call(t, "PUT", "sys/leases/revoke-prefix/auth/approle/login", map[string]any{})
			before := v.logins(t)
			together(t, 16, func() { wants(t, s, "SECRET_KEY", "one") })
			if n := v.logins(t) - before; n != 1 {
				t.Errorf("16 callers with a revoked token made %d logins, want 1", n)
			}
		}
	})

	t.Run("AppRole: a token that expired while nobody asked", func(t *testing.T) {
		v.put(t, "expired", map[string]any{"SECRET_KEY": "one"})
		o := v.appRole(t, "expired", map[string]any{"token_policies": "reader", "token_ttl": "1s"})
		o.Path = "expired"
		logins := countLogins(&o)
		before := v.logins(t)
		s := open(t, o)
		if !eventually(func() bool { return v.logins(t) == before }) {
			t.Fatal("a token of 1 s lasts for 20")
		}
		wants(t, s, "SECRET_KEY", "one")
		if logins.Load() != 2 {
			t.Errorf("%d logins, want 2", logins.Load())
		}
	})

	t.Run("Close gives back the token of a login", func(t *testing.T) {
		v.put(t, "closed", map[string]any{"SECRET_KEY": "one"})
		o := v.appRole(t, "closed", map[string]any{"token_policies": "reader"})
		o.Path = "closed"
		before := v.logins(t)
		s := open(t, o)
		if n := v.logins(t) - before; n != 1 {
			t.Fatalf("%d tokens after a login", n)
		}
		s.Close()
		if n := v.logins(t) - before; n != 0 {
			t.Errorf("%d tokens are left after Close", n)
		}
	})

	t.Run("a token that is given is renewed, and told when it has ended", func(t *testing.T) {
		v.put(t, "given", map[string]any{"SECRET_KEY": "one"})
		made := v.call(t, "POST", "auth/token/create", map[string]any{"policies": []string{"reader"}, "ttl": "3s", "explicit_max_ttl": "6s"})
		token := made["auth"].(map[string]any)["client_token"].(string)
		s := open(t, vaultsecrets.Options{Address: v.address, Mount: "secret", Path: "given", Token: secret.New(token)})
		began := time.Now()
		var err error
		if !eventually(func() bool { _, err = s.Get(t.Context(), "SECRET_KEY"); return err != nil }) {
			t.Fatal("a token of 6 s lasts for 20")
		}
		if lasted := time.Since(began); lasted < 4*time.Second {
			t.Errorf("the token lasted %v: it was not renewed", lasted)
		}
		if !errors.Is(err, ports.ErrUnavailable) || !strings.Contains(err.Error(), "does not know the token (403)") {
			t.Errorf("after its end: %v", err)
		}
	})

	t.Run("Kubernetes, with a stand-in for its token review", func(t *testing.T) { realKubernetes(t, v) })
}

// appRole makes a role and answers options that log in with it.
func (v *server) appRole(t testing.TB, name string, role map[string]any) vaultsecrets.Options {
	t.Helper()
	v.call(t, "POST", "auth/approle/role/"+name, role)
	data := func(m map[string]any) map[string]any { return m["data"].(map[string]any) }
	return vaultsecrets.Options{Address: v.address, Mount: "secret",
		RoleID:   data(v.call(t, "GET", "auth/approle/role/"+name+"/role-id", nil))["role_id"].(string),
		SecretID: secret.New(data(v.call(t, "POST", "auth/approle/role/"+name+"/secret-id", nil))["secret_id"].(string))}
}

// countLogins counts what the adapter logs of logins.
func countLogins(o *vaultsecrets.Options) *atomic.Int64 {
	counted := new(atomic.Int64)
	o.Logger = slog.New(slog.NewTextHandler(counter{counted}, nil))
	return counted
}

type counter struct{ n *atomic.Int64 }

func (c counter) Write(line []byte) (int, error) {
	if bytes.Contains(line, []byte("logged in to Vault")) {
		c.n.Add(1)
	}
	return len(line), nil
}

// logins counts the tokens that AppRole logins made and that have not ended.
func (v *server) logins(t testing.TB) int {
	t.Helper()
	status, text := v.try("LIST", "sys/leases/lookup/auth/approle/login", nil)
	if status == 404 {
		return 0
	}
	var got struct{ Data struct{ Keys []string } }
	ok(t, json.Unmarshal(text, &got))
	return len(got.Data.Keys)
}

func realKubernetes(t *testing.T, v *server) {
	var asked atomic.Int64
	reviewer := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		var review struct{ Spec struct{ Token string } }
		_ = json.NewDecoder(r.Body).Decode(&review)
		parts := strings.Split(review.Spec.Token, ".")
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusCreated)
		_, _ = fmt.Fprintf(w, `{"kind":"TokenReview","apiVersion":"authentication.k8s.io/v1","status":{"authenticated":%t,"audiences":["vault"],"user":{"username":"system:serviceaccount:shop:xteam","uid":"uid-1"}}}`,
			r.URL.Path == "/apis/authentication.k8s.io/v1/tokenreviews" && len(parts) == 3)
	}))
	c := newCertificate(t)
	reviewer.TLS = &tls.Config{Certificates: []tls.Certificate{c.pair}}
	reviewer.StartTLS()
	defer reviewer.Close()

	v.put(t, "kubernetes", map[string]any{"SECRET_KEY": "one"})
	v.call(t, "POST", "sys/auth/kubernetes", map[string]any{"type": "kubernetes"})
	v.call(t, "POST", "auth/kubernetes/config", map[string]any{"kubernetes_host": reviewer.URL, "kubernetes_ca_cert": string(c.pem), "token_reviewer_jwt": serviceToken(t, "vault"),
		"disable_local_ca_jwt": true})
	v.call(t, "POST", "auth/kubernetes/role/xteam", map[string]any{"bound_service_account_names": "xteam", "bound_service_account_namespaces": "shop",
		"token_policies": "reader", "audience": "vault"})

	file := filepath.Join(t.TempDir(), "token")
	ok(t, os.WriteFile(file, []byte(serviceToken(t, "xteam")+"\n"), 0o600))
	o := vaultsecrets.Options{Address: v.address, Mount: "secret", Path: "kubernetes", KubernetesRole: "xteam", KubernetesSigned: file}
	s := open(t, o)
	wants(t, s, "SECRET_KEY", "one")
	if asked.Load() != 1 {
		t.Errorf("the token review was asked %d times", asked.Load())
	}
	v.call(t, "PUT", "sys/leases/revoke-prefix/auth/kubernetes/login", map[string]any{})
	wants(t, s, "SECRET_KEY", "one")
	if asked.Load() != 2 {
		t.Errorf("after a revocation the token review was asked %d times", asked.Load())
	}
	o.KubernetesRole = "another"
	refuses(t, o, "refuses the Kubernetes login at auth/kubernetes (400)", "VAULT_KUBERNETES_ROLE")
	ok(t, os.WriteFile(file, []byte(serviceToken(t, "somebody-else")), 0o600))
	o.KubernetesRole = "xteam"
	refuses(t, o, "refuses the Kubernetes login at auth/kubernetes (403)")
	ok(t, os.Remove(file))
	refuses(t, o, "the service account's token cannot be read", file)
}

// serviceToken is a token of the form that Kubernetes gives a service account.
func serviceToken(t testing.TB, name string) string {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	ok(t, err)
	encode := func(v any) string {
		text, err := json.Marshal(v)
		ok(t, err)
		return base64.RawURLEncoding.EncodeToString(text)
	}
	now := time.Now()
	text := encode(map[string]any{"alg": "ES256", "typ": "JWT"}) + "." + encode(map[string]any{"aud": []string{"vault"}, "iss": "https://kubernetes.default.svc",
		"iat": now.Unix(), "nbf": now.Add(-time.Minute).Unix(), "exp": now.Add(time.Hour).Unix(), "sub": "system:serviceaccount:shop:" + name,
		"kubernetes.io": map[string]any{"namespace": "shop", "serviceaccount": map[string]any{"name": name, "uid": "uid-1"}}})
	digest := sha256.Sum256([]byte(text))
	r, q, err := ecdsa.Sign(rand.Reader, key, digest[:])
	ok(t, err)
	signature := make([]byte, 64)
	r.FillBytes(signature[:32])
	q.FillBytes(signature[32:])
	return text + "." + base64.RawURLEncoding.EncodeToString(signature)
}

// TestRealDurableVault goes through the life of a real server with files and TLS: not initialised, unsealed, sealed, killed.
func TestRealDurableVault(t *testing.T) {
	binary(t)
	c := newCertificate(t)
	v := startDurable(t, c)
	o := vaultsecrets.Options{Address: v.address, Mount: "secret", Path: "xteam", Token: secret.New("planted-token"), CAFile: c.file}
	refuses(t, o, v.address+" is not initialised: initialise it")

	v.initialise(t)
	v.put(t, "xteam", map[string]any{"SECRET_KEY": "one"})
	v.call(t, "POST", "sys/auth/approle", map[string]any{"type": "approle"})
	v.call(t, "PUT", "sys/policies/acl/reader", map[string]any{"policy": `path "secret/data/*" { capabilities = ["read"] }`})
	o = v.appRole(t, "xteam", map[string]any{"token_policies": "reader"})
	o.Path, o.CAFile = "xteam", c.file

	for what, change := range map[string]func(*vaultsecrets.Options){
		"a certificate by an authority that is not trusted: give that authority's in VAULT_CACERT": func(o *vaultsecrets.Options) { o.CAFile = "" },
		"an authority that is not trusted": func(o *vaultsecrets.Options) { o.CAFile = newCertificate(t).file },
		"has a certificate for another name": func(o *vaultsecrets.Options) {
			o.Address = strings.Replace(o.Address, "127.0.0.1", "localhost", 1)
		},
		"speaks TLS: write https in VAULT_ADDR": func(o *vaultsecrets.Options) { o.Address = strings.Replace(o.Address, "https", "http", 1) },
	} {
		other := o
		change(&other)
		refuses(t, other, what)
	}

	s := open(t, o)
	wants(t, s, "SECRET_KEY", "one")

	v.call(t, "PUT", "sys/seal", map[string]any{})
	wantsNoUse(t, s, "SECRET_KEY", v.address+" is sealed: unseal it")
	refuses(t, o, "is sealed")
	v.unseal(t)
	wantsAgain(t, s, "one")

	v.kill(t)
	wantsNoUse(t, s, "SECRET_KEY", v.address+" cannot be reached (")
	refuses(t, o, "cannot be reached (")
	v.start(t, 503)
	wantsNoUse(t, s, "SECRET_KEY", "is sealed")
	v.unseal(t)
	wantsAgain(t, s, "one")
	v.put(t, "xteam", map[string]any{"SECRET_KEY": "two"})
	wants(t, s, "SECRET_KEY", "two")
	wants(t, s, "SECRET_KEY_PREVIOUS", "one")

	// The token ends while the server is sealed: what is asked then is the login.
	v.call(t, "PUT", "sys/leases/revoke-prefix/auth/approle/login", map[string]any{})
	v.call(t, "PUT", "sys/seal", map[string]any{})
	wantsNoUse(t, s, "SECRET_KEY", "is sealed")
	v.unseal(t)
	wantsAgain(t, s, "two")
}

// TestRealStandby reads through a standby, which forwards, and through one that does not reach its active server, which
// sends on to it.
func TestRealStandby(t *testing.T) {
	active, standby := startReplicated(t, "a"), startReplicated(t, "b")
	active.initialise(t)
	active.put(t, "xteam", map[string]any{"SECRET_KEY": "one"})
	standby.token, standby.key = active.token, active.key
	standby.call(t, "POST", "sys/storage/raft/join", map[string]any{"leader_api_addr": active.address})
	if !eventually(func() bool {
		status, _ := standby.try("PUT", "sys/unseal", map[string]any{"key": standby.key})
		healthy, _ := standby.try("GET", "sys/health", nil)
		return status == 200 && healthy == 429
	}) {
		t.Fatal("the second server is no standby")
	}
	o := vaultsecrets.Options{Address: standby.address, Mount: "secret", Path: "xteam", Token: secret.New(active.token)}
	var s *vaultsecrets.Secrets
	if !eventually(func() (is bool) {
		var err error
		s, err = vaultsecrets.Open(t.Context(), o)
		return err == nil
	}) {
		t.Fatal("the standby forwards nothing")
	}
	defer s.Close()
	wants(t, s, "SECRET_KEY", "one")

	active.kill(t)
	what := fmt.Sprintf("%s sends on to %q, where no token is taken", standby.address, active.address)
	var err error
	if !eventually(func() bool {
		_, err = s.Get(t.Context(), "SECRET_KEY")
		return err != nil && strings.Contains(err.Error(), what)
	}) {
		t.Fatalf("without an active server: %v", err)
	}
	sentence(t, err)
	refuses(t, o, what)
}

func open(t testing.TB, o vaultsecrets.Options) *vaultsecrets.Secrets {
	t.Helper()
	s, err := vaultsecrets.Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

// wantsAgain waits until the secret is what it was: a server that was just unsealed refuses for a moment.
func wantsAgain(t testing.TB, s *vaultsecrets.Secrets, value string) {
	t.Helper()
	var got secret.Text
	var err error
	if !eventually(func() bool { got, err = s.Get(t.Context(), "SECRET_KEY"); return err == nil }) || got.RevealPlaintext() != value {
		t.Fatalf("Get: error %v, or another value", err)
	}
}
