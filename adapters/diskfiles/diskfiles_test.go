package diskfiles_test

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/xteam/xteam/adapters/diskfiles"
	"github.com/xteam/xteam/domain/id"
	"github.com/xteam/xteam/ports"
	"github.com/xteam/xteam/ports/porttest"
)

func open(_ testing.TB, dir string) porttest.FileStore {
	folder := filepath.Join(dir, "files")
	s := diskfiles.New(folder, diskfiles.Options{})
	return porttest.FileStore{Files: s, Close: s.Close, Count: func(t testing.TB) int { return len(files(t, folder)) }}
}

// files are all files below a folder.
func files(t testing.TB, folder string) (all []string) {
	t.Helper()
	err := filepath.WalkDir(folder, func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() && d.Name() != diskfiles.MarkName {
			all = append(all, path)
		}
		return err
	})
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	return all
}

func TestFiles(t *testing.T) { porttest.Files(t, open) }

func TestMarkedFiles(t *testing.T) { porttest.MarkedFiles(t, open) }

// TestLocksAreTried: this file system has them.
func TestLocksAreTried(t *testing.T) {
	folder := filepath.Join(t.TempDir(), "files")
	s := diskfiles.New(folder, diskfiles.Options{})
	defer s.Close()
	if err := s.Locks(); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Locks of no folder: got error %v", err)
	}
	if _, err := os.Stat(folder); err == nil {
		t.Error("whoever only looks has made the folder")
	}
	if err := os.Mkdir(folder, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := s.Locks(); err != nil {
		t.Errorf("Locks: got error %v", err)
	}
	if left, err := os.ReadDir(folder); err != nil || len(left) != 0 {
		t.Errorf("%v are left (%v)", left, err)
	}
}

func TestFileSyncs(t *testing.T) { porttest.FileSyncs(t, open) }

func write(t *testing.T, s *diskfiles.Store, fid id.File) ports.NewFile {
	t.Helper()
	f, err := s.Create(t.Context(), fid)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.Write([]byte("bytes")); err != nil {
		t.Fatal(err)
	}
	if err := f.Seal(); err != nil {
		t.Fatal(err)
	}
	return f
}

func TestTheFolderIsTheOwnersAlone(t *testing.T) {
	folder := filepath.Join(t.TempDir(), "a", "files")
	s := diskfiles.New(folder, diskfiles.Options{})
	defer s.Close()
	if _, err := os.Lstat(folder); err == nil {
		t.Fatal("the folder is there before it is needed")
	}
	if err := write(t, s, id.File{1}).Keep(); err != nil {
		t.Fatal(err)
	}
	check := func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		at, err := d.Info()
		if err != nil {
			return err
		}
		if mode := at.Mode().Perm(); mode&0o077 != 0 {
			t.Errorf("%s has mode %v", path, mode)
		}
		return nil
	}
	if err := filepath.WalkDir(folder, check); err != nil {
		t.Fatal(err)
	}
}

func TestALinkLeadsNowhere(t *testing.T) {
	folder, outside := filepath.Join(t.TempDir(), "files"), t.TempDir()
	s := diskfiles.New(folder, diskfiles.Options{})
	defer s.Close()
	if err := s.Prepare(); err != nil {
		t.Fatal(err)
	}
	fid := id.File{1}
	secret := filepath.Join(outside, "secret")
	if err := os.WriteFile(secret, []byte("secret"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(secret, filepath.Join(folder, "doubt", fid.String())); err != nil {
		t.Fatal(err)
	}
	if f, err := s.Open(t.Context(), fid); err == nil {
		_ = f.Close()
		t.Error("a link to outside was opened")
	}
	if _, err := s.Create(t.Context(), fid); !errors.Is(err, ports.ErrTaken) {
		t.Errorf("Create at a link: got error %v, want ErrTaken", err)
	}
	_, _ = s.Settle(t.Context(), 0, func(context.Context, id.File) (bool, error) { return false, nil })
	if got, err := os.ReadFile(secret); err != nil || string(got) != "secret" {
		t.Errorf("what the link names: got %q, error %v", got, err)
	}
}

func TestWhatIsNotOursIsLeftAlone(t *testing.T) {
	folder := filepath.Join(t.TempDir(), "files")
	s := diskfiles.New(folder, diskfiles.Options{})
	defer s.Close()
	if err := s.Prepare(); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"README", "doubt/.nfs0001", "kept/other"} {
		if err := os.WriteFile(filepath.Join(folder, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	n, err := s.Settle(t.Context(), 0, func(context.Context, id.File) (bool, error) { return false, nil })
	if got := files(t, folder); n != 0 || err != nil || len(got) != 3 {
		t.Errorf("Settle: got %d, error %v, and %q are left", n, err, got)
	}
}

func TestAFolderThatCannotBeUsedIsNamed(t *testing.T) {
	taken := filepath.Join(t.TempDir(), "taken")
	if err := os.WriteFile(taken, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	s := diskfiles.New(taken, diskfiles.Options{})
	defer s.Close()
	if err := s.Prepare(); err == nil || !strings.Contains(err.Error(), taken) {
		t.Errorf("Prepare: got error %v, want one that names the folder", err)
	}
	if _, err := s.Create(t.Context(), id.File{1}); !errors.Is(err, ports.ErrUnavailable) {
		t.Errorf("Create: got error %v, want ErrUnavailable", err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Create(t.Context(), id.File{1}); !errors.Is(err, ports.ErrUnavailable) {
		t.Errorf("Create after Close: got error %v, want ErrUnavailable", err)
	}
}

func TestTheLastSpaceIsKept(t *testing.T) {
	free := int64(100 << 20)
	s := diskfiles.New(t.TempDir(), diskfiles.Options{MinFreeSpace: 50 << 20, Free: func(string) (int64, error) { return free, nil }})
	defer s.Close()
	f, err := s.Create(t.Context(), id.File{1})
	if err != nil {
		t.Fatal(err)
	}
	piece := make([]byte, 1<<20)
	written := 0
	for ; written < 100; written++ {
		if _, err = f.Write(piece); err != nil {
			break
		}
		free -= int64(len(piece))
	}
	if !errors.Is(err, ports.ErrNoSpace) || written < 40 || written > 60 {
		t.Errorf("after %d MiB of 100, 50 of which are kept: got error %v, want ErrNoSpace", written, err)
	}
	if _, err := s.Create(t.Context(), id.File{2}); !errors.Is(err, ports.ErrNoSpace) {
		t.Errorf("Create below the floor: got error %v, want ErrNoSpace", err)
	}
	if err := f.Drop(); err != nil {
		t.Fatal(err)
	}
	free = 100 << 20
	f, err = s.Create(t.Context(), id.File{2})
	if err != nil {
		t.Fatalf("Create once there is room: %v", err)
	}
	if err := f.Drop(); err != nil {
		t.Fatal(err)
	}
}
