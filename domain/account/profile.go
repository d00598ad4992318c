package account

import "github.com/xteam/xteam/domain/instant"

// Profile is what owners may change of their accounts; nil stays as it is.
type Profile struct {
	Email    *Email
	Username *Username
	FullName *FullName
}

// NewEmail reports whether the profile gives the account another e-mail address: its owner then proves themselves by the password (OWASP ASVS 5.0, 7.5.1).
func (a *Account) NewEmail(p Profile) bool { return p.Email != nil && *p.Email != a.Email }

// NewName reports whether the profile gives the account an e-mail address or a user name that may be another's.
func (a *Account) NewName(p Profile) bool {
	return a.NewEmail(p) || p.Username != nil && *p.Username != a.Username
}

// Change gives the account what differs of the profile, and answers which of email, username and full_name that is, in this order. Nothing ends: tokens and
// sessions name an account by its id.
func (a Account) Change(p Profile, now instant.Instant) (_ Account, changed []string) {
	if a.NewEmail(p) {
		a.Email, changed = *p.Email, append(changed, "email")
	}
	if p.Username != nil && *p.Username != a.Username {
		a.Username, changed = *p.Username, append(changed, "username")
	}
	if p.FullName != nil && *p.FullName != a.FullName {
		a.FullName, changed = *p.FullName, append(changed, "full_name")
	}
	if changed != nil {
		a.Updated = now
	}
	return a, changed
}
