//go:build unix

package badgerstore

import (
	"os"
	"syscall"
)

// lock takes the lock that Badger takes, so that nobody looks into a folder that is in use. It fails with EWOULDBLOCK when somebody has it.
func lock(dir string) (release func() error, err error) {
	f, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		_ = f.Close()
		return nil, err
	}
	return func() error {
		_ = syscall.Flock(int(f.Fd()), syscall.LOCK_UN) // a child that this process has just begun has the file too, until its own program runs
		return f.Close()
	}, nil
}

// syncFolder makes the names in a folder durable.
func syncFolder(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer f.Close()
	return f.Sync()
}
