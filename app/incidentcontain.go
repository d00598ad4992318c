package app

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/xteam/xteam/domain/account"
	"github.com/xteam/xteam/domain/audit"
	"github.com/xteam/xteam/domain/block"
	"github.com/xteam/xteam/domain/id"
	"github.com/xteam/xteam/domain/incident"
	"github.com/xteam/xteam/domain/instant"
	"github.com/xteam/xteam/domain/session"
	"github.com/xteam/xteam/ports"
)

// Containment says what is to be contained, and how. At least one of its selectors is set.
type Containment struct {
	Users        []string // ids, e-mail addresses or user names: all that they have ends, and they are barred
	Networks     []string // addresses or CIDRs: blocked
	Sessions     []string // ids: ended
	Keys         []string // kids: what they signed is refused, and another signs
	APIKeys      []string // ids: ended
	IssuedBefore instant.Instant
	AllSessions  bool // every token and session of the system
	HoldSignIns  bool // nobody but administrators may sign in until Recover lets them

	For    time.Duration // how long networks are blocked; 0: until they are unblocked
	Reason string
	Force  bool // also what is refused for the sake of whoever asks: their own address, the loopback, what is very wide, a kid that is not held
	DryRun bool
}

// Containing is what came of it.
type Containing struct {
	Incident incident.Incident
	Targets  []incident.Target
	Held     bool          // sign-ins are held back
	Took     time.Duration // until every node had said that it refuses all of it; 0: not all have said so, or it was a dry run
	Missing  []string      // who lives and has not said so
	Recorded error         // why the incident could not be written to; nil: it was
}

// plan is one target and how it is contained.
type plan struct {
	t    incident.Target
	do   func(context.Context) (sessions int, err error)
	hits func(context.Context) (sessions int, err error)
}

// selectors are the members by which those targets are asked for that are looked for only when all are known.
var selectors = map[incident.Kind]string{incident.Session: "sessions", incident.Key: "keys", incident.APIKey: "api_keys", incident.IssuedBefore: "issued_before"}

// errNoTarget refuses a containment of nothing.
var errNoTarget = &SelectorError{"selector", "give at least one of users, networks, sessions, keys, api_keys, issued_before and all_sessions, or hold sign-ins back"}

// Contain revokes, bars and blocks. Everything is looked at before anything is done: what is refused, such as one's own address without force, refuses the whole. What then fails, of one target or another, is said of that target, and the
// others are contained all the same; it may be asked for again. It answers once all that is done is durable and in force here, and the other nodes have been asked.
//
// A database that does not take the record does not keep what can be revoked without it from being revoked: that is then said in Recorded.
func (i *Incidents) Contain(ctx context.Context, by Actor, iid string, c Containment) (Containing, error) {
	begun := time.Now()
	is, err := i.Find(ctx, iid)
	if err != nil {
		return Containing{}, err
	}
	if is.State == incident.Resolved {
		return Containing{}, incident.ErrResolved
	}
	if len(c.Reason) > maxNote {
		return Containing{}, errNote
	}
	plans, err := i.plans(ctx, by, &is, &c)
	if err != nil {
		return Containing{}, err
	}
	if c.DryRun {
		return i.wouldHit(ctx, is, plans)
	}
	out := Containing{Incident: is}
	ctx = context.WithoutCancel(ctx) // half of it is no containment
	if c.HoldSignIns {               // before anything: nobody comes in again meanwhile
		if out.Incident, err = i.hold(ctx, by, &is, &c); err != nil && len(plans) == 0 {
			return Containing{}, err
		}
		if out.Held = err == nil; err != nil {
			out.Incident, out.Recorded = is, err
		}
	}
	held := make(chan Confirmation, 1)
	if out.Held { // the others are told at once, and nothing waits for one that hangs
		go func() { held <- i.confirm(ctx) }()
	}
	for k := range plans {
		out.Targets = append(out.Targets, i.done(ctx, &plans[k], begun))
	}
	i.ask(ctx, out.Targets, begun)
	all := out.Held == c.HoldSignIns
	for k := range out.Targets {
		t := &out.Targets[k]
		all = all && t.Done() && len(t.Missing) == 0
		for _, m := range t.Missing {
			if !slices.Contains(out.Missing, m) {
				out.Missing = append(out.Missing, m)
			}
		}
	}
	if all {
		out.Took = time.Since(begun)
	}
	if len(plans) > 0 {
		if got, err := i.contained(ctx, by, &is, &c, out.Targets); err != nil {
			out.Recorded = err
		} else {
			out.Incident = got
		}
	}
	if out.Held {
		for _, m := range (<-held).Missing {
			if !slices.Contains(out.Missing, m) {
				out.Missing, out.Took = append(out.Missing, m), 0
			}
		}
		if out.Took > 0 {
			out.Took = time.Since(begun)
		}
	}
	return out, nil
}

// contained writes what was contained to the incident.
func (i *Incidents) contained(ctx context.Context, by Actor, is *incident.Incident, c *Containment, targets []incident.Target) (incident.Incident, error) {
	var names []string
	failed := 0
	for k := range targets {
		failed += count(!targets[k].Done())
		names = append(names, strings.TrimSpace(string(targets[k].Kind)+" "+targets[k].Value))
	}
	outcome, said := audit.Success, strings.Join(names, ", ")
	if failed > 0 {
		outcome, said = audit.Failure, fmt.Sprintf("%s (%d not done)", said, failed)
	}
	details := detailed(c.Reason, "targets", cut(strings.Join(names, ", "), 2000), "count", strconv.Itoa(len(targets)))
	return i.change(ctx, by, audit.IncidentContained, outcome, details, func(b incident.Casebook, now instant.Instant) (incident.Casebook, incident.Incident, error) {
		return b.Do(is.ID, incident.Step{At: now, Kind: "contained", By: by.Name, Note: noted(said, c.Reason)}, incident.Contained, targets...)
	})
}

// hold lets nobody sign in but administrators.
func (i *Incidents) hold(ctx context.Context, by Actor, is *incident.Incident, c *Containment) (incident.Incident, error) {
	const said = "sign-ins are held back"
	return i.change(ctx, by, audit.IncidentContained, audit.Success, detailed(c.Reason, "targets", said, "count", "0"), func(b incident.Casebook, now instant.Instant) (incident.Casebook, incident.Incident, error) {
		b, got, err := b.Do(is.ID, incident.Step{At: now, Kind: "contained", By: by.Name, Note: noted(said, c.Reason)}, incident.Contained)
		if err == nil {
			b, err = b.Halt(is.ID)
		}
		return b, got, err
	})
}

// done contains one target.
func (i *Incidents) done(ctx context.Context, p *plan, begun time.Time) incident.Target {
	t := p.t
	ctx, seen := witnessing(ctx)
	n, err := p.do(ctx)
	t.Sessions = n
	if err != nil {
		t.Failed = failure(err)
		i.o.Logger.Error("A target of an incident could not be contained", "kind", string(t.Kind), "error", err.Error())
		return t
	}
	for k := range seen.entries {
		e := &seen.entries[k]
		t.Proof.Revocations = append(t.Proof.Revocations, []byte(e.Key()))
		t.Proof.Until = max(t.Proof.Until, e.Until)
	}
	if t.Kind == incident.Network {
		t.Proof.Blocks = i.blocks.Revision()
	}
	t.Nodes = []incident.Seen{{Node: i.o.Node, Micros: time.Since(begun).Microseconds()}}
	return t
}

// failure is what is kept of an error: a refusal's own sentence, and of a fault that there was one.
func failure(err error) string {
	var sel *SelectorError
	switch {
	case errors.As(err, &sel):
		return sel.Error()
	case errors.Is(err, ports.ErrNotFound):
		return "it is not there"
	case errors.Is(err, account.ErrLastAdmin), errors.Is(err, account.ErrOwnAccount), errors.As(err, new(*NotDurableError)):
		return err.Error()
	}
	return "the store did not take it; the log tells more"
}

// wouldHit is the answer to a dry run.
func (i *Incidents) wouldHit(ctx context.Context, is incident.Incident, plans []plan) (Containing, error) {
	out := Containing{Incident: is}
	ctx, cancel := context.WithTimeout(ctx, countFor)
	defer cancel()
	for k := range plans {
		t := plans[k].t
		n, err := plans[k].hits(ctx)
		if err != nil && ctx.Err() == nil {
			return Containing{}, err
		}
		t.Sessions = n
		out.Targets = append(out.Targets, t)
	}
	return out, nil
}

// plans looks at everything that is to be contained, and does nothing yet.
func (i *Incidents) plans(ctx context.Context, by Actor, is *incident.Incident, c *Containment) (all []plan, err error) {
	now, epoch := i.core.now(), i.core.View.Epoch()
	note := "incident " + is.ID
	if c.Reason != "" {
		note = cut(note+": "+shown(c.Reason), maxNote)
	}
	add := func(k incident.Kind, value string, sel Selector) *plan {
		t := incident.Target{Kind: k, Value: value, Asked: now, Proof: incident.Proof{Epoch: epoch}}
		revoke := func(dry bool) func(context.Context) (int, error) {
			return func(ctx context.Context) (int, error) {
				r, err := i.revoker.Revoke(ctx, by, sel, note, dry)
				if w, ok := ctx.Value(witnessKey{}).(*witness); ok { // Revoke gathers them apart
					w.entries = append(w.entries, r.entries...)
				}
				return r.SessionsEnded, err
			}
		}
		all = append(all, plan{t, revoke(false), revoke(true)})
		return &all[len(all)-1]
	}
	if c.AllSessions {
		add(incident.AllSessions, "", Selector{All: true})
	}
	if c.IssuedBefore != 0 {
		add(incident.IssuedBefore, c.IssuedBefore.String(), Selector{IssuedBefore: c.IssuedBefore})
	}
	for _, kid := range unique(c.Keys) {
		add(incident.Key, kid, Selector{Key: kid, Force: c.Force})
	}
	for _, name := range unique(c.Users) {
		if err := i.planUser(ctx, by, name, note, add); err != nil {
			return nil, err
		}
	}
	for _, text := range unique(c.Sessions) {
		add(incident.Session, text, Selector{Session: text})
	}
	for _, text := range unique(c.APIKeys) {
		kid, err := id.Parse[id.APIKey](text)
		if err != nil {
			return nil, &SelectorError{"api_keys", err.Error()}
		}
		p := add(incident.APIKey, kid.String(), Selector{})
		p.hits = func(ctx context.Context) (int, error) { _, err := i.core.Stores.APIKeys.Find(ctx, kid); return 0, err }
		p.do = func(ctx context.Context) (int, error) { _, err := i.keys.End(ctx, by, kid, note, true); return 0, err }
	}
	for _, text := range unique(c.Networks) {
		if err := i.planNetwork(by, text, note, c, add); err != nil {
			return nil, err
		}
	}
	for k := len(all) - 1; k >= 0; k-- { // one user by several names
		same := func(p plan) bool { return p.t.Kind == all[k].t.Kind && p.t.Value == all[k].t.Value }
		if slices.IndexFunc(all, same) < k {
			all = slices.Delete(all, k, k+1)
		}
	}
	if len(all) == 0 && !c.HoldSignIns {
		return nil, errNoTarget
	}
	room := incident.MaxTargets - len(is.Targets)
	for k := range all {
		if slices.ContainsFunc(is.Targets, func(t incident.Target) bool { return t.Kind == all[k].t.Kind && t.Value == all[k].t.Value }) {
			room++ // it is contained again
		}
	}
	if len(all) > room {
		return nil, incident.ErrFull
	}
	// What cannot be found, or is wrong, refuses the whole: a mistyped name is no containment.
	for k := range all {
		if t := &all[k].t; t.Kind == incident.User || t.Kind == incident.Network || t.Kind == incident.AllSessions {
			continue // looked at above; of everything there is nothing to be found
		}
		look, cancel := context.WithTimeout(ctx, countFor)
		_, err := all[k].hits(look)
		late := look.Err() != nil
		cancel()
		switch {
		case errors.Is(err, ports.ErrNotFound):
			return nil, &SelectorError{selectors[all[k].t.Kind], fmt.Sprintf("%s is not there", cut(shown(all[k].t.Value), 100))}
		case err != nil && !(i.core.Pending != nil && outage(err)) && !late:
			return nil, err
		}
	}
	return all, nil
}

func (i *Incidents) planUser(ctx context.Context, by Actor, name, note string, add func(incident.Kind, string, Selector) *plan) error {
	acct, err := glance(ctx, i.core, func(ctx context.Context) (account.Account, error) { return i.core.lookup(ctx, name) })
	if uid, wrong := id.Parse[id.User](name); wrong == nil && i.core.Pending != nil && outage(err) {
		acct.ID, err = uid, nil // an id needs no look-up
	}
	switch {
	case errors.Is(err, ports.ErrNotFound):
		return &SelectorError{"users", fmt.Sprintf("%s is no user", cut(shown(name), 100))}
	case err != nil:
		return err
	case by.Name == acct.ID.String():
		return account.ErrOwnAccount
	}
	p := add(incident.User, acct.ID.String(), Selector{User: acct.ID.String()})
	p.t.Proof.Generation = acct.Generation
	revoke := p.do
	p.do = func(ctx context.Context) (int, error) {
		n, err := revoke(ctx)
		if err != nil {
			return n, err
		}
		if err := i.accounts.Disable(ctx, by, acct.ID); err != nil {
			return n, fmt.Errorf("bar the account: %w", err)
		}
		return n, nil
	}
	return nil
}

func (i *Incidents) planNetwork(by Actor, text, note string, c *Containment, add func(incident.Kind, string, Selector) *plan) error {
	network, err := block.Parse(text)
	if err != nil {
		return err
	}
	if !c.Force {
		if err := i.blocks.wise(by, network); err != nil {
			return err
		}
	}
	p := add(incident.Network, network.String(), Selector{})
	p.do = func(ctx context.Context) (int, error) {
		_, err := i.blocks.Block(ctx, by, network, BlockOptions{For: c.For, Reason: cut(note, 100), Force: c.Force})
		return 0, err
	}
	p.hits = func(ctx context.Context) (n int, err error) {
		whole, err := i.core.Stores.System.Load(ctx)
		if err != nil {
			return 0, err
		}
		now := i.core.now()
		err = i.core.eachSession(ctx, func(a *account.Account, x *session.Session) {
			n += count(network.Contains(x.LastFrom.Address.Unmap().WithZone("")) && lives(x, a, whole, now))
		})
		return n, err
	}
	return nil
}

// unique are the texts without empty ones and repetitions.
func unique(all []string) (out []string) {
	for _, s := range all {
		if s = strings.TrimSpace(s); s != "" && !slices.Contains(out, s) {
			out = append(out, s)
		}
	}
	return out
}
