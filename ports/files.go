package ports

import (
	"context"
	"io"
	"time"

	"github.com/xteam/xteam/domain/id"
)

// Files keeps the bytes of files, each under its id. What is known of a file is in Uploads, which decides: a file whose bytes were begun is in doubt until somebody says, by what Uploads
// holds, whether it is kept. Between the two there may be a crash; what is in doubt is then settled by asking Uploads.
type Files interface {
	// Create begins the file of an id. The caller must end it by Keep, Drop or Leave. It fails with ErrTaken when the id exists, and with ErrNoSpace while the disk keeps its last free space.
	Create(ctx context.Context, fid id.File) (NewFile, error)
	// Open answers the bytes of a file that is sealed, kept or in doubt, or ErrNotFound. What is dropped while it is open may end early.
	Open(ctx context.Context, fid id.File) (StoredFile, error)
	// Withdraw puts a file that is kept in doubt, durably, before it is deleted of Uploads. The caller must end it as one that is new. One whose bytes are not there is ErrNotFound; one that another
	// has in doubt, ErrTaken.
	Withdraw(ctx context.Context, fid id.File) (Doubt, error)
	// Settle ends every doubt that nobody holds, of this process or another: what kept says is kept, is; the rest is dropped. What changed, or was left, less than young ago stays in doubt: what whoever
	// held it did may be on its way to Uploads yet. It answers how many it dropped. An error of kept leaves that file in doubt; the first such error is answered when the others are settled.
	Settle(ctx context.Context, young time.Duration, kept func(context.Context, id.File) (bool, error)) (dropped int, err error)
}

// MarkedFiles are Files that could be taken for others, as one folder for another. They carry a mark, by which whoever keeps what is known of files knows them again.
type MarkedFiles interface {
	Files
	// Mark answers the mark; empty where there is none yet.
	Mark(ctx context.Context) (string, error)
	// SetMark puts a mark in the place of the one that there is, durably. The caller sees to it that nobody else does at the same time. A mark is of hexadecimal digits.
	SetMark(ctx context.Context, mark string) error
}

// Doubt is a file in doubt, held by one caller. Each of its methods ends it, but for what NewFile adds; those that follow do nothing.
type Doubt interface {
	// Keep ends the doubt: the file stays. When it fails, the file is in doubt still, and Open finds it there.
	Keep() error
	// Drop takes the bytes away, and their space with them, whoever reads them.
	Drop() error
	// Leave ends the hold and not the doubt: Settle will.
	Leave() error
}

// NewFile is a file that is being written. It is for one goroutine.
type NewFile interface {
	Doubt
	// Write adds bytes. It fails with ErrNoSpace when there is no room for them, and with ErrUnavailable when the disk fails.
	io.Writer
	// Seal returns once all bytes are durable, and the file is found again after a crash. Nothing is written after it.
	Seal() error
}

// StoredFile is the bytes of a file, to be read from any place.
type StoredFile interface {
	io.ReadSeekCloser
	io.ReaderAt
}
