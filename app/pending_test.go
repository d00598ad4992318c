package app_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/xteam/xteam/app"
	"github.com/xteam/xteam/domain/apikey"
	"github.com/xteam/xteam/domain/audit"
	"github.com/xteam/xteam/domain/id"
	"github.com/xteam/xteam/domain/instant"
	"github.com/xteam/xteam/domain/revocation"
	"github.com/xteam/xteam/domain/session"
	"github.com/xteam/xteam/domain/system"
	"github.com/xteam/xteam/domain/token"
	"github.com/xteam/xteam/ports"
)

// faultyAPIKeys stand before a store of API keys as the others do.
type faultyAPIKeys struct {
	ports.APIKeys
	f *faulty
}

func (p faultyAPIKeys) Find(ctx context.Context, kid id.APIKey) (apikey.Key, error) {
	return get(p.f, "APIKeys.Find", func() (apikey.Key, error) { return p.APIKeys.Find(ctx, kid) })
}

func (p faultyAPIKeys) Update(ctx context.Context, kid id.APIKey, fn func(apikey.Key) (apikey.Key, ports.Effects, error)) error {
	return change(p.f, "APIKeys.Update", fn, func(fn func(apikey.Key) (apikey.Key, ports.Effects, error)) error {
		return p.APIKeys.Update(ctx, kid, fn)
	})
}

// owing is a scene with an API key of Ann's, in which revocations are owed to a database that does not take them.
type owing struct {
	*scene
	pending *app.Pending
	key     app.IssuedKey
	log     *strings.Builder
}

func newOwing(t *testing.T) *owing {
	o := &owing{log: &strings.Builder{}}
	o.scene = newScene(t)
	o.core.Stores.APIKeys = faultyAPIKeys{o.core.Stores.APIKeys, o.stores}
	o.pending = app.NewPending(o.core, slog.New(slog.NewTextHandler(o.log, nil)))
	o.key = o.issue(o.c, apikey.UsersRead)
	o.bearer(o.key) // known to the guard
	return o
}

// fail has every call fail at a moment; committed: what stores is stored, and said to have failed. "" ends it.
func (o *owing) fail(m moment) {
	o.stores.mu.Lock()
	defer o.stores.mu.Unlock()
	o.stores.all, o.stores.err = m, outage{}
}

// owed are the revocations that are in force though the database does not answer: what asks for them, and what they end.
var owed = map[string]struct {
	do     func(context.Context, *owing) error
	access revocation.Reason // by which Ann's access token is refused; 0: it is her API key
	ends   bool              // whether her session has ended
	kind   audit.Kind
}{
	"log-out": {func(ctx context.Context, o *owing) error { return o.sessions.Logout(ctx, home, o.c) }, revocation.Logout, true, audit.TokenRevoked},
	"log-out everywhere": {func(ctx context.Context, o *owing) error {
		_, err := o.sessions.LogoutAll(ctx, home, o.c)
		return err
	}, revocation.UserRevoked, true, audit.TokenRevoked},
	"the end of the session that asks": {func(ctx context.Context, o *owing) error { return o.sessions.EndOwn(ctx, home, o.c, o.c.Session()) }, revocation.SessionEnded, true, audit.TokenRevoked},
	"a session":                        {revoking(func(o *owing) app.Selector { return app.Selector{Session: o.c.Session().String()} }), revocation.SessionEnded, true, audit.TokenRevoked},
	"a refresh token":                  {revoking(func(o *owing) app.Selector { return app.Selector{Token: o.tk.Refresh} }), revocation.SessionEnded, true, audit.TokenRevoked},
	"a user":                           {revoking(func(o *owing) app.Selector { return app.Selector{User: o.ann.ID.String()} }), revocation.UserRevoked, true, audit.TokenRevoked},
	"an access token":                  {revoking(func(o *owing) app.Selector { return app.Selector{Token: o.tk.Access} }), revocation.UserRevoked, false, audit.TokenRevoked},
	"a jti":                            {revoking(func(o *owing) app.Selector { return app.Selector{JTI: o.c.Claims.ID.String()} }), revocation.UserRevoked, false, audit.TokenRevoked},
	"a key":                            {revoking(func(o *owing) app.Selector { return app.Selector{Key: o.c.Claims.KeyID} }), revocation.KeyRevoked, false, audit.TokenRevoked},
	"everything":                       {revoking(func(o *owing) app.Selector { return app.Selector{All: true} }), revocation.EpochRaised, true, audit.EpochRaised},
	"everything before now":            {revoking(func(o *owing) app.Selector { return app.Selector{IssuedBefore: o.now()} }), revocation.BeforeTime, true, audit.TokenRevoked},
	"an API key at an administrator's wish": {func(ctx context.Context, o *owing) error {
		_, err := o.keys.End(ctx, o.admin, o.key.ID, "", false)
		return err
	}, 0, false, audit.APIKeyRevoked},
	"an API key of one's own": {func(ctx context.Context, o *owing) error { return o.keys.Revoke(ctx, home, o.c, o.key.ID) }, 0, false, audit.APIKeyRevoked},
}

func revoking(of func(*owing) app.Selector) func(context.Context, *owing) error {
	return func(ctx context.Context, o *owing) error {
		_, err := o.revoker.Revoke(ctx, root, of(o), stolen, false)
		return err
	}
}

func (o *owing) now() (t instant.Instant) { return instant.Instant(o.clock.Load()) }

// refused demands that what was revoked is refused here.
func (o *owing) refused(t *testing.T, name string) {
	t.Helper()
	var revoked *revocation.RevokedError
	var err error
	if want := owed[name].access; want == 0 {
		_, err = o.admitKey(o.key)
	} else if _, err = o.admit(o.tk); errors.As(err, &revoked) && revoked.Reason != want {
		t.Errorf("the access token is refused for %v, want %v", revoked.Reason, want)
	}
	if !errors.As(err, &revoked) {
		t.Errorf("after it: %v, want it revoked", err)
	}
}

// A revocation that the database does not take is in force all the same, whatever of it came through, and is written down once, with its change of state and its event, when the database
// is back.
func TestRevocationsWhileTheDatabaseIsDown(t *testing.T) {
	for name, c := range owed {
		for _, first := range []moment{before, rolledBack, committed} {
			for _, then := range []moment{"", before, committed} {
				t.Run(fmt.Sprintf("%s, fails %s, then %s", name, first, then), func(t *testing.T) {
					o := newOwing(t)
					events := len(o.events())
					o.fail(first)
					o.stores.calls = nil
					err := c.do(t.Context(), o)
					var owes *app.NotDurableError
					if !errors.As(err, &owes) || !errors.Is(err, ports.ErrUnavailable) || o.pending.Len() != 1 {
						t.Fatalf("%v, and %d are owed; want it in force and owed", err, o.pending.Len())
					}
					o.refused(t, name)
					o.fail("")
					if _, err := o.sessions.Refresh(t.Context(), abroad, o.tk.Refresh); (err != nil) != (c.ends || name == "a key") {
						t.Errorf("a refresh before it is written down: %v", err)
					} else if ended := (*session.EndedError)(nil); c.ends && !errors.As(err, &ended) {
						t.Errorf("a refresh before it is written down: %v, want that the session has ended", err)
					}
					refreshes := o.count(audit.SessionRefreshed)
					if then != "" {
						o.fail(then)
						o.pending.Settle(t.Context())
						if o.pending.Len() != 1 {
							t.Fatal("what failed is owed no more")
						}
						o.fail("")
					}
					o.pending.Settle(t.Context())
					if o.pending.Len() != 0 {
						t.Fatalf("it is still owed: %s", o.log)
					}
					o.pending.Settle(t.Context())
					all := o.events()
					if got := len(all) - events - refreshes; got != 1 || all[len(all)-1].Kind != c.kind && all[len(all)-2].Kind != c.kind {
						t.Errorf("%d events, want one: %+v", got, all[events:])
					}
					o.refused(t, name)
					o.fresh(t, name)
					if name == "a key" {
						return
					}
					o.turn(time.Second) // beside a time up to which all is withdrawn
					o.works(o.signIn("ann"))
				})
			}
		}
	}
}

// What another node puts back meanwhile is no attempt of the one that owes it: the event is written down all the same, once.
func TestOwedAndPutBack(t *testing.T) {
	for name, c := range owed {
		t.Run(name, func(t *testing.T) {
			o := newOwing(t)
			o.turn(time.Second) // nothing else of this moment
			o.fail(before)
			known := map[string]bool{}
			for e := range o.core.View.All() {
				known[e.Key()] = true
			}
			if err := c.do(t.Context(), o); err == nil {
				t.Fatal("it is not owed")
			}
			o.fail("")
			events := o.count(c.kind)
			var lost []revocation.Entry
			for e := range o.core.View.All() {
				if !known[e.Key()] {
					lost = append(lost, e) // as others know it: without By and Note
				}
			}
			h := app.NewHealing(o.core, slog.New(slog.DiscardHandler)).Healer()
			o.must(h.PutBack(t.Context(), lost))
			o.pending.Settle(t.Context())
			if got := o.count(c.kind) - events; got != 1 || o.pending.Len() != 0 {
				t.Errorf("%d events, want one; %d are owed", got, o.pending.Len())
			}
			o.fresh(t, name)
		})
	}
}

// A record that does not open, of which the end is owed, holds up nothing else that is; its entry is durable by itself, so that no node that starts takes it for lost.
func TestOwedOfADamagedRecord(t *testing.T) {
	o := newOwing(t)
	other := o.signIn("ann")
	c := o.caller(other)
	sessions := o.core.Stores.Sessions
	o.fail(before)
	if err := o.sessions.Logout(t.Context(), home, o.c); err == nil {
		t.Fatal("it is not owed")
	}
	if _, err := o.revoker.Revoke(t.Context(), root, app.Selector{JTI: c.Claims.ID.String()}, "", false); err == nil {
		t.Fatal("it is not owed")
	}
	o.fail("")
	o.core.Stores.Sessions = poisoned{sessions, ports.ErrDamaged}
	o.pending.Settle(t.Context())
	var sid, jti bool
	for _, e := range o.entries() {
		sid, jti = sid || e.Kind == revocation.Session && e.Session == o.c.Session(), jti || e.Kind == revocation.Token && e.Token == c.Claims.ID
	}
	if !sid || !jti || o.pending.Len() != 1 {
		t.Errorf("the session's entry is there: %v, the other: %v; %d are owed: %s", sid, jti, o.pending.Len(), o.log)
	}
	if from, some := o.pending.From(); some {
		t.Errorf("other nodes are told that the database lacks something since %v", from)
	}
	o.core.Stores.Sessions = poisoned{sessions, context.DeadlineExceeded} // and it is not known whether that came through
	o.pending.Settle(t.Context())
	o.core.Stores.Sessions = sessions // it was restored
	ended := o.count(audit.TokenRevoked)
	o.pending.Settle(t.Context())
	o.pending.Settle(t.Context())
	if x, err := o.store.Sessions().Find(t.Context(), o.c.Session()); err != nil || x.Ended == 0 || o.pending.Len() != 0 || o.count(audit.TokenRevoked) != ended+1 {
		t.Errorf("after that: %+v, %v, %d are owed, %d events more", x, err, o.pending.Len(), o.count(audit.TokenRevoked)-ended)
	}
}

// fresh demands that the database alone refuses what was revoked: a node that has just started does.
func (o *owing) fresh(t *testing.T, name string) {
	t.Helper()
	claims := o.tokenOf(o.tk)
	if owed[name].access == 0 {
		claims = token.Claims{APIKey: o.key.ID, Subject: o.ann.ID, Generation: o.ann.Generation}
	}
	set := revocation.NewSet()
	for _, e := range o.entries() {
		if err := e.Validate(); err != nil {
			t.Error(err)
		}
		set.Add(e)
	}
	if _, ok := set.Withdraws(&claims); !ok {
		t.Error("the database does not withdraw it")
	}
	x, err := o.store.Sessions().Find(t.Context(), o.c.Session())
	o.must(err)
	a, err := o.store.Accounts().Find(t.Context(), o.ann.ID)
	o.must(err)
	s, err := o.store.System().Load(t.Context())
	o.must(err)
	_, mine := a.MayRefresh(x.Generation)
	_, ours := s.MayRefresh(&x)
	if alive := mine && ours && x.Live(o.now()); alive == owed[name].ends {
		t.Errorf("by the database alone the session goes on: %v", alive)
	}
}

func (o *owing) tokenOf(tk app.Tokens) token.Claims {
	c, err := o.core.Codec.Parse(tk.Access.RevealPlaintext())
	o.must(err)
	return *c
}

// What cannot be judged without the database is neither in force nor owed.
func TestWhatIsNotOwed(t *testing.T) {
	o := newOwing(t)
	o.fail(before)
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	for name, err := range map[string]error{
		"a user by name":            second(o.revoker.Revoke(t.Context(), root, app.Selector{User: "ann"}, "", false)),
		"a dry run":                 second(o.revoker.Revoke(t.Context(), root, app.Selector{User: o.ann.ID.String()}, "", true)),
		"another's session":         o.sessions.EndOwn(t.Context(), home, o.c, id.Session{7}),
		"another's API key":         o.keys.Revoke(t.Context(), home, o.c, id.APIKey{7}),
		"who had gone before":       o.sessions.Logout(gone, home, o.c),
		"a disabling":               o.accounts.Disable(t.Context(), root, o.ann.ID),
		"a change of password":      second(o.sessions.ChangePassword(t.Context(), home, o.c, o.key.Text, o.key.Text)),
		"a key's text, not by hand": second(o.revoker.Revoke(t.Context(), root, app.Selector{Token: o.key.Text}, "", false)),
	} {
		var owes *app.NotDurableError
		if err == nil || errors.As(err, &owes) {
			t.Errorf("%s: %v, want it refused", name, err)
		}
	}
	if n := o.pending.Len(); n != 0 {
		t.Errorf("%d are owed", n)
	}
	o.caller(o.tk)
}

func second[T any](_ T, err error) error { return err }

// Run writes down what is owed once the database is back. At the end it tries once more, and tells how many are not durable.
func TestPendingRuns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOwing(t)
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { defer close(done); o.pending.Run(ctx) }()
		o.fail(before)
		if err := o.sessions.Logout(t.Context(), home, o.c); err == nil {
			t.Fatal("no error")
		}
		after(time.Minute)
		if o.pending.Len() != 1 || strings.Count(o.log.String(), "\n") != 1 {
			t.Errorf("after a minute %d are owed, and the log says %s", o.pending.Len(), o.log)
		}
		o.fail("")
		after(time.Second)
		synctest.Wait()
		if o.pending.Len() != 0 || !strings.Contains(o.log.String(), "are durable now") {
			t.Errorf("a second after the database is back %d are owed, and the log says %s", o.pending.Len(), o.log)
		}
		o.fail(before)
		for range 3 {
			_ = o.sessions.Logout(t.Context(), home, o.c)
		}
		stop()
		<-done
		if !strings.Contains(o.log.String(), "could not be made durable before the stop") || !strings.Contains(o.log.String(), "revocations=3") {
			t.Errorf("at the end the log says %s", o.log)
		}
	})
}

// asked counts how a store of revocations is asked.
type asked struct {
	ports.StoredRevocations
	follows, finds int
	names          int // that were looked for
}

func (a *asked) Follow(ctx context.Context, fn func(ports.News) error) error {
	a.follows++
	return a.StoredRevocations.Follow(ctx, fn)
}

func (a *asked) Find(ctx context.Context, beginnings ...string) ([]revocation.Entry, error) {
	a.finds++
	a.names += len(beginnings)
	return a.StoredRevocations.Find(ctx, beginnings...)
}

// refusing is a store of sessions that refuses every change.
type refusing struct {
	ports.Sessions
	times int
}

func (r *refusing) Update(context.Context, id.Session, func(session.Session) (session.Session, ports.Effects, error)) error {
	r.times++
	return errors.New("a rule of the database's own")
}

// What the database refuses is offered to it ever more seldom, and only what is owed is looked for in it.
func TestOwedAndRefused(t *testing.T) {
	o := newOwing(t)
	store := &asked{StoredRevocations: o.core.Stores.Revocations}
	o.core.Stores.Revocations = store
	o.fail(before)
	if err := o.sessions.Logout(t.Context(), home, o.c); err == nil {
		t.Fatal("no error")
	}
	good, bad := o.core.Stores.Sessions, &refusing{Sessions: o.store.Sessions()}
	o.core.Stores.Sessions = bad
	o.fail("")
	for range 240 { // as in two minutes
		o.pending.Settle(t.Context())
	}
	if store.follows != 0 || store.finds != 1 || store.names > 4 {
		t.Errorf("it was read whole %d times and asked for %d names in %d calls, want never, and once for what is owed", store.follows, store.names, store.finds)
	}
	if bad.times < 8 || bad.times > 12 || strings.Count(o.log.String(), "refuses a revocation") != 1 {
		t.Errorf("offered %d times, and the log says %s", bad.times, o.log)
	}
	o.core.Stores.Sessions = good
	for range 64 {
		o.pending.Settle(t.Context())
	}
	if o.pending.Len() != 0 {
		t.Errorf("once it is taken %d are owed", o.pending.Len())
	}
}

// A database that does not answer at all keeps a revocation from being in force for four seconds at most.
func TestADatabaseThatHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOwing(t)
		o.core.Stores.System, o.core.Stores.Sessions = hungSystem{o.core.Stores.System}, hungSessions{o.core.Stores.Sessions}
		begun := time.Now()
		var owes *app.NotDurableError
		if err := o.sessions.Logout(t.Context(), home, o.c); !errors.As(err, &owes) {
			t.Fatal(err)
		}
		if took := time.Since(begun); took > 4*time.Second {
			t.Errorf("in force after %v", took)
		}
		o.refused(t, "log-out")
	})
}

type hungSystem struct{ ports.System }

func (hungSystem) Load(ctx context.Context) (s system.State, err error) {
	<-ctx.Done()
	return s, ctx.Err()
}

type hungSessions struct{ ports.Sessions }

func (hungSessions) Update(ctx context.Context, _ id.Session, _ func(session.Session) (session.Session, ports.Effects, error)) error {
	<-ctx.Done()
	return ctx.Err()
}

// The memory for what is owed is bounded; what finds no room is in force all the same.
func TestOwedIsBounded(t *testing.T) {
	o := newOwing(t)
	o.fail(before)
	for i := range app.MaxOwed + 1 {
		jti := id.Token{1, byte(i >> 8), byte(i), byte(i >> 16)}
		_, err := o.revoker.Revoke(t.Context(), root, app.Selector{JTI: jti.String()}, "", false)
		var owes *app.NotDurableError
		if errors.As(err, &owes) != (i < app.MaxOwed) || err == nil {
			t.Fatalf("revocation %d: %v", i, err)
		}
		if i == app.MaxOwed {
			if err := o.view.Check(&token.Claims{ID: jti, Epoch: 1, Generation: 1}); err == nil {
				t.Error("the last is not in force")
			}
		}
	}
}
