package ports

import "context"

// Turns let one of all that use a store go at a time, on whatever node: for rules that hold over several records, such as how many of a kind there may be.
type Turns interface {
	// Turn waits until nobody has the turn of that name, a bounded time, and answers how to give it back; leave may be called twice. A node that dies gives back what it has. Whoever has a turn may
	// use all other ports, and see what was committed before it; of two names none waits for the other. What cannot be had in time is ErrUnavailable.
	Turn(ctx context.Context, name string) (leave func(), err error)
}
