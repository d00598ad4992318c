package app_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"fmt"
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
	"github.com/xteam/xteam/domain/keyset"
	"github.com/xteam/xteam/ports"
)

// clearSealer seals nothing: what is stored can be looked at.
type clearSealer struct{}

func (clearSealer) Seal(context string, plain []byte) ([]byte, error) {
	return []byte(context + "\x00" + string(plain)), nil
}

func (clearSealer) Open(context string, sealed []byte) ([]byte, error) {
	plain, ok := bytes.CutPrefix(sealed, []byte(context+"\x00"))
	if !ok {
		return nil, ports.ErrUnavailable
	}
	return bytes.Clone(plain), nil
}

func (clearSealer) Index(string, string) (d [16]byte) { return d }

func (w *world) trail(o app.TrailOptions) *app.Trail { return app.NewTrail(w.core, clearSealer{}, o) }

// tell records n events of a user.
func (w *world) tell(n int, who string) {
	w.t.Helper()
	for i := range n {
		e := audit.Event{ID: newEventID(), Time: instant.Of(w.core.Now()), Kind: audit.AuthenticationSucceeded, Severity: audit.Info, Outcome: audit.Success,
			Actor: who, Email: who + "@example.com", IPAddress: "198.51.100.7", Details: map[string]string{"n": fmt.Sprint(i)}}
		if err := w.store.Events().Record(w.t.Context(), e); err != nil {
			w.t.Fatal(err)
		}
	}
}

func link(t testing.TB, trail *app.Trail, want int) {
	t.Helper()
	if n, err := trail.Link(t.Context()); err != nil || n != want {
		t.Fatalf("Link: got %d, error %v; want %d", n, err, want)
	}
}

func whole(t testing.TB, trail *app.Trail, records int, elsewhere ...audit.Checkpoint) audit.Report {
	t.Helper()
	r, err := trail.Verify(t.Context(), elsewhere...)
	if err != nil || !r.OK() || r.Records != records {
		t.Fatalf("Verify: got %d records, findings %v, error %v; want %d", r.Records, r.Findings, err, records)
	}
	return r
}

func TestCommittedEventsAreLinkedOnceInTheirOrder(t *testing.T) {
	w := newWorld(t)
	trail := w.trail(app.TrailOptions{})
	link(t, trail, 0)
	whole(t, trail, 0)
	w.tell(3, "ann")
	w.turn(-time.Hour) // the clock goes back
	w.tell(600, "bob")
	link(t, trail, 603)
	link(t, trail, 0)
	whole(t, trail, 603)
	another := w.trail(app.TrailOptions{}) // begun anew, or another node
	w.tell(2, "ann")
	link(t, another, 2)
	link(t, trail, 0)
	whole(t, another, 605)
	page, err := trail.Page(t.Context(), 0, 1000)
	if err != nil || len(page.Entries) != 605 || len(page.Unlinked) != 0 {
		t.Fatalf("Page: got %d and %d, error %v", len(page.Entries), len(page.Unlinked), err)
	}
	told := w.events()
	for i, e := range page.Entries {
		if e.Record.Event != told[i].ID || e.Personal == nil || e.Personal.Email != told[i].Email || e.Record.Seq != uint64(i)+1 {
			t.Fatalf("record %d is not that of event %d: %+v", e.Record.Seq, i, e)
		}
	}
	w.tell(4, "cid")
	if page, err = trail.Latest(t.Context(), 3); err != nil || len(page.Entries) != 3 || page.Entries[2].Record.Seq != 605 || len(page.Unlinked) != 3 {
		t.Errorf("Latest: got %d and %d, error %v", len(page.Entries), len(page.Unlinked), err)
	}
	w.tell(600, "dora") // which nobody has linked: the last of them are the latest
	told = w.events()
	for _, limit := range []int{3, 1000} { // also where all records fit on the page
		page, err = trail.Latest(t.Context(), limit)
		if n := len(page.Unlinked); err != nil || n != min(limit, 604) || page.Unlinked[n-1].ID != told[len(told)-1].ID || page.Unlinked[0].ID != told[len(told)-n].ID {
			t.Errorf("Latest of %d with many that are not linked: got %d and %d, error %v", limit, len(page.Entries), n, err)
		}
	}
}

func TestNodesThatLinkAtOnceMakeOneChain(t *testing.T) {
	w := newWorld(t)
	var all sync.WaitGroup
	var mu sync.Mutex
	total := 0
	for range 4 {
		trail := w.trail(app.TrailOptions{Records: 10})
		all.Go(func() {
			for range 20 {
				w.tell(1, "ann")
				n, err := trail.Link(context.Background())
				if err != nil {
					t.Error(err)
				}
				mu.Lock()
				total += n
				mu.Unlock()
			}
		})
	}
	all.Wait()
	if r := whole(t, w.trail(app.TrailOptions{}), 80); total != 80 || r.Points == 0 {
		t.Errorf("%d were linked, of 80; %d checkpoints", total, r.Points)
	}
}

// between lets something happen behind the first reading of the head.
type between struct {
	ports.Trail
	once sync.Once
	then func()
}

func (b *between) Head(ctx context.Context) (audit.Head, error) {
	head, err := b.Trail.Head(ctx)
	b.once.Do(b.then)
	return head, err
}

// Another node begins the trail between this one's reading of the head and of the key: nothing was taken away.
func TestATrailThatAnotherNodeBeginsMeanwhile(t *testing.T) {
	w := newWorld(t)
	w.tell(3, "ann")
	core := *w.core
	core.Stores.Trail = &between{Trail: w.core.Stores.Trail, then: func() { link(t, w.trail(app.TrailOptions{}), 4) }}
	w.tell(1, "bob")
	link(t, app.NewTrail(&core, clearSealer{}, app.TrailOptions{}), 0)
	whole(t, w.trail(app.TrailOptions{}), 4)
}

func TestRunLinksWithinASecondAndSendsCheckpoints(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := memstore.New()
		core := &app.Core{Stores: app.Stores{Keys: store.Keys(), System: store.System(), Events: store.Events(), Trail: store.Trail(), TrailCare: store.Trail()}, Random: &counter{}, Now: time.Now, Journal: &journal{}}
		var mu sync.Mutex
		var sent []string
		full := true
		o := app.TrailOptions{Send: func(_ context.Context, line []byte) error {
			mu.Lock()
			defer mu.Unlock()
			if full {
				return errors.New("the disk is full")
			}
			sent = append(sent, string(line))
			return nil
		}}
		trail := app.NewTrail(core, clearSealer{}, o)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { defer close(done); trail.Run(ctx) }()
		tell := func() {
			if err := store.Events().Record(t.Context(), audit.Event{ID: newEventID(), Time: instant.Of(time.Now()), Kind: audit.TokenRevoked}); err != nil {
				t.Fatal(err)
			}
		}
		for i := range 3 {
			tell()
			<-time.After(time.Second)
			synctest.Wait()
			if st := trail.Status(); st.Seq != uint64(i)+1 || st.Lag != 0 || st.Err != nil {
				t.Errorf("a second behind event %d: %+v", i+1, st)
			}
		}
		<-time.After(2 * time.Minute)
		if st := trail.Status(); st.Sent == nil {
			t.Error("a checkpoint that was not sent is not told of")
		}
		mu.Lock()
		full = false
		mu.Unlock()
		<-time.After(2 * time.Minute)
		if st := trail.Status(); st.Sent != nil || len(sent) != 1 || !strings.Contains(sent[0], `"seq":3`) {
			t.Errorf("sent %q, %v", sent, st.Sent)
		}
		<-time.After(time.Hour)
		if len(sent) != 1 {
			t.Errorf("without a new record %d checkpoints were sent, want the one", len(sent))
		}
		tell()
		cancel()
		<-done
		if len(sent) != 2 || !strings.Contains(sent[1], `"seq":4`) {
			t.Errorf("at the end %q were sent, want one of 4 records too", sent)
		}
		whole(t, trail, 4)
	})
}

func TestANodeTakesOverFromOneThatIsGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := memstore.New()
		core := &app.Core{Stores: app.Stores{Keys: store.Keys(), System: store.System(), Events: store.Events(), Trail: store.Trail(), TrailCare: store.Trail()}, Random: &counter{}, Now: time.Now, Journal: &journal{}}
		var trails []*app.Trail
		var cancels []context.CancelFunc
		for range 3 {
			trail := app.NewTrail(core, clearSealer{}, app.TrailOptions{})
			ctx, cancel := context.WithCancel(t.Context())
			go trail.Run(ctx)
			trails, cancels = append(trails, trail), append(cancels, cancel)
		}
		n := uint64(0)
		for i := range 3 {
			for range 10 {
				if err := store.Events().Record(t.Context(), audit.Event{ID: newEventID(), Time: instant.Of(time.Now()), Kind: audit.TokenRevoked}); err != nil {
					t.Fatal(err)
				}
				n++
				<-time.After(2 * time.Second)
				if st := trails[2].Status(); st.Seq != n {
					t.Fatalf("two seconds behind event %d the last node knows of %d", n, st.Seq)
				}
			}
			cancels[i]()
			synctest.Wait()
		}
		whole(t, trails[0], 30)
	})
}

// counter is a source of bytes that differ.
type counter struct {
	mu sync.Mutex
	n  uint64
}

func (c *counter) Read(b []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i := range b {
		c.n = c.n*6364136223846793005 + 1442695040888963407
		b[i] = byte(c.n >> 56)
	}
	return len(b), nil
}

func TestAnErasedUserLeavesATrailThatHolds(t *testing.T) {
	w := newWorld(t)
	trail := w.trail(app.TrailOptions{})
	ann := w.user("ann")
	w.user("bob")
	w.signIn("ann")
	w.signIn("bob")
	if _, err := w.login("ann"); err != nil {
		t.Fatal(err)
	}
	if a, err := w.store.Accounts().Find(t.Context(), ann.ID); err != nil || a.Places.Len() == 0 {
		t.Fatalf("the account knows no network: %v", err)
	}
	export := func() string {
		var b bytes.Buffer
		write, err := trail.Exporting(t.Context(), app.Actor{Name: app.Operator}, app.ExportOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if err := write(t.Context(), &b); err != nil {
			t.Fatal(err)
		}
		return b.String()
	}
	if before := export(); !strings.Contains(before, "ann@example.com") || !strings.Contains(before, "bob@example.com") {
		t.Fatal("the export lacks what is to be erased")
	}
	n, err := trail.Erase(t.Context(), app.Actor{Name: app.Operator}, "ann")
	if err != nil || n < 3 {
		t.Fatalf("Erase: got %d, error %v", n, err)
	}
	if a, err := w.store.Accounts().Find(t.Context(), ann.ID); err != nil || a.Places.Len() != 0 {
		t.Errorf("her networks: %d, %v", a.Places.Len(), err)
	}
	after := export()
	if strings.Contains(after, "ann@example.com") || !strings.Contains(after, "bob@example.com") || !strings.Contains(after, ann.ID.String()) {
		t.Error("what was hers is there, or what was another's is not, or her id is not")
	}
	for _, e := range w.events() {
		if e.Email == "ann@example.com" {
			t.Errorf("an event still names her: %+v", e)
		}
	}
	r, err := trail.Verify(t.Context())
	if err != nil || !r.OK() || r.Erased != n {
		t.Errorf("Verify: %d erased, findings %v, error %v; want %d", r.Erased, r.Findings, err, n)
	}
	if w.count(audit.PersonalDataErased) != 1 {
		t.Error("no event tells of it")
	}
	if n, err := trail.Erase(t.Context(), app.Actor{Name: app.Operator}, strings.Repeat("a", 32)); err != nil || n != 0 {
		t.Errorf("Erase of nobody: got %d, error %v", n, err)
	}
	if _, err := trail.Erase(t.Context(), app.Actor{Name: app.Operator}, "nobody@example.com"); !errors.Is(err, ports.ErrNotFound) {
		t.Errorf("Erase of an unknown name: got error %v, want ErrNotFound", err)
	}
}

// verifiedExport reads an export with the public keys alone.
func verifiedExport(t testing.TB, trail *app.Trail, b []byte) audit.Report {
	t.Helper()
	keys, err := trail.Keys(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	v, err := audit.NewVerifier([]ed25519.PublicKey(keys))
	if err != nil {
		t.Fatal(err)
	}
	f := audit.NewFile(v)
	_, _ = f.Write(b)
	return f.Close()
}

func exported(t testing.TB, trail *app.Trail, o app.ExportOptions) ([]byte, error) {
	t.Helper()
	var b bytes.Buffer
	write, err := trail.Exporting(t.Context(), app.Actor{Name: app.Operator}, o)
	if err != nil {
		return nil, err
	}
	err = write(t.Context(), &b)
	return b.Bytes(), err
}

func TestExports(t *testing.T) {
	w := newWorld(t)
	trail := w.trail(app.TrailOptions{Records: 5})
	if b, err := exported(t, trail, app.ExportOptions{}); err != nil || verifiedExport(t, trail, b).Records != 1 {
		t.Fatalf("an export tells of itself: error %v\n%s", err, b)
	}
	begun := instant.Of(w.core.Now())
	for range 10 {
		w.turn(time.Minute)
		w.tell(3, "ann")
		link(t, trail, 3)
	}
	for name, c := range map[string]struct {
		o     app.ExportOptions
		first uint64
		many  int
	}{
		"everything":    {app.ExportOptions{}, 1, -1},
		"from a time":   {app.ExportOptions{From: begun.Add(9 * time.Minute)}, 26, -1},
		"up to a time":  {app.ExportOptions{To: begun.Add(2 * time.Minute)}, 1, 7},
		"a span":        {app.ExportOptions{From: begun.Add(3 * time.Minute), To: begun.Add(4 * time.Minute)}, 8, 6},
		"nothing":       {app.ExportOptions{From: begun.Add(time.Hour)}, 0, 0},
		"as CEF":        {app.ExportOptions{CEF: true, Version: "1"}, 1, -1},
		"a span as CEF": {app.ExportOptions{CEF: true, From: begun.Add(3 * time.Minute), To: begun.Add(4 * time.Minute)}, 8, 6},
	} {
		t.Run(name, func(t *testing.T) {
			b, err := exported(t, trail, c.o)
			if err != nil {
				t.Fatal(err)
			}
			r := verifiedExport(t, trail, b)
			if !r.OK() || c.many >= 0 && r.Records != c.many || c.first > 0 && r.First != c.first {
				t.Errorf("got %d records from %d on, findings %v; want %d from %d", r.Records, r.First, r.Findings, c.many, c.first)
			}
			for cut := range 4 {
				if r := verifiedExport(t, trail, b[:len(b)*cut/4]); r.OK() {
					t.Errorf("%d quarters of it are taken for the whole", cut)
				}
			}
		})
	}
	if _, err := exported(t, trail, app.ExportOptions{From: 2, To: 1}); !errors.Is(err, app.ErrEmptySpan) {
		t.Errorf("a span that ends before it begins: got error %v", err)
	}
}

// handled is a store whose trail somebody has laid hands on.
type handled struct {
	ports.Trail
	head func(audit.Head) audit.Head
	list func([]audit.Link) []audit.Link
}

func (b *handled) Head(ctx context.Context) (audit.Head, error) {
	h, err := b.Trail.Head(ctx)
	if b.head != nil {
		h = b.head(h)
	}
	return h, err
}

func (b *handled) List(ctx context.Context, after uint64, limit int) ([]audit.Link, error) {
	l, err := b.Trail.List(ctx, after, limit)
	if b.list != nil {
		l = b.list(l)
	}
	return l, err
}

func TestATrailThatWasChangedIsNeitherSignedNorGoneOnWith(t *testing.T) {
	other := newWorld(t)
	foreign := other.trail(app.TrailOptions{})
	other.tell(20, "eve")
	link(t, foreign, 20)
	stolen, err := other.store.Trail().Head(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	without := func(l []audit.Link, gone func(uint64) bool) (kept []audit.Link) {
		for _, one := range l {
			if !gone(one.Record.Seq) {
				kept = append(kept, one)
			}
		}
		return kept
	}
	for name, c := range map[string]struct {
		broken handled
		stops  error // linking
	}{
		"the end is cut off": {broken: handled{list: func(l []audit.Link) []audit.Link { return without(l, func(n uint64) bool { return n > 15 }) }}},
		"all is cut off":     {broken: handled{list: func([]audit.Link) []audit.Link { return nil }}},
		"a record is gone":   {broken: handled{list: func(l []audit.Link) []audit.Link { return without(l, func(n uint64) bool { return n == 7 }) }}},
		"the head is gone":   {broken: handled{head: func(audit.Head) audit.Head { return audit.Head{} }}, stops: app.ErrTrailLost},
		"the head is cut, and what it signs": {broken: handled{head: func(h audit.Head) audit.Head { h.Last.Seq = 15; return h },
			list: func(l []audit.Link) []audit.Link { return without(l, func(n uint64) bool { return n > 15 }) }}, stops: app.ErrTrailForged},
		"the position is moved, so that events are passed over": {broken: handled{head: func(h audit.Head) audit.Head { h.Last.Position += 5; return h }}, stops: app.ErrTrailForged},
		"the head is another chain's":                           {broken: handled{head: func(audit.Head) audit.Head { return stolen }}, stops: app.ErrTrailForged},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			link(t, w.trail(app.TrailOptions{}), 0)
			w.tell(20, "ann")
			link(t, w.trail(app.TrailOptions{}), 20)
			c.broken.Trail = w.store.Trail()
			w.core.Stores.Trail = &c.broken
			trail := w.trail(app.TrailOptions{})
			w.tell(1, "ann")
			if _, err := trail.Link(t.Context()); !errors.Is(err, c.stops) {
				t.Errorf("Link: got error %v, want %v", err, c.stops)
			}
			r, err := trail.Verify(t.Context())
			if err != nil || r.OK() {
				t.Errorf("Verify: got %v, error %v", r.Findings, err)
			}
			b, err := exported(t, trail, app.ExportOptions{})
			if !errors.Is(err, app.ErrTrailBroken) {
				t.Errorf("Export: got error %v, want ErrTrailBroken", err)
			}
			if r := verifiedExport(t, trail, b); r.OK() {
				t.Error("an export of it is taken")
			}
		})
	}
}

func TestWhatIsBesideTheChainIsHeldAgainstIt(t *testing.T) {
	w := newWorld(t)
	trail := w.trail(app.TrailOptions{})
	w.tell(10, "ann")
	link(t, trail, 10)
	for name, change := range map[string]func([]audit.Event) []audit.Event{
		"an address is changed": func(e []audit.Event) []audit.Event { e[4].IPAddress = "203.0.113.9"; return e },
		"an outcome is changed": func(e []audit.Event) []audit.Event { e[4].Outcome = audit.Failure; return e },
		"an event is removed":   func(e []audit.Event) []audit.Event { return append(e[:4], e[5:]...) },
		"an event is blank":     func(e []audit.Event) []audit.Event { e[4].Erase(); return e },
	} {
		t.Run(name, func(t *testing.T) {
			core := *w.core
			core.Stores.Events = changedEvents{w.store.Events(), change}
			r, err := app.NewTrail(&core, clearSealer{}, app.TrailOptions{}).Verify(t.Context())
			if err != nil || len(r.Findings) != 1 || r.Findings[0].Fault != audit.Beside || r.Findings[0].Seq != 5 {
				t.Errorf("got %v, error %v; want one finding beside record 5", r.Findings, err)
			}
		})
	}
}

type changedEvents struct {
	ports.Events
	change func([]audit.Event) []audit.Event
}

func (c changedEvents) List(ctx context.Context, after uint64, limit int) ([]audit.Event, uint64, error) {
	e, last, err := c.Events.List(ctx, after, limit)
	if len(e) > 5 {
		e = c.change(e)
	}
	return e, last, err
}

func TestRetentionLeavesATrailThatHolds(t *testing.T) {
	w := newWorld(t)
	trail := w.trail(app.TrailOptions{})
	for range 5 {
		w.tell(10, "ann")
		link(t, trail, 10)
		w.turn(24 * time.Hour)
	}
	before := whole(t, trail, 50)
	n, err := trail.Cut(t.Context(), app.Actor{Name: app.System}, instant.Of(w.core.Now()).Add(-60*time.Hour))
	if err != nil || n != 30 {
		t.Fatalf("Cut: got %d, error %v; want 30", n, err)
	}
	link(t, trail, 1)
	if r := whole(t, trail, 21, before.Last); r.First != 31 {
		t.Errorf("what is left begins with %d, want 31", r.First)
	}
	if b, err := exported(t, trail, app.ExportOptions{}); err != nil || !verifiedExport(t, trail, b).OK() {
		t.Errorf("an export of the rest: error %v", err)
	}
	if e := w.events(); len(e) != 22 {
		t.Errorf("%d events are left, want 22", len(e))
	}
	w.turn(1000 * 24 * time.Hour)
	if n, err := trail.Cut(t.Context(), app.Actor{Name: app.System}, instant.Of(w.core.Now())); err != nil || n == 0 {
		t.Errorf("Cut: got %d, error %v", n, err)
	}
	link(t, trail, 1)
	if r, err := trail.Verify(t.Context()); err != nil || !r.OK() || r.Records == 0 {
		t.Errorf("the last batch stays: %+v, error %v", r, err)
	}
	if r, err := trail.Verify(t.Context(), before.Last); err != nil || !r.OK() {
		t.Errorf("a checkpoint of before the cut: %v, error %v", r.Findings, err)
	}
}

func TestATrailIsCarriedOver(t *testing.T) {
	from := newWorld(t)
	trail := from.trail(app.TrailOptions{})
	for range 3 {
		from.tell(300, "ann")
		link(t, trail, 300)
		from.turn(24 * time.Hour)
	}
	if _, err := trail.Cut(t.Context(), app.Actor{Name: app.System}, instant.Of(from.core.Now()).Add(-60*time.Hour)); err != nil {
		t.Fatal(err)
	}
	link(t, trail, 1)
	from.tell(2, "bob") // not linked yet
	to := newWorld(t)
	if _, err := app.CopyKeys(t.Context(), from.core.Stores.Keys, to.core.Stores.Keys); err != nil {
		t.Fatal(err)
	}
	for range 2 { // once more changes nothing
		if _, err := app.Transfer(t.Context(), from.core.Stores, to.core.Stores); err != nil {
			t.Fatal(err)
		}
		if n, err := app.CopyTrail(t.Context(), from.core.Stores, to.core.Stores, clearSealer{}, from.core.Now); err != nil || n != 901 {
			t.Fatalf("CopyTrail: got %d, error %v; want 901", n, err)
		}
		whole(t, to.trail(app.TrailOptions{}), 601)
	}
	link(t, to.trail(app.TrailOptions{}), 2)
	whole(t, to.trail(app.TrailOptions{}), 603)
	if n, err := app.CopyTrail(t.Context(), from.core.Stores, to.core.Stores, clearSealer{}, from.core.Now); err != nil || n != 901 {
		t.Errorf("CopyTrail to a trail that went on: got %d, error %v", n, err)
	}
	link(t, trail, 2)
	from.tell(1, "eve")
	link(t, trail, 1)
	to.tell(1, "ann")
	link(t, to.trail(app.TrailOptions{}), 1)
	if _, err := app.CopyTrail(t.Context(), from.core.Stores, to.core.Stores, clearSealer{}, from.core.Now); err == nil {
		t.Error("CopyTrail to a trail that went another way: got no error")
	}
	from.core.Stores.Trail = &handled{Trail: from.store.Trail(), list: func(l []audit.Link) []audit.Link { return l[:len(l)/2] }}
	if _, err := app.CopyTrail(t.Context(), from.core.Stores, to.core.Stores, clearSealer{}, from.core.Now); !errors.Is(err, app.ErrTrailBroken) {
		t.Errorf("CopyTrail of a trail that does not hold: got error %v, want ErrTrailBroken", err)
	}
}

func TestReviewsAreTold(t *testing.T) {
	w := newWorld(t)
	trail := w.trail(app.TrailOptions{})
	if err := trail.Review(t.Context(), app.Actor{Name: app.Operator}, strings.Repeat("x", 501)); err == nil {
		t.Error("a note of 501 bytes was taken")
	}
	if err := trail.Review(t.Context(), app.Actor{Name: app.Operator}, "looked at all of May"); err != nil {
		t.Fatal(err)
	}
	link(t, trail, 1)
	if r := whole(t, trail, 1); r.Reviewed != instant.Of(w.core.Now()) {
		t.Errorf("the last review is said to be of %s", r.Reviewed)
	}
}

// A process may die between any two calls of the start: the next one goes on, and takes nothing for lost.
func TestAStartThatWasInterruptedIsGoneOnWith(t *testing.T) {
	for calls := range 6 {
		w := newWorld(t)
		dying := *w.core
		left := calls
		dying.Stores.Keys = dyingKeys{w.store.Keys(), &left}
		dying.Stores.Trail = dyingTrail{w.store.Trail(), &left}
		w.tell(3, "ann")
		_, err := app.NewTrail(&dying, clearSealer{}, app.TrailOptions{}).Link(t.Context())
		if (err == nil) != (calls >= 4) { // Create, Append, Update, Append
			t.Errorf("dead behind %d writes: got error %v", calls, err)
		}
		trail := w.trail(app.TrailOptions{})
		if _, err := trail.Link(t.Context()); err != nil {
			t.Errorf("behind a start that died after %d writes: %v", calls, err)
		}
		whole(t, trail, 3)
	}
}

var errDead = errors.New("dead")

func alive(left *int) error {
	if *left--; *left < 0 {
		return errDead
	}
	return nil
}

type dyingKeys struct {
	ports.Keys
	left *int
}

func (d dyingKeys) Create(ctx context.Context, r keyset.Ring, e ports.Effects) error {
	if err := alive(d.left); err != nil {
		return err
	}
	return d.Keys.Create(ctx, r, e)
}

func (d dyingKeys) Update(ctx context.Context, name string, change func(keyset.Ring) (keyset.Ring, ports.Effects, error)) error {
	if err := alive(d.left); err != nil {
		return err
	}
	return d.Keys.Update(ctx, name, change)
}

type dyingTrail struct {
	ports.Trail
	left *int
}

func (d dyingTrail) Append(ctx context.Context, was audit.Checkpoint, links []audit.Link, next audit.Checkpoint) error {
	if err := alive(d.left); err != nil {
		return err
	}
	return d.Trail.Append(ctx, was, links, next)
}

func newEventID() (v id.Event) {
	if _, err := rand.Read(v[:]); err != nil {
		panic(err)
	}
	return v
}

// damagedTrail is a trail of which records were changed so that they cannot be read.
type damagedTrail struct {
	ports.Trail
	records []uint64
	head    bool
}

func (d damagedTrail) Head(ctx context.Context) (audit.Head, error) {
	if d.head {
		return audit.Head{}, &audit.DamagedError{Err: ports.ErrUnavailable}
	}
	return d.Trail.Head(ctx)
}

func (d damagedTrail) List(ctx context.Context, after uint64, limit int) ([]audit.Link, error) {
	links, err := d.Trail.List(ctx, after, limit)
	if i := slices.IndexFunc(links, func(l audit.Link) bool { return slices.Contains(d.records, l.Record.Seq) }); i > 0 {
		return links[:i], err
	} else if i == 0 {
		return nil, &audit.DamagedError{At: links[0].Record.Seq, Err: ports.ErrUnavailable}
	}
	return links, err
}

// damagedEvents is the same of events, by their positions.
type damagedEvents struct {
	ports.Events
	at uint64
}

func (d damagedEvents) List(ctx context.Context, after uint64, limit int) ([]audit.Event, uint64, error) {
	if after < d.at {
		limit = int(min(uint64(limit), d.at-1-after))
	}
	if limit == 0 && after+1 == d.at {
		return nil, after, &audit.DamagedError{At: d.at, Err: ports.ErrUnavailable}
	}
	return d.Events.List(ctx, after, limit)
}

// Whoever has the store and not the keys can only spoil what is sealed in it. That is found with its place, as any other change is, and is no outage.
func TestWhatCannotBeReadIsNamed(t *testing.T) {
	w := newWorld(t)
	trail := w.trail(app.TrailOptions{})
	w.tell(600, "ann")
	link(t, trail, 600)
	good := w.core.Stores.Trail
	for n, c := range []struct { // an export is told of itself: there is one record more after each
		records []uint64
		places  []string
	}{
		{[]uint64{1}, []string{"changed 1"}},
		{[]uint64{30}, []string{"changed 30"}},
		{[]uint64{30, 31, 300}, []string{"changed 30", "changed 31", "changed 300"}},
		{[]uint64{256, 257}, []string{"changed 256", "changed 257"}},
		{[]uint64{600}, []string{"changed 600"}},
	} {
		w.core.Stores.Trail = damagedTrail{Trail: good, records: c.records}
		spoiled := w.trail(app.TrailOptions{})
		report, err := spoiled.Verify(t.Context())
		var got []string
		for _, f := range report.Findings {
			got = append(got, fmt.Sprint(f.Fault, " ", f.Seq))
		}
		if err != nil || !slices.Equal(got, c.places) || report.Records != 600+n || report.Good != c.records[0]-1 {
			t.Errorf("records %v: got %q, %v, %d records, good up to %d", c.records, got, err, report.Records, report.Good)
		}
		if page, err := spoiled.Page(t.Context(), 0, 1000); err != nil || len(page.Entries) != 600+n-len(c.records) {
			t.Errorf("records %v: a page has %d, %v", c.records, len(page.Entries), err)
		}
		if _, err := exported(t, spoiled, app.ExportOptions{}); !errors.Is(err, app.ErrTrailBroken) {
			t.Errorf("records %v: an export: %v", c.records, err)
		}
	}
	w.core.Stores.Trail = damagedTrail{Trail: good, head: true}
	if report, err := w.trail(app.TrailOptions{}).Verify(t.Context()); err != nil || len(report.Findings) != 1 || report.Findings[0].Fault != audit.Unsigned {
		t.Errorf("the head: got %v, %v", report.Findings, err)
	}
	w.core.Stores.Trail = good
	w.core.Stores.Events = damagedEvents{w.core.Stores.Events, 40}
	if report, err := w.trail(app.TrailOptions{}).Verify(t.Context()); err != nil || len(report.Findings) != 1 || report.Findings[0].Fault != audit.Beside || report.Findings[0].Seq != 40 {
		t.Errorf("an event: got %v, %v", report.Findings, err)
	}
}
