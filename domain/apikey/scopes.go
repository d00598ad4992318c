package apikey

import (
	"fmt"
	"math/bits"
	"strings"

	"github.com/xteam/xteam/domain/account"
)

// Scopes is a set of what a key may do. The numbers are stored: they never change meaning. No scope stands for another.
type Scopes uint32

// What a key may be given.
const (
	// UsersRead lets a key read its owner's account: what a key may do when nothing is said.
	UsersRead Scopes = 1 << iota
	// Introspect lets a key ask about a token whose text it holds (RFC 7662).
	Introspect
	// RevocationsRead lets a key follow the feed of revocations, in which the ids of all users and sessions stand.
	RevocationsRead
	// KeysWrite lets a key list, make, rotate and revoke its owner's keys, none with more than it has itself.
	KeysWrite
	// Admin lets a key do what an administrator may.
	Admin
	// TokensRevoke lets a key revoke tokens of its owner whose text it holds (RFC 7009).
	TokensRevoke

	allScopes = 1<<iota - 1
)

var scopeNames = [...]string{"users:read", "introspect", "revocations:read", "api-keys:write", "admin", "tokens:revoke"}

// Granted is what a key of an account with that role may be given. Users may have a key for what concerns them, and for asking about a token that they hold
// anyway; what concerns everybody is for administrators.
func Granted(r account.Role) Scopes {
	switch r {
	case account.RoleAdmin:
		return allScopes
	case account.RoleUser:
		return UsersRead | Introspect | KeysWrite | TokensRevoke
	}
	return 0
}

// ParseScopes reads the names of scopes; one may be named twice, and none at all is UsersRead.
func ParseScopes(names []string) (Scopes, error) {
	if len(names) > 64 {
		return 0, &InvalidError{"scopes", "must be at most 64 names"}
	}
	s := Scopes(0)
	for _, name := range names {
		i := 0
		for i < len(scopeNames) && scopeNames[i] != name {
			i++
		}
		if i == len(scopeNames) {
			return 0, &InvalidError{"scopes", "must be some of " + strings.Join(scopeNames[:], ", ")}
		}
		s |= 1 << i
	}
	if s == 0 {
		s = UsersRead
	}
	return s, nil
}

// Has reports whether all of o is in s.
func (s Scopes) Has(o Scopes) bool { return s&o == o }

// Names lists the scopes, in the order of the contract.
func (s Scopes) Names() []string {
	names := make([]string, 0, bits.OnesCount32(uint32(s)))
	for i := range 32 {
		if s>>i&1 == 0 {
			continue
		}
		if i < len(scopeNames) {
			names = append(names, scopeNames[i])
		} else {
			names = append(names, fmt.Sprintf("scope(%d)", i))
		}
	}
	return names
}

// String is the names, parted by one space (RFC 6749, section 3.3).
func (s Scopes) String() string { return strings.Join(s.Names(), " ") }
