package assembly_test

import (
	"log/slog"
	"testing"
	"time"

	"github.com/xteam/xteam/adapters/envsecrets"
	"github.com/xteam/xteam/adapters/journal"
	"github.com/xteam/xteam/app"
	"github.com/xteam/xteam/app/xteam/assembly"
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
