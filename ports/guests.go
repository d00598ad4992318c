package ports

import (
	"context"
	"net/netip"
)

// Guest is whoever has connections to the server of a store, as that server itself lists them.
type Guest struct {
	Address     netip.Addr // IPv4 in its own form; the zero Addr: the server's own machine, by a socket of its file system
	User        string     // as whom it signed in to the server
	Connections int
}

// Guests tells who has connections to the server of a store, whoever they are: not only this program's.
type Guests interface {
	// Guests answers all who have at this moment, this program's own connections included, each address and user once, in no order. Without whole there may be others, whom the account of this
	// program may not see: that is no error, of a server that lists nobody neither. A server that does not answer is ErrUnavailable.
	Guests(ctx context.Context) (all []Guest, whole bool, err error)
}
