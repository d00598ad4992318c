package memstore_test

import (
	"testing"

	"github.com/xteam/xteam/adapters/memstore"
	"github.com/xteam/xteam/ports"
	"github.com/xteam/xteam/ports/porttest"
)

func TestBuckets(t *testing.T) {
	porttest.Buckets(t, func(testing.TB) ports.Buckets { return memstore.NewBuckets(memstore.BucketsOptions{}) })
}
