//go:build !unix

package diskfiles

import (
	"errors"
	"os"
)

// movesOpen: there a file may have to be closed before it is moved.
const movesOpen = false

// lock takes nothing: one process alone may use a folder there.
func lock(*os.File, bool) (bool, error) { return true, nil }

func unlock(*os.File) {}

// Locks says that only one process may use the folder.
func (s *Store) Locks() error {
	return errors.New("on this system one server alone may use the folder of files " + s.dir + ": it has no locks (flock)")
}

// syncFolder does nothing: there a folder cannot be synced.
func syncFolder(*os.Root, string) error { return nil }
