package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
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

// environment looks a name up in the environment, and then in the settings' file, and says where it found a value. No error quotes the file, which holds secrets.
func environment() (get lookup, source func(name string) string, err error) {
	text, err := os.ReadFile(settingsFile)
	var path *fs.PathError
	switch {
	case err == nil || errors.Is(err, fs.ErrNotExist):
	case errors.Is(err, syscall.EISDIR):
		return nil, nil, fmt.Errorf("%s: it is a folder, and settings are lines of a file: move it away", settingsFile)
	case errors.As(err, &path):
		return nil, nil, fmt.Errorf("%s: it cannot be read: %w", settingsFile, path.Err)
	default:
		return nil, nil, fmt.Errorf("%s: it cannot be read: %w", settingsFile, err)
	}
	file, err := assignments(string(text))
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
