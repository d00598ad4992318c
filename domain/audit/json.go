package audit

import (
	"maps"
	"slices"
	"unicode/utf8"
)

// maxJSON bounds a text of an event that is written for others, in bytes. The use cases keep much less.
const maxJSON = 8 << 10

// AppendJSON appends the event as one object of JSON on one line, with the names that the API has. What is empty is left out, and whatever could forge or hide a part of the line is escaped.
func (e *Event) AppendJSON(b []byte) []byte {
	b = appendHex(append(b, `{"id":"`...), e.ID[:])
	b = e.Time.Time().AppendFormat(append(b, `","time":"`...), timeForm)
	b = appendText(append(b, `","kind":`...), clipped(string(e.Kind)))
	b = appendText(append(b, `,"message":`...), clipped(e.Kind.Message()))
	b = append(append(append(b, `,"severity":"`...), e.Severity.text()...), '"')
	for _, f := range [...]struct{ name, text string }{{"outcome", string(e.Outcome)}, {"actor", e.Actor}, {"subject", e.Subject}, {"email", e.Email}, {"ip_address", e.IPAddress},
		{"user_agent", e.UserAgent}, {"request_id", e.RequestID}, {"reason", e.Reason}} {
		if f.text != "" {
			b = appendText(append(append(append(b, `,"`...), f.name...), `":`...), clipped(f.text))
		}
	}
	for i, name := range slices.Sorted(maps.Keys(e.Details)) {
		if i == 0 {
			b = append(b, `,"details":{`...)
		} else {
			b = append(b, ',')
		}
		b = appendText(append(appendText(b, clipped(name)), ':'), clipped(e.Details[name]))
	}
	if len(e.Details) > 0 {
		b = append(b, '}')
	}
	return append(b, '}')
}

// clipped is a text cut between two characters.
func clipped(s string) string {
	if len(s) <= maxJSON {
		return s
	}
	n := maxJSON
	for n > maxJSON-utf8.UTFMax && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n] + "…"
}
