//go:build unix

package diskfiles

import (
	"errors"
	"os"
	"syscall"
)

// movesOpen says that a file can be moved and removed while it is open.
const movesOpen = true

// lock takes the lock of a file, which its holder has until the file is closed or the process ends. It answers false when another has it, unless it is to wait.
func lock(f *os.File, wait bool) (bool, error) {
	how := syscall.LOCK_EX
	if !wait {
		how |= syscall.LOCK_NB
	}
	for {
		switch err := syscall.Flock(int(f.Fd()), how); {
		case errors.Is(err, syscall.EINTR):
		case errors.Is(err, syscall.EWOULDBLOCK):
			return false, nil
		default:
			return err == nil, err
		}
	}
}

// syncFolder makes the names in a folder durable.
func syncFolder(r *os.Root, name string) error {
	f, err := r.Open(name)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}
