package upload

import (
	endian "encoding/binary"
	"unicode/utf8"
)

// Head is how many bytes of a file are looked at to say what type it has.
const Head = 4096

// Detect answers the media types that the beginning of a file has, the closest first, each without parameters. It keeps nothing of head.
type Detect func(head []byte) []string

// Check follows the content of one file as it arrives, and refuses what its kind does not have, as early as that is seen. It holds Head bytes at most.
type Check struct {
	kind   Kind
	detect Detect
	most   int64
	size   int64
	head   []byte
	judged bool // head was
	cut    [utf8.UTFMax]byte
	cutLen int // bytes of a character whose end has not come yet
	json   jsonState
}

// NewCheck begins with a file of that kind, which has at most so many bytes.
func NewCheck(k Kind, most int64, detect Detect) *Check {
	return &Check{kind: k, detect: detect, most: most, head: make([]byte, 0, Head)}
}

// Size is how many bytes have come.
func (c *Check) Size() int64 { return c.size }

// Next takes the bytes that follow. It answers a *SizeError or an *InvalidError, after which the file is lost.
func (c *Check) Next(p []byte) error {
	if int64(len(p)) > c.most-c.size {
		return &SizeError{c.most}
	}
	c.size += int64(len(p))
	if !c.judged {
		c.head = append(c.head, p[:min(len(p), Head-len(c.head))]...)
		if len(c.head) == Head {
			if err := c.judge(); err != nil {
				return err
			}
		}
	}
	if c.kind.form == foreign {
		return nil
	}
	if !c.readable(p) {
		return &InvalidError{"the content is not UTF-8 text, which the name says it is"}
	}
	if c.kind.form == object && !c.json.next(p) {
		return errNotJSON
	}
	return nil
}

var errNotJSON = &InvalidError{"the content is not JSON, which the name says it is"}

// End is to be called when all has come.
func (c *Check) End() error {
	if !c.judged {
		if err := c.judge(); err != nil {
			return err
		}
	}
	switch {
	case c.cutLen > 0:
		return &InvalidError{"the content is not UTF-8 text, which the name says it is"}
	case c.kind.form == object && !c.json.whole():
		return errNotJSON
	}
	return nil
}

func (c *Check) judge() error {
	c.judged = true
	if !c.kind.agrees(c.detect(c.head)) {
		return &InvalidError{"the content is of another type than the name says"}
	}
	return nil
}

// binary are the bytes that text does not have (WHATWG MIME Sniffing, section 3: binary data bytes), and DEL.
var binary = func() (is [256]bool) {
	for b := range 0x20 {
		is[b] = b <= 0x08 || b == 0x0b || b >= 0x0e && b != 0x1b
	}
	is[0x7f] = true
	return is
}()

// hasBinary looks at eight bytes at once, without a branch, for a line may end in any eight; and at each alone only where one is binary, or ESC.
func hasBinary(p []byte) bool {
	for len(p) >= 32 {
		w := p[:32]
		if texts(endian.LittleEndian.Uint64(w))&texts(endian.LittleEndian.Uint64(w[8:]))&texts(endian.LittleEndian.Uint64(w[16:]))&texts(endian.LittleEndian.Uint64(w[24:]))&tops != tops && anyBinary(w) {
			return true
		}
		p = p[32:]
	}
	return anyBinary(p)
}

const (
	ones = 0x0101010101010101
	lows = ones * 0x7f
	tops = ones * 0x80
)

// texts sets the top bit of each of eight bytes that is a tab, a line feed, a form feed, a carriage return, or no control character of ASCII. No sum of seven bits is carried into the next byte.
func texts(w uint64) uint64 {
	low := w & lows
	left := low ^ lows // 0x7f less each
	space, tab, noVT, noMore := low+ones*(0x80-' '), low+ones*(0x80-'\t'), (low^ones*'\v')+lows, left+ones*('\r'+1)
	return (space|tab&noVT&noMore)&(left+lows) | w // the last sum leaves DEL out
}

func anyBinary(p []byte) bool {
	for _, b := range p {
		if binary[b] {
			return true
		}
	}
	return false
}

// readable reports whether p goes on as UTF-8 text. A character may be cut between two calls.
func (c *Check) readable(p []byte) bool {
	if hasBinary(p) {
		return false
	}
	for c.cutLen > 0 && len(p) > 0 {
		c.cut[c.cutLen], p = p[0], p[1:]
		c.cutLen++
		if utf8.FullRune(c.cut[:c.cutLen]) {
			if r, n := utf8.DecodeRune(c.cut[:c.cutLen]); r == utf8.RuneError && n == 1 {
				return false
			}
			c.cutLen = 0
		}
	}
	end := len(p)
	for back := 1; back < utf8.UTFMax && back <= len(p); back++ {
		if b := p[len(p)-back]; utf8.RuneStart(b) {
			if !utf8.FullRune(p[len(p)-back:]) {
				end = len(p) - back
			}
			break
		}
	}
	if c.cutLen == 0 {
		c.cutLen = copy(c.cut[:], p[end:])
	}
	return utf8.Valid(p[:end])
}

// jsonState reads JSON (RFC 8259) byte by byte. Whether the bytes are UTF-8 is for others to see to.
type jsonState struct {
	open   []byte // { and [ that are not closed
	at     jsonPlace
	word   string // what is left of true, false or null
	digits int    // hexadecimal ones that \u still needs
	name   bool   // the string is the name of a member
	bom    int    // bytes of a byte order mark at the start, which is taken
	begun  bool
}

type jsonPlace uint8

const (
	aValue    jsonPlace = iota // a value is to come
	aValueOr                   // or ]
	aName                      // the name of a member
	aNameOr                    // or }
	aColon                     //
	behind                     // behind a value
	inString                   //
	inEscape                   // behind a backslash
	inHex                      //
	inWord                     //
	minus                      //
	zero                       // a leading 0 of a number
	whole                      // digits of a number
	point                      // behind the point
	fraction                   //
	exponent                   // behind e
	signed                     // behind its sign
	exponents                  //
)

// MaxDepth is how deep JSON may be nested.
const MaxDepth = 1000

func (j *jsonState) next(p []byte) bool {
	for i := 0; i < len(p); i++ {
		for j.at == inString && i < len(p)-1 && p[i] != '"' && p[i] != '\\' && p[i] >= 0x20 { // most of what there is
			i++
		}
		if !j.step(p[i]) {
			return false
		}
	}
	return true
}

func (j *jsonState) step(b byte) bool {
	if !j.begun {
		const mark = "\xef\xbb\xbf"
		if j.bom < len(mark) && b == mark[j.bom] {
			j.bom++
			return true
		}
		if j.begun = true; j.bom%len(mark) != 0 {
			return false
		}
	}
	switch j.at {
	case inString:
		switch {
		case b == '"' && j.name:
			j.at = aColon
		case b == '"':
			j.at = behind
		case b == '\\':
			j.at = inEscape
		default:
			return b >= 0x20
		}
		return true
	case inEscape:
		switch b {
		case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
			j.at = inString
		case 'u':
			j.at, j.digits = inHex, 4
		default:
			return false
		}
		return true
	case inHex:
		if j.digits--; j.digits == 0 {
			j.at = inString
		}
		return isDigit(b) || b >= 'a' && b <= 'f' || b >= 'A' && b <= 'F'
	case inWord:
		if b != j.word[0] {
			return false
		}
		if j.word = j.word[1:]; j.word == "" {
			j.at = behind
		}
		return true
	case minus, zero, whole, point, fraction, exponent, signed, exponents:
		if on, ok := j.number(b); on || !ok {
			return ok
		}
		j.at = behind
	}
	if b == ' ' || b == '\t' || b == '\n' || b == '\r' {
		return true
	}
	switch j.at {
	case aValue, aValueOr:
		if b == ']' && j.at == aValueOr {
			return j.close('[')
		}
		return j.begin(b)
	case aName, aNameOr:
		if b == '}' && j.at == aNameOr {
			return j.close('{')
		}
		j.at, j.name = inString, true
		return b == '"'
	case aColon:
		j.at = aValue
		return b == ':'
	}
	switch { // behind a value
	case b == ']':
		return j.close('[')
	case b == '}':
		return j.close('{')
	case b != ',' || len(j.open) == 0:
		return false
	case j.open[len(j.open)-1] == '{':
		j.at = aName
	default:
		j.at = aValue
	}
	return true
}

// begin takes the first byte of a value.
func (j *jsonState) begin(b byte) bool {
	switch {
	case b == '{' || b == '[':
		j.open = append(j.open, b)
		if j.at = aValueOr; b == '{' {
			j.at = aNameOr
		}
		return len(j.open) <= MaxDepth
	case b == '"':
		j.at, j.name = inString, false
	case b == 't':
		j.at, j.word = inWord, "true"[1:]
	case b == 'f':
		j.at, j.word = inWord, "false"[1:]
	case b == 'n':
		j.at, j.word = inWord, "null"[1:]
	case b == '-':
		j.at = minus
	case b == '0':
		j.at = zero
	case isDigit(b):
		j.at = whole
	default:
		return false
	}
	return true
}

// number takes a byte within a number, and says whether that goes on with it; ok is false where no number can.
func (j *jsonState) number(b byte) (on, ok bool) {
	digit, e := isDigit(b), b == 'e' || b == 'E'
	switch {
	case j.at == minus && b == '0':
		j.at = zero
	case j.at == minus && digit, j.at == whole && digit:
		j.at = whole
	case (j.at == zero || j.at == whole) && b == '.':
		j.at = point
	case (j.at == point || j.at == fraction) && digit:
		j.at = fraction
	case (j.at == zero || j.at == whole || j.at == fraction) && e:
		j.at = exponent
	case j.at == exponent && (b == '+' || b == '-'):
		j.at = signed
	case (j.at == exponent || j.at == signed || j.at == exponents) && digit:
		j.at = exponents
	default:
		return false, j.complete()
	}
	return true, true
}

// complete reports whether a number may end here.
func (j *jsonState) complete() bool {
	return j.at == zero || j.at == whole || j.at == fraction || j.at == exponents
}

func (j *jsonState) close(what byte) bool {
	if len(j.open) == 0 || j.open[len(j.open)-1] != what {
		return false
	}
	j.open, j.at = j.open[:len(j.open)-1], behind
	return true
}

// whole reports whether what has come is one value.
func (j *jsonState) whole() bool { return len(j.open) == 0 && (j.at == behind || j.complete()) }

func isDigit(b byte) bool { return b >= '0' && b <= '9' }
