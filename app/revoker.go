package app

import (
	"context"
	"errors"
	"strings"
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

// Revoker withdraws tokens at an administrator's wish.
type Revoker struct {
	core     *Core
	sessions *Sessions
	node     string
}

// NewRevoker stands on the core; node is this node's name in answers.
func NewRevoker(c *Core, s *Sessions, node string) *Revoker { return &Revoker{c, s, node} }

// Selector says what to revoke. Exactly one field is set.
type Selector struct {
	User         string          // id, e-mail address or user name
	Session      string          // id
	Token        secret.Text     // an access token, or a refresh token, whose session ends
	JTI          string          // id of an access token
	Key          string          // kid
	IssuedBefore instant.Instant // every token issued at or before it
	All          bool            // every token and session of the system
}

// Revoked tells what a revocation did, or would do.
type Revoked struct {
	SessionsEnded int
	Nodes         []NodeTime // how long each node took to refuse
}

// NodeTime is how long a node took, from the call, to refuse what was withdrawn.
type NodeTime struct {
	Node string
	Took time.Duration
}

// SelectorError says what is wrong with a selector.
type SelectorError struct{ Field, Detail string }

func (e *SelectorError) Error() string { return e.Field + ": " + e.Detail }

// Revoke withdraws what sel names. It answers once the revocation is durable and this node refuses. A dry run changes nothing. What does not exist is ports.ErrNotFound.
func (rv *Revoker) Revoke(ctx context.Context, by Actor, sel Selector, note string, dryRun bool) (Revoked, error) {
	begun := time.Now()
	if len(note) > 500 {
		return Revoked{}, &SelectorError{"reason", "must be at most 500 bytes"}
	}
	n, err := rv.revoke(ctx, by, sel, note, dryRun)
	if err != nil {
		return Revoked{}, err
	}
	out := Revoked{SessionsEnded: n}
	if !dryRun {
		out.Nodes = []NodeTime{{rv.node, time.Since(begun)}}
	}
	return out, nil
}

func (rv *Revoker) revoke(ctx context.Context, by Actor, sel Selector, note string, dry bool) (int, error) {
	set := 0
	for _, is := range []bool{sel.User != "", sel.Session != "", !sel.Token.IsZero(), sel.JTI != "", sel.Key != "", sel.IssuedBefore != 0, sel.All} {
		if is {
			set++
		}
	}
	if set != 1 {
		return 0, &SelectorError{"selector", "give exactly one of user_id, session_id, token, jti, kid, issued_before and all"}
	}
	c := rv.core
	switch {
	case sel.User != "":
		acct, err := c.lookup(ctx, sel.User)
		if err != nil {
			return 0, err
		}
		if dry {
			return c.live(ctx, &acct, acct.Generation+1)
		}
		return c.revokeUser(ctx, by, acct.ID, note, account.Account.RevokeAll)
	case sel.Session != "":
		sid, err := id.Parse[id.Session](sel.Session)
		if err != nil {
			return 0, &SelectorError{"session_id", err.Error()}
		}
		return rv.endSession(ctx, by, sid, note, dry)
	case !sel.Token.IsZero():
		return rv.token(ctx, by, sel.Token, note, dry)
	case sel.JTI != "":
		jti, err := id.Parse[id.Token](sel.JTI)
		if err != nil {
			return 0, &SelectorError{"jti", err.Error()}
		}
		until, err := c.horizon(ctx, c.now())
		if err != nil {
			return 0, err
		}
		return 0, rv.one(ctx, by, jti, "", note, until, dry)
	case sel.Key != "":
		if len(sel.Key) > revocation.MaxKeyID || strings.ContainsFunc(sel.Key, func(r rune) bool { return r <= ' ' || r > '~' }) {
			return 0, &SelectorError{"kid", "must be at most 128 printable ASCII characters"}
		}
		return 0, rv.key(ctx, by, sel.Key, note, dry)
	case sel.IssuedBefore != 0:
		return rv.whole(ctx, by, dry, func(s system.State, now instant.Instant) (system.State, revocation.Entry, error) {
			return s.RevokeIssuedBefore(sel.IssuedBefore, by.Name, note, now, c.Tunables.Leeway)
		})
	default:
		return rv.whole(ctx, by, dry, func(s system.State, now instant.Instant) (system.State, revocation.Entry, error) {
			s, e := s.RevokeAll(by.Name, note, now)
			return s, e, nil
		})
	}
}

// token withdraws one access token, or ends the session of a refresh token (RFC 7009, section 2.1).
func (rv *Revoker) token(ctx context.Context, by Actor, text secret.Text, note string, dry bool) (int, error) {
	if strings.HasPrefix(text.RevealPlaintext(), session.RefreshPrefix) {
		t, err := rv.sessions.proved(text)
		if err != nil {
			return 0, &SelectorError{"token", "is not a refresh token of this system"}
		}
		return rv.endSession(ctx, by, t.Session, note, dry)
	}
	claims, err := rv.core.Codec.Parse(text.RevealPlaintext())
	if err != nil {
		return 0, &SelectorError{"token", "is not an access token of this system"}
	}
	return 0, rv.one(ctx, by, claims.ID, claims.Subject.String(), note, rv.core.outlives(claims, rv.core.now()), dry)
}

func (rv *Revoker) one(ctx context.Context, by Actor, jti id.Token, user, note string, until instant.Instant, dry bool) error {
	if dry {
		return nil
	}
	e, err := rv.core.revoked(by, revocation.UserRevoked, user, map[string]string{"jti": jti.String()})
	if err != nil {
		return err
	}
	return rv.core.apply(ctx, ports.Effects{Events: []audit.Event{e}, Revocations: []revocation.Entry{
		{Kind: revocation.Token, Token: jti, Reason: revocation.UserRevoked, By: by.Name, Note: note, At: rv.core.now(), Until: until}}})
}

func (rv *Revoker) key(ctx context.Context, by Actor, kid, note string, dry bool) error {
	if dry {
		return nil
	}
	e, err := rv.core.revoked(by, revocation.KeyRevoked, "", map[string]string{"kid": kid})
	if err != nil {
		return err
	}
	e.Severity = audit.Critical
	return rv.core.apply(ctx, ports.Effects{Events: []audit.Event{e}, Revocations: []revocation.Entry{
		{Kind: revocation.Key, KeyID: kid, Reason: revocation.KeyRevoked, By: by.Name, Note: note, At: rv.core.now(), Until: instant.Forever}}})
}

func (rv *Revoker) endSession(ctx context.Context, by Actor, sid id.Session, note string, dry bool) (int, error) {
	c := rv.core
	now := c.now()
	x, err := c.Stores.Sessions.Find(ctx, sid)
	if err != nil {
		return 0, err
	}
	if dry {
		return count(x.Live(now)), nil
	}
	until, err := c.horizon(ctx, now)
	if err != nil {
		return 0, err
	}
	e, err := c.revoked(by, revocation.SessionEnded, x.User.String(), map[string]string{"session": sid.String()})
	if err != nil {
		return 0, err
	}
	var eff ports.Effects
	lived := false
	err = c.Stores.Sessions.Update(ctx, sid, func(x session.Session) (session.Session, ports.Effects, error) {
		eff, lived = ports.Effects{}, x.Live(now)
		x, entry := x.End(revocation.SessionEnded, session.End{By: by.Name, Note: note, Now: now, Until: until})
		eff = ports.Effects{Revocations: []revocation.Entry{entry}, Events: []audit.Event{e}}
		return x, eff, nil
	})
	if err != nil {
		return 0, err
	}
	c.felt(ctx, eff)
	return count(lived), nil
}

// whole changes the state of the whole system with the revocation that follows, and answers how many sessions it ended or would end.
func (rv *Revoker) whole(ctx context.Context, by Actor, dry bool, f func(system.State, instant.Instant) (system.State, revocation.Entry, error)) (int, error) {
	c := rv.core
	now := c.now()
	var eff ports.Effects
	var before, after system.State
	e, err := c.event(by.Request, audit.EpochRaised, audit.Critical, audit.Success)
	if err != nil {
		return 0, err
	}
	e.Actor = by.Name
	err = c.Stores.System.Update(ctx, func(s system.State) (system.State, ports.Effects, error) {
		eff, before = ports.Effects{}, s
		s, entry, err := f(s, now)
		after = s
		if err == nil && dry {
			err = errNothing
		}
		if err != nil {
			return s, ports.Effects{}, err
		}
		if entry.Kind == revocation.IssuedBefore {
			e.Kind = audit.TokenRevoked
		}
		e.Reason, e.Details = entry.Reason.String(), map[string]string{"selector": entry.Kind.String()}
		eff = ports.Effects{Revocations: []revocation.Entry{entry}, Events: []audit.Event{e}}
		return s, eff, nil
	})
	switch {
	case errors.Is(err, errNothing):
	case errors.Is(err, system.ErrFuture):
		return 0, &SelectorError{"issued_before", err.Error()}
	case err != nil:
		return 0, err
	default:
		c.felt(ctx, eff)
	}
	return rv.hit(context.WithoutCancel(ctx), before, after, now), nil
}

// hit counts the sessions that lived under one state of the system and are ended under the next. The revocation is in force by then; a store that
// fails now leaves the count short.
func (rv *Revoker) hit(ctx context.Context, before, after system.State, now instant.Instant) int {
	const page = 500
	n := 0
	for from := (id.User{}); ; {
		accounts, err := rv.core.Stores.Accounts.List(ctx, from, page)
		if err != nil {
			return n
		}
		for i := range accounts {
			a := &accounts[i]
			all, err := rv.core.Stores.Sessions.OfUser(ctx, a.ID)
			if err != nil {
				return n
			}
			for j := range all {
				_, mine := a.MayRefresh(all[j].Generation)
				_, was := before.MayRefresh(&all[j])
				_, is := after.MayRefresh(&all[j])
				n += count(mine && was && !is && all[j].Live(now))
			}
		}
		if len(accounts) < page {
			return n
		}
		from = accounts[len(accounts)-1].ID
	}
}

// revokeUser withdraws all tokens of a user and ends all their sessions, in the way given; it answers how many lived.
func (c *Core) revokeUser(ctx context.Context, by Actor, uid id.User, note string,
	end func(account.Account, account.Act, revocation.Reason) (account.Account, revocation.Entry)) (int, error) {
	now := c.now()
	until, err := c.horizon(ctx, now)
	if err != nil {
		return 0, err
	}
	e, err := c.revoked(by, revocation.UserRevoked, uid.String(), nil)
	if err != nil {
		return 0, err
	}
	var eff ports.Effects
	var before account.Account
	var raised token.Generation
	err = c.Stores.Accounts.Update(ctx, uid, func(a account.Account) (account.Account, ports.Effects, error) {
		eff, before = ports.Effects{}, a
		a, entry := end(a, account.Act{By: by.Name, Note: note, Now: now, Until: until}, revocation.UserRevoked)
		raised, eff = a.SessionsFrom, ports.Effects{Revocations: []revocation.Entry{entry}, Events: []audit.Event{e}}
		return a, eff, nil
	})
	if err != nil {
		return 0, err
	}
	c.felt(ctx, eff)
	n, err := c.live(context.WithoutCancel(ctx), &before, raised)
	if err != nil {
		return 0, nil //nolint:nilerr // the revocation is durable and in force; only the count of what it ended is not known
	}
	return n, nil
}

// live counts the sessions of an account that lived before a raise of its least session generation to end.
func (c *Core) live(ctx context.Context, a *account.Account, end token.Generation) (int, error) {
	all, err := c.Stores.Sessions.OfUser(ctx, a.ID)
	if err != nil {
		return 0, err
	}
	whole, err := c.Stores.System.Load(ctx)
	if err != nil {
		return 0, err
	}
	now, n := c.now(), 0
	for i := range all {
		x := &all[i]
		_, mine := a.MayRefresh(x.Generation)
		_, ours := whole.MayRefresh(x)
		n += count(mine && ours && x.Generation < end && x.Live(now))
	}
	return n, nil
}

// revoked is the event of a withdrawal.
func (c *Core) revoked(by Actor, why revocation.Reason, user string, details map[string]string) (audit.Event, error) {
	e, err := c.event(by.Request, audit.TokenRevoked, audit.Info, audit.Success)
	e.Actor, e.Subject, e.Reason, e.Details = by.Name, user, why.String(), details
	return e, err
}

// outlives is when a token, leeway included, has surely expired everywhere.
func (c *Core) outlives(t *token.Claims, now instant.Instant) instant.Instant {
	return max(t.ExpiresAt, now).Add(c.Tunables.Leeway + token.Margin)
}

// commit makes effects durable that come with no other change of state, in one transaction.
func (c *Core) commit(ctx context.Context, e ports.Effects) error {
	return c.Stores.System.Update(ctx, func(s system.State) (system.State, ports.Effects, error) { return s, e, nil })
}

// apply is commit, then felt.
func (c *Core) apply(ctx context.Context, e ports.Effects) error {
	if err := c.commit(ctx, e); err != nil {
		return err
	}
	c.felt(ctx, e)
	return nil
}

func count(yes bool) int {
	if yes {
		return 1
	}
	return 0
}
