package app_test

import (
	"context"
	"errors"
	"net/netip"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/xteam/xteam/app"
	"github.com/xteam/xteam/app/view"
	"github.com/xteam/xteam/domain/account"
	"github.com/xteam/xteam/domain/apikey"
	"github.com/xteam/xteam/domain/id"
	"github.com/xteam/xteam/domain/instant"
	"github.com/xteam/xteam/domain/revocation"
	"github.com/xteam/xteam/domain/token"
	"github.com/xteam/xteam/ports"
)

var someAddress = netip.MustParseAddr("203.0.113.5")

// tethers are running.
func (w *world) tethers(o app.TethersOptions) *app.Tethers {
	o.Again = w.guard.Again
	t := app.NewTethers(w.core, o)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); t.Run(ctx) }()
	w.t.Cleanup(func() { cancel(); <-done })
	return t
}

// hold holds for a caller, and answers where the end is told.
func hold(t *app.Tethers, c app.Caller) (ended chan error, release func()) {
	ended = make(chan error, 2)
	release = t.Hold(c, someAddress, func(err error) { ended <- err })
	return ended, release
}

// outcome waits for the end, and answers what it is told to be.
func outcome(t testing.TB, ended chan error) error {
	t.Helper()
	select {
	case err := <-ended:
		return err
	case <-time.After(30 * time.Second):
		t.Fatal("nothing ended")
		return nil
	}
}

func stays(t testing.TB, ended chan error) {
	t.Helper()
	select {
	case err := <-ended:
		t.Fatalf("ended: %v", err)
	default:
	}
}

func TestWhatIsOpenEndsWithWhatItWasAdmittedBy(t *testing.T) {
	ctx := context.Background()
	for name, c := range map[string]struct {
		do   func(*world, app.Tokens, app.Caller) error
		want revocation.Reason
	}{
		"logout": {func(w *world, _ app.Tokens, c app.Caller) error { return w.sessions.Logout(ctx, home, c) }, revocation.Logout},
		"logout of all": {func(w *world, _ app.Tokens, c app.Caller) error {
			_, err := w.sessions.LogoutAll(ctx, home, c)
			return err
		}, revocation.UserRevoked},
		"disabled": {func(w *world, _ app.Tokens, c app.Caller) error { return w.accounts.Disable(ctx, root, c.User()) }, revocation.UserDisabled},
		"everything": {func(w *world, _ app.Tokens, _ app.Caller) error {
			_, err := w.revoker.Revoke(ctx, root, app.Selector{All: true}, "", false)
			return err
		}, revocation.EpochRaised},
		"the token": {func(w *world, k app.Tokens, _ app.Caller) error {
			_, err := w.revoker.Revoke(ctx, root, app.Selector{Token: k.Access}, "", false)
			return err
		}, revocation.UserRevoked},
		"the session": {func(w *world, _ app.Tokens, c app.Caller) error {
			_, err := w.revoker.Revoke(ctx, root, app.Selector{Session: c.Session().String()}, "", false)
			return err
		}, revocation.SessionEnded},
		"an entry alone": {func(w *world, _ app.Tokens, c app.Caller) error {
			now := instant.Of(w.core.Now())
			w.view.Publish(ctx, revocation.Entry{Kind: revocation.Key, KeyID: c.Claims.KeyID, Reason: revocation.KeyRevoked, At: now, Until: instant.Forever})
			return nil
		}, revocation.KeyRevoked},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			tethers := w.tethers(app.TethersOptions{})
			w.user("ann")
			tk := w.signIn("ann")
			ended, _ := hold(tethers, w.caller(tk))
			if err := c.do(w, tk, w.caller(tk)); err != nil {
				t.Fatal(err)
			}
			var revoked *revocation.RevokedError
			if err := outcome(t, ended); !errors.As(err, &revoked) || revoked.Reason != c.want {
				t.Errorf("ended with %v; want %v", err, c.want)
			}
		})
	}
}

func TestAKeysConnectionEndsWithTheKey(t *testing.T) {
	w := newWorld(t)
	tethers := w.tethers(app.TethersOptions{})
	w.user("ann")
	c := w.caller(w.signIn("ann"))
	k := w.issue(c, apikey.UsersRead)
	bearer, err := w.admitKey(k)
	if err != nil {
		t.Fatal(err)
	}
	ended, _ := hold(tethers, bearer)
	if err := w.keys.Revoke(context.Background(), home, c, k.Key.ID); err != nil {
		t.Fatal(err)
	}
	var revoked *revocation.RevokedError
	if err := outcome(t, ended); !errors.As(err, &revoked) || revoked.Kind != revocation.APIKey {
		t.Errorf("ended with %v", err)
	}
}

func TestAnExpiredTokensConnectionEndsWithinASecond(t *testing.T) {
	w := newWorld(t)
	tethers := w.tethers(app.TethersOptions{})
	w.user("ann")
	ended, _ := hold(tethers, w.caller(w.signIn("ann")))
	w.turn(30*time.Minute + 29*time.Second) // the leeway is 30 s
	stays(t, ended)
	w.turn(time.Second)
	if err := outcome(t, ended); !errors.Is(err, token.ErrExpired) {
		t.Errorf("ended with %v", err)
	}
}

func TestWhatWasWithdrawnAfterTheAdmissionEnds(t *testing.T) {
	w := newWorld(t)
	tethers := w.tethers(app.TethersOptions{})
	w.user("ann")
	c := w.caller(w.signIn("ann"))
	if err := w.sessions.Logout(context.Background(), home, c); err != nil {
		t.Fatal(err)
	}
	ended, _ := hold(tethers, c)
	if err := outcome(t, ended); app.RefusalCode(err) != "token_revoked" {
		t.Errorf("ended with %v", err)
	}
}

// What is open at a node that is isolated ends; what the operator has at their own socket stays.
func TestAnIsolatedNodeEndsWhatIsOpen(t *testing.T) {
	w := newWorld(t)
	var isolated atomic.Bool
	tethers := w.tethers(app.TethersOptions{Isolated: isolated.Load})
	w.user("ann")
	ended, _ := hold(tethers, w.caller(w.signIn("ann")))
	operator := make(chan error, 2)
	tethers.Hold(app.Caller{}, netip.Addr{}, func(err error) { operator <- err })
	isolated.Store(true)
	tethers.Look()
	if err := outcome(t, ended); !errors.Is(err, app.ErrIsolated) {
		t.Errorf("ended with %v", err)
	} else if code, _ := app.EndCode(err); code != "stopping" {
		t.Errorf("told as %s", code)
	}
	stays(t, operator)
}

func TestABlockedAddressAndTheStop(t *testing.T) {
	w := newWorld(t)
	var blocked atomic.Bool
	tethers := w.tethers(app.TethersOptions{Blocked: func(a netip.Addr) bool { return blocked.Load() && a == someAddress }})
	w.user("ann")
	c := w.caller(w.signIn("ann"))
	ended, _ := hold(tethers, c)
	elsewhere := make(chan error, 2)
	tethers.Hold(c, netip.MustParseAddr("203.0.113.6"), func(err error) { elsewhere <- err })
	nobody, _ := hold(tethers, app.Caller{})
	released, release := hold(tethers, c)
	release()
	release()
	blocked.Store(true)
	tethers.Look()
	for _, e := range []chan error{ended, nobody} {
		if err := outcome(t, e); !errors.Is(err, app.ErrAddressBlocked) {
			t.Errorf("ended with %v", err)
		}
	}
	stays(t, elsewhere)
	tethers.Stop()
	if err := outcome(t, elsewhere); !errors.Is(err, app.ErrStopping) {
		t.Errorf("ended with %v", err)
	}
	late, _ := hold(tethers, c)
	if err := outcome(t, late); !errors.Is(err, app.ErrStopping) {
		t.Errorf("ended with %v", err)
	}
	stays(t, released)
	if _, err := tethers.Seat(app.EventSocket, c); !errors.Is(err, app.ErrStopping) {
		t.Errorf("a seat after the stop: %v", err)
	}
}

// once is a source that is heard once and never again.
type once struct{ ports.Revocations }

func (once) Follow(ctx context.Context, fn func(ports.News) error) error {
	if err := fn(ports.News{Caught: true}); err != nil {
		return err
	}
	<-ctx.Done()
	return ctx.Err()
}

func TestAStaleViewEndsWhatIsOpen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := view.New(view.Options{}, view.Source{Name: "database", Truth: true, Revocations: once{}})
		tethers := app.NewTethers(&app.Core{View: v, Now: time.Now}, app.TethersOptions{})
		ctx, cancel := context.WithCancel(t.Context())
		go func() { _ = v.Run(ctx) }()
		if err := v.Ready(ctx); err != nil {
			t.Fatal(err)
		}
		go tethers.Run(ctx)
		ended, _ := hold(tethers, app.Caller{Claims: &token.Claims{ID: id.Token{1}, Subject: id.User{1}, Session: id.Session{1}, ExpiresAt: instant.Forever}})
		begun := time.Now()
		if err := <-ended; !errors.Is(err, revocation.ErrStale) || time.Since(begun) < 5*time.Second || time.Since(begun) > 6*time.Second {
			t.Errorf("ended after %v with %v", time.Since(begun), err)
		}
		cancel()
		synctest.Wait() // no goroutine is left, or the bubble says so
	})
}

// crowded wants a refusal for want of seats.
func crowded(t *testing.T, err error, want app.CrowdedError) {
	t.Helper()
	var c *app.CrowdedError
	if !errors.As(err, &c) || *c != want {
		t.Errorf("got %v; want %v", err, &want)
	}
}

func TestSeats(t *testing.T) {
	w := newWorld(t)
	tethers := w.tethers(app.TethersOptions{MaxPerUser: 2, MaxOpen: 3})
	seat := func(c app.Connection, u byte) (func(), error) {
		return tethers.Seat(c, app.Caller{Claims: &token.Claims{Subject: id.User{u}}})
	}
	a, _ := seat(app.EventSocket, 1)
	b, _ := seat(app.EventStream, 1)
	_, err := seat(app.GraphQLSocket, 1)
	crowded(t, err, app.CrowdedError{Own: true, Max: 2})
	c, _ := seat(app.EventSocket, 2)
	for _, n := range []byte{3, 0} {
		_, err = seat(app.EventSocket, n)
		crowded(t, err, app.CrowdedError{Max: 3})
	}
	if got := [...]int{tethers.OpenOf(app.EventSocket), tethers.OpenOf(app.EventStream), tethers.OpenOf(app.GraphQLSocket), tethers.OpenOf(app.FeedStream), tethers.Open()}; got != [...]int{2, 1, 0, 0, 3} {
		t.Errorf("open are %v", got)
	}
	a()
	a()
	if d, err := seat(app.EventSocket, 3); err != nil {
		t.Error(err)
	} else {
		d()
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	if err := tethers.Drain(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Drain: %v", err)
	}
	go func() { b(); c() }()
	if err := tethers.Drain(t.Context()); err != nil || tethers.Open() != 0 {
		t.Errorf("Drain: %v", err)
	}
}

// Strangers, whose sockets have not named anybody yet, do not take the seats of users.
func TestStrangersLeaveSeats(t *testing.T) {
	w := newWorld(t)
	tethers := w.tethers(app.TethersOptions{MaxOpen: 20})
	for range 2 {
		if _, err := tethers.Seat(app.GraphQLSocket, app.Caller{}); err != nil {
			t.Fatal(err)
		}
	}
	_, err := tethers.Seat(app.GraphQLSocket, app.Caller{})
	crowded(t, err, app.CrowdedError{Max: 2})
	for n := range byte(18) {
		if _, err := tethers.Seat(app.GraphQLSocket, app.Caller{Claims: &token.Claims{Subject: id.User{1 + n}}}); err != nil {
			t.Fatal(err)
		}
	}
	_, err = tethers.Seat(app.EventSocket, app.Caller{Claims: &token.Claims{Subject: id.User{90}}})
	crowded(t, err, app.CrowdedError{Max: 20})
}

// However many sockets there are, a service that follows the feed finds a seat; and however many replicas one service has, another does.
func TestFollowersOfTheFeedHaveSeatsOfTheirOwn(t *testing.T) {
	w := newWorld(t)
	tethers := w.tethers(app.TethersOptions{MaxPerUser: 2, MaxOpen: 2, MaxPerKey: 3, MaxFollowers: 5})
	owner := app.Caller{Claims: &token.Claims{Subject: id.User{1}}}
	key := func(n byte) app.Caller {
		return app.Caller{Claims: &token.Claims{Subject: id.User{1}, APIKey: id.APIKey{n}}}
	}
	var leave []func()
	seat := func(c app.Connection, who app.Caller) {
		t.Helper()
		l, err := tethers.Seat(c, who)
		if err != nil {
			t.Fatal(err)
		}
		leave = append(leave, l)
	}
	seat(app.EventSocket, owner)
	seat(app.EventSocket, owner) // the storm has taken all
	for range 3 {
		seat(app.FeedStream, key(1))
	}
	_, err := tethers.Seat(app.FeedStream, key(1))
	crowded(t, err, app.CrowdedError{Own: true, Feed: true, Max: 3})
	seat(app.FeedStream, key(2))
	seat(app.FeedStream, owner)
	_, err = tethers.Seat(app.FeedStream, key(3))
	crowded(t, err, app.CrowdedError{Feed: true, Max: 5})
	_, err = tethers.Seat(app.EventSocket, key(3))
	crowded(t, err, app.CrowdedError{Max: 2})
	for _, l := range leave {
		l()
	}
	if err := tethers.Drain(t.Context()); err != nil || tethers.OpenOf(app.FeedStream) != 0 {
		t.Errorf("Drain: %v", err)
	}
}

// What changes for a key's owner alone ends what the key holds only if the key would not be let in again, or may do less.
func TestAKeysConnectionOutlivesItsOwnersSignIns(t *testing.T) {
	ctx := context.Background()
	for name, c := range map[string]struct {
		do   func(*world, app.Caller) error
		ends error // nil: it goes on
	}{
		"logout of all": {func(w *world, c app.Caller) error { _, err := w.sessions.LogoutAll(ctx, home, c); return err }, nil},
		"the user's tokens": {func(w *world, c app.Caller) error {
			_, err := w.revoker.Revoke(ctx, root, app.Selector{User: c.User().String()}, "", false)
			return err
		}, &revocation.RevokedError{Verdict: revocation.Verdict{Kind: revocation.APIKey}}},
		"no administrator any more": {func(w *world, c app.Caller) error { return w.accounts.SetRole(ctx, root, c.User(), account.RoleUser) }, app.ErrForbidden},
		"disabled":                  {func(w *world, c app.Caller) error { return w.accounts.Disable(ctx, root, c.User()) }, &revocation.RevokedError{Verdict: revocation.Verdict{Kind: revocation.APIKey}}},
		"the store is silent": {func(w *world, c app.Caller) error {
			w.core.Stores.APIKeys.(*silentKeys).silent.Store(true)
			_, err := w.sessions.LogoutAll(ctx, home, c)
			return err
		}, ports.ErrUnavailable},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, func(c *app.Core) { c.Stores.APIKeys = &silentKeys{APIKeys: c.Stores.APIKeys} })
			tethers := w.tethers(app.TethersOptions{})
			w.admin("ann")
			w.admin("bea") // one must be left
			owner := w.caller(w.signIn("ann"))
			bearer := w.bearer(w.issue(owner, apikey.RevocationsRead))
			own, _ := hold(tethers, owner)
			ended, _ := hold(tethers, bearer)
			if err := c.do(w, owner); err != nil {
				t.Fatal(err)
			}
			_ = outcome(t, own)
			again := tethers.Refusal(bearer, someAddress)
			if c.ends == nil {
				if again != nil {
					t.Errorf("refused with %v", again)
				}
				if err := w.keys.Revoke(ctx, home, w.caller(w.signIn("ann")), bearer.Claims.APIKey); err != nil { // nor does it outlive the key
					t.Fatal(err)
				}
				if err := outcome(t, ended); app.RefusalCode(err) != "token_revoked" || !ofKey(err) {
					t.Errorf("ended with %v", err)
				}
				return
			}
			for what, err := range map[string]error{"ended": outcome(t, ended), "refused": again} {
				if ofKey(c.ends) != ofKey(err) || !ofKey(c.ends) && !errors.Is(err, c.ends) {
					t.Errorf("%s with %v; want %v", what, err, c.ends)
				}
			}
		})
	}
}

// ofKey reports whether err refuses a key that has ended.
func ofKey(err error) bool {
	var revoked *revocation.RevokedError
	return errors.As(err, &revoked) && revoked.Kind == revocation.APIKey
}

// silentKeys are keys whose store answers nothing once it is silent.
type silentKeys struct {
	ports.APIKeys
	silent atomic.Bool
}

func (s *silentKeys) Find(ctx context.Context, key id.APIKey) (apikey.Key, error) {
	if s.silent.Load() {
		return apikey.Key{}, ports.ErrUnavailable
	}
	return s.APIKeys.Find(ctx, key)
}

func TestOneUserAmongTenThousand(t *testing.T) {
	w := newWorld(t)
	tethers := w.tethers(app.TethersOptions{})
	var wrong atomic.Int64
	for i := range 10_000 {
		c := app.Caller{Claims: &token.Claims{ID: id.Token{1, byte(i), byte(i >> 8)}, Subject: id.User{1, byte(i), byte(i >> 8)}, Session: id.Session{1, byte(i), byte(i >> 8)}, ExpiresAt: instant.Forever}}
		tethers.Hold(c, someAddress, func(error) { wrong.Add(1) })
	}
	w.user("ann")
	c := w.caller(w.signIn("ann"))
	ended, _ := hold(tethers, c)
	begun := time.Now()
	if err := w.sessions.Logout(context.Background(), home, c); err != nil {
		t.Fatal(err)
	}
	_ = outcome(t, ended)
	t.Logf("ended after %v", time.Since(begun))
	if wrong.Load() != 0 {
		t.Errorf("%d of others ended", wrong.Load())
	}
}
