package app

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/xteam/xteam/domain/account"
	"github.com/xteam/xteam/domain/apikey"
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

// Selector says what to revoke. Exactly one field is set, beside which Key may have Force.
type Selector struct {
	User    string      // id, e-mail address or user name
	Session string      // id
	Token   secret.Text // an access token, a refresh token, whose session ends, or an API key
	JTI     string      // id of an access token
	Key     string      // kid
	Force   bool        // takes a Key that this system does not hold, such as one of before
	// IssuedBefore withdraws every token whose iat is at or before it. An iat is in whole seconds, rounded down: so a token that is issued later in that very second
	// is withdrawn too, while its session goes on; from the next second tokens are good again.
	IssuedBefore instant.Instant
	All          bool // every token and session of the system
}

// Revoked tells what a revocation did, or would do.
type Revoked struct {
	SessionsEnded int
	AtLeast       bool       // not all sessions could be counted in time: there may be more
	Nodes         []NodeTime // how long each node took to refuse, as the one that was asked saw it; that one first, and it alone before Confirm
	Missing       []string   // the nodes that live and have not said in time that they refuse; they will, when they next hear of it
	Hint          string     // what is left to be done by hand; empty when nothing is

	entries []revocation.Entry // what was put in force
	begun   time.Time
}

// NodeTime is how long a node took, from the call, to refuse what was withdrawn.
type NodeTime struct {
	Node string
	Took time.Duration
}

// SelectorError says what is wrong with a selector.
type SelectorError struct{ Field, Detail string }

func (e *SelectorError) Error() string { return e.Field + ": " + e.Detail }

// maxNote bounds the words with which somebody revokes, in bytes.
const maxNote = 500

var (
	errNote     = &SelectorError{"reason", "must be at most 500 bytes"}
	errLongNote = &SelectorError{"note", "must be at most 500 bytes"} // where the words are called so
)

// Revoke withdraws what sel names. It answers once the revocation is durable and this node refuses; whoever wants to hear of the other nodes asks them by Confirm. A dry run changes nothing. What does not exist is ports.ErrNotFound.
func (rv *Revoker) Revoke(ctx context.Context, by Actor, sel Selector, note string, dryRun bool) (Revoked, error) {
	begun := time.Now()
	if len(note) > maxNote {
		return Revoked{}, errNote
	}
	ctx, seen := witnessing(ctx)
	ended, err := rv.revoke(ctx, by, sel, cut(note, maxNote), dryRun)
	if err != nil {
		return Revoked{}, err
	}
	took := time.Since(begun) // this node refuses from here on
	out, err := ended.inTime(ctx)
	if dryRun && err != nil {
		return Revoked{}, err
	}
	if out.entries, out.begun = seen.entries, begun; !dryRun {
		out.Nodes = []NodeTime{{rv.node, took}}
	}
	if sel.Key != "" && rv.core.Rotator != nil {
		out.Hint = rv.core.Rotator.hint(sel.Key)
	}
	return out, nil
}

// Confirm asks the other nodes whether they refuse what was revoked, and answers with those that do and those that have not said so in time. That may take seconds, when a node hangs or there is no
// feed beside the database. A dry run asks nobody.
func (rv *Revoker) Confirm(ctx context.Context, r Revoked) Revoked {
	if len(r.Nodes) == 0 {
		return r
	}
	others := rv.core.Nodes.refuse(ctx, r.entries, r.begun)
	r.Nodes, r.Missing = append(r.Nodes[:1:1], others.Nodes...), others.Missing
	return r
}

// tally counts the sessions that an act ended, or would end. Beside an error it answers how many it had come to.
type tally func(context.Context) (int, error)

// counted is a tally that has been made.
func counted(n int) tally { return func(context.Context) (int, error) { return n, nil } }

// countFor is how long sessions are counted for an answer.
const countFor = 5 * time.Second

// inTime answers what could be counted in time, though its caller may have gone, and the fault by which it is less than all, unless that is the time.
func (t tally) inTime(ctx context.Context) (Revoked, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), countFor)
	defer cancel()
	n, err := t(ctx)
	out := Revoked{SessionsEnded: n, AtLeast: err != nil}
	if ctx.Err() != nil {
		err = nil
	}
	return out, err
}

func (rv *Revoker) revoke(ctx context.Context, by Actor, sel Selector, note string, dry bool) (tally, error) {
	set := 0
	for _, is := range []bool{sel.User != "", sel.Session != "", !sel.Token.IsZero(), sel.JTI != "", sel.Key != "", sel.IssuedBefore != 0, sel.All} {
		if is {
			set++
		}
	}
	if set != 1 {
		return nil, &SelectorError{"selector", "give exactly one of user_id, session_id, token, jti, kid, issued_before and all"}
	}
	if sel.Force && sel.Key == "" {
		return nil, &SelectorError{"force", "is for a kid alone"}
	}
	c := rv.core
	switch {
	case sel.User != "":
		acct, err := glance(ctx, c, func(ctx context.Context) (account.Account, error) { return c.lookup(ctx, sel.User) })
		if uid, wrong := id.Parse[id.User](sel.User); wrong == nil && c.Pending != nil && outage(err) && !dry {
			acct.ID, err = uid, nil // an id needs no look-up
		}
		if err != nil {
			return nil, err
		}
		if dry {
			return c.below(&acct, acct.Generation+1), nil
		}
		return c.revokeUser(ctx, by, acct.ID, note, true)
	case sel.Session != "":
		sid, err := id.Parse[id.Session](sel.Session)
		if err != nil {
			return nil, &SelectorError{"session_id", err.Error()}
		}
		return rv.endSession(ctx, by, sid, note, dry)
	case !sel.Token.IsZero():
		return rv.token(ctx, by, sel.Token, note, dry)
	case sel.JTI != "":
		jti, err := id.Parse[id.Token](sel.JTI)
		if err != nil {
			return nil, &SelectorError{"jti", err.Error()}
		}
		until, err := c.surely(ctx, c.now())
		if err != nil {
			return nil, err
		}
		return counted(0), rv.one(ctx, by, jti, "", note, until, dry)
	case sel.Key != "":
		return counted(0), rv.key(ctx, by, sel.Key, note, sel.Force, dry)
	case sel.IssuedBefore != 0:
		if sel.IssuedBefore < 0 {
			return nil, &SelectorError{"issued_before", "must lie after 1970-01-01T00:00:00Z"}
		}
		return rv.whole(ctx, by, note, dry, func(s system.State, now instant.Instant) (system.State, revocation.Entry, error) {
			return s.RevokeIssuedBefore(sel.IssuedBefore, by.Name, note, now, c.Tunables.Leeway)
		})
	default:
		return rv.whole(ctx, by, note, dry, func(s system.State, now instant.Instant) (system.State, revocation.Entry, error) {
			s, e := s.RevokeAll(by.Name, note, now)
			return s, e, nil
		})
	}
}

// token withdraws one access token, or ends the session of a refresh token (RFC 7009, section 2.1).
func (rv *Revoker) token(ctx context.Context, by Actor, text secret.Text, note string, dry bool) (tally, error) {
	if strings.HasPrefix(text.RevealPlaintext(), session.RefreshPrefix) {
		t, err := rv.sessions.proved(text)
		if err != nil {
			return nil, &SelectorError{"token", "is not a refresh token of this system"}
		}
		return rv.endSession(ctx, by, t.Session, note, dry)
	}
	if apikey.Looks(text.RevealPlaintext()) {
		return counted(0), rv.core.revokeText(ctx, by, text, note, dry)
	}
	claims, err := rv.core.Codec.Parse(text.RevealPlaintext())
	if err != nil {
		return nil, &SelectorError{"token", "is no token and no API key of this system"}
	}
	return counted(0), rv.one(ctx, by, claims.ID, claims.Subject.String(), note, rv.core.outlives(claims, rv.core.now()), dry)
}

func (rv *Revoker) one(ctx context.Context, by Actor, jti id.Token, user, note string, until instant.Instant, dry bool) error {
	if dry {
		return nil
	}
	e, err := rv.core.revoked(by, revocation.UserRevoked, user, note, map[string]string{"jti": jti.String()})
	if err != nil {
		return err
	}
	return rv.core.apply(ctx, e, revocation.Entry{Kind: revocation.Token, Token: jti, Reason: revocation.UserRevoked, By: by.Name, Note: note, At: rv.core.now(), Until: until})
}

// key withdraws what a key signed, for ever; when it signs, another takes its place at once. A kid that is not held is most likely mistyped, and its revocation could not be taken back.
func (rv *Revoker) key(ctx context.Context, by Actor, kid, note string, force, dry bool) error {
	if len(kid) > revocation.MaxKeyID || strings.ContainsFunc(kid, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return &SelectorError{"kid", "must be at most 128 printable ASCII characters"}
	}
	held := rv.core.Rotator != nil && rv.core.Rotator.Holds(kid)
	if !force && !held && !slices.Contains(rv.core.Codec.KeyIDs(), kid) {
		return ports.ErrNotFound
	}
	if dry {
		return nil
	}
	if held {
		_, err := rv.core.Rotator.Revoke(ctx, by, kid, note)
		return err
	}
	e, err := rv.core.revoked(by, revocation.KeyRevoked, "", note, map[string]string{"kid": kid})
	if err != nil {
		return err
	}
	e.Severity = audit.Critical
	return rv.core.apply(ctx, e, revocation.Entry{Kind: revocation.Key, KeyID: kid, Reason: revocation.KeyRevoked, By: by.Name, Note: note, At: rv.core.now(), Until: instant.Forever})
}

func (rv *Revoker) endSession(ctx context.Context, by Actor, sid id.Session, note string, dry bool) (tally, error) {
	if dry {
		x, err := rv.core.Stores.Sessions.Find(ctx, sid)
		return counted(count(x.Live(rv.core.now()))), err
	}
	lived, err := rv.core.end(ctx, by, sid, note)
	return counted(count(lived)), err
}

// end ends a session and answers whether it lived.
func (c *Core) end(ctx context.Context, by Actor, sid id.Session, note string) (lived bool, err error) {
	now := c.now()
	until, err := c.surely(ctx, now)
	if err != nil {
		return false, err
	}
	e, err := c.revoked(by, revocation.SessionEnded, "", note, map[string]string{"session": sid.String()})
	if err != nil {
		return false, err
	}
	lived, err = c.endAs(ctx, sid, revocation.SessionEnded, session.End{By: by.Name, Note: note, Now: now, Until: until}, e)
	if err == nil && by.Name != System { // whoever ends it may not have begun it
		err = c.forgetEnded(ctx, sid)
	}
	return lived, err
}

// endAs ends a session for a reason, of which e tells, together with what the entries beside it withdraw. A session that the store has forgotten is ports.ErrNotFound, unless there are
// such entries: then its tokens are withdrawn all the same.
func (c *Core) endAs(ctx context.Context, sid id.Session, why revocation.Reason, act session.End, e audit.Event, beside ...revocation.Entry) (lived bool, err error) {
	whole := append(beside[:len(beside):len(beside)], revocation.Entry{Kind: revocation.Session, Session: sid, Reason: why, By: act.By, Note: act.Note, At: act.Now, Until: act.Until})
	err = c.durably(ctx, whole, func(ctx context.Context, how mode) (eff ports.Effects, err error) {
		err = c.Stores.Sessions.Update(ctx, sid, func(x session.Session) (session.Session, ports.Effects, error) {
			lived = x.Live(act.Now)
			mine := x.Ended == act.Now
			x, entry := x.End(why, act)
			e.Subject = x.User.String()
			eff = ports.Effects{Revocations: append(beside[:len(beside):len(beside)], entry), Events: how.events(mine, e)}
			return x, eff, nil
		})
		if errors.Is(err, ports.ErrNotFound) && (how.again || len(beside) > 0) {
			eff = ports.Effects{Revocations: whole, Events: how.events(false, e)}
			err = c.Stores.System.Commit(ctx, eff)
		}
		return eff, err
	})
	return lived, err
}

// whole changes the state of the whole system with the revocation that follows.
func (rv *Revoker) whole(ctx context.Context, by Actor, note string, dry bool, f func(system.State, instant.Instant) (system.State, revocation.Entry, error)) (tally, error) {
	c := rv.core
	now := c.now()
	e, err := c.revoked(by, revocation.EpochRaised, "", note, map[string]string{})
	if err != nil {
		return nil, err
	}
	e.Severity = audit.Critical
	_, known, err := f(system.State{Epoch: token.Epoch(beyond(now, int64(c.View.Epoch())) - 1), LongestAccess: longestAccess}, now) // what is said of a state that cannot be read
	if errors.Is(err, system.ErrFuture) {
		return nil, &SelectorError{"issued_before", err.Error()}
	} else if err != nil {
		return nil, err
	}
	if known.Kind == revocation.Epoch {
		e.Kind = audit.EpochRaised
	}
	e.Reason, e.Details["selector"] = known.Reason.String(), known.Kind.String()
	var before, after system.State
	write := func(ctx context.Context, how mode) (eff ports.Effects, err error) {
		err = c.Stores.System.Update(ctx, func(s system.State) (system.State, ports.Effects, error) {
			entry := known
			before, s = s, c.wholeNow().of(s)
			if how.again {
				s = s.Knows(&known)
			} else if s, entry, err = f(s, now); err != nil {
				return before, ports.Effects{}, err
			}
			after, eff = s, ports.Effects{Revocations: []revocation.Entry{entry}, Events: how.events(false, e)}
			if dry {
				return before, ports.Effects{}, errNothing
			}
			return s, eff, nil
		})
		return eff, err
	}
	if dry {
		if _, err := write(ctx, mode{}); !errors.Is(err, errNothing) {
			return nil, err
		}
	} else if err := c.durably(ctx, []revocation.Entry{known}, write); err != nil {
		return nil, err
	}
	return func(ctx context.Context) (int, error) { return c.hit(ctx, before, after, now) }, nil
}

// hit counts the sessions that lived under one state of the system and are ended under the next.
func (c *Core) hit(ctx context.Context, before, after system.State, now instant.Instant) (n int, err error) {
	err = c.eachSession(ctx, func(a *account.Account, x *session.Session) {
		_, is := after.MayRefresh(x)
		n += count(lives(x, a, before, now) && !is)
	})
	return n, err
}

// eachSession calls f with every session that is kept, and its account, in the order of session.Place.
func (c *Core) eachSession(ctx context.Context, f func(*account.Account, *session.Session)) error {
	const page = 500
	for from := (session.Place{}); ; {
		all, err := c.Stores.Sessions.List(ctx, from, page)
		if err != nil {
			return err
		}
		for i := range all {
			f(&all[i].Account, &all[i].Session)
		}
		if len(all) < page {
			return nil
		}
		from = all[len(all)-1].Session.Place()
	}
}

// revokeUser withdraws all tokens of a user and ends all their sessions, with keys also their API keys.
func (c *Core) revokeUser(ctx context.Context, by Actor, uid id.User, note string, keys bool) (tally, error) {
	now := c.now()
	until, err := c.surely(ctx, now)
	if err != nil {
		return nil, err
	}
	e, err := c.revoked(by, revocation.UserRevoked, uid.String(), note, map[string]string{})
	if err != nil {
		return nil, err
	}
	act := account.Act{By: by.Name, Note: note, Now: now, Until: until}
	known := revocation.Entry{Kind: revocation.User, User: uid, Min: c.beyondUser(uid, now), Reason: revocation.UserRevoked, By: by.Name, Note: note, At: now, Until: until}
	end := account.Account.Revoke
	if keys {
		end = account.Account.RevokeAll
	}
	var before account.Account
	var raised token.Generation
	err = c.durably(ctx, []revocation.Entry{known}, func(ctx context.Context, how mode) (eff ports.Effects, err error) {
		err = c.Stores.Accounts.Update(ctx, uid, func(a account.Account) (account.Account, ports.Effects, error) {
			before, a = a, c.known(a)
			entry, mine := known, before.Updated == now && before.SessionsFrom > 1 && before.SessionsEnded == known.Reason
			if how.again {
				a = a.RaiseTo(known.Min, known.Reason, keys, now)
			} else {
				a, entry = end(a, act, known.Reason)
			}
			raised, eff = a.SessionsFrom, ports.Effects{Revocations: []revocation.Entry{entry}, Events: how.events(mine, e)}
			return a, eff, nil
		})
		if how.again && errors.Is(err, ports.ErrNotFound) {
			eff = ports.Effects{Revocations: []revocation.Entry{known}, Events: how.events(false, e)}
			err = c.Stores.System.Commit(ctx, eff)
		}
		return eff, err
	})
	if err != nil {
		return nil, err
	}
	return c.below(&before, raised), nil
}

// below counts the sessions of an account that lived before a raise of its least session generation to end.
func (c *Core) below(a *account.Account, end token.Generation) tally {
	return func(ctx context.Context) (int, error) {
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
			n += count(lives(&all[i], a, whole, now) && all[i].Generation < end)
		}
		return n, nil
	}
}

// lives reports whether a session can still be refreshed, as far as it, its account and the whole system are asked.
func lives(x *session.Session, a *account.Account, whole system.State, now instant.Instant) bool {
	_, mine := a.MayRefresh(x.Generation)
	_, ours := whole.MayRefresh(x)
	return mine && ours && x.Live(now)
}

// revoked is the event of a withdrawal; a note becomes one of its details.
func (c *Core) revoked(by Actor, why revocation.Reason, user, note string, details map[string]string) (audit.Event, error) {
	e, err := c.event(by.Request, audit.TokenRevoked, audit.Info, audit.Success)
	if note != "" {
		details["note"] = note
	}
	e.Subject, e.Reason, e.Details = user, why.String(), details
	by.signs(&e)
	return e, err
}

// outlives is when a token, leeway included, has surely expired everywhere.
func (c *Core) outlives(t *token.Claims, now instant.Instant) instant.Instant {
	return max(t.ExpiresAt, now).Add(c.Tunables.Leeway + token.Margin)
}

// apply writes down one entry, which comes with no change of state, and the event that tells of it.
func (c *Core) apply(ctx context.Context, e audit.Event, entry revocation.Entry) error {
	entries := []revocation.Entry{entry}
	return c.durably(ctx, entries, func(ctx context.Context, how mode) (ports.Effects, error) {
		eff := ports.Effects{Revocations: entries, Events: how.events(false, e)}
		return eff, c.Stores.System.Commit(ctx, eff)
	})
}

func count(yes bool) int {
	if yes {
		return 1
	}
	return 0
}
