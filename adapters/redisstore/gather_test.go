package redisstore_test

import (
	"bytes"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	ourports "github.com/xteam/xteam/ports"
)

// TestRecordingsShareRuns: what is recorded while Redis is busy goes by a few runs of the script, and all of it is there. When Redis takes none of it, everybody hears so.
func TestRecordingsShareRuns(t *testing.T) {
	server := start(t)
	o := at(server)
	o.Timeout = time.Minute
	s := open(t, o)
	record(t, s, newEntry()) // the script is loaded
	before := calls(t, server, "evalsha")
	server.signal(t, syscall.SIGSTOP)
	entries := newEntries(200)
	var all sync.WaitGroup
	for i := range entries {
		all.Go(func() {
			if err := s.Revocations().Record(t.Context(), entries[i]); err != nil {
				t.Errorf("Record: %v", err)
			}
		})
	}
	eventually(t, "all but the first few wait", func() bool { return s.Gathering() >= len(entries)-16 })
	server.signal(t, syscall.SIGCONT)
	all.Wait()
	if n := calls(t, server, "evalsha") - before; n > 1+(len(entries)+15)/16 {
		t.Errorf("%d recordings took %d runs", len(entries), n)
	}
	held := holds(t, s)
	for i := range entries {
		if !held[entries[i].Key()] {
			t.Errorf("entry %d is not there", i)
		}
	}
	s = open(t, at(server))
	server.signal(t, syscall.SIGSTOP)
	defer server.signal(t, syscall.SIGCONT)
	for range 20 {
		all.Go(func() {
			if err := s.Revocations().Record(t.Context(), newEntry()); !errors.Is(err, ourports.ErrUnavailable) {
				t.Errorf("Record on a hung server: got %v, want ErrUnavailable", err)
			}
		})
	}
	all.Wait()
}

// breaking is a ring that panics over what somebody named poison has revoked. Its first work waits for the gate.
type breaking struct {
	ring
	begun, gate chan struct{}
	once        *sync.Once
}

func (b breaking) MAC(key uint16, message []byte) ([32]byte, bool) {
	b.once.Do(func() { close(b.begun); <-b.gate })
	if bytes.Contains(message, []byte("poison")) {
		panic("broken")
	}
	return b.ring.MAC(key, message)
}

// TestAPanicOfARecording is an error to whoever's entry it is, of which nothing is known; what was gathered with it is recorded, and so is what comes later.
func TestAPanicOfARecording(t *testing.T) {
	o := at(start(t))
	o.Timeout = time.Minute
	var log strings.Builder
	o.Logger = slog.New(slog.NewTextHandler(&log, nil))
	s := open(t, o)
	macs := breaking{3, make(chan struct{}), make(chan struct{}), new(sync.Once)}
	r := s.Revocations().Sealed(macs)
	entries := newEntries(6)
	entries[3].By = "poison"
	errs := make([]error, len(entries))
	var all sync.WaitGroup
	all.Go(func() { errs[0] = r.Record(t.Context(), entries[0]) })
	<-macs.begun
	for i := range entries[1:] {
		all.Go(func() { errs[i+1] = r.Record(t.Context(), entries[i+1]) })
	}
	eventually(t, "all others wait", func() bool { return s.Gathering() == len(entries)-1 })
	close(macs.gate)
	all.Wait()
	for i, err := range errs {
		switch {
		case i == 3 && (!errors.Is(err, ourports.ErrUnavailable) || strings.Contains(err.Error(), "broken") || !strings.Contains(err.Error(), "not known")):
			t.Errorf("whose it is: got %v, want ErrUnavailable of unknown outcome, and not what the panic said", err)
		case i != 3 && err != nil:
			t.Errorf("entry %d: %v", i, err)
		}
	}
	if !strings.Contains(log.String(), "broken") || !strings.Contains(log.String(), "gather.go") {
		t.Errorf("the log: %s", log.String())
	}
	later := newEntry()
	ok(t, r.Record(t.Context(), later))
	if got, unread := look(t, s.Revocations().Sealed(ring(3))); len(got) != len(entries) || len(unread) > 0 { // all but the one, and the later
		t.Errorf("%d entries are there, and %d that cannot be read; want %d", len(got), len(unread), len(entries))
	}
}
