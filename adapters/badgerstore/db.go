package badgerstore

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/dgraph-io/badger/v4"

	"github.com/xteam/xteam/ports"
)

// DB is an open store. Its ports share it and its transactions.
type DB struct {
	dir      string
	log      *slog.Logger
	options  Options
	sealer   atomic.Pointer[ports.Sealer] // nil until Unlock
	noteLost sync.Once                    // tells of the first
	opened   time.Time                    // by both clocks
	patience time.Duration                // how long Close waits

	commits   *committer
	nextLog   int // the committer's: the number of the log that Badger will begin next
	followers followers
	tables    tableChecks
	space     *space
	known     known

	// Whoever holds several locks took them in this order: of one id, then of names.
	accountLocks, sessionLocks, ringLocks, systemLocks *stripes
	nameLocks                                          *stripes

	life      sync.RWMutex  // held for reading while Badger is read
	badger    *badger.DB    // the committer's own; changed under life, and nil only while broken or closing
	committed atomic.Uint64 // the version of the last transaction that succeeded: what is read
	broken    atomic.Bool   // a commit failed, and Badger has not been opened again since

	closing chan struct{}
	once    sync.Once
	closed  error
	keeping sync.WaitGroup
}

// Accounts answers the port of accounts.
func (db *DB) Accounts() *Accounts { return &Accounts{db} }

// Sessions answers the port of sessions.
func (db *DB) Sessions() *Sessions { return &Sessions{db} }

// Keys answers the port of key rings.
func (db *DB) Keys() *Keys { return &Keys{db} }

// Blocks answers the port of blocked networks.
func (db *DB) Blocks() *Blocks { return &Blocks{db} }

// System answers the port of the system's state.
func (db *DB) System() *System { return &System{db} }

// Revocations answers the port of revocations.
func (db *DB) Revocations() *Revocations { return &Revocations{db} }

// Events answers the port of security events.
func (db *DB) Events() *Events { return &Events{db} }

// Trail answers the ports of the audit trail.
func (db *DB) Trail() *Trail { return &Trail{db} }

// Alerts answers the port of alerts.
func (db *DB) Alerts() *Alerts { return &Alerts{db} }

// Incidents answers the port of incidents.
func (db *DB) Incidents() *Incidents { return &Incidents{db} }

// Cursors answers the port of kept places.
func (db *DB) Cursors() *Cursors { return &Cursors{db} }

// Unlock hands over what seals and opens. Before it accounts, sessions, events and revocations with a note answer ports.ErrUnavailable.
func (db *DB) Unlock(sealer ports.Sealer) { db.sealer.Store(&sealer) }

// Close commits what waits, ends every Follow with ports.ErrUnavailable and frees the folder for another. No goroutine is left. When the disk does not answer, it
// gives up after ten seconds, with an error and with goroutines that still wait. Later calls of the ports answer ports.ErrUnavailable; Close again answers as the first time.
func (db *DB) Close() error {
	db.once.Do(func() {
		close(db.closing)
		done := make(chan error, 1)
		go func() {
			db.commits.close()
			db.keeping.Wait()
			if err := db.space.leave(); err != nil {
				done <- err
				return
			}
			done <- shut(db.swap(nil))
		}()
		late := time.NewTimer(db.patience)
		defer late.Stop()
		select {
		case err := <-done:
			if err != nil {
				db.closed = fmt.Errorf("close the data folder %s: %w", db.dir, err)
			}
		case <-late.C:
			db.closed = fmt.Errorf("close the data folder %s: its disk has not answered for %v; what was acknowledged is there when it is opened again", db.dir, db.patience)
		}
	})
	return db.closed
}

// swap puts another Badger, or none, in the place of the one that is read, once nobody reads it. New readers do not queue up behind one that hangs.
func (db *DB) swap(next *badger.DB) (last *badger.DB) {
	for !db.life.TryLock() {
		<-time.After(time.Millisecond)
	}
	defer db.life.Unlock()
	last, db.badger = db.badger, next
	return last
}

// shut closes a Badger, if there is one. After a failure of its own it may panic.
func shut(b *badger.DB) (err error) {
	defer rescue(&err)
	if b == nil {
		return nil
	}
	return b.Close()
}

// rescue makes a panic of Badger's an error.
func rescue(err *error) {
	if p := recover(); p != nil {
		*err = fmt.Errorf("panic: %v", p)
	}
}

// keep is housekeeping, until Close.
func (db *DB) keep(every time.Duration) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		db.recheck()
		select {
		case <-db.closing:
			return
		case <-tick.C:
		}
		now := time.Now()
		if err := db.sweep(horizon(db.opened, now, now.Sub(db.opened))); err != nil && db.ready(context.Background()) == nil {
			db.log.Warn("what has expired cannot be deleted", "folder", db.dir, "error", err)
		}
		db.forget()
		db.collect()
	}
}

// recheck reads the tables that have not been read yet. A damaged one is no one's to read: the store stops, and is opened again, which will refuse.
func (db *DB) recheck() {
	if db.ready(context.Background()) != nil {
		return
	}
	if err := db.tables.recheck(db.dir, db.closing); err != nil {
		_ = db.tables.unnote(db.dir)
		db.commits.abandon(fmt.Errorf("check its tables: %w", err))
	}
}

// forget lets Badger drop the versions of records that no reader can ask for any more: there is a moment without readers, and all later ones read what is committed now.
// When there is no such moment, the next time will do.
func (db *DB) forget() {
	for range 100 {
		if db.life.TryLock() {
			if db.ready(context.Background()) == nil {
				db.badger.SetDiscardTs(db.committed.Load())
			}
			db.life.Unlock()
			return
		}
		<-time.After(time.Millisecond)
	}
}

// collect gives the room of values that are gone back to the disk. No value of ours is in the value log; if there are any one day, this must not be missing.
func (db *DB) collect() {
	db.life.RLock()
	defer db.life.RUnlock()
	for db.ready(context.Background()) == nil && db.badger.RunValueLogGC(0.5) == nil { // until nothing is worth it
	}
}

func (db *DB) isClosing() bool {
	select {
	case <-db.closing:
		return true
	default:
		return false
	}
}

// ready answers why a call cannot begin: its context has ended, the store is closed, or it is being opened again after a commit that failed.
func (db *DB) ready(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if db.isClosing() {
		return db.errClosed()
	}
	if db.broken.Load() {
		return db.errBroken()
	}
	return nil
}

// view reads what is committed. A commit that is under way is not waited for. fn must not wait for anything.
func (db *DB) view(ctx context.Context, fn func(*badger.Txn) error) (err error) {
	db.life.RLock()
	defer db.life.RUnlock()
	if err := db.ready(ctx); err != nil {
		return err
	}
	defer func() { // Badger panics after a failure of which we have not heard yet, and over damage
		if p := recover(); p != nil {
			err = db.unavailable("read", fmt.Errorf("panic: %v", p))
		}
	}()
	txn := db.badger.NewTransactionAt(db.committed.Load(), false)
	defer txn.Discard()
	return fn(txn)
}

// write commits what build makes under the lock of key. When it makes nothing, there is nothing to commit.
func (db *DB) write(ctx context.Context, locks *stripes, key []byte, build func(*writeSet) error) error {
	if err := db.ready(ctx); err != nil {
		return err
	}
	w := &writeSet{}
	handed := false
	defer func() {
		if !handed {
			w.held.release()
		}
	}()
	if err := w.held.lock(ctx, locks, key); err != nil {
		return err
	}
	if err := build(w); err != nil {
		return err
	}
	if len(w.sets)+len(w.deletes)+len(w.revocations)+len(w.events) == 0 {
		return nil
	}
	handed = true
	return db.commits.commit(ctx, w)
}

// effects adds the consequences of a change to its write-set.
func (db *DB) effects(w *writeSet, e ports.Effects) error {
	if err := validate(e.Revocations); err != nil {
		return err
	}
	for _, r := range e.Revocations {
		item, err := db.newEntry(r)
		if err != nil {
			return err
		}
		w.revocations = append(w.revocations, item)
	}
	if len(e.Events) > 0 {
		if _, err := db.unlocked(); err != nil {
			return err
		}
	}
	for _, v := range e.Events {
		w.events = append(w.events, encodeEvent(v))
	}
	return nil
}

// share and shareBytes bound the write-sets into which a long call is cut: a quarter of a transaction.
func (db *DB) share() int { return int(db.commits.maxCount / 4) }

func (db *DB) shareBytes() int64 { return db.commits.maxSize / 4 }

// get answers the value of a key, or ports.ErrNotFound.
func (db *DB) get(txn *badger.Txn, key []byte) ([]byte, error) {
	item, err := txn.Get(key)
	switch {
	case errors.Is(err, badger.ErrKeyNotFound):
		return nil, ports.ErrNotFound
	case err != nil:
		return nil, db.unavailable("read", err)
	}
	value, err := item.ValueCopy(nil)
	if err != nil {
		return nil, db.unavailable("read", err)
	}
	return value, nil
}

func (db *DB) getSealed(txn *badger.Txn, key []byte) ([]byte, error) {
	value, err := db.get(txn, key)
	if err != nil {
		return nil, err
	}
	return db.open(key, value)
}

func (db *DB) openItem(item *badger.Item) ([]byte, error) {
	sealed, err := db.sealedItem(item)
	if err != nil {
		return nil, err
	}
	return db.open(item.Key(), sealed)
}

// sealedItem reads what openItem opens. Where it succeeds and that fails, what is stored was changed.
func (db *DB) sealedItem(item *badger.Item) ([]byte, error) {
	if _, err := db.unlocked(); err != nil {
		return nil, err
	}
	value, err := item.ValueCopy(nil)
	if err != nil {
		return nil, db.unavailable("read", err)
	}
	return value, nil
}

// absent answers ports.ErrTaken when the key is there.
func (db *DB) absent(ctx context.Context, key []byte) error {
	err := db.view(ctx, func(txn *badger.Txn) error {
		_, err := db.get(txn, key)
		return err
	})
	switch {
	case err == nil:
		return ports.ErrTaken
	case errors.Is(err, ports.ErrNotFound):
		return nil
	}
	return err
}

func (db *DB) setSealed(w *writeSet, key, plain []byte, expires uint64) error {
	sealed, err := db.seal(key, plain)
	if err != nil {
		return err
	}
	item := badger.NewEntry(key, sealed)
	item.ExpiresAt = expires
	w.sets = append(w.sets, item)
	return nil
}

func (db *DB) unlocked() (ports.Sealer, error) {
	if s := db.sealer.Load(); s != nil {
		return *s, nil
	}
	return nil, db.unavailable("read sealed records of", errors.New("its data keys have not been opened yet"))
}

func (db *DB) seal(key, plain []byte) ([]byte, error) {
	sealer, err := db.unlocked()
	if err != nil {
		return nil, err
	}
	sealed, err := sealer.Seal(string(key), plain)
	if err != nil {
		return nil, db.unavailable("seal a record of", err)
	}
	return sealed, nil
}

func (db *DB) open(key, sealed []byte) ([]byte, error) {
	sealer, err := db.unlocked()
	if err != nil {
		return nil, err
	}
	return sealer.Open(string(key), sealed)
}

func (db *DB) errClosed() error {
	return fmt.Errorf("the data folder %s is closed: %w", db.dir, ports.ErrUnavailable)
}

func (db *DB) errBroken() error {
	return db.unavailable("use", errors.New("it has failed, and is being opened again"))
}

// unavailable is a fault of Badger or of the disk.
func (db *DB) unavailable(what string, err error) error {
	return fmt.Errorf("%s the data folder %s: %w: %w", what, db.dir, ports.ErrUnavailable, err)
}

// unreadable is a record that this version cannot read.
func (db *DB) unreadable(what string, err error) error {
	return fmt.Errorf("read %s in the data folder %s: %w: %w", what, db.dir, ports.ErrUnavailable, err)
}
