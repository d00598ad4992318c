package faults_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/xteam/xteam/ports/porttest"
)

// TestDoctorOfStores: what the doctor says of the database and of Redis it has seen on live connections. Each check is red for its own fault, and green after the fix.
func TestDoctorOfStores(t *testing.T) {
	cert, key := selfSigned(t)
	postgres := startPostgres(t)
	ca := postgres.speakTLS(t, cert, key)
	plain := startRedis(t, "--appendonly", "no", "--maxmemory-policy", "allkeys-lru")
	plain.say("ZADD", "xteam:{r}:live", "9999999999", "jti:"+strings.Repeat("7", 32))
	plain.say("SET", "xteam:{r}:jti:"+strings.Repeat("7", 32), "oops")
	port := porttest.Free(t)
	acl := filepath.Join(t.TempDir(), "users")
	write(t, acl, "user default off\nuser xteam on >a-redis-password ~* &* +@all\n")
	startTLSRedis(t, port, "--tls-port", strconv.Itoa(port), "--tls-cert-file", ca, "--tls-key-file", keep(t, key), "--tls-ca-cert-file", ca, "--tls-auth-clients", "no", "--aclfile", acl)

	at := func(ssl string) string {
		return fmt.Sprintf("postgres://xteam:%s@localhost:%d/postgres?%s", postgresPassword, postgres.port, ssl)
	}
	seed := fmt.Sprintf("postgresql+asyncpg://xteam:%s@localhost:%d/postgres?ssl=require", postgresPassword, postgres.port)
	secure := fmt.Sprintf("rediss://xteam:a-redis-password@localhost:%d/?ca=%s", port, ca)
	for _, c := range []struct {
		what, database, redis string
		want                  map[string]string // check: verdict and words of what was seen
	}{
		{"as it should be", at("sslmode=verify-full&sslrootcert=" + ca), secure, map[string]string{
			"db.encrypted": "pass its certificate was verified", "redis.encrypted": "pass is TLS", "redis.auth": "pass turns away", "redis.noeviction": "pass drops nothing", "redis.durable": "pass has on disk", "redis.entries": "pass can be read"}},
		{"as a first try is", at("sslmode=disable"), plain.url(), map[string]string{
			"db.encrypted": "fail is not encrypted", "redis.encrypted": "pass does not leave this machine", "redis.auth": "fail answers whoever asks", "redis.noeviction": "fail allkeys-lru", "redis.durable": "warn all revocations", "redis.entries": "fail 1 cannot be read"}},
		{"over a network, as its address says", at("sslmode=disable"), strings.Replace(plain.url(), "127.0.0.1", "0.0.0.0", 1), map[string]string{"redis.encrypted": "fail crosses a network"}},
		{"encrypted with anybody", seed, "", map[string]string{"db.encrypted": "fail no certificate was verified", "redis.auth": "pass no Redis"}},
		{"another authority", at("sslmode=verify-full"), fmt.Sprintf("rediss://xteam:a-redis-password@localhost:%d", port), map[string]string{
			"db.encrypted": "unknown authority", "redis.encrypted": "unknown REVOCATION_URL"}},
		{"a wrong password", strings.Replace(at("sslmode=verify-full&sslrootcert="+ca), postgresPassword, "planted-password", 1), strings.Replace(secure, "a-redis-password", "planted-password", 1), map[string]string{
			"db.encrypted": "unknown cannot be used", "redis.auth": "unknown password is wrong"}},
	} {
		t.Run(c.what, func(t *testing.T) {
			found := doctor(t, map[string]string{"DATABASE_URL": c.database, "REDIS_URL": c.redis})
			for id, want := range c.want {
				verdict, words, _ := strings.Cut(want, " ")
				f := found[id]
				if f.Verdict != verdict || !strings.Contains(f.Seen, words) || (verdict == "pass") != (f.Fix == "") {
					t.Errorf("%s: got %+v, want %s", id, f, want)
				}
				if strings.Contains(f.Seen+f.Fix, "planted") || strings.Contains(f.Seen+f.Fix, postgresPassword) {
					t.Errorf("%s shows a password: %+v", id, f)
				}
			}
		})
	}

	stores := map[string]string{"DATABASE_URL": at("sslmode=verify-full&sslrootcert=" + ca), "REDIS_URL": secure}
	for networks, want := range map[string]string{"": "warn nobody says", "10.0.0.0/8,::/1": "fail the database has sessions from 127.0.0.1", "127.0.0.0/8,::1": "pass every session"} {
		stores["DB_ALLOWED_NETWORKS"] = networks
		verdict, words, _ := strings.Cut(want, " ")
		if f := doctor(t, stores)["db.networks"]; f.Verdict != verdict || !strings.Contains(f.Seen, words) || verdict == "fail" && !strings.Contains(f.Seen, "; REVOCATION_URL has sessions from 127.0.0.1, outside") {
			t.Errorf("sessions from %q: %+v", networks, f)
		}
	}

	// And the fix that it printed makes it green.
	fix := doctor(t, map[string]string{"DATABASE_URL": seed})["db.encrypted"].Fix
	_, fix, _ = strings.Cut(fix, "DATABASE_URL=")
	fix, _, _ = strings.Cut(fix, ", ")
	fixed := strings.Replace(fix, "xteam@", "xteam:"+postgresPassword+"@", 1) + "&sslrootcert=" + ca
	if f := doctor(t, map[string]string{"DATABASE_URL": fixed})["db.encrypted"]; f.Verdict != "pass" {
		t.Errorf("after the fix %q: %+v", fix, f)
	}
}

type found struct{ Verdict, Seen, Fix string }

// doctor runs the command with settings, and answers what it found.
func doctor(t testing.TB, env map[string]string) map[string]found {
	t.Helper()
	cmd := exec.Command(binary, "doctor", "--json")
	cmd.Dir = t.TempDir()
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "SECRET_KEY=q7Zt0Lw4Vb9Xn2Rk8Hs5Jd1Fg6Pc3Mya", "ROOT_KEY=q7Zt0Lw4Vb9Xn2Rk8Hs5Jd1Fg6Pc3MyaR"}
	for name, value := range env {
		cmd.Env = append(cmd.Env, name+"="+value)
	}
	out, err := cmd.Output()
	var d struct {
		Checks []struct {
			ID string
			found
		}
	}
	if json.Unmarshal(out, &d) != nil || len(d.Checks) == 0 {
		t.Fatalf("doctor: %v\n%s", err, out)
	}
	all := map[string]found{}
	for _, c := range d.Checks {
		all[c.ID] = c.found
	}
	return all
}

// selfSigned is a certificate for localhost and its key, as PEM.
func selfSigned(t testing.TB) (cert, key []byte) {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "localhost"}, DNSNames: []string{"localhost"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour), IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign}
	der, err := x509.CreateCertificate(rand.Reader, c, c, k.Public(), k)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(k)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private})
}

func write(t testing.TB, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func keep(t testing.TB, text []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "pem")
	write(t, path, string(text))
	return path
}

// speakTLS gives the server a certificate, and answers a file of it. Connections without TLS go on being taken.
func (p *postgresServer) speakTLS(t testing.TB, cert, key []byte) (ca string) {
	t.Helper()
	p.kill()
	data := filepath.Join(p.dir, "data")
	for name, text := range map[string][]byte{"server.crt": cert, "server.key": key} {
		path := filepath.Join(data, name)
		write(t, path, string(text))
		if p.as != nil {
			if err := os.Chown(path, int(p.as.Uid), int(p.as.Gid)); err != nil {
				t.Fatal(err)
			}
		}
	}
	p.args = append(p.args, "-c", "ssl=on", "-c", "ssl_cert_file=server.crt", "-c", "ssl_key_file=server.key")
	p.start()
	return keep(t, cert)
}

// startTLSRedis is startRedis without a plain port: it is ready when it takes connections.
func startTLSRedis(t testing.TB, port int, args ...string) {
	t.Helper()
	dir := t.TempDir()
	p := &process{t: t, name: "Redis over TLS", dir: dir,
		args: append([]string{needs(t, "redis-server"), "--bind", "127.0.0.1", "--port", "0", "--dir", dir, "--save", "", "--appendonly", "yes", "--appendfsync", "always"}, args...),
		ready: func() bool {
			conn, err := net.DialTimeout("tcp", fmt.Sprintf("127.0.0.1:%d", port), time.Second)
			if err != nil {
				return false
			}
			return conn.Close() == nil
		}}
	p.start()
}
