package memstore

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/xteam/xteam/domain/audit"
	"github.com/xteam/xteam/domain/revocation"
	"github.com/xteam/xteam/ports"
)

// batch is how many entries one delivery to a follower holds at most.
const batch = 1024

// heartbeat is how long a follower waits at most to hear that there is nothing new.
const heartbeat = 500 * time.Millisecond

// Revocations is the store's ports.Revocations.
type Revocations struct{ s *Store }

var (
	_ ports.Revocations = Revocations{}
	_ ports.Finder      = Revocations{}
)

// Revocations answers the port of revocations. None is ever dropped.
func (s *Store) Revocations() Revocations { return Revocations{s} }

// Record keeps the entries, all or none of them.
func (p Revocations) Record(ctx context.Context, entries ...revocation.Entry) error {
	return p.s.commit(ctx, ports.Effects{Revocations: entries}, func() error { return nil })
}

// Find looks at every entry.
func (p Revocations) Find(ctx context.Context, beginnings ...string) (found []revocation.Entry, err error) {
	err = p.s.read(ctx, func() {
		for i := range p.s.entries {
			key := p.s.entries[i].Key()
			if slices.ContainsFunc(beginnings, func(text string) bool { return strings.HasPrefix(key, text) }) {
				found = append(found, p.s.entries[i])
			}
		}
	})
	return found, err
}

// Follow delivers all entries and then each as it is committed. A follower has a place in the one list of entries and no queue of its own: a slow one holds
// up nobody and costs nothing.
func (p Revocations) Follow(ctx context.Context, fn func(ports.News) error) error {
	tick := time.NewTicker(heartbeat)
	defer tick.Stop()
	for at := 0; ; {
		var held []revocation.Entry
		var more <-chan struct{}
		if err := p.s.read(ctx, func() { held, more = p.s.entries, p.s.news }); err != nil {
			return err
		}
		for {
			n := min(batch, len(held)-at)
			part := slices.Clone(held[at : at+n])
			at += n
			if err := fn(ports.News{Entries: part, Caught: at == len(held)}); err != nil {
				return err
			}
			if at == len(held) {
				break
			}
			if err := p.s.ready(ctx); err != nil {
				return err
			}
		}
		select {
		case <-more:
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		case <-p.s.closed:
			return fmt.Errorf("memory store: %w: it was closed", ports.ErrUnavailable)
		}
	}
}

// appendEntries keeps those that are not known yet. The caller holds the lock and has validated them.
func (s *Store) appendEntries(entries []revocation.Entry) {
	grew := false
	for i := range entries {
		key := entries[i].Key()
		if _, ok := s.known[key]; ok {
			continue
		}
		s.known[key] = struct{}{}
		s.entries = append(s.entries, entries[i])
		grew = true
	}
	if grew {
		close(s.news)
		s.news = make(chan struct{})
	}
}

// Events is the store's ports.Events.
type Events struct{ s *Store }

var _ ports.Events = Events{}

// Events answers the port of security events.
func (s *Store) Events() Events { return Events{s} }

// Record keeps the events in the order given, all or none of them.
func (p Events) Record(ctx context.Context, events ...audit.Event) error {
	return p.s.commit(ctx, ports.Effects{Events: events}, func() error { return nil })
}

// List answers at most limit events behind a position.
func (p Events) List(ctx context.Context, after uint64, limit int) ([]audit.Event, uint64, error) {
	var page []audit.Event
	if err := p.s.read(ctx, func() {
		from := min(after, uint64(len(p.s.events)))
		for from < uint64(len(p.s.events)) && p.s.events[from].ID.IsZero() { // cut away
			from++
		}
		page = cloneEvents(p.s.events[from:min(uint64(len(p.s.events)), from+uint64(max(limit, 0)))])
		if len(page) > 0 {
			after = from + uint64(len(page))
		}
	}); err != nil {
		return nil, after, err
	}
	return page, after, nil
}

// Latest answers the last events behind a position.
func (p Events) Latest(ctx context.Context, after uint64, limit int) (page []audit.Event, err error) {
	err = p.s.read(ctx, func() {
		from := min(after, uint64(len(p.s.events)))
		for from < uint64(len(p.s.events)) && p.s.events[from].ID.IsZero() { // cut away
			from++
		}
		all := p.s.events[from:]
		page = cloneEvents(all[max(len(all)-max(limit, 0), 0):])
	})
	return page, err
}

// Spoil has the event at a position be one that cannot be read, as if the bytes stood in its place that are answered. It is for tests: nobody else can reach this store's memory.
func (s *Store) Spoil(position uint64) (stored []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	stored = []byte("spoiled")
	s.events[position-1] = audit.StandIn(position, stored, int64(len(stored)), nil)
	return stored
}

func (s *Store) appendEvents(events []audit.Event) {
	s.events = append(s.events, cloneEvents(events)...)
}

func cloneEvents(events []audit.Event) []audit.Event {
	events = slices.Clone(events)
	for i := range events {
		events[i].Details = maps.Clone(events[i].Details)
	}
	return events
}
