package ports

import (
	"context"

	"github.com/xteam/xteam/domain/audit"
)

// Sink takes security events to somewhere else.
type Sink interface {
	// Deliver returns once the other side has taken the events, in their order. After an error some may have arrived, and all are delivered again: their ids tell. It ends within a bounded time,
	// whatever the other side does, and soon after ctx does. Its errors hold no secret of the way there.
	Deliver(ctx context.Context, events ...audit.Event) error
}
