package view_test

import (
	"context"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/xteam/xteam/app/view"
	"github.com/xteam/xteam/domain/revocation"
	"github.com/xteam/xteam/ports"
)

// spoilt is a feed of which some cannot be read.
type spoilt struct {
	*feed
	bad    atomic.Pointer[[]string] // told at the next delivery
	mends  []bool                   // the calls of Mend: whether it was to remove
	knew   []revocation.Entry       // what was known of bad ones
	answer ports.Mended
}

func (s *spoilt) Follow(ctx context.Context, fn func(ports.News) error) error {
	return s.feed.Follow(ctx, func(n ports.News) error {
		if bad := s.bad.Swap(nil); bad != nil {
			if err := fn(ports.News{Unread: *bad}); err != nil {
				return err
			}
		}
		return fn(n)
	})
}

func (s *spoilt) Mend(_ context.Context, remove bool, known func([]string) []revocation.Entry) (ports.Mended, error) {
	s.mends = append(s.mends, remove)
	one, unknown := numbered(0), numbered(99)
	s.knew = known([]string{one.Key(), unknown.Key()})
	return s.answer, nil
}

// tell has it tell now that these cannot be read.
func (s *spoilt) tell(keys ...string) {
	s.bad.Store(&keys)
	s.set(func(*feed) {})
}

// polled is a truth that can be asked at once.
type polled struct {
	*feed
	asks atomic.Int64
}

func (p *polled) Ask() {
	p.asks.Add(1)
	p.set(func(*feed) {})
}

func doubtful(t *testing.T, o view.Options) (v *view.View, db *polled, other *spoilt) {
	db, other = &polled{feed: newFeed(numbered(0))}, &spoilt{feed: newFeed(numbered(0))}
	v = view.New(o, view.Source{Name: "database", Truth: true, Revocations: db}, view.Source{Name: "redis", Revocations: other})
	t.Cleanup(run(t, v))
	after(3 * time.Second)
	return v, db, other
}

// What a source holds and cannot be read is asked of the truth at once; then the source counts as before, also while the truth is silent.
func TestTheTruthIsAskedForWhatCannotBeRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log lines
		v, db, other := doubtful(t, view.Options{Logger: log.logger()})
		log.take(t)
		db.set(func(f *feed) { f.entries = append(f.entries, numbered(1)) })
		other.tell("")
		after(110 * time.Millisecond)
		if n := db.asks.Load(); n != 1 {
			t.Errorf("the truth was asked %d times, want once", n)
		}
		after(2 * time.Second)
		db.set(func(f *feed) { f.hung = true })
		after(time.Minute)
		wantAnswer(t, v, 1, "revoked: logout")
		wantAnswer(t, v, 2, "good")
		other.set(func(f *feed) { f.entries = append(f.entries, numbered(3)) })
		after(0)
		wantAnswer(t, v, 3, "revoked: logout")
		told := log.take(t)
		if n := len(slices.DeleteFunc(slices.Clone(told), func(line string) bool { return !strings.Contains(line, "cannot be read") })); n != 1 {
			t.Errorf("the log tells of it %d times, want once: %q", n, told)
		}
	})
}

// While the truth is silent, a source of which something cannot be read is not all there is: closed, never open. What it tells beside that is in force at once all the same.
func TestUnreadWhileTheTruthIsSilent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v, db, other := doubtful(t, view.Options{})
		db.set(func(f *feed) { f.hung = true })
		after(10 * time.Second)
		wantAnswer(t, v, 2, "good")
		other.tell("a key", "")
		after(4 * time.Second)
		wantAnswer(t, v, 2, "good")
		after(2 * time.Second)
		wantAnswer(t, v, 2, "stale")
		if st := v.Status(); st.OK || st.Sources[1].Fresh || !st.Sources[1].Heard {
			t.Errorf("the status is %+v", st)
		}
		other.set(func(f *feed) { f.entries = append(f.entries, numbered(3)) })
		after(0)
		wantAnswer(t, v, 3, "revoked: logout")
		db.set(func(f *feed) { f.hung = false })
		after(2 * time.Second)
		wantAnswer(t, v, 2, "good")
		db.set(func(f *feed) { f.hung = true })
		after(time.Minute)
		wantAnswer(t, v, 2, "good")
	})
}

// A flood of what cannot be read costs some questions a second and one line of the log.
func TestAFloodThatCannotBeRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log lines
		v, db, other := doubtful(t, view.Options{Logger: log.logger()})
		log.take(t)
		for range 3000 {
			other.tell("", "", "")
			after(time.Millisecond)
		}
		if n := db.asks.Load(); n < 15 || n > 35 {
			t.Errorf("in three seconds the truth was asked %d times, want about thirty", n)
		}
		wantAnswer(t, v, 2, "good")
		lines := log.take(t)
		if n := len(slices.DeleteFunc(lines, func(line string) bool { return !strings.Contains(line, "cannot be read") })); n != 1 {
			t.Errorf("the log tells of it %d times, want once", n)
		}
		if n := len(other.mends); n == 0 || n > 10 {
			t.Errorf("it was mended %d times", n)
		}
		if n := v.Unread(); n != 9000 {
			t.Errorf("%d entries are counted as unread, want each of the 9000", n)
		}
	})
}

// What cannot be read is mended once the truth was heard after it, and told of; while something is owed to the truth, nothing is removed.
func TestWhatCannotBeReadIsMended(t *testing.T) {
	for _, owed := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			var told []view.Healing
			v, db, other := doubtful(t, view.Options{AwaitHealer: true})
			other.answer = ports.Mended{Rewritten: 2, Removed: 1, Left: 4}
			db.set(func(f *feed) { f.hung = true })
			other.tell("")
			after(3 * time.Second)
			v.HealBy(view.Healer{Healed: func(h view.Healing) { told = append(told, h) }, Owed: func(context.Context) bool { return owed }})
			after(10 * time.Second)
			if len(other.mends) > 0 {
				t.Fatal("it was mended before the truth was heard")
			}
			db.set(func(f *feed) { f.hung = false })
			after(3 * time.Second)
			if !slices.Equal(other.mends, []bool{!owed}) || len(other.knew) != 1 || other.knew[0] != bareEntry(numbered(0)) {
				t.Errorf("mended with %v, and known was %+v", other.mends, other.knew)
			}
			if len(told) != 1 || told[0].Entries != 2 || told[0].Removed != 1 || !told[0].Unreadable || told[0].Source != "redis" {
				t.Errorf("told of %+v", told)
			}
		})
	}
}
