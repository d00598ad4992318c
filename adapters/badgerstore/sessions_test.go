package badgerstore_test

import (
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/xteam/xteam/adapters/badgerstore"
	"github.com/xteam/xteam/domain/id"
	"github.com/xteam/xteam/domain/instant"
	"github.com/xteam/xteam/domain/revocation"
	"github.com/xteam/xteam/domain/session"
	"github.com/xteam/xteam/ports"
)

// TestEndedSessionsLeaveTheList: an hour after its end a session is listed no more, but found to the last; one that goes on stays listed.
func TestEndedSessionsLeaveTheList(t *testing.T) {
	dir := t.TempDir()
	at := func(jump time.Duration, do func(t *testing.T, s store)) {
		synctest.Test(t, func(t *testing.T) {
			time.Sleep(jump) //nolint:forbidigo // the bubble's clock
			s := open(t, dir)
			defer s.close(t)
			do(t, s)
		})
	}
	const month = 30 * 24 * time.Hour
	var living, ended session.Session
	at(0, func(t *testing.T, s store) {
		living, ended = aSession(), aSession()
		living.Expires, ended.Expires, ended.User, ended.Created = now().Add(month), now().Add(month), living.User, living.Created-1
		for _, x := range []session.Session{living, ended} {
			if err := s.Sessions().Create(t.Context(), x, ports.Effects{}); err != nil {
				t.Fatal(err)
			}
		}
		if err := s.Sessions().Update(t.Context(), ended.ID, func(x session.Session) (session.Session, ports.Effects, error) {
			x, _ = x.End(revocation.Logout, session.End{Now: now()})
			return x, ports.Effects{}, nil
		}); err != nil {
			t.Fatal(err)
		}
	})
	listed := func(want ...id.Session) func(t *testing.T, s store) {
		return func(t *testing.T, s store) {
			got := must(s.Sessions().OfUser(t.Context(), living.User))
			if len(got) != len(want) {
				t.Fatalf("%d sessions are listed, want %d", len(got), len(want))
			}
			for i := range got {
				if got[i].ID != want[i] {
					t.Errorf("place %d of the list holds another session", i)
				}
			}
			if x, err := s.Sessions().Find(t.Context(), ended.ID); err != nil || x.EndedReason != revocation.Logout {
				t.Errorf("the ended session: got reason %v, %v, want that it is found", x.EndedReason, err)
			}
		}
	}
	at(59*time.Minute, listed(ended.ID, living.ID))
	at(61*time.Minute, listed(living.ID))
	at(month, listed(living.ID))
}

// TestTheListHasAnEnd: of very many sessions the newest are listed.
func TestTheListHasAnEnd(t *testing.T) {
	s := open(t, t.TempDir())
	defer s.close(t)
	const more = 10
	uid, begin := newID[id.User](), now()
	var all sync.WaitGroup
	for w := range 256 {
		all.Go(func() {
			for i := w; i < badgerstore.ListedMost+more; i += 256 {
				x := aSession()
				x.User, x.Created = uid, begin+instant.Instant(i)
				if err := s.Sessions().Create(t.Context(), x, ports.Effects{}); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	all.Wait()
	got := must(s.Sessions().OfUser(t.Context(), uid))
	if len(got) != badgerstore.ListedMost {
		t.Fatalf("%d are listed, want %d", len(got), badgerstore.ListedMost)
	}
	for i := range got {
		if want := begin + more + instant.Instant(i); got[i].Created != want {
			t.Fatalf("place %d holds the one of %v, want %v", i, got[i].Created, want)
		}
	}
}

// BenchmarkOfUser lists the one living session of a user who has signed in and out 20,000 times since yesterday.
func BenchmarkOfUser(b *testing.B) {
	s := open(b, b.TempDir())
	defer s.close(b)
	uid, begin := newID[id.User](), now().Add(-24*time.Hour)
	create := func(i int) {
		x := aSession()
		x.User, x.Created, x.Expires = uid, begin.Add(time.Duration(i)*time.Second), now().Add(30*24*time.Hour)
		if err := s.Sessions().Create(b.Context(), x, ports.Effects{}); err != nil {
			b.Error(err)
		}
		if i == 20_000 {
			return
		}
		if err := s.Sessions().Update(b.Context(), x.ID, func(x session.Session) (session.Session, ports.Effects, error) {
			x, _ = x.End(revocation.Logout, session.End{Now: x.Created + 1})
			return x, ports.Effects{}, nil
		}); err != nil {
			b.Error(err)
		}
	}
	var all sync.WaitGroup
	for w := range 256 {
		all.Go(func() {
			for i := w; i <= 20_000; i += 256 {
				create(i)
			}
		})
	}
	all.Wait()
	b.ReportAllocs()
	var got []session.Session
	for b.Loop() {
		got = must(s.Sessions().OfUser(b.Context(), uid))
	}
	b.ReportMetric(float64(len(got)), "listed")
}
