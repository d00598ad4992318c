package diskfiles_test

import (
	"context"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"

	"github.com/xteam/xteam/adapters/diskfiles"
	"github.com/xteam/xteam/domain/id"
)

// TestALockThatIsGivenBackIsFree: also while a child of this process, which was begun just before, has all its files, as it has until its own program runs.
func TestALockThatIsGivenBackIsFree(t *testing.T) {
	folder := t.TempDir()
	s, other := diskfiles.New(folder, diskfiles.Options{}), diskfiles.New(folder, diskfiles.Options{})
	defer s.Close()
	defer other.Close()
	fid := id.File{7}
	made, err := s.Create(t.Context(), fid)
	if err != nil {
		t.Fatal(err)
	}
	child := alsoOpen(t, filepath.Join(folder, "doubt", fid.String()))
	defer func() { _ = syscall.Close(child) }()
	if err := made.Leave(); err != nil {
		t.Fatal(err)
	}
	gone, err := other.Settle(t.Context(), 0, func(context.Context, id.File) (bool, error) { return false, nil })
	if gone != 1 || err != nil {
		t.Errorf("Settle: %d are dropped (%v), want the one that was left", gone, err)
	}
}

// alsoOpen is what a child has of a file that this process has open: another descriptor of the same opening.
func alsoOpen(t *testing.T, path string) int {
	t.Helper()
	all, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range all {
		if to, err := os.Readlink("/proc/self/fd/" + e.Name()); err == nil && to == path {
			fd, _ := strconv.Atoi(e.Name())
			again, err := syscall.Dup(fd)
			if err != nil {
				t.Fatal(err)
			}
			return again
		}
	}
	t.Fatalf("%s is not open", path)
	return 0
}
