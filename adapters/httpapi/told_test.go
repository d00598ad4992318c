package httpapi_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/xteam/xteam/adapters/httpapi"
	"github.com/xteam/xteam/app"
	"github.com/xteam/xteam/domain/account"
)

// TestRefusedTokensAreFewLines: of one address and reason the first is told of at once. What was a good token once is told of for each user whose it was.
func TestRefusedTokensAreFewLines(t *testing.T) {
	l := newLimited(t, app.LimiterOptions{PerAddress: 1000, Read: 1000})
	l.user("ann", account.RoleUser)
	l.user("bob", account.RoleUser)
	var dead []string
	for _, name := range []string{"ann", "bob"} {
		p := l.tokens(name)
		if w := l.call("POST", "/api/v1/auth/logout", "", bearer(p)); w.Code != 204 {
			t.Fatal(w.Code)
		}
		dead = append(dead, bearer(p))
	}
	before := strings.Count(l.log.String(), `"msg":"Access refused"`)
	for range 50 {
		for _, head := range append(dead, "Authorization: Bearer garbage") {
			if w := l.call("GET", mePath, "", head); w.Code != 401 {
				t.Fatal(w.Code)
			}
		}
	}
	if n := strings.Count(l.log.String(), `"msg":"Access refused"`) - before; n != 3 {
		t.Errorf("150 refusals, of three tokens: %d lines at once, want 3", n)
	}
}

// TestProtectChargesRefusals to the address that sends them, and nothing that is let in.
func TestProtectChargesRefusals(t *testing.T) {
	l := newLimited(t, app.LimiterOptions{PerAddress: 5})
	l.user("ann", account.RoleUser)
	p := l.tokens("ann")
	l.h = l.h.(*httpapi.API).Protect(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	for range 100 {
		if w := l.call("GET", "/orders", "", bearer(p)); w.Code != 200 || len(limitsOf(w)) != 0 {
			t.Fatal(w.Code, limitsOf(w))
		}
	}
	for range 5 {
		wants(t, l.call("GET", "/orders", "", "Authorization: Bearer garbage"), 401, "token_malformed")
	}
	wants(t, l.call("GET", "/orders", "", "Authorization: Bearer garbage"), 429, "rate_limited")
	if w := l.call("GET", "/orders", "", bearer(p)); w.Code != 200 {
		t.Error(w.Code)
	}
}

// limitedBy is a service with limits and other options.
func limitedBy(t *testing.T, lo app.LimiterOptions, o httpapi.Options) *limited {
	t.Helper()
	l := newLimited(t, lo)
	l.h = httpapi.New(l.h.(*httpapi.API).Services, o).Handler()
	return l
}

// TestForeignHostsAndPreflightsAreCharged to the address, as whatever else needs no token.
func TestForeignHostsAndPreflightsAreCharged(t *testing.T) {
	l := limitedBy(t, app.LimiterOptions{PerAddress: 5}, httpapi.Options{Hosts: hosts(t, "example.com")})
	for range 5 {
		wants(t, l.call("GET", mePath, ""), 400, "host_unknown")
	}
	wants(t, l.call("GET", mePath, ""), 429, "rate_limited")
	for _, path := range []string{"/health", "/healthz", "/readyz"} { // which no limit is for
		wants(t, l.call("GET", path, ""), 400, "host_unknown")
	}

	l = limitedBy(t, app.LimiterOptions{PerAddress: 5}, httpapi.Options{Origins: origins(t, app1)})
	for range 5 {
		if w := l.call("OPTIONS", mePath, "", "Origin: "+app1, "Access-Control-Request-Method: GET"); w.Code != 204 {
			t.Fatal(w.Code)
		}
	}
	wants(t, l.call("OPTIONS", mePath, "", "Origin: "+app1, "Access-Control-Request-Method: GET"), 429, "rate_limited")
}

// TestForeignPagesAndHostsAreTold: whoever tries a cross-site request, or another name for this service, leaves a line, and with many of them no more.
func TestForeignPagesAndHostsAreTold(t *testing.T) {
	l := limitedBy(t, app.LimiterOptions{PerAddress: 1000}, httpapi.Options{Hosts: hosts(t, "xteam.test"), Cookies: httpapi.Cookies{On: true, Refresh: time.Hour}})
	l.user("ann", account.RoleUser)
	p := l.tokens("ann")
	for range 10 {
		wants(t, l.post("/api/v1/auth/logout", "{}", "Cookie: "+accessCookie+"="+p.AccessToken, "Sec-Fetch-Site: cross-site"), 403, "cross_origin")
	}
	for range 5 {
		wants(t, l.post(refreshPath, "{}", "Cookie: "+refreshCookie+"="+p.RefreshToken, "Sec-Fetch-Site: cross-site"), 403, "cross_origin")
	}
	for _, want := range []string{`"endpoint":"/api/v1/auth/logout","reason":"cross_origin"`} {
		if n := strings.Count(l.log.String(), want); n != 1 {
			t.Errorf("%s: %d times in %s", want, n, l.log)
		}
	}
	l = limitedBy(t, app.LimiterOptions{PerAddress: 1000}, httpapi.Options{Hosts: hosts(t, "example.com")})
	for range 10 {
		wants(t, l.call("GET", "/nothing?secret=1", ""), 400, "host_unknown")
	}
	if n := strings.Count(l.log.String(), `"msg":"Access refused"`); n != 1 || !strings.Contains(l.log.String(), `"endpoint":"/nothing","reason":"host_unknown"`) {
		t.Errorf("%d lines: %s", n, l.log)
	}
	bare := newService(t, httpapi.Options{Hosts: hosts(t, "example.com")}) // without limits
	wants(t, bare.call("GET", "/nothing", ""), 400, "host_unknown")
	if !strings.Contains(bare.log.String(), `"reason":"host_unknown"`) {
		t.Errorf("without limits: %s", bare.log)
	}
}
