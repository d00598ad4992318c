package badgerstore_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/dgraph-io/badger/v4"

	"github.com/xteam/xteam/adapters/badgerstore"
	"github.com/xteam/xteam/domain/audit"
	"github.com/xteam/xteam/ports"
)

// logged keeps log lines.
type logged struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *logged) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(b)
}

func (l *logged) logger() *slog.Logger { return slog.New(slog.NewJSONHandler(l, nil)) }

// lines are the messages from info up, each behind its level, and without those of Badger.
func (l *logged) lines(t testing.TB) (lines []string) {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	for text := range strings.Lines(l.text.String()) {
		var line struct{ Level, Msg string }
		if err := json.Unmarshal([]byte(text), &line); err != nil {
			t.Fatal(err)
		}
		if line.Msg != "badger" {
			lines = append(lines, line.Level+" "+line.Msg)
		}
	}
	return lines
}

// followed is a follower beside the test.
func (s store) followed() (caught chan struct{}, done chan error) {
	caught, done = make(chan struct{}, 1), make(chan error, 1)
	go func() {
		done <- s.Revocations().Follow(context.Background(), func(n ports.News) error {
			if n.Caught {
				select {
				case caught <- struct{}{}:
				default:
				}
			}
			return nil
		})
	}()
	return caught, done
}

func TestAfterAFailedCommit(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	var log logged
	s := store{must(badgerstore.Open(dir, badgerstore.Options{Logger: log.logger()}))}
	s.Unlock(sealer{})
	first := tokenEntry(time.Hour)
	if err := s.Revocations().Record(t.Context(), first); err != nil {
		t.Fatal(err)
	}
	caught, done := s.followed()
	<-caught
	if err := s.Break(); err != nil {
		t.Fatal(err)
	}
	release := must(badgerstore.LockFolder(dir)) // so that it cannot be opened again
	for _, want := range []string{"Writes are blocked", "it has failed"} {
		if err := s.Events().Record(t.Context(), anEvent()); !errors.Is(err, ports.ErrUnavailable) || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want ErrUnavailable with %q", err, want)
		}
	}
	for what, read := range map[string]func() error{
		"System.Load":        func() error { _, err := s.System().Load(t.Context()); return err },
		"Sessions.Find":      func() error { _, err := s.Sessions().Find(t.Context(), aSession().ID); return err },
		"Events.List":        func() error { _, _, err := s.Events().List(t.Context(), 0, 1); return err },
		"Revocations.Follow": func() error { return s.Revocations().Follow(t.Context(), func(ports.News) error { return nil }) },
		"a follower":         func() error { return <-done },
	} {
		if err := read(); !errors.Is(err, ports.ErrUnavailable) {
			t.Errorf("%s: got %v, want ErrUnavailable", what, err)
		}
	}
	eventually(t, "it was tried in vain", func() bool { return len(log.lines(t)) >= 2 })

	if err := release(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "it is read again", func() bool { _, err := s.System().Load(t.Context()); return err == nil })
	second := tokenEntry(time.Hour)
	if err := s.Revocations().Record(t.Context(), second); err != nil {
		t.Fatal(err)
	}
	if all := s.all(t); all[first.Key()] != first || all[second.Key()] != second {
		t.Errorf("got %d entries, want both", len(all))
	}
	s.close(t)
	want := []string{"ERROR the store has failed; it answers nothing until it has been opened again", "WARN the store cannot be opened again yet",
		"INFO the store has been opened again, and answers"}
	if got := log.lines(t); !slices.Equal(got, want) {
		t.Errorf("logged:\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func TestCloseWhileItCannotBeOpenedAgain(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	if err := s.Break(); err != nil {
		t.Fatal(err)
	}
	release := must(badgerstore.LockFolder(dir))
	defer func() { _ = release() }()
	if err := s.Events().Record(t.Context(), anEvent()); !errors.Is(err, ports.ErrUnavailable) {
		t.Errorf("got %v, want ErrUnavailable", err)
	}
	s.close(t)
}

// standing is a logger of Badger's that holds a commit inside Badger, as a sync that does not come back would.
type standing struct {
	badger.Logger
	on              atomic.Bool
	reached, resume chan struct{}
}

func (s *standing) Debugf(format string, _ ...any) {
	if strings.Contains(format, "Writing to memtable") && s.on.CompareAndSwap(true, false) {
		close(s.reached)
		<-s.resume
	}
}

func TestASyncThatHangs(t *testing.T) {
	dir := t.TempDir()
	hang := &standing{reached: make(chan struct{}), resume: make(chan struct{})}
	s := store{must(badgerstore.Open(dir, badgerstore.Tuned(badgerstore.Options{}, func(o *badger.Options) { hang.Logger, o.Logger = o.Logger, hang })))}
	s.Unlock(sealer{})
	x := aSession()
	if err := s.Sessions().Create(t.Context(), x, ports.Effects{}); err != nil {
		t.Fatal(err)
	}
	hang.on.Store(true)
	short, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	lost := tokenEntry(time.Hour)
	if err := s.Revocations().Record(short, lost); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("the call that hangs: got %v, want context.DeadlineExceeded", err)
	}
	<-hang.reached
	if _, err := s.Sessions().Find(short, x.ID); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a read: got %v, want context.DeadlineExceeded", err)
	}
	if got, err := s.Sessions().Find(t.Context(), x.ID); err != nil || got.Counter != x.Counter {
		t.Errorf("a read of what was committed before: got %v, %v", got, err)
	}
	caught, done := s.followed()
	<-caught
	if err := s.Revocations().Record(short, tokenEntry(time.Hour)); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("another call: got %v, want context.DeadlineExceeded", err)
	}
	s.SetPatience(50 * time.Millisecond)
	if err := s.Close(); err == nil || !strings.Contains(err.Error(), "has not answered") {
		t.Errorf("Close: got %v, want that the disk has not answered", err)
	}
	if err := <-done; !errors.Is(err, ports.ErrUnavailable) {
		t.Errorf("Follow: got %v, want ErrUnavailable", err)
	}
	close(hang.resume)
	var again *badgerstore.DB
	eventually(t, "the folder is free", func() (ok bool) { again, _ = badgerstore.Open(dir, badgerstore.Options{}); return again != nil })
	defer store{again}.close(t)
	again.Unlock(sealer{})
	if all := (store{again}).all(t); all[lost.Key()] != lost {
		t.Errorf("the call that hung: got %v, want its entry", all)
	}
}

// starvedFolder asks a run of this test binary to use a folder until it has no file descriptors left, and on.
const starvedFolder = "XTEAM_BADGERSTORE_STARVED"

// TestNoDescriptorsLeft: Badger begins a new log when one is full, cannot, and stands there without one: who reads it then, panics.
func TestNoDescriptorsLeft(t *testing.T) {
	if os.Getenv(starvedFolder) != "" {
		starved(t)
		return
	}
	cmd := exec.CommandContext(t.Context(), "/proc/self/exe", "-test.run=^TestNoDescriptorsLeft$", "-test.timeout=1m", "-test.v")
	cmd.Env = append(os.Environ(), starvedFolder+"="+filepath.Join(t.TempDir(), "data"))
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if said, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v:\n%s", err, said)
	}
}

func starved(t *testing.T) {
	dir := os.Getenv(starvedFolder)
	var log logged
	s := store{must(badgerstore.Open(dir, badgerstore.Options{Logger: log.logger()}))}
	s.Unlock(sealer{})
	caught, done := s.followed()
	<-caught
	stop := make(chan struct{})
	var readers sync.WaitGroup
	for range 4 {
		readers.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				if _, err := s.System().Load(context.Background()); err != nil && !errors.Is(err, ports.ErrUnavailable) {
					t.Errorf("a reader: got %v, want ErrUnavailable", err)
				}
				_ = s.Revocations().Follow(context.Background(), func(ports.News) error { return errEnough })
			}
		})
	}
	var before syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &before); err != nil {
		t.Fatal(err)
	}
	free := must(os.Open(os.DevNull))
	few := syscall.Rlimit{Cur: uint64(free.Fd()) + 5, Max: before.Max}
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &few); err != nil {
		t.Fatal(err)
	}
	taken := []*os.File{free}
	var acknowledged []audit.Event
	var unknown audit.Event
	var failed error
	for range 1000 {
		for { // whatever the store gives back
			f, err := os.Open(os.DevNull)
			if err != nil {
				break
			}
			taken = append(taken, f)
		}
		v := anEvent()
		v.Details = map[string]string{"long": strings.Repeat("x", 100<<10)}
		if failed = s.Events().Record(t.Context(), v); failed != nil {
			unknown = v
			break
		}
		acknowledged = append(acknowledged, v)
	}
	if !errors.Is(failed, ports.ErrUnavailable) || !strings.Contains(failed.Error(), "too many open files") {
		t.Errorf("got %v after %d events, want ErrUnavailable: too many open files", failed, len(acknowledged))
	}
	if _, err := s.System().Load(t.Context()); !errors.Is(err, ports.ErrUnavailable) {
		t.Errorf("System.Load: got %v, want ErrUnavailable", err)
	}
	if err := <-done; !errors.Is(err, ports.ErrUnavailable) {
		t.Errorf("a follower: got %v, want ErrUnavailable", err)
	}
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &before); err != nil {
		t.Fatal(err)
	}
	for _, f := range taken {
		_ = f.Close()
	}
	v := anEvent()
	eventually(t, "it takes writes again", func() bool { return s.Events().Record(t.Context(), v) == nil })
	acknowledged = append(acknowledged, v)
	close(stop)
	readers.Wait()
	listed, _, err := s.Events().List(t.Context(), 0, 2000)
	if err != nil {
		t.Fatal(err)
	}
	listed = slices.DeleteFunc(listed, func(v audit.Event) bool { return v.ID == unknown.ID })
	if !slices.EqualFunc(listed, acknowledged, func(a, b audit.Event) bool { return a.ID == b.ID }) {
		t.Errorf("got %d events, want the %d that were acknowledged", len(listed), len(acknowledged))
	}
	s.close(t)
	fmt.Println(strings.Join(log.lines(t), "\n"))
}

// rotatingFolder asks a run of this test binary to write to a folder until its log is full, and another begins.
const rotatingFolder = "XTEAM_BADGERSTORE_ROTATING"

// TestANewLogIsInItsFolder: a file that was synced is lost with the power all the same, when its name was not.
func TestANewLogIsInItsFolder(t *testing.T) {
	if dir := os.Getenv(rotatingFolder); dir != "" {
		s := store{must(badgerstore.Open(dir, badgerstore.Tuned(badgerstore.Options{}, func(o *badger.Options) { o.MemTableSize, o.ValueThreshold = 1<<20, 100<<10 })))}
		s.Unlock(sealer{})
		for range 30 {
			v := anEvent()
			v.Details = map[string]string{"long": strings.Repeat("x", 50<<10)}
			if err := s.Events().Record(t.Context(), v); err != nil {
				t.Fatal(err)
			}
		}
		os.Exit(0) // Close syncs the folder
	}
	strace, err := exec.LookPath("strace")
	switch {
	case err != nil && os.Getenv("XTEAM_TEST_REAL") == "1":
		t.Fatal("strace is missing: `make deps` installs it")
	case err != nil:
		t.Skip("strace is missing")
	}
	above := t.TempDir()
	dir, trace := filepath.Join(above, "new", "data"), filepath.Join(t.TempDir(), "trace")
	cmd := exec.CommandContext(t.Context(), strace, "-f", "-qq", "-y", "-e", "trace=openat,fsync,msync,mkdirat", "-e", "signal=none", "-o", trace,
		"/proc/self/exe", "-test.run=^TestANewLogIsInItsFolder$", "-test.timeout=1m")
	cmd.Env = append(os.Environ(), rotatingFolder+"="+dir)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	cmd.Args[slices.Index(cmd.Args, "/proc/self/exe")] = must(os.Executable())
	if said, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v:\n%s", err, said)
	}
	text := string(must(os.ReadFile(trace)))
	for _, made := range []struct{ line, folder string }{{"mkdirat", above}, {"mkdirat", filepath.Dir(dir)}, {"00001.mem", dir}, {"00002.mem", dir}} {
		_, rest, ok := strings.Cut(text, made.line)
		if !ok {
			t.Fatalf("the trace does not show %s", made.line)
		}
		if !regexp.MustCompile(`fsync\(\d+<` + regexp.QuoteMeta(made.folder) + ">").MatchString(rest) {
			t.Errorf("%s is not synced behind %s:\n%s", made.folder, made.line, rest)
		}
	}
}
