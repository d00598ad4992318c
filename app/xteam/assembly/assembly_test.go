package assembly_test

import (
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/xteam/xteam/adapters/badgerstore"
	"github.com/xteam/xteam/adapters/envsecrets"
	"github.com/xteam/xteam/adapters/fieldcrypt"
	"github.com/xteam/xteam/adapters/journal"
	"github.com/xteam/xteam/app"
	"github.com/xteam/xteam/app/xteam/assembly"
	"github.com/xteam/xteam/domain/instant"
	"github.com/xteam/xteam/domain/keyset"
	"github.com/xteam/xteam/domain/secret"
	"github.com/xteam/xteam/ports"
)

var silent = slog.New(slog.DiscardHandler)

// given are secrets from a map.
func given(values map[string]string) ports.Secrets {
	return envsecrets.New(func(name string) (string, bool) { v, ok := values[name]; return v, ok })
}

// The longest lifetime of access tokens is in the store before the first token can be issued: how long a revocation is kept hangs on it.
func TestLifetimeIsNoted(t *testing.T) {
	ctx, dir := t.Context(), t.TempDir()
	for _, access := range []time.Duration{2 * time.Hour, time.Hour} {
		db, closeStore, err := assembly.OpenBadger(ctx, dir, 0, assembly.OpenSecrets(assembly.Source{Secrets: given(nil)}, dir, silent), silent)
		if err != nil {
			t.Fatal(err)
		}
		v, closeView, err := assembly.StartView(ctx, db, nil, assembly.Options{}, silent)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := assembly.StartCore(ctx, db, v, nil, nil, journal.New(silent), nil, nil, assembly.Options{Tunables: app.Tunables{Access: access, Refresh: 24 * time.Hour, Session: 24 * time.Hour}}, silent); err != nil {
			t.Fatal(err)
		}
		s, err := db.Stores.System.Load(ctx)
		if err != nil || s.LongestAccess != 2*time.Hour {
			t.Errorf("with a lifetime of %v: the store has %v, %v, want 2h, the longest ever", access, s.LongestAccess, err)
		}
		closeView()
		closeStore()
	}
}

// rotated makes a store whose key signs that the system made, and answers that key's id. Nothing runs on when it returns.
func rotated(t *testing.T, dir string, values map[string]string) (kid string, mac [32]byte) {
	t.Helper()
	ctx := t.Context()
	secrets := assembly.OpenSecrets(assembly.Source{Secrets: given(values)}, dir, silent)
	db, closeStore, err := assembly.OpenBadger(ctx, dir, 0, secrets, silent)
	if err != nil {
		t.Fatal(err)
	}
	defer closeStore()
	o := assembly.Options{Tunables: app.Tunables{Issuer: "xteam", Audience: "xteam", Access: time.Hour, Refresh: 24 * time.Hour, Session: 24 * time.Hour}}
	v, closeView, err := assembly.StartView(ctx, db, nil, o, silent)
	if err != nil {
		t.Fatal(err)
	}
	defer closeView()
	codec := assembly.NewCodec()
	c, err := assembly.StartCore(ctx, db, v, codec, nil, journal.New(silent), nil, nil, o, silent)
	if err != nil {
		t.Fatal(err)
	}
	r, closeRotator, err := assembly.StartRotator(ctx, c, codec, db, secrets, o, silent)
	if err != nil {
		t.Fatal(err)
	}
	defer closeRotator()
	out, err := r.Rotate(ctx, app.Actor{Name: app.Operator}, keyset.ES256, false)
	if err != nil {
		t.Fatal(err)
	}
	mac, _ = db.MACs.MAC(db.MACs.Current(), []byte("a refresh token"))
	return out.Key.ID, mac
}

// A SECRET_KEY that other services know opens nothing but signatures: not the data keys, nor what they seal, nor what they authenticate; and it is not in the store.
func TestSecretKeyOpensNothingButSignatures(t *testing.T) {
	defer goleak.VerifyNone(t)
	const signing, root = "a-signing-secret-that-others-know-0123", "a-root-key-that-nobody-else-knows-0123"
	ctx, dir := t.Context(), t.TempDir()
	kid, mac := rotated(t, dir, map[string]string{app.SecretKey: signing, app.RootKey: root})

	for name, values := range map[string]map[string]string{
		"SECRET_KEY as the root key":                   {app.SecretKey: signing, app.RootKey: signing},
		"SECRET_KEY as the one to replace":             {app.SecretKey: signing, app.RootKey: strings.Repeat("another root key", 3), app.RootKeyPrevious: signing},
		"SECRET_KEY as base64url":                      {app.SecretKey: signing, app.RootKey: base64.RawURLEncoding.EncodeToString([]byte(signing))},
		"another root key, and SECRET_KEY as it was":   {app.SecretKey: signing, app.RootKey: strings.Repeat("another root key", 3)},
		"no root key, of which none is made beside it": {app.SecretKey: signing},
	} {
		db, closeStore, err := assembly.OpenBadger(ctx, dir, 0, assembly.OpenSecrets(assembly.Source{Secrets: given(values)}, dir, silent), silent)
		if err == nil {
			closeStore()
			t.Errorf("%s opened the store: %v", name, db.MACs)
		} else if values[app.RootKey] != "" && values[app.RootKey] != signing && !errors.Is(err, fieldcrypt.ErrRootKey) || strings.Contains(err.Error(), signing) {
			t.Errorf("%s: %v", name, err)
		}
	}

	// With the bytes themselves, and a keyring of one's own.
	db, err := badgerstore.Open(dir, badgerstore.Options{Logger: silent})
	if err != nil {
		t.Fatal(err)
	}
	ring, err := db.Keys().Find(ctx, keyset.Signing)
	if err != nil {
		t.Fatal(err)
	}
	k, _ := ring.Find(kid)
	other, closeOther, err := assembly.OpenBadger(ctx, t.TempDir(), 0, assembly.OpenSecrets(assembly.Source{Secrets: given(map[string]string{app.RootKey: signing})}, t.TempDir(), silent), silent)
	if err != nil {
		t.Fatal(err)
	}
	if plain, err := other.Sealer.Open("keys/signing/"+kid, k.Wrapped); err == nil || len(k.Wrapped) == 0 {
		t.Errorf("a keyring under SECRET_KEY opened a private key of %d bytes", len(plain))
	}
	if its, _ := other.MACs.MAC(other.MACs.Current(), []byte("a refresh token")); its == mac {
		t.Error("a keyring under SECRET_KEY authenticates refresh tokens")
	}
	closeOther()
	right, err := fieldcrypt.Open(ctx, db.Keys(), secret.New(root), secret.Text{}, rand.Reader, instant.Of(time.Now()))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := right.Open("keys/signing/"+kid, k.Wrapped); err != nil {
		t.Errorf("ROOT_KEY itself: %v", err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	needles := map[string][]byte{}
	for name, s := range map[string]string{app.SecretKey: signing, app.RootKey: root} {
		needles[name] = []byte(s)
		needles[name+" in hex"] = []byte(hex.EncodeToString([]byte(s)))
		needles[name+" in base64"] = []byte(base64.RawStdEncoding.EncodeToString([]byte(s)))
	}
	files := 0
	err = filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || !e.Type().IsRegular() {
			return err
		}
		content, err := os.ReadFile(path)
		for name, needle := range needles {
			if bytes.Contains(content, needle) {
				t.Errorf("%s is in %s", name, path)
			}
		}
		files++
		return err
	})
	if err != nil || files == 0 {
		t.Errorf("%d files were searched: %v", files, err)
	}
}
