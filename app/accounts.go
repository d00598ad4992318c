package app

import (
	"context"
	"errors"
	"maps"

	"github.com/xteam/xteam/domain/account"
	"github.com/xteam/xteam/domain/audit"
	"github.com/xteam/xteam/domain/id"
	"github.com/xteam/xteam/domain/revocation"
	"github.com/xteam/xteam/domain/secret"
	"github.com/xteam/xteam/domain/token"
	"github.com/xteam/xteam/ports"
)

// Accounts makes accounts and changes what they may do.
type Accounts struct {
	core *Core
	one  chan struct{} // holds one while a change is made that may leave the system without an administrator, or give it its first
}

// NewAccounts stands on the core.
func NewAccounts(c *Core) *Accounts { return &Accounts{c, make(chan struct{}, 1)} }

// Registration is what a new account is made of.
type Registration struct {
	Email    account.Email
	Username account.Username
	FullName account.FullName
	Password secret.Text
}

// Register makes an account for somebody who is not signed in. It fails with ports.ErrTaken when the e-mail address or name belongs to another, of which the
// journal is told: so one can be found out.
func (a *Accounts) Register(ctx context.Context, r Request, reg Registration) (account.Account, error) {
	made, err := a.create(ctx, Actor{Request: r}, reg, account.RoleUser)
	if errors.Is(err, ports.ErrTaken) {
		if e, eerr := a.core.event(r, audit.RegistrationRefused, audit.Warning, audit.Failure); eerr == nil {
			e.Email, e.Reason = reg.Email.String(), "taken"
			a.core.Journal.Write(ctx, e)
		}
	}
	return made, err
}

// Create makes an account at an administrator's wish.
func (a *Accounts) Create(ctx context.Context, by Actor, reg Registration, role account.Role) (account.Account, error) {
	return a.create(ctx, by, reg, role)
}

func (a *Accounts) create(ctx context.Context, by Actor, reg Registration, role account.Role) (account.Account, error) {
	uid, err := id.New[id.User](a.core.Random)
	if err != nil {
		return account.Account{}, unavailable("draw a user id", err)
	}
	return a.createAs(ctx, by, uid, reg, role, creation{})
}

// creation is what may be special about how an account is made.
type creation struct {
	details map[string]string // of its event, beside the role
	decoy   bool              // it is no account that anybody is to use
	alone   bool              // only where there is no administrator yet; else it fails with ErrSetUp
}

func (a *Accounts) createAs(ctx context.Context, by Actor, uid id.User, reg Registration, role account.Role, how creation) (account.Account, error) {
	var none account.Account
	if err := account.CheckPassword(reg.Password.RevealPlaintext(), reg.Email, reg.Username, reg.FullName); err != nil {
		return none, err
	}
	hash, err := a.core.Passwords.Hash(ctx, reg.Password)
	if err != nil {
		return none, err
	}
	e, err := a.core.event(by.Request, audit.AccountCreated, audit.Info, audit.Success)
	if err != nil {
		return none, err
	}
	made := account.New(uid, reg.Email, reg.Username, reg.FullName, role, hash, a.core.now())
	made.Decoy = how.decoy
	e.Subject, e.Email = uid.String(), reg.Email.String()
	e.Details = map[string]string{"role": string(role)}
	maps.Copy(e.Details, how.details)
	by.signs(&e)
	if e.Actor == "" {
		e.Actor = e.Subject // who registers acts for themselves
	}
	if role == account.RoleAdmin {
		leave, err := a.turn(ctx)
		if err != nil {
			return none, err
		}
		defer leave()
	}
	if how.alone {
		if some, err := a.administered(ctx); err != nil {
			return none, err
		} else if some {
			return none, ErrSetUp
		}
	}
	eff := ports.Effects{Events: []audit.Event{e}}
	if err := a.core.Stores.Accounts.Create(ctx, made, eff); err != nil {
		return none, err
	}
	a.core.felt(ctx, eff)
	return made, nil
}

// administered reports whether there is an administrator, one who cannot sign in too.
func (a *Accounts) administered(ctx context.Context) (bool, error) {
	const page = 500
	for from := (id.User{}); ; {
		accounts, err := a.core.Stores.Accounts.List(ctx, from, page)
		if err != nil {
			return false, err
		}
		for i := range accounts {
			if accounts[i].Role == account.RoleAdmin {
				return true, nil
			}
		}
		if len(accounts) < page {
			return false, nil
		}
		from = accounts[len(accounts)-1].ID
	}
}

// Me answers the caller's own account. A caller whose account is gone has a token that is worth nothing: token.ErrInvalid.
func (a *Accounts) Me(ctx context.Context, c Caller) (account.Account, error) {
	acct, err := a.core.Stores.Accounts.Find(ctx, c.User())
	if errors.Is(err, ports.ErrNotFound) {
		return acct, token.ErrInvalid
	}
	return acct, err
}

// Lookup finds an account by what a person writes: its id, else its e-mail address, else its user name; ports.ErrNotFound when none has it.
func (a *Accounts) Lookup(ctx context.Context, handle string) (account.Account, error) {
	return a.core.lookup(ctx, handle)
}

func (c *Core) lookup(ctx context.Context, handle string) (account.Account, error) {
	if uid, err := id.Parse[id.User](handle); err == nil {
		return c.Stores.Accounts.Find(ctx, uid)
	}
	if e, err := account.ParseEmail(handle); err == nil {
		return c.Stores.Accounts.Named(ctx, account.Login{Email: e})
	}
	if u, err := account.ParseUsername(handle); err == nil {
		return c.Stores.Accounts.Named(ctx, account.Login{Username: u})
	}
	return account.Account{}, ports.ErrNotFound
}

// SetRole gives an account another role: its tokens are refused from the next request, its sessions go on with new ones. Of the last active administrator it is
// account.ErrLastAdmin, unless the operator insists.
func (a *Accounts) SetRole(ctx context.Context, by Actor, uid id.User, role account.Role) error {
	return a.change(ctx, by, uid, audit.RoleChanged, audit.Warning, map[string]string{"role": string(role)}, func(acct account.Account, act account.Act) (account.Account, []revocation.Entry) {
		return acct.SetRole(role, act)
	})
}

// Disable bars an account and ends all that it has. Of the last active administrator it is account.ErrLastAdmin, unless the operator insists; of one's own account
// account.ErrOwnAccount: who could take it back?
func (a *Accounts) Disable(ctx context.Context, by Actor, uid id.User) error {
	if by.Name == uid.String() {
		return account.ErrOwnAccount
	}
	return a.change(ctx, by, uid, audit.AccountDisabled, audit.Warning, nil, account.Account.Disable)
}

// Enable lets a barred account sign in again.
func (a *Accounts) Enable(ctx context.Context, by Actor, uid id.User) error {
	return a.change(ctx, by, uid, audit.AccountEnabled, audit.Info, nil, func(acct account.Account, act account.Act) (account.Account, []revocation.Entry) {
		return acct.Enable(act.Now), nil
	})
}

// SetPassword gives an account another password and ends all that it has, its API keys too. For one's own account, which asks for the current password, it is
// account.ErrOwnAccount.
func (a *Accounts) SetPassword(ctx context.Context, by Actor, uid id.User, password secret.Text) error {
	if by.Name == uid.String() {
		return account.ErrOwnAccount
	}
	acct, err := a.core.Stores.Accounts.Find(ctx, uid)
	if err != nil {
		return err
	}
	if err := account.CheckPassword(password.RevealPlaintext(), acct.Email, acct.Username, acct.FullName); err != nil {
		return err
	}
	hash, err := a.core.Passwords.Hash(ctx, password)
	if err != nil {
		return err
	}
	return a.change(ctx, by, uid, audit.PasswordChanged, audit.Warning, nil, func(acct account.Account, act account.Act) (account.Account, []revocation.Entry) {
		acct, entry := acct.ResetPassword(hash, act)
		return acct, []revocation.Entry{entry}
	})
}

// change makes one change at a time, on all nodes, so that of two administrators who demote each other one is left.
func (a *Accounts) change(ctx context.Context, by Actor, uid id.User, k audit.Kind, sev audit.Severity, details map[string]string,
	f func(account.Account, account.Act) (account.Account, []revocation.Entry)) error {
	leave, err := a.turn(ctx)
	if err != nil {
		return err
	}
	defer leave()
	others, err := a.others(ctx, by, uid)
	if err != nil {
		return err
	}
	now := a.core.now()
	until, err := a.core.horizon(ctx, now)
	if err != nil {
		return err
	}
	e, err := a.core.event(by.Request, k, sev, audit.Success)
	if err != nil {
		return err
	}
	e.Subject, e.Details = uid.String(), details
	by.signs(&e)
	var eff ports.Effects
	err = a.core.Stores.Accounts.Update(ctx, uid, func(was account.Account) (account.Account, ports.Effects, error) {
		eff = ports.Effects{}
		next, entries := f(a.core.known(was), account.Act{By: by.Name, Now: now, Until: until})
		if err := was.Spare(&next, others); err != nil {
			return was, eff, err
		}
		eff = ports.Effects{Revocations: entries, Events: []audit.Event{e}}
		return next, eff, nil
	})
	if err == nil {
		a.core.felt(ctx, eff)
	}
	return err
}

// turn waits until nobody else makes or takes away an administrator, on any node.
func (a *Accounts) turn(ctx context.Context) (leave func(), err error) {
	if err := take(ctx, a.one); err != nil {
		return nil, err
	}
	others, err := a.core.turn(ctx, "administrators")
	if err != nil {
		<-a.one
		return nil, err
	}
	return func() { others(); <-a.one }, nil
}

// others reports whether the system can do without the account: it is no administrator's, another is, or the operator insists.
func (a *Accounts) others(ctx context.Context, by Actor, uid id.User) (bool, error) {
	if by.Force && by.Name == Operator {
		return true, nil
	}
	acct, err := a.core.Stores.Accounts.Find(ctx, uid)
	if err != nil || !acct.Administers() {
		return err == nil, err
	}
	const page = 500
	for from := (id.User{}); ; {
		accounts, err := a.core.Stores.Accounts.List(ctx, from, page)
		if err != nil {
			return false, err
		}
		for i := range accounts {
			if accounts[i].ID != uid && accounts[i].Administers() {
				return true, nil
			}
		}
		if len(accounts) < page {
			return false, nil
		}
		from = accounts[len(accounts)-1].ID
	}
}

// Page answers at most limit accounts in the order of their ids, beginning behind one (the zero id: at the start), and whether there are more.
func (a *Accounts) Page(ctx context.Context, behind id.User, limit int) (page []account.Account, more bool, err error) {
	page, err = a.core.Stores.Accounts.List(ctx, behind, limit+1)
	if more = len(page) > limit; more {
		page = page[:limit]
	}
	return page, more, err
}
