package app_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/xteam/xteam/adapters/jwtcodec"
	"github.com/xteam/xteam/adapters/memstore"
	"github.com/xteam/xteam/app"
	"github.com/xteam/xteam/app/view"
	"github.com/xteam/xteam/domain/audit"
	"github.com/xteam/xteam/domain/id"
	"github.com/xteam/xteam/domain/instant"
	"github.com/xteam/xteam/domain/keyset"
	words "github.com/xteam/xteam/domain/node"
	"github.com/xteam/xteam/domain/revocation"
	"github.com/xteam/xteam/domain/secret"
	"github.com/xteam/xteam/ports"
)

// board is one node's way to a board, as a test spoils it.
type board struct {
	ports.Nodes
	mu  sync.Mutex
	cut bool // nothing comes through, either way
}

func (b *board) set(cut bool) { b.mu.Lock(); defer b.mu.Unlock(); b.cut = cut }

func (b *board) err() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.cut {
		return ports.ErrUnavailable
	}
	return nil
}

func (b *board) Say(ctx context.Context, w words.Word) error {
	if err := b.err(); err != nil {
		return err
	}
	return b.Nodes.Say(ctx, w)
}

func (b *board) Hear(ctx context.Context) ([]words.Word, error) {
	if err := b.err(); err != nil {
		return nil, err
	}
	return b.Nodes.Hear(ctx)
}

// member is a node of a test, over a store that all share.
type member struct {
	*app.Nodes
	core  *app.Core
	view  *view.View
	board *board
	log   bytes.Buffer

	hearing *hearing
}

// members starts nodes over one store and one board. All end before the bubble does.
func members(t *testing.T, n int, o app.NodesOptions) []*member {
	t.Helper()
	signing := jwtcodec.New(jwtcodec.Options{})
	ring, err := keyset.Ring{Name: keyset.Signing}.Add(keyset.Key{ID: kidOf(keyOne), Purpose: keyset.Sign, Algorithm: keyset.HS256, Secret: secret.New(keyOne)}, false, instant.Of(time.Now()))
	if err == nil {
		err = signing.SetRing(ring)
	}
	if err != nil {
		t.Fatal(err)
	}
	store, common := memstore.New(), memstore.NewBoard()
	ctx, stop := context.WithCancel(context.Background())
	var running sync.WaitGroup
	t.Cleanup(func() { stop(); running.Wait() })
	var all []*member
	for i := range n {
		h := &hearing{Revocations: store.Revocations()}
		m := &member{hearing: h, view: view.New(view.Options{}, view.Source{Name: "database", Truth: true, Revocations: h}), board: &board{Nodes: common.Nodes()}}
		running.Go(func() { _ = m.view.Run(ctx) })
		if err := m.view.Ready(ctx); err != nil {
			t.Fatal(err)
		}
		m.core = &app.Core{Stores: app.Stores{System: store.System(), Events: store.Events(), Revocations: store.Revocations()}, View: m.view, Codec: signing, Journal: &journal{}, Random: &counter{n: uint64(i) << 40}, Now: time.Now,
			Tunables: app.Tunables{Issuer: "xteam", Audience: "xteam", Access: time.Minute, Leeway: 0}}
		o.Name, o.Logger = fmt.Sprintf("n%d", i+1), slog.New(slog.NewTextHandler(&m.log, nil))
		if m.Nodes, err = app.NewNodes(m.core, o, app.Board{Name: "board", Nodes: m.board}); err != nil {
			t.Fatal(err)
		}
		running.Go(func() { m.Run(ctx) })
		all = append(all, m)
	}
	after(2 * time.Second)
	synctest.Wait()
	return all
}

func named(c app.Confirmation) string {
	var names []string
	for _, n := range c.Nodes {
		names = append(names, n.Node)
	}
	if len(names) > 1 && names[1] > names[len(names)-1] { // the others come in the order of their answers
		names[1], names[len(names)-1] = names[len(names)-1], names[1]
	}
	return strings.Join(names, " ") + " / " + strings.Join(c.Missing, " ")
}

// TestNodesHearOneAnother: each lists all, a question is answered by those who know, at once or as soon as they do, and who is cut off is named, and then gone.
func TestNodesHearOneAnother(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		all := members(t, 3, app.NodesOptions{Version: "v9"})
		var knows sync.Map
		for i, m := range all {
			m.Answer("riddle", func(_ context.Context, body []byte) bool {
				since, ok := knows.Load(fmt.Sprint(i))
				return ok && string(body) == "what" && !time.Now().Before(since.(time.Time))
			})
		}
		for _, m := range all {
			l := m.List()
			if len(l) != 3 || l[0].Name == l[1].Name || l[1].Version != "v9" || !l[2].Fresh || l[1].Seen > 2*time.Second {
				t.Errorf("%s lists %+v", l[0].Name, l)
			}
		}
		now := time.Now()
		for i := range all {
			knows.Store(fmt.Sprint(i), now)
		}
		begun := time.Now()
		if c := all[0].Confirm(t.Context(), "riddle", []byte("what")); named(c) != "n1 n2 n3 / " || time.Since(begun) > 100*time.Millisecond {
			t.Errorf("all know: %+v after %v", c, time.Since(begun))
		}
		knows.Store("2", time.Now().Add(500*time.Millisecond))
		c := all[0].Confirm(t.Context(), "riddle", []byte("what"))
		if named(c) != "n1 n2 n3 / " || c.Nodes[2].Took < 500*time.Millisecond || c.Nodes[2].Took > 600*time.Millisecond || c.Nodes[2].Node != "n3" {
			t.Errorf("one knows half a second later: %+v", c)
		}
		knows.Delete("1")
		if c := all[0].Confirm(t.Context(), "riddle", []byte("what")); named(c) != "n1 n3 / n2" {
			t.Errorf("one does not know: %+v", c)
		}
		if c := all[1].Confirm(t.Context(), "riddle", []byte("what")); named(c) != "n1 n3 / n2" && named(c) != "n3 n1 / n2" {
			t.Errorf("who asks does not know: %+v", c)
		}
		if c := all[0].Confirm(t.Context(), "another kind", nil); len(c.Nodes) != 0 || len(c.Missing) != 3 {
			t.Errorf("nobody knows what is asked: %+v", c)
		}
		knows.Store("1", now)

		// One that is cut off is missed for as long as it may live, and then no more.
		all[1].board.set(true)
		if c := all[0].Confirm(t.Context(), "riddle", []byte("what")); named(c) != "n1 n3 / n2" {
			t.Errorf("one is cut off: %+v", c)
		}
		after(words.Silence)
		if c := all[0].Confirm(t.Context(), "riddle", []byte("what")); named(c) != "n1 n3 / " || len(all[0].List()) != 2 || len(all[1].List()) != 1 {
			t.Errorf("one has been cut off for long: %+v", c)
		}
		all[1].board.set(false)
		after(2 * time.Second)
		if c := all[0].Confirm(t.Context(), "riddle", []byte("what")); named(c) != "n1 n2 n3 / " {
			t.Errorf("it is back: %+v", c)
		}
		for _, text := range []string{"Another node is there", "is not heard any more"} {
			if !strings.Contains(all[0].log.String(), text) {
				t.Errorf("the log does not say %q:\n%s", text, &all[0].log)
			}
		}
		if !strings.Contains(all[1].log.String(), "cannot leave word") || !strings.Contains(all[1].log.String(), "can leave word for the others again") {
			t.Errorf("the one that was cut off says:\n%s", &all[1].log)
		}
	})
}

// TestNodesRefuse: a revocation is confirmed by the nodes that refuse, and by no other.
func TestNodesRefuse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		all := members(t, 3, app.NodesOptions{})
		rv := app.NewRevoker(all[0].core, app.NewSessions(all[0].core), "n1")
		got, err := rv.Revoke(t.Context(), app.Actor{Name: app.Operator}, app.Selector{JTI: id.Token{9}.String()}, "", false)
		if len(got.Nodes) != 1 || got.Nodes[0].Node != "n1" {
			t.Errorf("before the others were asked: %+v", got.Nodes)
		}
		got = rv.Confirm(t.Context(), got)
		if err != nil || len(got.Nodes) != 3 || got.Nodes[0].Node != "n1" || len(got.Missing) != 0 {
			t.Fatalf("got %+v, %v", got, err)
		}
		for _, m := range all {
			if e := (revocation.Entry{Kind: revocation.Token, Token: id.Token{9}}); !m.view.Holds(&e) {
				t.Error("a node said that it refuses, and does not hold it")
			}
		}
		dry, err := rv.Revoke(t.Context(), app.Actor{Name: app.Operator}, app.Selector{JTI: id.Token{8}.String()}, "", true)
		if dry = rv.Confirm(t.Context(), dry); err != nil || dry.Nodes != nil {
			t.Errorf("a dry run asked the nodes: %+v, %v", dry, err)
		}
		all[2].board.set(true)
		got, err = rv.Revoke(t.Context(), app.Actor{Name: app.Operator}, app.Selector{JTI: id.Token{7}.String()}, "", false)
		if got = rv.Confirm(t.Context(), got); err != nil || len(got.Nodes) != 2 || strings.Join(got.Missing, " ") != "n3" {
			t.Errorf("one node does not answer: %+v, %v", got, err)
		}
	})
}

// TestCanary: all nodes refuse a canary; one whose view misses its revocation is found out, by itself and by who asked.
func TestCanary(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		all := members(t, 2, app.NodesOptions{Canary: time.Minute})
		after(2*time.Minute + 10*time.Second)
		for _, m := range all {
			if c := m.Canary(); c.At == 0 || c.Failed || instant.Of(time.Now()).Sub(c.At) > 90*time.Second {
				t.Errorf("a canary: %+v\n%s", c, &m.log)
			}
		}
		events, _, err := all[0].core.Stores.Events.List(t.Context(), 0, 100)
		if err != nil || len(events) != 0 {
			t.Errorf("canaries are events: %v, %v", events, err)
		}

		// A node that does not hear of revocations, and believes that it does. Its own canary tells it nothing: of that it knows by itself.
		all[1].hearing.deaf.Store(true)
		after(2 * time.Minute)
		if !all[1].Canary().Failed || all[0].Canary().Failed {
			t.Errorf("the deaf node: %+v; the other: %+v\n%s", all[1].Canary(), all[0].Canary(), &all[1].log)
		}
		if !strings.Contains(all[1].log.String(), "takes a token that was revoked") || !strings.Contains(all[0].log.String(), "nodes=n2") {
			t.Errorf("the deaf one says:\n%s\nand the other:\n%s", &all[1].log, &all[0].log)
		}
		events, _, err = all[0].core.Stores.Events.List(t.Context(), 0, 100)
		if err != nil || len(events) == 0 || events[0].Kind != audit.CanaryFailed || events[0].Details["nodes"] != "n2" {
			t.Errorf("events: %+v, %v", events, err)
		}
		all[1].hearing.deaf.Store(false)
		after(2 * time.Minute)
		if all[1].Canary().Failed {
			t.Errorf("it hears again, and has still failed: %+v", all[1].Canary())
		}
	})
}

// hearing is a source of revocations that may tell that it has told everything, and tell nothing.
type hearing struct {
	ports.Revocations
	deaf atomic.Bool
}

func (h *hearing) Follow(ctx context.Context, fn func(ports.News) error) error {
	return h.Revocations.Follow(ctx, func(n ports.News) error {
		if h.deaf.Load() {
			n.Entries = nil
		}
		return fn(n)
	})
}
