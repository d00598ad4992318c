package incident_test

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/xteam/xteam/domain/id"
	"github.com/xteam/xteam/domain/incident"
	"github.com/xteam/xteam/domain/instant"
)

func begun(t testing.TB, ids ...string) (b incident.Casebook) {
	t.Helper()
	for k, iid := range ids {
		var err error
		if b, _, err = b.Begin(iid, "incident "+iid, "operator", false, 0, instant.Instant(k+1)); err != nil {
			t.Fatal(err)
		}
	}
	return b
}

func TestAnIncidentGoesItsWay(t *testing.T) {
	b := begun(t, "a")
	for _, step := range []struct{ reached, want incident.State }{
		{incident.Contained, incident.Contained}, {incident.Open, incident.Contained}, {incident.Eradicated, incident.Eradicated}, {incident.Contained, incident.Eradicated}, {incident.Recovering, incident.Recovering},
	} {
		before := b.Revision
		var is incident.Incident
		var err error
		if b, is, err = b.Do("", incident.Step{At: 9, Kind: string(step.reached)}, step.reached); err != nil || is.State != step.want || b.Revision != before+1 {
			t.Errorf("%s: got %s, revision %d, error %v; want %s", step.reached, is.State, b.Revision, err, step.want)
		}
	}
	b, is, err := b.Resolve("a", incident.Step{At: 20, Kind: "resolved"}, false)
	if err != nil || is.State != incident.Resolved || is.Resolved != 20 {
		t.Fatalf("Resolve: %+v, %v", is, err)
	}
	for name, err := range map[string]error{"Do": second(b.Do("a", incident.Step{}, incident.Contained)), "Resolve": second(b.Resolve("a", incident.Step{}, true)), "Recover": second(b.Recover("a", 10, incident.Step{})), "Isolate": second(b.Isolate("a", "n", false, incident.Step{}))} {
		if !errors.Is(err, incident.ErrResolved) {
			t.Errorf("%s of one that is resolved: %v", name, err)
		}
	}
}

func second(_ incident.Casebook, _ incident.Incident, err error) error { return err }

func TestWhichIncidentIsMeant(t *testing.T) {
	if _, err := begun(t).Find(""); !errors.Is(err, incident.ErrNone) {
		t.Errorf("of none: %v", err)
	}
	one := begun(t, "a")
	if is, err := one.Find(""); err != nil || is.ID != "a" {
		t.Errorf("of one: %v, %v", is.ID, err)
	}
	two := begun(t, "a", "b")
	if _, err := two.Find(""); !errors.Is(err, incident.ErrSeveral) {
		t.Errorf("of two: %v", err)
	}
	if is, err := two.Find("a"); err != nil || is.ID != "a" {
		t.Errorf("by its id: %v, %v", is.ID, err)
	}
	if _, err := two.Find("c"); !errors.Is(err, incident.ErrUnknown) {
		t.Errorf("of an unknown id: %v", err)
	}
	two, _, err := two.Resolve("b", incident.Step{}, false)
	if is, found := two.Find(""); err != nil || found != nil || is.ID != "a" {
		t.Errorf("one resolved: %v, %v, %v", is.ID, found, err)
	}
}

func TestNames(t *testing.T) {
	for _, name := range []string{"", "  ", "a\nb", "a\x00", "\x1b[31mred", "\u202egnp", "\xff", strings.Repeat("x", incident.MaxName+1), "zero\u200bwidth"} {
		if _, _, err := (incident.Casebook{}).Begin("a", name, "operator", false, 0, 1); !errors.Is(err, incident.ErrName) {
			t.Errorf("%q: %v", name, err)
		}
	}
	for _, name := range []string{"x", "Einbruch bei Ämtern", "盗まれたノートPC", "| <b> `"} {
		if _, _, err := (incident.Casebook{}).Begin("a", name, "operator", false, 0, 1); err != nil {
			t.Errorf("%q: %v", name, err)
		}
	}
}

// Whoever is let in at one percentage is at each higher one, about as many are as the percentage says, and at 100 everybody is.
func TestRecovery(t *testing.T) {
	b, err := begun(t, "a").Halt("a")
	if err != nil {
		t.Fatal(err)
	}
	users := make([]id.User, 2000)
	for i := range users {
		users[i] = id.User{byte(i), byte(i >> 8), 1}
	}
	before := map[id.User]bool{}
	for _, percent := range []int{0, 1, 10, 50, 99, 100} {
		if b, _, err = b.Recover("a", percent, incident.Step{}); err != nil {
			t.Fatal(err)
		}
		g, in := b.Gate(), map[id.User]bool{}
		for _, u := range users {
			if g.Admits(u) {
				in[u] = true
			} else if before[u] {
				t.Fatalf("at %d %% one is not let in who was before", percent)
			}
		}
		if got := len(in) * 100 / len(users); got < percent-5 || got > percent+5 || g.Percent() != percent {
			t.Errorf("at %d %%: %d of %d are let in", percent, len(in), len(users))
		}
		before = in
	}
	if len(before) != len(users) {
		t.Errorf("at 100 %% only %d of %d are let in", len(before), len(users))
	}
	for _, percent := range []int{-1, 101} {
		if _, _, err := b.Recover("a", percent, incident.Step{}); !errors.Is(err, incident.ErrPercent) {
			t.Errorf("%d: %v", percent, err)
		}
	}
}

func TestWhatKeepsAnIncidentOpen(t *testing.T) {
	held, err := begun(t, "a").Halt("a")
	if err != nil {
		t.Fatal(err)
	}
	if err := second(held.Resolve("a", incident.Step{}, true)); !errors.Is(err, incident.ErrHeld) {
		t.Errorf("while sign-ins are held back: %v", err)
	}
	alone, _, err := begun(t, "a").Isolate("a", "node-2", false, incident.Step{})
	if g := alone.Gate(); err != nil || !g.Isolates("node-2") || g.Isolates("node-1") {
		t.Errorf("isolated: %v, %v", g, err)
	}
	if err := second(alone.Resolve("a", incident.Step{}, true)); !errors.Is(err, incident.ErrIsolated) {
		t.Errorf("while a node is isolated: %v", err)
	}
	free, _, err := alone.Isolate("a", "node-2", true, incident.Step{})
	if g := free.Gate(); err != nil || g.Isolates("node-2") {
		t.Errorf("released: %v, %v", g, err)
	}
	if err := second(free.Isolate("a", "node-2", true, incident.Step{})); !errors.Is(err, incident.ErrNotAlone) {
		t.Errorf("released again: %v", err)
	}
	undone, _, err := begun(t, "a").Do("a", incident.Step{}, incident.Contained, incident.Target{Kind: incident.User, Value: "x", Failed: "the store did not take it"})
	if err != nil {
		t.Fatal(err)
	}
	if err := second(undone.Resolve("a", incident.Step{}, false)); !errors.Is(err, incident.ErrUndone) {
		t.Errorf("while something is not contained: %v", err)
	}
	if err := second(undone.Resolve("a", incident.Step{}, true)); err != nil {
		t.Errorf("insisting: %v", err)
	}
	again, is, err := undone.Do("a", incident.Step{}, incident.Contained, incident.Target{Kind: incident.User, Value: "x"})
	if err != nil || len(is.Targets) != 1 || second(again.Resolve("a", incident.Step{}, false)) != nil {
		t.Errorf("contained at the second try: %+v, %v", is.Targets, err)
	}
}

// Bounds hold, a drill replaces the last one, and what is resolved makes room first.
func TestRoom(t *testing.T) {
	var ids []string
	for i := range incident.MaxOpen {
		ids = append(ids, fmt.Sprint(i))
	}
	full := begun(t, ids...)
	if err := second(full.Begin("more", "more", "operator", false, 0, 9)); !errors.Is(err, incident.ErrFull) {
		t.Errorf("one open incident too many: %v", err)
	}
	var many []incident.Target
	for i := range incident.MaxTargets + 1 {
		many = append(many, incident.Target{Kind: incident.Session, Value: fmt.Sprint(i)})
	}
	if after, _, err := full.Do("0", incident.Step{}, incident.Contained, many...); !errors.Is(err, incident.ErrFull) || after.Revision != full.Revision {
		t.Errorf("one target too many: %v, revision %d of %d", err, after.Revision, full.Revision)
	}
	b := incident.Casebook{}
	for i := range 3 * incident.MaxIncidents {
		var err error
		if b, _, err = b.Begin(fmt.Sprint(i), "x", "operator", i%3 == 0, 0, instant.Instant(i+1)); err != nil {
			t.Fatal(err)
		}
		for range 2 * incident.MaxSteps {
			if b, _, err = b.Do(fmt.Sprint(i), incident.Step{At: 1, Kind: "verified", Note: strings.Repeat("n", 2*incident.MaxNote)}, incident.Open); err != nil {
				t.Fatal(err)
			}
			if i > 3 {
				break
			}
		}
		if b, _, err = b.Resolve(fmt.Sprint(i), incident.Step{}, false); err != nil {
			t.Fatal(err)
		}
	}
	drills := 0
	for _, i := range b.Incidents {
		if i.Drill {
			drills++
		}
		if len(i.Steps) > incident.MaxSteps {
			t.Errorf("%d steps are kept", len(i.Steps))
		}
	}
	if len(b.Incidents) > incident.MaxIncidents || len(b.Encode()) > 1<<20 || drills != 1 {
		t.Errorf("%d incidents are kept in %d bytes, %d of them drills", len(b.Incidents), len(b.Encode()), drills)
	}
}

// Nothing that a method answers shares memory with what it was asked of, and what is encoded comes back.
func TestCasebookIsAValue(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var b incident.Casebook
		for range rapid.IntRange(1, 30).Draw(t, "steps") {
			before := b.Encode()
			was, next := b, b
			iid := fmt.Sprint(rapid.IntRange(0, 3).Draw(t, "id"))
			switch rapid.IntRange(0, 5).Draw(t, "what") {
			case 0:
				if _, known := b.Find(iid); known != nil {
					next, _, _ = b.Begin(iid, "x", "operator", false, 0, 1)
				}
			case 1:
				next, _, _ = b.Do(iid, incident.Step{Kind: "contained"}, incident.Contained, incident.Target{Kind: incident.User, Value: "u", Missing: []string{"n"}})
			case 2:
				next, _, _ = b.Recover(iid, rapid.IntRange(0, 100).Draw(t, "percent"), incident.Step{})
			case 3:
				next, _, _ = b.Isolate(iid, "n", rapid.Bool().Draw(t, "release"), incident.Step{})
			case 4:
				next, _, _ = b.Resolve(iid, incident.Step{}, rapid.Bool().Draw(t, "force"))
			case 5:
				next, _ = b.Seen(iid, []incident.Target{{Kind: incident.User, Value: "u", Nodes: []incident.Seen{{Node: "n", Micros: 1}}}})
			}
			if string(was.Encode()) != string(before) {
				t.Fatal("a method changed the value that it was asked of")
			}
			if next.Revision < b.Revision {
				t.Fatal("the revision fell")
			}
			b = next
			back, err := incident.Decode(b.Encode())
			if err != nil || string(back.Encode()) != string(b.Encode()) {
				t.Fatalf("Decode: %v", err)
			}
			open := 0
			for _, i := range b.Incidents {
				if i.State != incident.Resolved {
					open++
				}
			}
			if g := b.Gate(); open == 0 && (g.Percent() != 100 || len(b.Isolated) > 0) {
				t.Fatal("no incident is open, and not everybody is let in everywhere")
			}
		}
	})
	for _, text := range []string{"x", `{"Held":101}`, `{"Held":-1}`, "[]"} {
		if _, err := incident.Decode([]byte(text)); err == nil {
			t.Errorf("Decode takes %q", text)
		}
	}
}

// A report tells of hostile values without letting them be anything but text on one line.
func TestReportEscapes(t *testing.T) {
	hostile := []string{"a\r\nb", "\x1b[31m", "\x00", "\u202egpj", "| cell | cell", "<img src=x>", "[x](http://evil.example)", "`code`", "**bold**", "# head", "&lt;", "www.evil.example", "https://evil.example/?a=b", "\xff\xfe", strings.Repeat("A", 1<<20)}
	told := incident.Told{Incident: incident.Incident{ID: "0123456789abcdef", Name: "x", State: incident.Open, Targets: []incident.Target{}}, Contained: time.Millisecond}
	for _, h := range hostile {
		told.Timeline = append(told.Timeline, incident.Line{Seq: 1, What: h, By: h, About: h, From: h, More: h})
		told.Affected = append(told.Affected, incident.Affected{ID: "u", Username: h, Email: h, Why: []string{h}})
		told.ByHand = append(told.ByHand, h)
		told.Evidence.Faults = append(told.Evidence.Faults, h)
		told.Incident.Targets = append(told.Incident.Targets, incident.Target{Kind: incident.User, Value: h, Failed: h, Missing: []string{h}})
	}
	told.Incident.Name, told.By = hostile[5], hostile[0]
	text := told.Markdown()
	if len(text) > 200<<10 {
		t.Errorf("the report has %d bytes", len(text))
	}
	bare := regexp.MustCompile(`\\[[:punct:]]`).ReplaceAllString(text, "") // without what stands for itself
	for _, bad := range []string{"\r", "\x1b", "\x00", "\u202e", "<img", "](http", "http://evil", "https://evil", "www.evil", "`code`", "**bold**", "\n# head", "\xff"} {
		if strings.Contains(bare, bad) {
			t.Errorf("the report holds %q", bad)
		}
	}
	for k, line := range strings.Split(text, "\n") {
		if strings.HasPrefix(line, "| ") && strings.Contains(line, "1970-01-01 00:00:00.000Z | 1 |") {
			if n := strings.Count(strings.ReplaceAll(line, `\|`, ""), "|"); n != 8 {
				t.Errorf("line %d has %d cells: %.200q", k, n-1, line)
			}
		}
	}
}

func TestReportTellsInOrder(t *testing.T) {
	told := incident.Told{Incident: incident.Incident{ID: "0123456789abcdef", Name: "a stolen laptop", State: incident.Resolved, By: "operator", Resolved: 5,
		Targets: []incident.Target{{Kind: incident.Network, Value: "198.51.100.0/24", Sessions: 2, Nodes: []incident.Seen{{Node: "a", Micros: 1500}, {Node: "b", Micros: 4250}}, Missing: []string{"c"}}}},
		Contained: 4250 * time.Microsecond, Timeline: []incident.Line{{Seq: 3, What: "first"}, {Seq: 4, To: 9, What: "second"}}, Affected: []incident.Affected{{ID: "u", Username: "ann", Email: "ann@example.com", Why: []string{"their account was contained"}}, {ID: "v", Why: []string{"x"}}},
		Evidence: incident.Evidence{Records: 9, Last: 9, Head: "abc"}}
	text := told.Markdown()
	at := 0
	for _, part := range []string{"# Incident: a stolen laptop", "4.2 ms", "## What was contained", "a in 1.5 ms, b in 4.2 ms, c has not said so", "## What happened", "| 3 | first |", "| 4–9 | second |", "## Users to notify", "| ann | ann@example.com | `u` | their account was contained |", "(gone)", "## To be changed by hand", "## Evidence", "9 records"} {
		next := strings.Index(text[at:], part)
		if next < 0 {
			t.Fatalf("the report does not go on with %q:\n%s", part, text)
		}
		at += next
	}
	told.Evidence.Faults = []string{"record 4 was changed"}
	if !strings.Contains(told.Markdown(), "**The audit trail does not hold**") {
		t.Error("a broken trail is not told of")
	}
	if diff := cmp.Diff(told.Markdown(), told.Markdown()); diff != "" {
		t.Error(diff)
	}
}

// What nodes say of a target that was contained again since is of the containment before.
func TestSeenIsOfOneContainment(t *testing.T) {
	first := incident.Target{Kind: incident.User, Value: "u", Asked: 5, Missing: []string{"n"}}
	b, _, err := begun(t, "a").Do("a", incident.Step{}, incident.Contained, first)
	if err != nil {
		t.Fatal(err)
	}
	seen := first
	seen.Missing, seen.Nodes = nil, []incident.Seen{{Node: "n", Micros: 7}}
	later := first
	later.Asked = 6
	again, _, err := b.Do("a", incident.Step{}, incident.Contained, later)
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		of   incident.Casebook
		left int // missing
	}{"the same": {b, 0}, "contained again": {again, 1}} {
		got, err := c.of.Seen("a", []incident.Target{seen})
		is, _ := got.Find("a")
		if err != nil || len(is.Targets[0].Missing) != c.left {
			t.Errorf("%s: %+v, %v", name, is.Targets, err)
		}
	}
	over, _, err := b.Resolve("a", incident.Step{}, false)
	if got, lost := over.Seen("a", []incident.Target{seen}); err != nil || lost != nil || got.Revision != over.Revision {
		t.Errorf("of one that is resolved: %v, %v", err, lost)
	}
}

// A drill holds nobody back, lets nobody in, isolates nobody, and is never the incident that is meant.
func TestADrillChangesNothingElse(t *testing.T) {
	b, err := begun(t, "real").Halt("real")
	if err != nil {
		t.Fatal(err)
	}
	if b, _, err = b.Begin("drill", "drill", "operator", true, 0, 9); err != nil {
		t.Fatal(err)
	}
	if is, err := b.Find(""); err != nil || is.ID != "real" {
		t.Errorf("meant is %q, %v", is.ID, err)
	}
	after, _, err := b.Recover("drill", 100, incident.Step{})
	if g := after.Gate(); err != nil || g.Percent() != 0 {
		t.Errorf("after a drill's recovery %d %% are let in, %v", g.Percent(), err)
	}
	after, _, err = after.Isolate("drill", "n", false, incident.Step{})
	if g := after.Gate(); err != nil || g.Isolates("n") {
		t.Errorf("a drill isolates, %v", err)
	}
	alone, _, err := begun(t).Begin("drill", "drill", "operator", true, 0, 9)
	if err != nil {
		t.Fatal(err)
	}
	after, err = alone.Halt("drill")
	if g := after.Gate(); err != nil || g.Percent() != 100 {
		t.Errorf("a drill holds sign-ins back, %v", err)
	}
}
