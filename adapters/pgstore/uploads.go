package pgstore

import (
	"context"

	"github.com/xteam/xteam/adapters/pgstore/queries"
	"github.com/xteam/xteam/domain/id"
	"github.com/xteam/xteam/domain/instant"
	"github.com/xteam/xteam/domain/upload"
	"github.com/xteam/xteam/ports"
)

// Uploads is the port of files.
type Uploads struct{ db *DB }

var _ ports.Uploads = (*Uploads)(nil)

// Create stores a new file.
func (p *Uploads) Create(ctx context.Context, f upload.File, e ports.Effects) error {
	return p.db.change(ctx, "note a file in", uploadContext+string(f.ID[:]), func(ctx context.Context, tx *transaction) (ports.Effects, error) {
		sealed, err := p.db.seal(uploadContext+string(f.ID[:]), encodeUpload(f))
		if err != nil {
			return e, err
		}
		return e, tx.then.AddUpload(ctx, queries.AddUploadParams{ID: f.ID[:], Owner: f.Owner[:], Created: int64(f.Created), Sealed: sealed})
	})
}

// Delete takes a file away under the lock of its row.
func (p *Uploads) Delete(ctx context.Context, fid id.File, e ports.Effects) error {
	return p.db.change(ctx, "delete a file in", uploadContext+string(fid[:]), func(ctx context.Context, tx *transaction) (ports.Effects, error) {
		if _, err := tx.first.LockUpload(ctx, fid[:]); err != nil {
			return e, found(err)
		}
		return e, tx.then.DropUpload(ctx, fid[:])
	})
}

// Find reads one file.
func (p *Uploads) Find(ctx context.Context, fid id.File) (upload.File, error) {
	row, err := read(ctx, p.db, func(ctx context.Context, q *queries.Queries) ([]byte, error) { return q.FindUpload(ctx, fid[:]) })
	if err != nil {
		return upload.File{}, err
	}
	return p.opened(fid, row)
}

// OfUser reads the files of an owner.
func (p *Uploads) OfUser(ctx context.Context, uid id.User) ([]upload.File, error) {
	rows, err := read(ctx, p.db, func(ctx context.Context, q *queries.Queries) ([]queries.ListUploadsRow, error) {
		return q.ListUploads(ctx, uid[:])
	})
	if err != nil {
		return nil, err
	}
	all := make([]upload.File, len(rows))
	for i, row := range rows {
		var fid id.File
		if fixed(fid[:], row.ID) != nil {
			return nil, p.db.unreadable("a file", errDamaged)
		}
		if all[i], err = p.opened(fid, row.Sealed); err != nil {
			return nil, err
		}
	}
	return all, nil
}

func (p *Uploads) opened(fid id.File, sealed []byte) (upload.File, error) {
	plain, err := p.db.open(uploadContext+string(fid[:]), sealed)
	if err != nil {
		return upload.File{}, err
	}
	f, err := decodeUpload(fid, plain)
	if err != nil {
		return upload.File{}, p.db.unreadable("a file", err)
	}
	return f, nil
}

type uploadRecord struct {
	Owner   []byte `json:"owner"`
	Label   string `json:"label"`
	Type    string `json:"type"`
	Size    int64  `json:"size,omitempty"`
	Created int64  `json:"created,omitempty"`
}

func encodeUpload(f upload.File) []byte {
	return encode(uploadRecord{f.Owner[:], f.Label.String(), f.Type, f.Size, int64(f.Created)})
}

func decodeUpload(fid id.File, b []byte) (upload.File, error) {
	var r uploadRecord
	if err := decode(b, &r); err != nil {
		return upload.File{}, err
	}
	f := upload.File{ID: fid, Label: upload.Clean(r.Label), Type: r.Type, Size: r.Size, Created: instant.Instant(r.Created)}
	if fixed(f.Owner[:], r.Owner) != nil || f.Size < 0 {
		return upload.File{}, errDamaged
	}
	return f, nil
}
