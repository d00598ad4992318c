package graphqlapi

import (
	"context"
	"strconv"
	"strings"
	"time"

	"github.com/xteam/xteam/app"
	"github.com/xteam/xteam/domain/block"
	"github.com/xteam/xteam/domain/incident"
	"github.com/xteam/xteam/domain/instant"
	"github.com/xteam/xteam/domain/secret"
)

// Incident is what was done about a break-in.
type Incident struct {
	ID, Name, State string
	OpenedAt        instant.Instant
	OpenedBy        string
	Since           instant.Instant
	ResolvedAt      instant.Instant
	Targets         []IncidentTarget
	Steps           []IncidentStep
}

// IncidentTarget is what was contained, and how.
type IncidentTarget struct {
	Kind, Value   string
	AskedAt       instant.Instant
	Done          bool
	Failed        string
	SessionsEnded int
	Nodes         []NodeTime
	Missing       []string
}

// IncidentStep is one thing that was done.
type IncidentStep struct {
	At             instant.Instant
	Kind, By, Note string
}

func incidentOf(i *incident.Incident) *Incident {
	out := &Incident{ID: i.ID, Name: i.Name, State: string(i.State), OpenedAt: i.Opened, OpenedBy: i.By, Since: i.Since, ResolvedAt: i.Resolved, Targets: targetsOf(i.Targets), Steps: []IncidentStep{}}
	for _, s := range i.Steps {
		out.Steps = append(out.Steps, IncidentStep{s.At, s.Kind, s.By, s.Note})
	}
	return out
}

func targetsOf(all []incident.Target) []IncidentTarget {
	out := make([]IncidentTarget, 0, len(all))
	for k := range all {
		t := &all[k]
		one := IncidentTarget{Kind: string(t.Kind), Value: t.Value, AskedAt: t.Asked, Done: t.Done(), Failed: t.Failed, SessionsEnded: t.Sessions, Nodes: []NodeTime{}, Missing: append([]string{}, t.Missing...)}
		for _, n := range t.Nodes {
			one.Nodes = append(one.Nodes, NodeTime{n.Node, float64(n.Micros) / 1000})
		}
		out = append(out, one)
	}
	return out
}

func nodeTimes(all []app.NodeTime) []NodeTime {
	out := make([]NodeTime, 0, len(all))
	for _, n := range all {
		out = append(out, NodeTime{n.Node, milliseconds(n.Took)})
	}
	return out
}

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// Incidents is of QueryResolver.
func (q query) Incidents(ctx context.Context, first *int, after *string, open *bool) (*IncidentConnection, error) {
	if _, _, err := admit(ctx, rules.adminRead); err != nil {
		return nil, err
	}
	size, err := pageSize(first)
	if err != nil {
		return nil, err
	}
	b, err := behind(after, ofIncidents, 16)
	if err != nil {
		return nil, err
	}
	page, more, err := q.Services.Incidents.List(ctx, value(open), string(b), size)
	if err != nil {
		return nil, err
	}
	out := &IncidentConnection{Edges: make([]IncidentEdge, len(page)), Nodes: make([]Incident, len(page))}
	cursors := make([]string, len(page))
	for i := range page {
		out.Nodes[i], cursors[i] = *incidentOf(&page[i]), cursor(ofIncidents, []byte(page[i].ID))
		out.Edges[i] = IncidentEdge{cursors[i], &out.Nodes[i]}
	}
	out.PageInfo = pageInfo(cursors, b != nil, more)
	return out, nil
}

// Incident is of QueryResolver.
func (q query) Incident(ctx context.Context, iid *string) (*IncidentStatus, error) {
	if _, _, err := admit(ctx, rules.adminRead); err != nil {
		return nil, err
	}
	st, err := q.Services.Incidents.Status(ctx, value(iid))
	if err != nil {
		return nil, err
	}
	out := &IncidentStatus{Incident: incidentOf(&st.Incident), Contained: st.Took > 0, ContainedMs: milliseconds(st.Took), Undone: st.Undone, MissingNodes: append([]string{}, st.Missing...), AdmittedPercent: st.Percent, IsolatedNodes: []string{}}
	for _, i := range st.Isolated {
		out.IsolatedNodes = append(out.IsolatedNodes, i.Node)
	}
	return out, nil
}

// OpenIncident is of MutationResolver.
func (m mutation) OpenIncident(ctx context.Context, name string, since *string) (*Incident, error) {
	v, who, err := admit(ctx, rules.adminContain)
	if err != nil {
		return nil, err
	}
	from, err := timeOf("since", value(since))
	if err != nil {
		return nil, err
	}
	is, err := m.Incidents.Open(ctx, actor(v, who), name, false, from)
	if err != nil {
		return nil, err
	}
	return incidentOf(&is), nil
}

// timeOf reads a time in RFC 3339; the empty text is 0.
func timeOf(field, text string) (instant.Instant, error) {
	if text == "" {
		return 0, nil
	}
	t, err := time.Parse(time.RFC3339, text)
	if err != nil || t.Year() > 9999 || instant.Of(t) <= 0 {
		return 0, invalid(field, "must be a time in RFC 3339, such as 2026-05-01T12:00:00Z")
	}
	return instant.Of(t), nil
}

// ContainIncident is of MutationResolver.
func (m mutation) ContainIncident(ctx context.Context, iid *string, in ContainIncidentInput) (*IncidentContainment, error) {
	v, who, err := admit(ctx, rules.adminContain)
	if err != nil {
		return nil, err
	}
	for field, all := range map[string][]string{"users": in.Users, "networks": in.Networks, "sessions": in.Sessions, "keys": in.Keys, "apiKeys": in.APIKeys} {
		if len(all) > incident.MaxTargets {
			return nil, invalid(field, "may name at most "+strconv.Itoa(incident.MaxTargets))
		}
	}
	for _, text := range in.Networks {
		if _, err := block.Parse(text); err != nil {
			return nil, invalid("networks", plainly(err))
		}
	}
	seconds := value(in.ExpiresInSeconds)
	if seconds < 0 || seconds > longestBlock {
		return nil, invalid("expiresInSeconds", "must be from 1 to 316224000, or missing")
	}
	before, err := timeOf("issuedBefore", value(in.IssuedBefore))
	if err != nil {
		return nil, err
	}
	did, err := m.Incidents.Contain(ctx, actor(v, who), value(iid), app.Containment{Users: in.Users, Networks: in.Networks, Sessions: in.Sessions, Keys: in.Keys, APIKeys: in.APIKeys, IssuedBefore: before,
		AllSessions: value(in.AllSessions), HoldSignIns: value(in.HoldSignIns), For: time.Duration(seconds) * time.Second, Reason: value(in.Reason), Force: value(in.Force), DryRun: value(in.DryRun)})
	if err != nil {
		return nil, err
	}
	if did.Recorded != nil {
		m.log.Error("What was contained could not be written to its incident", "error", did.Recorded.Error())
	}
	return &IncidentContainment{Incident: did.Incident.ID, Targets: targetsOf(did.Targets), SignInsHeld: did.Held, Contained: did.Took > 0, ContainedMs: milliseconds(did.Took), MissingNodes: append([]string{}, did.Missing...), Recorded: did.Recorded == nil && !value(in.DryRun)}, nil
}

// VerifyIncident is of MutationResolver.
func (m mutation) VerifyIncident(ctx context.Context, iid *string) (*IncidentVerdict, error) {
	v, who, err := admit(ctx, rules.adminExpensive)
	if err != nil {
		return nil, err
	}
	got, err := m.Incidents.Verify(ctx, actor(v, who), value(iid))
	if err != nil {
		return nil, err
	}
	out := &IncidentVerdict{Incident: got.Incident.ID, Ok: got.OK, Tried: []TriedTarget{}, Nodes: nodeTimes(got.Nodes), MissingNodes: append([]string{}, got.Missing...), AuditFindings: []string{}}
	if got.TrailErr != nil {
		m.log.Error("The audit trail cannot be read", "error", got.TrailErr.Error())
		out.AuditFindings = append(out.AuditFindings, "the audit trail cannot be read; the server's log tells why")
	}
	for _, t := range got.Tried {
		out.Tried = append(out.Tried, TriedTarget{string(t.Kind), t.Value, t.OK, t.Seen})
	}
	if got.Trail != nil {
		ok := got.Trail.Holds()
		out.AuditOk, out.AuditRecords = &ok, got.Trail.Records
		for _, f := range got.Trail.Findings {
			out.AuditFindings = append(out.AuditFindings, f.String())
		}
	}
	return out, nil
}

// EradicateIncident is of MutationResolver.
func (m mutation) EradicateIncident(ctx context.Context, iid *string, signingKey *bool, apiKeys []string, reason *string) (*IncidentEradication, error) {
	v, who, err := admit(ctx, rules.adminContain)
	if err != nil {
		return nil, err
	}
	if len(apiKeys) > incident.MaxTargets {
		return nil, invalid("apiKeys", "may name at most "+strconv.Itoa(incident.MaxTargets))
	}
	did, err := m.Incidents.Eradicate(ctx, actor(v, who), value(iid), app.Eradication{SigningKey: value(signingKey), APIKeys: apiKeys, Reason: value(reason)})
	if err != nil {
		return nil, err
	}
	out := &IncidentEradication{Incident: did.Incident.ID, APIKeys: []ReplacedAPIKey{}, ByHand: append([]string{}, did.ByHand...), Recorded: did.Recorded == nil}
	if did.Recorded != nil {
		m.log.Error("What was eradicated could not be written to its incident", "error", did.Recorded.Error())
	}
	if did.Key != nil {
		out.Signs = &did.Key.Key.ID
	}
	for i := range did.APIKeys {
		one := ReplacedAPIKey{Was: did.APIKeys[i].Was.String()}
		if did.APIKeys[i].Err == nil {
			next := newAPIKeyOf(&did.APIKeys[i].Is)
			one.APIKey = &next
		}
		out.APIKeys = append(out.APIKeys, one)
	}
	return out, nil
}

// RecoverIncident is of MutationResolver.
func (m mutation) RecoverIncident(ctx context.Context, iid *string, percent int, note *string) (*IncidentRecovery, error) {
	v, who, err := admit(ctx, rules.adminWrite)
	if err != nil {
		return nil, err
	}
	is, c, err := m.Incidents.Recover(ctx, actor(v, who), value(iid), percent, value(note))
	if err != nil {
		return nil, err
	}
	return &IncidentRecovery{Incident: is.ID, AdmittedPercent: percent, Nodes: nodeTimes(c.Nodes), MissingNodes: append([]string{}, c.Missing...)}, nil
}

// IsolateNode is of MutationResolver.
func (m mutation) IsolateNode(ctx context.Context, iid *string, node string, release, force *bool, note *string) (*NodeIsolation, error) {
	v, who, err := admit(ctx, rules.adminContain)
	if err != nil {
		return nil, err
	}
	is, c, err := m.Incidents.Isolate(ctx, actor(v, who), value(iid), node, value(release), value(force), value(note))
	if err != nil {
		return nil, err
	}
	return &NodeIsolation{Incident: is.ID, Node: node, Isolated: !value(release), Nodes: nodeTimes(c.Nodes), MissingNodes: append([]string{}, c.Missing...)}, nil
}

// ReportIncident is of MutationResolver.
func (m mutation) ReportIncident(ctx context.Context, iid *string) (*IncidentReport, error) {
	v, who, err := admit(ctx, rules.adminExpensive)
	if err != nil {
		return nil, err
	}
	r, err := m.Incidents.Report(ctx, actor(v, who), value(iid))
	if err != nil {
		return nil, err
	}
	out := &IncidentReport{Incident: r.Incident.ID, Markdown: r.Markdown, Affected: []AffectedUser{}, More: r.MoreUsers, From: r.Evidence.From, To: r.Evidence.To, AuditOk: len(r.Evidence.Faults) == 0, AuditFindings: append([]string{}, r.Evidence.Faults...)}
	for _, u := range r.Affected {
		out.Affected = append(out.Affected, AffectedUser{u.ID, u.Username, u.Email, u.Why})
	}
	return out, nil
}

// ResolveIncident is of MutationResolver.
func (m mutation) ResolveIncident(ctx context.Context, iid, note *string, force *bool) (*Incident, error) {
	v, who, err := admit(ctx, rules.adminWrite)
	if err != nil {
		return nil, err
	}
	is, err := m.Incidents.Resolve(ctx, actor(v, who), value(iid), value(note), value(force))
	if err != nil {
		return nil, err
	}
	return incidentOf(&is), nil
}

// DrillIncident is of MutationResolver.
func (m mutation) DrillIncident(ctx context.Context) (*IncidentDrill, error) {
	v, who, err := admit(ctx, rules.adminExpensive)
	if err != nil {
		return nil, err
	}
	d, err := m.Incidents.Drill(ctx, actor(v, who), m.Sessions)
	if err != nil {
		return nil, err
	}
	out := &IncidentDrill{Steps: []DrillStep{}, ContainedMs: milliseconds(d.Contained), Nodes: nodeTimes(d.Nodes), Missing: append([]string{}, d.Missing...), Incident: d.Incident, Passed: d.Passed}
	for _, s := range d.Steps {
		out.Steps = append(out.Steps, DrillStep{s.Name, milliseconds(s.Took), s.Seen, s.OK})
	}
	return out, nil
}

// ReplacedAPIKey is a key that ended, with the one in its place; nil: it could not be replaced.
type ReplacedAPIKey struct {
	Was    string
	APIKey *NewAPIKey
}

// DisownSignIn is of MutationResolver.
func (m mutation) DisownSignIn(ctx context.Context, text string) (int, error) {
	v, _, err := admit(ctx, rules.login)
	if err != nil {
		return 0, err
	}
	if strings.TrimSpace(text) == "" {
		return 0, invalid("token", "is required: it stands in the link")
	}
	return m.Disowner.Disown(ctx, v.Request(), secret.New(text))
}
