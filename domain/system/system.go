// Package system is what holds for every token of the whole system.
package system

import (
	"time"

	"github.com/xteam/xteam/domain/instant"
	"github.com/xteam/xteam/domain/revocation"
	"github.com/xteam/xteam/domain/token"
)

// State is kept in the database once. The zero value is a new system.
type State struct {
	Epoch         token.Epoch   // in every token that is issued; a lower one is revoked
	LongestAccess time.Duration // the longest lifetime of access tokens ever configured
}

// Configure notes the lifetime of access tokens that is configured now.
func (s State) Configure(access time.Duration) State {
	s.LongestAccess = max(s.LongestAccess, access)
	return s
}

// Horizon is when the last access token that was issued by now has surely expired, everywhere.
func (s State) Horizon(now instant.Instant, leeway time.Duration) instant.Instant {
	return now.Add(s.LongestAccess + leeway + token.Margin)
}

// RaiseEpoch withdraws every token of the system.
func (s State) RaiseEpoch(by, note string, now instant.Instant) (State, revocation.Entry) {
	s.Epoch++
	return s, revocation.Entry{Kind: revocation.Epoch, Epoch: s.Epoch, Reason: revocation.EpochRaised, By: by, Note: note, At: now, Until: instant.Forever}
}
