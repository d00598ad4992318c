package e2e_test

import (
	"debug/elf"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
)

// The program needs no other file, not even a loader.
func TestTheProgramIsStatic(t *testing.T) {
	f, err := elf.Open(binary)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if libraries, err := f.ImportedLibraries(); len(libraries) != 0 || err != nil {
		t.Errorf("it is linked with %v (%v)", libraries, err)
	}
	for _, p := range f.Progs {
		if p.Type == elf.PT_INTERP {
			t.Error("it asks for a loader")
		}
	}
}

// As the image runs it, as far as that goes without an engine: in a root folder with the program and an empty data folder in it and nothing else, by a user who is
// nobody there. It serves, the operator's commands work inside, it ends well, and it writes nowhere but in its data folder.
func TestTheImageIsEnough(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("only root can change the root folder")
	}
	text, err := os.ReadFile("../../Containerfile")
	if err != nil {
		t.Fatal(err)
	}
	set := regexp.MustCompile(`(?m)^ENV (.*)$`).FindSubmatch(text)
	if set == nil {
		t.Fatal("the image sets nothing")
	}
	env := strings.Fields(strings.Replace(string(set[1]), "HTTP_ADDR=0.0.0.0:8000", "HTTP_ADDR=127.0.0.1:0", 1)) // a free port of this machine
	env = append(env, "BCRYPT_COST=10", "ROOT_KEY="+strings.Repeat("r", 32))

	const nobody = 65532
	root := t.TempDir()
	program, err := os.ReadFile(binary)
	if err != nil {
		t.Fatal(err)
	}
	data := filepath.Join(root, "data")
	for _, err := range []error{os.Chmod(root, 0o755), os.WriteFile(filepath.Join(root, "xteam"), program, 0o755), os.Mkdir(data, 0o700), os.Chown(data, nobody, nobody)} { // for everybody
		if err != nil {
			t.Fatal(err)
		}
	}
	inside := func(cmd *exec.Cmd) {
		cmd.Path, cmd.Dir, cmd.Env = "/xteam", "/", env
		cmd.SysProcAttr = &syscall.SysProcAttr{Chroot: root, Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	}
	s := launch(t, env, inside)
	users := exec.Command("/xteam", "users", "create", "--email", "ann@example.com", "--username", "ann", "--password-stdin")
	users.Stdin = strings.NewReader(password + "\n")
	inside(users)
	if out, err := users.CombinedOutput(); err != nil {
		t.Fatalf("a command beside the server: %v\n%s", err, out)
	}
	s.want(http.StatusOK, http.MethodGet, me, s.signIn("ann@example.com").Access, nil)
	if err := s.end(syscall.SIGTERM); err != nil {
		t.Errorf("the end: %v\n%s", err, s.log)
	}
	err = filepath.WalkDir(root, func(name string, d fs.DirEntry, err error) error {
		if d != nil && name == data {
			return fs.SkipDir
		}
		if name != root && name != filepath.Join(root, "xteam") {
			t.Errorf("it wrote %s", name)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}

// systemd takes every line of the unit, and finds little that it leaves open.
func TestTheUnitIsTaken(t *testing.T) {
	needs(t, "systemd-analyze")
	text, err := os.ReadFile("../../.deploy/xteam.service")
	if err != nil {
		t.Fatal(err)
	}
	copied := filepath.Join(t.TempDir(), "xteam.service")
	if err := os.WriteFile(copied, []byte(strings.Replace(string(text), "/usr/local/bin/xteam", binary, 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("systemd-analyze", "verify", copied).CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("verify: %v\n%s", err, out)
	}
	// The scale is a hundred; what is left is the network, the sockets and the host's root folder.
	if out, err := exec.Command("systemd-analyze", "security", "--offline=true", "--no-pager", "--threshold=20", copied).CombinedOutput(); err != nil {
		t.Errorf("security: %v\n%s", err, out)
	}
}

// Under the unit a system call that its filter does not list fails. The server and a command beside it, from the start over a log opened anew to the end, make none.
func TestTheUnitAllowsEverySystemCall(t *testing.T) {
	needs(t, "systemd-analyze", "strace")
	text, err := os.ReadFile("../../.deploy/xteam.service")
	if err != nil {
		t.Fatal(err)
	}
	allowed := map[string]bool{}
	for _, filter := range regexp.MustCompile(`(?m)^SystemCallFilter=(~?)(.*)$`).FindAllStringSubmatch(string(text), -1) {
		for _, set := range strings.Fields(filter[2]) {
			for _, name := range systemCalls(t, set) {
				allowed[name] = filter[1] == ""
			}
		}
	}
	if len(allowed) < 100 || allowed["mount"] || !allowed["futex"] {
		t.Fatalf("%d system calls are named, and that is not the filter", len(allowed))
	}
	folder := t.TempDir()
	env, trace := append(environ(folder), "LOG_FILE="+filepath.Join(folder, "log")), filepath.Join(t.TempDir(), "trace")
	s := launch(t, env, func(cmd *exec.Cmd) {
		strace, err := exec.LookPath("strace")
		if err != nil {
			t.Fatal(err)
		}
		cmd.Path, cmd.Args = strace, append([]string{"strace", "-D", "-f", "-q", "-o", trace}, cmd.Args...) // -D: the server is our child, and strace its grandchild
	})
	must(t, env, password+"\n", "users", "create", "--email", "ann@example.com", "--username", "ann", "--password-stdin")
	s.want(http.StatusOK, http.MethodGet, me, s.signIn("ann@example.com").Access, nil)
	if err := s.cmd.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	must(t, env, "", "revoke", "--user", "ann")
	if err := s.end(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	var lines []byte
	last := regexp.MustCompile(fmt.Sprintf(`(?m)^%d +\+\+\+ exited with 0`, s.cmd.Process.Pid))
	until(t, "the trace is whole", func() bool {
		lines, err = os.ReadFile(trace)
		return err == nil && last.Match(lines)
	})
	var refused []string
	made := regexp.MustCompile(`(?m)^\d+ +([a-z_0-9]+)\(`).FindAllStringSubmatch(string(lines), -1)
	for _, m := range made {
		if name := m[1]; !allowed[name] && !slices.Contains(refused, name) {
			refused = append(refused, name)
		}
	}
	if len(made) < 500 || len(refused) > 0 {
		t.Errorf("%d system calls were seen, and the unit refuses %v", len(made), refused)
	}
}

// systemCalls answers what a set of systemd's, or one call, stands for.
func systemCalls(t *testing.T, set string) (names []string) {
	t.Helper()
	if !strings.HasPrefix(set, "@") {
		return []string{set}
	}
	out, err := exec.Command("systemd-analyze", "--no-pager", "syscall-filter", set).Output()
	if err != nil {
		t.Fatalf("systemd-analyze syscall-filter %s: %v", set, err)
	}
	_, list, _ := strings.Cut(string(out), "\n")
	for line := range strings.Lines(list) {
		if line = strings.TrimSpace(line); line != "" && line[0] != '#' {
			names = append(names, systemCalls(t, line)...)
		}
	}
	return names
}
