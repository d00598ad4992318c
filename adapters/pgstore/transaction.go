package pgstore

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/xteam/xteam/adapters/pgstore/queries"
	"github.com/xteam/xteam/domain/audit"
	"github.com/xteam/xteam/domain/revocation"
	"github.com/xteam/xteam/ports"
)

// attempts is how often a transaction that lost against another is tried.
const attempts = 8

// portion is how many entries or events one statement writes.
const portion = 4096

// transaction is one change. It takes two round trips: begin and the first read, which locks the row; and all that is written, with the commit. What only creates takes one.
type transaction struct {
	db    *DB
	conn  *pgxpool.Conn
	begun bool
	batch pgx.Batch // what is written, and sent by commit

	// first reads the row that is to be changed, under its lock. It is used once at most.
	first *queries.Queries
	// then takes what is to be written. It does nothing yet.
	then *queries.Queries
}

// change runs step in a transaction, again when it lost against another, and commits what it wrote with its effects. Whoever changes the same key in this process waits outside.
func (db *DB) change(ctx context.Context, doing, key string, step func(context.Context, *transaction) (ports.Effects, error)) error {
	if err := db.ready(ctx); err != nil {
		return err
	}
	release, err := db.own(ctx, doing, key)
	if err != nil {
		return err
	}
	defer release()
	return db.told(ctx, doing, db.repeat(ctx, func() error { return db.attempt(ctx, step) }))
}

// own has a key to itself, among the changes of this process.
func (db *DB) own(ctx context.Context, doing, key string) (release func(), err error) {
	release = db.locks.lock(ctx, key, db.options.Wait)
	switch {
	case release == nil && ctx.Err() != nil:
		return nil, ctx.Err()
	case release == nil:
		return nil, fmt.Errorf("%s the database %s: %w: its record was busy for %v", doing, db.name, ports.ErrUnavailable, db.options.Wait)
	}
	return release, nil
}

// repeat runs a transaction again where nothing of it can have happened: it lost against another, the server was read-only, or the connection broke before a commit was sent.
func (db *DB) repeat(ctx context.Context, run func() error) error {
	broken := false
	for n := 1; ; n++ {
		err := run()
		var l *lost
		if err == nil || ctx.Err() != nil || !errors.As(err, &l) || l.unknown || db.isClosing() {
			return err
		}
		switch c := code(err); {
		case (c == serializationFailure || c == deadlockDetected) && n < attempts:
			pause := time.NewTimer(time.Millisecond << n)
			select {
			case <-pause.C:
			case <-ctx.Done():
			}
			pause.Stop()
		case (c == readOnlyTransaction || c == "" && !late(err) || c != "" && c[:2] == "57" && c != queryCanceled) && !broken:
			broken = true
			if c == readOnlyTransaction { // of the others in the pool none is better
				db.pool.Reset()
			}
		default:
			return err
		}
	}
}

func (db *DB) attempt(ctx context.Context, step func(context.Context, *transaction) (ports.Effects, error)) error {
	conn, err := db.acquire(ctx)
	if err != nil {
		return err
	}
	defer conn.Release()
	ctx, cancel := db.bound(ctx)
	defer cancel()
	tx := &transaction{db: db, conn: conn}
	tx.first, tx.then = queries.New(opening{tx}), queries.New(queueing{tx})
	defer tx.rollback()
	effects, err := step(ctx, tx)
	if err != nil {
		return err
	}
	if err := db.effects(ctx, tx.then, effects); err != nil {
		return err
	}
	if err := tx.commit(ctx); err != nil {
		return err
	}
	if len(effects.Revocations) > 0 {
		db.followers.wake()
	}
	return nil
}

// bound is a context in which a server that has gone silent is noticed: one that lives has ended the statement by then.
func (db *DB) bound(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, db.options.StatementTimeout+time.Second)
}

// late says that a server did not answer in time. It is not asked again in the same call.
func late(err error) bool {
	var network net.Error
	return errors.Is(err, context.DeadlineExceeded) || errors.As(err, &network) && network.Timeout()
}

// errNoRoom says that the pool had no connection in time.
var errNoRoom = errors.New("no connection was free in time")

// acquire takes a connection, for which it waits a bounded time.
func (db *DB) acquire(ctx context.Context) (*pgxpool.Conn, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	waiting, cancel := context.WithTimeout(ctx, db.options.Wait)
	defer cancel()
	conn, err := db.pool.Acquire(waiting)
	switch {
	case err == nil:
		return conn, nil
	case waiting.Err() != nil && ctx.Err() == nil:
		return nil, fmt.Errorf("use the database %s: %w: %w: %v", db.name, ports.ErrUnavailable, errNoRoom, db.options.Wait)
	}
	return nil, &lost{err: err}
}

// read runs one read on a connection of the pool, once more when that was broken.
func read[T any](ctx context.Context, db *DB, fn func(context.Context, *queries.Queries) (T, error)) (v T, err error) {
	if err := db.ready(ctx); err != nil {
		return v, err
	}
	err = db.repeat(ctx, func() error {
		conn, err := db.acquire(ctx)
		if err != nil {
			return err
		}
		defer conn.Release()
		short, cancel := db.bound(ctx)
		defer cancel()
		if v, err = fn(short, queries.New(conn)); err != nil && !errors.Is(err, pgx.ErrNoRows) {
			return &lost{err: err}
		}
		return err
	})
	return v, db.told(ctx, "read", err)
}

// found is what a first read answers: ports.ErrNotFound, or a failure that may be tried again.
func found(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, pgx.ErrNoRows):
		return ports.ErrNotFound
	}
	return &lost{err: err}
}

// commit sends everything that was written, and the commit with it: of a pipeline whose statement fails the server skips the rest.
func (tx *transaction) commit(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return &lost{err: err}
	}
	batch := &pgx.Batch{}
	if !tx.begun {
		batch.Queue("begin")
	}
	batch.QueuedQueries = append(batch.QueuedQueries, tx.batch.QueuedQueries...)
	batch.Queue("commit")
	tx.begun = true
	answers := tx.conn.SendBatch(ctx, batch)
	var tag pgconn.CommandTag
	var err error
	for range batch.Len() {
		if tag, err = answers.Exec(); err != nil {
			break
		}
	}
	if closed := answers.Close(); err == nil {
		err = closed
	}
	var answer *pgconn.PgError
	switch {
	case err == nil && tag.String() != "COMMIT":
		return &lost{err: errors.New("a commit was answered with a roll-back")}
	case err == nil:
		tx.begun = false
		return nil
	case errors.As(err, &answer) && answer.Severity == "ERROR" || pgconn.SafeToRetry(err): // it has rolled back, or has never heard of it
		return &lost{err: err}
	}
	return &lost{err: err, unknown: true}
}

// rollback ends a transaction that was not committed, whatever became of its context.
func (tx *transaction) rollback() {
	if !tx.begun || tx.conn.Conn().IsClosed() {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), tx.db.options.Wait)
	defer cancel()
	_, _ = tx.conn.Exec(ctx, "rollback") // a connection that has not left its transaction is closed by the pool
}

// opening is the connection of a first read: it sends begin with it.
type opening struct{ tx *transaction }

func (o opening) QueryRow(ctx context.Context, sql string, args ...any) pgx.Row {
	batch := &pgx.Batch{}
	batch.Queue("begin")
	batch.Queue(sql, args...)
	o.tx.begun = true
	answers := o.tx.conn.SendBatch(ctx, batch)
	if _, err := answers.Exec(); err != nil {
		_ = answers.Close()
		return failed{err}
	}
	return last{answers.QueryRow(), answers}
}

func (o opening) Exec(context.Context, string, ...any) (pgconn.CommandTag, error) {
	return pgconn.CommandTag{}, errMisused
}

func (o opening) Query(context.Context, string, ...any) (pgx.Rows, error) { return nil, errMisused }

var errMisused = errors.New("this statement does not belong here")

// last is the last row of a pipeline, which it closes.
type last struct {
	row     pgx.Row
	answers pgx.BatchResults
}

func (l last) Scan(into ...any) error {
	err := l.row.Scan(into...)
	if closed := l.answers.Close(); err == nil {
		err = closed
	}
	return err
}

type failed struct{ err error }

func (f failed) Scan(...any) error { return f.err }

// queueing keeps statements for commit.
type queueing struct{ tx *transaction }

func (q queueing) Exec(_ context.Context, sql string, args ...any) (pgconn.CommandTag, error) {
	q.tx.batch.Queue(sql, args...)
	return pgconn.CommandTag{}, nil
}

func (q queueing) Query(context.Context, string, ...any) (pgx.Rows, error) { return nil, errMisused }

func (q queueing) QueryRow(context.Context, string, ...any) pgx.Row { return failed{errMisused} }

// effects adds the consequences of a change. Entries go in one order for everybody, so that nobody waits in a circle.
func (db *DB) effects(ctx context.Context, q *queries.Queries, e ports.Effects) error {
	if err := validate(e.Revocations); err != nil {
		return err
	}
	for part := range slices.Chunk(e.Revocations, portion) {
		if err := db.addRevocations(ctx, q, part); err != nil {
			return err
		}
	}
	if len(e.Events) > 0 {
		return db.addEvents(ctx, q, e.Events)
	}
	return nil
}

func (db *DB) addRevocations(ctx context.Context, q *queries.Queries, entries []revocation.Entry) error {
	type item struct {
		key string
		at  int
	}
	order := make([]item, len(entries))
	for i := range entries {
		order[i] = item{entries[i].Key(), i}
	}
	slices.SortStableFunc(order, func(a, b item) int { return cmp.Compare(a.key, b.key) }) // of one key the first stays the first
	var p queries.AddRevocationsParams
	for _, o := range order {
		e := &entries[o.at]
		note := []byte{}
		if e.Note != "" {
			sealed, err := db.seal(revocationContext+o.key, []byte(e.Note))
			if err != nil {
				return err
			}
			note = sealed
		}
		p.Keys, p.Reasons, p.AskedBy = append(p.Keys, []byte(o.key)), append(p.Reasons, int16(e.Reason)), append(p.AskedBy, []byte(e.By))
		p.Notes, p.Ats, p.Untils = append(p.Notes, note), append(p.Ats, int64(e.At)), append(p.Untils, int64(e.Until))
	}
	return q.AddRevocations(ctx, p)
}

func (db *DB) addEvents(ctx context.Context, q *queries.Queries, events []audit.Event) error {
	var p queries.AddEventsParams
	for _, v := range events {
		sealed, err := db.seal(eventContext+string(v.ID[:]), encodeEvent(v))
		if err != nil {
			return err
		}
		p.Ids, p.Sealed = append(p.Ids, v.ID[:]), append(p.Sealed, sealed)
	}
	return q.AddEvents(ctx, p)
}

func validate(entries []revocation.Entry) error {
	for i := range entries {
		if err := entries[i].Validate(); err != nil {
			return err
		}
	}
	return nil
}
