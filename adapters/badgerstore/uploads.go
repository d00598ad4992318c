package badgerstore

import (
	"context"
	"encoding/binary"

	"github.com/dgraph-io/badger/v4"

	"github.com/xteam/xteam/domain/id"
	"github.com/xteam/xteam/domain/instant"
	"github.com/xteam/xteam/domain/upload"
	"github.com/xteam/xteam/ports"
)

// Uploads is the port of files.
type Uploads struct{ db *DB }

var _ ports.Uploads = (*Uploads)(nil)

// Uploads answers the port of files.
func (db *DB) Uploads() *Uploads { return &Uploads{db} }

// Create stores a new file. Files share the locks of sessions.
func (p *Uploads) Create(ctx context.Context, f upload.File, e ports.Effects) error {
	if err := p.db.space.refusesNew(); err != nil {
		return err
	}
	return p.db.write(ctx, p.db.sessionLocks, uploadKey(f.ID), func(w *writeSet) error {
		if err := p.db.absent(ctx, uploadKey(f.ID)); err != nil {
			return err
		}
		w.sets = append(w.sets, badger.NewEntry(uploadOfUser(&f), nil))
		if err := p.db.setSealed(w, uploadKey(f.ID), encodeUpload(&f), 0); err != nil {
			return err
		}
		return p.db.effects(w, e)
	})
}

// Delete takes a file away under the lock of its id.
func (p *Uploads) Delete(ctx context.Context, fid id.File, e ports.Effects) error {
	return p.db.write(ctx, p.db.sessionLocks, uploadKey(fid), func(w *writeSet) error {
		f, err := p.Find(ctx, fid)
		if err != nil {
			return err
		}
		w.deletes = append(w.deletes, uploadKey(fid), uploadOfUser(&f))
		return p.db.effects(w, e)
	})
}

// Find reads one file.
func (p *Uploads) Find(ctx context.Context, fid id.File) (f upload.File, err error) {
	err = p.db.view(ctx, func(txn *badger.Txn) error {
		f, err = p.find(txn, fid)
		return err
	})
	return f, err
}

// OfUser reads the files of an owner by their list.
func (p *Uploads) OfUser(ctx context.Context, uid id.User) (all []upload.File, err error) {
	err = p.db.view(ctx, func(txn *badger.Txn) error {
		it := txn.NewIterator(badger.IteratorOptions{Prefix: uploadsOf(uid)})
		defer it.Close()
		for it.Rewind(); it.Valid(); it.Next() {
			key := it.Item().Key()
			f, err := p.find(txn, id.File(key[len(key)-len(id.File{}):]))
			if err != nil {
				return err
			}
			all = append(all, f)
		}
		return nil
	})
	return all, err
}

func (p *Uploads) find(txn *badger.Txn, fid id.File) (upload.File, error) {
	plain, err := p.db.getSealed(txn, uploadKey(fid))
	if err != nil {
		return upload.File{}, err
	}
	f, err := decodeUpload(fid, plain)
	if err != nil {
		return upload.File{}, p.db.unreadable("a file", err)
	}
	return f, nil
}

func uploadKey(fid id.File) []byte { return append([]byte(uploadPrefix), fid[:]...) }

func uploadsOf(uid id.User) []byte { return append([]byte(uploaderPrefix), uid[:]...) }

// uploadOfUser is the key by which a file is found among those of its owner, in the order of their creation.
func uploadOfUser(f *upload.File) []byte {
	b := binary.BigEndian.AppendUint64(uploadsOf(f.Owner), uint64(f.Created)^1<<63)
	return append(b, f.ID[:]...)
}

func encodeUpload(f *upload.File) []byte {
	e := newEncoder()
	e.bytes(1, f.Owner[:])
	e.text(2, f.Label.String())
	e.text(3, f.Type)
	e.int(4, f.Size)
	e.int(5, int64(f.Created))
	return e
}

func decodeUpload(fid id.File, value []byte) (upload.File, error) {
	f := upload.File{ID: fid}
	err := decode(value, func(v field) {
		switch v.tag {
		case 1:
			v.copy(f.Owner[:])
		case 2:
			f.Label = upload.Clean(v.text())
		case 3:
			f.Type = v.text()
		case 4:
			f.Size = v.int()
		case 5:
			f.Created = instant.Instant(v.int())
		default:
			v.unknown()
		}
	})
	if err == nil && f.Size < 0 {
		err = errDamaged
	}
	return f, err
}
