package app_test

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/xteam/xteam/adapters/memstore"
	"github.com/xteam/xteam/app"
	"github.com/xteam/xteam/domain/account"
	"github.com/xteam/xteam/domain/audit"
	"github.com/xteam/xteam/domain/id"
	"github.com/xteam/xteam/domain/instant"
	"github.com/xteam/xteam/domain/ratelimit"
	"github.com/xteam/xteam/domain/secret"
	"github.com/xteam/xteam/domain/session"
	"github.com/xteam/xteam/ports"
)

// braked is a world whose accounts have their brake on guessing, and no other limit is in the way: what a transport charges is not charged here.
func braked(t testing.TB, o app.LimiterOptions, change ...func(*app.Core)) *world {
	return newWorld(t, append(change, func(c *app.Core) {
		o.Now = c.Now
		l, err := app.NewLimiter(memstore.NewBuckets(memstore.BucketsOptions{}), c.Journal, rand.Reader, o)
		if err != nil {
			t.Fatal(err)
		}
		c.Limiter = l
		c.Tunables.Session = 300 * 24 * time.Hour
	})...)
}

func from(addr string) app.Request {
	return app.Request{ID: "req", Origin: session.Origin{Address: netip.MustParseAddr(addr), UserAgent: "curl"}}
}

// try signs in with an e-mail address or a user name.
func (w *world) try(r app.Request, name, password string) error {
	email := ""
	if strings.Contains(name, "@") {
		email, name = name, ""
	}
	l, err := account.ParseLogin(email, name)
	if err != nil {
		w.t.Fatal(err)
	}
	_, err = w.sessions.Login(context.Background(), r, l, secret.New(password))
	return err
}

// guesses counts the wrong passwords that are compared before one is refused, 100 at most; the clock stands.
func (w *world) guesses(r app.Request, names ...string) int {
	w.t.Helper()
	for i := range 100 {
		before := len(w.passwords.compared)
		switch err := w.try(r, names[i%len(names)], "a wrong one"); {
		case tooMany(err) != nil:
			if len(w.passwords.compared) != before {
				w.t.Error("a password was compared before it was refused")
			}
			return i
		case !errors.Is(err, account.ErrCredentials):
			w.t.Fatal(err)
		}
	}
	return 100
}

func tooMany(err error) *app.AttemptsError {
	var e *app.AttemptsError
	if errors.As(err, &e) {
		return e
	}
	return nil
}

const (
	abroadIP = "198.51.100.9"
	otherIP  = "203.0.113.5"
)

// Networks that an account has not signed in from share ten attempts a minute on it; its own network goes on.
func TestStrangersShareTenAttempts(t *testing.T) {
	w := braked(t, app.LimiterOptions{})
	w.user("ann")
	w.signIn("ann") // from home
	if got := w.guesses(from(abroadIP), "ann"); got != 10 {
		t.Errorf("guesses from abroad: got %d, want 10", got)
	}
	if got := w.guesses(from(otherIP), "ann"); got != 0 {
		t.Errorf("guesses from another strange network: got %d, want 0", got)
	}
	if err := w.try(from(otherIP), "ann", password); tooMany(err) == nil {
		t.Errorf("the right password from a strange network: %v, want it refused alike", err)
	}
	if err := w.try(from("192.0.2.200"), "ann", password); err != nil { // the same /24
		t.Errorf("the owner at home: %v", err)
	}
	e := tooMany(w.try(from(abroadIP), "ann", password))
	if e == nil || e.Verdict.Decision.RetryAfter != 6*time.Second || e.Verdict.Policy.Name != "attempts" || e.Verdict.Decision.Limit.Capacity != 10 {
		t.Fatalf("refused with %+v, want attempts, for 6s", e)
	}
	w.turn(6 * time.Second)
	if got := w.guesses(from(otherIP), "ann"); got != 1 {
		t.Errorf("6 s later: got %d, want 1", got)
	}
	if got := w.guesses(from(abroadIP), "bob"); got != 10 {
		t.Errorf("at another name: got %d, want 10", got)
	}
}

// Each known network has ten of its own, and one that was used in the last 30 days is known.
func TestKnownNetworksHaveTheirOwn(t *testing.T) {
	w := braked(t, app.LimiterOptions{})
	w.user("ann")
	const day = 24 * time.Hour
	for _, ip := range []string{"10.1.0.1", "10.2.0.1", "2001:db8:1:2::1"} {
		if err := w.try(from(ip), "ann", password); err != nil {
			t.Fatal(err)
		}
		w.turn(day)
	}
	w.turn(28 * day) // the first is 31 days old, the second 30, the third 29
	for _, ip := range []string{"2001:db8:1:2:ffff::9", "10.2.0.77"} {
		if got := w.guesses(from(ip), "ann"); got != 10 {
			t.Errorf("from %s: got %d, want 10", ip, got)
		}
	}
	if got := w.guesses(from(otherIP), "ann"); got != 10 {
		t.Errorf("from strange networks: got %d, want 10", got)
	}
	if got := w.guesses(from("10.1.0.1"), "ann"); got != 0 {
		t.Errorf("from a network of 31 days ago: got %d, want 0: it shares with the strange ones", got)
	}
}

// Whoever signs out every evening has their own in the morning.
func TestANetworkHasItsOwnWhenItsSessionsAreOver(t *testing.T) {
	w := braked(t, app.LimiterOptions{})
	w.user("ann")
	if err := w.try(from("10.1.0.1"), "ann", password); err != nil {
		t.Fatal(err)
	}
	w.core.Stores.Sessions = emptySessions{w.core.Stores.Sessions}
	w.turn(20 * 24 * time.Hour)
	if got := w.guesses(from(otherIP), "ann"); got != 10 {
		t.Errorf("from a strange network: got %d, want 10", got)
	}
	if got := w.guesses(from("10.1.0.77"), "ann"); got != 10 {
		t.Errorf("from home: got %d, want 10 of its own", got)
	}
	w.turn(20 * 24 * time.Hour)
	w.guesses(from(otherIP), "ann")
	if got := w.guesses(from("10.1.0.77"), "ann"); got != 0 {
		t.Errorf("from home after 40 days: got %d, want 0: it shares with the strange ones", got)
	}
}

// A sign-in makes its network known at once, and a refresh makes known where the owner is.
func TestASignInMakesItsNetworkKnown(t *testing.T) {
	w := braked(t, app.LimiterOptions{})
	w.user("ann")
	if got := w.guesses(from(abroadIP), "ann"); got != 10 {
		t.Fatalf("from a strange network: got %d, want 10", got)
	}
	w.turn(time.Minute)
	tk, err := w.sessions.Login(context.Background(), from(abroadIP), must(account.ParseLogin("", "ann")), secret.New(password))
	if err != nil {
		t.Fatal(err)
	}
	if got := w.guesses(from(otherIP), "ann"); got != 10 {
		t.Errorf("from a strange network: got %d, want 10", got)
	}
	if got := w.guesses(from(abroadIP), "ann"); got != 10 {
		t.Errorf("from the network of the sign-in: got %d, want 10 of its own", got)
	}
	if _, err := w.sessions.Refresh(context.Background(), from("172.16.0.1"), tk.Refresh); err != nil {
		t.Fatal(err)
	}
	w.turn(2 * time.Minute)
	w.guesses(from(otherIP), "ann")
	if got := w.guesses(from("172.16.0.1"), "ann"); got != 10 {
		t.Errorf("from the network of the refresh: got %d, want 10 of its own", got)
	}
}

func must[V any](v V, err error) V {
	if err != nil {
		panic(err)
	}
	return v
}

// However an account is named, it is one account (CVE-2025-24806, CVE-2026-47203).
func TestGuessesCountTogetherWhateverTheName(t *testing.T) {
	w := braked(t, app.LimiterOptions{})
	w.user("ann")
	if got := w.guesses(from(abroadIP), "ann", "Ann", "ann@example.com", "ANN@Example.COM", "aNN"); got != 10 {
		t.Errorf("under five names: got %d, want 10", got)
	}
	for _, name := range []string{"ann", "Ann", "ann@example.com", "ANN@EXAMPLE.COM"} {
		if got := w.guesses(from(abroadIP), name); got != 0 {
			t.Errorf("under %s: got %d, want 0", name, got)
		}
	}
}

// A name that does not exist is braked alike, from all networks together, and the refusal is the same.
func TestANameThatDoesNotExistIsBrakedAlike(t *testing.T) {
	w := braked(t, app.LimiterOptions{})
	w.user("ann")
	long := strings.Repeat("g", 60) + "@" + strings.Repeat("h.", 90) + "example.com"
	for _, names := range [][]string{{"ghost", "GHOST"}, {"ghost@example.com", "Ghost@Example.com"}, {long}, {"ann"}} {
		if got := w.guesses(from(abroadIP), names...); got != 10 {
			t.Errorf("%v: got %d, want 10", names, got)
		}
		if got := w.guesses(from(otherIP), names...); got != 0 {
			t.Errorf("%v, from another network: got %d, want 0", names, got)
		}
	}
	ghost, ann := tooMany(w.try(from(abroadIP), "ghost", password)), tooMany(w.try(from(abroadIP), "ann", password))
	if ghost == nil || ann == nil || cmp.Diff(ghost.Verdict.Decision, ann.Verdict.Decision) != "" || ghost.Verdict.Policy != ann.Verdict.Policy || ghost.Error() != ann.Error() {
		t.Errorf("refused with %+v and %+v, want the same", ghost, ann)
	}
}

// A sign-in that succeeds counts for nothing, however many there are; nor does one that was not judged.
func TestOnlyWrongPasswordsCount(t *testing.T) {
	w := braked(t, app.LimiterOptions{})
	w.user("ann")
	for _, r := range []app.Request{from(abroadIP), from(otherIP)} {
		for i := range 50 {
			if err := w.try(r, "ann", password); err != nil {
				t.Fatalf("sign-in %d: %v", i, err)
			}
		}
	}
	for range 9 {
		_ = w.try(from("172.16.0.1"), "ann", "a wrong one")
	}
	w.core.Passwords = busy{}
	for range 50 {
		if err := w.try(from("172.16.0.1"), "ann", password); !errors.Is(err, ports.ErrUnavailable) || tooMany(err) != nil {
			t.Fatalf("while the hasher is busy: %v", err)
		}
	}
	w.core.Passwords = w.passwords
	if got := w.guesses(from("172.16.0.1"), "ann"); got != 1 {
		t.Errorf("after 9 wrong ones and 50 that were not judged: got %d, want 1", got)
	}
	if err := w.try(from("172.16.0.1"), "ann", password); tooMany(err) == nil {
		t.Errorf("the right password after 10 wrong ones: %v, want it refused", err)
	}
}

// busy is a hasher whose gate is full.
type busy struct{ ports.Passwords }

func (busy) Compare(context.Context, secret.Text, secret.Text) (ok, upgrade bool, err error) {
	return false, false, &ports.BusyError{What: "the hasher", RetryAfter: time.Second}
}

// A disabled account is guessed at no faster, and a wrong guess counts also when it cannot be recorded.
func TestWhatElseCounts(t *testing.T) {
	w := braked(t, app.LimiterOptions{})
	ann := w.user("ann")
	if err := w.accounts.Disable(context.Background(), root, ann.ID); err != nil {
		t.Fatal(err)
	}
	for range 10 {
		if err := w.try(from(abroadIP), "ann", password); !errors.Is(err, account.ErrCredentials) {
			t.Fatal(err)
		}
	}
	if err := w.try(from(abroadIP), "ann", password); tooMany(err) == nil {
		t.Errorf("an eleventh sign-in to a disabled account: %v", err)
	}
	w = braked(t, app.LimiterOptions{}, func(c *app.Core) { c.Stores.Events = unwritable{c.Stores.Events} })
	w.user("ann")
	for range 10 {
		if err := w.try(from(abroadIP), "ann", "a wrong one"); !errors.Is(err, ports.ErrUnavailable) {
			t.Fatal(err)
		}
	}
	if err := w.try(from(abroadIP), "ann", "a wrong one"); tooMany(err) == nil {
		t.Errorf("an eleventh guess that cannot be recorded: %v", err)
	}
}

type unwritable struct{ ports.Events }

func (unwritable) Record(context.Context, ...audit.Event) error { return ports.ErrUnavailable }

// A change of password asks for the current one, which can be guessed at as well.
func TestChangePasswordIsBraked(t *testing.T) {
	w := braked(t, app.LimiterOptions{})
	w.user("ann")
	c := w.caller(w.signIn("ann"))
	change := func(r app.Request, current string) error {
		_, err := w.sessions.ChangePassword(context.Background(), r, c, secret.New(current), secret.New("another horse entirely"))
		return err
	}
	for range 5 {
		if err := change(from(abroadIP), "a wrong one"); !errors.Is(err, account.ErrCredentials) {
			t.Fatal(err)
		}
	}
	if err := change(from(abroadIP), password+" "); !errors.Is(err, account.ErrCredentials) {
		t.Fatal(err)
	}
	if got := w.guesses(from(otherIP), "ann"); got != 4 {
		t.Errorf("sign-ins after 6 changes: got %d, want 4: they are counted together", got)
	}
	before := len(w.passwords.compared)
	if err := change(from(abroadIP), password); tooMany(err) == nil || len(w.passwords.compared) != before {
		t.Errorf("the right password from abroad: %v, %d compared; want it refused before", err, len(w.passwords.compared)-before)
	}
	if err := change(home, password); err != nil {
		t.Errorf("at home: %v", err)
	}
}

// So does a new e-mail address; another change asks for no password.
func TestANewEmailIsBraked(t *testing.T) {
	w := braked(t, app.LimiterOptions{})
	w.user("ann")
	c := w.caller(w.signIn("ann"))
	email, name := must(account.ParseEmail("new@example.com")), must(account.ParseFullName("Ann"))
	change := func(p account.Profile, current string) error {
		_, err := w.sessions.ChangeProfile(context.Background(), from(abroadIP), c, p, secret.New(current))
		return err
	}
	for range 10 {
		if err := change(account.Profile{Email: &email}, "a wrong one"); !errors.Is(err, account.ErrCredentials) {
			t.Fatal(err)
		}
	}
	before := len(w.passwords.compared)
	if err := change(account.Profile{Email: &email}, password); tooMany(err) == nil || len(w.passwords.compared) != before {
		t.Errorf("the right password after 10 wrong ones: %v, %d compared; want it refused before", err, len(w.passwords.compared)-before)
	}
	if err := change(account.Profile{FullName: &name}, ""); err != nil {
		t.Errorf("another name: %v", err)
	}
	w.turn(time.Minute)
	for range 20 {
		if err := change(account.Profile{Email: &email}, password); err != nil {
			t.Fatalf("the right password a minute later: %v", err)
		}
	}
}

// A refusal is told, with who was tried and whence, and soon only counted.
func TestRefusedGuessesAreTold(t *testing.T) {
	w := braked(t, app.LimiterOptions{})
	ann := w.user("ann")
	for range 30 {
		_ = w.try(from(abroadIP), "Ann", "a wrong one")
		_ = w.try(from(otherIP), "ghost", "a wrong one")
	}
	type line struct{ Email, Subject, IP, Reason string }
	var got []line
	for _, e := range w.journal.told {
		if e.Kind == audit.AttemptsLimited {
			if e.ID.IsZero() || e.Outcome != audit.Failure || e.Severity != audit.Warning || e.UserAgent != "curl" || e.RequestID != "req" {
				t.Errorf("told %+v", e)
			}
			got = append(got, line{e.Email, e.Subject, e.IPAddress, e.Reason})
		}
	}
	want := []line{{"ann", ann.ID.String(), abroadIP, "too_many_attempts"}, {"ghost", "", otherIP, "too_many_attempts"}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("told (-want +got):\n%s", diff)
	}
	if n := w.count(audit.AuthenticationFailed); n != 20 {
		t.Errorf("authentication_failed: %d events, want 20", n)
	}
}

func TestTheBrakeFollowsTheMode(t *testing.T) {
	for mode, told := range map[app.Mode]bool{app.Shadow: true, app.Off: false} {
		w := braked(t, app.LimiterOptions{Mode: mode})
		w.user("ann")
		if got := w.guesses(from(abroadIP), "ann"); got != 100 {
			t.Errorf("mode %d: got %d, want no limit", mode, got)
		}
		n := 0
		for _, e := range w.journal.told {
			if e.Kind == audit.AttemptsLimited {
				n++
			}
		}
		if n > 0 != told {
			t.Errorf("mode %d: %d events, want some: %v", mode, n, told)
		}
	}
}

// Of many guesses at once no more are compared than of one after another.
func TestGuessesAtOnce(t *testing.T) {
	w := braked(t, app.LimiterOptions{})
	w.user("ann")
	var all sync.WaitGroup
	for range 200 {
		all.Go(func() { _ = w.try(from(abroadIP), "ann", "a wrong one") })
	}
	all.Wait()
	if got := len(w.passwords.compared); got != 10 {
		t.Errorf("compared: got %d, want 10", got)
	}
}

// listing counts how often the sessions of a user are listed.
type listing struct {
	ports.Sessions
	n atomic.Int64
}

func (l *listing) OfUser(ctx context.Context, uid id.User) ([]session.Session, error) {
	l.n.Add(1)
	return l.Sessions.OfUser(ctx, uid)
}

// Whoever guesses at an account does not have its sessions listed each time; names that do not exist cost the same.
func TestAFloodOfGuessesListsSessionsOnceAMinute(t *testing.T) {
	var l *listing
	w := braked(t, app.LimiterOptions{}, func(c *app.Core) { l = &listing{Sessions: c.Stores.Sessions}; c.Stores.Sessions = l })
	w.user("ann")
	for _, name := range []string{"ann", "ghost"} {
		l.n.Store(0)
		for range 1000 {
			_ = w.try(from(abroadIP), name, "a wrong one")
		}
		if got := l.n.Load(); got != 1 {
			t.Errorf("%s: the sessions were listed %d times for 1,000 guesses, want once", name, got)
		}
	}
	w.turn(61 * time.Second)
	_ = w.try(from(abroadIP), "ann", "a wrong one")
	if got := l.n.Load(); got != 2 {
		t.Errorf("a minute later they were listed %d times, want once more", got-1)
	}
	for i := range 20_000 {
		_ = w.try(from(abroadIP), fmt.Sprint("ghost-", i), "a wrong one")
	}
	if got := w.core.Limiter.Remembered(); got > 1024 {
		t.Errorf("20,000 names: %d are remembered, want 1,024 at most", got)
	}
}

// half is ports.Buckets that take nothing for a while, and give all the same.
type half struct {
	ports.Buckets
	off   bool
	given int
}

func (h *half) Take(ctx context.Context, now instant.Instant, ds ...ports.Demand) ([]ratelimit.Decision, error) {
	if h.off {
		return nil, ports.ErrUnavailable
	}
	return h.Buckets.Take(ctx, now, ds...)
}

func (h *half) Give(ctx context.Context, now instant.Instant, ds ...ports.Demand) error {
	h.given += len(ds)
	return h.Buckets.Give(ctx, now, ds...)
}

// What was not taken is not paid back: buckets that fail now and then would else win back the guesses of an account whose owner signs in meanwhile.
func TestAnAttemptThatWasNotPaidIsNotPaidBack(t *testing.T) {
	b := &half{Buckets: memstore.NewBuckets(memstore.BucketsOptions{})}
	w := newWorld(t, func(c *app.Core) {
		l, err := app.NewLimiter(b, c.Journal, rand.Reader, app.LimiterOptions{Now: c.Now})
		if err != nil {
			t.Fatal(err)
		}
		c.Limiter = l
	})
	w.user("ann")
	if err := w.try(home, "ann", password); err != nil || b.given != 1 {
		t.Errorf("a sign-in: %v, and %d given back, want 1", err, b.given)
	}
	b.off = true
	if err := w.try(home, "ann", password); err != nil || b.given != 1 {
		t.Errorf("a sign-in while nothing is taken: %v, and %d given back in all, want 1", err, b.given)
	}
}
