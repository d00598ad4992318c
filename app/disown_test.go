package app_test

import (
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/xteam/xteam/app"
	"github.com/xteam/xteam/domain/account"
	"github.com/xteam/xteam/domain/audit"
	"github.com/xteam/xteam/domain/id"
	"github.com/xteam/xteam/domain/instant"
	"github.com/xteam/xteam/domain/revocation"
	"github.com/xteam/xteam/domain/secret"
	"github.com/xteam/xteam/domain/session"
	"github.com/xteam/xteam/ports"
)

// mailbox keeps notices; while it is shut it takes none.
type mailbox struct {
	got  []ports.Notice
	shut bool
}

func (m *mailbox) Notify(_ context.Context, n ports.Notice) error {
	if m.shut {
		return errors.New("nobody is there")
	}
	m.got = append(m.got, n)
	return nil
}

func (w *world) from(name, address string) app.Tokens {
	w.t.Helper()
	l, err := account.ParseLogin("", name)
	if err != nil {
		w.t.Fatal(err)
	}
	tk, err := w.sessions.Login(context.Background(), app.Request{Origin: session.Origin{Address: netip.MustParseAddr(address), UserAgent: "curl"}}, l, secret.New(password))
	if err != nil {
		w.t.Fatal(err)
	}
	return tk
}

// tokenOf is what the link of a notice is good by.
func tokenOf(t testing.TB, n *ports.Notice) secret.Text {
	t.Helper()
	_, text, ok := strings.Cut(n.Link.RevealPlaintext(), app.DisownPath+"#token=")
	plain, err := url.QueryUnescape(text)
	if !ok || err != nil {
		t.Fatalf("the link is not whole: %v", err)
	}
	return secret.New(plain)
}

func TestUsersAreToldOfNewNetworks(t *testing.T) {
	w := newWorld(t)
	box := &mailbox{}
	d := app.NewDisowner(w.core, clearSealer{}, box, "https://id.example.com/")
	w.user("ann")
	w.from("ann", "192.0.2.7") // the first, of somebody who came a moment ago
	w.from("ann", "192.0.2.200")
	strange := w.caller(w.from("ann", "198.51.100.9")).Session()
	w.from("ann", "198.51.100.10")
	w.user("old")
	w.turn(2 * time.Hour)
	w.from("old", "203.0.113.5") // nobody knows from where they used to come
	events := w.events()
	box.shut = true
	if err := d.Deliver(t.Context(), events...); err == nil {
		t.Error("what was not taken is delivered")
	}
	box.shut = false
	if err := d.Deliver(t.Context(), events...); err != nil {
		t.Fatal(err)
	}
	if len(box.got) != 2 || box.got[0].IPAddress != "198.51.100.9" || box.got[0].Email != "ann@example.com" || box.got[1].Username != "old" {
		t.Fatalf("told of %+v", box.got)
	}
	if _, err := w.revoker.Revoke(t.Context(), root, app.Selector{Session: strange.String()}, "", false); err != nil {
		t.Fatal(err)
	}
	box.got = nil
	if err := d.Deliver(t.Context(), events...); err != nil || len(box.got) != 2 {
		t.Errorf("of a sign-in that its bearer has ended: %+v, %v", box.got, err)
	}
}

func TestDisown(t *testing.T) {
	w := newWorld(t)
	box := &mailbox{}
	d := app.NewDisowner(w.core, clearSealer{}, box, "")
	w.user("ann")
	mine := w.from("ann", "192.0.2.7")
	strange := w.from("ann", "198.51.100.9")
	again := w.from("ann", "198.51.100.10")
	later := w.from("ann", "203.0.113.1")
	if err := d.Deliver(t.Context(), w.events()...); err != nil || len(box.got) != 2 {
		t.Fatalf("told of %+v, %v", box.got, err)
	}
	token := tokenOf(t, &box.got[0])
	for name, bad := range map[string]string{"nothing": "", "garbage": "\x00\xff", "another form": "eyJ.x.y", "long": strings.Repeat("A", 1<<20), "cut": token.RevealPlaintext()[:20], "changed": "A" + token.RevealPlaintext()[1:]} {
		if _, err := d.Disown(t.Context(), abroad, secret.New(bad)); !errors.Is(err, app.ErrDisown) {
			t.Errorf("%s: %v", name, err)
		}
	}
	var all sync.WaitGroup
	var mu sync.Mutex
	worked := 0
	for range 16 {
		all.Go(func() {
			n, err := d.Disown(context.Background(), abroad, token)
			mu.Lock()
			defer mu.Unlock()
			switch {
			case err == nil && n <= 2: // what another has ended meanwhile is not counted
				worked++
			case !errors.Is(err, app.ErrDisown):
				t.Errorf("at once: %d, %v", n, err)
			}
		})
	}
	all.Wait()
	if worked != 1 || w.count(audit.SignInDisowned) != 1 {
		t.Errorf("the link worked %d times, and is told of %d times", worked, w.count(audit.SignInDisowned))
	}
	for name, tk := range map[string]app.Tokens{"the sign-in": strange, "another from there": again} {
		if _, err := w.admit(tk); err == nil {
			t.Errorf("%s is let in", name)
		}
		if _, err := w.sessions.Refresh(t.Context(), abroad, tk.Refresh); err == nil {
			t.Errorf("%s is refreshed", name)
		}
	}
	for name, tk := range map[string]app.Tokens{"one's own": mine, "another network's": later} {
		if _, err := w.admit(tk); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	w.from("ann", "198.51.100.9") // what was disowned has made that network no known one
	box.got = nil
	if err := d.Deliver(t.Context(), w.events()...); err != nil || len(box.got) != 2 {
		t.Fatalf("told of %+v, %v", box.got, err)
	}
	old := tokenOf(t, &box.got[1])
	w.turn(8 * 24 * time.Hour)
	if _, err := d.Disown(t.Context(), abroad, old); !errors.Is(err, app.ErrDisown) {
		t.Errorf("after eight days: %v", err)
	}
}

// Whoever signs in as somebody else cannot take the link's use away by ending the session that it is for.
func TestDisownAfterALogout(t *testing.T) {
	w := newWorld(t)
	box := &mailbox{}
	d := app.NewDisowner(w.core, clearSealer{}, box, "")
	w.user("ann")
	w.from("ann", "192.0.2.7")
	first := w.from("ann", "198.51.100.9")
	second := w.from("ann", "198.51.100.10")
	if err := w.sessions.Logout(t.Context(), abroad, w.caller(first)); err != nil {
		t.Fatal(err)
	}
	third := w.from("ann", "198.51.100.11")
	if err := d.Deliver(t.Context(), w.events()...); err != nil || len(box.got) != 1 {
		t.Fatalf("told of %+v, %v", box.got, err)
	}
	token := tokenOf(t, &box.got[0])
	if n, err := d.Disown(t.Context(), home, token); err != nil || n != 2 {
		t.Errorf("ended %d, %v", n, err)
	}
	for _, tk := range []app.Tokens{second, third} {
		if _, err := w.admit(tk); err == nil {
			t.Error("a session from there is let in")
		}
	}
	if _, err := d.Disown(t.Context(), home, token); !errors.Is(err, app.ErrDisown) {
		t.Errorf("once more: %v", err)
	}
}

// blindSessions is a store that lists no sessions while it is off.
type blindSessions struct {
	ports.Sessions
	off bool
}

func (b *blindSessions) OfUser(ctx context.Context, uid id.User) ([]session.Session, error) {
	if b.off {
		return nil, ports.ErrUnavailable
	}
	return b.Sessions.OfUser(ctx, uid)
}

// A link whose use failed half-way is good still.
func TestDisownThatFails(t *testing.T) {
	w := newWorld(t)
	blind := &blindSessions{Sessions: w.core.Stores.Sessions}
	w.core.Stores.Sessions = blind
	box := &mailbox{}
	d := app.NewDisowner(w.core, clearSealer{}, box, "")
	w.user("ann")
	w.from("ann", "192.0.2.7")
	w.from("ann", "198.51.100.9")
	second := w.from("ann", "198.51.100.10")
	if err := d.Deliver(t.Context(), w.events()...); err != nil || len(box.got) != 1 {
		t.Fatalf("told of %+v, %v", box.got, err)
	}
	token := tokenOf(t, &box.got[0])
	blind.off = true
	if _, err := d.Disown(t.Context(), home, token); !errors.Is(err, ports.ErrUnavailable) {
		t.Errorf("while the store does not answer: %v", err)
	}
	blind.off = false
	if n, err := d.Disown(t.Context(), home, token); err != nil || n != 2 {
		t.Errorf("afterwards: %d, %v", n, err)
	}
	if _, err := w.admit(second); err == nil {
		t.Error("another session from there is let in")
	}
}

// emptySessions is a store that lists no session: all have been over for more than an hour.
type emptySessions struct{ ports.Sessions }

func (emptySessions) OfUser(context.Context, id.User) ([]session.Session, error) { return nil, nil }

// news is from where sign-ins were told of as from a new network, in order.
func (w *world) news() (all []string) {
	for _, e := range w.events() {
		if n := e.Details["new_network"]; e.Kind == audit.AuthenticationSucceeded && n != "" {
			all = append(all, n)
		}
	}
	return all
}

func (w *world) expectNews(what string, want ...string) {
	w.t.Helper()
	if diff := cmp.Diff(want, w.news()); diff != "" {
		w.t.Errorf("%s: told of new networks (-want +got):\n%s", what, diff)
	}
}

// Whoever signs out each evening comes from a network that is known in the morning, for 90 days.
func TestANetworkIsKnownWhenItsSessionsAreOver(t *testing.T) {
	w := newWorld(t, func(c *app.Core) { c.Stores.Sessions = emptySessions{c.Stores.Sessions} })
	w.user("ann")
	w.turn(2 * time.Hour)
	for range 60 {
		if err := w.sessions.Logout(t.Context(), home, w.caller(w.from("ann", "192.0.2.7"))); err != nil {
			t.Fatal(err)
		}
		w.turn(24 * time.Hour)
	}
	w.expectNews("from home each day", "192.0.2.0/24")
	w.from("ann", "198.51.100.9")
	w.expectNews("from elsewhere", "192.0.2.0/24", "198.51.100.0/24")
	w.turn(80 * 24 * time.Hour)
	w.from("ann", "192.0.2.200")
	w.expectNews("from home after 80 days", "192.0.2.0/24", "198.51.100.0/24")
	w.turn(12 * 24 * time.Hour)
	w.from("ann", "198.51.100.9")
	w.expectNews("from elsewhere after 92 days", "192.0.2.0/24", "198.51.100.0/24", "198.51.100.0/24")
	w.user("bob")
	w.turn(2 * time.Hour)
	w.from("bob", "192.0.2.7")
	w.expectNews("somebody else", "192.0.2.0/24", "198.51.100.0/24", "198.51.100.0/24", "192.0.2.0/24")
}

// A network is forgotten from which a sign-in was not its user's: by the link of its notice, or because somebody has ended it.
func TestAForeignNetworkIsForgotten(t *testing.T) {
	for what, c := range map[string]struct {
		end    func(w *world, d *app.Disowner, n *ports.Notice, mine, strange app.Tokens) error
		forgot bool
	}{
		"its link": {func(w *world, d *app.Disowner, n *ports.Notice, _, _ app.Tokens) error {
			_, err := d.Disown(w.t.Context(), home, tokenOf(w.t, n))
			return err
		}, true},
		"its user, from another session": {func(w *world, _ *app.Disowner, _ *ports.Notice, mine, strange app.Tokens) error {
			return w.sessions.EndOwn(w.t.Context(), home, w.caller(mine), w.caller(strange).Session())
		}, true},
		"an administrator": {func(w *world, _ *app.Disowner, _ *ports.Notice, _, strange app.Tokens) error {
			_, err := w.revoker.Revoke(w.t.Context(), root, app.Selector{Session: w.caller(strange).Session().String()}, "", false)
			return err
		}, true},
		"whoever signed in": {func(w *world, _ *app.Disowner, _ *ports.Notice, _, strange app.Tokens) error {
			return w.sessions.Logout(w.t.Context(), abroad, w.caller(strange))
		}, false},
		"its user, of one session of two from home": {func(w *world, _ *app.Disowner, _ *ports.Notice, mine, _ app.Tokens) error {
			return w.sessions.EndOwn(w.t.Context(), home, w.caller(mine), w.caller(w.from("ann", "192.0.2.8")).Session())
		}, false},
	} {
		t.Run(what, func(t *testing.T) {
			w := newWorld(t)
			box := &mailbox{}
			d := app.NewDisowner(w.core, clearSealer{}, box, "")
			w.user("ann")
			mine := w.from("ann", "192.0.2.7")
			strange := w.from("ann", "198.51.100.9")
			if err := d.Deliver(t.Context(), w.events()...); err != nil || len(box.got) != 1 {
				t.Fatalf("told of %+v, %v", box.got, err)
			}
			if err := c.end(w, d, &box.got[0], mine, strange); err != nil {
				t.Fatal(err)
			}
			w.core.Stores.Sessions = emptySessions{w.core.Stores.Sessions} // a day later, say
			w.turn(24 * time.Hour)
			w.from("ann", "192.0.2.7")
			w.from("ann", "198.51.100.9")
			want := []string{"198.51.100.0/24"}
			if c.forgot {
				want = append(want, want...)
			}
			w.expectNews("afterwards", want...)
		})
	}
}

// TestASignInStandsWhoseNetworkCannotBeNoted: whoever signs in has their tokens, the log says what is wrong, and no news of the network is lost: it is told of this time, and the next sign-in from there has it noted.
func TestASignInStandsWhoseNetworkCannotBeNoted(t *testing.T) {
	var log strings.Builder
	s := newScene(t, func(c *app.Core) { c.Logger = slog.New(slog.NewTextHandler(&log, nil)) })
	news := func() (all []string) {
		for _, e := range s.events() {
			if of := e.Details["new_network"]; of != "" {
				all = append(all, of)
			}
		}
		return all
	}
	knows := func() bool {
		a, err := s.store.Accounts().Find(t.Context(), s.ann.ID)
		return err == nil && a.Knows(abroad.Origin.Network(), account.KnownFor, instant.Of(s.core.Now()))
	}
	s.stores.after = func(method string) {
		if method == "Sessions.Create" { // the store fails from here on
			s.stores.mu.Lock()
			defer s.stores.mu.Unlock()
			s.stores.all, s.stores.err = before, outage{}
		}
	}
	tk, err := s.signInWith("ann", password)
	s.stores.all, s.stores.after = "", nil
	if err != nil {
		t.Fatalf("the sign-in: %v", err)
	}
	s.works(tk)
	if len(news()) != 1 || knows() {
		t.Errorf("told of %v; noted: %v, while the store failed", news(), knows())
	}
	if n := strings.Count(log.String(), "could not be noted"); n != 1 || !strings.Contains(log.String(), outage{}.Error()) || !strings.Contains(log.String(), s.ann.ID.String()) {
		t.Errorf("the log: %s", log.String())
	}
	if _, err := s.signInWith("ann", password); err != nil || len(news()) != 1 || !knows() {
		t.Errorf("the next: %v; told of %v, noted: %v", err, news(), knows())
	}
}

// TestReuseIsToldWhoseNetworkCannotBeForgotten: a refresh token that is used twice is told of as that, whatever the store does once the session has ended; its network is forgotten when the store can, also by a run that comes after.
func TestReuseIsToldWhoseNetworkCannotBeForgotten(t *testing.T) {
	for name, c := range map[string]struct {
		fails   moment // of the stores, from the end of the session on
		restart bool
	}{
		"the store fails": {before, false},
		"the store fails, and the run ends with it": {before, true},
		"the store does not say what it has stored": {committed, false},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newScene(t)
				run := func() (stop func()) {
					ctx, cancel := context.WithCancel(t.Context())
					done := make(chan struct{})
					go func() { defer close(done); s.sessions.Run(ctx) }()
					synctest.Wait()
					return func() { cancel(); <-done }
				}
				fail := func(when moment) {
					s.stores.mu.Lock()
					defer s.stores.mu.Unlock()
					s.stores.all, s.stores.err = when, outage{}
				}
				knows := func() bool {
					a, err := s.store.Accounts().Find(t.Context(), s.ann.ID)
					return err == nil && a.Knows(netip.MustParsePrefix("198.18.7.0/24"), account.KnownFor, instant.Of(s.core.Now()))
				}
				stop := run()
				tk := s.from("ann", "198.18.7.7")
				s.refreshed(tk)
				s.turn(session.Grace)
				if c.fails == committed {
					fail(committed)
				} else {
					s.stores.after = func(method string) {
						if method == "Sessions.Update" {
							fail(before)
						}
					}
				}
				if _, err := s.sessions.Refresh(t.Context(), home, tk.Refresh); c.fails == before && !hasEnded(revocation.RefreshReuse)(err) || c.fails == committed && !errors.Is(err, ports.ErrUnavailable) {
					t.Errorf("a token that is used twice: %v", err)
				}
				<-time.After(3 * session.Grace) // in the time of the bubble
				synctest.Wait()
				if c.fails == before && !knows() {
					t.Error("the network was forgotten while the store failed")
				}
				if c.restart {
					stop()
				}
				s.stores.after = nil
				fail("")
				if c.restart {
					s.sessions = app.NewSessions(s.core)
					stop = run()
				}
				<-time.After(2 * session.Grace)
				synctest.Wait()
				if knows() {
					t.Error("the network is known afterwards")
				}
				if _, err := s.sessions.Refresh(t.Context(), home, tk.Refresh); !hasEnded(revocation.RefreshReuse)(err) {
					t.Errorf("once more: %v", err)
				}
				stop()
			})
		})
	}
}
