package badgerstore

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/dgraph-io/badger/v4"

	"github.com/xteam/xteam/domain/revocation"
	"github.com/xteam/xteam/ports"
)

// writeSet is what one caller wants committed: all of it in one transaction.
type writeSet struct {
	sets        []*badger.Entry
	deletes     [][]byte
	expired     [][]byte   // deleted unless they can be seen
	revocations []newEntry // put only where there is none yet
	events      [][]byte   // encoded; they get their positions, and are sealed, by the committer

	held held // the locks under which it was made; given back once its fate is known
	done chan error
}

type newEntry struct {
	entry revocation.Entry
	item  *badger.Entry
}

// maxWaiting is how many write-sets may wait. It is reached when the disk hangs and callers come back without their old calls being over.
const maxWaiting = 1 << 14

// overhead is a generous measure of what Badger adds to each key and value, and the Sealer to each event, in bytes.
const overhead = 128

// committer is the one goroutine that writes. It also opens Badger again when that has failed: then nobody else holds it.
type committer struct {
	db                *DB
	maxCount, maxSize int64 // what a transaction of Badger stays below, in records and bytes
	maxValue          int64 // and a value: longer ones would go into the value log

	mu      sync.Mutex
	waiting []*writeSet
	closed  bool
	fault   error         // why the store cannot go on, by the word of another than the committer
	wake    chan struct{} // holds a token when there is something to do

	// The rest belongs to the goroutine.
	position uint64 // of the last event
	stopped  chan struct{}
}

func newCommitter(db *DB, position uint64) *committer {
	return &committer{db: db, maxCount: db.badger.MaxBatchCount(), maxSize: db.badger.MaxBatchSize(), maxValue: db.badger.Opts().ValueThreshold, position: position,
		wake: make(chan struct{}, 1), stopped: make(chan struct{})}
}

// commit hands w over and waits until it is durable and the followers have it. From here on the committer gives its locks back. When ctx
// ends first the answer is its error, and w may or may not be committed.
func (c *committer) commit(ctx context.Context, w *writeSet) error {
	w.done = make(chan error, 1)
	if err := c.enqueue(ctx, w); err != nil {
		w.held.release()
		return err
	}
	select {
	case err := <-w.done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (c *committer) enqueue(ctx context.Context, w *writeSet) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := c.db.space.refuses(); err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.closed:
		return c.db.errClosed()
	case c.db.broken.Load():
		return c.db.errBroken()
	case len(c.waiting) >= maxWaiting:
		return &ports.BusyError{What: "the data folder's disk", RetryAfter: time.Second}
	}
	c.waiting = append(c.waiting, w)
	c.signal()
	return nil
}

func (c *committer) signal() {
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// close refuses new write-sets and returns when those that wait are committed.
func (c *committer) close() {
	c.mu.Lock()
	c.closed = true
	c.mu.Unlock()
	c.signal()
	<-c.stopped
}

func (c *committer) run() {
	defer close(c.stopped)
	for range c.wake {
		batch, closed, fault := c.take()
		for len(batch) > 0 && fault == nil {
			var n int
			n, fault = c.together(batch)
			batch = batch[n:]
		}
		if fault != nil {
			c.stop(batch, fault)
			c.restart()
		}
		if closed {
			return
		}
	}
}

// take empties the queue.
func (c *committer) take() (batch []*writeSet, closed bool, fault error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	batch, fault = c.waiting, c.fault
	c.waiting, c.fault = nil, nil
	return batch, c.closed, fault
}

// abandon makes the committer open the store anew.
func (c *committer) abandon(fault error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.fault = fault
	c.signal()
}

// together commits as many of the batch as fit into one transaction, in order, and answers how many are settled: at least one, or none and the reason why Badger cannot go on.
func (c *committer) together(batch []*writeSet) (settled int, err error) {
	defer rescue(&err)
	if err := c.db.space.refuses(); err != nil {
		return c.settle(batch, err), nil
	}
	committed := c.db.committed.Load()
	txn := c.db.badger.NewTransactionAt(committed, true)
	defer txn.Discard()
	count, size := int64(1), int64(overhead)
	position := c.position
	var news []revocation.Entry
	n, records := 0, 0
	for ; n < len(batch); n++ {
		w := batch[n]
		items, err := c.seal(w, position)
		if err != nil {
			if n == 0 {
				return c.settle(batch[:1], err), nil
			}
			break // it comes first in the next transaction, and fails alone
		}
		items = append(items, w.sets...)
		moreCount, moreSize, longest := w.measure(items)
		if longest >= c.maxValue || count+moreCount >= c.maxCount || size+moreSize >= c.maxSize {
			if n == 0 {
				return c.settle(batch[:1], fmt.Errorf("badger store: one change of %d records and %d bytes, the longest of %d, is too large", moreCount, moreSize, longest)), nil
			}
			break
		}
		put, fresh, err := put(txn, w, items)
		if err != nil { // parts of w may be in the transaction: none of it is used
			return c.settle(batch[:n+1], c.db.unavailable("write to", err)), nil
		}
		count, size, position, records = count+moreCount, size+moreSize, position+uint64(len(w.events)), records+put
		news = append(news, fresh...)
	}
	if records > 0 { // a version without a record would be a gap, which is the mark of damage
		committed++
		if err := txn.CommitAt(committed, nil); err != nil {
			return 0, err
		}
		if err := c.db.nameLog(); err != nil {
			return 0, err
		}
	}
	c.position = position
	c.db.known.forget(batch[:n], committed)
	c.db.committed.Store(committed)
	c.db.followers.publish(news)
	return c.settle(batch[:n], nil), nil
}

// stop answers to everybody that nothing is known any more, beginning with those whose commit has failed.
func (c *committer) stop(batch []*writeSet, err error) {
	c.db.broken.Store(true)
	c.db.log.Error("the store has failed; it answers nothing until it has been opened again", "folder", c.db.dir, "error", err)
	c.settle(batch, c.db.unavailable("write to", err))
	late, _, _ := c.take() // nobody comes after them: broken is looked at under the lock of the queue
	c.settle(late, c.db.errBroken())
	c.db.followers.reread() // what has failed may have happened all the same
}

// The pauses before Badger is opened again: the first, doubled until the last.
const (
	firstPause = 100 * time.Millisecond
	lastPause  = 30 * time.Second
)

// restart closes Badger, which writes what it has in memory into a table, and opens it on the same folder, until that succeeds or the store is closed. In its log there may be a
// hole now, behind which nothing would be replayed.
func (c *committer) restart() {
	since := time.Now()
	said := ""
	for err := c.db.space.leave(); err != nil; err = c.db.space.leave() { // what Badger writes then needs room
		select {
		case <-c.db.closing:
			return
		case <-time.After(watchEvery):
		}
	}
	if err := shut(c.db.swap(nil)); err != nil {
		said = err.Error()
		c.db.log.Warn("the store was not closed in order", "folder", c.db.dir, "error", err)
	}
	for pause := firstPause; ; pause = min(2*pause, lastPause) {
		select {
		case <-c.db.closing:
			return
		case <-time.After(pause):
		}
		position, err := c.db.start()
		if err == nil {
			c.position = position
			c.db.broken.Store(false)
			c.db.followers.reread()
			c.db.log.Info("the store has been opened again, and answers", "folder", c.db.dir, "after", time.Since(since).Round(time.Millisecond))
			return
		}
		if s := err.Error(); s != said {
			said = s
			c.db.log.Warn("the store cannot be opened again yet", "folder", c.db.dir, "error", err)
		}
	}
}

// seal makes the events of w into items, at the positions behind the given one.
func (c *committer) seal(w *writeSet, position uint64) ([]*badger.Entry, error) {
	items := make([]*badger.Entry, 0, len(w.events)+len(w.sets))
	for i, plain := range w.events {
		key := eventKey(position + 1 + uint64(i))
		sealed, err := c.db.seal(key, plain)
		if err != nil {
			return nil, err
		}
		items = append(items, badger.NewEntry(key, sealed))
	}
	return items, nil
}

// measure answers the records of w, of which items are those that it sets, an upper bound of the bytes that they take, and the bytes of the longest value.
func (w *writeSet) measure(items []*badger.Entry) (count, size, longest int64) {
	add := func(key, value []byte) {
		count, size, longest = count+1, size+int64(len(key)+len(value)+overhead), max(longest, int64(len(value)))
	}
	for _, e := range items {
		add(e.Key, e.Value)
	}
	for _, k := range w.deletes {
		add(k, nil)
	}
	for _, k := range w.expired {
		add(k, nil)
	}
	for _, r := range w.revocations {
		add(r.item.Key, r.item.Value)
	}
	return count, size, longest
}

// put adds w to the transaction and answers how many records it puts, and its revocations that were not there yet.
func put(txn *badger.Txn, w *writeSet, items []*badger.Entry) (records int, fresh []revocation.Entry, err error) {
	for _, e := range items {
		if err := txn.SetEntry(e); err != nil {
			return 0, nil, err
		}
	}
	for _, k := range w.deletes {
		if err := txn.Delete(k); err != nil {
			return 0, nil, err
		}
	}
	records = len(items) + len(w.deletes)
	for _, k := range w.expired {
		ok, err := seen(txn, k)
		if err == nil && !ok {
			records++
			err = txn.Delete(k)
		}
		if err != nil {
			return 0, nil, err
		}
	}
	for _, r := range w.revocations {
		ok, err := seen(txn, r.item.Key)
		if err == nil && !ok {
			records++
			fresh = append(fresh, r.entry)
			err = txn.SetEntry(r.item)
		}
		if err != nil {
			return 0, nil, err
		}
	}
	return records, fresh, nil
}

// seen reports whether there is a record of that key that has neither expired nor been deleted.
func seen(txn *badger.Txn, key []byte) (bool, error) {
	_, err := txn.Get(key)
	if errors.Is(err, badger.ErrKeyNotFound) {
		return false, nil
	}
	return err == nil, err
}

// settle tells the callers, gives their locks back and answers how many there were.
func (c *committer) settle(batch []*writeSet, err error) int {
	for _, w := range batch {
		w.held.release()
		w.done <- err
	}
	return len(batch)
}
