//go:build wireinject

package xteam

import (
	"context"

	"github.com/google/wire"

	"github.com/xteam/xteam/adapters/journal"
	"github.com/xteam/xteam/app/xteam/assembly"
)

// open puts the embedded shape together. The cleanup closes it all, in the reverse order.
func open(ctx context.Context, o Options) (*XTeam, func(), error) {
	panic(wire.Build(
		logger,
		secrets,
		database,
		options,
		facade,
		feeds,
		clocks,
		boards,
		buckets,
		sinks,
		firewall,
		guests,
		journal.New,
		assembly.Set,
	))
}
