package session_test

import (
	"bytes"
	"errors"
	"math"
	"net/netip"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/xteam/xteam/domain/id"
	"github.com/xteam/xteam/domain/instant"
	"github.com/xteam/xteam/domain/revocation"
	"github.com/xteam/xteam/domain/session"
)

const start = instant.Instant(1_772_366_400_000_000)

var (
	sid   = id.Session{1}
	home  = session.Origin{Address: netip.MustParseAddr("192.0.2.7"), UserAgent: "Firefox"}
	thief = session.Origin{Address: netip.MustParseAddr("198.51.100.9"), UserAgent: "curl"}
	week  = session.Lifetimes{Refresh: 7 * 24 * time.Hour, Session: 30 * 24 * time.Hour}
)

// chain is a session that was refreshed n-1 times, a second apart, from home; and its n tokens.
func chain(n uint64) (session.Session, []session.RefreshToken, instant.Instant) {
	all, now := []session.RefreshToken{link(sid, 1, 0)}, start
	s := session.New(all[0], id.User{2}, 1, 0, home, week, now)
	for c := uint64(2); c <= n; c++ {
		now = now.Add(time.Second)
		next := link(sid, c, 0)
		s, _ = s.Redeem(all[len(all)-1], next, home, week, now)
		all = append(all, next)
	}
	return s, all, now
}

func TestOnlyTheParentOfTheLiveTokenMayRepeat(t *testing.T) {
	s, all, now := chain(3)
	foo, bar, baz := all[0], all[1], all[2]
	now = now.Add(time.Second)
	for range 3 { // as often as it likes
		after, out := s.Redeem(bar, link(sid, 3, 1), home, week, now)
		if out.Verdict != session.Repeated || out.Token != baz || after.Ended != 0 {
			t.Fatalf("the parent, repeated: verdict %d, counter %d; want Repeated (%d) and the live token", out.Verdict, out.Token.Counter, session.Repeated)
		}
		s = after
	}
	after, out := s.Redeem(foo, link(sid, 2, 1), home, week, now)
	if out.Verdict != session.Reused || out.Token != (session.RefreshToken{}) || after.Ended != now || after.EndedReason != revocation.RefreshReuse || after.Last.Successor != nil {
		t.Fatalf("the parent's parent: verdict %d, session %+v; want Reused (%d) and the session ended", out.Verdict, after, session.Reused)
	}
	for _, token := range all { // nobody's token is good any more, the owner's no more than the thief's
		if _, out := after.Redeem(token, link(sid, token.Counter+1, 2), home, week, now); out.Verdict != session.Ended {
			t.Errorf("token %d after the reuse: verdict %d, want Ended (%d)", token.Counter, out.Verdict, session.Ended)
		}
	}
}

func TestWhereARepetitionMayComeFrom(t *testing.T) {
	for name, c := range map[string]struct {
		first, again session.Origin
		want         session.Verdict
	}{
		"the same place":                   {home, home, session.Repeated},
		"another place":                    {home, thief, session.Reused},
		"another address of the /24":       {home, at("192.0.2.255", "curl"), session.Repeated},
		"the next /24":                     {home, at("192.0.3.7", "curl"), session.Reused},
		"the /24, mapped into IPv6":        {home, at("::ffff:192.0.2.9", "curl"), session.Repeated},
		"another /24, mapped into IPv6":    {home, at("::ffff:192.0.3.9", "curl"), session.Reused},
		"both mapped, of two networks":     {at("::ffff:10.0.0.1", "a"), at("::ffff:10.0.1.1", "b"), session.Reused},
		"another address, the User-Agent":  {home, at("198.51.100.9", "Firefox"), session.Repeated},
		"the User-Agent in small letters":  {home, at("198.51.100.9", "firefox"), session.Reused},
		"another address, no User-Agent":   {at("192.0.2.7", ""), at("198.51.100.9", ""), session.Reused},
		"nothing known of either":          {session.Origin{}, session.Origin{}, session.Reused},
		"no address, one User-Agent":       {session.Origin{UserAgent: "x"}, session.Origin{UserAgent: "x"}, session.Repeated},
		"an address beside none":           {session.Origin{UserAgent: "x"}, at("192.0.2.7", "y"), session.Reused},
		"another address of the /64":       {at("2001:db8::1", "a"), at("2001:db8::ffff:0:0:1", "b"), session.Repeated},
		"the next /64":                     {at("2001:db8::1", "a"), at("2001:db8:0:1::1", "b"), session.Reused},
		"the /64 under other zones":        {at("fe80::1%eth0", "a"), at("fe80::2%eth1", "b"), session.Repeated},
		"an IPv6 that ends like the IPv4":  {home, at("::192.0.2.7", "b"), session.Reused},
		"0.0.0.0 beside the address of no": {at("0.0.0.0", "a"), session.Origin{UserAgent: "b"}, session.Reused},
	} {
		t.Run(name, func(t *testing.T) {
			s, all, now := chain(1)
			next := link(sid, 2, 0)
			s, out := s.Redeem(all[0], next, c.first, week, now)
			if out.Verdict != session.Rotated {
				t.Fatalf("the first time: verdict %d", out.Verdict)
			}
			after, out := s.Redeem(all[0], link(sid, 2, 1), c.again, week, now.Add(time.Second))
			if out.Verdict != c.want || out.Verdict == session.Repeated && out.Token != next {
				t.Errorf("repeated from %v: verdict %d, want %d", c.again, out.Verdict, c.want)
			}
			if reused := c.want == session.Reused; (after.Ended != 0) != reused {
				t.Errorf("the session has ended: %v, want %v", after.Ended != 0, reused)
			}
			if c.first.Same(c.again) != c.again.Same(c.first) {
				t.Error("Same depends on the order")
			}
		})
	}
}

func at(address, agent string) session.Origin {
	return session.Origin{Address: netip.MustParseAddr(address), UserAgent: agent}
}

func TestNetwork(t *testing.T) {
	for address, want := range map[string]string{
		"192.0.2.7": "192.0.2.0/24", "::ffff:192.0.2.7": "192.0.2.0/24", "255.255.255.255": "255.255.255.0/24", "::ffff:192.0.2.7%eth0": "192.0.2.0/24",
		"2001:db8:1:2:3:4:5:6": "2001:db8:1:2::/64", "::1": "::/64", "fe80::1%eth0": "fe80::/64", "::192.0.2.7": "::/64",
	} {
		if got := at(address, "").Network(); got.String() != want {
			t.Errorf("the network of %s is %v, want %s", address, got, want)
		}
	}
	if got := (session.Origin{UserAgent: "x"}).Network(); got.IsValid() {
		t.Errorf("the network of no address is %v, want none", got)
	}
}

func TestTheGraceEndsOnTheMicrosecond(t *testing.T) {
	for wait, want := range map[time.Duration]session.Verdict{
		0: session.Repeated, session.Grace - time.Microsecond: session.Repeated, session.Grace: session.Reused, session.Grace + time.Microsecond: session.Reused, time.Hour: session.Reused,
		-time.Microsecond: session.Repeated, -time.Hour: session.Repeated, // a clock that went back ends no session
	} {
		s, all, now := chain(2)
		if _, out := s.Redeem(all[0], link(sid, 2, 1), home, week, now.Add(wait)); out.Verdict != want {
			t.Errorf("the parent %v after its rotation: verdict %d, want %d", wait, out.Verdict, want)
		}
	}
}

func TestAWipedSuccessorIsGone(t *testing.T) {
	s, all, now := chain(2)
	kept := bytes.Clone(s.Last.Successor)
	for _, other := range []uint64{0, 1, 3} { // of a rotation before or after
		if same, ok := s.Wiped(other); ok || !bytes.Equal(same.Last.Successor, kept) {
			t.Errorf("the successor was wiped in the place of token %d", other)
		}
	}
	after, ok := s.Wiped(2)
	if !ok || after.Last.Successor != nil {
		t.Fatalf("Wiped = %v and left %d bytes", ok, len(after.Last.Successor))
	}
	if !bytes.Equal(s.Last.Successor, kept) {
		t.Error("the session that was asked has changed")
	}
	if _, again := after.Wiped(2); again {
		t.Error("wiped twice")
	}
	if _, out := after.Redeem(all[0], link(sid, 2, 1), home, week, now); out.Verdict != session.Reused { // a clock that has gone back brings nothing back
		t.Errorf("the parent after the wipe: verdict %d, want Reused (%d)", out.Verdict, session.Reused)
	}
	if _, out := after.Redeem(all[1], link(sid, 3, 0), home, week, now.Add(time.Hour)); out.Verdict != session.Rotated {
		t.Errorf("the live token after the wipe: verdict %d, want Rotated (%d)", out.Verdict, session.Rotated)
	}
}

func TestTheSuccessorOpensWithItsParentOnly(t *testing.T) {
	s, all, now := chain(2)
	if text := all[1].Text().RevealPlaintext(); bytes.Contains(s.Last.Successor, []byte(text[4:40])) || bytes.Contains(s.Last.Successor, all[1].Secret[:16]) {
		t.Fatal("the successor is kept as it is")
	}
	// The key comes from the parent's secret, which the server does not keep: with another one, not a byte of the text is sealed alike.
	other := link(sid, 1, 1)
	twin, _ := session.New(other, id.User{2}, 1, 0, home, week, start).Redeem(other, all[1], home, week, now)
	alike := 0
	for i := range session.RefreshSize {
		if twin.Last.Successor[i] == s.Last.Successor[i] {
			alike++
		}
	}
	if alike > session.RefreshSize/8 { // one in 256 by chance
		t.Fatalf("%d of %d bytes are sealed alike under two parents", alike, session.RefreshSize)
	}
	rapid.Check(t, func(t *rapid.T) {
		parent := all[0] // its counter stays, or it would not be asked
		switch i := rapid.IntRange(0, 33).Draw(t, "which"); i {
		case 32:
			parent.Key ^= 1 << rapid.IntRange(0, 15).Draw(t, "bit")
		case 33: // the seal, or a successor that is not the live one
			s := s
			s.Last.Successor = bytes.Clone(s.Last.Successor)
			s.Last.Successor[rapid.IntRange(0, len(s.Last.Successor)-1).Draw(t, "byte")] ^= 1 << rapid.IntRange(0, 7).Draw(t, "bit")
			if _, out := s.Redeem(parent, link(sid, 2, 1), home, week, now); out.Verdict != session.Reused {
				t.Fatalf("with another seal: verdict %d", out.Verdict)
			}
			return
		default:
			parent.Secret[i] ^= 1 << rapid.IntRange(0, 7).Draw(t, "bit")
		}
		if _, out := s.Redeem(parent, link(sid, 2, 1), home, week, now); out.Verdict != session.Reused || out.Token != (session.RefreshToken{}) {
			t.Fatalf("another parent: verdict %d with counter %d, want Reused (%d)", out.Verdict, out.Token.Counter, session.Reused)
		}
	})
	swapped := s
	swapped.LiveHash[0] ^= 1
	if _, out := swapped.Redeem(all[0], link(sid, 2, 1), home, week, now); out.Verdict != session.Reused {
		t.Errorf("a successor that is not the live token was given: verdict %d, want Reused (%d)", out.Verdict, session.Reused)
	}
}

func TestWhatProvesNothingEndsNothing(t *testing.T) {
	s, all, now := chain(2)
	live := all[1]
	forged, ahead, far, foreign := live, link(sid, 3, 0), link(sid, math.MaxUint64, 0), live
	forged.Secret[0] ^= 0x80
	foreign.Session = id.Session{9}
	for name, c := range map[string]struct{ token, next session.RefreshToken }{
		"another secret":             {forged, link(sid, 3, 0)},
		"a counter ahead":            {ahead, link(sid, 4, 0)},
		"the last counter":           {far, link(sid, 1, 0)},
		"another session":            {foreign, link(sid, 3, 0)},
		"a next of another session":  {live, link(id.Session{9}, 3, 0)},
		"a next that is not next":    {live, link(sid, 4, 0)},
		"a next that is no later":    {live, link(sid, 2, 0)},
		"another session's, as next": {foreign, link(id.Session{9}, 3, 0)},
	} {
		t.Run(name, func(t *testing.T) {
			after, out := s.Redeem(c.token, c.next, home, week, now)
			if out.Verdict != session.Unknown || out.Token != (session.RefreshToken{}) || after.Ended != 0 || after.Counter != s.Counter || after.LiveHash != s.LiveHash || after.Idle != s.Idle {
				t.Errorf("verdict %d, session %+v; want Unknown (%d) and the session as it was", out.Verdict, after, session.Unknown)
			}
		})
	}
	if _, out := s.Redeem(live, link(sid, 3, 0), home, week, now); out.Verdict != session.Rotated {
		t.Errorf("the live token afterwards: verdict %d, want Rotated (%d)", out.Verdict, session.Rotated)
	}
}

func TestEndedComesBeforeExpiredComesBeforeReused(t *testing.T) {
	s, all, now := chain(3)
	ended, _ := s.End(revocation.Logout, session.End{By: "x", Now: now, Until: now + 1})
	for name, c := range map[string]struct {
		s    session.Session
		now  instant.Instant
		want session.Verdict
	}{
		"ended":                    {ended, now, session.Ended},
		"ended, and long over":     {ended, s.Expires.Add(time.Hour), session.Ended},
		"the last of its idle":     {s, s.Idle - 1, session.Reused},
		"idle":                     {s, s.Idle, session.Expired},
		"over":                     {s, s.Expires.Add(time.Hour), session.Expired},
		"ended by a clock ahead":   {ended, now.Add(-time.Hour), session.Ended},
		"before it had even begun": {s, start.Add(-time.Hour), session.Reused},
	} {
		if _, out := c.s.Redeem(all[0], link(sid, 2, 1), home, week, c.now); out.Verdict != c.want {
			t.Errorf("%s: the first token of three: verdict %d, want %d", name, out.Verdict, c.want)
		}
	}
	loose := s
	loose.Idle = instant.Forever // as no session of ours is, but the absolute end stands by itself
	if _, out := loose.Redeem(all[2], link(sid, 4, 0), home, week, s.Expires); out.Verdict != session.Expired || loose.Live(s.Expires) || !loose.Live(s.Expires-1) {
		t.Errorf("the live token at the absolute end: verdict %d, want Expired (%d)", out.Verdict, session.Expired)
	}
	for now, want := range map[instant.Instant]session.Verdict{s.Idle - 1: session.Rotated, s.Idle: session.Expired} {
		if _, out := s.Redeem(all[2], link(sid, 4, 0), home, week, now); out.Verdict != want {
			t.Errorf("the live token at idle %+d µs: verdict %d, want %d", now-s.Idle, out.Verdict, want)
		}
	}
}

func TestTheAbsoluteEndStands(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		l := session.Lifetimes{Refresh: time.Duration(rapid.Int64Range(1, 1e15).Draw(t, "refresh")), Session: time.Duration(rapid.Int64Range(1e9, 1e15).Draw(t, "absolute"))}
		live, now := link(sid, 1, 0), start+instant.Instant(rapid.Int64Range(0, 999_999).Draw(t, "µs"))
		s := session.New(live, id.User{2}, 1, 0, home, l, now)
		end := instant.Unix(now.Add(l.Session).Seconds()) // as an access token says it
		for range 50 {
			if s.Expires != end || s.Idle > end {
				t.Fatalf("it may live until %v and %v, want %v at most", s.Expires, s.Idle, end)
			}
			left := max(1, int64(s.Idle.Sub(now)/time.Microsecond))
			now = now.Add(time.Duration(rapid.Int64Range(0, left).Draw(t, "wait")) * time.Microsecond)
			next := link(sid, live.Counter+1, 0)
			var out session.Outcome
			longer := session.Lifetimes{Refresh: l.Refresh * 2, Session: l.Session * 2} // a setting that was raised meanwhile
			if s, out = s.Redeem(live, next, home, longer, now); out.Verdict != session.Rotated {
				if out.Verdict != session.Expired || now < s.Idle && now < end {
					t.Fatalf("verdict %d at %v of a session until %v", out.Verdict, now, s.Idle)
				}
				return
			}
			if now >= end {
				t.Fatalf("refreshed at %v, after its end %v", now, end)
			}
			live = next
		}
	})
}

func TestEndKeepsTheFirstReasonAndTime(t *testing.T) {
	s, _, now := chain(2)
	until := now.Add(time.Hour)
	ended, first := s.End(revocation.Logout, session.End{By: "ann", Note: "bye", Now: now, Until: until})
	want := revocation.Entry{Kind: revocation.Session, Session: sid, Reason: revocation.Logout, By: "ann", Note: "bye", At: now, Until: until}
	if first != want || ended.Ended != now || ended.EndedReason != revocation.Logout || ended.Last.Successor != nil {
		t.Fatalf("the entry is %+v, the session %+v", first, ended)
	}
	if s.Ended != 0 || s.Last.Successor == nil {
		t.Error("the session that was asked has changed")
	}
	again, second := ended.End(revocation.SessionEnded, session.End{By: "operator", Now: now.Add(time.Minute), Until: until.Add(time.Minute)})
	if again.Ended != now || again.EndedReason != revocation.Logout || second.Reason != revocation.Logout || second.At != now || second.Until != until.Add(time.Minute) || second.Key() != first.Key() {
		t.Errorf("ended again: %+v, entry %+v", again, second)
	}
	// A clock that has gone back a day meanwhile must not make an entry that ends before it begins.
	back := now.Add(-24 * time.Hour)
	_, third := ended.End(revocation.SessionEnded, session.End{By: "operator", Now: back, Until: back.Add(time.Hour)})
	if err := third.Validate(); err != nil || third.Reason != revocation.Logout {
		t.Errorf("ended again under a clock that went back: %+v, %v", third, err)
	}
}

func TestRefusalsReadWell(t *testing.T) {
	var err error = &session.EndedError{Reason: revocation.PasswordChanged}
	var ended *session.EndedError
	if want := "the session has ended: password_changed"; err.Error() != want || !errors.As(err, &ended) {
		t.Errorf("the refusal reads %q, want %q", err, want)
	}
}
