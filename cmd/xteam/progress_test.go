package main_test

import (
	"bytes"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/xteam/xteam/adapters/memstore"
	"github.com/xteam/xteam/app"
	xteam "github.com/xteam/xteam/cmd/xteam"
	"github.com/xteam/xteam/domain/account"
	"github.com/xteam/xteam/domain/audit"
	"github.com/xteam/xteam/domain/id"
	"github.com/xteam/xteam/domain/secret"
	"github.com/xteam/xteam/ports"
)

// TestProgress: who is quick says nothing; who is not says after a second what it is at, then each step, and nothing once it is over.
func TestProgress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var errs bytes.Buffer
		step, end := xteam.Progress(&errs)
		step("one")
		after(900 * time.Millisecond)
		if errs.Len() > 0 {
			t.Errorf("within a second: %q", &errs)
		}
		step("two")
		after(100 * time.Millisecond)
		if got := errs.String(); got != "two\n" {
			t.Errorf("after a second: %q", got)
		}
		step("three")
		after(time.Minute)
		step("four")
		end()
		step("five")
		if got := errs.String(); got != "two\nthree\nfour\n" {
			t.Errorf("got %q", got)
		}

		errs.Reset()
		step, end = xteam.Progress(&errs)
		step("one")
		end()
		after(time.Minute)
		if errs.Len() > 0 {
			t.Errorf("after its end: %q", &errs)
		}
	})
}

// TestProgressCounts: a step that reads a store tells every few seconds how far it is, and nothing while it has not begun.
func TestProgressCounts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var errs shared
		from, to := memstore.New(), memstore.New()
		event := audit.Event{ID: id.Event{1}, Time: 1, Kind: audit.AccountCreated}
		for i := range 3 {
			name := "ann" + strconv.Itoa(i)
			email, err := account.ParseEmail(name + "@example.com")
			if err != nil {
				t.Fatal(err)
			}
			username, err := account.ParseUsername(name)
			if err != nil {
				t.Fatal(err)
			}
			if err := from.Accounts().Create(t.Context(), account.New(id.User{byte(i + 1)}, email, username, account.FullName{}, account.RoleUser, secret.New("$2a$"), 1), ports.Effects{Events: []audit.Event{event}}); err != nil {
				t.Fatal(err)
			}
			event.ID[0]++
		}
		counted, end := xteam.Counted(&errs, "copying", stores(from))
		after(time.Second)
		if got := errs.String(); got != "copying\n" {
			t.Errorf("before it has read anything: %q", got)
		}
		if _, err := app.Transfer(t.Context(), counted, stores(to)); err != nil {
			t.Fatal(err)
		}
		after(4 * time.Second)
		if got := errs.String(); got != "copying\n" {
			t.Errorf("five seconds are not over: %q", got)
		}
		after(time.Second)
		after(5 * time.Second)
		if got := errs.String(); got != "copying\n"+strings.Repeat("copying: 3 accounts, 3 events\n", 2) {
			t.Errorf("got %q", got)
		}
		end()
		after(time.Minute)
		if got := errs.String(); strings.Count(got, "\n") != 3 {
			t.Errorf("after its end: %q", got)
		}
	})
}

// shared is a text that another goroutine writes.
type shared struct {
	mu   sync.Mutex
	text strings.Builder
}

func (s *shared) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.Write(b)
}

func (s *shared) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.String()
}

func stores(s *memstore.Store) app.Stores {
	return app.Stores{Accounts: s.Accounts(), Sessions: s.Sessions(), APIKeys: s.APIKeys(), Keys: s.Keys(), System: s.System(), Blocks: s.Blocks(), Revocations: s.Revocations(), Events: s.Events(), Trail: s.Trail(), Alerts: s.Alerts(), Incidents: s.Incidents(), Uploads: s.Uploads()}
}

// after lets time pass, and all that is due by then.
func after(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}
