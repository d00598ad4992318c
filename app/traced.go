package app

import (
	"context"
	"errors"

	"github.com/xteam/xteam/domain/account"
	"github.com/xteam/xteam/domain/apikey"
	"github.com/xteam/xteam/domain/audit"
	"github.com/xteam/xteam/domain/id"
	"github.com/xteam/xteam/domain/instant"
	"github.com/xteam/xteam/domain/secret"
	"github.com/xteam/xteam/domain/session"
	"github.com/xteam/xteam/ports"
)

// Traced has a tracer told of each call of the stores that requests are answered from. What runs beside the requests is told of to nobody, and is handed on as it is.
func (s Stores) Traced(t ports.Tracer) Stores {
	s.Accounts, s.Sessions, s.APIKeys, s.Events = tracedAccounts{s.Accounts, t}, tracedSessions{s.Sessions, t}, tracedAPIKeys{s.APIKeys, t}, tracedEvents{s.Events, t}
	return s
}

// TracedPasswords has a tracer told of each password that is hashed or compared, with the time that it waits for the gate.
func TracedPasswords(p ports.Passwords, t ports.Tracer) ports.Passwords {
	return tracedPasswords{p, t}
}

// follow tells the tracer of one call. A record that is not there, or a name that is taken, is an answer like others.
func follow(ctx context.Context, t ports.Tracer, work string, call func(context.Context) error) error {
	ctx, end := t.Begin(ctx, work)
	err := call(ctx)
	end(errors.Is(err, ports.ErrUnavailable))
	return err
}

// ask is follow for a call that answers something.
func ask[T any](ctx context.Context, t ports.Tracer, work string, call func(context.Context) (T, error)) (T, error) {
	ctx, end := t.Begin(ctx, work)
	got, err := call(ctx)
	end(errors.Is(err, ports.ErrUnavailable))
	return got, err
}

type tracedPasswords struct {
	next ports.Passwords
	t    ports.Tracer
}

func (p tracedPasswords) Hash(ctx context.Context, password secret.Text) (secret.Text, error) {
	return ask(ctx, p.t, "passwords.hash", func(ctx context.Context) (secret.Text, error) { return p.next.Hash(ctx, password) })
}

func (p tracedPasswords) Compare(ctx context.Context, hash, password secret.Text) (ok, upgrade bool, err error) {
	ctx, end := p.t.Begin(ctx, "passwords.compare")
	ok, upgrade, err = p.next.Compare(ctx, hash, password)
	end(errors.Is(err, ports.ErrUnavailable))
	return ok, upgrade, err
}

type tracedAccounts struct {
	next ports.Accounts
	t    ports.Tracer
}

func (s tracedAccounts) Create(ctx context.Context, a account.Account, e ports.Effects) error {
	return follow(ctx, s.t, "accounts.create", func(ctx context.Context) error { return s.next.Create(ctx, a, e) })
}

func (s tracedAccounts) Update(ctx context.Context, uid id.User, change func(account.Account) (account.Account, ports.Effects, error)) error {
	return follow(ctx, s.t, "accounts.update", func(ctx context.Context) error { return s.next.Update(ctx, uid, change) })
}

func (s tracedAccounts) Find(ctx context.Context, uid id.User) (account.Account, error) {
	return ask(ctx, s.t, "accounts.find", func(ctx context.Context) (account.Account, error) { return s.next.Find(ctx, uid) })
}

func (s tracedAccounts) Named(ctx context.Context, login account.Login) (account.Account, error) {
	return ask(ctx, s.t, "accounts.named", func(ctx context.Context) (account.Account, error) { return s.next.Named(ctx, login) })
}

func (s tracedAccounts) List(ctx context.Context, after id.User, limit int) ([]account.Account, error) {
	return ask(ctx, s.t, "accounts.list", func(ctx context.Context) ([]account.Account, error) { return s.next.List(ctx, after, limit) })
}

type tracedSessions struct {
	next ports.Sessions
	t    ports.Tracer
}

func (s tracedSessions) Create(ctx context.Context, one session.Session, e ports.Effects) error {
	return follow(ctx, s.t, "sessions.create", func(ctx context.Context) error { return s.next.Create(ctx, one, e) })
}

func (s tracedSessions) Update(ctx context.Context, sid id.Session, change func(session.Session) (session.Session, ports.Effects, error)) error {
	return follow(ctx, s.t, "sessions.update", func(ctx context.Context) error { return s.next.Update(ctx, sid, change) })
}

func (s tracedSessions) Find(ctx context.Context, sid id.Session) (session.Session, error) {
	return ask(ctx, s.t, "sessions.find", func(ctx context.Context) (session.Session, error) { return s.next.Find(ctx, sid) })
}

func (s tracedSessions) Standing(ctx context.Context, sid id.Session) (ports.Standing, error) {
	return ask(ctx, s.t, "sessions.standing", func(ctx context.Context) (ports.Standing, error) { return s.next.Standing(ctx, sid) })
}

func (s tracedSessions) OfUser(ctx context.Context, uid id.User) ([]session.Session, error) {
	return ask(ctx, s.t, "sessions.of_user", func(ctx context.Context) ([]session.Session, error) { return s.next.OfUser(ctx, uid) })
}

func (s tracedSessions) List(ctx context.Context, after session.Place, limit int) ([]ports.Held, error) {
	return ask(ctx, s.t, "sessions.list", func(ctx context.Context) ([]ports.Held, error) { return s.next.List(ctx, after, limit) })
}

type tracedAPIKeys struct {
	next ports.APIKeys
	t    ports.Tracer
}

func (s tracedAPIKeys) Create(ctx context.Context, k apikey.Key, e ports.Effects) error {
	return follow(ctx, s.t, "api_keys.create", func(ctx context.Context) error { return s.next.Create(ctx, k, e) })
}

func (s tracedAPIKeys) Update(ctx context.Context, kid id.APIKey, change func(apikey.Key) (apikey.Key, ports.Effects, error)) error {
	return follow(ctx, s.t, "api_keys.update", func(ctx context.Context) error { return s.next.Update(ctx, kid, change) })
}

func (s tracedAPIKeys) Replace(ctx context.Context, kid id.APIKey, change func(old apikey.Key) (changed, next apikey.Key, e ports.Effects, err error)) error {
	return follow(ctx, s.t, "api_keys.replace", func(ctx context.Context) error { return s.next.Replace(ctx, kid, change) })
}

func (s tracedAPIKeys) Find(ctx context.Context, kid id.APIKey) (apikey.Key, error) {
	return ask(ctx, s.t, "api_keys.find", func(ctx context.Context) (apikey.Key, error) { return s.next.Find(ctx, kid) })
}

func (s tracedAPIKeys) OfUser(ctx context.Context, uid id.User) ([]apikey.Key, error) {
	return ask(ctx, s.t, "api_keys.of_user", func(ctx context.Context) ([]apikey.Key, error) { return s.next.OfUser(ctx, uid) })
}

func (s tracedAPIKeys) Ending(ctx context.Context, from, until instant.Instant, after id.APIKey, limit int) ([]apikey.Key, error) {
	return ask(ctx, s.t, "api_keys.ending", func(ctx context.Context) ([]apikey.Key, error) { return s.next.Ending(ctx, from, until, after, limit) })
}

type tracedEvents struct {
	next ports.Events
	t    ports.Tracer
}

func (s tracedEvents) Record(ctx context.Context, events ...audit.Event) error {
	return follow(ctx, s.t, "events.record", func(ctx context.Context) error { return s.next.Record(ctx, events...) })
}

func (s tracedEvents) List(ctx context.Context, after uint64, limit int) (events []audit.Event, last uint64, err error) {
	ctx, end := s.t.Begin(ctx, "events.list")
	events, last, err = s.next.List(ctx, after, limit)
	end(errors.Is(err, ports.ErrUnavailable))
	return events, last, err
}

func (s tracedEvents) Latest(ctx context.Context, after uint64, limit int) ([]audit.Event, error) {
	return ask(ctx, s.t, "events.latest", func(ctx context.Context) ([]audit.Event, error) { return s.next.Latest(ctx, after, limit) })
}
