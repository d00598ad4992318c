package badgerstore_test

import (
	"os"
	"strconv"
	"syscall"
	"testing"

	"github.com/xteam/xteam/adapters/badgerstore"
)

// TestTheLockOfALookIsFree: Badger takes the folder's lock right after the look into it, also while a child of this process, which was begun meanwhile, has all its files, as it has until its own program runs.
func TestTheLockOfALookIsFree(t *testing.T) {
	dir := t.TempDir()
	release := must(badgerstore.LockFolder(dir))
	child := -1
	for _, e := range must(os.ReadDir("/proc/self/fd")) {
		if to, err := os.Readlink("/proc/self/fd/" + e.Name()); err == nil && to == dir {
			child = must(syscall.Dup(must(strconv.Atoi(e.Name()))))
		}
	}
	if child < 0 {
		t.Fatalf("%s is not open", dir)
	}
	defer func() { _ = syscall.Close(child) }()
	if err := release(); err != nil {
		t.Fatal(err)
	}
	again, err := badgerstore.LockFolder(dir)
	if err != nil {
		t.Fatalf("a folder that was looked into and let go: %v", err)
	}
	_ = again()
}
