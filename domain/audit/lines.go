package audit

import (
	"bytes"
	"encoding/hex"
	"errors"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/xteam/xteam/domain/instant"
)

// Entry is a record as people read it: with its personal part, when that is there.
type Entry struct {
	Record     Record
	Salt       Salt        // zero: the personal part was erased
	Personal   *Personal   // nil: it was erased, or is not there as it should be
	Checkpoint *Checkpoint // that was signed with this record as its last; nil for most
}

// Entry is the link's, with the personal part of that event. When the event is missing, or is not the one of the record, nil, the personal part is missing in what it answers.
func (l *Link) Entry(e *Event) Entry {
	out := Entry{Record: l.Record, Salt: l.Salt, Checkpoint: l.Checkpoint}
	if e != nil && !l.Erased() && l.Record.Tells(e) {
		_, p := Part(e)
		out.Personal = &p
	}
	return out
}

// Erased reports whether the personal part was erased.
func (l *Link) Erased() bool { return l.Salt == Salt{} }

// Erased reports whether the personal part was erased.
func (e *Entry) Erased() bool { return e.Salt == Salt{} }

// MaxLine bounds a line of an export, in bytes.
const MaxLine = 16 << 20

// ErrLine says that bytes are no line of an export, exactly as this package writes it.
var ErrLine = errors.New("this is no line of an export of an audit trail")

// timeForm is RFC 3339 with microseconds, in UTC.
const timeForm = "2006-01-02T15:04:05.000000Z"

// AppendLine appends the entry as one line of JSON, without the newline. There is one way to write an entry: what is read must be these very bytes. Whatever is not printable in a text is escaped.
func (e *Entry) AppendLine(b []byte) []byte {
	r := &e.Record
	b = strconv.AppendUint(append(b, `{"seq":`...), r.Seq, 10)
	b = appendHex(append(b, `,"prev":"`...), r.Prev[:])
	b = appendHex(append(b, `","event":"`...), r.Event[:])
	b = r.Time.Time().AppendFormat(append(b, `","time":"`...), timeForm)
	b = appendText(append(b, `","kind":`...), string(r.Kind))
	b = append(append(b, `,"severity":"`...), r.Severity.text()...)
	b = appendText(append(b, `","outcome":`...), string(r.Outcome))
	b = appendText(append(b, `,"actor":`...), r.Actor)
	b = appendText(append(b, `,"subject":`...), r.Subject)
	b = appendText(append(b, `,"reason":`...), r.Reason)
	b = appendHex(append(b, `,"commitment":"`...), r.Commitment[:])
	if e.Erased() {
		return append(b, `","salt":null,"personal":null}`...)
	}
	b = appendHex(append(b, `","salt":"`...), e.Salt[:])
	p := e.Personal
	if p == nil {
		return append(b, `","personal":null}`...)
	}
	b = appendText(append(b, `","personal":{"email":`...), p.Email)
	b = appendText(append(b, `,"ip_address":`...), p.IPAddress)
	b = appendText(append(b, `,"user_agent":`...), p.UserAgent)
	b = appendText(append(b, `,"request_id":`...), p.RequestID)
	b = append(b, `,"details":{`...)
	var array [8]string
	for i, name := range p.names(array[:0]) {
		if i > 0 {
			b = append(b, ',')
		}
		b = appendText(append(appendText(b, name), ':'), p.Details[name])
	}
	return append(b, `}}}`...)
}

// text is the severity's name, or its number where it has none.
func (s Severity) text() string {
	if s >= Info && s <= Critical {
		return s.String()
	}
	return strconv.Itoa(int(s))
}

// AppendLine appends the checkpoint as one line of JSON, without the newline.
func (c *Checkpoint) AppendLine(b []byte) []byte {
	b = append(append(b, `{"checkpoint":"`...), c.Purpose.String()...)
	b = appendHex(append(b, `","chain":"`...), c.Chain[:])
	b = appendHex(append(b, `","key":"`...), c.Key[:])
	b = c.Time.Time().AppendFormat(append(b, `","time":"`...), timeForm)
	b = strconv.AppendUint(append(b, `","first":`...), c.First, 10)
	b = appendHex(append(b, `,"before":"`...), c.Before[:])
	b = strconv.AppendUint(append(b, `","seq":`...), c.Seq, 10)
	b = appendHex(append(b, `,"head":"`...), c.Head[:])
	b = strconv.AppendUint(append(b, `","position":`...), c.Position, 10)
	b = appendHex(append(b, `,"digest":"`...), c.Digest[:])
	b = appendHex(append(b, `","signature":"`...), c.Signature[:])
	return append(b, `"}`...)
}

// Line is one line of an export: an entry or a checkpoint.
type Line struct {
	Entry      *Entry
	Checkpoint *Checkpoint
}

// ParseLine reads a line, without its newline, that AppendLine wrote.
func ParseLine(line []byte) (Line, error) {
	var p parser
	return p.parse(line)
}

// parser reads lines into room that the next line uses again.
type parser struct {
	entry    Entry
	personal Personal
	room     []byte
}

// parse is ParseLine. The line is written once more: so it is read as nothing else than what it is.
func (p *parser) parse(line []byte) (l Line, err error) {
	s := scanner{rest: string(line)}
	if strings.HasPrefix(s.rest, `{"checkpoint":"`) {
		l.Checkpoint = s.checkpoint()
		p.room = l.Checkpoint.AppendLine(p.room[:0])
	} else {
		l.Entry = s.entry(p)
		p.room = l.Entry.AppendLine(p.room[:0])
	}
	if s.bad || len(s.rest) > 0 || !bytes.Equal(line, p.room) || l.Entry != nil && !l.Entry.Record.fits() {
		return Line{}, ErrLine
	}
	return l, nil
}

// scanner reads a line from left to right. What it takes for granted is found by writing the line once more.
type scanner struct {
	rest string
	bad  bool
}

// skip demands a text.
func (s *scanner) skip(text string) {
	if !s.starts(text) {
		s.bad, s.rest = true, ""
	}
}

// starts reports whether a text comes next, and takes it.
func (s *scanner) starts(text string) bool {
	rest, ok := strings.CutPrefix(s.rest, text)
	s.rest = rest
	return ok
}

func (s *scanner) hex(into []byte) {
	n := hex.EncodedLen(len(into))
	if len(s.rest) < n {
		s.bad, s.rest = true, ""
		return
	}
	for i := range into {
		into[i] = nibble(s.rest[2*i])<<4 | nibble(s.rest[2*i+1])
	}
	s.rest = s.rest[n:]
}

// nibble is the value of a hexadecimal digit; of another character any.
func nibble(c byte) byte {
	if c >= 'a' {
		return (c - 'a' + 10) & 15
	}
	return c & 15
}

func (s *scanner) number() (v uint64) {
	n := 0
	for n < len(s.rest) && s.rest[n] >= '0' && s.rest[n] <= '9' {
		n++
	}
	v, err := strconv.ParseUint(s.rest[:n], 10, 64)
	s.bad, s.rest = s.bad || err != nil, s.rest[n:]
	return v
}

// bare reads up to the next quotation mark, and leaves that.
func (s *scanner) bare() string {
	n := max(strings.IndexByte(s.rest, '"'), 0)
	text := s.rest[:n]
	s.rest = s.rest[n:]
	return text
}

func (s *scanner) time() instant.Instant {
	t, err := time.Parse(time.RFC3339, s.bare())
	s.bad = s.bad || err != nil
	return instant.Of(t)
}

// text reads a string.
func (s *scanner) text() string {
	s.skip(`"`)
	n := strings.IndexByte(s.rest, '"')
	if n < 0 {
		s.bad, s.rest = true, ""
		return ""
	}
	if text := s.rest[:n]; strings.IndexByte(text, '\\') < 0 {
		s.rest = s.rest[n+1:]
		return text
	}
	return s.escaped()
}

func (s *scanner) escaped() string {
	var b []byte
	for len(s.rest) > 0 {
		switch c := s.rest[0]; {
		case c == '"':
			s.rest = s.rest[1:]
			return string(b)
		case c != '\\':
			b, s.rest = append(b, c), s.rest[1:]
		case len(s.rest) >= 6 && s.rest[1] == 'u':
			v, err := strconv.ParseUint(s.rest[2:6], 16, 16)
			s.bad = s.bad || err != nil
			b, s.rest = utf8.AppendRune(b, rune(v)), s.rest[6:]
		case len(s.rest) >= 2:
			b, s.rest = append(b, s.rest[1]), s.rest[2:]
		default:
			s.rest = ""
		}
	}
	s.bad = true
	return ""
}

func (s *scanner) severity() Severity {
	text := s.bare()
	for v := Info; v <= Critical; v++ {
		if v.String() == text {
			return v
		}
	}
	v, err := strconv.ParseUint(text, 10, 8)
	s.bad = s.bad || err != nil
	return Severity(v)
}

func (s *scanner) entry(into *parser) *Entry {
	e := &into.entry
	*e = Entry{}
	r := &e.Record
	s.skip(`{"seq":`)
	r.Seq = s.number()
	s.skip(`,"prev":"`)
	s.hex(r.Prev[:])
	s.skip(`","event":"`)
	s.hex(r.Event[:])
	s.skip(`","time":"`)
	r.Time = s.time()
	s.skip(`","kind":`)
	r.Kind = Kind(s.text())
	s.skip(`,"severity":"`)
	r.Severity = s.severity()
	s.skip(`","outcome":`)
	r.Outcome = Outcome(s.text())
	s.skip(`,"actor":`)
	r.Actor = s.text()
	s.skip(`,"subject":`)
	r.Subject = s.text()
	s.skip(`,"reason":`)
	r.Reason = s.text()
	s.skip(`,"commitment":"`)
	s.hex(r.Commitment[:])
	if s.starts(`","salt":null,"personal":null}`) {
		return e
	}
	s.skip(`","salt":"`)
	s.hex(e.Salt[:])
	if s.starts(`","personal":null}`) {
		return e
	}
	p := &into.personal
	e.Personal = p
	clear(p.Details)
	s.skip(`","personal":{"email":`)
	p.Email = s.text()
	s.skip(`,"ip_address":`)
	p.IPAddress = s.text()
	s.skip(`,"user_agent":`)
	p.UserAgent = s.text()
	s.skip(`,"request_id":`)
	p.RequestID = s.text()
	s.skip(`,"details":{`)
	for first := true; !s.bad && !s.starts(`}}}`); first = false {
		if !first {
			s.skip(`,`)
		}
		if p.Details == nil {
			p.Details = map[string]string{}
		}
		name := s.text()
		s.skip(`:`)
		p.Details[name] = s.text()
	}
	return e
}

func (s *scanner) checkpoint() *Checkpoint {
	c := &Checkpoint{}
	s.skip(`{"checkpoint":"`)
	name := s.bare()
	for p, text := range purposes {
		if text == name {
			c.Purpose = p
		}
	}
	s.skip(`","chain":"`)
	s.hex(c.Chain[:])
	s.skip(`","key":"`)
	s.hex(c.Key[:])
	s.skip(`","time":"`)
	c.Time = s.time()
	s.skip(`","first":`)
	c.First = s.number()
	s.skip(`,"before":"`)
	s.hex(c.Before[:])
	s.skip(`","seq":`)
	c.Seq = s.number()
	s.skip(`,"head":"`)
	s.hex(c.Head[:])
	s.skip(`","position":`)
	c.Position = s.number()
	s.skip(`,"digest":"`)
	s.hex(c.Digest[:])
	s.skip(`","signature":"`)
	s.hex(c.Signature[:])
	s.skip(`"}`)
	s.bad = s.bad || c.IsZero()
	return c
}

func appendHex(b, v []byte) []byte { return hex.AppendEncode(b, v) }

// appendText appends a text as a string of JSON. Escaped are quotation marks, backslashes, and what is not to reach a terminal or a reader's eye as it is: control characters, line separators,
// and those that turn the direction of writing or are invisible.
func appendText(b []byte, text string) []byte {
	b = append(b, '"')
	done := 0
	for i := 0; i < len(text); {
		c := text[i]
		if c >= ' ' && c < 0x7f && c != '"' && c != '\\' {
			i++
			continue
		}
		r, size := rune(c), 1
		if c >= utf8.RuneSelf {
			if r, size = utf8.DecodeRuneInString(text[i:]); !unseen(r) {
				i += size
				continue
			}
		}
		b = append(b, text[done:i]...)
		if r == '"' || r == '\\' {
			b = append(b, '\\', byte(r))
		} else {
			b = append(b, '\\', 'u', digits[r>>12&15], digits[r>>8&15], digits[r>>4&15], digits[r&15])
		}
		i += size
		done = i
	}
	return append(append(b, text[done:]...), '"')
}

const digits = "0123456789abcdef"

// unseen are the characters beyond ASCII that are no part of what is read, or change how the rest is. All of them have four hexadecimal digits.
func unseen(r rune) bool {
	switch {
	case r >= 0x80 && r <= 0x9f, r == 0xad, r == 0x61c, r >= 0x200b && r <= 0x200f, r >= 0x2028 && r <= 0x202e, r >= 0x2060 && r <= 0x206f, r == 0xfeff, r >= 0xfff9 && r <= 0xfffb:
		return true
	}
	return false
}

// Printable is a text with what appendText escapes, escaped in the same way: for a terminal.
func Printable(text string) string {
	quoted := appendText(nil, text)
	return strings.ReplaceAll(strings.ReplaceAll(string(quoted[1:len(quoted)-1]), `\"`, `"`), `\\`, `\`)
}
