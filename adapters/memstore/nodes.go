package memstore

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/xteam/xteam/domain/id"
	"github.com/xteam/xteam/domain/node"
	"github.com/xteam/xteam/ports"
)

// Board is where nodes in one process leave word for one another, for tests.
type Board struct {
	mu    sync.Mutex
	words map[id.Node]said
	news  chan struct{} // closed, and replaced, when something was said
}

type said struct {
	text []byte
	at   time.Time
}

// NewBoard is an empty one.
func NewBoard() *Board { return &Board{words: map[id.Node]said{}, news: make(chan struct{})} }

// Nodes answers one node's way to it.
func (b *Board) Nodes() ports.Nodes {
	b.mu.Lock()
	defer b.mu.Unlock()
	return &nodes{b: b, seen: b.news}
}

type nodes struct {
	b    *Board
	seen chan struct{} // closed: something was said since
}

func (n *nodes) Say(ctx context.Context, w node.Word) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if len(w.Text) > node.MaxWord {
		return fmt.Errorf("memory board: a word of %d bytes, at most %d", len(w.Text), node.MaxWord)
	}
	n.b.mu.Lock()
	defer n.b.mu.Unlock()
	n.b.words[w.Node] = said{slices.Clone(w.Text), time.Now()}
	close(n.b.news)
	n.b.news = make(chan struct{})
	return nil
}

func (n *nodes) Hear(ctx context.Context) (words []node.Word, err error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	n.b.mu.Lock()
	defer n.b.mu.Unlock()
	for who, w := range n.b.words {
		if age := time.Since(w.at); age < time.Minute {
			words = append(words, node.Word{Node: who, Text: slices.Clone(w.text), Age: age})
		}
	}
	return words, nil
}

func (n *nodes) Wait(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	timer := time.NewTimer(time.Second)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
	case <-n.seen:
	}
	n.b.mu.Lock()
	defer n.b.mu.Unlock()
	n.seen = n.b.news
	return nil
}
