//go:build unix

package diskfiles

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"syscall"
	"time"
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

// unlock gives the lock back. Closing the file would not, while a child of this process that was begun just now has it too: until its own program runs.
func unlock(f *os.File) { _ = syscall.Flock(int(f.Fd()), syscall.LOCK_UN) }

// Locks answers in a sentence for the operator why several processes cannot share the folder: its file system takes no locks, takes them and does not hold them, or, as far as that is known, keeps them from
// other machines.
func (s *Store) Locks() error {
	r, err := os.OpenRoot(s.dir) // whoever only looks makes no folders in it, which might be another user's than the server's
	if err != nil {
		return fmt.Errorf("the folder of files %s cannot be used: %w", s.dir, err)
	}
	defer func() { _ = r.Close() }()
	probe := "lock-" + strconv.Itoa(os.Getpid()) + "-" + strconv.FormatInt(time.Now().UnixNano(), 36) // of this process alone
	one, err := r.OpenFile(probe, os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o600)
	if err != nil {
		return fmt.Errorf("the folder of files %s cannot be written to: %w", s.dir, err)
	}
	defer func() { _ = r.Remove(probe) }()
	defer one.Close()
	two, err := r.OpenFile(probe, os.O_RDWR, 0)
	if err != nil {
		return fmt.Errorf("the folder of files %s cannot be read: %w", s.dir, err)
	}
	defer two.Close()
	first, err := lock(one, false)
	second, err2 := lock(two, false)
	if err = errors.Join(err, err2); err != nil {
		return fmt.Errorf("the folder of files %s is on a file system that takes no locks (flock): %w", s.dir, err)
	}
	if !first || second {
		return fmt.Errorf("the folder of files %s is on a file system whose locks (flock) do not hold: several servers cannot share it", s.dir)
	}
	if how := alone(s.dir); how != "" {
		return fmt.Errorf("the folder of files %s is mounted with %s, so that its locks do not reach other machines: several servers cannot share it", s.dir, how)
	}
	return nil
}

// syncFolder makes the names in a folder durable.
func syncFolder(r *os.Root, name string) error {
	f, err := r.Open(name)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}
