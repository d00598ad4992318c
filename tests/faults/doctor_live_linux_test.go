package faults_test

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/xteam/xteam/ports/porttest"
)

// TestDoctorLive: a deployment in production, with two servers over TLS, PostgreSQL that is verified and Redis with TLS and ACL: what the doctor says of it from outside. Then a record of the
// trail is taken away, and the doctor says so; and before all that, what is wrong with a first try is named at once.
func TestDoctorLive(t *testing.T) {
	cert, key := selfSigned(t)
	certFile, keyFile := keep(t, cert), keep(t, key)
	postgres := startPostgres(t)
	ca := postgres.speakTLS(t, cert, key)
	port := porttest.Free(t)
	acl := filepath.Join(t.TempDir(), "users")
	write(t, acl, "user default off\nuser xteam on >a-redis-password ~* &* +@all\n")
	startTLSRedis(t, port, "--tls-port", strconv.Itoa(port), "--tls-cert-file", ca, "--tls-key-file", keyFile, "--tls-ca-cert-file", ca, "--tls-auth-clients", "no", "--aclfile", acl)
	database := fmt.Sprintf("postgres://xteam:%s@localhost:%d/postgres?", postgresPassword, postgres.port)
	good := []string{"PATH=" + os.Getenv("PATH"), "ENVIRONMENT=production", "SECRET_KEY=q7Zt0Lw4Vb9Xn2Rk8Hs5Jd1Fg6Pc3Mya", "ROOT_KEY=q7Zt0Lw4Vb9Xn2Rk8Hs5Jd1Fg6Pc3MyaR",
		"DATABASE_URL=" + database + "sslmode=verify-full&sslrootcert=" + ca, fmt.Sprintf("REDIS_URL=rediss://xteam:a-redis-password@localhost:%d/?ca=%s", port, ca),
		"SSL_CERTFILE=" + certFile, "SSL_KEYFILE=" + keyFile, "TRUSTED_HOSTS=localhost,127.0.0.1", "RATE_LIMIT_AUTH=60", "RATE_LIMIT_REQUESTS_PER_MINUTE=6000"}

	bad := exec.Command(binary, "serve")
	bad.Dir = t.TempDir()
	bad.Env = append(append([]string{}, good...), "HTTP_ADDR=127.0.0.1:0", "DATABASE_URL="+database+"sslmode=disable", fmt.Sprintf("REDIS_URL=redis://xteam:a-redis-password@192.0.2.1:%d", port),
		"SSL_CERTFILE=", "SSL_KEYFILE=", "TRUSTED_HOSTS=", "CORS_ORIGINS=*", "SECRET_KEY="+strings.Repeat("ab", 20))
	said, err := bad.CombinedOutput()
	if err == nil {
		t.Fatalf("a first try was started in production:\n%s", said)
	}
	for _, name := range []string{"TRUSTED_HOSTS", "SSL_CERTFILE", "CORS_ORIGINS", "SECRET_KEY", "DATABASE_URL", "REVOCATION_URL"} {
		if !strings.Contains(string(said), name+":") {
			t.Errorf("the start does not name %s:\n%s", name, said)
		}
	}

	type server struct{ env []string }
	var servers []server
	var base, log string
	for n := range 2 {
		dir, at := t.TempDir(), porttest.Free(t)
		file := filepath.Join(t.TempDir(), "log")
		env := append(append([]string{}, good...), fmt.Sprintf("HTTP_ADDR=127.0.0.1:%d", at), "DATA_DIR="+dir, "LOG_FILE="+file)
		p := &process{t: t, name: fmt.Sprintf("server %d", n), args: []string{binary, "serve"}, env: env, dir: t.TempDir(), ready: func() bool {
			return socketThere(dir)
		}}
		p.start()
		servers = append(servers, server{env})
		if n == 0 {
			base, log = fmt.Sprintf("https://localhost:%d", at), file
		}
	}
	look := func() map[string]found {
		t.Helper()
		cmd := exec.Command(binary, "doctor", "--live", base, "--ca", certFile, "--json")
		cmd.Env, cmd.Dir = servers[0].env, t.TempDir()
		out, err := cmd.Output()
		var d struct {
			Checks []struct {
				ID string
				found
			}
		}
		if json.Unmarshal(out, &d) != nil || len(d.Checks) != 12 {
			t.Fatalf("doctor: %v\n%s", err, out)
		}
		all := map[string]found{}
		for _, c := range d.Checks {
			all[c.ID] = c.found
		}
		return all
	}
	until(t, "the servers know one another", func() bool {
		cmd := exec.Command(binary, "nodes", "--json")
		cmd.Env, cmd.Dir = servers[0].env, t.TempDir()
		out, err := cmd.Output()
		return err == nil && strings.Count(string(out), `"started_at"`) == 2
	})
	all := look()
	for id, want := range map[string]string{"ratelimit.counted": "pass shows in", "revocation.works": "pass 2 of 2 nodes", "health.answers": "pass 200", "headers.seen": "pass Strict-Transport-Security",
		"validation.routes": "pass refuse", "audit.verifies": "pass hold", "audit.reviewed": "fail nobody", "clock.skew": "pass off this host", "keys.age": "pass 0 days", "apikeys.age": "pass none"} {
		verdict, words, _ := strings.Cut(want, " ")
		if f := all[id]; f.Verdict != verdict || !strings.Contains(f.Seen, words) {
			t.Errorf("%s: got %+v, want %s", id, f, want)
		}
	}
	if f := all["auth_failures.counted"]; f.Verdict == "fail" || !strings.Contains(f.Seen, "events") || !strings.Contains(f.Seen, "log") {
		t.Errorf("auth_failures.counted: %+v", f)
	}
	if text, err := os.ReadFile(log); err != nil || strings.Contains(string(text), "Doctor-") {
		t.Errorf("the log: %v, or the probe's password is in it", err)
	}
	postgres.must("DELETE FROM trail WHERE seq = 2")
	if f := look()["audit.verifies"]; f.Verdict != "fail" || !strings.Contains(f.Seen, "2") || f.Fix == "" {
		t.Errorf("after a record was taken away: %+v", f)
	}
}

// socketThere reports whether a server takes commands on its folder.
func socketThere(dir string) bool {
	info, err := os.Stat(filepath.Join(dir, "xteam.sock"))
	return err == nil && info.Mode()&os.ModeSocket != 0
}
