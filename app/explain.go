package app

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/xteam/xteam/domain/account"
	"github.com/xteam/xteam/domain/apikey"
	"github.com/xteam/xteam/domain/instant"
	"github.com/xteam/xteam/domain/revocation"
	"github.com/xteam/xteam/domain/secret"
	"github.com/xteam/xteam/domain/session"
	"github.com/xteam/xteam/domain/token"
	"github.com/xteam/xteam/ports"
)

// Explanation is what can be said of a token. It holds no part of the token that would make another.
type Explanation struct {
	Refresh  bool          // it has the form of a refresh token, and else, if any, of an access token
	Claims   *token.Claims // what it says, or nil; of an access token alone. Shared: not to be changed
	Verified bool          // this system made it: what it says is true
	APIKey   bool          // it begins as an API key does
	Held     bool          // the key that it names, of an access token, is one that signs or verifies now

	Refused error           // why it would be refused now, by the codes of RefusalCode; nil: it would be taken
	Since   instant.Instant // of a revoked token: since when; zero when that is not known
	// Revocations are those that name it and that the database still holds, with who asked for them, the earliest first. One that has run its time is there no more:
	// then what it named has expired.
	Revocations []revocation.Entry

	Account *account.Account // whose it is; nil when that is not known
	Session *session.Session // of which sign-in; nil when that is not known
	Known   *ListedKey       // which API key it is; nil when it is none that is known
}

// Explain says what a token is, and whether it would be taken now: an access token by the guard, a refresh token by Refresh for the sake of its owner, who may still repeat
// the last one from where it was used, an API key by the guard. It changes nothing, and the journal is not told of refusals.
func (s *Sessions) Explain(ctx context.Context, text secret.Text) (Explanation, error) {
	if strings.HasPrefix(text.RevealPlaintext(), session.RefreshPrefix) {
		return s.explainRefresh(ctx, text)
	}
	plain := text.RevealPlaintext()
	if apikey.Looks(plain) {
		return s.core.explainKey(ctx, plain)
	}
	said, ok := s.core.Codec.ReadUnverified(plain)
	if !ok {
		return Explanation{Refused: token.ErrMalformed}, nil
	}
	e := Explanation{Claims: &said, Held: slices.Contains(s.core.Codec.KeyIDs(), said.KeyID)}
	claims, err := s.core.Codec.Parse(plain)
	if err != nil {
		e.Refused = err
		return e, nil
	}
	e.Claims, e.Verified = claims, true
	_, e.Refused = NewGuard(s.core).Admit(plain)
	if e.Account, err = maybe(s.core.Stores.Accounts.Find(ctx, claims.Subject)); err != nil {
		return Explanation{}, err
	}
	if e.Session, err = maybe(s.core.Stores.Sessions.Find(ctx, claims.Session)); err != nil {
		return Explanation{}, err
	}
	if e.Revocations, err = s.core.naming(ctx, claims); err != nil {
		return Explanation{}, err
	}
	if revoked := (*revocation.RevokedError)(nil); errors.As(e.Refused, &revoked) {
		e.Since = revoked.At
	}
	return e, nil
}

func (s *Sessions) explainRefresh(ctx context.Context, text secret.Text) (Explanation, error) {
	e := Explanation{Refresh: true}
	t, err := s.proved(text)
	if err != nil {
		e.Refused = err
		return e, nil
	}
	e.Verified = true
	is, err := s.standing(ctx, t.Session)
	if errors.Is(err, session.ErrInvalid) {
		e.Refused = err
		return e, nil
	} else if err != nil {
		return Explanation{}, err
	}
	x := is.Session
	e.Account, e.Session = &is.Account, &x
	next := session.RefreshToken{Session: t.Session, Counter: t.Counter + 1} // would be the live one, were this a refresh
	_, out := x.Redeem(t, next, x.Last.From, s.lifetimes(), s.core.now())
	if e.Refused = s.core.refusal(out.Verdict, &x, &is.Account, is.System); e.Refused == nil && out.Verdict == session.Reused {
		e.Refused = &session.EndedError{Reason: revocation.RefreshReuse} // and its use ends the session
	}
	ended := (*session.EndedError)(nil)
	if !errors.As(e.Refused, &ended) {
		return e, nil
	}
	named, err := s.core.naming(ctx, &token.Claims{Session: x.ID, Subject: x.User, Generation: x.Generation, Epoch: x.Epoch, IssuedAt: x.LastUsed})
	if err != nil {
		return Explanation{}, err
	}
	e.Revocations = slices.DeleteFunc(named, func(r revocation.Entry) bool { return r.Reason != ended.Reason }) // others withdraw access tokens alone
	switch {
	case x.Ended != 0:
		e.Since = x.Ended
	case len(e.Revocations) > 0:
		e.Since = e.Revocations[0].At
	}
	return e, nil
}

func (c *Core) explainKey(ctx context.Context, text string) (Explanation, error) {
	e := Explanation{APIKey: true}
	p, err := apikey.Parse(text)
	if err != nil {
		e.Refused = err
		return e, nil
	}
	k, err := c.knowProved(ctx, p)
	if errors.Is(err, apikey.ErrInvalid) {
		e.Refused = apikey.ErrInvalid
		return e, nil
	} else if err != nil {
		return Explanation{}, err
	}
	e.Verified = true
	ended := cmp.Or(k.refusal(c.now()), c.View.Check(&k.claims))
	e.Refused = ended
	if p.Environment != c.Tunables.environment() {
		e.Refused = apikey.ErrEnvironment
	}
	e.Known = &ListedKey{k.key, ended}
	if e.Account, err = maybe(c.Stores.Accounts.Find(ctx, k.key.Owner)); err != nil {
		return Explanation{}, err
	}
	revoked := (*revocation.RevokedError)(nil)
	if !errors.As(e.Refused, &revoked) {
		return e, nil
	}
	named, err := c.naming(ctx, &token.Claims{APIKey: p.ID, Subject: k.key.Owner, Generation: k.key.Generation})
	if err != nil {
		return Explanation{}, err
	}
	e.Revocations = slices.DeleteFunc(named, func(r revocation.Entry) bool { return r.Reason != revoked.Reason }) // others only had it read again
	switch {
	case revoked.At != 0:
		e.Since = revoked.At
	case len(e.Revocations) > 0:
		e.Since = e.Revocations[0].At
	}
	return e, nil
}

// maybe is what was found, or nil.
func maybe[T any](v T, err error) (*T, error) {
	if errors.Is(err, ports.ErrNotFound) {
		return nil, nil
	}
	return &v, err
}

// naming looks through all revocations that the database holds for those that name the token with these claims, and answers them in the order in which a set decides.
func (c *Core) naming(ctx context.Context, claims *token.Claims) ([]revocation.Entry, error) {
	var named []revocation.Entry
	known := map[string]bool{}
	err := c.Stores.Revocations.Follow(ctx, func(n ports.News) error {
		for i := range n.Entries {
			if e := &n.Entries[i]; e.Withdraws(claims) && !known[e.Key()] {
				known[e.Key()] = true
				named = append(named, *e)
			}
		}
		if n.Caught {
			return errNothing
		}
		return nil
	})
	if !errors.Is(err, errNothing) {
		return nil, err
	}
	slices.SortFunc(named, func(a, b revocation.Entry) int {
		return cmp.Or(cmp.Compare(a.At, b.At), cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Reason, b.Reason))
	})
	return named, nil
}
