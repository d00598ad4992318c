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
	// Positions rise from commit to commit; they need not be dense. Where there are no events behind a position, last is that position. It ends before an event that was changed, so that it cannot be read;
	// when that is the first it is an *audit.DamagedError with its position.
	List(ctx context.Context, after uint64, limit int) (events []audit.Event, last uint64, err error)
}

// Journal tells people what happened: one log line for each event. It does not fail, and it waits for nothing but its writer.
type Journal interface {
	Write(ctx context.Context, events ...audit.Event)
}
