package pgstore

import (
	"context"
	"fmt"
	"time"

	"github.com/xteam/xteam/adapters/pgstore/queries"
	"github.com/xteam/xteam/domain/id"
	"github.com/xteam/xteam/domain/node"
	"github.com/xteam/xteam/ports"
)

// Nodes is the port by which nodes leave word for one another. Nobody is told of a word: it is heard at the next poll.
type Nodes struct{ db *DB }

var _ ports.Nodes = (*Nodes)(nil)

// Say leaves a word.
func (p *Nodes) Say(ctx context.Context, w node.Word) error {
	if len(w.Text) > node.MaxWord {
		return fmt.Errorf("PostgreSQL store: a word of %d bytes, at most %d", len(w.Text), node.MaxWord)
	}
	text := append([]byte{}, w.Text...) // never NULL
	err := p.do(ctx, "leave a word in", func(ctx context.Context, q *queries.Queries) error {
		return q.SayWord(ctx, queries.SayWordParams{ID: w.Node[:], Text: text})
	})
	if err == nil {
		p.db.word.Do(func() { close(p.db.said) })
	}
	return err
}

// Hear reads all words.
func (p *Nodes) Hear(ctx context.Context) ([]node.Word, error) {
	rows, err := read(ctx, p.db, func(ctx context.Context, q *queries.Queries) ([]queries.HearWordsRow, error) { return q.HearWords(ctx) })
	if err != nil {
		return nil, err
	}
	words := make([]node.Word, 0, len(rows))
	for _, row := range rows {
		if len(row.ID) == len(id.Node{}) {
			words = append(words, node.Word{Node: id.Node(row.ID), Text: row.Text, Age: max(time.Duration(row.Age)*time.Microsecond, 0)})
		}
	}
	return words, nil
}

// Wait rests for as long as a follower of the revocations does, a second at most.
func (p *Nodes) Wait(ctx context.Context) error {
	timer := time.NewTimer(min(p.db.options.Poll, time.Second))
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-p.db.closing:
		return p.db.errClosed()
	}
}

// do runs one statement by itself.
func (p *Nodes) do(ctx context.Context, what string, f func(context.Context, *queries.Queries) error) error {
	if err := p.db.ready(ctx); err != nil {
		return err
	}
	conn, err := p.db.acquire(ctx)
	if err != nil {
		return p.db.told(ctx, what, err)
	}
	defer conn.Release()
	short, cancel := p.db.bound(ctx)
	defer cancel()
	if err := f(short, queries.New(conn)); err != nil {
		return p.db.told(ctx, what, &lost{err: err})
	}
	return nil
}
