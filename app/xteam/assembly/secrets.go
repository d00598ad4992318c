package assembly

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/xteam/xteam/adapters/envsecrets"
	"github.com/xteam/xteam/app"
	"github.com/xteam/xteam/domain/secret"
	"github.com/xteam/xteam/ports"
)

// Source is where secrets are given.
type Source struct {
	ports.Secrets
	// Name is how the source is called in messages: the setting that chose it.
	Name string
	// Every is how often it is asked again; 0: every 30 s.
	Every time.Duration
	// Complete says that it has every secret that there is: none is made, nor kept in the data folder.
	Complete bool
	// Versions says that it answers for a previous value by itself, with the version before: nobody gave that, and nobody takes it away.
	Versions bool
	// Sturdy refuses secrets that are long enough and yet easily guessed; else they are told of.
	Sturdy bool
}

// Secrets are those that were given, and those that a system without them made for itself and keeps in its data folder.
type Secrets struct {
	*app.Secrets
	source Source
	kept   *envsecrets.Kept
	folder string // of the kept ones
	log    *slog.Logger
	told   sync.Map // of which weak secrets was told
	given  sync.Map // which the source has had
}

// OpenSecrets reads secrets of a source, and keeps others in the data folder. It touches nothing yet.
func OpenSecrets(source Source, dataDir string, log *slog.Logger) *Secrets {
	s := &Secrets{source: source, kept: envsecrets.OpenKept(dataDir, rand.Reader), folder: filepath.Join(dataDir, envsecrets.Folder), log: log}
	s.Secrets = app.NewSecrets(s, app.SecretsOptions{Every: source.Every, Random: rand.Reader, Logger: log})
	return s
}

var _ ports.Secrets = (*Secrets)(nil)

// Get answers a secret as it is given now, else one that is kept. It makes none.
func (s *Secrets) Get(ctx context.Context, name string) (secret.Text, error) {
	text, err := s.source.Get(ctx, name)
	if err == nil {
		s.given.Store(name, true)
	}
	if _, given := s.given.Load(name); errors.Is(err, ports.ErrNotFound) && !given && !s.source.Complete { // what was given once does not fall back to one of before
		text, err = s.kept.Get(ctx, name)
	}
	if err != nil {
		return text, err
	}
	switch name {
	case app.SecretKey, app.RootKey:
		err = s.judge(name, text)
	case app.SecretKeyPrevious:
		for one := range strings.SplitSeq(text.RevealPlaintext(), ",") {
			if one = strings.TrimSpace(one); one != "" && err == nil {
				err = s.judge(name, secret.New(one))
			}
		}
	}
	return text, err
}

// without says that a secret is missing that was there.
func (s *Secrets) without(name string) error {
	if s.source.Complete {
		return fmt.Errorf("%s has no %s, and this store was made with one: put it there", s.source.Name, name)
	}
	return fmt.Errorf("%s is empty, and this store was made with one: give it, or put its file back into %s", name, s.folder)
}

// judge refuses a key that is short, and a weak one where nothing weak is taken; elsewhere it tells of that, once.
func (s *Secrets) judge(name string, key secret.Text) error {
	weak := secret.Weakness(key)
	if weak == "" {
		return nil
	}
	if s.source.Sturdy || key.Len() < secret.MinKey {
		return weakError(name + " " + weak)
	}
	if _, told := s.told.LoadOrStore(name+weak, true); !told {
		s.log.Warn("A secret is easily guessed, and production would refuse it", "setting", name, "why", "it "+weak)
	}
	return nil
}

// GetOrMake is Get of a secret that is made, and kept in the data folder, where none is given; a source that has all there are says ports.ErrNotFound.
func (s *Secrets) GetOrMake(ctx context.Context, name string) (secret.Text, error) {
	text, err := s.Get(ctx, name)
	if errors.Is(err, ports.ErrNotFound) && !s.source.Complete {
		return s.keep(ctx, name)
	}
	return text, err
}

// keep answers the secret that is kept in the data folder, and makes it if there is none.
func (s *Secrets) keep(ctx context.Context, name string) (secret.Text, error) {
	text, made, err := s.kept.GetOrMake(ctx, name)
	if err == nil && made {
		s.log.Info("A secret was made; keep a copy of its file", "setting", name, "file", filepath.Join(s.folder, name))
	}
	return text, err
}

// make makes a secret that is not given, and keeps it in the data folder.
func (s *Secrets) make(ctx context.Context, name string) (secret.Text, error) {
	if s.source.Complete {
		return secret.Text{}, fmt.Errorf("%s has no %s: put it there; `xteam secret generate` makes one", s.source.Name, name)
	}
	text, err := s.keep(ctx, name)
	if err != nil {
		return secret.Text{}, err
	}
	return text, s.Read(ctx)
}

// makeSigning is make of the secret that signs, and an error where the store has signed with one.
func (s *Secrets) makeSigning(ctx context.Context, signed bool) (secret.Text, error) {
	if signed {
		return secret.Text{}, fmt.Errorf("%w; if it is lost, give another, as `xteam secret generate` makes: access tokens of before are refused then, and sessions go on", s.without(app.SecretKey))
	}
	return s.make(ctx, app.SecretKey)
}

// isKept reports whether a secret is kept in the data folder, and not given.
func (s *Secrets) isKept(name string) bool {
	if s.source.Complete {
		return false
	}
	_, err := s.source.Get(context.Background(), name)
	return errors.Is(err, ports.ErrNotFound)
}

// weakError is a sentence about a key that is none. It matches ports.ErrUnavailable.
type weakError string

func (e weakError) Error() string        { return string(e) }
func (e weakError) Is(target error) bool { return target == ports.ErrUnavailable }
