package ports

import (
	"context"
	"errors"
	"fmt"

	"github.com/xteam/xteam/domain/instant"
)

// MaxCursorState bounds what goes with a cursor, in bytes.
const MaxCursorState = 16 << 10

// Cursor is a named place in the order of events, and whose it is: how far something has come that one node of many does.
type Cursor struct {
	Name     string
	Revision uint64          // rises by one with each Swap; 0: it was never kept
	Position uint64          // of the last event that is done with (Events.List)
	Holder   string          // who is at it; empty: nobody
	Tries    int             // how often what comes next has failed
	Again    instant.Instant // when it is to be tried again; 0: at once
	State    []byte          // what the work itself keeps, at most MaxCursorState. It is not sealed: nothing personal and no secret belongs in it
}

// Cursors keep cursors by their names.
type Cursors interface {
	// Find answers the cursor as it was last kept. One that never was has its name, and is else zero.
	Find(ctx context.Context, name string) (Cursor, error)
	// Swap keeps c in the place of the cursor of its name and revision, and answers it as it is kept, with the next revision. When another revision is kept it is ErrTaken, and nothing is
	// stored: of concurrent swaps of one revision exactly one succeeds. A state that is too long is an error, and nothing is stored.
	Swap(ctx context.Context, c Cursor) (Cursor, error)
}

// Validate says in one sentence what cannot be kept.
func (c *Cursor) Validate() error {
	switch {
	case c.Name == "":
		return errors.New("a cursor needs a name")
	case len(c.State) > MaxCursorState:
		return fmt.Errorf("the state of the cursor %s has %d bytes: at most %d are kept", c.Name, len(c.State), MaxCursorState)
	}
	return nil
}
