package badgerstore

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/xteam/xteam/ports"
)

// room is what the free space allows. A later one takes less.
type room int32

const (
	ample  room = iota // everything is taken
	low                // below the floor: nothing new
	scarce             // the reserve is given up too: nothing new
	full               // nothing is written
)

const (
	// reserveFile takes up room that can be given back.
	reserveFile = "RESERVE"
	// reserveSize is how much, in bytes.
	reserveSize = 32 << 20
	// watchEvery is how often the free space is asked for, beside the beginning of each log.
	watchEvery = time.Second
)

// space watches the free space of the folder's file system. A floor of 0 watches nothing.
type space struct {
	dir      string
	log      *slog.Logger
	ask      func(dir string) (free int64, err error)
	floor    int64 // below it nothing new is taken, in bytes
	memtable int64 // Badger's MemTableSize

	room atomic.Int32
	free atomic.Int64 // in bytes, when it was last asked for; -1 when it could not be told

	mu      sync.Mutex // guards what follows, and the reserve
	held    bool       // the reserve lies in the folder
	without bool       // it cannot be made, and not for lack of space
	holes   bool       // the blocks of a log cannot be allocated ahead: it is written where the disk may have none left
	blind   bool       // the free space cannot be told
}

func newSpace(dir string, log *slog.Logger, o Options) *space {
	s := &space{dir: dir, log: log, ask: o.Free, floor: max(o.MinFreeSpace, 0), memtable: badgerOptions(dir, o, nil).MemTableSize}
	if s.ask == nil {
		s.ask = freeSpace
	}
	s.free.Store(-1)
	return s
}

// Space answers how many bytes were free on the folder's file system when it was last asked for, at most a second ago, or -1 when that is not known; and why not everything is
// taken: nil, an error that matches ports.ErrNoSpace while nothing new is, or one that matches ports.ErrUnavailable alone while nothing is written.
func (db *DB) Space() (free int64, err error) {
	switch room(db.space.room.Load()) {
	case ample:
	case full:
		err = db.unavailable("write to", errors.New("its disk is full"))
	default:
		err = ports.ErrNoSpace
	}
	return db.space.free.Load(), err
}

// refusesNew answers why nothing new is taken: users, sessions, API keys.
func (s *space) refusesNew() error {
	if room(s.room.Load()) == ample {
		return nil
	}
	return ports.ErrNoSpace
}

// refuses answers why nothing is written.
func (s *space) refuses() error {
	if room(s.room.Load()) != full {
		return nil
	}
	return fmt.Errorf("write to the data folder %s, whose disk is full: %w", s.dir, ports.ErrNoSpace)
}

// table is an upper bound of a table that Badger makes of a memtable, in bytes: the memtable, the largest transaction (15%) and the index.
func (s *space) table() int64 { return s.memtable * 5 / 4 }

// forOpening is what must be free before Badger is opened, in bytes: it writes into the holes of its files, and a hole for which the disk has no block kills the process. These are the
// blocks of a new log; three tables, of two memtables that wait and of the one that is written; and what two compactions write before what they read is deleted, which is
// at most all tables, and not more than some twelve: those of level 0 with what they overlap, and one of a deeper level with its ten.
func (s *space) forOpening() int64 {
	need := 2*s.memtable + 3*s.table() + tableBytes(s.dir, 12*s.table())
	if s.holes {
		need += 4 * s.memtable
	}
	return need
}

// forWriting is what must be free while anything is committed, in bytes. It is a table more than an opening takes: so a store that fills its disk by itself can be opened again.
func (s *space) forWriting() int64 { return s.forOpening() + s.table() }

// watch looks until the store is closed.
func (s *space) watch(closing <-chan struct{}) {
	tick := time.NewTicker(watchEvery)
	defer tick.Stop()
	for {
		select {
		case <-closing:
			return
		case <-tick.C:
			s.look()
		}
	}
}

// look asks for the free space, gives the reserve up or makes it again, and says when something changes.
func (s *space) look() {
	if s.floor == 0 {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	free, ok := s.left()
	if !ok {
		return // what was true before is believed
	}
	need := s.forWriting()
	was := room(s.room.Load())
	switch {
	case free < need && s.held:
		s.giveUp()
		free, ok = s.left()
	case free >= need+2*reserveSize && !s.held && !s.without:
		s.makeReserve()
		free, ok = s.left()
	}
	if !ok {
		return
	}
	now := ample
	switch {
	case free < need, was == full && free < need+s.table():
		now = full
	case !s.held && !s.without:
		now = scarce
	case free < s.floor, was != ample && free < s.floor+s.floor/8: // a little more than the floor, so that it does not change with every write
		now = low
	}
	s.room.Store(int32(now))
	s.tell(was, now, free)
}

// left asks for the free space. The caller holds the lock.
func (s *space) left() (free int64, ok bool) {
	free, err := s.ask(s.dir)
	if err != nil {
		s.free.Store(-1)
		if !s.blind {
			s.log.Warn("the free space cannot be told, and is not watched", "folder", s.dir, "error", err)
		}
		s.blind = true
		return 0, false
	}
	s.blind = false
	s.free.Store(free)
	return free, true
}

// tell says what has changed.
func (s *space) tell(was, now room, free int64) {
	if was == now {
		return
	}
	about := []any{"folder", s.dir, "free_bytes", free, "floor_bytes", s.floor}
	switch {
	case now == ample:
		s.log.Info("there is room again: the store takes everything", about...)
	case now == full:
		s.log.Error("the disk is full: the store is read, and nothing is written until there is room", about...)
	case was == full:
		s.log.Warn("there is a little room: the store takes revocations and events again, and nothing new", about...)
	case now == scarce:
		s.log.Warn("space is scarce: revocations and events go on from the reserve of the store, which takes nothing new until there is room for it again", about...)
	case was == scarce:
		s.log.Info("the reserve of the store is made again; nothing new is taken yet", about...)
	default:
		s.log.Warn("space is low: the store takes no new users, sessions and API keys until there is more", about...)
	}
}

// enter makes sure that Badger can be opened without being killed. The caller knows that the folder is nobody else's.
func (s *space) enter() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	info, err := os.Stat(filepath.Join(s.dir, reserveFile))
	s.held = err == nil && info.Size() == reserveSize
	if err == nil && (!s.held || s.floor == 0) {
		s.giveUp()
	}
	if s.floor == 0 {
		return nil
	}
	free, ok := s.left()
	need := s.forOpening()
	if ok && free < need && s.held {
		s.giveUp()
		free, ok = s.left()
	}
	if ok && free < need {
		return fmt.Errorf("the disk of the data folder %s is full: it has %d MiB free, and to open the store takes %d: make room on it", s.dir, free>>20, (need+1<<20-1)>>20)
	}
	return nil
}

// leave makes room for the table that Badger writes when it is closed, and answers why it must not be.
func (s *space) leave() error {
	if s.floor == 0 {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	need := 3 * s.table()
	free, ok := s.left()
	if ok && free < need && s.held {
		s.giveUp()
		free, ok = s.left()
	}
	if ok && free < need {
		return errors.New("its disk is full; what was acknowledged is there when it is opened again")
	}
	return nil
}

// begun gives a log its blocks. Badger only says how long it shall be, and writes where the disk may have no block left.
func (s *space) begun(log string) {
	if s.floor == 0 {
		return
	}
	if err := allocateFile(log, 2*s.memtable); err != nil && !errors.Is(err, syscall.ENOSPC) && !errors.Is(err, fs.ErrNotExist) {
		s.mu.Lock()
		if !s.holes {
			s.log.Debug("the file system does not give blocks ahead: more of it is kept free", "folder", s.dir, "error", err)
		}
		s.holes = true
		s.mu.Unlock()
	}
	s.look()
}

// giveUp deletes the reserve.
func (s *space) giveUp() {
	if err := os.Remove(filepath.Join(s.dir, reserveFile)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		s.log.Warn("the reserve cannot be given up", "folder", s.dir, "error", err)
	}
	s.held = false
}

// makeReserve makes the reserve.
func (s *space) makeReserve() {
	path := filepath.Join(s.dir, reserveFile)
	err := makeFile(path, reserveSize)
	if s.held = err == nil; s.held {
		return
	}
	_ = os.Remove(path)
	if errors.Is(err, syscall.ENOSPC) {
		return
	}
	s.without = true
	s.log.Warn("the store has no reserve of space", "folder", s.dir, "error", err)
}

// makeFile makes a file whose blocks are its own.
func makeFile(path string, size int64) (err error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = cmp.Or(err, f.Close()) }()
	if err := allocate(f, size); err != nil {
		return err
	}
	return f.Truncate(size)
}

// allocateFile gives an existing file the blocks that it may need, up to size, and leaves its length.
func allocateFile(path string, size int64) (err error) {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer func() { err = cmp.Or(err, f.Close()) }()
	return allocate(f, size)
}

// tableBytes is how much the tables in the folder are, in bytes, or most.
func tableBytes(dir string, most int64) (sum int64) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return most
	}
	for _, entry := range entries {
		if sum >= most {
			return most
		}
		if !strings.HasSuffix(entry.Name(), ".sst") {
			continue
		}
		if info, err := entry.Info(); err == nil { // else it has just been deleted
			sum += info.Size()
		}
	}
	return min(sum, most)
}
