package secret

import (
	"fmt"
	"strings"
)

// MaxLen is how long a secret may be, in bytes.
const MaxLen = 64 << 10

// MinKey is how long SECRET_KEY and ROOT_KEY must be, in bytes (RFC 7518, section 3.2).
const MinKey = 32

// Check refuses a value that nobody means as a secret, whatever source it comes from: one that is longer than MaxLen, or that holds a control character (a
// line end that was read with a file, most often). Name is what the sentence begins with: a setting, a file or a path; of the value it says nothing.
// The empty value, and bytes that are no UTF-8, pass.
func Check(name, value string) error {
	if len(value) > MaxLen {
		return fmt.Errorf("%s is longer than %d bytes: give the secret alone", name, MaxLen)
	}
	switch i := strings.IndexFunc(value, func(r rune) bool { return r < ' ' || r == 0x7f }); {
	case i < 0:
		return nil
	case strings.Trim(value[i:], "\r\n") == "":
		return fmt.Errorf("%s ends with a line end: give it without", name)
	default:
		return fmt.Errorf("%s holds a control character: give it without", name)
	}
}
