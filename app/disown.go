package app

import (
	"context"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/xteam/xteam/domain/account"
	"github.com/xteam/xteam/domain/audit"
	"github.com/xteam/xteam/domain/id"
	"github.com/xteam/xteam/domain/instant"
	"github.com/xteam/xteam/domain/revocation"
	"github.com/xteam/xteam/domain/secret"
	"github.com/xteam/xteam/domain/session"
	"github.com/xteam/xteam/ports"
)

const (
	// DisownPath is where the link of a notice leads; what makes it good stands behind it, in the fragment, which browsers send nowhere.
	DisownPath = "/wasnt-me"
	// disownFor is how long such a link is good.
	disownFor = 7 * 24 * time.Hour
	// newcomer is for how long after an account was made its first network is no news.
	newcomer = time.Hour
	// disownedReason is why a session has ended whose link was used; no other ends for it. It makes a link good once, whatever else has ended the session before.
	disownedReason = revocation.UserRevoked
	// newNetwork is the detail of a sign-in from a network that its user had not signed in from.
	newNetwork = "new_network"

	disownContext = "the link of a sign-in that was not its user's"
)

// ErrDisown refuses a link that is none, too old, or used up.
var ErrDisown = errors.New("this link is used up or too old, or the sign-in has ended already: if it was not you, sign in and change your password")

// isNewNetwork reports whether a sign-in comes from where its user has not signed in from, as far as sessions are kept and the account remembers. What somebody ended, as not theirs perhaps, makes no network known.
func isNewNetwork(a *account.Account, from session.Origin, all []session.Session, now instant.Instant) bool {
	p := from.Network()
	if !p.IsValid() || len(all) == 0 && now.Sub(a.Created) < newcomer {
		return false
	}
	return !a.Knows(p, account.KnownFor, now) && !usedFrom(p, all)
}

// usedFrom reports whether a session was used from a network that nobody but its user has ended.
func usedFrom(p netip.Prefix, all []session.Session) bool {
	return slices.ContainsFunc(all, func(x session.Session) bool {
		return (x.Ended == 0 || x.EndedReason == revocation.Logout) && (x.Device.Network() == p || x.LastFrom.Network() == p)
	})
}

// remember makes known from where somebody has signed in, when the session is there: what is told of is told of once, and at least once. What cannot be noted takes no sign-in back, and is not noted later
// either, when the network may have been forgotten: it is told of once more, at the first sign-in from there that no session speaks for.
func (c *Core) remember(ctx context.Context, acct *account.Account, from session.Origin, now instant.Instant) {
	if _, noted := acct.SignedIn(from.Network(), now); !noted {
		return
	}
	err := orGone(c.Stores.Accounts.Update(ctx, acct.ID, func(a account.Account) (account.Account, ports.Effects, error) {
		a, _ = a.SignedIn(from.Network(), now)
		return a, ports.Effects{}, nil
	}))
	if err != nil && ctx.Err() == nil && c.Logger != nil {
		c.Logger.Warn("The network of a sign-in could not be noted; the sign-in stands, and the network will be told of as new once more", "user_id", acct.ID.String(), "error", err.Error())
	}
}

// forget makes an account not know a network any more.
func (c *Core) forget(ctx context.Context, uid id.User, p netip.Prefix) error {
	return orGone(c.Stores.Accounts.Update(ctx, uid, func(a account.Account) (account.Account, ports.Effects, error) {
		a.Places = a.Places.Without(p)
		return a, ports.Effects{}, nil
	}))
}

// forgetAll makes an account know no network.
func (c *Core) forgetAll(ctx context.Context, uid id.User) error {
	return orGone(c.Stores.Accounts.Update(ctx, uid, func(a account.Account) (account.Account, ports.Effects, error) {
		a.Places = session.Places{}
		return a, ports.Effects{}, nil
	}))
}

// orGone is err, unless it says that there is nothing to do anything with.
func orGone(err error) error {
	if errors.Is(err, ports.ErrNotFound) {
		return nil
	}
	return err
}

// forgetEnded has the network forgotten that a session was begun in which somebody has ended, unless its user has used another from there.
func (c *Core) forgetEnded(ctx context.Context, sid id.Session) error {
	x, err := c.Stores.Sessions.Find(ctx, sid)
	if err != nil || !x.Device.Network().IsValid() {
		return orGone(err)
	}
	all, err := c.Stores.Sessions.OfUser(ctx, x.User)
	if err != nil || usedFrom(x.Device.Network(), all) {
		return err
	}
	return c.forget(ctx, x.User, x.Device.Network())
}

// Disowner tells users of sign-ins from networks that are new to them, each with a link by which the user has that sign-in ended. No store, log or event ever holds such a link.
type Disowner struct {
	core    *Core
	sealer  ports.Sealer
	notices ports.Notices // nil: nobody is told, and links are taken all the same
	base    string        // of links
}

// NewDisowner tells by notices of links that begin with base, such as https://id.example.com.
func NewDisowner(c *Core, s ports.Sealer, n ports.Notices, base string) *Disowner {
	return &Disowner{c, s, n, strings.TrimSuffix(base, "/")}
}

var _ ports.Sink = (*Disowner)(nil)

// Deliver tells of those events that are sign-ins from a new network. It is the sink of one: see SinkOptions.
func (d *Disowner) Deliver(ctx context.Context, events ...audit.Event) error {
	for i := range events {
		e := &events[i]
		if e.Kind != audit.AuthenticationSucceeded || e.Details[newNetwork] == "" {
			continue
		}
		sid, err1 := id.Parse[id.Session](e.Details["session"])
		uid, err2 := id.Parse[id.User](e.Subject)
		if err1 != nil || err2 != nil {
			continue
		}
		is, err := d.core.Stores.Sessions.Standing(ctx, sid)
		switch {
		case errors.Is(err, ports.ErrNotFound):
			continue
		case err != nil:
			return err
		case is.Session.EndedReason == disownedReason || is.Session.User != uid || d.core.now().Sub(e.Time) > disownFor:
			continue // one that its bearer has ended is told of all the same: they may have begun others
		}
		link, err := d.link(sid, e.Time)
		if err != nil {
			return fmt.Errorf("make a link: %w", err)
		}
		a := &is.Account
		n := ports.Notice{ID: e.ID, Time: e.Time, User: uid, Username: a.Username.String(), Email: a.Email.String(), FullName: a.FullName.String(), IPAddress: e.IPAddress, UserAgent: e.UserAgent, Link: link}
		if err := d.notices.Notify(ctx, n); err != nil {
			return err
		}
	}
	return nil
}

// link is good for one session, from then on.
func (d *Disowner) link(sid id.Session, at instant.Instant) (secret.Text, error) {
	sealed, err := d.sealer.Seal(disownContext, binary.BigEndian.AppendUint64(sid[:len(sid):len(sid)], uint64(at)))
	if err != nil {
		return secret.Text{}, err
	}
	return secret.New(d.base + DisownPath + "#token=" + url.QueryEscape(base64.RawURLEncoding.EncodeToString(sealed))), nil
}

// Disown ends the sign-in that a link is for, and with it whatever else its user has begun since from the same network, which is not known any more: who was told once of a network is not told of it again. It answers how many sessions that were, which
// may be none: whoever signed in may have ended theirs, and that keeps nobody from ending the others. A link is good once, for whoever has it: anything else is ErrDisown.
func (d *Disowner) Disown(ctx context.Context, r Request, text secret.Text) (ended int, err error) {
	plain := text.RevealPlaintext()
	if len(plain) > 512 {
		return 0, ErrDisown
	}
	sealed, err := base64.RawURLEncoding.DecodeString(plain)
	if err != nil {
		return 0, ErrDisown
	}
	opened, err := d.sealer.Open(disownContext, sealed)
	var sid id.Session
	if err != nil || len(opened) != len(sid)+8 {
		return 0, ErrDisown
	}
	copy(sid[:], opened)
	if age := d.core.now().Sub(instant.Instant(binary.BigEndian.Uint64(opened[len(sid):]))); age > disownFor {
		return 0, ErrDisown
	}
	x, err := d.core.Stores.Sessions.Find(ctx, sid)
	switch {
	case errors.Is(err, ports.ErrNotFound):
		return 0, ErrDisown
	case err != nil:
		return 0, err
	}
	if x.EndedReason == disownedReason {
		return 0, ErrDisown
	}
	all, err := d.core.Stores.Sessions.OfUser(ctx, x.User)
	if err != nil {
		return 0, err
	}
	for i := range all {
		o := &all[i]
		if o.ID == sid || o.Ended != 0 || o.Created < x.Created || o.Device.Network() != x.Device.Network() {
			continue
		}
		lived, err := d.end(ctx, r, o, audit.TokenRevoked)
		if err != nil && !errors.Is(err, errNothing) {
			return ended, err
		}
		ended += count(lived)
	}
	if err := d.core.forget(ctx, x.User, x.Device.Network()); err != nil {
		return ended, err
	}
	lived, err := d.end(ctx, r, &x, audit.SignInDisowned) // the last, for it uses the link up: what failed before can be asked for again
	if errors.Is(err, errNothing) {                       // of those who use it at once, one is the first
		return 0, ErrDisown
	}
	return ended + count(lived), err
}

// end ends one session, and tells of it as its user's doing, as far as that is known. It answers whether the session lived; of one that was disowned before it is errNothing.
func (d *Disowner) end(ctx context.Context, r Request, x *session.Session, k audit.Kind) (lived bool, err error) {
	now := d.core.now()
	until, err := d.core.surely(ctx, now)
	if err != nil {
		return false, err
	}
	e, err := d.core.event(r, k, audit.Critical, audit.Success)
	if err != nil {
		return false, err
	}
	const note = "its user says that it was not theirs"
	e.Actor, e.Subject, e.Reason, e.Details = x.User.String(), x.User.String(), disownedReason.String(), map[string]string{"session": x.ID.String(), "note": note, "signed_in_from": x.Device.Network().String()}
	entry := revocation.Entry{Kind: revocation.Session, Session: x.ID, Reason: disownedReason, By: x.User.String(), Note: note, At: now, Until: until}
	err = d.core.durably(ctx, []revocation.Entry{entry}, func(ctx context.Context, how mode) (eff ports.Effects, err error) {
		err = d.core.Stores.Sessions.Update(ctx, x.ID, func(x session.Session) (session.Session, ports.Effects, error) {
			if x.EndedReason == disownedReason && !how.again {
				return x, ports.Effects{}, errNothing // nor is it told of once more
			}
			lived = x.Live(now)
			x, entry := x.End(disownedReason, session.End{By: x.User.String(), Note: note, Now: now, Until: until})
			x.EndedReason, entry.Reason = disownedReason, disownedReason // whatever ended it before
			eff = ports.Effects{Revocations: []revocation.Entry{entry}, Events: how.events(false, e)}
			return x, eff, nil
		})
		return eff, err
	})
	return lived, err
}
