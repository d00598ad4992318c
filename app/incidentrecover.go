package app

import (
	"context"
	"strconv"

	"github.com/xteam/xteam/domain/audit"
	"github.com/xteam/xteam/domain/incident"
	"github.com/xteam/xteam/domain/instant"
)

// Recover lets the sign-ins of that percentage of users in, on every node within a second: of the same ones as before, and more. Administrators are let in always. It answers who has it in force.
func (i *Incidents) Recover(ctx context.Context, by Actor, iid string, percent int, note string) (incident.Incident, Confirmation, error) {
	if len(note) > maxNote {
		return incident.Incident{}, Confirmation{}, errLongNote
	}
	text := strconv.Itoa(percent) + " % of the users may sign in"
	is, err := i.change(ctx, by, audit.IncidentRecovering, audit.Success, detailed(note, "percent", strconv.Itoa(percent)), func(b incident.Casebook, now instant.Instant) (incident.Casebook, incident.Incident, error) {
		return b.Recover(iid, percent, incident.Step{At: now, Kind: "recovering", By: by.Name, Note: noted(text, note)})
	})
	if err != nil {
		return is, Confirmation{}, err
	}
	return is, i.confirm(ctx), nil
}

// Isolate has the node with a name serve nobody until it is released: it answers 503 to everything but probes, of which /readyz says no, and the operator at its own socket. Without force the name must be that of a node
// that lives, and another one must live. It answers who has that in force.
func (i *Incidents) Isolate(ctx context.Context, by Actor, iid, node string, release, force bool, note string) (incident.Incident, Confirmation, error) {
	fail := func(err error) (incident.Incident, Confirmation, error) {
		return incident.Incident{}, Confirmation{}, err
	}
	if len(note) > maxNote {
		return fail(errLongNote)
	}
	if node == "" || len(node) > 255 || !incident.Printable(node) {
		return fail(&SelectorError{"node", "must be the name of a node, as `xteam nodes` lists it"})
	}
	if !release && !force {
		known, others := false, false
		for _, n := range i.nodes() {
			known, others = known || n == node, others || n != node
		}
		switch {
		case !known:
			return fail(ErrUnknownNode)
		case !others:
			return fail(ErrOnlyNode)
		}
	}
	kind, step := audit.NodeIsolated, "isolated"
	if release {
		kind, step = audit.NodeReleased, "released"
	}
	is, err := i.change(ctx, by, kind, audit.Success, detailed(note, "node", node), func(b incident.Casebook, now instant.Instant) (incident.Casebook, incident.Incident, error) {
		return b.Isolate(iid, node, release, incident.Step{At: now, Kind: step, By: by.Name, Note: noted(node, note)})
	})
	if err != nil {
		return fail(err)
	}
	return is, i.confirm(ctx), nil
}

// nodes are the names of those that live.
func (i *Incidents) nodes() (all []string) {
	if i.core.Nodes == nil {
		return []string{i.o.Node}
	}
	for _, n := range i.core.Nodes.List() {
		all = append(all, n.Name)
	}
	return all
}
