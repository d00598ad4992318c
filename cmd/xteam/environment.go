package main

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"slices"
	"strings"
	"syscall"
)

// lookup answers the value of a setting as it was given, and whether it was given at all.
type lookup func(name string) (string, bool)

// settingsFile is read from the working directory.
const settingsFile = ".env"

// The sources of a value beside the settings' file.
const (
	fromEnvironment = "environment"
	fromDefault     = "default"
	fromSource      = "SECRETS_URL" // not looked at
	fromKeptFile    = "kept file"   // in the data folder: a secret that was made at the first start
)

// fromFile reads the settings' file, which need not be there. No error quotes it, for it holds secrets.
func fromFile() (map[string]string, error) {
	text, err := os.ReadFile(settingsFile)
	var path *fs.PathError
	switch {
	case err == nil || errors.Is(err, fs.ErrNotExist):
		return assignments(string(text))
	case errors.Is(err, syscall.EISDIR):
		return nil, fmt.Errorf("%s: it is a folder, and settings are lines of a file: move it away", settingsFile)
	case errors.As(err, &path):
		return nil, fmt.Errorf("%s: it cannot be read: %w", settingsFile, path.Err)
	default:
		return nil, fmt.Errorf("%s: it cannot be read: %w", settingsFile, err)
	}
}

// environment looks a name up in the environment, and then in the settings' file, and says where it found a value.
func environment() (get lookup, source func(name string) string, err error) {
	file, err := fromFile()
	if err != nil {
		return nil, nil, err
	}
	get = func(name string) (string, bool) {
		if v, ok := os.LookupEnv(name); ok {
			return v, true
		}
		v, ok := file[name]
		return v, ok
	}
	source = func(name string) string {
		if v, _ := get(name); v == "" {
			return fromDefault
		}
		if _, ok := os.LookupEnv(name); ok {
			return fromEnvironment
		}
		return settingsFile
	}
	return get, source, nil
}

// mistyped says of each name, in the environment or the settings' file, that it is no setting and nearly one: whoever wrote it would else go on with the default, and not know. Both hold names of other programs
// too, so that one which resembles nothing is passed over.
func mistyped() (said []string) {
	file, _ := fromFile() // what is wrong with it has been said
	given := map[string]string{}
	for name := range file {
		given[name] = settingsFile
	}
	for _, pair := range os.Environ() {
		name, _, _ := strings.Cut(pair, "=")
		given[name] = "the environment"
	}
	for _, name := range slices.Sorted(maps.Keys(given)) {
		if near := nearest(name); near != "" {
			said = append(said, fmt.Sprintf("%s in %s is no setting, and changes nothing: perhaps it is to be %s", name, given[name], near))
		}
	}
	return said
}

// nearest is the setting that a name, upper case or not, is nearly: a letter away of eight or more, two of sixteen or more. It is empty when there is none, or the name is one itself.
func nearest(name string) (near string) {
	if name == "SSL_CERT_FILE" { // which crypto/x509 and others read
		return ""
	}
	least := 3
	for i := range table {
		known := table[i].name
		if known == name {
			return ""
		}
		if len(name) > len(known)+2 || len(name) < len(known)-2 {
			continue
		}
		if d := changes(strings.ToUpper(name), known); d < least && d <= len(known)/8 {
			near, least = known, d
		}
	}
	return near
}

// changes is how many letters are to be put in, taken out or replaced to make b of a.
func changes(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			above := row[j+1]
			if a[i] == b[j] {
				row[j+1] = diagonal
			} else {
				row[j+1] = 1 + min(diagonal, above, row[j])
			}
			diagonal = above
		}
	}
	return row[len(b)]
}

// assignments reads lines of NAME=value, of which the last of a name counts. A value is what it says, to the letter: nothing is expanded, since a $ or a \ may be part of
// a secret. One that has blanks at its ends, begins with a quotation mark or holds a # behind a blank stands in '…' or "…". Empty lines, those that begin with #,
// blanks around a name or a value, and export before a name are passed over.
func assignments(text string) (map[string]string, error) {
	all := map[string]string{}
	n := 0
	for line := range strings.Lines(strings.TrimPrefix(text, "\ufeff")) {
		n++
		wrong := func(what string) error { return fmt.Errorf("%s: line %d %s", settingsFile, n, what) }
		line = strings.Trim(line, blank)
		if line == "" || line[0] == '#' {
			continue
		}
		name, value, ok := strings.Cut(line, "=")
		name = strings.Trim(name, blank)
		if rest, found := strings.CutPrefix(name, "export"); found && rest != strings.TrimLeft(rest, blank) {
			name = strings.TrimLeft(rest, blank)
		}
		if !ok || !isName(name) {
			return nil, wrong("is not NAME=value")
		}
		value = strings.Trim(value, blank)
		if value == "" || value[0] != '"' && value[0] != '\'' {
			all[name] = strings.TrimRight(untilComment(value), blank)
			continue
		}
		quoted, rest, ok := strings.Cut(value[1:], value[:1])
		if !ok {
			return nil, wrong("has a quotation mark that is not closed")
		}
		if rest = strings.TrimLeft(rest, blank); rest != "" && rest[0] != '#' {
			return nil, wrong("has something behind the closing quotation mark")
		}
		all[name] = quoted
	}
	return all, nil
}

const blank = " \t\r\n"

func isName(s string) bool {
	const letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz_"
	return s != "" && strings.Contains(letters, s[:1]) && strings.Trim(s, letters+"0123456789") == ""
}

// untilComment is a value without the comment behind it.
func untilComment(value string) string {
	for i := range len(value) {
		if value[i] == '#' && (i == 0 || value[i-1] == ' ' || value[i-1] == '\t') {
			return value[:i]
		}
	}
	return value
}
