package memstore

import (
	"bytes"
	"context"
	"slices"

	"github.com/xteam/xteam/domain/account"
	"github.com/xteam/xteam/domain/id"
	"github.com/xteam/xteam/domain/session"
	"github.com/xteam/xteam/ports"
)

// Accounts is the store's ports.Accounts.
type Accounts struct{ s *Store }

var _ ports.Accounts = Accounts{}

// Accounts answers the port of accounts.
func (s *Store) Accounts() Accounts { return Accounts{s} }

// Create stores a new account with its effects, or fails with ports.ErrTaken.
func (p Accounts) Create(ctx context.Context, a account.Account, e ports.Effects) error {
	return p.s.commit(ctx, e, func() error {
		if _, taken := p.s.accounts[a.ID]; taken {
			return ports.ErrTaken
		}
		return p.s.putAccount(account.Account{}, record[account.Account]{a, 1})
	})
}

// Update replaces the account by what change makes of it.
func (p Accounts) Update(ctx context.Context, uid id.User, change func(account.Account) (account.Account, ports.Effects, error)) error {
	load := func() record[account.Account] { return p.s.accounts[uid] }
	return update(ctx, p.s, load, cloneAccount, change, func(next record[account.Account]) error {
		if next.value.ID != uid {
			return fixed("an account's id")
		}
		return p.s.putAccount(load().value, next)
	})
}

// putAccount stores an account in the place of old, which is zero for a new one, unless a name of it is another's.
func (s *Store) putAccount(old account.Account, next record[account.Account]) error {
	a := next.value
	email, name := a.Email.String(), a.Username.Folded()
	if owner, ok := s.emails[email]; ok && owner != a.ID {
		return ports.ErrTaken
	}
	if owner, ok := s.names[name]; ok && owner != a.ID {
		return ports.ErrTaken
	}
	if !old.ID.IsZero() {
		delete(s.emails, old.Email.String())
		delete(s.names, old.Username.Folded())
	}
	s.emails[email], s.names[name] = a.ID, a.ID
	s.accounts[a.ID] = next
	return nil
}

// Find answers the account, or ports.ErrNotFound.
func (p Accounts) Find(ctx context.Context, uid id.User) (account.Account, error) {
	var r record[account.Account]
	if err := p.s.read(ctx, func() { r = p.s.accounts[uid] }); err != nil {
		return account.Account{}, err
	}
	return found(r)
}

// Named answers the account with that e-mail address or user name, or ports.ErrNotFound.
func (p Accounts) Named(ctx context.Context, login account.Login) (account.Account, error) {
	var r record[account.Account]
	if err := p.s.read(ctx, func() {
		switch {
		case !login.Email.IsZero():
			r = p.s.accounts[p.s.emails[login.Email.String()]]
		case !login.Username.IsZero():
			r = p.s.accounts[p.s.names[login.Username.Folded()]]
		}
	}); err != nil {
		return account.Account{}, err
	}
	return found(r)
}

// List answers at most limit accounts in the order of their ids.
func (p Accounts) List(ctx context.Context, after id.User, limit int) ([]account.Account, error) {
	var all []account.Account
	if err := p.s.read(ctx, func() {
		for uid, r := range p.s.accounts {
			if bytes.Compare(uid[:], after[:]) > 0 {
				all = append(all, r.value)
			}
		}
	}); err != nil {
		return nil, err
	}
	slices.SortFunc(all, func(a, b account.Account) int { return bytes.Compare(a.ID[:], b.ID[:]) })
	return all[:min(max(limit, 0), len(all))], nil
}

// Sessions is the store's ports.Sessions.
type Sessions struct{ s *Store }

var _ ports.Sessions = Sessions{}

// Sessions answers the port of sessions. None is ever forgotten.
func (s *Store) Sessions() Sessions { return Sessions{s} }

// Create stores a new session with its effects, or fails with ports.ErrTaken.
func (p Sessions) Create(ctx context.Context, v session.Session, e ports.Effects) error {
	return p.s.commit(ctx, e, func() error {
		if _, taken := p.s.sessions[v.ID]; taken {
			return ports.ErrTaken
		}
		p.s.sessions[v.ID] = record[session.Session]{cloneSession(v), 1}
		return nil
	})
}

// Update replaces the session by what change makes of it.
func (p Sessions) Update(ctx context.Context, sid id.Session, change func(session.Session) (session.Session, ports.Effects, error)) error {
	load := func() record[session.Session] { return p.s.sessions[sid] }
	return update(ctx, p.s, load, cloneSession, change, func(next record[session.Session]) error {
		if next.value.ID != sid || next.value.User != load().value.User {
			return fixed("a session's id or user")
		}
		p.s.sessions[sid] = next
		return nil
	})
}

// Find answers the session, or ports.ErrNotFound.
func (p Sessions) Find(ctx context.Context, sid id.Session) (session.Session, error) {
	var r record[session.Session]
	if err := p.s.read(ctx, func() { r = p.s.sessions[sid]; r.value = cloneSession(r.value) }); err != nil {
		return session.Session{}, err
	}
	return found(r)
}

// Standing answers the session, its account and the state, or ports.ErrNotFound.
func (p Sessions) Standing(ctx context.Context, sid id.Session) (out ports.Standing, err error) {
	var a record[account.Account]
	var s record[session.Session]
	if err := p.s.read(ctx, func() {
		s = p.s.sessions[sid]
		a = p.s.accounts[s.value.User]
		out = ports.Standing{Session: cloneSession(s.value), Account: cloneAccount(a.value), System: cloneState(p.s.system.value)}
	}); err != nil {
		return ports.Standing{}, err
	}
	if s.version == 0 || a.version == 0 {
		return ports.Standing{}, ports.ErrNotFound
	}
	return out, nil
}

// OfUser answers all sessions of a user, oldest first.
func (p Sessions) OfUser(ctx context.Context, uid id.User) ([]session.Session, error) {
	var all []session.Session
	if err := p.s.read(ctx, func() {
		for _, r := range p.s.sessions {
			if r.value.User == uid {
				all = append(all, cloneSession(r.value))
			}
		}
	}); err != nil {
		return nil, err
	}
	slices.SortFunc(all, func(a, b session.Session) int { return a.Place().Compare(b.Place()) })
	return all, nil
}

// List answers sessions of everybody in the order of their places.
func (p Sessions) List(ctx context.Context, after session.Place, limit int) ([]ports.Held, error) {
	var all []ports.Held
	if err := p.s.read(ctx, func() {
		for _, r := range p.s.sessions {
			if a, ok := p.s.accounts[r.value.User]; ok && r.value.Place().Compare(after) > 0 {
				all = append(all, ports.Held{Session: cloneSession(r.value), Account: cloneAccount(a.value)})
			}
		}
	}); err != nil {
		return nil, err
	}
	slices.SortFunc(all, func(a, b ports.Held) int { return a.Session.Place().Compare(b.Session.Place()) })
	return all[:min(max(limit, 0), len(all))], nil
}

func found[V any](r record[V]) (V, error) {
	if r.version == 0 {
		return r.value, ports.ErrNotFound
	}
	return r.value, nil
}
