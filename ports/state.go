package ports

import (
	"context"

	"github.com/xteam/xteam/domain/account"
	"github.com/xteam/xteam/domain/id"
	"github.com/xteam/xteam/domain/keyset"
	"github.com/xteam/xteam/domain/session"
	"github.com/xteam/xteam/domain/system"
)

// Accounts keeps who can sign in. E-mail addresses are unique, and so are folded user names.
type Accounts interface {
	// Create stores a new account with its effects. It fails with ErrTaken, and stores nothing, when the id, the e-mail address or the folded
	// user name belongs to another account: of concurrent creations with one name, exactly one succeeds.
	Create(ctx context.Context, a account.Account, e Effects) error
	// Update replaces the account by what change makes of it, together with change's effects. The change is atomic: of concurrent updates of one
	// account each sees the result of another, and none is lost. The function may run again, and only its last result counts; it must call no port,
	// for it may run under a lock that the other call waits for. Its error is answered as it is, and nothing is stored. A missing id is ErrNotFound, and the function does not run. A new e-mail address or name that
	// belongs to another account is ErrTaken; the old one is free for others afterwards. The id cannot change: that is an error, and nothing is stored.
	Update(ctx context.Context, uid id.User, change func(account.Account) (account.Account, Effects, error)) error
	// Find answers the account as it was last committed, or ErrNotFound.
	Find(ctx context.Context, uid id.User) (account.Account, error)
	// Named answers the account with that e-mail address or user name in any letter case, or ErrNotFound.
	Named(ctx context.Context, login account.Login) (account.Account, error)
	// List answers at most limit accounts in the order of their ids, beginning behind after (the zero id: at the start).
	List(ctx context.Context, after id.User, limit int) ([]account.Account, error)
}

// Sessions keeps sign-ins. A store may forget a session an hour or more after its Expires; never before.
type Sessions interface {
	// Create stores a new session with its effects, or fails with ErrTaken when its id exists.
	Create(ctx context.Context, s session.Session, e Effects) error
	// Update is as Accounts.Update. The id and the user of a session cannot change.
	Update(ctx context.Context, sid id.Session, change func(session.Session) (session.Session, Effects, error)) error
	// Find answers the session as it was last committed, or ErrNotFound.
	Find(ctx context.Context, sid id.Session) (session.Session, error)
	// Standing answers the session with its account and the state of the system, each as it was last committed, in one call to the store; ErrNotFound when the session or the account is missing.
	Standing(ctx context.Context, sid id.Session) (Standing, error)
	// OfUser answers the sessions of a user that are still kept, expired ones too, oldest first by Created. One that ended an hour or more ago may be left out, though
	// Find answers it still. A store may stop at the newest thousands.
	OfUser(ctx context.Context, uid id.User) ([]session.Session, error)
	// List answers at most limit sessions of everybody, each with its account, in the order of session.Place, beginning behind after: all that OfUser answers, and beyond where that stops. One whose account
	// is missing is left out.
	List(ctx context.Context, after session.Place, limit int) ([]Held, error)
}

// Held is a session and the account that has it.
type Held struct {
	Session session.Session
	Account account.Account
}

// Standing is what decides whether a session goes on.
type Standing struct {
	Session session.Session
	Account account.Account
	System  system.State
}

// Keys keeps rings of keys, each whole and by its name. The secret half of a key is stored only wrapped: Key.Secret comes back empty.
type Keys interface {
	// Create stores a new ring with its effects, or fails with ErrTaken when its name exists.
	Create(ctx context.Context, r keyset.Ring, e Effects) error
	// Update is as Accounts.Update. The name of a ring cannot change.
	Update(ctx context.Context, name string, change func(keyset.Ring) (keyset.Ring, Effects, error)) error
	// Find answers the ring as it was last committed, or ErrNotFound.
	Find(ctx context.Context, name string) (keyset.Ring, error)
}

// System keeps the state of the whole system. It always exists: a new store holds the zero State.
type System interface {
	// Update is as Accounts.Update, without an id.
	Update(ctx context.Context, change func(system.State) (system.State, Effects, error)) error
	// Commit stores effects that come with no change of state, all of them or none. It waits for nobody's change.
	Commit(ctx context.Context, e Effects) error
	// Load answers the state as it was last committed.
	Load(ctx context.Context) (system.State, error)
}
