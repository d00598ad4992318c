package app

import (
	"context"
	"crypto/subtle"
	"errors"
	"io"
	"time"

	"github.com/xteam/xteam/domain/account"
	"github.com/xteam/xteam/domain/audit"
	"github.com/xteam/xteam/domain/id"
	"github.com/xteam/xteam/domain/instant"
	"github.com/xteam/xteam/domain/revocation"
	"github.com/xteam/xteam/domain/secret"
	"github.com/xteam/xteam/domain/session"
	"github.com/xteam/xteam/domain/token"
	"github.com/xteam/xteam/ports"
)

// Sessions signs users in and keeps them signed in until they, or somebody else, end it.
type Sessions struct {
	core  *Core
	wipes chan wipe
}

// NewSessions stands on the core. Run should be running beside it.
func NewSessions(c *Core) *Sessions { return &Sessions{core: c, wipes: make(chan wipe, 65536)} }

// Tokens is what a sign-in and each refresh hand out.
type Tokens struct {
	Access    secret.Text
	Refresh   secret.Text
	ExpiresIn time.Duration // of the access token
}

// Login signs in. An unknown name, a wrong password and a disabled account are all account.ErrCredentials, after the same work.
func (s *Sessions) Login(ctx context.Context, r Request, login account.Login, password secret.Text) (Tokens, error) {
	acct, err := s.core.Stores.Accounts.Named(ctx, login)
	if err != nil && !errors.Is(err, ports.ErrNotFound) {
		return Tokens{}, err
	}
	ok, upgrade, err := s.core.Passwords.Compare(ctx, acct.Password, password) // an unknown account has an empty hash
	if err != nil {
		return Tokens{}, err
	}
	if !ok || acct.Disabled {
		return Tokens{}, s.failed(ctx, r, login.String(), acct.ID)
	}
	if acct, err = s.again(ctx, acct, password, upgrade); err != nil {
		if errors.Is(err, account.ErrCredentials) {
			return Tokens{}, s.failed(ctx, r, login.String(), acct.ID)
		}
		return Tokens{}, err
	}
	return s.open(ctx, r, acct)
}

// failed records a sign-in that failed and answers account.ErrCredentials, or the fault that kept it from being recorded.
func (s *Sessions) failed(ctx context.Context, r Request, login string, uid id.User) error {
	e, err := s.core.event(r, audit.AuthenticationFailed, audit.Warning, audit.Failure)
	if err != nil {
		return err
	}
	e.Email, e.Reason = login, "credentials_invalid"
	if !uid.IsZero() {
		e.Subject = uid.String()
	}
	if err := s.core.tell(ctx, e); err != nil {
		return err
	}
	return account.ErrCredentials
}

// again reads the account once more after the slow comparison, for it may have been disabled or given another password meanwhile, and gives it a fresh hash when the one
// that was compared is of another cost or kind. A gate without room for the new hash leaves the old one for the next sign-in.
func (s *Sessions) again(ctx context.Context, acct account.Account, password secret.Text, upgrade bool) (account.Account, error) {
	checked := acct.Password
	if upgrade {
		if hash, err := s.core.Passwords.Hash(ctx, password); err == nil {
			e, err := s.core.event(Request{}, audit.PasswordRehashed, audit.Info, audit.Success)
			if err != nil {
				return acct, err
			}
			e.Actor, e.Subject = System, acct.ID.String()
			eff := ports.Effects{Events: []audit.Event{e}}
			err = s.core.Stores.Accounts.Update(ctx, acct.ID, func(a account.Account) (account.Account, ports.Effects, error) {
				if a.Disabled || !a.Password.Equal(checked) {
					return a, ports.Effects{}, account.ErrCredentials
				}
				acct = a.Rehash(checked, hash, s.core.now())
				return acct, eff, nil
			})
			if err == nil {
				s.core.felt(ctx, eff)
			}
			return acct, err
		}
	}
	now, err := s.core.Stores.Accounts.Find(ctx, acct.ID)
	if errors.Is(err, ports.ErrNotFound) || err == nil && (now.Disabled || !now.Password.Equal(checked)) {
		return acct, account.ErrCredentials
	}
	return now, err
}

// open begins a session of an account whose owner has proved themselves.
func (s *Sessions) open(ctx context.Context, r Request, acct account.Account) (Tokens, error) {
	sid, err := id.New[id.Session](s.core.Random)
	if err != nil {
		return Tokens{}, unavailable("draw a session id", err)
	}
	first, err := s.refreshToken(sid, 1)
	if err != nil {
		return Tokens{}, err
	}
	now := s.core.now()
	access, err := s.issue(&acct, sid, now)
	if err != nil {
		return Tokens{}, err
	}
	e, err := s.core.event(r, audit.AuthenticationSucceeded, audit.Info, audit.Success)
	if err != nil {
		return Tokens{}, err
	}
	e.Actor, e.Subject, e.Email, e.Details = acct.ID.String(), acct.ID.String(), acct.Email.String(), map[string]string{"session": sid.String()}
	eff := ports.Effects{Events: []audit.Event{e}}
	began := session.New(first, acct.ID, acct.Generation, s.core.View.Epoch(), r.Origin, s.lifetimes(), now)
	if err := s.core.Stores.Sessions.Create(ctx, began, eff); err != nil {
		return Tokens{}, err
	}
	s.core.felt(ctx, eff)
	return Tokens{access, first.Text(), s.core.Tunables.Access}, nil
}

func (s *Sessions) lifetimes() session.Lifetimes {
	return session.Lifetimes{Refresh: s.core.Tunables.Refresh, Session: s.core.Tunables.Session}
}

// issue signs an access token of the account as it is now.
func (s *Sessions) issue(acct *account.Account, sid id.Session, now instant.Instant) (secret.Text, error) {
	jti, err := id.New[id.Token](s.core.Random)
	if err != nil {
		return secret.Text{}, unavailable("draw a token id", err)
	}
	t := s.core.Tunables
	iat := instant.Unix(now.Seconds())
	client := t.ClientID
	if client == "" {
		client = t.Audience
	}
	return s.core.Codec.Sign(token.Claims{
		ID: jti, Subject: acct.ID, Session: sid, Issuer: t.Issuer, Audience: []string{t.Audience}, ClientID: client,
		Roles: []string{string(acct.Role)}, Generation: acct.Generation, Epoch: s.core.View.Epoch(),
		IssuedAt: iat, NotBefore: iat, ExpiresAt: iat.Add(t.Access),
	})
}

// refreshToken is a new link of a chain.
func (s *Sessions) refreshToken(sid id.Session, counter uint64) (session.RefreshToken, error) {
	t := session.RefreshToken{Key: s.core.MACs.Current(), Session: sid, Counter: counter}
	if _, err := io.ReadFull(s.core.Random, t.Secret[:]); err != nil {
		return session.RefreshToken{}, unavailable("draw a refresh token", err)
	}
	mac, ok := s.core.MACs.MAC(t.Key, t.Signed())
	if !ok {
		return session.RefreshToken{}, unavailable("make a refresh token", errors.New("its key is not held"))
	}
	t.MAC = mac
	return t, nil
}

// errNothing ends an update that has nothing to store.
var errNothing = errors.New("nothing to store")

// Refresh redeems a refresh token. Refusals: session.ErrMalformed and session.ErrInvalid for what is not a token of a session of ours, session.ErrExpired,
// *session.EndedError. An earlier token of the chain ends the session, and its owner's access tokens with it.
func (s *Sessions) Refresh(ctx context.Context, r Request, refresh secret.Text) (Tokens, error) {
	t, err := s.proved(refresh)
	if err != nil {
		return Tokens{}, err
	}
	acct, err := s.owner(ctx, t.Session)
	if err != nil {
		return Tokens{}, err
	}
	whole, err := s.core.Stores.System.Load(ctx)
	if err != nil {
		return Tokens{}, err
	}
	next, err := s.refreshToken(t.Session, t.Counter+1)
	if err != nil {
		return Tokens{}, err
	}
	now := s.core.now()
	access, err := s.issue(&acct, t.Session, now)
	if err != nil {
		return Tokens{}, err
	}
	refreshed, err := s.core.event(r, audit.SessionRefreshed, audit.Info, audit.Success)
	if err != nil {
		return Tokens{}, err
	}
	reused, err := s.core.event(r, audit.RefreshReused, audit.Critical, audit.Failure)
	if err != nil {
		return Tokens{}, err
	}
	refreshed.Actor, refreshed.Subject, refreshed.Details = acct.ID.String(), acct.ID.String(), map[string]string{"session": t.Session.String()}
	reused.Subject, reused.Reason, reused.Details = acct.ID.String(), revocation.RefreshReuse.String(), refreshed.Details

	var out session.Outcome
	var eff ports.Effects
	err = s.core.Stores.Sessions.Update(ctx, t.Session, func(x session.Session) (session.Session, ports.Effects, error) {
		if why, ok := acct.MayRefresh(x.Generation); !ok {
			return x, ports.Effects{}, &session.EndedError{Reason: why}
		}
		if why, ok := whole.MayRefresh(&x); !ok {
			return x, ports.Effects{}, &session.EndedError{Reason: why}
		}
		x, out = x.Redeem(t, next, r.Origin, s.lifetimes(), now)
		switch out.Verdict {
		case session.Rotated:
			eff = ports.Effects{Events: []audit.Event{refreshed}}
			return x, eff, nil
		case session.Reused:
			x, entry := x.End(revocation.RefreshReuse, session.End{By: System, Now: now, Until: whole.Horizon(now, s.core.Tunables.Leeway)})
			eff = ports.Effects{Revocations: []revocation.Entry{entry}, Events: []audit.Event{reused}}
			return x, eff, nil
		case session.Ended:
			return x, ports.Effects{}, &session.EndedError{Reason: x.EndedReason}
		case session.Expired:
			return x, ports.Effects{}, session.ErrExpired
		case session.Repeated:
			return x, ports.Effects{}, errNothing
		}
		return x, ports.Effects{}, session.ErrInvalid
	})
	switch {
	case errors.Is(err, errNothing):
	case errors.Is(err, ports.ErrNotFound):
		return Tokens{}, session.ErrInvalid
	case err != nil:
		return Tokens{}, err
	}
	s.core.felt(ctx, eff)
	switch out.Verdict {
	case session.Reused:
		return Tokens{}, &session.EndedError{Reason: revocation.RefreshReuse}
	case session.Rotated:
		s.wipeLater(t.Session)
	}
	return Tokens{access, out.Token.Text(), s.core.Tunables.Access}, nil
}

// proved reads a refresh token and checks that this system made it.
func (s *Sessions) proved(text secret.Text) (session.RefreshToken, error) {
	t, err := session.ParseRefresh(text.RevealPlaintext())
	if err != nil {
		return t, err
	}
	mac, ok := s.core.MACs.MAC(t.Key, t.Signed())
	if !ok || subtle.ConstantTimeCompare(mac[:], t.MAC[:]) != 1 {
		return session.RefreshToken{}, session.ErrInvalid
	}
	return t, nil
}

// owner answers the account of a session; one that is gone makes the token worthless.
func (s *Sessions) owner(ctx context.Context, sid id.Session) (account.Account, error) {
	x, err := s.core.Stores.Sessions.Find(ctx, sid)
	var acct account.Account
	if err == nil {
		acct, err = s.core.Stores.Accounts.Find(ctx, x.User)
	}
	if errors.Is(err, ports.ErrNotFound) {
		return acct, session.ErrInvalid
	}
	return acct, err
}

// Logout ends the caller's session and withdraws the access token that asks for it.
func (s *Sessions) Logout(ctx context.Context, r Request, c Caller) error {
	now := s.core.now()
	until, err := s.core.horizon(ctx, now)
	if err != nil {
		return err
	}
	by := c.User().String()
	e, err := s.core.revoked(Actor{by, r}, revocation.Logout, c.User().String(), map[string]string{"session": c.Session().String()})
	if err != nil {
		return err
	}
	one := revocation.Entry{Kind: revocation.Token, Token: c.Claims.ID, Reason: revocation.Logout, By: by, At: now, Until: s.core.outlives(c.Claims, now)}
	var eff ports.Effects
	err = s.core.Stores.Sessions.Update(ctx, c.Session(), func(x session.Session) (session.Session, ports.Effects, error) {
		x, entry := x.End(revocation.Logout, session.End{By: by, Now: now, Until: until})
		eff = ports.Effects{Revocations: []revocation.Entry{one, entry}, Events: []audit.Event{e}}
		return x, eff, nil
	})
	if errors.Is(err, ports.ErrNotFound) { // a session that the store has forgotten: its tokens are withdrawn all the same
		all := revocation.Entry{Kind: revocation.Session, Session: c.Session(), Reason: revocation.Logout, By: by, At: now, Until: until}
		eff = ports.Effects{Revocations: []revocation.Entry{one, all}, Events: []audit.Event{e}}
		err = s.core.commit(ctx, eff)
	}
	if err == nil {
		s.core.felt(ctx, eff)
	}
	return err
}

// LogoutAll ends all sessions of the caller and withdraws all their tokens; it answers how many sessions it ended.
func (s *Sessions) LogoutAll(ctx context.Context, r Request, c Caller) (int, error) {
	return s.core.revokeUser(ctx, c.Actor(r), c.User(), "")
}

// ChangePassword gives the caller's account another password, ends everything else that the account has, and signs the caller in anew.
// A wrong current password is account.ErrCredentials.
func (s *Sessions) ChangePassword(ctx context.Context, r Request, c Caller, current, next secret.Text) (Tokens, error) {
	acct, err := s.core.Stores.Accounts.Find(ctx, c.User())
	if errors.Is(err, ports.ErrNotFound) {
		return Tokens{}, token.ErrInvalid
	} else if err != nil {
		return Tokens{}, err
	}
	if err := account.CheckPassword(next.RevealPlaintext(), acct.Email, acct.Username); err != nil {
		return Tokens{}, err
	}
	checked := acct.Password
	ok, _, err := s.core.Passwords.Compare(ctx, checked, current)
	if err != nil {
		return Tokens{}, err
	}
	if !ok {
		return Tokens{}, s.failed(ctx, r, acct.Email.String(), acct.ID)
	}
	hash, err := s.core.Passwords.Hash(ctx, next)
	if err != nil {
		return Tokens{}, err
	}
	now := s.core.now()
	until, err := s.core.horizon(ctx, now)
	if err != nil {
		return Tokens{}, err
	}
	by := c.User().String()
	e, err := s.core.event(r, audit.PasswordChanged, audit.Warning, audit.Success)
	if err != nil {
		return Tokens{}, err
	}
	e.Actor, e.Subject, e.Reason = by, by, revocation.PasswordChanged.String()
	var eff ports.Effects
	err = s.core.Stores.Accounts.Update(ctx, c.User(), func(a account.Account) (account.Account, ports.Effects, error) {
		if a.Disabled || !a.Password.Equal(checked) { // changed by another while this one was hashing
			return a, ports.Effects{}, account.ErrCredentials
		}
		a, entry := a.ChangePassword(hash, account.Act{By: by, Now: now, Until: until})
		acct, eff = a, ports.Effects{Revocations: []revocation.Entry{entry}, Events: []audit.Event{e}}
		return a, eff, nil
	})
	if err != nil {
		return Tokens{}, err
	}
	s.core.felt(ctx, eff)
	return s.open(ctx, r, acct)
}

// wipe is a successor that is to be forgotten.
type wipe struct {
	session id.Session
	due     time.Time
}

// wipeLater has the sealed successor of a rotation wiped once the grace is over. When more wait than fit, one stays sealed until the next rotation: it opens with
// its parent only, and is refused by then.
func (s *Sessions) wipeLater(sid id.Session) {
	select {
	case s.wipes <- wipe{sid, time.Now().Add(session.Grace)}:
	default:
	}
}

// Run wipes the successors of rotations whose grace is over, until ctx ends.
func (s *Sessions) Run(ctx context.Context) {
	for {
		var w wipe
		select {
		case <-ctx.Done():
			return
		case w = <-s.wipes:
		}
		t := time.NewTimer(time.Until(w.due))
		select {
		case <-ctx.Done():
			t.Stop()
			return
		case <-t.C:
		}
		// A failure is no harm and has no remedy: the next rotation overwrites the successor.
		_ = s.core.Stores.Sessions.Update(ctx, w.session, func(x session.Session) (session.Session, ports.Effects, error) {
			x, ok := x.Wiped(s.core.now())
			if !ok {
				return x, ports.Effects{}, errNothing
			}
			return x, ports.Effects{}, nil
		})
	}
}
