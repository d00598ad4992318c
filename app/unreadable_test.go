package app_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/xteam/xteam/app"
	"github.com/xteam/xteam/domain/alert"
	"github.com/xteam/xteam/domain/audit"
	"github.com/xteam/xteam/domain/id"
	"github.com/xteam/xteam/domain/instant"
	"github.com/xteam/xteam/ports"
)

// spoil has n events recorded that somebody changes before anybody reads them, and answers what stands in the place of one.
func (w *world) spoil(n int) (sum string) {
	w.t.Helper()
	for range n {
		w.tell(1, "eve")
		all := w.events()
		sum = fmt.Sprintf("sha256:%x", sha256.Sum256(w.store.Spoil(uint64(len(all)))))
	}
	return sum
}

// cutShort is a trail that dies with the first append: before it, or when it is stored and nobody has heard.
type cutShort struct {
	ports.Trail
	after bool
	died  bool
}

func (i *cutShort) Append(ctx context.Context, was audit.Checkpoint, links []audit.Link, next audit.Checkpoint) error {
	if i.died || len(links) == 0 {
		return i.Trail.Append(ctx, was, links, next)
	}
	i.died = true
	if i.after {
		if err := i.Trail.Append(ctx, was, links, next); err != nil {
			return err
		}
	}
	return ports.ErrUnavailable
}

// TestASpoiledEventIsPassedOver: the trail goes on behind an event that was changed before it was linked, says in its place what stood there, and holds; it is shown, exported, and told of once.
func TestASpoiledEventIsPassedOver(t *testing.T) {
	for _, after := range []bool{false, true} {
		t.Run(fmt.Sprintf("after %v", after), func(t *testing.T) {
			w := newWorld(t)
			var log bytes.Buffer
			o := app.TrailOptions{Logger: slog.New(slog.NewTextHandler(&log, nil))}
			w.tell(3, "ann")
			sum := w.spoil(1)
			w.tell(2, "bob")

			page, err := w.trail(o).Latest(t.Context(), 3)
			if u := page.Unlinked; err != nil || len(u) != 3 || u[0].Kind != audit.EventUnreadable || u[0].Reason != sum || u[0].Time != instant.Of(w.core.Now()) || u[2].Actor != "bob" {
				t.Errorf("the latest before it is linked: %+v, %v", page.Unlinked, err)
			}
			w.core.Stores.Trail = &cutShort{Trail: w.store.Trail(), after: after}
			if _, err := w.trail(o).Link(t.Context()); !errors.Is(err, ports.ErrUnavailable) {
				t.Fatalf("Link that is cut short: %v", err)
			}
			want := 6
			if after {
				want = 0
			}
			w.turn(time.Minute)
			trail := w.trail(o) // after a restart
			link(t, trail, want)
			link(t, trail, 0)
			if n := trail.Unreadable(); n != uint64(want/6) || strings.Count(log.String(), "could not be read") != want/6 || want > 0 && !strings.Contains(log.String(), "first_record=4") {
				t.Errorf("%d are counted, and the log has\n%s", n, &log)
			}

			report, err := trail.Verify(t.Context())
			if err != nil || report.OK() || !report.Holds() || report.Records != 6 || report.Lost != 1 || report.Good != 6 || len(report.Findings) != 1 {
				t.Fatalf("Verify: %+v, %v", report, err)
			}
			if f := report.Findings[0]; f.Fault != audit.Lost || f.Seq != 4 || f.To != 0 || !strings.Contains(f.Text, "record 4 stands for an event") || !strings.Contains(f.Text, sum) {
				t.Errorf("found: %+v", f)
			}
			if page, err = trail.Page(t.Context(), 0, 10); err != nil || len(page.Entries) != 6 {
				t.Fatalf("Page: %d, %v", len(page.Entries), err)
			}
			if e := &page.Entries[3]; e.Record.Kind != audit.EventUnreadable || e.Record.Severity != audit.Critical || e.Record.Reason != sum || e.Personal == nil || e.Personal.Details["position"] != "4" || e.Record.Time == 0 {
				t.Errorf("the record in its place: %+v", e)
			}
			if page, err = trail.Latest(t.Context(), 3); err != nil || len(page.Entries) != 3 || page.Entries[0].Record.Kind != audit.EventUnreadable || len(page.Unlinked) != 0 {
				t.Errorf("the latest: %+v, %v", page, err)
			}

			b, err := exported(t, trail, app.ExportOptions{})
			if err != nil {
				t.Fatalf("an export: %v", err)
			}
			keys, err := trail.Keys(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			v, err := audit.NewVerifier(keys)
			if err != nil {
				t.Fatal(err)
			}
			file := audit.NewFile(v)
			_, _ = file.Write(b)
			if r := file.Close(); !r.Holds() || r.Lost != 1 || len(r.Findings) != 1 || r.Findings[0].Line != 4 {
				t.Errorf("the export: %+v", r.Findings)
			}

			// What is changed once it is linked is found as ever, and so is what stands in the place of another.
			w.store.Spoil(2)
			if r, err := trail.Verify(t.Context()); err != nil || r.Holds() || len(r.Findings) != 2 || r.Findings[0].Fault != audit.Beside || r.Findings[0].Seq != 2 || r.Lost != 1 || r.Good != 1 {
				t.Errorf("one more that was linked: %+v, %v", r.Findings, err)
			}
			if _, err := exported(t, trail, app.ExportOptions{}); !errors.Is(err, app.ErrTrailBroken) {
				t.Errorf("an export of it: %v", err)
			}
		})
	}
}

// heard is a sink that keeps what it is handed.
type heard struct {
	mu  sync.Mutex
	all []audit.Event
	no  error
}

func (s *heard) Deliver(_ context.Context, events ...audit.Event) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.no != nil {
		return s.no
	}
	s.all = append(s.all, events...)
	return nil
}

func (s *heard) set(err error) { s.mu.Lock(); defer s.mu.Unlock(); s.no = err }

func (s *heard) has() []audit.Event { s.mu.Lock(); defer s.mu.Unlock(); return slices.Clone(s.all) }

// TestManySpoiledEventsAreToldOnce: a sink is told of a thousand that were spoiled in one event, whatever it takes at once and whichever node delivers, and gets what is before and behind them.
func TestManySpoiledEventsAreToldOnce(t *testing.T) {
	for _, most := range []int{1, 100} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t)
			w.core.Now = time.Now
			sink := &heard{}
			start := func() (stop func()) {
				s, err := app.NewSinks(w.core, slog.New(slog.DiscardHandler), app.SinkOptions{Name: "all", Sink: sink, Most: most})
				if err != nil {
					t.Fatal(err)
				}
				ctx, cancel := context.WithCancel(t.Context())
				done := make(chan struct{})
				go func() { defer close(done); s.Run(ctx) }()
				return func() { cancel(); <-done }
			}
			stop := start()
			w.tell(1, "ann")
			after(2 * time.Second)
			sink.set(errors.New("nobody home"))
			w.spoil(1000)
			w.tell(2, "bob")
			after(2 * time.Second)
			stop() // a restart, while they wait
			stop = start()
			after(2 * time.Second)
			sink.set(nil)
			after(5 * time.Minute)
			stop()
			stop = start()
			after(2 * time.Second)
			stop()
			got := sink.has()
			if len(got) != 4 || got[0].Actor != "ann" || got[2].Actor != "bob" || got[3].Actor != "bob" {
				t.Fatalf("Most %d: delivered %d: %+v", most, len(got), got[:min(len(got), 6)])
			}
			if e := got[1]; e.Kind != audit.EventUnreadable || e.Severity != audit.Critical || e.Details["of"] != "1000" || e.Details["position"] != "2" || e.Details["to"] != "1001" || e.Time == 0 {
				t.Errorf("Most %d: told of them by %+v", most, e)
			}
		})
	}
}

// slow is a store of events of which each page is of eight, and takes a while: those are huge.
type slow struct{ ports.Events }

func (s slow) List(ctx context.Context, after uint64, limit int) ([]audit.Event, uint64, error) {
	select {
	case <-ctx.Done():
		return nil, after, ctx.Err()
	case <-time.After(400 * time.Millisecond):
	}
	return s.Events.List(ctx, after, min(limit, 8))
}

// TestHugeSpoiledEventsHoldNobodyUp: however long it takes to read a run of them, a sink gets on.
func TestHugeSpoiledEventsHoldNobodyUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.core.Now = time.Now
		w.core.Stores.Events = slow{w.store.Events()}
		sink := &heard{}
		s, err := app.NewSinks(w.core, slog.New(slog.DiscardHandler), app.SinkOptions{Name: "all", Sink: sink})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { defer close(done); s.Run(ctx) }()
		after(3 * time.Second)
		w.spoil(800)
		w.tell(1, "bob")
		after(3 * time.Minute)
		cancel()
		<-done
		got := sink.has()
		n := 0
		for i := range got {
			of, _ := strconv.Atoi(got[i].Details["of"])
			n += of
		}
		if len(got) > 60 || n != 800 || got[len(got)-1].Actor != "bob" {
			t.Errorf("delivered %d, which tell of %d", len(got), n)
		}
	})
}

// TestManyAreOneInTheLiveFeed: who looks on is told of them in a few events, and hears what follows.
func TestManyAreOneInTheLiveFeed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.core.Now = time.Now
		live := app.NewLive(quiet{}, w.store.Events(), clearSealer{})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { defer close(done); live.Run(ctx) }()
		sub, err := live.Subscribe(t.Context(), id.User{})
		if err != nil {
			t.Fatal(err)
		}
		w.spoil(1000)
		w.tell(1, "bob")
		told := 0
		for {
			e, err := sub.Next(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if e.Actor == "bob" {
				break
			}
			if told++; e.Time == 0 {
				t.Errorf("told of %+v", e.Event)
			}
		}
		if told == 0 || told > 10 {
			t.Errorf("told of a thousand by %d events", told)
		}
		cancel()
		<-done
	})
}

// quiet is a journal that says nothing.
type quiet struct{}

func (quiet) Write(context.Context, ...audit.Event) {}

// TestSpoiledEventsAreAlerted: whoever spoils events raises one alert, which counts them; another node does not tell again of those, and tells of what is spoiled later.
func TestSpoiledEventsAreAlerted(t *testing.T) {
	const rules = "event_unreadable=1/10m/1s"
	w := newWatchtower(t, rules)
	w.tell(2, "ann")
	w.spoil(1000)
	w.tell(1, "bob")
	got := w.watch(w.alerts)
	if len(got) != 1 || got[0].Rule != "event_unreadable" || got[0].Severity != audit.Critical || got[0].Count != 1000 || got[0].Raised != 1 || got[0].Contain != "xteam audit verify" {
		t.Fatalf("alerts: %+v", got)
	}
	if raised := w.raised(); len(raised) != 1 || raised[0].Severity != audit.Critical || raised[0].Details["count"] != strconv.Itoa(1000) {
		t.Fatalf("told: %+v", raised)
	}
	w.turn(2 * time.Second) // past the cool-down
	if got = w.watch(w.another(rules)); len(got) != 1 || len(w.raised()) != 1 {
		t.Fatalf("another node told again: %+v", got)
	}
	w.spoil(1)
	if got = w.watch(w.another(rules)); len(got) != 1 || len(w.raised()) != 2 {
		t.Fatalf("what was spoiled later: %+v", got)
	}
	// What follows is judged as ever.
	w.user("cid")
	for range 20 {
		w.turn(time.Second)
		w.guess("cid", "203.0.113.1")
	}
	if got = w.watch(w.another(rules)); !slices.ContainsFunc(got, func(a alert.Alert) bool { return a.Rule == "failed_sign_ins_by_account" }) {
		t.Errorf("what follows: %+v", got)
	}
}

// TestSpoiledEventsAreCarriedOver: a transfer carries them over as what they are, says where they stood, may be begun again, and the copy's trail holds and tells the same.
func TestSpoiledEventsAreCarriedOver(t *testing.T) {
	w := newWorld(t)
	trail := w.trail(app.TrailOptions{})
	w.tell(3, "ann")
	w.spoil(2)
	w.tell(1, "bob")
	link(t, trail, 6)
	w.spoil(1) // which is not linked
	w.tell(1, "cid")
	into := newWorld(t, func(c *app.Core) { c.Random = rand.Reader })
	for range 2 {
		if _, err := app.CopyKeys(t.Context(), w.core.Stores.Keys, into.core.Stores.Keys); err != nil {
			t.Fatal(err)
		}
		got, err := app.Transfer(t.Context(), w.core.Stores, into.core.Stores)
		if err != nil || got.Events != 8 || !slices.Equal(got.Unreadable, []uint64{4, 5, 7}) || got.MoreUnreadable != 0 {
			t.Fatalf("Transfer: %+v, %v", got, err)
		}
		if err := app.Compare(t.Context(), w.core.Stores, into.core.Stores); err != nil {
			t.Fatalf("Compare: %v", err)
		}
		if n, err := app.CopyTrail(t.Context(), w.core.Stores, into.core.Stores, clearSealer{}, time.Now); err != nil || n != 6 {
			t.Fatalf("CopyTrail: %d, %v", n, err)
		}
	}
	copied := into.trail(app.TrailOptions{})
	link(t, copied, 2)
	r, err := copied.Verify(t.Context())
	if err != nil || !r.Holds() || r.Lost != 3 || len(r.Findings) != 2 || r.Findings[0].Seq != 4 || r.Findings[0].To != 5 || r.Findings[1].Seq != 7 {
		t.Fatalf("the copy: %+v, %v", r, err)
	}

	// A target that holds whole what the source has lost is not taken for another system's; nor is a trail carried over that does not hold.
	w.store.Spoil(1)
	if _, err := app.Transfer(t.Context(), w.core.Stores, into.core.Stores); err == nil || !strings.Contains(err.Error(), "cannot be read any more on one side") {
		t.Errorf("onto a copy of before: %v", err)
	}
	empty := newWorld(t)
	if got, err := app.Transfer(t.Context(), w.core.Stores, empty.core.Stores); err != nil || !slices.Equal(got.Unreadable, []uint64{1, 4, 5, 7}) {
		t.Errorf("Transfer: %+v, %v", got, err)
	}
	if _, err := app.CopyTrail(t.Context(), w.core.Stores, empty.core.Stores, clearSealer{}, time.Now); !errors.Is(err, app.ErrTrailBroken) || !strings.Contains(err.Error(), "record 1 ") {
		t.Errorf("CopyTrail of one that does not hold: %v", err)
	}
}

// TestTheLatestReadsNoMoreThanItShows: of a trail whose linking has stopped for long.
func TestTheLatestReadsNoMoreThanItShows(t *testing.T) {
	w := newWorld(t)
	w.tell(2000, "ann")
	w.core.Stores.Events = unlisted{w.store.Events()}
	page, err := w.trail(app.TrailOptions{}).Latest(t.Context(), 5)
	if told := w.events(); err != nil || len(page.Unlinked) != 5 || page.Unlinked[4].ID != told[1999].ID {
		t.Errorf("Latest: %d, %v", len(page.Unlinked), err)
	}
}

// unlisted is a store of events of which nobody may read but the end.
type unlisted struct{ ports.Events }

func (unlisted) List(context.Context, uint64, int) ([]audit.Event, uint64, error) {
	return nil, 0, errors.New("all are read")
}
