package ports

import (
	"context"

	"github.com/xteam/xteam/domain/id"
	"github.com/xteam/xteam/domain/instant"
	"github.com/xteam/xteam/domain/secret"
)

// Notice tells a user of a sign-in to their account from a network that they had not signed in from before.
type Notice struct {
	ID        id.Event // of the sign-in: the same notice has the same each time that it is told
	Time      instant.Instant
	User      id.User
	Username  string
	Email     string
	FullName  string
	IPAddress string
	UserAgent string
	Link      secret.Text // by which the user has the session ended: good once, for whoever has it
}

// Notices takes word to users, whom only others know how to reach.
type Notices interface {
	// Notify returns once the other side has taken the notice. After an error it may have arrived, and is told again: its id tells. It ends within a bounded time, whatever the other side does, and soon after ctx
	// does. Its errors hold no secret of the way there, and nothing of the link.
	Notify(ctx context.Context, n Notice) error
}
