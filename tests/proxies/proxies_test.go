package proxies_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v3"
)

// each runs a test with every proxy that is here.
func each(t *testing.T, test func(*testing.T, proxy)) {
	for name, p := range proxies {
		t.Run(name, func(t *testing.T) { test(t, p) })
	}
}

var identity = []string{"X-Auth-User", "X-Auth-Session", "X-Auth-Scope", "X-Auth-Roles"}

// TestAnswers: what XTeam says is what the client gets, and only what it lets through reaches the service, with its words about the bearer and none of theirs.
func TestAnswers(t *testing.T) {
	x, o := serve(t), startOrders(t)
	ann, root, gone := x.signIn("ann"), x.signIn("root"), x.signIn("ann")
	if code := x.ask("POST", "/api/v1/auth/logout", gone, "", nil); code != 204 {
		t.Fatalf("log out: %d", code)
	}
	var me struct{ ID string }
	x.ask("GET", "/api/v1/users/me", ann, "", &me)
	var key struct{ Key string }
	x.ask("POST", "/api/v1/api-keys", ann, `{"name":"p"}`, &key)
	each(t, func(t *testing.T, p proxy) {
		at := p.run(t, x.address, o.address)
		spoofs := []string{"X-Auth-User: root", "x-auth-roles: admin", "X-AUTH-SCOPE: admin", "X-Auth-Session: 1", "X_Auth_User: root", "X_auth_roles: admin", "X-Auth_Roles: admin", "X_Auth-Scope: admin",
			"X-Forwarded-For: 198.51.100.9", "Forwarded: for=198.51.100.9", "X-Forwarded-Uri: /health", "X-Forwarded-Method: OPTIONS", "X-Original-URL: /health",
			"X_Forwarded_For: 198.51.100.9", "x_forwarded_proto: https", "X-Forwarded_Host: evil.test", "X_Forwarded-For: 198.51.100.9"}
		for name, heads := range map[string][]string{
			"plain": nil, "spoofed": spoofs,
			"named by Connection": append([]string{"Connection: x-auth-user, x-auth-roles, x-forwarded-for"}, spoofs...),
			"twice":               append(append([]string{}, spoofs...), spoofs...),
		} {
			res, body := get(t, at, "/a%2Fb/c%20d?x=1&y=%2F", append(heads, "Authorization: Bearer "+ann)...)
			seen := o.took()
			if res.StatusCode != 200 || body != "an order" || len(seen) != 1 {
				t.Fatalf("%s: %d %s, and %d requests at the service", name, res.StatusCode, body, len(seen))
			}
			r := seen[0]
			want := http.Header{"X-Auth-User": {me.ID}, "X-Auth-Scope": {""}, "X-Auth-Roles": {"user"}}
			got := http.Header{}
			for n, v := range r.Header {
				if like := http.CanonicalHeaderKey(strings.ReplaceAll(n, "_", "-")); strings.HasPrefix(like, "X-Auth-") && like != "X-Auth-Session" || strings.Contains(n, "_") {
					got[n] = v
				}
			}
			if got["X-Auth-Scope"] == nil { // nginx leaves an empty one out, as good
				got["X-Auth-Scope"] = []string{""}
			}
			if diff := cmp.Diff(want, got); diff != "" || len(r.Header["X-Auth-Session"]) != 1 || len(r.Header.Get("X-Auth-Session")) != 32 {
				t.Errorf("%s: the service is told %v (-want +got):\n%s", name, r.Header, diff)
			}
			if r.RequestURI != "/a%2Fb/c%20d?x=1&y=%2F" || strings.Join(r.Header["X-Forwarded-For"], "|") != from || r.Header.Get("Forwarded") != "" || r.Header.Get("Connection") != "" {
				t.Errorf("%s: the service is asked %s with %v", name, r.RequestURI, r.Header)
			}
		}
		for _, c := range []struct {
			name, target string
			heads        []string
			status       int
			challenge    string
		}{
			{"no token", "/", nil, 401, `Bearer realm="xteam"`},
			{"another scheme", "/", []string{"Authorization: Basic YTpi"}, 401, `Bearer realm="xteam"`},
			{"revoked", "/", []string{"Authorization: Bearer " + gone}, 401, `error="invalid_token"`},
			{"garbage", "/orders?token=" + ann, append([]string{"Authorization: Bearer garbage", "Connection: x-forwarded-for, authorization"}, spoofs...), 401, `error="invalid_token"`},
			{"the verdict's own path", "/api/v1/auth/verify", nil, 401, "Bearer"},
			{"what needs no token at XTeam", "/health", nil, 401, "Bearer"},
			{"a key", "/", []string{"X-API-Key: " + key.Key}, 200, ""},
			{"a good token in the query", "/?token=" + ann + "&access_token=" + ann + "&role=admin", nil, 401, "Bearer"},
			{"a role that is missing", "/admin/x", []string{"Authorization: Bearer " + ann}, 403, ""},
			{"a role that is missing, and wished for", "/admin/x?,role=user&role=user", []string{"Authorization: Bearer " + ann, "X-Auth-Roles: admin", "X-Forwarded-Uri: /"}, 403, ""},
			{"a role that is there", "/admin/x", []string{"Authorization: Bearer " + root}, 200, ""},
			{"no token where a role is wanted", "/admin/x", nil, 401, "Bearer"},
		} {
			res, _ := get(t, at, c.target, c.heads...)
			seen := o.took()
			if res.StatusCode != c.status || (len(seen) == 1) != (c.status == 200) || !strings.Contains(res.Header.Get("WWW-Authenticate"), c.challenge) {
				t.Errorf("%s: %d %v, and %d requests at the service; want %d", c.name, res.StatusCode, res.Header, len(seen), c.status)
			}
			for _, n := range identity {
				if res.StatusCode != 200 && res.Header.Get(n) != "" {
					t.Errorf("%s: the client is told %s", c.name, n)
				}
			}
		}
		for _, status := range []int{201, 401, 403, 404, 429, 500, 503} { // the service's own
			if res, body := get(t, at, "/answers/"+strconv.Itoa(status), "Authorization: Bearer "+ann); res.StatusCode != status || body != "an order" {
				t.Errorf("the service's %d became %d %s", status, res.StatusCode, body)
			}
		}
		upload := strings.Repeat("x", 300<<10)
		res, _ := send(t, at, fmt.Sprintf("POST /answers/201 HTTP/1.1\r\nHost: orders.test\r\nConnection: close\r\nAuthorization: Bearer %s\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n\r\n%s", ann, len(upload), upload))
		if seen := o.took(); res.StatusCode != 201 || seen[len(seen)-1].Method != "POST" || seen[len(seen)-1].ContentLength != int64(len(upload)) {
			t.Errorf("an upload: %d", res.StatusCode)
		}
		for _, spoof := range []string{"198.51.100.9", "/health", "OPTIONS"} {
			if strings.Contains(x.log.String(), spoof) {
				t.Errorf("the journal takes the client's word for %s:\n%s", spoof, x.log.String())
			}
		}
		for _, line := range []string{`for GET /admin/x"`, `"ip_address":"` + from + `"`} {
			x.says(line)
		}
	})
}

// TestBadInput: requests that no service should see, or that read differently to whoever reads them next.
func TestBadInput(t *testing.T) {
	x, o := serve(t), startOrders(t)
	ann, root := x.signIn("ann"), x.signIn("root")
	bearer := "Authorization: Bearer " + ann
	each(t, func(t *testing.T, p proxy) {
		at := p.run(t, x.address, o.address)
		const head = " HTTP/1.1\r\nHost: orders.test\r\nConnection: close\r\n"
		for name, request := range map[string]string{
			"two tokens":             "GET /" + head + bearer + "\r\nAuthorization: Bearer " + root + "\r\n\r\n",
			"the same twice":         "GET /" + head + bearer + "\r\n" + bearer + "\r\n\r\n",
			"a token and a key":      "GET /" + head + bearer + "\r\nX-API-Key: xt_dev_x\r\n\r\n",
			"two in one line":        "GET /" + head + bearer + ", Bearer " + root + "\r\n\r\n",
			"folded":                 "GET /" + head + "Authorization: Bearer\r\n " + ann + "x\r\n\r\n",
			"a bare line feed":       "GET /" + head + "Authorization: Bearer x\nX-Auth-User: root\r\n\r\n",
			"a bare return":          "GET /" + head + "Authorization: Bearer x\rX-Auth-User: root\r\n\r\n",
			"a blank before a colon": "GET /" + head + "Authorization : Bearer " + ann + "\r\n\r\n",
			"two lengths":            "POST /" + head + "Content-Length: 1\r\nContent-Length: 2\r\n\r\nab",
			"a length and chunks":    "POST /" + head + "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
			"a huge token":           "GET /" + head + "Authorization: Bearer " + strings.Repeat("a", 200<<10) + "\r\n\r\n",
			"huge headers":           "GET /" + head + strings.Repeat("X-Filler: "+strings.Repeat("a", 1000)+"\r\n", 200) + "\r\n",
			"a token beside much":    "GET /" + head + "Authorization: Bearer x\r\n" + strings.Repeat("X-Filler: "+strings.Repeat("a", 1000)+"\r\n", 70) + "\r\n",
			"no host":                "GET / HTTP/1.1\r\nConnection: close\r\n\r\n",
		} {
			res, _ := send(t, at, request)
			seen := o.took()
			if res.StatusCode < 400 || res.StatusCode == 500 || len(seen) != 0 {
				t.Errorf("%s: %d, and %d requests at the service", name, res.StatusCode, len(seen))
			}
		}
		// Line ends in a path are none, and in the query neither.
		for _, target := range []string{"/a%0d%0aX-Auth-User:%20root", "/?a=%0d%0aX-Auth-Roles:%20admin%0d%0a%0d%0a", "/%00", "/%ff%fe", "/" + strings.Repeat("a%2F", 1000)} {
			res, _ := get(t, at, target, bearer)
			for _, r := range o.took() {
				if r.RequestURI != target || r.Header.Get("X-Auth-Roles") != "user" || len(r.Header["X-Auth-Roles"]) != 1 || len(r.Header["X-Auth-User"]) != 1 || r.Header.Get("X-Auth-User") == "root" {
					t.Errorf("%.60s: %d, and the service is asked %.60s with %v", target, res.StatusCode, r.RequestURI, r.Header)
				}
			}
			if res.StatusCode != 200 && res.StatusCode != 400 {
				t.Errorf("%.60s: %d", target, res.StatusCode)
			}
			if res, _ := get(t, at, target); res.StatusCode < 400 || res.StatusCode == 500 || len(o.took()) != 0 {
				t.Errorf("%.60s without a token: %d", target, res.StatusCode)
			}
		}
		// However it is written, the path of the administrators is not for others.
		for _, target := range []string{"/admin/x", "/admin/", "/%61dmin/x", "/%61%64%6d%69%6e/x", "/admin%2Fx", "//admin/x", "/./admin/x", "/x/../admin/x", "/x/%2e%2e/admin/x", "/x/..%2Fadmin/x", "/x%2F..%2Fadmin/x",
			"/admin//x", "/admin/./x", "/%2Fadmin/x", "/.//admin/x", "/admin/../admin/x", "http://orders.test/admin/x", "http://orders.test//admin/x",
			"/ADMIN/x", "/Admin", "/admin", "/aDmIn/", "/%41DMIN/x", "/admin;a/x", "/admin;a=b", "/ADMIN;/x", "/admin%3Ba/x", "/;/admin/x", "/;a/Admin/x", "/x/..;/admin/x", "/x/..;a=b/ADMIN/x", "/x;y/../admin/x", "/x/%2e%2e;/admin/x", "/.;/admin/x",
			"//admin;/x", "http://orders.test/ADMIN;a/x"} {
			res, _ := get(t, at, target, bearer)
			for _, r := range o.took() {
				if read := leniently(r.URL.Path); read == "/admin" || strings.HasPrefix(read, "/admin/") {
					t.Errorf("%s: %d, and the service was asked for %s", target, res.StatusCode, r.RequestURI)
				}
			}
		}
	})
}

// parameters are those of a path's segments (RFC 3986, section 3.3).
var parameters = regexp.MustCompile(`;[^/]*`)

// leniently is a path as services read it that know neither letter case nor parameters.
func leniently(p string) string {
	return path.Clean("/" + strings.ToLower(parameters.ReplaceAllString(p, "")))
}

// TestVerdicts: every verdict is passed on as it is, with the time to ask again, also one that nobody made.
func TestVerdicts(t *testing.T) {
	o := startOrders(t)
	verdicts := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/problem+json")
		w.Header().Set("Retry-After", "7")
		status, err := strconv.Atoi(strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer "))
		if err != nil || r.URL.Path != "/api/v1/auth/verify" {
			status = 418
		}
		w.WriteHeader(status)
		_, _ = io.WriteString(w, "{}")
	}))
	defer verdicts.Close()
	down := free(t)
	each(t, func(t *testing.T, p proxy) {
		at := p.run(t, strings.TrimPrefix(verdicts.URL, "http://"), o.address)
		for _, status := range []int{401, 403, 429, 503} {
			res, _ := get(t, at, "/", fmt.Sprintf("Authorization: Bearer %d", status))
			if res.StatusCode != status || len(o.took()) != 0 || status > 403 && res.Header.Get("Retry-After") != "7" {
				t.Errorf("%d became %d %v", status, res.StatusCode, res.Header)
			}
		}
		for _, status := range []int{301, 307, 400, 404, 418, 500, 502} { // none of XTeam's, and no leave
			if res, _ := get(t, at, "/", fmt.Sprintf("Authorization: Bearer %d", status)); res.StatusCode < 300 || len(o.took()) != 0 {
				t.Errorf("%d became %d", status, res.StatusCode)
			}
		}
		at = p.run(t, down, o.address)
		if res, _ := get(t, at, "/", "Authorization: Bearer 200"); res.StatusCode != p.down || len(o.took()) != 0 {
			t.Errorf("while XTeam is down: %d", res.StatusCode)
		}
	})
}

// TestLimits: a credential that asks too often is told so, and when to come again; another is not held up by it.
func TestLimits(t *testing.T) {
	x, o := serve(t, "RATE_LIMIT_VERIFY=4"), startOrders(t)
	each(t, func(t *testing.T, p proxy) {
		at := p.run(t, x.address, o.address)
		fast, slow := x.signIn("ann"), x.signIn("ann")
		begun, refused := time.Now(), false
		for range 20 {
			res, _ := get(t, at, "/", "Authorization: Bearer "+fast)
			if res.StatusCode == 429 {
				if n, err := strconv.Atoi(res.Header.Get("Retry-After")); err != nil || n < 1 || n > 60 {
					t.Errorf("Retry-After is %q", res.Header.Get("Retry-After"))
				}
				refused = true
				break
			}
			if res.StatusCode != 200 {
				t.Fatalf("got %d", res.StatusCode)
			}
		}
		if !refused {
			t.Errorf("20 requests in %v were let through", time.Since(begun))
		}
		if res, _ := get(t, at, "/", "Authorization: Bearer "+slow); res.StatusCode != 200 {
			t.Errorf("another session's: %d", res.StatusCode)
		}
	})
}

// TestTraefik asks as Traefik's forwardAuth does, which could not be built here: with its headers, of which none is believed but from a proxy that is trusted; and reads
// the shipped file.
func TestTraefik(t *testing.T) {
	x := serve(t)
	ann := x.signIn("ann")
	for _, c := range []struct {
		path   string
		token  string
		status int
	}{
		{"", ann, 200}, {"", "garbage", 401}, {",role=admin", ann, 403},
	} {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+x.address+"/api/v1/auth/verify"+c.path, http.NoBody)
		fatal(t, err)
		for n, v := range map[string]string{"Authorization": "Bearer " + c.token, "X-Forwarded-Method": "POST", "X-Forwarded-Proto": "https", "X-Forwarded-Host": "orders.test", "X-Forwarded-Uri": "/orders/1?a=b",
			"X-Forwarded-For": "198.51.100.9", "X-Forwarded-Port": "443", "X-Forwarded-Server": "t", "X-Real-Ip": "198.51.100.9", "X-Auth-User": "root", "Content-Type": "text/plain"} {
			r.Header.Set(n, v)
		}
		res, err := http.DefaultClient.Do(r)
		fatal(t, err)
		body, err := io.ReadAll(res.Body)
		fatal(t, err)
		_ = res.Body.Close()
		if res.StatusCode != c.status || c.status == 200 && res.Header.Get("X-Auth-User") == "root" || c.status != 200 && !json.Valid(body) {
			t.Errorf("%q: %d %v %s", c.path, res.StatusCode, res.Header, body)
		}
	}
	x.says(`for POST /orders/1"`)
	x.says(`"ip_address":"198.51.100.9"`)
	text, err := os.ReadFile("../../.deploy/traefik.yaml")
	fatal(t, err)
	type middleware struct {
		Chain       struct{ Middlewares []string }
		ForwardAuth struct {
			Address             string
			TrustForwardHeader  bool     `yaml:"trustForwardHeader"`
			AuthResponseHeaders []string `yaml:"authResponseHeaders"`
		} `yaml:"forwardAuth"`
		Headers struct {
			CustomRequestHeaders map[string]string `yaml:"customRequestHeaders"`
		}
	}
	var file struct {
		HTTP struct{ Middlewares map[string]middleware }
	}
	fatal(t, yaml.Unmarshal(text, &file))
	for name, demand := range map[string]string{"xteam": "", "xteam-admin": ",role=admin"} {
		chain := file.HTTP.Middlewares[name].Chain.Middlewares
		if len(chain) != 2 {
			t.Fatalf("%s is %v", name, chain)
		}
		asks := file.HTTP.Middlewares[chain[1]].ForwardAuth
		if asks.Address != "http://127.0.0.1:8000/api/v1/auth/verify"+demand || asks.TrustForwardHeader || !cmp.Equal(asks.AuthResponseHeaders, identity) {
			t.Errorf("%s asks %+v", name, asks)
		}
		taken := file.HTTP.Middlewares[chain[0]].Headers.CustomRequestHeaders
		for _, n := range append([]string{"X-Forwarded-For", "X-Forwarded-Proto", "X-Forwarded-Host"}, identity...) {
			of := strings.Split(n, "-")
			for _, twin := range []string{of[0] + "_" + of[1] + "_" + of[2], of[0] + "_" + of[1] + "-" + of[2], of[0] + "-" + of[1] + "_" + of[2]} {
				if value, named := taken[twin]; !named || value != "" {
					t.Errorf("%s leaves %s", name, twin)
				}
			}
		}
	}
}
