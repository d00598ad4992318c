package app_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/xteam/xteam/app"
	"github.com/xteam/xteam/domain/account"
	"github.com/xteam/xteam/domain/audit"
	"github.com/xteam/xteam/domain/id"
	"github.com/xteam/xteam/domain/incident"
	"github.com/xteam/xteam/domain/instant"
	"github.com/xteam/xteam/domain/secret"
	"github.com/xteam/xteam/ports"
)

// ailing is a system that a drill may find wanting: it is right in all but what fault names.
type ailing struct {
	*app.Incidents
	*app.Sessions
	*app.Accounts
	fault     string
	interrupt context.CancelFunc
	contained bool
}

func (a *ailing) Open(ctx context.Context, by app.Actor, name string, drill bool, since instant.Instant) (incident.Incident, error) {
	if a.fault == "interrupted" {
		a.interrupt()
	}
	return a.Incidents.Open(ctx, by, name, drill, since)
}

func (a *ailing) Contain(ctx context.Context, by app.Actor, iid string, c app.Containment) (app.Containing, error) {
	did, err := a.Incidents.Contain(ctx, by, iid, c)
	a.contained = true
	switch a.fault {
	case "interrupted at the containment":
		a.interrupt()
	case "silent node":
		did.Took, did.Missing = 0, []string{"b"}
	case "hits none":
		did.Targets[0].Sessions = 0
	case "no block":
		did.Targets[1].Failed, did.Took = "there is no room", 0
	}
	return did, err
}

func (a *ailing) Status(ctx context.Context, iid string) (app.IncidentStatus, error) {
	if a.fault == "hangs" {
		<-ctx.Done()
		return app.IncidentStatus{}, ctx.Err()
	}
	s, err := a.Incidents.Status(ctx, iid)
	if a.fault == "not contained" {
		s.Took = 0
	}
	return s, err
}

func (a *ailing) Verify(ctx context.Context, by app.Actor, iid string) (app.IncidentVerdict, error) {
	if a.fault == "breaks" {
		return app.IncidentVerdict{}, errors.New("dial tcp 10.1.2.3: the password hunter2 is wrong")
	}
	v, err := a.Incidents.Verify(ctx, by, iid)
	if a.fault == "verify finds" {
		v.OK, v.Tried[0].OK, v.Tried[0].Seen = false, false, "its tokens are taken"
	}
	return v, err
}

func (a *ailing) Report(ctx context.Context, by app.Actor, iid string) (app.IncidentReport, error) {
	r, err := a.Incidents.Report(ctx, by, iid)
	switch a.fault {
	case "names nobody":
		r.Affected = nil
	case "names another":
		other, _ := a.Lookup(ctx, "xteam-drill-other")
		r.Affected = append(r.Affected, incident.Affected{ID: other.ID.String()})
	case "broken trail":
		r.Evidence.Faults = []string{"record 3 was changed"}
	}
	return r, err
}

func (a *ailing) Login(ctx context.Context, r app.Request, l account.Login, word secret.Text) (app.Tokens, error) {
	in, err := a.Sessions.Login(ctx, r, l, word)
	if errors.Is(err, account.ErrCredentials) {
		switch a.fault {
		case "lets in":
			err = nil
		case "cannot say":
			err = app.ErrHeldBack
		}
	}
	return in, err
}

func (a *ailing) Explain(ctx context.Context, text secret.Text) (app.Explanation, error) {
	e, err := a.Sessions.Explain(ctx, text)
	switch {
	case a.fault == "takes still", a.fault == "takes the refresh token" && e.Refresh:
		e.Refused = nil
	case a.fault == "hits all" && a.contained:
		e.Refused = account.ErrCredentials
	}
	return e, err
}

func (a *ailing) Disable(ctx context.Context, by app.Actor, uid id.User) error {
	if a.fault == "cannot bar" {
		return ports.ErrUnavailable
	}
	return a.Accounts.Disable(ctx, by, uid)
}

// TestDrillFindsFaults: a drill says at which step a system is wanting, in words that give nothing away, and leaves nothing open behind it, though whoever asked has gone.
func TestDrillFindsFaults(t *testing.T) {
	for fault, want := range map[string]string{
		"":                               "",
		"takes still":                    "verify: tokens: the access token of xteam-drill-stolen is still taken",
		"takes the refresh token":        "verify: tokens: the refresh token of xteam-drill-stolen is still taken",
		"hits all":                       "verify: others: the access token of xteam-drill-other is refused",
		"lets in":                        "verify: sign-in: the barred account can sign in",
		"cannot say":                     "verify: sign-in: the sign-in was not refused as that of a barred account: sign-ins are let in",
		"silent node":                    "contain: b did not say in time that it refuses",
		"no block":                       ": there is no room",
		"hits none":                      "contain: 0 sessions ended, and one was begun",
		"not contained":                  "status: the incident is contained, and has 2 targets",
		"hangs":                          "status: it was interrupted, or not done in time",
		"breaks":                         "verify: it could not be done; the server's log tells why",
		"verify finds":                   ": its tokens are taken",
		"names nobody":                   "report: the report does not name whose account was stolen",
		"names another":                  "report: the report names somebody whom it does not concern",
		"broken trail":                   "report: the audit trail does not hold",
		"interrupted":                    "contain: the drill was interrupted before it",
		"interrupted at the containment": "status: the drill was interrupted before it",
		"cannot bar":                     "clean up: the account xteam-drill-stolen could not be barred, do it with `xteam users disable xteam-drill-stolen`: it could not be done; the server's log tells why; the account xteam-drill-other",
	} {
		t.Run(fault, func(t *testing.T) {
			w := newWorld(t)
			i := w.incidents()
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			d := i.Drilled(w.sessions)
			sys := &ailing{Incidents: i, Sessions: w.sessions, Accounts: w.accounts, fault: fault, interrupt: cancel}
			var logged []string
			d.Incidents, d.Sessions, d.Accounts, d.Fault = sys, sys, sys, func(step string, err error) { logged = append(logged, step+": "+err.Error()) }
			if fault == "hangs" {
				d.Within = 300 * time.Millisecond
			}
			got := d.Play(ctx, root)
			var wrong string
			for _, s := range got.Steps {
				if !s.OK {
					wrong += s.Name + ": " + s.Seen + "\n"
				}
			}
			if got.Passed != (want == "") || !strings.Contains(wrong, want) || strings.Contains(wrong, "hunter2") || want != "" && fault != "cannot bar" && strings.Count(wrong, "\n") != 1 {
				t.Errorf("passed %v; wrong is %q, want %q\n%+v", got.Passed, wrong, want, got)
			}
			if (fault == "breaks" || fault == "cannot bar") != (len(logged) > 0) {
				t.Errorf("logged: %q", logged)
			}
			if last := got.Steps[len(got.Steps)-1]; last.Name != "clean up" {
				t.Errorf("the last step is %+v", last)
			}
			if contained := got.Contained > 0; contained == (fault == "silent node" || fault == "hits none" || fault == "no block" || fault == "interrupted") {
				t.Errorf("a time to contain: %v", got.Contained)
			}
			w.cleanedUp(i, fault != "cannot bar")
		})
	}
}

// cleanedUp demands that a drill left nothing behind.
func (w *world) cleanedUp(i *app.Incidents, barred bool) {
	w.t.Helper()
	if l, err := w.store.Blocks().Load(w.t.Context()); err != nil || len(l.Blocks) > 0 {
		w.t.Errorf("blocked are %v, %v", l.Blocks, err)
	}
	if open, _, err := i.List(w.t.Context(), true, "", 10); err != nil || slices.ContainsFunc(open, func(is incident.Incident) bool { return is.Drill }) {
		w.t.Errorf("open are %+v, %v", open, err)
	}
	for _, name := range []string{"xteam-drill-stolen", "xteam-drill-other"} {
		if a, err := w.accounts.Lookup(w.t.Context(), name); err != nil || barred && !a.Disabled {
			w.t.Errorf("%s: barred %v, %v", name, a.Disabled, err)
		}
	}
}

// A drill is played again and again, each with its steps in the trail by whom it was asked for; its sign-ins come from nowhere, and nobody else feels it.
func TestDrillsOnAndOn(t *testing.T) {
	w := newWorld(t)
	i := w.incidents()
	w.user("ann")
	in := w.signIn("ann")
	by := app.Actor{Name: w.user("boss").ID.String(), Request: abroad}
	for range 3 {
		got, err := i.Drill(t.Context(), by, w.sessions)
		if err != nil || !got.Passed || got.Contained <= 0 || len(got.Nodes) != 1 || len(got.Steps) != 14 || len(got.Incident) != 16 {
			t.Fatalf("a drill: %+v, %v", got, err)
		}
		w.cleanedUp(i, true)
		w.turn(time.Second)
	}
	if _, err := w.admit(in); err != nil {
		t.Errorf("ann feels it: %v", err)
	}
	origins, acts := 0, 0
	for _, e := range w.events() {
		switch e.Kind {
		case audit.AuthenticationSucceeded, audit.AuthenticationFailed:
			if strings.HasPrefix(e.Email, "xteam-drill") || strings.Contains(e.UserAgent, "drill") {
				origins++
				if e.IPAddress != "" || e.Details["new_network"] != "" || e.RequestID != abroad.ID {
					t.Errorf("a sign-in of the drill's: %+v", e)
				}
			}
		case audit.AccountEnabled, audit.IncidentContained, audit.IncidentResolved, audit.AddressUnblocked:
			acts++
			if e.Actor != by.Name || e.IPAddress != abroad.Origin.Address.String() {
				t.Errorf("an act of the drill's: %+v", e)
			}
		}
	}
	if origins != 9 || acts != 2*2+3*3 {
		t.Errorf("%d sign-ins and %d acts are told", origins, acts)
	}
}

// What a real incident holds back is told, and is as it was afterwards; and an account of another purpose that has the drill's name is left as it is.
func TestDrillKeepsOff(t *testing.T) {
	w := newWorld(t)
	i := w.incidents()
	opened(t, i)
	if _, err := i.Contain(t.Context(), root, "", app.Containment{HoldSignIns: true}); err != nil {
		t.Fatal(err)
	}
	got, err := i.Drill(t.Context(), root, w.sessions)
	if err != nil || got.Passed || len(got.Steps) != 3 || !strings.HasPrefix(got.Steps[1].Seen, "xteam-drill-stolen cannot sign in: sign-ins are let in step by step") || got.Incident != "" {
		t.Errorf("while sign-ins are held back: %+v, %v", got, err)
	}
	w.cleanedUp(i, true)
	if i.Percent() != 0 || i.Unresolved() != 1 {
		t.Errorf("%d %% are let in, %d incidents are open", i.Percent(), i.Unresolved())
	}
	w = newWorld(t)
	i = w.incidents()
	w.user("xteam-drill-other")
	got, err = i.Drill(t.Context(), root, w.sessions)
	if err != nil || got.Passed || len(got.Steps) != 2 || got.Steps[0].Seen != "the account xteam-drill-other cannot be made ready: an account of another purpose has its name" || !got.Steps[1].OK {
		t.Errorf("beside another's account: %+v, %v", got, err)
	}
	if a, err := w.accounts.Lookup(t.Context(), "xteam-drill-other"); err != nil || a.Disabled {
		t.Errorf("it is barred: %v, %v", a.Disabled, err)
	}
}

// stuckIncidents is a book that does not answer for a while.
type stuckIncidents struct {
	ports.Incidents
	once             sync.Once
	entered, release chan struct{}
}

func (s *stuckIncidents) Update(ctx context.Context, change func(incident.Casebook) (incident.Casebook, ports.Effects, error)) error {
	s.once.Do(func() { close(s.entered) })
	<-s.release
	return s.Incidents.Update(ctx, change)
}

// takenTurns are turns of which another node has some, and this one gets the others.
type takenTurns struct {
	busy bool        // another has that of drills
	held atomic.Bool // this one has it
}

func (n *takenTurns) Turn(_ context.Context, name string) (func(), error) {
	switch {
	case name != "incident drill":
		return func() {}, nil
	case n.busy:
		return nil, ports.ErrUnavailable
	}
	n.held.Store(true)
	return func() { n.held.Store(false) }, nil
}

// inTurn are incidents that change only while this node has the turn of drills.
type inTurn struct {
	ports.Incidents
	turns *takenTurns
}

func (i *inTurn) Update(ctx context.Context, change func(incident.Casebook) (incident.Casebook, ports.Effects, error)) error {
	if !i.turns.held.Load() {
		return errors.New("another node may drill too")
	}
	return i.Incidents.Update(ctx, change)
}

// One drill at a time: on a node, and on all of them.
func TestDrillsOneAtATime(t *testing.T) {
	s := &stuckIncidents{entered: make(chan struct{}), release: make(chan struct{})}
	w := newWorld(t, func(c *app.Core) { s.Incidents = c.Stores.Incidents; c.Stores.Incidents = s })
	i := w.incidents()
	first := make(chan app.Drill, 1)
	go func() { d, _ := i.Drill(t.Context(), root, w.sessions); first <- d }()
	<-s.entered
	if _, err := i.Drill(t.Context(), root, w.sessions); !errors.Is(err, app.ErrDrilling) {
		t.Errorf("a second drill: %v", err)
	}
	close(s.release)
	if d := <-first; !d.Passed {
		t.Errorf("the first drill: %+v", d)
	}
	turns := &takenTurns{}
	w = newWorld(t, func(c *app.Core) {
		c.Stores.Turns, c.Stores.Incidents = turns, &inTurn{c.Stores.Incidents, turns}
	})
	i = w.incidents()
	if d, err := i.Drill(t.Context(), root, w.sessions); err != nil || !d.Passed || turns.held.Load() {
		t.Errorf("a drill in turn: %+v, %v; its turn is held: %v", d, err, turns.held.Load())
	}
	turns = &takenTurns{busy: true}
	w = newWorld(t, func(c *app.Core) { c.Stores.Turns = turns })
	i = w.incidents()
	if _, err := i.Drill(t.Context(), root, w.sessions); !errors.Is(err, ports.ErrUnavailable) {
		t.Errorf("while the database gives no turn: %v", err)
	}
	if _, err := i.Open(t.Context(), root, "incident drill", true, 0); err != nil {
		t.Fatal(err)
	}
	if _, err := i.Drill(t.Context(), root, w.sessions); !errors.Is(err, app.ErrDrilling) {
		t.Errorf("beside another node's drill: %v", err)
	}
}
