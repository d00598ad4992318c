package app_test

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/xteam/xteam/app"
	"github.com/xteam/xteam/app/view"
	"github.com/xteam/xteam/domain/audit"
	"github.com/xteam/xteam/ports"
)

// keptMark is a mark in memory.
type keptMark struct {
	text []byte
	fail error
}

func (k *keptMark) Load() ([]byte, error) { return k.text, k.fail }

func (k *keptMark) Store(text []byte) error {
	if k.fail == nil {
		k.text = text
	}
	return k.fail
}

// endedTrail is a trail that ends where a test says.
type endedTrail struct {
	ports.Trail
	head audit.Checkpoint
}

func (e *endedTrail) Head(context.Context) (audit.Head, error) { return audit.Head{Last: e.head}, nil }

// newView is the view of a node that has just started.
func (w *world) newView() *view.View {
	v := view.New(view.Options{MaxStaleness: 10000 * time.Hour, Now: w.core.Now}, view.Source{Name: "database", Truth: true, Revocations: w.store.Revocations()})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); _ = v.Run(ctx) }()
	w.t.Cleanup(func() { cancel(); <-done })
	w.must(v.Ready(w.t.Context()))
	return v
}

// A node that starts on a database that ends before what it has seen of it raises the epoch, once, unless that was done since: nothing else remembers, without Redis and with all nodes stopped.
func TestAMarkOutsideTheDatabase(t *testing.T) {
	at := func(chain byte, seq uint64, hash byte) audit.Checkpoint {
		return audit.Checkpoint{Purpose: audit.Headed, Chain: audit.ChainID{chain}, Seq: seq, Head: audit.Hash{hash}}
	}
	for name, c := range map[string]struct {
		then   audit.Checkpoint
		raised bool // by another, since
		want   bool
	}{
		"as it was":                   {at(1, 9, 9), false, false},
		"further on":                  {at(1, 12, 1), false, false},
		"set back":                    {at(1, 5, 5), false, true},
		"set back, and another since": {at(1, 9, 7), false, true},
		"set back to nothing":         {audit.Checkpoint{}, false, true},
		"another database":            {at(2, 3, 3), false, false},
		"raised since":                {at(1, 5, 5), true, false},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.user("ann")
			tk := w.signIn("ann")
			trail, kept := &endedTrail{head: at(1, 9, 9)}, &keptMark{}
			w.core.Stores.Trail = trail
			start := func() {
				w.core.View = w.newView()
				h := app.NewHealing(w.core, slog.New(slog.DiscardHandler))
				w.must(h.Compare(t.Context(), kept))
			}
			start() // the first one has seen nothing
			w.caller(tk)
			trail.head = c.then
			before := 0
			if c.raised {
				w.must(second(w.revoker.Revoke(t.Context(), root, app.Selector{All: true}, "", false)))
				before = 1
			}
			for range 3 {
				start()
			}
			if got := w.count(audit.EpochRaised) - before; (got == 1) != c.want || got > 1 {
				t.Errorf("the epoch was raised %d times, want that it was: %v", got, c.want)
			}
		})
	}
	t.Run("one that cannot be kept", func(t *testing.T) {
		w := newWorld(t)
		w.core.View = w.newView()
		var log strings.Builder
		w.core.Stores.Trail = &endedTrail{head: at(1, 9, 9)}
		w.must(app.NewHealing(w.core, slog.New(slog.NewTextHandler(&log, nil))).Compare(t.Context(), &keptMark{fail: errors.New("a disk that is ill")}))
		if !strings.Contains(log.String(), "cannot be kept") || w.count(audit.EpochRaised) != 0 {
			t.Errorf("the log says %s", log.String())
		}
	})
}
