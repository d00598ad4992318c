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

// committer is the one goroutine that writes.
type committer struct {
	db *DB

	mu      sync.Mutex
	waiting []*writeSet
	closed  bool
	wake    chan struct{} // holds a token when there is something to do

	// The rest belongs to the goroutine.
	position uint64 // of the last event
	broken   bool   // a commit failed
	stopped  chan struct{}
}

func newCommitter(db *DB, position uint64) *committer {
	return &committer{db: db, position: position, wake: make(chan struct{}, 1), stopped: make(chan struct{})}
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
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.closed:
		return c.db.errClosed()
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
		c.mu.Lock()
		batch, closed := c.waiting, c.closed
		c.waiting = nil
		c.mu.Unlock()
		for len(batch) > 0 {
			batch = batch[c.together(batch):]
		}
		if closed {
			return
		}
	}
}

// together commits as many of the batch as fit into one transaction, in order, and answers how many are settled: at least one.
func (c *committer) together(batch []*writeSet) int {
	if c.broken {
		return c.settle(batch, c.db.unavailable("write to", errors.New("an earlier commit failed: restart the program")))
	}
	txn := c.db.badger.NewTransaction(true)
	defer txn.Discard()
	count, size := int64(1), int64(overhead)
	position := c.position
	var news []revocation.Entry
	n := 0
	for ; n < len(batch); n++ {
		w := batch[n]
		items, err := c.seal(w, position)
		if err != nil {
			if n == 0 {
				return c.settle(batch[:1], err)
			}
			break // it comes first in the next transaction, and fails alone
		}
		items = append(items, w.sets...)
		moreCount, moreSize := w.measure(items)
		if count+moreCount >= c.db.badger.MaxBatchCount() || size+moreSize >= c.db.badger.MaxBatchSize() {
			if n == 0 {
				return c.settle(batch[:1], fmt.Errorf("badger store: one change of %d records and %d bytes is too large for a transaction", moreCount, moreSize))
			}
			break
		}
		fresh, err := put(txn, w, items)
		if err != nil { // parts of w may be in the transaction: none of it is used
			return c.settle(batch[:n+1], c.db.unavailable("write to", err))
		}
		count, size, position = count+moreCount, size+moreSize, position+uint64(len(w.events))
		news = append(news, fresh...)
	}
	if err := txn.Commit(); err != nil {
		c.broken = true
		c.db.log.Error("the store failed to commit, and takes no writes until it is opened again", "folder", c.db.dir, "error", err)
		c.db.followers.reread() // it may have happened all the same
		return c.settle(batch[:n], c.db.unavailable("write to", err))
	}
	c.position = position
	c.db.followers.publish(news)
	return c.settle(batch[:n], nil)
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

// measure answers the records of w, of which items are those that it sets, and an upper bound of the bytes that they take.
func (w *writeSet) measure(items []*badger.Entry) (count, size int64) {
	add := func(key, value []byte) { count, size = count+1, size+int64(len(key)+len(value)+overhead) }
	for _, e := range items {
		add(e.Key, e.Value)
	}
	for _, k := range w.deletes {
		add(k, nil)
	}
	for _, r := range w.revocations {
		add(r.item.Key, r.item.Value)
	}
	return count, size
}

// put adds w to the transaction and answers its revocations that were not there yet.
func put(txn *badger.Txn, w *writeSet, items []*badger.Entry) (fresh []revocation.Entry, err error) {
	for _, e := range items {
		if err := txn.SetEntry(e); err != nil {
			return nil, err
		}
	}
	for _, k := range w.deletes {
		if err := txn.Delete(k); err != nil {
			return nil, err
		}
	}
	for _, r := range w.revocations {
		switch _, err := txn.Get(r.item.Key); {
		case err == nil:
			continue
		case !errors.Is(err, badger.ErrKeyNotFound):
			return nil, err
		}
		if err := txn.SetEntry(r.item); err != nil {
			return nil, err
		}
		fresh = append(fresh, r.entry)
	}
	return fresh, nil
}

// settle tells the callers, gives their locks back and answers how many there were.
func (c *committer) settle(batch []*writeSet, err error) int {
	for _, w := range batch {
		w.held.release()
		w.done <- err
	}
	return len(batch)
}
