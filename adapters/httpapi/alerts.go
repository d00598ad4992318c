package httpapi

import (
	"context"
	"net/http"
	"net/netip"
	"time"

	"github.com/xteam/xteam/domain/alert"
	"github.com/xteam/xteam/domain/audit"
)

// alertItem is an alert as administrators see it.
type alertItem struct {
	ID             string     `json:"id"`
	Rule           string     `json:"rule"` // as the list of rules names it; test: it means nothing
	Severity       string     `json:"severity"`
	Group          string     `json:"group"` // whom it is about: a user's id or the e-mail address that was tried, an address or a network; empty: everybody
	Since          time.Time  `json:"since"`
	Last           time.Time  `json:"last"`            // the last event that it counts
	Count          uint64     `json:"count"`           // events; of password_spraying accounts, of guessing_from_many_addresses addresses
	Raised         uint64     `json:"raised"`          // how often it was told of; 0 while it is silenced
	Sample         []string   `json:"sample"`          // the last few events: id, kind and address
	Contain        string     `json:"contain"`         // the command that contains it; empty: there is none
	AcknowledgedAt *time.Time `json:"acknowledged_at"` // null while it is open
	AcknowledgedBy string     `json:"acknowledged_by"` // a user's id, or operator; empty while it is open
}

func alertItemOf(a *alert.Alert) alertItem {
	out := alertItem{ID: a.ID, Rule: a.Rule, Severity: a.Severity.String(), Group: a.Group, Since: a.Since.Time(), Last: a.Last.Time(), Count: a.Count, Raised: uint64(a.Raised), Sample: a.Sample, Contain: a.Contain, AcknowledgedBy: a.AckedBy}
	if out.Sample == nil {
		out.Sample = []string{}
	}
	if !a.Open() {
		out.AcknowledgedAt = timeOf(a.Acked)
	}
	return out
}

func (a *API) listAlerts(x *exchange) error {
	q, err := x.query("limit", "cursor", "open")
	if err != nil {
		return err
	}
	limit, err := pageSize(q["limit"])
	if err != nil {
		return err
	}
	behind, err := alertsBehind(q["cursor"])
	if err != nil {
		return err
	}
	if q["open"] != "" && q["open"] != "true" && q["open"] != "false" {
		return invalid("open", "must be true or false")
	}
	all, more, err := a.Alerts.List(x.ctx(), q["open"] == "true", behind, limit)
	if err != nil {
		return err
	}
	page := list[alertItem]{Items: make([]alertItem, 0, len(all))}
	for i := range all {
		page.Items = append(page.Items, alertItemOf(&all[i]))
	}
	if more {
		text := cursorText.EncodeToString(append([]byte{cursorAlerts}, all[len(all)-1].ID...))
		page.Next = &text
	}
	return x.write(http.StatusOK, page)
}

// alertsBehind reads a cursor of the list of alerts; the empty one is the start.
func alertsBehind(text string) (string, error) {
	if text == "" {
		return "", nil
	}
	b, err := parseCursor(text, cursorAlerts, 16)
	return string(b), err
}

func (a *API) showAlert(x *exchange) error {
	is, err := a.Alerts.Find(x.ctx(), x.r.PathValue("id"))
	if err != nil {
		return err
	}
	return x.write(http.StatusOK, alertItemOf(&is))
}

func (a *API) ackAlert(x *exchange) error {
	is, err := a.Alerts.Ack(x.ctx(), x.actor(), x.r.PathValue("id"))
	if err != nil {
		return err
	}
	return x.write(http.StatusOK, alertItemOf(&is))
}

// silenceBody says for how long, and for whom.
type silenceBody struct {
	Seconds int64 `json:"seconds"` // from 60 to 2592000
	Every   bool  `json:"every"`   // every group of the rule, not the alert's alone
}

// silenced is a silence that was just made.
type silenced struct {
	Rule  string    `json:"rule"`  // that of the alert
	Group string    `json:"group"` // *: every group
	Until time.Time `json:"until"` // when it is over
}

func (a *API) silenceAlert(x *exchange) error {
	var in silenceBody
	if err := x.read(&in); err != nil {
		return err
	}
	if in.Seconds < 60 || in.Seconds > 30*24*3600 {
		return invalid("seconds", "must be from 60 to 2592000")
	}
	s, err := a.Alerts.Silence(x.ctx(), x.actor(), x.r.PathValue("id"), in.Every, time.Duration(in.Seconds)*time.Second)
	if err != nil {
		return err
	}
	return x.write(http.StatusOK, silenced{s.Rule, s.Group, s.Until.Time()})
}

// containBody says whether it is meant.
type containBody struct {
	DryRun bool `json:"dry_run"`
}

// containedAlert is what was done, or would be.
type containedAlert struct {
	DryRun        bool     `json:"dry_run"`
	Blocked       []string `json:"blocked"`   // for an hour
	Spared        []string `json:"spared"`    // somebody had signed in from there before the alert began, or it is not to be blocked without force
	SignedIn      []string `json:"signed_in"` // the users who have signed in from what is blocked since the alert began: a password may have been guessed
	SessionsEnded int      `json:"sessions_ended"`
	KeysRevoked   int      `json:"api_keys_revoked"` // 1: the key that is misused
	More          bool     `json:"more"`             // there is more than is looked through, or blocked, at a time: contain it again
}

func (a *API) containAlert(x *exchange) error {
	var in containBody
	if err := x.readOptional(&in); err != nil {
		return err
	}
	did, err := a.Alerts.Contain(x.ctx(), x.actor(), x.r.PathValue("id"), in.DryRun)
	if err != nil {
		return err
	}
	return x.write(http.StatusOK, containedAlert{in.DryRun, texts(did.Blocked), texts(did.Spared), append([]string{}, did.SignedIn...), did.SessionsEnded, did.KeysRevoked, did.More})
}

func texts(all []netip.Prefix) []string {
	out := make([]string, 0, len(all))
	for _, p := range all {
		out = append(out, p.String())
	}
	return out
}

// testedAlert is an alert that means nothing, and whether it has arrived.
type testedAlert struct {
	alertItem `json:",inline"`
	Delivered *bool  `json:"delivered"` // the receiver of ALERT_WEBHOOK_URL has taken it; null: there is none, or that is not known
	Reason    string `json:"reason"`    // why it has not, or is not known to have
}

// testWithin is how long a test alert may take to arrive.
const testWithin = 12 * time.Second

func (a *API) testAlert(x *exchange) error {
	var behind uint64
	var unknown error
	if a.Sinks != nil {
		behind, unknown = a.Sinks.End(x.ctx())
	}
	is, eid, err := a.Alerts.Test(x.ctx(), x.actor())
	if err != nil {
		return err
	}
	out := testedAlert{alertItem: alertItemOf(&is), Reason: "the log alone has it: no receiver is set (ALERT_WEBHOOK_URL)"}
	switch {
	case eid.IsZero():
		out.Reason = "test alerts are silenced"
	case unknown == nil:
		ctx, cancel := context.WithTimeout(x.ctx(), testWithin)
		defer cancel()
		took, has, err := a.Sinks.Took(ctx, "webhook", behind, eid)
		if has && err == nil {
			out.Delivered, out.Reason = &took, ""
		}
		if has && !took {
			out.Reason = "its receiver has not taken it in time: the log says why, on the node that delivers"
		}
	}
	return x.write(http.StatusCreated, out)
}

// alertRule is a row of the table by which alerts are raised.
type alertRule struct {
	Name            string `json:"name"`    // as alerts and settings have it
	Meaning         string `json:"meaning"` // what it counts
	Severity        string `json:"severity"`
	Threshold       int    `json:"threshold"`        // 0: it is off
	WindowSeconds   int64  `json:"window_seconds"`   // within which so many must come
	CooldownSeconds int64  `json:"cooldown_seconds"` // within which nobody is told again
}

func (a *API) alertRules(x *exchange) error {
	if _, err := x.query(); err != nil {
		return err
	}
	page := list[alertRule]{Items: []alertRule{}}
	for _, r := range a.Alerts.Rules() {
		page.Items = append(page.Items, alertRule{r.Name, r.Meaning, audit.Severity.String(r.Severity), r.Threshold, int64(r.Window / time.Second), int64(r.Cooldown / time.Second)})
	}
	return x.write(http.StatusOK, page)
}
