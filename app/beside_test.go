package app_test

import (
	"context"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/xteam/xteam/adapters/memstore"
	"github.com/xteam/xteam/app"
	"github.com/xteam/xteam/domain/keyset"
	"github.com/xteam/xteam/domain/revocation"
)

// Secrets are judged beside one another, at a start and at every change: a root key that other services may know opens what is stored.
func TestARootKeyThatIsASigningSecret(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for what, is := range map[string][]string{
			"the signing secret":   {app.RootKey, keyOne},
			"the root key signs":   {app.SecretKey, rootOne},
			"one of those before":  {app.SecretKeyPrevious, keyThree + "," + rootOne},
			"another, once before": {app.RootKey, keyTwo, app.SecretKeyPrevious, keyTwo},
		} {
			s := newSafe(app.SecretKey, keyOne, app.RootKey, rootOne)
			all, log := reading(t, s)
			was := all.Values()
			taken := 0
			all.OnChange(func(context.Context, app.SecretValues, app.SecretValues) error { taken++; return nil })
			s.put(is...)
			err := all.Read(t.Context())
			if err == nil || !strings.HasPrefix(err.Error(), "ROOT_KEY is ") || strings.Contains(err.Error()+log.String(), "planted") {
				t.Errorf("%s: %v", what, err)
			}
			if got := all.Values(); taken != 0 || got.Root != was.Root || got.Signing != was.Signing {
				t.Errorf("%s: it was taken up", what)
			}
		}
	})
}

// What is being written is not believed: a change has to be the same a moment later.
func TestAHalfWrittenSecretIsNotTakenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSafe(app.SecretKey, keyOne, app.RootKey, rootOne)
		all, _ := reading(t, s)
		taken := 0
		all.OnChange(func(context.Context, app.SecretValues, app.SecretValues) error { taken++; return nil })
		s.put(app.RootKey, keyThree[:33])
		go func() {
			pass(100 * time.Millisecond)
			s.put(app.RootKey, keyThree)
		}()
		if err := all.Read(t.Context()); err == nil || !strings.Contains(err.Error(), "change while they are read") || taken != 0 {
			t.Errorf("half written: %v, taken up %d times", err, taken)
		}
		if err := all.Read(t.Context()); err != nil || taken != 1 || all.Values().Root.RevealPlaintext() != keyThree {
			t.Errorf("whole: %v, taken up %d times", err, taken)
		}
	})
}

// Once keys were rotated nothing needs SECRET_KEY: it may vanish, as the log asks for.
func TestASecretThatNothingNeedsMayVanish(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSafe(app.SecretKey, keyOne)
		n := started(t, memstore.New(), s, app.RotatorOptions{})
		s.put(app.SecretKey, "")
		if err := n.secrets.Read(t.Context()); err == nil || n.secrets.Values().Signing.IsZero() {
			t.Errorf("while it signs: %v", err)
		}
		s.put(app.SecretKey, keyOne)
		n.rotate(keyset.ES256, false)
		s.put(app.SecretKey, "")
		if err := n.secrets.Read(t.Context()); err != nil || !n.secrets.Values().Signing.IsZero() {
			t.Errorf("after a rotation: %v", err)
		}
		n.admits("signed by the system's own key", n.sign())
	})
}

// A source with versions answers for the secret of before by itself: nobody can take that away, so it ends with its tokens, and refuses no start when it was revoked.
func TestTheVersionBeforeOfASource(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store, s := memstore.New(), newSafe(app.SecretKey, keyTwo, app.SecretKeyPrevious, keyOne)
		n := started(t, store, s, app.RotatorOptions{Versions: true})
		n.admits("of the version before", n.signedWith(keyOne))
		n.run()
		pass(2 * time.Hour)
		if ids := n.codec.KeyIDs(); !slices.Equal(ids, []string{kidOf(keyTwo)}) {
			t.Errorf("two hours later %v verify, want the version that is alone", ids)
		}
		other := started(t, memstore.New(), s, app.RotatorOptions{})
		other.run()
		pass(2 * time.Hour)
		other.admits("of one that somebody gave", other.signedWith(keyOne))

		n.revoke(kidOf(keyOne))
		again := started(t, store, s, app.RotatorOptions{Versions: true})
		if got := again.signs(); got != kidOf(keyTwo) {
			t.Errorf("%s signs, want the version that is", got)
		}
		again.dead("of the version before, once it was revoked", again.signedWith(keyOne))
	})
}

// A signing key that is withdrawn while none waits to follow, as after a database was set back, is followed by another: at the next pass, at a rotation by hand, and at a start.
func TestAWithdrawnKeyIsFollowed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, how := range []string{"by itself", "by hand", "at a start"} {
			store := memstore.New()
			n := started(t, store, newSafe(app.SecretKey, keyOne), app.RotatorOptions{})
			n.rotate(keyset.ES256, false)
			lost := n.signs()
			n.core.View.Publish(t.Context(), revocation.Entry{Kind: revocation.Key, KeyID: lost, Reason: revocation.KeyRevoked, At: 1, Until: 1<<63 - 1})
			switch how {
			case "by itself":
				n.run()
				pass(time.Minute)
			case "by hand":
				n.rotate("", false)
			default:
				if err := store.Revocations().Record(t.Context(), revocation.Entry{Kind: revocation.Key, KeyID: lost, Reason: revocation.KeyRevoked, At: 1, Until: 1<<63 - 1}); err != nil {
					t.Fatal(err)
				}
				pass(2 * time.Second)
				n = started(t, store, newSafe(app.SecretKey, keyOne), app.RotatorOptions{})
			}
			if n.signs() == lost {
				t.Errorf("%s: the key that was withdrawn signs", how)
			}
			if k := n.rotator.List()[0]; k.State != keyset.Primary || k.Algorithm != keyset.ES256 {
				t.Errorf("%s: a key %v of %s follows, want one of the algorithm before", how, k.State, k.Algorithm)
			}
			n.admits(how, n.sign())
		}
	})
}
