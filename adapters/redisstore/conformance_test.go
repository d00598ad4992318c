package redisstore_test

import (
	"testing"

	"github.com/xteam/xteam/adapters/redisstore"
	ourports "github.com/xteam/xteam/ports"
	"github.com/xteam/xteam/ports/porttest"
)

func TestStore(t *testing.T) {
	t.Run("revocations", func(t *testing.T) {
		s := single(t)
		porttest.Revocations(t, func(t testing.TB, _ string) porttest.Store { return ported(t, at(s)) })
	})
	t.Run("sealed revocations", func(t *testing.T) {
		s := single(t)
		porttest.Revocations(t, func(t testing.TB, _ string) porttest.Store {
			p := ported(t, at(s))
			p.Revocations = p.Revocations.(redisstore.Revocations).Sealed(ring(3))
			return p
		})
	})
	t.Run("nodes", func(t *testing.T) {
		s := single(t)
		porttest.Nodes(t, func(t testing.TB) (one, other ourports.Nodes) {
			o := at(s)
			o.Namespace = own()
			return open(t, o).Nodes(), open(t, o).Nodes()
		})
	})
	t.Run("buckets", func(t *testing.T) {
		s := single(t)
		porttest.Buckets(t, func(t testing.TB) ourports.Buckets { return open(t, at(s)).Buckets() })
	})
}

func ported(t testing.TB, o redisstore.Options) porttest.Store {
	s := open(t, o)
	return porttest.Store{Revocations: s.Revocations(), Close: s.Close}
}
