// Package diskfiles keeps the bytes of files in a folder, which several processes may share: on one machine, or over a network file system that passes on locks (flock) and whose rename is
// atomic, as NFS 4 is.
//
// # Layout
//
//	doubt/ID        being written, or about to be deleted: held under flock by whoever decides, and by nobody after a crash
//	kept/II/ID      kept; II are the first two digits of ID
//	mark            whose files these are: a line of hexadecimal digits, which whoever moves the folder takes along
//
// ID is the file's id in hexadecimal digits, which is random: nothing that a client says is ever part of a path, and what lies beside is left alone. All paths are resolved beneath the
// folder (os.Root), so that a link in it leads nowhere else. The folder and all in it belong to their owner alone (0700, 0600).
//
// A file goes from doubt to kept by one rename. That rename is not synced: before it, the file was durable where it was, and what stands in doubt after a loss of power is settled as after
// any other end. The other way is synced, since the file's record goes next.
package diskfiles

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/xteam/xteam/domain/id"
	"github.com/xteam/xteam/ports"
)

// Options are what may differ between stores. The zero value works.
type Options struct {
	// MinFreeSpace is the free space of the folder's file system, in bytes, below which nothing is written. 0: nothing is watched.
	MinFreeSpace int64
	// Free answers the free space of the file system of a folder, in bytes; default: what the operating system says. Where it fails nothing is watched.
	Free func(dir string) (int64, error)
}

// Store is files in a folder.
type Store struct {
	dir     string
	options Options

	unasked atomic.Int64 // bytes that were written since the free space was asked for

	mu     sync.Mutex
	root   *os.Root // nil: not opened yet
	closed bool
}

var (
	_ ports.Files       = (*Store)(nil)
	_ ports.MarkedFiles = (*Store)(nil)
)

const (
	doubt = "doubt"
	kept  = "kept"

	// MarkName is the name of the file with the mark, in the folder.
	MarkName = "mark"
	longest  = 64 // digits of a mark, at most

	// askEvery is after how many bytes of a file the free space is asked for again.
	askEvery = 8 << 20
	// tries is how often a name is looked for that others move meanwhile.
	tries = 10
)

// New keeps files in a folder, which is made by Prepare, or when the first file is.
func New(dir string, o Options) *Store {
	if o.Free == nil {
		o.Free = freeSpace
	}
	return &Store{dir: dir, options: o}
}

// Prepare makes the folder, and answers in a sentence for the operator why it cannot be used.
func (s *Store) Prepare() error {
	r, err := s.open(true)
	if err != nil {
		return fmt.Errorf("the folder of files %s cannot be made or used: %w", s.dir, err)
	}
	const probe = doubt + "/probe"
	f, err := r.OpenFile(probe, os.O_CREATE|os.O_WRONLY, 0o600)
	if err == nil {
		_, unlocked := lock(f, false)
		if err = errors.Join(f.Close(), r.Remove(probe)); unlocked != nil {
			return fmt.Errorf("the folder of files %s is on a file system that takes no locks (flock), without which no file is written: %w", s.dir, unlocked)
		}
		if errors.Is(err, fs.ErrNotExist) { // another that starts has taken it away
			err = nil
		}
	}
	if err != nil {
		return fmt.Errorf("the folder of files %s cannot be written to: %w", s.dir, err)
	}
	return nil
}

// Close ends the use of the folder. Files that are open can be read to their ends.
func (s *Store) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	if s.root == nil {
		return nil
	}
	return s.root.Close()
}

// open answers the folder; where it is missing it is made, or fs.ErrNotExist.
func (s *Store) open(missing bool) (*os.Root, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.closed:
		return nil, fs.ErrClosed
	case s.root != nil:
		return s.root, nil
	case missing:
		if err := os.MkdirAll(s.dir, 0o700); err != nil {
			return nil, err
		}
	}
	r, err := os.OpenRoot(s.dir)
	if err != nil {
		return nil, err
	}
	for _, name := range []string{doubt, kept} {
		if err := r.Mkdir(name, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
			return nil, errors.Join(err, r.Close())
		}
	}
	s.root = r
	return r, nil
}

// Mark reads the file with the mark. What is no mark is a fault: somebody else's file may be in its place.
func (s *Store) Mark(ctx context.Context) (string, error) {
	if err := ctx.Err(); err != nil {
		return "", err
	}
	r, err := os.OpenRoot(s.dir) // whoever only looks makes no folders in it
	var f *os.File
	if err == nil {
		defer func() { _ = r.Close() }()
		f, err = r.Open(MarkName)
	}
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", failed("read the mark of the folder of files", err)
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, longest+3))
	if err != nil {
		return "", failed("read the mark of the folder of files", err)
	}
	mark := strings.TrimSpace(string(text))
	if !isMark(mark) {
		return "", failed("read the mark of the folder of files", fmt.Errorf("%s is no line of 1 to %d hexadecimal digits", filepath.Join(s.dir, MarkName), longest))
	}
	return mark, nil
}

func isMark(text string) bool {
	return text != "" && len(text) <= longest && strings.Trim(text, "0123456789abcdef") == ""
}

// SetMark writes it beside the old one, which it takes the place of once it is durable.
func (s *Store) SetMark(ctx context.Context, mark string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	r, err := s.open(true)
	if err != nil {
		return failed("open the folder of files", err)
	}
	const coming = MarkName + ".new"
	f, err := r.OpenFile(coming, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return failed("mark the folder of files", err)
	}
	_, err = f.WriteString(mark + "\n")
	if err = errors.Join(err, f.Sync(), f.Close()); err == nil {
		err = r.Rename(coming, MarkName)
	}
	if err == nil {
		err = syncFolder(r, ".")
	}
	return failed("mark the folder of files", err)
}

func doubtful(fid id.File) string { return doubt + "/" + fid.String() }

func keptIn(fid id.File) string { return kept + "/" + fid.String()[:2] }

func keptAs(fid id.File) string { return keptIn(fid) + "/" + fid.String() }

// failed is a fault of the disk.
func failed(what string, err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return fmt.Errorf("%s: %w", what, ports.ErrNoSpace)
	}
	return fmt.Errorf("%s: %w: %v", what, ports.ErrUnavailable, err) //nolint:errorlint // what is behind a port is no business of the caller's
}

// room refuses to write while the disk keeps its last free space, beside so many bytes that are to come.
func (s *Store) room(bytes int64) error {
	if s.options.MinFreeSpace <= 0 {
		return nil
	}
	if free, err := s.options.Free(s.dir); err == nil && free-bytes < s.options.MinFreeSpace {
		return fmt.Errorf("write a file: %w", ports.ErrNoSpace)
	}
	return nil
}

// Create begins a file in doubt, under its lock.
func (s *Store) Create(ctx context.Context, fid id.File) (ports.NewFile, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	r, err := s.open(true)
	if err != nil {
		return nil, failed("open the folder of files", err)
	}
	if err := s.room(0); err != nil {
		return nil, err
	}
	for range tries {
		f, err := r.OpenFile(doubtful(fid), os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o600)
		if errors.Is(err, fs.ErrExist) {
			return nil, ports.ErrTaken
		}
		if err != nil {
			return nil, failed("begin a file", err)
		}
		h := &held{s: s, root: r, fid: fid, file: f}
		if locked, err := lock(f, true); err != nil || !locked {
			return nil, failed("lock a new file", errors.Join(err, h.Drop()))
		}
		if !h.stands() { // somebody settled it between its making and its lock
			_ = f.Close()
			continue
		}
		if _, err := r.Lstat(keptAs(fid)); err == nil {
			return nil, errors.Join(ports.ErrTaken, h.Drop())
		}
		return h, nil
	}
	return nil, failed("begin a file", errors.New("it was taken away again and again"))
}

// Open looks where files are kept, and where they are in doubt, and again where they are kept: it may just be moved.
func (s *Store) Open(ctx context.Context, fid id.File) (ports.StoredFile, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	r, err := s.open(false)
	for _, name := range []string{keptAs(fid), doubtful(fid), keptAs(fid)} {
		var f *os.File
		if err == nil {
			f, err = r.Open(name)
		}
		if err == nil {
			return f, nil
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return nil, failed("open a file", err)
		}
		if r != nil {
			err = nil
		}
	}
	return nil, ports.ErrNotFound
}

// Withdraw locks a kept file and moves it back into doubt.
func (s *Store) Withdraw(ctx context.Context, fid id.File) (ports.Doubt, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	r, err := s.open(false)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, ports.ErrNotFound
	}
	if err != nil {
		return nil, failed("open the folder of files", err)
	}
	found := false
	for range tries {
		h, err := s.hold(r, fid, doubtful(fid)) // a file may be left there that is kept, when the rename failed
		if errors.Is(err, fs.ErrNotExist) {
			h, err = s.hold(r, fid, keptAs(fid))
		}
		switch {
		case errors.Is(err, fs.ErrNotExist) && !found:
			found = true // it may just have been moved from the one to the other
			continue
		case errors.Is(err, fs.ErrNotExist):
			return nil, ports.ErrNotFound
		case err != nil:
			return nil, failed("withdraw a file", err)
		case h == nil:
			return nil, ports.ErrTaken
		}
		if h.stands() {
			return h, nil
		}
		if err = r.Rename(keptAs(fid), doubtful(fid)); err == nil && h.stands() {
			err = errors.Join(syncFolder(r, doubt), syncFolder(r, keptIn(fid)))
			if err != nil {
				_ = h.Leave()
				return nil, failed("withdraw a file", err)
			}
			return h, nil
		}
		_ = h.Leave()
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, failed("withdraw a file", err)
		}
	}
	return nil, ports.ErrTaken
}

// hold opens a file and takes its lock; nil when another has it.
func (s *Store) hold(r *os.Root, fid id.File, name string) (*held, error) {
	f, err := r.OpenFile(name, os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	locked, err := lock(f, false)
	if err != nil || !locked {
		_ = f.Close()
		return nil, err
	}
	return &held{s: s, root: r, fid: fid, file: f}, nil
}

// Settle looks at all that is in doubt.
func (s *Store) Settle(ctx context.Context, young time.Duration, isKept func(context.Context, id.File) (bool, error)) (dropped int, err error) {
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	r, err := s.open(false)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, failed("open the folder of files", err)
	}
	folder, err := r.Open(doubt)
	if err != nil {
		return 0, failed("read what is in doubt", err)
	}
	defer folder.Close()
	names, err := folder.Readdirnames(-1)
	if err != nil {
		return 0, failed("read what is in doubt", err)
	}
	var first error
	for _, name := range names {
		fid, err := id.Parse[id.File](name)
		if err != nil { // nothing of ours
			continue
		}
		if err := ctx.Err(); err != nil {
			return dropped, err
		}
		gone, err := s.settle(ctx, r, fid, young, isKept)
		if err != nil && first == nil {
			first = err
		}
		if gone {
			dropped++
		}
	}
	return dropped, first
}

func (s *Store) settle(ctx context.Context, r *os.Root, fid id.File, young time.Duration, isKept func(context.Context, id.File) (bool, error)) (dropped bool, err error) {
	h, err := s.hold(r, fid, doubtful(fid))
	if errors.Is(err, fs.ErrNotExist) || err == nil && h == nil {
		return false, nil
	}
	if err != nil {
		return false, failed("settle a file", err)
	}
	defer func() { _ = h.leave() }() // unless it is over
	at, err := h.file.Stat()
	if err != nil || !h.stands() {
		return false, failed("settle a file", err)
	}
	if young > 0 && time.Since(at.ModTime()) < young {
		return false, nil
	}
	keep, err := isKept(ctx, fid)
	switch {
	case err != nil:
		return false, err
	case keep:
		return false, h.Keep()
	}
	return true, h.Drop()
}

// held is a file in doubt whose lock this process has.
type held struct {
	s       *Store
	root    *os.Root
	fid     id.File
	file    *os.File
	over    bool
	size    int64
	unasked int64 // bytes since their writing was begun
}

// stands reports whether the file is the one in doubt under its id.
func (h *held) stands() bool {
	mine, err1 := h.file.Stat()
	there, err2 := h.root.Lstat(doubtful(h.fid))
	return err1 == nil && err2 == nil && os.SameFile(mine, there)
}

// Write adds bytes at the end.
func (h *held) Write(p []byte) (int, error) {
	if h.s.unasked.Add(int64(len(p))) >= askEvery { // of all files: many at once use up space as fast as one
		h.s.unasked.Store(0)
		if err := h.s.room(int64(len(p))); err != nil {
			return 0, err
		}
	}
	if h.unasked += int64(len(p)); h.unasked >= askEvery {
		beginWriting(h.file, h.size-h.unasked+int64(len(p)), h.unasked) // so that less is left for Seal to wait for
		h.unasked = 0
	}
	n, err := h.file.Write(p)
	h.size += int64(n)
	return n, failed("write a file", err)
}

// Seal syncs the file, and its name.
func (h *held) Seal() error {
	if err := errors.Join(h.file.Sync(), syncFolder(h.root, doubt)); err != nil {
		return failed("make a file durable", err)
	}
	if !h.stands() { // where locks do not hold, it may have been settled
		return failed("make a file durable", errors.New("it was taken away meanwhile"))
	}
	return nil
}

// Keep moves the file to those that are kept.
func (h *held) Keep() error {
	if h.over {
		return nil
	}
	if !movesOpen {
		_ = h.file.Close()
	}
	err := h.root.Rename(doubtful(h.fid), keptAs(h.fid))
	if errors.Is(err, fs.ErrNotExist) {
		if err = h.root.Mkdir(keptIn(h.fid), 0o700); err == nil || errors.Is(err, fs.ErrExist) {
			err = h.root.Rename(doubtful(h.fid), keptAs(h.fid))
		}
	}
	return failed("keep a file", errors.Join(err, h.leave()))
}

// Drop takes the file away.
func (h *held) Drop() error {
	if h.over {
		return nil
	}
	_ = h.file.Truncate(0) // its space is free at once, though somebody reads it
	if !movesOpen {
		_ = h.file.Close()
	}
	return failed("drop a file", errors.Join(h.root.Remove(doubtful(h.fid)), h.leave()))
}

// Leave gives back the lock of a file that stays in doubt, which is young from now on.
func (h *held) Leave() error {
	if h.over {
		return nil
	}
	now := time.Now()
	_ = h.root.Chtimes(doubtful(h.fid), now, now) // else it is settled sooner
	return h.leave()
}

// leave gives back the lock.
func (h *held) leave() error {
	if h.over {
		return nil
	}
	h.over = true
	unlock(h.file)
	if err := h.file.Close(); !errors.Is(err, fs.ErrClosed) {
		return err
	}
	return nil
}
