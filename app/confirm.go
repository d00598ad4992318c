package app

import (
	"context"
	"encoding/json"
	"sync"
	"time"

	"github.com/xteam/xteam/domain/revocation"
)

// The kinds of question that nodes ask one another.
const (
	askRevoked = "revoked" // JSON of the keys of entries: does the guard refuse all that they name?
	askKey     = "key"     // a kid: does the codec take what it signs?
	askCanary  = "canary"  // a token that was revoked: is it refused?
)

// witness gathers the revocations that a call put in force.
type witness struct {
	mu      sync.Mutex
	entries []revocation.Entry
}

type witnessKey struct{}

// witnessing has the revocations of what is called with the context gathered.
func witnessing(ctx context.Context) (context.Context, *witness) {
	w := &witness{}
	return context.WithValue(ctx, witnessKey{}, w), w
}

func witnessed(ctx context.Context, entries []revocation.Entry) {
	if w, ok := ctx.Value(witnessKey{}).(*witness); ok {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.entries = append(w.entries, entries...)
	}
}

// refuse asks the other nodes whether they refuse what entries name, and answers who does, and how long after begun. This node does already, and is not in the answer.
func (n *Nodes) refuse(ctx context.Context, entries []revocation.Entry, begun time.Time) Confirmation {
	if n == nil || len(entries) == 0 || !n.accompanied() {
		return Confirmation{}
	}
	keys := make([][]byte, len(entries))
	for i := range entries {
		keys[i] = []byte(entries[i].Key())
	}
	body, err := json.Marshal(keys)
	if err != nil {
		return Confirmation{}
	}
	before := time.Since(begun) // until the question is asked
	c := n.Confirm(ctx, askRevoked, body)
	if len(c.Nodes) > 0 && c.Nodes[0].Node == n.o.Name {
		c.Nodes = c.Nodes[1:]
	}
	for i := range c.Nodes {
		c.Nodes[i].Took += before
	}
	return c
}

// askBlocks is the question whether a node has a revision of the list of blocked addresses, or a later one, in force.
const askBlocks = "blocks"

// AnswerBlocks has questions for the revision of the blocked addresses answered. It is to be called before Run.
func (n *Nodes) AnswerBlocks(revision func() uint64, look func()) {
	n.Answer(askBlocks, func(_ context.Context, body []byte) bool {
		var wanted uint64
		if json.Unmarshal(body, &wanted) != nil {
			return false
		}
		if revision() >= wanted {
			return true
		}
		look()
		return false
	})
}

// ConfirmBlocks asks all nodes whether they have that revision of the blocked addresses in force.
func (n *Nodes) ConfirmBlocks(ctx context.Context, revision uint64) Confirmation {
	body, err := json.Marshal(revision)
	if n == nil || err != nil {
		return Confirmation{}
	}
	return n.Confirm(ctx, askBlocks, body)
}

// accompanied reports whether another node lives.
func (n *Nodes) accompanied() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, h := range n.others {
		if h.live() {
			return true
		}
	}
	return false
}

// holdsKey answers the question askKey. A key that is not here is looked for.
func (n *Nodes) holdsKey(_ context.Context, body []byte) bool {
	r := n.core.Rotator
	if r == nil || r.Holds(string(body)) {
		return r != nil
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if now := time.Now(); now.Sub(n.woken) >= 100*time.Millisecond {
		n.woken = now
		r.again()
	}
	return false
}

// spread has every node that lives hold a signing key, and answers who does. A *UnconfirmedError names those that do not.
func (n *Nodes) spread(ctx context.Context, kid string) ([]NodeTime, error) {
	if n == nil || !n.accompanied() {
		return nil, nil
	}
	c := n.Confirm(ctx, askKey, []byte(kid))
	if len(c.Missing) > 0 {
		return c.Nodes, &UnconfirmedError{"the new key " + kid, c.Missing}
	}
	return c.Nodes, nil
}

// holdsRevoked answers the question askRevoked.
func (c *Core) holdsRevoked(_ context.Context, body []byte) bool {
	var keys [][]byte
	if json.Unmarshal(body, &keys) != nil {
		return false
	}
	for _, key := range keys {
		if e, ok := revocation.Named(key); !ok || !c.View.Holds(&e) {
			return false
		}
	}
	return true
}
