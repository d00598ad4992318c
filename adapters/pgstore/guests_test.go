package pgstore_test

import (
	"context"
	"fmt"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/xteam/xteam/adapters/pgstore"
	"github.com/xteam/xteam/ports"
	"github.com/xteam/xteam/ports/porttest"
)

// TestGuests: a server of its own, that also listens on a socket of its file system, tells who is connected; a role that may not see others says that it does not.
func TestGuests(t *testing.T) {
	sockets, err := os.MkdirTemp("", "s") // a path of a socket is short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(sockets) })
	if err := own(sockets); err != nil {
		t.Fatal(err)
	}
	s, err := newServer(t, "-c", "unix_socket_directories="+sockets)
	demand(t, err)
	t.Cleanup(s.stop)
	server := s.url("postgres", "")
	for _, statement := range []string{"create database others", "create database kept", "create role guest login password 'guest'", "create role keeper login password 'keeper'", "create database poor owner keeper"} {
		if err := admin(server, statement); err != nil {
			t.Fatal(err)
		}
	}
	connect := func(t *testing.T, text string) (leave func()) {
		t.Helper()
		conn, err := pgx.Connect(t.Context(), text)
		if err != nil {
			t.Fatal(err)
		}
		end := func() { _ = conn.Close(context.Background()) }
		t.Cleanup(end)
		return end
	}
	as := func(user, database string) string {
		u, err := url.Parse(on(server, database))
		if err != nil {
			t.Fatal(err)
		}
		u.User = url.UserPassword(user, user)
		return u.String()
	}
	db, err := pgstore.Open(t.Context(), on(server, "kept"), patient)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	porttest.Guests(t, func(*testing.T) (ports.Guests, func(*testing.T) func(), string) {
		return db.Guests(), func(t *testing.T) func() { return connect(t, as("guest", "kept")) }, "guest"
	})

	t.Run("others' databases, and a socket of this machine", func(t *testing.T) {
		connect(t, as("guest", "others"))
		connect(t, fmt.Sprintf("host=%s port=%d user=xteam password='%s' dbname=kept", sockets, s.port, password))
		all, whole, err := db.Guests().Guests(t.Context())
		local := 0
		for _, g := range all {
			switch {
			case g.User == "guest":
				t.Errorf("a session of another database was told: %+v", g)
			case g.User == "xteam" && g.Address == (netip.Addr{}):
				local += g.Connections
			}
		}
		if err != nil || !whole || local != 1 {
			t.Errorf("got %+v, %v, %v, want one by a socket", all, whole, err)
		}
	})
	t.Run("a role that may not see others", func(t *testing.T) {
		poor, err := pgstore.Open(t.Context(), as("keeper", "poor"), patient)
		if err != nil {
			t.Fatal(err)
		}
		defer poor.Close()
		connect(t, as("guest", "poor"))
		all, whole, err := poor.Guests().Guests(t.Context())
		if err != nil || whole || len(all) != 1 || all[0].User != "keeper" || all[0].Address != netip.MustParseAddr("127.0.0.1") {
			t.Errorf("got %+v, whole %v, %v, want its own alone, and that these are not all", all, whole, err)
		}
		if err := admin(server, "grant pg_monitor to keeper"); err != nil {
			t.Fatal(err)
		}
		if all, whole, err := poor.Guests().Guests(t.Context()); err != nil || !whole || len(all) < 2 {
			t.Errorf("with the right: got %+v, whole %v, %v", all, whole, err)
		}
		seen, err := pgstore.Look(t.Context(), as("keeper", "poor"))
		if err != nil || !seen.Whole || len(seen.Guests) < 2 {
			t.Errorf("looked at: %+v, %v", seen, err)
		}
	})
	t.Run("a server that is gone", func(t *testing.T) {
		s.kill()
		if _, whole, err := db.Guests().Guests(t.Context()); whole || err == nil || strings.Contains(err.Error(), filepath.Base(password)) {
			t.Errorf("got %v, %v", whole, err)
		}
	})
}
