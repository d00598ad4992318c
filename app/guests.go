package app

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/xteam/xteam/domain/alert"
	"github.com/xteam/xteam/domain/audit"
	"github.com/xteam/xteam/ports"
)

const (
	guestsMost = 32              // sessions that are told of at a time; others the next time
	guestsWait = 5 * time.Second // for one store's list
)

// WatchedStore is a store whose server lists its sessions.
type WatchedStore struct {
	Name   string // of a fixed set, such as database: a label of metrics
	Guests ports.Guests
}

// GuestsOptions tune Guests. Networks is needed.
type GuestsOptions struct {
	Networks []netip.Prefix // from where sessions may come; sockets of the server's own machine always may
	Rules    []alert.Rule   // by whose cooldown it is told again of a session that stays; default: alert.Rules()
	Every    time.Duration  // how often the lists are read; default 1 minute
	Logger   *slog.Logger   // default: nothing is logged
}

// Guests looks who has sessions of the stores themselves, as their servers list them: whoever has the password of one, or found one without, asks nothing of this program. One node of many looks once a
// minute. A session from outside the networks is an event, once in a cooldown for each store and address, and so an alert. What cannot be seen is told as that: nobody is to believe that nobody is there.
type Guests struct {
	core   *Core
	stores []WatchedStore
	o      GuestsOptions
	duty   *Duty
	status atomic.Pointer[[]GuestsStatus]

	// These are the duty's.
	looked time.Time
	told   map[string]time.Time // of a store and a network, when it was told of last
	unseen map[string]string    // why a store could not be seen, as it was logged last
}

// GuestsStatus is what was seen at one store, as far as this node has looked.
type GuestsStatus struct {
	Store   string
	Looked  time.Time // zero: never, as another node looks, or none yet
	Foreign int       // connections from outside the networks
	Unknown string    // why others may be there that were not seen; empty: all were
}

// NewGuests is a watch that Run keeps.
func NewGuests(c *Core, stores []WatchedStore, o GuestsOptions) (*Guests, error) {
	if o.Rules == nil {
		o.Rules = alert.Rules()
	}
	if o.Every <= 0 {
		o.Every = time.Minute
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	plain := make([]netip.Prefix, 0, len(o.Networks))
	for _, p := range o.Networks {
		if p.Addr().Is4In6() && p.Bits() >= 96 {
			p = netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-96)
		}
		plain = append(plain, p)
	}
	o.Networks = plain
	g := &Guests{core: c, stores: stores, o: o, told: map[string]time.Time{}, unseen: map[string]string{}}
	g.status.Store(&[]GuestsStatus{})
	var err error
	g.duty, err = NewDuty(c, DutyOptions{Name: "guests", Take: g.take, Always: true, Most: 4096, Every: min(o.Every, 5*time.Second), Patience: 30 * time.Second, MaxPause: o.Every, Logger: o.Logger})
	return g, err
}

// Run looks until ctx ends, on one node of many.
func (g *Guests) Run(ctx context.Context) { g.duty.Run(ctx) }

// Status is what was seen at each store that this node has looked at. A nil Guests has looked at none.
func (g *Guests) Status() []GuestsStatus {
	if g == nil {
		return nil
	}
	return *g.status.Load()
}

// Stores are the names of those that are watched.
func (g *Guests) Stores() (names []string) {
	if g == nil {
		return nil
	}
	for _, s := range g.stores {
		names = append(names, s.Name)
	}
	return names
}

// Foreign is how many connections to a store come from outside, as the node that looks has seen; -1 when others may be there, and 0 on other nodes.
func (g *Guests) Foreign(store string) int {
	st := g.duty.Status()
	switch {
	case !st.Holding:
		return 0
	case st.Err != nil: // it does not come to look
		return -1
	}
	for _, st := range g.Status() {
		switch {
		case st.Store != store:
		case st.Foreign == 0 && st.Unknown != "":
			return -1
		default:
			return st.Foreign
		}
	}
	return 0
}

// take looks, when it is time to.
func (g *Guests) take(ctx context.Context, _ Batch) ([]byte, error) {
	now := time.Now()
	if !g.looked.IsZero() && now.Sub(g.looked) < g.o.Every && now.After(g.looked) {
		return nil, nil
	}
	for key, at := range g.told {
		if now.Sub(at) >= g.cooldown() || now.Before(at) {
			delete(g.told, key)
		}
	}
	all := make([]GuestsStatus, 0, len(g.stores))
	var events []audit.Event
	var keys []string
	for _, s := range g.stores {
		st, foreign := g.look(ctx, s)
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		all = append(all, st)
		for _, one := range foreign {
			key := s.Name + " " + alert.Network(&audit.Event{IPAddress: one.Address.String()}).String()
			if _, again := g.told[key]; again || len(events) == guestsMost {
				continue
			}
			e, err := g.event(s.Name, one)
			if err != nil {
				return nil, err
			}
			g.told[key] = now // two users from one network are told of once
			events, keys = append(events, e), append(keys, key)
		}
	}
	g.status.Store(&all)
	if len(events) > 0 {
		if err := g.core.tell(ctx, events...); err != nil {
			for _, key := range keys {
				delete(g.told, key)
			}
			return nil, fmt.Errorf("tell of sessions from outside: %w", err)
		}
	}
	g.looked = now
	return nil, nil
}

// look reads the list of one store, and answers who is on it from outside.
func (g *Guests) look(ctx context.Context, s WatchedStore) (st GuestsStatus, foreign []ports.Guest) {
	st = GuestsStatus{Store: s.Name, Looked: time.Now()}
	short, cancel := context.WithTimeout(ctx, guestsWait)
	defer cancel()
	all, whole, err := s.Guests.Guests(short)
	switch {
	case err != nil:
		st.Unknown = err.Error()
	case !whole:
		st.Unknown = "its account may not see every session: give it pg_read_all_stats in PostgreSQL, +client|list in Redis"
	}
	if st.Unknown != g.unseen[s.Name] && ctx.Err() == nil {
		if g.unseen[s.Name] = st.Unknown; st.Unknown != "" {
			g.o.Logger.Warn("Who has sessions of a store is not known", "store", s.Name, "reason", st.Unknown)
		} else {
			g.o.Logger.Info("Who has sessions of a store is known again", "store", s.Name)
		}
	}
	for _, one := range all {
		if IsForeign(one, g.o.Networks) {
			st.Foreign += one.Connections
			foreign = append(foreign, one)
		}
	}
	return st, foreign
}

// IsForeign reports whether a guest comes from outside the networks.
func IsForeign(g ports.Guest, networks []netip.Prefix) bool {
	if !g.Address.IsValid() {
		return false
	}
	for _, p := range networks {
		if p.Contains(g.Address) {
			return false
		}
	}
	return true
}

func (g *Guests) event(store string, one ports.Guest) (audit.Event, error) {
	e, err := g.core.event(Request{}, audit.StoreSessionForeign, audit.Critical, audit.Success)
	if err != nil {
		return e, err
	}
	e.Actor, e.IPAddress = System, one.Address.String()
	e.Details = map[string]string{"store": store, "user": cut(one.User, maxNote), "connections": strconv.Itoa(one.Connections)}
	return e, nil
}

// cooldown is how long it is not told again of a session that stays.
func (g *Guests) cooldown() time.Duration {
	for _, r := range g.o.Rules {
		if r.Name == alert.ForeignStoreSession {
			return r.Cooldown
		}
	}
	return time.Hour
}
