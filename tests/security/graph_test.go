package security_test

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/xteam/xteam/app"
	"github.com/xteam/xteam/app/xteam/assembly"
	"github.com/xteam/xteam/domain/account"
)

// graphExhibits are of GraphQL, sockets and API keys.
var graphExhibits = []exhibit{
	{ids: []string{"CVE-2023-49559"}, play: manyDirectives},
	{ids: []string{"CVE-2026-35441"}, play: aliasesAreCharged, tests: []string{"adapters/graphqlapi/socket_test.go:TestGuessesOverSockets"}},
	{ids: []string{"gqlgen#2006"}, play: socketThatNeverBegins},
	{ids: []string{"gqlgen#806", "gqlgen#1245", "gqlgen#2167"}, play: socketsThatAreLeft, tests: []string{"adapters/graphqlapi/socket_test.go:TestSocketsThatAreLeft"}},
	{ids: []string{"CVE-2026-33504"}, play: forgedCursors},
	{ids: []string{"CVE-2026-56654", "CVE-2026-28744", "CVE-2026-40264"}, play: keysGiveNoMore},
}

func manyDirectives(t *testing.T) {
	n := one(t, plan{})
	for name, query := range map[string]string{
		"of a field": "{__typename" + strings.Repeat(" @a", 10_000) + "}", "many fields": "{" + strings.Repeat("__typename @a @a ", 5000) + "}", "of the operation": "query" + strings.Repeat(" @a", 5000) + "{__typename}",
		"fewer": "{__typename" + strings.Repeat(" @a", 99) + "}", "known ones": "{__typename" + strings.Repeat(" @include(if: true)", 2000) + "}", "with arguments": "{__typename" + strings.Repeat(` @a(b: "c")`, 2000) + "}",
	} {
		var a answer
		took := fastest(func() { a = n.graphql(query, nil, "") })
		all, _ := a.json["errors"].([]any)
		if a.status >= 500 || len(all) != 1 && name != "fewer" || len(all) > 100 || len(a.body) > 4<<10 && name != "fewer" || took > 50*time.Millisecond*patience {
			t.Errorf("%s: %d, %d errors, %d bytes, after %v: %.200s", name, a.status, len(all), len(a.body), took, a.body)
		}
	}
}

func aliasesAreCharged(t *testing.T) {
	w := &working{Passwords: quick{}}
	n := one(t, plan{passwords: w, change: func(o *assembly.Options) {
		o.Limits = app.LimiterOptions{PerAddress: 1000, Auth: 5, Read: 1000, Write: 1000}
	}})
	n.user("ann", account.RoleUser)
	var aliases strings.Builder
	for i := range 100 {
		fmt.Fprintf(&aliases, "a%d: login(input: {username: \"ann\", password: \"a wrong password\"}) { accessToken } ", i)
	}
	a := n.graphql("mutation { "+aliases.String()+"}", nil, "")
	count := map[string]int{}
	all, _ := a.json["errors"].([]any)
	for _, e := range all {
		ext, _ := e.(map[string]any)["extensions"].(map[string]any)
		count[fmt.Sprint(ext["code"])]++
	}
	if w.compared.Load() > 5 || count["UNAUTHENTICATED"] > 5 || count["UNAUTHENTICATED"]+count["RATE_LIMITED"] != len(all) || len(all) == 0 {
		t.Errorf("100 aliased sign-ins: %d passwords were compared, %v", w.compared.Load(), count)
	}
	was := w.compared.Load()
	batch := "[" + strings.TrimSuffix(strings.Repeat(`{"query":"mutation { login(input: {username: \"ann\", password: \"a wrong password\"}) { accessToken } }"},`, 100), ",") + "]"
	if a := n.ask(request{method: "POST", path: "/graphql", body: batch, from: "198.51.100.3"}); a.status != http.StatusBadRequest || w.compared.Load() != was {
		t.Errorf("an array of 100: %d %.200s, %d compared", a.status, a.body, w.compared.Load()-was)
	}
}

func socketThatNeverBegins(t *testing.T) {
	t.Parallel()
	silent := one(t, plan{}).dialGraphQL()
	begun := time.Now()
	if code, _ := ends(t, silent); code != 4408 || time.Since(begun) < 9*time.Second {
		t.Errorf("a socket that says nothing was closed with %d after %v", code, time.Since(begun))
	}
}

func socketsThatAreLeft(t *testing.T) {
	n := one(t, plan{change: func(o *assembly.Options) { o.Tethers.MaxPerUser = 1000 }})
	ann := n.ann()
	begin := func() *websocket.Conn {
		c := n.dialGraphQL()
		say(t, c, object{"type": "connection_init", "payload": object{"Authorization": "Bearer " + ann.access}})
		say(t, c, object{"id": "1", "type": "subscribe", "payload": object{"query": "subscription { securityEvents { kind } }"}})
		if m, _ := hear(t, c); m["type"] != "connection_ack" {
			t.Fatal(m)
		}
		return c
	}
	of := func() (count int) { // the goroutines of sockets
		text := make([]byte, 8<<20)
		text = text[:runtime.Stack(text, true)]
		for one := range strings.SplitSeq(string(text), "\n\n") {
			if strings.Contains(one, "graphqlapi.") && !strings.Contains(one, "security_test") {
				count++
			}
		}
		return count
	}
	begin()
	eventually(t, "the first stands", soon, func() bool { return of() >= 2 })
	before := of()
	for range few(1000) / 100 { // a hundred at a time
		var some []*websocket.Conn
		for range 100 {
			some = append(some, begin())
		}
		for _, c := range some {
			_ = c.CloseNow() // abruptly
		}
	}
	eventually(t, "nothing is left of abrupt ends", soon, func() bool { return of() <= before+2 })
}

func forgedCursors(t *testing.T) {
	n := one(t, plan{})
	boss, ann := n.boss(), n.ann()
	for i := range 3 {
		n.user(fmt.Sprint("user", i), account.RoleUser)
		n.signIn("ann")
		n.key(ann.access, "users:read")
	}
	lists := map[string]string{"users": boss.access, "sessions": ann.access, "apiKeys": ann.access, "securityEvents": boss.access, "signingKeys": boss.access, "alerts": boss.access}
	page := func(list, first string, after any, token string) answer {
		return n.graphql("query($after: String) { "+list+"(first: "+first+", after: $after) { pageInfo { endCursor hasNextPage } } }", object{"after": after}, token)
	}
	cursors := map[string]string{}
	for list, token := range lists {
		a := page(list, "1", nil, token)
		data, _ := a.json["data"].(map[string]any)
		of, _ := data[list].(map[string]any)
		info, _ := of["pageInfo"].(map[string]any)
		if cursors[list], _ = info["endCursor"].(string); cursors[list] == "" && list != "alerts" {
			t.Fatalf("%s: %s", list, a.body)
		}
	}
	for list, token := range lists {
		hostile := map[string]string{"SQL": "' OR 1=1--", "SQL, encoded": base64.RawURLEncoding.EncodeToString([]byte("' OR 1=1--")), "long": strings.Repeat("A", 200<<10), "not text": "\x00\u202e", "padded": cursors[list] + "=", "longer": cursors[list] + "AAAA"}
		for other, c := range cursors {
			if other != list && c != "" {
				hostile["of "+other] = c
			}
		}
		if list == "signingKeys" { // its places are names of keys, which may be any text
			delete(hostile, "longer")
		}
		for name, after := range hostile {
			if a := page(list, "1", after, token); a.problem() != "validation_failed" && a.problem() != "BAD_USER_INPUT" || a.status >= 500 {
				t.Errorf("%s after a cursor that is %s: %d %.300s", list, name, a.status, a.body)
			}
		}
		for _, first := range []string{"-1", "0", "1000000000", "101", "-2147483648"} {
			if a := page(list, first, nil, token); a.problem() != "validation_failed" && a.problem() != "BAD_USER_INPUT" {
				t.Errorf("%s(first: %s): %d %.300s", list, first, a.status, a.body)
			}
		}
		for _, query := range []string{"cursor=%27%20OR%201%3D1--", "limit=-1", "limit=1000000000", "limit=1&limit=2", "cursor=" + strings.Repeat("A", 8<<10)} {
			path := map[string]string{"sessions": "/auth/sessions", "apiKeys": "/api-keys", "users": "/admin/users", "securityEvents": "/admin/events", "signingKeys": "/admin/keys", "alerts": "/admin/alerts"}[list]
			if a := n.get(v1+path+"?"+query, token); a.status != http.StatusUnprocessableEntity && a.status != http.StatusBadRequest {
				t.Errorf("%s?%.40s: %d %.200s", path, query, a.status, a.body)
			}
		}
	}
	// Another user's cursor shows nothing of them.
	n.user("bea", account.RoleUser)
	bea := n.signIn("bea")
	a := page("sessions", "100", cursors["sessions"], bea.access)
	if strings.Contains(a.body, ann.access) || a.status != http.StatusOK {
		t.Errorf("%d %s", a.status, a.body)
	}
	b := n.graphql("query($after: String) { sessions(first: 100, after: $after) { nodes { userId } } }", object{"after": cursors["sessions"]}, bea.access)
	_, claims := parts(t, ann.access)
	if strings.Contains(b.body, fmt.Sprint(claims["sub"])) {
		t.Errorf("bea is shown ann's sessions: %s", b.body)
	}
}

func keysGiveNoMore(t *testing.T) {
	n := one(t, plan{})
	ann := n.ann()
	boss := n.boss()
	n.user("bea", account.RoleUser)
	bea := n.signIn("bea")
	id, narrow := n.key(ann.access, "api-keys:write")
	_, reads := n.key(ann.access, "users:read")
	_, bossKey := n.key(boss.access, "api-keys:write")
	for _, scopes := range [][]string{{"users:read"}, {"api-keys:write", "users:read"}, {"admin"}, {"introspect"}} {
		for name, key := range map[string]string{"ann's": narrow, "an administrator's": bossKey} {
			if a := n.post(v1+"/api-keys", object{"name": "wider", "scopes": scopes}, key); a.status != http.StatusForbidden && a.status != http.StatusUnprocessableEntity {
				t.Errorf("%s key makes one with %v: %d %s", name, scopes, a.status, a.body)
			}
			g := n.graphql("mutation($scopes: [String!]) { createApiKey(input: {name: \"wider\", scopes: $scopes}) { key } }", object{"scopes": scopes}, key)
			if p := g.problem(); p != "forbidden" && p != "validation_failed" {
				t.Errorf("%s key makes one with %v by GraphQL: %s", name, scopes, g.body)
			}
		}
	}
	// One answer, however the key is shown.
	type ask struct {
		method, path string
	}
	for _, key := range []string{narrow, reads} {
		for _, what := range []ask{{"GET", "/users/me"}, {"GET", "/api-keys"}, {"GET", "/auth/sessions"}, {"GET", "/admin/users"}, {"POST", "/auth/logout"}, {"POST", "/auth/ws-ticket"}} {
			bearer := n.ask(request{method: what.method, path: v1 + what.path, bearer: key})
			header := n.ask(request{method: what.method, path: v1 + what.path, header: http.Header{"X-Api-Key": {key}}})
			if bearer.status != header.status || bearer.code() != header.code() {
				t.Errorf("%v: %d %s as bearer, %d %s as X-API-Key", what, bearer.status, bearer.code(), header.status, header.code())
			}
		}
		rest := n.get(v1+"/users/me", key)
		for _, a := range []answer{n.graphql("{ me { id } }", nil, key), n.ask(request{method: "POST", path: "/graphql", body: object{"query": "{ me { id } }"}, header: http.Header{"X-Api-Key": {key}}})} {
			if (a.problem() == "") != (rest.status == http.StatusOK) {
				t.Errorf("me by GraphQL: %s; by REST: %d", a.body, rest.status)
			}
		}
		if v := n.atFeed("?token="+urlEscape(key), nil); v.status != http.StatusForbidden && v.status != http.StatusUnauthorized {
			t.Errorf("/ws with a key that may not: %v", v)
		}
	}
	// What is another's is not there.
	_, claims := parts(t, ann.access)
	never := strings.Repeat("ab", 16)
	for name, pair := range map[string][2]request{
		"a session": {{method: "DELETE", path: v1 + "/auth/sessions/" + claims["sid"].(string)}, {method: "DELETE", path: v1 + "/auth/sessions/" + never}},
		"a key":     {{method: "DELETE", path: v1 + "/api-keys/" + id}, {method: "DELETE", path: v1 + "/api-keys/" + never}},
		"rotating":  {{method: "POST", path: v1 + "/api-keys/" + id + "/rotate", body: object{}}, {method: "POST", path: v1 + "/api-keys/" + never + "/rotate", body: object{}}},
	} {
		var got [2]string
		for i, r := range pair {
			r.bearer = bea.access
			a := n.ask(r)
			delete(a.json, "request_id")
			got[i] = fmt.Sprint(a.status, a.json)
			if a.status != http.StatusNotFound {
				t.Errorf("%s: %d %s", name, a.status, a.body)
			}
		}
		if got[0] != got[1] {
			t.Errorf("%s of another: %s; one that never was: %s", name, got[0], got[1])
		}
	}
	for _, of := range []string{"revokeSession(id: $id) { sessionsEnded }", "revokeApiKey(id: $id)", "rotateApiKey(id: $id) { key }"} {
		whose := claims["sid"]
		if strings.Contains(of, "Key") {
			whose = id
		}
		mine, other := n.graphql("mutation($id: ID!) { "+of+" }", object{"id": whose}, bea.access), n.graphql("mutation($id: ID!) { "+of+" }", object{"id": never}, bea.access)
		if mine.problem() != "not_found" || other.problem() != "not_found" {
			t.Errorf("%s of another: %s; of nobody: %s", of, mine.body, other.body)
		}
	}
	if a := n.get(v1+"/users/me", ann.access); a.status != http.StatusOK {
		t.Errorf("ann: %d", a.status)
	}
}
