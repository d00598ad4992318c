package app

import (
	"context"
	"errors"

	"github.com/xteam/xteam/domain/apikey"
)

// Refusals of transports.
var (
	ErrTwoCredentials  = errors.New("send one credential, not two")
	ErrHandshakeHeader = errors.New(`a handshake at /graphql brings no credential in a header: send it in the payload of connection_init, as {"Authorization": "Bearer …"}`)
	ErrCrossOrigin     = errors.New("a page of another origin may not ask this")
	ErrUpgrade         = errors.New("this is for WebSockets (RFC 6455) of version 13")
)

// Access is who may use something.
type Access uint8

// Who may. The zero value lets everybody in.
const (
	Anyone    Access = iota
	SignedIn         // an access token that the guard admits, or an API key with the scope
	AdminOnly        // the same of an administrator, or the operator
)

// Rule is what one use case asks of whoever wants it, through whatever transport.
type Rule struct {
	Class     Class
	Access    Access
	Contains  bool          // it ends what has been stolen, or shows it: another session's flood does not block it
	BySession bool          // it contains for who is signed in alone: to an API key it is like others
	Scope     apikey.Scopes // what an API key needs; 0: no key is taken, but one with apikey.Admin where Access is AdminOnly
}

// Visit is one request as a transport sees it that stands inside another: its id, its origin, its host and its headers have been looked at, nobody was identified and
// nothing was charged. Its methods may be called at once and many times: each Admit is charged by itself.
type Visit interface {
	// Request is what is known of the request beside its content.
	Request() Request
	// Admit identifies who asks by the credential of the request, charges them for one use, and tells of a refusal, all as for a route of that rule. The caller is zero for
	// Anyone and for the operator.
	Admit(Rule) (Caller, error)
	// AdmitBy is Admit with a credential that came in another way than in a header or cookie; the request must bring none there.
	AdmitBy(credential string, r Rule) (Caller, error)
	// Charge takes from further buckets, the address added, as a use case asks that is charged otherwise than by its rule (Refresh).
	Charge(Charge) error
	// Actor is who was admitted last, as one who asks for an administrator's act.
	Actor() Actor
	// OwnPage reports whether a page of this service or of an origin that is listed asks, or no page at all, as far as browsers say. A transport over which pages of others could use what browsers add
	// by themselves, or what they cannot be kept from, refuses with ErrCrossOrigin what it is not.
	OwnPage() bool
	// Refuse answers an error as every other, unless the answer has begun.
	Refuse(error)
}

type visitKey struct{}

// WithVisit is for the transport that others stand in.
func WithVisit(ctx context.Context, v Visit) context.Context {
	return context.WithValue(ctx, visitKey{}, v)
}

// VisitOf answers the visit of a request's context; false where there is none.
func VisitOf(ctx context.Context) (Visit, bool) {
	v, ok := ctx.Value(visitKey{}).(Visit)
	return v, ok
}
