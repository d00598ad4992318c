// Package memstore keeps everything in the memory of one process. Store is the reference of the ports of state, for tests: it forgets nothing while it
// lives, and all of it at the end. Buckets keeps rate limits in bounded memory, and is made for production.
package memstore

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/xteam/xteam/domain/account"
	"github.com/xteam/xteam/domain/alert"
	"github.com/xteam/xteam/domain/apikey"
	"github.com/xteam/xteam/domain/audit"
	"github.com/xteam/xteam/domain/block"
	"github.com/xteam/xteam/domain/id"
	"github.com/xteam/xteam/domain/incident"
	"github.com/xteam/xteam/domain/keyset"
	"github.com/xteam/xteam/domain/revocation"
	"github.com/xteam/xteam/domain/session"
	"github.com/xteam/xteam/domain/system"
	"github.com/xteam/xteam/domain/upload"
	"github.com/xteam/xteam/ports"
)

// Store holds accounts, sessions, API keys, keys, the system's state, revocations and events. Its methods answer the ports.
//
// A function handed to an Update runs outside of all locks, on a copy, and runs again when somebody else changed the value meanwhile: a caller that
// counts on it running once is found out here.
type Store struct {
	closed chan struct{} // closed by Close
	once   sync.Once

	mu       sync.Mutex
	accounts map[id.User]record[account.Account]
	emails   map[string]id.User
	names    map[string]id.User // by folded user name
	sessions map[id.Session]record[session.Session]
	apiKeys  map[id.APIKey]record[apikey.Key]
	uploads  map[id.File]upload.File
	rings    map[string]record[keyset.Ring]
	system   record[system.State] // always there
	blocks   record[block.List]   // as well

	entries []revocation.Entry  // in the order of their commits; only appended to
	known   map[string]struct{} // revocation.Entry.Key of each
	news    chan struct{}       // closed, and replaced, when entries grew
	events  []audit.Event       // the position of one is its index plus one; the zero event was cut away

	cursors   map[string]ports.Cursor
	alerts    record[alert.Book]        // always there
	incidents record[incident.Casebook] // always there

	links []audit.Link // from behind the cut on
	head  audit.Head
}

// record is a value and how often it was stored.
type record[V any] struct {
	value   V
	version uint64 // 0: there is none
}

// New is an empty store. It needs no Close to be freed.
func New() *Store {
	return &Store{
		closed:    make(chan struct{}),
		accounts:  map[id.User]record[account.Account]{},
		emails:    map[string]id.User{},
		names:     map[string]id.User{},
		sessions:  map[id.Session]record[session.Session]{},
		apiKeys:   map[id.APIKey]record[apikey.Key]{},
		uploads:   map[id.File]upload.File{},
		rings:     map[string]record[keyset.Ring]{},
		system:    record[system.State]{version: 1},
		blocks:    record[block.List]{version: 1},
		known:     map[string]struct{}{},
		news:      make(chan struct{}),
		cursors:   map[string]ports.Cursor{},
		alerts:    record[alert.Book]{version: 1},
		incidents: record[incident.Casebook]{version: 1},
	}
}

// Close ends every Follow and makes all later calls fail with ports.ErrUnavailable. It never fails.
func (s *Store) Close() error {
	s.once.Do(func() { close(s.closed) })
	return nil
}

// ready answers why a call cannot go on: its context has ended, or the store is closed.
func (s *Store) ready(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	select {
	case <-s.closed:
		return fmt.Errorf("memory store: %w: it is closed", ports.ErrUnavailable)
	default:
		return nil
	}
}

// commit runs put and, when it succeeds, keeps the effects. An invalid effect keeps both from happening.
func (s *Store) commit(ctx context.Context, e ports.Effects, put func() error) error {
	if err := validate(e.Revocations); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.ready(ctx); err != nil {
		return err
	}
	if err := put(); err != nil {
		return err
	}
	s.appendEntries(e.Revocations)
	s.appendEvents(e.Events)
	return nil
}

// read runs get while nothing changes.
func (s *Store) read(ctx context.Context, get func()) error {
	if err := s.ready(ctx); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	get()
	return nil
}

// update stores what change makes of a value. load and put run under the lock; put answers whether the version that it was handed still stands, and stores.
func update[V any](ctx context.Context, s *Store, load func() record[V], clone func(V) V, change func(V) (V, ports.Effects, error), put func(next record[V]) error) error {
	for {
		var was record[V]
		if err := s.read(ctx, func() { was = load(); was.value = clone(was.value) }); err != nil {
			return err
		}
		if was.version == 0 {
			return ports.ErrNotFound
		}
		next, effects, err := change(was.value)
		if err != nil {
			return err
		}
		changed := false
		err = s.commit(ctx, effects, func() error {
			if changed = load().version != was.version; changed {
				return errChanged
			}
			return put(record[V]{clone(next), was.version + 1})
		})
		if !changed {
			return err
		}
	}
}

var errChanged = errors.New("memory store: changed meanwhile")

func validate(entries []revocation.Entry) error {
	for i := range entries {
		if err := entries[i].Validate(); err != nil {
			return err
		}
	}
	return nil
}

// fixed is the error of an update that gives a value another identity.
func fixed(what string) error { return fmt.Errorf("memory store: %s cannot change", what) }

func cloneAccount(a account.Account) account.Account { return a }

func cloneState(s system.State) system.State { return s }

func cloneSession(v session.Session) session.Session {
	v.Last.Successor = slices.Clone(v.Last.Successor)
	return v
}
