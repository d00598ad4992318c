package badgerstore_test

import (
	"testing"

	"github.com/xteam/xteam/adapters/badgerstore"
	"github.com/xteam/xteam/ports/porttest"
)

func TestStore(t *testing.T) {
	porttest.All(t, func(t testing.TB, dir string) porttest.Store { return ported(open(t, dir).DB) }, porttest.Options{Durable: true})
}

func ported(db *badgerstore.DB) porttest.Store {
	return porttest.Store{Accounts: db.Accounts(), Sessions: db.Sessions(), APIKeys: db.APIKeys(), Keys: db.Keys(), System: db.System(), Blocks: db.Blocks(),
		Revocations: db.Revocations(), Events: db.Events(), Trail: db.Trail(), TrailCare: db.Trail(), Cursors: db.Cursors(), Alerts: db.Alerts(), Incidents: db.Incidents(), Uploads: db.Uploads(), Close: db.Close, Sweep: db.Sweep,
		Spoil: func(t testing.TB, position uint64) (stored, id []byte) {
			t.Helper()
			if err := db.Spoil('e', position); err != nil {
				t.Fatal(err)
			}
			stored, err := db.Stored(position)
			if err != nil {
				t.Fatal(err)
			}
			return stored, nil
		}}
}

// TestSyncsAreCounted: the suite's proof of durability fails on a store that does not ask the disk.
func TestSyncsAreCounted(t *testing.T) {
	calls := porttest.Unsynced(t, func(t testing.TB, dir string) porttest.Store {
		db, err := badgerstore.Open(dir, badgerstore.Options{UnsafeNoSync: true})
		if err != nil {
			t.Fatal(err)
		}
		db.Unlock(sealer{})
		return ported(db)
	})
	if len(calls) != 21 {
		t.Errorf("without SyncWrites the suite misses the sync of %q, want that of all twenty-one calls that write", calls)
	}
}
