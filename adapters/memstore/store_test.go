package memstore_test

import (
	"testing"

	"github.com/xteam/xteam/adapters/memstore"
	"github.com/xteam/xteam/ports/porttest"
)

func TestStore(t *testing.T) {
	porttest.All(t, open, porttest.Options{})
}

func open(testing.TB, string) porttest.Store {
	s := memstore.New()
	return porttest.Store{Accounts: s.Accounts(), Sessions: s.Sessions(), APIKeys: s.APIKeys(), Keys: s.Keys(), System: s.System(), Blocks: s.Blocks(),
		Revocations: s.Revocations(), Events: s.Events(), Trail: s.Trail(), TrailCare: s.Trail(), Cursors: s.Cursors(), Alerts: s.Alerts(), Incidents: s.Incidents(), Uploads: s.Uploads(), Close: s.Close,
		Spoil: func(_ testing.TB, position uint64) (stored, id []byte) { return s.Spoil(position), nil }}
}
