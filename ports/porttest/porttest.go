// Package porttest proves adapters: one suite for each port, whose subtests are the sentences of the port's contract. A type that passes
// the suite of a port may stand behind it; one that cannot pass does not implement it. There are no opt-outs.
//
// An adapter's own test hands the suite a constructor:
//
//	func TestStore(t *testing.T) {
//		porttest.All(t, func(t testing.TB, dir string) porttest.Store {
//			db, err := mystore.Open(dir)
//			if err != nil {
//				t.Fatal(err)
//			}
//			return porttest.Store{Accounts: db.Accounts(), …, Close: db.Close}
//		}, porttest.Options{Durable: true})
//	}
package porttest

import (
	"testing"

	"github.com/xteam/xteam/ports"
)

// Store is one open store with all the ports of state. Its ports share their transactions: what is an effect of a change in one of them is seen in
// Revocations and Events.
type Store struct {
	Accounts    ports.Accounts
	Sessions    ports.Sessions
	APIKeys     ports.APIKeys
	Keys        ports.Keys
	System      ports.System
	Blocks      ports.Blocks
	Revocations ports.Revocations
	Events      ports.Events
	Trail       ports.Trail
	TrailCare   ports.TrailCare
	Cursors     ports.Cursors
	Alerts      ports.Alerts
	Incidents   ports.Incidents
	Uploads     ports.Uploads

	// Sweep drops what is over, at once, as the store does by itself now and then. It is nil for one that drops nothing, or whose server does that at the very moment.
	Sweep func() error
	// Spoil changes what is stored of the event at a position, as one does who has the store and not its keys: so that it does not open any more. It answers the bytes that stand there then, and those that stand
	// beside them as the event's id, if any do.
	Spoil func(t testing.TB, position uint64) (stored, id []byte)
	// Close ends the use of the store; the suites call it once for each store that they open.
	Close func() error
}

// Open opens a store. The suite makes the folder dir, empty at first; a durable store keeps its state in it, and finds it there when it is
// opened again on the same folder after Close, or after its process was killed. A store on a server keeps nothing in it: it takes the folder's name for the name
// of a new database. Open fails the test when it cannot; it registers no clean-up that a later Open on the same folder would miss.
type Open func(t testing.TB, dir string) Store

// Options say what a store is. They describe a property of it and switch off no sentence of a contract: only a durable store can promise
// that what it acknowledged is there when it is opened again.
type Options struct {
	// Durable says that what the store acknowledges outlives its process. Then All also runs Durable and Syncs. The default is a store that lives in the
	// memory of its process, and is gone with it.
	Durable bool
	// Server says that a durable store keeps its state on a server, beside the process of the suite. Durable then kills its child at a write to any descriptor, and so to the connection, where it
	// would at a sync; and Syncs, which counts the syncs of this process, is left to a test of the adapter's own, with Synced and a look at the server.
	Server bool
}

// All runs every suite of state on a store: Accounts, Sessions, APIKeys, Keys, System, Blocks, Revocations, Finder, Events, Trail, Cursors, Alerts, Incidents and Uploads; for a durable one Durable too, and Syncs unless it is on a server.
func All(t *testing.T, open Open, o Options) {
	t.Run("accounts", func(t *testing.T) { Accounts(t, open) })
	t.Run("sessions", func(t *testing.T) { Sessions(t, open) })
	t.Run("API keys", func(t *testing.T) { APIKeys(t, open) })
	t.Run("keys", func(t *testing.T) { Keys(t, open) })
	t.Run("system", func(t *testing.T) { System(t, open) })
	t.Run("blocks", func(t *testing.T) { Blocks(t, open) })
	t.Run("revocations", func(t *testing.T) { Revocations(t, open) })
	t.Run("finding revocations", func(t *testing.T) { Finder(t, open) })
	t.Run("events", func(t *testing.T) { Events(t, open) })
	t.Run("trail", func(t *testing.T) { Trail(t, open) })
	t.Run("cursors", func(t *testing.T) { Cursors(t, open) })
	t.Run("alerts", func(t *testing.T) { Alerts(t, open) })
	t.Run("incidents", func(t *testing.T) { Incidents(t, open) })
	t.Run("uploads", func(t *testing.T) { Uploads(t, open) })
	if o.Durable {
		t.Run("durable", func(t *testing.T) { durable(t, open, o.calls()) })
		if !o.Server {
			t.Run("syncs", func(t *testing.T) { Syncs(t, open) })
		}
	}
}
