package account

import (
	"errors"

	"github.com/xteam/xteam/domain/revocation"
	"github.com/xteam/xteam/domain/secret"
)

var (
	// ErrLastAdmin refuses a change that would leave the system without an administrator who can sign in.
	ErrLastAdmin = errors.New("the last active administrator can be neither disabled nor demoted")
	// ErrOwnAccount refuses to administrators what they may do to any account but their own.
	ErrOwnAccount = errors.New("administrators cannot do this to their own account")
)

// Administers reports whether the account is one of an administrator who can sign in.
func (a *Account) Administers() bool { return a.Role == RoleAdmin && !a.Disabled && !a.Decoy }

// Spare answers ErrLastAdmin when a change from a to next would take the last administrator from the system; others says whether there is another.
func (a *Account) Spare(next *Account, others bool) error {
	if a.Administers() && !next.Administers() && !others {
		return ErrLastAdmin
	}
	return nil
}

// ResetPassword is ChangePassword at the wish of another: it ends the API keys too, for whoever had the account may have made them.
func (a Account) ResetPassword(hash secret.Text, act Act) (Account, revocation.Entry) {
	a.Password = hash
	return a.RevokeAll(act, revocation.PasswordChanged)
}
