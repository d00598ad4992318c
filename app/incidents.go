package app

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/xteam/xteam/domain/account"
	"github.com/xteam/xteam/domain/audit"
	"github.com/xteam/xteam/domain/incident"
	"github.com/xteam/xteam/domain/instant"
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
	drilling atomic.Bool   // a drill goes on, on this node
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

// Resolve closes an incident. It refuses incident.ErrHeld, ErrIsolated and ErrUndone, the last unless force insists.
func (i *Incidents) Resolve(ctx context.Context, by Actor, iid, note string, force bool) (incident.Incident, error) {
	if len(note) > maxNote {
		return incident.Incident{}, errLongNote
	}
	return i.change(ctx, by, audit.IncidentResolved, audit.Success, detailed(note), func(b incident.Casebook, now instant.Instant) (incident.Casebook, incident.Incident, error) {
		return b.Resolve(iid, incident.Step{At: now, Kind: "resolved", By: by.Name, Note: shown(note)}, force)
	})
}
