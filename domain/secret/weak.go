package secret

import (
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"strings"
)

// Weakness says why a key is no key, or nothing if none of that is seen: it is shorter than MinKey, is a pattern over again, has too few different bytes, is a
// run of the alphabet, the digits or the keyboard, or holds an example that everybody knows, in whatever letter case. Hexadecimal and base64 are looked
// into. The sentence lacks its subject, the name of the setting, and tells nothing of the key; most that people think up is not seen.
func Weakness(key Text) string {
	value := key.RevealPlaintext()
	if len(value) < MinKey {
		return fmt.Sprintf("has %d bytes: give at least %d random ones, as `xteam secret generate` makes", len(value), MinKey)
	}
	for _, form := range written(value) {
		if why := weakness(form); why != "" {
			return fmt.Sprintf("%s: give at least %d random bytes, as `xteam secret generate` makes", why, MinKey)
		}
	}
	return ""
}

// written is the value, and what it stands for if it is hexadecimal or base64.
func written(value string) []string {
	forms := []string{value}
	if raw, err := hex.DecodeString(value); err == nil {
		forms = append(forms, string(raw))
	}
	for _, alphabet := range []*base64.Encoding{base64.RawStdEncoding, base64.RawURLEncoding} {
		if raw, err := alphabet.DecodeString(strings.TrimRight(value, "=")); err == nil {
			forms = append(forms, string(raw))
		}
	}
	return forms
}

func weakness(value string) string {
	lower := strings.ToLower(value)
	switch {
	case repeats(lower):
		return "is a short pattern over again"
	case different(value) < minDifferent:
		return "is made of very few different bytes"
	case runs(lower) > len(lower)/2:
		return "is for the most part a run of the alphabet, of digits or of keys that lie side by side"
	case famous(lower):
		return "holds an example that everybody knows"
	}
	return ""
}

// maxPeriod is the longest pattern that is called short.
const maxPeriod = 16

// repeats reports whether all of value is a pattern of at most maxPeriod bytes, the last of them cut or not.
func repeats(value string) bool {
	for period := 1; period <= maxPeriod && 2*period <= len(value); period++ {
		if value[period:] == value[:len(value)-period] {
			return true
		}
	}
	return false
}

// minDifferent is how many different bytes a key has at least. The poorest random key that is long enough is of 32 hexadecimal digits: it has five different ones
// or fewer with a probability below C(16,5)·(5/16)^32 = 3.0·10⁻¹³. Of 32 letters and digits, or of 43 of base64url, it is below 10⁻²⁸.
const minDifferent = 6

func different(value string) (n int) {
	var seen [256]bool
	for i := range len(value) {
		if !seen[value[i]] {
			seen[value[i]] = true
			n++
		}
	}
	return n
}

// rows are what else follows on from one byte to the next: the ASCII code where it jumps, and a keyboard's rows.
var rows = []string{"9abc", "z012", "zabc", "901", "qwertyuiop", "qwertzuiop", "asdfghjkl", "zxcvbnm", "yxcvbnm", "pasd", "lzxc"}

// minRun is how many bytes make a run. Of 32 random hexadecimal digits half lie in runs with a probability below 10⁻¹³.
const minRun = 4

// runs counts the bytes of runs, the first of each apart: what its neighbour tells of.
func runs(value string) (n int) {
	for i := 0; i < len(value); i++ {
		length := 1
		for kinds := ^uint8(0); i+length < len(value); length++ {
			if kinds &= step(value[i+length-1], value[i+length]); kinds == 0 {
				break
			}
		}
		if length >= minRun {
			n += length - 1
			i += length - 1
		}
	}
	return n
}

// step answers the kinds of run, a bit each, in which b follows a.
func step(a, b byte) (kinds uint8) {
	set := func(bit uint8, is bool) {
		if is {
			kinds |= bit
		}
	}
	set(1, a == b)
	set(2, b == a+1)
	set(4, a == b+1)
	for _, row := range rows {
		set(2, strings.Contains(row, string([]byte{a, b})))
		set(4, strings.Contains(row, string([]byte{b, a})))
	}
	return kinds
}

// examples are those of documentation and tutorials, and what their placeholders are made of: in lower case, without what famous takes out. None is shorter than
// eight letters, so that 32 random bytes in base64url hold one with a probability below 10⁻⁹.
var examples = []string{
	"changeme", "changethis", "changeit", "replaceme", "replacethis", "pleasechange", "yoursecret", "mysecret", "mykey123", "secretkey", "supersecret", "verysecret", "topsecret",
	"jwtsecret", "devsecret", "testsecret", "thisisasecret", "notsosecret", "bitsecret", "secretatleast", "secret123", "password", "passw0rd", "examplekey", "examplesecret", "donotuse",
	"insecure", "keyboardcat", "hardtoguess", "somerandomstring", "correcthorsebattery", "allyourbase", "qwertyuiop", "letmeinplease",
	"09d25e094faa6ca2556c818166b7a9563b93f7099f6f0f4caa6cf63b88e8d3e7", // FastAPI's tutorial
	"192b9bdd22ab9ed4d12e236c78afcb9a393ec15f71bbf5dc987d54727823bcbf", // Flask's quick start
	"404e635266556a586e3272357538782f413f4428472b4b62",                 // what most tutorials on Spring sign with
	"3cfa76ef14937c1c0ea519f8fc057a80fcd04a7420f8e8bcd0a7567c272e007b", // another of them
	"aym1sysppbydfgzld3umj1qzkobwvmkoqqestjqlrt1qs0gzh75aktmn3yj0ips4", // RFC 7515, appendix A.1
}

// famous reports whether value, in lower case, holds an example, with or without what parts its words.
func famous(value string) bool {
	bare := strings.NewReplacer("-", "", "_", "", " ", "", ".", "").Replace(value)
	for _, e := range examples {
		if strings.Contains(bare, e) {
			return true
		}
	}
	return false
}
