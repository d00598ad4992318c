package account

import (
	"crypto/sha256"
	_ "embed"
	"fmt"
	"strings"
	"unicode/utf8"
)

// MinPassword and MaxPassword bound a password: characters and bytes. Bcrypt looks at 72 bytes and no more.
const (
	MinPassword = 8  // characters
	MaxPassword = 72 // bytes
)

// stronger is what helps whoever was refused: the rules say only what is too weak.
const stronger = " (a few words that nobody would put together are easy to keep and hard to guess)"

// CheckPassword is the policy for a new password of the account with those names, any of which may be missing: at least 8 characters, at most 72 bytes,
// valid UTF-8 without NUL, in whatever letter case no common or breached one, and not similar to the account's own names or the product's. There are no composition
// rules. A password that was taken once is not judged again at a sign-in.
func CheckPassword(p string, e Email, u Username, n FullName) error {
	switch {
	case len(p) > MaxPassword:
		return &InvalidError{"password", fmt.Sprintf("must be at most %d bytes; nothing is ever cut off", MaxPassword)}
	case !utf8.ValidString(p):
		return &InvalidError{"password", "must be valid UTF-8"}
	case strings.IndexByte(p, 0) >= 0: // bcrypt repeats a password, closed by a NUL: with one inside, two would be one
		return &InvalidError{"password", "must not contain the character NUL"}
	case utf8.RuneCountInString(p) < MinPassword:
		return &InvalidError{"password", fmt.Sprintf("must be at least %d characters"+stronger, MinPassword)}
	case isCommon(p):
		return &InvalidError{"password", "must not be a common or breached one" + stronger}
	case similar(p, namesOf(e, u, n)):
		return &InvalidError{"password", "must not be the e-mail address, the user name, the full name or the product's name with little added or changed" + stronger}
	}
	return nil
}

// common holds the first five bytes of the SHA-256 of each common and breached password in lower case, in order: that a password which is not in the list is
// taken for one that is happens once in some 1.8 million. It begins with a table: for each value of the first two bytes, in three, how many have that value or a
// lower one. The other three bytes of each follow. common/build.mjs writes it, DECISIONS.md says of what, and common/licences.txt whose the lists are.
//
//go:embed common/passwords.bin
var common string

const firsts = 1 << 16

// isCommon searches where the list lies in the program: an index or a copy would cost more memory than it saves time.
func isCommon(p string) bool {
	var text [MaxPassword]byte
	sum := sha256.Sum256(append(text[:0], lower(p)...))
	first := int(sum[0])<<8 | int(sum[1])
	for i := upTo(first - 1); i < upTo(first); i++ {
		if at := 3 * (firsts + i); common[at:at+3] == string(sum[2:5]) {
			return true
		}
	}
	return false
}

func upTo(first int) int {
	if first < 0 {
		return 0
	}
	return int(common[3*first])<<16 | int(common[3*first+1])<<8 | int(common[3*first+2])
}
