package e2e_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// stranger is another user of this machine, with a folder that is theirs.
type stranger struct {
	uid    uint32
	folder string
}

// another answers another user. Only root can run something as one.
func another(t *testing.T) stranger {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("only root can run a program as another user")
	}
	folder, err := os.MkdirTemp("", "xteam-stranger")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(folder) })
	s := stranger{65534, folder}
	for _, err := range []error{os.Chmod(filepath.Dir(binary), 0o755), os.Chown(folder, int(s.uid), int(s.uid))} {
		if err != nil {
			t.Fatal(err)
		}
	}
	return s
}

// runs makes a command the stranger's.
func (s stranger) runs(cmd *exec.Cmd) {
	cmd.Dir = s.folder
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: s.uid, Gid: s.uid}}
}

// oneLine is how a command fails: nothing on stdout, one line on stderr that holds all of these.
func (r result) oneLine(t *testing.T, what string, holds ...string) {
	t.Helper()
	good := r.code == 1 && r.out == "" && strings.Count(r.err, "\n") == 1
	for _, h := range holds {
		good = good && strings.Contains(r.err, h)
	}
	if !good {
		t.Errorf("%s: got %d, %q, %q, want 1 and one line with %q", what, r.code, r.out, r.err, holds)
	}
}

// Root operates the server of another user through its socket, when that user alone can have put it there; and whoever else answers is told nothing.
func TestRootAtTheServerOfAnotherUser(t *testing.T) {
	s := another(t)
	env := environ(s.folder)
	srv := launch(t, env, s.runs)
	create := func(name string) result {
		return xteam(t, env, password, "users", "create", "--email", name+"@example.com", "--username", name, "--password-stdin")
	}
	if r := create("ann"); r.code != 0 || len(strings.TrimSpace(r.out)) != 32 {
		t.Errorf("users create by root: got %d, %q, %q, want an id", r.code, r.out, r.err)
	}
	if r := xteam(t, env, "", "revoke", "--user", "ann"); r.code != 0 || !strings.Contains(r.out, "0 sessions ended") {
		t.Errorf("revoke by root: got %d, %q, %q, want 0 sessions ended", r.code, r.out, r.err)
	}

	// The server was reached, for its user's files are its user's still.
	left, err := filepath.Glob(filepath.Join(s.folder, "*"))
	if err != nil || len(left) == 0 {
		t.Fatal(left, err)
	}
	for _, file := range left {
		info, err := os.Stat(file)
		if err != nil {
			t.Fatal(err)
		}
		if uid := info.Sys().(*syscall.Stat_t).Uid; uid != s.uid {
			t.Errorf("%s belongs to user %d now", file, uid)
		}
	}

	socket := filepath.Join(s.folder, "xteam.sock")
	mode := func(m os.FileMode, uid int) {
		t.Helper()
		for _, err := range []error{os.Chown(s.folder, uid, int(s.uid)), os.Chmod(s.folder, m)} {
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, c := range []struct {
		name string
		mode os.FileMode
		uid  int
	}{{"bob", 0o770, int(s.uid)}, {"cid", 0o702, int(s.uid)}, {"dan", 0o700, 0}, {"eve", 0o700, 12345}} {
		mode(c.mode, c.uid)
		create(c.name).oneLine(t, fmt.Sprintf("users create in a folder of mode %o of user %d", c.mode, c.uid), socket, fmt.Sprint("user ", s.uid), "nothing was sent")
	}
	mode(0o700, int(s.uid))

	// Root has to name the folder itself: the one that is there by chance, and what a file .env there says, is somebody else's choice.
	there := t.TempDir()
	for _, err := range []error{os.Chmod(there, 0o755), os.Symlink(s.folder, filepath.Join(there, "data"))} {
		if err != nil {
			t.Fatal(err)
		}
	}
	by := func(dir string, env []string) result {
		t.Helper()
		cmd := exec.Command(binary, "users", "create", "--email", "gus@example.com", "--username", "gus", "--password-stdin")
		cmd.Env, cmd.Dir, cmd.Stdin = env, dir, strings.NewReader(password)
		var out, errs strings.Builder
		cmd.Stdout, cmd.Stderr = &out, &errs
		_ = cmd.Run() // the exit code tells
		return result{cmd.ProcessState.ExitCode(), out.String(), errs.String()}
	}
	by(there, environ("")).oneLine(t, "users create where ./data is a server's folder", "nothing was sent", "DATA_DIR")
	if err := os.WriteFile(filepath.Join(there, ".env"), []byte("DATA_DIR="+s.folder+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	unset := slices.DeleteFunc(environ(""), func(v string) bool { return v == "DATA_DIR=" })
	by(there, unset).oneLine(t, "users create where .env names a server's folder", "nothing was sent", "DATA_DIR")

	// Whoever can rename a folder above can put another in its place.
	above := t.TempDir()
	for _, err := range []error{os.Chmod(above, 0o777), os.Chmod(there, 0o755), os.Symlink(there, filepath.Join(above, "link"))} {
		if err != nil {
			t.Fatal(err)
		}
	}
	by(above, environ(filepath.Join(above, "link", "data"))).oneLine(t, "users create by a path through a folder that anybody can write to", "nothing was sent")

	again := func(name string) (string, error) {
		cmd := exec.Command(binary, "revoke", "--user", name)
		cmd.Env = env
		s.runs(cmd)
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	out, err := again("ann")
	for late := time.Now().Add(patience); err != nil && strings.Contains(out, "ask again later") && time.Now().Before(late); {
		out, err = again("ann") // while its folder was closed to the server too, it could not tell how much space there is
	}
	if err != nil {
		t.Errorf("the account that root made is not there: %v, %s", err, out)
	}
	for _, name := range []string{"bob", "cid", "dan", "eve", "gus"} {
		if out, err := again(name); err == nil {
			t.Errorf("the account %s that was asked for is there: %s", name, out)
		}
	}

	// The store itself is not for root: files of root's in it would stop its own user.
	if err := srv.end(syscall.SIGTERM); err != nil {
		t.Error(err)
	}
	create("fay").oneLine(t, "users create by root, with the server stopped", s.folder, fmt.Sprint("user ", s.uid), "sudo -u nobody xteam")
}

// A folder that others may write to can be made one's own, or it is none.
func TestFolderOfOthers(t *testing.T) {
	folder := t.TempDir()
	if err := os.Chmod(folder, 0o777); err != nil {
		t.Fatal(err)
	}
	s := serve(t, environ(folder))
	if info, err := os.Stat(folder); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("a folder of ours that others could write to: got %v, %v, want mode 0700", info, err)
	}
	until(t, "the log tells of the mode", func() bool {
		return strings.Contains(s.log.String(), `"folder":"`+folder+`"`) && strings.Contains(s.log.String(), `rwxrwxrwx`)
	})
	if err := s.end(syscall.SIGTERM); err != nil {
		t.Error(err)
	}

	shared := t.TempDir()
	if err := os.Chmod(shared, 0o777|os.ModeSticky); err != nil {
		t.Fatal(err)
	}
	xteam(t, environ(shared), "", "serve").oneLine(t, "a folder such as /tmp", shared, "DATA_DIR")
	if info, err := os.Stat(shared); err != nil || info.Mode().Perm() != 0o777 {
		t.Errorf("a folder such as /tmp: got %v, %v, want it left alone", info, err)
	}

	theirs := another(t)
	store := t.TempDir()
	for name, env := range map[string][]string{"DATA_DIR": environ(theirs.folder), "DATABASE_URL": environ(store, "DATABASE_URL=badger://"+theirs.folder)} {
		for _, args := range [][]string{{"serve"}, {"dev", "--once"}, {"users", "create", "--email", "ann@example.com", "--username", "ann", "--password-stdin"}} {
			r := xteam(t, env, password, args...)
			r.oneLine(t, fmt.Sprintf("%v in %s of another user", args, name), theirs.folder, fmt.Sprint("user ", theirs.uid), name)
			left, err := filepath.Glob(filepath.Join(theirs.folder, "*"))
			if err != nil || len(left) > 0 {
				t.Errorf("%v left %v in the folder of another user, %v", args, left, err)
			}
		}
	}
}
