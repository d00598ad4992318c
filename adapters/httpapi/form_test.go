package httpapi_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"mime/multipart"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/xteam/xteam/adapters/httpapi"
)

// errEnds is what a body ends with whose end is to be told from that of a form.
var errEnds = errors.New("the body ends")

// byOracle reads all parts of a form as the standard library does, but for one thing: it takes the end of the body within the header of a part for the end of the form, and so a form that was cut off there for a whole one.
func byOracle(body []byte, boundary string) (all []httpapi.FormPart, err error) {
	if _, err := byLibrary(io.MultiReader(bytes.NewReader(body), &endless{errEnds}), boundary); err == errEnds { // as it is; elsewhere it is wrapped
		return nil, err
	}
	return byLibrary(bytes.NewReader(body), boundary)
}

func byLibrary(body io.Reader, boundary string) (all []httpapi.FormPart, err error) {
	r := multipart.NewReader(body, boundary)
	for {
		p, err := r.NextRawPart()
		if err == io.EOF { // wrapped, it is another end
			return all, nil
		}
		if err != nil {
			return nil, err
		}
		content, err := io.ReadAll(p)
		if err != nil {
			return nil, err
		}
		all = append(all, httpapi.FormPart{Header: p.Header, Content: content})
	}
}

// inSteps gives a body so many bytes at a time, the first time fewer.
type inSteps struct {
	body  []byte
	first int
	step  int
}

func (s *inSteps) Read(p []byte) (int, error) {
	if len(s.body) == 0 {
		return 0, io.EOF
	}
	n := s.step
	if s.first > 0 {
		n, s.first = s.first, 0
	}
	n = copy(p[:min(n, len(p))], s.body)
	s.body = s.body[n:]
	return n, nil
}

// differs says in what our reading of a form is not the standard library's; empty when it is the same.
func differs(want []httpapi.FormPart, refused error, got []httpapi.FormPart, err error) string {
	if (err == nil) != (refused == nil) {
		return fmt.Sprintf("got error %v, want %v", err, refused)
	}
	if err == nil {
		return cmp.Diff(want, got, cmp.Comparer(bytes.Equal))
	}
	return ""
}

const dispo = "Content-Disposition: form-data; name=\"file\"; filename=\"a.md\"\r\n"

// forms are bodies whose boundary is edge.
func forms() []string {
	return []string{
		asFile("a.md", "x"), asFile("a.md", ""), asFile("a.md", "\r\n"), asFile("a.md", "\r"), asFile("a.md", strings.Repeat("\r\n--edg", 50)),
		asFile("a.md", "--edge"), asFile("a.md", "\r\n--edgex"), asFile("a.md", "\r\n--edge-x"), asFile("a.md", "\r\n--edge "), asFile("a.md", "\n--edge\n"), asFile("a.md", "\r\r\n--edg\r\n-"),
		"--edge\r\n" + dispo + "\r\n--edge--", "--edge\r\n" + dispo + "\r\n--edgex\r\n--edge--\r\n", "--edge\r\n" + dispo + "\r\n--edge-\r\n--edge--", "--edge\r\n" + dispo + "\n--edge--\r\n",
		"--edge\r\n" + dispo + "\r\nx\r\n--edge\r\n" + dispo + "\r\ny\r\n--edge--\r\n", "--edge\r\n" + dispo + "\r\nx\r\n--edge\r\n\r\ny\r\n--edge--\r\n",
		strings.ReplaceAll(asFile("a.md", "x\n--edgey\n"), "\r\n", "\n"), strings.Replace(asFile("a.md", "x\r\n"), "\r\n", "\n", 1), "--edge\n\nx\r\n--edge--\n", "--edge\r\n\nx\n--edge--\r\n\r\n--edge--",
		"preamble\r\n--edgex\r\n\r\n" + asFile("a.md", "x") + "epilogue\r\n--edge\r\n", "--edge--\r\n" + asFile("a.md", "x"), "--edge--\n" + asFile("a.md", "x"),
		"--edge \t \r\n" + dispo + "\r\nx\r\n--edge-- \t\r\n", "--edge\r\n" + dispo + "\r\nx\r\n--edge--\t", "--edge\r\n" + dispo + "\r\nx\r\n--edge--\n", "--edge\r\n" + dispo + "\r\nx\r\n--edge \r\n\r\n\r\n--edge--", "--edge\r\n" + dispo + "\r\nx\r\n--edge--x\r\n",
		"--edge\r\n" + dispo + "X-Folded: a\r\n \r\n\tb\r\n\r\nx\r\n--edge--", "--edge\r\n X: 1\r\n\r\nx\r\n--edge--", "--edge\r\nX\r\n\r\nx\r\n--edge--", "--edge\r\nX Y: 1\r\n\r\nx\r\n--edge--", "--edge\r\n: 1\r\n\r\nx\r\n--edge--", "--edge\r\nX: \x00\r\n\r\nx\r\n--edge--", "--edge\r\nX: 1\r\r\n\r\nx\r\n--edge--",
		"--edge\r\n\r\n\r\n--edge--", "--edge\r\n\r\n--edge--", "--edge\r\n\r\n--edge", "--edge\r\n\r\n--edge\r\n", "--edge\r\n\r\nx\r\n--edge", "--edge", "--edge--", "-", "", "\n", "--edge\r\n", "--edge\r\n\r\n",
		"--edge\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n=3D\r\n--edge--", strings.Repeat("\n", 500) + asFile("a.md", "x"), "--edge\r\n" + strings.Repeat("X: 1\r\n", 200) + "\r\nx\r\n--edge--",
	}
}

// TestFormsAreReadAsTheLibraryReadsThem holds the reader of forms against mime/multipart, with each form whole, cut at each of its bytes, in pieces of each length, and through a buffer that is small.
func TestFormsAreReadAsTheLibraryReadsThem(t *testing.T) {
	for _, body := range forms() {
		want, refused := byOracle([]byte(body), "edge")
		for cut := range len(body) + 1 {
			for _, r := range []io.Reader{&inSteps{[]byte(body), cut, len(body)}, &inSteps{[]byte(body), 0, cut + 1}} {
				got, err := httpapi.FormParts(r, "edge", 4096)
				if d := differs(want, refused, got, err); d != "" {
					t.Fatalf("%q, cut at %d: %s", body, cut, d)
				}
			}
			short, err1 := byOracle([]byte(body[:cut]), "edge")
			got, err := httpapi.FormParts(strings.NewReader(body[:cut]), "edge", 4096)
			if d := differs(short, err1, got, err); d != "" {
				t.Fatalf("the first %d bytes of %q: %s", cut, body, d)
			}
		}
	}
	long := asFile("a.md", strings.Repeat("0123456789\r\n--edg\r\n--edge-\r\n--edgee", 1000))
	want, refused := byOracle([]byte(long), "edge")
	for buffer := 120; buffer < 300; buffer++ { // so that what is held back lies anywhere in the form
		got, err := httpapi.FormParts(strings.NewReader(long), "edge", buffer)
		if d := differs(want, refused, got, err); d != "" {
			t.Fatalf("with a buffer of %d bytes: %s", buffer, d)
		}
	}
}

// TestAFormHasBounds: what is around a file is refused by its length, wherever it stands, and what a body ends with is said.
func TestAFormHasBounds(t *testing.T) {
	for what, body := range map[string]string{
		"a preamble of one line":   strings.Repeat("x", 5_000) + "\r\n" + asFile("a.md", "x"),
		"a preamble of many lines": strings.Repeat("x\r\n", 6_000) + asFile("a.md", "x"),
		"a preamble without end":   strings.Repeat("x", 1<<20),
		"a header of one line":     "--edge\r\nX: " + strings.Repeat("x", 17_000) + "\r\n\r\nx\r\n--edge--",
		"a header of many lines":   "--edge\r\n" + strings.Repeat("X: 1\r\n", 3_000) + "\r\nx\r\n--edge--",
		"a header without end":     "--edge\r\n" + strings.Repeat("X: 1\r\n", 100_000),
		"a last line without end":  "--edge\r\n\r\nx\r\n--edge--" + strings.Repeat(" ", 1<<20),
	} {
		r := strings.NewReader(body)
		if _, err := httpapi.FormParts(r, "edge", 0); err == nil {
			t.Errorf("%s was taken", what)
		}
	}
	ended := errors.New("it ended")
	whole := asFile("a.md", "x")
	for cut := range len(whole) - len("--\r\n") + 1 {
		if _, err := httpapi.FormParts(io.MultiReader(strings.NewReader(whole[:cut]), &endless{ended}), "edge", 0); !errors.Is(err, ended) {
			t.Errorf("cut off at %d: got error %v, want what the body ended with", cut, err)
		}
	}
	if _, err := httpapi.FormParts(&endless{}, "edge", 0); !errors.Is(err, io.ErrNoProgress) {
		t.Errorf("a body that gives nothing: got error %v, want ErrNoProgress", err)
	}
}

// endless gives nothing but an error.
type endless struct{ err error }

func (f *endless) Read([]byte) (int, error) { return 0, f.err }

// FuzzMultipart holds the reader of forms against mime/multipart: the same parts, the same refusals, whatever the boundary and the pieces that it comes in. Of what is longer than the bounds allow, more may be refused.
func FuzzMultipart(f *testing.F) {
	for i, body := range forms() {
		f.Add("edge", []byte(body), uint16(i), uint16(0))
		f.Add("edge", []byte(body), uint16(7), uint16(100+i))
	}
	f.Add("a quoted one", []byte("--a quoted one\r\n\r\nx\r\n--a quoted one--"), uint16(1), uint16(0))
	f.Add("-", []byte("---\r\n\r\nx\r\n-----"), uint16(1), uint16(0))
	f.Add("--", []byte("----\r\n\r\n----\r\n------"), uint16(1), uint16(0))
	f.Add("\t", []byte("--\t\r\n\r\nx\r\n--\t--"), uint16(1), uint16(0))
	f.Add(" ", []byte("--  \r\n\r\nx\r\n-- --"), uint16(1), uint16(0))
	f.Add(strings.Repeat("e", 70), []byte("--"+strings.Repeat("e", 70)+"\r\n\r\n"+strings.Repeat("x", 300)+"\r\n--"+strings.Repeat("e", 70)+"--"), uint16(13), uint16(200))
	f.Fuzz(func(t *testing.T, boundary string, body []byte, step, buffer uint16) {
		if boundary == "" || len(boundary) > 70 || strings.ContainsAny(boundary, "\r\n") {
			t.Skip() // it is refused with its header
		}
		size := 0
		if buffer > 0 {
			size = max(int(buffer), 100)
		}
		want, refused := byOracle(body, boundary)
		got, err := httpapi.FormParts(&inSteps{body, 0, int(step) + 1}, boundary, size)
		if err != nil && refused == nil && (len(body) > 4096 || size > 0 && size <= len(body)) {
			return // by a bound
		}
		if d := differs(want, refused, got, err); d != "" {
			t.Errorf("%q by %q, in steps of %d: %s", body, boundary, int(step)+1, d)
		}
	})
}
