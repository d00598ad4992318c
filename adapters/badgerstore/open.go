package badgerstore

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/badger/v4/options"
)

// Options are what may differ between stores. The zero value works.
type Options struct {
	// Logger hears of what goes wrong, and at debug of what Badger does; nil: nobody does.
	Logger *slog.Logger
	// Collect is how often what has expired is deleted, and room is given back; default an hour.
	Collect time.Duration
	// UnsafeNoSync acknowledges what a loss of power would lose. It is there so that a test can see that it is missed.
	UnsafeNoSync bool
	// MinFreeSpace is the free space of the folder's file system, in bytes, below which nothing new is taken: accounts, sessions, API keys and files are refused with ports.ErrNoSpace, while
	// revocations, changes and events go on. It keeps the process alive too, which a full disk would kill. 0: nothing is watched.
	MinFreeSpace int64
	// Free answers the free space of the file system of a folder, in bytes; default: what the operating system says.
	Free func(dir string) (int64, error)

	// For tests alone.
	tune   func(*badger.Options) // changes Badger's options
	untold bool                  // no table that was sound once is read again by Open
}

const (
	// schema is the number of the layout.
	schema = "1"
	// owner is in the head of Badger's manifest (its external magic version), and tells our folders from those of other programs.
	owner = 0x5854
	// format is the number of Badger's own format that this version of it reads.
	format = 8
)

// Open opens the store in the folder dir, and creates both when they are missing; the folder then belongs to its owner alone (0700). A folder can be open once: in this process or
// another. Close frees it. The error is one sentence for the operator: which folder, what is wrong, what to do.
func Open(dir string, o Options) (*DB, error) {
	log := o.Logger
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("the data folder %q has no absolute path: %w", dir, err)
	}
	if err := create(dir, log); err != nil {
		return nil, err
	}
	db := &DB{
		dir: dir, log: log, options: o, opened: time.Now(), patience: 10 * time.Second, closing: make(chan struct{}),
		accountLocks: newStripes(), sessionLocks: newStripes(), ringLocks: newStripes(), systemLocks: newStripes(), nameLocks: newStripes(),
	}
	db.space = newSpace(dir, log, o)
	position, err := db.start()
	if err != nil {
		return nil, err
	}
	db.commits = newCommitter(db, position)
	go db.commits.run()
	every := o.Collect
	if every <= 0 {
		every = time.Hour
	}
	db.keeping.Go(func() { db.keep(every) })
	if o.MinFreeSpace > 0 {
		db.keeping.Go(func() { db.space.watch(db.closing) })
	}
	return db, nil
}

// start opens Badger, once what is in the folder has been looked at, and answers the position of the last event.
func (db *DB) start() (position uint64, err error) {
	b := &bridge{log: db.log}
	opt := badgerOptions(db.dir, db.options, b)
	last, err := db.inspect(opt.MemTableSize * 15 / 100) // so large is the largest transaction
	if err != nil {
		return 0, err
	}
	if err := db.space.enter(); err != nil {
		return 0, err
	}
	if err := db.tables.unnote(db.dir); err != nil {
		return 0, refusal(db.dir, err)
	}
	inner, err := openBadger(opt)
	for tries := 0; locked(err) && tries < 20; tries++ { // a child that this process is about to start holds what was just closed until it runs its own program
		<-time.After(10 * time.Millisecond)
		inner, err = openBadger(opt)
	}
	if err != nil {
		return 0, refusal(db.dir, err)
	}
	committed, position, err := db.begin(inner, b)
	if err == nil && committed < last {
		err = refusal(db.dir, fmt.Errorf("of %d changes the store found %d in its logs", last, committed))
	}
	if err == nil {
		db.nextLog, err = firstLog(db.dir)
	}
	if err != nil {
		return 0, errors.Join(err, shut(inner))
	}
	db.space.begun(db.logPath(db.nextLog - 1))
	if err := db.tables.note(db.dir); err != nil {
		db.log.Warn("which tables are sound could not be noted: the next start will read all of them", "folder", db.dir, "error", err)
	}
	inner.SetDiscardTs(committed)
	db.known.forgetAll(committed)
	db.committed.Store(committed)
	db.swap(inner)
	return position, nil
}

// create makes the folder when it is missing.
func create(dir string, log *slog.Logger) error {
	switch info, err := os.Stat(dir); {
	case errors.Is(err, fs.ErrNotExist):
		if err := makeFolder(dir); err != nil {
			return refusal(dir, err)
		}
	case err != nil:
		return refusal(dir, err)
	case !info.IsDir():
		return fmt.Errorf("the data folder %s is not a folder but a file: name another one", dir)
	case info.Mode().Perm()&0o077 != 0:
		log.Warn("the data folder is open to other users of this host: chmod 700 it", "folder", dir, "mode", info.Mode().Perm().String())
	}
	return nil
}

// makeFolder makes a folder and those above it, each with its name on the disk.
func makeFolder(dir string) error {
	above := filepath.Dir(dir)
	if _, err := os.Stat(above); errors.Is(err, fs.ErrNotExist) && above != dir {
		if err := makeFolder(above); err != nil {
			return err
		}
	}
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	if err := syncFolder(above); err != nil && !errors.Is(err, fs.ErrPermission) { // it may not be ours to read
		return err
	}
	return nil
}

// inspect looks at what is in the folder before Badger does, which deletes tables that its manifest does not name, and what it cannot read of its logs. It answers the version of the last
// transaction in the logs, or 0.
func (db *DB) inspect(largest int64) (last uint64, err error) {
	dir := db.dir
	release, err := lock(dir)
	if err != nil {
		return 0, refusal(dir, err)
	}
	defer func() { _ = release() }()
	var data []string
	for _, pattern := range []string{"*.sst", "*.vlog", "*.mem"} {
		found, err := filepath.Glob(filepath.Join(escape(dir), pattern))
		if err != nil {
			return 0, refusal(dir, err)
		}
		data = append(data, found...)
	}
	manifest, err := os.Open(filepath.Join(dir, badger.ManifestFilename))
	switch {
	case errors.Is(err, fs.ErrNotExist) && len(data) == 0:
		return 0, nil
	case errors.Is(err, fs.ErrNotExist):
		return 0, fmt.Errorf("the data folder %s has lost its file %s: restore the folder from a backup", dir, badger.ManifestFilename)
	case err != nil:
		return 0, refusal(dir, err)
	}
	defer manifest.Close()
	var head [8]byte
	if _, err := io.ReadFull(manifest, head[:]); err != nil || !bytes.Equal(head[:4], []byte("Bdgr")) {
		return 0, fmt.Errorf("the data folder %s is damaged, or is not one: its file %s has no head; restore it from a backup or name another folder", dir, badger.ManifestFilename)
	}
	if binary.BigEndian.Uint16(head[4:]) != owner {
		return 0, fmt.Errorf("the folder %s belongs to another program that uses Badger: name another data folder", dir)
	}
	if f := binary.BigEndian.Uint16(head[6:]); f != format {
		return 0, fmt.Errorf("the data folder %s has Badger's format %d, and this version of the program reads %d: start the version that wrote it", dir, f, format)
	}
	if last, err = checkLogs(dir, largest, db.log); err != nil {
		return 0, refusal(dir, err)
	}
	again := int64(budget)
	if db.options.untold {
		again = 0
	}
	if err := db.tables.check(dir, manifest, again); err != nil {
		return 0, refusal(dir, err)
	}
	if err := removeEmpty(data); err != nil {
		return 0, refusal(dir, err)
	}
	return last, nil
}

// escape makes a path into a pattern that matches itself only.
func escape(path string) string {
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`).Replace(path)
}

func badgerOptions(dir string, o Options, b *bridge) badger.Options {
	opt := badger.DefaultOptions(dir)
	opt.Logger = b
	opt.SyncWrites = !o.UnsafeNoSync
	opt.MetricsEnabled = false
	opt.DetectConflicts = false
	opt.ExternalMagicVersion = owner
	// The memtables are most of the memory of an idle process; the caches would be the rest.
	opt.MemTableSize = 8 << 20
	opt.NumMemtables = 2
	opt.ValueLogFileSize = 16 << 20
	opt.Compression = options.None
	opt.BlockCacheSize = 0
	opt.IndexCacheSize = 0
	opt.NumCompactors = 2
	if o.tune != nil {
		o.tune(&opt)
	}
	return opt
}

// openBadger opens Badger in its managed mode: we number the transactions. What is read is then what was committed before, and waits for no commit that is under way.
func openBadger(opt badger.Options) (inner *badger.DB, err error) {
	defer func() { // Badger slices by lengths that it has not checked yet
		if p := recover(); p != nil {
			err = fmt.Errorf("%w: %v", errDamaged, p)
		}
	}()
	return badger.OpenManaged(opt)
}

// locked reports whether another process has the folder, or this one a second time.
func locked(err error) bool { return said(err, syscall.EWOULDBLOCK) }

func said(err error, errno syscall.Errno) bool {
	return err != nil && (errors.Is(err, errno) || strings.Contains(err.Error(), errno.Error()))
}

// refusal makes Badger's error, which wraps nothing, into a sentence.
func refusal(dir string, err error) error {
	switch {
	case locked(err):
		return fmt.Errorf("the data folder %s is in use, by another process or a second time by this one: stop that one, or name another folder", dir)
	case said(err, syscall.EACCES), said(err, syscall.EPERM), said(err, syscall.EROFS):
		return fmt.Errorf("the data folder %s cannot be written: give it to the user that runs this program, or name another folder", dir)
	case said(err, syscall.ENOTDIR):
		return fmt.Errorf("the data folder %s lies below a file: name another folder", dir)
	case said(err, syscall.ENOSPC):
		return fmt.Errorf("the disk of the data folder %s is full: make room on it", dir)
	}
	return fmt.Errorf("the data folder %s cannot be read: %s; restore it from a backup", dir, strings.Join(strings.Fields(err.Error()), " "))
}

// begin reads what the folder says of itself, and writes it into a new one. It answers the version of the last transaction and the position of the last event.
func (db *DB) begin(inner *badger.DB, b *bridge) (committed, position uint64, err error) {
	if b.ignored.Load() {
		return 0, 0, fmt.Errorf("the data folder %s has a damaged table: restore it from a backup", db.dir)
	}
	defer rescue(&err)
	committed = inner.MaxVersion()
	txn := inner.NewTransactionAt(committed, true)
	defer txn.Discard()
	item, err := txn.Get([]byte(schemaKey))
	switch {
	case errors.Is(err, badger.ErrKeyNotFound):
		it := txn.NewIterator(badger.IteratorOptions{})
		it.Rewind()
		empty := !it.Valid()
		it.Close()
		if !empty {
			return 0, 0, fmt.Errorf("the data folder %s does not say which version wrote it: restore it from a backup, or name another folder", db.dir)
		}
		if err := txn.Set([]byte(schemaKey), []byte(schema)); err != nil {
			return 0, 0, refusal(db.dir, err)
		}
		if err := txn.CommitAt(committed+1, nil); err != nil {
			return 0, 0, refusal(db.dir, err)
		}
		return committed + 1, 0, nil
	case err != nil:
		return 0, 0, refusal(db.dir, err)
	}
	value, err := item.ValueCopy(nil)
	if err != nil {
		return 0, 0, refusal(db.dir, err)
	}
	if string(value) != schema {
		return 0, 0, fmt.Errorf("the data folder %s has layout %q, and this version of the program knows %s: start the version that wrote it", db.dir, value, schema)
	}
	return committed, lastPosition(txn), nil
}
