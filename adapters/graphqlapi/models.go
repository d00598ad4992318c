package graphqlapi

import (
	"cmp"
	"errors"
	"maps"
	"math"
	"net/netip"
	"slices"

	"github.com/xteam/xteam/app"
	"github.com/xteam/xteam/domain/account"
	"github.com/xteam/xteam/domain/alert"
	"github.com/xteam/xteam/domain/audit"
	"github.com/xteam/xteam/domain/block"
	"github.com/xteam/xteam/domain/instant"
	"github.com/xteam/xteam/domain/keyset"
	"github.com/xteam/xteam/domain/revocation"
	"github.com/xteam/xteam/domain/secret"
	"github.com/xteam/xteam/domain/session"
	"github.com/xteam/xteam/domain/upload"
)

// The types of the schema are those of the domain and of app; what stands here adds a member that they do not have by that name.

// User is an account.
type User struct{ account.Account }

// Text is the id.
func (u User) Text() string { return u.ID.String() }

// IsActive reports whether the account may sign in.
func (u User) IsActive() bool { return !u.Disabled }

// Session is a sign-in, and whether it is the one that asks.
type Session struct {
	session.Session
	Current bool
}

// Text is the id.
func (s Session) Text() string { return s.ID.String() }

// Of is the id of the user.
func (s Session) Of() string { return s.User.String() }

// Agent is what signed in.
func (s Session) Agent() string { return s.Device.UserAgent }

// From is where the sign-in came from.
func (s Session) From() netip.Addr { return s.Device.Address }

// LastAddress is where the last refresh came from.
func (s Session) LastAddress() netip.Addr { return s.LastFrom.Address }

// APIKey is a key as its owner sees it.
type APIKey struct{ app.ListedKey }

// File is a file as its owner sees it.
type File struct{ upload.File }

// Text is the id.
func (f File) Text() string { return f.ID.String() }

// Name is what its owner called it.
func (f File) Name() string { return f.Label.String() }

// Length is its size in bytes.
func (f File) Length() float64 { return float64(f.Size) }

// Text is the id.
func (k APIKey) Text() string { return k.ID.String() }

// Of is the id of the owner.
func (k APIKey) Of() string { return k.Owner.String() }

// Next is the id of the key that took its place.
func (k APIKey) Next() *string {
	if k.Successor.IsZero() {
		return nil
	}
	next := k.Successor.String()
	return &next
}

// ScopeNames lists what it may do.
func (k APIKey) ScopeNames() []string { return k.Scopes.Names() }

// LastAddress is where it was used last.
func (k APIKey) LastAddress() netip.Addr { return k.LastFrom.Address }

// UseCount is how often it was used.
func (k APIKey) UseCount() float64 { return float64(k.Uses) }

// Usual is how often it is used in an hour in which it is.
func (k APIKey) Usual() *float64 {
	usual := float64(k.Habit.Usual())
	if usual == 0 {
		return nil
	}
	return &usual
}

// NetworkTexts are those that it was used from.
func (k APIKey) NetworkTexts() []string {
	texts := []string{}
	for _, p := range k.Networks.List() {
		texts = append(texts, p.String())
	}
	return texts
}

// PerMinute is the limit that it was given.
func (k APIKey) PerMinute() *int {
	if k.Limit == 0 {
		return nil
	}
	n := int(k.Limit)
	return &n
}

// Status is live, retiring, expired or revoked.
func (k APIKey) Status() string {
	var revoked *revocation.RevokedError
	switch {
	case errors.As(k.Ended, &revoked):
		return "revoked"
	case k.Ended != nil:
		return "expired"
	case k.Retires != 0:
		return "retiring"
	}
	return "live"
}

// Reason is why it is revoked.
func (k APIKey) Reason() *string {
	var revoked *revocation.RevokedError
	if !errors.As(k.Ended, &revoked) {
		return nil
	}
	reason := revoked.Reason.String()
	return &reason
}

// NewAPIKey is a key with its text, the one time.
type NewAPIKey struct {
	APIKey APIKey
	Key    secret.Text
}

// NewDecoy is an account that nobody is to use, with the text of its API key, the one time.
type NewDecoy struct {
	User User
	Key  secret.Text
}

func newAPIKeyOf(k *app.IssuedKey) NewAPIKey {
	return NewAPIKey{APIKey{app.ListedKey{Key: k.Key}}, k.Text}
}

// Alert is what a rule has found.
type Alert struct {
	ID             string
	Rule           string
	Severity       audit.Severity
	Group          string
	Since, Last    instant.Instant
	Count, Raised  int
	Sample         []string
	Contain        string
	AcknowledgedAt instant.Instant
	AcknowledgedBy string
}

func alertOf(a *alert.Alert) Alert {
	out := Alert{a.ID, a.Rule, a.Severity, a.Group, a.Since, a.Last, int(min(a.Count, math.MaxInt32)), int(min(a.Raised, math.MaxInt32)), a.Sample, a.Contain, a.Acked, a.AckedBy}
	if out.Sample == nil {
		out.Sample = []string{}
	}
	return out
}

// SigningKey is a key by which tokens are signed.
type SigningKey struct {
	keyset.Key
	Given bool
}

// SigningKeyRotation tells what a rotation did.
type SigningKeyRotation struct {
	KID, Algorithm, Before string
	SignsAt, VerifiesUntil instant.Instant
}

// Tokens is what a sign-in answers.
type Tokens struct {
	AccessToken, RefreshToken secret.Text
	TokenType                 string
	ExpiresIn                 int
}

// RevokeResult tells what a revocation did.
type RevokeResult struct {
	SessionsEnded int
	Counted       bool
	Nodes         []NodeTime
	Hint          *string
}

// NodeTime is how long a node took, in milliseconds.
type NodeTime struct {
	Node string
	Ms   float64
}

func resultOf(r app.Revoked) RevokeResult {
	out := RevokeResult{SessionsEnded: r.SessionsEnded, Counted: !r.AtLeast, Nodes: []NodeTime{}}
	for _, n := range r.Nodes {
		out.Nodes = append(out.Nodes, NodeTime{n.Node, float64(n.Took.Microseconds()) / 1000})
	}
	if r.Hint != "" {
		out.Hint = &r.Hint
	}
	return out
}

// SecurityEvent is one thing that happened.
type SecurityEvent struct{ audit.Event }

// Text is the id.
func (e SecurityEvent) Text() string { return e.ID.String() }

// Details are in the order of their names.
func (e SecurityEvent) Details() []Detail {
	out := make([]Detail, 0, len(e.Event.Details))
	for _, name := range slices.SortedFunc(maps.Keys(e.Event.Details), cmp.Compare[string]) {
		out = append(out, Detail{name, e.Event.Details[name]})
	}
	return out
}

// Detail is one more thing that is known of an event.
type Detail struct{ Name, Value string }

// BlockedIP is an address or network that is turned away.
type BlockedIP struct {
	CIDR, Reason, By     string
	CreatedAt, ExpiresAt instant.Instant
}

func blockedOf(b *block.Block) *BlockedIP {
	out := &BlockedIP{CIDR: b.Prefix.String(), Reason: b.Reason, By: b.By, CreatedAt: b.At}
	if b.Until != instant.Forever {
		out.ExpiresAt = b.Until
	}
	return out
}

// BlockIPInput is what a block takes.
type BlockIPInput struct {
	CIDR             string
	Reason, Until    *string
	ExpiresInSeconds *int
	Force            *bool
}

// LoginInput is what a sign-in takes.
type LoginInput struct {
	Email, Username *string
	Password        secret.Text
}

// RegisterInput is what a new account takes.
type RegisterInput struct {
	Email, Username string
	Password        secret.Text
	FullName        *string
}

// ChangePasswordInput is what a change of password takes.
type ChangePasswordInput struct{ CurrentPassword, NewPassword secret.Text }

// CreateAPIKeyInput is what a new API key takes.
type CreateAPIKeyInput struct {
	Name              string
	Scopes            []string
	ExpiresInDays     *int
	RequestsPerMinute *int
}
