package account

import (
	"net/netip"
	"time"

	"github.com/xteam/xteam/domain/instant"
)

const (
	// KnownFor is for how long a network is known after somebody has signed in to the account from it, whatever has become of the session.
	KnownFor = 90 * 24 * time.Hour

	notedFor = 7 * 24 * time.Hour // before it is worth writing down again
)

// SignedIn makes a network known from which somebody signed in, and forgets those that are not any more; noted is false when there is nothing to write down.
func (a Account) SignedIn(from netip.Prefix, now instant.Instant) (_ Account, noted bool) {
	if !from.IsValid() || a.Places.Last(from) >= now.Add(-notedFor) {
		return a, false
	}
	a.Places = a.Places.With(from, now).Since(now.Add(-KnownFor))
	return a, true
}

// Knows reports whether somebody signed in from a network within a time, or as near to it as that is remembered.
func (a *Account) Knows(from netip.Prefix, within time.Duration, now instant.Instant) bool {
	last := a.Places.Last(from)
	return last != 0 && last >= now.Add(-within)
}
