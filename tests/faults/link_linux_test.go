package faults_test

import (
	"fmt"
	"net"
	"sync"
	"testing"
	"time"
)

// link is a network between a client and a server: what is sent through it may be held back, each way by itself, or come late.
//
// What a real network drops is sent again by TCP when it is whole again, so nothing is ever lost here but held back; a connection that is asked for meanwhile is
// accepted, as by a backlog, and stays silent.
type link struct {
	t    testing.TB
	port int

	mu      sync.Mutex
	change  *sync.Cond
	target  string
	there   bool // what goes to the server is held back
	back    bool // what comes from it is
	late    time.Duration
	open    map[net.Conn]bool
	closing bool
}

// newLink puts a link before a server's port of the loopback interface.
func newLink(t testing.TB, port int) *link {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := &link{t: t, port: listener.Addr().(*net.TCPAddr).Port, target: fmt.Sprintf("127.0.0.1:%d", port), open: map[net.Conn]bool{}}
	l.change = sync.NewCond(&l.mu)
	var running sync.WaitGroup
	running.Go(func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return
			}
			running.Go(func() { l.carry(client) })
		}
	})
	t.Cleanup(func() {
		_ = listener.Close()
		l.set(func() { l.closing, l.there, l.back = true, false, false })
		l.hangUp()
		running.Wait()
	})
	return l
}

// set changes the link.
func (l *link) set(change func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	change()
	l.change.Broadcast()
}

// cut holds back what goes there and what comes back; whole ends all that.
func (l *link) cut(there, back bool) { l.set(func() { l.there, l.back = there, back }) }
func (l *link) whole()               { l.set(func() { l.there, l.back, l.late = false, false, 0 }) }

// delays has everything come that much later.
func (l *link) delays(d time.Duration) { l.set(func() { l.late = d }) }

// leadsTo has every connection lead to another port from now on; those that are open end.
func (l *link) leadsTo(port int) {
	l.set(func() { l.target = fmt.Sprintf("127.0.0.1:%d", port) })
	l.hangUp()
}

// hangUp ends every connection.
func (l *link) hangUp() {
	l.set(func() {
		for c := range l.open {
			_ = c.Close()
			delete(l.open, c)
		}
	})
}

// note keeps a connection among those that are open, or not; false: the link is closing.
func (l *link) note(c net.Conn, open bool) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if open && !l.closing {
		l.open[c] = true
		return true
	}
	delete(l.open, c)
	_ = c.Close()
	l.change.Broadcast()
	return false
}

func (l *link) carry(client net.Conn) {
	l.mu.Lock()
	target := l.target
	l.mu.Unlock()
	server, err := net.Dial("tcp", target)
	if err != nil {
		_ = client.Close()
		return
	}
	if !l.note(client, true) || !l.note(server, true) {
		_, _ = l.note(client, false), l.note(server, false)
		return
	}
	var both sync.WaitGroup
	both.Go(func() { l.pipe(server, client, func() bool { return l.there }) })
	both.Go(func() { l.pipe(client, server, func() bool { return l.back }) })
	both.Wait()
}

// parcel is what was read, and when it arrives.
type parcel struct {
	text []byte
	due  time.Time
}

// pipe carries one direction, in order, until one of its ends is gone; then the other goes too.
func (l *link) pipe(to, from net.Conn, held func() bool) {
	parcels := make(chan parcel, 1024)
	var sending sync.WaitGroup
	sending.Go(func() {
		for p := range parcels {
			if d := time.Until(p.due); d > 0 {
				wait(d)
			}
			l.mu.Lock()
			for held() && l.open[to] {
				l.change.Wait()
			}
			l.mu.Unlock()
			if _, err := to.Write(p.text); err != nil {
				_ = from.Close()
			}
		}
		_, _ = l.note(to, false), l.note(from, false)
	})
	b := make([]byte, 64<<10)
	for {
		n, err := from.Read(b)
		if n > 0 {
			l.mu.Lock()
			late := l.late
			l.mu.Unlock()
			parcels <- parcel{append([]byte(nil), b[:n]...), time.Now().Add(late)}
		}
		if err != nil {
			break
		}
	}
	close(parcels)
	sending.Wait()
}

func (l *link) url() string { return fmt.Sprintf("redis://127.0.0.1:%d", l.port) }

// A link holds back one way and not the other, is late as it is told, and nothing that went through it is lost.
func TestLink(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = listener.Close() }()
	heard := make(chan string, 16)
	go func() { // an echo
		for {
			c, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				defer func() { _ = c.Close() }()
				b := make([]byte, 64)
				for {
					n, err := c.Read(b)
					if err != nil {
						return
					}
					heard <- string(b[:n])
					_, _ = c.Write(b[:n])
				}
			}()
		}
	}()
	l := newLink(t, listener.Addr().(*net.TCPAddr).Port)
	c, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", l.port))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	b := make([]byte, 64)
	say := func(text string) {
		if _, err := c.Write([]byte(text)); err != nil {
			t.Fatal(err)
		}
	}
	answered := func(within time.Duration) string {
		_ = c.SetReadDeadline(time.Now().Add(within))
		n, _ := c.Read(b)
		return string(b[:n])
	}
	say("a")
	if got := <-heard + answered(patience); got != "aa" {
		t.Errorf("a whole link: got %q", got)
	}
	l.cut(false, true)
	say("b")
	if got := <-heard + answered(50*time.Millisecond); got != "b" {
		t.Errorf("nothing comes back: got %q", got)
	}
	l.cut(true, false)
	if got := answered(patience); got != "b" {
		t.Errorf("what was held back: got %q", got)
	}
	say("c")
	if got := answered(50 * time.Millisecond); got != "" || len(heard) > 0 {
		t.Errorf("nothing gets there: got %q, and the server heard %d", got, len(heard))
	}
	l.whole()
	if got := <-heard + answered(patience); got != "cc" {
		t.Errorf("whole again: got %q", got)
	}
	l.delays(100 * time.Millisecond)
	begun := time.Now()
	say("d")
	if got, took := <-heard+answered(patience), time.Since(begun); got != "dd" || took < 200*time.Millisecond {
		t.Errorf("100 ms late each way: got %q after %v", got, took)
	}
}
