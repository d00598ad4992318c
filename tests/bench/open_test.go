package bench_test

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/xteam/xteam/adapters/jwtcodec"
	"github.com/xteam/xteam/adapters/memstore"
	"github.com/xteam/xteam/app"
	"github.com/xteam/xteam/app/verify"
	"github.com/xteam/xteam/app/view"
)

// BenchmarkSockets has 10,000 idle WebSockets open at the real program, and ends the session of another user, who has ten among them.
func BenchmarkSockets(b *testing.B) {
	const sockets, own = 10_000, 10
	var files syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &files); err != nil || files.Cur < sockets+500 {
		report.skip(fmt.Sprintf("10,000 sockets: %d files may be open", files.Cur))
		b.Skip("too few files may be open")
	}
	folder := b.TempDir()
	enrol(b, folder)
	const victim = "victim@example.com" // the crowd's events are not theirs
	enrolAs(b, folder, victim, "victim")
	cmd := program(b, folder, "serve")
	cmd.Env = append(cmd.Env, "MAX_CONNECTIONS_PER_USER=20000")
	product := launch(b, cmd)
	token, _ := product.signIn(b)
	before := product.resident(b)
	var all []net.Conn
	defer func() {
		for _, c := range all {
			_ = c.Close()
		}
	}()
	for _, text := range others(b, token, sockets-own) {
		all = append(all, product.socket(b, text))
	}
	<-time.After(2 * time.Second) // idle: what opening them left behind is there
	each := (product.resident(b) - before) * 1024 / float64(len(all))
	var ends spread
	for range 5 {
		token, _ := product.signInAs(b, victim)
		var victims []net.Conn
		for range own {
			victims = append(victims, product.socket(b, token))
		}
		ends = append(ends, product.ended(b, token, victims))
	}
	metric(b, each, "KiB/socket")
	report.add(row{figure: "10,000 idle WebSockets, resident memory each", goal: "≤ 20 KiB", measured: fmt.Sprintf("%.1f KiB", each), met: each <= 20})
	report.add(row{figure: "10,000 sockets: from a user's log-out to the close of their ten", goal: "≤ 100 ms", measured: ends.show("%.1f") + " ms", met: ends.greatest() <= 100})
}

// socket opens a WebSocket, and keeps no buffer for it.
func (s *server) socket(b *testing.B, token string) net.Conn {
	b.Helper()
	c, err := net.Dial("tcp", strings.TrimPrefix(s.base, "http://"))
	if err != nil {
		b.Fatal(err)
	}
	_, err = fmt.Fprintf(c, "GET /ws?token=%s HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n", token)
	if err != nil {
		b.Fatal(err)
	}
	r, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil || r.StatusCode != http.StatusSwitchingProtocols {
		b.Fatal(r, err)
	}
	return c
}

// ended logs a session out, and answers how long it took from the call until each of its sockets was told that it is closed, in milliseconds.
func (s *server) ended(b *testing.B, token string, sockets []net.Conn) float64 {
	b.Helper()
	var told sync.WaitGroup
	for _, c := range sockets {
		told.Go(func() {
			defer func() { _ = c.Close() }()
			_ = c.SetReadDeadline(time.Now().Add(10 * time.Second))
			frame := make([]byte, 4<<10)
			if n, err := c.Read(frame); err != nil || n < 4 || frame[0] != 0x88 {
				b.Errorf("a socket of a session that was ended got % x, %v; want a close", frame[:min(n, 4)], err)
			}
		})
	}
	began := time.Now()
	code, err := s.status(http.MethodPost, "/api/v1/auth/logout", token)
	if err != nil || code != http.StatusNoContent {
		b.Fatalf("log-out: %d %v", code, err)
	}
	told.Wait()
	return float64(time.Since(began).Microseconds()) / 1000
}

// BenchmarkVerify asks a follower in another service about a token that it has seen before, and the guard about the same, among 100,000 live revocations each.
func BenchmarkVerify(b *testing.B) {
	store := memstore.New()
	for i := range 100_000 {
		if err := store.Revocations().Record(b.Context(), entry(i)); err != nil {
			b.Fatal(err)
		}
	}
	v := view.New(view.Options{MaxStaleness: time.Hour}, view.Source{Name: "database", Truth: true, Revocations: store.Revocations()})
	ctx, stop := context.WithCancel(b.Context())
	done := make(chan struct{})
	go func() { defer close(done); _ = v.Run(ctx) }()
	defer func() { stop(); <-done }()
	if err := v.Ready(ctx); err != nil {
		b.Fatal(err)
	}
	codec := newCodec(b, jwtcodec.Options{})
	guard := app.NewGuard(&app.Core{View: v, Codec: codec, Now: time.Now, Tunables: tunables})
	follower, err := verify.Open(ctx, verify.Options{Secret: signing, Source: store.Revocations()})
	if err != nil {
		b.Fatal(err)
	}
	defer follower.Close()
	text := newToken(b, codec)
	admits := func() {
		if _, err := guard.Admit(text); err != nil {
			b.Fatal(err)
		}
	}
	verifies := func() {
		if _, err := follower.Verify(text); err != nil {
			b.Fatal(err)
		}
	}
	admits()
	verifies()
	ns, base := inTurns(9, func() float64 { return cost(100*time.Millisecond, verifies) }, func() float64 { return cost(100*time.Millisecond, admits) })
	ratio := ns.over(base)
	metric(b, ratio.median(), "x-of-admit")
	report.add(row{figure: "a follower's Verify, warm", goal: "≤ 1.2 × Guard.Admit", measured: ns.show("%.0f") + " ns", baseline: "Guard.Admit " + base.shown("%.0f", "ns"), ratio: ratio.show("%.2f"), met: ratio.median() <= 1.2})
}
