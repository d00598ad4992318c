package app

import (
	"context"
	"errors"
	"time"

	"github.com/xteam/xteam/app/view"
	"github.com/xteam/xteam/domain/apikey"
	"github.com/xteam/xteam/domain/audit"
	"github.com/xteam/xteam/domain/id"
	"github.com/xteam/xteam/domain/instant"
	"github.com/xteam/xteam/domain/revocation"
	"github.com/xteam/xteam/domain/session"
	"github.com/xteam/xteam/domain/token"
	"github.com/xteam/xteam/ports"
)

// Guard decides whether a request that carries an access token or an API key is let in. For a token it never leaves the process: the token's signature, its
// claims and the view of the revocations are all in memory. A key is read from the store at most once in keyMemory, and when its owner has changed.
type Guard struct {
	core   *Core
	codec  ports.Codec
	policy token.Policy
	view   *view.View
	keys   *keyBook
	decoys decoys // that were tried here
}

// NewGuard is a guard over the core's codec and view.
func NewGuard(c *Core) *Guard {
	return &Guard{core: c, codec: c.Codec, policy: c.Tunables.Policy(), view: c.View, keys: newKeyBook()}
}

// Admit answers who the bearer of an access token is, or why the token is refused, in this order: token.ErrMissing, token.ErrMalformed,
// token.ErrInvalid, token.ErrExpired, *revocation.RevokedError, revocation.ErrStale. A token whose key is not known may wait for one look for new keys. Beside the last three the caller is answered too, for the log alone: the
// token was good once, and says truly whose it was. One that is invalid names nobody.
func (g *Guard) Admit(bearer string) (Caller, error) { return g.admit(bearer, &g.policy) }

// admit is Admit under another policy: of a canary, which is judged by the very same lines.
func (g *Guard) admit(bearer string, policy *token.Policy) (Caller, error) {
	if bearer == "" {
		return Caller{}, token.ErrMissing
	}
	claims, err := g.codec.Parse(bearer)
	if errors.Is(err, token.ErrUnknownKey) && g.core.Rotator != nil && g.core.Rotator.LookUp() {
		claims, err = g.codec.Parse(bearer)
	}
	if err != nil {
		return Caller{}, err
	}
	if err := policy.Check(claims, g.core.now()); errors.Is(err, token.ErrExpired) {
		return Caller{Claims: claims}, err
	} else if err != nil {
		return Caller{}, err
	}
	return Caller{Claims: claims}, g.view.Check(claims)
}

// AdmitKey answers who the bearer of an API key is, or why the key is refused, in this order: token.ErrMissing, apikey.ErrMalformed, apikey.ErrEnvironment, *ratelimit.LimitedError, apikey.ErrInvalid,
// apikey.ErrExpired, *revocation.RevokedError of the kind APIKey, revocation.ErrStale. A store that must be asked and does not answer is ports.ErrUnavailable.
// The LimitedError is of an address that has nothing left to spend, where a key that was not proved before would have to be read.
// As with Admit, the caller is answered beside the last three of the refusals: the key was good once. What proves nothing learns nothing of the key.
func (g *Guard) AdmitKey(ctx context.Context, r Request, text string) (Caller, error) {
	if text == "" {
		return Caller{}, token.ErrMissing
	}
	now := g.core.Now()
	k, err := g.known(text, now, func(p apikey.Proof) (*knownKey, error) { return g.read(ctx, r, p) })
	switch {
	case k == nil:
		return Caller{}, err
	case err == nil:
		g.keys.note(k.used, instant.Of(now), r.Origin)
	}
	return k.caller(), err
}

// known answers the key of a text, from memory where it proved it here before, else as read answers it; and beside it why it is refused, as AdmitKey says. It is nil when the text proves nothing.
func (g *Guard) known(text string, now time.Time, read func(apikey.Proof) (*knownKey, error)) (*knownKey, error) {
	if k := g.keys.again(text, now); k != nil {
		if _, err := g.judge(k, now); err == nil {
			return k, nil
		}
	}
	p, err := apikey.Parse(text)
	if err != nil {
		return nil, err
	}
	if p.Environment != g.core.Tunables.environment() {
		return nil, apikey.ErrEnvironment
	}
	k := g.keys.get(p.ID, now)
	for reads := 0; ; k = nil {
		if k == nil {
			if k, err = read(p); err != nil {
				return nil, err
			}
			g.keys.put(k)
			reads++
		} else if !k.key.Proved(p) {
			if _, err = read(p); err == nil { // as for a key that is not known: else its time would tell which keys are in use
				err = apikey.ErrInvalid
			}
			return nil, err
		}
		if k.again.Load() == nil {
			again := apikey.AgainOf(text)
			k.again.Store(&again)
		}
		changed, err := g.judge(k, now)
		if err == nil || !changed || reads == maxReads {
			return k, err
		}
	}
}

// judge is why a key that is known is refused, or nil. Where its owner is not as they were when it was read, changed is true: it is to be read again.
func (g *Guard) judge(k *knownKey, now time.Time) (changed bool, err error) {
	if err := k.refusal(instant.Of(now)); err != nil {
		return false, err
	}
	err = g.view.Check(&k.claims)
	var revoked *revocation.RevokedError
	if errors.As(err, &revoked) {
		changed = revoked.Kind != revocation.APIKey
		revoked.Kind = revocation.APIKey
	}
	return changed, err
}

// Again answers who the bearer of an API key is by now that was admitted before and has stayed, or why the key would not be let in any more, with the last three refusals of AdmitKey and its faults. A key
// that may do less than it could when it was admitted is ErrForbidden.
func (g *Guard) Again(ctx context.Context, c Caller) (Caller, error) {
	now := g.core.Now()
	k := g.keys.get(c.Claims.APIKey, now)
	for reads := 0; ; k = nil {
		if k == nil {
			var err error
			if k, err = g.core.know(ctx, c.Claims.APIKey, func(*apikey.Key) bool { return true }); err != nil { // it was proved then
				return Caller{}, err
			}
			g.keys.put(k)
			reads++
		}
		changed, err := g.judge(k, now)
		switch {
		case err == nil && !k.scopes.Has(c.Scopes):
			return k.caller(), ErrForbidden
		case err == nil, !changed, reads == maxReads:
			return k.caller(), err
		}
	}
}

// read asks the store for a key. Whoever has not proved it here before may be guessing, and what is left to their address bounds how much is read for that: the transport
// charges a guess, and a key that is proved costs nothing.
func (g *Guard) read(ctx context.Context, r Request, p apikey.Proof) (*knownKey, error) {
	return g.readFor(ctx, r, r, p)
}

// readFor is read of a key that somebody else than its bearer asks about: asks is whose address bounds it, and shown is what is known of who touched a decoy's.
func (g *Guard) readFor(ctx context.Context, asks, shown Request, p apikey.Proof) (*knownKey, error) {
	if was := g.keys.last(p.ID); was == nil || !was.key.Proved(p) {
		back, err := g.core.Limiter.lend(ctx, asks.Origin.Address)
		if err != nil {
			return nil, err
		}
		defer back()
	}
	k, err := g.core.knowProved(ctx, p)
	if decoy := (*decoyKeyError)(nil); errors.As(err, &decoy) {
		g.touchedKey(ctx, shown, decoy)
		return nil, apikey.ErrInvalid
	}
	return k, err
}

// ScopeError refuses an API key what it was not made for. It matches ErrForbidden.
type ScopeError struct {
	Scope apikey.Scopes // what it lacks; 0 where no key is taken
}

func (e *ScopeError) Error() string {
	if e.Scope == 0 {
		return "an API key is not taken here: sign in"
	}
	return "the API key lacks the scope " + e.Scope.String()
}

// Is makes a ScopeError match ErrForbidden.
func (e *ScopeError) Is(target error) bool { return target == ErrForbidden }

// Require answers nil when the caller may do what the scope opens, and else a *ScopeError, of which the journal is told as of a credential that is refused: it is not
// kept, for whoever holds a key can make any number of them. With scope 0 it refuses every API key.
func (g *Guard) Require(ctx context.Context, r Request, c Caller, s apikey.Scopes, what string) error {
	if c.May(s) {
		return nil
	}
	g.deniedKey(ctx, r, c, what)
	return &ScopeError{s}
}

// deniedKey tells the journal that a good API key asked for what is not for it.
func (g *Guard) deniedKey(ctx context.Context, r Request, c Caller, what string) {
	g.core.tellRefused(ctx, refusal{kind: audit.APIKeyRefused, request: r, reason: "forbidden", subject: c.User(), key: c.Claims.APIKey, endpoint: what})
}

// Refused tells the journal of a request for what that Admit or AdmitKey refused with c and err.
func (g *Guard) Refused(ctx context.Context, r Request, c Caller, what string, err error) {
	f := refusal{request: r, endpoint: what}
	switch {
	case c.IsKey():
		f.subject, f.key = c.User(), c.Claims.APIKey
	case c.Claims != nil:
		f.subject, f.session = c.User(), c.Session()
	}
	g.core.refused(ctx, f, err)
}

// Lacks tells the journal of a good credential that has not what a proxy demands for a request, and answers ErrForbidden. As of a credential that is refused it is told,
// and not kept: the question may come as often as the proxy is asked.
func (g *Guard) Lacks(ctx context.Context, r Request, c Caller, what string) error {
	if c.IsKey() {
		g.deniedKey(ctx, r, c, what)
	} else {
		g.core.tellRefused(ctx, refusal{kind: audit.AccessRefused, request: r, reason: "forbidden", subject: c.User(), session: c.Session(), endpoint: what})
	}
	return ErrForbidden
}

// Turned tells the journal of a request for what that its transport refused by itself, with the code of its answer, and that may be somebody's attack.
func (g *Guard) Turned(ctx context.Context, r Request, what, code string) {
	g.core.tellRefused(ctx, refusal{kind: audit.AccessRefused, request: r, reason: code, endpoint: what})
}

// refused tells the journal of a credential that was refused, unless err is a fault.
func (c *Core) refused(ctx context.Context, f refusal, err error) {
	f.reason = RefusalCode(err)
	if f.reason == "" || f.reason == "token_missing" {
		return
	}
	if f.kind = audit.AccessRefused; ofAPIKey(err) {
		f.kind = audit.APIKeyRefused
	}
	var revoked *revocation.RevokedError
	var ended *session.EndedError
	switch {
	case errors.As(err, &revoked):
		f.revoked = revoked.Reason.String()
	case errors.As(err, &ended):
		f.revoked = ended.Reason.String()
	}
	c.tellRefused(ctx, f)
}

// tellRefused tells the journal of a refusal. Such events are told, not kept, and those of one address, reason and subject that follow within
// the minute are only counted: anybody can make any number of them.
func (c *Core) tellRefused(ctx context.Context, f refusal) {
	now := c.Now()
	f.at = instant.Of(now)
	if c.Limiter != nil && c.Limiter.refused.counted(f.alike(), &f, now) {
		return
	}
	e := f.event()
	var err error
	if e.ID, err = id.New[id.Event](c.Random); err == nil {
		c.Journal.Write(ctx, e)
	}
}

// ofAPIKey reports whether err refuses an API key.
func ofAPIKey(err error) bool {
	var revoked *revocation.RevokedError
	return errors.Is(err, apikey.ErrMalformed) || errors.Is(err, apikey.ErrEnvironment) || errors.Is(err, apikey.ErrInvalid) || errors.Is(err, apikey.ErrExpired) ||
		errors.As(err, &revoked) && revoked.Kind == revocation.APIKey
}

// Denied records that a known caller asked for what they may not do, and answers ErrForbidden or the fault that kept it from being recorded.
func (g *Guard) Denied(ctx context.Context, r Request, c Caller, what string) error {
	e, err := g.core.event(r, audit.PermissionDenied, audit.Warning, audit.Failure)
	if err != nil {
		return err
	}
	method, endpoint := asked(what)
	e.Actor, e.Reason, e.Details = c.User().String(), "forbidden", map[string]string{"endpoint": endpoint, "method": method}
	if c.IsKey() {
		e.Details["api_key"] = c.Claims.APIKey.String()
	}
	if err := g.core.tell(ctx, e); err != nil {
		return err
	}
	return ErrForbidden
}

// RefusalCode is the code of the contract for a refused access token, refresh token or API key, or empty for another error.
func RefusalCode(err error) string {
	var revoked *revocation.RevokedError
	var ended *session.EndedError
	switch {
	case errors.Is(err, token.ErrMissing):
		return "token_missing"
	case errors.Is(err, token.ErrMalformed), errors.Is(err, apikey.ErrMalformed):
		return "token_malformed"
	case errors.Is(err, token.ErrInvalid), errors.Is(err, session.ErrMalformed), errors.Is(err, session.ErrInvalid),
		errors.Is(err, apikey.ErrInvalid), errors.Is(err, apikey.ErrEnvironment):
		return "token_invalid"
	case errors.Is(err, token.ErrExpired), errors.Is(err, session.ErrExpired), errors.Is(err, apikey.ErrExpired):
		return "token_expired"
	case errors.As(err, &revoked), errors.As(err, &ended):
		return "token_revoked"
	case errors.Is(err, revocation.ErrStale):
		return "revocations_stale"
	}
	return ""
}
