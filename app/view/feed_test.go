package view_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
	"unsafe"

	"github.com/xteam/xteam/app/view"
	"github.com/xteam/xteam/domain/instant"
	"github.com/xteam/xteam/domain/revocation"
	"github.com/xteam/xteam/domain/token"
	"github.com/xteam/xteam/ports"
)

// feed is a source that a test can have hang, fail and lag, as no real one does when asked.
type feed struct {
	mu      sync.Mutex
	changed chan struct{} // closed and replaced when anything below changes
	entries []revocation.Entry
	down    bool // Follow and Record fail
	hung    bool // Follow tells nothing, Record waits for its context
	hold    int  // tell no more than so many entries, and never that that is all; 0: no such bound

	follows int // how often Follow was called
}

var _ ports.Revocations = (*feed)(nil)

func newFeed(entries ...revocation.Entry) *feed {
	return &feed{changed: make(chan struct{}), entries: entries}
}

func (f *feed) set(change func(*feed)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change(f)
	close(f.changed)
	f.changed = make(chan struct{})
}

func (f *feed) Record(ctx context.Context, entries ...revocation.Entry) error {
	f.mu.Lock()
	down, hung := f.down, f.hung
	f.mu.Unlock()
	switch {
	case hung:
		<-ctx.Done()
		return ctx.Err()
	case down:
		return ports.ErrUnavailable
	case ctx.Err() != nil:
		return ctx.Err()
	}
	f.set(func(f *feed) { f.entries = append(f.entries, entries...) })
	return nil
}

func (f *feed) Follow(ctx context.Context, fn func(ports.News) error) error {
	f.mu.Lock()
	f.follows++
	f.mu.Unlock()
	heartbeat := time.NewTicker(time.Second)
	defer heartbeat.Stop()
	for at := 0; ; {
		f.mu.Lock()
		list, changed, down, hung, hold := slices.Clone(f.entries), f.changed, f.down, f.hung, f.hold
		f.mu.Unlock()
		if down {
			return fmt.Errorf("the feed is down: %w", ports.ErrUnavailable)
		}
		if hold > 0 {
			list = list[:hold]
		}
		for !hung && at < len(list) {
			n := min(1000, len(list)-at)
			if err := fn(ports.News{Entries: list[at : at+n]}); err != nil {
				return err
			}
			at += n
		}
		if !hung && hold == 0 {
			if err := fn(ports.News{Caught: true}); err != nil {
				return err
			}
		}
		select {
		case <-changed:
		case <-heartbeat.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (f *feed) holds(e revocation.Entry) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Contains(f.entries, e)
}

func (f *feed) followed() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.follows
}

// numbered is the n-th token's entry, and claims the claims of it.
func numbered(n int) revocation.Entry {
	e := revocation.Entry{Kind: revocation.Token, Reason: revocation.Logout, By: "operator", At: 1_000_000, Until: instant.Forever - 1}
	binary.BigEndian.PutUint64(e.Token[8:], uint64(n)+1)
	return e
}

func claims(n int) *token.Claims { return &token.Claims{ID: numbered(n).Token, IssuedAt: 1} }

// answer is how a test writes what Check says.
func answer(v *view.View, n int) string {
	switch err := v.Check(claims(n)).(type) {
	case nil:
		return "good"
	case *revocation.RevokedError:
		return "revoked: " + err.Reason.String()
	default:
		if err == revocation.ErrStale {
			return "stale"
		}
		return err.Error()
	}
}

func wantAnswer(t *testing.T, v *view.View, n int, want string) {
	t.Helper()
	if got := answer(v, n); got != want {
		t.Errorf("Check of token %d: got %s, want %s", n, got, want)
	}
}

// run runs v, waits until it has heard what there is to hear, and answers how to end it.
func run(t *testing.T, v *view.View) (end func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- v.Run(ctx) }()
	synctest.Wait()
	return func() {
		cancel()
		if err := <-ended; err != context.Canceled {
			t.Errorf("Run: got %v, want %v", err, context.Canceled)
		}
	}
}

// after lets the time d pass, and everything that happens in it.
func after(d time.Duration) {
	time.Sleep(d) //nolint:forbidigo // the bubble's clock
	synctest.Wait()
}

// lines is a logger that keeps its lines.
type lines struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *lines) logger() *slog.Logger { return slog.New(slog.NewJSONHandler(l, nil)) }

// take is the messages since it was last called, each followed by the source that it names.
func (l *lines) take(t *testing.T) []string {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	var list []string
	for line := range strings.Lines(l.buf.String()) {
		var one struct{ Msg, Source string }
		if err := json.Unmarshal([]byte(line), &one); err != nil {
			t.Fatal(err)
		}
		list = append(list, strings.TrimSpace(one.Msg+" "+one.Source))
	}
	l.buf.Reset()
	return list
}

// clock reads the bubble's time as a machine's clock would: a wall time that the test may set, and a monotonic one that nobody can.
// A bubble's own times have no monotonic reading, so it counts from one taken outside.
type clock struct {
	t       *testing.T
	outside time.Time // with a monotonic reading
	start   time.Time // of the bubble
	ahead   atomic.Int64
}

func (c *clock) set(ahead time.Duration) { c.ahead.Store(int64(ahead)) }

// now is by the layout of a Time, since package time has no door for it: the wall clock's seconds stand above 30 bits of nanoseconds.
func (c *clock) now() time.Time {
	steady, ahead := c.outside.Add(time.Since(c.start)), time.Duration(c.ahead.Load())
	at := steady
	*(*uint64)(unsafe.Pointer(&at)) += uint64(int64(ahead/time.Second)) << 30
	if at.Sub(steady) != 0 || at.Round(0).Sub(steady.Round(0)) != ahead {
		c.t.Errorf("the layout of time.Time has changed: %v is %v after %v", at, at.Sub(steady), steady)
	}
	return at
}
