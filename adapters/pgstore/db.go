package pgstore

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/xteam/xteam/adapters/pgstore/queries"
	"github.com/xteam/xteam/domain/instant"
	"github.com/xteam/xteam/domain/system"
	"github.com/xteam/xteam/ports"
)

// DB is an open store. Its ports share it and its transactions.
type DB struct {
	name    string // of the database, for people: HOST:PORT/NAME
	options Options
	pool    *pgxpool.Pool
	alone   *pgx.ConnConfig // of connections beside the pool
	sealer  atomic.Pointer[ports.Sealer]
	opened  time.Time // by both clocks

	locks     *stripes
	together  together
	state     sharedRead[system.State]
	named     locksByName   // the turns of this process
	turns     chan struct{} // holds one for each turn
	followers followers
	noteLost  sync.Once // tells of the first

	said chan struct{} // closed once a word was left
	word sync.Once

	closing chan struct{}
	once    sync.Once
	closed  error
	keeping sync.WaitGroup
}

// What records are sealed for, beside their own ids: no record can take another's place.
const (
	accountContext    = "accounts/"
	sessionContext    = "sessions/"
	apiKeyContext     = "api_keys/"
	uploadContext     = "uploads/"
	revocationContext = "revocations/"
	eventContext      = "events/"
	trailContext      = "trail/"
)

// Accounts answers the port of accounts.
func (db *DB) Accounts() *Accounts { return &Accounts{db} }

// Sessions answers the port of sessions.
func (db *DB) Sessions() *Sessions { return &Sessions{db} }

// APIKeys answers the port of API keys.
func (db *DB) APIKeys() *APIKeys { return &APIKeys{db} }

// Uploads answers the port of files.
func (db *DB) Uploads() *Uploads { return &Uploads{db} }

// Keys answers the port of key rings.
func (db *DB) Keys() *Keys { return &Keys{db} }

// Blocks answers the port of blocked networks.
func (db *DB) Blocks() *Blocks { return &Blocks{db} }

// Nodes answers the port of the nodes' words.
func (db *DB) Nodes() *Nodes { return &Nodes{db} }

// System answers the port of the system's state.
func (db *DB) System() *System { return &System{db} }

// Revocations answers the port of revocations.
func (db *DB) Revocations() *Revocations { return &Revocations{db} }

// Events answers the port of security events.
func (db *DB) Events() *Events { return &Events{db} }

// Trail answers the ports of the audit trail.
func (db *DB) Trail() *Trail { return &Trail{db} }

// Alerts answers the port of alerts.
func (db *DB) Alerts() *Alerts { return &Alerts{db} }

// Incidents answers the port of incidents.
func (db *DB) Incidents() *Incidents { return &Incidents{db} }

// Cursors answers the port of kept places.
func (db *DB) Cursors() *Cursors { return &Cursors{db} }

// Unlock hands over what seals and opens. Before it accounts, sessions, API keys, events and revocations with a note answer ports.ErrUnavailable.
func (db *DB) Unlock(sealer ports.Sealer) { db.sealer.Store(&sealer) }

// Ping asks the server for an answer.
func (db *DB) Ping(ctx context.Context) error {
	if err := db.ready(ctx); err != nil {
		return err
	}
	conn, err := db.acquire(ctx)
	if err != nil {
		return db.told(ctx, "ask", err)
	}
	defer conn.Release()
	short, cancel := db.bound(ctx)
	defer cancel()
	if err := conn.Ping(short); err != nil {
		return db.told(ctx, "ask", &lost{err: err})
	}
	return nil
}

// Clock is the time by the server's clock.
func (db *DB) Clock(ctx context.Context) (time.Time, error) {
	if err := db.ready(ctx); err != nil {
		return time.Time{}, err
	}
	conn, err := db.acquire(ctx)
	if err != nil {
		return time.Time{}, db.told(ctx, "ask", err)
	}
	defer conn.Release()
	short, cancel := db.bound(ctx)
	defer cancel()
	now, err := queries.New(conn).Clock(short)
	if err != nil {
		return time.Time{}, db.told(ctx, "ask", &lost{err: err})
	}
	return instant.Instant(now).Time(), nil
}

// Close waits for the calls that are under way, ends every Follow with ports.ErrUnavailable and closes all connections. When the server does not answer, it gives up after ten seconds,
// with an error. Later calls of the ports answer ports.ErrUnavailable; Close again answers as the first time.
func (db *DB) Close() error {
	db.once.Do(func() {
		close(db.closing)
		done := make(chan struct{})
		go func() {
			defer close(done)
			db.keeping.Wait()
			db.pool.Close()
		}()
		late := time.NewTimer(10 * time.Second)
		defer late.Stop()
		select {
		case <-done:
		case <-late.C:
			db.closed = fmt.Errorf("close the database %s: it has not answered for ten seconds; what was acknowledged is there", db.name)
		}
	})
	return db.closed
}

func (db *DB) isClosing() bool {
	select {
	case <-db.closing:
		return true
	default:
		return false
	}
}

// ready answers why a call cannot begin.
func (db *DB) ready(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if db.isClosing() {
		return db.errClosed()
	}
	return nil
}

func (db *DB) unlocked() (ports.Sealer, error) {
	if s := db.sealer.Load(); s != nil {
		return *s, nil
	}
	return nil, db.unreadable("a sealed record", errors.New("its data keys have not been opened yet"))
}

func (db *DB) seal(context string, plain []byte) ([]byte, error) {
	sealer, err := db.unlocked()
	if err != nil {
		return nil, err
	}
	sealed, err := sealer.Seal(context, plain)
	if err != nil {
		return nil, fmt.Errorf("seal a record of the database %s: %w: %w", db.name, ports.ErrUnavailable, err)
	}
	return sealed, nil
}

func (db *DB) open(context string, sealed []byte) ([]byte, error) {
	sealer, err := db.unlocked()
	if err != nil {
		return nil, err
	}
	return sealer.Open(context, sealed)
}
