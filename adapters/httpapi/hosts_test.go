package httpapi_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/xteam/xteam/adapters/httpapi"
)

func hosts(t testing.TB, patterns ...string) httpapi.Hosts {
	t.Helper()
	h, err := httpapi.ParseHosts(patterns)
	check(t, err)
	return h
}

// ask sends a request to a host.
func (s *service) ask(host, method, target string, heads ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, "http://xteam.test"+target, http.NoBody)
	r.Host, r.RemoteAddr = host, "192.0.2.7:4711"
	for _, h := range heads {
		k, v, _ := strings.Cut(h, ": ")
		r.Header.Add(k, v)
	}
	w := httptest.NewRecorder()
	s.h.ServeHTTP(w, r)
	return w
}

// TestHosts: a host is taken by its whole name, in any letter case and at any port; one that only ends or begins alike is another.
func TestHosts(t *testing.T) {
	s := newService(t, httpapi.Options{Hosts: hosts(t, "example.com", "*.Example.org", "192.0.2.1", "[2001:DB8::1]", "under_score.test")})
	for _, host := range []string{
		"example.com", "EXAMPLE.com", "example.com:443", "example.com:", "a.example.org", "a.b.example.org:8000", "A_b-c.example.ORG", "192.0.2.1", "192.0.2.1:80",
		"[2001:db8::1]", "[2001:db8:0::1]:443", "under_score.test",
	} {
		wants(t, s.ask(host, "GET", "/nothing"), 404, "not_found")
	}
	for _, host := range []string{
		"", "evilexample.com", "example.com.evil.test", "example.co", "www.example.com", "xample.com", "example.com.", "a.example.org.", "example.com..", ".example.com",
		"example.org", ".example.org", "evilexample.org", "a..example.org", "-.evil.test", "a.example.org.evil.test", "evil.test/.example.org", "evil.test\\.example.org", "evil.test#.example.org",
		"user@a.example.org", "user@example.com", "example.com@evil.test", "example.com:80@evil.test", "example.com:8o", "example.com:80:80", "example.com :80", " example.com", "example.com,evil.test",
		"evil.test:80#a.example.org", "evil.test:443.example.org", "exаmple.com", "example。com", "example%2ecom", "192.0.2.1.evil.test", "192.0.2.01", "192.0.2.10", "3221225985", "2001:db8::1", "[2001:db8::1", "[2001:db8::1]x",
		"[2001:db8::1]:x", "[192.0.2.1]", "[2001:db8::1%eth0]", "[2001:db8::2]", "[::ffff:192.0.2.1]", "[example.com]", "*.example.org", "*", "localhost", "127.0.0.1", strings.Repeat("a.", 1<<14) + "example.org\x00", "a\x00.example.org",
	} {
		w := s.ask(host, "GET", "/api/v1/users/me")
		wants(t, w, 400, "host_unknown")
		if w.Header().Get("X-Frame-Options") != "DENY" || strings.Contains(w.Body.String(), "evil") {
			t.Errorf("%.40q: %v %s, want the headers of every answer and no echo", host, w.Header(), w.Body)
		}
	}
	// It is the request's own host that counts, by whatever other name a header calls it.
	wants(t, s.ask("evil.test", "GET", "/nothing", "X-Forwarded-Host: example.com", "Forwarded: host=example.com", "X-Original-Host: example.com", "Host: example.com"), 400, "host_unknown")
	wants(t, s.ask("example.com", "GET", "/nothing", "X-Forwarded-Host: evil.test"), 404, "not_found")
}

// TestHostsAny: with no pattern, and with *, every host is answered.
func TestHostsAny(t *testing.T) {
	for _, o := range []httpapi.Options{{}, {Hosts: hosts(t, "*")}, {Hosts: hosts(t, "example.com", "*")}} {
		for _, host := range []string{"evil.test", ""} {
			wants(t, newService(t, o).ask(host, "GET", "/nothing"), 404, "not_found")
		}
	}
	if !hosts(t).Any() || !hosts(t, "*").Any() || hosts(t, "*.example.com").Any() {
		t.Error("Any: got it wrong")
	}
}

// TestHostsOfProbes: whoever asks whether the process lives asks by an address, by a machine's bare name or by none, and learns nothing that depends on it; another's
// domain is refused there as elsewhere, and a path that only looks like one of theirs is no exception. The operator's socket has no name.
func TestHostsOfProbes(t *testing.T) {
	s := newService(t, httpapi.Options{Hosts: hosts(t, "example.com")})
	for _, path := range []string{"/health", "/healthz", "/readyz"} {
		for _, method := range []string{"GET", "HEAD"} {
			for _, host := range []string{"10.1.2.3:8000", "[2001:db8::1]:8000", "localhost", "xteam-1:8000", ""} {
				if w := s.ask(host, method, path); w.Code != 200 {
					t.Errorf("%s %s by %q: %d", method, path, host, w.Code)
				}
			}
		}
		for _, host := range []string{"evil.test", "example.com.evil.test:8000", "10.1.2.3.evil.test", "evil.", "evil:x"} {
			if p := wants(t, s.ask(host, "GET", path), 400, "host_unknown"); !strings.Contains(p["detail"].(string), "TRUSTED_HOSTS") {
				t.Errorf("whoever probes by another name is not told what to set: %v", p["detail"])
			}
		}
	}
	for _, path := range []string{"/health/", "//health", "/health/../api/v1/users/me", "/api/v1/health", "/health/api/v1/users/me", "/healthz;/api", "/api/v1/users/me?/health"} {
		wants(t, s.ask("10.1.2.3:8000", "GET", path), 400, "host_unknown")
	}
	// Nor does a proxy that asks for another service, under that service's host or our address: the answer hangs on the credential alone.
	for _, host := range []string{"shop.example.org", "127.0.0.1:8000", ""} {
		wants(t, s.ask(host, "GET", "/api/v1/auth/verify"), 401, "token_missing")
		wants(t, s.ask(host, "POST", "/api/v1/auth/verify/orders"), 401, "token_missing")
		wants(t, s.ask(host, "POST", "/api/v1/auth/verifyx"), 400, "host_unknown")
	}
	s.h = httpapi.AsOperator(s.h)
	wants(t, s.ask("operator", "GET", "/nothing"), 404, "not_found")
}

// TestParseHosts: what is no pattern is refused, with the one that is wrong.
func TestParseHosts(t *testing.T) {
	for _, bad := range []string{"", " ", "https://example.com", "example.com:443", "example.com/", "exam ple.com", "*example.com", "*.", "*.*.com", "a.*.com", "example.com.", ".example.com",
		"a..b", "exämple.com", "user@example.com", "*.192.0.2.1", "[::1", "[::1]:80", "fe80::1%eth0", strings.Repeat("a", 64) + ".com", strings.Repeat("a.", 127) + "com"} {
		if _, err := httpapi.ParseHosts([]string{"example.com", bad}); err == nil || len(bad) > 1 && len(bad) < 50 && !strings.Contains(err.Error(), bad) {
			t.Errorf("%q: got %v, want a refusal that names it", bad, err)
		}
	}
}
