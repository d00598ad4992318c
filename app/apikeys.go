package app

import (
	"cmp"
	"context"
	"errors"
	"strconv"
	"time"

	"github.com/xteam/xteam/domain/account"
	"github.com/xteam/xteam/domain/apikey"
	"github.com/xteam/xteam/domain/audit"
	"github.com/xteam/xteam/domain/id"
	"github.com/xteam/xteam/domain/instant"
	"github.com/xteam/xteam/domain/revocation"
	"github.com/xteam/xteam/domain/secret"
	"github.com/xteam/xteam/domain/token"
	"github.com/xteam/xteam/ports"
)

// APIKeys makes, lists, rotates and ends the API keys of users. A caller may be signed in or bear a key with the scope apikey.KeysWrite, which gives
// nothing that it has not itself: neither scopes nor time, not even when it rotates itself. Renewing a key takes a session of its owner. A key that was rotated,
// and goes on for its overlap, may end itself and nothing else.
type APIKeys struct {
	core   *Core
	guard  *Guard
	making [64]chan struct{} // held by whoever counts the keys of an owner and adds one
}

// NewAPIKeys stands on the core; guard is the one that admits keys on this node. Run should be running beside it.
func NewAPIKeys(c *Core, guard *Guard) *APIKeys {
	a := &APIKeys{core: c, guard: guard}
	for i := range a.making {
		a.making[i] = make(chan struct{}, 1)
	}
	return a
}

// IssuedKey is a new key with its text, which is told this once.
type IssuedKey struct {
	apikey.Key
	Text secret.Text
}

// Issue makes a key of the caller's. A scope that the owner may not give, or a key that asks has not itself, is ErrForbidden; one key too many, *apikey.LimitError.
func (a *APIKeys) Issue(ctx context.Context, r Request, c Caller, w apikey.Wish) (IssuedKey, error) {
	if w.Name == (apikey.Name{}) {
		return IssuedKey{}, &apikey.InvalidError{Field: "name", Detail: "is required"}
	}
	if most := a.core.Limiter.mostOfKey(); w.Limit > most {
		return IssuedKey{}, &apikey.InvalidError{Field: "requests_per_minute", Detail: "must be at most " + strconv.FormatInt(most, 10) + ", as many as each key may have here"}
	}
	if err := a.guard.Require(ctx, r, c, apikey.KeysWrite, manage); err != nil {
		return IssuedKey{}, err
	}
	leave, err := a.turn(ctx, c.User())
	if err != nil {
		return IssuedKey{}, err
	}
	defer leave()
	now := a.core.now() // before the owner is judged
	acct, self, err := a.owner(ctx, r, c, now)
	if err != nil {
		return IssuedKey{}, err
	}
	if err := a.within(ctx, r, c, &acct, w.Scopes, "make an API key"); err != nil {
		return IssuedKey{}, err
	}
	proof, text, err := a.draw()
	if err != nil {
		return IssuedKey{}, err
	}
	e, err := a.event(r, c, audit.APIKeyCreated, proof.ID)
	if err != nil {
		return IssuedKey{}, err
	}
	k := apikey.New(proof, acct.ID, c.Claims.Generation, w, now)
	madeBy(&k, c, &self)
	e.Details["scopes"], e.Details["expires"] = k.Scopes.String(), k.Expires.String()
	if err := a.room(ctx, &acct, now, apikey.MaxLive, true); err != nil {
		return IssuedKey{}, err
	}
	eff := ports.Effects{Events: []audit.Event{e}}
	if err := a.core.Stores.APIKeys.Create(ctx, k, eff); err != nil {
		return IssuedKey{}, err
	}
	a.core.felt(ctx, eff)
	return IssuedKey{k, text}, nil
}

// ListedKey is a key as its owner sees it.
type ListedKey struct {
	apikey.Key
	Ended error // why it is refused now: apikey.ErrExpired or a *revocation.RevokedError; nil while it lives
}

// List answers the caller's keys, ended ones of the last days too, oldest first.
func (a *APIKeys) List(ctx context.Context, r Request, c Caller) ([]ListedKey, error) {
	if err := a.guard.Require(ctx, r, c, apikey.KeysWrite, manage); err != nil {
		return nil, err
	}
	now := a.core.now()
	acct, _, err := a.owner(ctx, r, c, now)
	if err != nil {
		return nil, err
	}
	return a.list(ctx, &acct, now)
}

func (a *APIKeys) list(ctx context.Context, acct *account.Account, now instant.Instant) ([]ListedKey, error) {
	all, err := a.core.Stores.APIKeys.OfUser(ctx, acct.ID)
	if err != nil {
		return nil, err
	}
	listed := make([]ListedKey, len(all))
	for i := range all {
		listed[i] = ListedKey{all[i], cmp.Or(all[i].Refusal(now), ownersEnd(&all[i], acct))}
	}
	return listed, nil
}

// ListOf answers the keys of an account as List does. Who may ask is for the caller to decide.
func (a *APIKeys) ListOf(ctx context.Context, uid id.User) ([]ListedKey, error) {
	acct, err := a.core.Stores.Accounts.Find(ctx, uid)
	if err != nil {
		return nil, err
	}
	return a.list(ctx, &acct, a.core.now())
}

// Find answers a key by its id as ListOf does. Who may ask is for the caller to decide.
func (a *APIKeys) Find(ctx context.Context, kid id.APIKey) (ListedKey, error) {
	k, err := a.core.Stores.APIKeys.Find(ctx, kid)
	if err != nil {
		return ListedKey{}, err
	}
	acct, err := a.core.Stores.Accounts.Find(ctx, k.Owner)
	if err != nil {
		return ListedKey{}, err
	}
	return ListedKey{k, cmp.Or(k.Refusal(a.core.now()), ownersEnd(&k, &acct))}, nil
}

// Rotation says how a key is to be replaced.
type Rotation struct {
	Life    time.Duration // of the new key; 0: as long as the old one was to live; of a key that asks, at most what it has left
	Overlap time.Duration // how long the old one goes on, in whole hours; 0: not at all
}

// Rotate puts another key in the place of one of the caller's. A key that is not theirs is ports.ErrNotFound, as one that never was; one that has ended is
// apikey.ErrEnded, one that was rotated before apikey.ErrRotated.
func (a *APIKeys) Rotate(ctx context.Context, r Request, c Caller, kid id.APIKey, how Rotation) (IssuedKey, error) {
	if err := a.guard.Require(ctx, r, c, apikey.KeysWrite, manage); err != nil {
		return IssuedKey{}, err
	}
	leave, err := a.turn(ctx, c.User())
	if err != nil {
		return IssuedKey{}, err
	}
	defer leave()
	now := a.core.now()
	acct, self, err := a.owner(ctx, r, c, now)
	if err != nil {
		return IssuedKey{}, err
	}
	was, err := a.core.ownKey(ctx, c, kid)
	if err != nil {
		return IssuedKey{}, err
	}
	if ownersEnd(&was, &acct) != nil {
		return IssuedKey{}, apikey.ErrEnded
	}
	if err := a.within(ctx, r, c, &acct, was.Scopes, "rotate an API key"); err != nil {
		return IssuedKey{}, err
	}
	until, err := a.core.horizon(ctx, now)
	if err != nil {
		return IssuedKey{}, err
	}
	proof, text, err := a.draw()
	if err != nil {
		return IssuedKey{}, err
	}
	e, err := a.event(r, c, audit.APIKeyRotated, kid)
	if err != nil {
		return IssuedKey{}, err
	}
	// Each live key can be rotated once. Keys that ended keep no owner from it, whoever made them; a key that rotates without end would add to them without end.
	if err := a.room(ctx, &acct, now, 2*apikey.MaxLive, c.IsKey()); err != nil {
		return IssuedKey{}, err
	}
	act := apikey.Act{By: c.User().String(), Now: now, Until: until}
	var next apikey.Key
	var eff ports.Effects
	err = a.core.Stores.APIKeys.Replace(ctx, kid, func(old apikey.Key) (apikey.Key, apikey.Key, ports.Effects, error) {
		old, made, entries, err := old.Rotate(proof, c.Claims.Generation, how.Life, how.Overlap, act)
		if err != nil {
			return old, apikey.Key{}, ports.Effects{}, err
		}
		madeBy(&made, c, &self)
		e.Details["successor"], e.Details["old_until"], e.Details["expires"] = made.ID.String(), old.End().String(), made.Expires.String()
		next, eff = made, ports.Effects{Revocations: entries, Events: []audit.Event{e}}
		return old, made, eff, nil
	})
	if err != nil {
		return IssuedKey{}, err
	}
	a.core.felt(ctx, eff)
	return IssuedKey{next, text}, nil
}

// Revoke ends a key of the caller's, for good and at once. A key that is not theirs is ports.ErrNotFound, as one that never was. One that has ended already stays as it is.
func (a *APIKeys) Revoke(ctx context.Context, r Request, c Caller, kid id.APIKey) error {
	_, err := a.revokeOwn(ctx, r, c, kid, false)
	return err
}

// RevokeLine is Revoke, and ends too whatever lives of the keys that kid made, that these made, and so on: it answers all that it ended, kid first. What somebody makes by
// kid meanwhile is ended too. A rotated key cannot ask for it.
func (a *APIKeys) RevokeLine(ctx context.Context, r Request, c Caller, kid id.APIKey) ([]id.APIKey, error) {
	return a.revokeOwn(ctx, r, c, kid, true)
}

func (a *APIKeys) revokeOwn(ctx context.Context, r Request, c Caller, kid id.APIKey, line bool) ([]id.APIKey, error) {
	const what = "revoke an API key"
	if err := a.guard.Require(ctx, r, c, apikey.KeysWrite, what); err != nil {
		return nil, err
	}
	if line || c.Claims.APIKey != kid { // itself alone any key may end
		if _, err := a.standing(ctx, r, c, a.core.now(), what); err != nil {
			return nil, err
		}
	}
	k, err := glance(ctx, a.core, func(ctx context.Context) (apikey.Key, error) { return a.core.ownKey(ctx, c, kid) })
	if a.core.Pending != nil && outage(err) {
		if known := a.guard.keys.last(kid); known != nil && known.key.Owner == c.User() { // a key never changes hands
			k, err = known.key, nil
		}
	}
	if err != nil {
		return nil, err
	}
	return a.revoke(ctx, &k, line, "", func(kid id.APIKey) (audit.Event, error) { return a.event(r, c, audit.APIKeyRevoked, kid) })
}

// End ends a key at an administrator's wish, whoever owns it, and answers it, and with line the others that RevokeLine would end too. What does not exist is ports.ErrNotFound.
func (a *APIKeys) End(ctx context.Context, by Actor, kid id.APIKey, note string, line bool) ([]id.APIKey, error) {
	if len(note) > maxNote {
		return nil, errNote
	}
	k, err := glance(ctx, a.core, func(ctx context.Context) (apikey.Key, error) { return a.core.Stores.APIKeys.Find(ctx, kid) })
	if a.core.Pending != nil && outage(err) {
		k.ID, err = kid, nil // an administrator may end any
	}
	if err != nil {
		return nil, err
	}
	note = cut(note, maxNote)
	return a.revoke(ctx, &k, line, note, func(kid id.APIKey) (audit.Event, error) { return a.core.endedKey(by, kid, note) })
}

// revoke ends k, and its line if that is wanted; event tells of one.
func (a *APIKeys) revoke(ctx context.Context, k *apikey.Key, line bool, note string, event func(id.APIKey) (audit.Event, error)) ([]id.APIKey, error) {
	one := func(kid id.APIKey) error {
		e, err := event(kid)
		if err != nil {
			return err
		}
		return a.core.revokeKey(ctx, e, kid, note)
	}
	ended := []id.APIKey{k.ID}
	if err := one(k.ID); err != nil || !line {
		return ended, err
	}
	for more := true; more; { // a key that was let in before its own end may have made one since
		leave, err := a.turn(ctx, k.Owner)
		if err != nil {
			return nil, err
		}
		all, err := a.core.Stores.APIKeys.OfUser(ctx, k.Owner)
		leave()
		if err != nil {
			return nil, err
		}
		more = false
		for _, child := range apikey.Line(k.ID, all) {
			if child.Refusal(a.core.now()) != nil {
				continue
			}
			if err := one(child.ID); err != nil {
				return nil, err
			}
			ended, more = append(ended, child.ID), true
		}
	}
	return ended, nil
}

// revokeKey ends a key; e is the event that tells of it, and by whom.
func (c *Core) revokeKey(ctx context.Context, e audit.Event, kid id.APIKey, note string) error {
	now := c.now()
	until, err := c.surely(ctx, now)
	if err != nil {
		return err
	}
	known := revocation.Entry{Kind: revocation.APIKey, APIKey: kid, Reason: revocation.KeyRevoked, By: e.Actor, Note: note, At: now, Until: until}
	return c.durably(ctx, []revocation.Entry{known}, func(ctx context.Context, how mode) (eff ports.Effects, err error) {
		err = c.Stores.APIKeys.Update(ctx, kid, func(k apikey.Key) (apikey.Key, ports.Effects, error) {
			mine := k.Revoked == now
			k, entry := k.Revoke(revocation.KeyRevoked, apikey.Act{By: e.Actor, Note: note, Now: now, Until: until})
			e.Subject, e.Reason = k.Owner.String(), entry.Reason.String()
			eff = ports.Effects{Revocations: []revocation.Entry{entry}, Events: how.events(mine, e)}
			return k, eff, nil
		})
		if how.again && errors.Is(err, ports.ErrNotFound) {
			e.Reason = known.Reason.String()
			eff = ports.Effects{Revocations: []revocation.Entry{known}, Events: how.events(false, e)}
			err = c.Stores.System.Commit(ctx, eff)
		}
		return eff, err
	})
}

// revokeText ends the API key of a text that somebody found, whoever owns it.
func (c *Core) revokeText(ctx context.Context, by Actor, text secret.Text, note string, dry bool) error {
	foreign := &SelectorError{"token", "is not an API key of this system"}
	p, err := apikey.Parse(text.RevealPlaintext())
	if err != nil {
		return foreign
	}
	k, err := c.Stores.APIKeys.Find(ctx, p.ID)
	switch {
	case errors.Is(err, ports.ErrNotFound), err == nil && !k.Proved(p):
		return foreign
	case err != nil || dry:
		return err
	}
	if acct, err := c.Stores.Accounts.Find(ctx, k.Owner); err == nil && acct.Decoy { // revoked by chance, it would tell of nobody any more
		return &SelectorError{"token", "is the API key of a decoy: bar the account to put it away"}
	}
	e, err := c.endedKey(by, p.ID, note)
	if err != nil {
		return err
	}
	return c.revokeKey(ctx, e, p.ID, note)
}

// endedKey is the event of a key that an administrator ended.
func (c *Core) endedKey(by Actor, kid id.APIKey, note string) (audit.Event, error) {
	e, err := c.event(by.Request, audit.APIKeyRevoked, audit.Info, audit.Success)
	e.Details = map[string]string{"api_key": kid.String()}
	if note != "" {
		e.Details["note"] = note
	}
	by.signs(&e)
	return e, err
}

// ownKey answers a key of the caller's. One of another owner is as one that never was.
func (c *Core) ownKey(ctx context.Context, who Caller, kid id.APIKey) (apikey.Key, error) {
	k, err := c.Stores.APIKeys.Find(ctx, kid)
	if err == nil && k.Owner != who.User() {
		err = ports.ErrNotFound
	}
	if err != nil {
		return apikey.Key{}, err
	}
	return k, nil
}

const manage = "manage API keys"

// owner answers the account of a caller who has the scope, as it is now, and the key that asks; the zero one when no key does.
func (a *APIKeys) owner(ctx context.Context, r Request, c Caller, now instant.Instant) (account.Account, apikey.Key, error) {
	self, err := a.standing(ctx, r, c, now, manage)
	if err != nil {
		return account.Account{}, self, err
	}
	acct, err := a.core.Stores.Accounts.Find(ctx, c.User())
	if errors.Is(err, ports.ErrNotFound) {
		return acct, self, token.ErrInvalid
	}
	return acct, self, err
}

// madeBy writes down who made a key. One that a key makes does not outlive it, and has no wider limit.
func madeBy(k *apikey.Key, c Caller, self *apikey.Key) {
	k.MadeBy = apikey.Maker{Session: c.Session()}
	if c.IsKey() {
		k.MadeBy = apikey.Maker{Session: self.MadeBy.Session, Key: self.ID}
		k.Expires = min(k.Expires, self.End())
		if self.Limit > 0 && (k.Limit == 0 || k.Limit > self.Limit) {
			k.Limit = self.Limit
		}
	}
}

// standing refuses a key that another has taken the place of, or that is over, and else answers it, or the zero one when no key asks. The guard may have read the
// key some minutes ago, so it is read again.
func (a *APIKeys) standing(ctx context.Context, r Request, c Caller, now instant.Instant, what string) (apikey.Key, error) {
	if !c.IsKey() {
		return apikey.Key{}, nil
	}
	self, err := a.core.ownKey(ctx, c, c.Claims.APIKey)
	if err != nil && !errors.Is(err, ports.ErrNotFound) {
		return self, err
	}
	if err != nil || !self.Successor.IsZero() || self.Refusal(now) != nil { // one that is forgotten is over
		a.guard.deniedKey(ctx, r, c, what)
		return self, ErrForbidden
	}
	return self, nil
}

// within refuses scopes that the owner may not give, or that a key which asks has not itself.
func (a *APIKeys) within(ctx context.Context, r Request, c Caller, acct *account.Account, s apikey.Scopes, what string) error {
	if apikey.Granted(acct.Role).Has(s) && c.May(s) {
		return nil
	}
	return a.guard.Denied(ctx, r, c, what+" with "+s.String())
}

func (a *APIKeys) draw() (apikey.Proof, secret.Text, error) {
	kid, err := id.New[id.APIKey](a.core.Random)
	if err != nil {
		return apikey.Proof{}, secret.Text{}, unavailable("draw the id of an API key", err)
	}
	text, proof, err := apikey.Make(a.core.Tunables.environment(), kid, a.core.Random)
	if err != nil {
		return apikey.Proof{}, secret.Text{}, unavailable("draw an API key", err)
	}
	return proof, text, nil
}

func (a *APIKeys) event(r Request, c Caller, k audit.Kind, kid id.APIKey) (audit.Event, error) {
	e, err := a.core.event(r, k, audit.Info, audit.Success)
	e.Subject, e.Details = c.User().String(), map[string]string{"api_key": kid.String()}
	c.Actor(r).signs(&e)
	return e, err
}

// turn waits until no other of the owner's keys is being made, nor a line of them revoked, on any node; then leave is to be called. Whoever asks is judged within it: what
// ended a key before lets it make none.
func (a *APIKeys) turn(ctx context.Context, owner id.User) (leave func(), err error) {
	turn := a.making[int(owner[0])%len(a.making)]
	if err := take(ctx, turn); err != nil {
		return nil, err
	}
	others, err := a.core.turn(ctx, "api-keys/"+owner.String())
	if err != nil {
		<-turn
		return nil, err
	}
	return func() { others(); <-turn }, nil
}

// room refuses one key more than the owner may have beside the live ones and, if ended counts, those that are kept. It is asked within the owner's turn.
func (a *APIKeys) room(ctx context.Context, acct *account.Account, now instant.Instant, most int, ended bool) error {
	all, err := a.list(ctx, acct, now)
	if err != nil {
		return err
	}
	live := 0
	for i := range all {
		live += count(all[i].Ended == nil)
	}
	kept := live
	if ended {
		kept = len(all)
	}
	return apikey.Room(live, kept, most)
}
