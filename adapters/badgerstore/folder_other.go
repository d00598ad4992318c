//go:build !unix

package badgerstore

// lock takes nothing: Badger's own lock, a moment later, has to do.
func lock(string) (release func() error, err error) { return func() error { return nil }, nil }

// syncFolder does nothing: there a folder cannot be synced.
func syncFolder(string) error { return nil }
