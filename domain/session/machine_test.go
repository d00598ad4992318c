package session_test

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"github.com/xteam/xteam/domain/id"
	"github.com/xteam/xteam/domain/instant"
	"github.com/xteam/xteam/domain/revocation"
	"github.com/xteam/xteam/domain/session"
)

// place is an origin with the network that it is in, in words of this test's own.
type place struct {
	network string // empty: not known
	origin  session.Origin
}

func places() *rapid.Generator[place] {
	nets := []struct{ network, address string }{
		{"", ""}, {"office", "192.0.2.1"}, {"office", "192.0.2.254"}, {"office", "::ffff:192.0.2.77"}, {"café", "192.0.3.1"}, {"café", "::ffff:192.0.3.9%eth0"},
		{"home", "2001:db8:0:1::1"}, {"home", "2001:db8:0:1:ffff:ffff:ffff:ffff"}, {"next door", "2001:db8:0:2::1"}, {"link", "fe80::1%eth0"}, {"link", "fe80::2%eth1"},
	}
	return rapid.Custom(func(t *rapid.T) place {
		n := rapid.SampledFrom(nets).Draw(t, "address")
		p := place{n.network, session.Origin{UserAgent: rapid.SampledFrom([]string{"", "Firefox", "firefox", "curl"}).Draw(t, "agent")}}
		if n.address != "" {
			p.origin.Address = netip.MustParseAddr(n.address)
		}
		return p
	})
}

// link is the n-th token of the chain, as its secret says; another salt is another token of the same place.
func link(sid id.Session, n uint64, salt byte) session.RefreshToken {
	t := session.RefreshToken{Key: 1, Session: sid, Counter: n}
	copy(t.Secret[:], fmt.Sprintf("%c link %d", 'a'+salt, n))
	copy(t.MAC[:], fmt.Sprintf("mac of %d", n))
	return t
}

// model is what the contract says of a session, in the plainest form: the whole chain is kept, and nothing is sealed or hashed.
type model struct {
	chain          []session.RefreshToken // from counter 1; the last is the live one
	rotated        instant.Instant        // the last rotation
	from           place                  // of the last rotation
	wiped          bool
	idle, absolute instant.Instant
	used           instant.Instant
	ended          instant.Instant
	reason         revocation.Reason
}

func (m *model) live() session.RefreshToken { return m.chain[len(m.chain)-1] }

// redeem is the contract, sentence by sentence.
func (m *model) redeem(t, next session.RefreshToken, from place, l session.Lifetimes, now instant.Instant) (session.Verdict, session.RefreshToken) {
	none := session.RefreshToken{}
	if t.Session != m.chain[0].Session {
		return session.Unknown, none
	}
	n := uint64(len(m.chain))
	if t.Counter > n || t.Counter == n && t != m.live() {
		return session.Unknown, none
	}
	if m.ended != 0 {
		return session.Ended, none
	}
	if now >= m.absolute || now >= m.idle {
		return session.Expired, none
	}
	if t == m.live() {
		m.chain = append(m.chain, next)
		m.rotated, m.from, m.wiped, m.used = now, from, false, now
		m.idle = min(now.Add(l.Refresh), m.absolute)
		return session.Rotated, next
	}
	alike := from.network != "" && from.network == m.from.network || from.origin.UserAgent != "" && from.origin.UserAgent == m.from.origin.UserAgent
	if t.Counter == n-1 && t == m.chain[n-2] && now < m.rotated.Add(session.Grace) && alike && !m.wiped {
		return session.Repeated, m.live()
	}
	m.ended, m.reason, m.wiped = now, revocation.RefreshReuse, true
	return session.Reused, none
}

var plain = cmp.Options{cmpopts.EquateComparable(netip.Addr{})}

func TestSessionIsItsContract(t *testing.T) { rapid.Check(t, keepsItsContract) }

// FuzzSession walks as TestSessionIsItsContract does, along ways that reach new code.
func FuzzSession(f *testing.F) {
	ways(f)
	f.Fuzz(rapid.MakeFuzz(keepsItsContract))
}

func keepsItsContract(t *rapid.T) {
	steps := rapid.SampledFrom([]time.Duration{0, time.Microsecond, time.Second, time.Second, session.Grace - time.Microsecond, session.Grace, session.Grace + time.Microsecond, time.Hour, 20 * time.Hour,
		-time.Microsecond, -time.Second, -time.Hour})
	l := session.Lifetimes{Refresh: rapid.SampledFrom([]time.Duration{time.Minute, 24 * time.Hour}).Draw(t, "refresh"), Session: rapid.SampledFrom([]time.Duration{time.Minute, 48 * time.Hour}).Draw(t, "absolute")}
	sid := id.Session{7}
	begin := instant.Unix(1_772_366_400)
	now, device := begin, places().Draw(t, "device")
	s := session.New(link(sid, 1, 0), id.User{9}, 3, 2, device.origin, l, now)
	m := &model{chain: []session.RefreshToken{link(sid, 1, 0)}, absolute: now.Add(l.Session), idle: now.Add(min(l.Refresh, l.Session)), used: now, from: device}

	check := func() {
		t.Helper()
		if s.Ended != m.ended || s.EndedReason != m.reason || s.Counter != uint64(len(m.chain)) || s.LiveHash != m.live().Hash() || s.Idle != m.idle || s.LastUsed != m.used {
			t.Fatalf("the session is %+v\nand its model %+v", s, m)
		}
		if s.Expires != begin.Add(l.Session) || s.Idle > s.Expires || s.ID != sid || s.User != (id.User{9}) || s.Generation != 3 || s.Epoch != 2 || s.Created != begin || s.Device != device.origin {
			t.Fatalf("what never changes has changed: %+v", s)
		}
		if got, want := s.Last.Successor != nil, len(m.chain) > 1 && !m.wiped; got != want {
			t.Fatalf("a successor is kept: %v, want %v", got, want)
		}
		if got, want := s.Live(now), m.ended == 0 && now < m.idle && now < m.absolute; got != want {
			t.Fatalf("Live = %v, want %v", got, want)
		}
	}
	t.Repeat(map[string]func(*rapid.T){
		"": func(*rapid.T) { check() },
		"redeem": func(t *rapid.T) {
			n := uint64(len(m.chain))
			back := rapid.SampledFrom([]uint64{0, 0, 0, 0, 1, 1, 1, 2}).Draw(t, "links back")
			presented := m.chain[n-1-min(back, n-1)]
			switch rapid.SampledFrom([]string{"", "", "", "", "", "", "", "", "another secret", "ahead", "another session", "another key"}).Draw(t, "forged") {
			case "another secret":
				presented.Secret[31] ^= 1
			case "ahead":
				presented = link(sid, n+1+rapid.Uint64Range(0, 3).Draw(t, "by"), 0)
			case "another session":
				presented.Session = id.Session{8}
			case "another key":
				presented.Key++
			}
			next := link(sid, presented.Counter+1, rapid.Byte().Draw(t, "salt"))
			from := m.from
			if !rapid.Bool().Draw(t, "from where it was rotated") {
				from = places().Draw(t, "from")
			}
			before := s
			var out session.Outcome
			s, out = s.Redeem(presented, next, from.origin, l, now)
			verdict, token := m.redeem(presented, next, from, l, now)
			if out.Verdict != verdict || out.Token != token {
				t.Fatalf("Redeem of %d of %d: %d with counter %d, want %d with %d", presented.Counter, n, out.Verdict, out.Token.Counter, verdict, token.Counter)
			}
			if verdict != session.Rotated && verdict != session.Reused {
				if diff := cmp.Diff(before, s, plain); diff != "" {
					t.Fatalf("verdict %d changed the session:\n%s", verdict, diff)
				}
			}
			if verdict == session.Rotated && (s.Last.From != from.origin || s.LastFrom != from.origin || s.Last.At != now) {
				t.Fatalf("rotated from %v at %v, noted %+v", from.origin, now, s.Last)
			}
		},
		"wait": func(t *rapid.T) { now = now.Add(steps.Draw(t, "for")) },
		"wipe": func(t *rapid.T) {
			var ok bool
			counter := uint64(len(m.chain)) - rapid.SampledFrom([]uint64{0, 0, 1}).Draw(t, "rotations ago")
			due := len(m.chain) > 1 && !m.wiped && counter == uint64(len(m.chain))
			if s, ok = s.Wiped(counter); ok != due {
				t.Fatalf("Wiped as of token %d of %d: %v, want %v", counter, len(m.chain), ok, due)
			}
			m.wiped = m.wiped || due
		},
		"end": func(t *rapid.T) {
			if rapid.IntRange(0, 9).Draw(t, "seldom") != 0 {
				return
			}
			why := revocation.Reason(rapid.Uint8Range(1, 10).Draw(t, "why"))
			var e revocation.Entry
			s, e = s.End(why, session.End{By: "operator", Note: "n", Now: now, Until: now.Add(time.Hour)})
			if m.ended == 0 {
				m.ended, m.reason, m.wiped = now, why, true
			}
			m.wiped = true
			want := revocation.Entry{Kind: revocation.Session, Session: sid, Reason: m.reason, By: "operator", Note: "n", At: min(m.ended, now), Until: now.Add(time.Hour)}
			if e != want {
				t.Fatalf("the entry is %+v\nwant %+v", e, want)
			}
			if err := e.Validate(); err != nil {
				t.Fatal(err)
			}
		},
	})
}

// ways adds walks that are long enough: what reads of an input that ends draws nothing more.
func ways(f *testing.F) {
	for i := range byte(4) {
		way := make([]byte, 8<<10)
		_, _ = rand.NewChaCha8([32]byte{i}).Read(way)
		f.Add(way)
	}
}
