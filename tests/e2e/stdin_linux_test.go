package e2e_test

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"unsafe"
)

// control is ioctl(2).
func control(t *testing.T, f *os.File, request uintptr, value unsafe.Pointer) {
	t.Helper()
	raw, err := f.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var errno syscall.Errno
	if err := raw.Control(func(fd uintptr) { _, _, errno = syscall.Syscall(syscall.SYS_IOCTL, fd, request, uintptr(value)) }); err != nil || errno != 0 {
		t.Fatalf("ioctl %#x: %v, %v", request, err, errno)
	}
}

// terminal is a new pseudo-terminal: what a person types and sees, and what a program has.
func terminal(t *testing.T) (person, program *os.File) {
	t.Helper()
	person, err := os.OpenFile("/dev/ptmx", os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Skip("this machine has no pseudo-terminals")
	}
	t.Cleanup(func() { _ = person.Close() })
	var number, locked uint32
	control(t, person, syscall.TIOCGPTN, unsafe.Pointer(&number))
	control(t, person, syscall.TIOCSPTLCK, unsafe.Pointer(&locked))
	program, err = os.OpenFile(fmt.Sprint("/dev/pts/", number), os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = program.Close() })
	return person, program
}

func echoes(t *testing.T, f *os.File) bool {
	t.Helper()
	var state syscall.Termios
	control(t, f, syscall.TCGETS, unsafe.Pointer(&state))
	return state.Lflag&syscall.ECHO != 0
}

// creates starts a command that makes an account, whose password comes from in.
func creates(t *testing.T, in *os.File, name string) (cmd *exec.Cmd, errs *bytes.Buffer) {
	t.Helper()
	cmd, errs = exec.Command(binary, "users", "create", "--email", name+"@example.com", "--username", name, "--password-stdin"), new(bytes.Buffer)
	cmd.Env, cmd.Dir, cmd.Stdin, cmd.Stderr = environ(t.TempDir()), t.TempDir(), in, errs
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill() })
	return cmd, errs
}

// ends waits for a command.
func ends(t *testing.T, cmd *exec.Cmd) error {
	t.Helper()
	done := make(chan error, 1)
	go func() { done <- cmd.Wait() }()
	var err error
	until(t, "the command ends", func() bool {
		select {
		case err = <-done:
			return true
		default:
			return false
		}
	})
	return err
}

// One line is read, not all that comes: whoever holds the pipe open need not close it, and keeps what stands behind the line.
func TestPasswordIsOneLine(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	defer w.Close()
	const rest = "for somebody else\n"
	if _, err := io.WriteString(w, password+"\r\n"+rest); err != nil {
		t.Fatal(err)
	}
	cmd, errs := creates(t, r, "ann")
	if err := ends(t, cmd); err != nil {
		t.Errorf("users create: %v, %s", err, errs)
	}
	_ = w.Close()
	if got, err := io.ReadAll(r); err != nil || string(got) != rest {
		t.Errorf("behind the line: got %q, %v, want %q", got, err, rest)
	}
}

// Who waits for a line can be told to stop.
func TestPasswordNeverComes(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	defer w.Close()
	if _, err := io.WriteString(w, "half a pass"); err != nil {
		t.Fatal(err)
	}
	cmd, errs := creates(t, r, "ann")
	until(t, "what there is has been read", func() bool {
		var left int32
		control(t, r, syscall.TIOCINQ, unsafe.Pointer(&left))
		return left == 0
	})
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	_ = ends(t, cmd)
	if cmd.ProcessState.ExitCode() != 1 || errs.String() != "xteam: stopped while the password was awaited on standard input\n" {
		t.Errorf("got %v, %q, want 1 and one line", cmd.ProcessState, errs)
	}
}

// On a terminal the password is asked for, and not shown.
func TestPasswordOnTerminal(t *testing.T) {
	person, program := terminal(t)
	cmd, errs := creates(t, program, "ann")
	until(t, "the terminal does not show what is typed", func() bool { return !echoes(t, program) })
	if _, err := io.WriteString(person, password+"\n"); err != nil {
		t.Fatal(err)
	}
	if err := ends(t, cmd); err != nil || errs.String() != "The password, which is not shown: \n" {
		t.Errorf("users create: %v, %q, want that it asks", err, errs)
	}
	if !echoes(t, program) {
		t.Error("afterwards the terminal does not show what is typed")
	}

	cmd, errs = creates(t, program, "bob")
	until(t, "the terminal does not show what is typed", func() bool { return !echoes(t, program) })
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := ends(t, cmd); err == nil || !strings.HasSuffix(errs.String(), "\nxteam: stopped while the password was awaited on standard input\n") {
		t.Errorf("SIGTERM: got %v, %q", err, errs)
	}
	if !echoes(t, program) {
		t.Error("after SIGTERM the terminal does not show what is typed")
	}

	// What the person saw: nothing of it.
	_ = program.Close()
	seen, _ := io.ReadAll(person) // ends with an error once nobody else has the terminal open
	if strings.Contains(string(seen), password[:8]) {
		t.Errorf("the terminal showed %q", seen)
	}
}
