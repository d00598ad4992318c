package fieldcrypt_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"io"
	"slices"
	"sync"
	"testing"

	"github.com/xteam/xteam/adapters/fieldcrypt"
	"github.com/xteam/xteam/domain/keyset"
	"github.com/xteam/xteam/domain/secret"
	"github.com/xteam/xteam/ports"
)

// keys is a store of rings in memory.
type keys struct {
	mu      sync.Mutex
	rings   map[string]keyset.Ring
	creates int    // how often a ring was stored
	before  func() // called before each Create, outside the lock
	fail    error  // answered by every call
}

func newKeys() *keys { return &keys{rings: map[string]keyset.Ring{}, before: func() {}} }

func (s *keys) Create(ctx context.Context, r keyset.Ring, _ ports.Effects) error {
	s.before()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fail != nil {
		return s.fail
	}
	if _, taken := s.rings[r.Name]; taken {
		return ports.ErrTaken
	}
	s.rings[r.Name] = clone(r)
	s.creates++
	return ctx.Err()
}

func (s *keys) Update(_ context.Context, name string, change func(keyset.Ring) (keyset.Ring, ports.Effects, error)) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	r, _, err := change(clone(s.rings[name]))
	if err == nil {
		s.rings[name] = clone(r)
	}
	return err
}

func (s *keys) Find(ctx context.Context, name string) (keyset.Ring, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fail != nil {
		return keyset.Ring{}, s.fail
	}
	r, ok := s.rings[name]
	if !ok {
		return keyset.Ring{}, ports.ErrNotFound
	}
	return clone(r), ctx.Err()
}

func clone(r keyset.Ring) keyset.Ring {
	r.Keys = slices.Clone(r.Keys)
	for i := range r.Keys {
		r.Keys[i].Wrapped = bytes.Clone(r.Keys[i].Wrapped)
		r.Keys[i].Secret = secret.Text{}
	}
	return r
}

// edit changes a stored key behind the keyring's back.
func (s *keys) edit(t *testing.T, kid string, change func(*keyset.Key)) {
	t.Helper()
	r := s.rings[keyset.Data]
	i := slices.IndexFunc(r.Keys, func(k keyset.Key) bool { return k.ID == kid })
	if i < 0 {
		t.Fatalf("there is no key %s in the ring", kid)
	}
	change(&r.Keys[i])
}

var root = secret.New("a root key for tests, 32 bytes or more")

func mustOpen(t testing.TB, s ports.Keys) *fieldcrypt.Keyring {
	t.Helper()
	k, err := fieldcrypt.Open(t.Context(), s, root, secret.Text{}, rand.Reader, 1)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// failing reads n random bytes and then fails.
func failing(n int64) io.Reader {
	return io.MultiReader(io.LimitReader(rand.Reader, n), broken{})
}

type broken struct{}

func (broken) Read([]byte) (int, error) { return 0, io.ErrClosedPipe }
