package app_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/xteam/xteam/app"
	"github.com/xteam/xteam/domain/audit"
	"github.com/xteam/xteam/domain/secret"
	"github.com/xteam/xteam/domain/session"
	"github.com/xteam/xteam/domain/token"
	"github.com/xteam/xteam/ports"
)

// since are the events that the journal was told of after the first n.
func (j *journal) since(n int) []audit.Event {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.told[n:]
}

// TestRefusedRefreshesAreTold: each leaves one line, with the code that its bearer reads and, once the token has proved itself, with whose it was. None is stored,
// for anybody can cause any number.
func TestRefusedRefreshesAreTold(t *testing.T) {
	for name, try := range map[string]struct {
		text            func(*world, app.Tokens) secret.Text
		reason, revoked string
		known           bool // whose it is
	}{
		"malformed": {func(*world, app.Tokens) secret.Text { return secret.New("xtr_x") }, "token_invalid", "", false},
		"guessed": {func(_ *world, tk app.Tokens) secret.Text {
			link, _ := session.ParseRefresh(tk.Refresh.RevealPlaintext())
			link.Counter = 99
			return link.Text()
		}, "token_invalid", "", false},
		"expired": {func(w *world, tk app.Tokens) secret.Text { w.turn(8 * 24 * time.Hour); return tk.Refresh }, "token_expired", "", true},
		"logged out": {func(w *world, tk app.Tokens) secret.Text {
			_ = w.sessions.Logout(context.Background(), home, w.caller(tk))
			return tk.Refresh
		}, "token_revoked", "logout", true},
		"of a revoked user": {func(w *world, tk app.Tokens) secret.Text {
			_, _ = w.revoker.Revoke(context.Background(), root, app.Selector{User: "ann"}, "", false)
			return tk.Refresh
		}, "token_revoked", "user_revoked", true},
		"reused": {func(w *world, tk app.Tokens) secret.Text { _, _ = w.refresh(tk); w.turn(time.Hour); return tk.Refresh }, "token_revoked", "refresh_reuse", true},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			ann := w.user("ann")
			tk := w.signIn("ann")
			text := try.text(w, tk)
			before, stored := len(w.journal.told), w.count(audit.AccessRefused)
			if _, err := w.sessions.Refresh(t.Context(), abroad, text); err == nil {
				t.Fatal("taken")
			}
			var told []audit.Event
			for _, e := range w.journal.since(before) {
				if e.Kind == audit.AccessRefused {
					told = append(told, e)
				}
			}
			if len(told) != 1 {
				t.Fatalf("%d lines, want 1: %+v", len(told), told)
			}
			e := told[0]
			if e.Reason != try.reason || e.Details["revoked"] != try.revoked || e.Outcome != audit.Failure || e.IPAddress != "198.51.100.9" || e.Details["credential"] != "refresh_token" {
				t.Errorf("told: %+v", e)
			}
			if (e.Subject == ann.ID.String()) != try.known || (e.Details["session"] != "") != try.known || !try.known && e.Subject != "" {
				t.Errorf("it is of %q, session %q; known: %v", e.Subject, e.Details["session"], try.known)
			}
			if w.count(audit.AccessRefused) != stored {
				t.Error("it is stored")
			}
		})
	}
	w := newWorld(t)
	w.user("ann")
	tk := w.signIn("ann")
	w.core.Random = broken{}
	told := len(w.journal.told)
	if _, err := w.refresh(tk); !errors.Is(err, ports.ErrUnavailable) || len(w.journal.since(told)) != 0 {
		t.Errorf("a fault is no refusal: %v, told %+v", err, w.journal.since(told))
	}
}

// TestRepeatsAreTold: whoever is given the live token again is given a new access token, and there is a line of it.
func TestRepeatsAreTold(t *testing.T) {
	w := newWorld(t)
	ann := w.user("ann")
	tk := w.signIn("ann")
	if _, err := w.refresh(tk); err != nil {
		t.Fatal(err)
	}
	told := len(w.journal.told)
	if _, err := w.refresh(tk); err != nil {
		t.Fatal(err)
	}
	got := w.journal.since(told)
	if len(got) != 1 || got[0].Kind != audit.SessionRefreshed || got[0].Subject != ann.ID.String() || got[0].Details["repeated"] != "true" || got[0].Details["session"] == "" {
		t.Errorf("told: %+v", got)
	}
	if n := w.count(audit.SessionRefreshed); n != 1 {
		t.Errorf("%d refreshes are stored, want 1", n)
	}
}

// TestATakenNameIsTold: somebody who tries names out leaves lines.
func TestATakenNameIsTold(t *testing.T) {
	w := newWorld(t)
	w.user("ann")
	told, stored := len(w.journal.told), len(w.events())
	if _, err := w.accounts.Register(t.Context(), abroad, registration(t, "ann")); !errors.Is(err, ports.ErrTaken) {
		t.Fatal(err)
	}
	got := w.journal.since(told)
	if len(got) != 1 || got[0].Kind != audit.RegistrationRefused || got[0].Reason != "taken" || got[0].Outcome != audit.Failure || got[0].Email != "ann@example.com" ||
		got[0].IPAddress != "198.51.100.9" || got[0].Subject != "" || got[0].Actor != "" {
		t.Errorf("told: %+v", got)
	}
	if len(w.events()) != stored {
		t.Error("it is stored")
	}
}

// TestWhoseTokenWasRefused (CVE-2024-51744): a token that was good once names its bearer in the log; one that is invalid names nobody, expired or not.
func TestWhoseTokenWasRefused(t *testing.T) {
	w := newWorld(t)
	ann := w.user("ann")
	tk := w.signIn("ann")
	foreign := newWorld(t, func(c *app.Core) { c.Tunables.Audience = "another" }) // with the same key
	foreign.user("eve")
	other := foreign.signIn("eve")
	refuse := func(tk app.Tokens, want error) audit.Event {
		t.Helper()
		c, err := w.admit(tk)
		if !errors.Is(err, want) {
			t.Fatalf("got %v, want %v", err, want)
		}
		w.guard.Refused(t.Context(), abroad, c, "GET /api/v1/users/me", err)
		return w.journal.told[len(w.journal.told)-1]
	}
	if e := refuse(other, token.ErrInvalid); e.Subject != "" || e.Details["session"] != "" || e.Details["endpoint"] != "/api/v1/users/me" || e.Details["method"] != "GET" {
		t.Errorf("a token for another audience: %+v", e)
	}
	w.turn(time.Hour)
	if e := refuse(other, token.ErrInvalid); e.Subject != "" {
		t.Errorf("a token for another audience, expired: %+v", e)
	}
	sid := w.caller(w.signIn("ann")).Session() // of another sign-in
	if e := refuse(tk, token.ErrExpired); e.Subject != ann.ID.String() || e.Details["session"] == "" || e.Details["session"] == sid.String() || e.Reason != "token_expired" || e.Actor != "" {
		t.Errorf("an expired token: %+v", e)
	}
	tk = w.signIn("ann")
	c := w.caller(tk)
	if err := w.sessions.Logout(t.Context(), home, c); err != nil {
		t.Fatal(err)
	}
	refuseRevoked := func() audit.Event {
		c, err := w.admit(tk)
		w.guard.Refused(t.Context(), abroad, c, "GET /", err)
		return w.journal.told[len(w.journal.told)-1]
	}
	if e := refuseRevoked(); e.Subject != ann.ID.String() || e.Details["session"] != c.Session().String() || e.Details["revoked"] != "logout" || e.Details["endpoint"] != "/" || e.Details["method"] != "GET" {
		t.Errorf("a revoked token: %+v", e)
	}
}
