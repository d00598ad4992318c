package secret

import (
	"bytes"
	"regexp"
)

// forms are the forms of credentials. They begin anywhere, in the middle of a word too: a word before may be what is left of an escape. A part of a token, cut or
// damaged, is a token.
var forms = []struct {
	mark []byte // in every text that matches, in lower case: cheap to look for
	form *regexp.Regexp
	put  []byte
}{
	{[]byte("eyj"), regexp.MustCompile(`eyJ[A-Za-z0-9_-]{10,}[A-Za-z0-9_.=-]*`), []byte(Redacted)},
	{[]byte("xtr_"), regexp.MustCompile(`xtr_[A-Za-z0-9_-]+`), []byte(Redacted)},
	{[]byte("xt_"), regexp.MustCompile(`xt_(?:dev|stg|prd)_[A-Za-z0-9_-]+`), []byte(Redacted)},
	{[]byte("bearer"), regexp.MustCompile(`(?i)(bearer(?:[ +:=]|%20)+)[A-Za-z0-9._~+/=%-]{16,}`), []byte("${1}" + Redacted)},
	{[]byte("basic"), regexp.MustCompile(`(?i)(basic(?:[ +:=]|%20)+)[A-Za-z0-9._~+/=%-]{16,}`), []byte("${1}" + Redacted)},
}

// Scrub answers text without what has the form of a credential of ours: signed tokens, refresh tokens, API keys, and what follows Bearer or Basic. It is for
// what people and clients wrote where no credential belongs, a path or a User-Agent, before it is kept or logged. The text itself is not changed.
func Scrub(text []byte) []byte {
	lower := bytes.ToLower(text)
	for _, f := range forms {
		if bytes.Contains(lower, f.mark) {
			text = f.form.ReplaceAll(text, f.put)
		}
	}
	return text
}
