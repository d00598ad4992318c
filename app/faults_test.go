package app_test

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/xteam/xteam/adapters/memstore"
	"github.com/xteam/xteam/app"
	"github.com/xteam/xteam/domain/account"
	"github.com/xteam/xteam/domain/audit"
	"github.com/xteam/xteam/domain/id"
	"github.com/xteam/xteam/domain/instant"
	"github.com/xteam/xteam/domain/keyset"
	"github.com/xteam/xteam/domain/revocation"
	"github.com/xteam/xteam/domain/secret"
	"github.com/xteam/xteam/domain/session"
	"github.com/xteam/xteam/domain/system"
	"github.com/xteam/xteam/domain/token"
	"github.com/xteam/xteam/ports"
)

// moment is where in a call a store fails.
type moment string

const (
	before     moment = "before anything"
	rolledBack moment = "after the change was worked out"     // and none of it is stored
	committed  moment = "after all was stored, before saying" // and nobody was told
)

// outage is a fault in an adapter's own words.
type outage struct{}

func (outage) Error() string        { return "connection reset by peer" }
func (outage) Is(target error) bool { return target == ports.ErrUnavailable }

// faulty stands before the stores and the hasher. It notes every call, and lets one of them fail.
type faulty struct {
	mu      sync.Mutex
	calls   []string
	wrote   []int                    // the calls that stored something
	at      int                      // the call that fails, from 0; -1: none
	when    moment                   // where in it
	err     error                    // how
	hollow  bool                     // with nothing beside the error
	struck  bool                     // whether it has failed
	all     moment                   // where all calls fail, or with committed all that store
	after   func(method string)      // runs after each call that stored something
	twice   bool                     // whether each function of an update runs once in vain
	between func()                   // runs after one such run in vain
	gone    func(method string) bool // whether what the method looks for is not there
}

// arm forgets the calls so far and has the at-th from now fail; -1: none. What a failing read answers beside its error looks good.
func (f *faulty) arm(at int, when moment, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.calls, f.wrote, f.at, f.when, f.err, f.struck, f.hollow = nil, nil, at, when, err, false, false
}

// meet notes a call, and answers its number and where it is to fail, or "".
func (f *faulty) meet(method string) (int, moment) {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := len(f.calls)
	f.calls = append(f.calls, method)
	switch {
	case f.all != "":
		return n, f.all
	case n != f.at:
		return n, ""
	}
	return n, f.when
}

func (f *faulty) strike() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.struck = true
	return f.err
}

// get reads.
func get[T any](f *faulty, method string, do func() (T, error)) (T, error) {
	_, when := f.meet(method)
	v, err := do()
	if f.gone != nil && f.gone(method) {
		return v, ports.ErrNotFound
	}
	if when == "" || err != nil || f.all == committed {
		return v, err
	}
	if f.hollow {
		var none T
		return none, f.strike()
	}
	return v, f.strike()
}

// put stores.
func put(f *faulty, method string, do func() error) error {
	n, when := f.meet(method)
	if when == before || when == rolledBack {
		return f.strike()
	}
	return f.put(n, method, when, do())
}

// change stores what a function makes of a value.
func change[T any](f *faulty, method string, fn func(T) (T, ports.Effects, error), do func(func(T) (T, ports.Effects, error)) error) error {
	n, when := f.meet(method)
	if f.gone != nil && f.gone(method) {
		return ports.ErrNotFound
	}
	if when == before {
		return f.strike()
	}
	vain := f.twice
	return f.put(n, method, when, do(func(was T) (T, ports.Effects, error) {
		if f.between != nil {
			between := f.between
			f.between = nil
			_, _, _ = fn(was)
			between()
		}
		if vain {
			vain = false
			_, _, _ = fn(was)
		}
		next, e, err := fn(was)
		if err == nil && when == rolledBack {
			err = f.strike()
		}
		return next, e, err
	}))
}

func (f *faulty) put(n int, method string, when moment, err error) error {
	if err != nil {
		return err
	}
	f.mu.Lock()
	f.wrote = append(f.wrote, n)
	f.mu.Unlock()
	if f.after != nil {
		f.after(method)
	}
	if when == committed {
		return f.strike()
	}
	return nil
}

type faultyAccounts struct {
	ports.Accounts
	f *faulty
}

func (p faultyAccounts) Create(ctx context.Context, a account.Account, e ports.Effects) error {
	return put(p.f, "Accounts.Create", func() error { return p.Accounts.Create(ctx, a, e) })
}

func (p faultyAccounts) Update(ctx context.Context, uid id.User, fn func(account.Account) (account.Account, ports.Effects, error)) error {
	return change(p.f, "Accounts.Update", fn, func(fn func(account.Account) (account.Account, ports.Effects, error)) error {
		return p.Accounts.Update(ctx, uid, fn)
	})
}

func (p faultyAccounts) Find(ctx context.Context, uid id.User) (account.Account, error) {
	return get(p.f, "Accounts.Find", func() (account.Account, error) { return p.Accounts.Find(ctx, uid) })
}

func (p faultyAccounts) Named(ctx context.Context, l account.Login) (account.Account, error) {
	a, err := get(p.f, "Accounts.Named", func() (account.Account, error) {
		a, err := p.Accounts.Named(ctx, l)
		if errors.Is(err, ports.ErrNotFound) { // so that a fault can come in the place of this answer
			err = nil
		}
		return a, err
	})
	if err == nil && a.ID.IsZero() {
		err = ports.ErrNotFound
	}
	return a, err
}

func (p faultyAccounts) List(ctx context.Context, from id.User, limit int) ([]account.Account, error) {
	return get(p.f, "Accounts.List", func() ([]account.Account, error) { return p.Accounts.List(ctx, from, limit) })
}

type faultySessions struct {
	ports.Sessions
	f *faulty
}

func (p faultySessions) Create(ctx context.Context, s session.Session, e ports.Effects) error {
	return put(p.f, "Sessions.Create", func() error { return p.Sessions.Create(ctx, s, e) })
}

func (p faultySessions) Update(ctx context.Context, sid id.Session, fn func(session.Session) (session.Session, ports.Effects, error)) error {
	return change(p.f, "Sessions.Update", fn, func(fn func(session.Session) (session.Session, ports.Effects, error)) error {
		return p.Sessions.Update(ctx, sid, fn)
	})
}

func (p faultySessions) Find(ctx context.Context, sid id.Session) (session.Session, error) {
	return get(p.f, "Sessions.Find", func() (session.Session, error) { return p.Sessions.Find(ctx, sid) })
}

func (p faultySessions) Standing(ctx context.Context, sid id.Session) (ports.Standing, error) {
	return get(p.f, "Sessions.Standing", func() (ports.Standing, error) { return p.Sessions.Standing(ctx, sid) })
}

func (p faultySessions) OfUser(ctx context.Context, uid id.User) ([]session.Session, error) {
	return get(p.f, "Sessions.OfUser", func() ([]session.Session, error) { return p.Sessions.OfUser(ctx, uid) })
}

func (p faultySessions) List(ctx context.Context, after session.Place, limit int) ([]ports.Held, error) {
	return get(p.f, "Sessions.List", func() ([]ports.Held, error) { return p.Sessions.List(ctx, after, limit) })
}

type faultyKeys struct {
	ports.Keys
	f *faulty
}

func (p faultyKeys) Create(ctx context.Context, r keyset.Ring, e ports.Effects) error {
	return put(p.f, "Keys.Create", func() error { return p.Keys.Create(ctx, r, e) })
}

func (p faultyKeys) Update(ctx context.Context, name string, fn func(keyset.Ring) (keyset.Ring, ports.Effects, error)) error {
	return change(p.f, "Keys.Update", fn, func(fn func(keyset.Ring) (keyset.Ring, ports.Effects, error)) error {
		return p.Keys.Update(ctx, name, fn)
	})
}

func (p faultyKeys) Find(ctx context.Context, name string) (keyset.Ring, error) {
	return get(p.f, "Keys.Find", func() (keyset.Ring, error) { return p.Keys.Find(ctx, name) })
}

type faultySystem struct {
	ports.System
	f *faulty
}

func (p faultySystem) Update(ctx context.Context, fn func(system.State) (system.State, ports.Effects, error)) error {
	return change(p.f, "System.Update", fn, func(fn func(system.State) (system.State, ports.Effects, error)) error {
		return p.System.Update(ctx, fn)
	})
}

func (p faultySystem) Commit(ctx context.Context, e ports.Effects) error {
	return put(p.f, "System.Commit", func() error { return p.System.Commit(ctx, e) })
}

func (p faultySystem) Load(ctx context.Context) (system.State, error) {
	return get(p.f, "System.Load", func() (system.State, error) { return p.System.Load(ctx) })
}

type faultyEvents struct {
	ports.Events
	f *faulty
}

func (p faultyEvents) Record(ctx context.Context, events ...audit.Event) error {
	return put(p.f, "Events.Record", func() error { return p.Events.Record(ctx, events...) })
}

type faultyPasswords struct {
	ports.Passwords
	f *faulty
}

func (p faultyPasswords) Hash(ctx context.Context, password secret.Text) (secret.Text, error) {
	return get(p.f, "Passwords.Hash", func() (secret.Text, error) { return p.Passwords.Hash(ctx, password) })
}

func (p faultyPasswords) Compare(ctx context.Context, hash, password secret.Text) (ok, upgrade bool, err error) {
	type answer struct{ ok, upgrade bool }
	a, err := get(p.f, "Passwords.Compare", func() (answer, error) {
		ok, upgrade, err := p.Passwords.Compare(ctx, hash, password)
		return answer{ok, upgrade}, err
	})
	return a.ok, a.upgrade, err
}

// scene is a world whose stores can fail, with people in it: Ann, who is signed in, and Bob, an administrator.
type scene struct {
	*world
	stores *faulty
	ann    account.Account
	admin  app.Actor
	tk     app.Tokens // of Ann
	c      app.Caller // who bears it
	live   app.Tokens // what took the place of tk, where an act says so
}

func newScene(t testing.TB, changes ...func(*app.Core)) *scene {
	t.Helper()
	s := &scene{stores: &faulty{at: -1}}
	s.world = newWorld(t, append([]func(*app.Core){func(c *app.Core) {
		c.Stores.Accounts, c.Stores.Sessions = faultyAccounts{c.Stores.Accounts, s.stores}, faultySessions{c.Stores.Sessions, s.stores}
		c.Stores.Keys, c.Stores.System = faultyKeys{c.Stores.Keys, s.stores}, faultySystem{c.Stores.System, s.stores}
		c.Stores.Events, c.Passwords = faultyEvents{c.Stores.Events, s.stores}, faultyPasswords{c.Passwords, s.stores}
	}}, changes...)...)
	s.ann = s.user("ann")
	bob, err := s.accounts.Create(t.Context(), root, registration(t, "bob"), account.RoleAdmin)
	if err != nil {
		t.Fatal(err)
	}
	s.admin = app.Actor{Name: bob.ID.String(), Request: abroad}
	s.tk = s.signIn("ann")
	s.c = s.caller(s.tk)
	limiter, err := app.NewLimiter(memstore.NewBuckets(memstore.BucketsOptions{}), s.core.Journal, rand.Reader, app.LimiterOptions{Now: s.core.Now})
	s.must(err)
	s.core.Limiter = limiter // last: it has yet to learn where Ann signs in from
	return s
}

// stored is all that the store holds, by a name for each part.
func (s *scene) stored() map[string]any {
	ctx := context.Background()
	all := map[string]any{"events": s.events(), "revocations": s.entries()}
	accounts, err := s.store.Accounts().List(ctx, id.User{}, 1000)
	state, err2 := s.store.System().Load(ctx)
	all["accounts"], all["system"] = accounts, state
	for _, a := range accounts {
		sessions, err := s.store.Sessions().OfUser(ctx, a.ID)
		if err != nil {
			s.t.Fatal(err)
		}
		all["sessions of "+a.Username.String()] = sessions
	}
	if err := errors.Join(err, err2); err != nil {
		s.t.Fatal(err)
	}
	return all
}

// entries are all revocations that the store holds, in the order of their commits.
func (w *world) entries() []revocation.Entry {
	w.t.Helper()
	var all []revocation.Entry
	enough := errors.New("enough")
	if err := w.store.Revocations().Follow(context.Background(), func(n ports.News) error {
		all = append(all, n.Entries...)
		if n.Caught {
			return enough
		}
		return nil
	}); !errors.Is(err, enough) {
		w.t.Fatal(err)
	}
	return all
}

// signInWith signs in from abroad.
func (s *scene) signInWith(name, password string) (app.Tokens, error) {
	l, err := account.ParseLogin("", name)
	if err != nil {
		s.t.Fatal(err)
	}
	return s.sessions.Login(context.Background(), abroad, l, secret.New(password))
}

// works demands that both tokens of a pair are good.
func (s *scene) works(tk app.Tokens) {
	s.t.Helper()
	s.caller(tk)
	next, err := s.sessions.Refresh(context.Background(), abroad, tk.Refresh)
	if err != nil {
		s.t.Fatalf("Refresh: %v", err)
	}
	s.caller(next)
}

const (
	another = "another horse"       // a password
	stolen  = "a laptop was stolen" // a note
)

// act is a use case on a scene.
type act struct {
	ready func(*scene) // makes the scene fit
	do    func(context.Context, *scene) (app.Tokens, error)
	needs []string         // calls that it cannot do without
	want  func(error) bool // what it answers when all goes well; nil: no error
	done  func(*scene, app.Tokens)
	twice func(error) bool // what it answers once more when it was done already; nil: as want
	lax   []string         // calls whose failure does not fail it
	final string           // a call that stores something and after which nothing fails it
	line  audit.Kind       // what the journal alone is told of, last, for anybody can cause any number; it may be missing
}

// acts are all use cases that a store can fail, by their names.
var acts = map[string]act{
	"login": {
		do:    func(_ context.Context, s *scene) (app.Tokens, error) { return s.signInWith("ann", password) },
		needs: []string{"Accounts.Named", "Sessions.OfUser", "Passwords.Compare", "Accounts.Find", "System.Load", "Sessions.Create"},
		final: "Sessions.Create",
		done:  (*scene).works,
	},
	"login with a hash that is to be made anew": {
		ready: func(s *scene) { s.passwords.weak = "new:" },
		do:    func(_ context.Context, s *scene) (app.Tokens, error) { return s.signInWith("ann", password) },
		needs: []string{"Accounts.Named", "Sessions.OfUser", "Passwords.Compare", "Passwords.Hash", "Accounts.Update", "System.Load", "Sessions.Create"},
		final: "Sessions.Create",
		done:  (*scene).works,
		lax:   []string{"Passwords.Hash"},
	},
	"login with too many sessions": {
		ready: func(s *scene) { s.core.Tunables.MaxSessions = 1 },
		do:    func(_ context.Context, s *scene) (app.Tokens, error) { return s.signInWith("ann", password) },
		needs: []string{"Accounts.Named", "Sessions.OfUser", "Passwords.Compare", "Accounts.Find", "System.Load", "Sessions.Update", "Sessions.Create"},
		final: "Sessions.Create",
		done: func(s *scene, tk app.Tokens) {
			s.works(tk)
			s.dead(s.tk, revocation.SessionEnded, revocation.SessionEnded)
		},
	},
	"login with a wrong password": {
		do:    func(_ context.Context, s *scene) (app.Tokens, error) { return s.signInWith("ann", another) },
		needs: []string{"Accounts.Named", "Sessions.OfUser", "Passwords.Compare", "Events.Record"},
		want:  is(account.ErrCredentials),
	},
	"login after too many wrong passwords": {
		ready: func(s *scene) {
			for range 10 {
				if _, err := s.signInWith("ann", another); !errors.Is(err, account.ErrCredentials) {
					s.t.Fatal(err)
				}
			}
		},
		do:    func(_ context.Context, s *scene) (app.Tokens, error) { return s.signInWith("ann", password) },
		needs: []string{"Accounts.Named"},
		want:  func(err error) bool { return errors.As(err, new(*app.AttemptsError)) },
		line:  audit.AttemptsLimited,
	},
	"login with an unknown name": {
		do:    func(_ context.Context, s *scene) (app.Tokens, error) { return s.signInWith("nobody", password) },
		needs: []string{"Accounts.Named", "Sessions.OfUser", "Passwords.Compare", "Events.Record"},
		want:  is(account.ErrCredentials),
	},
	"login of a disabled account": {
		ready: func(s *scene) { s.must(s.accounts.Disable(context.Background(), root, s.ann.ID)) },
		do:    func(_ context.Context, s *scene) (app.Tokens, error) { return s.signInWith("ann", password) },
		needs: []string{"Accounts.Named", "Sessions.OfUser", "Passwords.Compare", "Events.Record"},
		want:  is(account.ErrCredentials),
	},
	"refresh": { // keycloak/keycloak#49213
		do: func(ctx context.Context, s *scene) (app.Tokens, error) {
			return s.sessions.Refresh(ctx, abroad, s.tk.Refresh)
		},
		needs: []string{"Sessions.Standing", "Sessions.Update"},
		done: func(s *scene, tk app.Tokens) {
			s.works(tk)
			s.caller(s.tk)
		},
	},
	"refresh once more within the grace": {
		ready: func(s *scene) { s.live = s.refreshed(s.tk) },
		do: func(ctx context.Context, s *scene) (app.Tokens, error) {
			return s.sessions.Refresh(ctx, home, s.tk.Refresh)
		},
		needs: []string{"Sessions.Standing", "Sessions.Update"},
		done: func(s *scene, tk app.Tokens) {
			if !tk.Refresh.Equal(s.live.Refresh) {
				s.t.Error("another successor")
			}
			s.works(tk)
		},
		line: audit.SessionRefreshed,
	},
	"refresh with an earlier token": {
		ready: func(s *scene) {
			s.live = s.refreshed(s.tk)
			s.turn(session.Grace)
		},
		do: func(ctx context.Context, s *scene) (app.Tokens, error) {
			return s.sessions.Refresh(ctx, abroad, s.tk.Refresh)
		},
		needs: []string{"Sessions.Standing", "Sessions.Update"},
		final: "Sessions.Update",
		want:  hasEnded(revocation.RefreshReuse),
		line:  audit.AccessRefused,
		done:  func(s *scene, _ app.Tokens) { s.dead(s.live, revocation.RefreshReuse, revocation.RefreshReuse) },
	},
	"log-out": {
		do: func(ctx context.Context, s *scene) (app.Tokens, error) {
			return app.Tokens{}, s.sessions.Logout(ctx, abroad, s.c)
		},
		needs: []string{"System.Load", "Sessions.Update"},
		done:  func(s *scene, _ app.Tokens) { s.dead(s.tk, revocation.Logout, revocation.Logout) },
	},
	"log-out of a session that is forgotten": {
		ready: func(s *scene) {
			claims := *s.c.Claims
			claims.Session, claims.ID = id.Session{7}, id.Token{7}
			s.tk = app.Tokens{Access: s.signed(claims)}
			s.c = s.caller(s.tk)
		},
		do: func(ctx context.Context, s *scene) (app.Tokens, error) {
			return app.Tokens{}, s.sessions.Logout(ctx, abroad, s.c)
		},
		needs: []string{"System.Load", "Sessions.Update", "System.Commit"},
		done: func(s *scene, _ app.Tokens) {
			_, err := s.admit(s.tk)
			refused(s.t.(*testing.T), err, revocation.Logout)
		},
	},
	"log-out of all": {
		do: func(ctx context.Context, s *scene) (app.Tokens, error) {
			_, err := s.sessions.LogoutAll(ctx, abroad, s.c)
			return app.Tokens{}, err
		},
		needs: []string{"System.Load", "Accounts.Update"},
		done:  func(s *scene, _ app.Tokens) { s.dead(s.tk, revocation.UserRevoked, revocation.UserRevoked) },
	},
	"change of password": {
		do: func(ctx context.Context, s *scene) (app.Tokens, error) {
			return s.sessions.ChangePassword(ctx, abroad, s.c, secret.New(password), secret.New(another))
		},
		needs: []string{"Accounts.Find", "Sessions.OfUser", "Passwords.Compare", "Passwords.Hash", "System.Load", "Accounts.Update", "Sessions.Create"},
		final: "Sessions.Create",
		done: func(s *scene, tk app.Tokens) {
			if tk.Access.IsZero() { // it was changed, and the new session was not opened
				var err error
				if tk, err = s.signInWith("ann", another); err != nil {
					s.t.Fatalf("sign-in with the new password: %v", err)
				}
			}
			s.works(tk)
			s.dead(s.tk, revocation.PasswordChanged, revocation.PasswordChanged)
		},
		twice: is(account.ErrCredentials),
	},
	"change of password with a wrong one": {
		do: func(ctx context.Context, s *scene) (app.Tokens, error) {
			return s.sessions.ChangePassword(ctx, abroad, s.c, secret.New(another), secret.New("a third horse"))
		},
		needs: []string{"Accounts.Find", "Sessions.OfUser", "Passwords.Compare", "Events.Record"},
		want:  is(account.ErrCredentials),
		done:  func(s *scene, _ app.Tokens) { s.works(s.tk) },
	},
	"change of profile": {
		do: func(ctx context.Context, s *scene) (app.Tokens, error) {
			_, err := s.sessions.ChangeProfile(ctx, abroad, s.c, profile(s.t, "", "Ann.E"), secret.Text{})
			return app.Tokens{}, err
		},
		needs: []string{"Accounts.Find", "Accounts.Update"},
		done:  func(s *scene, _ app.Tokens) { s.works(s.signIn("ann.e")) },
	},
	"change of e-mail": {
		do: func(ctx context.Context, s *scene) (app.Tokens, error) {
			_, err := s.sessions.ChangeProfile(ctx, abroad, s.c, profile(s.t, "eve@example.com", "eve"), secret.New(password))
			return app.Tokens{}, err
		},
		needs: []string{"Accounts.Find", "Sessions.OfUser", "Passwords.Compare", "Accounts.Update"},
		done:  func(s *scene, _ app.Tokens) { s.works(s.signIn("eve")) },
	},
	"change of e-mail with a wrong password": {
		do: func(ctx context.Context, s *scene) (app.Tokens, error) {
			_, err := s.sessions.ChangeProfile(ctx, abroad, s.c, profile(s.t, "eve@example.com", "eve"), secret.New(another))
			return app.Tokens{}, err
		},
		needs: []string{"Accounts.Find", "Sessions.OfUser", "Passwords.Compare", "Events.Record"},
		want:  is(account.ErrCredentials),
		done:  func(s *scene, _ app.Tokens) { s.works(s.signIn("ann")) },
	},
	"set password": {
		do: func(ctx context.Context, s *scene) (app.Tokens, error) {
			return app.Tokens{}, s.accounts.SetPassword(ctx, s.admin, s.ann.ID, secret.New(another))
		},
		needs: []string{"Accounts.Find", "Passwords.Hash", "System.Load", "Accounts.Update"},
		done: func(s *scene, _ app.Tokens) {
			s.dead(s.tk, revocation.PasswordChanged, revocation.PasswordChanged)
			tk, err := s.signInWith("ann", another)
			s.must(err)
			s.works(tk)
		},
	},
	"demote one of two administrators": {
		ready: func(s *scene) {
			_, err := s.accounts.Create(context.Background(), root, registration(s.t, "cyd"), account.RoleAdmin)
			s.must(err)
		},
		do: func(ctx context.Context, s *scene) (app.Tokens, error) {
			return app.Tokens{}, s.accounts.SetRole(ctx, s.admin, s.userID("cyd"), account.RoleUser)
		},
		needs: []string{"Accounts.Find", "Accounts.List", "System.Load", "Accounts.Update"},
	},
	"demote the last administrator": {
		do: func(ctx context.Context, s *scene) (app.Tokens, error) {
			return app.Tokens{}, s.accounts.SetRole(ctx, root, s.userID("bob"), account.RoleUser)
		},
		needs: []string{"Accounts.Find", "Accounts.List", "Accounts.Update"},
		want:  is(account.ErrLastAdmin),
	},
	"see a page of accounts": {
		do: func(ctx context.Context, s *scene) (app.Tokens, error) {
			page, more, err := s.accounts.Page(ctx, id.User{}, 1)
			if err == nil && (len(page) != 1 || !more) {
				s.t.Errorf("%d of two accounts, more: %v", len(page), more)
			}
			return app.Tokens{}, err
		},
		needs: []string{"Accounts.List"},
	},
	"see a page of her sessions": {
		do: func(ctx context.Context, s *scene) (app.Tokens, error) {
			return s.paged(s.sessions.Page(ctx, s.ann.ID, app.Place{}, 1))
		},
		needs: []string{"Accounts.Find", "Sessions.OfUser", "System.Load"},
	},
	"see a page of all sessions": {
		do: func(ctx context.Context, s *scene) (app.Tokens, error) {
			return s.paged(s.sessions.Page(ctx, id.User{}, app.Place{User: s.ann.ID}, 1000))
		},
		needs: []string{"Sessions.List", "System.Load"},
	},
	"unlock": {
		do: func(ctx context.Context, s *scene) (app.Tokens, error) {
			return app.Tokens{}, s.accounts.Unlock(ctx, s.admin, s.ann.ID)
		},
		needs: []string{"Accounts.Find", "Events.Record"},
	},
	"explain an access token": {
		do: func(ctx context.Context, s *scene) (app.Tokens, error) {
			return s.explained(s.sessions.Explain(ctx, s.tk.Access))
		},
		needs: []string{"Accounts.Find", "Sessions.Find"},
	},
	"explain a refresh token": {
		do: func(ctx context.Context, s *scene) (app.Tokens, error) {
			return s.explained(s.sessions.Explain(ctx, s.tk.Refresh))
		},
		needs: []string{"Sessions.Standing"},
		done:  func(s *scene, _ app.Tokens) { s.works(s.tk) },
	},
	"see one's own sessions": {
		do: func(ctx context.Context, s *scene) (app.Tokens, error) {
			all, err := s.sessions.Own(ctx, s.c)
			if err == nil && (len(all) != 1 || all[0].ID != s.c.Session()) {
				s.t.Errorf("she sees %+v", all)
			}
			return app.Tokens{}, err
		},
		needs: []string{"Accounts.Find", "Sessions.OfUser", "System.Load"},
	},
	"end one's own session": {
		do: func(ctx context.Context, s *scene) (app.Tokens, error) {
			return app.Tokens{}, s.sessions.EndOwn(ctx, abroad, s.c, s.c.Session())
		},
		needs: []string{"Sessions.Find", "System.Load", "Sessions.Update"},
		done:  func(s *scene, _ app.Tokens) { s.dead(s.tk, revocation.SessionEnded, revocation.SessionEnded) },
	},
	"change of name": {
		do: func(ctx context.Context, s *scene) (app.Tokens, error) {
			_, err := s.sessions.ChangeProfile(ctx, abroad, s.c, profile(s.t, "", "anna"), secret.Text{})
			return app.Tokens{}, err
		},
		needs: []string{"Accounts.Find", "Accounts.Update"},
		done:  func(s *scene, _ app.Tokens) { s.works(s.signIn("anna")) },
	},
	"change of e-mail address": {
		do: func(ctx context.Context, s *scene) (app.Tokens, error) {
			_, err := s.sessions.ChangeProfile(ctx, abroad, s.c, profile(s.t, "anna@example.com", "ann"), secret.New(password))
			return app.Tokens{}, err
		},
		needs: []string{"Accounts.Find", "Sessions.OfUser", "Passwords.Compare", "Accounts.Update"},
		done: func(s *scene, _ app.Tokens) {
			if a, err := s.accounts.Lookup(context.Background(), "anna@example.com"); err != nil || a.ID != s.ann.ID {
				s.t.Errorf("the address is %v's, %v", a.ID, err)
			}
		},
	},
	"change of e-mail address with a wrong password": {
		do: func(ctx context.Context, s *scene) (app.Tokens, error) {
			_, err := s.sessions.ChangeProfile(ctx, abroad, s.c, profile(s.t, "anna@example.com", "ann"), secret.New(another))
			return app.Tokens{}, err
		},
		needs: []string{"Accounts.Find", "Sessions.OfUser", "Passwords.Compare", "Events.Record"},
		want:  is(account.ErrCredentials),
	},
	"change of name to another's": {
		do: func(ctx context.Context, s *scene) (app.Tokens, error) {
			p := profile(s.t, "cyd@example.com", "bob")
			_, err := s.sessions.ChangeProfile(ctx, abroad, s.c, p, secret.New(password))
			return app.Tokens{}, err
		},
		needs: []string{"Accounts.Find", "Sessions.OfUser", "Passwords.Compare", "Accounts.Update"},
		want:  is(ports.ErrTaken),
		done:  func(s *scene, _ app.Tokens) { s.works(s.signIn("ann")) },
		line:  audit.ProfileChanged,
	},
	"own sessions": {
		do: func(ctx context.Context, s *scene) (app.Tokens, error) {
			all, err := s.sessions.Own(ctx, s.c)
			if err == nil && len(all) != 1 || err != nil && len(all) != 0 {
				s.t.Errorf("%d sessions and %v", len(all), err)
			}
			return app.Tokens{}, err
		},
		needs: []string{"Accounts.Find", "Sessions.OfUser", "System.Load"},
	},
	"end an own session": {
		do: func(ctx context.Context, s *scene) (app.Tokens, error) {
			return app.Tokens{}, s.sessions.EndOwn(ctx, abroad, s.c, s.c.Session())
		},
		needs: []string{"Sessions.Find", "System.Load", "Sessions.Update"},
		done:  func(s *scene, _ app.Tokens) { s.dead(s.tk, revocation.SessionEnded, revocation.SessionEnded) },
	},
	"end another's session": {
		ready: func(s *scene) { s.live = s.signIn("bob") },
		do: func(ctx context.Context, s *scene) (app.Tokens, error) {
			return app.Tokens{}, s.sessions.EndOwn(ctx, abroad, s.c, s.caller(s.live).Session())
		},
		needs: []string{"Sessions.Find"},
		want:  is(ports.ErrNotFound),
		done:  func(s *scene, _ app.Tokens) { s.works(s.live) },
		line:  audit.PermissionDenied,
	},
	"register": {
		do: func(ctx context.Context, s *scene) (app.Tokens, error) {
			_, err := s.accounts.Register(ctx, abroad, registration(s.t, "cyd"))
			return app.Tokens{}, err
		},
		needs: []string{"Passwords.Hash", "Accounts.Create"},
		done:  func(s *scene, _ app.Tokens) { s.works(s.signIn("cyd")) },
		twice: is(ports.ErrTaken),
	},
	"create": {
		do: func(ctx context.Context, s *scene) (app.Tokens, error) {
			_, err := s.accounts.Create(ctx, s.admin, registration(s.t, "cyd"), account.RoleAdmin)
			return app.Tokens{}, err
		},
		needs: []string{"Passwords.Hash", "Accounts.Create"},
		done:  func(s *scene, _ app.Tokens) { s.works(s.signIn("cyd")) },
		twice: is(ports.ErrTaken),
	},
	"me": {
		do: func(ctx context.Context, s *scene) (app.Tokens, error) {
			_, err := s.accounts.Me(ctx, s.c)
			return app.Tokens{}, err
		},
		needs: []string{"Accounts.Find"},
	},
	"look-up": {
		do: func(ctx context.Context, s *scene) (app.Tokens, error) {
			_, err := s.accounts.Lookup(ctx, "ann")
			return app.Tokens{}, err
		},
		needs: []string{"Accounts.Named"},
	},
	"set role": {
		do: func(ctx context.Context, s *scene) (app.Tokens, error) {
			return app.Tokens{}, s.accounts.SetRole(ctx, s.admin, s.ann.ID, account.RoleAdmin)
		},
		needs: []string{"System.Load", "Accounts.Update"},
		done: func(s *scene, _ app.Tokens) {
			s.dead(s.tk, revocation.RoleChanged, 0)
			if !s.caller(s.refreshed(s.tk)).IsAdmin() {
				s.t.Error("not an administrator")
			}
		},
	},
	"disable": {
		do: func(ctx context.Context, s *scene) (app.Tokens, error) {
			return app.Tokens{}, s.accounts.Disable(ctx, s.admin, s.ann.ID)
		},
		needs: []string{"System.Load", "Accounts.Update"},
		done:  func(s *scene, _ app.Tokens) { s.dead(s.tk, revocation.UserDisabled, revocation.UserDisabled) },
	},
	"enable": {
		ready: func(s *scene) { s.must(s.accounts.Disable(context.Background(), root, s.ann.ID)) },
		do: func(ctx context.Context, s *scene) (app.Tokens, error) {
			return app.Tokens{}, s.accounts.Enable(ctx, s.admin, s.ann.ID)
		},
		needs: []string{"Accounts.Update"},
		done:  func(s *scene, _ app.Tokens) { s.works(s.signIn("ann")) },
	},
	"revoke a user by id":     revoke(func(s *scene) app.Selector { return app.Selector{User: s.ann.ID.String()} }, revocation.UserRevoked, revocation.UserRevoked, "Accounts.Find", "System.Load", "Accounts.Update"),
	"revoke a user by e-mail": revoke(func(*scene) app.Selector { return app.Selector{User: "ann@example.com"} }, revocation.UserRevoked, revocation.UserRevoked, "Accounts.Named", "System.Load", "Accounts.Update"),
	"revoke a user by name":   revoke(func(*scene) app.Selector { return app.Selector{User: "ann"} }, revocation.UserRevoked, revocation.UserRevoked, "Accounts.Named", "System.Load", "Accounts.Update"),
	"revoke a session":        revoke(func(s *scene) app.Selector { return app.Selector{Session: s.c.Session().String()} }, revocation.SessionEnded, revocation.SessionEnded, "System.Load", "Sessions.Update"),
	"revoke an access token":  revoke(func(s *scene) app.Selector { return app.Selector{Token: s.tk.Access} }, revocation.UserRevoked, 0, "System.Commit"),
	"revoke a refresh token":  revoke(func(s *scene) app.Selector { return app.Selector{Token: s.tk.Refresh} }, revocation.SessionEnded, revocation.SessionEnded, "System.Load", "Sessions.Update"),
	"revoke a token id":       revoke(func(s *scene) app.Selector { return app.Selector{JTI: s.c.Claims.ID.String()} }, revocation.UserRevoked, 0, "System.Load", "System.Commit"),
	"revoke a key":            revoke(func(s *scene) app.Selector { return app.Selector{Key: s.c.Claims.KeyID} }, revocation.KeyRevoked, 0, "System.Commit"),
	"revoke a key of before":  revoke(func(*scene) app.Selector { return app.Selector{Key: "hs-before", Force: true} }, 0, 0, "System.Commit"),
	"revoke what was issued before": revoke(func(s *scene) app.Selector { return app.Selector{IssuedBefore: instant.Instant(s.clock.Load())} },
		revocation.BeforeTime, revocation.BeforeTime, "System.Update"),
	"revoke all": revoke(func(*scene) app.Selector { return app.Selector{All: true} }, revocation.EpochRaised, revocation.EpochRaised, "System.Update"),

	"see what revoking a user would do": {
		do: func(ctx context.Context, s *scene) (app.Tokens, error) {
			return s.counted(s.revoker.Revoke(ctx, s.admin, app.Selector{User: "ann"}, "", true))
		},
		needs: []string{"Accounts.Named", "Sessions.OfUser", "System.Load"},
		done:  func(s *scene, _ app.Tokens) { s.works(s.tk) },
	},
	"see what revoking all would do": {
		do: func(ctx context.Context, s *scene) (app.Tokens, error) {
			return s.counted(s.revoker.Revoke(ctx, s.admin, app.Selector{All: true}, "", true))
		},
		needs: []string{"System.Update", "Sessions.List"},
		done:  func(s *scene, _ app.Tokens) { s.works(s.tk) },
	},
	"see what revoking what was issued before would do": {
		do: func(ctx context.Context, s *scene) (app.Tokens, error) {
			return s.counted(s.revoker.Revoke(ctx, s.admin, app.Selector{IssuedBefore: instant.Instant(s.clock.Load())}, "", true))
		},
		needs: []string{"System.Update", "Sessions.List"},
		done:  func(s *scene, _ app.Tokens) { s.works(s.tk) },
	},
	"see what revoking a session would do": {
		do: func(ctx context.Context, s *scene) (app.Tokens, error) {
			return s.counted(s.revoker.Revoke(ctx, s.admin, app.Selector{Session: s.c.Session().String()}, "", true))
		},
		needs: []string{"Sessions.Find"},
		done:  func(s *scene, _ app.Tokens) { s.works(s.tk) },
	},
	"deny": {
		do: func(ctx context.Context, s *scene) (app.Tokens, error) {
			return app.Tokens{}, s.guard.Denied(ctx, abroad, s.c, "GET /api/v1/admin/users")
		},
		needs: []string{"Events.Record"},
		want:  is(app.ErrForbidden),
	},
	"start": {
		ready: func(s *scene) { s.core.Tunables.Access = time.Hour },
		do:    func(ctx context.Context, s *scene) (app.Tokens, error) { return app.Tokens{}, s.core.Start(ctx) },
		needs: []string{"System.Load", "System.Update"},
		done: func(s *scene, _ app.Tokens) {
			if state, err := s.store.System().Load(context.Background()); err != nil || state.LongestAccess != time.Hour {
				s.t.Errorf("%v is noted, %v; want an hour", state.LongestAccess, err)
			}
		},
	},
}

// revoke is an act of an administrator, after which Ann's tokens are dead for the reasons given; 0: that one goes on.
func revoke(sel func(*scene) app.Selector, access, refresh revocation.Reason, needs ...string) act {
	return act{
		do: func(ctx context.Context, s *scene) (app.Tokens, error) {
			got, err := s.revoker.Revoke(ctx, s.admin, sel(s), stolen, false)
			if err != nil && !reflect.DeepEqual(got, app.Revoked{}) {
				s.t.Errorf("a revocation that failed tells of %+v", got)
			}
			return app.Tokens{}, err
		},
		needs: needs,
		done: func(s *scene, _ app.Tokens) {
			if access == 0 {
				s.works(s.tk)
				return
			}
			s.dead(s.tk, access, refresh)
		},
	}
}

// counted demands one session of whoever counts without an error.
func (s *scene) counted(r app.Revoked, err error) (app.Tokens, error) {
	if err == nil && r.SessionsEnded != 1 {
		s.t.Errorf("%d sessions would end, want 1", r.SessionsEnded)
	}
	return app.Tokens{}, err
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

// refreshed is what follows a pair of tokens, from home.
func (w *world) refreshed(tk app.Tokens) app.Tokens {
	w.t.Helper()
	next, err := w.sessions.Refresh(context.Background(), home, tk.Refresh)
	w.must(err)
	return next
}

// signed is an access token of these claims, by the key of this world.
func (w *world) signed(c token.Claims) secret.Text {
	w.t.Helper()
	text, err := w.core.Codec.Sign(c)
	w.must(err)
	return text
}

// dead demands that an access token is revoked and that its session has ended, for these reasons; 0: the session lives.
func (s *scene) dead(tk app.Tokens, access, refresh revocation.Reason) {
	s.t.Helper()
	_, err := s.admit(tk)
	refused(s.t.(*testing.T), err, access)
	if refresh == 0 {
		return
	}
	_, err = s.sessions.Refresh(context.Background(), abroad, tk.Refresh)
	ended(s.t.(*testing.T), err, refresh)
}

func is(target error) func(error) bool {
	return func(err error) bool { return errors.Is(err, target) }
}

func hasEnded(why revocation.Reason) func(error) bool {
	return func(err error) bool {
		var e *session.EndedError
		return errors.As(err, &e) && e.Reason == why
	}
}

// answers demands of an act's error what the act wants.
func (a act) answers(s *scene, err error) {
	s.t.Helper()
	if a.want == nil && err != nil || a.want != nil && !a.want(err) {
		s.t.Fatalf("it answers %v", err)
	}
}

// trace does an act on a scene of its own and answers the calls that it makes, and which of them stored something.
func (a act) trace(t *testing.T) (calls []string, wrote []int) {
	synctest.Test(t, func(t *testing.T) {
		s := newScene(t)
		if a.ready != nil {
			a.ready(s)
		}
		s.stores.arm(-1, "", nil)
		tk, err := a.do(t.Context(), s)
		a.answers(s, err)
		calls, wrote = s.stores.calls, s.stores.wrote
		if a.done != nil {
			a.done(s, tk)
		}
	})
	for _, need := range a.needs {
		if !slices.Contains(calls, need) {
			t.Errorf("it does not call %s, but %q", need, calls)
		}
	}
	return calls, wrote
}

// honest demands that an error is a fault and no refusal.
func honest(t testing.TB, err, fault error) {
	t.Helper()
	if !errors.Is(err, fault) {
		t.Errorf("it answers %v, want %v", err, fault)
	}
	var e *session.EndedError
	var sel *app.SelectorError
	var invalid *account.InvalidError
	if app.RefusalCode(err) != "" || errors.As(err, new(*app.AttemptsError)) || errors.As(err, &e) || errors.As(err, &sel) || errors.As(err, &invalid) {
		t.Errorf("a fault is called a refusal: %v", err)
	}
	for _, refusal := range []error{account.ErrCredentials, app.ErrForbidden, ports.ErrNotFound, ports.ErrTaken, session.ErrMalformed, session.ErrInvalid, session.ErrExpired, system.ErrFuture} {
		if errors.Is(err, refusal) {
			t.Errorf("a fault is called a refusal: %v", err)
		}
	}
}

// TestAFaultIsNoRefusal: each call that a use case makes fails once, in each way that it can. The use case answers that fault and hands out nothing; nothing
// is stored and nobody is told, or all that was stored; and after the recovery the same call does what it was to do.
func TestAFaultIsNoRefusal(t *testing.T) {
	for name, a := range acts {
		t.Run(name, func(t *testing.T) {
			calls, wrote := a.trace(t)
			for at, method := range calls {
				for _, f := range []struct {
					when   moment
					err    error
					hollow bool
				}{{before, outage{}, false}, {before, outage{}, true}, {before, context.DeadlineExceeded, true}, {rolledBack, outage{}, false}, {committed, outage{}, false}} {
					stores := strings.HasSuffix(method, ".Update") || slices.Contains(wrote, at)
					if f.hollow && stores {
						continue
					}
					if f.when != before && !stores || f.when == rolledBack && !strings.HasSuffix(method, ".Update") {
						continue
					}
					t.Run(fmt.Sprintf("%d %s fails %s with %v, hollow %v", at, method, f.when, f.err, f.hollow), func(t *testing.T) {
						synctest.Test(t, func(t *testing.T) {
							s := newScene(t)
							if a.ready != nil {
								a.ready(s)
							}
							s.stores.arm(at, f.when, f.err)
							s.stores.hollow = f.hollow
							a.failing(s, name, method, wrote)
						})
					})
				}
			}
		})
	}
}

func (a act) failing(s *scene, name, method string, wrote []int) {
	t, at, when := s.t, s.stores.at, s.stores.when
	was, told := s.stored(), len(s.journal.told)
	_, verdict := s.admit(s.tk)
	tk, err := a.do(t.Context(), s)
	if !s.stores.struck { // there was nothing to store
		a.answers(s, err)
		return
	}
	s.toldIsStored(told)

	final := a.final != "" && slices.Contains(s.stores.calls[:at], a.final)
	if done := len(wrote) > 0 && wrote[len(wrote)-1] < at; done || final || slices.Contains(a.lax, method) {
		a.answers(s, err) // what counts the sessions that a revocation ended cannot take it back
		if a.done != nil {
			a.done(s, tk)
		}
		return
	}
	honest(t, err, s.stores.err)
	if tk != (app.Tokens{}) {
		t.Error("tokens are handed out")
	}
	changed := len(wrote) > 0 && (wrote[0] < at || wrote[0] == at && when == committed)
	if !changed {
		for part, now := range s.stored() {
			if !reflect.DeepEqual(was[part], now) {
				t.Errorf("%s: %+v\nbefore: %+v", part, now, was[part])
			}
		}
	}
	if len(wrote) == 0 || wrote[0] >= at {
		if n := len(s.journal.told) - told; n > 0 {
			t.Errorf("%d lines tell of what failed", n)
		}
	}
	// What withdraws may be in force before it is durable; nothing else changes what the guard says.
	if _, now := s.admit(s.tk); !changed && len(withdraws[name]) == 0 && fmt.Sprint(now) != fmt.Sprint(verdict) {
		t.Errorf("the guard says %v of Ann's token, and said %v", now, verdict)
	}

	synctest.Wait() // what was committed has reached the view by the store's own word
	s.stores.arm(-1, "", nil)
	tk, err = a.do(t.Context(), s)
	if changed && a.twice != nil {
		if !a.twice(err) {
			t.Fatalf("once more, after the recovery: %v", err)
		}
	} else {
		a.answers(s, err)
	}
	if a.done != nil {
		a.done(s, tk)
	}
}

// toldIsStored demands that the journal was told, from a line on, of nothing that went well and that the store does not hold.
func (s *scene) toldIsStored(from int) {
	s.t.Helper()
	kept := map[id.Event]bool{}
	for _, e := range s.events() {
		kept[e.ID] = true
	}
	for _, e := range s.journal.told[from:] {
		if !kept[e.ID] && e.Outcome == audit.Success {
			s.t.Errorf("%s was told and is not stored", e.Kind)
		}
	}
}

// stumbles is a source of randomness that fails once, after so many reads.
type stumbles struct {
	io.Reader
	left int
}

func (r *stumbles) Read(b []byte) (int, error) {
	if r.left--; r.left == -1 {
		return 0, io.ErrUnexpectedEOF
	}
	return r.Reader.Read(b)
}

// TestRandomFailsAtAnyDraw (CVE-2025-66630): at whichever id or secret the source fails, nothing is issued, stored or told.
func TestRandomFailsAtAnyDraw(t *testing.T) {
	for name, a := range acts {
		t.Run(name, func(t *testing.T) {
			for n := 0; ; n++ {
				done := false
				synctest.Test(t, func(t *testing.T) { done = a.without(t, n) })
				if done || t.Failed() {
					return
				}
			}
		})
	}
}

// without does an act with n draws, and reports whether those were enough.
func (a act) without(t *testing.T, n int) bool {
	s := newScene(t)
	if a.ready != nil {
		a.ready(s)
	}
	was, told := s.stored(), len(s.journal.told)
	random := &stumbles{s.core.Random, n}
	s.core.Random = random
	s.stores.arm(-1, "", nil)
	tk, err := a.do(t.Context(), s)
	if random.left >= 0 || a.line != "" && a.want != nil && a.want(err) { // but for the id of a line
		a.answers(s, err)
		return true
	}
	honest(t, err, ports.ErrUnavailable)
	if tk != (app.Tokens{}) {
		t.Errorf("tokens after %d draws", n)
	}
	s.toldIsStored(told)
	changed := len(s.stores.wrote) > 0
	for part, now := range s.stored() {
		if !changed && !reflect.DeepEqual(was[part], now) {
			t.Errorf("after %d draws, %s: %+v\nbefore: %+v", n, part, now, was[part])
		}
	}
	s.core.Random = random.Reader
	tk, err = a.do(t.Context(), s)
	if changed && a.twice != nil {
		if !a.twice(err) {
			t.Fatalf("once more, after the recovery: %v", err)
		}
	} else {
		a.answers(s, err)
	}
	if a.done != nil {
		a.done(s, tk)
	}
	return false
}

// dumb is a codec that cannot sign.
type dumb struct{ ports.Codec }

func (dumb) Sign(token.Claims) (secret.Text, error) {
	return secret.New("half a token"), errors.New("the key is away")
}

// TestNothingIsSigned: without an access token there is no session either, and no refresh token.
func TestNothingIsSigned(t *testing.T) {
	for _, name := range []string{"login", "refresh", "change of password"} {
		s := newScene(t)
		was, codec := s.stored(), s.core.Codec
		s.core.Codec = dumb{codec}
		tk, err := acts[name].do(t.Context(), s)
		if err == nil || app.RefusalCode(err) != "" || errors.Is(err, account.ErrCredentials) || tk != (app.Tokens{}) {
			t.Errorf("%s: %v", name, err)
		}
		if !reflect.DeepEqual(was, s.stored()) {
			t.Errorf("%s: something is stored", name)
		}
		s.core.Codec = codec
		s.works(s.tk)
	}
}

// lost is an authenticator that has lost its current key.
type lost struct{ ports.Authenticator }

func (lost) Current() uint16 { return 2 }

// TestNoKeyForRefreshTokens: an authenticator that cannot make them is a fault of ours.
func TestNoKeyForRefreshTokens(t *testing.T) {
	s := newScene(t)
	was := s.stored()
	s.core.MACs = lost{s.core.MACs}
	for _, name := range []string{"login", "refresh"} {
		tk, err := acts[name].do(t.Context(), s)
		honest(t, err, ports.ErrUnavailable)
		if tk != (app.Tokens{}) || !reflect.DeepEqual(was, s.stored()) {
			t.Errorf("%s handed out or stored something", name)
		}
	}
}
