package app_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/xteam/xteam/app"
	"github.com/xteam/xteam/app/view"
	"github.com/xteam/xteam/domain/account"
	"github.com/xteam/xteam/domain/audit"
	"github.com/xteam/xteam/domain/id"
	"github.com/xteam/xteam/domain/instant"
	"github.com/xteam/xteam/domain/revocation"
	"github.com/xteam/xteam/domain/secret"
	"github.com/xteam/xteam/domain/session"
	"github.com/xteam/xteam/domain/token"
	"github.com/xteam/xteam/ports"
)

// hashing is a hasher with something that happens, or goes wrong, while it makes a hash.
type hashing struct {
	ports.Passwords
	meanwhile func() error
	made      int
}

func (h *hashing) Hash(ctx context.Context, password secret.Text) (secret.Text, error) {
	h.made++
	if h.meanwhile != nil {
		if err := h.meanwhile(); err != nil {
			return secret.Text{}, err
		}
	}
	return h.Passwords.Hash(ctx, password)
}

func newHashing(t *testing.T) (*scene, *hashing) {
	h := &hashing{}
	s := newScene(t, func(c *app.Core) { h.Passwords, c.Passwords = c.Passwords, h })
	s.passwords.weak = "new:" // every sign-in makes the hash anew
	h.made = 0
	return s, h
}

// TestOvertakenSignIn: what happened to the account during the slow comparison, or while the hash was made anew, keeps Ann out.
func TestOvertakenSignIn(t *testing.T) {
	for name, meanwhile := range map[string]func(*scene) error{
		"disabled": func(s *scene) error { return s.accounts.Disable(context.Background(), root, s.ann.ID) },
		"given another password": func(s *scene) error {
			return s.store.Accounts().Update(context.Background(), s.ann.ID, func(a account.Account) (account.Account, ports.Effects, error) {
				a.Password = secret.New("new:another")
				return a, ports.Effects{}, nil
			})
		},
	} {
		for _, when := range []string{"the comparison", "the comparison, before the hash is made anew", "the making of a new hash"} {
			t.Run(name+" during "+when, func(t *testing.T) {
				s, h := newHashing(t)
				if when == "the comparison" {
					s.passwords.weak = ""
				}
				if when == "the making of a new hash" {
					h.meanwhile = func() error { return meanwhile(s) }
				} else {
					s.passwords.between = func() { s.must(meanwhile(s)) }
				}
				tk, err := s.login("ann")
				if !errors.Is(err, account.ErrCredentials) || tk != (app.Tokens{}) {
					t.Errorf("a sign-in: %v", err)
				}
				if n := s.count(audit.PasswordRehashed); n != 0 {
					t.Errorf("%d events of a new hash", n)
				}
				if n := s.count(audit.AuthenticationFailed); n != 1 {
					t.Errorf("%d events of a sign-in that failed, want 1", n)
				}
				if all, err := s.store.Sessions().OfUser(t.Context(), s.ann.ID); err != nil || len(all) != 1 {
					t.Errorf("%d sessions, %v; want that from before", len(all), err)
				}
			})
		}
	}
}

// TestAnAccountThatGoesDuringItsSignIn: of whom the store knows no more by then, nobody learns that they were there.
func TestAnAccountThatGoesDuringItsSignIn(t *testing.T) {
	for act, call := range map[string]string{"login": "Accounts.Find", "login with a hash that is to be made anew": "Accounts.Update"} {
		s := newScene(t)
		if acts[act].ready != nil {
			acts[act].ready(s)
		}
		s.stores.gone = func(m string) bool { return m == call }
		tk, err := acts[act].do(t.Context(), s)
		if !errors.Is(err, account.ErrCredentials) || tk != (app.Tokens{}) || s.count(audit.AuthenticationFailed) != 1 {
			t.Errorf("%s: %v, and %d events", act, err, s.count(audit.AuthenticationFailed))
		}
	}
}

// TestNoRoomToMakeTheHashAnew: a gate that is full leaves the old hash for the next time, and lets Ann in.
func TestNoRoomToMakeTheHashAnew(t *testing.T) {
	s, h := newHashing(t)
	h.meanwhile = func() error { return &ports.BusyError{What: "the hasher", RetryAfter: time.Second} }
	was, err := s.store.Accounts().Find(t.Context(), s.ann.ID)
	s.must(err)
	s.works(s.signIn("ann"))
	if now, err := s.store.Accounts().Find(t.Context(), s.ann.ID); err != nil || !now.Password.Equal(was.Password) {
		t.Errorf("the hash has changed, %v", err)
	}
	if h.made != 1 || s.count(audit.PasswordRehashed) != 0 {
		t.Errorf("%d hashes were asked for, want 1, and %d are told of", h.made, s.count(audit.PasswordRehashed))
	}
	s.must(s.accounts.Disable(t.Context(), root, s.ann.ID))
	if _, err := s.login("ann"); !errors.Is(err, account.ErrCredentials) {
		t.Errorf("a disabled account: %v", err)
	}
}

// meet answers a function that waits until n have called it.
func meet(n int) func() {
	var mu sync.Mutex
	here, all := 0, make(chan struct{})
	return func() {
		mu.Lock()
		if here++; here == n {
			close(all)
		}
		mu.Unlock()
		<-all
	}
}

// TestTwoChangesOfOnePassword: of two that both proved the old one, exactly one succeeds, and the account has its password.
func TestTwoChangesOfOnePassword(t *testing.T) {
	for range 20 {
		s := newScene(t)
		callers := []app.Caller{s.c, s.caller(s.signIn("ann"))}
		words := []string{"the first horse", "the second horse"}
		s.passwords.between = meet(2)
		var wg sync.WaitGroup
		var got [2]app.Tokens
		var errs [2]error
		for i := range 2 {
			wg.Go(func() {
				got[i], errs[i] = s.sessions.ChangePassword(context.Background(), abroad, callers[i], secret.New(password), secret.New(words[i]))
			})
		}
		wg.Wait()
		s.passwords.between = nil
		won := 0
		if errs[0] != nil {
			won = 1
		}
		if errs[won] != nil || !errors.Is(errs[1-won], account.ErrCredentials) || got[1-won] != (app.Tokens{}) {
			t.Fatalf("one change: %v; the other: %v", errs[0], errs[1])
		}
		s.works(got[won])
		if _, err := s.signInWith("ann", words[won]); err != nil {
			t.Errorf("the password of the one that succeeded: %v", err)
		}
		for _, p := range []string{words[1-won], password} {
			if _, err := s.signInWith("ann", p); !errors.Is(err, account.ErrCredentials) {
				t.Errorf("another password: %v", err)
			}
		}
		if n := s.count(audit.PasswordChanged); n != 1 {
			t.Errorf("%d events, want 1", n)
		}
	}
}

// TestDisabledWhileThePasswordIsChanged: who is barred meanwhile gets no new session.
func TestDisabledWhileThePasswordIsChanged(t *testing.T) {
	s := newScene(t)
	s.passwords.between = func() { s.must(s.accounts.Disable(context.Background(), root, s.ann.ID)) }
	tk, err := acts["change of password"].do(t.Context(), s)
	if !errors.Is(err, account.ErrCredentials) || tk != (app.Tokens{}) {
		t.Errorf("got %v", err)
	}
	if n := s.count(audit.PasswordChanged); n != 0 {
		t.Errorf("%d events of a change", n)
	}
}

// TestAnOvertakenProofIsAFailedSignIn: who proved a password that was changed meanwhile has proved nothing, and is told of, and counted, as one who did not know it.
func TestAnOvertakenProofIsAFailedSignIn(t *testing.T) {
	for _, name := range []string{"login", "change of password", "change of e-mail address"} {
		t.Run(name, func(t *testing.T) {
			s := newScene(t)
			overtake := func() {
				s.must(s.store.Accounts().Update(context.Background(), s.ann.ID, func(a account.Account) (account.Account, ports.Effects, error) {
					a.Password = secret.New(a.Password.RevealPlaintext() + "'")
					return a, ports.Effects{}, nil
				}))
			}
			restore := func() {
				s.must(s.store.Accounts().Update(context.Background(), s.ann.ID, func(a account.Account) (account.Account, ports.Effects, error) {
					a.Password = s.ann.Password
					return a, ports.Effects{}, nil
				}))
			}
			for n := range 11 {
				s.passwords.between = overtake
				told := len(s.journal.told)
				tk, err := acts[name].do(t.Context(), s)
				restore()
				if n == 10 {
					if !errors.As(err, new(*app.AttemptsError)) {
						t.Errorf("the eleventh: %v", err)
					}
					break
				}
				if !errors.Is(err, account.ErrCredentials) || tk != (app.Tokens{}) {
					t.Fatalf("attempt %d: %v", n, err)
				}
				if lines := s.journal.told[told:]; len(lines) != 1 || lines[0].Kind != audit.AuthenticationFailed || lines[0].Subject != s.ann.ID.String() {
					t.Errorf("told: %+v", lines)
				}
			}
		})
	}
}

// leaver is a journal that loses what it is told under a context that is over.
type leaver struct{ ports.Journal }

func (l leaver) Write(ctx context.Context, events ...audit.Event) {
	if ctx.Err() == nil {
		l.Journal.Write(ctx, events...)
	}
}

// TestACallerWhoHasGone: when whoever asked goes away at the moment of the commit, the change is told, the other sources and the view hear of it, and the answer is whole.
func TestACallerWhoHasGone(t *testing.T) {
	for name, a := range acts {
		_, wrote := a.trace(t)
		if len(wrote) == 0 {
			continue
		}
		t.Run(name, func(t *testing.T) {
			s := newScene(t, func(c *app.Core) { c.Journal = leaver{c.Journal} })
			if a.ready != nil {
				a.ready(s)
			}
			s.deaf() // the store's own word comes too late
			s.sessions = app.NewSessions(s.core)
			for _, e := range s.entries() {
				s.view.Publish(t.Context(), e)
			}
			stored, told, had := len(s.events()), len(s.journal.told), len(s.entries())
			ctx, leave := context.WithCancel(t.Context())
			defer leave()
			left := len(wrote)
			s.stores.after = func(string) {
				if left--; left == 0 {
					leave()
				}
			}
			tk, err := a.do(ctx, s)
			a.answers(s, err)
			if ctx.Err() == nil {
				t.Fatal("nobody has gone")
			}
			s.sameTold(stored, told, a.line)
			for _, e := range s.entries()[had:] {
				if !s.refuses(e) {
					t.Errorf("this node does not refuse what the %v names", e.Kind)
				}
			}
			if tk != (app.Tokens{}) && (tk.Access.IsZero() || tk.Refresh.IsZero() || tk.ExpiresIn == 0) {
				t.Error("half of the tokens are handed out")
			}
		})
	}
}

// TestTheCountOutlivesTheCaller: what a revocation ended is counted, though whoever asked has gone by then.
func TestTheCountOutlivesTheCaller(t *testing.T) {
	for _, sel := range []app.Selector{{User: "ann"}, {All: true}} {
		s := newScene(t)
		s.signIn("ann")
		ctx, leave := context.WithCancel(t.Context())
		defer leave()
		s.stores.after = func(string) { leave() }
		got, err := s.revoker.Revoke(ctx, s.admin, sel, "", false)
		if err != nil || got.SessionsEnded != 2 {
			t.Errorf("%d sessions, %v; want 2", got.SessionsEnded, err)
		}
	}
}

// TestWhoSignsInMeanwhileIsNotCounted: a session that begins between a revocation and its count has not been ended by it.
func TestWhoSignsInMeanwhileIsNotCounted(t *testing.T) {
	for _, sel := range []app.Selector{{User: "ann"}, {All: true}} {
		s := newScene(t)
		s.stores.after = func(string) {
			s.stores.after = nil
			s.works(s.signIn("ann"))
		}
		got, err := s.revoker.Revoke(t.Context(), s.admin, sel, "", false)
		if err != nil || got.SessionsEnded != 1 || got.AtLeast {
			t.Errorf("%+v, %v; want the one session from before", got, err)
		}
	}
}

// TestSessionsThatATimeSparesAreNotCounted: those whose live refresh token is younger go on.
func TestSessionsThatATimeSparesAreNotCounted(t *testing.T) {
	s := newScene(t)
	old := s.signIn("ann")
	before := instant.Instant(s.clock.Load())
	s.turn(time.Minute)
	s.signIn("ann")
	young := s.refreshed(s.tk)
	for _, dry := range []bool{true, false} {
		got, err := s.revoker.Revoke(t.Context(), s.admin, app.Selector{IssuedBefore: before}, "", dry)
		if err != nil || got.SessionsEnded != 1 {
			t.Errorf("dry %v: %+v, %v; want one session", dry, got, err)
		}
	}
	s.works(young)
	s.dead(old, revocation.BeforeTime, revocation.BeforeTime)
	for _, dry := range []bool{true, false} {
		bad := (*app.SelectorError)(nil)
		if _, err := s.revoker.Revoke(t.Context(), s.admin, app.Selector{IssuedBefore: instant.Instant(s.clock.Load()) + 1}, "", dry); !errors.As(err, &bad) || bad.Field != "issued_before" {
			t.Errorf("a time to come, dry %v: %v", dry, err)
		}
	}
}

// TestSessionsAreCountedOnEveryPage of a system with many accounts.
func TestSessionsAreCountedOnEveryPage(t *testing.T) {
	for _, accounts := range []int{500, 501, 1001} {
		w := newWorld(t)
		for n := range accounts {
			name := fmt.Sprintf("user-%d", n)
			w.user(name)
			w.signIn(name)
		}
		for _, dry := range []bool{true, false} {
			got, err := w.revoker.Revoke(t.Context(), root, app.Selector{All: true}, "", dry)
			if err != nil || got.SessionsEnded != accounts || got.AtLeast {
				t.Errorf("dry %v: %+v, %v; want %d sessions", dry, got, err, accounts)
			}
		}
	}
}

// refuses reports whether the world's view refuses a token that an entry names, and that no other does.
func (w *world) refuses(e revocation.Entry) bool {
	c := token.Claims{KeyID: "another", ID: id.Token{1: 1}, Subject: id.User{1: 1}, Session: id.Session{1: 1}, Epoch: 1 << 40, IssuedAt: instant.Forever}
	switch e.Kind {
	case revocation.Token:
		c.ID = e.Token
	case revocation.Session:
		c.Session = e.Session
	case revocation.User:
		c.Subject, c.Generation = e.User, e.Min-1
	case revocation.Key:
		c.KeyID = e.KeyID
	case revocation.Epoch:
		c.Epoch = e.Epoch - 1
	case revocation.IssuedBefore:
		c.IssuedAt = e.Before
	}
	return app.RefusalCode(w.view.Check(&c)) == "token_revoked"
}

// feed is a second source of revocations, which asks something whenever it is told.
type feed struct {
	ports.Revocations
	told func([]revocation.Entry)
}

func (f feed) Record(_ context.Context, entries ...revocation.Entry) error {
	f.told(entries)
	return nil
}

// asking is a journal that asks something before it writes.
type asking struct {
	ports.Journal
	first func()
}

func (a asking) Write(ctx context.Context, events ...audit.Event) {
	a.first()
	a.Journal.Write(ctx, events...)
}

// TestOrderOfWhatIsFelt: this node refuses before it tells the other sources, and those have it before the journal tells people.
func TestOrderOfWhatIsFelt(t *testing.T) {
	for name := range withdraws {
		t.Run(name, func(t *testing.T) {
			s := newScene(t)
			if a := acts[name]; a.ready != nil {
				a.ready(s)
			}
			var order []string
			was := s.core.Journal
			s.view = view.New(view.Options{Now: s.core.Now}, view.Source{Name: "feed", Revocations: feed{told: func(entries []revocation.Entry) {
				order = append(order, "feed")
				for _, e := range entries {
					if !s.refuses(e) {
						t.Errorf("the feed hears of the %v before this node refuses what it names", e.Kind)
					}
				}
				if got := len(entries); got != len(withdraws[name]) {
					t.Errorf("%d revocations in the feed, want %d", got, len(withdraws[name]))
				}
			}}})
			s.core.View, s.core.Journal = s.view, asking{was, func() { order = append(order, "journal") }}
			_, err := acts[name].do(t.Context(), s)
			acts[name].answers(s, err)
			want := []string{"feed", "journal"}
			switch name {
			case "change of password", "login with too many sessions", "refresh with an earlier token":
				want = append(want, "journal") // of the new session; of the refusal
			}
			if diff := cmp.Diff(want, order); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// TestLogOutWithdrawsTokenAndSession: the token that asks, by its id, and all tokens of its session, of a session that the store has forgotten too.
func TestLogOutWithdrawsTokenAndSession(t *testing.T) {
	for _, name := range []string{"log-out", "log-out of a session that is forgotten"} {
		t.Run(name, func(t *testing.T) {
			s := newScene(t)
			a := acts[name]
			if a.ready != nil {
				a.ready(s)
			}
			sibling, stranger := *s.c.Claims, *s.c.Claims
			sibling.ID, stranger.Session = id.Token{8}, id.Session{8}
			if _, err := a.do(t.Context(), s); err != nil {
				t.Fatal(err)
			}
			for what, claims := range map[string]token.Claims{"the session's other tokens": sibling, "the token's id": stranger} {
				if _, err := s.guard.Admit(s.signed(claims).RevealPlaintext()); app.RefusalCode(err) != "token_revoked" {
					t.Errorf("%s: %v, want revoked", what, err)
				}
			}
			stranger.ID = sibling.ID
			if _, err := s.guard.Admit(s.signed(stranger).RevealPlaintext()); err != nil {
				t.Errorf("another token of another session of Ann's: %v", err)
			}
		})
	}
}

// TestARefreshOfWhatIsGone: a session or an account that is not there any more makes its tokens worthless, whenever that turns out.
func TestARefreshOfWhatIsGone(t *testing.T) {
	for _, method := range []string{"Sessions.Standing", "Sessions.Update"} {
		s := newScene(t)
		was, told := s.stored(), len(s.journal.told)
		s.stores.gone = func(m string) bool { return m == method }
		tk, err := acts["refresh"].do(t.Context(), s)
		if !errors.Is(err, session.ErrInvalid) || errors.Is(err, ports.ErrNotFound) || tk != (app.Tokens{}) {
			t.Errorf("with nothing at %s: %v, want %v", method, err, session.ErrInvalid)
		}
		for _, e := range s.journal.told[told:] {
			if e.Outcome == audit.Success {
				t.Errorf("told: %+v", e)
			}
		}
		if diff := cmp.Diff(was["events"], s.stored()["events"]); diff != "" {
			t.Errorf("events:\n%s", diff)
		}
	}
}

// TestWhatIsNoTokenAsksNoStore: a text that has not the form of a refresh token, or that nobody made here, costs no look-up.
func TestWhatIsNoTokenAsksNoStore(t *testing.T) {
	s := newScene(t)
	good, err := session.ParseRefresh(s.tk.Refresh.RevealPlaintext())
	s.must(err)
	forged, unknown := good, good
	forged.Secret[0]++
	unknown.Key++ // of which an authenticator may answer anything but that it holds it
	unknown.MAC, _ = macs{}.MAC(unknown.Key, unknown.Signed())
	for text, want := range map[secret.Text]error{
		secret.New("x"): session.ErrMalformed, s.tk.Access: session.ErrMalformed, forged.Text(): session.ErrInvalid, unknown.Text(): session.ErrInvalid,
	} {
		s.stores.arm(-1, "", nil)
		tk, err := s.sessions.Refresh(t.Context(), abroad, text)
		if !errors.Is(err, want) || tk != (app.Tokens{}) || len(s.stores.calls) != 0 {
			t.Errorf("got %v after %q, want %v after nothing", err, s.stores.calls, want)
		}
	}
}

// TestACallerWhoIsGone (RFC 8725, section 3.9): a token whose account is not there any more changes nothing.
func TestACallerWhoIsGone(t *testing.T) {
	for _, name := range []string{"me", "change of password", "own sessions"} {
		s := newScene(t)
		s.stores.gone = func(m string) bool { return m == "Accounts.Find" }
		tk, err := acts[name].do(t.Context(), s)
		if !errors.Is(err, token.ErrInvalid) || errors.Is(err, ports.ErrNotFound) || tk != (app.Tokens{}) {
			t.Errorf("%s: %v, want %v", name, err, token.ErrInvalid)
		}
	}
}

// TestClaimsOfATokenThatIsIssued: what RFC 9068, section 2.2, asks for; the client is the audience unless it has a name.
func TestClaimsOfATokenThatIsIssued(t *testing.T) {
	for given, want := range map[string]string{"": "xteam", "shop": "shop"} {
		s := newScene(t)
		s.core.Tunables.ClientID = given
		s.turn(1234567 * time.Microsecond) // a token begins with a whole second
		for name, tk := range map[string]app.Tokens{"a sign-in": s.signIn("ann"), "a refresh": s.refreshed(s.tk)} {
			got := *s.caller(tk).Claims
			begins := s.c.Claims.IssuedAt.Add(time.Second)
			if got.ID.IsZero() || got.ID == s.c.Claims.ID || got.Session.IsZero() {
				t.Errorf("%s: the token %v of the session %v", name, got.ID, got.Session)
			}
			got.ID, got.Session = id.Token{}, id.Session{}
			claims := token.Claims{KeyID: s.c.Claims.KeyID, Subject: s.ann.ID, Issuer: "xteam", Audience: []string{"xteam"}, ClientID: want, Roles: []string{"user"}, Generation: 1,
				IssuedAt: begins, NotBefore: begins, ExpiresAt: begins.Add(30 * time.Minute)}
			if diff := cmp.Diff(claims, got); diff != "" {
				t.Errorf("%s (-want +got):\n%s", name, diff)
			}
			if tk.ExpiresIn != 30*time.Minute {
				t.Errorf("%s: expires in %v", name, tk.ExpiresIn)
			}
		}
	}
}

// TestRevokedAndBackInOneMicrosecond (CVE-2020-26892): the clock stands still. What was issued before a withdrawal is dead, what comes after it lives.
func TestRevokedAndBackInOneMicrosecond(t *testing.T) {
	words := []string{password, another}
	for name, withdraw := range map[string]func(*scene, app.Caller, int) error{
		"revoke the user": func(s *scene, _ app.Caller, _ int) error {
			_, err := s.revoker.Revoke(context.Background(), s.admin, app.Selector{User: "ann"}, "", false)
			return err
		},
		"log-out of all": func(s *scene, c app.Caller, _ int) error {
			_, err := s.sessions.LogoutAll(context.Background(), home, c)
			return err
		},
		"log-out": func(s *scene, c app.Caller, _ int) error { return s.sessions.Logout(context.Background(), home, c) },
		"revoke all": func(s *scene, _ app.Caller, _ int) error {
			_, err := s.revoker.Revoke(context.Background(), s.admin, app.Selector{All: true}, "", false)
			return err
		},
		"disable and enable": func(s *scene, _ app.Caller, _ int) error {
			return errors.Join(s.accounts.Disable(context.Background(), s.admin, s.ann.ID), s.accounts.Enable(context.Background(), s.admin, s.ann.ID))
		},
		"change the password": func(s *scene, c app.Caller, round int) error {
			_, err := s.sessions.ChangePassword(context.Background(), home, c, secret.New(words[round%2]), secret.New(words[(round+1)%2]))
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := newScene(t)
			word := func(round int) string {
				if name == "change the password" {
					return words[round%2]
				}
				return password
			}
			old := s.tk
			for round := range 100 {
				s.must(withdraw(s, s.caller(old), round))
				now, err := s.signInWith("ann", word(round+1))
				s.must(err)
				if _, err := s.admit(now); err != nil {
					t.Fatalf("round %d: the new token: %v", round, err)
				}
				if _, err := s.admit(old); app.RefusalCode(err) != "token_revoked" {
					t.Fatalf("round %d: the old token: %v", round, err)
				}
				if _, err := s.sessions.Refresh(t.Context(), abroad, old.Refresh); !errors.As(err, new(*session.EndedError)) {
					t.Fatalf("round %d: the old session: %v", round, err)
				}
				if old, err = s.sessions.Refresh(t.Context(), abroad, now.Refresh); err != nil {
					t.Fatalf("round %d: the new session: %v", round, err)
				}
			}
		})
	}
}

// TestSignInAgainstRevocation: whichever comes first, a token and its session are both good or both dead.
func TestSignInAgainstRevocation(t *testing.T) {
	for range 100 {
		s := newScene(t)
		var wg sync.WaitGroup
		var tk app.Tokens
		wg.Go(func() { tk = s.signIn("ann") })
		wg.Go(func() {
			if _, err := s.revoker.Revoke(context.Background(), root, app.Selector{User: "ann"}, "", false); err != nil {
				t.Error(err)
			}
		})
		wg.Wait()
		_, access := s.admit(tk)
		_, refresh := s.sessions.Refresh(t.Context(), home, tk.Refresh)
		if (access == nil) != (refresh == nil) {
			t.Fatalf("the token: %v; its session: %v", access, refresh)
		}
		_, old := s.admit(s.tk)
		refused(t, old, revocation.UserRevoked)
	}
}

// TestRefreshAgainstLogOut: a refresh that meets a log-out leaves no token that is good.
func TestRefreshAgainstLogOut(t *testing.T) {
	for range 100 {
		s := newScene(t)
		var wg sync.WaitGroup
		var tk app.Tokens
		var err error
		wg.Go(func() { tk, err = s.sessions.Refresh(context.Background(), home, s.tk.Refresh) })
		wg.Go(func() { s.must(s.sessions.Logout(context.Background(), home, s.c)) })
		wg.Wait()
		if err != nil {
			ended(t, err, revocation.Logout)
			continue
		}
		s.dead(tk, revocation.Logout, revocation.Logout)
	}
}

// TestAnUpdateThatRunsAgain: of a function that a store runs more than once, only the last result is stored, told, felt and handed out.
func TestAnUpdateThatRunsAgain(t *testing.T) {
	for name, a := range acts {
		t.Run(name, func(t *testing.T) {
			s := newScene(t)
			if a.ready != nil {
				a.ready(s)
			}
			stored, told, had := len(s.events()), len(s.journal.told), len(s.entries())
			s.stores.arm(-1, "", nil)
			s.stores.twice = true
			tk, err := a.do(t.Context(), s)
			a.answers(s, err)
			s.stores.twice = false
			s.sameTold(stored, told, a.line)
			if got := s.entries()[had:]; len(got) != len(withdraws[name]) {
				t.Errorf("%d revocations, want %d", len(got), len(withdraws[name]))
			}
			if expect := tells[name]; expect != nil {
				var want, got []audit.Kind
				for _, e := range expect(s, tk) {
					want = append(want, e.Kind)
				}
				for _, e := range s.events()[stored:] {
					got = append(got, e.Kind)
				}
				if diff := cmp.Diff(want, got); diff != "" {
					t.Errorf("events (-want +got):\n%s", diff)
				}
			}
			if a.done != nil {
				a.done(s, tk)
			}
		})
	}
}

// TestOvertakenRefresh: of a refresh that was worked out once and then overtaken by another, nothing of the first time is told.
func TestOvertakenRefresh(t *testing.T) {
	s := newScene(t)
	var winner app.Tokens
	s.stores.between = func() { winner = s.refreshed(s.tk) }
	told := len(s.journal.told)
	loser, err := s.sessions.Refresh(t.Context(), home, s.tk.Refresh)
	s.must(err)
	if !loser.Refresh.Equal(winner.Refresh) {
		t.Error("two successors")
	}
	lines := s.journal.told[told:]
	if len(lines) != 2 || lines[0].Details["repeated"] != "" || lines[1].Details["repeated"] == "" || lines[0].ID == lines[1].ID {
		t.Errorf("told: %+v, want of a refresh and of its repetition", lines)
	}
}

// TestAWipeIsTriedTwice: a successor that cannot be wiped is left to the next rotation or start; nothing is asked for it without end.
func TestAWipeIsTriedTwice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScene(t)
		var away atomic.Bool
		var tries atomic.Int64
		s.stores.gone = func(m string) bool {
			if !away.Load() || m != "Sessions.Update" {
				return false
			}
			tries.Add(1)
			return true
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { defer close(done); s.sessions.Run(ctx) }()
		synctest.Wait() // it has looked for what an earlier run left behind
		s.refreshed(s.tk)
		away.Store(true)
		<-time.After(time.Hour) // in the time of the bubble
		if n := tries.Load(); n != 2 {
			t.Errorf("%d tries, want 2", n)
		}
		cancel()
		<-done
	})
}

// TestRefreshAndReuseAtOnce: of a parent that is stolen and the live token, presented at once from two places after the grace, neither leaves a session.
func TestRefreshAndReuseAtOnce(t *testing.T) {
	for range 50 {
		s := newScene(t)
		live := s.refreshed(s.tk)
		s.turn(session.Grace)
		var wg sync.WaitGroup
		var next app.Tokens
		wg.Go(func() { next, _ = s.sessions.Refresh(context.Background(), home, live.Refresh) })
		wg.Go(func() {
			_, err := s.sessions.Refresh(context.Background(), abroad, s.tk.Refresh)
			if !hasEnded(revocation.RefreshReuse)(err) {
				t.Errorf("the stolen one: %v", err)
			}
		})
		wg.Wait()
		s.dead(live, revocation.RefreshReuse, revocation.RefreshReuse)
		if next != (app.Tokens{}) {
			s.dead(next, revocation.RefreshReuse, revocation.RefreshReuse)
		}
		if n := s.count(audit.RefreshReused); n != 1 {
			t.Errorf("%d events of reuse, want 1", n)
		}
	}
}

// TestSignInTakesTheSameWork (CVE-2025-6011, CVE-2026-44332): an unknown name, a wrong password and a disabled account ask the same of the stores and of the
// hasher, and are answered by the very same error.
func TestSignInTakesTheSameWork(t *testing.T) {
	type work struct {
		Calls    []string
		Compared int
		Told     []audit.Kind
	}
	want := work{[]string{"Accounts.Named", "Sessions.OfUser", "Passwords.Compare", "Events.Record"}, 1, []audit.Kind{audit.AuthenticationFailed}}
	for name, try := range map[string]struct {
		who, password string
		disabled      bool
	}{
		"unknown": {"nobody", password, false}, "wrong": {"ann", another, false},
		"disabled": {"ann", password, true}, "disabled and wrong": {"ann", another, true},
	} {
		for _, weak := range []string{"", "new:"} { // a hash that is to be made anew is not, for who is not let in
			for _, email := range []bool{false, true} {
				s := newScene(t)
				s.passwords.weak = weak
				if try.disabled {
					s.must(s.accounts.Disable(t.Context(), root, s.ann.ID))
				}
				login, err := account.ParseLogin("", try.who)
				if email {
					login, err = account.ParseLogin(try.who+"@example.com", "")
				}
				s.must(err)
				told := len(s.journal.told)
				s.passwords.compared = nil
				s.stores.arm(-1, "", nil)
				tk, err := s.sessions.Login(t.Context(), abroad, login, secret.New(try.password))
				if err != account.ErrCredentials || tk != (app.Tokens{}) { // the very same answer
					t.Errorf("%s: %v", name, err)
				}
				got := work{Calls: s.stores.calls, Compared: len(s.passwords.compared)}
				for _, e := range s.journal.told[told:] {
					got.Told = append(got.Told, e.Kind)
				}
				if diff := cmp.Diff(want, got); diff != "" {
					t.Errorf("%s, by e-mail %v, of a weak hash %q (-want +got):\n%s", name, email, weak, diff)
				}
			}
		}
	}
}
