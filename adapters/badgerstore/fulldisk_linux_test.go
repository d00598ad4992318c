package badgerstore_test

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/xteam/xteam/adapters/badgerstore"
	"github.com/xteam/xteam/domain/id"
	"github.com/xteam/xteam/domain/revocation"
	"github.com/xteam/xteam/domain/session"
	"github.com/xteam/xteam/ports"
)

const (
	// fullFolder asks a run of this test binary to mount a small disk there, in a namespace of its own, and to have it filled.
	fullFolder = "XTEAM_BADGERSTORE_FULL"
	// fullWriter asks one within it to use a store there until its disk has no byte left, and to end without closing it.
	fullWriter = "XTEAM_BADGERSTORE_FULL_WRITER"

	smallDisk  = 224 * mib
	smallFloor = 96 * mib
)

// TestFullDisk has a real disk filled, by others and by the store itself. Without the watch, Badger's process dies of SIGBUS.
func TestFullDisk(t *testing.T) {
	switch {
	case os.Getenv(fullWriter) != "":
		fillDisk(t, os.Getenv(fullWriter))
		return
	case os.Getenv(fullFolder) != "":
		onSmallDisk(t, os.Getenv(fullFolder))
		return
	}
	cmd := testRun(t, fullFolder+"="+t.TempDir())
	cmd.SysProcAttr.Cloneflags = syscall.CLONE_NEWNS
	if os.Geteuid() != 0 {
		cmd.SysProcAttr.Cloneflags |= syscall.CLONE_NEWUSER
		cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Geteuid(), Size: 1}}
		cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getegid(), Size: 1}}
	}
	said, err := cmd.CombinedOutput()
	switch {
	case errors.Is(err, fs.ErrPermission) || strings.Contains(string(said), mountRefused):
		if os.Getenv("XTEAM_TEST_REAL") == "1" {
			t.Fatalf("no disk can be mounted here: %v: %s", err, said)
		}
		t.Skip("no disk can be mounted here")
	case err != nil:
		t.Fatalf("%v:\n%s", err, said)
	}
	t.Logf("%s", said)
}

const mountRefused = "mount: operation not permitted"

func testRun(t *testing.T, env ...string) *exec.Cmd {
	cmd := exec.CommandContext(t.Context(), "/proc/self/exe", "-test.run=^TestFullDisk$", "-test.timeout=1m", "-test.v")
	cmd.Env = append(os.Environ(), env...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	return cmd
}

// onSmallDisk mounts the disk, has it filled, and sees that what was acknowledged is there.
func onSmallDisk(t *testing.T, disk string) {
	if err := syscall.Mount("", "/", "", syscall.MS_REC|syscall.MS_PRIVATE, ""); err != nil {
		t.Fatalf("mount: %v", err)
	}
	if err := syscall.Mount("small", disk, "tmpfs", 0, fmt.Sprintf("size=%d", smallDisk)); err != nil {
		t.Fatalf("mount: %v", err)
	}
	dir := filepath.Join(disk, "data")
	cmd := testRun(t, fullWriter+"="+disk)
	begun := time.Now()
	said, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("the store's process: %v:\n%s", err, cut(string(said)))
	}
	t.Logf("filled in %v", time.Since(begun))

	options := badgerstore.Options{MinFreeSpace: smallFloor}
	if db, err := badgerstore.Open(dir, options); err == nil || !strings.Contains(err.Error(), "is full") {
		t.Errorf("opened on a full disk: got %v, %v, want that it is full", db, err)
	}
	if err := os.Remove(filepath.Join(disk, "of others")); err != nil {
		t.Fatal(err)
	}
	s := store{must(badgerstore.Open(dir, options))}
	s.Unlock(sealer{})
	defer s.close(t)
	all := s.all(t)
	n := 0
	lines := bufio.NewScanner(strings.NewReader(string(said)))
	for lines.Scan() {
		name, ok := strings.CutPrefix(lines.Text(), "acknowledged ")
		if !ok {
			continue
		}
		n++
		tid := must(id.Parse[id.Token](name))
		if _, ok := all[(&revocation.Entry{Kind: revocation.Token, Token: tid}).Key()]; !ok {
			t.Errorf("an acknowledged revocation is lost: %s", name)
		}
	}
	events := 0
	for last := uint64(0); ; {
		page, next, err := s.Events().List(t.Context(), last, 1000)
		if err != nil {
			t.Fatal(err)
		}
		if len(page) == 0 {
			break
		}
		events, last = events+len(page), next
	}
	if n < 100 || !strings.Contains(string(said), fmt.Sprintf("events %d\n", events)) {
		t.Errorf("found %d revocations and %d events; the process said:\n%s", n, events, cut(string(said)))
	}
	t.Logf("%d revocations and %d events are there", n, events)
}

// fillDisk uses a store while its disk fills, and says which revocations were acknowledged.
func fillDisk(t *testing.T, disk string) {
	var log logged
	s := store{must(badgerstore.Open(filepath.Join(disk, "data"), badgerstore.Options{Logger: log.logger(), MinFreeSpace: smallFloor}))}
	s.Unlock(sealer{})
	x := aSession()
	if err := s.Sessions().Create(t.Context(), x, ports.Effects{}); err != nil {
		t.Fatal(err)
	}
	events := 0
	record := func(size int) error {
		v := anEvent()
		v.Details = map[string]string{"long": strings.Repeat("x", size)}
		err := s.Events().Record(t.Context(), v)
		if err == nil {
			events++
		}
		return err
	}
	revoke := func() error {
		e := tokenEntry(time.Hour)
		err := s.Revocations().Record(t.Context(), e)
		if err == nil {
			fmt.Println("acknowledged", e.Token)
		}
		return err
	}
	others := must(os.Create(filepath.Join(disk, "of others")))
	free := func() int64 {
		var st syscall.Statfs_t
		if err := syscall.Statfs(disk, &st); err != nil {
			t.Fatal(err)
		}
		return int64(st.Bavail) * st.Bsize
	}
	size := int64(0)
	leave := func(bytes int64) { // what others take
		size += free() - bytes
		if err := others.Truncate(size); err != nil {
			t.Fatal(err)
		}
		if err := syscall.Fallocate(int(others.Fd()), 0, 0, max(size, 1)); err != nil {
			t.Fatal(err)
		}
	}
	create := func() error { return s.Sessions().Create(t.Context(), aSession(), ports.Effects{}) }
	refused := func(err error) bool { return errors.Is(err, ports.ErrNoSpace) }
	taken := func(err error) bool { return err == nil }
	is := func(when string, new, rest func(error) bool) {
		t.Helper()
		eventually(t, when, func() bool { return new(create()) }) // within a second
		for range 50 {
			if err := revoke(); !rest(err) {
				t.Errorf("%s: a revocation: %v", when, err)
			}
		}
		err := s.Sessions().Update(t.Context(), x.ID, func(x session.Session) (session.Session, ports.Effects, error) {
			x.Counter++
			return x, ports.Effects{}, nil
		})
		if !rest(err) {
			t.Errorf("%s: an update: %v", when, err)
		}
		if _, err := s.Sessions().Find(t.Context(), x.ID); err != nil {
			t.Errorf("%s: a read: %v", when, err)
		}
	}
	for _, name := range []string{"00001.mem", badgerstore.ReserveFile} {
		var st syscall.Stat_t
		if err := syscall.Stat(filepath.Join(disk, "data", name), &st); err != nil || st.Size != st.Blocks*512 {
			t.Errorf("%s: %v, of %d bytes %d are its own", name, err, st.Size, st.Blocks*512)
		}
	}
	is("with room", taken, taken)
	leave(smallFloor - mib)
	is("below the floor", refused, taken)
	leave(smallFloor + smallFloor/4)
	is("with room again", taken, taken)
	// Now the store fills its disk itself.
	var err error
	for err == nil {
		err = record(500 << 10)
	}
	if !refused(err) {
		t.Errorf("the disk filled by the store: %v", err)
	}
	is("filled by the store", refused, refused)
	eventually(t, "it has written what it had in memory", s.Quiet) // who takes its room until then, kills it
	leave(0)
	is("without a byte", refused, refused)
	_, need := s.Needs()
	leave(need + 20*mib)
	eventually(t, "a little room again", func() bool { return revoke() == nil })
	is("with a little room again", refused, taken)
	eventually(t, "it is quiet again", s.Quiet)
	leave(0)
	eventually(t, "full again", func() bool { return refused(revoke()) })
	is("without a byte again", refused, refused)
	fmt.Printf("events %d\n%s\n", events, strings.Join(log.lines(t), "\n"))
	if t.Failed() {
		return
	}
	os.Exit(0) // as a crash would: nothing is closed
}

func cut(text string) string { return text[max(0, len(text)-4000):] }
