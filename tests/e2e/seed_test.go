package e2e_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"

	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// sent is one request of the walk, and what came back.
type sent struct {
	*http.Response
	body string
}

// send sends a request with headers as "Name: value".
func send(t *testing.T, c *http.Client, method, url, body string, heads ...string) sent {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for _, h := range heads {
		name, value, _ := strings.Cut(h, ": ")
		if name == "Host" {
			r.Host = value
		}
		r.Header.Set(name, value)
	}
	got, err := c.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer got.Body.Close()
	text, err := io.ReadAll(got.Body)
	if err != nil {
		t.Fatal(err)
	}
	return sent{got, string(text)}
}

// TestTheSeedInItsOrder walks the document that the product was asked for in, from its top to its bottom: each example that concerns tokens, limits, headers, CORS,
// hosts, TLS, health and logs works as it is written there. (Redis, PostgreSQL, the vaults, WebSockets, files and alerts are not of a single node's first version.)
func TestTheSeedInItsOrder(t *testing.T) {
	needs(t, "curl")
	folder := t.TempDir()
	cert, key, roots := certificate(t, folder)
	log := filepath.Join(folder, "backend.log")
	// Its settings, by its names. The secret is made as it says: 32 random bytes in base64url.
	secret := base64.RawURLEncoding.EncodeToString(random32(t))
	env := environ(filepath.Join(folder, "data"), "SECRET_KEY="+secret, "JWT_ALGORITHM=HS256", "ACCESS_TOKEN_EXPIRE_MINUTES=30", "REFRESH_TOKEN_EXPIRE_DAYS=7",
		"RATE_LIMIT_ENABLED=true", "RATE_LIMIT_REQUESTS_PER_MINUTE=60", "RATE_LIMIT_AUTH=100", "SSL_CERTFILE="+cert, "SSL_KEYFILE="+key,
		"CORS_ORIGINS=https://app.example.com,https://www.example.com", "TRUSTED_HOSTS=example.com,*.example.com,127.0.0.1", "LOG_FILE="+log)
	admin(t, env)
	s := serve(t, env)
	c := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}}, Timeout: patience}
	t.Cleanup(c.CloseIdleConnections)
	if !strings.HasPrefix(s.base, "https://") {
		t.Fatalf("ready at %s, want https", s.base)
	}
	var tokens struct {
		Access  string `json:"access_token"`
		Refresh string `json:"refresh_token"`
		Type    string `json:"token_type"`
		Life    int    `json:"expires_in"`
	}
	signIn := func(email string) {
		t.Helper()
		got := send(t, c, "POST", s.base+login, `{"email":"`+email+`","password":"`+password+`"}`, "Content-Type: application/json")
		if err := json.Unmarshal([]byte(got.body), &tokens); err != nil || got.StatusCode != 200 {
			t.Fatalf("sign in: %d %s", got.StatusCode, got.body)
		}
	}
	meAs := func(access string) sent {
		t.Helper()
		return send(t, c, "GET", s.base+me, "", "Authorization: Bearer "+access)
	}

	// Authentication & Authorization: 30 minutes, 7 days, sub and exp, HS256 with the secret's own bytes.
	signIn("admin@example.com")
	boss := tokens.Access
	if tokens.Type != "bearer" || tokens.Life != 1800 {
		t.Errorf("the sign-in's answer: type %q, life %d s, want bearer and 1800", tokens.Type, tokens.Life)
	}
	for _, name := range []string{"sub", "exp"} {
		if !strings.Contains(payload(t, boss), `"`+name+`"`) {
			t.Errorf("the claims lack %s: %s", name, payload(t, boss))
		}
	}
	if !signedBy(boss, secret) {
		t.Error("the token is not signed with the bytes of SECRET_KEY")
	}
	if got := send(t, c, "POST", s.base+register, `{"email":"ann@example.com","username":"ann","password":"`+password+`","full_name":"Ann"}`, "Content-Type: application/json"); got.StatusCode != 201 {
		t.Fatalf("register: %d %s", got.StatusCode, got.body)
	}
	signIn("ann@example.com")

	// Token Revocation: logout, and the revoked token is rejected.
	if got := send(t, c, "POST", s.base+"/api/v1/auth/logout", "", "Authorization: Bearer "+tokens.Access); got.StatusCode != 204 {
		t.Errorf("logout: %d %s", got.StatusCode, got.body)
	}
	if got := meAs(tokens.Access); got.StatusCode != 401 || !strings.Contains(got.body, `"code":"token_revoked"`) {
		t.Errorf("after logout: %d %s", got.StatusCode, got.body)
	}

	// Implement Token Refresh Flow: fetch with a string for its body, which a browser sends as text/plain.
	signIn("ann@example.com")
	got := send(t, c, "POST", s.base+refresh, `{"refresh_token":"`+tokens.Refresh+`"}`, "Content-Type: text/plain;charset=UTF-8")
	first := tokens.Access
	if err := json.Unmarshal([]byte(got.body), &tokens); err != nil || got.StatusCode != 200 || tokens.Access == first {
		t.Fatalf("refresh as fetch sends it: %d %s", got.StatusCode, got.body)
	}

	// Token Management: revoke tokens on password change.
	got = send(t, c, "POST", s.base+"/api/v1/auth/change-password", `{"current_password":"`+password+`","new_password":"`+password+`-2"}`, "Authorization: Bearer "+tokens.Access)
	if got.StatusCode != 200 || meAs(first).StatusCode != 401 || meAs(tokens.Access).StatusCode != 401 {
		t.Errorf("change of password: %d %s; the tokens of before: %d, %d", got.StatusCode, got.body, meAs(first).StatusCode, meAs(tokens.Access).StatusCode)
	}

	// Rate Limiting: the headers; health is exempt; the bucket of an address holds 60.
	if got := meAs(boss); got.Header.Get("X-RateLimit-Limit") != "60" || got.Header.Get("X-RateLimit-Remaining") == "" {
		t.Errorf("the limits' headers: %v", got.Header)
	}
	for _, path := range []string{"/health", "/healthz", "/readyz"} {
		for range 70 {
			if got := send(t, c, "GET", s.base+path, ""); got.StatusCode != 200 {
				t.Fatalf("%s: %d %s", path, got.StatusCode, got.body)
			}
		}
	}

	// Input Validation: its model's bounds.
	for body, field := range map[string]string{
		`{"email":"no address","username":"bob","password":"` + password + `"}`:                                                     "email",
		`{"email":"bob@example.com","username":"bo","password":"` + password + `"}`:                                                 "username",
		`{"email":"bob@example.com","username":"bob","password":"short"}`:                                                           "password",
		`{"email":"bob@example.com","username":"bob","password":"` + password + `","full_name":"` + strings.Repeat("x", 101) + `"}`: "full_name",
		`{"email":"' OR '1'='1","username":"bob","password":"` + password + `"}`:                                                    "email",
	} {
		if got := send(t, c, "POST", s.base+register, body, "Content-Type: application/json"); got.StatusCode != 422 || !strings.Contains(got.body, `"field":"`+field+`"`) {
			t.Errorf("%s: %d %s", body, got.StatusCode, got.body)
		}
	}

	// Secure Communication: origins and hosts. (HTTPS is what this walk goes over.)
	for origin, want := range map[string]string{"https://app.example.com": "https://app.example.com", "https://www.example.com": "https://www.example.com",
		"http://localhost:3000": "", "https://app.example.com.evil.test": "", "null": ""} {
		if got := send(t, c, "GET", s.base+"/health", "", "Origin: "+origin).Header.Get("Access-Control-Allow-Origin"); got != want {
			t.Errorf("origin %s may read: %q, want %q", origin, got, want)
		}
	}
	for host, want := range map[string]int{"example.com": 401, "api.example.com": 401, "evil.test": 400, "evilexample.com": 400} {
		if got := send(t, c, "GET", s.base+me, "", "Host: "+host); got.StatusCode != want {
			t.Errorf("host %s: %d %s, want %d", host, got.StatusCode, got.body, want)
		}
	}

	// Security Headers: each with the seed's value, on every answer.
	for _, path := range []string{"/health", me, "/nowhere"} {
		h := send(t, c, "GET", s.base+path, "").Header
		for name, want := range map[string]string{"X-Content-Type-Options": "nosniff", "X-Frame-Options": "DENY", "X-XSS-Protection": "1; mode=block",
			"Strict-Transport-Security": "max-age=31536000; includeSubDomains"} {
			if got := h.Get(name); got != want {
				t.Errorf("%s: %s is %q, want %q", path, name, got, want)
			}
		}
	}

	// Quick Response Commands: the curl line as written, but for where the server is and how its certificate is known.
	curl := exec.Command("sh", "-c", `curl -sS --cacert "$CA" -X POST `+s.base+`/api/v1/admin/revoke-user-tokens \
  -H "Authorization: Bearer $ADMIN_TOKEN" \
  -d '{"user_id": "ann"}'`)
	curl.Env = append(os.Environ(), "ADMIN_TOKEN="+boss, "CA="+cert)
	if out, err := curl.CombinedOutput(); err != nil || !strings.Contains(string(out), `"sessions_ended":`) {
		t.Errorf("the curl line: %v: %s", err, out)
	}

	// Monitoring & Logging: its three lines, with its fields, found as it looks for them.
	send(t, c, "POST", s.base+login, `{"email":"ann@example.com","password":"wrong"}`, "Content-Type: application/json", "User-Agent: seed/1")
	for limited := 0; limited == 0; {
		if send(t, c, "GET", s.base+me, "").StatusCode == 429 {
			limited++
		}
	}
	if err := s.end(os.Interrupt); err != nil {
		t.Errorf("the end: %v", err)
	}
	for msg, fields := range map[string][]string{
		"Authentication failed": {`"level":"WARN"`, `"email":"ann@example.com"`, `"ip_address":"127.0.0.1"`, `"user_agent":"seed/1"`},
		"Token revoked":         {`"level":"INFO"`, `"user_id":"`, `"reason":"`},
		"Rate limit exceeded":   {`"level":"WARN"`, `"client_ip":"127.0.0.1"`, `"endpoint":"/api/v1/`},
	} {
		grep := exec.Command("sh", "-c", `grep "`+msg+`" `+log+` | tail -100`)
		out, err := grep.CombinedOutput()
		if err != nil || len(out) == 0 {
			t.Fatalf("grep %q: %v", msg, err)
		}
		lines := strings.Split(strings.TrimSpace(string(out)), "\n")
		for _, f := range fields {
			if !strings.Contains(lines[len(lines)-1], f) {
				t.Errorf("%s: the line lacks %s: %s", msg, f, lines[len(lines)-1])
			}
		}
	}
	if text, err := os.ReadFile(log); err != nil || strings.Contains(string(text), password) || strings.Contains(string(text), boss) || strings.Contains(string(text), secret) {
		t.Errorf("the log holds a secret (%v)", err)
	}
}

func random32(t *testing.T) []byte {
	t.Helper()
	b := make([]byte, 32)
	if _, err := rand.Read(b); err != nil {
		t.Fatal(err)
	}
	return b
}

// certificate writes a certificate for this machine and its key, and answers their files and who trusts them.
func certificate(t *testing.T, folder string) (cert, key string, roots *x509.CertPool) {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "localhost"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(48 * time.Hour),
		DNSNames: []string{"localhost", "example.com", "*.example.com"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, &k.PublicKey, k)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(k)
	if err != nil {
		t.Fatal(err)
	}
	cert, key = filepath.Join(folder, "cert.pem"), filepath.Join(folder, "key.pem")
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	for file, b := range map[string][]byte{cert: text, key: pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private})} {
		if err := os.WriteFile(file, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	roots = x509.NewCertPool()
	roots.AppendCertsFromPEM(text)
	return cert, key, roots
}

// payload is the claims of a token as they stand in it.
func payload(t *testing.T, token string) string {
	t.Helper()
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		t.Fatalf("%d parts", len(parts))
	}
	raw, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

// signedBy reports whether a token is signed as any JWT library would sign it with HS256 and that text for its key (RFC 7515, appendix A.1).
func signedBy(token, key string) bool {
	at := strings.LastIndexByte(token, '.')
	mac := hmac.New(sha256.New, []byte(key))
	mac.Write([]byte(token[:at]))
	return token[at+1:] == base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
}
