package badgerstore

import (
	"bytes"
	"context"
	"time"

	"github.com/dgraph-io/badger/v4"
)

// sweep deletes what has expired. Badger hides it by itself, but drops it only from tables that it happens to rewrite, and those of the lowest level it may never rewrite; a deletion makes
// it merge them with what comes later. The committer deletes only what it finds hidden at that moment: an entry that was recorded anew meanwhile, or that lives again because the clock
// went back, stays.
func (db *DB) sweep(horizon uint64) error {
	for _, prefix := range []string{entryPrefix, sessionPrefix, userPrefix} {
		for from := []byte(prefix); from != nil; {
			keys, next, err := db.expired(prefix, from, horizon)
			if err != nil {
				return err
			}
			from = next
			if len(keys) == 0 {
				continue
			}
			if err := db.commits.commit(context.Background(), &writeSet{expired: keys}); err != nil {
				return err
			}
		}
	}
	return nil
}

// horizon is the time, in seconds since 1970, up to which what expires is swept: the earlier one of the wall clock and of a clock that was set by it when the store was
// opened and has been steady since. A wall clock that jumps forward deletes nothing.
func horizon(opened, now time.Time, since time.Duration) uint64 {
	return uint64(max(min(now.Unix(), opened.Add(since).Unix()), 0))
}

// expired answers the keys of one page whose time was over at the horizon, and where the next page begins, or nil when there is none.
func (db *DB) expired(prefix string, from []byte, horizon uint64) (keys [][]byte, next []byte, err error) {
	err = db.view(context.Background(), func(txn *badger.Txn) error {
		it := txn.NewIterator(badger.IteratorOptions{Prefix: []byte(prefix), AllVersions: true}) // without it Badger skips them
		defer it.Close()
		var last []byte
		looked := 0
		for it.Seek(from); it.Valid(); it.Next() {
			item := it.Item()
			looked++
			if bytes.Equal(item.Key(), last) { // an older version
				continue
			}
			if looked > delivery || len(keys) == db.share() {
				next = item.KeyCopy(nil)
				return nil
			}
			last = item.KeyCopy(last)
			if at := item.ExpiresAt(); at > 0 && at <= horizon {
				keys = append(keys, item.KeyCopy(nil))
			}
		}
		return nil
	})
	return keys, next, err
}
