package e2e_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
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

// Whoever owns the socket would be handed passwords and tokens: a command looks who answers before it says a word.
func TestSocketOfAnotherUser(t *testing.T) {
	s := another(t)
	env := environ(s.folder)
	launch(t, env, s.runs)
	r := xteam(t, env, password, "users", "create", "--email", "ann@example.com", "--username", "ann", "--password-stdin")
	r.oneLine(t, "users create at a server of another user", filepath.Join(s.folder, "xteam.sock"), fmt.Sprint("user ", s.uid))
	again := exec.Command(binary, "revoke", "--user", "ann")
	again.Env = env
	s.runs(again)
	if out, err := again.CombinedOutput(); err == nil {
		t.Errorf("the account that was asked for is there: %s", out)
	}
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
