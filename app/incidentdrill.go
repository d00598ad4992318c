package app

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/xteam/xteam/domain/account"
	"github.com/xteam/xteam/domain/block"
	"github.com/xteam/xteam/domain/id"
	"github.com/xteam/xteam/domain/incident"
	"github.com/xteam/xteam/domain/instant"
	"github.com/xteam/xteam/domain/secret"
	"github.com/xteam/xteam/domain/session"
	"github.com/xteam/xteam/ports"
)

// ErrDrilling refuses a drill beside another one: they would play with the same accounts.
var ErrDrilling = errors.New("a drill is going on already: play another when it has ended, within a minute")

const (
	drillFor   = 30 * time.Second // what a drill plays by; then it cleans up, for at most
	drillAfter = 10 * time.Second
	drillBlock = 300 * time.Second // how long the block stands, should nothing be left to lift it
)

// The drill's own names. Nobody can be sent mail there (RFC 2606).
const (
	drillStolen = "xteam-drill-stolen"
	drillOther  = "xteam-drill-other"
	drillAt     = "@probe.invalid"
	drillReason = "incident drill"
	drillAgent  = "xteam incident drill"
)

// Drill is a rehearsal and what came of it.
type Drill struct {
	Steps     []DrillStep   // those that were begun, in order; the last cleans up
	Contained time.Duration // from the call that revoked until the last node had said that it refuses; 0: it was not contained
	Nodes     []NodeTime    // when each one refused what was revoked
	Missing   []string      // who lives and has not said so
	Incident  string        // its id; empty: none was opened
	Passed    bool          // each step went as it should
}

// DrillStep is one thing that was done or tried.
type DrillStep struct {
	Name string
	Took time.Duration
	Seen string // what came of it, or what is wrong: a sentence for administrators
	OK   bool
}

// drilled is what a drill plays with: the use cases that the doors call.
type drilled struct {
	Incidents interface {
		Open(ctx context.Context, by Actor, name string, drill bool, since instant.Instant) (incident.Incident, error)
		Contain(ctx context.Context, by Actor, iid string, c Containment) (Containing, error)
		Status(ctx context.Context, iid string) (IncidentStatus, error)
		Verify(ctx context.Context, by Actor, iid string) (IncidentVerdict, error)
		Eradicate(ctx context.Context, by Actor, iid string, what Eradication) (Eradicated, error)
		Recover(ctx context.Context, by Actor, iid string, percent int, note string) (incident.Incident, Confirmation, error)
		Report(ctx context.Context, by Actor, iid string) (IncidentReport, error)
		Resolve(ctx context.Context, by Actor, iid, note string, force bool) (incident.Incident, error)
	}
	Accounts interface {
		Create(ctx context.Context, by Actor, reg Registration, role account.Role) (account.Account, error)
		Lookup(ctx context.Context, handle string) (account.Account, error)
		SetPassword(ctx context.Context, by Actor, uid id.User, password secret.Text) error
		Enable(ctx context.Context, by Actor, uid id.User) error
		Disable(ctx context.Context, by Actor, uid id.User) error
	}
	Sessions interface {
		Login(ctx context.Context, r Request, login account.Login, password secret.Text) (Tokens, error)
		Explain(ctx context.Context, text secret.Text) (Explanation, error)
	}
	Blocks interface {
		Unblock(ctx context.Context, by Actor, p netip.Prefix) (block.Block, error)
	}
	Within time.Duration                 // what it plays by
	Fault  func(step string, what error) // is told of what no answer may say
}

// drill is one that goes on.
type drill struct {
	Drill
	drilled
	by              Actor
	stolen, other   drillAccount
	network         netip.Prefix // to be blocked: one address that nobody has
	mayBlock, began bool         // a block may stand; accounts may be there
	mayOpen         bool         // an incident may be open
}

// drillAccount is an account that drills play with. It is made once, and barred while none goes on; each drill gives it a password that nobody has seen.
type drillAccount struct {
	name   string
	word   secret.Text
	made   account.Account
	tokens Tokens
}

// wanting is what a drill finds wanting, in words that administrators may read.
type wanting string

func (w wanting) Error() string { return string(w) }

func lacks(format string, args ...any) error { return wanting(fmt.Sprintf(format, args...)) }

// Drill plays a whole incident on the running system, with two accounts of its own, and answers how long each step took and how it went: that a step goes wrong is an answer, and no error. It plays half a minute at the longest, and cleans up
// whatever becomes of it and of whoever asked; no other account, session, key or block is touched, and nobody's sign-in is held back. Of two at a time, on whatever nodes, the second is ErrDrilling.
//
// Its sign-ins come from nowhere: no address is charged or known for them, and the one that is refused is a wrong password of the drill's own account.
func (i *Incidents) Drill(ctx context.Context, by Actor, s *Sessions) (Drill, error) {
	if !i.drilling.CompareAndSwap(false, true) {
		return Drill{}, ErrDrilling
	}
	defer i.drilling.Store(false)
	leave, err := i.core.turn(ctx, "incident drill")
	if err != nil {
		if b, unread := i.core.Stores.Incidents.Load(ctx); unread == nil && slices.ContainsFunc(b.Incidents, func(is incident.Incident) bool { return is.Drill && is.State != incident.Resolved }) {
			return Drill{}, ErrDrilling // another node's
		}
		return Drill{}, err
	}
	defer leave()
	return drilled{i, i.accounts, s, i.blocks, drillFor, func(step string, what error) {
		i.o.Logger.Error("A drill went wrong", "step", step, "request_id", by.Request.ID, "error", what.Error())
	}}.play(ctx, by), nil
}

// play plays all steps up to the first that goes wrong, and cleans up in any case.
func (p drilled) play(ctx context.Context, by Actor) Drill {
	var b [16]byte
	_, _ = rand.Read(b[4:])
	copy(b[:], []byte{0x20, 0x01, 0x0d, 0xb8})
	d := &drill{drilled: p, by: by, network: netip.PrefixFrom(netip.AddrFrom16(b), 128),
		stolen: drillAccount{name: drillStolen, word: secret.New("Drill-" + rand.Text())}, other: drillAccount{name: drillOther, word: secret.New("Drill-" + rand.Text())}}
	went := d.steps(ctx)
	after, cancel := context.WithTimeout(context.WithoutCancel(ctx), drillAfter)
	defer cancel()
	clean := d.step("clean up", func() (string, error) { return d.cleanUp(after) })
	d.Passed = went && clean
	return d.Drill
}

func (d *drill) steps(asked context.Context) bool {
	ctx, cancel := context.WithTimeout(asked, d.Within)
	defer cancel()
	for _, s := range []struct {
		name string
		do   func(context.Context) (string, error)
	}{
		{"make ready", d.makeReady},
		{"sign in", d.signIns},
		{"open", d.open},
		{"contain", d.contain},
		{"status", d.status},
		{"verify", d.verify},
		{"verify: tokens", d.tryTokens},
		{"verify: sign-in", d.trySignIn},
		{"verify: others", d.tryOther},
		{"eradicate", d.eradicate},
		{"recover", d.recover},
		{"report", d.report},
		{"resolve", d.resolve},
	} {
		if !d.step(s.name, func() (string, error) {
			switch {
			case asked.Err() != nil:
				return "", lacks("the drill was interrupted before it")
			case ctx.Err() != nil:
				return "", lacks("the %v that a drill has ran out before it", d.Within)
			}
			return s.do(ctx)
		}) {
			return false
		}
	}
	return true
}

// step does one thing, and notes how long it took and how it went.
func (d *drill) step(name string, do func() (string, error)) bool {
	began := time.Now()
	seen, err := do()
	if err != nil {
		seen = d.words(name, err)
	}
	d.Steps = append(d.Steps, DrillStep{name, time.Since(began), seen, err == nil})
	return err == nil
}

// words are an error for administrators: a refusal's own sentence, and of a fault that there was one, of which the log tells.
func (d *drill) words(step string, err error) string {
	var found wanting
	if errors.As(err, &found) {
		return string(found)
	}
	for _, refusal := range []error{ErrHeldBack, account.ErrCredentials, account.ErrLastAdmin, account.ErrOwnAccount, block.ErrFull, ErrNoTrail,
		incident.ErrUnknown, incident.ErrResolved, incident.ErrFull, incident.ErrHeld, incident.ErrIsolated, incident.ErrUndone} {
		if errors.Is(err, refusal) {
			return refusal.Error()
		}
	}
	var attempts *AttemptsError
	var selector *SelectorError
	var owed *NotDurableError
	switch {
	case errors.As(err, &attempts):
		return attempts.Error()
	case errors.As(err, &selector):
		return selector.Error()
	case errors.As(err, &owed):
		return owed.Error()
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return "it was interrupted, or not done in time"
	}
	d.Fault(step, err)
	return "it could not be done; the server's log tells why"
}

func (d *drill) makeReady(ctx context.Context) (string, error) {
	d.began = true
	for _, a := range []*drillAccount{&d.stolen, &d.other} {
		if err := d.ready(ctx, a); err != nil {
			return "", lacks("the account %s cannot be made ready: %s", a.name, d.words("make ready", err))
		}
	}
	return "two accounts of the drill's own", nil
}

// ready has the account there and active.
func (d *drill) ready(ctx context.Context, a *drillAccount) error {
	email, err1 := account.ParseEmail(a.name + drillAt)
	username, err2 := account.ParseUsername(a.name)
	name, err3 := account.ParseFullName("xteam incident drill")
	if err := errors.Join(err1, err2, err3); err != nil {
		return err
	}
	made, err := d.Accounts.Create(ctx, d.by, Registration{Email: email, Username: username, FullName: name, Password: a.word}, account.RoleUser)
	if !errors.Is(err, ports.ErrTaken) {
		a.made = made
		return err
	}
	is, err := d.Accounts.Lookup(ctx, a.name)
	if err != nil && !errors.Is(err, ports.ErrNotFound) {
		return err
	}
	if err != nil || !a.owns(&is) { // not found: its address is somebody's
		return wanting("an account of another purpose has its name")
	}
	a.made = is
	if err := d.Accounts.SetPassword(ctx, d.by, is.ID, a.word); err != nil {
		return err
	}
	return d.Accounts.Enable(ctx, d.by, is.ID)
}

// owns reports whether an account of that name is the drill's.
func (a *drillAccount) owns(is *account.Account) bool {
	return is.Email.String() == a.name+drillAt && is.Role == account.RoleUser && !is.Decoy
}

// signIn signs in to it with its password, from nowhere.
func (d *drill) signIn(ctx context.Context, a *drillAccount) (Tokens, error) {
	who, err := account.ParseLogin("", a.name)
	if err != nil {
		return Tokens{}, err
	}
	return d.Sessions.Login(ctx, Request{ID: d.by.Request.ID, Origin: session.Origin{UserAgent: drillAgent}}, who, a.word)
}

func (d *drill) signIns(ctx context.Context) (string, error) {
	for _, a := range []*drillAccount{&d.stolen, &d.other} {
		var err error
		if a.tokens, err = d.signIn(ctx, a); err != nil {
			return "", lacks("%s cannot sign in: %s", a.name, d.words("sign in", err))
		}
		if err := d.taken(ctx, a, true); err != nil {
			return "", err
		}
	}
	return "the tokens of both are taken", nil
}

// taken has the guard judge both tokens of an account, as it judges any request, and is an error unless it takes both or refuses both as wanted.
func (d *drill) taken(ctx context.Context, a *drillAccount, want bool) error {
	for _, t := range []struct {
		kind string
		text secret.Text
	}{{"access", a.tokens.Access}, {"refresh", a.tokens.Refresh}} {
		is, err := d.Sessions.Explain(ctx, t.text)
		switch {
		case err != nil:
			return err
		case want && is.Refused != nil:
			return lacks("the %s token of %s is refused as %s, and should be taken", t.kind, a.name, RefusalCode(is.Refused))
		case !want && is.Refused == nil:
			return lacks("the %s token of %s is still taken", t.kind, a.name)
		}
	}
	return nil
}

// open begins an incident of its own, beside those that are open. Whoever goes meanwhile does not stop it: what was opened unheard could not be closed.
func (d *drill) open(ctx context.Context) (string, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), drillAfter)
	defer cancel()
	is, err := d.Incidents.Open(ctx, d.by, drillReason, true, 0)
	if err != nil {
		return "", err
	}
	d.mayOpen, d.Incident = true, is.ID
	return "incident " + is.ID, nil
}

func (d *drill) contain(ctx context.Context) (string, error) {
	began := time.Now()
	d.mayBlock = true
	did, err := d.Incidents.Contain(ctx, d.by, d.Incident, Containment{Users: []string{d.stolen.made.ID.String()}, Networks: []string{d.network.String()}, For: drillBlock, Reason: drillReason})
	if err != nil {
		return "", err
	}
	took := time.Since(began)
	if did.Recorded != nil { // which the next step finds
		d.Fault("contain", did.Recorded)
	}
	d.Missing = did.Missing
	ended := 0
	for k := range did.Targets {
		t := &did.Targets[k]
		if !t.Done() {
			return "", lacks("%s %s: %s", t.Kind, t.Value, t.Failed)
		}
		ended += t.Sessions
		d.refused(t)
	}
	switch {
	case did.Took == 0:
		return "", lacks("%s did not say in time that it refuses: `xteam nodes` shows who lives", strings.Join(did.Missing, ", "))
	case ended != 1:
		return "", lacks("%d sessions ended, and one was begun", ended)
	}
	d.Contained = took
	return fmt.Sprintf("%d session ended, account barred, %s blocked%s", ended, d.network, d.seenBy()), nil
}

// refused notes when each node refused all of it: the latest of the times that are said of a target.
func (d *drill) refused(t *incident.Target) {
	for _, n := range t.Nodes {
		took := time.Duration(n.Micros) * time.Microsecond
		at := slices.IndexFunc(d.Nodes, func(o NodeTime) bool { return o.Node == n.Node })
		if at < 0 {
			d.Nodes = append(d.Nodes, NodeTime{n.Node, took})
			continue
		}
		d.Nodes[at].Took = max(d.Nodes[at].Took, took)
	}
}

func (d *drill) seenBy() string {
	var last time.Duration
	for _, n := range d.Nodes {
		last = max(last, n.Took)
	}
	last = last.Round(10 * time.Microsecond)
	switch len(d.Nodes) {
	case 0:
		return ""
	case 1:
		return fmt.Sprintf("; refused by %s after %s", d.Nodes[0].Node, last)
	}
	return fmt.Sprintf("; seen by %d of %d nodes in %s", len(d.Nodes), len(d.Nodes), last)
}

func (d *drill) status(ctx context.Context) (string, error) {
	s, err := d.Incidents.Status(ctx, d.Incident)
	if err != nil {
		return "", err
	}
	if s.Took == 0 || s.Incident.State != incident.Contained || len(s.Incident.Targets) != 2 {
		return "", lacks("the incident is %s, and has %d targets", s.Incident.State, len(s.Incident.Targets))
	}
	return fmt.Sprintf("contained in %.1f ms", float64(s.Took.Microseconds())/1000), nil
}

func (d *drill) verify(ctx context.Context) (string, error) {
	v, err := d.Incidents.Verify(ctx, d.by, d.Incident)
	if err != nil {
		return "", err
	}
	if v.TrailErr != nil {
		d.Fault("verify", v.TrailErr)
	}
	if !v.OK {
		return "", lacks("%s", strings.Join(foundOut(&v), "; "))
	}
	seen := fmt.Sprintf("%d targets are refused by %d servers", len(v.Tried), len(v.Nodes))
	if v.Trail != nil {
		seen += fmt.Sprintf("; the audit trail holds, %d records", v.Trail.Records)
	}
	return seen, nil
}

// foundOut is why a verdict is not good.
func foundOut(v *IncidentVerdict) (all []string) {
	for _, t := range v.Tried {
		if !t.OK {
			all = append(all, fmt.Sprintf("%s %s: %s", t.Kind, t.Value, t.Seen))
		}
	}
	if len(v.Missing) > 0 {
		all = append(all, "not confirmed by "+strings.Join(v.Missing, ", "))
	}
	switch {
	case v.TrailErr != nil:
		all = append(all, "the audit trail cannot be read; the server's log tells why")
	case v.Trail != nil && !v.Trail.Holds():
		all = append(all, "the audit trail does not hold: `xteam audit verify` says more")
	}
	return all
}

func (d *drill) tryTokens(ctx context.Context) (string, error) {
	return "both tokens are refused", d.taken(ctx, &d.stolen, false)
}

// trySignIn must be refused for the account, and not because nobody can sign in at the moment.
func (d *drill) trySignIn(ctx context.Context) (string, error) {
	_, err := d.signIn(ctx, &d.stolen)
	switch {
	case err == nil:
		return "", wanting("the barred account can sign in")
	case !errors.Is(err, account.ErrCredentials):
		return "", lacks("the sign-in was not refused as that of a barred account: %s", d.words("verify: sign-in", err))
	}
	return "refused as credentials_invalid", nil
}

func (d *drill) tryOther(ctx context.Context) (string, error) {
	return "the other account's tokens are taken", d.taken(ctx, &d.other, true)
}

// eradicate replaces nothing: it reads the list of what would be to be changed by hand.
func (d *drill) eradicate(ctx context.Context) (string, error) {
	e, err := d.Incidents.Eradicate(ctx, d.by, d.Incident, Eradication{})
	return fmt.Sprintf("nothing is replaced in a drill; %d things would be to be changed by hand", len(e.ByHand)), err
}

// recover goes through the step. A drill holds nobody back, and lets nobody in whom a real incident holds back: of one the step changes nothing else.
func (d *drill) recover(ctx context.Context) (string, error) {
	_, _, err := d.Incidents.Recover(ctx, d.by, d.Incident, 100, "")
	return "the step is noted; who may sign in stays as it is", err
}

func (d *drill) report(ctx context.Context) (string, error) {
	r, err := d.Incidents.Report(ctx, d.by, d.Incident)
	if err != nil {
		return "", err
	}
	named := func(a *drillAccount) bool {
		return slices.ContainsFunc(r.Affected, func(u incident.Affected) bool { return u.ID == a.made.ID.String() })
	}
	switch {
	case len(r.Evidence.Faults) > 0:
		return "", wanting("the audit trail does not hold: `xteam audit verify` says more")
	case !named(&d.stolen):
		return "", wanting("the report does not name whose account was stolen")
	case named(&d.other):
		return "", wanting("the report names somebody whom it does not concern")
	}
	return fmt.Sprintf("%d lines, %d to notify", strings.Count(r.Markdown, "\n"), len(r.Affected)), nil
}

func (d *drill) resolve(ctx context.Context) (string, error) {
	_, err := d.Incidents.Resolve(ctx, d.by, d.Incident, "", false)
	if err == nil {
		d.mayOpen = false
	}
	return "the incident is closed", err
}

// cleanUp lifts the block and bars both accounts, which ends what they have. It tries all of it, whatever fails.
func (d *drill) cleanUp(ctx context.Context) (string, error) {
	var left []string
	leave := func(err error, format string, args ...any) {
		left = append(left, fmt.Sprintf(format, args...)+": "+d.words("clean up", err))
	}
	if d.mayBlock {
		if _, err := d.Blocks.Unblock(ctx, d.by, d.network); err != nil && !errors.Is(err, block.ErrUnknown) {
			leave(err, "the block of %s could not be lifted, and ends within %.0f s", d.network, drillBlock.Seconds())
		}
	}
	if d.mayOpen {
		if _, err := d.Incidents.Resolve(ctx, d.by, d.Incident, "", true); err != nil && !errors.Is(err, incident.ErrResolved) {
			leave(err, "the incident of the drill is still open, close it with `xteam incident resolve --force --incident %s`", d.Incident)
		}
	}
	for _, a := range []*drillAccount{&d.stolen, &d.other} {
		if !d.began {
			break
		}
		if err := d.bar(ctx, a); err != nil {
			leave(err, "the account %s could not be barred, do it with `xteam users disable %s`", a.name, a.name)
		}
	}
	if len(left) > 0 {
		return "", wanting(strings.Join(left, "; "))
	}
	return "what the drill made is barred or lifted", nil
}

// bar bars the account if it is the drill's. It is looked up by its name: one may have been made although the answer was not heard.
func (d *drill) bar(ctx context.Context, a *drillAccount) error {
	is, err := d.Accounts.Lookup(ctx, a.name)
	if errors.Is(err, ports.ErrNotFound) {
		return nil
	}
	if err != nil || !a.owns(&is) {
		return err
	}
	return d.Accounts.Disable(ctx, d.by, is.ID)
}
