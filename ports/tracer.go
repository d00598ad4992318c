package ports

import "context"

// Tracer follows a request through the work that is done for it, for whoever watches the service. It does not fail and waits for nobody. What it is told is a word of a
// fixed set: no text of a client reaches it.
type Tracer interface {
	// Begin tells that a piece of the work of ctx begins; what is done with the answered context is a part of it. end tells that it is over, and whether it failed. Of a context that belongs
	// to no request that is followed nothing is told.
	Begin(ctx context.Context, work string) (part context.Context, end func(failed bool))
}
