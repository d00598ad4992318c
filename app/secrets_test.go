package app_test

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/xteam/xteam/app"
	"github.com/xteam/xteam/domain/secret"
	"github.com/xteam/xteam/ports"
)

// reading are secrets that were read once, over a source that a test changes, and their log.
func reading(t *testing.T, s *safe) (*app.Secrets, *lines) {
	t.Helper()
	log := &lines{}
	all := app.NewSecrets(s, app.SecretsOptions{Random: rand.Reader, Logger: log.logger()})
	if err := all.Read(t.Context()); err != nil {
		t.Fatal(err)
	}
	return all, log
}

// keep runs them until the end of the bubble's test; a goroutine that outlives it fails the bubble.
func keep(t *testing.T, all *app.Secrets) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); all.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-done })
}

func (s *safe) times() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.asked
}

// Through an outage the last good values are used and their age is told; the source is asked ever more seldom, and no change is missed when it is back.
func TestSecretsThroughAnOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSafe(app.SecretKey, keyOne, app.RootKey, rootOne)
		all, log := reading(t, s)
		keep(t, all)
		before := all.Values()
		s.fail(fmt.Errorf("the vault is sealed: %w", ports.ErrUnavailable))
		asked := s.times()
		pass(2 * time.Hour)
		synctest.Wait()
		age, fault := all.Status()
		if age < 2*time.Hour-30*time.Second || age > 2*time.Hour || !errors.Is(fault, ports.ErrUnavailable) {
			t.Errorf("after two hours: %v, %v", age, fault)
		}
		if is := all.Values(); is.Signing != before.Signing || is.Root != before.Root {
			t.Error("the values from before are not there")
		}
		if n := s.times() - asked; n < 24 || n > 36 { // every five minutes, or up to a fifth sooner, but for the first
			t.Errorf("in two hours it was asked %d times", n)
		}
		s.put(app.SecretKey, keyTwo)
		s.fail(nil)
		pass(5*time.Minute + time.Second)
		if age, fault := all.Status(); fault != nil || age > 5*time.Minute || all.Values().Signing != secret.New(keyTwo) {
			t.Errorf("when it answers again: %v, %v", age, fault)
		}
		asked = s.times()
		pass(5 * time.Minute)
		if n := s.times() - asked; n < 9 || n > 14 {
			t.Errorf("in five minutes it was asked %d times, want about every 30 s again", n)
		}
		if bad, good := strings.Count(log.String(), "could not be read"), strings.Count(log.String(), "can be read again"); bad != 1 || good != 1 || strings.Contains(log.String(), "planted") {
			t.Errorf("logged %d and %d times, want once each: %s", bad, good, log)
		}
	})
}

func TestSecretsThatHang(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSafe(app.SecretKey, keyOne)
		all, _ := reading(t, s)
		s.hangs = true
		begun := time.Now()
		if err := all.Read(t.Context()); err == nil || time.Since(begun) > 15*time.Second {
			t.Errorf("after %v: %v", time.Since(begun), err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := all.Read(ctx); !errors.Is(err, context.DeadlineExceeded) || all.Values().Signing != secret.New(keyOne) {
			t.Errorf("with a second: %v", err)
		}
	})
}

// A change is taken up before it is seen. One that is not taken up changes nothing, and is tried again.
func TestChangeIsTakenUpFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSafe(app.SecretKey, keyOne)
		all, log := reading(t, s)
		var fails error
		calls := 0
		all.OnChange(func(_ context.Context, was, is app.SecretValues) error {
			calls++
			if was.Signing != secret.New(keyOne) || is.Signing != secret.New(keyTwo) || all.Values().Signing != secret.New(keyOne) {
				t.Error("the change is not the one that was made, or was seen before it was taken up")
			}
			return fails
		})
		keep(t, all)
		pass(time.Hour)
		if calls != 0 {
			t.Errorf("without a change: %d calls", calls)
		}
		fails = fmt.Errorf("nobody takes it: %w", ports.ErrUnavailable)
		s.put(app.SecretKey, keyTwo)
		pass(time.Hour)
		synctest.Wait()
		if _, fault := all.Status(); calls < 10 || !errors.Is(fault, ports.ErrUnavailable) || all.Values().Signing != secret.New(keyOne) {
			t.Errorf("not taken up: %d calls, %v", calls, fault)
		}
		fails, calls = nil, 0
		all.Again() // does not wait for its time, but for a change to be the same a moment later
		pass(time.Second)
		if _, fault := all.Status(); calls != 1 || fault != nil || all.Values().Signing != secret.New(keyTwo) {
			t.Errorf("taken up: %d calls, %v", calls, fault)
		}
		if strings.Contains(log.String(), "planted") {
			t.Errorf("the log holds a secret: %s", log)
		}
	})
}

// SECRET_KEY and ROOT_KEY that vanish are used on, and told of; PREVIOUS may go.
func TestSecretsThatVanish(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, name := range []string{app.SecretKey, app.RootKey} {
			s := newSafe(app.SecretKey, keyOne, app.RootKey, rootOne, app.SecretKeyPrevious, keyTwo+" , ,"+keyThree, app.RootKeyPrevious, keyTwo)
			all, _ := reading(t, s)
			if is := all.Values(); len(is.Previous) != 2 || is.Previous[1] != secret.New(keyThree) || is.RootWas != secret.New(keyTwo) {
				t.Fatalf("%d earlier secrets", len(is.Previous))
			}
			s.put(app.SecretKeyPrevious, "", app.RootKeyPrevious, "", name, "")
			err := all.Read(t.Context())
			if err == nil || !strings.HasPrefix(err.Error(), name+" is not there any more") || strings.Contains(err.Error(), "planted") {
				t.Errorf("%s: %v", name, err)
			}
			is := all.Values()
			if is.Signing != secret.New(keyOne) || is.Root != secret.New(rootOne) || len(is.Previous) != 0 || !is.RootWas.IsZero() {
				t.Errorf("%s: what is used on: %v, %v, %d earlier", name, !is.Signing.IsZero(), !is.Root.IsZero(), len(is.Previous))
			}
			if age, fault := all.Status(); age != 0 || fault == nil {
				t.Errorf("%s: %v, %v", name, age, fault)
			}
		}
	})
}

// A start that cannot read is told by the error alone: nothing is used on.
func TestSecretsNeverRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, log := newSafe(), &lines{}
		s.fail(fmt.Errorf("no vault there: %w", ports.ErrUnavailable))
		all := app.NewSecrets(s, app.SecretsOptions{Random: broken{}, Logger: log.logger()})
		if err := all.Read(t.Context()); !errors.Is(err, ports.ErrUnavailable) || log.String() != "" {
			t.Errorf("%v; the log says %q", err, log)
		}
	})
}
