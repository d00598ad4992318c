package httpapi_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/xteam/xteam/adapters/httpapi"
	"github.com/xteam/xteam/app"
	"github.com/xteam/xteam/domain/account"
	"github.com/xteam/xteam/domain/block"
)

const blockedIPs = "/api/v1/admin/blocked-ips"

// from is a request of an address.
func (s *service) from(address, method, target string, headers ...string) *httptest.ResponseRecorder {
	s.t.Helper()
	r := httptest.NewRequest(method, target, http.NoBody)
	r.RemoteAddr = address
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		r.Header.Set(name, value)
	}
	w := httptest.NewRecorder()
	s.h.ServeHTTP(w, r)
	return w
}

func (s *service) block(network string) {
	s.t.Helper()
	if _, err := s.all.Blocks.Block(s.t.Context(), app.Actor{Name: app.Operator}, netip.MustParsePrefix(network), app.BlockOptions{Force: true}); err != nil {
		s.t.Fatal(err)
	}
}

// TestBlockedEverywhere: whoever comes from a blocked network is refused on every route, one that does not exist too, with the same problem as any other refusal; probes
// are answered, and so is the operator. Who comes from elsewhere notices nothing.
func TestBlockedEverywhere(t *testing.T) {
	s := newService(t)
	s.user("ann", account.RoleUser)
	p := s.signIn("ann")
	s.block("198.51.100.0/24")
	const there, elsewhere = "198.51.100.7:1234", "198.51.101.7:1234"
	for _, try := range [][2]string{{"GET", "/api/v1/users/me"}, {"POST", "/api/v1/auth/login"}, {"GET", "/nothing"}, {"GET", "/docs"}, {"OPTIONS", "/api/v1/users/me"}, {"TRACE", "/health"},
		{"GET", verify}, {"POST", verify + ",role=admin"}, {"PUT", verify + "/any/path"}, {"GET", "//"}, {"GET", "/health/"}, {"GET", "/readyz/.."}} {
		if try[0] == "TRACE" {
			try[1] = "/api/v1/users/me"
		}
		w := s.from(there, try[0], try[1], bearer(p), "X-Request-ID: golden-1")
		const want = `{"type":"/docs/problems#address_blocked","title":"Forbidden","status":403,"detail":"the address is blocked","code":"address_blocked","request_id":"golden-1"}`
		if w.Code != 403 || w.Body.String() != want || w.Header().Get("Content-Type") != "application/problem+json" || w.Header().Get("X-Frame-Options") == "" {
			t.Errorf("%s %s: got %d %s %v", try[0], try[1], w.Code, w.Body, w.Header())
		}
	}
	if w := s.from(there, "HEAD", "/api/v1/users/me", bearer(p)); w.Code != 403 || w.Body.Len() != 0 {
		t.Errorf("HEAD: got %d with %d bytes", w.Code, w.Body.Len())
	}
	for _, probe := range []string{"/health", "/healthz", "/readyz"} {
		if w := s.from(there, "GET", probe); w.Code != 200 {
			t.Errorf("%s: got %d", probe, w.Code)
		}
	}
	for _, address := range []string{elsewhere, "[2001:db8::1]:1", "@"} {
		if w := s.from(address, "GET", "/api/v1/users/me", bearer(p)); w.Code != 200 {
			t.Errorf("from %s: got %d %s", address, w.Code, w.Body)
		}
	}
	for _, address := range []string{"[::ffff:198.51.100.7]:1", "198.51.100.255:1", "198.51.100.0:1"} {
		wants(t, s.from(address, "GET", "/api/v1/users/me", bearer(p)), 403, "address_blocked")
	}
	s.h = httpapi.AsOperator(s.h)
	if w := s.from(there, "GET", blockedIPs); w.Code != 200 {
		t.Errorf("the operator: got %d %s", w.Code, w.Body)
	}
}

// TestBlockedByTheWordOfAProxy: it is the client that is blocked, as far as a trusted proxy tells of one; a header of anybody else's blocks nobody and frees nobody.
func TestBlockedByTheWordOfAProxy(t *testing.T) {
	s := newService(t, httpapi.Options{Proxies: httpapi.Proxies{Trusted: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}}})
	s.block("198.51.100.7/32")
	wants(t, s.from("10.0.0.1:1", "GET", verify, "X-Forwarded-For: 198.51.100.7"), 403, "address_blocked")
	wants(t, s.from("10.0.0.1:1", "GET", verify, "X-Forwarded-For: 203.0.113.1, 198.51.100.7, 10.0.0.2"), 403, "address_blocked")
	wants(t, s.from("10.0.0.1:1", "GET", verify, "X-Forwarded-For: 198.51.100.7, 203.0.113.1"), 401, "token_missing")
	wants(t, s.from("203.0.113.1:1", "GET", verify, "X-Forwarded-For: 198.51.100.7"), 401, "token_missing")
	wants(t, s.from("198.51.100.7:1", "GET", verify, "X-Forwarded-For: 203.0.113.1"), 403, "address_blocked")
}

// TestBlockedAtProtect: an embedding program's own handlers are shut too, at Protect and at Limit.
func TestBlockedAtProtect(t *testing.T) {
	s := newService(t)
	s.block("198.51.100.0/24")
	api := httpapi.New(s.all, httpapi.Options{})
	never := http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("it was let in") })
	own, err := app.NewOwn("own", 10)
	check(t, err)
	for name, h := range map[string]http.Handler{"Protect": api.Protect(never), "Limit": api.Limit(own, never)} {
		s.h = h
		w := s.from("198.51.100.1:1", "GET", "/orders")
		if wants(t, w, 403, "address_blocked"); w.Header().Get("X-Frame-Options") == "" {
			t.Errorf("%s: the headers of every answer are missing", name)
		}
	}
}

// TestBlockedIsTold: the journal hears of a blocked address once, and then of counts.
func TestBlockedIsTold(t *testing.T) {
	s := newService(t)
	s.block("198.51.100.0/24")
	before := s.log.Len()
	s.from("198.51.100.1:1", "GET", "/api/v1/users/me?token=planted")
	said := s.log.String()[before:]
	if strings.Count(said, "\n") != 1 || !strings.Contains(said, "address_blocked") || !strings.Contains(said, "198.51.100.1") || strings.Contains(said, "planted") {
		t.Errorf("log: %s", said)
	}
}

// TestBlocksOverREST: an administrator blocks, lists page by page and unblocks; nobody else may.
func TestBlocksOverREST(t *testing.T) {
	s := newService(t)
	s.user("root", account.RoleAdmin)
	s.user("ann", account.RoleUser)
	root, ann := bearer(s.signIn("root")), bearer(s.signIn("ann"))
	for _, try := range []struct{ method, target, body string }{{"GET", blockedIPs, ""}, {"POST", blockedIPs, `{"cidr":"198.51.100.0/24"}`}, {"DELETE", blockedIPs + "?cidr=198.51.100.0/24", ""}} {
		wants(t, s.call(try.method, try.target, try.body, ann), 403, "forbidden")
		wants(t, s.call(try.method, try.target, try.body), 401, "token_missing")
	}
	for i := range 5 {
		w := s.post(blockedIPs, fmt.Sprintf(`{"cidr":"198.51.%d.0/24","reason":"guesses","expires_in_seconds":60}`, i), root)
		if w.Code != 201 {
			t.Fatalf("got %d %s", w.Code, w.Body)
		}
	}
	if w := s.post(blockedIPs, `{"cidr":"::ffff:198.51.9.9"}`, root); w.Code != 201 || !strings.Contains(w.Body.String(), `"cidr":"198.51.9.9/32"`) || !strings.Contains(w.Body.String(), `"expires_at":null`) {
		t.Errorf("one address: got %d %s", w.Code, w.Body)
	}
	if w := s.post(blockedIPs, `{"cidr":"2001:db8::/32","until":"`+time.Now().Add(time.Hour).UTC().Format(time.RFC3339)+`"}`, root); w.Code != 201 {
		t.Errorf("until: got %d %s", w.Code, w.Body)
	}
	var all []string
	for target := blockedIPs + "?limit=2"; target != ""; {
		var page struct {
			Items []struct {
				CIDR string `json:"cidr"`
			} `json:"items"`
			Next *string `json:"next"`
		}
		w := s.call("GET", target, "", root)
		if err := json.Unmarshal(w.Body.Bytes(), &page); err != nil || w.Code != 200 || len(all) > 20 {
			t.Fatalf("%s: %d %s", target, w.Code, w.Body)
		}
		for _, i := range page.Items {
			all = append(all, i.CIDR)
		}
		if target = ""; page.Next != nil {
			target = blockedIPs + "?limit=2&cursor=" + *page.Next
		}
	}
	if got := strings.Join(all, " "); got != "198.51.0.0/24 198.51.1.0/24 198.51.2.0/24 198.51.3.0/24 198.51.4.0/24 198.51.9.9/32 2001:db8::/32" {
		t.Errorf("the list: %s", got)
	}
	wants(t, s.from("198.51.3.1:1", "GET", "/api/v1/users/me"), 403, "address_blocked")
	if w := s.call("DELETE", blockedIPs+"?cidr="+url.QueryEscape("198.51.3.0/24"), "", root); w.Code != 204 {
		t.Errorf("DELETE: got %d %s", w.Code, w.Body)
	}
	wants(t, s.from("198.51.3.1:1", "GET", "/api/v1/users/me"), 401, "token_missing")
	wants(t, s.call("DELETE", blockedIPs+"?cidr=198.51.3.0/24", "", root), 404, "not_found")
	wants(t, s.call("DELETE", blockedIPs+"?cidr=198.51.4.0/25", "", root), 404, "not_found")
}

// TestBlocksNeedForce: what would shut out whoever could take it back is refused until they insist.
func TestBlocksNeedForce(t *testing.T) {
	s := newService(t, httpapi.Options{Proxies: httpapi.Proxies{Trusted: []netip.Prefix{netip.MustParsePrefix("::ffff:10.0.0.0/104")}}})
	s.user("root", account.RoleAdmin)
	root := bearer(s.signIn("root"))
	for _, network := range []string{"127.0.0.1", "::1", "192.0.2.7" /* of service.call */, "192.0.2.0/24", "10.1.0.0/16", "0.0.0.0/0", "::/0", "224.0.0.0/4"} {
		wants(t, s.post(blockedIPs, `{"cidr":"`+network+`"}`, root), 409, "block_risky")
	}
	if n := s.all.Blocks.Len(); n != 0 {
		t.Fatalf("%d blocks were made", n)
	}
	if w := s.post(blockedIPs, `{"cidr":"192.0.2.0/24","force":true}`, root); w.Code != 201 {
		t.Fatalf("forced: got %d %s", w.Code, w.Body)
	}
	wants(t, s.call("GET", blockedIPs, "", root), 403, "address_blocked") // and the operator alone can take it back
	s.h = httpapi.AsOperator(s.h)
	if w := s.call("DELETE", blockedIPs+"?cidr=192.0.2.0/24", ""); w.Code != 204 {
		t.Errorf("the operator: got %d %s", w.Code, w.Body)
	}
}

// TestHostileBlocks: what is no block is refused with a sentence, and makes none.
func TestHostileBlocks(t *testing.T) {
	s := newService(t)
	s.user("root", account.RoleAdmin)
	root := bearer(s.signIn("root"))
	for body, status := range map[string]int{
		`{}`: 422, `{"cidr":""}`: 422, `{"cidr":"198.51.100.0/33"}`: 422, `{"cidr":"198.51.100.1/24"}`: 422, `{"cidr":"fe80::1%eth0"}`: 422, `{"cidr":"198.51.100.0/-1"}`: 422,
		`{"cidr":"198.51.100.0/024"}`: 422, `{"cidr":"0x7f.1"}`: 422, `{"cidr":"::ffff:0:0/90"}`: 422, `{"cidr":"` + strings.Repeat("1", 1e5) + `"}`: 422, `{"cidr":"198.51.100.0/24\u0000"}`: 422,
		`{"cidr":["198.51.100.0/24"]}`: 422, `{"cidr":"198.51.100.0/24","expires_in_seconds":-1}`: 422, `{"cidr":"198.51.100.0/24","expires_in_seconds":9223372036854775807}`: 422,
		`{"cidr":"198.51.100.0/24","expires_in_seconds":1e3}`: 0, `{"cidr":"198.51.100.0/24","expires_in_seconds":9,"until":"2099-01-01T00:00:00Z"}`: 422, `{"cidr":"198.51.100.0/24","until":"2001-01-01T00:00:00Z"}`: 422,
		`{"cidr":"198.51.100.0/24","until":"tomorrow"}`: 422, `{"cidr":"198.51.100.0/24","reason":"` + strings.Repeat("é", 51) + `"}`: 422, `{"cidr":"198.51.100.0/24","Reason":"x"}`: 422,
		`{"cidr":"198.51.100.0/24","cidr":"198.51.101.0/24"}`: 400, `{"cidr":"198.51.100.0/24","by":"nobody"}`: 422, `[]`: 0, `{"cidr":"198.51.100.0/24"} {}`: 400, "{\"cidr\":\"198.51.100.0/24\xff\"}": 400,
	} {
		w := s.post(blockedIPs, body, root)
		if w.Code < 400 || w.Code >= 500 || status != 0 && w.Code != status || w.Body.Len() > 2000 {
			t.Errorf("%.80s: got %d %.300s, want %d", body, w.Code, w.Body, status)
		}
	}
	for _, query := range []string{"", "?cidr=", "?cidr=x", "?cidr=198.51.100.0/24&cidr=198.51.100.0/24", "?ip=198.51.100.1", "?cidr=%zz"} {
		if w := s.call("DELETE", blockedIPs+query, "", root); w.Code != 422 && w.Code != 400 {
			t.Errorf("DELETE %s: got %d %s", query, w.Code, w.Body)
		}
	}
	for _, cursor := range []string{"x", "BA", strings.Repeat("A", 26), "BAAAAAAAAAAAAAAAAAAAAAAAAAT_", "BAAAAAAAAAAAAAAAAAAAAAAAAAT__w"} {
		if w := s.call("GET", blockedIPs+"?cursor="+cursor, "", root); w.Code != 422 {
			t.Errorf("cursor %s: got %d %s", cursor, w.Code, w.Body)
		}
	}
	if n := s.all.Blocks.Len(); n != 0 {
		t.Errorf("%d blocks were made", n)
	}
}

// TestBlocksAreBounded: one block more than there may be is refused with a sentence, and those that are over make room.
func TestBlocksAreBounded(t *testing.T) {
	s := newService(t)
	s.user("root", account.RoleAdmin)
	root := bearer(s.signIn("root"))
	for i := range block.Max {
		p := netip.PrefixFrom(netip.AddrFrom4([4]byte{100, byte(i >> 8), byte(i), 0}), 24)
		if _, err := s.all.Blocks.Block(t.Context(), app.Actor{Name: app.System}, p, app.BlockOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	wants(t, s.post(blockedIPs, `{"cidr":"198.51.100.0/24"}`, root), 409, "too_many_blocks")
	if w := s.post(blockedIPs, `{"cidr":"100.0.0.0/24","reason":"anew"}`, root); w.Code != 201 {
		t.Errorf("in the place of one: got %d %s", w.Code, w.Body)
	}
}
