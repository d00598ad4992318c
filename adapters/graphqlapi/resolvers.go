package graphqlapi

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/xteam/xteam/app"
	"github.com/xteam/xteam/domain/account"
	"github.com/xteam/xteam/domain/apikey"
	"github.com/xteam/xteam/domain/block"
	"github.com/xteam/xteam/domain/id"
	"github.com/xteam/xteam/domain/instant"
	"github.com/xteam/xteam/domain/secret"
	"github.com/xteam/xteam/domain/token"
	"github.com/xteam/xteam/ports"
)

// rules is what each field at the top of an operation asks: what the REST route of the same use case does.
var rules = struct {
	register, login, logout, changePassword, own, endOwn, dropOwn, me, listKeys, makeKey, rotateKey, endKey, adminRead, adminWrite, adminContain, adminExpensive, watch, connect app.Rule
}{
	register:       app.Rule{Class: app.Auth},
	login:          app.Rule{Class: app.Auth},
	logout:         app.Rule{Class: app.Write, Access: app.SignedIn, Contains: true},
	changePassword: app.Rule{Class: app.Auth, Access: app.SignedIn, Contains: true},
	own:            app.Rule{Class: app.Read, Access: app.SignedIn},
	endOwn:         app.Rule{Class: app.Write, Access: app.SignedIn, Contains: true, Scope: apikey.Admin}, // by a key: an administrator's alone
	dropOwn:        app.Rule{Class: app.Write, Access: app.SignedIn},
	me:             app.Rule{Class: app.Read, Access: app.SignedIn, Scope: apikey.UsersRead},
	listKeys:       app.Rule{Class: app.Read, Access: app.SignedIn, Contains: true, BySession: true, Scope: apikey.KeysWrite},
	makeKey:        app.Rule{Class: app.Write, Access: app.SignedIn, Scope: apikey.KeysWrite},
	rotateKey:      app.Rule{Class: app.Write, Access: app.SignedIn, Contains: true, BySession: true, Scope: apikey.KeysWrite},
	endKey:         app.Rule{Class: app.Write, Access: app.SignedIn, Contains: true, Scope: apikey.KeysWrite},
	adminRead:      app.Rule{Class: app.Read, Access: app.AdminOnly},
	adminWrite:     app.Rule{Class: app.Write, Access: app.AdminOnly},
	adminContain:   app.Rule{Class: app.Write, Access: app.AdminOnly, Contains: true},
	adminExpensive: app.Rule{Class: app.Expensive, Access: app.AdminOnly},
	watch:          app.Rule{Class: app.Read, Access: app.SignedIn},
	connect:        app.Rule{Class: app.Read, Access: app.SignedIn, Scope: apikey.UsersRead}, // of a socket; its fields ask for their own
}

// Query is of the generated code's ResolverRoot.
func (a *API) Query() QueryResolver { return query{a} }

// Mutation is of the generated code's ResolverRoot.
func (a *API) Mutation() MutationResolver { return mutation{a} }

// Subscription is of the generated code's ResolverRoot.
func (a *API) Subscription() SubscriptionResolver { return subscription{a} }

type (
	query        struct{ *API }
	mutation     struct{ *API }
	subscription struct{ *API }
)

// Register is of MutationResolver.
func (m mutation) Register(ctx context.Context, in RegisterInput) (*User, error) {
	v, _, err := admit(ctx, rules.register)
	if err != nil {
		return nil, err
	}
	reg, err := registrationOf(&in)
	if err != nil {
		return nil, err
	}
	made, err := m.Accounts.Register(ctx, v.Request(), reg)
	return userOf(&made, err)
}

// registrationOf collects everything that is wrong with the fields.
func registrationOf(in *RegisterInput) (r app.Registration, _ error) {
	var bad invalidError
	var err error
	r.Email, err = account.ParseEmail(in.Email)
	bad.note(err)
	r.Username, err = account.ParseUsername(in.Username)
	bad.note(err)
	if in.FullName != nil {
		r.FullName, err = account.ParseFullName(*in.FullName)
		bad.note(err)
	}
	r.Password = in.Password
	bad.note(account.CheckPassword(r.Password.RevealPlaintext(), r.Email, r.Username, r.FullName))
	return r, bad.orNil()
}

func userOf(a *account.Account, err error) (*User, error) {
	if err != nil {
		return nil, err
	}
	return &User{*a}, nil
}

// Login is of MutationResolver.
func (m mutation) Login(ctx context.Context, in LoginInput) (*Tokens, error) {
	v, _, err := admit(ctx, rules.login)
	if err != nil {
		return nil, err
	}
	who, err := account.ParseLogin(value(in.Email), value(in.Username))
	if err != nil {
		return nil, err
	}
	if in.Password.IsZero() {
		return nil, invalid("password", "is required")
	}
	t, err := m.Sessions.Login(ctx, v.Request(), who, in.Password)
	return tokensOf(t, err)
}

func tokensOf(t app.Tokens, err error) (*Tokens, error) {
	if err != nil {
		return nil, err
	}
	return &Tokens{t.Access, t.Refresh, "bearer", int(t.ExpiresIn / time.Second)}, nil
}

// Refresh is of MutationResolver. It is charged to the session of a token that proves itself; anything else is charged as a guess, a token that turns out to be dead too.
func (m mutation) Refresh(ctx context.Context, refreshToken string) (*Tokens, error) {
	v, err := visitOf(ctx)
	if err != nil {
		return nil, err
	}
	text := secret.New(refreshToken)
	sid := m.Sessions.Named(text)
	if err := v.Charge(app.Charge{Class: app.Refresh, Session: sid}); err != nil {
		return nil, err
	}
	if text.IsZero() {
		return nil, invalid("refreshToken", "is required")
	}
	t, err := m.Sessions.Refresh(ctx, v.Request(), text)
	if err != nil && !sid.IsZero() {
		if r, _ := refusalOf(err); r.Code == unauthenticated {
			if limited := v.Charge(app.Charge{Class: app.Auth}); limited != nil {
				return nil, limited
			}
		}
	}
	return tokensOf(t, err)
}

// Logout is of MutationResolver.
func (m mutation) Logout(ctx context.Context) (bool, error) {
	v, who, err := admit(ctx, rules.logout)
	if err != nil {
		return false, err
	}
	err = m.Sessions.Logout(ctx, v.Request(), who)
	return err == nil, err
}

// LogoutAll is of MutationResolver.
func (m mutation) LogoutAll(ctx context.Context) (*RevokeResult, error) {
	v, who, err := admit(ctx, rules.logout)
	if err != nil {
		return nil, err
	}
	got, err := m.Sessions.LogoutAll(ctx, v.Request(), who)
	return revoked(got, gone(err))
}

func revoked(got app.Revoked, err error) (*RevokeResult, error) {
	if err != nil {
		return nil, err
	}
	out := resultOf(got)
	return &out, nil
}

// gone turns "your own account does not exist" into what it means for the token that named it.
func gone(err error) error {
	if errors.Is(err, ports.ErrNotFound) {
		return token.ErrInvalid
	}
	return err
}

// ChangePassword is of MutationResolver.
func (m mutation) ChangePassword(ctx context.Context, in ChangePasswordInput) (*Tokens, error) {
	v, who, err := admit(ctx, rules.changePassword)
	if err != nil {
		return nil, err
	}
	if in.CurrentPassword.IsZero() {
		return nil, invalid("currentPassword", "is required")
	}
	t, err := m.Sessions.ChangePassword(ctx, v.Request(), who, in.CurrentPassword, in.NewPassword)
	if field := (*account.InvalidError)(nil); errors.As(err, &field) {
		return nil, invalid("newPassword", field.Detail)
	}
	return tokensOf(t, gone(err))
}

// RevokeToken is of MutationResolver.
func (m mutation) RevokeToken(ctx context.Context, text string, reason *string) (*RevokeResult, error) {
	v, who, err := admit(ctx, rules.adminContain)
	if err != nil {
		return nil, err
	}
	return revoked(m.Revoker.Revoke(ctx, actor(v, who), app.Selector{Token: secret.New(text)}, value(reason), false))
}

// RevokeSession is of MutationResolver.
func (m mutation) RevokeSession(ctx context.Context, text string) (*RevokeResult, error) {
	v, who, err := admit(ctx, rules.endOwn)
	if err != nil {
		return nil, err
	}
	sid, err := id.Parse[id.Session](text)
	if err != nil {
		return nil, ports.ErrNotFound
	}
	if who.IsAdmin() {
		return revoked(m.Revoker.Revoke(ctx, actor(v, who), app.Selector{Session: sid.String()}, "", false))
	}
	err = m.Sessions.EndOwn(ctx, v.Request(), who, sid)
	return revoked(app.Revoked{SessionsEnded: 1}, err)
}

// RevokeUserTokens is of MutationResolver.
func (m mutation) RevokeUserTokens(ctx context.Context, user string) (*RevokeResult, error) {
	v, who, err := admit(ctx, rules.adminContain)
	if err != nil {
		return nil, err
	}
	if user == "" {
		return nil, invalid("userId", "is required: an id, an e-mail address or a user name")
	}
	return revoked(m.Revoker.Revoke(ctx, actor(v, who), app.Selector{User: user}, "", false))
}

// CreateAPIKey is of MutationResolver.
func (m mutation) CreateAPIKey(ctx context.Context, in CreateAPIKeyInput) (*NewAPIKey, error) {
	v, who, err := admit(ctx, rules.makeKey)
	if err != nil {
		return nil, err
	}
	var bad invalidError
	var w apikey.Wish
	w.Name, err = apikey.ParseName(in.Name)
	bad.note(err)
	w.Scopes, err = apikey.ParseScopes(in.Scopes)
	bad.note(err)
	w.Life, err = lifeOf(in.ExpiresInDays)
	bad.note(err)
	if n := in.RequestsPerMinute; n != nil {
		w.Limit, err = apikey.ParseLimit(int64(*n))
		bad.note(err)
	}
	if err := bad.orNil(); err != nil {
		return nil, err
	}
	k, err := m.APIKeys.Issue(ctx, v.Request(), who, w)
	return newKey(&k, err)
}

func newKey(k *app.IssuedKey, err error) (*NewAPIKey, error) {
	if err != nil {
		return nil, err
	}
	out := newAPIKeyOf(k)
	return &out, nil
}

func lifeOf(days *int) (time.Duration, error) {
	if days == nil {
		return 0, nil
	}
	return apikey.ParseLife(int64(*days))
}

// RotateAPIKey is of MutationResolver.
func (m mutation) RotateAPIKey(ctx context.Context, text string, days, hours *int) (*NewAPIKey, error) {
	v, who, err := admit(ctx, rules.rotateKey)
	if err != nil {
		return nil, err
	}
	kid, err := id.Parse[id.APIKey](text)
	if err != nil {
		return nil, ports.ErrNotFound
	}
	var bad invalidError
	how := app.Rotation{Overlap: apikey.DefaultOverlap}
	how.Life, err = lifeOf(days)
	bad.note(err)
	if hours != nil {
		how.Overlap, err = apikey.ParseOverlap(int64(*hours))
		bad.note(err)
	}
	if err := bad.orNil(); err != nil {
		return nil, err
	}
	k, err := m.APIKeys.Rotate(ctx, v.Request(), who, kid, how)
	return newKey(&k, err)
}

// RevokeAPIKey is of MutationResolver.
func (m mutation) RevokeAPIKey(ctx context.Context, text string, children *bool) ([]string, error) {
	v, who, err := admit(ctx, rules.endKey)
	if err != nil {
		return nil, err
	}
	kid, err := id.Parse[id.APIKey](text)
	if err != nil {
		return nil, ports.ErrNotFound
	}
	if !value(children) {
		return []string{kid.String()}, m.APIKeys.Revoke(ctx, v.Request(), who, kid)
	}
	ended, err := m.APIKeys.RevokeLine(ctx, v.Request(), who, kid)
	out := make([]string, len(ended))
	for i, kid := range ended {
		out[i] = kid.String()
	}
	return out, err
}

// DeleteFile is of MutationResolver.
func (m mutation) DeleteFile(ctx context.Context, text string) (bool, error) {
	v, who, err := admit(ctx, rules.dropOwn)
	if err != nil {
		return false, err
	}
	fid, err := id.Parse[id.File](text)
	if err != nil || m.Uploads == nil {
		return false, ports.ErrNotFound
	}
	if err := m.Uploads.Delete(ctx, v.Request(), who, fid); err != nil {
		return false, err
	}
	return true, nil
}

// RotateSigningKey is of MutationResolver.
func (m mutation) RotateSigningKey(ctx context.Context, algorithm *string, graceful *bool) (*SigningKeyRotation, error) {
	v, who, err := admit(ctx, rules.adminWrite)
	if err != nil {
		return nil, err
	}
	got, err := m.Rotator.Rotate(ctx, actor(v, who), value(algorithm), value(graceful))
	if err != nil {
		return nil, err
	}
	return &SigningKeyRotation{got.Key.ID, got.Key.Algorithm, got.Was, got.Signs, got.Until}, nil
}

// DisableUser is of MutationResolver.
func (m mutation) DisableUser(ctx context.Context, user string) (*User, error) {
	return m.actOn(ctx, user, m.Accounts.Disable)
}

// CreateDecoy is of MutationResolver.
func (m mutation) CreateDecoy(ctx context.Context, in RegisterInput) (*NewDecoy, error) {
	v, who, err := admit(ctx, rules.adminWrite)
	if err != nil {
		return nil, err
	}
	reg, err := registrationOf(&in)
	if err != nil {
		return nil, err
	}
	made, key, err := m.Accounts.CreateDecoy(ctx, actor(v, who), reg)
	if err != nil {
		return nil, err
	}
	return &NewDecoy{User{made}, key}, nil
}

// EnableUser is of MutationResolver.
func (m mutation) EnableUser(ctx context.Context, user string) (*User, error) {
	return m.actOn(ctx, user, m.Accounts.Enable)
}

// actOn does an administrator's act on a user, and answers what their account is then.
func (m mutation) actOn(ctx context.Context, user string, act func(context.Context, app.Actor, id.User) error) (*User, error) {
	v, who, err := admit(ctx, rules.adminWrite)
	if err != nil {
		return nil, err
	}
	acct, err := m.Accounts.Lookup(ctx, user)
	if err != nil {
		return nil, err
	}
	if err := act(ctx, actor(v, who), acct.ID); err != nil {
		return nil, err
	}
	acct, err = m.Accounts.Lookup(ctx, acct.ID.String())
	return userOf(&acct, err)
}

// longestBlock bounds expiresInSeconds: ten years.
const longestBlock = 10 * 366 * 24 * 3600

// AcknowledgeAlert is of MutationResolver.
func (m mutation) AcknowledgeAlert(ctx context.Context, aid string) (*Alert, error) {
	v, who, err := admit(ctx, rules.adminWrite)
	if err != nil {
		return nil, err
	}
	is, err := m.Alerts.Ack(ctx, actor(v, who), aid)
	if err != nil {
		return nil, err
	}
	out := alertOf(&is)
	return &out, nil
}

// BlockIP is of MutationResolver.
func (m mutation) BlockIP(ctx context.Context, in BlockIPInput) (*BlockedIP, error) {
	v, who, err := admit(ctx, rules.adminContain)
	if err != nil {
		return nil, err
	}
	var bad invalidError
	p, err := block.Parse(in.CIDR)
	if err != nil {
		bad.fields = append(bad.fields, fault{"cidr", plainly(err)})
	}
	o := app.BlockOptions{For: time.Duration(value(in.ExpiresInSeconds)) * time.Second, Reason: value(in.Reason), Force: value(in.Force)}
	if len(o.Reason) > block.MaxReason {
		bad.fields = append(bad.fields, fault{"reason", "must be at most 100 bytes"})
	}
	if o.For < 0 || o.For > longestBlock*time.Second {
		bad.fields = append(bad.fields, fault{"expiresInSeconds", "must be from 1 to 316224000, or missing"})
	}
	if value(in.Until) != "" {
		at, err := time.Parse(time.RFC3339, *in.Until)
		switch {
		case err != nil || at.Year() > 9999:
			bad.fields = append(bad.fields, fault{"until", "must be a time in RFC 3339, such as 2026-05-01T12:00:00Z"})
		case o.For != 0:
			bad.fields = append(bad.fields, fault{"until", "is not taken beside expiresInSeconds"})
		case !at.After(m.Blocks.Now()):
			bad.fields = append(bad.fields, fault{"until", "must be in the future"})
		}
		o.Until = instant.Of(at)
	}
	if err := bad.orNil(); err != nil {
		return nil, err
	}
	made, err := m.Blocks.Block(ctx, actor(v, who), p, o)
	if err != nil {
		return nil, err
	}
	return blockedOf(&made), nil
}

// plainly is what is wrong with a network, of a domain error that says it behind its sentinel.
func plainly(err error) string {
	_, detail, ok := strings.Cut(err.Error(), block.ErrInvalid.Error()+": ")
	if !ok {
		return err.Error()
	}
	return detail
}

// UnblockIP is of MutationResolver.
func (m mutation) UnblockIP(ctx context.Context, cidr string) (bool, error) {
	v, who, err := admit(ctx, rules.adminWrite)
	if err != nil {
		return false, err
	}
	p, err := block.Parse(cidr)
	if err != nil {
		return false, invalid("cidr", plainly(err))
	}
	_, err = m.Blocks.Unblock(ctx, actor(v, who), p)
	return err == nil, err
}

// Me is of QueryResolver.
func (q query) Me(ctx context.Context) (*User, error) {
	_, who, err := admit(ctx, rules.me)
	if err != nil {
		return nil, err
	}
	acct, err := q.Accounts.Me(ctx, who)
	return userOf(&acct, err)
}

// User is of QueryResolver.
func (q query) User(ctx context.Context, handle string) (*User, error) {
	if _, _, err := admit(ctx, rules.adminRead); err != nil {
		return nil, err
	}
	acct, err := q.Accounts.Lookup(ctx, handle)
	return userOf(&acct, err)
}

// SecurityEvents is of SubscriptionResolver.
func (s subscription) SecurityEvents(ctx context.Context) (<-chan *SecurityEvent, error) {
	v, who, err := admit(ctx, rules.watch)
	if err != nil {
		return nil, err
	}
	of := who.User()
	if who.IsAdmin() {
		of = id.User{}
	}
	events, err := s.Live.Subscribe(ctx, of)
	if err != nil {
		return nil, err
	}
	out := make(chan *SecurityEvent)
	go func() {
		defer close(out)
		defer events.Close()
		for {
			e, err := events.Next(ctx)
			if err != nil {
				ended(ctx, err)
				return
			}
			if err := s.Tethers.Refusal(who, v.Request().Origin.Address); err != nil { // nothing is told after the token's end, not even while the end is on its way
				ended(ctx, err)
				return
			}
			select {
			case out <- &SecurityEvent{*e.Event}:
			case <-ctx.Done():
				return
			}
		}
	}()
	return out, nil
}

func value[T any](p *T) (v T) {
	if p != nil {
		v = *p
	}
	return v
}
