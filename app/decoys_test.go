package app_test

import (
	"context"
	"crypto/rand"
	"errors"
	"net/netip"
	"sync/atomic"
	"testing"
	"time"

	"github.com/xteam/xteam/app"
	"github.com/xteam/xteam/domain/account"
	"github.com/xteam/xteam/domain/alert"
	"github.com/xteam/xteam/domain/apikey"
	"github.com/xteam/xteam/domain/audit"
	"github.com/xteam/xteam/domain/id"
	"github.com/xteam/xteam/domain/instant"
	"github.com/xteam/xteam/domain/secret"
	"github.com/xteam/xteam/domain/session"
	"github.com/xteam/xteam/ports"
)

// A decoy's password, right or wrong, and its API key are refused as wrong ones are; each is a critical alert with the address, at the first touch; and one that was put away is no decoy any more.
func TestDecoys(t *testing.T) {
	w := newWorld(t)
	u, err := account.ParseUsername("backup")
	w.must(err)
	e, err := account.ParseEmail("backup@example.com")
	w.must(err)
	reg := app.Registration{Email: e, Username: u, Password: secret.New("a planted credential")}
	made, key, err := w.accounts.CreateDecoy(t.Context(), op, reg)
	w.must(err)
	if !made.Decoy || made.Role != account.RoleUser {
		t.Fatalf("made %+v", made)
	}
	ann := w.user("ann")
	proof, err := apikey.Parse(key.RevealPlaintext())
	w.must(err)
	unknown, _, err := apikey.Make(proof.Environment, id.APIKey{1}, rand.Reader)
	w.must(err)

	touched := func() (all []audit.Event) {
		for _, e := range w.events() {
			if e.Kind == audit.HoneytokenTouched {
				all = append(all, e)
			}
		}
		return all
	}
	until := func(want int) []audit.Event {
		t.Helper()
		deadline := time.Now().Add(10 * time.Second)
		for {
			if got := touched(); len(got) == want || time.Now().After(deadline) {
				if len(got) != want {
					t.Fatalf("%d touches, want %d", len(got), want)
				}
				return got
			}
		}
	}
	from := app.Request{Origin: session.Origin{Address: netip.MustParseAddr("203.0.113.9")}}
	login := func(password string) error {
		_, err := w.sessions.Login(t.Context(), from, account.Login{Username: u}, secret.New(password))
		return err
	}
	for i, password := range []string{"not the planted one", "a planted credential"} {
		if err := login(password); !errors.Is(err, account.ErrCredentials) {
			t.Errorf("%s: %v", password, err)
		}
		got := until(i + 1)
		if is := got[i]; is.IPAddress != "203.0.113.9" || is.Subject != made.ID.String() || is.Severity != audit.Critical || is.Email != "backup" || is.Reason != "sign_in" {
			t.Errorf("told of %+v", is)
		}
	}
	_, wrong := w.guard.AdmitKey(t.Context(), from, unknown.RevealPlaintext())
	for range 3 {
		got, err := w.guard.AdmitKey(t.Context(), from, key.RevealPlaintext())
		if !errors.Is(err, apikey.ErrInvalid) || !errors.Is(wrong, apikey.ErrInvalid) || err.Error() != apikey.ErrInvalid.Error() || got.Claims != nil || app.RefusalCode(err) != app.RefusalCode(apikey.ErrInvalid) {
			t.Errorf("the key: %+v, %v; one that is wrong: %v", got, err, wrong)
		}
	}
	last := until(3)[2]
	if last.IPAddress != "203.0.113.9" || last.Subject != made.ID.String() || last.Reason != "api_key" || last.Details["api_key"] == "" {
		t.Errorf("told of %+v", last)
	}
	w.turn(2 * time.Minute)
	_, _ = w.guard.AdmitKey(t.Context(), from, key.RevealPlaintext())
	until(4)
	w.turn(400 * 24 * time.Hour) // it has expired
	_, _ = w.guard.AdmitKey(t.Context(), from, key.RevealPlaintext())
	until(5)
	if is, why, err := w.sessions.Introspect(t.Context(), w.guard, key); is != nil || !errors.Is(why, apikey.ErrInvalid) || err != nil {
		t.Errorf("introspected: %+v, %v, %v", is, why, err)
	}
	until(6)

	engine := alert.NewEngine(alert.Rules())
	found := engine.Take(&last, instant.Of(time.Now()), false)
	if len(found) != 1 || found[0].Rule != "honeytoken_touched" || found[0].Group != "203.0.113.9" || found[0].Severity != audit.Critical || found[0].Contain == "" {
		t.Errorf("alerts: %+v", found)
	}
	last.IPAddress = ""
	if found := engine.Take(&last, instant.Of(time.Now()), false); len(found) != 1 || found[0].Contain != "" {
		t.Errorf("without an address: %+v", found)
	}

	w.must(w.accounts.Disable(t.Context(), op, made.ID))
	if err := login("a planted credential"); !errors.Is(err, account.ErrCredentials) {
		t.Errorf("disabled: %v", err)
	}
	if _, err := w.guard.AdmitKey(t.Context(), from, key.RevealPlaintext()); !errors.Is(err, apikey.ErrInvalid) {
		t.Errorf("the key of one that is disabled: %v", err)
	}
	if n := len(touched()); n != 6 {
		t.Errorf("%d touches after it was put away", n)
	}
	if _, err := w.login("ann"); err != nil || ann.Decoy {
		t.Errorf("who is no decoy: %v", err)
	}
}

// countedAccounts counts what is read.
type countedAccounts struct {
	ports.Accounts
	finds atomic.Int64
}

func (a *countedAccounts) Find(ctx context.Context, uid id.User) (account.Account, error) {
	a.finds.Add(1)
	return a.Accounts.Find(ctx, uid)
}

// A decoy's key is refused after the work that any other takes that is not known: how long it took tells nobody what it is.
func TestADecoysKeyIsAsMuchWorkAsAnother(t *testing.T) {
	accounts, keys := &countedAccounts{}, &countedKeys{}
	w := newWorld(t, func(c *app.Core) {
		accounts.Accounts, c.Stores.Accounts = c.Stores.Accounts, accounts
		keys.APIKeys, c.Stores.APIKeys = c.Stores.APIKeys, keys
	})
	decoy := func(name string) (account.Account, secret.Text) {
		made, key, err := w.accounts.CreateDecoy(t.Context(), op, app.Registration{Email: must(account.ParseEmail(name + "@example.com")), Username: must(account.ParseUsername(name)), Password: secret.New("a planted credential")})
		w.must(err)
		return made, key
	}
	_, planted := decoy("backup")
	away, old := decoy("archive")
	w.must(w.accounts.Disable(t.Context(), op, away.ID))
	w.user("ann")
	anns := w.issue(w.caller(w.signIn("ann")), apikey.UsersRead)
	other := func(of secret.Text, kid id.APIKey) secret.Text {
		p := must(apikey.Parse(of.RevealPlaintext()))
		if kid.IsZero() {
			kid = p.ID
		}
		text, _, err := apikey.Make(p.Environment, kid, rand.Reader)
		w.must(err)
		return text
	}
	for what, text := range map[string]secret.Text{"one that never was": other(planted, id.APIKey{1}), "another secret": other(anns.Text, id.APIKey{}), "a decoy's": planted, "a decoy's with another secret": other(planted, id.APIKey{}),
		"one of a decoy that was put away": old} {
		for how, ask := range map[string]func() error{
			"used": func() error { _, err := w.guard.AdmitKey(t.Context(), home, text.RevealPlaintext()); return err },
			"introspected": func() error {
				_, why, err := w.sessions.Introspect(t.Context(), w.guard, text)
				return errors.Join(why, err)
			},
		} {
			for range 3 {
				accounts.finds.Store(0)
				keys.finds.Store(0)
				if err := ask(); !errors.Is(err, apikey.ErrInvalid) {
					t.Errorf("%s, %s: %v", what, how, err)
				}
				if k, a := keys.finds.Load(), accounts.finds.Load(); k != 1 || a != 1 {
					t.Errorf("%s, %s: %d keys and %d accounts were read, want one of each", what, how, k, a)
				}
			}
		}
	}
}
