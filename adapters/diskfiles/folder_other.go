//go:build !unix

package diskfiles

import "os"

// movesOpen: there a file may have to be closed before it is moved.
const movesOpen = false

// lock takes nothing: one process alone may use a folder there.
func lock(*os.File, bool) (bool, error) { return true, nil }

// syncFolder does nothing: there a folder cannot be synced.
func syncFolder(*os.Root, string) error { return nil }
