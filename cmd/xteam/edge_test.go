package main_test

import (
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
		"TRUSTED_HOSTS":   {"", "*", "example.com,*"},
		"CORS_ORIGINS":    {"*", "https://app.example.com,*", "http://app.example.com", "https://localhost", "https://localhost:3000", "https://app.localhost", "https://127.0.0.1", "https://[::1]:8443", "https://0.0.0.0"},
		"TRUSTED_PROXIES": {"0.0.0.0/0", "::/0", "0.0.0.0/1,128.0.0.0/1", "::ffff:0.0.0.0/96", "2000::/3", "10.0.0.0/8,8.0.0.0/7"},
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
