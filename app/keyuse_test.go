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
	"github.com/xteam/xteam/domain/alert"
	"github.com/xteam/xteam/domain/apikey"
	"github.com/xteam/xteam/domain/audit"
	"github.com/xteam/xteam/domain/id"
	"github.com/xteam/xteam/domain/instant"
	"github.com/xteam/xteam/domain/ratelimit"
	"github.com/xteam/xteam/domain/session"
	"github.com/xteam/xteam/ports"
)

func request(address string) app.Request {
	return app.Request{Origin: session.Origin{Address: netip.MustParseAddr(address), UserAgent: "bot"}}
}

// useFrom uses a key at a guard so many times.
func useFrom(t testing.TB, g *app.Guard, k app.IssuedKey, address string, times int) {
	t.Helper()
	for range times {
		if _, err := g.AdmitKey(t.Context(), request(address), k.Text.RevealPlaintext()); err != nil {
			t.Fatal(err)
		}
	}
}

// about are the events of a kind as texts.
func (w *world) about(kind audit.Kind, details ...string) (all []string) {
	for _, e := range w.events() {
		if e.Kind != kind {
			continue
		}
		text := e.Reason + " " + e.IPAddress
		for _, d := range details {
			text += " " + e.Details[d]
		}
		all = append(all, strings.TrimSpace(text))
		if e.Actor != app.System || e.Subject == "" || e.Details["api_key"] == "" {
			w.t.Errorf("an event that does not say whom it is about: %+v", e)
		}
	}
	return all
}

func TestAnomaliesOfAKeyAreRecordedWithItsUses(t *testing.T) {
	w := newWorld(t)
	w.user("ann")
	k := w.issue(w.caller(w.signIn("ann")), apikey.UsersRead)
	far := w.elsewhere()
	farKeys := app.NewAPIKeys(w.core, far)
	flush := func() {
		t.Helper()
		if err := errors.Join(w.keys.Flush(t.Context()), farKeys.Flush(t.Context())); err != nil {
			t.Fatal(err)
		}
	}
	useFrom(t, w.guard, k, "192.0.2.1", 3)
	useFrom(t, w.guard, k, "192.0.2.9", 3)
	flush()
	if got := w.about(audit.APIKeyAnomaly); got != nil {
		t.Errorf("of the first network it is told: %q", got)
	}
	useFrom(t, w.guard, k, "192.0.2.9", 1)
	useFrom(t, w.guard, k, "203.0.113.5", 1)
	useFrom(t, w.guard, k, "192.0.2.9", 1)
	useFrom(t, far, k, "203.0.113.6", 2)
	if got := w.about(audit.APIKeyAnomaly); got != nil {
		t.Errorf("at a request it is written: %q", got)
	}
	flush()
	want := []string{"new_network 203.0.113.0 203.0.113.0/24"}
	if diff := cmp.Diff(want, w.about(audit.APIKeyAnomaly, "networks")); diff != "" {
		t.Errorf("two nodes saw another network (-want +got):\n%s", diff)
	}
	useFrom(t, far, k, "2001:db8::5", 1)
	flush()
	want = append(want, "new_network 2001:db8::5 2001:db8::/64")
	if diff := cmp.Diff(want, w.about(audit.APIKeyAnomaly, "networks")); diff != "" {
		t.Errorf("the last one is another network (-want +got):\n%s", diff)
	}
	// Ten times the usual, of both nodes together.
	for range 6 {
		w.turn(time.Hour)
		useFrom(t, w.guard, k, "192.0.2.1", 10)
		flush()
	}
	w.turn(time.Hour)
	useFrom(t, w.guard, k, "192.0.2.1", 60)
	useFrom(t, far, k, "192.0.2.1", 60)
	flush()
	useFrom(t, far, k, "192.0.2.1", 1)
	flush()
	want = append(want, "unusual_use 192.0.2.1")
	if diff := cmp.Diff(want, trimmed(w.about(audit.APIKeyAnomaly, "networks"))); diff != "" {
		t.Errorf("ten times the usual (-want +got):\n%s", diff)
	}
	// There and back before its uses are written down for the first time.
	hasty := w.issue(w.caller(w.signIn("ann")), apikey.UsersRead)
	for _, address := range []string{"192.0.2.1", "198.51.100.7", "192.0.2.1"} {
		useFrom(t, w.guard, hasty, address, 1)
	}
	flush()
	want = append(want, "new_network 198.51.100.0 198.51.100.0/24")
	if diff := cmp.Diff(want, trimmed(w.about(audit.APIKeyAnomaly, "networks"))); diff != "" {
		t.Errorf("in its first minute it was used from two networks (-want +got):\n%s", diff)
	}
}

func trimmed(all []string) []string {
	for i := range all {
		all[i] = strings.TrimSpace(all[i])
	}
	return all
}

// A store that is down loses no network and no use, and what it could not take is told of once.
func TestAnomaliesOutliveAStoreThatIsDown(t *testing.T) {
	w, store := newCountedKeys(t)
	w.user("ann")
	k := w.issue(w.caller(w.signIn("ann")), apikey.UsersRead)
	useFrom(t, w.guard, k, "192.0.2.1", 1)
	w.used(t)
	useFrom(t, w.guard, k, "203.0.113.5", 1)
	useFrom(t, w.guard, k, "192.0.2.1", 1)
	store.off.Store(true)
	for range 2 {
		if err := w.keys.Flush(t.Context()); !errors.Is(err, ports.ErrUnavailable) {
			t.Fatal(err)
		}
	}
	store.off.Store(false)
	w.used(t)
	if diff := cmp.Diff([]string{"new_network 203.0.113.0"}, w.about(audit.APIKeyAnomaly)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// However many networks a key is used from, few are remembered and few told of.
func TestAKeyThatIsUsedFromEverywhereCostsLittle(t *testing.T) {
	w := newWorld(t)
	w.user("ann")
	k := w.issue(w.caller(w.signIn("ann")), apikey.UsersRead)
	useFrom(t, w.guard, k, "192.0.2.1", 1)
	if err := w.keys.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	for i := range 10_000 {
		useFrom(t, w.guard, k, fmt.Sprintf("10.%d.%d.1", i/250, i%250), 1)
	}
	if err := w.keys.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	events := w.about(audit.APIKeyAnomaly, "networks")
	if len(events) != 1 || !strings.HasPrefix(events[0], "many_networks 10.") || len(strings.Fields(events[0])) > apikey.MaxNetworks+2 {
		t.Errorf("events: %q", events)
	}
	if got, err := w.store.APIKeys().Find(t.Context(), k.ID); err != nil || got.Uses != 10_001 {
		t.Errorf("%d uses, %v", got.Uses, err)
	}
}

// Each warning comes once, however many nodes look at once, and after whatever restarts.
func TestWarningsThatAKeyEndsComeOnce(t *testing.T) {
	w := newWorld(t)
	w.user("ann")
	bob := w.user("bob")
	c := w.caller(w.signIn("ann"))
	soon := func(days int) app.IssuedKey {
		t.Helper()
		wish := wish(apikey.UsersRead)
		wish.Life = time.Duration(days) * 24 * time.Hour
		k, err := w.keys.Issue(t.Context(), home, c, wish)
		if err != nil {
			t.Fatal(err)
		}
		return k
	}
	k, _, rotated, revoked := soon(30), soon(60), soon(30), soon(30)
	if _, err := w.keys.Rotate(t.Context(), home, c, rotated.ID, app.Rotation{Life: 90 * 24 * time.Hour, Overlap: 30 * 24 * time.Hour}); err != nil {
		t.Fatal(err)
	}
	if err := w.keys.Revoke(t.Context(), home, c, revoked.ID); err != nil {
		t.Fatal(err)
	}
	bobs := w.issue(w.caller(w.signIn("bob")), apikey.UsersRead)
	if err := w.store.APIKeys().Update(t.Context(), bobs.ID, func(is apikey.Key) (apikey.Key, ports.Effects, error) {
		is.Expires = k.Expires
		return is, ports.Effects{}, nil
	}); err != nil {
		t.Fatal(err)
	}
	if err := w.accounts.Disable(t.Context(), root, bob.ID); err != nil {
		t.Fatal(err)
	}
	var all []string
	for day := range 31 {
		w.turn(24 * time.Hour)
		var nodes sync.WaitGroup
		for range 4 {
			nodes.Go(func() {
				if err := app.NewAPIKeys(w.core, app.NewGuard(w.core)).Warn(t.Context()); err != nil {
					t.Error(err)
				}
			})
		}
		nodes.Wait()
		if is := w.about(audit.APIKeyExpiring, "api_key", "days", "name"); len(is) > len(all) {
			for _, text := range is[len(all):] {
				all = append(all, text)
				if !strings.HasPrefix(text, k.ID.String()) {
					t.Errorf("on day %d: %s", day+1, text)
				}
			}
		}
	}
	if diff := cmp.Diff([]string{k.ID.String() + " 14 deploy bot", k.ID.String() + " 1 deploy bot"}, all); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// One of many nodes looks, every ten minutes; a cursor from the future holds nobody back.
func TestOneNodeLooksForKeysThatEnd(t *testing.T) {
	w := newWorld(t)
	counted := &countedEnds{APIKeys: w.core.Stores.APIKeys}
	w.core.Stores.APIKeys = counted
	round := func() {
		t.Helper()
		var nodes sync.WaitGroup
		for range 8 {
			nodes.Go(func() {
				if err := app.NewAPIKeys(w.core, w.guard).WarnInTurn(t.Context()); err != nil {
					t.Error(err)
				}
			})
		}
		nodes.Wait()
	}
	for minute := range 31 {
		round()
		if want := int64(minute/10 + 1); counted.n.Load() != want {
			t.Fatalf("after %d minutes it was looked %d times, want %d", minute, counted.n.Load(), want)
		}
		w.turn(time.Minute)
	}
	w.clock.Add(-int64(48 * time.Hour / time.Microsecond))
	round()
	if got := counted.n.Load(); got != 5 {
		t.Errorf("after the clock was put right it was looked %d times, want 5", got)
	}
}

type countedEnds struct {
	ports.APIKeys
	n atomic.Int64
}

func (c *countedEnds) Ending(ctx context.Context, from, until instant.Instant, after id.APIKey, limit int) ([]apikey.Key, error) {
	c.n.Add(1)
	return c.APIKeys.Ending(ctx, from, until, after, limit)
}

func TestAKeyWithALimitOfItsOwn(t *testing.T) {
	w := newWorld(t)
	limiter, err := app.NewLimiter(memstore.NewBuckets(memstore.BucketsOptions{}), w.core.Journal, rand.Reader, app.LimiterOptions{PerAddress: 1000, Read: 1000, PerKey: 20, Now: w.core.Now})
	if err != nil {
		t.Fatal(err)
	}
	w.core.Limiter = limiter
	w.user("ann")
	c := w.caller(w.signIn("ann"))
	issue := func(n int64, scopes apikey.Scopes, by app.Caller) (app.IssuedKey, error) {
		wish := wish(scopes)
		wish.Limit = n
		return w.keys.Issue(t.Context(), home, by, wish)
	}
	var bad *apikey.InvalidError
	if _, err := issue(21, apikey.UsersRead, c); !errors.As(err, &bad) || bad.Field != "requests_per_minute" {
		t.Errorf("more than the service gives: %v", err)
	}
	classes := []app.Class{app.Read, app.Verify} // forward-auth has no limit but that of the key
	taken := func(k app.IssuedKey) (n int) {
		who := w.bearer(k)
		for i := range 30 {
			class := app.Read
			if who.Limit != nil {
				class = classes[i%2]
			}
			v, err := limiter.Take(t.Context(), app.Charge{Class: class, Address: abroad.Origin.Address, User: who.User(), Key: who.Claims.APIKey, KeyLimit: who.Limit})
			var limited *ratelimit.LimitedError
			switch {
			case errors.As(err, &limited):
				if v.Policy.Name != "api-key" {
					t.Errorf("refused by %s", v.Policy.Name)
				}
			case err != nil:
				t.Fatal(err)
			default:
				n++
			}
		}
		return n
	}
	all := apikey.UsersRead | apikey.KeysWrite
	for limit, want := range map[int64]int{0: 20, 5: 5, 20: 20} {
		k, err := issue(limit, all, c)
		if err != nil {
			t.Fatal(err)
		}
		if got := taken(k); got != want {
			t.Errorf("with a limit of %d: %d requests, want %d", limit, got, want)
		}
		if limit != 5 {
			continue
		}
		for asked, want := range map[int64]int64{0: 5, 3: 3, 9: 5} { // it gives none that it has not itself
			child, err := issue(asked, apikey.UsersRead, w.bearer(k))
			if err != nil || child.Limit != want {
				t.Errorf("by a key of 5, asked for %d: %d, %v, want %d", asked, child.Limit, err, want)
			}
		}
		next, err := w.keys.Rotate(t.Context(), home, c, k.ID, app.Rotation{Overlap: time.Hour})
		if err != nil {
			t.Fatal(err)
		}
		if got := taken(next); got != 5 {
			t.Errorf("the one that takes its place has %d requests, want 5", got)
		}
	}
}

// A burst of refusals of one key is an alert of its own, however many addresses they come from, and what contains it ends the key.
func TestAlertsOfKeys(t *testing.T) {
	w := newWatchtower(t, "")
	limiter, err := app.NewLimiter(memstore.NewBuckets(memstore.BucketsOptions{}), w.core.Journal, rand.Reader, app.LimiterOptions{})
	if err != nil {
		t.Fatal(err)
	}
	w.core.Limiter = limiter
	w.user("ann")
	k := w.issue(w.caller(w.signIn("ann")), apikey.UsersRead)
	bearer := w.bearer(k)
	for i := range 30 {
		r := request(fmt.Sprintf("10.0.%d.1", i))
		if err := w.guard.Require(t.Context(), r, bearer, apikey.Admin, "GET /api/v1/admin/users"); err == nil {
			t.Fatal("it may")
		}
	}
	if err := w.keys.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	useFrom(t, w.guard, k, "203.0.113.77", 1)
	if err := w.keys.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); w.alerts.Run(ctx) }()
	defer func() { cancel(); <-done }()
	var all []alert.Alert
	tick, late := time.NewTicker(time.Millisecond), time.After(time.Minute)
	defer tick.Stop()
	for len(all) < 2 { // what was counted comes a moment later
		select {
		case <-tick.C:
			w.turn(time.Millisecond)
		case <-late:
			t.Fatalf("alerts: %+v", all)
		}
		b, err := w.store.Alerts().Load(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		all = b.Alerts
	}
	got := map[string]alert.Alert{}
	for _, a := range all {
		got[a.Rule] = a
		if a.Group != k.ID.String() || a.Contain != "xteam api-keys revoke "+k.ID.String()+` --reason "alert `+a.ID+`"` {
			t.Errorf("%s is about %s: %s", a.Rule, a.Group, a.Contain)
		}
	}
	if len(got) != 2 || got["api_key_misused"].Count != 30 || got["api_key_new_network"].Count != 1 {
		t.Fatalf("alerts: %+v", got)
	}
	for _, e := range w.events() {
		if e.Kind == audit.AlertRaised && (e.Details["api_key"] != k.ID.String() || e.Subject != "") {
			t.Errorf("the event of an alert: %+v", e)
		}
	}
	aid := got["api_key_misused"].ID
	if did, err := w.alerts.Contain(t.Context(), root, aid, true); err != nil || did.KeysRevoked != 1 {
		t.Errorf("a dry run: %+v, %v", did, err)
	}
	if _, err := w.admitKey(k); err != nil {
		t.Errorf("after a dry run: %v", err)
	}
	if did, err := w.alerts.Contain(t.Context(), root, aid, false); err != nil || did.KeysRevoked != 1 {
		t.Errorf("contain: %+v, %v", did, err)
	}
	if _, err := w.admitKey(k); err == nil {
		t.Error("it lives")
	}
	if did, err := w.alerts.Contain(t.Context(), root, aid, false); err != nil || did.KeysRevoked != 0 {
		t.Errorf("once more: %+v, %v", did, err)
	}
}

// A text that has proved its key is known again only as it is: what differs anywhere is refused as ever.
func TestAKnownKeyIsProvedAnew(t *testing.T) {
	w := newWorld(t)
	w.user("ann")
	k := w.issue(w.caller(w.signIn("ann")), apikey.UsersRead)
	text := k.Text.RevealPlaintext()
	for range 3 {
		w.bearer(k)
	}
	for i := range text {
		for _, c := range []byte{'_', text[i] ^ 1, text[i] ^ 0x20} {
			other := text[:i] + string(rune(c)) + text[i+1:]
			if other == text {
				continue
			}
			if _, err := w.guard.AdmitKey(t.Context(), abroad, other); err == nil {
				t.Fatalf("byte %d of a key is not looked at", i)
			}
		}
	}
	for _, other := range []string{text + "0", text[:len(text)-1], text[1:]} {
		if _, err := w.guard.AdmitKey(t.Context(), abroad, other); !errors.Is(err, apikey.ErrMalformed) {
			t.Errorf("of another length: %v", err)
		}
	}
	if used := w.used(t); len(used) != 1 || used[0].Uses != 3 {
		t.Errorf("used: %+v", used)
	}
	if err := w.keys.Revoke(t.Context(), home, w.caller(w.signIn("ann")), k.ID); err != nil {
		t.Fatal(err)
	}
	if _, err := w.admitKey(k); err == nil {
		t.Error("a revoked key is let in")
	}
}
