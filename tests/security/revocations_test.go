package security_test

import (
	"context"
	"crypto/rand"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/xteam/xteam/adapters/envsecrets"
	"github.com/xteam/xteam/app"
	"github.com/xteam/xteam/app/view"
	"github.com/xteam/xteam/app/xteam"
	"github.com/xteam/xteam/app/xteam/assembly"
	"github.com/xteam/xteam/domain/account"
	"github.com/xteam/xteam/domain/id"
	"github.com/xteam/xteam/domain/instant"
	"github.com/xteam/xteam/domain/revocation"
	"github.com/xteam/xteam/domain/secret"
	"github.com/xteam/xteam/ports"
)

// revocationExhibits are of what was revoked, and was not.
var revocationExhibits = []exhibit{
	{ids: []string{"CVE-2020-15223"}, play: storeFailsAtLogout},
	{ids: []string{"CVE-2022-41316"}, play: nothingBeforeTheReplay},
	{ids: []string{"CVE-2021-29653"}, play: revokedThroughRestarts, tests: []string{"adapters/redisstore/faults_test.go:TestAFollowerBehindTheStreamIsGivenEverythingAgain"}},
	{ids: []string{"CVE-2026-8922", "CVE-2026-18218"}, play: anyOrderOfRevocations, tests: []string{"domain/revocation/set_test.go:TestEveryOrderOfRevocationsGivesOneVerdict"}},
	{ids: []string{"CVE-2025-29928"}, play: endedOnEveryNode, tests: []string{"tests/faults/seen_linux_test.go:TestSeenByAll"}},
	{ids: []string{"CVE-2025-14559", "CVE-2026-1609", "CVE-2024-47000"}, play: disabledIsOut},
	{ids: []string{"CVE-2023-40025"}, play: socketsEndWithTheirToken},
	{ids: []string{"appwrite/sdk-for-web#25"}, play: nothingAfterTheLogout},
	{ids: []string{"CVE-2020-26892"}, play: revokedAndBackInAMicrosecond},
}

func storeFailsAtLogout(t *testing.T) {
	store := &halting{}
	n := one(t, plan{stores: func(s *app.Stores) { store.Sessions, s.Sessions = s.Sessions, store }})
	ann := n.ann()
	other := n.signIn("ann")
	store.when.Store("before")
	a := n.post(v1+"/auth/logout", nil, ann.access)
	if a.status != http.StatusServiceUnavailable || a.header.Get("Retry-After") == "" {
		t.Errorf("a log-out that the store did not take: %d %s", a.status, a.body)
	}
	n.refusedEverywhere(ann.access, "token_revoked") // in force all the same
	store.when.Store("")
	eventually(t, "the log-out is written down", soon, func() bool {
		all, _ := n.get(v1+"/auth/sessions", other.access).json["items"].([]any)
		return len(all) == 1
	})
	if a := n.post(v1+"/auth/logout", nil, other.access); a.status != http.StatusNoContent {
		t.Errorf("a log-out after the recovery: %d %s", a.status, a.body)
	}
	n.refusedEverywhere(other.access, "token_revoked")
	m := newHouse(t, plan{})
	m.store, m.keyring, m.keyText = n.store, n.keyring, n.keyText
	again := m.node() // what was written down is there after a start
	again.refusedEverywhere(ann.access, "token_revoked")
	if a := again.refresh(ann.refresh, home, browser); a.status != http.StatusUnauthorized || a.code() != "token_revoked" {
		t.Errorf("a refresh after it: %d %s", a.status, a.body)
	}
}

// gated delivers nothing that it holds until the gate is open.
type gated struct {
	ports.StoredRevocations
	gate chan struct{}
}

func (g *gated) Follow(ctx context.Context, fn func(ports.News) error) error {
	held := 0
	return g.StoredRevocations.Follow(ctx, func(n ports.News) error {
		if held += len(n.Entries); held > 0 && g.gate != nil {
			select {
			case <-g.gate:
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		return fn(n)
	})
}

func nothingBeforeTheReplay(t *testing.T) {
	h := newHouse(t, plan{})
	first := h.node()
	ann := first.ann()
	_, claims := parts(t, ann.access)
	jti, err := id.Parse[id.Token](claims["jti"].(string))
	if err != nil {
		t.Fatal(err)
	}
	until := instant.Of(h.now().Add(2 * time.Hour))
	var batch []revocation.Entry
	for i := range few(100_000) {
		one := revocation.Entry{Kind: revocation.Token, Token: id.Token{1, byte(i >> 16), byte(i >> 8), byte(i)}, Reason: revocation.Logout, By: app.System, At: instant.Of(h.now()), Until: until}
		if i == few(100_000)-1 {
			one.Token = jti
		}
		batch = append(batch, one)
	}
	if err := h.store.Revocations().Record(t.Context(), batch...); err != nil {
		t.Fatal(err)
	}
	gate := &gated{StoredRevocations: h.store.Revocations(), gate: make(chan struct{})}
	// A view that has not heard everything takes nothing.
	v := view.New(view.Options{MaxStaleness: time.Hour, AwaitHealer: true}, view.Source{Name: "database", Truth: true, Revocations: gate})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); _ = v.Run(ctx) }()
	core := *first.core
	core.View = v
	blind := app.NewGuard(&core)
	if _, err := blind.Admit(first.signIn("ann").access); err == nil {
		t.Error("a token was taken before the revocations were heard")
	}
	// A start waits for it: no listener is open before.
	h.plan.stores = func(s *app.Stores) { s.Revocations = gate }
	started := make(chan *node)
	go func() { started <- h.node() }()
	tick := time.NewTimer(100 * time.Millisecond)
	defer tick.Stop()
	select {
	case <-started:
		t.Error("a node stands before the revocations were heard")
	case <-tick.C:
	}
	close(gate.gate)
	second := <-started
	if a := second.get(v1+"/users/me", ann.access); a.status != http.StatusUnauthorized || a.code() != "token_revoked" {
		t.Errorf("the first request, with a revoked token: %d %s", a.status, a.body)
	}
	if a := second.get("/readyz", ""); a.status != http.StatusOK {
		t.Errorf("/readyz after it: %d %s", a.status, a.body)
	}
	if err := v.Ready(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := blind.Admit(ann.access); err == nil || !strings.Contains(err.Error(), "revoked") {
		t.Errorf("the view that waited, of a revoked token: %v", err)
	}
	cancel()
	<-done
}

// revokedThroughRestarts is over Badger, which compacts and collects by itself, and is closed and opened with a clock that goes on.
func revokedThroughRestarts(t *testing.T) {
	folder := t.TempDir()
	var skew atomic.Int64
	open := func() *xteam.XTeam {
		t.Helper()
		x, err := xteam.Open(t.Context(), xteam.Options{Dir: folder, PasswordHasher: "argon2id", MinFreeSpace: -1, Access: 24 * time.Hour, Limits: app.LimiterOptions{Mode: app.Off}, Now: func() time.Time { return time.Now().Add(time.Duration(skew.Load())) },
			Secrets: envsecrets.New(func(name string) (string, bool) { return signingSecret, name == app.SecretKey })})
		if err != nil {
			t.Fatal(err)
		}
		return x
	}
	x := open()
	e, _ := account.ParseEmail("ann@example.com")
	u, _ := account.ParseUsername("ann")
	l, _ := account.ParseLogin("", "ann")
	if _, err := x.Accounts().Create(t.Context(), app.Actor{Name: app.System}, app.Registration{Email: e, Username: u, Password: secret.New(password)}, account.RoleUser); err != nil {
		t.Fatal(err)
	}
	in, err := x.Sessions().Login(t.Context(), app.Request{}, l, secret.New(password))
	if err != nil {
		t.Fatal(err)
	}
	kept, err := x.Sessions().Login(t.Context(), app.Request{}, l, secret.New(password))
	if err != nil {
		t.Fatal(err)
	}
	skew.Store(int64(time.Hour)) // 23 hours are left
	if err := x.RevokeToken(t.Context(), in.Access.RevealPlaintext(), "a test"); err != nil {
		t.Fatal(err)
	}
	for i, at := range []time.Duration{time.Hour, 12 * time.Hour, 24*time.Hour - 5*time.Minute} {
		x.Close()
		skew.Store(int64(at))
		x = open()
		if got, err := x.IsRevoked(in.Access.RevealPlaintext()); !got || err != nil {
			t.Errorf("restart %d, %v after it was issued: revoked %v, %v", i+1, at, got, err)
		}
		if got, err := x.IsRevoked(kept.Access.RevealPlaintext()); got || err != nil {
			t.Errorf("restart %d: another token of the user: revoked %v, %v", i+1, got, err)
		}
	}
	x.Close()
}

// permutations are all orders of 0 to n-1.
func permutations(n int) (all [][]int) {
	if n == 0 {
		return [][]int{nil}
	}
	for _, p := range permutations(n - 1) {
		for i := range n {
			all = append(all, slices.Insert(slices.Clone(p), i, n-1))
		}
	}
	return all
}

func anyOrderOfRevocations(t *testing.T) {
	orders := permutations(4)
	if len(orders) != 24 {
		t.Fatal(len(orders))
	}
	for _, order := range orders {
		n := one(t, plan{})
		n.user("boss", account.RoleAdmin)
		ann := n.ann()
		header, claims := parts(t, ann.access)
		if a := n.post(v1+"/admin/keys/rotate", object{"alg": "EdDSA"}, n.signIn("boss").access); a.status != http.StatusOK {
			t.Fatalf("%d %s", a.status, a.body)
		}
		boss := n.signIn("boss").access
		by := []object{{"jti": claims["jti"]}, {"session_id": claims["sid"]}, {"user_id": claims["sub"]}, {"kid": header["kid"]}}
		for step, which := range order {
			if a := n.post(v1+"/admin/revocations", by[which], boss); a.status != http.StatusOK && a.status != http.StatusNotFound {
				t.Fatalf("%v: %d %s", by[which], a.status, a.body)
			}
			want := "token_revoked"
			if a := n.get(v1+"/users/me", ann.access); a.status != http.StatusUnauthorized || a.code() != want && a.code() != "token_invalid" {
				t.Errorf("order %v, after step %d (%v): %d %s", order, step+1, slices.Collect(maps.Keys(by[which])), a.status, a.body)
			}
		}
		if a := n.get(v1+"/users/me", boss); a.status != http.StatusOK {
			t.Errorf("order %v: who was not revoked: %d", order, a.status)
		}
	}
	// Two cut-offs by time, of which the later counts, whichever came first.
	for _, order := range [][2]time.Duration{{5 * time.Second, -time.Hour}, {-time.Hour, 5 * time.Second}} {
		n := one(t, plan{})
		n.user("boss", account.RoleAdmin)
		ann, begun := n.ann(), n.now()
		for range order { // after the later one
			n.turn(10 * time.Second)
		}
		boss := n.signIn("boss").access
		for _, at := range order {
			if a := n.post(v1+"/admin/revocations", object{"issued_before": begun.Add(at).UTC().Format(time.RFC3339)}, boss); a.status != http.StatusOK {
				t.Fatalf("%d %s", a.status, a.body)
			}
		}
		if a := n.get(v1+"/users/me", ann.access); a.status != http.StatusUnauthorized || a.code() != "token_revoked" {
			t.Errorf("issued between two cut-offs, of which %v came last: %d %s", order[1], a.status, a.body)
		}
		if a := n.get(v1+"/users/me", boss); a.status != http.StatusOK {
			t.Errorf("issued after both cut-offs: %d %s", a.status, a.body)
		}
	}
}

func endedOnEveryNode(t *testing.T) {
	h := newHouse(t, plan{})
	nodes := []*node{h.node(), h.node(), h.node()}
	ann := nodes[0].ann()
	for _, n := range nodes {
		n.takenEverywhere(ann.access)
	}
	_, claims := parts(t, ann.access)
	a := nodes[1].ask(request{method: "DELETE", path: v1 + "/auth/sessions/" + claims["sid"].(string), bearer: ann.access})
	if a.status != http.StatusNoContent {
		t.Fatalf("%d %s", a.status, a.body)
	}
	nodes[1].refusedEverywhere(ann.access, "token_revoked")
	for _, n := range nodes {
		eventually(t, "another node has heard of it", soon, func() bool { return n.get(v1+"/users/me", ann.access).status == http.StatusUnauthorized })
		n.refusedEverywhere(ann.access, "token_revoked")
		if a := n.refresh(ann.refresh, home, browser); a.status != http.StatusUnauthorized || a.code() != "token_revoked" {
			t.Errorf("a refresh: %d %s", a.status, a.body)
		}
	}
}

func disabledIsOut(t *testing.T) {
	n := one(t, plan{})
	boss, ann := n.boss(), n.ann()
	_, key := n.key(ann.access, "users:read")
	ticket := n.post(v1+"/auth/ws-ticket", nil, ann.access).text("ticket")
	socket, _ := n.dialFeed("?token="+ann.access, nil)
	if a := n.post(v1+"/admin/users/ann/disable", object{}, boss.access); a.status != http.StatusOK {
		t.Fatalf("%d %s", a.status, a.body)
	}
	begun := time.Now()
	n.refusedEverywhere(ann.access, "token_revoked")
	if a := n.get(v1+"/users/me", key); a.status != http.StatusUnauthorized {
		t.Errorf("the API key: %d %s", a.status, a.body)
	}
	if a := n.refresh(ann.refresh, home, browser); a.status != http.StatusUnauthorized {
		t.Errorf("a refresh: %d %s", a.status, a.body)
	}
	if v := n.atFeed("?ticket="+urlEscape(ticket), nil); v.status != http.StatusUnauthorized {
		t.Errorf("the ticket: %v", v)
	}
	if code, _ := ends(t, socket); code != 4401 || time.Since(begun) > atOnce {
		t.Errorf("the socket was closed with %d after %v", code, time.Since(begun))
	}
	as := func(name, pass string) string {
		a := n.post(v1+"/auth/login", object{"username": name, "password": pass}, "")
		delete(a.json, "request_id")
		a.header.Del("X-Request-Id")
		return fmt.Sprint(a.status, a.json, a.header)
	}
	n.user("bea", account.RoleUser)
	if got, want := as("ann", password), as("bea", "a wrong password of hers"); got != want {
		t.Errorf("a disabled account's sign-in: %s\na wrong password:             %s", got, want)
	}
}

func socketsEndWithTheirToken(t *testing.T) {
	t.Parallel()
	n := one(t, plan{change: func(o *assembly.Options) { o.Tunables.Leeway = 0 }})
	header, claims := parts(t, n.ann().access)
	now := time.Now()
	over := now.Truncate(time.Second).Add(8 * time.Second) // tokens count seconds
	jti, err := id.New[id.Token](rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	text := hs256(t, header, with(claims, object{"exp": over.Unix(), "jti": jti.String()}), signingSecret)
	feed, a := n.dialFeed("?token="+text, nil)
	if feed == nil {
		t.Fatalf("%d %s", a.status, a.body)
	}
	graph := n.dialGraphQL()
	say(t, graph, object{"type": "connection_init", "payload": object{"Authorization": "Bearer " + text}})
	say(t, graph, object{"id": "1", "type": "subscribe", "payload": object{"query": "subscription { securityEvents { kind } }"}})
	for name, c := range map[string]func() int{
		"the feed":         func() int { code, _ := ends(t, feed); return int(code) },
		"the subscription": func() int { code, _ := ends(t, graph); return int(code) },
	} {
		code := c()
		if late := time.Since(over); code != 4401 || late < 0 || late > atOnce {
			t.Errorf("%s was closed with %d, %v after its token's end", name, code, late)
		}
	}
}

func nothingAfterTheLogout(t *testing.T) {
	n := one(t, plan{})
	ann := n.ann()
	feed, _ := n.dialFeed("?token="+ann.access, nil)
	graph := n.dialGraphQL()
	say(t, graph, object{"type": "connection_init", "payload": object{"Authorization": "Bearer " + ann.access}})
	if m, _ := hear(t, graph); m["type"] != "connection_ack" {
		t.Fatal(m)
	}
	say(t, graph, object{"id": "1", "type": "subscribe", "payload": object{"query": "subscription { securityEvents { kind } }"}})
	say(t, graph, object{"type": "ping"})
	if m, _ := hear(t, graph); m["type"] != "pong" {
		t.Fatal(m)
	}
	begun := time.Now()
	if a := n.post(v1+"/auth/logout", nil, ann.access); a.status != http.StatusNoContent {
		t.Fatalf("%d %s", a.status, a.body)
	}
	for range 5 {
		n.signIn("ann") // what she would be told
	}
	code, heard := ends(t, feed)
	late, heardThere := ends(t, graph)
	if took := time.Since(begun); code != 4401 || late != 4401 || took > atOnce {
		t.Errorf("closed with %d and %d after %v", code, late, took)
	}
	if text := fmt.Sprint(heard, heardThere); strings.Contains(text, "authentication_succeeded") {
		t.Errorf("told after the log-out: %s", text)
	}
}

func revokedAndBackInAMicrosecond(t *testing.T) {
	still := time.Now()
	n := one(t, plan{change: func(o *assembly.Options) { o.Now = func() time.Time { return still } }})
	n.user("ann", account.RoleUser)
	boss := n.boss().access
	was := n.signIn("ann").access
	for i := range few(1000) {
		if a := n.post(v1+"/admin/revoke-user-tokens", object{"user_id": "ann"}, boss); a.status != http.StatusOK {
			t.Fatalf("%d %s", a.status, a.body)
		}
		is := n.signIn("ann").access
		if a := n.get(v1+"/users/me", was); a.status != http.StatusUnauthorized {
			t.Fatalf("round %d: the old token: %d", i, a.status)
		}
		if a := n.get(v1+"/users/me", is); a.status != http.StatusOK {
			t.Fatalf("round %d: the new token: %d %s", i, a.status, a.body)
		}
		was = is
	}
}
