package redisstore_test

import (
	"context"
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/xteam/xteam/adapters/redisstore"
	ourports "github.com/xteam/xteam/ports"
	"github.com/xteam/xteam/ports/porttest"
)

// dial connects to a Redis by other means.
func dial(t *testing.T, o *redis.Options) (leave func()) {
	t.Helper()
	o.DisableIdentity, o.PoolSize = true, 1
	c := redis.NewClient(o)
	ok(t, c.Ping(t.Context()).Err())
	t.Cleanup(func() { _ = c.Close() })
	return func() { _ = c.Close() }
}

func TestGuests(t *testing.T) {
	folder, err := os.MkdirTemp("", "s") // a path of a socket is short
	ok(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(folder) })
	socket := filepath.Join(folder, "redis sock")
	s := start(t, "--unixsocket", socket)
	c := redis.NewClient(&redis.Options{Addr: s.address()})
	defer c.Close()
	ok(t, c.Do(t.Context(), "ACL", "SETUSER", "guest", "on", ">guest", "~*", "+@all").Err())
	ok(t, c.Do(t.Context(), "ACL", "SETUSER", "poor", "on", ">poor", "~*", "+@all", "-client|list").Err())
	store := open(t, at(s))
	porttest.Guests(t, func(*testing.T) (ourports.Guests, func(*testing.T) func(), string) {
		return store.Guests(), func(t *testing.T) func() {
			return dial(t, &redis.Options{Addr: s.address(), Username: "guest", Password: "guest"})
		}, "guest"
	})
	t.Run("a socket of this machine", func(t *testing.T) {
		dial(t, &redis.Options{Network: "unix", Addr: socket, Username: "guest", Password: "guest"})
		all, whole, err := store.Guests().Guests(t.Context())
		ok(t, err)
		n := 0
		for _, g := range all {
			if g.User == "guest" && g.Address == (netip.Addr{}) {
				n += g.Connections
			}
		}
		if !whole || n != 1 {
			t.Errorf("got %+v, whole %v, want one by a socket", all, whole)
		}
	})
	t.Run("a user that may not ask", func(t *testing.T) {
		o := at(s)
		o.Username, o.Password = "poor", hidden("poor")
		all, whole, err := open(t, o).Guests().Guests(t.Context())
		if err != nil || whole || len(all) != 0 {
			t.Errorf("got %+v, whole %v, %v, want that nobody was seen", all, whole, err)
		}
	})
	t.Run("a server that is gone", func(t *testing.T) {
		s.kill()
		if _, whole, err := store.Guests().Guests(context.Background()); whole || !errors.Is(err, ourports.ErrUnavailable) {
			t.Errorf("got %v, %v", whole, err)
		}
	})
}

// What a server lists that this program does not know is not taken for nothing.
func TestLinesOfClients(t *testing.T) {
	for text, want := range map[string]bool{
		"": true,
		"id=3 addr=127.0.0.1:52555 laddr=127.0.0.1:6379 fd=8 name= user=default flags=N\n": true,
		"id=3 addr=[::ffff:127.0.0.1]:5 name=addr=10.0.0.1:1 user=default flags=N\n":       true,
		"id=3 addr=/run/redis.sock:0 user=default flags=U\r\n":                             true,
		"id=3 addr=?:0 user=default flags=N\n":                                             false,
		"id=3 user=default\n":                                                              false,
		"?":                                                                                false,
		"id=3 addr=planted:6379 flags=M\n":                                                 true,
	} {
		if got := redisstore.Whole(text); got != want {
			t.Errorf("%q: got %v", text, got)
		}
	}
}
