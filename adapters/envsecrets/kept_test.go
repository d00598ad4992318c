package envsecrets_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/xteam/xteam/adapters/envsecrets"
	"github.com/xteam/xteam/ports"
)

func TestAKeptSecretIsMadeOnce(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	k := envsecrets.OpenKept(dir, rand.Reader)
	if _, err := k.Get(t.Context(), "SECRET_KEY"); !errors.Is(err, ports.ErrNotFound) {
		t.Errorf("Get before it is made = %v, want ErrNotFound", err)
	}
	if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the folder is there before a secret is made: %v", err)
	}
	first, made, err := k.GetOrMake(t.Context(), "SECRET_KEY")
	if err != nil || !made {
		t.Fatalf("GetOrMake = made %v, %v", made, err)
	}
	if b, err := base64.RawURLEncoding.Strict().DecodeString(first.RevealPlaintext()); len(b) != 32 || err != nil {
		t.Errorf("%d bytes were made (%v), want 32 in base64url", len(b), err)
	}
	for range 2 { // by the same program, and by a later one
		got, made, err := k.GetOrMake(t.Context(), "SECRET_KEY")
		if err != nil || made || !got.Equal(first) {
			t.Errorf("GetOrMake again = made %v, %v; want the same secret", made, err)
		}
		k = envsecrets.OpenKept(dir, failing(0))
	}
	if got, err := k.Get(t.Context(), "SECRET_KEY"); err != nil || !got.Equal(first) {
		t.Errorf("Get = %v; want the secret that was made", err)
	}
	other, made, err := envsecrets.OpenKept(dir, rand.Reader).GetOrMake(t.Context(), "ROOT_KEY")
	if err != nil || !made || other.Equal(first) {
		t.Errorf("another name: made %v, %v; want another secret", made, err)
	}

	wantMode(t, filepath.Join(dir, "secrets"), 0o700|fs.ModeDir)
	wantMode(t, filepath.Join(dir, "secrets", "SECRET_KEY"), 0o600)
	wantFiles(t, dir, "ROOT_KEY", "SECRET_KEY")
}

func TestManyAtOnceGetOneSecret(t *testing.T) {
	const programs = 16
	dir := t.TempDir()
	var all sync.WaitGroup // each has seen that there is none
	all.Add(programs)
	var mu sync.Mutex
	got, makers := map[string]bool{}, 0
	var wg sync.WaitGroup
	for range programs {
		wg.Go(func() {
			k := envsecrets.OpenKept(dir, &meeting{met: &all})
			s, made, err := k.GetOrMake(context.Background(), "SECRET_KEY")
			if err != nil {
				t.Error(err)
			}
			mu.Lock()
			defer mu.Unlock()
			got[s.RevealPlaintext()] = true
			if made {
				makers++
			}
		})
	}
	wg.Wait()
	if len(got) != 1 || makers != 1 {
		t.Errorf("%d secrets, made by %d; want 1 and 1", len(got), makers)
	}
	wantFiles(t, dir, "SECRET_KEY")
}

// meeting is a source of randomness whose first read waits for the others'.
type meeting struct {
	met  *sync.WaitGroup
	once sync.Once
}

func (m *meeting) Read(p []byte) (int, error) {
	m.once.Do(func() { m.met.Done(); m.met.Wait() })
	return rand.Read(p)
}

func TestAFailingSourceOfRandomnessKeepsNothing(t *testing.T) {
	for n := range int64(32 + 8) {
		dir := t.TempDir()
		s, made, err := envsecrets.OpenKept(dir, failing(n)).GetOrMake(t.Context(), "SECRET_KEY")
		if !errors.Is(err, ports.ErrUnavailable) || made || !s.IsZero() {
			t.Fatalf("with %d random bytes: made %v, %v; want ErrUnavailable", n, made, err)
		}
		if files, _ := os.ReadDir(filepath.Join(dir, "secrets")); len(files) != 0 {
			t.Fatalf("with %d random bytes, %v was left", n, files)
		}
	}
}

func TestAFileThatIsNoSecretIsRefused(t *testing.T) {
	planted := "planted-and-secret-0123456789abcdef"
	for name, c := range map[string]struct {
		spoil func(t *testing.T, folder, file string)
		says  string
	}{
		"open to the group":  {func(t *testing.T, _, file string) { ok(t, os.Chmod(file, 0o640)) }, "set it to 0600"},
		"open to all":        {func(t *testing.T, _, file string) { ok(t, os.Chmod(file, 0o604)) }, "set it to 0600"},
		"writable by others": {func(t *testing.T, _, file string) { ok(t, os.Chmod(file, 0o602)) }, "set it to 0600"},
		"in an open folder":  {func(t *testing.T, folder, _ string) { ok(t, os.Chmod(folder, 0o750)) }, "set it to 0700"},
		"empty":              {func(t *testing.T, _, file string) { ok(t, os.Truncate(file, 0)) }, "has 0 bytes"},
		"cut":                {func(t *testing.T, _, file string) { ok(t, os.Truncate(file, 31)) }, "has 31 bytes"},
		"with a line end":    {func(t *testing.T, _, file string) { ok(t, os.WriteFile(file, []byte(planted+"\n"), 0o600)) }, "give it without"},
		"far too long":       {func(t *testing.T, _, file string) { ok(t, os.Truncate(file, 1<<30)) }, "longer than"},
		"a folder":           {func(t *testing.T, _, file string) { ok(t, os.Remove(file)); ok(t, os.Mkdir(file, 0o700)) }, "put the secret there itself"},
		"a link to elsewhere": {func(t *testing.T, _, file string) {
			elsewhere := filepath.Join(t.TempDir(), "planted")
			ok(t, os.Rename(file, elsewhere))
			ok(t, os.Symlink(elsewhere, file))
		}, "put the secret there itself"},
		"a link to a neighbour": {func(t *testing.T, _, file string) {
			ok(t, os.Rename(file, file+"_2"))
			ok(t, os.Symlink(filepath.Base(file)+"_2", file))
		}, "put the secret there itself"},
		"a dangling link": {func(t *testing.T, _, file string) { ok(t, os.Remove(file)); ok(t, os.Symlink("nowhere", file)) }, "put the secret there itself"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			k := envsecrets.OpenKept(dir, rand.Reader)
			if _, _, err := k.GetOrMake(t.Context(), "SECRET_KEY"); err != nil {
				t.Fatal(err)
			}
			folder := filepath.Join(dir, "secrets")
			file := filepath.Join(folder, "SECRET_KEY")
			ok(t, os.WriteFile(file, []byte(planted), 0o600))
			if s, err := k.Get(t.Context(), "SECRET_KEY"); s.RevealPlaintext() != planted || err != nil {
				t.Fatalf("Get before the file is spoilt = %v", err)
			}
			c.spoil(t, folder, file)
			before, _ := os.Lstat(file)
			s, made, err := k.GetOrMake(t.Context(), "SECRET_KEY")
			if !errors.Is(err, ports.ErrUnavailable) || errors.Is(err, ports.ErrNotFound) || made || !s.IsZero() {
				t.Fatalf("GetOrMake = made %v, %v; want ErrUnavailable", made, err)
			}
			if text := err.Error(); !strings.Contains(text, c.says) || !strings.Contains(text, folder) || strings.Contains(text, "planted-and") {
				t.Errorf("the error is %q; want it to name the place and to say %q", text, c.says)
			}
			if after, _ := os.Lstat(file); !os.SameFile(before, after) {
				t.Error("another file was put in its stead")
			}
		})
	}
}

func TestANameIsNoPath(t *testing.T) {
	dir := t.TempDir()
	ok(t, os.WriteFile(filepath.Join(dir, "OUTSIDE"), bytes.Repeat([]byte("x"), 40), 0o600))
	k := envsecrets.OpenKept(dir, rand.Reader)
	for _, name := range []string{"", ".", "..", "../OUTSIDE", "A/B", "a", "A\x00B", "A-B", "Ä", "/etc/passwd"} {
		if s, made, err := k.GetOrMake(t.Context(), name); err == nil || made || !s.IsZero() {
			t.Errorf("GetOrMake(%q) = made %v, %v; want an error", name, made, err)
		}
	}
}

func TestAFolderThatCannotBe(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	ok(t, os.WriteFile(file, nil, 0o600))
	k := envsecrets.OpenKept(file, rand.Reader)
	if _, made, err := k.GetOrMake(t.Context(), "SECRET_KEY"); !errors.Is(err, ports.ErrUnavailable) || made {
		t.Errorf("GetOrMake under a file = made %v, %v; want ErrUnavailable", made, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	dir := t.TempDir()
	if _, made, err := envsecrets.OpenKept(dir, rand.Reader).GetOrMake(ctx, "SECRET_KEY"); !errors.Is(err, context.Canceled) || made {
		t.Errorf("GetOrMake with a cancelled context = made %v, %v", made, err)
	}
	if files, _ := os.ReadDir(dir); len(files) != 0 {
		t.Errorf("a cancelled call left %v", files)
	}
}

// failing reads n random bytes and then fails.
func failing(n int64) io.Reader { return io.MultiReader(io.LimitReader(rand.Reader, n), broken{}) }

type broken struct{}

func (broken) Read([]byte) (int, error) { return 0, io.ErrClosedPipe }

func ok(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func wantMode(t *testing.T, path string, want fs.FileMode) {
	t.Helper()
	if info, err := os.Stat(path); err != nil || info.Mode() != want {
		t.Errorf("%s has mode %v (%v), want %v", filepath.Base(path), info.Mode(), err, want)
	}
}

// wantFiles checks that the folder of secrets holds these and no others, nothing half-written either.
func wantFiles(t *testing.T, dir string, want ...string) {
	t.Helper()
	files, err := os.ReadDir(filepath.Join(dir, "secrets"))
	ok(t, err)
	var got []string
	for _, f := range files {
		got = append(got, f.Name())
	}
	if strings.Join(got, " ") != strings.Join(want, " ") {
		t.Errorf("the folder holds %v, want %v", got, want)
	}
}
