// Package app holds the use cases: it sequences what the domain decides and what the ports keep. Its types are concrete; transports hold them directly.
package app

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/xteam/xteam/app/view"
	"github.com/xteam/xteam/domain/account"
	"github.com/xteam/xteam/domain/apikey"
	"github.com/xteam/xteam/domain/audit"
	"github.com/xteam/xteam/domain/id"
	"github.com/xteam/xteam/domain/instant"
	"github.com/xteam/xteam/domain/secret"
	"github.com/xteam/xteam/domain/session"
	"github.com/xteam/xteam/domain/system"
	"github.com/xteam/xteam/domain/token"
	"github.com/xteam/xteam/ports"
)

// Operator is the actor of whoever may open the store itself or its socket.
const Operator = "operator"

// System is the actor of what the product does by itself.
const System = "system"

// ErrForbidden refuses a caller who is known and may not do what was asked.
var ErrForbidden = errors.New("the caller may not do this")

// Request is what is known of a request beside its content.
type Request struct {
	ID     string         // names the request in logs and events
	Origin session.Origin // where it comes from
}

// Actor is who asks for an administrator's act.
type Actor struct {
	Name    string    // a user id, Operator or System
	Key     id.APIKey // the key by which that user asks; zero when they are signed in
	Request Request
	Force   bool // the Operator insists on what would leave nobody who can undo it
}

// Caller is who a guarded request comes from.
type Caller struct {
	Claims *token.Claims // shared: not to be changed; of an API key they stand for it (token.Claims.APIKey)
	Scopes apikey.Scopes // of an API key: what it may do now
	Limit  *Policy       // of an API key that has a limit of its own; else nil
}

// IsKey reports whether the caller is a program with an API key, in the name of its owner.
func (c Caller) IsKey() bool { return c.Claims != nil && !c.Claims.APIKey.IsZero() }

// May reports whether the caller may do what that scope opens. Who is signed in may, as far as their role goes; a key must have it.
func (c Caller) May(s apikey.Scopes) bool { return !c.IsKey() || s != 0 && c.Scopes.Has(s) }

// User is the caller's account.
func (c Caller) User() id.User { return c.Claims.Subject }

// Session is the caller's sign-in.
func (c Caller) Session() id.Session { return c.Claims.Session }

// IsAdmin reports whether the caller is an administrator, or a key of one with the scope for it.
func (c Caller) IsAdmin() bool { return c.Claims.HasRole(string(account.RoleAdmin)) }

// Actor is the caller as one who asks for an administrator's act.
func (c Caller) Actor(r Request) Actor {
	return Actor{Name: c.User().String(), Key: c.Claims.APIKey, Request: r}
}

// signs names the actor in the event of what they did, and the key by which they did it. The details are kept, and belong to the event.
func (a Actor) signs(e *audit.Event) {
	e.Actor = a.Name
	if a.Key.IsZero() {
		return
	}
	if e.Details == nil {
		e.Details = map[string]string{}
	}
	e.Details["by_api_key"] = a.Key.String()
}

// Stores are the ports of one database.
type Stores struct {
	Accounts    ports.Accounts
	Sessions    ports.Sessions
	APIKeys     ports.APIKeys
	Keys        ports.Keys
	System      ports.System
	Blocks      ports.Blocks
	Revocations ports.StoredRevocations
	Turns       ports.Turns // nil: no other process uses the database
	Events      ports.Events
	Trail       ports.Trail
	TrailCare   ports.TrailCare
	Cursors     ports.Cursors
	Alerts      ports.Alerts
	Incidents   ports.Incidents
	Uploads     ports.Uploads // nil: there are none
}

// Tunables are the settings that the use cases share.
type Tunables struct {
	Issuer   string // claim iss
	Audience string // claim aud
	ClientID string // claim client_id (RFC 9068, section 2.2); default: the audience
	Access   time.Duration
	Refresh  time.Duration
	Session  time.Duration // absolute
	Leeway   time.Duration

	Environment apikey.Environment // of API keys; default apikey.Development

	MaxSessions int // of one user at a time; default DefaultMaxSessions
}

// DefaultMaxSessions is how many sessions a user may have at a time unless Tunables says otherwise.
const DefaultMaxSessions = 100

// longestAccess is the longest life of an access token that can be configured.
const longestAccess = 24 * time.Hour

// Validate says in one sentence what cannot be. Lives are bounded below by the second, in which tokens count time.
func (t Tunables) Validate() error {
	const day = longestAccess
	bounds := func(what string, is, least, most time.Duration) error {
		if is < least || is > most {
			return fmt.Errorf("%s is %v: it must be between %v and %v", what, is, least, most)
		}
		return nil
	}
	err := cmp.Or(
		bounds("the leeway", t.Leeway, 0, token.MaxLeeway),
		bounds("the life of an access token", t.Access, time.Second, day),
		bounds("the life of a session", t.Session, time.Second, 3650*day),
		bounds("the life of an unused refresh token", t.Refresh, time.Second, min(365*day, t.Session)))
	if err == nil && t.MaxSessions < 0 {
		err = fmt.Errorf("the most sessions of a user are %d: it must be 1 or more, or 0 for %d", t.MaxSessions, DefaultMaxSessions)
	}
	switch t.environment() {
	case apikey.Development, apikey.Staging, apikey.Production:
	default:
		err = cmp.Or(err, fmt.Errorf("the environment is %q: it must be dev, stg or prd", t.Environment))
	}
	return err
}

func (t *Tunables) environment() apikey.Environment { return cmp.Or(t.Environment, apikey.Development) }

// Policy is what the guard holds tokens against.
func (t Tunables) Policy() token.Policy {
	return token.Policy{Issuer: t.Issuer, Audience: t.Audience, Leeway: t.Leeway}
}

// Core is what all use cases stand on. All fields but Rotator, Pending, Nodes, Healing, Clocks, Incidents, Limiter and Logger are needed.
type Core struct {
	Stores    Stores
	View      *view.View
	Codec     ports.Codec
	Passwords ports.Passwords
	MACs      ports.Authenticator
	Journal   ports.Journal
	Random    io.Reader        // of ids and secrets; safe for concurrent use, as crypto/rand.Reader is
	Now       func() time.Time // the wall clock
	Tunables  Tunables
	Rotator   *Rotator   // of signing keys, which makes itself known; nil: they never change
	Pending   *Pending   // keeps revocations that are in force and not written down yet; nil: what the database does not take is not in force
	Nodes     *Nodes     // this one and the others, which makes itself known; nil: this one is alone
	Healing   *Healing   // of what sources of revocations lost, which makes itself known; nil: there is none
	Clocks    *Clocks    // of the stores; nil: there is none but this node's
	Incidents *Incidents // who may sign in, and whether this node serves, which makes itself known; nil: everybody may, and it does
	Limiter   *Limiter   // of attempts at passwords, and counts what is told of refusals; nil: there may be any number of both

	Logger *slog.Logger // of what fails beside an answer that stands; nil: nothing is logged
}

func (c *Core) now() instant.Instant { return instant.Of(c.Now()) }

// Start notes the configured lifetime of access tokens in the database. It is to be called once before the first token is issued. It refuses tunables that
// cannot be.
func (c *Core) Start(ctx context.Context) error {
	if err := c.Tunables.Validate(); err != nil {
		return err
	}
	s, err := c.Stores.System.Load(ctx)
	if err != nil || s.LongestAccess >= c.Tunables.Access {
		return err
	}
	return c.Stores.System.Update(ctx, func(s system.State) (system.State, ports.Effects, error) {
		return s.Configure(c.Tunables.Access), ports.Effects{}, nil
	})
}

// horizon is when the last access token that was issued by now has surely expired.
func (c *Core) horizon(ctx context.Context, now instant.Instant) (instant.Instant, error) {
	s, err := c.Stores.System.Load(ctx)
	if err != nil {
		return 0, err
	}
	return s.Horizon(now, c.Tunables.Leeway), nil
}

// turn waits until nobody else, on any node, has the turn of that name. Whoever waits for it on this node does so before, by other means.
func (c *Core) turn(ctx context.Context, name string) (leave func(), err error) {
	if c.Stores.Turns == nil {
		return func() {}, nil
	}
	return c.Stores.Turns.Turn(ctx, name)
}

// surely is horizon, or, while the database does not answer and what is revoked is put in force all the same, a time that is late enough whatever is configured.
func (c *Core) surely(ctx context.Context, now instant.Instant) (instant.Instant, error) {
	until, err := glance(ctx, c, func(ctx context.Context) (instant.Instant, error) { return c.horizon(ctx, now) })
	if c.Pending != nil && outage(err) {
		return system.State{LongestAccess: longestAccess}.Horizon(now, c.Tunables.Leeway), nil
	}
	return until, err
}

// felt makes the effects of a committed change felt: in this node's view at once, then at the other sources, then in the journal. The order is the
// product's promise: when the call that follows answers, this node refuses what was withdrawn. A caller who has gone stops none of it.
func (c *Core) felt(ctx context.Context, e ports.Effects) {
	ctx = context.WithoutCancel(ctx)
	if len(e.Revocations) > 0 {
		c.View.Publish(ctx, e.Revocations...)
		witnessed(ctx, e.Revocations)
	}
	c.Journal.Write(ctx, e.Events...)
}

// tell records events that come with no change of state.
func (c *Core) tell(ctx context.Context, events ...audit.Event) error {
	if err := c.Stores.Events.Record(ctx, events...); err != nil {
		return err
	}
	c.Journal.Write(context.WithoutCancel(ctx), events...)
	return nil
}

// event is an event of this moment. A random source that fails fails the change that the event tells of.
func (c *Core) event(r Request, k audit.Kind, sev audit.Severity, out audit.Outcome) (audit.Event, error) {
	eid, err := id.New[id.Event](c.Random)
	if err != nil {
		return audit.Event{}, unavailable("draw an event id", err)
	}
	e := audit.Event{ID: eid, Time: c.now(), Kind: k, Severity: sev, Outcome: out, UserAgent: cut(r.Origin.UserAgent, audit.MaxUserAgent), RequestID: r.ID}
	if r.Origin.Address.IsValid() {
		e.IPAddress = r.Origin.Address.String()
	}
	return e, nil
}

// unavailable is a fault of this machine that asking again may cure.
func unavailable(what string, err error) error {
	return errors.Join(ports.ErrUnavailable, errors.New(what+": "+err.Error()))
}

// cut is what is kept of a text that a client or a person chose: nothing that has the form of a credential, at most n bytes, in valid UTF-8, and no part of a character.
func cut(s string, n int) string {
	s = strings.ToValidUTF8(string(secret.Scrub([]byte(s))), "\uFFFD")
	if len(s) <= n {
		return s
	}
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}
