package main

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"os"

	"github.com/xteam/xteam/adapters/httpapi"
	"github.com/xteam/xteam/adapters/jwks"
	"github.com/xteam/xteam/adapters/metrics"
	"github.com/xteam/xteam/app"
	"github.com/xteam/xteam/app/xteam/assembly"
	"github.com/xteam/xteam/domain/apikey"
	"github.com/xteam/xteam/domain/keyset"
	"github.com/xteam/xteam/ports"
)

// openDatabase opens what DATABASE_URL names.
func openDatabase(ctx context.Context, s settings, secrets *assembly.Secrets, log *slog.Logger) (assembly.Database, func(), error) {
	return openStore(ctx, s, secrets, log, func(ports.Keys) error { return nil })
}

// openStore is openDatabase, and has before see to the keys of the store before it is unlocked with them.
func openStore(ctx context.Context, s settings, secrets *assembly.Secrets, log *slog.Logger, before func(ports.Keys) error) (assembly.Database, func(), error) {
	if s.DatabaseURL != "" {
		return assembly.Database{}, nil, errors.New("DATABASE_URL: this build has no PostgreSQL yet: leave it empty")
	}
	return assembly.OpenBadgerWith(ctx, s.Store, s.MinFreeSpace, secrets, log, before)
}

// openFeeds follows what is faster than the database.
func openFeeds(s settings) (assembly.Feeds, error) {
	if s.RevocationURL != "" {
		return nil, errors.New("REVOCATION_URL: this build has no Redis yet: leave it empty")
	}
	return nil, nil
}

// openBuckets opens what RATE_LIMIT_URL names.
func openBuckets(s settings) (ports.Buckets, error) {
	if s.RateLimitURL != inMemory {
		return nil, errors.New("RATE_LIMIT_URL: this build has no Redis yet: leave it empty")
	}
	return assembly.NewBuckets(), nil
}

// keysOf is the environment that the text of an API key names.
var keysOf = map[string]apikey.Environment{development: apikey.Development, staging: apikey.Staging, production: apikey.Production}

// options hands the settings on.
func options(s settings, registry *metrics.Registry) assembly.Options {
	node, err := os.Hostname()
	if err != nil {
		node = "this node"
	}
	var page http.Handler
	if s.MetricsAddr == "" {
		page = registry.Handler()
	}
	return assembly.Options{
		Tunables: app.Tunables{Issuer: s.Issuer, Audience: s.Audience, Access: s.Access, Refresh: s.Refresh, Session: s.Session, Leeway: s.Leeway,
			Environment: keysOf[s.Environment]},
		MaxStaleness: s.MaxStaleness, Strict: s.Strict, PasswordHasher: s.Hasher, BcryptCost: s.BcryptCost, Node: node, Limits: s.Limits, HTTP: s.HTTP,
		Meter: registry, Metrics: page, Rotation: app.RotatorOptions{Algorithm: s.Algorithm, Interval: s.Rotation},
		JWKS: func(keys func() []keyset.Key) http.Handler { return jwks.NewHandler(keys) },
	}
}

// system is a service that is open.
type system struct {
	Public   http.Handler // for anybody
	Operator http.Handler // for whoever may open the store itself
	Log      *slog.Logger
	Metrics  http.Handler // for whoever reaches METRICS_ADDR
	accounts ports.Accounts
	setUp    *app.SetUp
	secrets  *app.Secrets
	output   *output
}

func newSystem(api *httpapi.API, db assembly.Database, registry watched, secrets *assembly.Secrets, log *slog.Logger, out *output) *system {
	return &system{Public: api.Handler(), Operator: httpapi.AsOperator(api.Handler()), Metrics: registry.Handler(), Log: log, accounts: db.Stores.Accounts, setUp: api.SetUp, secrets: secrets.Secrets, output: out}
}
