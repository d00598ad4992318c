package pgstore

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/xteam/xteam/adapters/pgstore/queries"
	"github.com/xteam/xteam/domain/instant"
	"github.com/xteam/xteam/domain/revocation"
	"github.com/xteam/xteam/ports"
)

// Revocations is the port of revocations.
type Revocations struct{ db *DB }

var (
	_ ports.Revocations = (*Revocations)(nil)
	_ ports.Finder      = (*Revocations)(nil)
	_ ports.Asked       = (*Revocations)(nil)
)

// spacing is how long a follower rests after a round that this process' own commits woke it for.
const spacing = 100 * time.Millisecond

// Record stores the entries, a long call in several transactions.
func (p *Revocations) Record(ctx context.Context, entries ...revocation.Entry) error {
	if err := p.db.ready(ctx); err != nil {
		return err
	}
	if err := validate(entries); err != nil {
		return err
	}
	for part := range slices.Chunk(entries, portion) {
		if err := p.db.put(ctx, "record revocations in", ports.Effects{Revocations: part}); err != nil {
			return err
		}
	}
	return nil
}

// Follow reads all entries, and from then on, once a round, those that the snapshot at the beginning of the round before did not see. That is exact: an entry whose
// transaction took its number long ago, and ended only now, is one of them, and nothing is guessed of how long a transaction may last. A follower has a connection of its own and ends
// with it: the numbers of one server's transactions are never held against another's, or against the same server's after it was set back. An entry is given out until it is deleted, which
// is Margin after its Until.
func (p *Revocations) Follow(ctx context.Context, fn func(ports.News) error) error {
	if err := p.db.ready(ctx); err != nil {
		return err
	}
	wake := p.db.followers.join()
	defer p.db.followers.leave(wake)
	conn, err := pgx.ConnectConfig(ctx, p.db.alone.Copy())
	if err != nil {
		return p.db.told(ctx, "follow", &lost{err: err})
	}
	defer p.end(conn)
	f := &following{p: p, conn: conn, q: queries.New(conn), fn: fn, seen: nothing}
	tick := time.NewTicker(p.db.options.Poll)
	defer tick.Stop()
	for {
		if err := f.round(ctx); err != nil {
			return err
		}
		var rested <-chan time.Time
		select {
		case <-wake:
			rested = time.After(spacing)
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		case <-p.db.closing:
			return p.db.errClosed()
		}
		if rested == nil {
			continue
		}
		select {
		case <-rested:
		case <-ctx.Done():
			return ctx.Err()
		case <-p.db.closing:
			return p.db.errClosed()
		}
	}
}

func (p *Revocations) end(conn *pgx.Conn) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	_ = conn.Close(ctx)
}

// nothing is a snapshot before all transactions.
const nothing = "1:1:"

// following is one follower.
type following struct {
	p    *Revocations
	conn *pgx.Conn
	q    *queries.Queries
	fn   func(ports.News) error
	seen string // the snapshot at the beginning of the last round
	file int64  // of the table: another one when it was emptied or made anew, as a dump is restored
}

// round delivers what is new, and ends with Caught. What is committed while it runs may be delivered in it and again in the next.
func (f *following) round(ctx context.Context) error {
	asked := time.Now()
	now, err := f.snapshot(ctx)
	if err != nil {
		return err
	}
	for at := (place{xid: "0", key: []byte{}}); ; {
		entries, next, err := f.page(ctx, at)
		if err != nil {
			return err
		}
		caught := len(entries) < portion
		news := ports.News{Entries: entries, Caught: caught}
		if caught {
			news.Age = time.Since(asked)
		}
		if err := f.fn(news); err != nil {
			return err
		}
		if err := f.p.db.ready(ctx); err != nil {
			return err
		}
		if caught {
			f.seen = now
			return nil
		}
		at = next
	}
}

// errEmptied ends a follower whose table is not the one that it has read: whoever follows again is given what is there.
var errEmptied = errors.New("the table of revocations was emptied or made anew: perhaps a dump was restored")

// place is where a page ends.
type place struct {
	xid string
	key []byte
}

func (f *following) snapshot(ctx context.Context) (string, error) {
	short, cancel := f.p.db.bound(ctx)
	defer cancel()
	now, err := f.q.Snapshot(short)
	if err != nil {
		return "", f.p.db.told(ctx, "follow", &lost{err: err})
	}
	if f.file != 0 && f.file != now.File {
		return "", fmt.Errorf("follow the database %s: %w: %w", f.p.db.name, ports.ErrUnavailable, errEmptied)
	}
	f.file = now.File
	return now.Snapshot, nil
}

// page reads in the order in which entries were written, which is that of the table's pages too: so a million of them are read in one sweep over it.
func (f *following) page(ctx context.Context, at place) (entries []revocation.Entry, end place, err error) {
	short, cancel := f.p.db.bound(ctx)
	defer cancel()
	rows, err := f.q.ListRevocations(short, queries.ListRevocationsParams{Seen: f.seen, AfterXid: at.xid, AfterKey: at.key, Most: portion})
	if err != nil {
		return nil, at, f.p.db.told(ctx, "follow", &lost{err: err})
	}
	entries = make([]revocation.Entry, len(rows))
	for i := range rows {
		if entries[i], err = f.p.opened(&rows[i]); err != nil {
			return nil, at, err
		}
		end = place{rows[i].AfterXid, rows[i].Key}
	}
	return entries, end, nil
}

// Ask has this process' followers begin their next round now, but for the rest after the last.
func (p *Revocations) Ask() { p.db.followers.wake() }

// Find reads by the index of the keys, in which what begins with a text lies together.
func (p *Revocations) Find(ctx context.Context, beginnings ...string) (found []revocation.Entry, err error) {
	seen := map[string]bool{}
	for part := range slices.Chunk(beginnings, finding) {
		var lows, highs [][]byte
		for _, text := range part {
			if high, ok := behind(text); ok {
				lows, highs = append(lows, []byte(text)), append(highs, high)
			}
		}
		rows, err := read(ctx, p.db, func(ctx context.Context, q *queries.Queries) ([]queries.FindRevocationsRow, error) {
			return q.FindRevocations(ctx, queries.FindRevocationsParams{Lows: lows, Highs: highs})
		})
		if err != nil {
			return nil, err
		}
		for i := range rows {
			r := &rows[i]
			if seen[string(r.Key)] {
				continue
			}
			seen[string(r.Key)] = true
			e, err := p.opened(&queries.ListRevocationsRow{Key: r.Key, Reason: r.Reason, AskedBy: r.AskedBy, Note: r.Note, At: r.At, Until: r.Until})
			if err != nil {
				return nil, err
			}
			found = append(found, e)
		}
	}
	return found, nil
}

// finding is for how many texts one statement looks.
const finding = 1000

// behind is the least text that is behind all that begin with one; false when there is none: no key begins so.
func behind(text string) ([]byte, bool) {
	for i := len(text) - 1; i >= 0; i-- {
		if text[i] < 0xff {
			return append([]byte(text[:i]), text[i]+1), true
		}
	}
	return nil, false
}

// opened decodes an entry. Of a note that does not open nothing depends: the entry is good without it.
func (p *Revocations) opened(row *queries.ListRevocationsRow) (revocation.Entry, error) {
	e, ok := revocation.Named(row.Key)
	if !ok {
		return e, p.db.unreadable("a revocation", errNewer)
	}
	e.Reason, e.By, e.At, e.Until = revocation.Reason(row.Reason), string(row.AskedBy), instant.Instant(row.At), instant.Instant(row.Until)
	if len(row.Note) == 0 {
		return e, nil
	}
	sealer, err := p.db.unlocked()
	if err != nil {
		return e, err
	}
	note, err := sealer.Open(revocationContext+string(row.Key), row.Note)
	if err != nil {
		p.db.noteLost.Do(func() {
			p.db.options.Logger.Warn("the note of a revocation does not open, and is left out; of others that do not, nothing more will be said", "database", p.db.name, "error", err)
		})
	}
	e.Note = string(note)
	return e, nil
}

// followers are those whom this process' own commits wake before the next poll.
type followers struct {
	mu  sync.Mutex
	all map[chan struct{}]struct{}
}

func (f *followers) join() chan struct{} {
	wake := make(chan struct{}, 1)
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.all == nil {
		f.all = map[chan struct{}]struct{}{}
	}
	f.all[wake] = struct{}{}
	return wake
}

func (f *followers) leave(wake chan struct{}) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.all, wake)
}

func (f *followers) wake() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for w := range f.all {
		select {
		case w <- struct{}{}:
		default:
		}
	}
}
