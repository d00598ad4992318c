package main_test

import (
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	xteam "github.com/xteam/xteam/cmd/xteam"
)

// folders are a data folder with a short path and one whose path no socket address holds.
func folders(t *testing.T) map[string]string {
	long := filepath.Join(t.TempDir(), strings.Repeat("long/", 30))
	if err := os.MkdirAll(long, 0o700); err != nil {
		t.Fatal(err)
	}
	short, err := os.MkdirTemp("", "x")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(short) })
	return map[string]string{"short": short, "long": long}
}

func TestSocket(t *testing.T) {
	for name, folder := range folders(t) {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join(folder, "xteam.sock")
			if _, err := xteam.DialSocket(t.Context(), folder); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("dial without a server: got %v, want that nothing exists", err)
			}
			l, err := xteam.ListenOperator(t.Context(), folder)
			if err != nil {
				t.Fatal(err)
			}
			info, err := os.Lstat(file)
			if err != nil || info.Mode() != fs.ModeSocket|0o600 {
				t.Errorf("the socket: got %v, %v, want a socket of mode 0600", info, err)
			}
			greet(t, l, folder)

			if _, err := xteam.ListenOperator(t.Context(), folder); err == nil || !strings.Contains(err.Error(), "another server answers on "+file) {
				t.Errorf("listen on a live socket: got %v, want that another server answers", err)
			}
			greet(t, l, folder) // the refused one took nothing away

			if err := l.Close(); err != nil {
				t.Error(err)
			}
			if _, err := os.Lstat(file); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("after the stop: got %v, want no socket", err)
			}
		})
	}
}

// greet sends a byte through the socket.
func greet(t *testing.T, l net.Listener, folder string) {
	t.Helper()
	accepted := make(chan error, 1)
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				accepted <- err
				return
			}
			// A connection that only looked whether somebody listens has closed already.
			if _, err = conn.Write([]byte("x")); err == nil {
				one := make([]byte, 1)
				if n, _ := conn.Read(one); n == 1 {
					accepted <- conn.Close()
					return
				}
			}
			_ = conn.Close()
		}
	}()
	conn, err := xteam.DialSocket(t.Context(), folder)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := conn.Read(make([]byte, 1)); err != nil {
		t.Errorf("the first byte: %v", err)
	}
	if _, err := conn.Write([]byte("y")); err != nil {
		t.Error(err)
	}
	if err := <-accepted; err != nil {
		t.Error(err)
	}
}

func TestSocketLeftBehind(t *testing.T) {
	for name, folder := range folders(t) {
		t.Run(name, func(t *testing.T) {
			dead, err := xteam.ListenOperator(t.Context(), folder)
			if err != nil {
				t.Fatal(err)
			}
			// A process that was killed leaves the file: keep it under another name over the close.
			file := filepath.Join(folder, "xteam.sock")
			if err := os.Rename(file, file+".kept"); err != nil {
				t.Fatal(err)
			}
			if err := dead.Close(); err != nil {
				t.Fatal(err)
			}
			if err := os.Rename(file+".kept", file); err != nil {
				t.Fatal(err)
			}
			if _, err := xteam.DialSocket(t.Context(), folder); !errors.Is(err, syscall.ECONNREFUSED) {
				t.Fatalf("dial a dead socket: got %v, want it refused", err)
			}
			l, err := xteam.ListenOperator(t.Context(), folder)
			if err != nil {
				t.Fatal(err)
			}
			greet(t, l, folder)
			if err := l.Close(); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestSocketIsAnotherFile(t *testing.T) {
	folder := t.TempDir()
	file := filepath.Join(folder, "xteam.sock")
	if err := os.WriteFile(file, []byte("kept"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := xteam.ListenOperator(t.Context(), folder); err == nil || !strings.Contains(err.Error(), "not a socket") {
		t.Errorf("got %v, want that it is not a socket", err)
	}
	if got, err := os.ReadFile(file); string(got) != "kept" {
		t.Errorf("the file: got %q, %v, want it left alone", got, err)
	}
}

func TestPeer(t *testing.T) {
	fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	for _, fd := range fds {
		f := os.NewFile(uintptr(fd), "pair")
		conn, err := net.FileConn(f)
		_ = f.Close()
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		got, err := xteam.PeerUser(conn.(*net.UnixConn))
		if err != nil || got != os.Geteuid() {
			t.Errorf("the user at the other end: got %d, %v, want %d", got, err, os.Geteuid())
		}
	}
	for _, c := range []struct {
		peer, own int
		want      bool
	}{{1000, 1000, true}, {0, 1000, true}, {0, 0, true}, {1000, 0, false}, {1001, 1000, false}, {-1, 1000, false}} {
		if got := xteam.MayOperate(c.peer, c.own); got != c.want {
			t.Errorf("user %d at a server of user %d: got %v, want %v", c.peer, c.own, got, c.want)
		}
	}
}

// Who owns a folder alone can be nobody else than who put a socket there.
func TestOwnsAlone(t *testing.T) {
	own := os.Geteuid()
	for mode, want := range map[os.FileMode]bool{0o700: true, 0o755: true, 0o750: true, 0o770: false, 0o707: false, 0o720: false, 0o702: false, 0o777 | os.ModeSticky: false} {
		folder := t.TempDir()
		if err := os.Chmod(folder, mode); err != nil {
			t.Fatal(err)
		}
		if got := xteam.OwnsAlone(folder, own); got != want {
			t.Errorf("a folder of mode %v: got %v, want %v", mode, got, want)
		}
		if xteam.OwnsAlone(folder, own+1) {
			t.Errorf("a folder of mode %v of another user: got true", mode)
		}
	}
	folder, open := t.TempDir(), t.TempDir()
	if err := os.Chmod(open, 0o777); err != nil {
		t.Fatal(err)
	}
	for _, err := range []error{os.Symlink(folder, filepath.Join(filepath.Dir(folder), "link")), os.Symlink("link", filepath.Join(filepath.Dir(folder), "again")), os.Symlink("loop", filepath.Join(filepath.Dir(folder), "loop")),
		os.Mkdir(filepath.Join(open, "own"), 0o700), os.Symlink(folder, filepath.Join(open, "link"))} {
		if err != nil {
			t.Fatal(err)
		}
	}
	for path, want := range map[string]bool{filepath.Dir(folder) + "/again": true, filepath.Dir(folder) + "/loop": false, open + "/own": false, open + "/link": false} {
		if got := xteam.OwnsAlone(path, own); got != want {
			t.Errorf("%s: got %v, want %v", path, got, want)
		}
	}
	if xteam.OwnsAlone(filepath.Join(t.TempDir(), "none"), own) {
		t.Error("a folder that is not there: got true")
	}
}
