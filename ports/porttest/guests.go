package porttest

import (
	"context"
	"net/netip"
	"testing"
	"time"

	"github.com/xteam/xteam/ports"
)

// Guests is the suite of ports.Guests. The constructor answers the port of a server whose account may see everything, and a way to connect to the server from 127.0.0.1 by other means, as another
// user whose name it answers.
func Guests(t *testing.T, open func(*testing.T) (g ports.Guests, connect func(*testing.T) (leave func()), user string)) {
	loopback := netip.MustParseAddr("127.0.0.1")
	// of is how many connections a user has from the loopback.
	of := func(t *testing.T, g ports.Guests, user string) int {
		t.Helper()
		all, whole, err := g.Guests(t.Context())
		if err != nil || !whole {
			t.Fatalf("Guests: whole %v, %v", whole, err)
		}
		type who struct {
			address netip.Addr
			user    string
		}
		seen, n := map[who]bool{}, 0
		for _, one := range all {
			if seen[who{one.Address, one.User}] || one.Connections < 1 {
				t.Fatalf("%+v came before, or has no connection", one)
			}
			seen[who{one.Address, one.User}] = true
			if one.User == user && one.Address == loopback {
				n = one.Connections
			}
		}
		return n
	}
	until := func(t *testing.T, g ports.Guests, user string, want int) {
		t.Helper()
		deadline := time.Now().Add(patience)
		for got := of(t, g, user); got != want; got = of(t, g, user) {
			if time.Now().After(deadline) {
				t.Fatalf("%s has %d connections, want %d", user, got, want)
			}
		}
	}
	t.Run("who comes and goes", func(t *testing.T) {
		g, connect, user := open(t)
		until(t, g, user, 0)
		leave := connect(t)
		until(t, g, user, 1)
		again := connect(t)
		until(t, g, user, 2)
		again()
		until(t, g, user, 1)
		leave()
		until(t, g, user, 0)
	})
	t.Run("its own", func(t *testing.T) {
		g, _, _ := open(t)
		all, _, err := g.Guests(t.Context())
		if err != nil || len(all) == 0 {
			t.Errorf("got %+v, %v, want this test's own connection at least", all, err)
		}
	})
	t.Run("a cancelled context", func(t *testing.T) {
		g, _, _ := open(t)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, _, err := g.Guests(ctx); err == nil {
			t.Error("Guests succeeded")
		}
	})
}
