package system_test

import (
	"errors"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/xteam/xteam/domain/instant"
	"github.com/xteam/xteam/domain/revocation"
	"github.com/xteam/xteam/domain/session"
	"github.com/xteam/xteam/domain/system"
	"github.com/xteam/xteam/domain/token"
)

const (
	start  = instant.Instant(1_772_366_400_000_000)
	leeway = 30 * time.Second
)

func TestTheLongestLifetimeIsRemembered(t *testing.T) {
	s := system.State{}
	for _, c := range []struct{ access, want time.Duration }{{30 * time.Minute, 30 * time.Minute}, {24 * time.Hour, 24 * time.Hour}, {time.Minute, 24 * time.Hour}} {
		if s = s.Configure(c.access); s.LongestAccess != c.want {
			t.Errorf("after %v the longest is %v, want %v", c.access, s.LongestAccess, c.want)
		}
	}
	if got, want := s.Horizon(start, leeway), start.Add(24*time.Hour+leeway+10*time.Minute); got != want {
		t.Errorf("Horizon = %v, want %v", got, want)
	}
}

// Past its horizon nothing that a revocation names is taken, on any node whose clock is off by the leeway; so the entry may be forgotten.
func TestNothingOutlivesTheHorizon(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		skew := time.Duration(rapid.Int64Range(0, int64(token.MaxLeeway)).Draw(t, "leeway")).Truncate(time.Microsecond)
		s, now := system.State{}, start
		var ends []instant.Instant
		for range rapid.IntRange(1, 5).Draw(t, "settings") {
			access := time.Duration(rapid.Int64Range(1, 1440).Draw(t, "minutes")) * time.Minute
			s = s.Configure(access)
			ends = append(ends, now.Add(access))
			now = now.Add(time.Duration(rapid.Int64Range(0, 3600).Draw(t, "seconds")) * time.Second)
		}
		p := token.Policy{Issuer: "xteam", Audience: "xteam", Leeway: skew}
		horizon := s.Horizon(now, skew)
		for _, end := range ends {
			c := token.Claims{KeyID: "k", ID: [16]byte{1}, Subject: [16]byte{1}, Session: [16]byte{1}, Issuer: "xteam", Audience: []string{"xteam"}, IssuedAt: start, ExpiresAt: end}
			if err := p.Check(&c, horizon.Add(-token.Margin)); !errors.Is(err, token.ErrExpired) {
				t.Fatalf("a token until %v, a margin before the horizon %v: %v, want ErrExpired", end, horizon, err)
			}
		}
	})
}

func TestRaiseEpochAndRevokeAll(t *testing.T) {
	s := system.State{Epoch: 4, SessionsFrom: 2, LongestAccess: time.Hour, SessionsAfter: 7}
	raised, e := s.RaiseEpoch("operator", "a drill", start)
	want := revocation.Entry{Kind: revocation.Epoch, Epoch: 5, Reason: revocation.EpochRaised, By: "operator", Note: "a drill", At: start, Until: instant.Forever}
	if e != want || raised != (system.State{Epoch: 5, SessionsFrom: 2, LongestAccess: time.Hour, SessionsAfter: 7}) {
		t.Errorf("RaiseEpoch = %+v, %+v", raised, e)
	}
	all, e := s.RevokeAll("operator", "a drill", start)
	if e != want || all != (system.State{Epoch: 5, SessionsFrom: 5, LongestAccess: time.Hour, SessionsAfter: 7}) {
		t.Errorf("RevokeAll = %+v, %+v", all, e)
	}
	if err := e.Validate(); err != nil {
		t.Error(err)
	}
}

func TestRevokeIssuedBefore(t *testing.T) {
	s := system.State{LongestAccess: time.Hour}
	for _, back := range []time.Duration{0, time.Microsecond, 24 * time.Hour} {
		at := start.Add(-back)
		got, e, err := s.RevokeIssuedBefore(at, "operator", "leak", start, leeway)
		want := revocation.Entry{Kind: revocation.IssuedBefore, Before: at, Reason: revocation.BeforeTime, By: "operator", Note: "leak", At: start, Until: start.Add(time.Hour + leeway + 10*time.Minute)}
		if err != nil || e != want || got.SessionsAfter != at || got.Epoch != 0 || e.Validate() != nil {
			t.Errorf("%v back: %+v, %+v, %v", back, got, e, err)
		}
	}
	for _, at := range []instant.Instant{start + 1, start.Add(time.Hour), instant.Forever} {
		if got, e, err := s.RevokeIssuedBefore(at, "operator", "", start, leeway); !errors.Is(err, system.ErrFuture) || got != s || e != (revocation.Entry{}) {
			t.Errorf("of a time %v ahead: %+v, %+v, %v; want ErrFuture and nothing", at.Sub(start), got, e, err)
		}
	}
	later, _, _ := s.RevokeIssuedBefore(start, "operator", "", start, leeway)
	if earlier, _, _ := later.RevokeIssuedBefore(start-5, "operator", "", start, leeway); earlier.SessionsAfter != start {
		t.Errorf("an earlier time took the later one back: sessions after %v, want %v", earlier.SessionsAfter, start)
	}
}

func TestMayRefresh(t *testing.T) {
	s := system.State{Epoch: 5, SessionsFrom: 3, SessionsAfter: start}
	for name, c := range map[string]struct {
		x    session.Session
		want revocation.Reason // 0: it may
	}{
		"good":                                {session.Session{Epoch: 5, LastUsed: start + 1}, 0},
		"of the least epoch":                  {session.Session{Epoch: 3, LastUsed: start + 1}, 0},
		"of an epoch below":                   {session.Session{Epoch: 2, LastUsed: start + 1}, revocation.EpochRaised},
		"used at the time":                    {session.Session{Epoch: 5, LastUsed: start}, revocation.BeforeTime},
		"used before it":                      {session.Session{Epoch: 5, LastUsed: start - 1}, revocation.BeforeTime},
		"begun before it and refreshed since": {session.Session{Epoch: 5, Created: start - 9, LastUsed: start + 1}, 0},
		"both":                                {session.Session{Epoch: 0, LastUsed: 1}, revocation.EpochRaised},
	} {
		if why, ok := s.MayRefresh(&c.x); why != c.want || ok != (c.want == 0) {
			t.Errorf("%s: %v, %v; want %v", name, why, ok, c.want)
		}
	}
	if why, ok := (system.State{}).MayRefresh(&session.Session{LastUsed: start}); !ok || why != 0 {
		t.Errorf("in a new system: %v, %v", why, ok)
	}
}

// Whatever is done to a system, numbers only rise, every entry is valid, and a session that was ended once is refused ever after.
func TestALifeOfASystem(t *testing.T) {
	type signedIn struct {
		x    session.Session
		over bool
	}
	rapid.Check(t, func(t *rapid.T) {
		s, now := system.State{}.Configure(time.Hour), start
		var sessions []*signedIn
		withdrawn := token.Epoch(0) // below it
		t.Repeat(map[string]func(*rapid.T){
			"sign in": func(*rapid.T) {
				// Whoever signs in at the very time that tokens were withdrawn up to is refused with them: signing in again helps.
				sessions = append(sessions, &signedIn{session.Session{Epoch: s.Epoch, Created: now, LastUsed: now}, now <= s.SessionsAfter})
			},
			"refresh": func(*rapid.T) {
				for _, one := range sessions {
					if _, ok := s.MayRefresh(&one.x); ok {
						one.x.LastUsed = now
					}
				}
			},
			"wait": func(t *rapid.T) {
				now = now.Add(time.Duration(rapid.Int64Range(1, 1e7).Draw(t, "µs")) * time.Microsecond)
			},
			"raise": func(t *rapid.T) {
				before, all := s, rapid.Bool().Draw(t, "all")
				var e revocation.Entry
				if all {
					s, e = s.RevokeAll("operator", "", now)
					for _, one := range sessions {
						one.over = true
					}
				} else {
					s, e = s.RaiseEpoch("operator", "", now)
				}
				if err := e.Validate(); err != nil || e.Epoch != before.Epoch+1 || s.Epoch != e.Epoch {
					t.Fatalf("from %+v to %+v by %+v, %v", before, s, e, err)
				}
				withdrawn = e.Epoch
			},
			"issued before": func(t *rapid.T) {
				at, before := now.Add(-time.Duration(rapid.Int64Range(-1000, 1e7).Draw(t, "µs"))*time.Microsecond), s
				var e revocation.Entry
				var err error
				if s, e, err = s.RevokeIssuedBefore(at, "operator", "", now, leeway); at > now {
					if !errors.Is(err, system.ErrFuture) || s != before {
						t.Fatalf("a time to come: %v, %+v", err, s)
					}
					return
				}
				if err != nil || e.Validate() != nil || s.Epoch != before.Epoch {
					t.Fatalf("%+v, %v, %v", e, err, e.Validate())
				}
				for _, one := range sessions {
					one.over = one.over || one.x.LastUsed <= at
				}
			},
			"": func(t *rapid.T) {
				if s.SessionsFrom > s.Epoch || s.Epoch != withdrawn || s.LongestAccess != time.Hour {
					t.Fatalf("%+v, epochs withdrawn below %d", s, withdrawn)
				}
				for i, one := range sessions {
					if _, ok := s.MayRefresh(&one.x); ok == one.over {
						t.Fatalf("session %d %+v: may refresh %v, over %v, in %+v", i, one.x, ok, one.over, s)
					}
				}
			},
		})
	})
}
