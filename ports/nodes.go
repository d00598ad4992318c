package ports

import (
	"context"

	"github.com/xteam/xteam/domain/node"
)

// Nodes is where the nodes of one system leave word for one another. It promises less than a store: all words may be lost at once, as when its server starts anew, for every node says its own again in a
// moment.
type Nodes interface {
	// Say leaves the word of a node, in place of its last one. Its Age is not looked at. A text longer than node.MaxWord is an error.
	Say(ctx context.Context, w node.Word) error
	// Hear answers the last words of all nodes that said one within a minute, in no order.
	Hear(ctx context.Context) ([]node.Word, error)
	// Wait returns when somebody may have said something since the last Wait of the same Nodes returned, or since the first began; and after a second at the latest, or where nobody is told of words, after the
	// time for which a poll rests. One waits at a time.
	Wait(ctx context.Context) error
}
