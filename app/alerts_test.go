package app_test

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/xteam/xteam/adapters/memstore"
	"github.com/xteam/xteam/app"
	"github.com/xteam/xteam/domain/alert"
	"github.com/xteam/xteam/domain/apikey"
	"github.com/xteam/xteam/domain/audit"
	"github.com/xteam/xteam/domain/id"
	"github.com/xteam/xteam/domain/session"
	"github.com/xteam/xteam/domain/token"
	"github.com/xteam/xteam/ports"
)

// watchtower is a world whose events are held against the rules.
type watchtower struct {
	*world
	alerts *app.Alerts
	blocks *app.Blocks
}

func newWatchtower(t *testing.T, rules string, change ...func(*app.Core)) *watchtower {
	t.Helper()
	w := &watchtower{world: newWorld(t, change...)}
	w.blocks = app.NewBlocks(w.core, app.BlocksOptions{})
	w.alerts = w.another(rules)
	return w
}

// another is another node's.
func (w *watchtower) another(rules string) *app.Alerts {
	w.t.Helper()
	table, err := alert.ParseRules(rules)
	if err != nil {
		w.t.Fatal(err)
	}
	a, err := app.NewAlerts(w.core, nil, w.blocks, w.revoker, app.AlertsOptions{Rules: table, Every: time.Millisecond, Counts: time.Millisecond})
	if err != nil {
		w.t.Fatal(err)
	}
	return a
}

// watch runs alerts until it has judged what there is, and answers the book.
func (w *watchtower) watch(a *app.Alerts) []alert.Alert {
	w.t.Helper()
	ctx, cancel := context.WithCancel(w.t.Context())
	done := make(chan struct{})
	go func() { defer close(done); a.Run(ctx) }()
	judged := func() bool {
		c, err := w.store.Cursors().Find(w.t.Context(), "alerts")
		if err != nil {
			w.t.Fatal(err)
		}
		more, _, err := w.store.Events().List(w.t.Context(), c.Position, 1)
		return err == nil && c.Revision > 1 && len(more) == 0
	}
	tick, late := time.NewTicker(time.Millisecond), time.After(time.Minute)
	defer tick.Stop()
	for !judged() {
		select {
		case <-tick.C:
		case <-late:
			w.t.Fatal("it was not judged what there is")
		}
	}
	cancel()
	<-done
	b, err := w.store.Alerts().Load(w.t.Context())
	if err != nil {
		w.t.Fatal(err)
	}
	return b.Alerts
}

// guess is a wrong password at an account from an address.
func (w *watchtower) guess(name, address string) {
	w.t.Helper()
	r := app.Request{Origin: session.Origin{Address: netip.MustParseAddr(address)}}
	if err := w.try(r, name, "wrong"); err == nil {
		w.t.Fatal("let in by a wrong password")
	}
}

// TestSprayingIsAlerted: guesses at many accounts from many addresses are one alert, told once, whichever nodes judge them, and what contains it blocks those addresses and no others.
func TestSprayingIsAlerted(t *testing.T) {
	w := newWatchtower(t, "password_spraying=20/10m/15m")
	for i := range 30 {
		w.user(fmt.Sprintf("user%d", i))
	}
	guessed := func(from, to int) {
		for i := from; i < to; i++ {
			w.turn(time.Second)
			w.guess(fmt.Sprintf("user%d", i), fmt.Sprintf("203.0.113.%d", i%10))
		}
	}
	// Somebody signs in from an address before it all begins: they share it with whoever guesses later. Somebody does so in the middle of it: that may be a guess.
	signIn := func(name, address string) {
		w.turn(time.Second)
		if err := w.try(app.Request{Origin: session.Origin{Address: netip.MustParseAddr(address)}}, name, password); err != nil {
			t.Fatal(err)
		}
	}
	signIn("user1", "203.0.113.3")
	guessed(0, 10)
	if got := w.watch(w.alerts); len(got) != 0 {
		t.Fatalf("told early: %+v", got)
	}
	guessed(10, 25)
	second := w.another("password_spraying=20/10m/15m")
	got := w.watch(second)
	if len(got) != 1 || got[0].Rule != "password_spraying" || got[0].Count < 20 || got[0].Severity != audit.Critical || got[0].Contain != "xteam alerts contain "+got[0].ID {
		t.Fatalf("alerts: %+v", got)
	}
	guessed(25, 30)
	if got = w.watch(w.another("password_spraying=20/10m/15m")); len(got) != 1 || got[0].Raised != 1 {
		t.Fatalf("another node told again: %+v", got)
	}
	told := w.raised()
	if len(told) != 1 || told[0].Details["alert"] != got[0].ID || told[0].Details["contain"] != got[0].Contain || told[0].Reason != "password_spraying" {
		t.Fatalf("events: %+v", told)
	}
	signIn("user2", "203.0.113.5")
	for _, dry := range []bool{true, false} {
		out, err := w.alerts.Contain(t.Context(), root, got[0].ID, dry)
		if err != nil || len(out.Blocked) != 9 || len(out.Spared) != 1 || out.Spared[0] != netip.MustParsePrefix("203.0.113.3/32") || len(out.SignedIn) != 1 || out.SignedIn[0] != w.id("user2") {
			t.Fatalf("contain: %+v, %v", out, err)
		}
		if is := w.blocks.Blocked(netip.MustParseAddr("203.0.113.4")); is == dry {
			t.Errorf("dry run %v: blocked %v", dry, is)
		}
	}
	if w.blocks.Blocked(netip.MustParseAddr("203.0.113.3")) || w.blocks.Blocked(netip.MustParseAddr("198.51.100.1")) {
		t.Error("an address is blocked from which nobody guessed, or somebody signs in")
	}
	if out, err := w.alerts.Contain(t.Context(), root, got[0].ID, false); err != nil || len(out.Blocked) != 0 {
		t.Errorf("contained twice: %+v, %v", out, err)
	}
}

// TestAnotherClockBehind: what a node has recorded whose clock is behind is judged as what it is, new, whoever was judged before; and not told again when the work goes to another node.
func TestAnotherClockBehind(t *testing.T) {
	const rules = "failed_sign_ins_by_account=3/10m/1s"
	w := newWatchtower(t, rules)
	w.user("ann")
	bob := w.user("bob")
	w.turn(time.Minute)
	w.guess("ann", "203.0.113.1")
	if got := w.watch(w.alerts); len(got) != 0 {
		t.Fatalf("told early: %+v", got)
	}
	w.turn(-30 * time.Second)
	for range 3 {
		w.guess("bob", "203.0.113.2")
	}
	w.turn(30 * time.Second)
	got := w.watch(w.another(rules))
	if len(got) != 1 || got[0].Group != bob.ID.String() || got[0].Count != 3 || len(w.raised()) != 1 {
		t.Fatalf("alerts: %+v", got)
	}
	w.turn(time.Minute) // past the cool-down: told again, if it were taken for new
	w.guess("ann", "203.0.113.1")
	if got = w.watch(w.another(rules)); len(got) != 1 || len(w.raised()) != 1 {
		t.Fatalf("told again: %+v", got)
	}
	w.guess("bob", "203.0.113.2")
	if got = w.watch(w.another(rules)); len(got) != 1 || len(w.raised()) != 2 {
		t.Fatalf("what is new on a node that counted the rest again: %+v", got)
	}
}

// TestATypedAddressIsNoAddress: whoever signs in by the name of an address has that blocked for nobody.
func TestATypedAddressIsNoAddress(t *testing.T) {
	w := newWatchtower(t, "failed_sign_ins_by_account=3")
	for range 3 {
		w.guess("198.51.100.7", "203.0.113.1")
	}
	got := w.watch(w.alerts)
	if len(got) != 1 || got[0].Group != "198.51.100.7" {
		t.Fatalf("alerts: %+v", got)
	}
	if told := w.raised(); len(told) != 1 || told[0].IPAddress != "" || told[0].Email != "198.51.100.7" {
		t.Errorf("told: %+v", told)
	}
	out, err := w.alerts.Contain(t.Context(), root, got[0].ID, false)
	if err != nil || len(out.Blocked) != 1 || w.blocks.Blocked(netip.MustParseAddr("198.51.100.7")) || !w.blocks.Blocked(netip.MustParseAddr("203.0.113.1")) {
		t.Errorf("contain: %+v, %v", out, err)
	}
}

// raised are the events of alerts.
func (w *watchtower) raised() (all []audit.Event) {
	w.t.Helper()
	events, _, err := w.store.Events().List(w.t.Context(), 0, 1<<20)
	if err != nil {
		w.t.Fatal(err)
	}
	for _, e := range events {
		if e.Kind == audit.AlertRaised {
			all = append(all, e)
		}
	}
	return all
}

// TestEscalationIsContained: who asks again and again for what they may not do, loses what they have.
func TestEscalationIsContained(t *testing.T) {
	w := newWatchtower(t, "privilege_escalation=3")
	ann := w.user("ann")
	tk := w.signIn("ann")
	c := w.caller(tk)
	for range 3 {
		if err := w.guard.Denied(t.Context(), home, c, "GET /admin/users"); !errors.Is(err, app.ErrForbidden) {
			t.Fatal(err)
		}
	}
	got := w.watch(w.alerts)
	if len(got) != 1 || got[0].Group != ann.ID.String() || !strings.HasPrefix(got[0].Contain, "xteam revoke --user "+ann.ID.String()) {
		t.Fatalf("alerts: %+v", got)
	}
	if told := w.raised(); len(told) != 1 || told[0].Subject != ann.ID.String() {
		t.Errorf("told: %+v", told)
	}
	if out, err := w.alerts.Contain(t.Context(), root, got[0].ID, false); err != nil || out.SessionsEnded != 1 {
		t.Fatalf("contain: %+v, %v", out, err)
	}
	if _, err := w.admit(tk); err == nil {
		t.Error("let in after it was contained")
	}
	is, err := w.alerts.Ack(t.Context(), root, got[0].ID)
	if err != nil || is.Open() || is.AckedBy != root.Name {
		t.Errorf("ack: %+v, %v", is, err)
	}
	if s, err := w.alerts.Silence(t.Context(), root, got[0].ID, false, time.Hour); err != nil || s.Group != ann.ID.String() {
		t.Errorf("silence: %+v, %v", s, err)
	}
	for _, refusal := range []error{
		second(w.alerts.Ack(t.Context(), root, "unknown")), second(w.alerts.Find(t.Context(), "")), second(w.alerts.Silence(t.Context(), root, "unknown", true, time.Hour)), second(w.alerts.Contain(t.Context(), root, "x", true)),
	} {
		if !errors.Is(refusal, alert.ErrUnknown) {
			t.Errorf("got %v", refusal)
		}
	}
	if err := second(w.alerts.Silence(t.Context(), root, got[0].ID, false, time.Second)); !errors.Is(err, app.ErrSilence) {
		t.Errorf("a short silence: %v", err)
	}
	test, _, err := w.alerts.Test(t.Context(), root)
	if err != nil || test.Rule != alert.TestAlert || test.Raised != 1 {
		t.Errorf("test: %+v, %v", test, err)
	}
	if err := second(w.alerts.Contain(t.Context(), root, test.ID, true)); !errors.Is(err, app.ErrNotContainable) {
		t.Errorf("a test contained: %v", err)
	}
}

// forgetful is a book that fails once.
type forgetful struct {
	ports.Alerts
	fail bool
}

func (f *forgetful) Update(ctx context.Context, change func(alert.Book) (alert.Book, ports.Effects, error)) error {
	if f.fail {
		f.fail = false
		return ports.ErrUnavailable
	}
	return f.Alerts.Update(ctx, change)
}

// TestAnAlertThatCannotBeKept is kept later, and its events are not counted twice.
func TestAnAlertThatCannotBeKept(t *testing.T) {
	book := &forgetful{fail: true}
	w := newWatchtower(t, "failed_sign_ins_by_address=3", func(c *app.Core) { book.Alerts, c.Stores.Alerts = c.Stores.Alerts, book })
	w.user("ann")
	for range 3 {
		w.guess("ann", "203.0.113.1")
	}
	w.core.Now = time.Now // pauses after a failure are by the clock
	got := w.watch(w.alerts)
	if len(got) != 1 || got[0].Count != 3 || book.fail {
		t.Fatalf("alerts: %+v", got)
	}
}

// TestRefusalsThatAreOnlyToldAreCounted: of any number of them a few events are kept, which stand for all.
func TestRefusalsThatAreOnlyToldAreCounted(t *testing.T) {
	w := newWatchtower(t, "")
	limiter, err := app.NewLimiter(memstore.NewBuckets(memstore.BucketsOptions{}), w.core.Journal, rand.Reader, app.LimiterOptions{})
	if err != nil {
		t.Fatal(err)
	}
	w.core.Limiter = limiter
	before := len(w.events())
	for i := range 5000 {
		address := fmt.Sprintf("198.51.100.%d", i%100)
		if i%10 == 0 {
			address = "203.0.113.9"
		}
		w.guard.Refused(t.Context(), app.Request{Origin: session.Origin{Address: netip.MustParseAddr(address)}}, app.Caller{}, "GET /", apikey.ErrInvalid)
	}
	got := w.watch(w.another("api_key_refusals=460"))
	if len(got) != 1 || got[0].Group != "203.0.113.9" || got[0].Count != 500 || !strings.HasPrefix(got[0].Contain, "xteam blocked-ips add 203.0.113.9 ") {
		t.Errorf("alerts: %+v", got)
	}
	if kept := len(w.events()) - before; kept > 30 {
		t.Errorf("%d events are kept", kept)
	}
}

// comes waits until something is so.
func comes(t *testing.T, what string, is func() bool) {
	t.Helper()
	tick, late := time.NewTicker(time.Millisecond), time.After(time.Minute)
	defer tick.Stop()
	for !is() {
		select {
		case <-tick.C:
		case <-late:
			t.Fatalf("not within a minute: %s", what)
		}
	}
}

// absent is a store of events that does not answer while it is away.
type absent struct {
	ports.Events
	away  atomic.Bool
	tries atomic.Int64
}

func (s *absent) Record(ctx context.Context, events ...audit.Event) error {
	if s.tries.Add(1); s.away.Load() {
		return ports.ErrUnavailable
	}
	return s.Events.Record(ctx, events...)
}

// TestCountedRefusalsOutliveTheStore: what was counted while the store was away is told of once it is back, and is bounded until then, whatever comes.
func TestCountedRefusalsOutliveTheStore(t *testing.T) {
	store := &absent{}
	w := newWatchtower(t, "", func(c *app.Core) {
		store.Events, c.Stores.Events = c.Stores.Events, store
		l, err := app.NewLimiter(memstore.NewBuckets(memstore.BucketsOptions{}), c.Journal, rand.Reader, app.LimiterOptions{Now: c.Now})
		if err != nil {
			t.Fatal(err)
		}
		c.Limiter = l
	})
	store.away.Store(true)
	store.tries.Store(0)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); w.alerts.Run(ctx) }()
	const rounds, each = 4, 3000
	for round := range rounds {
		for i := range each {
			address := netip.AddrFrom4([4]byte{10, byte(round), byte(i >> 8), byte(i)})
			w.guard.Refused(t.Context(), app.Request{Origin: session.Origin{Address: address}}, app.Caller{Claims: &token.Claims{APIKey: id.APIKey{1, byte(round), byte(i >> 8), byte(i)}, Subject: id.User{1}}}, "GET /", apikey.ErrInvalid)
		}
		before := store.tries.Load()
		comes(t, "it was tried again to hand the counts over", func() bool { return store.tries.Load() > before+1 })
		if n := w.core.Limiter.Counted(); n > app.MaxCounted {
			t.Fatalf("%d entries are held, want at most %d", n, app.MaxCounted)
		}
	}
	store.away.Store(false)
	of := func() (n int) {
		for _, e := range w.events() {
			if e.Kind == audit.APIKeyRefused && e.Details["api_key"] == "" {
				more, err := strconv.Atoi(e.Details["of"])
				if err != nil {
					t.Fatal(err)
				}
				n += more
			}
		}
		return n
	}
	comes(t, "all were told of", func() bool { return of() == rounds*each })
	cancel()
	<-done
	if n := of(); n != rounds*each {
		t.Errorf("%d refusals are told of, want %d", n, rounds*each)
	}
}

// TestCountedRefusalsAreHandedOverAtTheEnd: a node that stops loses none.
func TestCountedRefusalsAreHandedOverAtTheEnd(t *testing.T) {
	w := newWatchtower(t, "", func(c *app.Core) {
		l, err := app.NewLimiter(memstore.NewBuckets(memstore.BucketsOptions{}), c.Journal, rand.Reader, app.LimiterOptions{Now: c.Now})
		if err != nil {
			t.Fatal(err)
		}
		c.Limiter = l
	})
	alerts, err := app.NewAlerts(w.core, nil, w.blocks, w.revoker, app.AlertsOptions{Counts: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	for range 7 {
		w.guard.Refused(t.Context(), abroad, app.Caller{}, "GET /", apikey.ErrInvalid)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	alerts.Run(ctx)
	all := w.events()
	if len(all) == 0 || all[len(all)-1].Kind != audit.APIKeyRefused || all[len(all)-1].Details["of"] != "7" || all[len(all)-1].IPAddress != abroadIP {
		t.Errorf("at the end: %+v", all)
	}
}
