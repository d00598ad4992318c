package badgerstore_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/xteam/xteam/adapters/badgerstore"
	"github.com/xteam/xteam/domain/account"
	"github.com/xteam/xteam/domain/apikey"
	"github.com/xteam/xteam/domain/id"
	"github.com/xteam/xteam/domain/session"
	"github.com/xteam/xteam/domain/upload"
	"github.com/xteam/xteam/ports"
)

// disk is a file system on which only the reserve and others take room.
type disk struct{ free atomic.Int64 }

func (d *disk) ask(dir string) (int64, error) {
	free := d.free.Load()
	if free < 0 {
		return 0, errors.New("the disk does not say")
	}
	if _, err := os.Stat(filepath.Join(dir, badgerstore.ReserveFile)); err == nil {
		free -= badgerstore.ReserveSize
	}
	return max(free, 0), nil
}

const mib = 1 << 20

func (s store) creations() map[string]func() error {
	ctx := context.Background()
	return map[string]func() error{
		"Accounts.Create": func() error {
			return s.Accounts().Create(ctx, account.Account{ID: newID[id.User](), Email: must(account.ParseEmail(strings.ToLower(newName()) + "@example.com"))}, ports.Effects{})
		},
		"Sessions.Create": func() error { return s.Sessions().Create(ctx, aSession(), ports.Effects{}) },
		"APIKeys.Create": func() error {
			return s.APIKeys().Create(ctx, apikey.Key{ID: newID[id.APIKey](), Owner: newID[id.User](), Created: now()}, ports.Effects{})
		},
		"Uploads.Create": func() error {
			return s.Uploads().Create(ctx, upload.File{ID: newID[id.File](), Owner: newID[id.User](), Label: upload.Clean("a.md"), Created: now()}, ports.Effects{})
		},
	}
}

func newName() string { return newID[id.User]().String() }

// others are the writes that go on while nothing new is taken.
func (s store) others(x session.Session) map[string]func() error {
	ctx := context.Background()
	return map[string]func() error{
		"Revocations.Record": func() error { return s.Revocations().Record(ctx, tokenEntry(time.Hour)) },
		"Events.Record":      func() error { return s.Events().Record(ctx, anEvent()) },
		"Sessions.Update": func() error {
			return s.Sessions().Update(ctx, x.ID, func(x session.Session) (session.Session, ports.Effects, error) {
				x.Counter++
				return x, ports.Effects{}, nil
			})
		},
	}
}

func TestSpace(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	var d disk
	var log logged
	const floor = 256 * mib
	d.free.Store(1 << 40)
	options := badgerstore.Options{Logger: log.logger(), MinFreeSpace: floor, Free: d.ask}
	s := store{must(badgerstore.Open(dir, options))}
	s.Unlock(sealer{})
	x := aSession()
	if err := s.Sessions().Create(t.Context(), x, ports.Effects{}); err != nil {
		t.Fatal(err)
	}
	_, need := s.Needs()
	reserved := func() bool {
		size, err := fileSize(filepath.Join(dir, badgerstore.ReserveFile))
		return err == nil && size == badgerstore.ReserveSize
	}
	for _, at := range []struct {
		what          string
		free          int64 // with the reserve still there
		new, rest     error
		reserve, tell bool
	}{
		{"at the floor", floor, nil, nil, true, true},
		{"below the floor", floor - 1, ports.ErrNoSpace, nil, true, true},
		{"barely above it again", floor + 1, ports.ErrNoSpace, nil, true, true},
		{"well above it", floor + floor/8, nil, nil, true, true},
		{"below what it needs", need - 1, ports.ErrNoSpace, nil, false, true},
		{"and a little more", need + badgerstore.ReserveSize - 1, ports.ErrNoSpace, nil, false, true},
		{"and without the reserve", need - badgerstore.ReserveSize - 1, ports.ErrNoSpace, ports.ErrNoSpace, false, true},
		{"nothing", -badgerstore.ReserveSize, ports.ErrNoSpace, ports.ErrNoSpace, false, true},
		{"when it is not told", -badgerstore.ReserveSize - 1, ports.ErrNoSpace, ports.ErrNoSpace, false, false},
		{"a little again", need, ports.ErrNoSpace, nil, false, true},
		{"room for the reserve", need + badgerstore.ReserveSize, ports.ErrNoSpace, nil, true, true},
		{"all of it", 1 << 40, nil, nil, true, true},
	} {
		d.free.Store(at.free + badgerstore.ReserveSize)
		s.Look()
		for what, create := range s.creations() {
			if err := create(); !errors.Is(err, at.new) || at.new == nil && err != nil {
				t.Errorf("%s: %s: got %v, want %v", at.what, what, err, at.new)
			}
		}
		for what, write := range s.others(x) {
			if err := write(); !errors.Is(err, at.rest) || at.rest == nil && err != nil {
				t.Errorf("%s: %s: got %v, want %v", at.what, what, err, at.rest)
			}
		}
		if _, err := s.Sessions().Find(t.Context(), x.ID); err != nil {
			t.Errorf("%s: a read: %v", at.what, err)
		}
		if got := reserved(); got != at.reserve {
			t.Errorf("%s: the reserve is there: %v, want %v", at.what, got, at.reserve)
		}
		free, err := s.Space()
		if (free >= 0) != at.tell {
			t.Errorf("%s: got %d bytes free", at.what, free)
		}
		switch {
		case at.new == nil && err != nil, at.new != nil && at.rest == nil && !errors.Is(err, ports.ErrNoSpace),
			at.rest != nil && (!errors.Is(err, ports.ErrUnavailable) || errors.Is(err, ports.ErrNoSpace)):
			t.Errorf("%s: Space: got %v", at.what, err)
		}
	}
	s.close(t)
	want := []string{
		"WARN space is low", "INFO there is room again", "WARN space is scarce", "ERROR the disk is full", "WARN the free space cannot be told", "WARN there is a little room",
		"INFO the reserve of the store is made again", "INFO there is room again",
	}
	if got := log.lines(t); !slices.EqualFunc(got, want, strings.HasPrefix) {
		t.Errorf("logged:\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// TestSpaceForOpening: Badger writes when it is opened and when it is closed, and dies when it cannot.
func TestSpaceForOpening(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	var d disk
	d.free.Store(1 << 40)
	options := badgerstore.Options{MinFreeSpace: 1, Free: d.ask}
	s := store{must(badgerstore.Open(dir, options))}
	s.Unlock(sealer{})
	need, _ := s.Needs()
	s.close(t)

	d.free.Store(need - 1) // once the reserve is given up
	if db, err := badgerstore.Open(dir, options); err == nil || !strings.Contains(err.Error(), dir+" is full") {
		t.Fatalf("got %v, %v, want that the disk is full", db, err)
	}
	d.free.Store(need + mib) // and the table that was written when it was closed
	s = store{must(badgerstore.Open(dir, options))}
	if err := s.Revocations().Record(t.Context(), tokenEntry(time.Hour)); !errors.Is(err, ports.ErrNoSpace) {
		t.Errorf("got %v, want ErrNoSpace", err)
	}
	s.close(t)

	options.MinFreeSpace = 0
	d.free.Store(1)
	s = store{must(badgerstore.Open(dir, options))}
	s.Unlock(sealer{})
	for what, create := range s.creations() {
		if err := create(); err != nil {
			t.Errorf("nothing is watched: %s: %v", what, err)
		}
	}
	s.close(t)
}

// TestSpaceForClosing: a store whose disk is full is left as a crash would leave it.
func TestSpaceForClosing(t *testing.T) {
	var d disk
	d.free.Store(1 << 40)
	dir := filepath.Join(t.TempDir(), "data")
	s := store{must(badgerstore.Open(dir, badgerstore.Options{MinFreeSpace: 1, Free: d.ask}))}
	defer func() { _ = s.Break() }()
	d.free.Store(0)
	if err := s.Close(); err == nil || !strings.Contains(err.Error(), "its disk is full") {
		t.Errorf("got %v, want that the disk is full", err)
	}
}
