package security_test

import (
	"bufio"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/xteam/xteam/adapters/httpapi"
	"github.com/xteam/xteam/app"
	"github.com/xteam/xteam/app/xteam/assembly"
	"github.com/xteam/xteam/domain/account"
)

// standardExhibits are of lines of the RFCs.
var standardExhibits = []exhibit{
	{ids: []string{"RFC8725-3.1", "RFC8725-3.2"}, play: algorithmConfusion, tests: []string{"adapters/jwtcodec/keys_test.go:TestAnAlgorithmIsItsKeys", "adapters/jwtcodec/wycheproof_test.go:TestWycheproofSignatures"}},
	{ids: []string{"RFC8725-3.3"}, play: everyCheckRefuses, tests: []string{"adapters/jwtcodec/fuzz_test.go:FuzzParse"}},
	{ids: []string{"RFC8725-3.5"}, play: weakSecrets, tests: []string{"domain/secret/weak_test.go:TestWeakKeys", "cmd/xteam/doctor_test.go:TestDoctorBefore"}},
	{ids: []string{"RFC8725-3.7"}, play: utf8Alone},
	{ids: []string{"RFC8725-3.8"}, play: issuerAndSubject},
	{ids: []string{"RFC8725-3.9"}, play: anotherAudience},
	{ids: []string{"RFC8725-3.10"}, play: kidIsAName},
	{ids: []string{"RFC8725-3.11"}, play: typesOfTokens},
	{ids: []string{"RFC8725-3.12"}, play: nothingElseIsAToken, tests: []string{"adapters/httpapi/audit_test.go:TestACheckpointIsNoToken"}},
	{ids: []string{"RFC8725-crit"}, play: criticalHeaders},
	{ids: []string{"RFC9700-2.2.2", "RFC9700-4.14"}, play: parentAlone},
	{ids: []string{"RFC9700-4.3.2"}, play: tokensInURLs, tests: []string{"tests/proxies/cluster_test.go:TestClusterLogsNoQuery"}},
	{ids: []string{"RFC9700-4.11"}, play: nothingRedirects, tests: []string{"adapters/httpapi/odd_test.go:TestPathsThatNormalise"}},
	{ids: []string{"RFC9700-4.13"}, play: forwardedByAnyone},
	{ids: []string{"RFC9700-4.16"}, play: nothingIsFramed},
	{ids: []string{"RFC9068"}, play: typesOfTokens},
	{ids: []string{"RFC7009"}, play: revocationEndpoint, tests: []string{"adapters/httpapi/oauth_test.go:TestRevocation"}},
	{ids: []string{"RFC7662"}, play: introspectionEndpoint, tests: []string{"adapters/httpapi/oauth_test.go:TestInactive"}},
	{ids: []string{"RFC6750"}, play: bearerChallenges},
	{ids: []string{"RFC6455"}, play: handshakesAndFrames, tests: []string{"adapters/wsfeed/wsfeed_test.go:TestHostileFrames", "adapters/graphqlapi/socket_test.go:TestHostileFrames"}},
	{ids: []string{"RFC9457"}, play: oneFormOfRefusal, tests: []string{"adapters/httpapi/api_test.go:TestPanic"}},
}

func everyCheckRefuses(t *testing.T) {
	n := one(t, plan{})
	header, claims := parts(t, n.ann().access)
	now := time.Now().Unix()
	for name, change := range map[string]object{
		"iss": {"iss": "somebody"}, "aud": {"aud": "other"}, "exp": {"exp": now - 3600}, "expired": {"exp": now - 3600, "iat": now - 7200, "nbf": now - 7200}, "no exp": {"exp": gone}, "exp of text": {"exp": "tomorrow"}, "exp beyond": {"exp": 1e300}, "nbf": {"nbf": now + 3600}, "iat": {"iat": now + 3600}, "no iat": {"iat": gone}, "no jti": {"jti": gone}, "an empty jti": {"jti": ""}, "no sub": {"sub": gone}, "sub of a number": {"sub": 1}, "no sid": {"sid": gone},
		"gen of text": {"gen": "0"}, "gen below": {"gen": -1}, "ep of text": {"ep": "1"}, "no gen": {"gen": gone},
	} {
		if a := n.get(v1+"/users/me", hs256(t, header, with(claims, change), signingSecret)); a.status != http.StatusUnauthorized {
			t.Errorf("%s: %d %s", name, a.status, a.body)
		}
	}
	text, _ := json.Marshal(claims)
	for name, payload := range map[string]string{"a claim twice": `{"sub":"x",` + string(text[1:]), "trailing": string(text) + " {}", "no object": "[]", "null": "null", "cut": string(text[:len(text)-1])} {
		if a := n.get(v1+"/users/me", hs256(t, header, payload, signingSecret)); a.status != http.StatusUnauthorized {
			t.Errorf("%s: %d %s", name, a.status, a.body)
		}
	}
	n.takenEverywhere(hs256(t, header, claims, signingSecret)) // so it was the change
}

func signaturesOfOthers(t *testing.T) {
	n := one(t, plan{})
	header, claims := parts(t, n.ann().access)
	good := hs256(t, header, claims, signingSecret)
	at, changed := strings.LastIndexByte(good, '.')+1, hs256(t, header, with(claims, object{"roles": []string{"admin"}}), "")
	n.refusedAs(map[string]string{
		"a signature under another secret": hs256(t, header, claims, signingSecret+"x"), "a signature under no secret": hs256(t, header, claims, ""), "a signature that was cut": good[:len(good)-4], "a signature of zeros": good[:at] + b64(strings.Repeat("\x00", 32)),
		"another's signature": hs256(t, header, with(claims, object{"roles": []string{"admin"}}), signingSecret)[:at-1] + good[at-1:], "claims that were changed": changed[:strings.LastIndexByte(changed, '.')+1] + good[at:],
	})
	n.takenEverywhere(good)
}

func weakSecrets(t *testing.T) {
	for _, environment := range []string{"development", "staging", "production"} {
		r := serveOnce(t, "ENVIRONMENT="+environment, "SECRET_KEY="+signingSecret[:31], "ROOT_KEY="+signingSecret)
		if r.code != 1 || !strings.Contains(r.err, "SECRET_KEY") || strings.Contains(r.err, signingSecret[:31]) {
			t.Errorf("%s, 31 bytes: %d %s", environment, r.code, r.err)
		}
	}
	for _, weak := range []string{strings.Repeat("a", 32), "changeme" + strings.Repeat("changeme", 3)} {
		r := run(t, []string{"DATA_DIR=" + t.TempDir(), "SECRET_KEY=" + weak}, "", "doctor", "--json")
		var got struct {
			Checks []struct{ ID, Verdict string }
		}
		if err := json.Unmarshal([]byte(r.out), &got); err != nil {
			t.Fatalf("%v: %s %s", err, r.out, r.err)
		}
		found := false
		for _, c := range got.Checks {
			found = found || c.ID == "secret_key.strength" && c.Verdict == "fail"
		}
		if !found || r.code != 1 || strings.Contains(r.out, weak) {
			t.Errorf("the doctor of a weak secret: %d %s", r.code, r.out)
		}
	}
}

// refusedAs wants 401 of every door for each token, named for what is wrong with it.
func (n *node) refusedAs(tokens map[string]string) {
	n.t.Helper()
	for name, text := range tokens {
		for door, v := range n.doors(text) {
			if v.status != http.StatusUnauthorized {
				n.t.Errorf("%s: %d %s at %s", name, v.status, v.code, door)
			}
		}
	}
}

func utf8Alone(t *testing.T) {
	n := one(t, plan{})
	header, claims := parts(t, n.ann().access)
	text, _ := json.Marshal(claims)
	n.refusedAs(map[string]string{
		"invalid UTF-8":        hs256(t, header, strings.Replace(string(text), `"iss":"xteam"`, "\"iss\":\"xteam\xff\"", 1), signingSecret),
		"invalid UTF-8 beside": hs256(t, header, strings.TrimSuffix(string(text), "}")+",\"x\":\"\xff\"}", signingSecret),
		"an overlong form":     hs256(t, header, strings.Replace(string(text), "xteam", "\xc1\xb8team", 1), signingSecret),
	})
}

func issuerAndSubject(t *testing.T) {
	n := one(t, plan{})
	header, claims := parts(t, n.ann().access)
	with := func(members object) string { return hs256(t, header, with(claims, members), signingSecret) }
	n.refusedAs(map[string]string{"another issuer": with(object{"iss": "somebody"}), "an issuer in another case": with(object{"iss": "Xteam"}), "an issuer with a slash": with(object{"iss": "xteam/"})})
	// The user whom it names has never been.
	nobody := with(object{"sub": strings.Repeat("ab", 16)})
	if a := n.get(v1+"/users/me", nobody); a.status != http.StatusUnauthorized {
		t.Errorf("sub of nobody: %d %s", a.status, a.body)
	}
	if a := n.graphql("{ me { id } }", nil, nobody); a.problem() == "" {
		t.Errorf("sub of nobody, by GraphQL: %s", a.body)
	}
}

func anotherAudience(t *testing.T) {
	n := one(t, plan{})
	header, claims := parts(t, n.ann().access)
	with := func(members object) string { return hs256(t, header, with(claims, members), signingSecret) }
	n.refusedAs(map[string]string{"another audience": with(object{"aud": "xteam2"}), "several others": with(object{"aud": []string{"x", "team"}}), "a client for the audience": with(object{"aud": claims["client_id"].(string) + "x"})})
}

func kidIsAName(t *testing.T) {
	n := one(t, plan{})
	header, claims := parts(t, n.ann().access)
	asked := 0
	listener := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { asked++ }))
	defer listener.Close()
	for _, kid := range []any{"../../../../etc/passwd", "'--", "' OR 1=1--", "/dev/null", strings.Repeat("k", 4<<10), "\x00", keyIDOf() + "\x00", 1, nil, []string{keyIDOf()}, object{"a": 1}, "", listener.URL, gone} {
		n.refusedEverywhere(hs256(t, with(header, object{"kid": kid}), claims, signingSecret), "")
		n.refusedEverywhere(hs256(t, with(header, object{"kid": kid}), claims, ""), "")
	}
	for _, name := range []string{"jku", "x5u"} {
		n.refusedEverywhere(hs256(t, with(header, object{name: listener.URL + "/jwks.json"}), claims, signingSecret), "")
		n.refusedEverywhere(hs256(t, with(header, object{name: listener.URL + "/jwks.json", "kid": "another"}), claims, signingSecret), "")
	}
	n.refusedEverywhere(hs256(t, with(header, object{"jwk": object{"kty": "oct", "k": b64("mine")}}), claims, "mine"), "")
	n.refusedEverywhere(hs256(t, with(header, object{"jwk": object{"kty": "oct", "k": b64("mine")}, "kid": gone}), claims, "mine"), "")
	n.refusedEverywhere(hs256(t, with(header, object{"x5c": []string{"AAAA"}}), claims, signingSecret), "")
	if asked != 0 {
		t.Errorf("%d requests were made to where a token pointed", asked)
	}
}

func nothingElseIsAToken(t *testing.T) {
	n := one(t, plan{})
	boss := n.boss()
	n.ann() // so that a page of one has a next
	ticket := n.post(v1+"/auth/ws-ticket", nil, boss.access).text("ticket")
	cursor := n.get(v1+"/admin/users?limit=1", boss.access).text("next")
	page := n.graphql("{ users(first: 1) { pageInfo { endCursor } } }", nil, boss.access)
	_, after, _ := strings.Cut(page.body, `"endCursor":"`)
	graph, _, _ := strings.Cut(after, `"`)
	checkpoint := strings.TrimSpace(n.get(v1+"/admin/audit/export?format=jsonl", boss.access).body)
	checkpoint = checkpoint[strings.LastIndexByte(checkpoint, '\n')+1:]
	for name, text := range map[string]string{"a ticket": ticket, "a cursor": cursor, "a cursor of GraphQL": graph, "a checkpoint": b64(checkpoint), "a checkpoint in three parts": b64(`{"alg":"HS256"}`) + "." + b64(checkpoint) + "." + b64("x"), "a refresh token": boss.refresh, "a webhook's signature": "v1," + base64.StdEncoding.EncodeToString([]byte(strings.Repeat("s", 32)))} {
		if text == "" {
			t.Errorf("%s is empty", name)
			continue
		}
		for door, v := range n.doors(text) {
			if door == "/oauth/introspect" && name == "a refresh token" || door == "/ws as subprotocol" && v.status == http.StatusBadRequest {
				continue // it may be asked about; and what is no token of HTTP is no subprotocol
			}
			if v.status != http.StatusUnauthorized {
				t.Errorf("%s at %s: %v", name, door, v)
			}
		}
	}
	// And the reverse.
	if v := n.atFeed("?ticket="+urlEscape(boss.access), nil); v.status != http.StatusUnauthorized {
		t.Errorf("an access token as a ticket: %v", v)
	}
	if a := n.refresh(boss.access, home, browser); a.status != http.StatusUnauthorized {
		t.Errorf("an access token as a refresh token: %d %s", a.status, a.body)
	}
	if a := n.get(v1+"/admin/users?cursor="+urlEscape(ticket), boss.access); a.status != http.StatusUnprocessableEntity && a.status != http.StatusBadRequest {
		t.Errorf("a ticket as a cursor: %d %s", a.status, a.body)
	}
}

func criticalHeaders(t *testing.T) {
	n := one(t, plan{})
	header, claims := parts(t, n.ann().access)
	for _, crit := range []any{[]string{"b64"}, []string{"exp"}, []string{}, "b64", nil, []string{"http://example.com/x"}} {
		n.refusedEverywhere(hs256(t, with(header, object{"crit": crit, "b64": true, "exp": 1}), claims, signingSecret), "")
	}
	// Loose forms of base64 are other texts for the same token.
	good := hs256(t, header, claims, signingSecret)
	signature := good[strings.LastIndexByte(good, '.')+1:]
	last := strings.IndexByte("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_", signature[len(signature)-1])
	loose := good[:len(good)-1] + string("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"[last+1])
	for name, text := range map[string]string{"padded": good + "=", "loose bits": loose, "CR": good[:20] + "\r" + good[20:], "a blank": good + " x"} {
		if _, err := n.guard.Admit(text); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
}

func tokensInURLs(t *testing.T) {
	n := one(t, plan{})
	ann := n.ann()
	for _, name := range []string{"token", "access_token", "bearer", "api_key", "ticket"} {
		for _, path := range []string{"/users/me", "/auth/verify", "/auth/ws-ticket"} {
			method := map[bool]string{true: "POST", false: "GET"}[path == "/auth/ws-ticket"]
			if a := n.ask(request{method: method, path: v1 + path + "?" + name + "=" + ann.access}); a.status != http.StatusUnauthorized || a.code() != "token_missing" {
				t.Errorf("%s?%s=: %d %s", path, name, a.status, a.body)
			}
		}
		if a := n.ask(request{method: "POST", path: "/graphql?" + name + "=" + ann.access, body: object{"query": "{ me { id } }"}}); a.problem() == "" && a.status == http.StatusOK {
			t.Errorf("/graphql?%s=: %s", name, a.body)
		}
	}
	if v := n.atFeed("?token="+ann.access, nil); v.status != http.StatusSwitchingProtocols {
		t.Errorf("/ws?token=: %v", v)
	}
	n.atFeed("?token="+ann.access+"x", nil)
	if signature := ann.access[strings.LastIndexByte(ann.access, '.')+1:]; strings.Contains(n.log.String(), signature) {
		t.Error("the log holds a token of a URL")
	}
}

func nothingRedirects(t *testing.T) {
	n := one(t, plan{})
	ann := n.ann()
	for _, path := range []string{"//evil.test/", "/%2f%2fevil.test", "/docs/", "/docs//problems", "/api/v1//users/me", "/api/v1/../v1/users/me", "/setup?next=https://evil.test/", "/api/v1/auth/login?redirect_uri=https://evil.test/", "/docs?url=https://evil.test/openapi.json", "/graphql?next=//evil.test"} {
		for _, method := range []string{"GET", "POST", "HEAD"} {
			a := n.ask(request{method: method, path: path, bearer: ann.access, header: http.Header{"X-Forwarded-Host": {"evil.test"}, "Host": {"evil.test"}}})
			if a.status >= 300 && a.status < 400 || a.header.Get("Location") != "" || strings.Contains(a.body, "evil.test") {
				t.Errorf("%s %s: %d %v %.200s", method, path, a.status, a.header, a.body)
			}
		}
	}
}

func nothingIsFramed(t *testing.T) {
	n := one(t, plan{introspect: true})
	for _, path := range []string{"/", "/docs", "/docs/problems", "/setup", "/openapi.json", v1 + "/users/me", "/nothing", "/graphql"} {
		h := n.get(path, "").header
		policy := h.Get("Content-Security-Policy")
		if h.Get("X-Frame-Options") != "DENY" || !strings.Contains(policy, "frame-ancestors 'none'") || h.Get("X-Content-Type-Options") != "nosniff" || h.Get("Referrer-Policy") == "" || strings.Contains(policy, "unsafe-eval") {
			t.Errorf("%s: %v", path, h)
		}
	}
}

func typesOfTokens(t *testing.T) {
	n := one(t, plan{})
	header, claims := parts(t, n.ann().access)
	for _, typ := range []string{"at+jwt", "AT+JWT", "application/at+jwt", "application/AT+jwt"} {
		n.takenEverywhere(hs256(t, with(header, object{"typ": typ}), claims, signingSecret))
	}
	for _, typ := range []any{"JWT", gone, "", "jwt", "at+jwt ", "application/jwt", "logout+jwt", "id+jwt", 1, "at+jwt;x=y"} {
		n.refusedEverywhere(hs256(t, with(header, object{"typ": typ}), claims, signingSecret), "")
	}
	for _, alg := range []any{"none", "None", "NONE", "", gone, "HS512", "RS256", 256} {
		n.refusedEverywhere(hs256(t, with(header, object{"alg": alg}), claims, signingSecret), "")
		n.refusedEverywhere(hs256(t, with(header, object{"alg": alg}), claims, "")[:strings.LastIndexByte(hs256(t, with(header, object{"alg": alg}), claims, ""), '.')+1], "")
	}
	for _, name := range []string{"iss", "exp", "aud", "sub", "iat", "jti", "client_id", "nbf", "sid"} {
		if claims[name] == nil || claims[name] == "" {
			t.Errorf("a token has no %s", name)
		}
	}
	if header["typ"] != "at+jwt" || header["kid"] == "" {
		t.Errorf("%v", header)
	}
}

// form sends one to an endpoint of OAuth.
func (n *node) form(path, body, bearer string) answer {
	n.t.Helper()
	return n.ask(request{method: "POST", path: v1 + "/oauth/" + path, body: body, bearer: bearer, header: http.Header{"Content-Type": {"application/x-www-form-urlencoded"}}})
}

func revocationEndpoint(t *testing.T) {
	store := &halting{}
	n := one(t, plan{stores: func(s *app.Stores) { store.Sessions, s.Sessions = s.Sessions, store }})
	boss, ann := n.boss(), n.ann()
	_, key := n.key(boss.access, "tokens:revoke", "admin")
	dead := n.signIn("ann")
	if a := n.form("revoke", "token="+dead.access+"&token_type_hint=refresh_token", key); a.status != http.StatusOK {
		t.Errorf("with a wrong hint: %d %s", a.status, a.body)
	}
	n.refusedEverywhere(dead.access, "token_revoked")
	for name, text := range map[string]string{"unknown": "nonsense", "dead": dead.access, "foreign": hs256(t, object{"alg": "HS256", "typ": "at+jwt", "kid": "x"}, object{"sub": "x"}, "another"), "a refresh token that was cut": ann.refresh[:len(ann.refresh)-3]} {
		if a := n.form("revoke", "token="+urlEscape(text), key); a.status != http.StatusOK {
			t.Errorf("%s: %d %s", name, a.status, a.body)
		}
	}
	if a := n.form("revoke", "token="+ann.refresh+"&token_type_hint=access_token", key); a.status != http.StatusOK {
		t.Errorf("a refresh token: %d %s", a.status, a.body)
	}
	n.refusedEverywhere(ann.access, "token_revoked")
	if a := n.form("revoke", "token=x", ""); a.status != http.StatusUnauthorized || a.text("error") != "invalid_client" {
		t.Errorf("no credential: %d %s", a.status, a.body)
	}
	if a := n.get(v1+"/oauth/revoke", key); a.status != http.StatusMethodNotAllowed || a.header.Get("Allow") == "" {
		t.Errorf("GET: %d %v", a.status, a.header)
	}
	if a := n.ask(request{method: "POST", path: v1 + "/oauth/revoke?token=x", body: "token=x", bearer: key, header: http.Header{"Content-Type": {"application/x-www-form-urlencoded"}}}); a.status != http.StatusBadRequest {
		t.Errorf("a token in the query: %d %s", a.status, a.body)
	}
	again := n.signIn("ann")
	store.when.Store("before")
	if a := n.form("revoke", "token="+again.refresh, key); a.status != http.StatusServiceUnavailable {
		t.Errorf("while the store is down: %d %s", a.status, a.body)
	}
	store.when.Store("")
}

func introspectionEndpoint(t *testing.T) {
	still := time.Now() // nothing is refilled, however slow the machine
	n := one(t, plan{change: func(o *assembly.Options) {
		o.Now = func() time.Time { return still }
		o.Limits = app.LimiterOptions{PerAddress: 60, Auth: 100, Read: 100, Write: 100}
	}})
	boss, ann := n.boss(), n.ann()
	_, key := n.key(boss.access, "introspect")
	_, other := n.key(ann.access, "users:read")
	header, claims := parts(t, ann.access)
	for name, text := range map[string]string{
		"random": "nonsense", "expired": hs256(t, header, with(claims, object{"exp": time.Now().Add(-time.Hour).Unix(), "iat": time.Now().Add(-2 * time.Hour).Unix(), "nbf": time.Now().Add(-2 * time.Hour).Unix()}), signingSecret), "for another audience": hs256(t, header, with(claims, object{"aud": "x"}), signingSecret), "badly signed": hs256(t, header, claims, "x"), "a broken key": other + "x",
	} {
		a := n.form("introspect", "token="+urlEscape(text), key)
		if a.status != http.StatusOK || strings.TrimSpace(a.body) != `{"active":false}` || a.header.Get("Cache-Control") != "no-store" {
			t.Errorf("%s: %d %s %v", name, a.status, a.body, a.header)
		}
	}
	if a := n.form("introspect", "token="+ann.access, key); a.json["active"] != true || a.json["sub"] != claims["sub"] || a.header.Get("Cache-Control") != "no-store" {
		t.Errorf("a good one: %s", a.body)
	}
	if a := n.form("introspect", "token="+ann.access, ""); a.status != http.StatusUnauthorized || a.text("error") != "invalid_client" {
		t.Errorf("no credential: %d %s", a.status, a.body)
	}
	if a := n.form("introspect", "token="+boss.access, other); a.status != http.StatusForbidden {
		t.Errorf("a key without the scope: %d %s", a.status, a.body)
	}
	limited := 0
	for i := range 200 {
		if n.form("introspect", fmt.Sprintf("token=random%d", i), key).status == http.StatusTooManyRequests {
			limited++
		}
	}
	if limited < 130 {
		t.Errorf("of 200 random strings %d were refused for the limit", limited)
	}
	if !strings.Contains(n.log.String(), "Rate limit exceeded") {
		t.Error("nothing tells of the guesses")
	}
}

func bearerChallenges(t *testing.T) {
	n := one(t, plan{})
	ann := n.ann()
	_, key := n.key(ann.access, "users:read")
	if h := n.get(v1+"/users/me", "").header.Get("WWW-Authenticate"); !strings.HasPrefix(h, "Bearer") || strings.Contains(h, "error") {
		t.Errorf("without a token: %q", h)
	}
	for _, text := range []string{"nonsense", ann.access + "x"} {
		if h := n.get(v1+"/users/me", text).header.Get("WWW-Authenticate"); !strings.HasPrefix(h, "Bearer") || !strings.Contains(h, `error="invalid_token"`) {
			t.Errorf("with a bad one: %q", h)
		}
	}
	for name, h := range map[string]http.Header{
		"bearer and key":       {"Authorization": {"Bearer " + ann.access}, "X-Api-Key": {key}},
		"two of Authorization": {"Authorization": {"Bearer " + ann.access, "Bearer " + ann.access}},
		"two keys":             {"X-Api-Key": {key, key}},
		"two in one":           {"Authorization": {"Bearer " + ann.access + ", Bearer " + key}},
	} {
		for _, path := range []string{"/users/me", "/auth/verify"} {
			if a := n.ask(request{method: "GET", path: v1 + path, header: h}); a.status != http.StatusBadRequest && !(a.status == http.StatusUnauthorized && (name == "two in one" || path == "/auth/verify")) { // a proxy knows of no 400
				t.Errorf("%s at %s: %d %s", name, path, a.status, a.body)
			}
		}
	}
	if a := n.ask(request{method: "GET", path: v1 + "/admin/users", bearer: key}); a.status != http.StatusForbidden || !strings.Contains(a.header.Get("WWW-Authenticate"), "insufficient_scope") {
		t.Errorf("a key without the scope: %d %v", a.status, a.header)
	}
}

// upgrade sends a handshake by hand, and what follows, and answers the head and what it was closed with.
func (n *node) upgrade(path, headers, sent string) (*http.Response, int) {
	n.t.Helper()
	host := strings.TrimPrefix(n.serve(), "http://")
	conn, err := net.Dial("tcp", host)
	if err != nil {
		n.t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(soon))
	go func() {
		_, _ = io.WriteString(conn, "GET "+path+" HTTP/1.1\r\nHost: "+host+"\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"+headers+"\r\n"+sent)
	}() // the server may not read to the end
	br := bufio.NewReader(conn)
	r, err := http.ReadResponse(br, nil)
	if err != nil {
		n.t.Fatal(err)
	}
	if r.StatusCode != http.StatusSwitchingProtocols {
		return r, 0
	}
	for {
		head := make([]byte, 2)
		if _, err := io.ReadFull(br, head); err != nil {
			return r, -1
		}
		size := int(head[1] & 0x7f)
		if size == 126 {
			long := make([]byte, 2)
			_, _ = io.ReadFull(br, long)
			size = int(long[0])<<8 | int(long[1])
		}
		body := make([]byte, size)
		if _, err := io.ReadFull(br, body); err != nil {
			return r, -1
		}
		if head[0] == 0x88 && len(body) >= 2 {
			return r, int(body[0])<<8 | int(body[1])
		}
	}
}

// frame is a masked one, with a key of zeros.
func frame(first byte, payload string) string {
	size := string([]byte{0x80 | byte(len(payload))})
	if len(payload) > 125 {
		size = string([]byte{0x80 | 126, byte(len(payload) >> 8), byte(len(payload))})
	}
	return string([]byte{first}) + size + "\x00\x00\x00\x00" + payload
}

func handshakesAndFrames(t *testing.T) {
	n := one(t, plan{})
	ann := n.ann()
	const version = "Sec-WebSocket-Version: 13\r\n"
	path := "/ws?token=" + ann.access
	for _, other := range []string{"", "Sec-WebSocket-Version: 8\r\n", "Sec-WebSocket-Version: 14\r\n"} {
		if r, _ := n.upgrade(path, other, ""); r.StatusCode != http.StatusUpgradeRequired || r.Header.Get("Sec-WebSocket-Version") != "13" {
			t.Errorf("%q: %d %v", other, r.StatusCode, r.Header)
		}
	}
	for name, c := range map[string]struct {
		sent string
		code []int
	}{
		"unmasked": {"\x81\x02{}", []int{1002, -1}}, "a long ping": {frame(0x89, strings.Repeat("a", 126)), []int{1002}}, "a fragmented ping": {frame(0x09, "a"), []int{1002}}, "a reserved bit": {frame(0xc1, "x"), []int{1002}}, "an unknown opcode": {frame(0x83, ""), []int{1002}},
		"over the cap": {frame(0x81, strings.Repeat("a", 60_000)), []int{1009, 1008, 1003}}, "a flood of pings": {strings.Repeat(frame(0x89, "a"), 2000), []int{1008, -1}},
	} {
		r, code := n.upgrade(path, version, c.sent)
		found := false
		for _, want := range c.code {
			found = found || code == want
		}
		if r.StatusCode != http.StatusSwitchingProtocols || !found {
			t.Errorf("%s: %d, closed with %d, want one of %v", name, r.StatusCode, code, c.code)
		}
	}
	if r, code := n.upgrade("/graphql", version+"Sec-WebSocket-Protocol: graphql-transport-ws\r\n", frame(0x81, "{\"type\":\"\xff\"}")); code != 1007 && code != 4400 {
		t.Errorf("bad UTF-8: %d, closed with %d", r.StatusCode, code)
	}
	conn, a := n.dialFeed("", []string{"xteam", ann.access})
	if conn == nil || conn.Subprotocol() != "xteam" || strings.Contains(fmt.Sprint(a.header), ann.access) || a.header.Get("Sec-WebSocket-Extensions") != "" {
		t.Errorf("the answer of a subprotocol: %d %v", a.status, a.header)
	}
	for _, origin := range []string{"https://evil.test", "null", n.serve() + ".evil.test", "http://127.0.0.1:1"} {
		if r, _ := n.upgrade(path, version+"Origin: "+origin+"\r\n", ""); r.StatusCode != http.StatusForbidden {
			t.Errorf("Origin %s: %d", origin, r.StatusCode)
		}
	}
	limited := one(t, plan{change: func(o *assembly.Options) {
		o.Limits = app.LimiterOptions{PerAddress: 20, Auth: 20, Read: 20, Write: 20}
	}})
	limited.user("ann", account.RoleUser)
	count := map[int]int{}
	for range 40 {
		r, _ := limited.upgrade("/ws?token=nonsense", version, "")
		count[r.StatusCode]++
	}
	if count[http.StatusTooManyRequests] < 15 {
		t.Errorf("40 upgrades: %v", count)
	}
}

func oneFormOfRefusal(t *testing.T) {
	n := one(t, plan{introspect: true, change: func(o *assembly.Options) {
		o.Doors = func(httpapi.Services, *slog.Logger) []httpapi.Mount {
			return []httpapi.Mount{{Method: "GET", Path: "/panics", Handler: http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic("a test's") })}}
		}
	}})
	ann := n.ann()
	page := n.get("/docs/problems", "").body
	for name, c := range map[string]struct {
		r      request
		status int
	}{
		"404": {request{method: "GET", path: "/nothing"}, 404}, "405": {request{method: "DELETE", path: v1 + "/auth/login"}, 405}, "413": {request{method: "POST", path: v1 + "/auth/login", body: strings.Repeat("x", 2<<20)}, 413},
		"415": {request{method: "POST", path: v1 + "/auth/login", body: "{}", header: http.Header{"Content-Type": {"text/plain"}}}, 415}, "401": {request{method: "GET", path: v1 + "/users/me"}, 401}, "403": {request{method: "GET", path: v1 + "/admin/users", bearer: ann.access}, 403}, "422": {request{method: "POST", path: v1 + "/auth/login", body: "{}"}, 422},
		"400": {request{method: "POST", path: v1 + "/auth/login", body: "{"}, 400}, "a panic": {request{method: "GET", path: "/panics"}, 500}, "409": {request{method: "POST", path: v1 + "/auth/register", body: object{"email": "ann@example.com", "username": "another", "password": password + "!"}}, 409},
	} {
		a := n.ask(c.r)
		if a.status != c.status || a.header.Get("Content-Type") != "application/problem+json" || a.json["status"] != float64(c.status) || a.text("title") == "" || a.code() == "" || a.text("request_id") == "" {
			t.Errorf("%s: %d %s %s", name, a.status, a.header.Get("Content-Type"), a.body)
		}
		at, anchor, _ := strings.Cut(a.text("type"), "#")
		if at != "/docs/problems" || !strings.Contains(page, `id="`+anchor+`"`) {
			t.Errorf("%s: its type %q leads nowhere", name, a.text("type"))
		}
		if name == "405" && a.header.Get("Allow") == "" {
			t.Error("405 without Allow")
		}
		if strings.Contains(a.body, "a test's") || strings.Contains(a.body, "goroutine") {
			t.Errorf("%s tells too much: %s", name, a.body)
		}
	}
}
