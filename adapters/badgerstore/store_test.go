package badgerstore_test

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/sha256"
	"errors"
	"testing"

	"github.com/xteam/xteam/adapters/badgerstore"
	"github.com/xteam/xteam/ports"
	"github.com/xteam/xteam/ports/porttest"
)

func TestStore(t *testing.T) {
	porttest.All(t, func(t testing.TB, dir string) porttest.Store {
		s := open(t, dir)
		return porttest.Store{Accounts: s.Accounts(), Sessions: s.Sessions(), Keys: s.Keys(), System: s.System(),
			Revocations: s.Revocations(), Events: s.Events(), Close: s.Close}
	}, porttest.Options{Durable: true})
}

type store struct{ *badgerstore.DB }

func open(t testing.TB, dir string) store {
	t.Helper()
	db, err := badgerstore.Open(dir, badgerstore.Options{})
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

// sealer is a ports.Sealer with a key that every process of the tests knows.
type sealer struct{}

var _ ports.Sealer = sealer{}

var testKey = sha256.Sum256([]byte("of these tests alone"))

func (sealer) aead() cipher.AEAD {
	block, err := aes.NewCipher(testKey[:])
	if err != nil {
		panic(err)
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		panic(err)
	}
	return aead
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
	mac.Write([]byte(context + "\x00" + value))
	copy(digest[:], mac.Sum(nil))
	return digest
}

