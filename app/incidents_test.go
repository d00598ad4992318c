package app_test

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/xteam/xteam/app"
	"github.com/xteam/xteam/domain/account"
	"github.com/xteam/xteam/domain/apikey"
	"github.com/xteam/xteam/domain/audit"
	"github.com/xteam/xteam/domain/incident"
	"github.com/xteam/xteam/domain/instant"
	"github.com/xteam/xteam/domain/secret"
	"github.com/xteam/xteam/ports"
)

// incidents are those of a world that is one node.
func (w *world) incidents() *app.Incidents {
	w.t.Helper()
	i := app.NewIncidents(w.core, w.accounts, w.revoker, app.NewBlocks(w.core, app.BlocksOptions{}), w.keys, w.trail(app.TrailOptions{}), app.IncidentsOptions{Node: "node-1", ByHand: []string{"ROOT_KEY: give another."}})
	if err := i.Start(w.t.Context()); err != nil {
		w.t.Fatal(err)
	}
	return i
}

func opened(t *testing.T, i *app.Incidents) incident.Incident {
	t.Helper()
	is, err := i.Open(t.Context(), root, "a stolen laptop", false, 0)
	if err != nil {
		t.Fatal(err)
	}
	return is
}

// What is contained is refused, tried again with success, and told of in order; what goes on is found.
func TestContainAndVerify(t *testing.T) {
	w := newWorld(t)
	i := w.incidents()
	ann := w.user("ann")
	w.user("bob")
	annIn, bobIn, bobToo := w.signIn("ann"), w.signIn("bob"), w.signIn("bob")
	is := opened(t, i)
	sid := w.caller(bobToo).Session()
	got, err := i.Contain(t.Context(), root, "", app.Containment{Users: []string{"ann", ann.ID.String(), " "}, Sessions: []string{sid.String()}, Networks: []string{"198.51.100.0/24"}, Reason: "gone\r\n\x1b[2J"})
	if err != nil || got.Took == 0 || got.Recorded != nil || len(got.Targets) != 3 || got.Incident.State != incident.Contained {
		t.Fatalf("Contain: %+v, %v", got, err)
	}
	for name, tk := range map[string]app.Tokens{"ann": annIn, "bob's session": bobToo} {
		if _, err := w.admit(tk); err == nil {
			t.Errorf("%s is let in", name)
		}
	}
	if _, err := w.admit(bobIn); err != nil {
		t.Errorf("bob's other session: %v", err)
	}
	if _, err := w.login("ann"); !errors.Is(err, account.ErrCredentials) {
		t.Errorf("ann signs in: %v", err)
	}
	v, err := i.Verify(t.Context(), root, is.ID)
	if err != nil || !v.OK || len(v.Tried) != 3 || v.Trail == nil {
		t.Fatalf("Verify: %+v, %v", v, err)
	}
	if err := w.accounts.Enable(t.Context(), root, ann.ID); err != nil {
		t.Fatal(err)
	}
	if v, err = i.Verify(t.Context(), root, is.ID); err != nil || v.OK {
		t.Errorf("with ann let in again: %+v, %v", v, err)
	}
	r, err := i.Report(t.Context(), root, is.ID)
	if err != nil {
		t.Fatal(err)
	}
	var told []string
	for _, u := range r.Affected {
		told = append(told, u.Username)
	}
	if !slices.Equal(told, []string{"ann", "bob"}) || strings.ContainsAny(r.Markdown, "\r\x1b") {
		t.Errorf("to be told are %v:\n%s", told, r.Markdown)
	}
}

// A withdrawn token is tried with a token like it, whatever withdrew it; and one that nothing withdrew is found out.
func TestVerifyIsNotFooled(t *testing.T) {
	for name, c := range map[string]app.Containment{"all sessions": {AllSessions: true}, "issued before": {IssuedBefore: -1}} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			i := w.incidents()
			w.user("ann")
			in := w.signIn("ann")
			is := opened(t, i)
			if c.IssuedBefore < 0 {
				c.IssuedBefore = instant.Of(w.core.Now())
			}
			if _, err := i.Contain(t.Context(), root, "", c); err != nil {
				t.Fatal(err)
			}
			if _, err := w.admit(in); err == nil {
				t.Error("it is let in")
			}
			v, err := i.Verify(t.Context(), root, is.ID)
			if err != nil || !v.OK || len(v.Tried) != 1 || !strings.Contains(v.Tried[0].Seen, "token_revoked") {
				t.Errorf("Verify: %+v, %v", v, err)
			}
			r, err := i.Report(t.Context(), root, is.ID)
			if err != nil || len(r.Affected) != 1 || r.Affected[0].Username != "ann" {
				t.Errorf("affected: %+v, %v", r.Affected, err)
			}
		})
	}
	w := newWorld(t)
	i := w.incidents()
	ann := w.user("ann")
	w.signIn("ann")
	is := opened(t, i)
	// A record that says what never happened.
	err := w.store.Incidents().Update(t.Context(), func(b incident.Casebook) (incident.Casebook, ports.Effects, error) {
		b, _, err := b.Do(is.ID, incident.Step{At: 1, Kind: "contained"}, incident.Contained, incident.Target{Kind: incident.User, Value: ann.ID.String(), Asked: instant.Of(w.core.Now()), Proof: incident.Proof{Generation: ann.Generation}})
		return b, ports.Effects{}, err
	})
	if err != nil {
		t.Fatal(err)
	}
	if v, err := i.Verify(t.Context(), root, is.ID); err != nil || v.OK || v.Tried[0].Seen != "its tokens are taken" {
		t.Errorf("what was not contained: %+v, %v", v, err)
	}
}

// Everything is looked at before anything is done.
func TestContainRefusesTheWhole(t *testing.T) {
	w := newWorld(t)
	i := w.incidents()
	ann := w.user("ann")
	in := w.signIn("ann")
	if _, err := i.Contain(t.Context(), root, "", app.Containment{Users: []string{"ann"}}); !errors.Is(err, incident.ErrNone) {
		t.Errorf("without an incident: %v", err)
	}
	opened(t, i)
	annsOwn := w.caller(in).Actor(home)
	for name, c := range map[string]app.Containment{
		"nothing": {}, "nobody": {Users: []string{"ann", "nobody"}}, "a session that is not there": {Users: []string{"ann"}, Sessions: []string{"00000000000000000000000000000001"}}, "no session id": {Users: []string{"ann"}, Sessions: []string{"x"}},
		"a key that is not there": {Users: []string{"ann"}, Keys: []string{"nokey"}}, "no network": {Users: []string{"ann"}, Networks: []string{"10.0.0.1/8"}}, "the loopback": {Users: []string{"ann"}, Networks: []string{"127.0.0.1"}},
		"everything": {Users: []string{"ann"}, Networks: []string{"0.0.0.0/0"}}, "no API key": {Users: []string{"ann"}, APIKeys: []string{"x"}}, "an API key that is not there": {Users: []string{"ann"}, APIKeys: []string{"00000000000000000000000000000001"}},
		"the future": {Users: []string{"ann"}, IssuedBefore: instant.Of(w.core.Now().Add(time.Hour))}, "a long reason": {Users: []string{"ann"}, Reason: strings.Repeat("x", 1<<20)},
	} {
		if got, err := i.Contain(t.Context(), root, "", c); err == nil {
			t.Errorf("%s: %+v", name, got)
		}
	}
	const gone = "00000000000000000000000000000001"
	for member, c := range map[string]app.Containment{"users": {Users: []string{"nobody"}}, "sessions": {Sessions: []string{gone}}, "keys": {Keys: []string{"nokey"}}, "api_keys": {APIKeys: []string{gone}}} {
		var is *app.SelectorError
		if _, err := i.Contain(t.Context(), root, "", c); !errors.As(err, &is) || is.Field != member {
			t.Errorf("what is not there is said of %v, want %q", err, member)
		}
	}
	if _, err := i.Contain(t.Context(), annsOwn, "", app.Containment{Users: []string{ann.ID.String()}}); !errors.Is(err, account.ErrOwnAccount) {
		t.Errorf("one's own account: %v", err)
	}
	if _, err := i.Contain(t.Context(), annsOwn, "", app.Containment{Networks: []string{home.Origin.Address.String()}}); err == nil {
		t.Error("one's own address is blocked without force")
	}
	if _, err := w.admit(in); err != nil {
		t.Errorf("something was done: %v", err)
	}
	got, err := i.Contain(t.Context(), root, "", app.Containment{Users: []string{"ann"}, AllSessions: true, Networks: []string{"192.0.2.0/24"}, HoldSignIns: true, DryRun: true})
	if err != nil || len(got.Targets) != 3 || got.Targets[0].Sessions != 1 || got.Targets[1].Sessions != 1 || got.Targets[2].Sessions != 1 {
		t.Errorf("a dry run: %+v, %v", got.Targets, err)
	}
	if _, err := w.admit(in); err != nil {
		t.Errorf("a dry run did something: %v", err)
	}
	if i.Percent() != 100 || w.count(audit.IncidentContained) != 0 {
		t.Errorf("a dry run left %d %% and %d events", i.Percent(), w.count(audit.IncidentContained))
	}
}

// Sign-ins are let in step by step; administrators always are, and whoever has a wrong password learns nothing.
func TestRecoverStepByStep(t *testing.T) {
	w := newWorld(t)
	i := w.incidents()
	users := []string{"ann", "bob", "cid", "dan", "eve", "fay", "gus", "hal"}
	for _, name := range users {
		w.user(name)
	}
	boss := w.user("boss")
	if err := w.accounts.SetRole(t.Context(), root, boss.ID, account.RoleAdmin); err != nil {
		t.Fatal(err)
	}
	opened(t, i)
	if _, err := i.Contain(t.Context(), root, "", app.Containment{AllSessions: true, HoldSignIns: true}); err != nil {
		t.Fatal(err)
	}
	in := func() (all []string) {
		for _, name := range users {
			switch _, err := w.login(name); {
			case err == nil:
				all = append(all, name)
			case !errors.Is(err, app.ErrHeldBack):
				t.Fatalf("%s: %v", name, err)
			}
		}
		return all
	}
	if got := in(); len(got) > 0 {
		t.Errorf("let in at 0 %%: %v", got)
	}
	if _, err := w.login("boss"); err != nil {
		t.Errorf("an administrator: %v", err)
	}
	var before []string
	for _, percent := range []int{25, 50, 75, 100} {
		if _, _, err := i.Recover(t.Context(), root, "", percent, ""); err != nil {
			t.Fatal(err)
		}
		got := in()
		for _, name := range before {
			if !slices.Contains(got, name) {
				t.Errorf("at %d %%: %s was let in before, and is not", percent, name)
			}
		}
		before = got
	}
	if len(before) != len(users) {
		t.Errorf("at 100 %%: %v", before)
	}
}

// Who may sign in holds on every node, within a poll, and after a restart; so does who is isolated.
func TestOtherNodesFollowTheCasebook(t *testing.T) {
	w := newWorld(t)
	i := w.incidents()
	w.user("ann")
	core := *w.core
	other := app.NewIncidents(&core, app.NewAccounts(&core), w.revoker, app.NewBlocks(&core, app.BlocksOptions{}), w.keys, nil, app.IncidentsOptions{Node: "node-2"})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); other.Run(ctx) }()
	defer func() { cancel(); <-done }()
	changed := make(chan struct{}, 16)
	other.OnChange(func() { changed <- struct{}{} })
	opened(t, i)
	if _, err := i.Contain(t.Context(), root, "", app.Containment{HoldSignIns: true}); err != nil {
		t.Fatal(err)
	}
	heard := func(what string, holds func() bool) {
		t.Helper()
		for within := time.After(30 * time.Second); !holds(); {
			select {
			case <-changed:
			case <-within:
				t.Fatalf("not heard: %s", what)
			}
		}
	}
	heard("sign-ins are held back", func() bool { return other.Percent() == 0 })
	if _, _, err := i.Isolate(t.Context(), root, "", "node-2", false, true, ""); err != nil {
		t.Fatal(err)
	}
	heard("the node is isolated", other.Isolated)
	again := app.NewIncidents(&core, app.NewAccounts(&core), w.revoker, app.NewBlocks(&core, app.BlocksOptions{}), w.keys, nil, app.IncidentsOptions{Node: "node-2"})
	if err := again.Start(t.Context()); err != nil || !again.Isolated() || again.Percent() != 0 {
		t.Errorf("begun anew: isolated %v, %d %%, %v", again.Isolated(), again.Percent(), err)
	}
	if i.Isolated() {
		t.Error("another node is isolated too")
	}
	if _, _, err := i.Isolate(t.Context(), root, "", "node-2", true, false, ""); err != nil {
		t.Fatal(err)
	}
	heard("the node is released", func() bool { return !other.Isolated() })
}

// An incident that cannot be written to does not keep anything from being revoked.
func TestContainWithoutTheRecord(t *testing.T) {
	w := newWorld(t)
	failing := &failingIncidents{Incidents: w.core.Stores.Incidents}
	w.core.Stores.Incidents = failing
	i := w.incidents()
	w.user("ann")
	in := w.signIn("ann")
	opened(t, i)
	failing.off = true
	got, err := i.Contain(t.Context(), root, "", app.Containment{Users: []string{"ann"}})
	if err != nil || got.Recorded == nil || !got.Targets[0].Done() {
		t.Fatalf("Contain: %+v, %v", got, err)
	}
	if _, err := w.admit(in); err == nil {
		t.Error("it is let in")
	}
}

type failingIncidents struct {
	ports.Incidents
	off bool
}

func (f *failingIncidents) Update(ctx context.Context, change func(incident.Casebook) (incident.Casebook, ports.Effects, error)) error {
	if f.off {
		return ports.ErrUnavailable
	}
	return f.Incidents.Update(ctx, change)
}

// A spraying attack is reported as a run, with who was guessed at and who was signed in to from where was blocked.
func TestReportOfSpraying(t *testing.T) {
	w := newWorld(t)
	i := w.incidents()
	for _, name := range []string{"ann", "bob", "cid"} {
		w.user(name)
	}
	w.signIn("cid") // from home
	for _, name := range []string{"ann", "bob"} {
		l, err := account.ParseLogin("", name)
		if err != nil {
			t.Fatal(err)
		}
		for range 3 {
			if _, err := w.sessions.Login(t.Context(), abroad, l, secret.New("wrong-Horse-battery-9")); !errors.Is(err, account.ErrCredentials) {
				t.Fatal(err)
			}
		}
	}
	l, _ := account.ParseLogin("", "bob")
	if _, err := w.sessions.Login(t.Context(), abroad, l, secret.New(password)); err != nil {
		t.Fatal(err)
	}
	is := opened(t, i)
	if _, err := i.Contain(t.Context(), root, "", app.Containment{Networks: []string{netip.PrefixFrom(abroad.Origin.Address, 24).Masked().String()}}); err != nil {
		t.Fatal(err)
	}
	r, err := i.Report(t.Context(), root, is.ID)
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Affected) != 2 || r.Affected[0].Username != "ann" || r.Affected[1].Username != "bob" || len(r.Affected[1].Why) != 2 {
		t.Errorf("affected: %+v", r.Affected)
	}
	if !strings.Contains(r.Markdown, "Authentication failed, 6 times") {
		t.Errorf("the run is not told as one:\n%s", r.Markdown)
	}
}

// What is replaced does not go on, and what takes its place does.
func TestEradicate(t *testing.T) {
	w := newWorld(t)
	i := w.incidents()
	w.user("ann")
	c := w.caller(w.signIn("ann"))
	made, err := w.keys.Issue(t.Context(), home, c, wish(apikey.UsersRead|apikey.KeysWrite))
	if err != nil {
		t.Fatal(err)
	}
	by, err := w.guard.AdmitKey(t.Context(), home, made.Text.RevealPlaintext())
	if err != nil {
		t.Fatal(err)
	}
	opened(t, i)
	if _, err := i.Eradicate(t.Context(), root, "", app.Eradication{APIKeys: []string{"00000000000000000000000000000001"}}); err == nil {
		t.Error("a key that is not there is taken")
	}
	child, err := w.keys.Issue(t.Context(), home, by, wish(apikey.UsersRead))
	if err != nil {
		t.Fatal(err)
	}
	got, err := i.Eradicate(t.Context(), root, "", app.Eradication{APIKeys: []string{made.ID.String()}})
	if err != nil || len(got.APIKeys) != 1 || got.APIKeys[0].Err != nil || len(got.ByHand) != 1 {
		t.Fatalf("Eradicate: %+v, %v", got, err)
	}
	if _, err := w.guard.AdmitKey(t.Context(), home, made.Text.RevealPlaintext()); err == nil {
		t.Error("the key before is let in")
	}
	if _, err := w.guard.AdmitKey(t.Context(), home, child.Text.RevealPlaintext()); err == nil {
		t.Error("a key that it had made is let in")
	}
	if who, err := w.guard.AdmitKey(t.Context(), home, got.APIKeys[0].Is.Text.RevealPlaintext()); err != nil || who.User() != c.User() {
		t.Errorf("the key in its place: %v", err)
	}
}

// What holds for every node is carried to another store; what was done there since is not taken back.
func TestTransferCarriesIncidents(t *testing.T) {
	from, to := newWorld(t), newWorld(t)
	i := from.incidents()
	is := opened(t, i)
	if _, err := i.Contain(t.Context(), root, "", app.Containment{HoldSignIns: true}); err != nil {
		t.Fatal(err)
	}
	if _, err := app.Transfer(t.Context(), from.core.Stores, to.core.Stores); err != nil {
		t.Fatal(err)
	}
	there := to.incidents()
	if got, err := there.Find(t.Context(), is.ID); err != nil || got.State != incident.Contained || there.Percent() != 0 {
		t.Fatalf("carried over: %+v, %d %%, %v", got, there.Percent(), err)
	}
	if _, _, err := there.Recover(t.Context(), root, "", 100, ""); err != nil {
		t.Fatal(err)
	}
	if _, err := app.Transfer(t.Context(), from.core.Stores, to.core.Stores); err != nil {
		t.Fatal(err)
	}
	if again := to.incidents(); again.Percent() != 100 {
		t.Errorf("after another transfer %d %% are let in", again.Percent())
	}
}

// Sign-ins that could not be held back are not said to be.
func TestHoldingBackThatCannotBeKept(t *testing.T) {
	w := newWorld(t)
	failing := &failingIncidents{Incidents: w.core.Stores.Incidents}
	w.core.Stores.Incidents = failing
	i := w.incidents()
	w.user("ann")
	in := w.signIn("ann")
	opened(t, i)
	failing.off = true
	got, err := i.Contain(t.Context(), root, "", app.Containment{Users: []string{"ann"}, HoldSignIns: true})
	if err != nil || got.Held || got.Took != 0 || got.Recorded == nil || !got.Targets[0].Done() {
		t.Errorf("Contain: %+v, %v", got, err)
	}
	if _, err := w.admit(in); err == nil {
		t.Error("it is let in")
	}
	if _, err := i.Contain(t.Context(), root, "", app.Containment{HoldSignIns: true}); !errors.Is(err, ports.ErrUnavailable) {
		t.Errorf("holding back alone: %v", err)
	}
}

// An incident that has no room refuses before anything is done.
func TestContainInAFullIncident(t *testing.T) {
	w := newWorld(t)
	i := w.incidents()
	w.user("ann")
	in := w.signIn("ann")
	is := opened(t, i)
	var many []incident.Target
	for n := range incident.MaxTargets {
		many = append(many, incident.Target{Kind: incident.Session, Value: strings.Repeat("0", n+1)})
	}
	if err := w.store.Incidents().Update(t.Context(), func(b incident.Casebook) (incident.Casebook, ports.Effects, error) {
		b, _, err := b.Do(is.ID, incident.Step{}, incident.Contained, many...)
		return b, ports.Effects{}, err
	}); err != nil {
		t.Fatal(err)
	}
	if _, err := i.Contain(t.Context(), root, "", app.Containment{Users: []string{"ann"}}); !errors.Is(err, incident.ErrFull) {
		t.Errorf("Contain: %v", err)
	}
	if _, err := w.admit(in); err != nil {
		t.Errorf("something was done: %v", err)
	}
}

// What anybody can cause any number of takes no room in a report from what was done.
func TestReportUnderNoise(t *testing.T) {
	w := newWorld(t)
	i := w.incidents()
	ann := w.user("ann")
	is := opened(t, i)
	kinds := []audit.Kind{audit.AuthenticationFailed, audit.AuthenticationSucceeded, audit.SessionRefreshed}
	for n := range 2400 {
		e := audit.Event{ID: newEventID(), Time: instant.Of(w.core.Now()), Kind: kinds[n%3], Severity: audit.Info, Outcome: audit.Success, Subject: ann.ID.String(), IPAddress: "198.51.100.7"}
		if err := w.store.Events().Record(t.Context(), e); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := i.Contain(t.Context(), root, "", app.Containment{Users: []string{"ann"}}); err != nil {
		t.Fatal(err)
	}
	r, err := i.Report(t.Context(), root, is.ID)
	if err != nil || r.Left != 0 || !strings.Contains(r.Markdown, "Incident contained") || !strings.Contains(r.Markdown, "Authentication failed, 800 times") {
		t.Errorf("%d lines, %d left, %v", len(r.Timeline), r.Left, err)
	}
}

// A token that has expired proves nothing of what was to end besides.
func TestVerifyLater(t *testing.T) {
	w := newWorld(t)
	i := w.incidents()
	w.user("ann")
	w.signIn("ann")
	is := opened(t, i)
	asked := instant.Of(w.core.Now())
	if err := w.store.Incidents().Update(t.Context(), func(b incident.Casebook) (incident.Casebook, ports.Effects, error) {
		b, _, err := b.Do(is.ID, incident.Step{At: 1, Kind: "contained"}, incident.Contained, incident.Target{Kind: incident.Key, Value: "hs-none", Asked: asked}, incident.Target{Kind: incident.AllSessions, Asked: asked},
			incident.Target{Kind: incident.IssuedBefore, Value: asked.String(), Asked: asked})
		return b, ports.Effects{}, err
	}); err != nil {
		t.Fatal(err)
	}
	w.turn(40 * time.Minute)
	v, err := i.Verify(t.Context(), root, is.ID)
	if err != nil || v.OK {
		t.Fatalf("%+v, %v", v, err)
	}
	for _, tried := range v.Tried {
		if tried.OK {
			t.Errorf("what was not contained is refused: %+v", tried)
		}
	}
}
