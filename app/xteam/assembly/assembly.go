// Package assembly holds the steps by which every shape of XTeam is put together from its ports: the server's composition root and the
// embedded one share them. It opens nothing by itself that it does not close.
package assembly

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/xteam/xteam/adapters/badgerstore"
	"github.com/xteam/xteam/adapters/fieldcrypt"
	"github.com/xteam/xteam/adapters/httpapi"
	"github.com/xteam/xteam/adapters/journal"
	"github.com/xteam/xteam/adapters/jwtcodec"
	"github.com/xteam/xteam/adapters/memstore"
	"github.com/xteam/xteam/adapters/passhash"
	"github.com/xteam/xteam/adapters/wsfeed"
	"github.com/xteam/xteam/app"
	"github.com/xteam/xteam/app/view"
	"github.com/xteam/xteam/domain/alert"
	"github.com/xteam/xteam/domain/audit"
	"github.com/xteam/xteam/domain/instant"
	"github.com/xteam/xteam/domain/keyset"
	"github.com/xteam/xteam/ports"
)

// Options are what a system is tuned by.
type Options struct {
	Tunables       app.Tunables
	MaxStaleness   time.Duration      // of the view; default 5 s
	Strict         bool               // trust the database only
	Poll           time.Duration      // how often the database is asked for blocks of other nodes; default, and at most, 500 ms
	PasswordHasher string             // bcrypt or argon2id; default bcrypt
	BcryptCost     int                // default 12; with argon2id, of the hashes that are left from before
	Limits         app.LimiterOptions // all but its Now and Logger
	Tethers        app.TethersOptions
	FeedRetention  time.Duration      // how far back another service may resume; default as long as an access token lives
	Node           string             // this node's name in answers
	Version        string             // of the program, as this node tells the others
	Canary         time.Duration      // how often a canary is sent to all nodes; 0: none is
	HTTP           httpapi.Options    // of the transport, all but its Logger
	Rotation       app.RotatorOptions // of the signing keys: Algorithm, Interval and Lag
	// JWKS serves the public keys that it is given a way to ask for, under /.well-known/jwks.json; nil: nothing is served there.
	JWKS func(keys func() []keyset.Key) http.Handler
	// Doors makes other transports of the use cases, which stand inside the REST transport; nil: there are none.
	Doors      func(httpapi.Services, *slog.Logger) []httpapi.Mount
	Now        func() time.Time   // the clock by which tokens and sessions are judged; nil: time.Now
	ByHand     []string           // what only people can change after a break-in, a sentence each
	Files      ports.Files        // where uploaded files are kept; nil: none are taken
	Uploads    app.UploadsOptions // of Files: all but its Logger
	AlertRules []alert.Rule       // nil: those of alert.Rules
	Trail      app.TrailOptions   // of the audit trail: Retention and Send
	Meter      ports.Meter        // nil: nothing is counted
	Metrics    http.Handler       // served to administrators under /metrics; nil: nothing is
	Tracer     ports.Tracer       // nil: no request is followed
	// Codec, Passwords and Journal take the places of the system's own: tokens by jwtcodec, hashes by passhash, and lines to the logger.
	Codec     Codec
	Passwords ports.Passwords
	Journal   ports.Journal
}

// Codec writes and reads access tokens, and makes the keys for that.
type Codec interface {
	ports.Codec
	ports.SigningKeys
}

// Database is a store that is open, with the keys that it is sealed by.
type Database struct {
	Stores app.Stores
	MACs   ports.Authenticator
	Sealer ports.Sealer
	Mark   app.Mark // how far this node has seen the database come, kept elsewhere; nil: nowhere
	// Space answers how many bytes are free for the store, -1 when that is not known, and why it does not take everything: ports.ErrNoSpace while it takes nothing new.
	Space func() (free int64, err error)
	// Nodes is where nodes leave word for one another; nil: there is one node alone.
	Nodes ports.Nodes
	// Enter tells whoever else begins on the store that this program does, or that it must be alone there; nil: it is alone in any case.
	Enter func(ctx context.Context, alone bool) error
	// Clock is that of a server that others use too; nil: the store has none but this machine's.
	Clock func(context.Context) (time.Time, error)
	// Guests tells who has sessions of such a server; nil: nobody else has.
	Guests ports.Guests
}

// MinFreeSpace is the default of the free space below which a store takes nothing new, in bytes.
const MinFreeSpace = 256 << 20

// OpenBadger opens the embedded store in a folder, which takes nothing new while less than floor is free, in bytes. The secrets are asked only once the folder is this
// process' own.
func OpenBadger(ctx context.Context, folder string, floor int64, secrets *Secrets, log *slog.Logger) (Database, func(), error) {
	return OpenBadgerWith(ctx, folder, floor, secrets, log, func(Database) error { return nil })
}

// OpenBadgerWith is OpenBadger, and has before see to the keys of the store before it is unlocked with them.
func OpenBadgerWith(ctx context.Context, folder string, floor int64, secrets *Secrets, log *slog.Logger, before func(Database) error) (Database, func(), error) {
	db, err := badgerstore.Open(folder, badgerstore.Options{Logger: log, MinFreeSpace: floor})
	if err != nil {
		return Database{}, nil, err
	}
	if err := before(Database{Stores: app.Stores{Keys: db.Keys()}}); err != nil {
		return Database{}, nil, errors.Join(err, db.Close())
	}
	keyring, err := Unlock(ctx, db.Keys(), secrets)
	if err != nil {
		return Database{}, nil, errors.Join(err, db.Close())
	}
	db.Unlock(keyring)
	stores := app.Stores{Accounts: db.Accounts(), Sessions: db.Sessions(), APIKeys: db.APIKeys(), Keys: db.Keys(), System: db.System(), Blocks: db.Blocks(), Revocations: db.Revocations(), Events: db.Events(), Trail: db.Trail(), TrailCare: db.Trail(), Cursors: db.Cursors(), Alerts: db.Alerts(), Incidents: db.Incidents(), Uploads: db.Uploads()}
	return Database{Stores: stores, MACs: keyring, Sealer: keyring, Space: db.Space}, func() {
		if err := db.Close(); err != nil {
			log.Error("The store could not be closed", "error", err.Error())
		}
	}, nil
}

// Unlock opens the data keys of a store with ROOT_KEY, which is made for a new store only: of another one, another root key opens nothing. ROOT_KEY_PREVIOUS is the root key
// that is to be replaced.
func Unlock(ctx context.Context, keys ports.Keys, secrets *Secrets) (*fieldcrypt.Keyring, error) {
	if err := secrets.Read(ctx); err != nil {
		return nil, err
	}
	root := secrets.Values().Root
	if root.IsZero() {
		_, err := keys.Find(ctx, keyset.Data)
		switch {
		case errors.Is(err, ports.ErrNotFound):
			if root, err = secrets.make(ctx, app.RootKey); err != nil {
				return nil, err
			}
		case err != nil:
			return nil, fmt.Errorf("read the data keys: %w", err)
		default:
			return nil, secrets.without(app.RootKey)
		}
	}
	return fieldcrypt.Open(ctx, keys, root, secrets.Values().RootWas, rand.Reader, instant.Of(time.Now()))
}

// Feeds are sources of revocations beside the database, which are faster.
type Feeds []view.Source

// StartView follows the database and the feeds until the cleanup, and answers once everything that is live has been heard of the database.
func StartView(ctx context.Context, db Database, feeds Feeds, o Options, log *slog.Logger) (*view.View, func(), error) {
	how := view.Options{MaxStaleness: o.MaxStaleness, Strict: o.Strict, Logger: log, AwaitHealer: true}
	if o.Meter != nil {
		how.Visible = o.Meter.Visible
	}
	v := view.New(how, append([]view.Source{{Name: "database", Truth: true, Revocations: db.Stores.Revocations}}, feeds...)...)
	stop := background(ctx, func(ctx context.Context) { _ = v.Run(ctx) }) // it ends with its context alone
	if err := v.Ready(ctx); err != nil {
		stop()
		return nil, nil, fmt.Errorf("load the revocations: %w", err)
	}
	return v, stop, nil
}

// OtherClocks are those of stores beside the database that nodes share.
type OtherClocks []app.Clock

// StartClocks compares the clock of this machine with those of the stores until the cleanup. It refuses one that is too far off.
func StartClocks(ctx context.Context, db Database, others OtherClocks, log *slog.Logger) (*app.Clocks, func(), error) {
	var all []app.Clock
	if db.Clock != nil {
		all = append(all, app.Clock{Name: "the database", Now: db.Clock})
	}
	if all = append(all, others...); all == nil {
		return nil, func() {}, nil
	}
	c := app.NewClocks(log, time.Now, all...)
	if err := c.Compare(ctx); err != nil {
		return nil, nil, err
	}
	return c, background(ctx, c.Run), nil
}

// background runs work until the function that it answers is called, which waits for its end.
func background(ctx context.Context, work func(context.Context)) (stop func()) {
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	done := make(chan struct{})
	go func() {
		defer close(done)
		work(ctx)
	}()
	return func() {
		cancel()
		<-done
	}
}

// NewCodec writes and reads tokens. It has no keys before StartRotator.
func NewCodec() *jwtcodec.Codec { return jwtcodec.New(jwtcodec.Options{}) }

// StartRotator gives the codec its keys, and looks after them and the secrets until the cleanup.
func StartRotator(ctx context.Context, c *app.Core, codec *jwtcodec.Codec, db Database, secrets *Secrets, o Options, log *slog.Logger) (*app.Rotator, func(), error) {
	o.Rotation.Logger, o.Rotation.Make, o.Rotation.Kept, o.Rotation.Versions = log, secrets.makeSigning, secrets.isKept, secrets.source.Versions
	var signing ports.SigningKeys = codec
	if o.Codec != nil {
		signing = o.Codec
	}
	r := app.NewRotator(c, signing, db.Sealer, secrets.Secrets, o.Rotation)
	if err := r.Start(ctx); err != nil {
		return nil, nil, err
	}
	secrets.OnChange(func(ctx context.Context, was, is app.SecretValues) error {
		if was.Root == is.Root {
			return nil
		}
		if err := fieldcrypt.Rewrap(ctx, db.Stores.Keys, was.Root, is.Root, rand.Reader); err != nil {
			return err
		}
		log.Info("The data keys were wrapped under another ROOT_KEY")
		return nil
	})
	return r, background(ctx, func(ctx context.Context) { // both end at once: each may wait for the other
		var both sync.WaitGroup
		both.Go(func() { r.Run(ctx) })
		both.Go(func() { secrets.Run(ctx) })
		both.Wait()
	}), nil
}

// NewPasswords hashes with the configured kind and cost.
func NewPasswords(o Options) (*passhash.Hasher, error) {
	how := passhash.Options{Kind: passhash.Kind(o.PasswordHasher), Cost: o.BcryptCost}
	if o.Meter != nil {
		how.Hashed = o.Meter.Hashed
	}
	return passhash.New(how)
}

// StartCore makes what the use cases stand on, and notes the lifetime of access tokens before the first is issued.
func StartCore(ctx context.Context, db Database, v *view.View, codec ports.Codec, passwords ports.Passwords, journal ports.Journal, l *app.Limiter, clocks *app.Clocks, o Options, log *slog.Logger) (*app.Core, error) {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Codec != nil {
		codec = o.Codec
	}
	if o.Passwords != nil {
		passwords = o.Passwords
	}
	if o.Tracer != nil {
		db.Stores, passwords = db.Stores.Traced(o.Tracer), app.TracedPasswords(passwords, o.Tracer)
	}
	c := &app.Core{
		Stores: db.Stores, View: v, Codec: codec, Passwords: passwords, MACs: db.MACs, Journal: journal,
		Random: rand.Reader, Now: o.Now, Tunables: o.Tunables, Limiter: l, Clocks: clocks, Logger: log,
	}
	if err := c.Start(ctx); err != nil {
		return nil, fmt.Errorf("start the use cases: %w", err)
	}
	return c, nil
}

// StartPending writes down the revocations that the database could not take at once, and sees to what sources of revocations have lost, until the cleanup; the latter from StartNodes on.
func StartPending(ctx context.Context, c *app.Core, db Database, log *slog.Logger) (*app.Pending, func(), error) {
	p, h := app.NewPending(c, log), app.NewHealing(c, log)
	if err := h.Compare(ctx, db.Mark); err != nil {
		return nil, nil, fmt.Errorf("hold the database against what this node has seen of it: %w", err)
	}
	return p, background(ctx, func(ctx context.Context) {
		var both sync.WaitGroup
		both.Go(func() { p.Run(ctx) })
		both.Go(func() { h.Run(ctx) })
		both.Wait()
	}), nil
}

// StartSessions runs the sessions' housekeeping until the cleanup.
func StartSessions(ctx context.Context, c *app.Core) (*app.Sessions, func()) {
	s := app.NewSessions(c)
	return s, background(ctx, s.Run)
}

// StartAPIKeys writes down how keys are used until the cleanup.
func StartAPIKeys(ctx context.Context, c *app.Core, g *app.Guard) (*app.APIKeys, func()) {
	k := app.NewAPIKeys(c, g)
	return k, background(ctx, k.Run)
}

// StartBlocks loads the blocked addresses, and follows them until the cleanup.
func StartBlocks(ctx context.Context, c *app.Core, o Options, log *slog.Logger) (*app.Blocks, func(), error) {
	b := app.NewBlocks(c, app.BlocksOptions{Proxies: o.HTTP.Proxies.Trusted, Poll: o.Poll, Logger: log})
	if err := b.Start(ctx); err != nil {
		return nil, nil, err
	}
	return b, background(ctx, b.Run), nil
}

// Boards are places beside the database where nodes leave word for one another.
type Boards []app.Board

// StartNodes tells the other nodes of this one, and hears them, until the cleanup.
func StartNodes(ctx context.Context, c *app.Core, db Database, boards Boards, blocks *app.Blocks, incidents *app.Incidents, o Options, log *slog.Logger) (*app.Nodes, func(), error) {
	if db.Nodes != nil {
		boards = append(Boards{{Name: "the database", Nodes: db.Nodes}}, boards...)
	}
	n, err := app.NewNodes(c, app.NodesOptions{Name: o.Node, Version: o.Version, Poll: o.Poll, Canary: o.Canary, Logger: log}, boards...)
	if err != nil {
		return nil, nil, err
	}
	n.AnswerBlocks(blocks.Revision, blocks.Look)
	incidents.AnswerTo(n)
	n.Greet(ctx)
	if c.Healing != nil {
		c.Healing.Heal()
	}
	return n, background(ctx, n.Run), nil
}

// closeWithin is how long clients have to take leave at the end: a WebSocket that does not answer the close is cut off before that.
const closeWithin = 6 * time.Second

// StartTethers ends what is open once it would not be let in again, until the cleanup, which waits for what is open.
func StartTethers(ctx context.Context, c *app.Core, g *app.Guard, b *app.Blocks, o Options, log *slog.Logger) (*app.Tethers, func()) {
	o.Tethers.Blocked, o.Tethers.Again, o.Tethers.Isolated = b.Blocked, g.Again, func() bool { return c.Incidents.Isolated() }
	t := app.NewTethers(c, o.Tethers)
	b.OnChange(t.Look)
	stop := background(ctx, t.Run)
	return t, func() {
		t.Stop()
		within, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeWithin)
		defer cancel()
		if err := t.Drain(within); err != nil {
			log.Warn("Connections were cut off at the stop", "error", err.Error())
		}
		stop()
	}
}

// Streams are what stays open, and what tells it of news.
type Streams struct {
	Tethers *app.Tethers
	Live    *app.Live
	Feed    *app.Feed
	Tickets *app.Tickets
}

// NewStreams makes what other services and sockets follow.
func NewStreams(c *app.Core, db Database, buckets ports.Buckets, t *app.Tethers, l *app.Live, o Options) (Streams, error) {
	feed, err := app.NewFeed(c, o.FeedRetention)
	return Streams{Tethers: t, Live: l, Feed: feed, Tickets: app.NewTickets(c, db.Sealer, buckets)}, err
}

// mounts are the transports beside REST.
func (s *Streams) mounts() []httpapi.Mount {
	return []httpapi.Mount{{Method: "GET", Path: "/ws", Handler: wsfeed.New(s.Tethers, s.Live, s.Tickets, wsfeed.Options{})}}
}

// StartLive stands before the journal, and tells of events until the cleanup.
func StartLive(ctx context.Context, j *journal.Journal, db Database, o Options) (*app.Live, func()) {
	var lines ports.Journal = j
	if o.Journal != nil {
		lines = o.Journal
	}
	l := app.NewLive(counting{lines, o.Meter}, db.Stores.Events, db.Sealer)
	return l, background(ctx, l.Run)
}

// counting is a journal whose events are counted, where anything is.
type counting struct {
	ports.Journal
	meter ports.Meter // nil: nothing is
}

func (c counting) Write(ctx context.Context, events ...audit.Event) {
	if c.meter != nil {
		for i := range events {
			c.meter.Told(string(events[i].Kind), string(events[i].Outcome))
		}
	}
	c.Journal.Write(ctx, events...)
}

// StartTrail links events into the audit trail until the cleanup, which links what is left.
func StartTrail(ctx context.Context, c *app.Core, db Database, o Options, log *slog.Logger) (*app.Trail, func()) {
	o.Trail.Logger = log
	t := app.NewTrail(c, db.Sealer, o.Trail)
	return t, background(ctx, t.Run)
}

// StartUploads settles what a crash has left in doubt among the files, and sees to it until the cleanup; nil where no files are taken.
func StartUploads(ctx context.Context, c *app.Core, o Options, log *slog.Logger) (*app.Uploads, func()) {
	if o.Files == nil {
		return nil, func() {}
	}
	o.Uploads.Logger = log
	u := app.NewUploads(c, o.Files, o.Uploads)
	if err := u.Settle(ctx); err != nil && !errors.As(err, new(*app.StrangeFilesError)) { // whoever starts to serve is told of those
		log.Warn("What is in doubt among the files could not be settled; it is tried again", "error", err.Error())
	}
	return u, background(ctx, u.Run)
}

// StartAlerts holds events against the rules until the cleanup.
func StartAlerts(ctx context.Context, c *app.Core, trail *app.Trail, blocks *app.Blocks, r *app.Revoker, o Options, log *slog.Logger) (*app.Alerts, func(), error) {
	a, err := app.NewAlerts(c, trail, blocks, r, app.AlertsOptions{Rules: o.AlertRules, Logger: log})
	if err != nil {
		return nil, nil, err
	}
	return a, background(ctx, a.Run), nil
}

// StartSinks sends events to other places until the cleanup.
func StartSinks(ctx context.Context, c *app.Core, all []app.SinkOptions, log *slog.Logger) (*app.Sinks, func(), error) {
	s, err := app.NewSinks(c, log, all...)
	if err != nil {
		return nil, nil, err
	}
	return s, background(ctx, s.Run), nil
}

// StartFirewall keeps the list of a firewall until the cleanup; nil where there is none.
func StartFirewall(ctx context.Context, c *app.Core, b *app.Blocks, wall ports.Firewall, log *slog.Logger) (*app.Firewall, func(), error) {
	if wall == nil {
		return nil, func() {}, nil
	}
	f, err := app.NewFirewall(c, b, wall, app.FirewallOptions{Logger: log})
	if err != nil {
		return nil, nil, err
	}
	return f, background(ctx, f.Run), nil
}

// StartGuests watches who has sessions of stores until the cleanup; nil where nothing is said of whence they may come, or where there are none.
func StartGuests(ctx context.Context, c *app.Core, stores []app.WatchedStore, o app.GuestsOptions) (*app.Guests, func(), error) {
	if len(o.Networks) == 0 || len(stores) == 0 {
		return nil, func() {}, nil
	}
	g, err := app.NewGuests(c, stores, o)
	if err != nil {
		return nil, nil, err
	}
	return g, background(ctx, g.Run), nil
}

// NewDisowner takes links by which users end sign-ins. It tells nobody of them.
func NewDisowner(c *app.Core, db Database) *app.Disowner {
	return app.NewDisowner(c, db.Sealer, nil, "")
}

// StartIncidents follows what is done about break-ins until the cleanup. Nobody is served before it is known whether this node is to serve.
func StartIncidents(ctx context.Context, c *app.Core, a *app.Accounts, r *app.Revoker, blocks *app.Blocks, k *app.APIKeys, trail *app.Trail, t *app.Tethers, o Options, log *slog.Logger) (*app.Incidents, func(), error) {
	i := app.NewIncidents(c, a, r, blocks, k, trail, app.IncidentsOptions{Node: o.Node, ByHand: o.ByHand, Logger: log})
	if err := i.Start(ctx); err != nil {
		return nil, nil, err
	}
	i.OnChange(t.Look)
	return i, background(ctx, i.Run), nil
}

// NewRevoker names this node in its answers.
func NewRevoker(c *app.Core, s *app.Sessions, o Options) *app.Revoker {
	return app.NewRevoker(c, s, o.Node)
}

// NewBuckets are kept in this process' memory.
func NewBuckets() ports.Buckets { return memstore.NewBuckets(memstore.BucketsOptions{}) }

// StartLimiter counts requests in buckets, and tells of those that are refused until the cleanup.
func StartLimiter(ctx context.Context, buckets ports.Buckets, clocks *app.Clocks, o Options, journal ports.Journal, log *slog.Logger) (*app.Limiter, func(), error) {
	o.Limits.Logger, o.Limits.Now = log, o.Now
	if clocks != nil {
		o.Limits.Now = func() time.Time { return clocks.Shared(time.Now()) }
	}
	l, err := app.NewLimiter(buckets, journal, rand.Reader, o.Limits)
	if err != nil {
		return nil, nil, err
	}
	return l, background(ctx, l.Run), nil
}

// NewAPI serves the use cases over HTTP.
func NewAPI(db Database, v *view.View, g *app.Guard, k *app.APIKeys, l *app.Limiter, s *app.Sessions, a *app.Accounts, first *app.SetUp, r *app.Revoker, keys *app.Rotator, owed *app.Pending, trail *app.Trail, alerts *app.Alerts, incidents *app.Incidents, links *app.Disowner, blocks *app.Blocks, nodes *app.Nodes, uploads *app.Uploads, secrets *Secrets, streams Streams, o Options, log *slog.Logger) *httpapi.API {
	probe := func(ctx context.Context) error {
		if _, err := db.Stores.System.Load(ctx); err != nil {
			return err
		}
		_, err := db.Space()
		return err
	}
	var jwks http.Handler
	if o.JWKS != nil {
		jwks = o.JWKS(keys.PublicKeys)
	}
	o.HTTP.Logger, o.HTTP.Cookies.Refresh = log, o.Tunables.Refresh
	services := httpapi.Services{Guard: g, Sessions: s, Accounts: a, SetUp: first, Revoker: r, Rotator: keys, Secrets: secrets.Secrets, JWKS: jwks, APIKeys: k, Tethers: streams.Tethers, Live: streams.Live, Feed: streams.Feed, Tickets: streams.Tickets, Mounts: streams.mounts(), Trail: trail, View: v, Pending: owed, Alerts: alerts, Incidents: incidents, Disowner: links, Blocks: blocks, Nodes: nodes, Uploads: uploads, Limiter: l, Probe: probe, Meter: o.Meter, Metrics: o.Metrics}
	if o.Doors != nil {
		services.Mounts = append(services.Mounts, o.Doors(services, log)...)
	}
	return httpapi.New(services, o.HTTP)
}
