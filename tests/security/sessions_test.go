package security_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/xteam/xteam/app"
	"github.com/xteam/xteam/domain/account"
	"github.com/xteam/xteam/domain/id"
	"github.com/xteam/xteam/domain/session"
	"github.com/xteam/xteam/ports"
)

// sessionExhibits are of refresh tokens and sessions.
var sessionExhibits = []exhibit{
	{ids: []string{"CVE-2026-1035"}, play: refreshesAtOnce},
	{ids: []string{"keycloak/keycloak#49213"}, play: refreshInAnOutage, tests: []string{"tests/faults/faults_linux_test.go:TestFaults"}},
	{ids: []string{"supabase/auth#466"}, play: parentAlone},
	{ids: []string{"CVE-2026-55672"}, play: repeatFromElsewhere},
	{ids: []string{"CVE-2026-56750"}, play: theftEndsBoth},
	{ids: []string{"CVE-2024-38513"}, play: chosenSessionID},
	{ids: []string{"CVE-2025-66630"}, play: noChance, tests: []string{"tests/arch/arch_test.go:TestTheTree"}},
}

// refresh asks for the successor of a refresh token, from an address with a User-Agent.
func (n *node) refresh(text, from, agent string) answer {
	return n.ask(request{method: "POST", path: v1 + "/auth/refresh", body: object{"refresh_token": text}, from: from, header: http.Header{"User-Agent": {agent}}})
}

const (
	home, browser    = "192.0.2.1", "browser"
	abroad, somebody = "203.0.113.77", "curl"
)

func refreshesAtOnce(t *testing.T) {
	h := newHouse(t, plan{})
	nodes := []*node{h.node(), h.node()}
	ann := nodes[0].ann()
	var mu sync.Mutex
	successors := map[string]int{}
	var all sync.WaitGroup
	for i := range 40 {
		all.Go(func() {
			a := nodes[i%2].refresh(ann.refresh, home, browser)
			if a.status != http.StatusOK {
				t.Errorf("refresh %d: %d %s", i, a.status, a.body)
			}
			mu.Lock()
			defer mu.Unlock()
			successors[tokensOf(a).refresh]++
		})
	}
	all.Wait()
	if len(successors) != 1 {
		t.Errorf("one refresh token has %d successors", len(successors))
	}
	h.turn(11 * time.Second)
	if a := nodes[1].refresh(ann.refresh, home, browser); a.status != http.StatusUnauthorized || a.code() != "token_revoked" || a.text("reason") != "refresh_reuse" {
		t.Errorf("a use after ten seconds: %d %s", a.status, a.body)
	}
	for next := range successors {
		if a := nodes[0].refresh(next, home, browser); a.status != http.StatusUnauthorized {
			t.Errorf("the session goes on after a reuse: %d %s", a.status, a.body)
		}
	}
}

// halting is a store of sessions whose updates fail at a moment: before anything, or after all is worked out and rolled back.
type halting struct {
	ports.Sessions
	when atomic.Value // of string
}

func (h *halting) Update(ctx context.Context, sid id.Session, change func(session.Session) (session.Session, ports.Effects, error)) error {
	switch when, _ := h.when.Load().(string); when {
	case "before":
		return ports.ErrUnavailable
	case "rolled back":
		err := h.Sessions.Update(ctx, sid, func(s session.Session) (session.Session, ports.Effects, error) {
			next, eff, err := change(s)
			return next, eff, errors.Join(err, ports.ErrUnavailable)
		})
		return errors.Join(err, ports.ErrUnavailable)
	case "committed":
		return errors.Join(h.Sessions.Update(ctx, sid, change), ports.ErrUnavailable)
	}
	return h.Sessions.Update(ctx, sid, change)
}

func refreshInAnOutage(t *testing.T) {
	for _, when := range []string{"before", "rolled back", "committed"} {
		store := &halting{}
		n := one(t, plan{stores: func(s *app.Stores) { store.Sessions, s.Sessions = s.Sessions, store }})
		ann := n.ann()
		store.when.Store(when)
		if a := n.refresh(ann.refresh, home, browser); a.status != http.StatusServiceUnavailable || a.header.Get("Retry-After") == "" {
			t.Errorf("%s: a refresh while the database fails over: %d %s", when, a.status, a.body)
		}
		store.when.Store("")
		a := n.refresh(ann.refresh, home, browser)
		if a.status != http.StatusOK {
			t.Errorf("%s: the same token after the recovery: %d %s", when, a.status, a.body)
		}
		if a = n.refresh(tokensOf(a).refresh, home, browser); a.status != http.StatusOK {
			t.Errorf("%s: the session does not live on: %d %s", when, a.status, a.body)
		}
	}
}

func parentAlone(t *testing.T) {
	n := one(t, plan{})
	foo := n.ann()
	bar := tokensOf(n.refresh(foo.refresh, home, browser))
	baz := tokensOf(n.refresh(bar.refresh, home, browser))
	if again := tokensOf(n.refresh(bar.refresh, home, browser)); again.refresh != baz.refresh || baz.refresh == "" {
		t.Error("the parent of the live token does not get the same successor again")
	}
	if a := n.refresh(foo.refresh, home, browser); a.status != http.StatusUnauthorized || a.text("reason") != "refresh_reuse" {
		t.Errorf("an ancestor within ten seconds: %d %s", a.status, a.body)
	}
	for name, text := range map[string]string{"baz": baz.refresh, "bar": bar.refresh} {
		if a := n.refresh(text, home, browser); a.status != http.StatusUnauthorized {
			t.Errorf("%s after the reuse of its ancestor: %d", name, a.status)
		}
	}
	for _, text := range []string{foo.access, bar.access, baz.access} {
		n.refusedEverywhere(text, "token_revoked")
	}
}

func repeatFromElsewhere(t *testing.T) {
	n := one(t, plan{})
	ann := n.ann()
	next := tokensOf(n.refresh(ann.refresh, home, browser))
	if a := n.refresh(ann.refresh, abroad, somebody); a.status != http.StatusUnauthorized || a.text("reason") != "refresh_reuse" {
		t.Errorf("a repetition from another network with another User-Agent: %d %s", a.status, a.body)
	}
	n.refusedEverywhere(next.access, "token_revoked")
	if !slices.Contains(n.events(), "refresh_reused") {
		t.Errorf("no event tells of it: %v", n.events())
	}
	if !strings.Contains(n.log.String(), "refresh_reuse") {
		t.Error("no line tells of it")
	}
}

// events are the kinds of what has been committed.
func (n *node) events() (kinds []string) {
	n.t.Helper()
	all, _, err := n.store.Events().List(context.Background(), 0, 100_000)
	if err != nil {
		n.t.Fatal(err)
	}
	for i := range all {
		kinds = append(kinds, string(all[i].Kind))
	}
	return kinds
}

func theftEndsBoth(t *testing.T) {
	h := newHouse(t, plan{})
	nodes := []*node{h.node(), h.node()}
	stolen := nodes[0].ann()
	owner := tokensOf(nodes[0].refresh(stolen.refresh, home, browser))
	var sockets []*websocket.Conn
	for _, n := range nodes {
		for _, text := range []string{stolen.access, owner.access} {
			c, a := n.dialFeed("?token="+text, nil)
			if c == nil {
				t.Fatalf("%d %s", a.status, a.body)
			}
			sockets = append(sockets, c)
		}
	}
	begun := time.Now()
	if a := nodes[1].refresh(stolen.refresh, abroad, somebody); a.status != http.StatusUnauthorized {
		t.Fatalf("the thief's refresh: %d %s", a.status, a.body)
	}
	for i, c := range sockets {
		if code, _ := ends(t, c); code != 4401 {
			t.Errorf("socket %d was closed with %d", i, code)
		}
	}
	if took := time.Since(begun); took > atOnce {
		t.Errorf("the sockets took %v to end", took)
	}
	for _, n := range nodes {
		for _, text := range []string{stolen.access, owner.access} {
			n.refusedEverywhere(text, "token_revoked")
		}
	}
}

func chosenSessionID(t *testing.T) {
	n := one(t, plan{})
	n.user("ann", account.RoleUser)
	for _, member := range []string{"sid", "session_id", "session", "jti"} {
		a := n.post(v1+"/auth/login", object{"username": "ann", "password": password, member: strings.Repeat("ab", 16)}, "")
		if a.status != http.StatusUnprocessableEntity {
			t.Errorf("a sign-in that says its %s: %d %s", member, a.status, a.body)
		}
	}
	seen := map[any]bool{}
	for _, cookie := range []string{"", "session=abc", "sid=" + strings.Repeat("ab", 16), "__Host-xteam_at=x; __Secure-xteam_rt=y", "session_id=" + strings.Repeat("0", 32)} {
		for range 3 {
			a := n.ask(request{method: "POST", path: v1 + "/auth/login", body: object{"username": "ann", "password": password}, header: http.Header{"Cookie": {cookie}}})
			if a.status != http.StatusOK {
				t.Fatalf("%d %s", a.status, a.body)
			}
			_, claims := parts(t, tokensOf(a).access)
			if seen[claims["sid"]] || strings.Contains(cookie, fmt.Sprint(claims["sid"])) {
				t.Errorf("with the cookie %q the session is %v, which is not fresh", cookie, claims["sid"])
			}
			seen[claims["sid"]] = true
		}
	}
}

// dry is a source of chance that answers some bytes and then fails.
type dry struct{ left atomic.Int64 }

func (d *dry) Read(p []byte) (int, error) {
	if d.left.Add(-int64(len(p))) < 0 {
		return 0, io.ErrUnexpectedEOF
	}
	for i := range p {
		p[i] = byte(i*7 + int(d.left.Load()))
	}
	return len(p), nil
}

func noChance(t *testing.T) {
	d := &dry{}
	d.left.Store(1 << 30)
	n := one(t, plan{random: d})
	n.user("ann", account.RoleUser)
	ann := n.signIn("ann")
	for bytes := range int64(64) { // it fails at the first draw, and at each that follows
		d.left.Store(bytes)
		a := n.post(v1+"/auth/login", object{"username": "ann", "password": password}, "")
		if a.status != http.StatusServiceUnavailable || strings.Contains(a.body, "access_token") {
			t.Errorf("a sign-in with %d bytes of chance: %d %s", bytes, a.status, a.body)
		}
	}
	d.left.Store(1 << 30)
	var listed struct{ items []any }
	a := n.get(v1+"/auth/sessions", ann.access)
	if listed.items, _ = a.json["items"].([]any); len(listed.items) != 1 {
		t.Errorf("%d sessions; those of sign-ins without chance were kept", len(listed.items))
	}
}
