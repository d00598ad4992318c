package app

import (
	"context"
	"encoding/json"
	"sync"
	"time"

	"github.com/xteam/xteam/domain/incident"
)

// AnswerTo has the questions of other nodes answered. It is to be called before they are heard.
func (i *Incidents) AnswerTo(n *Nodes) {
	n.Answer(askIncidents, i.answersRevision)
	n.Answer(askProbes, i.answersProbes)
}

// The kinds of question about incidents.
const (
	askIncidents = "incidents" // a revision of the book: is it in force, or a later one?
	askProbes    = "probes"    // JSON of probes: are all of them refused?
)

func (i *Incidents) answersRevision(_ context.Context, body []byte) bool {
	var wanted uint64
	if json.Unmarshal(body, &wanted) != nil {
		return false
	}
	if i.held.Load().book.Revision >= wanted {
		return true
	}
	signal(i.wake)
	return false
}

// confirm asks every node whether it has what this node has in force.
func (i *Incidents) confirm(ctx context.Context) Confirmation {
	body, err := json.Marshal(i.held.Load().book.Revision)
	if i.core.Nodes == nil || err != nil {
		return Confirmation{Nodes: []NodeTime{{Node: i.o.Node}}}
	}
	return i.core.Nodes.Confirm(ctx, askIncidents, body)
}

// ask asks the other nodes whether they refuse what was contained, and notes it with the targets.
func (i *Incidents) ask(ctx context.Context, targets []incident.Target, begun time.Time) {
	n := i.core.Nodes
	if n == nil || !n.accompanied() {
		return
	}
	for t, c := range i.askOf(ctx, targets, func(t *incident.Target) bool { return t.Done() }, begun) {
		for _, s := range c.Nodes {
			if s.Node != i.o.Node {
				t.Nodes = append(t.Nodes, incident.Seen{Node: s.Node, Micros: s.Took.Microseconds()})
			}
		}
		t.Missing = c.Missing
	}
}

// askOf asks about those targets that are wanted, in few questions, all at once: a node that hangs is waited for once. The times are since begun.
func (i *Incidents) askOf(ctx context.Context, targets []incident.Target, wanted func(*incident.Target) bool, begun time.Time) map[*incident.Target]Confirmation {
	type question struct {
		kind string
		body []byte
		of   []*incident.Target
	}
	var blocks uint64 // whoever has the latest list has each
	var blocked []*incident.Target
	var all []question
	var keys [][]byte
	var of []*incident.Target
	size := 0
	flush := func() {
		if body, err := json.Marshal(keys); err == nil && len(keys) > 0 {
			all = append(all, question{askRevoked, body, of})
		}
		keys, of, size = nil, nil, 0
	}
	for k := range targets {
		t := &targets[k]
		switch {
		case !wanted(t):
		case t.Kind == incident.Network:
			blocks, blocked = max(blocks, t.Proof.Blocks), append(blocked, t)
		case len(t.Proof.Revocations) > 0:
			keys, of = append(keys, t.Proof.Revocations...), append(of, t)
			for _, key := range t.Proof.Revocations {
				size += 2*len(key) + 8
			}
			if size > maxAsked/4 {
				flush()
			}
		}
	}
	flush()
	if body, err := json.Marshal(blocks); err == nil && len(blocked) > 0 {
		all = append(all, question{askBlocks, body, blocked})
	}
	before := time.Since(begun)
	said := make([]Confirmation, len(all))
	var group sync.WaitGroup
	for k := range all {
		group.Go(func() { said[k] = i.core.Nodes.Confirm(ctx, all[k].kind, all[k].body) })
	}
	group.Wait()
	out := map[*incident.Target]Confirmation{}
	for k := range all {
		for n := range said[k].Nodes {
			said[k].Nodes[n].Took += before
		}
		for _, t := range all[k].of {
			out[t] = said[k]
		}
	}
	return out
}
