package envsecrets

import (
	"context"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/xteam/xteam/domain/secret"
	"github.com/xteam/xteam/ports"
)

// Folder is where kept secrets are, in the data folder.
const Folder = "secrets"

// Kept keeps secrets in files, one each, in the folder "secrets" (mode 0700) of a data folder. Files have mode 0600 and at least
// MinKey bytes; a file that others can read, a link, or an empty or cut one is an error that matches ports.ErrUnavailable and says what to do: nothing is
// ever made in its stead.
type Kept struct {
	folder string
	random io.Reader
}

var _ ports.Secrets = (*Kept)(nil)

// OpenKept answers the secrets that are kept in a data folder. It touches no file: the folder comes to be with the first secret that is made.
func OpenKept(dataDir string, random io.Reader) *Kept {
	return &Kept{filepath.Join(dataDir, Folder), random}
}

// Get implements ports.Secrets. It makes nothing.
func (k *Kept) Get(ctx context.Context, name string) (secret.Text, error) {
	if err := k.allowed(ctx, name); err != nil {
		return secret.Text{}, err
	}
	root, err := os.OpenRoot(k.folder)
	if errors.Is(err, fs.ErrNotExist) {
		return secret.Text{}, fmt.Errorf("secret %s: %w", name, ports.ErrNotFound)
	}
	if err != nil {
		return secret.Text{}, k.fault("open the folder of", name, err)
	}
	defer func() { _ = root.Close() }()
	return k.read(root, name)
}

// GetOrMake answers the secret of that name, and makes one of 32 random bytes (base64url, 43 characters) if there is none. It returns once the new
// file is on the disk. Of several processes that make one at once all get the same, and only one hears that it was made.
func (k *Kept) GetOrMake(ctx context.Context, name string) (s secret.Text, made bool, err error) {
	if s, err = k.Get(ctx, name); !errors.Is(err, ports.ErrNotFound) {
		return s, false, err
	}
	bytes := make([]byte, 32)
	if _, err := io.ReadFull(k.random, bytes); err != nil {
		return secret.Text{}, false, k.fault("make", name, err)
	}
	if err := os.MkdirAll(k.folder, 0o700); err != nil {
		return secret.Text{}, false, k.fault("make the folder of", name, err)
	}
	root, err := os.OpenRoot(k.folder)
	if err != nil {
		return secret.Text{}, false, k.fault("open the folder of", name, err)
	}
	defer func() { _ = root.Close() }()
	made, err = k.write(root, name, base64.RawURLEncoding.EncodeToString(bytes))
	if err != nil {
		return secret.Text{}, false, k.fault("keep", name, err)
	}
	s, err = k.read(root, name)
	return s, made && err == nil, err
}

// allowed takes names of settings alone, so that no name is a path.
func (k *Kept) allowed(ctx context.Context, name string) error {
	if name == "" || strings.Trim(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_") != "" {
		return refuse("%.40q is no name of a secret: use capital letters, digits and underscores", name)
	}
	return ctx.Err()
}

// read answers the secret in a file, if it is fit to be one.
func (k *Kept) read(root *os.Root, name string) (secret.Text, error) {
	path := filepath.Join(k.folder, name)
	folder, err := root.Stat(".")
	if err != nil {
		return secret.Text{}, k.fault("look at the folder of", name, err)
	}
	if folder.Mode().Perm()&0o077 != 0 {
		return secret.Text{}, refuse("%s is open to others than its owner (mode %04o): set it to 0700, and think of the secrets in it as known", k.folder, folder.Mode().Perm())
	}
	listed, err := root.Lstat(name)
	if errors.Is(err, fs.ErrNotExist) {
		return secret.Text{}, fmt.Errorf("secret %s: %w", name, ports.ErrNotFound)
	}
	if err != nil {
		return secret.Text{}, k.fault("look at", name, err)
	}
	if !listed.Mode().IsRegular() {
		return secret.Text{}, refuse("%s is a link or no file: put the secret there itself, in a file of mode 0600", path)
	}
	if perm := listed.Mode().Perm(); perm&0o077 != 0 {
		return secret.Text{}, refuse("%s is open to others than its owner (mode %04o): set it to 0600, and think of the secret as known", path, perm)
	}
	f, err := root.Open(name)
	if err != nil {
		return secret.Text{}, k.fault("open", name, err)
	}
	defer func() { _ = f.Close() }()
	if opened, err := f.Stat(); err != nil || !os.SameFile(listed, opened) {
		return secret.Text{}, refuse("%s was replaced while it was read: try again", path)
	}
	value, err := io.ReadAll(io.LimitReader(f, MaxSecret+1))
	if err != nil {
		return secret.Text{}, k.fault("read", name, err)
	}
	if len(value) < MinKey {
		return secret.Text{}, refuse("%s has %d bytes, and a secret at least %d: restore it from a backup, or remove it to begin anew without what it protected", path, len(value), MinKey)
	}
	if err := check(path, string(value)); err != nil {
		return secret.Text{}, err
	}
	return secret.New(string(value)), nil
}

// write puts a whole file under its name, unless there is one, and answers whether it did. What a crash leaves is a file of another name.
func (k *Kept) write(root *os.Root, name, value string) (made bool, err error) {
	suffix := make([]byte, 8)
	if _, err := io.ReadFull(k.random, suffix); err != nil {
		return false, err
	}
	temporary := "." + name + "." + hex.EncodeToString(suffix)
	f, err := root.OpenFile(temporary, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return false, err
	}
	defer func() { _ = root.Remove(temporary) }()
	_, err = f.WriteString(value)
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return false, err
	}
	switch err := root.Link(temporary, name); { // a rename would put it over another's
	case errors.Is(err, fs.ErrExist):
		made = false
	case err != nil:
		return false, err
	default:
		made = true
	}
	// The names last only when the folders are on the disk: also after another's link, which that one may not have synced yet.
	return made, errors.Join(syncFolder(k.folder), syncFolder(filepath.Dir(k.folder)))
}

func syncFolder(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

func (k *Kept) fault(what, name string, err error) error {
	return fmt.Errorf("%s the secret %s in %s: %w: %w", what, name, k.folder, ports.ErrUnavailable, err)
}
