package app

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/xteam/xteam/domain/audit"
	"github.com/xteam/xteam/ports"
)

// DutyOptions tune a Duty. The zero value works, but for Name and Take.
type DutyOptions struct {
	Name string // of its cursor: the same on all nodes, and another for each work
	// Take does the work with what was committed next. What it answers as state is kept together with the place, and handed to the next call, on whatever node; nil: what was kept stays. After an
	// error nothing is kept, and the same events come again after a pause, on this node or another. It is called by one node at a time, as far as clocks and stores let us know that, so its work may be done twice.
	// It is to end soon after its context does: until it has, this node does no more of the work.
	Take func(ctx context.Context, b Batch) (state []byte, err error)
	// Begin is called when this node has taken the work over, and answers behind which position to read: the cursor's, or an earlier one, to see again what went before. Nil: the cursor's.
	Begin   func(ctx context.Context, c ports.Cursor) (from uint64, err error)
	History bool // one that never was begins with the first event that is kept; else with those that the trail has not linked yet, which are the newest
	// Always has Take called every time that it is looked for events, without any too. Then the cursor is written every few seconds, which it else is only when there was something to do.
	Always   bool
	Most     int           // events in a batch; default 256
	Every    time.Duration // how often it is looked for events; default 500 ms
	Patience time.Duration // a node that has something to do and does not do it for so long is replaced; default 5 s
	Longest  time.Duration // after which a call of Take has failed; default 1 minute
	MaxPause time.Duration // between two tries; the first pause is 1 s, and each is twice that before. Default 5 minutes
	Logger   *slog.Logger  // default: nothing is logged
}

// Batch is what a Duty hands to its work.
type Batch struct {
	Events []audit.Event // in the order of their commits; without any in a round of one that is called Always
	Last   uint64        // the position of the last of them
	State  []byte        // as it was kept last
	Tries  int           // how often these have failed
	More   bool          // there are more behind them
}

// Duty has one node of many work through committed events in order, from a place that is kept: each event at least once, whichever nodes die, and whenever. Others look whether there is something to do
// and nobody does it; a node that is stopped hands over at once. It waits for nobody but the store and its work, and nobody waits for it.
type Duty struct {
	core *Core
	o    DutyOptions
	me   string

	held   bool          // cursor is ours, as far as we know
	cursor ports.Cursor  // as it was kept last
	next   *ports.Cursor // what could not be kept yet
	at     uint64        // behind which position to read; the cursor's, or before it
	kept   time.Time     // when it was kept last
	looked time.Time     // at another's cursor
	idle   time.Time     // since when another does nothing about what there is to do; zero: there is nothing
	said   string

	status atomic.Pointer[DutyStatus]
}

// DutyStatus is how a Duty goes on this node.
type DutyStatus struct {
	Holding bool          // this node does the work
	Lag     time.Duration // how old the oldest event was that was not done with, when it was looked for last; 0: all were
	Tries   int           // how often what comes next has failed
	Err     error         // of the last round; nil: it went well
}

// NewDuty is a duty that Run keeps.
func NewDuty(c *Core, o DutyOptions) (*Duty, error) {
	if o.Most <= 0 {
		o.Most = 256
	}
	for at, otherwise := range map[*time.Duration]time.Duration{&o.Every: 500 * time.Millisecond, &o.Patience: 5 * time.Second, &o.Longest: time.Minute, &o.MaxPause: 5 * time.Minute} {
		if *at <= 0 {
			*at = otherwise
		}
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	var me [8]byte
	if _, err := io.ReadFull(c.Random, me[:]); err != nil {
		return nil, unavailable("draw the name of a duty", err)
	}
	d := &Duty{core: c, o: o, me: hex.EncodeToString(me[:])}
	d.status.Store(&DutyStatus{})
	return d, nil
}

// Status is how it goes on this node.
func (d *Duty) Status() DutyStatus { return *d.status.Load() }

// Run works until ctx ends, and then lets others go on at once.
func (d *Duty) Run(ctx context.Context) {
	tick := time.NewTicker(d.o.Every)
	defer tick.Stop()
	for {
		d.round(ctx)
		select {
		case <-ctx.Done():
			d.leave()
			return
		case <-tick.C:
		}
	}
}

// leave gives the work back.
func (d *Duty) leave() {
	if !d.held {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), lastWait)
	defer cancel()
	c := d.cursor
	if d.next != nil {
		c = *d.next
	}
	c.Holder = ""
	_, _ = d.core.Stores.Cursors.Swap(ctx, c) // else others wait as if this node had died
	d.held = false
}

// round works until there is nothing to do for the moment, and logs faults when they change.
func (d *Duty) round(ctx context.Context) {
	st := *d.status.Load()
	var err error
	for more := true; more && err == nil && ctx.Err() == nil; {
		more, err = d.step(ctx, &st)
	}
	if ctx.Err() != nil {
		return
	}
	st.Holding, st.Tries, st.Err = d.held, d.cursor.Tries, err
	if err == nil && d.held && d.cursor.Tries > 0 {
		st.Err = d.status.Load().Err // the pause after a failure
	}
	d.status.Store(&st)
	if d.note(st.Err); err != nil && d.held {
		d.o.Logger.Debug("A duty could not go on", "duty", d.o.Name, "tries", st.Tries, "error", err.Error())
	}
}

func (d *Duty) note(err error) {
	said := ""
	if err != nil {
		said = "failed"
	}
	if said == d.said {
		return
	}
	if d.said = said; err != nil {
		d.o.Logger.Warn("A duty does not get on; it tries again, and nothing is lost", "duty", d.o.Name, "error", err.Error())
	} else {
		d.o.Logger.Info("A duty gets on again", "duty", d.o.Name)
	}
}

// storeWait bounds a call of the store's, which has bounds of its own.
const storeWait = 15 * time.Second

// step does one batch, or finds that there is nothing to do.
func (d *Duty) step(ctx context.Context, st *DutyStatus) (more bool, err error) {
	short, cancel := context.WithTimeout(ctx, storeWait)
	defer cancel()
	if !d.held {
		if took, err := d.take(short, st); !took || err != nil {
			return false, err
		}
	}
	if d.next != nil { // the work was done before
		if err := d.keep(short, *d.next); err != nil || !d.held {
			return false, err
		}
	}
	if wait := d.cursor.Again.Time().Sub(d.core.Now()); wait > 0 && wait <= d.o.MaxPause {
		return false, d.beat(short)
	}
	events, last, err := d.read(short)
	if err != nil {
		return false, fmt.Errorf("read the events for %s: %w", d.o.Name, err)
	}
	st.Lag = age(events, d.core.now())
	if len(events) == 0 && !d.o.Always {
		return false, nil
	}
	if held, err := d.stands(short); !held {
		return false, err
	}
	b := Batch{Events: dated(events, d.core.now()), Last: last, State: d.cursor.State, Tries: d.cursor.Tries, More: len(events) >= d.o.Most}
	return b.More, d.do(ctx, b, last)
}

// The bounds of a run of events that cannot be read: how many are read at once, and how many are one batch, whatever Most is; and how long it is read on, for each may be huge.
const (
	runPage = 512
	maxRun  = 8192
	runTime = time.Second
)

// read reads what comes next. Events that cannot be read, one behind the other, are one batch: so those who are told of them are told once.
func (d *Duty) read(ctx context.Context) (events []audit.Event, last uint64, err error) {
	begun := time.Now()
	events, last, err = d.core.Stores.Events.List(ctx, d.at, d.o.Most)
	for err == nil && len(events) > 0 && len(events) < maxRun && unreadable(events) == len(events) && time.Since(begun) < runTime {
		more, end, failed := d.core.Stores.Events.List(ctx, last, runPage)
		n := unreadable(more)
		if failed == nil && n > 0 && n < len(more) {
			more, end, failed = d.core.Stores.Events.List(ctx, last, n)
		}
		if failed != nil || n == 0 { // of which the next batch tells
			break
		}
		events, last = append(events, more...), end
	}
	return events, last, err
}

// take takes the work, unless another is at it or there is none.
func (d *Duty) take(ctx context.Context, st *DutyStatus) (took bool, err error) {
	now := time.Now()
	if since := now.Sub(d.looked); since < d.o.Patience/5 && since >= 0 {
		return false, nil
	}
	c, err := d.core.Stores.Cursors.Find(ctx, d.o.Name)
	if err != nil {
		return false, fmt.Errorf("look how far %s has come: %w", d.o.Name, err)
	}
	if d.looked = now; c.Revision == 0 && !d.o.History {
		head, err := d.core.Stores.Trail.Head(ctx)
		if err != nil {
			return false, fmt.Errorf("look where %s is to begin: %w", d.o.Name, err)
		}
		c.Position = head.Last.Position
	}
	if c.Revision != d.cursor.Revision || c.Holder != d.cursor.Holder { // another is at it
		d.idle = time.Time{}
	}
	d.cursor = c
	if c.Holder != d.me && c.Revision > 0 {
		due, err := d.due(ctx, c, now, st)
		if !due || err != nil {
			return false, err
		}
	}
	if c.Holder != d.me {
		c.Holder = d.me
		if c, err = d.core.Stores.Cursors.Swap(ctx, c); errors.Is(err, ports.ErrTaken) {
			return false, nil
		} else if err != nil {
			return false, fmt.Errorf("take over %s: %w", d.o.Name, err)
		}
	}
	from := c.Position
	if d.o.Begin != nil {
		if from, err = d.o.Begin(ctx, c); err != nil {
			return false, fmt.Errorf("begin with %s: %w", d.o.Name, err)
		}
	}
	d.o.Logger.Debug("A duty works on this node", "duty", d.o.Name, "position", from)
	d.held, d.next, d.cursor, d.at, d.kept, d.idle = true, nil, c, min(from, c.Position), time.Now(), time.Time{}
	return true, nil
}

// due reports whether there is something to do, and nobody who does it.
func (d *Duty) due(ctx context.Context, c ports.Cursor, now time.Time, st *DutyStatus) (bool, error) {
	events, _, err := d.core.Stores.Events.List(ctx, c.Position, 1)
	if err != nil {
		return false, fmt.Errorf("look what there is to do for %s: %w", d.o.Name, err)
	}
	if st.Lag = age(events, d.core.now()); len(events) == 0 && !d.o.Always {
		d.idle = time.Time{}
		return false, nil
	}
	if wait := c.Again.Time().Sub(d.core.Now()); wait > 0 && wait <= d.o.MaxPause {
		d.idle = time.Time{}
		return false, nil
	}
	if d.idle.IsZero() {
		d.idle = now
	}
	return c.Holder == "" || now.Sub(d.idle) >= d.o.Patience, nil
}

// keep keeps a cursor; one that is another's by now is given up. What cannot be kept at once is kept before anything else is done.
func (d *Duty) keep(ctx context.Context, c ports.Cursor) error {
	is, err := d.core.Stores.Cursors.Swap(ctx, c)
	switch {
	case errors.Is(err, ports.ErrTaken):
		d.held, d.next, d.looked = false, nil, time.Time{}
		return nil
	case err != nil:
		d.next = &c
		return fmt.Errorf("keep how far %s has come: %w", d.o.Name, err)
	}
	d.cursor, d.next, d.kept = is, nil, time.Now()
	return nil
}

// stands reports whether the work is this node's still. One that has shown nothing of itself for a while may have been replaced.
func (d *Duty) stands(ctx context.Context) (bool, error) {
	if time.Since(d.kept) < d.o.Patience/2 {
		return true, nil
	}
	c, err := d.core.Stores.Cursors.Find(ctx, d.o.Name)
	if err != nil {
		return false, fmt.Errorf("look whether %s is done elsewhere: %w", d.o.Name, err)
	}
	if d.held = c.Revision == d.cursor.Revision; !d.held {
		d.looked = time.Time{}
	}
	return d.held, nil
}

// beat shows the others, now and then, that somebody is at it.
func (d *Duty) beat(ctx context.Context) error {
	if !d.o.Always || time.Since(d.kept) < d.o.Patience/3 {
		return nil
	}
	return d.keep(ctx, d.cursor)
}

var errOverdue = errors.New("it took too long")

// do has a batch worked through, shows the others meanwhile that somebody is at it, and keeps the place behind it.
func (d *Duty) do(ctx context.Context, b Batch, last uint64) error {
	state, failed := d.watched(ctx, b)
	if !d.held || failed != nil && ctx.Err() != nil {
		return nil
	}
	short, cancel := context.WithTimeout(ctx, storeWait)
	defer cancel()
	c := d.cursor
	if failed != nil {
		c.Tries, c.Again = c.Tries+1, d.core.now().Add(d.pause(c.Tries))
		return errors.Join(failed, d.keep(short, c))
	}
	if state != nil {
		c.State = state
	}
	d.at, c.Position, c.Tries, c.Again = last, max(c.Position, last), 0, 0
	if len(b.Events) == 0 && state == nil && b.Tries == 0 {
		return d.beat(short)
	}
	if d.next = &c; ctx.Err() != nil { // leave keeps it
		return nil
	}
	return d.keep(short, c)
}

// pause is how long it is waited after so many failures and one more.
func (d *Duty) pause(tries int) time.Duration {
	return min(time.Second<<min(tries, 20), d.o.MaxPause)
}

// watched calls Take. While it runs the cursor is kept again and again, until it has run too long; when that does not succeed, or another has taken the work, it is called off.
func (d *Duty) watched(ctx context.Context, b Batch) (state []byte, err error) {
	limited, cancel := context.WithTimeoutCause(ctx, d.o.Longest, errOverdue)
	defer cancel()
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer func() {
			if p := recover(); p != nil {
				err = fmt.Errorf("%s panicked: %v", d.o.Name, p)
			}
		}()
		state, err = d.o.Take(limited, b)
	}()
	tick := time.NewTicker(d.o.Patience / 3)
	defer tick.Stop()
	for {
		select {
		case <-done:
			if err != nil && limited.Err() != nil && errors.Is(context.Cause(limited), errOverdue) {
				err = fmt.Errorf("%s: %w: %v", d.o.Name, errOverdue, d.o.Longest)
			}
			return state, err
		case <-tick.C:
			if limited.Err() != nil {
				continue
			}
			short, done := context.WithTimeout(limited, d.o.Patience/3)
			_ = d.keep(short, d.cursor)
			if done(); !d.held || time.Since(d.kept) >= d.o.Patience {
				cancel()
			}
		}
	}
}
