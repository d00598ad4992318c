package pgstore

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/xteam/xteam/adapters/pgstore/queries"
	"github.com/xteam/xteam/ports"
)

const (
	// companies is how many transactions of several changes are on their way at most. There is one, unless it is held up for so long, as by a row that another node has locked: then another sets out.
	companies = 4
	heldUp    = 20 * time.Millisecond
	// company is how many changes share one at most, and luggage how many entries and events one of them may bring.
	company, luggage = 64, 64
	// dawdling is how long a change may take to make up its mind while others wait for it.
	dawdling = 100 * time.Millisecond
	// lockWait has a row waited for 50 ms that is another node's: then each goes on alone.
	lockWait = "set local lock_timeout = 50"
)

// together is what gathers changes: those that come while the disk is busy with others share one transaction, and wait for the disk once. The first to come waits for nobody.
type together struct {
	mu      sync.Mutex
	waiting []*traveller
	leading int // companies on their way
	stuck   int // of which so many are held up
}

// traveller is one change of a company. Its step runs in the caller's own goroutine, once the company's first pipeline has locked and read its row.
type traveller struct {
	sql    string // locks and reads the row; empty: it reads none
	args   []any
	in     bool          // it has joined
	out    chan struct{} // closed when a company takes it along
	row    chan row
	made   chan bool  // whether it has something to write: in tx, with effects
	result chan error // errAlone: it is to be tried alone

	tx      *transaction
	effects ports.Effects
}

// row is what a first read answers.
type row struct {
	value []byte
	err   error
}

// errAlone says that something went wrong in a company, and that nothing of it happened: whose fault it was, turns out when each tries alone.
var errAlone = errors.New("a transaction of several changes failed")

// share runs step in a transaction that others share, and commits what it wrote with its effects; in one of its own, when that failed. Whoever changes the same key in this process waits outside;
// without a key nobody does.
func (db *DB) share(ctx context.Context, doing, key string, step func(context.Context, *transaction) (ports.Effects, error)) error {
	if err := db.ready(ctx); err != nil {
		return err
	}
	if key != "" {
		release, err := db.own(ctx, doing, key)
		if err != nil {
			return err
		}
		defer release()
	}
	err := db.travel(ctx, step)
	if errors.Is(err, errAlone) {
		err = db.repeat(ctx, func() error { return db.attempt(ctx, step) })
	}
	return db.told(ctx, doing, err)
}

// put commits effects alone.
func (db *DB) put(ctx context.Context, doing string, e ports.Effects) error {
	return db.share(ctx, doing, "", func(context.Context, *transaction) (ports.Effects, error) { return e, nil })
}

// travel runs step in a company.
func (db *DB) travel(ctx context.Context, step func(context.Context, *transaction) (ports.Effects, error)) error {
	t := &traveller{out: make(chan struct{}), row: make(chan row, 1), made: make(chan bool, 1), result: make(chan error, 1)}
	tx := &transaction{db: db}
	tx.first, tx.then = queries.New(asking{db, t}), queries.New(queueing{tx})
	ready := false
	defer func() {
		if !ready {
			t.made <- false
		}
	}()
	effects, err := step(ctx, tx)
	switch {
	case err != nil:
		return err
	case ctx.Err() != nil:
		return &lost{err: ctx.Err()}
	case len(effects.Revocations)+len(effects.Events)+tx.batch.Len() == 0:
		return nil
	case len(effects.Revocations)+len(effects.Events) > luggage:
		return errAlone
	}
	if err := validate(effects.Revocations); err != nil {
		return err
	}
	t.tx, t.effects, ready = tx, effects, true
	t.made <- true
	if !t.in {
		db.join(t)
	}
	if !db.setsOut(ctx, t) {
		return db.left(ctx)
	}
	select {
	case err := <-t.result:
		return err
	case <-ctx.Done():
		return &lost{err: ctx.Err(), unknown: true}
	}
}

// setsOut waits until a company takes t along, a bounded time. When it answers false, none will.
func (db *DB) setsOut(ctx context.Context, t *traveller) bool {
	late := time.NewTimer(db.options.Wait)
	defer late.Stop()
	select {
	case <-t.out:
		return true
	case <-late.C:
	case <-ctx.Done():
	}
	g := &db.together
	g.mu.Lock()
	defer g.mu.Unlock()
	i := slices.Index(g.waiting, t)
	if i >= 0 {
		g.waiting = slices.Delete(g.waiting, i, i+1)
	}
	return i < 0
}

// left is the error of one whom no company has taken along: nothing of the change has happened.
func (db *DB) left(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return &lost{err: err}
	}
	return fmt.Errorf("use the database %s: %w: it was busy with other changes for %v", db.name, ports.ErrUnavailable, db.options.Wait)
}

// asking is the connection of a traveller's first read.
type asking struct {
	db *DB
	t  *traveller
}

func (a asking) QueryRow(ctx context.Context, sql string, args ...any) pgx.Row {
	a.t.sql, a.t.args, a.t.in = sql, args, true
	a.db.join(a.t)
	if !a.db.setsOut(ctx, a.t) {
		return failed{a.db.left(ctx)}
	}
	select {
	case r := <-a.t.row:
		return r
	case <-ctx.Done():
		return failed{ctx.Err()}
	}
}

func (a asking) Exec(context.Context, string, ...any) (pgconn.CommandTag, error) {
	return pgconn.CommandTag{}, errMisused
}

func (a asking) Query(context.Context, string, ...any) (pgx.Rows, error) { return nil, errMisused }

// Scan is of pgx.Row.
func (r row) Scan(into ...any) error {
	if r.err != nil {
		return r.err
	}
	to, ok := into[0].(*[]byte)
	if !ok || len(into) != 1 {
		return errMisused
	}
	*to = r.value
	return nil
}

// join has a traveller taken along, by a company that sets out now if it may.
func (db *DB) join(t *traveller) {
	db.together.mu.Lock()
	defer db.together.mu.Unlock()
	db.together.waiting = append(db.together.waiting, t)
	db.depart()
}

// depart has a company set out if somebody waits and none is on its way that gets on. It is called with the lock held.
func (db *DB) depart() {
	if g := &db.together; len(g.waiting) > 0 && g.leading == g.stuck && g.leading < companies {
		g.leading++
		go db.lead()
	}
}

// lead carries companies as long as somebody waits.
func (db *DB) lead() {
	g := &db.together
	for {
		g.mu.Lock()
		n := min(len(g.waiting), company)
		if n == 0 {
			g.leading--
			g.mu.Unlock()
			return
		}
		all := slices.Clone(g.waiting[:n])
		g.waiting = slices.Delete(g.waiting, 0, n)
		g.mu.Unlock()
		for _, t := range all {
			close(t.out)
		}
		late := time.AfterFunc(heldUp, func() {
			g.mu.Lock()
			defer g.mu.Unlock()
			g.stuck++
			db.depart()
		})
		db.carry(all)
		if !late.Stop() {
			g.mu.Lock()
			g.stuck--
			g.mu.Unlock()
		}
	}
}

// carry takes a company through one transaction. Where the database does not answer, those who wait hear so too: they would find it as it is, and take as long to find it.
func (db *DB) carry(all []*traveller) {
	err := db.transact(all)
	var l *lost
	silent := late(err) || errors.Is(err, ports.ErrUnavailable)
	if err != nil && !(errors.As(err, &l) && l.unknown) && !silent && !db.isClosing() {
		err = errAlone
	}
	for _, t := range all {
		t.hears(err)
	}
	if !silent {
		return
	}
	g := &db.together
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, t := range g.waiting {
		close(t.out)
		t.hears(&lost{err: err}) // nothing of it was sent
	}
	g.waiting = nil
}

// hears tells a traveller what became of the company.
func (t *traveller) hears(err error) {
	select {
	case t.row <- row{err: err}: // whoever waits for theirs has none
	default:
	}
	t.result <- err
}

// transact locks and reads the rows of all, has each decide, and commits what they wrote. What it answers concerns all that have something to write.
func (db *DB) transact(all []*traveller) (err error) {
	sent := false
	defer func() {
		switch p := recover(); {
		case p == nil:
		case sent:
			err = &lost{err: fmt.Errorf("the commit panicked: %v", p), unknown: true}
		default: // whose it is, it meets again alone
			err = errAlone
		}
	}()
	ctx, cancel := db.bound(context.Background())
	defer cancel()
	conn, err := db.acquire(ctx)
	if err != nil {
		return err
	}
	defer conn.Release()
	tx := &transaction{db: db, conn: conn}
	tx.then = queries.New(queueing{tx})
	defer tx.rollback()
	if err := tx.read(ctx, all); err != nil {
		return err
	}
	slow := time.NewTimer(dawdling)
	defer slow.Stop()
	var effects ports.Effects
	for _, t := range all {
		var has bool
		select {
		case has = <-t.made:
		case <-slow.C:
			return &lost{err: errAlone}
		}
		if has {
			tx.batch.QueuedQueries = append(tx.batch.QueuedQueries, t.tx.batch.QueuedQueries...)
			effects.Revocations = append(effects.Revocations, t.effects.Revocations...)
			effects.Events = append(effects.Events, t.effects.Events...)
		}
	}
	if err := db.effects(ctx, tx.then, effects); err != nil || tx.batch.Len() == 0 {
		return err
	}
	last, cancel := db.bound(context.Background()) // what the locks took is not the commit's fault
	defer cancel()
	sent = true
	if err := tx.commit(last); err != nil {
		return err
	}
	if len(effects.Revocations) > 0 {
		db.followers.wake()
	}
	return nil
}

// read locks and reads in one order for everybody, so that companies of several nodes do not wait in a circle, and hands each its row.
func (tx *transaction) read(ctx context.Context, all []*traveller) error {
	var readers []*traveller
	for _, t := range all {
		if t.sql != "" {
			readers = append(readers, t)
		}
	}
	if len(readers) == 0 {
		return nil
	}
	slices.SortFunc(readers, func(a, b *traveller) int {
		return cmp.Or(cmp.Compare(a.sql, b.sql), bytes.Compare(a.id(), b.id()))
	})
	batch := &pgx.Batch{}
	batch.Queue("begin")
	if len(all) > 1 {
		batch.Queue(lockWait)
	}
	for _, t := range readers {
		batch.Queue(t.sql, t.args...)
	}
	tx.begun = true
	rows := make([]row, len(readers))
	answers := tx.conn.SendBatch(ctx, batch)
	_, err := answers.Exec()
	if err == nil && len(all) > 1 {
		_, err = answers.Exec()
	}
	for i := range readers {
		if err == nil {
			rows[i].err = answers.QueryRow().Scan(&rows[i].value)
			if !errors.Is(rows[i].err, pgx.ErrNoRows) {
				err = rows[i].err
			}
		}
	}
	if closed := answers.Close(); err == nil {
		err = closed
	}
	if err != nil {
		return &lost{err: err}
	}
	for i, t := range readers {
		t.row <- rows[i]
	}
	return nil
}

// id is that of the row that is locked.
func (t *traveller) id() []byte {
	if len(t.args) == 0 {
		return nil
	}
	v, _ := t.args[0].([]byte)
	return v
}
