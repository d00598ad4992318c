package app_test

import (
	"errors"
	"testing"
	"time"

	"github.com/xteam/xteam/app"
	"github.com/xteam/xteam/domain/instant"
	"github.com/xteam/xteam/domain/keyset"
	"github.com/xteam/xteam/domain/system"
	"github.com/xteam/xteam/ports"
)

// A restore that is cut off, wherever that is, leaves a store in which nothing of before is good, and the next one ends what was issued before the first: the epoch never goes back.
func TestARestoreThatIsCutOff(t *testing.T) {
	backup, w := newWorld(t), newWorld(t)
	backup.user("ann")
	pair := backup.signIn("ann")
	const before = 7
	w.must(w.store.System().Update(t.Context(), func(s system.State) (system.State, ports.Effects, error) {
		s.Epoch = before
		return s, ports.Effects{}, nil
	}))
	from, to := backup.core.Stores, w.core.Stores
	noKey := func(string) (keyset.Key, error) { return keyset.Key{}, errors.New("no key of the system's own signs") }
	sid := backup.caller(pair).Session()
	last := system.State{Epoch: before}
	for range 2 {
		r, err := app.Restoring(t.Context(), from, to)
		w.must(err)
		w.must(r.Begin(t.Context(), to, instant.Of(time.Now()), noKey))
		_, err = app.Transfer(t.Context(), from, to)
		w.must(err)
		w.must(app.Compare(t.Context(), from, to))
		// Here it is cut off.
		s, err := to.System.Load(t.Context())
		w.must(err)
		x, err := to.Sessions.Find(t.Context(), sid)
		w.must(err)
		if _, lives := s.MayRefresh(&x); lives || s.Epoch <= last.Epoch || s.SessionsFrom != s.Epoch {
			t.Fatalf("the session of the backup may be refreshed: %v, in %+v, after %+v", lives, s, last)
		}
		last = s
	}
	r, err := app.Restoring(t.Context(), from, to)
	w.must(err)
	w.must(r.Begin(t.Context(), to, instant.Of(time.Now()), noKey))
	_, err = app.Transfer(t.Context(), from, to)
	w.must(err)
	raised, err := r.Finish(t.Context(), to, instant.Of(time.Now()), &counter{n: 1 << 50})
	w.must(err)
	if s, err := to.System.Load(t.Context()); err != nil || raised != last.Epoch+1 || s.Epoch != raised || s.SessionsFrom != raised {
		t.Errorf("in the end the epoch is %d, and the state %+v, %v", raised, s, err)
	}
}
