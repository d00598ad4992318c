package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"
)

// Clock is the clock of a store that nodes share.
type Clock struct {
	Name string // as people know it
	Now  func(context.Context) (time.Time, error)
}

const (
	// compareEvery is how often clocks are compared, and how long one may take to tell its time.
	compareEvery = time.Second
	// tooSlow is how long an answer may have been under way to say something of a clock.
	tooSlow = 500 * time.Millisecond
	// OffBy is from which offset of a clock somebody is told.
	OffBy = 5 * time.Second
	// FarOff is from which offset of a clock no token is issued: its times would mean nothing to other nodes, and theirs nothing here.
	FarOff = 5 * time.Minute
)

// ErrClock says that this node's clock is too far from that of a store.
var ErrClock = errors.New("the clock is too far off")

// Clocks compares the clock of this node with those of the stores that it shares with others. So nodes are compared with one another too: each with the same ones. A nil
// Clocks has nobody to compare itself with.
type Clocks struct {
	clocks []Clock
	log    *slog.Logger
	now    func() time.Time

	lead atomic.Int64 // how far the first clock that is known is ahead of this node's
	far  atomic.Bool
	most atomic.Int64 // the offset of the clock that is furthest off

	mu  sync.Mutex
	off map[string]time.Duration // those that are known
	bad map[string]bool          // told of as off
}

// NewClocks compares with those clocks, of which the first one known is what limits that nodes share are counted by.
func NewClocks(log *slog.Logger, now func() time.Time, clocks ...Clock) *Clocks {
	return &Clocks{clocks: clocks, log: log, now: now, off: map[string]time.Duration{}, bad: map[string]bool{}}
}

// Compare asks every clock once. The error, one sentence, is of one that is FarOff; one that does not answer is none.
func (c *Clocks) Compare(ctx context.Context) error {
	if c == nil {
		return nil
	}
	var asking sync.WaitGroup
	for _, clock := range c.clocks {
		asking.Go(func() {
			if off, ok := c.ask(ctx, clock); ok {
				c.know(clock.Name, off)
			}
		})
	}
	asking.Wait()
	return c.judge()
}

// ask measures how far a clock is ahead of this node's: it told its time about half way between question and answer.
func (c *Clocks) ask(ctx context.Context, clock Clock) (ahead time.Duration, ok bool) {
	ctx, cancel := context.WithTimeout(ctx, compareEvery)
	defer cancel()
	asked := c.now()
	told, err := clock.Now(ctx)
	took := c.now().Sub(asked)
	if err != nil || took < 0 || took > tooSlow {
		return 0, false
	}
	return told.Round(0).Sub(asked.Round(0).Add(took / 2)), true
}

// know keeps an offset, and tells when a clock goes off or is right again.
func (c *Clocks) know(name string, ahead time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.off[name] = ahead
	switch is := ahead.Abs() >= OffBy; {
	case is && !c.bad[name]:
		c.log.Error("This node's clock and that of "+name+" differ: set them by NTP", "ahead_ms", ahead.Milliseconds())
		c.bad[name] = true
	case !is && c.bad[name] && ahead.Abs() < OffBy*4/5:
		c.log.Info("This node's clock and that of "+name+" agree again", "ahead_ms", ahead.Milliseconds())
		c.bad[name] = false
	}
}

// judge looks over what is known.
func (c *Clocks) judge() (err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	var lead, most time.Duration
	led := false
	for _, clock := range c.clocks {
		ahead, known := c.off[clock.Name]
		if !known {
			continue
		}
		if !led {
			led, lead = true, ahead
		}
		if ahead.Abs() > most.Abs() {
			most = ahead
		}
		if ahead.Abs() >= FarOff && err == nil {
			err = fmt.Errorf("%w: that of %s is %v ahead of this machine's: set both by NTP, and start again", ErrClock, clock.Name, ahead.Round(time.Second))
			if ahead < 0 {
				err = fmt.Errorf("%w: that of %s is %v behind this machine's: set both by NTP, and start again", ErrClock, clock.Name, -ahead.Round(time.Second))
			}
		}
	}
	c.lead.Store(int64(lead))
	c.most.Store(int64(most))
	if was := c.far.Swap(err != nil); was != (err != nil) {
		if err != nil {
			c.log.Error("No token is issued while the clock is so far off", "error", err.Error())
		} else {
			c.log.Info("Tokens are issued again: the clock is right")
		}
	}
	return err
}

// Run compares once a second until ctx ends.
func (c *Clocks) Run(ctx context.Context) {
	if c == nil || len(c.clocks) == 0 {
		return
	}
	ticker := time.NewTicker(compareEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			_ = c.Compare(ctx) // which has told
		}
	}
}

// Shared is a time of this node's by the clock that all nodes share, as far as that is known: limits that are counted together are counted by one clock.
func (c *Clocks) Shared(t time.Time) time.Time {
	if c == nil {
		return t
	}
	return t.Add(time.Duration(c.lead.Load()))
}

// Far reports whether the clock is FarOff.
func (c *Clocks) Far() bool { return c != nil && c.far.Load() }

// Most is how far the clock that differs most is ahead of this node's.
func (c *Clocks) Most() time.Duration {
	if c == nil {
		return 0
	}
	return time.Duration(c.most.Load())
}
