package app

import (
	"context"
	"sync"
	"time"

	"github.com/xteam/xteam/domain/account"
	"github.com/xteam/xteam/domain/apikey"
	"github.com/xteam/xteam/domain/audit"
	"github.com/xteam/xteam/domain/id"
	"github.com/xteam/xteam/domain/secret"
	"github.com/xteam/xteam/ports"
)

const (
	decoyAgain = time.Minute      // between two events of one key from one network
	decoyMost  = 4096             // keys and networks that are remembered for that
	decoyWait  = 10 * time.Second // for an event to be written down
)

// CreateDecoy makes an account whose credentials are honeytokens, with an API key of it, at an administrator's wish: its names, its password and the key may be left where only an intruder looks. All are
// refused as wrong ones are, and whoever tries one is an alert. It is an ordinary user's, and as long as the key lives or the account is not disabled.
func (a *Accounts) CreateDecoy(ctx context.Context, by Actor, reg Registration) (account.Account, secret.Text, error) {
	fail := func(err error) (account.Account, secret.Text, error) {
		return account.Account{}, secret.Text{}, err
	}
	uid, err := id.New[id.User](a.core.Random)
	if err != nil {
		return fail(unavailable("draw a user id", err))
	}
	kid, err := id.New[id.APIKey](a.core.Random)
	if err != nil {
		return fail(unavailable("draw the id of an API key", err))
	}
	text, proof, err := apikey.Make(a.core.Tunables.environment(), kid, a.core.Random)
	if err != nil {
		return fail(unavailable("draw an API key", err))
	}
	name, err := apikey.ParseName("production")
	if err != nil {
		return fail(err)
	}
	made, err := a.createAs(ctx, by, uid, reg, account.RoleUser, creation{decoy: true, details: map[string]string{"decoy": "true"}})
	if err != nil {
		return fail(err)
	}
	e, err := a.core.event(by.Request, audit.APIKeyCreated, audit.Info, audit.Success)
	if err != nil {
		return fail(err)
	}
	k := apikey.New(proof, made.ID, made.Generation, apikey.Wish{Name: name, Scopes: apikey.Granted(made.Role), Life: apikey.MaxLife}, a.core.now())
	e.Subject, e.Details = made.ID.String(), map[string]string{"api_key": kid.String(), "expires": k.Expires.String(), "decoy": "true"}
	by.signs(&e)
	eff := ports.Effects{Events: []audit.Event{e}}
	if err := a.core.Stores.APIKeys.Create(ctx, k, eff); err != nil {
		return fail(err)
	}
	a.core.felt(ctx, eff)
	return made, text, nil
}

// touched is the event of a decoy's credential that was tried.
func (c *Core) touched(r Request, uid id.User, how string) (audit.Event, error) {
	e, err := c.event(r, audit.HoneytokenTouched, audit.Critical, audit.Failure)
	e.Subject, e.Reason = uid.String(), how
	return e, err
}

// decoyKeyError refuses a decoy's API key. It is apikey.ErrInvalid to whoever asks.
type decoyKeyError struct {
	owner id.User
	key   id.APIKey
}

func (e *decoyKeyError) Error() string        { return apikey.ErrInvalid.Error() }
func (e *decoyKeyError) Is(target error) bool { return target == apikey.ErrInvalid }

// touchedKey tells of a decoy's key that was tried. Nobody waits for that: what takes longer than with another key could be told apart. One network makes an event a minute.
func (g *Guard) touchedKey(ctx context.Context, r Request, d *decoyKeyError) {
	c := g.core
	if !g.decoys.first(d.key.String()+" "+r.Origin.Network().String(), c.Now()) {
		return
	}
	e, err := c.touched(r, d.owner, "api_key")
	if err != nil {
		return
	}
	e.Details = map[string]string{"api_key": d.key.String()}
	go func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), decoyWait)
		defer cancel()
		if c.tell(ctx, e) != nil {
			c.Journal.Write(ctx, e) // the log has it at least
		}
	}()
}

// decoys remembers what was told of. The zero value has told of nothing.
type decoys struct {
	mu   sync.Mutex
	told map[string]time.Time
}

// first reports whether this was not told of within a minute.
func (d *decoys) first(what string, now time.Time) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if at, again := d.told[what]; again && now.Sub(at).Abs() < decoyAgain {
		return false
	}
	for one, at := range d.told {
		if len(d.told) >= decoyMost && now.Sub(at).Abs() >= decoyAgain {
			delete(d.told, one)
		}
	}
	if len(d.told) >= decoyMost { // so many networks have tried it within a minute: that is known by now
		return false
	}
	if d.told == nil {
		d.told = map[string]time.Time{}
	}
	d.told[what] = now
	return true
}
