package upload

import (
	"maps"
	"slices"
	"strings"
)

// Kind is what the content of a file must be.
type Kind struct {
	media  string // what it is served as
	form   form
	script string // the language that a first line #!… may name; empty: any
	markup bool   // it may begin as HTML, XML or SVG do
}

type form uint8

const (
	text    form = iota // UTF-8 without the bytes of binary data
	object              // JSON (RFC 8259)
	foreign             // what its first bytes say
)

const plainText = "text/plain; charset=utf-8"

// kinds are all extensions whose content can be held against them. Text is served as plain text, whatever it is for: no browser is to run it.
var kinds = map[string]Kind{
	".py": {plainText, text, "text/x-python", false}, ".js": {plainText, text, "text/javascript", false}, ".ts": {plainText, text, "text/javascript", false},
	".json": {"application/json", object, "", false}, ".md": {plainText, text, "", true},

	".jsx": {plainText, text, "text/javascript", false}, ".tsx": {plainText, text, "text/javascript", false}, ".mjs": {plainText, text, "text/javascript", false}, ".cjs": {plainText, text, "text/javascript", false},
	".go": {plainText, text, "none", false}, ".rs": {plainText, text, "none", false}, ".java": {plainText, text, "none", false}, ".kt": {plainText, text, "none", false}, ".swift": {plainText, text, "none", false},
	".c": {plainText, text, "none", false}, ".h": {plainText, text, "none", false}, ".cc": {plainText, text, "none", false}, ".cpp": {plainText, text, "none", false}, ".hpp": {plainText, text, "none", false}, ".cs": {plainText, text, "none", false},
	".rb": {plainText, text, "text/x-ruby", false}, ".sh": {plainText, text, "text/x-shellscript", false}, ".pl": {plainText, text, "text/x-perl", false}, ".lua": {plainText, text, "text/x-lua", false}, ".php": {plainText, text, "text/x-php", true},
	".sql": {plainText, text, "none", false}, ".css": {plainText, text, "none", false}, ".proto": {plainText, text, "none", false}, ".graphql": {plainText, text, "none", false},
	".txt": {plainText, text, "", false}, ".log": {plainText, text, "", false}, ".rst": {plainText, text, "", false}, ".csv": {"text/csv; charset=utf-8", text, "none", false}, ".tsv": {plainText, text, "none", false},
	".yaml": {plainText, text, "none", false}, ".yml": {plainText, text, "none", false}, ".toml": {plainText, text, "none", false}, ".ini": {plainText, text, "none", false}, ".cfg": {plainText, text, "none", false},
	".html": {plainText, text, "none", true}, ".htm": {plainText, text, "none", true}, ".xml": {plainText, text, "none", true}, ".svg": {plainText, text, "none", true}, ".vue": {plainText, text, "none", true},
	".ipynb": {"application/json", object, "", false}, ".geojson": {"application/json", object, "", false},

	".png": {"image/png", foreign, "", false}, ".jpg": {"image/jpeg", foreign, "", false}, ".jpeg": {"image/jpeg", foreign, "", false}, ".gif": {"image/gif", foreign, "", false}, ".webp": {"image/webp", foreign, "", false},
	".pdf": {"application/pdf", foreign, "", false}, ".zip": {"application/zip", foreign, "", false}, ".gz": {"application/gzip", foreign, "", false},
	".docx": {"application/vnd.openxmlformats-officedocument.wordprocessingml.document", foreign, "", false}, ".xlsx": {"application/vnd.openxmlformats-officedocument.spreadsheetml.sheet", foreign, "", false}, ".pptx": {"application/vnd.openxmlformats-officedocument.presentationml.presentation", foreign, "", false},
	".mp3": {"audio/mpeg", foreign, "", false}, ".wav": {"audio/wav", foreign, "", false}, ".mp4": {"video/mp4", foreign, "", false},
}

// Known lists the extensions that a system can be told to take, in order.
func Known() []string { return slices.Sorted(maps.Keys(kinds)) }

// Extensions is what a system takes. The zero value is nothing.
type Extensions struct{ list []string }

// ParseExtensions reads extensions, each with its dot and in any case; ok is false unless there is one, and each is Known.
func ParseExtensions(all []string) (e Extensions, ok bool) {
	for _, one := range all {
		one = lower(strings.TrimSpace(one))
		if _, known := kinds[one]; !known {
			return Extensions{}, false
		}
		if !slices.Contains(e.list, one) {
			e.list = append(e.list, one)
		}
	}
	return e, len(e.list) > 0
}

// String is the list, parted by commas.
func (e Extensions) String() string { return strings.Join(e.list, ", ") }

// Kind answers what the content of a file with that label must be, or an *InvalidError when none with its extension is taken.
func (e Extensions) Kind(l Label) (Kind, error) {
	ext := l.Extension()
	if !slices.Contains(e.list, ext) {
		return Kind{}, &InvalidError{"the name must end in one of " + e.String()}
	}
	return kinds[ext], nil
}

// Media is the media type that a file of the kind is served as.
func (k Kind) Media() string { return k.media }

// written are formats of others that are text as well, so that only their beginning tells them.
var (
	written = []string{"application/pdf", "application/vnd.fdf", "application/postscript", "text/rtf"}
	markup  = []string{"text/html", "text/xml", "image/svg+xml", "application/xhtml+xml", "text/x-php"}
	scripts = []string{"text/x-python", "text/javascript", "text/x-ruby", "text/x-shellscript", "text/x-perl", "text/x-lua", "text/x-tcl", "text/x-php"}
)

// agrees reports whether content whose beginning says that it is of these types, the closest first, may be of the kind. Of binary formats only those are asked for whose own kind it is:
// a text that begins with BM is no picture, and a picture is no text all through.
func (k Kind) agrees(types []string) bool {
	for _, t := range types {
		switch {
		case k.form == foreign && t == k.media:
			return true
		case k.form == foreign, t == k.script:
		case slices.Contains(written, t), !k.markup && slices.Contains(markup, t), k.script != "" && slices.Contains(scripts, t):
			return false
		}
	}
	return k.form != foreign
}
