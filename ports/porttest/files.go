package porttest

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/xteam/xteam/domain/id"
	"github.com/xteam/xteam/ports"
)

// FileStore is an open store of files.
type FileStore struct {
	ports.Files
	// Count answers how many files take space, whatever they are: it is how a leak is seen.
	Count func(t testing.TB) int
	Close func() error
}

// OpenFiles opens a store of files on a folder, which is as that of Open is.
type OpenFiles func(t testing.TB, dir string) FileStore

func openedFiles(t testing.TB, open OpenFiles) FileStore {
	t.Helper()
	s := open(t, t.TempDir())
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return s
}

// contentOf is what a file holds whose id it is: a few kilobytes, or nothing.
func contentOf(fid id.File) []byte {
	return bytes.Repeat(fid[:], int(fid[0])*int(fid[1])%700)
}

// begin creates a file, writes its content in pieces, and seals it.
func (s FileStore) begin(ctx context.Context, fid id.File) (ports.NewFile, error) {
	f, err := s.Create(ctx, fid)
	if err != nil {
		return nil, fmt.Errorf("create a file: %w", err)
	}
	for rest := contentOf(fid); len(rest) > 0; {
		n, err := f.Write(rest[:min(1000, len(rest))])
		if err != nil || n != min(1000, len(rest)) {
			return f, fmt.Errorf("write %d bytes of a file: %w", n, err)
		}
		rest = rest[n:]
	}
	if err := f.Seal(); err != nil {
		return f, fmt.Errorf("seal a file: %w", err)
	}
	return f, nil
}

func (s FileStore) begun(t testing.TB, fid id.File) ports.NewFile {
	t.Helper()
	f, err := s.begin(context.Background(), fid)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// made is a file that is kept.
func (s FileStore) made(t testing.TB) id.File {
	t.Helper()
	fid := newID[id.File]()
	check(t, "Keep", s.begun(t, fid).Keep())
	return fid
}

func check(t testing.TB, call string, err error) {
	t.Helper()
	if err != nil {
		t.Fatalf("%s: %v", call, err)
	}
}

// holds demands that the store has exactly these files, whole.
func (s FileStore) holds(t testing.TB, want ...id.File) {
	t.Helper()
	for _, fid := range want {
		f, err := s.Open(t.Context(), fid)
		if err != nil {
			t.Errorf("Open of %v: %v", fid, err)
			continue
		}
		got, err := io.ReadAll(f)
		if err != nil || !bytes.Equal(got, contentOf(fid)) {
			t.Errorf("the content of %v: got %d bytes, error %v, want %d", fid, len(got), err, len(contentOf(fid)))
		}
		check(t, "Close of a file", f.Close())
	}
	if n := s.Count(t); n != len(want) {
		t.Errorf("the store has %d files, want %d", n, len(want))
	}
}

func (s FileStore) lacks(t testing.TB, fid id.File) {
	t.Helper()
	if f, err := s.Open(t.Context(), fid); !errors.Is(err, ports.ErrNotFound) {
		t.Errorf("Open of what is not there: got %v, error %v, want ErrNotFound", f, err)
	}
}

// settled settles all that is in doubt: what is among known is kept.
func (s FileStore) settled(t testing.TB, dropped int, known ...id.File) {
	t.Helper()
	n, err := s.Settle(t.Context(), 0, func(_ context.Context, fid id.File) (bool, error) {
		for _, k := range known {
			if k == fid {
				return true, nil
			}
		}
		return false, nil
	})
	if err != nil || n != dropped {
		t.Errorf("Settle: got %d dropped, error %v, want %d", n, err, dropped)
	}
}

// Files proves a ports.Files.
func Files(t *testing.T, open OpenFiles) {
	sub(t, "what was written, sealed and kept is read again, whole and from any place", func(t *testing.T) {
		s := openedFiles(t, open)
		var all []id.File
		for range 20 {
			all = append(all, s.made(t))
		}
		fid := id.File{7, 99, 15: 1}
		check(t, "Keep", s.begun(t, fid).Keep())
		empty := id.File{0, 1, 15: 1}
		check(t, "Keep", s.begun(t, empty).Keep())
		s.holds(t, append(all, fid, empty)...)
		f, err := s.Open(t.Context(), fid)
		check(t, "Open", err)
		defer f.Close()
		want := contentOf(fid)
		part := make([]byte, 100)
		if n, err := f.ReadAt(part, 50); n != 100 || err != nil || !bytes.Equal(part, want[50:150]) {
			t.Errorf("ReadAt: got %d bytes, error %v", n, err)
		}
		if end, err := f.Seek(-10, io.SeekEnd); err != nil || end != int64(len(want)-10) {
			t.Errorf("Seek: got %d, error %v", end, err)
		}
		if rest, err := io.ReadAll(f); err != nil || !bytes.Equal(rest, want[len(want)-10:]) {
			t.Errorf("the rest: got %q, error %v", rest, err)
		}
	})
	sub(t, "an id is taken from its beginning on", func(t *testing.T) {
		s := openedFiles(t, open)
		fid := newID[id.File]()
		f := s.begun(t, fid)
		taken := func(when string) {
			t.Helper()
			if _, err := s.Create(t.Context(), fid); !errors.Is(err, ports.ErrTaken) {
				t.Errorf("Create of an id that is %s: got error %v, want ErrTaken", when, err)
			}
		}
		taken("in doubt")
		check(t, "Keep", f.Keep())
		taken("kept")
		s.holds(t, fid)
	})
	sub(t, "what is dropped is gone, and its space with it", func(t *testing.T) {
		s := openedFiles(t, open)
		fid, kept := newID[id.File](), s.made(t)
		f, err := s.Create(t.Context(), fid)
		check(t, "Create", err)
		_, err = f.Write([]byte("half"))
		check(t, "Write", err)
		check(t, "Drop", f.Drop())
		for what, again := range map[string]func() error{"Drop": f.Drop, "Keep": f.Keep, "Leave": f.Leave} {
			check(t, what+" of what was dropped", again())
		}
		s.lacks(t, fid)
		s.holds(t, kept)
		s.settled(t, 0)
		check(t, "Keep", s.begun(t, fid).Keep())
		s.holds(t, kept, fid)
	})
	sub(t, "what is kept stays so, whatever its holder does then", func(t *testing.T) {
		s := openedFiles(t, open)
		fid := newID[id.File]()
		f := s.begun(t, fid)
		check(t, "Keep", f.Keep())
		check(t, "Drop", f.Drop())
		check(t, "Leave", f.Leave())
		s.settled(t, 0)
		s.holds(t, fid)
	})
	sub(t, "what is sealed and in doubt can be read", func(t *testing.T) {
		s := openedFiles(t, open)
		fid := newID[id.File]()
		f := s.begun(t, fid)
		s.holds(t, fid)
		check(t, "Drop", f.Drop())
		s.holds(t)
	})
	sub(t, "Settle ends the doubt that nobody holds, as it is told", func(t *testing.T) {
		s := openedFiles(t, open)
		stays, goes, old := newID[id.File](), newID[id.File](), s.made(t)
		for _, fid := range []id.File{stays, goes} {
			check(t, "Leave", s.begun(t, fid).Leave())
		}
		half, err := s.Create(t.Context(), newID[id.File]())
		check(t, "Create", err)
		_, err = half.Write([]byte("half"))
		check(t, "Write", err)
		check(t, "Leave", half.Leave())
		s.settled(t, 2, stays)
		s.lacks(t, goes)
		s.holds(t, old, stays)
		s.settled(t, 0)
		s.holds(t, old, stays)
	})
	sub(t, "Settle leaves alone what somebody holds, and what is kept", func(t *testing.T) {
		s := openedFiles(t, open)
		writing, sealed, withdrawn, kept := newID[id.File](), newID[id.File](), s.made(t), s.made(t)
		w, err := s.Create(t.Context(), writing)
		check(t, "Create", err)
		f := s.begun(t, sealed)
		d, err := s.Withdraw(t.Context(), withdrawn)
		check(t, "Withdraw", err)
		for range 2 {
			s.settled(t, 0)
		}
		if n, err := s.Settle(t.Context(), 0, func(_ context.Context, fid id.File) (bool, error) {
			t.Errorf("%v is asked for", fid)
			return true, nil
		}); n != 0 || err != nil {
			t.Errorf("Settle: got %d, error %v", n, err)
		}
		_, err = w.Write(contentOf(writing))
		check(t, "Write", err)
		for _, err := range []error{w.Seal(), w.Keep(), f.Keep(), d.Keep()} {
			check(t, "Keep", err)
		}
		s.holds(t, writing, sealed, withdrawn, kept)
	})
	sub(t, "Settle leaves what is young, whatever is known of it yet", func(t *testing.T) {
		s := openedFiles(t, open)
		unknown, known := newID[id.File](), newID[id.File]()
		for _, fid := range []id.File{unknown, known} {
			check(t, "Leave", s.begun(t, fid).Leave())
		}
		n, err := s.Settle(t.Context(), time.Hour, func(_ context.Context, fid id.File) (bool, error) { return fid == known, nil })
		if n != 0 || err != nil {
			t.Errorf("Settle: got %d dropped, error %v, want none", n, err)
		}
		s.holds(t, unknown, known)
		s.settled(t, 1, known)
		s.holds(t, known)
	})
	sub(t, "Settle leaves in doubt what it cannot ask about, settles the rest, and says so", func(t *testing.T) {
		s := openedFiles(t, open)
		stuck := newID[id.File]()
		check(t, "Leave", s.begun(t, stuck).Leave())
		for range 10 {
			check(t, "Leave", s.begun(t, newID[id.File]()).Leave())
		}
		n, err := s.Settle(t.Context(), 0, func(_ context.Context, fid id.File) (bool, error) {
			if fid == stuck {
				return false, errRule
			}
			return false, nil
		})
		if n != 10 || !errors.Is(err, errRule) {
			t.Errorf("Settle: got %d dropped, error %v, want 10 and the error", n, err)
		}
		s.settled(t, 0, stuck)
		s.holds(t, stuck)
	})
	sub(t, "Withdraw puts in doubt what is kept", func(t *testing.T) {
		s := openedFiles(t, open)
		fid, other := s.made(t), s.made(t)
		withdraw := func() ports.Doubt {
			t.Helper()
			d, err := s.Withdraw(t.Context(), fid)
			check(t, "Withdraw", err)
			return d
		}
		d := withdraw()
		s.holds(t, fid, other)
		if _, err := s.Withdraw(t.Context(), fid); !errors.Is(err, ports.ErrTaken) {
			t.Errorf("Withdraw of what another has in doubt: got error %v, want ErrTaken", err)
		}
		check(t, "Keep", d.Keep())
		s.settled(t, 0)
		s.holds(t, fid, other)
		check(t, "Leave", withdraw().Leave())
		d = withdraw() // what is left in doubt as well
		check(t, "Leave", d.Leave())
		s.settled(t, 0, fid)
		s.holds(t, fid, other)
		check(t, "Drop", withdraw().Drop())
		s.lacks(t, fid)
		s.holds(t, other)
		for what, fid := range map[string]id.File{"what was dropped": fid, "what never was": newID[id.File]()} {
			if _, err := s.Withdraw(t.Context(), fid); !errors.Is(err, ports.ErrNotFound) {
				t.Errorf("Withdraw of %s: got error %v, want ErrNotFound", what, err)
			}
		}
	})
	sub(t, "what is dropped while it is open is read as far as it goes", func(t *testing.T) {
		s := openedFiles(t, open)
		fid := id.File{7, 99, 15: 2}
		check(t, "Keep", s.begun(t, fid).Keep())
		f, err := s.Open(t.Context(), fid)
		check(t, "Open", err)
		defer f.Close()
		first := make([]byte, 10)
		_, err = io.ReadFull(f, first)
		check(t, "Read", err)
		d, err := s.Withdraw(t.Context(), fid)
		check(t, "Withdraw", err)
		check(t, "Drop", d.Drop())
		rest, err := io.ReadAll(f)
		if got := append(first, rest...); err != nil || !bytes.HasPrefix(contentOf(fid), got) {
			t.Errorf("got %d bytes, error %v, want %d", len(got), err, len(contentOf(fid)))
		}
	})
	sub(t, "a new store has nothing, and nothing to settle", func(t *testing.T) {
		s := openedFiles(t, open)
		s.lacks(t, newID[id.File]())
		if _, err := s.Withdraw(t.Context(), newID[id.File]()); !errors.Is(err, ports.ErrNotFound) {
			t.Errorf("Withdraw: got error %v, want ErrNotFound", err)
		}
		s.settled(t, 0)
		s.holds(t)
	})
	sub(t, "a call whose context has ended fails with its error", func(t *testing.T) {
		s := openedFiles(t, open)
		fid := s.made(t)
		check(t, "Leave", s.begun(t, newID[id.File]()).Leave())
		ended(t, map[string]func(context.Context) error{
			"Create":   func(ctx context.Context) error { _, err := s.Create(ctx, newID[id.File]()); return err },
			"Open":     func(ctx context.Context) error { _, err := s.Open(ctx, fid); return err },
			"Withdraw": func(ctx context.Context) error { _, err := s.Withdraw(ctx, fid); return err },
			"Settle": func(ctx context.Context) error {
				_, err := s.Settle(ctx, 0, func(context.Context, id.File) (bool, error) { return false, nil })
				return err
			},
		})
		s.settled(t, 1)
		s.holds(t, fid)
	})
	sub(t, "many at once, beside one who settles, lose nothing and leave nothing", func(t *testing.T) {
		dir := t.TempDir()
		s, other := open(t, dir), open(t, dir) // as of two processes
		var known sync.Map
		stop, over := make(chan struct{}), make(chan struct{})
		go func() {
			defer close(over)
			for {
				select {
				case <-stop:
					return
				default:
				}
				_, err := other.Settle(context.Background(), 0, func(_ context.Context, fid id.File) (bool, error) {
					_, ok := known.Load(fid)
					return ok, nil
				})
				if err != nil {
					t.Errorf("Settle: %v", err)
				}
			}
		}()
		var mu sync.Mutex
		var want []id.File
		together(8, func(i int) {
			for n := range 12 {
				fid := newID[id.File]()
				f, err := s.begin(context.Background(), fid)
				if err != nil {
					t.Error(err)
					return
				}
				if n%3 == 0 {
					if err := f.Drop(); err != nil {
						t.Errorf("Drop: %v", err)
					}
					continue
				}
				known.Store(fid, true)
				if err := f.Keep(); err != nil {
					t.Errorf("Keep: %v", err)
				}
				if n%3 == 1 {
					mu.Lock()
					want = append(want, fid)
					mu.Unlock()
					continue
				}
				d, err := s.Withdraw(context.Background(), fid)
				if err != nil {
					t.Errorf("Withdraw: %v", err)
					return
				}
				known.Delete(fid)
				if err := d.Drop(); err != nil {
					t.Errorf("Drop: %v", err)
				}
			}
		})
		close(stop)
		<-over
		s.settled(t, 0)
		s.holds(t, want...)
		check(t, "Close", errors.Join(s.Close(), other.Close()))
	})
	sub(t, "a process that is killed leaves what was committed, and after Settle nothing else", func(t *testing.T) { killingFiles(t, open) })
}

// killingFiles has a child write files and delete some, and kills it, again and again. The child's Uploads is a list of ids on the disk, each added, or taken away by a line of its own.
func killingFiles(t *testing.T, open OpenFiles) {
	dir := os.Getenv(folderSetting)
	if dir != "" {
		writingFiles(t, open(t, dir), dir+".list")
		return
	}
	dir = t.TempDir()
	seed := random(wall())
	t.Logf("seed %d", seed)
	left := 0
	for round := range 20 {
		acknowledged := (&proof{}).round(t, dir, round, 1+seed.below(40), time.Duration(seed.below(3000))*time.Microsecond, nil)
		s := open(t, dir)
		known := listed(t, dir+".list")
		before := s.Count(t)
		n, err := s.Settle(t.Context(), 0, func(_ context.Context, fid id.File) (bool, error) { return known[fid], nil })
		if err != nil {
			t.Fatalf("Settle: %v", err)
		}
		left += n
		var want []id.File
		for fid := range known {
			want = append(want, fid)
		}
		s.holds(t, want...)
		check(t, "Close", s.Close())
		if t.Failed() {
			t.Fatalf("in round %d, after %d acknowledged changes: %d files were there, %d dropped", round, len(acknowledged), before, n)
		}
	}
	if left == 0 {
		t.Error("no child was killed while it had a file in doubt: the test shows nothing")
	}
}

// writingFiles is the child.
func writingFiles(t *testing.T, s FileStore, list string) {
	log, err := os.OpenFile(list, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	var writers sync.WaitGroup
	var out sync.Mutex
	commit := func(sign string, fid id.File) {
		out.Lock()
		defer out.Unlock()
		if _, err := fmt.Fprintf(log, "%s%v\n", sign, fid); err != nil {
			t.Error(err)
		}
		fmt.Printf("acknowledged file 1\n")
	}
	for range 4 {
		writers.Go(func() {
			for range 100_000 { // it is killed long before
				fid := newID[id.File]()
				f, err := s.begin(context.Background(), fid)
				if err != nil {
					t.Error(err)
					return
				}
				commit("+", fid)
				if err := f.Keep(); err != nil {
					t.Errorf("Keep: %v", err)
				}
				if fid[15]%2 == 0 {
					continue
				}
				d, err := s.Withdraw(context.Background(), fid)
				if err != nil {
					t.Errorf("Withdraw: %v", err)
					return
				}
				commit("-", fid)
				if err := d.Drop(); err != nil {
					t.Errorf("Drop: %v", err)
				}
			}
		})
	}
	writers.Wait()
}

// listed are the ids that a child committed. The last line may be cut: it was not.
func listed(t *testing.T, list string) map[id.File]bool {
	t.Helper()
	text, err := os.ReadFile(list)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	known := map[id.File]bool{}
	lines := bufio.NewScanner(bytes.NewReader(text))
	for lines.Scan() {
		sign, rest := lines.Text()[:1], lines.Text()[1:]
		fid, err := id.Parse[id.File](rest)
		if err != nil {
			continue
		}
		if known[fid] = true; sign == "-" {
			delete(known, fid)
		}
	}
	return known
}

// MarkedFiles proves what a ports.MarkedFiles has beside a ports.Files.
func MarkedFiles(t *testing.T, open OpenFiles) {
	dir := t.TempDir()
	has := func(s FileStore, want string) ports.MarkedFiles {
		t.Helper()
		files := s.Files.(ports.MarkedFiles)
		if got, err := files.Mark(t.Context()); err != nil || got != want {
			t.Errorf("Mark: got %q, error %v, want %q", got, err, want)
		}
		return files
	}
	s := open(t, dir)
	files := has(s, "")
	check(t, "SetMark", files.SetMark(t.Context(), "00ff"))
	has(s, "00ff")
	kept := s.made(t)
	check(t, "SetMark", files.SetMark(t.Context(), strings.Repeat("1", 32)))
	check(t, "Close", s.Close())
	s = open(t, dir)
	files = has(s, strings.Repeat("1", 32))
	s.holds(t, kept)
	_, err := s.Settle(t.Context(), 0, func(context.Context, id.File) (bool, error) { return false, nil })
	check(t, "Settle", err)
	has(s, strings.Repeat("1", 32))
	over, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := files.Mark(over); !errors.Is(err, context.Canceled) {
		t.Errorf("Mark with a context that is over: got error %v", err)
	}
	if err := files.SetMark(over, "22"); !errors.Is(err, context.Canceled) {
		t.Errorf("SetMark with a context that is over: got error %v", err)
	}
	has(s, strings.Repeat("1", 32))
	check(t, "Close", s.Close())
}

// FileSyncs proves that a store of files asks the disk before Seal and Withdraw answer: for the bytes, and for the name. It counts the calls, as Syncs does.
func FileSyncs(t *testing.T, open OpenFiles) {
	if dir := os.Getenv(folderSetting); dir != "" {
		s := open(t, dir)
		fid := newID[id.File]()
		f, err := s.Create(t.Context(), fid)
		check(t, "Create", err)
		_, err = f.Write([]byte("a few bytes"))
		check(t, "Write", err)
		mark(1)
		check(t, "Seal", f.Seal())
		mark(2)
		check(t, "Keep", f.Keep())
		mark(3)
		_, err = s.Withdraw(t.Context(), fid)
		check(t, "Withdraw", err)
		mark(4)
		t.SkipNow() // the child has done its work
	}
	strace := tracer(t)
	trace := t.TempDir() + "/trace"
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	cmd, stderr := again(ctx, t, t.TempDir(), strace, "-f", "-qq", "-e", "trace=fsync,fdatasync,msync", "-e", "signal=none", "-o", trace)
	if out, err := cmd.Output(); err != nil {
		t.Fatalf("the child ended with %v; it said:\n%s%s", err, out, stderr)
	}
	text, err := os.ReadFile(trace)
	check(t, "read the trace", err)
	synced := syncsBetween(string(text))
	if synced[1] < 2 || synced[3] < 2 || !strings.Contains(string(text), "fsync") {
		t.Errorf("Seal asked the disk %d times, and Withdraw %d, want for the bytes and for each name:\n%s", synced[1], synced[3], text)
	}
}
