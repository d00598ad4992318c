package httpapi

import (
	"context"
	"errors"
	"net/http"

	"github.com/xteam/xteam/app"
	"github.com/xteam/xteam/domain/account"
	"github.com/xteam/xteam/domain/id"
)

// changeMeBody is what a user can change of the own account; null is as not given.
type changeMeBody struct {
	Email    *string `json:"email"`
	Username *string `json:"username"`
	FullName *string `json:"full_name"`
	Current  hidden  `json:"current_password"` // needed for a new e-mail address
}

// changeMe changes what is given of the caller's own account; null is as not given.
func (a *API) changeMe(x *exchange) error {
	var in changeMeBody
	if err := x.read(&in); err != nil {
		return err
	}
	var bad validationError
	p := account.Profile{
		Email:    parsed(in.Email, account.ParseEmail, &bad),
		Username: parsed(in.Username, account.ParseUsername, &bad),
		FullName: parsed(in.FullName, account.ParseFullName, &bad),
	}
	if len(bad.fields) > 0 {
		return &bad
	}
	if err := a.chargeName(x, p); err != nil {
		return err
	}
	is, err := a.Sessions.ChangeProfile(x.ctx(), x.request(), x.caller, p, in.Current.Text)
	if errors.Is(err, app.ErrPasswordNeeded) {
		return invalid("current_password", "is required for a new e-mail address")
	} else if err != nil {
		return err
	}
	return x.write(http.StatusOK, userOf(&is))
}

// chargeName charges a name that is new to the caller like a registration: the answer tells whether it is another's.
func (a *API) chargeName(x *exchange, p account.Profile) error {
	if p.Email == nil && p.Username == nil {
		return nil
	}
	acct, err := a.Accounts.Me(x.ctx(), x.caller)
	if err != nil || !acct.NewName(p) {
		return err
	}
	return x.limit(app.Charge{Class: auth, User: x.caller.User()})
}

// parsed is a member that may be missing; what is wrong with it is noted in bad.
func parsed[T any](text *string, parse func(string) (T, error), bad *validationError) *T {
	if text == nil {
		return nil
	}
	v, err := parse(*text)
	if field := (*account.InvalidError)(nil); errors.As(err, &field) {
		bad.note(field.Field, field.Detail)
	}
	return &v
}

func (a *API) listUsers(x *exchange) error {
	q, err := x.query("limit", "cursor")
	if err != nil {
		return err
	}
	limit, err := pageSize(q["limit"])
	if err != nil {
		return err
	}
	behind, err := usersBehind(q["cursor"])
	if err != nil {
		return err
	}
	all, more, err := a.Accounts.Page(x.ctx(), behind, limit)
	if err != nil {
		return err
	}
	page := list[user]{Items: make([]user, 0, len(all))}
	for i := range all {
		page.Items = append(page.Items, userOf(&all[i]))
	}
	if more {
		page.Next = nextUsers(all[len(all)-1].ID)
	}
	return x.write(http.StatusOK, page)
}

func (a *API) showUser(x *exchange) error {
	acct, err := a.Accounts.Lookup(x.ctx(), x.r.PathValue("user"))
	if err != nil {
		return err
	}
	return x.write(http.StatusOK, userOf(&acct))
}

// actOn does an administrator's act on the user that the path names, by id, e-mail address or user name, and answers what their account is then.
func (a *API) actOn(x *exchange, force bool, act func(context.Context, app.Actor, id.User) error) error {
	if force && !x.operator {
		return a.Guard.Denied(x.ctx(), x.request(), x.caller, x.endpoint())
	}
	acct, err := a.Accounts.Lookup(x.ctx(), x.r.PathValue("user"))
	if err != nil {
		return err
	}
	by := x.actor()
	by.Force = force
	if err := act(x.ctx(), by, acct.ID); err != nil {
		return err
	}
	if acct, err = a.Accounts.Lookup(x.ctx(), acct.ID.String()); err != nil {
		return err
	}
	return x.write(http.StatusOK, userOf(&acct))
}

// disableUserBody is what disabling takes.
type disableUserBody struct {
	Force bool `json:"force"` // the last administrator too: for the operator alone
}

func (a *API) disableUser(x *exchange) error {
	var in disableUserBody
	if err := x.readOptional(&in); err != nil {
		return err
	}
	return a.actOn(x, in.Force, a.Accounts.Disable)
}

func (a *API) enableUser(x *exchange) error {
	if err := x.readOptional(&struct{}{}); err != nil {
		return err
	}
	return a.actOn(x, false, a.Accounts.Enable)
}

func (a *API) unlockUser(x *exchange) error {
	if err := x.readOptional(&struct{}{}); err != nil {
		return err
	}
	return a.actOn(x, false, a.Accounts.Unlock)
}

// setRoleBody is what a change of role takes.
type setRoleBody struct {
	Role  string `json:"role"`
	Force bool   `json:"force"` // the last administrator too: for the operator alone
}

func (a *API) setRole(x *exchange) error {
	var in setRoleBody
	if err := x.read(&in); err != nil {
		return err
	}
	role, err := account.ParseRole(in.Role)
	if err != nil {
		return err
	}
	return a.actOn(x, in.Force, func(ctx context.Context, by app.Actor, uid id.User) error {
		return a.Accounts.SetRole(ctx, by, uid, role)
	})
}

// setPasswordBody is what a change of somebody's password takes.
type setPasswordBody struct {
	Password hidden `json:"password"`
}

func (a *API) setPassword(x *exchange) error {
	var in setPasswordBody
	if err := x.read(&in); err != nil {
		return err
	}
	return a.actOn(x, false, func(ctx context.Context, by app.Actor, uid id.User) error {
		return a.Accounts.SetPassword(ctx, by, uid, in.Password.Text)
	})
}
