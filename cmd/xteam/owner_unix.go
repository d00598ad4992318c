//go:build unix

package main

import (
	"io/fs"
	"syscall"
)

// keepPrivate has every file and folder that this process makes be its owner's alone: the store's own files among them, whose modes its library chooses.
func keepPrivate() { syscall.Umask(0o077) }

// ownerOf is the user that a file belongs to.
func ownerOf(info fs.FileInfo) (uid int, known bool) {
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return -1, false
	}
	return int(st.Uid), true
}
