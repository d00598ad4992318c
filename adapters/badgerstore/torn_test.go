package badgerstore_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/xteam/xteam/adapters/badgerstore"
	"github.com/xteam/xteam/domain/revocation"
)

// damage is what may have become of the last bytes of a file.
var damage = map[string]func(t *testing.T, path string, end, n int){
	"cut off": func(t *testing.T, path string, end, n int) {
		if err := os.Truncate(path, int64(end-n)); err != nil {
			t.Fatal(err)
		}
	},
	"zero": func(t *testing.T, path string, end, n int) { overwrite(t, path, end-n, make([]byte, n)) },
	"ones": func(t *testing.T, path string, end, n int) {
		overwrite(t, path, end-n, bytes.Repeat([]byte{0xff}, n))
	},
	"one byte flipped": func(t *testing.T, path string, end, n int) {
		data := must(os.ReadFile(path))
		overwrite(t, path, end-n, []byte{data[end-n] ^ 0x81})
	},
	"one length flipped": func(t *testing.T, path string, end, n int) { // to one near 2^32, if there is a length here
		overwrite(t, path, end-n, []byte{0xff, 0xff, 0xff, 0xff, 0x0f})
	},
}

func overwrite(t *testing.T, path string, at int, b []byte) {
	t.Helper()
	f := must(os.OpenFile(path, os.O_RDWR, 0))
	defer f.Close()
	if _, err := f.WriteAt(b, int64(at)); err != nil {
		t.Fatal(err)
	}
}

// TestTornFiles damages the last bytes of each file of a store that was killed. It opens again without what was in them, or refuses with a sentence.
func TestTornFiles(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	s := open(t, dir)
	var order []revocation.Entry
	record := func(n int) {
		for range n {
			e := tokenEntry(time.Hour)
			if err := s.Revocations().Record(t.Context(), e); err != nil {
				t.Fatal(err)
			}
			order = append(order, e)
		}
	}
	record(100)
	s.close(t) // so that there are tables
	s = open(t, dir)
	inTables := len(order)
	record(200)
	killed := copyFolder(t, dir)
	s.close(t)

	for _, entry := range must(os.ReadDir(killed)) {
		name := entry.Name()
		if name == "LOCK" {
			continue
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			log := filepath.Ext(name) == ".mem" // of the entries that are in no table yet
			data := must(os.ReadFile(filepath.Join(killed, name)))
			end, sizes := len(data), []int{1, 64, 4096}
			if log {
				end = len(bytes.TrimRight(data, "\x00")) // the rest of the file is room
				sizes = []int{1, 2, 5, 33, 100, 150, 1000, 4096}
			}
			for what, do := range damage {
				for _, n := range sizes {
					if n > end {
						continue
					}
					folder := copyFolder(t, killed)
					do(t, filepath.Join(folder, name), end, n)
					least := len(order)
					torn := log && (what == "cut off" || what == "zero") // as a crash leaves it
					switch {
					case log && strings.HasPrefix(what, "one "):
						least = len(order) - 1 // or it refuses
					case log:
						least = len(order) - 1 - n/60 // no call adds less than 60 bytes
					}
					if least < inTables {
						t.Fatalf("the test damages more than the log holds: %d bytes", n)
					}
					if err := survivors(t, folder, order, least); err != nil && (torn || !errors.Is(err, errRefused)) {
						t.Errorf("%s, %d bytes: %v", what, n, err)
					}
					if err := os.RemoveAll(folder); err != nil {
						t.Fatal(err)
					}
				}
			}
		})
	}
}

// survivors opens a folder and looks for the entries that were recorded in that order: the first of them, and at least that many. A refusal will do, when it is a sentence.
func survivors(t *testing.T, folder string, order []revocation.Entry, least int) error {
	t.Helper()
	db, err := badgerstore.Open(folder, badgerstore.Options{UnsafeNoSync: true})
	if err != nil {
		if strings.Contains(err.Error(), "\n") || !strings.Contains(err.Error(), folder) {
			return fmt.Errorf("got %q, want one sentence", err)
		}
		return errRefused
	}
	defer store{db}.close(t)
	db.Unlock(sealer{})
	got := store{db}.all(t)
	if len(got) < least {
		return fmt.Errorf("%d of %d entries are left, want at least %d", len(got), len(order), least)
	}
	for i, e := range order[:len(got)] {
		if got[e.Key()] != e {
			return fmt.Errorf("%d entries are left, and entry %d is not among them", len(got), i)
		}
	}
	return nil
}

var errRefused = errors.New("refused")
