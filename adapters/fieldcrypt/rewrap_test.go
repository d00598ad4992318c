package fieldcrypt_test

import (
	"bytes"
	"crypto/rand"
	"errors"
	"strings"
	"testing"

	"github.com/xteam/xteam/adapters/fieldcrypt"
	"github.com/xteam/xteam/domain/keyset"
	"github.com/xteam/xteam/domain/secret"
)

var nextRoot = secret.New(strings.Repeat("next root key ", 4))

// The root key is replaced: the data keys stay, under another wrapping, and what was sealed before opens.
func TestAnotherRootKeyWrapsTheSameKeys(t *testing.T) {
	s := newKeys()
	before := mustOpen(t, s)
	was := clone(s.rings[keyset.Data])

	after, err := fieldcrypt.Open(t.Context(), s, nextRoot, root, rand.Reader, 2)
	if err != nil {
		t.Fatal(err)
	}
	wantSame(t, before, after)
	is := s.rings[keyset.Data]
	for i, k := range is.Keys {
		if bytes.Equal(k.Wrapped, was.Keys[i].Wrapped) {
			t.Errorf("%s is wrapped as before", k.ID)
		}
		was.Keys[i].Wrapped, is.Keys[i].Wrapped = nil, nil
	}
	for i := range is.Keys {
		if is.Keys[i].ID != was.Keys[i].ID || is.Keys[i].State != was.Keys[i].State || is.Keys[i].Changed != was.Keys[i].Changed {
			t.Errorf("%s became %+v: only the wrapping changes", was.Keys[i].ID, is.Keys[i])
		}
	}
}

func TestTheRootKeyOfBeforeOpensNothingOnceItWasReplaced(t *testing.T) {
	s := newKeys()
	mustOpen(t, s)
	if err := fieldcrypt.Rewrap(t.Context(), s, root, nextRoot, rand.Reader); err != nil {
		t.Fatal(err)
	}
	if k, err := fieldcrypt.Open(t.Context(), s, root, secret.Text{}, rand.Reader, 2); !errors.Is(err, fieldcrypt.ErrRootKey) || k != nil {
		t.Errorf("Open under the root key of before: %v, want ErrRootKey", err)
	}
	for range 2 { // the second finds it done, as another node does
		if err := fieldcrypt.Rewrap(t.Context(), s, root, nextRoot, rand.Reader); err != nil {
			t.Errorf("Rewrap again: %v", err)
		}
	}
	if _, err := fieldcrypt.Open(t.Context(), s, nextRoot, root, rand.Reader, 2); err != nil {
		t.Errorf("Open under the next root key: %v", err)
	}
}

func TestARootKeyThatOpensNothingReplacesNothing(t *testing.T) {
	s := newKeys()
	mustOpen(t, s)
	was := clone(s.rings[keyset.Data])
	stranger := secret.New(strings.Repeat("another root key", 3))
	if err := fieldcrypt.Rewrap(t.Context(), s, stranger, nextRoot, rand.Reader); !errors.Is(err, fieldcrypt.ErrRootKey) {
		t.Errorf("Rewrap: %v, want ErrRootKey", err)
	}
	if _, err := fieldcrypt.Open(t.Context(), s, nextRoot, stranger, rand.Reader, 2); !errors.Is(err, fieldcrypt.ErrRootKey) {
		t.Errorf("Open: %v, want ErrRootKey", err)
	}
	if err := fieldcrypt.Rewrap(t.Context(), s, root, secret.New("short"), rand.Reader); err == nil {
		t.Error("Rewrap under a root key of 5 bytes succeeded")
	}
	if err := fieldcrypt.Rewrap(t.Context(), s, root, nextRoot, failing(20)); err == nil {
		t.Error("Rewrap without randomness succeeded")
	}
	for i, k := range s.rings[keyset.Data].Keys {
		if !bytes.Equal(k.Wrapped, was.Keys[i].Wrapped) {
			t.Errorf("%s is wrapped another way", k.ID)
		}
	}
	mustOpen(t, s)
}
