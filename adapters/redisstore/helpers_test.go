package redisstore_test

import (
	"context"
	"crypto/rand"
	"errors"
	"maps"
	"sync"
	"testing"
	"time"

	"github.com/xteam/xteam/adapters/redisstore"
	"github.com/xteam/xteam/domain/id"
	"github.com/xteam/xteam/domain/instant"
	"github.com/xteam/xteam/domain/revocation"
	ourports "github.com/xteam/xteam/ports"
)

func newID[T ~[16]byte]() T {
	v, err := id.New[T](rand.Reader)
	if err != nil {
		panic(err)
	}
	return v
}

func newEntry() revocation.Entry {
	now := instant.Of(time.Now())
	return revocation.Entry{Kind: revocation.Token, Token: newID[id.Token](), Reason: revocation.Logout, By: "operator", At: now, Until: now.Add(time.Hour)}
}

func newEntries(n int) []revocation.Entry {
	all := make([]revocation.Entry, n)
	for i := range all {
		all[i] = newEntry()
	}
	return all
}

func record(t testing.TB, s *redisstore.Store, entries ...revocation.Entry) {
	t.Helper()
	ok(t, s.Revocations().Record(context.Background(), entries...))
}

// node follows as a node does: again and again, into one union.
type node struct {
	cancel context.CancelFunc
	over   chan struct{}

	mu     sync.Mutex
	seen   map[string]bool
	caught int       // deliveries with Caught
	heard  time.Time // the last of them
	round  map[string]bool
	errs   []error
}

func follow(t testing.TB, s *redisstore.Store) *node {
	ctx, cancel := context.WithCancel(context.Background())
	n := &node{cancel: cancel, over: make(chan struct{}), seen: map[string]bool{}, round: map[string]bool{}}
	go func() {
		defer close(n.over)
		for ctx.Err() == nil {
			n.mu.Lock()
			n.round = map[string]bool{}
			n.mu.Unlock()
			err := s.Revocations().Follow(ctx, n.take)
			n.mu.Lock()
			n.errs = append(n.errs, err)
			n.mu.Unlock()
			select {
			case <-ctx.Done():
			case <-time.After(20 * time.Millisecond):
			}
		}
	}()
	t.Cleanup(func() { cancel(); <-n.over })
	eventually(t, "the first Caught", func() bool { return n.beats() > 0 })
	return n
}

func (n *node) take(news ourports.News) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	for i := range news.Entries {
		n.seen[news.Entries[i].Key()], n.round[news.Entries[i].Key()] = true, true
	}
	if news.Caught {
		n.caught++
		n.heard = time.Now()
	}
	return nil
}

func (n *node) beats() int { n.mu.Lock(); defer n.mu.Unlock(); return n.caught }

func (n *node) failures() []error {
	n.mu.Lock()
	defer n.mu.Unlock()
	return append([]error(nil), n.errs...)
}

func (n *node) has(t testing.TB, entries ...revocation.Entry) {
	t.Helper()
	eventually(t, "the node has all entries", func() bool {
		n.mu.Lock()
		defer n.mu.Unlock()
		for i := range entries {
			if !n.seen[entries[i].Key()] {
				return false
			}
		}
		return true
	})
}

// lost waits for an end of Follow with ErrLost, and answers it.
func (n *node) lost(t testing.TB) (err error) {
	t.Helper()
	eventually(t, "Follow says that Redis lost something", func() bool {
		for _, e := range n.failures() {
			if errors.Is(e, redisstore.ErrLost) && errors.Is(e, ourports.ErrUnavailable) {
				err = e
				return true
			}
		}
		return false
	})
	return err
}

// holds is what Redis holds now.
func holds(t testing.TB, s *redisstore.Store) map[string]bool {
	t.Helper()
	all := map[string]bool{}
	enough := errors.New("enough")
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	if err := s.Revocations().Follow(ctx, func(n ourports.News) error {
		for i := range n.Entries {
			all[n.Entries[i].Key()] = true
		}
		if n.Caught {
			return enough
		}
		return nil
	}); !errors.Is(err, enough) {
		t.Fatalf("Follow up to the first Caught: %v", err)
	}
	return maps.Clone(all)
}
