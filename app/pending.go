package app

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/xteam/xteam/domain/audit"
	"github.com/xteam/xteam/domain/id"
	"github.com/xteam/xteam/domain/instant"
	"github.com/xteam/xteam/domain/revocation"
	"github.com/xteam/xteam/domain/token"
	"github.com/xteam/xteam/ports"
)

const (
	// patience is how long a revocation waits for the database before it is put in force all the same; and glimpse how long it waits for each thing that it only reads before.
	patience = 2 * time.Second
	glimpse  = time.Second
	// maxOwed bounds the revocations that wait to be written down, and with about 1 KiB each their memory.
	maxOwed = 16384
	// owedAgain is how often the database is asked whether it takes them. What it refuses again and again is left out of up to 2^maxSkip - 1 such attempts.
	owedAgain = 500 * time.Millisecond
	maxSkip   = 6
	// owedTry bounds one such attempt; lastTry the one at the end of the process.
	owedTry = 10 * time.Second
	lastTry = 3 * time.Second
)

// NotDurableError says that a revocation is in force, on this node and through the feeds on the others, and that the database has not taken it yet. It is written down as soon as
// that can be done, unless this process ends before; it is never rolled back.
type NotDurableError struct{ Cause error }

func (e *NotDurableError) Error() string {
	return "the revocation is in force, and not yet durable: " + e.Cause.Error()
}

// Is matches ports.ErrUnavailable, which caused it.
func (e *NotDurableError) Is(target error) bool { return target == ports.ErrUnavailable }

// outage reports whether an error is one by which nothing is known of what became of a change. Who asked for a revocation and then went still wants it.
func outage(err error) bool {
	return errors.Is(err, ports.ErrUnavailable) || errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled)
}

// mode is how a revocation is written down.
type mode struct {
	again bool // its entries are in force already: what is stored has to agree with them, and an earlier attempt may have come through
	told  bool // one did: the events are there
}

// events are those that an attempt has to store; mine says that the record shows an earlier attempt's change.
func (m mode) events(mine bool, events ...audit.Event) []audit.Event {
	if m.again && (m.told || mine) {
		return nil
	}
	return events
}

// glance reads what a revocation would like to know, but need not.
func glance[T any](ctx context.Context, c *Core, read func(context.Context) (T, error)) (T, error) {
	if c.Pending != nil {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, glimpse)
		defer cancel()
	}
	return read(ctx)
}

// writing writes a revocation down with the change of state and the events that belong to it. It may run any number of times.
type writing func(ctx context.Context, how mode) (ports.Effects, error)

// durably writes a revocation down and makes it felt. What the database does not take in time is put in force as entries say, is owed to the database, and is answered by a *NotDurableError.
func (c *Core) durably(ctx context.Context, entries []revocation.Entry, write writing) error {
	if c.Pending == nil {
		eff, err := write(ctx, mode{})
		if err == nil {
			c.felt(ctx, eff)
		}
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	bounded, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	eff, err := write(bounded, mode{})
	switch {
	case err == nil:
		c.felt(ctx, eff)
		return nil
	case !outage(err):
		return err
	}
	return c.Pending.owe(ctx, entries, write, err)
}

// beyond is a number above every generation of a user, or every epoch, that exists: they count, or were such a time before. It stays below 2^53 until the year 2255.
func beyond(now instant.Instant, known int64) int64 { return max(int64(now), known) + 1 }

// beyondUser is beyond for the generations of a user.
func (c *Core) beyondUser(uid id.User, now instant.Instant) token.Generation {
	return token.Generation(beyond(now, int64(c.View.Least(uid, 0))))
}

// Pending keeps the revocations that are in force and not written down yet, and writes them down when the database is back. Should the process end before, their entries are in the feeds and on
// the other nodes, which put them into the database; their events are lost, and the log says how many.
type Pending struct {
	core *Core
	log  *slog.Logger
	wake chan struct{}

	mu   sync.Mutex
	owed []*owed
}

// owed is one of them.
type owed struct {
	entries []revocation.Entry
	write   writing
	doubted bool // an attempt was not answered, and may have come through
	told    bool // one did
	bare    bool // the database has the entries, and nothing else of it
	refused int  // how often the database has refused it
	skip    int  // attempts that it is not part of, since it was refused
}

// NewPending makes itself known to the core. Run is to be running beside it.
func NewPending(c *Core, log *slog.Logger) *Pending {
	p := &Pending{core: c, log: log, wake: make(chan struct{}, 1)}
	c.Pending = p
	return p
}

// Len is how many revocations are in force and not written down yet.
func (p *Pending) Len() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.owed)
}

// From is when the oldest of them was asked for whose entries the database lacks; false when it lacks none.
func (p *Pending) From() (oldest instant.Instant, some bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, o := range p.owed {
		if o.bare {
			continue
		}
		for i := range o.entries {
			if at := o.entries[i].At; !some || at < oldest {
				oldest, some = at, true
			}
		}
	}
	return oldest, some
}

// owes is Pending.From where there is one.
func (c *Core) owes() (oldest instant.Instant, some bool) {
	if c.Pending == nil {
		return 0, false
	}
	return c.Pending.From()
}

// owe puts entries in force and keeps what is to be written down. The other nodes hear that it is owed no later than they hear of it.
func (p *Pending) owe(ctx context.Context, entries []revocation.Entry, write writing, cause error) error {
	p.mu.Lock()
	n := len(p.owed)
	if n < maxOwed {
		p.owed = append(p.owed, &owed{entries: entries, write: write, doubted: true})
	}
	p.mu.Unlock()
	if p.core.Nodes != nil {
		p.core.Nodes.say()
	}
	p.core.View.Publish(ctx, entries...)
	switch n {
	case 0:
		p.log.Error("A revocation is in force, and not yet durable: the database does not take it", "error", cause.Error())
	case maxOwed:
		p.log.Error("Too many revocations wait for the database: one is in force, and will not be written down unless it is asked for again", "waiting", n)
		return cause
	}
	select {
	case p.wake <- struct{}{}:
	default:
	}
	return &NotDurableError{cause}
}

// Run writes down what is owed, until ctx ends, and tries once more then.
func (p *Pending) Run(ctx context.Context) {
	again := time.NewTicker(owedAgain)
	defer again.Stop()
	for {
		select {
		case <-ctx.Done():
			p.last(ctx)
			return
		case <-p.wake:
		}
		for p.Len() > 0 && ctx.Err() == nil {
			select {
			case <-ctx.Done():
			case <-again.C:
				p.settle(ctx, owedTry)
			}
		}
	}
}

func (p *Pending) last(ctx context.Context) {
	if p.Len() == 0 {
		return
	}
	p.mu.Lock()
	for _, o := range p.owed {
		o.skip = 0
	}
	p.mu.Unlock()
	p.settle(context.WithoutCancel(ctx), lastTry)
	if n := p.Len(); n > 0 {
		p.log.Error("Revocations that are in force could not be made durable before the stop: ask for them again once the database is back", "revocations", n)
	}
}

// settle writes down what is owed as far as the database takes it. What it refuses is offered to it ever more seldom.
func (p *Pending) settle(ctx context.Context, limit time.Duration) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	due := p.due()
	if len(due) == 0 {
		return
	}
	if _, err := p.core.Stores.System.Load(ctx); err != nil {
		return
	}
	if err := p.lookUp(ctx, due); err != nil {
		return
	}
	done := 0
	for _, o := range due {
		o.doubted = true
		eff, err := o.write(ctx, mode{again: true, told: o.told})
		if errors.Is(err, ports.ErrDamaged) {
			p.bare(ctx, o)
		} else if outage(err) {
			return
		}
		o.doubted = false
		switch {
		case err == nil:
			p.core.felt(ctx, eff)
			p.settled(o)
			done++
			continue
		case o.refused == 0:
			p.log.Error("The database refuses a revocation that is in force; it is offered again", "error", err.Error())
		}
		o.skip = 1<<min(o.refused, maxSkip) - 1
		o.refused++
	}
	if done > 0 {
		p.log.Info("Revocations that were in force are durable now", "revocations", done, "left", p.Len())
	}
}

// bare writes down the entries alone, of a record that does not open. They have no By, as those that a node puts back, and tell of no attempt. What fails is offered again with the rest.
func (p *Pending) bare(ctx context.Context, o *owed) {
	entries := slices.Clone(o.entries)
	for i := range entries {
		entries[i].By, entries[i].Note = "", ""
	}
	err := p.core.Stores.Revocations.Record(ctx, entries...)
	p.mu.Lock()
	defer p.mu.Unlock()
	o.bare = err == nil
}

// due are those to be written down now. What else there is of one is its own: one attempt at a time is made.
func (p *Pending) due() (due []*owed) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, o := range p.owed {
		if o.skip > 0 {
			o.skip--
			continue
		}
		due = append(due, o)
	}
	return due
}

func (p *Pending) settled(done *owed) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i, o := range p.owed {
		if o == done {
			p.owed = append(p.owed[:i:i], p.owed[i+1:]...)
			return
		}
	}
}

// lookUp finds out of which of them the database has an entry after all: an attempt that was not answered may have come through. An entry that a node put back has no By, and tells of no attempt.
func (p *Pending) lookUp(ctx context.Context, due []*owed) error {
	type mark struct {
		what string
		at   instant.Instant
		by   string
	}
	of := func(e *revocation.Entry) mark {
		what := e.Key()
		if e.Kind == revocation.User || e.Kind == revocation.Epoch {
			what = what[:len(what)-8] // an attempt that came through raised the number by one
		}
		return mark{what, e.At, e.By}
	}
	marks, names := map[mark]*owed{}, []string(nil)
	for _, o := range due {
		if !o.doubted {
			continue
		}
		for i := range o.entries {
			m := of(&o.entries[i])
			marks[m] = o
			names = append(names, m.what)
		}
	}
	if len(names) == 0 {
		return nil
	}
	found, err := p.core.Stores.Revocations.Find(ctx, names...)
	for i := range found {
		if o, ok := marks[of(&found[i])]; ok {
			o.told = true
		}
	}
	return err
}
