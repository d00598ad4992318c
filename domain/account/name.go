// Package account holds who can sign in: e-mail, user name, role, password policy and the generation of their tokens.
package account

import (
	"errors"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/xteam/xteam/domain/id"
)

// InvalidError says which field of an account is not acceptable and what would be.
type InvalidError struct {
	Field  string // email, username, password, full_name or role
	Detail string // what it takes, as a sentence without the value
}

func (e *InvalidError) Error() string { return e.Field + ": " + e.Detail }

// Email is a valid e-mail address in lower case: an invalid one cannot be made. The zero value is no address.
type Email struct{ address string }

// MaxEmail is the longest e-mail address, in bytes (RFC 5321, section 4.5.3.1.3, less the angle brackets).
const MaxEmail = 254

// ParseEmail takes a plain address, local@domain, of ASCII. It refuses quoted local parts, comments, address literals and bare IP addresses (no
// top-level domain is all digits: RFC 3696, section 2), and whatever could look like another address: spaces, control characters and letters
// beyond ASCII. The length is looked at first.
func ParseEmail(s string) (Email, error) {
	bad := &InvalidError{"email", "must be an e-mail address like name@example.com, of at most 254 ASCII characters"}
	if len(s) < 3 || len(s) > MaxEmail {
		return Email{}, bad
	}
	local, domain, ok := strings.Cut(s, "@")
	if !ok || local == "" || len(local) > 64 || strings.HasPrefix(local, ".") || strings.HasSuffix(local, ".") || strings.Contains(local, "..") {
		return Email{}, bad
	}
	for i := range len(local) {
		if !atext(local[i]) && local[i] != '.' {
			return Email{}, bad
		}
	}
	labels := strings.Split(domain, ".")
	if len(labels) < 2 || strings.Trim(labels[len(labels)-1], "0123456789") == "" {
		return Email{}, bad
	}
	for _, l := range labels {
		if l == "" || len(l) > 63 || l[0] == '-' || l[len(l)-1] == '-' {
			return Email{}, bad
		}
		for i := range len(l) {
			if !alnum(l[i]) && l[i] != '-' {
				return Email{}, bad
			}
		}
	}
	return Email{lower(s)}, nil
}

// String is the address, in lower case.
func (e Email) String() string { return e.address }

// IsZero reports whether there is no address.
func (e Email) IsZero() bool { return e.address == "" }

// Username is a valid user name as its owner wrote it: an invalid one cannot be made. The zero value is no name.
type Username struct{ name string }

// ParseUsername takes 3 to 50 of A–Z a–z 0–9 . _ - that do not have the form of an id.
func ParseUsername(s string) (Username, error) {
	bad := &InvalidError{"username", "must be 3 to 50 of A-Z a-z 0-9 . _ - and not have the form of an id"}
	if len(s) < 3 || len(s) > 50 {
		return Username{}, bad
	}
	for i := range len(s) {
		if c := s[i]; !alnum(c) && c != '.' && c != '_' && c != '-' {
			return Username{}, bad
		}
	}
	if id.Looks(lower(s)) {
		return Username{}, bad
	}
	return Username{s}, nil
}

// String is the name as its owner wrote it.
func (u Username) String() string { return u.name }

// Folded is the name by which it is found and by which it is taken: in lower case.
func (u Username) Folded() string { return lower(u.name) }

// IsZero reports whether there is no name.
func (u Username) IsZero() bool { return u.name == "" }

// FullName is a person's name as they write it. The zero value is no name.
type FullName struct{ name string }

// ParseFullName takes at most 100 characters of valid UTF-8 without control characters; the empty text is no name.
func ParseFullName(s string) (FullName, error) {
	bad := &InvalidError{"full_name", "must be at most 100 characters, without control characters"}
	if len(s) > 400 || !utf8.ValidString(s) || utf8.RuneCountInString(s) > 100 {
		return FullName{}, bad
	}
	for _, r := range s {
		if unicode.IsControl(r) || r == '\u2028' || r == '\u2029' || unicode.Is(unicode.Bidi_Control, r) {
			return FullName{}, bad
		}
	}
	return FullName{s}, nil
}

// String is the name.
func (n FullName) String() string { return n.name }

// Role is what an account may do.
type Role string

// The roles.
const (
	RoleUser  Role = "user"
	RoleAdmin Role = "admin"
)

// ParseRole takes user or admin.
func ParseRole(s string) (Role, error) {
	switch r := Role(s); r {
	case RoleUser, RoleAdmin:
		return r, nil
	}
	return "", &InvalidError{"role", "must be user or admin"}
}

// Login is what somebody who signs in says they are: an e-mail address or a user name, exactly one.
type Login struct {
	Email    Email
	Username Username
}

// ErrNotOne says that a sign-in named both an e-mail address and a user name, or neither.
var ErrNotOne = errors.New("give an email or a username, not both and not neither")

// ParseLogin takes the two fields of a sign-in, of which one is empty. A text that can be no e-mail address or no name is an
// InvalidError; whether it exists is not asked here.
func ParseLogin(email, username string) (Login, error) {
	switch {
	case (email == "") == (username == ""):
		return Login{}, ErrNotOne
	case email != "":
		e, err := ParseEmail(email)
		return Login{Email: e}, err
	default:
		u, err := ParseUsername(username)
		return Login{Username: u}, err
	}
}

// String is the e-mail address or the user name in lower case.
func (l Login) String() string {
	if !l.Email.IsZero() {
		return l.Email.String()
	}
	return l.Username.Folded()
}

func alnum(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
}

// atext is RFC 5322, section 3.2.3, which also bars the quotes, brackets and separators that make addresses ambiguous.
func atext(c byte) bool { return alnum(c) || strings.IndexByte("!#$%&'*+-/=?^_`{|}~", c) >= 0 }

func lower(s string) string {
	for i := range len(s) {
		if c := s[i]; c >= 'A' && c <= 'Z' {
			return strings.ToLower(s)
		}
	}
	return s
}
