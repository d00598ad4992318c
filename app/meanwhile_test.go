package app_test

import (
	"context"
	"crypto/rand"
	"errors"
	"io"
	"testing"
	"time"

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

// What other requests do in the middle of one. The stores and the random source call them at the worst moment.

// overtaken is a system's state of which one Load answers what was so before meanwhile ran.
type overtaken struct {
	ports.Sessions
	meanwhile func() // once
}

func (o *overtaken) Standing(ctx context.Context, sid id.Session) (ports.Standing, error) {
	s, err := o.Sessions.Standing(ctx, sid)
	if f := o.meanwhile; f != nil {
		o.meanwhile = nil
		f()
	}
	return s, err
}

// interrupted is a random source of which one reading is preceded by meanwhile, and every later one fails if that answers an error.
type interrupted struct {
	before    int // readings that go on undisturbed
	meanwhile func() error
	err       error
}

func (i *interrupted) Read(b []byte) (int, error) {
	if f := i.meanwhile; f != nil && i.before == 0 {
		i.meanwhile = nil
		i.err = f()
	}
	i.before--
	if i.err != nil {
		return 0, i.err
	}
	return rand.Read(b)
}

func (w *world) refresh(tk app.Tokens) (app.Tokens, error) {
	return w.sessions.Refresh(context.Background(), home, tk.Refresh)
}

// dead demands that neither the access token nor the refresh token is worth anything.
func (w *world) dead(tk app.Tokens, want revocation.Reason) {
	w.t.Helper()
	_, err := w.admit(tk)
	var revoked *revocation.RevokedError
	if !errors.As(err, &revoked) || revoked.Reason != want {
		w.t.Errorf("the access token: %v, want it revoked: %v", err, want)
	}
	_, err = w.refresh(tk)
	var over *session.EndedError
	if !errors.As(err, &over) || over.Reason != want {
		w.t.Errorf("the refresh token: %v, want its session ended: %v", err, want)
	}
}

// TestRefreshOvertakenByARevocation: what is withdrawn between a refresh's look at the system and its end does not come back with its tokens.
func TestRefreshOvertakenByARevocation(t *testing.T) {
	for name, try := range map[string]struct {
		sel  func(*world) app.Selector
		want revocation.Reason
	}{
		"all": {func(*world) app.Selector { return app.Selector{All: true} }, revocation.EpochRaised},
		"issued before": {func(w *world) app.Selector {
			return app.Selector{IssuedBefore: instant.Instant(w.clock.Load())}
		}, revocation.BeforeTime},
	} {
		t.Run(name, func(t *testing.T) {
			state := &overtaken{}
			w := newWorld(t, func(c *app.Core) { state.Sessions, c.Stores.Sessions = c.Stores.Sessions, state })
			w.user("ann")
			old := w.signIn("ann")
			w.turn(time.Minute)
			state.meanwhile = func() {
				w.turn(time.Second)
				if _, err := w.revoker.Revoke(context.Background(), root, try.sel(w), "", false); err != nil {
					t.Error(err)
				}
				w.turn(time.Second)
			}
			next, err := w.refresh(old)
			if err != nil {
				ended(t, err, try.want)
				next = old
			}
			w.dead(next, try.want)
		})
	}
}

// TestRefreshOvertakenByAChangeOfRole: the access token of a refresh has the role that its generation has, whenever that is changed.
func TestRefreshOvertakenByAChangeOfRole(t *testing.T) {
	state := &overtaken{}
	w := newWorld(t, func(c *app.Core) { state.Sessions, c.Stores.Sessions = c.Stores.Sessions, state })
	boss := w.admin("ann")
	w.admin("bob")
	old := w.signIn("ann")
	state.meanwhile = func() {
		if err := w.accounts.SetRole(context.Background(), root, boss.ID, account.RoleUser); err != nil {
			t.Error(err)
		}
	}
	next, err := w.refresh(old)
	if err != nil {
		t.Fatal(err)
	}
	if c, err := w.admit(next); err != nil || c.IsAdmin() {
		t.Errorf("the role was taken away, and a token issued afterwards has it (%v)", err)
	}
}

// TestSignInOvertakenByARevocation: the access token of a sign-in and its session are of one epoch, whenever it is raised.
func TestSignInOvertakenByARevocation(t *testing.T) {
	for n := range 6 {
		w := newWorld(t)
		w.user("ann")
		w.core.Random = &interrupted{before: n, meanwhile: func() error {
			_, err := w.revoker.Revoke(context.Background(), root, app.Selector{All: true}, "", false)
			return err
		}}
		tk := w.signIn("ann")
		_, refusal := w.admit(tk)
		_, end := w.refresh(tk)
		if (refusal == nil) != (end == nil) {
			t.Errorf("revoked before reading %d: the access token: %v, the session: %v", n, refusal, end)
		}
	}
}

// TestRefreshRunsAgain: of an update that a store runs again only the last result counts: what the first made is neither handed out nor told.
func TestRefreshRunsAgain(t *testing.T) {
	store := &again{}
	w := newWorld(t, func(c *app.Core) { store.Sessions, c.Stores.Sessions = c.Stores.Sessions, store })
	w.user("ann")
	old := w.signIn("ann")
	var winner app.Tokens
	store.meanwhile = func() {
		var err error
		if winner, err = w.refresh(old); err != nil {
			t.Error(err)
		}
	}
	loser, err := w.refresh(old)
	if err != nil || !loser.Refresh.Equal(winner.Refresh) {
		t.Fatalf("the overtaken refresh: %v, the winner's token: %v", err, loser.Refresh.Equal(winner.Refresh))
	}
	for _, e := range w.journal.told {
		if e.Kind == audit.SessionRefreshed && e.Details["repeated"] == "" {
			if found := w.stored(e); !found {
				t.Errorf("told of a rotation that was never committed: %+v", e)
			}
		}
	}
}

func (w *world) stored(e audit.Event) bool {
	for _, kept := range w.events() {
		if kept.ID == e.ID {
			return true
		}
	}
	return false
}

// again is a store of sessions that runs the function of one update a first time in vain, then meanwhile.
type again struct {
	ports.Sessions
	meanwhile func() // once
}

func (a *again) Update(ctx context.Context, sid sessionID, change func(session.Session) (session.Session, ports.Effects, error)) error {
	if f := a.meanwhile; f != nil {
		a.meanwhile = nil
		x, err := a.Find(ctx, sid)
		if err != nil {
			return err
		}
		_, _, _ = change(x)
		f()
	}
	return a.Sessions.Update(ctx, sid, change)
}

// TestChangePasswordIsNotHalfDone: whatever fails, the password is the old one or the answer is tokens that work.
func TestChangePasswordIsNotHalfDone(t *testing.T) {
	for n := range 20 {
		w := newWorld(t)
		w.user("ann")
		c := w.caller(w.signIn("ann"))
		w.core.Random = &interrupted{before: n, meanwhile: func() error { return io.ErrUnexpectedEOF }}
		fresh, err := w.sessions.ChangePassword(t.Context(), home, c, secret.New(password), secret.New("another horse"))
		w.core.Random = rand.Reader
		if err == nil {
			if n < 4 {
				t.Errorf("only %d readings are needed?", n)
			}
			w.caller(fresh)
			return
		}
		if !errors.Is(err, ports.ErrUnavailable) {
			t.Fatalf("reading %d fails: %v", n, err)
		}
		if _, err := w.login("ann"); err != nil {
			t.Errorf("reading %d fails, and the password has changed: %v", n, err)
		}
	}
	t.Error("no change of a password went through")
}

// TestChangePasswordTwice: of two changes at once one wins, and the other is a sign-in that failed.
func TestChangePasswordTwice(t *testing.T) {
	w := newWorld(t)
	w.user("ann")
	c := w.caller(w.signIn("ann"))
	w.passwords.between = func() {
		w.passwords.between = nil
		if _, err := w.sessions.ChangePassword(context.Background(), home, c, secret.New(password), secret.New("another horse")); err != nil {
			t.Error(err)
		}
	}
	if _, err := w.sessions.ChangePassword(t.Context(), home, c, secret.New(password), secret.New("a third horse")); !errors.Is(err, account.ErrCredentials) {
		t.Fatalf("the second: %v", err)
	}
	if n := w.count(audit.AuthenticationFailed); n != 1 {
		t.Errorf("%d events of the second, want 1", n)
	}
}
