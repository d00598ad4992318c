//go:build wireinject

package assembly

import (
	"github.com/google/wire"

	"github.com/xteam/xteam/adapters/jwtcodec"
	"github.com/xteam/xteam/adapters/passhash"
	"github.com/xteam/xteam/app"
	"github.com/xteam/xteam/ports"
)

// Set makes the use cases of an open database.
var Set = wire.NewSet(
	StartView,
	NewCodec,
	StartRotator,
	NewPasswords,
	StartCore,
	StartPending,
	StartTrail,
	StartSessions,
	StartAPIKeys,
	StartLimiter,
	StartClocks,
	StartBlocks,
	StartNodes,
	StartTethers,
	StartLive,
	NewStreams,
	NewRevoker,
	StartUploads,
	StartAlerts,
	StartIncidents,
	NewDisowner,
	app.NewGuard,
	app.NewAccounts,
	app.NewSetUp,
	NewAPI,
	wire.Bind(new(ports.Journal), new(*app.Live)),
	wire.Bind(new(ports.Codec), new(*jwtcodec.Codec)),
	wire.Bind(new(ports.Passwords), new(*passhash.Hasher)),
)
