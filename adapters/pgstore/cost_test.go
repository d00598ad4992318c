package pgstore_test

import (
	"context"
	"errors"
	"net"
	"net/url"
	"sync"
	"testing"

	"github.com/xteam/xteam/adapters/pgstore"
	"github.com/xteam/xteam/domain/audit"
	"github.com/xteam/xteam/domain/revocation"
	"github.com/xteam/xteam/domain/session"
	"github.com/xteam/xteam/ports"
)

// counter is a proxy before a server that counts round trips: how often a client speaks after the server has.
type counter struct {
	mu      sync.Mutex
	trips   int
	waiting bool // for the server
}

func (c *counter) heard(client bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if client && !c.waiting {
		c.trips++
	}
	c.waiting = client
}

func (c *counter) since(call func()) int {
	c.mu.Lock()
	before := c.trips
	c.mu.Unlock()
	call()
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.trips - before
}

// before puts the counter before the server of a URL, and answers the URL of the counter.
func (c *counter) before(t testing.TB, text string) string {
	t.Helper()
	u := must(url.Parse(text))
	server := u.Host
	l := must(net.Listen("tcp", "127.0.0.1:0"))
	t.Cleanup(func() { _ = l.Close() })
	pipe := func(to, from net.Conn, client bool) {
		defer to.Close()
		b := make([]byte, 1<<16)
		for {
			n, err := from.Read(b)
			if n > 0 {
				c.heard(client)
				if _, err := to.Write(b[:n]); err != nil {
					return
				}
			}
			if err != nil {
				return
			}
		}
	}
	go func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			upstream, err := net.Dial("tcp", server)
			if err != nil {
				_ = client.Close()
				continue
			}
			go pipe(upstream, client, true)
			go pipe(client, upstream, false)
		}
	}()
	u.Host = l.Addr().String()
	return u.String()
}

// TestRoundTrips: what a call costs on the way to the server, once its statements are known there.
func TestRoundTrips(t *testing.T) {
	c := &counter{}
	db := reopened(t, c.before(t, database(t, t.TempDir())), pgstore.Options{MaxConns: 1})
	v := aSession()
	effects := ports.Effects{Events: []audit.Event{anEvent()}}
	calls := []struct {
		name string
		want int
		call func() error
	}{
		{"Sessions.Create, with an event", 1, func() error { v.ID = aSession().ID; return db.Sessions().Create(t.Context(), v, effects) }},
		{"Sessions.Update, with an event and a revocation", 2, func() error {
			return db.Sessions().Update(t.Context(), v.ID, func(v session.Session) (session.Session, ports.Effects, error) {
				v.Counter++
				return v, ports.Effects{Events: []audit.Event{anEvent()}, Revocations: []revocation.Entry{anEntry()}}, nil
			})
		}},
		{"Sessions.Find", 1, func() error { _, err := db.Sessions().Find(t.Context(), v.ID); return err }},
		{"Revocations.Record", 1, func() error { return db.Revocations().Record(t.Context(), anEntry()) }},
		{"Events.Record", 1, func() error { return db.Events().Record(t.Context(), anEvent()) }},
	}
	for range 2 { // the first time each statement is prepared
		for i, x := range calls {
			var err error
			n := c.since(func() { err = x.call() })
			if err != nil {
				t.Fatalf("%s: %v", x.name, err)
			}
			if calls[i].want = x.want; n != x.want {
				t.Logf("%s: %d round trips", x.name, n)
			}
		}
	}
	for _, x := range calls {
		if n := c.since(func() { _ = x.call() }); n != x.want {
			t.Errorf("%s: got %d round trips, want %d", x.name, n, x.want)
		}
	}
}

// BenchmarkRecord is one revocation a call, from 64 callers.
func BenchmarkRecord(b *testing.B) {
	db, _ := opened(b, patient)
	b.SetParallelism(32)
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if err := db.Revocations().Record(context.Background(), anEntry()); err != nil {
				b.Error(err)
			}
		}
	})
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "entries/s")
}

// BenchmarkRefresh is one session that is changed, with an event, by one caller after another.
func BenchmarkRefresh(b *testing.B) {
	db, _ := opened(b, patient)
	v := aSession()
	if err := db.Sessions().Create(b.Context(), v, ports.Effects{}); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if err := db.Sessions().Update(b.Context(), v.ID, func(v session.Session) (session.Session, ports.Effects, error) {
			v.Counter++
			return v, ports.Effects{Events: []audit.Event{anEvent()}}, nil
		}); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkLoad is a new follower of a million entries.
func BenchmarkLoad(b *testing.B) {
	const many = 1_000_000
	db, _ := opened(b, patient)
	all := make([]revocation.Entry, 10_000)
	for range many / len(all) {
		for i := range all {
			all[i] = anEntry()
		}
		if err := db.Revocations().Record(b.Context(), all...); err != nil {
			b.Fatal(err)
		}
	}
	enough := errors.New("enough")
	for b.Loop() {
		n := 0
		if err := db.Revocations().Follow(b.Context(), func(news ports.News) error {
			if n += len(news.Entries); news.Caught {
				return enough
			}
			return nil
		}); !errors.Is(err, enough) || n != many {
			b.Fatalf("got %d entries, error %v, want %d", n, err, many)
		}
	}
}
