package badgerstore

import (
	"context"
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"
	"time"

	"github.com/dgraph-io/badger/v4"

	"github.com/xteam/xteam/domain/account"
	"github.com/xteam/xteam/domain/apikey"
	"github.com/xteam/xteam/domain/audit"
	"github.com/xteam/xteam/domain/id"
	"github.com/xteam/xteam/domain/keyset"
	"github.com/xteam/xteam/domain/session"
	"github.com/xteam/xteam/domain/system"
)

// Waiting is how many write-sets wait for the committer.
func (db *DB) Waiting() int {
	db.commits.mu.Lock()
	defer db.commits.mu.Unlock()
	return len(db.commits.waiting)
}

// Commits counts Badger's transactions.
func (db *DB) Commits() uint64 { return db.committed.Load() }

// Break makes every later commit fail.
func (db *DB) Break() error { return db.badger.Close() }

// LockFolder takes the lock that Badger takes.
func LockFolder(dir string) (release func() error, err error) { return lock(dir) }

// SetPatience says how long Close waits.
func (db *DB) SetPatience(d time.Duration) { db.patience = d }

// Tuned answers options that change Badger's.
func Tuned(o Options, tune func(*badger.Options)) Options {
	o.tune = tune
	return o
}

// Lock takes the sealer away.
func (db *DB) Lock() { db.sealer.Store(nil) }

// WriteSchema makes the folder one of another layout.
func (db *DB) WriteSchema(number string) error {
	return db.set([]byte(schemaKey), []byte(number))
}

// set writes past the committer, while nobody else writes.
func (db *DB) set(key, value []byte) error {
	txn := db.badger.NewTransactionAt(db.committed.Load(), true)
	defer txn.Discard()
	if err := txn.Set(key, value); err != nil {
		return err
	}
	return txn.CommitAt(db.committed.Add(1), nil)
}

// AppendField adds a field with a tag that this version does not know to every clear value of a prefix.
func (db *DB) AppendField(key string) error {
	txn := db.badger.NewTransactionAt(db.committed.Load(), false)
	defer txn.Discard()
	value, err := db.get(txn, []byte(key))
	if err != nil {
		return fmt.Errorf("%q: %w", key, err)
	}
	e := encoder(value)
	e.int(200, 1)
	return db.set([]byte(key), e)
}

// Recode reads a value, writes what it has read, and reads that again.
func Recode(kind byte, value []byte) (read, again any, err error) {
	switch kind {
	case 0:
		return recode(value, func(b []byte) (any, error) { v, err := decodeAccount(id.User{}, b); return v, err },
			func(v any) []byte { return encodeAccount(v.(account.Account)) })
	case 1:
		return recode(value, func(b []byte) (any, error) { v, err := decodeSession(id.Session{}, b); return v, err },
			func(v any) []byte { return encodeSession(v.(session.Session)) })
	case 2:
		return recode(value, func(b []byte) (any, error) { v, err := decodeRing("", b); return v, err },
			func(v any) []byte { return encodeRing(v.(keyset.Ring)) })
	case 3:
		return recode(value, func(b []byte) (any, error) { v, err := decodeState(b); return v, err },
			func(v any) []byte { return encodeState(v.(system.State)) })
	case 4:
		return recode(value, func(b []byte) (any, error) { v, err := decodeEvent(b); return v, err },
			func(v any) []byte { return encodeEvent(v.(audit.Event)) })
	case 5:
		e, ok := named(value)
		f, _ := named([]byte(e.Key()))
		if !ok {
			return nil, nil, errDamaged
		}
		return e, f, nil
	case 6:
		return recode(value, func(b []byte) (any, error) { v, err := decodeAPIKey(id.APIKey{}, b); return v, err },
			func(v any) []byte { k := v.(apikey.Key); return encodeAPIKey(&k) })
	}
	return nil, nil, errNewer
}

func recode(value []byte, decode func([]byte) (any, error), encode func(any) []byte) (read, again any, err error) {
	if read, err = decode(value); err != nil {
		return nil, nil, err
	}
	if again, err = decode(encode(read)); err != nil {
		return read, err, nil // which differ
	}
	return read, again, nil
}

// The bounds of the queues.
const (
	MaxQueued = maxQueued
	Delivery  = delivery
)

// Compact rewrites all tables.
func (db *DB) Compact() error { return db.badger.Flatten(1) }

// PointName makes the index of names name another user.
func (db *DB) PointName(login account.Login, uid id.User) error {
	names, err := db.Accounts().names(account.Account{Email: login.Email, Username: login.Username})
	if err != nil {
		return err
	}
	return db.set(names[0], uid[:])
}

// CheckLogs answers, as text, what it tells of.
func CheckLogs(dir string, largest int64) (last uint64, torn []string, err error) {
	told := tellings{}
	last, err = checkLogs(dir, largest, slog.New(&told))
	return last, told.lines, err
}

type tellings struct {
	slog.Handler
	lines []string
}

func (t *tellings) Enabled(context.Context, slog.Level) bool { return true }

func (t *tellings) Handle(_ context.Context, r slog.Record) error {
	var words []string
	r.Attrs(func(a slog.Attr) bool {
		if a.Key != "folder" {
			words = append(words, a.Value.String())
		}
		return true
	})
	t.lines = append(t.lines, strings.Join(words, " "))
	return nil
}

// EndOfLog is where the last complete transaction of a log ends.
func EndOfLog(data []byte) (end int, ok bool) {
	_, end, ok = complete(data)
	return end, ok
}

// OpenReadOnly opens Badger as it is. It panics over some lengths.
func OpenReadOnly(dir string) (db *badger.DB, err error) {
	opt := badgerOptions(dir, Options{}, &bridge{log: slog.New(slog.DiscardHandler)})
	opt.ReadOnly, opt.MemTableSize, opt.ValueThreshold = true, 1<<20, 1<<10
	return openBadger(opt)
}

// Horizon is the time, in seconds, up to which what has expired is deleted.
func Horizon(opened, now time.Time, since time.Duration) uint64 { return horizon(opened, now, since) }

// Versions counts what Badger keeps below a prefix, seen or not.
func (db *DB) Versions(prefix string) (n int) {
	txn := db.badger.NewTransactionAt(db.committed.Load(), false)
	defer txn.Discard()
	it := txn.NewIterator(badger.IteratorOptions{Prefix: []byte(prefix), AllVersions: true})
	defer it.Close()
	for it.Rewind(); it.Valid(); it.Next() {
		n++
	}
	return n
}

// Sweep deletes what has expired by now.
func (db *DB) Sweep() error { return db.sweep(uint64(time.Now().Unix())) }

// Untold answers options with which Open reads no table again that was sound once.
func Untold(o Options) Options {
	o.untold = true
	return o
}

// Look asks for the free space now.
func (db *DB) Look() { db.space.look() }

// Needs are what must be free, in bytes: to open the store, and to write to it.
func (db *DB) Needs() (opening, writing int64) { return db.space.forOpening(), db.space.forWriting() }

// The reserve.
const (
	ReserveFile = reserveFile
	ReserveSize = reserveSize
)

// Quiet reports whether Badger writes no table by itself.
func (db *DB) Quiet() bool {
	logs, err := filepath.Glob(filepath.Join(escape(db.dir), "*.mem"))
	for _, level := range db.badger.Levels() {
		if level.Score >= 1 || level.Adjusted >= 1 {
			return false
		}
	}
	return err == nil && len(logs) == 1
}

// ReadSlowly is a Find of what is not remembered, in which something happens between reading and remembering.
func (p *Accounts) ReadSlowly(ctx context.Context, uid id.User, meanwhile func()) error {
	return p.db.view(ctx, func(txn *badger.Txn) error {
		a, err := p.find(txn, uid)
		meanwhile()
		p.db.known.put(a, txn.ReadTs())
		return err
	})
}

// Known is how many accounts are remembered, and how many bytes they are reckoned at.
func (db *DB) Known() (accounts, bytes int) {
	for i := range db.known.shards {
		s := &db.known.shards[i]
		s.mu.Lock()
		accounts, bytes = accounts+len(s.accounts), bytes+s.bytes
		s.mu.Unlock()
	}
	return accounts, bytes
}

// Remember has an account remembered that was never stored.
func (db *DB) Remember(a account.Account) { db.known.put(a, db.committed.Load()) }

// KnownBytes is the bound of what is remembered.
const KnownBytes = knownBytes

// Spoil flips a bit of what is stored of a record of the audit trail, of an event by its position, or of the trail's head (0).
func (db *DB) Spoil(kind byte, at uint64) error {
	key := map[byte][]byte{'t': linkKey(at), 'e': eventKey(at), 'h': []byte(trailKey)}[kind]
	txn := db.badger.NewTransactionAt(db.committed.Load(), false)
	defer txn.Discard()
	item, err := txn.Get(key)
	if err != nil {
		return err
	}
	value, err := item.ValueCopy(nil)
	if err != nil {
		return err
	}
	if kind == 'h' {
		return db.set(key, value[:len(value)-1])
	}
	value[len(value)/2] ^= 1
	return db.set(key, value)
}

// Stored is what is stored of the event at a position.
func (db *DB) Stored(position uint64) ([]byte, error) {
	txn := db.badger.NewTransactionAt(db.committed.Load(), false)
	defer txn.Discard()
	item, err := txn.Get(eventKey(position))
	if err != nil {
		return nil, err
	}
	return item.ValueCopy(nil)
}
