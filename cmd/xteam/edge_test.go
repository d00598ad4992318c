package main_test

import (
	"crypto/x509"
	"net/http"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/xteam/xteam/adapters/httpapi"
	xteam "github.com/xteam/xteam/cmd/xteam"
)

func TestTrustedProxies(t *testing.T) {
	got, _, err := xteam.ParseEdge(map[string]string{"TRUSTED_PROXIES": "10.0.0.0/8, 192.0.2.7,2001:db8::/48,::1 ,::ffff:172.16.0.0/108", "TRUSTED_PROXY_HEADER": "forwarded"})
	if err != nil {
		t.Fatal(err)
	}
	want := httpapi.Proxies{Header: httpapi.Forwarded}
	for _, p := range []string{"10.0.0.0/8", "192.0.2.7/32", "2001:db8::/48", "::1/128", "::ffff:172.16.0.0/108"} {
		want.Trusted = append(want.Trusted, netip.MustParsePrefix(p))
	}
	if diff := cmp.Diff(want, got.Proxies, cmpopts.EquateComparable(netip.Prefix{})); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if got, _, err := xteam.ParseEdge(nil); err != nil || len(got.Proxies.Trusted) > 0 {
		t.Errorf("with nothing set: got %v, %v, want nobody trusted", got.Proxies, err)
	}
}

// With cookies, * would let every page act in its visitor's name, in whatever environment.
func TestCookieMode(t *testing.T) {
	for env, want := range map[string]bool{"COOKIE_MODE=on": true, "COOKIE_MODE=off": false, "COOKIE_MODE=": false} {
		name, v, _ := strings.Cut(env, "=")
		if got, _, err := xteam.ParseEdge(map[string]string{name: v, "CORS_ORIGINS": "https://app.example.com"}); err != nil || got.Cookies.On != want {
			t.Errorf("%s: got %v, %v, want %v", env, got.Cookies.On, err, want)
		}
	}
	_, _, err := xteam.ParseEdge(map[string]string{"COOKIE_MODE": "on", "CORS_ORIGINS": "https://app.example.com,*"})
	if err == nil || !strings.HasPrefix(err.Error(), "CORS_ORIGINS: got *, takes ") {
		t.Errorf("on, with *: got %v, want it refused", err)
	}
}

// fit are settings that may serve in production.
func fit(changes ...string) map[string]string {
	env := map[string]string{"ENVIRONMENT": "production", "ROOT_KEY": key + "r", "SECRET_KEY": key, "TRUSTED_HOSTS": "example.com", "SSL_CERTFILE": "tls.crt", "SSL_KEYFILE": "tls.key"}
	for _, c := range changes {
		name, v, _ := strings.Cut(c, "=")
		env[name] = v
	}
	return env
}

// TestUnfitForProduction: what is refused in production only, each reason on a line of its own that begins with the setting, and all at once.
func TestUnfitForProduction(t *testing.T) {
	if _, unfit, err := xteam.ParseEdge(fit()); err != nil || unfit != nil {
		t.Fatalf("got %v, %v, want no reason", unfit, err)
	}
	for name, bad := range map[string][]string{
		"TRUSTED_HOSTS":       {"", "*", "example.com,*"},
		"CORS_ORIGINS":        {"*", "https://app.example.com,*", "http://app.example.com", "https://localhost", "https://localhost:3000", "https://app.localhost", "https://127.0.0.1", "https://[::1]:8443", "https://0.0.0.0"},
		"SECRET_KEY":          {strings.Repeat("a", 40), "changeme-changeme-changeme-changeme"},
		"SECRET_KEY_PREVIOUS": {strings.Repeat("ab", 20), key + "p, changeme-changeme-changeme-changeme"},
		"ROOT_KEY":            {"0123456789abcdefghijklmnopqrstuvwxyz"},
		"TRUSTED_PROXIES":     {"0.0.0.0/0", "::/0", "0.0.0.0/1,128.0.0.0/1", "::ffff:0.0.0.0/96", "2000::/3", "2000::/7", "2001:d00::/24", "2001:db8::/31", "fe00::/7", "fc00::/6", "10.0.0.0/8,8.0.0.0/7"},
	} {
		for _, v := range bad {
			_, unfit, err := xteam.ParseEdge(fit(name + "=" + v))
			if err != nil || len(unfit) == 0 || !strings.HasPrefix(unfit[0], name+": got ") || strings.Contains(strings.Join(unfit, ""), "\n") {
				t.Errorf("%s=%s: got %q, %v, want reasons that begin with the setting", name, v, unfit, err)
			}
			if _, unfit, err := xteam.ParseEdge(map[string]string{"ENVIRONMENT": "staging", name: v}); err != nil || unfit != nil {
				t.Errorf("%s=%s in staging: got %q, %v, want none", name, v, unfit, err)
			}
		}
	}
	if _, unfit, err := xteam.ParseEdge(fit("SSL_CERTFILE=", "SSL_KEYFILE=")); err != nil || len(unfit) != 1 || !strings.HasPrefix(unfit[0], "SSL_CERTFILE: got nothing, takes ") {
		t.Errorf("plain HTTP: got %q, %v, want it refused", unfit, err)
	}
	if _, unfit, err := xteam.ParseEdge(fit("SSL_CERTFILE=", "SSL_KEYFILE=", "TRUSTED_PROXIES=10.0.0.0/8")); err != nil || unfit != nil {
		t.Errorf("plain HTTP behind a proxy that is named: got %q, %v, want it taken", unfit, err)
	}
	for url, want := range map[string]int{"http://10.0.0.1/": 1, "http://localhost:9/": 0, "https://hooks.example/": 0} {
		if _, unfit, err := xteam.ParseEdge(fit("ALERT_WEBHOOK_URL="+url, "ALERT_WEBHOOK_SECRET="+key, "ALERT_WEBHOOK_PRIVATE=true")); err != nil || len(unfit) != want || want > 0 && !strings.HasPrefix(unfit[0], "ALERT_WEBHOOK_URL: got http, takes ") {
			t.Errorf("a webhook at %s: got %q, %v, want %d reasons", url, unfit, err, want)
		}
	}
	for url, want := range map[string]int{"http://10.0.0.1/": 1, "http://localhost:9/": 0, "https://keeps.example/": 0} {
		if _, unfit, err := xteam.ParseEdge(fit("AUDIT_WEBHOOK_URL="+url, "AUDIT_WEBHOOK_SECRET="+key, "AUDIT_WEBHOOK_PRIVATE=true")); err != nil || len(unfit) != want || want > 0 && !strings.HasPrefix(unfit[0], "AUDIT_WEBHOOK_URL: got http, takes ") {
			t.Errorf("checkpoints to %s: got %q, %v, want %d reasons", url, unfit, err, want)
		}
	}
	for url, want := range map[string]int{"http://10.0.0.1/": 1, "http://localhost:9/": 0, "https://wall.example/": 0} {
		if _, unfit, err := xteam.ParseEdge(fit("FIREWALL_URL="+url, "FIREWALL_SECRET="+key, "FIREWALL_PRIVATE=true")); err != nil || len(unfit) != want || want > 0 && !strings.HasPrefix(unfit[0], "FIREWALL_URL: got http, takes ") {
			t.Errorf("a firewall at %s: got %q, %v, want %d reasons", url, unfit, err, want)
		}
	}
	for url, want := range map[string]int{"syslog://10.0.0.1": 1, "syslog://127.0.0.1:514": 0, "syslogs://logs.example": 0} {
		if _, unfit, err := xteam.ParseEdge(fit("EVENT_SYSLOG_URL=" + url)); err != nil || len(unfit) != want || want > 0 && !strings.HasPrefix(unfit[0], "EVENT_SYSLOG_URL: got syslog, takes ") {
			t.Errorf("%s: got %q, %v, want %d reasons", url, unfit, err, want)
		}
	}
	for _, narrow := range []string{"fc00::/7", "fd00::/8", "2001:db8::/32", "::1", "::ffff:10.0.0.0/104"} {
		if _, unfit, err := xteam.ParseEdge(fit("TRUSTED_PROXIES=" + narrow)); err != nil || unfit != nil {
			t.Errorf("TRUSTED_PROXIES=%s: got %q, %v, want it taken", narrow, unfit, err)
		}
	}
	for _, half := range []string{"SSL_CERTFILE=", "SSL_KEYFILE="} {
		if _, _, err := xteam.ParseEdge(fit(half)); err == nil || !strings.HasPrefix(err.Error(), half[:len(half)-1]+": got nothing, takes ") {
			t.Errorf("one file without the other: got %v, want the missing one named", err)
		}
	}
	_, unfit, err := xteam.ParseEdge(fit("TRUSTED_PROXIES=0.0.0.0/0", "BCRYPT_COST=4"))
	if err == nil || strings.Contains(err.Error(), "\n") || len(unfit) != 1 {
		t.Errorf("with a bad value beside it: got %v, %v, want both, apart", err, unfit)
	}
}

// TestServeInProduction: the settings reach the wire: the host, the origin, the certificate, the cookie and the one header of a proxy.
func TestServeInProduction(t *testing.T) {
	c := issue(t, 1, func(c *x509.Certificate) { c.DNSNames = []string{"example.com", "localhost"} })
	p := newPair(t, c)
	var env []string
	for name, v := range fit("SSL_CERTFILE="+p.cert, "SSL_KEYFILE="+p.key, "CORS_ORIGINS=https://app.example.com", "COOKIE_MODE=on", "TRUSTED_PROXIES=127.0.0.1", "TRUSTED_PROXY_HEADER=forwarded") {
		env = append(env, name+"="+v)
	}
	s := runServer(t, env...)
	client := trusting(c)
	ask := func(host, path string) *http.Response {
		t.Helper()
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.base+path, nil)
		check(t, err)
		r.Host = host
		for name, v := range map[string]string{"Origin": "https://app.example.com", "Cookie": "__Host-xteam_at=nonsense", "Forwarded": "for=203.0.113.9", "X-Forwarded-For": "203.0.113.8"} {
			r.Header.Set(name, v)
		}
		res, err := client.Do(r)
		check(t, err)
		_ = res.Body.Close()
		return res
	}
	if res := ask("", "/health"); res.StatusCode != 200 {
		t.Errorf("a probe by address: %d", res.StatusCode)
	}
	if res := ask("", "/api/v1/users/me"); res.StatusCode != 400 {
		t.Errorf("by address: got %d, want 400", res.StatusCode)
	}
	res := ask("example.com", "/api/v1/users/me")
	if h := res.Header; res.StatusCode != 401 || h.Get("WWW-Authenticate") == `Bearer realm="xteam"` || h.Get("Access-Control-Allow-Credentials") != "true" || h.Get("Strict-Transport-Security") == "" {
		t.Errorf("with a cookie that is none, from a front end: %d %v, want the cookie refused as a token, readable with credentials, and HSTS", res.StatusCode, h)
	}
	s.log.await(t, `"ip_address":"203.0.113.9"`)
}

// TestMetricsForAnybody: figures that strangers may reach are served, with a warning.
func TestMetricsForAnybody(t *testing.T) {
	c := issue(t, 1)
	p := newPair(t, c)
	for addr, want := range map[string]bool{"0.0.0.0:0": true, "127.0.0.1:0": false} {
		t.Run(addr, func(t *testing.T) {
			var env []string
			for name, v := range fit("SSL_CERTFILE="+p.cert, "SSL_KEYFILE="+p.key, "METRICS_ADDR="+addr) {
				env = append(env, name+"="+v)
			}
			s := runServer(t, env...)
			s.log.await(t, "A certificate is served") // the line behind it
			if got := strings.Contains(s.log.String(), "METRICS_ADDR"); got != want {
				t.Errorf("a warning: %v, want %v: %s", got, want, s.log)
			}
		})
	}
	for addr, want := range map[string]bool{"10.1.2.3:9100": false, "192.168.1.1:1": false, "[fd00::1]:1": false, "[::1]:1": false, "169.254.0.1:1": false,
		"203.0.113.1:1": true, "[2001:db8::1]:1": true, "[::]:9100": true, "nonsense": true} {
		if got := xteam.StrangersReach(addr); got != want {
			t.Errorf("%s: exposed %v, want %v", addr, got, want)
		}
	}
}
