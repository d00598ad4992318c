package app_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/xteam/xteam/adapters/diskfiles"
	"github.com/xteam/xteam/adapters/mimetypes"
	"github.com/xteam/xteam/app"
	"github.com/xteam/xteam/domain/audit"
	"github.com/xteam/xteam/domain/id"
	"github.com/xteam/xteam/domain/revocation"
	"github.com/xteam/xteam/domain/token"
	"github.com/xteam/xteam/domain/upload"
	"github.com/xteam/xteam/ports"
)

// filing is a world that takes files.
type filing struct {
	*world
	uploads *app.Uploads
	files   *diskfiles.Store
	dir     string
}

const (
	mostBytes = 20_000
	mostQuota = 100_000
)

func newFiling(t testing.TB, change ...func(*app.Core)) *filing {
	t.Helper()
	f := &filing{world: newWorld(t, change...), dir: t.TempDir()}
	f.files = diskfiles.New(f.dir, diskfiles.Options{})
	t.Cleanup(func() { _ = f.files.Close() })
	f.uploads = f.node(f.core)
	return f
}

func (f *filing) node(core *app.Core) *app.Uploads {
	e, _ := upload.ParseExtensions([]string{".py", ".md", ".json"})
	return app.NewUploads(core, f.files, app.UploadsOptions{Rules: upload.Rules{Extensions: e, MaxSize: mostBytes, Quota: mostQuota}, Detect: mimetypes.Detect})
}

// send uploads a content in pieces.
func send(ctx context.Context, u *app.Uploads, c app.Caller, name, content string) (upload.File, error) {
	in, err := u.Begin(ctx, home, c, name, 0)
	if err != nil {
		return upload.File{}, err
	}
	defer in.Abort()
	if _, err := io.CopyBuffer(struct{ io.Writer }{in}, struct{ io.Reader }{strings.NewReader(content)}, make([]byte, 1000)); err != nil {
		return upload.File{}, err
	}
	return in.End(ctx)
}

// onDisk is how many files take space.
func (f *filing) onDisk() (n int) {
	f.t.Helper()
	if err := filepath.WalkDir(f.dir, func(_ string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() && d.Name() != diskfiles.MarkName {
			n++
		}
		return err
	}); err != nil {
		f.t.Fatal(err)
	}
	return n
}

func TestAFileIsItsOwnersAlone(t *testing.T) {
	f := newFiling(t)
	f.user("ann")
	f.user("bob")
	ann, bob := f.caller(f.signIn("ann")), f.caller(f.signIn("bob"))
	content := "print('hello')\n"
	got, err := send(t.Context(), f.uploads, ann, `C:\temp\..\hello.py`, content)
	if err != nil {
		t.Fatalf("upload: %v", err)
	}
	want := upload.File{ID: got.ID, Owner: ann.User(), Label: upload.Clean("hello.py"), Type: "text/plain; charset=utf-8", Size: int64(len(content)), Created: got.Created}
	if got != want || got.ID.IsZero() || got.Created == 0 {
		t.Errorf("upload: got %+v, want %+v", got, want)
	}
	info, b, err := f.uploads.Open(t.Context(), ann, got.ID)
	if err != nil || info != want {
		t.Fatalf("Open: got %+v, error %v", info, err)
	}
	text, err := io.ReadAll(b)
	if err := errors.Join(err, b.Close()); err != nil || string(text) != content {
		t.Errorf("the content: got %q, error %v", text, err)
	}
	for what, call := range map[string]func(fid id.File) error{
		"Open":   func(fid id.File) error { _, _, err := f.uploads.Open(t.Context(), bob, fid); return err },
		"Delete": func(fid id.File) error { return f.uploads.Delete(t.Context(), abroad, bob, fid) },
	} {
		for _, fid := range []id.File{got.ID, {1}} {
			if err := call(fid); !errors.Is(err, ports.ErrNotFound) {
				t.Errorf("%s of another's file: got error %v, want ErrNotFound", what, err)
			}
		}
	}
	if all, err := f.uploads.List(t.Context(), bob); err != nil || len(all) != 0 {
		t.Errorf("List of another: got %d, error %v, want none", len(all), err)
	}
	if all, err := f.uploads.List(t.Context(), ann); err != nil || len(all) != 1 || all[0] != want {
		t.Errorf("List: got %v, error %v", all, err)
	}
	if err := f.uploads.Delete(t.Context(), home, ann, got.ID); err != nil {
		t.Fatalf("Delete: %v", err)
	}
	if err := f.uploads.Delete(t.Context(), home, ann, got.ID); !errors.Is(err, ports.ErrNotFound) {
		t.Errorf("Delete again: got error %v, want ErrNotFound", err)
	}
	if n := f.onDisk(); n != 0 {
		t.Errorf("%d files are left on the disk", n)
	}
	events := f.events()[len(f.events())-2:]
	for i, k := range []audit.Kind{audit.FileUploaded, audit.FileDeleted} {
		if e := events[i]; e.Kind != k || e.Actor != ann.User().String() || e.Subject != e.Actor || e.Details["file"] != got.ID.String() || e.Details["filename"] != "hello.py" || e.IPAddress == "" {
			t.Errorf("event %d: got %+v, want %s", i, e, k)
		}
	}
}

func TestWhatIsRefusedLeavesNothing(t *testing.T) {
	f := newFiling(t)
	f.user("ann")
	ann := f.caller(f.signIn("ann"))
	for what, c := range map[string]struct {
		name, content string
		is            func(error) bool
	}{
		"no extension":           {"hello", "x", isA[*upload.InvalidError]},
		"another extension":      {"hello.exe", "x", isA[*upload.InvalidError]},
		"a hidden one":           {"hello.py\u202Eexe.", "x", isA[*upload.InvalidError]},
		"content that is no":     {"hello.py", "a\x00b", isA[*upload.InvalidError]},
		"content cut at the end": {"hello.py", "caf\xc3", isA[*upload.InvalidError]},
		"half of JSON":           {"hello.json", `{"a":`, isA[*upload.InvalidError]},
		"a document":             {"hello.md", "%PDF-1.4 ", isA[*upload.InvalidError]},
		"late binary":            {"hello.md", strings.Repeat("a", 9000) + "\x00", isA[*upload.InvalidError]},
		"too long":               {"hello.md", strings.Repeat("a", mostBytes+1), isA[*upload.SizeError]},
	} {
		if _, err := send(t.Context(), f.uploads, ann, c.name, c.content); !c.is(err) {
			t.Errorf("%s: got error %v", what, err)
		}
		if n := f.onDisk(); n != 0 {
			t.Fatalf("%s: %d files are left on the disk", what, n)
		}
	}
	if _, err := f.uploads.Begin(t.Context(), home, ann, "a.md", mostBytes+1); !isA[*upload.SizeError](err) {
		t.Errorf("what says that it is too long: got error %v", err)
	}
	if n := f.count(audit.FileUploaded); n != 0 {
		t.Errorf("%d events tell of what was refused", n)
	}
	if _, err := send(t.Context(), f.uploads, ann, "a.md", strings.Repeat("a", mostBytes)); err != nil {
		t.Errorf("the longest: %v", err)
	}
}

func isA[E error](err error) bool {
	var e E
	return errors.As(err, &e)
}

func TestTheQuotaHoldsOnSeveralNodesAtOnce(t *testing.T) {
	turns := make(oneTurn, 1)
	f := newFiling(t, func(c *app.Core) { c.Stores.Turns = turns })
	f.user("ann")
	f.user("bob")
	ann, bob := f.caller(f.signIn("ann")), f.caller(f.signIn("bob"))
	second := *f.core
	nodes := []*app.Uploads{f.uploads, f.node(&second)}
	content := strings.Repeat("a", mostQuota/10)
	var mu sync.Mutex
	var taken, full int
	var all sync.WaitGroup
	begin := make(chan struct{})
	for i := range 40 {
		all.Go(func() {
			<-begin
			_, err := send(context.Background(), nodes[i%2], ann, "a.md", content)
			mu.Lock()
			defer mu.Unlock()
			switch {
			case err == nil:
				taken++
			case isA[*upload.QuotaError](err), isA[*app.CrowdedError](err):
				full++
			default:
				t.Errorf("upload: %v", err)
			}
		})
	}
	close(begin)
	all.Wait()
	kept, err := f.uploads.List(t.Context(), ann)
	if err != nil || len(kept) != taken || taken > 10 || taken+full != 40 || f.onDisk() != taken {
		t.Fatalf("%d uploads succeeded, %d were refused, %d are listed, %d are on the disk, error %v; want 10 at most", taken, full, len(kept), f.onDisk(), err)
	}
	for taken < 10 { // one after the other there is room for ten
		if _, err := send(t.Context(), nodes[1], ann, "a.md", content); err != nil {
			t.Fatalf("with %d of ten: %v", taken, err)
		}
		taken++
	}
	if _, err := send(t.Context(), f.uploads, ann, "a.md", "x"); !isA[*upload.QuotaError](err) {
		t.Errorf("one byte more: got error %v, want a QuotaError", err)
	}
	if _, err := send(t.Context(), f.uploads, bob, "a.md", content); err != nil {
		t.Errorf("another user: %v", err)
	}
	if err := f.uploads.Delete(t.Context(), home, ann, kept[0].ID); err != nil {
		t.Fatal(err)
	}
	if _, err := send(t.Context(), f.uploads, ann, "a.md", content); err != nil {
		t.Errorf("once there is room: %v", err)
	}
}

// What is on its way counts as well: it takes space before anybody knows whether it will be kept.
func TestWhatIsOnItsWayIsWithinTheQuota(t *testing.T) {
	f := newFiling(t)
	f.user("ann")
	ann := f.caller(f.signIn("ann"))
	piece := bytes.Repeat([]byte{'a'}, 10_000)
	var open []*app.Incoming
	var err error
	for i := 0; err == nil && i < 30; i++ {
		var in *app.Incoming
		if in, err = f.uploads.Begin(t.Context(), home, ann, "a.md", 0); err == nil {
			open = append(open, in)
			_, err = in.Write(piece)
		}
	}
	if !isA[*upload.QuotaError](err) || len(open) > 11 {
		t.Errorf("%d of 10 kB on their way at once, of 100: got error %v", len(open), err)
	}
	for _, in := range open {
		in.Abort()
		in.Abort()
	}
	if n := f.onDisk(); n != 0 {
		t.Errorf("%d files are left on the disk", n)
	}
	for range 10 {
		if _, err := send(t.Context(), f.uploads, ann, "a.md", string(piece)); err != nil {
			t.Fatalf("after all were aborted: %v", err)
		}
	}
}

func TestWhoIsSignedOutMeanwhileKeepsNothing(t *testing.T) {
	for what, c := range map[string]struct {
		meanwhile func(*filing, app.Caller) error
		is        func(error) bool
	}{
		"signed out": {func(f *filing, c app.Caller) error {
			return f.sessions.EndOwn(context.Background(), home, c, c.Session())
		}, isA[*revocation.RevokedError]},
		"isolated": {func(f *filing, _ app.Caller) error {
			i := f.incidents()
			opened(t, i)
			_, _, err := i.Isolate(context.Background(), root, "", "node-1", false, true, "")
			return err
		}, func(err error) bool { return errors.Is(err, app.ErrIsolated) }},
		"expired": {func(f *filing, _ app.Caller) error { f.turn(f.core.Tunables.Access * 2); return nil }, func(err error) bool { return errors.Is(err, token.ErrExpired) }},
	} {
		f := newFiling(t)
		f.user("ann")
		ann := f.caller(f.signIn("ann"))
		in, err := f.uploads.Begin(t.Context(), home, ann, "a.md", 0)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := in.Write([]byte("text")); err != nil {
			t.Fatal(err)
		}
		if err := c.meanwhile(f, ann); err != nil {
			t.Fatal(err)
		}
		if _, err := in.End(t.Context()); !c.is(err) {
			t.Errorf("%s: got error %v", what, err)
		}
		if n := f.onDisk(); n != 0 || f.count(audit.FileUploaded) != 0 {
			t.Errorf("%s: %d files are left on the disk", what, n)
		}
	}
}

// doubtful is a store whose next change fails: before it is stored, or after.
type doubtful struct {
	ports.Uploads
	next string
	err  error
}

func (d *doubtful) change(commit func() error) error {
	next := d.next
	d.next = ""
	switch next {
	case "before":
		return d.err
	case "after":
		return errors.Join(commit(), d.err)
	}
	return commit()
}

func (d *doubtful) Create(ctx context.Context, f upload.File, e ports.Effects) error {
	return d.change(func() error { return d.Uploads.Create(ctx, f, e) })
}

func (d *doubtful) Delete(ctx context.Context, fid id.File, e ports.Effects) error {
	return d.change(func() error { return d.Uploads.Delete(ctx, fid, e) })
}

// Whatever the database does with a change, the bytes follow its record: at once where that is known, else when it is settled.
func TestTheRecordDecides(t *testing.T) {
	odd := errors.New("a fault of another kind")
	for _, c := range []struct {
		next    string
		err     error
		left    int // files on the disk after a failed upload
		settled int // and once that is settled
	}{
		{"before", outage{}, 1, 0},
		{"after", outage{}, 1, 1},
		{"after", context.Canceled, 1, 1},
		{"before", ports.ErrNoSpace, 0, 0},
		{"before", odd, 0, 0},
	} {
		d := &doubtful{err: c.err}
		f := newFiling(t, func(core *app.Core) { d.Uploads, core.Stores.Uploads = core.Stores.Uploads, d })
		f.user("ann")
		ann := f.caller(f.signIn("ann"))
		d.next = c.next
		if _, err := send(t.Context(), f.uploads, ann, "a.md", "text"); !errors.Is(err, c.err) {
			t.Errorf("upload, %s: got error %v, want %v", c.next, err, c.err)
		}
		if n := f.onDisk(); n != c.left {
			t.Errorf("upload, %v %s it is stored: %d files are on the disk, want %d", c.err, c.next, n, c.left)
		}
		settle := func() {
			t.Helper()
			if err := f.uploads.Settle(t.Context()); err != nil {
				t.Errorf("Settle: %v", err)
			}
			all, err := f.uploads.List(t.Context(), ann)
			if n := f.onDisk(); err != nil || len(all) != n {
				t.Errorf("%v %s it is stored: %d files are on the disk, %d are known, error %v", c.err, c.next, n, len(all), err)
			}
			for _, file := range all {
				_, b, err := f.uploads.Open(t.Context(), ann, file.ID)
				if err != nil {
					t.Fatalf("Open: %v", err)
				}
				if text, err := io.ReadAll(b); err != nil || string(text) != "text" {
					t.Errorf("%v %s it is stored: got %q, error %v", c.err, c.next, text, err)
				}
				_ = b.Close()
			}
		}
		settle()
		if n := f.onDisk(); n != c.settled {
			t.Errorf("upload, %v %s it is stored: %d files are left, want %d", c.err, c.next, n, c.settled)
		}
		file, err := send(t.Context(), f.uploads, ann, "a.md", "text")
		if err != nil {
			t.Fatal(err)
		}
		d.next = c.next
		if err := f.uploads.Delete(t.Context(), home, ann, file.ID); !errors.Is(err, c.err) {
			t.Errorf("Delete, %s: got error %v, want %v", c.next, err, c.err)
		}
		settle()
		if want := c.settled + count(c.next == "before"); f.onDisk() != want {
			t.Errorf("Delete, %v %s it is stored: %d files are left, want %d", c.err, c.next, f.onDisk(), want)
		}
	}
}

func count(yes bool) int {
	if yes {
		return 1
	}
	return 0
}

func TestBytesThatAreNotThereAreSaidToBe(t *testing.T) {
	f := newFiling(t)
	f.user("ann")
	ann := f.caller(f.signIn("ann"))
	file := upload.File{ID: id.File{9}, Owner: ann.User(), Label: upload.Clean("a.md"), Type: "text/plain", Size: 4}
	if err := f.store.Uploads().Create(t.Context(), file, ports.Effects{}); err != nil {
		t.Fatal(err)
	}
	if _, _, err := f.uploads.Open(t.Context(), ann, file.ID); !errors.Is(err, ports.ErrUnavailable) {
		t.Errorf("Open: got error %v, want ErrUnavailable", err)
	}
	if err := f.uploads.Delete(t.Context(), home, ann, file.ID); err != nil {
		t.Errorf("Delete: %v", err)
	}
	if _, _, err := f.uploads.Open(t.Context(), ann, file.ID); !errors.Is(err, ports.ErrNotFound) {
		t.Errorf("Open of what was deleted: got error %v, want ErrNotFound", err)
	}
}

func TestAllFilesOfAUserAreTakenAway(t *testing.T) {
	f := newFiling(t)
	f.user("ann")
	f.user("bob")
	ann, bob := f.caller(f.signIn("ann")), f.caller(f.signIn("bob"))
	for _, c := range []app.Caller{ann, bob, ann, ann} {
		if _, err := send(t.Context(), f.uploads, c, "a.md", "text"); err != nil {
			t.Fatal(err)
		}
	}
	for _, want := range []int{3, 0} {
		if n, err := f.uploads.DeleteOf(t.Context(), root, ann.User()); err != nil || n != want {
			t.Errorf("DeleteOf: got %d, error %v, want %d", n, err, want)
		}
	}
	if all, err := f.uploads.List(t.Context(), bob); err != nil || len(all) != 1 || f.onDisk() != 1 {
		t.Errorf("of another: got %d, error %v, and %d on the disk, want 1", len(all), err, f.onDisk())
	}
	if n := f.count(audit.FileDeleted); n != 3 || f.events()[len(f.events())-1].Actor != app.Operator {
		t.Errorf("%d events tell of it, want 3 by the operator", n)
	}
}

// So many files of a user are on their way at a time, and of all; one more when one has come or is given up.
func TestComingIsBounded(t *testing.T) {
	f := newFiling(t)
	var open []*app.Incoming
	fill := func(c app.Caller) *app.CrowdedError {
		for {
			in, err := f.uploads.Begin(t.Context(), home, c, "a.md", 0)
			if crowded := (*app.CrowdedError)(nil); errors.As(err, &crowded) {
				return crowded
			}
			if err != nil || len(open) > 10_000 {
				t.Fatalf("with %d on their way: %v", len(open), err)
			}
			open = append(open, in)
		}
	}
	f.user("ann")
	ann := f.caller(f.signIn("ann"))
	if got := fill(ann); !got.Own || !got.File || got.Max != len(open) {
		t.Errorf("with %d of one user: %v", len(open), got)
	}
	open[0].Abort()
	open[0].Abort()                                                                // once more counts nothing
	if _, err := f.uploads.Begin(t.Context(), home, ann, "a.exe", 0); err == nil { // what is refused counts nothing
		t.Error("an extension that is not taken was")
	}
	in, err := f.uploads.Begin(t.Context(), home, ann, "a.md", 0)
	if err != nil {
		t.Fatalf("after one was given up: %v", err)
	}
	if _, err := in.End(t.Context()); err != nil {
		t.Fatal(err)
	}
	if in, err = f.uploads.Begin(t.Context(), home, ann, "a.md", 0); err != nil {
		t.Fatalf("after one has come: %v", err)
	}
	open[0] = in
	var all *app.CrowdedError
	for i := 0; all == nil && i < 100; i++ {
		name := fmt.Sprintf("user%d", i)
		f.user(name)
		if got := fill(f.caller(f.signIn(name))); !got.Own {
			all = got
		}
	}
	if all == nil || all.Max != len(open) {
		t.Errorf("with %d on their way: %v", len(open), all)
	}
	for _, in := range open {
		in.Abort()
	}
	if n := f.onDisk(); n != 1 {
		t.Errorf("%d files are on the disk, want the one that has come", n)
	}
	if _, err := f.uploads.Begin(t.Context(), home, ann, "a.md", 0); err != nil {
		t.Errorf("after all were given up: %v", err)
	}
}

// A user reads so many files at a time, and one more when one is closed.
func TestReadingIsBounded(t *testing.T) {
	f := newFiling(t)
	f.user("ann")
	ann := f.caller(f.signIn("ann"))
	got, err := send(t.Context(), f.uploads, ann, "a.md", "text")
	if err != nil {
		t.Fatal(err)
	}
	var open []io.Closer
	var crowded *app.CrowdedError
	for {
		_, b, err := f.uploads.Open(t.Context(), ann, got.ID)
		if errors.As(err, &crowded) {
			break
		}
		if err != nil || len(open) > 100 {
			t.Fatalf("with %d open: %v", len(open), err)
		}
		open = append(open, b)
	}
	if crowded.Max != len(open) || !crowded.Own {
		t.Errorf("with %d open: %v", len(open), crowded)
	}
	if err := open[0].Close(); err != nil {
		t.Fatal(err)
	}
	_ = open[0].Close() // once more counts nothing
	_, b, err := f.uploads.Open(t.Context(), ann, got.ID)
	if err != nil {
		t.Fatalf("after one was closed: %v", err)
	}
	if _, _, err := f.uploads.Open(t.Context(), ann, got.ID); !errors.As(err, &crowded) {
		t.Errorf("and one more: %v", err)
	}
	for _, c := range append(open[1:], b) {
		_ = c.Close()
	}
}
