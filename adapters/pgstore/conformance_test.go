package pgstore_test

import (
	"context"
	"testing"

	"github.com/xteam/xteam/adapters/pgstore"
	"github.com/xteam/xteam/ports"
	"github.com/xteam/xteam/ports/porttest"
)

func TestStore(t *testing.T) {
	porttest.All(t, func(t testing.TB, dir string) porttest.Store { return ported(open(t, dir), database(t, dir)) }, porttest.Options{Durable: true, Server: true})
}

func TestTurns(t *testing.T) {
	porttest.Turns(t, func(t testing.TB) []ports.Turns {
		url := database(t, t.TempDir())
		all := make([]ports.Turns, 3)
		for i := range all {
			all[i] = reopened(t, url, patient).Turns()
		}
		return all
	})
}

func TestNodes(t *testing.T) {
	porttest.Nodes(t, func(t testing.TB) (one, other ports.Nodes) {
		dir := t.TempDir()
		a, b := open(t, dir), open(t, dir)
		t.Cleanup(func() {
			for _, db := range []*pgstore.DB{a, b} {
				if err := db.Close(); err != nil {
					t.Error(err)
				}
			}
		})
		return a.Nodes(), b.Nodes()
	})
}

func open(t testing.TB, dir string) *pgstore.DB {
	t.Helper()
	db, err := pgstore.Open(t.Context(), database(t, dir), patient)
	if err != nil {
		t.Fatal(err)
	}
	db.Unlock(sealer{})
	return db
}

func ported(db *pgstore.DB, url string) porttest.Store {
	return porttest.Store{Accounts: db.Accounts(), Sessions: db.Sessions(), APIKeys: db.APIKeys(), Keys: db.Keys(), System: db.System(), Blocks: db.Blocks(),
		Revocations: db.Revocations(), Events: db.Events(), Trail: db.Trail(), TrailCare: db.Trail(), Cursors: db.Cursors(), Alerts: db.Alerts(), Incidents: db.Incidents(), Uploads: db.Uploads(), Close: db.Close,
		Sweep: func() error { return db.Sweep(context.Background(), now()) },
		Spoil: func(t testing.TB, position uint64) (stored, id []byte) {
			t.Helper()
			err := connected(t, url).QueryRow(t.Context(), `UPDATE events `+flip+`WHERE position = $1 RETURNING sealed, id`, int64(position)).Scan(&stored, &id)
			if err != nil {
				t.Fatal(err)
			}
			return stored, id
		}}
}
