package account

import (
	"slices"
	"strings"
	"unicode"
)

// product is the name that everybody tries first on a system that bears it.
const product = "xteam"

const (
	shortName   = 3 // characters that a name has at least to count when it is taken out of a password
	nearName    = 6 // characters that a name has at least to count when a password comes near to it
	ownLetters  = 4 // letters that a password has at least beside names, or
	ownText     = 8 // characters of any kind
	differences = 2 // characters by which a password may not come near to a name
)

// namesOf are the texts that somebody who knows the account would try: each of its names whole, then without signs and spaces, and the parts between these.
func namesOf(e Email, u Username, n FullName) []string {
	local, domain, _ := strings.Cut(e.String(), "@")
	names := []string{product, e.String()}
	for _, whole := range []string{local, domain[:max(0, strings.LastIndexByte(domain, '.'))], u.String(), n.String()} {
		parts := strings.FieldsFunc(whole, notAlphanumeric)
		names = append(append(names, whole, strings.Join(parts, "")), parts...)
	}
	return names
}

// similar reports whether a password is little more than names. It is one if, where names of three characters or more stand in it, forwards or backwards, and are taken out, fewer
// than four letters and fewer than eight characters are left; or if its letters and digits are a name of six or more with at most two put in, left out or
// changed. Letter case does not count, nor whether a letter or the digit or sign that looks like it was typed. A password in which no name stands has all
// its characters left, and so passes the first.
func similar(p string, names []string) bool {
	typed, read := []rune(p), plain(p)
	bare := slices.DeleteFunc(plain(p), notAlphanumeric)
	ofName := make([]bool, len(read))
	for _, name := range names {
		word := plain(name)
		if text := slices.DeleteFunc(plain(name), notAlphanumeric); len(text) >= nearName && near(bare, text) {
			return true
		}
		if len(word) >= shortName {
			cover(ofName, read, word)
			slices.Reverse(word)
			cover(ofName, read, word)
		}
	}
	left, letters := 0, 0
	for i, r := range typed {
		if ofName[i] {
			continue
		}
		left++
		if unicode.IsLetter(r) {
			letters++
		}
	}
	return left < ownText && letters < ownLetters
}

// cover marks where a word stands in a text. Places may overlap.
func cover(marks []bool, text, word []rune) {
	for i := 0; i+len(word) <= len(text); i++ {
		if !slices.Equal(text[i:i+len(word)], word) {
			continue
		}
		for j := range word {
			marks[i+j] = true
		}
	}
}

// near reports whether two texts differ by few characters (Levenshtein's distance, one row of its table at a time).
func near(a, b []rune) bool {
	if len(a)-len(b) > differences || len(b)-len(a) > differences {
		return false
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i, r := range a {
		before := row[0]
		row[0] = i + 1
		for j, s := range b {
			change := before
			if r != s {
				change++
			}
			before = row[j+1]
			row[j+1] = min(change, row[j+1]+1, row[j]+1)
		}
	}
	return row[len(b)] <= differences
}

// plain reads a text in lower case, each character as the letter that it looks like. It is as many characters long as the text.
func plain(s string) []rune {
	read := []rune(s)
	for i, r := range read {
		switch r = unicode.ToLower(r); r {
		case '0':
			r = 'o'
		case '1', '!', 'l', '|':
			r = 'i'
		case '3':
			r = 'e'
		case '4', '@':
			r = 'a'
		case '5', '$':
			r = 's'
		case '7':
			r = 't'
		}
		read[i] = r
	}
	return read
}

func notAlphanumeric(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsDigit(r) }
