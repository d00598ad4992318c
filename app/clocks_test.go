package app_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/xteam/xteam/app"
	"github.com/xteam/xteam/ports"
)

// faultyClock is a clock of a store, as a test turns it.
type faultyClock struct {
	ahead, slow time.Duration
	err         error
}

func (c *faultyClock) as(name string) app.Clock {
	return app.Clock{Name: name, Now: func(context.Context) (time.Time, error) {
		<-time.After(c.slow / 2)
		now := time.Now().Add(c.ahead)
		<-time.After(c.slow / 2)
		return now, c.err
	}}
}

// TestClocks: an offset is measured between question and answer, told of once when it is large, and stops what is issued when it is very large; the first known clock leads.
func TestClocks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		database, redis := &faultyClock{}, &faultyClock{}
		c := app.NewClocks(slog.New(slog.NewTextHandler(&log, nil)), time.Now, database.as("the database"), redis.as("Redis"))
		lines := func(words string) int { return strings.Count(log.String(), words) }
		leads := func(want time.Duration) {
			t.Helper()
			now := time.Now()
			if got := c.Shared(now).Sub(now); got != want {
				t.Errorf("limits are counted %v ahead, want %v, by the database's clock", got, want)
			}
		}

		database.ahead, database.slow, redis.ahead = 2*time.Second, 400*time.Millisecond, -3*time.Second
		if err := c.Compare(t.Context()); err != nil || c.Most() != -3*time.Second || c.Far() || log.Len() > 0 {
			t.Errorf("two and three seconds: %v, most %v, told %s", err, c.Most(), &log)
		}
		leads(2 * time.Second)
		database.ahead, database.slow = time.Hour, 700*time.Millisecond // who was under way for so long says nothing
		if err := c.Compare(t.Context()); err != nil {
			t.Errorf("a slow answer was taken: %v", err)
		}
		leads(2 * time.Second)
		database.slow, database.err = 0, ports.ErrUnavailable
		if err := c.Compare(t.Context()); err != nil {
			t.Errorf("an answer with an error was taken: %v", err)
		}
		leads(2 * time.Second)

		database.ahead, database.err = 6*time.Second, nil
		for range 3 {
			if err := c.Compare(t.Context()); err != nil || c.Far() {
				t.Errorf("six seconds: %v", err)
			}
		}
		if lines("that of the database differ") != 1 || lines("Redis") != 0 {
			t.Errorf("told %s, want once, of the database", &log)
		}
		database.ahead = 10 * time.Minute
		if err := c.Compare(t.Context()); !errors.Is(err, app.ErrClock) || !c.Far() || !strings.Contains(err.Error(), "the database is 10m0s ahead") {
			t.Errorf("ten minutes: %v", err)
		}
		database.ahead = -10 * time.Minute
		if err := c.Compare(t.Context()); err == nil || !strings.Contains(err.Error(), "10m0s behind") || lines("No token is issued") != 1 {
			t.Errorf("ten minutes behind: %v, told %s", err, &log)
		}
		database.ahead = 0
		if err := c.Compare(t.Context()); err != nil || c.Far() || lines("issued again") != 1 || lines("agree again") != 1 {
			t.Errorf("right again: %v, told %s", err, &log)
		}

		redis.ahead = 7 * time.Second
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() { defer close(ended); c.Run(ctx) }()
		after(3 * time.Second)
		synctest.Wait()
		if c.Most() != 7*time.Second {
			t.Errorf("it does not go on by itself: most %v", c.Most())
		}
		stop()
		<-ended
	})
	var none *app.Clocks
	if none.Far() || none.Most() != 0 || none.Compare(t.Context()) != nil || !none.Shared(time.Unix(5, 0)).Equal(time.Unix(5, 0)) {
		t.Error("a node alone has no clock to compare with")
	}
	none.Run(t.Context())
}

// TestNoTokenByAWrongClock: while the clock is far off nobody signs in or refreshes, honestly: the password was right.
func TestNoTokenByAWrongClock(t *testing.T) {
	w := newWorld(t)
	w.user("ann")
	first := w.signIn("ann")
	off := &faultyClock{ahead: -6 * time.Minute}
	w.core.Clocks = app.NewClocks(slog.New(slog.DiscardHandler), time.Now, off.as("the database"))
	if err := w.core.Clocks.Compare(t.Context()); err == nil || w.sessions.CanIssue() {
		t.Fatalf("the clock is taken for right: %v", err)
	}
	if _, err := w.sessions.Refresh(t.Context(), home, first.Refresh); !errors.Is(err, ports.ErrUnavailable) {
		t.Errorf("a refresh: %v", err)
	}
	if _, err := w.guard.Admit(first.Access.RevealPlaintext()); err != nil {
		t.Errorf("a token of before: %v", err)
	}
	off.ahead = 0
	if err := w.core.Clocks.Compare(t.Context()); err != nil || !w.sessions.CanIssue() {
		t.Fatalf("the clock is right again: %v", err)
	}
	if _, err := w.sessions.Refresh(t.Context(), home, first.Refresh); err != nil {
		t.Errorf("the same refresh token, when the clock is right: %v", err)
	}
}
