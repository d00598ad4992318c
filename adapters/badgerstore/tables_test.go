package badgerstore_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/xteam/xteam/adapters/badgerstore"
	"github.com/xteam/xteam/domain/revocation"
	"github.com/xteam/xteam/ports"
)

// sound is a folder with one table, which was read whole when it was opened the last time. It answers the path of the table.
func sound(t *testing.T, dir string) (path string) {
	t.Helper()
	s := open(t, dir)
	if err := s.Revocations().Record(t.Context(), tokenEntry(time.Hour)); err != nil {
		t.Fatal(err)
	}
	s.close(t)
	open(t, dir).close(t)
	tables := must(filepath.Glob(filepath.Join(dir, "*.sst")))
	if len(tables) != 1 {
		t.Fatalf("got tables %q, want one", tables)
	}
	return tables[0]
}

// spoil flips a byte of an entry, and lets it look as old as it was.
func spoil(t *testing.T, path string) {
	t.Helper()
	info := must(os.Stat(path))
	data := must(os.ReadFile(path))
	place := bytes.Index(data, []byte("operator")) // who asked for the entry
	overwrite(t, path, place, []byte{data[place] ^ 1})
	if err := os.Chtimes(path, time.Time{}, info.ModTime()); err != nil {
		t.Fatal(err)
	}
}

func TestADamagedTableIsRefused(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	spoil(t, sound(t, dir))
	refused(t, dir, "checksum")
}

// TestATableIsNotReadTwice: beyond its budget Open leaves tables that were sound once to housekeeping. A new one, one that was changed, and all of them when the note is gone, it reads.
func TestATableIsNotReadTwice(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	path := sound(t, dir)
	data := must(os.ReadFile(path))
	spoil(t, path)
	var log logged
	s := store{must(badgerstore.Open(dir, badgerstore.Untold(badgerstore.Options{Logger: log.logger()})))}
	eventually(t, "it is found all the same", func() bool { _, err := s.System().Load(t.Context()); return errors.Is(err, ports.ErrUnavailable) })
	eventually(t, "it is refused", func() bool { return len(log.lines(t)) >= 2 })
	s.close(t)
	want := []string{"ERROR the store has failed; it answers nothing until it has been opened again", "WARN the store cannot be opened again yet"}
	if got := log.lines(t); !slices.Equal(got, want) {
		t.Errorf("logged:\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	untold := badgerstore.Untold(badgerstore.Options{})
	if _, err := badgerstore.Open(dir, untold); err == nil || !strings.Contains(err.Error(), "checksum") {
		t.Errorf("after that: got %v, want that it is damaged", err)
	}

	overwrite(t, path, 0, data)
	db := must(badgerstore.Open(dir, untold))
	store{db}.close(t)
	spoil(t, path)
	if err := os.Chtimes(path, time.Time{}, time.Now()); err != nil {
		t.Fatal(err)
	}
	if _, err := badgerstore.Open(dir, untold); err == nil || !strings.Contains(err.Error(), "checksum") {
		t.Errorf("a table that was changed: got %v, want that it is damaged", err)
	}

	overwrite(t, path, 0, data)
	store{must(badgerstore.Open(dir, untold))}.close(t)
	spoil(t, path)
	overwrite(t, filepath.Join(dir, "CHECKED"), 0, []byte("}"))
	if _, err := badgerstore.Open(dir, untold); err == nil || !strings.Contains(err.Error(), "checksum") {
		t.Errorf("without the note: got %v, want that it is damaged", err)
	}
}

// TestATableOfANewFolder: what a folder that was empty at its opening has come to hold is read by housekeeping, and noted, while it is open.
func TestATableOfANewFolder(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	db := must(badgerstore.Open(dir, badgerstore.Options{Collect: 10 * time.Millisecond}))
	s := store{db}
	defer s.close(t)
	db.Unlock(sealer{})
	entries := make([]revocation.Entry, 2000)
	eventually(t, "there is a table", func() bool {
		for i := range entries {
			entries[i] = tokenEntry(time.Hour)
			entries[i].Note = strings.Repeat("n", 500)
		}
		if err := s.Revocations().Record(t.Context(), entries...); err != nil {
			t.Fatal(err)
		}
		return len(must(filepath.Glob(filepath.Join(dir, "*.sst")))) > 0
	})
	eventually(t, "it is noted", func() bool {
		noted, err := os.ReadFile(filepath.Join(dir, "CHECKED"))
		return err == nil && bytes.Contains(noted, []byte("modified"))
	})
}
