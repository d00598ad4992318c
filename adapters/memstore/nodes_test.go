package memstore_test

import (
	"testing"

	"github.com/xteam/xteam/adapters/memstore"
	"github.com/xteam/xteam/ports"
	"github.com/xteam/xteam/ports/porttest"
)

func TestBoard(t *testing.T) {
	porttest.Nodes(t, func(testing.TB) (one, other ports.Nodes) {
		b := memstore.NewBoard()
		return b.Nodes(), b.Nodes()
	})
}
