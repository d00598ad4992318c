package security_test

import (
	"context"
	"fmt"
	"net/http"
	"net/netip"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/xteam/xteam/adapters/httpapi"
	"github.com/xteam/xteam/adapters/memstore"
	"github.com/xteam/xteam/adapters/passhash"
	"github.com/xteam/xteam/app"
	"github.com/xteam/xteam/app/xteam/assembly"
	"github.com/xteam/xteam/domain/account"
	"github.com/xteam/xteam/domain/alert"
	"github.com/xteam/xteam/domain/instant"
	"github.com/xteam/xteam/domain/ratelimit"
	"github.com/xteam/xteam/domain/secret"
	"github.com/xteam/xteam/ports"
)

// signInExhibits are of sign-ins, of limits, and of what proxies ask.
var signInExhibits = []exhibit{
	{ids: []string{"CVE-2024-21662"}, play: floodOfOthers},
	{ids: []string{"CVE-2025-24806", "CVE-2026-47203"}, play: namesOfOneAccount},
	{ids: []string{"CVE-2025-6004", "CVE-2025-54998"}, play: spellingsOfAName},
	{ids: []string{"CVE-2025-6011", "CVE-2026-44332", "CVE-2026-32595"}, play: oneAnswerInOneTime, tests: []string{"app/races_test.go:TestSignInTakesTheSameWork"}},
	{ids: []string{"CVE-2026-71326", "CVE-2026-88010"}, play: checksAreNotMerged},
	{ids: []string{"CVE-2020-28483", "GHSA-3fxj-6jh8-hvhx", "CVE-2026-20896"}, play: forwardedByAnyone, tests: []string{"cmd/xteam/edge_test.go:TestTrustedProxies", "cmd/xteam/edge_test.go:TestUnfitForProduction"}},

	{ids: []string{"CVE-2026-30851"}, play: identityIsAlwaysThere, tests: []string{"tests/proxies/proxies_test.go:TestAnswers", "tests/proxies/proxies_test.go:TestTraefik"}},
	{ids: []string{"CVE-2025-64484", "CVE-2026-52845", "CVE-2026-54763"}, play: underscoresAreNothing, tests: []string{"tests/proxies/proxies_test.go:TestBadInput"}},
	{ids: []string{"CVE-2026-29054", "GHSA-w9mr-28mw-j8hg"}, play: connectionTakesNothing, tests: []string{"tests/proxies/proxies_test.go:TestBadInput"}},
	{ids: []string{"CVE-2026-35051", "CVE-2026-40575"}, play: credentialAlone},
	{ids: []string{"nginx-auth_request"}, why: "it is a property of the nginx file that is shipped, which a real nginx shows: the client sees 429 and 503 with Retry-After", tests: []string{"tests/proxies/proxies_test.go:TestLimits", "tests/proxies/proxies_test.go:TestVerdicts"}},
}

func floodOfOthers(t *testing.T) {
	b := memstore.NewBuckets(memstore.BucketsOptions{})
	now := instant.Of(time.Now())
	limit := ratelimit.PerMinute(5)
	take := func(key string) bool {
		got, err := b.Take(context.Background(), now, ports.Demand{Key: key, Limit: limit, N: 1})
		if err != nil {
			t.Fatal(err)
		}
		return got[0].OK
	}
	for take("auth|victim") {
	}
	others := few(1_000_000)
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	var key [24]byte
	for i := range others {
		take(string(fmt.Appendf(key[:0], "auth|%d", i)))
	}
	if take("auth|victim") {
		t.Error("a spent bucket was forgotten while a flood of others came")
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	if grown := int64(after.HeapAlloc) - int64(before.HeapAlloc); grown > 160<<20 {
		t.Errorf("a flood of others takes %d MiB", grown>>20)
	}
	runtime.KeepAlive(b)

	small := memstore.NewBuckets(memstore.BucketsOptions{Max: 64}) // a table that is full
	spend := func(key string) bool {
		got, err := small.Take(context.Background(), now, ports.Demand{Key: key, Limit: limit, N: 5})
		if err != nil {
			t.Fatal(err)
		}
		return got[0].OK
	}
	spend("victim")
	for i := range 20_000 {
		spend(fmt.Sprint("other ", i))
	}
	if spend("victim") {
		t.Error("a full table forgot a spent bucket")
	}
	if n := small.Len(); n > 64+1024+64 {
		t.Errorf("a table of 64 has %d buckets", n)
	}
}

func namesOfOneAccount(t *testing.T) {
	rules, err := alert.ParseRules("failed_sign_ins_by_account=20/10m/15m,failed_sign_ins_by_address=off,password_spraying=off,guessing_from_many_addresses=off")
	if err != nil {
		t.Fatal(err)
	}
	n := one(t, plan{change: func(o *assembly.Options) { o.AlertRules = rules }})
	ann := n.user("ann", account.RoleUser)
	boss := n.boss()
	eventually(t, "events are judged", soon, func() bool { return strings.Contains(n.log.String(), `"duty":"alerts"`) }) // those of before a system's first start are not
	for i := range 20 {
		body := []object{{"username": "ann"}, {"username": "Ann"}, {"email": "ann@example.com"}, {"email": "ANN@EXAMPLE.COM"}}[i%4]
		body["password"] = "a wrong password"
		a := n.ask(request{method: "POST", path: v1 + "/auth/login", body: body, from: fmt.Sprintf("203.0.%d.5", i)})
		if a.status != http.StatusUnauthorized {
			t.Fatalf("guess %d: %d %s", i, a.status, a.body)
		}
	}
	var items []any
	eventually(t, "the alert is there", soon, func() bool {
		items, _ = n.get(v1+"/admin/alerts", boss.access).json["items"].([]any)
		return len(items) > 0
	})
	first, _ := items[0].(map[string]any)
	if len(items) != 1 || first["group"] != ann.ID.String() || first["count"] != float64(20) {
		t.Errorf("four names of one account are %v", items)
	}
}

func spellingsOfAName(t *testing.T) {
	n := one(t, plan{change: func(o *assembly.Options) {
		o.Limits = app.LimiterOptions{PerAddress: 1_000_000, Auth: 1_000_000, Read: 1_000_000, Write: 1_000_000}
	}})
	n.user("ann", account.RoleUser)
	wrong := func(name string) answer {
		return n.ask(request{method: "POST", path: v1 + "/auth/login", body: object{"username": name, "password": "a wrong password"}, from: "203.0.113.9"})
	}
	for _, name := range []string{" ann", "ann ", "ａｎｎ", "ann\u200b", "ann\x00", "аnn", "a\u0301nn", "ann\n"} {
		if a := wrong(name); a.status != http.StatusUnprocessableEntity && a.status != http.StatusUnauthorized && a.status != http.StatusBadRequest {
			t.Errorf("%q: %d %s", name, a.status, a.body)
		}
		a := n.post(v1+"/auth/login", object{"username": name, "password": password}, "")
		if a.status == http.StatusOK {
			_, claims := parts(t, tokensOf(a).access)
			if claims["sub"] == "" {
				t.Errorf("%q signs in", name)
			}
			t.Errorf("%q signs in", name)
		}
		if a := n.post(v1+"/auth/register", object{"email": fmt.Sprintf("other%d@example.com", len(name)), "username": name, "password": "another password of the tests"}, ""); a.status != http.StatusUnprocessableEntity && a.status != http.StatusConflict && a.status != http.StatusBadRequest {
			t.Errorf("registering %q beside ann: %d %s", name, a.status, a.body)
		}
	}
	for _, name := range []string{"Ann", "ANN", "aNn"} {
		if a := n.post(v1+"/auth/register", object{"email": "other@example.com", "username": name, "password": "another password of the tests"}, ""); a.status != http.StatusConflict {
			t.Errorf("registering %q beside ann: %d %s", name, a.status, a.body)
		}
	}
	// Ten attempts a minute are shared, whatever the spelling.
	count := map[int]int{}
	n.turn(time.Hour)
	for i := range 30 {
		count[wrong([]string{"ann", "Ann", "ANN"}[i%3]).status]++
	}
	if count[http.StatusUnauthorized] != 10 || count[http.StatusTooManyRequests] != 20 {
		t.Errorf("three spellings of one name have %v attempts", count)
	}
}

// working counts what a hasher is asked.
type working struct {
	ports.Passwords
	compared atomic.Int64
}

func (w *working) Compare(ctx context.Context, hash, p secret.Text) (ok, upgrade bool, err error) {
	w.compared.Add(1)
	return w.Passwords.Compare(ctx, hash, p)
}

func oneAnswerInOneTime(t *testing.T) {
	real, err := passhash.New(passhash.Options{Kind: passhash.Argon2id})
	if err != nil {
		t.Fatal(err)
	}
	w := &working{Passwords: real}
	n := one(t, plan{passwords: w})
	boss := n.boss()
	n.user("ann", account.RoleUser)
	n.user("gone", account.RoleUser)
	if a := n.post(v1+"/admin/users/gone/disable", object{}, boss.access); a.status != http.StatusOK {
		t.Fatalf("%d %s", a.status, a.body)
	}
	cases := []object{{"username": "nobody", "password": "a wrong password"}, {"username": "ann", "password": "a wrong password"}, {"username": "gone", "password": password}, {"username": "gone", "password": "a wrong password"}, {"email": "nobody@example.com", "password": password}}
	took := make([][]time.Duration, len(cases))
	texts := map[string]bool{}
	var least, most time.Duration // of the least of each: other programs' load is not the sign-in's
	for round := 0; round < 7 || round < 100 && most > least*3/2; round++ {
		for i, body := range cases {
			was := w.compared.Load()
			begun := time.Now()
			a := n.post(v1+"/auth/login", body, "")
			took[i] = append(took[i], time.Since(begun))
			if w.compared.Load() != was+1 {
				t.Errorf("%v compares %d passwords, want 1", body, w.compared.Load()-was)
			}
			delete(a.json, "request_id")
			a.header.Del("X-Request-Id")
			texts[fmt.Sprint(a.status, a.json, a.header)] = true
		}
		var each []time.Duration
		for _, all := range took {
			each = append(each, slices.Min(all))
		}
		least, most = slices.Min(each), slices.Max(each)
	}
	if len(texts) != 1 {
		t.Errorf("they are answered differently: %v", texts)
	}
	if most > least*3/2 {
		t.Errorf("they take between %v and %v: %v", least, most, took)
	}
}

func checksAreNotMerged(t *testing.T) {
	real, err := passhash.New(passhash.Options{Kind: passhash.Argon2id, Queue: 1000, MaxWait: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name      string
		passwords ports.Passwords
		each      int
	}{{"with the real hasher", real, 8}, {"with a quick one", quick{}, 100}} {
		n := one(t, plan{passwords: c.passwords})
		n.user("ann", account.RoleUser)
		var all sync.WaitGroup
		var good, bad atomic.Int64
		for i := range c.each {
			all.Go(func() {
				if n.post(v1+"/auth/login", object{"username": "ann", "password": password}, "").status == http.StatusOK {
					good.Add(1)
				}
			})
			all.Go(func() {
				if n.post(v1+"/auth/login", object{"username": fmt.Sprintf("nobody%d", i), "password": password}, "").status == http.StatusUnauthorized {
					bad.Add(1)
				}
			})
		}
		all.Wait()
		if good.Load() != int64(c.each) || bad.Load() != int64(c.each) {
			t.Errorf("%s: %d of ann's sign-ins are good and %d of nobody's are refused, want %d of each", c.name, good.Load(), bad.Load(), c.each)
		}
	}
}

func forwardedByAnyone(t *testing.T) {
	limits := func(o *assembly.Options) {
		o.Limits = app.LimiterOptions{PerAddress: 1000, Auth: 5, Read: 1000, Write: 1000}
	}
	n := one(t, plan{change: limits})
	for i := range 8 {
		from := fmt.Sprintf("198.51.100.%d", i)
		a := n.ask(request{method: "POST", path: v1 + "/auth/login", body: object{"username": "nobody", "password": "x"}, from: "203.0.113.1", header: http.Header{
			"X-Forwarded-For": {from}, "Forwarded": {"for=" + from}, "X-Real-Ip": {from}, "True-Client-Ip": {from}, "Cf-Connecting-Ip": {from}, "X-Client-Ip": {from}, "X_Forwarded_For": {from}}})
		if want := map[bool]int{true: http.StatusUnauthorized, false: http.StatusTooManyRequests}[i < 5]; a.status != want {
			t.Errorf("sign-in %d: %d, want %d", i+1, a.status, want)
		}
	}
	// Of a proxy that is trusted, the address to the right is believed, and none that the client put before it.
	trusting := one(t, plan{change: func(o *assembly.Options) {
		limits(o)
		o.HTTP = httpapi.Options{Proxies: httpapi.Proxies{Trusted: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}}}
	}})
	for i := range 8 {
		a := trusting.ask(request{method: "POST", path: v1 + "/auth/login", body: object{"username": "nobody", "password": "x"}, from: "192.0.2.10", header: http.Header{
			"X-Forwarded-For": {fmt.Sprintf("198.51.100.%d, 203.0.113.1", i)}, "X-Real-Ip": {fmt.Sprintf("198.51.100.%d", i)}}})
		if want := map[bool]int{true: http.StatusUnauthorized, false: http.StatusTooManyRequests}[i < 5]; a.status != want {
			t.Errorf("through the proxy, sign-in %d: %d, want %d", i+1, a.status, want)
		}
	}
	for _, all := range []string{"0.0.0.0/0", "*", "::/0"} {
		r := serveOnce(t, "ENVIRONMENT=production", "TRUSTED_PROXIES="+all)
		if r.code != 1 || !strings.Contains(r.err, "TRUSTED_PROXIES") {
			t.Errorf("a start in production with TRUSTED_PROXIES=%s: %d %s", all, r.code, r.err)
		}
	}
}

var identity = []string{"X-Auth-User", "X-Auth-Session", "X-Auth-Scope", "X-Auth-Roles"}

func identityIsAlwaysThere(t *testing.T) {
	n := one(t, plan{})
	ann, boss := n.ann(), n.boss()
	_, key := n.key(ann.access, "users:read")
	n.serve()
	for name, text := range map[string]string{"a user": ann.access, "an administrator": boss.access, "an API key": key} {
		for _, method := range []string{"GET", "POST", "DELETE", "HEAD"} {
			r := request{method: method, path: v1 + "/auth/verify", bearer: text, header: http.Header{"X-Auth-Roles": {"admin"}, "X-Auth-User": {"root"}, "X-Auth-Scope": {"admin"}, "X-Auth-Session": {"x"}}}
			for _, h := range []http.Header{n.ask(r).header, n.overWire(r).header} {
				for _, one := range identity {
					if len(h[one]) != 1 || one == "X-Auth-Roles" && name != "an administrator" && strings.Contains(h[one][0], "admin") || one == "X-Auth-User" && h[one][0] == "root" {
						t.Errorf("%s %s: %s is %q", method, name, one, h[one])
					}
				}
			}
		}
	}
}

// overWire sends a request to the real listener.
func (n *node) overWire(r request) answer {
	n.t.Helper()
	req := r.build()
	out, err := http.NewRequestWithContext(n.t.Context(), req.Method, n.serve()+r.path, req.Body)
	if err != nil {
		n.t.Fatal(err)
	}
	out.Header = req.Header
	res, err := http.DefaultTransport.RoundTrip(out)
	if err != nil {
		n.t.Fatal(err)
	}
	defer res.Body.Close()
	var b strings.Builder
	if _, err := fmt.Fprint(&b, readAll(res.Body)); err != nil {
		n.t.Fatal(err)
	}
	return answered(res.StatusCode, res.Header, b.String())
}

func underscoresAreNothing(t *testing.T) {
	n := one(t, plan{change: func(o *assembly.Options) {
		o.Limits = app.LimiterOptions{PerAddress: 1000, Auth: 2, Read: 1000, Write: 1000}
		o.HTTP = httpapi.Options{Proxies: httpapi.Proxies{Trusted: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}}}
	}})
	for i := range 4 {
		from := fmt.Sprintf("198.51.100.%d", i)
		a := n.ask(request{method: "POST", path: v1 + "/auth/login", body: object{"username": "nobody", "password": "x"}, from: "192.0.2.10", header: http.Header{
			"X-Forwarded-For": {"203.0.113.1"}, "X_Forwarded_For": {from}, "X-Forwarded_for": {from}, "X_forwarded-For": {from}}})
		if want := map[bool]int{true: http.StatusUnauthorized, false: http.StatusTooManyRequests}[i < 2]; a.status != want {
			t.Errorf("sign-in %d: %d, want %d", i+1, a.status, want)
		}
	}
	for _, twin := range []string{"X_API_KEY", "X_Api_Key", "Authorization_"} {
		if a := n.ask(request{method: "GET", path: v1 + "/auth/verify", header: http.Header{twin: {"Bearer x"}, "X_Auth_User": {"root"}}}); a.status != http.StatusUnauthorized || a.code() != "token_missing" {
			t.Errorf("%s: %d %s", twin, a.status, a.body)
		}
	}
}

func connectionTakesNothing(t *testing.T) {
	n := one(t, plan{})
	ann := n.ann()
	plain := n.overWire(request{method: "GET", path: v1 + "/auth/verify", bearer: ann.access})
	for _, value := range []string{"close, x-auth-user, x-auth-roles, x-forwarded-for", "keep-alive, authorization", "X-Auth-User"} {
		a := n.overWire(request{method: "GET", path: v1 + "/auth/verify", bearer: ann.access, header: http.Header{"Connection": {value}}})
		for _, one := range identity {
			if a.status != http.StatusOK || !slices.Equal(a.header[one], plain.header[one]) {
				t.Errorf("with Connection: %s: %d, %s is %q, want %q", value, a.status, one, a.header[one], plain.header[one])
			}
		}
	}
}

func credentialAlone(t *testing.T) {
	n := one(t, plan{})
	ann, boss := n.ann(), n.boss()
	for _, h := range []http.Header{
		{"X-Forwarded-Uri": {"/public"}}, {"X-Forwarded-Uri": {"/api/v1/auth/login"}}, {"X-Forwarded-Prefix": {"/health"}}, {"X-Forwarded-Method": {"OPTIONS"}}, {"X-Original-Url": {"/healthz"}},
		{"X-Rewrite-Url": {"/healthz"}}, {"X-Original-Uri": {"/healthz"}, "X-Original-Method": {"GET"}}, {"X-Http-Method-Override": {"OPTIONS"}}, {"X-Forwarded-Host": {"localhost"}, "X-Forwarded-Proto": {"https"}},
	} {
		if a := n.ask(request{method: "GET", path: v1 + "/auth/verify", header: h}); a.status != http.StatusUnauthorized {
			t.Errorf("nobody with %v: %d", h, a.status)
		}
		if a := n.ask(request{method: "GET", path: v1 + "/auth/verify", header: h, bearer: ann.access}); a.status != http.StatusOK {
			t.Errorf("ann with %v: %d", h, a.status)
		}
		if a := n.ask(request{method: "GET", path: v1 + "/auth/verify,role=admin", header: h, bearer: ann.access}); a.status != http.StatusForbidden {
			t.Errorf("ann, where an administrator is asked for, with %v: %d", h, a.status)
		}
		if a := n.ask(request{method: "GET", path: v1 + "/admin/users", header: h, bearer: ann.access}); a.status != http.StatusForbidden {
			t.Errorf("ann at an administrator's route with %v: %d", h, a.status)
		}
		if a := n.ask(request{method: "GET", path: v1 + "/auth/verify,role=admin", header: h, bearer: boss.access}); a.status != http.StatusOK {
			t.Errorf("an administrator with %v: %d", h, a.status)
		}
	}
}
