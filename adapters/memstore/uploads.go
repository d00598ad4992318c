package memstore

import (
	"bytes"
	"cmp"
	"context"
	"slices"

	"github.com/xteam/xteam/domain/id"
	"github.com/xteam/xteam/domain/upload"
	"github.com/xteam/xteam/ports"
)

// Uploads is the store's ports.Uploads.
type Uploads struct{ s *Store }

var _ ports.Uploads = Uploads{}

// Uploads answers the port of files.
func (s *Store) Uploads() Uploads { return Uploads{s} }

// Create stores a new file with its effects, or fails with ports.ErrTaken.
func (p Uploads) Create(ctx context.Context, f upload.File, e ports.Effects) error {
	return p.s.commit(ctx, e, func() error {
		if _, taken := p.s.uploads[f.ID]; taken {
			return ports.ErrTaken
		}
		p.s.uploads[f.ID] = f
		return nil
	})
}

// Delete takes a file away, or fails with ports.ErrNotFound.
func (p Uploads) Delete(ctx context.Context, fid id.File, e ports.Effects) error {
	return p.s.commit(ctx, e, func() error {
		if _, ok := p.s.uploads[fid]; !ok {
			return ports.ErrNotFound
		}
		delete(p.s.uploads, fid)
		return nil
	})
}

// Find answers the file, or ports.ErrNotFound.
func (p Uploads) Find(ctx context.Context, fid id.File) (f upload.File, err error) {
	ok := false
	if err := p.s.read(ctx, func() { f, ok = p.s.uploads[fid] }); err != nil {
		return upload.File{}, err
	}
	if !ok {
		return upload.File{}, ports.ErrNotFound
	}
	return f, nil
}

// OfUser answers all files of an owner, oldest first.
func (p Uploads) OfUser(ctx context.Context, uid id.User) (all []upload.File, err error) {
	if err := p.s.read(ctx, func() {
		for _, f := range p.s.uploads {
			if f.Owner == uid {
				all = append(all, f)
			}
		}
	}); err != nil {
		return nil, err
	}
	slices.SortFunc(all, func(a, b upload.File) int {
		return cmp.Or(cmp.Compare(a.Created, b.Created), bytes.Compare(a.ID[:], b.ID[:]))
	})
	return all, nil
}
