//go:build wireinject

package main

import (
	"context"
	"io"

	"github.com/google/wire"

	"github.com/xteam/xteam/adapters/journal"
	"github.com/xteam/xteam/adapters/metrics"
	"github.com/xteam/xteam/app/xteam/assembly"
)

// open puts the service together. The cleanup closes it all, in the reverse order.
func open(ctx context.Context, s settings, get lookup, errs io.Writer) (*system, func(), error) {
	panic(wire.Build(
		openOutput,
		newLog,
		metrics.New,
		watch,
		openTelemetry,
		openSecrets,
		openDatabase,
		openRedis,
		openFeeds,
		openClocks,
		openBoards,
		openBuckets,
		openSinks,
		openFirewall,
		openGuests,
		openFiles,
		options,
		newSystem,
		journal.New,
		assembly.Set,
	))
}
