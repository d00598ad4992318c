package app_test

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"time"

	"github.com/xteam/xteam/app"
	"github.com/xteam/xteam/domain/id"
	"github.com/xteam/xteam/domain/revocation"
	"github.com/xteam/xteam/domain/session"
	"github.com/xteam/xteam/ports"
)

// slowSessions are sessions of which a change waits, and then fails with err.
type slowSessions struct {
	ports.Sessions
	begun, goOn chan struct{}
	err         error
}

func (s *slowSessions) Update(ctx context.Context, sid id.Session, change func(session.Session) (session.Session, ports.Effects, error)) error {
	close(s.begun)
	select {
	case <-s.goOn:
	case <-ctx.Done():
		return ctx.Err()
	}
	if s.err != nil {
		return s.err
	}
	return s.Sessions.Update(ctx, sid, change)
}

// TestALogOutIsInForceAtOnce: who logs out is refused while the database still writes it down, and the answer waits for that. What may turn out to be nothing is in force only afterwards.
func TestALogOutIsInForceAtOnce(t *testing.T) {
	strange := errors.New("it is refused")
	for name, c := range map[string]struct {
		do    func(*world, app.Caller) error
		ahead bool
		err   error
	}{
		"log-out":                      {func(w *world, c app.Caller) error { return w.sessions.Logout(t.Context(), home, c) }, true, nil},
		"log-out that is refused":      {func(w *world, c app.Caller) error { return w.sessions.Logout(t.Context(), home, c) }, true, strange},
		"the end of one's session":     {func(w *world, c app.Caller) error { return w.sessions.EndOwn(t.Context(), home, c, c.Session()) }, false, nil},
		"an end that will not succeed": {func(w *world, c app.Caller) error { return w.sessions.EndOwn(t.Context(), home, c, c.Session()) }, false, strange},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.user("ann")
			tk := w.signIn("ann")
			caller := w.caller(tk)
			owed := app.NewPending(w.core, slog.New(slog.DiscardHandler))
			slow := &slowSessions{w.core.Stores.Sessions, make(chan struct{}), make(chan struct{}), c.err}
			w.core.Stores.Sessions = slow
			done := make(chan error, 1)
			go func() { done <- c.do(w, caller) }()
			<-slow.begun
			refused := func() bool {
				_, err := w.admit(tk)
				var revoked *revocation.RevokedError
				return errors.As(err, &revoked)
			}
			tick := time.NewTicker(time.Millisecond)
			defer tick.Stop()
			for late := time.After(time.Second); c.ahead && !refused(); {
				select {
				case <-tick.C:
				case <-late:
					t.Fatal("let in while it is written down")
				}
			}
			if !c.ahead && refused() {
				t.Error("refused before it is known that there is anything to end")
			}
			select {
			case err := <-done:
				t.Fatalf("answered before it was written down: %v", err)
			default:
			}
			close(slow.goOn)
			err := <-done
			var owes *app.NotDurableError
			switch {
			case c.err == nil && err != nil, c.err != nil && c.ahead != errors.As(err, &owes), c.err != nil && !errors.Is(err, strange) && owes == nil:
				t.Errorf("answered: %v", err)
			}
			if got := refused(); got != (c.ahead || c.err == nil) {
				t.Errorf("refused: %v", got)
			}
			if n := owed.Len(); (n == 1) != (c.ahead && c.err != nil) {
				t.Errorf("%d are owed", n)
			}
		})
	}
}
