package account

import (
	"errors"

	"github.com/xteam/xteam/domain/id"
	"github.com/xteam/xteam/domain/instant"
	"github.com/xteam/xteam/domain/revocation"
	"github.com/xteam/xteam/domain/secret"
	"github.com/xteam/xteam/domain/session"
	"github.com/xteam/xteam/domain/token"
)

// ErrCredentials refuses a sign-in, whatever was wrong with it: an unknown name, a wrong password and a disabled account are told apart by nobody.
var ErrCredentials = errors.New("the credentials are not valid")

// Account is one who can sign in.
type Account struct {
	ID       id.User
	Email    Email
	Username Username
	FullName FullName
	Role     Role
	Password secret.Text // the hash, in the hasher's own notation; never the password
	Disabled bool
	Decoy    bool // nobody is to use it: no credential of it is taken, and whoever tries one is told of

	// Generation is put in every token; a token with a lower one is revoked. It only rises.
	Generation token.Generation
	// SessionsFrom is the least generation of a session that may still be refreshed. It never exceeds Generation: a change of
	// role raises the one and leaves the other, so that the user's sessions go on with new tokens; everything else raises both.
	SessionsFrom token.Generation
	// SessionsEnded is why SessionsFrom was raised last. It is told of every session below, also of one that an earlier raise had ended: one reason is kept, not
	// a history. Access tokens name the earliest, for the set of revocations keeps them all.
	SessionsEnded revocation.Reason
	// KeysFrom is the least generation in which an API key of the account that may still be used was made. It never exceeds SessionsFrom: only what is done
	// to an account raises it, not what its owner does.
	KeysFrom token.Generation
	// KeysEnded is why KeysFrom was raised last.
	KeysEnded revocation.Reason

	// Places are the networks that somebody signed in from, and that was not ended as not theirs.
	Places session.Places

	Created instant.Instant
	Updated instant.Instant
}

// New is an account in its first generation.
func New(uid id.User, e Email, u Username, n FullName, r Role, passwordHash secret.Text, now instant.Instant) Account {
	return Account{ID: uid, Email: e, Username: u, FullName: n, Role: r, Password: passwordHash, Generation: 1, SessionsFrom: 1, KeysFrom: 1, Created: now, Updated: now}
}

// Act is what a change that withdraws tokens needs to know beside the account.
type Act struct {
	By    string          // who asks
	Note  string          // in their words
	Now   instant.Instant // when
	Until instant.Instant // when the last access token issued by now has surely expired
}

// Revoke withdraws all tokens and ends all sessions of the account, as its owner may ask. Its API keys go on.
func (a Account) Revoke(act Act, why revocation.Reason) (Account, revocation.Entry) {
	a, e := a.raise(act, why)
	a.SessionsFrom, a.SessionsEnded, a.Places = a.Generation, why, session.Places{} // among them may be those of whom it throws out
	return a, e
}

// RevokeAll is Revoke, and ends for good all API keys that were made so far.
func (a Account) RevokeAll(act Act, why revocation.Reason) (Account, revocation.Entry) {
	a, e := a.Revoke(act, why)
	a.KeysFrom, a.KeysEnded = a.Generation, why
	return a, e
}

// SetRole gives another role. The tokens with the old one are withdrawn, the sessions and the API keys stay, with its rights. The same role changes nothing: no entry.
func (a Account) SetRole(r Role, act Act) (Account, []revocation.Entry) {
	if a.Role == r {
		return a, nil
	}
	a.Role = r
	a, e := a.raise(act, revocation.RoleChanged)
	return a, []revocation.Entry{e}
}

// Disable bars the account and ends all that it has, its API keys too. A disabled account stays as it is: no entry.
func (a Account) Disable(act Act) (Account, []revocation.Entry) {
	if a.Disabled {
		return a, nil
	}
	a.Disabled = true
	a, e := a.RevokeAll(act, revocation.UserDisabled)
	return a, []revocation.Entry{e}
}

// Enable lets the account sign in again. What was ended stays ended.
func (a Account) Enable(now instant.Instant) Account {
	if a.Disabled {
		a.Disabled, a.Updated = false, now
	}
	return a
}

// ChangePassword sets another password's hash, withdraws all tokens and ends all sessions. The API keys go on: programs know them, not the password.
func (a Account) ChangePassword(hash secret.Text, act Act) (Account, revocation.Entry) {
	a.Password = hash
	return a.Revoke(act, revocation.PasswordChanged)
}

// Rehash keeps the same password under another hash. Nothing ends. It does nothing when the password is not the one that was checked.
func (a Account) Rehash(checked, hash secret.Text, now instant.Instant) Account {
	if a.Password.Equal(checked) {
		a.Password, a.Updated = hash, now
	}
	return a
}

// MayRefresh answers why a session of that generation has ended, or false while it has not.
func (a *Account) MayRefresh(g token.Generation) (revocation.Reason, bool) {
	switch {
	case a.Disabled:
		return revocation.UserDisabled, false
	case g < a.SessionsFrom:
		return a.SessionsEnded, false
	}
	return 0, true
}

// MayUseKey answers why an API key that was made in generation g has ended for its owner's sake, or true while it has not.
func (a *Account) MayUseKey(g token.Generation) (revocation.Reason, bool) {
	switch {
	case a.Disabled:
		return revocation.UserDisabled, false
	case g < a.KeysFrom:
		return a.KeysEnded, false
	}
	return 0, true
}

// RaiseTo makes true of the account what an entry says that is in force already: every token below a generation is withdrawn, and every session ended; with keys also every API key.
// What began in that generation or a later one goes on.
func (a Account) RaiseTo(least token.Generation, why revocation.Reason, keys bool, now instant.Instant) Account {
	a.Generation, a.Updated = max(a.Generation, least), now
	if a.SessionsFrom < least {
		a.SessionsFrom, a.SessionsEnded, a.Places = least, why, session.Places{}
	}
	if keys && a.KeysFrom < least {
		a.KeysFrom, a.KeysEnded = least, why
	}
	return a
}

func (a Account) raise(act Act, why revocation.Reason) (Account, revocation.Entry) {
	a.Generation++
	a.Updated = act.Now
	return a, revocation.Entry{Kind: revocation.User, User: a.ID, Min: a.Generation, Reason: why, By: act.By, Note: act.Note, At: act.Now, Until: act.Until}
}
