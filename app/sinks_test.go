package app_test

import (
	"context"
	"crypto/rand"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/xteam/xteam/adapters/memstore"
	"github.com/xteam/xteam/app"
	"github.com/xteam/xteam/domain/audit"
	"github.com/xteam/xteam/domain/id"
	"github.com/xteam/xteam/domain/instant"
)

// place is a sink that can fail or hang.
type place struct {
	mu   sync.Mutex
	how  func(context.Context) error
	kind []audit.Kind
}

func (p *place) Deliver(ctx context.Context, events ...audit.Event) error {
	p.mu.Lock()
	how := p.how
	p.mu.Unlock()
	if how != nil {
		if err := how(ctx); err != nil {
			return err
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for i := range events {
		p.kind = append(p.kind, events[i].Kind)
	}
	return nil
}

func (p *place) set(how func(context.Context) error) { p.mu.Lock(); defer p.mu.Unlock(); p.how = how }

func (p *place) has() []audit.Kind { p.mu.Lock(); defer p.mu.Unlock(); return slices.Clone(p.kind) }

// Every kind of event reaches a sink, in order; one that hangs or fails holds up no other, and loses nothing, over a restart too; and one that asks for some kinds gets those.
func TestSinksTakeEveryKind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := memstore.New()
		core := &app.Core{Stores: app.Stores{Events: store.Events(), Trail: store.Trail(), Cursors: store.Cursors()}, Random: rand.Reader, Now: time.Now}
		good, dead, some := &place{}, &place{}, &place{}
		hang := func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }
		start := func() (*app.Sinks, func()) {
			s, err := app.NewSinks(core, slog.New(slog.DiscardHandler), app.SinkOptions{Name: "good", Sink: good}, app.SinkOptions{Name: "dead", Sink: dead, Most: 7},
				app.SinkOptions{Name: "some", Sink: some, Kinds: []audit.Kind{audit.RefreshReused}})
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithCancel(t.Context())
			done := make(chan struct{})
			go func() { defer close(done); s.Run(ctx) }()
			return s, func() { cancel(); <-done }
		}
		s, stop := start()
		after(time.Second)
		dead.set(func(context.Context) error { return errors.New("nobody home") })
		kinds := audit.Kinds()
		for i, k := range kinds {
			if err := store.Events().Record(t.Context(), audit.Event{ID: id.Event{byte(i + 1)}, Time: instant.Of(time.Now()), Kind: k}); err != nil {
				t.Fatal(err)
			}
		}
		after(2 * time.Second)
		if !slices.Equal(good.has(), kinds) {
			t.Errorf("delivered: %v, want every kind once and in order", good.has())
		}
		if got := some.has(); len(got) != 1 || got[0] != audit.RefreshReused {
			t.Errorf("delivered of one kind: %v", got)
		}
		if st := s.Status(); st[0].Err != nil || st[0].Lag != 0 || st[1].Name != "dead" || st[1].Err == nil || st[1].Lag < time.Second || len(dead.has()) != 0 {
			t.Errorf("status: %+v", st)
		}
		stop()
		s, stop = start()
		dead.set(hang)
		after(2 * time.Minute)
		dead.set(nil)
		after(5 * time.Minute)
		if !slices.Equal(dead.has(), kinds) {
			t.Errorf("delivered once it answers: %v, want every kind once and in order", dead.has())
		}
		if st := s.Status(); st[1].Err != nil || st[1].Lag != 0 {
			t.Errorf("status once it answers: %+v", st)
		}
		stop()
	})
}

// TestCheckpointsGoOffTheMachine: the signed head is sent once a minute while there is something new; what is not taken is tried again, after a restart too, and then the newest is sent, which a trail is held to.
func TestCheckpointsGoOffTheMachine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.core.Now = time.Now
		trail := w.trail(app.TrailOptions{})
		var mu sync.Mutex
		var kept []audit.Checkpoint
		var away error
		tries := 0
		send := func(_ context.Context, c audit.Checkpoint) error {
			mu.Lock()
			defer mu.Unlock()
			if tries++; away != nil {
				return away
			}
			kept = append(kept, c)
			return nil
		}
		look := func() ([]audit.Checkpoint, int) { mu.Lock(); defer mu.Unlock(); return slices.Clone(kept), tries }
		start := func() (*app.Sinks, func()) {
			s, err := app.NewSinks(w.core, slog.New(slog.DiscardHandler), app.SinkOptions{Name: "checkpoints", Checkpoint: send})
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithCancel(t.Context())
			done := make(chan struct{})
			go func() { defer close(done); s.Run(ctx) }()
			return s, func() { cancel(); <-done }
		}
		more := func(n int) { w.tell(n, "ann"); link(t, trail, n) }
		_, stop := start()
		after(5 * time.Second)
		if has, _ := look(); len(has) != 0 {
			t.Errorf("checkpoints of an empty trail: %+v", has)
		}
		more(3)
		after(5 * time.Second)
		more(2)
		after(20 * time.Second)
		if has, _ := look(); len(has) != 1 || has[0].Seq != 3 {
			t.Fatalf("within the minute: %+v", has)
		}
		after(time.Minute)
		if has, _ := look(); len(has) != 2 || has[1].Seq != 5 {
			t.Fatalf("after it: %+v", has)
		}
		after(10 * time.Minute)
		if has, _ := look(); len(has) != 2 {
			t.Errorf("nothing new: %+v", has)
		}
		mu.Lock()
		away = errors.New("nobody home")
		mu.Unlock()
		more(1)
		after(30 * time.Second)
		stop()
		_, before := look()
		s, stop := start()
		defer stop()
		after(5 * time.Second)
		more(1)
		after(10 * time.Minute)
		if has, asked := look(); len(has) != 2 || asked == before || asked > before+8 {
			t.Errorf("while it is away: %+v, asked %d times and %d times more", has, before, asked-before)
		}
		if st := s.Status(); st[0].Name != "checkpoints" || st[0].Tries == 0 || st[0].Err == nil {
			t.Errorf("status: %+v", st)
		}
		mu.Lock()
		away = nil
		mu.Unlock()
		after(6 * time.Minute)
		has, _ := look()
		if len(has) != 3 || has[2].Seq != 7 {
			t.Fatalf("once it is back: %+v", has)
		}
		whole(t, trail, 7, has...)
		has[2].Head[0] ^= 1
		if r, err := trail.Verify(t.Context(), has...); err != nil || r.OK() {
			t.Errorf("another head was kept: %+v, %v", r, err)
		}
	})
}
