package account

import (
	_ "embed"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// MinPassword and MaxPassword bound a password: characters and bytes. Bcrypt looks at 72 bytes and no more.
const (
	MinPassword = 8  // characters
	MaxPassword = 72 // bytes
)

// product is the name that everybody tries first on a system that bears it, in lower case.
const product = "xteam"

// common holds common and breached passwords in lower case, each ended by a newline and in the order of their bytes, so that they are searched where
// they lie in the program. DECISIONS.md says how they were gathered, common.licences.txt whose they are.
//
//go:embed common.txt
var common string

// CheckPassword is the policy for a new password of the account with that e-mail address and user name, either of which may be missing: at least 8
// characters, at most 72 bytes, valid UTF-8, and, in whatever letter case, no common or breached one and none that the account's own names or the
// product's make easy to guess. There are no composition rules. A password that was taken once is not judged again at a sign-in.
func CheckPassword(p string, e Email, u Username) error {
	switch {
	case len(p) > MaxPassword:
		return &InvalidError{"password", fmt.Sprintf("must be at most %d bytes; nothing is ever cut off", MaxPassword)}
	case !utf8.ValidString(p):
		return &InvalidError{"password", "must be valid UTF-8"}
	case utf8.RuneCountInString(p) < MinPassword:
		return &InvalidError{"password", fmt.Sprintf("must be at least %d characters", MinPassword)}
	}
	folded := lower(p)
	if isCommon(folded) {
		return &InvalidError{"password", "must not be a common or breached one"}
	}
	local, _, _ := strings.Cut(e.String(), "@")
	for _, word := range []string{u.Folded(), e.String(), local, product} {
		if echoes(folded, word) {
			return &InvalidError{"password", "must not be the user name, the e-mail address or the product's name, not even with digits or signs added"}
		}
	}
	return nil
}

// isCommon halves the list by bytes, not by lines: an index of the lines would cost more memory than the list.
func isCommon(folded string) bool {
	for lo, hi := 0, len(common); lo < hi; { // both stand at the beginning of a line, or at the end
		mid := lo + (hi-lo)/2
		start := lo + strings.LastIndexByte(common[lo:mid], '\n') + 1
		end := start + strings.IndexByte(common[start:], '\n')
		switch line := common[start:end]; {
		case folded == line:
			return true
		case folded < line:
			hi = start
		default:
			lo = end + 1
		}
	}
	return false
}

// echoes reports whether a password is a word, once or more often, and at most a little without letters. A rest that is as long as a password must be,
// such as all of one in which the word is not, is not for this rule to judge.
func echoes(folded, word string) bool {
	rest := strings.ReplaceAll(folded, word, "")
	return len(rest) < MinPassword && strings.IndexFunc(rest, unicode.IsLetter) < 0
}
