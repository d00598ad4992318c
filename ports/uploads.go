package ports

import (
	"context"

	"github.com/xteam/xteam/domain/id"
	"github.com/xteam/xteam/domain/upload"
)

// Uploads keeps what is known of files; Files keeps their bytes. What is known of one never changes, and is kept until it is deleted.
type Uploads interface {
	// Create stores a new file with its effects, or fails with ErrTaken when its id exists.
	Create(ctx context.Context, f upload.File, e Effects) error
	// Delete takes a file away, with its effects. One that does not exist is ErrNotFound, and there are no effects: of concurrent deletions exactly one succeeds.
	Delete(ctx context.Context, fid id.File, e Effects) error
	// Find answers the file as it was committed, or ErrNotFound.
	Find(ctx context.Context, fid id.File) (upload.File, error)
	// OfUser answers all files of an owner, oldest first by Created.
	OfUser(ctx context.Context, uid id.User) ([]upload.File, error)
}
