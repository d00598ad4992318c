package app_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/xteam/xteam/adapters/memstore"
	"github.com/xteam/xteam/app"
	"github.com/xteam/xteam/domain/audit"
	"github.com/xteam/xteam/domain/id"
	"github.com/xteam/xteam/domain/instant"
	"github.com/xteam/xteam/ports"
)

// shift is a few nodes with one store, and what became of their work.
type shift struct {
	t     *testing.T
	store *memstore.Store
	made  int

	mu   sync.Mutex
	took []string // "node: subject" of each event, in the order of their being done
}

// mate is one node of a shift.
type mate struct {
	*app.Duty
	faults *troubled
	stop   func()
	ended  chan struct{}
}

// troubled is a store that does not answer while it is silent.
type troubled struct {
	mu     sync.Mutex
	silent error
	reads  int
	writes int
}

func (f *troubled) counts() (reads, writes int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.reads, f.writes
}

func (f *troubled) set(err error) { f.mu.Lock(); defer f.mu.Unlock(); f.silent = err }

func (f *troubled) count(n *int) error { f.mu.Lock(); defer f.mu.Unlock(); *n++; return f.silent }

type troubledCursors struct {
	ports.Cursors
	*troubled
}

func (c troubledCursors) Find(ctx context.Context, name string) (ports.Cursor, error) {
	if err := c.count(&c.reads); err != nil {
		return ports.Cursor{}, err
	}
	return c.Cursors.Find(ctx, name)
}

func (c troubledCursors) Swap(ctx context.Context, k ports.Cursor) (ports.Cursor, error) {
	if err := c.count(&c.writes); err != nil {
		return ports.Cursor{}, err
	}
	return c.Cursors.Swap(ctx, k)
}

type troubledEvents struct {
	ports.Events
	*troubled
}

func (e troubledEvents) List(ctx context.Context, after uint64, limit int) ([]audit.Event, uint64, error) {
	if err := e.count(&e.reads); err != nil {
		return nil, after, err
	}
	return e.Events.List(ctx, after, limit)
}

func newShift(t *testing.T) *shift { return &shift{t: t, store: memstore.New()} }

// join begins the duty on one more node.
func (c *shift) join(name string, o app.DutyOptions) *mate {
	c.t.Helper()
	f := &troubled{}
	core := &app.Core{Stores: app.Stores{Events: troubledEvents{c.store.Events(), f}, Trail: c.store.Trail(), Cursors: troubledCursors{c.store.Cursors(), f}}, Random: rand.Reader, Now: time.Now}
	if o.Name == "" {
		o.Name = "work"
	}
	o.History = true
	if o.Take == nil {
		o.Take = func(_ context.Context, b app.Batch) ([]byte, error) { c.note(name, b); return nil, nil }
	}
	d, err := app.NewDuty(core, o)
	if err != nil {
		c.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(c.t.Context())
	m := &mate{Duty: d, faults: f, ended: make(chan struct{})}
	m.stop = func() { cancel(); <-m.ended }
	go func() { defer close(m.ended); d.Run(ctx) }()
	c.t.Cleanup(m.stop)
	return m
}

// die ends a node that can tell nobody.
func (m *mate) die() {
	m.faults.set(ports.ErrUnavailable)
	m.stop()
}

func (c *shift) note(node string, b app.Batch) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i := range b.Events {
		c.took = append(c.took, node+": "+b.Events[i].Subject)
	}
}

func (c *shift) commit(n int) {
	c.t.Helper()
	for range n {
		c.made++
		if err := c.store.Events().Record(c.t.Context(), audit.Event{ID: id.Event{byte(c.made >> 8), byte(c.made)}, Time: instant.Of(time.Now()), Subject: fmt.Sprint(c.made)}); err != nil {
			c.t.Fatal(err)
		}
	}
}

// with runs f while nobody works.
func (c *shift) with(f func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	f()
}

// want demands what was done since the last look.
func (c *shift) want(what string, want ...string) {
	c.t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	if !slices.Equal(c.took, want) {
		c.t.Errorf("%s: got %q, want %q", what, c.took, want)
	}
	c.took = nil
}

func inTime(t *testing.T, f func(*shift)) {
	synctest.Test(t, func(t *testing.T) { f(newShift(t)) })
}

func TestADutyIsDoneByOneNodeInOrder(t *testing.T) {
	inTime(t, func(c *shift) {
		c.commit(5)
		a := c.join("a", app.DutyOptions{Most: 2})
		after(time.Second)
		c.want("what was there", "a: 1", "a: 2", "a: 3", "a: 4", "a: 5")
		b := c.join("b", app.DutyOptions{Most: 2})
		for range 3 {
			after(3 * time.Second)
			c.commit(1)
		}
		after(3 * time.Second)
		c.want("what came", "a: 6", "a: 7", "a: 8")
		if !a.Status().Holding || b.Status().Holding {
			t.Errorf("who holds the work: a %v, b %v, want a", a.Status().Holding, b.Status().Holding)
		}
		was, writes := b.faults.counts()
		if writes != 0 {
			t.Errorf("the other node has written %d times", writes)
		}
		_, wrote := a.faults.counts()
		after(time.Minute)
		if n, _ := b.faults.counts(); n-was > 130 {
			t.Errorf("in a minute without events the other node read %d times", n-was)
		}
		if _, n := a.faults.counts(); n != wrote {
			t.Errorf("in a minute without events %d cursors were kept", n-wrote)
		}
		c.commit(1)
		a.stop()
		after(1500 * time.Millisecond)
		c.want("what came as the node was stopped", "b: 9")
	})
}

func TestADutyIsTakenOver(t *testing.T) {
	var hang chan struct{}
	for name, end := range map[string]func(*shift, *mate){
		"from one that died":                             func(_ *shift, a *mate) { a.die() },
		"from one whose store is silent":                 func(_ *shift, a *mate) { a.faults.set(ports.ErrUnavailable) },
		"from one that died when there was nothing left": func(c *shift, a *mate) { after(time.Second); a.die() },
	} {
		t.Run(name, func(t *testing.T) {
			inTime(t, func(c *shift) {
				a := c.join("a", app.DutyOptions{})
				after(time.Millisecond)
				c.join("b", app.DutyOptions{})
				c.commit(2)
				after(time.Second)
				c.want("before", "a: 1", "a: 2")
				end(c, a)
				c.commit(2)
				after(7 * time.Second)
				c.want("within seven seconds", "b: 3", "b: 4")
			})
		})
	}
	t.Run("from one that hangs over an event, which is called off and does no more until it has ended", func(t *testing.T) {
		inTime(t, func(c *shift) {
			hang = make(chan struct{})
			a := c.join("a", app.DutyOptions{Longest: 20 * time.Second, Take: func(ctx context.Context, b app.Batch) ([]byte, error) {
				<-ctx.Done()
				<-hang
				c.note("a", b)
				return nil, nil
			}})
			after(time.Millisecond)
			c.join("b", app.DutyOptions{})
			c.commit(1)
			after(19 * time.Second)
			c.want("while it may take its time")
			after(10 * time.Second)
			c.want("once it has taken too long", "b: 1")
			close(hang)
			c.commit(1)
			after(time.Second)
			c.want("once it has ended", "a: 1", "b: 2")
			if a.Status().Holding {
				t.Error("the node that was replaced thinks that it is not")
			}
		})
	})
	t.Run("from one that was stopped for a while, which then does nothing twice", func(t *testing.T) {
		inTime(t, func(c *shift) {
			a := c.join("a", app.DutyOptions{})
			after(time.Second)
			c.join("b", app.DutyOptions{})
			a.faults.set(ports.ErrUnavailable)
			c.commit(1)
			after(7 * time.Second)
			c.want("by the other", "b: 1")
			c.commit(1)
			a.faults.set(nil)
			after(2 * time.Second)
			c.want("after it", "b: 2")
		})
	})
}

func TestADutyThatFailsIsTriedAgain(t *testing.T) {
	inTime(t, func(c *shift) {
		var tries []time.Duration
		begun, bad := time.Now(), true
		var log bytes.Buffer
		o := app.DutyOptions{Logger: slog.New(slog.NewTextHandler(&log, nil)), MaxPause: 30 * time.Second, Take: func(_ context.Context, b app.Batch) ([]byte, error) {
			failed := false
			c.with(func() {
				if failed = bad; bad {
					tries = append(tries, time.Since(begun).Truncate(time.Second))
				}
			})
			if failed {
				return []byte("lost"), errors.New("nobody home")
			}
			c.note("", b)
			return append(b.State, b.Events[0].Subject...), nil
		}}
		a := c.join("a", o)
		c.commit(2)
		after(20 * time.Second)
		a.stop()
		a = c.join("a2", o) // the pauses outlast the process
		after(51 * time.Second)
		c.with(func() {
			want := []time.Duration{0, 1, 3, 7, 15, 31, 61}
			late := func(a, b time.Duration) int { return int((a - b) &^ 1) } // a look and the end of a pause may fall into one moment: then the next look finds it, a second later
			if got := seconds(tries); slices.CompareFunc(got, want, late) != 0 {
				t.Errorf("tried after %v seconds, want %v, or a second later", got, want)
			}
			bad = false
		})
		if st := a.Status(); st.Err == nil || st.Tries != 7 || st.Lag < 60*time.Second {
			t.Errorf("the status: %+v", st)
		}
		after(30 * time.Second)
		c.want("once it succeeds", ": 1", ": 2")
		if st := a.Status(); st.Err != nil || st.Tries != 0 || st.Lag != 0 {
			t.Errorf("the status after it: %+v", st)
		}
		if k, err := c.store.Cursors().Find(t.Context(), "work"); err != nil || k.Position != 2 || string(k.State) != "1" {
			t.Errorf("kept: %+v, %v", k, err)
		}
		if n := strings.Count(log.String(), "\n"); n != 3 { // of the first process, of the second, and that it goes on
			t.Errorf("the log has %d lines:\n%s", n, log.String())
		}
	})
}

func seconds(all []time.Duration) (s []time.Duration) {
	for _, d := range all {
		s = append(s, d/time.Second)
	}
	return s
}

func TestAPanicIsAFailure(t *testing.T) {
	inTime(t, func(c *shift) {
		panics := true
		c.join("a", app.DutyOptions{Take: func(_ context.Context, b app.Batch) ([]byte, error) {
			if panics {
				panics = false
				panic("oh")
			}
			c.note("a", b)
			return nil, nil
		}})
		c.commit(1)
		after(3 * time.Second)
		c.want("after a panic", "a: 1")
	})
}

// While the store is silent nothing is done twice: what was done is kept first when it answers again.
func TestADutyOutlivesAnOutage(t *testing.T) {
	inTime(t, func(c *shift) {
		a := c.join("a", app.DutyOptions{})
		c.commit(1)
		after(time.Second)
		c.want("before", "a: 1")
		for range 3 {
			a.faults.set(ports.ErrUnavailable)
			after(time.Minute)
			if a.Status().Err == nil {
				t.Error("an outage is not seen")
			}
			c.commit(1)
			a.faults.set(nil)
			after(time.Second)
		}
		c.want("after it", "a: 2", "a: 3", "a: 4")
	})
	inTime(t, func(c *shift) {
		var a *mate
		broken := false
		a = c.join("a", app.DutyOptions{Take: func(_ context.Context, b app.Batch) ([]byte, error) {
			c.note("a", b)
			c.with(func() {
				if broken {
					a.faults.set(ports.ErrUnavailable)
				}
			})
			return nil, nil
		}})
		after(time.Second)
		c.with(func() { broken = true })
		c.commit(1)
		after(10 * time.Second)
		c.with(func() { broken = false })
		a.faults.set(nil)
		after(time.Second)
		c.commit(1)
		after(time.Second)
		c.want("with an outage just behind the work", "a: 1", "a: 2")
	})
}

func TestWhereADutyBegins(t *testing.T) {
	t.Run("with what is not linked yet", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			c := newShift(t)
			c.commit(3)
			head := audit.Checkpoint{Purpose: audit.Headed, Seq: 0, Position: 2}
			if err := c.store.Trail().Append(t.Context(), audit.Checkpoint{}, nil, head); err != nil {
				t.Fatal(err)
			}
			core := &app.Core{Stores: app.Stores{Events: c.store.Events(), Trail: c.store.Trail(), Cursors: c.store.Cursors()}, Random: rand.Reader, Now: time.Now}
			d, err := app.NewDuty(core, app.DutyOptions{Name: "new", Take: func(_ context.Context, b app.Batch) ([]byte, error) { c.note("a", b); return nil, nil }})
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
			defer cancel()
			d.Run(ctx)
			c.want("from the head on", "a: 3")
		})
	})
	t.Run("before its place when it is told to, which does not go back", func(t *testing.T) {
		inTime(t, func(c *shift) {
			a := c.join("a", app.DutyOptions{})
			c.commit(4)
			after(time.Second)
			a.stop()
			c.want("before", "a: 1", "a: 2", "a: 3", "a: 4")
			var begun []uint64
			o := app.DutyOptions{Most: 1, Always: true, Begin: func(_ context.Context, k ports.Cursor) (uint64, error) {
				c.with(func() { begun = append(begun, k.Position) })
				return k.Position - 2, nil
			}}
			b := c.join("b", o)
			after(time.Second)
			c.want("again", "b: 3", "b: 4")
			c.commit(1)
			after(time.Second)
			c.want("and what is new", "b: 5")
			b.stop()
			c.join("c", o)
			after(time.Second)
			c.want("and again", "c: 4", "c: 5")
			c.with(func() {
				if fmt.Sprint(begun) != "[4 5]" {
					t.Errorf("it began at %v", begun)
				}
			})
		})
	})
}

// A duty that is always called is taken over though there are no events.
func TestADutyWithoutEvents(t *testing.T) {
	inTime(t, func(c *shift) {
		calls := map[string]int{}
		o := func(name string) app.DutyOptions {
			return app.DutyOptions{Always: true, Every: time.Second, Take: func(context.Context, app.Batch) ([]byte, error) {
				c.with(func() { calls[name]++ })
				return nil, nil
			}}
		}
		a := c.join("a", o("a"))
		after(time.Millisecond)
		c.join("b", o("b"))
		after(time.Minute)
		c.with(func() {
			if calls["a"] < 59 || calls["b"] != 0 {
				t.Errorf("in a minute: %v", calls)
			}
		})
		if _, n := a.faults.counts(); n > 40 {
			t.Errorf("in a minute %d cursors were kept", n)
		}
		a.die()
		after(8 * time.Second)
		c.with(func() {
			if calls["b"] == 0 {
				t.Error("nobody has taken over")
			}
		})
	})
}
