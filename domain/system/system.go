// Package system is what holds for every token of the whole system.
package system

import (
	"errors"
	"time"

	"github.com/xteam/xteam/domain/instant"
	"github.com/xteam/xteam/domain/revocation"
	"github.com/xteam/xteam/domain/session"
	"github.com/xteam/xteam/domain/token"
)

// State is kept in the database once. The zero value is a new system.
type State struct {
	Epoch         token.Epoch   // in every token that is issued; a lower one is revoked
	LongestAccess time.Duration // the longest lifetime of access tokens ever configured

	// SessionsFrom is the least epoch of a session that may still be refreshed. It never exceeds Epoch.
	SessionsFrom token.Epoch
	// SessionsAfter ends every session whose live refresh token was issued at or before it.
	SessionsAfter instant.Instant
}

// Configure notes the lifetime of access tokens that is configured now.
func (s State) Configure(access time.Duration) State {
	s.LongestAccess = max(s.LongestAccess, access)
	return s
}

// Joined is the greater of each number of two states: what an older state takes back, a newer one has not said in vain.
func (s State) Joined(o State) State {
	return State{Epoch: max(s.Epoch, o.Epoch), LongestAccess: max(s.LongestAccess, o.LongestAccess), SessionsFrom: max(s.SessionsFrom, o.SessionsFrom), SessionsAfter: max(s.SessionsAfter, o.SessionsAfter)}
}

// Horizon is when the last access token that was issued by now has surely expired, everywhere.
func (s State) Horizon(now instant.Instant, leeway time.Duration) instant.Instant {
	return now.Add(s.LongestAccess + leeway + token.Margin)
}

// RaiseEpoch withdraws every access token of the system. Sessions go on: their owners refresh once.
func (s State) RaiseEpoch(by, note string, now instant.Instant) (State, revocation.Entry) {
	s.Epoch++
	return s, revocation.Entry{Kind: revocation.Epoch, Epoch: s.Epoch, Reason: revocation.EpochRaised, By: by, Note: note, At: now, Until: instant.Forever}
}

// RevokeAll withdraws every access token and ends every session of the system.
func (s State) RevokeAll(by, note string, now instant.Instant) (State, revocation.Entry) {
	s, e := s.RaiseEpoch(by, note, now)
	s.SessionsFrom = s.Epoch
	return s, e
}

// Knows makes true of the system what an entry says that is in force already: that every token below an epoch, or issued at or before a time, is withdrawn. Whether sessions
// were to go on is not in an entry by epoch, so that they end.
func (s State) Knows(e *revocation.Entry) State {
	switch e.Kind {
	case revocation.Epoch:
		s.Epoch, s.SessionsFrom = max(s.Epoch, e.Epoch), max(s.SessionsFrom, e.Epoch)
	case revocation.IssuedBefore:
		s.SessionsAfter = max(s.SessionsAfter, e.Before)
	}
	return s
}

// ErrFuture says that a time lies in the future, where no token can have been issued.
var ErrFuture = errors.New("the time must not lie in the future")

// RevokeIssuedBefore withdraws every access token with iat at or before t, and every session whose live refresh token is as old.
// It is for people, who know when something went wrong; t never lies in the future. An iat is in whole seconds, rounded down: a token that is issued later in the second
// of t is withdrawn too, while its session, which counts microseconds, goes on.
func (s State) RevokeIssuedBefore(t instant.Instant, by, note string, now instant.Instant, leeway time.Duration) (State, revocation.Entry, error) {
	if t > now {
		return s, revocation.Entry{}, ErrFuture
	}
	s.SessionsAfter = max(s.SessionsAfter, t)
	return s, revocation.Entry{Kind: revocation.IssuedBefore, Before: t, Reason: revocation.BeforeTime, By: by, Note: note, At: now, Until: s.Horizon(now, leeway)}, nil
}

// MayRefresh answers why a session has ended for the whole system's sake, or true while it has not.
func (s State) MayRefresh(x *session.Session) (revocation.Reason, bool) {
	switch {
	case x.Epoch < s.SessionsFrom:
		return revocation.EpochRaised, false
	case x.LastUsed <= s.SessionsAfter:
		return revocation.BeforeTime, false
	}
	return 0, true
}
