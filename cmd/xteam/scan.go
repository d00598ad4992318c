package main

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/xteam/xteam/domain/leak"
)

const (
	scanSniff    = 8000   // bytes: what has a zero among its first so many is binary, as for git
	scanMiB      = 64     // files that are larger are not looked into, unless it is said otherwise
	scanPlaces   = 20     // of one secret that are listed
	scanDistinct = 10_000 // secrets that are listed and withdrawn
	scanMost     = 1000   // from so many on, a secret that is listed already is not listed again
)

// scanned is what a scan has found.
type scanned struct {
	Found   []scanFinding `json:"found"`
	More    int           `json:"more"`    // that were found beyond those
	Files   int           `json:"files"`   // that were looked through
	Skipped scanSkipped   `json:"skipped"` // and that were not
	Failed  []string      `json:"failed"`  // what could not be read, and why
}

// scanSkipped counts the files that were not looked into.
type scanSkipped struct {
	Binary int `json:"binary"`
	Large  int `json:"large"`
	Links  int `json:"links"`
	Other  int `json:"other"` // devices, pipes and sockets
}

// scanFinding is a secret, and where it is. The secret itself is for the server alone.
type scanFinding struct {
	Path    string `json:"path"`
	Line    int    `json:"line"` // 0: in its name
	Column  int    `json:"column"`
	Kind    string `json:"kind"`   // api_key or refresh_token
	Secret  string `json:"secret"` // as it may be shown
	APIKey  string `json:"api_key,omitempty"`
	Session string `json:"session,omitempty"`
	Revoked *bool  `json:"revoked,omitempty"`
	Why     string `json:"why,omitempty"` // it is not

	is leak.Leak
}

func (c *cli) scan() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "scan PATH...",
		Short: "Find API keys and refresh tokens in files",
		Long: `Looks through files, and folders with all that is in them, for API keys and refresh
tokens of XTeam, of whatever server: by their prefix and their checksum, so that what
it finds is one. PATH - is standard input. Texts may be in UTF-16 too, as Windows
writes them. It needs no server and no settings. It shows where each is and what it is
for, never the secret. Binary files and large ones are not looked into, symbolic links
not followed; how many there were is told. It ends with 1 when something was found, or
could not be read.

With --revoke what was found is revoked on the server, as with xteam revoke --token.`,
		Example: `  xteam scan .
  git diff --cached | xteam scan -       # as .git/hooks/pre-commit: no commit with a key in it
  git log -p --all | xteam scan --json -
  xteam scan --revoke /srv/app`,
		Args: cobra.ArbitraryArgs,
	}
	most := cmd.Flags().Int("max-mib", scanMiB, "do not look into files that are larger; 0: into all")
	revoke := cmd.Flags().Bool("revoke", false, "revoke what is found, on the server")
	asJSON := jsonFlag(cmd)
	cmd.RunE = c.does(func(cmd *cobra.Command) error {
		paths := cmd.Flags().Args()
		switch {
		case len(paths) == 0:
			return c.misuse("where to look? Give files or folders, or - for standard input")
		case *most < 0 || *most > 1<<40:
			return c.misuse("--max-mib takes a whole number of MiB, or 0")
		}
		s := &scanner{ctx: cmd.Context(), in: c.in, most: int64(*most) << 20, got: scanned{Found: []scanFinding{}, Failed: []string{}}}
		for _, path := range paths {
			if err := s.path(path); err != nil {
				return err
			}
		}
		if *revoke && len(s.got.Found) > 0 {
			if err := c.withdraw(cmd.Context(), s.got.Found); err != nil {
				return errors.Join(c.print(*asJSON, s.got, s.got.text()), err)
			}
		}
		return cmp.Or(c.print(*asJSON, s.got, s.got.text()), s.got.verdict())
	})
	return cmd
}

// verdict is the error of a scan that found something.
func (g *scanned) verdict() error {
	var all []error
	if n := len(g.Found) + g.More; n > 0 {
		all = append(all, fmt.Errorf("%s found: take them out of the files and their history, and revoke them", counted(n, "secret was", "secrets were")))
	}
	if n := len(g.Failed); n > 0 {
		all = append(all, fmt.Errorf("%s not be read: %s", counted(n, "file or folder could", "files or folders could"), g.Failed[0]))
	}
	return errors.Join(all...)
}

func counted(n int, one, many string) string {
	if n == 1 {
		many = one
	}
	return strconv.Itoa(n) + " " + many
}

// text is the scan for people: a line for each secret, as compilers write them, and a sum.
func (g *scanned) text() string {
	var b strings.Builder
	for _, f := range g.Found {
		if f.Line == 0 {
			fmt.Fprintf(&b, "%s: in its name: %s", printable(f.Path), f.Secret)
		} else {
			fmt.Fprintf(&b, "%s:%d:%d: %s", printable(f.Path), f.Line, f.Column, f.Secret)
		}
		switch {
		case f.Revoked == nil:
		case *f.Revoked:
			b.WriteString(": revoked")
		default:
			b.WriteString(": not revoked: " + printable(f.Why))
		}
		b.WriteByte('\n')
	}
	if g.More > 0 {
		fmt.Fprintf(&b, "and %d more\n", g.More)
	}
	fmt.Fprintf(&b, "%s looked through", counted(g.Files, "file", "files"))
	for _, s := range []struct {
		n    int
		what string
	}{{g.Skipped.Binary, "binary"}, {g.Skipped.Large, "too large"}, {g.Skipped.Links, "links"}, {g.Skipped.Other, "no files"}, {len(g.Failed), "unreadable"}} {
		if s.n > 0 {
			fmt.Fprintf(&b, ", %d %s", s.n, s.what)
		}
	}
	return b.String()
}

// scanner goes through files.
type scanner struct {
	places map[string]int  // how often each secret was listed
	ctx    context.Context //nolint:containedctx // of one run
	in     io.Reader
	most   int64 // bytes of a file; 0: any
	got    scanned
}

// path looks through what an argument names. That may itself be a link, or a pipe.
func (s *scanner) path(path string) error {
	if path == "-" {
		s.got.Files++
		r, _, err := sniffed(stoppable{s.ctx, s.in})
		if err != nil && s.ctx.Err() == nil {
			s.failed("standard input", err)
			return nil
		}
		return s.read(r, "standard input", 0)
	}
	info, err := os.Stat(path)
	switch {
	case err != nil:
		s.failed(path, err)
		return nil
	case info.IsDir():
		return s.tree(path)
	}
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0) // a pipe without a writer is not waited for
	if err != nil {
		s.failed(path, err)
		return nil
	}
	defer f.Close()
	defer context.AfterFunc(s.ctx, func() { _ = f.Close() })() // a pipe whose writer says nothing
	if info.Mode().IsRegular() && isStream(f) {
		s.got.Skipped.Other++
		return nil
	}
	return s.file(f, path, info.Mode().IsRegular())
}

// isStream reports whether what calls itself a plain file has no end, as some of /proc and /sys do, which takes from others what is read of it: a file on a disk knows no deadlines.
func isStream(f *os.File) bool { return f.SetReadDeadline(time.Time{}) == nil }

// tree looks through a folder. Whatever changes in it meanwhile, nothing outside it is opened.
func (s *scanner) tree(path string) error {
	root, err := os.OpenRoot(path)
	if err != nil {
		s.failed(path, err)
		return nil
	}
	defer func() { _ = root.Close() }()
	return fs.WalkDir(root.FS(), ".", func(name string, d fs.DirEntry, err error) error {
		full := filepath.Join(path, filepath.FromSlash(name))
		switch {
		case s.ctx.Err() != nil:
			return errors.New("stopped before everything was looked through")
		case err != nil:
			s.failed(full, err)
			if d != nil && d.IsDir() {
				return fs.SkipDir
			}
			return nil
		case d.IsDir():
			if name != "." {
				s.named(full)
			}
			return nil
		case d.Type()&fs.ModeSymlink != 0:
			s.got.Skipped.Links++
			return nil
		case !d.Type().IsRegular():
			s.got.Skipped.Other++
			return nil
		}
		s.named(full)
		f, err := root.OpenFile(filepath.FromSlash(name), os.O_RDONLY|syscall.O_NONBLOCK, 0) // what is a pipe by now is not waited for
		if err != nil {
			s.failed(full, err)
			return nil
		}
		defer f.Close()
		if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() || isStream(f) {
			s.got.Skipped.Other++
			return nil
		}
		return s.file(f, full, true)
	})
}

// file looks through an open file, unless it is too large.
func (s *scanner) file(f *os.File, path string, regular bool) error {
	if info, err := f.Stat(); regular && err == nil && s.most > 0 && info.Size() > s.most {
		s.got.Skipped.Large++
		return nil
	}
	r, binary, err := sniffed(f)
	if err != nil {
		s.failed(path, err)
		return nil
	}
	if binary {
		s.got.Skipped.Binary++
		return nil
	}
	s.got.Files++
	most := int64(0)
	if regular {
		most = s.most // one that grows meanwhile ends somewhere
	}
	return s.read(r, path, most)
}

// sniffed is what r holds as a text, of which what is in UTF-16 is made ASCII, or reports that it is none.
func sniffed(r io.Reader) (text io.Reader, binary bool, err error) {
	head := make([]byte, scanSniff)
	n, err := io.ReadFull(r, head)
	if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
		return bytes.NewReader(nil), false, err
	}
	head = head[:n]
	zeros := [2]int{} // at even and at odd places
	for i, c := range head {
		if c == 0 {
			zeros[i%2]++
		}
	}
	rest := func(from int) io.Reader { return io.MultiReader(bytes.NewReader(head[from:]), r) }
	switch {
	case bytes.HasPrefix(head, []byte{0xff, 0xfe}):
		return &utf16Text{r: rest(2), high: 1}, false, nil
	case bytes.HasPrefix(head, []byte{0xfe, 0xff}):
		return &utf16Text{r: rest(2), high: 0}, false, nil
	case zeros[0] == 0 && zeros[1] > n/4: // without a mark, and most of it ASCII
		return &utf16Text{r: rest(0), high: 1}, false, nil
	case zeros[1] == 0 && zeros[0] > n/4:
		return &utf16Text{r: rest(0), high: 0}, false, nil
	}
	return rest(0), zeros != [2]int{}, nil
}

// utf16Text reads UTF-16 as one byte for each unit, which is that of an ASCII character, or one that is in no secret: so lines and columns are those of the text.
type utf16Text struct {
	r    io.Reader
	high int // where in a unit its high byte is
	buf  [8 << 10]byte
	have int // bytes in buf of a unit that is not whole yet
}

// Read may answer nothing of what it has read.
func (w *utf16Text) Read(b []byte) (int, error) {
	n, err := w.r.Read(w.buf[w.have:min(len(w.buf), 2*len(b))])
	n += w.have
	for i := range n / 2 {
		b[i] = w.buf[2*i+1-w.high]
		if w.buf[2*i+w.high] != 0 || b[i] >= 0x80 {
			b[i] = 0x80
		}
	}
	w.have = copy(w.buf[:], w.buf[n/2*2:n])
	return n / 2, err
}

// read finds what is in r, of which at most so many bytes are read, unless that is 0.
func (s *scanner) read(r io.Reader, path string, most int64) error {
	if most > 0 {
		r = io.LimitReader(r, most)
	}
	path = masked(path)
	err := leak.Find(stoppable{s.ctx, r}, func(l leak.Leak) bool {
		s.found(path, l)
		return true
	})
	if err != nil && s.ctx.Err() != nil {
		return errors.New("stopped before everything was looked through")
	}
	if err != nil {
		s.failed(path, err)
	}
	return nil
}

func (s *scanner) found(path string, l leak.Leak) {
	text := l.Text.RevealPlaintext()
	if s.places == nil {
		s.places = map[string]int{}
	}
	if known := s.places[text]; known >= scanPlaces || known > 0 && len(s.got.Found) >= scanMost || known == 0 && len(s.places) >= scanDistinct {
		s.got.More++ // one that stands in a thousand places hides no other
		return
	}
	s.places[text]++
	f := scanFinding{Path: path, Line: l.Line, Column: l.Column, Kind: "refresh_token", Secret: l.Shown(), is: l}
	if l.APIKey.IsZero() {
		f.Session = l.Session.String()
	} else {
		f.Kind, f.APIKey = "api_key", l.APIKey.String()
	}
	s.got.Found = append(s.got.Found, f)
}

// named finds what is in the name of a file itself.
func (s *scanner) named(path string) {
	_ = leak.Find(strings.NewReader(filepath.Base(path)), func(l leak.Leak) bool { // a text does not fail
		l.Line, l.Column = 0, 0
		s.found(masked(path), l)
		return true
	})
}

// masked is a path in which a secret is as it may be shown.
func masked(path string) string {
	out := path
	_ = leak.Find(strings.NewReader(path), func(l leak.Leak) bool { // a text does not fail
		out = strings.ReplaceAll(out, l.Text.RevealPlaintext(), l.Shown())
		return true
	})
	return out
}

func (s *scanner) failed(path string, err error) {
	if bad := (*fs.PathError)(nil); errors.As(err, &bad) {
		err = bad.Err // the path is told of anyway
	}
	s.got.Failed = append(s.got.Failed, printable(masked(path))+": "+err.Error())
}

// stoppable ends with its context, between two reads.
type stoppable struct {
	ctx context.Context //nolint:containedctx // of one read
	r   io.Reader
}

// Read reads, unless the context has ended.
func (s stoppable) Read(b []byte) (int, error) {
	if err := s.ctx.Err(); err != nil {
		return 0, err
	}
	return s.r.Read(b)
}

// withdraw revokes each secret once on the server, and notes at each place what became of it. What the server says no to is not of its own, or over.
func (c *cli) withdraw(ctx context.Context, found []scanFinding) error {
	api, err := c.admin(ctx, false)
	if err != nil {
		return err
	}
	defer api.close()
	done := map[string]int{}
	for i := range found {
		f := &found[i]
		text := f.is.Text.RevealPlaintext()
		if first, again := done[text]; again {
			f.Revoked, f.Why = found[first].Revoked, found[first].Why
			continue
		}
		done[text] = i
		var hit revoked
		err := api.post(ctx, revocationsPath, revocationRequest{Token: text, Reason: fmt.Sprintf("found at %.150q", f.Path+":"+strconv.Itoa(f.Line))}, &hit)
		var no *refusal
		switch {
		case err == nil:
		case errors.As(err, &no) && no.Status < http.StatusInternalServerError && no.Status != http.StatusTooManyRequests:
			f.Why = "it is not of this server, or over"
			if no.Status != http.StatusNotFound {
				f.Why = strings.TrimPrefix(err.Error(), "--token: ")
			}
		default:
			return err
		}
		is := err == nil
		f.Revoked = &is
	}
	return nil
}
