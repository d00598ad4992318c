package ports

import (
	"context"

	"github.com/xteam/xteam/domain/audit"
)

// Events keeps security events that come with no change of state; those that do are effects of the change.
type Events interface {
	// Record returns once the events are durable, in the order given. An event whose id is here already is stored once more: ids tell.
	Record(ctx context.Context, events ...audit.Event) error
	// List answers at most limit events in the order of their commits, beginning behind a position (0: at the start), and the position of the last.
	// Positions rise from commit to commit; they need not be dense. It may answer fewer than limit and than there are, so as not to hold much, but none only where there are none behind the position; last is that
	// position then. In the place of an event that was changed, so that it does not open, stands what audit.StandIn makes of it. It ends before an event that opens and that this program does not understand,
	// as one of a newer program; when that is the first it is an *audit.DamagedError with its position.
	List(ctx context.Context, after uint64, limit int) (events []audit.Event, last uint64, err error)
	// Latest answers the last events behind a position, at most limit, in the order of their commits; fewer, as List does, but one if there is one. It reads no more than it answers. Whatever cannot be read,
	// or is not understood, stands as unreadable in its place.
	Latest(ctx context.Context, after uint64, limit int) ([]audit.Event, error)
}

// Journal tells people what happened: one log line for each event. It does not fail, and it waits for nothing but its writer.
type Journal interface {
	Write(ctx context.Context, events ...audit.Event)
}
