package ports

import "time"

// Meter counts what happens, for whoever watches the service. It does not fail and waits for nobody. What it is told is a word of a fixed set: no text of a client
// reaches it.
type Meter interface {
	// Guarded tells of one request that the guard judged, and of how long that took. The outcome is "admitted", "forbidden", or the code of the refusal.
	Guarded(outcome string, took time.Duration)
	// Limited tells of a request that found a bucket of the policy without enough tokens, in shadow mode too.
	Limited(policy string)
	// Visible tells of a revocation that this node has put in force, and how long ago it was asked for, here or on another node.
	Visible(took time.Duration)
	// Told tells of a security event that is told on this node, by its kind and outcome (domain/audit).
	Told(kind, outcome string)
	// Hashed tells of a password that was hashed or compared: how long it waited for its turn, and how long the work took then.
	Hashed(waited, took time.Duration)
}
