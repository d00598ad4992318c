// Package audit is what is told of everything that matters to security: one type of event, with a fixed set of kinds.
package audit

import (
	"github.com/xteam/xteam/domain/id"
	"github.com/xteam/xteam/domain/instant"
)

// Kind is what happened. The text is stored and exported: it never changes meaning.
type Kind string

// The kinds of event.
const (
	AuthenticationFailed    Kind = "authentication_failed"
	AuthenticationSucceeded Kind = "authentication_succeeded"
	AccountCreated          Kind = "account_created"
	RegistrationRefused     Kind = "registration_refused"
	PasswordChanged         Kind = "password_changed"
	PasswordRehashed        Kind = "password_rehashed"
	ProfileChanged          Kind = "profile_changed"
	EmailChanged            Kind = "email_changed" // and perhaps other names with it
	RoleChanged             Kind = "role_changed"
	AccountDisabled         Kind = "account_disabled"
	AccountEnabled          Kind = "account_enabled"
	AccountUnlocked         Kind = "account_unlocked" // the wrong passwords that were tried at it are forgotten
	TokenRevoked            Kind = "token_revoked"
	SessionRefreshed        Kind = "session_refreshed"
	RefreshReused           Kind = "refresh_reused"
	AccessRefused           Kind = "access_refused"
	APIKeyCreated           Kind = "api_key_created"
	APIKeyRotated           Kind = "api_key_rotated"
	APIKeyRevoked           Kind = "api_key_revoked"
	APIKeyRefused           Kind = "api_key_refused"
	APIKeyAnomaly           Kind = "api_key_anomaly" // it is used as it was not before
	APIKeyExpiring          Kind = "api_key_expiring"
	AddressBlocked          Kind = "address_blocked"
	AddressUnblocked        Kind = "address_unblocked"
	PermissionDenied        Kind = "permission_denied"
	RateLimited             Kind = "rate_limited"
	AttemptsLimited         Kind = "attempts_limited"
	KeyChanged              Kind = "key_changed"
	EpochRaised             Kind = "epoch_raised"
	CanaryFailed            Kind = "canary_failed"         // nodes have not said that they refuse a token that was revoked
	SourceHealed            Kind = "source_healed"         // what a source of revocations had lost was put back
	StoreSessionForeign     Kind = "store_session_foreign" // somebody has a session of the database or of Redis from outside the networks that are allowed
	HoneytokenTouched       Kind = "honeytoken_touched"    // a credential was tried that nobody is to use
	AlertRaised             Kind = "alert_raised"          // or raised again
	AlertAcknowledged       Kind = "alert_acknowledged"
	AlertSilenced           Kind = "alert_silenced"
	SignInDisowned          Kind = "sign_in_disowned"  // its user says that it was not theirs, and it has ended
	SignInHeldBack          Kind = "sign_in_held_back" // its password is right, and not everybody is let in after an incident
	IncidentOpened          Kind = "incident_opened"
	IncidentContained       Kind = "incident_contained"
	IncidentEradicated      Kind = "incident_eradicated"
	IncidentVerified        Kind = "incident_verified" // what was contained was tried again
	IncidentRecovering      Kind = "incident_recovering"
	IncidentReported        Kind = "incident_reported"
	IncidentResolved        Kind = "incident_resolved"
	NodeIsolated            Kind = "node_isolated" // it serves nobody
	NodeReleased            Kind = "node_released"
	AuditReviewed           Kind = "audit_reviewed"
	AuditExported           Kind = "audit_exported"
	AuditCut                Kind = "audit_cut" // records that were too old to be kept are gone
	PersonalDataErased      Kind = "personal_data_erased"
	EventUnreadable         Kind = "event_unreadable" // it stands for one that was changed in the store, so that it cannot be read: see StandIn
	FileUploaded            Kind = "file_uploaded"
	FileDeleted             Kind = "file_deleted"
)

// messages are the texts of a log line's msg; the first three of the document that the product follows are word for word.
var messages = map[Kind]string{
	AuthenticationFailed:    "Authentication failed",
	AuthenticationSucceeded: "Authentication succeeded",
	AccountCreated:          "Account created",
	RegistrationRefused:     "Registration refused",
	PasswordChanged:         "Password changed",
	PasswordRehashed:        "Password rehashed",
	ProfileChanged:          "Profile changed",
	EmailChanged:            "E-mail address changed",
	RoleChanged:             "Role changed",
	AccountDisabled:         "Account disabled",
	AccountEnabled:          "Account enabled",
	AccountUnlocked:         "Account unlocked",
	TokenRevoked:            "Token revoked",
	SessionRefreshed:        "Session refreshed",
	RefreshReused:           "Refresh token reused",
	AccessRefused:           "Access refused",
	APIKeyCreated:           "API key created",
	APIKeyRotated:           "API key rotated",
	APIKeyRevoked:           "API key revoked",
	APIKeyRefused:           "API key refused",
	APIKeyAnomaly:           "API key used unusually",
	APIKeyExpiring:          "API key expires soon",
	AddressBlocked:          "Address blocked",
	AddressUnblocked:        "Address unblocked",
	PermissionDenied:        "Permission denied",
	RateLimited:             "Rate limit exceeded",
	AttemptsLimited:         "Too many attempts at a password",
	KeyChanged:              "Signing key changed",
	EpochRaised:             "Epoch raised",
	CanaryFailed:            "Canary failed",
	SourceHealed:            "Lost revocations put back",
	StoreSessionForeign:     "Store session from outside",
	HoneytokenTouched:       "Honeytoken touched",
	AlertRaised:             "Alert raised",
	AlertAcknowledged:       "Alert acknowledged",
	AlertSilenced:           "Alert silenced",
	SignInDisowned:          "Sign-in disowned",
	SignInHeldBack:          "Sign-in held back",
	IncidentOpened:          "Incident opened",
	IncidentContained:       "Incident contained",
	IncidentEradicated:      "Incident eradicated",
	IncidentVerified:        "Incident verified",
	IncidentRecovering:      "Incident recovering",
	IncidentReported:        "Incident reported",
	IncidentResolved:        "Incident resolved",
	NodeIsolated:            "Node isolated",
	NodeReleased:            "Node released",
	AuditReviewed:           "Audit trail reviewed",
	AuditExported:           "Audit trail exported",
	AuditCut:                "Audit trail cut",
	PersonalDataErased:      "Personal data erased",
	EventUnreadable:         "Event unreadable",
	FileUploaded:            "File uploaded",
	FileDeleted:             "File deleted",
}

// Kinds lists every kind, in no order.
func Kinds() []Kind {
	all := make([]Kind, 0, len(messages))
	for k := range messages {
		all = append(all, k)
	}
	return all
}

// Message is the text of the kind's log line.
func (k Kind) Message() string {
	if m, ok := messages[k]; ok {
		return m
	}
	return string(k)
}

// Severity is how loud an event is. The numbers are stored: they never change meaning.
type Severity uint8

// The severities.
const (
	Info     Severity = 1
	Warning  Severity = 2
	Critical Severity = 3
)

// String is info, warning or critical.
func (s Severity) String() string {
	switch s {
	case Info:
		return "info"
	case Warning:
		return "warning"
	case Critical:
		return "critical"
	}
	return "unknown"
}

// Outcome is how what happened ended.
type Outcome string

// The outcomes.
const (
	Success Outcome = "success"
	Failure Outcome = "failure"
)

// Event is one thing that happened. It never holds a password, a token or a key; Email, IPAddress, UserAgent and Details may
// hold personal data, so stores keep them sealed.
type Event struct {
	ID        id.Event
	Time      instant.Instant
	Kind      Kind
	Severity  Severity
	Outcome   Outcome
	Actor     string // who did it: a user id, "operator", "system", or empty when nobody was signed in
	Subject   string // whom it concerns: a user id, a session id, a kid, or empty
	Email     string // the e-mail or name that was tried, as far as it is one; at most 254 bytes
	IPAddress string
	UserAgent string // cut to MaxUserAgent bytes
	RequestID string
	Reason    string            // why, in the words of the contract: logout, refresh_reuse, credentials_invalid, …
	Details   map[string]string // what else is worth keeping; a few short texts
}

// MaxUserAgent is how much of a User-Agent is kept, in bytes.
const MaxUserAgent = 256
