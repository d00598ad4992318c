package vaultsecrets_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"net"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/xteam/xteam/adapters/vaultsecrets"
	"github.com/xteam/xteam/domain/secret"
)

func TestParse(t *testing.T) {
	for text, want := range map[string][3]string{
		"vault://vault.example.com:8200/secret/xteam":   {"https://vault.example.com:8200", "secret", "xteam"},
		"vault://vault.example.com/secret/xteam":        {"https://vault.example.com:8200", "secret", "xteam"},
		"vault://10.0.0.1:443/kv/team/xteam/production": {"https://10.0.0.1:443", "kv", "team/xteam/production"},
		"vault://[::1]:8200/kv/x/":                      {"https://[::1]:8200", "kv", "x"},
		"vault://[::1]/kv/x":                            {"https://[::1]:8200", "kv", "x"},
		"vault:///secret/xteam":                         {"", "secret", "xteam"},
		"vault:///se-cret_1.2~3/x=1+2:3":                {"", "se-cret_1.2~3", "x=1+2:3"},
	} {
		o, err := vaultsecrets.Parse(text)
		if got := [3]string{o.Address, o.Mount, o.Path}; err != nil || got != want {
			t.Errorf("Parse(%q) = %q, %v; want %q", text, got, err, want)
		}
	}
	for text, says := range map[string]string{
		"":                                   "has the form vault://HOST:PORT/MOUNT/PATH",
		"planted":                            "has the form",
		"https://planted/secret/xteam":       "has the form",
		"vault:planted":                      "has the form",
		"vault://":                           "is not whole",
		"vault://h:8200":                     "is not whole",
		"vault://h:8200/":                    "is not whole",
		"vault://h:8200/secret":              "is not whole",
		"vault://h:8200/secret/":             "is not whole",
		"vault://h:8200//xteam":              "is not whole",
		"vault://h:8200/secret//xteam":       "has an empty part",
		"vault://h:8200/secret/x//":          "has an empty part",
		"vault://h:8200/secret/../sys":       "a part of dots",
		"vault://h:8200/./x":                 "a part of dots",
		"vault://h:8200/secret/pl%61nted":    "a character other than",
		"vault://h:8200/secret/planted é":    "a character other than",
		"vault://h:8200/secret/planted\n":    "a character other than",
		"vault://ann:planted@h/secret/xteam": "holds no user, no query and no fragment",
		"vault://h/secret/x?token=planted":   "holds no user, no query and no fragment",
		"vault://h/secret/x#planted":         "holds no user, no query and no fragment",
		"vault://h:planted/secret/xteam":     "must have the form https://HOST:PORT",
		"vault://:8200/secret/xteam":         "must have the form https://HOST:PORT",
		"vault://[::planted/secret/xteam":    "must have the form https://HOST:PORT",
		"vault://plan ted/secret/xteam":      "must have the form https://HOST:PORT",
	} {
		_, err := vaultsecrets.Parse(text)
		sentence(t, err, says)
	}
}

func FuzzParse(f *testing.F) {
	f.Add("vault://vault.example.com:8200/secret/xteam")
	f.Add("vault:///kv/a/b")
	f.Add("vault://[::1]/kv/x?y#z")
	f.Fuzz(func(t *testing.T, text string) {
		o, err := vaultsecrets.Parse(text)
		if err != nil {
			return
		}
		host := strings.TrimPrefix(o.Address, "https://")
		again, err := vaultsecrets.Parse("vault://" + host + "/" + o.Mount + "/" + o.Path)
		if err != nil || again.Address != o.Address || again.Mount != o.Mount || again.Path != o.Path {
			t.Errorf("Parse(%q) = %q, %q, %q, which is read again as %q, %q, %q (%v)", text, o.Address, o.Mount, o.Path, again.Address, again.Mount, again.Path, err)
		}
	})
}

func TestExposed(t *testing.T) {
	for address, want := range map[string]bool{
		"https://vault.example.com:8200": false, "vault.example.com:8200": false, "http://127.0.0.1:8200": false, "http://[::1]:8200": false, "http://localhost:8200": false, "": false,
		"http://vault.example.com:8200": true, "http://10.0.0.1": true, "HTTP://VAULT": true, "http://localhost.example.com": true, "http://127.0.0.1.example.com": true, "http://0.0.0.0:8200": true,
	} {
		if got := (vaultsecrets.Options{Address: address}).Exposed(); got != want {
			t.Errorf("%q is exposed: %v, want %v", address, got, want)
		}
	}
}

func TestOptionsThatCannotBe(t *testing.T) {
	closed := httptest.NewServer(nil)
	closed.Close()
	good := vaultsecrets.Options{Address: closed.URL, Mount: "secret", Path: "xteam", Token: secret.New("planted-token")}
	refuses(t, good, "Vault at "+closed.URL+" cannot be reached (")
	for says, change := range map[string]func(*vaultsecrets.Options){
		"no address of Vault is given: set VAULT_ADDR": func(o *vaultsecrets.Options) { o.Address = "" },
		"must have the form https://HOST:PORT":         func(o *vaultsecrets.Options) { o.Address = "unix:///planted" },
		"without user and query":                       func(o *vaultsecrets.Options) { o.Address = "https://ann:planted@vault" },
		"the secret's place in Vault is not whole":     func(o *vaultsecrets.Options) { o.Path = "" },
		"a part of dots":                               func(o *vaultsecrets.Options) { o.Path = "../sys/planted" },
		"there is nothing to show Vault: give one of VAULT_TOKEN, VAULT_ROLE_ID with VAULT_SECRET_ID, and VAULT_KUBERNETES_ROLE": func(o *vaultsecrets.Options) { o.Token = secret.Text{} },
		"there are several ways to log in to Vault":      func(o *vaultsecrets.Options) { o.KubernetesRole = "planted" },
		"VAULT_SECRET_ID is given without VAULT_ROLE_ID": func(o *vaultsecrets.Options) { o.Token, o.SecretID = secret.Text{}, secret.New("planted") },
		"VAULT_ROLE_ID is given without VAULT_SECRET_ID": func(o *vaultsecrets.Options) { o.Token, o.RoleID = secret.Text{}, "planted" },
		"VAULT_TOKEN holds a space, a line end":          func(o *vaultsecrets.Options) { o.Token = secret.New("planted\n") },
		"VAULT_NAMESPACE holds a control character":      func(o *vaultsecrets.Options) { o.Namespace = "planted\r\nX: y" },
	} {
		o := good
		change(&o)
		refuses(t, o, says)
	}
}

func TestATrustFileThatIsNone(t *testing.T) {
	server := httptest.NewTLSServer(nil)
	defer server.Close()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	good := string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}))
	dir := t.TempDir()
	for i, text := range []string{
		"", "planted", "-----BEGIN CERTIFICATE-----\nplanted", strings.Replace(good, "M", "N", 1), good + "-----BEGIN CERTIFICATE-----\nplanted\n-----END CERTIFICATE-----\n",
		good + strings.Replace(good, "END CERT", "END PLANTED", 1), good + string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})), string(make([]byte, 1000)),
	} {
		file := filepath.Join(dir, fmt.Sprint(i))
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		refuses(t, vaultsecrets.Options{Address: server.URL, Mount: "secret", Path: "xteam", Token: secret.New("planted-token"), CAFile: file}, "VAULT_CACERT, ", file)
	}
	for _, file := range []string{dir, filepath.Join(dir, "none")} {
		refuses(t, vaultsecrets.Options{Address: server.URL, Mount: "secret", Path: "xteam", Token: secret.New("planted-token"), CAFile: file}, "VAULT_CACERT cannot be read (", file)
	}
	long := filepath.Join(dir, "long")
	if err := os.WriteFile(long, []byte(strings.Repeat(good, 5<<20/len(good))), 0o600); err != nil {
		t.Fatal(err)
	}
	refuses(t, vaultsecrets.Options{Address: server.URL, Mount: "secret", Path: "xteam", Token: secret.New("planted-token"), CAFile: long}, "VAULT_CACERT cannot be read (too long)")
}

func TestAServerThatIsNotTrusted(t *testing.T) {
	v := replay(t)
	v.Close()
	secure := httptest.NewTLSServer(v)
	defer secure.Close()
	file := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: secure.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	o := v.byToken()
	o.Address = secure.URL
	refuses(t, o, "Vault at "+secure.URL+" has a certificate by an authority that is not trusted: give that authority's in VAULT_CACERT")
	if len(v.calls) != 0 {
		t.Errorf("it was asked %d times", len(v.calls))
	}
	o.CAFile = file
	s, err := vaultsecrets.Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	wants(t, s, "SECRET_KEY", "recorded-key-of-version-3")

	o.Address = "https://" + strings.Replace(secure.Listener.Addr().String(), "127.0.0.1", "localhost", 1)
	if _, err := net.LookupHost("localhost"); err == nil {
		refuses(t, o, "has a certificate for another name")
	}
	o.Address = "http://" + secure.Listener.Addr().String()
	refuses(t, o, "speaks TLS: write https in VAULT_ADDR")
	plain := replay(t)
	o.Address = strings.Replace(plain.URL, "http", "https", 1)
	refuses(t, o, "does not speak TLS: if that is meant, write http in VAULT_ADDR")
}
