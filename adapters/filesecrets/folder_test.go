package filesecrets_test

import (
	"context"
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/xteam/xteam/adapters/filesecrets"
	"github.com/xteam/xteam/domain/secret"
	"github.com/xteam/xteam/ports"
	"github.com/xteam/xteam/ports/porttest"
)

const planted = "planted-and-secret-0123456789abcdef"

func ok(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// put writes a file with exactly this mode.
func put(t testing.TB, path, text string, mode fs.FileMode) {
	t.Helper()
	ok(t, os.WriteFile(path, []byte(text), 0o600))
	ok(t, os.Chmod(path, mode))
}

func open(t testing.TB, dir string) *filesecrets.Folder {
	t.Helper()
	f, err := filesecrets.Open(dir)
	ok(t, err)
	return f
}

func TestSecrets(t *testing.T) {
	porttest.Secrets(t, func(t testing.TB) (ports.Secrets, func(name, value string)) {
		dir := t.TempDir()
		return open(t, dir), func(name, value string) { put(t, filepath.Join(dir, name), value, 0o600) }
	})
}

// TestSecretsOfAMountThatIsSwapped sets values as Kubernetes does: a new folder, and one rename of the link to it.
func TestSecretsOfAMountThatIsSwapped(t *testing.T) {
	porttest.Secrets(t, func(t testing.TB) (ports.Secrets, func(name, value string)) {
		m := mount(t)
		return open(t, m.dir), func(name, value string) { m.set(t, name, value) }
	})
}

func TestOutages(t *testing.T) {
	porttest.SecretOutages(t, func(t testing.TB) (ports.Secrets, func(name, value string), map[string]func() func()) {
		dir := filepath.Join(t.TempDir(), "secrets")
		ok(t, os.Mkdir(dir, 0o700))
		return open(t, dir), func(name, value string) { put(t, filepath.Join(dir, name), value, 0o400) }, map[string]func() func(){
			"no folder": func() func() {
				ok(t, os.Rename(dir, dir+".away"))
				return func() { ok(t, os.Rename(dir+".away", dir)) }
			},
			"a file in its stead": func() func() {
				ok(t, os.Rename(dir, dir+".away"))
				put(t, dir, planted, 0o600)
				return func() { ok(t, os.Remove(dir)); ok(t, os.Rename(dir+".away", dir)) }
			},
			"a folder that anybody writes to": func() func() {
				ok(t, os.Chmod(dir, 0o777))
				return func() { ok(t, os.Chmod(dir, 0o700)) }
			},
			"a folder that a group writes to": func() func() {
				ok(t, os.Chmod(dir, 0o770))
				return func() { ok(t, os.Chmod(dir, 0o700)) }
			},
		}
	})
}

// mounted is a folder as Kubernetes mounts a secret: each name is a link into ..data, which is a link to the folder of one state. Its mode is that of such mounts.
type mounted struct {
	dir   string
	state map[string]string
	n     int
}

func mount(t testing.TB) *mounted {
	dir := t.TempDir()
	ok(t, os.Chmod(dir, 0o777|fs.ModeSticky))
	m := &mounted{dir: dir, state: map[string]string{}}
	m.set(t, "UNUSED", "value")
	return m
}

func (m *mounted) set(t testing.TB, name, value string) {
	t.Helper()
	m.n++
	m.state[name] = value
	folder := "..2026_11_25_" + string(rune('a'+m.n%26)) + strings.Repeat("x", m.n/26)
	ok(t, os.Mkdir(filepath.Join(m.dir, folder), 0o755))
	for name, value := range m.state {
		put(t, filepath.Join(m.dir, folder, name), value, 0o440)
	}
	before, _ := os.Readlink(filepath.Join(m.dir, "..data"))
	ok(t, os.Symlink(folder, filepath.Join(m.dir, "..data_tmp")))
	ok(t, os.Rename(filepath.Join(m.dir, "..data_tmp"), filepath.Join(m.dir, "..data")))
	if err := os.Symlink(filepath.Join("..data", name), filepath.Join(m.dir, name)); !errors.Is(err, fs.ErrExist) {
		ok(t, err)
	}
	if before != "" {
		ok(t, os.RemoveAll(filepath.Join(m.dir, before)))
	}
}

// TestAMountIsSwappedUnderReaders proves that a reader sees the old state or the new one, and nothing in between.
func TestAMountIsSwappedUnderReaders(t *testing.T) {
	m := mount(t)
	m.set(t, "SECRET_KEY", "state-0")
	f := open(t, m.dir)
	stop, done := make(chan struct{}), make(chan int)
	go func() {
		n := 0
		for {
			select {
			case <-stop:
				done <- n
				return
			default:
			}
			n++
			if got, err := f.Get(t.Context(), "SECRET_KEY"); err != nil || !strings.HasPrefix(got.RevealPlaintext(), "state-") {
				t.Errorf("Get while the mount is swapped: %v", err)
			}
		}
	}()
	for i := range 300 {
		m.set(t, "SECRET_KEY", "state-"+strings.Repeat("y", i%7))
	}
	close(stop)
	if n := <-done; n == 0 {
		t.Error("nothing was read meanwhile")
	}
}

func TestOneLineEndIsTakenOff(t *testing.T) {
	dir := t.TempDir()
	f := open(t, dir)
	for text, want := range map[string]string{"value": "value", "value\n": "value", "value\r\n": "value", " two words \n": " two words "} {
		put(t, filepath.Join(dir, "KEY"), text, 0o640)
		if got, err := f.Get(t.Context(), "KEY"); err != nil || got.RevealPlaintext() != want {
			t.Errorf("of %q: %q, %v; want %q", text, got.RevealPlaintext(), err, want)
		}
	}
	for _, text := range []string{"", "\n", "\r\n"} {
		put(t, filepath.Join(dir, "KEY"), text, 0o640)
		if got, err := f.Get(t.Context(), "KEY"); !errors.Is(err, ports.ErrNotFound) || !got.IsZero() {
			t.Errorf("of %q: %v, want ErrNotFound", text, err)
		}
	}
	for _, text := range []string{planted + "\n\n", planted + "\r", planted + "\n\r", planted + "\n" + planted + "\n", "\n" + planted, "\x00"} {
		put(t, filepath.Join(dir, "KEY"), text, 0o640)
		if got, err := f.Get(t.Context(), "KEY"); !errors.Is(err, ports.ErrUnavailable) || !got.IsZero() || strings.Contains(err.Error(), "planted-and") {
			t.Errorf("of %q: %v, want ErrUnavailable", text, err)
		}
	}
	put(t, filepath.Join(dir, "KEY"), strings.Repeat("x", secret.MaxLen)+"\r\n", 0o640)
	if got, err := f.Get(t.Context(), "KEY"); err != nil || got.Len() != secret.MaxLen {
		t.Errorf("of 64 KiB and a line end: %d bytes, %v", got.Len(), err)
	}
}

func TestFilesThatAreRefused(t *testing.T) {
	outside := filepath.Join(t.TempDir(), "OUTSIDE")
	put(t, outside, planted, 0o600)
	for name, c := range map[string]struct {
		spoil func(t *testing.T, dir, file string)
		says  string
	}{
		"read by everybody":     {func(t *testing.T, _, f string) { put(t, f, planted, 0o644) }, "is open to everybody (mode 0644)"},
		"Docker's default":      {func(t *testing.T, _, f string) { put(t, f, planted, 0o444) }, "mode: 0400 in Docker"},
		"Kubernetes' default":   {func(t *testing.T, _, f string) { put(t, f, planted, 0o644) }, "defaultMode: 0400"},
		"run by everybody":      {func(t *testing.T, _, f string) { put(t, f, planted, 0o601) }, "is open to everybody"},
		"written by everybody":  {func(t *testing.T, _, f string) { put(t, f, planted, 0o602) }, "is open to everybody"},
		"written by a group":    {func(t *testing.T, _, f string) { put(t, f, planted, 0o660) }, "can be written by a group (mode 0660)"},
		"a link out, absolute":  {func(t *testing.T, _, f string) { ok(t, os.Symlink(outside, f)) }, "is a link that leads out"},
		"a link out, by dots":   {func(t *testing.T, d, f string) { rel, _ := filepath.Rel(d, outside); ok(t, os.Symlink(rel, f)) }, "is a link that leads out"},
		"an absolute link in":   {func(t *testing.T, d, f string) { put(t, d+"/REAL", planted, 0o600); ok(t, os.Symlink(d+"/REAL", f)) }, "is a link that leads out"},
		"a link to nothing":     {func(t *testing.T, _, f string) { ok(t, os.Symlink("NOTHING", f)) }, "is a link to nothing"},
		"a link to itself":      {func(t *testing.T, _, f string) { ok(t, os.Symlink("SECRET_KEY", f)) }, "or nowhere"},
		"a link to an open one": {func(t *testing.T, d, f string) { put(t, d+"/REAL", planted, 0o644); ok(t, os.Symlink("REAL", f)) }, "is open to everybody"},
		"a folder":              {func(t *testing.T, _, f string) { ok(t, os.Mkdir(f, 0o700)) }, "is no file"},
		"a pipe":                {func(t *testing.T, _, f string) { ok(t, syscall.Mkfifo(f, 0o600)) }, "is no file"},
		"a link to a pipe":      {func(t *testing.T, d, f string) { ok(t, syscall.Mkfifo(d+"/PIPE", 0o600)); ok(t, os.Symlink("PIPE", f)) }, "is no file"},
		"a device":              {func(t *testing.T, _, f string) { ok(t, os.Symlink("/dev/zero", f)) }, "is a link that leads out"},
		"a socket":              {func(t *testing.T, d, f string) { listen(t, d, f) }, "is no file"},
		"1 MiB":                 {func(t *testing.T, _, f string) { put(t, f, strings.Repeat(planted, 1<<20/len(planted)), 0o600) }, "is longer than 65536 bytes"},
		"a byte too many":       {func(t *testing.T, _, f string) { put(t, f, strings.Repeat("x", secret.MaxLen+1), 0o600) }, "is longer than 65536 bytes"},
		"a hole of 1 TiB": {func(t *testing.T, _, f string) {
			put(t, f, "", 0o600)
			ok(t, os.Truncate(f, 1<<40))
		}, "is longer than 65536 bytes"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			file := filepath.Join(dir, "SECRET_KEY")
			f := open(t, dir)
			c.spoil(t, dir, file)
			got, err := f.Get(t.Context(), "SECRET_KEY")
			if !errors.Is(err, ports.ErrUnavailable) || errors.Is(err, ports.ErrNotFound) || !got.IsZero() {
				t.Fatalf("Get = %d bytes, %v; want ErrUnavailable", got.Len(), err)
			}
			if text := err.Error(); !strings.Contains(text, c.says) || !strings.HasPrefix(text, file+" ") || strings.Contains(text, "planted-and") || strings.Contains(text, "\n") {
				t.Errorf("the error is %q; want it to name the file and to say %q", text, c.says)
			}
			ok(t, os.RemoveAll(file))
			put(t, file, planted, 0o400)
			if got, err := f.Get(t.Context(), "SECRET_KEY"); err != nil || got.RevealPlaintext() != planted {
				t.Errorf("Get after it was put right: %v", err)
			}
		})
	}
}

// listen makes a socket of that name. The path of one is short, so that it is made where it is.
func listen(t *testing.T, dir, file string) {
	t.Chdir(dir)
	l, err := net.Listen("unix", filepath.Base(file))
	ok(t, err)
	t.Cleanup(func() { _ = l.Close() })
}

// TestAPipeInTheLastMoment proves that nothing waits for a writer, though Get took the name for a file when it looked.
func TestAPipeInTheLastMoment(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "SECRET_KEY")
	put(t, filepath.Join(dir, "FILE"), planted, 0o600)
	ok(t, os.Link(filepath.Join(dir, "FILE"), file))
	ok(t, syscall.Mkfifo(filepath.Join(dir, "PIPE"), 0o600))
	f := open(t, dir)
	stop := make(chan struct{})
	swapped := make(chan struct{})
	go func() {
		defer close(swapped)
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
			}
			_ = os.Link(filepath.Join(dir, []string{"PIPE", "FILE"}[i%2]), filepath.Join(dir, "NEXT"))
			_ = os.Rename(filepath.Join(dir, "NEXT"), file)
		}
	}()
	done := make(chan struct{})
	go func() {
		defer close(done)
		for range 5000 {
			if got, err := f.Get(t.Context(), "SECRET_KEY"); err == nil && got.RevealPlaintext() != planted {
				t.Error("Get answered something else")
			}
		}
	}()
	select {
	case <-done:
	case <-time.After(2 * time.Minute):
		t.Error("Get waits for somebody to write into a pipe")
	}
	close(stop)
	<-swapped
}

func TestAStrangersFileWhereAnybodyMayPutOne(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Log("only root can give a file to somebody else: what is left to be seen is that our own is taken")
	}
	dir := t.TempDir()
	ok(t, os.Chmod(dir, 0o777|fs.ModeSticky))
	file := filepath.Join(dir, "SECRET_KEY_PREVIOUS")
	put(t, file, planted, 0o400)
	f := open(t, dir)
	if got, err := f.Get(t.Context(), "SECRET_KEY_PREVIOUS"); err != nil || got.RevealPlaintext() != planted {
		t.Errorf("our own: %v", err)
	}
	if os.Geteuid() != 0 {
		return
	}
	ok(t, os.Chown(file, 65534, 65534))
	if got, err := f.Get(t.Context(), "SECRET_KEY_PREVIOUS"); !errors.Is(err, ports.ErrUnavailable) || !got.IsZero() || !strings.Contains(err.Error(), "belongs to another user") {
		t.Errorf("a stranger's: %v, want ErrUnavailable", err)
	}
	ok(t, os.Chmod(dir, 0o755))
	if got, err := f.Get(t.Context(), "SECRET_KEY_PREVIOUS"); err != nil || got.RevealPlaintext() != planted {
		t.Errorf("another user's in a folder that only its owner writes to: %v", err)
	}
}

func TestOpen(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	put(t, file, planted, 0o600)
	writable := filepath.Join(dir, "writable")
	ok(t, os.Mkdir(writable, 0o700))
	ok(t, os.Chmod(writable, 0o757))
	for path, says := range map[string]string{
		"":                            "is no folder of secrets",
		filepath.Join(dir, "missing"): "cannot be opened (no such file or directory)",
		file:                          "cannot be opened (not a directory)",
		writable:                      "can be written by others than its owner (mode 0757)",
	} {
		f, err := filesecrets.Open(path)
		if f != nil || !errors.Is(err, ports.ErrUnavailable) || !strings.Contains(err.Error(), says) || !strings.Contains(err.Error(), path) {
			t.Errorf("Open(%q) = %v, want an error that names it and says %q", path, err, says)
		}
	}
	if os.Geteuid() != 0 {
		locked := filepath.Join(dir, "locked")
		ok(t, os.Mkdir(locked, 0o000))
		if _, err := filesecrets.Open(locked); !errors.Is(err, ports.ErrUnavailable) || !strings.Contains(err.Error(), "permission denied") {
			t.Errorf("Open of a locked folder = %v", err)
		}
	}
	readable := filepath.Join(dir, "readable") // as Docker's and systemd's are
	ok(t, os.Mkdir(readable, 0o755))
	put(t, filepath.Join(readable, "SECRET_KEY"), planted, 0o440)
	if got, err := open(t, readable).Get(t.Context(), "SECRET_KEY"); err != nil || got.RevealPlaintext() != planted {
		t.Errorf("Get from a folder that everybody may list: %v", err)
	}
}

func TestANameIsNoPath(t *testing.T) {
	dir := t.TempDir()
	put(t, filepath.Join(dir, "OUTSIDE"), planted, 0o600)
	inner := filepath.Join(dir, "inner")
	ok(t, os.Mkdir(inner, 0o700))
	f := open(t, inner)
	for _, name := range []string{"", ".", "..", "../OUTSIDE", "A/B", "a", "A\x00B", "A-B", "Ä", "/etc/passwd", "..data"} {
		if got, err := f.Get(t.Context(), name); !errors.Is(err, ports.ErrUnavailable) || errors.Is(err, ports.ErrNotFound) || !got.IsZero() {
			t.Errorf("Get(%q) = %v; want ErrUnavailable", name, err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := f.Get(ctx, "A"); !errors.Is(err, context.Canceled) {
		t.Errorf("Get with a cancelled context = %v", err)
	}
}
