// Package incident is what is done about a break-in, step by step: it is open, contained, eradicated, recovered from, and resolved.
package incident

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/xteam/xteam/domain/instant"
	"github.com/xteam/xteam/domain/token"
)

// State is how far an incident has come. The text is stored: it never changes meaning.
type State string

// The states, in their order. A step may be done again, which takes the incident no further back.
const (
	Open       State = "open"
	Contained  State = "contained"
	Eradicated State = "eradicated"
	Recovering State = "recovering" // sign-ins are let in by and by, or all of them again
	Resolved   State = "resolved"
)

var order = []State{Open, Contained, Eradicated, Recovering, Resolved}

// Kind is of what a target is.
type Kind string

// The kinds of target.
const (
	User         Kind = "user"          // its value is the user's id
	Network      Kind = "ip"            // a network in plain form
	Session      Kind = "session"       // a session's id
	Key          Kind = "key"           // the kid of a signing key
	APIKey       Kind = "api_key"       // the id of an API key
	IssuedBefore Kind = "issued_before" // a time, in RFC 3339
	AllSessions  Kind = "all_sessions"  // its value is empty
)

// Target is what is contained, and what came of it.
type Target struct {
	Kind     Kind
	Value    string
	Asked    instant.Instant // when it was last asked for
	Failed   string          // why it was not done; empty: it was
	Sessions int             // that ended, or could be counted
	Nodes    []Seen          // who has said to refuse it
	Missing  []string        // who lived and had not said so yet
	Proof    Proof
}

// Done reports whether it was contained, on the node that was asked at the least.
func (t *Target) Done() bool { return t.Failed == "" }

// Proof is by what a target is tried again.
type Proof struct {
	Revocations [][]byte         // the keys of the entries that were put in force
	Until       instant.Instant  // the latest end of those
	Generation  token.Generation // of the user's tokens, before
	Epoch       token.Epoch      // of all tokens, before
	Blocks      uint64           // the revision of the list of blocked addresses
}

// Seen is a node that refuses, and how long after it was asked for, in microseconds.
type Seen struct {
	Node   string
	Micros int64
}

// Step is one thing that was done about an incident.
type Step struct {
	At   instant.Instant
	Kind string // opened, contained, eradicated, verified, recovering, isolated, released, reported, resolved
	By   string
	Note string // in the words of whoever did it, or what came of it
}

// Incident is what is known of one.
type Incident struct {
	ID       string
	Name     string
	Drill    bool // it is a rehearsal, which holds nobody back and isolates nobody: of those that are resolved, the last is kept
	State    State
	Opened   instant.Instant
	By       string
	Since    instant.Instant // from when on what happened belongs to it; at or before Opened
	Resolved instant.Instant // 0: it is not
	Targets  []Target
	Steps    []Step
}

// Isolation is a node that serves nobody.
type Isolation struct {
	Node     string // its name
	By       string
	At       instant.Instant
	Incident string
}

// Bounds of a Casebook.
const (
	MaxName      = 120 // bytes
	MaxNote      = 500 // bytes
	MaxIncidents = 100
	MaxOpen      = 8
	MaxTargets   = 200 // of one incident; whoever has more to contain contains wider: a network, a time, everybody
	MaxSteps     = 100 // of one incident: the first, and the last of the others
	MaxIsolated  = 100
	maxBook      = 768 << 10 // bytes, as it is kept
)

// Everybody is the percentage at which nobody's sign-in is held back.
const Everybody = 100

// The refusals.
var (
	ErrUnknown  = errors.New("there is no incident with this id: `xteam incident list` shows those that are kept")
	ErrNone     = errors.New("no incident is open: open one with `xteam incident open NAME`")
	ErrSeveral  = errors.New("several incidents are open: say which one is meant by its id")
	ErrResolved = errors.New("this incident is resolved: open another one")
	ErrFull     = fmt.Errorf("there is no room for more: at most %d incidents are open, and each has at most %d targets; resolve one, or contain wider", MaxOpen, MaxTargets)
	ErrName     = fmt.Errorf("the name of an incident takes 1 to %d bytes of printable text", MaxName)
	ErrPercent  = errors.New("sign-ins are let in from 0 to 100 percent")
	ErrHeld     = errors.New("sign-ins are still held back: `xteam incident recover --percent 100` lets everybody in")
	ErrIsolated = errors.New("a node is still isolated: `xteam incident isolate NODE --release` has it serve again")
	ErrUndone   = errors.New("something was to be contained and could not be: `xteam incident status` names it; contain it again, or insist (force)")
	ErrNotAlone = errors.New("this node is not isolated")
)

// Casebook is every incident that is kept, the newest last, and what holds for all nodes.
type Casebook struct {
	Revision  uint64 // how often it was changed
	Incidents []Incident
	// Held is the percentage of users whose sign-ins are held back: 0, nobody's.
	Held     int
	Salt     string // by which users are chosen: the id of the incident that began to hold them back
	Isolated []Isolation
}

// Printable reports whether a text can be shown on one line: valid UTF-8, no control characters, nothing that changes the direction of what follows.
func Printable(s string) bool {
	return utf8.ValidString(s) && !strings.ContainsFunc(s, Hidden)
}

// Hidden reports whether a character is not shown, or changes how others are: control characters, and marks of direction (Unicode TR 9 and TR 36).
func Hidden(r rune) bool {
	switch {
	case r < ' ', r >= 0x7f && r < 0xa0, r == 0x061c, r >= 0x200b && r <= 0x200f, r >= 0x2028 && r <= 0x202e, r >= 0x2060 && r <= 0x206f, r == 0xfeff, r >= 0xfff9 && r <= 0xfffb:
		return true
	}
	return false
}

// Begin opens an incident, of which everything from since on is a part.
func (b Casebook) Begin(id, name, by string, drill bool, since, now instant.Instant) (Casebook, Incident, error) {
	name = strings.TrimSpace(name)
	if name == "" || len(name) > MaxName || !Printable(name) {
		return b, Incident{}, ErrName
	}
	open := 0
	for i := range b.Incidents {
		if b.Incidents[i].State != Resolved {
			open++
		}
	}
	if open >= MaxOpen {
		return b, Incident{}, ErrFull
	}
	is := Incident{ID: id, Name: name, Drill: drill, State: Open, Opened: now, By: by, Since: min(since, now), Steps: []Step{{At: now, Kind: "opened", By: by}}}
	was := b
	b = b.Clone()
	if drill {
		b.Incidents = slices.DeleteFunc(b.Incidents, func(i Incident) bool { return i.Drill && i.State == Resolved })
	}
	b.Incidents = append(b.Incidents, is)
	if b, err := b.changed(); err == nil {
		return b, is, nil
	}
	return was, Incident{}, ErrFull
}

// changed is the book with its next revision, without those resolved incidents for which there is no room, the oldest first.
func (b Casebook) changed() (Casebook, error) {
	b.Revision++
	for len(b.Incidents) > MaxIncidents || len(b.Encode()) > maxBook {
		oldest := slices.IndexFunc(b.Incidents, func(i Incident) bool { return i.State == Resolved })
		if oldest < 0 || oldest == len(b.Incidents)-1 {
			return b, ErrFull
		}
		b.Incidents = slices.Delete(b.Incidents, oldest, oldest+1)
	}
	return b, nil
}

// Find answers an incident: the one with that id or, of the empty id, the one that is not resolved and no drill.
func (b Casebook) Find(id string) (Incident, error) {
	at, err := b.at(id)
	if err != nil {
		return Incident{}, err
	}
	return b.Incidents[at], nil
}

func (b Casebook) at(id string) (int, error) {
	found := -1
	for i := range b.Incidents {
		switch {
		case id != "" && b.Incidents[i].ID == id:
			return i, nil
		case id != "" || b.Incidents[i].State == Resolved || b.Incidents[i].Drill:
		case found >= 0:
			return -1, ErrSeveral
		default:
			found = i
		}
	}
	switch {
	case found >= 0:
		return found, nil
	case id != "":
		return -1, ErrUnknown
	}
	return -1, ErrNone
}

// Do notes a step of an incident that is not resolved. reached is how far it takes the incident; targets are what it contained, each of which replaces one that is the same.
func (b Casebook) Do(id string, s Step, reached State, targets ...Target) (Casebook, Incident, error) {
	at, err := b.at(id)
	if err != nil {
		return b, Incident{}, err
	}
	if b.Incidents[at].State == Resolved {
		return b, b.Incidents[at], ErrResolved
	}
	was := b
	b = b.Clone()
	is := &b.Incidents[at]
	for _, t := range targets {
		same := slices.IndexFunc(is.Targets, func(o Target) bool { return o.Kind == t.Kind && o.Value == t.Value })
		switch {
		case same >= 0:
			is.Targets[same] = t
		case len(is.Targets) >= MaxTargets:
			return was, was.Incidents[at], ErrFull
		default:
			is.Targets = append(is.Targets, t)
		}
	}
	if slices.Index(order, reached) > slices.Index(order, is.State) {
		is.State = reached
	}
	is.note(s)
	done := *is
	if b, err = b.changed(); err != nil {
		return was, was.Incidents[at], err
	}
	return b, done, nil
}

// note keeps the first step and the last ones: what is between is in the audit trail.
func (i *Incident) note(s Step) {
	s.Note = clip(s.Note, MaxNote)
	if len(i.Steps) >= MaxSteps {
		i.Steps = slices.Delete(i.Steps, 1, 2)
	}
	i.Steps = append(i.Steps, s)
}

// clip is at most n bytes of a text, and no part of a character.
func clip(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}

// Seen notes of targets which nodes refuse them by now. One that was contained again since is left as it is, and so is an incident that is resolved.
func (b Casebook) Seen(id string, targets []Target) (Casebook, error) {
	at, err := b.at(id)
	if err != nil || b.Incidents[at].State == Resolved {
		return b, err
	}
	was := b
	b = b.Clone()
	for _, seen := range targets {
		for i := range b.Incidents[at].Targets {
			t := &b.Incidents[at].Targets[i]
			if t.Kind != seen.Kind || t.Value != seen.Value || t.Asked != seen.Asked {
				continue
			}
			for _, n := range seen.Nodes {
				if !slices.ContainsFunc(t.Nodes, func(o Seen) bool { return o.Node == n.Node }) {
					t.Nodes = append(t.Nodes, n)
				}
			}
			t.Missing = seen.Missing
		}
	}
	if b, err = b.changed(); err != nil {
		return was, err
	}
	return b, nil
}

// Recover lets the sign-ins of that percentage of users in: of the same ones as before, and more of them, or fewer. It is the step of an incident.
func (b Casebook) Recover(id string, percent int, s Step) (Casebook, Incident, error) {
	if percent < 0 || percent > Everybody {
		return b, Incident{}, ErrPercent
	}
	b, is, err := b.Do(id, s, Recovering)
	if err != nil || is.Drill {
		return b, is, err
	}
	return b.hold(percent, is.ID), is, nil
}

// hold holds the sign-ins back of all but that percentage of users.
func (b Casebook) hold(percent int, salt string) Casebook {
	if b.Held == 0 {
		b.Salt = salt
	}
	if b.Held = Everybody - percent; b.Held == 0 {
		b.Salt = ""
	}
	return b
}

// Halt holds all sign-ins back, but those of administrators, until Recover lets them in.
func (b Casebook) Halt(id string) (Casebook, error) {
	is, err := b.Find(id)
	if err != nil || is.Drill {
		return b, err
	}
	return b.Clone().hold(0, is.ID).changed()
}

// Isolate has the node with a name serve nobody, or, to release it, everybody again.
func (b Casebook) Isolate(id, node string, release bool, s Step) (Casebook, Incident, error) {
	b, is, err := b.Do(id, s, Open)
	if err != nil {
		return b, is, err
	}
	at := slices.IndexFunc(b.Isolated, func(i Isolation) bool { return i.Node == node })
	switch {
	case is.Drill:
	case release && at < 0:
		return b, is, ErrNotAlone
	case release:
		b.Isolated = slices.Delete(b.Isolated, at, at+1)
	case at < 0 && len(b.Isolated) >= MaxIsolated:
		return b, is, ErrFull
	case at < 0:
		b.Isolated = append(b.Isolated, Isolation{Node: node, By: s.By, At: s.At, Incident: is.ID})
	}
	return b, is, nil
}

// Resolve ends an incident. While it holds sign-ins back, or a node is isolated for it, or something could not be contained, it is not over; the last alone can be insisted on.
func (b Casebook) Resolve(id string, s Step, force bool) (Casebook, Incident, error) {
	is, err := b.Find(id)
	if err != nil {
		return b, is, err
	}
	undone := slices.ContainsFunc(is.Targets, func(t Target) bool { return !t.Done() })
	switch {
	case is.State == Resolved:
		return b, is, ErrResolved
	case b.Held > 0 && (b.Salt == is.ID || b.last(is.ID)):
		return b, is, ErrHeld
	case slices.ContainsFunc(b.Isolated, func(i Isolation) bool { return i.Incident == is.ID || b.last(is.ID) }):
		return b, is, ErrIsolated
	case undone && !force:
		return b, is, ErrUndone
	}
	b, is, err = b.Do(is.ID, s, Resolved)
	if err != nil {
		return b, is, err
	}
	at, _ := b.at(is.ID)
	b.Incidents[at].Resolved = s.At
	for i := range b.Incidents[at].Targets { // they are not tried again
		b.Incidents[at].Targets[i].Proof, b.Incidents[at].Targets[i].Missing = Proof{}, nil
	}
	return b, b.Incidents[at], nil
}

// last reports whether no other incident is open.
func (b Casebook) last(id string) bool {
	return !slices.ContainsFunc(b.Incidents, func(i Incident) bool { return i.State != Resolved && i.ID != id })
}

// List answers at most limit incidents, the newest first, beginning behind the one with an id (empty: at the start), and whether there are more.
func (b Casebook) List(open bool, behind string, limit int) (page []Incident, more bool) {
	all := slices.Clone(b.Incidents)
	slices.SortStableFunc(all, func(x, y Incident) int { return cmp.Or(cmp.Compare(y.Opened, x.Opened), strings.Compare(x.ID, y.ID)) })
	begun := behind == ""
	for i := range all {
		if !begun {
			begun = all[i].ID == behind
			continue
		}
		if open && all[i].State == Resolved {
			continue
		}
		if len(page) == limit {
			return page, true
		}
		page = append(page, all[i])
	}
	return page, false
}
