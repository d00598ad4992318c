package vaultsecrets_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/xteam/xteam/ports/porttest"
)

// server is a Vault of the test's own, on a free port of the loopback interface.
type server struct {
	address string // with the scheme
	token   string // root's
	key     string // unseals it
	args    []string
	dir     string
	client  *http.Client
	process *exec.Cmd
	log     *os.File
}

// binary is the Vault server that `make test-vault` names. Without the name the test is skipped; a name of what is not there fails.
func binary(t testing.TB) string {
	t.Helper()
	path := os.Getenv("XTEAM_TEST_VAULT")
	if path == "" {
		t.Skip("needs a real Vault server, which make test-vault builds and names in XTEAM_TEST_VAULT")
	}
	if _, err := os.Stat(path); err != nil {
		t.Fatalf("XTEAM_TEST_VAULT names no Vault server: %v", err)
	}
	return path
}

// startDev starts a server in memory, unsealed, with KV version 2 at secret/.
func startDev(t testing.TB) *server {
	t.Helper()
	port := freePort(t)
	v := &server{address: "http://" + port, token: "root", dir: t.TempDir(), client: http.DefaultClient,
		args: []string{"server", "-dev", "-dev-root-token-id=root", "-dev-listen-address=" + port, "-dev-no-store-token"}}
	v.start(t, 200)
	return v
}

// startDurable starts a server with TLS and files, and leaves it uninitialised.
func startDurable(t testing.TB, certificate *certificate) *server {
	t.Helper()
	dir, port := t.TempDir(), freePort(t)
	config := fmt.Sprintf(`
storage "file" {
  path = %q
}
listener "tcp" {
  address = %q
  tls_cert_file = %q
  tls_key_file = %q
}
disable_mlock = true
api_addr = %q
`, filepath.Join(dir, "data"), port, certificate.file, certificate.key, "https://"+port)
	file := filepath.Join(dir, "vault.hcl")
	ok(t, os.WriteFile(file, []byte(config), 0o600))
	v := &server{address: "https://" + port, dir: dir, args: []string{"server", "-config=" + file},
		client: &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: certificate.pool}}}}
	t.Cleanup(v.client.CloseIdleConnections)
	v.start(t, 501)
	return v
}

// startReplicated starts a server that stores by Raft, and leaves it uninitialised.
func startReplicated(t testing.TB, name string) *server {
	t.Helper()
	dir, port, cluster := t.TempDir(), freePort(t), freePort(t)
	config := fmt.Sprintf(`
storage "raft" {
  path = %q
  node_id = %q
}
listener "tcp" {
  address = %q
  cluster_address = %q
  tls_disable = true
}
disable_mlock = true
api_addr = %q
cluster_addr = %q
`, dir, name, port, cluster, "http://"+port, "https://"+cluster)
	file := filepath.Join(dir, "vault.hcl")
	ok(t, os.WriteFile(file, []byte(config), 0o600))
	v := &server{address: "http://" + port, dir: dir, client: http.DefaultClient, args: []string{"server", "-config=" + file}}
	v.start(t, 501)
	return v
}

// start runs the server until its health has the status that is expected.
func (v *server) start(t testing.TB, status int) {
	t.Helper()
	var err error
	v.log, err = os.Create(filepath.Join(v.dir, "log"))
	ok(t, err)
	v.process = exec.Command(binary(t), v.args...)
	v.process.Env = []string{"HOME=" + v.dir, "PATH=" + os.Getenv("PATH")}
	v.process.Stdout, v.process.Stderr = v.log, v.log
	v.process.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	ok(t, v.process.Start())
	process, log := v.process, v.log
	t.Cleanup(func() {
		_ = process.Process.Kill()
		_ = process.Wait()
		_ = log.Close()
	})
	var got int
	if !eventually(func() bool { got, _ = v.try("GET", "sys/health", nil); return got == status }) {
		text, _ := os.ReadFile(log.Name())
		t.Fatalf("Vault's health is %d, want %d; its log:\n%s", got, status, text)
	}
}

// kill ends the server as a crash does.
func (v *server) kill(t testing.TB) {
	t.Helper()
	ok(t, v.process.Process.Kill())
	_ = v.process.Wait()
}

// initialise makes the root token and the one key, and unseals.
func (v *server) initialise(t testing.TB) {
	t.Helper()
	made := v.call(t, "PUT", "sys/init", map[string]any{"secret_shares": 1, "secret_threshold": 1})
	v.token, v.key = made["root_token"].(string), made["keys"].([]any)[0].(string)
	v.unseal(t)
	v.call(t, "POST", "sys/mounts/secret", map[string]any{"type": "kv", "options": map[string]any{"version": "2"}})
}

func (v *server) unseal(t testing.TB) {
	t.Helper()
	v.call(t, "PUT", "sys/unseal", map[string]any{"key": v.key})
}

// try makes one call as root and answers its status, 0 when there is none, and its body.
func (v *server) try(method, path string, body map[string]any) (int, []byte) {
	return v.as(v.token, method, path, body)
}

func (v *server) as(token, method, path string, body map[string]any) (int, []byte) {
	var text io.Reader
	if body != nil {
		b, _ := json.Marshal(body)
		text = bytes.NewReader(b)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, method, v.address+"/v1/"+path, text)
	if err != nil {
		return 0, nil
	}
	r.Header.Set("X-Vault-Token", token)
	got, err := v.client.Do(r)
	if err != nil {
		return 0, nil
	}
	defer got.Body.Close()
	b, _ := io.ReadAll(got.Body)
	return got.StatusCode, b
}

// call makes a call until it succeeds: a mount that is new, and a server that was just unsealed, refuse for a moment.
func (v *server) call(t testing.TB, method, path string, body map[string]any) map[string]any {
	t.Helper()
	var status int
	var text []byte
	if !eventually(func() bool { status, text = v.try(method, path, body); return status/100 == 2 }) {
		t.Fatalf("%s %s: %d %s", method, path, status, text)
	}
	var got map[string]any
	if len(text) > 0 {
		ok(t, json.Unmarshal(text, &got))
	}
	return got
}

// put writes a version of a secret.
func (v *server) put(t testing.TB, place string, fields map[string]any) {
	t.Helper()
	v.call(t, "POST", "secret/data/"+place, map[string]any{"data": fields})
}

// eventually asks again and again, for at most a minute.
func eventually(is func() bool) bool {
	tick, late := time.NewTicker(50*time.Millisecond), time.After(time.Minute)
	defer tick.Stop()
	for !is() {
		select {
		case <-tick.C:
		case <-late:
			return false
		}
	}
	return true
}

func freePort(t testing.TB) string {
	t.Helper()
	return fmt.Sprintf("127.0.0.1:%d", porttest.Free(t))
}

// certificate is one that signs itself, for the loopback address, in files.
type certificate struct {
	file, key string
	pool      *x509.CertPool
	pair      tls.Certificate
	pem       []byte
}

func newCertificate(t testing.TB) *certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	ok(t, err)
	of := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "Vault of a test"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign}
	der, err := x509.CreateCertificate(rand.Reader, of, of, key.Public(), key)
	ok(t, err)
	der8, err := x509.MarshalPKCS8PrivateKey(key)
	ok(t, err)
	dir := t.TempDir()
	c := &certificate{file: filepath.Join(dir, "cert.pem"), key: filepath.Join(dir, "key.pem"), pool: x509.NewCertPool(),
		pem: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})}
	private := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der8})
	ok(t, os.WriteFile(c.file, c.pem, 0o600))
	ok(t, os.WriteFile(c.key, private, 0o600))
	c.pool.AppendCertsFromPEM(c.pem)
	c.pair, err = tls.X509KeyPair(c.pem, private)
	ok(t, err)
	return c
}

func ok(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
