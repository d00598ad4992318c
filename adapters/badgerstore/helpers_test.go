package badgerstore_test

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/xteam/xteam/adapters/badgerstore"
	"github.com/xteam/xteam/domain/audit"
	"github.com/xteam/xteam/domain/id"
	"github.com/xteam/xteam/domain/instant"
	"github.com/xteam/xteam/domain/revocation"
	"github.com/xteam/xteam/domain/session"
	"github.com/xteam/xteam/ports"
)

type store struct{ *badgerstore.DB }

func open(t testing.TB, dir string) store {
	t.Helper()
	db, err := badgerstore.Open(dir, badgerstore.Options{})
	for late := time.Now().Add(30 * time.Second); err != nil && strings.Contains(err.Error(), "is in use") && time.Now().Before(late); { // the child of another test, which was begun as the folder was closed, has its lock until it runs
		<-time.After(time.Millisecond)
		db, err = badgerstore.Open(dir, badgerstore.Options{})
	}
	if err != nil {
		t.Fatal(err)
	}
	db.Unlock(sealer{})
	return store{db}
}

func (s store) close(t testing.TB) {
	t.Helper()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

// all answers the revocations that a new follower is given until it has caught up.
func (s store) all(t testing.TB) map[string]revocation.Entry {
	t.Helper()
	got := map[string]revocation.Entry{}
	err := s.Revocations().Follow(t.Context(), func(n ports.News) error {
		for _, e := range n.Entries {
			got[e.Key()] = e
		}
		if n.Caught {
			return errEnough
		}
		return nil
	})
	if !errors.Is(err, errEnough) {
		t.Fatal(err)
	}
	return got
}

func must[V any](v V, err error) V {
	if err != nil {
		panic(err)
	}
	return v
}

func newID[T ~[16]byte]() (v T) {
	if _, err := rand.Read(v[:]); err != nil {
		panic(err)
	}
	return v
}

func now() instant.Instant { return instant.Of(time.Now()) }

func aSession() session.Session {
	return session.Session{ID: newID[id.Session](), User: newID[id.User](), Counter: 1, Created: now(), Expires: now().Add(time.Hour)}
}

func anEvent() audit.Event {
	return audit.Event{ID: newID[id.Event](), Time: now(), Kind: audit.TokenRevoked, Severity: audit.Info, Outcome: audit.Success}
}

// eventually waits until a condition holds.
func eventually(t testing.TB, what string, holds func() bool) {
	t.Helper()
	tick, late := time.NewTicker(time.Millisecond), time.After(30*time.Second)
	defer tick.Stop()
	for !holds() {
		select {
		case <-tick.C:
		case <-late:
			t.Fatal("never: " + what)
		}
	}
}

var everything = cmp.Exporter(func(reflect.Type) bool { return true })

// copyFolder copies the files of an open store as a kill would leave them: what was written to memory that is shared with a file is in the file.
func copyFolder(t testing.TB, from string) string {
	t.Helper()
	to := filepath.Join(t.TempDir(), "copy")
	if err := os.Mkdir(to, 0o700); err != nil {
		t.Fatal(err)
	}
	for _, entry := range must(os.ReadDir(from)) {
		copyFile(t, filepath.Join(from, entry.Name()), filepath.Join(to, entry.Name()))
	}
	return to
}

func fileSize(path string) (int, error) {
	info, err := os.Stat(path)
	if err != nil {
		return 0, err
	}
	return int(info.Size()), nil
}

// copyFile leaves holes where there are zeros.
func copyFile(t testing.TB, from, to string) {
	t.Helper()
	data := must(os.ReadFile(from))
	end := len(strings.TrimRight(string(data), "\x00"))
	if err := os.WriteFile(to, data[:end], 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(to, int64(len(data))); err != nil {
		t.Fatal(err)
	}
}

// sealer is a ports.Sealer with a key that every process of the tests knows.
type sealer struct{}

var _ ports.Sealer = sealer{}

var testKey = sha256.Sum256([]byte("of these tests alone"))

func (sealer) aead() cipher.AEAD {
	return must(cipher.NewGCMWithRandomNonce(must(aes.NewCipher(testKey[:]))))
}

func (s sealer) Seal(context string, plain []byte) ([]byte, error) {
	return s.aead().Seal(nil, nil, plain, []byte(context)), nil
}

func (s sealer) Open(context string, sealed []byte) ([]byte, error) {
	plain, err := s.aead().Open(nil, nil, sealed, []byte(context))
	if err != nil {
		return nil, errors.Join(ports.ErrUnavailable, err)
	}
	return plain, nil
}

func (sealer) Index(context, value string) (digest [16]byte) {
	mac := hmac.New(sha256.New, testKey[:])
	_, _ = io.WriteString(mac, context+"\x00"+value)
	copy(digest[:], mac.Sum(nil))
	return digest
}

// stall is a sealer that holds the committer up: it seals no event before it is let go.
type stall struct {
	sealer
	reached chan struct{} // gets a value when the committer stands still
	resume  chan struct{}
	letGo   func()
}

func (s store) stall() *stall {
	x := &stall{reached: make(chan struct{}, 1), resume: make(chan struct{})}
	x.letGo = sync.OnceFunc(func() { close(x.resume) })
	s.Unlock(x)
	go func() { _ = s.Events().Record(context.Background(), anEvent()) }()
	<-x.reached
	return x
}

func (s *stall) Seal(context string, plain []byte) ([]byte, error) {
	if strings.HasPrefix(context, "e/") {
		select {
		case s.reached <- struct{}{}:
		default:
		}
		<-s.resume
	}
	return s.sealer.Seal(context, plain)
}
