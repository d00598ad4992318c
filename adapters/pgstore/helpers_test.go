package pgstore_test

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"io"
	"testing"
	"time"

	"github.com/xteam/xteam/domain/audit"
	"github.com/xteam/xteam/domain/id"
	"github.com/xteam/xteam/domain/instant"
	"github.com/xteam/xteam/domain/revocation"
	"github.com/xteam/xteam/domain/session"
	"github.com/xteam/xteam/ports"
)

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

func anEntry() revocation.Entry {
	return revocation.Entry{Kind: revocation.Token, Token: newID[id.Token](), Reason: revocation.Logout, By: "operator", At: now(), Until: now().Add(time.Hour)}
}

// eventually waits until a condition holds.
func eventually(t testing.TB, what string, holds func() bool) {
	t.Helper()
	tick, late := time.NewTicker(5*time.Millisecond), time.After(time.Minute)
	defer tick.Stop()
	for !holds() {
		select {
		case <-tick.C:
		case <-late:
			t.Fatal("never: " + what)
		}
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
		return nil, errors.Join(ports.ErrDamaged, err)
	}
	return plain, nil
}

func (sealer) Index(context, value string) (digest [16]byte) {
	mac := hmac.New(sha256.New, testKey[:])
	_, _ = io.WriteString(mac, context+"\x00"+value)
	copy(digest[:], mac.Sum(nil))
	return digest
}
