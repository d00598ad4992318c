package app_test

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/xteam/xteam/adapters/memstore"
	"github.com/xteam/xteam/app"
	words "github.com/xteam/xteam/domain/node"
)

// crew are nodes at one board, each of which knows whatever it is asked for, but for those that are named in the question.
type crew struct {
	all  []*app.Nodes
	stop []func() // ends a node, and waits for it
}

const askAnything = "test"

func newCrew(t *testing.T, names ...string) *crew {
	t.Helper()
	c, board := &crew{}, memstore.NewBoard()
	for _, name := range names {
		n, err := app.NewNodes(newWorld(t).core, app.NodesOptions{Name: name, Version: "1"}, app.Board{Name: "memory", Nodes: board.Nodes()})
		if err != nil {
			t.Fatal(err)
		}
		n.Answer(askAnything, func(_ context.Context, body []byte) bool { return !bytes.Contains(body, []byte(name)) })
		ctx, cancel := context.WithCancel(context.Background())
		over := make(chan struct{})
		go func() { defer close(over); n.Run(ctx) }()
		stop := func() { cancel(); <-over }
		t.Cleanup(stop)
		c.all, c.stop = append(c.all, n), append(c.stop, stop)
	}
	for _, n := range c.all {
		c.count(t, n, len(names))
	}
	return c
}

// count waits until a node knows of that many, and answers how long that took.
func (c *crew) count(t *testing.T, n *app.Nodes, want int) time.Duration {
	t.Helper()
	begun := time.Now()
	for len(n.List()) != want {
		if time.Since(begun) > 30*time.Second {
			t.Fatalf("%s knows of %d nodes, want %d", n.Name(), len(n.List()), want)
		}
		<-time.After(time.Millisecond)
	}
	return time.Since(begun)
}

func seenBy(c app.Confirmation) (names []string) {
	for _, n := range c.Nodes {
		names = append(names, n.Node)
	}
	slices.Sort(names)
	return names
}

// Every node that lives answers; one that does not know is named.
func TestNodesConfirm(t *testing.T) {
	t.Parallel()
	c := newCrew(t, "one", "two", "three")
	got := c.all[0].Confirm(t.Context(), askAnything, []byte("whether all know"))
	if want := []string{"one", "three", "two"}; !slices.Equal(seenBy(got), want) || len(got.Missing) > 0 || got.Nodes[0].Node != "one" {
		t.Errorf("got %v, missing %v, want all, the one that asks first", got.Nodes, got.Missing)
	}
	got = c.all[0].Confirm(t.Context(), askAnything, []byte("but not three"))
	if want := []string{"one", "two"}; !slices.Equal(seenBy(got), want) || !slices.Equal(got.Missing, []string{"three"}) {
		t.Errorf("got %v, missing %v, want three missing", got.Nodes, got.Missing)
	}
}

// A node that takes its leave is waited for by nobody, long before one that falls silent is given up.
func TestANodeLeaves(t *testing.T) {
	t.Parallel()
	c := newCrew(t, "one", "two", "three")
	c.stop[2]()
	if took := max(c.count(t, c.all[0], 2), c.count(t, c.all[1], 2)); took >= words.Silence/2 {
		t.Errorf("it was counted for %v after it had left", took)
	}
	if got := c.all[0].Confirm(t.Context(), askAnything, []byte("anything")); len(got.Missing) > 0 || len(got.Nodes) != 2 {
		t.Errorf("got %v, missing %v, want two and none", got.Nodes, got.Missing)
	}
}

// A node that answers thousands of questions in a few seconds is not silenced by its answers.
func TestNodesAnswerMany(t *testing.T) {
	t.Parallel()
	c := newCrew(t, "one", "two")
	var asking sync.WaitGroup
	for i := range 32 {
		asking.Go(func() {
			for k := range 100 {
				if got := c.all[0].Confirm(t.Context(), askAnything, fmt.Append(nil, i, k)); len(got.Missing) > 0 {
					t.Errorf("question %d of asker %d: missing %v", k, i, got.Missing)
					return
				}
			}
		})
	}
	asking.Wait()
}

// While one node does not answer, whoever asks a lot at once still hears of the others.
func TestOneNodeHangsAndManyAreAsked(t *testing.T) {
	t.Parallel()
	c := newCrew(t, "one", "two", "three")
	var asking sync.WaitGroup
	for i := range 400 {
		asking.Go(func() {
			got := c.all[0].Confirm(t.Context(), askAnything, fmt.Appendf(nil, "%d not three %0300d", i, i))
			if !slices.Contains(seenBy(got), "two") || !slices.Equal(got.Missing, []string{"three"}) {
				t.Errorf("question %d: got %v, missing %v, want only three missing", i, seenBy(got), got.Missing)
			}
		})
	}
	asking.Wait()
	if got := c.all[0].Confirm(t.Context(), askAnything, []byte("afterwards")); len(got.Missing) > 0 {
		t.Errorf("afterwards: missing %v", got.Missing)
	}
}

// fresh is a board whose clock was set back: what was left there has no age.
type fresh struct{ all []words.Word }

func (f fresh) Say(context.Context, words.Word) error      { return nil }
func (f fresh) Hear(context.Context) ([]words.Word, error) { return f.all, nil }
func (f fresh) Wait(context.Context) error                 { return nil }

// Whoever carries a database over, or sets it back, is told who works on it: not those that have taken their leave, and not for long those that were killed.
func TestWhoRuns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, board := newWorld(t), memstore.NewBoard()
		running := func() ([]string, time.Duration) {
			t.Helper()
			began := time.Now()
			names, err := app.Running(t.Context(), board.Nodes(), w.core.MACs)
			if err != nil {
				t.Fatal(err)
			}
			return names, time.Since(began)
		}
		if names, took := running(); len(names) != 0 || took != 0 {
			t.Errorf("where nobody is: %v after %v", names, took)
		}
		n, err := app.NewNodes(w.core, app.NodesOptions{Name: "one", Version: "1"}, app.Board{Name: "memory", Nodes: board.Nodes()})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		over := make(chan struct{})
		go func() { defer close(over); n.Run(ctx) }()
		synctest.Wait()
		if names, took := running(); !slices.Equal(names, []string{"one"}) || took > 2*time.Second {
			t.Errorf("while one runs: %v after %v", names, took)
		}
		said, err := board.Nodes().Hear(t.Context())
		if err != nil || len(said) != 1 {
			t.Fatalf("%v, %v", said, err)
		}
		cancel()
		<-over
		if names, took := running(); len(names) != 0 || took != 0 {
			t.Errorf("after it took its leave: %v after %v", names, took)
		}
		if err := board.Nodes().Say(t.Context(), said[0]); err != nil { // as if it had been killed before
			t.Fatal(err)
		}
		if names, took := running(); len(names) != 0 || took < 4*time.Second || took > 6*time.Second {
			t.Errorf("after it was killed: %v after %v", names, took)
		}
		if names, err := app.Running(t.Context(), fresh{said}, w.core.MACs); err != nil || len(names) != 0 {
			t.Errorf("after it was killed, and the store's clock was set back: %v, %v", names, err)
		}
	})
}
