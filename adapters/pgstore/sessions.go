package pgstore

import (
	"bytes"
	"context"
	"errors"
	"math"
	"slices"
	"time"

	"github.com/xteam/xteam/adapters/pgstore/queries"
	"github.com/xteam/xteam/domain/id"
	"github.com/xteam/xteam/domain/instant"
	"github.com/xteam/xteam/domain/session"
	"github.com/xteam/xteam/ports"
)

// ListedMost is how many sessions of a user are listed at most, the newest.
const ListedMost = 4096

// endedListed is how long a session that has ended is still listed.
const endedListed = time.Hour

// Sessions is the port of sessions. A session is dropped Margin after its Expires.
type Sessions struct{ db *DB }

var _ ports.Sessions = (*Sessions)(nil)

// Create stores a new session.
func (p *Sessions) Create(ctx context.Context, s session.Session, e ports.Effects) error {
	return p.db.share(ctx, "create a session in", "", func(ctx context.Context, tx *transaction) (ports.Effects, error) {
		sealed, err := p.db.seal(sessionContext+string(s.ID[:]), encodeSession(s))
		if err != nil {
			return e, err
		}
		return e, tx.then.AddSession(ctx, queries.AddSessionParams{ID: s.ID[:], UserID: s.User[:], Created: int64(s.Created), Listed: listed(&s),
			Expires: int64(s.Expires), Sealed: sealed})
	})
}

// Update runs change under the lock of the session's row.
func (p *Sessions) Update(ctx context.Context, sid id.Session, change func(session.Session) (session.Session, ports.Effects, error)) error {
	return p.db.share(ctx, "change a session in", sessionContext+string(sid[:]), func(ctx context.Context, tx *transaction) (ports.Effects, error) {
		row, err := tx.first.LockSession(ctx, sid[:])
		if err != nil {
			return ports.Effects{}, found(err)
		}
		was, err := p.opened(sid, row)
		if err != nil {
			return ports.Effects{}, err
		}
		before := encodeSession(was) // now: change may write into the slice that it is handed
		next, e, err := change(was)
		if err != nil {
			return e, err
		}
		if next.ID != sid || next.User != was.User {
			return e, errors.New("PostgreSQL store: the id and the user of a session cannot change")
		}
		plain := encodeSession(next)
		if bytes.Equal(plain, before) {
			return e, nil
		}
		sealed, err := p.db.seal(sessionContext+string(sid[:]), plain)
		if err != nil {
			return e, err
		}
		return e, tx.then.SetSession(ctx, queries.SetSessionParams{ID: sid[:], Created: int64(next.Created), Listed: listed(&next),
			Expires: int64(next.Expires), Sealed: sealed})
	})
}

// Find reads one session.
func (p *Sessions) Find(ctx context.Context, sid id.Session) (session.Session, error) {
	row, err := read(ctx, p.db, func(ctx context.Context, q *queries.Queries) ([]byte, error) { return q.FindSession(ctx, sid[:]) })
	if err != nil {
		return session.Session{}, err
	}
	return p.opened(sid, row)
}

// Standing reads the session, its account and the state in one statement.
func (p *Sessions) Standing(ctx context.Context, sid id.Session) (out ports.Standing, err error) {
	row, err := read(ctx, p.db, func(ctx context.Context, q *queries.Queries) (queries.FindStandingRow, error) {
		return q.FindStanding(ctx, sid[:])
	})
	if err != nil {
		return out, err
	}
	if out.Session, err = p.opened(sid, row.Session); err != nil {
		return ports.Standing{}, err
	}
	if out.Account, err = p.db.Accounts().opened(out.Session.User, row.Account); err != nil {
		return ports.Standing{}, err
	}
	if out.System, err = p.db.System().opened(row.System); err != nil {
		return ports.Standing{}, err
	}
	return out, nil
}

// OfUser reads the sessions of a user that are still listed.
func (p *Sessions) OfUser(ctx context.Context, uid id.User) ([]session.Session, error) {
	rows, err := read(ctx, p.db, func(ctx context.Context, q *queries.Queries) ([]queries.ListSessionsRow, error) {
		return q.ListSessions(ctx, queries.ListSessionsParams{UserID: uid[:], Now: int64(instant.Of(time.Now())), Most: ListedMost})
	})
	if err != nil {
		return nil, err
	}
	slices.Reverse(rows)
	all := make([]session.Session, len(rows))
	for i, row := range rows {
		var sid id.Session
		if fixed(sid[:], row.ID) != nil {
			return nil, p.db.unreadable("a session", errDamaged)
		}
		if all[i], err = p.opened(sid, row.Sealed); err != nil {
			return nil, err
		}
	}
	return all, nil
}

// List reads a page of the sessions that are still listed, with their accounts, by an index in their order.
func (p *Sessions) List(ctx context.Context, after session.Place, limit int) ([]ports.Held, error) {
	rows, err := read(ctx, p.db, func(ctx context.Context, q *queries.Queries) ([]queries.PageSessionsRow, error) {
		return q.PageSessions(ctx, queries.PageSessionsParams{UserID: after.User[:], Created: int64(after.Created), ID: after.Session[:], Now: int64(instant.Of(time.Now())), Most: int32(min(max(limit, 0), math.MaxInt32))})
	})
	if err != nil {
		return nil, err
	}
	all := make([]ports.Held, len(rows))
	var last []byte // the account before, as it stands in the row
	for i, row := range rows {
		var sid id.Session
		var uid id.User
		if fixed(sid[:], row.ID) != nil || fixed(uid[:], row.UserID) != nil {
			return nil, p.db.unreadable("a session", errDamaged)
		}
		if all[i].Session, err = p.opened(sid, row.Session); err != nil {
			return nil, err
		}
		if i > 0 && all[i-1].Account.ID == uid && bytes.Equal(last, row.Account) { // one has many
			all[i].Account = all[i-1].Account
			continue
		}
		if all[i].Account, err = p.db.Accounts().opened(uid, row.Account); err != nil {
			return nil, err
		}
		last = row.Account
	}
	return all, nil
}

func (p *Sessions) opened(sid id.Session, sealed []byte) (session.Session, error) {
	plain, err := p.db.open(sessionContext+string(sid[:]), sealed)
	if err != nil {
		return session.Session{}, err
	}
	s, err := decodeSession(sid, plain)
	if err != nil {
		return session.Session{}, p.db.unreadable("a session", err)
	}
	return s, nil
}

// listed is until when a session stands in the list of its user's. It goes before the session when that ends early: else whoever signs in and out all day would have a list of
// thousands that is read at each sign-in.
func listed(s *session.Session) int64 {
	until := s.Expires.Add(Margin)
	if s.Ended != 0 {
		until = min(until, s.Ended.Add(endedListed))
	}
	return int64(until)
}
