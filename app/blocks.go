package app

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/xteam/xteam/domain/audit"
	"github.com/xteam/xteam/domain/block"
	"github.com/xteam/xteam/domain/instant"
	"github.com/xteam/xteam/domain/secret"
	"github.com/xteam/xteam/ports"
)

const (
	// blocksPoll is the longest time between two questions whether another node changed the blocks.
	blocksPoll = 500 * time.Millisecond
	// blocksAnew is how often they are loaded whatever their revision: a database that was restored may have come to the same number by other changes.
	blocksAnew = time.Minute
)

// BlocksOptions tune a Blocks. The zero value works.
type BlocksOptions struct {
	Proxies []netip.Prefix // that are trusted: nothing of theirs is blocked without force
	Poll    time.Duration  // how often the store is asked for changes of other nodes; default, and at most, 500 ms
	Logger  *slog.Logger   // default: nothing is logged
}

// Blocks are the addresses and networks that are let in nowhere. Each node holds all of them in memory: those that it blocks are refused from the next request, those of other nodes within a
// second. While the database is silent a node goes on with the last list that it heard, of which those blocks end that have an end: nobody is let in because a database failed.
type Blocks struct {
	core    *Core
	options BlocksOptions
	held    atomic.Pointer[heldBlocks]
	wake    chan struct{} // holds one when the store is to be read at once

	mu       sync.Mutex // held is replaced under it
	watchers []func()
}

// heldBlocks are a list and its set. It is never changed.
type heldBlocks struct {
	list block.List
	set  *block.Set
}

// NewBlocks holds none before Start.
func NewBlocks(c *Core, o BlocksOptions) *Blocks {
	if o.Poll <= 0 || o.Poll > blocksPoll {
		o.Poll = blocksPoll
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	plain := make([]netip.Prefix, 0, len(o.Proxies))
	for _, p := range o.Proxies {
		if p.Addr().Is4In6() && p.Bits() >= 96 {
			p = netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-96)
		}
		plain = append(plain, p)
	}
	o.Proxies = plain
	b := &Blocks{core: c, options: o, wake: make(chan struct{}, 1)}
	b.held.Store(&heldBlocks{set: block.NewSet(block.List{})})
	return b
}

// Start loads what is blocked. It is to be called before anybody is served.
func (b *Blocks) Start(ctx context.Context) error {
	if err := b.load(ctx); err != nil {
		return fmt.Errorf("load the blocked addresses: %w", err)
	}
	return nil
}

// Run follows the changes of other nodes until ctx ends.
func (b *Blocks) Run(ctx context.Context) {
	tick := time.NewTicker(b.options.Poll)
	defer tick.Stop()
	loaded, silent := time.Now(), false
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		case <-b.wake:
		}
		revision, err := b.core.Stores.Blocks.Revision(ctx)
		if err == nil && (revision != b.Revision() || time.Since(loaded) >= blocksAnew) {
			if err = b.load(ctx); err == nil {
				loaded = time.Now()
			}
		}
		switch {
		case ctx.Err() != nil:
			return
		case err != nil && !silent:
			b.options.Logger.Warn("The blocked addresses cannot be read; those that were read last stay blocked", "error", err.Error())
		case err == nil && silent:
			b.options.Logger.Info("The blocked addresses are read again")
		}
		silent = err != nil
	}
}

// Look has Run read the store at once, if it is not at that already.
func (b *Blocks) Look() { signal(b.wake) }

// load takes up what the store has. A list of a lower revision is that of a database that was restored, unless a newer one was taken up here while it was read.
func (b *Blocks) load(ctx context.Context) error {
	before := b.held.Load()
	l, err := b.core.Stores.Blocks.Load(ctx)
	if err == nil {
		b.take(l, before)
	}
	return err
}

// take has a list be in force, if it is newer than the one that is, or that one is still instead.
func (b *Blocks) take(l block.List, instead *heldBlocks) {
	b.mu.Lock()
	was := b.held.Load()
	if l.Revision <= was.list.Revision && was != instead {
		b.mu.Unlock()
		return
	}
	b.held.Store(&heldBlocks{l, block.NewSet(l)})
	watchers := b.watchers
	b.mu.Unlock()
	for _, w := range watchers {
		w()
	}
}

// BlockOptions say how an address is blocked. The zero value blocks it until it is unblocked.
type BlockOptions struct {
	For    time.Duration   // how long; 0: until Until
	Until  instant.Instant // until when; 0: until it is unblocked
	Reason string          // why, in the words of whoever asks, at most block.MaxReason bytes
	Force  bool            // also what block.Wise refuses
}

// ErrBlockTime refuses a block that would be over at once.
var ErrBlockTime = errors.New("a block must end in the future, at one time or after one span, or not at all")

// Block turns away whoever comes from the network: on this node from the next request, on others within a second. A block of the same network is replaced. It answers a *block.RiskyError for
// what is refused without force, ErrBlockTime, block.ErrInvalid for what else is no block, and block.ErrFull when there is no room.
func (b *Blocks) Block(ctx context.Context, by Actor, p netip.Prefix, o BlockOptions) (block.Block, error) {
	now := b.core.now()
	made := block.Block{Prefix: p, Reason: string(secret.Scrub([]byte(o.Reason))), By: by.Name, At: now, Until: cmp.Or(o.Until, instant.Forever)}
	if o.For > 0 {
		made.Until = now.Add(o.For)
	}
	if o.For < 0 || o.For != 0 && o.Until != 0 || made.Until <= now {
		return block.Block{}, ErrBlockTime
	}
	if !o.Force {
		if err := b.wise(by, p); err != nil {
			return block.Block{}, err
		}
	}
	details := map[string]string{"until": made.Until.String()}
	if made.Reason != "" {
		details["note"] = made.Reason
	}
	if o.Force {
		details["force"] = "true"
	}
	err := b.change(ctx, by, audit.AddressBlocked, p, details, func(l block.List) (block.List, error) { return l.Put(made, now) })
	return made, err
}

// wise answers why a network is not to be blocked without force.
func (b *Blocks) wise(by Actor, p netip.Prefix) error {
	return block.Wise(p, by.Request.Origin.Address, b.options.Proxies)
}

// Unblock lets in again whoever comes from the network, unless another block holds them, and answers the block that was. Without one of that very network it is block.ErrUnknown.
func (b *Blocks) Unblock(ctx context.Context, by Actor, p netip.Prefix) (was block.Block, err error) {
	err = b.change(ctx, by, audit.AddressUnblocked, p, map[string]string{}, func(l block.List) (next block.List, err error) {
		next, was, err = l.Drop(p)
		return next, err
	})
	return was, err
}

// change commits a change of the list with its event, whose details tell of the network: they may be erased, and an address is somebody's.
func (b *Blocks) change(ctx context.Context, by Actor, k audit.Kind, p netip.Prefix, details map[string]string, f func(block.List) (block.List, error)) error {
	e, err := b.core.event(by.Request, k, audit.Warning, audit.Success)
	if err != nil {
		return err
	}
	e.Details = details
	e.Details["network"] = p.String()
	by.signs(&e)
	effects := ports.Effects{Events: []audit.Event{e}}
	before := b.held.Load()
	var next block.List
	err = b.core.Stores.Blocks.Update(ctx, func(l block.List) (block.List, ports.Effects, error) {
		var err error
		next, err = f(l)
		return next, effects, err
	})
	if err != nil {
		return err
	}
	b.take(next, before)
	b.core.felt(ctx, effects)
	return nil
}

// List answers at most limit blocks that this node has in force, in the order of their networks, beginning behind one (the zero Prefix: at the start), and whether there are more.
func (b *Blocks) List(behind netip.Prefix, limit int) (page []block.Block, more bool) {
	page = b.held.Load().list.After(behind, limit+1, b.core.now())
	if more = len(page) > limit; more {
		page = page[:limit]
	}
	return page, more
}

// Blocked reports whether an address is turned away. It waits for nothing and allocates nothing; the zero Addr is not. A nil Blocks turns nobody away.
func (b *Blocks) Blocked(a netip.Addr) bool {
	if b == nil {
		return false
	}
	h := b.held.Load()
	return len(h.list.Blocks) > 0 && h.set.Blocks(a, b.core.now())
}

// Now is the clock by which blocks end.
func (b *Blocks) Now() time.Time { return b.core.Now() }

// Len is how many blocks this node holds, those too that are over and not yet forgotten.
func (b *Blocks) Len() int { return len(b.held.Load().list.Blocks) }

// Revision is that of the list that this node has in force.
func (b *Blocks) Revision() uint64 { return b.held.Load().list.Revision }

// OnChange has f called after each change, once it is in force here. f must return at once.
func (b *Blocks) OnChange(f func()) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.watchers = append(b.watchers[:len(b.watchers):len(b.watchers)], f)
}
