package assembly_test

import (
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/xteam/xteam/adapters/envsecrets"
	"github.com/xteam/xteam/adapters/journal"
	"github.com/xteam/xteam/app"
	"github.com/xteam/xteam/app/xteam/assembly"
	"github.com/xteam/xteam/domain/keyset"
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
		db, closeStore, err := assembly.OpenBadger(ctx, dir, 0, assembly.OpenSecrets(given(nil), dir, silent), silent)
		if err != nil {
			t.Fatal(err)
		}
		v, closeView, err := assembly.StartView(ctx, db, assembly.Options{}, silent)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := assembly.StartCore(ctx, db, v, nil, nil, journal.New(silent), nil, assembly.Options{Tunables: app.Tunables{Access: access, Refresh: 24 * time.Hour, Session: 24 * time.Hour}}); err != nil {
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

func TestSigningRing(t *testing.T) {
	ctx, dir := t.Context(), t.TempDir()
	db, closeStore, err := assembly.OpenBadger(ctx, dir, 0, assembly.OpenSecrets(given(nil), dir, silent), silent)
	if err != nil {
		t.Fatal(err)
	}
	defer closeStore()
	v, closeView, err := assembly.StartView(ctx, db, assembly.Options{}, silent)
	if err != nil {
		t.Fatal(err)
	}
	defer closeView()
	ring := func(values map[string]string) (keyset.Ring, error) {
		return assembly.SigningRing(ctx, assembly.OpenSecrets(given(values), dir, silent), v)
	}
	a, b, c := strings.Repeat("a", 32), strings.Repeat("b", 32), strings.Repeat("c", 32)

	got, err := ring(map[string]string{"SECRET_KEY": a, "SECRET_KEY_PREVIOUS": b + ", " + c + "," + a})
	if err != nil {
		t.Fatal(err)
	}
	var states []keyset.State
	for _, k := range got.Keys {
		states = append(states, k.State)
	}
	if len(states) != 3 || states[0] != keyset.Primary || states[1] != keyset.Retiring || states[2] != keyset.Retiring {
		t.Errorf("SECRET_KEY and two earlier ones, one of them named twice: got %v, want primary, retiring, retiring", states)
	}
	if k, _ := got.Primary(keyset.Sign); k.Secret.RevealPlaintext() != a {
		t.Error("the primary is not SECRET_KEY")
	}

	// Without SECRET_KEY one is made, once.
	first, err := ring(nil)
	if err != nil {
		t.Fatal(err)
	}
	again, err := ring(nil)
	if err != nil || first.Keys[0].ID != again.Keys[0].ID {
		t.Errorf("the key that is kept: got %v, then %v, %v, want the same", first.Keys[0].ID, again.Keys[0].ID, err)
	}
	if _, err := os.Stat(filepath.Join(dir, "secrets", "SECRET_KEY")); err != nil {
		t.Error(err)
	}
	if _, err := ring(map[string]string{"SECRET_KEY": a[:31]}); err == nil || strings.Contains(err.Error(), a[:31]) {
		t.Errorf("31 bytes: got %v, want a refusal without the secret", err)
	}
}
