// Package session is one sign-in and the chain of refresh tokens that keeps it going.
package session

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"crypto/subtle"
	"net/netip"
	"time"

	"github.com/xteam/xteam/domain/id"
	"github.com/xteam/xteam/domain/instant"
	"github.com/xteam/xteam/domain/revocation"
	"github.com/xteam/xteam/domain/token"
)

// Grace is how long the parent of the live refresh token may be repeated after its rotation: two tabs of a browser, or an answer that
// was lost on its way.
const Grace = 10 * time.Second

// Origin is where a request comes from, as far as it is compared.
type Origin struct {
	Address   netip.Addr // the client's
	UserAgent string     // as sent, cut to audit.MaxUserAgent bytes
}

// Network is the client's network: /24 for IPv4, /64 for IPv6; the zero Prefix when the address is not known.
func (o Origin) Network() netip.Prefix {
	a := o.Address.Unmap()
	if !a.IsValid() {
		return netip.Prefix{}
	}
	bits := 64
	if a.Is4() {
		bits = 24
	}
	p, err := a.Prefix(bits) // without the zone
	if err != nil {
		return netip.Prefix{}
	}
	return p
}

// Same reports whether two requests come from one network or name one, not empty, User-Agent.
func (o Origin) Same(p Origin) bool {
	n := o.Network()
	return n.IsValid() && n == p.Network() || o.UserAgent != "" && o.UserAgent == p.UserAgent
}

// Rotation is the last rotation of the chain, kept for Grace so that its parent can be repeated.
type Rotation struct {
	At        instant.Instant
	From      Origin
	Successor []byte // the live refresh token, sealed under a key that only the parent yields; nil once wiped
}

// Session is one sign-in. It ends at Expires, however often it is refreshed, or before. Expires is in whole seconds, as the times of access tokens are: so
// one that is issued before it, and ends with it, lasts a while.
type Session struct {
	ID         id.Session
	User       id.User
	Generation token.Generation // the account's at sign-in
	Epoch      token.Epoch      // the system's at sign-in

	Counter  uint64          // of the live refresh token
	LiveHash [32]byte        // RefreshToken.Hash of the live one
	Idle     instant.Instant // when the live refresh token expires
	Last     Rotation        // zero before the first refresh

	Created  instant.Instant
	LastUsed instant.Instant // sign-in or last refresh
	Expires  instant.Instant // the absolute end
	Device   Origin          // where the sign-in came from
	LastFrom Origin          // where the last refresh came from

	Ended       instant.Instant // zero while it lives
	EndedReason revocation.Reason
}

// Lifetimes bound a session.
type Lifetimes struct {
	Refresh time.Duration // how long a refresh token that is not used lives
	Session time.Duration // the absolute life of a session
}

// New is a session whose live refresh token is first, which has counter 1.
func New(first RefreshToken, user id.User, g token.Generation, e token.Epoch, from Origin, l Lifetimes, now instant.Instant) Session {
	s := Session{ID: first.Session, User: user, Generation: g, Epoch: e, Counter: first.Counter, LiveHash: first.Hash(),
		Created: now, LastUsed: now, Expires: instant.Unix(now.Add(l.Session).Seconds()), Device: from, LastFrom: from}
	s.Idle = min(now.Add(l.Refresh), s.Expires)
	return s
}

// Verdict is what a refresh token is worth.
type Verdict uint8

// The verdicts.
const (
	// Unknown: it is not a token of this session's chain. Nothing changes.
	Unknown Verdict = iota
	// Ended: the session has ended; EndedReason says why. Nothing changes.
	Ended
	// Expired: the token or the session has reached its time. Nothing changes.
	Expired
	// Rotated: it was the live token; next has taken its place.
	Rotated
	// Repeated: it was the parent of the live token, within Grace and from the same place; the live token is given again.
	Repeated
	// Reused: it is an earlier token of the chain: stolen, or the live one is. The session has ended.
	Reused
)

// Outcome of a redemption.
type Outcome struct {
	Verdict Verdict
	Token   RefreshToken // to hand out, when Rotated or Repeated
}

// Redeem decides what t is worth, whose MAC has proved that this server made it. next is to be the live token when t is; its counter must be t's plus one.
// What is not of this chain is Unknown, whatever has become of the session. The session that it answers is to be stored when the verdict is Rotated or Reused.
func (s Session) Redeem(t, next RefreshToken, from Origin, l Lifetimes, now instant.Instant) (Session, Outcome) {
	hash := t.Hash()
	live := t.Counter == s.Counter && subtle.ConstantTimeCompare(hash[:], s.LiveHash[:]) == 1
	switch {
	case t.Session != s.ID, t.Counter > s.Counter, t.Counter == s.Counter && !live: // the last two are of a chain that the store has lost
		return s, Outcome{Verdict: Unknown}
	case s.Ended != 0:
		return s, Outcome{Verdict: Ended}
	case now >= s.Expires || now >= s.Idle:
		return s, Outcome{Verdict: Expired}
	case live && (next.Session != s.ID || next.Counter != t.Counter+1):
		return s, Outcome{Verdict: Unknown}
	case live:
		s.Last = Rotation{At: now, From: from, Successor: seal(t, next)}
		s.Counter, s.LiveHash = next.Counter, next.Hash()
		s.LastUsed, s.LastFrom = now, from
		s.Idle = min(now.Add(l.Refresh), s.Expires)
		return s, Outcome{Verdict: Rotated, Token: next}
	}
	if t.Counter+1 == s.Counter && now.Sub(s.Last.At) < Grace && s.Last.From.Same(from) {
		if live, ok := open(t, s.Last.Successor); ok && live.Hash() == s.LiveHash {
			return s, Outcome{Verdict: Repeated, Token: live}
		}
	}
	s, _ = s.End(revocation.RefreshReuse, End{Now: now})
	return s, Outcome{Verdict: Reused}
}

// End is what ending a session needs to know.
type End struct {
	By, Note string
	Now      instant.Instant
	Until    instant.Instant // when the last access token issued by now has surely expired
}

// End ends the session and withdraws its access tokens. A session that has ended keeps its first reason and time; the entry is given all the
// same, as of that time, or of now should a clock have gone back since.
func (s Session) End(why revocation.Reason, e End) (Session, revocation.Entry) {
	if s.Ended == 0 {
		s.Ended, s.EndedReason = e.Now, why
	}
	s.Last.Successor = nil
	return s, revocation.Entry{Kind: revocation.Session, Session: s.ID, Reason: s.EndedReason, By: e.By, Note: e.Note,
		At: min(s.Ended, e.Now), Until: e.Until}
}

// Wiped is s without the sealed successor, provided that the live token is still the one with that counter; ok reports whether anything was to be wiped. Whoever
// calls it has waited for Grace since that token's rotation, by a clock that nobody turns.
func (s Session) Wiped(counter uint64) (_ Session, ok bool) {
	if s.Last.Successor == nil || s.Counter != counter {
		return s, false
	}
	s.Last.Successor = nil
	return s, true
}

// Live reports whether the session can still be refreshed, as far as it knows; the account may have ended it too.
func (s *Session) Live(now instant.Instant) bool {
	return s.Ended == 0 && now < s.Expires && now < s.Idle
}

// sealer derives a key that only the parent yields. It seals one text in its life, so its nonce is fixed.
func sealer(parent RefreshToken) cipher.AEAD {
	key, err := hkdf.Key(sha256.New, parent.Secret[:], parent.Session[:], "xteam refresh successor v1", 32)
	if err != nil {
		panic(err) // only for lengths that these are not
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		panic(err)
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		panic(err)
	}
	return aead
}

func seal(parent, successor RefreshToken) []byte {
	a := sealer(parent)
	return a.Seal(nil, make([]byte, a.NonceSize()), []byte(successor.Text().RevealPlaintext()), parent.Signed())
}

func open(parent RefreshToken, sealed []byte) (RefreshToken, bool) {
	if sealed == nil {
		return RefreshToken{}, false
	}
	a := sealer(parent)
	text, err := a.Open(nil, make([]byte, a.NonceSize()), sealed, parent.Signed())
	if err != nil {
		return RefreshToken{}, false
	}
	t, err := ParseRefresh(string(text))
	return t, err == nil
}
