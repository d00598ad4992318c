package httpapi

import (
	"io"
	"net/http"
	"strconv"
	"time"

	"github.com/xteam/xteam/app"
	"github.com/xteam/xteam/domain/block"
	"github.com/xteam/xteam/domain/incident"
	"github.com/xteam/xteam/domain/instant"
)

// isolated refuses whatever comes to a node that serves nobody. It reports whether it did. Probes are answered all the same, and so is the operator at their own socket.
func (x *exchange) isolated() bool {
	a := x.api
	if !a.Incidents.Isolated() || a.probes[x.r.URL.Path] || x.ctx().Value(operatorKey{}) != nil {
		return false
	}
	x.refuse(app.ErrIsolated)
	return true
}

// incidentItem is an incident as administrators see it.
type incidentItem struct {
	ID         string           `json:"id"`
	Name       string           `json:"name"`
	State      string           `json:"state"`       // open, contained, eradicated, recovering or resolved
	OpenedAt   time.Time        `json:"opened_at"`   // by the clock of the node that was asked
	OpenedBy   string           `json:"opened_by"`   // a user's id, or operator
	Since      time.Time        `json:"since"`       // what happened from then on belongs to it
	ResolvedAt *time.Time       `json:"resolved_at"` // null: it is not
	Targets    []incidentTarget `json:"targets"`     // what was contained
	Steps      []incidentStep   `json:"steps"`       // the first, and the last hundred; the audit trail has all
}

// incidentTarget is what was contained, and how.
type incidentTarget struct {
	Kind          string     `json:"kind"`              // user, ip, session, key, api_key, issued_before or all_sessions
	Value         string     `json:"value"`             // an id, a network or a time
	AskedAt       time.Time  `json:"asked_at"`          // when it was last asked for
	Done          bool       `json:"done"`              // it is contained, on the node that was asked at the least
	Failed        string     `json:"failed,omitempty"`  // why it is not
	SessionsEnded int        `json:"sessions_ended"`    // or, in a dry run, the sessions that would; of a network in a dry run those that were used from there last
	Nodes         []nodeTime `json:"nodes"`             // who refuses it, and after how long
	Missing       []string   `json:"missing,omitempty"` // who lives and has not said so yet
}

// incidentStep is one thing that was done.
type incidentStep struct {
	At   time.Time `json:"at"`   // when it was done
	Kind string    `json:"kind"` // opened, contained, verified, eradicated, recovering, isolated, released, reported or resolved
	By   string    `json:"by"`
	Note string    `json:"note"`
}

func incidentItemOf(i *incident.Incident) incidentItem {
	out := incidentItem{ID: i.ID, Name: i.Name, State: string(i.State), OpenedAt: i.Opened.Time(), OpenedBy: i.By, Since: i.Since.Time(), ResolvedAt: timeOf(i.Resolved), Targets: targetsOf(i.Targets), Steps: []incidentStep{}}
	for _, s := range i.Steps {
		out.Steps = append(out.Steps, incidentStep{s.At.Time(), s.Kind, s.By, s.Note})
	}
	return out
}

func targetsOf(all []incident.Target) []incidentTarget {
	out := make([]incidentTarget, 0, len(all))
	for k := range all {
		t := &all[k]
		one := incidentTarget{Kind: string(t.Kind), Value: t.Value, AskedAt: t.Asked.Time(), Done: t.Done(), Failed: t.Failed, SessionsEnded: t.Sessions, Nodes: []nodeTime{}, Missing: t.Missing}
		for _, n := range t.Nodes {
			one.Nodes = append(one.Nodes, nodeTime{n.Node, float64(n.Micros) / 1000})
		}
		out = append(out, one)
	}
	return out
}

// incidentID is the id in the path: empty for the incident that is open.
func (x *exchange) incidentID() string {
	if iid := x.r.PathValue("id"); iid != "current" {
		return iid
	}
	return ""
}

func (a *API) listIncidents(x *exchange) error {
	q, err := x.query("limit", "cursor", "open")
	if err != nil {
		return err
	}
	limit, err := pageSize(q["limit"])
	if err != nil {
		return err
	}
	behind := ""
	if q["cursor"] != "" {
		b, err := parseCursor(q["cursor"], cursorIncidents, 16)
		if err != nil {
			return err
		}
		behind = string(b)
	}
	if q["open"] != "" && q["open"] != "true" && q["open"] != "false" {
		return invalid("open", "must be true or false")
	}
	all, more, err := a.Incidents.List(x.ctx(), q["open"] == "true", behind, limit)
	if err != nil {
		return err
	}
	page := list[incidentItem]{Items: make([]incidentItem, 0, len(all))}
	for i := range all {
		page.Items = append(page.Items, incidentItemOf(&all[i]))
	}
	if more {
		text := cursorText.EncodeToString(append([]byte{cursorIncidents}, all[len(all)-1].ID...))
		page.Next = &text
	}
	return x.write(http.StatusOK, page)
}

// openIncidentBody begins an incident.
type openIncidentBody struct {
	Name  string     `json:"name"`
	Drill bool       `json:"drill"` // a rehearsal: of those that are resolved, the last is kept
	Since *time.Time `json:"since"` // from when on what happened belongs to it; an hour ago when it is not given
}

func (a *API) openIncident(x *exchange) error {
	var in openIncidentBody
	if err := x.read(&in); err != nil {
		return err
	}
	var since instant.Instant
	if in.Since != nil {
		if since = instant.Of(*in.Since); since <= 0 {
			return invalid("since", "must lie after 1970-01-01T00:00:00Z")
		}
	}
	is, err := a.Incidents.Open(x.ctx(), x.actor(), in.Name, in.Drill, since)
	if err != nil {
		return err
	}
	return x.write(http.StatusCreated, incidentItemOf(&is))
}

// incidentStatus is how far the containment has come.
type incidentStatus struct {
	incidentItem    `json:",inline"`
	Contained       bool        `json:"contained"`        // everything that was to be, on every node
	ContainedMS     float64     `json:"contained_ms"`     // from the call until the last node refused, of what took longest; 0 unless all is contained
	Undone          int         `json:"undone"`           // targets that could not be contained
	MissingNodes    []string    `json:"missing_nodes"`    // who lives and has not said that it refuses
	AdmittedPercent int         `json:"admitted_percent"` // of the users whose sign-ins are let in
	Isolated        []isolation `json:"isolated_nodes"`   // who serves nobody
}

// isolation is a node that serves nobody.
type isolation struct {
	Node string    `json:"node"`
	By   string    `json:"by"`
	At   time.Time `json:"at"` // since when
}

func (a *API) incidentStatus(x *exchange) error {
	st, err := a.Incidents.Status(x.ctx(), x.incidentID())
	if err != nil {
		return err
	}
	out := incidentStatus{incidentItem: incidentItemOf(&st.Incident), Contained: st.Took > 0, ContainedMS: float64(st.Took.Microseconds()) / 1000, Undone: st.Undone, MissingNodes: append([]string{}, st.Missing...), AdmittedPercent: st.Percent, Isolated: []isolation{}}
	for _, i := range st.Isolated {
		out.Isolated = append(out.Isolated, isolation{i.Node, i.By, i.At.Time()})
	}
	return x.write(http.StatusOK, out)
}

// containIncidentBody says what is to be contained.
type containIncidentBody struct {
	Users        []string   `json:"users"`              // ids, e-mail addresses or user names: all that they have ends, and they are barred
	Networks     []string   `json:"networks"`           // addresses or CIDRs: they are blocked
	Sessions     []string   `json:"sessions"`           // ids: they end
	Keys         []string   `json:"keys"`               // kids: what they signed is refused
	APIKeys      []string   `json:"api_keys"`           // ids: they end, with the keys that they made
	IssuedBefore *time.Time `json:"issued_before"`      // every token whose iat is at or before it, in RFC 3339
	AllSessions  bool       `json:"all_sessions"`       // every token and session of the system
	HoldSignIns  bool       `json:"hold_sign_ins"`      // nobody but administrators may sign in until recover lets them
	Seconds      int64      `json:"expires_in_seconds"` // how long networks are blocked; until they are unblocked when it is not given
	Reason       string     `json:"reason"`
	Force        bool       `json:"force"` // also what block_risky refuses, and kids that this system does not hold
	DryRun       bool       `json:"dry_run"`
}

// containedIncident is what came of it.
type containedIncident struct {
	Incident    string           `json:"incident"` // its id
	DryRun      bool             `json:"dry_run"`
	Targets     []incidentTarget `json:"targets"`       // in the order in which they were contained
	Held        bool             `json:"sign_ins_held"` // nobody but administrators may sign in
	Contained   bool             `json:"contained"`     // all of it, on every node
	ContainedMS float64          `json:"contained_ms"`  // from the call until the last node refused; 0 unless all is contained
	Missing     []string         `json:"missing_nodes"` // who lives and has not said that it refuses; each does once it hears of it
	Recorded    bool             `json:"recorded"`      // false: what is said here is in force, and the incident could not be written to; ask again
}

func (a *API) containIncident(x *exchange) error {
	var in containIncidentBody
	if err := x.read(&in); err != nil {
		return err
	}
	var bad validationError
	for field, all := range map[string][]string{"users": in.Users, "networks": in.Networks, "sessions": in.Sessions, "keys": in.Keys, "api_keys": in.APIKeys} {
		if len(all) > incident.MaxTargets {
			bad.note(field, "may name at most "+strconv.Itoa(incident.MaxTargets))
		}
	}
	for _, text := range in.Networks {
		if _, err := block.Parse(text); err != nil {
			bad.note("networks", plainly(err))
			break
		}
	}
	if in.Seconds < 0 || in.Seconds > longestBlock {
		bad.note("expires_in_seconds", "must be from 1 to 316224000, or missing")
	}
	if len(bad.fields) > 0 {
		return &bad
	}
	c := app.Containment{Users: in.Users, Networks: in.Networks, Sessions: in.Sessions, Keys: in.Keys, APIKeys: in.APIKeys, AllSessions: in.AllSessions, HoldSignIns: in.HoldSignIns,
		For: time.Duration(in.Seconds) * time.Second, Reason: in.Reason, Force: in.Force, DryRun: in.DryRun}
	if in.IssuedBefore != nil {
		if c.IssuedBefore = instant.Of(*in.IssuedBefore); c.IssuedBefore == 0 {
			c.IssuedBefore-- // as good, and 0 would say that no time was given
		}
	}
	did, err := a.Incidents.Contain(x.ctx(), x.actor(), x.incidentID(), c)
	if err != nil {
		return err
	}
	if did.Recorded != nil {
		a.log.Error("What was contained could not be written to its incident", "request_id", x.id, "error", did.Recorded.Error())
	}
	return x.write(http.StatusOK, containedIncident{did.Incident.ID, in.DryRun, targetsOf(did.Targets), did.Held, did.Took > 0, float64(did.Took.Microseconds()) / 1000, append([]string{}, did.Missing...), did.Recorded == nil && !in.DryRun})
}

// verifiedIncident is what came of trying again what was contained.
type verifiedIncident struct {
	Incident string          `json:"incident"`      // its id
	OK       bool            `json:"ok"`            // all of it is refused everywhere, and the audit trail holds
	Tried    []triedTarget   `json:"tried"`         // on the node that was asked
	Nodes    []nodeTime      `json:"nodes"`         // who refuses all of it
	Missing  []string        `json:"missing_nodes"` // who lives and takes something of it, or has not said so in time
	Audit    *incidentsTrail `json:"audit"`         // null: there is no trail
}

// triedTarget is one thing that was tried.
type triedTarget struct {
	Kind  string `json:"kind"`  // as in the list of targets
	Value string `json:"value"` // likewise
	OK    bool   `json:"ok"`    // it is refused
	Seen  string `json:"seen"`  // how it ended
}

// incidentsTrail is how the audit trail was found.
type incidentsTrail struct {
	OK       bool     `json:"ok"`       // it holds; that events were lost before they were linked is a finding all the same
	Records  int      `json:"records"`  // how many were read
	Findings []string `json:"findings"` // what is wrong with it
}

func (a *API) verifyIncident(x *exchange) error {
	v, err := a.Incidents.Verify(x.ctx(), x.actor(), x.incidentID())
	if err != nil {
		return err
	}
	out := verifiedIncident{Incident: v.Incident.ID, OK: v.OK, Tried: []triedTarget{}, Nodes: nodeTimes(v.Nodes), Missing: append([]string{}, v.Missing...)}
	for _, t := range v.Tried {
		out.Tried = append(out.Tried, triedTarget{string(t.Kind), t.Value, t.OK, t.Seen})
	}
	switch {
	case v.TrailErr != nil:
		out.Audit = &incidentsTrail{Findings: []string{"the audit trail cannot be read; the server's log tells why"}}
		a.log.Error("The audit trail cannot be read", "request_id", x.id, "error", v.TrailErr.Error())
	case v.Trail != nil:
		out.Audit = &incidentsTrail{OK: v.Trail.Holds(), Records: v.Trail.Records, Findings: []string{}}
		for _, f := range v.Trail.Findings {
			out.Audit.Findings = append(out.Audit.Findings, f.String())
		}
	}
	return x.write(http.StatusOK, out)
}

// eradicateBody says what is to be replaced.
type eradicateBody struct {
	SigningKey bool     `json:"signing_key"` // another signs; what the one before signed is still verified, unless it is contained
	APIKeys    []string `json:"api_keys"`    // ids: each ends at once, and another takes its place
	Reason     string   `json:"reason"`
}

// eradicated is what was replaced.
type eradicated struct {
	Incident string        `json:"incident"` // its id
	Signs    *string       `json:"signs"`    // the kid of the key that signs now; null when it was not replaced
	Was      *string       `json:"was"`      // the kid of the one before
	APIKeys  []replacedKey `json:"api_keys"` // those that were asked for
	ByHand   []string      `json:"by_hand"`  // what people have to change: a sentence each
	Recorded bool          `json:"recorded"` // false: what is said here is done, and the incident could not be written to
}

// replacedKey is an API key that ended, with the one in its place.
type replacedKey struct {
	Was  string  `json:"was"`  // the id of the key that ended
	ID   *string `json:"id"`   // null: it could not be replaced
	Key  *string `json:"key"`  // the text that is sent: for its owner. It is shown here, and nowhere else
	Seen string  `json:"seen"` // replaced, or why it was not
}

func (a *API) eradicateIncident(x *exchange) error {
	var in eradicateBody
	if err := x.read(&in); err != nil {
		return err
	}
	if len(in.APIKeys) > incident.MaxTargets {
		return invalid("api_keys", "may name at most "+strconv.Itoa(incident.MaxTargets))
	}
	did, err := a.Incidents.Eradicate(x.ctx(), x.actor(), x.incidentID(), app.Eradication{SigningKey: in.SigningKey, APIKeys: in.APIKeys, Reason: in.Reason})
	if err != nil {
		return err
	}
	out := eradicated{Incident: did.Incident.ID, APIKeys: []replacedKey{}, ByHand: append([]string{}, did.ByHand...), Recorded: did.Recorded == nil}
	if did.Recorded != nil {
		a.log.Error("What was eradicated could not be written to its incident", "request_id", x.id, "error", did.Recorded.Error())
	}
	if did.Key != nil {
		out.Signs, out.Was = &did.Key.Key.ID, &did.Key.Was
	}
	for i := range did.APIKeys {
		k := &did.APIKeys[i]
		one := replacedKey{Was: k.Was.String(), Seen: "replaced"}
		if k.Err != nil {
			p, _ := problemOf(k.Err)
			one.Seen = "not replaced: " + p.Detail
		} else {
			next := k.Is.ID.String()
			text := k.Is.Text.RevealPlaintext()
			one.ID, one.Key = &next, &text
		}
		out.APIKeys = append(out.APIKeys, one)
	}
	return x.write(http.StatusOK, out)
}

// recoverBody says who is let in.
type recoverBody struct {
	Percent *int   `json:"percent"` // of the users: from 0 to 100; whoever is let in at one is at each higher one
	Note    string `json:"note"`
}

// recovering is who is let in.
type recovering struct {
	Incident string     `json:"incident"`         // its id
	Percent  int        `json:"admitted_percent"` // of the users
	Nodes    []nodeTime `json:"nodes"`            // who has that in force
	Missing  []string   `json:"missing_nodes"`    // who lives and has not said that it has that in force
}

func (a *API) recoverIncident(x *exchange) error {
	var in recoverBody
	if err := x.read(&in); err != nil {
		return err
	}
	if in.Percent == nil {
		return invalid("percent", "is required: from 0 to 100")
	}
	is, c, err := a.Incidents.Recover(x.ctx(), x.actor(), x.incidentID(), *in.Percent, in.Note)
	if err != nil {
		return err
	}
	return x.write(http.StatusOK, recovering{is.ID, *in.Percent, nodeTimes(c.Nodes), append([]string{}, c.Missing...)})
}

// isolateBody names a node.
type isolateBody struct {
	Node    string `json:"node"`
	Release bool   `json:"release"` // it serves again
	Force   bool   `json:"force"`   // also a node that does not live, or the only one
	Note    string `json:"note"`
}

// isolated is what became of it.
type isolated struct {
	Incident string     `json:"incident"` // its id
	Node     string     `json:"node"`
	Isolated bool       `json:"isolated"`      // false: it serves again
	Nodes    []nodeTime `json:"nodes"`         // who knows; the node itself among them
	Missing  []string   `json:"missing_nodes"` // who lives and has not said that it knows
}

func (a *API) isolateNode(x *exchange) error {
	var in isolateBody
	if err := x.read(&in); err != nil {
		return err
	}
	is, c, err := a.Incidents.Isolate(x.ctx(), x.actor(), x.incidentID(), in.Node, in.Release, in.Force, in.Note)
	if err != nil {
		return err
	}
	return x.write(http.StatusOK, isolated{is.ID, in.Node, !in.Release, nodeTimes(c.Nodes), append([]string{}, c.Missing...)})
}

// incidentReport is what the audit trail tells.
type incidentReport struct {
	Incident string         `json:"incident"` // its id
	Markdown string         `json:"markdown"` // the report itself, in CommonMark with tables
	Affected []affectedUser `json:"affected"` // the users to be told
	More     bool           `json:"more"`     // there are more than are listed
	From     time.Time      `json:"from"`     // of the evidence: the audit trail's export takes both
	To       time.Time      `json:"to"`       // until when
	Audit    incidentsTrail `json:"audit"`
}

// affectedUser is a user to be told.
type affectedUser struct {
	ID       string   `json:"id"`
	Username string   `json:"username"` // empty: the account is gone
	Email    string   `json:"email"`
	Why      []string `json:"why"` // in plain words
}

func (a *API) reportIncident(x *exchange) error {
	r, err := a.Incidents.Report(x.ctx(), x.actor(), x.incidentID())
	if err != nil {
		return err
	}
	out := incidentReport{Incident: r.Incident.ID, Markdown: r.Markdown, Affected: []affectedUser{}, More: r.MoreUsers, From: r.Evidence.From.Time(), To: r.Evidence.To.Time(),
		Audit: incidentsTrail{len(r.Evidence.Faults) == 0, r.Evidence.Records, append([]string{}, r.Evidence.Faults...)}}
	for _, u := range r.Affected {
		out.Affected = append(out.Affected, affectedUser{u.ID, u.Username, u.Email, u.Why})
	}
	return x.write(http.StatusOK, out)
}

// resolveBody closes an incident.
type resolveBody struct {
	Note  string `json:"note"`
	Force bool   `json:"force"` // although something could not be contained
}

func (a *API) resolveIncident(x *exchange) error {
	var in resolveBody
	if err := x.readOptional(&in); err != nil {
		return err
	}
	is, err := a.Incidents.Resolve(x.ctx(), x.actor(), x.incidentID(), in.Note, in.Force)
	if err != nil {
		return err
	}
	return x.write(http.StatusOK, incidentItemOf(&is))
}

// playedDrill is a rehearsal and what came of it.
type playedDrill struct {
	Steps       []drillStep `json:"steps"`             // those that were begun, in order; the last cleans up
	ContainedMS float64     `json:"contained_ms"`      // from the call that revoked until the last node had said that it refuses; 0: it was not contained
	Nodes       []nodeTime  `json:"nodes"`             // when each one refused what was revoked
	Missing     []string    `json:"missing,omitempty"` // who lives and has not said that it refuses
	Incident    string      `json:"incident"`          // its id; empty: none was opened
	Passed      bool        `json:"passed"`            // each step went as it should
}

// drillStep is one thing that was done or tried.
type drillStep struct {
	Name string  `json:"name"`
	MS   float64 `json:"ms"`   // how long it took
	Seen string  `json:"seen"` // what came of it, or what is wrong
	OK   bool    `json:"ok"`   // it went as it should
}

func (a *API) drillIncident(x *exchange) error {
	_, _ = io.Copy(io.Discard, x.bounded()) // of a client whose body is unread, net/http does not notice that it goes
	d, err := a.Incidents.Drill(x.ctx(), x.actor(), a.Sessions)
	if err != nil {
		return err
	}
	out := playedDrill{Steps: []drillStep{}, ContainedMS: float64(d.Contained.Microseconds()) / 1000, Nodes: nodeTimes(d.Nodes), Missing: d.Missing, Incident: d.Incident, Passed: d.Passed}
	for _, s := range d.Steps {
		out.Steps = append(out.Steps, drillStep{s.Name, float64(s.Took.Microseconds()) / 1000, s.Seen, s.OK})
	}
	return x.write(http.StatusOK, out)
}
