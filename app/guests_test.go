package app_test

import (
	"context"
	"errors"
	"net/netip"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/xteam/xteam/adapters/memstore"
	"github.com/xteam/xteam/app"
	"github.com/xteam/xteam/domain/alert"
	"github.com/xteam/xteam/domain/audit"
	"github.com/xteam/xteam/domain/instant"
	"github.com/xteam/xteam/ports"
)

// hall is the server of a store, with whoever the test lets in.
type hall struct {
	mu    sync.Mutex
	all   []ports.Guest
	part  bool
	err   error
	hang  bool
	asked int
}

func (h *hall) Guests(ctx context.Context) ([]ports.Guest, bool, error) {
	h.mu.Lock()
	h.asked++
	all, whole, err, hang := h.all, !h.part, h.err, h.hang
	h.mu.Unlock()
	if hang {
		<-ctx.Done()
		return nil, false, ctx.Err()
	}
	return all, whole, err
}

func (h *hall) set(f func()) { h.mu.Lock(); defer h.mu.Unlock(); f() }

func guest(address, user string) ports.Guest {
	g := ports.Guest{User: user, Connections: 1}
	if address != "" {
		g.Address = netip.MustParseAddr(address)
	}
	return g
}

// One node of many looks once a minute; what comes from outside is told of once in a cooldown, an alert comes of it, and what is not seen is not taken for nothing.
func TestGuestsFromOutside(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := memstore.New()
		database, redis := &hall{}, &hall{}
		database.all = []ports.Guest{guest("10.1.2.3", "xteam"), guest("", "postgres"), guest("fd00::7", "xteam")}
		var nodes []*app.Guests
		var logs journal
		for i := range 2 {
			core := &app.Core{Stores: app.Stores{Events: store.Events(), Trail: store.Trail(), Cursors: store.Cursors()}, Random: &counter{n: uint64(i)}, Now: time.Now, Journal: &logs}
			g, err := app.NewGuests(core, []app.WatchedStore{{Name: "database", Guests: database}, {Name: "redis", Guests: redis}}, app.GuestsOptions{Networks: []netip.Prefix{netip.MustParsePrefix("::ffff:10.0.0.0/104"), netip.MustParsePrefix("fd00::/8")}})
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithCancel(t.Context())
			done := make(chan struct{})
			go func() { defer close(done); g.Run(ctx) }()
			t.Cleanup(func() { cancel(); <-done })
			nodes = append(nodes, g)
		}
		told := func() (all []audit.Event) {
			t.Helper()
			events, _, err := store.Events().List(t.Context(), 0, 100)
			if err != nil {
				t.Fatal(err)
			}
			for i := range events {
				if events[i].Kind == audit.StoreSessionForeign {
					all = append(all, events[i])
				}
			}
			return all
		}
		status := func() []app.GuestsStatus {
			if all := nodes[0].Status(); len(all) > 0 {
				return all
			}
			return nodes[1].Status()
		}
		after(10 * time.Minute)
		if got := told(); len(got) != 0 {
			t.Fatalf("told of who may be there: %+v", got)
		}
		if st := status(); len(st) != 2 || st[0].Foreign != 0 || st[0].Unknown != "" || time.Since(st[0].Looked) > time.Minute+10*time.Second {
			t.Fatalf("status: %+v", st)
		}
		if database.asked < 9 || database.asked > 11 {
			t.Errorf("asked %d times in ten minutes, want once a minute, by one node", database.asked)
		}

		database.set(func() {
			database.all = append(database.all, guest("203.0.113.9", "xteam"), guest("203.0.113.9", "postgres"), guest("2001:db8::9", "xteam"))
		})
		redis.set(func() { redis.all = []ports.Guest{guest("203.0.113.9", "default")} })
		after(time.Minute + 6*time.Second)
		got := told()
		if len(got) != 3 || got[0].IPAddress != "203.0.113.9" || got[0].Details["store"] != "database" || got[1].IPAddress != "2001:db8::9" || got[2].Details["store"] != "redis" || got[2].Severity != audit.Critical {
			t.Errorf("told of %+v, want once of each address at each store", got)
		}
		if st := status(); st[0].Foreign != 3 || st[1].Foreign != 1 {
			t.Errorf("status: %+v", st)
		}
		engine := alert.NewEngine(alert.Rules())
		raised := map[string]string{}
		for i := range got {
			for _, f := range engine.Take(&got[i], instant.Of(time.Now()), false) {
				raised[f.Group] = f.Rule
			}
		}
		if len(raised) != 2 || raised["203.0.113.9"] != alert.ForeignStoreSession {
			t.Errorf("alerts: %v", raised)
		}
		after(50 * time.Minute)
		if n := len(told()); n != 3 {
			t.Errorf("told of %d, within the cooldown", n)
		}
		after(12 * time.Minute)
		if n := len(told()); n != 6 {
			t.Errorf("told of %d, once more after the cooldown", n)
		}

		for name, how := range map[string]func(){"may not see": func() { redis.all, redis.part = nil, true }, "is silent": func() { redis.part, redis.err = false, errors.New("no answer") }, "hangs": func() { redis.err, redis.hang = nil, true }} {
			redis.set(func() { redis.part, redis.err, redis.hang = false, nil, false; how() })
			after(2 * time.Minute)
			if st := status(); st[1].Unknown == "" || st[0].Unknown != "" || st[0].Foreign != 3 {
				t.Errorf("%s: status %+v", name, st)
			}
		}
	})
	if st := (*app.Guests)(nil).Status(); st != nil {
		t.Errorf("without a watch: %+v", st)
	}
}

// More than are told of at a time are told of the next times; none is lost, whatever becomes of the store of events.
func TestManyGuestsFromOutside(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := memstore.New()
		h := &hall{}
		for i := range 100 {
			h.all = append(h.all, guest(netip.AddrFrom4([4]byte{203, 0, 113, byte(i)}).String(), "x"))
		}
		core := &app.Core{Stores: app.Stores{Events: store.Events(), Trail: store.Trail(), Cursors: store.Cursors()}, Random: &counter{}, Now: time.Now, Journal: &journal{}}
		g, err := app.NewGuests(core, []app.WatchedStore{{Name: "database", Guests: h}}, app.GuestsOptions{Networks: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { defer close(done); g.Run(ctx) }()
		t.Cleanup(func() { cancel(); <-done })
		after(5 * time.Minute)
		events, _, err := store.Events().List(t.Context(), 0, 1000)
		seen := map[string]bool{}
		for i := range events {
			seen[events[i].IPAddress] = true
		}
		if err != nil || len(events) != 100 || len(seen) != 100 {
			t.Errorf("%d events of %d addresses, %v, want one of each of 100", len(events), len(seen), err)
		}
	})
}
