package badgerstore

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/badger/v4/table"
)

// tableIDs are tables by their numbers, each with what tells it from another table of that number. A table is never changed.
type tableIDs map[uint64]tableID

type tableID struct {
	Size     int64 `json:"size"`
	Modified int64 `json:"modified"` // nanoseconds since 1970
}

// checkedFile names the tables that were read whole once, and were sound. It is missing while Badger opens them: if it dies over one of them, all are read the next time.
const checkedFile = "CHECKED"

// budget is how many bytes of tables that were sound once are read again at each start, which takes 0.1 s. So a start takes no longer, however much is kept.
const budget = 256 << 20

// tableChecks are the tables that this process has read whole, and those that it was told of.
type tableChecks struct {
	mu         sync.Mutex
	read, told tableIDs
}

// check reads the tables that the manifest names, with all their sums, but for those above the budget that were sound once: they are left to recheck. Badger would end the whole
// process at some damaged tables, go on without others, and end an iteration in silence where a block is damaged.
func (c *tableChecks) check(dir string, manifest *os.File, budget int64) error {
	named, err := namedTables(manifest)
	if err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.read, c.told = tableIDs{}, nil
	if b, err := os.ReadFile(filepath.Join(dir, checkedFile)); err != nil || json.Unmarshal(b, &c.told) != nil {
		c.told = nil // missing, half written, damaged: then all are read
	}
	var room []byte
	for _, number := range named {
		id, err := identify(dir, number)
		if err != nil {
			return err
		}
		if c.told[number] == id {
			if budget -= id.Size; budget < 0 {
				continue
			}
		}
		if room, err = checkTable(dir, number, room); err != nil {
			return err
		}
		c.read[number] = id
	}
	return nil
}

// note writes down which tables are sound.
func (c *tableChecks) note(dir string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	sound := maps.Clone(c.told)
	if sound == nil {
		sound = tableIDs{}
	}
	maps.Copy(sound, c.read)
	for number := range sound {
		if id, err := identify(dir, number); err != nil || id != sound[number] {
			delete(sound, number)
		}
	}
	c.told = sound
	b, err := json.Marshal(sound)
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, checkedFile), b, 0o600) // half written it is not read
}

// unnote makes whoever opens the folder next read all tables, until note.
func (c *tableChecks) unnote(dir string) error {
	err := os.Remove(filepath.Join(dir, checkedFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// recheck reads the tables that this process has not read yet: those that check left out, and new ones. It takes half of the time at most, and ends early when stop is closed. Its error
// is damage, which Badger may meet at any moment.
func (c *tableChecks) recheck(dir string, stop <-chan struct{}) error {
	named, err := readManifest(dir)
	if err != nil {
		return nil // that is for the next start to tell
	}
	changed := false
	var room []byte
	for _, number := range named {
		id, err := identify(dir, number)
		c.mu.Lock()
		done := err == nil && c.read[number] == id
		c.mu.Unlock()
		if done {
			continue
		}
		start := time.Now()
		if room, err = checkTable(dir, number, room); err != nil {
			if still, failed := readManifest(dir); failed != nil || !slices.Contains(still, number) {
				continue // no file can be opened, or this table was merged into others meanwhile
			}
			return err
		}
		c.mu.Lock()
		if c.read == nil { // the folder was empty when it was opened
			c.read = tableIDs{}
		}
		c.read[number] = id
		c.mu.Unlock()
		changed = true
		select {
		case <-stop:
			return nil
		case <-time.After(time.Since(start)):
		}
	}
	if changed {
		_ = c.note(dir) // without it the next start takes longer
	}
	return nil
}

func readManifest(dir string) ([]uint64, error) {
	manifest, err := os.Open(filepath.Join(dir, badger.ManifestFilename))
	if err != nil {
		return nil, err
	}
	defer manifest.Close()
	return namedTables(manifest)
}

// namedTables answers the numbers of the tables that a manifest names, the newest first.
func namedTables(manifest *os.File) (numbers []uint64, err error) {
	defer func() { // a length is used before it is checked
		if p := recover(); p != nil {
			err = fmt.Errorf("%s is damaged", badger.ManifestFilename)
		}
	}()
	if _, err := manifest.Seek(0, io.SeekStart); err != nil {
		return nil, err
	}
	m, _, err := badger.ReplayManifestFile(manifest, owner, badger.Options{})
	if err != nil {
		return nil, fmt.Errorf("%s: %w", badger.ManifestFilename, err)
	}
	return slices.SortedFunc(maps.Keys(m.Tables), func(a, b uint64) int { return int(b) - int(a) }), nil
}

func identify(dir string, number uint64) (tableID, error) {
	path := table.NewFilename(number, dir)
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return tableID{}, fmt.Errorf("%s is missing", filepath.Base(path))
	case err != nil:
		return tableID{}, err
	}
	return tableID{info.Size(), info.ModTime().UnixNano()}, nil
}

// checkTable reads a table into room, which it answers to be used again, and looks at all sums.
func checkTable(dir string, number uint64, room []byte) (_ []byte, err error) {
	path := table.NewFilename(number, dir)
	name := filepath.Base(path)
	defer func() { // a length is used before it is checked
		if p := recover(); p != nil {
			err = fmt.Errorf("%s is damaged", name)
		}
	}()
	if room, err = read(path, room); err != nil {
		return room, err
	}
	t, err := table.OpenInMemoryTable(room, number, &table.Options{})
	if err != nil {
		return room, fmt.Errorf("%s: %w", name, err)
	}
	if err := t.VerifyChecksum(); err != nil {
		return room, fmt.Errorf("%s: %w", name, err)
	}
	return room, nil
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
