package app_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/xteam/xteam/app"
	"github.com/xteam/xteam/domain/account"
	"github.com/xteam/xteam/domain/audit"
	"github.com/xteam/xteam/domain/id"
	"github.com/xteam/xteam/domain/instant"
	"github.com/xteam/xteam/domain/revocation"
	"github.com/xteam/xteam/domain/session"
	"github.com/xteam/xteam/ports"
)

// slowLists is a store in which counting takes long, or forever.
type slowLists struct {
	ports.Sessions
	slow atomic.Int64 // how long a list takes; below 0: until its context ends
	from int          // the first call that is slow; those before are of a full page
}

func (s *slowLists) OfUser(ctx context.Context, uid id.User) ([]session.Session, error) {
	took := time.Duration(s.slow.Load())
	if s.from--; took == 0 || s.from >= 0 {
		return s.Sessions.OfUser(ctx, uid)
	}
	if took < 0 {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	<-time.After(took)
	return s.Sessions.OfUser(ctx, uid)
}

func (s *slowLists) List(ctx context.Context, after session.Place, limit int) ([]ports.Held, error) {
	all, err := s.Sessions.List(ctx, after, limit)
	took := time.Duration(s.slow.Load())
	if s.from--; s.from >= 0 && len(all) > 0 {
		return slices.Repeat(all[len(all)-1:], limit), err
	}
	if took < 0 {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	if took > 0 {
		<-time.After(took)
	}
	return all, err
}

// TestCountingIsNotRefusing: how long this node took to refuse does not include the counting of what was hit, and what cannot be counted in time is not
// reported as nothing.
func TestCountingIsNotRefusing(t *testing.T) {
	for name, sel := range map[string]app.Selector{"user": {User: "ann"}, "all": {All: true}, "issued before": {IssuedBefore: instant.Of(time.Now())}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				store := &slowLists{}
				w := newWorld(t, func(c *app.Core) { store.Sessions, c.Stores.Sessions, c.Now = c.Stores.Sessions, store, time.Now })
				w.user("ann")
				w.user("bob")
				w.signIn("ann")
				w.signIn("bob")
				if sel.IssuedBefore != 0 {
					<-time.After(time.Second)
					sel.IssuedBefore = instant.Of(time.Now())
				}
				store.slow.Store(int64(time.Second))
				got, err := w.revoker.Revoke(t.Context(), root, sel, "", true)
				if err != nil || got.SessionsEnded == 0 || got.AtLeast || len(got.Nodes) != 0 {
					t.Errorf("a dry run: %+v, %v", got, err)
				}
				want := got.SessionsEnded
				got, err = w.revoker.Revoke(t.Context(), root, sel, "", false)
				if err != nil || got.SessionsEnded != want || got.AtLeast || len(got.Nodes) != 1 || got.Nodes[0].Took >= time.Second {
					t.Errorf("%+v, %v; want %d sessions, and less time than counting them takes", got, err, want)
				}

				store.slow.Store(0)
				w.signIn("ann")
				w.signIn("bob")
				store.slow.Store(-1)
				counted := 0
				if store.from = 0; sel.User == "" {
					store.from, counted = 1, 500 // one page is counted
				}
				if sel.IssuedBefore != 0 {
					<-time.After(time.Second)
					sel.IssuedBefore = instant.Of(time.Now())
				}
				begun := time.Now()
				got, err = w.revoker.Revoke(t.Context(), root, sel, "", false)
				if err != nil || got.SessionsEnded != counted || !got.AtLeast {
					t.Errorf("a store that hangs: %+v, %v; want at least %d", got, err, counted)
				}
				if took := time.Since(begun); took > 10*time.Second {
					t.Errorf("the answer took %v", took)
				}
			})
		})
	}
}

// TestLogoutAllUncounted: a log-out everywhere that cannot count says so, and has logged out.
func TestLogoutAllUncounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &slowLists{}
		w := newWorld(t, func(c *app.Core) { store.Sessions, c.Stores.Sessions, c.Now = c.Stores.Sessions, store, time.Now })
		w.user("ann")
		tk := w.signIn("ann")
		store.slow.Store(-1)
		got, err := w.sessions.LogoutAll(t.Context(), home, w.caller(tk))
		if err != nil || got.SessionsEnded != 0 || !got.AtLeast {
			t.Errorf("%+v, %v", got, err)
		}
		store.slow.Store(0)
		w.dead(tk, revocation.UserRevoked)
	})
}

// TestRevokedSigningKey: while the key that signs is revoked, and no Rotator is there to put another in its place, nothing is issued that no guard takes.
func TestRevokedSigningKey(t *testing.T) {
	w := newWorld(t)
	w.user("ann")
	tk := w.signIn("ann")
	sel := app.Selector{Key: w.caller(tk).Claims.KeyID}
	if !w.sessions.CanIssue() {
		t.Error("before: nothing can be issued")
	}
	for _, dry := range []bool{true, false} {
		got, err := w.revoker.Revoke(t.Context(), root, sel, "", dry)
		if err != nil {
			t.Fatalf("dry %v: %+v, %v", dry, got, err)
		}
		if w.sessions.CanIssue() != dry {
			t.Errorf("dry %v: tokens can be issued: %v", dry, w.sessions.CanIssue())
		}
	}
	if _, err := w.login("ann"); !errors.Is(err, ports.ErrUnavailable) {
		t.Errorf("a sign-in: %v, want it unavailable", err)
	}
	if _, err := w.refresh(tk); !errors.Is(err, ports.ErrUnavailable) {
		t.Errorf("a refresh: %v, want it unavailable", err)
	}
	if got, err := w.revoker.Revoke(t.Context(), root, app.Selector{User: "ann"}, "", false); err != nil || got.Hint != "" {
		t.Errorf("another revocation: %+v, %v; want no hint", got, err)
	}
}

// TestUnknownKey: a mistyped kid is not found, and leaves nothing; a key of before can still be revoked, by force.
func TestUnknownKey(t *testing.T) {
	w := newWorld(t)
	events := len(w.events())
	for _, dry := range []bool{true, false} {
		if _, err := w.revoker.Revoke(t.Context(), root, app.Selector{Key: "hs-typo"}, "", dry); !errors.Is(err, ports.ErrNotFound) {
			t.Errorf("dry %v: %v, want not found", dry, err)
		}
	}
	if w.view.KeyRevoked("hs-typo") || len(w.events()) != events {
		t.Error("it left something")
	}
	for _, dry := range []bool{true, false} {
		if got, err := w.revoker.Revoke(t.Context(), root, app.Selector{Key: "hs-typo", Force: true}, "", dry); err != nil || got.Hint != "" {
			t.Errorf("forced, dry %v: %+v, %v", dry, got, err)
		}
		if w.view.KeyRevoked("hs-typo") == dry {
			t.Errorf("forced, dry %v: revoked %v", dry, !dry)
		}
	}
	var bad *app.SelectorError
	if _, err := w.revoker.Revoke(t.Context(), root, app.Selector{All: true, Force: true}, "", true); !errors.As(err, &bad) || bad.Field != "force" {
		t.Errorf("force beside all: %v", err)
	}
}

// TestIssuedBeforeOfNoTime: a time before all tokens is a mistake, in a dry run too.
func TestIssuedBeforeOfNoTime(t *testing.T) {
	w := newWorld(t)
	var bad *app.SelectorError
	for _, dry := range []bool{true, false} {
		for _, at := range []instant.Instant{-1, instant.Unix(-62_135_596_800)} {
			if _, err := w.revoker.Revoke(t.Context(), root, app.Selector{IssuedBefore: at}, "", dry); !errors.As(err, &bad) || bad.Field != "issued_before" {
				t.Errorf("%d, dry %v: %v", at, dry, err)
			}
		}
	}
}

// TestIssuedBeforeAndTheSameSecond: times in tokens are whole seconds, so a token that is issued later in the second of T is withdrawn with those before; its
// session goes on, and from the next second so do its tokens.
func TestIssuedBeforeAndTheSameSecond(t *testing.T) {
	w := newWorld(t)
	w.user("ann")
	old := w.signIn("ann")
	w.turn(300 * time.Millisecond)
	if _, err := w.revoker.Revoke(t.Context(), root, app.Selector{IssuedBefore: instant.Instant(w.clock.Load())}, "", false); err != nil {
		t.Fatal(err)
	}
	w.dead(old, revocation.BeforeTime)
	w.turn(400 * time.Millisecond)
	tk := w.signIn("ann")
	_, err := w.admit(tk)
	refused(t, err, revocation.BeforeTime)
	w.turn(300 * time.Millisecond)
	tk, err = w.refresh(tk)
	if err != nil {
		t.Fatal(err)
	}
	w.caller(tk)
	w.caller(w.signIn("ann"))
}

// TestSessionsOfAUserAreBounded: one sign-in too many ends the session that was used least recently, and no other.
func TestSessionsOfAUserAreBounded(t *testing.T) {
	w := newWorld(t, func(c *app.Core) { c.Tunables.MaxSessions = 3 })
	w.user("ann")
	w.user("bob")
	bob := w.signIn("bob")
	var all []app.Tokens
	for range 3 {
		all = append(all, w.signIn("ann"))
		w.turn(time.Second)
	}
	var err error
	if all[0], err = w.refresh(all[0]); err != nil {
		t.Fatal(err)
	}
	w.turn(time.Second)
	all = append(all, w.signIn("ann"))
	w.dead(all[1], revocation.SessionEnded)
	for _, i := range []int{0, 2, 3} {
		w.caller(all[i])
	}
	w.caller(bob)
	var last audit.Event
	for _, e := range w.events() {
		if e.Kind == audit.TokenRevoked {
			last = e
		}
	}
	if last.Actor != app.System || last.Reason != revocation.SessionEnded.String() || last.Details["session"] == "" || !strings.Contains(last.Details["note"], "3") {
		t.Errorf("the event of it: %+v", last)
	}
	// Sessions that have ended otherwise do not count, and a cap that was lowered ends all that are too many.
	if err := w.sessions.Logout(t.Context(), home, w.caller(all[3])); err != nil {
		t.Fatal(err)
	}
	w.turn(time.Second)
	all = append(all, w.signIn("ann"))
	for _, i := range []int{0, 2, 4} {
		w.caller(all[i])
	}
	w.core.Tunables.MaxSessions = 1
	w.turn(time.Second)
	all = append(all, w.signIn("ann"))
	for _, i := range []int{0, 2, 4} {
		w.dead(all[i], revocation.SessionEnded)
	}
	w.caller(all[5])
}

// TestTheDefaultBoundOfSessions: a hundred sign-ins live, the next ends one.
func TestTheDefaultBoundOfSessions(t *testing.T) {
	w := newWorld(t)
	w.user("ann")
	first := w.signIn("ann")
	for range 99 {
		w.turn(time.Second)
		w.signIn("ann")
	}
	w.caller(first)
	w.signIn("ann")
	w.dead(first, revocation.SessionEnded)
	l, _ := account.ParseLogin("", "ann")
	acct, err := w.store.Accounts().Named(t.Context(), l)
	if err != nil {
		t.Fatal(err)
	}
	kept, _ := w.store.Sessions().OfUser(t.Context(), acct.ID)
	n := 0
	for i := range kept {
		if kept[i].Live(instant.Instant(w.clock.Load())) {
			n++
		}
	}
	if n != 100 {
		t.Errorf("%d sessions live, want 100", n)
	}
}

// TestNotesAreKept: the words that an administrator gives are in the event of every kind of revocation.
func TestNotesAreKept(t *testing.T) {
	for name, sel := range map[string]func(app.Tokens, app.Caller) app.Selector{
		"user":          func(app.Tokens, app.Caller) app.Selector { return app.Selector{User: "ann"} },
		"session":       func(_ app.Tokens, c app.Caller) app.Selector { return app.Selector{Session: c.Session().String()} },
		"jti":           func(_ app.Tokens, c app.Caller) app.Selector { return app.Selector{JTI: c.Claims.ID.String()} },
		"access token":  func(tk app.Tokens, _ app.Caller) app.Selector { return app.Selector{Token: tk.Access} },
		"refresh token": func(tk app.Tokens, _ app.Caller) app.Selector { return app.Selector{Token: tk.Refresh} },
		"key":           func(_ app.Tokens, c app.Caller) app.Selector { return app.Selector{Key: c.Claims.KeyID} },
		"issued before": func(_ app.Tokens, c app.Caller) app.Selector { return app.Selector{IssuedBefore: c.Claims.IssuedAt} },
		"all":           func(app.Tokens, app.Caller) app.Selector { return app.Selector{All: true} },
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.user("ann")
			tk := w.signIn("ann")
			for _, note := range []string{"a laptop was stolen", ""} {
				if _, err := w.revoker.Revoke(t.Context(), root, sel(tk, w.callerEver(tk)), note, false); err != nil {
					t.Fatal(err)
				}
				all := w.events()
				got, kept := all[len(all)-1].Details["note"]
				if got != note || kept != (note != "") {
					t.Errorf("the event has the note %q (%v), want %q", got, kept, note)
				}
			}
		})
	}
}

// callerEver is whom a token names that may be revoked by now.
func (w *world) callerEver(tk app.Tokens) app.Caller {
	w.t.Helper()
	claims, err := w.core.Codec.Parse(tk.Access.RevealPlaintext())
	if err != nil {
		w.t.Fatal(err)
	}
	return app.Caller{Claims: claims}
}
