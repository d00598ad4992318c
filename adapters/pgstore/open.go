package pgstore

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/xteam/xteam/adapters/pgstore/queries"
)

// Options are what may differ between stores. The zero value works.
type Options struct {
	// Logger hears of what goes wrong; nil: nobody does.
	Logger *slog.Logger
	// Poll is how often a follower of the revocations asks for new ones; default a second. More than a second is more than ports.Revocations promises.
	Poll time.Duration
	// MaxConns is how many connections the pool holds at most; default four for each processor, and at least eight. A follower has one more of its own.
	MaxConns int
	// Wait is how long a call waits for a connection, or for the record that another call of this process changes; default two seconds.
	Wait time.Duration
	// ConnectTimeout is how long a new connection may take; default three seconds.
	ConnectTimeout time.Duration
	// StatementTimeout is how long a statement may run, and how long a transaction may stand idle; default five seconds. The server ends it.
	StatementTimeout time.Duration
	// LockTimeout is how long a statement waits for a row that another node changes; default two seconds.
	LockTimeout time.Duration
	// Collect is how often what has expired is deleted; default an hour. Of many nodes one does it.
	Collect time.Duration
}

func (o Options) filled() Options {
	or := func(v *time.Duration, standard time.Duration) {
		if *v <= 0 {
			*v = standard
		}
	}
	or(&o.Poll, time.Second)
	or(&o.Wait, 2*time.Second)
	or(&o.ConnectTimeout, 3*time.Second)
	or(&o.StatementTimeout, 5*time.Second)
	or(&o.LockTimeout, 2*time.Second)
	or(&o.Collect, time.Hour)
	if o.MaxConns <= 0 {
		o.MaxConns = max(8, 4*runtime.GOMAXPROCS(0))
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return o
}

// oldest is the oldest server that is taken: PostgreSQL 14.
const oldest = 140000

// Open opens the store in a database that exists, and makes or moves on its tables, by one node of many. It refuses a server that is read-only, that may lose what it acknowledged
// (fsync=off), that is older than PostgreSQL 14, or whose tables are newer than this program. The error is one sentence for the operator, without the password.
func Open(ctx context.Context, text string, o Options) (*DB, error) {
	u, err := ParseURL(text)
	if err != nil {
		return nil, fmt.Errorf("DATABASE_URL: %w", err)
	}
	o = o.filled()
	cfg, err := configure(u, o)
	if err != nil {
		return nil, fmt.Errorf("DATABASE_URL: %w", err)
	}
	if err := prepare(ctx, cfg.ConnConfig); err != nil {
		return nil, fmt.Errorf("the database %s cannot be used: %w", u.Name, err)
	}
	pool, err := pgxpool.NewWithConfig(ctx, cfg)
	if err != nil {
		return nil, fmt.Errorf("the database %s cannot be used: %s", u.Name, why(err))
	}
	db := &DB{name: u.Name, options: o, pool: pool, alone: cfg.ConnConfig.Copy(), opened: time.Now(), locks: newStripes(), turns: make(chan struct{}, turning), said: make(chan struct{}), closing: make(chan struct{})}
	db.keeping.Go(db.keep)
	return db, nil
}

// configure makes the pool's configuration of a URL. What must hold is set last, whatever the URL says.
func configure(u URL, o Options) (*pgxpool.Config, error) {
	cfg, err := pgxpool.ParseConfig(u.dsn)
	if err != nil {
		return nil, errors.New("it cannot be used: look at its parameters, and at the files that they name") // what pgx says may hold a part of it
	}
	cfg.MaxConns, cfg.MinConns = int32(o.MaxConns), 0
	cfg.MaxConnLifetime, cfg.MaxConnLifetimeJitter, cfg.MaxConnIdleTime, cfg.HealthCheckPeriod = time.Hour, 10*time.Minute, 10*time.Minute, 30*time.Second
	c := cfg.ConnConfig
	c.DefaultQueryExecMode = pgx.QueryExecModeCacheStatement // never the simple protocol, which puts values into the text (CVE-2024-27304)
	c.ConnectTimeout = o.ConnectTimeout
	c.ValidateConnect = pgconn.ValidateConnectTargetSessionAttrsReadWrite // of several hosts the primary; never one that was demoted
	milliseconds := func(d time.Duration) string { return strconv.FormatInt(max(d.Milliseconds(), 1), 10) }
	for name, value := range map[string]string{
		"statement_timeout": milliseconds(o.StatementTimeout), "lock_timeout": milliseconds(o.LockTimeout),
		"idle_in_transaction_session_timeout": milliseconds(o.StatementTimeout), "default_transaction_isolation": "read committed", "client_encoding": "UTF8",
	} {
		c.RuntimeParams[name] = value
	}
	if c.RuntimeParams["application_name"] == "" {
		c.RuntimeParams["application_name"] = "xteam"
	}
	cfg.AfterConnect = func(ctx context.Context, conn *pgx.Conn) error { return queries.New(conn).SetDurable(ctx) }
	return cfg, nil
}

// prepare looks at the server, and makes or moves on its tables.
func prepare(ctx context.Context, c *pgx.ConnConfig) error {
	conn, err := pgx.ConnectConfig(ctx, c.Copy())
	if err != nil {
		return unreachable(err)
	}
	defer conn.Close(context.WithoutCancel(ctx)) //nolint:errcheck // it has served
	facts, err := queries.New(conn).ServerFacts(ctx)
	switch {
	case err != nil:
		return unreachable(err)
	case facts.Version < oldest:
		return fmt.Errorf("its server is PostgreSQL %d, want 14 or newer", facts.Version/10000)
	case facts.Fsync != "on":
		return errors.New("its server runs with fsync=off, so that a loss of power loses what it has acknowledged: set fsync=on")
	}
	if err := migrate(ctx, c); err != nil {
		return err
	}
	return probe(ctx, conn)
}

// probe locks a row, as every change does, and lets it go.
func probe(ctx context.Context, conn *pgx.Conn) error {
	tx, err := conn.Begin(ctx)
	if err != nil {
		return unreachable(err)
	}
	defer tx.Rollback(context.WithoutCancel(ctx)) //nolint:errcheck // nothing was written
	if _, err := queries.New(tx).LockSystem(ctx); err != nil {
		return unreachable(err)
	}
	return nil
}

// unreachable says why a server cannot be used, in words without a value.
func unreachable(err error) error {
	var (
		foreign x509.UnknownAuthorityError
		name    x509.HostnameError
		invalid x509.CertificateInvalidError
	)
	switch {
	case errors.As(err, &name):
		return fmt.Errorf("its server's certificate is for another name: %w", name)
	case errors.As(err, &foreign):
		return errors.New("its server's certificate is of an authority that is not trusted: name it with sslrootcert")
	case errors.As(err, &invalid):
		return fmt.Errorf("its server's certificate is not valid: %w", invalid)
	case strings.Contains(err.Error(), "server refused TLS connection"): // pgx has no other word for it
		return errors.New("its server does not speak TLS")
	case code(err) == invalidCatalogName:
		return errors.New(why(err) + ": make it, as with `createdb`; the first server that starts makes its tables")
	case code(err) == insufficientPrivilege:
		return errors.New("its user may not write the tables: make it their owner")
	case code(err) == readOnlyTransaction || errors.Is(err, pgconn.ErrReadOnlyConnection):
		return errors.New("its server is read-only: name the primary")
	}
	if code(err) != "" { // it has answered
		return errors.New(why(err))
	}
	return errors.New(why(err) + ": see that its server runs, and that DATABASE_URL names it")
}
