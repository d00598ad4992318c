package app

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
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

const (
	// incidentsPoll is the longest time between two questions whether another node changed what holds for all of them.
	incidentsPoll = 500 * time.Millisecond
	// incidentsAnew is how often the book is loaded whatever its revision: a database that was restored may have come to the same number by other changes.
	incidentsAnew = time.Minute
)

var (
	// ErrHeldBack refuses a sign-in whose password is right while not everybody is let in.
	ErrHeldBack = errors.New("sign-ins are let in step by step after an incident, and this account's turn has not come: try again later")
	// ErrIsolated refuses everything on a node that is to serve nobody.
	ErrIsolated = errors.New("this node is isolated and serves nobody: another one does")
	// ErrOnlyNode refuses to isolate what nobody could stand in for.
	ErrOnlyNode = errors.New("no other node lives that could serve instead: insist (force) if nobody is to be served")
	// ErrUnknownNode refuses a name that no node has.
	ErrUnknownNode = errors.New("no node of that name lives: `xteam nodes` lists those that do; insist (force) if it is to be isolated when it comes")
)

// IncidentsOptions tune Incidents. The zero value works.
type IncidentsOptions struct {
	Node   string   // this node's name
	ByHand []string // what nobody but people can change: a sentence each
	Logger *slog.Logger
}

// Incidents is what is done about a break-in, in the order of the seed: contain, verify, eradicate, recover, report, resolve. Each step is an event, and is kept with the incident. What holds for every node, who
// may sign in and which nodes serve nobody, is followed by all of them, and is in force within a second.
type Incidents struct {
	core     *Core
	accounts *Accounts
	revoker  *Revoker
	blocks   *Blocks
	keys     *APIKeys
	trail    *Trail // nil: there is none to be read
	o        IncidentsOptions

	held     atomic.Pointer[heldCases]
	wake     chan struct{} // holds one when the store is to be read at once
	mu       sync.Mutex    // held is replaced under it
	watchers []func()
}

// heldCases is a book and its gate. It is never changed.
type heldCases struct {
	book     incident.Casebook
	gate     incident.Gate
	isolated bool
}

// NewIncidents makes itself known to the core.
func NewIncidents(c *Core, accounts *Accounts, revoker *Revoker, blocks *Blocks, keys *APIKeys, trail *Trail, o IncidentsOptions) *Incidents {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	i := &Incidents{core: c, accounts: accounts, revoker: revoker, blocks: blocks, keys: keys, trail: trail, o: o, wake: make(chan struct{}, 1)}
	i.held.Store(&heldCases{})
	c.Incidents = i
	return i
}

// AnswerTo has the questions of other nodes answered. It is to be called before they are heard.
func (i *Incidents) AnswerTo(n *Nodes) {
	n.Answer(askIncidents, i.answersRevision)
	n.Answer(askProbes, i.answersProbes)
}

// Start loads what holds for this node. It is to be called before anybody is served.
func (i *Incidents) Start(ctx context.Context) error {
	if err := i.load(ctx); err != nil {
		return fmt.Errorf("load the incidents: %w", err)
	}
	return nil
}

// Run follows the changes of other nodes until ctx ends. While the database is silent, what was read last stays in force.
func (i *Incidents) Run(ctx context.Context) {
	tick := time.NewTicker(incidentsPoll)
	defer tick.Stop()
	loaded, silent := time.Now(), false
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		case <-i.wake:
		}
		revision, err := i.core.Stores.Incidents.Revision(ctx)
		if err == nil && (revision != i.held.Load().book.Revision || time.Since(loaded) >= incidentsAnew) {
			if err = i.load(ctx); err == nil {
				loaded = time.Now()
			}
		}
		switch {
		case ctx.Err() != nil:
			return
		case err != nil && !silent:
			i.o.Logger.Warn("The incidents cannot be read; who may sign in, and which nodes serve, stays as it was read last", "error", err.Error())
		case err == nil && silent:
			i.o.Logger.Info("The incidents are read again")
		}
		silent = err != nil
	}
}

func (i *Incidents) load(ctx context.Context) error {
	before := i.held.Load()
	b, err := i.core.Stores.Incidents.Load(ctx)
	if err == nil {
		i.take(b, before)
	}
	return err
}

// take has a book be in force, if it is newer than the one that is, or that one is still instead.
func (i *Incidents) take(b incident.Casebook, instead *heldCases) {
	i.mu.Lock()
	was := i.held.Load()
	if b.Revision <= was.book.Revision && was != instead {
		i.mu.Unlock()
		return
	}
	next := &heldCases{book: b, gate: b.Gate()}
	if next.isolated = next.gate.Isolates(i.o.Node); next.isolated != was.isolated {
		i.o.Logger.Warn("This node " + map[bool]string{true: "is isolated: it serves nobody but the operator at its own socket", false: "serves again"}[next.isolated])
	}
	i.held.Store(next)
	watchers := i.watchers
	i.mu.Unlock()
	for _, w := range watchers {
		w()
	}
}

// OnChange has f called after each change, once it is in force here. f must return at once.
func (i *Incidents) OnChange(f func()) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.watchers = append(i.watchers[:len(i.watchers):len(i.watchers)], f)
}

// Isolated reports whether this node is to serve nobody. It waits for nothing. A nil Incidents serves everybody.
func (i *Incidents) Isolated() bool { return i != nil && i.held.Load().isolated }

// admits answers ErrHeldBack for a sign-in whose turn has not come. Administrators are let in always.
func (i *Incidents) admits(a *account.Account) error {
	if i == nil || a.Role == account.RoleAdmin {
		return nil
	}
	if g := i.held.Load().gate; !g.Admits(a.ID) {
		return ErrHeldBack
	}
	return nil
}

// Percent is whose sign-ins are let in on this node.
func (i *Incidents) Percent() int { g := i.held.Load().gate; return g.Percent() }

// Unresolved is how many incidents are not resolved, as far as this node has heard.
func (i *Incidents) Unresolved() (n int) {
	for _, is := range i.held.Load().book.Incidents {
		n += count(is.State != incident.Resolved)
	}
	return n
}

// Isolations are the nodes that serve nobody, as far as this one has heard.
func (i *Incidents) Isolations() []incident.Isolation { return i.held.Load().book.Isolated }

// List answers at most limit incidents, the newest first, behind the one with an id (empty: at the start), and whether there are more; of those that are not resolved alone, if asked.
func (i *Incidents) List(ctx context.Context, open bool, behind string, limit int) ([]incident.Incident, bool, error) {
	b, err := i.core.Stores.Incidents.Load(ctx)
	if err != nil {
		return nil, false, err
	}
	page, more := b.List(open, behind, limit)
	return page, more, nil
}

// Find answers an incident: of the empty id the one that is open. It refuses incident.ErrUnknown, ErrNone and ErrSeveral.
func (i *Incidents) Find(ctx context.Context, iid string) (incident.Incident, error) {
	b, err := glance(ctx, i.core, i.core.Stores.Incidents.Load)
	if i.core.Pending != nil && outage(err) {
		b, err = i.held.Load().book, nil // what is known will do to contain by
	}
	if err != nil {
		return incident.Incident{}, err
	}
	return b.Find(iid)
}

// Open begins an incident. What happened from since on belongs to it; 0: from an hour ago on, or of a drill from now on.
func (i *Incidents) Open(ctx context.Context, by Actor, name string, drill bool, since instant.Instant) (incident.Incident, error) {
	var raw [8]byte
	if _, err := io.ReadFull(i.core.Random, raw[:]); err != nil {
		return incident.Incident{}, unavailable("draw the id of an incident", err)
	}
	iid := hex.EncodeToString(raw[:])
	name = cut(name, incident.MaxName+1) // one that is too long is refused, and not shortened
	switch {
	case since == 0 && drill:
		since = i.core.now()
	case since == 0:
		since = i.core.now().Add(-time.Hour)
	}
	return i.change(ctx, by, audit.IncidentOpened, audit.Success, map[string]string{"name": name, "since": since.String()}, func(b incident.Casebook, now instant.Instant) (incident.Casebook, incident.Incident, error) {
		return b.Begin(iid, name, by.Name, drill, since, now)
	})
}

// change commits a change of the book with its event.
func (i *Incidents) change(ctx context.Context, by Actor, k audit.Kind, out audit.Outcome, details map[string]string, f func(incident.Casebook, instant.Instant) (incident.Casebook, incident.Incident, error)) (is incident.Incident, err error) {
	e, err := i.core.event(by.Request, k, audit.Warning, out)
	if err != nil {
		return is, err
	}
	e.Details = details
	by.signs(&e)
	var effects ports.Effects
	var next incident.Casebook
	before := i.held.Load()
	err = i.core.Stores.Incidents.Update(ctx, func(b incident.Casebook) (incident.Casebook, ports.Effects, error) {
		effects = ports.Effects{}
		var err error
		if next, is, err = f(b, e.Time); err != nil {
			return b, effects, err
		}
		e.Subject = is.ID
		effects.Events = []audit.Event{e}
		return next, effects, nil
	})
	if err != nil {
		return incident.Incident{}, err
	}
	i.take(next, before)
	i.core.felt(ctx, effects)
	return is, nil
}

// shown is a text of somebody's that is kept: at most maxNote bytes, without what has the form of a credential and without what cannot be shown.
func shown(note string) string {
	return cut(strings.Map(func(r rune) rune {
		if incident.Hidden(r) {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(note, "\uFFFD")), incident.MaxNote)
}

// Recover lets the sign-ins of that percentage of users in, on every node within a second: of the same ones as before, and more. Administrators are let in always. It answers who has it in force.
func (i *Incidents) Recover(ctx context.Context, by Actor, iid string, percent int, note string) (incident.Incident, Confirmation, error) {
	if len(note) > maxNote {
		return incident.Incident{}, Confirmation{}, errNote
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

// detailed are the details of an event: pairs, and what somebody said.
func detailed(note string, pairs ...string) map[string]string {
	d := map[string]string{}
	for k := 0; k+1 < len(pairs); k += 2 {
		d[pairs[k]] = pairs[k+1]
	}
	if note = shown(note); note != "" {
		d["note"] = note
	}
	return d
}

func noted(what, note string) string {
	if note = shown(note); note == "" {
		return what
	}
	return what + ": " + note
}

// Isolate has the node with a name serve nobody until it is released: it answers 503 to everything but probes, of which /readyz says no, and the operator at its own socket. Without force the name must be that of a node
// that lives, and another one must live. It answers who has that in force.
func (i *Incidents) Isolate(ctx context.Context, by Actor, iid, node string, release, force bool, note string) (incident.Incident, Confirmation, error) {
	fail := func(err error) (incident.Incident, Confirmation, error) {
		return incident.Incident{}, Confirmation{}, err
	}
	if len(note) > maxNote {
		return fail(errNote)
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

// Resolve closes an incident. It refuses incident.ErrHeld, ErrIsolated and ErrUndone, the last unless force insists.
func (i *Incidents) Resolve(ctx context.Context, by Actor, iid, note string, force bool) (incident.Incident, error) {
	if len(note) > maxNote {
		return incident.Incident{}, errNote
	}
	return i.change(ctx, by, audit.IncidentResolved, audit.Success, detailed(note), func(b incident.Casebook, now instant.Instant) (incident.Casebook, incident.Incident, error) {
		return b.Resolve(iid, incident.Step{At: now, Kind: "resolved", By: by.Name, Note: shown(note)}, force)
	})
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
			return nil, &SelectorError{string(all[k].t.Kind), fmt.Sprintf("%s is not there", cut(shown(all[k].t.Value), 100))}
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
