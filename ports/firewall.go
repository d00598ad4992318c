package ports

import (
	"context"
	"net/netip"
)

// Firewall turns away networks before they reach this server.
type Firewall interface {
	// Set has exactly these networks be turned away, and no others: whatever it had before, from whomever, is replaced; called again with the same it is as it was. They are masked, each is there
	// once, IPv4 is in its own form, some may lie within others, and there may be none. It returns once the other side has taken them all; after an error it may have some, or those of before, and
	// is called again. Calls that overlap may leave some of each, which the next call puts right. It ends within a bounded time, whatever the other side does, and soon after ctx does. Its errors
	// hold no secret of the way there.
	Set(ctx context.Context, networks []netip.Prefix) error
}
