package httpapi_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/xteam/xteam/app"
	"github.com/xteam/xteam/domain/account"
	"github.com/xteam/xteam/domain/id"
)

// emptied waits until nobody has a seat, and answers how long that took.
func emptied(tethers *app.Tethers, within time.Duration) time.Duration {
	begun := time.Now()
	for tethers.Open() > 0 && time.Since(begun) < within {
		<-time.After(5 * time.Millisecond)
	}
	return time.Since(begun)
}

// What a heartbeat vouches for has been told before it.
func TestAHeartbeatComesAfterWhatWasMissed(t *testing.T) {
	s := newService(t)
	s.user("root", account.RoleAdmin)
	base, tethers := s.streaming(t)
	boss := s.signIn("root").AccessToken
	f := follow(t, base+"/api/v1/revocations", boss, "")
	place := f.want("snapshot", "").id
	_ = f.resp.Body.Close()
	emptied(tethers, 10*time.Second)
	const missed = 2000
	log, _, _ := s.all.Feed.Follow("")
	logged := map[id.Session]bool{}
	for n := range missed {
		s.core.View.Publish(t.Context(), entryOf(n))
		for n%500 == 499 && len(logged) <= n { // a follower of the view that falls behind is told everything, in no order
			entries, err := log.Next(t.Context())
			check(t, err)
			for i := range entries {
				logged[entries[i].Session] = true
			}
		}
	}
	f = follow(t, base+"/api/v1/revocations", boss, place)
	told, beat := map[string]bool{}, false
	event := ""
	for !beat && f.in.Scan() {
		switch line := f.in.Text(); {
		case strings.HasPrefix(line, "event: "):
			event = line[7:]
		case strings.HasPrefix(line, "data: ") && event == "revocation":
			told[line] = true
		case strings.HasPrefix(line, "data: ") && event == "heartbeat":
			beat = true
			if !strings.Contains(line, `"elapsed_ms":`) || !strings.Contains(line, `"age_ms":`) {
				t.Errorf("a heartbeat says %s", line)
			}
		}
	}
	if !beat || len(told) < missed {
		t.Errorf("a heartbeat (%v) came after %d of %d", beat, len(told), missed)
	}
}

// crowd makes so much live that a snapshot fills every buffer on its way.
func (s *service) crowd(t *testing.T) {
	t.Helper()
	e := entryOf(0)
	for n := range 60_000 {
		e.Session = id.Session{byte(n), byte(n >> 8), byte(n >> 16), 9}
		s.core.View.Publish(t.Context(), e)
	}
}

func dialFeed(t *testing.T, base, text string) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", strings.TrimPrefix(base, "http://"))
	check(t, err)
	t.Cleanup(func() { _ = c.Close() })
	check(t, c.(*net.TCPConn).SetReadBuffer(64<<10))
	_, err = fmt.Fprintf(c, "GET /api/v1/revocations HTTP/1.1\r\nHost: x\r\nAccept: text/event-stream\r\nAuthorization: Bearer %s\r\n\r\n", text)
	check(t, err)
	return c
}

// A reader whose token is withdrawn is told nothing more, be it slow or standing still.
func TestASlowReaderDoesNotOutliveItsToken(t *testing.T) {
	s := newService(t)
	s.user("root", account.RoleAdmin)
	base, tethers := s.streaming(t)
	s.crowd(t)
	for name, pace := range map[string]time.Duration{"slow": 50 * time.Millisecond, "standing still": time.Hour} {
		p := s.signIn("root")
		c := dialFeed(t, base, p.AccessToken)
		in := bufio.NewReader(c)
		_, err := io.CopyN(io.Discard, in, 1000)
		check(t, err)
		over := make(chan struct{})
		read := make(chan struct{})
		go func() {
			defer close(read)
			for {
				select {
				case <-over:
					return
				case <-time.After(pace):
				}
				if _, err := io.CopyN(io.Discard, in, 50<<10); err != nil {
					return
				}
			}
		}()
		<-time.After(300 * time.Millisecond) // by then a write waits for the reader
		if tethers.Open() != 1 {
			t.Fatalf("%s: %d are open", name, tethers.Open())
		}
		who, err := s.all.Guard.Admit(p.AccessToken)
		check(t, err)
		check(t, s.all.Sessions.Logout(t.Context(), app.Request{}, who))
		if took := emptied(tethers, 20*time.Second); took > 10*time.Second {
			t.Errorf("%s: the seat was given back %v after the log-out", name, took)
		}
		close(over)
		_ = c.Close()
		<-read
	}
}
