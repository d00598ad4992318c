package assembly

import (
	"context"
	"crypto/rand"
	"errors"
	"log/slog"
	"path/filepath"

	"github.com/xteam/xteam/adapters/envsecrets"
	"github.com/xteam/xteam/domain/secret"
	"github.com/xteam/xteam/ports"
)

// Secrets are those that were given, and those that a system without them made for itself and keeps in its data folder.
type Secrets struct {
	given  ports.Secrets
	kept   *envsecrets.Kept
	made   *envsecrets.OrMade
	folder string // of the kept ones
}

var _ ports.Secrets = (*Secrets)(nil)

// OpenSecrets reads given secrets, and keeps others in the data folder. It touches no file yet.
func OpenSecrets(given ports.Secrets, dataDir string, log *slog.Logger) *Secrets {
	kept := envsecrets.OpenKept(dataDir, rand.Reader)
	told := func(name, file string) {
		log.Info("A secret was made; keep a copy of its file", "setting", name, "file", file)
	}
	return &Secrets{given, kept, envsecrets.NewOrMade(given, kept, told, signingKey, rootKey), filepath.Join(dataDir, envsecrets.Folder)}
}

// Get answers a secret that was given, else one that is kept. It makes none.
func (s *Secrets) Get(ctx context.Context, name string) (secret.Text, error) {
	text, err := s.given.Get(ctx, name)
	if errors.Is(err, ports.ErrNotFound) {
		return s.kept.Get(ctx, name)
	}
	return text, err
}

// getOrMake is Get, and makes and keeps SECRET_KEY or ROOT_KEY when there is none.
func (s *Secrets) getOrMake(ctx context.Context, name string) (secret.Text, error) {
	text, err := s.made.Get(ctx, name)
	if err == nil {
		err = envsecrets.CheckStrength(name, text)
	}
	return text, err
}
