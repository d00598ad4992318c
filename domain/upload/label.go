package upload

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// MaxLabel is the longest label, in bytes: the longest name that the usual file systems take.
const MaxLabel = 255

// Label is what a file is called to people: a name that every system would take, and that no system is asked to. The zero value is no label.
type Label struct{ name string }

// Clean makes a label of whatever a client calls a file. It keeps the last part of a path, of either kind; takes out control and format characters, with them those that turn
// the direction of writing, and what is no character; puts an underscore for what some system does not take in a name, before a dot or a hyphen at the start and before the
// name of a device; drops dots and spaces at the end; and cuts what is longer than MaxLabel before its extension. What is clean stays as it is, and every label has a character at least.
func Clean(name string) Label {
	name = name[strings.LastIndexAny(name, `/\`)+1:]
	if len(name) > 16*MaxLabel { // whatever it is
		name = name[len(name)-16*MaxLabel:]
	}
	name = strings.Map(plain, strings.ToValidUTF8(name, "_"))
	name = shorten(strings.TrimRight(strings.TrimLeft(name, " "), " ."))
	if name == "" || name[0] == '.' || name[0] == '-' || name[0] == '~' || isDevice(name) {
		name = shorten("_" + name)
	}
	return Label{name}
}

// plain is what stands for a character in a label; -1: nothing does.
func plain(r rune) rune {
	switch {
	case r == utf8.RuneError, strings.ContainsRune(`<>:"/\|?*`, r):
		return '_'
	case unicode.Is(unicode.Zs, r):
		return ' '
	case !unicode.IsGraphic(r):
		return -1
	}
	return r
}

// shorten cuts a name to MaxLabel bytes, at a character, and before its extension if it has one of a usual length.
func shorten(name string) string {
	if len(name) <= MaxLabel {
		return name
	}
	ext := extension(name)
	if len(ext) > 32 {
		ext = ""
	}
	base := name[:MaxLabel-len(ext)]
	for !utf8.ValidString(base) {
		base = base[:len(base)-1]
	}
	return strings.TrimRight(base+ext, " .")
}

// isDevice reports whether Windows takes a name for that of a device, whatever its extension.
func isDevice(name string) bool {
	base, _, _ := strings.Cut(name, ".")
	base = strings.ToUpper(strings.TrimRight(base, " "))
	switch base {
	case "CON", "PRN", "AUX", "NUL", "CONIN$", "CONOUT$", "CLOCK$":
		return true
	}
	port, ok := strings.CutPrefix(base, "COM")
	if !ok {
		port, ok = strings.CutPrefix(base, "LPT")
	}
	return ok && utf8.RuneCountInString(port) == 1 && strings.ContainsAny(port, "0123456789¹²³")
}

// String is the label.
func (l Label) String() string { return l.name }

// Extension is what follows the last dot, with the dot and in lower-case ASCII letters; empty when there is none.
func (l Label) Extension() string { return extension(l.name) }

func extension(name string) string {
	i := strings.LastIndexByte(name, '.')
	if i < 1 {
		return ""
	}
	return lower(name[i:])
}

// lower has no say in other letters than ASCII's: İ does not become i.
func lower(s string) string {
	return strings.Map(func(r rune) rune {
		if r >= 'A' && r <= 'Z' {
			return r + 'a' - 'A'
		}
		return r
	}, s)
}
