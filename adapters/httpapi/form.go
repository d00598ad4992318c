package httpapi

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/textproto"
)

// What a multipart body may have beside the bytes of its file.
const (
	formSlack   = 64 << 10 // bytes, in all
	partHeader  = 16 << 10 // bytes before the file's own, and behind them
	formLine    = 4 << 10  // bytes of a line that is no header's
	maxBoundary = 70       // RFC 2046, section 5.1.1
)

// formPiece is how many bytes of a file are read, looked at and handed on at a time, once so many have come; it is what an upload holds in memory.
const formPiece = 256 << 10

var (
	errNotMultipart = errors.New("send the file as multipart/form-data, in a part called file")
	errPart         = fmt.Errorf("the form is malformed: it is one part called file, whose header has at most %d bytes, and its end", partHeader)
)

// boundaryOf is what parts the body.
func boundaryOf(h http.Header) (string, error) {
	media, params, err := mime.ParseMediaType(h.Get("Content-Type"))
	if err != nil || media != "multipart/form-data" || len(h["Content-Type"]) != 1 {
		return "", errNotMultipart
	}
	if b := params["boundary"]; b != "" && len(b) <= maxBoundary {
		return b, nil
	}
	return "", errNotMultipart
}

// form reads the parts of a multipart body (RFC 2046, section 5.1) one behind the other. It takes what mime/multipart takes, within the bounds above, and reads the same in it, which FuzzMultipart
// holds it to: a body whose lines end in a bare LF from its first delimiter on, a text before the first part, and what stands behind the last. Unlike it, it reads into one long
// buffer, looks there for the delimiter as a whole, and hands out pieces of the buffer itself.
type form struct {
	body      io.Reader
	buf       []byte // longer than partHeader, and than any delimiter by far
	from, to  int    // what has come and is not read yet
	ended     error  // why nothing more comes
	delimiter []byte // the end of a line, two hyphens and the boundary
	end       int    // bytes of the end of a line: 2, or 1
	left      int    // bytes that there may still be before the content of a part
	begun     bool   // there was a part
	fresh     bool   // nothing of the content of this part was read
}

// newForm reads a body with a buffer that is long enough for the header of a part.
func newForm(body io.Reader, boundary string) *form {
	return &form{body: body, buf: make([]byte, 2*partHeader), delimiter: []byte("\r\n--" + boundary), end: 2}
}

// lengthen has a body that is so long (negative: nobody knows) read in longer pieces from now on.
func (f *form) lengthen(length int64) {
	size := formPiece
	if length >= 0 {
		size = int(min(length, formPiece))
	}
	if size > len(f.buf) {
		longer := make([]byte, size)
		f.from, f.to = 0, copy(longer, f.buf[f.from:f.to])
		f.buf = longer
	}
}

// more reads what has come, at least a byte of it unless the body has ended.
func (f *form) more() {
	if f.from > 0 && (f.from == f.to || f.to == len(f.buf)) {
		f.to = copy(f.buf, f.buf[f.from:f.to])
		f.from = 0
	}
	for empty := 0; f.ended == nil; empty++ {
		n, err := f.body.Read(f.buf[f.to:])
		f.to += n
		f.ended = err
		if n > 0 {
			return
		}
		if empty == 100 {
			f.ended = io.ErrNoProgress
		}
	}
}

// cause is why the form could not be read: what the body ended with, or that it is malformed.
func (f *form) cause() error {
	if f.ended != nil && f.ended != io.EOF { //nolint:errorlint // as io.Reader has it
		return f.ended
	}
	return errPart
}

// next reads on to the content of the next part, and answers its header; nil where there is no other part. What is left of the part before must have been read.
func (f *form) next() (textproto.MIMEHeader, error) {
	f.left = min(partHeader, len(f.buf))
	for separated := false; ; {
		line, err := f.line()
		switch {
		case err == nil && f.delimits(line):
			f.begun, f.fresh = true, true
			return f.header()
		case (err == nil || err == io.EOF) && f.closes(line): //nolint:errorlint // as io.Reader has it
			return nil, nil
		case err != nil:
			return nil, f.cause()
		case !f.begun: // a preamble
		case !separated && bytes.Equal(line, f.delimiter[:f.end]):
			separated = true
		default:
			return nil, errPart
		}
	}
}

// line answers a line with its end; at the end of the body, the rest of it with why that ended.
func (f *form) line() ([]byte, error) {
	for most := min(f.left, formLine); ; f.more() {
		have := f.buf[f.from:min(f.to, f.from+most)]
		if i := bytes.IndexByte(have, '\n'); i >= 0 {
			f.from += i + 1
			f.left -= i + 1
			return have[:i+1], nil
		}
		if len(have) == most {
			f.ended = errPart
		}
		if f.ended != nil {
			f.from += len(have)
			return have, f.ended
		}
	}
}

// delimits reports whether a part begins behind a line. The first such line says what lines end in.
func (f *form) delimits(line []byte) bool {
	rest, ok := bytes.CutPrefix(line, f.delimiter[f.end:])
	rest = bytes.TrimLeft(rest, " \t")
	if ok && !f.begun && string(rest) == "\n" {
		f.delimiter, f.end = f.delimiter[1:], 1
	}
	return ok && bytes.Equal(rest, f.delimiter[:f.end])
}

// closes reports whether a line is the last of the form.
func (f *form) closes(line []byte) bool {
	rest, ok := bytes.CutPrefix(line, f.delimiter[f.end:])
	rest, dashes := bytes.CutPrefix(rest, []byte("--"))
	rest = bytes.TrimLeft(rest, " \t")
	return ok && dashes && (len(rest) == 0 || bytes.Equal(rest, f.delimiter[:f.end]))
}

// header reads the header of a part, to the first line that is empty.
func (f *form) header() (textproto.MIMEHeader, error) {
	for seen := 0; ; f.more() {
		for {
			have := f.buf[f.from:min(f.to, f.from+f.left)]
			i := bytes.IndexByte(have[seen:], '\n')
			if i < 0 && len(have) == f.left {
				return nil, errPart
			}
			if i < 0 {
				break
			}
			empty := i == 0 || i == 1 && have[seen] == '\r'
			if seen += i + 1; empty {
				f.from += seen
				return partHeaderOf(have[:seen])
			}
		}
		if f.ended != nil {
			return nil, f.cause()
		}
	}
}

func partHeaderOf(header []byte) (textproto.MIMEHeader, error) {
	h, err := textproto.NewReader(bufio.NewReaderSize(bytes.NewReader(header), 512)).ReadMIMEHeader()
	if err != nil {
		return nil, errPart
	}
	return h, nil
}

// content answers the bytes of a part that follow, of which the next call makes others; none at the end of the part.
func (f *form) content() ([]byte, error) {
	if f.from > 0 {
		f.to = copy(f.buf, f.buf[f.from:f.to])
		f.from = 0
	}
	for seen := 0; ; f.more() { // no delimiter begins before seen
		if f.fresh {
			switch f.opens() {
			case anEdge:
				return nil, nil
			case noEdge:
				f.fresh = false
			}
		}
		if !f.fresh {
			at, found := f.find(seen)
			if found == anEdge {
				f.from = at
				return f.buf[:at], nil
			}
			seen = at
		}
		if f.ended != nil {
			return nil, f.cause()
		}
		if f.to == len(f.buf) {
			f.from = seen
			return f.buf[:seen], nil
		}
	}
}

// edge says whether a text is a delimiter.
type edge uint8

const (
	anEdge   edge = iota
	noEdge        // it is content
	openEdge      // that depends on what follows
)

// opens judges whether the content of a part begins with a delimiter, of which the end of the line was read with the header.
func (f *form) opens() edge {
	dashed, have := f.delimiter[f.end:], f.buf[f.from:f.to]
	if rest, ok := bytes.CutPrefix(have, dashed); ok {
		return edgeBy(rest)
	}
	if bytes.HasPrefix(dashed, have) {
		return openEdge
	}
	return noEdge
}

// find looks for a delimiter, which does not begin before seen, and answers where one begins, or before where none does.
func (f *form) find(seen int) (at int, found edge) {
	for {
		i := bytes.Index(f.buf[seen:f.to], f.delimiter)
		if i < 0 {
			return max(seen, f.to-len(f.delimiter)+1), noEdge
		}
		seen += i
		behind := seen + len(f.delimiter)
		if found = edgeBy(f.buf[behind:f.to]); found != noEdge {
			return seen, found
		}
		seen = behind
	}
}

// edgeBy says of what stands behind a delimiter's boundary whether it is one. White space makes it one, though it may be no line that delimits: then the form is malformed.
func edgeBy(rest []byte) edge {
	switch {
	case len(rest) == 0:
		return openEdge
	case rest[0] == ' ', rest[0] == '\t', rest[0] == '\r', rest[0] == '\n':
		return anEdge
	case rest[0] != '-':
		return noEdge
	case len(rest) == 1:
		return openEdge
	case rest[1] == '-':
		return anEdge
	}
	return noEdge
}
