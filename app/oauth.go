package app

import (
	"context"
	"errors"
	"strings"

	"github.com/xteam/xteam/domain/apikey"
	"github.com/xteam/xteam/domain/id"
	"github.com/xteam/xteam/domain/instant"
	"github.com/xteam/xteam/domain/revocation"
	"github.com/xteam/xteam/domain/secret"
	"github.com/xteam/xteam/domain/session"
	"github.com/xteam/xteam/domain/token"
)

// Introspected is what a service that holds a token may know of it (RFC 7662, section 2.2).
type Introspected struct {
	Access  *token.Claims // of an access token; of an API key the claims that stand for it. Shared: not to be changed
	Refresh *session.Session
	Until   instant.Instant // of a refresh token
}

// Introspect answers what a token says that would be taken now: an access token or an API key by the guard's rules, a refresh token when it is the live one of its session. One that would not be
// taken is nil, and why not is the second answer, for the journal alone: one of the refusals of Admit, AdmitKey and Refresh. What cannot be known now is the error: revocation.ErrStale, ports.ErrUnavailable.
// It changes nothing, and is no use of an API key. A key that the guard knows costs no read of the store. What is no good is for the
// transport to charge: by the address of the asking service nobody's good key is refused, for others send it garbage.
func (s *Sessions) Introspect(ctx context.Context, g *Guard, text secret.Text) (is *Introspected, why, err error) {
	plain := text.RevealPlaintext()
	switch {
	case strings.HasPrefix(plain, session.RefreshPrefix):
		is, err = s.introspectRefresh(ctx, text)
	case apikey.Looks(plain):
		is, err = g.introspect(ctx, plain)
	default:
		var who Caller
		if who, err = g.Admit(plain); err == nil {
			is = &Introspected{Access: who.Claims}
		}
	}
	if err != nil && !errors.Is(err, revocation.ErrStale) && RefusalCode(err) != "" {
		return nil, err, nil
	}
	return is, nil, err
}

func (s *Sessions) introspectRefresh(ctx context.Context, text secret.Text) (*Introspected, error) {
	t, err := s.proved(text)
	if err != nil {
		return nil, err
	}
	is, err := s.standing(ctx, t.Session)
	if err != nil {
		return nil, err
	}
	x := is.Session
	next := session.RefreshToken{Session: t.Session, Counter: t.Counter + 1} // would be the live one, were this a refresh
	_, out := x.Redeem(t, next, session.Origin{}, s.lifetimes(), s.core.now())
	if err := s.core.refusal(out.Verdict, &x, &is.Account, is.System); err != nil {
		return nil, err
	}
	if out.Verdict != session.Rotated { // one that was rotated is good for a repetition from where it was used, and for nothing else
		return nil, session.ErrInvalid
	}
	return &Introspected{Refresh: &x, Until: min(x.Idle, x.Expires)}, nil
}

func (g *Guard) introspect(ctx context.Context, text string) (*Introspected, error) {
	k, err := g.known(text, g.core.Now(), func(p apikey.Proof) (*knownKey, error) {
		return g.readFor(ctx, Request{}, Request{}, p) // of whom the service was shown a decoy's, the service alone knows
	})
	if err != nil {
		return nil, err
	}
	return &Introspected{Access: &k.claims}, nil
}

// Refusals of RevokeFor.
var (
	// ErrForeignToken refuses to revoke a token that was not issued to who asks (RFC 7009, section 2.1).
	ErrForeignToken = errors.New("the token is not the key's owner's, and the key has not the scope admin")
	// ErrTokenType refuses to revoke an API key as a token (RFC 7009, section 2.2.1): it is ended by its id.
	ErrTokenType = errors.New("an API key is ended by its id, not by this route")
)

// RevokeFor withdraws an access token, or ends the session of a refresh token, whose text an API key's bearer holds, as Revoke does. One that proves nothing, or whose time is over, needs no
// revocation: that is no error (RFC 7009, section 2.2).
func (rv *Revoker) RevokeFor(ctx context.Context, g *Guard, by Caller, r Request, text secret.Text) error {
	owner, err := rv.ownerOf(ctx, g, text.RevealPlaintext(), text)
	switch {
	case errors.Is(err, errNothing):
		return nil
	case err != nil:
		return err
	case owner != by.User() && !by.Scopes.Has(apikey.Admin):
		return ErrForeignToken
	}
	_, err = rv.Revoke(ctx, by.Actor(r), Selector{Token: text}, "", false)
	return err
}

// ownerOf is whose a token is; errNothing says that it proves nothing, or is over.
func (rv *Revoker) ownerOf(ctx context.Context, g *Guard, plain string, text secret.Text) (id.User, error) {
	switch {
	case apikey.Looks(plain):
		return id.User{}, ErrTokenType
	case strings.HasPrefix(plain, session.RefreshPrefix):
		t, err := rv.sessions.proved(text)
		if err != nil {
			return id.User{}, errNothing
		}
		is, err := rv.sessions.standing(ctx, t.Session)
		if errors.Is(err, session.ErrInvalid) {
			return id.User{}, errNothing
		}
		return is.Session.User, err
	}
	who, err := g.Admit(plain)
	revoked := (*revocation.RevokedError)(nil)
	switch {
	case err == nil, errors.Is(err, revocation.ErrStale), errors.As(err, &revoked): // of one that is revoked by its session another revocation is recorded
		return who.User(), nil
	}
	return id.User{}, errNothing
}
