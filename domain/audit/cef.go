package audit

import (
	"encoding/base64"
	"net/netip"
	"strconv"
	"strings"
	"unicode/utf8"
)

// cefEnd is the signature id of the line that ends an export in CEF.
const cefEnd = "audit_trail_end"

// cefBegin is the version of the format, the vendor and the product.
const cefBegin = "CEF:0|XTeam|XTeam|"

// maxCEF bounds a value of CEF, in bytes: the least of what receivers of texts have to take.
const maxCEF = 1023

// AppendCEF appends the entry as one line of the Common Event Format, without the newline. The version is the program's. Values are cut to 1,023 bytes.
func (e *Entry) AppendCEF(b []byte, version string) []byte {
	r := &e.Record
	b = cefHeader(b, version, string(r.Kind), r.Kind.Message(), cefSeverity(r.Severity))
	b = strconv.AppendInt(append(b, "rt="...), int64(r.Time)/1000, 10)
	b = appendHex(append(b, " externalId="...), r.Event[:])
	b = strconv.AppendUint(append(b, " cn1Label=seq cn1="...), r.Seq, 10)
	hash := r.Hash()
	b = appendHex(append(b, " cs1Label=recordHash cs1="...), hash[:])
	b = cefWho(b, string(r.Outcome), r.Reason, r.Actor, r.Subject)
	if e.Personal == nil {
		return b
	}
	return cefPersonal(b, e.Personal)
}

// AppendCEF appends the event as one line of the Common Event Format, without the newline, as it is in an export of the trail, but for its place and hash there. The version is the program's. Values are
// cut to 1,023 bytes.
func (e *Event) AppendCEF(b []byte, version string) []byte {
	b = cefHeader(b, version, string(e.Kind), e.Kind.Message(), cefSeverity(e.Severity))
	b = strconv.AppendInt(append(b, "rt="...), int64(e.Time)/1000, 10)
	b = appendHex(append(b, " externalId="...), e.ID[:])
	b = cefWho(b, string(e.Outcome), e.Reason, e.Actor, e.Subject)
	return cefPersonal(b, &Personal{Email: e.Email, IPAddress: e.IPAddress, UserAgent: e.UserAgent, RequestID: e.RequestID, Details: e.Details})
}

func cefWho(b []byte, outcome, reason, actor, subject string) []byte {
	b = cefField(b, "outcome", outcome)
	b = cefField(b, "reason", reason)
	b = cefField(b, "suid", actor)
	return cefField(b, "duid", subject)
}

func cefPersonal(b []byte, p *Personal) []byte {
	b = cefField(b, "duser", p.Email)
	if a, err := netip.ParseAddr(p.IPAddress); err == nil && a.Is4() {
		b = cefField(b, "src", p.IPAddress)
	} else if p.IPAddress != "" {
		b = cefField(append(b, " c6a2Label=Source IPv6 Address"...), "c6a2", p.IPAddress)
	}
	b = cefField(b, "requestClientApplication", p.UserAgent)
	if p.RequestID != "" {
		b = cefField(append(b, " cs3Label=requestId"...), "cs3", p.RequestID)
	}
	if len(p.Details) > 0 {
		var array [8]string
		var all []string
		for _, name := range p.names(array[:0]) {
			all = append(all, name+": "+p.Details[name])
		}
		b = cefField(append(b, " cs2Label=details"...), "cs2", strings.Join(all, "; "))
	}
	return b
}

// AppendCEF appends the end of an export as one line of the Common Event Format, without the newline: count and head, and all that was signed. There is one
// way to write it, whatever version of the program does.
func (c *Checkpoint) AppendCEF(b []byte) []byte {
	b = cefHeader(b, "1", cefEnd, "Audit trail exported", "3")
	b = strconv.AppendInt(append(b, "rt="...), int64(c.Time)/1000, 10)
	b = strconv.AppendUint(append(b, " cn1Label=seq cn1="...), c.Seq, 10)
	b = appendHex(append(b, " cs1Label=recordHash cs1="...), c.Head[:])
	return base64.RawURLEncoding.AppendEncode(append(b, " cs2Label=signed cs2="...), c.Append(nil))
}

// parseCEFEnd reads the end of an export; false: the line is none.
func parseCEFEnd(line string) (c Checkpoint, ok bool) {
	tail, ends := strings.CutPrefix(line, cefBegin+"1|"+cefEnd+"|")
	_, signed, _ := strings.Cut(tail, " cs2=")
	if !ends {
		return c, false
	}
	b, err := base64.RawURLEncoding.Strict().DecodeString(signed)
	if err != nil {
		return c, false
	}
	if c, err = DecodeCheckpoint(b); err != nil {
		return c, false
	}
	return c, string(c.AppendCEF(nil)) == line
}

// cefHeader appends what stands before the extension. A bar parts its fields.
func cefHeader(b []byte, version, kind, name, severity string) []byte {
	b = append(b, cefBegin...)
	for _, s := range [...]string{version, kind, name, severity} {
		b = append(cefText(b, s, '|'), '|')
	}
	return b
}

func cefSeverity(s Severity) string {
	switch s {
	case Info:
		return "3"
	case Warning:
		return "6"
	case Critical:
		return "10"
	}
	return "0"
}

// cefField appends one field of the extension; none when it is empty. An equals sign parts a field's name from its value.
func cefField(b []byte, name, value string) []byte {
	if value == "" {
		return b
	}
	return cefText(append(append(append(b, ' '), name...), '='), value, '=')
}

// cefText appends a text with backslashes, and what parts one text from another, behind a backslash. Line breaks are \n and \r, which only the extension may have; whatever else is not to be seen
// is written in the notation of JSON, its own backslash escaped.
func cefText(b []byte, s string, parts byte) []byte {
	if len(s) > maxCEF {
		n := maxCEF
		for n > 0 && !utf8.RuneStart(s[n]) {
			n--
		}
		s = s[:n]
	}
	for _, r := range s {
		switch {
		case r == '\\' || r == rune(parts):
			b = append(b, '\\', byte(r))
		case r == '\n' && parts == '=':
			b = append(b, `\n`...)
		case r == '\r' && parts == '=':
			b = append(b, `\r`...)
		case r < ' ' || r == 0x7f || unseen(r):
			b = append(b, '\\', '\\', 'u', digits[r>>12&15], digits[r>>8&15], digits[r>>4&15], digits[r&15])
		default:
			b = utf8.AppendRune(b, r)
		}
	}
	return b
}
