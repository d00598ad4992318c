package app

import (
	"time"

	"github.com/xteam/xteam/domain/audit"
)

// EventView is a security event as transports write it in JSON.
type EventView struct {
	ID        string            `json:"id"`
	Time      time.Time         `json:"time"`                 // whole microseconds, UTC
	Kind      string            `json:"kind"`                 // what happened: authentication_failed, token_revoked, …
	Severity  string            `json:"severity"`             // info, warning or critical
	Outcome   string            `json:"outcome"`              // success or failure
	Actor     string            `json:"actor,omitempty"`      // who did it: a user id, operator or system; empty when nobody was signed in
	Subject   string            `json:"subject,omitempty"`    // whom or what it concerns: an id
	Email     string            `json:"email,omitempty"`      // the address or name that was tried
	IPAddress string            `json:"ip_address,omitempty"` // where the request came from
	UserAgent string            `json:"user_agent,omitempty"` // what sent it
	RequestID string            `json:"request_id,omitempty"` // by which the server's log tells of it
	Reason    string            `json:"reason,omitempty"`     // why
	Details   map[string]string `json:"details,omitempty"`    // what else is known
}

// ViewOf is how transports write an event. It shares the event's details.
func ViewOf(e *audit.Event) EventView {
	return EventView{ID: e.ID.String(), Time: e.Time.Time(), Kind: string(e.Kind), Severity: e.Severity.String(), Outcome: string(e.Outcome), Actor: e.Actor, Subject: e.Subject, Email: e.Email,
		IPAddress: e.IPAddress, UserAgent: e.UserAgent, RequestID: e.RequestID, Reason: e.Reason, Details: e.Details}
}
