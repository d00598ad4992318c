package journal

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// printable answers text with everything escaped, in Go's notation, that is neither printable nor an ASCII space: control characters, line separators,
// bidirectional controls, invalid UTF-8; but for the characters in keep. What grows beyond limit bytes is cut between two characters, and ends with an ellipsis.
func printable(text string, limit int, keep string) string {
	if len(text) <= limit && !strings.ContainsFunc(text, func(r rune) bool { return unfit(r, keep) }) {
		return text
	}
	var b strings.Builder
	for i := 0; i < len(text); {
		r, size := utf8.DecodeRuneInString(text[i:])
		part := text[i : i+size]
		switch {
		case r == utf8.RuneError && size == 1:
			part = fmt.Sprintf(`\x%02x`, text[i])
		case !unfit(r, keep):
		case r > 0xffff:
			part = fmt.Sprintf(`\U%08x`, r)
		default:
			part = fmt.Sprintf(`\u%04x`, r)
		}
		if b.Len()+len(part) > limit {
			b.WriteString("…")
			break
		}
		b.WriteString(part)
		i += size
	}
	return b.String()
}

// unfit also holds for U+FFFD, as which invalid UTF-8 is read.
func unfit(r rune, keep string) bool {
	return r == utf8.RuneError || !unicode.IsPrint(r) && !strings.ContainsRune(keep, r)
}
