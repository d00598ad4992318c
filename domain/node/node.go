// Package node is what the nodes of one system know of one another.
package node

import (
	"time"

	"github.com/xteam/xteam/domain/id"
	"github.com/xteam/xteam/domain/instant"
)

const (
	// Beat is how often a node says its word, at least.
	Beat = time.Second
	// Silence is after how long without a word a node counts no longer: it has gone, hangs, or is cut off, and by then trusts its own view of the revocations no more than its settings let it.
	Silence = 5 * time.Second
	// MaxWord is how long a word may be, in bytes.
	MaxWord = 64 << 10
)

// Word is what a node says of itself, and to the others. Its last one replaces those before.
type Word struct {
	Node id.Node       // drawn anew at each start
	Text []byte        // at most MaxWord bytes
	Age  time.Duration // since it was said, by the clock of where it was left
}

// Live reports whether whoever said it counts.
func (w *Word) Live() bool { return w.Age < Silence }

// Status is a node as it says of itself.
type Status struct {
	ID      id.Node
	Name    string
	Version string
	Started instant.Instant
	ViewAge time.Duration // of its view of the revocations
	Fresh   bool          // it trusts that view
	Live    int           // revocations that it holds
	Canary  Canary
	Seen    time.Duration // since it was last heard
}

// Canary is what became of a node's own canaries, and of those that it was asked about.
type Canary struct {
	At     instant.Instant // when this node last judged one; 0: never yet
	Failed bool            // it took one that was revoked
}
