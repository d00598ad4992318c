package xteam_test

import (
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"

	"github.com/xteam/xteam/app/xteam"
)

// The edge of an embedded system: the hosts and origins of the program, and the addresses of the proxies before it.
func TestEmbeddedEdge(t *testing.T) {
	x, err := xteam.Open(t.Context(), xteam.Options{Dir: t.TempDir(), BcryptCost: 10, Hosts: []string{"example.com"}, Origins: []string{"https://app.example.com"},
		TrustedProxies: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}})
	if err != nil {
		t.Fatal(err)
	}
	defer x.Close()
	ask := func(host string) *httptest.ResponseRecorder {
		req, res := httptest.NewRequest(http.MethodGet, "http://"+host+"/api/v1/users/me", nil), httptest.NewRecorder() // from 192.0.2.1
		req.Header.Set("Origin", "https://app.example.com")
		req.Header.Set("X-Forwarded-Proto", "https")
		x.Handler().ServeHTTP(res, req)
		return res
	}
	if res := ask("evil.test"); res.Code != http.StatusBadRequest || !strings.Contains(res.Body.String(), "host_unknown") {
		t.Errorf("another host: got %d %s", res.Code, res.Body)
	}
	res := ask("example.com")
	if h := res.Header(); res.Code != http.StatusUnauthorized || h.Get("Access-Control-Allow-Origin") == "" || h.Get("Strict-Transport-Security") == "" {
		t.Errorf("through the proxy: got %d %v, want 401, readable by the origin, and HSTS", res.Code, h)
	}
}

func TestEmbeddedEdgeRefused(t *testing.T) {
	for _, o := range []xteam.Options{{Hosts: []string{"https://example.com"}}, {Origins: []string{"app.example.com"}}, {Origins: []string{"*"}, Cookies: true}} {
		o.Dir = t.TempDir()
		if x, err := xteam.Open(t.Context(), o); err == nil || !strings.HasPrefix(err.Error(), "xteam: Options.") {
			t.Errorf("%+v: got %v, %v, want a refusal that names the option", o, x, err)
		}
	}
}
