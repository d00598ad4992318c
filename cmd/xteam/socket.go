package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
)

// The operator's socket lies in the data folder, which nobody else may enter. Whoever may connect to it may do what the operator may.
const (
	socketName = "xteam.sock"
	// maxSocketPath is the longest path that a socket's address holds, in bytes.
	maxSocketPath = 107
)

// socketPath answers a path to a socket that an address can hold. A folder with a long path is reached through its open descriptor, until done is called.
func socketPath(file string) (path string, done func(), err error) {
	folder, name := filepath.Split(file)
	path = file
	if len(path) <= maxSocketPath {
		return path, func() {}, nil
	}
	f, err := os.Open(folder)
	if err != nil {
		return "", nil, err
	}
	return "/proc/self/fd/" + strconv.FormatUint(uint64(f.Fd()), 10) + "/" + name, func() { _ = f.Close() }, nil
}

// dialSocket connects to the server that runs on the folder. It is fs.ErrNotExist or ECONNREFUSED when none does. What answers is a process of this process' user
// or of root; or, for root, of the one user who can have put the socket there. Nobody else is to hear passwords and tokens.
func dialSocket(ctx context.Context, folder string) (net.Conn, error) {
	if !peersKnown {
		return nil, fs.ErrNotExist
	}
	return dialFile(ctx, filepath.Join(folder, socketName))
}

func dialFile(ctx context.Context, file string) (net.Conn, error) {
	path, done, err := socketPath(file)
	if err != nil {
		return nil, err
	}
	defer done()
	var d net.Dialer
	conn, err := d.DialContext(ctx, "unix", path)
	if err != nil {
		return nil, err
	}
	switch uid, err := peerUser(conn.(*net.UnixConn)); {
	case err != nil:
		_ = conn.Close()
		return nil, fmt.Errorf("who answers on %s cannot be told: %w", absolute(file), err)
	case !mayOperate(uid, os.Geteuid()) && !rootMayAsk(filepath.Dir(file), uid):
		_ = conn.Close()
		who := "neither you nor root"
		if os.Geteuid() == 0 {
			who = "neither root nor, of a folder that the variable DATA_DIR names, the only one who can put it there"
		}
		return nil, fmt.Errorf("%s is answered by a process of user %d, which is %s: nothing was sent to it; %s, or name another folder with DATA_DIR", absolute(file), uid, who, runAs(uid))
	}
	return conn, nil
}

// rootMayAsk reports whether this is root, who has named the folder, and it is that user's alone. What lies in the working directory by chance, a folder data or a file
// .env that names one, may be anybody's trap for root.
func rootMayAsk(folder string, uid int) bool {
	return os.Geteuid() == 0 && os.Getenv("DATA_DIR") != "" && ownsAlone(folder, uid)
}

// nobodyListens reports whether dialSocket failed because no server runs, not because it may not be reached.
func nobodyListens(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ECONNREFUSED) || errors.Is(err, syscall.ENOTDIR)
}

// operatorListener accepts connections of the operator alone: of processes of this process' user, or of root.
type operatorListener struct {
	*net.UnixListener
	file string // the socket's own path
	done func()
}

// listenOperator opens the socket. A socket that a dead server left behind is replaced; a live one is refused, and so is a file that is no socket.
func listenOperator(ctx context.Context, folder string) (*operatorListener, error) {
	file := filepath.Join(folder, socketName)
	if info, err := os.Lstat(file); err == nil {
		if info.Mode().Type() != fs.ModeSocket {
			return nil, fmt.Errorf("%s is not a socket: move it away", file)
		}
		conn, err := dialSocket(ctx, folder)
		if err == nil {
			_ = conn.Close()
			return nil, fmt.Errorf("another server answers on %s: stop it first", file)
		}
		if !nobodyListens(err) {
			return nil, fmt.Errorf("look for another server on %s: %w", file, err)
		}
		if err := os.Remove(file); err != nil {
			return nil, fmt.Errorf("replace the operator's socket: %w", err)
		}
	}
	path, done, err := socketPath(file)
	if err != nil {
		return nil, fmt.Errorf("open the operator's socket: %w", err)
	}
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		done()
		return nil, fmt.Errorf("open the operator's socket %s: %w", file, err)
	}
	l.SetUnlinkOnClose(false) // Close removes it by its own path
	o := &operatorListener{UnixListener: l, file: file, done: done}
	if err := os.Chmod(path, 0o600); err != nil {
		_ = o.Close()
		return nil, fmt.Errorf("open the operator's socket: %w", err)
	}
	return o, nil
}

// Accept answers the next connection of the operator. Those of others are closed without a word.
func (o *operatorListener) Accept() (net.Conn, error) {
	for {
		conn, err := o.AcceptUnix()
		if err != nil {
			return nil, err
		}
		uid, err := peerUser(conn)
		if err == nil && mayOperate(uid, os.Geteuid()) {
			return conn, nil
		}
		_ = conn.Close()
	}
}

// mayOperate reports whether a process of the user peer, at the other end of the socket, may be trusted by one of the user own: as the operator, or as the server.
func mayOperate(peer, own int) bool { return peer == 0 || peer == own }

// leave takes the socket's name away, so that nobody else comes, and answers once all who came before have been let in: they are let in one after the other, and
// the last is we. Who is not let in when the listener is closed is cut off.
func (o *operatorListener) leave(ctx context.Context) error {
	gone := o.file + ".leaving"
	if err := os.Rename(o.file, gone); err != nil {
		return err
	}
	o.file = gone
	last := &http.Client{Transport: &http.Transport{
		DialContext:       func(ctx context.Context, _, _ string) (net.Conn, error) { return dialFile(ctx, gone) },
		DisableKeepAlives: true,
	}}
	_, err := exchange(ctx, last, http.MethodGet, "http://operator/healthz", "", nil, nil)
	return err
}

// Close stops listening and removes the socket.
func (o *operatorListener) Close() error {
	err := o.UnixListener.Close()
	if !errors.Is(err, net.ErrClosed) {
		_ = os.Remove(o.file)
		o.done()
	}
	return err
}
