package badgerstore_test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/dgraph-io/badger/v4"

	"github.com/xteam/xteam/adapters/badgerstore"
	"github.com/xteam/xteam/domain/keyset"
	"github.com/xteam/xteam/ports"
)

// childFolder asks a run of this test binary to open a folder, say how that went, and hold it until its input ends.
const childFolder = "XTEAM_BADGERSTORE_CHILD"

func child() {
	db, err := badgerstore.Open(os.Getenv(childFolder), badgerstore.Options{})
	if err != nil {
		fmt.Println(err)
		os.Exit(0)
	}
	fmt.Println("open")
	_, _ = os.Stdin.Read(make([]byte, 1))
	if err := db.Close(); err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	os.Exit(0)
}

// refused opens a folder in vain and checks the sentence.
func refused(t *testing.T, dir, want string) {
	t.Helper()
	db, err := badgerstore.Open(dir, badgerstore.Options{})
	if err == nil {
		_ = db.Close()
		t.Errorf("%s was opened, want a refusal with %q", dir, want)
		return
	}
	sentence(t, err.Error(), dir, want)
}

func sentence(t *testing.T, got, dir, want string) {
	t.Helper()
	if !strings.Contains(got, want) || !strings.Contains(got, dir) {
		t.Errorf("got %q, want a sentence with %q and %q", got, want, dir)
	}
	if strings.ContainsAny(got, "\n\t") {
		t.Errorf("got %q, want one line", got)
	}
}

func TestTheFolderBelongsToItsOwner(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "below", "data")
	open(t, dir).close(t)
	for _, d := range []string{dir, filepath.Dir(dir)} {
		if got := must(os.Stat(d)).Mode().Perm(); got != 0o700 {
			t.Errorf("%s has mode %v, want 0700", d, got)
		}
	}
}

func TestAFolderInUse(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	s := open(t, dir)
	refused(t, dir, "is in use")
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(dir, link); err != nil {
		t.Fatal(err)
	}
	refused(t, link, "is in use")

	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), childFolder+"="+dir)
	start := time.Now()
	said, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("another process was refused after %v", time.Since(start))
	sentence(t, strings.TrimSpace(string(said)), dir, "is in use")

	s.close(t)
	open(t, dir).close(t)
}

func TestAFolderInUseByAnotherProcess(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), childFolder+"="+dir)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	in, out := must(cmd.StdinPipe()), must(cmd.StdoutPipe())
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line := make([]byte, 5)
	if _, err := out.Read(line); err != nil || string(line) != "open\n" {
		t.Fatalf("got %q, %v", line, err)
	}
	refused(t, dir, "is in use")
	_ = in.Close()
	if err := cmd.Wait(); err != nil {
		t.Fatal(err)
	}
	open(t, dir).close(t)
}

func TestAFolderThatCannotBeWritten(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	refused(t, file, "is not a folder but a file")
	refused(t, filepath.Join(file, "data"), "lies below a file")

	// Another user than the owner tries: as root there is no folder that one may not write.
	base := must(os.MkdirTemp("", "badgerstore"))
	defer os.RemoveAll(base)
	closed := filepath.Join(base, "closed")
	if err := errors.Join(os.Mkdir(closed, 0o555), os.Chmod(base, 0o755)); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{closed, filepath.Join(closed, "data")} {
		cmd := exec.Command("/proc/self/exe")
		cmd.Env = []string{childFolder + "=" + dir}
		if os.Getuid() == 0 {
			cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
		}
		said, err := cmd.Output()
		if err != nil {
			t.Fatal(err)
		}
		sentence(t, strings.TrimSpace(string(said)), dir, "cannot be written")
	}
}

func TestAFolderOfAnotherKind(t *testing.T) {
	t.Run("with other files", func(t *testing.T) {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "SECRET_KEY"), []byte("x"), 0o600); err != nil {
			t.Fatal(err)
		}
		open(t, dir).close(t)
	})
	t.Run("of a newer layout", func(t *testing.T) {
		dir := t.TempDir()
		s := open(t, dir)
		if err := s.WriteSchema("2"); err != nil {
			t.Fatal(err)
		}
		s.close(t)
		refused(t, dir, `has layout "2", and this version of the program knows 1: start the version that wrote it`)
		refused(t, dir, `has layout "2"`) // the refusal has freed it
	})
	t.Run("of another program", func(t *testing.T) {
		dir := t.TempDir()
		other := must(badger.Open(badger.DefaultOptions(dir).WithLogger(nil)))
		if err := other.Close(); err != nil {
			t.Fatal(err)
		}
		refused(t, dir, "belongs to another program")
	})
	t.Run("of another Badger", func(t *testing.T) {
		dir := t.TempDir()
		open(t, dir).close(t)
		manifest := filepath.Join(dir, "MANIFEST")
		data := must(os.ReadFile(manifest))
		data[7]++
		if err := os.WriteFile(manifest, data, 0o600); err != nil {
			t.Fatal(err)
		}
		refused(t, dir, "has Badger's format 9, and this version of the program reads 8")
	})
	t.Run("with a manifest that is none", func(t *testing.T) {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "MANIFEST"), []byte("name: something else"), 0o600); err != nil {
			t.Fatal(err)
		}
		refused(t, dir, "is damaged, or is not one")
	})
	t.Run("that lost its manifest", func(t *testing.T) {
		dir := t.TempDir()
		s := open(t, dir)
		if err := s.Revocations().Record(t.Context(), tokenEntry(time.Hour)); err != nil {
			t.Fatal(err)
		}
		s.close(t)
		manifest := filepath.Join(dir, "MANIFEST")
		data := must(os.ReadFile(manifest))
		if err := os.Remove(manifest); err != nil {
			t.Fatal(err)
		}
		refused(t, dir, "has lost its file MANIFEST")
		if err := os.WriteFile(manifest, data, 0o600); err != nil {
			t.Fatal(err)
		}
		s = open(t, dir)
		defer s.close(t)
		if got := len(s.all(t)); got != 1 {
			t.Errorf("got %d entries when it came back, want 1: the refusal must not have touched the tables", got)
		}
	})
}

func TestARecordOfANewerVersion(t *testing.T) {
	s := open(t, t.TempDir())
	defer s.close(t)
	if err := s.Keys().Create(t.Context(), keyset.Ring{Name: "signing"}, ports.Effects{}); err != nil {
		t.Fatal(err)
	}
	if err := s.AppendField("k/signing"); err != nil {
		t.Fatal(err)
	}
	_, err := s.Keys().Find(t.Context(), "signing")
	if !errors.Is(err, ports.ErrUnavailable) || !strings.Contains(err.Error(), "newer version") {
		t.Errorf("got %v, want ErrUnavailable that speaks of a newer version", err)
	}
}

func TestBeforeUnlock(t *testing.T) {
	db := must(badgerstore.Open(t.TempDir(), badgerstore.Options{}))
	defer store{db}.close(t)
	if err := db.Keys().Create(t.Context(), keyset.Ring{Name: "data"}, ports.Effects{}); err != nil {
		t.Error(err)
	}
	if _, err := db.System().Load(t.Context()); err != nil {
		t.Error(err)
	}
	if err := db.Sessions().Create(t.Context(), aSession(), ports.Effects{}); !errors.Is(err, ports.ErrUnavailable) {
		t.Errorf("a session: got %v, want ErrUnavailable", err)
	}
	if err := db.Events().Record(t.Context(), anEvent()); !errors.Is(err, ports.ErrUnavailable) {
		t.Errorf("an event: got %v, want ErrUnavailable", err)
	}
}

func TestAfterClose(t *testing.T) {
	s := open(t, t.TempDir())
	following := make(chan error, 1)
	caught := make(chan struct{})
	go func() {
		once := false
		following <- s.Revocations().Follow(t.Context(), func(ports.News) error {
			if !once {
				close(caught)
			}
			once = true
			return nil
		})
	}()
	<-caught
	s.close(t)
	if err := <-following; !errors.Is(err, ports.ErrUnavailable) {
		t.Errorf("Follow: got %v, want ErrUnavailable", err)
	}
	if err := s.Revocations().Record(t.Context(), tokenEntry(time.Hour)); !errors.Is(err, ports.ErrUnavailable) {
		t.Errorf("Record: got %v, want ErrUnavailable", err)
	}
	if err := s.Close(); err != nil {
		t.Errorf("Close again: got %v", err)
	}
}
