package badgerstore_test

import (
	"testing"

	"github.com/xteam/xteam/ports/porttest"
)

func TestStore(t *testing.T) {
	porttest.All(t, func(t testing.TB, dir string) porttest.Store {
		s := open(t, dir)
		return porttest.Store{Accounts: s.Accounts(), Sessions: s.Sessions(), Keys: s.Keys(), System: s.System(),
			Revocations: s.Revocations(), Events: s.Events(), Close: s.Close}
	}, porttest.Options{Durable: true})
}
