package app

import (
	"cmp"
	"context"
	"crypto/subtle"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"time"

	"github.com/xteam/xteam/domain/account"
	"github.com/xteam/xteam/domain/audit"
	"github.com/xteam/xteam/domain/id"
	"github.com/xteam/xteam/domain/instant"
	"github.com/xteam/xteam/domain/revocation"
	"github.com/xteam/xteam/domain/secret"
	"github.com/xteam/xteam/domain/session"
	"github.com/xteam/xteam/domain/system"
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

// Login signs in. An unknown name, a wrong password and a disabled account are all account.ErrCredentials, after the same work; too many of them *AttemptsError,
// before it.
func (s *Sessions) Login(ctx context.Context, r Request, login account.Login, password secret.Text) (Tokens, error) {
	s.mayIssue(ctx)
	acct, err := s.core.Stores.Accounts.Named(ctx, login)
	if err != nil && !errors.Is(err, ports.ErrNotFound) {
		return Tokens{}, err
	}
	try, err := s.core.attempt(ctx, r, login.String(), &acct)
	if err != nil {
		return Tokens{}, err
	}
	defer try.end(ctx)
	ok, upgrade, err := s.core.Passwords.Compare(ctx, acct.Password, password) // an unknown account has an empty hash
	if err != nil {
		return Tokens{}, err
	}
	if !ok || acct.Disabled || acct.Decoy {
		try.missed()
		return Tokens{}, s.failed(ctx, r, login.String(), &acct)
	}
	if acct, err = s.again(ctx, acct, password, upgrade); err != nil {
		if errors.Is(err, account.ErrCredentials) {
			try.missed()
			return Tokens{}, s.failed(ctx, r, login.String(), &acct)
		}
		return Tokens{}, err
	}
	if err := s.core.Incidents.admits(&acct); err != nil { // whoever knows the password alone learns of it
		s.heldBack(ctx, r, &acct)
		return Tokens{}, err
	}
	now := s.core.now()
	acct, whole, err := s.core.caughtUp(ctx, acct)
	if err != nil {
		return Tokens{}, err
	}
	all, err := s.core.Stores.Sessions.OfUser(ctx, acct.ID)
	if err != nil {
		return Tokens{}, err
	}
	began, tokens, eff, err := s.prepare(r, &acct, whole.Epoch, now)
	if err != nil {
		return Tokens{}, err
	}
	if isNewNetwork(&acct, r.Origin, all, now) {
		eff.Events[0].Details[newNetwork] = r.Origin.Network().String()
	}
	if err := s.makeRoom(ctx, r, &acct, all, whole, now); err != nil {
		return Tokens{}, err
	}
	if err := s.core.Stores.Sessions.Create(ctx, began, eff); err != nil {
		return Tokens{}, err
	}
	try.hit()
	s.core.felt(ctx, eff)
	s.core.remember(ctx, &acct, r.Origin, now)
	return tokens, nil
}

// heldBack has the journal told of a sign-in that is held back: no password was wrong. Like other refusals it is told and counted, not kept one by one: the try is paid back, so there may be any number.
func (s *Sessions) heldBack(ctx context.Context, r Request, acct *account.Account) {
	s.core.tellRefused(ctx, refusal{kind: audit.SignInHeldBack, request: r, reason: "sign_in_held", subject: acct.ID, email: acct.Email.String()})
}

// failed records a sign-in that failed and answers account.ErrCredentials, or the fault that kept it from being recorded.
func (s *Sessions) failed(ctx context.Context, r Request, login string, acct *account.Account) error {
	e, err := s.core.event(r, audit.AuthenticationFailed, audit.Warning, audit.Failure)
	if err != nil {
		return err
	}
	e.Email, e.Reason = login, "credentials_invalid"
	all := []audit.Event{e}
	if !acct.ID.IsZero() {
		all[0].Subject = acct.ID.String()
	}
	if acct.Decoy && !acct.Disabled {
		touched, err := s.core.touched(r, acct.ID, "sign_in")
		if err != nil {
			return err
		}
		touched.Email = login
		all = append(all, touched)
	}
	if err := s.core.tell(ctx, all...); err != nil {
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
			switch {
			case err == nil:
				s.core.felt(ctx, eff)
			case errors.Is(err, ports.ErrNotFound):
				err = account.ErrCredentials
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

// prepare makes all of a new sign-in that can fail, for an account whose owner has proved themselves; nothing is stored yet. The session and its access token
// are of one epoch: whatever withdraws the one ends the other.
func (s *Sessions) prepare(r Request, acct *account.Account, epoch token.Epoch, now instant.Instant) (session.Session, Tokens, ports.Effects, error) {
	fail := func(err error) (session.Session, Tokens, ports.Effects, error) {
		return session.Session{}, Tokens{}, ports.Effects{}, err
	}
	sid, err := id.New[id.Session](s.core.Random)
	if err != nil {
		return fail(unavailable("draw a session id", err))
	}
	first, err := s.refreshToken(sid, 1)
	if err != nil {
		return fail(err)
	}
	began := session.New(first, acct.ID, acct.Generation, epoch, r.Origin, s.lifetimes(), now)
	access, lasts, err := s.issue(acct, &began, epoch, now)
	if err != nil {
		return fail(err)
	}
	e, err := s.core.event(r, audit.AuthenticationSucceeded, audit.Info, audit.Success)
	if err != nil {
		return fail(err)
	}
	e.Actor, e.Subject, e.Email, e.Details = acct.ID.String(), acct.ID.String(), acct.Email.String(), map[string]string{"session": sid.String()}
	return began, Tokens{access, first.Text(), lasts}, ports.Effects{Events: []audit.Event{e}}, nil
}

// makeRoom ends those sessions of an account that were used least recently, so that there is room for one more. Each sign-in ends all that are too many: what
// several at once leave over, the next one ends.
func (s *Sessions) makeRoom(ctx context.Context, r Request, acct *account.Account, all []session.Session, whole system.State, now instant.Instant) error {
	most := cmp.Or(s.core.Tunables.MaxSessions, DefaultMaxSessions)
	all = slices.DeleteFunc(all, func(x session.Session) bool { return !lives(&x, acct, whole, now) })
	slices.SortFunc(all, func(a, b session.Session) int { return cmp.Compare(a.LastUsed, b.LastUsed) })
	for i := range len(all) - most + 1 {
		if _, err := s.core.end(ctx, Actor{Name: System, Request: r}, all[i].ID, fmt.Sprintf("the user has signed in once more than %d times", most)); err != nil {
			return err
		}
	}
	return nil
}

// CanIssue reports whether tokens can be issued: not without a key that signs, nor while it is revoked, for no guard would take one; nor while this node's clock is far off.
func (s *Sessions) CanIssue() bool {
	if s.core.Clocks.Far() {
		return false
	}
	ids := s.core.Codec.KeyIDs()
	return len(ids) > 0 && !s.core.View.KeyRevoked(ids[0])
}

// mayIssue sees to it that a key signs, when another node has just revoked the one that did. What fails is told where a token is issued.
func (s *Sessions) mayIssue(ctx context.Context) {
	if !s.CanIssue() && s.core.Rotator != nil {
		_ = s.core.Rotator.Reload(ctx)
	}
}

func (s *Sessions) lifetimes() session.Lifetimes {
	return session.Lifetimes{Refresh: s.core.Tunables.Refresh, Session: s.core.Tunables.Session}
}

// issue signs an access token of the account as it is now, and answers for how long. It ends with its session at the latest. The epoch is that of the state by
// which its bearer was judged: one that was raised since withdraws the token.
func (s *Sessions) issue(acct *account.Account, x *session.Session, epoch token.Epoch, now instant.Instant) (secret.Text, time.Duration, error) {
	if s.core.Clocks.Far() {
		return secret.Text{}, 0, unavailable("issue a token", ErrClock)
	}
	if !s.CanIssue() {
		return secret.Text{}, 0, unavailable("issue a token", errors.New("the key that signs is revoked, and another does not sign yet"))
	}
	jti, err := id.New[id.Token](s.core.Random)
	if err != nil {
		return secret.Text{}, 0, unavailable("draw a token id", err)
	}
	t := s.core.Tunables
	iat := instant.Unix(now.Seconds())
	exp := min(iat.Add(t.Access), x.Expires)
	client := t.ClientID
	if client == "" {
		client = t.Audience
	}
	text, err := s.core.Codec.Sign(token.Claims{
		ID: jti, Subject: acct.ID, Session: x.ID, Issuer: t.Issuer, Audience: []string{t.Audience}, ClientID: client,
		Roles: []string{string(acct.Role)}, Generation: acct.Generation, Epoch: epoch,
		IssuedAt: iat, NotBefore: iat, ExpiresAt: exp,
	})
	return text, exp.Sub(iat), err
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

// Refresh redeems a refresh token. Refusals, in the order in which they are decided: session.ErrMalformed and session.ErrInvalid for what is not a token of a
// session of ours; *session.EndedError for a session that was ended itself; session.ErrExpired; *session.EndedError for one that its account or the system has ended.
// An earlier token of the chain ends the session, and its owner's access tokens with it. The journal is told of each refusal.
func (s *Sessions) Refresh(ctx context.Context, r Request, refresh secret.Text) (Tokens, error) {
	s.mayIssue(ctx)
	f := refusal{request: r, credential: "refresh_token"}
	var tokens Tokens
	t, err := s.proved(refresh)
	if err == nil {
		now := s.core.now() // before the state that judges is read: what is issued is of a time at which that was not yet known, and of its epoch
		var is ports.Standing
		if is, err = s.standing(ctx, t.Session); err == nil {
			f.subject, f.session = is.Account.ID, is.Session.ID
			tokens, err = s.redeem(ctx, r, t, &is, now)
		}
	}
	if err != nil {
		s.core.refused(ctx, f, err)
	}
	return tokens, err
}

// redeem is Refresh for a token that this system made, of a session and an account that it has.
func (s *Sessions) redeem(ctx context.Context, r Request, t session.RefreshToken, is *ports.Standing, now instant.Instant) (Tokens, error) {
	acct, whole := &is.Account, is.System
	next, err := s.refreshToken(t.Session, t.Counter+1)
	if err != nil {
		return Tokens{}, err
	}
	access, lasts, err := s.issue(acct, &is.Session, whole.Epoch, now)
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
	err = s.core.Stores.Sessions.Update(ctx, t.Session, func(was session.Session) (session.Session, ports.Effects, error) {
		eff = ports.Effects{}
		var is session.Session
		is, out = was.Redeem(t, next, r.Origin, s.lifetimes(), now)
		if err := s.core.refusal(out.Verdict, &was, acct, whole); err != nil {
			return was, eff, err
		}
		switch out.Verdict {
		case session.Rotated:
			eff.Events = []audit.Event{refreshed}
		case session.Reused:
			var entry revocation.Entry
			is, entry = is.End(revocation.RefreshReuse, session.End{By: System, Now: now, Until: whole.Horizon(now, s.core.Tunables.Leeway)})
			eff = ports.Effects{Revocations: []revocation.Entry{entry}, Events: []audit.Event{reused}}
		case session.Repeated:
			return was, eff, errNothing
		}
		return is, eff, nil
	})
	switch {
	case errors.Is(err, errNothing):
	case errors.Is(err, ports.ErrNotFound):
		return Tokens{}, session.ErrInvalid
	case err != nil:
		if out.Verdict == session.Reused { // it may be stored all the same; of a session that goes on nothing is forgotten
			s.wipeLater(wipe{session: t.Session, network: true})
		}
		return Tokens{}, err
	}
	s.core.felt(ctx, eff)
	switch out.Verdict {
	case session.Reused:
		if err := s.core.forgetEnded(ctx, t.Session); err != nil {
			s.forgetLater(ctx, acct.ID, t.Session, err)
		}
		return Tokens{}, &session.EndedError{Reason: revocation.RefreshReuse}
	case session.Rotated:
		s.wipeLater(wipe{session: t.Session, counter: next.Counter})
	case session.Repeated: // told, not kept: the token can be repeated any number of times
		refreshed.Details["repeated"] = "true"
		s.core.Journal.Write(ctx, refreshed)
	}
	return Tokens{access, out.Token.Text(), lasts}, nil
}

// refusal is why a refresh token with a verdict is refused for its own sake, its session's, its account's or the whole system's, in this order; nil for one that is good,
// and for one whose use ends its session.
func (c *Core) refusal(v session.Verdict, x *session.Session, acct *account.Account, whole system.State) error {
	switch v {
	case session.Unknown:
		return session.ErrInvalid
	case session.Ended:
		return &session.EndedError{Reason: x.EndedReason}
	case session.Expired:
		return session.ErrExpired
	}
	if why, ok := c.View.WhySessionEnded(x.ID); ok { // and the store does not know yet, or not any more
		return &session.EndedError{Reason: why}
	}
	if why, ok := acct.MayRefresh(x.Generation); !ok {
		return &session.EndedError{Reason: why}
	}
	if why, ok := whole.MayRefresh(x); !ok {
		return &session.EndedError{Reason: why}
	}
	return nil
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

// Named answers the session that a refresh token names, if this system made the token and the session is not known to be revoked; else the zero id. No store is
// asked: the session may have ended all the same.
func (s *Sessions) Named(refresh secret.Text) id.Session {
	t, err := s.proved(refresh)
	if err != nil || s.core.View.SessionEnded(t.Session) {
		return id.Session{}
	}
	return t.Session
}

// standing answers a session, its account and the state of the system, as the revocations in force have them; a token whose session or account is gone is worth nothing.
func (s *Sessions) standing(ctx context.Context, sid id.Session) (ports.Standing, error) {
	now := s.core.wholeNow() // first, as in Core.state
	is, err := s.core.Stores.Sessions.Standing(ctx, sid)
	if err == nil && s.core.View.Least(is.Account.ID, 0) > is.Account.Generation {
		// The account may have changed since it was read. Whose it is was not known before, to look at the revocations first.
		is.Account, err = s.core.account(ctx, is.Account.ID)
	}
	if errors.Is(err, ports.ErrNotFound) {
		err = session.ErrInvalid
	}
	is.System = now.of(is.System)
	return is, err
}

// Logout ends the caller's session and withdraws the access token that asks for it.
func (s *Sessions) Logout(ctx context.Context, r Request, c Caller) error {
	now := s.core.now()
	until, err := s.core.surely(ctx, now)
	if err != nil {
		return err
	}
	by := c.User().String()
	e, err := s.core.revoked(Actor{Name: by, Request: r}, revocation.Logout, by, "", map[string]string{"session": c.Session().String()})
	if err != nil {
		return err
	}
	one := revocation.Entry{Kind: revocation.Token, Token: c.Claims.ID, Reason: revocation.Logout, By: by, At: now, Until: s.core.outlives(c.Claims, now)}
	_, err = s.core.endAs(ctx, c.Session(), revocation.Logout, session.End{By: by, Now: now, Until: until}, e, one)
	return err
}

// LogoutAll ends all sessions of the caller and withdraws all their tokens; it answers how many sessions it ended. API keys go on.
func (s *Sessions) LogoutAll(ctx context.Context, r Request, c Caller) (Revoked, error) {
	ended, err := s.core.revokeUser(ctx, c.Actor(r), c.User(), "", false)
	if err != nil {
		return Revoked{}, err
	}
	out, _ := ended.inTime(ctx) // whatever becomes of the count, they have ended
	return out, nil
}

// ChangePassword gives the caller's account another password, ends everything else that the account has, and signs the caller in anew.
// A wrong current password is account.ErrCredentials, too many of them *AttemptsError, as in Login. Once the password is changed only the store can still keep the caller from being signed in.
func (s *Sessions) ChangePassword(ctx context.Context, r Request, c Caller, current, next secret.Text) (Tokens, error) {
	s.mayIssue(ctx)
	acct, err := s.core.Stores.Accounts.Find(ctx, c.User())
	if errors.Is(err, ports.ErrNotFound) {
		return Tokens{}, token.ErrInvalid
	} else if err != nil {
		return Tokens{}, err
	}
	if err := account.CheckPassword(next.RevealPlaintext(), acct.Email, acct.Username, acct.FullName); err != nil {
		return Tokens{}, err
	}
	try, err := s.core.attempt(ctx, r, acct.Email.String(), &acct)
	if err != nil {
		return Tokens{}, err
	}
	defer try.end(ctx)
	checked := acct.Password
	ok, _, err := s.core.Passwords.Compare(ctx, checked, current)
	if err != nil {
		return Tokens{}, err
	}
	if !ok {
		try.missed()
		return Tokens{}, s.failed(ctx, r, acct.Email.String(), &acct)
	}
	hash, err := s.core.Passwords.Hash(ctx, next)
	if err != nil {
		return Tokens{}, err
	}
	now := s.core.now()
	whole, err := s.core.state(ctx)
	if err != nil {
		return Tokens{}, err
	}
	by := c.User().String()
	e, err := s.core.event(r, audit.PasswordChanged, audit.Warning, audit.Success)
	if err != nil {
		return Tokens{}, err
	}
	e.Actor, e.Subject, e.Reason = by, by, revocation.PasswordChanged.String()
	act := account.Act{By: by, Now: now, Until: whole.Horizon(now, s.core.Tunables.Leeway)}
	var began session.Session
	var tokens Tokens
	var changed, signedIn ports.Effects
	err = s.core.Stores.Accounts.Update(ctx, c.User(), func(a account.Account) (account.Account, ports.Effects, error) {
		changed = ports.Effects{}
		if a.Disabled || !a.Password.Equal(checked) { // changed by another while this one was hashing
			return a, changed, account.ErrCredentials
		}
		a, entry := s.core.known(a).ChangePassword(hash, act)
		var err error
		if began, tokens, signedIn, err = s.prepare(r, &a, whole.Epoch, now); err != nil {
			return a, changed, err
		}
		changed = ports.Effects{Revocations: []revocation.Entry{entry}, Events: []audit.Event{e}}
		return a, changed, nil
	})
	if errors.Is(err, account.ErrCredentials) {
		try.missed()
		return Tokens{}, s.failed(ctx, r, acct.Email.String(), &acct)
	} else if err != nil {
		return Tokens{}, err
	}
	s.core.felt(ctx, changed)
	if err := s.core.Stores.Sessions.Create(ctx, began, signedIn); err != nil {
		return Tokens{}, err
	}
	s.core.felt(ctx, signedIn)
	acct.Places = session.Places{} // as the change has left it
	s.core.remember(ctx, &acct, r.Origin, now)
	return tokens, nil
}

// wipe is a successor that is to be forgotten, or the network of a session that somebody else had the tokens of.
type wipe struct {
	session id.Session
	counter uint64    // of the successor
	network bool      // in its place
	due     time.Time // with its monotonic reading: a wall clock that is turned keeps nothing
	again   bool      // it has failed once
}

// wipeLater has the sealed successor of a rotation wiped once the grace is over. When more wait than fit, one stays sealed until the next rotation or start: it
// opens with its parent only, and is refused by then.
func (s *Sessions) wipeLater(w wipe) {
	w.due = time.Now().Add(session.Grace)
	select {
	case s.wipes <- w:
	default:
	}
}

// forgetLater has the network of a session forgotten that ended because a refresh token of it was used twice, once the store can: the session has ended, and says so to whoever comes with the token again.
func (s *Sessions) forgetLater(ctx context.Context, of id.User, sid id.Session, why error) {
	s.wipeLater(wipe{session: sid, network: true})
	if ctx.Err() == nil && s.core.Logger != nil {
		s.core.Logger.Warn("The network of a session whose refresh token was used twice could not be forgotten; it is tried again, and a sign-in from there is told of to nobody until then", "user_id", of.String(), "session", sid.String(), "error", why.Error())
	}
}

// Run wipes the successors of rotations whose grace is over, until ctx ends, and does what Refresh could not. It begins with what an earlier run has left behind.
func (s *Sessions) Run(ctx context.Context) {
	var looking sync.WaitGroup
	looking.Go(func() { s.wipeLeft(ctx) })
	defer looking.Wait()
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
		if err := s.wipe(ctx, w); err != nil && (w.network || !w.again) {
			w.again = true
			s.wipeLater(w)
		}
	}
}

func (s *Sessions) wipe(ctx context.Context, w wipe) error {
	if w.network {
		return s.core.forgetEnded(ctx, w.session)
	}
	err := s.core.Stores.Sessions.Update(ctx, w.session, func(x session.Session) (session.Session, ports.Effects, error) {
		x, ok := x.Wiped(w.counter)
		if !ok {
			return x, ports.Effects{}, errNothing
		}
		return x, ports.Effects{}, nil
	})
	if errors.Is(err, errNothing) {
		return nil
	}
	return err
}

// wipeLeft has every network forgotten that was to be, of a session that ended lately, and every successor wiped that is kept now: its rotation is over, so a grace from now on is long enough, whatever the wall clock said then. A store
// that fails leaves the rest for the next rotation or start.
func (s *Sessions) wipeLeft(ctx context.Context) {
	_ = s.core.eachSession(ctx, func(a *account.Account, x *session.Session) {
		w := wipe{session: x.ID, counter: x.Counter, due: time.Now().Add(session.Grace)}
		w.network = x.EndedReason == revocation.RefreshReuse && a.Knows(x.Device.Network(), account.KnownFor, s.core.now())
		if x.Last.Successor == nil && !w.network {
			return
		}
		select {
		case s.wipes <- w:
		case <-ctx.Done():
		}
	})
}
