package redisstore_test

import (
	"errors"
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
