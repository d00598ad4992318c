// Package upload holds what may be uploaded: how a file is named, which extensions there are and what their content must be, and how much one user may keep.
package upload

import (
	"fmt"

	"github.com/xteam/xteam/domain/id"
	"github.com/xteam/xteam/domain/instant"
)

// File is what is known of a file that is kept. It never changes.
type File struct {
	ID      id.File
	Owner   id.User // the one who may have it
	Label   Label   // what the owner called it; it names nothing on our side
	Type    string  // the media type that it is served as
	Size    int64   // in bytes
	Created instant.Instant
}

// InvalidError says what is wrong with a file that was sent.
type InvalidError struct{ Detail string }

func (e *InvalidError) Error() string { return "file: " + e.Detail }

// SizeError says that a file is longer than one may be.
type SizeError struct{ Most int64 }

func (e *SizeError) Error() string { return fmt.Sprintf("the file is longer than %d bytes", e.Most) }

// QuotaError says that a user keeps as much as one may.
type QuotaError struct {
	Files int   // how many may be kept, when those are too many
	Bytes int64 // how many may be kept, when those are
}

func (e *QuotaError) Error() string {
	if e.Files > 0 {
		return fmt.Sprintf("there are %d files: delete one that is not needed any more", e.Files)
	}
	return fmt.Sprintf("with this file there would be more than %d bytes: delete what is not needed any more", e.Bytes)
}

// MaxFiles is how many files one user may keep, however small.
const MaxFiles = 1000

// Rules are what a system takes.
type Rules struct {
	Extensions Extensions
	MaxSize    int64 // of one file, in bytes
	Quota      int64 // of all files of one user, in bytes
}

// Use is what a user keeps.
type Use struct {
	Files int
	Bytes int64
}

// UseOf sums up the files of one user.
func UseOf(all []File) (u Use) {
	for i := range all {
		u.Files++
		u.Bytes += all[i].Size
	}
	return u
}

// Room answers a *QuotaError unless a user who keeps so much may keep one more file, of so many bytes.
func (r *Rules) Room(u Use, bytes int64) error {
	switch {
	case u.Files >= MaxFiles:
		return &QuotaError{Files: MaxFiles}
	case bytes > r.Quota-u.Bytes:
		return &QuotaError{Bytes: r.Quota}
	}
	return nil
}
