package security_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/xteam/xteam/adapters/httpapi"
	"github.com/xteam/xteam/adapters/jwks"
	"github.com/xteam/xteam/adapters/jwtcodec"
	"github.com/xteam/xteam/adapters/memstore"
	"github.com/xteam/xteam/adapters/passhash"
	"github.com/xteam/xteam/app"
	"github.com/xteam/xteam/app/xteam/assembly"
	"github.com/xteam/xteam/domain/account"
	"github.com/xteam/xteam/domain/keyset"
	"github.com/xteam/xteam/domain/secret"
	"github.com/xteam/xteam/ports"
)

// floodExhibits are shapes of denial of service.
var floodExhibits = []exhibit{
	{ids: []string{"flood-dots"}, play: manyDots},
	{ids: []string{"flood-header"}, play: hugeHeaders, tests: []string{"adapters/httpapi/odd_test.go:TestLargeHeads"}},
	{ids: []string{"flood-cookies", "CVE-2025-58186", "CVE-2025-61726"}, play: manyCookies},
	{ids: []string{"flood-http2", "CVE-2023-45288", "CVE-2023-44487", "CVE-2026-56853"}, why: "floods of HTTP/2 are played by hand-made frames against the server's own http.Server, over TLS, where that server is tested; h2c is not spoken, and make verify runs govulncheck", tests: []string{"adapters/httpapi/tls_test.go:TestHTTP2Floods"}},
	{ids: []string{"flood-preflight", "CVE-2025-47908"}, play: preflightCommas, tests: []string{"adapters/httpapi/cors_test.go:TestCORSBounded"}},
	{ids: []string{"flood-json", "CVE-2025-6203", "CVE-2025-12044", "CVE-2025-59043"}, play: nestedJSON},
	{ids: []string{"flood-duplicates"}, play: duplicateMembers, tests: []string{"adapters/httpapi/json_test.go:TestOddJSON"}},
	{ids: []string{"flood-hashes"}, play: manyMembers},
	{ids: []string{"flood-forms", "CVE-2025-54801", "CVE-2024-37298"}, play: sparseForms, tests: []string{"adapters/httpapi/oauth_test.go:TestHostileForms"}},
	{ids: []string{"flood-graphql"}, play: graphBombs},
	{ids: []string{"flood-email", "CVE-2025-61725", "CVE-2026-42499"}, play: oddAddresses},
	{ids: []string{"flood-languages", "CVE-2022-32149"}, play: longHeadersAreCut},
	{ids: []string{"flood-maps"}, play: boundedMaps, tests: []string{"adapters/metrics/metrics_test.go:TestNothingThatIsSentBecomesALabel", "adapters/jwtcodec/cache_test.go:TestCacheIsBounded", "domain/alert/alert_test.go:TestBounded", "app/apikeys_test.go:TestTheGuardKnowsABoundedNumberOfKeys"}},
	{ids: []string{"flood-ipv6"}, play: wholeNetworks, tests: []string{"app/limiter_test.go:TestAWholeNetworkIsSlowed"}},
	{ids: []string{"flood-kids", "coreos/go-oidc#482", "tilegroxy#883", "wundergraph/cosmo#2216"}, play: unknownKids, tests: []string{"adapters/jwks/remote_test.go:TestNobodyWaitsLonger"}},
	{ids: []string{"flood-keyset"}, play: hostileKeySets, tests: []string{"adapters/jwks/remote_test.go:TestTheLastGoodSetIsKept"}},
	{ids: []string{"flood-compression", "CVE-2026-27571"}, play: compressed},
	{ids: []string{"flood-sockets"}, play: socketFloods, tests: []string{"adapters/wsfeed/wsfeed_test.go:TestSoManyOfOneUser", "app/live_test.go:TestASlowReaderIsDropped"}},
	{ids: []string{"flood-bcrypt"}, play: hashesAsWeapons},
	{ids: []string{"flood-lists"}, play: pagesAreBounded, tests: []string{"adapters/httpapi/audit_test.go:TestAnExportEndsWithItsClient"}},
	{ids: []string{"flood-log"}, play: summarised},
	{ids: []string{"flood-hoards"}, play: hoards, tests: []string{"app/apikeys_test.go:TestNobodyHoardsKeys", "app/revoker_test.go:TestSessionsOfAUserAreBounded"}},
}

// raw sends bytes to the real listener, and answers the first line.
func (n *node) raw(text string) string {
	n.t.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(n.serve(), "http://"))
	if err != nil {
		n.t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(soon))
	go func() { _, _ = io.WriteString(conn, text) }() // the server may not read to the end
	b := make([]byte, 64)
	got, _ := io.ReadAtLeast(conn, b, 12)
	line, _, _ := strings.Cut(string(b[:got]), "\r")
	return line
}

func hugeHeaders(t *testing.T) {
	n := one(t, plan{})
	get := "GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
	if got := n.raw(get + "X: " + strings.Repeat("x", 1<<20) + "\r\n\r\n"); !strings.Contains(got, " 431 ") {
		t.Errorf("1 MiB: %q", got)
	}
	if got := n.raw(get + strings.Repeat("X: y\r\n", 500) + "\r\n"); !strings.HasPrefix(got, "HTTP/1.1 ") || strings.Contains(got, " 5") {
		t.Errorf("500 headers: %q", got)
	}
	if a := n.get(v1+"/users/me", strings.Repeat("a", 8<<10+1)); a.status != http.StatusUnauthorized {
		t.Errorf("a token over 8 KiB: %d", a.status)
	}
	if a := n.get("/healthz", ""); a.status != http.StatusOK {
		t.Errorf("after it: %d", a.status)
	}
}

func manyCookies(t *testing.T) {
	n := one(t, plan{change: func(o *assembly.Options) { o.HTTP.Cookies.On = true }})
	for name, r := range map[string]request{
		"16,000 cookies": {method: "GET", path: v1 + "/users/me", header: http.Header{"Cookie": {strings.Repeat("a=;", 16_000)}}}, "of one name": {method: "GET", path: v1 + "/users/me", header: http.Header{"Cookie": {strings.Repeat("__Host-xteam_at=x;", 3000)}}},
		"100,000 parameters": {method: "GET", path: v1 + "/admin/users?" + strings.Repeat("&a", 100_000)}, "in a route without": {method: "GET", path: "/healthz?" + strings.Repeat("&a=b", 100_000)},
	} {
		var a answer
		took := fastest(func() { a = n.ask(r) })
		if took > 20*time.Millisecond*patience || a.status >= 500 || a.status == http.StatusOK && strings.HasPrefix(r.path, v1) {
			t.Errorf("%s: %d after %v", name, a.status, took)
		}
	}
}

func preflightCommas(t *testing.T) {
	origins, err := httpapi.ParseOrigins([]string{"https://app.example.com"})
	if err != nil {
		t.Fatal(err)
	}
	n := one(t, plan{change: func(o *assembly.Options) { o.HTTP.Origins = origins }})
	r := request{method: "OPTIONS", path: v1 + "/auth/login", header: http.Header{"Origin": {"https://app.example.com"}, "Access-Control-Request-Method": {"POST"}, "Access-Control-Request-Headers": {strings.Repeat(",", 60_000)}}}
	var a answer
	if took := fastest(func() { a = n.ask(r) }); took > 5*time.Millisecond*patience || a.status >= 500 || len(fmt.Sprint(a.header)) > 4<<10 {
		t.Errorf("%d after %v, %d bytes", a.status, took, len(fmt.Sprint(a.header)))
	}
	if grew := allocated(t, 10, func() { n.api.Handler().ServeHTTP(&nothing{header: http.Header{}}, r.build()) }); grew > 256<<10 {
		t.Errorf("it takes %d bytes", grew)
	}
}

func nestedJSON(t *testing.T) {
	still := time.Now() // nothing is refilled, however slow the machine
	n := one(t, plan{change: func(o *assembly.Options) {
		o.Now = func() time.Time { return still }
		o.Limits = app.LimiterOptions{PerAddress: 1000, Auth: 200, Read: 1000, Write: 1000}
	}})
	left := 1000
	for name, body := range map[string]string{
		"500,000 brackets": strings.Repeat("[", 500_000), "in a field": `{"username":` + strings.Repeat("[", 500_000), "objects": strings.Repeat(`{"a":`, 150_000), "1 MiB of names": manyNames(), "a great exponent": `{"username":1e999999,"password":"x"}`, "1 MiB where a number belongs": `{"username":"` + strings.Repeat("9", 900<<10) + `","password":"x"}`, "a long number": `{"username":` + strings.Repeat("9", 900<<10) + `}`,
	} {
		var a answer
		took := fastest(func() {
			a = n.ask(request{method: "POST", path: v1 + "/auth/login", body: body})
		})
		if took > 50*time.Millisecond*patience || a.status != http.StatusBadRequest && a.status != http.StatusUnprocessableEntity && a.status != http.StatusRequestEntityTooLarge {
			t.Errorf("%s: %d after %v: %.200s", name, a.status, took, a.body)
		}
		var is int
		if _, err := fmt.Sscan(a.header.Get("X-RateLimit-Remaining"), &is); err != nil || is >= left {
			t.Errorf("%s was not charged: %d of %d are left", name, is, left)
		}
		left = is
	}
}

func duplicateMembers(t *testing.T) {
	n := one(t, plan{})
	n.user("ann", account.RoleUser)
	for _, body := range []string{`{"username":"ann","username":"boss","password":"` + password + `"}`, `{"username":"ann","password":"x","password":"` + password + `"}`, `{"username":"ann","Username":"boss","password":"` + password + `"}`, `{"username":"ann","user\u006eame":"ann","password":"` + password + `"}`} {
		if a := n.ask(request{method: "POST", path: v1 + "/auth/login", body: body}); a.status != http.StatusBadRequest && a.status != http.StatusUnprocessableEntity {
			t.Errorf("%s: %d %s", body, a.status, a.body)
		}
	}
	for _, body := range []string{`{"query":"{ me { id } }","query":"{ __typename }"}`, `{"query":"{ __typename }","variables":{"a":1,"a":2}}`} {
		if a := n.ask(request{method: "POST", path: "/graphql", body: body}); a.status != http.StatusBadRequest {
			t.Errorf("%s: %d %s", body, a.status, a.body)
		}
	}
}

func manyMembers(t *testing.T) {
	n := one(t, plan{})
	members := func(count int) string {
		var b strings.Builder
		b.WriteString("{")
		for i := range count {
			fmt.Fprintf(&b, `"%08x":0,`, i*0x10001) // 12 bytes each
		}
		return b.String() + `"x":0}`
	}
	took := func(count int) time.Duration {
		body := members(count)
		return fastest(func() { n.ask(request{method: "POST", path: v1 + "/auth/login", body: body}) })
	}
	few, many := took(7000), took(70_000)
	if many > 30*few+10*time.Millisecond*patience {
		t.Errorf("7,000 names take %v and ten times as many %v", few, many)
	}
}

func sparseForms(t *testing.T) {
	n := one(t, plan{})
	_, key := n.key(n.boss().access, "introspect", "tokens:revoke")
	for _, path := range []string{"introspect", "revoke"} {
		for _, body := range []string{"token[999999999]=1", "token%5B999999999%5D=1", "token[a][b][c]=1", "token.a.b=1", "token=a&token=b", strings.Repeat("&", 20_000), "token=%zz"} {
			var a answer
			took := fastest(func() { a = n.form(path, body, key) })
			if a.status != http.StatusBadRequest || took > 50*time.Millisecond*patience {
				t.Errorf("%s of %.40s: %d after %v: %s", path, body, a.status, took, a.body)
			}
		}
	}
}

func graphBombs(t *testing.T) {
	n := one(t, plan{})
	var bomb strings.Builder
	bomb.WriteString("{ ...F0 } ")
	for i := range 30 { // 2^30 fields
		fmt.Fprintf(&bomb, "fragment F%d on Query { ...F%d ...F%d } ", i, i+1, i+1)
	}
	bomb.WriteString("fragment F30 on Query { __typename }")
	var fields strings.Builder
	for i := range 10_001 {
		fmt.Fprintf(&fields, "a%d: __typename ", i)
	}
	for name, body := range map[string]any{
		"depth 50": object{"query": strings.Repeat("{ a ", 50) + strings.Repeat("}", 50)}, "a cycle": object{"query": "{ ...A } fragment A on Query { ...B } fragment B on Query { ...A }"}, "a bomb": object{"query": bomb.String()}, "10,000 fields": object{"query": "{ " + fields.String() + "}"},
		"1 MiB": object{"query": "{ " + strings.Repeat("__typename ", 90_000) + "}"}, "deep variables": `{"query":"{ __typename }","variables":{"a":` + strings.Repeat("[", 900_000) + `}}`, "introspection in depth": object{"query": "{ __schema { types " + strings.Repeat("{ fields { type ", 20) + "{ name }" + strings.Repeat("} }", 20) + " } }"},
		"many operations": object{"query": strings.Repeat("query { __typename } ", 3000)}, "a persisted query": `{"extensions":{"persistedQuery":{"version":1,"sha256Hash":"x"}}}`, "many variables": object{"query": "query(" + strings.Repeat("$a: Int ", 4000) + ") { __typename }"},
	} {
		var a answer
		took := fastest(func() { a = n.post("/graphql", body, "") })
		all, _ := a.json["errors"].([]any)
		if took > 50*time.Millisecond*patience || a.status >= 500 || len(all) > 20 || len(a.body) > 8<<10 || len(all) == 0 && a.status < 400 {
			t.Errorf("%s: %d, %d errors after %v: %.200s", name, a.status, len(all), took, a.body)
		}
	}
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	more := strings.Repeat("a: __typename b: __typename c: __typename ", 10)
	for i := range few(5000) { // distinct documents are not kept without bound
		n.graphql(fmt.Sprintf("{ a%d: __typename %s}", i, more), nil, "")
	}
	n.log.mu.Lock()
	n.log.b.Reset()
	n.log.mu.Unlock()
	runtime.GC()
	runtime.ReadMemStats(&after)
	if grown := int64(after.HeapAlloc) - int64(before.HeapAlloc); grown > 24<<20 {
		t.Errorf("5,000 documents leave %d MiB", grown>>20)
	}
}

func oddAddresses(t *testing.T) {
	n := one(t, plan{})
	for name, email := range map[string]string{
		"a long local part": strings.Repeat("a", 64<<10) + "@example.com", "quoted": `"` + strings.Repeat(`\"`, 30_000) + `"@example.com`, "comments": strings.Repeat("(", 60_000) + "a@example.com", "many at": strings.Repeat("a@", 30_000), "groups": strings.Repeat("a:b,", 15_000) + ";", "a literal": "a@[" + strings.Repeat("0:", 30_000) + "]", "encoded words": strings.Repeat("=?utf-8?q?=", 6000),
	} {
		for _, path := range []string{"/auth/register", "/auth/login"} {
			body, err := json.Marshal(object{"email": email, "username": "somebody", "password": password})
			if err != nil {
				t.Fatal(err)
			}
			if path == "/auth/login" {
				if body, err = json.Marshal(object{"email": email, "password": password}); err != nil {
					t.Fatal(err)
				}
			}
			var a answer
			took := fastest(func() { a = n.ask(request{method: "POST", path: v1 + path, body: body}) })
			if took > 5*time.Millisecond*patience || a.status != http.StatusUnprocessableEntity {
				t.Errorf("%s at %s: %d after %v: %.200s", name, path, a.status, took, a.body)
			}
		}
	}
}

func longHeadersAreCut(t *testing.T) {
	n := one(t, plan{})
	n.user("ann", account.RoleUser)
	was := len(n.log.String())
	long := strings.Repeat("x-", 500_000)
	h := http.Header{"User-Agent": {long}, "Accept-Language": {long}, "Accept": {strings.Repeat("a/b;q=0.1,", 100_000)}, "Referer": {long}}
	a := n.ask(request{method: "POST", path: v1 + "/auth/login", body: object{"username": "ann", "password": password}, header: h})
	if a.status != http.StatusOK {
		t.Fatalf("%d %s", a.status, a.body)
	}
	if grown := len(n.log.String()) - was; grown > 4<<10 {
		t.Errorf("the log grew by %d bytes", grown)
	}
	if list := n.get(v1+"/auth/sessions", tokensOf(a).access).body; len(list) > 4<<10 {
		t.Errorf("the session holds %d bytes", len(list))
	}
}

func boundedMaps(t *testing.T) {
	n := one(t, plan{change: func(o *assembly.Options) {
		o.Limits = app.LimiterOptions{PerAddress: 1_000_000_000, Auth: 1_000_000_000, Read: 1_000_000_000, Write: 1_000_000_000}
	}})
	n.key(n.ann().access, "users:read")
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	times := few(30_000)
	header, claims := parts(t, n.signIn("ann").access)
	for i := range times {
		from := netip.AddrFrom4([4]byte{203, byte(i >> 16), byte(i >> 8), byte(i)}).String()
		switch i % 5 {
		case 0: // names that do not exist
			n.ask(request{method: "POST", path: v1 + "/auth/login", body: object{"username": fmt.Sprintf("nobody%d", i), "password": "x"}, from: from})
		case 1: // unknown kids
			n.ask(request{method: "GET", path: v1 + "/users/me", from: from, bearer: hs256(t, with(header, object{"kid": fmt.Sprint(i)}), claims, "x")})
		case 2: // API keys that were never
			n.ask(request{method: "GET", path: v1 + "/users/me", from: from, header: http.Header{"X-Api-Key": {fmt.Sprintf("xt_dev_%032x_x", i)}}})
		case 3: // paths, methods and User-Agents
			n.ask(request{method: "GET", path: fmt.Sprintf("/nothing/%d", i), from: from, header: http.Header{"User-Agent": {fmt.Sprint("agent ", i)}, "X-Request-Id": {fmt.Sprint(i)}}})
		case 4: // good tokens, each another text
			n.ask(request{method: "GET", path: v1 + "/users/me", from: from, bearer: hs256(t, header, with(claims, object{"jti": fmt.Sprintf("%032x", i+1)}), signingSecret)})
		}
		if i%1000 == 0 { // the test's own
			n.log.mu.Lock()
			n.log.b.Reset()
			n.log.mu.Unlock()
		}
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	// The memory store keeps the events of failed sign-ins for ever, which the real ones keep on disk.
	if grown := int64(after.HeapAlloc) - int64(before.HeapAlloc); grown > 64<<20 {
		t.Errorf("%d distinct values leave %d MiB", times, grown>>20)
	}
	if remembered := n.core.Limiter.Remembered(); remembered > 1024 {
		t.Errorf("the networks of %d accounts are remembered", remembered)
	}
}

func wholeNetworks(t *testing.T) {
	buckets := memstore.NewBuckets(memstore.BucketsOptions{Max: 200_000})
	still := time.Now() // nothing is refilled
	h := newHouse(t, plan{change: func(o *assembly.Options) {
		o.Now = func() time.Time { return still }
		o.Limits = app.LimiterOptions{PerAddress: 5, Auth: 5, Read: 5, Write: 5}
	}})
	h.buckets = buckets
	n := h.node()
	ask := func(a netip.Addr) int { return n.ask(request{method: "GET", path: "/setup", from: a.String()}).status }
	at := func(hi, lo uint64) netip.Addr {
		var b [16]byte
		for i := range 8 {
			b[i], b[8+i] = byte(hi>>(56-8*i)), byte(lo>>(56-8*i))
		}
		return netip.AddrFrom16(b)
	}
	passed := 0
	for i := range uint64(1000) { // one /64
		if ask(at(0x20010db8_00000000, i)) == http.StatusOK {
			passed++
		}
	}
	if passed != 5 {
		t.Errorf("a thousand addresses of one /64 pass %d times, want 5", passed)
	}
	passed = 0
	all := uint64(few(40_000))
	for i := range all { // /64s of one /32
		if ask(at(0x20010db9_00000000+i<<13, 1)) == http.StatusOK {
			passed++
		}
	}
	if passed != 5*1024 {
		t.Errorf("%d networks of one /32 pass %d times, want 5 × 1,024", all, passed)
	}
	if kept := buckets.Len(); kept > 210_000 {
		t.Errorf("%d buckets", kept)
	}
}

// counting counts how often the signing keys are read.
type counting struct {
	ports.Keys
	finds atomic.Int64
}

func (c *counting) Find(ctx context.Context, name string) (keyset.Ring, error) {
	if name == keyset.Signing {
		c.finds.Add(1)
	}
	return c.Keys.Find(ctx, name)
}

func unknownKids(t *testing.T) {
	c := &counting{}
	n := one(t, plan{stores: func(s *app.Stores) { c.Keys, s.Keys = s.Keys, c }})
	header, claims := parts(t, n.ann().access)
	good := n.signIn("ann").access
	was, begun := c.finds.Load(), time.Now()
	times := few(10_000)
	for i := range times {
		if _, err := n.guard.Admit(hs256(t, with(header, object{"kid": fmt.Sprint("unknown", i)}), claims, "x")); err == nil {
			t.Fatal("taken")
		}
	}
	if asked := c.finds.Load() - was; asked > 2+int64(time.Since(begun)/time.Second) {
		t.Errorf("%d tokens of unknown keys had the store asked %d times in %v", times, asked, time.Since(begun))
	}
	if _, err := n.guard.Admit(good); err != nil {
		t.Errorf("a good one after it: %v", err)
	}
	fetched := atomic.Int64{}
	a := newIssuer(t, "k")
	var silent atomic.Bool
	var ahead atomic.Int64
	set := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fetched.Add(1)
		if silent.Load() {
			<-r.Context().Done()
			return
		}
		res, err := http.Get(a.url)
		if err == nil {
			defer res.Body.Close()
			_, _ = io.Copy(w, res.Body)
		}
	}))
	defer set.Close()
	r, err := jwks.NewRemote(set.URL, jwtcodec.Check, jwks.RemoteOptions{Now: func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.Keys(t.Context()); err != nil {
		t.Fatal(err)
	}
	for range 1000 {
		if _, err := r.Look(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if got := fetched.Load(); got > 2 {
		t.Errorf("%d fetches of another issuer's keys within 30 s", got)
	}
	silent.Store(true)
	ahead.Store(int64(24 * time.Hour)) // the keys are to be fetched again, and their issuer says nothing
	begun = time.Now()
	if got, err := r.Keys(t.Context()); err != nil || len(got.Keys) != 1 || time.Since(begun) > 4*time.Second {
		t.Errorf("keys that are held wait for a fetch: %v, %v after %v", got, err, time.Since(begun))
	}
}

func hostileKeySets(t *testing.T) {
	var kinds int
	private := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { kinds++ }))
	defer private.Close()
	member := `{"kty":"EC","crv":"P-256","alg":"ES256","x":"AA","y":"AA","kid":"%d"},`
	for name, serve := range map[string]http.HandlerFunc{
		"100 MiB": func(w http.ResponseWriter, _ *http.Request) {
			chunk := []byte(strings.Repeat(" ", 1<<20))
			for range 100 {
				if _, err := w.Write(chunk); err != nil {
					return
				}
			}
		},
		"a redirect to this machine": func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, private.URL+"/keys", http.StatusFound)
		},
		"10,000 keys": func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(w, `{"keys":[`)
			for i := range 10_000 {
				_, _ = fmt.Fprintf(w, member, i)
			}
			_, _ = io.WriteString(w, `{}]}`)
		},
		"HTML": func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "<html>") }, "deep": func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, strings.Repeat("[", 100_000)) },
		"a secret": func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(w, `{"keys":[{"kty":"oct","k":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA","alg":"HS256","kid":"x"}]}`)
		}, "500": func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(500) },
	} {
		set := httptest.NewServer(serve)
		r, err := jwks.NewRemote(set.URL, jwtcodec.Check, jwks.RemoteOptions{})
		if err != nil {
			t.Fatal(err)
		}
		before, begun := allocations(), time.Now()
		got, err := r.Keys(t.Context())
		if took := allocations() - before; err == nil || took > 64<<20 || time.Since(begun) > 10*time.Second {
			t.Errorf("%s: %v, %v after %v and %d KiB", name, got, err, time.Since(begun), took>>10)
		}
		set.Close()
	}
	if kinds != 0 {
		t.Error("a redirect was followed")
	}
}

func compressed(t *testing.T) {
	n := one(t, plan{})
	for _, coding := range []string{"gzip", "deflate", "br", "zstd", "gzip, gzip", "x-gzip"} {
		for _, path := range []string{v1 + "/auth/login", "/graphql", v1 + "/oauth/introspect"} {
			if a := n.ask(request{method: "POST", path: path, body: "\x1f\x8b\x08", header: http.Header{"Content-Encoding": {coding}}}); a.status != http.StatusUnsupportedMediaType && a.status != http.StatusUnauthorized {
				t.Errorf("%s at %s: %d %s", coding, path, a.status, a.body)
			}
		}
	}
	ann := n.ann()
	for path, protocol := range map[string]string{"/ws?token=" + ann.access: "", "/graphql": "Sec-WebSocket-Protocol: graphql-transport-ws\r\n"} {
		r, code := n.upgrade(path, "Sec-WebSocket-Version: 13\r\n"+protocol+"Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n", frame(0xc1, "\xab\x00\x00"))
		if r.StatusCode != http.StatusSwitchingProtocols || r.Header.Get("Sec-WebSocket-Extensions") != "" || code != 1002 {
			t.Errorf("%.10s: %d %v, a compressed frame closes with %d", path, r.StatusCode, r.Header, code)
		}
	}
}

func socketFloods(t *testing.T) {
	n := one(t, plan{change: func(o *assembly.Options) { o.Tethers.MaxPerUser = 20 }})
	ann, boss := n.ann(), n.boss()
	open, refused := 0, 0
	for range 40 {
		if c, a := n.dialFeed("?token="+ann.access, nil); c != nil {
			open++
		} else if a.status == http.StatusServiceUnavailable || a.status == http.StatusTooManyRequests {
			refused++
		}
	}
	if open != 20 || refused != 20 {
		t.Errorf("of 40 sockets of one user %d are open and %d refused, want 20", open, refused)
	}
	// Others' are none the worse.
	other, a := n.dialFeed("?token="+boss.access, nil)
	if other == nil {
		t.Fatalf("another user's: %d %s", a.status, a.body)
	}
	n.signIn("boss")
	if m, closed := hear(t, other); closed != nil || m["kind"] != "authentication_succeeded" {
		t.Errorf("another user is told %v, %v", m, closed)
	}
	ctx, cancel := context.WithTimeout(t.Context(), soon)
	defer cancel()
	var err error
	for range 2000 {
		if err = other.Write(ctx, websocket.MessageText, []byte(strings.Repeat("x", 1000))); err != nil {
			break
		}
	}
	if err == nil {
		_, _, err = other.Read(ctx)
	}
	if err == nil || ctx.Err() != nil {
		t.Errorf("a flood of messages: %v", err)
	}
}

func hashesAsWeapons(t *testing.T) {
	h, err := passhash.New(passhash.Options{Cost: 10})
	if err != nil {
		t.Fatal(err)
	}
	for _, stored := range []string{"$2a$31$" + strings.Repeat("a", 53), "$argon2id$v=19$m=4194304,t=100,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"} {
		begun := time.Now()
		ok, _, err := h.Compare(t.Context(), secret.New(stored), secret.New("x"))
		if took := time.Since(begun); ok || took > 2*time.Second*patience {
			t.Errorf("%.30s…: %v, %v after %v", stored, ok, err, took)
		}
	}
}

func pagesAreBounded(t *testing.T) {
	n := one(t, plan{})
	boss := n.boss()
	for i := range 150 {
		n.user(fmt.Sprintf("user%d", i), account.RoleUser)
	}
	for _, path := range []string{"/admin/users", "/admin/events", "/admin/sessions", "/admin/audit", "/admin/alerts", "/admin/blocked-ips"} {
		for _, limit := range []string{"101", "1000000000", "-1", "0", "1e9"} {
			if a := n.get(v1+path+"?limit="+limit, boss.access); a.status != http.StatusUnprocessableEntity && a.status != http.StatusBadRequest {
				t.Errorf("%s?limit=%s: %d", path, limit, a.status)
			}
		}
		if items, _ := n.get(v1+path+"?limit=100", boss.access).json["items"].([]any); len(items) > 100 {
			t.Errorf("%s: %d items", path, len(items))
		}
	}
}

func summarised(t *testing.T) {
	for what, limit := range map[string]int64{"tokens that are refused": 1_000_000, "requests over the limit": 10} {
		n := one(t, plan{change: func(o *assembly.Options) {
			o.Limits = app.LimiterOptions{PerAddress: limit, Auth: limit, Read: limit, Write: limit}
		}})
		was := len(n.log.String())
		times := few(10_000)
		for range times {
			n.ask(request{method: "GET", path: v1 + "/users/me", bearer: "nonsense"})
		}
		lines := strings.Count(n.log.String()[was:], "\n")
		if lines > times/50 {
			t.Errorf("%d failures alike, %s, make %d lines", times, what, lines)
		}
		if kinds := n.events(); len(kinds) > times/50 {
			t.Errorf("%d failures alike, %s, make %d events", times, what, len(kinds))
		}
	}
}

func hoards(t *testing.T) {
	n := one(t, plan{change: func(o *assembly.Options) { o.Tunables.MaxSessions = 5 }})
	first := n.ann()
	for range 8 {
		n.signIn("ann")
	}
	last := n.signIn("ann")
	if items, _ := n.get(v1+"/auth/sessions", last.access).json["items"].([]any); len(items) != 5 {
		t.Errorf("%d sessions, want 5", len(items))
	}
	n.refusedEverywhere(first.access, "token_revoked") // the one that was used least recently went
	refused := 0
	for range 200 {
		if a := n.post(v1+"/api-keys", object{"name": "hoarded"}, last.access); a.status == http.StatusConflict {
			refused++
		}
	}
	if refused == 0 {
		t.Error("200 API keys of one user were made")
	}
}
