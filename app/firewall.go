package app

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"time"

	"github.com/xteam/xteam/domain/audit"
	"github.com/xteam/xteam/domain/instant"
	"github.com/xteam/xteam/ports"
)

// FirewallOptions tune a Firewall. The zero value works.
type FirewallOptions struct {
	Every    time.Duration // how often it is looked for changes; default 500 ms
	Anew     time.Duration // how often the list is set without a change, so that what somebody changed at the firewall is put right; default 1 minute
	MaxPause time.Duration // between two tries; default 1 minute
	Logger   *slog.Logger  // default: nothing is logged
}

// Firewall has a firewall turn away what is blocked here: one node of many sets the whole list a moment after it changes, and when a block ends. A firewall that does not answer holds up nobody: it is
// tried again, and every node refuses what is blocked by itself all the while. A nil Firewall does nothing.
type Firewall struct {
	core   *Core
	blocks *Blocks
	wall   ports.Firewall
	anew   time.Duration
	duty   *Duty

	// These are the duty's.
	set      bool            // the firewall has the list of the revision, as far as this node knows
	revision uint64          // of the list that was set last
	at       time.Time       // when that was
	next     instant.Instant // when the first of its blocks ends
}

// NewFirewall is a firewall that Run keeps.
func NewFirewall(c *Core, b *Blocks, wall ports.Firewall, o FirewallOptions) (*Firewall, error) {
	if o.Anew <= 0 {
		o.Anew = time.Minute
	}
	if o.MaxPause <= 0 {
		o.MaxPause = time.Minute
	}
	f := &Firewall{core: c, blocks: b, wall: wall, anew: o.Anew}
	var err error
	f.duty, err = NewDuty(c, DutyOptions{Name: "firewall", Begin: f.begin, Take: f.take, Always: true, Most: 4096, Every: o.Every, Patience: 15 * time.Second, MaxPause: o.MaxPause, Logger: o.Logger})
	return f, err
}

// Run keeps the firewall's list until ctx ends, on one node of many.
func (f *Firewall) Run(ctx context.Context) { f.duty.Run(ctx) }

// Status is how it goes, as this node knows: its lag is the age of the oldest event since which the firewall may lack a change.
func (f *Firewall) Status() DutyStatus {
	if f == nil {
		return DutyStatus{}
	}
	return f.duty.Status()
}

// begin has the list be set whatever it is: another node may have died at it.
func (f *Firewall) begin(_ context.Context, c ports.Cursor) (uint64, error) {
	f.set = false
	return c.Position, nil
}

// take sets the list when it is another than before, or has not been for a while.
func (f *Firewall) take(ctx context.Context, b Batch) ([]byte, error) {
	if slices.ContainsFunc(b.Events, func(e audit.Event) bool { return e.Kind == audit.AddressBlocked || e.Kind == audit.AddressUnblocked }) {
		if err := f.blocks.load(ctx); err != nil { // of another node, of which this one may not have heard yet
			return nil, fmt.Errorf("load the blocked addresses: %w", err)
		}
	}
	now, list := f.core.now(), f.blocks.held.Load().list
	if f.set && list.Revision == f.revision && now < f.next && time.Since(f.at) < f.anew {
		return nil, nil
	}
	networks, next := make([]netip.Prefix, 0, len(list.Blocks)), instant.Forever
	for _, is := range list.Blocks {
		if is.Until > now {
			networks, next = append(networks, is.Prefix), min(next, is.Until)
		}
	}
	f.set = false
	if err := f.wall.Set(ctx, networks); err != nil {
		return nil, err
	}
	f.set, f.revision, f.at, f.next = true, list.Revision, time.Now(), next
	return nil, nil
}
