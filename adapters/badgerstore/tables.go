package badgerstore

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/badger/v4/table"
)

// checkTables reads each table that the manifest names, with all its checksums. Badger would end the whole process at some damaged tables, go on without
// others, and end an iteration in silence where a block is damaged. It takes 0.3 s for each gigabyte.
func checkTables(dir string, manifest *os.File) (err error) {
	var name string
	defer func() { // a length is used before it is checked
		if p := recover(); p != nil {
			err = fmt.Errorf("%s is damaged", name)
		}
	}()
	name = filepath.Base(manifest.Name())
	if _, err := manifest.Seek(0, io.SeekStart); err != nil {
		return err
	}
	m, _, err := badger.ReplayManifestFile(manifest, owner, badger.Options{})
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	var data []byte
	for number := range m.Tables {
		path := table.NewFilename(number, dir)
		name = filepath.Base(path)
		if data, err = read(path, data); err != nil {
			if errors.Is(err, fs.ErrNotExist) {
				return fmt.Errorf("%s is missing", name)
			}
			return err
		}
		t, err := table.OpenInMemoryTable(data, number, &table.Options{})
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		if err := t.VerifyChecksum(); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	return nil
}

// read reads a file into the room of b, or into new room.
func read(path string, b []byte) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	size := int(info.Size())
	b = slices.Grow(b[:0], size)[:size]
	_, err = io.ReadFull(f, b)
	return b, err
}
