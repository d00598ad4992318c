package porttest

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/xteam/xteam/domain/account"
	"github.com/xteam/xteam/domain/id"
	"github.com/xteam/xteam/domain/instant"
	"github.com/xteam/xteam/domain/session"
	"github.com/xteam/xteam/domain/system"
	"github.com/xteam/xteam/ports"
)

func sessionsOf(s Store) keeper[id.Session, session.Session] {
	k := keeper[id.Session, session.Session]{
		key:   func(v session.Session) id.Session { return v.ID },
		fresh: newSession,
		count: func(v session.Session) int64 { return int64(v.Counter) },
		bump: func(v session.Session) session.Session {
			v.Counter++
			v.Last.Successor = slices.Clone(v.Last.Successor)
			return v
		},
		scribble: func(v session.Session) { v.Last.Successor[0]++ },
		moved: map[string]func(session.Session) session.Session{
			"the id":   func(v session.Session) session.Session { v.ID = newID[id.Session](); return v },
			"the user": func(v session.Session) session.Session { v.User = newID[id.User](); return v },
		},
		create: func(context.Context, session.Session, ports.Effects) error { return nil },
	}
	if s.Sessions != nil {
		k.create, k.update, k.find = s.Sessions.Create, s.Sessions.Update, s.Sessions.Find
	}
	return k
}

// Sessions proves a ports.Sessions, and that its effects reach the ports.Revocations and ports.Events of the same store.
func Sessions(t *testing.T, open Open) {
	filled(t, newSession())
	keeping(t, open, sessionsOf)
	ofUser(t, open)
	sub(t, "a session that was never refreshed, and one whose successor was wiped, have none", func(t *testing.T) {
		s := opened(t, open)
		v := newSession()
		v.Last, v.Ended, v.EndedReason = session.Rotation{}, 0, 0
		if err := s.Sessions.Create(t.Context(), v, ports.Effects{}); err != nil {
			t.Fatalf("Create: %v", err)
		}
		sessionsOf(s).holds(t, v)
		if got, err := s.Sessions.Find(t.Context(), v.ID); err != nil || got.Last.Successor != nil {
			t.Errorf("Find of one that was never refreshed: got successor %v, error %v, want nil", got.Last.Successor, err)
		}
		w := sessionsOf(s).made(t)
		if err := s.Sessions.Update(t.Context(), w.ID, func(w session.Session) (session.Session, ports.Effects, error) {
			w.Last.Successor = nil
			return w, ports.Effects{}, nil
		}); err != nil {
			t.Fatalf("Update: %v", err)
		}
		if got, err := s.Sessions.Find(t.Context(), w.ID); err != nil || got.Last.Successor != nil {
			t.Errorf("Find of one that was wiped: got successor %v, error %v, want nil", got.Last.Successor, err)
		}
	})
	sub(t, "a session is not forgotten within an hour after its Expires", func(t *testing.T) {
		s := opened(t, open)
		v := newSession()
		v.Expires = wall().Add(-55 * time.Minute)
		v.Idle, v.LastUsed, v.Created, v.Ended = v.Expires-1, v.Expires-2, v.Expires-3, v.Expires-1
		if err := s.Sessions.Create(t.Context(), v, ports.Effects{}); err != nil {
			t.Fatalf("Create: %v", err)
		}
		sessionsOf(s).holds(t, v)
		v = sessionsOf(s).bump(v)
		if err := s.Sessions.Update(t.Context(), v.ID, func(session.Session) (session.Session, ports.Effects, error) { return v, ports.Effects{}, nil }); err != nil {
			t.Fatalf("Update: %v", err)
		}
		sessionsOf(s).holds(t, v)
		if all, err := s.Sessions.OfUser(t.Context(), v.User); err != nil || len(all) != 1 {
			t.Errorf("OfUser: got %d, error %v, want 1", len(all), err)
		}
	})
	sub(t, "of 100 concurrent refreshes of one token one rotates it, and the others get the same successor", func(t *testing.T) { refreshing(t, open) })
	sub(t, "a random walk agrees with a map", func(t *testing.T) { walkSessions(t, open) })
}

func ofUser(t *testing.T, open Open) {
	sub(t, "OfUser answers the sessions of a user, expired ones and those that ended of late too, oldest first by Created", func(t *testing.T) {
		s := opened(t, open)
		ann, bob, now := newID[id.User](), newID[id.User](), wall()
		var want []session.Session
		for _, age := range []time.Duration{3, 1, 4, 15, 9, 2, 6} {
			v := newSession()
			v.User, v.Created = ann, now.Add(-age*time.Hour)
			switch age {
			case 4: // live
				v.Ended, v.EndedReason = 0, 0
			case 15: // expired a while ago
				v.Expires, v.Idle = now.Add(-30*time.Minute), now.Add(-time.Hour)
			case 9: // live, idle for too long
				v.Ended, v.EndedReason, v.Idle = 0, 0, now.Add(-time.Hour)
			}
			want = append(want, v)
			other := newSession()
			other.User = bob
			for _, v := range []session.Session{v, other} {
				if err := s.Sessions.Create(t.Context(), v, ports.Effects{}); err != nil {
					t.Fatalf("Create: %v", err)
				}
			}
		}
		slices.SortFunc(want, func(a, b session.Session) int { return int(a.Created - b.Created) })
		got, err := s.Sessions.OfUser(t.Context(), ann)
		if diff := differ(want, got); err != nil || diff != "" {
			t.Fatalf("OfUser: error %v (-want +got):\n%s", err, diff)
		}
		got[0].Last.Successor[0]++
		got[0], got[1] = got[1], got[0]
		got, err = s.Sessions.OfUser(t.Context(), ann)
		if diff := differ(want, got); err != nil || diff != "" {
			t.Errorf("OfUser after the caller changed what it got: error %v (-want +got):\n%s", err, diff)
		}
		if got, err := s.Sessions.OfUser(t.Context(), newID[id.User]()); err != nil || len(got) != 0 {
			t.Errorf("OfUser of nobody: got %d, error %v, want none", len(got), err)
		}
		ended(t, map[string]func(context.Context) error{
			"OfUser": func(ctx context.Context) error { _, err := s.Sessions.OfUser(ctx, ann); return err },
		})
	})
	sub(t, "Standing answers a session, its account and the state as they were committed last", func(t *testing.T) {
		s := opened(t, open)
		if s.Accounts == nil || s.System == nil {
			t.Skip("the store keeps no accounts, or no state")
		}
		a, v := newAccount(), newSession()
		v.User = a.ID
		if _, err := s.Sessions.Standing(t.Context(), v.ID); !errors.Is(err, ports.ErrNotFound) {
			t.Errorf("of no session: error %v, want ErrNotFound", err)
		}
		if err := s.Sessions.Create(t.Context(), v, ports.Effects{}); err != nil {
			t.Fatalf("Create: %v", err)
		}
		if got, err := s.Sessions.Standing(t.Context(), v.ID); !errors.Is(err, ports.ErrNotFound) {
			t.Errorf("of a session without an account: got %+v, error %v, want ErrNotFound", got, err)
		}
		if err := s.Accounts.Create(t.Context(), a, ports.Effects{}); err != nil {
			t.Fatalf("Create: %v", err)
		}
		for range 3 {
			state, err := s.System.Load(t.Context())
			if err != nil {
				t.Fatalf("Load: %v", err)
			}
			got, err := s.Sessions.Standing(t.Context(), v.ID)
			if diff := differ(ports.Standing{Session: v, Account: a, System: state}, got); err != nil || diff != "" {
				t.Fatalf("Standing: error %v (-want +got):\n%s", err, diff)
			}
			v, a = sessionsOf(s).bump(v), accountsOf(s).bump(a)
			err = errors.Join(
				s.Sessions.Update(t.Context(), v.ID, func(session.Session) (session.Session, ports.Effects, error) { return v, ports.Effects{}, nil }),
				s.Accounts.Update(t.Context(), a.ID, func(account.Account) (account.Account, ports.Effects, error) { return a, ports.Effects{}, nil }),
				s.System.Update(t.Context(), func(x system.State) (system.State, ports.Effects, error) {
					return systemOf(s).bump(x), ports.Effects{}, nil
				}))
			if err != nil {
				t.Fatalf("Update: %v", err)
			}
		}
		ended(t, map[string]func(context.Context) error{
			"Standing": func(ctx context.Context) error { _, err := s.Sessions.Standing(ctx, v.ID); return err },
		})
	})
	sub(t, "List answers the sessions of everybody with their accounts, by their users and then as OfUser, page by page", func(t *testing.T) { everybodys(t, open) })
	sub(t, "OfUser answers what was committed last", func(t *testing.T) {
		s := opened(t, open)
		k := sessionsOf(s)
		v := k.made(t)
		for range 3 {
			if err := s.Sessions.Update(t.Context(), v.ID, func(v session.Session) (session.Session, ports.Effects, error) {
				return k.bump(v), ports.Effects{}, nil
			}); err != nil {
				t.Fatalf("Update: %v", err)
			}
			v = k.bump(v)
			got, err := s.Sessions.OfUser(t.Context(), v.User)
			if diff := differ([]session.Session{v}, got); err != nil || diff != "" {
				t.Errorf("OfUser after an update: error %v (-want +got):\n%s", err, diff)
			}
		}
	})
	sub(t, "sessions of one user created at once are all there", func(t *testing.T) {
		s := opened(t, open)
		uid := newID[id.User]()
		together(crowd, func(int) {
			v := newSession()
			v.User = uid
			if err := s.Sessions.Create(t.Context(), v, ports.Effects{}); err != nil {
				t.Errorf("Create: %v", err)
			}
		})
		if got, err := s.Sessions.OfUser(t.Context(), uid); err != nil || len(got) != crowd {
			t.Errorf("OfUser: got %d, error %v, want %d", len(got), err, crowd)
		}
	})
}

// everybodys reads pages of all sessions, of several users, and holds them against what OfUser answers of each.
func everybodys(t *testing.T, open Open) {
	s := opened(t, open)
	if s.Accounts == nil {
		t.Skip("the store keeps no accounts")
	}
	list := func(after session.Place, limit int) []ports.Held {
		t.Helper()
		all, err := s.Sessions.List(t.Context(), after, limit)
		if err != nil {
			t.Fatalf("List: %v", err)
		}
		return all
	}
	if got := list(session.Place{}, 10); len(got) != 0 {
		t.Errorf("of an empty store: got %d", len(got))
	}
	now := wall()
	var users []account.Account
	for range 4 {
		a := newAccount()
		if err := s.Accounts.Create(t.Context(), a, ports.Effects{}); err != nil {
			t.Fatalf("Create: %v", err)
		}
		users = append(users, a)
	}
	slices.SortFunc(users, func(a, b account.Account) int { return bytes.Compare(a.ID[:], b.ID[:]) })
	for i, n := range []int{3, 0, 1, 5, 2} {
		uid := newID[id.User]() // the last has no account
		if i < len(users) {
			uid = users[i].ID
		}
		for j := range n {
			v := newSession()
			v.User, v.Created = uid, now.Add(-time.Duration(j/2)*time.Hour) // two at once
			switch j {
			case 0:
				v.Ended = now.Add(-50 * time.Minute)
			case 1:
				v.Expires, v.Idle = now.Add(-30*time.Minute), now.Add(-time.Hour)
			case 2:
				v.Ended, v.EndedReason = 0, 0
			case 3:
				v.Created = -5
			}
			if err := s.Sessions.Create(t.Context(), v, ports.Effects{}); err != nil {
				t.Fatalf("Create: %v", err)
			}
		}
	}
	var want []ports.Held
	for _, a := range users {
		all, err := s.Sessions.OfUser(t.Context(), a.ID)
		if err != nil {
			t.Fatalf("OfUser: %v", err)
		}
		for _, v := range all {
			want = append(want, ports.Held{Session: v, Account: a})
		}
	}
	for _, limit := range []int{1, 2, 3, 8, 9, 100} {
		var got []ports.Held
		for after := (session.Place{}); ; {
			page := list(after, limit)
			if len(page) > limit {
				t.Fatalf("a page of %d has %d", limit, len(page))
			}
			got = append(got, page...)
			if len(page) < limit {
				break
			}
			after = page[limit-1].Session.Place()
		}
		if diff := differ(want, got); diff != "" {
			t.Errorf("in pages of %d (-want +got):\n%s", limit, diff)
		}
	}
	for what, c := range map[string]struct {
		after session.Place
		limit int
		want  []ports.Held
	}{
		"none at all":                    {session.Place{}, 0, nil},
		"behind a session that is gone":  {session.Place{User: users[0].ID, Created: -6}, 9, want},
		"behind all of a user":           {session.Place{User: users[0].ID, Created: instant.Forever}, 9, want[3:]},
		"behind a user without any":      {session.Place{User: users[1].ID}, 1, want[3:4]},
		"behind the last one":            {want[8].Session.Place(), 9, nil},
		"behind whoever would come last": {session.Place{User: id.User{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}}, 9, nil},
	} {
		if diff := differ(c.want, list(c.after, c.limit)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", what, diff)
		}
	}
	got := list(session.Place{}, 9)
	got[0].Session.Last.Successor[0]++
	if diff := differ(want, list(session.Place{}, 9)); diff != "" {
		t.Errorf("after the caller changed what it got (-want +got):\n%s", diff)
	}
	ended(t, map[string]func(context.Context) error{
		"List": func(ctx context.Context) error { _, err := s.Sessions.List(ctx, session.Place{}, 9); return err },
	})
}

func newRefresh(sid id.Session, counter uint64) session.RefreshToken {
	t := session.RefreshToken{Key: 1, Session: sid, Counter: counter}
	_, _ = rand.Read(t.Secret[:]) // it never fails
	_, _ = rand.Read(t.MAC[:])
	return t
}

// refreshing has 100 callers redeem one refresh token, each with a successor of its own, as browsers with many tabs do.
func refreshing(t *testing.T, open Open) {
	s := opened(t, open)
	now, from := wall(), origin("192.0.2.1")
	lives := session.Lifetimes{Refresh: time.Hour, Session: 24 * time.Hour}
	v := newSession()
	first := newRefresh(v.ID, 1)
	v.Counter, v.LiveHash, v.Last, v.Ended, v.EndedReason = 1, first.Hash(), session.Rotation{}, 0, 0
	v.Idle, v.Expires = now.Add(time.Hour), now.Add(24*time.Hour)
	if err := s.Sessions.Create(t.Context(), v, ports.Effects{}); err != nil {
		t.Fatalf("Create: %v", err)
	}
	var mu sync.Mutex
	verdicts := map[session.Verdict]int{}
	given := map[[32]byte]int{}
	together(100, func(int) {
		next := newRefresh(v.ID, 2)
		var out session.Outcome
		if err := s.Sessions.Update(t.Context(), v.ID, func(v session.Session) (session.Session, ports.Effects, error) {
			var e ports.Effects
			v, out = v.Redeem(first, next, from, lives, now+instant.Instant(time.Second/time.Microsecond))
			if out.Verdict == session.Rotated {
				e = newEffects()
			}
			return v, e, nil
		}); err != nil {
			t.Errorf("Update: %v", err)
			return
		}
		mu.Lock()
		defer mu.Unlock()
		verdicts[out.Verdict]++
		given[out.Token.Hash()]++
	})
	if got, want := verdicts, map[session.Verdict]int{session.Rotated: 1, session.Repeated: 99}; !cmp.Equal(got, want) {
		t.Errorf("verdicts: got %v, want %v (3 is Rotated, 4 Repeated)", got, want)
	}
	if len(given) != 1 {
		t.Errorf("successors given: got %d different ones, want 1", len(given))
	}
	got, err := s.Sessions.Find(t.Context(), v.ID)
	if err != nil || got.Counter != 2 || got.Ended != 0 || given[got.LiveHash] != 100 {
		t.Errorf("the session: got counter %d, ended %v, its live token given %d times, error %v, want 2, never, 100", got.Counter, got.Ended, given[got.LiveHash], err)
	}
	if got := len(trail(t, s.Events)); got != 2 {
		t.Errorf("events of the one rotation: got %d, want 2", got)
	}
}
