package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/xteam/xteam/adapters/diskfiles"
	"github.com/xteam/xteam/adapters/graphqlapi"
	"github.com/xteam/xteam/adapters/httpapi"
	"github.com/xteam/xteam/adapters/jwks"
	"github.com/xteam/xteam/adapters/metrics"
	"github.com/xteam/xteam/adapters/mimetypes"
	"github.com/xteam/xteam/adapters/otlptelemetry"
	"github.com/xteam/xteam/adapters/pgstore"
	"github.com/xteam/xteam/adapters/redisstore"
	"github.com/xteam/xteam/app"
	"github.com/xteam/xteam/app/xteam/assembly"
	"github.com/xteam/xteam/domain/apikey"
	"github.com/xteam/xteam/domain/keyset"
	"github.com/xteam/xteam/ports"
)

// errServed is part of why a store cannot be opened.
var errServed = errors.New("by a server that runs")

// openDatabase opens what DATABASE_URL names.
func openDatabase(ctx context.Context, s settings, secrets *assembly.Secrets, log *slog.Logger) (assembly.Database, func(), error) {
	return openStore(ctx, s, secrets, log, entered(ctx))
}

// entered is what comes before a store is unlocked by a program that works beside others.
func entered(ctx context.Context) func(assembly.Database) error {
	return func(db assembly.Database) error { return enter(ctx, db, false) }
}

func enter(ctx context.Context, db assembly.Database, alone bool) error {
	if db.Enter == nil {
		return nil
	}
	return db.Enter(ctx, alone)
}

// openStore is openDatabase, and has before see to the keys of the store, and to who else works on it, before it is unlocked.
func openStore(ctx context.Context, s settings, secrets *assembly.Secrets, log *slog.Logger, before func(assembly.Database) error) (assembly.Database, func(), error) {
	if s.DatabaseURL != "" {
		return openPostgres(ctx, s, secrets, log, before)
	}
	db, closeAll, err := assembly.OpenBadgerWith(ctx, s.Store, s.MinFreeSpace, secrets, log, before)
	if inUse(err) {
		if conn, unheard := dialSocket(ctx, s.Store); unheard == nil {
			_ = conn.Close()
			err = fmt.Errorf("the data folder %s is in use, %w: stop it first, or name another folder with DATA_DIR", absolute(s.Store), errServed)
		}
	}
	return db, closeAll, err
}

// unfitDatabase says why a database may not serve in production, as far as its URL tells; one that cannot be read is refused when it is opened.
func unfitDatabase(s *settings) faults {
	if s.DatabaseURL == "" {
		return nil
	}
	u, err := pgstore.ParseURL(s.DatabaseURL)
	if err != nil || u.Verified || u.Local {
		return nil
	}
	return faults{fmt.Sprintf("DATABASE_URL: production takes a connection that is encrypted and knows with whom: use %s, with the password", u.Suggestion)}
}

// unfitRedis is the same of a Redis.
func unfitRedis(setting, url string) faults {
	if url == "" || url == inMemory {
		return nil
	}
	o, err := redisstore.Parse(url)
	if err != nil || !o.Exposed() && !o.Password.IsZero() {
		return nil
	}
	return faults{setting + ": production takes a Redis that asks for a password, over TLS: rediss://USER:PASSWORD@HOST:PORT"}
}

func openPostgres(ctx context.Context, s settings, secrets *assembly.Secrets, log *slog.Logger, before func(assembly.Database) error) (_ assembly.Database, _ func(), err error) {
	if _, err := pgstore.ParseURL(s.DatabaseURL); err != nil {
		return assembly.Database{}, nil, fmt.Errorf("DATABASE_URL: %w", err)
	}
	if why := unfitDatabase(&s); s.Environment == production && why != nil {
		return assembly.Database{}, nil, why
	}
	db, err := pgstore.Open(ctx, s.DatabaseURL, pgstore.Options{Logger: log, Poll: s.Poll})
	if err != nil {
		return assembly.Database{}, nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, db.Close())
		}
	}()
	if err := before(assembly.Database{Stores: app.Stores{Keys: db.Keys()}, Nodes: db.Nodes(), Enter: db.Enter}); err != nil {
		return assembly.Database{}, nil, err
	}
	keyring, err := assembly.Unlock(ctx, db.Keys(), secrets)
	if err != nil {
		return assembly.Database{}, nil, err
	}
	db.Unlock(keyring)
	stores := app.Stores{Accounts: db.Accounts(), Sessions: db.Sessions(), APIKeys: db.APIKeys(), Keys: db.Keys(), System: db.System(), Blocks: db.Blocks(), Revocations: db.Revocations(), Events: db.Events(), Trail: db.Trail(), TrailCare: db.Trail(), Cursors: db.Cursors(), Alerts: db.Alerts(), Incidents: db.Incidents(), Uploads: db.Uploads(), Turns: db.Turns()}
	managed := func() (int64, error) { return -1, nil } // its space is for its own keepers to watch
	return assembly.Database{Stores: stores, MACs: keyring, Sealer: keyring, Mark: markIn(s.Folder), Space: managed, Clock: db.Clock, Nodes: db.Nodes(), Guests: db.Guests()}, func() {
		if err := db.Close(); err != nil {
			log.Error("The store could not be closed", "error", err.Error())
		}
	}, nil
}

// redisStores are the Redis of the revocations and that of the buckets, which may be one; nil: there is none.
type redisStores struct{ feed, buckets *redisstore.Store }

// openRedis connects to what REVOCATION_URL and RATE_LIMIT_URL name. One that does not answer yet is waited for by nobody: the database has the truth, and each node buckets of its own.
func openRedis(ctx context.Context, s settings, log *slog.Logger) (r redisStores, cleanup func(), err error) {
	var all []*redisstore.Store
	cleanup = func() {
		for _, one := range all {
			_ = one.Close()
		}
	}
	connect := func(setting, url string) (*redisstore.Store, error) {
		o, err := redisstore.Parse(url)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", setting, err)
		}
		if why := unfitRedis(setting, url); s.Environment == production && why != nil {
			return nil, why
		}
		o.Logger, o.Now, o.Writes = log, machineClock, setting == "REVOCATION_URL"
		one, err := redisstore.New(o)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", setting, err)
		}
		all = append(all, one)
		err = one.Check(ctx)
		switch {
		case errors.Is(err, redisstore.ErrReadOnly), errors.Is(err, redisstore.ErrDenied):
			return nil, fmt.Errorf("%s: %w", setting, err)
		case err != nil:
			log.Warn("Redis does not answer; it is used once it does", "setting", setting, "error", err.Error())
		}
		if policy, known := one.Evicting(); known && policy != "noeviction" {
			if s.Environment == production {
				return nil, fmt.Errorf("%s: this Redis drops keys when its memory is full (maxmemory-policy %s): set noeviction", setting, policy)
			}
			log.Warn("Redis drops keys when its memory is full; production would refuse it", "setting", setting, "maxmemory_policy", policy)
		}
		return one, nil
	}
	if s.RevocationURL != "" {
		if r.feed, err = connect("REVOCATION_URL", s.RevocationURL); err != nil {
			cleanup()
			return r, nil, err
		}
	}
	switch s.RateLimitURL {
	case inMemory:
	case s.RevocationURL:
		r.buckets = r.feed
	default:
		if r.buckets, err = connect("RATE_LIMIT_URL", s.RateLimitURL); err != nil {
			cleanup()
			return r, nil, err
		}
	}
	return r, cleanup, nil
}

// openFeeds follows what is faster than the database.
func openFeeds(r redisStores, db assembly.Database) assembly.Feeds {
	if r.feed == nil {
		return nil
	}
	return assembly.Feeds{{Name: "redis", Revocations: r.feed.Revocations().Sealed(db.MACs)}}
}

// openBoards answers where nodes leave word for one another beside the database: faster.
func openBoards(r redisStores) assembly.Boards {
	if r.feed == nil {
		return nil
	}
	return assembly.Boards{{Name: "Redis", Nodes: r.feed.Nodes()}}
}

// canaryEvery is how often a node sends a canary to all.
const canaryEvery = time.Minute

// openClocks answers the clocks of what servers share beside the database.
func openClocks(r redisStores) (all assembly.OtherClocks) {
	if r.feed != nil {
		all = append(all, app.Clock{Name: "Redis", Now: r.feed.Clock})
	}
	if r.buckets != nil && r.buckets != r.feed {
		all = append(all, app.Clock{Name: "Redis of the rate limits", Now: r.buckets.Clock})
	}
	return all
}

// openBuckets answers the buckets that servers share, with those of this one to fall back to, or the latter alone. The shared ones log by themselves when they do not answer.
func openBuckets(r redisStores) ports.Buckets {
	own := assembly.NewBuckets()
	if r.buckets == nil {
		return own
	}
	return app.NewFallback(r.buckets.Buckets(), own, nil)
}

// keysOf is the environment that the text of an API key names.
var keysOf = map[string]apikey.Environment{development: apikey.Development, staging: apikey.Staging, production: apikey.Production}

// options hands the settings on.
func options(s settings, get lookup, registry *metrics.Registry, sent *otlptelemetry.Telemetry, files *diskfiles.Store) assembly.Options {
	node, err := os.Hostname()
	if err != nil {
		node = "this node"
	}
	if _, port, err := net.SplitHostPort(s.Addr); err == nil && s.shared() { // several may run on one machine
		node = net.JoinHostPort(node, port)
	}
	var page http.Handler
	if s.MetricsAddr == "" {
		page = registry.Handler()
	}
	var tracer ports.Tracer
	if sent != nil {
		tracer = sent
	}
	return assembly.Options{
		Tracer: tracer,
		Tunables: app.Tunables{Issuer: s.Issuer, Audience: s.Audience, Access: s.Access, Refresh: s.Refresh, Session: s.Session, Leeway: s.Leeway,
			Environment: keysOf[s.Environment]},
		MaxStaleness: s.MaxStaleness, Strict: s.Strict, Poll: s.Poll, PasswordHasher: s.Hasher, BcryptCost: s.BcryptCost, Node: node, Version: buildVersion().Version, Canary: canaryEvery, Limits: s.Limits, Tethers: app.TethersOptions{MaxPerUser: s.PerUser, MaxOpen: s.PerServer}, FeedRetention: s.Retention, HTTP: s.HTTP,
		Files: files, Uploads: app.UploadsOptions{Rules: s.Uploads, Detect: mimetypes.Detect},
		AlertRules: s.AlertRules,
		ByHand:     byHand(s, get),
		Trail:      app.TrailOptions{Retention: s.AuditRetention, Send: sendCheckpoints(s.AuditCheckpoints)},
		Meter:      registry, Metrics: page, Rotation: app.RotatorOptions{Algorithm: s.Algorithm, Interval: s.Rotation},
		JWKS: func(keys func() []keyset.Key) http.Handler { return jwks.NewHandler(keys) }, Now: machineClock,
		Doors: doors(s),
	}
}

// openTelemetry makes ready to send traces and metrics; nil where nobody is to be sent any.
func openTelemetry(ctx context.Context, s settings, get lookup, registry *metrics.Registry, log *slog.Logger) (*otlptelemetry.Telemetry, func(), error) {
	if s.Collector == "" {
		return nil, func() {}, nil
	}
	text, _ := get(headersSetting)
	headers, _ := collectorHeaders(text) // it was checked
	t, err := otlptelemetry.Open(ctx, otlptelemetry.Options{Endpoint: s.Collector, Headers: headers, Version: buildVersion().Version, Ratio: s.TraceRatio, Every: s.MetricsEvery, Trusted: s.HTTP.Proxies.Trusted, Logger: log}, registry.Gatherer())
	if err != nil {
		return nil, nil, err
	}
	return t, t.Close, nil
}

// doors are the transports beside REST.
func doors(s settings) func(httpapi.Services, *slog.Logger) []httpapi.Mount {
	return func(all httpapi.Services, log *slog.Logger) []httpapi.Mount {
		api := graphqlapi.New(graphqlapi.Services{Sessions: all.Sessions, Accounts: all.Accounts, Revoker: all.Revoker, Rotator: all.Rotator, APIKeys: all.APIKeys, Tethers: all.Tethers, Live: all.Live, Blocks: all.Blocks, Alerts: all.Alerts, Incidents: all.Incidents, Disowner: all.Disowner, Uploads: all.Uploads},
			graphqlapi.Options{Logger: log, Introspection: s.Introspection})
		mounts := []httpapi.Mount{{Method: "GET", Path: "/graphql", Handler: api}, {Method: "POST", Path: "/graphql", Handler: api}}
		if s.Introspection {
			mounts = append(mounts, httpapi.Mount{Method: "GET", Path: "/graphiql", Handler: graphqlapi.GraphiQL()})
		}
		return mounts
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
	tethers  *app.Tethers
	uploads  *app.Uploads
	output   *output
}

func newSystem(api *httpapi.API, sent *otlptelemetry.Telemetry, db assembly.Database, registry watched, sinks *app.Sinks, firewall *app.Firewall, secrets *assembly.Secrets, log *slog.Logger, out *output) *system {
	api.Sinks, api.Firewall = sinks, firewall
	public := api.Handler()
	if sent != nil {
		public = sent.Handler(public)
	}
	return &system{Public: public, Operator: httpapi.AsOperator(api.Handler()), Metrics: registry.Handler(), Log: log, accounts: db.Stores.Accounts, setUp: api.SetUp, secrets: secrets.Secrets, tethers: api.Tethers, uploads: api.Uploads, output: out}
}
